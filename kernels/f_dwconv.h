/* kernels/f_dwconv.h - float depthwise convolution: group == ic == oc, parameters of f_conv.
 *
 * Each output is bias + the products in the order kd, kh, kw, long sums as in f_tile.h, then
 * clamped. Weights are packed as [kd][kh][kw][c].
 */
#ifndef KERNELS_F_DWCONV_H
#define KERNELS_F_DWCONV_H

#include "f_tile.h"
#include "window.h"

/* `lanes` channels from channel c on, of the outputs out[] whose windows start at pixels in[]. */
KERNEL void f_dwconv_tile(const f_conv_p *restrict p, const Box *box, const ptrdiff_t in[F_TILE],
                          const ptrdiff_t out[F_TILE], int32_t c, int32_t lanes,
                          const float *restrict x, const float *restrict w, const float *bias,
                          float *restrict y)
{
    float block[F_LANES], *rows[F_TILE];
    f_tile tile;
    const ptrdiff_t channels = p->oc;
    f_block_load(block, bias ? bias + c : bias, lanes);
    f_tile_start(&tile);
    f_tile_init(tile.sum[0], block);
    for (ptrdiff_t d = box->d.k0; d < box->d.k1; d++)
        for (ptrdiff_t h = box->h.k0; h < box->h.k1; h++) {
            const ptrdiff_t row = (d * p->dd * p->ih + h * p->dh) * p->iw;
            const float *wr = w + (d * p->kh + h) * p->kw * channels + c;
            for (ptrdiff_t t = box->w.k0, end; t < box->w.k1; t = end) {
                const int32_t room = f_tile_room(&tile);
                end = box->w.k1 - t < room ? box->w.k1 : t + room;
                tile.products += (int32_t)(end - t);
                for (; t < end; t++) {
                    const float *xr = x + (row + t * p->dw) * channels + c;
                    for (int j = 0; j < lanes; j++)
#pragma GCC unroll 8
                        for (int i = 0; i < F_TILE; i++)
                            tile.sum[0][i][j] += xr[in[i] * channels + j] * wr[t * channels + j];
                }
            }
        }
    f_tile_end(&tile);
    for (int i = 0; i < F_TILE; i++) rows[i] = y + out[i] * channels + c;
    f_tile_store(rows, tile.sum[0], lanes, p->lo, p->hi);
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
