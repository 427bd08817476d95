/* kernels/f_avgpool.h - the mean of each window: the sum, as in f_sum.h, divided once.
 *
 * The divisor counts the elements inside the input or, with include_pad, inside the padded input.
 * A window without any gives 0.
 */
#ifndef KERNELS_F_AVGPOOL_H
#define KERNELS_F_AVGPOOL_H

#include "f_sum.h"
#include "window.h"

/* Taps of output `o` inside the input, or inside the input padded by a.pad and `behind`. */
KERNEL int32_t f_avgpool_count(Axis a, int32_t o, int32_t behind, int32_t include_pad)
{
    int32_t k0, k1;
    if (include_pad) { /* seen from the padded input, there is no padding */
        a.in += a.pad + behind;
        a.pad = 0;
    }
    axis_taps(a, o, &k0, &k1);
    return k1 - k0;
}

/* y[0..k) of output (d, h, w): k <= F_CHUNK channels of the batch item, the first at x. */
KERNEL void f_avgpool_some(const f_pool_p *restrict p, const float *restrict x, int32_t d,
                           int32_t h, int32_t w, int32_t k, float *restrict y)
{
    const Axis ad = pool_axis_d(p), ah = pool_axis_h(p), aw = pool_axis_w(p);
    int32_t d0, d1, h0, h1, w0, w1;
    axis_taps(ad, d, &d0, &d1);
    axis_taps(ah, h, &h0, &h1);
    axis_taps(aw, w, &w0, &w1);
    const ptrdiff_t step = (ptrdiff_t)p->dw * p->c;
    const int few = (ptrdiff_t)(d1 - d0) * (h1 - h0) * (w1 - w0) <= F_SUM_BLOCK;
    f_sum sum;
    f_sum_start(&sum, k, step == k ? w1 - w0 : 1);
    for (int32_t j = 0; j < k; j++) y[j] = 0.0f;
    for (int32_t i = d0; i < d1; i++)
        for (int32_t j = h0; j < h1; j++) {
            const ptrdiff_t row =
                (ptrdiff_t)(d * p->sd - p->pd + i * p->dd) * p->ih + h * p->sh - p->ph + j * p->dh;
            const float *in = x + (row * p->iw + w * p->sw - p->pw + w0 * p->dw) * p->c;
            if (few) f_sum_few(in, w1 - w0, step, k, y);
            else f_sum_rows(&sum, in, w1 - w0, step, 0);
        }
    if (!few) f_sum_end(&sum, y);
}

/* y[0..c) of output (d, h, w), from batch item x. */
KERNEL void f_avgpool_one(const f_pool_p *restrict p, const float *restrict x, int32_t d, int32_t h,
                          int32_t w, float *restrict y)
{
    const int32_t count = f_avgpool_count(pool_axis_d(p), d, p->ed, p->include_pad) *
                          f_avgpool_count(pool_axis_h(p), h, p->eh, p->include_pad) *
                          f_avgpool_count(pool_axis_w(p), w, p->ew, p->include_pad);
    const float divisor = count ? (float)count : 1.0f;
    for (int32_t c = 0; c < p->c; c += F_CHUNK)
        f_avgpool_some(p, x + c, d, h, w, f_chunk(c, p->c), y + c);
    for (int32_t c = 0; c < p->c; c++) y[c] /= divisor;
}

KERNEL_TRAITS(f_avgpool, onednn_avgpool)
KERNEL_RUN void f_avgpool(const f_pool_p *restrict p, const float *restrict x, float *restrict y)
{
    for (int32_t n = 0; n < p->n; n++, x += (ptrdiff_t)p->id * p->ih * p->iw * p->c)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, y += p->c) f_avgpool_one(p, x, d, h, w, y);
}

#endif
