/* kernels/f_affine.h - y = x * scale[c] + shift[c] a channel, clamped.
 */
#ifndef KERNELS_F_AFFINE_H
#define KERNELS_F_AFFINE_H

#include "common.h"
#include "params.h"

KERNEL_RUN void f_affine(const f_affine_p *restrict p, const float *x, const float *restrict scale,
                     const float *restrict shift, float *y)
{
    const ptrdiff_t channels = p->channels, inner = p->inner;
    for (int32_t o = 0; o < p->outer; o++, x += channels * inner, y += channels * inner) {
        if (inner == 1)
            for (ptrdiff_t c = 0; c < channels; c++)
                y[c] = f_clamp(x[c] * scale[c] + shift[c], p->lo, p->hi);
        else
            for (ptrdiff_t c = 0; c < channels; c++)
                for (ptrdiff_t i = 0; i < inner; i++)
                    y[c * inner + i] =
                        f_clamp(x[c * inner + i] * scale[c] + shift[c], p->lo, p->hi);
    }
}

#endif
