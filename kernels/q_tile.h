/* kernels/q_tile.h - the register tile of q_conv and q_gemm: Q_TILE rows of Q_LANES sums.
 *
 * Weights are packed as quads: [block of Q_LANES output channels][k / 4][Q_LANES][4], filled up
 * with zeros, so what x holds beyond its k does not matter. Sums wrap modulo 2^32.
 */
#ifndef KERNELS_Q_TILE_H
#define KERNELS_Q_TILE_H

#include "requant.h"

enum { Q_QUADS = 4 * Q_LANES }; /* bytes of one k-step of a block's weights */

enum { Q_RUNS = 32 }; /* runs of products taken at once */

/* Runs of `quads` * 4 bytes: where each row of the tile has them. */
typedef struct q_runs {
    const uint8_t *at[Q_RUNS][Q_TILE];
    int32_t count;
    ptrdiff_t quads;
} q_runs;

/* sum[i][j] += the products of all runs, row i and lane j, for Q_ABREAST vectors of lanes. */
KERNEL void q_tile_part(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict runs,
                        const int8_t *restrict w, int is_signed)
{
    enum { WIDTH = Q_LANES / Q_VECS };
    q_vec s[Q_TILE][Q_ABREAST];
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) s[i][v] = q_vec_load(sum[i] + v * WIDTH);
    for (int32_t r = 0; r < runs->count; r++) {
        const uint8_t *x[Q_TILE];
        for (int i = 0; i < Q_TILE; i++) x[i] = runs->at[r][i];
#pragma GCC unroll 2
        for (ptrdiff_t k = 0; k < runs->quads; k++, w += Q_QUADS) {
            q_quad wide[Q_ABREAST];
#pragma GCC unroll 4
            for (int v = 0; v < Q_ABREAST; v++)
                wide[v] = q_quad_weights(w + v * WIDTH * 4, is_signed);
#pragma GCC unroll 8
            for (int i = 0; i < Q_TILE; i++) {
                const q_quad quad = q_quad_x(x[i] + k * 4, is_signed);
#pragma GCC unroll 4
                for (int v = 0; v < Q_ABREAST; v++)
                    s[i][v] = q_quad_dot(s[i][v], quad, wide[v], is_signed);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) q_vec_store(sum[i] + v * WIDTH, s[i][v]);
}

KERNEL void q_tile_all(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict runs,
                       const int8_t *restrict w, int is_signed)
{
    for (int v = 0; v < Q_VECS; v += Q_ABREAST) {
        const int lane = v * (Q_LANES / Q_VECS);
        q_tile_part((uint32_t(*)[Q_LANES])(sum[0] + lane), runs, w + lane * 4, is_signed);
    }
}

KERNEL_CALLED void q_tile_u8(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict runs,
                             const int8_t *restrict w)
{
    q_tile_all(sum, runs, w, 0);
}

KERNEL_CALLED void q_tile_s8(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict runs,
                             const int8_t *restrict w)
{
    q_tile_all(sum, runs, w, 1);
}

/* sum[i][j] += the products of all runs, row i of bytes and lane j of a block. */
KERNEL void q_tile(uint32_t (*restrict sum)[Q_LANES], const q_runs *restrict runs,
                   const int8_t *restrict w, int32_t is_signed)
{
    if (is_signed) q_tile_s8(sum, runs, w);
    else q_tile_u8(sum, runs, w);
}

/* One block of output channels; arrays are whole, also where the last channels are not in use. */
typedef struct q_block {
    const int32_t *bias;
    const q_scale *scale;
    int32_t count;           /* channels in use */
    int32_t biases[Q_LANES]; /* copies, of a block that is not full */
    q_scale scales[Q_LANES];
} q_block;

/* The block at channel `c` of `channels`; `b` must stay where it is. */
KERNEL void q_block_at(q_block *b, const int32_t *bias, const q_scale *scale, int32_t c,
                       int32_t channels)
{
    b->count = channels - c < Q_LANES ? channels - c : Q_LANES;
    b->bias = bias + c;
    b->scale = scale + c;
    if (b->count == Q_LANES) return;
    for (int32_t j = 0; j < Q_LANES; j++) {
        b->biases[j] = j < b->count ? bias[c + j] : 0;
        b->scales[j] = j < b->count ? scale[c + j] : 0;
    }
    b->bias = b->biases;
    b->scale = b->scales;
}

/* Every row of the tile set to the bias. */
KERNEL void q_tile_init(uint32_t sum[Q_TILE][Q_LANES], const q_block *b)
{
    for (int i = 0; i < Q_TILE; i++)
        for (int j = 0; j < Q_LANES; j++) sum[i][j] = (uint32_t)b->bias[j];
}

/* Requantizes the tile into rows y[i]. */
KERNEL void q_tile_store(uint32_t sum[Q_TILE][Q_LANES], const q_block *b, q_out out,
                         uint8_t *const y[Q_TILE])
{
    for (int i = 0; i < Q_TILE; i++) q_requant_block(sum[i], b->scale, out, y[i], b->count);
}

/* Quads that hold `bytes` bytes. */
KERNEL ptrdiff_t q_quads(ptrdiff_t bytes) { return (bytes + 3) / 4; }

#endif
