/* frontend/data/image.c - pictures as samples: values 0 to 255, as a float type or uint8, laid out
 * as the input's shape asks. Nothing is resized or normalised; the size must be the input's.
 */
#include "frontend/data/data.h"
#include "frontend/data/picture.h"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include "ir/size.h"

/* A decoded picture: row-major, channels last. */
typedef struct Picture {
    size_t width, height; /* pixels */
    int channels;         /* 1: gray, 3: RGB */
    uint8_t *pixels;      /* [height][width][channels], malloc'd */
    bool damaged;         /* why there are none: the file's contents make no picture */
} Picture;

/* What the input's shape asks for. */
typedef struct Layout {
    const Feed *feed;      /* for messages */
    bool channels_last;    /* [1, H, W, C], else [1, C, H, W] */
    int channels;          /* 1: gray, 3: RGB */
    int64_t height, width; /* -1: any */
} Layout;

/* The layout of the input: its second axis is the channel when that is 1 or 3, else its last. */
static bool layout_of(qonnx_ctx *cx, const Feed *f, const char *path, Layout *out)
{
    char text[SHAPE_TEXT];
    int64_t first = f->rank == 4 ? f->dims[1] : 0, last = f->rank == 4 ? f->dims[3] : 0;
    bool planar = first == 1 || first == 3;
    if (!planar && last != 1 && last != 3)
        return qonnx_fail(cx, NULL,
                          "%s: a picture needs an input of shape [1,C,H,W] or [1,H,W,C] "
                          "with C = 3 or 1, the model's input '%s' is %s; use .npy",
                          path, f->name, shape_text(f->rank, f->dims, text));
    if (f->dtype != QONNX_FLOAT && f->dtype != QONNX_UINT8 && f->dtype != QONNX_FLOAT16 &&
        f->dtype != QONNX_BFLOAT16)
        return qonnx_fail(cx, NULL,
                          "%s: a picture needs an input of a float type or uint8, the "
                          "model's input '%s' has %s; use .npy",
                          path, f->name, qonnx_dtype_name(f->dtype));
    const int64_t *size = f->dims + (planar ? 2 : 1);
    *out = (Layout){f, !planar, (int)(planar ? first : last), size[0], size[1]};
    return true;
}

bool image_check(qonnx_ctx *cx, const Feed *f, const char *path)
{
    Layout l;
    return layout_of(cx, f, path, &l);
}

/* A size as text: "224", or "any". */
static const char *size_text(int64_t n, char text[24])
{
    if (n < 0) return "any";
    snprintf(text, 24, "%lld", (long long)n);
    return text;
}

static bool check_size(qonnx_ctx *cx, const Layout *l, const char *path, const Rows *r)
{
    char w[24], h[24];
    if ((l->width >= 0 && (uint64_t)l->width != r->width) ||
        (l->height >= 0 && (uint64_t)l->height != r->height))
        return qonnx_fail(cx, NULL,
                          "%s: picture is %zux%zu, the model's input '%s' wants %sx%s; "
                          "resize it first",
                          path, r->width, r->height, l->feed->name, size_text(l->width, w),
                          size_text(l->height, h));
    return true;
}

static bool read_rows(qonnx_ctx *cx, const char *path, Rows *r, Picture *out)
{
    size_t bytes;
    if (!size_mul(r->width, r->height, &bytes) || !size_mul(bytes, (size_t)r->channels, &bytes) ||
        !(out->pixels = malloc(bytes)))
        return qonnx_fail(cx, NULL, "%s: no memory for the picture", path);
    for (size_t y = 0; y < r->height; y++) {
        if (r->next(r, out->pixels + y * r->width * (size_t)r->channels)) continue;
        free(out->pixels);
        return false;
    }
    return true;
}

static bool decode(qonnx_ctx *cx, const char *path, const FileMap *m, const Layout *l, Picture *out)
{
    *out = (Picture){0};
    Rows *r = picture_open(cx, path, m, &(PictureOptions){0}, &out->damaged);
    if (!r) return false;
    out->width = r->width;
    out->height = r->height;
    out->channels = r->channels;
    bool ok = check_size(cx, l, path, r) && read_rows(cx, path, r, out);
    out->damaged = r->damaged;
    r->close(r);
    return ok;
}

/* Channel c of a pixel. RGB becomes gray by ITU-R BT.601's luma in 16-bit fixed point, rounded:
 * Pillow's convert("L"). */
static uint8_t channel(const Picture *p, const uint8_t *pixel, int wanted, int c)
{
    if (p->channels == wanted) return pixel[c];
    if (p->channels == 1) return pixel[0];
    return (uint8_t)((pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000u) >> 16);
}

/* Writes the picture as t->dtype in the layout's order. */
static void place(const Picture *p, const Layout *l, qonnx_tensor *t)
{
    size_t pixels = p->width * p->height, channels = (size_t)l->channels;
    size_t size = (size_t)qonnx_dtype_bits(t->dtype) / 8;
    uint8_t *out = (uint8_t *)(uintptr_t)t->data;
    float *f = (float *)(uintptr_t)t->data;
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < pixels; i++) {
            uint8_t v = channel(p, p->pixels + i * (size_t)p->channels, l->channels, (int)c);
            Elements one = {&v, 1, QONNX_UINT8, false};
            size_t at = l->channels_last ? i * channels + c : c * pixels + i;
            if (t->dtype == QONNX_FLOAT) f[at] = v;
            else convert_elements(one, 1, t->dtype, out + at * size);
        }
    }
}

bool image_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    (void)row; /* there is one */
    Layout l = {0};
    FileMap m;
    Picture p;
    if (!layout_of(cx, f, path, &l) || !file_map(cx, path, &m)) return false;
    bool ok = decode(cx, path, &m, &l, &p);
    file_unmap(&m);
    if (!ok) return false;
    Fit fit = {.count = 1, .rank = 4};
    const int64_t planar[] = {1, l.channels, (int64_t)p.height, (int64_t)p.width};
    const int64_t last[] = {1, (int64_t)p.height, (int64_t)p.width, l.channels};
    memcpy(fit.dims, l.channels_last ? last : planar, sizeof planar);
    ok = sample_new(cx, f, path, &fit, out);
    if (ok) place(&p, &l, out);
    free(p.pixels);
    return ok;
}

bool image_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    const Feed any = {.name = (char[]){"x"}};
    Layout l = {.feed = &any, .height = -1, .width = -1};
    Picture p = {0};
    if (decode(cx, path, m, &l, &p)) free(p.pixels);
    return p.damaged;
}
