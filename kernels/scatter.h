/* kernels/scatter.h - a tensor with some of its elements replaced, or worked on, by indices:
 * ScatterElements, ScatterND. Updates of the same element follow in the order of the places.
 */
#ifndef KERNELS_SCATTER_H
#define KERNELS_SCATTER_H

#include "arith.h"
#include "gather.h"

enum {
    SCATTER_PUT = -1
}; /* `op`: what is there is replaced; else F_ADD ... of it and the update */

KERNEL_TRAITS(scatter, floats)

/* scatter(p, x, indices, updates, y): x and y have `count` elements of that `type` (which matters
 * only where it is arithmetic), updates are [places][inner]; y may be x. */
KERNEL_RUN void scatter(const index_p *restrict p, const void *x, const void *restrict indices,
                        const void *restrict updates, void *y)
{
    const ptrdiff_t bytes = (ptrdiff_t)p->inner * p->size, rows = index_rows(p);
    const arith_p each = {p->op, p->type, p->type, 1, 1, 1, 1, 1, p->inner, 0, 0,
                          0,     0,       0,       1, 0, 0, 0, 0, 0,        1};
    ptrdiff_t from = 0;
    if (x != y) memcpy(y, x, (size_t)p->count * (size_t)p->size);
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t row, i;
        index_row(p, r, &row, &i);
        for (ptrdiff_t j = 0; j < p->d7; j++, row += p->x7, i += p->i7, from += p->inner) {
            const ptrdiff_t at = row + index_offset(p, indices, i);
            if (p->op == SCATTER_PUT) {
                index_move((const unsigned char *)updates + from * p->size,
                           (unsigned char *)y + at * p->size, bytes);
                continue;
            }
            for (ptrdiff_t k = 0; k < p->inner; k += F_CHUNK) {
                const arith_row a = {y, at + k, 1}, b = {updates, from + k, 1};
                arith_chunk(&each, a, b, y, at + k, f_chunk(k, p->inner));
            }
        }
    }
}

#endif
