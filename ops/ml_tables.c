/* ops/ml_tables.c - ai.onnx.ml's operators that look elements up: OneHotEncoder, LabelEncoder and
 * CategoryMapper. Tables of numbers are looked up in programs, those of strings on the host.
 */
#include "ir/size.h"
#include "kernels/lookup.h"
#include "kernels/one_hot.h"
#include "ops/ml_tables.h"
#include <stdlib.h>
#include <string.h>

/* ---- tables ---------------------------------------------------------------------------------- */

/* Emits the lookup of `x`, of elements of type t, in a table of entries whose values, and the one
 * of all else behind them, are of `size` bytes. */
static void lower_lookup(Lower *l, const Node *n, DType t, Buf *x, const Entry *e, int64_t count,
                         const void *values, int64_t otherwise, int size, Buf *to)
{
    size_t bytes = (size_t)size;
    uint64_t *keys = lower_array(l, (size_t)count + 1, sizeof *keys);
    char *own = lower_array(l, (size_t)count + 1, bytes);
    for (int64_t i = 0; i <= count; i++) {
        int64_t at = i < count ? e[i].at : otherwise;
        keys[i] = i < count ? e[i].key : 0;
        memcpy(own + (size_t)i * bytes, (const char *)values + (size_t)at * bytes, bytes);
    }
    lookup_p p = {(int32_t)ml_elements(n), (int32_t)count, (int32_t)t, size};
    Buf *in[3] = {x, lower_const(l, keys, ((size_t)count + 1) * sizeof *keys),
                  lower_const(l, own, ((size_t)count + 1) * bytes)};
    lower_call(l, n, "lookup", &p, in, 3, to);
}

/* Input 0 where its constant bytes may be of another size than a table's. */
static Buf *lookup_input(Lower *l, Node *n)
{
    Buf *x = lower_in(l, n, 0, PLAIN);
    return n->in[0]->data ? lower_duplicate(l, n->in[0], x) : x;
}

/* Steps of searching. */
static int64_t lookup_work(const Node *n)
{
    return count_work(shape_open_elements(in_shape(n, 0)), 200);
}

/* ---- OneHotEncoder --------------------------------------------------------------------------- */

static int64_t categories(const Node *n)
{
    const int64_t *ints;
    char *const *strings;
    int count = qonnx_node_ints(n, "cats_int64s", &ints);
    return count ? count : node_strings(n, "cats_strings", &strings);
}

static bool one_hot_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t count = categories(n);
    DType t = in_dtype(n, 0);
    const int64_t *ints;
    if (!count) return qonnx_fail(cx, n, "it has no categories");
    if (t && (t == QONNX_STRING) == (qonnx_node_ints(n, "cats_int64s", &ints) > 0))
        return qonnx_fail(cx, n, "input 0 is %s, which its categories are not",
                          qonnx_dtype_name(t));
    if (!x) return out_shape(cx, n, 0, QONNX_FLOAT, NULL);
    if (!check_rank(cx, n, 0, 0, QONNX_MAX_RANK - 1)) return false;
    Shape y = *x;
    y.dim[y.rank] = count;
    y.sym[y.rank++] = NULL;
    return out_shape(cx, n, 0, QONNX_FLOAT, &y);
}

static bool one_hot_lower(Lower *l, Node *n)
{
    static const float off_on[2] = {0, 1};
    const int64_t *ints;
    int64_t count = qonnx_node_ints(n, "cats_int64s", &ints), all = ml_elements(n);
    Entry *e = xmalloc_array((size_t)count, sizeof *e);
    int64_t *places = xmalloc_array((size_t)count + 1, sizeof *places);
    for (int64_t i = 0; i <= count; i++) {
        places[i] = i;
        if (i < count) e[i] = (Entry){(uint64_t)ints[i] ^ (uint64_t)1 << 63, i};
    }
    Buf *x = lower_cast(l, n, in_dtype(n, 0), QONNX_INT64, all, lookup_input(l, n));
    Buf *at = lower_temp(l, (size_t)all * sizeof(int64_t));
    lower_lookup(l, n, QONNX_INT64, x, e, ml_sort(e, count, true), places, count,
                 sizeof(int64_t), at);
    free(e);
    free(places);
    one_hot_p p = {(int32_t)all, (int32_t)count, 1, A_INT64, sizeof(float)};
    lower_call(l, n, "one_hot", &p, (Buf *[]){at, lower_const(l, off_on, sizeof off_on)}, 2,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- LabelEncoder ---------------------------------------------------------------------------- */

void ml_encoder_lists(const Node *n, DType x, List *keys, List *values)
{
    List strings = {.type = QONNX_STRING}, numbers = {.type = QONNX_INT64};
    const int64_t *ints = NULL;
    bool pairs = qonnx_node_has(n, "cats_strings"), named = x == QONNX_STRING;
    strings.count = node_strings(n, pairs ? "cats_strings" : "classes_strings", &strings.strings);
    numbers.count = pairs ? qonnx_node_ints(n, "cats_int64s", &ints) : strings.count;
    numbers.data = ints;
    *keys = !strings.count ? ml_list(n, "keys") : named ? strings : numbers;
    *values = !strings.count ? ml_list(n, "values") : named ? numbers : strings;
}

static bool encoder_shape(Ctx *cx, Node *n)
{
    List keys, values;
    ml_encoder_lists(n, in_dtype(n, 0), &keys, &values);
    if (!keys.count) return qonnx_fail(cx, n, "it has no keys");
    if (!ml_count(cx, n, "values", values.count, keys.count, "there are keys")) return false;
    DType has = in_dtype(n, 0);
    if (has && has != keys.type)
        return qonnx_fail(cx, n, "keys are %s, but input 0 is %s", qonnx_dtype_name(keys.type),
                          qonnx_dtype_name(has));
    const Tensor *t = qonnx_node_tensor(n, "default_tensor");
    if (t && (t->dtype != values.type || tensor_count(t) != 1))
        return qonnx_fail(cx, n, "default_tensor is no %s", qonnx_dtype_name(values.type));
    return out_shape(cx, n, 0, values.type, in_shape(n, 0));
}

void ml_put_default(const Node *n, DType t, void *to)
{
    const Tensor *given = qonnx_node_tensor(n, "default_tensor");
    double v[F_CHUNK] = {(double)qonnx_node_float(n, "default_float", -0.0f)};
    uint64_t u[F_CHUNK] = {(uint64_t)qonnx_node_int(n, "default_int64", -1)};
    if (given) memcpy(to, given->data, given->bytes);
    else if (has_type(FLOATS, t)) arith_store_reals(v, (int32_t)t, to, 0, 1);
    else arith_store_integers(u, (int32_t)t, to, 0, 1);
}

static bool encoder_lower(Lower *l, Node *n)
{
    List keys = ml_list(n, "keys"), values = ml_list(n, "values");
    int size = dtype_size(values.type);
    size_t count = (size_t)keys.count, bytes;
    if (!size_mul(count + 1, (size_t)size, &bytes)) return qonnx_fail(l->cx, n, "it is too long");
    Entry *e = xmalloc_array(count, sizeof *e);
    char *all = lower_alloc(l, bytes);
    memcpy(all, values.data, bytes - (size_t)size);
    ml_put_default(n, values.type, all + count * (size_t)size);
    for (size_t i = 0; i < count; i++) {
        uint64_t key[F_CHUNK];
        order_keys(key, (int32_t)keys.type, keys.data, (ptrdiff_t)i, 1, 1);
        e[i] = (Entry){key[0], (int64_t)i};
    }
    int64_t kept = ml_sort(e, keys.count, false);
    /* NaN is a key since operator set 4 */
    while (kept && e[kept - 1].key == UINT64_MAX && ml_opset(n) < 4 && keys.type == QONNX_FLOAT)
        kept--;
    lower_lookup(l, n, keys.type, lookup_input(l, n), e, kept, all, keys.count, size,
                 lower_out(l, n->out[0], PLAIN));
    free(e);
    return true;
}

static bool encoder_takes(Why *why, const Node *n)
{
    List keys, values;
    ml_encoder_lists(n, in_dtype(n, 0), &keys, &values);
    return (has_type(NUMBERS | BOOL, keys.type) && has_type(NUMBERS | BOOL, values.type)) ||
           why_not(why, "keys or values are neither numbers nor strings");
}

/* ---- CategoryMapper -------------------------------------------------------------------------- */

static bool mapper_shape(Ctx *cx, Node *n)
{
    List keys, values;
    DType t = in_dtype(n, 0);
    ml_encoder_lists(n, in_dtype(n, 0), &keys, &values);
    if (!keys.count) return qonnx_fail(cx, n, "it has no categories");
    if (!ml_count(cx, n, "cats_int64s and cats_strings", values.count, keys.count, "each other"))
        return false;
    if (t && t != QONNX_STRING && t != QONNX_INT64)
        return qonnx_fail(cx, n, "input 0 is %s, want string or int64", qonnx_dtype_name(t));
    return out_shape(cx, n, 0, t ? values.type : t, in_shape(n, 0));
}

const Op ops_ml_tables[] = {
    {"OneHotEncoder", 1, 1, one_hot_shape, RULE_FLOAT, NULL, one_hot_lower, .takes = ml_takes,
     .work = lookup_work, .host = ml_one_hot_host, .domain = "ai.onnx.ml"},
    {"LabelEncoder", 1, 1, encoder_shape, RULE_FLOAT, NULL, encoder_lower, .takes = encoder_takes,
     .work = lookup_work, .host = ml_encoder_host, .domain = "ai.onnx.ml"},
    {"CategoryMapper", 1, 1, mapper_shape, RULE_FLOAT, .host = ml_encoder_host,
     .domain = "ai.onnx.ml"},
    {0},
};
