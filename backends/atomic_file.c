/* backends/atomic_file.c - write to a file without a name, sync, give it its name, sync the
 * directory. Where something has that name already, or the file system has no files without names,
 * a temporary name comes first: see leftover.h.
 */
#include "backends/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/leftover.h"
#include "ir/arena.h"
#include "ir/ir.h"

/* The most symbolic links that are followed, as the kernel has it. */
enum { MAX_LINKS = 40 };

struct AtomicFile {
    struct AtomicFile *next; /* in `unfinished` */
    qonnx_ctx *cx;
    char *path;   /* as the caller named it, for messages */
    char *target; /* the file to replace or to remove; NULL: written directly */
    char *temp;   /* a temporary name, room for any; NULL: written directly */
    bool named;   /* something has the temporary name */
    int dir;      /* its directory, open; -1: not readable, or written directly */
    int fd;       /* what is written, locked; -1: nothing is, the target is to be removed */
    int old;      /* what stood there, locked while it has the temporary name; -1: nothing */
    bool synced;  /* nothing more is written */
    enum { WAITS, EXCHANGED, MADE, REPLACED, REMOVED } state; /* see place() */
};

/* Files whose temporary ones a process that ends early, as where memory is out, takes along. */
static AtomicFile *unfinished;
static pthread_mutex_t unfinished_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t at_exit = PTHREAD_ONCE_INIT;

static void remove_unfinished(void)
{
    if (pthread_mutex_trylock(&unfinished_lock)) return;
    for (const AtomicFile *f = unfinished; f; f = f->next)
        if (f->named) unlink(f->temp);
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

/* The target to replace or to remove, with room for a temporary name beside it: nothing must run
 * out of memory while a set of files is being put into its places. */
static bool set_target(AtomicFile *f, char *target)
{
    char widest[TEMP_NAME];
    memset(widest, 'x', sizeof widest - 1);
    widest[sizeof widest - 1] = 0;
    f->target = target;
    f->temp = target ? beside(target, widest) : NULL;
    return target != NULL;
}

/* Calls try(f) with temporary names beside the target in f->temp until it succeeds, or fails
 * because of something else than that the name is there; errno says why then. */
static bool find_name(AtomicFile *f, bool try(AtomicFile *f))
{
    char *slash = strrchr(f->temp, '/'), *name = slash ? slash + 1 : f->temp;
    for (unsigned i = 0; i < 10000 && !f->named; i++) {
        temp_name(name, ".tmp");
        f->named = try(f);
        if (!f->named && errno != EEXIST) break;
    }
    return f->named;
}

/* Makes a new file with the temporary name. */
static bool try_open(AtomicFile *f)
{
    f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (f->fd < 0 || temp_lock(f->fd)) return f->fd >= 0;
    close(f->fd);
    f->fd = -1;
    errno = EEXIST; /* it was taken for a left over one: make another */
    return false;
}

/* The name by which an open file can be linked to. */
static const char *name_of(int fd, char name[TEMP_NAME])
{
    snprintf(name, TEMP_NAME, "/proc/self/fd/%d", fd);
    return name;
}

/* Opens what is written: a file without a name, or one with a temporary name where there are none.
 * errno says why not. */
static bool open_temp(AtomicFile *f)
{
    char *dir = beside(f->target, "."), name[TEMP_NAME];
    leftovers_remove(dir);
    f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    free(dir);
    if (f->fd >= 0 && !access(name_of(f->fd, name), F_OK)) {
        fd_lock(f->fd);
        return true;
    }
    if (f->fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return false;
    if (f->fd >= 0) close(f->fd); /* without /proc it could not get a name */
    f->fd = -1;
    return find_name(f, try_open);
}

static bool make_temp(AtomicFile *f)
{
    if (open_temp(f)) return true;
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
    if (!set_target(f, follow_links(f->cx, f->path)) || !input_spared(f->cx, f->path) ||
        !input_spared(f->cx, f->target) ||
        !make_temp(f))
        return false;
    if (exists && fchmod(f->fd, st.st_mode & 0777) != 0)
        return qonnx_fail(f->cx, NULL, "%s: cannot set the mode of its replacement: %s", f->path,
                          strerror(errno));
    return true;
}

static AtomicFile *new_file(qonnx_ctx *cx, const char *path)
{
    AtomicFile *f = xcalloc(1, sizeof *f);
    *f = (AtomicFile){.cx = cx, .path = copy_text(path), .dir = -1, .fd = -1, .old = -1};
    remember(f);
    return f;
}

AtomicFile *atomic_open(qonnx_ctx *cx, const char *path)
{
    AtomicFile *f = new_file(cx, path);
    if (open_parts(f)) return f;
    atomic_abort(f);
    return NULL;
}

AtomicFile *atomic_remove(qonnx_ctx *cx, const char *path)
{
    AtomicFile *f = new_file(cx, path);
    set_target(f, copy_text(path));
    f->synced = true;
    if (input_spared(cx, path)) return f;
    atomic_abort(f);
    return NULL;
}

bool atomic_write(AtomicFile *f, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        ssize_t n = write(f->fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        const char *cut = n < 0 && errno == EFAULT ? qonnx_file_at(p) : NULL;
        if (cut)
            return qonnx_fail(f->cx, NULL, "%s: was cut short while it was read; try again", cut);
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
    if (f->synced) return true;
    f->synced = true;
    if (f->target) return fsync(f->fd) == 0 || not_in_place(f);
    int fd = f->fd;
    f->fd = -1;
    return close(fd) == 0 || not_in_place(f); /* a device or a pipe says by this what it thinks */
}

/* Gives the file without a name this one; errno says why not. */
static bool link_as(const AtomicFile *f, const char *path)
{
    char name[TEMP_NAME];
    return !linkat(AT_FDCWD, name_of(f->fd, name), AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static bool try_link(AtomicFile *f) { return link_as(f, f->temp); }

/* Renames, unless something has the new name; errno says why not. */
static bool move(const char *from, const char *to)
{
#ifdef RENAME_NOREPLACE
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)) return true;
    if (errno != EINVAL && errno != ENOSYS) return false;
#endif
    if (!access(to, F_OK)) return errno = EEXIST, false;
    return !rename(from, to);
}

static bool try_move(AtomicFile *f) { return move(f->target, f->temp); }

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

/* Locks what stands at the target, which is going to have a temporary name. */
static void lock_old(AtomicFile *f)
{
    f->old = open(f->target, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (f->old >= 0) (void)!flock(f->old, LOCK_SH | LOCK_NB);
}

/* Takes the target away. It has the temporary name then (REMOVED). */
static bool place_removal(AtomicFile *f)
{
    lock_old(f);
    if (!find_name(f, try_move)) return errno == ENOENT || not_in_place(f);
    f->state = REMOVED;
    return true;
}

/* Puts a synced file at its target. There was nothing there (MADE), or what stood there is gone
 * (REPLACED), or, where it may have to come back and the file system exchanges files, it has the
 * temporary name (EXCHANGED). */
static bool place(AtomicFile *f, bool back)
{
    if (!f->target) return true;
    if (f->fd < 0) return place_removal(f);
    if (!f->named && link_as(f, f->target)) {
        f->state = MADE;
        return true;
    }
    if (!f->named && (errno != EEXIST || !find_name(f, try_link))) return not_in_place(f);
    if (back) lock_old(f);
    if (back && exchange(f->temp, f->target)) {
        f->state = EXCHANGED;
        return true;
    }
    bool is_new = back && errno == ENOENT;
    if (back && !is_new && errno != EINVAL && errno != ENOSYS) return not_in_place(f);
    if (rename(f->temp, f->target)) return not_in_place(f);
    f->state = is_new ? MADE : REPLACED;
    f->named = false;
    return true;
}

static void unplace(AtomicFile *f)
{
    if (f->state == MADE) unlink(f->target);
    if (f->state == EXCHANGED) (void)!exchange(f->temp, f->target);
    if (f->state == REMOVED && !rename(f->temp, f->target)) f->named = false;
}

bool atomic_commit(AtomicFile *f)
{
    return atomic_commit_all(&f, 1);
}

bool atomic_commit_all(AtomicFile **files, int count)
{
    bool ok = true;
    for (int i = 0; i < count && ok; i++) ok = atomic_sync(files[i]);
    if (ok && count) ok = inputs_unchanged(files[0]->cx);
    for (int i = 0; i < count && ok; i++) ok = place(files[i], count > 1);
    for (int i = 0; i < count; i++) {
        if (!ok) unplace(files[i]);
        if (files[i]->dir >= 0) fsync(files[i]->dir); /* whole either way: some cannot */
        atomic_abort(files[i]); /* which removes what has no place any more */
        files[i] = NULL;
    }
    return ok;
}

void atomic_abort(AtomicFile *f)
{
    if (!f) return;
    forget(f);
    if (f->named) unlink(f->temp);
    if (f->fd >= 0) close(f->fd);
    if (f->old >= 0) close(f->old);
    if (f->dir >= 0) close(f->dir);
    free(f->temp);
    free(f->target);
    free(f->path);
    free(f);
}

/* ---- before the work ------------------------------------------------------------------------- */

bool qonnx_output_spares(qonnx_ctx *cx, const char *path)
{
    char *target = follow_links(cx, path);
    bool good = target && input_spared(cx, path) && input_spared(cx, target);
    free(target);
    return good;
}

/* Whether a file can be made: by making one, for rights are not all (root has them, and yet nothing
 * can be made in /proc). */
static bool can_make(qonnx_ctx *cx, const char *path)
{
    AtomicFile *f = new_file(cx, path);
    bool good = set_target(f, follow_links(cx, path)) &&
                (open_temp(f) ||
                 qonnx_fail(cx, NULL, "%s: can not be written: %s", path, strerror(errno)));
    atomic_abort(f);
    return good;
}

bool qonnx_output_check(qonnx_ctx *cx, const char *path)
{
    struct stat s;
    if (!*path) return qonnx_fail(cx, NULL, "the output file has no name");
    if (!stat(path, &s) && !S_ISREG(s.st_mode))
        return qonnx_fail(cx, NULL, "%s: is %s; name a file to write to", path,
                          S_ISDIR(s.st_mode) ? "a directory" : "no regular file");
    return qonnx_output_spares(cx, path) && can_make(cx, path);
}
