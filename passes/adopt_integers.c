/* passes/adopt_integers.c - integers that are moved before they are dequantized, as in files of
 * QLinear operators: the floats are moved instead. One part of adopt-qdq.
 */
#include "adopt.h"

/* ---- reading --------------------------------------------------------------------------------- */

bool adopt_is_integer(qonnx_dtype t)
{
    static const qonnx_dtype types[] = {QONNX_UINT8, QONNX_INT8, QONNX_UINT16, QONNX_INT16,
                                        QONNX_UINT4, QONNX_INT4, QONNX_UINT2,  QONNX_INT2};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (t == types[i]) return true;
    return false;
}

static bool is_signed(qonnx_dtype t)
{
    return t == QONNX_INT8 || t == QONNX_INT16 || t == QONNX_INT4 || t == QONNX_INT2;
}

bool adopt_grid(qonnx_ctx *cx, const qonnx_node *n, Grid *grid, bool *found)
{
    const qonnx_tensor *s = adopt_constant(n, 1), *z = adopt_constant(n, 2);
    const qonnx_value *integers =
        adopt_quantizes(n) ? qonnx_node_output(n, 0) : qonnx_node_input(n, 0);
    *found = s && s->dtype == QONNX_FLOAT && qonnx_tensor_elements(s) == 1 && integers &&
             adopt_is_integer(qonnx_value_dtype(integers)) &&
             (!qonnx_node_input(n, 2) || (z && qonnx_tensor_elements(z) == 1));
    if (!*found) return true;
    *grid = (Grid){.dtype = qonnx_value_dtype(integers),
                   .scale = (float)qonnx_tensor_get(s, 0),
                   .zero = z ? (int)qonnx_tensor_get(z, 0) : 0,
                   .scales = s,
                   .zeros = z};
    float lo, hi;
    adopt_ends(grid, &lo, &hi);
    return (grid->scale > 0 && isfinite(hi - lo)) ||
           qonnx_fail(cx, n,
                      "adopt-qdq: its scale is %g, want a positive number with which all "
                      "integers are finite; quantize the float model again",
                      (double)grid->scale);
}

void adopt_ends(const Grid *grid, float *lo, float *hi)
{
    int steps = 1 << qonnx_dtype_bits(grid->dtype);
    int least = is_signed(grid->dtype) ? -steps / 2 : 0;
    *lo = (float)(least - grid->zero) * grid->scale;
    *hi = (float)(least + steps - 1 - grid->zero) * grid->scale;
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* Whether what the node adds to integers is their zero point, which is 0 in floats. */
static bool pads_zero(const qonnx_node *n, const Grid *grid)
{
    const qonnx_tensor *value = adopt_constant(n, 2);
    if (strcmp(qonnx_node_string(n, "mode", "constant"), "constant")) return true;
    if (qonnx_node_input(n, 2) && (!value || qonnx_tensor_elements(value) != 1)) return false;
    return (value ? (int)qonnx_tensor_get(value, 0) : 0) == grid->zero;
}

/* Whether the node moves integers that a QuantizeLinear made. */
static bool moves_integers(qonnx_ctx *cx, const qonnx_node *n, Grid *grid, bool *does)
{
    const qonnx_value *x = qonnx_node_input(n, 0);
    const qonnx_node *q = x ? qonnx_value_producer(x) : NULL;
    bool pad = qonnx_node_is(n, "Pad");
    *does = q && adopt_quantizes(q) && qonnx_node_output(n, 0) &&
            (pad || qonnx_node_rule(n).kind == QONNX_RULE_SAME);
    if (!*does) return true;
    if (!adopt_grid(cx, q, grid, does)) return false;
    *does = *does && (!pad || pads_zero(n, grid));
    return true;
}

static const char *output_name(const qonnx_node *n)
{
    return qonnx_value_name(qonnx_node_output(n, 0));
}

/* DequantizeLinear in front of the node, QuantizeLinear behind. */
static bool move_floats(qonnx_ctx *cx, qonnx_node *n, const qonnx_node *q)
{
    qonnx_graph *g = qonnx_node_graph(n);
    qonnx_value *x = qonnx_node_input(n, 0), *from = qonnx_graph_add_value(g, output_name(n));
    const char *domain = qonnx_node_domain(q);
    qonnx_value *in[3] = {x, qonnx_node_input(q, 1), qonnx_node_input(q, 2)};
    int count = in[2] ? 3 : 2;
    qonnx_node *d = qonnx_graph_add_node(g, n, "DequantizeLinear", domain, "", in, count, &from, 1);
    qonnx_node_set_input(n, 0, from);
    if (qonnx_node_is(n, "Pad") && qonnx_node_input(n, 2)) qonnx_node_set_input(n, 2, NULL);
    if (!qonnx_node_infer(cx, d)) return false;
    qonnx_node *before = qonnx_node_next(n);
    for (int i = 0; i < qonnx_node_outputs(n); i++) {
        qonnx_value *y = qonnx_node_output(n, i);
        if (!y || qonnx_value_dtype(y) != qonnx_value_dtype(x)) continue;
        in[0] = qonnx_graph_add_value(g, qonnx_value_name(y));
        qonnx_node_set_output(n, i, in[0]);
        qonnx_graph_add_node(g, before, "QuantizeLinear", domain, "", in, count, &y, 1);
    }
    return qonnx_node_infer(cx, n);
}

bool adopt_integers(qonnx_ctx *cx, qonnx_graph *g)
{
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) {
            Grid grid;
            bool does;
            if (!moves_integers(cx, n, &grid, &does)) return false;
            if (does && !move_floats(cx, n, qonnx_value_producer(qonnx_node_input(n, 0))))
                return false;
        }
    return true;
}
