/* frontend/data/raw.c - samples as bytes alone: elements of the input's type, little endian, in C
 * order. A file of n times one sample's bytes is n samples.
 */
#include "frontend/data/data.h"
#include "ir/size.h"
#include <string.h>

/* The shape and bytes of one sample: the input's, an open batch axis being 1. */
static bool raw_sample(qonnx_ctx *cx, const Feed *f, const char *path, Fit *out, size_t *bytes)
{
    char want[SHAPE_TEXT];
    *out = (Fit){.count = 1, .rank = f->rank < 0 ? 0 : f->rank};
    bool fixed = f->rank >= 0;
    for (int i = 0; i < f->rank; i++) {
        bool batch = i == 0 && f->rank > 1;
        out->dims[i] = batch && f->dims[i] < 0 ? 1 : f->dims[i];
        fixed &= out->dims[i] >= 0;
    }
    if (fixed && tensor_bytes(out->dims, out->rank, f->dtype, bytes) && *bytes) return true;
    return qonnx_fail(cx, NULL,
                      "%s: a file of bytes needs an input of fixed sizes, the model's input '%s' "
                      "is %s %s; give it a shape (--shape), or use .npy",
                      path, f->name, qonnx_dtype_name(f->dtype),
                      shape_text(f->rank, f->dims, want));
}

/* Maps the file. */
static bool raw_open(qonnx_ctx *cx, const Feed *f, const char *path, FileMap *m, Fit *fit,
                     size_t *bytes)
{
    char want[SHAPE_TEXT];
    if (!raw_sample(cx, f, path, fit, bytes) || !file_map(cx, path, m)) return false;
    fit->count = m->bytes / *bytes;
    if (m->bytes % *bytes == 0) return true;
    qonnx_fail(cx, NULL,
               "%s: has %zu bytes, the model's input '%s' wants %zu (%s %s), or a multiple", path,
               m->bytes, f->name, *bytes, qonnx_dtype_name(f->dtype),
               shape_text(fit->rank, fit->dims, want));
    file_unmap(m);
    return false;
}

bool raw_check(qonnx_ctx *cx, const Feed *f, const char *path)
{
    Fit fit;
    size_t bytes;
    return raw_sample(cx, f, path, &fit, &bytes);
}

bool raw_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count)
{
    FileMap m;
    Fit fit;
    size_t bytes;
    if (!raw_open(cx, f, path, &m, &fit, &bytes)) return false;
    *count = fit.count;
    file_unmap(&m);
    return true;
}

bool raw_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    FileMap m;
    Fit fit;
    size_t bytes;
    if (!raw_open(cx, f, path, &m, &fit, &bytes)) return false;
    bool ok = row < fit.count || qonnx_fail(cx, NULL, "%s: the file has changed", path);
    ok = ok && sample_new(cx, f, path, &fit, out);
    if (ok) memcpy((void *)(uintptr_t)out->data, m.data + row * bytes, bytes);
    file_unmap(&m);
    return ok;
}
