/* kernels/f_matmul.h - batched y = a * b, both activations, row-major, either one transposed.
 *
 * Products are added in ascending k, F_PANEL one by one, then those sums; where these are more than
 * F_PANEL, as in f_tile.h. A panel of b is copied to the stack.
 */
#ifndef KERNELS_F_MATMUL_H
#define KERNELS_F_MATMUL_H

#include "f_tile.h"
#include "params.h"

enum { F_PANEL = 64 }; /* k's in a panel */

/* `depth` rows of a and of a panel of b: rows[i][k] copied, so that each is contiguous. */
KERNEL void f_matmul_load(float rows[F_TILE][F_PANEL], const float *restrict a, ptrdiff_t mstep,
                          ptrdiff_t kstep, int32_t m, int32_t count, int32_t depth)
{
    for (int32_t i = 0; i < F_TILE; i++) {
        const float *row = a + (m + i < count ? m + i : count - 1) * mstep;
        for (int32_t k = 0; k < depth; k++) rows[i][k] = row[k * kstep];
    }
}

/* Rows [k, k + depth) of b, of its columns [c, c + lanes); zeros behind them. */
KERNEL void f_matmul_columns(const f_matmul_p *restrict p, const float *restrict b, int32_t k,
                             int32_t depth, int32_t c, int32_t lanes,
                             float panel[F_PANEL * F_LANES])
{
    const ptrdiff_t kstep = p->transb ? 1 : p->n, nstep = p->transb ? p->k : 1;
    for (int32_t i = 0; i < depth; i++)
        for (int32_t j = 0; j < F_LANES; j++)
            panel[i * F_LANES + j] = j < lanes ? b[(k + i) * kstep + (c + j) * nstep] : 0.0f;
}

/* y[0..lanes) = sum, or += where there is something already. */
KERNEL void f_matmul_store(float *restrict y, const float *restrict sum, int32_t lanes, int more)
{
    if (more && lanes == F_LANES)
        for (int32_t j = 0; j < F_LANES; j++) y[j] += sum[j];
    else if (more)
        for (int32_t j = 0; j < lanes; j++) y[j] += sum[j];
    else if (lanes == F_LANES)
        for (int32_t j = 0; j < F_LANES; j++) y[j] = sum[j];
    else
        for (int32_t j = 0; j < lanes; j++) y[j] = sum[j];
}

/* y += a * panel for all rows of y and its first `lanes` columns; y starts from 0 at k == 0. */
KERNEL void f_matmul_panel(const f_matmul_p *restrict p, const float *restrict a,
                           const float *restrict panel, float *restrict y, int32_t k, int32_t depth,
                           int32_t lanes)
{
    const ptrdiff_t mstep = p->transa ? 1 : p->k, kstep = p->transa ? p->m : 1;
    for (int32_t m = 0; m < p->m; m += F_TILE) {
        float sum[F_TILE][F_LANES], rows[F_TILE][F_PANEL];
        const float *in[F_TILE];
        f_matmul_load(rows, a + k * kstep, mstep, kstep, m, p->m, depth);
        for (int32_t i = 0; i < F_TILE; i++) {
            in[i] = rows[i];
            f_block_load(sum[i], NULL, 0);
        }
        f_tile_rows(sum, in, panel, depth);
        for (int32_t i = 0; i < F_TILE && m + i < p->m; i++)
            f_matmul_store(y + (ptrdiff_t)(m + i) * p->n, sum[i], lanes, k > 0);
    }
}

/* The `lanes` columns of y from column c on, of long sums: a tile has all its products before the
 * next one begins. */
KERNEL void f_matmul_long(const f_matmul_p *restrict p, const float *restrict a,
                          const float *restrict b, float *restrict y, int32_t c, int32_t lanes)
{
    const ptrdiff_t mstep = p->transa ? 1 : p->k, kstep = p->transa ? p->m : 1;
    float panel[F_PANEL * F_LANES], rows[F_TILE][F_PANEL];
    for (int32_t m = 0; m < p->m; m += F_TILE) {
        const float *in[F_TILE];
        f_tile t;
        f_tile_start(&t);
        for (int32_t i = 0; i < F_TILE; i++) {
            f_block_load(t.sum[0][i], NULL, 0);
            in[i] = rows[i];
        }
        for (int32_t k = 0; k < p->k; k += F_PANEL) {
            const int32_t depth = p->k - k < F_PANEL ? p->k - k : F_PANEL;
            f_matmul_columns(p, b, k, depth, c, lanes, panel);
            f_matmul_load(rows, a + k * kstep, mstep, kstep, m, p->m, depth);
            f_tile_long_rows(&t, in, panel, depth);
        }
        f_tile_end(&t);
        for (int32_t i = 0; i < F_TILE && m + i < p->m; i++)
            for (int32_t j = 0; j < lanes; j++)
                y[(ptrdiff_t)(m + i) * p->n + c + j] = t.sum[0][i][j];
    }
}

/* The same of short sums: a panel of b serves all rows before the next one is copied. */
KERNEL void f_matmul_short(const f_matmul_p *restrict p, const float *restrict a,
                           const float *restrict b, float *restrict y, int32_t c, int32_t lanes)
{
    float panel[F_PANEL * F_LANES];
    for (int32_t k = 0; k < p->k; k += F_PANEL) {
        const int32_t depth = p->k - k < F_PANEL ? p->k - k : F_PANEL;
        f_matmul_columns(p, b, k, depth, c, lanes, panel);
        f_matmul_panel(p, a, panel, y + c, k, depth, lanes);
    }
}

KERNEL_RUN void f_matmul(const f_matmul_p *restrict p, const float *restrict a,
                         const float *restrict b, float *restrict y)
{
    const ptrdiff_t size = (ptrdiff_t)p->m * p->n;
    for (int32_t s = 0; s < p->batch; s++, a += p->astep, b += p->bstep, y += size)
        for (int32_t c = 0; c < p->n; c += F_LANES) {
            if (p->k > F_PANEL * F_PANEL) f_matmul_long(p, a, b, y, c, f_block_count(c, p->n));
            else f_matmul_short(p, a, b, y, c, f_block_count(c, p->n));
        }
}

#endif
