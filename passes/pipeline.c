/* passes/pipeline.c - the order of the passes, and running a pipeline given as text. */
#include "passes/registry.h"
#include "passes/result.h"
#include "passes/text.h"
#include "ir/ir.h"
#include "ops/op.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What happens to a float model before statistics are taken, and after. Bias adds are fused before
 * and after the batch norms, so that both MatMul, Add, BatchNormalization and Conv, Mul, Add
 * vanish. Biases are corrected while the float weights are still there. */
#define PREFIX                                                                                     \
    "raise-opset,split-fused,widen-floats,fold-constants,plain-gemm,pool-means,remove-identity,"   \
    "fuse-bias-add,fold-batchnorm,fuse-bias-add"
#define SUFFIX                                                                                     \
    "calibrate,fit-scales,correct-bias,insert-qdq,quantize-tables,quantize-weights,narrow-floats"

const char *qonnx_pipeline_prefix(void) { return PREFIX; }
/* Of a model that is quantized already: batch norms and biases that its tools have left behind a
 * weight go into it, when its integers are known. */
#define REQUANTIZE                                                                                 \
    "raise-opset,split-fused,widen-floats,fold-constants,pool-means,remove-identity,adopt-qdq,"    \
    "fuse-bias-add,fold-batchnorm,fuse-bias-add,insert-qdq,quantize-tables,narrow-floats"

const char *qonnx_pipeline_requantize(void) { return REQUANTIZE; }
const char *qonnx_pipeline_default(void) { return PREFIX "," SUFFIX; }

struct qonnx_job {
    const qonnx_option *options; /* of the descriptor; may be NULL */
    const Item *item;            /* the text, with what it sets; NULL before it is read */
    const qonnx_target *target;  /* NULL for an observer */
    const qonnx_stats *stats;    /* NULL when there are none */
    const qonnx_dataset *samples;         /* NULL when there are none, or the pass does not ask */
    const qonnx_session_options *session; /* how they are run; NULL: by default */
    const qonnx_value *value;             /* of an observer; NULL: it is not known */
};

/* ---- options --------------------------------------------------------------------------------- */

static const qonnx_option *find_option(const qonnx_option *options, const char *name)
{
    for (; options && options->name; options++)
        if (!strcmp(options->name, name)) return options;
    return NULL;
}

const char *qonnx_job_text(const qonnx_job *job, const char *option)
{
    const char *given = item_setting(job->item, option);
    if (given) return given;
    const qonnx_option *o = find_option(job->options, option);
    assert(o);
    return o ? o->value : "";
}

/* A number with nothing behind it; the locale does not matter: the command never sets it. */
static bool is_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end;
}

double qonnx_job_number(const qonnx_job *job, const char *option)
{
    double v = 0;
    is_number(qonnx_job_text(job, option), &v);
    return v;
}

static const char *const truths[] = {"true", "yes", "1", "on"};
static const char *const lies[] = {"false", "no", "0", "off"};

static bool is_word(const char *text, const char *const words[4])
{
    for (int i = 0; i < 4; i++)
        if (!strcmp(text, words[i])) return true;
    return false;
}

bool qonnx_job_flag(const qonnx_job *job, const char *option)
{
    return is_word(qonnx_job_text(job, option), truths);
}

const qonnx_target *qonnx_job_target(const qonnx_job *job) { return job->target; }
const qonnx_stats *qonnx_job_stats(const qonnx_job *job) { return job->stats; }

const qonnx_dataset *qonnx_job_samples(const qonnx_job *job) { return job->samples; }

const qonnx_session_options *qonnx_job_session_options(const qonnx_job *job)
{
    return job->session;
}

const char *qonnx_job_value(const qonnx_job *job)
{
    return job->value ? qonnx_value_name(job->value) : NULL;
}

const qonnx_channels *qonnx_job_channels(const qonnx_job *job)
{
    bool known = job->value && job->stats;
    return known ? qonnx_stats_channels(job->stats, qonnx_stats_of(job->stats, job->value)) : NULL;
}

/* Says which options there are instead. */
static bool unknown_option(Ctx *cx, const char *what, const qonnx_option *options, const char *name)
{
    char list[256] = "";
    size_t used = 0;
    for (const qonnx_option *o = options; o && o->name && used < sizeof list; o++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", o->name);
    return qonnx_fail(cx, NULL, "%s has no option '%s'; it has %s%s", what, name,
                      used ? list : "none", used >= sizeof list ? ", ..." : "");
}

/* Checks one setting against the descriptor's options: known, and of the default's kind. */
static bool check_setting(Ctx *cx, const char *what, const qonnx_option *options, const Setting *s)
{
    const qonnx_option *o = find_option(options, s->name);
    double number;
    if (!o) return unknown_option(cx, what, options, s->name);
    if (is_number(o->value, &number) && !is_number(s->value, &number))
        return qonnx_fail(cx, NULL, "%s: option %s is '%s', want a number", what, s->name,
                          s->value);
    bool flag = is_word(o->value, truths) || is_word(o->value, lies);
    if (flag && !is_number(o->value, &number) && !is_word(s->value, truths) &&
        !is_word(s->value, lies))
        return qonnx_fail(cx, NULL, "%s: option %s is '%s', want true or false", what, s->name,
                          s->value);
    return true;
}

static bool check_settings(Ctx *cx, const char *kind, const qonnx_job *job)
{
    char what[128];
    snprintf(what, sizeof what, "%s '%.80s'", kind, job->item->name);
    for (int i = 0; i < job->item->nsetting; i++)
        if (!check_setting(cx, what, job->options, &job->item->settings[i])) return false;
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Puts "pass 'NAME' of plugin FILE: " in front of the failure; FILE is NULL for built-in ones. */
static bool blame(Ctx *cx, const char *kind, const char *name, const char *file)
{
    char *prefix = NULL;
    if (!ctx_failed(cx)) qonnx_fail(cx, NULL, "failed without a reason");
    if (asprintf(&prefix, "%s '%s'%s%s: ", kind, name, file ? " of plugin " : "",
                 file ? file : "") < 0)
        return false;
    ctx_prefix_error(cx, prefix);
    free(prefix);
    return false;
}

/* Runs an observer, and refuses a range that is none. */
static bool observe(Ctx *cx, const qonnx_observer *o, const qonnx_histogram *h,
                    const qonnx_grid *grid, const qonnx_job *job, float *lo, float *hi)
{
    const char *file;
    qonnx_observer_plugin(o, &file);
    *lo = *hi = NAN;
    PluginMark mark = {NULL, NULL};
    if (file) mark = plugin_enter("observer", o->name, file);
    bool good = o->range(cx, h, grid, job, lo, hi);
    if (file) plugin_leave(mark);
    if (!good) return file ? blame(cx, "observer", o->name, file) : false;
    if (isfinite(*lo) && isfinite(*hi) && *lo <= *hi) return true;
    qonnx_fail(cx, NULL, "it chose the range [%g, %g], want two finite numbers in order", *lo, *hi);
    return blame(cx, "observer", o->name, file);
}

bool qonnx_observe(Ctx *cx, const char *observer, const qonnx_histogram *h, const qonnx_grid *grid,
                   float *lo, float *hi)
{
    return qonnx_observe_value(cx, observer, NULL, NULL, h, grid, lo, hi);
}

bool qonnx_observe_value(Ctx *cx, const char *observer, const qonnx_value *v,
                         const qonnx_stats *stats, const qonnx_histogram *h, const qonnx_grid *grid,
                         float *lo, float *hi)
{
    Item item;
    qonnx_job job = {.item = &item, .value = v, .stats = stats};
    bool ok = item_parse(cx, observer, strlen(observer), &item);
    const qonnx_observer *o = ok ? registry_observer(cx, item.name) : NULL;
    if (ok && !o)
        ok = qonnx_fail(cx, NULL, "no observer '%s'; `qonnx passes` lists them", item.name);
    if (o) job.options = o->options;
    ok = ok && check_settings(cx, "observer", &job) && observe(cx, o, h, grid, &job, lo, hi);
    item_free(&item);
    return ok;
}

/* Finds the pass of one item and checks its settings; NULL on failure. */
static const qonnx_pass *resolve(Ctx *cx, qonnx_job *job)
{
    const char *name = job->item->name;
    const qonnx_pass *p = registry_pass(cx, name);
    if (!p) return qonnx_fail(cx, NULL, "no pass '%s'; `qonnx passes` lists them", name), NULL;
    job->options = p->options;
    return check_settings(cx, "pass", job) ? p : NULL;
}

/* Runs the code of a pass. One that recorded a failure has failed, whatever it returned. */
static bool call_pass(Ctx *cx, Graph *g, const qonnx_pass *p, const qonnx_job *job,
                      const char *file)
{
    PluginMark mark = {NULL, NULL};
    if (file) mark = plugin_enter("pass", p->name, file);
    bool failed = ctx_failed(cx), good = p->run(cx, g, job) && ctx_failed(cx) == failed;
    if (file) plugin_leave(mark);
    return good;
}

/* Runs a pass and checks what it left: of a plugin's, all that a file's reader would check. */
static bool run_pass(Ctx *cx, Graph *g, const qonnx_pass *p, const qonnx_job *given)
{
    const char *file;
    qonnx_job asked = *given, *job = &asked;
    if (!p->samples) asked.samples = NULL;
    if (p->samples && !asked.samples)
        return qonnx_fail(cx, NULL, "pass '%s' asks for samples, and there are none", p->name);
    qonnx_pass_plugin(p, &file);
    Faces *was = file ? faces_of(g) : NULL;
    bool good = call_pass(cx, g, p, job, file) && (!file || result_sound(cx, g)) &&
                qonnx_graph_refresh(cx, g) && graph_verify(cx, g) && graph_has_form(cx, g) &&
                (!file || (result_sound(cx, g) && result_keeps(cx, g, was)));
    faces_free(was);
    return good || blame(cx, "pass", p->name, file);
}

/* Goes through a pipeline's items; runs them on `g` when it is not NULL. */
static bool each_pass(Ctx *cx, Graph *g, const char *text, const qonnx_job *with)
{
    bool ok = true;
    while (ok && *text) {
        size_t n = qonnx_pipeline_span(text, ",");
        Item item;
        qonnx_job job = *with;
        job.item = &item;
        ok = item_parse(cx, text, n, &item);
        if (ok && !item.blank) {
            const qonnx_pass *p = resolve(cx, &job);
            ok = p && (!g || run_pass(cx, g, p, &job));
        }
        item_free(&item);
        text += n + (text[n] != 0);
    }
    return ok;
}

bool qonnx_pipeline_check(Ctx *cx, const char *text)
{
    return each_pass(cx, NULL, text, &(qonnx_job){0});
}

bool qonnx_pipeline_run(Ctx *cx, Graph *g, const char *text, const qonnx_pipeline_options *o)
{
    static const qonnx_pipeline_options defaults;
    if (!o) o = &defaults;
    const qonnx_target *target = qonnx_target_find(o->target ? o->target : "ort-x86");
    if (!target)
        return qonnx_fail(cx, NULL, "no target '%s'; `qonnx passes` lists them", o->target);
    if (!text[strspn(text, " \t\n,")]) {
        graph_warn_form(cx, g);
        return true;
    }
    return qonnx_graph_inline_functions(cx, g) && graph_has_form(cx, g) &&
           each_pass(cx, g, text,
                     &(qonnx_job){.target = target,
                                  .stats = o->stats,
                                  .samples = o->samples,
                                  .session = o->session});
}
