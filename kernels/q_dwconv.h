/* kernels/q_dwconv.h - depthwise integer convolution (one input channel an output channel) over up
 * to three axes; padding counts as the zero point.
 *
 * Weights are packed as [block of Q_LANES channels][kd][kh][kw][Q_LANES], the last block filled up
 * with zeros.
 */
#ifndef KERNELS_Q_DWCONV_H
#define KERNELS_Q_DWCONV_H

#include "q_conv.h"

enum {
    Q_TAPS = 32,                          /* taps whose places are held at once */
    Q_PART = Q_LANES * Q_ABREAST / Q_VECS /* channels that are summed in registers */
};

/* Where some taps of a tile lie in x, at channel 0; negative: outside. */
typedef struct q_taps {
    ptrdiff_t in[Q_TAPS][Q_TILE];
    int32_t count;
    int32_t d, h, w; /* the first tap not among them */
} q_taps;

/* What the sums of one block of channels are made from. */
typedef struct q_dw_input {
    const uint8_t *x;              /* at the block's first channel */
    ptrdiff_t last;                /* the last place from which Q_LANES bytes can be read */
    int32_t count;                 /* channels in use */
    uint8_t zeros[Q_LANES];        /* the zero point */
    uint8_t edge[Q_TILE][Q_LANES]; /* copies of what lies beyond `last` */
} q_dw_input;

/* Tap (d, h, w) of the window at place o. */
KERNEL ptrdiff_t q_dw_tap(const q_conv_p *restrict p, q_cut cut, const q_place *o, int32_t d,
                          int32_t h, int32_t w)
{
    const int32_t id = o->d + d * p->dd, ih = o->h + h * p->dh, iw = o->w + w * p->dw;
    if (id < 0 || id >= p->id || ih < 0 || ih >= p->ih || iw < 0 || iw >= p->iw) return -1;
    return o->in + d * cut.plane + h * cut.row + w * cut.pixel;
}

/* Goes on from tap (d, h, w) with as many as fit; none are left where count becomes 0. */
KERNEL void q_taps_find(const q_conv_p *restrict p, q_cut cut, const q_conv_tile *tile,
                        q_taps *taps)
{
    taps->count = 0;
    while (taps->d < p->kd && taps->count < Q_TAPS) {
        ptrdiff_t *in = taps->in[taps->count++];
        const ptrdiff_t step = taps->d * cut.plane + taps->h * cut.row + taps->w * cut.pixel;
        for (int i = 0; i < Q_TILE; i++)
            in[i] = tile->inside ? tile->at[i].in + step
                                 : q_dw_tap(p, cut, &tile->at[i], taps->d, taps->h, taps->w);
        if (++taps->w < p->kw) continue;
        taps->w = 0;
        if (++taps->h < p->kh) continue;
        taps->h = 0;
        taps->d++;
    }
}

/* The block's channels at place `in`: Q_LANES bytes. */
KERNEL const uint8_t *q_dw_bytes(q_dw_input *input, ptrdiff_t in, int i)
{
    if (in < 0) return input->zeros;
    if (in <= input->last) return input->x + in;
    for (int32_t j = 0; j < input->count; j++) input->edge[i][j] = input->x[in + j];
    return input->edge[i];
}

/* v * w of two bytes: it fits 16 bits, which makes for better vectors. */
KERNEL uint32_t q_product(int32_t v, int32_t w)
{
    const int16_t product = (int16_t)(v * w);
    return (uint32_t)product;
}

/* sum[i][j] += the taps of Q_PART channels from `lane` on. */
KERNEL void q_dw_part(uint32_t (*restrict sum)[Q_LANES], const q_taps *taps, q_dw_input *input,
                      const int8_t *restrict w, int lane, int is_signed)
{
    uint32_t s[Q_TILE][Q_PART];
    for (int i = 0; i < Q_TILE; i++)
        for (int j = 0; j < Q_PART; j++) s[i][j] = sum[i][lane + j];
    for (int32_t t = 0; t < taps->count; t++, w += Q_LANES) {
        const uint8_t *x[Q_TILE];
        for (int i = 0; i < Q_TILE; i++) x[i] = q_dw_bytes(input, taps->in[t][i], i) + lane;
#pragma GCC unroll 8
        for (int i = 0; i < Q_TILE; i++)
            for (int j = 0; j < Q_PART; j++) {
                const int32_t v = is_signed ? (int8_t)x[i][j] : x[i][j];
                s[i][j] += q_product(v, w[lane + j]);
            }
    }
    for (int i = 0; i < Q_TILE; i++)
        for (int j = 0; j < Q_PART; j++) sum[i][lane + j] = s[i][j];
}

/* sum[i][j] += the taps of a block of channels. */
KERNEL_CALLED void q_dw_sum(uint32_t (*restrict sum)[Q_LANES], const q_taps *taps,
                            q_dw_input *input, const int8_t *restrict w, int32_t is_signed)
{
    for (int lane = 0; lane < Q_LANES; lane += Q_PART)
        if (is_signed) q_dw_part(sum, taps, input, w, lane, 1);
        else q_dw_part(sum, taps, input, w, lane, 0);
}

/* One tile, all channels. */
KERNEL void q_dw_tile(const q_conv_p *restrict p, q_cut cut, const q_conv_tile *tile,
                      const uint8_t *restrict x, const int8_t *restrict w,
                      const int32_t *restrict bias, const q_scale *restrict scale)
{
    const ptrdiff_t size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic;
    const int32_t all = p->kd * p->kh * p->kw;
    q_dw_input input;
    q_taps taps;
    for (int j = 0; j < Q_LANES; j++) input.zeros[j] = (uint8_t)p->x_zero;
    taps.count = 0;
    for (int32_t c = 0; c < p->oc; c += Q_LANES) {
        uint32_t sum[Q_TILE][Q_LANES];
        q_block b;
        q_block_load(&b, bias, scale, c, p->oc);
        q_tile_init(sum, &b);
        input.x = x + c;
        input.last = size - c - Q_LANES;
        input.count = b.count;
        for (int32_t done = 0; done < all; done += taps.count) {
            if (taps.count < all) {
                if (done == 0) taps.d = taps.h = taps.w = 0;
                q_taps_find(p, cut, tile, &taps);
            }
            q_dw_sum(sum, &taps, &input, w, p->x_signed);
            w += taps.count * Q_LANES;
        }
        for (int i = 0; i < Q_TILE; i++)
            q_requant_block(sum[i], b.scale, (q_out){p->y_zero, p->lo, p->hi}, tile->y[i] + c,
                            b.count);
    }
}

KERNEL void q_dwconv(const q_conv_p *restrict p, const void *restrict x, const void *restrict w,
                     const int32_t *restrict bias, const q_scale *restrict scale, void *restrict y)
{
    const q_cut cut = q_conv_cut(p);
    q_conv_walk at = {0, 0, 0, 0, (uint8_t *)y};
    for (int more = 1; more;) {
        q_conv_tile tile;
        more = q_conv_next_tile(p, &at, 0, 0, &tile);
        q_dw_tile(p, cut, &tile, (const uint8_t *)x, (const int8_t *)w, bias, scale);
    }
}

/* Bytes of the packed weights. */
static inline size_t q_dwconv_packed(const q_conv_p *p)
{
    const size_t blocks = ((size_t)p->oc + Q_LANES - 1) / Q_LANES;
    return blocks * (size_t)p->kd * (size_t)p->kh * (size_t)p->kw * Q_LANES;
}

/* Packs ONNX's [c][1][kd][kh][kw]. */
static inline void q_dwconv_pack(const q_conv_p *p, const int8_t *restrict raw,
                                 int8_t *restrict packed)
{
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t c = 0; c < p->oc; c += Q_LANES)
        for (ptrdiff_t t = 0; t < taps; t++)
            for (ptrdiff_t j = c; j < c + Q_LANES; j++)
                *packed++ = (int8_t)(j < p->oc ? raw[j * taps + t] : 0);
}

#endif
