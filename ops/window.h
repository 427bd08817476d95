/* ops/window.h - the sliding window that convolutions and pools share. */
#ifndef OPS_WINDOW_H
#define OPS_WINDOW_H

#include "ops/op.h"

/* Sizes of -1 are not known. */
typedef qonnx_window Window;

/* Kernels add positions, pads and strides in 32 bits: each is at most this. */
enum { WINDOW_MOST = 1 << 29 };

/* Whether pads are those of the attribute, or follow from sizes. */
typedef enum WindowPads { PADS_GIVEN, PADS_SAME_UPPER, PADS_SAME_LOWER } WindowPads;

/* A list attribute of at least `least`, one number a spatial axis; `dflt` where it is absent. */
bool window_list(Ctx *cx, const Node *n, const char *name, int axes, int64_t dflt, int64_t least,
                 int64_t out[3]);

/* All of a window but its output size: the attributes, as window_read() takes them, and the input
 * size. */
bool window_attributes(Ctx *cx, const Node *n, const Shape *x, const int64_t *kernel, Window *w,
                       WindowPads *pads);

/* Reads kernel_shape (or takes `kernel`, the weight's spatial dims), strides, dilations, pads,
 * auto_pad and ceil_mode for input shape `x` of rank 3 to 5, checks them, and computes the output
 * size. */
bool window_read(Ctx *cx, const Node *n, const Shape *x, const int64_t *kernel, Window *w);

/* The window of a Conv, float or quantized, its operands checked: input 0 and the weight, input 1,
 * have known shapes. */
bool conv_window(Ctx *cx, const Node *n, Window *w);
/* The same of those operands; `bias` may be NULL. */
bool conv_window_of(Ctx *cx, const Node *n, const Shape *x, const Shape *k, const Shape *bias,
                    Window *w);
/* The window of a pool; that of a global one is the whole input. */
bool pool_window(Ctx *cx, const Node *n, Window *w);
/* Whether the Conv has a filter of its own for each channel and nothing else. */
bool conv_is_depthwise(const Node *n);

/* The fields that the parameter structs of sliding kernels share, as designated initializers. */
#define WINDOW_FIELDS(w)                                                                           \
    .id = (int32_t)(w).in[0], .ih = (int32_t)(w).in[1], .iw = (int32_t)(w).in[2],                  \
    .od = (int32_t)(w).out[0], .oh = (int32_t)(w).out[1], .ow = (int32_t)(w).out[2],               \
    .kd = (int32_t)(w).kernel[0], .kh = (int32_t)(w).kernel[1], .kw = (int32_t)(w).kernel[2],      \
    .sd = (int32_t)(w).stride[0], .sh = (int32_t)(w).stride[1], .sw = (int32_t)(w).stride[2],      \
    .dd = (int32_t)(w).dilation[0], .dh = (int32_t)(w).dilation[1],                                \
    .dw = (int32_t)(w).dilation[2], .pd = (int32_t)(w).front[0], .ph = (int32_t)(w).front[1],      \
    .pw = (int32_t)(w).front[2]

#endif
