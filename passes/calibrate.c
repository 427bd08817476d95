/* passes/calibrate.c - turns statistics into ranges: an observer's choice for every activation
 * first; then those that an operator in integers binds together share one. What stays in float
 * shares nothing.
 */
#include "gates.h"
#include "ranges.h"
#include <stdlib.h>

typedef struct Calibrate {
    qonnx_ctx *cx;
    const qonnx_job *job;
    const qonnx_stats *stats;
    const qonnx_target *target;
    qonnx_node **nodes;        /* of all graphs, graph after graph, in order */
    qonnx_rule *rules;         /* of the nodes */
    bool *borrows;             /* of the nodes: its input has the range of its output */
    int count;                 /* nodes */
    const qonnx_value **masks; /* computed values that carry mask values */
    int nmasks;
    Floors floors; /* of what activation functions read that vanish below */
} Calibrate;

/* ---- which values ---------------------------------------------------------------------------- */

/* The rule of what made the value; of an input's or a constant's: OWN. */
static qonnx_rule rule_behind(const Calibrate *c, const qonnx_value *v)
{
    const qonnx_node *p = qonnx_value_producer(v);
    return p ? qonnx_target_rule(c->target, p, NULL) : (qonnx_rule){.kind = QONNX_RULE_OWN};
}

/* Whether some operator would quantize the value: as its output, or as an activation it reads. */
static bool wanted(const Calibrate *c, const qonnx_value *v)
{
    const qonnx_node *p = qonnx_value_producer(v);
    if (p && rule_behind(c, v).kind != QONNX_RULE_FLOAT) return true;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        qonnx_rule rule = qonnx_target_rule(c->target, n, NULL);
        if (quantizable_activation(n, &rule, input)) return true;
    }
    return false;
}

static bool is_mask_constant(const qonnx_tensor *t)
{
    float lo, hi;
    return t->dtype == QONNX_FLOAT && (!quantizable_extremes(t, &lo, &hi) || lo <= PLACEMENT_MASK);
}

static bool is_mask(const Calibrate *c, const qonnx_value *v)
{
    const qonnx_tensor *t = qonnx_value_constant(v);
    if (t) return is_mask_constant(t);
    for (int i = 0; i < c->nmasks; i++)
        if (c->masks[i] == v) return true;
    return false;
}

/* Whether the node hands mask values on: it reads some, and its output was seen to reach as low
 * (or was not observed). A Softmax ends them, for its output does not. */
static bool hands_on_mask(const Calibrate *c, const qonnx_node *n, const qonnx_rule *rule)
{
    const qonnx_value *out = qonnx_node_output(n, 0);
    const qonnx_histogram *h = out ? quantizable_seen(c->stats, out) : NULL;
    if (!out || (h && h->min > PLACEMENT_MASK && !h->inf)) return false;
    for (int i = 0; i < qonnx_node_inputs(n); i++)
        if (i != rule->weight && i != rule->bias && qonnx_node_input(n, i) &&
            is_mask(c, qonnx_node_input(n, i)))
            return true;
    return false;
}

/* Finds the computed values that carry mask values. */
static void find_masks(Calibrate *c, qonnx_graph *g)
{
    c->masks = qonnx_graph_array(g, (size_t)c->count, sizeof *c->masks);
    for (int i = 0; i < c->count; i++)
        if (hands_on_mask(c, c->nodes[i], &c->rules[i]))
            c->masks[c->nmasks++] = qonnx_node_output(c->nodes[i], 0);
}

/* ---- ranges of their own --------------------------------------------------------------------- */

/* Warns of a range that some outliers have made so wide that nearly all other values become 0. */
static void warn_outliers(const Calibrate *c, const qonnx_value *v, const qonnx_histogram *h,
                          float lo, float hi)
{
    float scale;
    int zero_point;
    qonnx_grid_params(quantizable_grid_at(v, c->target, lo), lo, hi, &scale, &zero_point);
    uint64_t others = 0, lost = 0;
    for (int i = 0; i < h->nbins; i++) {
        const qonnx_bin *b = &h->bins[i];
        if (b->lo == 0 && b->hi == 0) continue;
        others += b->count;
        if (fabsf(b->lo) < scale / 2 && fabsf(b->hi) < scale / 2) lost += b->count;
    }
    if (lost && lost < others && lost >= others - others / 100)
        qonnx_warn(c->cx, NULL,
                   "'%s': in the range [%g, %g] %llu of %llu values become 0, outliers made it so "
                   "wide; check the samples, or choose another --observer",
                   qonnx_value_name(v), lo, hi, (unsigned long long)lost,
                   (unsigned long long)others);
}

/* Warns of values that are no finite numbers. */
static void warn_odd(const Calibrate *c, const char *name, const qonnx_histogram *h)
{
    if (h->nan || h->inf)
        qonnx_warn(c->cx, NULL,
                   "'%s': %llu of %llu calibration values are NaN and %llu are infinite; the range "
                   "is that of the finite ones",
                   name, (unsigned long long)h->nan, (unsigned long long)h->count,
                   (unsigned long long)h->inf);
    if (!h->nbins)
        qonnx_warn(c->cx, NULL, "'%s': no finite value was seen, so it gets no range", name);
}

/* Whether the value is in a subgraph that no sample ran: of that placement_tell() speaks. */
static bool never_ran(const qonnx_value *v, const qonnx_histogram *h)
{
    return !h->count && qonnx_graph_parent(qonnx_value_graph(v));
}

/* The histogram with all that is below the floor at the floor, in the graph's memory: resolution
 * there is worth nothing. */
static const qonnx_histogram *raise_to(const qonnx_value *v, const qonnx_histogram *h, float floor)
{
    if (!h->nbins || h->min >= floor) return h;
    qonnx_graph *g = qonnx_value_graph(v);
    qonnx_histogram *raised = qonnx_graph_alloc(g, sizeof *raised);
    qonnx_bin *bins = qonnx_graph_array(g, (size_t)h->nbins, sizeof *bins);
    *raised = *h;
    raised->min = floor;
    raised->max = fmaxf(h->max, floor);
    raised->bins = bins;
    raised->nbins = 0;
    for (int i = 0; i < h->nbins; i++) {
        qonnx_bin b = {fmaxf(h->bins[i].lo, floor), fmaxf(h->bins[i].hi, floor), h->bins[i].count};
        qonnx_bin *last = raised->nbins ? &bins[raised->nbins - 1] : NULL;
        if (last && last->hi == b.hi) last->count += b.count;
        else bins[raised->nbins++] = b;
    }
    return raised;
}

static const char *observer_of(const Calibrate *c, const qonnx_value *v)
{
    const qonnx_override *o = qonnx_value_override(v);
    return o && o->observer ? o->observer : qonnx_job_text(c->job, "observer");
}

/* The range that the observer chooses, where the value was observed. Of what data movement handed
 * on nothing is said: it was said of what went in. */
static bool set_observed(const Calibrate *c, qonnx_value *v)
{
    const qonnx_histogram *h = quantizable_seen(c->stats, v);
    qonnx_rule_kind made = rule_behind(c, v).kind;
    bool moved = made == QONNX_RULE_SAME || made == QONNX_RULE_UNIFY;
    if (!h || is_mask(c, v) || never_ran(v, h)) return true;
    if (!moved) warn_odd(c, qonnx_value_name(v), h);
    if (!h->nbins) return true;
    float lo, hi;
    h = raise_to(v, h, gates_floor(&c->floors, v));
    const qonnx_grid *grid = quantizable_grid_at(v, c->target, h->min);
    if (!qonnx_observe_value(c->cx, observer_of(c, v), v, c->stats, h, grid, &lo, &hi))
        return false;
    if (!moved) warn_outliers(c, v, h, lo, hi);
    qonnx_value_set_range(v, lo, hi);
    return true;
}

/* Sets the range that was given, or that goes with the scale that was. */
static void set_given(qonnx_value *v)
{
    const qonnx_override *o = qonnx_value_override(v);
    float lo = o->lo, hi = o->hi;
    if (o->scales) {
        lo = (float)(o->grid.qmin - o->zero_points[0]) * o->scales[0];
        hi = (float)(o->grid.qmax - o->zero_points[0]) * o->scales[0];
    }
    qonnx_value_set_range(v, lo, hi);
}

/* The range that the value would have if it shared none. */
static bool set_own(const Calibrate *c, qonnx_value *v)
{
    float lo, hi;
    qonnx_dtype dtype = qonnx_value_dtype(v);
    if ((dtype != QONNX_FLOAT && dtype != QONNX_UNDEFINED) || !wanted(c, v)) return true;
    if (range_is_given(v)) return set_given(v), true;
    const qonnx_tensor *t = qonnx_value_constant(v);
    if (t) {
        if (!is_mask_constant(t) && quantizable_extremes(t, &lo, &hi))
            qonnx_value_set_range(v, lo, hi);
        return true;
    }
    qonnx_rule rule = rule_behind(c, v);
    if (rule.kind != QONNX_RULE_FIXED) return set_observed(c, v);
    qonnx_value_set_range(v, rule.lo, rule.hi);
    return true;
}

/* Takes over the range of another value, where there is none; whether it did. */
static bool take_range(const Calibrate *c, qonnx_value *v, const qonnx_value *from)
{
    float lo, hi;
    if (qonnx_value_range(v, &lo, &hi) || !qonnx_value_range(from, &lo, &hi) || is_mask(c, v))
        return false;
    qonnx_value_set_range(v, lo, hi);
    return true;
}

/* Data movement whose output was not observed, for a pass put it there later: what comes out has
 * the range of what goes in. */
static void take_moved(const Calibrate *c)
{
    for (int i = 0; i < c->count; i++) {
        const qonnx_value *in = qonnx_node_input(c->nodes[i], 0);
        if (c->rules[i].kind != QONNX_RULE_SAME || !in) continue;
        for (int k = 0; k < qonnx_node_outputs(c->nodes[i]); k++) {
            qonnx_value *out = qonnx_node_output(c->nodes[i], k);
            if (out && qonnx_value_dtype(out) == qonnx_value_dtype(in)) take_range(c, out, in);
        }
    }
}

/* What only feeds a Relu or a Clip was not observed: the range behind it is all that matters. From
 * the back, for there may be several in a row. */
static void borrow_clamped(Calibrate *c)
{
    for (int i = c->count; i-- > 0;) {
        qonnx_value *in = qonnx_node_input(c->nodes[i], 0),
                    *out = qonnx_node_output(c->nodes[i], 0);
        if (c->rules[i].kind == QONNX_RULE_ACTIVATE && in && out &&
            quantizable_only_reader(in) == c->nodes[i])
            c->borrows[i] = take_range(c, in, out);
    }
}

/* A fixed range is what the integer form gives: where the operator runs in float, what comes out of
 * it has its observed range, as of any other. */
static bool observe_float(const Calibrate *c, const Placement *p)
{
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        if (s->rule.kind == QONNX_RULE_FIXED && !s->quantized && qonnx_node_output(s->node, 0) &&
            !range_is_given(qonnx_node_output(s->node, 0)) &&
            !set_observed(c, qonnx_node_output(s->node, 0)))
            return false;
    return true;
}

/* ---- what is wanted of single values ----------------------------------------------------------
 */

/* Lets `to` be quantized as `from` is wanted to be, unless something else is wanted of it. `all`:
 * its range, too. */
static void carry(const qonnx_value *from, qonnx_value *to, bool all)
{
    const qonnx_override *o = from && to ? qonnx_value_override(from) : NULL;
    if (!o || qonnx_value_override(to) || qonnx_value_constant(to)) return;
    qonnx_override copy = *o;
    if (!all) copy = (qonnx_override){.grid = o->grid, .observer = o->observer};
    qonnx_value_set_override(to, &copy);
}

/* What data movement gives is what it reads, so what is wanted of one holds for the other, unless
 * somebody else reads it, too; and a Relu or Clip vanishes only if its input is of its type. */
static void carry_overrides(const Calibrate *c)
{
    for (int i = 0; i < c->count; i++) {
        const qonnx_value *in = qonnx_node_input(c->nodes[i], 0);
        const bool same = c->rules[i].kind == QONNX_RULE_SAME;
        if (!same && c->rules[i].kind != QONNX_RULE_ACTIVATE) continue;
        for (int k = 0; k < qonnx_node_outputs(c->nodes[i]); k++)
            carry(in, qonnx_node_output(c->nodes[i], k), same);
    }
    for (int i = c->count; i-- > 0;) {
        qonnx_value *in = qonnx_node_input(c->nodes[i], 0);
        const qonnx_rule_kind kind = c->rules[i].kind;
        if ((kind == QONNX_RULE_SAME || kind == QONNX_RULE_ACTIVATE) && in &&
            quantizable_only_reader(in) == c->nodes[i])
            carry(qonnx_node_output(c->nodes[i], 0), in, true);
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

/* The ranges behind Relus and Clips are known now, as they are shared. */
static void return_borrowed(const Calibrate *c)
{
    for (int i = c->count; i-- > 0;) {
        float lo, hi;
        if (c->borrows[i] && qonnx_value_range(qonnx_node_output(c->nodes[i], 0), &lo, &hi))
            qonnx_value_set_range(qonnx_node_input(c->nodes[i], 0), lo, hi);
    }
}

static void list_nodes(Calibrate *c, qonnx_graph *g)
{
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (qonnx_node *n = qonnx_graph_first(in); n; n = qonnx_node_next(n)) c->count++;
    c->nodes = qonnx_graph_array(g, (size_t)c->count, sizeof *c->nodes);
    c->rules = qonnx_graph_array(g, (size_t)c->count, sizeof *c->rules);
    c->borrows = qonnx_graph_array(g, (size_t)c->count, sizeof *c->borrows);
    int i = 0;
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (qonnx_node *n = qonnx_graph_first(in); n; n = qonnx_node_next(n), i++) {
            c->nodes[i] = n;
            c->rules[i] = qonnx_target_rule(c->target, n, NULL);
        }
}

static bool calibrate(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Placement placement;
    Calibrate c = {
        .cx = cx, .job = job, .stats = qonnx_job_stats(job), .target = qonnx_job_target(job)};
    if (!quantizable_stats(cx, job, "calibrate")) return false;
    list_nodes(&c, g);
    find_masks(&c, g);
    gates_find(&c.floors, g);
    carry_overrides(&c);
    for (qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (int i = 0; i < qonnx_graph_values(in); i++)
            if (!set_own(&c, qonnx_graph_value(in, i))) return false;
    take_moved(&c);
    borrow_clamped(&c);
    placement_make(&placement, g, job, false);
    if (!observe_float(&c, &placement)) return false;
    ranges_share(&placement, g);
    return_borrowed(&c);
    return true;
}

static const qonnx_option options[] = {
    {"observer", "mse", "chooses the ranges: minmax, percentile, entropy, mse or a plugin's"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_calibrate = {
    .size = sizeof(qonnx_pass),
    .name = "calibrate",
    .brief = "set every activation's range from the calibration statistics",
    .options = options,
    .run = calibrate,
};
