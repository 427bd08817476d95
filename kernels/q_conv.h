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

enum {
    Q_PATCH = 256,   /* bytes of a run that are taken at once at a border; a multiple of 4 */
    Q_NEAR = 1 << 15 /* bytes of weights that a tile is multiplied by before the next one */
};

/* How the window is cut into runs. */
typedef struct q_cut {
    int32_t columns; /* runs in a row of the window: 1 or kw */
    int32_t runs;    /* in all */
    int32_t span;    /* pixels of a run: kw or 1 */
    ptrdiff_t bytes; /* of a run */
    ptrdiff_t pixel; /* bytes from one run to the next in x */
    ptrdiff_t row;   /* bytes from one row of the window to the next in x */
    ptrdiff_t plane; /* bytes from one plane of the window to the next in x */
} q_cut;

/* With whole rows, or one tap a run. */
KERNEL q_cut q_conv_cut(const q_conv_p *restrict p, int whole)
{
    const ptrdiff_t icg = p->ic / p->group, line = (ptrdiff_t)p->iw * p->ic;
    q_cut c;
    c.columns = whole ? 1 : p->kw;
    c.runs = p->kd * p->kh * c.columns;
    c.span = whole ? p->kw : 1;
    c.bytes = c.span * icg;
    c.pixel = (ptrdiff_t)p->dw * p->ic;
    c.row = p->dh * line;
    c.plane = p->dd * p->ih * line;
    return c;
}

/* Whether a row of the window is one run. */
KERNEL int q_conv_whole(const q_conv_p *restrict p) { return p->group == 1 && p->dw == 1; }

/* Walks the outputs in order. */
typedef struct q_walk {
    int32_t n, od, oh, ow; /* the output */
    int32_t d, h, w;       /* where its window starts in the input; may lie outside */
    int32_t inside;        /* its taps along d and h lie inside */
    ptrdiff_t in;          /* byte of x at (d, h, w), channel 0 */
    uint8_t *y;
} q_walk;

/* Sets d .. in from the output. */
KERNEL void q_walk_seek(const q_conv_p *restrict p, q_walk *at)
{
    at->d = at->od * p->sd - p->pd;
    at->h = at->oh * p->sh - p->ph;
    at->w = at->ow * p->sw - p->pw;
    at->in = ((((ptrdiff_t)at->n * p->id + at->d) * p->ih + at->h) * p->iw + at->w) * p->ic;
    at->inside = at->d >= 0 && at->d + (p->kd - 1) * p->dd < p->id && at->h >= 0 &&
                 at->h + (p->kh - 1) * p->dh < p->ih;
}

KERNEL q_walk q_walk_start(const q_conv_p *restrict p, uint8_t *y)
{
    q_walk at = {0, 0, 0, 0, 0, 0, 0, 0, 0, y};
    q_walk_seek(p, &at);
    return at;
}

/* To the next output; false, and stays, at the last one. */
KERNEL int q_walk_next(const q_conv_p *restrict p, q_walk *at)
{
    if (at->ow + 1 < p->ow) {
        at->ow++;
        at->w += p->sw;
        at->in += (ptrdiff_t)p->sw * p->ic;
    } else {
        if (at->oh + 1 < p->oh) {
            at->oh++;
        } else if (at->od + 1 < p->od) {
            at->od++;
            at->oh = 0;
        } else if (at->n + 1 < p->n) {
            at->n++;
            at->od = at->oh = 0;
        } else {
            return 0;
        }
        at->ow = 0;
        q_walk_seek(p, at);
    }
    at->y += p->oc;
    return 1;
}

/* Outputs that are worked on together. */
typedef struct q_tile_at {
    int32_t d[Q_TILE], h[Q_TILE], w[Q_TILE]; /* where their windows start */
    ptrdiff_t in[Q_TILE];
    uint8_t *y[Q_TILE];
    int inside[Q_TILE]; /* the window does not leave the input */
    int all_inside;
} q_tile_at;

/* The next outputs; the last one fills up the tile. False at the last tile. */
KERNEL int q_tile_next(const q_conv_p *restrict p, q_walk *at, q_tile_at *t)
{
    const int32_t last = p->iw - 1 - (p->kw - 1) * p->dw;
    int more = 1;
    t->all_inside = 1;
    for (int i = 0; i < Q_TILE; i++) {
        t->d[i] = at->d;
        t->h[i] = at->h;
        t->w[i] = at->w;
        t->in[i] = at->in;
        t->y[i] = at->y;
        t->inside[i] = at->inside && at->w >= 0 && at->w <= last;
        t->all_inside &= t->inside[i];
        more = q_walk_next(p, at);
    }
    return more;
}

#define Q_OUTSIDE PTRDIFF_MIN

/* Some runs of a tile's windows: bytes of x, or Q_OUTSIDE where a run wholly is. */
typedef struct q_places {
    ptrdiff_t in[Q_RUNS][Q_TILE];
    int32_t count;
    int32_t d, h, w; /* the first run not among them */
} q_places;

/* The run at (d, h, w) of the window of output i, `step` bytes after its first one. */
KERNEL ptrdiff_t q_place(const q_conv_p *restrict p, q_cut cut, const q_tile_at *t, int i,
                         const q_places *a, ptrdiff_t step)
{
    const int32_t d = t->d[i] + a->d * p->dd, h = t->h[i] + a->h * p->dh;
    const int32_t w = t->w[i] + a->w * p->dw;
    const int outside =
        d < 0 || d >= p->id || h < 0 || h >= p->ih || w + cut.span <= 0 || w >= p->iw;
    return outside ? Q_OUTSIDE : t->in[i] + step;
}

/* Goes on from run (d, h, w) with `most` of them, or as many as are left. */
KERNEL void q_places_find(const q_conv_p *restrict p, q_cut cut, const q_tile_at *t, int32_t most,
                          q_places *a)
{
    for (a->count = 0; a->d < p->kd && a->count < most; a->count++) {
        ptrdiff_t *in = a->in[a->count];
        const ptrdiff_t step = a->d * cut.plane + a->h * cut.row + a->w * cut.pixel;
        for (int i = 0; i < Q_TILE; i++) in[i] = t->in[i] + step;
        for (int i = 0; i < Q_TILE && !t->all_inside; i++)
            if (!t->inside[i]) in[i] = q_place(p, cut, t, i, a, step);
        if (++a->w < cut.columns) continue;
        a->w = 0;
        if (++a->h < p->kh) continue;
        a->h = 0;
        a->d++;
    }
}

/* What the outputs of one group are made of. */
typedef struct q_conv_input {
    const uint8_t *x; /* at the group's first channel */
    ptrdiff_t size;   /* bytes from there on */
    int aligned;      /* pixels are whole quads: runs lie wholly inside or outside */
    q_runs runs;
    uint8_t zeros[Q_PATCH];            /* the zero point */
    uint8_t patches[Q_TILE * Q_PATCH]; /* runs that leave the input in part */
} q_conv_input;

/* The quads of bytes [b, b + n) of the run of output i at place `at`: in x, or in the patch. */
KERNEL const uint8_t *q_conv_piece(const q_conv_p *restrict p, q_cut cut, const q_conv_input *in,
                                   const q_tile_at *t, int i, ptrdiff_t at, ptrdiff_t b,
                                   ptrdiff_t n, uint8_t *patch)
{
    const int clip = cut.span > 1 && !t->inside[i];
    const ptrdiff_t from = clip ? -(ptrdiff_t)t->w[i] * p->ic - b : 0;
    const ptrdiff_t to = clip ? (ptrdiff_t)(p->iw - t->w[i]) * p->ic - b : n;
    const ptrdiff_t filled = q_quads(n) * 4;
    if (from <= 0 && to >= n && at + b + filled <= in->size) return in->x + (at + b);
    for (ptrdiff_t k = 0; k < filled; k++)
        patch[k] = k >= from && k < to && k < n ? in->x[at + b + k] : in->zeros[0];
    return patch;
}

/* Sets in->runs to bytes [b, b + n) of the runs at those places. */
KERNEL void q_conv_point(const q_conv_p *restrict p, q_cut cut, q_conv_input *in,
                         const q_tile_at *t, const q_places *a, ptrdiff_t b, ptrdiff_t n)
{
    uint8_t *patch = in->patches;
    in->runs.count = a->count;
    in->runs.quads = q_quads(n);
    for (int32_t r = 0; r < a->count; r++)
        for (int i = 0; i < Q_TILE; i++) {
            const ptrdiff_t at = a->in[r][i];
            if (at == Q_OUTSIDE) {
                in->runs.at[r][i] = in->zeros;
            } else if (t->all_inside || in->aligned) {
                in->runs.at[r][i] = in->x + (at + b);
            } else {
                in->runs.at[r][i] = q_conv_piece(p, cut, in, t, i, at, b, n, patch);
                patch += in->runs.quads * 4;
            }
        }
}

/* Adds the windows of a tile to the sums of one block, whose weights are `w`. `again`: this tile's
 * runs were looked for before, and are still there if they fit. */
KERNEL void q_conv_sum(const q_conv_p *restrict p, q_cut cut, q_conv_input *in, const q_tile_at *t,
                       int again, const int8_t *restrict w, uint32_t (*restrict sum)[Q_LANES])
{
    const ptrdiff_t filled = q_quads(cut.bytes) * 4;
    const ptrdiff_t part = t->all_inside || cut.bytes < Q_PATCH ? cut.bytes : Q_PATCH;
    int32_t most = part < cut.bytes ? 1 : Q_RUNS;
    q_places a;
    if (!t->all_inside && !in->aligned && filled * most > Q_PATCH)
        most = filled < Q_PATCH ? (int32_t)(Q_PATCH / filled) : 1;
    if (again && cut.runs <= most && part == cut.bytes) {
        q_tile(sum, &in->runs, w, p->x_signed);
        return;
    }
    a.d = a.h = a.w = 0;
    for (int32_t done = 0; done < cut.runs; done += a.count) {
        q_places_find(p, cut, t, most, &a);
        for (ptrdiff_t b = 0; b < cut.bytes; b += part) {
            q_conv_point(p, cut, in, t, &a, b, cut.bytes - b < part ? cut.bytes - b : part);
            q_tile(sum, &in->runs, w, p->x_signed);
            w += a.count * in->runs.quads * Q_QUADS;
        }
    }
}

/* All outputs of the channels [c0, c1) of a group, `weights` bytes a block. */
KERNEL void q_conv_blocks(const q_conv_p *restrict p, q_conv_input *in, int32_t c0, int32_t c1,
                          const int8_t *restrict w, ptrdiff_t weights, const int32_t *restrict bias,
                          const q_scale *restrict scale, uint8_t *restrict y)
{
    const int whole = q_conv_whole(p);
    const q_cut inner = q_conv_cut(p, whole), border = q_conv_cut(p, whole && !in->aligned);
    const ptrdiff_t reach = (p->kd - 1) * inner.plane + (p->kh - 1) * inner.row +
                            (inner.columns - 1) * inner.pixel + q_quads(inner.bytes) * 4;
    q_walk at = q_walk_start(p, y);
    for (int more = 1; more;) {
        q_tile_at t;
        more = q_tile_next(p, &at, &t);
        if (t.in[Q_TILE - 1] + reach > in->size) t.all_inside = 0;
        for (int32_t c = c0; c < c1; c += Q_LANES) {
            uint32_t sum[Q_TILE][Q_LANES];
            const int8_t *wide = w + (c - c0) / Q_LANES * weights;
            uint8_t *to[Q_TILE];
            q_block b;
            q_block_at(&b, bias, scale, c, c1);
            for (int i = 0; i < Q_TILE; i++) to[i] = t.y[i] + c;
            q_tile_init(sum, &b);
            q_conv_sum(p, t.all_inside ? inner : border, in, &t, c > c0, wide, sum);
            q_tile_store(sum, &b, (q_out){p->y_zero, p->lo, p->hi}, to);
        }
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
    const q_cut cut = q_conv_cut(p, q_conv_whole(p));
    const ptrdiff_t block = cut.runs * q_quads(cut.bytes) * Q_QUADS;
    const int32_t step = block < Q_NEAR ? (int32_t)(Q_NEAR / block) * Q_LANES : Q_LANES;
    const int8_t *weights = (const int8_t *)w;
    q_conv_input in;
    if (q_conv_is_flat(p)) {
        const ptrdiff_t rows = (ptrdiff_t)p->n * p->od * p->oh * p->ow;
        q_gemm_columns((const uint8_t *)x, rows, p->ic, p->x_signed, weights, bias, scale,
                       (q_out){p->y_zero, p->lo, p->hi}, (uint8_t *)y, p->oc);
        return;
    }
    in.aligned = icg % 4 == 0;
    for (int i = 0; i < Q_PATCH; i++) in.zeros[i] = (uint8_t)p->x_zero;
    for (int32_t g = 0; g < p->group; g++) {
        in.x = (const uint8_t *)x + g * icg;
        in.size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic - g * icg;
        for (int32_t c = 0; c < ocg; c += step) {
            const int32_t end = ocg - c < step ? ocg : c + step;
            q_conv_blocks(p, &in, c, end, weights, block, bias + g * ocg, scale + g * ocg,
                          (uint8_t *)y + g * ocg);
            weights += (end - c + Q_LANES - 1) / Q_LANES * block;
        }
    }
}

/* Bytes of the packed weights. */
static inline size_t q_conv_packed(const q_conv_p *p)
{
    const q_cut cut = q_conv_cut(p, q_conv_whole(p));
    const size_t blocks = ((size_t)(p->oc / p->group) + Q_LANES - 1) / Q_LANES;
    return (size_t)p->group * blocks * (size_t)cut.runs * (size_t)q_quads(cut.bytes) * Q_QUADS;
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
    const q_cut cut = q_conv_cut(p, q_conv_whole(p));
    const ptrdiff_t ocg = p->oc / p->group, taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t g = 0; g < p->group; g++)
        for (ptrdiff_t c = 0; c < ocg; c += Q_LANES)
            for (ptrdiff_t t = 0; t < taps; t += cut.span)
                packed = q_conv_pack_run(p, cut.bytes,
                                         raw + (g * ocg + c) * (p->ic / p->group) * taps + t,
                                         ocg - c, packed);
}

#endif
