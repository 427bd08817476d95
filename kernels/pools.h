/* kernels/pools.h - what pools are seldom asked for: the greatest element of any type, with its
 * place; p-norms, and means of double; and the inverse of the first. f_maxpool and f_avgpool are
 * the usual ones.
 */
#ifndef KERNELS_POOLS_H
#define KERNELS_POOLS_H

#include <string.h>
#include "f_avgpool.h"
#include "f_math.h"

enum { P_FLOAT = 1, P_UINT8, P_INT8, P_INT64 = 7, P_DOUBLE = 11 }; /* types: ONNX's numbers */
enum { P_AVERAGE, P_NORM };

typedef struct pools_p {
    int32_t n, id, ih, iw, od, oh, ow, c;
    int32_t kd, kh, kw, sd, sh, sw, dd, dh, dw, pd, ph, pw;
    int32_t ed, eh, ew;  /* padding behind, as far as it counts for include_pad */
    int32_t include_pad; /* a mean counts the padding in */
    int32_t type;        /* of x and y: P_FLOAT ... */
    int32_t op;          /* pool_sums: P_AVERAGE, of double; P_NORM */
    int32_t power;       /* the p of a norm */
    int32_t columns;     /* maxpool: places are counted along the first spatial axis first */
} pools_p;
/* maxpool(p, x, y, places): places are int64 (NULL: not wanted), counted in the plain tensor
 * [n][c][id][ih][iw]; the first of equals; a window wholly outside gives 0 and the place 0
 * pool_sums(p, x, y) */

KERNEL Axis pools_axis(const pools_p *restrict p, int which)
{
    return which == 0   ? (Axis){p->id, p->od, p->kd, p->sd, p->dd, p->pd}
           : which == 1 ? (Axis){p->ih, p->oh, p->kh, p->sh, p->dh, p->ph}
                        : (Axis){p->iw, p->ow, p->kw, p->sw, p->dw, p->pw};
}

/* The taps of output o along one axis that are inside: elements at, at + step, ... before end. */
typedef struct pools_reach {
    ptrdiff_t at, step, end;
} pools_reach;

KERNEL pools_reach pools_along(Axis a, int32_t o)
{
    int32_t k0, k1;
    axis_taps(a, o, &k0, &k1);
    const ptrdiff_t first = (ptrdiff_t)o * a.stride - a.pad;
    return (pools_reach){first + (ptrdiff_t)k0 * a.dilation, a.dilation,
                         first + (ptrdiff_t)k1 * a.dilation};
}

/* ---- the greatest ---------------------------------------------------------------------------- */

/* Channels [c, c + n) of one output: which pixel of the window has the greatest. */
#define P_GREATEST(element)                                                                        \
    do {                                                                                           \
        const element *v = (const element *)x;                                                     \
        for (ptrdiff_t i = d.at; i < d.end; i += d.step)                                           \
            for (ptrdiff_t j = h.at; j < h.end; j += h.step)                                       \
                for (ptrdiff_t k = w.at; k < w.end; k += w.step) {                                 \
                    const ptrdiff_t pixel = (i * p->ih + j) * p->iw + k;                           \
                    for (int32_t m = 0; m < n; m++)                                                \
                        if (best[m] < 0 || v[pixel * p->c + m] > v[best[m] * p->c + m])            \
                            best[m] = pixel;                                                       \
                }                                                                                  \
        for (int32_t m = 0; m < n; m++)                                                            \
            ((element *)y)[m] = (element)(best[m] < 0 ? 0 : v[best[m] * p->c + m]);                \
    } while (0)

KERNEL void maxpool_chunk(const pools_p *restrict p, pools_reach d, pools_reach h, pools_reach w,
                          const void *restrict x, void *restrict y, ptrdiff_t best[F_CHUNK],
                          int32_t n)
{
    for (int32_t m = 0; m < n; m++) best[m] = -1;
    switch (p->type) {
    case P_FLOAT: P_GREATEST(float); break;
    case P_UINT8: P_GREATEST(uint8_t); break;
    case P_INT8: P_GREATEST(int8_t); break;
    default: P_GREATEST(double); break;
    }
}

#undef P_GREATEST

KERNEL ptrdiff_t pools_size(int32_t type) { return type == P_FLOAT ? 4 : type == P_DOUBLE ? 8 : 1; }

/* The place in its channel of a pixel of the input. */
KERNEL int64_t maxpool_place(const pools_p *restrict p, ptrdiff_t pixel)
{
    const ptrdiff_t w = pixel % p->iw, h = pixel / p->iw % p->ih, d = pixel / p->iw / p->ih;
    return p->columns ? (int64_t)((w * p->ih + h) * p->id + d) : (int64_t)pixel;
}

/* All channels of one output, from the items x of batch item n on. */
KERNEL void maxpool_one(const pools_p *restrict p, int32_t n, int32_t d, int32_t h, int32_t w,
                        const unsigned char *restrict x, unsigned char *restrict y,
                        int64_t *restrict places)
{
    const pools_reach rd = pools_along(pools_axis(p, 0), d), rh = pools_along(pools_axis(p, 1), h),
                      rw = pools_along(pools_axis(p, 2), w);
    const int64_t size = (int64_t)p->id * p->ih * p->iw;
    ptrdiff_t best[F_CHUNK];
    for (int32_t c = 0; c < p->c; c += F_CHUNK) {
        const int32_t count = f_chunk(c, p->c);
        const ptrdiff_t at = c * pools_size(p->type);
        maxpool_chunk(p, rd, rh, rw, x + at, y + at, best, count);
        for (int32_t m = 0; places && m < count; m++)
            places[c + m] =
                best[m] < 0 ? 0 : ((int64_t)n * p->c + c + m) * size + maxpool_place(p, best[m]);
    }
}

KERNEL_RUN void maxpool(const pools_p *restrict p, const void *restrict x, void *restrict y,
                        int64_t *restrict places)
{
    const ptrdiff_t bytes = p->c * pools_size(p->type);
    const unsigned char *from = (const unsigned char *)x;
    unsigned char *to = (unsigned char *)y;
    for (int32_t n = 0; n < p->n; n++, from += (ptrdiff_t)p->id * p->ih * p->iw * bytes)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, to += bytes) {
                    maxpool_one(p, n, d, h, w, from, to, places);
                    if (places) places += p->c;
                }
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* |v|^power. */
KERNEL double pools_power(double v, int32_t power)
{
    const double a = v < 0.0 ? -v : v;
    return power == 1 ? a : power == 2 ? a * a : (double)f_pow((float)a, (float)power);
}

KERNEL float pools_root(double sum, int32_t power)
{
    return power == 1   ? (float)sum
           : power == 2 ? f_sqrt((float)sum)
                        : f_pow((float)sum, 1.0f / (float)power);
}

/* Channels [c, c + n) of one output. */
KERNEL void pool_sums_chunk(const pools_p *restrict p, pools_reach d, pools_reach h, pools_reach w,
                            double count, const void *restrict x, void *restrict y, int32_t n)
{
    double sum[F_CHUNK];
    for (int32_t m = 0; m < n; m++) sum[m] = 0.0;
    for (ptrdiff_t i = d.at; i < d.end; i += d.step)
        for (ptrdiff_t j = h.at; j < h.end; j += h.step)
            for (ptrdiff_t k = w.at; k < w.end; k += w.step) {
                const ptrdiff_t at = ((i * p->ih + j) * p->iw + k) * p->c;
                for (int32_t m = 0; m < n; m++) {
                    const double v = p->type == P_DOUBLE ? ((const double *)x)[at + m]
                                                         : (double)((const float *)x)[at + m];
                    sum[m] += p->op == P_NORM ? pools_power(v, p->power) : v;
                }
            }
    for (int32_t m = 0; m < n; m++) {
        if (p->op == P_NORM) ((float *)y)[m] = pools_root(sum[m], p->power);
        else ((double *)y)[m] = count > 0.0 ? sum[m] / count : 0.0;
    }
}

KERNEL_TRAITS(pool_sums, floats)
KERNEL_RUN void pool_sums(const pools_p *restrict p, const void *restrict x, void *restrict y)
{
    const ptrdiff_t size = pools_size(p->type), bytes = p->c * size;
    const Axis ad = pools_axis(p, 0), ah = pools_axis(p, 1), aw = pools_axis(p, 2);
    const unsigned char *from = (const unsigned char *)x;
    unsigned char *to = (unsigned char *)y;
    for (int32_t n = 0; n < p->n; n++, from += (ptrdiff_t)p->id * p->ih * p->iw * bytes)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++)
                for (int32_t w = 0; w < p->ow; w++, to += bytes) {
                    const double count = (double)f_avgpool_count(ad, d, p->ed, p->include_pad) *
                                         (double)f_avgpool_count(ah, h, p->eh, p->include_pad) *
                                         (double)f_avgpool_count(aw, w, p->ew, p->include_pad);
                    for (int32_t c = 0; c < p->c; c += F_CHUNK)
                        pool_sums_chunk(p, pools_along(ad, d), pools_along(ah, h),
                                        pools_along(aw, w), count, from + c * size, to + c * size,
                                        f_chunk(c, p->c));
                }
}

/* ---- MaxUnpool ------------------------------------------------------------------------------- */

typedef struct unpool_p {
    int32_t count, out; /* elements of x, and of y */
    int32_t size;       /* bytes an element */
} unpool_p; /* unpool(p, x, places, y): y is zeros, but for the elements of x at their places; the
               last of several stays, and what lies outside is dropped */

KERNEL_RUN void unpool(const unpool_p *restrict p, const void *restrict x,
                       const int64_t *restrict places, void *restrict y)
{
    memset(y, 0, (size_t)p->out * (size_t)p->size);
    for (ptrdiff_t i = 0; i < p->count; i++)
        if (places[i] >= 0 && places[i] < p->out)
            memcpy((unsigned char *)y + (ptrdiff_t)places[i] * p->size,
                   (const unsigned char *)x + i * p->size, (size_t)p->size);
}

#endif
