/* kernels/f_causal_conv.h - a convolution of each channel by itself that sees only what came
 * before: CausalConvWithState. Each output is the bias + the products in ascending order of the
 * taps.
 */
#ifndef KERNELS_F_CAUSAL_CONV_H
#define KERNELS_F_CAUSAL_CONV_H

#include "common.h"

typedef struct f_causal_conv_p {
    int32_t batch, channels, steps; /* y is [batch][channel][step] */
    int32_t taps, dilation;         /* x has (taps - 1) * dilation steps more, in front */
} f_causal_conv_p;                  /* f_causal_conv(p, x, w ([channel][tap]), bias or NULL, y) */

KERNEL_RUN void f_causal_conv(const f_causal_conv_p *restrict p, const float *restrict x,
                              const float *restrict w, const float *restrict bias,
                              float *restrict y)
{
    const ptrdiff_t steps = p->steps, row = steps + (ptrdiff_t)(p->taps - 1) * p->dilation;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (ptrdiff_t c = 0; c < p->channels; c++, x += row, y += steps) {
            for (ptrdiff_t t = 0; t < steps; t++) y[t] = bias ? bias[c] : 0.0f;
            for (ptrdiff_t k = 0; k < p->taps; k++)
                for (ptrdiff_t t = 0; t < steps; t++)
                    y[t] += w[c * p->taps + k] * x[t + k * p->dilation];
        }
}

#endif
