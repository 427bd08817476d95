/* frontend/data/exif.c - the orientation in EXIF data: one pass over the first directory, with
 * every offset checked. Nothing else is followed, and whatever is odd means no orientation, as in
 * Pillow.
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

int exif_orientation(const FileMap *exif)
{
    enum { ORIENTATION = 0x112, SHORT = 3, LONG = 4, ENTRY = 12 };
    Tiff t;
    if (!tiff_open(exif, &t)) return 1;
    size_t at = u32(&t, 4);
    if (at < 8 || at > t.bytes - 2) return 1;
    size_t count = u16(&t, at), room = (t.bytes - at - 2) / ENTRY;
    for (at += 2; count-- && room--; at += ENTRY) {
        if (u16(&t, at) != ORIENTATION) continue;
        uint32_t type = u16(&t, at + 2), values = u32(&t, at + 4);
        uint32_t v = type == SHORT ? u16(&t, at + 8) : type == LONG ? u32(&t, at + 8) : 0;
        bool here = values == 1 || (values == 2 && type == SHORT); /* not behind an offset */
        return here && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}
