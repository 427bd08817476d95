/* ops/window.c - formulas of the ONNX operator specification: Conv, AveragePool, MaxPool. */
#include "ops/window.h"
#include <string.h>

enum { MOST_STEPS = WINDOW_MOST };

bool window_list(Ctx *cx, const Node *n, const char *name, int axes, int64_t dflt, int64_t least,
                 int64_t out[3])
{
    const int64_t *v;
    int count = qonnx_node_ints(n, name, &v);
    if (v && count != axes)
        return qonnx_fail(cx, n, "%s has %d numbers, want %d", name, count, axes);
    for (int i = 0; i < 3; i++) out[i] = dflt;
    for (int i = 0; v && i < axes; i++) {
        if (v[i] < least || v[i] > MOST_STEPS)
            return qonnx_fail(cx, n, "%s holds %lld, want at least %lld and at most %d", name,
                              (long long)v[i], (long long)least, MOST_STEPS);
        out[3 - axes + i] = v[i];
    }
    return true;
}

static bool read_pads(Ctx *cx, const Node *n, Window *w)
{
    const int64_t *v;
    int count = qonnx_node_ints(n, "pads", &v);
    memset(w->front, 0, sizeof w->front);
    memset(w->back, 0, sizeof w->back);
    if (v && count != 2 * w->axes)
        return qonnx_fail(cx, n, "pads has %d numbers, want %d", count, 2 * w->axes);
    for (int i = 0; v && i < count; i++) {
        if (v[i] < 0 || v[i] > MOST_STEPS)
            return qonnx_fail(cx, n, "pads holds %lld, want 0 or more, and at most %d",
                              (long long)v[i], MOST_STEPS);
        (i < w->axes ? w->front : w->back)[3 - w->axes + i % w->axes] = v[i];
    }
    return true;
}

/* SAME_UPPER and SAME_LOWER: pads so that out = ceil(in / stride). Where strides skip more than the
 * window needs, the pads would be negative. Runtimes refuse that in a pool and agree in a
 * convolution as long as it is 1 or 2: no padding then. */
static bool pad_same(Ctx *cx, const Node *n, Window *w, int i, bool upper, bool pool)
{
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    w->out[i] = (w->in[i] + w->stride[i] - 1) / w->stride[i];
    int64_t total = (w->out[i] - 1) * w->stride[i] + span - w->in[i];
    if (total < (pool ? 0 : -2))
        return qonnx_fail(cx, n,
                          "auto_pad %s of a window of %lld and a stride of %lld makes %lld of "
                          "padding along an axis of %lld, want 0 or more; pads can say what is "
                          "meant",
                          upper ? "SAME_UPPER" : "SAME_LOWER", (long long)span,
                          (long long)w->stride[i], (long long)total, (long long)w->in[i]);
    if (total < 0) total = 0;
    w->front[i] = upper ? total / 2 : total - total / 2;
    w->back[i] = total - w->front[i];
    return true;
}

static bool output_size(Ctx *cx, const Node *n, Window *w, int i, bool ceil_mode)
{
    int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t room = w->in[i] + w->front[i] + w->back[i] - span;
    if (room < 0)
        return qonnx_fail(cx, n, "the kernel spans %lld, the padded input only %lld",
                          (long long)span, (long long)(room + span));
    w->out[i] = room / w->stride[i] + 1;
    /* one more for a rest, unless that window would begin behind the input and its front padding */
    if (ceil_mode && room % w->stride[i] && w->out[i] * w->stride[i] < w->in[i] + w->front[i])
        w->out[i]++;
    return true;
}

/* Whether the kernel's size along axis i of three is one that can be run. */
static bool check_kernel(Ctx *cx, const Node *n, const Window *w, int i)
{
    if (w->kernel[i] >= 1 && (w->kernel[i] - 1) <= MOST_STEPS / w->dilation[i]) return true;
    return qonnx_fail(cx, n, "the kernel is too small or too large");
}

bool window_attributes(Ctx *cx, const Node *n, const Shape *x, const int64_t *kernel, Window *w,
                       WindowPads *pads)
{
    if (x->rank < 3 || x->rank > 5)
        return qonnx_fail(cx, n, "input of rank %d, want 3 to 5", x->rank);
    w->axes = x->rank - 2;
    const char *pad = qonnx_node_string(n, "auto_pad", "NOTSET");
    *pads = !strcmp(pad, "SAME_UPPER")   ? PADS_SAME_UPPER
            : !strcmp(pad, "SAME_LOWER") ? PADS_SAME_LOWER
                                         : PADS_GIVEN;
    if (*pads == PADS_GIVEN && pad[0] && strcmp(pad, "NOTSET") && strcmp(pad, "VALID"))
        return qonnx_fail(cx, n, "auto_pad is '%s', want NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                          pad);
    if (!kernel && !qonnx_node_has(n, "kernel_shape"))
        return qonnx_fail(cx, n, "attribute kernel_shape is missing");
    if (!window_list(cx, n, "kernel_shape", w->axes, 1, 1, w->kernel) ||
        !window_list(cx, n, "strides", w->axes, 1, 1, w->stride) ||
        !window_list(cx, n, "dilations", w->axes, 1, 1, w->dilation) || !read_pads(cx, n, w))
        return false;
    for (int i = 0; i < 3; i++) {
        int axis = i - (3 - w->axes);
        w->in[i] = axis < 0 ? 1 : x->dim[2 + axis];
        w->out[i] = axis < 0 ? 1 : -1;
        if (axis < 0) continue;
        if (kernel && qonnx_node_has(n, "kernel_shape") && kernel[axis] != w->kernel[i])
            return qonnx_fail(cx, n, "kernel_shape says %lld where the weight has %lld",
                              (long long)w->kernel[i], (long long)kernel[axis]);
        if (kernel) w->kernel[i] = kernel[axis];
        if (!check_kernel(cx, n, w, i)) return false;
    }
    return true;
}

bool window_read(Ctx *cx, const Node *n, const Shape *x, const int64_t *kernel, Window *w)
{
    WindowPads pads;
    bool ceil_mode = qonnx_node_int(n, "ceil_mode", 0) != 0;
    if (!window_attributes(cx, n, x, kernel, w, &pads)) return false;
    for (int i = 3 - w->axes; i < 3; i++) {
        int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1;
        if (!kernel && (w->front[i] >= span || w->back[i] >= span))
            return qonnx_fail(cx, n, "pads holds %lld, want less than the window of a pool, %lld",
                              (long long)(w->front[i] >= span ? w->front[i] : w->back[i]),
                              (long long)span);
        if (w->in[i] < 0) continue;
        if (pads != PADS_GIVEN ? !pad_same(cx, n, w, i, pads == PADS_SAME_UPPER, !kernel)
                               : !output_size(cx, n, w, i, ceil_mode))
            return false;
        if (w->in[i] + w->front[i] + w->back[i] > MOST_STEPS)
            return qonnx_fail(cx, n, "the padded input has size %lld along an axis, at most %d",
                              (long long)(w->in[i] + w->front[i] + w->back[i]), MOST_STEPS);
    }
    return true;
}

bool conv_window(Ctx *cx, const Node *n, Window *w)
{
    return conv_window_of(cx, n, in_shape(n, 0), in_shape(n, 1), in_shape(n, 2), w);
}

bool conv_window_of(Ctx *cx, const Node *n, const Shape *x, const Shape *k, const Shape *b,
                    Window *w)
{
    if (x->rank < 3 || x->rank > 5)
        return qonnx_fail(cx, n, "input of rank %d, want 3 to 5", x->rank);
    if (k->rank != x->rank)
        return qonnx_fail(cx, n, "weight of rank %d for an input of rank %d", k->rank, x->rank);
    if (!shape_known(k)) return qonnx_fail(cx, n, "the weight's shape is not known");
    int64_t group = qonnx_node_int(n, "group", 1);
    if (group < 1 || k->dim[0] % group || k->dim[0] < 1 ||
        (x->dim[1] >= 0 && (k->dim[1] > INT32_MAX / group || x->dim[1] != k->dim[1] * group)))
        return qonnx_fail(cx, n,
                          "group %lld does not fit %lld input channels and a weight of %lld x "
                          "%lld",
                          (long long)group, (long long)x->dim[1], (long long)k->dim[0],
                          (long long)k->dim[1]);
    if (b && (b->rank != 1 || (b->dim[0] >= 0 && b->dim[0] != k->dim[0])))
        return qonnx_fail(cx, n, "bias of %lld for %lld output channels",
                          (long long)(b->rank == 1 ? b->dim[0] : -1), (long long)k->dim[0]);
    return window_read(cx, n, x, k->dim + 2, w);
}

bool conv_is_depthwise(const Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    int64_t group = qonnx_node_int(n, "group", 1);
    return group > 1 && x->dim[1] == group && k->dim[0] == group;
}

bool pool_window(Ctx *cx, const Node *n, Window *w)
{
    const Shape *x = in_shape(n, 0);
    if (strncmp(n->op, "Global", 6)) return window_read(cx, n, x, NULL, w);
    if (x->rank < 3 || x->rank > 5)
        return qonnx_fail(cx, n, "input of rank %d, want 3 to 5", x->rank);
    *w = (Window){.axes = x->rank - 2};
    for (int i = 0; i < 3; i++) {
        int axis = i - (3 - w->axes);
        w->in[i] = w->kernel[i] = axis < 0 ? 1 : x->dim[2 + axis];
        w->out[i] = w->stride[i] = w->dilation[i] = 1;
    }
    return true;
}

bool qonnx_node_window(const Node *n, qonnx_window *w)
{
    bool conv = qonnx_node_is(n, "Conv");
    bool pool = qonnx_node_is(n, "MaxPool") || qonnx_node_is(n, "AveragePool") ||
                qonnx_node_is(n, "LpPool") || qonnx_node_is(n, "GlobalMaxPool") ||
                qonnx_node_is(n, "GlobalAveragePool") || qonnx_node_is(n, "GlobalLpPool");
    if ((!conv && !pool) || !in_shape(n, 0) || (conv && !in_shape(n, 1))) return false;
    Ctx *quiet = ctx_quiet();
    bool ok = conv ? conv_window(quiet, n, w) : pool_window(quiet, n, w);
    qonnx_ctx_free(quiet);
    return ok;
}
