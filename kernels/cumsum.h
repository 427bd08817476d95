/* kernels/cumsum.h - sums or products of all elements so far along an axis: ONNX's CumSum and
 * CumProd.
 *
 * Integers wrap around. Reals are worked on in double, and each result is rounded once.
 */
#ifndef KERNELS_CUMSUM_H
#define KERNELS_CUMSUM_H

#include "elements.h"

typedef struct cumsum_p {
    int32_t outer, d, inner; /* along `d`, whose elements are `inner` apart */
    int32_t type;            /* A_FLOAT ... */
    int32_t exclusive;       /* an element is not in its own sum */
    int32_t reverse;         /* from the end */
    int32_t product;         /* products, else sums */
} cumsum_p;                  /* cumsum(p, x, y) */

KERNEL_TRAITS(cumsum, floats)

/* n columns, whose first elements are at `at`; `step` to the next element of a column. */
KERNEL void cumsum_integers(const cumsum_p *restrict p, const void *restrict x, void *restrict y,
                            ptrdiff_t at, ptrdiff_t step, int32_t n)
{
    uint64_t sum[F_CHUNK], u[F_CHUNK];
    for (int32_t j = 0; j < n; j++) sum[j] = p->product != 0;
    for (int32_t i = 0; i < p->d; i++, at += step) {
        arith_load_integers(u, p->type, x, at, 1, n);
        if (p->exclusive) arith_store_integers(sum, p->type, y, at, n);
        for (int32_t j = 0; j < n; j++) sum[j] = p->product ? sum[j] * u[j] : sum[j] + u[j];
        if (!p->exclusive) arith_store_integers(sum, p->type, y, at, n);
    }
}

KERNEL void cumsum_reals(const cumsum_p *restrict p, const void *restrict x, void *restrict y,
                         ptrdiff_t at, ptrdiff_t step, int32_t n)
{
    double sum[F_CHUNK], u[F_CHUNK];
    for (int32_t j = 0; j < n; j++) sum[j] = p->product ? 1.0 : 0.0;
    for (int32_t i = 0; i < p->d; i++, at += step) {
        arith_load_reals(u, p->type, x, at, 1, n);
        if (p->exclusive) arith_store_reals(sum, p->type, y, at, n);
        for (int32_t j = 0; j < n; j++) sum[j] = p->product ? sum[j] * u[j] : sum[j] + u[j];
        if (!p->exclusive) arith_store_reals(sum, p->type, y, at, n);
    }
}

KERNEL_RUN void cumsum(const cumsum_p *restrict p, const void *restrict x, void *restrict y)
{
    const ptrdiff_t step = p->reverse ? -(ptrdiff_t)p->inner : p->inner;
    const ptrdiff_t first = p->reverse ? (ptrdiff_t)(p->d - 1) * p->inner : 0;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t j = 0; j < p->inner; j += F_CHUNK) {
            const ptrdiff_t at = o * p->d * p->inner + first + j;
            if (arith_is_real(p->type)) cumsum_reals(p, x, y, at, step, f_chunk(j, p->inner));
            else cumsum_integers(p, x, y, at, step, f_chunk(j, p->inner));
        }
}

#endif
