/* kernels/roi_maxpool.h - the greatest elements of boxes, each cut into a grid: ONNX's MaxRoiPool.
 *
 * Boxes are rounded to elements, with the last one inside; a part without elements gives 0. A box
 * of an image that there is none of takes the nearest.
 */
#ifndef KERNELS_ROI_MAXPOOL_H
#define KERNELS_ROI_MAXPOOL_H

#include "d_trig.h"
#include "reals.h"

typedef struct roi_maxpool_p {
    int32_t n, c, h, w;    /* x is [n][c][h][w] */
    int32_t boxes;         /* each is the image, then left, top, right, bottom */
    int32_t rows, columns; /* of the grid: y is [boxes][c][rows][columns] */
    int32_t type;          /* A_FLOAT or A_DOUBLE */
    float scale;           /* from a box's numbers to elements */
} roi_maxpool_p;           /* roi_maxpool(p, x, boxes, y) */

KERNEL_TRAITS(roi_maxpool, floats)

/* Part `i` of `parts` of an axis of a box, in elements from `from` to before `to`. */
typedef struct roi_span {
    ptrdiff_t from, to;
} roi_span;

/* To the nearest whole number, halves away from 0; what is far outside stays there. */
KERNEL double roi_round(double x)
{
    const double v = x != x ? 0.0 : x < -0x1p30 ? -0x1p30 : x > 0x1p30 ? 0x1p30 : x;
    return v < 0.0 ? -d_floor(0.5 - v) : d_floor(v + 0.5);
}

KERNEL roi_span roi_part(double first, double last, int32_t i, int32_t parts, int32_t size)
{
    const double length = last - first + 1.0 < 1.0 ? 1.0 : last - first + 1.0;
    const double part = (double)((float)length / (float)parts);
    const double from = first + d_floor((double)(float)(part * i));
    const double to = first + d_ceil((double)(float)(part * (i + 1)));
    return (roi_span){from < 0.0 ? 0 : from > size ? size : (ptrdiff_t)from,
                      to < 0.0 ? 0 : to > size ? size : (ptrdiff_t)to};
}

KERNEL double roi_greatest(const roi_maxpool_p *restrict p, const void *restrict x, ptrdiff_t image,
                           roi_span h, roi_span w)
{
    double max = h.from < h.to && w.from < w.to ? -INFINITY : 0.0;
    for (ptrdiff_t i = h.from; i < h.to; i++)
        for (ptrdiff_t j = w.from; j < w.to; j++) {
            const double v = real_get(p->type, x, (image * p->h + i) * p->w + j);
            max = v > max ? v : max;
        }
    return max;
}

KERNEL_RUN void roi_maxpool(const roi_maxpool_p *restrict p, const void *restrict x,
                            const void *restrict boxes, void *restrict y)
{
    const ptrdiff_t parts = (ptrdiff_t)p->rows * p->columns;
    for (ptrdiff_t b = 0; b < p->boxes; b++) {
        double edge[5];
        for (int i = 0; i < 5; i++) edge[i] = real_get(p->type, boxes, b * 5 + i);
        for (int i = 1; i < 5; i++) edge[i] = roi_round((double)((float)edge[i] * p->scale));
        const double last = p->n - 1.0;
        const ptrdiff_t image =
            edge[0] > 0.0 ? (ptrdiff_t)(edge[0] < last ? edge[0] : last) : (ptrdiff_t)0;
        for (ptrdiff_t i = 0; i < p->c * parts; i++) {
            const int32_t row = (int32_t)(i % parts / p->columns);
            const int32_t column = (int32_t)(i % p->columns);
            const roi_span h = roi_part(edge[2], edge[4], row, p->rows, p->h);
            const roi_span w = roi_part(edge[1], edge[3], column, p->columns, p->w);
            real_put(p->type, y, b * p->c * parts + i,
                     roi_greatest(p, x, image * p->c + i / parts, h, w));
        }
    }
}

#endif
