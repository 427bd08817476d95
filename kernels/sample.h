/* kernels/sample.h - elements of an image at points between its pixels: GridSample, RoiAlign; and
 * the points of AffineGrid.
 */
#ifndef KERNELS_SAMPLE_H
#define KERNELS_SAMPLE_H

#include "f_math.h"

/* ---- GridSample ------------------------------------------------------------------------------ */

enum { S_NEAREST, S_LINEAR, S_CUBIC };
enum { S_ZEROS, S_BORDER, S_REFLECTION };

typedef struct grid_sample_p {
    int32_t n, c;
    int32_t id, ih, iw;    /* input size */
    int32_t od, oh, ow;    /* size of the grid */
    int32_t axes;          /* 2 or 3: numbers of a point, the last axis' first */
    int32_t mode, padding; /* S_NEAREST ..., S_ZEROS ... */
    int32_t align; /* -1 and 1 are the middles of the outer pixels, not their outer borders */
} grid_sample_p; /* grid_sample(p, x, grid, y): x and y channels-last, grid [n][od][oh][ow][axes] */

/* What a point takes along one axis: pixels (-1: nothing) and their weights. */
typedef struct sample_taps {
    int32_t count, at[4];
    float weight[4];
} sample_taps;

/* Pixel k, which may be outside. */
KERNEL int32_t sample_pixel(const grid_sample_p *restrict p, int32_t size, int32_t k)
{
    if (k >= 0 && k < size) return k;
    if (p->padding == S_ZEROS) return -1;
    if (p->padding == S_BORDER || size == 1) return k < 0 ? 0 : size - 1;
    const int64_t period = 2 * ((int64_t)size - (p->align ? 1 : 0));
    int64_t m = k % period;
    if (m < 0) m += period;
    return (int32_t)(m < size ? m : period - m - (p->align ? 0 : 1));
}

/* v, a coordinate from -1 to 1, in pixels; far outside where it is no number. */
KERNEL float sample_place(const grid_sample_p *restrict p, int32_t size, float v)
{
    const float x =
        p->align ? (v + 1.0f) / 2.0f * (float)(size - 1) : ((v + 1.0f) * (float)size - 1.0f) / 2.0f;
    return x > -1e9f ? (x < 1e9f ? x : 1e9f) : -1e9f;
}

KERNEL sample_taps sample_along(const grid_sample_p *restrict p, int32_t size, float v)
{
    const float x = sample_place(p, size, v), down = f_floor(x), s = x - down, a = -0.75f;
    sample_taps t = {1, {0}, {1.0f}};
    int32_t first = (int32_t)down;
    if (p->mode == S_NEAREST) {
        first = (int32_t)f_round(x);
    } else if (p->mode == S_LINEAR) {
        t.count = 2;
        t.weight[0] = 1.0f - s;
        t.weight[1] = s;
    } else {
        const float b = s + 1.0f, c = 1.0f - s, d = 2.0f - s;
        t.count = 4;
        first--;
        t.weight[0] = ((a * b - 5.0f * a) * b + 8.0f * a) * b - 4.0f * a;
        t.weight[1] = ((a + 2.0f) * s - (a + 3.0f)) * s * s + 1.0f;
        t.weight[2] = ((a + 2.0f) * c - (a + 3.0f)) * c * c + 1.0f;
        t.weight[3] = ((a * d - 5.0f * a) * d + 8.0f * a) * d - 4.0f * a;
    }
    for (int32_t i = 0; i < t.count; i++) t.at[i] = sample_pixel(p, size, first + i);
    return t;
}

/* Channels [c, c + n) of a point; x is at the batch item's first. */
KERNEL void sample_blend(const grid_sample_p *restrict p, const sample_taps *d,
                         const sample_taps *h, const sample_taps *w, const float *restrict x,
                         float *restrict y, int32_t n)
{
    float sum[F_CHUNK];
    for (int32_t m = 0; m < n; m++) sum[m] = 0.0f;
    for (int32_t i = 0; i < d->count; i++)
        for (int32_t j = 0; j < h->count; j++)
            for (int32_t k = 0; k < w->count; k++) {
                if (d->at[i] < 0 || h->at[j] < 0 || w->at[k] < 0) continue;
                const float by = d->weight[i] * h->weight[j] * w->weight[k];
                const ptrdiff_t row = (ptrdiff_t)d->at[i] * p->ih + h->at[j];
                const float *from = x + (row * p->iw + w->at[k]) * p->c;
                for (int32_t m = 0; m < n; m++) sum[m] += by * from[m];
            }
    for (int32_t m = 0; m < n; m++) y[m] = sum[m];
}

KERNEL_RUN void grid_sample(const grid_sample_p *restrict p, const float *restrict x,
                            const float *restrict grid, float *restrict y)
{
    const ptrdiff_t points = (ptrdiff_t)p->od * p->oh * p->ow;
    const sample_taps flat = {1, {0}, {1.0f}};
    for (int32_t n = 0; n < p->n; n++, x += (ptrdiff_t)p->id * p->ih * p->iw * p->c)
        for (ptrdiff_t i = 0; i < points; i++, grid += p->axes, y += p->c) {
            const sample_taps w = sample_along(p, p->iw, grid[0]);
            const sample_taps h = sample_along(p, p->ih, grid[1]);
            const sample_taps d = p->axes == 3 ? sample_along(p, p->id, grid[2]) : flat;
            for (int32_t c = 0; c < p->c; c += F_CHUNK)
                sample_blend(p, &d, &h, &w, x + c, y + c, f_chunk(c, p->c));
        }
}

/* ---- AffineGrid ------------------------------------------------------------------------------ */

typedef struct affine_grid_p {
    int32_t n, d, h, w;
    int32_t axes;  /* 2 or 3 */
    int32_t align; /* as in grid_sample */
    int32_t wide;  /* double, else float */
} affine_grid_p;   /* affine_grid(p, theta, y): theta [n][axes][axes + 1], y [n][d][h][w][axes] */

/* The middle of pixel i. */
KERNEL double affine_at(const affine_grid_p *restrict p, int32_t i, int32_t size)
{
    if (!p->align) return (2.0 * i + 1.0) / size - 1.0;
    return size > 1 ? 2.0 * i / (size - 1.0) - 1.0 : 1.0;
}

KERNEL double affine_theta(const affine_grid_p *restrict p, const void *restrict theta, ptrdiff_t i)
{
    return p->wide ? ((const double *)theta)[i] : (double)((const float *)theta)[i];
}

KERNEL_TRAITS(affine_grid, floats)
KERNEL_RUN void affine_grid(const affine_grid_p *restrict p, const void *restrict theta,
                            void *restrict y)
{
    const ptrdiff_t points = (ptrdiff_t)p->d * p->h * p->w, size = p->axes * (p->axes + 1);
    ptrdiff_t to = 0;
    for (ptrdiff_t n = 0; n < p->n; n++)
        for (ptrdiff_t i = 0; i < points; i++) {
            const double at[3] = {affine_at(p, (int32_t)(i % p->w), p->w),
                                  affine_at(p, (int32_t)(i / p->w % p->h), p->h),
                                  affine_at(p, (int32_t)(i / p->w / p->h), p->d)};
            for (int32_t a = 0; a < p->axes; a++, to++) {
                const ptrdiff_t row = n * size + a * (p->axes + 1);
                double v = affine_theta(p, theta, row + p->axes);
                for (int32_t k = 0; k < p->axes; k++) v += affine_theta(p, theta, row + k) * at[k];
                if (p->wide) ((double *)y)[to] = v;
                else ((float *)y)[to] = (float)v;
            }
        }
}

/* ---- RoiAlign -------------------------------------------------------------------------------- */

typedef struct roi_align_p {
    int32_t n, c, ih, iw;
    int32_t rois, oh, ow;
    int32_t samples; /* of a cell along an axis; 0: one a pixel */
    int32_t half; /* regions lie half a pixel before what they say, and may be smaller than one */
    int32_t largest; /* else the mean */
    float scale;
} roi_align_p; /* roi_align(p, x, rois, items, y): x [n][ih][iw][c], rois [rois][4]: x, y of the
                  first corner and of the last; items int64 [rois]: which of n, the nearest where it
                  is none; y [rois][oh][ow][c] */

/* A region along one axis: where its first sample is, how far they are apart, how many a cell has.
 */
typedef struct roi_axis {
    float first, step;
    int32_t count;
} roi_axis;

KERNEL roi_axis roi_along(const roi_align_p *restrict p, float from, float to, int32_t cells)
{
    const float start = from * p->scale - (p->half ? 0.5f : 0.0f);
    float size = to * p->scale - (p->half ? 0.5f : 0.0f) - start;
    if (!p->half && !(size > 1.0f)) size = 1.0f;
    const float cell = size / (float)cells, want = f_ceil(cell);
    roi_axis a = {start, cell, p->samples};
    if (!p->samples) a.count = want > 0.0f ? (want < 1e9f ? (int32_t)want : 1000000000) : 0;
    return a;
}

/* Sample k of cell `i` along an axis: its two pixels and the second one's weight. 0: it is outside.
 */
KERNEL int roi_sample(roi_axis a, int32_t i, int32_t k, int32_t size, int32_t at[2], float *weight)
{
    float v = a.first + (float)i * a.step + ((float)k + 0.5f) * a.step / (float)a.count;
    if (!(v >= -1.0f && v <= (float)size)) return 0;
    if (v < 0.0f) v = 0.0f;
    at[0] = (int32_t)v;
    if (at[0] >= size - 1) {
        at[0] = at[1] = size - 1;
        *weight = 0.0f;
    } else {
        at[1] = at[0] + 1;
        *weight = v - (float)at[0];
    }
    return 1;
}

/* The samples [*k0, *k1) of cell `i` that may lie inside: what is far outside is not gone through.
 */
KERNEL void roi_range(roi_axis a, int32_t i, int32_t size, int32_t *k0, int32_t *k1)
{
    const float start = a.first + (float)i * a.step, apart = a.step / (float)a.count;
    float low = 0.0f, high = (float)a.count;
    if (apart > 0.0f) {
        low = f_floor((-1.0f - start) / apart) - 2.0f;
        high = f_ceil(((float)size - start) / apart) + 2.0f;
    }
    low = low > 0.0f ? low : 0.0f;
    high = high < (float)a.count ? high : (float)a.count;
    *k0 = low < (float)a.count ? (int32_t)low : a.count;
    *k1 = high > low ? (high < (float)a.count ? (int32_t)high : a.count) : *k0;
    if (!(start > -1e30f && start < 1e30f)) *k1 = *k0; /* nothing is inside */
}

/* Adds a sample to n channels, or takes the greatest of what its pixels weigh. */
KERNEL void roi_take(const roi_align_p *restrict p, const float *restrict x, const int32_t h[2],
                     const int32_t w[2], float u, float v, int first, float *restrict sum,
                     int32_t n)
{
    const float by[4] = {(1.0f - u) * (1.0f - v), (1.0f - u) * v, u * (1.0f - v), u * v};
    const float *from[4];
    for (int i = 0; i < 4; i++) from[i] = x + ((ptrdiff_t)h[i / 2] * p->iw + w[i % 2]) * p->c;
    for (int32_t m = 0; m < n; m++) {
        const float a = by[0] * from[0][m], b = by[1] * from[1][m];
        const float c = by[2] * from[2][m], d = by[3] * from[3][m];
        if (p->largest) {
            const float e = a > b ? a : b, f = c > d ? c : d, g = e > f ? e : f;
            sum[m] = first || g > sum[m] ? g : sum[m];
        } else {
            sum[m] += a + b + c + d;
        }
    }
}

/* n channels of a cell. */
KERNEL void roi_cell(const roi_align_p *restrict p, roi_axis h, roi_axis w, int32_t i, int32_t j,
                     const float *restrict x, float *restrict y, int32_t n)
{
    int32_t h0, h1, w0, w1;
    int64_t taken = 0;
    const int64_t count = (int64_t)h.count * w.count;
    float sum[F_CHUNK];
    roi_range(h, i, p->ih, &h0, &h1);
    roi_range(w, j, p->iw, &w0, &w1);
    for (int32_t m = 0; m < n; m++) sum[m] = 0.0f;
    for (int32_t k = h0; k < h1; k++) {
        int32_t at_h[2], at_w[2];
        float u, v;
        if (!roi_sample(h, i, k, p->ih, at_h, &u)) continue;
        for (int32_t l = w0; l < w1; l++) {
            if (!roi_sample(w, j, l, p->iw, at_w, &v)) continue;
            roi_take(p, x, at_h, at_w, u, v, taken == 0, sum, n);
            taken++;
        }
    }
    const int outside = taken < count; /* which are zeros */
    for (int32_t m = 0; m < n; m++) {
        if (!p->largest) y[m] = sum[m] / (float)(count > 0 ? count : 1);
        else y[m] = outside && sum[m] < 0.0f ? 0.0f : sum[m];
    }
}

KERNEL_RUN void roi_align(const roi_align_p *restrict p, const float *restrict x,
                          const float *restrict rois, const int64_t *restrict items,
                          float *restrict y)
{
    for (int32_t r = 0; r < p->rois; r++, rois += 4) {
        const int64_t item = items[r] < 0 ? 0 : items[r] < p->n ? items[r] : p->n - 1;
        const float *from = x + (ptrdiff_t)item * p->ih * p->iw * p->c;
        const roi_axis w = roi_along(p, rois[0], rois[2], p->ow);
        const roi_axis h = roi_along(p, rois[1], rois[3], p->oh);
        for (int32_t i = 0; i < p->oh; i++)
            for (int32_t j = 0; j < p->ow; j++, y += p->c)
                for (int32_t c = 0; c < p->c; c += F_CHUNK)
                    roi_cell(p, h, w, i, j, from + c, y + c, f_chunk(c, p->c));
    }
}

#endif
