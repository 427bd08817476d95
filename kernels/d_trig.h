/* kernels/d_trig.h - trigonometric, hyperbolic and error functions of doubles, the same on every
 * machine. Errors are a few units in the last place: the functions of floats are these, rounded
 * once. NaN gives NaN.
 */
#ifndef KERNELS_D_TRIG_H
#define KERNELS_D_TRIG_H

#include "d_math.h"

KERNEL double d_abs(double x) { return d_from_bits(d_bits(x) & (UINT64_MAX >> 1)); }

/* |x| with the sign of `sign`. */
KERNEL double d_copysign(double x, double sign)
{
    return d_from_bits((d_bits(x) & (UINT64_MAX >> 1)) | (d_bits(sign) >> 63 << 63));
}

/* ---- angles ---------------------------------------------------------------------------------- */

/* An angle less a multiple of pi/2: hi + lo, at most about pi/4, and the multiple's last bits. */
typedef struct d_angle {
    double hi, lo;
    int32_t quadrant;
} d_angle;

/* The upper 64 bits of a product. */
KERNEL uint64_t d_multiply_high(uint64_t a, uint64_t b)
{
    const uint64_t half = 0xffffffffu, low = (a & half) * (b & half);
    const uint64_t m = (a >> 32) * (b & half) + (low >> 32);
    const uint64_t n = (a & half) * (b >> 32) + (m & half);
    return (a >> 32) * (b >> 32) + (m >> 32) + (n >> 32);
}

/* p = x * 2/pi mod 4, 2 bits before the point and 190 behind it, for 2^20 <= x. As x = m * 2^e, the
 * bits of 2/pi in front of those that are taken make multiples of 4. */
KERNEL_CALLED void d_quadrants(double x, uint64_t p[3])
{
    static const uint64_t bits[21] = {
        /* 64 bits before the point, then 2/pi */
        0x0000000000000000u, 0xa2f9836e4e441529u, 0xfc2757d1f534ddc0u, 0xdb6295993c439041u,
        0xfe5163abdebbc561u, 0xb7246e3a424dd2e0u, 0x06492eea09d1921cu, 0xfe1deb1cb129a73eu,
        0xe88235f52ebb4484u, 0xe99c7026b45f7e41u, 0x3991d639835339f4u, 0x9c845f8bbdf9283bu,
        0x1ff897ffde05980fu, 0xef2f118b5a0a6d1fu, 0x6d367ecf27cb09b7u, 0x4f463f669e5fea2du,
        0x7527bac7ebe5f17bu, 0x3d0739f78a5292eau, 0x6bfb5fb11f8d5d08u, 0x56033046fc7b6babu,
        0xf0cfbc209af4361du};
    const uint64_t m = (d_bits(x) & 0x000fffffffffffffu) | 0x0010000000000000u;
    const int32_t at = (int32_t)(d_bits(x) >> 52) - 1013, word = at / 64, shift = at % 64;
    uint64_t w[3];
    for (int i = 0; i < 3; i++)
        w[i] =
            shift ? bits[word + i] << shift | bits[word + i + 1] >> (64 - shift) : bits[word + i];
    p[2] = m * w[2];
    p[1] = m * w[1] + d_multiply_high(m, w[2]);
    p[0] = m * w[0] + d_multiply_high(m, w[1]) + (p[1] < m * w[1]);
}

/* The angle of a positive x from 2^20 on. */
KERNEL_CALLED d_angle d_angle_large(double x)
{
    uint64_t p[3];
    d_quadrants(x, p);
    d_angle a = {0.0, 0.0, (int32_t)(p[0] >> 62)};
    p[0] = p[0] << 2 | p[1] >> 62; /* the fraction */
    p[1] = p[1] << 2 | p[2] >> 62;
    p[2] <<= 2;
    const uint64_t minus = 0 - (p[0] >> 63); /* from a half on it is one less */
    a.quadrant += (int32_t)(minus & 1u);
    for (int i = 0; i < 3; i++) p[i] ^= minus;
    int32_t scale = 0;
    for (; !(p[0] >> 63) && scale > -120; scale--) {
        p[0] = p[0] << 1 | p[1] >> 63;
        p[1] = p[1] << 1 | p[2] >> 63;
        p[2] <<= 1;
    }
    /* 32 bits, whose product with the first 21 of pi/2 is exact, and 53 more */
    const double high = (double)(p[0] >> 32) * d_exp2i(scale - 32);
    const uint64_t rest = (p[0] << 21 & 0x001fffffffe00000u) | p[1] >> 43;
    const double low = (double)rest * d_exp2i(scale - 85);
    const double first = high * 0x1.921fbp+0;
    const double next = high * 0x1.5110b4611a626p-22 + low * 0x1.921fb54442d18p+0;
    a.hi = first + next;
    a.lo = next - (a.hi - first);
    if (minus) a.hi = -a.hi, a.lo = -a.lo;
    return a;
}

/* The angle of a finite x. Below 2^20, pi/2 is taken in three parts, of which n times the first two
 * are exact. */
KERNEL d_angle d_angle_of(double x)
{
    if (d_abs(x) >= 0x1p20) {
        d_angle a = d_angle_large(d_abs(x));
        if (x < 0.0) a = (d_angle){-a.hi, -a.lo, -a.quadrant};
        return a;
    }
    const int32_t n = (int32_t)(x * 0x1.45f306dc9c883p-1 + (x < 0.0 ? -0.5 : 0.5));
    const double t = x - n * 0x1.921fb544p+0, w = n * 0x1.0b4611a6p-34, hi = t - w, v = hi - t;
    const double lo = ((t - (hi - v)) - (w + v)) - n * 0x1.3198a2e037073p-69;
    return (d_angle){hi, lo, n};
}

/* Sine and cosine of an angle between -pi/4 and pi/4: their series. */
KERNEL double d_sin_near(double x, double lo)
{
    const double z = x * x;
    double q = 0x1.952c77030ad4ap-49;
    q = q * z - 0x1.ae7f3e733b81fp-41;
    q = q * z + 0x1.6124613a86d09p-33;
    q = q * z - 0x1.ae64567f544e4p-26;
    q = q * z + 0x1.71de3a556c734p-19;
    q = q * z - 0x1.a01a01a01a01ap-13;
    q = q * z + 0x1.1111111111111p-7;
    q = q * z - 0x1.5555555555555p-3;
    return x + (x * z * q + lo * (1.0 - 0.5 * z));
}

KERNEL double d_cos_near(double x, double lo)
{
    const double z = x * x, half = 0.5 * z, w = 1.0 - half;
    double q = 0x1.ae7f3e733b81fp-45;
    q = q * z - 0x1.93974a8c07c9dp-37;
    q = q * z + 0x1.1eed8eff8d898p-29;
    q = q * z - 0x1.27e4fb7789f5cp-22;
    q = q * z + 0x1.a01a01a01a01ap-16;
    q = q * z - 0x1.6c16c16c16c17p-10;
    q = q * z + 0x1.5555555555555p-5;
    return w + (((1.0 - w) - half) + (z * z * q - x * lo));
}

/* Sine of the angle and `more` times pi/2. */
KERNEL double d_sin_of(d_angle a, int32_t more)
{
    const int32_t q = a.quadrant + more;
    const double y = q & 1 ? d_cos_near(a.hi, a.lo) : d_sin_near(a.hi, a.lo);
    return q & 2 ? -y : y;
}

KERNEL_CALLED double d_sin(double x)
{
    if (!(d_abs(x) < INFINITY)) return NAN;
    return x == 0.0 ? x : d_sin_of(d_angle_of(x), 0);
}

KERNEL_CALLED double d_cos(double x)
{
    return d_abs(x) < INFINITY ? d_sin_of(d_angle_of(x), 1) : NAN;
}

KERNEL_CALLED double d_tan(double x)
{
    if (!(d_abs(x) < INFINITY)) return NAN;
    const d_angle a = d_angle_of(x);
    return x == 0.0 ? x : d_sin_of(a, 0) / d_sin_of(a, 1);
}

/* ---- arcs ------------------------------------------------------------------------------------ */

/* From the nearest of k / 8, whose arc is known, by the series of what is left: below 1/16. */
KERNEL_CALLED double d_atan(double x)
{
    static const double arcs[9] = {0.0,
                                   0x1.fd5ba9aac2f6ep-4,
                                   0x1.f5b75f92c80ddp-3,
                                   0x1.6f61941e4def1p-2,
                                   0x1.dac670561bb4fp-2,
                                   0x1.1e00babdefeb4p-1,
                                   0x1.4978fa3269ee1p-1,
                                   0x1.700a7c5784634p-1,
                                   0x1.921fb54442d18p-1};
    if (x != x) return x;
    const double a = d_abs(x), v = a > 1.0 ? 1.0 / a : a;
    const int32_t k = (int32_t)(v * 8.0 + 0.5);
    const double t = (v - k * 0.125) / (1.0 + v * (k * 0.125)), z = t * t;
    double q = 1.0 / 13.0;
    q = 1.0 / 11.0 - q * z;
    q = 1.0 / 9.0 - q * z;
    q = 1.0 / 7.0 - q * z;
    q = 1.0 / 5.0 - q * z;
    q = 1.0 / 3.0 - q * z;
    const double y = arcs[k] + (t - t * z * q);
    return d_copysign(a > 1.0 ? 0x1.921fb54442d18p+0 - (y - 0x1.1a62633145c07p-54) : y, x);
}

KERNEL_CALLED double d_asin(double x) { return d_atan(x / d_sqrt((1.0 - x) * (1.0 + x))); }

KERNEL_CALLED double d_acos(double x)
{
    return d_abs(x) <= 1.0 ? 2.0 * d_atan(d_sqrt((1.0 - x) / (1.0 + x))) : NAN;
}

/* ---- exponentials ---------------------------------------------------------------------------- */

/* e^x - 1. */
KERNEL_CALLED double d_expm1(double x)
{
    if (!(d_abs(x) < 0.5)) return d_exp(x) - 1.0;
    double q = 1.0 / 15.0;
    for (int i = 14; i > 1; i--) q = (1.0 + q * x) / i;
    return x == 0.0 ? x : x + x * x * q;
}

/* ln(1 + x): what 1 + x lost is put back. */
KERNEL_CALLED double d_log1p(double x)
{
    const double u = 1.0 + x;
    if (!(u > 0.0 && u < INFINITY)) return d_log(u);
    return x == 0.0 ? x : d_log(u) + (x - (u - 1.0)) / u;
}

KERNEL double d_sinh(double x)
{
    const double a = d_abs(x), t = d_expm1(a), e = d_exp(0.5 * a);
    return d_copysign(a < 700.0 ? 0.5 * (t + t / (t + 1.0)) : 0.5 * e * e, x);
}

KERNEL double d_cosh(double x)
{
    const double a = d_abs(x), e = d_exp(0.5 * a), y = 0.5 * e * e;
    return a < 700.0 ? y + 0.5 / (e * e) : y;
}

KERNEL double d_tanh(double x)
{
    const double t = d_expm1(-2.0 * d_abs(x));
    return d_copysign(-t / (t + 2.0), x);
}

KERNEL double d_asinh(double x)
{
    const double a = d_abs(x), z = a * a;
    const double y =
        a > 0x1p28 ? d_log(a) + 0x1.62e42fefa39efp-1 : d_log1p(a + z / (1.0 + d_sqrt(1.0 + z)));
    return d_copysign(y, x);
}

KERNEL double d_acosh(double x)
{
    const double t = x - 1.0;
    if (!(x >= 1.0)) return NAN;
    return x > 0x1p28 ? d_log(x) + 0x1.62e42fefa39efp-1 : d_log1p(t + d_sqrt(t * (x + 1.0)));
}

KERNEL double d_atanh(double x)
{
    const double a = d_abs(x);
    return d_copysign(a > 1.0 ? NAN : 0.5 * d_log1p(2.0 * a / (1.0 - a)), x);
}

/* 1 / (1 + e^-x). */
KERNEL double d_sigmoid(double x)
{
    const double e = d_exp(-d_abs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* ln(1 + e^x). */
KERNEL double d_softplus(double x) { return (x < 0.0 ? 0.0 : x) + d_log1p(d_exp(-d_abs(x))); }

/* Its series, all of whose terms are positive; from 2 on the continued fraction of 1 - erf(x). */
KERNEL_CALLED double d_erf(double x)
{
    const double a = d_abs(x), z = a * a;
    if (!(a < 6.0)) return x != x ? x : d_copysign(1.0, x);
    double y;
    if (a < 2.0) {
        double sum = 1.0;
        for (int i = 40; i > 0; i--) sum = 1.0 + sum * (2.0 * z / (2 * i + 1));
        y = 0x1.20dd750429b6dp+0 * d_exp(-z) * (a * sum);
    } else {
        double f = a;
        for (int i = 60; i > 0; i--) f = a + 0.5 * i / f;
        y = 1.0 - 0x1.20dd750429b6dp-1 * d_exp(-z) / f;
    }
    return d_copysign(y, x);
}

/* ---- rounding -------------------------------------------------------------------------------- */

/* x cut off towards 0. */
KERNEL double d_trunc(double x)
{
    return d_abs(x) < 0x1p52 ? d_copysign((double)(int64_t)x, x) : x;
}

KERNEL double d_floor(double x)
{
    const double t = d_trunc(x);
    return t > x ? t - 1.0 : t;
}

KERNEL double d_ceil(double x) { return -d_floor(-x); }

/* To the nearest, halves to even. */
KERNEL double d_round(double x)
{
    const double t = d_floor(d_abs(x)), rest = d_abs(x) - t;
    const int32_t odd = t < 0x1p52 && (int64_t)t & 1;
    return d_copysign(rest > 0.5 || (rest == 0.5 && odd) ? t + 1.0 : t, x);
}

#endif
