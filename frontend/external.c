/* frontend/external.c - finding, opening and mapping external data, without leaving the model's
 * directory.
 */
#include "frontend/external.h"
#include "frontend/file.h"
#include "ir/ir.h"
#include "ir/size.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK }; /* a pipe must not block */

typedef struct Mapping {
    struct Mapping *next; /* mapped before */
    char *location;       /* as the model writes it */
    FileMap map;          /* the whole file */
    dev_t device;         /* with `inode`: which file it is */
    ino_t inode;
} Mapping;

struct ExternalFiles {
    char *dir;         /* the model's directory */
    Mapping *mappings; /* last mapped first */
    size_t bytes;      /* of all files */
};

/* What external_data says. */
typedef struct Place {
    const char *location;        /* path of the file, relative to the model's directory */
    uint64_t offset, length;     /* in bytes */
    bool has_offset, has_length; /* the keys are there */
} Place;

ExternalFiles *external_new(const char *dir)
{
    ExternalFiles *x = xcalloc(1, sizeof *x);
    size_t n = strlen(dir) + 1;
    x->dir = memcpy(xmalloc(n), dir, n);
    return x;
}

void external_free(ExternalFiles *x)
{
    if (!x) return;
    for (Mapping *m = x->mappings, *next; m; m = next) {
        next = m->next;
        file_unmap(&m->map);
        free(m->location);
        free(m);
    }
    free(x->dir);
    free(x);
}

/* A whole string of decimal digits. */
static bool parse_decimal(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

static const char *name_of(const Onnx__TensorProto *t) { return t->name ? t->name : ""; }

static bool parse_number(qonnx_ctx *cx, const Onnx__TensorProto *t, const char *key,
                         const char *value, uint64_t *out, bool *seen)
{
    if (*seen)
        return qonnx_fail(cx, NULL, "tensor '%s': external data has the key %s twice", name_of(t),
                          key);
    *seen = true;
    if (parse_decimal(value, out)) return true;
    return qonnx_fail(cx, NULL, "tensor '%s': external data has %s '%.40s', want a decimal number",
                      name_of(t), key, value);
}

static bool parse_place(qonnx_ctx *cx, const Onnx__TensorProto *t, Place *p)
{
    *p = (Place){0};
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value) continue;
        if (!strcmp(key, "location")) {
            if (p->location)
                return qonnx_fail(cx, NULL, "tensor '%s': external data has two locations",
                                  name_of(t));
            p->location = value;
        } else if (!strcmp(key, "offset")) {
            if (!parse_number(cx, t, key, value, &p->offset, &p->has_offset)) return false;
        } else if (!strcmp(key, "length")) {
            if (!parse_number(cx, t, key, value, &p->length, &p->has_length)) return false;
        }
    }
    if (p->location && *p->location) return true;
    return qonnx_fail(cx, NULL,
                      "tensor '%s': is kept in another file, but external data has no "
                      "location",
                      name_of(t));
}

int external_walk(int dirfd, const char *path)
{
    char part[256];
    if (*path == '/') return errno = EXDEV, -1;
    for (int at = dirfd;;) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        bool last = !path[n];
        int fd = -1, why;
        if (n >= sizeof part) {
            why = ENAMETOOLONG;
        } else if (n == 2 && !memcmp(path, "..", 2)) {
            why = EXDEV;
        } else {
            memcpy(part, path, n);
            part[n] = 0;
            fd = openat(at, n ? part : ".", OPEN_FLAGS | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
            why = errno;
        }
        if (at != dirfd) close(at);
        if (fd < 0) return errno = why, -1;
        if (last) return fd;
        at = fd;
        path += n;
    }
}

/* Opens `path` beneath `dirfd`; -1 and errno on failure. */
static int open_beneath(int dirfd, const char *path)
{
#ifdef SYS_openat2
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    /* An old kernel has no such call, and a sandbox may forbid it. */
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)fd;
#endif
    return external_walk(dirfd, path);
}

/* Opens `path`, which has a symbolic link in it, wherever that leads, and notes where; -1 and errno
 * on failure. The path itself is relative and has no "..", all the same. */
static int open_linked(qonnx_ctx *cx, const Onnx__TensorProto *t, int dirfd, const char *path)
{
    for (const char *part = path; *part; part += strspn(part, "/")) {
        size_t n = strcspn(part, "/");
        if (!n || (n == 2 && !memcmp(part, "..", 2))) return errno = EXDEV, -1;
        part += n;
    }
    int fd = openat(dirfd, path, OPEN_FLAGS);
    char link[64], real[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fd >= 0 && readlink(link, real, sizeof real - 1) > 0)
        qonnx_note(cx, NULL, "tensor '%s': external data '%s' is read from %s", name_of(t), path,
                   real);
    return fd;
}

/* The reason for an errno of open_beneath, with what to do. */
static const char *open_reason(int error)
{
    switch (error) {
    case EXDEV:
        return "leaves the model's directory, which is refused; put the file beside the model";
    case ELOOP:
        return "is a symbolic link, which is refused; put the file itself beside the model, or "
               "follow links by --allow-symlinks";
    case ENOENT: return "no such file; put it beside the model";
    default: return strerror(error);
    }
}

/* Whether that file was mapped under another location. */
static bool holds(const ExternalFiles *x, const struct stat *st)
{
    for (const Mapping *m = x->mappings; m; m = m->next)
        if (m->device == st->st_dev && m->inode == st->st_ino) return true;
    return false;
}

/* The mapping of a location, made when it is asked for first. NULL on failure. */
static const Mapping *mapping_get(qonnx_ctx *cx, ExternalFiles *x, const Onnx__TensorProto *t,
                                  const char *location)
{
    for (const Mapping *m = x->mappings; m; m = m->next)
        if (!strcmp(m->location, location)) return m;
    int dirfd = open(x->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = dirfd < 0 ? -1 : open_beneath(dirfd, location), error = errno;
    if (dirfd >= 0 && fd < 0 && (error == ELOOP || error == ENOTDIR) && ctx_allows_symlinks(cx)) {
        fd = open_linked(cx, t, dirfd, location);
        error = errno;
    }
    if (dirfd >= 0) close(dirfd);
    if (fd < 0) {
        qonnx_fail(cx, NULL, "tensor '%s': external data '%s' in '%s': %s", name_of(t), location,
                   x->dir, open_reason(error));
        return NULL;
    }
    FileMap map;
    char label[8192];
    snprintf(label, sizeof label, "tensor '%.200s': external data '%.200s'", name_of(t), location);
    struct stat st = {0};
    bool ok = file_map_fd(cx, fd, label, &map);
    if (ok) (void)!fstat(fd, &st);
    close(fd);
    if (!ok) return NULL;
    snprintf(label, sizeof label, "%s/%s", x->dir, location);
    input_keep(cx, label, "external data of the model");
    if (!holds(x, &st)) x->bytes += map.bytes;
    Mapping *m = xcalloc(1, sizeof *m);
    size_t n = strlen(location) + 1;
    *m = (Mapping){x->mappings, memcpy(xmalloc(n), location, n), map, st.st_dev, st.st_ino};
    return x->mappings = m;
}

size_t external_bytes(const ExternalFiles *x) { return x ? x->bytes : 0; }

bool external_open(qonnx_ctx *cx, ExternalFiles *x, const Onnx__TensorProto *t, size_t bytes,
                   const void **data)
{
    Place p;
    if (!parse_place(cx, t, &p)) return false;
    if (p.has_length && p.length != bytes)
        return qonnx_fail(cx, NULL,
                          "tensor '%s': external data '%s' has length %llu, type and shape need "
                          "%zu bytes",
                          name_of(t), p.location, (unsigned long long)p.length, bytes);
    const Mapping *m = mapping_get(cx, x, t, p.location);
    if (!m) return false;
    if (p.offset > m->map.bytes || m->map.bytes - p.offset < bytes)
        return qonnx_fail(cx, NULL,
                          "tensor '%s': %zu bytes at offset %llu of external data '%s' are wanted, "
                          "the file has %zu; is the copy complete?",
                          name_of(t), bytes, (unsigned long long)p.offset, p.location,
                          m->map.bytes);
    *data = m->map.data + p.offset;
    return true;
}
