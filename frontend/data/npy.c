/* frontend/data/npy.c - NumPy's .npy files, versions 1 to 3: numbers and bools, either byte order,
 * C or Fortran order. Nothing in them is ever executed: object arrays (pickles) are refused.
 *
 * Form: "\x93NUMPY", major, minor, the header's length (2 bytes in version 1, else 4, little
 * endian), the header, which is a Python dict literal, and the array.
 */
#include "frontend/data/npy.h"
#include "ir/ir.h"
#include "ir/size.h"
#include <stdlib.h>
#include <string.h>

enum { NPY_MAGIC = 8, NPY_HEADER_MAX = 1 << 16 };

/* A cursor over the header's text. */
typedef struct Text {
    const char *at, *end; /* what is left of it */
} Text;

static void skip_space(Text *t)
{
    while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at) t->at++;
}

/* Takes `c`, after white space. */
static bool take(Text *t, char c)
{
    skip_space(t);
    if (t->at >= t->end || *t->at != c) return false;
    t->at++;
    return true;
}

static bool take_word(Text *t, const char *word)
{
    size_t n = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return false;
    t->at += n;
    return true;
}

/* A string without escapes, in either kind of quotes; false when it is longer than the buffer. */
static bool take_string(Text *t, char *out, size_t size)
{
    skip_space(t);
    if (t->at >= t->end || (*t->at != '\'' && *t->at != '"')) return false;
    char quote = *t->at++;
    for (size_t n = 0; t->at < t->end && n < size; n++) {
        char c = *t->at++;
        if (c == '\\') return false;
        out[n] = c == quote ? 0 : c;
        if (c == quote) return true;
    }
    return false;
}

static bool take_number(Text *t, int64_t *out)
{
    skip_space(t);
    const char *start = t->at;
    *out = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, *t->at - '0', out))
            return false;
    bool some = t->at > start;
    if (some && t->at < t->end && *t->at == 'L') t->at++; /* Python 2 wrote long integers so */
    return some;
}

/* "(3, 4)", "(3,)" or "()". */
static bool take_shape(Text *t, Npy *out)
{
    out->rank = 0;
    if (!take(t, '(')) return false;
    while (!take(t, ')')) {
        if (out->rank == QONNX_MAX_RANK || !take_number(t, &out->dims[out->rank])) return false;
        out->rank++;
        if (!take(t, ',')) return take(t, ')');
    }
    return true;
}

/* Reads a type's name: order, kind and bytes. */
static bool parse_descr(qonnx_ctx *cx, const char *path, const char *descr, Npy *out)
{
    static const struct {
        const char *name;
        qonnx_dtype dtype;
    } types[] = {{"f4", QONNX_FLOAT},  {"f8", QONNX_DOUBLE}, {"i1", QONNX_INT8},
                 {"i2", QONNX_INT16},  {"i4", QONNX_INT32},  {"i8", QONNX_INT64},
                 {"u1", QONNX_UINT8},  {"u2", QONNX_UINT16}, {"u4", QONNX_UINT32},
                 {"u8", QONNX_UINT64}, {"b1", QONNX_BOOL},   {"f2", QONNX_FLOAT16},
                 {"V1", QONNX_UINT8},  {"V2", QONNX_UINT16}, {"f1", QONNX_UINT8}};
    out->damaged = false; /* the header is one */
    const char *name = descr[0] && strchr("<>|=", descr[0]) ? descr + 1 : descr;
    if (name[0] == 'O')
        return qonnx_fail(cx, NULL,
                          "%s: holds Python objects, which are not read; save an array "
                          "of numbers",
                          path);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        out->dtype = types[i].dtype;
        out->codes = name[0] == 'V' || !strcmp(name, "f1"); /* types that NumPy does not have */
        out->swap = descr[0] == '>' && name[1] != '1';
        return true;
    }
    return qonnx_fail(cx, NULL,
                      "%s: has elements of type '%s'; f4, f8, i1 to i8, u1 to u8 and b1 "
                      "are read",
                      path, descr);
}

/* One "key: value" of the header. */
static bool parse_entry(qonnx_ctx *cx, const char *path, Text *t, char descr[16], Npy *out,
                        unsigned *seen)
{
    char key[16];
    unsigned bit = 0;
    bool ok = take_string(t, key, sizeof key) && take(t, ':');
    if (ok && !strcmp(key, "descr")) {
        bit = 1;
        out->damaged = !take(t, '[');
        if (!out->damaged)
            return qonnx_fail(cx, NULL, "%s: holds records; save an array of numbers", path);
        ok = take_string(t, descr, 16);
    } else if (ok && !strcmp(key, "fortran_order")) {
        bit = 2;
        out->fortran = take_word(t, "True");
        ok = out->fortran || take_word(t, "False");
    } else if (ok && !strcmp(key, "shape")) {
        bit = 4;
        ok = take_shape(t, out);
    }
    if (ok && bit && !(*seen & bit)) return *seen |= bit, true;
    return qonnx_fail(cx, NULL, "%s: malformed .npy header (of at most %d axes); save it anew",
                      path, QONNX_MAX_RANK);
}

/* The dict literal: three keys, in any order. */
static bool parse_header(qonnx_ctx *cx, const char *path, Text t, Npy *out)
{
    char descr[16];
    unsigned seen = 0;
    bool ok = take(&t, '{');
    while (ok && !take(&t, '}')) {
        if (!parse_entry(cx, path, &t, descr, out, &seen)) return false;
        if (take(&t, ',')) continue;
        ok = take(&t, '}');
        break;
    }
    skip_space(&t);
    if (!ok || seen != 7 || t.at != t.end)
        return qonnx_fail(cx, NULL, "%s: malformed .npy header; save it anew", path);
    return parse_descr(cx, path, descr, out);
}

size_t npy_head_bytes(const uint8_t head[12])
{
    size_t start = NPY_MAGIC + (head[6] == 1 ? 2 : 4), length = 0;
    for (size_t i = start; i-- > NPY_MAGIC;) length = length << 8 | head[i];
    return start + length;
}

bool npy_parse(qonnx_ctx *cx, const char *path, const uint8_t *p, size_t have, size_t bytes,
               Npy *out)
{
    *out = (Npy){.damaged = true};
    if (have < NPY_MAGIC || memcmp(p, "\x93NUMPY", 6) != 0)
        return qonnx_fail(cx, NULL, "%s: is no .npy file: it does not begin as one", path);
    if (p[6] < 1 || p[6] > 3)
        return qonnx_fail(cx, NULL, "%s: .npy version %d, want 1 to 3", path, p[6]);
    size_t start = NPY_MAGIC + (p[6] == 1 ? 2 : 4), length = 0, wanted;
    for (size_t i = start; i-- > NPY_MAGIC && have >= start;) length = length << 8 | p[i];
    if (have < start || have - start < length || length > NPY_HEADER_MAX)
        return qonnx_fail(cx, NULL, "%s: the header has %zu bytes, the file %zu; is it complete?",
                          path, length, bytes);
    Text text = {(const char *)p + start, (const char *)p + start + length};
    if (!parse_header(cx, path, text, out)) return false;
    out->start = start + length;
    out->damaged = true;
    if (!tensor_bytes(out->dims, out->rank, out->dtype, &wanted))
        return qonnx_fail(cx, NULL, "%s: its shape has more elements than can be addressed", path);
    if (bytes - out->start != wanted)
        return qonnx_fail(cx, NULL,
                          "%s: has %zu bytes of data, its shape needs %zu; is the file "
                          "complete?",
                          path, bytes - out->start, wanted);
    out->damaged = false;
    return true;
}

bool npy_shape(const char *path, int *rank, int64_t dims[QONNX_MAX_RANK])
{
    FileMap m;
    Npy a;
    qonnx_ctx *cx = qonnx_ctx_new();
    bool ok = file_map(cx, path, &m);
    if (ok) {
        ok = npy_parse(cx, path, m.data, m.bytes, m.bytes, &a);
        file_unmap(&m);
    }
    qonnx_ctx_free(cx);
    if (!ok) return false;
    *rank = a.rank;
    memcpy(dims, a.dims, sizeof a.dims);
    return true;
}

bool npy_damaged(qonnx_ctx *cx, const char *path, const FileMap *m)
{
    Npy a;
    return !npy_parse(cx, path, m->data, m->bytes, m->bytes, &a) && a.damaged;
}

/* Distance in bytes between neighbours of each axis. */
static void npy_strides(const Npy *a, ptrdiff_t strides[QONNX_MAX_RANK])
{
    ptrdiff_t step = qonnx_dtype_bits(a->dtype) / 8;
    for (int i = 0; i < a->rank; i++) {
        int axis = a->fortran ? i : a->rank - 1 - i;
        strides[axis] = step;
        step *= a->dims[axis] ? (ptrdiff_t)a->dims[axis] : 1;
    }
}

/* Writes the box dims[0..rank) that begins at `data`, in C order, converted to t->dtype. */
static bool gather(qonnx_ctx *cx, const Feed *f, const char *path, const Npy *a,
                   const uint8_t *data, const int64_t *dims, const ptrdiff_t *strides, int rank,
                   qonnx_tensor *t)
{
    size_t total = (size_t)qonnx_tensor_elements(t);
    size_t run = rank ? (size_t)dims[rank - 1] : 1;
    ptrdiff_t step = rank ? strides[rank - 1] : 0;
    if (!a->fortran) run = total, step = qonnx_dtype_bits(a->dtype) / 8;
    int64_t at[QONNX_MAX_RANK] = {0};
    for (size_t done = 0; done < total; done += run) {
        const uint8_t *p = data;
        for (int i = 0; i < rank; i++) p += at[i] * strides[i];
        size_t n = convert_elements((Elements){p, step, a->dtype, a->swap, a->codes}, run, t->dtype,
                                    (void *)(uintptr_t)t->data, done);
        if (n < run) return convert_fail(cx, f, path, a->dtype, done + n);
        for (int i = rank - 2; i >= 0 && ++at[i] == dims[i]; i--) at[i] = 0;
    }
    return true;
}

size_t npy_offset(const Npy *a, const Fit *fit, size_t row)
{
    ptrdiff_t strides[QONNX_MAX_RANK];
    npy_strides(a, strides);
    return fit->split ? row * (size_t)strides[0] : 0;
}

bool npy_take(qonnx_ctx *cx, const Feed *f, const char *path, const Npy *a, const Fit *fit,
              const uint8_t *data, qonnx_tensor *out)
{
    ptrdiff_t strides[QONNX_MAX_RANK];
    npy_strides(a, strides);
    if (!sample_new(cx, f, path, fit, out)) return false;
    if (gather(cx, f, path, a, data, a->dims + fit->split, strides + fit->split,
               a->rank - fit->split, out))
        return true;
    qonnx_sample_free(out, 1);
    return false;
}

bool npy_check(qonnx_ctx *cx, const Feed *f, const char *path, const Npy *a)
{
    if (!a->codes) return convert_check(cx, f, path, a->dtype);
    bool of_bits = f->dtype >= QONNX_BFLOAT16 && f->dtype <= QONNX_FLOAT6E3M2;
    return (of_bits && dtype_size(f->dtype) == dtype_size(a->dtype)) ||
           qonnx_fail(cx, NULL,
                      "%s: has elements of %d bytes that NumPy has no type for, the model's input "
                      "'%s' wants %s",
                      path, dtype_size(a->dtype), f->name, qonnx_dtype_name(f->dtype));
}

/* Maps and checks a file, and fits it to the input. */
static bool npy_open(qonnx_ctx *cx, const Feed *f, const char *path, FileMap *m, Npy *a, Fit *fit)
{
    if (!file_map(cx, path, m)) return false;
    if (npy_parse(cx, path, m->data, m->bytes, m->bytes, a) &&
        feed_fit(cx, f, path, a->dims, a->rank, true, fit) &&
        npy_check(cx, f, path, a))
        return true;
    file_unmap(m);
    return false;
}

bool npy_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count)
{
    FileMap m;
    Npy a;
    Fit fit;
    if (!npy_open(cx, f, path, &m, &a, &fit)) return false;
    file_unmap(&m);
    *count = fit.count;
    return true;
}

bool npy_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out)
{
    FileMap m;
    Npy a;
    Fit fit;
    if (!npy_open(cx, f, path, &m, &a, &fit)) return false;
    bool ok = row < fit.count || qonnx_fail(cx, NULL, "%s: the file has changed", path);
    ok = ok && npy_take(cx, f, path, &a, &fit, m.data + a.start + npy_offset(&a, &fit, row), out);
    file_unmap(&m);
    return ok;
}

bool npy_load(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *out)
{
    (void)want; /* it is a tensor */
    FileMap m;
    Npy a;
    if (!file_map(cx, path, &m)) return false;
    bool ok = npy_parse(cx, path, m.data, m.bytes, m.bytes, &a);
    file_unmap(&m);
    if (!ok) return false;
    Feed own = {.name = (char[]){"x"}, .dtype = a.dtype, .rank = -1};
    return npy_read(cx, &own, path, 0, out);
}
