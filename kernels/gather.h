/* kernels/gather.h - elements of a tensor by computed indices: Gather, GatherElements, GatherND.
 *
 * An index is of k numbers, one for each of k axes of the tensor; it stands at a place, and the
 * places are counted by up to 8 axes, along which the tensor may go on, too. At each place are
 * `inner` elements.
 */
#ifndef KERNELS_GATHER_H
#define KERNELS_GATHER_H

#include <string.h>
#include "common.h"

typedef struct index_p {
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* places by axes, 1 in front where there are fewer */
    int32_t x0, x1, x2, x3, x4, x5, x6, x7; /* strides of the tensor along these axes, elements */
    int32_t i0, i1, i2, i3, i4, i5, i6, i7; /* of the indices, in numbers */
    int32_t k;                              /* numbers of an index, beside one another: at most 8 */
    int32_t n0, n1, n2, n3, n4, n5, n6, n7; /* sizes of the axes that they are for, at least 1 */
    int32_t s0, s1, s2, s3, s4, s5, s6, s7; /* strides of the tensor along these axes */
    int32_t inner;                          /* elements at a place */
    int32_t size;                           /* bytes an element */
    int32_t wide;                           /* indices are int64_t, else int32_t */
    int32_t count, type, op;                /* only for scatter (scatter.h) */
} index_p; /* gather(p, x, indices, y): y is [places][inner]. Numbers below 0 count from the end,
              and what lies outside is taken for the nearest that does not */

/* Where the tensor's elements for the index that begins at number i are, from its first. */
KERNEL ptrdiff_t index_offset(const index_p *restrict p, const void *indices, ptrdiff_t i)
{
    const int32_t sizes[8] = {p->n0, p->n1, p->n2, p->n3, p->n4, p->n5, p->n6, p->n7};
    const int32_t strides[8] = {p->s0, p->s1, p->s2, p->s3, p->s4, p->s5, p->s6, p->s7};
    ptrdiff_t offset = 0;
    for (int32_t j = 0; j < p->k; j++) {
        const int32_t n = sizes[j];
        int64_t at =
            p->wide ? ((const int64_t *)indices)[i + j] : ((const int32_t *)indices)[i + j];
        if (at < 0) at += n;
        offset += (ptrdiff_t)(at < 0 ? 0 : at >= n ? n - 1 : at) * strides[j];
    }
    return offset;
}

/* Rows of places along the last axis. */
KERNEL ptrdiff_t index_rows(const index_p *restrict p)
{
    return (ptrdiff_t)p->d0 * p->d1 * p->d2 * p->d3 * p->d4 * p->d5 * p->d6;
}

/* Where row r begins in the tensor and in the indices. */
KERNEL void index_row(const index_p *restrict p, ptrdiff_t r, ptrdiff_t *x, ptrdiff_t *i)
{
    const int32_t dims[7] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6};
    const int32_t xs[7] = {p->x0, p->x1, p->x2, p->x3, p->x4, p->x5, p->x6};
    const int32_t is[7] = {p->i0, p->i1, p->i2, p->i3, p->i4, p->i5, p->i6};
    *x = *i = 0;
    for (int j = 6; j >= 0; r /= dims[j], j--) {
        *x += r % dims[j] * xs[j];
        *i += r % dims[j] * is[j];
    }
}

KERNEL void index_move(const unsigned char *restrict x, unsigned char *restrict y, ptrdiff_t bytes)
{
    switch (bytes) {
    case 1: *y = *x; break;
    case 4: memcpy(y, x, 4); break;
    case 8: memcpy(y, x, 8); break;
    default: memcpy(y, x, (size_t)bytes);
    }
}

KERNEL_RUN void gather(const index_p *restrict p, const void *restrict x,
                       const void *restrict indices, void *restrict y)
{
    const ptrdiff_t bytes = (ptrdiff_t)p->inner * p->size, rows = index_rows(p);
    unsigned char *to = y;
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t at, i;
        index_row(p, r, &at, &i);
        for (ptrdiff_t j = 0; j < p->d7; j++, at += p->x7, i += p->i7, to += bytes)
            index_move((const unsigned char *)x + (at + index_offset(p, indices, i)) * p->size, to,
                       bytes);
    }
}

#endif
