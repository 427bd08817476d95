/* kernels/f_matmul.h - batched y = alpha * a * b, both activations, in any order of axes.
 *
 * Each output is the sum of its products in ascending k, long sums as in f_tile.h. A block of
 * columns of b is packed for all rows of a, and all of a is where it does not lie row by row. A
 * single row takes the columns of a b that lies row by row where they are.
 */
#ifndef KERNELS_F_MATMUL_H
#define KERNELS_F_MATMUL_H

#include "f_tile.h"
#include "matmul_walk.h"

/* Floats that the kernel works in. */
static inline size_t f_matmul_work(const matmul_p *p)
{
    const size_t rows = p->ak == 1 || p->k == 1 ? 0 : (size_t)p->m;
    return (size_t)p->k * (rows + F_LANES);
}

/* Columns [c, c + count) of b as [k][F_LANES], filled up with zeros. */
KERNEL void f_matmul_pack(const matmul_p *restrict p, const float *restrict b, int32_t c,
                          int32_t count, float *restrict block)
{
    const ptrdiff_t bk = p->bk, bn = p->bn;
    b += c * bn;
    if (count == F_LANES && bn == 1) {
        for (ptrdiff_t k = 0; k < p->k; k++)
            for (int j = 0; j < F_LANES; j++) block[k * F_LANES + j] = b[k * bk + j];
    } else if (count == F_LANES) {
        for (ptrdiff_t k = 0; k < p->k; k++)
            for (int j = 0; j < F_LANES; j++) block[k * F_LANES + j] = b[k * bk + j * bn];
    } else {
        for (ptrdiff_t k = 0; k < p->k; k++)
            for (int j = 0; j < F_LANES; j++)
                block[k * F_LANES + j] = j < count ? b[k * bk + j * bn] : 0.0f;
    }
}

/* a as [m][k]. */
KERNEL void f_matmul_rows(const matmul_p *restrict p, const float *restrict a, float *restrict rows)
{
    const ptrdiff_t am = p->am, ak = p->ak, count = p->k;
    for (ptrdiff_t k = 0; k < count; k++)
        for (ptrdiff_t m = 0; m < p->m; m++) rows[m * count + k] = a[m * am + k * ak];
}

/* One block of columns for all rows, which are `step` apart, a tile of rows at a time; the last
 * tile repeats the last. */
KERNEL void f_matmul_column(const matmul_p *restrict p, const float *restrict rows, ptrdiff_t step,
                            const float *restrict block, float *restrict y, int32_t count)
{
    for (int32_t m = 0; m < p->m; m += F_TILE) {
        f_tile t;
        const float *in[F_TILE];
        f_tile_start(&t);
        for (int32_t i = 0; i < F_TILE; i++) {
            in[i] = rows + (m + i < p->m ? m + i : p->m - 1) * step;
            f_block_load(t.sum[0][i], NULL, 0);
        }
        f_tile_long_rows(&t, in, block, p->k);
        f_tile_end(&t);
        for (int32_t i = 0; i < F_TILE && m + i < p->m; i++) {
            float *restrict out = y + (ptrdiff_t)(m + i) * p->n;
            if (count == F_LANES)
                for (int j = 0; j < F_LANES; j++) out[j] = t.sum[0][i][j] * p->alpha;
            else
                for (int32_t j = 0; j < count; j++) out[j] = t.sum[0][i][j] * p->alpha;
        }
    }
}

/* The whole blocks of columns of a single row, F_TILE of them side by side; the last tile repeats
 * the last. Returns the columns that are done. */
KERNEL int32_t f_matmul_row(const matmul_p *restrict p, const float *restrict row,
                            const float *restrict b, float *restrict y)
{
    const int32_t whole = p->n / F_LANES * F_LANES;
    for (int32_t c = 0; c < whole; c += F_TILE * F_LANES) {
        const float *blocks[F_TILE];
        int32_t at[F_TILE];
        f_tile t;
        f_tile_start(&t);
        for (int32_t i = 0; i < F_TILE; i++) {
            at[i] = c + i * F_LANES < whole ? c + i * F_LANES : whole - F_LANES;
            blocks[i] = b + at[i];
            f_block_load(t.sum[0][i], NULL, 0);
        }
        f_tile_long_blocks(&t, row, blocks, p->bk, p->k);
        f_tile_end(&t);
        for (int32_t i = 0; i < F_TILE; i++)
            for (int j = 0; j < F_LANES; j++) y[at[i] + j] = t.sum[0][i][j] * p->alpha;
    }
    return whole;
}

KERNEL_TRAITS(f_matmul, onednn_matmul)
KERNEL_RUN void f_matmul(const matmul_p *restrict p, const float *restrict a,
                         const float *restrict b, float *restrict y, float *restrict work)
{
    const ptrdiff_t count = matmul_count(p), size = (ptrdiff_t)p->m * p->n;
    const int32_t turned = p->ak != 1 && p->k != 1;
    float *rows = work + (ptrdiff_t)p->k * F_LANES;
    for (ptrdiff_t t = 0; t < count; t++, y += size) {
        ptrdiff_t at, bt;
        matmul_at(p, t, &at, &bt);
        if (turned) f_matmul_rows(p, a + at, rows);
        const float *from = turned ? rows : a + at;
        int32_t c = p->m == 1 && p->bn == 1 ? f_matmul_row(p, from, b + bt, y) : 0;
        for (; c < p->n; c += F_LANES) {
            f_matmul_pack(p, b + bt, c, f_block_count(c, p->n), work);
            f_matmul_column(p, from, turned ? p->k : p->am, work, y + c, f_block_count(c, p->n));
        }
    }
}

#endif
