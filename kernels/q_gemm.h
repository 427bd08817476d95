/* kernels/q_gemm.h - y[m][n] = x[m][k] * w[k][n] + bias[n] in integers, constant weights.
 *
 * Weights are packed as q_tile.h says. One row takes Q_TILE blocks of columns at a time, several
 * rows Q_TILE rows of a block.
 */
#ifndef KERNELS_Q_GEMM_H
#define KERNELS_Q_GEMM_H

#include "q_tile.h"

/* The last k % 4 bytes of a row, filled up. */
KERNEL void q_gemm_tail(uint8_t quad[4], const uint8_t *x, ptrdiff_t k)
{
    for (ptrdiff_t i = 0; i < 4; i++) quad[i] = i < k % 4 ? x[k - k % 4 + i] : 0;
}

/* A tile of rows, all columns. */
KERNEL void q_gemm_tile(q_job *restrict job, ptrdiff_t k, const int8_t *restrict w,
                        const int32_t *restrict bias, const q_scale *restrict scale, int32_t n)
{
    const uint8_t *x[Q_TILE];
    uint8_t tails[Q_TILE][4];
    for (int i = 0; i < Q_TILE; i++) {
        x[i] = job->x[0][i];
        if (k % 4 != 0) q_gemm_tail(tails[i], x[i], k);
    }
    for (int32_t c = 0; c < n; c += Q_LANES, w += q_quads(k) * Q_QUADS) {
        q_job_block(job, bias, scale, c, n);
        job->quads = k / 4;
        job->first = 1;
        job->last = k % 4 == 0;
        q_tile(job, w);
        if (k % 4 == 0) continue;
        for (int i = 0; i < Q_TILE; i++) job->x[0][i] = tails[i];
        job->quads = job->last = 1;
        job->first = 0;
        q_tile(job, w + k / 4 * Q_QUADS);
        for (int i = 0; i < Q_TILE; i++) job->x[0][i] = x[i];
    }
}

/* All columns of `rows` rows: a matrix product, or a convolution with 1x1 windows. The last tile
 * repeats the last row. */
KERNEL void q_gemm_columns(const uint8_t *restrict x, ptrdiff_t rows, int32_t k, int32_t x_signed,
                           const int8_t *restrict w, const int32_t *restrict bias,
                           const q_scale *restrict scale, q_out out, uint8_t *restrict y, int32_t n)
{
    q_job job;
    job.runs = 1;
    job.keep = 0;
    job.x_signed = x_signed;
    job.out = out;
    for (ptrdiff_t m = 0; m < rows; m += Q_TILE) {
        for (int i = 0; i < Q_TILE; i++) {
            const ptrdiff_t row = m + i < rows ? m + i : rows - 1;
            job.x[0][i] = x + row * k;
            job.y[i] = y + row * n;
        }
        q_gemm_tile(&job, k, w, bias, scale, n);
    }
}

/* sum[i][j] += the products of one row x and lane j of block w[i]; quads of 4 bytes. */
KERNEL void q_row_part(uint32_t (*restrict sum)[Q_LANES], const uint8_t *restrict x,
                       const int8_t *const w[Q_TILE], ptrdiff_t quads, int is_signed)
{
    q_vec s[Q_TILE][Q_ABREAST];
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) s[i][v] = q_vec_load(sum[i] + v * Q_WIDTH);
    for (ptrdiff_t k = 0; k < quads; k++) {
        const q_quad quad = q_quad_x(x + k * 4, is_signed);
#pragma GCC unroll 8
        for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Q_ABREAST; v++) {
                const int8_t *wide = w[i] + k * Q_QUADS + v * Q_WIDTH * 4;
                s[i][v] = q_quad_dot(s[i][v], quad, q_quad_weights(wide, is_signed), is_signed);
            }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q_TILE; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Q_ABREAST; v++) q_vec_store(sum[i] + v * Q_WIDTH, s[i][v]);
}

/* q_row_part for all lanes. */
KERNEL_CALLED void q_row(uint32_t (*restrict sum)[Q_LANES], const uint8_t *restrict x,
                         const int8_t *const w[Q_TILE], ptrdiff_t quads, int32_t is_signed)
{
    for (int v = 0; v < Q_VECS; v += Q_ABREAST) {
        const int lane = v * (Q_LANES / Q_VECS);
        uint32_t(*part)[Q_LANES] = (uint32_t(*)[Q_LANES])(sum[0] + lane);
        const int8_t *lanes[Q_TILE];
        for (int i = 0; i < Q_TILE; i++) lanes[i] = w[i] + lane * 4;
        if (is_signed) q_row_part(part, x, lanes, quads, 1);
        else q_row_part(part, x, lanes, quads, 0);
    }
}

/* One row: the weights are read once; the last tile repeats the last block. */
KERNEL void q_gemm_row(const uint8_t *restrict x, int32_t k, int32_t x_signed,
                       const int8_t *restrict w, const int32_t *restrict bias,
                       const q_scale *restrict scale, q_out out, uint8_t *restrict y, int32_t n)
{
    const int32_t last = (n - 1) / Q_LANES * Q_LANES;
    uint8_t tail[4];
    q_gemm_tail(tail, x, k);
    for (int32_t c = 0; c < n; c += Q_TILE * Q_LANES) {
        uint32_t sum[Q_TILE][Q_LANES];
        const int8_t *blocks[Q_TILE], *ends[Q_TILE];
        for (int32_t i = 0; i < Q_TILE; i++) {
            const int32_t at = c + i * Q_LANES < last ? c + i * Q_LANES : last;
            blocks[i] = w + (ptrdiff_t)(at / Q_LANES) * q_quads(k) * Q_QUADS;
            ends[i] = blocks[i] + (ptrdiff_t)(k / 4) * Q_QUADS;
            for (int j = 0; j < Q_LANES; j++) sum[i][j] = at + j < n ? (uint32_t)bias[at + j] : 0;
        }
        q_row(sum, x, blocks, k / 4, x_signed);
        if (k % 4 != 0) q_row(sum, tail, ends, 1, x_signed);
        for (int32_t i = 0; i < Q_TILE && c + i * Q_LANES < n; i++) {
            q_job job;
            q_job_block(&job, bias, scale, c + i * Q_LANES, n);
            q_requant_block(sum[i], job.block.scale, out, y + job.c, job.block.count);
        }
    }
}

KERNEL_TRAITS(q_gemm, packs_n, packs_k, packs_transb)
KERNEL_RUN void q_gemm(const q_gemm_p *restrict p, const void *restrict x, const void *restrict w,
                   const int32_t *restrict bias, const q_scale *restrict scale, void *restrict y)
{
    const q_out out = {p->y_zero, p->lo, p->hi};
    const uint8_t *in = (const uint8_t *)x;
    const int8_t *weights = (const int8_t *)w;
    if (p->m == 1) q_gemm_row(in, p->k, p->x_signed, weights, bias, scale, out, (uint8_t *)y, p->n);
    else q_gemm_columns(in, p->m, p->k, p->x_signed, weights, bias, scale, out, (uint8_t *)y, p->n);
}

/* Bytes of the packed weights. */
static inline size_t q_gemm_packed(const q_gemm_p *p)
{
    const size_t blocks = ((size_t)p->n + Q_LANES - 1) / Q_LANES;
    return blocks * (((size_t)p->k + 3) / 4) * Q_QUADS;
}

/* Packs [k][n], or [n][k] when p->transb. */
static inline void q_gemm_pack(const q_gemm_p *p, const int8_t *restrict raw,
                               int8_t *restrict packed)
{
    const ptrdiff_t kstep = p->transb ? 1 : p->n, nstep = p->transb ? p->k : 1;
    for (ptrdiff_t c = 0; c < p->n; c += Q_LANES)
        for (ptrdiff_t k = 0; k < p->k; k += 4)
            for (ptrdiff_t j = c; j < c + Q_LANES; j++)
                for (ptrdiff_t i = k; i < k + 4; i++)
                    *packed++ = (int8_t)(j < p->n && i < p->k ? raw[i * kstep + j * nstep] : 0);
}

#endif
