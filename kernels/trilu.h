/* kernels/trilu.h - matrices of which what is above, or below, a diagonal becomes 0: ONNX's Trilu.
 */
#ifndef KERNELS_TRILU_H
#define KERNELS_TRILU_H

#include <string.h>
#include "common.h"

typedef struct trilu_p {
    int32_t batch, rows, columns;
    int32_t upper; /* what is right of the diagonal stays, else what is left of it */
    int32_t size;  /* bytes an element */
} trilu_p; /* trilu(p, x, k or NULL, y): k is one int64_t, how far the diagonal lies right of
              the main one, on which it is without */

KERNEL_RUN void trilu(const trilu_p *restrict p, const void *restrict x, const int64_t *restrict k,
                      void *restrict y)
{
    const ptrdiff_t row = (ptrdiff_t)p->columns * p->size;
    const int64_t shift = !k ? 0 : *k < -p->rows ? -p->rows : *k > p->columns ? p->columns : *k;
    const unsigned char *from = x;
    unsigned char *to = y;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (int32_t i = 0; i < p->rows; i++, from += row, to += row) {
            int64_t cut = i + shift + !p->upper; /* the first column that is of the right part */
            cut = cut < 0 ? 0 : cut > p->columns ? p->columns : cut;
            const ptrdiff_t left = (ptrdiff_t)cut * p->size;
            memset(to, 0, (size_t)row);
            if (p->upper) memcpy(to + left, from + left, (size_t)(row - left));
            else memcpy(to, from, (size_t)left);
        }
}

#endif
