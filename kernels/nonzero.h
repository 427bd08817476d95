/* kernels/nonzero.h - where a tensor is not 0: ONNX's NonZero. NaN is not 0. */
#ifndef KERNELS_NONZERO_H
#define KERNELS_NONZERO_H

#include <string.h>
#include "order.h"

typedef struct nonzero_p {
    int32_t rank;                           /* axes, at most 8 */
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* their sizes */
    int32_t type;                           /* A_FLOAT ... */
} nonzero_p; /* nonzero(p, x, y, size): *size is how many there are, y is [rank][*size],
                and 0 behind that */

/* What the elements are that are 0, as order_keys() has them. */
KERNEL uint64_t nonzero_zero(int32_t type)
{
    return (uint64_t)(arith_is_real(type) || arith_is_signed(type)) << 63;
}

/* Writes the place `at` as coordinates `step` apart. */
KERNEL void nonzero_place(const nonzero_p *restrict p, ptrdiff_t at, int64_t *restrict y,
                          ptrdiff_t step)
{
    const int32_t dims[8] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6, p->d7};
    for (int32_t i = p->rank - 1; i >= 0; i--) {
        y[i * step] = at % dims[i];
        at /= dims[i];
    }
}

KERNEL_RUN void nonzero(const nonzero_p *restrict p, const void *restrict x, int64_t *restrict y,
                        int64_t *restrict size)
{
    const int32_t dims[8] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6, p->d7};
    const uint64_t zero = nonzero_zero(p->type);
    ptrdiff_t count = 1, found = 0, written = 0;
    for (int32_t i = 0; i < p->rank; i++) count *= dims[i];
    for (int32_t pass = 0; pass < 2; pass++)
        for (ptrdiff_t i = 0; i < count; i += F_CHUNK) {
            uint64_t key[F_CHUNK];
            const int32_t n = f_chunk(i, count);
            order_keys(key, p->type, x, i, 1, n);
            for (int32_t j = 0; j < n; j++) {
                if (key[j] == zero) continue;
                if (pass) nonzero_place(p, i + j, y + written++, found);
                else found++;
            }
        }
    memset(y + found * p->rank, 0, (size_t)((count - found) * p->rank) * sizeof *y);
    *size = found;
}

#endif
