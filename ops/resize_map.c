/* ops/resize_map.c - the arithmetic of Resize along one axis. Coordinates are floats, computed as
 * ONNX Runtime computes them, for a last digit decides which element is the nearest.
 */
#include "ops/resize.h"
#include <math.h>
#include <string.h>

enum {
    HALF_PIXEL,
    ASYMMETRIC,
    PYTORCH_HALF_PIXEL,
    TF_HALF_PIXEL,
    ALIGN_CORNERS,
    CROP_AND_RESIZE,
    HALF_PIXEL_SYMMETRIC
};
const char *const resize_coordinates[] = {
    "half_pixel",    "asymmetric",         "pytorch_half_pixel",   "tf_half_pixel_for_nn",
    "align_corners", "tf_crop_and_resize", "half_pixel_symmetric", NULL};

enum { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL };
const char *const resize_roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil",
                                        NULL};

/* Where output i lies in the input. */
static float coordinate(const Resize *r, const ResizeAxis *a, int64_t i)
{
    const float x = (float)i, in = (float)a->in, out = (float)a->out, last = in - 1;
    switch (r->coordinate) {
    case ASYMMETRIC: return x / a->scale;
    case PYTORCH_HALF_PIXEL: return a->out > 1 ? (x + 0.5f) / a->scale - 0.5f : 0.0f;
    case TF_HALF_PIXEL: return (x + 0.5f) / a->scale;
    case ALIGN_CORNERS: return a->out == 1 ? 0.0f : x * last / (out - 1);
    case CROP_AND_RESIZE:
        if (a->out > 1) return a->start * last + x * (a->end - a->start) * last / (out - 1);
        return (float)(0.5 * (double)(a->start + a->end) * (double)last);
    case HALF_PIXEL_SYMMETRIC: {
        const float width = a->scale * in, offset = in / 2 * (1 - out / width);
        return (float)((double)offset + ((double)x + 0.5) / (double)a->scale - 0.5);
    }
    default: return (x + 0.5f) / a->scale - 0.5f;
    }
}

/* The same, an axis that stays as it is being left alone. It fits 32 bits; NaN is 0. */
static float place(const Resize *r, const ResizeAxis *a, int64_t i)
{
    const float x = a->scale == 1 ? (float)i : coordinate(r, a, i);
    return x == x ? fmaxf(-0x1p30f, fminf(x, 0x1p30f)) : 0;
}

static bool is_outside(const Resize *r, const ResizeAxis *a, float x)
{
    return r->crop && (x < 0 || x > (float)(a->in - 1));
}

/* Limited to the elements of the axis, or one before or behind them. */
static int64_t to_index(const ResizeAxis *a, float x)
{
    return x < 0 ? -1 : x >= (float)a->in ? a->in : (int64_t)x;
}

/* x in [0, in - 1]. */
static float inside(const ResizeAxis *a, float x)
{
    const float last = (float)(a->in - 1);
    return fmaxf(0, fminf(x, last));
}

int64_t resize_nearest_place(const Resize *r, const ResizeAxis *a, int64_t i)
{
    if (a->scale == 1) return i < a->in ? i : a->in - 1;
    const float x = place(r, a, i), down = floorf(x);
    if (is_outside(r, a, x)) return -1;
    /* a coordinate is in the middle where rounding moved it off, too */
    const bool middle = fabsf(x - down - 0.5f) < 1e-6f;
    float y = roundf(x);
    if (r->nearest == FLOOR || (r->nearest == PREFER_FLOOR && middle)) y = down;
    if (r->nearest == CEIL || (r->nearest == PREFER_CEIL && middle)) y = ceilf(x);
    const int64_t at = to_index(a, y);
    return at < 0 ? 0 : at >= a->in ? a->in - 1 : at;
}

void resize_neighbours(const Resize *r, const ResizeAxis *a, int64_t i, bool whole, int32_t at[2],
                       float weight[2])
{
    const float x = place(r, a, i), v = inside(a, x), unit = whole ? 1024 : 1;
    const float scaled = whole ? truncf(v * unit) : v;
    const int64_t low = to_index(a, v) < a->in ? to_index(a, v) : a->in - 1;
    at[0] = is_outside(r, a, x) ? -1 : (int32_t)low;
    at[1] = (int32_t)(low + 1 < a->in ? low + 1 : low);
    /* each counts the more, the farther the other one is */
    weight[0] = low == at[1] ? unit / 2 : fabsf(scaled - unit * (float)at[1]);
    weight[1] = low == at[1] ? unit / 2 : fabsf(scaled - unit * (float)low);
}

/* ---- cubic ----------------------------------------------------------------------------------- */

/* The weights of the four elements around a point that is `s` behind the second. */
static void cubic_weights(float a, float s, float w[4])
{
    const float b = s + 1, c = 1 - s, d = 2 - s;
    w[0] = ((a * b - 5 * a) * b + 8 * a) * b - 4 * a;
    w[1] = ((a + 2) * s - (a + 3)) * s * s + 1;
    w[2] = ((a + 2) * c - (a + 3)) * c * c + 1;
    w[3] = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

static int cubic_window(const Resize *r, const ResizeAxis *a, int64_t i, int32_t *at, float *weight)
{
    const float x = place(r, a, i), down = floorf(x);
    if (is_outside(r, a, x)) return -1;
    const int64_t low = (int64_t)down;
    cubic_weights(r->cubic_a, x - down, weight);
    float sum = 0;
    for (int k = 0; k < 4; k++) {
        const int64_t j = low - 1 + k;
        if (r->exclude && (j < 0 || j >= a->in)) weight[k] = 0;
        at[k] = (int32_t)(j < 0 ? 0 : j >= a->in ? a->in - 1 : j);
        sum += weight[k];
    }
    for (int k = 0; r->exclude && sum != 0 && k < 4; k++) weight[k] /= sum;
    return 4;
}

/* ---- antialiasing ---------------------------------------------------------------------------- */

/* The filter that is stretched over more elements where the axis shrinks. */
static float filter(const Resize *r, float x)
{
    const float a = r->cubic_a;
    x = fabsf(x);
    if (r->mode == RESIZE_LINEAR) return x < 1 ? 1 - x : 0;
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* How far it reaches, in elements. */
static float reach(const Resize *r, const ResizeAxis *a)
{
    const float own = r->mode == RESIZE_LINEAR ? 1 : 2, stretch = 1 / a->scale;
    return stretch >= 1 ? own * stretch : own;
}

/* What lies before the axis or behind it counts for its ends, or not at all. */
static int antialias_window(const Resize *r, const ResizeAxis *a, int64_t i, int32_t *at,
                            float *weight)
{
    const float x = place(r, a, i), center = x + 0.5f, far = reach(r, a), stretch = 1 / a->scale;
    const float shrink = stretch >= 1 ? 1 / stretch : 1, first = floorf(center - far + 0.5f);
    if (is_outside(r, a, x)) return -1;
    const int64_t limit = 2 * (int64_t)ceilf(far) + 1;
    int64_t from = (int64_t)first, to = (int64_t)floorf(center + far + 0.5f);
    if (to - from > limit) to = from + limit;
    const int64_t low = from < 0 ? 0 : from > a->in ? a->in : from;
    const int64_t high = to < 0 ? 0 : to > a->in ? a->in : to;
    if (low >= high) return 0;
    float sum = 0;
    for (int64_t k = low; k < high; k++) at[k - low] = (int32_t)k, weight[k - low] = 0;
    for (int64_t k = r->exclude ? low : from; k < (r->exclude ? high : to); k++) {
        const float w = filter(r, ((float)k - center + 0.5f) * shrink);
        weight[(k < low ? low : k >= high ? high - 1 : k) - low] += w;
        sum += w;
    }
    for (int64_t k = 0; k < high - low; k++) weight[k] *= sum == 0 ? 1 : 1 / sum;
    return (int)(high - low);
}

int64_t resize_taps(const Resize *r, const ResizeAxis *a)
{
    if (!r->antialias) return r->mode == RESIZE_CUBIC ? 4 : 2;
    const float most = 2 * ceilf(reach(r, a)) + 1;
    return most < (float)a->in ? (int64_t)most : a->in;
}

int resize_window(const Resize *r, const ResizeAxis *a, int64_t i, int32_t *at, float *weight)
{
    if (r->antialias) return antialias_window(r, a, i, at, weight);
    if (r->mode == RESIZE_CUBIC) return cubic_window(r, a, i, at, weight);
    resize_neighbours(r, a, i, false, at, weight);
    return at[0] < 0 ? -1 : 2;
}
