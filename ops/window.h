/* ops/window.h - the sliding window that convolutions and pools share. */
#ifndef OPS_WINDOW_H
#define OPS_WINDOW_H

#include "ops/op.h"

/* Sizes by the axes d, h, w: operators with fewer axes have 1 in front. -1: not known. */
typedef struct Window {
    int axes;                      /* spatial axes that the operator has: 1 to 3 */
    int64_t in[3], out[3];         /* sizes */
    int64_t kernel[3], stride[3], dilation[3];
    int64_t front[3], back[3];     /* padding */
} Window;

/* Reads kernel_shape (or takes `kernel`, the weight's spatial dims), strides, dilations, pads,
 * auto_pad and ceil_mode for input shape `x` of rank 3 to 5, checks them, and computes the output
 * size. */
bool window_read(Ctx *cx, const Node *n, const Shape *x, const int64_t *kernel, Window *w);

#endif
