/* ops/qdq.c - QuantizeLinear and DequantizeLinear, per tensor and per axis. */
#include "lower/lower.h"
#include <string.h>

static bool scales_fit(Ctx *cx, const Node *n, int *axis)
{
    const Shape *x = in_shape(n, 0), *s = in_shape(n, 1);
    *axis = -1;
    if (!x || !s || s->rank == 0 || (s->rank == 1 && s->dim[0] == 1)) return true;
    if (s->rank != 1 || qonnx_node_int(n, "block_size", 0))
        return true; /* blocks: the shape is the input's all the same; refused when lowered */
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 1), x->rank, axis)) return false;
    if (s->dim[0] >= 0 && x->dim[*axis] >= 0 && s->dim[0] != x->dim[*axis])
        return qonnx_fail(cx, n, "%lld scales for an axis of size %lld", (long long)s->dim[0],
                          (long long)x->dim[*axis]);
    return true;
}

/* Whether the zero point is of the integers' type. */
static bool zero_fits(Ctx *cx, const Node *n, DType integer)
{
    DType zero = in_dtype(n, 2);
    return !zero || !integer || zero == integer ||
           qonnx_fail(cx, n, "the zero point is %s, the integers are %s", qonnx_dtype_name(zero),
                      qonnx_dtype_name(integer));
}

static bool quantize_shape(Ctx *cx, Node *n)
{
    int axis;
    if (!scales_fit(cx, n, &axis)) return false;
    DType t = (DType)qonnx_node_int(n, "output_dtype", 0);
    if (!t) t = qonnx_node_input(n, 2) ? in_dtype(n, 2) : QONNX_UINT8;
    return zero_fits(cx, n, t) && out_shape(cx, n, 0, t, in_shape(n, 0));
}

static bool dequantize_shape(Ctx *cx, Node *n)
{
    int axis;
    return scales_fit(cx, n, &axis) && zero_fits(cx, n, in_dtype(n, 0)) &&
           out_shape(cx, n, 0, in_dtype(n, 1), in_shape(n, 0));
}

/* Integer types that the kernels convert. */
static bool integer_ok(DType t, bool wide)
{
    return t == QONNX_UINT8 || t == QONNX_INT8 || t == QONNX_UINT16 || t == QONNX_INT16 ||
           (wide && t == QONNX_INT32);
}

/* Both directions: `integer` is the type on the integer side. */
static bool emit_qdq(Lower *l, Node *n, const char *kernel, DType integer)
{
    const Shape *x = in_shape(n, 0), *s = in_shape(n, 1);
    int axis;
    if (!scales_fit(l->cx, n, &axis)) return false;
    const Value *zero = qonnx_node_input(n, 2);
    if (zero && shape_elements(&zero->shape) != shape_elements(s))
        return qonnx_fail(l->cx, n, "scale and zero point have different shapes");
    if (axis < 0 && shape_elements(s) != 1)
        return qonnx_fail(l->cx, n, "blockwise scales cannot be run yet");
    Layout at = lower_layout(l, n, 0);
    int order[QONNX_MAX_RANK];
    layout_order(x->rank, at, order);
    quantize_p p = {1, 1, 1, (int32_t)integer};
    bool behind = false;
    for (int i = 0; i < x->rank; i++) {
        if (order[i] == axis) p.channels = (int32_t)x->dim[axis], behind = true;
        else *(behind ? &p.inner : &p.outer) *= (int32_t)x->dim[order[i]];
    }
    if (axis < 0) p.inner = p.outer, p.outer = 1;
    Buf *in[3] = {lower_in(l, n, 0, at), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, kernel, &p, in, 3, lower_out(l, n->out[0], at));
    return true;
}

static bool qdq_takes(Why *why, const Node *n, DType integer, bool wide)
{
    if (qonnx_node_int(n, "block_size", 0)) return why_not(why, "blockwise scales");
    if (integer && !integer_ok(integer, wide))
        return why_not(why, "type %s", qonnx_dtype_name(integer));
    return takes_type(why, n, 1, QONNX_FLOAT);
}

static bool quantize_takes(Why *why, const Node *n)
{
    const Value *y = qonnx_node_output(n, 0);
    return takes_float_data(why, n) &&
           qdq_takes(why, n, y ? y->dtype : QONNX_UNDEFINED, false);
}

static bool dequantize_takes(Why *why, const Node *n)
{
    return qdq_takes(why, n, in_dtype(n, 0), true);
}

static bool quantize_lower(Lower *l, Node *n)
{
    return emit_qdq(l, n, "quantize", n->out[0]->dtype);
}

static bool dequantize_lower(Lower *l, Node *n)
{
    return emit_qdq(l, n, "dequantize", in_dtype(n, 0));
}

const Op ops_qdq[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"QuantizeLinear", 2, 3, quantize_shape, RULE_FLOAT, NULL, quantize_lower,
     .takes = quantize_takes},
    {"DequantizeLinear", 2, 3, dequantize_shape, RULE_FLOAT, NULL, dequantize_lower,
     .takes = dequantize_takes},
    {0},
};
