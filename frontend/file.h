/* frontend/file.h - whole files as memory: the one way this program reads what a path names.
 *
 * Only regular files that are not empty are mapped. The mapping is private and read-only; a file
 * that another process cuts short while it is mapped takes this process with it (SIGBUS), unless
 * the kernel reads it in our place (EFAULT): qonnx_file_at() tells which file it was.
 */
#ifndef FRONTEND_FILE_H
#define FRONTEND_FILE_H

#include <qonnx/base.h>

typedef struct FileMap {
    const uint8_t *data; /* NULL: nothing is mapped */
    size_t bytes;        /* length of the file when it was mapped */
} FileMap;

/* Maps the file at `path`. On failure the message says what stands there instead and, for a missing
 * file, which neighbour has nearly the same name. Released by file_unmap. [any thread] */
QONNX_CHECKED bool file_map(qonnx_ctx *cx, const char *path, FileMap *out);

/* The same for an open file, which stays open; `path` is for messages. [any thread] */
QONNX_CHECKED bool file_map_fd(qonnx_ctx *cx, int fd, const char *path, FileMap *out);

/* Releases a mapping; one that holds nothing is fine. */
void file_unmap(FileMap *m);

/* Fails with "PATH: no such file" and the name of a neighbour that differs by a slip of the
 * keyboard, if there is one. */
bool file_missing(qonnx_ctx *cx, const char *path);

#endif
