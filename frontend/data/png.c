/* frontend/data/png.c - PNG files by libpng. Palettes and gray of less than 8 bits are expanded,
 * of 16 bits the upper 8 are kept, alpha is dropped, gamma is not applied.
 */
#include "frontend/data/data.h"
#include "ir/size.h"
#include <stdlib.h>
#include <string.h>
#include <png.h>

/* The library's state; outlives the jump out of it. */
typedef struct Decoder {
    png_structp png;     /* its error and io pointers point back to this */
    png_infop info;      /* the header */
    qonnx_ctx *cx;       /* takes the message */
    const char *path;    /* for messages */
    const FileMap *file; /* what is decoded */
    size_t at;           /* bytes of the file that have been read */
    bool damaged;        /* an error was met */
} Decoder;

static void on_error(png_structp png, png_const_charp text)
{
    Decoder *d = png_get_error_ptr(png);
    if (strcasestr(text, "out of memory") || strcasestr(text, "insufficient memory"))
        qonnx_out_of_memory(); /* not damaged: it must not be left out of the samples */
    qonnx_fail(d->cx, NULL, "%s: damaged PNG: %s", d->path, text);
    d->damaged = true;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep data, size_t bytes)
{
    Decoder *d = png_get_io_ptr(png);
    if (bytes > d->file->bytes - d->at) png_error(png, "the file is cut short");
    memcpy(data, d->file->data + d->at, bytes);
    d->at += bytes;
}

/* The header, the transformations, and memory for the pixels. */
static bool read_header(Decoder *d, PictureCheck *check, void *user, Picture *out)
{
    size_t bytes;
    png_read_info(d->png, d->info);
    out->width = png_get_image_width(d->png, d->info);
    out->height = png_get_image_height(d->png, d->info);
    if (!check(d->cx, user, d->path, out->width, out->height)) return false;
    png_set_expand(d->png);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    out->channels = png_get_channels(d->png, d->info);
    if (!size_mul(out->width, (size_t)out->channels, &bytes) ||
        bytes != png_get_rowbytes(d->png, d->info) || !size_mul(bytes, out->height, &bytes) ||
        !(out->pixels = malloc(bytes)))
        return qonnx_fail(d->cx, NULL, "%s: no memory for the picture", d->path);
    return true;
}

static bool decode(Decoder *d, PictureCheck *check, void *user, Picture *out)
{
    if (setjmp(png_jmpbuf(d->png))) return false;
    png_set_read_fn(d->png, d, on_read);
    if (!read_header(d, check, user, out)) return false;
    int passes = png_get_interlace_type(d->png, d->info) == PNG_INTERLACE_ADAM7 ? 7 : 1;
    size_t stride = out->width * (size_t)out->channels;
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < out->height; y++)
            png_read_row(d->png, out->pixels + y * stride, NULL);
    png_read_end(d->png, NULL);
    return true;
}

bool png_decode(qonnx_ctx *cx, const char *path, const FileMap *file, PictureCheck *check,
                void *user, Picture *out)
{
    *out = (Picture){0};
    Decoder d = {.cx = cx, .path = path, .file = file};
    d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    bool ok = d.info ? decode(&d, check, user, out)
                     : qonnx_fail(cx, NULL, "%s: libpng cannot be used here", path);
    png_destroy_read_struct(&d.png, &d.info, NULL);
    if (!ok) {
        free(out->pixels);
        out->pixels = NULL;
        out->damaged = d.damaged;
    }
    return ok;
}
