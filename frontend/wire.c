/* frontend/wire.c - one recursive walk that checks the bytes and writes the skeleton, protobuf-c's
 * parser, and one walk over the messages that turns tokens into pointers.
 *
 * Every occurrence of a field that is kept out of the skeleton becomes a token, and nothing else in
 * such a field does: so no file can forge one, and what protobuf joins (pieces of a packed list) is
 * joined here just so.
 */
#include "frontend/wire.h"
#include "ir/size.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 100, LENGTH_BYTES = 5, SMALLEST_BUDGET = 256 << 20, AMPLIFICATION = 32 };

/* What stands in the skeleton for bytes of the file. A multiple of the size of a double. */
typedef struct Token {
    uint64_t offset, bytes;
} Token;

typedef struct Scan {
    qonnx_ctx *cx;
    const char *file;
    const uint8_t *start; /* of the file, for offsets */
    uint64_t spent;       /* bytes that the unpacked form takes */
    uint64_t skipped;     /* bytes of the file that tokens stand for */
    uint8_t *out;         /* the skeleton */
    size_t used, room;    /* its length, and what is allocated */
} Scan;

/* One message's bytes, being read. */
typedef struct Span {
    const uint8_t *at, *end;
} Span;

static bool bad(const Scan *s, const uint8_t *at, const ProtobufCMessageDescriptor *type,
                const ProtobufCFieldDescriptor *f, const char *what)
{
    return qonnx_fail(
        s->cx, NULL,
        "%s: not a valid ONNX file: field %s%s%s at byte %zu: %s; the file is damaged "
        "or is no ONNX model",
        s->file, type->short_name, f ? "." : "", f ? f->name : "", (size_t)(at - s->start), what);
}

static bool too_large(const Scan *s, const uint8_t *at, const ProtobufCMessageDescriptor *type)
{
    return qonnx_fail(s->cx, NULL,
                      "%s: field %s at byte %zu: unpacked, the file would take more than %llu MB, "
                      "far more than its size; it is damaged, or was made to do harm",
                      s->file, type->short_name, (size_t)(at - s->start),
                      (unsigned long long)(s->spent >> 20));
}

static bool varint(Span *p, uint64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70 && p->at < p->end; shift += 7) {
        uint8_t b = *p->at++;
        if (shift == 63 && b > 1) return false;
        v |= (uint64_t)(b & 127) << shift;
        if (!(b & 128)) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* The wire type that the schema wants for a field; packed numbers may also come as type 2. */
static unsigned wire_type(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return 5;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return 1;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return 2;
    default: return 0;
    }
}

/* Bytes of an element of a packed field in memory, and on the wire (0: varint). */
static size_t element_size(ProtobufCType t)
{
    unsigned w = wire_type(t);
    return w == 5 ? 4 : w == 1 ? 8 : 0;
}

/* Whether the field is kept out of the skeleton: bytes, and packed real numbers where the machine
 * has the wire's byte order. */
static bool is_apart(const ProtobufCFieldDescriptor *f)
{
    if (f->type == PROTOBUF_C_TYPE_BYTES) return true;
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && (f->flags & PROTOBUF_C_FIELD_FLAG_PACKED) &&
           (f->type == PROTOBUF_C_TYPE_FLOAT || f->type == PROTOBUF_C_TYPE_DOUBLE);
}

/* ---- the skeleton ---------------------------------------------------------------------------- */

/* Takes `bytes` from the budget for what stands at `at`. */
static bool spend(Scan *s, const uint8_t *at, uint64_t bytes)
{
    uint64_t budget = ((uint64_t)(at - s->start) - s->skipped) * AMPLIFICATION;
    s->spent += bytes;
    return s->spent <= (budget > SMALLEST_BUDGET ? budget : SMALLEST_BUDGET);
}

static void put(Scan *s, const void *data, size_t bytes)
{
    if (s->room - s->used < bytes) {
        size_t room = s->room / 2;
        if (!size_add(room, s->room, &room) || !size_add(room, bytes, &room)) room = SIZE_MAX;
        s->out = xrealloc(s->out, room);
        s->room = room;
    }
    if (bytes) memcpy(s->out + s->used, data, bytes);
    s->used += bytes;
}

static void put_varint(Scan *s, uint64_t v)
{
    uint8_t b[10];
    size_t n = 0;
    for (; v > 127; v >>= 7) b[n++] = (uint8_t)(v | 128);
    b[n++] = (uint8_t)v;
    put(s, b, n);
}

/* Writes `v` as a varint of LENGTH_BYTES bytes at `at`: a length that was not known before. */
static void set_length(Scan *s, size_t at, size_t v)
{
    for (int i = 0; i < LENGTH_BYTES; i++, v >>= 7)
        s->out[at + (size_t)i] = (uint8_t)((v & 127) | (i + 1 < LENGTH_BYTES ? 128 : 0));
}

/* The field's bytes as they are. */
static bool keep(Scan *s, uint64_t tag, Span body)
{
    put_varint(s, tag);
    put_varint(s, (uint64_t)(body.end - body.at));
    put(s, body.at, (size_t)(body.end - body.at));
    return true;
}

static bool keep_apart(Scan *s, uint64_t tag, Span body)
{
    Token t = {(uint64_t)(body.at - s->start), (uint64_t)(body.end - body.at)};
    s->skipped += t.bytes;
    put_varint(s, (tag & ~UINT64_C(7)) | 2);
    put_varint(s, sizeof t);
    put(s, &t, sizeof t);
    return true;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool scan_message(Scan *s, const ProtobufCMessageDescriptor *type, Span p, int depth);

static bool scan_submessage(Scan *s, const ProtobufCMessageDescriptor *type,
                            const ProtobufCFieldDescriptor *f, uint64_t tag, Span body, int depth)
{
    put_varint(s, tag);
    size_t at = s->used;
    put(s, (uint8_t[LENGTH_BYTES]){0}, LENGTH_BYTES);
    if (!scan_message(s, f->descriptor, body, depth + 1)) return false;
    size_t bytes = s->used - at - LENGTH_BYTES;
    if (bytes > INT32_MAX)
        return bad(s, body.at, type, f, "more than 2 GiB beside the tensors; use external data");
    set_length(s, at, bytes);
    return true;
}

/* The contents of a length-delimited field. */
static bool scan_bytes(Scan *s, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *f, uint64_t tag, Span body, int depth)
{
    size_t bytes = (size_t)(body.end - body.at);
    if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_submessage(s, type, f, tag, body, depth);
    size_t size = f ? element_size(f->type) : 0;
    if (size && bytes % size) return bad(s, body.at, type, f, "a packed list of broken length");
    if (f && is_apart(f)) return keep_apart(s, tag, body);
    if (bytes > INT32_MAX) return bad(s, body.at, type, f, "more than 2 GiB; use external data");
    if (f && f->type == PROTOBUF_C_TYPE_STRING && memchr(body.at, 0, bytes))
        return bad(s, body.at, type, f, "a NUL byte in a string");
    if (!f || f->type == PROTOBUF_C_TYPE_STRING || size)
        return spend(s, body.end, bytes) ? keep(s, tag, body) : too_large(s, body.at, type);
    Span numbers = body;
    for (uint64_t v; numbers.at < numbers.end;) {
        const uint8_t *at = numbers.at;
        if (!varint(&numbers, &v)) return bad(s, at, type, f, "a broken number");
        if (!spend(s, at, 8)) return too_large(s, at, type);
    }
    return keep(s, tag, body);
}

static bool scan_length(Scan *s, const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *f, uint64_t tag, Span *p, int depth)
{
    const uint8_t *at = p->at;
    uint64_t v;
    if (!varint(p, &v)) return bad(s, at, type, f, "a broken length");
    size_t rest = (size_t)(p->end - p->at);
    if (v > rest)
        return qonnx_fail(s->cx, NULL,
                          "%s: not a valid ONNX file: field %s%s%s claims %llu bytes at byte "
                          "%zu, %zu remain; a truncated download, or no ONNX model",
                          s->file, type->short_name, f ? "." : "", f ? f->name : "",
                          (unsigned long long)v, (size_t)(at - s->start), rest);
    Span body = {p->at, p->at + v};
    p->at += v;
    return scan_bytes(s, type, f, tag, body, depth);
}

/* A number of its own: a varint, or 4 or 8 bytes. */
static bool scan_number(Scan *s, const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *f, uint64_t tag, Span *p)
{
    Span number = *p;
    uint64_t v;
    if ((tag & 7) == 0) {
        if (!varint(p, &v)) return bad(s, number.at, type, f, "a broken number");
    } else {
        size_t size = (tag & 7) == 1 ? 8 : 4;
        if ((size_t)(p->end - p->at) < size)
            return bad(s, number.at, type, f, "the file ends inside it");
        p->at += size;
    }
    number.end = p->at;
    if (f && is_apart(f)) return keep_apart(s, tag, number);
    put_varint(s, tag);
    put(s, number.at, (size_t)(number.end - number.at));
    return true;
}

/* One field behind its tag. */
static bool scan_field(Scan *s, const ProtobufCMessageDescriptor *type, Span *p, uint64_t tag,
                       int depth)
{
    const uint8_t *at = p->at;
    if (!(tag >> 3) || tag >> 3 > (1u << 29) - 1) return bad(s, at, type, NULL, "a broken tag");
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
    unsigned wire = tag & 7;
    bool packed = f && f->label == PROTOBUF_C_LABEL_REPEATED && wire_type(f->type) != 2;
    if (f && wire != wire_type(f->type) && !(packed && wire == 2))
        return bad(s, at, type, f, "a wire type that the format does not have there");
    if (!spend(s, at, !f ? 48 : is_apart(f) ? 8 + sizeof(Token) : 8)) return too_large(s, at, type);
    switch (wire) {
    case 0:
    case 1:
    case 5: return scan_number(s, type, f, tag, p);
    case 2: return scan_length(s, type, f, tag, p, depth);
    default: return bad(s, at, type, f, "a wire type that does not exist");
    }
}

static bool scan_message(Scan *s, const ProtobufCMessageDescriptor *type, Span p, int depth)
{
    if (depth > MAX_DEPTH) return bad(s, p.at, type, NULL, "messages nested more than 100 deep");
    if (!spend(s, p.at, type->sizeof_message)) return too_large(s, p.at, type);
    while (p.at < p.end) {
        const uint8_t *at = p.at;
        uint64_t tag;
        if (!varint(&p, &tag)) return bad(s, at, type, NULL, "a broken tag");
        if (!scan_field(s, type, &p, tag, depth)) return false;
    }
    return true;
}

/* ---- tokens to pointers ---------------------------------------------------------------------- */

/* What patching needs. */
typedef struct Patch {
    const uint8_t *data; /* the file's bytes */
    Arena *arena;        /* for lists that are joined */
} Patch;

static uint8_t *bytes_at(const Patch *p, Token t)
{
    return (uint8_t *)(uintptr_t)p->data + t.offset;
}

static void patch_bytes(const Patch *p, ProtobufCBinaryData *b)
{
    Token t;
    memcpy(&t, b->data, sizeof t);
    *b = (ProtobufCBinaryData){(size_t)t.bytes, bytes_at(p, t)};
}

/* A list of packed numbers of `size` bytes: `*count` of them are tokens yet. */
static void patch_list(const Patch *p, size_t size, size_t *count, void **list)
{
    const uint8_t *tokens = *list;
    size_t pieces = *count * size / sizeof(Token), bytes = 0;
    uint8_t *joined = NULL;
    for (size_t i = 0; i < pieces; i++) {
        Token t;
        memcpy(&t, tokens + i * sizeof t, sizeof t);
        if (pieces == 1) joined = bytes_at(p, t);
        bytes += (size_t)t.bytes; /* pieces of one file: no overflow */
    }
    if (pieces > 1) joined = arena_alloc(p->arena, bytes);
    for (size_t i = 0, at = 0; i < pieces && pieces > 1; i++) {
        Token t;
        memcpy(&t, tokens + i * sizeof t, sizeof t);
        if (t.bytes) memcpy(joined + at, bytes_at(p, t), (size_t)t.bytes);
        at += (size_t)t.bytes;
    }
    *count = bytes / size;
    *list = joined;
}

/* How often a field is there: elements of a list, else 0 or 1. */
static size_t occurrences(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *quantifier = (const char *)m + f->quantifier_offset;
    const char *member = (const char *)m + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) return *(const size_t *)quantifier;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) return *(const uint32_t *)quantifier == f->id;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) return *(void *const *)member != NULL;
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL) return *(const protobuf_c_boolean *)quantifier != 0;
    return 1;
}

static void patch_message(const Patch *p, ProtobufCMessage *m)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        size_t n = f->type == PROTOBUF_C_TYPE_MESSAGE || is_apart(f) ? occurrences(m, f) : 0;
        if (!n) continue;
        char *member = (char *)m + f->offset;
        bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE && f->type != PROTOBUF_C_TYPE_BYTES) {
            patch_list(p, element_size(f->type), (size_t *)((char *)m + f->quantifier_offset),
                       (void **)member);
            continue;
        }
        if (repeated) member = *(char **)member;
        for (size_t k = 0; k < n; k++) {
            if (f->type == PROTOBUF_C_TYPE_MESSAGE)
                patch_message(p, ((ProtobufCMessage **)member)[k]);
            else patch_bytes(p, &((ProtobufCBinaryData *)member)[k]);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void *unpack_alloc(void *arena, size_t bytes) { return arena_alloc(arena, bytes); }

static void unpack_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

void *wire_unpack(qonnx_ctx *cx, const char *file, const ProtobufCMessageDescriptor *type,
                  const uint8_t *data, size_t bytes, Arena *arena)
{
    Scan s = {.cx = cx, .file = file, .start = data};
    ProtobufCMessage *m = NULL;
    if (scan_message(&s, type, (Span){data, data + bytes}, 1)) {
        ProtobufCAllocator alloc = {unpack_alloc, unpack_free, arena};
        m = protobuf_c_message_unpack(type, &alloc, s.used, s.out);
        if (!m) qonnx_fail(cx, NULL, "%s: not a valid ONNX file; it is damaged", file);
    }
    free(s.out);
    if (m) patch_message(&(Patch){data, arena}, m);
    return m;
}
