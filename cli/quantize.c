/* cli/quantize.c - qonnx quantize: a float model to one that runs in integers. The options become
 * the text of a pipeline; the passes before `calibrate` run, then the statistics come from the data
 * or from a file, then the other passes run.
 */
#include "budget.h"
#include "calibrate.h"
#include "check.h"
#include "choices.h"
#include "options.h"
#include "output.h"
#include "pipeline.h"
#include "placed.h"
#include "progress.h"
#include "provenance.h"
#include "samples.h"
#include "statistics.h"
#include "trained.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

typedef enum Stage {
    STAGE_LOAD,
    STAGE_PREFIX,
    STAGE_STATISTICS,
    STAGE_OPTIMIZE,
    STAGE_PASSES,
    STAGE_CHECK,
    STAGE_SAVE
} Stage;
enum { STAGES = STAGE_SAVE + 1 };

typedef struct Job {
    const Args *args;
    qonnx_ctx *cx;
    qonnx_graph *g;         /* the model */
    qonnx_stats *stats;     /* NULL: the pipeline has no `calibrate` */
    Trained *trained;       /* what the model was trained on */
    Passes passes;          /* the whole pipeline */
    qonnx_graph *shaped;    /* a copy of the model for which `samples` were opened */
    qonnx_dataset *samples; /* for passes that ask for them, and --optimize; NULL: none does */
    int split;              /* index of `calibrate`; passes.count when it is not there */
    Optimized optimized;    /* what --optimize has tried */
    Budgeted budgeted;      /* the layers that a budget wants in float */
    Comparison check;       /* how near the result comes to the model */
    double before;          /* bytes of the model's file */
    double seconds[STAGES]; /* where the time went */
} Job;

/* ---- the pipeline ---------------------------------------------------------------------------- */

/* The pipeline that the options but --pass ask for. */
static Passes pipeline_of(const Args *args)
{
    const char *text = args->requantize ? qonnx_pipeline_requantize() : qonnx_pipeline_default();
    Passes p = passes_split(args->pipeline ? args->pipeline : text);
    if (args->pipeline) return p;
    if (args->observer) passes_set(&p, "calibrate", "observer", args->observer);
    if (args->no_correct_bias) passes_drop(&p, "correct-bias");
    if (!strcmp(args->format, "qoperator")) passes_insert(&p, "qoperator@insert-qdq");
    return p;
}

/* Whether the passes that --pass puts before `calibrate` are those that the statistics were taken
 * behind; where it puts none there, it does not matter. */
static bool prefix_fits(const Job *job)
{
    const char *taken = qonnx_stats_pipeline(job->stats);
    char *wanted = passes_join(&job->passes, 0, job->split);
    bool fits = !strcmp(wanted, qonnx_pipeline_prefix()) || !strcmp(wanted, taken);
    if (!fits)
        qonnx_fail(job->cx, NULL,
                   "%s: its statistics were taken behind '%s', and --pass makes that "
                   "'%s'; give 'qonnx calibrate' the same --pass, or say where else it goes: "
                   "PASS@AFTER",
                   job->args->calibrations.text[0], taken, wanted);
    free(wanted);
    return fits;
}

/* Puts the passes that the statistics were taken behind in front of `calibrate`. */
static bool replay_prefix(Job *job)
{
    const char *taken = qonnx_stats_pipeline(job->stats);
    if (!qonnx_stats_check_plugins(job->cx, job->stats, taken) || !prefix_fits(job)) return false;
    char *rest = passes_join(&job->passes, job->split, job->passes.count), *text = NULL;
    if (asprintf(&text, "%s%s%s", taken, *taken ? "," : "", rest) < 0) text = NULL;
    free(rest);
    if (!text) return qonnx_fail(job->cx, NULL, "out of memory");
    passes_free(&job->passes);
    job->passes = passes_split(text);
    job->split = passes_split_at(&job->passes);
    free(text);
    return passes_check(job->cx, &job->passes);
}

/* The same of a pipeline that the user gives whole: its passes are there. */
static bool plugins_fit(const Job *job)
{
    char *text = passes_join(&job->passes, 0, job->split);
    bool good = qonnx_stats_check_plugins(job->cx, job->stats, text);
    free(text);
    return good;
}

/* ---- the work -------------------------------------------------------------------------------- */

/* Options that say how pictures are prepared come too late for those that were counted. */
static void warn_late(const Job *job)
{
    const char *taken = qonnx_stats_preprocess(job->stats);
    if (job->args->pictures && !job->args->data.count)
        warn("%s: left out, for the samples were prepared when the statistics were taken%s%s",
             job->args->origin, *taken ? ": " : "", taken);
}

/* Statistics of the graph as it is behind the passes before `calibrate`. */
static bool get_statistics(Job *job)
{
    if (!calibratable(job->cx, job->g, job->args)) return false;
    const List *files = &job->args->calibrations;
    if (files->count) {
        statistics_warn(files->count == 1 ? files->text[0] : NULL, job->stats);
        warn_late(job);
        return qonnx_stats_match(job->cx, job->stats, job->g);
    }
    char *prefix = passes_join(&job->passes, 0, job->split);
    job->stats = statistics_collect(job->cx, job->g, job->args, job->args->data.text,
                                    job->args->data.count, prefix);
    free(prefix);
    return job->stats != NULL;
}

/* Adds the time since `*clock` to a stage, and passes `good` on unless the user asked to stop. */
static bool stage_done(Job *job, Stage stage, double *clock, bool good)
{
    double now = seconds_now();
    job->seconds[stage] = now - *clock;
    *clock = now;
    return good && !interrupted();
}

/* --fix-shape: the written model gets the shapes. Statistics are taken of a graph whose dimensions
 * are open, so that they fit whatever shape is given; what the shapes make constant is folded
 * behind them, where the pipeline folds. */
static bool fix_shapes(Job *job)
{
    const List *shapes = &job->args->shapes;
    const qonnx_pipeline_options o = {.target = job->args->target};
    bool folds = job->split < job->passes.count && passes_find(&job->passes, "fold-constants") >= 0;
    return !job->args->fix_shape ||
           (qonnx_graph_fix_shapes(job->cx, job->g, shapes->text, shapes->count) &&
            (!folds || qonnx_pipeline_run(job->cx, job->g, "fold-constants", &o)));
}

/* Runs the result on samples, where there are some. */
static bool check_result(Job *job)
{
    return !job->stats || !job->args->data.count || !job->args->check_samples ||
           check_made(job->cx, job->args, &job->passes, job->stats, job->g, &job->check);
}

/* Opens the samples where a pass asks for them: prepared as those were that were counted. */
static bool open_samples(Job *job)
{
    char *text = passes_join(&job->passes, 0, job->passes.count);
    const char *asks = qonnx_pipeline_samples(text);
    free(text);
    const bool judges = job->args->optimize || budget_given(job->args);
    if (!asks && !judges) return true;
    if (!job->args->data.count)
        return qonnx_fail(job->cx, NULL, "pass '%s' asks for samples; give them with --data, too",
                          asks);
    Args args = job->stats ? statistics_prepared(job->args, job->stats) : *job->args;
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what there is to say of them has been said */
    job->shaped = shaped_copy(quiet, job->g, &args);
    if (job->shaped)
        job->samples = samples_open(quiet, job->shaped, &args, args.data.text, args.data.count);
    if (!job->samples) qonnx_fail(job->cx, NULL, "%s", qonnx_error(quiet));
    qonnx_ctx_free(quiet);
    statistics_release(&args, job->args);
    return job->samples != NULL;
}

/* The passes from..to-1. */
static bool run_passes(Job *job, int from, int to)
{
    const qonnx_session_options session = session_options(job->args);
    const qonnx_pipeline_options with = {.target = job->args->target,
                                         .stats = job->stats,
                                         .samples = job->samples,
                                         .session = &session};
    return passes_run(job->cx, job->g, &job->passes, from, to, &with, job->args->dump_after);
}

/* --optimize: the passes that are to run. */
static bool choose_passes(Job *job)
{
    const Optimization with = {job->args, job->g, job->stats, job->samples, job->split};
    const int before = job->split;
    if (!job->args->optimize) return true;
    if (!optimize(job->cx, &with, &job->passes, &job->optimized)) return false;
    job->split = passes_split_at(&job->passes);
    if (job->split == before) return true;
    qonnx_stats_free(job->stats);
    job->stats = NULL;
    return run_passes(job, before, job->split) && get_statistics(job);
}

/* --min-sqnr, --max-drop and --max-size: the layers that stay in float. */
static bool choose_layers(Job *job)
{
    const Optimization with = {job->args, job->g, job->stats, job->samples, job->split};
    return !budget_given(job->args) ||
           ((!job->args->max_drop ||
             samples_classify(job->cx, job->samples, job->shaped, NULL, USE_EVALUATE)) &&
            budget_meet(job->cx, &with, &job->passes, &job->budgeted));
}

static bool transform(Job *job)
{
    const Args *args = job->args;
    const qonnx_pipeline_options without = {.target = args->target};
    double clock = seconds_now();
    bool calibrates = job->split < job->passes.count;
    bool good = (job->g = qonnx_model_load(job->cx, args->operands[0])) != NULL;
    if (good) job->trained = trained_read(job->g);
    const List *files = &args->calibrations;
    if (good && calibrates && files->count) {
        job->stats = statistics_read(job->cx, args, files->text, files->count);
        good = job->stats && (args->pipeline ? plugins_fit(job) : replay_prefix(job));
    }
    good = good && shapes_fit(job->cx, job->g, args) &&
           output_spared(job->cx, job->g, args->data.text, args->data.count, args->output);
    if (good && !calibrates) good = fix_shapes(job);
    if (good && !job->passes.count) good = qonnx_pipeline_run(job->cx, job->g, "", &without);
    if (!stage_done(job, STAGE_LOAD, &clock, good)) return false;
    if (job->passes.count) qonnx_graph_rename_nodes(job->cx, job->g);
    good = open_samples(job) && run_passes(job, 0, job->split);
    if (!stage_done(job, STAGE_PREFIX, &clock, good)) return false;
    good = !calibrates || (get_statistics(job) && fix_shapes(job));
    if (good && calibrates) trained_warn(job->trained, job->stats);
    if (!stage_done(job, STAGE_STATISTICS, &clock, good)) return false;
    if (!stage_done(job, STAGE_OPTIMIZE, &clock, choose_passes(job) && choose_layers(job)))
        return false;
    good = run_passes(job, job->split, job->passes.count);
    if (!stage_done(job, STAGE_PASSES, &clock, good)) return false;
    if (job->passes.count) provenance_record(job->g, args, &job->passes, job->stats);
    good = budget_fits(job->cx, args, job->g) && check_result(job);
    if (!stage_done(job, STAGE_CHECK, &clock, good)) return false;
    good = qonnx_model_save(job->cx, job->g, args->output);
    stage_done(job, STAGE_SAVE, &clock, good);
    return good;
}

/* ---- the summary ----------------------------------------------------------------------------- */

static void print_text(const Job *job, const Placed *p)
{
    static const char *const stages[STAGES] = {"load",   "prefix", "statistics", "optimize",
                                               "passes", "check",  "save"};
    char before[SIZE_ROOM], after[SIZE_ROOM], op[NAME_ROOM];
    double bytes = file_size(job->args->output);
    print_line("written      %s, %s from %s (%.1f %%)", job->args->output, size_text(after, bytes),
               size_text(before, job->before), 100 * bytes / job->before);
    if (job->stats)
        printf("calibration  %llu samples, %d activations, %s\n",
               (unsigned long long)qonnx_stats_samples(job->stats), qonnx_stats_count(job->stats),
               qonnx_stats_engine(job->stats));
    optimized_print(&job->optimized, job->args->verbose);
    budgeted_print(&job->budgeted);
    if (job->stats && !job->check.samples && !job->check.fault)
        printf("checked      nothing: %s\n",
               job->args->data.count ? "--check-samples 0" : "give samples with --data, too");
    check_print(&job->check, job->g);
    printf("in integers  %ld of %ld float operators\n", p->integer, p->integer + p->left.total);
    if (p->left.total) printf("in float    ");
    for (int i = 0; i < p->left.count; i++)
        printf("%s %ld %s", i ? "," : "", p->left.rows[i].count,
               clean_name(op, sizeof op, p->left.rows[i].op));
    if (p->left.total) putchar('\n');
    if (!job->args->verbose) return;
    printf("time        ");
    for (int i = 0; i < STAGES; i++)
        printf("%s %s %.2f s", i ? "," : "", stages[i], job->seconds[i]);
    putchar('\n');
}

static void print_json(const Job *job, const Placed *p)
{
    json_t *left = json_object(), *calibration = json_null();
    for (int i = 0; i < p->left.count; i++)
        json_object_set_new(left, p->left.rows[i].op, json_integer(p->left.rows[i].count));
    if (job->stats)
        calibration =
            json_pack("{sI si ss ss}", "samples", (json_int_t)qonnx_stats_samples(job->stats),
                      "activations", qonnx_stats_count(job->stats), "engine",
                      qonnx_stats_engine(job->stats), "data", qonnx_stats_data_hash(job->stats));
    double total = 0;
    for (int i = 0; i < STAGES; i++) total += job->seconds[i];
    char *pipeline = passes_join(&job->passes, 0, job->passes.count);
    json_print(json_pack(
        "{so sI sI so so so so so so sI so sf}", "file", json_text(job->args->output),
        "bytes_before", (json_int_t)job->before, "bytes", (json_int_t)file_size(job->args->output),
        "pipeline", json_text(pipeline), "target", json_text(job->args->target), "calibration",
        calibration, "optimize", optimized_json(&job->optimized), "budget",
        budgeted_json(&job->budgeted), "check", check_json(&job->check, job->g), "in_integers",
        (json_int_t)p->integer, "in_float", left, "seconds", total));
    free(pipeline);
}

static void print_summary(const Job *job)
{
    Placed p = {0};
    visit_nodes(job->g, placed_add, &p);
    tally_sort(&p.left);
    if (job->args->json) print_json(job, &p);
    else if (!job->args->quiet) print_text(job, &p);
    tally_free(&p.left);
}

static int run_job(Job *job)
{
    job->before = file_size(job->args->operands[0]);
    job->split = passes_split_at(&job->passes);
    if (!qonnx_output_check(job->cx, job->args->output) || !passes_check(job->cx, &job->passes) ||
        !transform(job))
        return report_failure(job->cx);
    print_summary(job);
    return EXIT_DONE;
}

static int quantize(const Verb *verb, const Args *args)
{
    Job job = {.args = args, .passes = pipeline_of(args), .cx = progress_ctx()};
    int status = choices_check(verb, args);
    if (status < 0 && !args->pipeline) status = passes_insert_all(verb, args, &job.passes);
    if (status < 0 && !passes_insert_choice(job.cx, args, &job.passes))
        status = report_failure(job.cx);
    if (status < 0) status = choices_fit(verb, args, &job.passes);
    if (status < 0) status = run_job(&job);
    qonnx_dataset_free(job.samples);
    qonnx_graph_free(job.shaped);
    qonnx_stats_free(job.stats);
    trained_free(job.trained);
    optimized_free(&job.optimized);
    budgeted_free(&job.budgeted);
    comparison_free(&job.check);
    qonnx_graph_free(job.g);
    qonnx_ctx_free(job.cx);
    passes_free(&job.passes);
    return status;
}

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(Args, output), "OUT.onnx", NULL,
     "the model to write; required"},
    {"data", 0, OPTION_LIST, offsetof(Args, data), "DATA", NULL,
     "samples to calibrate with: PATH, or NAME=PATH\n"
     "once per input"},
    {"calibration", 0, OPTION_LIST, offsetof(Args, calibrations), "M.qcal", NULL,
     "statistics of 'qonnx calibrate'; again to add several;\n"
     "the samples of --data then only check the result"},
    OPTION_FORCE,
    {"target", 0, OPTION_TEXT, offsetof(Args, target), "T", "ort-x86",
     "what the model is for; 'qonnx passes' lists them"},
    {"observer", 0, OPTION_TEXT, offsetof(Args, observer), "NAME", NULL,
     "how ranges are chosen: minmax, entropy, ..., or\n"
     "NAME{OPTION=VALUE}; 'qonnx passes' lists them"},
    {"activations", 0, OPTION_TEXT, offsetof(Args, activations), "TYPE", NULL,
     "uint8, int8, uint16 or int16, or with options,\n"
     "int8{symmetric=yes,scale=pow2}; default: the target's"},
    {"weights", 0, OPTION_TEXT, offsetof(Args, weights), "TYPE", NULL,
     "int8, or with options, int8{per=tensor,scale=pow2};\n"
     "short: per-channel, one scale per channel, the\n"
     "default, and per-tensor, one in all"},
    {"format", 0, OPTION_CHOICE, offsetof(Args, format), "qdq|qoperator", "qdq",
     "QuantizeLinear and DequantizeLinear around operators,\n"
     "or operators on integers, QLinearConv and the like"},
    {"overrides", 0, OPTION_LIST, offsetof(Args, overrides), "FILE.json", NULL,
     "how single tensors and nodes are quantized: their type,\n"
     "scale, range or observer; ONNX Runtime's\n"
     "TensorQuantOverrides, too"},
    {"exclude", 0, OPTION_LIST, offsetof(Args, exclude), "REGEX", NULL,
     "keep nodes in float whose name, or without one the name\n"
     "of what they give, holds a match of this extended\n"
     "regular expression, or with op:REGEX those whose\n"
     "operator it is (op:Softmax)"},
    {"only", 0, OPTION_LIST, offsetof(Args, only), "REGEX", NULL,
     "keep all others in float; again for more of them;\n"
     "--exclude leaves out some of these"},
    OPTION_ALLOW_NONFINITE,
    OPTION_MAX_BAD,
    {"requantize", 0, OPTION_FLAG, offsetof(Args, requantize), NULL, NULL,
     "MODEL is quantized already: make it one for the\n"
     "target, with its own ranges and weights"},
    {"check-samples", 0, OPTION_COUNT, offsetof(Args, check_samples), "N", "64",
     "compare the result with the model on so many of the\n"
     "samples of --data; 0: none"},
    {"strict", 0, OPTION_FLAG, offsetof(Args, strict), NULL, NULL,
     "write nothing where that shows a bad result"},
    {"optimize", 0, OPTION_FLAG, offsetof(Args, optimize), NULL, NULL,
     "choose the observer, how biases are corrected and how\n"
     "weights are rounded by what the outputs gain on\n"
     "samples that are kept aside"},
    {"mixed", 0, OPTION_FLAG, offsetof(Args, mixed), NULL, NULL,
     "with --optimize: the outputs, and up to three of the\n"
     "first activations, may have 16 bits; with a budget any\n"
     "layer, before it stays in float"},
    {"min-sqnr", 0, OPTION_REAL, offsetof(Args, min_sqnr), "DB", NULL,
     "keep as few layers in float as it takes for every\n"
     "output to have so many dB against the model"},
    {"max-drop", 0, OPTION_TEXT, offsetof(Args, max_drop), "PERCENT", NULL,
     "the same for top-1 to fall by so much at most; the\n"
     "samples need classes"},
    {"max-size", 0, OPTION_SIZE, offsetof(Args, max_size), "SIZE", NULL,
     "the file takes so much at most: 800K, 2M; by itself,\n"
     "the layers that gain most for their bytes stay in\n"
     "float as far as there is room"},
    {"no-correct-bias", 0, OPTION_FLAG, offsetof(Args, no_correct_bias), NULL, NULL,
     "leave the biases as they are"},
    {"pipeline", 0, OPTION_TEXT, offsetof(Args, pipeline), "TEXT", NULL,
     "the passes to run, instead of the default ones;\n"
     "empty: write the model back as it is"},
    {"pass", 0, OPTION_LIST, offsetof(Args, passes), "PASS[@AFTER]", NULL,
     "run a pass more, NAME or NAME{OPTION=VALUE}, behind\n"
     "the pass AFTER; without it, before the calibration"},
    {"fix-shape", 0, OPTION_FLAG, offsetof(Args, fix_shape), NULL, NULL,
     "write the model with the shapes of --shape; without\n"
     "it what is open stays open"},
    {"dump-after", 0, OPTION_TEXT, offsetof(Args, dump_after), "PASS", NULL,
     "print the graph behind that pass on standard error"},
    {.name = NULL},
};

const Verb verb_quantize = {
    .name = "quantize",
    .brief = "a float model to one that runs in integers",
    .forms = "MODEL --data DATA -o OUT.onnx\n"
             "MODEL --calibration M.qcal -o OUT.onnx\n"
             "MODEL --requantize -o OUT.onnx",
    .text =
        "Writes the model with QuantizeLinear and DequantizeLinear where the target wants them.\n"
        "The same inputs and options give the same bytes, whatever the number of threads.",
    .examples =
        "qonnx quantize model.onnx --data photos/ -o model.int8.onnx\n"
        "qonnx quantize model.onnx --calibration model.qcal -o out.onnx --observer entropy\n"
        "qonnx quantize model.onnx --data photos/ -o out.onnx --optimize\n"
        "qonnx quantize model.onnx --data photos/ -o out.onnx --optimize --max-drop 1%\n"
        "qonnx quantize model.onnx --data photos/ -o out.onnx --max-size 2M --min-sqnr 30\n"
        "qonnx quantize theirs.onnx --requantize --target ort-arm -o out.onnx\n"
        "qonnx quantize model.onnx --data photos/ -o out.onnx --exclude op:Softmax --exclude "
        "'^head'\n"
        "qonnx quantize model.onnx --data photos/ -o out.onnx --overrides overrides.json\n"
        "qonnx quantize model.onnx --pipeline fold-constants -o folded.onnx\n"
        "qonnx quantize model.onnx --data photos/ --shape 1,3,640,640 --fix-shape -o out.onnx\n"
        "qonnx quantize model.onnx --data photos/ --plugin ./mine.so --pass mine -o out.onnx",
    .options = options,
    .samples = true,
    .pictures = true,
    .json = true,
    .plugins = true,
    .least = 1,
    .most = 1,
    .run = quantize,
};
