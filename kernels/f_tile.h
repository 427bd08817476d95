/* kernels/f_tile.h - the register tile of the float matrix kernels: F_TILE rows of F_LANES sums.
 *
 * Weights are packed in blocks of F_LANES output channels: [block][k][F_LANES], the last block
 * filled up with zeros. A sum adds its products in ascending k, F_DEPTH one by one; as many
 * sums as that make one of the next level, and so on (f_sum.h has the reason).
 */
#ifndef KERNELS_F_TILE_H
#define KERNELS_F_TILE_H

#include "common.h"

enum {
    F_LANES = 16,  /* output channels in a block */
    F_DEPTH = 128, /* products one after the other */
    F_LEVELS = 3   /* of sums; the last one takes what is left */
};

/* Rows that keep the sums in registers: as many as the instruction set has room for. */
#if defined(__AVX512F__)
enum { F_TILE = 8 };
#elif defined(__AVX__) || defined(__aarch64__)
enum { F_TILE = 4 };
#else
enum { F_TILE = 2 };
#endif

/* sum[i][j] += x[i][k] * w[k][j] for k = 0..n-1. A function of its own, with its sums in an array
 * of its own: inside a larger one gcc 12 leaves the sums in memory (AVX2: 49 instead of 74
 * GFLOP/s). */
KERNEL_CALLED void f_tile_rows(float (*restrict sum)[F_LANES], const float *const x[F_TILE],
                               const float *restrict w, ptrdiff_t n)
{
    float s[F_TILE][F_LANES];
    for (int i = 0; i < F_TILE; i++)
        for (int j = 0; j < F_LANES; j++) s[i][j] = sum[i][j];
    for (ptrdiff_t k = 0; k < n; k++)
        for (int j = 0; j < F_LANES; j++)
#pragma GCC unroll 8
            for (int i = 0; i < F_TILE; i++) s[i][j] += x[i][k] * w[k * F_LANES + j];
    for (int i = 0; i < F_TILE; i++)
        for (int j = 0; j < F_LANES; j++) sum[i][j] = s[i][j];
}

/* sum[i][j] += x[k] * w[i][k * step + j] for k = 0..n-1: one row, F_TILE blocks of output
 * channels. */
KERNEL void f_tile_blocks(float sum[F_TILE][F_LANES], const float *restrict x,
                          const float *const w[F_TILE], ptrdiff_t step, ptrdiff_t n)
{
    for (ptrdiff_t k = 0; k < n; k++)
        for (int j = 0; j < F_LANES; j++)
#pragma GCC unroll 8
            for (int i = 0; i < F_TILE; i++) sum[i][j] += x[k] * w[i][k * step + j];
}

/* A tile of long sums: sum[0] is the one that products are added to. */
typedef struct f_tile {
    float sum[F_LEVELS][F_TILE][F_LANES];
    int32_t products; /* in sum[0] */
    int32_t sums[F_LEVELS - 1]; /* of the level before, in sum[1], sum[2] */
} f_tile;

/* Starts at whatever the caller puts into sum[0]. */
KERNEL void f_tile_start(f_tile *t)
{
    t->products = 0;
    for (int l = 0; l + 1 < F_LEVELS; l++) t->sums[l] = 0;
}

/* sum[l + 1] += sum[l], or a copy where nothing is there yet; it belongs to a level of its own. */
KERNEL void f_tile_up(f_tile *t, int l)
{
    if (t->sums[l]++ == 0)
        for (int i = 0; i < F_TILE; i++)
            for (int j = 0; j < F_LANES; j++) t->sum[l + 1][i][j] = t->sum[l][i][j];
    else
        for (int i = 0; i < F_TILE; i++)
            for (int j = 0; j < F_LANES; j++) t->sum[l + 1][i][j] += t->sum[l][i][j];
}

/* Makes room for products: 1 to F_DEPTH. */
KERNEL int32_t f_tile_room(f_tile *t)
{
    if (t->products < F_DEPTH) return F_DEPTH - t->products;
    t->products = 0;
    for (int l = 0; l + 1 < F_LEVELS; l++) {
        f_tile_up(t, l);
        for (int i = 0; i < F_TILE; i++)
            for (int j = 0; j < F_LANES; j++) t->sum[l][i][j] = 0.0f;
        if (l + 2 == F_LEVELS || t->sums[l] < F_DEPTH) break;
        t->sums[l] = 0;
    }
    return F_DEPTH;
}

/* The sums, whole, in sum[0]. */
KERNEL void f_tile_end(f_tile *t)
{
    for (int l = 0; l + 1 < F_LEVELS; l++)
        if (t->sums[l])
            for (int i = 0; i < F_TILE; i++)
                for (int j = 0; j < F_LANES; j++) t->sum[0][i][j] += t->sum[l + 1][i][j];
}

/* f_tile_rows for any n: x and w as there. */
KERNEL void f_tile_long_rows(f_tile *t, const float *const x[F_TILE], const float *w, ptrdiff_t n)
{
    const float *in[F_TILE];
    for (int i = 0; i < F_TILE; i++) in[i] = x[i];
    while (n > 0) {
        const int32_t room = f_tile_room(t), some = n < room ? (int32_t)n : room;
        f_tile_rows(t->sum[0], in, w, some);
        for (int i = 0; i < F_TILE; i++) in[i] += some;
        w += (ptrdiff_t)some * F_LANES;
        t->products += some;
        n -= some;
    }
}

/* f_tile_blocks for any n. */
KERNEL void f_tile_long_blocks(f_tile *t, const float *x, const float *const w[F_TILE],
                               ptrdiff_t step, ptrdiff_t n)
{
    const float *in[F_TILE];
    for (int i = 0; i < F_TILE; i++) in[i] = w[i];
    while (n > 0) {
        const int32_t room = f_tile_room(t), some = n < room ? (int32_t)n : room;
        f_tile_blocks(t->sum[0], x, in, step, some);
        for (int i = 0; i < F_TILE; i++) in[i] += some * step;
        x += some;
        t->products += some;
        n -= some;
    }
}

/* The first `count` lanes of the tile to y[i], clamped. */
KERNEL void f_tile_store(float *const y[F_TILE], float sum[F_TILE][F_LANES], int32_t count,
                         float lo, float hi)
{
    for (int i = 0; i < F_TILE; i++) {
        float *restrict out = y[i];
        if (count == F_LANES)
            for (int j = 0; j < F_LANES; j++) out[j] = f_clamp(sum[i][j], lo, hi);
        else
            for (int32_t j = 0; j < count; j++) out[j] = f_clamp(sum[i][j], lo, hi);
    }
}

/* `count` values (NULL: zeros) filled up with zeros to a whole block. */
KERNEL void f_block_load(float block[F_LANES], const float *values, int32_t count)
{
    for (int32_t j = 0; j < F_LANES; j++) block[j] = 0.0f;
    if (values && count == F_LANES)
        for (int32_t j = 0; j < F_LANES; j++) block[j] = values[j];
    else if (values)
        for (int32_t j = 0; j < count; j++) block[j] = values[j];
}

/* Every row of the tile set to `block`. */
KERNEL void f_tile_init(float sum[F_TILE][F_LANES], const float block[F_LANES])
{
    for (int i = 0; i < F_TILE; i++)
        for (int j = 0; j < F_LANES; j++) sum[i][j] = block[j];
}

/* Channels of the block that starts at channel `c` of `n`. */
KERNEL int32_t f_block_count(int32_t c, int32_t n) { return n - c < F_LANES ? n - c : F_LANES; }

#endif
