/* passes/groups.c - see groups.h. The order of the questions is that of the selectors of ONNX
 * Runtime; what differs between targets is in their profiles.
 */
#include "groups.h"
#include <stdarg.h>

/* Scale, zero point and type of an activation's integers. */
typedef struct Grid {
    double scale;
    int zero;
    qonnx_dtype dtype;
} Grid;

/* A node that is looked at. */
typedef struct Look {
    const qonnx_target *target;
    const qonnx_node *node;
    qonnx_rule rule;
    Grid in;                  /* of the first activation */
    bool first;               /* no activation was looked at yet */
    const qonnx_habit *habit; /* the row of the profile; NULL: none */
    Reason *why;              /* where it says what is missing */
} Look;

/* Says what is missing, and gives false. */
__attribute__((format(printf, 2, 3))) static bool misses(const Look *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->why->text, sizeof l->why->text, fmt, args);
    va_end(args);
    return false;
}

bool group_is(const qonnx_node *n, const char *op)
{
    const char *domain = qonnx_node_domain(n);
    return !strcmp(qonnx_node_op(n), op) && (!*domain || !strcmp(domain, "com.microsoft"));
}

/* The name of the value in front of QuantizeLinear and DequantizeLinear. */
static const char *name_of(const qonnx_value *v)
{
    const qonnx_node *d = qonnx_value_producer(v), *q = NULL;
    if (d && group_is(d, "DequantizeLinear") && qonnx_node_input(d, 0))
        q = qonnx_value_producer(qonnx_node_input(d, 0));
    bool pair = q && group_is(q, "QuantizeLinear") && qonnx_node_input(q, 0);
    return qonnx_value_name(pair ? qonnx_node_input(q, 0) : v);
}

const qonnx_node *group_dequantizer(const qonnx_node *n, int i)
{
    const qonnx_value *v = qonnx_node_input(n, i);
    const qonnx_node *d = v ? qonnx_value_producer(v) : NULL;
    bool found = d && group_is(d, "DequantizeLinear") &&
                 qonnx_node_graph(d) == qonnx_node_graph(n) && qonnx_node_input(d, 0);
    return found ? d : NULL;
}

static bool is_integer(qonnx_dtype t)
{
    return t == QONNX_UINT8 || t == QONNX_INT8 || t == QONNX_UINT16 || t == QONNX_INT16;
}

/* Reads what a QuantizeLinear or DequantizeLinear has beside its operand, where it is constant and
 * of one scale. */
static bool grid_of(const qonnx_node *qdq, qonnx_dtype dtype, Grid *to)
{
    const qonnx_value *s = qonnx_node_input(qdq, 1), *z = qonnx_node_input(qdq, 2);
    const qonnx_tensor *scale = s ? qonnx_value_constant(s) : NULL,
                       *zero = z ? qonnx_value_constant(z) : NULL;
    if (!scale || qonnx_tensor_elements(scale) != 1 || (z && !zero)) return false;
    if (zero) dtype = zero->dtype;
    if ((zero && qonnx_tensor_elements(zero) != 1) || !is_integer(dtype)) return false;
    *to = (Grid){qonnx_tensor_get(scale, 0), zero ? (int)qonnx_tensor_get(zero, 0) : 0, dtype};
    return true;
}

bool group_is_qlinear(const qonnx_node *n)
{
    static const char *const others[] = {"QGemm", "MatMulIntegerToFloat", "MatMulInteger",
                                         "ConvInteger"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(qonnx_node_op(n), others[i])) return true;
    return !strncmp(qonnx_node_op(n), "QLinear", strlen("QLinear"));
}

int group_weight(const qonnx_node *n, const qonnx_rule *rule)
{
    int i = qonnx_node_is(n, "MatMul") ? 1 : rule->weight;
    const qonnx_node *d = i >= 0 ? group_dequantizer(n, i) : NULL;
    const qonnx_value *v = d ? qonnx_node_input(d, 0) : i >= 0 ? qonnx_node_input(n, i) : NULL;
    return v && qonnx_value_constant(v) ? i : -1;
}

static bool has_type(const qonnx_target *t, qonnx_dtype dtype)
{
    uint32_t grids = 1u << t->activation.dtype | (t->split ? 1u << t->below_zero.dtype : 0);
    return ((t->types ? t->types : grids) >> dtype & 1) != 0;
}

/* ---- what is read ---------------------------------------------------------------------------- */

/* Whether two QuantizeLinear are one to a runtime, which merges nodes that compute the same. */
static bool is_same(const qonnx_node *a, const qonnx_node *b)
{
    Grid x, y;
    return qonnx_node_input(a, 0) == qonnx_node_input(b, 0) && grid_of(a, QONNX_UINT8, &x) &&
           grid_of(b, QONNX_UINT8, &y) && x.scale == y.scale && x.zero == y.zero &&
           x.dtype == y.dtype;
}

/* Whether no other QuantizeLinear is the same. */
static bool is_single(const qonnx_node *q)
{
    const qonnx_value *v = qonnx_node_input(q, 0);
    for (int i = 0, input; v && i < qonnx_value_uses(v); i++) {
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (n != q && group_is(n, "QuantizeLinear") && is_same(q, n)) return false;
    }
    return true;
}

/* Whether one node alone reads the integers that a QuantizeLinear or a DequantizeLinear gives or
 * reads, and that behind one DequantizeLinear. */
static bool is_lone(const qonnx_node *qdq)
{
    bool gives = group_is(qdq, "QuantizeLinear");
    const qonnx_value *v = gives ? qonnx_node_output(qdq, 0) : qonnx_node_input(qdq, 0);
    if (!v) return false;
    const qonnx_node *q = qonnx_value_producer(v), *d = qonnx_value_only_user(v);
    if (!q || !d || !qonnx_node_output(d, 0) || !group_is(q, "QuantizeLinear") ||
        !group_is(d, "DequantizeLinear") || !is_single(q))
        return false;
    const qonnx_value *y = qonnx_node_output(d, 0);
    return qonnx_value_only_user(y) || (qonnx_value_is_output(y) && !qonnx_value_uses(y));
}

/* Whether a grid is one that the target runs, or becomes one. */
static bool fits_target(const Look *l, const qonnx_node *qdq, const qonnx_value *v, Grid *g)
{
    if (!has_type(l->target, g->dtype)) {
        if (!l->target->lone_int8 || g->dtype != QONNX_INT8)
            return misses(l, "the integers of '%.100s' are %s, which %s does not run", name_of(v),
                          qonnx_dtype_name(g->dtype), l->target->name);
        if (!is_lone(qdq))
            return misses(l,
                          "the integers of '%.100s' are int8, and not read by one operator alone: "
                          "%s runs uint8",
                          name_of(v), l->target->name);
        *g = (Grid){g->scale, g->zero + 128, QONNX_UINT8};
    }
    bool zero_free = l->target->zero_free || (l->habit && l->habit->zero_free);
    if (zero_free && g->zero)
        return misses(l, "the zero point of '%.100s' is %d, want 0", name_of(v), g->zero);
    return true;
}

/* Whether an Add and the product in front of it are one kernel, so that this operand needs no
 * integers. */
static bool is_summed(const Look *l, int i)
{
    if (!l->target->fuses_sums || !qonnx_node_is(l->node, "Add")) return false;
    const qonnx_value *v = qonnx_node_input(l->node, i);
    const qonnx_node *from = qonnx_value_producer(v);
    const qonnx_habit *habit;
    qonnx_rule rule = {.weight = -1};
    if (from) rule = qonnx_target_rule(l->target, from, &habit);
    return rule.weight >= 0 && rule.kind != QONNX_RULE_FLOAT &&
           quantizable_only_reader(v) == l->node && group_dequantizer(from, 0) &&
           group_dequantizer(l->node, 1 - i);
}

static bool reads_activation(Look *l, int i)
{
    Grid g;
    const qonnx_value *v = qonnx_node_input(l->node, i);
    const qonnx_node *d = group_dequantizer(l->node, i);
    if (!d) return is_summed(l, i) || misses(l, "'%.120s' is not quantized", name_of(v));
    if (!grid_of(d, qonnx_value_dtype(qonnx_node_input(d, 0)), &g))
        return misses(l, "'%.120s' has not one constant scale", name_of(v));
    if (!fits_target(l, d, v, &g)) return false;
    bool product = qonnx_node_is(l->node, "MatMul"); /* its factors may be of two types */
    if (!l->first && !product && l->target->quantize_outputs && g.dtype != l->in.dtype)
        return misses(l, "what it reads is %s and %s", qonnx_dtype_name(l->in.dtype),
                      qonnx_dtype_name(g.dtype));
    if (l->first) l->in = g;
    l->first = false;
    return true;
}

/* A weight, constant behind its DequantizeLinear. */
static bool reads_weight(const Look *l, int i)
{
    const qonnx_node *d = group_dequantizer(l->node, i);
    const qonnx_value *v = qonnx_node_input(l->node, i);
    if (!d) return misses(l, "its weight '%.120s' is not quantized", name_of(v));
    const qonnx_tensor *w = qonnx_value_constant(qonnx_node_input(d, 0));
    if (w->dtype == QONNX_INT8) return true;
    if (w->dtype == QONNX_UINT8 && l->in.dtype == QONNX_UINT8 && l->target->qlinear) return true;
    return misses(l, "its weight is %s, want int8", qonnx_dtype_name(w->dtype));
}

/* Whether a QuantizeLinear, perhaps behind a Relu or a Clip, reads what the node gives. Then ONNX
 * Runtime quantizes a bias itself. */
static bool is_quantized_behind(const Look *l)
{
    const qonnx_node *n = qonnx_value_only_user(qonnx_node_output(l->node, 0));
    if (n && qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE && qonnx_node_output(n, 0))
        n = qonnx_value_only_user(qonnx_node_output(n, 0));
    return n && group_is(n, "QuantizeLinear");
}

static bool reads_bias(const Look *l)
{
    const qonnx_value *v = l->rule.bias >= 0 ? qonnx_node_input(l->node, l->rule.bias) : NULL;
    if (!v) return true;
    const qonnx_node *d = group_dequantizer(l->node, l->rule.bias);
    if (l->target->bias_int32) {
        bool wide = d && qonnx_value_dtype(qonnx_node_input(d, 0)) == QONNX_INT32;
        bool later = l->target->qlinear && !d && qonnx_value_constant(v) && is_quantized_behind(l);
        return wide || later || misses(l, "its bias '%.120s' is not int32", name_of(v));
    }
    return !d || !l->target->bias_float ||
           misses(l, "its bias '%.100s' is quantized, %s wants it in float", name_of(v),
                  l->target->name);
}

static bool reads_integers(Look *l)
{
    int weight = group_weight(l->node, &l->rule);
    for (int i = 0; i < qonnx_node_inputs(l->node); i++) {
        bool activation = l->rule.activations >> (i < 31 ? i : 31) & 1;
        if (i == l->rule.weight) activation = true;
        if (i == l->rule.bias || i == weight || !activation || !qonnx_node_input(l->node, i))
            continue;
        if (!reads_activation(l, i)) return false;
    }
    return weight < 0 || (reads_weight(l, weight) && reads_bias(l));
}

/* ---- what is made ---------------------------------------------------------------------------- */

/* The Relu or Clip that alone reads the value, where the runtime makes it vanish in front of a
 * QuantizeLinear; else NULL. */
static const qonnx_node *activation_behind(const Look *l, const qonnx_value *v)
{
    const qonnx_node *a = quantizable_only_reader(v);
    bool found = a && l->target->fold_activations &&
                 qonnx_node_rule(a).kind == QONNX_RULE_ACTIVATE && qonnx_node_output(a, 0) &&
                 l->rule.kind != QONNX_RULE_SAME && !qonnx_value_is_output(v);
    return found ? a : NULL;
}

/* Whether the grid clamps as the activation function does. */
static bool clamps(const qonnx_node *a, const Grid *g)
{
    qonnx_rule rule = qonnx_node_rule(a);
    bool positive = g->dtype == QONNX_UINT8 || g->dtype == QONNX_UINT16;
    int bits = qonnx_dtype_bits(g->dtype), least = positive ? 0 : -(1 << (bits - 1));
    double lo = (least - g->zero) * g->scale, hi = (least + (1 << bits) - 1 - g->zero) * g->scale;
    return (double)rule.lo <= lo + g->scale / 2 && (double)rule.hi >= hi - g->scale / 2;
}

/* The data movement that alone reads the value, where the runtime puts a QuantizeLinear from behind
 * it in front of it, too; else NULL. */
static const qonnx_node *spreader(const Look *l, const qonnx_value *v)
{
    const qonnx_node *n = quantizable_only_reader(v);
    const qonnx_habit *habit = NULL;
    if (n) qonnx_target_rule(l->target, n, &habit);
    bool found = habit && habit->spreads && qonnx_node_input(n, 0) == v &&
                 qonnx_node_output(n, 0) && !qonnx_value_is_output(v);
    return found ? n : NULL;
}

/* The one QuantizeLinear that reads the value, or several that are the same, with its grid; NULL:
 * says why not. */
static const qonnx_node *quantizer_of(const Look *l, const qonnx_value *v, Grid *g)
{
    const qonnx_node *other = NULL, *q = NULL, *moved;
    for (int steps = 0; steps < 16 && (moved = spreader(l, v)); steps++)
        v = qonnx_node_output(moved, 0);
    bool single = true;
    for (int i = 0, input; i < qonnx_value_uses(v); i++) {
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        bool quantizes = input == 0 && group_is(n, "QuantizeLinear") &&
                         qonnx_node_graph(n) == qonnx_value_graph(v);
        if (!quantizes) other = n;
        else if (q && !is_same(q, n)) single = false;
        else q = n;
    }
    if (!q) misses(l, "its result '%.120s' is not quantized", name_of(v));
    else if (other || qonnx_value_is_output(v))
        misses(l, "its result '%.80s' is read in float, too%s%.80s", name_of(v),
               other ? ": by " : ", for it is an output", other ? qonnx_node_name(other) : "");
    else if (!single) misses(l, "its result '%.120s' is quantized more than once", name_of(v));
    else if (!grid_of(q, QONNX_UINT8, g)) misses(l, "its result has not one constant scale");
    else return q;
    return NULL;
}

static bool gives_output(const Look *l, const qonnx_value *v)
{
    Grid g;
    const qonnx_node *a = activation_behind(l, v);
    const qonnx_value *y = a ? qonnx_node_output(a, 0) : v;
    bool moved = l->rule.kind == QONNX_RULE_SAME;
    const qonnx_node *q = quantizer_of(l, y, &g);
    if (!q) return false;
    if (a && !clamps(a, &g))
        return misses(l,
                      "'%.60s' behind it clamps what its integers can hold, so it does not vanish",
                      qonnx_node_name(a));
    if (!fits_target(l, q, y, &g)) return false;
    if (g.dtype != l->in.dtype)
        return misses(l, "it reads %s and gives %s", qonnx_dtype_name(l->in.dtype),
                      qonnx_dtype_name(g.dtype));
    if (moved && (g.scale != l->in.scale || g.zero != l->in.zero))
        return misses(l, "it moves integers, but scale or zero point behind it are others");
    return true;
}

static bool gives_integers(const Look *l)
{
    Grid g;
    const qonnx_value *y = qonnx_node_output(l->node, 0);
    if (!l->target->quantize_outputs) return true;
    if (l->rule.to_float && l->target->qlinear && !activation_behind(l, y) &&
        !quantizer_of(l, y, &g)) {
        l->why->text[0] = 0;
        return true;
    }
    for (int i = 0; i < qonnx_node_outputs(l->node); i++)
        if (qonnx_node_output(l->node, i) && !gives_output(l, qonnx_node_output(l->node, i)))
            return false;
    return true;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Whether some integers are there that the node could read or give. */
static bool has_part(const Look *l)
{
    for (int i = 0; i < qonnx_node_inputs(l->node); i++)
        if (group_dequantizer(l->node, i)) return true;
    return false;
}

/* Data movement that has a pair on one side: integers there that the target runs. */
static bool spreads(Look *l)
{
    Grid g;
    const qonnx_value *x = qonnx_node_input(l->node, 0), *y = qonnx_node_output(l->node, 0);
    const qonnx_node *d = group_dequantizer(l->node, 0), *q = d ? NULL : quantizer_of(l, y, &g);
    bool found = d ? grid_of(d, qonnx_value_dtype(qonnx_node_input(d, 0)), &g) &&
                         !quantizer_of(l, y, &(Grid){0}) && fits_target(l, d, x, &g)
                   : q && fits_target(l, q, y, &g);
    l->why->text[0] = 0;
    return found;
}

/* A Relu or Clip that another operator's group holds. */
static bool vanishes(const qonnx_target *t, const qonnx_node *n, Reason *why)
{
    Grid g;
    Look l = {.target = t, .node = n, .why = why};
    const qonnx_value *x = qonnx_node_input(n, 0);
    bool follows =
        t->fold_activations && x && quantizer_of(&l, qonnx_node_output(n, 0), &g) && clamps(n, &g);
    if (follows) snprintf(why->text, sizeof why->text, "the integers behind it clamp as it does");
    return follows;
}

/* Of an operator that the target takes together with what is around it. */
static qonnx_fate judge_behind(const qonnx_node *n, const qonnx_habit *h, Reason *why, bool *broken)
{
    *broken = group_dequantizer(n, 0) != NULL && qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE;
    if (*broken) {
        snprintf(why->text, sizeof why->text, "'%.120s' is quantized in front of it: %.80s",
                 name_of(qonnx_node_input(n, 0)), h->why);
        return QONNX_FATE_FLOAT;
    }
    snprintf(why->text, sizeof why->text, "%s", h->why);
    return QONNX_FATE_FOLLOWS;
}

qonnx_fate group_judge(const qonnx_target *t, const qonnx_node *n, Reason *why, bool *broken)
{
    const qonnx_habit *habit;
    Look l = {.target = t, .node = n, .first = true, .why = why};
    l.rule = qonnx_target_rule(t, n, &habit);
    l.habit = habit;
    *broken = false;
    if (group_is_qlinear(n)) {
        *broken = !t->qlinear;
        if (!t->qlinear)
            snprintf(why->text, sizeof why->text,
                     "%s has no operators of integers; it looks for QuantizeLinear and "
                     "DequantizeLinear",
                     t->name);
        return t->qlinear ? QONNX_FATE_INTEGERS : QONNX_FATE_FLOAT;
    }
    if (!qonnx_node_output(n, 0)) {
        snprintf(why->text, sizeof why->text, "its first output is left out");
        return QONNX_FATE_FLOAT;
    }
    if (l.rule.kind == QONNX_RULE_FLOAT || (habit && habit->taking == QONNX_TAKES_FLOAT)) {
        snprintf(why->text, sizeof why->text, "%s",
                 l.rule.inside         ? "it is a part of a function that is computed in float"
                 : habit && habit->why ? habit->why
                                       : "it has no integer form there");
        return QONNX_FATE_FLOAT;
    }
    if (habit && habit->taking == QONNX_TAKES_BEHIND) return judge_behind(n, habit, why, broken);
    if (l.rule.kind == QONNX_RULE_ACTIVATE && vanishes(t, n, why)) return QONNX_FATE_FOLLOWS;
    if (habit && habit->vanishes) {
        snprintf(why->text, sizeof why->text, GROUP_STAYS);
        *broken = has_part(&l);
        return QONNX_FATE_FLOAT;
    }
    why->text[0] = 0;
    if (habit && habit->spreads && spreads(&l)) return QONNX_FATE_INTEGERS;
    if (reads_integers(&l) && gives_integers(&l)) return QONNX_FATE_INTEGERS;
    *broken = has_part(&l);
    return QONNX_FATE_FLOAT;
}
