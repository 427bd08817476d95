/* kernels/q_pool.h - the taps of a pool's window that lie inside the input.
 */
#ifndef KERNELS_Q_POOL_H
#define KERNELS_Q_POOL_H

#include "q_bytes.h"

/* Taps [k0, k1) of one axis lie inside; tap 0 is at `first` in the input. */
typedef struct q_reach {
    int32_t first, k0, k1;
} q_reach;

KERNEL q_reach q_pool_reach(int32_t out, int32_t stride, int32_t pad, int32_t dilation, int32_t k,
                            int32_t in)
{
    q_reach r = {out * stride - pad, 0, k};
    while (r.k0 < k && r.first + r.k0 * dilation < 0) r.k0++;
    while (r.k1 > r.k0 && r.first + (r.k1 - 1) * dilation >= in) r.k1--;
    return r;
}

/* The window of output (d, h, w). */
typedef struct q_window {
    q_reach d, h, w;
} q_window;

KERNEL q_window q_pool_window(const q_pool_p *restrict p, int32_t d, int32_t h, int32_t w)
{
    return (q_window){q_pool_reach(d, p->sd, p->pd, p->dd, p->kd, p->id),
                      q_pool_reach(h, p->sh, p->ph, p->dh, p->kh, p->ih),
                      q_pool_reach(w, p->sw, p->pw, p->dw, p->kw, p->iw)};
}

/* Tap (d, h, w) of the window, in a batch item. */
KERNEL ptrdiff_t q_pool_at(const q_pool_p *restrict p, const q_window *o, int32_t d, int32_t h,
                           int32_t w)
{
    const ptrdiff_t row = (ptrdiff_t)(o->d.first + d * p->dd) * p->ih + (o->h.first + h * p->dh);
    return (row * p->iw + (o->w.first + w * p->dw)) * p->c;
}

#endif
