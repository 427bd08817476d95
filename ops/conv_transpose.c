/* ops/conv_transpose.c - ConvTranspose. */
#include "lower/lower.h"
#include "ops/window.h"

/* Distributes the padding that makes an output of that size. What is more than all products reach
 * is bias alone. */
static void pad_to(Window *w, int i, int64_t total, bool upper)
{
    if (total < 0) total = 0;
    w->front[i] = upper ? total / 2 : total - total / 2;
    w->back[i] = total - w->front[i];
}

/* The output's size along axis i of three, and where the file does not say it, the padding.
 * `given`: the size that the file asks for, or -1. */
static bool output_size(Ctx *cx, const Node *n, Window *w, int i, int64_t extra, int64_t given,
                        WindowPads pads)
{
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    if (w->in[i] < 1) return w->in[i] < 0 || qonnx_fail(cx, n, "an axis of size 0");
    if (w->in[i] - 1 > WINDOW_MOST / w->stride[i])
        return qonnx_fail(cx, n, "an axis of %lld with strides of %lld is too large",
                          (long long)w->in[i], (long long)w->stride[i]);
    int64_t whole = (w->in[i] - 1) * w->stride[i] + span + extra;
    if (given > whole - extra + w->stride[i] - 1)
        return qonnx_fail(cx, n, "output_shape holds %lld, of an axis that reaches %lld at most",
                          (long long)given, (long long)(whole - extra + w->stride[i] - 1));
    if (given < 0 && pads != PADS_GIVEN) {
        given = w->in[i] * w->stride[i];
        if (given > whole) given = whole;
    }
    if (given >= 0) pad_to(w, i, whole - given, pads == PADS_SAME_UPPER);
    w->out[i] = given >= 0 ? given : whole - w->front[i] - w->back[i];
    if (w->out[i] >= 1 && w->out[i] <= WINDOW_MOST) return true;
    return qonnx_fail(cx, n, "its output has size %lld along an axis, want 1 to %d",
                      (long long)w->out[i], WINDOW_MOST);
}

/* The window of the convolution that it is the transpose of: w->in is this operator's input. */
static bool read_window(Ctx *cx, const Node *n, Window *w)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    int64_t extra[3], given[3];
    const int64_t *list;
    WindowPads pads;
    int axes = x->rank - 2, sizes = qonnx_node_ints(n, "output_shape", &list);
    if (!window_attributes(cx, n, x, k->dim + 2, w, &pads) ||
        !window_list(cx, n, "output_padding", axes, 0, 0, extra))
        return false;
    if (sizes && sizes != axes && sizes != x->rank)
        return qonnx_fail(cx, n, "output_shape has %d numbers, want %d", sizes, axes);
    for (int i = 3 - axes; i < 3; i++) {
        int axis = i - (3 - axes);
        given[i] = sizes ? list[sizes - axes + axis] : -1;
        if (sizes && (given[i] < 1 || given[i] > WINDOW_MOST))
            return qonnx_fail(cx, n, "output_shape holds %lld", (long long)given[i]);
        if (!output_size(cx, n, w, i, extra[i], given[i], pads)) return false;
    }
    return true;
}

/* Checks the operands against each other. The weight's shape is known. */
static bool check_operands(Ctx *cx, const Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1), *b = in_shape(n, 2);
    int64_t group = qonnx_node_int(n, "group", 1);
    if (x->rank < 3 || x->rank > 5)
        return qonnx_fail(cx, n, "input of rank %d, want 3 to 5", x->rank);
    if (k->rank != x->rank)
        return qonnx_fail(cx, n, "weight of rank %d for an input of rank %d", k->rank, x->rank);
    if (group < 1 || k->dim[0] < 1 || k->dim[0] % group || k->dim[1] < 1 ||
        k->dim[1] > INT32_MAX / group || (x->dim[1] >= 0 && x->dim[1] != k->dim[0]))
        return qonnx_fail(cx, n,
                          "group %lld does not fit %lld input channels and a weight of %lld x "
                          "%lld",
                          (long long)group, (long long)x->dim[1], (long long)k->dim[0],
                          (long long)k->dim[1]);
    if (b && (b->rank != 1 || (b->dim[0] >= 0 && b->dim[0] != k->dim[1] * group)))
        return qonnx_fail(cx, n, "bias of %lld for %lld output channels",
                          (long long)(b->rank == 1 ? b->dim[0] : -1),
                          (long long)(k->dim[1] * group));
    return true;
}

static bool transpose_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    Window w;
    if (!x || !k || !shape_known(k)) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!check_operands(cx, n) || !read_window(cx, n, &w)) return false;
    Shape y = *x;
    y.dim[1] = k->dim[1] * qonnx_node_int(n, "group", 1);
    y.sym[1] = NULL;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool transpose_lower(Lower *l, Node *n)
{
    Window w;
    if (!read_window(l->cx, n, &w)) return false;
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    int32_t group = (int32_t)qonnx_node_int(n, "group", 1);
    f_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = (int32_t)k->dim[1] * group,
                  .group = group};
    Value *y = lower_fused(l, n, &p.lo, &p.hi);
    Buf *in[3] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    bool each = group > 1 && p.ic == group && p.oc == group;
    lower_call(l, n, each ? "f_dwdeconv" : "f_deconv", &p, in, 3, lower_out(l, y, LAST));
    return true;
}

static int64_t transpose_macs(const Node *n)
{
    const Shape *k = in_shape(n, 1);
    int64_t in = shape_open_elements(in_shape(n, 0)), weight = shape_open_elements(k);
    return in < 0 || weight < 0 || !k->dim[0] ? -1 : count_work(in, weight / k->dim[0]);
}

/* The channels of several groups stand in two axes of the weight: one scale for all. */
static void transpose_refine(const Node *n, qonnx_rule *r)
{
    if (qonnx_node_int(n, "group", 1) != 1) r->weight_axis = -1;
}

const Op ops_conv_transpose[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"ConvTranspose",
     2,
     3,
     transpose_shape,
     {.kind = QONNX_RULE_FLOAT,
      .elsewhere = QONNX_RULE_OWN,
      .activations = 1,
      .weight = 1,
      .bias = 2,
      .weight_axis = 1,
      .channel_axis = 1,
      .apart = true},
     transpose_refine,
     transpose_lower,
     transpose_macs,
     .takes = takes_floats},
    {0},
};
