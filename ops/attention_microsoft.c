/* ops/attention_microsoft.c - com.microsoft's Attention and QAttention, which project their input,
 * and MultiHeadAttention. */
#include "ops/attend.h"
#include "ops/integers.h"
#include "ops/product.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- masks ----------------------------------------------------------------------------------- */

/* What is added to the score of a key that is masked. */
static float filter_of(const Node *n) { return qonnx_node_float(n, "mask_filter_value", -10000); }

/* Whether input i is a mask: as many lengths as batches, perhaps starts behind them, or a number a
 * key, perhaps for each query. */
static bool mask_check(Ctx *cx, const Node *n, int i, const Attend *a)
{
    const Shape *s = in_shape(n, i);
    if (!s) return true;
    if (!check_rank(cx, n, i, 1, 3)) return false;
    if (s->rank == 1)
        return sizes_agree(s->dim[0], a->batch) ||
               sizes_agree(s->dim[0], open_times(2, a->batch)) ||
               qonnx_fail(cx, n, "a mask of %lld lengths, want %lld or twice as many",
                          (long long)s->dim[0], (long long)a->batch);
    return check_dim(cx, n, i, 0, a->batch) && check_dim(cx, n, i, s->rank - 1, a->keys) &&
           (s->rank == 2 || check_dim(cx, n, i, 1, a->queries));
}

/* `count` int32 of input i from `first` on, as floats, one for each batch. */
static Grid lengths(Lower *l, Node *n, int i, int64_t first, int64_t count)
{
    Buf *x = lower_in(l, n, i, PLAIN), *some = lower_temp(l, (size_t)count * sizeof(int32_t));
    const int64_t one = 1;
    lower_copy(l, n, 1, &count, x, &one, first, some, &one, 0, sizeof(int32_t));
    return (Grid){lower_cast(l, n, QONNX_INT32, QONNX_FLOAT, count, some), {count, 1, 1, 1}};
}

/* factor * x, x being clamped to 0..1. */
static Grid filtered(Lower *l, const Node *n, float factor, Grid x)
{
    return grid_join(l, n, F_MUL, grid_map(l, n, F_CLIP, 0, 1, x), grid_number(l, factor));
}

/* The filter for keys from their length on, and for those before their start. */
static Grid lengths_bias(Lower *l, Node *n, int i, const Attend *a)
{
    Grid ends = lengths(l, n, i, 0, a->batch);
    Grid bias =
        filtered(l, n, filter_of(n), grid_join(l, n, F_SUB, grid_places(l, n, a, 1, 0, 1), ends));
    if (in_shape(n, i)->dim[0] == a->batch) return bias;
    Grid starts = lengths(l, n, i, a->batch, a->batch);
    Grid before = filtered(l, n, filter_of(n),
                           grid_join(l, n, F_ADD, starts, grid_places(l, n, a, -1, 0, 0)));
    return grid_join(l, n, F_MIN, bias, before);
}

static Grid mask_bias(Lower *l, Node *n, int i, const Attend *a)
{
    const Shape *s = in_shape(n, i);
    if (!s) return (Grid){.buf = NULL};
    if (s->rank == 1) return lengths_bias(l, n, i, a);
    const int64_t dims[4] = {a->batch, 1, s->rank == 3 ? a->queries : 1, a->keys};
    Grid seen = grid_map(l, n, F_CLIP, 0, 1, grid_input(l, n, i, dims));
    return filtered(l, n, filter_of(n), grid_join(l, n, F_SUB, grid_number(l, 1), seen));
}

/* Keys behind the query, which is `past` keys further on than its number, are not seen at all,
 * whatever the filter. */
static Grid causal_bias(Lower *l, const Node *n, const Attend *a, int64_t past)
{
    if (!qonnx_node_int(n, "unidirectional", 0)) return (Grid){.buf = NULL};
    return filtered(l, n, -FLT_MAX, grid_places(l, n, a, 1, -1, -(float)past));
}

/* All that is added to the scores: inputs `mask` and `bias`, and what comes from the place. */
static Grid bias_of(Lower *l, Node *n, const Attend *a, int mask, int bias, int64_t past)
{
    Grid g = grid_join(l, n, F_ADD, mask_bias(l, n, mask, a), causal_bias(l, n, a, past));
    const int64_t dims[4] = {a->batch, a->heads, a->queries, a->keys};
    int64_t own[4];
    if (bias < 0 || !qonnx_node_input(n, bias) || !grid_check(l->cx, n, bias, dims, own)) return g;
    return grid_join(l, n, F_ADD, g, grid_input(l, n, bias, own));
}

static float scale_of(const Node *n, const Attend *a)
{
    float scale = qonnx_node_float(n, "scale", 0);
    return scale != 0 ? scale : 1 / sqrtf((float)a->size);
}

/* The output, [batch][query][heads * v_size]. */
static void attend_rows(Lower *l, Node *n, Attend *a)
{
    a->scale = scale_of(n, a);
    Buf *y = attend(l, n, a);
    heads_to_rows(l, n, a, y, lower_out(l, n->out[0], PLAIN));
}

/* ---- Attention, QAttention ------------------------------------------------------------------- */

enum { INPUT, WEIGHTS, BIAS };

/* The other inputs, which in QAttention lie between those of its integers; -1: it has none. */
typedef struct Others {
    int mask, past, scores, past_length;
} Others;

static bool is_quantized(const Node *n) { return !strcmp(n->op, "QAttention"); }

static Others others_of(const Node *n)
{
    return is_quantized(n) ? (Others){5, 8, -1, -1} : (Others){3, 4, 5, 6};
}

static const Value *given(const Node *n, int i) { return i < 0 ? NULL : qonnx_node_input(n, i); }

/* Its sizes, -1 where open. */
typedef struct Projected {
    Attend a;
    int64_t inside;   /* elements of a row of the input */
    int64_t parts[3]; /* of a row of its product: queries, keys and values */
    int64_t past;     /* rows */
} Projected;

static bool parts_of(Ctx *cx, const Node *n, Projected *p)
{
    const int64_t *sizes;
    int count = qonnx_node_ints(n, "qkv_hidden_sizes", &sizes);
    int64_t all = in_shape(n, WEIGHTS) ? in_shape(n, WEIGHTS)->dim[1] : -1;
    for (int i = 0; i < 3; i++) p->parts[i] = open_part(all, 3);
    if (count && count != 3)
        return qonnx_fail(cx, n, "qkv_hidden_sizes has %d numbers, want 3", count);
    for (int i = 0; i < count; i++) {
        if (sizes[i] < 1 || sizes[i] > INT32_MAX || sizes[0] != sizes[1])
            return qonnx_fail(cx, n,
                              "qkv_hidden_sizes are %lld, %lld and %lld, want 1 or more, the "
                              "first two the same",
                              (long long)sizes[0], (long long)sizes[1], (long long)sizes[2]);
        p->parts[i] = sizes[i];
    }
    int64_t sum = open_plus(open_times(2, p->parts[0]), p->parts[2]);
    if (!sizes_agree(sum, all))
        return qonnx_fail(cx, n, "weights of %lld columns, want %lld", (long long)all,
                          (long long)sum);
    return true;
}

static bool projected_sizes(Ctx *cx, const Node *n, Projected *p)
{
    const Others o = others_of(n);
    const Shape *x = in_shape(n, INPUT), *past = in_shape(n, o.past);
    Attend *a = &p->a;
    *p = (Projected){.past = given(n, o.past) ? -1 : 0};
    a->heads = a->kv_heads = qonnx_node_int(n, "num_heads", 0);
    if (!attend_check_heads(cx, n, "num_heads", a->heads) || !check_rank(cx, n, INPUT, 3, 3) ||
        !check_rank(cx, n, WEIGHTS, 2, 2) || !check_rank(cx, n, BIAS, 1, 1) ||
        !check_rank(cx, n, o.past, 5, 5) || (o.scores >= 0 && !check_rank(cx, n, o.scores, 4, 4)) ||
        !parts_of(cx, n, p))
        return false;
    for (int i = 0; i < 3; i += 2)
        if (p->parts[i] >= 0 && p->parts[i] % a->heads)
            return qonnx_fail(cx, n, "rows of %lld elements are no multiple of %lld heads",
                              (long long)p->parts[i], (long long)a->heads);
    a->batch = x ? x->dim[0] : -1;
    a->queries = x ? x->dim[1] : -1;
    p->inside = x ? x->dim[2] : -1;
    a->size = open_part(p->parts[0], a->heads);
    a->v_size = open_part(p->parts[2], a->heads);
    if (past) p->past = past->dim[3];
    a->keys = open_plus(p->past, a->queries);
    bool stacked = given(n, o.past) || n->nout > 1;
    if (stacked && !sizes_agree(a->size, a->v_size))
        return qonnx_fail(cx, n,
                          "past and present want keys and values of one size, not %lld and "
                          "%lld",
                          (long long)a->size, (long long)a->v_size);
    return true;
}

static bool projected_check(Ctx *cx, const Node *n, const Projected *p)
{
    const Attend *a = &p->a;
    const int64_t dims[4] = {a->batch, a->heads, a->queries, a->keys};
    const Others o = others_of(n);
    int64_t own[4], columns = open_plus(open_times(2, p->parts[0]), p->parts[2]);
    return check_dim(cx, n, WEIGHTS, 0, p->inside) && check_dim(cx, n, BIAS, 0, columns) &&
           check_dim(cx, n, o.past, 0, 2) && check_dim(cx, n, o.past, 1, a->batch) &&
           check_dim(cx, n, o.past, 2, a->heads) && check_dim(cx, n, o.past, 4, a->size) &&
           mask_check(cx, n, o.mask, a) &&
           (o.scores < 0 || grid_check(cx, n, o.scores, dims, own)) &&
           (!is_quantized(n) || integers_columns(cx, n, columns));
}

static bool projected_shape(Ctx *cx, Node *n)
{
    Projected p;
    const Attend *a = &p.a;
    DType t = is_quantized(n) ? QONNX_FLOAT : in_dtype(n, INPUT);
    if (!projected_sizes(cx, n, &p) || !projected_check(cx, n, &p)) return false;
    if (!in_shape(n, INPUT)) return out_shape(cx, n, 0, t, NULL);
    const Shape y = {.rank = 3, .dim = {a->batch, a->queries, p.parts[2]}};
    const Shape present = {.rank = 5, .dim = {2, a->batch, a->heads, a->keys, a->size}};
    if (qonnx_node_output(n, 1) && !out_shape(cx, n, 1, t, &present)) return false;
    return out_shape(cx, n, 0, t, &y);
}

/* Attributes that choose forms which are not run; floats, but for the mask. */
static bool plain_takes(Why *why, const Node *n, int mask)
{
    static const char *const other[] = {"do_rotary", "past_present_share_buffer"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (qonnx_node_int(n, other[i], 0))
            return why_not(why, "%s 1, this library runs 0 only", other[i]);
    for (int i = 0; i < n->nin; i++)
        if (!is_quantized(n) && !takes_type(why, n, i, i == mask ? QONNX_INT32 : QONNX_FLOAT))
            return false;
    return true;
}

static bool projected_takes(Why *why, const Node *n)
{
    const Others o = others_of(n);
    if (given(n, o.past_length)) return why_not(why, "it has past_sequence_length");
    if (!plain_takes(why, n, o.mask)) return false;
    return !is_quantized(n) || (integers_takes(why, n) && takes_type(why, n, o.mask, QONNX_INT32) &&
                                takes_type(why, n, o.past, QONNX_FLOAT));
}

/* input * weights + bias; NULL on failure. */
static Buf *projection(Lower *l, Node *n, const Projected *p)
{
    int64_t rows = p->a.batch * p->a.queries, columns = in_shape(n, WEIGHTS)->dim[1];
    f_gemm_p g = {(int32_t)rows, (int32_t)columns, (int32_t)p->inside, 0, -INFINITY, INFINITY};
    Buf *in[3] = {lower_in(l, n, INPUT, PLAIN), lower_in(l, n, WEIGHTS, PLAIN),
                  lower_in(l, n, BIAS, PLAIN)};
    Grid y = {lower_temp(l, (size_t)(rows * columns) * sizeof(float)), {1, 1, rows, columns}};
    if (is_quantized(n)) return integers_product(l, n, y.buf) ? y.buf : NULL;
    if (n->in[WEIGHTS]->data) {
        lower_call(l, n, "f_gemm", &g, in, 3, y.buf);
        return y.buf;
    }
    Product m = {.type = QONNX_FLOAT,
                 .m = rows,
                 .n = columns,
                 .k = p->inside,
                 .am = p->inside,
                 .ak = 1,
                 .bk = columns,
                 .bn = 1,
                 .alpha = 1};
    lower_product(l, n, &m, in[0], in[1], y.buf);
    return in[2] ? grid_join(l, n, F_ADD, y, (Grid){in[2], {1, 1, 1, columns}}).buf : y.buf;
}

/* Keys (1) or values (2) of the product, with those of the past. */
static Heads projected_keys(Lower *l, Node *n, const Projected *p, Buf *product, int i)
{
    const Attend *a = &p->a;
    int64_t size = i == 1 ? a->size : a->v_size, row = 2 * p->parts[0] + p->parts[2];
    int64_t each = a->batch * a->heads * p->past * size;
    Heads h = {product, a->queries * row, size, row, i * p->parts[0]};
    Buf *past = lower_in(l, n, others_of(n).past, PLAIN), *some = NULL;
    if (past && each) {
        const int64_t one = 1;
        some = lower_temp(l, (size_t)each * sizeof(float));
        lower_copy(l, n, 1, &each, past, &one, (i - 1) * each, some, &one, 0, sizeof(float));
    }
    size_t bytes = (size_t)(a->batch * a->heads * a->keys * size) * sizeof(float);
    return heads_join(l, n, a, some, p->past, &h, a->queries, size, lower_temp(l, bytes));
}

static bool projected_lower(Lower *l, Node *n)
{
    Projected p;
    Attend *a = &p.a;
    if (!projected_sizes(l->cx, n, &p) || !attend_check(l->cx, n, a)) return false;
    int64_t row = 2 * p.parts[0] + p.parts[2];
    if (!attend_fits(l->cx, n, "projections", (int64_t[]){1, a->batch, a->queries, row}))
        return false;
    Buf *product = projection(l, n, &p);
    if (!product) return false;
    a->q = (Heads){product, a->queries * row, a->size, row, 0};
    a->k = projected_keys(l, n, &p, product, 1);
    a->v = projected_keys(l, n, &p, product, 2);
    a->bias = bias_of(l, n, a, others_of(n).mask, others_of(n).scores, p.past);
    attend_rows(l, n, a);
    if (!out_used(n, 1)) return true;
    Buf *present = lower_out(l, n->out[1], PLAIN);
    const int64_t one = 1, each = a->batch * a->heads * a->keys * a->size;
    lower_copy(l, n, 1, &each, a->k.buf, &one, 0, present, &one, 0, sizeof(float));
    lower_copy(l, n, 1, &each, a->v.buf, &one, 0, present, &one, each, sizeof(float));
    return true;
}

static bool projected_known(const Node *n, Projected *p)
{
    Ctx *quiet = ctx_quiet();
    bool known = in_shape(n, INPUT) && in_shape(n, WEIGHTS) && projected_sizes(quiet, n, p);
    qonnx_ctx_free(quiet);
    return known;
}

static int64_t projected_work(const Node *n)
{
    Projected p;
    return projected_known(n, &p) ? attend_work(&p.a) : -1;
}

static int64_t projected_macs(const Node *n)
{
    Projected p;
    if (!projected_known(n, &p)) return -1;
    int64_t rows = count_work(p.a.batch < 0 ? 1 : p.a.batch, p.a.queries < 0 ? 1 : p.a.queries);
    int64_t product = count_work(rows, shape_open_elements(in_shape(n, WEIGHTS)));
    int64_t scores = attend_macs(&p.a);
    return product < 0 || scores < 0 || product > INT64_MAX - scores ? -1 : product + scores;
}

/* ---- MultiHeadAttention ---------------------------------------------------------------------- */

enum { QUERY, KEY, VALUE, BIASES, KEY_MASK, ADDED, PAST_KEY, PAST_VALUE };

/* Rows of input i, keys or values: [batch][row][heads * size] or [batch][head][row][size]. */
static int64_t rows_of(const Shape *s) { return s ? s->dim[s->rank - 2] : -1; }

static int64_t size_of(const Shape *s, int64_t heads)
{
    if (!s) return -1;
    return s->rank == 4 ? s->dim[3] : open_part(s->dim[2], heads);
}

static bool multi_sizes(Ctx *cx, const Node *n, Attend *a, int64_t *rows, int64_t *past)
{
    const Shape *q = in_shape(n, QUERY), *k = in_shape(n, KEY), *v = in_shape(n, VALUE);
    *a = (Attend){.heads = qonnx_node_int(n, "num_heads", 0)};
    a->kv_heads = a->heads;
    if (!attend_check_heads(cx, n, "num_heads", a->heads) || !check_rank(cx, n, QUERY, 3, 3) ||
        !check_rank(cx, n, KEY, 3, 4) || !check_rank(cx, n, VALUE, 3, 4) ||
        !check_rank(cx, n, BIASES, 1, 1) || !check_rank(cx, n, ADDED, 4, 4) ||
        !check_rank(cx, n, PAST_KEY, 4, 4) || !check_rank(cx, n, PAST_VALUE, 4, 4) ||
        !attend_check_split(cx, n, QUERY, a->heads))
        return false;
    for (int i = KEY; i <= VALUE; i++) {
        const Shape *s = in_shape(n, i);
        if (s && !(s->rank == 4 ? check_dim(cx, n, i, 1, a->heads)
                                : attend_check_split(cx, n, i, a->heads)))
            return false;
    }
    a->batch = q ? q->dim[0] : -1;
    a->queries = q ? q->dim[1] : -1;
    a->size = size_of(q, a->heads);
    a->v_size = size_of(v, a->heads);
    *rows = rows_of(k);
    *past = !qonnx_node_input(n, PAST_KEY) ? 0
            : in_shape(n, PAST_KEY)        ? in_shape(n, PAST_KEY)->dim[2]
                                           : -1;
    a->keys = open_plus(*rows, *past);
    if (!sizes_agree(size_of(k, a->heads), a->size))
        return qonnx_fail(cx, n, "heads of %lld queries' and %lld keys' elements",
                          (long long)a->size, (long long)size_of(k, a->heads));
    return true;
}

static bool multi_check(Ctx *cx, const Node *n, const Attend *a, int64_t rows, int64_t past)
{
    const Shape *v = in_shape(n, VALUE);
    const int64_t dims[4] = {a->batch, a->heads, a->queries, a->keys};
    int64_t own[4], twice = open_times(2, open_times(a->heads, a->size));
    if ((qonnx_node_input(n, PAST_KEY) != NULL) != (qonnx_node_input(n, PAST_VALUE) != NULL))
        return qonnx_fail(cx, n, "past_key and past_value go together, one of them is left out");
    for (int i = PAST_KEY; i <= PAST_VALUE; i++)
        if (!check_dim(cx, n, i, 0, a->batch) || !check_dim(cx, n, i, 1, a->heads) ||
            !check_dim(cx, n, i, 2, past) ||
            !check_dim(cx, n, i, 3, i == PAST_KEY ? a->size : a->v_size))
            return false;
    return check_dim(cx, n, KEY, 0, a->batch) && check_dim(cx, n, VALUE, 0, a->batch) &&
           (!v || check_dim(cx, n, VALUE, v->rank - 2, rows)) &&
           check_dim(cx, n, BIASES, 0, open_plus(twice, open_times(a->heads, a->v_size))) &&
           mask_check(cx, n, KEY_MASK, a) && grid_check(cx, n, ADDED, dims, own);
}

static bool multi_shape(Ctx *cx, Node *n)
{
    Attend a;
    int64_t rows, past;
    DType t = in_dtype(n, QUERY);
    if (!multi_sizes(cx, n, &a, &rows, &past) || !multi_check(cx, n, &a, rows, past)) return false;
    if (!in_shape(n, QUERY) || !in_shape(n, VALUE)) return out_shape(cx, n, 0, t, NULL);
    const Shape y = {.rank = 3, .dim = {a.batch, a.queries, open_times(a.heads, a.v_size)}};
    for (int i = 1; i < 3; i++) {
        const Shape s = {.rank = 4, .dim = {a.batch, a.heads, a.keys, i == 1 ? a.size : a.v_size}};
        if (qonnx_node_output(n, i) && !out_shape(cx, n, i, t, &s)) return false;
    }
    return out_shape(cx, n, 0, t, &y);
}

static bool multi_takes(Why *why, const Node *n)
{
    const Shape *q = in_shape(n, QUERY), *k = in_shape(n, KEY), *v = in_shape(n, VALUE);
    if (!qonnx_node_input(n, KEY) || !qonnx_node_input(n, VALUE) || (q && q->rank == 5))
        return why_not(why, "queries, keys and values in one input");
    for (int i = PAST_VALUE + 1; i < n->nin; i++)
        if (qonnx_node_input(n, i)) return why_not(why, "it has an input %d", i);
    if (qonnx_node_input(n, BIASES) && ((k && k->rank == 4) || (v && v->rank == 4)))
        return why_not(why, "a bias for keys or values of four axes");
    return plain_takes(why, n, KEY_MASK);
}

/* Input i plus its part of the biases, which begins at `first`. */
static Heads biased(Lower *l, Node *n, const Attend *a, int i, int64_t rows, int64_t size,
                    int64_t first)
{
    Buf *x = lower_in(l, n, i, PLAIN), *all = lower_in(l, n, BIASES, PLAIN);
    if (in_shape(n, i)->rank == 4) return heads_in_order(x, rows, a->heads, size);
    if (!all) return heads_of_rows(x, rows, a->heads, size);
    const int64_t one = 1, width = a->heads * size;
    Grid bias = {lower_temp(l, (size_t)width * sizeof(float)), {1, 1, 1, width}};
    lower_copy(l, n, 1, &width, all, &one, first, bias.buf, &one, 0, sizeof(float));
    Grid y = grid_join(l, n, F_ADD, (Grid){x, {1, 1, a->batch * rows, width}}, bias);
    return heads_of_rows(y.buf, rows, a->heads, size);
}

/* Keys or values, with those of the past. */
static Heads multi_keys(Lower *l, Node *n, const Attend *a, int i, int64_t rows, int64_t past)
{
    int64_t size = i == KEY ? a->size : a->v_size;
    int64_t first = (i == KEY ? 1 : 2) * a->heads * a->size;
    Heads h = biased(l, n, a, i, rows, size, first);
    Buf *before = lower_in(l, n, i + PAST_KEY - KEY, PLAIN);
    bool wanted = out_used(n, i);
    if (!before && !wanted) return h;
    size_t bytes = (size_t)(a->batch * a->heads * a->keys * size) * sizeof(float);
    Buf *to = wanted ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, bytes);
    return heads_join(l, n, a, before, past, &h, rows, size, to);
}

static bool multi_lower(Lower *l, Node *n)
{
    Attend a;
    int64_t rows, past;
    if (!multi_sizes(l->cx, n, &a, &rows, &past) || !attend_check(l->cx, n, &a)) return false;
    a.q = biased(l, n, &a, QUERY, a.queries, a.size, 0);
    a.k = multi_keys(l, n, &a, KEY, rows, past);
    a.v = multi_keys(l, n, &a, VALUE, rows, past);
    a.bias = bias_of(l, n, &a, KEY_MASK, ADDED, past);
    attend_rows(l, n, &a);
    return true;
}

static bool multi_known(const Node *n, Attend *a)
{
    Ctx *quiet = ctx_quiet();
    int64_t rows, past;
    bool known = in_shape(n, QUERY) && in_shape(n, KEY) && in_shape(n, VALUE) &&
                 multi_sizes(quiet, n, a, &rows, &past);
    qonnx_ctx_free(quiet);
    return known;
}

static int64_t multi_macs(const Node *n)
{
    Attend a;
    return multi_known(n, &a) ? attend_macs(&a) : -1;
}

static int64_t multi_work(const Node *n)
{
    Attend a;
    return multi_known(n, &a) ? attend_work(&a) : -1;
}

const Op ops_attention_microsoft[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"Attention", 2, 7, projected_shape, RULE_FLOAT, NULL, projected_lower, projected_macs,
     .takes = projected_takes, .work = projected_work, .domain = "com.microsoft"},
    {"QAttention", 5, 9, projected_shape, RULE_FLOAT, NULL, projected_lower, projected_macs,
     .takes = projected_takes, .work = projected_work, .domain = "com.microsoft"},
    {"MultiHeadAttention", 1, 10, multi_shape, RULE_FLOAT, NULL, multi_lower, multi_macs,
     .takes = multi_takes, .work = multi_work, .domain = "com.microsoft"},
    {0},
};
