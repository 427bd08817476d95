/* ops/counted.c - operators whose outputs have a size that is data: how much of what they are given
 * they take.
 */
#include "kernels/nonzero.h"
#include "ir/size.h"
#include "lower/lower.h"

/* ---- NonZero --------------------------------------------------------------------------------- */

static bool nonzero_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, QONNX_INT64, NULL);
    Shape y = shape_make(2, (int64_t[]){x->rank ? x->rank : 1, -1}); /* a number has one place */
    return out_shape(cx, n, 0, QONNX_INT64, &y);
}

static int nonzero_axis(const Node *n, int i)
{
    (void)n;
    return i ? -1 : 1;
}

static int64_t nonzero_most(const Node *n) { return shape_elements(in_shape(n, 0)); }

static bool takes_ordered(Why *why, const Node *n)
{
    return takes_types(why, n, 0, NUMBERS | BOOL);
}

static bool nonzero_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    nonzero_p p = {.rank = x->rank ? x->rank : 1, .d0 = 1, .type = (int32_t)in_dtype(n, 0)};
    for (int i = 0; i < x->rank; i++) (&p.d0)[i] = (int32_t)x->dim[i];
    Buf *in = lower_in(l, n, 0, PLAIN);
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN), lower_out(l, n->out[1], PLAIN)};
    lower_call_n(l, n, "nonzero", &p, &in, 1, out, 2);
    return true;
}

static const Counted nonzero_counted = {1, nonzero_axis, nonzero_most};

const Op ops_counted[] = {
    {"NonZero", 1, 1, nonzero_shape, RULE_FLOAT, NULL, nonzero_lower, .takes = takes_ordered,
     .counted = &nonzero_counted},
    {0},
};
