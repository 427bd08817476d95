/* kernels/f_nbits.h - y[m][n] = x[m][k] * w[k][n] + bias[n] with constant weights of 2, 4 or 8
 * bits, blocks of which share a scale and a zero point: com.microsoft's MatMulNBits.
 *
 * A weight is (q - zero) * scale, and a sum as in f_gemm.h. A piece of the weights is unpacked at a
 * time, for all rows. They lie as bytes of F_LANES columns side by side: [block of columns][byte of
 * a column][F_LANES].
 */
#ifndef KERNELS_F_NBITS_H
#define KERNELS_F_NBITS_H

#include <math.h>
#include "f_gemm.h"

enum { NBITS_HALF, NBITS_PACKED, NBITS_FLOAT }; /* zero points: 2^(bits - 1), or see below */

typedef struct f_nbits_p {
    int32_t m, n, k;
    int32_t bits;  /* a weight: 2, 4 or 8, the first in the lowest bits of a byte */
    int32_t block; /* weights of a column that share a scale, a power of two from 16 on */
    int32_t zeros; /* NBITS_HALF ... */
} f_nbits_p;
/* f_nbits(p, x, w, scales, zeros or NULL, bias or NULL, y, work): raw w is [n][blocks][bytes of a
 * block], scales are [n][blocks], zeros floats like these or, packed, [n][bytes]; work is
 * f_nbits_work() floats */

/* Blocks of a column. */
KERNEL int32_t f_nbits_blocks(const f_nbits_p *p) { return (p->k + p->block - 1) / p->block; }

/* Bytes of a column. */
KERNEL ptrdiff_t f_nbits_bytes(const f_nbits_p *p)
{
    return (ptrdiff_t)f_nbits_blocks(p) * p->block * p->bits / 8;
}

/* Floats that the kernel works in: a block of columns, or pieces of as many as a tile has. */
static inline size_t f_nbits_work(const f_nbits_p *p)
{
    const size_t most = (size_t)8 * F_DEPTH;
    return ((size_t)p->k > most ? (size_t)p->k : most) * F_LANES;
}

/* Scales and zero points of block `b` of columns from c on; columns that there are not have 0. */
KERNEL void f_nbits_params(const f_nbits_p *restrict p, const float *restrict scales,
                           const void *restrict zeros, int32_t c, int32_t b, float scale[F_LANES],
                           float zero[F_LANES])
{
    const int32_t blocks = f_nbits_blocks(p), mask = (1 << p->bits) - 1;
    const ptrdiff_t bytes = ((ptrdiff_t)blocks * p->bits + 7) / 8;
    for (int32_t j = 0; j < F_LANES; j++) {
        const ptrdiff_t at = c + j < p->n ? c + j : p->n - 1, i = at * blocks + b;
        scale[j] = scales[i];
        zero[j] = (float)(1 << (p->bits - 1));
        if (p->zeros == NBITS_FLOAT) zero[j] = ((const float *)zeros)[i];
        if (p->zeros == NBITS_PACKED)
            zero[j] = (float)((((const uint8_t *)zeros)[at * bytes + b * p->bits / 8] >>
                               (b * p->bits % 8)) &
                              mask);
    }
}

/* Weights [from, from + count) of a block of columns, all of one block; w: their first byte. */
KERNEL void f_nbits_unpack(int32_t bits, const uint8_t *restrict w, int32_t count,
                           const float scale[F_LANES], const float zero[F_LANES],
                           float *restrict to)
{
    const int32_t mask = (1 << bits) - 1, each = 8 / bits;
    for (int32_t k = 0; k < count; k += each, w += F_LANES)
        for (int32_t i = 0; i < each && k + i < count; i++, to += F_LANES)
            for (int32_t j = 0; j < F_LANES; j++)
                to[j] = ((float)((w[j] >> (i * bits)) & mask) - zero[j]) * scale[j];
}

/* Weights [from, from + count) of the columns from c on, as [count][F_LANES]; `from` begins a byte.
 */
KERNEL_CALLED void f_nbits_piece(const f_nbits_p *restrict p, const uint8_t *restrict w,
                                 const float *restrict scales, const void *restrict zeros,
                                 int32_t c, int32_t from, int32_t count, float *restrict to)
{
    w += (ptrdiff_t)c * f_nbits_bytes(p);
    for (int32_t k = from; k < from + count;) {
        float scale[F_LANES], zero[F_LANES];
        const int32_t end = (k / p->block + 1) * p->block;
        const int32_t some = (end < from + count ? end : from + count) - k;
        const uint8_t *at = w + (ptrdiff_t)k * p->bits / 8 * F_LANES;
        f_nbits_params(p, scales, zeros, c, k / p->block, scale, zero);
        switch (p->bits) {
        case 2: f_nbits_unpack(2, at, some, scale, zero, to); break;
        case 4: f_nbits_unpack(4, at, some, scale, zero, to); break;
        default: f_nbits_unpack(8, at, some, scale, zero, to); break;
        }
        to += (ptrdiff_t)some * F_LANES;
        k += some;
    }
}

/* One row: F_TILE blocks of columns side by side, F_DEPTH weights of each at a time; the last tile
 * repeats the last block. */
KERNEL void f_nbits_row(const f_nbits_p *restrict p, const float *restrict x,
                        const uint8_t *restrict w, const float *restrict scales,
                        const void *restrict zeros, const float *restrict bias, float *restrict y,
                        float *restrict work)
{
    const int32_t last = (p->n - 1) / F_LANES * F_LANES;
    for (int32_t c = 0; c < p->n; c += F_TILE * F_LANES) {
        const float *blocks[F_TILE];
        f_tile t;
        f_tile_start(&t);
        for (int32_t i = 0; i < F_TILE; i++) {
            const int32_t at = c + i * F_LANES < last ? c + i * F_LANES : last;
            blocks[i] = work + (ptrdiff_t)i * F_DEPTH * F_LANES;
            f_block_load(t.sum[0][i], bias ? bias + at : bias, f_block_count(at, p->n));
        }
        for (int32_t k = 0; k < p->k; k += F_DEPTH) {
            const int32_t some = p->k - k < F_DEPTH ? p->k - k : F_DEPTH;
            for (int32_t i = 0; i < F_TILE; i++) {
                const int32_t at = c + i * F_LANES < last ? c + i * F_LANES : last;
                f_nbits_piece(p, w, scales, zeros, at, k, some,
                              work + (ptrdiff_t)i * F_DEPTH * F_LANES);
            }
            f_tile_long_blocks(&t, x + k, blocks, F_LANES, some);
        }
        f_tile_end(&t);
        for (int32_t j = 0; j < F_TILE * F_LANES && c + j < p->n; j++)
            y[c + j] = t.sum[0][j / F_LANES][j % F_LANES];
    }
}

KERNEL_TRAITS(f_nbits, packs_n, packs_k, packs_bits, packs_block)
KERNEL_RUN void f_nbits(const f_nbits_p *restrict p, const float *restrict x,
                        const uint8_t *restrict w, const float *restrict scales,
                        const void *restrict zeros, const float *restrict bias, float *restrict y,
                        float *restrict work)
{
    const f_gemm_p g = {p->m, p->n, p->k, 0, -INFINITY, INFINITY};
    if (p->m == 1) {
        f_nbits_row(p, x, w, scales, zeros, bias, y, work);
        return;
    }
    for (int32_t c = 0; c < p->n; c += F_LANES) {
        f_nbits_piece(p, w, scales, zeros, c, 0, p->k, work);
        f_gemm_column(&g, x, work, bias ? bias + c : bias, y + c, f_block_count(c, p->n));
    }
}

/* Bytes of the packed weights. */
static inline size_t f_nbits_packed(const f_nbits_p *p)
{
    return ((size_t)p->n + F_LANES - 1) / F_LANES * F_LANES * (size_t)f_nbits_bytes(p);
}

static inline void f_nbits_pack(const f_nbits_p *p, const uint8_t *restrict raw,
                                uint8_t *restrict packed)
{
    const ptrdiff_t bytes = f_nbits_bytes(p);
    for (ptrdiff_t c = 0; c < p->n; c += F_LANES)
        for (ptrdiff_t i = 0; i < bytes; i++)
            for (ptrdiff_t j = c; j < c + F_LANES; j++)
                *packed++ = j < p->n ? raw[j * bytes + i] : 0;
}

#endif
