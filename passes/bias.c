/* passes/bias.c - see bias.h. */
#include "bias.h"

/* The constant that an Add behind a MatMul adds to every row, when nobody else reads either. */
static qonnx_value *bias_behind(const qonnx_node *n, int64_t channels)
{
    const qonnx_node *add = quantizable_only_reader(qonnx_node_output(n, 0));
    if (!add || !qonnx_node_is(add, "Add")) return NULL;
    for (int i = 0; i < 2; i++) {
        qonnx_value *v = qonnx_node_input(add, i);
        const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
        if (t && t->dtype == QONNX_FLOAT && t->rank > 0 && t->dims[t->rank - 1] == channels &&
            qonnx_tensor_elements(t) == channels && qonnx_value_only_user(v))
            return v;
    }
    return NULL;
}

/* b[0..count) += shift, as a constant of t's shape. */
static void shift_constant(qonnx_graph *g, qonnx_value *v, const double *shift)
{
    const qonnx_tensor *t = qonnx_value_constant(v);
    qonnx_tensor moved = *t;
    int64_t n = qonnx_tensor_elements(t);
    float lo, hi, *b = qonnx_graph_array(g, (size_t)n, sizeof *b);
    for (int64_t i = 0; i < n; i++) b[i] = (float)(qonnx_tensor_get(t, i) + shift[i]);
    moved.data = b;
    qonnx_value_set_constant(v, &moved);
    if (qonnx_value_range(v, &lo, &hi) && quantizable_extremes(&moved, &lo, &hi))
        qonnx_value_set_range(v, lo, hi);
}

/* Gives the node the bias that it had plus the shift. */
static void set_bias(qonnx_node *n, const qonnx_rule *rule, const float *bias, int64_t channels,
                     const double *shift)
{
    qonnx_graph *g = qonnx_node_graph(n);
    float *b = qonnx_graph_array(g, (size_t)channels, sizeof *b);
    for (int64_t i = 0; i < channels; i++) b[i] = (float)((bias ? bias[i] : 0) + shift[i]);
    qonnx_tensor t = {QONNX_FLOAT, 1, {channels}, b, (size_t)channels * sizeof *b};
    qonnx_value *old = qonnx_node_input(n, rule->bias);
    if (old && qonnx_value_only_user(old)) {
        qonnx_value_set_constant(old, &t);
        return;
    }
    char name[512];
    const char *base = qonnx_value_name(old ? old : qonnx_node_output(n, 0));
    snprintf(name, sizeof name, "%.490s%s", base, old ? "" : "_bias");
    qonnx_node_set_input(n, rule->bias, qonnx_graph_add_constant(g, name, &t));
}

/* ---- both ------------------------------------------------------------------------------------ */

bool bias_place(const Site *s, int64_t channels)
{
    return s->rule.bias >= 0 || bias_behind(s->node, channels);
}

void bias_shift(const Site *s, int64_t channels, const double *shift)
{
    qonnx_value *behind = s->rule.bias < 0 ? bias_behind(s->node, channels) : NULL;
    const float *bias = quantizable_bias(s->node, &s->rule, channels);
    if (behind) shift_constant(qonnx_node_graph(s->node), behind, shift);
    else if (s->rule.bias >= 0) set_bias(s->node, &s->rule, bias, channels, shift);
}
