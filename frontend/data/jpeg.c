/* frontend/data/jpeg.c - JPEG files by libjpeg-turbo: accurate integer DCT and smooth upsampling,
 * its defaults, so that the pixels are those of other programs on the same library. CMYK becomes
 * RGB as in Pillow. Damaged files are refused.
 */
#include "frontend/data/format.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>
#include "ir/arena.h"

/* More scans than any real progressive file has: each costs time, whatever its size. */
enum { SCANS_MAX = 500 };

/* The library's state; outlives the jump out of it. */
typedef struct Jpeg {
    Decoder d;                          /* first */
    struct jpeg_decompress_struct jpeg; /* client_data points back to this */
    struct jpeg_error_mgr errors;       /* with on_error and on_message */
    struct jpeg_progress_mgr progress;  /* with on_progress */
    jmp_buf out;                        /* where errors go */
    bool started;                       /* rows have been asked for */
    size_t passed;                      /* rows that are to be passed over before the next */
    uint8_t *cmyk;                      /* a row of four channels; NULL: not needed */
} Jpeg;

/* Whether the file is a JPEG, but of a kind that the library does not decode. */
static bool is_other_kind(int code)
{
    return code == JERR_SOF_UNSUPPORTED || code == JERR_BAD_PRECISION ||
           code == JERR_ARITH_NOTIMPL || code == JERR_CONVERSION_NOTIMPL;
}

static void on_error(j_common_ptr jpeg)
{
    Jpeg *j = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        qonnx_out_of_memory(); /* not damaged: it must not be left out of the samples */
    jpeg->err->format_message(jpeg, text);
    if (is_other_kind(jpeg->err->msg_code)) decoder_refuse(&j->d, "%s", text);
    else decoder_damaged(&j->d, "%s", text);
    longjmp(j->out, 1);
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
    Jpeg *j = jpeg->client_data;
    if (((j_decompress_ptr)jpeg)->input_scan_number <= SCANS_MAX) return;
    qonnx_fail(j->d.cx, NULL, "%s: JPEG with more than %d scans", j->d.path, SCANS_MAX);
    longjmp(j->out, 1);
}

/* Four channels, inverted as Adobe's programs write them, whatever the file says of it. */
static void from_cmyk(const uint8_t *cmyk, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++, cmyk += 4, rgb += 3) {
        int light = cmyk[3];
        for (int c = 0; c < 3; c++) {
            int ink = (255 - cmyk[c]) * light + 128;
            rgb[c] = (uint8_t)(light - ((ink + (ink >> 8)) >> 8));
        }
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

typedef struct Segment {
    int marker;          /* its second byte */
    const uint8_t *data; /* behind the length */
    size_t bytes;        /* of it */
} Segment;

/* The next segment that has a length, from *p on, which moves behind it; false: there is none, or
 * the picture ends. */
static bool next_segment(const FileMap *file, const uint8_t **p, Segment *s)
{
    const uint8_t *end = file->data + file->bytes;
    while (end - *p >= 4) {
        int marker = (*p)[1];
        if (**p != 0xff || marker == 0xff || marker == 0) { /* filling, or stray bytes */
            ++*p;
            continue;
        }
        if (marker == 0xd9) return false; /* the end */
        *p += 2;
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue; /* have no length */
        ptrdiff_t length = (*p)[0] << 8 | (*p)[1];
        if (length < 2 || length > end - *p) return false;
        *s = (Segment){marker, *p + 2, (size_t)length - 2};
        *p += length;
        return true;
    }
    return false;
}

/* Whether an end stands behind the start of the first scan: where a file was cut short there is
 * none, and nobody would notice if the last rows are not asked for. Other bytes may follow it; in a
 * scan its own cannot be. */
static bool has_end(const FileMap *file)
{
    Segment s = {.marker = 0};
    const uint8_t *p = file->data + 2, *at = file->data + file->bytes;
    while (s.marker != 0xda)
        if (!next_segment(file, &p, &s)) return false;
    while ((at = memrchr(p, 0xd9, (size_t)(at - p))))
        if (at > p && at[-1] == 0xff) return true;
    return false;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static bool read_row(Decoder *d, uint8_t *row)
{
    Jpeg *j = (Jpeg *)d;
    if (!row) return j->passed++, true;
    if (setjmp(j->out)) return false;
    if (!j->started) jpeg_start_decompress(&j->jpeg);
    j->started = true;
    if (j->passed) jpeg_skip_scanlines(&j->jpeg, (JDIMENSION)j->passed);
    j->passed = 0;
    JSAMPROW to = j->cmyk ? j->cmyk : row;
    jpeg_read_scanlines(&j->jpeg, &to, 1);
    if (j->cmyk) from_cmyk(j->cmyk, d->width, row);
    if (j->jpeg.output_scanline == j->jpeg.output_height) jpeg_finish_decompress(&j->jpeg);
    return true;
}

static bool open_jpeg(Decoder *d)
{
    Jpeg *j = (Jpeg *)d;
    j->jpeg.client_data = j;
    j->jpeg.err = jpeg_std_error(&j->errors);
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    j->progress.progress_monitor = on_progress;
    if (setjmp(j->out)) return false;
    jpeg_create_decompress(&j->jpeg);
    j->jpeg.progress = &j->progress;
    jpeg_mem_src(&j->jpeg, d->file->data, d->file->bytes);
    jpeg_read_header(&j->jpeg, TRUE);
    int channels = j->jpeg.num_components;
    if (channels != 1 && channels != 3 && channels != 4)
        return decoder_refuse(d, "%d channels", channels);
    if (!decoder_size(d, j->jpeg.image_width, j->jpeg.image_height, channels == 1 ? 1 : 3))
        return false;
    if (!has_end(d->file)) return decoder_damaged(d, "the file ends before the picture does");
    j->jpeg.out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    j->jpeg.dct_method = d->options.fast_dct ? JDCT_IFAST : JDCT_ISLOW;
    if (channels == 4) j->cmyk = xmalloc_array(d->width, 4);
    d->row = read_row;
    return true;
}

static void close_jpeg(Decoder *d)
{
    Jpeg *j = (Jpeg *)d;
    jpeg_destroy_decompress(&j->jpeg);
    free(j->cmyk);
}

/* The first APP1 segment with EXIF data, and the last with XMP, in front of the first scan. */
static void find_notes(const FileMap *file, Notes *out)
{
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/"; /* and a NUL */
    const uint8_t *p = file->data + 2;
    for (Segment s; next_segment(file, &p, &s) && s.marker != 0xda;) {
        if (s.marker != 0xe1) continue;
        if (!out->exif.bytes && s.bytes >= 6 && !memcmp(s.data, "Exif\0\0", 6))
            out->exif = (FileMap){s.data, s.bytes};
        if (s.bytes >= sizeof xmp && !memcmp(s.data, xmp, sizeof xmp))
            out->xmp = (FileMap){s.data + sizeof xmp, s.bytes - sizeof xmp};
    }
}

const Format format_jpeg = {.name = "JPEG",
                            .extensions = ".jpg .jpeg",
                            .magic = "\xff\xd8\xff",
                            .nmagic = 3,
                            .bytes = sizeof(Jpeg),
                            .open = open_jpeg,
                            .close = close_jpeg,
                            .notes = find_notes};
