/* kernels/f_gemm.h - y[m][n] = x[m][k] * w[k][n] + bias[n] with constant weights, clamped.
 *
 * Each output is bias + the products in ascending k, long sums as in f_tile.h. Weights are packed
 * as [block of F_LANES columns][k][F_LANES].
 */
#ifndef KERNELS_F_GEMM_H
#define KERNELS_F_GEMM_H

#include "f_tile.h"
#include "params.h"

/* One block of columns for all rows, a tile of rows at a time; the last tile repeats the last. */
KERNEL void f_gemm_column(const f_gemm_p *restrict p, const float *restrict x,
                          const float *restrict w, const float *bias, float *restrict y,
                          int32_t count)
{
    float block[F_LANES];
    f_block_load(block, bias, count);
    for (int32_t m = 0; m < p->m; m += F_TILE) {
        float *rows[F_TILE];
        f_tile t;
        const float *in[F_TILE];
        for (int32_t i = 0; i < F_TILE; i++) {
            const ptrdiff_t row = m + i < p->m ? m + i : p->m - 1;
            in[i] = x + row * p->k;
            rows[i] = y + row * p->n;
        }
        f_tile_start(&t);
        f_tile_init(t.sum[0], block);
        f_tile_long_rows(&t, in, w, p->k);
        f_tile_end(&t);
        f_tile_store(rows, t.sum[0], count, p->lo, p->hi);
    }
}

/* One row: the weights are read once, F_TILE blocks side by side; the last tile repeats the last
 * block. */
KERNEL void f_gemm_row(const f_gemm_p *restrict p, const float *restrict x, const float *restrict w,
                       const float *bias, float *restrict y)
{
    const int32_t last = (p->n - 1) / F_LANES * F_LANES;
    for (int32_t c = 0; c < p->n; c += F_TILE * F_LANES) {
        const float *blocks[F_TILE];
        f_tile t;
        f_tile_start(&t);
        for (int32_t i = 0; i < F_TILE; i++) {
            const int32_t at = c + i * F_LANES < last ? c + i * F_LANES : last;
            blocks[i] = w + (ptrdiff_t)at * p->k;
            f_block_load(t.sum[0][i], bias ? bias + at : bias, f_block_count(at, p->n));
        }
        f_tile_long_blocks(&t, x, blocks, F_LANES, p->k);
        f_tile_end(&t);
        for (int32_t j = 0; j < F_TILE * F_LANES && c + j < p->n; j++)
            y[c + j] = f_clamp(t.sum[0][j / F_LANES][j % F_LANES], p->lo, p->hi);
    }
}

KERNEL_TRAITS(f_gemm, onednn_gemm, packs_n, packs_k, packs_transb)
KERNEL_RUN void f_gemm(const f_gemm_p *restrict p, const float *restrict x, const float *restrict w,
                   const float *restrict bias, float *restrict y)
{
    if (p->m == 1) {
        f_gemm_row(p, x, w, bias, y);
        return;
    }
    for (int32_t c = 0; c < p->n; c += F_LANES)
        f_gemm_column(p, x, w + (ptrdiff_t)c * p->k, bias ? bias + c : bias, y + c,
                      f_block_count(c, p->n));
}

/* Elements of the packed weights. */
static inline size_t f_gemm_packed(const f_gemm_p *p)
{
    return ((size_t)p->n + F_LANES - 1) / F_LANES * F_LANES * (size_t)p->k;
}

/* Packs [k][n], or [n][k] when p->transb. */
static inline void f_gemm_pack(const f_gemm_p *p, const float *restrict raw, float *restrict packed)
{
    const ptrdiff_t kstep = p->transb ? 1 : p->n, nstep = p->transb ? p->k : 1;
    for (ptrdiff_t c = 0; c < p->n; c += F_LANES)
        for (ptrdiff_t k = 0; k < p->k; k++)
            for (ptrdiff_t j = c; j < c + F_LANES; j++)
                *packed++ = j < p->n ? raw[k * kstep + j * nstep] : 0.0f;
}

#endif
