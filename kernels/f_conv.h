/* kernels/f_conv.h - float convolution over up to three axes, with groups; zero padding.
 *
 * Each output is bias + the products in the order kd, kh, kw, ic, long sums as in f_tile.h, then
 * clamped. Weights are packed as
 * [group][block of F_LANES output channels][kd][kh][kw][ic/group][F_LANES].
 */
#ifndef KERNELS_F_CONV_H
#define KERNELS_F_CONV_H

#include "f_tile.h"
#include "window.h"

/* What one block of output channels works on. */
typedef struct f_conv_block {
    const float *x, *w; /* x at the group's first channel; the block's packed weights */
    float *y;           /* at the block's first channel */
    float bias[F_LANES];
    int32_t count; /* channels in use */
} f_conv_block;

/* Adds the taps of `box` to a tile whose windows start at pixels in[]. */
KERNEL void f_conv_taps(const f_conv_p *restrict p, const f_conv_block *b, const Box *box,
                        const ptrdiff_t in[F_TILE], f_tile *tile)
{
    const ptrdiff_t ic = p->ic, icg = p->ic / p->group;
    /* Pixels side by side are one run of products when a pixel's channels are all ours. */
    const int whole = p->group == 1 && p->dw == 1;
    const ptrdiff_t kw = box->w.k1 - box->w.k0;
    const ptrdiff_t runs = whole ? 1 : kw, length = whole ? kw * icg : icg;
    for (ptrdiff_t d = box->d.k0; d < box->d.k1; d++)
        for (ptrdiff_t h = box->h.k0; h < box->h.k1; h++) {
            const ptrdiff_t row = (d * p->dd * p->ih + h * p->dh) * p->iw;
            const float *w = b->w + ((d * p->kh + h) * p->kw + box->w.k0) * icg * F_LANES;
            for (ptrdiff_t r = 0; r < runs; r++) {
                const ptrdiff_t at = row + (box->w.k0 + r) * p->dw;
                const float *x[F_TILE];
                for (int i = 0; i < F_TILE; i++) x[i] = b->x + (in[i] + at) * ic;
                f_tile_long_rows(tile, x, w + r * icg * F_LANES, length);
            }
        }
}

/* All outputs of a box. The last tile repeats the last output where it is not full. */
KERNEL void f_conv_box(const f_conv_p *restrict p, const f_conv_block *b, const Box *box)
{
    Walk walk = walk_start(p, box);
    int more = 1;
    while (more) {
        f_tile tile;
        ptrdiff_t in[F_TILE];
        float *y[F_TILE];
        for (int i = 0; i < F_TILE; i++) {
            in[i] = walk.in;
            y[i] = b->y + walk.out * p->oc;
            more = walk_next(&walk, p, box);
        }
        f_tile_start(&tile);
        f_tile_init(tile.sum[0], b->bias);
        f_conv_taps(p, b, box, in, &tile);
        f_tile_end(&tile);
        f_tile_store(y, tile.sum[0], b->count, p->lo, p->hi);
    }
}

KERNEL_TRAITS(f_conv, onednn_conv, packs_ic, packs_oc, packs_group, packs_kd, packs_kh, packs_kw)
KERNEL_RUN void f_conv(const f_conv_p *restrict p, const float *restrict x, const float *restrict w,
                   const float *restrict bias, float *restrict y)
{
    const int32_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const ptrdiff_t block_size = (ptrdiff_t)p->kd * p->kh * p->kw * icg * F_LANES;
    const Axis ad = conv_axis_d(p), ah = conv_axis_h(p), aw = conv_axis_w(p);
    for (int32_t g = 0; g < p->group; g++)
        for (int32_t c = 0; c < ocg; c += F_LANES, w += block_size) {
            const ptrdiff_t oc = (ptrdiff_t)g * ocg + c;
            f_conv_block b = {x + (ptrdiff_t)g * icg, w, y + oc, {0}, f_block_count(c, ocg)};
            f_block_load(b.bias, bias ? bias + oc : bias, b.count);
            Box box;
            for (box.n = 0; box.n < p->n; box.n++)
                for (box.d = axis_span(ad, 0); box.d.o0 < p->od; box.d = axis_span(ad, box.d.o1))
                    for (box.h = axis_span(ah, 0); box.h.o0 < p->oh;
                         box.h = axis_span(ah, box.h.o1))
                        for (box.w = axis_span(aw, 0); box.w.o0 < p->ow;
                             box.w = axis_span(aw, box.w.o1))
                            f_conv_box(p, &b, &box);
        }
}

/* Elements of the packed weights. */
static inline size_t f_conv_packed(const f_conv_p *p)
{
    const size_t blocks = ((size_t)(p->oc / p->group) + F_LANES - 1) / F_LANES;
    const size_t taps = (size_t)p->kd * (size_t)p->kh * (size_t)p->kw;
    return (size_t)p->group * blocks * taps * (size_t)(p->ic / p->group) * F_LANES;
}

/* Packs ONNX's [oc][ic/group][kd][kh][kw]. */
static inline void f_conv_pack(const f_conv_p *p, const float *restrict raw, float *restrict packed)
{
    const ptrdiff_t icg = p->ic / p->group, ocg = p->oc / p->group;
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t g = 0; g < p->group; g++)
        for (ptrdiff_t c = 0; c < ocg; c += F_LANES)
            for (ptrdiff_t t = 0; t < taps; t++)
                for (ptrdiff_t i = 0; i < icg; i++)
                    for (ptrdiff_t j = 0; j < F_LANES; j++) {
                        const ptrdiff_t oc = g * ocg + c + j;
                        *packed++ = c + j < ocg ? raw[(oc * icg + i) * taps + t] : 0.0f;
                    }
}

#endif
