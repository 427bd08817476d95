/* tests/test_tensor.c - from hostile TensorProtos, external data and paths to checked bytes, or to
 * a message.
 */
#include "frontend/external.h"
#include "frontend/file.h"
#include "frontend/tensor.h"
#include "ir/ir.h"
#include "tests/files.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- tensor_from_proto ----------------------------------------------------------------------- */

/* Memory that the test gives and counts. */
typedef struct Memory {
    uint8_t bytes[64];
    size_t used;
} Memory;

static void *take(void *user, size_t bytes)
{
    Memory *m = user;
    assert_true(m->used == 0 && bytes <= sizeof m->bytes);
    m->used = bytes;
    return m->bytes;
}

static const int64_t D_NONE[] = {0}, D1[] = {1}, D2[] = {2}, D3[] = {3}, D0[] = {5, 0},
                     DNEG[] = {2, -1}, DHUGE[] = {INT64_MAX, 3}, DHUGE0[] = {INT64_MAX, 3, 0},
                     DWRAP[] = {1LL << 32, 1LL << 32}, D9[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};

/* What a message holds, and what must come of it. */
typedef struct Row {
    DType type; /* data_type; 0: left out */
    const int64_t *dims;
    size_t rank;
    const char *raw; /* NULL: no raw_data */
    size_t raw_bytes;
    size_t n_int32, n_int64, n_uint64, n_float, n_double, n_string; /* entries of typed fields */
    int32_t i32[3];
    int64_t i64[2];
    uint64_t u64[2];
    float f[2];
    double d[2];
    const char *message; /* NULL: fine */
    const char *bytes;   /* the dense form; NULL: the raw data itself */
    size_t n;
} Row;

static const Row rows[] = {
    /* raw data is pointed to */
    {.type = QONNX_FLOAT, .dims = D2, .rank = 1, .raw = "abcdefgh", .raw_bytes = 8, .n = 8},
    {.type = QONNX_FLOAT, .dims = D_NONE, .rank = 0, .raw = "abcd", .raw_bytes = 4, .n = 4},
    {.type = QONNX_INT4, .dims = D3, .rank = 1, .raw = "\x21\x03", .raw_bytes = 2, .n = 2},
    {.type = QONNX_BFLOAT16, .dims = D2, .rank = 1, .raw = "abcd", .raw_bytes = 4, .n = 4},
    {.type = QONNX_FLOAT, .dims = D0, .rank = 2, .raw = "", .raw_bytes = 0, .bytes = "", .n = 0},
    {.type = QONNX_FLOAT, .dims = D0, .rank = 2, .bytes = "", .n = 0},
    /* typed fields are converted */
    {.type = QONNX_FLOAT,
     .dims = D1,
     .rank = 1,
     .n_float = 1,
     .f = {1},
     .bytes = "\0\0\x80\x3f",
     .n = 4},
    {.type = QONNX_DOUBLE,
     .dims = D1,
     .rank = 1,
     .n_double = 1,
     .d = {1},
     .bytes = "\0\0\0\0\0\0\xf0\x3f",
     .n = 8},
    {.type = QONNX_COMPLEX64,
     .dims = D1,
     .rank = 1,
     .n_float = 2,
     .f = {1, 0},
     .bytes = "\0\0\x80\x3f\0\0\0\0",
     .n = 8},
    {.type = QONNX_INT32,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {-2},
     .bytes = "\xfe\xff\xff\xff",
     .n = 4},
    {.type = QONNX_INT8,
     .dims = D2,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {-128, 127},
     .bytes = "\x80\x7f",
     .n = 2},
    {.type = QONNX_UINT8,
     .dims = D2,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {255, 0},
     .bytes = "\xff\0",
     .n = 2},
    {.type = QONNX_INT16,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {-32768},
     .bytes = "\0\x80",
     .n = 2},
    {.type = QONNX_UINT16,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {65535},
     .bytes = "\xff\xff",
     .n = 2},
    {.type = QONNX_BOOL,
     .dims = D2,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {1, 0},
     .bytes = "\1\0",
     .n = 2},
    {.type = QONNX_FLOAT16,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {0x3c00},
     .bytes = "\0\x3c",
     .n = 2},
    {.type = QONNX_UINT4,
     .dims = D3,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {0xa9, 0x0b},
     .bytes = "\xa9\x0b",
     .n = 2},
    {.type = QONNX_INT2,
     .dims = D3,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {0x1b},
     .bytes = "\x1b",
     .n = 1},
    {.type = QONNX_FLOAT6E3M2,
     .dims = D2,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {63, 2},
     .bytes = "\xbf\x00",
     .n = 2},
    {.type = QONNX_INT64,
     .dims = D1,
     .rank = 1,
     .n_int64 = 1,
     .i64 = {-2},
     .bytes = "\xfe\xff\xff\xff\xff\xff\xff\xff",
     .n = 8},
    {.type = QONNX_UINT32,
     .dims = D1,
     .rank = 1,
     .n_uint64 = 1,
     .u64 = {UINT32_MAX},
     .bytes = "\xff\xff\xff\xff",
     .n = 4},
    {.type = QONNX_UINT64,
     .dims = D1,
     .rank = 1,
     .n_uint64 = 1,
     .u64 = {UINT64_MAX},
     .bytes = "\xff\xff\xff\xff\xff\xff\xff\xff",
     .n = 8},
    /* shapes */
    {.type = QONNX_FLOAT, .dims = DNEG, .rank = 2, .raw = "", .message = "dimension 1 is -1"},
    {.type = QONNX_FLOAT, .dims = DHUGE, .rank = 2, .raw = "", .message = "can be addressed"},
    {.type = QONNX_FLOAT, .dims = DHUGE0, .rank = 3, .raw = "", .message = "can be addressed"},
    {.type = QONNX_UINT8, .dims = DWRAP, .rank = 2, .raw = "", .message = "can be addressed"},
    {.type = QONNX_FLOAT,
     .dims = D9,
     .rank = 9,
     .raw = "abcd",
     .raw_bytes = 4,
     .message = "rank 9"},
    /* types */
    {.type = 0, .dims = D1, .rank = 1, .raw = "abcd", .raw_bytes = 4, .message = "data_type is 0"},
    {.type = 99,
     .dims = D1,
     .rank = 1,
     .raw = "abcd",
     .raw_bytes = 4,
     .message = "data_type is 99"},
    {.type = (DType)-1,
     .dims = D1,
     .rank = 1,
     .raw = "abcd",
     .raw_bytes = 4,
     .message = "data_type is -1"},
    /* lengths */
    {.type = QONNX_FLOAT,
     .dims = D2,
     .rank = 1,
     .raw = "abcdefg",
     .raw_bytes = 7,
     .message = "raw_data has 7 bytes, type float and the shape need 8"},
    {.type = QONNX_FLOAT,
     .dims = D2,
     .rank = 1,
     .raw = "abcdefghi",
     .raw_bytes = 9,
     .message = "raw_data has 9 bytes, type float and the shape need 8"},
    {.type = QONNX_FLOAT,
     .dims = D0,
     .rank = 2,
     .raw = "abcd",
     .raw_bytes = 4,
     .message = "raw_data has 4 bytes"},
    {.type = QONNX_INT4,
     .dims = D3,
     .rank = 1,
     .raw = "a",
     .raw_bytes = 1,
     .message = "raw_data has 1 bytes, type int4 and the shape need 2"},
    {.type = QONNX_FLOAT,
     .dims = D2,
     .rank = 1,
     .n_float = 1,
     .message = "float_data has 1 values, type float and the shape need 2"},
    {.type = QONNX_INT64,
     .dims = D1,
     .rank = 1,
     .n_int64 = 2,
     .message = "int64_data has 2 values"},
    {.type = QONNX_UINT4,
     .dims = D3,
     .rank = 1,
     .n_int32 = 3,
     .message = "int32_data has 3 values"},
    {.type = QONNX_FLOAT,
     .dims = D2,
     .rank = 1,
     .message = "has no data, type float and the shape need 8 bytes"},
    {.type = QONNX_FLOAT, .dims = D_NONE, .rank = 0, .message = "has no data"},
    /* one place only, and the right one */
    {.type = QONNX_FLOAT,
     .dims = D1,
     .rank = 1,
     .raw = "abcd",
     .raw_bytes = 4,
     .n_float = 1,
     .message = "both in raw_data and in float_data"},
    {.type = QONNX_FLOAT,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .message = "has values in int32_data, its type float is kept in float_data"},
    {.type = QONNX_FLOAT,
     .dims = D1,
     .rank = 1,
     .n_float = 1,
     .n_double = 1,
     .message = "has values in double_data"},
    {.type = QONNX_INT64,
     .dims = D1,
     .rank = 1,
     .n_string = 1,
     .message = "has values in string_data"},
    {.type = QONNX_FLOAT6E2M3,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {64},
     .message = "int32_data[0] is 64, not a value of type float6e2m3"},
    /* values */
    {.type = QONNX_INT8,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {128},
     .message = "int32_data[0] is 128, not a value of type int8"},
    {.type = QONNX_UINT8,
     .dims = D2,
     .rank = 1,
     .n_int32 = 2,
     .i32 = {0, -1},
     .message = "int32_data[1] is -1"},
    {.type = QONNX_BOOL,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {2},
     .message = "int32_data[0] is 2"},
    {.type = QONNX_FLOAT16,
     .dims = D1,
     .rank = 1,
     .n_int32 = 1,
     .i32 = {65536},
     .message = "int32_data[0] is 65536"},
    {.type = QONNX_UINT32,
     .dims = D1,
     .rank = 1,
     .n_uint64 = 1,
     .u64 = {1ULL << 32},
     .message = "uint64_data[0] is 4294967296"},
    /* strings are pointed to */
    {.type = QONNX_STRING, .dims = D2, .rank = 1, .n_string = 2, .n = 2 * sizeof(void *)},
    {.type = QONNX_STRING,
     .dims = D2,
     .rank = 1,
     .n_string = 1,
     .message = "string_data has 1 strings, type string and the shape need 2"},
    {.type = QONNX_STRING,
     .dims = D1,
     .rank = 1,
     .n_string = 1,
     .raw = "a",
     .raw_bytes = 1,
     .message = "string_data only"},
};

static uint8_t letters[] = "ab";
static ProtobufCBinaryData strings[2] = {{2, letters}, {0, NULL}};

static Onnx__TensorProto message_of(const Row *r)
{
    Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
    t.n_dims = r->rank;
    t.dims = (int64_t *)(uintptr_t)r->dims;
    t.has_data_type = r->type != 0;
    t.data_type = (int32_t)r->type;
    t.has_raw_data = r->raw != NULL;
    t.raw_data = (ProtobufCBinaryData){r->raw_bytes, (uint8_t *)(uintptr_t)r->raw};
    t.n_int32_data = r->n_int32;
    t.int32_data = (int32_t *)(uintptr_t)r->i32;
    t.n_int64_data = r->n_int64;
    t.int64_data = (int64_t *)(uintptr_t)r->i64;
    t.n_uint64_data = r->n_uint64;
    t.uint64_data = (uint64_t *)(uintptr_t)r->u64;
    t.n_float_data = r->n_float;
    t.float_data = (float *)(uintptr_t)r->f;
    t.n_double_data = r->n_double;
    t.double_data = (double *)(uintptr_t)r->d;
    t.n_string_data = r->n_string;
    t.string_data = strings;
    return t;
}

static void test_protos(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Onnx__TensorProto t = message_of(r);
        Memory m = {0};
        qonnx_tensor out;
        qonnx_ctx *cx = qonnx_ctx_new();
        bool ok = tensor_from_proto(cx, NULL, "tensor 'w'", &t, take, NULL, &m, &out);
        if (ok != !r->message) fail_msg("row %zu: \"%s\"", i, qonnx_error(cx));
        if (!ok) {
            assert_contains(qonnx_error(cx), r->message);
            assert_contains(qonnx_error(cx), "tensor 'w': ");
        } else {
            assert_int_equal(out.dtype, r->type);
            assert_int_equal(out.rank, r->rank);
            assert_int_equal(out.bytes, r->n);
            assert_memory_equal(out.dims, r->dims, r->rank * sizeof(int64_t));
            assert_non_null(out.data);
            if (r->type == QONNX_STRING) {
                assert_ptr_equal(qonnx_tensor_string(&out, 0).text, letters);
                assert_int_equal(qonnx_tensor_string(&out, 0).bytes, 2);
                assert_int_equal(qonnx_tensor_string(&out, 1).bytes, 0);
                qonnx_ctx_free(cx);
                continue;
            }
            if (r->bytes) assert_memory_equal(out.data, r->bytes, r->n);
            else assert_ptr_equal(out.data, r->raw);
            bool in_place = !r->bytes || r->n_float || r->n_double;
            assert_int_equal(m.used, in_place ? 0 : r->n);
        }
        qonnx_ctx_free(cx);
    }
}

static void test_segment(void **state)
{
    (void)state;
    Onnx__TensorProto__Segment segment = ONNX__TENSOR_PROTO__SEGMENT__INIT;
    Onnx__TensorProto t = message_of(&rows[0]);
    qonnx_tensor out;
    qonnx_ctx *cx = qonnx_ctx_new();
    t.segment = &segment;
    assert_false(tensor_from_proto(cx, NULL, "w", &t, take, NULL, NULL, &out));
    assert_contains(qonnx_error(cx), "in segments");
    qonnx_ctx_free(cx);
}

/* ---- external data --------------------------------------------------------------------------- */

/* A context and the files of one model, for the callback. */
typedef struct Job {
    qonnx_ctx *cx;
    ExternalFiles *files;
} Job;

static bool find_external(void *user, const Onnx__TensorProto *t, size_t bytes, const void **data)
{
    Job *j = user;
    return external_open(j->cx, j->files, t, bytes, data);
}

/* A tensor of dims [n] uint8 with up to four external_data entries: key, value, key, value. */
typedef struct Remote {
    Onnx__TensorProto t;
    int64_t dim;
    Onnx__StringStringEntryProto entries[4], *pointers[4];
} Remote;

static void remote_init(Remote *r, int64_t n, const char *const pairs[8])
{
    onnx__tensor_proto__init(&r->t);
    r->dim = n;
    r->t.n_dims = 1;
    r->t.dims = &r->dim;
    r->t.name = (char *)(uintptr_t) "w";
    r->t.has_data_type = true;
    r->t.data_type = QONNX_UINT8;
    r->t.has_data_location = true;
    r->t.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    r->t.external_data = r->pointers;
    for (int i = 0; i < 4 && pairs[2 * i]; i++) {
        onnx__string_string_entry_proto__init(&r->entries[i]);
        r->entries[i].key = (char *)(uintptr_t)pairs[2 * i];
        r->entries[i].value = (char *)(uintptr_t)pairs[2 * i + 1];
        r->pointers[i] = &r->entries[i];
        r->t.n_external_data++;
    }
}

/* The model lies in m/; o/ is outside. */
static const struct {
    int64_t n;
    const char *pairs[8];
    const char *message; /* NULL: fine */
    const char *data;
} places[] = {
    {3, {"location", "w.bin"}, NULL, "012"},
    {3, {"location", "w.bin", "offset", "4", "length", "3"}, NULL, "456"},
    {10, {"length", "10", "checksum", "zz", "location", "w.bin"}, NULL, "0123456789"},
    {2, {"location", "./sub//w.bin", "offset", "1"}, NULL, "bc"},
    {0, {"location", "w.bin"}, NULL, ""},
    {0, {"location", "missing.bin"}, NULL, ""},
    {1, {"location", "../o/secret"}, "leaves the model's directory", NULL},
    {1, {"location", "sub/../../o/secret"}, "leaves the model's directory", NULL},
    {1, {"location", "/etc/passwd"}, "leaves the model's directory", NULL},
    {1, {"location", "link"}, "is a symbolic link", NULL},
    {1,
     {"location", "dirlink/secret"},
     "tensor 'w': external data 'dirlink/secret' in 'm': ",
     NULL},
    {1, {"location", "inner"}, "is a symbolic link", NULL},
    {1, {"location", "sub"}, "tensor 'w': external data 'sub': is a directory", NULL},
    {1, {"location", "pipe"}, "is a device or a pipe", NULL},
    {1, {"location", "nothing"}, "the file is empty", NULL},
    {1, {"location", "missing.bin"}, "no such file; put it beside the model", NULL},
    {11,
     {"location", "w.bin"},
     "11 bytes at offset 0 of external data 'w.bin' are wanted, the file has 10",
     NULL},
    {1, {"location", "w.bin", "offset", "10"}, "1 bytes at offset 10", NULL},
    {3, {"location", "w.bin", "offset", "8"}, "3 bytes at offset 8", NULL},
    {3,
     {"location", "w.bin", "offset", "18446744073709551615"},
     "3 bytes at offset 18446744073709551615",
     NULL},
    {3, {"location", "w.bin", "offset", "18446744073709551616"}, "want a decimal number", NULL},
    {3, {"location", "w.bin", "offset", "-4"}, "offset '-4', want a decimal number", NULL},
    {3, {"location", "w.bin", "offset", ""}, "want a decimal number", NULL},
    {3, {"location", "w.bin", "length", "0x3"}, "length '0x3', want a decimal number", NULL},
    {3, {"location", "w.bin", "length", "4"}, "has length 4, type and shape need 3 bytes", NULL},
    {3, {"location", "w.bin", "offset", "1", "offset", "2"}, "has the key offset twice", NULL},
    {3, {"location", "w.bin", "location", "w.bin"}, "has two locations", NULL},
    {3, {"offset", "1"}, "has no location", NULL},
    {3, {"location", ""}, "has no location", NULL},
};

static void make_model_directory(void)
{
    mkdir("m", 0777);
    mkdir("m/sub", 0777);
    mkdir("o", 0777);
    put_text("m/w.bin", "0123456789");
    put_text("m/sub/w.bin", "abcd");
    put_text("m/nothing", "");
    put_text("o/secret", "secret");
    assert_int_equal(symlink("../o/secret", "m/link") | symlink("../o", "m/dirlink") |
                         symlink("w.bin", "m/inner") | mkfifo("m/pipe", 0600),
                     0);
}

static void test_places(void **state)
{
    (void)state;
    make_model_directory();
    Job j = {.files = external_new("m")};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Remote r = {0};
        qonnx_tensor out;
        remote_init(&r, places[i].n, places[i].pairs);
        j.cx = qonnx_ctx_new();
        bool ok = tensor_from_proto(j.cx, NULL, "w", &r.t, take, find_external, &j, &out);
        if (ok != !places[i].message) fail_msg("row %zu: \"%s\"", i, qonnx_error(j.cx));
        if (ok) assert_memory_equal(out.data, places[i].data, out.bytes);
        else assert_contains(qonnx_error(j.cx), places[i].message);
        qonnx_ctx_free(j.cx);
    }
    external_free(j.files);
    external_free(NULL);
}

static void keep_note(void *user, qonnx_level level, const char *text)
{
    assert_int_equal(level, QONNX_NOTE);
    snprintf(user, 256, "%s", text);
}

/* Links are followed where the context allows it, and it is told where to; never a way up. */
static void test_links_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *location, *data, *message;
    } cases[] = {
        {"link", "secr", NULL},
        {"dirlink/secret", "secr", NULL},
        {"w.bin", "0123", NULL},
        {"../o/secret", NULL, "leaves the model's directory"},
        {"dirlink/../o/secret", NULL, "leaves the model's directory"},
        {"/etc/passwd", NULL, "leaves the model's directory"},
        {"dirlink/lost", NULL, "no such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Remote r = {0};
        char note[256] = "";
        const void *data;
        remote_init(&r, 2, (const char *const[8]){"location", cases[i].location});
        qonnx_ctx *cx = qonnx_ctx_new();
        qonnx_ctx_allow_symlinks(cx, true);
        qonnx_ctx_on_log(cx, keep_note, note);
        ExternalFiles *files = external_new("m");
        bool ok = external_open(cx, files, &r.t, 4, &data);
        if (ok != !cases[i].message) fail_msg("row %zu: \"%s\"", i, qonnx_error(cx));
        if (ok) assert_memory_equal(data, cases[i].data, 4);
        else assert_contains(qonnx_error(cx), cases[i].message);
        if (ok && i < 2) assert_contains(note, "/o/secret");
        external_free(files);
        qonnx_ctx_free(cx);
    }
}

/* A file is mapped once; raw data beside external data, and no callback, are refused. */
static void test_external_tensor(void **state)
{
    (void)state;
    Remote a = {0}, b = {0};
    qonnx_tensor out;
    const void *pa, *pb;
    remote_init(&a, 4, (const char *const[8]){"location", "w.bin"});
    remote_init(&b, 4, (const char *const[8]){"location", "w.bin", "offset", "4"});
    Job j = {qonnx_ctx_new(), external_new("m")};
    assert_true(external_open(j.cx, j.files, &a.t, 4, &pa));
    assert_true(external_open(j.cx, j.files, &b.t, 4, &pb));
    assert_ptr_equal((const char *)pa + 4, pb);
    assert_false(tensor_from_proto(j.cx, NULL, "w", &a.t, take, NULL, &j, &out));
    assert_contains(qonnx_error(j.cx), "only supported for models");
    qonnx_ctx_free(j.cx);
    j.cx = qonnx_ctx_new();
    a.t.has_raw_data = true;
    assert_false(tensor_from_proto(j.cx, NULL, "w", &a.t, take, find_external, &j, &out));
    assert_contains(qonnx_error(j.cx), "both in raw_data and in another file");
    external_free(j.files);
    qonnx_ctx_free(j.cx);
}

/* The way for kernels without openat2 refuses the same. */
static void test_walk(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int error; /* 0: opens */
    } paths[] = {
        {"w.bin", 0},
        {"./sub//w.bin", 0},
        {"../o/secret", EXDEV},
        {"sub/../../o/secret", EXDEV},
        {"..", EXDEV},
        {"/etc/passwd", EXDEV},
        {"link", ELOOP},
        {"inner", ELOOP},
        {"dirlink/secret", ENOTDIR},
        {"w.bin/x", ENOTDIR},
        {"missing", ENOENT},
    };
    int dir = open("m", O_RDONLY | O_DIRECTORY);
    assert_true(dir >= 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = external_walk(dir, paths[i].path), error = fd < 0 ? errno : 0;
        if (error != paths[i].error) fail_msg("%s: %s", paths[i].path, strerror(error));
        if (fd >= 0) close(fd);
    }
    char longer[600];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(external_walk(dir, longer), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    close(dir);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_file_map(void **state)
{
    (void)state;
    static const char *const failures[][2] = {
        {"f/modle.onnx", "f/modle.onnx: no such file; did you mean 'model.onnx'?"},
        {"f/mo.onnx", "f/mo.onnx: no such file or directory; check the path"},
        {"f/Model.onnx", "did you mean 'model.onnx'?"},
        {"f/b", "f/b: no such file or directory"},
        {"f", "f: is a directory, a file is wanted"},
        {"f/empty", "f/empty: the file is empty (0 bytes)"},
        {"f/model.onnx/x", "Not a directory"},
        {"f/pipe", "is a device or a pipe"},
    };
    mkdir("f", 0777);
    put_text("f/model.onnx", "bytes");
    put_text("f/nodel-x.onnx", "bytes");
    put_text("f/empty", "");
    assert_int_equal(mkfifo("f/pipe", 0600), 0);
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap m;
    assert_true(file_map(cx, "f/model.onnx", &m));
    assert_int_equal(m.bytes, 5);
    assert_memory_equal(m.data, "bytes", 5);
    file_unmap(&m);
    file_unmap(&m);
    qonnx_ctx_free(cx);
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        cx = qonnx_ctx_new();
        assert_false(file_map(cx, failures[i][0], &m));
        assert_contains(qonnx_error(cx), failures[i][1]);
        assert_null(m.data);
        qonnx_ctx_free(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protos),          cmocka_unit_test(test_segment),
        cmocka_unit_test(test_places),          cmocka_unit_test(test_links_allowed),
        cmocka_unit_test(test_external_tensor), cmocka_unit_test(test_walk),
        cmocka_unit_test(test_file_map),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
