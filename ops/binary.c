/* ops/binary.c - elementwise operators of two operands, with numpy's broadcasting. */
#include "lower/lower.h"
#include <string.h>

/* Row by row: ONNX's operator and the kernel's code. */
static int binary_code(const Node *n)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"};
    for (int i = 0; i < 7; i++)
        if (!strcmp(n->op, names[i])) return i;
    return -1;
}

/* The layout of the result: that of an operand of full rank that is not plain. */
static Layout binary_layout(const Lower *l, const Node *n, int rank)
{
    for (int i = 0; i < 2; i++)
        if (!n->in[i]->data && n->in[i]->shape.rank == rank && lower_layout(l, n, i) == LAST)
            return LAST;
    return PLAIN;
}

/* Strides of input i by the axes of the output, 0 where it broadcasts. */
static void operand_strides(const Shape *s, Layout layout, const Shape *out,
                            int64_t strides[QONNX_MAX_RANK])
{
    int64_t own[QONNX_MAX_RANK];
    layout_strides(s, layout, own);
    int shift = out->rank - s->rank;
    for (int i = 0; i < out->rank; i++)
        strides[i] = i < shift || s->dim[i - shift] == 1 ? 0 : own[i - shift];
}

static bool binary_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    if (n->nin != 2) return qonnx_fail(l->cx, n, "%d inputs; only 2 can be run", n->nin);
    if (!lower_want(l, n, 0, QONNX_FLOAT) || !lower_want(l, n, 1, QONNX_FLOAT)) return false;
    if (y->rank > 6) return qonnx_fail(l->cx, n, "rank %d, at most 6 can be run", y->rank);
    Layout layout = binary_layout(l, n, y->rank);
    int order[QONNX_MAX_RANK];
    layout_order(y->rank, layout, order);
    f_binary_p p = {.op = binary_code(n), .d0 = 1, .d1 = 1, .d2 = 1, .d3 = 1, .d4 = 1, .d5 = 1};
    Buf *in[2];
    int32_t *strides[2] = {&p.a0, &p.b0};
    for (int i = 0; i < 2; i++) {
        const Value *v = n->in[i];
        Layout at = v->data ? PLAIN : lower_layout(l, n, i);
        if (v->shape.rank < 3) at = PLAIN;
        int64_t s[QONNX_MAX_RANK];
        operand_strides(&v->shape, at, y, s);
        in[i] = lower_in(l, n, i, at);
        for (int k = 0; k < y->rank; k++) strides[i][6 - y->rank + k] = (int32_t)s[order[k]];
    }
    for (int k = 0; k < y->rank; k++) (&p.d0)[6 - y->rank + k] = (int32_t)y->dim[order[k]];
    Value *out = lower_fused(l, n, &p.lo, &p.hi);
    lower_call(l, n, "f_binary", &p, in, 2, lower_out(l, out, layout));
    return true;
}

const Op ops_binary[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Add", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower},
    {"Sub", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower},
    {"Mul", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower},
    {"Div", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower},
    {"Min", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower},
    {"Max", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower},
    {"Pow", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower},
    {0},
};
