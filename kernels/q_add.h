/* kernels/q_add.h - the sum of two activations, rescaled: exact in integers, rounded once.
 *
 * S(rint(((a - a_zero) * a_mul + (b - b_zero) * b_mul) / 2^shift + y_zero)), half to even. All fits
 * 32 bits: multipliers are below 2^21. Only whether y_zero is odd matters to the rounding.
 */
#ifndef KERNELS_Q_ADD_H
#define KERNELS_Q_ADD_H

#include "q_bytes.h"

/* a and b to y, n <= Q_CHUNK uint8 forms; `base` is what the sum starts from. */
KERNEL void q_add_chunk(const q_add_p *restrict p, uint32_t base, const uint8_t a[Q_CHUNK],
                        const uint8_t b[Q_CHUNK], uint8_t y[Q_CHUNK])
{
    const uint32_t half = ((uint32_t)1 << (p->shift - 1)) - 1;
    /* base holds 2^31, and the odd part of y_zero. */
    const int32_t back = (p->y_zero & ~1) - (int32_t)((uint32_t)1 << (31 - p->shift));
    const int32_t a_mul = p->a_mul, b_mul = p->b_mul, shift = p->shift, lo = p->lo, hi = p->hi;
    for (int i = 0; i < Q_CHUNK; i++) {
        const uint32_t v = base + (uint32_t)(a[i] * a_mul) + (uint32_t)(b[i] * b_mul);
        int32_t q = (int32_t)((v + half + ((v >> shift) & 1)) >> shift) + back;
        q = q < lo ? lo : q;
        q = q > hi ? hi : q;
        y[i] = (uint8_t)q;
    }
}

KERNEL void q_add(const q_add_p *restrict p, const void *a, const void *b, void *y)
{
    const uint8_t *as = (const uint8_t *)a, *bs = (const uint8_t *)b;
    uint8_t *ys = (uint8_t *)y;
    const uint8_t af = q_flip(p->a_signed), bf = q_flip(p->b_signed);
    const uint32_t base = ((uint32_t)1 << 31) + ((uint32_t)(p->y_zero & 1) << p->shift) -
                          (uint32_t)((p->a_zero + af) * p->a_mul) -
                          (uint32_t)((p->b_zero + bf) * p->b_mul);
    for (int32_t i = 0; i < p->count; i += Q_CHUNK) {
        uint8_t ac[Q_CHUNK] = {0}, bc[Q_CHUNK] = {0}, yc[Q_CHUNK];
        const int32_t n = q_chunk(i, p->count);
        for (int32_t j = 0; j < n; j++) ac[j] = as[i + j] ^ af;
        for (int32_t j = 0; j < n; j++) bc[j] = bs[i + j] ^ bf;
        q_add_chunk(p, base, ac, bc, yc);
        for (int32_t j = 0; j < n; j++) ys[i + j] = yc[j];
    }
}

#endif
