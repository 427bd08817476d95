/* ops/activation.c - Relu and Clip, and Softmax. */
#include "kernels/d_softmax.h"
#include "lower/quantized.h"
#include <math.h>
#include <string.h>

/* Relu and Clip of 8-bit integers, with constant bounds: a table of what each byte becomes. */
static bool clamp_bytes(Lower *l, Node *n)
{
    bool is_signed = in_dtype(n, 0) == QONNX_INT8;
    double lo = is_signed ? -128 : 0, hi = lo + 255;
    if (qonnx_node_is(n, "Relu")) lo = 0;
    for (int i = 1; i < 3; i++) {
        const Value *v = qonnx_node_input(n, i);
        if (v && tensor_count(v->data) != 1)
            return qonnx_fail(l->cx, n, "its bounds must be constants");
        if (v) *(i == 1 ? &lo : &hi) = qonnx_tensor_get(v->data, 0);
    }
    uint8_t *table = lower_alloc(l, 256);
    for (int b = 0; b < 256; b++) {
        double x = is_signed ? (int8_t)b : b, up = x < lo ? lo : x;
        table[b] = (uint8_t)(int)(up > hi ? hi : up); /* as where lo > hi, too */
    }
    Layout at = lower_layout(l, n, 0);
    q_table_p p = {(int32_t)shape_elements(in_shape(n, 0))};
    lower_call(l, n, "q_table", &p, (Buf *[]){lower_in(l, n, 0, at), lower_const(l, table, 256)}, 2,
               lower_out(l, n->out[0], at));
    return true;
}

/* Any type and any bounds: Max with the lower, Min with the upper. */
static bool clamp_computed(Lower *l, Node *n)
{
    static const uint64_t zero;
    Layout at = lower_layout(l, n, 0);
    DType t = in_dtype(n, 0);
    Buf *x = lower_in(l, n, 0, at);
    for (int i = 1; i < 3; i++) {
        bool relu = qonnx_node_is(n, "Relu") && i == 1;
        const Shape *s = in_shape(n, i);
        if (!s && !relu) continue;
        if (s && shape_elements(s) != 1)
            return qonnx_fail(l->cx, n, "input %d must be one number", i);
        Buf *bound = relu ? lower_const(l, &zero, (size_t)dtype_size(t))
                          : lower_in(l, n, i, PLAIN);
        x = arithmetic(l, n, i == 1 ? F_MAX : F_MIN, t, shape_elements(in_shape(n, 0)), x, bound);
    }
    lower_view(l, n->out[0], x, at);
    return true;
}

/* Whether the bounds of a Clip are constant. */
static bool constant_bounds(const Node *n)
{
    for (int i = 1; i < n->nin; i++)
        if (n->in[i] && !n->in[i]->data) return false;
    return true;
}

static bool clamp_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    if (t && !is_arithmetic(t))
        return why_not(why, "input 0 is %s, which cannot be run", qonnx_dtype_name(t));
    for (int i = 1; t && i < n->nin; i++)
        if (!takes_type(why, n, i, t)) return false;
    return true;
}

static bool clamp_lower(Lower *l, Node *n)
{
    f_unary_p p;
    DType t = in_dtype(n, 0);
    if ((t == QONNX_INT8 || t == QONNX_UINT8) && constant_bounds(n)) return clamp_bytes(l, n);
    if (t == QONNX_FLOAT && unary_params(n, &p)) return unary_emit(l, n, p);
    return clamp_computed(l, n);
}

static void clamp_refine(const Node *n, qonnx_rule *r)
{
    if (!activation_bounds(n, &r->lo, &r->hi)) *r = (qonnx_rule)RULE_FLOAT;
}

/* ---- Softmax --------------------------------------------------------------------------------- */

static bool softmax_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    return (!x || check_axis(cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) &&
           same_shape(cx, n);
}

bool softmax_params(Lower *l, const Node *n, f_softmax_p *p, Layout *at)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    /* channels are next to each other in LAST; other axes are taken plain */
    *at = axis == 1 && x->rank > 2 ? lower_layout(l, n, 0) : PLAIN;
    int order[QONNX_MAX_RANK];
    layout_order(x->rank, *at, order);
    *p = (f_softmax_p){1, (int32_t)x->dim[axis], 1, qonnx_node_is(n, "LogSoftmax")};
    bool behind = false;
    for (int i = 0; i < x->rank; i++) {
        if (order[i] == axis) behind = true;
        else *(behind ? &p->inner : &p->outer) *= (int32_t)x->dim[order[i]];
    }
    return true;
}

static bool softmax_lower(Lower *l, Node *n)
{
    f_softmax_p p;
    Layout at;
    if (!softmax_params(l, n, &p, &at)) return false;
    bool hard = qonnx_node_is(n, "Hardmax"), wide = in_dtype(n, 0) == QONNX_DOUBLE;
    d_softmax_p d = {p.outer, p.count, p.inner,
                     hard ? D_HARDMAX : p.log ? D_LOG_SOFTMAX : D_SOFTMAX};
    Buf *x = lower_in(l, n, 0, at), *y = lower_out(l, n->out[0], at);
    if (wide) lower_call(l, n, "d_softmax", &d, &x, 1, y);
    else lower_call(l, n, hard ? "f_hardmax" : "f_softmax", &p, &x, 1, y);
    return true;
}

static bool softmax_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

/* As measured; functions of double are worked out one by one. */
static int64_t softmax_work(const Node *n)
{
    bool wide = in_dtype(n, 0) == QONNX_DOUBLE;
    return count_work(shape_open_elements(in_shape(n, 0)), wide ? 1024 : 1);
}

/* ---- on integers ----------------------------------------------------------------------------- */

static bool clamp_form(const Node *n, QuantNode *q)
{
    return activation_bounds(n, &q->lo, &q->hi) && quantized_scales(q);
}

/* What q_softmax gives: scale 1/256, the lowest integer for 0. */
static bool is_probability(const QuantParams *p)
{
    return p->scale == 1.0f / 256 && p->zero == (p->dtype == QONNX_INT8 ? -128 : 0);
}

/* What ONNX Runtime's kernel takes for 1 / scale. */
static int32_t softmax_inverse(const QuantParams *p)
{
    float inverse = floorf(1.0f / p->scale);
    return inverse >= 1 && inverse <= 1 << 20 ? (int32_t)inverse : 0;
}

/* A group of other parameters stays in float, which is what it says; a QLinearSoftmax is that
 * kernel. */
static bool softmax_form(const Node *n, QuantNode *q)
{
    bool own = !strcmp(n->op, "QLinearSoftmax") && q->out.dtype == q->in[0].dtype;
    return is_probability(&q->out) || (own && softmax_inverse(&q->out));
}

/* QLinearSoftmax of an old operator set goes over all axes from one on. */
static bool flat_params(Lower *l, const Node *n, f_softmax_p *p, Layout *at)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (qonnx_node_int(n, "opset", 13) >= 13) return softmax_params(l, n, p, at);
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 1), x->rank, &axis)) return false;
    *at = PLAIN;
    *p = (f_softmax_p){(int32_t)shape_product(x, 0, axis), (int32_t)shape_product(x, axis, x->rank),
                       1, 0};
    return true;
}

static bool softmax_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    f_softmax_p f;
    Layout at;
    int lo, hi;
    if (!flat_params(l, n, &f, &at)) return false;
    quant_limits(q->out.dtype, &lo, &hi);
    q_softmax_p p = {f.outer,         f.count,
                     f.inner,         quant_signed(q->in[0].dtype),
                     q->out.zero,     is_probability(&q->out) ? 256 : softmax_inverse(&q->out),
                     hi - q->out.zero};
    uint32_t *table = lower_array(l, 256, sizeof *table);
    for (int i = 0; i < 256; i++)
        table[i] = (uint32_t)rint(ldexp(exp(-i * (double)q->in[0].scale), 23));
    Buf *in[2] = {lower_in(l, n, 0, at), lower_const(l, table, 256 * sizeof *table)};
    lower_call(l, n, "q_softmax", &p, in, 2, lower_out(l, n->out[0], at));
    return true;
}

static const Quantized clamp_quantized = {
    .lower = quant_table_lower,
    .form = clamp_form,
    .first_only = true,
};

static const Quantized softmax_quantized = {
    .lower = softmax_integers,
    .form = softmax_form,
    .qlinear = {"QLinearSoftmax", "com.microsoft", .out = 3},
};

const Op ops_activation[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Relu", 1, 1, same_shape, RULE(QONNX_RULE_ACTIVATE, 1), clamp_refine, clamp_lower,
     .takes = clamp_takes, .quantized = &clamp_quantized},
    {"Clip", 1, 3, same_shape, RULE(QONNX_RULE_ACTIVATE, 1), clamp_refine, clamp_lower,
     .takes = clamp_takes, .quantized = &clamp_quantized},
    {"Softmax", 1, 1, softmax_shape, RULE_PROBABILITY, NULL, softmax_lower,
     .takes = softmax_takes, .work = softmax_work, .quantized = &softmax_quantized},
    {"Hardmax", 1, 1, softmax_shape, RULE_FLOAT, NULL, softmax_lower, .takes = softmax_takes,
     .work = softmax_work},
    {"LogSoftmax", 1, 1, softmax_shape, RULE_FLOAT, NULL, softmax_lower, .takes = softmax_takes,
     .work = softmax_work},
    {0},
};
