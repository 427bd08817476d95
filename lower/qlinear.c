/* lower/qlinear.c - QLinear operators whose parameters the integer kernels do not take, computed
 * ones for example: as DequantizeLinear, the operator, and QuantizeLinear. That is what they mean;
 * ONNX Runtime's Add and Mul divide the scales first, which may round a tie to the other side.
 */
#include "lower/quantized.h"
#include <string.h>

/* ---- operators whose operands are all activations -------------------------------------------- */

/* One without a form on integers, and ONNX's operator; its first input stays as it is. */
static const QLinear where = {"QLinearWhere", "com.microsoft", .first = 1, .out = 7};

/* How the inputs of such an operator lie, and ONNX's operator; NULL: it is none. */
static const QLinear *spread_of(const Node *n, bool all, const char **plain)
{
    const Op *op = op_find_qlinear(n->domain, n->op);
    *plain = op ? op->name : "Where";
    if (op && op->quantized->weight_axis) return NULL;
    if (op) return all || op->quantized->qlinear.spreads ? &op->quantized->qlinear : NULL;
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

static bool spread(Node *n, bool all)
{
    const char *name;
    const QLinear *s = spread_of(n, all, &name);
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

bool qlinear_spread(Node *n) { return spread(n, false); }

/* ---- operators with a weight ----------------------------------------------------------------- */

/* The scale of an int32 bias, sx * sw, as a constant; NULL: they are not constant. */
static Value *bias_scale(Node *n)
{
    const Value *x = qonnx_node_input(n, 1), *w = qonnx_node_input(n, 4);
    if (!x || !w || !x->data || !w->data || x->dtype != QONNX_FLOAT || w->dtype != QONNX_FLOAT ||
        tensor_count(x->data) != 1)
        return NULL;
    Tensor t = *w->data;
    int64_t count = tensor_count(&t);
    float *scales = arena_array(n->graph->model->arena, (size_t)count, sizeof *scales);
    for (int64_t i = 0; i < count; i++)
        scales[i] = (float)qonnx_tensor_get(x->data, 0) * (float)qonnx_tensor_get(w->data, i);
    t.data = scales;
    return qonnx_graph_add_constant(n->graph, n->out[0]->name, &t);
}

/* A DequantizeLinear of three inputs from `at`, with scales along the axis. */
static Value *dequantized(Node *n, Value *const in[3], int axis)
{
    Value *list[3] = {in[0], in[1], in[2]};
    Value *y = node_put(n->graph, n, "DequantizeLinear", list, 3, in[0]->name);
    if (axis >= 0) qonnx_node_set_int(y->def, "axis", axis);
    return y;
}

static bool is_one_number(const Value *v)
{
    return v && v->data && v->dtype == QONNX_FLOAT && tensor_count(v->data) == 1;
}

/* Axis of the outputs of a weight; -1: of a weight of no known rank, or of QLinearMatMul's two
 * activations. */
static int outputs_axis(const Op *op, const Node *n)
{
    const Shape *w = in_shape(n, 3);
    if (!w || w->rank < 1) return -1;
    if (!strcmp(op->name, "MatMul")) return w->rank - 1;
    return op->quantized->weight_axis(n);
}

/* QLinearConv, QLinearMatMul and QGemm, whose operands are at 0 to 5. */
static bool spread_weighted(Node *n)
{
    const Op *op = op_find_qlinear(n->domain, n->op);
    if (!op || !op->quantized->weight_axis || n->nin < 6 || n->nout != 1 || !n->out[0])
        return false;
    const QLinear *k = &op->quantized->qlinear;
    Value *out_scale = qonnx_node_input(n, k->out);
    Value *bias = k->bias ? qonnx_node_input(n, k->bias) : NULL;
    const Value *w_scale = qonnx_node_input(n, 4);
    int axis = outputs_axis(op, n);
    if (!n->in[0] || !n->in[3] || !is_one_number(n->in[1]) || !w_scale || !w_scale->data ||
        w_scale->dtype != QONNX_FLOAT || axis < 0 || (out_scale && !is_one_number(out_scale)))
        return false;
    Value *scale = bias ? bias_scale(n) : NULL;
    Value *in[3] = {dequantized(n, &n->in[0], -1), NULL, NULL};
    in[1] = dequantized(n, &n->in[3], tensor_count(w_scale->data) == 1 ? -1 : axis);
    if (bias) in[2] = dequantized(n, (Value *[]){bias, scale, NULL}, 0);
    Value *to = n->out[0], *y = node_put(n->graph, n, op->name, in, 3, to->name);
    y->def->attrs = n->attrs;
    y->def->nattr = y->def->attr_cap = n->nattr;
    Value *last[3] = {y, out_scale, out_scale ? qonnx_node_input(n, k->out + 1) : NULL};
    Node *before = n->next;
    qonnx_node_remove(n);
    if (out_scale)
        qonnx_graph_add_node(to->graph, before, "QuantizeLinear", "", n->name, last,
                             last[2] ? 3 : 2, &to, 1);
    else qonnx_node_set_output(y->def, 0, to);
    return true;
}

/* A QLinearSoftmax of an old operator set goes over all axes from one on. */
static bool is_old_softmax(const Node *n)
{
    return !strcmp(n->op, "QLinearSoftmax") && qonnx_node_int(n, "opset", 13) < 13;
}

void qonnx_graph_spread_qlinear(Graph *g)
{
    for (Graph *s = g; s; s = qonnx_graph_next(s))
        for (Node *n = s->first, *next; n; n = next) {
            next = n->next;
            node_make_plain(n);
            if (is_old_softmax(n)) continue;
            if (!strcmp(n->op, "QLinearSoftmax")) qonnx_node_remove_attr(n, "opset");
            if (!spread_weighted(n)) spread(n, true);
        }
}
