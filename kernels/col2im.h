/* kernels/col2im.h - images put together from blocks that overlap, whose elements are added where
 * they meet: ONNX's Col2Im.
 */
#ifndef KERNELS_COL2IM_H
#define KERNELS_COL2IM_H

#include <string.h>
#include "common.h"

typedef struct col2im_p {
    int32_t n;          /* images, times their channels */
    int32_t id, ih, iw; /* sizes of an image */
    int32_t od, oh, ow; /* how often a block lies along each axis */
    int32_t kd, kh, kw; /* sizes of a block */
    int32_t sd, sh, sw; /* from a block to the next */
    int32_t dd, dh, dw; /* from an element of a block to the next */
    int32_t pd, ph, pw; /* padding in front, which is cut off */
} col2im_p; /* col2im(p, x, y): x is [n][kd][kh][kw][od][oh][ow], y is [n][id][ih][iw] */

/* Adds element (i, j, k) of all blocks, which is at x, to an image. */
KERNEL void col2im_element(const col2im_p *restrict p, const float *restrict x, float *restrict y,
                           int32_t i, int32_t j, int32_t k)
{
    for (int32_t d = 0; d < p->od; d++)
        for (int32_t h = 0; h < p->oh; h++)
            for (int32_t w = 0; w < p->ow; w++, x++) {
                const int64_t z = (int64_t)d * p->sd + (int64_t)i * p->dd - p->pd;
                const int64_t v = (int64_t)h * p->sh + (int64_t)j * p->dh - p->ph;
                const int64_t u = (int64_t)w * p->sw + (int64_t)k * p->dw - p->pw;
                if (z < 0 || z >= p->id || v < 0 || v >= p->ih || u < 0 || u >= p->iw) continue;
                y[(z * p->ih + v) * p->iw + u] += *x;
            }
}

KERNEL_RUN void col2im(const col2im_p *restrict p, const float *restrict x, float *restrict y)
{
    const ptrdiff_t image = (ptrdiff_t)p->id * p->ih * p->iw;
    const ptrdiff_t blocks = (ptrdiff_t)p->od * p->oh * p->ow;
    memset(y, 0, (size_t)(p->n * image) * sizeof *y);
    for (int32_t n = 0; n < p->n; n++, y += image)
        for (int32_t i = 0; i < p->kd; i++)
            for (int32_t j = 0; j < p->kh; j++)
                for (int32_t k = 0; k < p->kw; k++, x += blocks) col2im_element(p, x, y, i, j, k);
}

#endif
