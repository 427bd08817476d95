/* ops/binary.c - elementwise operators of two operands or more, with numpy's broadcasting. */
#include "kernels/arith.h"
#include "lower/quantized.h"
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

/* ---- on integers ----------------------------------------------------------------------------- */

/* Input i expanded to the shape of the output, in that layout. */
static Buf *expanded(Lower *l, Node *n, int i, Layout layout)
{
    const Value *v = n->in[i];
    const Shape *y = &n->out[0]->shape, *s = &v->shape;
    if (!memcmp(s->dim, y->dim, (size_t)y->rank * sizeof *y->dim) && s->rank == y->rank)
        return lower_in(l, n, i, layout);
    Layout at = v->data || s->rank < 3 ? PLAIN : lower_layout(l, n, i);
    int64_t from[QONNX_MAX_RANK], to[QONNX_MAX_RANK];
    broadcast_strides(s, at, y, from);
    layout_strides(y, layout, to);
    Buf *in = lower_in(l, n, i, at), *out = lower_temp(l, (size_t)shape_elements(y));
    lower_copy(l, n, y->rank, y->dim, in, from, 0, out, to, 0, 1);
    return out;
}

/* The least n for which x is whole times 2^-n. */
static int whole_at(float x)
{
    int e;
    int64_t m = (int64_t)ldexpf(frexpf(x, &e), 24);
    if (!m) return 0;
    while (m % 2 == 0) m /= 2, e++;
    return 24 - e;
}

static bool add_params(const QuantNode *q, q_add_p *p)
{
    const QuantParams *a = &q->in[0], *b = &q->in[1];
    float scales[3] = {a->scale / q->out.scale, b->scale / q->out.scale, 0};
    scales[2] = (float)q->out.zero - fmaf(scales[0], (float)a->zero, scales[1] * (float)b->zero);
    p->unit = 1;
    double most = 0;
    for (int i = 0; i < 3; i++) {
        if (!isfinite(scales[i])) return false;
        int n = whole_at(scales[i]);
        if (n > p->unit) p->unit = n;
        most += fabs((double)scales[i]) * (i < 2 ? 255 : 1);
    }
    p->a_scale = (int32_t)quant_bits(scales[0]);
    p->b_scale = (int32_t)quant_bits(scales[1]);
    p->offset = (int32_t)quant_bits(scales[2]);
    return p->unit < 62 && ldexp(most, p->unit) < 0x1p62;
}

static bool add_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    q_add_p p = {.count = (int32_t)shape_elements(&n->out[0]->shape),
                 .a_signed = quant_signed(q->in[0].dtype),
                 .b_signed = quant_signed(q->in[1].dtype)};
    if (!add_params(q, &p)) return qonnx_fail(l->cx, n, "scales too far apart to add in integers");
    quant_clamp(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_add", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool mul_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    q_scale scale = quant_bits(q->in[0].scale * q->in[1].scale / q->out.scale);
    q_mul_p p = {.d0 = 1,
                 .d1 = 1,
                 .d2 = 1,
                 .d3 = 1,
                 .d4 = 1,
                 .d5 = (int32_t)shape_elements(&n->out[0]->shape),
                 .a5 = 1,
                 .b5 = 1,
                 .a_signed = quant_signed(q->in[0].dtype),
                 .b_signed = quant_signed(q->in[1].dtype),
                 .a_zero = q->in[0].zero,
                 .b_zero = q->in[1].zero,
                 .y_zero = q->out.zero,
                 .scale = (int32_t)scale};
    quant_clamp(q, &p.lo, &p.hi);
    Layout at = lower_result_layout(l, n);
    Buf *in[2] = {expanded(l, n, 0, at), expanded(l, n, 1, at)};
    lower_call(l, n, "q_mul", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static bool add_form(const Node *n, QuantNode *q)
{
    (void)n;
    return add_params(q, &(q_add_p){0});
}

static bool mul_form(const Node *n, QuantNode *q)
{
    (void)n;
    return quantized_multiplies(q, q->in[0].scale * q->in[1].scale);
}

static const Quantized add_quantized = {
    .lower = add_integers,
    .form = add_form,
    .clamps = true,
    .qlinear = {"QLinearAdd", "com.microsoft", .out = 6},
};

static const Quantized mul_quantized = {
    .lower = mul_integers,
    .form = mul_form,
    .clamps = true,
    .qlinear = {"QLinearMul", "com.microsoft", .out = 6},
};

const Op ops_binary[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Add", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower,
     .takes = binary_takes, .quantized = &add_quantized},
    {"Sub", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {"Mul", 2, 2, broadcast_shape, RULE(QONNX_RULE_OWN, 3), NULL, binary_lower,
     .takes = binary_takes, .quantized = &mul_quantized},
    {"Div", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {"Min", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {"Max", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {"Sum", 1, -1, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {"Pow", 2, 2, broadcast_shape, RULE_FLOAT, NULL, binary_lower, .takes = binary_takes},
    {0},
};
