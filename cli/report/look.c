/* cli/report/look.c - the layers: their errors, and the values, ranges and weights of each. */
#include "cli/calibrate.h"
#include "cli/nodes.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "report.h"
#include <qonnx/qonnx.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- how it was made ------------------------------------------------------------------------- */

/* The passes that the metadata of the quantized model names, where there are such. */
static void find_passes(Report *r)
{
    const char *text = qonnx_model_metadata(r->subject.source, "qonnx.pipeline");
    qonnx_ctx *quiet = qonnx_ctx_new();
    r->passes = passes_split(text ? text : "");
    if (!passes_check(quiet, &r->passes)) {
        passes_free(&r->passes);
        r->passes = passes_split("");
    }
    r->split = passes_split_at(&r->passes);
    qonnx_ctx_free(quiet);
}

/* Statistics of some of the samples. */
static qonnx_stats *observe_some(qonnx_ctx *cx, const Args *args, const qonnx_graph *g,
                                 const char *prefix)
{
    const size_t most = args->limit ? (size_t)args->limit : REPORT_SAMPLES;
    const qonnx_session_options o = session_options(args);
    qonnx_graph *copy = shaped_copy(cx, g, args);
    qonnx_dataset *d = copy ? compared_samples(cx, args, most, copy) : NULL;
    qonnx_stats *s = d ? qonnx_stats_collect(cx, copy, d, &o, NULL, prefix) : NULL;
    qonnx_dataset_free(d);
    qonnx_graph_free(copy);
    return s;
}

/* The model as it was when its values were observed. */
static bool replay(qonnx_ctx *cx, Report *r, const Args *args)
{
    const qonnx_pipeline_options o = {.target = r->subject.target->name};
    char *prefix = r->subject.stats  ? needed(strdup(qonnx_stats_pipeline(r->subject.stats)))
                   : r->passes.count ? passes_join(&r->passes, 0, r->split)
                                     : needed(strdup(qonnx_pipeline_prefix()));
    qonnx_graph *g = qonnx_model_load(cx, r->sides[0].path);
    bool good = g && shapes_fit(cx, g, args);
    if (good) qonnx_graph_rename_nodes(cx, g);
    good = good && qonnx_pipeline_run(cx, g, prefix, &o) && calibratable(cx, g, args);
    if (good && r->subject.stats) good = qonnx_stats_match(cx, r->subject.stats, g);
    else if (good) {
        r->subject.stats = observe_some(cx, args, g, prefix);
        r->observed = good = r->subject.stats != NULL;
    }
    free(prefix);
    if (good) r->before = g;
    else qonnx_graph_free(g);
    return good;
}

/* Statistics that were not asked for may be missing; those that were given must fit. */
static bool observe(Report *r, const Args *args)
{
    if (args->calibrations.count) return replay(r->cx, r, args);
    qonnx_ctx *quiet = qonnx_ctx_new();
    if (!replay(quiet, r, args)) {
        const char *why = qonnx_error(quiet);
        r->unobserved = needed(strdup(why && *why ? why : "the samples were not read"));
    }
    qonnx_ctx_free(quiet);
    return !interrupted();
}

/* ---- layers ---------------------------------------------------------------------------------- */

static double own_error(const LayerError *e)
{
    return likeness_known(&e->own)   ? likeness_sqnr(&e->own)
           : likeness_known(&e->all) ? likeness_sqnr(&e->all)
                                     : INFINITY;
}

static int compare_sheets(const void *a, const void *b)
{
    const Sheet *x = *(Sheet *const *)a, *y = *(Sheet *const *)b;
    const double u = own_error(x->error), v = own_error(y->error);
    if (u != v) return u < v ? -1 : 1;
    return x < y ? -1 : x > y; /* in one array */
}

/* The node of the subject that a layer is: of a Relu the one in front, with which it runs. */
static const qonnx_node *node_of(const Report *r, const LayerError *e)
{
    const Subject *s = &r->subject;
    const qonnx_value *v = qonnx_graph_find(s->model, qonnx_value_name(e->match->made));
    const qonnx_node *n = v ? qonnx_value_producer(v) : NULL;
    const qonnx_finding *f = n ? subject_finding(s, n) : NULL;
    bool follows = f && f->fate == QONNX_FATE_FOLLOWS &&
                   qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE && qonnx_node_input(n, 0);
    const qonnx_node *front = follows ? qonnx_value_producer(qonnx_node_input(n, 0)) : NULL;
    const bool product = front && qonnx_node_rule(front).weight >= 0;
    return product ? front : n;
}

/* The weight of that node before it was quantized; NULL: it is not there. */
static const qonnx_tensor *weight_before(const Report *r, const qonnx_node *like, int *axis)
{
    const qonnx_node *n = r->before ? node_called(r->before, qonnx_node_label(like)) : NULL;
    if (!n) return NULL;
    const qonnx_rule rule = qonnx_node_rule(n);
    const qonnx_value *w = rule.weight >= 0 ? qonnx_node_input(n, rule.weight) : NULL;
    *axis = rule.weight_axis;
    return w ? qonnx_value_constant(w) : NULL;
}

static void measure_channels(const Report *r, Sheet *s)
{
    int axis = 0, count = 0;
    const qonnx_tensor *w = weight_before(r, s->node, &axis);
    s->before = w;
    if (w) s->channels = weight_channels(w, NULL, axis, &count);
    else if (s->weight)
        s->channels = weight_channels(qonnx_value_constant(s->weight->value), s->weight->dq,
                                      s->weight->spread.axis, &count);
    if (!s->channels) return;
    double *sorted = needed(calloc((size_t)count + 1, sizeof *sorted));
    memcpy(sorted, s->channels, (size_t)count * sizeof *sorted);
    s->spread = spread_of(sorted, w ? axis : s->weight->spread.axis, count);
    free(sorted);
}

static void detail(const Report *r, Sheet *s)
{
    s->detailed = s->node;
    if (!s->node) return;
    s->nfacts = facts_of(r->cx, &r->subject, s->node, &s->facts);
    for (const Fact *f = s->facts; f < s->facts + s->nfacts; f++) {
        if (f->role == ROLE_WEIGHT && !s->weight) s->weight = f;
        if (f->role == ROLE_OUTPUT && !s->output) s->output = f;
    }
    measure_channels(r, s);
}

bool report_look(Report *r, const Args *args, bool *told)
{
    Args of_made = *args;
    of_made.operands = args->operands + 1;
    if (!layer_errors_measure(r->cx, args, &r->errors)) {
        if (r->errors.reference.fault && !interrupted()) {
            complain("temporary file: %s", r->errors.reference.fault);
            *told = true;
        }
        return false;
    }
    of_made.target = r->errors.target->name;
    if (!subject_read(r->cx, &of_made, &r->subject)) return false;
    find_passes(r);
    if (!observe(r, args)) return false;
    const int count = r->errors.matches.count;
    r->sheets = needed(calloc((size_t)count + 1, sizeof *r->sheets));
    r->worst = needed(calloc((size_t)count + 1, sizeof *r->worst));
    for (int i = 0; i < count; i++) {
        Sheet *s = r->worst[i] = &r->sheets[i];
        s->error = &r->errors.rows[i];
        s->gain = NAN;
        s->node = node_of(r, s->error);
        s->found = s->node ? subject_finding(&r->subject, s->node) : NULL;
    }
    qsort(r->worst, (size_t)count, sizeof *r->worst, compare_sheets);
    for (int i = 0; i < count && !interrupted(); i++) {
        r->worst[i]->place = i + 1;
        if (i < MOST_SHEETS) detail(r, r->worst[i]);
    }
    return !interrupted();
}
