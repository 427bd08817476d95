/* kernels/q_tile.h - the register tile of q_conv and q_gemm: Q_TILE rows of Q_LANES sums.
 *
 * Weights are packed as quads: [block of Q_LANES output channels][k / 4][Q_LANES][4], filled up
 * with zeros, so what x holds beyond its k does not matter. Sums wrap modulo 2^32.
 */
#ifndef KERNELS_Q_TILE_H
#define KERNELS_Q_TILE_H

#include "requant.h"

enum { Q_QUADS = 4 * Q_LANES }; /* bytes of one k-step of a block's weights */

/* Runs of products: rows of `quads` * 4 bytes, the rows xstep and wstep bytes apart. */
typedef struct q_run {
    ptrdiff_t rows, quads, xstep, wstep;
} q_run;

/* sum[i][j] += the products of x[i] and lane j, for Q_ABREAST vectors of lanes. */
KERNEL void q_tile_part(uint32_t (*restrict sum)[Q_LANES], const uint8_t *const x[Q_TILE],
                        const int8_t *restrict w, q_run run, int is_signed)
{
    enum { WIDTH = Q_LANES / Q_VECS };
    q_vec s[Q_TILE][Q_ABREAST];
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) s[i][v] = q_vec_load(sum[i] + v * WIDTH);
    for (ptrdiff_t r = 0; r < run.rows; r++, w += run.wstep)
#pragma GCC unroll 2
        for (ptrdiff_t k = 0; k < run.quads; k++) {
            const ptrdiff_t at = r * run.xstep + k * 4;
            q_quad_w wide[Q_ABREAST];
#pragma GCC unroll 4
            for (int v = 0; v < Q_ABREAST; v++)
                wide[v] = q_quad_weights(w + k * Q_QUADS + v * WIDTH * 4, is_signed);
#pragma GCC unroll 8
            for (int i = 0; i < Q_TILE; i++) {
                const q_quad quad = q_quad_x(x[i] + at, is_signed);
#pragma GCC unroll 4
                for (int v = 0; v < Q_ABREAST; v++)
                    s[i][v] = q_quad_dot(s[i][v], quad, wide[v], is_signed);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) q_vec_store(sum[i] + v * WIDTH, s[i][v]);
}

KERNEL void q_tile_all(uint32_t (*restrict sum)[Q_LANES], const uint8_t *const x[Q_TILE],
                       const int8_t *restrict w, q_run run, int is_signed)
{
    for (int v = 0; v < Q_VECS; v += Q_ABREAST) {
        const int lane = v * (Q_LANES / Q_VECS);
        q_tile_part((uint32_t(*)[Q_LANES])(sum[0] + lane), x, w + lane * 4, run, is_signed);
    }
}

KERNEL_CALLED void q_tile_u8(uint32_t (*restrict sum)[Q_LANES], const uint8_t *const x[Q_TILE],
                             const int8_t *restrict w, q_run run)
{
    q_tile_all(sum, x, w, run, 0);
}

KERNEL_CALLED void q_tile_s8(uint32_t (*restrict sum)[Q_LANES], const uint8_t *const x[Q_TILE],
                             const int8_t *restrict w, q_run run)
{
    q_tile_all(sum, x, w, run, 1);
}

/* sum[i][j] += the products of x[i], Q_TILE rows of bytes, and lane j of a block. */
KERNEL void q_tile(uint32_t (*restrict sum)[Q_LANES], const uint8_t *const x[Q_TILE],
                   const int8_t *restrict w, q_run run, int32_t is_signed)
{
    if (is_signed) q_tile_s8(sum, x, w, run);
    else q_tile_u8(sum, x, w, run);
}

/* Bias and scale of one block of output channels; zeros beyond `count`. */
typedef struct q_block {
    uint32_t bias[Q_LANES];
    q_scale scale[Q_LANES];
    int32_t count; /* channels in use */
} q_block;

/* The block at channel `c` of `channels`. */
KERNEL void q_block_load(q_block *b, const int32_t *bias, const q_scale *scale, int32_t c,
                         int32_t channels)
{
    b->count = channels - c < Q_LANES ? channels - c : Q_LANES;
    for (int32_t j = 0; j < Q_LANES; j++) {
        b->bias[j] = j < b->count ? (uint32_t)bias[c + j] : 0;
        b->scale[j] = j < b->count ? scale[c + j] : 0;
    }
}

/* Every row of the tile set to the bias. */
KERNEL void q_tile_init(uint32_t sum[Q_TILE][Q_LANES], const q_block *b)
{
    for (int i = 0; i < Q_TILE; i++)
        for (int j = 0; j < Q_LANES; j++) sum[i][j] = b->bias[j];
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
