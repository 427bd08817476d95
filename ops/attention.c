/* ops/attention.c - Attention. */
#include "ops/attend.h"
#include "ops/product.h"
#include <math.h>
#include <string.h>

/* ---- ONNX's Attention ------------------------------------------------------------------------ */

/* Its sizes, -1 where open; in Attend those that it has. */
typedef struct Sizes {
    Attend a;
    int64_t rows, past; /* of keys and values, and of those before them */
    bool flat;          /* inputs are [batch][row][head * size] */
} Sizes;

/* Heads and the size of a row of input i. */
static void input_sizes(const Node *n, int i, const char *attribute, int64_t *heads, int64_t *size)
{
    const Shape *s = in_shape(n, i);
    *heads = qonnx_node_int(n, attribute, 0);
    *size = -1;
    if (!s) return;
    if (s->rank == 4) *heads = s->dim[1];
    *size = s->rank == 4 ? s->dim[3] : open_part(s->dim[2], *heads);
}

static bool flat_checks(Ctx *cx, const Node *n)
{
    int64_t q = qonnx_node_int(n, "q_num_heads", 0), kv = qonnx_node_int(n, "kv_num_heads", 0);
    return attend_check_heads(cx, n, "q_num_heads", q) &&
           attend_check_heads(cx, n, "kv_num_heads", kv) && attend_check_split(cx, n, 0, q) &&
           attend_check_split(cx, n, 1, kv) && attend_check_split(cx, n, 2, kv);
}

/* The sizes of Q, K, V and what was before them; false where they do not fit each other. */
static bool attention_sizes(Ctx *cx, const Node *n, Sizes *z)
{
    const Shape *q = in_shape(n, 0), *k = in_shape(n, 1), *v = in_shape(n, 2);
    *z = (Sizes){.past = qonnx_node_input(n, 4) ? -1 : 0};
    for (int i = 0; i < 3; i++)
        if (!check_rank(cx, n, i, 3, 4)) return false;
    if (!q || !k || !v) return true;
    if (q->rank != k->rank || q->rank != v->rank)
        return qonnx_fail(cx, n, "inputs of rank %d, %d and %d, want one rank", q->rank, k->rank,
                          v->rank);
    z->flat = q->rank == 3;
    if (z->flat && !flat_checks(cx, n)) return false;
    int64_t v_heads, k_size;
    Attend *a = &z->a;
    input_sizes(n, 0, "q_num_heads", &a->heads, &a->size);
    input_sizes(n, 1, "kv_num_heads", &a->kv_heads, &k_size);
    input_sizes(n, 2, "kv_num_heads", &v_heads, &a->v_size);
    a->batch = q->dim[0];
    a->queries = q->dim[q->rank - 2];
    z->rows = k->dim[k->rank - 2];
    if (!sizes_agree(a->size, k_size))
        return qonnx_fail(cx, n, "heads of %lld queries' and %lld keys' elements",
                          (long long)a->size, (long long)k_size);
    if (a->kv_heads == 0 || !sizes_agree(a->kv_heads, v_heads) ||
        (a->heads > 0 && a->kv_heads > 0 && a->heads % a->kv_heads))
        return qonnx_fail(cx, n, "%lld heads of queries, %lld of keys, %lld of values",
                          (long long)a->heads, (long long)a->kv_heads, (long long)v_heads);
    return check_dim(cx, n, 1, 0, a->batch) && check_dim(cx, n, 2, 0, a->batch) &&
           check_dim(cx, n, 2, v->rank - 2, z->rows);
}

/* The same for what was before, and the lengths. */
static bool past_sizes(Ctx *cx, const Node *n, Sizes *z)
{
    Attend *a = &z->a;
    bool given = qonnx_node_input(n, 4) != NULL;
    if (given != (qonnx_node_input(n, 5) != NULL))
        return qonnx_fail(cx, n, "past_key and past_value go together, one of them is left out");
    if (given && qonnx_node_input(n, 6))
        return qonnx_fail(cx, n, "past_key and nonpad_kv_seqlen exclude each other");
    if (!check_rank(cx, n, 4, 4, 4) || !check_rank(cx, n, 5, 4, 4) || !check_rank(cx, n, 6, 1, 1))
        return false;
    if (given) z->past = in_shape(n, 4) ? in_shape(n, 4)->dim[2] : -1;
    a->keys = open_plus(z->past, z->rows);
    for (int i = 4; i < 6; i++)
        if (!check_dim(cx, n, i, 0, a->batch) || !check_dim(cx, n, i, 1, a->kv_heads) ||
            !check_dim(cx, n, i, 2, z->past) ||
            !check_dim(cx, n, i, 3, i == 4 ? a->size : a->v_size))
            return false;
    return check_dim(cx, n, 6, 0, a->batch);
}

/* Dims of attn_mask, whose last axis may be shorter than the keys are many. */
static bool mask_dims(Ctx *cx, const Node *n, const Attend *a, int64_t own[4])
{
    const Shape *s = in_shape(n, 3);
    const int64_t dims[4] = {a->batch, a->heads, a->queries, s ? s->dim[s->rank - 1] : -1};
    if (s && a->keys >= 0 && s->dim[s->rank - 1] > a->keys)
        return qonnx_fail(cx, n, "the mask has %lld columns for %lld keys",
                          (long long)s->dim[s->rank - 1], (long long)a->keys);
    return grid_check(cx, n, 3, dims, own);
}

static bool attention_shape(Ctx *cx, Node *n)
{
    Sizes z;
    int64_t own[4];
    const Attend *a = &z.a;
    DType t = in_dtype(n, 0);
    if (!check_rank(cx, n, 3, 1, 4) || !attention_sizes(cx, n, &z)) return false;
    if (!in_shape(n, 0) || !in_shape(n, 1) || !in_shape(n, 2)) return out_shape(cx, n, 0, t, NULL);
    if (!past_sizes(cx, n, &z) || !mask_dims(cx, n, a, own)) return false;
    Shape y = {.rank = 4, .dim = {a->batch, a->heads, a->queries, a->v_size}};
    if (z.flat)
        y = (Shape){.rank = 3, .dim = {a->batch, a->queries, open_times(a->heads, a->v_size)}};
    const Shape more[3] = {{.rank = 4, .dim = {a->batch, a->kv_heads, a->keys, a->size}},
                           {.rank = 4, .dim = {a->batch, a->kv_heads, a->keys, a->v_size}},
                           {.rank = 4, .dim = {a->batch, a->heads, a->queries, a->keys}}};
    for (int i = 0; i < 3 && i + 1 < n->nout; i++)
        if (n->out[i + 1] && !out_shape(cx, n, i + 1, t, &more[i])) return false;
    return out_shape(cx, n, 0, t, &y);
}

static bool attention_takes(Why *why, const Node *n)
{
    static const int floats[] = {0, 1, 2, 4, 5};
    int64_t precision = qonnx_node_int(n, "softmax_precision", 0);
    int64_t mode = qonnx_node_int(n, "qk_matmul_output_mode", 0);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        if (!takes_type(why, n, floats[i], QONNX_FLOAT)) return false;
    if (precision != 0 && precision != QONNX_FLOAT && precision != QONNX_DOUBLE)
        return why_not(why, "softmax_precision %lld, this library runs 1 and 11, as float",
                       (long long)precision);
    if (mode < 0 || mode > 3)
        return why_not(why, "qk_matmul_output_mode is %lld, want 0 to 3", (long long)mode);
    return takes_types(why, n, 3, 1u << QONNX_FLOAT | BOOL) && takes_type(why, n, 6, QONNX_INT64);
}

/* attn_mask, with -inf for the keys that it has no column for. */
static Grid mask_bias(Lower *l, Node *n, const Attend *a)
{
    int64_t own[4];
    if (!qonnx_node_input(n, 3) || !mask_dims(l->cx, n, a, own)) return (Grid){.buf = NULL};
    Grid g = grid_input(l, n, 3, own);
    if (in_dtype(n, 3) == QONNX_BOOL) g = grid_barred(l, n, g);
    return grid_columns(l, n, g, a->keys);
}

/* 0 where a query may see a key by its place alone, else -inf: queries are the last of the keys
 * that there are, those of the past or nonpad_kv_seqlen. */
static Grid place_bias(Lower *l, Node *n, const Sizes *z)
{
    const Attend *a = &z->a;
    bool causal = qonnx_node_int(n, "is_causal", 0) != 0, counted = qonnx_node_input(n, 6) != NULL;
    int64_t left = qonnx_node_int(n, "left_window_size", -1);
    int64_t right = causal ? 0 : qonnx_node_int(n, "right_window_size", -1);
    if (!counted) return grid_window(l, n, a, (Grid){.buf = NULL}, z->past, left, right);
    Grid length = grid_input(l, n, 6, (int64_t[]){a->batch, 1, 1, 1});
    Grid there = grid_join(l, n, F_ADD, length, grid_places(l, n, a, -1, 0, 0));
    return grid_join(l, n, F_ADD, grid_barred(l, n, there),
                     grid_window(l, n, a, length, -a->queries, left, right));
}

/* Keys (1) or values (2), with those before them; into the output where it is read. */
static Heads keys_of(Lower *l, Node *n, const Sizes *z, int i)
{
    const Attend *a = &z->a;
    int64_t size = i == 1 ? a->size : a->v_size;
    Buf *x = lower_in(l, n, i, PLAIN), *past = lower_in(l, n, i + 3, PLAIN);
    Heads h = z->flat ? heads_of_rows(x, z->rows, a->kv_heads, size)
                      : heads_in_order(x, z->rows, a->kv_heads, size);
    bool wanted = out_used(n, i);
    if (!past && !wanted) return h;
    size_t bytes = (size_t)(a->batch * a->kv_heads * a->keys * size) * sizeof(float);
    Buf *to = wanted ? lower_out(l, n->out[i], PLAIN) : lower_temp(l, bytes);
    return heads_join(l, n, a, past, z->past, &h, z->rows, size, to);
}

static bool attention_lower(Lower *l, Node *n)
{
    Sizes z;
    Attend *a = &z.a;
    if (!attention_sizes(l->cx, n, &z) || !past_sizes(l->cx, n, &z) || !attend_check(l->cx, n, a))
        return false;
    Buf *q = lower_in(l, n, 0, PLAIN);
    a->q = z.flat ? heads_of_rows(q, a->queries, a->heads, a->size)
                  : heads_in_order(q, a->queries, a->heads, a->size);
    a->k = keys_of(l, n, &z, 1);
    a->v = keys_of(l, n, &z, 2);
    a->scale = qonnx_node_float(n, "scale", 1 / sqrtf((float)a->size));
    a->softcap = qonnx_node_float(n, "softcap", 0);
    a->bias = grid_join(l, n, F_ADD, mask_bias(l, n, a), place_bias(l, n, &z));
    a->guard = a->bias.buf != NULL;
    Buf *y = attend(l, n, a);
    if (z.flat) heads_to_rows(l, n, a, y, lower_out(l, n->out[0], PLAIN));
    else lower_view(l, n->out[0], y, PLAIN);
    const Grid *made[] = {&a->scores, &a->capped, &a->biased, &a->weights};
    if (out_used(n, 3))
        lower_view(l, n->out[3], made[qonnx_node_int(n, "qk_matmul_output_mode", 0)]->buf, PLAIN);
    return true;
}

/* Its sizes, where they are known. */
static bool attention_known(const Node *n, Sizes *z)
{
    Ctx *quiet = ctx_quiet();
    bool known = in_shape(n, 0) && in_shape(n, 1) && in_shape(n, 2) &&
                 attention_sizes(quiet, n, z) && past_sizes(quiet, n, z);
    z->a.softcap = qonnx_node_float(n, "softcap", 0);
    qonnx_ctx_free(quiet);
    return known;
}

static int64_t attention_macs(const Node *n)
{
    Sizes z;
    return attention_known(n, &z) ? attend_macs(&z.a) : -1;
}

static int64_t attention_work(const Node *n)
{
    Sizes z;
    return attention_known(n, &z) ? attend_work(&z.a) : -1;
}

const Op ops_attention[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"Attention", 3, 7, attention_shape, RULE_FLOAT, NULL, attention_lower, attention_macs,
     .takes = attention_takes, .work = attention_work},
    {0},
};
