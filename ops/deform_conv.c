/* ops/deform_conv.c - DeformConv of images. */
#include "kernels/deform_conv.h"
#include "lower/lower.h"
#include "ops/window.h"

enum { DEFORM_X, DEFORM_W, DEFORM_OFFSET, DEFORM_BIAS, DEFORM_MASK };

/* Its window, where input 0 and the weight have known shapes; *groups: of channels that share
 * offsets. */
static bool deform_read(Ctx *cx, const Node *n, Window *w, int64_t *groups)
{
    const Shape *x = in_shape(n, DEFORM_X), *k = in_shape(n, DEFORM_W);
    *groups = qonnx_node_int(n, "offset_group", 1);
    if (x->rank != 4) return qonnx_fail(cx, n, "input of rank %d, want 4", x->rank);
    if (!conv_window_of(cx, n, x, k, in_shape(n, DEFORM_BIAS), w)) return false;
    if (*groups < 1 || *groups > INT32_MAX || (x->dim[1] >= 0 && x->dim[1] % *groups))
        return qonnx_fail(cx, n, "offset_group %lld does not divide %lld channels",
                          (long long)*groups, (long long)x->dim[1]);
    for (int i = DEFORM_OFFSET; i <= DEFORM_MASK; i += 2) {
        int64_t taps = w->kernel[1] * w->kernel[2], each = i == DEFORM_OFFSET ? 2 : 1;
        if (!check_rank(cx, n, i, 4, 4) || !check_dim(cx, n, i, 0, x->dim[0]) ||
            !check_dim(cx, n, i, 1, count_work(count_work(taps, *groups), each)) ||
            !check_dim(cx, n, i, 2, w->out[1]) || !check_dim(cx, n, i, 3, w->out[2]))
            return false;
    }
    return true;
}

static bool deform_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, DEFORM_X), *k = in_shape(n, DEFORM_W);
    Window w;
    int64_t groups;
    if (!x || !k || !shape_known(k)) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!deform_read(cx, n, &w, &groups)) return false;
    Shape y = {.rank = 4, .dim = {x->dim[0], k->dim[0], w.out[1], w.out[2]}};
    y.sym[0] = x->sym[0];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool deform_takes(Why *why, const Node *n)
{
    for (int i = 1; i < n->nin; i++)
        if (in_dtype(n, 0) && !takes_type(why, n, i, in_dtype(n, 0))) return false;
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

static bool deform_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, DEFORM_X), *k = in_shape(n, DEFORM_W);
    Window w;
    int64_t groups;
    if (!deform_read(l->cx, n, &w, &groups)) return false;
    deform_conv_p p = {.n = (int32_t)x->dim[0],
                       .ic = (int32_t)x->dim[1],
                       .ih = (int32_t)x->dim[2],
                       .iw = (int32_t)x->dim[3],
                       .oc = (int32_t)k->dim[0],
                       .oh = (int32_t)w.out[1],
                       .ow = (int32_t)w.out[2],
                       .kh = (int32_t)w.kernel[1],
                       .kw = (int32_t)w.kernel[2],
                       .sh = (int32_t)w.stride[1],
                       .sw = (int32_t)w.stride[2],
                       .dh = (int32_t)w.dilation[1],
                       .dw = (int32_t)w.dilation[2],
                       .ph = (int32_t)w.front[1],
                       .pw = (int32_t)w.front[2],
                       .group = (int32_t)qonnx_node_int(n, "group", 1),
                       .offset_group = (int32_t)groups,
                       .type = (int32_t)in_dtype(n, 0)};
    int64_t taps = count_work(count_work(x->dim[1], w.kernel[1]), w.kernel[2]);
    if (taps < 0 || taps > INT32_MAX / 16)
        return qonnx_fail(l->cx, n, "kernels of %lld elements are too large", (long long)taps);
    Buf *in[5], *out[2];
    for (int i = 0; i < 5; i++) in[i] = lower_in(l, n, i, PLAIN);
    out[0] = lower_out(l, n->out[0], PLAIN);
    out[1] = lower_temp(l, (size_t)taps * sizeof(double));
    lower_call_n(l, n, "deform_conv", &p, in, 5, out, 2);
    return true;
}

static int64_t deform_macs(const Node *n)
{
    const Shape *k = in_shape(n, DEFORM_W);
    int64_t out = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    int64_t weight = shape_open_elements(k);
    return out < 0 || weight < 0 || !k->dim[0] ? -1 : count_work(out, weight / k->dim[0]);
}

/* A product in double takes as long as 30 steps; a tap that is looked for as 400. */
static int64_t deform_work(const Node *n)
{
    const Shape *x = in_shape(n, DEFORM_X), *k = in_shape(n, DEFORM_W);
    const Shape *y = n->out[0] ? &n->out[0]->shape : NULL;
    int64_t products = count_work(deform_macs(n), 30), taps = shape_open_elements(k);
    if (products < 0 || !x || x->rank != 4 || !y || y->rank != 4 || !k->dim[0] || !k->dim[1])
        return -1;
    int64_t out = shape_open_elements(y) / (y->dim[1] > 0 ? y->dim[1] : 1);
    int64_t channels = x->dim[1] < 0 ? 1 : x->dim[1];
    taps = count_work(count_work(taps / k->dim[0] / k->dim[1], channels), 400);
    taps = count_work(taps, out);
    return taps < 0 || taps > INT64_MAX - products ? -1 : taps + products;
}

const Op ops_deform_conv[] = {
    {"DeformConv", 3, 5, deform_shape, RULE_FLOAT, NULL, deform_lower, deform_macs,
     .takes = deform_takes, .work = deform_work},
    {0},
};
