/* backends/atomic_file.h - a file that appears whole or not at all.
 *
 * Bytes go to a file that has no name yet, or a temporary one beside the target; when all is
 * written it is synced and gets its name. Until then, and after any failure, what stood at the
 * target is intact. What a killed process leaves behind is removed by the next that writes there.
 * Inputs of the context are never replaced, and nothing gets its name when one changed while it was
 * read.
 */
#ifndef BACKENDS_ATOMIC_FILE_H
#define BACKENDS_ATOMIC_FILE_H

#include <qonnx/base.h>

typedef struct AtomicFile AtomicFile;

/* Starts a file that will replace `path`, or the file that a symbolic link at `path` leads to. It
 * gets the mode of the file it replaces, else what open(2) gives a new one. A device or a pipe at
 * `path` is written directly: there is nothing to replace. NULL on failure. */
AtomicFile *atomic_open(qonnx_ctx *cx, const char *path);

/* Starts the removal of the file at `path`, as a part of a set: atomic_commit_all removes it. NULL
 * on failure. */
AtomicFile *atomic_remove(qonnx_ctx *cx, const char *path);

/* Appends bytes. After a failure only atomic_abort makes sense. */
QONNX_CHECKED bool atomic_write(AtomicFile *f, const void *data, size_t bytes);

/* Puts the bytes on the disk, so that only the renaming is left: for several files that belong
 * together. After it, and after a failure, nothing more is written. */
QONNX_CHECKED bool atomic_sync(AtomicFile *f);

/* Puts the file in its place, on the disk, and frees `f`; on failure too. */
QONNX_CHECKED bool atomic_commit(AtomicFile *f);

/* Puts files that belong together in their places: all of them, or, when one cannot be put there,
 * none: what stood at the others stands there again, where the file system can exchange two files
 * (those of Linux that lie on a disk can). Frees all, and sets the pointers to NULL, on failure
 * too. */
QONNX_CHECKED bool atomic_commit_all(AtomicFile **files, int count);

/* Removes the temporary file and frees `f`. NULL is fine. */
void atomic_abort(AtomicFile *f);

#endif
