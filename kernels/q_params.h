/* kernels/q_params.h - the parameter structs of the integer kernels: int32_t fields only.
 *
 * Activations are uint8 or int8, channels-last, per-tensor scale and zero point; weights are int8
 * with zero point 0 (a weight's own zero point is folded away by lowering, or refused). The zero
 * point of the input never enters a dot product: it is folded into the bias by packing, and what
 * lies outside the input counts as the zero point. Accumulators add in uint32_t.
 *
 * A real multiplier (sx * sw) / sy comes as its float32 value split by lowering into a 24-bit
 * mantissa and an exponent (requant.h): multiplier = mantissa * 2^-shift, exactly.
 */
#ifndef KERNELS_Q_PARAMS_H
#define KERNELS_Q_PARAMS_H

#include <stdint.h>

/* Requantization of one output channel: y = S(rint((float)acc * (mantissa * 2^-shift)) + zero). */
typedef struct q_scale {
    int32_t mantissa; /* 0, or 2^23 .. 2^24 - 1 */
    int32_t shift;
} q_scale;

typedef struct q_conv_p {
    int32_t n, id, ih, iw, od, oh, ow; /* batch, input and output size */
    int32_t ic, oc, group;
    int32_t kd, kh, kw, sd, sh, sw, dd, dh, dw, pd, ph, pw;
    int32_t x_signed, y_signed; /* 1: int8, 0: uint8 */
    int32_t x_zero, y_zero;     /* zero points */
    int32_t lo, hi;             /* clamp of the result, within y's type: fused Relu or Clip */
} q_conv_p;
/* q_conv(p, x, w, bias, scale, y), q_dwconv the same (group == ic == oc).
 * raw w: int8 [oc][ic/group][kd][kh][kw]; packed as the kernel likes.
 * bias: int32 [oc], the zero point already folded in: b - x_zero * sum(w). scale: q_scale [oc] */

typedef struct q_gemm_p {
    int32_t m, n, k; /* y[m][n] = x[m][k] * w[k][n] */
    int32_t transb;  /* raw w is [n][k] */
    int32_t x_signed, y_signed;
    int32_t y_zero;
    int32_t lo, hi;
} q_gemm_p; /* q_gemm(p, x, w, bias, scale, y); bias and scale as in q_conv, [n] */

typedef struct q_add_p {
    int32_t count; /* elements */
    int32_t a_signed, b_signed, y_signed;
    int32_t a_zero, b_zero, y_zero;
    int32_t a_mul, b_mul; /* rint(sa / sy * 2^shift), rint(sb / sy * 2^shift); below 2^21 */
    int32_t shift;        /* 1 .. 28 */
    int32_t lo, hi;
} q_add_p; /* q_add(p, a, b, y): S(rint(a' * a_mul + b' * b_mul, shift) with y_zero added before
              rounding); y may be a or b */

typedef struct q_mul_p {
    int32_t d0, d1, d2, d3, d4, d5; /* output dims */
    int32_t a0, a1, a2, a3, a4, a5; /* strides of a and b, 0 where they broadcast */
    int32_t b0, b1, b2, b3, b4, b5;
    int32_t a_signed, b_signed, y_signed;
    int32_t a_zero, b_zero, y_zero;
    int32_t mantissa, shift; /* of (sa * sb) / sy */
    int32_t lo, hi;
} q_mul_p; /* q_mul(p, a, b, y): S(rint((a - az) * (b - bz) * multiplier + y_zero)), rounded once */

typedef struct q_pool_p {
    int32_t n, id, ih, iw, od, oh, ow, c;
    int32_t kd, kh, kw, sd, sh, sw, dd, dh, dw, pd, ph, pw;
    int32_t x_signed, y_signed;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
} q_pool_p;
/* q_maxpool(p, x, y): same type and parameters in and out.
 * q_avgpool(p, x, scale, y): scale is q_scale [kd*kh*kw + 1], indexed by how many elements of the
 * window lie inside the input: the float32 sx / (sy * (float)count), entry 0 unused; padding that
 * counts (count_include_pad) is expressed by equal entries. sum(x - x_zero) is requantized. */

typedef struct q_table_p {
    int32_t count; /* elements */
} q_table_p; /* q_table(p, x, table (256 bytes, by the byte of x), y): any function of one value,
                rescaling for Concat; y may be x */

typedef struct q_softmax_p {
    int32_t outer, count, inner;
    int32_t x_signed, y_signed;
    int32_t y_zero; /* 0 or -128 with y's scale 1/256 */
} q_softmax_p;
/* q_softmax(p, x, table, y): table is uint32 [256]: rint(2^23 * exp(-i * sx)), by the distance i to
 * the largest value; y = S(round half even(256 * e / sum) + y_zero) */

#endif
