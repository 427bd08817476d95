/* kernels/f_lrn.h - local response normalization: each element by the squares of its neighbours in
 * other channels.
 */
#ifndef KERNELS_F_LRN_H
#define KERNELS_F_LRN_H

#include "f_math.h"

typedef struct f_lrn_p {
    int32_t outer, channels, inner; /* x is [outer][channels][inner] */
    int32_t size;                   /* channels that are added: (size - 1) / 2 of them before */
    float alpha, beta, bias;        /* y = x / (bias + alpha / size * sum of squares) ^ beta */
} f_lrn_p;                          /* f_lrn(p, x, y) */

KERNEL_RUN void f_lrn(const f_lrn_p *restrict p, const float *restrict x, float *restrict y)
{
    const ptrdiff_t inner = p->inner, before = (p->size - 1) / 2, behind = p->size - 1 - before;
    const float factor = p->alpha / (float)p->size;
    for (ptrdiff_t o = 0; o < p->outer; o++, x += p->channels * inner, y += p->channels * inner)
        for (ptrdiff_t c = 0; c < p->channels; c++)
            for (ptrdiff_t i = 0; i < inner; i += F_CHUNK) {
                float sum[F_CHUNK] = {0.0f};
                const int32_t n = f_chunk(i, inner);
                const ptrdiff_t from = c > before ? c - before : 0;
                const ptrdiff_t to = p->channels - 1 - c > behind ? c + behind : p->channels - 1;
                for (ptrdiff_t k = from; k <= to; k++)
                    for (int32_t j = 0; j < n; j++)
                        sum[j] += x[k * inner + i + j] * x[k * inner + i + j];
                for (int32_t j = 0; j < n; j++)
                    y[c * inner + i + j] =
                        x[c * inner + i + j] / f_pow(p->bias + factor * sum[j], p->beta);
            }
}

#endif
