/* kernels/resize.h - ONNX's Resize: the nearest element, linear interpolation, and the weighted
 * sums of one axis, of which cubic interpolation and antialiasing are made.
 *
 * Where an output takes its elements from is said by tables, an entry below 0 meaning outside: such
 * outputs are `value`. Sums have ONNX Runtime's order, so that floats are its floats.
 */
#ifndef KERNELS_RESIZE_H
#define KERNELS_RESIZE_H

#include <string.h>
#include "common.h"

enum { R_FLOAT = 1, R_UINT8, R_INT8, R_INT32 = 6 }; /* types: ONNX's numbers */

/* ---- nearest --------------------------------------------------------------------------------- */

typedef struct resize_nearest_p {
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* output dims, 1 in front where there are fewer */
    int32_t run;                            /* elements side by side behind the last of them */
    int32_t size;                           /* bytes an element: 1, 2, 4, 8 */
    int32_t value_lo, value_hi;             /* the bytes of the element outside, the lowest first */
} resize_nearest_p; /* resize_nearest(p, x, table, y): table holds, one dim after the other, how
                       many elements each of its places is from the first one of x */

/* n elements of y, whose places are at[t[0..n)], or the value where t[i] < 0. */
#define R_PICK(type)                                                                               \
    for (ptrdiff_t i = 0; i < n; i++)                                                              \
        ((type *)y)[i] = t[i] < 0 ? (type)value : ((const type *)x)[at + t[i]];                    \
    break

KERNEL void resize_pick(int32_t size, const void *restrict x, ptrdiff_t at,
                        const int32_t *restrict t, ptrdiff_t n, uint64_t value, void *restrict y)
{
    switch (size) {
    case 1: R_PICK(uint8_t);
    case 2: R_PICK(uint16_t);
    case 4: R_PICK(uint32_t);
    default: R_PICK(uint64_t);
    }
}

#undef R_PICK

/* `count` elements of the value. */
KERNEL void resize_fill(int32_t size, uint64_t value, ptrdiff_t count, void *restrict y)
{
    const int32_t outside = -1;
    for (ptrdiff_t i = 0; i < count; i++)
        resize_pick(size, y, 0, &outside, 1, value, (unsigned char *)y + i * size);
}

/* One row: the places of the last dim, each a run. */
KERNEL void resize_nearest_row(const resize_nearest_p *restrict p, const unsigned char *restrict x,
                               ptrdiff_t at, const int32_t *restrict t, uint64_t value,
                               unsigned char *restrict y)
{
    const ptrdiff_t bytes = (ptrdiff_t)p->run * p->size;
    if (p->run == 1) {
        resize_pick(p->size, x, at, t, p->d7, value, y);
        return;
    }
    for (ptrdiff_t i = 0; i < p->d7; i++) {
        if (t[i] < 0) resize_fill(p->size, value, p->run, y + i * bytes);
        else memcpy(y + i * bytes, x + (at + t[i]) * p->size, (size_t)bytes);
    }
}

KERNEL_RUN void resize_nearest(const resize_nearest_p *restrict p, const void *restrict x,
                               const int32_t *restrict table, void *restrict y)
{
    const int32_t dims[7] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5, p->d6};
    const uint64_t value = (uint64_t)(uint32_t)p->value_hi << 32 | (uint32_t)p->value_lo;
    const ptrdiff_t row = (ptrdiff_t)p->d7 * p->run;
    const int32_t *last = table;
    unsigned char *to = (unsigned char *)y;
    ptrdiff_t rows = 1;
    for (int i = 0; i < 7; i++) {
        rows *= dims[i];
        last += dims[i];
    }
    for (ptrdiff_t r = 0; r < rows; r++, to += row * p->size) {
        const int32_t *end = last;
        ptrdiff_t rest = r, at = 0;
        int outside = 0;
        for (int i = 6; i >= 0; rest /= dims[i], i--) {
            const int32_t t = (end -= dims[i])[rest % dims[i]];
            outside |= t < 0;
            at += t;
        }
        if (outside) resize_fill(p->size, value, row, to);
        else resize_nearest_row(p, (const unsigned char *)x, at, last, value, to);
    }
}

/* ---- elements as floats ---------------------------------------------------------------------- */

/* n elements of x from `at` on. */
KERNEL void resize_load(float *restrict v, int32_t type, const void *restrict x, ptrdiff_t at,
                        int32_t n)
{
    if (type == R_FLOAT)
        for (int32_t j = 0; j < n; j++) v[j] = ((const float *)x)[at + j];
    else if (type == R_UINT8)
        for (int32_t j = 0; j < n; j++) v[j] = (float)((const uint8_t *)x)[at + j];
    else if (type == R_INT8)
        for (int32_t j = 0; j < n; j++) v[j] = (float)((const int8_t *)x)[at + j];
    else
        for (int32_t j = 0; j < n; j++) v[j] = (float)((const int32_t *)x)[at + j];
}

/* The integer of v without its fraction; what has none is the least. */
KERNEL int32_t resize_whole(float v)
{
    return v > -2147483648.0f && v < 2147483648.0f ? (int32_t)v : -2147483647 - 1;
}

/* The nearest integer, halves away from 0; what does not fit is the nearest that does. */
KERNEL int32_t resize_round(float v)
{
    if (!(v > -2147483648.0f)) return -2147483647 - 1;
    if (v >= 2147483648.0f) return 2147483647;
    const int32_t t = (int32_t)v;
    const float rest = v - (float)t;
    return t + (rest >= 0.5f) - (rest <= -0.5f);
}

/* v[0..n) as elements of y from `at` on. */
KERNEL void resize_store(const float *restrict v, int32_t type, void *restrict y, ptrdiff_t at,
                         int32_t n)
{
    if (type == R_FLOAT)
        for (int32_t j = 0; j < n; j++) ((float *)y)[at + j] = v[j];
    else if (type == R_INT32)
        for (int32_t j = 0; j < n; j++) ((int32_t *)y)[at + j] = resize_whole(v[j]);
    else
        for (int32_t j = 0; j < n; j++) ((uint8_t *)y)[at + j] = (uint8_t)resize_whole(v[j]);
}

/* ---- linear ---------------------------------------------------------------------------------- */

typedef struct resize_linear_p {
    int32_t type;         /* of x and y: R_FLOAT ... */
    int32_t outer, inner; /* x is [outer][id][ih][iw][inner] */
    int32_t id, ih, iw;   /* input size */
    int32_t od, oh, ow;   /* output size */
    int32_t deep;         /* there are neighbours along d, too */
    int32_t whole; /* x is of 8 bits and the weights are integers, in 1/1024: their products, in
                      2^-20, lose the fraction at the end */
    float value;   /* outside */
} resize_linear_p; /* resize_linear(p, x, at, weights, y): two neighbours of each output, places and
                      weights: [od][2], then [oh][2], then [ow][2] */

/* The corners around an output: where they are in x, in pixels, and what they count. */
typedef struct resize_corners {
    ptrdiff_t at[8];
    float weight[8];
    int32_t count;
} resize_corners;

/* The corners of output (d, h, x); none: it is outside. */
KERNEL void resize_around(const resize_linear_p *restrict p, const int32_t *restrict at,
                          const float *restrict w, int32_t d, int32_t h, int32_t x,
                          resize_corners *restrict c)
{
    const int32_t *ad = at + 2 * (ptrdiff_t)d, *ah = at + 2 * ((ptrdiff_t)p->od + h);
    const int32_t *aw = at + 2 * ((ptrdiff_t)p->od + p->oh + x);
    const float *wd = w + 2 * (ptrdiff_t)d, *wh = w + 2 * ((ptrdiff_t)p->od + h);
    const float *ww = w + 2 * ((ptrdiff_t)p->od + p->oh + x);
    c->count = 0;
    if (ad[0] < 0 || ah[0] < 0 || aw[0] < 0) return;
    for (int i = 0; i <= p->deep; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 2; k++) {
                c->at[c->count] = ((ptrdiff_t)ad[i] * p->ih + ah[j]) * p->iw + aw[k];
                c->weight[c->count++] = p->deep ? ww[k] * wh[j] * wd[i] : ww[k] * wh[j];
            }
}

/* n elements of y from `to` on: of pixels whose elements begin at x[from]. */
KERNEL void resize_blend(const resize_linear_p *restrict p, const void *restrict x, ptrdiff_t from,
                         const resize_corners *restrict c, void *restrict y, ptrdiff_t to,
                         int32_t n)
{
    float sum[F_CHUNK], v[F_CHUNK];
    int32_t whole[F_CHUNK];
    for (int32_t i = 0; i < c->count; i++) {
        const float w = c->weight[i];
        resize_load(v, p->type, x, from + c->at[i] * p->inner, n);
        if (p->whole)
            for (int32_t j = 0; j < n; j++)
                whole[j] = (i ? whole[j] : 0) + (int32_t)w * (int32_t)v[j];
        else
            for (int32_t j = 0; j < n; j++) sum[j] = i ? sum[j] + w * v[j] : w * v[j];
    }
    for (int32_t j = 0; p->whole && j < n; j++) sum[j] = (float)(whole[j] / (1 << 20));
    resize_store(sum, p->type, y, to, n);
}

/* A row of floats of one element a pixel: x is at pixel 0 of the input's. */
KERNEL void resize_linear_row(const resize_linear_p *restrict p, const float *restrict x,
                              const int32_t *restrict at, const float *restrict w, int32_t d,
                              int32_t h, float *restrict y)
{
    const int32_t *ad = at + 2 * (ptrdiff_t)d, *ah = at + 2 * ((ptrdiff_t)p->od + h);
    const int32_t *aw = at + 2 * ((ptrdiff_t)p->od + p->oh);
    const float *wd = w + 2 * (ptrdiff_t)d, *wh = w + 2 * ((ptrdiff_t)p->od + h);
    const float *ww = w + 2 * ((ptrdiff_t)p->od + p->oh);
    const int inside = ad[0] >= 0 && ah[0] >= 0;
    for (int i = 0; i <= p->deep; i++)
        for (int j = 0; j < 2; j++) {
            const float *row = x + (inside ? ((ptrdiff_t)ad[i] * p->ih + ah[j]) * p->iw : 0);
            const float f = wh[j], g = p->deep ? wd[i] : 1.0f;
            for (ptrdiff_t k = 0; k < p->ow; k++) {
                const int32_t a = aw[2 * k], b = aw[2 * k + 1];
                if (!inside || a < 0) {
                    y[k] = p->value;
                    continue;
                }
                const float near = ww[2 * k] * f * g * row[a], far = ww[2 * k + 1] * f * g * row[b];
                y[k] = i + j ? y[k] + near + far : near + far;
            }
        }
}

KERNEL_RUN void resize_linear(const resize_linear_p *restrict p, const void *restrict x,
                              const int32_t *restrict at, const float *restrict weights,
                              void *restrict y)
{
    const ptrdiff_t size = (ptrdiff_t)p->id * p->ih * p->iw * p->inner;
    float value[F_CHUNK];
    ptrdiff_t to = 0;
    for (int j = 0; j < F_CHUNK; j++) value[j] = p->value;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (int32_t d = 0; d < p->od; d++)
            for (int32_t h = 0; h < p->oh; h++) {
                if (p->type == R_FLOAT && p->inner == 1) {
                    resize_linear_row(p, (const float *)x + o * size, at, weights, d, h,
                                      (float *)y + to);
                    to += p->ow;
                    continue;
                }
                for (int32_t w = 0; w < p->ow; w++, to += p->inner) {
                    resize_corners c;
                    resize_around(p, at, weights, d, h, w, &c);
                    for (int32_t i = 0; i < p->inner; i += F_CHUNK) {
                        const int32_t n = f_chunk(i, p->inner);
                        if (c.count) resize_blend(p, x, o * size + i, &c, y, to + i, n);
                        else resize_store(value, p->type, y, to + i, n);
                    }
                }
            }
}

/* ---- one axis -------------------------------------------------------------------------------- */

typedef struct resize_axis_p {
    int32_t type;           /* of x and y: R_FLOAT, R_INT32, R_UINT8 */
    int32_t outer, in, out; /* x is [outer][in][inner], y is [outer][out][inner] */
    int32_t inner;
    int32_t taps; /* places in an entry */
    float value;  /* outside */
} resize_axis_p; /* resize_axis(p, x, table, weights, y): an entry of the table is how many elements
                    the output is the weighted sum of, -1 outside, and their places [taps]; weights
                    [out][taps]. Of R_UINT8, the weights are int32, in 2^-22, and sums are rounded;
                    so are those of R_INT32, to the nearest. */

/* n elements of an output, each the sum of elements `inner` apart; x is at the first one's axis. */
KERNEL void resize_sum(const resize_axis_p *restrict p, const void *restrict x, ptrdiff_t from,
                       const int32_t *restrict entry, const void *restrict weights, ptrdiff_t at,
                       float sum[F_CHUNK], int32_t n)
{
    float v[F_CHUNK];
    for (int32_t j = 0; j < n; j++) sum[j] = 0.0f;
    for (int32_t i = 0; i < entry[0]; i++) {
        const float w = ((const float *)weights)[at + i];
        resize_load(v, p->type, x, from + (ptrdiff_t)entry[1 + i] * p->inner, n);
        for (int32_t j = 0; j < n; j++) sum[j] += w * v[j];
    }
}

/* The same of bytes. */
KERNEL void resize_sum_bytes(const resize_axis_p *restrict p, const uint8_t *restrict x,
                             const int32_t *restrict entry, const int32_t *restrict weights,
                             uint8_t *restrict y, int32_t n)
{
    int64_t sum[F_CHUNK];
    for (int32_t j = 0; j < n; j++) sum[j] = (int64_t)1 << 21;
    for (int32_t i = 0; i < entry[0]; i++) {
        const uint8_t *v = x + (ptrdiff_t)entry[1 + i] * p->inner;
        for (int32_t j = 0; j < n; j++) sum[j] += (int64_t)weights[i] * v[j];
    }
    for (int32_t j = 0; j < n; j++) {
        const int64_t limit = (int64_t)255 << 22, v = sum[j];
        y[j] = (uint8_t)(v < 0 ? 0 : v > limit ? 255 : v >> 22);
    }
}

/* n elements of an output, from element i of its row on. */
KERNEL void resize_axis_chunk(const resize_axis_p *restrict p, const void *restrict x,
                              ptrdiff_t from, const int32_t *restrict entry,
                              const void *restrict weights, ptrdiff_t at, void *restrict y,
                              ptrdiff_t to, int32_t n)
{
    float sum[F_CHUNK];
    if (entry[0] < 0) {
        for (int32_t j = 0; j < n; j++) sum[j] = p->value;
        resize_store(sum, p->type, y, to, n);
    } else if (p->type == R_UINT8) {
        resize_sum_bytes(p, (const uint8_t *)x + from, entry, (const int32_t *)weights + at,
                         (uint8_t *)y + to, n);
    } else {
        resize_sum(p, x, from, entry, weights, at, sum, n);
        if (p->type == R_FLOAT) resize_store(sum, p->type, y, to, n);
        else
            for (int32_t j = 0; j < n; j++) ((int32_t *)y)[to + j] = resize_round(sum[j]);
    }
}

KERNEL_RUN void resize_axis(const resize_axis_p *restrict p, const void *restrict x,
                            const int32_t *restrict table, const void *restrict weights,
                            void *restrict y)
{
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t k = 0; k < p->out; k++) {
            const int32_t *entry = table + k * (p->taps + 1);
            const ptrdiff_t from = o * p->in * p->inner, to = (o * p->out + k) * p->inner;
            for (int32_t i = 0; i < p->inner; i += F_CHUNK)
                resize_axis_chunk(p, x, from + i, entry, weights, k * p->taps, y, to + i,
                                  f_chunk(i, p->inner));
        }
}

#endif
