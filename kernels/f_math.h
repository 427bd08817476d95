/* kernels/f_math.h - exp, log, tanh, erf, pow and rounding of floats, the same on every machine.
 *
 * Written without branches where they run over arrays, so that compilers vectorize them. The
 * polynomials are minimax fits made for these intervals. Errors are given in units in the last
 * place (ulp), rounded up from the largest seen in sweeps over all floats; NaN gives NaN.
 */
#ifndef KERNELS_F_MATH_H
#define KERNELS_F_MATH_H

#include <math.h>
#include <string.h>
#include "common.h"

KERNEL uint32_t f_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

KERNEL float f_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* `which` ? a : b, by masks: compilers turn the conditional into a branch, and then do not
 * vectorize. `which` is 0 or 1. */
KERNEL float f_select(int32_t which, float a, float b)
{
    const uint32_t mask = 0u - (uint32_t)which;
    return f_from_bits((f_bits(a) & mask) | (f_bits(b) & ~mask));
}

/* v limited to [0, 1]; NaN gives 0. */
KERNEL float f_unit(float v)
{
    const float low = f_select(v > 0.0f, v, 0.0f);
    return f_select(low < 1.0f, low, 1.0f);
}

/* 2^n, n in -126..127. */
KERNEL float f_exp2i(int32_t n) { return f_from_bits((uint32_t)(n + 127) << 23); }

KERNEL float f_abs(float x) { return f_from_bits(f_bits(x) & 0x7fffffffu); }

/* |x| with the sign of `sign`. */
KERNEL float f_copysign(float x, float sign)
{
    return f_from_bits((f_bits(x) & 0x7fffffffu) | (f_bits(sign) & 0x80000000u));
}

/* The integer nearest to x, halves to even; |x| < 2^31, not NaN. */
KERNEL int32_t f_rint_int(float x)
{
    const int32_t t = (int32_t)x;
    const float rest = x - (float)t; /* exact */
    const int32_t odd = t & 1;
    return t + ((rest > 0.5f) | ((rest == 0.5f) & odd)) -
           ((rest < -0.5f) | ((rest == -0.5f) & odd));
}

/* Whether x, being a number, may have a fraction. */
KERNEL int32_t f_has_fraction(float x) { return f_abs(x) < 8388608.0f; }

KERNEL float f_round(float x)
{
    const int32_t small = f_has_fraction(x);
    const float v = f_select(small, x, 0.0f);
    return f_select(small, f_copysign((float)f_rint_int(v), x), x);
}

KERNEL float f_floor(float x)
{
    const int32_t small = f_has_fraction(x);
    const float v = f_select(small, x, 0.0f);
    const int32_t t = (int32_t)v;
    return f_select(small, f_copysign((float)(t - ((float)t > v)), x), x);
}

KERNEL float f_ceil(float x)
{
    const int32_t small = f_has_fraction(x);
    const float v = f_select(small, x, 0.0f);
    const int32_t t = (int32_t)v;
    return f_select(small, f_copysign((float)(t + ((float)t < v)), x), x);
}

/* exp(r) - 1 - r over r*r, for |r| <= ln(2)/2. */
KERNEL float f_exp_tail(float r)
{
    float q = 1.3942205e-3f;
    q = q * r + 8.368679e-3f;
    q = q * r + 4.1666385e-2f;
    q = q * r + 0.16666521f;
    return q * r + 0.5f;
}

/* e^x; 1 ulp. x = n ln(2) + r, ln(2) in two parts of which n times the first is exact. */
KERNEL float f_exp(float x)
{
    const int32_t number = x == x;
    const float low = f_select(x > -104.0f, x, f_select(number, -104.0f, 0.0f));
    const float v = f_select(low < 89.0f, low, 89.0f);
    const int32_t n = (int32_t)(v * 1.44269504f + f_copysign(0.5f, v)), half = n / 2;
    const float fn = (float)n, r = (v - fn * 0.693145752f) - fn * 1.42860677e-6f;
    const float y = 1.0f + (r + r * r * f_exp_tail(r));
    return f_select(number, y * f_exp2i(half) * f_exp2i(n - half), x);
}

/* e^x - 1; 2 ulp. */
KERNEL float f_expm1(float x)
{
    const int32_t near = f_abs(x) < 0.5f;
    const float v = f_select(near, x, 0.0f);
    float q = 1.9954023e-4f;
    q = q * v + 1.4010702e-3f;
    q = q * v + 8.333198e-3f;
    q = q * v + 4.166496e-2f;
    q = q * v + 0.16666667f;
    q = q * v + 0.50000006f;
    const float y = f_select(near, v + v * v * q, f_exp(x) - 1.0f);
    return f_select(x == 0.0f, x, y);
}

/* ln(x); 1 ulp. x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and with s = f / (2 + f)
 * ln(1 + f) = 2 artanh(s) = f - f^2/2 + s (f^2/2 + R(s^2)). */
KERNEL float f_log(float x)
{
    const int32_t tiny = x < 1.17549435e-38f, regular = (x > 0.0f) & (x < INFINITY);
    const uint32_t u = f_bits(f_select(tiny, x * 8388608.0f, x)) - 0x3f3504f3u;
    const float k = (float)(((int32_t)u >> 23) - 23 * tiny);
    const float f = f_from_bits((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    const float s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;
    float q = 0.2427948f;
    q = q * z + 0.28498778f;
    q = q * z + 0.40000972f;
    q = q * z + 0.6666666f;
    const float y = k * 0.693145752f - ((half - (s * (half + z * q) + k * 1.42860677e-6f)) - f);
    const float outside = f_select(x < 0.0f, NAN, f_select(x == 0.0f, -INFINITY, x));
    return f_select(regular, y, outside);
}

/* ln(1 + x) for x >= 0; 2 ulp: what 1 + x lost is put back. */
KERNEL float f_log1p(float x)
{
    const float u = 1.0f + x, lost = (x - (u - 1.0f)) / u;
    return f_log(u) + f_select(u < INFINITY, lost, 0.0f);
}

/* tanh(x); 3 ulp. */
KERNEL float f_tanh(float x)
{
    const float t = f_expm1(-2.0f * f_abs(x));
    return f_select(x == x, f_copysign(-t / (t + 2.0f), x), x);
}

/* erf(x); 2 ulp: x + x P(x^2), and 1 - exp(P(x)) from 0.9 on. */
KERNEL float f_erf(float x)
{
    const float a = f_abs(x), b = f_select(a < 4.0f, a, 4.0f), z = b * b;
    float p = 7.963019e-5f;
    p = p * z - 8.043635e-4f;
    p = p * z + 5.192021e-3f;
    p = p * z - 2.6855636e-2f;
    p = p * z + 0.11283625f;
    p = p * z - 0.3761263f;
    p = p * z + 0.12837917f;
    float q = -2.0906422e-5f;
    q = q * b + 4.3227393e-4f;
    q = q * b - 4.160422e-3f;
    q = q * b + 2.5091307e-2f;
    q = q * b - 0.10823644f;
    q = q * b - 0.63338673f;
    q = q * b - 1.1294951f;
    q = q * b + 1.7055204e-4f;
    const float y = f_select(a < 0.9f, a + a * p, 1.0f - f_exp(q));
    return f_select(x == x, f_copysign(y, x), x);
}

/* 1 / (1 + e^-x); 3 ulp, without overflow on either side. */
KERNEL float f_sigmoid(float x)
{
    const float e = f_exp(-f_abs(x));
    return f_select(x == x, f_select(x < 0.0f, e, 1.0f) / (1.0f + e), x);
}

/* ln(1 + e^x), without overflow; 2 ulp. NaN is passed through: a sum of two NaNs is either. */
KERNEL float f_softplus(float x)
{
    const float y = f_select(x < 0.0f, 0.0f, x) + f_log1p(f_exp(-f_abs(x)));
    return f_select(x == x, y, x);
}

/* The square root, correctly rounded; NaN below 0. Where it is an instruction compilers are trusted
 * to use it (they call a library for errno's sake otherwise); else Newton's steps for 1/sqrt(x) in
 * double: their error is far below the distance of any root from the middle of two floats. */
KERNEL float f_sqrt(float x)
{
#if defined(__NO_MATH_ERRNO__) && (defined(__SSE2__) || defined(__aarch64__))
    const float y = sqrtf(x);
#else
    const double v = (double)x;
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    u = 0x5fe6eb50c7b537a9u - (u >> 1);
    double r;
    memcpy(&r, &u, sizeof r);
    for (int i = 0; i < 4; i++) r *= 1.5 - 0.5 * v * r * r;
    const float y = f_select((x > 0.0f) & (x < INFINITY), (float)(v * r), x);
#endif
    return f_select(x < 0.0f, NAN, y);
}

/* log2(x) of a positive finite float, as a double good to about 1e-12 of itself. */
KERNEL double f_log2_double(float x)
{
    const int tiny = x < 1.17549435e-38f;
    const uint32_t u = f_bits(tiny ? x * 8388608.0f : x) - 0x3f3504f3u;
    const int32_t k = ((int32_t)u >> 23) - (tiny ? 23 : 0);
    const double m = (double)f_from_bits((u & 0x007fffffu) + 0x3f3504f3u);
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double q = 1.0 / 17.0;
    for (int i = 15; i > 0; i -= 2) q = q * z + 1.0 / i; /* artanh(s) / s */
    return (double)k + 2.0 * s * q * 1.4426950408889634;
}

/* 2^x as a float, for |x| < 1000. */
KERNEL float f_exp2_double(double x)
{
    const int32_t n = (int32_t)(x + (x < 0.0 ? -0.5 : 0.5));
    const double r = (x - (double)n) * 0.6931471805599453;
    double q = 1.0;
    for (int i = 11; i > 0; i--) q = 1.0 + q * r / i;
    uint64_t u = (uint64_t)(n + 1023) << 52;
    double scale;
    memcpy(&scale, &u, sizeof scale);
    return (float)(q * scale);
}

/* The rest of x / y, exactly, with the sign of x; NaN where there is none. The quotient is taken in
 * steps of 11 bits, so that the rest and 11 bits fit 64. */
KERNEL double f_fmod_double(double x, double y)
{
    uint64_t u, v;
    memcpy(&u, &x, sizeof u);
    memcpy(&v, &y, sizeof v);
    const uint64_t sign = u >> 63 << 63, hidden = (uint64_t)1 << 52;
    u &= UINT64_MAX >> 1;
    v &= UINT64_MAX >> 1;
    if (u >> 52 == 2047 || !v || v > (uint64_t)2047 << 52) return NAN;
    if (u < v) return x;
    const int32_t ux = (int32_t)(u >> 52), vx = (int32_t)(v >> 52);
    const uint64_t m = vx ? (v & (hidden - 1)) | hidden : v;
    uint64_t r = (ux ? (u & (hidden - 1)) | hidden : u) % m;
    int32_t steps = (ux ? ux : 1) - (vx ? vx : 1);
    for (; steps > 0 && r; steps -= 11) r = (r << (steps < 11 ? steps : 11)) % m;
    /* r is the rest in the units of y, which are 2^-1074 where y is subnormal */
    double scale;
    const uint64_t unit = vx > 52 ? (uint64_t)(vx - 52) << 52 : (uint64_t)1 << (vx ? vx - 1 : 0);
    memcpy(&scale, &unit, sizeof scale);
    const double rest = (double)r * scale;
    memcpy(&u, &rest, sizeof u);
    u |= sign;
    memcpy(&x, &u, sizeof x);
    return x;
}

KERNEL float f_fmod(float x, float y) { return (float)f_fmod_double((double)x, (double)y); }

/* x^y as in C99's Annex F; 1 ulp. */
KERNEL float f_pow(float x, float y)
{
    const float ax = f_abs(x), ay = f_abs(y);
    if (y == 0.0f || x == 1.0f) return 1.0f;
    if (x != x || y != y) return x + y;
    const int whole = f_floor(y) == y;
    const int odd = whole && ay < 16777216.0f && ((int32_t)y & 1);
    float r;
    if (x < 0.0f && ax < INFINITY && !whole) return NAN;
    if (ax == 1.0f) {
        r = 1.0f;
    } else if (ax == 0.0f || ax == INFINITY || ay == INFINITY) {
        r = (ax < 1.0f) == (y < 0.0f) ? INFINITY : 0.0f;
    } else {
        const double e = (double)y * f_log2_double(ax);
        r = e >= 128.0 ? INFINITY : e < -160.0 ? 0.0f : f_exp2_double(e);
    }
    return x < 0.0f || (x == 0.0f && f_bits(x) >> 31) ? (odd ? -r : r) : r;
}

#endif
