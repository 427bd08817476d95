/* ir/pages.c - see pages.h. A constant that a pass has made, a folded weight for instance, is read
 * once to be packed; it would lie in memory beside its packed form for as long as the model.
 */
#include "ir/pages.h"
#include "ir/arena.h"
#include "qonnx/base.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Less is not worth a file. */
enum { LEAST = 64 << 10 };

/* A part of Pages that is in a file. */
typedef struct Away {
    struct Away *next;
    uintptr_t from, to; /* addresses of pages; `to` is behind it */
} Away;

/* Memory of pages_new. */
typedef struct Pages {
    struct Pages *next; /* made before */
    uintptr_t data;     /* first byte */
    size_t bytes;       /* of all */
    Away *away;
} Pages;

static Pages *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list */

void *pages_new(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    Pages *m = xcalloc(1, sizeof *m);
    pthread_mutex_lock(&lock);
    *m = (Pages){all, (uintptr_t)p, bytes, NULL};
    all = m;
    pthread_mutex_unlock(&lock);
    return p;
}

void pages_free(void *p, size_t bytes)
{
    pthread_mutex_lock(&lock);
    Pages **at = &all;
    while ((*at)->data != (uintptr_t)p) at = &(*at)->next;
    Pages *m = *at;
    *at = m->next;
    pthread_mutex_unlock(&lock);
    for (Away *a = m->away, *next; a; a = next) {
        next = a->next;
        free(a);
    }
    free(m);
    munmap(p, bytes);
}

/* The memory that this is a part of; NULL: it is of another kind. With the lock. */
static Pages *pages_of(uintptr_t from, uintptr_t to)
{
    Pages *m = all;
    while (m && (from < m->data || to > m->data + m->bytes)) m = m->next;
    return m;
}

static bool is_away(const Pages *m, uintptr_t from, uintptr_t to)
{
    const Away *a = m->away;
    while (a && (from < a->from || to > a->to)) a = a->next;
    return a;
}

/* A file without a name, gone when nobody maps it; -1: nowhere, or in memory as this is. */
static int unnamed_file(void)
{
    struct statfs s;
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    if (!fstatfs(fd, &s) && s.f_type != TMPFS_MAGIC && s.f_type != RAMFS_MAGIC) return fd;
    close(fd);
    return -1;
}

/* Moves whole pages to a file that is mapped in their place; where a step fails they stay. */
static bool put_away(char *data, size_t bytes)
{
    int fd = unnamed_file();
    size_t done = 0;
    for (ssize_t n = 1; fd >= 0 && done < bytes && n > 0; done += n > 0 ? (size_t)n : 0)
        n = write(fd, data + done, bytes - done);
    bool moved = fd >= 0 && done == bytes &&
                 mmap(data, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == data;
    if (fd >= 0) close(fd);
    return moved;
}

/* The same for what is not yet in one. Whether it was. */
static bool put_away_once(uintptr_t from, uintptr_t to)
{
    pthread_mutex_lock(&lock);
    Pages *m = to - from >= LEAST ? pages_of(from, to) : NULL;
    bool was = m && is_away(m, from, to);
    if (m && !was && put_away((char *)from, to - from)) {
        Away *a = xcalloc(1, sizeof *a);
        *a = (Away){m->away, from, to};
        m->away = a;
    }
    pthread_mutex_unlock(&lock);
    return was;
}

void pages_give_back(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t from = (at + page - 1) / page * page, to = (at + bytes) / page * page;
    if (from >= to) return;
    if (qonnx_file_at(data) || put_away_once(from, to))
        madvise((void *)from, to - from, MADV_DONTNEED);
}
