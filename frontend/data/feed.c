/* frontend/data/feed.c - fitting what a file holds to what a graph input wants.
 */
#include "frontend/data/data.h"
#include "ir/size.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    bool batch = rows && f->arrays == QONNX_ARRAYS_BATCH;
    bool same = !batch && (want < 0 || (rank == want && fits(dims, f->dims, rank)));
    bool tail = want > 0 && rank == want && fits(dims + 1, f->dims + 1, rank - 1);
    if (f->arrays == QONNX_ARRAYS_SAMPLE) rows = false;
    *out = (Fit){.count = 1};
    if (rows && ((tail && (has_batch(f) || (!same && (rank > 1 || (batch && f->dims[0] < 0))))) ||
                 (batch && want < 0 && rank > 0))) {
        out->split = true;
        fit_shape(out, 1, dims + 1, rank - 1);
    } else if (same) {
        fit_shape(out, -1, dims, rank);
    } else if (!batch && want == rank + 1 && fits(dims, f->dims + 1, rank)) {
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

/* What was asked for beyond the shapes, behind a message. */
static const char *asked(const Feed *f)
{
    switch (f->arrays) {
    case QONNX_ARRAYS_SAMPLE:
        return " (--npy sample: an array is one)";
    case QONNX_ARRAYS_BATCH:
        return " (--npy batch: the first axis counts samples)";
    default:
        return "";
    }
}

bool feed_fit(qonnx_ctx *cx, const Feed *f, const char *path, const int64_t *dims, int rank,
              bool rows, Fit *out)
{
    char have[SHAPE_TEXT], want[SHAPE_TEXT];
    if (!fit_rules(f, dims, rank, rows, out))
        return qonnx_fail(cx, NULL, "%s: shape is %s, the model's input '%s' wants %s%s", path,
                          shape_text(rank, dims, have), f->name,
                          shape_text(f->rank, f->dims, want), rows ? asked(f) : "");
    if (!out->count)
        return qonnx_fail(cx, NULL, "%s: shape is %s: there is no sample in it", path,
                          shape_text(rank, dims, have));
    return true;
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
    if (bytes) ((uint8_t *)data)[bytes - 1] = 0;
    out->data = data;
    out->bytes = bytes;
    return true;
}

void qonnx_sample_free(qonnx_tensor *tensors, int count)
{
    for (int i = 0; i < count; i++) {
        free((void *)(uintptr_t)tensors[i].data);
        tensors[i] = (qonnx_tensor){0};
    }
}
