/* runtime/collect.c - statistics over a data set: which activations, and counting them. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "runtime/session.h"
#include "runtime/stats.h"
#include <stdlib.h>
#include <string.h>

/* The axis that is the channel of a value: what a weight contracts, where one reads it. */
static int channel_axis(const Value *v)
{
    for (int i = 0; i < v->nuse; i++) {
        qonnx_rule r = qonnx_node_rule(v->uses[i].node);
        if (r.weight >= 0 && v->uses[i].input == 0 && r.channel_axis >= 0) return r.channel_axis;
    }
    return v->shape.rank > 1 ? 1 : 0;
}

static bool feeds_quantized(const Value *v)
{
    for (int i = 0; i < v->nuse; i++) {
        qonnx_rule r = qonnx_node_rule(v->uses[i].node);
        int input = v->uses[i].input < 31 ? v->uses[i].input : 31;
        if (r.kind != QONNX_RULE_FLOAT && (r.activations >> input & 1)) return true;
    }
    return false;
}

/* Whether some target could quantize the value: it enters or leaves an operator that can run in
 * integers. What only feeds a Relu or Clip that every target folds does not count. */
static bool observed(const Value *v, int *axis)
{
    if (v->dtype != QONNX_FLOAT || v->data || (!v->def && !v->input_count)) return false;
    qonnx_rule made = v->def ? qonnx_node_rule(v->def) : (qonnx_rule){.kind = QONNX_RULE_FLOAT};
    if (made.kind == QONNX_RULE_FLOAT && !feeds_quantized(v)) return false;
    const Node *user = qonnx_value_only_user(v);
    if (user && made.kind == QONNX_RULE_OWN && qonnx_node_rule(user).kind == QONNX_RULE_ACTIVATE)
        return false;
    *axis = channel_axis(v);
    return true;
}

/* ---- what to collect ------------------------------------------------------------------------- */

typedef struct Collector {
    const Graph *graph;
    qonnx_stats *stats;
    int *index; /* by Value.id of graph: its number in the statistics, -1 when not observed */
} Collector;

static void add_spec(Collector *c, const Value *v, StatsSpec *specs, int *count)
{
    int axis;
    c->index[v->id] = -1;
    if (!observed(v, &axis)) return;
    int64_t channels = v->shape.rank > axis ? v->shape.dim[axis] : 1;
    specs[*count] = (StatsSpec){v->name, axis, channels > 0 ? (int)channels : 0};
    c->index[v->id] = (*count)++;
}

static void make_specs(Collector *c)
{
    const Graph *g = c->graph;
    StatsSpec *specs = xcalloc((size_t)g->nvalue, sizeof *specs);
    int count = 0;
    for (int i = 0; i < g->ninput; i++) add_spec(c, g->inputs[i], specs, &count);
    for (const Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) add_spec(c, n->out[i], specs, &count);
    c->stats = stats_new(specs, count);
    free(specs);
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* A worker's state. */
typedef struct Counter {
    const Collector *collector;
    StatsWorker *worker;
} Counter;

static void *counter_begin(void *user)
{
    Collector *c = user;
    Counter *k = xcalloc(1, sizeof *k);
    *k = (Counter){c, stats_worker_new(c->stats)};
    return k;
}

static void counter_end(void *user, void *state)
{
    Collector *c = user;
    Counter *k = state;
    stats_absorb(c->stats, k->worker);
    free(k);
}

static void counter_sample(void *state, const Tensor *inputs, int count)
{
    Counter *k = state;
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    for (int i = 0; i < count; i++) {
        int64_t head[2 + QONNX_MAX_RANK] = {inputs[i].dtype, inputs[i].rank};
        memcpy(head + 2, inputs[i].dims, (size_t)inputs[i].rank * sizeof *head);
        XXH3_128bits_update(&h, head, sizeof head);
        if (inputs[i].bytes) XXH3_128bits_update(&h, inputs[i].data, inputs[i].bytes);
    }
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits_digest(&h));
    stats_sample(k->worker, hash.digest);
}

static void counter_tap(void *state, const Tap *t, const float *x, int64_t outer)
{
    Counter *k = state;
    const Value *v = graph_own(k->collector->graph, t->name);
    int index = v ? k->collector->index[v->id] : -1;
    if (index >= 0) stats_count(k->worker, index, x, (StatsView){outer, t->channels, t->inner});
}

static bool is_quantized(const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next)
        if (qonnx_node_is(n, "QuantizeLinear") || qonnx_node_is(n, "DequantizeLinear")) return true;
    return false;
}

/* Samples in which nothing is a number would give a model that computes nothing. */
static bool check_inputs(Ctx *cx, const Collector *c)
{
    for (int i = 0; i < c->graph->ninput; i++) {
        const Value *v = c->graph->inputs[i];
        const qonnx_histogram *h = qonnx_stats_histogram(c->stats, v->name);
        if (h && h->count && !h->nbins)
            return qonnx_fail(cx, NULL,
                              "%s: all values of input '%s' are NaN or infinite; check the samples",
                              c->graph->model->path, v->name);
    }
    return true;
}

qonnx_stats *qonnx_stats_collect(Ctx *cx, const Graph *g, const qonnx_dataset *d,
                                 const qonnx_session_options *o, const char *pipeline)
{
    if (is_quantized(g)) {
        qonnx_fail(cx, NULL, "%s: the model is quantized already; calibrate the float model",
                   g->model->path);
        return NULL;
    }
    qonnx_session *s = session_new(cx, g, o, observed);
    if (!s) return NULL;
    Collector c = {.graph = g};
    c.index = xcalloc((size_t)g->nvalue, sizeof *c.index);
    for (int i = 0; i < g->nvalue; i++) c.index[i] = -1;
    make_specs(&c);
    uint8_t hash[16];
    graph_hash(g, hash);
    static const qonnx_session_options defaults;
    stats_describe(c.stats, pipeline, qonnx_engine_name(o ? o : &defaults), hash);
    Visitor v = {&c, counter_begin, counter_end, counter_sample, counter_tap, NULL};
    if (!session_visit(cx, s, d, &v) || !check_inputs(cx, &c)) {
        qonnx_stats_free(c.stats);
        c.stats = NULL;
    }
    free(c.index);
    qonnx_session_free(s);
    return c.stats;
}
