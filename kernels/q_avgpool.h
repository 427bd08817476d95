/* kernels/q_avgpool.h - the mean of each window: the sum, requantized by a scale that depends on
 * how many elements of the window lie inside the input.
 */
#ifndef KERNELS_Q_AVGPOOL_H
#define KERNELS_Q_AVGPOOL_H

#include "q_pool.h"
#include "requant.h"

/* sum[j] of n <= Q_LANES channels of an output, of uint8 forms; x is at the first. */
KERNEL void q_avgpool_sum(const q_pool_p *restrict p, const q_window *o, const uint8_t *restrict x,
                          int32_t n, uint32_t sum[Q_LANES])
{
    const uint8_t flip = q_flip(p->x_signed);
    for (int32_t d = o->d.k0; d < o->d.k1; d++)
        for (int32_t h = o->h.k0; h < o->h.k1; h++)
            for (int32_t w = o->w.k0; w < o->w.k1; w++) {
                const uint8_t *in = x + q_pool_at(p, o, d, h, w);
                if (n == Q_LANES)
                    for (int j = 0; j < Q_LANES; j++) sum[j] += in[j] ^ flip;
                else
                    for (int32_t j = 0; j < n; j++) sum[j] += in[j] ^ flip;
            }
}

/* All channels of an output. */
KERNEL void q_avgpool_one(const q_pool_p *restrict p, const q_window *o, const uint8_t *restrict x,
                          const q_scale *restrict scale, uint8_t *restrict y)
{
    const int32_t count = (o->d.k1 - o->d.k0) * (o->h.k1 - o->h.k0) * (o->w.k1 - o->w.k0);
    const uint32_t zeros = (uint32_t)count * (uint32_t)(p->x_zero + q_flip(p->x_signed));
    q_scale scales[Q_LANES];
    for (int j = 0; j < Q_LANES; j++) scales[j] = scale[count];
    for (int32_t c = 0; c < p->c; c += Q_LANES) {
        const int32_t n = p->c - c < Q_LANES ? p->c - c : Q_LANES;
        uint32_t sum[Q_LANES];
        for (int j = 0; j < Q_LANES; j++) sum[j] = 0u - zeros;
        q_avgpool_sum(p, o, x + c, n, sum);
        q_requant_block(sum, scales, (q_out){p->y_zero, p->lo, p->hi}, y + c, n);
    }
}

KERNEL_RUN void q_avgpool(const q_pool_p *restrict p, const void *restrict x,
                      const q_scale *restrict scale, void *restrict y)
{
    const uint8_t *in = (const uint8_t *)x;
    uint8_t *to = (uint8_t *)y;
    for (int32_t n = 0; n < p->n; n++, in += (ptrdiff_t)p->id * p->ih * p->iw * p->c)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, to += p->c) {
                    const q_window o = q_pool_window(p, d, h, w);
                    q_avgpool_one(p, &o, in, scale, to);
                }
}

#endif
