/* tests/test_wire.c - protobuf bytes: what is refused, by field and offset, and that tensor data is
 * pointed to where it lies.
 */
#include "frontend/wire.h"
#include "onnx.pb-c.h"
#include "tests/files.h"

/* Bytes of a TensorProto or ModelProto, and what must be said of them. */
typedef struct Row {
    const ProtobufCMessageDescriptor *type;
    const char *bytes;
    size_t n;
    const char *message; /* NULL: fine */
} Row;

#define TENSOR   &onnx__tensor_proto__descriptor
#define MODEL    &onnx__model_proto__descriptor
#define BYTES(s) s, sizeof s - 1

static const Row rows[] = {
    {TENSOR, BYTES(""), NULL},
    {TENSOR, BYTES("\x10\x01\x42\x01w"), NULL},
    {TENSOR, BYTES("\x10\x81\x80\x00"), NULL}, /* a long 1 */
    {TENSOR, BYTES("\xf8\x07\x05"), NULL},     /* unknown field 127 */
    {TENSOR, BYTES("\x42\x02w"), "TensorProto.name claims 2 bytes at byte 1, 1 remain"},
    {TENSOR, BYTES("\x42\x03w\0v"), "TensorProto.name at byte 2: a NUL byte in a string"},
    {TENSOR, BYTES("\x80\0\x01"), "TensorProto at byte 2: a broken tag"}, /* tag 0 */
    {TENSOR, BYTES("\x80"), "TensorProto at byte 0: a broken tag"},
    {TENSOR, BYTES("\x10"), "TensorProto.data_type at byte 1: a broken number"},
    {TENSOR, BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "a broken number"},
    {TENSOR, BYTES("\x42\xff"), "TensorProto.name at byte 1: a broken length"},
    {TENSOR, BYTES("\x15\0\0\0\0"), "TensorProto.data_type at byte 1: a wire type"},
    {TENSOR, BYTES("\x13"), "wire type"},
    {TENSOR, BYTES("\xfb\x07"), "wire type that does not exist"},
    {TENSOR,
     BYTES("\x22\x03"
           "abc"),
     "TensorProto.float_data at byte 2: a packed list of broken length"},
    {TENSOR,
     BYTES("\x25"
           "abc"),
     "TensorProto.float_data at byte 1: the file ends inside it"},
    {TENSOR, BYTES("\x2a\x02\x01\x80"), "TensorProto.int32_data at byte 3: a broken number"},
    {MODEL, BYTES("\x3a\x02\x0a\x05"), "GraphProto.node claims 5 bytes at byte 3, 0 remain"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        uint8_t *exact = malloc(r->n + !r->n); /* so that the sanitizer sees a byte too far */
        memcpy(exact, r->bytes, r->n);
        qonnx_ctx *cx = qonnx_ctx_new();
        Arena *a = arena_new();
        bool ok = wire_unpack(cx, "F", r->type, exact, r->n, a) != NULL;
        if (ok == (r->message != NULL)) fail_msg("row %zu: \"%s\"", i, qonnx_error(cx));
        if (r->message) assert_contains(qonnx_error(cx), r->message);
        arena_free(a);
        qonnx_ctx_free(cx);
        free(exact);
    }
}

/* Raw data, and floats in one piece, lie where they lay. */
static void test_in_place(void **state)
{
    (void)state;
    static const uint8_t data[] = "\x08\x02\x4a\x03raw\x22\x08\0\0\x80\x3f\0\0\0\x40";
    qonnx_ctx *cx = qonnx_ctx_new();
    Arena *a = arena_new();
    const Onnx__TensorProto *t = wire_unpack(cx, "F", TENSOR, data, sizeof data - 1, a);
    assert_non_null(t);
    assert_true(t->has_raw_data);
    assert_int_equal(t->raw_data.len, 3);
    assert_ptr_equal(t->raw_data.data, data + 4);
    assert_int_equal(t->n_float_data, 2);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    assert_ptr_equal(t->float_data, data + 9);
#endif
    arena_free(a);
    qonnx_ctx_free(cx);
}

/* A list in several pieces is joined, and what looks like a token in it is four numbers. */
static void test_pieces(void **state)
{
    (void)state;
    static const char forged[16] = {0, 0, 0, 0, 0, 0, 0, 0, 100};
    uint8_t data[64], *p = data;
    p = (uint8_t *)memcpy(p, "\x22\x10", 2) + 2;
    p = (uint8_t *)memcpy(p, forged, 16) + 16;
    p = (uint8_t *)memcpy(p, "\x25\0\0\x80\x3f", 5) + 5; /* 1 by itself */
    p = (uint8_t *)memcpy(p, "\x22\0", 2) + 2;           /* an empty piece */
    qonnx_ctx *cx = qonnx_ctx_new();
    Arena *a = arena_new();
    const Onnx__TensorProto *t = wire_unpack(cx, "F", TENSOR, data, (size_t)(p - data), a);
    assert_non_null(t);
    assert_int_equal(t->n_float_data, 5);
    assert_memory_equal(t->float_data, forged, 16);
    assert_true(t->float_data[4] == 1);
    arena_free(a);
    qonnx_ctx_free(cx);
}

/* `levels` graphs inside each other, as attributes of nodes: the bytes of a ModelProto. */
static size_t nested(uint8_t *out, size_t room, int levels)
{
    static const uint8_t tags[] = {0x32, 0x0a, 0x2a}; /* g, node, attribute */
    uint8_t *at = out + room;
    for (int i = levels; i-- > 0;) {
        size_t n = (size_t)(out + room - at);
        for (int k = 4; k >= 0; k--) *--at = (uint8_t)((n >> 7 * k & 127) | (k < 4 ? 128 : 0));
        *--at = i ? tags[i % 3] : 0x3a;
    }
    size_t n = (size_t)(out + room - at);
    memmove(out, at, n);
    return n;
}

static void test_depth(void **state)
{
    (void)state;
    static uint8_t data[1 << 20];
    for (int levels = 98; levels < 150000; levels += levels < 102 ? 1 : 100000) {
        size_t n = nested(data, sizeof data, levels);
        qonnx_ctx *cx = qonnx_ctx_new();
        Arena *a = arena_new();
        bool ok = wire_unpack(cx, "F", MODEL, data, n, a) != NULL;
        if (ok != (levels < 100)) fail_msg("%d levels: \"%s\"", levels, qonnx_error(cx));
        if (!ok) assert_contains(qonnx_error(cx), "nested more than 100 deep");
        arena_free(a);
        qonnx_ctx_free(cx);
    }
}

/* Two bytes a message of some hundred: a file that would take 150 times its size. */
static void test_budget(void **state)
{
    (void)state;
    static uint8_t data[6 << 20];
    uint8_t *p = data;
    size_t attributes = (sizeof data - 16) / 2 * 2;
    *p++ = 0x3a;
    for (int k = 0; k < 5; k++)
        *p++ = (uint8_t)(((attributes + 6) >> 7 * k & 127) | (k < 4 ? 128 : 0));
    *p++ = 0x0a;
    for (int k = 0; k < 5; k++) *p++ = (uint8_t)((attributes >> 7 * k & 127) | (k < 4 ? 128 : 0));
    for (size_t i = 0; i < attributes; i += 2) *p++ = 0x2a, *p++ = 0;
    qonnx_ctx *cx = qonnx_ctx_new();
    Arena *a = arena_new();
    assert_null(wire_unpack(cx, "F", MODEL, data, (size_t)(p - data), a));
    assert_contains(qonnx_error(cx), "AttributeProto at byte");
    assert_contains(qonnx_error(cx), "far more than its size");
    arena_free(a);
    qonnx_ctx_free(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
