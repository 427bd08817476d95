/* backends/scratch.c - directories for files that are not complete yet. */
#include <qonnx/graph.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/leftover.h"
#include "ir/arena.h"

/* Files, and directories of files. */
enum { DEPTH = 2 };

struct qonnx_scratch {
    struct qonnx_scratch *next; /* in `alive` */
    char *path; /* of the directory */
    int fd;     /* the directory, locked */
};

/* Those that a process which ends early, as where memory is out, takes along. */
static qonnx_scratch *alive;
static pthread_mutex_t alive_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t at_exit = PTHREAD_ONCE_INIT;

void qonnx_scratch_remove_all(void)
{
    if (pthread_mutex_trylock(&alive_lock)) return;
    for (const qonnx_scratch *s = alive; s; s = s->next) folder_remove(AT_FDCWD, s->path, DEPTH);
}

static void remove_at_exit(void) { atexit(qonnx_scratch_remove_all); }

static void remember(qonnx_scratch *s)
{
    pthread_once(&at_exit, remove_at_exit);
    pthread_mutex_lock(&alive_lock);
    s->next = alive;
    alive = s;
    pthread_mutex_unlock(&alive_lock);
}

static void forget(const qonnx_scratch *s)
{
    pthread_mutex_lock(&alive_lock);
    qonnx_scratch **at = &alive;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&alive_lock);
}

/* Makes a directory of that name, and locks it; errno says why not. */
static bool try_make(qonnx_scratch *s)
{
    if (mkdir(s->path, 0700)) return false;
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->fd >= 0 && temp_lock(s->fd)) return true;
    int error = s->fd >= 0 || errno == ENOENT ? EEXIST : errno; /* taken for a left over one */
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    rmdir(s->path);
    errno = error;
    return false;
}

qonnx_scratch *qonnx_scratch_new(qonnx_ctx *cx, const char *directory)
{
    qonnx_scratch *s = xcalloc(1, sizeof *s);
    size_t room = strlen(directory) + 1 + TEMP_NAME;
    bool made = false;
    s->path = xmalloc(room);
    s->fd = -1;
    leftovers_remove(directory);
    for (unsigned i = 0; i < 10000 && !made && (!i || errno == EEXIST); i++) {
        char name[TEMP_NAME];
        snprintf(s->path, room, "%s/%s", directory, temp_name(name, ""));
        made = try_make(s);
    }
    if (made) {
        remember(s);
        return s;
    }
    qonnx_fail(cx, NULL, "%s: can not be written: %s", directory, strerror(errno));
    free(s->path);
    free(s);
    return NULL;
}

const char *qonnx_scratch_path(const qonnx_scratch *s) { return s->path; }

void qonnx_scratch_free(qonnx_scratch *s)
{
    if (!s) return;
    forget(s);
    folder_remove(AT_FDCWD, s->path, DEPTH);
    close(s->fd);
    free(s->path);
    free(s);
}
