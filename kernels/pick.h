/* kernels/pick.h - the parts of a tensor whose condition holds: ONNX's Compress. */
#ifndef KERNELS_PICK_H
#define KERNELS_PICK_H

#include <string.h>
#include "common.h"

typedef struct pick_p {
    int32_t outer, count, inner; /* x is [outer][count][inner] */
    int32_t given;               /* conditions there are: for the first ones of the axis */
    int32_t most;                /* parts that y has room for, as many as hold or more */
    int32_t size;                /* bytes an element */
} pick_p;                        /* pick(p, x, condition, y, size): y is [outer][*size][inner], and
                0 behind that, up to [outer][most][inner] */

KERNEL_RUN void pick(const pick_p *restrict p, const void *restrict x,
                     const uint8_t *restrict condition, void *restrict y, int64_t *restrict size)
{
    const size_t bytes = (size_t)p->inner * (size_t)p->size;
    const int32_t n = p->given < p->count ? p->given : p->count;
    const unsigned char *from = (const unsigned char *)x;
    unsigned char *to = (unsigned char *)y;
    int64_t found = 0;
    for (int32_t i = 0; i < n; i++) found += condition[i] != 0;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < n; i++) {
            if (!condition[i]) continue;
            memcpy(to, from + (size_t)(o * p->count + i) * bytes, bytes);
            to += bytes;
        }
    memset(to, 0, (size_t)(p->outer * (p->most - found)) * bytes);
    *size = found;
}

#endif
