/* cli/evaluate.c - qonnx evaluate: accuracy of models on samples, and how near each comes to the
 * first. The first model's outputs wait in a temporary file, so memory does not grow with the data.
 */
#include "calibrate.h"
#include "compare.h"
#include "compiled.h"
#include "costs.h"
#include "latency.h"
#include "layer_errors.h"
#include "metrics/metric.h"
#include "options.h"
#include "output.h"
#include "pictures.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What comes of one model. */
typedef struct Result {
    const char *path;
    size_t samples;    /* samples run */
    Scorings metrics;  /* what it is scored by */
    Likeness likeness; /* to the first model; the pairs are those of the first output */
    double seconds;    /* time of the run */
    Costs costs;       /* with --costs */
    Latency latency;   /* of one sample, with --costs */
    size_t memory;     /* bytes of a run in a thread; 0: not known */
} Result;

/* One model being run. */
typedef struct Evaluation {
    Result *result;
    const qonnx_graph *g;
    Reference *reference; /* outputs of the first model; NULL when there is only one */
    bool writing;         /* this is the first model */
    bool failed;          /* a message has been printed */
} Evaluation;

/* ---- one model ------------------------------------------------------------------------------- */

/* Adds output i of a sample. */
static bool add_output(Evaluation *e, size_t sample, const qonnx_tensor *outputs, int i)
{
    qonnx_tensor ref;
    bool compared = e->reference && !e->writing;
    if (e->reference && e->writing && !reference_write(e->reference, &outputs[i])) return false;
    if (compared && !reference_read(e->reference, &ref)) return false;
    if (compared) likeness_add(&e->result->likeness, &outputs[i], &ref, i == 0);
    e->failed = !metrics_add(&e->result->metrics, sample, outputs, i, compared ? &ref : NULL);
    return !e->failed;
}

static bool on_outputs(void *user, size_t sample, const qonnx_tensor *outputs)
{
    Evaluation *e = user;
    e->result->samples++;
    for (int i = 0; i < qonnx_graph_outputs(e->g); i++)
        if (!add_output(e, sample, outputs, i)) return false;
    return !interrupted();
}

/* Runs the model on the samples. When it fails a message is in the context, or e->failed. */
static bool run_graph(qonnx_ctx *cx, const Args *args, Evaluation *e)
{
    Result *r = e->result;
    qonnx_dataset *d = samples_open(cx, e->g, args, args->data.text, args->data.count);
    qonnx_session_options o = session_options(args);
    qonnx_session *s = NULL;
    bool good =
        d && (!metrics_class(args) || samples_classify(cx, d, e->g, args->labels, USE_EVALUATE));
    if (good) {
        e->failed = !metrics_begin(cx, args, r->path, e->g, d, e->writing, &r->metrics);
        good = !e->failed && (args->compiled || (s = qonnx_session_new(cx, e->g, &o)) != NULL);
    }
    double began = seconds_now();
    good = good && (args->compiled ? compiled_run(cx, e->g, d, on_outputs, e)
                                   : qonnx_session_run(cx, s, d, on_outputs, e));
    r->seconds = seconds_now() - began;
    good = good && !e->failed && !(e->reference && e->reference->fault) && !interrupted();
    if (good) good = !(e->failed = !metrics_end(&r->metrics));
    if (good && args->costs) good = costs_count(cx, e->g, &r->costs);
    if (good && args->costs && s) r->latency = latency_measure(s, d);
    if (s) r->memory = qonnx_session_memory(s);
    metrics_let_go(&r->metrics);
    qonnx_session_free(s);
    samples_close(d, e->g);
    return good;
}

static void warn_about(const Result *r)
{
    if (r->likeness.unlike)
        warn("%s: its outputs have not the size of the first model's; not compared", r->path);
    if (r->likeness.strange)
        warn("%s: %zu elements are not finite; left out of SQNR", r->path, r->likeness.strange);
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
static int evaluate_model(const Args *args, Reference *reference, Result *result, Loaded *model,
                          bool first, int *outputs)
{
    load(args, result->path, model);
    qonnx_ctx *cx = model->cx;
    qonnx_graph *g = model->g;
    Evaluation e = {.result = result, .g = g, .reference = reference, .writing = first};
    if (first && g) *outputs = qonnx_graph_outputs(g);
    bool alike = g && qonnx_graph_outputs(g) == *outputs;
    if (reference && !first) reference_rewind(reference);
    int status = EXIT_DONE;
    if (g && !alike) {
        complain("%s: has %d outputs, the first model %d; evaluate them apart", result->path,
                 qonnx_graph_outputs(g), *outputs);
        status = EXIT_BAD;
    } else if (!g || !run_graph(cx, args, &e) || interrupted()) {
        bool told = e.failed && !interrupted();
        status = told || (reference && reference->fault) ? EXIT_BAD : report_failure(cx);
    } else {
        warn_about(result);
    }
    progress_clear();
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    *model = (Loaded){NULL, NULL};
    return status;
}

/* ---- results --------------------------------------------------------------------------------- */

/* The longest of a column's texts. */
static int column_width(const Result *results, int count, int metric)
{
    char text[SCORE_ROOM];
    size_t width = strlen(metric_title(text, &results[0].metrics.of[metric]));
    for (int i = 0; i < count; i++) {
        size_t n = strlen(score_text(text, &results[i].metrics.of[metric]));
        if (n > width) width = n;
    }
    return width < 8 ? 8 : (int)width;
}

static void print_scores(const Result *results, int count, int i)
{
    const Scorings *all = &results[i < 0 ? 0 : i].metrics;
    char text[SCORE_ROOM];
    for (int k = 0; k < all->count; k++)
        printf("  %*s", column_width(results, count, k),
               i < 0 ? metric_title(text, &all->of[k]) : score_text(text, &all->of[k]));
}

/* A line a model, and for each what its energy is made of. */
static void print_costs(const Result *results, int count, int width)
{
    char path[PATH_MAX], weights[SIZE_ROOM], memory[SIZE_ROOM], energy[SIZE_ROOM],
        latency[SIZE_ROOM];
    printf("\n%-*s  %9s  %9s  %9s  %14s  %9s\n", width, "costs of a sample", "weights", "memory",
           "latency", "MACs", "energy");
    for (int i = 0; i < count; i++) {
        const Result *r = &results[i];
        printf("%-*s  %9s  %9s  %9s  %14.0f  %9s\n", width, clean_name(path, sizeof path, r->path),
               size_text(weights, r->costs.weights),
               r->memory ? size_text(memory, (double)r->memory) : "-",
               latency_text(latency, &r->latency), r->costs.macs,
               energy_text(energy, r->costs.energy));
    }
    if (results[0].latency.runs)
        printf("latency: the median of %d runs with one sample, in %d thread, on this machine\n",
               results[0].latency.runs, LATENCY_THREADS);
    for (int i = 0; i < count; i++) {
        printf("\n%s\n", clean_name(path, sizeof path, results[i].path));
        costs_print(&results[i].costs);
    }
}

static void print_text(const Result *results, int count, const Args *args)
{
    int width = args->costs ? 17 : 5;
    for (int i = 0; i < count; i++)
        if ((int)strlen(results[i].path) > width) width = (int)strlen(results[i].path);
    printf("%-*s  %8s", width, "model", "size");
    print_scores(results, count, -1);
    printf("  %9s  %9s%s\n", "SQNR", "agreement", args->verbose ? "  samples/s" : "");
    for (int i = 0; i < count; i++) {
        const Result *s = &results[i];
        const Likeness *l = &s->likeness;
        char path[PATH_MAX], size[SIZE_ROOM], ratio[SQNR_ROOM], agree[PERCENT_ROOM];
        printf("%-*s  %8s", width, clean_name(path, sizeof path, s->path),
               size_text(size, file_size(s->path)));
        print_scores(results, count, i);
        printf("  %9s  %9s", sqnr_text(ratio, l),
               percent_text(agree, l->paired, l->agreeing, l->paired));
        if (args->verbose) printf("  %9.1f", s->seconds > 0 ? (double)s->samples / s->seconds : 0);
        putchar('\n');
    }
    printf("%zu samples", results[0].samples);
    if (!args->metrics.count) printf(", %zu with a class", results[0].metrics.of[0].score.samples);
    putchar('\n');
    if (args->costs) print_costs(results, count, width);
}

/* What was scored by a metric without options; null: it was not asked for, or is not known. */
static json_t *score_json(const Scorings *all, const char *name)
{
    for (int i = 0; i < all->count; i++)
        if (!strcmp(all->of[i].text, name) && all->of[i].score.known)
            return json_number(all->of[i].score.value);
    return json_null();
}

static json_t *result_costs(const Result *r)
{
    json_t *costs = costs_json(&r->costs);
    json_object_set_new(costs, "memory_bytes",
                        r->memory ? json_integer((json_int_t)r->memory) : json_null());
    return costs;
}

static json_t *latency_json(const Latency *l)
{
    if (!l->runs) return json_null();
    return json_pack("{sf si si}", "seconds", l->seconds, "runs", l->runs, "threads",
                     LATENCY_THREADS);
}

static void print_json(const Result *results, int count, bool costs)
{
    json_t *models = json_array();
    for (int i = 0; i < count; i++) {
        const Result *s = &results[i];
        json_t *m = json_pack(
            "{so sI so so}", "file", json_text(s->path), "bytes", (json_int_t)file_size(s->path),
            "top1", score_json(&s->metrics, "top1"), "top5", score_json(&s->metrics, "top5"));
        scores_json(m, &s->metrics);
        likeness_json(m, &s->likeness);
        json_object_set_new(m, "seconds", json_real(s->seconds));
        if (costs) json_object_set_new(m, "costs", result_costs(s));
        if (costs) json_object_set_new(m, "latency", latency_json(&s->latency));
        json_array_append_new(models, m);
    }
    json_print(json_pack("{sI sI so}", "samples", (json_int_t)results[0].samples, "labelled",
                         (json_int_t)results[0].metrics.of[0].score.samples, "models", models));
}

static int evaluate_models(const Args *args, Loaded *models)
{
    int count = args->noperand, status = EXIT_DONE, outputs = 0;
    Result *results = needed(calloc((size_t)count, sizeof *results));
    Reference reference = {.file = NULL};
    if (count > 1 && !reference_open(&reference)) status = EXIT_BAD;
    for (int i = 0; i < count && status == EXIT_DONE; i++) {
        results[i].path = args->operands[i];
        status = evaluate_model(args, count > 1 ? &reference : NULL, &results[i], &models[i],
                                i == 0, &outputs);
    }
    if (status == EXIT_DONE && args->json) print_json(results, count, args->costs);
    if (status == EXIT_DONE && !args->json) print_text(results, count, args);
    if (reference.fault) complain("temporary file: %s", reference.fault);
    reference_close(&reference);
    for (int i = 0; i < count; i++) metrics_free(&results[i].metrics);
    free(results);
    return status;
}

/* Checks the command line. Returns -1 to go on. */
static int usage(const Verb *verb, const Args *args)
{
    if (!args->data.count) return options_misuse(verb, "evaluate: give the samples with --data");
    if (args->layers && (args->compiled || args->costs || args->metrics.count || args->labels))
        return options_misuse(verb,
                              "evaluate: --layers looks at values within the models; leave out "
                              "--compiled, --costs, --metric and --labels");
    if (args->layers && args->noperand != 2)
        return options_misuse(verb, "evaluate: --layers compares two models: the one in float, "
                                    "then the quantized one");
    return metrics_check(verb, args);
}

static int evaluate(const Verb *verb, const Args *args)
{
    int count = args->noperand, status = usage(verb, args);
    if (status >= 0) return status;
    Args shared = *args; /* with the pictures of one model for all */
    Loaded *models = needed(calloc((size_t)count, sizeof *models));
    share_pictures(&shared, models);
    status = args->layers ? layer_errors(&shared) : evaluate_models(&shared, models);
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
    OPTION_SCORED_DATA,
    {"labels", 0, OPTION_TEXT, offsetof(Args, labels), "PATH", NULL,
     "lines of 'FILE CLASS', for samples that do not stand\n"
     "in one folder a class; default: DATA/labels.txt. For\n"
     "other metrics arrays, pairs or boxes: docs/metrics.md"},
    {"metric", 0, OPTION_LIST, offsetof(Args, metrics), "NAME[{...}]|PROGRAM", NULL,
     "score by this instead of top1 and top5; again for\n"
     "more. ./PROGRAM or 'COMMAND ARGUMENT...' is run with the\n"
     "folder of outputs and the labels, and prints a number"},
    OPTION_METRIC_TIMEOUT,
    {"costs", 0, OPTION_FLAG, offsetof(Args, costs), NULL, NULL,
     "what a run of each model takes: weights, memory, time\n"
     "of one sample in one thread, MACs, and an estimate of\n"
     "energy with what it is made of"},
    {"layers", 0, OPTION_FLAG, offsetof(Args, layers), NULL, NULL,
     "SQNR of each layer of the second model against the\n"
     "first: accumulated, and its own, fed with the first\n"
     "model's values; on 16 samples unless --limit is given"},
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
    .forms = "MODEL [MODEL2...] --data DATA [--labels PATH] [--metric NAME]...\n"
             "MODEL QUANTIZED --data DATA --layers",
    .text =
        "Prints a line a model: size; top-1 and top-5 accuracy where classes are known, or what\n"
        "--metric asks for; SQNR, 10 log10(sum ref^2 / sum (ref - y)^2) over all samples and\n"
        "float outputs; and how often the largest element of the first output is the first\n"
        "model's.",
    .examples = "qonnx evaluate model.onnx model.int8.onnx --data test/\n"
                "qonnx evaluate sr.onnx --data low/ --labels high/ --metric 'psnr{peak=1}'\n"
                "qonnx evaluate yolo.onnx --data val/ --labels instances_val.json --metric map\n"
                "qonnx evaluate model.onnx --data photos/ --labels labels.txt\n"
                "qonnx evaluate model.onnx model.int8.onnx --data test/ --layers\n"
                "qonnx evaluate model.onnx a.onnx b.onnx --data test/ --json -j 4",
    .options = options,
    .more = metrics_help,
    .samples = true,
    .pictures = true,
    .json = true,
    .least = 1,
    .most = -1,
    .run = evaluate,
};
