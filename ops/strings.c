/* ops/strings.c - operators that look into strings. They run on the host (host.h); what only moves
 * elements moves pointers to strings, in programs.
 */
#include "ops/host.h"
#include "ops/regex.h"
#include "ops/string_case.h"
#include "ops/string_cast.h"
#include <stdlib.h>
#include <string.h>

static bool wants_strings(Ctx *cx, const Node *n, int i)
{
    DType t = in_dtype(n, i);
    return !t || t == QONNX_STRING ||
           qonnx_fail(cx, n, "input %d is %s, want string", i, qonnx_dtype_name(t));
}

/* ---- elements of two operands ---------------------------------------------------------------- */

/* Two operands that are broadcast. */
typedef struct Pairs {
    int rank;
    int64_t dims[QONNX_MAX_RANK], count;
    int64_t strides[2][QONNX_MAX_RANK]; /* in elements; 0 along axes that are repeated */
} Pairs;

static bool pairs_of(Host *h, Pairs *p)
{
    const Tensor *x[2] = {host_in(h, 0), host_in(h, 1)};
    *p = (Pairs){.rank = x[0]->rank > x[1]->rank ? x[0]->rank : x[1]->rank, .count = 1};
    for (int i = 0; i < p->rank; i++) {
        int64_t size[2];
        for (int k = 0; k < 2; k++) {
            int axis = i - p->rank + x[k]->rank;
            size[k] = axis < 0 ? 1 : x[k]->dims[axis];
            p->strides[k][i] = 1;
            for (int a = axis + 1; a < x[k]->rank; a++)
                if (axis >= 0) p->strides[k][i] *= x[k]->dims[a];
            if (size[k] == 1) p->strides[k][i] = 0;
        }
        if (size[0] != size[1] && size[0] != 1 && size[1] != 1)
            return qonnx_fail(h->cx, h->node, "%lld elements do not broadcast against %lld",
                              (long long)size[0], (long long)size[1]);
        p->dims[i] = size[0] == 1 ? size[1] : size[0];
        if (__builtin_mul_overflow(p->count, p->dims[i], &p->count))
            return qonnx_fail(h->cx, h->node, "its output is too large");
    }
    return true;
}

/* Where element i of the result has operand k. */
static int64_t pair_at(const Pairs *p, int k, int64_t i)
{
    int64_t at = 0;
    for (int a = p->rank; a-- > 0; i /= p->dims[a]) at += i % p->dims[a] * p->strides[k][a];
    return at;
}

bool host_equal(Host *h, const Node *n)
{
    Pairs p;
    if (!host_in(h, 0) || !host_in(h, 1) || h->in[0].dtype != h->in[1].dtype)
        return qonnx_fail(h->cx, n, "its inputs are of two types");
    if (!pairs_of(h, &p)) return false;
    uint8_t *y = host_out(h, 0, QONNX_BOOL, p.rank, p.dims);
    for (int64_t i = 0; y && i < p.count; i++) {
        qonnx_string a = qonnx_tensor_string(&h->in[0], pair_at(&p, 0, i));
        qonnx_string b = qonnx_tensor_string(&h->in[1], pair_at(&p, 1, i));
        y[i] = a.bytes == b.bytes && !memcmp(a.text, b.text, a.bytes);
        if (!host_spend(h, 16 + (int64_t)(y[i] ? a.bytes : 0))) return false;
    }
    return y != NULL;
}

static bool concat_shape(Ctx *cx, Node *n)
{
    return wants_strings(cx, n, 0) && wants_strings(cx, n, 1) && broadcast_shape(cx, n);
}

static bool concat(Host *h, const Node *n)
{
    Pairs p;
    (void)n;
    if (!pairs_of(h, &p)) return false;
    void *y = host_out(h, 0, QONNX_STRING, p.rank, p.dims);
    char *room = NULL;
    bool ok = y != NULL;
    for (int64_t i = 0; ok && i < p.count; i++) {
        qonnx_string a = qonnx_tensor_string(&h->in[0], pair_at(&p, 0, i));
        qonnx_string b = qonnx_tensor_string(&h->in[1], pair_at(&p, 1, i));
        room = xrealloc(room, a.bytes + b.bytes + 1);
        memcpy(room, a.text, a.bytes);
        memcpy(room + a.bytes, b.text, b.bytes);
        ok = host_string(h, y, i, room, a.bytes + b.bytes);
    }
    free(room);
    return ok;
}

/* ---- StringSplit ----------------------------------------------------------------------------- */

/* What splits a text. */
typedef struct Splitter {
    const char *delimiter; /* "": blanks, any number of them */
    size_t bytes;          /* of it */
    int64_t most;          /* splits; the rest of the text stays whole */
} Splitter;

/* Finds the next piece of the text that begins at *at; false: there is none. As ONNX Runtime has
 * it: nothing comes of "", and only the blank counts as space. */
static bool next_piece(const Splitter *s, const char **at, const char *end, int64_t done,
                       const char **piece, size_t *bytes)
{
    if (!s->bytes)
        while (*at && *at < end && **at == ' ') ++*at;
    if (!*at || (!s->bytes && *at == end)) return false;
    *piece = *at;
    const char *stop = done >= s->most ? NULL
                       : s->bytes      ? memmem(*at, (size_t)(end - *at), s->delimiter, s->bytes)
                                       : memchr(*at, ' ', (size_t)(end - *at));
    *at = stop ? stop + (s->bytes ? s->bytes : 1) : NULL;
    if (!stop) stop = end;
    while (!s->bytes && stop > *piece && stop[-1] == ' ') stop--;
    *bytes = (size_t)(stop - *piece);
    return true;
}

static bool split_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Shape y = open_shape(x);
    if (!wants_strings(cx, n, 0)) return false;
    if (x && x->rank == QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "its output would have rank %d, at most %d are supported",
                          x->rank + 1, QONNX_MAX_RANK);
    if (x) y = *x, y.sym[y.rank] = NULL, y.dim[y.rank++] = -1;
    return out_shape(cx, n, 0, QONNX_STRING, &y) && out_shape(cx, n, 1, QONNX_INT64, x);
}

static bool split(Host *h, const Node *n)
{
    const char *delimiter = qonnx_node_string(n, "delimiter", "");
    const Tensor *x = host_in(h, 0);
    Splitter s = {delimiter, strlen(delimiter), qonnx_node_int(n, "maxsplit", INT64_MAX)};
    int64_t count = tensor_count(x), most = 0, dims[QONNX_MAX_RANK];
    int64_t *counts = xcalloc((size_t)count + 1, sizeof *counts);
    const char *piece;
    size_t bytes;
    bool ok = true;
    for (int64_t i = 0; i < count && ok; i++) {
        qonnx_string t = qonnx_tensor_string(x, i);
        const char *at = t.bytes ? t.text : NULL;
        while (next_piece(&s, &at, t.text + t.bytes, counts[i], &piece, &bytes)) counts[i]++;
        if (counts[i] > most) most = counts[i];
        ok = host_spend(h, 64 + (int64_t)t.bytes);
    }
    if (x->rank) memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank] = most;
    void *y = ok ? host_out(h, 0, QONNX_STRING, x->rank + 1, dims) : NULL;
    ok = y != NULL;
    for (int64_t i = 0; ok && i < count; i++) {
        qonnx_string t = qonnx_tensor_string(x, i);
        const char *at = t.bytes ? t.text : NULL;
        for (int64_t k = 0;
             ok && next_piece(&s, &at, t.text + t.bytes, k, &piece, &bytes); k++)
            ok = host_string(h, y, i * most + k, piece, bytes);
    }
    int64_t *z = ok && n->nout > 1 ? host_out(h, 1, QONNX_INT64, x->rank, x->dims) : NULL;
    if (z && count) memcpy(z, counts, (size_t)count * sizeof *z);
    free(counts);
    return ok && (z || n->nout < 2);
}

/* ---- RegexFullMatch -------------------------------------------------------------------------- */

static bool match_shape(Ctx *cx, Node *n)
{
    return wants_strings(cx, n, 0) && out_shape(cx, n, 0, QONNX_BOOL, in_shape(n, 0));
}

static bool match(Host *h, const Node *n)
{
    const char *pattern = qonnx_node_string(n, "pattern", NULL);
    const Tensor *x = host_in(h, 0);
    if (!pattern) return qonnx_fail(h->cx, n, "it has no pattern");
    Arena *a = arena_new();
    Why why;
    Regex *r = regex_new(a, &why, pattern, strlen(pattern));
    bool ok = r || qonnx_fail(h->cx, n, "its pattern '%.80s' cannot be matched: %s", pattern,
                              why.text);
    int64_t count = tensor_count(x);
    uint8_t *y = ok ? host_out(h, 0, QONNX_BOOL, x->rank, x->dims) : NULL;
    ok = y != NULL;
    for (int64_t i = 0; ok && i < count; i++) {
        qonnx_string t = qonnx_tensor_string(x, i);
        int64_t steps;
        if (__builtin_mul_overflow((int64_t)t.bytes + 16, regex_states(r), &steps))
            steps = INT64_MAX;
        ok = host_spend(h, steps);
        if (ok) y[i] = regex_matches(r, t.text, t.bytes);
    }
    arena_free(a);
    return ok;
}

/* ---- StringNormalizer ------------------------------------------------------------------------ */

static bool normalize_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Shape y = open_shape(x);
    if (!wants_strings(cx, n, 0) || !check_rank(cx, n, 0, 1, 2)) return false;
    if (x && x->rank == 2 && !check_dim(cx, n, 0, 0, 1)) return false;
    if (x && x->rank == 2) y.dim[0] = 1;
    return out_shape(cx, n, 0, QONNX_STRING, &y);
}

/* A text in one case, or as it is; in `room`, which grows. */
static bool in_case(Host *h, Case to, qonnx_string from, qonnx_string *room, qonnx_string *out)
{
    Why why;
    if (to == CASE_AS_IT_IS) return *out = from, true;
    size_t most = case_room(from.bytes);
    if (room->bytes < most)
        *room = (qonnx_string){most, xrealloc((void *)(uintptr_t)room->text, most)};
    out->text = room->text;
    return host_spend(h, 4 * (int64_t)from.bytes) &&
           (case_change(&why, to, from.text, from.bytes, (char *)(uintptr_t)room->text,
                        &out->bytes) ||
            qonnx_fail(h->cx, h->node, "'%.*s': %s", from.bytes < 60 ? (int)from.bytes : 60,
                       from.text, why.text));
}

/* Which elements stay: those that are no stopword. */
static bool choose(Host *h, Case compared, char *const *words, int nwords, bool *kept,
                   int64_t *count)
{
    const Tensor *x = host_in(h, 0);
    int64_t all = tensor_count(x);
    qonnx_string room = {0, NULL}, a;
    qonnx_string *rooms = xcalloc((size_t)nwords + 1, sizeof *rooms); /* of the words */
    qonnx_string *b = xcalloc((size_t)nwords + 1, sizeof *b); /* words in that case, once needed */
    bool ok = true;
    for (int64_t i = 0; i < all && ok; i++) {
        kept[i] = true;
        ok = in_case(h, compared, qonnx_tensor_string(x, i), &room, &a);
        for (int k = 0; k < nwords && ok && kept[i]; k++) {
            qonnx_string word = {strlen(words[k]), words[k]};
            ok = host_spend(h, 16) && (b[k].text || in_case(h, compared, word, &rooms[k], &b[k]));
            kept[i] = !ok || a.bytes != b[k].bytes || memcmp(a.text, b[k].text, a.bytes) != 0;
        }
        *count += kept[i];
    }
    for (int k = 0; k < nwords; k++) free((void *)(uintptr_t)rooms[k].text);
    free((void *)(uintptr_t)room.text);
    free(rooms);
    free(b);
    return ok;
}

static bool normalize(Host *h, const Node *n)
{
    const char *action = qonnx_node_string(n, "case_change_action", "NONE");
    bool upper = !strcmp(action, "UPPER"), lower = !strcmp(action, "LOWER");
    const Tensor *x = host_in(h, 0);
    char *const *words;
    int nwords = node_strings(n, "stopwords", &words);
    Case to = upper ? CASE_UPPER : lower ? CASE_LOWER : CASE_AS_IT_IS;
    if (!upper && !lower && strcmp(action, "NONE"))
        return qonnx_fail(h->cx, n, "case_change_action is \"%.20s\", want LOWER, UPPER or NONE",
                          action);
    if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->dims[0] != 1))
        return qonnx_fail(h->cx, n, "its input has another shape than [C] or [1,C]");
    int64_t all = tensor_count(x), count = 0, dims[2] = {1, 1};
    bool *kept = xcalloc((size_t)all + 1, sizeof *kept);
    bool sensitive = qonnx_node_int(n, "is_case_sensitive", 0) != 0;
    bool ok = choose(h, sensitive ? CASE_AS_IT_IS : CASE_LOWER, words, nwords, kept, &count);
    dims[x->rank - 1] = count ? count : 1; /* of nothing, one that is empty */
    void *y = ok ? host_out(h, 0, QONNX_STRING, x->rank, dims) : NULL;
    qonnx_string room = {0, NULL}, text;
    ok = y != NULL;
    for (int64_t i = 0, at = 0; ok && i < all; i++) {
        if (!kept[i]) continue;
        if (to == CASE_AS_IT_IS) host_same(y, at++, x, i);
        else
            ok = in_case(h, to, qonnx_tensor_string(x, i), &room, &text) &&
                 host_string(h, y, at++, text.text, text.bytes);
    }
    free((void *)(uintptr_t)room.text);
    free(kept);
    return ok;
}

const Op ops_strings[] = {
    /* name  inputs  shape  rule */
    {"StringConcat", 2, 2, concat_shape, RULE_FLOAT, .host = concat},
    {"StringSplit", 1, 1, split_shape, RULE_FLOAT, .host = split},
    {"RegexFullMatch", 1, 1, match_shape, RULE_FLOAT, .host = match},
    {"StringNormalizer", 1, 1, normalize_shape, RULE_FLOAT, .host = normalize},
    {0},
};
