/* kernels/f_lpnorm.h - lines divided by their norm: the sum of sizes, or the root of that of
 * squares, as in f_sum.h. Lines of zeros stay so.
 */
#ifndef KERNELS_F_LPNORM_H
#define KERNELS_F_LPNORM_H

#include "f_math.h"
#include "f_sum.h"

typedef struct f_lpnorm_p {
    int32_t outer, count, inner; /* over `count`, whose elements are `inner` apart */
    int32_t order;               /* 1 or 2 */
} f_lpnorm_p;                    /* f_lpnorm(p, x, y) */

/* `lanes` neighbours at once, each along its own line. */
KERNEL void f_lpnorm_lines(const f_lpnorm_p *restrict p, const float *restrict x, float *restrict y,
                           int32_t lanes)
{
    float norm[F_CHUNK];
    f_sum s;
    f_sum_start(&s, lanes, p->inner == lanes ? p->count : 1);
    f_sum_rows(&s, x, p->count, p->inner, p->order == 1 ? F_SUM_SIZES : F_SUM_SQUARES);
    f_sum_end(&s, norm);
    for (int32_t j = 0; j < lanes; j++) {
        if (p->order == 2) norm[j] = f_sqrt(norm[j]);
        if (norm[j] == 0.0f) norm[j] = 1.0f;
    }
    for (ptrdiff_t i = 0; i < p->count; i++)
        for (int32_t j = 0; j < lanes; j++) y[i * p->inner + j] = x[i * p->inner + j] / norm[j];
}

KERNEL_RUN void f_lpnorm(const f_lpnorm_p *restrict p, const float *restrict x, float *restrict y)
{
    const ptrdiff_t size = (ptrdiff_t)p->count * p->inner;
    for (int32_t o = 0; o < p->outer; o++, x += size, y += size)
        for (ptrdiff_t j = 0; j < p->inner; j += F_CHUNK)
            f_lpnorm_lines(p, x + j, y + j, f_chunk(j, p->inner));
}

#endif
