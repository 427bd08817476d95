/* kernels/requant.h - THE rounding rule: y = S(rint((float)sum * scale) + zero), clamped.
 *
 * Both roundings of the float form (int32 to float32, the product to float32) and rint are to
 * nearest, half to even. The integer form gives the same for every sum and every scale; where the
 * instruction set rounds vectors of floats, blocks of channels go that way.
 */
#ifndef KERNELS_REQUANT_H
#define KERNELS_REQUANT_H

#include "q_params.h"
#include "q_vec.h"

#ifdef __FAST_MATH__
#error "requantization needs IEEE arithmetic: compile without -ffast-math"
#endif

/* What becomes of a rounded value: y = value + zero, limited to [lo, hi]. */
typedef struct q_out {
    int32_t zero, lo, hi;
} q_out;

/* The int32_t of that bit pattern. */
KERNEL int32_t q_signed(uint32_t v)
{
    return v <= INT32_MAX ? (int32_t)v : -(int32_t)(UINT32_MAX - v) - 1;
}

KERNEL int32_t q_clamp(int32_t v, int32_t lo, int32_t hi)
{
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
}

/* v / 2^shift to the nearest, half to even; shift >= 1, v < 2^63. */
KERNEL uint64_t q_round_shift(uint64_t v, int32_t shift)
{
    return (v + (((uint64_t)1 << (shift - 1)) - 1) + ((v >> shift) & 1)) >> shift;
}

/* v as a float32 holds it: to 24 bits, half to even. */
KERNEL uint64_t q_round_24(uint64_t v)
{
    int32_t shift = 0;
    while (v >> shift >= (uint64_t)1 << 24) shift++;
    return shift > 0 ? q_round_shift(v, shift) << shift : v;
}

/* rint(magnitude * mantissa / 2^shift) with the two roundings to 24 bits before. */
KERNEL_CALLED uint64_t q_round_twice(uint32_t magnitude, uint32_t mantissa, int32_t shift)
{
    return q_round_shift(q_round_24(q_round_24(magnitude) * mantissa), shift);
}

/* One sum. The two roundings to 24 bits move the exact product by less than 2^-22 of it, so they
 * matter only that near to a tie. */
KERNEL int32_t q_requant(int32_t sum, q_scale scale, q_out out)
{
    const uint32_t mantissa = (scale & 0x7fffff) | 0x800000;
    /* Beyond these bounds the result is saturated or 0 all the same: |sum| * mantissa is 0 or in
     * 2^23 .. 2^55. */
    const int32_t shift = q_clamp(150 - (int32_t)(scale >> 23), 1, 60);
    const uint32_t magnitude = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
    const uint64_t product = (uint64_t)magnitude * mantissa;
    const uint64_t up = product + ((uint64_t)1 << (shift - 1)), near = product >> 22;
    uint64_t v = up >> shift;
    const uint64_t above = up - (v << shift); /* how far above the tie below it */
    if (v >= 1024) v = 1024;
    else if (above <= near || ((uint64_t)1 << shift) - above <= near)
        v = q_round_twice(magnitude, mantissa, shift);
    return q_clamp((sum < 0 ? -(int32_t)v : (int32_t)v) + out.zero, out.lo, out.hi);
}

#if defined(Q_FLOAT_LANES)
/* Stores the first of the bytes. */
KERNEL_CALLED void q_store_some(uint8_t *restrict y, const uint8_t bytes[Q_LANES], int32_t count)
{
    for (int32_t i = 0; i < count; i++) y[i] = bytes[i];
}

/* y[0..count) from sums in registers, of all lanes or Q_ABREAST of them; scale is whole. */
KERNEL void q_requant_lanes(const q_vec sum[Q_ABREAST], const q_scale *restrict scale, q_out out,
                            uint8_t *restrict y, int32_t count)
{
    const float lo = (float)(out.lo - out.zero), hi = (float)(out.hi - out.zero);
    uint8_t bytes[Q_LANES];
    q_vec v[Q_VECS];
#pragma GCC unroll 4
    for (int i = 0; i < Q_VECS; i++)
        v[i] = q_vec_requant(sum[i], scale + i * (Q_LANES / Q_VECS), lo, hi, out.zero);
    if (count >= Q_LANES) {
        q_vec_bytes(y, v);
        return;
    }
    q_vec_bytes(bytes, v);
    q_store_some(y, bytes, count);
}
#else
/* y[0..count) from Q_ABREAST sums. */
KERNEL_CALLED void q_requant_lanes(const q_vec sum[Q_ABREAST], const q_scale *restrict scale,
                                   q_out out, uint8_t *restrict y, int32_t count)
{
    for (int32_t i = 0; i < Q_ABREAST && i < count; i++)
        y[i] = (uint8_t)q_requant(q_signed(sum[i]), scale[i], out);
}
#endif

/* y[0..count) from a block of Q_LANES sums and scales. */
KERNEL void q_requant_block(const uint32_t sum[Q_LANES], const q_scale scale[Q_LANES], q_out out,
                            uint8_t *restrict y, int32_t count)
{
    for (int v = 0; v < Q_VECS; v += Q_ABREAST) {
        const int lane = v * Q_WIDTH;
        q_vec part[Q_ABREAST];
#pragma GCC unroll 4
        for (int i = 0; i < Q_ABREAST; i++) part[i] = q_vec_load(sum + lane + i * Q_WIDTH);
        q_requant_lanes(part, scale + lane, out, y + lane, count - lane);
    }
}

#endif
