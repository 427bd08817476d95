/* ops/ml_tables.c - ai.onnx.ml's operators that look elements up: OneHotEncoder, LabelEncoder. */
#include "ir/size.h"
#include "kernels/lookup.h"
#include "kernels/one_hot.h"
#include "ops/ml.h"
#include <stdlib.h>
#include <string.h>

/* ---- tables ---------------------------------------------------------------------------------- */

/* A key of a table, and which value is its. */
typedef struct Entry {
    uint64_t key;
    int64_t at;
} Entry;

static int compare_entries(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    int order = (x->key > y->key) - (x->key < y->key);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Sorts the keys, of equal ones the first or the last stays; returns how many there are then. */
static int64_t entries_sort(Entry *e, int64_t count, bool last)
{
    int64_t kept = 0;
    qsort(e, (size_t)count, sizeof *e, compare_entries);
    for (int64_t i = 0; i < count; i++) {
        if (kept && e[kept - 1].key == e[i].key) {
            if (last) e[kept - 1] = e[i];
            continue;
        }
        e[kept++] = e[i];
    }
    return kept;
}

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
    if (!count) return qonnx_fail(cx, n, "it has no categories");
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
    lower_lookup(l, n, QONNX_INT64, x, e, entries_sort(e, count, true), places, count,
                 sizeof(int64_t), at);
    free(e);
    free(places);
    one_hot_p p = {(int32_t)all, (int32_t)count, 1, A_INT64, sizeof(float)};
    lower_call(l, n, "one_hot", &p, (Buf *[]){at, lower_const(l, off_on, sizeof off_on)}, 2,
               lower_out(l, n->out[0], PLAIN));
    return true;
}

static bool one_hot_takes(Why *why, const Node *n)
{
    const int64_t *ints;
    if (!ml_takes(why, n)) return false;
    return qonnx_node_ints(n, "cats_int64s", &ints) ||
           why_not(why, "categories are strings, which cannot be run yet");
}

/* ---- LabelEncoder ---------------------------------------------------------------------------- */

/* A list of elements of one type, in an attribute. */
typedef struct List {
    const void *data;
    int64_t count;
    DType type; /* QONNX_STRING: of strings, which are not read */
} List;

/* The one of the attributes LEAD_int64s, LEAD_floats, LEAD_strings and LEAD_tensor that is there;
 * where there is none, an empty list. */
static List read_list(const Node *n, const char *lead)
{
    char name[40];
    const int64_t *ints;
    const float *floats;
    char *const *strings;
    snprintf(name, sizeof name, "%s_int64s", lead);
    int count = qonnx_node_ints(n, name, &ints);
    if (count) return (List){ints, count, QONNX_INT64};
    snprintf(name, sizeof name, "%s_floats", lead);
    count = qonnx_node_floats(n, name, &floats);
    if (count) return (List){floats, count, QONNX_FLOAT};
    snprintf(name, sizeof name, "%s_strings", lead);
    count = node_strings(n, name, &strings);
    if (count) return (List){NULL, count, QONNX_STRING};
    snprintf(name, sizeof name, "%s_tensor", lead);
    const Tensor *t = qonnx_node_tensor(n, name);
    return t ? (List){t->data, tensor_count(t), t->dtype} : (List){NULL, 0, QONNX_UNDEFINED};
}

static bool encoder_shape(Ctx *cx, Node *n)
{
    List keys = read_list(n, "keys"), values = read_list(n, "values");
    char *const *classes;
    if (node_strings(n, "classes_strings", &classes)) { /* operator set 1 */
        DType t = in_dtype(n, 0);
        t = t == QONNX_STRING ? QONNX_INT64 : t ? QONNX_STRING : t;
        return out_shape(cx, n, 0, t, in_shape(n, 0));
    }
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

/* The value of what is no key, one element of that type. */
static void put_default(const Node *n, DType t, void *to)
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
    List keys = read_list(n, "keys"), values = read_list(n, "values");
    int size = dtype_size(values.type);
    size_t count = (size_t)keys.count, bytes;
    if (!size_mul(count + 1, (size_t)size, &bytes)) return qonnx_fail(l->cx, n, "it is too long");
    Entry *e = xmalloc_array(count, sizeof *e);
    char *all = lower_alloc(l, bytes);
    memcpy(all, values.data, bytes - (size_t)size);
    put_default(n, values.type, all + count * (size_t)size);
    for (size_t i = 0; i < count; i++) {
        uint64_t key[F_CHUNK];
        order_keys(key, (int32_t)keys.type, keys.data, (ptrdiff_t)i, 1, 1);
        e[i] = (Entry){key[0], (int64_t)i};
    }
    int64_t kept = entries_sort(e, keys.count, false);
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
    List keys = read_list(n, "keys"), values = read_list(n, "values");
    if (!has_type(NUMBERS | BOOL, keys.type) || !has_type(NUMBERS | BOOL, values.type))
        return why_not(why, "keys or values are no numbers, which cannot be run yet");
    return true;
}

const Op ops_ml_tables[] = {
    {"OneHotEncoder", 1, 1, one_hot_shape, RULE_FLOAT, NULL, one_hot_lower, .takes = one_hot_takes,
     .work = lookup_work, .domain = "ai.onnx.ml"},
    {"LabelEncoder", 1, 1, encoder_shape, RULE_FLOAT, NULL, encoder_lower, .takes = encoder_takes,
     .work = lookup_work, .domain = "ai.onnx.ml"},
    {0},
};
