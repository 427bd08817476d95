/* cli/page.c - see page.h. */
#include "page.h"
#include "progress.h"
#include "tensor.h"
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ------------------------------------------------------------------------------------ */

/* Whether a character, of three bytes, turns the direction of what follows: U+202A to U+202E, and
 * U+2066 to U+2069. A file's name could look like another one. */
static bool turns_text(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return u[0] == 0xe2 && ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
                            (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9));
}

void page_text(FILE *f, const char *text)
{
    char *tame = needed(strdup(text));
    qonnx_tame(tame);
    for (const char *p = tame; *p; p++) {
        if (turns_text(p)) {
            putc('?', f);
            p += 2;
        } else if (*p == '&') fputs("&amp;", f);
        else if (*p == '<') fputs("&lt;", f);
        else if (*p == '>') fputs("&gt;", f);
        else if (*p == '"') fputs("&quot;", f);
        else if (*p == '\'') fputs("&#39;", f);
        else putc(*p, f);
    }
    free(tame);
}

void page_begin(FILE *f, const char *title, const PageText *style, const PageText *script)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", f);
    fprintf(f,
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src "
            "data:; style-src '%s'",
            page_css.hash);
    if (style) fprintf(f, " '%s'", style->hash);
    if (script) fprintf(f, "; script-src '%s'", script->hash);
    fputs("; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
          f);
    page_text(f, title);
    fprintf(f, "</title>\n<style>%s</style>\n", page_css.text);
    if (style) fprintf(f, "<style>%s</style>\n", style->text);
    fputs("</head>\n<body>\n", f);
}

void page_end(FILE *f, const PageText *script)
{
    if (script) fprintf(f, "<script>%s</script>\n", script->text);
    fputs("</body>\n</html>\n", f);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void put_base64(FILE *f, const uint8_t *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i += 3) {
        size_t n = bytes - i;
        unsigned bits = (unsigned)data[i] << 16 | (n > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                        (n > 2 ? (unsigned)data[i + 2] : 0);
        putc(digits[bits >> 18], f);
        putc(digits[bits >> 12 & 63], f);
        putc(n > 1 ? digits[bits >> 6 & 63] : '=', f);
        putc(n > 2 ? digits[bits & 63] : '=', f);
    }
}

/* The pixels as a PNG file, malloc'd; NULL: they can not be encoded. */
static uint8_t *encode(const qonnx_tensor *pixels, size_t *bytes)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)pixels->dims[1],
                       .height = (png_uint_32)pixels->dims[0],
                       .format = pixels->dims[2] == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *png = needed(malloc(size));
    bool good = png_image_write_to_memory(&image, png, &size, 0, pixels->data, 0, NULL);
    if (!good) complain("a picture can not be encoded: %s", image.message);
    *bytes = size;
    if (good) return png;
    free(png);
    return NULL;
}

bool page_picture(FILE *f, const qonnx_picture *p, const char *caption, const char *more)
{
    enum { SEEN = 192 }; /* pixels that a small one is enlarged to, by a whole number */
    size_t bytes;
    int64_t height = p->pixels.dims[0], width = p->pixels.dims[1];
    int64_t larger = width > height ? width : height, by = larger < SEEN ? SEEN / larger : 1;
    uint8_t *png = encode(&p->pixels, &bytes);
    if (!png) return false;
    fprintf(f, "<figure><img width=\"%lld\" height=\"%lld\" alt=\"", (long long)(width * by),
            (long long)(height * by));
    page_text(f, caption);
    fputs("\" src=\"data:image/png;base64,", f);
    put_base64(f, png, bytes);
    fputs("\">\n<figcaption>", f);
    page_text(f, caption);
    fprintf(f, ", %lldx%lld", (long long)p->width, (long long)p->height);
    if (p->width != width || p->height != height)
        fprintf(f, ", shown at %lldx%lld", (long long)width, (long long)height);
    page_text(f, more);
    fputs("</figcaption></figure>\n", f);
    free(png);
    return true;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

enum { BARS = 64 };

/* The elements of a channel. */
typedef struct Channel {
    const qonnx_tensor *t; /* the tensor */
    int64_t first, step;   /* where its elements are: first, first + step, ... */
    int64_t count;         /* how many */
} Channel;

/* What there is to say of one. */
typedef struct Range {
    double min, max, sum; /* of the finite values */
    int64_t finite;       /* how many there are */
    int64_t bars[BARS];   /* how many in each part from min to max */
} Range;

static double at(const Channel *c, int64_t i) { return element(c->t, c->first + i * c->step); }

static Range range_of(const Channel *c)
{
    Range r = {.min = INFINITY, .max = -INFINITY};
    for (int64_t i = 0; i < c->count; i++) {
        double x = at(c, i);
        if (!isfinite(x)) continue;
        r.finite++;
        r.sum += x;
        if (x < r.min) r.min = x;
        if (x > r.max) r.max = x;
    }
    for (int64_t i = 0; i < c->count; i++) {
        double x = at(c, i), all = r.max / 2 - r.min / 2; /* halves do not overflow */
        if (!isfinite(x)) continue;
        double part = all > 0 ? (x / 2 - r.min / 2) / all : 0;
        r.bars[part < 1 ? (int)(part * BARS) : BARS - 1]++;
    }
    return r;
}

/* Bars as high as the roots of their counts, so that few values show beside many. */
static void put_histogram(FILE *f, const Range *r)
{
    enum { HIGH = 40, WIDE = 4 };
    int64_t most = 1;
    for (int i = 0; i < BARS; i++)
        if (r->bars[i] > most) most = r->bars[i];
    fprintf(f, "<svg role=\"img\" aria-label=\"histogram\" width=\"%d\" height=\"%d\"><path d=\"",
            BARS * WIDE, HIGH);
    for (int i = 0; i < BARS; i++)
        if (r->bars[i])
            fprintf(f, "M%d %dh%dV%.1fh-%dz", i * WIDE, HIGH, WIDE,
                    HIGH - HIGH * sqrt((double)r->bars[i] / (double)most), WIDE);
    fputs("\"/></svg>", f);
}

static void put_row(FILE *f, const char *name, const Channel *c)
{
    Range r = range_of(c);
    fprintf(f, "<tr><th scope=\"row\">%s</th>", name);
    if (r.finite)
        fprintf(f, "<td>%.6g</td><td>%.6g</td><td>%.6g</td><td>", r.min, r.max,
                r.sum / (double)r.finite);
    else fputs("<td>-</td><td>-</td><td>-</td><td>", f);
    if (r.finite) put_histogram(f, &r);
    if (r.finite < c->count)
        fprintf(f, "%lld of %lld values are not finite", (long long)(c->count - r.finite),
                (long long)c->count);
    fputs("</td></tr>\n", f);
}

void page_channels(FILE *f, const qonnx_tensor *t, int axis, bool bgr)
{
    int64_t channels = axis < 0 ? 1 : t->dims[axis], all = qonnx_tensor_elements(t);
    if (!is_number(t->dtype)) {
        fputs("<p>These are no real numbers: there is no range.</p>\n", f);
        return;
    }
    fputs("<table>\n<tr><th scope=\"col\">channel</th><th scope=\"col\">min</th><th "
          "scope=\"col\">max</th><th scope=\"col\">mean</th><th scope=\"col\">from min to max</th>"
          "</tr>\n",
          f);
    for (int64_t k = 0; k < channels; k++) {
        Channel c = {t, axis == 3 ? k : k * (all / channels), axis == 3 ? channels : 1,
                     all / channels};
        char name[2] = {channels == 3 ? (bgr ? "BGR" : "RGB")[k] : 0, 0};
        put_row(f, channels == 3 ? name : axis < 0 ? "all" : "gray", &c);
    }
    fputs("</table>\n", f);
}
