/* kernels/nms.h - the best boxes of each class that do not overlap: ONNX's NonMaxSuppression.
 *
 * Of boxes of one score the first is the best. Everything is computed in float32.
 */
#ifndef KERNELS_NMS_H
#define KERNELS_NMS_H

#include <string.h>
#include "topk.h"

typedef struct nms_p {
    int32_t batch, classes, boxes; /* boxes are [batch][boxes][4], scores [batch][classes][boxes] */
    int32_t most;                  /* of a class that y has room for */
    int32_t center;                /* boxes are (x, y, width, height), else (y1, x1, y2, x2) */
} nms_p; /* nms(p, boxes, scores, most, overlap, score, y, size, keys, work): most is an int64_t,
            overlap and score a float, or NULL: 0, 0, any score. y is [*size][3], batch, class and
            box, and 0 behind that; keys is memory for [boxes] uint64_t, work for [boxes] int64_t */

/* The ends of a box along an axis: 0 is y. */
KERNEL void nms_ends(const nms_p *restrict p, const float *box, int32_t axis, float *lo, float *hi)
{
    if (p->center) {
        const float half = box[3 - axis] / 2.0f;
        *lo = box[1 - axis] - half;
        *hi = box[1 - axis] + half;
    } else {
        const float a = box[axis], b = box[axis + 2];
        *lo = a < b ? a : b;
        *hi = a < b ? b : a;
    }
}

/* Whether two boxes have more than that share of their union in common. */
KERNEL int32_t nms_overlap(const nms_p *restrict p, const float *a, const float *b, float share)
{
    float common = 1.0f, area_a = 1.0f, area_b = 1.0f;
    for (int32_t axis = 1; axis >= 0; axis--) {
        float alo, ahi, blo, bhi;
        nms_ends(p, a, axis, &alo, &ahi);
        nms_ends(p, b, axis, &blo, &bhi);
        const float lo = alo > blo ? alo : blo, hi = ahi < bhi ? ahi : bhi;
        if (!(hi > lo)) return 0;
        common *= hi - lo;
        area_a *= ahi - alo;
        area_b *= bhi - blo;
    }
    const float all = area_a + area_b - common;
    if (!(common > 0.0f && area_a > 0.0f && area_b > 0.0f && all > 0.0f)) return 0;
    return common / all > share;
}

/* One class of one image, whose boxes and scores these are: the numbers of its boxes, the best one
 * first, every third of y. Returns how many. */
KERNEL int32_t nms_class(const nms_p *restrict p, const float *restrict boxes,
                         const float *restrict scores, int64_t most, float share,
                         const float *restrict least, int64_t *restrict y, topk_heap heap)
{
    int32_t found = 0;
    heap.n = 0; /* at its root is the best one: keys are turned around, and places */
    for (int32_t i = 0; i < p->boxes; i++)
        if (!least || scores[i] > *least) topk_rise(&heap, ~order_real((double)scores[i]), -i);
    while (heap.n && found < most) {
        const int64_t best = -heap.at[0];
        heap.n--;
        topk_sink(&heap, heap.key[heap.n], heap.at[heap.n]);
        int32_t i = 0;
        while (i < found && !nms_overlap(p, boxes + 4 * y[3 * i], boxes + 4 * best, share)) i++;
        if (i == found) y[3 * found++] = best;
    }
    return found;
}

KERNEL_RUN void nms(const nms_p *restrict p, const float *restrict boxes,
                    const float *restrict scores, const int64_t *restrict most,
                    const float *restrict overlap, const float *restrict score, int64_t *restrict y,
                    int64_t *restrict size, uint64_t *restrict keys, int64_t *restrict work)
{
    const int64_t limit = !most ? 0 : *most < p->most ? *most : p->most;
    const topk_heap heap = {keys, work, 1, 0};
    int64_t all = 0;
    for (ptrdiff_t b = 0; b < p->batch; b++)
        for (ptrdiff_t c = 0; c < p->classes; c++) {
            int64_t *const to = y + 3 * all;
            const int32_t found =
                nms_class(p, boxes + b * p->boxes * 4, scores + (b * p->classes + c) * p->boxes,
                          limit, overlap ? *overlap : 0.0f, score, to + 2, heap);
            for (int32_t i = 0; i < found; i++) {
                to[3 * i] = b;
                to[3 * i + 1] = c;
            }
            all += found;
        }
    const ptrdiff_t room = (ptrdiff_t)p->batch * p->classes * p->most;
    memset(y + 3 * all, 0, (size_t)(room - all) * 3 * sizeof *y);
    *size = all;
}

#endif
