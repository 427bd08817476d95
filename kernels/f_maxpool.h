/* kernels/f_maxpool.h - the greatest element of each window; elements outside do not count.
 *
 * A NaN in a window is passed over. A window wholly outside gives -INFINITY.
 */
#ifndef KERNELS_F_MAXPOOL_H
#define KERNELS_F_MAXPOOL_H

#include <math.h>
#include "window.h"

/* y[0..c) of output (d, h, w), from batch item x. */
KERNEL void f_maxpool_one(const f_pool_p *restrict p, const float *restrict x, int32_t d, int32_t h,
                          int32_t w, float *restrict y)
{
    int32_t d0, d1, h0, h1, w0, w1;
    axis_taps(pool_axis_d(p), d, &d0, &d1);
    axis_taps(pool_axis_h(p), h, &h0, &h1);
    axis_taps(pool_axis_w(p), w, &w0, &w1);
    for (int32_t c = 0; c < p->c; c++) y[c] = -INFINITY;
    for (int32_t i = d0; i < d1; i++)
        for (int32_t j = h0; j < h1; j++)
            for (int32_t k = w0; k < w1; k++) {
                const ptrdiff_t row = (ptrdiff_t)(d * p->sd - p->pd + i * p->dd) * p->ih +
                                      h * p->sh - p->ph + j * p->dh;
                const float *in = x + (row * p->iw + w * p->sw - p->pw + k * p->dw) * p->c;
                for (int32_t c = 0; c < p->c; c++) y[c] = in[c] > y[c] ? in[c] : y[c];
            }
}

KERNEL_TRAITS(f_maxpool, onednn_maxpool)
KERNEL_RUN void f_maxpool(const f_pool_p *restrict p, const float *restrict x, float *restrict y)
{
    for (int32_t n = 0; n < p->n; n++, x += (ptrdiff_t)p->id * p->ih * p->iw * p->c)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, y += p->c) f_maxpool_one(p, x, d, h, w, y);
}

#endif
