/* tests/fuzz/mutate.c - libFuzzer's mutator for targets that read messages: it changes fields, not
 * bytes, so that most of what it makes gets past the parser. A quarter of the time bytes all the
 * same.
 */
#include "frontend/wire.h"
#include "tests/fuzz/fuzz.h"
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

enum { MOST_MESSAGES = 4096, MOST_STRINGS = 1024, MOST_BYTES = 1 << 20, MOST_DEPTH = 24 };

typedef const ProtobufCFieldDescriptor Field;

typedef struct Mutator {
    uint64_t state;                            /* of random() */
    Arena *arena;                              /* everything that is made */
    ProtobufCMessage *messages[MOST_MESSAGES]; /* of the input, the whole one first */
    size_t nmessage;
    char *strings[MOST_STRINGS]; /* of the input */
    size_t nstring;
} Mutator;

static uint64_t random_bits(Mutator *m)
{
    m->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = m->state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(Mutator *m, size_t n) { return n ? (size_t)(random_bits(m) % n) : 0; }

static size_t element_size(Field *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_FLOAT: return 4;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    default: return 8;
    }
}

static size_t *count_of(ProtobufCMessage *m, Field *f)
{
    return (size_t *)((char *)m + f->quantifier_offset);
}

static bool is_there(ProtobufCMessage *m, Field *f)
{
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(uint32_t *)((char *)m + f->quantifier_offset) == f->id;
    void *p;
    memcpy(&p, (char *)m + f->offset, sizeof p);
    return (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_STRING) || p;
}

/* Lists the messages and strings of the input. */
static void collect(Mutator *u, ProtobufCMessage *m)
{
    if (u->nmessage == MOST_MESSAGES) return;
    u->messages[u->nmessage++] = m;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        Field *f = &m->descriptor->fields[i];
        bool message = f->type == PROTOBUF_C_TYPE_MESSAGE;
        if (!message && f->type != PROTOBUF_C_TYPE_STRING) continue;
        char *at = (char *)m + f->offset;
        size_t n = f->label == PROTOBUF_C_LABEL_REPEATED ? *count_of(m, f) : is_there(m, f);
        if (f->label == PROTOBUF_C_LABEL_REPEATED) at = *(char **)at;
        for (size_t k = 0; k < n; k++) {
            void *p;
            memcpy(&p, at + k * sizeof p, sizeof p);
            if (message && p) collect(u, p);
            if (!message && p && u->nstring < MOST_STRINGS) u->strings[u->nstring++] = p;
        }
    }
}

static uint64_t some_number(Mutator *u)
{
    static const int64_t edges[] = {0,         1,         -1,        2,         3,
                                    4,         8,         127,       128,       255,
                                    -128,      65535,     65536,     INT32_MAX, INT32_MIN,
                                    INT64_MAX, INT64_MIN, 1LL << 31, 1LL << 32, 1LL << 40};
    if (below(u, 3)) return (uint64_t)edges[below(u, sizeof edges / sizeof *edges)];
    return random_bits(u) >> below(u, 64);
}

static char *some_string(Mutator *u)
{
    static const char *const words[] = {"",
                                        "Conv",
                                        "Gemm",
                                        "MatMul",
                                        "Add",
                                        "Relu",
                                        "Clip",
                                        "Reshape",
                                        "Concat",
                                        "Transpose",
                                        "Slice",
                                        "Gather",
                                        "Squeeze",
                                        "Unsqueeze",
                                        "MaxPool",
                                        "Constant",
                                        "Shape",
                                        "Softmax",
                                        "Identity",
                                        "Split",
                                        "Pad",
                                        "Resize",
                                        "Expand",
                                        "ReduceMean",
                                        "Flatten",
                                        "If",
                                        "Loop",
                                        "QuantizeLinear",
                                        "DequantizeLinear",
                                        "BatchNormalization",
                                        "GlobalAveragePool",
                                        "ConvTranspose",
                                        "Cast",
                                        "axis",
                                        "axes",
                                        "perm",
                                        "pads",
                                        "strides",
                                        "dilations",
                                        "group",
                                        "kernel_shape",
                                        "auto_pad",
                                        "value",
                                        "keepdims",
                                        "alpha",
                                        "to",
                                        "SAME_UPPER",
                                        "location",
                                        "offset",
                                        "length",
                                        "../secret",
                                        "sub/b",
                                        "a",
                                        "link",
                                        "1",
                                        "9999999999",
                                        "ai.onnx",
                                        "*/pwned/*",
                                        "\"pwned",
                                        "%s?\?/\\\npwned"};
    size_t n = sizeof words / sizeof *words, i = below(u, n + u->nstring * 2);
    return i < n ? (char *)(uintptr_t)words[i] : u->strings[(i - n) / 2];
}

/* A message of that type: one of the input's, or an empty one. */
static ProtobufCMessage *some_message(Mutator *u, const ProtobufCMessageDescriptor *type)
{
    size_t start = below(u, u->nmessage);
    for (size_t i = 0; below(u, 8) && i < u->nmessage; i++) {
        ProtobufCMessage *m = u->messages[(start + i) % u->nmessage];
        if (m->descriptor == type) return m;
    }
    ProtobufCMessage *m = arena_alloc(u->arena, type->sizeof_message);
    protobuf_c_message_init(type, m);
    return m;
}

static ProtobufCBinaryData some_bytes(Mutator *u, ProtobufCBinaryData old)
{
    size_t n = below(u, 2) ? below(u, 64) : old.len < MOST_BYTES / 2 ? old.len + below(u, 9) : 0;
    ProtobufCBinaryData b = {n, arena_alloc(u->arena, n + 1)};
    if (old.len && n) memcpy(b.data, old.data, n < old.len ? n : old.len);
    if (n) b.data[below(u, n)] = (uint8_t)random_bits(u);
    return b;
}

/* Gives one element a new value. */
static void change(Mutator *u, Field *f, char *at)
{
    ProtobufCBinaryData b;
    void *p;
    uint64_t v = some_number(u);
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        p = some_message(u, f->descriptor);
        memcpy(at, &p, sizeof p);
        return;
    case PROTOBUF_C_TYPE_STRING:
        p = some_string(u);
        memcpy(at, &p, sizeof p);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&b, at, sizeof b);
        b = some_bytes(u, b);
        memcpy(at, &b, sizeof b);
        return;
    case PROTOBUF_C_TYPE_ENUM: v = below(u, 20);
    /* fallthrough */
    default: memcpy(at, &v, element_size(f));
    }
}

/* Changes a list: one element away, twice, exchanged, new, or another value. */
static void change_list(Mutator *u, ProtobufCMessage *m, Field *f)
{
    size_t *count = count_of(m, f), n = *count, size = element_size(f);
    if (n > MOST_BYTES / size) return;
    char *old, *list = arena_alloc(u->arena, (n + 1) * size), *field = (char *)m + f->offset;
    memcpy(&old, field, sizeof old);
    if (n) memcpy(list, old, n * size);
    size_t i = below(u, n), k = below(u, n);
    switch (n ? below(u, 6) : 5) {
    case 0:
        memmove(list + i * size, list + (i + 1) * size, (n - i - 1) * size);
        *count = n - 1;
        break;
    case 1:
        memmove(list + (i + 1) * size, list + i * size, (n - i) * size);
        *count = n + 1;
        break;
    case 2:
        memcpy(list + n * size, list + i * size, size);
        memcpy(list + i * size, list + k * size, size);
        memcpy(list + k * size, list + n * size, size);
        break;
    case 3:
    case 4: change(u, f, list + i * size); break;
    default: change(u, f, list + n * size); *count = n + 1;
    }
    memcpy(field, &list, sizeof list);
}

/* Sets or takes away a field that is there once at most. */
static void change_single(Mutator *u, ProtobufCMessage *m, Field *f)
{
    char *at = (char *)m + f->offset, *quantifier = (char *)m + f->quantifier_offset;
    bool away = !below(u, 5);
    bool pointer = f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which = away ? 0 : f->id;
        memset(at, 0, element_size(f));
        memcpy(quantifier, &which, sizeof which);
    } else if (pointer && away) {
        memset(at, 0, sizeof(void *));
    } else if (!pointer && f->label == PROTOBUF_C_LABEL_OPTIONAL) {
        *(protobuf_c_boolean *)quantifier = !away;
    }
    if (!away) change(u, f, at);
}

/* Whether the message still ends: not in itself, and not far larger than it was. */
static bool is_finite(ProtobufCMessage *m, int depth, int *left)
{
    if (!depth || !*left) return false;
    --*left;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        Field *f = &m->descriptor->fields[i];
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        char *at = (char *)m + f->offset;
        size_t n = f->label == PROTOBUF_C_LABEL_REPEATED ? *count_of(m, f) : is_there(m, f);
        if (f->label == PROTOBUF_C_LABEL_REPEATED) at = *(char **)at;
        for (size_t k = 0; k < n; k++) {
            ProtobufCMessage *p;
            memcpy(&p, at + k * sizeof p, sizeof p);
            if (p && !is_finite(p, depth - 1, left)) return false;
        }
    }
    return true;
}

static size_t mutate_message(Mutator *u, uint8_t *data, size_t size, size_t max)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    ProtobufCMessage *whole = wire_unpack(cx, "F", fuzz_type, data, size, u->arena);
    qonnx_ctx_free(cx);
    if (!whole) return 0;
    collect(u, whole);
    for (size_t left = 1 + below(u, 3); left--;) {
        ProtobufCMessage *m = u->messages[below(u, u->nmessage)];
        Field *f = &m->descriptor->fields[below(u, m->descriptor->n_fields)];
        if (f->label == PROTOBUF_C_LABEL_REPEATED) change_list(u, m, f);
        else change_single(u, m, f);
        if (!is_finite(whole, MOST_DEPTH, &(int){2 * MOST_MESSAGES})) return 0;
    }
    size_t bytes = protobuf_c_message_get_packed_size(whole);
    if (bytes > max) return 0;
    uint8_t *packed = arena_alloc(u->arena, bytes + 1); /* it points into `data` */
    protobuf_c_message_pack(whole, packed);
    memcpy(data, packed, bytes);
    return bytes;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    static Mutator u;
    u.state = seed;
    u.nmessage = u.nstring = 0;
    size_t bytes = 0;
    if (below(&u, 4)) {
        u.arena = arena_new();
        bytes = mutate_message(&u, data, size, max);
        arena_free(u.arena);
    }
    return bytes ? bytes : LLVMFuzzerMutate(data, size, max);
}
