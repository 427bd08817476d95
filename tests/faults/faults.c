/* tests/faults/faults.c - loaded in front of the command (LD_PRELOAD): lets one call fail.
 *
 * FAULT_KIND is "memory" or "io", FAULT_AT the number of the call that fails, from 1. Counted are
 * calls from the command, from libqonnx and from the libraries that it reads files with: others, as
 * the loader's, are not ours to survive. When a call was failed, "fault injected" is written to the
 * file descriptor FAULT_FD. FAULT_CUT=1 instead shortens every file right after it was mapped.
 * FAULT_NO_TMPFILE=1 is a file system that has no files without names.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next definition of the function that it stands in: the real one. */
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))
#define CALLER     __builtin_return_address(0)

/* glibc's own names: dlsym itself allocates. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

static atomic_long calls;

static long setting(const char *name)
{
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}

/* Whether the code at that address is in a library whose calls are counted. */
static bool is_ours(const void *caller)
{
    static const char *const names[] = {"qonnx", "libprotobuf-c.", "libjansson.", "libjpeg.",
                                        "libpng", "libwebp"};
    static _Thread_local bool busy;
    Dl_info info;
    if (busy) return false;
    busy = true;
    bool ours = false, known = dladdr(caller, &info) && info.dli_fname;
    const char *slash = known ? strrchr(info.dli_fname, '/') : NULL;
    const char *file = slash ? slash + 1 : known ? info.dli_fname : "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(file, names[i])) ours = true;
    busy = false;
    return ours;
}

static bool fails(const char *kind, const void *caller, int error)
{
    const char *wanted = getenv("FAULT_KIND");
    if (!wanted || strcmp(wanted, kind) || !is_ours(caller)) return false;
    if (atomic_fetch_add(&calls, 1) + 1 != setting("FAULT_AT")) return false;
    static const char text[] = "fault injected";
    if (REAL(write)((int)setting("FAULT_FD"), text, sizeof text - 1) < 0) abort();
    errno = error;
    return true;
}

/* ---- memory and threads -----------------------------------------------------------------------
 */

void *malloc(size_t bytes) { return fails("memory", CALLER, ENOMEM) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t n, size_t size)
{
    return fails("memory", CALLER, ENOMEM) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t bytes)
{
    return fails("memory", CALLER, ENOMEM) ? NULL : __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return fails("memory", CALLER, ENOMEM) ? NULL : __libc_memalign(align, bytes);
}

char *strdup(const char *s) { return fails("memory", CALLER, ENOMEM) ? NULL : REAL(strdup)(s); }

char *strndup(const char *s, size_t n)
{
    return fails("memory", CALLER, ENOMEM) ? NULL : REAL(strndup)(s, n);
}

int asprintf(char **out, const char *fmt, ...)
{
    if (fails("memory", CALLER, ENOMEM)) return -1;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(out, fmt, args);
    va_end(args);
    return n;
}

int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return fails("memory", CALLER, EAGAIN) ? EAGAIN : REAL(pthread_create)(id, attr, fn, arg);
}

/* ---- files ------------------------------------------------------------------------------------
 */

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = unnamed || flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (unnamed && setting("FAULT_NO_TMPFILE")) return errno = EOPNOTSUPP, -1;
    return fails("io", CALLER, EMFILE) ? -1 : REAL(open)(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails("io", CALLER, EMFILE) ? -1 : REAL(openat)(dir, path, flags, mode);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (fails("io", CALLER, EIO)) return -1;
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int flock(int fd, int how) { return fails("io", CALLER, ENOLCK) ? -1 : REAL(flock)(fd, how); }

struct dirent *readdir(DIR *d) { return fails("io", CALLER, EIO) ? NULL : REAL(readdir)(d); }

FILE *fopen(const char *path, const char *mode)
{
    return fails("io", CALLER, EMFILE) ? NULL : REAL(fopen)(path, mode);
}

DIR *opendir(const char *path) { return fails("io", CALLER, EMFILE) ? NULL : REAL(opendir)(path); }

void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    if (fails("io", CALLER, ENOMEM)) return MAP_FAILED;
    void *p = REAL(mmap)(at, bytes, prot, flags, fd, offset);
    if (setting("FAULT_CUT") && fd >= 0 && is_ours(CALLER)) {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (truncate(name, 0)) abort();
    }
    return p;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    return fails("io", CALLER, ENOSPC) ? -1 : REAL(write)(fd, data, bytes);
}

int fsync(int fd) { return fails("io", CALLER, EIO) ? -1 : REAL(fsync)(fd); }

int close(int fd)
{
    if (!fails("io", CALLER, EIO)) return REAL(close)(fd);
    REAL(close)(fd);
    return errno = EIO, -1;
}

int rename(const char *from, const char *to)
{
    return fails("io", CALLER, EIO) ? -1 : REAL(rename)(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (fails("io", CALLER, EIO)) return -1;
    return REAL(renameat2)(from_dir, from, to_dir, to, flags);
}

int fchmod(int fd, mode_t mode) { return fails("io", CALLER, EPERM) ? -1 : REAL(fchmod)(fd, mode); }

int mkdir(const char *path, mode_t mode)
{
    return fails("io", CALLER, ENOSPC) ? -1 : REAL(mkdir)(path, mode);
}
