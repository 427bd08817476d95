/* frontend/tensor.c - the checks between a TensorProto and a tensor. */
#include "frontend/tensor.h"
#include "ir/size.h"
#include "kernels/packed.h"
#include <string.h>

/* What all steps need. */
typedef struct Job {
    qonnx_ctx *cx;
    const qonnx_node *node;     /* for messages; may be NULL */
    const char *what;           /* for messages */
    const Onnx__TensorProto *t; /* the unchecked message */
    TensorAlloc *alloc;         /* memory for converted values */
    void *user;                 /* of alloc */
} Job;

/* The typed fields of a TensorProto. */
typedef enum Field {
    FIELD_NONE,
    FIELD_FLOAT,
    FIELD_INT32,
    FIELD_INT64,
    FIELD_DOUBLE,
    FIELD_UINT64,
    FIELD_STRING,
    FIELD_COUNT
} Field;

static const char *const field_names[FIELD_COUNT] = {"no field",   "float_data",  "int32_data",
                                                     "int64_data", "double_data", "uint64_data",
                                                     "string_data"};

/* How a type lies in its typed field; from the comments of TensorProto's fields in the format. */
typedef struct Layout {
    Field field;      /* FIELD_NONE: the type has raw data only */
    int width;        /* raw bytes that one entry stands for; 0: it is an element of 6 bits */
    int64_t min, max; /* of an entry of int32_data or uint64_data */
} Layout;

static const Layout layouts[] = {
    [QONNX_FLOAT] = {FIELD_FLOAT, 4, 0, 0},
    [QONNX_UINT8] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_INT8] = {FIELD_INT32, 1, INT8_MIN, INT8_MAX},
    [QONNX_UINT16] = {FIELD_INT32, 2, 0, UINT16_MAX},
    [QONNX_INT16] = {FIELD_INT32, 2, INT16_MIN, INT16_MAX},
    [QONNX_INT32] = {FIELD_INT32, 4, INT32_MIN, INT32_MAX},
    [QONNX_INT64] = {FIELD_INT64, 8, 0, 0},
    [QONNX_STRING] = {FIELD_STRING, 0, 0, 0},
    [QONNX_BOOL] = {FIELD_INT32, 1, 0, 1},
    [QONNX_FLOAT16] = {FIELD_INT32, 2, 0, UINT16_MAX},
    [QONNX_DOUBLE] = {FIELD_DOUBLE, 8, 0, 0},
    [QONNX_UINT32] = {FIELD_UINT64, 4, 0, UINT32_MAX},
    [QONNX_UINT64] = {FIELD_UINT64, 8, 0, 0},
    [QONNX_COMPLEX64] = {FIELD_FLOAT, 4, 0, 0},
    [QONNX_COMPLEX128] = {FIELD_DOUBLE, 8, 0, 0},
    [QONNX_BFLOAT16] = {FIELD_INT32, 2, 0, UINT16_MAX},
    [QONNX_FLOAT8E4M3FN] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT8E4M3FNUZ] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT8E5M2] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT8E5M2FNUZ] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_UINT4] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_INT4] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT4E2M1] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT8E8M0] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_UINT2] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_INT2] = {FIELD_INT32, 1, 0, UINT8_MAX},
    [QONNX_FLOAT6E2M3] = {FIELD_INT32, 0, 0, 63},
    [QONNX_FLOAT6E3M2] = {FIELD_INT32, 0, 0, 63},
};

static Layout layout_of(qonnx_dtype t)
{
    return (size_t)t < sizeof layouts / sizeof *layouts ? layouts[t] : (Layout){0};
}

static size_t field_entries(const Onnx__TensorProto *t, Field f)
{
    switch (f) {
    case FIELD_FLOAT:
        return t->n_float_data;
    case FIELD_INT32:
        return t->n_int32_data;
    case FIELD_INT64:
        return t->n_int64_data;
    case FIELD_DOUBLE:
        return t->n_double_data;
    case FIELD_UINT64:
        return t->n_uint64_data;
    case FIELD_STRING:
        return t->n_string_data;
    default:
        return 0;
    }
}

/* Shape and type; and the bytes of the dense form. */
static bool check_header(const Job *j, qonnx_tensor *out)
{
    const Onnx__TensorProto *t = j->t;
    if (t->n_dims > QONNX_MAX_RANK)
        return qonnx_fail(j->cx, j->node, "%s: rank %zu, at most %d is supported", j->what,
                          t->n_dims, QONNX_MAX_RANK);
    *out = (qonnx_tensor){.dtype = (qonnx_dtype)(t->has_data_type ? t->data_type : 0),
                          .rank = (int)t->n_dims};
    for (int i = 0; i < out->rank; i++) {
        if (t->dims[i] < 0)
            return qonnx_fail(j->cx, j->node, "%s: dimension %d is %lld, must not be negative",
                              j->what, i, (long long)t->dims[i]);
        out->dims[i] = t->dims[i];
    }
    size_t n;
    if (!qonnx_dtype_bits(out->dtype))
        return qonnx_fail(j->cx, j->node, "%s: data_type is %d, which is no known element type",
                          j->what, (int)out->dtype);
    if (!size_elements(out->dims, out->rank, &n) || n > INT64_MAX ||
        !tensor_bytes(out->dims, out->rank, out->dtype, &out->bytes) || out->bytes > PTRDIFF_MAX)
        return qonnx_fail(j->cx, j->node, "%s: the shape has more elements than can be addressed",
                          j->what);
    if (t->segment)
        return qonnx_fail(j->cx, j->node,
                          "%s: is stored in segments, which is not supported; save it whole",
                          j->what);
    return true;
}

/* Finds the one typed field that is filled, FIELD_NONE if none is; it must be `wanted`. */
static bool check_fields(const Job *j, Field wanted, Field *found)
{
    *found = FIELD_NONE;
    for (Field f = FIELD_FLOAT; f < FIELD_COUNT; f++) {
        if (!field_entries(j->t, f)) continue;
        if (f != wanted)
            return qonnx_fail(j->cx, j->node, "%s: has values in %s, its type %s is kept in %s",
                              j->what, field_names[f],
                              qonnx_dtype_name((qonnx_dtype)j->t->data_type),
                              wanted ? field_names[wanted] : "raw_data");
        *found = f;
    }
    return true;
}

static bool check_length(const Job *j, const char *where, const char *unit, size_t have,
                         size_t want)
{
    if (have == want) return true;
    return qonnx_fail(j->cx, j->node, "%s: %s has %zu %s, type %s and the shape need %zu", j->what,
                      where, have, unit, qonnx_dtype_name((qonnx_dtype)j->t->data_type), want);
}

/* The low `width` bytes of v, little endian. */
static void put_int(uint8_t *p, int width, uint64_t v)
{
    for (int i = 0; i < width; i++) p[i] = (uint8_t)(v >> (8 * i));
}

/* The entries of a typed field that lie in memory as they do in the dense form; NULL: they do not.
 */
static const void *native_data(const Onnx__TensorProto *t, Field f)
{
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) return NULL;
    return f == FIELD_FLOAT    ? t->float_data
           : f == FIELD_DOUBLE ? (const void *)t->double_data
                               : NULL;
}

/* Writes n entries of a typed field to `p`, l->width bytes each, or packed. */
static bool convert(const Job *j, const Layout *l, size_t n, uint8_t *p)
{
    const Onnx__TensorProto *t = j->t;
    uint8_t *first = p;
    for (size_t i = 0; i < n; i++, p += l->width) {
        uint64_t v = 0;
        uint32_t bits;
        bool fits = true;
        switch (l->field) {
        case FIELD_FLOAT:
            memcpy(&bits, &t->float_data[i], sizeof bits);
            v = bits;
            break;
        case FIELD_DOUBLE:
            memcpy(&v, &t->double_data[i], sizeof v);
            break;
        case FIELD_INT32:
            v = (uint64_t)t->int32_data[i];
            fits = t->int32_data[i] >= l->min && t->int32_data[i] <= l->max;
            break;
        case FIELD_INT64:
            v = (uint64_t)t->int64_data[i];
            break;
        case FIELD_UINT64:
            v = t->uint64_data[i];
            fits = !l->max || v <= (uint64_t)l->max;
            break;
        default:
            break;
        }
        if (!fits)
            return qonnx_fail(j->cx, j->node, "%s: %s[%zu] is %lld, not a value of type %s",
                              j->what, field_names[l->field], i, (long long)v,
                              qonnx_dtype_name((qonnx_dtype)t->data_type));
        if (l->width) put_int(p, l->width, v);
        else packed_put(first, 6, i, (uint32_t)v);
    }
    return true;
}

/* The texts stay where they are. */
static bool take_strings(const Job *j, qonnx_tensor *out)
{
    size_t n = j->t->n_string_data;
    if (j->t->has_raw_data || j->t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return qonnx_fail(j->cx, j->node, "%s: strings are kept in string_data only", j->what);
    if (!check_length(j, "string_data", "strings", n, (size_t)qonnx_tensor_elements(out)))
        return false;
    out->data = "";
    if (!n) return true;
    size_t bytes;
    if (!size_mul(n, sizeof(qonnx_string *) + sizeof(qonnx_string), &bytes))
        return qonnx_fail(j->cx, j->node, "%s: has more strings than can be addressed", j->what);
    const qonnx_string **list = j->alloc(j->user, bytes);
    qonnx_string *strings = (qonnx_string *)(void *)(list + n);
    for (size_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *d = &j->t->string_data[i];
        strings[i] = (qonnx_string){d->len, d->len ? (const char *)d->data : ""};
        list[i] = &strings[i];
    }
    out->data = list;
    return true;
}

static bool take_external(const Job *j, Field filled, TensorExternal *external, qonnx_tensor *out)
{
    if (filled || j->t->has_raw_data)
        return qonnx_fail(j->cx, j->node, "%s: has data both in %s and in another file", j->what,
                          filled ? field_names[filled] : "raw_data");
    if (!external)
        return qonnx_fail(j->cx, j->node,
                          "%s: its data is in another file, which is only supported for models",
                          j->what);
    return !out->bytes || external(j->user, j->t, out->bytes, &out->data);
}

bool tensor_from_proto(qonnx_ctx *cx, const qonnx_node *node, const char *what,
                       const Onnx__TensorProto *t, TensorAlloc *alloc, TensorExternal *external,
                       void *user, qonnx_tensor *out)
{
    const Job job = {cx, node, what, t, alloc, user}, *j = &job;
    Field filled;
    if (!check_header(j, out)) return false;
    Layout l = layout_of(out->dtype);
    if (!check_fields(j, l.field, &filled)) return false;
    if (out->dtype == QONNX_STRING) return take_strings(j, out);
    out->data = "";
    if (t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return take_external(j, filled, external, out);
    if (t->has_raw_data && filled)
        return qonnx_fail(cx, node, "%s: has data both in raw_data and in %s", what,
                          field_names[filled]);
    if (t->has_raw_data) {
        if (out->bytes) out->data = t->raw_data.data;
        return check_length(j, "raw_data", "bytes", t->raw_data.len, out->bytes);
    }
    size_t n = !l.field  ? 0
               : l.width ? out->bytes / (size_t)l.width
                         : (size_t)qonnx_tensor_elements(out);
    if (out->bytes && !filled)
        return qonnx_fail(cx, node, "%s: has no data, type %s and the shape need %zu bytes", what,
                          qonnx_dtype_name(out->dtype), out->bytes);
    if (!check_length(j, field_names[l.field], "values", field_entries(t, l.field), n))
        return false;
    if (!out->bytes) return true;
    if (native_data(t, l.field)) return out->data = native_data(t, l.field), true;
    uint8_t *p = alloc(user, out->bytes);
    p[out->bytes - 1] = 0; /* the bits behind the last element */
    out->data = p;
    return convert(j, &l, n, p);
}
