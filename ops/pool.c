/* ops/pool.c - MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool. */
#include "lower/lower.h"
#include "ops/window.h"

static bool pool_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Window w;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!window_read(cx, n, x, NULL, &w)) return false;
    Shape y = *x;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 1, QONNX_INT64, &y) && out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool global_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (x->rank < 3) return qonnx_fail(cx, n, "input of rank %d, want 3 or more", x->rank);
    Shape y = *x;
    for (int i = 2; i < x->rank; i++) y.dim[i] = 1, y.sym[i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool emit_pool(Lower *l, Node *n, const char *kernel, const Window *w)
{
    const Shape *x = in_shape(n, 0);
    f_pool_p p = {
        (int32_t)x->dim[0],
        (int32_t)w->in[0], (int32_t)w->in[1], (int32_t)w->in[2],
        (int32_t)w->out[0], (int32_t)w->out[1], (int32_t)w->out[2],
        (int32_t)x->dim[1],
        (int32_t)w->kernel[0], (int32_t)w->kernel[1], (int32_t)w->kernel[2],
        (int32_t)w->stride[0], (int32_t)w->stride[1], (int32_t)w->stride[2],
        (int32_t)w->dilation[0], (int32_t)w->dilation[1], (int32_t)w->dilation[2],
        (int32_t)w->front[0], (int32_t)w->front[1], (int32_t)w->front[2],
        (int32_t)w->back[0], (int32_t)w->back[1], (int32_t)w->back[2],
        qonnx_node_int(n, "count_include_pad", 0) != 0};
    lower_call(l, n, kernel, &p, (Buf *[]){lower_in(l, n, 0, LAST)}, 1,
               lower_out(l, n->out[0], LAST));
    return true;
}

static bool pool_lower(Lower *l, Node *n)
{
    Window w;
    if (n->nout > 1 && n->out[1])
        return qonnx_fail(l->cx, n, "the output Indices cannot be computed yet");
    return lower_want(l, n, 0, QONNX_FLOAT) && window_read(l->cx, n, in_shape(n, 0), NULL, &w) &&
           emit_pool(l, n, qonnx_node_is(n, "MaxPool") ? "f_maxpool" : "f_avgpool", &w);
}

static bool global_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!lower_want(l, n, 0, QONNX_FLOAT)) return false;
    if (x->rank > 5) return qonnx_fail(l->cx, n, "input of rank %d, at most 5 can be run", x->rank);
    Window w = {.axes = x->rank - 2};
    for (int i = 0; i < 3; i++) {
        int axis = i - (3 - w.axes);
        w.in[i] = w.kernel[i] = axis < 0 ? 1 : x->dim[2 + axis];
        w.out[i] = w.stride[i] = w.dilation[i] = 1;
    }
    return emit_pool(l, n, qonnx_node_is(n, "GlobalMaxPool") ? "f_maxpool" : "f_avgpool", &w);
}

const Op ops_pool[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"MaxPool", 1, 1, pool_shape, RULE(QONNX_RULE_SAME, 1), NULL, pool_lower},
    {"AveragePool", 1, 1, pool_shape, RULE(QONNX_RULE_OWN, 1), NULL, pool_lower},
    {"GlobalAveragePool", 1, 1, global_shape, RULE(QONNX_RULE_OWN, 1), NULL, global_lower},
    {"GlobalMaxPool", 1, 1, global_shape, RULE_FLOAT, NULL, global_lower},
    {0},
};
