/* kernels/q_matmul.h - exact int32 sums of products of 8-bit matrices, either of them uint8 or int8
 * with zero points of its own: ONNX's MatMulInteger.
 *
 * The second operand is packed by q_pack, as q_tile.h says, uint8 as int8 with the top bit flipped
 * and the zero point 128 less: the products are q_gemm's. Zero points never enter them: with the
 * sums A and B of a row of a and a column of b, the sum of (a - za)(b - zb) over k is the sum of ab
 * - za B - zb (A - k za). All sums wrap modulo 2^32.
 */
#ifndef KERNELS_Q_MATMUL_H
#define KERNELS_Q_MATMUL_H

#include "q_gemm.h"

typedef struct q_matmul_p {
    int32_t batch, m, n, k;
    int32_t astep;              /* bytes from one matrix of a to the next */
    int32_t bstep;              /* matrices from one of b to the next: 0 or 1 */
    int32_t transb;             /* b is [n][k] */
    int32_t a_signed, b_signed; /* int8, else uint8 */
    int32_t azrow, azstep;      /* zero points of a from one row, one matrix to the next: 0 or 1,
                                   0 or as many as a matrix has */
    int32_t bzcolumn, bzstep;   /* the same of b by columns */
} q_matmul_p;
/* q_matmul(p, a, b, zero points of a or NULL, those of b or NULL, y): y int32 [batch][m][n]; b
 * packed from [batch or 1][k][n]. q_products(...), the same: what q_pack(p, b, packed) has packed,
 * where b is no constant. */

/* Columns of a packed matrix, with those that fill it up; its bytes; and those of all matrices,
 * with the sums of their columns behind them. */
KERNEL ptrdiff_t q_pack_columns(int32_t n)
{
    return ((ptrdiff_t)n + Q_LANES - 1) / Q_LANES * Q_LANES;
}

KERNEL ptrdiff_t q_pack_block(int32_t k, int32_t n) { return q_pack_columns(n) * 4 * q_quads(k); }

KERNEL ptrdiff_t q_pack_bytes(const q_matmul_p *p)
{
    const ptrdiff_t matrices = p->bstep ? p->batch : 1;
    return matrices * (q_pack_block(p->k, p->n) + 4 * q_pack_columns(p->n));
}

/* A byte of b in int8: its top bit flipped, where it is uint8. */
KERNEL int32_t q_flipped(uint8_t byte, int32_t is_signed)
{
    return is_signed ? (byte < 128 ? byte : byte - 256) : byte - 128;
}

/* Sum i of the packed ones: bytes, the lowest first on every machine. */
KERNEL uint32_t q_sum_at(const int8_t *sums, ptrdiff_t i)
{
    const uint8_t *b = (const uint8_t *)sums + 4 * i;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* One block of columns, and its sums. */
KERNEL_CALLED void q_pack_some(const q_matmul_p *restrict p, const uint8_t *restrict raw,
                               ptrdiff_t c, int8_t *restrict to, int8_t *restrict sums)
{
    const ptrdiff_t kstep = p->transb ? 1 : p->n, nstep = p->transb ? p->k : 1;
    uint32_t sum[Q_LANES] = {0};
    for (ptrdiff_t k = 0; k < p->k; k += 4)
        for (ptrdiff_t j = 0; j < Q_LANES; j++)
            for (ptrdiff_t i = k; i < k + 4; i++) {
                const int in = c + j < p->n && i < p->k;
                const int32_t v = in ? q_flipped(raw[i * kstep + (c + j) * nstep], p->b_signed) : 0;
                *to++ = (int8_t)v;
                sum[j] += (uint32_t)v;
            }
    for (ptrdiff_t j = 0; j < Q_LANES; j++)
        for (int i = 0; i < 4; i++) ((uint8_t *)sums)[4 * j + i] = (uint8_t)(sum[j] >> 8 * i);
}

KERNEL_RUN void q_pack(const q_matmul_p *restrict p, const void *restrict b, void *restrict packed)
{
    const uint8_t *raw = (const uint8_t *)b;
    const ptrdiff_t matrices = p->bstep ? p->batch : 1, block = 4 * Q_LANES * q_quads(p->k);
    int8_t *to = (int8_t *)packed, *sums = to + matrices * q_pack_block(p->k, p->n);
    for (ptrdiff_t s = 0; s < matrices; s++, raw += (ptrdiff_t)p->k * p->n)
        for (ptrdiff_t c = 0; c < p->n; c += Q_LANES, to += block, sums += 4 * Q_LANES)
            q_pack_some(p, raw, c, to, sums);
}

/* Zero point i of a list; none is 0. */
KERNEL int32_t q_zero_at(const void *zero, ptrdiff_t i, int32_t is_signed)
{
    if (!zero) return 0;
    return is_signed ? ((const int8_t *)zero)[i] : ((const uint8_t *)zero)[i];
}

/* One matrix of b, and its zero points. */
typedef struct q_right {
    const int8_t *w;
    const int8_t *sums; /* q_sum_at */
    const void *zero;   /* NULL: none */
    ptrdiff_t first;    /* zero point of column 0 */
    int32_t asked;      /* some zero point is not 0 once the top bit is flipped */
} q_right;

/* What column j of b has to be taken off, in int8. */
KERNEL int32_t q_right_zero(const q_matmul_p *restrict p, const q_right *restrict b, ptrdiff_t j)
{
    return q_zero_at(b->zero, b->first + j * p->bzcolumn, p->b_signed) - (p->b_signed ? 0 : 128);
}

KERNEL q_right q_right_at(const q_matmul_p *restrict p, const void *packed, const void *zero,
                          int32_t s)
{
    const ptrdiff_t block = q_pack_block(p->k, p->n), matrices = p->bstep ? p->batch : 1;
    const ptrdiff_t at = (ptrdiff_t)s * p->bstep;
    q_right b;
    b.w = (const int8_t *)packed + at * block;
    b.sums = (const int8_t *)packed + matrices * block + 4 * at * q_pack_columns(p->n);
    b.zero = zero;
    b.first = (ptrdiff_t)s * p->bzstep;
    b.asked = 0;
    for (int32_t j = 0; j < (p->bzcolumn ? p->n : 1); j++) b.asked |= q_right_zero(p, &b, j) != 0;
    return b;
}

/* The sum of a row of a. */
KERNEL_CALLED uint32_t q_row_sum(const uint8_t *restrict x, ptrdiff_t n, int32_t is_signed)
{
    const int8_t *v = (const int8_t *)x;
    uint32_t sum = 0;
    if (is_signed)
        for (ptrdiff_t i = 0; i < n; i++) {
            const int32_t some = v[i];
            sum += (uint32_t)some;
        }
    else
        for (ptrdiff_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* A row of a: its zero point, and its sum less k times that. */
typedef struct q_left {
    uint32_t zero, rest;
} q_left;

KERNEL q_left q_left_at(const q_matmul_p *restrict p, const q_right *restrict b,
                        const uint8_t *restrict x, const void *zero, ptrdiff_t i)
{
    q_left a;
    a.zero = (uint32_t)q_zero_at(zero, i, p->a_signed);
    a.rest = b->asked ? q_row_sum(x, p->k, p->a_signed) - (uint32_t)p->k * a.zero : 0;
    return a;
}

/* y[0..count) from the products of one row with the block at column c. */
KERNEL_CALLED void q_matmul_store(const q_matmul_p *restrict p, const q_right *restrict b, q_left a,
                                  ptrdiff_t c, int32_t count, const uint32_t *restrict sum,
                                  int32_t *restrict y)
{
    for (int32_t j = 0; j < count; j++) {
        uint32_t v = sum[j] - a.zero * q_sum_at(b->sums, c + j);
        if (b->asked) v -= (uint32_t)q_right_zero(p, b, c + j) * a.rest;
        y[j] = q_signed(v);
    }
}

/* A tile of rows, all columns; y[i] is a row of the result, `rows` of them in use. */
KERNEL void q_matmul_tile(const q_matmul_p *restrict p, q_job *restrict job,
                          const q_right *restrict b, const q_left *restrict a, int32_t rows,
                          int32_t *restrict y)
{
    const uint8_t *x[Q_TILE];
    uint8_t tails[Q_TILE][4];
    const int32_t k = p->k;
    for (int i = 0; i < Q_TILE; i++) {
        x[i] = job->x[0][i];
        if (k % 4 != 0) q_gemm_tail(tails[i], x[i], k);
    }
    for (int32_t c = 0; c < p->n; c += Q_LANES) {
        const int8_t *w = b->w + (ptrdiff_t)c * 4 * q_quads(k);
        const int32_t count = p->n - c < Q_LANES ? p->n - c : Q_LANES;
        job->quads = k / 4;
        job->first = 1;
        q_tile(job, w);
        if (k % 4 != 0) {
            for (int i = 0; i < Q_TILE; i++) job->x[0][i] = tails[i];
            job->quads = 1;
            job->first = 0;
            q_tile(job, w + k / 4 * Q_QUADS);
            for (int i = 0; i < Q_TILE; i++) job->x[0][i] = x[i];
        }
        for (int32_t i = 0; i < rows; i++)
            q_matmul_store(p, b, a[i], c, count, job->sum[i], y + (ptrdiff_t)i * p->n + c);
    }
}

/* One matrix: tiles of rows, the last one of which repeats the last row. */
KERNEL void q_matmul_rows(const q_matmul_p *restrict p, const uint8_t *restrict x,
                          const q_right *restrict b, const void *zero, ptrdiff_t first,
                          int32_t *restrict y)
{
    static const int32_t none[Q_LANES] = {0};
    q_job job;
    job.runs = 1;
    job.x_signed = p->a_signed;
    job.last = 0;
    job.keep = 1;
    job.block.bias = none;
    job.block.scale = NULL;
    job.block.count = Q_LANES;
    job.c = 0;
    for (ptrdiff_t m = 0; m < p->m; m += Q_TILE) {
        const int32_t rows = p->m - m < Q_TILE ? (int32_t)(p->m - m) : Q_TILE;
        q_left a[Q_TILE];
        for (int i = 0; i < Q_TILE; i++) {
            const ptrdiff_t row = m + i < p->m ? m + i : p->m - 1;
            job.x[0][i] = x + row * p->k;
            if (i < rows) a[i] = q_left_at(p, b, x + row * p->k, zero, first + row * p->azrow);
        }
        q_matmul_tile(p, &job, b, a, rows, y + m * p->n);
    }
}

/* One row: Q_TILE blocks of columns at a time, the last one of which is repeated. */
KERNEL void q_matmul_row(const q_matmul_p *restrict p, const uint8_t *restrict x,
                         const q_right *restrict b, q_left a, int32_t *restrict y)
{
    const int32_t last = (p->n - 1) / Q_LANES * Q_LANES, k = p->k;
    uint8_t tail[4];
    q_gemm_tail(tail, x, k);
    for (int32_t c = 0; c < p->n; c += Q_TILE * Q_LANES) {
        uint32_t sum[Q_TILE][Q_LANES] = {{0}};
        const int8_t *blocks[Q_TILE], *ends[Q_TILE];
        for (int32_t i = 0; i < Q_TILE; i++) {
            const int32_t at = c + i * Q_LANES < last ? c + i * Q_LANES : last;
            blocks[i] = b->w + (ptrdiff_t)at * 4 * q_quads(k);
            ends[i] = blocks[i] + (ptrdiff_t)(k / 4) * Q_QUADS;
        }
        q_row(sum, x, blocks, k / 4, p->a_signed);
        if (k % 4 != 0) q_row(sum, tail, ends, 1, p->a_signed);
        for (int32_t i = 0; i < Q_TILE && c + i * Q_LANES < p->n; i++) {
            const int32_t at = c + i * Q_LANES;
            q_matmul_store(p, b, a, at, p->n - at < Q_LANES ? p->n - at : Q_LANES, sum[i], y + at);
        }
    }
}

KERNEL_RUN void q_products(const q_matmul_p *restrict p, const void *restrict a,
                           const void *restrict b, const void *restrict az, const void *restrict bz,
                           int32_t *restrict y)
{
    const uint8_t *x = (const uint8_t *)a;
    for (int32_t s = 0; s < p->batch; s++, x += p->astep, y += (ptrdiff_t)p->m * p->n) {
        const q_right right = q_right_at(p, b, bz, s);
        const ptrdiff_t first = (ptrdiff_t)s * p->azstep;
        if (p->m == 1) q_matmul_row(p, x, &right, q_left_at(p, &right, x, az, first), y);
        else q_matmul_rows(p, x, &right, az, first, y);
    }
}

KERNEL_TRAITS(q_matmul, packs_batch, packs_bstep, packs_n, packs_k, packs_transb, packs_b_signed)
KERNEL_RUN void q_matmul(const q_matmul_p *restrict p, const void *restrict a,
                         const void *restrict b, const void *restrict az, const void *restrict bz,
                         int32_t *restrict y)
{
    q_products(p, a, b, az, bz, y);
}

static inline size_t q_matmul_packed(const q_matmul_p *p) { return (size_t)q_pack_bytes(p); }

static inline void q_matmul_pack(const q_matmul_p *p, const int8_t *restrict raw,
                                 int8_t *restrict packed)
{
    q_pack(p, raw, packed);
}

#endif
