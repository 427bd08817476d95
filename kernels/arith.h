/* kernels/arith.h - element by element arithmetic of two tensors that broadcast, of any type.
 *
 * Integers wrap around, x / 0 is 0, division goes towards 0; they are worked on in 64 bits. Float16
 * and float are worked on in double and rounded once. Min and Max pass NaN on. A power with a whole
 * exponent is a product; an integer one that is no integer is cut off.
 */
#ifndef KERNELS_ARITH_H
#define KERNELS_ARITH_H

#include <string.h>
#include "f_binary.h"

enum { /* types: ONNX's numbers */
       A_FLOAT = 1,
       A_UINT8,
       A_INT8,
       A_UINT16,
       A_INT16,
       A_INT32,
       A_INT64,
       A_FLOAT16 = 10,
       A_DOUBLE,
       A_UINT32,
       A_UINT64
};

typedef struct arith_p {
    int32_t op;                     /* F_ADD ... */
    int32_t type;                   /* of a and y: A_FLOAT ... */
    int32_t btype;                  /* of b: the same, but for F_POW, which takes any */
    int32_t d0, d1, d2, d3, d4, d5; /* output dims, 1 in front where there are fewer */
    int32_t a0, a1, a2, a3, a4, a5; /* strides of a in elements, 0 where it broadcasts */
    int32_t b0, b1, b2, b3, b4, b5;
} arith_p; /* arith(p, a, b, y) */

KERNEL int32_t arith_is_real(int32_t type)
{
    return type == A_FLOAT || type == A_FLOAT16 || type == A_DOUBLE;
}

KERNEL int32_t arith_is_signed(int32_t type)
{
    return type == A_INT8 || type == A_INT16 || type == A_INT32 || type == A_INT64;
}

/* ---- float16 --------------------------------------------------------------------------------- */

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
    default:
        arith_load_integers(u, type, x, at, step, n);
        A_EACH(v[j] = arith_is_signed(type) ? (double)(int64_t)u[j] : (double)u[j]);
    }
}

KERNEL void arith_store_integers(const uint64_t v[F_CHUNK], int32_t type, void *y, ptrdiff_t at,
                                 int32_t n)
{
    switch (type) {
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
    default: A_EACH(((uint16_t *)y)[at + j] = arith_to_half(v[j]));
    }
}

/* ---- powers ---------------------------------------------------------------------------------- */

KERNEL int32_t arith_is_whole(double x)
{
    return x > -0x1p63 && x < 0x1p63 && (double)(int64_t)x == x;
}

KERNEL double arith_power_reals(double a, double b)
{
    if (!arith_is_whole(b) || b > 0x1p31 || b < -0x1p31) return (double)f_pow((float)a, (float)b);
    double r = 1.0, x = a;
    for (uint64_t k = (uint64_t)(b < 0.0 ? -b : b); k; k >>= 1, x *= x)
        if (k & 1) r *= x;
    return b < 0.0 ? 1.0 / r : r;
}

/* a to the b; `negative`: b is the two's complement of a number below 0. */
KERNEL uint64_t arith_power_integers(uint64_t a, uint64_t b, int32_t is_signed, int32_t negative)
{
    uint64_t r = 1;
    if (negative && a != 1 && !(is_signed && a == UINT64_MAX)) return 0;
    for (; b; b >>= 1, a *= a)
        if (b & 1) r *= a;
    return r;
}

/* A base that is an integer, an exponent that is none; what does not fit 64 bits is 0. The result
 * has the accuracy of a float, and is the integer where it is one within that. */
KERNEL uint64_t arith_power_mixed(uint64_t a, double b, int32_t is_signed)
{
    if (arith_is_whole(b)) return arith_power_integers(a, (uint64_t)(int64_t)b, is_signed, b < 0.0);
    const float x = is_signed ? (float)(int64_t)a : (float)a;
    const double r = (double)f_pow(x, (float)b);
    if (!(r > -0x1p63 && r < 0x1p63)) return 0;
    return (uint64_t)(int64_t)(r + (r < 0.0 ? -r : r) * (r < 0.0 ? -0x1p-22 : 0x1p-22));
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

#define A_RESULT(expression)                                                                       \
    for (int32_t j = 0; j < n; j++) u[j] = (expression);                                           \
    break

KERNEL uint64_t arith_divide(uint64_t a, uint64_t b, int32_t is_signed)
{
    if (!b) return 0;
    if (!is_signed) return a / b;
    if (b == UINT64_MAX) return 0 - a; /* the one quotient that may not fit wraps around */
    return (uint64_t)((int64_t)a / (int64_t)b);
}

/* u = u op v, n elements. */
KERNEL void arith_integers(const arith_p *restrict p, int32_t n, uint64_t u[F_CHUNK],
                           const uint64_t v[F_CHUNK])
{
    const int32_t is_signed = arith_is_signed(p->type), b_signed = arith_is_signed(p->btype);
    const uint64_t top = (uint64_t)is_signed << 63; /* makes signed numbers compare as unsigned */
    switch (p->op) {
    case F_ADD: A_RESULT(u[j] + v[j]);
    case F_SUB: A_RESULT(u[j] - v[j]);
    case F_MUL: A_RESULT(u[j] * v[j]);
    case F_DIV: A_RESULT(arith_divide(u[j], v[j], is_signed));
    case F_MIN: A_RESULT((u[j] ^ top) < (v[j] ^ top) ? u[j] : v[j]);
    case F_MAX: A_RESULT((u[j] ^ top) > (v[j] ^ top) ? u[j] : v[j]);
    default: A_RESULT(arith_power_integers(u[j], v[j], is_signed, b_signed && v[j] >> 63));
    }
}

KERNEL void arith_reals(const arith_p *restrict p, int32_t n, double u[F_CHUNK],
                        const double v[F_CHUNK])
{
    switch (p->op) {
    case F_ADD: A_RESULT(u[j] + v[j]);
    case F_SUB: A_RESULT(u[j] - v[j]);
    case F_MUL: A_RESULT(u[j] * v[j]);
    case F_DIV: A_RESULT(u[j] / v[j]);
    case F_MIN: A_RESULT(u[j] < v[j] || u[j] != u[j] ? u[j] : v[j]);
    case F_MAX: A_RESULT(u[j] > v[j] || u[j] != u[j] ? u[j] : v[j]);
    default: A_RESULT(arith_power_reals(u[j], v[j]));
    }
}

#undef A_EACH
#undef A_AT
#undef A_RESULT

/* A place in an operand: elements `step` apart from element `at` on. */
typedef struct arith_row {
    const void *x;
    ptrdiff_t at, step;
} arith_row;

/* n elements of y from `at` on. */
KERNEL void arith_chunk(const arith_p *restrict p, arith_row a, arith_row b, void *y, ptrdiff_t at,
                        int32_t n)
{
    uint64_t u[F_CHUNK], v[F_CHUNK];
    double r[F_CHUNK], s[F_CHUNK];
    if (arith_is_real(p->type)) {
        arith_load_reals(r, p->type, a.x, a.at, a.step, n);
        arith_load_reals(s, p->btype, b.x, b.at, b.step, n);
        arith_reals(p, n, r, s);
        arith_store_reals(r, p->type, y, at, n);
        return;
    }
    arith_load_integers(u, p->type, a.x, a.at, a.step, n);
    if (arith_is_real(p->btype)) {
        arith_load_reals(s, p->btype, b.x, b.at, b.step, n);
        for (int32_t j = 0; j < n; j++)
            u[j] = arith_power_mixed(u[j], s[j], arith_is_signed(p->type));
    } else {
        arith_load_integers(v, p->btype, b.x, b.at, b.step, n);
        arith_integers(p, n, u, v);
    }
    arith_store_integers(u, p->type, y, at, n);
}

KERNEL_TRAITS(arith, floats)
KERNEL_RUN void arith(const arith_p *restrict p, const void *restrict a, const void *restrict b,
                      void *restrict y)
{
    int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t as[6] = {p->a0, p->a1, p->a2, p->a3, p->a4, p->a5};
    const int32_t bs[6] = {p->b0, p->b1, p->b2, p->b3, p->b4, p->b5};
    const int axes = f_binary_merge(dims, as, bs);
    ptrdiff_t rows = 1;
    for (int i = 0; i < axes; i++) rows *= dims[i];
    for (ptrdiff_t r = 0; r < rows; r++) {
        arith_row ar = {a, 0, as[5]}, br = {b, 0, bs[5]};
        f_binary_row(axes, dims, as, bs, r, &ar.at, &br.at);
        for (ptrdiff_t j = 0; j < dims[5]; j += F_CHUNK) {
            arith_chunk(p, ar, br, y, r * dims[5] + j, f_chunk(j, dims[5]));
            ar.at += F_CHUNK * ar.step;
            br.at += F_CHUNK * br.step;
        }
    }
}

#endif
