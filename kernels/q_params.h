/* kernels/q_params.h - the parameter structs of the integer kernels: int32_t fields only.
 *
 * Activations are uint8 or int8, channels-last, per-tensor scale and zero point; weights are int8
 * with zero point 0 (a weight's own zero point is folded away by lowering, or refused). The zero
 * point of the input never enters a dot product: it is folded into the bias by lowering, and what
 * lies outside the input counts as the zero point. Accumulators add in uint32_t.
 *
 * The type of a result is not said: it follows from y_zero, lo and hi, which lie within it.
 */
#ifndef KERNELS_Q_PARAMS_H
#define KERNELS_Q_PARAMS_H

#include <stdint.h>

/* The bits of a positive float32, or 0: the multiplier (sx * sw) / sy. As bits, because integer
 * kernels take mantissa and exponent from them, and a device without a float unit holds them too.
 */
typedef uint32_t q_scale;

typedef struct q_conv_p {
    int32_t n;             /* batch */
    int32_t id, ih, iw;    /* input size */
    int32_t od, oh, ow;    /* output size */
    int32_t ic, oc, group; /* channels in and out, all groups together; group divides both */
    int32_t kd, kh, kw;    /* kernel size */
    int32_t sd, sh, sw;    /* strides */
    int32_t dd, dh, dw;    /* dilations */
    int32_t pd, ph, pw;    /* padding in front; behind follows from the output size */
    int32_t x_signed;      /* x is int8, else uint8 */
    int32_t x_zero;        /* zero points */
    int32_t y_zero;
    int32_t lo, hi; /* clamp of the result, within y's type: fused Relu or Clip */
} q_conv_p;
/* q_conv(p, x, w, bias, scale, y), q_dwconv the same (group == ic == oc).
 * raw w: int8 [oc][ic/group][kd][kh][kw]; packed as the kernel likes.
 * bias: int32 [oc], the zero point already folded in: b - x_zero * sum(w). scale: q_scale [oc].
 * y = S(rint((float)(bias + sum(x * w)) * scale) + y_zero) */

typedef struct q_gemm_p {
    int32_t m, n, k; /* y[m][n] = x[m][k] * w[k][n] */
    int32_t transb;  /* raw w is [n][k] */
    int32_t x_signed;
    int32_t y_zero;
    int32_t lo, hi;
} q_gemm_p; /* q_gemm(p, x, w, bias, scale, y); bias and scale as in q_conv, [n] */

typedef struct q_add_p {
    int32_t count; /* elements */
    int32_t a_signed, b_signed;
    int32_t a_scale, b_scale; /* bits of the float32 sa / sy and sb / sy */
    int32_t offset;           /* bits of y_zero - fma(a_scale, a_zero, b_scale * b_zero) */
    int32_t unit; /* 1 .. 61: the three numbers above are whole times 2^-unit, and the sum
                     of what they can give is below 2^(62 - unit) */
    int32_t lo, hi;
} q_add_p; /* q_add(p, a, b, y): S(rint(fma(a, a_scale, fma(b, b_scale, offset)))); y may be a or b
            */

typedef struct q_mul_p {
    int32_t d0, d1, d2, d3, d4, d5; /* output dims */
    int32_t a0, a1, a2, a3, a4, a5; /* strides of a and b, 0 where they broadcast */
    int32_t b0, b1, b2, b3, b4, b5;
    int32_t a_signed, b_signed;
    int32_t a_zero, b_zero, y_zero;
    int32_t scale; /* of (sa * sb) / sy: a q_scale, below 2^31 as every positive float's bits */
    int32_t lo, hi;
    int32_t shift; /* even: added to y_zero before the last rounding, and taken off behind it */
} q_mul_p; /* q_mul(p, a, b, y): S(rint((float)((a - a_zero) * (b - b_zero)) * scale + y_zero)), the
              product and the sum rounded to float32; y may be a or b where that one's strides are
              y's */

typedef struct q_pool_p {
    int32_t n, id, ih, iw, od, oh, ow, c;
    int32_t kd, kh, kw, sd, sh, sw, dd, dh, dw, pd, ph, pw;
    int32_t x_signed;
    int32_t x_zero, y_zero;
    int32_t lo, hi;
    /* of q_avgpool alone: */
    int32_t x_scale, y_scale; /* bits of the float32 scales */
    int32_t whole;            /* padding counts: a mean is of the whole window, wherever it lies */
    int32_t shift;            /* added to y_zero while a mean is rounded, and taken off again */
    int32_t near;             /* 2^-20 steps of y from a tie where a mean's roundings matter; 0:
                                 none is made, for the window is the whole input */
} q_pool_p;
/* q_maxpool(p, x, y): same type and parameters in and out, clamped; elements outside the input do
 * not count, a window wholly outside gives lo.
 * q_avgpool(p, x, scale, y): scale is q_scale [kd*kh*kw + 1], indexed by how many elements of the
 * window lie inside the input: the float32 sx / (sy * (float)count), entry 0 unused; with `whole`
 * all entries are alike. With near 0, sum(x - x_zero) is requantized; else y = S(rint(sum(sx * (x -
 * x_zero)) / count / sy + y_zero)), every operation rounded to float32. */

typedef struct q_table_p {
    int32_t count; /* elements */
} q_table_p; /* q_table(p, x, table (256 bytes, by the byte of x), y): any function of one value,
                rescaling for Concat; y may be x */

typedef struct q_softmax_p {
    int32_t outer, count, inner; /* over `count`, whose elements are `inner` apart */
    int32_t x_signed;
    int32_t y_zero;
    int32_t inverse; /* of y's scale, which is 1 / inverse: 256 where y_zero is the least integer */
    int32_t most;    /* that is added to y_zero */
} q_softmax_p;
/* q_softmax(p, x, table, y): table is uint32 [256]: rint(2^23 * exp(-i * sx)), by the distance i to
 * the largest value; y = S(round half even(inverse * e / sum) + y_zero) */

#endif
