/* frontend/data/npy.h - arrays in NumPy's form, in files of their own and in archives. */
#ifndef FRONTEND_DATA_NPY_H
#define FRONTEND_DATA_NPY_H

#include "frontend/data/data.h"

/* Bytes that a header has at most, with what stands in front of it. */
enum { NPY_HEAD_MAX = (1 << 16) + 12 };

/* What a header says of an array that is as long as it must be. */
typedef struct Npy {
    qonnx_dtype dtype;            /* of the elements */
    bool swap;                    /* big endian */
    bool codes;                   /* bits of a type that NumPy has not, as ml_dtypes adds them */
    bool fortran;                 /* the first axis is the fastest */
    int rank;                     /* of the array */
    int64_t dims[QONNX_MAX_RANK]; /* all >= 0 */
    size_t start;                 /* of the array, in the file */
    bool damaged;                 /* why there is none: the bytes make no array */
} Npy;

/* Reads the header of a file of so many bytes, of which the first `have` are at `head`: all of the
 * header at least, where there is one. On failure out->damaged says whether the bytes are to blame:
 * an array of a kind that is not read is not damaged. */
bool npy_parse(qonnx_ctx *cx, const char *path, const uint8_t *head, size_t have, size_t bytes,
               Npy *out);

/* Whether its elements can be converted to the input's type, as convert_check. */
bool npy_check(qonnx_ctx *cx, const Feed *f, const char *path, const Npy *a);

/* Bytes of header and what stands in front, as the first 12 bytes say. */
size_t npy_head_bytes(const uint8_t head[12]);

/* Bytes of an array in front of its sample `row`; they follow one another in C order. */
size_t npy_offset(const Npy *a, const Fit *fit, size_t row);

/* Makes a sample of the elements from `data` on, its first. */
bool npy_take(qonnx_ctx *cx, const Feed *f, const char *path, const Npy *a, const Fit *fit,
              const uint8_t *data, qonnx_tensor *out);

#endif
