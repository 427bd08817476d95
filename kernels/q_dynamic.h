/* kernels/q_dynamic.h - between floats and exact int32 sums of products: ranges that are found
 * while the model runs, and what becomes of the sums.
 */
#ifndef KERNELS_Q_DYNAMIC_H
#define KERNELS_Q_DYNAMIC_H

#include "f_math.h"
#include "requant.h"

typedef struct q_range_p {
    int32_t steps, batch, size; /* x is [steps][batch][size] */
} q_range_p;
/* q_range(p, x, lengths or NULL, scale, zero): ONNX's DynamicQuantizeLinear, scale one float and
 * zero one uint8. Steps behind the longest of the lengths do not count; there is a length for each
 * row of the batch. */

typedef struct q_to_float_p {
    int32_t batch, m, n;  /* x is int32 [batch][m][n] */
    int32_t column, step; /* scales from one column, one matrix to the next: 0 or 1; 0, 1 or n */
    float alpha;          /* a factor of all */
} q_to_float_p;
/* q_to_float(p, x, integers or NULL, scale, scales, bias or NULL, y): y = (float)(x +
 * integers[column]) * (alpha * scale * scales[column]) + bias[column] */

typedef struct q_to_bytes_p {
    int32_t m, n;      /* x is int32 [m][n] */
    int32_t column;    /* scales from one column to the next: 0 or 1 */
    int32_t is_signed; /* y is int8, else uint8 */
    float alpha;       /* a factor of all */
} q_to_bytes_p;
/* q_to_bytes(p, x, bias or NULL, x's scale, the weights' scales, y's scale, y's zero point or NULL,
 * y): y = S(rint((float)(x + bias) * (alpha * sx * sw / sy)) + zero), as q_gemm */

/* The least and the greatest of x[0..n) and 0. NaN does not count. */
KERNEL_CALLED void q_extremes(const float *restrict x, ptrdiff_t n, float *restrict lo,
                              float *restrict hi)
{
    float least[F_CHUNK] = {0.0f}, most[F_CHUNK] = {0.0f};
    ptrdiff_t i = 0;
    for (; i + F_CHUNK <= n; i += F_CHUNK)
        for (int j = 0; j < F_CHUNK; j++) {
            const float v = x[i + j];
            least[j] = f_select(v < least[j], v, least[j]);
            most[j] = f_select(v > most[j], v, most[j]);
        }
    for (; i < n; i++) {
        least[0] = x[i] < least[0] ? x[i] : least[0];
        most[0] = x[i] > most[0] ? x[i] : most[0];
    }
    *lo = least[0];
    *hi = most[0];
    for (int j = 1; j < F_CHUNK; j++) {
        *lo = least[j] < *lo ? least[j] : *lo;
        *hi = most[j] > *hi ? most[j] : *hi;
    }
}

/* Scale and zero point of a range, which holds 0. */
KERNEL void q_range_params(float lo, float hi, float *restrict scale, uint8_t *restrict zero)
{
    *scale = lo == hi ? 1.0f : (hi - lo) / 255.0f;
    const float z = f_clamp(0.0f - lo / *scale, 0.0f, 255.0f);
    *zero = (uint8_t)f_rint_int(z == z ? z : 0.0f);
}

KERNEL_TRAITS(q_range, exact)
KERNEL_RUN void q_range(const q_range_p *restrict p, const float *restrict x,
                        const int32_t *restrict lengths, float *restrict scale,
                        uint8_t *restrict zero)
{
    float lo, hi;
    int32_t steps = lengths ? 0 : p->steps;
    for (int32_t b = 0; lengths && b < p->batch; b++)
        if (lengths[b] > steps) steps = lengths[b] < p->steps ? lengths[b] : p->steps;
    q_extremes(x, (ptrdiff_t)steps * p->batch * p->size, &lo, &hi);
    q_range_params(lo, hi, scale, zero);
}

KERNEL_RUN void q_to_float(const q_to_float_p *restrict p, const int32_t *restrict x,
                           const int32_t *restrict integers, const float *restrict scale,
                           const float *restrict scales, const float *restrict bias,
                           float *restrict y)
{
    const float factor = p->alpha * *scale;
    for (int32_t s = 0; s < p->batch; s++, scales += p->step)
        for (int32_t m = 0; m < p->m; m++, x += p->n, y += p->n) {
            for (int32_t j = 0; j < p->n; j++)
                y[j] = (float)q_signed((uint32_t)x[j] + (integers ? (uint32_t)integers[j] : 0));
            if (p->column)
                for (int32_t j = 0; j < p->n; j++) y[j] *= factor * scales[j];
            else
                for (int32_t j = 0; j < p->n; j++) y[j] *= factor * *scales;
            for (int32_t j = 0; bias && j < p->n; j++) y[j] += bias[j];
        }
}

/* A block of columns of all rows. */
KERNEL void q_to_bytes_block(const q_to_bytes_p *restrict p, const int32_t *restrict x,
                             const int32_t *restrict bias, const q_scale scale[Q_LANES],
                             int32_t count, q_out out, uint8_t *restrict y)
{
    for (int32_t m = 0; m < p->m; m++, x += p->n, y += p->n) {
        uint32_t sum[Q_LANES] = {0};
        for (int32_t j = 0; j < count; j++)
            sum[j] = (uint32_t)x[j] + (bias ? (uint32_t)bias[j] : 0);
        q_requant_block(sum, scale, out, y, count);
    }
}

KERNEL_TRAITS(q_to_bytes, exact)
KERNEL_RUN void q_to_bytes(const q_to_bytes_p *restrict p, const int32_t *restrict x,
                           const int32_t *restrict bias, const float *restrict sx,
                           const float *restrict sw, const float *restrict sy,
                           const void *restrict zero, void *restrict y)
{
    q_out out;
    out.lo = p->is_signed ? -128 : 0;
    out.hi = out.lo + 255;
    out.zero = !zero ? 0 : p->is_signed ? *(const int8_t *)zero : *(const uint8_t *)zero;
    for (int32_t c = 0; c < p->n; c += Q_LANES) {
        const int32_t count = p->n - c < Q_LANES ? p->n - c : Q_LANES;
        q_scale scale[Q_LANES] = {0};
        for (int32_t j = 0; j < count; j++)
            scale[j] = f_bits(p->alpha * *sx * sw[p->column ? c + j : 0] / *sy);
        q_to_bytes_block(p, x + c, bias ? bias + c : bias, scale, count, out, (uint8_t *)y + c);
    }
}

#endif
