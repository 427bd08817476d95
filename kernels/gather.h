/* kernels/gather.h - rows of a tensor by computed indices: ONNX's Gather.
 */
#ifndef KERNELS_GATHER_H
#define KERNELS_GATHER_H

#include <string.h>
#include "common.h"

typedef struct gather_p {
    int32_t outer, d, inner; /* x is [outer][d][inner]; d at least 1 */
    int32_t count;           /* indices; y is [outer][count][inner] */
    int32_t size;            /* bytes an element */
    int32_t wide;            /* indices are int64_t, else int32_t */
} gather_p; /* gather(p, x, indices, y); those below 0 count from the end, and what lies outside is
               taken from the nearest row */

KERNEL ptrdiff_t gather_row(const gather_p *restrict p, const void *restrict indices, ptrdiff_t i)
{
    int64_t at = p->wide ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
    if (at < 0) at += p->d;
    return (ptrdiff_t)(at < 0 ? 0 : at >= p->d ? p->d - 1 : at);
}

KERNEL_RUN void gather(const gather_p *restrict p, const void *restrict x,
                       const void *restrict indices, void *restrict y)
{
    const ptrdiff_t row = (ptrdiff_t)p->inner * p->size;
    const unsigned char *from = x;
    unsigned char *to = y;
    for (ptrdiff_t o = 0; o < p->outer; o++, from += p->d * row)
        for (ptrdiff_t i = 0; i < p->count; i++, to += row)
            memcpy(to, from + gather_row(p, indices, i) * row, (size_t)row);
}

#endif
