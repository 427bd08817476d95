/* kernels/pad.h - a box with more of it around: constants, or its own elements again. Pad in all
 * its modes; Tile is a box that goes on as if it were wrapped around.
 *
 * What is moved is a unit of several elements: axes behind the last that grows are part of it.
 */
#ifndef KERNELS_PAD_H
#define KERNELS_PAD_H

#include <string.h>
#include "common.h"

enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

typedef struct pad_p {
    int32_t d0, d1, d2, d3, d4, d5, d6,
        d7; /* units of y by axes, 1 in front where there are fewer */
    int32_t n0, n1, n2, n3, n4, n5, n6, n7; /* of the box; at least 1 but for PAD_CONSTANT */
    int32_t x0, x1, x2, x3, x4, x5, x6, x7; /* strides of the box in x, in units */
    int32_t b0, b1, b2, b3, b4, b5, b6, b7; /* units in front of the box */
    int32_t xoff;                           /* its first unit in x */
    int32_t unit;                           /* elements a unit */
    int32_t size;                           /* bytes an element */
    int32_t mode;                           /* PAD_CONSTANT ... */
} pad_p; /* pad(p, x, value or NULL, y); value: one element, NULL for zeros */

/* Where in a box of n what stands at i of the padded axis comes from; -1: from outside. */
KERNEL int32_t pad_from(int32_t mode, int32_t i, int32_t n)
{
    if (i >= 0 && i < n) return i;
    if (mode == PAD_CONSTANT) return -1;
    if (mode == PAD_EDGE) return i < 0 ? 0 : n - 1;
    if (mode == PAD_REFLECT && n == 1) return 0;
    const int64_t period = mode == PAD_REFLECT ? 2 * ((int64_t)n - 1) : n;
    int64_t at = (int64_t)i % period;
    if (at < 0) at += period;
    return (int32_t)(at < n ? at : period - at);
}

KERNEL void pad_fill(unsigned char *restrict y, const void *restrict value, ptrdiff_t n,
                     ptrdiff_t size)
{
    if (!value) memset(y, 0, (size_t)(n * size));
    else if (size == 1) memset(y, *(const unsigned char *)value, (size_t)n);
    else
        for (ptrdiff_t i = 0; i < n; i++) memcpy(y + i * size, value, (size_t)size);
}

/* Units [j, end) of a row of y that lie before or behind the row of the box at x. */
KERNEL void pad_beside(const pad_p *restrict p, const unsigned char *restrict x,
                       const void *restrict value, unsigned char *restrict y, int32_t j,
                       int32_t end)
{
    const ptrdiff_t unit = (ptrdiff_t)p->unit * p->size;
    if (p->mode == PAD_CONSTANT) {
        if (end > j) pad_fill(y + j * unit, value, (ptrdiff_t)(end - j) * p->unit, p->size);
        return;
    }
    for (; j < end; j++)
        memcpy(y + j * unit, x + (ptrdiff_t)pad_from(p->mode, j - p->b7, p->n7) * p->x7 * unit,
               (size_t)unit);
}

/* A row of y from the row of the box at x. */
KERNEL void pad_row(const pad_p *restrict p, const unsigned char *restrict x,
                    const void *restrict value, unsigned char *restrict y)
{
    const ptrdiff_t unit = (ptrdiff_t)p->unit * p->size;
    const int32_t end = p->b7 + p->n7;
    pad_beside(p, x, value, y, 0, p->b7);
    if (p->x7 == 1) memcpy(y + p->b7 * unit, x, (size_t)(p->n7 * unit));
    else
        for (ptrdiff_t j = 0; j < p->n7; j++)
            memcpy(y + (p->b7 + j) * unit, x + j * p->x7 * unit, (size_t)unit);
    pad_beside(p, x, value, y, end, p->d7);
}

KERNEL_RUN void pad(const pad_p *restrict p, const void *restrict x, const void *restrict value,
                    void *restrict y)
{
    const int32_t dims[7] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6};
    const int32_t box[7] = {p->n0, p->n1, p->n2, p->n3, p->n4, p->n5, p->n6};
    const int32_t xs[7] = {p->x0, p->x1, p->x2, p->x3, p->x4, p->x5, p->x6};
    const int32_t front[7] = {p->b0, p->b1, p->b2, p->b3, p->b4, p->b5, p->b6};
    const ptrdiff_t unit = (ptrdiff_t)p->unit * p->size;
    unsigned char *to = y;
    ptrdiff_t rows = 1;
    for (int i = 0; i < 7; i++) rows *= dims[i];
    for (ptrdiff_t r = 0; r < rows; r++, to += p->d7 * unit) {
        ptrdiff_t rest = r, at = p->xoff;
        int32_t outside = 0;
        for (int i = 6; i >= 0; rest /= dims[i], i--) {
            const int32_t from = pad_from(p->mode, (int32_t)(rest % dims[i]) - front[i], box[i]);
            outside |= from < 0;
            at += (ptrdiff_t)from * xs[i];
        }
        if (outside) pad_fill(to, value, (ptrdiff_t)p->d7 * p->unit, p->size);
        else pad_row(p, (const unsigned char *)x + at * unit, value, to);
    }
}

#endif
