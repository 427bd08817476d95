/* kernels/q_dwconv.h - depthwise integer convolution (one input channel an output channel) over up
 * to three axes; padding counts as the zero point.
 *
 * Four taps are a step: weights are packed as [block of Q_LANES channels][tap / 4][Q_LANES][4],
 * filled up with zeros.
 */
#ifndef KERNELS_Q_DWCONV_H
#define KERNELS_Q_DWCONV_H

#include "q_conv.h"

/* sum[i][j] += the products of tap t, channel j of output i, which are at at[t][i][j]; `count`
 * taps, a multiple of 4; Q_ABREAST vectors of channels from `lane` on. */
KERNEL void q_dw_part(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict taps,
                      const int8_t *restrict w, int lane, int is_signed)
{
    enum { WIDTH = Q_LANES / Q_VECS };
    for (int i = 0; i < Q_TILE; i++) {
        q_vec s[Q_ABREAST];
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) s[v] = q_vec_load(sum[i] + lane + v * WIDTH);
        for (int32_t t = 0; t < taps->count; t += 4) {
            const uint8_t *const(*x)[Q_TILE] = taps->at + t;
            const q_columns c = q_quad_columns(x[0][i] + lane, x[1][i] + lane, x[2][i] + lane,
                                               x[3][i] + lane, is_signed);
            const int8_t *wide = w + t * Q_LANES + lane * 4;
#pragma GCC unroll 4
            for (int v = 0; v < Q_ABREAST; v++)
                s[v] = q_quad_dot(s[v], c.v[v], q_quad_weights(wide + v * WIDTH * 4, is_signed),
                                  is_signed);
        }
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) q_vec_store(sum[i] + lane + v * WIDTH, s[v]);
    }
}

/* q_dw_part for all channels of a block. */
KERNEL_CALLED void q_dw_sum(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict taps,
                            const int8_t *restrict w, int32_t is_signed)
{
    for (int lane = 0; lane < Q_LANES; lane += Q_LANES / Q_VECS * Q_ABREAST)
        if (is_signed) q_dw_part(sum, taps, w, lane, 1);
        else q_dw_part(sum, taps, w, lane, 0);
}

/* What the outputs are made of. */
typedef struct q_dw_input {
    const uint8_t *x;
    ptrdiff_t size;
    uint8_t zeros[Q_LANES];   /* the zero point */
    uint8_t end[2 * Q_LANES]; /* the last Q_LANES bytes of x, and as many more */
} q_dw_input;

KERNEL void q_dw_open(q_dw_input *in, const q_conv_p *restrict p, const uint8_t *x)
{
    in->x = x;
    in->size = (ptrdiff_t)p->n * p->id * p->ih * p->iw * p->ic;
    for (int j = 0; j < Q_LANES; j++) {
        in->zeros[j] = (uint8_t)p->x_zero;
        in->end[j] = in->size + j < Q_LANES ? 0 : x[in->size - Q_LANES + j];
        in->end[Q_LANES + j] = 0;
    }
}

/* Sets `taps` to where Q_LANES bytes can be read for the channels from c on of each place, filled
 * up to a multiple of 4. */
KERNEL void q_dw_point(const q_dw_input *in, const q_places *a, ptrdiff_t c, q_runs *taps)
{
    const ptrdiff_t last = in->size - Q_LANES - c;
    const uint8_t *x = in->x + c;
    taps->count = a->count;
    for (int32_t t = 0; t < a->count; t++)
        for (int i = 0; i < Q_TILE; i++) {
            const ptrdiff_t place = a->in[t][i];
            taps->at[t][i] = place == Q_OUTSIDE ? in->zeros
                             : place > last     ? in->end + (place - last)
                                                : x + place;
        }
    for (; taps->count % 4 != 0; taps->count++)
        for (int i = 0; i < Q_TILE; i++) taps->at[taps->count][i] = in->zeros;
}

/* All channels of a tile. */
KERNEL void q_dw_tile(const q_conv_p *restrict p, q_cut cut, const q_dw_input *in,
                      const q_tile_at *t, const int8_t *restrict w, const int32_t *restrict bias,
                      const q_scale *restrict scale)
{
    q_places a;
    q_runs taps;
    a.count = 0;
    for (int32_t c = 0; c < p->oc; c += Q_LANES) {
        uint32_t sum[Q_TILE][Q_LANES];
        uint8_t *to[Q_TILE];
        q_block b;
        q_block_at(&b, bias, scale, c, p->oc);
        for (int i = 0; i < Q_TILE; i++) to[i] = t->y[i] + c;
        q_tile_init(sum, &b);
        for (int32_t done = 0; done < cut.runs; done += a.count) {
            if (done == 0 && a.count < cut.runs) a.d = a.h = a.w = 0;
            if (a.count < cut.runs) q_places_find(p, cut, t, Q_RUNS, &a);
            q_dw_point(in, &a, c, &taps);
            q_dw_sum(sum, &taps, w, p->x_signed);
            w += taps.count * Q_LANES;
        }
        q_tile_store(sum, &b, (q_out){p->y_zero, p->lo, p->hi}, to);
    }
}

KERNEL void q_dwconv(const q_conv_p *restrict p, const void *restrict x, const void *restrict w,
                     const int32_t *restrict bias, const q_scale *restrict scale, void *restrict y)
{
    const q_cut cut = q_conv_cut(p, 0);
    q_walk at = q_walk_start(p, (uint8_t *)y);
    q_dw_input in;
    q_dw_open(&in, p, (const uint8_t *)x);
    for (int more = 1; more;) {
        q_tile_at t;
        more = q_tile_next(p, &at, &t);
        q_dw_tile(p, cut, &in, &t, (const int8_t *)w, bias, scale);
    }
}

/* Bytes of the packed weights. */
static inline size_t q_dwconv_packed(const q_conv_p *p)
{
    const size_t blocks = ((size_t)p->oc + Q_LANES - 1) / Q_LANES;
    return blocks * (((size_t)p->kd * (size_t)p->kh * (size_t)p->kw + 3) / 4) * Q_QUADS;
}

/* Packs ONNX's [c][1][kd][kh][kw]. */
static inline void q_dwconv_pack(const q_conv_p *p, const int8_t *restrict raw,
                                 int8_t *restrict packed)
{
    const ptrdiff_t taps = (ptrdiff_t)p->kd * p->kh * p->kw;
    for (ptrdiff_t c = 0; c < p->oc; c += Q_LANES)
        for (ptrdiff_t t = 0; t < taps; t += 4)
            for (ptrdiff_t j = c; j < c + Q_LANES; j++)
                for (ptrdiff_t i = t; i < t + 4; i++)
                    *packed++ = (int8_t)(j < p->oc && i < taps ? raw[j * taps + i] : 0);
}

#endif
