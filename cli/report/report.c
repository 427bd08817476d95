/* cli/report/report.c - qonnx report: what quantization did to a model, as one page. */
#include "report.h"
#include "cli/calibrate.h"
#include "cli/output.h"
#include "cli/pictures.h"
#include "cli/progress.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>

static int usage(const Verb *verb, const Args *args)
{
    if (!args->data.count) return options_misuse(verb, "report: give the samples with --data");
    if (!args->output && !args->json)
        return options_misuse(verb, "report: name the page with -o PAGE.html, or ask for --json");
    return metrics_check(verb, args);
}

/* Where the command line says nothing of pictures, takes what the metadata of either says, the
 * quantized model's first: both are run on the same samples. */
static void take_pictures(qonnx_ctx *cx, Args *args)
{
    for (int i = 1; !args->pictures && i >= 0; i--) {
        qonnx_graph *g = qonnx_model_load(cx, args->operands[i]);
        if (g) pictures_take(cx, args, g, args->operands[i]);
        qonnx_graph_free(g);
    }
}

/* Whether the page can be written, before any work: it must not replace what is read. */
static bool is_spared(qonnx_ctx *cx, const Args *args)
{
    qonnx_graph *g[2] = {NULL, NULL};
    bool good = true;
    for (int i = 0; good && i < 2; i++)
        good = (g[i] = shaped_load(cx, args, args->operands[i])) != NULL;
    good = good && (!args->output ||
                    (output_spared(cx, g[0], args->data.text, args->data.count, args->output) &&
                     qonnx_output_check(cx, args->output)));
    for (int i = 0; i < 2; i++) qonnx_graph_free(g[i]);
    return good;
}

static void release(Report *r)
{
    for (int i = 0; i < 2; i++) {
        metrics_free(&r->sides[i].metrics);
        tally_free(&r->sides[i].placed.left);
    }
    for (int i = 0; r->sheets && i < r->errors.matches.count; i++) {
        free(r->sheets[i].facts);
        free(r->sheets[i].channels);
    }
    free(r->sheets);
    free(r->worst);
    free(r->unobserved);
    comparison_free(&r->all);
    layer_errors_release(&r->errors);
    passes_free(&r->passes);
    subject_release(&r->subject);
    qonnx_graph_free(r->before);
    qonnx_ctx_free(r->cx);
}

static void print_summary(const Args *args, const char *sentence)
{
    char size[SIZE_ROOM];
    print_line("written      %s, %s", args->output, size_text(size, file_size(args->output)));
    print_line("verdict      %s", sentence);
}

static int report(const Verb *verb, const Args *args)
{
    int status = usage(verb, args);
    if (status >= 0) return status;
    Report r = {.args = args,
                .cx = progress_ctx(),
                .sides = {{.path = args->operands[0]}, {.path = args->operands[1]}}};
    Args shared = *args; /* with the pictures of one model for both */
    bool told = false, good = is_spared(r.cx, args);
    if (good) take_pictures(r.cx, &shared);
    good = good && report_score(&r, &shared, &told) && report_look(&r, &shared, &told) &&
           report_try(&r, &shared) && !interrupted();
    if (good && args->output) good = qonnx_output_write(r.cx, args->output, report_page, &r);
    progress_clear();
    char *sentence = good ? verdict_text(&r) : NULL;
    if (good && args->json) json_print(report_json(&r));
    else if (good && !args->quiet) print_summary(args, sentence);
    free(sentence);
    status = good ? EXIT_DONE : told && !interrupted() ? EXIT_BAD : report_failure(r.cx);
    release(&r);
    if (!args->pictures) free(shared.pictures);
    if (!args->origin) free(shared.origin);
    return status;
}

static const Option options[] = {
    OPTION_SCORED_DATA,
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "PAGE.html", NULL,
     "the page to write; required but with --json"},
    {"calibration", 0, OPTION_LIST, offsetof(Args, calibrations), "M.qcal", NULL,
     "statistics that the model was quantized with: their\n"
     "histograms are shown; default: those of 64 samples of\n"
     "--data, or of --limit; again for more"},
    {"labels", 0, OPTION_TEXT, offsetof(Args, labels), "PATH", NULL,
     "lines of 'FILE CLASS', as evaluate has it"},
    {"metric", 0, OPTION_LIST, offsetof(Args, metrics), "NAME[{...}]|PROGRAM", NULL,
     "score by this instead of top1 and top5, as evaluate\n"
     "has it; again for more"},
    OPTION_METRIC_TIMEOUT,
    {"sensitivities", 0, OPTION_COUNT, offsetof(Args, sensitivities), "N", "5",
     "of so many of the worst layers, measure what the\n"
     "outputs gain with that layer alone in float; 0: none"},
    {"no-times", 0, OPTION_FLAG, offsetof(Args, no_times), NULL, NULL,
     "leave times out, so that the same models and samples\n"
     "give the same bytes"},
    OPTION_FORCE,
    {.name = NULL},
};

const Verb verb_report = {
    .name = "report",
    .brief = "a page of what quantization did: verdict, worst layers, what mends them",
    .forms = "MODEL QUANTIZED --data DATA -o PAGE.html",
    .text = "Runs the model in float and the one that 'qonnx quantize' made of it, and writes one\n"
            "HTML file, which loads nothing: a verdict; accuracy, size, memory, energy and time\n"
            "before and after; the worst layers and the options that mend them, tried on samples;\n"
            "the graph, its boxes coloured by error; of each layer the histogram with every\n"
            "observer's thresholds and the channels of its weight; and how to make it again.",
    .examples = "qonnx report model.onnx model.int8.onnx --data test/ -o report.html\n"
                "qonnx report model.onnx model.int8.onnx --data test/ --calibration model.qcal -o "
                "report.html\n"
                "qonnx report model.onnx model.int8.onnx --data test/ --limit 50 --sensitivities 0 "
                "-o report.html\n"
                "qonnx report model.onnx model.int8.onnx --data test/ --metric mse --json",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .least = 2,
    .most = 2,
    .run = report,
};
