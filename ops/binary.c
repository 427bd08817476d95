/* ops/binary.c - elementwise operators of two operands or more, with numpy's broadcasting. */
#include "lower/lower.h"
#include <math.h>
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
    for (int i = 0; i < n->nin; i++)
        if (!n->in[i]->data && n->in[i]->shape.rank == rank && lower_layout(l, n, i) == LAST)
            return LAST;
    return PLAIN;
}

/* One operand of a call: its memory, and its strides by the axes of the output in the order of the
 * output's memory, behind 0 where there are fewer than 6. */
typedef struct Operand {
    Buf *buf;
    int32_t strides[6];
} Operand;

/* A value of shape `s` in that layout, which broadcasts to `out`. */
static void operand_strides(Operand *x, const Shape *s, Layout at, const Shape *out, Layout layout)
{
    int64_t own[QONNX_MAX_RANK];
    int order[QONNX_MAX_RANK], shift = out->rank - s->rank;
    layout_strides(s, at, own);
    layout_order(out->rank, layout, order);
    for (int k = 0; k < out->rank; k++) {
        int i = order[k] - shift;
        x->strides[6 - out->rank + k] = i < 0 || s->dim[i] == 1 ? 0 : (int32_t)own[i];
    }
}

static Operand operand(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    Layout at = v->data || v->shape.rank < 3 ? PLAIN : lower_layout(l, n, i);
    Operand x = {.buf = lower_in(l, n, i, at)};
    operand_strides(&x, &v->shape, at, &n->out[0]->shape, layout);
    return x;
}

/* out = a op b, clamped. */
static void emit(Lower *l, Node *n, Layout layout, const Operand *a, const Operand *b, f_binary_p p,
                 Buf *out)
{
    const Shape *y = &n->out[0]->shape;
    int order[QONNX_MAX_RANK];
    layout_order(y->rank, layout, order);
    for (int k = 0; k < 6; k++) {
        int i = k - (6 - y->rank);
        (&p.d0)[k] = i < 0 ? 1 : (int32_t)y->dim[order[i]];
        (&p.a0)[k] = a->strides[k];
        (&p.b0)[k] = b->strides[k];
    }
    lower_call(l, n, "f_binary", &p, (Buf *[]){a->buf, b->buf}, 2, out);
}

/* Two operands a call: the result of a call is the first one of the next. */
static bool binary_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    for (int i = 0; i < n->nin; i++)
        if (!lower_want(l, n, i, QONNX_FLOAT)) return false;
    if (y->rank > 6) return qonnx_fail(l->cx, n, "rank %d, at most 6 can be run", y->rank);
    Layout layout = binary_layout(l, n, y->rank);
    if (n->nin == 1) lower_view(l, n->out[0], lower_in(l, n, 0, layout), layout);
    f_binary_p p = {.op = binary_code(n), .lo = -INFINITY, .hi = INFINITY};
    Operand a = operand(l, n, 0, layout);
    for (int i = 1; i < n->nin; i++) {
        Operand b = operand(l, n, i, layout);
        bool last = i == n->nin - 1;
        Value *v = last ? lower_fused(l, n, &p.lo, &p.hi) : NULL;
        Buf *out = last ? lower_out(l, v, layout)
                        : lower_temp(l, (size_t)shape_elements(y) * sizeof(float));
        emit(l, n, layout, &a, &b, p, out);
        a.buf = out;
        operand_strides(&a, y, layout, y, layout);
    }
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
