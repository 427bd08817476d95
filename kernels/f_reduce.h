/* kernels/f_reduce.h - sums, means, extremes, products and norms over any set of axes.
 *
 * Sums are those of f_sum.h, in the order that the elements lie in memory; a mean is divided once.
 * Products, minima and maxima take their elements one by one in that order. Min and max pass NaN
 * on.
 */
#ifndef KERNELS_F_REDUCE_H
#define KERNELS_F_REDUCE_H

#include "f_math.h"
#include "f_sum.h"
#include "params.h"

/* Walks over some axes of the input. The innermost of them are the rows, the others the turns. */
typedef struct f_reduce_walk {
    int32_t dims[6];    /* of the axes of the turns, 1 for all others */
    ptrdiff_t steps[6]; /* elements of x from one index to the next */
    ptrdiff_t turns;    /* how many there are */
    ptrdiff_t rows;     /* in each turn */
    ptrdiff_t step;     /* elements of x from one row to the next */
} f_reduce_walk;

/* acc with one more element. */
KERNEL float f_reduce_step(int32_t op, float acc, float x)
{
    switch (op) {
    case F_RMAX: return x > acc || x != x ? x : acc;
    case F_RMIN: return x < acc || x != x ? x : acc;
    default: return acc * x;
    }
}

/* Where the walk's turn number `t` begins. */
KERNEL ptrdiff_t f_reduce_at(const f_reduce_walk *w, ptrdiff_t t)
{
    ptrdiff_t at = 0;
    for (int i = 5; i >= 0 && t; t /= w->dims[i], i--) at += t % w->dims[i] * w->steps[i];
    return at;
}

/* k <= F_CHUNK neighbouring outputs, whose first elements are at x. */
KERNEL void f_reduce_some(int32_t op, const f_reduce_walk *w, int32_t k, const float *restrict x,
                          float *restrict y)
{
    if (op == F_RSUM || op == F_RSUMSQ) {
        f_sum s;
        f_sum_start(&s, k, w->rows);
        for (ptrdiff_t t = 0; t < w->turns; t++)
            f_sum_rows(&s, x + f_reduce_at(w, t), w->rows, w->step, op == F_RSUMSQ);
        f_sum_end(&s, y);
        return;
    }
    const float start = op == F_RMAX ? -INFINITY : op == F_RMIN ? INFINITY : 1.0f;
    for (int32_t j = 0; j < k; j++) y[j] = start;
    for (ptrdiff_t t = 0; t < w->turns; t++) {
        const float *in = x + f_reduce_at(w, t);
        for (ptrdiff_t i = 0; i < w->rows; i++, in += w->step)
            for (int32_t j = 0; j < k; j++) y[j] = f_reduce_step(op, y[j], in[j]);
    }
}

/* All outputs. */
KERNEL void f_reduce_all(int32_t op, const f_reduce_walk *kept, const f_reduce_walk *reduced,
                         const float *restrict x, float *restrict y)
{
    for (ptrdiff_t t = 0; t < kept->turns; t++) {
        const float *in = x + f_reduce_at(kept, t);
        for (ptrdiff_t j = 0; j < kept->rows; j += F_CHUNK)
            f_reduce_some(op, reduced, f_chunk(j, kept->rows), in + j, y + j);
        y += kept->rows;
    }
}

/* Splits the axes into those that are kept, whose rows are outputs side by side, and those that are
 * reduced. Axes of one element are nowhere; neighbours of a kind are one axis where they can. */
KERNEL void f_reduce_axes(const int32_t dims[6], const int32_t is_reduced[6], f_reduce_walk *kept,
                          f_reduce_walk *reduced)
{
    ptrdiff_t step = 1;
    *kept = *reduced = (f_reduce_walk){{0}, {0}, 1, 1, 1};
    for (int i = 5; i >= 0; step *= dims[i], i--) {
        f_reduce_walk *w = is_reduced[i] ? reduced : kept;
        kept->dims[i] = reduced->dims[i] = 1;
        kept->steps[i] = reduced->steps[i] = step;
        if (dims[i] == 1) continue;
        if (w->turns == 1 && w == reduced && w->rows == 1) w->step = step;
        if (w->turns == 1 && step == w->rows * w->step) w->rows *= dims[i];
        else w->turns *= w->dims[i] = dims[i];
    }
}

KERNEL_RUN void f_reduce(const f_reduce_p *restrict p, const float *restrict x, float *restrict y)
{
    const int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t is_reduced[6] = {p->r0, p->r1, p->r2, p->r3, p->r4, p->r5};
    f_reduce_walk kept, reduced;
    f_reduce_axes(dims, is_reduced, &kept, &reduced);
    const ptrdiff_t outputs = kept.turns * kept.rows, count = reduced.turns * reduced.rows;
    switch (p->op) { /* one loop an operation: no test inside */
    case F_RMAX: f_reduce_all(F_RMAX, &kept, &reduced, x, y); break;
    case F_RMIN: f_reduce_all(F_RMIN, &kept, &reduced, x, y); break;
    case F_RPROD: f_reduce_all(F_RPROD, &kept, &reduced, x, y); break;
    case F_RSUMSQ:
    case F_RL2: f_reduce_all(F_RSUMSQ, &kept, &reduced, x, y); break;
    default: f_reduce_all(F_RSUM, &kept, &reduced, x, y); break;
    }
    if (p->op == F_RMEAN)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] /= (float)count;
    if (p->op == F_RL2)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] = f_sqrt(y[j]);
}

#endif
