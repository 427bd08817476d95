/* ops/cast.c - Cast and CastLike. */
#include "kernels/cast.h"
#include "lower/lower.h"

/* The type that it casts to. (Before operator set 6 `to` was a string.) */
static DType cast_to(const Node *n)
{
    if (qonnx_node_is(n, "CastLike")) return in_dtype(n, 1);
    int64_t to = qonnx_node_int(n, "to", 0);
    return to > 0 && to < 64 ? (DType)to : QONNX_UNDEFINED;
}

static bool cast_shape(Ctx *cx, Node *n)
{
    DType to = cast_to(n);
    if (qonnx_node_is(n, "Cast") && !qonnx_dtype_bits(to) && to != QONNX_STRING)
        return qonnx_fail(cx, n, "attribute to is no known type");
    return out_shape(cx, n, 0, to, in_shape(n, 0));
}

static bool cast_takes(Why *why, const Node *n)
{
    DType to = cast_to(n);
    return !to || has_type(NUMBERS | BOOL, to) ? takes_types(why, n, 0, NUMBERS | BOOL)
                                               : why_not(why, "to %s", qonnx_dtype_name(to));
}

Buf *lower_cast(Lower *l, const Node *n, DType from, DType to, int64_t count, Buf *x)
{
    cast_p p = {(int32_t)count, (int32_t)from, (int32_t)to};
    if (from == to) return x;
    Buf *y = lower_temp(l, (size_t)count * (size_t)qonnx_dtype_bits(to) / 8);
    lower_call(l, n, "cast", &p, &x, 1, y);
    return y;
}

static bool cast_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    Buf *y = lower_cast(l, n, in_dtype(n, 0), n->out[0]->dtype, shape_elements(in_shape(n, 0)),
                        lower_in(l, n, 0, at));
    lower_view(l, n->out[0], y, at);
    return true;
}

const Op ops_cast[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Cast", 1, 1, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes},
    {"CastLike", 2, 2, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes},
    {0},
};
