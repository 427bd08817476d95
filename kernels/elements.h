/* kernels/elements.h - elements of any type, loaded and stored as integers of 64 bits or as
 * doubles.
 *
 * A bool is 0 or 1. Float16 and bfloat16 are rounded to the nearest, halves to even.
 */
#ifndef KERNELS_ELEMENTS_H
#define KERNELS_ELEMENTS_H

#include <math.h>
#include <string.h>
#include "common.h"

enum { /* types: ONNX's numbers */
       A_FLOAT = 1,
       A_UINT8,
       A_INT8,
       A_UINT16,
       A_INT16,
       A_INT32,
       A_INT64,
       A_BOOL = 9,
       A_FLOAT16,
       A_DOUBLE,
       A_UINT32,
       A_UINT64,
       A_BFLOAT16 = 16
};

KERNEL int32_t arith_is_real(int32_t type)
{
    return type == A_FLOAT || type == A_FLOAT16 || type == A_DOUBLE || type == A_BFLOAT16;
}

KERNEL int32_t arith_is_signed(int32_t type)
{
    return type == A_INT8 || type == A_INT16 || type == A_INT32 || type == A_INT64;
}

/* ---- float16 and bfloat16 -------------------------------------------------------------------- */

KERNEL double arith_from_half(uint16_t h)
{
    const uint32_t exponent = h >> 10 & 31u, mantissa = h & 1023u;
    double x = (double)mantissa * 0x1p-24; /* subnormal */
    if (exponent == 31) {
        x = mantissa ? NAN : INFINITY;
    } else if (exponent) {
        const uint64_t bits = (uint64_t)(exponent + 1008) << 52 | (uint64_t)mantissa << 42;
        memcpy(&x, &bits, sizeof x);
    }
    return h >> 15 ? -x : x;
}

/* Rounded to the nearest, halves to even. */
KERNEL uint16_t arith_to_half(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = (uint32_t)(bits >> 48) & 0x8000u;
    const double ax = x < 0.0 ? -x : x;
    uint32_t h = 0x7e00u;
    bits &= UINT64_MAX >> 1;
    if (ax >= 65520.0) {
        h = 0x7c00u;
    } else if (ax < 0x1p-14) { /* subnormal */
        h = (uint32_t)(ax * 0x1p24);
        const double rest = ax * 0x1p24 - (double)h;
        h += rest > 0.5 || (rest == 0.5 && (h & 1));
    } else if (ax == ax) {
        bits += (((uint64_t)1 << 41) - 1) + (bits >> 42 & 1);
        h = (uint32_t)(bits >> 42) - (1008u << 10);
    }
    return (uint16_t)(ax == ax ? sign | h : h); /* one NaN, whatever the machine's is */
}

KERNEL double arith_from_bfloat(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

/* Rounded to float, then to the nearest, halves to even. */
KERNEL uint16_t arith_to_bfloat(double x)
{
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return x == x ? (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16) : 0x7fc0u;
}

/* ---- loading and storing --------------------------------------------------------------------- */

#define A_EACH(expression)                                                                         \
    for (int32_t j = 0; j < n; j++) expression;                                                    \
    break
#define A_AT(type) ((const type *)x)[at + j * step]

/* n integers from element `at` on, `step` apart, signed ones as two's complement. */
KERNEL void arith_load_integers(uint64_t v[F_CHUNK], int32_t type, const void *x, ptrdiff_t at,
                                ptrdiff_t step, int32_t n)
{
    switch (type) {
    case A_BOOL: A_EACH(v[j] = A_AT(uint8_t) != 0);
    case A_UINT8: A_EACH(v[j] = A_AT(uint8_t));
    case A_INT8: A_EACH(v[j] = (uint64_t)A_AT(int8_t));
    case A_UINT16: A_EACH(v[j] = A_AT(uint16_t));
    case A_INT16: A_EACH(v[j] = (uint64_t)A_AT(int16_t));
    case A_INT32: A_EACH(v[j] = (uint64_t)A_AT(int32_t));
    case A_UINT32: A_EACH(v[j] = A_AT(uint32_t));
    case A_INT64: A_EACH(v[j] = (uint64_t)A_AT(int64_t));
    default: A_EACH(v[j] = A_AT(uint64_t));
    }
}

/* n elements of any type. */
KERNEL void arith_load_reals(double v[F_CHUNK], int32_t type, const void *x, ptrdiff_t at,
                             ptrdiff_t step, int32_t n)
{
    uint64_t u[F_CHUNK];
    switch (type) {
    case A_FLOAT: A_EACH(v[j] = (double)A_AT(float));
    case A_DOUBLE: A_EACH(v[j] = A_AT(double));
    case A_FLOAT16: A_EACH(v[j] = arith_from_half(A_AT(uint16_t)));
    case A_BFLOAT16: A_EACH(v[j] = arith_from_bfloat(A_AT(uint16_t)));
    default:
        arith_load_integers(u, type, x, at, step, n);
        A_EACH(v[j] = arith_is_signed(type) ? (double)(int64_t)u[j] : (double)u[j]);
    }
}

KERNEL void arith_store_integers(const uint64_t v[F_CHUNK], int32_t type, void *y, ptrdiff_t at,
                                 int32_t n)
{
    switch (type) {
    case A_BOOL: A_EACH(((uint8_t *)y)[at + j] = v[j] != 0);
    case A_UINT8:
    case A_INT8: A_EACH(((uint8_t *)y)[at + j] = (uint8_t)v[j]);
    case A_UINT16:
    case A_INT16: A_EACH(((uint16_t *)y)[at + j] = (uint16_t)v[j]);
    case A_UINT32:
    case A_INT32: A_EACH(((uint32_t *)y)[at + j] = (uint32_t)v[j]);
    default: A_EACH(((uint64_t *)y)[at + j] = v[j]);
    }
}

KERNEL void arith_store_reals(const double v[F_CHUNK], int32_t type, void *y, ptrdiff_t at,
                              int32_t n)
{
    switch (type) {
    case A_FLOAT: A_EACH(((float *)y)[at + j] = (float)v[j]);
    case A_DOUBLE: A_EACH(((double *)y)[at + j] = v[j]);
    case A_BFLOAT16: A_EACH(((uint16_t *)y)[at + j] = arith_to_bfloat(v[j]));
    default: A_EACH(((uint16_t *)y)[at + j] = arith_to_half(v[j]));
    }
}

#undef A_EACH
#undef A_AT

#endif
