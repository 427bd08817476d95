/* frontend/data/picture.c - opens pictures: finds out the form, and gives the rows as they are to
 * be seen, turned and without alpha.
 */
#include "frontend/data/format.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "ir/arena.h"
#include "ir/size.h"

/* No larger picture is decoded: Pillow's limit. */
#define PIXELS_MAX 178956970u

static const Format *const formats[] = {&format_jpeg, &format_png, &format_webp, &format_bmp,
                                        &format_pnm};
enum { NFORMATS = sizeof formats / sizeof *formats };

/* ---- forms by name and by contents ----------------------------------------------------------- */

bool picture_named(const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t n = dot ? strlen(dot) : 0;
    for (size_t i = 0; n > 1 && i < NFORMATS; i++)
        for (const char *e = formats[i]->extensions; *e; e += strcspn(e, " "), e += *e == ' ')
            if (strcspn(e, " ") == n && !strncasecmp(e, dot, n)) return true;
    return false;
}

const char *picture_extensions(void)
{
    static _Thread_local char text[128];
    size_t n = 0;
    for (size_t i = 0; i < NFORMATS; i++)
        for (const char *e = formats[i]->extensions; *e && n < sizeof text; e++)
            if (*e != ' ')
                n += (size_t)snprintf(text + n, sizeof text - n, "%s%c", *e == '.' && n ? ", " : "",
                                      *e);
    return text;
}

static const Format *format_of(const FileMap *file)
{
    for (size_t i = 0; i < NFORMATS; i++) {
        const Format *f = formats[i];
        size_t n = 0;
        if (file->bytes < f->nmagic) continue;
        while (n < f->nmagic && (f->magic[n] == '?' || (uint8_t)f->magic[n] == file->data[n])) n++;
        if (n == f->nmagic) return f;
    }
    return NULL;
}

/* ---- for decoders ---------------------------------------------------------------------------- */

/* Fails: "PATH: BEFORE FORMAT AFTER: WHY". */
static void fail(const Decoder *d, const char *before, const char *after, const char *why,
                 va_list args)
{
    char text[256];
    vsnprintf(text, sizeof text, why, args);
    qonnx_fail(d->cx, NULL, "%s: %s%s%s: %s", d->path, before, d->format->name, after, text);
}

bool decoder_damaged(Decoder *d, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    d->rows.damaged = true;
    fail(d, "damaged ", "", why, args);
    va_end(args);
    return false;
}

bool decoder_refuse(Decoder *d, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    fail(d, "", " of a kind that is not read", why, args);
    va_end(args);
    return false;
}

bool decoder_size(Decoder *d, uint64_t width, uint64_t height, int channels)
{
    if (!width || !height) return decoder_damaged(d, "the picture has no pixels");
    if (height > PIXELS_MAX / width)
        return qonnx_fail(d->cx, NULL, "%s: picture is %llux%llu; more than %u pixels are not read",
                          d->path, (unsigned long long)width, (unsigned long long)height,
                          PIXELS_MAX);
    d->width = (size_t)width;
    d->height = (size_t)height;
    d->channels = channels;
    return true;
}

/* ---- alpha ----------------------------------------------------------------------------------- */

/* n pixels on the background, rounded as Pillow's paste with a mask does. */
static void composite(const Decoder *d, const uint8_t *from, ptrdiff_t across, uint8_t *to)
{
    int channels = d->channels;
    for (size_t i = 0; i < d->rows.width; i++, from += across, to += 3) {
        uint32_t alpha = from[channels - 1];
        for (int c = 0; c < 3; c++) {
            uint32_t v = from[channels == 4 ? c : 0];
            v = v * alpha + d->options.background[c] * (255 - alpha) + 128;
            to[c] = (uint8_t)((v + (v >> 8)) >> 8);
        }
    }
}

static bool has_alpha(const Decoder *d) { return d->channels % 2 == 0; }

/* ---- rows one after the other ---------------------------------------------------------------- */

static bool next_row(Rows *r, uint8_t *row)
{
    Decoder *d = (Decoder *)r;
    if (!row || !has_alpha(d)) return d->row(d, row);
    if (!d->alpha) d->alpha = xmalloc_array(d->width, (size_t)d->channels);
    if (!d->row(d, d->alpha)) return false;
    composite(d, d->alpha, d->channels, row);
    return true;
}

/* ---- pictures in memory ---------------------------------------------------------------------- */

static bool decode_whole(Decoder *d)
{
    size_t bytes = d->width * d->height * (size_t)d->channels; /* decoder_size has checked it */
    if (!(d->pixels = malloc(bytes)))
        return qonnx_fail(d->cx, NULL, "%s: no memory for the picture", d->path);
    if (d->whole) return d->whole(d, d->pixels);
    for (size_t y = 0; y < d->height; y++)
        if (!d->row(d, d->pixels + y * d->width * (size_t)d->channels)) return false;
    return true;
}

/* Sets where the first row begins, and which way it goes. */
static void set_out(Decoder *d)
{
    static const struct {
        bool turned;      /* rows are the stored columns */
        bool last_column; /* the first pixel is in the last stored column */
        bool last_line;   /* it is in the last stored row */
    } ways[] = {[1] = {0, 0, 0}, [2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1},
                [5] = {1, 0, 0}, [6] = {1, 0, 1}, [7] = {1, 1, 1}, [8] = {1, 1, 0}};
    ptrdiff_t pixel = d->channels, line = (ptrdiff_t)d->width * pixel;
    d->at = d->pixels;
    if (ways[d->orientation].last_column) d->at += line - pixel, pixel = -pixel;
    if (ways[d->orientation].last_line) d->at += line * (ptrdiff_t)(d->height - 1), line = -line;
    d->across = ways[d->orientation].turned ? line : pixel;
    d->down = ways[d->orientation].turned ? pixel : line;
}

static void copy(const Decoder *d, uint8_t *to)
{
    size_t width = d->rows.width, channels = (size_t)d->channels;
    const uint8_t *from = d->at;
    if (d->across == (ptrdiff_t)channels) {
        memcpy(to, from, width * channels);
        return;
    }
    for (size_t i = 0; i < width; i++, from += d->across, to += channels)
        memcpy(to, from, channels);
}

static bool next_of_whole(Rows *r, uint8_t *row)
{
    Decoder *d = (Decoder *)r;
    if (!d->pixels) {
        if (!decode_whole(d)) return false;
        set_out(d);
    }
    if (row && has_alpha(d)) composite(d, d->at, d->across, row);
    else if (row) copy(d, row);
    d->at += d->down;
    return true;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void close_decoder(Rows *r)
{
    Decoder *d = (Decoder *)r;
    if (d->format->close) d->format->close(d);
    free(d->alpha);
    free(d->pixels);
    free(d);
}

static int orientation_of(const Decoder *d)
{
    Notes notes = {.exif = {0}};
    if (d->options.ignore_exif || !d->format->notes) return 1;
    d->format->notes(d->file, &notes);
    return notes_orientation(&notes);
}

Rows *picture_open(qonnx_ctx *cx, const char *path, const FileMap *file, const PictureOptions *o,
                   bool *damaged)
{
    const Format *f = format_of(file);
    *damaged = !f;
    if (!f) {
        qonnx_fail(cx, NULL, "%s: is no picture that is read (%s), whatever its name says", path,
                   picture_extensions());
        return NULL;
    }
    Decoder *d = xcalloc(1, f->bytes);
    *d = (Decoder){.cx = cx, .path = path, .format = f, .file = file, .options = *o};
    d->rows.close = close_decoder;
    if (!f->open(d)) {
        *damaged = d->rows.damaged;
        close_decoder(&d->rows);
        return NULL;
    }
    d->orientation = orientation_of(d);
    bool turned = d->orientation > 4;
    d->rows.width = turned ? d->height : d->width;
    d->rows.height = turned ? d->width : d->height;
    d->rows.channels = has_alpha(d) ? 3 : d->channels;
    d->rows.next = d->row && d->orientation == 1 ? next_row : next_of_whole;
    return &d->rows;
}
