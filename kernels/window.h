/* kernels/window.h - walks the outputs of a sliding window so that no inner loop tests for borders.
 *
 * Along each axis, neighbouring outputs whose windows reach the same taps inside the input form a
 * span; a box of three spans is a set of outputs that share their taps.
 */
#ifndef KERNELS_WINDOW_H
#define KERNELS_WINDOW_H

#include "params.h"
#include "common.h"

/* Outputs [o0, o1) of one axis; of their taps, [k0, k1) are inside the input. */
typedef struct Span {
    int32_t o0, o1, k0, k1;
} Span;

/* One axis of a sliding window. */
typedef struct Axis {
    int32_t in, out, k, stride, dilation, pad; /* sizes, taps, ..., padding in front */
} Axis;

/* The taps of output `o` that are inside the input. */
KERNEL void axis_taps(Axis a, int32_t o, int32_t *k0, int32_t *k1)
{
    const int32_t first = o * a.stride - a.pad;
    *k0 = first < 0 ? (a.dilation - 1 - first) / a.dilation : 0;
    *k1 = first < a.in ? (a.in - 1 - first) / a.dilation + 1 : 0;
    if (*k1 > a.k) *k1 = a.k;
    if (*k0 > *k1) *k0 = *k1;
}

/* The span that starts at output `o`; empty at the end of the axis. */
KERNEL Span axis_span(Axis a, int32_t o)
{
    Span s = {o, o, 0, 0};
    if (o < a.out) axis_taps(a, o, &s.k0, &s.k1);
    for (int32_t k0 = s.k0, k1 = s.k1; s.o1 < a.out && k0 == s.k0 && k1 == s.k1;)
        if (++s.o1 < a.out) axis_taps(a, s.o1, &k0, &k1);
    return s;
}

KERNEL Axis conv_axis_d(const f_conv_p *p)
{
    return (Axis){p->id, p->od, p->kd, p->sd, p->dd, p->pd};
}

KERNEL Axis conv_axis_h(const f_conv_p *p)
{
    return (Axis){p->ih, p->oh, p->kh, p->sh, p->dh, p->ph};
}

KERNEL Axis conv_axis_w(const f_conv_p *p)
{
    return (Axis){p->iw, p->ow, p->kw, p->sw, p->dw, p->pw};
}

KERNEL Axis pool_axis_d(const f_pool_p *p)
{
    return (Axis){p->id, p->od, p->kd, p->sd, p->dd, p->pd};
}

KERNEL Axis pool_axis_h(const f_pool_p *p)
{
    return (Axis){p->ih, p->oh, p->kh, p->sh, p->dh, p->ph};
}

KERNEL Axis pool_axis_w(const f_pool_p *p)
{
    return (Axis){p->iw, p->ow, p->kw, p->sw, p->dw, p->pw};
}

/* Outputs of batch item `n` whose windows share their taps. */
typedef struct Box {
    int32_t n;
    Span d, h, w;
} Box;

/* Walks a box row by row: where the window of the current output starts in the input (it may lie
 * before it) and where the output lies, in pixels. */
typedef struct Walk {
    int32_t d, h, w;
    ptrdiff_t in, out;
} Walk;

/* Sets `in` and `out` from d, h, w. */
KERNEL void walk_seek(Walk *walk, const f_conv_p *p, const Box *box)
{
    const ptrdiff_t d = (ptrdiff_t)walk->d * p->sd - p->pd, h = (ptrdiff_t)walk->h * p->sh - p->ph;
    const ptrdiff_t row = ((ptrdiff_t)box->n * p->id + d) * p->ih + h;
    walk->in = row * p->iw + (ptrdiff_t)walk->w * p->sw - p->pw;
    walk->out = (((ptrdiff_t)box->n * p->od + walk->d) * p->oh + walk->h) * p->ow + walk->w;
}

KERNEL Walk walk_start(const f_conv_p *p, const Box *box)
{
    Walk walk = {box->d.o0, box->h.o0, box->w.o0, 0, 0};
    walk_seek(&walk, p, box);
    return walk;
}

/* To the next output; false, and stays, at the last one. */
KERNEL int walk_next(Walk *walk, const f_conv_p *p, const Box *box)
{
    if (walk->w + 1 < box->w.o1) {
        walk->w++;
        walk->in += p->sw;
        walk->out++;
        return 1;
    }
    if (walk->h + 1 < box->h.o1) {
        walk->h++;
    } else if (walk->d + 1 < box->d.o1) {
        walk->d++;
        walk->h = box->h.o0;
    } else {
        return 0;
    }
    walk->w = box->w.o0;
    walk_seek(walk, p, box);
    return 1;
}

#endif
