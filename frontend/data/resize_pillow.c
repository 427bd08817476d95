/* frontend/data/resize_pillow.c - Pillow's resize, and torchvision's of uint8 tensors, which is the
 * same with other weights. A filter is stretched when a picture shrinks, so that every source
 * pixel counts; weights are computed in double, in Pillow's order, and rounded to fixed point.
 * Both steps round to bytes.
 */
#include "frontend/data/resize_plan.h"

#include <math.h>

/* Pillow's weights have so many bits behind the point. */
enum { PILLOW_BITS = 22 };

/* ---- filters: the weight at a distance in pixels --------------------------------------------- */

static double box(double x) { return -0.5 < x && x <= 0.5 ? 1.0 : 0.0; }

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x *= M_PI;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* floats in Pillow, too */
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

typedef struct Filter {
    double (*weight)(double x); /* at a distance */
    double support;             /* it is 0 from this distance on */
} Filter;

static const Filter filters[] = {[FILTER_BOX] = {box, 0.5},
                                 [FILTER_BILINEAR] = {bilinear, 1},
                                 [FILTER_HAMMING] = {hamming, 1},
                                 [FILTER_BICUBIC] = {bicubic, 2},
                                 [FILTER_LANCZOS] = {lanczos, 3}};

/* ---- weights --------------------------------------------------------------------------------- */

/* A filter along an axis. */
typedef struct Stretch {
    Filter filter;  /* before it is stretched */
    size_t from;    /* pixels of the source */
    double scale;   /* source pixels an output pixel */
    double support; /* source pixels from the centre of an output to the end of its window */
    double inverse; /* of the filter's stretch */
} Stretch;

/* An axis that keeps its size is not filtered: box has one pixel an output then. */
static Stretch stretch_of(const Axis *a, ResizeFilter f)
{
    double scale = (double)a->from / (double)a->to, wide = scale < 1.0 ? 1.0 : scale;
    if (a->from == a->to) f = FILTER_BOX;
    return (Stretch){filters[f], a->from, scale, filters[f].support * wide, 1.0 / wide};
}

/* The most weights of an output. */
static size_t window_most(const Stretch *s) { return (size_t)ceil(s->support) * 2 + 1; }

/* The weights of output i of the whole result; their number, and the first's source pixel. */
static size_t window(const Stretch *s, size_t i, double *w, ptrdiff_t *first)
{
    double centre = ((double)i + 0.5) * s->scale, sum = 0;
    ptrdiff_t lo = (ptrdiff_t)(centre - s->support + 0.5);
    ptrdiff_t hi = (ptrdiff_t)(centre + s->support + 0.5);
    if (lo < 0) lo = 0;
    if (hi > (ptrdiff_t)s->from) hi = (ptrdiff_t)s->from;
    size_t n = (size_t)(hi - lo);
    for (size_t j = 0; j < n; j++) {
        w[j] = s->filter.weight(((double)(lo + (ptrdiff_t)j) - centre + 0.5) * s->inverse);
        sum += w[j];
    }
    for (size_t j = 0; j < n && sum != 0; j++) w[j] /= sum;
    *first = lo;
    return n;
}

/* w * 2^bits, rounded half away from zero. */
static int32_t to_fixed(double w, int bits)
{
    double x = w * (double)(1 << bits);
    return (int32_t)(w < 0 ? x - 0.5 : x + 0.5);
}

static bool fill(Plan *p, Axis *a, const Stretch *s, double *w, int bits)
{
    if (!plan_axis(p, a, window_most(s), false)) return false;
    a->shift = bits;
    for (size_t i = 0; i < a->n; i++) {
        a->count[i] = (uint32_t)window(s, a->start + i, w, &a->first[i]);
        for (size_t j = 0; j < a->count[i]; j++) a->fixed[i * a->most + j] = to_fixed(w[j], bits);
    }
    return true;
}

/* torchvision: as many bits as leave the largest weight of the whole axis below 2^15. */
static int torchvision_bits(const Axis *a, const Stretch *s, double *w)
{
    double most = 0;
    ptrdiff_t first;
    for (size_t i = 0; i < a->to; i++) {
        size_t n = window(s, i, w, &first);
        for (size_t j = 0; j < n; j++) most = fmax(most, w[j]);
    }
    int bits = 0;
    while (bits < 21 && 0.5 + most * (double)(1 << (bits + 1)) < 1 << 15) bits++;
    return bits;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static uint8_t clip(uint32_t sum, int shift)
{
    int32_t v = (int32_t)sum >> shift;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Unsigned, for a window of millions of pixels may be one bit too much. */
static inline void columns(const Axis *x, int channels, const uint8_t *in, uint8_t *out)
{
    for (size_t i = 0; i < x->n; i++, out += channels) {
        const int32_t *w = x->fixed + i * x->most;
        const uint8_t *from = in + (size_t)x->first[i] * (size_t)channels;
        uint32_t sums[4];
        for (int c = 0; c < channels; c++) sums[c] = 1u << (x->shift - 1);
        for (size_t j = 0; j < x->count[i]; j++, from += channels)
            for (int c = 0; c < channels; c++) sums[c] += (uint32_t)w[j] * from[c];
        for (int c = 0; c < channels; c++) out[c] = clip(sums[c], x->shift);
    }
}

/* With a number that the compiler knows, the sums stay in registers. */
static void across_portable(const Axis *x, int channels, const uint8_t *in, uint8_t *out)
{
    if (channels == 3) columns(x, 3, in, out);
    else columns(x, 1, in, out);
}

static void down_portable(const int32_t *w, size_t n, int shift, const uint8_t *const *rows,
                          size_t bytes, uint8_t *out)
{
    enum { BLOCK = 512 };
    uint32_t sums[BLOCK];
    for (size_t at = 0; at < bytes; at += BLOCK) {
        size_t block = bytes - at < BLOCK ? bytes - at : BLOCK;
        for (size_t i = 0; i < block; i++) sums[i] = 1u << (shift - 1);
        for (size_t j = 0; j < n; j++) {
            const uint8_t *row = rows[j] + at;
            for (size_t i = 0; i < block; i++) sums[i] += (uint32_t)w[j] * row[i];
        }
        for (size_t i = 0; i < block; i++) out[at + i] = clip(sums[i], shift);
    }
}

static bool always(void) { return true; }

const ResizeLoops resize_portable = {always, across_portable, down_portable};

static void across(const Plan *p, const uint8_t *in, void *out)
{
    p->loops->across(&p->x, p->channels, in, out);
}

static void down(const Plan *p, size_t i, const void *const *rows, void *out)
{
    const Axis *y = &p->y;
    p->loops->down(y->fixed + i * y->most, y->count[i], y->shift, (const uint8_t *const *)rows,
                   p->x.n * (size_t)p->channels, out);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static bool plan_axes(Plan *p, bool torchvision)
{
    Axis *axes[] = {&p->x, &p->y};
    p->across = across;
    p->down = down;
    for (int i = 0; i < 2; i++) {
        Stretch s = stretch_of(axes[i], p->r->filter);
        double *w = plan_array(p, window_most(&s), sizeof *w);
        if (!w) return false;
        int bits = torchvision ? torchvision_bits(axes[i], &s, w) : PILLOW_BITS;
        if (!fill(p, axes[i], &s, w, bits)) return false;
    }
    return true;
}

bool plan_pillow(Plan *p) { return plan_axes(p, false); }

bool plan_torchvision(Plan *p) { return plan_axes(p, true); }

/* Pillow adds its step up instead of multiplying it: now and then the pixel is another. */
static void fill_nearest(Axis *a)
{
    double step = (double)a->from / (double)a->to, at = step * 0.5;
    for (size_t i = 0; i < a->start + a->n; i++, at += step)
        if (i >= a->start) a->first[i - a->start] = (ptrdiff_t)at;
}

bool plan_pillow_nearest(Plan *p) { return plan_nearest(p, fill_nearest); }
