/* kernels/q_add.h - the sum of two activations, rescaled: S(rint(v)) of
 * v = fma(a, a_scale, fma(b, b_scale, offset)), float32 fused multiply-adds, as ONNX Runtime has it
 * (scales are sa / sy and sb / sy, offset is y_zero - fma(a_scale, a_zero, b_scale * b_zero)).
 *
 * Where the machine has the instruction, that is what runs. The integer form gives the same: the
 * two roundings to 24 bits matter only near a tie of the exact sum, and are made there alone.
 */
#ifndef KERNELS_Q_ADD_H
#define KERNELS_Q_ADD_H

#include "q_bytes.h"
#include "requant.h"

#if defined(__FP_FAST_FMAF)

KERNEL float q_float(int32_t bits)
{
    union {
        int32_t i;
        float f;
    } v;
    v.i = bits;
    return v.f;
}

/* Chunks of integers -128 .. 255 to y. Adding and taking off 1.5 * 2^23 rounds half to even; there
 * is no product in it that a compiler could contract. */
KERNEL void q_add_chunk(const q_add_p *restrict p, const int16_t a[Q_CHUNK],
                        const int16_t b[Q_CHUNK], uint8_t y[Q_CHUNK])
{
    const float a_scale = q_float(p->a_scale), b_scale = q_float(p->b_scale);
    const float offset = q_float(p->offset), lo = (float)p->lo, hi = (float)p->hi;
    for (int i = 0; i < Q_CHUNK; i++) {
        float v =
            __builtin_fmaf((float)a[i], a_scale, __builtin_fmaf((float)b[i], b_scale, offset));
        v = v < lo ? lo : v;
        v = v > hi ? hi : v;
        v = v + 12582912.0f;
        y[i] = (uint8_t)(int32_t)(v - 12582912.0f);
    }
}

#else

/* A float32 as an integer times 2^-unit. */
KERNEL int64_t q_add_fixed(int32_t bits, int32_t unit)
{
    const int32_t exponent = (int32_t)(((uint32_t)bits >> 23) & 255);
    const int64_t mantissa = ((int64_t)bits & 0x7fffff) | (exponent ? 0x800000 : 0);
    const int32_t shift = (exponent ? exponent : 1) - 150 + unit;
    /* lowering has seen to it that what is shifted out is zero */
    const int64_t v = shift < 0 ? (-shift < 24 ? mantissa >> -shift : 0) : mantissa << shift;
    return bits < 0 ? -v : v;
}

/* As a float32 holds it: to 24 bits, half to even. */
KERNEL int64_t q_add_round(int64_t v)
{
    return v < 0 ? -(int64_t)q_round_24((uint64_t)-v) : (int64_t)q_round_24((uint64_t)v);
}

/* rint(v / 2^unit) of |v| < 2^62. */
KERNEL int32_t q_add_rint(int64_t v, int32_t unit)
{
    const uint64_t m = q_round_shift(v < 0 ? (uint64_t)-v : (uint64_t)v, unit);
    const int32_t r = m > 1024 ? 1024 : (int32_t)m;
    return v < 0 ? -r : r;
}

KERNEL void q_add_chunk(const q_add_p *restrict p, const int16_t a[Q_CHUNK],
                        const int16_t b[Q_CHUNK], uint8_t y[Q_CHUNK])
{
    const int32_t unit = p->unit;
    const int64_t a_scale = q_add_fixed(p->a_scale, unit), b_scale = q_add_fixed(p->b_scale, unit);
    const int64_t offset = q_add_fixed(p->offset, unit), half = (int64_t)1 << (unit - 1);
    for (int i = 0; i < Q_CHUNK; i++) {
        const int64_t inner = b[i] * b_scale + offset, v = a[i] * a_scale + inner;
        const uint64_t m = v < 0 ? (uint64_t)-v : (uint64_t)v;
        const uint64_t near = (m + (inner < 0 ? (uint64_t)-inner : (uint64_t)inner)) >> 22;
        const uint64_t rest = m & (((uint64_t)1 << unit) - 1);
        const uint64_t off = rest < (uint64_t)half ? (uint64_t)half - rest : rest - (uint64_t)half;
        const int64_t exact = off > near ? v : q_add_round(a[i] * a_scale + q_add_round(inner));
        y[i] = (uint8_t)q_clamp(q_add_rint(exact, unit), p->lo, p->hi);
    }
}

#endif

KERNEL_RUN void q_add(const q_add_p *restrict p, const void *a, const void *b, void *y)
{
    const uint8_t *as = (const uint8_t *)a, *bs = (const uint8_t *)b;
    uint8_t *ys = (uint8_t *)y;
    const int16_t af = p->a_signed ? 128 : 0, bf = p->b_signed ? 128 : 0;
    for (int32_t i = 0; i < p->count; i += Q_CHUNK) {
        int16_t ac[Q_CHUNK] = {0}, bc[Q_CHUNK] = {0};
        uint8_t yc[Q_CHUNK];
        const int32_t n = q_chunk(i, p->count);
        for (int32_t j = 0; j < n; j++) ac[j] = (int16_t)((as[i + j] ^ af) - af);
        for (int32_t j = 0; j < n; j++) bc[j] = (int16_t)((bs[i + j] ^ bf) - bf);
        q_add_chunk(p, ac, bc, yc);
        for (int32_t j = 0; j < n; j++) ys[i + j] = yc[j];
    }
}

#endif
