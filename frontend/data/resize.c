/* frontend/data/resize.c - the engines and filters there are, and what drives them: rows come from
 * the picture in order, and a ring keeps what the next output rows are made of.
 */
#include "frontend/data/resize_plan.h"

#include <assert.h>
#include <string.h>
#include "ir/size.h"

/* No larger side is made: floats, which some engines count pixels in, are exact up to here. */
#define SIDE_MAX ((size_t)1 << 24)

/* The most that a result may take, and what is needed to make it, in bytes. */
#define BYTES_MAX ((size_t)1 << 30)

static const char *const engine_names[] = {[ENGINE_PILLOW] = "pillow",
                                           [ENGINE_TORCHVISION] = "torchvision",
                                           [ENGINE_OPENCV] = "opencv",
                                           [ENGINE_TF] = "tf",
                                           [ENGINE_TF1] = "tf1"};

static const char *const filter_names[] = {
    [FILTER_NEAREST] = "nearest",           [FILTER_BOX] = "box",
    [FILTER_BILINEAR] = "bilinear",         [FILTER_HAMMING] = "hamming",
    [FILTER_BICUBIC] = "bicubic",           [FILTER_LANCZOS] = "lanczos",
    [FILTER_LINEAR_EXACT] = "linear-exact", [FILTER_AREA] = "area"};

/* A filter that an engine has. */
typedef struct Rule {
    ResizeEngine engine; /* whose */
    ResizeFilter filter; /* which */
    PlanFn *plan;        /* what makes it */
    bool real;           /* results are floats */
} Rule;

static const Rule rules[] = {
    {ENGINE_PILLOW, FILTER_NEAREST, plan_pillow_nearest},
    {ENGINE_PILLOW, FILTER_BOX, plan_pillow},
    {ENGINE_PILLOW, FILTER_BILINEAR, plan_pillow},
    {ENGINE_PILLOW, FILTER_HAMMING, plan_pillow},
    {ENGINE_PILLOW, FILTER_BICUBIC, plan_pillow},
    {ENGINE_PILLOW, FILTER_LANCZOS, plan_pillow},
    {ENGINE_TORCHVISION, FILTER_BILINEAR, plan_torchvision},
    {ENGINE_TORCHVISION, FILTER_BICUBIC, plan_torchvision},
    {ENGINE_OPENCV, FILTER_NEAREST, plan_opencv_nearest},
    {ENGINE_OPENCV, FILTER_BILINEAR, plan_opencv_linear},
    {ENGINE_OPENCV, FILTER_LINEAR_EXACT, plan_opencv_linear_exact},
    {ENGINE_OPENCV, FILTER_BICUBIC, plan_opencv_cubic},
    {ENGINE_OPENCV, FILTER_AREA, plan_opencv_area},
    {ENGINE_TF, FILTER_NEAREST, plan_tf_nearest},
    {ENGINE_TF, FILTER_BILINEAR, plan_tf_bilinear, .real = true},
    {ENGINE_TF1, FILTER_BILINEAR, plan_tf1_bilinear, .real = true},
};

static const Rule *rule_of(ResizeEngine e, ResizeFilter f)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].engine == e && rules[i].filter == f) return &rules[i];
    return NULL;
}

const char *resize_engine_name(ResizeEngine e)
{
    return e < sizeof engine_names / sizeof *engine_names ? engine_names[e] : NULL;
}

const char *resize_filter_name(ResizeFilter f)
{
    return f < sizeof filter_names / sizeof *filter_names ? filter_names[f] : NULL;
}

bool resize_known(ResizeEngine e, ResizeFilter f) { return rule_of(e, f) != NULL; }

bool resize_is_float(ResizeEngine e, ResizeFilter f)
{
    const Rule *rule = rule_of(e, f);
    return rule && rule->real;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static size_t value_bytes(const Resize *r)
{
    return resize_is_float(r->engine, r->filter) ? sizeof(float) : 1;
}

static bool sides_fit(qonnx_ctx *cx, const char *what, size_t width, size_t height)
{
    return (width <= SIDE_MAX && height <= SIDE_MAX) ||
           qonnx_fail(cx, NULL, "resizing %s %zux%zu: sides are %zu pixels at most", what, width,
                      height, SIDE_MAX);
}

bool resize_bytes(qonnx_ctx *cx, const Resize *r, int channels, size_t *bytes)
{
    if (!sides_fit(cx, "to", r->width, r->height)) return false;
    *bytes = value_bytes(r) * (size_t)channels;
    if (!size_mul(*bytes, r->columns, bytes) || !size_mul(*bytes, r->rows, bytes) ||
        *bytes > BYTES_MAX)
        return qonnx_fail(cx, NULL, "resizing to %zux%zu: more than %zu MiB are not made",
                          r->columns, r->rows, BYTES_MAX >> 20);
    return true;
}

void *plan_array(Plan *p, size_t n, size_t size)
{
    size_t bytes;
    if (size_mul(n, size, &bytes) && size_add(p->bytes, bytes, &bytes) && bytes <= BYTES_MAX) {
        p->bytes = bytes;
        return arena_array(p->arena, n, size);
    }
    qonnx_fail(p->cx, NULL, "resizing %zux%zu to %zux%zu takes more than %zu MiB of memory",
               p->x.from, p->y.from, p->r->width, p->r->height, BYTES_MAX >> 20);
    return NULL;
}

bool plan_axis(Plan *p, Axis *a, size_t most, bool real)
{
    size_t weights;
    a->most = (most + 3) / 4 * 4;
    a->first = plan_array(p, a->n, sizeof *a->first);
    a->count = a->first ? plan_array(p, a->n, sizeof *a->count) : NULL;
    if (!a->count) return false;
    for (size_t i = 0; i < a->n; i++) a->count[i] = most ? (uint32_t)most : 1;
    if (most == 0) return true;
    if (!size_mul(a->n, a->most, &weights)) weights = SIZE_MAX; /* refused by plan_array */
    if (real) return (a->real = plan_array(p, weights, sizeof *a->real)) != NULL;
    return (a->fixed = plan_array(p, weights, sizeof *a->fixed)) != NULL;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void across_pick(const Plan *p, const uint8_t *in, void *out)
{
    size_t channels = (size_t)p->channels;
    uint8_t *to = out;
    for (size_t i = 0; i < p->x.n; i++, to += channels) {
        const uint8_t *pixel = in + axis_inside(&p->x, p->x.first[i]) * channels;
        for (size_t c = 0; c < channels; c++) to[c] = pixel[c];
    }
}

static void down_copy(const Plan *p, size_t i, const void *const *rows, void *out)
{
    (void)i;
    memcpy(out, rows[0], p->x.n * (size_t)p->channels * p->between);
}

bool plan_nearest(Plan *p, void (*fill)(Axis *a))
{
    p->across = across_pick;
    p->down = down_copy;
    if (!plan_axis(p, &p->x, 0, false) || !plan_axis(p, &p->y, 0, false)) return false;
    fill(&p->x);
    fill(&p->y);
    return true;
}

/* The source rows that output row i is made of: [*lo, *hi). */
static void rows_of(const Axis *y, size_t i, size_t *lo, size_t *hi)
{
    *lo = axis_inside(y, y->first[i]);
    *hi = axis_inside(y, y->first[i] + (ptrdiff_t)y->count[i] - 1) + 1;
}

/* Rows between the steps, and what works on them. */
typedef struct Ring {
    uint8_t *line;      /* a row of the source */
    uint8_t *rows;      /* [room] source row y, after the first step, is the (y % room)-th */
    size_t room;        /* the most source rows of one output row */
    size_t stride;      /* bytes of a row */
    const void **taken; /* [taps of an output row] */
} Ring;

static bool ring_make(Plan *p, Ring *ring)
{
    const Axis *y = &p->y;
    size_t taps = 0, line, lo, hi, channels = (size_t)p->channels;
    *ring = (Ring){0};
    for (size_t i = 0; i < y->n; i++) {
        rows_of(y, i, &lo, &hi);
        if (hi - lo > ring->room) ring->room = hi - lo;
        if (y->count[i] > taps) taps = y->count[i];
    }
    ring->stride = p->x.n * channels * p->between + ROW_PADDING; /* fits: resize_bytes */
    if (!size_mul(p->x.from, channels, &line) || !size_add(line, ROW_PADDING, &line))
        line = SIZE_MAX; /* refused by plan_array */
    return (ring->line = plan_array(p, line, 1)) &&
           (ring->rows = plan_array(p, ring->room, ring->stride)) &&
           (ring->taken = plan_array(p, taps, sizeof *ring->taken));
}

static bool run(Plan *p, Rows *from, uint8_t *out)
{
    const Axis *y = &p->y;
    size_t next = 0, lo, hi, row = p->x.n * (size_t)p->channels * value_bytes(p->r);
    Ring ring;
    if (!ring_make(p, &ring)) return false;
    for (size_t i = 0; i < y->n; i++, out += row) {
        rows_of(y, i, &lo, &hi);
        for (; next < lo; next++)
            if (!from->next(from, NULL)) return false;
        for (; next < hi; next++) {
            if (!from->next(from, ring.line)) return false;
            p->across(p, ring.line, ring.rows + next % ring.room * ring.stride);
        }
        for (size_t j = 0; j < y->count[i]; j++) {
            size_t at = axis_inside(y, y->first[i] + (ptrdiff_t)j);
            ring.taken[j] = ring.rows + at % ring.room * ring.stride;
        }
        p->down(p, i, ring.taken, out);
    }
    return true;
}

bool resize_rows_by(qonnx_ctx *cx, Rows *from, const Resize *r, const ResizeLoops *loops, void *out)
{
    size_t bytes;
    const Rule *rule = rule_of(r->engine, r->filter);
    assert(rule && r->columns && r->left + r->columns <= r->width && r->rows &&
           r->top + r->rows <= r->height);
    assert(from->channels == 1 || from->channels == 3);
    if (!sides_fit(cx, "a picture of", from->width, from->height) ||
        !resize_bytes(cx, r, from->channels, &bytes))
        return false;
    Plan p = {.cx = cx,
              .arena = arena_new(),
              .r = r,
              .loops = loops,
              .channels = from->channels,
              .x = {.from = from->width, .to = r->width, .start = r->left, .n = r->columns},
              .y = {.from = from->height, .to = r->height, .start = r->top, .n = r->rows},
              .between = 1};
    bool ok = rule->plan(&p) && run(&p, from, out);
    arena_free(p.arena);
    return ok;
}

bool resize_rows(qonnx_ctx *cx, Rows *from, const Resize *r, void *out)
{
    const ResizeLoops *loops = &resize_portable;
#ifdef __x86_64__
    if (resize_avx2.usable()) loops = &resize_avx2;
#endif
    return resize_rows_by(cx, from, r, loops, out);
}
