/* lower/qlinear.c - QLinear operators whose parameters the integer kernels do not take, computed
 * ones for example: as DequantizeLinear, the operator, and QuantizeLinear. That is what they mean;
 * ONNX Runtime's Add and Mul divide the scales first, which may round a tie to the other side.
 */
#include "lower/quantized.h"
#include <string.h>

/* One without a form on integers, and ONNX's operator; its first input stays as it is. */
static const QLinear where = {"QLinearWhere", "com.microsoft", .first = 1, .out = 7};

/* How the inputs of such an operator lie, and ONNX's operator; NULL: it is none. */
static const QLinear *spread_of(const Node *n, const char **plain)
{
    const Op *op = op_find_qlinear(n->domain, n->op);
    *plain = op ? op->name : "Where";
    if (op) return op->quantized->qlinear.spreads ? &op->quantized->qlinear : NULL;
    return !strcmp(n->op, where.op) && !strcmp(n->domain, where.domain) ? &where : NULL;
}

/* Triples of tensor, scale and zero point: up to the output's parameters, or to the end. */
static int triples(const Node *n, const QLinear *k)
{
    return k->out < k->first ? (n->nin - k->first) / 3 : (k->out - k->first) / 3;
}

Value *node_put(Graph *g, Node *before, const char *op, Value **in, int nin, const char *name)
{
    Value *y = qonnx_graph_add_value(g, name);
    while (nin && !in[nin - 1]) nin--;
    qonnx_graph_add_node(g, before, op, "", name, in, nin, &y, 1);
    return y;
}

/* The zero point at input i, or zero in the type of the operands. */
static Value *zero_point(Node *n, int i, DType t)
{
    uint8_t zero = 0;
    Tensor constant = {.dtype = t, .data = &zero, .bytes = 1};
    Value *v = qonnx_node_input(n, i);
    return v || t != QONNX_INT8 ? v : qonnx_graph_add_constant(n->graph, "zero_point", &constant);
}

bool qlinear_spread(Node *n)
{
    const char *name;
    const QLinear *s = spread_of(n, &name);
    int count = s ? triples(n, s) : 0;
    if (!count || n->nout != 1 || !n->out[0] || !qonnx_node_input(n, s->out)) return false;
    if (n->nin < s->first + 3 * count - 1) return false;
    int leading = s->out < s->first ? 0 : s->first; /* operands that stay as they are */
    Value **in = arena_array(n->graph->model->arena, (size_t)(leading + count), sizeof *in);
    DType t = QONNX_UNDEFINED;
    for (int i = 0; i < count; i++) {
        const int at = s->first + 3 * i;
        Value *x = qonnx_node_input(n, at), *scale = qonnx_node_input(n, at + 1);
        if (!x || !scale) return false;
        if (!i) t = x->dtype;
    }
    for (int i = 0; i < leading; i++) in[i] = qonnx_node_input(n, i);
    for (int i = 0; i < count; i++) {
        const int at = s->first + 3 * i;
        in[leading + i] = node_put(
            n->graph, n, "DequantizeLinear",
            (Value *[]){n->in[at], n->in[at + 1], qonnx_node_input(n, at + 2)}, 3, n->out[0]->name);
    }
    Value *to = n->out[0], *y = node_put(n->graph, n, name, in, leading + count, to->name);
    Node *plain = y->def;
    plain->attrs = n->attrs;
    plain->nattr = plain->attr_cap = n->nattr;
    Value *last[3] = {y, n->in[s->out], zero_point(n, s->out + 1, t)};
    qonnx_graph_add_node(n->graph, n, "QuantizeLinear", "", n->name, last, last[2] ? 3 : 2, &to, 1);
    qonnx_node_remove(n);
    return true;
}
