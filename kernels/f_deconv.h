/* kernels/f_deconv.h - float transposed convolution over up to three axes, with groups: parameters
 * of f_conv, of which the input is the smaller side. f_dwdeconv: of one filter a channel.
 *
 * Outputs that are a stride apart have the same taps, side by side in the input: along each axis,
 * and for each of its `stride` phases, they are those of a convolution of stride 1. Each output is
 * bias + the products in the order of falling kd, kh, kw, and of ic, long sums of f_deconv as in
 * f_tile.h, then clamped. Weights are packed as f_conv's.
 */
#ifndef KERNELS_F_DECONV_H
#define KERNELS_F_DECONV_H

#include "f_tile.h"
#include "window.h"

/* Outputs first, first + stride, ... of one axis: `count` of them. Tap u of `taps` is tap
 * last - u * step of the kernel, and meets input j + base + u * apart at output number j. */
typedef struct f_phase {
    int32_t first, count, taps, last, step, base, apart;
} f_phase;

KERNEL f_phase f_phase_of(Axis a, int32_t first)
{
    f_phase f = {first, first < a.out ? (a.out - 1 - first) / a.stride + 1 : 0, 0, 0, 1, 0, 1};
    const int32_t at = first + a.pad; /* of output `first` in the padded output */
    int32_t k = 0, g = a.stride, rest = a.dilation;
    while (rest) { /* their greatest common divisor */
        const int32_t more = g % rest;
        g = rest;
        rest = more;
    }
    if (a.dilation == 1) k = at % a.stride;
    else
        while (k < a.k && k < a.stride && (at - k * a.dilation) % a.stride) k++;
    if (k >= a.k || (at - k * a.dilation) % a.stride) return f; /* no tap ever meets an input */
    f.step = a.stride / g;
    f.apart = a.dilation / g;
    f.taps = (a.k - 1 - k) / f.step + 1;
    f.last = k + (f.taps - 1) * f.step;
    f.base = (at - f.last * a.dilation) / a.stride; /* exact */
    return f;
}

/* A phase of each axis, and the convolution of stride 1 that it is. */
typedef struct f_deconv_part {
    f_phase d, h, w;
    f_conv_p conv;
} f_deconv_part;

KERNEL f_deconv_part f_deconv_phase(const f_conv_p *restrict p, int32_t d, int32_t h, int32_t w)
{
    f_deconv_part t = {f_phase_of(conv_axis_d(p), d), f_phase_of(conv_axis_h(p), h),
                       f_phase_of(conv_axis_w(p), w), *p};
    t.conv.od = t.d.count, t.conv.oh = t.h.count, t.conv.ow = t.w.count;
    t.conv.kd = t.d.taps, t.conv.kh = t.h.taps, t.conv.kw = t.w.taps;
    t.conv.sd = t.conv.sh = t.conv.sw = 1;
    t.conv.dd = t.d.apart, t.conv.dh = t.h.apart, t.conv.dw = t.w.apart;
    t.conv.pd = -t.d.base, t.conv.ph = -t.h.base, t.conv.pw = -t.w.base;
    return t;
}

/* Where the output that the walk is at lies, in pixels. */
KERNEL ptrdiff_t f_deconv_out(const f_conv_p *restrict p, const f_deconv_part *t, const Box *box,
                              const Walk *walk)
{
    const ptrdiff_t d = (ptrdiff_t)walk->d * p->sd + t->d.first;
    const ptrdiff_t h = (ptrdiff_t)walk->h * p->sh + t->h.first;
    const ptrdiff_t w = (ptrdiff_t)walk->w * p->sw + t->w.first;
    return (((ptrdiff_t)box->n * p->od + d) * p->oh + h) * p->ow + w;
}

/* The kernel's tap that tap (d, h, w) of the phase is. */
KERNEL ptrdiff_t f_deconv_tap(const f_conv_p *restrict p, const f_deconv_part *t, int32_t d,
                              int32_t h, int32_t w)
{
    const ptrdiff_t kd = t->d.last - d * t->d.step, kh = t->h.last - h * t->h.step;
    return (kd * p->kh + kh) * p->kw + (t->w.last - w * t->w.step);
}

/* The input that it meets, from where the walk is, in pixels. */
KERNEL ptrdiff_t f_deconv_from(const f_conv_p *restrict p, const f_deconv_part *t, int32_t d,
                               int32_t h, int32_t w)
{
    const ptrdiff_t kd = (ptrdiff_t)d * t->d.apart, kh = (ptrdiff_t)h * t->h.apart;
    return (kd * p->ih + kh) * p->iw + (ptrdiff_t)w * t->w.apart;
}

/* What one block of output channels works on. */
typedef struct f_deconv_block {
    const float *x, *w; /* x at the group's first channel; the block's packed weights */
    float *y;           /* at the block's first channel */
    float bias[F_LANES];
    int32_t count; /* channels in use */
} f_deconv_block;

/* All outputs of a box. The last tile repeats the last output where it is not full. */
KERNEL void f_deconv_box(const f_conv_p *restrict p, const f_deconv_part *t,
                         const f_deconv_block *b, const Box *box)
{
    const ptrdiff_t ic = p->ic, icg = p->ic / p->group;
    Walk walk = walk_start(&t->conv, box);
    int more = 1;
    while (more) {
        f_tile tile;
        ptrdiff_t in[F_TILE];
        float *y[F_TILE];
        for (int i = 0; i < F_TILE; i++) {
            in[i] = walk.in;
            y[i] = b->y + f_deconv_out(p, t, box, &walk) * p->oc;
            more = walk_next(&walk, &t->conv, box);
        }
        f_tile_start(&tile);
        f_tile_init(tile.sum[0], b->bias);
        for (int32_t d = box->d.k0; d < box->d.k1; d++)
            for (int32_t h = box->h.k0; h < box->h.k1; h++)
                for (int32_t w = box->w.k0; w < box->w.k1; w++) {
                    const ptrdiff_t from = f_deconv_from(p, t, d, h, w);
                    const float *x[F_TILE];
                    for (int i = 0; i < F_TILE; i++) x[i] = b->x + (in[i] + from) * ic;
                    f_tile_long_rows(&tile, x, b->w + f_deconv_tap(p, t, d, h, w) * icg * F_LANES,
                                     icg);
                }
        f_tile_end(&tile);
        f_tile_store(y, tile.sum[0], b->count, p->lo, p->hi);
    }
}

/* All outputs of a phase. */
KERNEL void f_deconv_part_run(const f_conv_p *restrict p, const f_deconv_part *t,
                              const f_deconv_block *b)
{
    const Axis ad = conv_axis_d(&t->conv), ah = conv_axis_h(&t->conv), aw = conv_axis_w(&t->conv);
    Box box;
    for (box.n = 0; box.n < p->n; box.n++)
        for (box.d = axis_span(ad, 0); box.d.o0 < ad.out; box.d = axis_span(ad, box.d.o1))
            for (box.h = axis_span(ah, 0); box.h.o0 < ah.out; box.h = axis_span(ah, box.h.o1))
                for (box.w = axis_span(aw, 0); box.w.o0 < aw.out; box.w = axis_span(aw, box.w.o1))
                    f_deconv_box(p, t, b, &box);
}

KERNEL_TRAITS(f_deconv, onednn_deconv, packs_ic, packs_oc, packs_group, packs_kd, packs_kh,
              packs_kw)
KERNEL_RUN void f_deconv(const f_conv_p *restrict p, const float *restrict x,
                         const float *restrict w, const float *restrict bias, float *restrict y)
{
    const int32_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const ptrdiff_t block_size = (ptrdiff_t)p->kd * p->kh * p->kw * icg * F_LANES;
    for (int32_t g = 0; g < p->group; g++)
        for (int32_t c = 0; c < ocg; c += F_LANES, w += block_size) {
            const ptrdiff_t oc = (ptrdiff_t)g * ocg + c;
            f_deconv_block b = {x + (ptrdiff_t)g * icg, w, y + oc, {0}, f_block_count(c, ocg)};
            f_block_load(b.bias, bias ? bias + oc : bias, b.count);
            for (int32_t d = 0; d < p->sd && d < p->od; d++)
                for (int32_t h = 0; h < p->sh && h < p->oh; h++)
                    for (int32_t v = 0; v < p->sw && v < p->ow; v++) {
                        const f_deconv_part t = f_deconv_phase(p, d, h, v);
                        f_deconv_part_run(p, &t, &b);
                    }
        }
}

/* Elements of the packed weights. */
static inline size_t f_deconv_packed(const f_conv_p *p)
{
    const size_t blocks = ((size_t)(p->oc / p->group) + F_LANES - 1) / F_LANES;
    const size_t taps = (size_t)p->kd * (size_t)p->kh * (size_t)p->kw;
    return (size_t)p->group * blocks * taps * (size_t)(p->ic / p->group) * F_LANES;
}

/* Packs ONNX's [ic][oc/group][kd][kh][kw]. */
static inline void f_deconv_pack(const f_conv_p *p, const float *restrict raw,
                                 float *restrict packed)
{
    const ptrdiff_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t g = 0; g < p->group; g++)
        for (ptrdiff_t c = 0; c < ocg; c += F_LANES)
            for (ptrdiff_t t = 0; t < taps; t++)
                for (ptrdiff_t i = 0; i < icg; i++)
                    for (ptrdiff_t j = 0; j < F_LANES; j++) {
                        const ptrdiff_t from = (g * icg + i) * ocg + c + j;
                        *packed++ = c + j < ocg ? raw[from * taps + t] : 0.0f;
                    }
}

/* ---- a filter a channel ---------------------------------------------------------------------- */

/* n channels from c on, of one output. */
KERNEL void f_dwdeconv_chunk(const f_conv_p *restrict p, const f_deconv_part *t, const Box *box,
                             const float *restrict x, const float *restrict w,
                             const float *restrict bias, float *restrict y, int32_t n)
{
    float sum[F_CHUNK];
    for (int32_t j = 0; j < n; j++) sum[j] = bias ? bias[j] : 0.0f;
    for (int32_t d = box->d.k0; d < box->d.k1; d++)
        for (int32_t h = box->h.k0; h < box->h.k1; h++)
            for (int32_t v = box->w.k0; v < box->w.k1; v++) {
                const float *xr = x + f_deconv_from(p, t, d, h, v) * p->oc;
                const float *wr = w + f_deconv_tap(p, t, d, h, v) * p->oc;
                for (int32_t j = 0; j < n; j++) sum[j] += xr[j] * wr[j];
            }
    for (int32_t j = 0; j < n; j++) y[j] = f_clamp(sum[j], p->lo, p->hi);
}

/* All outputs of a box. */
KERNEL void f_dwdeconv_box(const f_conv_p *restrict p, const f_deconv_part *t, const Box *box,
                           const float *restrict x, const float *restrict w,
                           const float *restrict bias, float *restrict y)
{
    Walk walk = walk_start(&t->conv, box);
    int more = 1;
    while (more) {
        float *to = y + f_deconv_out(p, t, box, &walk) * p->oc;
        for (int32_t c = 0; c < p->oc; c += F_CHUNK)
            f_dwdeconv_chunk(p, t, box, x + walk.in * p->ic + c, w + c, bias ? bias + c : bias,
                             to + c, f_chunk(c, p->oc));
        more = walk_next(&walk, &t->conv, box);
    }
}

KERNEL_TRAITS(f_dwdeconv, packs_oc, packs_kd, packs_kh, packs_kw)
KERNEL_RUN void f_dwdeconv(const f_conv_p *restrict p, const float *restrict x,
                           const float *restrict w, const float *restrict bias, float *restrict y)
{
    for (int32_t d = 0; d < p->sd && d < p->od; d++)
        for (int32_t h = 0; h < p->sh && h < p->oh; h++)
            for (int32_t v = 0; v < p->sw && v < p->ow; v++) {
                const f_deconv_part t = f_deconv_phase(p, d, h, v);
                const Axis ad = conv_axis_d(&t.conv), ah = conv_axis_h(&t.conv),
                           aw = conv_axis_w(&t.conv);
                Box box;
                for (box.n = 0; box.n < p->n; box.n++)
                    for (box.d = axis_span(ad, 0); box.d.o0 < ad.out;
                         box.d = axis_span(ad, box.d.o1))
                        for (box.h = axis_span(ah, 0); box.h.o0 < ah.out;
                             box.h = axis_span(ah, box.h.o1))
                            for (box.w = axis_span(aw, 0); box.w.o0 < aw.out;
                                 box.w = axis_span(aw, box.w.o1))
                                f_dwdeconv_box(p, &t, &box, x, w, bias, y);
            }
}

/* Elements of the packed weights. */
static inline size_t f_dwdeconv_packed(const f_conv_p *p)
{
    return (size_t)p->kd * (size_t)p->kh * (size_t)p->kw * (size_t)p->oc;
}

/* Packs ONNX's [c][1][kd][kh][kw] as [kd][kh][kw][c]. */
static inline void f_dwdeconv_pack(const f_conv_p *p, const float *restrict raw,
                                   float *restrict packed)
{
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t t = 0; t < taps; t++)
        for (ptrdiff_t c = 0; c < p->oc; c++) *packed++ = raw[c * taps + t];
}

#endif
