/* ops/logic.c - Where, and what is asked of one element: Not, IsNaN and the like. */
#include "kernels/where.h"
#include "ops/broadcast.h"
#include <math.h>
#include <string.h>

/* ---- Where ----------------------------------------------------------------------------------- */

static bool where_shape(Ctx *cx, Node *n)
{
    if (!broadcast_shape(cx, n)) return false;
    DType t = in_dtype(n, 1) ? in_dtype(n, 1) : in_dtype(n, 2);
    if (n->out[0]) n->out[0]->dtype = t;
    return out_shape(cx, n, 0, t, n->out[0] ? &n->out[0]->shape : NULL); /* of that size */
}

static bool where_takes(Why *why, const Node *n)
{
    DType a = in_dtype(n, 1), b = in_dtype(n, 2);
    if (!takes_type(why, n, 0, QONNX_BOOL)) return false;
    if (a && b && a != b)
        return why_not(why, "inputs of different types: %s and %s", qonnx_dtype_name(a),
                       qonnx_dtype_name(b));
    return qonnx_dtype_bits(a) <= 64 ||
           why_not(why, "elements of type %s are too large to be moved", qonnx_dtype_name(a));
}

static bool where_lower(Lower *l, Node *n)
{
    Layout layout = lower_result_layout(l, n);
    where_p p = {.size = dtype_size(in_dtype(n, 1))};
    Operand x[3];
    Walk w;
    for (int i = 0; i < 3; i++) x[i] = operand(l, n, i, layout);
    walk_make(l, n, layout, x, 3, (int[]){1, p.size, p.size}, &w);
    memcpy(&p.d0, w.dims, sizeof w.dims);
    memcpy(&p.c0, w.strides[0], sizeof w.strides[0]);
    memcpy(&p.a0, w.strides[1], sizeof w.strides[1]);
    memcpy(&p.b0, w.strides[2], sizeof w.strides[2]);
    lower_call(l, n, "where", &p, (Buf *[]){x[0].buf, x[1].buf, x[2].buf}, 3,
               lower_out(l, n->out[0], layout));
    return true;
}

/* ---- one operand ----------------------------------------------------------------------------- */

static bool asks_shape(Ctx *cx, Node *n) { return out_shape(cx, n, 0, QONNX_BOOL, in_shape(n, 0)); }

static Buf *is_inf(Lower *l, const Node *n, DType t, int64_t count, Buf *x)
{
    bool below = qonnx_node_int(n, "detect_negative", 1) != 0;
    bool above = qonnx_node_int(n, "detect_positive", 1) != 0;
    if (below && above)
        x = arithmetic(l, n, F_MAX, t, count, x,
                       arithmetic(l, n, F_MUL, t, count, x, lower_number(l, t, -1)));
    return arithmetic(l, n, below || above ? F_EQUAL : F_LESS, t, count, x,
                      lower_number(l, t, above ? INFINITY : -INFINITY));
}

static bool asks_lower(Lower *l, Node *n)
{
    Layout at = lower_layout(l, n, 0);
    DType t = in_dtype(n, 0);
    int64_t count = shape_elements(in_shape(n, 0));
    Buf *x = lower_in(l, n, 0, at), *y;
    if (qonnx_node_is(n, "Not")) y = arithmetic(l, n, F_EQUAL, t, count, x, lower_number(l, t, 0));
    else if (qonnx_node_is(n, "BitwiseNot"))
        y = arithmetic(l, n, F_XOR, t, count, x, lower_number(l, t, -1));
    else if (qonnx_node_is(n, "IsNaN")) y = arithmetic(l, n, F_NOT_EQUAL, t, count, x, x);
    else y = is_inf(l, n, t, count, x);
    lower_view(l, n->out[0], y, at);
    return true;
}

static bool not_takes(Why *why, const Node *n) { return takes_types(why, n, 0, BOOL); }
static bool bitwise_takes(Why *why, const Node *n) { return takes_types(why, n, 0, INTEGERS); }
static bool float_takes(Why *why, const Node *n) { return takes_types(why, n, 0, FLOATS); }

const Op ops_logic[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"Where", 3, 3, where_shape, RULE_FLOAT, NULL, where_lower, .takes = where_takes,
     .strings = true},
    {"Not", 1, 1, asks_shape, RULE_FLOAT, NULL, asks_lower, .takes = not_takes},
    {"BitwiseNot", 1, 1, same_shape, RULE_FLOAT, NULL, asks_lower, .takes = bitwise_takes},
    {"IsNaN", 1, 1, asks_shape, RULE_FLOAT, NULL, asks_lower, .takes = float_takes},
    {"IsInf", 1, 1, asks_shape, RULE_FLOAT, NULL, asks_lower, .takes = float_takes},
    {0},
};
