/* kernels/det.h - determinants of square matrices: elimination with the greatest pivot of a column,
 * in double.
 */
#ifndef KERNELS_DET_H
#define KERNELS_DET_H

#include "reals.h"

typedef struct det_p {
    int32_t count, n; /* x is [count][n][n] */
    int32_t type;     /* A_FLOAT or A_DOUBLE */
} det_p;              /* det(p, x, y, memory): memory for a matrix of doubles */

KERNEL_TRAITS(det, floats)

/* Takes column k out of the rows below, the row of its greatest element first: that element, with
 * the sign that changing rows gives. */
KERNEL double det_pivot(double *restrict a, ptrdiff_t n, ptrdiff_t k)
{
    ptrdiff_t best = k;
    for (ptrdiff_t i = k + 1; i < n; i++) {
        const double v = a[i * n + k], w = a[best * n + k];
        if ((v < 0.0 ? -v : v) > (w < 0.0 ? -w : w)) best = i;
    }
    for (ptrdiff_t j = k; j < n && best != k; j++) {
        const double v = a[k * n + j];
        a[k * n + j] = a[best * n + j];
        a[best * n + j] = v;
    }
    const double pivot = a[k * n + k];
    for (ptrdiff_t i = k + 1; i < n && pivot != 0.0; i++) {
        const double f = a[i * n + k] / pivot;
        for (ptrdiff_t j = k + 1; j < n; j++) a[i * n + j] -= f * a[k * n + j];
    }
    return best == k ? pivot : -pivot;
}

KERNEL_RUN void det(const det_p *restrict p, const void *restrict x, void *restrict y,
                    double *restrict memory)
{
    const ptrdiff_t n = p->n;
    for (ptrdiff_t m = 0; m < p->count; m++) {
        double product = 1.0;
        for (ptrdiff_t i = 0; i < n * n; i++) memory[i] = real_get(p->type, x, m * n * n + i);
        for (ptrdiff_t k = 0; k < n; k++) product *= det_pivot(memory, n, k);
        real_put(p->type, y, m, product);
    }
}

#endif
