/* kernels/f_reduce.h - sums, means, extremes, products and norms over any set of axes.
 *
 * Each output takes its elements in the order they lie in memory; a mean is divided once. Min and
 * max pass NaN on.
 */
#ifndef KERNELS_F_REDUCE_H
#define KERNELS_F_REDUCE_H

#include "f_math.h"
#include "params.h"

/* acc with one more element. */
KERNEL float f_reduce_step(int32_t op, float acc, float x)
{
    switch (op) {
    case F_RMAX: return x > acc || x != x ? x : acc;
    case F_RMIN: return x < acc || x != x ? x : acc;
    case F_RPROD: return acc * x;
    case F_RSUMSQ:
    case F_RL2: return acc + x * x;
    default: return acc + x;
    }
}

/* One row of n elements into y: all into y[0], or each into its own. */
KERNEL void f_reduce_row(int32_t op, int32_t reduced, ptrdiff_t n, const float *restrict x,
                         float *restrict y)
{
    if (reduced) {
        float acc = *y;
        for (ptrdiff_t j = 0; j < n; j++) acc = f_reduce_step(op, acc, x[j]);
        *y = acc;
    } else {
        for (ptrdiff_t j = 0; j < n; j++) y[j] = f_reduce_step(op, y[j], x[j]);
    }
}

/* Adds every row of the input to the outputs it belongs to; ystep[i] is the step in y of axis i. */
KERNEL void f_reduce_rows(int32_t op, const int32_t dims[6], const ptrdiff_t ystep[6],
                          int32_t reduced, const float *restrict x, float *restrict y)
{
    ptrdiff_t rows = 1;
    for (int i = 0; i < 5; i++) rows *= dims[i];
    for (ptrdiff_t r = 0; r < rows; r++, x += dims[5]) {
        float *out = y;
        ptrdiff_t rest = r;
        for (int i = 4; i >= 0; rest /= dims[i], i--) out += rest % dims[i] * ystep[i];
        f_reduce_row(op, reduced, dims[5], x, out);
    }
}

KERNEL_RUN void f_reduce(const f_reduce_p *restrict p, const float *restrict x, float *restrict y)
{
    const int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t reduced[6] = {p->r0, p->r1, p->r2, p->r3, p->r4, p->r5};
    ptrdiff_t ystep[6], outputs = 1, count = 1;
    for (int i = 5; i >= 0; i--) {
        ystep[i] = reduced[i] ? 0 : outputs;
        if (reduced[i]) count *= dims[i];
        else outputs *= dims[i];
    }
    const float start = p->op == F_RMAX    ? -INFINITY
                        : p->op == F_RMIN  ? INFINITY
                        : p->op == F_RPROD ? 1.0f
                                           : 0.0f;
    for (ptrdiff_t j = 0; j < outputs; j++) y[j] = start;
    switch (p->op) { /* one loop an operation: no test inside */
    case F_RMAX: f_reduce_rows(F_RMAX, dims, ystep, p->r5, x, y); break;
    case F_RMIN: f_reduce_rows(F_RMIN, dims, ystep, p->r5, x, y); break;
    case F_RPROD: f_reduce_rows(F_RPROD, dims, ystep, p->r5, x, y); break;
    case F_RSUMSQ:
    case F_RL2: f_reduce_rows(F_RSUMSQ, dims, ystep, p->r5, x, y); break;
    default: f_reduce_rows(F_RSUM, dims, ystep, p->r5, x, y); break;
    }
    if (p->op == F_RMEAN)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] /= (float)count;
    if (p->op == F_RL2)
        for (ptrdiff_t j = 0; j < outputs; j++) y[j] = f_sqrt(y[j]);
}

#endif
