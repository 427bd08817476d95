/* frontend/data/bmp.c - BMP files of Windows and OS/2: palettes of 1, 4 and 8 bits, plain or in
 * runs; 16, 24 and 32 bits, whatever masks they have. Rows are taken from the file as they are
 * wanted. Sizes that the header has of the file and the pixels are often wrong, and not used.
 */
#include "frontend/data/format.h"
#include <string.h>

/* How pixels are stored: the header's "compression". */
enum { PLAIN = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

/* Where a channel is in a pixel. */
typedef struct Mask {
    int shift;    /* of its lowest bit */
    uint32_t max; /* its highest value; 0: the pixels have no such channel */
} Mask;

typedef struct Bmp {
    Decoder d;               /* first */
    uint32_t header;         /* bytes of the header behind the first 14, which tells the version */
    uint32_t bits;           /* of a pixel */
    uint32_t compression;    /* PLAIN, ... */
    bool top_down;           /* the first row is the top */
    size_t offset;           /* of the pixels in the file */
    size_t stride;           /* bytes of a stored row */
    size_t y;                /* the next row, from the top */
    Mask masks[4];           /* R, G, B, A */
    uint32_t colors;         /* entries of the palette, at most 2^bits */
    uint8_t palette[256][3]; /* RGB */
} Bmp;

static uint32_t u16(const Decoder *d, size_t at)
{
    return (uint32_t)(d->file->data[at] | d->file->data[at + 1] << 8);
}

static uint32_t u32(const Decoder *d, size_t at) { return u16(d, at) | u16(d, at + 2) << 16; }

/* Whether the file has that many bytes. */
static bool reaches(Decoder *d, size_t bytes)
{
    return bytes <= d->file->bytes || decoder_damaged(d, "the file is cut short");
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* Looks up a pixel of a palette. */
static bool put_color(Bmp *b, uint32_t index, uint8_t *rgb)
{
    if (index >= b->colors)
        return decoder_damaged(&b->d, "a pixel has color %u of a palette of %u", index, b->colors);
    memcpy(rgb, b->palette[index], 3);
    return true;
}

static bool palette_row(Bmp *b, const uint8_t *from, uint8_t *row)
{
    uint32_t mask = (1u << b->bits) - 1;
    for (size_t x = 0; x < b->d.width; x++, row += 3) {
        size_t bit = x * b->bits;
        if (!put_color(b, from[bit / 8] >> (8 - b->bits - bit % 8) & mask, row)) return false;
    }
    return true;
}

/* Pixels whose channels are whole bytes. */
static void bytes_row(const Bmp *b, const uint8_t *from, uint8_t *row)
{
    size_t bytes = b->bits / 8, at[4];
    for (int c = 0; c < 4; c++) at[c] = (size_t)b->masks[c].shift / 8;
    for (size_t x = 0; x < b->d.width; x++, from += bytes)
        for (int c = 0; c < b->d.channels; c++) *row++ = from[at[c]];
}

static void masked_row(const Bmp *b, const uint8_t *from, uint8_t *row)
{
    size_t bytes = b->bits / 8;
    for (size_t x = 0; x < b->d.width; x++, from += bytes) {
        uint32_t pixel = 0;
        for (size_t i = 0; i < bytes; i++) pixel |= (uint32_t)from[i] << 8 * i;
        for (int c = 0; c < b->d.channels; c++) {
            Mask m = b->masks[c];
            *row++ = (uint8_t)((uint64_t)(pixel >> m.shift & m.max) * 255 / m.max);
        }
    }
}

static bool has_whole_bytes(const Bmp *b)
{
    for (int c = 0; c < b->d.channels; c++)
        if (b->masks[c].max != 255 || b->masks[c].shift % 8) return false;
    return true;
}

static bool read_row(Decoder *d, uint8_t *row)
{
    Bmp *b = (Bmp *)d;
    size_t y = b->y++;
    const uint8_t *from = d->file->data + b->offset;
    from += b->stride * (b->top_down ? y : d->height - 1 - y);
    if (row && b->bits <= 8) return palette_row(b, from, row);
    if (row && has_whole_bytes(b)) bytes_row(b, from, row);
    else if (row) masked_row(b, from, row);
    return true;
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* Where a run goes. */
typedef struct Pen {
    Bmp *b;          /* the picture */
    uint8_t *pixels; /* all of it */
    size_t x, y;     /* of the next pixel, in stored rows */
} Pen;

/* Draws n pixels, whose values stand at `from`: 8 or 4 bits each. Of a run (`literal` is false) the
 * first byte holds for all. What is beyond the end of the row is dropped. */
static bool draw(Pen *pen, const uint8_t *from, size_t n, bool literal)
{
    Bmp *b = pen->b;
    size_t width = b->d.width, y = b->top_down ? pen->y : b->d.height - 1 - pen->y;
    for (size_t i = 0; i < n && pen->x < width; i++, pen->x++) {
        uint32_t v = from[!literal ? 0 : b->bits == 8 ? i : i / 2];
        if (b->bits == 4) v = i % 2 ? v & 15 : v >> 4;
        if (!put_color(b, v, pen->pixels + (y * width + pen->x) * 3)) return false;
    }
    return true;
}

/* Pixels that no run draws have the first color: there may be gaps, and the end may come early. */
static bool read_runs(Decoder *d, uint8_t *pixels)
{
    Bmp *b = (Bmp *)d;
    Pen pen = {.b = b, .pixels = pixels};
    const uint8_t *p = d->file->data + b->offset, *end = d->file->data + d->file->bytes;
    for (size_t x = 0; x < d->width; x++) memcpy(pixels + x * 3, b->palette[0], 3);
    for (size_t y = 1; y < d->height; y++)
        memcpy(pixels + y * d->width * 3, pixels, d->width * 3);
    while (pen.y + (pen.x >= d->width) < d->height) {
        if (end - p < 2) return decoder_damaged(d, "the file is cut short");
        size_t n = p[0], code = p[1], literals = (code * b->bits + 15) / 16 * 2;
        p += 2;
        if (n) { /* a run of the second byte */
            if (!draw(&pen, p - 1, n, false)) return false;
        } else if (code == 0) { /* end of the row */
            pen.x = 0;
            pen.y++;
        } else if (code == 1) { /* end of the picture */
            return true;
        } else if ((size_t)(end - p) < (code == 2 ? 2 : literals)) {
            return decoder_damaged(d, "the file is cut short");
        } else if (code == 2) { /* a step to the right, and down */
            pen.x += p[0];
            pen.y += p[1];
            p += 2;
        } else { /* pixels as they are, filled up to 16 bits */
            if (!draw(&pen, p, code, true)) return false;
            p += literals;
        }
    }
    return true;
}

/* ---- the header ------------------------------------------------------------------------------ */

static bool read_size(Bmp *b)
{
    Decoder *d = &b->d;
    if (b->header == 12) {
        b->bits = u16(d, 24);
        return decoder_size(d, u16(d, 18), u16(d, 20), 3);
    }
    int64_t height = (int32_t)u32(d, 22);
    b->top_down = height < 0;
    b->bits = u16(d, 28);
    b->compression = u32(d, 30);
    b->colors = u32(d, 46);
    return decoder_size(d, u32(d, 18), (uint64_t)(height < 0 ? -height : height), 3);
}

static bool check_kind(Bmp *b)
{
    bool palette = b->bits == 1 || b->bits == 4 || b->bits == 8;
    bool masked = b->bits == 16 || b->bits == 24 || b->bits == 32;
    bool known = b->compression == PLAIN       ? palette || masked
                 : b->compression == RLE8      ? b->bits == 8
                 : b->compression == RLE4      ? b->bits == 4
                 : b->compression == BITFIELDS ? masked && b->header != 64
                                               : false;
    return known || decoder_refuse(&b->d, "%u bits with compression %u", b->bits, b->compression);
}

/* The bits of one channel, which must stand together. */
static bool set_mask(Bmp *b, int channel, uint32_t mask)
{
    uint64_t pixels = (UINT64_C(1) << b->bits) - 1;
    int shift = mask ? __builtin_ctz(mask) : 0;
    uint32_t max = mask >> shift;
    b->masks[channel] = (Mask){shift, max};
    if ((mask || channel == 3) && !(mask & ~pixels) && !(max & (max + 1))) return true;
    return decoder_refuse(&b->d, "the mask of a channel is %#x", mask);
}

/* The masks of pixels without a palette; alpha counts where it is asked for and there. */
static bool read_masks(Bmp *b)
{
    Decoder *d = &b->d;
    uint32_t masks[4] = {0xff0000, 0xff00, 0xff, 0};
    if (b->bits == 16) memcpy(masks, (uint32_t[]){0x7c00, 0x3e0, 0x1f, 0}, sizeof masks);
    if (b->compression == BITFIELDS) {
        size_t n = b->header >= 56 ? 4 : 3;
        uint32_t any = 0, own[4] = {0};
        if (!reaches(d, 54 + n * 4)) return false;
        for (size_t c = 0; c < n; c++) any |= own[c] = u32(d, 54 + c * 4);
        if (any) memcpy(masks, own, sizeof masks);
        else masks[3] = b->bits == 32 ? 0xff000000 : 0;
    }
    for (int c = 0; c < 4; c++)
        if (!set_mask(b, c, masks[c])) return false;
    if (d->options.composite && masks[3]) d->channels = 4;
    return true;
}

/* The palette, which ends where the pixels begin. */
static bool read_palette(Bmp *b)
{
    Decoder *d = &b->d;
    size_t at = 14 + b->header, size = b->header == 12 ? 3 : 4;
    uint32_t most = 1u << b->bits;
    if (!b->colors || b->colors > most) b->colors = most;
    if (!b->offset || b->offset == at) b->offset = at + b->colors * size;
    if (b->offset >= at && (b->offset - at) / size < b->colors)
        b->colors = (uint32_t)((b->offset - at) / size);
    if (!b->colors) return decoder_damaged(d, "there is no palette");
    if (!reaches(d, at + b->colors * size)) return false;
    for (uint32_t i = 0; i < b->colors; i++)
        for (int c = 0; c < 3; c++) b->palette[i][c] = d->file->data[at + i * size + 2 - c];
    return true;
}

static bool open_bmp(Decoder *d)
{
    Bmp *b = (Bmp *)d;
    if (!reaches(d, 26)) return false;
    b->offset = u32(d, 10);
    b->header = u32(d, 14);
    static const uint32_t known[] = {12, 40, 52, 56, 64, 108, 124};
    size_t i = 0, n = sizeof known / sizeof *known;
    while (i < n && b->header != known[i]) i++;
    if (i == n) return decoder_damaged(d, "the header cannot have %u bytes", b->header);
    if (!reaches(d, 14 + b->header) || !read_size(b) || !check_kind(b)) return false;
    size_t end = 14 + b->header + (b->compression == BITFIELDS && b->header == 40 ? 12 : 0);
    if (!(b->bits <= 8 ? read_palette(b) : read_masks(b))) return false;
    if (!b->offset) b->offset = end;
    if (b->offset < end) return decoder_damaged(d, "the pixels begin inside the header");
    size_t bits = d->width * b->bits; /* the size has been checked: far from overflow */
    b->stride = (bits + 31) / 32 * 4;
    if (b->compression == RLE8 || b->compression == RLE4) d->whole = read_runs;
    else d->row = read_row;
    return reaches(d, b->offset + (d->whole ? 0 : b->stride * (d->height - 1) + (bits + 7) / 8));
}

const Format format_bmp = {.name = "BMP",
                           .extensions = ".bmp",
                           .magic = "BM",
                           .nmagic = 2,
                           .bytes = sizeof(Bmp),
                           .open = open_bmp};
