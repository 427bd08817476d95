/* kernels/f_softmax.h - Softmax and LogSoftmax along one axis.
 *
 * e^(x - max) / sum, the sum that of f_sum.h, or x - max - ln(sum).
 */
#ifndef KERNELS_F_SOFTMAX_H
#define KERNELS_F_SOFTMAX_H

#include "f_math.h"
#include "f_sum.h"
#include "params.h"

/* The greatest of n floats side by side; -INFINITY where there is none. */
KERNEL float f_greatest(const float *restrict x, ptrdiff_t n)
{
    float max[F_CHUNK];
    ptrdiff_t i = 0;
    for (int j = 0; j < F_CHUNK; j++) max[j] = -INFINITY;
    for (; i + F_CHUNK <= n; i += F_CHUNK)
        for (int j = 0; j < F_CHUNK; j++) max[j] = x[i + j] > max[j] ? x[i + j] : max[j];
    for (; i < n; i++) max[0] = x[i] > max[0] ? x[i] : max[0];
    for (int half = F_CHUNK / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) max[j] = max[j + half] > max[j] ? max[j + half] : max[j];
    return max[0];
}

/* `lanes` neighbours at once, each along its own line of `count` elements `inner` apart. */
KERNEL void f_softmax_lines(const f_softmax_p *restrict p, const float *restrict x,
                            float *restrict y, ptrdiff_t inner, int32_t lanes)
{
    float max[F_CHUNK], sum[F_CHUNK];
    f_sum total;
    for (int32_t j = 0; j < lanes; j++) max[j] = -INFINITY;
    if (inner == 1) max[0] = f_greatest(x, p->count);
    for (ptrdiff_t i = 0; i < p->count && inner > 1; i++)
        for (int32_t j = 0; j < lanes; j++)
            max[j] = x[i * inner + j] > max[j] ? x[i * inner + j] : max[j];
    for (ptrdiff_t i = 0; i < p->count; i++)
        for (int32_t j = 0; j < lanes; j++) y[i * inner + j] = f_exp(x[i * inner + j] - max[j]);
    if (p->count <= F_SUM_BLOCK) {
        for (int32_t j = 0; j < lanes; j++) sum[j] = 0.0f;
        f_sum_few(y, p->count, inner, lanes, sum);
    } else {
        f_sum_start(&total, lanes, inner == lanes ? p->count : 1);
        f_sum_rows(&total, y, p->count, inner, 0);
        f_sum_end(&total, sum);
    }
    for (int32_t j = 0; j < lanes && p->log; j++) sum[j] = f_log(sum[j]);
    if (p->log)
        for (ptrdiff_t i = 0; i < p->count; i++)
            for (int32_t j = 0; j < lanes; j++)
                y[i * inner + j] = x[i * inner + j] - max[j] - sum[j];
    else
        for (ptrdiff_t i = 0; i < p->count; i++)
            for (int32_t j = 0; j < lanes; j++) y[i * inner + j] /= sum[j];
}

KERNEL_RUN void f_softmax(const f_softmax_p *restrict p, const float *restrict x, float *restrict y)
{
    const ptrdiff_t size = (ptrdiff_t)p->count * p->inner;
    for (int32_t o = 0; o < p->outer; o++, x += size, y += size) {
        if (p->inner == 1) f_softmax_lines(p, x, y, 1, 1);
        for (ptrdiff_t j = 0; j < p->inner && p->inner > 1; j += F_CHUNK)
            f_softmax_lines(p, x + j, y + j, p->inner, f_chunk(j, p->inner));
    }
}

#endif
