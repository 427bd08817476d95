/* kernels/cast.h - elements of one type made elements of another.
 *
 * Integers are cut to the bits of the narrower type. Floats are cut off towards 0, and what does
 * not fit becomes what ONNX Runtime's code gives on x86-64: the least number of 32 bits, or of 64,
 * of which narrower types have the lower bits. All but 0 is true, NaN too. Float16 and bfloat16
 * are rounded from float.
 */
#ifndef KERNELS_CAST_H
#define KERNELS_CAST_H

#include "elements.h"

typedef struct cast_p {
    int32_t count;    /* elements */
    int32_t from, to; /* types: A_FLOAT ... */
} cast_p;             /* cast(p, x, y) */

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

/* u = v as integers of type `to`. */
KERNEL void cast_cut_off(int32_t to, int32_t n, uint64_t u[F_CHUNK], const double v[F_CHUNK])
{
    if (to == A_BOOL)
        for (int32_t j = 0; j < n; j++) u[j] = v[j] != 0.0;
    else if (to == A_UINT64)
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_unsigned(v[j]);
    else if (to == A_INT64 || to == A_UINT32)
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_64(v[j]);
    else
        for (int32_t j = 0; j < n; j++) u[j] = cast_to_32(v[j]);
}

/* v = u, rounded as type `to` is: once where it is float, before it is rounded otherwise. */
KERNEL void cast_to_real(const cast_p *restrict p, int32_t n, double v[F_CHUNK],
                         const uint64_t u[F_CHUNK])
{
    if (arith_is_signed(p->from) && p->to == A_DOUBLE)
        for (int32_t j = 0; j < n; j++) v[j] = (double)(int64_t)u[j];
    else if (arith_is_signed(p->from))
        for (int32_t j = 0; j < n; j++) v[j] = (double)(float)(int64_t)u[j];
    else if (p->to == A_DOUBLE)
        for (int32_t j = 0; j < n; j++) v[j] = (double)u[j];
    else
        for (int32_t j = 0; j < n; j++) v[j] = (double)(float)u[j];
}

KERNEL_RUN void cast(const cast_p *restrict p, const void *restrict x, void *restrict y)
{
    const int32_t from_real = arith_is_real(p->from), to_real = arith_is_real(p->to);
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        uint64_t u[F_CHUNK];
        double v[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        if (from_real) arith_load_reals(v, p->from, x, i, 1, n);
        else arith_load_integers(u, p->from, x, i, 1, n);
        if (from_real && !to_real) cast_cut_off(p->to, n, u, v);
        if (to_real && !from_real) cast_to_real(p, n, v, u);
        if (to_real && from_real && p->to != A_DOUBLE)
            for (int32_t j = 0; j < n; j++) v[j] = (double)(float)v[j];
        if (to_real) arith_store_reals(v, p->to, y, i, n);
        else arith_store_integers(u, p->to, y, i, n);
    }
}

#endif
