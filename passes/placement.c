/* passes/placement.c - which operators run in integers: those that can (judge), as far as it is
 * worth it (decide). One part of calibrate, correct-bias and insert-qdq; no pass by itself.
 */
#include "placement.h"
#include "spectra.h"
#include <stdlib.h>

/* ---- sites ----------------------------------------------------------------------------------- */

static int compare_sites(const void *a, const void *b)
{
    const Site *x = *(Site *const *)a, *y = *(Site *const *)b;
    return ((uintptr_t)x->node > (uintptr_t)y->node) - ((uintptr_t)x->node < (uintptr_t)y->node);
}

static int compare_key(const void *key, const void *element)
{
    uintptr_t x = (uintptr_t)key, y = (uintptr_t)(*(Site *const *)element)->node;
    return (x > y) - (x < y);
}

Site *placement_site(const Placement *p, const qonnx_node *n)
{
    Site **found =
        n ? bsearch(n, p->by_node, (size_t)p->count, sizeof *p->by_node, compare_key) : NULL;
    return found ? *found : NULL;
}

Site *placement_reader(const Placement *p, const qonnx_node *n, int i)
{
    Site *s = placement_site(p, n);
    return s && s->quantized && quantizable_activation(s->node, &s->rule, i) ? s : NULL;
}

static void list_site(const Placement *p, Site *s, qonnx_node *n)
{
    const qonnx_habit *habit;
    s->node = n;
    s->rule = qonnx_target_rule(p->target, n, &habit);
    bool weighted = s->rule.weight >= 0 && s->rule.kind != QONNX_RULE_FLOAT;
    s->heavy = weighted || qonnx_node_is(n, "MatMul");
    s->summed = -1;
    if (!habit) return;
    s->behind = habit->taking == QONNX_TAKES_BEHIND;
    s->per_tensor = habit->per_tensor;
    s->refused = habit->taking == QONNX_TAKES_FLOAT ? habit->why : NULL;
}

static void list_sites(Placement *p, qonnx_graph *g)
{
    for (qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (qonnx_node *n = qonnx_graph_first(in); n; n = qonnx_node_next(n)) p->count++;
    size_t room = (size_t)p->count;
    p->sites = qonnx_graph_array(g, room, sizeof *p->sites);
    p->by_node = qonnx_graph_array(g, room, sizeof *p->by_node);
    Site *s = p->sites;
    for (qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (qonnx_node *n = qonnx_graph_first(in); n; n = qonnx_node_next(n), s++) {
            list_site(p, s, n);
            p->by_node[s - p->sites] = s;
        }
    qsort(p->by_node, room, sizeof *p->by_node, compare_sites);
}

/* ---- who can: judge -------------------------------------------------------------------------- */

/* Room for the reason of a verdict. */
typedef struct Reason {
    char text[256];
} Reason;

#define VERDICT(verdict, reason, ...)                                                              \
    (snprintf((reason)->text, sizeof(reason)->text, __VA_ARGS__), (verdict))

/* Why a value has no range. Of what nobody knows to be float, nothing is said: it may be a shape.
 */
static Verdict judge_rangeless(const Placement *p, const qonnx_value *v, Reason *why)
{
    const char *name = qonnx_value_name(v);
    const qonnx_histogram *h = quantizable_seen(p->stats, v);
    if (qonnx_value_constant(v) || (h && h->nbins))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' holds mask values", name);
    if (h) return VERDICT(VERDICT_WARN, why, "no finite value of '%.120s' was seen", name);
    if (qonnx_value_dtype(v) == QONNX_UNDEFINED) return VERDICT_NEVER;
    if (p->requantizes)
        return VERDICT(VERDICT_NOTE, why, "'%.120s' is not quantized in the file", name);
    return VERDICT(VERDICT_WARN, why, "'%.120s' has no range: it was not observed", name);
}

static Verdict judge_value(const Placement *p, const qonnx_value *v, Reason *why)
{
    float lo, hi;
    qonnx_dtype t = qonnx_value_dtype(v);
    const qonnx_node *n = qonnx_value_producer(v);
    if (t == QONNX_FLOAT16 || t == QONNX_BFLOAT16 || t == QONNX_DOUBLE)
        return VERDICT(VERDICT_WARN, why, "'%.120s' is %s, only float is quantized",
                       qonnx_value_name(v), qonnx_dtype_name(t));
    if (t != QONNX_FLOAT && t != QONNX_UNDEFINED) return VERDICT_NEVER;
    if (n && qonnx_node_is(n, "DequantizeLinear") && !qonnx_value_kept(v))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' is quantized already", qonnx_value_name(v));
    return qonnx_value_range(v, &lo, &hi) ? VERDICT_QUANTIZE : judge_rangeless(p, v, why);
}

/* Whether nothing says how to quantize what the node gives, but it can give floats: the ranges are
 * those of a file in which other tools left it so. */
static bool may_give_floats(const Placement *p, const Site *s, const qonnx_value *v)
{
    float lo, hi;
    return s->rule.to_float && p->requantizes && !qonnx_value_range(v, &lo, &hi);
}

/* Whether everything that the node reads in integers, and all that it writes, can be integers. */
static Verdict judge_values(const Placement *p, const Site *s, Reason *why)
{
    Verdict verdict = VERDICT_QUANTIZE;
    const qonnx_node *n = s->node;
    for (int i = 0; i < qonnx_node_inputs(n) && verdict == VERDICT_QUANTIZE; i++)
        if (quantizable_activation(n, &s->rule, i))
            verdict = judge_value(p, qonnx_node_input(n, i), why);
    for (int i = 0; i < qonnx_node_outputs(n) && verdict == VERDICT_QUANTIZE; i++)
        if (qonnx_node_output(n, i) && !may_give_floats(p, s, qonnx_node_output(n, i)))
            verdict = judge_value(p, qonnx_node_output(n, i), why);
    return verdict;
}

/* What integer matrix products want of their weight, bias and factors. */
static Verdict judge_weighted(const Placement *p, const Site *s, Reason *why)
{
    float lo, hi;
    const qonnx_node *n = s->node;
    const qonnx_rule *rule = &s->rule;
    const qonnx_tensor *w = quantizable_weight(n, rule);
    if (qonnx_node_float(n, "alpha", 1) != 1 || qonnx_node_float(n, "beta", 1) != 1)
        return VERDICT(VERDICT_WARN, why, "alpha and beta must be 1");
    if (qonnx_node_int(n, "transA", 0)) return VERDICT(VERDICT_WARN, why, "transA must be 0");
    if (w && (w->dtype != QONNX_FLOAT || !quantizable_extremes(w, &lo, &hi)))
        return VERDICT(VERDICT_WARN, why, "the weight is not float, or not finite");
    const qonnx_value *bias = rule->bias >= 0 ? qonnx_node_input(n, rule->bias) : NULL;
    if (!bias || !p->target->bias_int32) return VERDICT_QUANTIZE;
    const qonnx_tensor *b = qonnx_value_constant(bias);
    if (!w) return VERDICT(VERDICT_WARN, why, "it has a bias but its weight is not constant");
    if (!b || !quantizable_bias(n, rule, quantizable_channels(n, rule)))
        return VERDICT(VERDICT_WARN, why, "the bias is not a constant of one float a channel");
    if (!quantizable_extremes(b, &lo, &hi))
        return VERDICT(VERDICT_WARN, why, "the bias is not finite");
    return VERDICT_QUANTIZE;
}

/* Whether the node can run in integers with the ranges that its values have. */
static Verdict judge(const Placement *p, const Site *s, Reason *why)
{
    if (s->rule.kind == QONNX_RULE_FLOAT || !qonnx_node_output(s->node, 0)) return VERDICT_NEVER;
    if (qonnx_node_kept_float(s->node)) return VERDICT(VERDICT_NOTE, why, "as it was asked for");
    if (s->refused) return VERDICT(VERDICT_NOTE, why, "%s", s->refused);
    if (s->heavy && s->spectral)
        return VERDICT(VERDICT_NOTE, why, "what is small in a spectrum would be lost");
    Verdict verdict = judge_values(p, s, why);
    if (verdict == VERDICT_QUANTIZE && s->rule.weight >= 0) verdict = judge_weighted(p, s, why);
    return verdict;
}

static void judge_all(Placement *p, qonnx_graph *g)
{
    for (Site *s = p->sites; s < p->sites + p->count; s++) {
        Reason why;
        s->verdict = judge(p, s, &why);
        if (s->verdict == VERDICT_QUANTIZE || s->verdict == VERDICT_NEVER) continue;
        size_t bytes = strlen(why.text) + 1;
        s->why = memcpy(qonnx_graph_alloc(g, bytes), why.text, bytes);
    }
}

/* ---- what never ran -------------------------------------------------------------------------- */

/* Whether no value of the graph was seen; `known`: the statistics have some of it. */
static bool is_unseen(const Placement *p, const qonnx_graph *g, bool *known)
{
    *known = false;
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        const qonnx_histogram *h = quantizable_seen(p->stats, qonnx_graph_value(g, i));
        if (h && h->count) return false;
        *known |= h != NULL;
    }
    return true;
}

/* Whether the graph lies in the one that was found last: what lies in a graph comes behind it. */
static bool is_in_last(const Placement *p, const qonnx_graph *g)
{
    const qonnx_graph *last = p->nidle ? p->idle[p->nidle - 1].graph : NULL;
    while (last && g && g != last) g = qonnx_graph_parent(g);
    return last && g;
}

/* Leaves what is in the graph in float, and says nothing of its nodes. Whether anything could have
 * run in integers, and whether a matrix product could. */
static bool leave_out(Placement *p, const qonnx_graph *g, bool *heavy)
{
    bool any = false;
    *heavy = false;
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) {
        Site *s = placement_site(p, n);
        any |= s->verdict != VERDICT_NEVER;
        *heavy |= s->verdict != VERDICT_NEVER && s->heavy;
        s->verdict = VERDICT_NEVER;
        s->why = NULL;
    }
    return any;
}

/* Finds the subgraphs that no sample ran: there are no ranges for them. */
static void find_idle(Placement *p, qonnx_graph *g)
{
    int room = 0;
    for (const qonnx_graph *in = g; p->stats && in; in = qonnx_graph_next(in)) room++;
    p->idle = qonnx_graph_array(g, (size_t)room, sizeof *p->idle);
    for (const qonnx_graph *in = g; p->stats && (in = qonnx_graph_next(in));) {
        bool known, heavy;
        if (!is_unseen(p, in, &known) || !leave_out(p, in, &heavy)) continue;
        if (is_in_last(p, in)) p->idle[p->nidle - 1].heavy |= heavy;
        else p->idle[p->nidle++] = (Idle){in, known, heavy};
    }
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* How wide the grid of a value is; 0 where it has no range. */
static float width_of(const qonnx_value *v)
{
    float lo, hi;
    return v && qonnx_value_range(v, &lo, &hi) ? placement_width(lo, hi) : 0;
}

/* Whether two values are of one type, as far as the user or a pass has a say in it. */
static bool same_grid(const Placement *p, const qonnx_value *a, const qonnx_value *b)
{
    const qonnx_override *x = qonnx_value_override(a), *y = qonnx_value_override(b);
    const qonnx_grid *usual = &p->target->activation;
    const qonnx_grid *one = x && x->grid.dtype != QONNX_UNDEFINED ? &x->grid : usual;
    const qonnx_grid *two = y && y->grid.dtype != QONNX_UNDEFINED ? &y->grid : usual;
    return one->dtype == two->dtype && one->qmin == two->qmin && one->qmax == two->qmax &&
           one->symmetric == two->symmetric;
}

static bool same_params(const Placement *p, const qonnx_value *a, const qonnx_value *b)
{
    int az, bz;
    float as, bs;
    return same_grid(p, a, b) && quantizable_params(a, p->target, &as, &az) &&
           quantizable_params(b, p->target, &bs, &bz) && as == bs && az == bz;
}

/* Data movement: the first value in front of it that is not moved in integers. */
static const qonnx_value *find_root(const Placement *p, const Site *s)
{
    const qonnx_value *v = qonnx_node_input(s->node, 0);
    const Site *front = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
    return front && front->quantized && front->rule.kind == QONNX_RULE_SAME ? front->root : v;
}

/* Whether data movement hands on a part, as a Slice of a packed state does, that its source's
 * scale would be too coarse for. */
static bool takes_narrow_part(const Site *s)
{
    bool narrow = false;
    for (int i = 0; i < qonnx_node_outputs(s->node); i++) {
        float width = width_of(qonnx_node_output(s->node, i));
        narrow |= width > 0 && placement_narrow(width, width_of(s->root));
    }
    return narrow;
}

/* Whether what data movement gives is of the type of what it reads. */
static bool has_one_grid(const Placement *p, const Site *s)
{
    for (int i = 0; i < qonnx_node_outputs(s->node); i++) {
        const qonnx_value *out = qonnx_node_output(s->node, i);
        if (out && !same_grid(p, qonnx_node_input(s->node, 0), out)) return false;
    }
    return true;
}

/* Data movement in integers must hand on its input's parameters. Where its source is in float, a
 * narrow part stays in float, too, and gets its own range. */
static bool moves_well(const Placement *p, const Site *s)
{
    const qonnx_value *in = qonnx_node_input(s->node, 0);
    if (!p->settled) {
        const Site *source = placement_site(p, qonnx_value_producer(s->root));
        return has_one_grid(p, s) && ((source && source->quantized) || !takes_narrow_part(s));
    }
    for (int i = 0; i < qonnx_node_outputs(s->node); i++) {
        const qonnx_value *out = qonnx_node_output(s->node, i);
        if (out && !same_params(p, in, out)) return false;
    }
    return true;
}

/* Whether one scale for all that a Concat joins leaves a narrow input too little: only readers that
 * are bound to the scale of the whole in any case do not mind. */
static bool joins_well(const Site *s)
{
    float widest = 0;
    bool narrow = false;
    for (int i = 0; i < qonnx_node_inputs(s->node); i++)
        widest = fmaxf(widest, width_of(qonnx_node_input(s->node, i)));
    for (int i = 0; i < qonnx_node_inputs(s->node); i++) {
        float width = width_of(qonnx_node_input(s->node, i));
        narrow |= width > 0 && placement_narrow(width, widest);
    }
    return !narrow || !s->parted;
}

/* Whether a Concat that cannot requantize would have to: what it joins has a fixed scale. */
static bool joins_fixed(const Placement *p, const Site *s)
{
    bool fixed = false;
    for (int i = 0; i < qonnx_node_inputs(s->node) && p->target->one_scale; i++) {
        const qonnx_value *v = qonnx_node_input(s->node, i);
        const Site *from = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
        if (from && from->rule.kind == QONNX_RULE_SAME)
            from = placement_site(p, qonnx_value_producer(from->root));
        fixed |= from && from->quantized && from->rule.kind == QONNX_RULE_FIXED;
    }
    return fixed;
}

/* Whether what a Softmax or a Sigmoid was seen to give loses two bits or more at its fixed scale:
 * 1,000 classes that are all about as likely become zeros at 1/256. */
static bool is_too_coarse(const Placement *p, const Site *s)
{
    const qonnx_value *y = qonnx_node_output(s->node, 0);
    const qonnx_histogram *h = quantizable_seen(p->stats, y);
    bool coarse = qonnx_dtype_bits(quantizable_grid(y, p->target)->dtype) <= 8;
    return coarse && h && h->nbins && placement_narrow(h->max, s->rule.hi);
}

/* Why the operator must not run in integers with the ranges that its values have; NULL: it may. */
static const char *find_misfit(const Placement *p, const Site *s)
{
    if (s->rule.kind == QONNX_RULE_SAME && !moves_well(p, s))
        return "what it moves has a range of its own";
    if (s->rule.kind == QONNX_RULE_UNIFY && !joins_well(s))
        return "one scale would be too coarse for what is small in it";
    if (s->rule.kind == QONNX_RULE_UNIFY && joins_fixed(p, s))
        return "what it joins has a fixed scale";
    if (s->rule.kind == QONNX_RULE_FIXED && is_too_coarse(p, s))
        return "its largest value is no more than a quarter of what its fixed scale reaches to";
    return NULL;
}

/* ---- who does: decide ------------------------------------------------------------------------ */

/* Whether the value is there in integers anyway: it is a constant, comes out of integers, or a
 * matrix product reads it. */
static bool is_integer(const Placement *p, const qonnx_value *v)
{
    const Site *from = placement_site(p, qonnx_value_producer(v));
    bool integer = qonnx_value_constant(v) || (from && from->quantized);
    for (int i = 0; i < qonnx_value_uses(v) && !integer; i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        const Site *u = placement_reader(p, n, input);
        integer = u && u->heavy;
    }
    return integer;
}

/* Whether everything that the operator reads is there in integers. */
static bool is_fed(const Placement *p, const Site *s)
{
    for (int i = 0; i < qonnx_node_inputs(s->node); i++)
        if (quantizable_activation(s->node, &s->rule, i) &&
            !is_integer(p, qonnx_node_input(s->node, i)))
            return false;
    return true;
}

static Eaten eaten_by(const Site *reader)
{
    if (reader->heavy) return EATEN_PRODUCT;
    bool passes_on = reader->rule.kind == QONNX_RULE_SAME || reader->eaten < EATEN_INTEGER;
    return passes_on ? reader->eaten : EATEN_INTEGER;
}

/* Whether the reader sees what is small in a whole whose scale is made for what is large. */
static bool sees_parts(const Site *reader)
{
    if (!reader) return true;
    switch (reader->rule.kind) {
    case QONNX_RULE_SAME: return reader->parted || takes_narrow_part(reader);
    case QONNX_RULE_UNIFY:
    case QONNX_RULE_ACTIVATE: return reader->parted;
    default: return false;
    }
}

/* Finds where the site's outputs go. */
static void find_readers(const Placement *p, Site *s)
{
    s->eaten = EATEN_NOT;
    s->parted = false;
    for (int i = 0; i < qonnx_node_outputs(s->node); i++) {
        const qonnx_value *v = qonnx_node_output(s->node, i);
        if (!v) continue;
        if (qonnx_value_is_output(v)) {
            s->parted = true;
            if (s->eaten < EATEN_OUTPUT) s->eaten = EATEN_OUTPUT;
        }
        for (int k = 0; k < qonnx_value_uses(v); k++) {
            int input;
            const qonnx_node *n = qonnx_value_use(v, k, &input);
            const Site *u = placement_reader(p, n, input);
            s->parted |= sees_parts(u);
            if (u && eaten_by(u) > s->eaten) s->eaten = eaten_by(u);
        }
    }
}

/* Whether it is arithmetic with a constant, as at the end of a detector, where offsets become
 * coordinates that need more than 8 bits. */
static bool is_decoding(const Site *s)
{
    bool constant = false;
    for (int i = 0; i < qonnx_node_inputs(s->node) && s->rule.kind == QONNX_RULE_OWN; i++)
        constant |= quantizable_activation(s->node, &s->rule, i) &&
                    qonnx_value_constant(qonnx_node_input(s->node, i));
    return constant;
}

/* Whether a node is the Cast behind which a value leaves the model, as one of half the bits. */
static bool is_cast_of_output(const qonnx_node *n)
{
    return qonnx_node_is(n, "Cast") && qonnx_value_is_output(qonnx_node_output(n, 0));
}

/* Whether the file that the ranges come from has nothing but integers of the value. */
static bool is_always_quantized(const qonnx_value *v)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    return k && k->always;
}

bool placement_gives_floats(const Placement *p, const Site *s)
{
    const qonnx_value *y = qonnx_node_output(s->node, 0);
    if (!s->quantized || !s->rule.to_float || !p->target->quantize_outputs) return false;
    if (may_give_floats(p, s, y)) return true;
    if (qonnx_value_is_output(y) || is_always_quantized(y)) return false;
    for (int i = 0; i < qonnx_value_uses(y); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(y, i, &input);
        if (placement_reader(p, n, input) || is_cast_of_output(n)) return false;
    }
    return qonnx_value_uses(y) > 0;
}

/* Data movement of a product's result that only float operators read in the end: the product gives
 * them floats. */
static bool moves_floats(const Placement *p, const Site *s)
{
    const Site *from = placement_site(p, qonnx_value_producer(s->root));
    return s->eaten == EATEN_NOT && from && from->quantized && from->rule.to_float;
}

/* A matrix product is worth it by itself. Element-wise operators and pools are only between
 * integers: an Add whose sum goes to a LayerNorm in float would lose bits for nothing, and so would
 * the product of a GELU computed in float. Data movement loses nothing behind integers, nor in
 * front of a matrix product. */
static bool is_worth_it(const Placement *p, const Site *s)
{
    if (s->heavy) return true;
    bool moves = s->rule.kind == QONNX_RULE_SAME || s->rule.kind == QONNX_RULE_UNIFY || s->behind;
    if (moves && !p->target->quantize_outputs && s->eaten < EATEN_INTEGER) return false;
    if (s->rule.kind == QONNX_RULE_SAME)
        return s->eaten == EATEN_PRODUCT || (is_fed(p, s) && !moves_floats(p, s));
    return s->eaten >= (is_decoding(s) ? EATEN_INTEGER : EATEN_OUTPUT) && is_fed(p, s);
}

/* Takes the site out where it must not run in integers, or need not; whether it did. */
static bool take_out(const Placement *p, Site *s)
{
    if (!s->quantized) return false;
    s->quantized = is_worth_it(p, s);
    if (!s->quantized) return true;
    s->why = find_misfit(p, s);
    s->quantized = !s->why;
    return !s->quantized;
}

/* Takes operators out until each that is left is worth it; there and back, for one that goes may
 * take those behind it and in front of it along. */
static void decide(Placement *p)
{
    Site *end = p->sites + p->count;
    for (Site *s = p->sites; s < end; s++) {
        s->quantized = s->verdict == VERDICT_QUANTIZE;
        s->eaten = EATEN_PRODUCT;
        s->root = find_root(p, s);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (Site *s = end; s-- > p->sites;) {
            find_readers(p, s);
            changed |= take_out(p, s);
        }
        for (Site *s = p->sites; s < end; s++) {
            s->root = find_root(p, s);
            changed |= take_out(p, s);
        }
    }
}

/* ---- sums that are computed with a product --------------------------------------------------- */

/* The most operators in a row in front of each node; what a subgraph captures does not count. */
static void find_depths(Placement *p)
{
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        for (int i = 0; i < qonnx_node_inputs(s->node); i++) {
            const qonnx_value *v = qonnx_node_input(s->node, i);
            const Site *from = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
            if (from && s->depth <= from->depth) s->depth = from->depth + 1;
        }
}

/* The product whose result the Add alone reads as that input, so that they are one kernel; else
 * NULL. */
static const Site *product_in(const Placement *p, const Site *add, int input)
{
    const qonnx_value *v = qonnx_node_input(add->node, input);
    const Site *from = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
    bool product = from && from->quantized && quantizable_weight(from->node, &from->rule);
    return product && quantizable_only_reader(v) == add->node ? from : NULL;
}

/* Finds the operand of each Add that is not quantized. */
static void find_sums(Placement *p)
{
    if (!p->target->fuses_sums) return;
    find_depths(p);
    for (Site *s = p->sites; s < p->sites + p->count; s++) {
        if (!s->quantized || !qonnx_node_is(s->node, "Add")) continue;
        const Site *a = product_in(p, s, 0), *b = product_in(p, s, 1);
        if (a || b) s->summed = a && (!b || a->depth > b->depth) ? 0 : 1;
    }
}

bool placement_reads(const Placement *p, const qonnx_node *n, int i)
{
    const Site *s = placement_reader(p, n, i);
    return s && !s->behind && s->summed != i;
}

/* ---- the placement --------------------------------------------------------------------------- */

/* Whether adopt-qdq has found how values are quantized. */
static bool is_adopted(const qonnx_graph *g)
{
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (int i = 0; i < qonnx_graph_values(in); i++)
            if (qonnx_value_kept(qonnx_graph_value(in, i))) return true;
    return false;
}

void placement_make(Placement *p, qonnx_graph *g, const qonnx_job *job, bool settled)
{
    *p = (Placement){.target = qonnx_job_target(job),
                     .stats = qonnx_job_stats(job),
                     .requantizes = is_adopted(g),
                     .settled = settled};
    list_sites(p, g);
    spectra_find(p);
    judge_all(p, g);
    find_idle(p, g);
    decide(p);
    find_sums(p);
}

/* Whether an operator in integers reads or gives some of 16 bits: runtimes compute it in floats
 * between its DequantizeLinear and its QuantizeLinear. */
static bool is_wide(const Placement *p, const Site *s)
{
    bool wide = false;
    for (int i = 0; i < qonnx_node_inputs(s->node); i++)
        wide |=
            quantizable_activation(s->node, &s->rule, i) &&
            qonnx_dtype_bits(quantizable_grid(qonnx_node_input(s->node, i), p->target)->dtype) > 8;
    for (int i = 0; i < qonnx_node_outputs(s->node); i++)
        wide |=
            qonnx_node_output(s->node, i) &&
            qonnx_dtype_bits(quantizable_grid(qonnx_node_output(s->node, i), p->target)->dtype) > 8;
    return s->quantized && wide;
}

void placement_tell(qonnx_ctx *cx, const Placement *p)
{
    int alone = 0, wide = 0;
    for (const Idle *i = p->idle; i < p->idle + p->nidle; i++)
        (i->heavy ? qonnx_warn : qonnx_note)(
            cx, qonnx_graph_owner(i->graph), "its %s stays in float: %s",
            qonnx_graph_attribute(i->graph),
            i->known ? "no calibration sample ran it"
                     : "the statistics have nothing of it; run `qonnx calibrate` again");
    for (const Site *s = p->sites; s < p->sites + p->count; s++) {
        if (s->verdict == VERDICT_WARN) qonnx_warn(cx, s->node, "stays in float: %s", s->why);
        else if (s->why) qonnx_note(cx, s->node, "stays in float: %s", s->why);
        else alone += s->verdict == VERDICT_QUANTIZE && !s->quantized;
        wide += is_wide(p, s);
    }
    if (wide)
        qonnx_note(
            cx, NULL,
            "%d operators read or give 16 bits: ONNX Runtime on processors, and generated C, "
            "compute them in floats",
            wide);
    if (alone)
        qonnx_note(cx, NULL,
                   "%d light operators stay in float, for what is around them is float", alone);
}
