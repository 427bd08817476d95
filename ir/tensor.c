/* ir/tensor.c - element types, and small reads of constant tensors. */
#include "ir/bundle.h"
#include "ir/size.h"
#include "kernels/packed.h"
#include "kernels/tiny.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Row t describes element type t: bits in raw_data, and ONNX's name, also of what holds such. */
#define ROW(bits, name)                                                                            \
    {                                                                                              \
        bits, {name, "sequence of " name, "optional " name, "optional sequence of " name}          \
    }
static const struct {
    int bits;
    const char *names[4]; /* alone; in a sequence; in an optional; in both */
} dtypes[] = {
    ROW(0, "undefined"),      ROW(32, "float"),       ROW(8, "uint8"),
    ROW(8, "int8"),           ROW(16, "uint16"),      ROW(16, "int16"),
    ROW(32, "int32"),         ROW(64, "int64"),       ROW(8 * sizeof(void *), "string"),
    ROW(8, "bool"),           ROW(16, "float16"),     ROW(64, "double"),
    ROW(32, "uint32"),        ROW(64, "uint64"),      ROW(64, "complex64"),
    ROW(128, "complex128"),   ROW(16, "bfloat16"),    ROW(8, "float8e4m3fn"),
    ROW(8, "float8e4m3fnuz"), ROW(8, "float8e5m2"),   ROW(8, "float8e5m2fnuz"),
    ROW(4, "uint4"),          ROW(4, "int4"),         ROW(4, "float4e2m1"),
    ROW(8, "float8e8m0"),     ROW(2, "uint2"),        ROW(2, "int2"),
    ROW(6, "float6e2m3"),     ROW(6, "float6e3m2"),
};
#undef ROW

static bool known(DType t) { return (unsigned)t < sizeof dtypes / sizeof *dtypes; }

int qonnx_dtype_bits(DType t) { return known(t) ? dtypes[t].bits : 0; }

int dtype_size(DType t) { return (qonnx_dtype_bits(t) + 7) / 8; }

bool dtype_is_packed(DType t) { return qonnx_dtype_bits(t) % 8 != 0; }

const char *qonnx_dtype_name(DType t)
{
    DType element = bundle_element(t);
    return known(element) && (unsigned)t < 256 ? dtypes[element].names[(unsigned)t >> 6]
                                               : "unknown";
}

int64_t tensor_count(const Tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) {
        if (!t->dims[i]) return 0; /* whatever the others are */
        if (__builtin_mul_overflow(n, t->dims[i], &n)) n = INT64_MAX;
    }
    return n;
}

int64_t qonnx_tensor_elements(const Tensor *t) { return tensor_count(t); }

void tensor_move(void *to, int64_t to_at, const void *from, int64_t from_at, int64_t n, DType t)
{
    int bits = qonnx_dtype_bits(t);
    if ((to_at * bits) % 8 == 0 && (from_at * bits) % 8 == 0 && (n * bits) % 8 == 0) {
        size_t bytes = (size_t)(n * bits / 8);
        if (bytes)
            memcpy((char *)to + to_at * bits / 8, (const char *)from + from_at * bits / 8, bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        packed_put(to, bits, (size_t)(to_at + i), packed_get(from, bits, (size_t)(from_at + i)));
}

/* Element i of a type of 8 bits or fewer that is none of C's. */
static double get_tiny(const Tensor *t, int64_t i)
{
    int bits = qonnx_dtype_bits(t->dtype);
    const uint8_t *p = t->data;
    uint32_t code = bits < 8 ? packed_get(p, bits, (size_t)i) : p[i];
    if (tiny_is_real(t->dtype)) return tiny_to_real(t->dtype, code);
    return tiny_bits(t->dtype) ? (double)(int64_t)tiny_integer(t->dtype, code) : 0;
}

#define LOAD(type)                                                                                 \
    do {                                                                                           \
        type v;                                                                                    \
        memcpy(&v, p + (size_t)i * sizeof v, sizeof v);                                            \
        return (double)v;                                                                          \
    } while (0)

double qonnx_tensor_get(const Tensor *t, int64_t i)
{
    const uint8_t *p = t->data;
    switch (t->dtype) {
    case QONNX_FLOAT: LOAD(float);
    case QONNX_DOUBLE: LOAD(double);
    case QONNX_UINT8:
    case QONNX_BOOL: LOAD(uint8_t);
    case QONNX_INT8: LOAD(int8_t);
    case QONNX_UINT16: LOAD(uint16_t);
    case QONNX_INT16: LOAD(int16_t);
    case QONNX_INT32: LOAD(int32_t);
    case QONNX_UINT32: LOAD(uint32_t);
    case QONNX_INT64: LOAD(int64_t);
    case QONNX_UINT64: LOAD(uint64_t);
    case QONNX_FLOAT16:
    case QONNX_BFLOAT16: {
        uint16_t h;
        memcpy(&h, p + (size_t)i * 2, 2);
        return t->dtype == QONNX_FLOAT16 ? arith_from_half(h) : arith_from_bfloat(h);
    }
    default: return get_tiny(t, i);
    }
}

qonnx_string qonnx_tensor_string(const Tensor *t, int64_t i)
{
    const qonnx_string *s;
    memcpy(&s, (const char *)t->data + (size_t)i * sizeof s, sizeof s);
    return s ? *s : (qonnx_string){0, ""};
}

bool tensor_ints(const Tensor *t, int64_t *values, int room, int *count)
{
    if (t->rank > 1 || (t->dtype != QONNX_INT64 && t->dtype != QONNX_INT32)) return false;
    int64_t n = tensor_count(t);
    if (n > room) return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t v;
        int32_t w;
        if (t->dtype == QONNX_INT64) {
            memcpy(&v, (const char *)t->data + i * 8, 8);
        } else {
            memcpy(&w, (const char *)t->data + i * 4, 4);
            v = w;
        }
        values[i] = v;
    }
    *count = (int)n;
    return true;
}

Tensor *tensor_copy(Arena *a, const Tensor *t)
{
    Tensor *c = arena_copy(a, t, sizeof *t);
    void *data = arena_aligned(a, t->bytes);
    if (t->bytes) memcpy(data, t->data, t->bytes);
    c->data = data;
    return c;
}

Shape shape_make(int rank, const int64_t *dims)
{
    Shape s = {.rank = rank};
    for (int i = 0; i < rank; i++) s.dim[i] = dims[i];
    return s;
}

Shape shape_of(const Tensor *t) { return shape_make(t->rank, t->dims); }

bool shape_known(const Shape *s)
{
    if (s->rank < 0) return false;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0) return false;
    return true;
}

int64_t shape_elements(const Shape *s)
{
    size_t n;
    if (!shape_known(s) || !size_elements(s->dim, s->rank, &n) || n > INT32_MAX) return -1;
    return (int64_t)n;
}
