/* tests/fuzz/picture.c - pictures of every form, found by their contents: as samples, and their
 * rows with each of the options.
 */
#include "frontend/data/data.h"
#include "frontend/data/picture.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

/* Larger pictures would take the time of many small ones. */
enum { PIXELS_MOST = 1 << 18 };

/* Returns whether the picture is a small one, or none. */
static bool read_rows(const uint8_t *data, size_t size, const PictureOptions *o, size_t keep)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap file = {data, size};
    bool damaged;
    Rows *r = picture_open(cx, "picture", &file, o, &damaged);
    bool small = !r || r->width * r->height <= PIXELS_MOST;
    if (r && small) {
        uint8_t *row = malloc(r->width * (size_t)r->channels);
        for (size_t y = 0; y < r->height; y++)
            if (!r->next(r, y % keep ? NULL : row)) break;
        free(row);
    }
    if (r) r->close(r);
    qonnx_ctx_free(cx);
    return small;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    const Feed feeds[] = {
        {.name = (char[]){"x"}, .dtype = QONNX_FLOAT, .rank = 4, .dims = {1, 3, 8, 8}},
        {.name = (char[]){"x"}, .dtype = QONNX_UINT8, .rank = 4, .dims = {-1, 1, 8, 8}},
    };
    bool small = read_rows(data, size, &(PictureOptions){0}, 1);
    for (size_t i = 0; i < (small ? sizeof feeds / sizeof *feeds : 1); i++) {
        qonnx_ctx *cx = qonnx_ctx_new();
        qonnx_tensor t = {0};
        if (image_check(cx, &feeds[i], path) && image_read(cx, &feeds[i], path, 0, &t))
            qonnx_sample_free(&t, 1);
        qonnx_ctx_free(cx);
    }
    read_rows(data, size, &(PictureOptions){.fast_dct = true, .ignore_exif = true}, 3);
    read_rows(data, size, &(PictureOptions){.composite = true, .background = {1, 2, 3}}, 2);
    return 0;
}
