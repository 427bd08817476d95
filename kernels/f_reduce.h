/* kernels/f_reduce.h - sums, means, extremes, products and norms of floats over any set of axes.
 *
 * Sums are those of f_sum.h, in the order that the elements lie in memory; a mean is divided once.
 * Products, minima and maxima take their elements one by one in that order. Min and max pass NaN
 * on.
 */
#ifndef KERNELS_F_REDUCE_H
#define KERNELS_F_REDUCE_H

#include "f_math.h"
#include "f_sum.h"
#include "reduce_walk.h"

/* acc with one more element. */
KERNEL float f_reduce_step(int32_t op, float acc, float x)
{
    switch (op) {
    case F_RMAX: return x > acc || x != x ? x : acc;
    case F_RMIN: return x < acc || x != x ? x : acc;
    default: return acc * x;
    }
}

/* k <= F_CHUNK neighbouring outputs, whose first elements are at x: their sums. */
KERNEL void f_reduce_sums(int32_t form, const reduce_walk *w, int32_t k, const float *restrict x,
                          float *restrict y)
{
    f_sum s;
    f_sum_start(&s, k, w->rows);
    for (ptrdiff_t t = 0; t < w->turns; t++)
        f_sum_rows(&s, x + reduce_at(w, t), w->rows, w->step, form);
    f_sum_end(&s, y);
}

/* The same: their extremes or products. */
KERNEL void f_reduce_steps(int32_t op, const reduce_walk *w, int32_t k, const float *restrict x,
                           float *restrict y)
{
    const float start = op == F_RMAX ? -INFINITY : op == F_RMIN ? INFINITY : 1.0f;
    for (int32_t j = 0; j < k; j++) y[j] = start;
    for (ptrdiff_t t = 0; t < w->turns; t++) {
        const float *in = x + reduce_at(w, t);
        for (ptrdiff_t i = 0; i < w->rows; i++, in += w->step)
            for (int32_t j = 0; j < k; j++) y[j] = f_reduce_step(op, y[j], in[j]);
    }
}

/* The same: ln of the sum of e^x, as max + ln of the sum of e^(x - max). */
KERNEL void f_reduce_log_sum_exp(const reduce_walk *w, int32_t k, const float *restrict x,
                                 float *restrict y)
{
    float max[F_CHUNK], e[F_CHUNK];
    f_sum s;
    f_reduce_steps(F_RMAX, w, k, x, y);
    f_sum_start(&s, k, w->step == k ? w->rows : 1);
    for (int32_t j = 0; j < k; j++) y[j] = f_abs(y[j]) == INFINITY ? 0.0f : y[j];
    for (int32_t j = 0; j < s.lanes; j++) max[j] = y[j % k];
    for (ptrdiff_t t = 0; t < w->turns; t++) {
        const float *in = x + reduce_at(w, t);
        const int32_t apart = s.lanes == k; /* else rows without a gap, several at once */
        const ptrdiff_t n = apart ? w->rows * k : w->rows * w->step;
        for (ptrdiff_t i = 0; i < n; i += s.lanes) {
            const int32_t some = n - i < s.lanes ? (int32_t)(n - i) : s.lanes;
            const float *from = in + (apart ? i / k * w->step : i);
            for (int32_t j = 0; j < some; j++) e[j] = f_exp(from[j] - max[j]);
            f_sum_piece(&s, e, some, F_SUM_PLAIN);
        }
    }
    f_sum_end(&s, e);
    for (int32_t j = 0; j < k; j++) y[j] += f_log(e[j]);
}

/* The same: whatever it is, but for what is done with it at the end. */
KERNEL void f_reduce_some(int32_t op, const reduce_walk *w, int32_t k, const float *restrict x,
                          float *restrict y)
{
    switch (op) {
    case F_RSUM: f_reduce_sums(F_SUM_PLAIN, w, k, x, y); break;
    case F_RSUMSQ: f_reduce_sums(F_SUM_SQUARES, w, k, x, y); break;
    case F_RL1: f_reduce_sums(F_SUM_SIZES, w, k, x, y); break;
    case F_RLOGSUMEXP: f_reduce_log_sum_exp(w, k, x, y); break;
    default: f_reduce_steps(op, w, k, x, y); break;
    }
}

/* All outputs. */
KERNEL void f_reduce_all(int32_t op, const reduce_walk *kept, const reduce_walk *reduced,
                         const float *restrict x, float *restrict y)
{
    for (ptrdiff_t t = 0; t < kept->turns; t++) {
        const float *in = x + reduce_at(kept, t);
        for (ptrdiff_t j = 0; j < kept->rows; j += F_CHUNK)
            f_reduce_some(op, reduced, f_chunk(j, kept->rows), in + j, y + j);
        y += kept->rows;
    }
}

KERNEL_RUN void f_reduce(const reduce_p *restrict p, const float *restrict x, float *restrict y)
{
    reduce_walk kept, reduced;
    reduce_axes(p, &kept, &reduced);
    const ptrdiff_t outputs = kept.turns * kept.rows, count = reduced.turns * reduced.rows;
    switch (p->op) { /* one loop an operation: no test inside */
    case F_RMAX: f_reduce_all(F_RMAX, &kept, &reduced, x, y); break;
    case F_RMIN: f_reduce_all(F_RMIN, &kept, &reduced, x, y); break;
    case F_RPROD: f_reduce_all(F_RPROD, &kept, &reduced, x, y); break;
    case F_RL1: f_reduce_all(F_RL1, &kept, &reduced, x, y); break;
    case F_RLOGSUMEXP: f_reduce_all(F_RLOGSUMEXP, &kept, &reduced, x, y); break;
    case F_RSUMSQ:
    case F_RL2: f_reduce_all(F_RSUMSQ, &kept, &reduced, x, y); break;
    default: f_reduce_all(F_RSUM, &kept, &reduced, x, y); break;
    }
    if (p->op == F_RMEAN)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] /= (float)(count + !count); /* of nothing: 0 */
    if (p->op == F_RL2)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] = f_sqrt(y[j]);
    if (p->op == F_RLOGSUM)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] = f_log(y[j]);
}

#endif
