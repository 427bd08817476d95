/* kernels/quantize.h - between floats and integers, as ONNX's QuantizeLinear and DequantizeLinear.
 *
 * saturate(round_half_even(x / scale) + zero point), the division exact; NaN counts as 0. And
 * (x - zero point) * scale.
 */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

#include "f_math.h"
#include "params.h"

enum { K_UINT8 = 2, K_INT8, K_UINT16, K_INT16, K_INT32 }; /* ONNX's numbers */

/* n integers of `dtype` from element `at` on. */
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

/* Zero point of channel c. */
KERNEL int32_t zero_point(int32_t dtype, const void *zp, ptrdiff_t c)
{
    int32_t v[F_CHUNK] = {0};
    if (zp) integers_load(v, dtype, zp, c, 1);
    return v[0];
}

KERNEL_TRAITS(quantize, exact)
KERNEL_RUN void quantize(const quantize_p *restrict p, const float *restrict x,
                     const float *restrict scale, const void *restrict zp, void *restrict y)
{
    const int32_t is_signed = p->dtype == K_INT8 || p->dtype == K_INT16;
    const int32_t levels = p->dtype == K_UINT8 || p->dtype == K_INT8 ? 256 : 65536;
    const int32_t lo = is_signed ? -levels / 2 : 0, hi = lo + levels - 1;
    const ptrdiff_t rows = (ptrdiff_t)p->outer * p->channels;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float s = scale[r % p->channels];
        const int32_t z = zero_point(p->dtype, zp, r % p->channels);
        const float least = (float)(lo - z), most = (float)(hi - z);
        for (ptrdiff_t i = 0; i < p->inner; i += F_CHUNK) {
            int32_t v[F_CHUNK];
            const ptrdiff_t at = r * p->inner + i;
            const int32_t n = f_chunk(i, p->inner);
            for (int32_t j = 0; j < n; j++) {
                const float q = x[at + j] / s;
                v[j] = f_rint_int(f_clamp(q == q ? q : 0.0f, least, most)) + z;
            }
            integers_store(v, p->dtype, y, at, n);
        }
    }
}

KERNEL_TRAITS(dequantize, exact)
KERNEL_RUN void dequantize(const quantize_p *restrict p, const void *restrict x,
                       const float *restrict scale, const void *restrict zp, float *restrict y)
{
    const ptrdiff_t rows = (ptrdiff_t)p->outer * p->channels;
    for (ptrdiff_t r = 0; r < rows; r++) {
        const float s = scale[r % p->channels];
        const uint32_t z = (uint32_t)zero_point(p->dtype, zp, r % p->channels);
        for (ptrdiff_t i = 0; i < p->inner; i += F_CHUNK) {
            int32_t v[F_CHUNK];
            const ptrdiff_t at = r * p->inner + i;
            const int32_t n = f_chunk(i, p->inner);
            integers_load(v, p->dtype, x, at, n);
            for (int32_t j = 0; j < n; j++) y[at + j] = (float)(int32_t)((uint32_t)v[j] - z) * s;
        }
    }
}

#endif
