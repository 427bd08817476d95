/* frontend/data/jpeg.c - JPEG files by libjpeg: accurate integer DCT and smooth upsampling, its
 * defaults, so that the pixels are those of other programs on the same library. Orientation tags
 * are not applied. CMYK files are refused, damaged ones too.
 */
#include "frontend/data/data.h"
#include "ir/size.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
#include <jerror.h>

/* More scans than any real progressive file has: each costs time, whatever its size. */
enum { SCANS_MAX = 500 };

/* The library's state; outlives the jump out of it. */
typedef struct Decoder {
    struct jpeg_decompress_struct jpeg; /* client_data points back to this */
    struct jpeg_error_mgr errors;       /* with on_error and on_message */
    struct jpeg_progress_mgr progress;  /* with on_progress */
    jmp_buf out;                        /* where errors go */
    qonnx_ctx *cx;                      /* takes the message */
    const char *path;                   /* for messages */
    bool damaged;                       /* an error was met */
} Decoder;

static void on_error(j_common_ptr jpeg)
{
    Decoder *d = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        qonnx_out_of_memory(); /* not damaged: it must not be left out of the samples */
    jpeg->err->format_message(jpeg, text);
    d->damaged = true;
    qonnx_fail(d->cx, NULL, "%s: damaged JPEG: %s", d->path, text);
    longjmp(d->out, 1);
}

/* Warnings about missing or wrong pixels are errors; the rest (stray bytes, odd markers) is not
 * worth a word. */
static void on_message(j_common_ptr jpeg, int level)
{
    int code = jpeg->err->msg_code;
    if (level < 0 &&
        (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE))
        on_error(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
    Decoder *d = jpeg->client_data;
    if (((j_decompress_ptr)jpeg)->input_scan_number <= SCANS_MAX) return;
    qonnx_fail(d->cx, NULL, "%s: JPEG with more than %d scans", d->path, SCANS_MAX);
    longjmp(d->out, 1);
}

/* The header, and memory for the pixels. */
static bool read_header(Decoder *d, PictureCheck *check, void *user, Picture *out)
{
    struct jpeg_decompress_struct *j = &d->jpeg;
    size_t bytes;
    jpeg_read_header(j, TRUE);
    if (j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK)
        return qonnx_fail(d->cx, NULL, "%s: CMYK JPEG; convert it to RGB first", d->path);
    if (!check(d->cx, user, d->path, j->image_width, j->image_height)) return false;
    j->out_color_space = j->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    j->dct_method = JDCT_ISLOW;
    out->channels = j->out_color_space == JCS_GRAYSCALE ? 1 : 3;
    out->width = j->image_width;
    out->height = j->image_height;
    if (!size_mul(out->width, out->height, &bytes) ||
        !size_mul(bytes, (size_t)out->channels, &bytes) || !(out->pixels = malloc(bytes)))
        return qonnx_fail(d->cx, NULL, "%s: no memory for the picture", d->path);
    return true;
}

static bool decode(Decoder *d, const FileMap *file, PictureCheck *check, void *user, Picture *out)
{
    if (setjmp(d->out)) return false;
    jpeg_create_decompress(&d->jpeg);
    d->jpeg.progress = &d->progress;
    jpeg_mem_src(&d->jpeg, file->data, file->bytes);
    if (!read_header(d, check, user, out)) return false;
    jpeg_start_decompress(&d->jpeg);
    size_t stride = out->width * (size_t)out->channels;
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        JSAMPROW row = out->pixels + d->jpeg.output_scanline * stride;
        jpeg_read_scanlines(&d->jpeg, &row, 1);
    }
    jpeg_finish_decompress(&d->jpeg);
    return true;
}

bool jpeg_decode(qonnx_ctx *cx, const char *path, const FileMap *file, PictureCheck *check,
                 void *user, Picture *out)
{
    *out = (Picture){0};
    Decoder d = {.cx = cx, .path = path, .progress = {.progress_monitor = on_progress}};
    d.jpeg.client_data = &d;
    d.jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    bool ok = decode(&d, file, check, user, out);
    jpeg_destroy_decompress(&d.jpeg);
    if (!ok) {
        free(out->pixels);
        out->pixels = NULL;
        out->damaged = d.damaged;
    }
    return ok;
}
