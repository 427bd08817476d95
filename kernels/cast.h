/* kernels/cast.h - elements of one type made elements of another.
 *
 * Integers are cut to the bits of the narrower type. Floats are cut off towards 0, and what does
 * not fit becomes what ONNX Runtime's code gives on x86-64: the least number of 32 bits, or of 64,
 * of which narrower types have the lower bits. Integers of fewer than 8 bits are rounded, halves
 * away from 0, as they are there, too. All but 0 is true, NaN too. Floats of 16 bits and fewer are
 * rounded from float.
 */
#ifndef KERNELS_CAST_H
#define KERNELS_CAST_H

#include "tiny.h"

typedef struct cast_p {
    int32_t count;    /* elements */
    int32_t from, to; /* types: A_FLOAT ..., elements of fewer than 8 bits having a byte each */
    int32_t saturate; /* to floats of 8 bits: what is too large becomes the largest one */
    int32_t round;    /* to E8M0: TINY_UP ... */
} cast_p;             /* cast(p, x, y) */

#ifndef USES_cast_from
#define USES_cast_from(type) 1
#endif
#ifndef USES_cast_to
#define USES_cast_to(type) 1
#endif
#define CAST_TINY(uses)                                                                            \
    (uses(A_E4M3FN) || uses(A_E4M3FNUZ) || uses(A_E5M2) || uses(A_E5M2FNUZ) || uses(A_E2M1) ||     \
     uses(A_E8M0) || uses(A_E2M3) || uses(A_E3M2))

/* x cut off, INT64_MIN where that does not fit: the bits. */
KERNEL uint64_t cast_to_64(double x)
{
    return x >= -0x1p63 && x < 0x1p63 ? (uint64_t)(int64_t)x : (uint64_t)1 << 63;
}

/* The same of 32 bits. */
KERNEL uint64_t cast_to_32(double x)
{
    return x > -0x1p31 - 1.0 && x < 0x1p31 ? (uint64_t)(int64_t)(int32_t)x
                                           : (uint64_t)(int64_t)INT32_MIN;
}

KERNEL uint64_t cast_to_unsigned(double x)
{
    return x >= 0x1p63 ? cast_to_64(x - 0x1p63) ^ (uint64_t)1 << 63 : cast_to_64(x);
}

/* Rounded, halves away from 0. */
KERNEL double cast_rounded(double x)
{
    return x >= -0x1p31 && x <= 0x1p31 ? (double)(int64_t)(x < 0.0 ? x - 0.5 : x + 0.5) : x;
}

/* u = v as integers of type `to`. */
KERNEL void cast_cut_off(int32_t to, int32_t n, uint64_t u[F_CHUNK], const double v[F_CHUNK])
{
    if (to == A_BOOL)
        for (int32_t j = 0; j < n; j++) u[j] = v[j] != 0.0;
    else if (to == A_UINT64)
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_unsigned(v[j]);
    else if (tiny_bits(to))
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_32(cast_rounded(v[j]));
    else if (to == A_INT64 || to == A_UINT32)
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_64(v[j]);
    else
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_32(v[j]);
}

/* v = u, rounded as type `to` is: once where it is float, before it is rounded otherwise. */
KERNEL void cast_to_real(int32_t from, int32_t to, int32_t n, double v[F_CHUNK],
                         const uint64_t u[F_CHUNK])
{
    if (arith_is_signed(from) && to == A_DOUBLE)
        for (int32_t j = 0; j < n; j++) v[j] = (double)(int64_t)u[j];
    else if (arith_is_signed(from))
        for (int32_t j = 0; j < n; j++) v[j] = (double)(float)(int64_t)u[j];
    else if (to == A_DOUBLE)
        for (int32_t j = 0; j < n; j++) v[j] = (double)u[j];
    else
        for (int32_t j = 0; j < n; j++) v[j] = (double)(float)u[j];
}

/* n elements from element `at` on. */
KERNEL void cast_load_reals(const cast_p *restrict p, double v[F_CHUNK], const void *x,
                            ptrdiff_t at, int32_t n)
{
    if (CAST_TINY(USES_cast_from) && tiny_is_real(p->from))
        for (int32_t j = 0; j < n; j++) v[j] = tiny_to_real(p->from, ((const uint8_t *)x)[at + j]);
    else
        arith_load_reals(v, p->from, x, at, 1, n);
}

KERNEL void cast_store_reals(const cast_p *restrict p, const double v[F_CHUNK], void *y,
                             ptrdiff_t at, int32_t n)
{
    if (CAST_TINY(USES_cast_to) && tiny_is_real(p->to))
        for (int32_t j = 0; j < n; j++)
            ((uint8_t *)y)[at + j] = (uint8_t)tiny_from_real(p->to, v[j], p->saturate, p->round);
    else
        arith_store_reals(v, p->to, y, at, n);
}

KERNEL_RUN void cast(const cast_p *restrict p, const void *restrict x, void *restrict y)
{
    const int32_t from_real = arith_is_real(p->from) || tiny_is_real(p->from);
    const int32_t to_real = arith_is_real(p->to) || tiny_is_real(p->to);
    const int32_t from = tiny_byte(p->from), to = tiny_byte(p->to), bits = tiny_bits(p->to);
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        uint64_t u[F_CHUNK];
        double v[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        if (from_real) cast_load_reals(p, v, x, i, n);
        else arith_load_integers(u, from, x, i, 1, n);
        if (from_real && !to_real) cast_cut_off(p->to, n, u, v);
        if (to_real && !from_real) cast_to_real(from, to, n, v, u);
        if (to_real && from_real && to != A_DOUBLE)
            for (int32_t j = 0; j < n; j++) v[j] = (double)(float)v[j];
        if (bits)
            for (int32_t j = 0; j < n; j++) u[j] = tiny_integer(p->to, u[j]);
        if (to_real) cast_store_reals(p, v, y, i, n);
        else arith_store_integers(u, to, y, i, n);
    }
}

#undef CAST_TINY
#undef USES_cast_from
#undef USES_cast_to

#endif
