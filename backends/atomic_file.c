/* backends/atomic_file.c - write beside the target, sync, rename, sync the directory. */
#include "backends/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ir/arena.h"

/* The most symbolic links that are followed, as the kernel has it. */
enum { MAX_LINKS = 40 };

struct AtomicFile {
    struct AtomicFile *next; /* in `unfinished` */
    qonnx_ctx *cx;
    char *path;   /* as the caller named it, for messages */
    char *target; /* the file to replace; NULL: written directly */
    char *temp;   /* the temporary file; NULL: written directly */
    int dir;      /* its directory, open; -1: not readable, or written directly */
    int fd;       /* what is written */
    enum { WAITS, EXCHANGED, MADE, REPLACED } state; /* of atomic_commit_all: see place() */
};

/* Files whose temporary ones a process that ends early, as where memory is out, takes along. */
static AtomicFile *unfinished;
static pthread_mutex_t unfinished_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t at_exit = PTHREAD_ONCE_INIT;

static void remove_unfinished(void)
{
    if (pthread_mutex_trylock(&unfinished_lock)) return;
    for (const AtomicFile *f = unfinished; f; f = f->next)
        if (f->temp) unlink(f->temp);
}

static void remove_at_exit(void) { atexit(remove_unfinished); }

static void remember(AtomicFile *f)
{
    pthread_once(&at_exit, remove_at_exit);
    pthread_mutex_lock(&unfinished_lock);
    f->next = unfinished;
    unfinished = f;
    pthread_mutex_unlock(&unfinished_lock);
}

static void forget(const AtomicFile *f)
{
    pthread_mutex_lock(&unfinished_lock);
    AtomicFile **at = &unfinished;
    while (*at && *at != f) at = &(*at)->next;
    if (*at) *at = f->next;
    pthread_mutex_unlock(&unfinished_lock);
}

static char *copy_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(xmalloc(bytes), text, bytes);
}

/* "DIR/name": the directory part of `path`, with its slash, followed by `name`. */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t dir = slash ? (size_t)(slash + 1 - path) : 0, bytes = strlen(name) + 1;
    char *out = xmalloc(dir + bytes);
    memcpy(out, path, dir);
    memcpy(out + dir, name, bytes);
    return out;
}

/* The contents of the symbolic link at `path`, seen from the working directory; NULL if there is
 * no link. */
static char *link_target(const char *path)
{
    char text[4096];
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n < 0) return NULL;
    text[n] = '\0';
    return text[0] == '/' ? copy_text(text) : beside(path, text);
}

/* Follows symbolic links by hand, because the last one may lead to a file that is not there yet. */
static char *follow_links(qonnx_ctx *cx, const char *path)
{
    char *at = copy_text(path);
    for (int i = 0; i < MAX_LINKS; i++) {
        char *next = link_target(at);
        if (!next) return at;
        free(at);
        at = next;
    }
    free(at);
    qonnx_fail(cx, NULL,
               "%s: symbolic links lead in a circle; remove them or choose another output", path);
    return NULL;
}

/* Says why a file cannot be made beside f->target. */
static void explain_dir(const AtomicFile *f, int error)
{
    char *dir = beside(f->target, ".");
    if (error == ENOENT || error == ENOTDIR)
        qonnx_fail(f->cx, NULL,
                   "%s: there is no directory '%s'; create it or choose another output", f->path,
                   dir);
    else
        qonnx_fail(f->cx, NULL, "%s: cannot write in the directory '%s': %s; choose another output",
                   f->path, dir, strerror(error));
    free(dir);
}

/* Makes the temporary file, under a name that nobody else has. */
static bool make_temp(AtomicFile *f)
{
    char *dir = beside(f->target, ".");
    f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    for (unsigned i = 0; i < 10000; i++) {
        char name[64];
        snprintf(name, sizeof name, ".qonnx-%ld-%u.tmp", (long)getpid(), i);
        f->temp = beside(f->target, name);
        f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0) return true;
        int error = errno;
        free(f->temp);
        f->temp = NULL;
        errno = error;
        if (error != EEXIST) break;
    }
    explain_dir(f, errno);
    return false;
}

static bool open_parts(AtomicFile *f)
{
    struct stat st;
    bool exists = stat(f->path, &st) == 0;
    if (f->path[0] == '\0') return qonnx_fail(f->cx, NULL, "the output file has no name");
    if ((exists && S_ISDIR(st.st_mode)) || f->path[strlen(f->path) - 1] == '/')
        return qonnx_fail(f->cx, NULL, "%s: is a directory; name a file in it", f->path);
    if (exists && !S_ISREG(st.st_mode)) {
        f->fd = open(f->path, O_WRONLY | O_CLOEXEC);
        if (f->fd >= 0) return true;
        return qonnx_fail(f->cx, NULL, "%s: cannot be written: %s", f->path, strerror(errno));
    }
    f->target = follow_links(f->cx, f->path);
    if (!f->target || !make_temp(f)) return false;
    if (exists && fchmod(f->fd, st.st_mode & 0777) != 0)
        return qonnx_fail(f->cx, NULL, "%s: cannot set the mode of its replacement: %s", f->path,
                          strerror(errno));
    return true;
}

AtomicFile *atomic_open(qonnx_ctx *cx, const char *path)
{
    AtomicFile *f = xcalloc(1, sizeof *f);
    *f = (AtomicFile){.cx = cx, .path = copy_text(path), .dir = -1, .fd = -1};
    remember(f);
    if (open_parts(f)) return f;
    atomic_abort(f);
    return NULL;
}

bool atomic_write(AtomicFile *f, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        ssize_t n = write(f->fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return qonnx_fail(f->cx, NULL, "%s: cannot write: %s; nothing was replaced", f->path,
                              strerror(errno));
        p += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool not_in_place(const AtomicFile *f)
{
    return qonnx_fail(f->cx, NULL, "%s: cannot put the file in its place: %s", f->path,
                      strerror(errno));
}

bool atomic_sync(AtomicFile *f)
{
    bool ok = !f->temp || fsync(f->fd) == 0;
    if (!ok) return not_in_place(f);
    ok = close(f->fd) == 0;
    f->fd = -1;
    return ok || not_in_place(f);
}

bool atomic_commit(AtomicFile *f)
{
    bool ok = f->fd < 0 || atomic_sync(f);
    if (ok && f->temp) {
        ok = rename(f->temp, f->target) == 0 || not_in_place(f);
        if (ok) {
            free(f->temp);
            f->temp = NULL;
            if (f->dir >= 0) fsync(f->dir); /* whole either way: some file systems cannot */
        }
    }
    atomic_abort(f);
    return ok;
}

/* Exchanges two files; the errno is EINVAL or ENOSYS where that cannot be done. */
static bool exchange(const char *temp, const char *target)
{
#ifdef RENAME_EXCHANGE
    return !renameat2(AT_FDCWD, temp, AT_FDCWD, target, RENAME_EXCHANGE);
#else
    (void)temp, (void)target;
    return errno = ENOSYS, false;
#endif
}

/* Puts a synced file at its target. What stood there has the temporary name then (EXCHANGED), there
 * was nothing (MADE), or it is gone, because the file system exchanges no files (REPLACED). */
static bool place(AtomicFile *f)
{
    if (!f->temp) return true;
    if (exchange(f->temp, f->target)) {
        f->state = EXCHANGED;
        return true;
    }
    bool is_new = errno == ENOENT;
    if (!is_new && errno != EINVAL && errno != ENOSYS) return not_in_place(f);
    if (rename(f->temp, f->target)) return not_in_place(f);
    f->state = is_new ? MADE : REPLACED;
    free(f->temp);
    f->temp = NULL;
    return true;
}

static void unplace(const AtomicFile *f)
{
    if (f->state == MADE) unlink(f->target);
    if (f->state == EXCHANGED) (void)!exchange(f->temp, f->target);
}

bool atomic_commit_all(AtomicFile **files, int count)
{
    bool ok = true;
    for (int i = 0; i < count && ok; i++) ok = files[i]->fd < 0 || atomic_sync(files[i]);
    for (int i = 0; i < count && ok; i++) ok = place(files[i]);
    for (int i = 0; i < count; i++) {
        if (!ok) unplace(files[i]);
        if (files[i]->dir >= 0) fsync(files[i]->dir);
        atomic_abort(files[i]); /* which removes what has no place any more */
        files[i] = NULL;
    }
    return ok;
}

void atomic_abort(AtomicFile *f)
{
    if (!f) return;
    forget(f);
    if (f->fd >= 0) close(f->fd);
    if (f->temp) unlink(f->temp);
    if (f->dir >= 0) close(f->dir);
    free(f->temp);
    free(f->target);
    free(f->path);
    free(f);
}
