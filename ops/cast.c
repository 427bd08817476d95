/* ops/cast.c - Cast and CastLike. */
#include "kernels/cast.h"
#include "lower/lower.h"
#include "ops/string_cast.h"
#include <string.h>

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
    if (qonnx_node_is(n, "Cast") && !qonnx_dtype_bits(to))
        return qonnx_fail(cx, n, "attribute to is no known type");
    return out_shape(cx, n, 0, to, in_shape(n, 0));
}

/* How it rounds to E8M0. */
static bool round_of(const Node *n, int *round)
{
    static const char *const modes[] = {"up", "down", "nearest"};
    const char *mode = qonnx_node_string(n, "round_mode", "up");
    for (*round = TINY_UP; *round <= TINY_NEAREST; ++*round)
        if (!strcmp(mode, modes[*round])) return true;
    return false;
}

static bool cast_takes(Why *why, const Node *n)
{
    DType to = cast_to(n);
    int round;
    const char *mode = qonnx_node_string(n, "round_mode", "up");
    if (to == QONNX_FLOAT8E8M0 && !round_of(n, &round))
        return why_not(why, "round_mode '%.40s'", mode);
    return !to || has_type(NUMBERS | TINY | BOOL, to)
               ? takes_types(why, n, 0, NUMBERS | TINY | BOOL)
               : why_not(why, "to %s", qonnx_dtype_name(to));
}

Buf *lower_cast(Lower *l, const Node *n, DType from, DType to, int64_t count, Buf *x)
{
    int round = TINY_UP;
    bool casts = qonnx_node_is(n, "Cast") || qonnx_node_is(n, "CastLike");
    if (casts && to == QONNX_FLOAT8E8M0) round_of(n, &round);
    cast_p p = {(int32_t)count, (int32_t)from, (int32_t)to,
                !casts || qonnx_node_int(n, "saturate", 1), round};
    if (from == to) return x;
    Buf *y = lower_temp(l, (size_t)count * (size_t)dtype_size(to));
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
    {"Cast", 1, 1, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes,
     .host = host_cast},
    {"CastLike", 2, 2, cast_shape, RULE_FLOAT, NULL, cast_lower, .takes = cast_takes,
     .host = host_cast},
    {0},
};
