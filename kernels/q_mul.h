/* kernels/q_mul.h - the product of two activations, with broadcasting, as ONNX Runtime has it:
 * S(rint((float)((a - a_zero) * (b - b_zero)) * scale + y_zero)), the product with the scale and
 * the sum each rounded to float32. These roundings matter only near a tie of the exact result:
 * there alone they are made, in integers.
 */
#ifndef KERNELS_Q_MUL_H
#define KERNELS_Q_MUL_H

#include "q_bytes.h"
#include "requant.h"

/* The scale, and what one row needs. */
typedef struct q_mul_row {
    int64_t mantissa;
    int32_t shift; /* 1 .. 50: beyond, the result is saturated or y_zero all the
                      same */
    int32_t a_step, b_step, count;
} q_mul_row;

/* With both roundings. */
KERNEL_CALLED int32_t q_mul_twice(const q_mul_p *restrict p, const q_mul_row *row, int32_t a,
                                  int32_t b)
{
    const int64_t product = (int64_t)((a - p->a_zero) * (b - p->b_zero)) * row->mantissa;
    const int64_t rounded = (int64_t)q_round_24((uint64_t)(product < 0 ? -product : product));
    const int64_t sum = (product < 0 ? -rounded : rounded) +
                        (int64_t)(p->y_zero + p->shift) * ((int64_t)1 << row->shift);
    const uint64_t magnitude = q_round_24((uint64_t)(sum < 0 ? -sum : sum));
    const uint64_t r = q_round_shift(magnitude, row->shift);
    const int32_t y = r > 1024 ? 1024 : (int32_t)r;
    return q_clamp((sum < 0 ? -y : y) - p->shift, p->lo, p->hi);
}

/* Whether the result is so near to a tie that the roundings matter. */
KERNEL int32_t q_mul_is_near(const q_mul_p *restrict p, const q_mul_row *row, int32_t a, int32_t b)
{
    const int64_t product = (int64_t)((a - p->a_zero) * (b - p->b_zero)) * row->mantissa;
    const uint64_t unit = (uint64_t)1 << row->shift;
    const uint64_t above = ((uint64_t)product + unit / 2) & (unit - 1);
    const uint64_t near = ((uint64_t)(product < 0 ? -product : product) >> 22) + (unit >> 14);
    return (above <= near) | (unit - above <= near);
}

KERNEL int32_t q_mul_one(const q_mul_p *restrict p, const q_mul_row *row, int32_t a, int32_t b)
{
    const int64_t product = (int64_t)((a - p->a_zero) * (b - p->b_zero)) * row->mantissa;
    const uint64_t half = (uint64_t)1 << (row->shift - 1);
    /* Offset by 2^62, an even number of units, so that all is positive; y_zero's odd part is in the
     * rounding. */
    const int64_t odd = (int64_t)(p->y_zero & 1) * (int64_t)(half * 2);
    const uint64_t v = (uint64_t)(product + odd) + ((uint64_t)1 << 62);
    const uint64_t q = (v + half - 1 + ((v >> row->shift) & 1)) >> row->shift;
    const int64_t y = (int64_t)q - (int64_t)((uint64_t)1 << (62 - row->shift)) + (p->y_zero & ~1);
    return y < p->lo ? p->lo : y > p->hi ? p->hi : (int32_t)y;
}

/* One row, by chunks in buffers: the loops there know nothing of steps and types. */
KERNEL void q_mul_line(const q_mul_p *restrict p, const q_mul_row *row, const uint8_t *a,
                       const uint8_t *b, uint8_t *y)
{
    const uint8_t af = q_flip(p->a_signed), bf = q_flip(p->b_signed);
    for (int32_t at = 0; at < row->count; at += Q_CHUNK) {
        int16_t ac[Q_CHUNK] = {0}, bc[Q_CHUNK] = {0};
        uint8_t yc[Q_CHUNK];
        const int32_t n = q_chunk(at, row->count);
        for (int32_t i = 0; i < n; i++) {
            ac[i] = (int16_t)((a[(ptrdiff_t)(at + i) * row->a_step] ^ af) - af);
            bc[i] = (int16_t)((b[(ptrdiff_t)(at + i) * row->b_step] ^ bf) - bf);
        }
        int32_t near = 0;
        for (int i = 0; i < Q_CHUNK; i++) yc[i] = (uint8_t)q_mul_one(p, row, ac[i], bc[i]);
        for (int i = 0; i < Q_CHUNK; i++) near |= q_mul_is_near(p, row, ac[i], bc[i]);
        for (int32_t i = 0; near && i < n; i++)
            if (q_mul_is_near(p, row, ac[i], bc[i]))
                yc[i] = (uint8_t)q_mul_twice(p, row, ac[i], bc[i]);
        for (int32_t i = 0; i < n; i++) y[at + i] = yc[i];
    }
}

/* Whether y may be operand i: it has the very elements of y in order. */
static inline int q_mul_in_place(const q_mul_p *p, int i)
{
    return strides_in_order(&p->d0, i ? &p->b0 : &p->a0);
}

KERNEL_RUN void q_mul(const q_mul_p *restrict p, const void *a, const void *b, void *y)
{
    const int32_t shift = 150 - (p->scale >> 23);
    const q_mul_row row = {(p->scale & 0x7fffff) | 0x800000,
                           shift < 1    ? 1
                           : shift > 50 ? 50
                                        : shift,
                           p->a5, p->b5, p->d5};
    uint8_t *to = (uint8_t *)y;
    for (int32_t i0 = 0; i0 < p->d0; i0++)
        for (int32_t i1 = 0; i1 < p->d1; i1++)
            for (int32_t i2 = 0; i2 < p->d2; i2++)
                for (int32_t i3 = 0; i3 < p->d3; i3++)
                    for (int32_t i4 = 0; i4 < p->d4; i4++, to += p->d5) {
                        const ptrdiff_t at = (ptrdiff_t)i0 * p->a0 + (ptrdiff_t)i1 * p->a1 +
                                             (ptrdiff_t)i2 * p->a2 + (ptrdiff_t)i3 * p->a3 +
                                             (ptrdiff_t)i4 * p->a4;
                        const ptrdiff_t bt = (ptrdiff_t)i0 * p->b0 + (ptrdiff_t)i1 * p->b1 +
                                             (ptrdiff_t)i2 * p->b2 + (ptrdiff_t)i3 * p->b3 +
                                             (ptrdiff_t)i4 * p->b4;
                        q_mul_line(p, &row, (const uint8_t *)a + at, (const uint8_t *)b + bt, to);
                    }
}

#endif
