/* frontend/data/exif.c - the orientation that a file says its picture has, by Pillow's rules: in
 * EXIF data, one pass over the first directory, with every offset checked; where it is not there,
 * in XMP. Nothing else is followed, and whatever is odd means no orientation.
 */
#include "frontend/data/format.h"
#include <string.h>

/* A TIFF structure. */
typedef struct Tiff {
    const uint8_t *data; /* the byte order's mark */
    size_t bytes;        /* its length */
    bool big;            /* big endian */
} Tiff;

/* Unsigned numbers at an offset that has been checked. */
static uint32_t u16(const Tiff *t, size_t at)
{
    const uint8_t *p = t->data + at;
    return t->big ? p[0] << 8 | p[1] : p[1] << 8 | p[0];
}

static uint32_t u32(const Tiff *t, size_t at)
{
    uint32_t a = u16(t, at), b = u16(t, at + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

static bool tiff_open(const FileMap *exif, Tiff *t)
{
    *t = (Tiff){exif->data, exif->bytes, false};
    if (t->bytes >= 6 && !memcmp(t->data, "Exif\0\0", 6))
        *t = (Tiff){t->data + 6, t->bytes - 6, false};
    if (t->bytes < 8) return false;
    t->big = !memcmp(t->data, "MM", 2);
    return (t->big || !memcmp(t->data, "II", 2)) && u16(t, 2) == 42;
}

enum { ENTRY = 12 }; /* bytes of one in a directory */

/* Whether an entry has values: its type is one, and they stand in it or inside the structure. */
static bool has_values(const Tiff *t, size_t at)
{
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    uint32_t type = u16(t, at + 2), values = u32(t, at + 4), place = u32(t, at + 8);
    uint64_t bytes = type < sizeof sizes ? (uint64_t)sizes[type] * values : 0;
    return bytes && (bytes <= 4 || (place <= t->bytes && bytes <= t->bytes - place));
}

/* 0: it is not there. */
static int exif_orientation(const FileMap *exif)
{
    enum { ORIENTATION = 0x112, SHORT = 3, LONG = 4 };
    Tiff t;
    if (!tiff_open(exif, &t)) return 0;
    size_t at = u32(&t, 4);
    if (at < 8 || at > t.bytes - 2) return 0;
    size_t count = u16(&t, at), room = (t.bytes - at - 2) / ENTRY;
    for (at += 2; count-- && room--; at += ENTRY) {
        if (u16(&t, at) != ORIENTATION || !has_values(&t, at)) continue;
        uint32_t type = u16(&t, at + 2), values = u32(&t, at + 4);
        uint32_t v = type == SHORT ? u16(&t, at + 8) : type == LONG ? u32(&t, at + 8) : 0;
        bool here = values == 1 || (values == 2 && type == SHORT); /* not behind an offset */
        return here && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 0;
}

/* The digit in the first tiff:Orientation="6" or <tiff:Orientation>6; 0: there is none. */
static int xmp_orientation(const FileMap *xmp)
{
    static const char name[] = "tiff:Orientation";
    if (!xmp->bytes) return 0;
    const uint8_t *at = xmp->data, *end = at + xmp->bytes;
    while ((at = memmem(at, (size_t)(end - at), name, sizeof name - 1))) {
        at += sizeof name - 1;
        const uint8_t *digit = end - at >= 3 && !memcmp(at, "=\"", 2) ? at + 2
                               : end - at >= 2 && *at == '>'          ? at + 1
                                                                      : NULL;
        if (digit && *digit >= '0' && *digit <= '9') return *digit - '0';
    }
    return 0;
}

int notes_orientation(const Notes *n)
{
    int o = exif_orientation(&n->exif);
    if (!o) o = xmp_orientation(&n->xmp);
    return o >= 1 && o <= 8 ? o : 1;
}
