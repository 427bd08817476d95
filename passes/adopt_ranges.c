/* passes/adopt_ranges.c - ranges of values that the file does not quantize, but that follow from
 * those around them: what feeds only a Relu, what is moved, one summand of a sum that is quantized.
 * One part of adopt-qdq.
 */
#include "adopt.h"
#include "quantizable.h"

static bool has_range(const qonnx_value *v)
{
    float lo, hi;
    return qonnx_value_range(v, &lo, &hi);
}

/* Gives a float value the range of another, and its grid where that is the very same. */
static void take(qonnx_value *v, const qonnx_value *from, bool same)
{
    float lo, hi;
    const qonnx_kept *k = qonnx_value_kept(from);
    if (!v || !from || has_range(v) || qonnx_value_constant(v) ||
        !qonnx_value_range(from, &lo, &hi) || qonnx_value_dtype(v) != QONNX_FLOAT)
        return;
    qonnx_value_set_range(v, lo, hi);
    if (!same || !k || k->integers) return;
    qonnx_kept copy = *k;
    copy.always = false;
    qonnx_value_keep(v, &copy);
}

/* Whether nobody reads the sum, or the Relu or Clip behind it, but through its integers. */
static bool is_rounded(const qonnx_value *v)
{
    for (int steps = 0; steps < 4; steps++) {
        const qonnx_kept *k = qonnx_value_kept(v);
        const qonnx_node *n = quantizable_only_reader(v);
        if (k && k->always) return true;
        if (!n || qonnx_node_rule(n).kind != QONNX_RULE_ACTIVATE || !qonnx_node_output(n, 0))
            return false;
        v = qonnx_node_output(n, 0);
    }
    return false;
}

/* A sum of two that is rounded to a range: one summand outside of what the other leaves of it makes
 * no difference. */
static void take_summand(const qonnx_node *add)
{
    float lo, hi, least, most;
    const qonnx_value *sum = qonnx_node_output(add, 0);
    for (int i = 0; i < 2; i++) {
        qonnx_value *v = qonnx_node_input(add, i), *other = qonnx_node_input(add, 1 - i);
        if (!v || !other || has_range(v) || qonnx_value_constant(v) ||
            !qonnx_value_range(other, &least, &most) || !qonnx_value_range(sum, &lo, &hi) ||
            !isfinite(hi - least) || !isfinite(lo - most) || quantizable_only_reader(v) != add ||
            !is_rounded(sum))
            continue;
        qonnx_value_set_range(v, lo - most, hi - least);
    }
}

/* What only the node reads, from what it gives. */
static void take_backwards(const qonnx_node *n)
{
    qonnx_value *y = qonnx_node_output(n, 0);
    qonnx_rule rule = qonnx_node_rule(n);
    if (!y || !has_range(y)) return;
    if (qonnx_node_is(n, "Add")) take_summand(n);
    bool all = rule.kind == QONNX_RULE_UNIFY;
    if (!all && rule.kind != QONNX_RULE_SAME && rule.kind != QONNX_RULE_ACTIVATE) return;
    for (int i = 0; i < (all ? qonnx_node_inputs(n) : 1); i++) {
        qonnx_value *v = qonnx_node_input(n, i);
        if (v && quantizable_only_reader(v) == n) take(v, y, rule.kind != QONNX_RULE_ACTIVATE);
    }
}

void adopt_ranges(qonnx_graph *g)
{
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) {
        int count = 0;
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) count++;
        qonnx_node **nodes = qonnx_graph_array(g, (size_t)count, sizeof *nodes);
        count = 0;
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) nodes[count++] = n;
        for (int i = count; i-- > 0;) take_backwards(nodes[i]);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < qonnx_node_outputs(nodes[i]); k++)
                if (qonnx_node_rule(nodes[i]).kind == QONNX_RULE_SAME)
                    take(qonnx_node_output(nodes[i], k), qonnx_node_input(nodes[i], 0), true);
    }
}
