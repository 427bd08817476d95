/* kernels/deform_conv.h - convolutions whose taps lie beside the grid, each by an offset of its
 * own: ONNX's DeformConv of images.
 *
 * A tap between elements is weighed from the four around it, of which those outside are 0. Products
 * are added in double.
 */
#ifndef KERNELS_DEFORM_CONV_H
#define KERNELS_DEFORM_CONV_H

#include "d_trig.h"
#include "reals.h"

typedef struct deform_conv_p {
    int32_t n, ic, ih, iw, oc, oh, ow; /* x is [n][ic][ih][iw], y [n][oc][oh][ow] */
    int32_t kh, kw, sh, sw, dh, dw;    /* kernel, strides, dilations */
    int32_t ph, pw;                    /* padding in front */
    int32_t group, offset_group;       /* of channels that share weights, and offsets */
    int32_t type;                      /* A_FLOAT or A_DOUBLE */
} deform_conv_p; /* deform_conv(p, x, w, offset, bias or NULL, mask or NULL, y, memory): offset is
                    [n][offset_group][kh][kw][2][oh][ow], memory for ic * kh * kw doubles */

KERNEL_TRAITS(deform_conv, floats)

/* An element of an image; 0 outside. */
KERNEL double deform_at(const deform_conv_p *restrict p, const void *restrict x, ptrdiff_t image,
                        ptrdiff_t i, ptrdiff_t j)
{
    const int32_t inside = i >= 0 && i < p->ih && j >= 0 && j < p->iw;
    return inside ? real_get(p->type, x, (image * p->ih + i) * p->iw + j) : 0.0;
}

KERNEL double deform_sample(const deform_conv_p *restrict p, const void *restrict x,
                            ptrdiff_t image, double h, double w)
{
    if (!(h > -1.0 && h < p->ih && w > -1.0 && w < p->iw)) return 0.0;
    const double top = d_floor(h), left = d_floor(w), v = h - top, u = w - left;
    const ptrdiff_t i = (ptrdiff_t)top, j = (ptrdiff_t)left;
    return (1.0 - v) * ((1.0 - u) * deform_at(p, x, image, i, j) +
                        u * deform_at(p, x, image, i, j + 1)) +
           v * ((1.0 - u) * deform_at(p, x, image, i + 1, j) +
                u * deform_at(p, x, image, i + 1, j + 1));
}

/* What the taps of all channels see at one place: [ic][kh][kw]. */
KERNEL void deform_taps(const deform_conv_p *restrict p, const void *restrict x,
                        const void *restrict offset, const void *restrict mask, ptrdiff_t image,
                        ptrdiff_t oy, ptrdiff_t ox, double *restrict taps)
{
    const ptrdiff_t kernel = (ptrdiff_t)p->kh * p->kw, area = (ptrdiff_t)p->oh * p->ow;
    const ptrdiff_t channels = p->ic / p->offset_group, place = oy * p->ow + ox;
    for (ptrdiff_t g = 0; g < p->offset_group; g++)
        for (ptrdiff_t k = 0; k < kernel; k++) {
            const ptrdiff_t tap = (image * p->offset_group + g) * kernel + k;
            const double m = mask ? real_get(p->type, mask, tap * area + place) : 1.0;
            const double h = (double)(oy * p->sh - p->ph + k / p->kw * p->dh) +
                             real_get(p->type, offset, 2 * tap * area + place);
            const double w = (double)(ox * p->sw - p->pw + k % p->kw * p->dw) +
                             real_get(p->type, offset, (2 * tap + 1) * area + place);
            for (ptrdiff_t c = g * channels; c < (g + 1) * channels; c++)
                taps[c * kernel + k] = m * deform_sample(p, x, image * p->ic + c, h, w);
        }
}

KERNEL_RUN void deform_conv(const deform_conv_p *restrict p, const void *restrict x,
                            const void *restrict w, const void *restrict offset,
                            const void *restrict bias, const void *restrict mask, void *restrict y,
                            double *restrict memory)
{
    const ptrdiff_t area = (ptrdiff_t)p->oh * p->ow, outputs = p->oc / p->group;
    const ptrdiff_t products = (ptrdiff_t)(p->ic / p->group) * p->kh * p->kw;
    for (ptrdiff_t at = 0; at < p->n * area; at++) {
        const ptrdiff_t image = at / area, place = at % area;
        deform_taps(p, x, offset, mask, image, place / p->ow, place % p->ow, memory);
        for (ptrdiff_t c = 0; c < p->oc; c++) {
            const double *taps = memory + c / outputs * products;
            double sum = 0.0;
            for (ptrdiff_t i = 0; i < products; i++)
                sum += real_get(p->type, w, c * products + i) * taps[i];
            if (bias) sum += real_get(p->type, bias, c);
            real_put(p->type, y, (image * p->oc + c) * area + place, sum);
        }
    }
}

#endif
