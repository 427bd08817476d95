/* frontend/data/pb.c - samples in TensorProto files, the form of ONNX's backend tests. */
#include "frontend/data/data.h"
#include "frontend/tensor.h"
#include "frontend/wire.h"
#include "ir/arena.h"
#include <string.h>

/* A file that was read. */
typedef struct Message {
    FileMap map;         /* the tensor points into it */
    Arena *arena;        /* the rest of what it points to */
    qonnx_tensor tensor; /* checked */
} Message;

static void *keep(void *arena, size_t bytes)
{
    return arena_aligned(arena, bytes);
}

static void message_free(Message *m)
{
    arena_free(m->arena);
    file_unmap(&m->map);
}

static bool message_read(qonnx_ctx *cx, const char *path, Message *out)
{
    *out = (Message){0};
    if (!file_map(cx, path, &out->map)) return false;
    out->arena = arena_new();
    const Onnx__TensorProto *t = wire_unpack(cx, path, &onnx__tensor_proto__descriptor,
                                             out->map.data, out->map.bytes, out->arena);
    bool ok = t && tensor_from_proto(cx, NULL, path, t, keep, NULL, out->arena, &out->tensor);
    if (ok && out->tensor.dtype == QONNX_STRING)
        ok = qonnx_fail(cx, NULL, "%s: holds strings, which are not read", path);
    if (!ok) message_free(out);
    return ok;
}

/* Copies the message's tensor into a malloc'd one of shape `fit` and the feed's type. */
static bool message_take(qonnx_ctx *cx, const Feed *f, const char *path, const Message *m,
                         const Fit *fit, qonnx_tensor *out)
{
    const qonnx_tensor *t = &m->tensor;
    if (!convert_check(cx, f, path, t->dtype) || !sample_new(cx, f, path, fit, out)) return false;
    if (t->dtype == f->dtype) { /* types of less than 8 bits too */
        memcpy((void *)(uintptr_t)out->data, t->data, t->bytes);
        return true;
    }
    Elements e = {t->data, qonnx_dtype_bits(t->dtype) / 8, t->dtype, false};
    size_t n = (size_t)qonnx_tensor_elements(t);
    size_t done = convert_elements(e, n, f->dtype, (void *)(uintptr_t)out->data);
    if (done == n) return true;
    qonnx_sample_free(out, 1);
    return convert_fail(cx, f, path, t->dtype, done);
}

bool pb_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    (void)row; /* there is one */
    Message m;
    Fit fit;
    if (!message_read(cx, path, &m)) return false;
    bool ok = feed_fit(cx, f, path, m.tensor.dims, m.tensor.rank, false, &fit) &&
              message_take(cx, f, path, &m, &fit, out);
    message_free(&m);
    return ok;
}

bool pb_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    Arena *arena = arena_new();
    bool whole = wire_unpack(cx, path, &onnx__tensor_proto__descriptor, m->data, m->bytes, arena);
    arena_free(arena);
    return !whole;
}

bool pb_load(qonnx_ctx *cx, const char *path, qonnx_tensor *out)
{
    Message m;
    if (!message_read(cx, path, &m)) return false;
    Feed own = {.name = (char[]){"x"}, .dtype = m.tensor.dtype, .rank = -1};
    Fit fit;
    bool ok = feed_fit(cx, &own, path, m.tensor.dims, m.tensor.rank, false, &fit) &&
              message_take(cx, &own, path, &m, &fit, out);
    message_free(&m);
    return ok;
}
