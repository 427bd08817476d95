/* kernels/q_conv.h - integer convolution over up to three axes, with groups; padding counts as the
 * zero point.
 *
 * The window is cut into runs of contiguous bytes: rows of kw * ic where a pixel's channels are all
 * ours and side by side, else the ic/group channels of one tap. Weights are packed as [group][block
 * of Q_LANES output channels][run] of q_tile.h's quads. Runs that leave the input are copied to a
 * patch filled with the zero point.
 */
#ifndef KERNELS_Q_CONV_H
#define KERNELS_Q_CONV_H

#include "q_gemm.h"

enum {
    Q_PATCH = 256,   /* bytes of a run that are taken at once at a border; a
                        multiple of 4 */
    Q_NEAR = 1 << 15 /* bytes of weights that a tile is multiplied by before the
                        next one */
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
    int32_t inside[Q_TILE];          /* the window does not leave the input */
    int32_t all_inside;              /* nor is anything read beyond the input's end */
    int32_t border[Q_TILE], borders; /* outputs whose windows do */
} q_tile_at;

/* The next outputs, y[] for channel 0; the last one fills up the tile. False at the last tile.
 * `reach`: from a window's first byte to behind the last one that is read. */
KERNEL_CALLED int q_tile_next(const q_conv_p *restrict p, ptrdiff_t reach, q_walk *restrict at,
                              q_tile_at *restrict t, uint8_t **restrict y)
{
    const ptrdiff_t size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic;
    const int32_t last = p->iw - 1 - (p->kw - 1) * p->dw, sw = p->sw;
    const ptrdiff_t step = (ptrdiff_t)sw * p->ic;
    int more = 1;
    for (int i = 0; i < Q_TILE; i++) {
        t->d[i] = at->d;
        t->h[i] = at->h;
        t->w[i] = at->w + i * sw;
        t->in[i] = at->in + i * step;
        y[i] = at->y + (ptrdiff_t)i * p->oc;
        t->inside[i] = at->inside & (t->w[i] >= 0) & (t->w[i] <= last);
    }
    if (at->ow + Q_TILE <= p->ow) { /* all in one line: to the last one of them */
        at->ow += Q_TILE - 1;
        at->w = t->w[Q_TILE - 1];
        at->in = t->in[Q_TILE - 1];
        at->y = y[Q_TILE - 1];
        more = q_walk_next(p, at);
    } else {
        for (int i = 0; i < Q_TILE; i++) {
            t->d[i] = at->d;
            t->h[i] = at->h;
            t->w[i] = at->w;
            t->in[i] = at->in;
            y[i] = at->y;
            t->inside[i] = at->inside & (at->w >= 0) & (at->w <= last);
            more = q_walk_next(p, at);
        }
    }
    t->borders = 0;
    for (int i = 0; i < Q_TILE; i++) {
        t->border[t->borders] = i;
        t->borders += !t->inside[i];
    }
    t->all_inside = t->borders == 0 && t->in[Q_TILE - 1] <= size - reach;
    return more;
}

/* Runs that are worked on together are looked for from here on. */
typedef struct q_cursor {
    int32_t d, h, w; /* of the window */
} q_cursor;

/* To the next run. */
KERNEL void q_cursor_next(const q_conv_p *restrict p, const q_cut *restrict cut, q_cursor *at)
{
    if (++at->w < cut->columns) return;
    at->w = 0;
    if (++at->h < p->kh) return;
    at->h = 0;
    at->d++;
}

/* What the outputs of one group are made of. */
typedef struct q_conv_input {
    const uint8_t *x;       /* at the group's first channel */
    ptrdiff_t size;         /* bytes from there on */
    int aligned;            /* pixels are whole quads: runs lie wholly inside or outside */
    uint8_t zeros[Q_PATCH]; /* the zero point */
    uint8_t patches[Q_TILE * Q_PATCH]; /* runs that leave the input in part */
} q_conv_input;

/* Whether a run of output i lies wholly outside. */
KERNEL int q_conv_outside(const q_conv_p *restrict p, const q_cut *restrict cut,
                          const q_tile_at *restrict t, int i, q_cursor run)
{
    const int32_t d = t->d[i] + run.d * p->dd, h = t->h[i] + run.h * p->dh;
    const int32_t w = t->w[i] + run.w * p->dw;
    return d < 0 || d >= p->id || h < 0 || h >= p->ih || w + cut->span <= 0 || w >= p->iw;
}

/* Where the bytes at offset `at` of x are, which may be a place that is not used. */
KERNEL const uint8_t *q_conv_byte(const uint8_t *x, ptrdiff_t at)
{
    return (const uint8_t *)((uintptr_t)x + (uintptr_t)at);
}

/* Sets at[i] to `skip` bytes after the start of a run of each output. */
KERNEL void q_conv_point(const q_conv_p *restrict p, const q_cut *restrict cut, const uint8_t *x,
                         const uint8_t *zeros, const q_tile_at *restrict t, q_cursor run,
                         ptrdiff_t skip, const uint8_t **restrict at)
{
    const ptrdiff_t step = run.d * cut->plane + run.h * cut->row + run.w * cut->pixel + skip;
    for (int i = 0; i < Q_TILE; i++) at[i] = q_conv_byte(x, t->in[i] + step);
    for (int32_t b = 0; b < t->borders; b++)
        if (q_conv_outside(p, cut, t, t->border[b], run)) at[t->border[b]] = zeros;
}

/* The quads of bytes [b, b + n) of a run of output i, which are at `from`: there, or in the patch
 * where not all of them lie inside. */
KERNEL const uint8_t *q_conv_patch(const q_conv_p *restrict p, const q_cut *restrict cut,
                                   const q_conv_input *in, const q_tile_at *restrict t, int i,
                                   ptrdiff_t b, ptrdiff_t n, const uint8_t *from, uint8_t *patch)
{
    const int clip = cut->span > 1 && !t->inside[i];
    const ptrdiff_t start = clip ? -(ptrdiff_t)t->w[i] * p->ic - b : 0;
    const ptrdiff_t end = clip ? (ptrdiff_t)(p->iw - t->w[i]) * p->ic - b : n;
    const ptrdiff_t filled = q_quads(n) * 4;
    if (from == in->zeros) return from;
    if (start <= 0 && end >= n && in->size - filled >= from - in->x) return from;
    for (ptrdiff_t k = 0; k < filled; k++)
        patch[k] = k >= start && k < end && k < n ? from[k] : in->zeros[0];
    return patch;
}

/* Sets the job's runs to bytes [b, b + n) of `most` of them, or as many as are left; goes on with
 * the cursor. */
KERNEL void q_conv_look(const q_conv_p *restrict p, const q_cut *restrict cut,
                        q_conv_input *restrict in, const q_tile_at *restrict t, int32_t most,
                        ptrdiff_t b, ptrdiff_t n, q_cursor *restrict at, q_job *restrict job)
{
    uint8_t *patch = in->patches;
    job->quads = q_quads(n);
    for (job->runs = 0; job->runs < most && at->d < p->kd; q_cursor_next(p, cut, at)) {
        const uint8_t **to = job->x[job->runs++];
        q_conv_point(p, cut, in->x, in->zeros, t, *at, b, to);
        for (int i = 0; i < Q_TILE && !t->all_inside && !in->aligned; i++, patch += q_quads(n) * 4)
            to[i] = q_conv_patch(p, cut, in, t, i, b, n, to[i], patch);
    }
}

/* A tile's outputs of one block, whose weights are `w`. `again`: this tile's runs were looked for
 * before, and are still there if they fit. */
KERNEL_CALLED void q_conv_tile(const q_conv_p *restrict p, const q_cut *restrict cut,
                               q_conv_input *restrict in, const q_tile_at *restrict t, int again,
                               const int8_t *restrict w, q_job *restrict job)
{
    const ptrdiff_t filled = q_quads(cut->bytes) * 4;
    const ptrdiff_t part = t->all_inside || cut->bytes < Q_PATCH ? cut->bytes : Q_PATCH;
    int32_t most = part < cut->bytes ? 1 : Q_RUNS;
    q_cursor at = {0, 0, 0};
    if (!t->all_inside && !in->aligned && filled * most > Q_PATCH)
        most = filled < Q_PATCH ? (int32_t)(Q_PATCH / filled) : 1;
    job->first = job->last = 1;
    if (again && cut->runs <= most && part == cut->bytes) {
        q_tile(job, w);
        return;
    }
    for (int32_t done = 0; done < cut->runs; done += job->runs) {
        const q_cursor start = at;
        for (ptrdiff_t b = 0; b < cut->bytes; b += part) {
            const ptrdiff_t n = cut->bytes - b < part ? cut->bytes - b : part;
            at = start;
            q_conv_look(p, cut, in, t, most, b, n, &at, job);
            job->last = at.d == p->kd && b + n == cut->bytes;
            q_tile(job, w);
            job->first = 0;
            w += job->runs * job->quads * Q_QUADS;
        }
    }
}

/* From the first byte of a window, at channel 0, to behind its last quad. */
KERNEL ptrdiff_t q_conv_reach(const q_conv_p *restrict p, const q_cut *restrict cut)
{
    return (p->kd - 1) * cut->plane + (p->kh - 1) * cut->row + (cut->columns - 1) * cut->pixel +
           (p->ic - p->ic / p->group) + q_quads(cut->bytes) * 4;
}

/* All outputs of the channels [c0, c1) of a group, `weights` bytes a block. */
KERNEL void q_conv_blocks(const q_conv_p *restrict p, q_conv_input *in, int32_t c0, int32_t c1,
                          const int8_t *restrict w, ptrdiff_t weights, const int32_t *restrict bias,
                          const q_scale *restrict scale, uint8_t *restrict y)
{
    const int whole = q_conv_whole(p);
    const q_cut inner = q_conv_cut(p, whole), border = q_conv_cut(p, whole && !in->aligned);
    const ptrdiff_t reach = q_conv_reach(p, &inner);
    q_walk at = q_walk_start(p, y);
    q_job job;
    job.x_signed = p->x_signed;
    job.keep = 0;
    job.out = (q_out){p->y_zero, p->lo, p->hi};
    for (int more = 1; more;) {
        q_tile_at t;
        more = q_tile_next(p, reach, &at, &t, job.y);
        for (int32_t c = c0; c < c1; c += Q_LANES) {
            q_job_block(&job, bias, scale, c, c1);
            q_conv_tile(p, t.all_inside ? &inner : &border, in, &t, c > c0,
                        w + (c - c0) / Q_LANES * weights, &job);
        }
    }
}

/* Whether every window is one pixel, all of them in order. */
KERNEL int q_conv_is_flat(const q_conv_p *restrict p)
{
    return p->group == 1 && p->kd == 1 && p->kh == 1 && p->kw == 1 && p->od == p->id &&
           p->oh == p->ih && p->ow == p->iw && p->pd == 0 && p->ph == 0 && p->pw == 0;
}

KERNEL_RUN void q_conv(const q_conv_p *restrict p, const void *restrict x, const void *restrict w,
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
