/* kernels/f_rotary.h - pairs of elements turned by the angles of their position: RotaryEmbedding.
 */
#ifndef KERNELS_F_ROTARY_H
#define KERNELS_F_ROTARY_H

#include <string.h>
#include "common.h"

typedef struct f_rotary_p {
    int32_t batch, heads, rows, size; /* heads are of `size` elements, side by side */
    int32_t turned;                   /* elements of a head that are turned, its first: even */
    int32_t interleaved;              /* a pair is of neighbours, else turned / 2 apart */
    int32_t xb, xh, xr, xat;          /* strides of x by batch, head and row; its first element */
    int32_t yb, yh, yr;               /* strides of y */
    int32_t places;                   /* rows of the tables, at least 1 */
    int32_t ib, ir;                   /* strides of the ids by batch and row */
    int32_t wide;                     /* ids are int64_t, else int32_t */
    int32_t pb, pr, first;            /* added to an id: pb * batch + pr * row + first */
} f_rotary_p; /* f_rotary(p, x, cos, sin, ids or NULL, y): tables are [places][turned / 2]; without
                 ids these are 0, and what lies outside is taken for the nearest place */

/* One head: those elements that are not turned are copied. */
KERNEL void f_rotary_head(const f_rotary_p *restrict p, const float *restrict x,
                          const float *restrict c, const float *restrict s, float *restrict y)
{
    const ptrdiff_t half = p->turned / 2;
    if (p->interleaved)
        for (ptrdiff_t i = 0; i < half; i++) {
            y[2 * i] = c[i] * x[2 * i] - s[i] * x[2 * i + 1];
            y[2 * i + 1] = s[i] * x[2 * i] + c[i] * x[2 * i + 1];
        }
    else
        for (ptrdiff_t i = 0; i < half; i++) {
            y[i] = c[i] * x[i] - s[i] * x[half + i];
            y[half + i] = s[i] * x[i] + c[i] * x[half + i];
        }
    memcpy(y + p->turned, x + p->turned, (size_t)(p->size - p->turned) * sizeof *y);
}

KERNEL_RUN void f_rotary(const f_rotary_p *restrict p, const float *restrict x,
                         const float *restrict cos, const float *restrict sin,
                         const void *restrict ids, float *restrict y)
{
    const ptrdiff_t half = p->turned / 2;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (ptrdiff_t r = 0; r < p->rows; r++) {
            const ptrdiff_t i = b * p->ib + r * p->ir;
            int64_t id = !ids ? 0 : p->wide ? ((const int64_t *)ids)[i] : ((const int32_t *)ids)[i];
            id = id < -p->places ? -(int64_t)p->places : id > p->places ? p->places : id;
            id += (int64_t)b * p->pb + (int64_t)r * p->pr + p->first;
            const ptrdiff_t at = id < 0 ? 0 : id >= p->places ? p->places - 1 : (ptrdiff_t)id;
            for (ptrdiff_t h = 0; h < p->heads; h++)
                f_rotary_head(p, x + p->xat + b * p->xb + h * p->xh + r * p->xr, cos + at * half,
                              sin + at * half, y + b * p->yb + h * p->yh + r * p->yr);
        }
}

#endif
