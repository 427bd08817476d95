/* frontend/data/npz.c - NumPy's .npz files: archives of arrays, stored or deflated. An array that
 * is named as the input holds its samples; where there is none, all arrays do, in the order of
 * their names. Memory is one sample: rows are unpacked as they are asked for, by each thread for
 * itself, which asks in order.
 */
#include "frontend/data/npy.h"
#include "frontend/data/zip.h"
#include "ir/arena.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

enum { BLOCK = 1 << 16, LABEL = 512, SLOTS = 4 };

/* Unpacked arrays in Fortran order are held whole: no more than this. */
#define WHOLE_MAX ((size_t)1 << 30)

/* An entry being unpacked, from its beginning on. */
typedef struct Stream {
    const ZipEntry *entry; /* NULL: none */
    z_stream z;            /* of a deflated one */
    size_t at;             /* bytes that have passed */
    uLong crc;             /* of them */
} Stream;

/* An array in the archive. */
typedef struct Member {
    const ZipEntry *entry;
    Npy array;    /* its header */
    Fit fit;      /* how it becomes samples */
    size_t first; /* index of its first sample */
} Member;

/* An archive that is open for an input. */
typedef struct Archive {
    char *path;        /* owned; NULL: none is open */
    struct stat st;    /* of the file, when it was opened */
    Feed feed;         /* the input; its name is owned */
    FileMap map;       /* the file */
    Zip zip;           /* its entries */
    Member *members;   /* [nmembers] the arrays that hold samples; owned */
    size_t nmembers;   /* used */
    size_t count;      /* samples in them */
    Stream stream;     /* where the last one that was read ended */
    bool damaged;      /* why something failed: the file's bytes */
} Archive;

/* ---- unpacking ------------------------------------------------------------------------------- */

static void stream_close(Stream *s)
{
    if (s->entry && s->entry->method == ZIP_DEFLATED) inflateEnd(&s->z);
    *s = (Stream){0};
}

static void stream_open(const Archive *a, Stream *s, const ZipEntry *e)
{
    stream_close(s);
    *s = (Stream){.entry = e, .crc = crc32(0, NULL, 0)};
    if (e->method != ZIP_DEFLATED) return;
    s->z.next_in = (Bytef *)(uintptr_t)(a->map.data + e->start);
    if (inflateInit2(&s->z, -MAX_WBITS) != Z_OK) qonnx_out_of_memory();
}

static bool fail_entry(qonnx_ctx *cx, Archive *a, const char *label, const char *what)
{
    a->damaged = true;
    return qonnx_fail(cx, NULL, "%s: damaged archive: %s; is the file complete?", label, what);
}

/* Inflates n bytes, fewer than 2^31, to `out`. False: there are not so many. */
static bool inflate_block(const Archive *a, Stream *s, uint8_t *out, size_t n)
{
    s->z.next_out = out;
    s->z.avail_out = (uInt)n;
    while (s->z.avail_out) {
        size_t used = (size_t)(s->z.next_in - (a->map.data + s->entry->start));
        size_t left = s->entry->packed - used;
        s->z.avail_in = left < BLOCK ? (uInt)left : BLOCK;
        int status = inflate(&s->z, Z_NO_FLUSH);
        if (status == Z_MEM_ERROR) qonnx_out_of_memory();
        if (status == Z_STREAM_END) return !s->z.avail_out;
        if (status != Z_OK || (!left && s->z.avail_out)) return false;
    }
    return true;
}

/* Gives pages of the file back that have been read: archives may be larger than memory. */
static void forget_pages(const Archive *a, const uint8_t *from, size_t n)
{
    enum { PAGE = 1 << 16 };
    uintptr_t base = (uintptr_t)a->map.data, first = ((uintptr_t)from - base) / PAGE * PAGE;
    uintptr_t end = ((uintptr_t)from - base + n) / PAGE * PAGE;
    if (end > first) madvise((void *)(base + first), end - first, MADV_DONTNEED);
}

/* Whether the entry ends where it says, with the sum that it says. */
static bool check_end(qonnx_ctx *cx, Archive *a, const char *label)
{
    Stream *s = &a->stream;
    uint8_t more;
    if (s->entry->method == ZIP_DEFLATED && inflate_block(a, s, &more, 1))
        return fail_entry(cx, a, label, "an entry holds more than it says");
    return s->crc == s->entry->crc || fail_entry(cx, a, label, "an entry's sum (CRC-32) differs");
}

/* Passes n bytes of the stream, to `out` unless that is NULL. */
static bool stream_pass(qonnx_ctx *cx, Archive *a, const char *label, uint8_t *out, size_t n)
{
    Stream *s = &a->stream;
    uint8_t scratch[BLOCK];
    while (n) {
        size_t part = n < BLOCK ? n : BLOCK;
        uint8_t *to = out ? out : scratch;
        const uint8_t *from = a->map.data + s->entry->start + s->at;
        if (s->entry->method == ZIP_STORED) memcpy(to, from, part);
        else if (!inflate_block(a, s, to, part))
            return fail_entry(cx, a, label, "an entry holds less than it says, or is no data");
        if (s->entry->method == ZIP_STORED) forget_pages(a, from, part);
        s->crc = crc32(s->crc, to, (uInt)part);
        s->at += part;
        n -= part;
        if (out) out += part;
    }
    return s->at < s->entry->bytes || check_end(cx, a, label);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* "x.npz (arr_0)", cut short. */
static const char *label_of(const Archive *a, const ZipEntry *e, char text[LABEL])
{
    snprintf(text, LABEL, "%s (%.*s)", a->path, e->length < 100 ? (int)e->length : 100, e->name);
    return text;
}

/* Length of an entry's key: its name without ".npy". */
static size_t key_length(const ZipEntry *e)
{
    bool npy = e->length >= 4 && !memcmp(e->name + e->length - 4, ".npy", 4);
    return e->length - (npy ? 4 : 0);
}

/* Reads the header of an entry; *none: it is no array, and left out as np.load does. */
static bool read_head(qonnx_ctx *cx, Archive *a, const ZipEntry *e, Npy *out, bool *none)
{
    char label[LABEL];
    label_of(a, e, label);
    *none = false;
    if (e->encrypted)
        return qonnx_fail(cx, NULL, "%s: is encrypted; save it without a password", label);
    if (e->method != ZIP_STORED && e->method != ZIP_DEFLATED)
        return qonnx_fail(cx, NULL, "%s: is packed by method %d; stored and deflated entries are "
                                    "read, as np.savez and np.savez_compressed write them",
                          label, e->method);
    uint8_t *head = xcalloc(1, NPY_HEAD_MAX);
    size_t have = e->bytes < 128 ? e->bytes : 128;
    stream_open(a, &a->stream, e);
    bool ok = stream_pass(cx, a, label, head, have);
    size_t wanted = ok && have >= 12 ? npy_head_bytes(head) : 0;
    *none = ok && (have < 6 || memcmp(head, "\x93NUMPY", 6) != 0) && key_length(e) == e->length;
    if (ok && !*none && wanted > have && wanted <= NPY_HEAD_MAX && wanted <= e->bytes) {
        ok = stream_pass(cx, a, label, head + have, wanted - have);
        have = wanted;
    }
    if (ok && !*none) {
        ok = npy_parse(cx, label, head, have, e->bytes, out);
        a->damaged |= !ok && out->damaged;
    }
    stream_close(&a->stream);
    free(head);
    return ok;
}

/* Adds an array to those that hold samples. */
static bool add_member(qonnx_ctx *cx, Archive *a, const ZipEntry *e)
{
    char label[LABEL];
    bool none;
    Member m = {.entry = e, .first = a->count};
    if (!read_head(cx, a, e, &m.array, &none)) return false;
    if (none) return true;
    label_of(a, e, label);
    if (!feed_fit(cx, &a->feed, label, m.array.dims, m.array.rank, true, &m.fit) ||
        !npy_check(cx, &a->feed, label, &m.array))
        return false;
    a->members = xrealloc_array(a->members, a->nmembers + 1, sizeof *a->members);
    a->members[a->nmembers++] = m;
    a->count += m.fit.count;
    return true;
}

/* The entry that is named as the input; NULL: there is none. */
static const ZipEntry *find_entry(const Archive *a)
{
    size_t n = strlen(a->feed.name);
    for (size_t i = 0; i < a->zip.count; i++) {
        const ZipEntry *e = &a->zip.entries[i];
        if (key_length(e) == n && !memcmp(e->name, a->feed.name, n)) return e;
    }
    return NULL;
}

static bool find_members(qonnx_ctx *cx, Archive *a)
{
    const ZipEntry *named = find_entry(a);
    if (named) return add_member(cx, a, named);
    if (a->feed.keyed)
        return qonnx_fail(cx, NULL, "%s: holds no array '%s' for the model's input of that name",
                          a->path, a->feed.name);
    for (size_t i = 0; i < a->zip.count; i++)
        if (!add_member(cx, a, &a->zip.entries[i])) return false;
    return a->count || qonnx_fail(cx, NULL, "%s: holds no arrays", a->path);
}

static void archive_close(Archive *a)
{
    stream_close(&a->stream);
    zip_free(&a->zip);
    file_unmap(&a->map);
    free(a->members);
    free(a->feed.name);
    free(a->path);
    *a = (Archive){0};
}

/* Opens an archive; one that fails is closed, but for `damaged`. */
static bool archive_open(qonnx_ctx *cx, Archive *a, const Feed *f, const char *path)
{
    *a = (Archive){.path = string_copy(path), .feed = *f};
    a->feed.name = string_copy(f->name);
    bool ok = file_map(cx, path, &a->map);
    if (ok && stat(path, &a->st)) ok = qonnx_fail(cx, NULL, "%s: the file has changed", path);
    if (ok && !zip_read(cx, path, &a->map, &a->zip)) {
        a->damaged = true;
        ok = false;
    }
    ok = ok && find_members(cx, a);
    if (ok) return true;
    bool damaged = a->damaged;
    archive_close(a);
    a->damaged = damaged;
    return false;
}

/* ---- archives that stay open ----------------------------------------------------------------- */

/* A thread's open archives: it reads one sample behind the other. */
typedef struct Open {
    Archive slots[SLOTS]; /* those that are */
    unsigned next;        /* the slot to use again */
} Open;

static pthread_key_t open_key;
static pthread_once_t open_once = PTHREAD_ONCE_INIT;

static void open_free(void *open)
{
    Open *o = open;
    for (int i = 0; i < SLOTS; i++) archive_close(&o->slots[i]);
    free(o);
}

static void open_init(void)
{
    if (pthread_key_create(&open_key, open_free)) qonnx_out_of_memory();
}

void npz_close_all(void)
{
    pthread_once(&open_once, open_init);
    Open *o = pthread_getspecific(open_key);
    pthread_setspecific(open_key, NULL);
    if (o) open_free(o);
}

/* Whether the archive is that file, as it is now, for that input. */
static bool is_open(const Archive *a, const Feed *f, const char *path, const struct stat *st)
{
    return a->path && !strcmp(a->path, path) && a->st.st_dev == st->st_dev &&
           a->st.st_ino == st->st_ino && a->st.st_size == st->st_size &&
           a->st.st_mtim.tv_sec == st->st_mtim.tv_sec &&
           a->st.st_mtim.tv_nsec == st->st_mtim.tv_nsec && !strcmp(a->feed.name, f->name) &&
           a->feed.dtype == f->dtype && a->feed.rank == f->rank && a->feed.arrays == f->arrays &&
           !memcmp(a->feed.dims, f->dims, sizeof f->dims);
}

/* The archive, opened or open still. NULL: it cannot be. */
static Archive *archive_of(qonnx_ctx *cx, const Feed *f, const char *path)
{
    struct stat st = {0};
    pthread_once(&open_once, open_init);
    Open *o = pthread_getspecific(open_key);
    if (!o) {
        o = xcalloc(1, sizeof *o);
        if (pthread_setspecific(open_key, o)) qonnx_out_of_memory();
    }
    bool there = !stat(path, &st);
    for (int i = 0; there && i < SLOTS; i++)
        if (is_open(&o->slots[i], f, path, &st)) return &o->slots[i];
    Archive *a = &o->slots[o->next++ % SLOTS];
    archive_close(a);
    return archive_open(cx, a, f, path) ? a : NULL;
}

/* ---- samples --------------------------------------------------------------------------------- */

bool npz_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count)
{
    Archive *a = archive_of(cx, f, path);
    if (a) *count = a->count;
    return a != NULL;
}

/* Unpacks the bytes [from, from + n) of an entry. */
static bool unpack(qonnx_ctx *cx, Archive *a, const ZipEntry *e, size_t from, size_t n,
                   uint8_t *out)
{
    char label[LABEL];
    label_of(a, e, label);
    if (a->stream.entry != e || a->stream.at > from) stream_open(a, &a->stream, e);
    bool ok = stream_pass(cx, a, label, NULL, from - a->stream.at) &&
              stream_pass(cx, a, label, out, n);
    if (!ok) stream_close(&a->stream);
    return ok;
}

bool npz_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    char label[LABEL];
    Archive *a = archive_of(cx, f, path);
    if (!a) return false;
    if (row >= a->count) return qonnx_fail(cx, NULL, "%s: the file has changed", path);
    size_t k = 0;
    while (k + 1 < a->nmembers && a->members[k + 1].first <= row) k++;
    const Member *m = &a->members[k];
    size_t bytes = m->entry->bytes - m->array.start, at = 0, inside = 0;
    size_t sample = m->fit.split ? bytes / m->fit.count : bytes;
    if (!m->array.fortran) at = (row - m->first) * sample, bytes = sample;
    else inside = npy_offset(&m->array, &m->fit, row - m->first);
    label_of(a, m->entry, label);
    if (m->array.fortran && m->fit.split && bytes > WHOLE_MAX)
        return qonnx_fail(cx, NULL, "%s: %zu bytes in Fortran order are not read from an archive; "
                                    "save it in C order",
                          label, bytes);
    uint8_t *data = malloc(bytes ? bytes : 1);
    if (!data) return qonnx_fail(cx, NULL, "%s: no memory for %zu bytes", label, bytes);
    bool ok = unpack(cx, a, m->entry, m->array.start + at, bytes, data) &&
              npy_take(cx, f, label, &m->array, &m->fit, data + inside, out);
    free(data);
    return ok;
}

bool npz_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    Zip zip;
    if (!zip_read(cx, path, m, &zip)) return true;
    Archive a = {.path = (char *)(uintptr_t)path, .map = *m, .zip = zip};
    for (size_t i = 0; !a.damaged && i < zip.count; i++) {
        const ZipEntry *e = &zip.entries[i];
        Npy head;
        bool none;
        bool ok = read_head(cx, &a, e, &head, &none);
        if (ok) (void)!unpack(cx, &a, e, 0, e->bytes, NULL);
    }
    stream_close(&a.stream);
    zip_free(&zip);
    return a.damaged;
}
