/* frontend/external.h - tensor data in files beside the model ("external data").
 *
 * Files are opened beneath the model's directory only: no absolute path, no "..", no symbolic link
 * (the kernel sees to it, by openat2; where it cannot, every component is opened by itself), unless
 * the context allows links. Each file is mapped once, read-only, and stays mapped until
 * external_free.
 */
#ifndef FRONTEND_EXTERNAL_H
#define FRONTEND_EXTERNAL_H

#include <qonnx/base.h>
#include "onnx.pb-c.h"

typedef struct ExternalFiles ExternalFiles;

/* No file is touched before the first external_open. `dir` is the model's directory, copied. */
ExternalFiles *external_new(const char *dir);
/* Unmaps all files: tensors that point into them are gone. NULL is fine. */
void external_free(ExternalFiles *x);

/* Finds the `bytes` > 0 bytes of data that t->external_data describes by its keys location, offset
 * and length; others are ignored, checksum included. `*data` lives as long as `x`. On failure the
 * message names the tensor and the location. */
QONNX_CHECKED bool external_open(qonnx_ctx *cx, ExternalFiles *x, const Onnx__TensorProto *t,
                                 size_t bytes, const void **data);

/* Bytes of the files that were mapped, each counted once, whatever names it was found by. */
size_t external_bytes(const ExternalFiles *x);

/* The way without openat2: opens `path` beneath the directory `dirfd`, component by component.
 * -1 and errno on failure: EXDEV for absolute paths and "..", ELOOP or ENOTDIR for links. */
int external_walk(int dirfd, const char *path);

#endif
