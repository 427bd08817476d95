/* cli/tensor.c - see tensor.h. */
#include "tensor.h"
#include "output.h"
#include "progress.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool is_real(qonnx_dtype t)
{
    return t == QONNX_FLOAT || t == QONNX_DOUBLE || t == QONNX_FLOAT16 ||
           (t >= QONNX_BFLOAT16 && t <= QONNX_FLOAT8E5M2FNUZ) || t == QONNX_FLOAT4E2M1 ||
           t == QONNX_FLOAT8E8M0 || t == QONNX_FLOAT6E2M3 || t == QONNX_FLOAT6E3M2;
}

bool holds_tensors(qonnx_dtype t) { return ((unsigned)t & (QONNX_SEQUENCE | QONNX_OPTIONAL)) != 0; }

bool is_number(qonnx_dtype t)
{
    return !holds_tensors(t) && t != QONNX_STRING && t != QONNX_COMPLEX64 && t != QONNX_COMPLEX128;
}

double element(const qonnx_tensor *t, int64_t i)
{
    if (t->dtype != QONNX_FLOAT) return qonnx_tensor_get(t, i);
    float x;
    memcpy(&x, (const char *)t->data + (size_t)i * sizeof x, sizeof x);
    return x;
}

int64_t vector_length(const qonnx_tensor *t)
{
    int64_t longest = 1, count = qonnx_tensor_elements(t);
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] > longest) longest = t->dims[i];
    return is_real(t->dtype) && count >= 2 && longest == count ? count : 0;
}

int64_t class_rank(const qonnx_tensor *t, int64_t count, int64_t class)
{
    double own = element(t, class);
    if (isnan(own)) return count;
    int64_t before = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = element(t, i);
        before += x > own || (x == own && i < class);
    }
    return before;
}

const char *tensor_text(char *out, size_t size, const qonnx_tensor *t)
{
    int n = snprintf(out, size, "%s[", qonnx_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(out + n, size - (size_t)n, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    snprintf(out + n, size - (size_t)n, "]");
    return out;
}

const char *string_text(char *out, size_t size, const qonnx_tensor *t, int64_t i)
{
    char text[NAME_ROOM];
    qonnx_string s = qonnx_tensor_string(t, i);
    size_t n = s.bytes < sizeof text ? s.bytes : sizeof text - 1;
    memcpy(text, s.text, n);
    text[n] = 0;
    return clean_name(out, size, text);
}

/* ---- NumPy ----------------------------------------------------------------------------------- */

/* NumPy's names of the types that it has, or of those that have the same values. */
static const char *const npy_types[] = {
    [QONNX_FLOAT] = "<f4",     [QONNX_DOUBLE] = "<f8",     [QONNX_FLOAT16] = "<f2",
    [QONNX_INT8] = "|i1",      [QONNX_UINT8] = "|u1",      [QONNX_INT16] = "<i2",
    [QONNX_UINT16] = "<u2",    [QONNX_INT32] = "<i4",      [QONNX_UINT32] = "<u4",
    [QONNX_INT64] = "<i8",     [QONNX_UINT64] = "<u8",     [QONNX_BOOL] = "|b1",
    [QONNX_COMPLEX64] = "<c8", [QONNX_COMPLEX128] = "<c16", [QONNX_INT4] = "|i1",
    [QONNX_INT2] = "|i1",      [QONNX_UINT4] = "|u1",      [QONNX_UINT2] = "|u1"};

/* Whether elements are written as floats, which have the same values. */
static bool is_written_as_float(qonnx_dtype t)
{
    return is_real(t) && t != QONNX_DOUBLE && t != QONNX_FLOAT16;
}

static const char *npy_type(qonnx_dtype t)
{
    if (is_written_as_float(t)) return "<f4";
    return (size_t)t < sizeof npy_types / sizeof *npy_types ? npy_types[t] : NULL;
}

/* Magic, version 1.0, length and the dictionary, padded so that the data begins at 64. */
static bool npy_header(FILE *f, const char *type, const qonnx_tensor *t)
{
    char text[256], shape[24 * QONNX_MAX_RANK + 1] = "";
    for (int i = 0, n = 0; i < t->rank; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%lld,%s", (long long)t->dims[i],
                      i + 1 < t->rank ? " " : "");
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                     type, shape);
    int length = (10 + n + 1 + 63) / 64 * 64 - 10;
    unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    magic[8] = (unsigned char)(length & 255);
    magic[9] = (unsigned char)(length >> 8);
    return fwrite(magic, 1, 10, f) == 10 && fprintf(f, "%-*s\n", length - 1, text) == length;
}

/* Elements of a type that NumPy does not have, as floats or in a byte each. */
static bool write_values(FILE *f, const qonnx_tensor *t)
{
    int64_t count = qonnx_tensor_elements(t);
    bool good = true, real = is_real(t->dtype);
    for (int64_t i = 0; good && i < count; i++) {
        float x = (float)qonnx_tensor_get(t, i);
        int8_t byte = real ? 0 : (int8_t)x;
        good = fwrite(real ? (const void *)&x : &byte, real ? sizeof x : 1, 1, f) == 1;
    }
    return good;
}

/* The character that `*at`, before `end`, begins with, which moves behind it: U+FFFD for a byte
 * that begins none, so that any text has a form. */
static uint32_t take_character(const char **at, const char *end)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)*at;
    int more = s[0] < 0x80 ? 0 : s[0] < 0xc2 ? -1 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    ++*at;
    if (more < 0 || s[0] > 0xf4 || end - *at < more) return 0xfffd;
    uint32_t c = more ? s[0] & (0x3fu >> more) : s[0];
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0xfffd;
    *at += more;
    return c;
}

static size_t characters(qonnx_string s)
{
    size_t n = 0;
    for (const char *at = s.text, *end = at + s.bytes; at < end; n++) take_character(&at, end);
    return n;
}

/* NumPy's texts are all of one length, that of the longest, in characters of 4 bytes. */
static size_t longest_text(const qonnx_tensor *t)
{
    size_t longest = 1;
    int64_t count = qonnx_tensor_elements(t);
    for (int64_t i = 0; i < count; i++) {
        size_t n = characters(qonnx_tensor_string(t, i));
        if (n > longest) longest = n;
    }
    return longest;
}

static bool write_texts(FILE *f, const qonnx_tensor *t)
{
    size_t length = longest_text(t);
    int64_t count = qonnx_tensor_elements(t);
    bool good = true;
    for (int64_t i = 0; i < count; i++) {
        qonnx_string s = qonnx_tensor_string(t, i);
        const char *at = s.text, *end = at + s.bytes;
        for (size_t k = 0; good && k < length; k++) {
            uint32_t c = at < end ? take_character(&at, end) : 0;
            unsigned char bytes[4] = {c & 255, c >> 8 & 255, c >> 16 & 255, 0};
            good = fwrite(bytes, 1, 4, f) == 4;
        }
    }
    return good;
}

static bool write_elements(FILE *f, const qonnx_tensor *t)
{
    if (t->dtype == QONNX_STRING) return write_texts(f, t);
    bool narrow = qonnx_dtype_bits(t->dtype) < 8;
    if (narrow || (t->dtype != QONNX_FLOAT && is_written_as_float(t->dtype)))
        return write_values(f, t);
    return !t->bytes || fwrite(t->data, 1, t->bytes, f) == t->bytes;
}

bool npy_write(const char *path, const qonnx_tensor *t)
{
    char texts[32];
    const char *type = npy_type(t->dtype);
    if (t->dtype == QONNX_STRING) {
        snprintf(texts, sizeof texts, "<U%zu", longest_text(t));
        type = texts;
    }
    if (!type) {
        complain("%s: elements of type %s have no form in a NumPy file", path,
                 qonnx_dtype_name(t->dtype));
        return false;
    }
    FILE *f = fopen(path, "wbe");
    bool good = f && npy_header(f, type, t) && write_elements(f, t);
    if (f && fclose(f)) good = false;
    if (!good) complain("%s: can not be written: %s", path, strerror(errno));
    return good;
}
