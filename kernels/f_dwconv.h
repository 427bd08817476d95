/* kernels/f_dwconv.h - float depthwise convolution: group == ic == oc, parameters of f_conv.
 *
 * Each output is bias + the products in the order kd, kh, kw, long sums as in f_tile.h, then
 * clamped. Weights are packed as [kd][kh][kw][c].
 */
#ifndef KERNELS_F_DWCONV_H
#define KERNELS_F_DWCONV_H

#include "f_tile.h"
#include "window.h"

/* sum[i][j] += the products of taps [t, end) of a row of the window, of `lanes` channels: x and w
 * are at the row's first tap and channel. */
KERNEL void f_dwconv_taps(const f_conv_p *restrict p, float sum[F_TILE][F_LANES],
                          const ptrdiff_t in[F_TILE], int32_t lanes, const float *restrict x,
                          const float *restrict w, ptrdiff_t t, ptrdiff_t end)
{
    const ptrdiff_t channels = p->oc;
    for (; t < end; t++) {
        const float *xr = x + t * p->dw * channels;
        for (int j = 0; j < lanes; j++)
#pragma GCC unroll 8
            for (int i = 0; i < F_TILE; i++)
                sum[i][j] += xr[in[i] * channels + j] * w[t * channels + j];
    }
}

/* The same for a row of any length. */
KERNEL void f_dwconv_long_taps(const f_conv_p *restrict p, f_tile *tile, const ptrdiff_t in[F_TILE],
                               int32_t lanes, const float *restrict x, const float *restrict w,
                               ptrdiff_t t, ptrdiff_t end)
{
    while (t < end) {
        const int32_t room = f_tile_room(tile), some = end - t < room ? (int32_t)(end - t) : room;
        f_dwconv_taps(p, tile->sum[0], in, lanes, x, w, t, t + some);
        tile->products += some;
        t += some;
    }
}

/* The products of a box's taps, of `lanes` channels, for the windows that start at pixels in[]:
 * added to the long sums in tile or, where that is NULL, one by one to sum. */
KERNEL void f_dwconv_sums(const f_conv_p *restrict p, const Box *box, const ptrdiff_t in[F_TILE],
                          int32_t lanes, const float *restrict x, const float *restrict w,
                          float sum[F_TILE][F_LANES], f_tile *tile)
{
    const ptrdiff_t channels = p->oc;
    for (ptrdiff_t d = box->d.k0; d < box->d.k1; d++)
        for (ptrdiff_t h = box->h.k0; h < box->h.k1; h++) {
            const float *xr = x + (d * p->dd * p->ih + h * p->dh) * p->iw * channels;
            const float *wr = w + (d * p->kh + h) * p->kw * channels;
            if (tile) f_dwconv_long_taps(p, tile, in, lanes, xr, wr, box->w.k0, box->w.k1);
            else f_dwconv_taps(p, sum, in, lanes, xr, wr, box->w.k0, box->w.k1);
        }
}

/* sum[i][j] += the same, as long sums; apart from the short ones, so that those stay fast. */
KERNEL_CALLED void f_dwconv_long(const f_conv_p *restrict p, const Box *box,
                                 const ptrdiff_t in[F_TILE], int32_t lanes,
                                 const float *restrict x, const float *restrict w,
                                 float sum[F_TILE][F_LANES])
{
    f_tile tile;
    f_tile_start(&tile);
    for (int i = 0; i < F_TILE; i++)
        for (int j = 0; j < F_LANES; j++) tile.sum[0][i][j] = sum[i][j];
    f_dwconv_sums(p, box, in, lanes, x, w, sum, &tile);
    f_tile_end(&tile);
    for (int i = 0; i < F_TILE; i++)
        for (int j = 0; j < F_LANES; j++) sum[i][j] = tile.sum[0][i][j];
}

/* `lanes` channels from channel c on, of the outputs out[] whose windows start at pixels in[]. */
KERNEL void f_dwconv_tile(const f_conv_p *restrict p, const Box *box, const ptrdiff_t in[F_TILE],
                          const ptrdiff_t out[F_TILE], int32_t c, int32_t lanes,
                          const float *restrict x, const float *restrict w, const float *bias,
                          float *restrict y)
{
    float sum[F_TILE][F_LANES], block[F_LANES], *rows[F_TILE];
    const ptrdiff_t channels = p->oc;
    f_block_load(block, bias ? bias + c : bias, lanes);
    f_tile_init(sum, block);
    if ((ptrdiff_t)p->kd * p->kh * p->kw <= F_DEPTH) /* one level, without the counting */
        f_dwconv_sums(p, box, in, lanes, x + c, w + c, sum, 0);
    else f_dwconv_long(p, box, in, lanes, x + c, w + c, sum);
    for (int i = 0; i < F_TILE; i++) rows[i] = y + out[i] * channels + c;
    f_tile_store(rows, sum, lanes, p->lo, p->hi);
}

/* All outputs of a box, F_TILE at a time, all their channels; tiles and blocks that are not full
 * reach back over the one before. */
KERNEL void f_dwconv_box(const f_conv_p *restrict p, const Box *box, const float *restrict x,
                         const float *restrict w, const float *bias, float *restrict y)
{
    Walk walk = walk_start(p, box);
    int more = 1;
    while (more) {
        ptrdiff_t in[F_TILE], out[F_TILE];
        for (int i = 0; i < F_TILE; i++) {
            in[i] = walk.in;
            out[i] = walk.out;
            more = walk_next(&walk, p, box);
        }
        if (p->oc < F_LANES) f_dwconv_tile(p, box, in, out, 0, p->oc, x, w, bias, y);
        for (int32_t c = 0; c < p->oc && p->oc >= F_LANES; c += F_LANES) {
            const int32_t at = c + F_LANES <= p->oc ? c : p->oc - F_LANES;
            f_dwconv_tile(p, box, in, out, at, F_LANES, x, w, bias, y);
        }
    }
}

KERNEL_TRAITS(f_dwconv, onednn_conv, packs_oc, packs_kd, packs_kh, packs_kw)
KERNEL_RUN void f_dwconv(const f_conv_p *restrict p, const float *restrict x,
                         const float *restrict w, const float *restrict bias, float *restrict y)
{
    const Axis ad = conv_axis_d(p), ah = conv_axis_h(p), aw = conv_axis_w(p);
    Box box;
    for (box.n = 0; box.n < p->n; box.n++)
        for (box.d = axis_span(ad, 0); box.d.o0 < p->od; box.d = axis_span(ad, box.d.o1))
            for (box.h = axis_span(ah, 0); box.h.o0 < p->oh; box.h = axis_span(ah, box.h.o1))
                for (box.w = axis_span(aw, 0); box.w.o0 < p->ow; box.w = axis_span(aw, box.w.o1))
                    f_dwconv_box(p, &box, x, w, bias, y);
}

/* Elements of the packed weights. */
static inline size_t f_dwconv_packed(const f_conv_p *p)
{
    return (size_t)p->kd * (size_t)p->kh * (size_t)p->kw * (size_t)p->oc;
}

/* Packs ONNX's [c][1][kd][kh][kw]. */
static inline void f_dwconv_pack(const f_conv_p *p, const float *restrict raw,
                                 float *restrict packed)
{
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t t = 0; t < taps; t++)
        for (ptrdiff_t c = 0; c < p->oc; c++) *packed++ = raw[c * taps + t];
}

#endif
