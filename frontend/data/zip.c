/* frontend/data/zip.c - the directory of a zip archive (APPNOTE 6.3, zip64 included), from its end.
 * Local headers are believed in nothing but the length of what stands in front of the data: NumPy
 * writes sizes of 2^32 - 1 there, and streamed archives zeros.
 */
#include "frontend/data/zip.h"
#include "ir/arena.h"
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,      /* of the record at the end, without its comment */
    END64_BYTES = 56,    /* of zip64's */
    LOCATOR_BYTES = 20,  /* of what tells where that is */
    CENTRAL_BYTES = 46,  /* of an entry in the directory, without its name */
    LOCAL_BYTES = 30,    /* of an entry's own header, without its name */
    COMMENT_MAX = 65535, /* bytes behind the record at the end */
    DEFLATE_MOST = 1032  /* bytes that one byte of deflated data can become */
};

/* An archive being read. */
typedef struct Reading {
    qonnx_ctx *cx;       /* for messages */
    const char *path;    /* for messages */
    const uint8_t *data; /* all of it */
    size_t bytes;        /* of it */
} Reading;

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0) v = v << 8 | p[bytes];
    return v;
}

static bool fail(const Reading *r, const char *what)
{
    return qonnx_fail(r->cx, NULL, "%s: damaged archive: %s; is the file complete?", r->path, what);
}

/* Where the record at the end begins; SIZE_MAX: nowhere. */
static size_t find_end(const Reading *r)
{
    for (size_t back = END_BYTES; back <= r->bytes && back <= END_BYTES + COMMENT_MAX; back++) {
        const uint8_t *p = r->data + r->bytes - back;
        if (!memcmp(p, "PK\5\6", 4) && number(p + 20, 2) == back - END_BYTES)
            return r->bytes - back;
    }
    return SIZE_MAX;
}

/* Where the directory is. */
typedef struct Directory {
    uint64_t start, bytes, count; /* in the archive; of entries */
} Directory;

static bool find_directory(const Reading *r, Directory *out)
{
    size_t end = find_end(r);
    if (end == SIZE_MAX) return fail(r, "it has no directory at its end");
    const uint8_t *p = r->data + end;
    if (number(p + 4, 2) % 0xffff || number(p + 6, 2) % 0xffff)
        return fail(r, "it is one of several parts");
    *out = (Directory){number(p + 16, 4), number(p + 12, 4), number(p + 10, 2)};
    if (out->start == UINT32_MAX || out->bytes == UINT32_MAX || out->count == UINT16_MAX) {
        if (end < LOCATOR_BYTES || memcmp(p - LOCATOR_BYTES, "PK\6\7", 4) != 0)
            return fail(r, "its directory cannot be found");
        uint64_t at = number(p - LOCATOR_BYTES + 8, 8);
        if (at > end || end - at < END64_BYTES + LOCATOR_BYTES ||
            memcmp(r->data + at, "PK\6\6", 4) != 0)
            return fail(r, "its directory cannot be found");
        const uint8_t *q = r->data + at;
        *out = (Directory){number(q + 48, 8), number(q + 40, 8), number(q + 32, 8)};
        end = (size_t)at;
    }
    if (out->start > end || out->bytes > end - out->start ||
        out->count > out->bytes / CENTRAL_BYTES)
        return fail(r, "its directory does not lie inside it");
    return true;
}

/* Takes the numbers of 64 bits that stand for those of 32 in an entry of the directory. */
static bool read_zip64(const uint8_t *extra, size_t bytes, uint64_t *const fields[3])
{
    while (bytes >= 4) {
        size_t id = number(extra, 2), n = number(extra + 2, 2);
        if (n > bytes - 4) return false;
        const uint8_t *p = extra + 4, *end = p + n;
        for (int i = 0; id == 1 && i < 3; i++) {
            if (*fields[i] != UINT32_MAX) continue;
            if (end - p < 8) return false;
            *fields[i] = number(p, 8);
            p += 8;
        }
        extra = end;
        bytes -= n + 4;
    }
    return true;
}

/* Whether the sizes of an entry are possible, and its own header is there, with its name. */
static bool check_entry(const Reading *r, const Directory *d, ZipEntry *e)
{
    uint64_t most = e->method == ZIP_STORED ? e->packed : (uint64_t)e->packed * DEFLATE_MOST + 64;
    if (e->bytes > most || (e->method == ZIP_STORED && e->bytes != e->packed))
        return fail(r, "an entry's sizes are not possible");
    const uint8_t *p = r->data + e->header;
    if (e->header > d->start || d->start - e->header < LOCAL_BYTES || memcmp(p, "PK\3\4", 4) != 0)
        return fail(r, "an entry is not where the directory says");
    size_t name = number(p + 26, 2), extra = number(p + 28, 2), room = d->start - e->header;
    if (name + extra + LOCAL_BYTES > room || e->packed > room - name - extra - LOCAL_BYTES)
        return fail(r, "an entry does not lie inside it");
    if (name != e->length || memcmp(p + LOCAL_BYTES, e->name, name) != 0)
        return fail(r, "an entry has another name than the directory says");
    e->start = e->header + LOCAL_BYTES + name + extra;
    return true;
}

/* Reads the entry at *at of the directory. */
static bool read_entry(const Reading *r, const Directory *d, size_t *at, ZipEntry *e)
{
    size_t end = (size_t)(d->start + d->bytes);
    const uint8_t *p = r->data + *at;
    if (end - *at < CENTRAL_BYTES || memcmp(p, "PK\1\2", 4) != 0)
        return fail(r, "its directory is cut short");
    size_t name = number(p + 28, 2), extra = number(p + 30, 2), comment = number(p + 32, 2);
    if (name + extra + comment > end - *at - CENTRAL_BYTES)
        return fail(r, "its directory is cut short");
    uint64_t packed = number(p + 20, 4), bytes = number(p + 24, 4), header = number(p + 42, 4);
    if (!read_zip64(p + CENTRAL_BYTES + name, extra, (uint64_t *[]){&bytes, &packed, &header}))
        return fail(r, "its directory is malformed");
    if (packed > r->bytes || bytes > PTRDIFF_MAX || header > r->bytes)
        return fail(r, "an entry does not lie inside it");
    *e = (ZipEntry){.name = (const char *)p + CENTRAL_BYTES,
                    .length = name,
                    .packed = (size_t)packed,
                    .bytes = (size_t)bytes,
                    .crc = (uint32_t)number(p + 16, 4),
                    .method = (uint16_t)number(p + 10, 2),
                    .encrypted = number(p + 8, 2) & 0x2041,
                    .header = (size_t)header};
    *at += CENTRAL_BYTES + name + extra + comment;
    return check_entry(r, d, e);
}

/* ---- order ----------------------------------------------------------------------------------- */

static int by_header(const void *a, const void *b)
{
    const ZipEntry *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes the digits at the beginning of a text off it, without zeros in front. */
static size_t take_digits(const char **p, const char *end, const char **digits)
{
    while (end - *p > 1 && **p == '0' && is_digit((*p)[1])) ++*p;
    *digits = *p;
    while (*p < end && is_digit(**p)) ++*p;
    return (size_t)(*p - *digits);
}

/* By name, numbers in names by their value: arr_10 behind arr_9; equal ones bytewise. */
static int by_name(const void *a, const void *b)
{
    const ZipEntry *x = a, *y = b;
    const char *p = x->name, *q = y->name, *pe = p + x->length, *qe = q + y->length;
    while (p < pe && q < qe) {
        if (is_digit(*p) && is_digit(*q)) {
            const char *pd, *qd;
            size_t m = take_digits(&p, pe, &pd), n = take_digits(&q, qe, &qd);
            int order = m != n ? (m < n ? -1 : 1) : memcmp(pd, qd, m);
            if (order) return order;
        } else {
            if (*p != *q) return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
            p++, q++;
        }
    }
    if ((p < pe) != (q < qe)) return p < pe ? 1 : -1;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return memcmp(x->name, y->name, x->length);
}

/* Refuses entries that overlap, and two of one name. */
static bool sort_entries(const Reading *r, Zip *z)
{
    if (!z->count) return true;
    qsort(z->entries, z->count, sizeof *z->entries, by_header);
    for (size_t i = 1; i < z->count; i++)
        if (z->entries[i - 1].start + z->entries[i - 1].packed > z->entries[i].header)
            return fail(r, "entries overlap");
    qsort(z->entries, z->count, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (!by_name(&z->entries[i - 1], &z->entries[i]))
            return fail(r, "two entries have one name");
    return true;
}

bool zip_read(qonnx_ctx *cx, const char *path, const FileMap *m, Zip *out)
{
    const Reading r = {cx, path, m->data, m->bytes};
    Directory d = {0};
    *out = (Zip){0};
    if (m->bytes < 4 || (memcmp(m->data, "PK\3\4", 4) && memcmp(m->data, "PK\5\6", 4)))
        return qonnx_fail(cx, NULL, "%s: is no archive: it does not begin as one", path);
    if (!find_directory(&r, &d)) return false;
    out->entries = xcalloc((size_t)d.count, sizeof *out->entries);
    size_t at = (size_t)d.start;
    bool ok = true;
    for (; ok && out->count < d.count; out->count++)
        ok = read_entry(&r, &d, &at, &out->entries[out->count]);
    ok = ok && sort_entries(&r, out);
    if (!ok) zip_free(out);
    return ok;
}

void zip_free(Zip *z)
{
    free(z->entries);
    *z = (Zip){0};
}
