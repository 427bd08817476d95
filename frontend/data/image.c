/* frontend/data/image.c - pictures as samples: what a preprocessing makes of a picture's rows, as
 * the input's shape and type want it.
 */
#include "frontend/data/preprocess_apply.h"
#include "ir/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---------------------------------------------------------------------------------- */

/* The arithmetic on values of one channel, in float32 and in this order. A factor is applied in
 * double and rounded once. */
static void arithmetic(const Preprocess *p, int channel, float *x, size_t n)
{
    float by = (float)p->scale.by, mean = p->mean.value[channel], std = p->std.value[channel];
    if (p->scale.by && p->scale.divides)
        for (size_t i = 0; i < n; i++) x[i] = x[i] / by;
    else if (p->scale.by)
        for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] * p->scale.by);
    if (p->mean.count)
        for (size_t i = 0; i < n; i++) x[i] = x[i] - mean;
    if (p->std.count)
        for (size_t i = 0; i < n; i++) x[i] = x[i] / std;
}

static bool is_integer(qonnx_dtype t) { return t == QONNX_UINT8 || t == QONNX_INT8; }

/* The integer that a value is. False: it is outside of what the type has, and clipped. */
static bool quantize(const TypeField *type, qonnx_dtype dtype, float x, uint8_t *out)
{
    float low = dtype == QONNX_INT8 ? -128 : 0, high = dtype == QONNX_INT8 ? 127 : 255;
    float q = type->scale ? rintf(x / (float)type->scale) + (float)type->zero : rintf(x);
    bool fits = q >= low && q <= high;
    q = q < low ? low : q > high ? high : q;
    *out = dtype == QONNX_INT8 ? (uint8_t)(int8_t)q : (uint8_t)q;
    return fits && (type->scale || q == x);
}

/* Values of one channel as elements of the input's type, `step` elements apart; x[] changes. False:
 * some do not fit. They are clipped where the type is an integer, else not written. */
static bool elements(const Preprocess *p, qonnx_dtype dtype, int channel, float *x, size_t n,
                     uint8_t *out, size_t step)
{
    bool fit = true;
    size_t apart = step * (size_t)qonnx_dtype_bits(dtype) / 8;
    arithmetic(p, channel, x, n);
    for (size_t i = 0; i < n; i++, out += apart) {
        Elements one = {(const uint8_t *)&x[i], sizeof x[i], QONNX_FLOAT, false};
        if (dtype == QONNX_FLOAT) memcpy(out, &x[i], sizeof x[i]);
        else if (is_integer(dtype)) fit = quantize(&p->type, dtype, x[i], out) && fit;
        else fit = convert_elements(one, 1, dtype, out, 0) == 1 && fit;
    }
    return fit;
}

bool table_make(qonnx_ctx *cx, const Preprocess *p, const Target *t, const char *path, Table *out)
{
    qonnx_dtype dtype = t->feed->dtype;
    out->size = (size_t)qonnx_dtype_bits(dtype) / 8;
    for (int c = 0; c < t->channels; c++) {
        for (int x = 0; x < 256; x++) {
            float y = (float)x;
            bool fits = elements(p, dtype, c, &y, 1, out->element[c] + (size_t)x * out->size, 1);
            if (fits || (is_integer(dtype) && p->type.scale)) continue;
            return qonnx_fail(cx, NULL,
                              "%s: value %d of a picture becomes %g, which is none of type %s, "
                              "which the model's input '%s' wants%s",
                              path, x, (double)y, qonnx_dtype_name(dtype), t->feed->name,
                              is_integer(dtype) ? "; its scale and zero point can be given: "
                                                  "--input-type TYPE{scale=S,zero=Z}"
                                                : "");
        }
    }
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A part of another picture, in gray where that is wanted. */
typedef struct Part {
    Rows rows;    /* what it is */
    Rows *from;   /* the whole; not its own */
    uint8_t *row; /* one of it; NULL: rows are the same in both */
    size_t left;  /* the part begins there */
    size_t above; /* rows of it that are still to be passed over */
} Part;

/* RGB becomes gray by ITU-R BT.601's luma in 16-bit fixed point, rounded: Pillow's convert("L"). */
static void to_gray(const uint8_t *rgb, size_t n, uint8_t *gray)
{
    for (size_t i = 0; i < n; i++, rgb += 3)
        gray[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static bool part_next(Rows *r, uint8_t *row)
{
    Part *p = (Part *)r;
    bool ok = true;
    for (; ok && p->above; p->above--) ok = p->from->next(p->from, NULL);
    ok = ok && p->from->next(p->from, row && p->row ? p->row : row);
    r->damaged = p->from->damaged;
    if (!ok || !row || !p->row) return ok;
    const uint8_t *at = p->row + p->left * (size_t)p->from->channels;
    if (r->channels == p->from->channels) memcpy(row, at, r->width * (size_t)r->channels);
    else to_gray(at, r->width, row);
    return true;
}

static void part_close(Rows *r) { free(((Part *)r)->row); }

static bool part_open(qonnx_ctx *cx, const char *path, const Plan *plan, bool gray, Rows *from,
                      Part *out)
{
    size_t bytes;
    *out = (Part){.rows = {.width = plan->from_width,
                           .height = plan->from_height,
                           .channels = gray ? 1 : from->channels,
                           .next = part_next,
                           .close = part_close},
                  .from = from,
                  .left = plan->from_left,
                  .above = plan->from_top};
    if (plan->from_width == from->width && out->rows.channels == from->channels) return true;
    if (size_mul(from->width, (size_t)from->channels, &bytes)) out->row = malloc(bytes);
    return out->row || qonnx_fail(cx, NULL, "%s: no memory for a row", path);
}

/* ---- the tensor ------------------------------------------------------------------------------ */

/* What is being written. */
typedef struct Canvas {
    const Preprocess *p;
    const Target *target;
    const Plan *plan;
    const Table *table;
    uint8_t *out;    /* the tensor's elements */
    size_t step;     /* elements from a pixel to the next */
    size_t plane;    /* from a channel to the next */
} Canvas;

/* Where pixel (x, y) of channel c is. */
static uint8_t *place(const Canvas *v, int c, size_t x, size_t y)
{
    return v->out + ((y * v->plan->width + x) * v->step + (size_t)c * v->plane) * v->table->size;
}

/* Fills the border around the picture, or all where there is one. */
static void fill(const Canvas *v)
{
    const PadField *pad = &v->p->pad;
    const Resize *r = &v->plan->resize;
    size_t size = v->table->size, pixels = v->plan->width * v->plan->height;
    const Preprocess plain = {.type = v->p->type};
    if (r->columns == v->plan->width && r->rows == v->plan->height) return;
    for (int c = 0; c < v->target->channels; c++) {
        uint8_t value[4];
        float x = v->plan->padded && pad->count ? pad->value[c] : 0;
        bool after = v->plan->padded && pad->when == PAD_AFTER;
        elements(after ? &plain : v->p, v->target->feed->dtype, c, &x, 1, value, 1);
        uint8_t *at = place(v, c, 0, 0);
        for (size_t i = 0; i < pixels; i++, at += v->step * size) memcpy(at, value, size);
    }
}

/* Which channel of the picture becomes channel c of the input. */
static size_t source_of(const Canvas *v, int c, int channels)
{
    return channels == 1 ? 0 : (size_t)(v->p->color == COLOR_BGR ? 2 - c : c);
}

/* A row of one channel by the table, for elements of a size that the compiler knows. */
#define PUT_ROW(type)                                                                              \
    for (size_t x = 0; x < columns; x++, from += channels, at += v->step * sizeof(type))           \
    memcpy(at, table + *from * sizeof(type), sizeof(type))

static void put_bytes(const Canvas *v, const uint8_t *pixels, int channels)
{
    size_t columns = v->plan->resize.columns;
    for (size_t y = 0; y < v->plan->resize.rows; y++) {
        for (int c = 0; c < v->target->channels; c++) {
            const uint8_t *table = v->table->element[c];
            const uint8_t *from =
                pixels + y * columns * (size_t)channels + source_of(v, c, channels);
            uint8_t *at = place(v, c, v->plan->x, v->plan->y + y);
            if (v->table->size == 4) PUT_ROW(uint32_t);
            else if (v->table->size == 2) PUT_ROW(uint16_t);
            else PUT_ROW(uint8_t);
        }
    }
}

/* The same for what a resize has left between the bytes. */
static void put_floats(const Canvas *v, const float *pixels, int channels)
{
    enum { SOME = 256 };
    float part[SOME];
    size_t columns = v->plan->resize.columns;
    for (size_t y = 0; y < v->plan->resize.rows; y++)
        for (int c = 0; c < v->target->channels; c++) {
            const float *from = pixels + y * columns * (size_t)channels + source_of(v, c, channels);
            for (size_t x = 0, n; x < columns; x += n) {
                n = columns - x < SOME ? columns - x : SOME;
                for (size_t i = 0; i < n; i++, from += channels) part[i] = *from;
                elements(v->p, v->target->feed->dtype, c, part, n,
                         place(v, c, v->plan->x + x, v->plan->y + y), v->step);
            }
        }
}

/* Makes the tensor of the part that came out of the resize. */
static bool make_tensor(qonnx_ctx *cx, Canvas *v, const char *path, const void *pixels,
                        int channels, qonnx_tensor *out)
{
    const Target *t = v->target;
    int64_t h = (int64_t)v->plan->height, w = (int64_t)v->plan->width;
    Fit fit = {.count = 1, .rank = 4};
    const int64_t planar[] = {1, t->channels, h, w}, last[] = {1, h, w, t->channels};
    memcpy(fit.dims, t->channels_last ? last : planar, sizeof planar);
    if (!sample_new(cx, t->feed, path, &fit, out)) return false;
    v->out = (uint8_t *)(uintptr_t)out->data;
    v->step = t->channels_last ? (size_t)t->channels : 1;
    v->plane = t->channels_last ? 1 : v->plan->width * v->plan->height;
    fill(v);
    if (resize_is_float(v->plan->resize.engine, v->plan->resize.filter))
        put_floats(v, pixels, channels);
    else
        put_bytes(v, pixels, channels);
    return true;
}

bool preprocess_picture(qonnx_ctx *cx, Prepared *p, const char *path, Rows *rows,
                        qonnx_tensor *out)
{
    Plan plan;
    Part part;
    size_t bytes;
    *out = (qonnx_tensor){0};
    if (!preprocess_plan(cx, &p->p, &p->target, path, rows->width, rows->height, &plan))
        return false;
    if (!plan_keeps(&plan, rows->width, rows->height)) p->resized = true;
    bool gray = rows->channels == 3 && p->p.color == COLOR_GRAY;
    if (!part_open(cx, path, &plan, gray, rows, &part)) return false;
    Canvas v = {.p = &p->p, .target = &p->target, .plan = &plan, .table = &p->table};
    bool ok = resize_bytes(cx, &plan.resize, part.rows.channels, &bytes);
    void *pixels = ok ? malloc(bytes) : NULL;
    if (ok && !pixels) ok = qonnx_fail(cx, NULL, "%s: no memory for the picture", path);
    ok = ok && resize_rows(cx, &part.rows, &plan.resize, pixels) &&
         make_tensor(cx, &v, path, pixels, part.rows.channels, out);
    free(pixels);
    part.rows.close(&part.rows);
    return ok;
}

/* ---- the file -------------------------------------------------------------------------------- */

static const Preprocess *spec_of(const Feed *f)
{
    return f->pictures ? f->pictures : &preprocess_default;
}

bool image_check(qonnx_ctx *cx, const Feed *f, const char *path)
{
    Prepared own, *p = f->prepared ? f->prepared : &own;
    return (p == f->prepared && p->ready) || preprocess_resolve(cx, spec_of(f), f, path, p);
}

bool image_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    (void)row; /* there is one */
    Prepared own, *p = f->prepared && f->prepared->ready ? f->prepared : &own;
    FileMap m;
    bool damaged;
    if (p == &own && !preprocess_resolve(cx, spec_of(f), f, path, p)) return false;
    if (!file_map(cx, path, &m)) return false;
    Rows *rows = picture_open(cx, path, &m, &p->p.decode, &damaged);
    bool ok = rows && preprocess_picture(cx, p, path, rows, out);
    if (rows) rows->close(rows);
    file_unmap(&m);
    return ok;
}

bool image_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    bool damaged = false;
    size_t bytes;
    Rows *r = picture_open(cx, path, m, &(PictureOptions){0}, &damaged);
    if (!r) return damaged;
    uint8_t *row = size_mul(r->width, (size_t)r->channels, &bytes) ? malloc(bytes) : NULL;
    for (size_t y = 0; row && y < r->height && r->next(r, row); y++) {
    }
    damaged = r->damaged;
    free(row);
    r->close(r);
    return damaged;
}
