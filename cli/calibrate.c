/* cli/calibrate.c - qonnx calibrate: statistics of a model's activations, from sample data. */
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "pipeline.h"
#include "progress.h"
#include "statistics.h"
#include "tally.h"
#include "trained.h"
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* Gives the graph the shapes of --shape; it is freed where they do not fit, and NULL comes back. */
static qonnx_graph *shaped(qonnx_ctx *cx, qonnx_graph *g, const Args *args)
{
    if (!g || qonnx_graph_fix_shapes(cx, g, args->shapes.text, args->shapes.count)) return g;
    qonnx_graph_free(g);
    return NULL;
}

qonnx_graph *shaped_load(qonnx_ctx *cx, const Args *args, const char *path)
{
    return shaped(cx, qonnx_model_load(cx, path), args);
}

qonnx_graph *runnable_load(qonnx_ctx *cx, const Args *args, const char *path)
{
    const qonnx_pipeline_options o = {0};
    qonnx_graph *g = shaped_load(cx, args, path);
    if (!g || qonnx_pipeline_run(cx, g, "raise-opset", &o)) return g;
    qonnx_graph_free(g);
    return NULL;
}

qonnx_graph *shaped_copy(qonnx_ctx *cx, const qonnx_graph *g, const Args *args)
{
    return shaped(cx, qonnx_graph_copy(g), args);
}

bool shapes_fit(qonnx_ctx *cx, const qonnx_graph *g, const Args *args)
{
    if (!args->shapes.count) return true;
    qonnx_graph *copy = shaped_copy(cx, g, args);
    qonnx_graph_free(copy);
    return copy != NULL;
}

bool output_spared(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs, int nspecs,
                   const char *output)
{
    qonnx_plugin_inputs(cx);
    if (nspecs) qonnx_data_inputs(cx, g, specs, nspecs);
    return qonnx_output_spares(cx, output);
}

qonnx_session_options session_options(const Args *args)
{
    return (qonnx_session_options){.engine = args->engine,
                                   .max_memory = args->max_memory,
                                   .threads = (int)args->jobs,
                                   .fake_quant = args->fake_quant,
                                   .damaged = args->max_bad < 100 ? args->max_bad / 100 : 1};
}

/* ---- what is calibrated ---------------------------------------------------------------------- */

typedef struct Check {
    qonnx_ctx *cx;
    const char *file;     /* of the model */
    bool allow_nonfinite; /* what is not finite is no reason */
    bool good;            /* so far */
} Check;

/* Looks for NaN and infinite elements in the constant input `i` of a node. */
static void check_finite(Check *c, const qonnx_node *n, int i)
{
    const qonnx_value *v = i >= 0 ? qonnx_node_input(n, i) : NULL;
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    long long nan = 0, inf = 0, count = t && t->dtype == QONNX_FLOAT ? qonnx_tensor_elements(t) : 0;
    for (long long k = 0; k < count; k++) {
        double x = qonnx_tensor_get(t, k);
        nan += isnan(x) != 0;
        inf += isinf(x) != 0;
    }
    if (nan || inf)
        c->good = qonnx_fail(c->cx, n,
                             "'%s' holds %lld NaN and %lld infinite of %lld values; export the "
                             "model again, or leave such operators in float: --allow-nonfinite",
                             qonnx_value_name(v), nan, inf, count);
}

/* A model in double is refused: one that has an input in double, or a matrix product. Other values
 * may be, they stay as they are. */
static void check_type(Check *c, const qonnx_value *v)
{
    if (v && qonnx_value_dtype(v) == QONNX_DOUBLE)
        c->good = qonnx_fail(c->cx, NULL,
                             "%s: '%s' is double; models in float are quantized: export it in "
                             "float (float32)",
                             c->file, qonnx_value_name(v));
}

static void check_node(void *user, const qonnx_node *n)
{
    Check *c = user;
    qonnx_rule rule = qonnx_node_rule(n);
    bool product =
        (rule.weight >= 0 && rule.kind != QONNX_RULE_FLOAT) || qonnx_node_is(n, "MatMul");
    for (int i = 0; product && c->good && i < 2; i++) check_type(c, qonnx_node_input(n, i));
    if (c->good && !c->allow_nonfinite) check_finite(c, n, rule.weight);
    if (c->good && !c->allow_nonfinite) check_finite(c, n, rule.bias);
}

bool calibratable(qonnx_ctx *cx, const qonnx_graph *g, const Args *args)
{
    Check c = {cx, args->operands[0], args->allow_nonfinite, true};
    for (int i = 0; i < qonnx_graph_values(g) && c.good; i++)
        if (qonnx_value_is_input(qonnx_graph_value(g, i))) check_type(&c, qonnx_graph_value(g, i));
    visit_nodes(g, check_node, &c);
    return c.good;
}

/* The file of checkpoints, beside the output; malloc'd. NULL: there is none. */
static char *checkpoint_path(const Args *args)
{
    char *path = NULL;
    bool wanted = args->checkpoint > 0 || args->resume;
    if (wanted && !to_stdout(args) && asprintf(&path, "%s.part", args->output) < 0) needed(NULL);
    return path;
}

/* Looks for the checkpoint of an earlier run. Returns whether to go on from it. */
static bool find_checkpoint(const Args *args, const char *path)
{
    bool there = path && file_size(path) >= 0;
    if (args->resume && !there) warn("%s: is not there; starting with the first sample", path);
    if (!args->resume && there)
        warn("%s: is the checkpoint of a run that did not end; it is replaced, for --resume is not "
             "given",
             path);
    return args->resume && there;
}

qonnx_stats *statistics_collect(qonnx_ctx *cx, const qonnx_graph *g, const Args *args,
                                const char *const *specs, int nspecs, const char *prefix)
{
    qonnx_graph *copy = shaped_copy(cx, g, args);
    qonnx_dataset *d = copy ? samples_open(cx, copy, args, specs, nspecs) : NULL;
    qonnx_session_options o = session_options(args);
    qonnx_collect_options part = {.shard = (uint32_t)args->shard.index,
                                  .shards = (uint32_t)args->shard.of,
                                  .interval = args->checkpoint};
    char *checkpoint = checkpoint_path(args);
    part.checkpoint = checkpoint;
    part.resume = d && find_checkpoint(args, checkpoint);
    qonnx_stats *s = d && samples_classify(cx, d, copy, NULL, USE_CALIBRATE)
                         ? qonnx_stats_collect(cx, copy, d, &o, &part, prefix)
                         : NULL;
    free(checkpoint);
    progress_clear();
    samples_close(d, copy);
    qonnx_graph_free(copy);
    bool whole = !args->shard.of; /* else there are others, and the whole may be many */
    if (s && whole && !interrupted()) warn_few(NULL, qonnx_stats_samples(s));
    return s;
}

static void print_summary(const Args *args, const qonnx_stats *s, double seconds)
{
    double rate = seconds > 0 ? (double)qonnx_stats_samples(s) / seconds : 0;
    char lines[80];
    snprintf(lines, sizeof lines, "time         %.2f s, %.1f samples/s\n", seconds, rate);
    statistics_summary(args, s, lines,
                       json_pack("{sf sf}", "seconds", seconds, "samples_per_second", rate));
}

/* The work between reading the command line and printing. Returns the exit status. */
static int collect_and_save(qonnx_ctx *cx, const Args *args, qonnx_graph *g, const char *prefix)
{
    const qonnx_pipeline_options o = {0};
    const char *const *specs = args->data.text;
    int nspecs = args->data.count;
    Trained *trained = g ? trained_read(g) : NULL;
    if (!g || !shapes_fit(cx, g, args) ||
        !(to_stdout(args) || output_spared(cx, g, specs, nspecs, args->output)) ||
        !qonnx_pipeline_run(cx, g, prefix, &o) || !calibratable(cx, g, args)) {
        trained_free(trained);
        return report_failure(cx);
    }
    double began = seconds_now();
    qonnx_stats *s = statistics_collect(cx, g, args, specs, nspecs, prefix);
    double seconds = seconds_now() - began;
    if (s) trained_warn(trained, s);
    trained_free(trained);
    bool good = s && !interrupted() && statistics_save(cx, args, s);
    char *checkpoint = good ? checkpoint_path(args) : NULL;
    if (checkpoint) unlink(checkpoint); /* most often there is none */
    free(checkpoint);
    if (good) print_summary(args, s, seconds);
    qonnx_stats_free(s);
    return good ? EXIT_DONE : report_failure(cx);
}

static int calibrate(const Verb *verb, const Args *args)
{
    if (!args->data.count)
        return options_misuse(verb, "calibrate: too few operands: wants %s", verb->forms);
    int status = statistics_usage(verb, args);
    if (status < 0 && args->resume && to_stdout(args))
        status = options_misuse(verb, "calibrate: --resume wants a file as the output, which has "
                                      "its checkpoint beside it");
    if (status >= 0) return status;
    Passes passes = passes_split(qonnx_pipeline_prefix());
    status = passes_insert_all(verb, args, &passes);
    char *prefix = passes_join(&passes, 0, passes.count);
    if (status < 0) {
        qonnx_ctx *cx = progress_ctx();
        bool good = statistics_check(cx, args) && passes_check(cx, &passes);
        qonnx_graph *g = good ? qonnx_model_load(cx, args->operands[0]) : NULL;
        status = collect_and_save(cx, args, g, prefix);
        qonnx_graph_free(g);
        qonnx_ctx_free(cx);
    }
    free(prefix);
    passes_free(&passes);
    return status;
}

static const Option options[] = {
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "the same as an operand DATA"},
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "M.qcal", NULL,
     "the file of statistics to write, - for standard\n"
     "output; required"},
    {"shard", 0, OPTION_SHARD, offsetof(Args, shard), "I/N", NULL,
     "take every N-th sample from the I-th on, I from 1 to\n"
     "N; 'qonnx merge' makes the N files one"},
    {"pass", 0, OPTION_LIST, offsetof(Args, passes), "PASS[@AFTER]", NULL,
     "run a pass more before, NAME or NAME{OPTION=VALUE},\n"
     "behind the pass AFTER; without it, as the last one"},
    {"checkpoint", 0, OPTION_REAL, offsetof(Args, checkpoint), "SECONDS", "60",
     "write what was counted so far to M.qcal.part, every\n"
     "so many seconds until all is done; 0: never"},
    {"resume", 0, OPTION_FLAG, offsetof(Args, resume), NULL, NULL,
     "go on from M.qcal.part, which a run left that was\n"
     "ended; without it, start at the first sample"},
    OPTION_ALLOW_NONFINITE,
    OPTION_MAX_BAD,
    {.name = NULL},
};

const Verb verb_calibrate = {
    .name = "calibrate",
    .brief = "statistics of a model's activations, from sample data",
    .forms = "MODEL DATA... -o M.qcal",
    .text =
        "Runs the float model on the samples once and keeps what every observer needs, so that\n"
        "'qonnx quantize --calibration' can choose ranges without running it again.\n"
        "DATA is a directory of pictures, .npy, .npz or .bin files, with all below it, a file,\n"
        "or @LIST, a text file with a path a line (@-: standard input); any number of them. For a\n"
        "model of several inputs it is NAME=PATH, once per input. Give 20 samples at least.",
    .examples = "qonnx calibrate model.onnx photos/ -o model.qcal\n"
                "qonnx calibrate bert.onnx input_ids=ids/ attention_mask=mask/ -o bert.qcal -j 4\n"
                "qonnx calibrate model.onnx photos/ -o model.qcal --engine portable --limit 100\n"
                "qonnx calibrate model.onnx photos/ -o part1.qcal --shard 1/4\n"
                "qonnx calibrate model.onnx photos/ -o model.qcal --resume\n"
                "find /photos -name '*.jpg' | qonnx calibrate model.onnx @- -o model.qcal",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .plugins = true,
    .streams = true,
    .data_operands = true,
    .least = 1,
    .most = -1,
    .run = calibrate,
};
