/* ops/topk.c - TopK, for a k that is known before the model runs. */
#include "kernels/topk.h"
#include "lower/lower.h"

/* -1: not known. */
static int64_t read_k(const Node *n)
{
    int64_t list[QONNX_MAX_RANK * 2];
    if (qonnx_node_has(n, "k")) return qonnx_node_int(n, "k", 0); /* operator sets before 10 */
    return qonnx_node_list(n, "", 1, list) == 1 ? list[0] : -1;
}

static bool topk_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!qonnx_node_has(n, "k") && !qonnx_node_input(n, 1))
        return qonnx_fail(cx, n, "k is missing");
    if (!x) return out_shape(cx, n, 1, QONNX_INT64, NULL) && same_shape(cx, n);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    bool given = qonnx_node_has(n, "k") || (qonnx_node_input(n, 1) && n->in[1]->data);
    int64_t k = read_k(n);
    if (given && (k < 0 || (x->dim[axis] >= 0 && k > x->dim[axis])))
        return qonnx_fail(cx, n, "k is %lld, want one number from 0 to %lld", (long long)k,
                          (long long)(x->dim[axis] < 0 ? INT32_MAX : x->dim[axis]));
    Shape y = *x;
    y.dim[axis] = k;
    y.sym[axis] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y) && out_shape(cx, n, 1, QONNX_INT64, &y);
}

static bool topk_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    return !t || is_arithmetic(t) ||
           why_not(why, "input 0 is %s, which cannot be run", qonnx_dtype_name(t));
}

static bool topk_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", -1), x->rank, &axis)) return false;
    topk_p p = {(int32_t)shape_product(x, 0, axis),
                (int32_t)x->dim[axis],
                (int32_t)shape_product(x, axis + 1, x->rank),
                (int32_t)y->dim[axis],
                (int32_t)in_dtype(n, 0),
                dtype_size(in_dtype(n, 0)),
                !qonnx_node_int(n, "largest", 1)};
    Buf *in = lower_in(l, n, 0, PLAIN);
    size_t places = (size_t)shape_elements(y) * sizeof(int64_t);
    Buf *out[3] = {out_used(n, 0) ? lower_out(l, n->out[0], PLAIN) : NULL,
                   out_used(n, 1) ? lower_out(l, n->out[1], PLAIN) : lower_temp(l, places),
                   lower_temp(l, (size_t)p.k * sizeof(uint64_t))};
    lower_call_n(l, n, "topk", &p, &in, 1, out, 3);
    return true;
}

/* Each element may have to sink to the bottom of a heap of k. */
static int64_t topk_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0)), steps = 8;
    for (int64_t k = read_k(n); k > 1; k /= 2) steps += 8;
    return count_work(count, steps);
}

const Op ops_topk[] = {
    {"TopK", 1, 2, topk_shape, RULE_FLOAT, NULL, topk_lower, .lists = 2, .takes = topk_takes,
     .work = topk_work},
    {0},
};
