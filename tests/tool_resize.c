/* tests/tool_resize.c - resizes raw pictures for test_picture_resize.py: cases come on standard
 * input, results go to standard output, in the machine's byte order.
 */
#include "frontend/data/resize_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words in front of a picture's pixels. */
enum {
    ENGINE,
    FILTER,
    PORTABLE,
    BLANK,
    CHANNELS,
    SOURCE_WIDTH,
    SOURCE_HEIGHT,
    WIDTH,
    HEIGHT,
    LEFT,
    TOP,
    COLUMNS,
    ROWS,
    WORDS
};

/* A picture in memory. */
typedef struct Raw {
    Rows rows;             /* what reads it */
    const uint8_t *pixels; /* the next row; NULL: all are 0 */
    uint64_t read, passed; /* rows given, and passed over */
} Raw;

static bool next(Rows *rows, uint8_t *row)
{
    Raw *raw = (Raw *)rows;
    size_t bytes = rows->width * (size_t)rows->channels;
    if (raw->read + raw->passed == rows->height) abort(); /* there are no more */
    if (!row) {
        raw->passed++;
    } else {
        raw->read++;
        if (raw->pixels) memcpy(row, raw->pixels, bytes);
        else memset(row, 0, bytes);
    }
    if (raw->pixels) raw->pixels += bytes;
    return true;
}

/* 1, rows read, rows passed over, bytes, and the result; or 0, bytes, and the message. */
static void answer(qonnx_ctx *cx, const uint64_t *words, const uint8_t *pixels)
{
    Raw raw = {.rows = {.width = words[SOURCE_WIDTH],
                        .height = words[SOURCE_HEIGHT],
                        .channels = (int)words[CHANNELS],
                        .next = next},
               .pixels = pixels};
    Resize r = {(ResizeEngine)words[ENGINE],
                (ResizeFilter)words[FILTER],
                words[WIDTH],
                words[HEIGHT],
                words[LEFT],
                words[TOP],
                words[COLUMNS],
                words[ROWS]};
    size_t bytes;
    void *out = resize_bytes(cx, &r, raw.rows.channels, &bytes) ? malloc(bytes) : NULL;
    bool ok = out && (words[PORTABLE] ? resize_rows_by(cx, &raw.rows, &r, &resize_portable, out)
                                      : resize_rows(cx, &raw.rows, &r, out));
    const void *text = ok ? out : qonnx_error(cx);
    uint64_t head[] = {ok, raw.read, raw.passed, ok ? bytes : strlen(text)};
    fwrite(head, sizeof *head, 4, stdout);
    fwrite(text, 1, head[3], stdout);
    free(out);
}

int main(void)
{
    uint64_t words[WORDS];
    while (fread(words, sizeof *words, WORDS, stdin) == WORDS) {
        size_t bytes = words[SOURCE_WIDTH] * words[SOURCE_HEIGHT] * words[CHANNELS];
        uint8_t *pixels = words[BLANK] ? NULL : malloc(bytes);
        if (pixels && fread(pixels, 1, bytes, stdin) != bytes) return 1;
        qonnx_ctx *cx = qonnx_ctx_new();
        answer(cx, words, pixels);
        qonnx_ctx_free(cx);
        free(pixels);
    }
    return fflush(stdout) ? 1 : 0;
}
