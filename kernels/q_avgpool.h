/* kernels/q_avgpool.h - the mean of each window, as ONNX Runtime has it.
 *
 * A window that is the whole input: its sum is requantized. Any other: its elements become
 * float32s, and y = S(rint(sum / count / y_scale + y_zero)), every step rounded to float32, the
 * zero point added before the last. These roundings matter only near a tie of the exact mean: there
 * alone they are made, in integers.
 */
#ifndef KERNELS_Q_AVGPOOL_H
#define KERNELS_Q_AVGPOOL_H

#include "q_pool.h"
#include "requant.h"

/* Bits behind the point of a mean: while it is seen whether it is near a tie, and beyond that. */
enum { Q_MEAN_BITS = 20, Q_MEAN_EXACT_BITS = 30 };

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

/* A positive float32, mantissa * 2^exponent, the mantissa in [2^23, 2^24). */
typedef struct q_number {
    uint64_t mantissa;
    int32_t exponent;
} q_number;

/* v * 2^exponent; v is not 0 and fits in 24 bits but for zeros at its end. */
KERNEL q_number q_number_of(uint64_t v, int32_t exponent)
{
    while (v >> 24) v >>= 1, exponent++;
    while (!(v >> 23)) v <<= 1, exponent--;
    return (q_number){v, exponent};
}

/* a / b as a float32 holds it; b < 2^24. What is left over counts as one bit far behind. */
KERNEL q_number q_number_divide(q_number a, uint64_t b)
{
    const uint64_t wide = a.mantissa << 40, quotient = wide / b;
    return q_number_of(q_round_24(quotient | (quotient * b != wide)), a.exponent - 40);
}

/* The float32 that is the sum of a window's elements in their order, in units of the last bit of
 * the input's scale. */
KERNEL int64_t q_avgpool_float_sum(const q_pool_p *restrict p, const q_window *o,
                                   const uint8_t *restrict x)
{
    const uint8_t flip = q_flip(p->x_signed);
    const int32_t zero = p->x_zero + flip;
    const uint32_t scale = ((uint32_t)p->x_scale & 0x7fffff) | 0x800000;
    int64_t sum = 0;
    for (int32_t d = o->d.k0; d < o->d.k1; d++)
        for (int32_t h = o->h.k0; h < o->h.k1; h++)
            for (int32_t w = o->w.k0; w < o->w.k1; w++) {
                const int32_t v = (x[q_pool_at(p, o, d, h, w)] ^ flip) - zero;
                const uint64_t each = q_round_24((uint64_t)scale * (uint32_t)(v < 0 ? -v : v));
                sum += v < 0 ? -(int64_t)each : (int64_t)each;
                const uint64_t rounded = q_round_24((uint64_t)(sum < 0 ? -sum : sum));
                sum = sum < 0 ? -(int64_t)rounded : (int64_t)rounded;
            }
    return sum;
}

/* The mean of `count` elements with all the roundings; below 2^11 steps of y. */
KERNEL_CALLED int32_t q_avgpool_exact(const q_pool_p *restrict p, const q_window *o,
                                      const uint8_t *restrict x, int32_t count)
{
    const int64_t sum = q_avgpool_float_sum(p, o, x);
    int64_t fixed = 0; /* the mean in steps, times 2^Q_MEAN_EXACT_BITS */
    if (sum) {
        q_number mean = q_number_of((uint64_t)(sum < 0 ? -sum : sum), p->x_scale >> 23);
        mean = q_number_divide(mean, (uint64_t)count);
        mean = q_number_divide(mean, ((uint32_t)p->y_scale & 0x7fffff) | 0x800000);
        const int32_t shift = q_clamp(mean.exponent - (p->y_scale >> 23) + Q_MEAN_EXACT_BITS, -40,
                                      30);
        const uint64_t cut = shift < 0 ? mean.mantissa >> -shift : mean.mantissa << shift;
        const uint64_t rest = shift < 0 && cut << -shift != mean.mantissa;
        fixed = (int64_t)(cut | rest);
        if (sum < 0) fixed = -fixed;
    }
    fixed += (int64_t)(p->y_zero + p->shift) * ((int64_t)1 << Q_MEAN_EXACT_BITS);
    const uint64_t magnitude = q_round_24((uint64_t)(fixed < 0 ? -fixed : fixed));
    const int32_t r = (int32_t)q_round_shift(magnitude, Q_MEAN_EXACT_BITS);
    return q_clamp((fixed < 0 ? -r : r) - p->shift, p->lo, p->hi);
}

/* The mean of a window whose sum is known; x is at its channel. */
KERNEL int32_t q_avgpool_mean(const q_pool_p *restrict p, const q_window *o,
                              const uint8_t *restrict x, int32_t sum, q_scale scale, int32_t count)
{
    const uint32_t magnitude = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
    const uint64_t product = (uint64_t)magnitude * ((scale & 0x7fffff) | 0x800000);
    const int32_t shift = q_clamp(150 - (int32_t)(scale >> 23), 1, 60);
    if (product >> shift >= 1024) return sum < 0 ? p->lo : p->hi;
    const uint64_t fixed = shift > Q_MEAN_BITS ? product >> (shift - Q_MEAN_BITS)
                                               : product << (Q_MEAN_BITS - shift);
    const int32_t up = (int32_t)fixed + (1 << (Q_MEAN_BITS - 1));
    const int32_t above = up & ((1 << Q_MEAN_BITS) - 1); /* how far above the tie below it */
    if (above < p->near || above > (1 << Q_MEAN_BITS) - p->near)
        return q_avgpool_exact(p, o, x, count);
    const int32_t r = up >> Q_MEAN_BITS;
    return q_clamp((sum < 0 ? -r : r) + p->y_zero, p->lo, p->hi);
}

/* All channels of an output. */
KERNEL void q_avgpool_one(const q_pool_p *restrict p, const q_window *o, const uint8_t *restrict x,
                          const q_scale *restrict scale, uint8_t *restrict y)
{
    const int32_t count = (o->d.k1 - o->d.k0) * (o->h.k1 - o->h.k0) * (o->w.k1 - o->w.k0);
    const uint32_t zeros = (uint32_t)count * (uint32_t)(p->x_zero + q_flip(p->x_signed));
    const int32_t counted = p->whole ? p->kd * p->kh * p->kw : count;
    q_scale scales[Q_LANES];
    for (int j = 0; j < Q_LANES; j++) scales[j] = scale[count];
    for (int32_t c = 0; c < p->c; c += Q_LANES) {
        const int32_t n = p->c - c < Q_LANES ? p->c - c : Q_LANES;
        uint32_t sum[Q_LANES];
        for (int j = 0; j < Q_LANES; j++) sum[j] = 0u - zeros;
        q_avgpool_sum(p, o, x + c, n, sum);
        if (p->near)
            for (int32_t j = 0; j < n; j++)
                y[c + j] = (uint8_t)q_avgpool_mean(p, o, x + c + j, q_signed(sum[j]), scales[0],
                                                   counted);
        else q_requant_block(sum, scales, (q_out){p->y_zero, p->lo, p->hi}, y + c, n);
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
