/* ops/tfidf.c - TfIdfVectorizer: how often each n-gram of a pool stands in a text of words. */
#include "ops/host.h"
#include <stdlib.h>
#include <string.h>

/* ---- n-grams by their words ------------------------------------------------------------------ */

/* The n-grams of a pool, whose words are numbers. */
typedef struct Grams {
    const int64_t *words; /* the pool: of n-gram i those from at[i] on */
    int64_t *at;          /* [count] */
    int *size;            /* [count] words */
    int *order;           /* [count] the n-grams, by size and words */
    int count;            /* of them */
} Grams;

/* The order of n-gram i and of `n` words, `step` apart. */
static int compare(const Grams *g, int i, const int64_t *words, int n, int64_t step)
{
    const int64_t *own = g->words + g->at[i];
    if (g->size[i] != n) return g->size[i] < n ? -1 : 1;
    for (int k = 0; k < n; k++)
        if (own[k] != words[k * step]) return own[k] < words[k * step] ? -1 : 1;
    return 0;
}

static int by_words(const void *a, const void *b, void *grams)
{
    const Grams *g = grams;
    int k = *(const int *)b;
    return compare(g, *(const int *)a, g->words + g->at[k], g->size[k], 1);
}

/* The n-gram of these words; -1: the pool has none. */
static int find(const Grams *g, const int64_t *words, int n, int64_t step)
{
    int lo = 0, hi = g->count;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, c = compare(g, g->order[mid], words, n, step);
        if (!c) return g->order[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return -1;
}

/* ---- words as numbers ------------------------------------------------------------------------ */

/* A pool of strings. */
typedef struct Words {
    char *const *texts; /* [count] */
    int *order;         /* [count] they, in order */
    int count;          /* of them */
} Words;

static int by_text(const void *a, const void *b, void *texts)
{
    char *const *t = texts;
    return strcmp(t[*(const int *)a], t[*(const int *)b]);
}

/* The number of a text: of equal ones the same; -1: it is none of the pool. */
static int word(const Words *w, const char *text, size_t bytes)
{
    int lo = 0, hi = w->count;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        const char *own = w->texts[w->order[mid]];
        size_t n = strlen(own);
        int c = memcmp(own, text, n < bytes ? n : bytes);
        if (c < 0 || (!c && n < bytes)) lo = mid + 1;
        else hi = mid;
    }
    const char *own = lo < w->count ? w->texts[w->order[lo]] : NULL;
    return own && strlen(own) == bytes && !memcmp(own, text, bytes) ? lo : -1;
}

/* ---- the operator ---------------------------------------------------------------------------- */

/* What the attributes say, checked. */
typedef struct Vectorizer {
    int64_t least, most, skip;    /* words of an n-gram; words that may lie between two */
    const int64_t *starts;        /* [nstarts] where the pool's n-grams of 1, 2, ... words begin */
    int nstarts;
    const int64_t *indexes;       /* [count] the output of each n-gram */
    int count;                    /* n-grams */
    const float *weights;         /* [count]; NULL: 1 */
    int64_t width;                /* outputs */
    bool counts, weighs;          /* the mode: TF, IDF or both */
    int pool;                     /* words in it */
    const int64_t *numbers;       /* they; NULL: they are strings */
    char *const *texts;
} Vectorizer;

/* Words of the n-grams of `size` words: from *begin on; returns how many. */
static int64_t level(const Vectorizer *v, int size, int64_t *begin)
{
    *begin = v->starts[size - 1];
    return (size < v->nstarts ? v->starts[size] : v->pool) - *begin;
}

static bool check_pool(Ctx *cx, const Node *n, Vectorizer *v)
{
    int64_t grams = 0;
    for (int i = 0; i < v->nstarts; i++) {
        int64_t begin, words = level(v, i + 1, &begin);
        if (begin < 0 || words < 0 || begin > v->pool || words % (i + 1))
            return qonnx_fail(cx, n, "ngram_counts[%d] does not fit a pool of %d words", i,
                              v->pool);
        grams += words / (i + 1);
    }
    if (!v->nstarts || v->starts[0])
        return qonnx_fail(cx, n, "ngram_counts does not begin with 0");
    if (grams != v->count)
        return qonnx_fail(cx, n, "ngram_indexes has %d numbers, the pool %lld n-grams", v->count,
                          (long long)grams);
    for (int i = 0; i < v->count; i++) {
        if (v->indexes[i] < 0 || v->indexes[i] > INT32_MAX)
            return qonnx_fail(cx, n, "ngram_indexes[%d] is %lld", i, (long long)v->indexes[i]);
        if (v->indexes[i] >= v->width) v->width = v->indexes[i] + 1;
    }
    return true;
}

static bool read_vectorizer(Ctx *cx, const Node *n, Vectorizer *v)
{
    const char *mode = qonnx_node_string(n, "mode", "");
    *v = (Vectorizer){.least = qonnx_node_int(n, "min_gram_length", 0),
                      .most = qonnx_node_int(n, "max_gram_length", 0),
                      .skip = qonnx_node_int(n, "max_skip_count", 0)};
    v->counts = strcmp(mode, "IDF") != 0;
    v->weighs = strcmp(mode, "TF") != 0;
    if (strcmp(mode, "TF") && strcmp(mode, "IDF") && strcmp(mode, "TFIDF"))
        return qonnx_fail(cx, n, "mode is \"%.20s\", want TF, IDF or TFIDF", mode);
    if (v->least < 1 || v->most < v->least || v->most > INT16_MAX || v->skip < 0)
        return qonnx_fail(cx, n, "n-grams of %lld to %lld words, %lld apart, are none",
                          (long long)v->least, (long long)v->most, (long long)v->skip);
    v->nstarts = qonnx_node_ints(n, "ngram_counts", &v->starts);
    v->count = qonnx_node_ints(n, "ngram_indexes", &v->indexes);
    int weights = qonnx_node_floats(n, "weights", &v->weights), texts;
    v->pool = qonnx_node_ints(n, "pool_int64s", &v->numbers);
    texts = node_strings(n, "pool_strings", &v->texts);
    if (!weights) v->weights = NULL;
    if (texts) v->numbers = NULL;
    if ((texts && v->pool) || (weights && weights != v->count))
        return qonnx_fail(cx, n, "its attributes have %d strings, %d integers and %d weights",
                          texts, v->pool, weights);
    if (texts) v->pool = texts;
    if (v->nstarts < v->most && v->nstarts < v->least)
        return qonnx_fail(cx, n, "ngram_counts has %d numbers, n-grams have at least %lld words",
                          v->nstarts, (long long)v->least);
    return check_pool(cx, n, v);
}

static bool tfidf_shape(Ctx *cx, Node *n)
{
    Vectorizer v;
    const Shape *x = in_shape(n, 0);
    DType t = in_dtype(n, 0);
    if (!read_vectorizer(cx, n, &v) || !check_rank(cx, n, 0, 0, 2)) return false;
    if (t && t != QONNX_INT32 && t != QONNX_INT64 && t != QONNX_STRING)
        return qonnx_fail(cx, n, "input 0 is %s, want int32, int64 or string", qonnx_dtype_name(t));
    if (t && v.pool && (t == QONNX_STRING) != !v.numbers)
        return qonnx_fail(cx, n, "input 0 is %s, and its pool is of %s", qonnx_dtype_name(t),
                          v.numbers ? "integers" : "strings");
    if (!x) return out_shape(cx, n, 0, QONNX_FLOAT, NULL);
    Shape y = {.rank = x->rank == 2 ? 2 : 1};
    if (x->rank == 2) y.dim[0] = x->dim[0], y.sym[0] = x->sym[0];
    y.dim[y.rank - 1] = v.width;
    return out_shape(cx, n, 0, QONNX_FLOAT, &y);
}

/* The words of the input as numbers; those that the pool does not have are -1, of strings. */
static void read_words(const Tensor *x, const Words *w, int64_t *to)
{
    int64_t count = tensor_count(x);
    for (int64_t i = 0; i < count; i++) {
        qonnx_string s = {0, NULL};
        if (x->dtype == QONNX_STRING) s = qonnx_tensor_string(x, i);
        to[i] = s.text ? word(w, s.text, s.bytes) : (int64_t)qonnx_tensor_get(x, i);
        if (x->dtype == QONNX_INT64) memcpy(&to[i], (const char *)x->data + i * 8, 8);
    }
}

/* Counts the n-grams of a row of words into y[width], as ONNX Runtime does: those of one word once,
 * longer ones for each distance of their words. */
static bool count_row(Host *h, const Vectorizer *v, const Grams *g, const int64_t *row,
                      int64_t length, float *y)
{
    int64_t least = v->least;
    for (int64_t step = 1; step - 1 <= v->skip && least <= v->most; step++) {
        if (step > length && step > 1) break;
        for (int64_t i = 0; i < length; i++) {
            for (int64_t size = least; size <= v->most && size <= v->nstarts; size++) {
                if ((size - 1) * step >= length - i) break;
                int k = find(g, row + i, (int)size, step);
                if (k >= 0) y[v->indexes[k]] += 1;
                if (!host_spend(h, 32 * size)) return false;
            }
        }
        if (least == 1) least = 2;
    }
    for (int i = 0; i < v->count && v->weighs; i++) {
        float *to = &y[v->indexes[i]], weight = v->weights ? v->weights[i] : 1;
        if (*to > 0) *to = v->counts ? *to * weight : weight;
    }
    return true;
}

/* Puts the pool's n-grams in order; false: one is there twice. */
static bool sort_pool(const Vectorizer *v, Grams *g)
{
    int64_t begin;
    for (int size = 1; size <= v->nstarts; size++) {
        int64_t count = level(v, size, &begin) / size;
        for (int64_t i = 0; i < count; i++, g->count++) {
            g->at[g->count] = begin + i * size;
            g->size[g->count] = size;
            g->order[g->count] = g->count;
        }
    }
    qsort_r(g->order, (size_t)g->count, sizeof *g->order, by_words, g);
    for (int i = 1; i < g->count; i++)
        if (!by_words(&g->order[i - 1], &g->order[i], g)) return false;
    return true;
}

static bool tfidf(Host *h, const Node *n)
{
    Vectorizer v;
    const Tensor *x = host_in(h, 0);
    if (!read_vectorizer(h->cx, n, &v)) return false;
    if (x->rank > 2) return qonnx_fail(h->cx, n, "its input has rank %d, want 1 or 2", x->rank);
    Arena *a = arena_new();
    int64_t count = tensor_count(x), *row = arena_array(a, (size_t)count + 1, sizeof *row);
    int64_t *pool = arena_array(a, (size_t)v.pool + 1, sizeof *pool);
    Words w = {v.texts, arena_array(a, (size_t)v.pool + 1, sizeof *w.order), v.pool};
    for (int i = 0; i < v.pool; i++) w.order[i] = i;
    if (!v.numbers && v.pool)
        qsort_r(w.order, (size_t)v.pool, sizeof *w.order, by_text, (void *)(uintptr_t)v.texts);
    for (int i = 0; i < v.pool; i++)
        pool[i] = v.numbers ? v.numbers[i] : word(&w, v.texts[i], strlen(v.texts[i]));
    read_words(x, &w, row);
    Grams g = {.words = pool};
    g.at = arena_array(a, (size_t)v.count + 1, sizeof *g.at);
    g.size = arena_array(a, (size_t)v.count + 1, sizeof *g.size);
    g.order = arena_array(a, (size_t)v.count + 1, sizeof *g.order);
    bool ok = sort_pool(&v, &g) || qonnx_fail(h->cx, n, "its pool has an n-gram twice");
    int64_t rows = x->rank == 2 ? x->dims[0] : 1, dims[2] = {rows, v.width};
    float *y = ok ? host_out(h, 0, QONNX_FLOAT, x->rank == 2 ? 2 : 1, dims + (x->rank != 2)) : NULL;
    ok = y && host_spend(h, 64 * (int64_t)v.pool);
    for (int64_t i = 0; ok && i < rows; i++)
        ok = count_row(h, &v, &g, row + i * (count / rows), count / rows, y + i * v.width);
    arena_free(a);
    return ok;
}

const Op ops_tfidf[] = {
    {"TfIdfVectorizer", 1, 1, tfidf_shape, RULE_FLOAT, .host = tfidf},
    {0},
};
