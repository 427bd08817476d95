/* tests/tool_picture.c - decodes pictures as frontend/data/picture.h gives them, for
 * test_pictures.py.
 *   tool_picture [fast] [noexif] [background=RRGGBB] [keep=N] [stop=N] [most=N] <PICTURES
 * Pictures come on standard input, each behind its length (32 bits, little endian). Each gives a
 * line, "WIDTH HEIGHT CHANNELS ok" and then its rows, or with "damaged" or "refused", and then the
 * message. keep=N takes every N-th row and passes over the others, which are zero then; stop=N
 * closes after that many rows.
 */
#include "frontend/data/picture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the arguments say. */
typedef struct Wish {
    PictureOptions options; /* of decoding */
    size_t keep;            /* every so-many-th row is read */
    size_t stop;            /* rows that are asked for */
    size_t most;            /* pixels */
} Wish;

static bool read_wish(const char *text, Wish *w)
{
    unsigned color;
    if (!strcmp(text, "fast")) return w->options.fast_dct = true;
    if (!strcmp(text, "noexif")) return w->options.ignore_exif = true;
    if (sscanf(text, "keep=%zu", &w->keep) == 1) return true;
    if (sscanf(text, "stop=%zu", &w->stop) == 1) return true;
    if (sscanf(text, "most=%zu", &w->most) == 1) return true;
    if (sscanf(text, "background=%6x", &color) != 1) return false;
    for (int c = 0; c < 3; c++) w->options.background[c] = (uint8_t)(color >> (16 - 8 * c));
    return w->options.composite = true;
}

static bool read_rows(Rows *r, const Wish *w, uint8_t *pixels)
{
    size_t bytes = r->width * (size_t)r->channels;
    for (size_t y = 0; y < r->height && y < w->stop; y++)
        if (!r->next(r, y % w->keep ? NULL : pixels + y * bytes)) return false;
    return true;
}

static void decode(const uint8_t *data, size_t size, const Wish *w)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap file = {data, size};
    bool damaged;
    Rows *r = picture_open(cx, "picture", &file, &w->options, &damaged);
    if (r && r->width * r->height > w->most) {
        qonnx_fail(cx, NULL, "picture: has more pixels than are asked for");
        r->close(r);
        r = NULL;
    }
    size_t bytes = r ? r->width * r->height * (size_t)r->channels : 0;
    uint8_t *pixels = calloc(bytes + !bytes, 1);
    bool ok = r && pixels && read_rows(r, w, pixels);
    if (ok) printf("%zu %zu %d ok\n", r->width, r->height, r->channels);
    else
        printf("0 0 0 %s\n%s\n", (r ? r->damaged : damaged) ? "damaged" : "refused",
               qonnx_error(cx));
    if (ok) fwrite(pixels, 1, bytes, stdout);
    if (r) r->close(r);
    free(pixels);
    qonnx_ctx_free(cx);
}

int main(int argc, char **argv)
{
    Wish wish = {.keep = 1, .stop = SIZE_MAX, .most = SIZE_MAX};
    for (int i = 1; i < argc; i++)
        if (!read_wish(argv[i], &wish)) return fprintf(stderr, "what is '%s'?\n", argv[i]), 2;
    uint8_t head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t size = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
        uint8_t *data = malloc(size + !size);
        if (!data || fread(data, 1, size, stdin) != size) return 2;
        decode(data, size, &wish);
        free(data);
    }
    return 0;
}
