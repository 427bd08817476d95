/* frontend/data/resize_opencv.c - OpenCV's resize of bytes. Only FILTER_AREA counts every source
 * pixel when a picture shrinks. The arithmetic is that of its own loops; but FILTER_BICUBIC's is
 * mostly the plain float form of Intel's library, which OpenCV's packages for x86-64 go through.
 */
#include "frontend/data/resize_plan.h"

#include <float.h>
#include <math.h>

/* Bits of the weights of FILTER_BILINEAR and FILTER_BICUBIC, and of FILTER_LINEAR_EXACT. */
enum { LINEAR_BITS = 11, EXACT_BITS = 8 };

/* Intel's library takes no smaller sides for FILTER_BICUBIC, and OpenCV goes through its own loops,
 * which work on so many values at once; what is left of a row is computed in another way. */
enum { CUBIC_SIDE_MIN = 4, CUBIC_VALUES = 8 };

/* A cell of FILTER_AREA of more pixels is added up in float: sums of bytes stay below 2^31. */
#define CELL_MAX ((size_t)1 << 23)

/* Source pixels an output pixel, as OpenCV divides: the rounding shows. */
static double scale_of(const Axis *a) { return 1.0 / ((double)a->to / (double)a->from); }

static uint8_t to_byte(float v)
{
    v = rintf(v);
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* ---- the steps ------------------------------------------------------------------------------- */

/* Weighted sums of a row, in integers and in float, from the left. */
static void across_fixed(const Plan *p, const uint8_t *in, void *out)
{
    const Axis *x = &p->x;
    size_t channels = (size_t)p->channels;
    int32_t *to = out;
    for (size_t i = 0; i < x->n; i++) {
        for (size_t c = 0; c < channels; c++) {
            int32_t sum = 0;
            for (size_t j = 0; j < x->count[i]; j++)
                sum += x->fixed[i * x->most + j] *
                       in[axis_inside(x, x->first[i] + (ptrdiff_t)j) * channels + c];
            *to++ = sum;
        }
    }
}

static void across_real(const Plan *p, const uint8_t *in, void *out)
{
    const Axis *x = &p->x;
    size_t channels = (size_t)p->channels;
    float *to = out;
    for (size_t i = 0; i < x->n; i++) {
        for (size_t c = 0; c < channels; c++) {
            float sum = 0;
            for (size_t j = 0; j < x->count[i]; j++)
                sum += x->real[i * x->most + j] *
                       (float)in[axis_inside(x, x->first[i] + (ptrdiff_t)j) * channels + c];
            *to++ = sum;
        }
    }
}

/* Weighted sums of rows in float, from the top, a block at a time. */
static void down_real(const Plan *p, size_t i, const void *const *rows, void *out)
{
    enum { BLOCK = 512 };
    const float *w = p->y.real + i * p->y.most;
    size_t n = p->x.n * (size_t)p->channels;
    uint8_t *to = out;
    float sums[BLOCK];
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t block = n - at < BLOCK ? n - at : BLOCK;
        for (size_t k = 0; k < block; k++) sums[k] = 0;
        for (size_t j = 0; j < p->y.count[i]; j++) {
            const float *row = (const float *)rows[j] + at;
            for (size_t k = 0; k < block; k++) sums[k] += w[j] * row[k];
        }
        for (size_t k = 0; k < block; k++) to[at + k] = to_byte(sums[k]);
    }
}

/* Two rows. Each product loses its lower bits, as in OpenCV's vector code. */
static void down_linear(const Plan *p, size_t i, const void *const *rows, void *out)
{
    const int32_t *w = p->y.fixed + i * p->y.most, *a = rows[0], *b = rows[1];
    size_t n = p->x.n * (size_t)p->channels;
    uint8_t *to = out;
    for (size_t k = 0; k < n; k++) {
        int32_t v = ((w[0] * (a[k] >> 4)) >> 16) + ((w[1] * (b[k] >> 4)) >> 16);
        to[k] = (uint8_t)((v + 2) >> 2);
    }
}

static void down_linear_exact(const Plan *p, size_t i, const void *const *rows, void *out)
{
    const int32_t *w = p->y.fixed + i * p->y.most, *a = rows[0], *b = rows[1];
    size_t n = p->x.n * (size_t)p->channels;
    uint8_t *to = out;
    for (size_t k = 0; k < n; k++) to[k] = (uint8_t)((w[0] * a[k] + w[1] * b[k] + (1 << 15)) >> 16);
}

/* Four rows, by OpenCV's own loops: from the last to the first in float, or in integers. */
static void down_cubic(const Plan *p, size_t i, const void *const *rows, void *out)
{
    const int32_t *w = p->y.fixed + i * p->y.most;
    size_t channels = (size_t)p->channels, n = p->x.n * channels, skipped = p->x.start * channels;
    size_t whole = p->x.to * channels / CUBIC_VALUES * CUBIC_VALUES;
    uint8_t *to = out;
    for (size_t k = 0; k < n; k++) {
        float real = 0;
        int64_t sum = 1 << (2 * LINEAR_BITS - 1);
        for (int j = 3; j >= 0; j--) {
            int32_t v = ((const int32_t *)rows[j])[k];
            real += (float)v * ((float)w[j] / (float)(1 << 2 * LINEAR_BITS));
            sum += (int64_t)v * w[j];
        }
        to[k] = to_byte(skipped + k < whole ? real : (float)(sum >> 2 * LINEAR_BITS));
    }
}

/* The mean of a cell of whole pixels. */
static void down_cell(const Plan *p, size_t i, const void *const *rows, void *out)
{
    size_t n = p->x.n * (size_t)p->channels, wide = p->x.count[0], high = p->y.count[0];
    float share = (float)(1.0 / (double)(wide * high));
    uint8_t *to = out;
    (void)i;
    for (size_t k = 0; k < n; k++) {
        int32_t sum = 0;
        for (size_t j = 0; j < high; j++) sum += ((const int32_t *)rows[j])[k];
        to[k] = wide == 2 && high == 2 ? (uint8_t)((sum + 2) >> 2) : to_byte((float)sum * share);
    }
}

/* ---- bilinear -------------------------------------------------------------------------------- */

/* The pixel in front of output i, and how far behind it the output lies, as a share of a pixel. */
typedef float Place(const Axis *a, size_t i, ptrdiff_t *first);

static float place_centre(const Axis *a, size_t i, ptrdiff_t *first)
{
    float at = (float)(((double)i + 0.5) * scale_of(a) - 0.5), whole = floorf(at);
    *first = (ptrdiff_t)whole;
    return at - whole;
}

/* FILTER_AREA where a side grows: most outputs are one source pixel. */
static float place_area(const Axis *a, size_t i, ptrdiff_t *first)
{
    double whole = floor((double)i * scale_of(a)), inverse = (double)a->to / (double)a->from;
    float at = (float)((double)(i + 1) - (whole + 1) * inverse);
    *first = (ptrdiff_t)whole;
    return at <= 0 ? 0 : at - floorf(at);
}

/* Two weights an output. Outside the columns the last one counts alone; of rows two times the last
 * are mixed, which its shifts make another number. */
static bool fill_linear(Plan *p, Axis *a, Place *place, bool alone)
{
    const float one = 1 << LINEAR_BITS;
    if (!plan_axis(p, a, 2, false)) return false;
    for (size_t i = 0; i < a->n; i++) {
        float share = place(a, a->start + i, &a->first[i]);
        if (alone && (a->first[i] < 0 || a->first[i] >= (ptrdiff_t)a->from - 1)) share = 0;
        if (alone) a->first[i] = (ptrdiff_t)axis_inside(a, a->first[i]);
        a->fixed[i * a->most] = (int32_t)rintf((1 - share) * one);
        a->fixed[i * a->most + 1] = (int32_t)rintf(share * one);
    }
    return true;
}

static bool plan_linear(Plan *p, Place *place)
{
    p->across = across_fixed;
    p->down = down_linear;
    p->between = sizeof(int32_t);
    return fill_linear(p, &p->x, place, true) && fill_linear(p, &p->y, place, false);
}

/* OpenCV has its mean of four pixels for a picture of exactly half the size. */
static bool is_half(const Plan *p) { return p->x.from == 2 * p->x.to && p->y.from == 2 * p->y.to; }

bool plan_opencv_linear(Plan *p)
{
    return is_half(p) ? plan_opencv_area(p) : plan_linear(p, place_centre);
}

static bool fill_exact(Plan *p, Axis *a)
{
    if (!plan_axis(p, a, 2, false)) return false;
    for (size_t i = 0; i < a->n; i++) {
        double at = scale_of(a) * ((double)(a->start + i) + 0.5) - 0.5, whole = floor(at);
        ptrdiff_t first = (ptrdiff_t)whole;
        bool outside = first < 0 || first >= (ptrdiff_t)a->from - 1;
        int32_t share = outside ? 0 : (int32_t)rint((at - whole) * (1 << EXACT_BITS));
        a->first[i] = (ptrdiff_t)axis_inside(a, first);
        a->fixed[i * a->most] = (1 << EXACT_BITS) - share;
        a->fixed[i * a->most + 1] = share;
    }
    return true;
}

bool plan_opencv_linear_exact(Plan *p)
{
    if (is_half(p)) return plan_opencv_area(p);
    p->across = across_fixed;
    p->down = down_linear_exact;
    p->between = sizeof(int32_t);
    return fill_exact(p, &p->x) && fill_exact(p, &p->y);
}

/* ---- nearest and cubic ----------------------------------------------------------------------- */

static void fill_nearest(Axis *a)
{
    for (size_t i = 0; i < a->n; i++)
        a->first[i] = (ptrdiff_t)floor((double)(a->start + i) * scale_of(a));
}

bool plan_opencv_nearest(Plan *p) { return plan_nearest(p, fill_nearest); }

static void cubic(float x, float w[4])
{
    const float a = -0.75f;
    w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = 1 - w[0] - w[1] - w[2];
}

/* As place_centre, but it is rounded to float last. */
static float place_precise(const Axis *a, size_t i, ptrdiff_t *first)
{
    double at = ((double)i + 0.5) * scale_of(a) - 0.5, whole = floor(at);
    *first = (ptrdiff_t)whole;
    return (float)(at - whole);
}

static bool fill_cubic(Plan *p, Axis *a, bool real)
{
    if (!plan_axis(p, a, 4, real)) return false;
    for (size_t i = 0; i < a->n; i++) {
        float w[4];
        cubic((real ? place_precise : place_centre)(a, a->start + i, &a->first[i]), w);
        a->first[i]--;
        for (size_t j = 0; j < 4; j++) {
            if (real) a->real[i * a->most + j] = w[j];
            else a->fixed[i * a->most + j] = (int32_t)rintf(w[j] * (1 << LINEAR_BITS));
        }
    }
    return true;
}

bool plan_opencv_cubic(Plan *p)
{
    bool real = p->x.from >= CUBIC_SIDE_MIN && p->y.from >= CUBIC_SIDE_MIN;
    p->across = real ? across_real : across_fixed;
    p->down = real ? down_real : down_cubic;
    p->between = real ? sizeof(float) : sizeof(int32_t);
    return fill_cubic(p, &p->x, real) && fill_cubic(p, &p->y, real);
}

/* ---- area ------------------------------------------------------------------------------------ */

/* How many source pixels an output is, where that is a whole number; else 0. */
static size_t whole_scale(const Axis *a)
{
    double scale = scale_of(a), whole = rint(scale);
    return fabs(scale - whole) < DBL_EPSILON ? (size_t)whole : 0;
}

static bool fill_cells(Plan *p, Axis *a, size_t size)
{
    if (!plan_axis(p, a, size, false)) return false;
    for (size_t i = 0; i < a->n; i++) {
        a->first[i] = (ptrdiff_t)((a->start + i) * size);
        for (size_t j = 0; j < size; j++) a->fixed[i * a->most + j] = 1;
    }
    return true;
}

/* Weights by how much of each source pixel lies in the output's cell; less than 1e-3 is nothing. */
static void fill_shares(Axis *a, size_t i)
{
    double scale = scale_of(a), begin = (double)(a->start + i) * scale, end = begin + scale;
    double cell = fmin(scale, (double)a->from - begin),
           last = fmin(floor(end), (double)a->from - 1);
    double first = fmin(ceil(begin), last);
    float *w = a->real + i * a->most;
    uint32_t n = 0;
    a->first[i] = (ptrdiff_t)first;
    if (first - begin > 1e-3) {
        a->first[i]--;
        w[n++] = (float)((first - begin) / cell);
    }
    for (double at = first; at < last; at++) w[n++] = (float)(1.0 / cell);
    if (end - last > 1e-3) w[n++] = (float)(fmin(fmin(end - last, 1.0), cell) / cell);
    a->count[i] = n;
}

static bool fill_area(Plan *p, Axis *a)
{
    if (!plan_axis(p, a, (size_t)ceil(scale_of(a)) + 2, true)) return false;
    for (size_t i = 0; i < a->n; i++) fill_shares(a, i);
    return true;
}

bool plan_opencv_area(Plan *p)
{
    size_t wide = whole_scale(&p->x), high = whole_scale(&p->y);
    if (scale_of(&p->x) < 1 || scale_of(&p->y) < 1) return plan_linear(p, place_area);
    if (wide && high && high <= CELL_MAX / wide) {
        p->across = across_fixed;
        p->down = down_cell;
        p->between = sizeof(int32_t);
        return fill_cells(p, &p->x, wide) && fill_cells(p, &p->y, high);
    }
    p->across = across_real;
    p->down = down_real;
    p->between = sizeof(float);
    return fill_area(p, &p->x) && fill_area(p, &p->y);
}
