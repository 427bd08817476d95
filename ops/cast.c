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

static bool cast_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    DType from = in_dtype(n, 0), to = n->out[0]->dtype;
    Buf *x = lower_in(l, n, 0, at);
    if (from == to) {
        lower_view(l, n->out[0], x, at);
        return true;
    }
    cast_p p = {(int32_t)shape_elements(in_shape(n, 0)), (int32_t)from, (int32_t)to};
    lower_call(l, n, "cast", &p, &x, 1, lower_out(l, n->out[0], at));
    return true;
}

const Op ops_cast[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Cast", 1, 1, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes},
    {"CastLike", 2, 2, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes},
    {0},
};
