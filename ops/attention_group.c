/* ops/attention_group.c - com.microsoft's GroupQueryAttention: keys and values of earlier steps in
 * memory of a fixed size, each batch with its own length. */
#include "kernels/cache.h"
#include "ops/attend.h"
#include "ops/rotary.h"
#include <math.h>
#include <string.h>

enum {
    QUERY,
    KEY,
    VALUE,
    PAST_KEY,
    PAST_VALUE,
    LENGTHS,
    TOTAL,
    COS,
    SIN,
    PLACES,
    ADDED,
    SINK,
    OPERANDS
};

/* Its sizes, -1 where open. */
typedef struct Group {
    Attend a;
    int64_t past, total; /* rows of the past, and in use */
    bool packed;         /* rows of the query have the heads of keys and values behind its own */
} Group;

/* total_sequence_length; -1 where it is not known. */
static int64_t total_of(const Node *n)
{
    const Value *v = qonnx_node_input(n, TOTAL);
    return v && v->data && tensor_count(v->data) == 1 ? (int64_t)qonnx_tensor_get(v->data, 0) : -1;
}

static bool group_heads(Ctx *cx, const Node *n, Group *z)
{
    Attend *a = &z->a;
    a->heads = qonnx_node_int(n, "num_heads", 0);
    a->kv_heads = qonnx_node_int(n, "kv_num_heads", 0);
    z->packed = !qonnx_node_input(n, KEY);
    if (!attend_check_heads(cx, n, "num_heads", a->heads) ||
        !attend_check_heads(cx, n, "kv_num_heads", a->kv_heads))
        return false;
    if (z->packed != !qonnx_node_input(n, VALUE))
        return qonnx_fail(cx, n, "key and value go together, one of them is left out");
    return a->heads % a->kv_heads == 0 || qonnx_fail(cx, n, "%lld heads of queries, %lld of keys",
                                                     (long long)a->heads, (long long)a->kv_heads);
}

static bool group_sizes(Ctx *cx, const Node *n, Group *z)
{
    static const int ranks[OPERANDS] = {3, 3, 3, 4, 4};
    const Shape *q = in_shape(n, QUERY), *past = in_shape(n, PAST_KEY);
    Attend *a = &z->a;
    *z = (Group){.past = qonnx_node_input(n, PAST_KEY) ? -1 : 0};
    if (!group_heads(cx, n, z)) return false;
    for (int i = 0; i <= PAST_VALUE; i++)
        if (!check_rank(cx, n, i, ranks[i], ranks[i])) return false;
    int64_t heads = a->heads + (z->packed ? 2 * a->kv_heads : 0);
    if (!attend_check_split(cx, n, QUERY, heads)) return false;
    a->batch = q ? q->dim[0] : -1;
    a->queries = q ? q->dim[1] : -1;
    a->size = a->v_size = q ? open_part(q->dim[2], heads) : -1;
    if (past) z->past = past->dim[2];
    z->total = total_of(n);
    a->keys = z->past < 0 || z->total < 0 ? -1 : z->past > z->total ? z->past : z->total;
    return true;
}

static bool group_check(Ctx *cx, const Node *n, const Group *z)
{
    const Attend *a = &z->a;
    const int64_t scores[4] = {a->batch, a->heads, a->queries, z->total};
    const int64_t rows[3] = {a->batch, a->queries, open_times(a->kv_heads, a->size)};
    const int64_t past[4] = {a->batch, a->kv_heads, z->past, a->size};
    const Shape *last = in_shape(n, LENGTHS);
    int64_t own[4];
    for (int i = 0; i < 8; i++)
        if (!(i < 4 ? check_dim(cx, n, PAST_KEY, i, past[i])
                    : check_dim(cx, n, PAST_VALUE, i - 4, past[i - 4])))
            return false;
    for (int i = 0; i < 3; i++)
        if (!check_dim(cx, n, KEY, i, rows[i]) || !check_dim(cx, n, VALUE, i, rows[i]))
            return false;
    if (!qonnx_node_input(n, LENGTHS) || !qonnx_node_input(n, TOTAL))
        return qonnx_fail(cx, n, "seqlens_k or total_sequence_length is left out");
    if (last && !sizes_agree(shape_elements(last), a->batch))
        return qonnx_fail(cx, n, "%lld numbers in seqlens_k, want %lld",
                          (long long)shape_elements(last), (long long)a->batch);
    if (z->total >= 0 && a->queries > z->total)
        return qonnx_fail(cx, n, "total_sequence_length is %lld, but there are %lld new rows",
                          (long long)z->total, (long long)a->queries);
    return check_rank(cx, n, ADDED, 4, 4) && grid_check(cx, n, ADDED, scores, own) &&
           check_rank(cx, n, SINK, 1, 1) && check_dim(cx, n, SINK, 0, a->heads) &&
           check_rank(cx, n, PLACES, 2, 2) && check_dim(cx, n, PLACES, 0, a->batch) &&
           check_dim(cx, n, PLACES, 1, a->queries);
}

/* Elements of a head that are turned, as many as the tables are for; -1 where that is open. */
static int64_t turned_of(const Node *n)
{
    const Shape *c = in_shape(n, COS);
    return c ? open_times(2, c->dim[c->rank - 1]) : -1;
}

static bool tables_check(Ctx *cx, const Node *n, const Group *z)
{
    if (!qonnx_node_int(n, "do_rotary", 0)) return true;
    if (!qonnx_node_input(n, COS) || !qonnx_node_input(n, SIN))
        return qonnx_fail(cx, n, "do_rotary is 1, but cos_cache or sin_cache is left out");
    return check_rank(cx, n, COS, 2, 2) &&
           rotary_check(cx, n, COS, SIN, turned_of(n), z->a.size, false);
}

static bool group_shape(Ctx *cx, Node *n)
{
    Group z;
    const Attend *a = &z.a;
    DType t = in_dtype(n, QUERY);
    if (!group_sizes(cx, n, &z) || !group_check(cx, n, &z) || !tables_check(cx, n, &z))
        return false;
    if (!in_shape(n, QUERY)) return out_shape(cx, n, 0, t, NULL);
    const Shape y = {.rank = 3, .dim = {a->batch, a->queries, open_times(a->heads, a->size)}};
    const Shape present = {.rank = 4, .dim = {a->batch, a->kv_heads, a->keys, a->size}};
    return out_shape(cx, n, 0, t, &y) && out_shape(cx, n, 1, t, &present) &&
           out_shape(cx, n, 2, t, &present);
}

static bool group_takes(Why *why, const Node *n)
{
    static const char *const other[] = {"sliding_window_cache", "qk_output", "kv_cache_bit_width"};
    static const int integers[] = {LENGTHS, TOTAL};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (qonnx_node_int(n, other[i], 0))
            return why_not(why, "%s %lld, this library runs 0 only", other[i],
                           (long long)qonnx_node_int(n, other[i], 0));
    for (int i = OPERANDS; i < n->nin; i++)
        if (qonnx_node_input(n, i)) return why_not(why, "it has an input %d", i);
    for (int i = 0; i < n->nin; i++)
        if (i != LENGTHS && i != TOTAL && i != PLACES && !takes_type(why, n, i, QONNX_FLOAT))
            return false;
    for (int i = 0; i < 2; i++)
        if (!takes_type(why, n, integers[i], QONNX_INT32)) return false;
    return takes_type(why, n, PLACES, QONNX_INT64);
}

/* Whether nothing was before: then batches have no lengths of their own. */
static bool is_first(const Group *z) { return z->a.queries == z->total; }

/* Heads `first` and on of a row of input i, turned by their places. */
static Heads turned(Lower *l, Node *n, const Group *z, int i, Heads h, int64_t heads)
{
    const Attend *a = &z->a;
    Heads y = heads_in_order(NULL, a->queries, heads, a->size);
    bool given = qonnx_node_input(n, PLACES) != NULL, first = is_first(z);
    f_rotary_p p = rotary_params(a->batch, heads, a->queries, a->size, turned_of(n),
                                 qonnx_node_int(n, "rotary_interleaved", 0) != 0, h, y);
    p.wide = given;
    if (first || !given) p.pr = 1;
    if (!first) p.ib = given ? (int32_t)a->queries : 1, p.ir = given;
    if (!first && !given) p.first = (int32_t)(1 - a->queries);
    y.buf = lower_temp(l, (size_t)(a->batch * heads * a->queries * a->size) * sizeof(float));
    if (!y.buf->bytes || !rotary_places(l->cx, n, COS, &p)) return y;
    Buf *ids = given   ? lower_in(l, n, PLACES, PLAIN)
               : first ? NULL
                       : lower_in(l, n, LENGTHS, PLAIN);
    rotary_call(l, n, &p, lower_in(l, n, i, PLAIN), COS, SIN, ids, y.buf);
    return y;
}

/* Queries, or new keys or values; those that are not turned, where they lie. */
static Heads operand(Lower *l, Node *n, const Group *z, int i)
{
    const Attend *a = &z->a;
    int64_t heads = i == QUERY ? a->heads : a->kv_heads, row = heads * a->size;
    int from = z->packed ? QUERY : i;
    Heads h = heads_of_rows(lower_in(l, n, from, PLAIN), a->queries, heads, a->size);
    if (z->packed) {
        row = (a->heads + 2 * a->kv_heads) * a->size;
        h.batch = a->queries * row, h.row = row;
        h.at = i == QUERY ? 0 : (a->heads + (i == VALUE ? a->kv_heads : 0)) * a->size;
    }
    bool turns = i != VALUE && qonnx_node_int(n, "do_rotary", 0) != 0;
    return turns ? turned(l, n, z, from, h, heads) : h;
}

/* All keys (1) or values (2): new ones behind those that a batch has. */
static Heads group_keys(Lower *l, Node *n, const Group *z, int i)
{
    const Attend *a = &z->a;
    Heads h = operand(l, n, z, i), y = heads_in_order(NULL, a->keys, a->kv_heads, a->size);
    cache_p p = {.batch = (int32_t)a->batch,
                 .outer = (int32_t)a->kv_heads,
                 .inner = (int32_t)a->size,
                 .rows = (int32_t)a->keys,
                 .past = (int32_t)z->past,
                 .added = (int32_t)a->queries,
                 .ub = (int32_t)h.batch,
                 .uo = (int32_t)h.head,
                 .ur = (int32_t)h.row,
                 .uat = (int32_t)h.at,
                 .size = sizeof(float),
                 .first = is_first(z) ? 0 : (int32_t)(1 - a->queries),
                 .fresh = 1};
    size_t bytes = (size_t)(a->batch * a->kv_heads * a->keys * a->size) * sizeof(float);
    y.buf = out_used(n, i) ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, bytes);
    Buf *in[3] = {lower_in(l, n, i + PAST_KEY - KEY, PLAIN), h.buf,
                  is_first(z) ? NULL : lower_in(l, n, LENGTHS, PLAIN)};
    lower_call(l, n, "cache", &p, in, 3, y.buf);
    return y;
}

/* attention_bias, whose keys are those in use. */
static Grid added_bias(Lower *l, Node *n, const Group *z)
{
    const Attend *a = &z->a;
    const int64_t dims[4] = {a->batch, a->heads, a->queries, z->total};
    int64_t own[4];
    if (!qonnx_node_input(n, ADDED) || !grid_check(l->cx, n, ADDED, dims, own))
        return (Grid){.buf = NULL};
    return grid_columns(l, n, grid_input(l, n, ADDED, own), a->keys);
}

static Grid group_bias(Lower *l, Node *n, const Group *z)
{
    const Attend *a = &z->a;
    bool causal = qonnx_node_int(n, "causal", 1) != 0;
    int64_t window = qonnx_node_int(n, "local_window_size", -1);
    int64_t left = window > 0 ? window - 1 : -1, right = causal ? 0 : -1;
    Grid length = {.buf = NULL};
    if (!is_first(z) || !causal) length = grid_input(l, n, LENGTHS, (int64_t[]){a->batch, 1, 1, 1});
    Grid bias = is_first(z) ? grid_window(l, n, a, (Grid){.buf = NULL}, 0, left, right)
                            : grid_window(l, n, a, length, 1 - a->queries, left, right);
    if (!causal) {
        Grid there = grid_join(l, n, F_ADD, length, grid_places(l, n, a, -1, 0, 1));
        bias = grid_join(l, n, F_ADD, bias, grid_barred(l, n, there));
    }
    return grid_join(l, n, F_ADD, bias, added_bias(l, n, z));
}

static bool group_lower(Lower *l, Node *n)
{
    Group z;
    Attend *a = &z.a;
    if (!group_sizes(l->cx, n, &z) || !attend_check(l->cx, n, a)) return false;
    float scale = qonnx_node_float(n, "scale", 0);
    a->scale = scale != 0 ? scale : 1 / sqrtf((float)a->size);
    a->softcap = qonnx_node_float(n, "softcap", 0);
    a->q = operand(l, n, &z, QUERY);
    a->k = group_keys(l, n, &z, KEY);
    a->v = group_keys(l, n, &z, VALUE);
    a->bias = group_bias(l, n, &z);
    a->guard = a->bias.buf != NULL;
    if (qonnx_node_input(n, SINK)) a->sink = grid_input(l, n, SINK, (int64_t[]){1, a->heads, 1, 1});
    else if (qonnx_node_int(n, "smooth_softmax", 0) > 0) a->sink = grid_number(l, 0);
    heads_to_rows(l, n, a, attend(l, n, a), lower_out(l, n->out[0], PLAIN));
    return true;
}

static bool group_known(const Node *n, Group *z)
{
    Ctx *quiet = ctx_quiet();
    bool known = in_shape(n, QUERY) && group_sizes(quiet, n, z);
    z->a.softcap = qonnx_node_float(n, "softcap", 0);
    qonnx_ctx_free(quiet);
    return known;
}

static int64_t group_macs(const Node *n)
{
    Group z;
    return group_known(n, &z) ? attend_macs(&z.a) : -1;
}

static int64_t group_work(const Node *n)
{
    Group z;
    return group_known(n, &z) ? attend_work(&z.a) : -1;
}

const Op ops_attention_group[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"GroupQueryAttention", 1, 16, group_shape, RULE_FLOAT, NULL, group_lower, group_macs,
     .lists = 1u << TOTAL, .takes = group_takes, .work = group_work, .domain = "com.microsoft"},
    {0},
};
