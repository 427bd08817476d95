/* cli/evaluate.c - qonnx evaluate: accuracy of models on samples, and how near each comes to the
 * first. The first model's outputs wait in a temporary file, so memory does not grow with the data.
 */
#include "calibrate.h"
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
    size_t paired;        /* samples whose first output is a vector, as the reference's is */
    size_t agreeing;      /* of these, with the same largest element */
    double signal, noise; /* sums of ref^2 and of (ref - y)^2 over finite elements */
    size_t compared;      /* elements in these sums */
    size_t strange;       /* elements left out of them: not finite */
    bool unlike;          /* an output has another number of elements than the reference's */
    double seconds;       /* time of the run */
} Score;

/* One model being run. */
typedef struct Evaluation {
    Score *score;
    const qonnx_graph *g;
    const qonnx_dataset *d;
    FILE *reference; /* outputs of the first model; NULL when there is only one */
    bool writing;    /* this is the first model */
    void *buffer;    /* a reference tensor's data */
    size_t room;     /* bytes in buffer */
    bool failed;     /* the temporary file is at fault; the message has been printed */
} Evaluation;

static double share(size_t part, size_t all) { return (double)part / (double)all; }

static int64_t largest_index(const qonnx_tensor *t, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (element(t, i) > element(t, best)) best = i;
    return best;
}

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

/* ---- against the reference ------------------------------------------------------------------- */

static bool reference_fails(Evaluation *e)
{
    complain("temporary file: %s", errno ? strerror(errno) : "too short");
    e->failed = true;
    return false;
}

static bool reference_write(Evaluation *e, const qonnx_tensor *t)
{
    errno = 0;
    bool good = fwrite(t, sizeof *t, 1, e->reference) == 1 &&
                (!t->bytes || fwrite(t->data, 1, t->bytes, e->reference) == t->bytes);
    return good || reference_fails(e);
}

/* The next tensor; its data stays until the next call. */
static bool reference_read(Evaluation *e, qonnx_tensor *t)
{
    errno = 0;
    if (fread(t, sizeof *t, 1, e->reference) != 1) return reference_fails(e);
    if (t->bytes > e->room) {
        free(e->buffer);
        e->buffer = malloc(t->bytes);
        e->room = e->buffer ? t->bytes : 0;
        if (!e->buffer) return reference_fails(e);
    }
    t->data = e->buffer;
    return !t->bytes || fread(e->buffer, 1, t->bytes, e->reference) == t->bytes ||
           reference_fails(e);
}

static void compare_output(Score *s, const qonnx_tensor *y, const qonnx_tensor *ref, bool first)
{
    int64_t count = qonnx_tensor_elements(ref);
    if (qonnx_tensor_elements(y) != count) {
        s->unlike = true;
        return;
    }
    if (!is_real(ref->dtype) || !is_real(y->dtype)) return;
    for (int64_t i = 0; i < count; i++) {
        double a = element(ref, i), b = element(y, i);
        if (!isfinite(a) || !isfinite(b)) {
            s->strange++;
            continue;
        }
        s->signal += a * a;
        s->noise += (a - b) * (a - b);
        s->compared++;
    }
    if (!first || !vector_length(ref) || !vector_length(y)) return;
    s->paired++;
    s->agreeing += largest_index(y, count) == largest_index(ref, count);
}

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Evaluation *e = user;
    e->score->samples++;
    if (qonnx_graph_outputs(e->g))
        score_class(e->score, &outputs[0], qonnx_dataset_class(e->d, sample));
    for (int i = 0; e->reference && i < qonnx_graph_outputs(e->g); i++) {
        qonnx_tensor ref;
        if (e->writing) {
            if (!reference_write(e, &outputs[i])) return false;
        } else {
            if (!reference_read(e, &ref)) return false;
            compare_output(e->score, &outputs[i], &ref, i == 0);
        }
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
    return good && !e->failed;
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
    if (s->unlike)
        warn("%s: its outputs have not the size of the first model's; not compared", s->path);
    if (s->strange) warn("%s: %zu elements are not finite; left out of SQNR", s->path, s->strange);
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
static int evaluate_model(const Args *args, FILE *reference, Score *score, Loaded *model,
                          bool first, int *outputs)
{
    load(args, score->path, model);
    qonnx_ctx *cx = model->cx;
    qonnx_graph *g = model->g;
    Evaluation e = {.score = score, .g = g, .reference = reference, .writing = first};
    if (first && g) *outputs = qonnx_graph_outputs(g);
    bool alike = g && qonnx_graph_outputs(g) == *outputs;
    if (reference && !first) rewind(reference);
    int status = EXIT_DONE;
    if (g && !alike) {
        complain("%s: has %d outputs, the first model %d; evaluate them apart", score->path,
                 qonnx_graph_outputs(g), *outputs);
        status = EXIT_BAD;
    } else if (!g || !run_graph(cx, args, &e) || interrupted()) {
        status = e.failed ? EXIT_BAD : report_failure(cx);
    } else {
        warn_about(args, score, first);
    }
    progress_clear();
    free(e.buffer);
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    *model = (Loaded){NULL, NULL};
    return status;
}

/* ---- results --------------------------------------------------------------------------------- */

static bool has_accuracy(const Score *s) { return s->labelled && !s->strays; }
static bool has_sqnr(const Score *s) { return s->compared && !s->unlike; }
static double sqnr(const Score *s) { return 10 * log10(s->signal / s->noise); }

/* "93.50 %" or "-" into out[16]. */
static const char *percent_text(char *out, bool known, size_t part, size_t all)
{
    if (known) snprintf(out, 16, "%.2f %%", 100 * share(part, all));
    else strcpy(out, "-");
    return out;
}

/* "13.31 dB", "exact" or "-" into out[24]. */
static const char *sqnr_text(char *out, const Score *s)
{
    if (!has_sqnr(s)) strcpy(out, "-");
    else if (s->noise == 0) strcpy(out, "exact");
    else snprintf(out, 24, "%.2f dB", sqnr(s));
    return out;
}

static void print_text(const Score *scores, int count, bool verbose)
{
    int width = 5;
    for (int i = 0; i < count; i++)
        if ((int)strlen(scores[i].path) > width) width = (int)strlen(scores[i].path);
    printf("%-*s  %8s  %8s  %8s  %9s  %9s%s\n", width, "model", "size", "top-1", "top-5", "SQNR",
           "agreement", verbose ? "  samples/s" : "");
    for (int i = 0; i < count; i++) {
        const Score *s = &scores[i];
        char path[PATH_MAX], size[SIZE_ROOM], top1[16], top5[16], ratio[24], agree[16];
        printf("%-*s  %8s  %8s  %8s  %9s  %9s", width, clean_name(path, sizeof path, s->path),
               size_text(size, file_size(s->path)),
               percent_text(top1, has_accuracy(s), s->top1, s->labelled),
               percent_text(top5, has_accuracy(s) && s->five, s->top5, s->labelled),
               sqnr_text(ratio, s), percent_text(agree, s->paired, s->agreeing, s->paired));
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
        bool exact = has_sqnr(s) && s->noise == 0;
        json_array_append_new(
            models,
            json_pack("{so sI so so so sb so sf}", "file", json_text(s->path), "bytes",
                      (json_int_t)file_size(s->path), "top1",
                      share_json(has_accuracy(s), s->top1, s->labelled), "top5",
                      share_json(has_accuracy(s) && s->five, s->top5, s->labelled), "sqnr_db",
                      has_sqnr(s) && !exact ? json_number(sqnr(s)) : json_null(), "exact", exact,
                      "agreement", share_json(s->paired, s->agreeing, s->paired), "seconds",
                      s->seconds));
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
    Score *scores = calloc((size_t)count, sizeof *scores);
    FILE *reference = count > 1 ? tmpfile() : NULL;
    if (!scores || (count > 1 && !reference)) {
        complain("temporary file: %s", strerror(errno));
        status = EXIT_BAD;
    }
    for (int i = 0; i < count && status == EXIT_DONE; i++) {
        scores[i].path = args->operands[i];
        status = evaluate_model(&shared, reference, &scores[i], &models[i], i == 0, &outputs);
    }
    if (status == EXIT_DONE && args->json) print_json(scores, count);
    if (status == EXIT_DONE && !args->json) print_text(scores, count, args->verbose);
    if (reference) fclose(reference);
    for (int i = 0; scores && i < count; i++) free(scores[i].seen);
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
