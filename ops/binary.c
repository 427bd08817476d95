/* ops/binary.c - elementwise operators of two operands or more, with numpy's broadcasting. */
#include "kernels/arith.h"
#include "lower/lower.h"
#include <math.h>
#include <string.h>

/* Row by row: ONNX's operator and the kernel's code. */
static int binary_code(const Node *n)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"};
    if (!strcmp(n->op, "Sum")) return F_ADD;
    for (int i = 0; i < 7; i++)
        if (!strcmp(n->op, names[i])) return i;
    return -1;
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
    int64_t strides[QONNX_MAX_RANK];
    int order[QONNX_MAX_RANK];
    broadcast_strides(s, at, out, strides);
    layout_order(out->rank, layout, order);
    for (int k = 0; k < out->rank; k++) x->strides[6 - out->rank + k] = (int32_t)strides[order[k]];
}

static Operand operand(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    Layout at = v->data || v->shape.rank < 3 ? PLAIN : lower_layout(l, n, i);
    Operand x = {.buf = lower_in(l, n, i, at)};
    operand_strides(&x, &v->shape, at, &n->out[0]->shape, layout);
    return x;
}

/* ---- calls ----------------------------------------------------------------------------------- */

bool is_arithmetic(DType t)
{
    return t == QONNX_FLOAT16 || t == QONNX_FLOAT || t == QONNX_DOUBLE || t == QONNX_INT8 ||
           t == QONNX_INT16 || t == QONNX_INT32 || t == QONNX_INT64 || t == QONNX_UINT8 ||
           t == QONNX_UINT16 || t == QONNX_UINT32 || t == QONNX_UINT64;
}

/* Whether it is a call of f_binary, not of arith. */
static bool is_float(const arith_p *p) { return p->type == QONNX_FLOAT && p->btype == QONNX_FLOAT; }

/* out = a op b; floats are clamped. */
static void emit(Lower *l, const Node *n, const arith_p *p, float lo, float hi, Buf *a, Buf *b,
                 Buf *out)
{
    Buf *in[2] = {a, b};
    if (!is_float(p)) {
        lower_call(l, n, "arith", p, in, 2, out);
        return;
    }
    f_binary_p f = {.op = p->op, .lo = lo, .hi = hi};
    for (int i = 0; i < 6; i++) {
        (&f.d0)[i] = (&p->d0)[i];
        (&f.a0)[i] = (&p->a0)[i];
        (&f.b0)[i] = (&p->b0)[i];
    }
    lower_call(l, n, "f_binary", &f, in, 2, out);
}

Buf *arithmetic(Lower *l, const Node *n, int op, DType type, int64_t count, Buf *a, Buf *b)
{
    arith_p p = {op, (int32_t)type, (int32_t)type, 1, 1, 1, 1, 1, (int32_t)count, .a5 = 1};
    p.b5 = b->bytes != (size_t)qonnx_dtype_bits(type) / 8;
    Buf *y = lower_temp(l, a->bytes);
    emit(l, n, &p, -INFINITY, INFINITY, a, b, y);
    return y;
}

/* ---- the operators --------------------------------------------------------------------------- */

/* Operands are of one type, but for the exponent of Pow. */
static bool binary_takes(Why *why, const Node *n)
{
    bool pow = qonnx_node_is(n, "Pow");
    DType first = in_dtype(n, 0);
    for (int i = 0; i < n->nin; i++) {
        DType t = in_dtype(n, i);
        if (!t) continue;
        if (!is_arithmetic(t) || (pow && t == QONNX_DOUBLE))
            return why_not(why, "input %d is %s, which cannot be run", i, qonnx_dtype_name(t));
        if (!pow && first && t != first)
            return why_not(why, "inputs of different types: %s and %s", qonnx_dtype_name(first),
                           qonnx_dtype_name(t));
    }
    return true;
}

/* The call that takes operands a and b, but for its operation. */
static arith_p params_of(const Node *n, Layout layout, const Operand *a, const Operand *b)
{
    const Shape *y = &n->out[0]->shape;
    int order[QONNX_MAX_RANK];
    arith_p p = {binary_code(n), (int32_t)in_dtype(n, 0), (int32_t)in_dtype(n, 1)};
    layout_order(y->rank, layout, order);
    for (int k = 0; k < 6; k++) {
        int i = k - (6 - y->rank);
        (&p.d0)[k] = i < 0 ? 1 : (int32_t)y->dim[order[i]];
        (&p.a0)[k] = a->strides[k];
        (&p.b0)[k] = b->strides[k];
    }
    return p;
}

/* Two operands a call: the result of a call is the first one of the next. */
static bool binary_lower(Lower *l, Node *n)
{
    const Shape *y = &n->out[0]->shape;
    if (y->rank > 6) return qonnx_fail(l->cx, n, "rank %d, at most 6 can be run", y->rank);
    Layout layout = lower_result_layout(l, n);
    if (n->nin == 1) lower_view(l, n->out[0], lower_in(l, n, 0, layout), layout);
    size_t bytes = (size_t)shape_elements(y) * (size_t)qonnx_dtype_bits(in_dtype(n, 0)) / 8;
    Operand a = operand(l, n, 0, layout);
    for (int i = 1; i < n->nin; i++) {
        Operand b = operand(l, n, i, layout);
        arith_p p = params_of(n, layout, &a, &b);
        float lo = -INFINITY, hi = INFINITY;
        bool last = i == n->nin - 1;
        Value *v = last && is_float(&p) ? lower_fused(l, n, &lo, &hi) : n->out[0];
        Buf *out = last ? lower_out(l, v, layout) : lower_temp(l, bytes);
        emit(l, n, &p, lo, hi, a.buf, b.buf, out);
        a.buf = out;
        operand_strides(&a, y, layout, y, layout);
    }
    return true;
}

const Op ops_binary[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Add", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower,
     .takes = binary_takes},
    {"Sub", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {"Mul", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower,
     .takes = binary_takes},
    {"Div", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {"Min", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {"Max", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {"Sum", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {"Pow", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower,
     .takes = binary_takes},
    {0},
};
