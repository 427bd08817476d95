/* frontend/data/pb.c - samples in files of TensorProto, SequenceProto and OptionalProto: the form
 * of ONNX's backend tests.
 */
#include "frontend/data/data.h"
#include "frontend/tensor.h"
#include "frontend/wire.h"
#include "ir/bundle.h"
#include <stdlib.h>
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

/* A tensor of a bundle of that type; `what` names it. */
static bool read_part(qonnx_ctx *cx, Message *m, const char *what, const Onnx__TensorProto *t,
                      qonnx_dtype want, qonnx_tensor *out)
{
    if (!tensor_from_proto(cx, NULL, what, t, keep, NULL, m->arena, out)) return false;
    return out->dtype == bundle_element(want) ||
           qonnx_fail(cx, NULL, "%s: is %s, want %s", what, qonnx_dtype_name(out->dtype),
                      qonnx_dtype_name(bundle_element(want)));
}

static bool read_sequence(qonnx_ctx *cx, Message *m, const char *path,
                          const Onnx__SequenceProto *p, qonnx_dtype want, qonnx_tensor *out)
{
    if (p->n_sparse_tensor_values || p->n_sequence_values || p->n_optional_values)
        return qonnx_fail(cx, NULL, "%s: holds a sequence of what is no tensor, want %s", path,
                          qonnx_dtype_name(want));
    qonnx_tensor *parts = arena_array(m->arena, p->n_tensor_values + 1, sizeof *parts);
    for (size_t i = 0; i < p->n_tensor_values; i++) {
        const char *what = arena_printf(m->arena, "%s: tensor %zu", path, i);
        if (!read_part(cx, m, what, p->tensor_values[i], want, &parts[i])) return false;
    }
    *out = bundle_make(want, parts, (int64_t)p->n_tensor_values);
    return true;
}

static bool read_optional(qonnx_ctx *cx, Message *m, const char *path,
                          const Onnx__OptionalProto *p, qonnx_dtype want, qonnx_tensor *out)
{
    qonnx_dtype inner = bundle_inner(want);
    qonnx_tensor *part = arena_alloc(m->arena, sizeof *part);
    bool tensor = p->tensor_value != NULL, sequence = p->sequence_value != NULL;
    if (p->sparse_tensor_value || p->optional_value || (is_bundle(inner) ? tensor : sequence))
        return qonnx_fail(cx, NULL, "%s: holds an optional of something else, want %s", path,
                          qonnx_dtype_name(want));
    if (tensor && !read_part(cx, m, path, p->tensor_value, inner, part)) return false;
    if (sequence && !read_sequence(cx, m, path, p->sequence_value, inner, part)) return false;
    *out = bundle_make(want, part, tensor || sequence);
    return true;
}

/* Reads what a value of that type has; of a tensor the type may be another. */
static bool message_of(qonnx_ctx *cx, const char *path, qonnx_dtype want, Message *m)
{
    bool optional = ((unsigned)want & QONNX_OPTIONAL) != 0, sequence = !optional && is_bundle(want);
    const void *p = wire_unpack(cx, path,
                                optional   ? &onnx__optional_proto__descriptor
                                : sequence ? &onnx__sequence_proto__descriptor
                                           : &onnx__tensor_proto__descriptor,
                                m->map.data, m->map.bytes, m->arena);
    if (!p) return false;
    if (optional) return read_optional(cx, m, path, p, want, &m->tensor);
    if (sequence) return read_sequence(cx, m, path, p, want, &m->tensor);
    if (!tensor_from_proto(cx, NULL, path, p, keep, NULL, m->arena, &m->tensor)) return false;
    /* older versions of ONNX wrote bfloat16 as uint16 of the same bits */
    if (want == QONNX_BFLOAT16 && m->tensor.dtype == QONNX_UINT16) m->tensor.dtype = want;
    return true;
}

static bool message_read(qonnx_ctx *cx, const char *path, qonnx_dtype want, Message *out)
{
    *out = (Message){0};
    if (!file_map(cx, path, &out->map)) return false;
    out->arena = arena_new();
    bool ok = message_of(cx, path, want, out);
    if (!ok) message_free(out);
    return ok;
}

/* Bytes of the strings in a tensor or bundle. */
static size_t string_bytes(const qonnx_tensor *t)
{
    size_t bytes = 0;
    int64_t count = qonnx_tensor_elements(t);
    for (int64_t i = 0; i < count; i++) {
        if (is_bundle(t->dtype)) bytes += string_bytes(&bundle_parts(t)[i]);
        else if (t->dtype == QONNX_STRING)
            bytes += sizeof(qonnx_string) + qonnx_tensor_string(t, i).bytes;
        else return 0;
    }
    return bytes;
}

static size_t string_count(const qonnx_tensor *t)
{
    int64_t count = qonnx_tensor_elements(t);
    if (!is_bundle(t->dtype)) return t->dtype == QONNX_STRING ? (size_t)count : 0;
    size_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += string_count(&bundle_parts(t)[i]);
    return sum;
}

/* Where strings are copied to. */
typedef struct StringRoom {
    qonnx_string *next; /* of the strings */
    char *text;         /* of their texts, which stand behind all of these */
} StringRoom;

/* Gives a tensor or bundle, whose array is at `data`, strings of its own. */
static void own_strings(const qonnx_tensor *t, void *data, StringRoom *r)
{
    int64_t count = qonnx_tensor_elements(t);
    for (int64_t i = 0; i < count; i++) {
        if (is_bundle(t->dtype)) {
            const qonnx_tensor *part = &((const qonnx_tensor *)data)[i];
            own_strings(part, (void *)(uintptr_t)part->data, r);
        } else if (t->dtype == QONNX_STRING) {
            qonnx_string s = qonnx_tensor_string(&(qonnx_tensor){.data = data}, i);
            if (s.bytes) memcpy(r->text, s.text, s.bytes);
            *r->next = (qonnx_string){s.bytes, r->text};
            r->text += s.bytes;
            ((const qonnx_string **)data)[i] = r->next++;
        } else {
            return;
        }
    }
}

/* Copies a tensor or bundle, strings included, into one malloc'd piece of memory. */
static bool take_whole(qonnx_ctx *cx, const char *path, const qonnx_tensor *t, qonnx_tensor *out)
{
    size_t array = (t->bytes + 15) / 16 * 16, bytes = array + string_bytes(t);
    char *data = malloc(bytes ? bytes : 1);
    if (!data) return qonnx_fail(cx, NULL, "%s: no memory for %zu bytes", path, bytes);
    bundle_copy(data, t);
    StringRoom room = {(qonnx_string *)(void *)(data + array), NULL};
    room.text = (char *)(room.next + string_count(t));
    own_strings(t, data, &room);
    *out = *t;
    out->data = data;
    return true;
}

/* Copies the message's tensor into a malloc'd one of shape `fit` and the feed's type. */
static bool message_take(qonnx_ctx *cx, const Feed *f, const char *path, const Message *m,
                         const Fit *fit, qonnx_tensor *out)
{
    const qonnx_tensor *t = &m->tensor;
    if (!sample_new(cx, f, path, fit, out)) return false;
    Elements e = {t->data, dtype_size(t->dtype), t->dtype, false, false};
    size_t n = (size_t)qonnx_tensor_elements(t);
    size_t done = convert_elements(e, n, f->dtype, (void *)(uintptr_t)out->data, 0);
    if (done == n) return true;
    qonnx_sample_free(out, 1);
    return convert_fail(cx, f, path, t->dtype, done);
}

/* What a message holds as a sample of the feed. */
static bool pb_take(qonnx_ctx *cx, const Feed *f, const char *path, const Message *m,
                    qonnx_tensor *out)
{
    Fit fit;
    if (is_bundle(f->dtype)) return take_whole(cx, path, &m->tensor, out);
    if (!convert_check(cx, f, path, m->tensor.dtype) ||
        !feed_fit(cx, f, path, m->tensor.dims, m->tensor.rank, false, &fit))
        return false;
    if (f->dtype != QONNX_STRING) return message_take(cx, f, path, m, &fit, out);
    if (!take_whole(cx, path, &m->tensor, out)) return false;
    out->rank = fit.rank; /* it may have a batch axis more */
    memcpy(out->dims, fit.dims, sizeof out->dims);
    return true;
}

bool pb_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    (void)row; /* there is one */
    Message m;
    if (!message_read(cx, path, f->dtype, &m)) return false;
    bool ok = pb_take(cx, f, path, &m, out);
    message_free(&m);
    return ok;
}

/* Whether it is none of the three. */
bool pb_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    (void)cx; /* nobody asks why */
    static const ProtobufCMessageDescriptor *const kinds[] = {&onnx__tensor_proto__descriptor,
                                                              &onnx__sequence_proto__descriptor,
                                                              &onnx__optional_proto__descriptor};
    bool whole = false;
    for (int i = 0; i < 3 && !whole; i++) {
        Ctx *own = qonnx_ctx_new();
        Arena *arena = arena_new();
        whole = wire_unpack(own, path, kinds[i], m->data, m->bytes, arena);
        arena_free(arena);
        qonnx_ctx_free(own);
    }
    return !whole;
}

bool pb_load(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *out)
{
    Message m;
    if (!message_read(cx, path, want, &m)) return false;
    Feed own = {.name = (char[]){"x"}, .dtype = m.tensor.dtype, .rank = -1};
    bool ok = pb_take(cx, &own, path, &m, out);
    message_free(&m);
    return ok;
}
