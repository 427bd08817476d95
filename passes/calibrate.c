/* passes/calibrate.c - turns statistics into ranges: an observer's choice for every activation that
 * has a range of its own, and the operators' rules for those that follow others.
 */
#include "quantizable.h"

/* At or below this a constant is a mask ("minus infinity" of attention), no number to resolve. */
#define MASK (-1e4)

typedef struct Calibrate {
    qonnx_ctx *cx;
    const qonnx_job *job;
    const qonnx_stats *stats;
    const qonnx_target *target;
    qonnx_node **nodes;        /* in order */
    qonnx_rule *rules;         /* of the nodes */
    int count;                 /* nodes */
    const qonnx_value **masks; /* computed values that carry mask values */
    int nmasks;
} Calibrate;

/* ---- which values ---------------------------------------------------------------------------- */

/* Whether some operator would quantize the value: as its output, or as an activation it reads. */
static bool wanted(const qonnx_value *v)
{
    const qonnx_node *p = qonnx_value_producer(v);
    if (p && qonnx_node_rule(p).kind != QONNX_RULE_FLOAT) return true;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        qonnx_rule rule = qonnx_node_rule(n);
        if (quantizable_activation(n, &rule, input)) return true;
    }
    return false;
}

static bool is_mask_constant(const qonnx_tensor *t)
{
    float lo, hi;
    return t->dtype == QONNX_FLOAT && (!quantizable_extremes(t, &lo, &hi) || lo <= MASK);
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
    const qonnx_histogram *h = out ? qonnx_stats_histogram(c->stats, qonnx_value_name(out)) : NULL;
    if (!out || (h && h->min > MASK && !h->inf)) return false;
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

/* The value whose range the data movement behind it hands on: itself when there is none. */
static const qonnx_value *origin(const qonnx_value *v)
{
    const qonnx_node *p = qonnx_value_producer(v);
    while (p && qonnx_node_rule(p).kind == QONNX_RULE_SAME && qonnx_node_input(p, 0)) {
        v = qonnx_node_input(p, 0);
        p = qonnx_value_producer(v);
    }
    return v;
}

/* Whether a value must not follow its Concat to [lo, hi]: its range is a mathematical fact, or it
 * comes out of a Relu or Clip that vanishes only while the range ends where it clamps. */
static bool stands_alone(const qonnx_value *v, float lo, float hi)
{
    const qonnx_node *p = qonnx_value_producer(origin(v));
    qonnx_rule rule = p ? qonnx_node_rule(p) : (qonnx_rule){.kind = QONNX_RULE_OWN};
    return rule.kind == QONNX_RULE_FIXED ||
           (rule.kind == QONNX_RULE_ACTIVATE && (lo < rule.lo || hi > rule.hi));
}

/* ---- ranges of their own --------------------------------------------------------------------- */

/* Warns of a range that some outliers have made so wide that nearly all other values become 0. */
static void warn_outliers(const Calibrate *c, const char *name, const qonnx_histogram *h, float lo,
                          float hi)
{
    const qonnx_grid *grid = &c->target->activation;
    float scale;
    int zero_point;
    qonnx_grid_params(grid, lo, hi, &scale, &zero_point);
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
                   name, lo, hi, (unsigned long long)lost, (unsigned long long)others);
}

static bool set_observed(const Calibrate *c, qonnx_value *v, const qonnx_histogram *h)
{
    const char *name = qonnx_value_name(v);
    if (is_mask(c, v)) return true;
    if (h->nan || h->inf)
        qonnx_warn(c->cx, NULL,
                   "'%s': %llu of %llu calibration values are NaN and %llu are infinite; the range "
                   "is that of the finite ones",
                   name, (unsigned long long)h->nan, (unsigned long long)h->count,
                   (unsigned long long)h->inf);
    if (!h->nbins) {
        qonnx_warn(c->cx, NULL, "'%s': no finite value was seen, so it gets no range", name);
        return true;
    }
    float lo, hi;
    if (!qonnx_observe(c->cx, qonnx_job_text(c->job, "observer"), h, &c->target->activation, &lo,
                       &hi))
        return false;
    warn_outliers(c, name, h, lo, hi);
    qonnx_value_set_range(v, lo, hi);
    return true;
}

/* The range that does not depend on other values' ranges, where there is one. */
static bool set_own(const Calibrate *c, qonnx_value *v)
{
    float lo, hi;
    qonnx_dtype dtype = qonnx_value_dtype(v);
    if ((dtype != QONNX_FLOAT && dtype != QONNX_UNDEFINED) || !wanted(v)) return true;
    const qonnx_tensor *t = qonnx_value_constant(v);
    if (t) {
        if (!is_mask_constant(t) && quantizable_extremes(t, &lo, &hi))
            qonnx_value_set_range(v, lo, hi);
        return true;
    }
    const qonnx_node *p = qonnx_value_producer(v);
    qonnx_rule rule = p ? qonnx_node_rule(p) : (qonnx_rule){.kind = QONNX_RULE_OWN};
    if (rule.kind == QONNX_RULE_SAME || rule.kind == QONNX_RULE_UNIFY) return true;
    if (rule.kind == QONNX_RULE_FIXED) {
        qonnx_value_set_range(v, rule.lo, rule.hi);
        return true;
    }
    const qonnx_histogram *h = qonnx_stats_histogram(c->stats, qonnx_value_name(v));
    return h ? set_observed(c, v, h) : true;
}

/* ---- ranges that follow others --------------------------------------------------------------- */

/* Widens v's range to hold [lo, hi]; whether that changed it. */
static bool widen(qonnx_value *v, float lo, float hi)
{
    float vlo, vhi;
    if (!qonnx_value_range(v, &vlo, &vhi)) {
        qonnx_value_set_range(v, lo, hi);
        return true;
    }
    if (vlo <= lo && hi <= vhi) return false;
    qonnx_value_set_range(v, fminf(vlo, lo), fmaxf(vhi, hi));
    return true;
}

/* Data movement: what comes out has the range of what goes in, and the other way round where the
 * outputs' was widened by a Concat. */
static bool follow_same(qonnx_node *n)
{
    float lo, hi;
    bool changed = false;
    qonnx_value *in = qonnx_node_input(n, 0);
    if (!in || !qonnx_value_range(in, &lo, &hi)) return false;
    for (int i = 0; i < qonnx_node_outputs(n); i++) {
        qonnx_value *out = qonnx_node_output(n, i);
        if (!out || qonnx_value_dtype(out) != qonnx_value_dtype(in)) continue;
        changed |= widen(out, lo, hi);
        qonnx_value_range(out, &lo, &hi);
        changed |= widen(in, lo, hi);
    }
    return changed;
}

/* Concat: its inputs and its output share the union, but for those that stand alone; what has no
 * range stays so. */
static bool follow_unify(qonnx_node *n)
{
    float lo, hi, min = INFINITY, max = -INFINITY;
    bool changed = false;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        qonnx_value *v = qonnx_node_input(n, i);
        if (!v || !qonnx_value_range(v, &lo, &hi)) continue;
        min = fminf(min, lo);
        max = fmaxf(max, hi);
    }
    qonnx_value *out = qonnx_node_output(n, 0);
    if (qonnx_value_range(out, &lo, &hi)) {
        min = fminf(min, lo);
        max = fmaxf(max, hi);
    }
    if (min > max) return false;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        qonnx_value *v = qonnx_node_input(n, i);
        if (v && qonnx_value_range(v, &lo, &hi) && !stands_alone(v, min, max))
            changed |= widen(v, min, max);
    }
    return widen(out, min, max) || changed;
}

static bool follow(const Calibrate *c, int i)
{
    switch (c->rules[i].kind) {
    case QONNX_RULE_SAME: return follow_same(c->nodes[i]);
    case QONNX_RULE_UNIFY: return follow_unify(c->nodes[i]);
    default: return false;
    }
}

/* Ranges only ever widen, to other ranges' ends, so this ends; sweeps in both directions make it
 * end soon. */
static void follow_all(const Calibrate *c)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < c->count; i++) changed |= follow(c, i);
        for (int i = c->count; i-- > 0;) changed |= follow(c, i);
    }
}

/* What only feeds a Relu or a Clip was not observed: the range behind it is all that matters. From
 * the back, for there may be several in a row. */
static void follow_activations(const Calibrate *c)
{
    for (int i = c->count; i-- > 0;) {
        float lo, hi;
        qonnx_value *in = qonnx_node_input(c->nodes[i], 0),
                    *out = qonnx_node_output(c->nodes[i], 0);
        if (c->rules[i].kind != QONNX_RULE_ACTIVATE || !in || !out) continue;
        if (!qonnx_value_range(in, &lo, &hi) && qonnx_value_range(out, &lo, &hi) &&
            qonnx_value_only_user(in) == c->nodes[i] && !is_mask(c, in))
            qonnx_value_set_range(in, lo, hi);
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

static void list_nodes(Calibrate *c, qonnx_graph *g)
{
    for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) c->count++;
    c->nodes = qonnx_graph_array(g, (size_t)c->count, sizeof *c->nodes);
    c->rules = qonnx_graph_array(g, (size_t)c->count, sizeof *c->rules);
    int i = 0;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n), i++) {
        c->nodes[i] = n;
        c->rules[i] = qonnx_node_rule(n);
    }
}

static bool calibrate(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Calibrate c = {
        .cx = cx, .job = job, .stats = qonnx_job_stats(job), .target = qonnx_job_target(job)};
    if (!c.stats)
        return qonnx_fail(cx, NULL,
                          "calibrate: there are no statistics; give calibration data or a .qcal "
                          "file");
    list_nodes(&c, g);
    find_masks(&c, g);
    for (int i = 0; i < qonnx_graph_values(g); i++)
        if (!set_own(&c, qonnx_graph_value(g, i))) return false;
    follow_all(&c);
    follow_activations(&c);
    return true;
}

static const qonnx_option options[] = {
    {"observer", "mse", "chooses the ranges: minmax, percentile, entropy, mse or a plugin's"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_calibrate = {
    .name = "calibrate",
    .brief = "set every activation's range from the calibration statistics",
    .options = options,
    .run = calibrate,
};
