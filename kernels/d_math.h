/* kernels/d_math.h - square root, exp and log of doubles, the same on every machine.
 */
#ifndef KERNELS_D_MATH_H
#define KERNELS_D_MATH_H

#include <math.h>
#include <string.h>
#include "common.h"

KERNEL uint64_t d_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

KERNEL double d_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* 2^n, n in -1022..1023. */
KERNEL double d_exp2i(int32_t n) { return d_from_bits((uint64_t)(n + 1023) << 52); }

/* The exponent of a positive finite number, whose mantissa is m in 1 <= m < 2. */
KERNEL int32_t d_split(double x, double *m)
{
    const int32_t tiny = x < 0x1p-1022;
    const uint64_t u = d_bits(tiny ? x * 0x1p54 : x);
    *m = d_from_bits((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    return (int32_t)(u >> 52) - 1023 - (tiny ? 54 : 0);
}

/* The square root, correctly rounded: by an instruction where compilers are trusted to use it (see
 * f_sqrt), else one bit after the other. */
KERNEL double d_sqrt(double x)
{
    if (!(x > 0.0 && x < INFINITY)) return x < 0.0 ? NAN : x;
#if defined(__NO_MATH_ERRNO__) && (defined(__SSE2__) || defined(__aarch64__))
    return sqrt(x);
#else
    double m;
    const int32_t e = d_split(x, &m), odd = e & 1;
    /* x = n * 2^(e - odd - 52), n an integer of 53 or 54 bits; the root of n * 2^54 has 54 */
    const uint64_t n = (uint64_t)(m * 0x1p52) << odd;
    uint64_t root = 0, rest = 0;
    for (int i = 0; i < 54; i++) {
        const uint64_t two = i < 27 ? n >> (52 - 2 * i) & 3u : 0, next = root << 2 | 1u;
        rest = rest << 2 | two;
        root <<= 1;
        if (rest < next) continue;
        rest -= next;
        root |= 1u;
    }
    return (double)((root + 1) >> 1) * 0x1p-52 * d_exp2i((e - odd) / 2);
#endif
}

/* e^x; 2 ulp. x = n ln(2) + r, ln(2) in two parts of which n times the first is exact. */
KERNEL double d_exp(double x)
{
    if (!(x < 710.0)) return x != x ? x : INFINITY;
    if (x < -746.0) return 0.0;
    const int32_t n = (int32_t)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5)), half = n / 2;
    const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double q = 1.0;
    for (int i = 14; i > 1; i--) q = 1.0 + q * r / i;
    return (1.0 + r * q) * d_exp2i(half) * d_exp2i(n - half);
}

/* ln(x); 2 ulp. x = 2^k m, sqrt(1/2) <= m < sqrt(2), and ln(m) = 2 artanh((m - 1) / (m + 1)). */
KERNEL double d_log(double x)
{
    if (!(x > 0.0 && x < INFINITY)) return x < 0.0 ? NAN : x == 0.0 ? -INFINITY : x;
    double m;
    int32_t k = d_split(x, &m);
    if (m > 1.4142135623730951) m *= 0.5, k++;
    const double f = m - 1.0, s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    double q = 2.0 / 27.0;
    for (int i = 25; i > 1; i -= 2) q = q * z + 2.0 / i;
    return k * 0x1.62e42feep-1 - ((half - (s * (half + z * q) + k * 0x1.a39ef35793c76p-33)) - f);
}

#endif
