/* kernels/q_maxpool.h - the greatest element of each window, clamped; elements outside the input do
 * not count.
 */
#ifndef KERNELS_Q_MAXPOOL_H
#define KERNELS_Q_MAXPOOL_H

#include "q_pool.h"

/* n <= Q_CHUNK channels of an output; x and y are at the first. Works on uint8 forms. */
KERNEL void q_maxpool_chunk(const q_pool_p *restrict p, const q_window *o,
                            const uint8_t *restrict x, int32_t n, uint8_t *restrict y)
{
    const uint8_t flip = q_flip(p->x_signed);
    const uint8_t lo = (uint8_t)(p->lo + flip), hi = (uint8_t)(p->hi + flip);
    uint8_t best[Q_CHUNK];
    for (int j = 0; j < Q_CHUNK; j++) best[j] = lo;
    for (int32_t d = o->d.k0; d < o->d.k1; d++)
        for (int32_t h = o->h.k0; h < o->h.k1; h++)
            for (int32_t w = o->w.k0; w < o->w.k1; w++) {
                const uint8_t *in = x + q_pool_at(p, o, d, h, w);
                for (int32_t j = 0; j < n; j++) {
                    const uint8_t v = in[j] ^ flip;
                    best[j] = v > best[j] ? v : best[j];
                }
            }
    for (int32_t j = 0; j < n; j++) y[j] = (best[j] < hi ? best[j] : hi) ^ flip;
}

KERNEL_RUN void q_maxpool(const q_pool_p *restrict p, const void *restrict x, void *restrict y)
{
    const uint8_t *in = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    for (int32_t n = 0; n < p->n; n++, in += (ptrdiff_t)p->id * p->ih * p->iw * p->c)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, to += p->c) {
                    const q_window o = q_pool_window(p, d, h, w);
                    for (int32_t c = 0; c < p->c; c += Q_CHUNK)
                        q_maxpool_chunk(p, &o, in + c, q_chunk(c, p->c), to + c);
                }
}

#endif
