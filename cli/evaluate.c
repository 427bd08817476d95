/* cli/evaluate.c - qonnx evaluate: accuracy of models on samples, and how near each comes to the
 * first. The first model's outputs wait in a temporary file, so memory does not grow with the data.
 */
#include "calibrate.h"
#include "compare.h"
#include "compiled.h"
#include "options.h"
#include "output.h"
#include "pictures.h"
#include "progress.h"
#include "tensor.h"
#include <qonnx/qonnx.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is counted of one model. */
typedef struct Score {
    const char *path;
    size_t samples;       /* samples run */
    size_t labelled;      /* of these, with a class that the output has */
    size_t top1, top5;    /* of these, with the class first, and among the first five */
    size_t strays;        /* samples with a class that the output does not have */
    int stray;            /* the largest of these classes */
    int64_t length;       /* elements of the output: the model's classes */
    bool *seen;           /* [length] which of them samples have; owned */
    size_t classes;       /* how many these are */
    bool no_vector;       /* a sample has a class, and the output is no vector of one per class */
    bool five;            /* the output has more than five classes */
    Likeness likeness;    /* to the first model; the pairs are those of the first output */
    double seconds;       /* time of the run */
} Score;

/* One model being run. */
typedef struct Evaluation {
    Score *score;
    const qonnx_graph *g;
    const qonnx_dataset *d;
    Reference *reference; /* outputs of the first model; NULL when there is only one */
    bool writing;         /* this is the first model */
} Evaluation;

static double share(size_t part, size_t all) { return (double)part / (double)all; }

/* ---- accuracy -------------------------------------------------------------------------------- */

/* How many elements come before that of the class; ties go to the lower index. */
static int64_t rank_of(const qonnx_tensor *t, int64_t count, int64_t class)
{
    double own = element(t, class);
    if (isnan(own)) return count;
    int64_t before = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = element(t, i);
        before += x > own || (x == own && i < class);
    }
    return before;
}

/* Counts the classes that samples have, and those that the output does not have. */
static void note_class(Score *s, int64_t count, int class)
{
    if (!s->seen || count != s->length) {
        free(s->seen);
        s->seen = calloc((size_t)count, sizeof *s->seen);
        s->length = count;
        s->classes = 0;
    }
    if (class >= count && (!s->strays++ || class > s->stray)) s->stray = class;
    if (class >= count || !s->seen || s->seen[class]) return;
    s->seen[class] = true;
    s->classes++;
}

static void score_class(Score *s, const qonnx_tensor *t, int class)
{
    int64_t count = vector_length(t);
    if (class < 0) return;
    if (!count) {
        s->no_vector = true;
        return;
    }
    note_class(s, count, class);
    if (class >= count) return;
    int64_t before = rank_of(t, count, class);
    s->labelled++;
    s->top1 += before == 0;
    s->top5 += before < 5;
    s->five = count > 5;
}

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Evaluation *e = user;
    e->score->samples++;
    if (qonnx_graph_outputs(e->g))
        score_class(e->score, &outputs[0], qonnx_dataset_class(e->d, sample));
    for (int i = 0; e->reference && i < qonnx_graph_outputs(e->g); i++) {
        const qonnx_tensor *y = &outputs[i];
        if (!(e->writing ? reference_write(e->reference, y)
                         : reference_compare(e->reference, y, &e->score->likeness, i == 0)))
            return false;
    }
    return !interrupted();
}

/* ---- one model ------------------------------------------------------------------------------- */

/* Runs the model on the samples. A message is in the context when it fails. */
static bool run_graph(qonnx_ctx *cx, const Args *args, Evaluation *e)
{
    qonnx_dataset *d = samples_open(cx, e->g, args, args->data.text, args->data.count);
    qonnx_session_options o = session_options(args);
    qonnx_session *s = NULL;
    bool good = d && samples_classify(cx, d, e->g, args->labels, USE_EVALUATE) &&
                (args->compiled || (s = qonnx_session_new(cx, e->g, &o)) != NULL);
    double began = seconds_now();
    e->d = d;
    good = good && (args->compiled ? compiled_run(cx, e->g, d, on_outputs, e)
                                   : qonnx_session_run(cx, s, d, on_outputs, e));
    e->score->seconds = seconds_now() - began;
    qonnx_session_free(s);
    samples_close(d, e->g);
    return good && !(e->reference && e->reference->fault);
}

/* What the first model gets is what the others are measured by: where it only guesses, the samples
 * are most probably not what it was made for. */
static void warn_chance(const Score *s)
{
    enum { LEAST = 50, CLASSES = 3 };
    if (s->strays || s->labelled < LEAST || s->classes < CLASSES) return;
    if (s->top1 * s->classes > 2 * s->labelled) return;
    warn(
        "%s: gets %.2f %% of %zu samples of %zu classes right, and guessing gets %.2f %%; mostly "
        "the samples have another scale than in training: pictures are given as 0 to 255 unless "
        "--preset, or --scale, --mean and --std say otherwise; or the classes have another order: "
        "see --labels",
        s->path, 100 * share(s->top1, s->labelled), s->labelled, s->classes,
        100 / (double)s->classes);
}

static void warn_about(const Args *args, const Score *s, bool first)
{
    if (first) warn_chance(s);
    if (s->no_vector && args->labels)
        warn("%s: its first output is no vector with a score for each class; no accuracy, although "
             "--labels gives classes",
             s->path);
    if (s->strays)
        warn("%s: %zu samples have a class that the output does not have; no accuracy: it has %lld "
             "classes, from 0 on, and the samples have one of %d; check the folders or the labels",
             s->path, s->strays, (long long)s->length, s->stray);
    if (s->likeness.unlike)
        warn("%s: its outputs have not the size of the first model's; not compared", s->path);
    if (s->likeness.strange)
        warn("%s: %zu elements are not finite; left out of SQNR", s->path, s->likeness.strange);
}

/* A model that was loaded before its turn. */
typedef struct Loaded {
    qonnx_ctx *cx;  /* of its loading, with what went wrong; NULL: it was not */
    qonnx_graph *g; /* NULL: that failed */
} Loaded;

static void load(const Args *args, const char *path, Loaded *out)
{
    if (out->cx) return;
    out->cx = progress_ctx();
    out->g = runnable_load(out->cx, args, path);
}

/* Where the command line says nothing of pictures and there are several models, takes what the
 * metadata of the first that does says: they are compared on the same samples. */
static void share_pictures(Args *args, Loaded *models)
{
    for (int i = 0; !args->pictures && args->noperand > 1 && i < args->noperand; i++) {
        load(args, args->operands[i], &models[i]);
        if (!models[i].g || pictures_take(models[i].cx, args, models[i].g, args->operands[i]))
            return;
    }
}

/* Evaluates one model; `outputs` is the first model's number of outputs, set by the first. */
static int evaluate_model(const Args *args, Reference *reference, Score *score, Loaded *model,
                          bool first, int *outputs)
{
    load(args, score->path, model);
    qonnx_ctx *cx = model->cx;
    qonnx_graph *g = model->g;
    Evaluation e = {.score = score, .g = g, .reference = reference, .writing = first};
    if (first && g) *outputs = qonnx_graph_outputs(g);
    bool alike = g && qonnx_graph_outputs(g) == *outputs;
    if (reference && !first) reference_rewind(reference);
    int status = EXIT_DONE;
    if (g && !alike) {
        complain("%s: has %d outputs, the first model %d; evaluate them apart", score->path,
                 qonnx_graph_outputs(g), *outputs);
        status = EXIT_BAD;
    } else if (!g || !run_graph(cx, args, &e) || interrupted()) {
        status = reference && reference->fault ? EXIT_BAD : report_failure(cx);
    } else {
        warn_about(args, score, first);
    }
    progress_clear();
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    *model = (Loaded){NULL, NULL};
    return status;
}

/* ---- results --------------------------------------------------------------------------------- */

static bool has_accuracy(const Score *s) { return s->labelled && !s->strays; }
static void print_text(const Score *scores, int count, bool verbose)
{
    int width = 5;
    for (int i = 0; i < count; i++)
        if ((int)strlen(scores[i].path) > width) width = (int)strlen(scores[i].path);
    printf("%-*s  %8s  %8s  %8s  %9s  %9s%s\n", width, "model", "size", "top-1", "top-5", "SQNR",
           "agreement", verbose ? "  samples/s" : "");
    for (int i = 0; i < count; i++) {
        const Score *s = &scores[i];
        const Likeness *l = &s->likeness;
        char path[PATH_MAX], size[SIZE_ROOM], top1[PERCENT_ROOM], top5[PERCENT_ROOM];
        char ratio[SQNR_ROOM], agree[PERCENT_ROOM];
        printf("%-*s  %8s  %8s  %8s  %9s  %9s", width, clean_name(path, sizeof path, s->path),
               size_text(size, file_size(s->path)),
               percent_text(top1, has_accuracy(s), s->top1, s->labelled),
               percent_text(top5, has_accuracy(s) && s->five, s->top5, s->labelled),
               sqnr_text(ratio, l), percent_text(agree, l->paired, l->agreeing, l->paired));
        if (verbose) printf("  %9.1f", s->seconds > 0 ? (double)s->samples / s->seconds : 0);
        putchar('\n');
    }
    printf("%zu samples, %zu with a class\n", scores[0].samples, scores[0].labelled);
}

static json_t *share_json(bool known, size_t part, size_t all)
{
    return known ? json_number(share(part, all)) : json_null();
}

static void print_json(const Score *scores, int count)
{
    json_t *models = json_array();
    for (int i = 0; i < count; i++) {
        const Score *s = &scores[i];
        json_t *m = json_pack("{so sI so so}", "file", json_text(s->path), "bytes",
                              (json_int_t)file_size(s->path), "top1",
                              share_json(has_accuracy(s), s->top1, s->labelled), "top5",
                              share_json(has_accuracy(s) && s->five, s->top5, s->labelled));
        likeness_json(m, &s->likeness);
        json_object_set_new(m, "seconds", json_real(s->seconds));
        json_array_append_new(models, m);
    }
    json_print(json_pack("{sI sI so}", "samples", (json_int_t)scores[0].samples, "labelled",
                         (json_int_t)scores[0].labelled, "models", models));
}

static int evaluate(const Verb *verb, const Args *args)
{
    if (!args->data.count) return options_misuse(verb, "evaluate: give the samples with --data");
    int count = args->noperand, status = EXIT_DONE, outputs = 0;
    Args shared = *args; /* with the pictures of one model for all */
    Loaded *models = needed(calloc((size_t)count, sizeof *models));
    share_pictures(&shared, models);
    Score *scores = needed(calloc((size_t)count, sizeof *scores));
    Reference reference = {.file = NULL};
    if (count > 1 && !reference_open(&reference)) status = EXIT_BAD;
    for (int i = 0; i < count && status == EXIT_DONE; i++) {
        scores[i].path = args->operands[i];
        status = evaluate_model(&shared, count > 1 ? &reference : NULL, &scores[i], &models[i],
                                i == 0, &outputs);
    }
    if (status == EXIT_DONE && args->json) print_json(scores, count);
    if (status == EXIT_DONE && !args->json) print_text(scores, count, args->verbose);
    if (reference.fault) complain("temporary file: %s", reference.fault);
    reference_close(&reference);
    for (int i = 0; i < count; i++) free(scores[i].seen);
    free(scores);
    for (int i = 0; i < count; i++) {
        qonnx_graph_free(models[i].g);
        qonnx_ctx_free(models[i].cx);
    }
    free(models);
    if (!args->pictures) free(shared.pictures);
    if (!args->origin) free(shared.origin);
    return status;
}

static const Option options[] = {
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "samples: PATH, or NAME=PATH once per input;\n"
     "required"},
    {"labels", 0, OPTION_TEXT, offsetof(Args, labels), "FILE", NULL,
     "lines of 'FILE CLASS', for samples that do not stand\n"
     "in one folder a class; default: DATA/labels.txt"},
    {"fake-quant", 0, OPTION_FLAG, offsetof(Args, fake_quant), NULL, NULL,
     "run quantized operators in float between Q and DQ,\n"
     "to debug; the default is integers"},
    {"compiled", 0, OPTION_FLAG, offsetof(Args, compiled), NULL, NULL,
     "compile each model to C and that by $CC, and run the\n"
     "machine code"},
    {.name = NULL},
};

const Verb verb_evaluate = {
    .name = "evaluate",
    .brief = "accuracy against labels, and how near models come to the first",
    .forms = "MODEL [MODEL2...] --data DATA [--labels FILE]",
    .text =
        "Prints a line a model: size; top-1 and top-5 accuracy where classes are known; SQNR,\n"
        "10 log10(sum ref^2 / sum (ref - y)^2) over all samples and float outputs; and how often\n"
        "the largest element of the first output is the first model's.",
    .examples = "qonnx evaluate model.onnx model.int8.onnx --data test/\n"
                "qonnx evaluate model.onnx --data photos/ --labels labels.txt\n"
                "qonnx evaluate model.onnx a.onnx b.onnx --data test/ --json -j 4",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .least = 1,
    .most = -1,
    .run = evaluate,
};
