/* frontend/data/png.c - PNG files by libpng. Palettes and gray of less than 8 bits are expanded; of
 * 16 bits gray is scaled, of colours the upper 8 are kept, as Pillow does it; gamma is not applied.
 */
#include "frontend/data/format.h"
#include <string.h>
#include <png.h>

/* The library's state; outlives the jump out of it. */
typedef struct Png {
    Decoder d;       /* first */
    png_structp png; /* its error and io pointers point back to this */
    png_infop info;  /* the header */
    size_t at;       /* bytes of the file that have been read */
    size_t y;        /* rows that have been read */
} Png;

static void on_error(png_structp png, png_const_charp text)
{
    Png *p = png_get_error_ptr(png);
    if (strcasestr(text, "out of memory") || strcasestr(text, "insufficient memory"))
        qonnx_out_of_memory(); /* not damaged: it must not be left out of the samples */
    decoder_damaged(&p->d, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep data, size_t bytes)
{
    Png *p = png_get_io_ptr(png);
    if (bytes > p->d.file->bytes - p->at) png_error(png, "the file is cut short");
    memcpy(data, p->d.file->data + p->at, bytes);
    p->at += bytes;
}

static bool read_row(Decoder *d, uint8_t *row)
{
    Png *p = (Png *)d;
    if (setjmp(png_jmpbuf(p->png))) return false;
    png_read_row(p->png, row, NULL);
    if (++p->y == d->height) png_read_end(p->png, NULL);
    return true;
}

/* The seven passes of an interlaced picture. */
static bool read_whole(Decoder *d, uint8_t *pixels)
{
    Png *p = (Png *)d;
    if (setjmp(png_jmpbuf(p->png))) return false;
    size_t stride = d->width * (size_t)d->channels;
    memset(pixels, 0, stride * d->height);
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++)
        for (size_t y = 0; y < d->height; y++) png_read_row(p->png, pixels + y * stride, NULL);
    png_read_end(p->png, NULL);
    return true;
}

/* Asks for 8 bits a channel, and alpha only where it is composited. */
static void set_transformations(Png *p)
{
    int type = png_get_color_type(p->png, p->info);
    png_set_expand(p->png);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_scale_16(p->png);
    else png_set_strip_16(p->png);
    if (!p->d.options.composite) png_set_strip_alpha(p->png);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
}

static bool open_png(Decoder *d)
{
    Png *p = (Png *)d;
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info) return qonnx_fail(d->cx, NULL, "%s: libpng cannot be used here", d->path);
    if (setjmp(png_jmpbuf(p->png))) return false;
    png_set_read_fn(p->png, p, on_read);
    png_set_user_limits(p->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* decoder_size has its own */
    png_read_info(p->png, p->info);
    size_t width = png_get_image_width(p->png, p->info);
    size_t height = png_get_image_height(p->png, p->info);
    if (!decoder_size(d, width, height, 1)) return false;
    set_transformations(p);
    d->channels = png_get_channels(p->png, p->info);
    if (png_get_interlace_type(p->png, p->info) == PNG_INTERLACE_ADAM7) d->whole = read_whole;
    else d->row = read_row;
    return true;
}

static void close_png(Decoder *d)
{
    Png *p = (Png *)d;
    png_destroy_read_struct(&p->png, &p->info, NULL);
}

/* The text of a chunk iTXt with XMP: behind the keyword two bytes, the first of which is 0 where
 * nothing is compressed, and two texts. */
static bool xmp_text(const uint8_t *data, size_t bytes, FileMap *out)
{
    static const char key[] = "XML:com.adobe.xmp"; /* and a NUL */
    const uint8_t *at = data + sizeof key + 2, *end = data + bytes;
    if (bytes < sizeof key + 2 || memcmp(data, key, sizeof key) != 0 || at[-2]) return false;
    for (int i = 0; i < 2 && at; i++) {
        at = memchr(at, 0, (size_t)(end - at));
        if (at) at++;
    }
    if (at) *out = (FileMap){at, (size_t)(end - at)};
    return at;
}

/* The chunk eXIf, and the last iTXt with XMP; they may stand anywhere. */
static void find_notes(const FileMap *file, Notes *out)
{
    size_t at = 8;
    while (file->bytes - at >= 12) {
        const uint8_t *p = file->data + at;
        size_t length = png_get_uint_32(p);
        if (length > file->bytes - at - 12) return;
        if (!out->exif.bytes && !memcmp(p + 4, "eXIf", 4)) out->exif = (FileMap){p + 8, length};
        if (!memcmp(p + 4, "iTXt", 4)) xmp_text(p + 8, length, &out->xmp);
        at += length + 12;
    }
}

const Format format_png = {.name = "PNG",
                           .extensions = ".png",
                           .magic = "\x89PNG\r\n\x1a\n",
                           .nmagic = 8,
                           .bytes = sizeof(Png),
                           .open = open_png,
                           .close = close_png,
                           .notes = find_notes};
