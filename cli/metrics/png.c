/* cli/metrics/png.c - label maps in PNG files: the numbers that are stored, not their colours. */
#include "labels.h"
#include "cli/progress.h"
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PIXELS = 1 << 28 };

/* What the decoder is given, and owns. */
typedef struct Map {
    png_structp png;
    png_infop info;
    char why[128];   /* what libpng says */
    uint8_t *pixels; /* [height, width] of `bytes` each */
    png_bytep *rows; /* [height] */
    png_uint_32 width, height;
    size_t bytes; /* of a pixel */
} Map;

static void on_error(png_structp png, png_const_charp text)
{
    Map *m = png_get_error_ptr(png);
    snprintf(m->why, sizeof m->why, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

/* Decodes the file. False: `why` says what is wrong. */
static bool decode(Map *m, FILE *f)
{
    m->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, m, on_error, on_warning);
    m->info = m->png ? png_create_info_struct(m->png) : NULL;
    if (!m->info) qonnx_out_of_memory();
    if (setjmp(png_jmpbuf(m->png))) return false;
    png_init_io(m->png, f);
    png_read_info(m->png, m->info);
    m->width = png_get_image_width(m->png, m->info);
    m->height = png_get_image_height(m->png, m->info);
    int color = png_get_color_type(m->png, m->info), depth = png_get_bit_depth(m->png, m->info);
    if (color != PNG_COLOR_TYPE_GRAY && color != PNG_COLOR_TYPE_PALETTE)
        png_error(m->png, "has colours; want numbers of classes: gray, or indices of a palette");
    if ((uint64_t)m->width * m->height > MOST_PIXELS) png_error(m->png, "more than 2^28 pixels");
    if (depth < 8) png_set_packing(m->png);
    if (depth == 16) png_set_swap(m->png); /* little endian */
    png_set_interlace_handling(m->png);
    png_read_update_info(m->png, m->info);
    m->bytes = depth == 16 ? 2 : 1;
    m->pixels = needed(calloc((size_t)m->width * m->height, m->bytes));
    m->rows = needed(calloc(m->height, sizeof *m->rows));
    for (png_uint_32 y = 0; y < m->height; y++) m->rows[y] = m->pixels + y * m->bytes * m->width;
    png_read_image(m->png, m->rows);
    return true;
}

bool png_ids(qonnx_ctx *cx, const char *path, qonnx_tensor *out)
{
    FILE *f = fopen(path, "re");
    if (!f) return qonnx_fail(cx, NULL, "%s: cannot be read: %s", path, strerror(errno));
    Map *m = needed(calloc(1, sizeof *m));
    bool good = decode(m, f) || qonnx_fail(cx, NULL, "%s: as a label map: %s", path, m->why);
    if (good)
        *out = (qonnx_tensor){.dtype = m->bytes == 2 ? QONNX_UINT16 : QONNX_UINT8,
                              .rank = 2,
                              .dims = {m->height, m->width},
                              .data = m->pixels,
                              .bytes = (size_t)m->width * m->height * m->bytes};
    else free(m->pixels);
    png_destroy_read_struct(&m->png, &m->info, NULL);
    free(m->rows);
    free(m);
    fclose(f);
    return good;
}
