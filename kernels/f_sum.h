/* kernels/f_sum.h - long sums of floats in a fixed order: up to F_CHUNK sums side by side.
 *
 * A piece of elements is added lane by lane. F_SUM_BLOCK pieces make a block, as many blocks make
 * a block of the next level, and so on: no float takes more than F_SUM_BLOCK additions one after
 * the other, so that the error grows with the logarithm of the count and nothing saturates.
 * Sums that are few have several lanes each, which a tree adds at the end.
 */
#ifndef KERNELS_F_SUM_H
#define KERNELS_F_SUM_H

#include "common.h"

enum { F_SUM_PLAIN, F_SUM_SQUARES, F_SUM_SIZES }; /* what is added: x, x * x, |x| */

enum {
    F_SUM_BLOCK = 32, /* additions to a float before it moves up a level */
    F_SUM_LEVELS = 6  /* the last one takes what is left: over 2^25 pieces make two of its blocks */
};

typedef struct f_sum {
    ptrdiff_t pieces; /* added so far */
    int32_t k, lanes; /* sums, and lanes in use: a multiple of k */
    float part[F_SUM_LEVELS][F_CHUNK];
} f_sum;

/* For k <= F_CHUNK sums side by side, of rows that come `rows` at a time. */
KERNEL void f_sum_start(f_sum *s, int32_t k, ptrdiff_t rows)
{
    const int32_t most = F_CHUNK / k;
    s->pieces = 0;
    s->k = k;
    s->lanes = (rows < 1 ? 1 : rows < most ? (int32_t)rows : most) * k;
}

/* Moves full blocks up. A level is not cleared: its first block is copied there, not added. */
KERNEL void f_sum_carry(f_sum *s)
{
    ptrdiff_t blocks = s->pieces;
    for (int32_t l = 0; l + 1 < F_SUM_LEVELS && blocks % F_SUM_BLOCK == 0; l++) {
        const float *from = s->part[l];
        float *to = s->part[l + 1];
        blocks /= F_SUM_BLOCK;
        if (l + 2 < F_SUM_LEVELS ? blocks % F_SUM_BLOCK == 1 : blocks == 1)
            for (int32_t j = 0; j < s->lanes; j++) to[j] = from[j];
        else
            for (int32_t j = 0; j < s->lanes; j++) to[j] += from[j];
    }
}

/* What is added for x. */
KERNEL float f_sum_term(int32_t form, float x)
{
    return form == F_SUM_SQUARES ? x * x : form == F_SUM_SIZES && x < 0.0f ? -x : x;
}

/* Adds x[0..n) to the lanes, n <= lanes, in that form. */
KERNEL void f_sum_piece(f_sum *s, const float *restrict x, int32_t n, int32_t form)
{
    float *restrict to = s->part[0];
    if (s->pieces % F_SUM_BLOCK == 0) {
        for (int32_t j = 0; j < n; j++) to[j] = f_sum_term(form, x[j]);
        for (int32_t j = n; j < s->lanes; j++) to[j] = 0.0f;
    } else if (n == F_CHUNK) {
        for (int32_t j = 0; j < F_CHUNK; j++) to[j] += f_sum_term(form, x[j]);
    } else {
        for (int32_t j = 0; j < n; j++) to[j] += f_sum_term(form, x[j]);
    }
    s->pieces++;
    if (s->pieces % F_SUM_BLOCK == 0) f_sum_carry(s);
}

/* Adds `rows` rows of k elements that are `step` elements apart; rows without a gap between them
 * are read as one. */
KERNEL void f_sum_rows(f_sum *s, const float *restrict x, ptrdiff_t rows, ptrdiff_t step,
                       int32_t form)
{
    if (step == s->k) {
        const ptrdiff_t n = rows * step;
        for (ptrdiff_t i = 0; i < n; i += s->lanes)
            f_sum_piece(s, x + i, n - i < s->lanes ? (int32_t)(n - i) : s->lanes, form);
    } else {
        for (ptrdiff_t i = 0; i < rows; i++) f_sum_piece(s, x + i * step, s->k, form);
    }
}

/* The k sums, to y; zeros where nothing was added. */
KERNEL void f_sum_end(f_sum *s, float *restrict y)
{
    float sum[F_CHUNK];
    ptrdiff_t blocks = s->pieces;
    for (int32_t j = 0; j < s->lanes; j++) sum[j] = 0.0f;
    for (int32_t l = 0; l < F_SUM_LEVELS; l++, blocks /= F_SUM_BLOCK)
        if (l + 1 < F_SUM_LEVELS ? blocks % F_SUM_BLOCK : blocks)
            for (int32_t j = 0; j < s->lanes; j++) sum[j] += s->part[l][j];
    for (int32_t groups = s->lanes / s->k; groups > 1; groups -= groups / 2) {
        const int32_t half = groups / 2 * s->k, rest = (groups - groups / 2) * s->k;
        for (int32_t j = 0; j < half; j++) sum[j] += sum[rest + j];
    }
    for (int32_t j = 0; j < s->k; j++) y[j] = sum[j];
}

/* y[0..k) += rows of k elements, `step` apart: at most F_SUM_BLOCK in all, which need no blocks. */
KERNEL void f_sum_few(const float *restrict x, ptrdiff_t rows, ptrdiff_t step, int32_t k,
                      float *restrict y)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        for (int32_t j = 0; j < k; j++) y[j] += x[i * step + j];
}

#endif
