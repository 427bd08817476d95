/* kernels/tiny.h - floats of 8 bits and fewer, and how elements of fewer than 8 bits lie in a byte
 * between kernels.
 *
 * A float has a sign, an exponent and a mantissa, as its row says, one code after the other in the
 * order of their values. Rounded to the nearest, halves to even. What is too large becomes the
 * largest one (saturated) or what the type has beyond it: infinity, NaN, or again the largest one.
 * One NaN, without a sign. E8M0 is the exponent alone.
 */
#ifndef KERNELS_TINY_H
#define KERNELS_TINY_H

#include "elements.h"

enum { /* types: ONNX's numbers */
       A_E4M3FN = 17,
       A_E4M3FNUZ,
       A_E5M2,
       A_E5M2FNUZ,
       A_UINT4,
       A_INT4,
       A_E2M1,
       A_E8M0,
       A_UINT2,
       A_INT2,
       A_E2M3,
       A_E3M2
};

KERNEL int32_t tiny_is_real(int32_t type)
{
    return (type >= A_E4M3FN && type <= A_E5M2FNUZ) || type == A_E2M1 || type == A_E8M0 ||
           type == A_E2M3 || type == A_E3M2;
}

/* Bits of an integer of fewer than 8; 0: the type is none. */
KERNEL int32_t tiny_bits(int32_t type)
{
    return type == A_UINT4 || type == A_INT4 ? 4 : type == A_UINT2 || type == A_INT2 ? 2 : 0;
}

/* The type of the byte in which an element of the type lies. */
KERNEL int32_t tiny_byte(int32_t type)
{
    if (type == A_UINT4 || type == A_UINT2) return A_UINT8;
    return type == A_INT4 || type == A_INT2 ? A_INT8 : type;
}

/* The lower bits of v as such an integer, in 64 bits. */
KERNEL uint64_t tiny_integer(int32_t type, uint64_t v)
{
    const uint64_t top = (uint64_t)1 << (tiny_bits(type) - 1);
    v &= 2 * top - 1;
    return type == A_INT4 || type == A_INT2 ? (v ^ top) - top : v;
}

/* A type of floats: sign at bit `exponent + mantissa`. */
typedef struct tiny_form {
    int32_t mantissa;  /* bits */
    int32_t bias;      /* of the exponent */
    uint32_t sign;     /* its bit */
    uint32_t largest;  /* code of the largest number */
    uint32_t infinity; /* its code; else the same as `nan` */
    uint32_t nan;      /* its code; 0: the type has none */
    int32_t unsigned0; /* the code of -0 is the NaN */
} tiny_form;

KERNEL tiny_form tiny_form_of(int32_t type)
{
    static const tiny_form forms[] = {
        {3, 7, 0x80, 0x7e, 0x7f, 0x7f, 0},  {3, 8, 0x80, 0x7f, 0x80, 0x80, 1},
        {2, 15, 0x80, 0x7b, 0x7c, 0x7e, 0}, {2, 16, 0x80, 0x7f, 0x80, 0x80, 1},
        {1, 1, 8, 7, 7, 0, 0},              {3, 1, 32, 31, 31, 0, 0},
        {2, 3, 32, 31, 31, 0, 0},
    };
    return forms[type <= A_E5M2FNUZ ? type - A_E4M3FN
                 : type == A_E2M1   ? 4
                 : type == A_E2M3   ? 5
                                    : 6];
}

/* 2 to the n, n from -1022 to 1023. */
KERNEL double tiny_power(int32_t n)
{
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

KERNEL double tiny_to_real(int32_t type, uint32_t code)
{
    if (type == A_E8M0) return code == 255 ? NAN : tiny_power((int32_t)code - 127);
    const tiny_form f = tiny_form_of(type);
    const uint32_t size = code & (f.sign - 1);
    if (f.unsigned0 ? code == f.nan : f.nan && size > f.largest)
        return f.infinity == size && f.infinity != f.nan ? code & f.sign ? -INFINITY : INFINITY
                                                         : NAN;
    const int32_t exponent = (int32_t)(size >> f.mantissa);
    const uint32_t one = 1u << f.mantissa, rest = size & (one - 1);
    const double x = (double)(exponent ? rest + one : rest) *
                     tiny_power((exponent ? exponent : 1) - f.bias - f.mantissa);
    return code & f.sign ? -x : x;
}

/* How numbers become E8M0. */
enum { TINY_UP, TINY_DOWN, TINY_NEAREST };

/* What is too small, 0 and below becomes the least (saturated) or NaN; what is too large the
 * largest, or NaN. Halves go up. */
KERNEL uint32_t tiny_exponent(double x, int32_t saturate, int32_t mode)
{
    uint64_t bits;
    if (x != x) return 255;
    if (x < 0x1p-127) return saturate ? 0 : 255;
    if (x > 0x1p127) return saturate ? 254 : 255;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t rest = bits & (((uint64_t)1 << 52) - 1);
    const int32_t up = mode == TINY_UP ? rest > 0 : mode == TINY_NEAREST && rest >> 51;
    return (uint32_t)(bits >> 52) - 1023 + 127 + (uint32_t)up;
}

KERNEL uint32_t tiny_from_real(int32_t type, double x, int32_t saturate, int32_t mode)
{
    uint64_t bits;
    if (type == A_E8M0) return tiny_exponent(x, saturate, mode);
    const tiny_form f = tiny_form_of(type);
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 63 ? f.sign : 0;
    const double ax = sign ? -x : x, least = tiny_power(1 - f.bias);
    if (x != x) return f.nan ? f.nan : f.sign; /* -0 where there is no NaN */
    uint32_t code = f.largest + 1;
    if (ax < least) { /* subnormal */
        const double steps = ax / tiny_power(1 - f.bias - f.mantissa);
        code = (uint32_t)steps;
        const double rest = steps - (double)code;
        code += rest > 0.5 || (rest == 0.5 && (code & 1));
    } else if (ax < 0x1p20) {
        const int32_t cut = 52 - f.mantissa;
        bits &= UINT64_MAX >> 1;
        bits += (((uint64_t)1 << (cut - 1)) - 1) + (bits >> cut & 1);
        code = (uint32_t)((bits >> cut) - ((uint64_t)(1023 - f.bias) << f.mantissa));
    }
    if (code > f.largest) {
        if (!saturate && f.infinity == f.nan) return f.nan;
        code = saturate ? f.largest : f.infinity;
    }
    return code || !f.unsigned0 ? sign | code : 0;
}

#endif
