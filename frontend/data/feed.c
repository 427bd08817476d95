/* frontend/data/feed.c - fitting what a file holds to what a graph input wants, and choosing the
 * reader by the file's name.
 */
#include "frontend/data/data.h"
#include "frontend/data/picture.h"
#include "ir/ir.h"
#include "ir/size.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

const char *shape_text(int rank, const int64_t *dims, char text[SHAPE_TEXT])
{
    if (rank < 0) return "[any]";
    size_t at = 0;
    text[at++] = '[';
    for (int i = 0; i < rank; i++) {
        const char *comma = i ? "," : "";
        int n = dims[i] < 0
                    ? snprintf(text + at, SHAPE_TEXT - at, "%s?", comma)
                    : snprintf(text + at, SHAPE_TEXT - at, "%s%lld", comma, (long long)dims[i]);
        at += (size_t)n;
    }
    memcpy(text + at, "]", 2);
    return text;
}

/* Whether sizes a[0..n) are what w[0..n) asks for. */
static bool fits(const int64_t *a, const int64_t *w, int n)
{
    for (int i = 0; i < n; i++)
        if (w[i] >= 0 && a[i] != w[i]) return false;
    return true;
}

/* Whether the first axis of the input counts samples: it is 1, or a symbol with axes behind it. */
static bool has_batch(const Feed *f)
{
    return f->dims[0] == 1 || (f->dims[0] < 0 && f->rank > 1);
}

/* One sample of `axis` (-1: none, else a size in front) and dims[0..rank). */
static void fit_shape(Fit *out, int64_t axis, const int64_t *dims, int rank)
{
    out->rank = 0;
    if (axis >= 0) out->dims[out->rank++] = axis;
    for (int i = 0; i < rank; i++) out->dims[out->rank++] = dims[i];
}

/* The rules of feed_fit; false when none applies. */
static bool fit_rules(const Feed *f, const int64_t *dims, int rank, bool rows, Fit *out)
{
    int want = f->rank;
    bool same = want < 0 || (rank == want && fits(dims, f->dims, rank));
    bool tail = want > 0 && rank == want && fits(dims + 1, f->dims + 1, rank - 1);
    *out = (Fit){.count = 1};
    if (rows && tail && (has_batch(f) || (!same && rank > 1))) {
        out->split = true;
        fit_shape(out, 1, dims + 1, rank - 1);
    } else if (same) {
        fit_shape(out, -1, dims, rank);
    } else if (want == rank + 1 && fits(dims, f->dims + 1, rank)) {
        fit_shape(out, 1, dims, rank);
    } else if (rows && rank == want + 1 && fits(dims + 1, f->dims, want)) {
        out->split = true;
        fit_shape(out, -1, dims + 1, want);
    } else {
        return false;
    }
    if (out->split) out->count = (size_t)dims[0];
    return true;
}

bool feed_fit(qonnx_ctx *cx, const Feed *f, const char *path, const int64_t *dims, int rank,
              bool rows, Fit *out)
{
    char have[SHAPE_TEXT], want[SHAPE_TEXT];
    if (!fit_rules(f, dims, rank, rows, out))
        return qonnx_fail(cx, NULL, "%s: shape is %s, the model's input '%s' wants %s", path,
                          shape_text(rank, dims, have), f->name,
                          shape_text(f->rank, f->dims, want));
    if (!out->count)
        return qonnx_fail(cx, NULL, "%s: shape is %s: there is no sample in it", path,
                          shape_text(rank, dims, have));
    return true;
}

Kind kind_of(const char *name)
{
    static const struct {
        const char *extension;
        Kind kind;
    } kinds[] = {{".npy", KIND_NPY},
                 {".pb", KIND_PB}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcasecmp(dot, kinds[i].extension)) return kinds[i].kind;
    return picture_named(name) ? KIND_IMAGE : KIND_OTHER;
}

static bool unknown_kind(qonnx_ctx *cx, const char *path)
{
    const char *dot = strrchr(path, '.');
    return qonnx_fail(cx, NULL, "%s: no sample file; .npy, .pb, %s are read%s", path,
                      picture_extensions(),
                      dot && !strcasecmp(dot, ".npz") ? ": unpack the archive (unzip)" : "");
}

bool sample_damaged(const char *path)
{
    struct stat st;
    if (!stat(path, &st) && S_ISREG(st.st_mode) && !st.st_size) return true;
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap m;
    bool damaged = false;
    if (file_map(cx, path, &m)) {
        Kind kind = kind_of(path);
        damaged = kind == KIND_NPY     ? npy_damaged(cx, path, &m)
                  : kind == KIND_IMAGE ? image_damaged(cx, path, &m)
                  : kind == KIND_PB    ? pb_damaged(cx, path, &m)
                                       : false;
        file_unmap(&m);
    }
    qonnx_ctx_free(cx);
    return damaged;
}

/* The count of an .npy file, which stands in its header. */
static bool count_npy(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count, bool *damaged)
{
    qonnx_ctx *own = qonnx_ctx_new(); /* damage is no failure yet */
    bool ok = npy_count(own, f, path, count);
    if (!ok && damaged) *damaged = sample_damaged(path);
    if (!ok && damaged && *damaged) ok = true;
    else if (!ok) ctx_take_error(cx, own);
    qonnx_ctx_free(own);
    return ok;
}

bool sample_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count, bool *damaged)
{
    *count = 1;
    if (damaged) *damaged = false;
    switch (kind_of(path)) {
    case KIND_NPY:
        return count_npy(cx, f, path, count, damaged);
    case KIND_IMAGE:
        return image_check(cx, f, path);
    case KIND_PB:
        return true;
    default:
        return unknown_kind(cx, path);
    }
}

bool sample_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    switch (kind_of(path)) {
    case KIND_NPY:
        return npy_read(cx, f, path, row, out);
    case KIND_IMAGE:
        return image_read(cx, f, path, out);
    case KIND_PB:
        return pb_read(cx, f, path, out);
    default:
        return unknown_kind(cx, path);
    }
}

bool sample_new(qonnx_ctx *cx, const Feed *f, const char *path, const Fit *fit, qonnx_tensor *out)
{
    *out = (qonnx_tensor){.dtype = f->dtype, .rank = fit->rank};
    memcpy(out->dims, fit->dims, sizeof out->dims);
    size_t bytes;
    if (!tensor_bytes(out->dims, out->rank, out->dtype, &bytes) || bytes > PTRDIFF_MAX)
        return qonnx_fail(cx, NULL, "%s: a sample of it is larger than memory", path);
    void *data = malloc(bytes ? bytes : 1);
    if (!data) return qonnx_fail(cx, NULL, "%s: no memory for %zu bytes", path, bytes);
    out->data = data;
    out->bytes = bytes;
    return true;
}

bool qonnx_tensor_load(qonnx_ctx *cx, const char *path, qonnx_tensor *t)
{
    *t = (qonnx_tensor){0};
    input_add(cx, path, "a sample");
    switch (kind_of(path)) {
    case KIND_NPY:
        return npy_load(cx, path, t);
    case KIND_PB:
        return pb_load(cx, path, t);
    default:
        return qonnx_fail(cx, NULL, "%s: no tensor file; .npy and .pb are read", path);
    }
}

void qonnx_sample_free(qonnx_tensor *tensors, int count)
{
    for (int i = 0; i < count; i++) {
        free((void *)(uintptr_t)tensors[i].data);
        tensors[i] = (qonnx_tensor){0};
    }
}
