/* ops/det.c - Det. */
#include "kernels/det.h"
#include "lower/lower.h"

enum { MOST_ROWS = 1 << 13 }; /* doubles of less than 1 GiB */

static bool det_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!check_rank(cx, n, 0, 2, QONNX_MAX_RANK)) return false;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!sizes_agree(x->dim[x->rank - 2], x->dim[x->rank - 1]))
        return qonnx_fail(cx, n, "matrices of %lld rows and %lld columns are not square",
                          (long long)x->dim[x->rank - 2], (long long)x->dim[x->rank - 1]);
    Shape y = *x;
    y.rank -= 2;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool det_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

static bool det_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t size = x->dim[x->rank - 1];
    det_p p = {(int32_t)shape_product(x, 0, x->rank - 2), (int32_t)size, (int32_t)in_dtype(n, 0)};
    if (size > MOST_ROWS)
        return qonnx_fail(l->cx, n, "matrices of %lld rows, at most %d", (long long)size,
                          MOST_ROWS);
    Buf *in = lower_in(l, n, 0, PLAIN);
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN),
                   lower_temp(l, (size_t)(size * size) * sizeof(double))};
    lower_call_n(l, n, "det", &p, &in, 1, out, 2);
    return true;
}

/* A product and a difference for a third of the elements in each of the columns. */
static int64_t det_work(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t count = shape_open_elements(x), size = x && x->rank > 1 ? x->dim[x->rank - 1] : 1;
    return count_work(count_work(count, size < 0 ? 1 : size), 8);
}

const Op ops_det[] = {
    {"Det", 1, 1, det_shape, RULE_FLOAT, NULL, det_lower, .takes = det_takes, .work = det_work},
    {0},
};
