/* frontend/data/convert.c - from one element type to another without changing values unseen. */
#include "frontend/data/data.h"
#include "ir/ir.h"
#include "kernels/packed.h"
#include "kernels/tiny.h"
#include <math.h>
#include <string.h>

/* A value of any supported type, without loss. */
typedef struct Number {
    enum { NUM_INT, NUM_BIG, NUM_REAL } kind; /* which field holds it */
    int64_t i;                                /* NUM_INT */
    uint64_t u;                               /* NUM_BIG: above INT64_MAX */
    double d;                                 /* NUM_REAL */
} Number;

static bool is_number(qonnx_dtype t)
{
    if (tiny_is_real(t) || tiny_bits(t)) return true;
    switch (t) {
    case QONNX_FLOAT:
    case QONNX_FLOAT16:
    case QONNX_BFLOAT16:
    case QONNX_DOUBLE:
    case QONNX_BOOL:
    case QONNX_UINT8:
    case QONNX_INT8:
    case QONNX_UINT16:
    case QONNX_INT16:
    case QONNX_UINT32:
    case QONNX_INT32:
    case QONNX_UINT64:
    case QONNX_INT64:
        return true;
    default:
        return false;
    }
}

bool convert_check(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from)
{
    if (from == f->dtype || (is_number(from) && is_number(f->dtype))) return true;
    if (f->dtype == QONNX_UNDEFINED)
        return qonnx_fail(cx, NULL,
                          "the model's input '%s' has no type of elements, being a map or another "
                          "value that is not known; export the model with tensors as its inputs",
                          f->name);
    return qonnx_fail(cx, NULL, "%s: has elements of type %s, the model's input '%s' wants %s",
                      path, qonnx_dtype_name(from), f->name, qonnx_dtype_name(f->dtype));
}

bool convert_fail(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from, size_t at)
{
    return qonnx_fail(cx, NULL,
                      "%s: element %zu, of type %s, has a value that is not one of type %s, which "
                      "the model's input '%s' wants",
                      path, at, qonnx_dtype_name(from), qonnx_dtype_name(f->dtype), f->name);
}

/* A number of a type of 8 bits or fewer that is none of C's. */
static Number decode_tiny(qonnx_dtype t, uint32_t code)
{
    if (tiny_is_real(t)) return (Number){.kind = NUM_REAL, .d = tiny_to_real(t, code)};
    return (Number){.kind = NUM_INT, .i = (int64_t)tiny_integer(t, code)};
}

/* `bits` holds the little-endian bytes of an element of type t. */
static Number decode(qonnx_dtype t, uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float f;
    Number n = {.kind = NUM_INT};
    if (tiny_is_real(t) || tiny_bits(t)) return decode_tiny(t, low);
    switch (t) {
    case QONNX_FLOAT:
        memcpy(&f, &low, sizeof f);
        n.kind = NUM_REAL;
        n.d = f;
        break;
    case QONNX_DOUBLE:
        n.kind = NUM_REAL;
        memcpy(&n.d, &bits, sizeof n.d);
        break;
    case QONNX_FLOAT16:
    case QONNX_BFLOAT16:
        n.kind = NUM_REAL;
        n.d = t == QONNX_FLOAT16 ? arith_from_half((uint16_t)bits)
                                 : arith_from_bfloat((uint16_t)bits);
        break;
    case QONNX_BOOL:
        n.i = bits != 0;
        break;
    case QONNX_INT8:
        n.i = (int8_t)bits;
        break;
    case QONNX_INT16:
        n.i = (int16_t)bits;
        break;
    case QONNX_INT32:
        n.i = (int32_t)bits;
        break;
    case QONNX_UINT64:
        if (bits > INT64_MAX) n.kind = NUM_BIG;
        n.u = bits;
        n.i = (int64_t)bits;
        break;
    default:
        n.i = (int64_t)bits;
        break; /* int64, and the small unsigned ones */
    }
    return n;
}

/* The integer that a number is, as bits; false when it is none, or outside [min, max]. */
static bool to_integer(Number n, int64_t min, int64_t max, uint64_t *bits)
{
    if (n.kind == NUM_BIG) return false;
    if (n.kind == NUM_REAL) {
        if (!(n.d >= -0x1p63 && n.d < 0x1p63) || n.d != trunc(n.d)) return false;
        n.i = (int64_t)n.d;
    }
    *bits = (uint64_t)n.i;
    return n.i >= min && n.i <= max;
}

static bool to_uint64(Number n, uint64_t *bits)
{
    if (n.kind == NUM_BIG) return *bits = n.u, true;
    if (n.kind == NUM_REAL && n.d >= 0x1p63 && n.d < 0x1p64) return *bits = (uint64_t)n.d, true;
    return to_integer(n, 0, INT64_MAX, bits);
}

/* Integers must be exact in the `digits` bits of the mantissa. */
static bool to_real(Number n, int digits, double *d)
{
    if (n.kind == NUM_REAL) return *d = n.d, true;
    uint64_t magnitude = n.kind == NUM_BIG ? n.u : n.i < 0 ? 0 - (uint64_t)n.i : (uint64_t)n.i;
    *d = n.i < 0 && n.kind == NUM_INT ? -(double)magnitude : (double)magnitude;
    while (magnitude && !(magnitude & 1)) magnitude >>= 1;
    return magnitude >> digits == 0;
}

/* The same of a type of 8 bits or fewer that is none of C's. */
static bool encode_tiny(qonnx_dtype t, Number n, uint64_t *bits)
{
    double d;
    int width = tiny_bits(t);
    if (width) {
        bool is_signed = t == QONNX_INT4 || t == QONNX_INT2;
        int64_t least = is_signed ? -(1 << (width - 1)) : 0;
        return to_integer(n, least, least + (1 << width) - 1, bits);
    }
    bool power = t == QONNX_FLOAT8E8M0;
    if (!to_real(n, power ? 1 : tiny_form_of(t).mantissa + 1, &d)) return false;
    *bits = tiny_from_real(t, d, 0, TINY_NEAREST);
    double is = tiny_to_real(t, (uint32_t)*bits);
    if (isnan(d) || isinf(d)) return isnan(d) ? isnan(is) : d == is;
    bool open = !power && !tiny_form_of(t).nan; /* what is too large does not become a NaN */
    return isfinite(is) && (!open || fabs(d) <= tiny_to_real(t, tiny_form_of(t).largest));
}

/* The little-endian bytes of n as type t; false when it does not fit. */
static bool encode(qonnx_dtype t, Number n, uint64_t *bits)
{
    double d;
    float f;
    uint32_t low;
    if (tiny_is_real(t) || tiny_bits(t)) return encode_tiny(t, n, bits);
    switch (t) {
    case QONNX_FLOAT:
        if (!to_real(n, 24, &d)) return false;
        f = (float)d;
        memcpy(&low, &f, sizeof low);
        *bits = low;
        return isfinite(f) || !isfinite(d);
    case QONNX_FLOAT16:
        if (!to_real(n, 11, &d)) return false;
        *bits = arith_to_half(d);
        return (*bits & 0x7c00) != 0x7c00 || !isfinite(d);
    case QONNX_BFLOAT16:
        if (!to_real(n, 8, &d)) return false;
        *bits = arith_to_bfloat(d);
        return (*bits & 0x7f80) != 0x7f80 || !isfinite(d);
    case QONNX_DOUBLE:
        if (!to_real(n, 53, &d)) return false;
        memcpy(bits, &d, sizeof d);
        return true;
    case QONNX_BOOL:
        return to_integer(n, 0, 1, bits);
    case QONNX_UINT8:
        return to_integer(n, 0, UINT8_MAX, bits);
    case QONNX_INT8:
        return to_integer(n, INT8_MIN, INT8_MAX, bits);
    case QONNX_UINT16:
        return to_integer(n, 0, UINT16_MAX, bits);
    case QONNX_INT16:
        return to_integer(n, INT16_MIN, INT16_MAX, bits);
    case QONNX_UINT32:
        return to_integer(n, 0, UINT32_MAX, bits);
    case QONNX_INT32:
        return to_integer(n, INT32_MIN, INT32_MAX, bits);
    case QONNX_INT64:
        return to_integer(n, INT64_MIN, INT64_MAX, bits);
    case QONNX_UINT64:
        return to_uint64(n, bits);
    default:
        return false;
    }
}

/* The same type: only the bytes' order and place change. */
static void copy_elements(Elements e, size_t n, size_t size, uint8_t *out)
{
    if (!e.swap && e.stride == (ptrdiff_t)size) {
        if (n) memcpy(out, e.data, n * size);
        return;
    }
    for (size_t i = 0; i < n; i++, out += size) {
        const uint8_t *p = e.data + (ptrdiff_t)i * e.stride;
        for (size_t k = 0; k < size; k++) out[k] = p[e.swap ? size - 1 - k : k];
    }
}

/* Element i as bits, little endian. */
static uint64_t load_bits(Elements e, size_t i, size_t size)
{
    uint64_t bits = 0;
    if (dtype_is_packed(e.dtype)) return packed_get(e.data, qonnx_dtype_bits(e.dtype), i);
    const uint8_t *p = e.data + (ptrdiff_t)i * e.stride;
    for (size_t k = 0; k < size; k++)
        bits |= (uint64_t)p[e.swap ? size - 1 - k : k] << (8 * k);
    return bits;
}

size_t convert_elements(Elements e, size_t n, qonnx_dtype to, void *dst, size_t at)
{
    size_t from_size = (size_t)dtype_size(e.dtype), to_size = (size_t)dtype_size(to);
    bool packed = dtype_is_packed(to), same = e.dtype == to || e.codes;
    uint8_t *out = dst;
    if (same && !packed) {
        copy_elements(e, n, to_size, out + at * to_size);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = load_bits(e, i, from_size);
        if (!same && !encode(to, decode(e.dtype, bits), &bits)) return i;
        if (packed) packed_put(out, qonnx_dtype_bits(to), at + i, (uint32_t)bits);
        for (size_t k = 0; k < to_size && !packed; k++)
            out[(at + i) * to_size + k] = (uint8_t)(bits >> (8 * k));
    }
    return n;
}
