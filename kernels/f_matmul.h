/* kernels/f_matmul.h - batched y = a * b, both activations, row-major, either one transposed.
 *
 * Each output is the sum of its products in ascending k. A panel of b is copied to the stack.
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
            const ptrdiff_t row = m + i < p->m ? m + i : p->m - 1;
            in[i] = rows[i];
            f_block_load(sum[i], k ? y + row * p->n : NULL, lanes);
        }
        f_tile_rows(sum, in, panel, depth);
        for (int32_t i = 0; i < F_TILE && m + i < p->m; i++)
            for (int32_t j = 0; j < lanes; j++) y[(ptrdiff_t)(m + i) * p->n + j] = sum[i][j];
    }
}

KERNEL_RUN void f_matmul(const f_matmul_p *restrict p, const float *restrict a, const float *restrict b,
                     float *restrict y)
{
    const ptrdiff_t kstep = p->transb ? 1 : p->n, nstep = p->transb ? p->k : 1;
    float panel[F_PANEL * F_LANES];
    for (int32_t s = 0; s < p->batch; s++, a += p->astep, b += p->bstep)
        for (int32_t c = 0; c < p->n; c += F_LANES) {
            const int32_t lanes = f_block_count(c, p->n);
            float *out = y + (ptrdiff_t)s * p->m * p->n + c;
            for (int32_t k = 0; k < p->k; k += F_PANEL) {
                const int32_t depth = p->k - k < F_PANEL ? p->k - k : F_PANEL;
                for (int32_t i = 0; i < depth; i++)
                    for (int32_t j = 0; j < F_LANES; j++)
                        panel[i * F_LANES + j] =
                            j < lanes ? b[(k + i) * kstep + (c + j) * nstep] : 0.0f;
                f_matmul_panel(p, a, panel, out, k, depth, lanes);
            }
        }
}

#endif
