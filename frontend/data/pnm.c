/* frontend/data/pnm.c - PBM, PGM and PPM files, P1 to P6: the first picture in them. Values up to
 * `maxval` are scaled to 255 as Pillow does it, gray above 255 too, which Pillow cuts off.
 */
#include "frontend/data/format.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

typedef struct Pnm {
    Decoder d;           /* first */
    const uint8_t *at;   /* what is to be read next */
    const uint8_t *end;  /* of the file */
    uint32_t maxval;     /* what stands for 255 */
    uint8_t scaled[256]; /* values of one byte, from 0 to 255 */
} Pnm;

/* ---- text ------------------------------------------------------------------------------------ */

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Passes over a comment up to the end of its line, and that, or over one other byte. */
static void pass(Pnm *p)
{
    const uint8_t *line = p->at;
    if (*line == '#')
        while (line < p->end && *line != '\n' && *line != '\r') line++;
    p->at = line < p->end ? line + 1 : p->end;
}

static void pass_spaces(Pnm *p)
{
    while (p->at < p->end && (is_space(*p->at) || *p->at == '#')) pass(p);
}

/* A number, and the one byte (or comment) behind it. */
static bool read_number(Pnm *p, uint32_t *out)
{
    uint64_t v = 0;
    pass_spaces(p);
    if (p->at == p->end) return decoder_damaged(&p->d, "the file is cut short");
    if (!isdigit(*p->at)) return decoder_damaged(&p->d, "no number where one must stand");
    for (; p->at < p->end && isdigit(*p->at); p->at++)
        if ((v = v * 10 + (*p->at - '0')) > UINT32_MAX)
            return decoder_damaged(&p->d, "a number is too large");
    if (p->at < p->end && !is_space(*p->at) && *p->at != '#')
        return decoder_damaged(&p->d, "no number where one must stand");
    if (p->at < p->end) pass(p);
    *out = (uint32_t)v;
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* v of maxval, of 255: the quotient is rounded first, as Pillow does it. */
static uint8_t scale(const Pnm *p, uint32_t v)
{
    double scaled = rint((double)v / p->maxval * 255);
    return (uint8_t)(scaled < 255 ? scaled : 255);
}

/* P1: digits, with or without spaces; 1 is black. */
static bool bits_as_text(Decoder *d, uint8_t *row)
{
    Pnm *p = (Pnm *)d;
    for (size_t x = 0; x < d->width; x++) {
        pass_spaces(p);
        if (p->at == p->end) return decoder_damaged(d, "the file is cut short");
        uint8_t c = *p->at++;
        if (c != '0' && c != '1') return decoder_damaged(d, "a pixel is neither 0 nor 1");
        if (row) row[x] = c == '0' ? 255 : 0;
    }
    return true;
}

static bool values_as_text(Decoder *d, uint8_t *row)
{
    Pnm *p = (Pnm *)d;
    for (size_t i = 0; i < d->width * (size_t)d->channels; i++) {
        uint32_t v;
        if (!read_number(p, &v)) return false;
        if (v > p->maxval) return decoder_damaged(d, "a value is above %u", p->maxval);
        if (row) row[i] = v < 256 && p->maxval < 256 ? p->scaled[v] : scale(p, v);
    }
    return true;
}

static size_t row_bytes(const Decoder *d)
{
    const Pnm *p = (const Pnm *)d;
    if (!p->maxval) return (d->width + 7) / 8;
    return d->width * (size_t)d->channels * (p->maxval > 255 ? 2 : 1);
}

static bool bits(Decoder *d, uint8_t *row)
{
    Pnm *p = (Pnm *)d;
    for (size_t x = 0; row && x < d->width; x++) row[x] = p->at[x / 8] >> (7 - x % 8) & 1 ? 0 : 255;
    p->at += row_bytes(d);
    return true;
}

static bool values(Decoder *d, uint8_t *row)
{
    Pnm *p = (Pnm *)d;
    size_t n = d->width * (size_t)d->channels;
    if (row && p->maxval == 255) memcpy(row, p->at, n);
    else if (row && p->maxval < 256)
        for (size_t i = 0; i < n; i++) row[i] = p->scaled[p->at[i]];
    else if (row)
        for (size_t i = 0; i < n; i++)
            row[i] = scale(p, (uint32_t)(p->at[2 * i] << 8 | p->at[2 * i + 1]));
    p->at += row_bytes(d);
    return true;
}

/* ---- the header ------------------------------------------------------------------------------ */

/* What the digit behind the P says. */
static const struct Kind {
    int channels;                          /* 1: gray, 3: RGB */
    bool text;                             /* numbers, not bytes */
    bool bits;                             /* black and white: there is no maxval */
    bool (*row)(Decoder *d, uint8_t *row); /* decodes one */
} kinds[] = {{1, true, true, bits_as_text},    {1, true, false, values_as_text},
             {3, true, false, values_as_text}, {1, false, true, bits},
             {1, false, false, values},        {3, false, false, values}};

static bool read_maxval(Pnm *p)
{
    if (!read_number(p, &p->maxval)) return false;
    if (p->maxval < 1 || p->maxval > 65535)
        return decoder_damaged(&p->d, "the highest value is %u; 1 to 65535 can be", p->maxval);
    for (uint32_t v = 0; v < 256; v++) p->scaled[v] = scale(p, v);
    return true;
}

static bool open_pnm(Decoder *d)
{
    Pnm *p = (Pnm *)d;
    p->at = d->file->data + 3;
    p->end = d->file->data + d->file->bytes;
    unsigned digit = d->file->data[1] - '1';
    if (digit > 5 || !(is_space(p->at[-1]) || p->at[-1] == '#'))
        return decoder_damaged(d, "it begins with none of P1 to P6");
    p->at--; /* at the space, or at a comment */
    const struct Kind *k = &kinds[digit];
    uint32_t width, height;
    if (!read_number(p, &width) || !read_number(p, &height)) return false;
    if (!k->bits && !read_maxval(p)) return false;
    if (!decoder_size(d, width, height, k->channels)) return false;
    d->row = k->row;
    size_t values = d->width * d->height * (size_t)d->channels;
    size_t least = !k->text ? row_bytes(d) * d->height : k->bits ? values : 2 * values - 1;
    if (least > (size_t)(p->end - p->at)) return decoder_damaged(d, "the file is cut short");
    return true;
}

const Format format_pnm = {.name = "PNM",
                           .extensions = ".ppm .pgm .pbm .pnm",
                           .magic = "P??",
                           .nmagic = 3,
                           .bytes = sizeof(Pnm),
                           .open = open_pnm};
