/* qonnx/base.h - what every other public header needs: visibility, data types, tensors, and the
 * context that carries diagnostics.
 *
 * Conventions of the whole API
 *   ownership  A function that returns a pointer lends it unless its name ends in _new, _open,
 * _load or _collect; those are released by the matching _free. NULL is accepted by every _free.
 *   errors     Functions that can fail on bad input return bool (or NULL) and have put one message
 *              into the context, where it is found; callers add nothing to it. Running out of
 *              memory prints one line and ends the process with status 1.
 *   threads    A context, and whatever was made with it, is used by one thread at a time, except
 *              where a function says [any thread].
 */
#ifndef QONNX_BASE_H
#define QONNX_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QONNX_API __attribute__((visibility("default")))
#define QONNX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define QONNX_CHECKED __attribute__((warn_unused_result))

/** "MAJOR.MINOR.PATCH" of the library that is loaded. [any thread] */
QONNX_API const char *qonnx_version(void);

/** Says "out of memory" and ends the process with status 1, once, whichever threads find it. For
 *  whatever is written on this API; the API itself does the same. [any thread] */
QONNX_API void qonnx_out_of_memory(void) __attribute__((noreturn));

/** Returns to the first thread that calls it; any other waits in it for ever. For whoever is about
 * to say why the process ends, so that it is said once. [any thread, any handler] */
QONNX_API void qonnx_last_words(void);

/* ---- element types --------------------------------------------------------------------------- */

/** Element types; the numbers are those of ONNX's TensorProto.DataType. */
typedef enum qonnx_dtype {
    QONNX_UNDEFINED = 0,
    QONNX_FLOAT = 1,
    QONNX_UINT8 = 2,
    QONNX_INT8 = 3,
    QONNX_UINT16 = 4,
    QONNX_INT16 = 5,
    QONNX_INT32 = 6,
    QONNX_INT64 = 7,
    QONNX_STRING = 8,
    QONNX_BOOL = 9,
    QONNX_FLOAT16 = 10,
    QONNX_DOUBLE = 11,
    QONNX_UINT32 = 12,
    QONNX_UINT64 = 13,
    QONNX_COMPLEX64 = 14,
    QONNX_COMPLEX128 = 15,
    QONNX_BFLOAT16 = 16,
    QONNX_FLOAT8E4M3FN = 17,
    QONNX_FLOAT8E4M3FNUZ = 18,
    QONNX_FLOAT8E5M2 = 19,
    QONNX_FLOAT8E5M2FNUZ = 20,
    QONNX_UINT4 = 21,
    QONNX_INT4 = 22,
    QONNX_FLOAT4E2M1 = 23,
    QONNX_FLOAT8E8M0 = 24,
    QONNX_UINT2 = 25,
    QONNX_INT2 = 26,
    QONNX_FLOAT6E2M3 = 27,
    QONNX_FLOAT6E3M2 = 28,
    QONNX_SEQUENCE = 64, /* added to the type of its tensors: a sequence of them */
    QONNX_OPTIONAL = 128 /* added to a type: one of that type, or nothing */
} qonnx_dtype;

/** Bits an element takes in raw_data, of strings those of a pointer; 0 for undefined and unknown
 *  types, and for what is no tensor. [any thread] */
QONNX_API int qonnx_dtype_bits(qonnx_dtype t);

/** ONNX's lower-case name, "float", "uint8", ...; "type 99" style names are not invented: unknown
 *  numbers give "unknown". [any thread] */
QONNX_API const char *qonnx_dtype_name(qonnx_dtype t);

/* ---- tensors --------------------------------------------------------------------------------- */

/** The highest rank that shapes and tensors may have; a file with more is refused. */
#define QONNX_MAX_RANK 8

/** A dense, row-major tensor; elements of fewer than 8 bits are packed, the first one in the lowest
 *  bits. Who owns `data` is said by the function that hands it over.
 *
 *  A sequence or an optional (QONNX_SEQUENCE, QONNX_OPTIONAL in dtype) has rank 1: `data` is an
 *  array of dims[0] qonnx_tensors, what it holds, and `bytes` are those of the array and of all
 *  that is in them. */
typedef struct qonnx_tensor {
    qonnx_dtype dtype;
    int rank;                     /* 0: a scalar */
    int64_t dims[QONNX_MAX_RANK]; /* all known, all >= 0 */
    const void *data;             /* little endian, possibly unaligned: load by memcpy */
    size_t bytes;                 /* length of data */
} qonnx_tensor;

/** What an element of a tensor of strings points to: `data` is an array of pointers to these, any
 *  of which may be NULL, for "". They live as long as the tensor. */
typedef struct qonnx_string {
    size_t bytes;     /* of the text */
    const char *text; /* UTF-8, as ONNX has it; nobody has checked that, and it may hold NULs */
} qonnx_string;

/** Element i of a tensor of strings. [any thread] */
QONNX_API qonnx_string qonnx_tensor_string(const qonnx_tensor *t, int64_t i);

/** Product of the dims; 1 for a scalar. The tensor has been checked, so it cannot overflow.
 *  [any thread] */
QONNX_API int64_t qonnx_tensor_elements(const qonnx_tensor *t);

/** Element i of a tensor of any integer, bool or float type, as double (exact up to 2^53).
 *  [any thread] */
QONNX_API double qonnx_tensor_get(const qonnx_tensor *t, int64_t i);

/* ---- context: diagnostics -------------------------------------------------------------------- */

typedef struct qonnx_ctx qonnx_ctx;
typedef struct qonnx_node qonnx_node;
typedef struct qonnx_value qonnx_value;
typedef struct qonnx_graph qonnx_graph;

typedef enum qonnx_level { QONNX_NOTE, QONNX_WARNING } qonnx_level;

/** Receives warnings and notes; text has no newline and lives for the call only. */
typedef void qonnx_log_fn(void *user, qonnx_level level, const char *text);

/** Called from the thread that started the work, at most a few times a second: done of total
 *  samples. Return false to stop: the work then fails with "interrupted". */
typedef bool qonnx_progress_fn(void *user, const char *what, size_t done, size_t total);

/** A context belongs to one piece of work: what was read with it is not replaced by what is written
 *  with it (qonnx_output_check). */
QONNX_API qonnx_ctx *qonnx_ctx_new(void);
QONNX_API void qonnx_ctx_free(qonnx_ctx *cx);
QONNX_API void qonnx_ctx_on_log(qonnx_ctx *cx, qonnx_log_fn *fn, void *user);
QONNX_API void qonnx_ctx_on_progress(qonnx_ctx *cx, qonnx_progress_fn *fn, void *user);

/** Models that are loaded with this context may have external data behind symbolic links, as caches
 *  of downloads keep it, and these may lead anywhere: for models from a source that is trusted. Off
 *  in a new context. Either way the location in the model is relative and has no "..". */
QONNX_API void qonnx_ctx_allow_symlinks(qonnx_ctx *cx, bool allow);

/** The message of the failure, "" when none: "FILE: node 'NAME' (OP): what; what to do". Lives
 *  until the next failure of this context. */
QONNX_API const char *qonnx_error(const qonnx_ctx *cx);

/** The name of the file that lies in memory at that address, made harmless for a terminal; NULL if
 *  none does. Files are read as memory: where one is cut short by somebody else, reading what is
 * gone ends the process by SIGBUS, and this is the file to blame. Lives until the file is let go.
 *  [any thread, a handler of signals] */
QONNX_API const char *qonnx_file_at(const void *address);

/** Records a failure and returns false, so that `return qonnx_fail(...)` reads well. `node` may be
 *  NULL. Only the first failure is kept: it is the cause. */
QONNX_API bool qonnx_fail(qonnx_ctx *cx, const qonnx_node *node, const char *fmt, ...)
    QONNX_PRINTF(3, 4);
/** Makes a name that came from a file harmless for terminals and readers of UTF-8, in place:
 * control characters and bytes that are no character become question marks. Messages go through it.
 *  [any thread] */
QONNX_API void qonnx_tame(char *text);
QONNX_API void qonnx_warn(qonnx_ctx *cx, const qonnx_node *node, const char *fmt, ...)
    QONNX_PRINTF(3, 4);
QONNX_API void qonnx_note(qonnx_ctx *cx, const qonnx_node *node, const char *fmt, ...)
    QONNX_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
