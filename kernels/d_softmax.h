/* kernels/d_softmax.h - Softmax, LogSoftmax and Hardmax of doubles along one axis.
 */
#ifndef KERNELS_D_SOFTMAX_H
#define KERNELS_D_SOFTMAX_H

#include "d_math.h"

enum { D_SOFTMAX, D_LOG_SOFTMAX, D_HARDMAX };

typedef struct d_softmax_p {
    int32_t outer, count, inner; /* over `count`, whose elements are `inner` apart */
    int32_t form;                /* D_SOFTMAX ... */
} d_softmax_p;                   /* d_softmax(p, x, y) */

/* One line, whose elements are `step` apart. */
KERNEL void d_softmax_line(int32_t form, ptrdiff_t count, ptrdiff_t step, const double *restrict x,
                           double *restrict y)
{
    ptrdiff_t best = 0;
    double sum = 0.0;
    for (ptrdiff_t i = 1; i < count; i++)
        if (x[i * step] > x[best * step] || x[best * step] != x[best * step]) best = i;
    const double max = x[best * step];
    for (ptrdiff_t i = 0; i < count; i++) {
        if (form == D_HARDMAX) y[i * step] = i == best;
        else sum += y[i * step] = d_exp(x[i * step] - max);
    }
    if (form == D_HARDMAX) return;
    const double log = d_log(sum);
    for (ptrdiff_t i = 0; i < count; i++)
        y[i * step] = form == D_SOFTMAX ? y[i * step] / sum : x[i * step] - max - log;
}

KERNEL_RUN void d_softmax(const d_softmax_p *restrict p, const double *restrict x,
                          double *restrict y)
{
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t j = 0; j < p->inner; j++) {
            const ptrdiff_t at = o * p->count * p->inner + j;
            d_softmax_line(p->form, p->count, p->inner, x + at, y + at);
        }
}

#endif
