/* frontend/file.c - mapping files, and guessing what a missing one should have been called. */
#include "frontend/file.h"
#include "ir/arena.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longest name that guesses are made for, and the most slips that still count as the same name. */
enum { GUESS_NAME = 128, GUESS_SLIPS = 2 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that lead from `a` to `b` (Levenshtein's distance), by the
 * usual dynamic program over one row. Names longer than GUESS_NAME are infinitely far. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[GUESS_NAME + 1], na = strlen(a), nb = strlen(b);
    if (na > GUESS_NAME || nb > GUESS_NAME) return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t above = row[j];
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = least(replace, least(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[nb];
}

/* The entry of `dir` nearest to `name`, at most GUESS_SLIPS and half of the name away; of equally
 * near ones the first bytewise. False if there is none. */
static bool nearest_name(const char *dir, const char *name, char best[GUESS_NAME + 1])
{
    DIR *d = opendir(dir);
    if (!d) return false;
    size_t nearest = least(GUESS_SLIPS, strlen(name) / 2) + 1;
    bool found = false;
    for (struct dirent *e; (e = readdir(d));) {
        size_t distance = edit_distance(name, e->d_name);
        if (e->d_name[0] == '.' || distance > nearest) continue;
        if (distance == nearest && !(found && strcmp(e->d_name, best) < 0)) continue;
        nearest = distance;
        found = true;
        memcpy(best, e->d_name, strlen(e->d_name) + 1);
    }
    closedir(d);
    return found;
}

bool file_missing(qonnx_ctx *cx, const char *path)
{
    if (!strcmp(path, "-"))
        return qonnx_fail(cx, NULL, "-: standard input is not read; name a file");
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char dir[4096] = ".", best[GUESS_NAME + 1];
    if (slash)
        snprintf(dir, sizeof dir, "%.*s", (int)least((size_t)(slash - path) + 1, 4095), path);
    if (nearest_name(dir, name, best))
        return qonnx_fail(cx, NULL, "%s: no such file; did you mean '%s'?", path, best);
    return qonnx_fail(cx, NULL, "%s: no such file or directory; check the path", path);
}

/* ---- what is mapped -------------------------------------------------------------------------- */

/* A mapping, as a handler of signals can find it: slots are used again, and never freed. */
typedef struct Slot {
    struct Slot *next;            /* made before */
    _Atomic(const uint8_t *) data; /* NULL: the slot is free */
    atomic_size_t bytes;          /* mapped */
    char path[256];               /* for messages */
} Slot;

static _Atomic(Slot *) slots;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER; /* of whoever changes them */

static Slot *slot_of(const uint8_t *data)
{
    Slot *s = atomic_load(&slots);
    while (s && atomic_load(&s->data) != data) s = s->next;
    return s;
}

static void remember(const char *path, const uint8_t *data, size_t bytes)
{
    pthread_mutex_lock(&slots_lock);
    Slot *s = slot_of(NULL);
    if (!s) {
        s = xcalloc(1, sizeof *s);
        s->next = atomic_load(&slots);
        atomic_store(&slots, s);
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    qonnx_tame(s->path);
    atomic_store(&s->bytes, bytes);
    atomic_store(&s->data, data);
    pthread_mutex_unlock(&slots_lock);
}

static void forget(const uint8_t *data)
{
    pthread_mutex_lock(&slots_lock);
    Slot *s = slot_of(data);
    if (s) atomic_store(&s->data, NULL);
    pthread_mutex_unlock(&slots_lock);
}

const char *qonnx_file_at(const void *address)
{
    for (Slot *s = atomic_load(&slots); s; s = s->next) {
        uintptr_t data = (uintptr_t)atomic_load(&s->data), at = (uintptr_t)address;
        if (data && at >= data && at - data < atomic_load(&s->bytes)) return s->path;
    }
    return NULL;
}

/* ---- mapping --------------------------------------------------------------------------------- */

bool file_map_fd(qonnx_ctx *cx, int fd, const char *path, FileMap *out)
{
    struct stat st;
    if (fstat(fd, &st)) return qonnx_fail(cx, NULL, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return qonnx_fail(cx, NULL, "%s: is a directory, a file is wanted", path);
    if (!S_ISREG(st.st_mode))
        return qonnx_fail(cx, NULL, "%s: is a device or a pipe, a regular file is wanted", path);
    if (st.st_size <= 0) return qonnx_fail(cx, NULL, "%s: the file is empty (0 bytes)", path);
    if ((uintmax_t)st.st_size > PTRDIFF_MAX)
        return qonnx_fail(cx, NULL, "%s: %jd bytes are more than this machine can address", path,
                          (intmax_t)st.st_size);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) return qonnx_fail(cx, NULL, "%s: cannot map: %s", path, strerror(errno));
    *out = (FileMap){p, (size_t)st.st_size};
    remember(path, out->data, out->bytes);
    return true;
}

bool file_map(qonnx_ctx *cx, const char *path, FileMap *out)
{
    *out = (FileMap){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not block */
    if (fd < 0 && errno == ENOENT) return file_missing(cx, path);
    if (fd < 0) return qonnx_fail(cx, NULL, "%s: cannot read: %s", path, strerror(errno));
    bool ok = file_map_fd(cx, fd, path, out);
    close(fd);
    return ok;
}

void file_unmap(FileMap *m)
{
    if (m->data) forget(m->data);
    if (m->data) munmap((void *)(uintptr_t)m->data, m->bytes);
    *m = (FileMap){0};
}
