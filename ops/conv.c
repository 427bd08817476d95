/* ops/conv.c - Conv. */
#include "lower/lower.h"
#include "ops/window.h"
#include <string.h>

/* Checks the operands of a Conv whose shapes are known, and reads its window. */
static bool conv_read(Ctx *cx, const Node *n, Window *w)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    if (k->rank != x->rank)
        return qonnx_fail(cx, n, "weight of rank %d for an input of rank %d", k->rank, x->rank);
    if (!shape_known(k)) return qonnx_fail(cx, n, "the weight's shape is not known");
    int64_t group = qonnx_node_int(n, "group", 1);
    if (group < 1 || k->dim[0] % group || k->dim[0] < 1 ||
        (x->dim[1] >= 0 && (k->dim[1] > INT32_MAX / group || x->dim[1] != k->dim[1] * group)))
        return qonnx_fail(cx, n, "group %lld does not fit %lld input channels and a weight of %lld x "
                          "%lld", (long long)group, (long long)x->dim[1], (long long)k->dim[0],
                          (long long)k->dim[1]);
    const Shape *b = in_shape(n, 2);
    if (b && (b->rank != 1 || (b->dim[0] >= 0 && b->dim[0] != k->dim[0])))
        return qonnx_fail(cx, n, "bias of %lld for %lld output channels",
                          (long long)(b->rank == 1 ? b->dim[0] : -1), (long long)k->dim[0]);
    return window_read(cx, n, x, k->dim + 2, w);
}

static bool conv_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    Window w;
    if (!x || !k || !shape_known(k)) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!conv_read(cx, n, &w)) return false;
    Shape y = *x;
    y.dim[1] = k->dim[0];
    y.sym[1] = NULL;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool conv_lower(Lower *l, Node *n)
{
    Window w;
    for (int i = 0; i < 3; i++)
        if (!lower_want(l, n, i, QONNX_FLOAT)) return false;
    if (!conv_read(l->cx, n, &w)) return false;
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    f_conv_p p = {
        (int32_t)x->dim[0],
        (int32_t)w.in[0], (int32_t)w.in[1], (int32_t)w.in[2],
        (int32_t)w.out[0], (int32_t)w.out[1], (int32_t)w.out[2],
        (int32_t)x->dim[1], (int32_t)k->dim[0], (int32_t)qonnx_node_int(n, "group", 1),
        (int32_t)w.kernel[0], (int32_t)w.kernel[1], (int32_t)w.kernel[2],
        (int32_t)w.stride[0], (int32_t)w.stride[1], (int32_t)w.stride[2],
        (int32_t)w.dilation[0], (int32_t)w.dilation[1], (int32_t)w.dilation[2],
        (int32_t)w.front[0], (int32_t)w.front[1], (int32_t)w.front[2], 0, 0};
    Value *y = lower_fused(l, n, &p.lo, &p.hi);
    Buf *in[3] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    bool depthwise = p.group == p.ic && p.oc == p.ic && p.group > 1;
    lower_call(l, n, depthwise ? "f_dwconv" : "f_conv", &p, in, 3, lower_out(l, y, LAST));
    return true;
}

static int64_t conv_macs(const Node *n)
{
    const Shape *k = in_shape(n, 1);
    const Value *y = n->out[0];
    int64_t out = y ? shape_elements(&y->shape) : -1, weight = k ? shape_elements(k) : -1;
    return out < 0 || weight < 0 || !k->dim[0] ? -1 : out * (weight / k->dim[0]);
}

const Op ops_conv[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"Conv", 2, 3, conv_shape, {QONNX_RULE_OWN, 1, 1, 2, 0, 1, 0, 0}, NULL, conv_lower,
     conv_macs},
    {0},
};
