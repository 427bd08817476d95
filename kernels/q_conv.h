/* kernels/q_conv.h - integer convolution over up to three axes, with groups; padding counts as the
 * zero point.
 *
 * The window is cut into runs of contiguous bytes: rows of kw * ic where a pixel's channels are all
 * ours and side by side, else the ic/group channels of one tap. Weights are packed as
 * [group][block of Q_LANES output channels][run] of q_tile.h's quads. Runs that leave the input are
 * copied to a patch filled with the zero point.
 */
#ifndef KERNELS_Q_CONV_H
#define KERNELS_Q_CONV_H

#include "q_gemm.h"

enum { Q_PATCH = 256 }; /* bytes of a run that are copied at once; a multiple of 4 */

/* How the window is cut. */
typedef struct q_cut {
    ptrdiff_t columns; /* runs in a row of the window: 1 or kw */
    ptrdiff_t bytes;   /* of a run */
    ptrdiff_t pixel;   /* bytes from one run to the next in x */
    ptrdiff_t row;     /* bytes from one row of the window to the next in x */
    ptrdiff_t plane;
    ptrdiff_t reach; /* from the window's first byte to behind the last quad read */
} q_cut;

KERNEL q_cut q_conv_cut(const q_conv_p *restrict p)
{
    const int whole = p->group == 1 && p->dw == 1;
    const ptrdiff_t icg = p->ic / p->group, line = (ptrdiff_t)p->iw * p->ic;
    q_cut c;
    c.columns = whole ? 1 : p->kw;
    c.bytes = whole ? p->kw * icg : icg;
    c.pixel = (ptrdiff_t)p->dw * p->ic;
    c.row = p->dh * line;
    c.plane = p->dd * p->ih * line;
    c.reach = (p->kd - 1) * c.plane + (p->kh - 1) * c.row + (c.columns - 1) * c.pixel +
              q_quads(c.bytes) * 4;
    return c;
}

/* An output, and where its window starts in the input: it may lie outside. */
typedef struct q_place {
    int32_t d, h, w;
    ptrdiff_t col; /* its first byte in a line of x: w * ic + the group's first channel */
    ptrdiff_t in;  /* in x */
} q_place;

/* The tile at work. */
typedef struct q_conv_tile {
    q_place at[Q_TILE];
    uint8_t *y[Q_TILE];
    int inside; /* no window leaves the input, nor does a quad */
} q_conv_tile;

/* Walks the outputs in order. */
typedef struct q_conv_walk {
    int32_t n, d, h, w;
    uint8_t *y;
} q_conv_walk;

KERNEL q_place q_conv_place(const q_conv_p *restrict p, const q_conv_walk *at, ptrdiff_t first)
{
    q_place o = {at->d * p->sd - p->pd, at->h * p->sh - p->ph, at->w * p->sw - p->pw, 0, 0};
    o.col = (ptrdiff_t)o.w * p->ic + first;
    o.in = (((ptrdiff_t)at->n * p->id + o.d) * p->ih + o.h) * p->iw * p->ic + o.col;
    return o;
}

KERNEL int q_conv_inside(const q_conv_p *restrict p, q_place o)
{
    return o.d >= 0 && o.d + (p->kd - 1) * p->dd < p->id && o.h >= 0 &&
           o.h + (p->kh - 1) * p->dh < p->ih && o.w >= 0 && o.w + (p->kw - 1) * p->dw < p->iw;
}

/* To the next output; false, and stays, at the last one. */
KERNEL int q_conv_next(const q_conv_p *restrict p, q_conv_walk *at)
{
    q_conv_walk to = *at;
    if (++to.w == p->ow) {
        to.w = 0;
        if (++to.h == p->oh) {
            to.h = 0;
            if (++to.d == p->od) {
                to.d = 0;
                if (++to.n == p->n) return 0;
            }
        }
    }
    to.y += p->oc;
    *at = to;
    return 1;
}

/* `bytes` bytes from column `col` on of the line of x that starts at `line`, filled up to quads:
 * where they are, or in `patch` with the zero point for what lies outside the line. */
KERNEL const uint8_t *q_conv_bytes(const uint8_t *restrict x, ptrdiff_t line, ptrdiff_t width,
                                   ptrdiff_t size, ptrdiff_t col, ptrdiff_t bytes, uint8_t zero,
                                   uint8_t patch[Q_PATCH])
{
    const ptrdiff_t filled = q_quads(bytes) * 4;
    if (col >= 0 && col + bytes <= width && line + col + filled <= size) return x + line + col;
    const ptrdiff_t from = col < 0 ? -col : 0, to = col + bytes > width ? width - col : bytes;
    for (ptrdiff_t i = 0; i < filled; i++) patch[i] = zero;
    for (ptrdiff_t i = from; i < to; i++) patch[i] = x[line + col + i];
    return patch;
}

/* Adds a tile whose windows lie inside. */
KERNEL void q_conv_inner(const q_conv_p *restrict p, q_cut cut, const q_conv_tile *t,
                         const uint8_t *restrict x, const int8_t *restrict w,
                         uint32_t sum[Q_TILE][Q_LANES])
{
    const ptrdiff_t quads = q_quads(cut.bytes);
    const int whole = cut.columns == 1;
    const q_run run = {whole ? p->kh : cut.columns, quads, whole ? cut.row : cut.pixel,
                       quads * Q_QUADS};
    for (int32_t d = 0; d < p->kd; d++)
        for (int32_t h = 0; h < p->kh; h += whole ? p->kh : 1) {
            const uint8_t *in[Q_TILE];
            for (int i = 0; i < Q_TILE; i++) in[i] = x + t->at[i].in + d * cut.plane + h * cut.row;
            q_tile(sum, in, w, run, p->x_signed);
            w += run.rows * run.wstep;
        }
}

/* Adds one run of the window, tap (d, h, column c), to a tile some of whose windows leave the
 * input. */
KERNEL void q_conv_run(const q_conv_p *restrict p, q_cut cut, const q_conv_tile *t, int32_t d,
                       int32_t h, ptrdiff_t c, const uint8_t *restrict x, const int8_t *restrict w,
                       uint32_t sum[Q_TILE][Q_LANES])
{
    const ptrdiff_t width = (ptrdiff_t)p->iw * p->ic;
    const ptrdiff_t size = (ptrdiff_t)p->n * p->id * p->ih * width;
    for (ptrdiff_t b = 0; b < cut.bytes; b += Q_PATCH) {
        uint8_t patch[Q_TILE][Q_PATCH];
        const uint8_t *in[Q_TILE];
        const ptrdiff_t bytes = cut.bytes - b < Q_PATCH ? cut.bytes - b : Q_PATCH;
        for (int i = 0; i < Q_TILE; i++) {
            const q_place *o = &t->at[i];
            const int32_t id = o->d + d * p->dd, ih = o->h + h * p->dh;
            const int off = id < 0 || id >= p->id || ih < 0 || ih >= p->ih;
            const ptrdiff_t line = o->in - o->col + d * cut.plane + h * cut.row;
            const ptrdiff_t col = off ? width : o->col + c * cut.pixel + b;
            in[i] = q_conv_bytes(x, off ? 0 : line, width, size, col, bytes, (uint8_t)p->x_zero,
                                 patch[i]);
        }
        q_tile(sum, in, w + b / 4 * Q_QUADS, (q_run){1, q_quads(bytes), 0, 0}, p->x_signed);
    }
}

/* Adds a tile some of whose windows leave the input. */
KERNEL_CALLED void q_conv_border(const q_conv_p *restrict p, q_cut cut, const q_conv_tile *t,
                                 const uint8_t *restrict x, const int8_t *restrict w,
                                 uint32_t sum[Q_TILE][Q_LANES])
{
    for (int32_t d = 0; d < p->kd; d++)
        for (int32_t h = 0; h < p->kh; h++)
            for (ptrdiff_t c = 0; c < cut.columns; c++, w += q_quads(cut.bytes) * Q_QUADS)
                q_conv_run(p, cut, t, d, h, c, x, w, sum);
}

/* The next tile of outputs; the last one repeats the last output. `first` is the first input
 * channel in use, and a window may be read up to its `reach`. False at the last tile. */
KERNEL int q_conv_next_tile(const q_conv_p *restrict p, q_conv_walk *at, ptrdiff_t first,
                            ptrdiff_t reach, q_conv_tile *t)
{
    const ptrdiff_t size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic;
    int more = 1;
    t->inside = 1;
    for (int i = 0; i < Q_TILE; i++) {
        t->at[i] = q_conv_place(p, at, first);
        t->y[i] = at->y;
        t->inside &= q_conv_inside(p, t->at[i]) && t->at[i].in <= size - reach;
        more = q_conv_next(p, at);
    }
    return more;
}

/* All outputs of one block of channels, `first` being the first input channel of its group. */
KERNEL void q_conv_block(const q_conv_p *restrict p, q_cut cut, const uint8_t *restrict x,
                         ptrdiff_t first, const int8_t *restrict w, const q_block *b,
                         uint8_t *restrict y)
{
    q_conv_walk at = {0, 0, 0, 0, y};
    for (int more = 1; more;) {
        uint32_t sum[Q_TILE][Q_LANES];
        q_conv_tile t;
        more = q_conv_next_tile(p, &at, first, cut.reach, &t);
        q_tile_init(sum, b);
        if (t.inside) q_conv_inner(p, cut, &t, x, w, sum);
        else q_conv_border(p, cut, &t, x, w, sum);
        q_tile_store(sum, b, (q_out){p->y_zero, p->lo, p->hi}, t.y);
    }
}

/* Whether every window is one pixel, all of them in order. */
KERNEL int q_conv_is_flat(const q_conv_p *restrict p)
{
    return p->group == 1 && p->kd == 1 && p->kh == 1 && p->kw == 1 && p->od == p->id &&
           p->oh == p->ih && p->ow == p->iw && p->pd == 0 && p->ph == 0 && p->pw == 0;
}

KERNEL void q_conv(const q_conv_p *restrict p, const void *restrict x, const void *restrict w,
                   const int32_t *restrict bias, const q_scale *restrict scale, void *restrict y)
{
    const int32_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const q_cut cut = q_conv_cut(p);
    const ptrdiff_t runs = (ptrdiff_t)p->kd * p->kh * cut.columns;
    const int8_t *weights = (const int8_t *)w;
    if (q_conv_is_flat(p)) {
        const ptrdiff_t rows = (ptrdiff_t)p->n * p->od * p->oh * p->ow;
        q_gemm_columns((const uint8_t *)x, rows, p->ic, p->x_signed, weights, bias, scale,
                       (q_out){p->y_zero, p->lo, p->hi}, (uint8_t *)y, p->oc);
        return;
    }
    for (int32_t g = 0; g < p->group; g++)
        for (int32_t c = 0; c < ocg; c += Q_LANES) {
            q_block b;
            q_block_load(&b, bias + g * ocg, scale + g * ocg, c, ocg);
            q_conv_block(p, cut, (const uint8_t *)x, (ptrdiff_t)g * icg, weights, &b,
                         (uint8_t *)y + g * ocg + c);
            weights += runs * q_quads(cut.bytes) * Q_QUADS;
        }
}

/* Bytes of the packed weights. */
static inline size_t q_conv_packed(const q_conv_p *p)
{
    const q_cut cut = q_conv_cut(p);
    const size_t blocks = ((size_t)(p->oc / p->group) + Q_LANES - 1) / Q_LANES;
    const size_t runs = (size_t)p->kd * (size_t)p->kh * (size_t)cut.columns;
    return (size_t)p->group * blocks * runs * (size_t)q_quads(cut.bytes) * Q_QUADS;
}

/* One run of a block's weights; raw is at the run's tap and the block's first channel, of which
 * `count` are in use. Returns the end. */
static inline int8_t *q_conv_pack_run(const q_conv_p *p, ptrdiff_t bytes, const int8_t *raw,
                                      ptrdiff_t count, int8_t *packed)
{
    const ptrdiff_t icg = p->ic / p->group, taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t k = 0; k < bytes; k += 4)
        for (ptrdiff_t j = 0; j < Q_LANES; j++)
            for (ptrdiff_t i = k; i < k + 4; i++)
                *packed++ =
                    (int8_t)(j < count && i < bytes ? raw[(j * icg + i % icg) * taps + i / icg]
                                                    : 0);
    return packed;
}

/* Packs ONNX's [oc][ic/group][kd][kh][kw]. */
static inline void q_conv_pack(const q_conv_p *p, const int8_t *restrict raw,
                               int8_t *restrict packed)
{
    const q_cut cut = q_conv_cut(p);
    const ptrdiff_t ocg = p->oc / p->group, taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    const ptrdiff_t step = p->kw / cut.columns;
    for (ptrdiff_t g = 0; g < p->group; g++)
        for (ptrdiff_t c = 0; c < ocg; c += Q_LANES)
            for (ptrdiff_t t = 0; t < taps; t += step)
                packed = q_conv_pack_run(p, cut.bytes,
                                         raw + (g * ocg + c) * (p->ic / p->group) * taps + t,
                                         ocg - c, packed);
}

#endif
