/* kernels/q_softmax.h - softmax of 8-bit values by a table of exponentials, exact in integers.
 *
 * y = S(round half even(inverse * e / sum) + y_zero), e = table[greatest - x].
 */
#ifndef KERNELS_Q_SOFTMAX_H
#define KERNELS_Q_SOFTMAX_H

#include "q_bytes.h"

/* One run of `count` elements, `inner` apart. */
KERNEL void q_softmax_run(const q_softmax_p *restrict p, const uint8_t *restrict x,
                          const uint32_t *restrict table, uint8_t *restrict y)
{
    const uint8_t flip = q_flip(p->x_signed);
    uint8_t most = 0;
    uint64_t sum = 0;
    for (ptrdiff_t i = 0; i < p->count; i++) {
        const uint8_t v = x[i * p->inner] ^ flip;
        most = v > most ? v : most;
    }
    for (ptrdiff_t i = 0; i < p->count; i++) sum += table[most - (x[i * p->inner] ^ flip)];
    for (ptrdiff_t i = 0; i < p->count; i++) {
        const uint64_t e = (uint64_t)table[most - (x[i * p->inner] ^ flip)] * (uint64_t)p->inverse;
        uint64_t q = e / sum;
        const uint64_t twice = (e - q * sum) * 2;
        q += twice > sum || (twice == sum && (q & 1));
        y[i * p->inner] = (uint8_t)((q < (uint64_t)p->most ? (int32_t)q : p->most) + p->y_zero);
    }
}

KERNEL_RUN void q_softmax(const q_softmax_p *restrict p, const void *restrict x,
                          const uint32_t *restrict table, void *restrict y)
{
    const ptrdiff_t step = (ptrdiff_t)p->count * p->inner;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < p->inner; i++)
            q_softmax_run(p, (const uint8_t *)x + o * step + i, table, (uint8_t *)y + o * step + i);
}

#endif
