/* cli/preview.c - qonnx preview: a page of samples as the model sees them, for people to look at
 * before numbers are believed.
 */
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "page.h"
#include "progress.h"
#include "samples.h"
#include "tensor.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>

enum {
    ORIGINAL_MOST = 320, /* pixels of a picture's longer side in the page */
    SEEN_MOST = 1024     /* and of what the model sees of it, which is shown as it is up to there */
};

/* What a page is made of. */
typedef struct Preview {
    const Args *args;
    qonnx_ctx *cx;
    const qonnx_graph *g;
    const qonnx_dataset *d;
    qonnx_tensor *tensors; /* [inputs] of the sample that is being written */
    size_t all;            /* samples that there are, of which the data set has some */
} Preview;

/* ---- the page -------------------------------------------------------------------------------- */

/* What is done to the pictures, if there are any. */
static void put_preparation(FILE *f, const Preview *p)
{
    char *line = qonnx_dataset_describe(p->d), *text = qonnx_dataset_preprocess(p->d);
    fputs("<p>", f);
    if (line) fputs("Pictures become ", f);
    page_text(f, line   ? line
                 : text ? "Pictures that have the model's size are taken as they are; values are 0 "
                          "to 255"
                        : "Samples are arrays, as they are in their files");
    fputs(".", f);
    if (line && text && *text) {
        fputs(" In full: <code>", f);
        page_text(f, text);
        fputs("</code>.", f);
    }
    fputs("</p>\n", f);
    free(text);
    free(line);
}

static void put_head(FILE *f, const Preview *p)
{
    size_t count = qonnx_dataset_count(p->d);
    page_begin(f, p->args->operands[0], NULL, NULL);
    fputs("<h1>What ", f);
    page_text(f, p->args->operands[0]);
    fputs(" sees</h1>\n", f);
    put_preparation(f, p);
    fprintf(f,
            "<p>%zu of %zu samples. Bars of a histogram are as high as the square roots of their "
            "counts.</p>\n",
            count, p->all);
}

/* One input of a sample: the picture and what is seen of it, then its values. */
static bool put_input(FILE *f, const Preview *p, int input, const qonnx_picture *original,
                      const qonnx_picture *seen)
{
    const qonnx_tensor *t = &p->tensors[input];
    char type[NAME_ROOM];
    fputs("<h3>", f);
    page_text(f, qonnx_value_name(qonnx_graph_input(p->g, input)));
    fprintf(f, " <code>%s</code></h3>\n", tensor_text(type, sizeof type, t));
    if (original->pixels.data || seen->pixels.data) fputs("<div class=\"pictures\">\n", f);
    if (original->pixels.data && !page_picture(f, original, "the file", "")) return false;
    if (seen->pixels.data &&
        !page_picture(f, seen, "what the model sees",
                      seen->stretched ? "; what its values mean is not known: from the smallest to "
                                        "the largest they are shown as 0 to 255"
                                      : ""))
        return false;
    if (original->pixels.data || seen->pixels.data) fputs("</div>\n", f);
    page_channels(f, t, seen->channel_axis, seen->bgr);
    return true;
}

static bool put_sample(FILE *f, const Preview *p, size_t i)
{
    bool good = true;
    if (!qonnx_dataset_read(p->cx, p->d, i, p->tensors)) return false;
    fprintf(f, "<section>\n<h2>%zu. ", i + 1);
    page_text(f, qonnx_dataset_name(p->d, i));
    fputs("</h2>\n", f);
    for (int k = 0; good && k < qonnx_graph_inputs(p->g); k++) {
        if (qonnx_value_constant(qonnx_graph_input(p->g, k))) continue;
        qonnx_picture original = {0}, seen = {0};
        good = qonnx_dataset_picture(p->cx, p->d, i, k, ORIGINAL_MOST, &original) &&
               qonnx_dataset_seen(p->cx, p->d, i, k, &p->tensors[k], SEEN_MOST, &seen) &&
               put_input(f, p, k, &original, &seen);
        qonnx_sample_free(&original.pixels, 1);
        qonnx_sample_free(&seen.pixels, 1);
    }
    fputs("</section>\n", f);
    qonnx_sample_free(p->tensors, qonnx_dataset_inputs(p->d));
    return good;
}

static bool put_page(void *user, FILE *f)
{
    const Preview *p = user;
    bool good = true;
    put_head(f, p);
    for (size_t i = 0; good && i < qonnx_dataset_count(p->d); i++)
        good = !interrupted() && !ferror(f) && put_sample(f, p, i);
    page_end(f, NULL);
    return good;
}

/* ---- the verb -------------------------------------------------------------------------------- */

/* Opens all samples, counts them, and keeps those of --limit. */
static qonnx_dataset *open_samples(Preview *p)
{
    Args all = *p->args;
    all.limit = 0;
    all.random = -1;
    qonnx_dataset *d = samples_open(p->cx, p->g, &all, all.data.text, all.data.count);
    p->all = d ? qonnx_dataset_count(d) : 0;
    if (d) samples_limit(d, p->args);
    return d;
}

static int preview(const Verb *verb, const Args *args)
{
    if (!args->data.count)
        return options_misuse(verb, "preview: too few operands: wants %s", verb->forms);
    if (!args->output)
        return options_misuse(verb, "preview: name the page with -o PAGE.html");
    Preview p = {.args = args, .cx = progress_ctx()};
    qonnx_graph *g = shaped_load(p.cx, args, args->operands[0]);
    p.g = g;
    qonnx_dataset *d = NULL;
    bool good = g && output_spared(p.cx, g, args->data.text, args->data.count, args->output) &&
                qonnx_output_check(p.cx, args->output) && (d = open_samples(&p));
    p.d = d;
    p.tensors = needed(calloc((d ? (size_t)qonnx_dataset_inputs(d) : 0) + 1, sizeof *p.tensors));
    good = good && qonnx_output_write(p.cx, args->output, put_page, &p);
    char size[SIZE_ROOM];
    if (good && !args->quiet)
        print_line("written      %s, %zu of %zu samples, %s", args->output, qonnx_dataset_count(d),
                   p.all, size_text(size, file_size(args->output)));
    int status = good ? EXIT_DONE : report_failure(p.cx);
    free(p.tensors);
    qonnx_dataset_free(d);
    qonnx_graph_free(g);
    qonnx_ctx_free(p.cx);
    return status;
}

static const Option options[] = {
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "the same as an operand DATA"},
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "PAGE.html", NULL,
     "the page to write; required"},
    {"limit", 0, OPTION_COUNT, offsetof(Args, limit), "N", "12",
     "show N samples, spread evenly; 0: all"},
    OPTION_RANDOM,
    OPTION_NPY,
    {.name = NULL},
};

const Verb verb_preview = {
    .name = "preview",
    .brief = "a page of samples as the model sees them, to look at",
    .forms = "MODEL DATA... -o PAGE.html",
    .text =
        "Writes one HTML file, which loads nothing: of each sample the picture in the file, what\n"
        "the model sees of it, and each channel's range, mean and histogram. The model does not\n"
        "run. What it sees is made of the tensor that it gets, by undoing scale, mean and std.\n"
        "DATA is what the other verbs take; inputs that are no pictures have ranges and\n"
        "histograms alone.",
    .examples = "qonnx preview model.onnx photos/ -o preview.html\n"
                "qonnx preview model.onnx photos/ -o preview.html --preset torchvision\n"
                "qonnx preview model.onnx photos/ -o preview.html --limit 30 --random 1\n"
                "qonnx preview model.onnx image=photos/ boxes=boxes/ -o preview.html",
    .options = options,
    .pictures = true,
    .data_operands = true,
    .least = 1,
    .most = -1,
    .run = preview,
};
