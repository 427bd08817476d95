/* runtime/collect.c - statistics over a data set: which activations, and counting them. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "frontend/data/data.h"
#include "runtime/session.h"
#include "runtime/stats.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The axis that is the channel of a value: what a weight contracts, where one reads it. */
static int channel_axis(const Value *v)
{
    for (int i = 0; i < v->nuse; i++) {
        qonnx_rule r = qonnx_node_rule(v->uses[i].node);
        if (r.weight >= 0 && v->uses[i].input == 0 && r.channel_axis >= 0) return r.channel_axis;
    }
    return v->shape.rank == 0 || v->shape.rank == 1 ? 0 : 1;
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
    if (user && user->graph == v->graph && made.kind == QONNX_RULE_OWN &&
        qonnx_node_rule(user).kind == QONNX_RULE_ACTIVATE)
        return false;
    *axis = channel_axis(v);
    return true;
}

/* ---- what to collect ------------------------------------------------------------------------- */

/* The first NaN or +infinite activation; minus infinity is what masks are made of. */
typedef struct Odd {
    bool any;      /* there is one */
    bool more;     /* in other samples too */
    bool nan;      /* it is NaN somewhere */
    size_t sample; /* the first sample that has some */
    int index;     /* the first such activation of it: its number in the statistics */
} Odd;

typedef struct Collector {
    const Graph *graph;
    qonnx_stats *stats;
    Odd odd; /* of all workers */
} Collector;

/* What is observed of a model, in the order in which it is computed. */
typedef struct Observed {
    Value **values; /* [count] */
    int *axes;      /* [count] which axis of each is the channel */
    int count, room;
} Observed;

static void observe(Observed *o, Value *v)
{
    int axis;
    if (!observed(v, &axis)) return;
    if (o->count == o->room) {
        o->room = 2 * o->room + 64;
        o->values = xrealloc_array(o->values, (size_t)o->room, sizeof *o->values);
        o->axes = xrealloc_array(o->axes, (size_t)o->room, sizeof *o->axes);
    }
    o->values[o->count] = v;
    o->axes[o->count++] = axis;
}

static void observe_graph(Observed *o, const Graph *g)
{
    for (int i = 0; i < g->ninput; i++) observe(o, g->inputs[i]);
    for (const Node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nsub; i++)
            if (graph_has_place(n->subs[i])) observe_graph(o, n->subs[i]);
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) observe(o, n->out[i]);
    }
}

static void observed_free(Observed *o)
{
    free(o->values);
    free(o->axes);
}

/* Decides what is observed, and marks it in `g`: once, on the model's own graph, before anything is
 * folded or fused, so that what a set of shapes makes of the graph has no say in it. */
static qonnx_stats *observe_model(Graph *g)
{
    Observed o = {.count = 0};
    observe_graph(&o, g);
    StatsSpec *specs = xcalloc((size_t)o.count + 1, sizeof *specs);
    for (int i = 0; i < o.count; i++) {
        Value *v = o.values[i];
        const Shape *s = &v->shape;
        int axis = o.axes[i];
        int64_t channels = s->rank < 0 ? 0 : s->rank > axis ? s->dim[axis] : 1;
        specs[i] = (StatsSpec){v->name, axis, channels > 0 ? (int)channels : 0,
                               qonnx_graph_path(v->graph)};
        v->observed = i + 1;
        v->channel_axis = axis;
    }
    qonnx_stats *s = stats_new(specs, o.count);
    for (int i = 0; i < o.count; i++) free((char *)(uintptr_t)specs[i].graph);
    free(specs);
    observed_free(&o);
    return s;
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* A worker's state. */
typedef struct Counter {
    StatsWorker *worker;
    Odd odd;
} Counter;

static void *counter_begin(void *user)
{
    Collector *c = user;
    Counter *k = xcalloc(1, sizeof *k);
    *k = (Counter){.worker = stats_worker_new(c->stats)};
    return k;
}

/* Adds `from` to `o`: the first sample wins, and in it the first activation. */
static void odd_add(Odd *o, const Odd *from)
{
    if (!from->any) return;
    bool more = o->more || from->more || (o->any && o->sample != from->sample);
    if (!o->any || from->sample < o->sample ||
        (from->sample == o->sample && from->index < o->index))
        *o = *from;
    o->more = more;
}

/* Looks for NaN and +infinite values in an activation that is not finite. */
static void odd_count(Odd *o, size_t sample, int index, const float *x, int64_t n)
{
    bool nan = false, inf = false;
    for (int64_t i = 0; i < n && !nan; i++) {
        nan = isnan(x[i]);
        inf |= x[i] == INFINITY;
    }
    if (!nan && !inf) return;
    odd_add(o, &(Odd){true, false, nan, sample, index});
}

static void counter_end(void *user, void *state)
{
    Collector *c = user;
    Counter *k = state;
    odd_add(&c->odd, &k->odd);
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

static void counter_tap(void *state, size_t sample, const Tap *t, const float *x, int64_t outer)
{
    Counter *k = state;
    StatsView view = {outer, t->channels, t->inner};
    if (!stats_count(k->worker, t->index, x, view))
        odd_count(&k->odd, sample, t->index, x, outer * t->channels * t->inner);
}

static bool is_quantized(const Graph *g)
{
    static const char *const ops[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                                      "QLinearConv",    "QLinearMatMul",    "ConvInteger",
                                      "MatMulInteger"};
    for (; g; g = qonnx_graph_next(g))
        for (const Node *n = g->first; n; n = n->next)
            for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
                if (qonnx_node_is(n, ops[i])) return true;
    return false;
}

/* Names the first activation that is not finite, and the sample. */
static void tell_odd(Ctx *cx, const Collector *c, const qonnx_dataset *d)
{
    const Odd *o = &c->odd;
    if (!o->any) return;
    Observed all = {.count = 0};
    observe_graph(&all, c->graph);
    const Value *v = all.values[o->index];
    qonnx_warn(cx, v->def, "'%s' holds %s values with the sample %s%s; check %s", v->name,
               o->nan ? "NaN" : "infinite", qonnx_dataset_name(d, o->sample),
               o->more ? ", and others follow" : "",
               v->def || v->graph->parent ? "the model" : "the samples");
    observed_free(&all);
}

/* Samples in which nothing is a number would give a model that computes nothing. */
static bool check_inputs(Ctx *cx, const Collector *c)
{
    for (int i = 0; i < c->graph->ninput; i++) {
        const Value *v = c->graph->inputs[i];
        const qonnx_histogram *h = qonnx_stats_histogram(c->stats, qonnx_stats_of(c->stats, v));
        if (h && h->count && !h->nbins)
            return qonnx_fail(cx, NULL,
                              "%s: all values of input '%s' are NaN or infinite; check the samples",
                              c->graph->model->path, v->name);
        if (h && h->nbins && h->min == h->max && h->count > qonnx_stats_samples(c->stats))
            qonnx_warn(cx, NULL, "all values of input '%s' are %g; are these the right samples?",
                       v->name, h->min);
    }
    return true;
}

/* What a list of samples is known by: which they are, and how many run together. */
static void hash_list(const qonnx_dataset *d, const Tour *tour, uint8_t hash[16])
{
    XXH3_state_t h;
    uint64_t group = tour->group;
    XXH3_128bits_reset(&h);
    dataset_hash(d, hash);
    XXH3_128bits_update(&h, hash, 16);
    XXH3_128bits_update(&h, &group, sizeof group);
    XXH128_canonical_t out;
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(&h));
    memcpy(hash, out.digest, sizeof out.digest);
}

/* Notes which shard of the list was seen, where it is not all. */
static void cover(Ctx *cx, qonnx_stats *s, const qonnx_dataset *d, const Tour *tour)
{
    uint8_t hash[16];
    uint64_t parts = shard_parts(tour->shard, tour->parts);
    if (!parts)
        qonnx_warn(cx, NULL, "shard %u/%u has no samples: there are %zu in all",
                   tour->shard.index + 1, tour->shard.of, qonnx_dataset_count(d));
    if (!parts || parts == tour->parts) return;
    hash_list(d, tour, hash);
    coverages_add_shard(&s->coverage, hash, tour->parts, tour->shard);
}

static qonnx_session *open_session(Ctx *cx, const Graph *g, const qonnx_session_options *o,
                                   Collector *c)
{
    if (is_quantized(g)) {
        qonnx_fail(cx, NULL, "%s: the model is quantized already; calibrate the float model",
                   g->model->path);
        return NULL;
    }
    Graph *copy = graph_clone(g);
    *c = (Collector){.graph = g, .stats = observe_model(copy)};
    return session_new(cx, copy, o);
}

qonnx_stats *qonnx_stats_collect(Ctx *cx, const Graph *g, const qonnx_dataset *d,
                                 const qonnx_session_options *o, const qonnx_collect_options *part,
                                 const char *pipeline)
{
    static const qonnx_session_options defaults;
    Tour tour = {.shard = {0, 1}};
    if (part && part->shards) tour.shard = (Shard){part->shard - 1, part->shards};
    Collector c = {.stats = NULL};
    qonnx_session *s = open_session(cx, g, o, &c);
    if (!s) {
        qonnx_stats_free(c.stats);
        return NULL;
    }
    uint8_t hash[16];
    graph_hash(g, hash);
    stats_describe(c.stats, pipeline, qonnx_engine_name(o ? o : &defaults), hash);
    c.stats->parts = parts_of(pipeline);
    Visitor v = {&c, counter_begin, counter_end, counter_sample, counter_tap, NULL};
    bool good = session_visit(cx, s, d, &v, &tour);
    if (good) tell_odd(cx, &c, d);
    if (good && check_inputs(cx, &c)) {
        cover(cx, c.stats, d, &tour);
    } else {
        qonnx_stats_free(c.stats);
        c.stats = NULL;
    }
    qonnx_session_free(s);
    return c.stats;
}
