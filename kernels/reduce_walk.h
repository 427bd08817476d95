/* kernels/reduce_walk.h - what reductions share: their parameters, and the way over the axes.
 */
#ifndef KERNELS_REDUCE_WALK_H
#define KERNELS_REDUCE_WALK_H

#include "common.h"

enum { F_RSUM, F_RMEAN, F_RMAX, F_RMIN, F_RPROD, F_RSUMSQ, F_RL2, F_RL1, F_RLOGSUM, F_RLOGSUMEXP };

enum { REDUCE_RANK = 8 };

typedef struct reduce_p {
    int32_t op;   /* F_RSUM ... */
    int32_t type; /* of the elements, ONNX's number; f_reduce takes floats only */
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* input dims, 1 where there are fewer */
    int32_t reduced;                        /* bit i: axis i is reduced */
} reduce_p; /* f_reduce(p, x, y), reduce(p, x, y); y has the other axes */

/* Walks over some axes of the input. The innermost of them are the rows, the others the turns. */
typedef struct reduce_walk {
    int32_t dims[REDUCE_RANK];    /* of the axes of the turns, 1 for all others */
    ptrdiff_t steps[REDUCE_RANK]; /* elements of x from one index to the next */
    ptrdiff_t turns;              /* how many there are */
    ptrdiff_t rows;               /* in each turn */
    ptrdiff_t step;               /* elements of x from one row to the next */
} reduce_walk;

/* Where the walk's turn number `t` begins. */
KERNEL ptrdiff_t reduce_at(const reduce_walk *w, ptrdiff_t t)
{
    ptrdiff_t at = 0;
    for (int i = REDUCE_RANK - 1; i >= 0 && t; t /= w->dims[i], i--)
        at += t % w->dims[i] * w->steps[i];
    return at;
}

/* Splits the axes into those that are kept, whose rows are outputs side by side, and those that are
 * reduced. Axes of one element are nowhere; neighbours of a kind are one axis where they can. */
KERNEL void reduce_axes(const reduce_p *restrict p, reduce_walk *kept, reduce_walk *reduced)
{
    const int32_t dims[REDUCE_RANK] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6, p->d7};
    ptrdiff_t step = 1;
    *kept = *reduced = (reduce_walk){{0}, {0}, 1, 1, 1};
    for (int i = REDUCE_RANK - 1; i >= 0; step *= dims[i], i--) {
        reduce_walk *w = p->reduced >> i & 1 ? reduced : kept;
        kept->dims[i] = reduced->dims[i] = 1;
        kept->steps[i] = reduced->steps[i] = step;
        if (dims[i] == 1) continue;
        if (w->turns == 1 && w == reduced && w->rows == 1) w->step = step;
        if (w->turns == 1 && step == w->rows * w->step) w->rows *= dims[i];
        else w->turns *= w->dims[i] = dims[i];
    }
}

#endif
