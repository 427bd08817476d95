/* cli/compile.c - qonnx compile: a model as standalone C. */
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <string.h>

static void print_summary(const Args *args, const qonnx_compile_report *r)
{
    char arena[SIZE_ROOM], weights[SIZE_ROOM];
    if (args->json) {
        json_print(json_pack("{so ss sI sI sI si}", "directory", json_text(args->output), "prefix",
                             r->prefix, "arena_bytes", (json_int_t)r->arena, "alive_bytes",
                             (json_int_t)r->alive, "weights_bytes", (json_int_t)r->weights, "calls",
                             r->calls));
        return;
    }
    if (args->quiet) return;
    bool bin = !strcmp(args->weights, "bin");
    print_line("written      %s: %s.h, %s.c, %s%s%s_test.c, Makefile", args->output, r->prefix,
               r->prefix, bin ? r->prefix : "", bin ? ".bin, " : "", r->prefix);
    printf("arena        %zu bytes (%s); alive at once %zu\n", r->arena,
           size_text(arena, (double)r->arena), r->alive);
    printf("weights      %zu bytes (%s)\n", r->weights, size_text(weights, (double)r->weights));
    print_line("check it by  make -C %s test", args->output);
}

static int compile(const Verb *verb, const Args *args)
{
    if (!args->output) return options_misuse(verb, "compile: give the directory to write with -o");
    bool image = !strcmp(args->io, "image");
    if (image && args->data.count)
        return options_misuse(verb, "compile: the self-test of --io image has pixels of its own; "
                                    "leave --data out");
    qonnx_ctx *cx = progress_ctx();
    qonnx_graph *g = runnable_load(cx, args, args->operands[0]);
    qonnx_dataset *d = NULL;
    bool good = g != NULL;
    if (good && args->data.count)
        good = (d = samples_open(cx, g, args, args->data.text, args->data.count)) != NULL;
    if (good) qonnx_plugin_inputs(cx);
    qonnx_compile_options o = {.target = args->target,
                               .prefix = args->prefix,
                               .max_memory = args->max_memory,
                               .weights_bin = !strcmp(args->weights, "bin"),
                               .integer_io = !strcmp(args->io, "int8"),
                               .image_io = image,
                               .preprocess = args->pictures,
                               .data = d};
    qonnx_compile_report report;
    good = good && qonnx_model_compile(cx, g, args->output, &o, &report);
    if (good) print_summary(args, &report);
    int status = good ? EXIT_DONE : report_failure(cx);
    qonnx_dataset_free(d);
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    return status;
}

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "DIR", NULL,
     "the directory to write; made when it is not there;\n"
     "required"},
    {"target", 0, OPTION_CHOICE, offsetof(Args, target), "generic", "generic",
     "what the C is for: C99 for any machine"},
    {"prefix", 0, OPTION_TEXT, offsetof(Args, prefix), "NAME", NULL,
     "NAME.c, NAME_run(), ...; default: from MODEL's name"},
    {"weights", 0, OPTION_CHOICE, offsetof(Args, weights), "const|bin", "const",
     "weights in NAME.c, or in NAME.bin for you to load"},
    {"io", 0, OPTION_CHOICE, offsetof(Args, io), "float|int8|image", "float",
     "int8: inputs and outputs that are quantized directly\n"
     "are the integers; NAME.h tells scale and zero point.\n"
     "image: NAME_image() makes the input of RGB pixels"},
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "samples; the self-test runs the first one instead of\n"
     "an arbitrary input"},
    MAX_MEMORY_OPTION,
    {.name = NULL},
};

const Verb verb_compile = {
    .name = "compile",
    .brief = "a model as standalone C source",
    .forms = "MODEL --target generic -o DIR",
    .text =
        "Writes NAME.h, NAME.c, NAME_test.c and a Makefile: C99 that needs no library, allocates\n"
        "nothing and gives the same bytes as 'qonnx run --engine portable'. 'make -C DIR test'\n"
        "checks them on one sample. The model's shapes must be fixed, or given by --shape;\n"
        "an open batch is 1.",
    .examples = "qonnx compile model.int8.onnx --target generic -o model/\n"
                "qonnx compile model.int8.onnx -o firmware/net --prefix net --io int8\n"
                "qonnx compile detector.onnx -o detector/ --shape images=1,3,640,640\n"
                "qonnx compile model.onnx -o model/ --weights bin --data photos/",
    .options = options,
    .pictures = true,
    .json = true,
    .least = 1,
    .most = 1,
    .run = compile,
};
