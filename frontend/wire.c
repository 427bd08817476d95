/* frontend/wire.c - the scanner: one recursive walk, no allocation. */
#include "frontend/wire.h"
#include <string.h>

enum { MAX_DEPTH = 100 };

typedef struct Scan {
    qonnx_ctx *cx;
    const char *file;
    const uint8_t *start; /* of the file, for offsets */
    uint64_t budget;      /* bytes that the unpacked form may still take */
} Scan;

/* One message's bytes, being read. */
typedef struct Span {
    const uint8_t *at, *end;
} Span;

static bool bad(const Scan *s, const uint8_t *at, const ProtobufCMessageDescriptor *type,
                const ProtobufCFieldDescriptor *f, const char *what)
{
    return qonnx_fail(s->cx, NULL,
                      "%s: not a valid ONNX file: field %s%s%s at byte %zu: %s; the file is damaged "
                      "or is no ONNX model",
                      s->file, type->short_name, f ? "." : "", f ? f->name : "",
                      (size_t)(at - s->start), what);
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

static bool spend(Scan *s, uint64_t bytes)
{
    if (bytes > s->budget) return false;
    s->budget -= bytes;
    return true;
}

static bool scan_message(Scan *s, const ProtobufCMessageDescriptor *type, Span p, int depth);

/* The contents of a length-delimited field. */
static bool scan_bytes(Scan *s, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *f, Span body, int depth)
{
    size_t bytes = (size_t)(body.end - body.at);
    if (!f) return true;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_message(s, f->descriptor, body, depth + 1);
    if (f->type == PROTOBUF_C_TYPE_STRING && bytes && memchr(body.at, 0, bytes))
        return bad(s, body.at, type, f, "a NUL byte in a string");
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES)
        return spend(s, bytes) || bad(s, body.at, type, f, "the file would take too much memory");
    size_t size = element_size(f->type);
    if (size && bytes % size) return bad(s, body.at, type, f, "a packed list of broken length");
    if (size) return spend(s, bytes) || bad(s, body.at, type, f, "too much memory");
    for (uint64_t v; body.at < body.end;) {
        const uint8_t *at = body.at;
        if (!varint(&body, &v)) return bad(s, at, type, f, "a broken number");
        if (!spend(s, 8)) return bad(s, at, type, f, "the file would take too much memory");
    }
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
    uint64_t v;
    bool packed = f && f->label == PROTOBUF_C_LABEL_REPEATED && wire_type(f->type) != 2;
    if (f && wire != wire_type(f->type) && !(packed && wire == 2))
        return bad(s, at, type, f, "a wire type that the format does not have there");
    if (!spend(s, f ? 8 : 48)) return bad(s, at, type, f, "the file would take too much memory");
    switch (wire) {
    case 0: return varint(p, &v) || bad(s, at, type, f, "a broken number");
    case 1:
    case 5: {
        size_t size = wire == 1 ? 8 : 4;
        if ((size_t)(p->end - p->at) < size) return bad(s, at, type, f, "the file ends inside it");
        p->at += size;
        return true;
    }
    case 2: {
        if (!varint(p, &v)) return bad(s, at, type, f, "a broken length");
        size_t rest = (size_t)(p->end - p->at);
        if (v > rest)
            return qonnx_fail(s->cx, NULL,
                              "%s: not a valid ONNX file: field %s%s%s claims %llu bytes at byte "
                              "%zu, %zu remain; a truncated download, or no ONNX model",
                              s->file, type->short_name, f ? "." : "", f ? f->name : "",
                              (unsigned long long)v, (size_t)(at - s->start), rest);
        if (v > INT32_MAX) return bad(s, at, type, f, "more than 2 GiB; use external data");
        Span body = {p->at, p->at + v};
        p->at += v;
        return scan_bytes(s, type, f, body, depth);
    }
    default: return bad(s, at, type, f, "a wire type that does not exist");
    }
}

static bool scan_message(Scan *s, const ProtobufCMessageDescriptor *type, Span p, int depth)
{
    if (depth > MAX_DEPTH) return bad(s, p.at, type, NULL, "messages nested more than 100 deep");
    if (!spend(s, type->sizeof_message))
        return bad(s, p.at, type, NULL, "the file would take too much memory");
    while (p.at < p.end) {
        const uint8_t *at = p.at;
        uint64_t tag;
        if (!varint(&p, &tag)) return bad(s, at, type, NULL, "a broken tag");
        if (!scan_field(s, type, &p, tag, depth)) return false;
    }
    return true;
}

bool wire_scan(qonnx_ctx *cx, const char *file, const ProtobufCMessageDescriptor *type,
               const uint8_t *data, size_t bytes)
{
    uint64_t budget = (uint64_t)bytes * 32;
    if (budget < 256u << 20) budget = 256u << 20;
    Scan s = {cx, file, data, budget};
    return scan_message(&s, type, (Span){data, data + bytes}, 1);
}
