/* passes/placement.c - which operators run in integers: those that can (judge.c), as far as it is
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

/* ---- who can: judge.c -------------------------------------------------------------------------
 */

static const char *keep_text(qonnx_graph *g, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(qonnx_graph_alloc(g, bytes), text, bytes);
}

static void judge_all(Placement *p, qonnx_graph *g)
{
    for (Site *s = p->sites; s < p->sites + p->count; s++) {
        Reason why = {""};
        s->verdict = placement_judge(p, s, &why);
        if (*why.text) s->why = keep_text(g, why.text);
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
        s->why = "no calibration sample ran it";
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

static double mean_square(const qonnx_histogram *h)
{
    double sum = 0;
    for (int i = 0; i < h->nbins; i++) {
        double x = 0.5 * ((double)h->bins[i].lo + h->bins[i].hi);
        sum += (double)h->bins[i].count * x * x;
    }
    return sum / (double)h->count;
}

/* Whether what a Softmax or a Sigmoid was seen to give loses two bits or more at its fixed scale,
 * or is hardly more than its steps: 1,000 classes that are all about as likely become zeros at
 * 1/256, and of 200 tokens that share 1 each has a step or two, whatever the largest is. */
static bool is_too_coarse(const Placement *p, const Site *s)
{
    enum { LEVELS = 256, LEAST = 316 }; /* LEAST: 25 dB over the noise of rounding, step^2 / 12 */
    double step = ((double)s->rule.hi - s->rule.lo) / LEVELS;
    const qonnx_value *y = qonnx_node_output(s->node, 0);
    const qonnx_histogram *h = quantizable_seen(p->stats, y);
    bool coarse = qonnx_dtype_bits(quantizable_grid(y, p->target)->dtype) <= 8;
    return coarse && h && h->nbins &&
           (placement_narrow(h->max, s->rule.hi) || mean_square(h) < LEAST * step * step / 12);
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
        return "its values are small beside what its fixed scale reaches to";
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
    s->multiplied = true;
    for (int i = 0; i < qonnx_node_outputs(s->node); i++) {
        const qonnx_value *v = qonnx_node_output(s->node, i);
        if (!v) continue;
        if (qonnx_value_is_output(v)) {
            s->parted = true;
            s->multiplied = false;
            if (s->eaten < EATEN_OUTPUT) s->eaten = EATEN_OUTPUT;
        }
        for (int k = 0; k < qonnx_value_uses(v); k++) {
            int input;
            const qonnx_node *n = qonnx_value_use(v, k, &input);
            const Site *u = placement_reader(p, n, input);
            s->parted |= sees_parts(u);
            s->multiplied &= u && (u->heavy || (u->rule.kind == QONNX_RULE_SAME && u->multiplied));
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

bool placement_may_give_floats(const Placement *p, const Site *s, const qonnx_value *v)
{
    float lo, hi;
    return s->rule.to_float && p->requantizes && !qonnx_value_range(v, &lo, &hi);
}

bool placement_gives_floats(const Placement *p, const Site *s)
{
    const qonnx_value *y = qonnx_node_output(s->node, 0);
    if (!s->quantized || !s->rule.to_float || !p->target->qlinear) return false;
    if (placement_may_give_floats(p, s, y)) return true;
    if (qonnx_value_is_output(y) || is_always_quantized(y)) return false;
    for (int i = 0; i < qonnx_value_uses(y); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(y, i, &input);
        if (placement_reader(p, n, input) || is_cast_of_output(n)) return false;
    }
    return qonnx_value_uses(y) > 0;
}

/* Data movement of a product's result, or of a constant, that only float operators read in the end:
 * the product gives them floats, the constant is there in floats. */
static bool moves_floats(const Placement *p, const Site *s)
{
    const Site *from = placement_site(p, qonnx_value_producer(s->root));
    const bool floats =
        from ? from->quantized && from->rule.to_float : qonnx_value_constant(s->root) != NULL;
    return s->eaten == EATEN_NOT && floats;
}

/* Whether it adds a constant to what a product of one reader can give in floats, and products in
 * integers read the sum. */
static bool adds_bias(const Placement *p, const Site *s)
{
    bool floats = false, constant = false;
    if (!p->target->float_sums || p->requantizes || !qonnx_node_is(s->node, "Add") ||
        !s->multiplied || qonnx_node_inputs(s->node) != 2)
        return false;
    for (int i = 0; i < 2; i++) {
        const qonnx_value *v = qonnx_node_input(s->node, i);
        const Site *from = placement_site(p, qonnx_value_producer(v));
        constant |= qonnx_value_constant(v) != NULL;
        floats |= from && from->quantized && from->rule.to_float && qonnx_value_only_user(v);
    }
    return constant && floats;
}

/* A value that the operator reads, that is not there in integers; NULL: there is none. */
static const qonnx_value *find_unfed(const Placement *p, const Site *s)
{
    for (int i = 0; i < qonnx_node_inputs(s->node); i++) {
        const qonnx_value *v = qonnx_node_input(s->node, i);
        if (quantizable_activation(s->node, &s->rule, i) && !is_integer(p, v)) return v;
    }
    return NULL;
}

/* Why it is not worth it; NULL: it is. A matrix product is by itself. Element-wise operators and
 * pools are only between integers: an Add whose sum goes to a LayerNorm in float would lose bits
 * for nothing, and so would the product of a GELU computed in float. Data movement loses nothing
 * behind integers, nor in front of a matrix product. */
static const char *find_unworthy(const Placement *p, const Site *s)
{
    static const char *const nobody = "no operator in integers reads what it gives",
                             *const unfed = "what it reads is in float";
    if (s->heavy) return NULL;
    bool moves = s->rule.kind == QONNX_RULE_SAME || s->rule.kind == QONNX_RULE_UNIFY || s->behind;
    if (moves && !p->target->quantize_outputs && s->eaten < EATEN_INTEGER) return nobody;
    if (s->rule.kind == QONNX_RULE_SAME) {
        if (s->eaten == EATEN_PRODUCT) return NULL;
        return find_unfed(p, s) ? unfed : moves_floats(p, s) ? nobody : NULL;
    }
    if (s->eaten < EATEN_OUTPUT) return nobody;
    if (is_decoding(s) && s->eaten < EATEN_INTEGER)
        return "arithmetic with a constant at the end of a model needs more than 8 bits";
    if (adds_bias(p, s)) return "the product in front of it gives it floats";
    return find_unfed(p, s) ? unfed : NULL;
}

/* Takes the site out where it must not run in integers, or need not; whether it did. */
static bool take_out(const Placement *p, Site *s)
{
    if (!s->quantized) return false;
    s->why = find_unworthy(p, s);
    s->light = s->why != NULL;
    if (!s->why) s->why = find_misfit(p, s);
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

/* ---- the placement --------------------------------------------------------------------------- */

/* Whether adopt-qdq has found how values are quantized. */
static bool is_adopted(const qonnx_graph *g)
{
    for (const qonnx_graph *in = g; in; in = qonnx_graph_next(in))
        for (int i = 0; i < qonnx_graph_values(in); i++)
            if (qonnx_value_kept(qonnx_graph_value(in, i))) return true;
    return false;
}

static void make(Placement *p, qonnx_graph *g)
{
    p->requantizes = is_adopted(g);
    list_sites(p, g);
    spectra_find(p);
    judge_all(p, g);
    find_idle(p, g);
    decide(p);
    placement_find_sums(p);
}

void placement_make(Placement *p, qonnx_graph *g, const qonnx_job *job, bool settled)
{
    *p = (Placement){
        .target = qonnx_job_target(job), .stats = qonnx_job_stats(job), .settled = settled};
    make(p, g);
}

void placement_foresee(Placement *p, qonnx_graph *g, const qonnx_target *target,
                       const qonnx_stats *stats, bool assumes)
{
    *p = (Placement){.target = target, .stats = stats, .assumes = assumes, .settled = !assumes};
    make(p, g);
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
        else if (s->light) alone++;
        else if (s->why && s->verdict != VERDICT_NEVER)
            qonnx_note(cx, s->node, "stays in float: %s", s->why);
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
