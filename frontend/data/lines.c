/* frontend/data/lines.c - text files a line at a time, and lists of samples: "PATH" or "PATH
 * CLASS", blank lines and those that begin with # left out.
 */
#include "frontend/data/data.h"
#include "ir/ir.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

Slice slice_trim(Slice s)
{
    while (s.n && is_space(s.at[0])) s.at++, s.n--;
    while (s.n && is_space(s.at[s.n - 1])) s.n--;
    return s;
}

Slice take_line(Slice *text)
{
    const char *end = memchr(text->at, '\n', text->n);
    Slice line = {text->at, end ? (size_t)(end - text->at) : text->n};
    size_t used = line.n + (end != NULL);
    text->at += used;
    text->n -= used;
    return slice_trim(line);
}

void skip_mark(Slice *text)
{
    if (text->n >= 3 && !memcmp(text->at, "\xef\xbb\xbf", 3)) text->at += 3, text->n -= 3;
}

bool split_class(Slice line, const char *separators, Slice *file, int *class_index)
{
    size_t cut = line.n, end;
    while (cut && line.at[cut - 1] >= '0' && line.at[cut - 1] <= '9') cut--;
    for (end = cut; end && strchr(separators, line.at[end - 1]) && line.at[end - 1];) end--;
    *file = line;
    *class_index = -1;
    if (cut == line.n || end == cut || !end) return true; /* no number, or nothing in front of it */
    int64_t v = 0;
    for (size_t i = cut; i < line.n && v <= INT_MAX; i++) v = v * 10 + (line.at[i] - '0');
    *file = (Slice){line.at, end};
    *class_index = v <= INT_MAX ? (int)v : -1;
    return v <= INT_MAX;
}

/* ---- what can be read once only -------------------------------------------------------------- */

/* The copy of what came through a pipe: samples are listed more than once. */
typedef struct Copy {
    struct Copy *next; /* made before */
    dev_t device; /* with `inode`: which pipe it was */
    ino_t inode;
    FILE *file; /* without a name; open as long as the process lives */
} Copy;

static Copy *copies;
static pthread_mutex_t copies_lock = PTHREAD_MUTEX_INITIALIZER;

static bool copy_all(int from, FILE *to)
{
    char block[1 << 16];
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0)
        if (fwrite(block, 1, (size_t)n, to) != (size_t)n) return false;
    return n == 0 && fflush(to) == 0;
}

/* The descriptor of a copy of what is open as `fd`; -1: there is none, errno says why. */
static int copy_of(int fd, const struct stat *st)
{
    pthread_mutex_lock(&copies_lock);
    Copy *c = copies;
    while (c && (c->device != st->st_dev || c->inode != st->st_ino)) c = c->next;
    FILE *file = c ? c->file : tmpfile();
    if (!c && file && !copy_all(fd, file)) {
        int error = errno;
        fclose(file);
        file = NULL;
        errno = error;
    } else if (!c && file) {
        c = xmalloc(sizeof *c);
        *c = (Copy){copies, st->st_dev, st->st_ino, file};
        copies = c;
    }
    pthread_mutex_unlock(&copies_lock);
    return file ? fileno(file) : -1;
}

/* Maps a list; `name` is for messages. */
static bool map_list(qonnx_ctx *cx, const char *list, const char *name, FileMap *out)
{
    struct stat st;
    bool given = !strcmp(list, "-");
    int fd = given ? STDIN_FILENO : open(list, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    *out = (FileMap){0};
    if (fd < 0 && errno == ENOENT) return file_missing(cx, list);
    if (fd < 0 || fstat(fd, &st))
        return qonnx_fail(cx, NULL, "%s: cannot read: %s", name, strerror(errno));
    bool once = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) || S_ISSOCK(st.st_mode);
    int from = once ? copy_of(fd, &st) : fd;
    bool ok = from >= 0 ? file_map_fd(cx, from, name, out)
                        : qonnx_fail(cx, NULL, "%s: cannot read: %s", name, strerror(errno));
    if (!given) close(fd);
    return ok;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* A list being read. */
typedef struct Reading {
    qonnx_ctx *cx;    /* for messages */
    const char *name; /* of the list, for messages */
    const char *dir;  /* that paths are relative to; "": the current one */
    Listing *l;       /* gets the files */
    Skipped skipped;  /* what is not read */
    int line;         /* number of the current one */
} Reading;

static bool add_line(Reading *r, Slice line)
{
    char path[PATH_MAX];
    int class_index;
    Slice file;
    if (memchr(line.at, 0, line.n))
        return qonnx_fail(r->cx, NULL, "%s: line %d holds a byte of 0; want a list of paths, as "
                                       "text",
                          r->name, r->line);
    if (!split_class(line, " \t,", &file, &class_index))
        return qonnx_fail(r->cx, NULL, "%s: line %d has a class beyond %d", r->name, r->line,
                          INT_MAX);
    while (file.n && strchr(" \t,", file.at[file.n - 1])) file.n--;
    if (!file.n) return true;
    if (file.n >= sizeof path)
        return qonnx_fail(r->cx, NULL, "%s: line %d has %zu bytes; want a path and its class",
                          r->name, r->line, line.n);
    memcpy(path, file.at, file.n);
    path[file.n] = 0;
    if (!form_of(path)) skip_file(&r->skipped, path);
    else listing_add(r->l, *path == '/' ? "" : r->dir, path, class_index)->by_place = true;
    return true;
}

static bool read_lines(Reading *r, Slice text)
{
    skip_mark(&text);
    for (r->line = 1; text.n; r->line++) {
        Slice line = take_line(&text);
        if (line.n && line.at[0] != '#' && !add_line(r, line)) return false;
    }
    return true;
}

bool listing_lines(qonnx_ctx *cx, const char *list, Listing *out)
{
    FileMap map;
    bool given = !strcmp(list, "-");
    const char *slash = strrchr(list, '/'), *name = given ? "standard input" : list;
    char *dir = xstrndup(list, slash ? (size_t)(slash - list) + 1 : 0);
    char endings[ENDINGS_TEXT];
    Reading r = {.cx = cx, .name = name, .dir = dir, .l = out};
    size_t first = out->nfiles;
    bool ok = map_list(cx, list, name, &map);
    if (ok) {
        if (!given) input_add(cx, list, "a list of samples");
        listing_root(out, name);
        ok = read_lines(&r, (Slice){(const char *)map.data, map.bytes});
        file_unmap(&map);
    }
    if (ok && out->nfiles == first)
        ok = qonnx_fail(cx, NULL, "%s: names no samples; want a line for each: a path to one of "
                                  "%s, and its class where it has one",
                        name, form_endings(endings));
    if (ok) skipped_tell(cx, name, &r.skipped);
    free(r.skipped.data);
    free(dir);
    return ok;
}
