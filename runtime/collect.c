/* runtime/collect.c - statistics over a data set: which activations, and counting them. */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "ir/bundle.h"
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

/* Whether some target has an integer form of it. */
static bool runs_somewhere(const qonnx_rule *r)
{
    return r->kind != QONNX_RULE_FLOAT || r->elsewhere != QONNX_RULE_FLOAT;
}

static bool feeds_quantized(const Value *v)
{
    for (int i = 0; i < v->nuse; i++) {
        qonnx_rule r = qonnx_node_rule(v->uses[i].node);
        int input = v->uses[i].input < 31 ? v->uses[i].input : 31;
        if (runs_somewhere(&r) && (r.activations >> input & 1)) return true;
    }
    return false;
}

/* Whether some target could quantize the value: it enters or leaves an operator that can run in
 * integers. What only feeds a Relu or Clip that every target folds does not count. */
static bool observed(const Value *v, int *axis)
{
    if (v->dtype != QONNX_FLOAT || v->data || (!v->def && !v->input_count)) return false;
    qonnx_rule made = v->def ? qonnx_node_rule(v->def) : (qonnx_rule){.kind = QONNX_RULE_FLOAT};
    if (!runs_somewhere(&made) && !feeds_quantized(v)) return false;
    const Node *user = qonnx_value_only_user(v);
    if (user && user->graph == v->graph && made.kind == QONNX_RULE_OWN &&
        qonnx_node_rule(user).kind == QONNX_RULE_ACTIVATE)
        return false;
    *axis = channel_axis(v);
    return true;
}

/* ---- what to collect ------------------------------------------------------------------------- */

typedef struct Collector {
    Ctx *cx;
    const Graph *graph;
    const qonnx_dataset *data;
    qonnx_stats *stats;
    Odd odd; /* of all workers */
    Tour tour;
    const qonnx_collect_options *options;
    uint8_t list[16]; /* hash of the list of samples, where `hashed` */
    bool hashed;
    bool kept; /* there is a checkpoint of this run */
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

static void hash_tensor(XXH3_state_t *h, const Tensor *t)
{
    int64_t head[2 + QONNX_MAX_RANK] = {t->dtype, t->rank};
    if (t->rank) memcpy(head + 2, t->dims, (size_t)t->rank * sizeof *head);
    XXH3_128bits_update(h, head, sizeof head);
    if (is_bundle(t->dtype))
        for (int64_t i = 0; i < t->dims[0]; i++) hash_tensor(h, &bundle_parts(t)[i]);
    else if (t->dtype == QONNX_STRING)
        for (int64_t i = 0; i < tensor_count(t); i++) {
            qonnx_string s = qonnx_tensor_string(t, i);
            XXH3_128bits_update(h, &(uint64_t){s.bytes}, sizeof(uint64_t));
            if (s.bytes) XXH3_128bits_update(h, s.text, s.bytes);
        }
    else if (t->bytes) XXH3_128bits_update(h, t->data, t->bytes);
}

static void counter_sample(void *state, const Tensor *inputs, int count)
{
    Counter *k = state;
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    for (int i = 0; i < count; i++) hash_tensor(&h, &inputs[i]);
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

/* ---- shards and checkpoints ------------------------------------------------------------------ */

/* What the list of samples is known by: which they are, how many run together, and the sizes that
 * the model's inputs have. */
static const uint8_t *list_hash(Collector *c)
{
    if (c->hashed) return c->list;
    XXH3_state_t h;
    uint64_t group = c->tour.group;
    XXH3_128bits_reset(&h);
    dataset_hash(c->data, c->list);
    XXH3_128bits_update(&h, c->list, sizeof c->list);
    XXH3_128bits_update(&h, &group, sizeof group);
    for (int i = 0; i < c->graph->ninput; i++) {
        const Shape *s = &c->graph->inputs[i]->shape;
        XXH3_128bits_update(&h, s->dim, s->rank > 0 ? (size_t)s->rank * sizeof *s->dim : 0);
    }
    XXH128_canonical_t out;
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(&h));
    memcpy(c->list, out.digest, sizeof out.digest);
    c->hashed = true;
    return c->list;
}

/* Notes which shard of the list was seen, where it is not all. */
static void cover(Collector *c)
{
    Shard shard = c->tour.shard;
    uint64_t parts = shard_parts(shard, c->tour.parts);
    if (!parts)
        qonnx_warn(c->cx, NULL, "shard %u/%u has no samples: there are %zu in all",
                   shard.index + 1, shard.of, qonnx_dataset_count(c->data));
    if (parts && parts < c->tour.parts)
        coverages_add_shard(&c->stats->coverage, list_hash(c), c->tour.parts, shard);
}

/* Writes what was counted so far. Where that cannot be, the run goes on, and tries again. */
static void write_checkpoint(void *user)
{
    Collector *c = user;
    qonnx_stats *s = c->stats;
    Checkpoint now = {.parts = c->tour.parts,
                      .shard = c->tour.shard,
                      .done = c->tour.done,
                      .lost = c->tour.lost,
                      .odd = c->odd};
    memcpy(now.list, list_hash(c), sizeof now.list);
    qonnx_ctx *own = qonnx_ctx_new(); /* a failure is none of the run's */
    s->checkpoint = &now;
    bool good = qonnx_stats_save(own, s, c->options->checkpoint);
    s->checkpoint = NULL;
    c->kept |= good;
    if (!good) qonnx_warn(c->cx, NULL, "%s; going on without a checkpoint", qonnx_error(own));
    qonnx_ctx_free(own);
}

/* Whether a checkpoint is one of this run over this list. */
static bool same_run(Collector *c, const Checkpoint *from)
{
    bool same = !memcmp(from->list, list_hash(c), sizeof from->list) &&
                from->parts == c->tour.parts && from->shard.index == c->tour.shard.index &&
                from->shard.of == c->tour.shard.of;
    for (size_t i = 0; same && i < from->lost.count; i++)
        same = from->lost.lost[i].sample < qonnx_dataset_count(c->data);
    if (same && (!from->odd.any || from->odd.sample < qonnx_dataset_count(c->data))) return true;
    return qonnx_fail(c->cx, NULL,
                      "%s: is the checkpoint of a run over other samples (their names, sizes, "
                      "order or number), another shard or other shapes; give what it began with, "
                      "or begin again, without --resume",
                      c->options->checkpoint);
}

/* Goes on from the checkpoint. */
static bool take_checkpoint(Collector *c)
{
    qonnx_ctx *own = ctx_quiet(); /* what is read is written again */
    qonnx_stats *s = stats_load_checkpoint(own, c->options->checkpoint);
    if (!s) ctx_take_error(c->cx, own);
    qonnx_ctx_free(own);
    bool good = s && stats_resume(c->cx, c->stats, s) && same_run(c, s->checkpoint);
    if (good) {
        Checkpoint *from = s->checkpoint;
        c->tour.done = from->done;
        c->tour.lost = from->lost;
        from->lost = (LostList){0};
        c->odd = from->odd;
        c->kept = true;
    }
    qonnx_stats_free(s);
    return good;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Runs the samples, from the checkpoint on where that is wanted. */
static bool collect(Collector *c, qonnx_session *s)
{
    const qonnx_collect_options *o = c->options;
    Visitor v = {.user = c,
                 .begin = counter_begin,
                 .end = counter_end,
                 .sample = counter_sample,
                 .tap = counter_tap,
                 .rest = o->checkpoint && o->interval > 0 ? write_checkpoint : NULL};
    if (o->shards) c->tour.shard = (Shard){o->shard - 1, o->shards};
    c->tour.interval = o->interval;
    if (!session_plan(c->cx, s, c->data, &v, &c->tour)) return false;
    if (o->resume && !take_checkpoint(c)) return false;
    bool good = session_visit(c->cx, s, c->data, &v, &c->tour);
    if (c->tour.stopped && c->kept && v.rest) write_checkpoint(c);
    if (!good) return false;
    tell_odd(c->cx, c, c->data);
    if (!check_inputs(c->cx, c)) return false;
    cover(c);
    return true;
}

qonnx_stats *qonnx_stats_collect(Ctx *cx, const Graph *g, const qonnx_dataset *d,
                                 const qonnx_session_options *o, const qonnx_collect_options *part,
                                 const char *pipeline)
{
    static const qonnx_session_options defaults;
    static const qonnx_collect_options all;
    if (is_quantized(g)) {
        qonnx_fail(cx, NULL, "%s: the model is quantized already; calibrate the float "
                   "model, or let 'qonnx quantize --requantize' take its ranges over",
                   g->model->path);
        return NULL;
    }
    Graph *copy = graph_clone(g);
    Collector c = {.cx = cx, .graph = g, .data = d, .tour = {.shard = {0, 1}}};
    c.options = part ? part : &all;
    c.stats = observe_model(copy);
    uint8_t hash[16];
    graph_hash(g, hash);
    stats_describe(c.stats, pipeline, qonnx_engine_name(o ? o : &defaults), hash);
    c.stats->parts = parts_of(pipeline);
    char *prepared = qonnx_dataset_preprocess(d);
    if (prepared) stats_prepared(c.stats, prepared);
    free(prepared);
    qonnx_session *s = session_new(cx, copy, o);
    if (!s || !collect(&c, s)) {
        qonnx_stats_free(c.stats);
        c.stats = NULL;
    }
    lost_free(&c.tour.lost);
    qonnx_session_free(s);
    return c.stats;
}
