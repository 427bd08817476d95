/* tests/test_data.c - reading samples: .npy in all its forms, pictures, .pb, and how directories
 * become samples of a graph's inputs. Every file is written by the test itself.
 */
#include "ir/ir.h"
#include "tests/files.h"
#include <qonnx/run.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>

/* ---- helpers --------------------------------------------------------------------------------- */

/* Writes an .npy file of the given version around a header's text. */
static void put_npy_text(const char *path, int version, const char *header, const void *data,
                         size_t bytes)
{
    uint8_t file[4096] = "\x93NUMPY";
    size_t n = strlen(header), at = 8;
    file[6] = (uint8_t)version;
    for (int i = 0; i < (version == 1 ? 2 : 4); i++) file[at++] = (uint8_t)(n >> (8 * i));
    memcpy(file + at, header, n);
    if (bytes) memcpy(file + at + n, data, bytes);
    put_file(path, file, at + n + bytes);
}

static void put_npy(const char *path, const char *descr, bool fortran, const char *shape,
                    const void *data, size_t bytes)
{
    char text[256];
    snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }  \n", descr,
             fortran ? "True" : "False", shape);
    put_npy_text(path, 1, text, data, bytes);
}

static void put_floats(const char *path, const char *shape, const float *x, size_t n)
{
    put_npy(path, "<f4", false, shape, x, n * sizeof *x);
}

/* Adds an input; -1 is a symbolic size. */
static void add_input(Graph *g, const char *name, DType dtype, int rank, const int64_t *dims)
{
    Value *v = graph_value(g, name);
    v->dtype = dtype;
    v->shape = shape_make(rank, rank > 0 ? dims : NULL);
    v->shape.rank = rank;
    graph_put_input(g, v);
}

static Graph *graph_with(DType dtype, int rank, const int64_t *dims)
{
    Graph *g = graph_new("model.onnx");
    add_input(g, "x", dtype, rank, dims);
    return g;
}

/* Opens one spec, which must succeed. */
static qonnx_dataset *must_open(const Graph *g, const char *spec)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_dataset *d = qonnx_dataset_open(cx, g, &spec, 1, NULL);
    if (!d) fail_msg("%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
    return d;
}

static void must_read(const qonnx_dataset *d, size_t i, qonnx_tensor *t)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    if (!qonnx_dataset_read(cx, d, i, t)) fail_msg("%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
}

/* Opening the specs, or reading the first sample, must fail with a message that holds `text`. */
static void must_fail_specs(const Graph *g, const char *const *specs, int n, const char *text)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_tensor t[4];
    qonnx_dataset *d = qonnx_dataset_open(cx, g, specs, n, NULL);
    if (d) assert_false(qonnx_dataset_read(cx, d, 0, t));
    assert_contains(qonnx_error(cx), text);
    qonnx_dataset_free(d);
    qonnx_ctx_free(cx);
}

static void must_fail(const Graph *g, const char *spec, const char *text)
{
    must_fail_specs(g, &spec, 1, text);
}

/* ---- .npy ------------------------------------------------------------------------------------ */

/* The value -2 or 2 in every type and byte order. */
static const struct {
    const char *descr;
    double value;
    uint8_t bytes[8];
    size_t n;
} npy_types[] = {
    {"<f4", -2, {0, 0, 0, 0xc0}, 4},
    {">f4", -2, {0xc0, 0, 0, 0}, 4},
    {"<f8", -2, {0, 0, 0, 0, 0, 0, 0, 0xc0}, 8},
    {">f8", -2, {0xc0}, 8},
    {"|i1", -2, {0xfe}, 1},
    {"i1", -2, {0xfe}, 1},
    {"<i2", -2, {0xfe, 0xff}, 2},
    {">i2", -2, {0xff, 0xfe}, 2},
    {"<i4", -2, {0xfe, 0xff, 0xff, 0xff}, 4},
    {">i4", -2, {0xff, 0xff, 0xff, 0xfe}, 4},
    {"<i8", -2, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8},
    {">i8", -2, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, 8},
    {"|u1", 200, {200}, 1},
    {"<u2", 0x1234, {0x34, 0x12}, 2},
    {">u2", 0x1234, {0x12, 0x34}, 2},
    {"<u4", 0x80000000u, {0, 0, 0, 0x80}, 4},
    {">u4", 2, {0, 0, 0, 2}, 4},
    {"<u8", 0x1p63, {0, 0, 0, 0, 0, 0, 0, 0x80}, 8},
    {">u8", 2, {0, 0, 0, 0, 0, 0, 0, 2}, 8},
    {"|b1", 1, {1}, 1},
};

static void test_npy_types(void **state)
{
    (void)state;
    Graph *g = graph_with(QONNX_FLOAT, 1, (int64_t[]){1});
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types; i++) {
        put_npy("t.npy", npy_types[i].descr, false, "(1,)", npy_types[i].bytes, npy_types[i].n);
        qonnx_dataset *d = must_open(g, "t.npy");
        qonnx_tensor t;
        must_read(d, 0, &t);
        assert_int_equal(t.dtype, QONNX_FLOAT);
        assert_int_equal(t.bytes, 4);
        if (qonnx_tensor_get(&t, 0) != npy_types[i].value)
            fail_msg("%s: %g", npy_types[i].descr, qonnx_tensor_get(&t, 0));
        qonnx_sample_free(&t, 1);
        qonnx_dataset_free(d);
        qonnx_ctx *cx = qonnx_ctx_new();
        assert_true(qonnx_tensor_load(cx, "t.npy", QONNX_FLOAT, &t));
        assert_true(qonnx_tensor_get(&t, 0) == npy_types[i].value);
        assert_int_equal(t.bytes, npy_types[i].n);
        qonnx_sample_free(&t, 1);
        qonnx_ctx_free(cx);
    }
    qonnx_graph_free(g);
}

/* Which values survive which conversion. */
static void test_npy_exact(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        DType to;
        double f;  /* for f8 */
        int64_t i; /* for i8 and u8 */
        bool ok;
    } rows[] = {
        {"<i8", QONNX_FLOAT, 0, 1 << 24, true},
        {"<i8", QONNX_FLOAT, 0, (1 << 24) + 1, false},
        {"<i8", QONNX_FLOAT, 0, -((1 << 24) + 1), false},
        {"<i8", QONNX_FLOAT, 0, INT64_MIN, true},
        {"<i8", QONNX_FLOAT, 0, INT64_MAX, false},
        {"<u8", QONNX_FLOAT, 0, -1, false},
        {"<u8", QONNX_INT64, 0, -1, false},
        {"<u8", QONNX_INT64, 0, INT64_MAX, true},
        {"<i8", QONNX_UINT8, 0, 255, true},
        {"<i8", QONNX_UINT8, 0, 256, false},
        {"<i8", QONNX_UINT8, 0, -1, false},
        {"<i8", QONNX_INT8, 0, -128, true},
        {"<i8", QONNX_INT8, 0, -129, false},
        {"<i8", QONNX_BOOL, 0, 1, true},
        {"<i8", QONNX_BOOL, 0, 2, false},
        {"<i8", QONNX_UINT64, 0, -1, false},
        {"<f8", QONNX_FLOAT, 0.1, 0, true},
        {"<f8", QONNX_FLOAT, 1e300, 0, false},
        {"<f8", QONNX_FLOAT, INFINITY, 0, true},
        {"<f8", QONNX_FLOAT, NAN, 0, true},
        {"<f8", QONNX_FLOAT16, 0.1, 0, true},
        {"<f8", QONNX_FLOAT16, 65519, 0, true},
        {"<f8", QONNX_FLOAT16, 65520, 0, false},
        {"<f8", QONNX_FLOAT16, -INFINITY, 0, true},
        {"<i8", QONNX_FLOAT16, 0, 2048, true},
        {"<i8", QONNX_FLOAT16, 0, 2049, false},
        {"<f8", QONNX_BFLOAT16, 1e38, 0, true},
        {"<f8", QONNX_BFLOAT16, 3.4e38, 0, false},
        {"<i8", QONNX_BFLOAT16, 0, 256, true},
        {"<i8", QONNX_BFLOAT16, 0, 257, false},
        {"<f8", QONNX_INT32, 3, 0, true},
        {"<f8", QONNX_INT32, 3.5, 0, false},
        {"<f8", QONNX_INT64, 0x1p63, 0, false},
        {"<f8", QONNX_INT64, NAN, 0, false},
        {"<f8", QONNX_UINT64, 0x1p63, 0, true},
        {"<f8", QONNX_UINT64, 0x1p64, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = graph_with(rows[i].to, 1, (int64_t[]){1});
        const void *data = rows[i].descr[1] == 'f' ? (const void *)&rows[i].f : &rows[i].i;
        put_npy("e.npy", rows[i].descr, false, "(1,)", data, 8);
        qonnx_ctx *cx = qonnx_ctx_new();
        qonnx_dataset *d = must_open(g, "e.npy");
        qonnx_tensor t;
        bool ok = qonnx_dataset_read(cx, d, 0, &t);
        if (ok != rows[i].ok) fail_msg("row %zu: %s", i, qonnx_error(cx));
        if (ok)
            qonnx_sample_free(&t, 1);
        else
            assert_contains(qonnx_error(cx), "e.npy: element 0");
        qonnx_dataset_free(d);
        qonnx_ctx_free(cx);
        qonnx_graph_free(g);
    }
    Graph *g = graph_with(QONNX_COMPLEX64, 1, (int64_t[]){1});
    must_fail(g, "e.npy", "has elements of type double, the model's input 'x' wants complex64");
    qonnx_graph_free(g);
}

/* x[n][a][b] = 100 n + 10 a + b in Fortran order, big endian: the slowest way to write it. */
static void test_npy_fortran(void **state)
{
    (void)state;
    uint8_t bytes[4 * 2 * 3 * 2];
    for (int n = 0, at = 0; n < 3 * 2 * 4; n++) {
        int v = n % 4 * 100 + n / 4 % 2 * 10 + n / 8; /* n fastest, then a (2), then b (3) */
        bytes[at++] = (uint8_t)(v >> 8);
        bytes[at++] = (uint8_t)v;
    }
    put_npy("f.npy", ">i2", true, "(4, 2, 3)", bytes, sizeof bytes);
    Graph *g = graph_with(QONNX_FLOAT, 3, (int64_t[]){-1, 2, 3});
    qonnx_dataset *d = must_open(g, "f.npy");
    assert_int_equal(qonnx_dataset_count(d), 4);
    for (size_t n = 0; n < 4; n++) {
        qonnx_tensor t;
        must_read(d, n, &t);
        assert_int_equal(t.dims[0], 1);
        for (int i = 0; i < 6; i++)
            assert_true(qonnx_tensor_get(&t, i) == (double)n * 100 + i / 3 * 10 + i % 3);
        qonnx_sample_free(&t, 1);
    }
    qonnx_dataset_free(d);
    qonnx_graph_free(g);
}

/* What a file's shape means for an input's shape: samples, and the shape of the last one. */
static void test_npy_shapes(void **state)
{
    (void)state;
    static const struct {
        int rank;
        int64_t want[4];
        const char *file;
        int elements;
        size_t count; /* 0: refused */
        int out_rank;
        int64_t out[4];
    } rows[] = {
        {2, {1, 3}, "(1, 3)", 3, 1, 2, {1, 3}},
        {2, {1, 3}, "(4, 3)", 12, 4, 2, {1, 3}},
        {2, {1, 3}, "(3,)", 3, 1, 2, {1, 3}},
        {2, {1, 3}, "(2, 1, 3)", 6, 2, 2, {1, 3}},
        {2, {1, 3}, "(3, 1)", 3, 0, 0, {0}},
        {2, {1, 3}, "(0, 3)", 0, 0, 0, {0}},
        {2, {-1, -1}, "(4, 3)", 12, 4, 2, {1, 3}},
        {2, {-1, 3}, "(3,)", 3, 1, 2, {1, 3}},
        {2, {2, 3}, "(2, 3)", 6, 1, 2, {2, 3}},
        {2, {2, 3}, "(4, 3)", 12, 4, 2, {1, 3}},
        {2, {2, 3}, "(4, 2)", 8, 0, 0, {0}},
        {1, {-1}, "(5,)", 5, 1, 1, {5}},
        {1, {-1}, "(2, 5)", 10, 2, 1, {5}},
        {1, {5}, "(5,)", 5, 1, 1, {5}},
        {1, {5}, "(4,)", 4, 0, 0, {0}},
        {1, {1}, "(4,)", 4, 4, 1, {1}},
        {1, {1}, "()", 1, 1, 1, {1}},
        {0, {0}, "()", 1, 1, 0, {0}},
        {0, {0}, "(3,)", 3, 3, 0, {0}},
        {0, {0}, "(3, 1)", 3, 0, 0, {0}},
        {-1, {0}, "(2, 2)", 4, 1, 2, {2, 2}},
        {4, {-1, 3, -1, -1}, "(2, 3, 1, 2)", 12, 2, 4, {1, 3, 1, 2}},
    };
    float x[12];
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = graph_with(QONNX_FLOAT, rows[i].rank, rows[i].want);
        put_floats("s.npy", rows[i].file, x, (size_t)rows[i].elements);
        if (!rows[i].count) {
            must_fail(g, "s.npy", "s.npy: shape is [");
        } else {
            qonnx_dataset *d = must_open(g, "s.npy");
            qonnx_tensor t;
            assert_int_equal(qonnx_dataset_count(d), rows[i].count);
            must_read(d, rows[i].count - 1, &t);
            assert_int_equal(t.rank, rows[i].out_rank);
            assert_memory_equal(t.dims, rows[i].out, sizeof(int64_t) * (size_t)t.rank);
            assert_true(qonnx_tensor_get(&t, qonnx_tensor_elements(&t) - 1) ==
                        rows[i].elements - 1);
            qonnx_sample_free(&t, 1);
            qonnx_dataset_free(d);
        }
        qonnx_graph_free(g);
    }
}

static void test_npy_headers(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *header;
        const char *message; /* NULL: fine */
    } rows[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", NULL},
        {2, "{'shape': (3L,), 'fortran_order': False, 'descr': '<f4'}\n", NULL},
        {3, " { \"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(3) } ", NULL},
        {4, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", ".npy version 4"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", "has 12 bytes of data"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "its shape needs 8"},
        {1, "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "Python objects"},
        {1, "{'descr': '<f16', 'fortran_order': False, 'shape': (3,), }", "type '<f16'"},
        {1, "{'descr': '<U4', 'fortran_order': False, 'shape': (3,), }", "type '<U4'"},
        {1, "{'descr': '', 'fortran_order': False, 'shape': (3,), }", "type ''"},
        {1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "records"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
         "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 9), }",
         "can be addressed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 9, 0), }",
         "can be addressed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,3), }",
         "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }", "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False}", "malformed"},
        {1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}", "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)", "malformed"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x", "malformed"},
        {1, "{'descr: '<f4", "malformed"},
        {1, "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (3,)}", "malformed"},
        {1, "{", "malformed"},
        {1, "", "malformed"},
    };
    Graph *g = graph_with(QONNX_FLOAT, 1, (int64_t[]){3});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_npy_text("h.npy", rows[i].version, rows[i].header, (float[]){1, 2, 3}, 12);
        if (rows[i].message)
            must_fail(g, "h.npy", rows[i].message);
        else
            qonnx_dataset_free(must_open(g, "h.npy"));
    }
    put_file("h.npy", "\x93NUMPX\1\0\0\0", 10);
    must_fail(g, "h.npy", "is no .npy file");
    put_file("h.npy", "\x93NUMPY\1", 7);
    must_fail(g, "h.npy", "is no .npy file");
    put_file("h.npy", "\x93NUMPY\2\0\xff\xff", 10);
    must_fail(g, "h.npy", "is it complete?");
    put_file("h.npy", "\x93NUMPY\2\0\xff\xff\xff\xff{}", 14);
    must_fail(g, "h.npy", "the header has 4294967295 bytes");
    put_file("h.npy", "", 0);
    must_fail(g, "h.npy", "h.npy: the file is empty");
    qonnx_graph_free(g);
}

/* Every prefix of a good file is refused, none crashes. */
static void test_npy_truncated(void **state)
{
    (void)state;
    uint8_t file[512];
    put_floats("p.npy", "(3,)", (float[]){1, 2, 3}, 3);
    size_t n = get_file("p.npy", file, sizeof file);
    Graph *g = graph_with(QONNX_FLOAT, 1, (int64_t[]){3});
    for (size_t i = 0; i < n; i++) {
        put_file("p.npy", file, i);
        must_fail(g, "p.npy", "p.npy: ");
    }
    qonnx_graph_free(g);
}

/* ---- pictures -------------------------------------------------------------------------------- */

enum { W = 5, H = 4 };

/* The pixels of all test pictures: channel c of pixel i is 7 i + 50 c. */
static int pixel(int i, int c)
{
    return 7 * i + 50 * c;
}

/* Writes a W x H PNG. 16-bit samples have a low byte of 255, in grey as much as the high one. */
static void put_png(const char *path, int type, int depth, int interlace)
{
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, W, H, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_color palette[256];
    for (int i = 0; i < 256; i++)
        palette[i] = (png_color){(png_byte)pixel(i % 20, 0), (png_byte)pixel(i % 20, 1),
                                 (png_byte)pixel(i % 20, 2)};
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 20);
    png_write_info(png, info);
    size_t channels = png_get_channels(png, info), bytes = (size_t)depth / 8;
    uint8_t pixels[H][W * 4 * 2];
    png_bytep rows[H];
    for (int y = 0; y < H; y++) {
        rows[y] = pixels[y];
        for (int x = 0; x < W; x++) {
            uint8_t *p = pixels[y] + (size_t)x * channels * bytes;
            memset(p, 255, channels * bytes);
            if (type == PNG_COLOR_TYPE_GRAY) memset(p, pixel(y * W + x, 0), bytes); /* scaled */
            for (size_t c = 0; c < channels; c++)
                p[c * bytes] = (uint8_t)(type == PNG_COLOR_TYPE_PALETTE ? y * W + x
                                                                        : pixel(y * W + x, (int)c));
        }
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

/* Writes a W x H JPEG at quality 100, all channels pixel(i, 0), and tells what libjpeg itself
 * decodes it to. */
static void put_jpeg(const char *path, J_COLOR_SPACE space, int channels, uint8_t *decoded)
{
    struct jpeg_compress_struct c;
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    uint8_t row[W * 4], *rows[] = {row};
    FILE *f = fopen(path, "w+b");
    c.err = d.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = W;
    c.image_height = H;
    c.input_components = channels;
    c.in_color_space = space;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 100, TRUE);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < H; y++) {
        for (int i = 0; i < W * channels; i++)
            row[i] = (uint8_t)pixel(y * W + i / channels, i % channels);
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    rewind(f);
    jpeg_create_decompress(&d);
    jpeg_stdio_src(&d, f);
    jpeg_read_header(&d, TRUE);
    jpeg_start_decompress(&d);
    for (int y = 0; y < H; y++) {
        JSAMPROW out = decoded + y * W * channels;
        jpeg_read_scanlines(&d, &out, 1);
    }
    jpeg_destroy_decompress(&d);
    fclose(f);
}

static double luma(double r, double g, double b)
{
    return floor((r * 19595 + g * 38470 + b * 7471 + 32768) / 65536);
}

/* Reads a W x H picture as [1,C,H,W] and [1,H,W,C], float and uint8, and compares: channel c of
 * pixel i must be expected[i * channels + c], or its gray. */
static void check_picture(const char *path, const uint8_t *expected, int channels)
{
    for (int form = 0; form < 8; form++) {
        bool last = form & 1, gray = form & 2;
        int64_t c = gray ? 1 : 3;
        Graph *g = graph_with(form & 4 ? QONNX_UINT8 : QONNX_FLOAT, 4,
                              last ? (int64_t[]){1, H, W, c} : (int64_t[]){-1, c, H, -1});
        qonnx_dataset *d = must_open(g, path);
        qonnx_tensor t;
        must_read(d, 0, &t);
        assert_int_equal(t.dims[0], 1);
        assert_int_equal(t.dims[last ? 3 : 1], c);
        assert_int_equal(qonnx_tensor_elements(&t), c * H * W);
        for (int64_t i = 0; i < H * W * c; i++) {
            int64_t ch = last ? i % c : i / (H * W), px = last ? i / c : i % (H * W);
            const uint8_t *p = expected + px * channels;
            double v = channels == 1 ? p[0] : gray ? luma(p[0], p[1], p[2]) : p[ch];
            assert_true(qonnx_tensor_get(&t, i) == v);
        }
        qonnx_sample_free(&t, 1);
        qonnx_dataset_free(d);
        qonnx_graph_free(g);
    }
}

static void test_png(void **state)
{
    (void)state;
    uint8_t rgb[W * H * 3], gray[W * H];
    for (int i = 0; i < W * H; i++) {
        gray[i] = (uint8_t)pixel(i, 0);
        for (int c = 0; c < 3; c++) rgb[i * 3 + c] = (uint8_t)pixel(i, c);
    }
    for (int depth = 8; depth <= 16; depth += 8) {
        for (int interlace = 0; interlace < 2; interlace++) {
            put_png("a.png", PNG_COLOR_TYPE_RGB, depth, interlace);
            check_picture("a.png", rgb, 3);
            put_png("a.png", PNG_COLOR_TYPE_RGB_ALPHA, depth, interlace);
            check_picture("a.png", rgb, 3);
            put_png("a.png", PNG_COLOR_TYPE_GRAY, depth, interlace);
            check_picture("a.png", gray, 1);
            put_png("a.png", PNG_COLOR_TYPE_GRAY_ALPHA, depth, interlace);
            check_picture("a.png", gray, 1);
        }
    }
    put_png("A.PNG", PNG_COLOR_TYPE_PALETTE, 8, 0);
    check_picture("A.PNG", rgb, 3);
}

static void test_jpeg(void **state)
{
    (void)state;
    uint8_t decoded[W * H * 4];
    put_jpeg("a.jpg", JCS_RGB, 3, decoded);
    check_picture("a.jpg", decoded, 3);
    put_jpeg("b.JPEG", JCS_GRAYSCALE, 1, decoded);
    check_picture("b.JPEG", decoded, 1);
    put_jpeg("really-a-jpeg.png", JCS_RGB, 3, decoded);
    check_picture("really-a-jpeg.png", decoded, 3);
}

static void test_picture_errors(void **state)
{
    (void)state;
    uint8_t decoded[W * H * 4], file[4096];
    Graph *g = graph_with(QONNX_FLOAT, 4, (int64_t[]){1, 3, H, W});
    Graph *wide = graph_with(QONNX_FLOAT, 4, (int64_t[]){1, 3, 224, -1});
    Graph *flat = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 60});
    Graph *half = graph_with(QONNX_INT16, 4, (int64_t[]){1, 3, H, W});
    Graph *any = graph_with(QONNX_FLOAT, 4, (int64_t[]){1, 3, -1, -1});
    put_jpeg("a.jpg", JCS_RGB, 3, decoded);
    put_png("a.png", PNG_COLOR_TYPE_RGB, 8, 0);
    must_fail(wide, "a.jpg", "a.jpg: picture is 5x4, the model's input 'x' wants anyx224");
    must_fail(wide, "a.png", "a.png: picture is 5x4");
    must_fail(flat, "a.png", "the model's input 'x' is [1,60]");
    must_fail(half, "a.png", "has int16");
    put_file("b.jpg", "GIF89a..", 8);
    must_fail(g, "b.jpg", "b.jpg: is no picture that is read");
    size_t n = get_file("a.jpg", file, sizeof file);
    for (size_t i = 1; i + 2 < n;
         i++) { /* without the end marker's two bytes all pixels are there */
        put_file("b.jpg", file, i);
        must_fail(g, "b.jpg", "b.jpg: ");
    }
    n = get_file("a.png", file, sizeof file);
    for (size_t i = 1; i < n; i++) {
        put_file("b.png", file, i);
        must_fail(g, "b.png", "b.png: ");
    }
    file[60] ^= 1;
    put_file("b.png", file, n);
    must_fail(g, "b.png", "b.png: damaged PNG");
    /* a header that claims 65500 x 65500 pixels */
    n = get_file("a.jpg", file, sizeof file);
    for (size_t i = 0; i + 9 < n; i++)
        if (file[i] == 0xff && file[i + 1] == 0xc0) memcpy(file + i + 5, "\xff\xdc\xff\xdc", 4);
    put_file("b.jpg", file, n);
    must_fail(any, "b.jpg", "picture is 65500x65500; more than 178956970 pixels");
    Graph *graphs[] = {g, wide, flat, half, any};
    for (int i = 0; i < 5; i++) qonnx_graph_free(graphs[i]);
}

/* ---- directories ----------------------------------------------------------------------------- */

static void put_float(const char *path, float v)
{
    put_floats(path, "(1, 1)", &v, 1);
}

static float read_float(const qonnx_dataset *d, size_t i)
{
    qonnx_tensor t;
    must_read(d, i, &t);
    float v = (float)qonnx_tensor_get(&t, 0);
    qonnx_sample_free(&t, 1);
    return v;
}

/* What opening and labelling the directory `flat` says; user: int[2], counts of notes and of
 * warnings. */
static void count_messages(void *user, qonnx_level level, const char *text)
{
    assert_contains(text,
                    level == QONNX_NOTE
                        ? "flat: skipped 1 .md"
                        : "1 of 6 lines name no sample in flat; the first is line 6, 'other.npy'");
    ++((int *)user)[level != QONNX_NOTE];
}

static void test_flat(void **state)
{
    (void)state;
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("flat", 0777);
    put_float("flat/b.npy", 1);
    put_float("flat/a.b.npy", 0);
    put_float("flat/B.NPY", 2);
    put_float("flat/b-1.npy", 4);
    put_float("flat/.hidden.npy", 9);
    put_float("one.npy", 3);
    assert_int_equal(symlink("../one.npy", "flat/link.npy"), 0);
    put_text("flat/labels.txt",
             "b.npy 4\r\n\nb-1.npy 5\nlink.npy\t7\na.b.npy 0\nother.npy 1\nB.NPY 2");
    put_file("flat/readme.md", "x", 1);
    qonnx_ctx *cx = qonnx_ctx_new();
    int messages[2] = {0};
    qonnx_ctx_on_log(cx, count_messages, messages);
    qonnx_dataset *d = qonnx_dataset_open(cx, g, (const char *[]){"flat"}, 1, NULL);
    assert_non_null(d);
    assert_int_equal(messages[0], 1);
    assert_int_equal(messages[1], 0);
    assert_int_equal(qonnx_dataset_count(d), 5);
    static const char *const names[] = {"flat/B.NPY", "flat/a.b.npy", "flat/b.npy", "flat/b-1.npy",
                                        "flat/link.npy"};
    static const float values[] = {2, 0, 1, 4, 3};
    static const int classes[] = {2, 0, 4, 5, 7};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(qonnx_dataset_name(d, i), names[i]);
        assert_int_equal(qonnx_dataset_class(d, i), -1);
        assert_true(read_float(d, i) == values[i]);
    }
    assert_true(qonnx_dataset_labels(cx, d, "flat/labels.txt"));
    assert_int_equal(messages[1], 1);
    for (size_t i = 0; i < 5; i++) assert_int_equal(qonnx_dataset_class(d, i), classes[i]);
    qonnx_dataset_free(d);
    qonnx_ctx_free(cx);
    qonnx_graph_free(g);
}

static void test_label_errors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a.npy", "line 1 is 'a.npy'"},
        {"\na.npy 1\na.npy x\n", "line 3 is 'a.npy x'"},
        {"a.npy -1", "line 1"},
        {"a.npy 99999999999", "line 1"},
        {"a.npy 1\na.npy 2", "gives 'a.npy' the class 2, an earlier one 1"},
        {"b.npy 1", "names none of the samples in lab; want lines as 'a.npy 0'"},
    };
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("lab", 0777);
    put_float("lab/a.npy", 1);
    qonnx_dataset *d = must_open(g, "lab");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qonnx_ctx *cx = qonnx_ctx_new();
        put_text("l.txt", rows[i][0]);
        assert_false(qonnx_dataset_labels(cx, d, "l.txt"));
        assert_contains(qonnx_error(cx), rows[i][1]);
        qonnx_ctx_free(cx);
    }
    qonnx_dataset_free(d);
    qonnx_graph_free(g);
}

static void test_classes(void **state)
{
    (void)state;
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("cls", 0777);
    mkdir("cls/dog", 0777);
    mkdir("cls/cat", 0777);
    mkdir("cls/cat-2", 0777);
    mkdir("cls/.git", 0777);
    put_float("cls/dog/0.npy", 4);
    put_float("cls/cat/1.npy", 1);
    put_float("cls/cat-2/0.npy", 3);
    put_floats("cls/cat/2.npy", "(2, 1)", (float[]){10, 20}, 2);
    qonnx_dataset *d = must_open(g, "cls/");
    static const int classes[] = {0, 0, 0, 1, 2};
    static const float values[] = {1, 10, 20, 3, 4};
    assert_int_equal(qonnx_dataset_count(d), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(qonnx_dataset_class(d, i), classes[i]);
        assert_true(read_float(d, i) == values[i]);
    }
    assert_string_equal(qonnx_dataset_name(d, 2), "cls/cat/2.npy");
    qonnx_dataset_free(d);
    qonnx_graph_free(g);
}

/* The same files under reversed names are the same samples. */
static void test_names_do_not_matter(void **state)
{
    (void)state;
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("fwd", 0777);
    mkdir("rev", 0777);
    for (int i = 0; i < 9; i++) {
        char path[32];
        snprintf(path, sizeof path, "fwd/%d.npy", i);
        put_float(path, (float)i);
        snprintf(path, sizeof path, "rev/%d.npy", 8 - i);
        put_float(path, (float)i);
    }
    qonnx_dataset *a = must_open(g, "fwd"), *b = must_open(g, "x=rev");
    assert_int_equal(qonnx_dataset_count(b), 9);
    for (size_t i = 0; i < 9; i++) assert_true(read_float(a, i) == read_float(b, 8 - i));
    qonnx_dataset_free(a);
    qonnx_dataset_free(b);
    qonnx_graph_free(g);
}

/* A graph with inputs a, a constant, and b. */
static Graph *two_inputs(void)
{
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    add_input(g, "w", QONNX_FLOAT, 1, (int64_t[]){1});
    graph_put_constant(
        g, graph_value(g, "w"),
        tensor_copy(g->model->arena, &(Tensor){QONNX_FLOAT, 1, {1}, (float[]){5}, 4}));
    add_input(g, "y", QONNX_INT64, 1, (int64_t[]){1});
    return g;
}

/* Samples i of x and y must be x[i] and y[i]. */
static void check_pairs(const qonnx_dataset *d, const float *x, const float *y, size_t n)
{
    assert_int_equal(qonnx_dataset_count(d), n);
    for (size_t i = 0; i < n; i++) {
        qonnx_tensor t[3];
        must_read(d, i, t);
        assert_true(qonnx_tensor_get(&t[0], 0) == x[i]);
        assert_null(t[1].data);
        assert_int_equal(t[2].dtype, QONNX_INT64);
        assert_true(qonnx_tensor_get(&t[2], 0) == y[i]);
        qonnx_sample_free(t, 3);
    }
}

static void open_pairs(const Graph *g, const char *const *specs, int n, const float *x,
                       const float *y, size_t count)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_dataset *d = qonnx_dataset_open(cx, g, specs, n, NULL);
    if (!d) fail_msg("%s", qonnx_error(cx));
    check_pairs(d, x, y, count);
    qonnx_dataset_free(d);
    qonnx_ctx_free(cx);
}

static void test_joins(void **state)
{
    (void)state;
    Graph *g = two_inputs();
    mkdir("j", 0777);
    mkdir("j/x", 0777);
    mkdir("j/y", 0777);
    put_float("j/x/1.npy", 1);
    put_float("j/x/0.npy", 0);
    put_npy("j/y/0.NPY", "<i4", false, "()", (int32_t[]){10}, 4);
    put_npy("j/y/1.npy", "|u1", false, "(1,)", (uint8_t[]){11}, 1);
    put_npy("rows.npy", "<i8", false, "(2,)", (int64_t[]){20, 21}, 16);
    put_npy("one.npy", "<i8", false, "(1,)", (int64_t[]){30}, 8);
    static const float x[] = {0, 1};
    open_pairs(g, (const char *[]){"y=j/y", "x=j/x"}, 2, x, (float[]){10, 11}, 2);
    open_pairs(g, (const char *[]){"j"}, 1, x, (float[]){10, 11}, 2);
    open_pairs(g, (const char *[]){"x=j/x", "y=rows.npy"}, 2, x, (float[]){20, 21}, 2);
    open_pairs(g, (const char *[]){"x=j/x", "y=one.npy"}, 2, x, (float[]){30, 30}, 2);
    mkdir("k", 0777);
    assert_int_equal(symlink("../j/x", "k/input_0") | symlink("../j/y", "k/input_1"), 0);
    open_pairs(g, (const char *[]){"k"}, 1, x, (float[]){10, 11}, 2);

    put_float("j/x/3.npy", 3);
    must_fail(g, "j", "j/x/3.npy: has no partner '3.*' in j/y for the model's input 'y'");
    unlink("j/x/3.npy");
    put_npy("j/y/2.npy", "<i8", false, "()", (int64_t[]){1}, 8);
    must_fail(g, "j", "j/y/2.npy: has no partner '2.*' in j/x for the model's input 'x'");
    unlink("j/y/2.npy");
    put_npy("j/y/1.npy", "<i8", false, "(2,)", (int64_t[]){1, 2}, 16);
    must_fail(g, "j", "j/y/1.npy: holds 2 samples, its partner j/x/1.npy holds 1");
    put_npy("rows.npy", "<i8", false, "(3,)", (int64_t[]){20, 21, 22}, 24);
    must_fail_specs(g, (const char *[]){"x=j/x", "y=rows.npy"}, 2, "holds 3");
    must_fail_specs(g, (const char *[]){"x=j/x", "x=j/y"}, 2, "'x' has its samples already");
    must_fail_specs(g, (const char *[]){"x=j/x"}, 1, "'y' has no samples; give y=PATH");
    must_fail_specs(g, (const char *[]){"x=j/x", "w=j/y"}, 2, "for each of: x, y");
    must_fail(g, "j/x", "the model has 2 inputs (x, y)");
    must_fail(g, "one.npy", "the model has 2 inputs (x, y)");
    qonnx_graph_free(g);
}

/* A TensorProto of one value: dims 1 (twice for x), type, and raw data. */
static void put_pb(const char *path, DType dtype, int value)
{
    uint8_t x[] = {8, 1, 8, 1, 16, 1, 0x4a, 4, 0, 0, 0, 0};
    uint8_t y[] = {8, 1, 16, 7, 0x4a, 8, (uint8_t)value, 0, 0, 0, 0, 0, 0, 0};
    float f = (float)value;
    memcpy(x + 8, &f, 4);
    if (dtype == QONNX_FLOAT)
        put_file(path, x, sizeof x);
    else
        put_file(path, y, sizeof y);
}

static void test_pb(void **state)
{
    (void)state;
    Graph *g = two_inputs(), *one = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("t", 0777);
    mkdir("t/test_data_set_0", 0777);
    mkdir("t/test_data_set_1", 0777);
    put_file("t/model.onnx", "x", 1);
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "t/test_data_set_%d/input_0.pb", i);
        put_pb(path, QONNX_FLOAT, i);
        snprintf(path, sizeof path, "t/test_data_set_%d/input_1.pb", i);
        put_pb(path, QONNX_INT64, 10 + i);
        snprintf(path, sizeof path, "t/test_data_set_%d/output_0.pb", i);
        put_pb(path, QONNX_FLOAT, 99);
    }
    open_pairs(g, (const char *[]){"t"}, 1, (float[]){0, 1}, (float[]){10, 11}, 2);
    open_pairs(g, (const char *[]){"t/test_data_set_1"}, 1, (float[]){1}, (float[]){11}, 1);
    unlink("t/test_data_set_0/input_1.pb");
    must_fail(g, "t/test_data_set_0", "has no input_1.pb for the model's input 'y'");

    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_tensor t;
    assert_true(qonnx_tensor_load(cx, "t/test_data_set_1/input_1.pb", QONNX_FLOAT, &t));
    assert_true(t.dtype == QONNX_INT64 && t.rank == 1 && qonnx_tensor_get(&t, 0) == 11);
    qonnx_sample_free(&t, 1);
    qonnx_ctx_free(cx);
    mkdir("many", 0777); /* more files than inputs: one sample each */
    put_pb("many/input_0.pb", QONNX_FLOAT, 3);
    put_pb("many/input_1.pb", QONNX_FLOAT, 4);
    qonnx_dataset *many = must_open(one, "many");
    assert_int_equal(qonnx_dataset_count(many), 2);
    assert_true(read_float(many, 1) == 4);
    qonnx_dataset_free(many);
    put_pb("v.pb", QONNX_INT64, 7); /* int64 [1] for float [1,1] */
    qonnx_dataset *d = must_open(one, "v.pb");
    assert_true(read_float(d, 0) == 7);
    qonnx_dataset_free(d);
    put_file("v.pb", "\x08\x01\x10\x01\x4a\x03zzz", 9);
    must_fail(one, "v.pb", "v.pb: raw_data has 3 bytes");
    put_file("v.pb", "\x08\x02\x10\x01\x4a\x08zzzzzzzz", 14);
    must_fail(one, "v.pb", "v.pb: shape is [2], the model's input 'x' wants [1,1]");
    put_file("v.pb", "<html>", 6);
    must_fail(one, "v.pb", "v.pb: ");
    put_file("v.pb", "\x08\x01\x10\x08\x32\x01s", 7);
    must_fail(one, "v.pb", "v.pb: has elements of type string");
    qonnx_graph_free(g);
    qonnx_graph_free(one);
}

static void test_missing(void **state)
{
    (void)state;
    Graph *g = graph_with(QONNX_FLOAT, 2, (int64_t[]){1, 1});
    mkdir("empty", 0777);
    mkdir("fotos", 0777);
    must_fail(g, "empty", "empty: no samples in this directory; .npy, ");
    must_fail(g, "photos", "photos: no such file; did you mean 'fotos'?");
    must_fail(g, "nowhere/at/all", "no such file or directory; check the path");
    must_fail(g, "z=empty", "no such file");
    put_file("a.npz", "PK", 2);
    must_fail(g, "a.npz", "a.npz: is no archive: it does not begin as one");
    put_file("a.tar", "x", 1);
    must_fail(g, "a.tar", "a.tar: no sample file; .npy, ");
    assert_int_equal(mkfifo("pipe.npy", 0600), 0);
    must_fail(g, "pipe.npy", "pipe.npy: is a device or a pipe");
    must_fail_specs(g, NULL, 0, "no samples are given");
    qonnx_graph_free(g);
    g = graph_new("m.onnx");
    must_fail(g, "empty", "the model has no inputs");
    qonnx_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_types),
        cmocka_unit_test(test_npy_exact),
        cmocka_unit_test(test_npy_fortran),
        cmocka_unit_test(test_npy_shapes),
        cmocka_unit_test(test_npy_headers),
        cmocka_unit_test(test_npy_truncated),
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_picture_errors),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_label_errors),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_names_do_not_matter),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_pb),
        cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
