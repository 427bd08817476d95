/* kernels/quantize.h - between floats and integers, as ONNX's QuantizeLinear and DequantizeLinear.
 *
 * saturate(round_half_even(x / scale) + zero point), the division exact; NaN is the least number.
 * And (x - zero point) * scale. What is quantized to floats of 8 bits and fewer is rounded by the
 * type, the zero point added before; one of 0 changes nothing, not the sign of a 0 either.
 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

#include "f_math.h"
#include "params.h"
#include "tiny.h"

#ifndef USES_quantize_precision
#define USES_quantize_precision(type) 1
#endif

enum { K_UINT8 = 2, K_INT8, K_UINT16, K_INT16, K_INT32 }; /* ONNX's numbers */

/* n integers of `dtype`, a byte's or more, from element `at` on. */
KERNEL void integers_load(int32_t v[F_CHUNK], int32_t dtype, const void *x, ptrdiff_t at, int32_t n)
{
    switch (dtype) {
    case K_UINT8:
        for (int32_t j = 0; j < n; j++) v[j] = ((const uint8_t *)x)[at + j];
        break;
    case K_INT8:
        for (int32_t j = 0; j < n; j++) v[j] = ((const int8_t *)x)[at + j];
        break;
    case K_UINT16:
        for (int32_t j = 0; j < n; j++) v[j] = ((const uint16_t *)x)[at + j];
        break;
    case K_INT16:
        for (int32_t j = 0; j < n; j++) v[j] = ((const int16_t *)x)[at + j];
        break;
    default:
        for (int32_t j = 0; j < n; j++) v[j] = ((const int32_t *)x)[at + j];
        break;
    }
}

KERNEL void integers_store(const int32_t v[F_CHUNK], int32_t dtype, void *y, ptrdiff_t at,
                           int32_t n)
{
    switch (dtype) {
    case K_UINT8:
        for (int32_t j = 0; j < n; j++) ((uint8_t *)y)[at + j] = (uint8_t)v[j];
        break;
    case K_INT8:
        for (int32_t j = 0; j < n; j++) ((int8_t *)y)[at + j] = (int8_t)v[j];
        break;
    case K_UINT16:
        for (int32_t j = 0; j < n; j++) ((uint16_t *)y)[at + j] = (uint16_t)v[j];
        break;
    default:
        for (int32_t j = 0; j < n; j++) ((int16_t *)y)[at + j] = (int16_t)v[j];
        break;
    }
}

/* The scales and zero points of a row. */
typedef struct quantize_row {
    ptrdiff_t at;   /* element of both that is the first */
    ptrdiff_t step; /* from one element of the row to the next: 0 where they share one */
} quantize_row;

KERNEL quantize_row quantize_row_of(const quantize_p *restrict p, ptrdiff_t r)
{
    const ptrdiff_t o = r / p->channels, c = r % p->channels;
    if (!p->block) return (quantize_row){c, 0};
    const ptrdiff_t blocks = ((ptrdiff_t)p->channels + p->block - 1) / p->block;
    return (quantize_row){(o * blocks + c / p->block) * p->inner, 1};
}

/* What the n elements from element `i` of the row on have as scale, and as zero point. */
KERNEL void quantize_scales(const float *restrict scale, quantize_row r, ptrdiff_t i, int32_t n,
                            float s[F_CHUNK])
{
    for (int32_t j = 0; j < n; j++) s[j] = scale[r.at + (i + j) * r.step];
}

KERNEL void quantize_zeros(int32_t byte, const void *zp, quantize_row r, ptrdiff_t i, int32_t n,
                           int32_t z[F_CHUNK])
{
    if (zp && r.step) integers_load(z, byte, zp, r.at + i, n);
    else if (zp) integers_load(z, byte, zp, r.at, 1);
    else z[0] = 0;
    for (int32_t j = 1; j < n && !(zp && r.step); j++) z[j] = z[0];
}

KERNEL float quantize_rounded(int32_t precision, float x)
{
    return precision == A_FLOAT16
               ? (float)arith_from_half(arith_to_half((double)x))
               : (float)arith_from_bfloat(arith_to_bfloat((double)x));
}

KERNEL void quantize_integers(const quantize_p *restrict p, int32_t n, const float q[F_CHUNK],
                              const int32_t z[F_CHUNK], int32_t v[F_CHUNK])
{
    const int32_t byte = tiny_byte(p->dtype), bits = tiny_bits(p->dtype);
    const int32_t is_signed = byte == K_INT8 || byte == K_INT16;
    const int32_t levels = bits ? 1 << bits : byte == K_UINT8 || byte == K_INT8 ? 256 : 65536;
    const int32_t lo = is_signed ? -levels / 2 : 0, hi = lo + levels - 1;
    for (int32_t j = 0; j < n; j++) {
        const float least = (float)(lo - z[j]), most = (float)(hi - z[j]);
        v[j] = f_rint_int(f_clamp(q[j] == q[j] ? q[j] : least, least, most)) + z[j];
    }
}

KERNEL void quantize_floats(const quantize_p *restrict p, int32_t n, const float q[F_CHUNK],
                            const int32_t z[F_CHUNK], uint8_t *y)
{
    for (int32_t j = 0; j < n; j++) {
        const float zero = (float)tiny_to_real(p->dtype, (uint32_t)z[j]);
        const float x = zero != 0.0f ? q[j] + zero : q[j];
        y[j] = (uint8_t)tiny_from_real(p->dtype, (double)x, p->saturate, TINY_UP);
    }
}

KERNEL_TRAITS(quantize, exact)
KERNEL_RUN void quantize(const quantize_p *restrict p, const float *restrict x,
                     const float *restrict scale, const void *restrict zp, void *restrict y)
{
    const int32_t real = tiny_is_real(p->dtype), byte = real ? K_UINT8 : tiny_byte(p->dtype);
    const ptrdiff_t rows = (ptrdiff_t)p->outer * p->channels;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const quantize_row row = quantize_row_of(p, r);
        for (ptrdiff_t i = 0; i < p->inner; i += F_CHUNK) {
            int32_t v[F_CHUNK], z[F_CHUNK];
            float q[F_CHUNK], s[F_CHUNK];
            const ptrdiff_t at = r * p->inner + i;
            const int32_t n = f_chunk(i, p->inner);
            quantize_scales(scale, row, i, n, s);
            quantize_zeros(byte, zp, row, i, n, z);
            if ((USES_quantize_precision(A_FLOAT16) || USES_quantize_precision(A_BFLOAT16)) &&
                p->precision)
                for (int32_t j = 0; j < n; j++)
                    q[j] = quantize_rounded(p->precision,
                                            quantize_rounded(p->precision, x[at + j]) / s[j]);
            else
                for (int32_t j = 0; j < n; j++) q[j] = x[at + j] / s[j];
            if (real) {
                quantize_floats(p, n, q, z, (uint8_t *)y + at);
                continue;
            }
            quantize_integers(p, n, q, z, v);
            integers_store(v, byte, y, at, n);
        }
    }
}

KERNEL_TRAITS(dequantize, exact)
KERNEL_RUN void dequantize(const quantize_p *restrict p, const void *restrict x,
                       const float *restrict scale, const void *restrict zp, float *restrict y)
{
    const int32_t real = tiny_is_real(p->dtype), byte = real ? K_UINT8 : tiny_byte(p->dtype);
    const ptrdiff_t rows = (ptrdiff_t)p->outer * p->channels;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const quantize_row row = quantize_row_of(p, r);
        for (ptrdiff_t i = 0; i < p->inner; i += F_CHUNK) {
            int32_t v[F_CHUNK], z[F_CHUNK];
            float s[F_CHUNK];
            const ptrdiff_t at = r * p->inner + i;
            const int32_t n = f_chunk(i, p->inner);
            quantize_scales(scale, row, i, n, s);
            quantize_zeros(byte, zp, row, i, n, z);
            integers_load(v, byte, x, at, n);
            for (int32_t j = 0; j < n; j++) {
                float d = (float)(int32_t)((uint32_t)v[j] - (uint32_t)z[j]);
                if (real) {
                    const float zero = (float)tiny_to_real(p->dtype, (uint32_t)z[j]);
                    d = (float)tiny_to_real(p->dtype, (uint32_t)v[j]);
                    d = zero != 0.0f ? d - zero : d;
                }
                y[at + j] = d * s[j];
            }
        }
    }
}

#undef USES_quantize_precision

#endif
