/* kernels/cache.h - rows put into a tensor from a place on that each batch has for itself: keys and
 * values of a step into those of the steps before.
 */
#ifndef KERNELS_CACHE_H
#define KERNELS_CACHE_H

#include <string.h>
#include "common.h"

typedef struct cache_p {
    int32_t batch, outer, inner; /* tensors are [batch][outer][row][inner] */
    int32_t rows, past, added;   /* rows of y, of the past, and of what is put, at most `rows` */
    int32_t ub, uo, ur, uat;     /* strides of what is put, but within a row; its first element */
    int32_t size;                /* bytes an element */
    int32_t wide;                /* places are int64_t, else int32_t */
    int32_t first;               /* is added to a place */
    int32_t circular;            /* behind the last row comes the first */
    int32_t fresh; /* of the past only what lies in front of the place is there; all else is 0 */
} cache_p; /* cache(p, past or NULL, x, places or NULL, y): without places these are 0; rows that
              would not fit are put as far behind as they do */

/* The row where the first of that batch goes. */
KERNEL ptrdiff_t cache_start(const cache_p *restrict p, const void *places, ptrdiff_t b)
{
    int64_t at = !places   ? 0
                 : p->wide ? ((const int64_t *)places)[b]
                           : ((const int32_t *)places)[b];
    if (p->circular) {
        at = (at % p->rows + p->first) % p->rows;
        return (ptrdiff_t)(at < 0 ? at + p->rows : at);
    }
    at = at < INT32_MIN ? INT32_MIN : at > INT32_MAX ? INT32_MAX : at;
    at += p->first;
    const int64_t last = p->rows - p->added;
    return (ptrdiff_t)(at < 0 ? 0 : at > last ? last : at);
}

KERNEL_RUN void cache(const cache_p *restrict p, const void *restrict past, const void *restrict x,
                      const void *restrict places, void *restrict y)
{
    const ptrdiff_t row = (ptrdiff_t)p->inner * p->size;
    const unsigned char *old = past;
    unsigned char *to = y;
    for (ptrdiff_t b = 0; b < p->batch; b++) {
        const ptrdiff_t start = cache_start(p, places, b);
        for (ptrdiff_t o = 0; o < p->outer; o++, to += p->rows * row) {
            const unsigned char *from =
                (const unsigned char *)x + (p->uat + b * p->ub + o * p->uo) * p->size;
            const ptrdiff_t all = p->past < p->rows ? p->past : p->rows;
            const ptrdiff_t kept = !old ? 0 : p->fresh && start < all ? start : all;
            if (kept) memcpy(to, old, (size_t)(kept * row));
            memset(to + kept * row, 0, (size_t)((p->rows - kept) * row));
            for (ptrdiff_t r = 0; r < p->added; r++)
                memcpy(to + (start + r) % p->rows * row, from + r * p->ur * p->size, (size_t)row);
            if (old) old += p->past * row;
        }
    }
}

#endif
