/* frontend/data/view.c - samples as people look at them: the picture in the file, and what the
 * model sees of it, as 8-bit pixels.
 */
#include "frontend/data/preprocess_apply.h"
#include "ir/ir.h"
#include "ir/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pixels ---------------------------------------------------------------------------------- */

/* The rows of a picture in memory. */
typedef struct Held {
    Rows rows;         /* what it is */
    const uint8_t *at; /* the next one */
} Held;

static bool held_next(Rows *r, uint8_t *row)
{
    Held *h = (Held *)r;
    size_t bytes = r->width * (size_t)r->channels;
    if (row) memcpy(row, h->at, bytes);
    h->at += bytes;
    return true;
}

static void held_close(Rows *r) { (void)r; }

/* A side of a picture whose larger one becomes `most`. */
static size_t shrunk(size_t side, size_t larger, size_t most)
{
    size_t n = larger > most ? (size_t)rint((double)side * (double)most / (double)larger) : side;
    return n ? n : 1;
}

/* The pixels of `rows`, made smaller where a side is longer than `most`. */
static bool take_rows(qonnx_ctx *cx, const char *path, Rows *rows, int most, qonnx_tensor *out)
{
    size_t larger = rows->width > rows->height ? rows->width : rows->height, bytes;
    size_t width = shrunk(rows->width, larger, (size_t)most);
    size_t height = shrunk(rows->height, larger, (size_t)most);
    const Resize r = {.engine = ENGINE_PILLOW,
                      .filter = FILTER_BILINEAR,
                      .width = width,
                      .height = height,
                      .columns = width,
                      .rows = height};
    if (!resize_bytes(cx, &r, rows->channels, &bytes)) return false;
    uint8_t *pixels = malloc(bytes);
    if (!pixels) return qonnx_fail(cx, NULL, "%s: no memory for the picture", path);
    *out = (qonnx_tensor){.dtype = QONNX_UINT8,
                          .rank = 3,
                          .dims = {(int64_t)height, (int64_t)width, rows->channels},
                          .data = pixels,
                          .bytes = bytes};
    if (resize_rows(cx, rows, &r, pixels)) return true;
    qonnx_sample_free(out, 1);
    return false;
}

/* ---- the file -------------------------------------------------------------------------------- */

bool qonnx_dataset_picture(qonnx_ctx *cx, const qonnx_dataset *d, size_t i, int input, int most,
                           qonnx_picture *out)
{
    const char *path = dataset_file(d, i, input);
    FileMap m;
    bool damaged;
    *out = (qonnx_picture){.channel_axis = -1};
    if (!path || !picture_named(path)) return true;
    if (!file_map(cx, path, &m)) return false;
    Rows *rows = picture_open(cx, path, &m, &d->pictures->decode, &damaged);
    if (rows) {
        out->width = (int64_t)rows->width;
        out->height = (int64_t)rows->height;
    }
    bool ok = rows && take_rows(cx, path, rows, most, &out->pixels);
    if (rows) rows->close(rows);
    file_unmap(&m);
    return ok;
}

/* ---- the tensor ------------------------------------------------------------------------------ */

/* How the elements of a tensor become pixels again. */
typedef struct Back {
    const Preprocess *p;   /* NULL: nobody knows what they mean */
    qonnx_dtype dtype;     /* of the tensor */
    double low, high;      /* then: these become 0 and 255 */
} Back;

/* The value that a pixel had in channel c: the arithmetic of a preprocessing, backwards. */
static double value_before(const Back *b, int c, double x)
{
    const Preprocess *p = b->p;
    if (!p) return b->high > b->low ? (x - b->low) / (b->high - b->low) * 255 : 0;
    if ((b->dtype == QONNX_UINT8 || b->dtype == QONNX_INT8) && p->type.scale)
        x = (x - p->type.zero) * p->type.scale;
    if (p->std.count) x *= p->std.value[c];
    if (p->mean.count) x += p->mean.value[c];
    if (p->scale.by) x = p->scale.divides ? x * p->scale.by : x / p->scale.by;
    return x;
}

static uint8_t to_byte(double x) /* NaN becomes 0 */
{
    return !(x > 0) ? 0 : x < 255 ? (uint8_t)rint(x) : 255;
}

static void find_range(const qonnx_tensor *t, Back *b)
{
    b->low = INFINITY;
    b->high = -INFINITY;
    for (int64_t i = 0, n = qonnx_tensor_elements(t); i < n; i++) {
        double x = qonnx_tensor_get(t, i);
        if (isfinite(x) && x < b->low) b->low = x;
        if (isfinite(x) && x > b->high) b->high = x;
    }
}

/* Whether the tensor is a picture: as which. */
static bool is_picture(const Feed *f, const Preprocess *p, const qonnx_tensor *t, Target *out)
{
    Feed feed = *f;
    feed.rank = t->rank;
    memcpy(feed.dims, t->dims, sizeof feed.dims);
    qonnx_ctx *quiet = ctx_quiet();
    bool is = t->rank == 4 && t->dims[0] == 1 && qonnx_dtype_bits(t->dtype) >= 8 &&
              t->dtype != QONNX_COMPLEX64 && t->dtype != QONNX_COMPLEX128 &&
              target_of(quiet, p, &feed, "", out);
    qonnx_ctx_free(quiet);
    return is && out->width > 0 && out->height > 0;
}

/* Writes the tensor's elements as pixels, channels last and in the order RGB. */
static void write_pixels(const qonnx_tensor *t, const Target *target, const Back *b, bool bgr,
                         uint8_t *out)
{
    int64_t channels = target->channels, plane = target->width * target->height;
    for (int64_t i = 0; i < plane; i++)
        for (int64_t c = 0; c < channels; c++) {
            int64_t at = target->channels_last ? i * channels + c : c * plane + i;
            int64_t place = bgr && channels == 3 ? 2 - c : c;
            out[i * channels + place] =
                to_byte(value_before(b, (int)c, qonnx_tensor_get(t, at)));
        }
}

bool qonnx_dataset_seen(qonnx_ctx *cx, const qonnx_dataset *d, size_t i, int input,
                        const qonnx_tensor *sample, int most, qonnx_picture *out)
{
    const char *path = dataset_file(d, i, input);
    const Feed *f = dataset_feed(d, input);
    Target t;
    size_t bytes;
    *out = (qonnx_picture){.channel_axis = -1};
    if (!f || !is_picture(f, d->pictures, sample, &t)) return true;
    bool known = picture_named(path) || d->origin;
    Back back = {.p = known ? d->pictures : NULL, .dtype = sample->dtype};
    if (!known) find_range(sample, &back);
    out->channel_axis = t.channels_last ? 3 : 1;
    out->bgr = t.channels == 3 && d->pictures->color == COLOR_BGR;
    out->stretched = !known;
    out->width = t.width;
    out->height = t.height;
    if (!size_mul((size_t)t.width, (size_t)t.height * (size_t)t.channels, &bytes))
        return qonnx_fail(cx, NULL, "%s: the picture is too large", path);
    uint8_t *pixels = malloc(bytes);
    if (!pixels) return qonnx_fail(cx, NULL, "%s: no memory for the picture", path);
    write_pixels(sample, &t, &back, out->bgr, pixels);
    Held held = {.rows = {.width = (size_t)t.width,
                          .height = (size_t)t.height,
                          .channels = t.channels,
                          .next = held_next,
                          .close = held_close},
                 .at = pixels};
    bool ok = take_rows(cx, path, &held.rows, most, &out->pixels);
    free(pixels);
    return ok;
}
