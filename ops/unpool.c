/* ops/unpool.c - MaxUnpool. */
#include "kernels/pools.h"
#include "lower/lower.h"
#include "ops/window.h"

/* The size before the pool, as far as the attributes say it. */
static bool unpooled(Ctx *cx, const Node *n, const Shape *x, Shape *y)
{
    Window w;
    WindowPads pads;
    *y = *x;
    if (!window_attributes(cx, n, x, NULL, &w, &pads)) return false;
    for (int i = 3 - w.axes, at = 2; i < 3; i++, at++) {
        y->sym[at] = NULL;
        if (w.in[i] < 0) continue;
        if (w.in[i] > WINDOW_MOST / w.stride[i])
            return qonnx_fail(cx, n, "an axis of %lld with strides of %lld is too large",
                              (long long)w.in[i], (long long)w.stride[i]);
        y->dim[at] = (w.in[i] - 1) * w.stride[i] - w.front[i] - w.back[i] + w.kernel[i];
        if (y->dim[at] < 1 || y->dim[at] > WINDOW_MOST)
            return qonnx_fail(cx, n, "its output has size %lld along an axis",
                              (long long)y->dim[at]);
    }
    return true;
}

static bool unpool_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *places = in_shape(n, 1);
    int64_t list[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", 2, list);
    Shape y;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    for (int i = 0; places && i < x->rank; i++)
        if (places->rank != x->rank ||
            (x->dim[i] >= 0 && places->dim[i] >= 0 && x->dim[i] != places->dim[i]))
            return qonnx_fail(cx, n, "its inputs have different shapes");
    if (!unpooled(cx, n, x, &y)) return false;
    if (count == -2) {
        for (int i = 0; i < y.rank; i++) y.dim[i] = -1, y.sym[i] = NULL;
    } else if (count >= 0) {
        if (count != x->rank)
            return qonnx_fail(cx, n, "output_shape has %d numbers, want %d", count, x->rank);
        for (int i = 0; i < count; i++)
            if (list[i] < 0)
                return qonnx_fail(cx, n, "output_shape holds %lld", (long long)list[i]);
        y = shape_make(count, list);
    }
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool unpool_takes(Why *why, const Node *n)
{
    return takes_type(why, n, 1, QONNX_INT64) && takes_moved(why, n);
}

static bool unpool_lower(Lower *l, Node *n)
{
    int64_t list[QONNX_MAX_RANK * 2];
    if (qonnx_node_list(n, "", 2, list) == -2)
        return qonnx_fail(l->cx, n, "its output_shape must be constant to run it");
    unpool_p p = {(int32_t)shape_elements(in_shape(n, 0)),
                  (int32_t)shape_elements(&n->out[0]->shape), dtype_size(in_dtype(n, 0))};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN)};
    lower_call(l, n, "unpool", &p, in, 2, lower_out(l, n->out[0], PLAIN));
    return true;
}

const Op ops_unpool[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"MaxUnpool", 2, 3, unpool_shape, RULE_FLOAT, NULL, unpool_lower, .lists = 4,
     .takes = unpool_takes},
    {0},
};
