/* ops/ml_strings.c - tables of ai.onnx.ml whose keys or values are strings. They are looked up on
 * the host (host.h).
 */
#include "ir/size.h"
#include "kernels/order.h"
#include "ops/ml_tables.h"
#include <stdlib.h>
#include <string.h>

List ml_list(const Node *n, const char *lead)
{
    char name[40];
    const int64_t *ints;
    const float *floats;
    char *const *strings;
    snprintf(name, sizeof name, "%s_int64s", lead);
    int count = qonnx_node_ints(n, name, &ints);
    if (count) return (List){.data = ints, .count = count, .type = QONNX_INT64};
    snprintf(name, sizeof name, "%s_floats", lead);
    count = qonnx_node_floats(n, name, &floats);
    if (count) return (List){.data = floats, .count = count, .type = QONNX_FLOAT};
    snprintf(name, sizeof name, "%s_strings", lead);
    count = node_strings(n, name, &strings);
    if (count) return (List){.strings = strings, .count = count, .type = QONNX_STRING};
    snprintf(name, sizeof name, "%s_tensor", lead);
    const Tensor *t = qonnx_node_tensor(n, name);
    if (!t) return (List){.count = 0};
    return (List){.data = t->data, .count = tensor_count(t), .type = t->dtype, .tensor = t};
}

static int compare_entries(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    int order = (x->key > y->key) - (x->key < y->key);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

int64_t ml_sort(Entry *e, int64_t count, bool last)
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

/* ---- strings as keys ------------------------------------------------------------------------- */

/* A text, and its place in a list. */
typedef struct Word {
    qonnx_string s;
    int64_t at;
} Word;

/* A table that is looked up by keys of one type. */
typedef struct Book {
    DType type;
    Word *words;    /* of strings; or NULL */
    Entry *entries; /* of numbers; or NULL */
    int64_t count;
} Book;

static qonnx_string text_of(const List *list, int64_t i)
{
    if (!list->strings) return qonnx_tensor_string(list->tensor, i);
    return (qonnx_string){strlen(list->strings[i]), list->strings[i]};
}

static int compare_texts(qonnx_string a, qonnx_string b)
{
    if (a.bytes != b.bytes) return a.bytes < b.bytes ? -1 : 1;
    return a.bytes ? memcmp(a.text, b.text, a.bytes) : 0;
}

/* Of equal ones the one that counts is the first: `at` is below 0 where that is the last. */
static int compare_words(const void *a, const void *b)
{
    const Word *x = a, *y = b;
    int order = compare_texts(x->s, y->s);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* The key of element i of an array; of none, that of i itself. */
static uint64_t number_key(DType t, const void *data, int64_t i)
{
    uint64_t key[F_CHUNK];
    if (!data) return (uint64_t)i ^ (uint64_t)1 << 63;
    order_keys(key, (int32_t)t, data, (ptrdiff_t)i, 1, 1);
    return key[0];
}

/* A table of these keys, of equal ones the first or the last counts; to be closed. */
static Book book_open(const List *keys, bool last)
{
    Book b = {.type = keys->type, .count = keys->count};
    size_t room = (size_t)b.count + 1;
    if (b.type == QONNX_STRING) b.words = xmalloc_array(room, sizeof *b.words);
    else b.entries = xmalloc_array(room, sizeof *b.entries);
    for (int64_t i = 0; i < b.count; i++) {
        if (b.words) b.words[i] = (Word){text_of(keys, i), last ? -i : i};
        else b.entries[i] = (Entry){number_key(b.type, keys->data, i), i};
    }
    if (b.words) qsort(b.words, (size_t)b.count, sizeof *b.words, compare_words);
    else b.count = ml_sort(b.entries, b.count, last);
    return b;
}

static void book_close(Book *b)
{
    free(b->words);
    free(b->entries);
}

/* The place of element i in the list of keys; -1: it is none of them. */
static int64_t book_find(const Book *b, const Tensor *x, int64_t i)
{
    qonnx_string s = b->words ? qonnx_tensor_string(x, i) : (qonnx_string){0, NULL};
    uint64_t key = b->words ? 0 : number_key(b->type, x->data, i);
    int64_t from = 0, to = b->count;
    while (from < to) {
        int64_t middle = from + (to - from) / 2;
        bool below = b->words ? compare_texts(b->words[middle].s, s) < 0
                              : b->entries[middle].key < key;
        if (below) from = middle + 1;
        else to = middle;
    }
    if (from == b->count) return -1;
    if (b->entries) return b->entries[from].key == key ? b->entries[from].at : -1;
    int64_t at = b->words[from].at;
    return compare_texts(b->words[from].s, s) ? -1 : at < 0 ? -at : at;
}

/* Takes the steps of looking element i up. */
static bool spend(Host *h, const Tensor *x, int64_t i)
{
    bool text = x->dtype == QONNX_STRING;
    return host_spend(h, 64 + (text ? (int64_t)qonnx_tensor_string(x, i).bytes : 0));
}

/* ---- LabelEncoder, CategoryMapper ------------------------------------------------------------ */

/* The text for what is no key. */
static qonnx_string default_text(const Node *n)
{
    const Tensor *t = qonnx_node_tensor(n, "default_tensor");
    const char *s = qonnx_node_string(n, "default_string", "_Unused");
    return t ? qonnx_tensor_string(t, 0) : (qonnx_string){strlen(s), s};
}

/* Writes value `at` as element i; -1: what stands for no key. */
static bool put_value(Host *h, const List *values, int64_t at, void *y, int64_t i)
{
    if (values->type == QONNX_STRING) {
        qonnx_string s = at < 0 ? default_text(h->node) : text_of(values, at);
        return host_string(h, y, i, s.text, s.bytes);
    }
    size_t size = (size_t)qonnx_dtype_bits(values->type) / 8;
    char *to = (char *)y + (size_t)i * size;
    if (at < 0) ml_put_default(h->node, values->type, to);
    else if (values->data) memcpy(to, (const char *)values->data + (size_t)at * size, size);
    else memcpy(to, &at, size); /* an int64 */
    return true;
}

bool ml_encoder_host(Host *h, const Node *n)
{
    List keys, values;
    const Tensor *x = host_in(h, 0);
    ml_encoder_lists(n, x->dtype, &keys, &values);
    if (x->dtype != keys.type || values.count != keys.count ||
        !has_type(NUMBERS | BOOL | 1u << QONNX_STRING, values.type))
        return qonnx_fail(h->cx, n, "keys are %s, but input 0 is %s", qonnx_dtype_name(keys.type),
                          qonnx_dtype_name(x->dtype));
    if (!host_spend(h, size_times(64, keys.count))) return false;
    void *y = host_out(h, 0, values.type, x->rank, x->dims);
    if (!y) return false;
    Book b = book_open(&keys, false);
    bool ok = true;
    for (int64_t i = 0, count = tensor_count(x); ok && i < count; i++)
        ok = spend(h, x, i) && put_value(h, &values, book_find(&b, x, i), y, i);
    book_close(&b);
    return ok;
}

/* ---- OneHotEncoder --------------------------------------------------------------------------- */

bool ml_one_hot_host(Host *h, const Node *n)
{
    const Tensor *x = host_in(h, 0);
    List cats = {.type = QONNX_STRING};
    int64_t dims[QONNX_MAX_RANK];
    cats.count = node_strings(n, "cats_strings", &cats.strings);
    if (x->rank == QONNX_MAX_RANK || x->dtype != QONNX_STRING)
        return qonnx_fail(h->cx, n, "input 0 is %s of rank %d, want strings of less than %d",
                          qonnx_dtype_name(x->dtype), x->rank, QONNX_MAX_RANK);
    if (x->rank) memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank] = cats.count;
    float *y = host_out(h, 0, QONNX_FLOAT, x->rank + 1, dims);
    if (!y || !host_spend(h, size_times(64, cats.count))) return false;
    Book b = book_open(&cats, true);
    bool ok = true;
    for (int64_t i = 0, count = tensor_count(x); ok && i < count; i++) {
        int64_t at = book_find(&b, x, i);
        if (at >= 0) y[i * cats.count + at] = 1;
        ok = spend(h, x, i);
    }
    book_close(&b);
    return ok;
}
