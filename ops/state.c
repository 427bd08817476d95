/* ops/state.c - operators that hand a state from one step to the next: TensorScatter,
 * LinearAttention and CausalConvWithState. */
#include "kernels/cache.h"
#include "kernels/f_causal_conv.h"
#include "kernels/f_linear_attention.h"
#include "ops/attend.h"
#include <math.h>
#include <string.h>

/* ---- TensorScatter --------------------------------------------------------------------------- */

static bool is_circular(const Node *n)
{
    return !strcmp(qonnx_node_string(n, "mode", "linear"), "circular");
}

/* The axis of the rows, -1 where the rank is not known. */
static bool scatter_axis(Ctx *cx, const Node *n, int *axis)
{
    const Shape *x = in_shape(n, 0);
    *axis = -1;
    if (!x) return true;
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", -2), x->rank, axis)) return false;
    return *axis > 0 || qonnx_fail(cx, n, "axis is 0, which is that of the batch");
}

static bool scatter_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *u = in_shape(n, 1);
    const char *mode = qonnx_node_string(n, "mode", "linear");
    int axis;
    if (!is_circular(n) && strcmp(mode, "linear"))
        return qonnx_fail(cx, n, "mode is '%.20s', want 'linear' or 'circular'", mode);
    if (!scatter_axis(cx, n, &axis) || !check_rank(cx, n, 2, 1, 1)) return false;
    if (!x) return same_shape(cx, n);
    if (!check_rank(cx, n, 1, x->rank, x->rank) || !check_dim(cx, n, 2, 0, x->dim[0])) return false;
    for (int i = 0; u && i < x->rank; i++)
        if (i != axis && !check_dim(cx, n, 1, i, x->dim[i])) return false;
    if (u && x->dim[axis] >= 0 && u->dim[axis] > x->dim[axis])
        return qonnx_fail(cx, n, "%lld rows are put where there are %lld", (long long)u->dim[axis],
                          (long long)x->dim[axis]);
    return same_shape(cx, n);
}

static bool scatter_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0), u = in_dtype(n, 1);
    if (t && u && t != u)
        return why_not(why, "it puts %s into %s", qonnx_dtype_name(u), qonnx_dtype_name(t));
    return takes_type(why, n, 2, QONNX_INT64) && takes_moved(why, n);
}

static bool scatter_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!scatter_axis(l->cx, n, &axis)) return false;
    cache_p p = {.batch = (int32_t)x->dim[0],
                 .outer = (int32_t)shape_product(x, 1, axis),
                 .inner = (int32_t)shape_product(x, axis + 1, x->rank),
                 .rows = (int32_t)x->dim[axis],
                 .past = (int32_t)x->dim[axis],
                 .added = (int32_t)in_shape(n, 1)->dim[axis],
                 .size = dtype_size(in_dtype(n, 0)),
                 .wide = 1,
                 .circular = is_circular(n)};
    p.ur = p.inner;
    p.uo = p.added * p.inner;
    p.ub = p.outer * p.uo;
    const Value *places = qonnx_node_input(n, 2);
    const Tensor *at = places ? places->data : NULL;
    for (int64_t i = 0; at && !p.circular && i < tensor_count(at); i++) {
        double first = qonnx_tensor_get(at, i);
        if (first < 0 || first + p.added > p.rows)
            return qonnx_fail(l->cx, n, "%d rows from row %.0f on, but there are %d", p.added,
                              first, p.rows);
    }
    Buf *in[3] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, "cache", &p, in, 3, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- LinearAttention ------------------------------------------------------------------------- */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA };

/* Which operands an update rule has. */
typedef struct Rule {
    const char *name;
    bool decay, delta;
} Rule;

static const Rule *rule_of(const Node *n)
{
    static const Rule rules[] = {{"linear", false, false},
                                 {"gated", true, false},
                                 {"delta", false, true},
                                 {"gated_delta", true, true}};
    const char *name = qonnx_node_string(n, "update_rule", "gated_delta");
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strcmp(rules[i].name, name)) return &rules[i];
    return NULL;
}

/* Its sizes, -1 where open. */
typedef struct Linear {
    int64_t batch, steps, q_heads, heads, k_size, v_size;
} Linear;

static bool linear_sizes(Ctx *cx, const Node *n, Linear *z)
{
    const Shape *q = in_shape(n, QUERY), *k = in_shape(n, KEY), *v = in_shape(n, VALUE);
    *z = (Linear){.q_heads = qonnx_node_int(n, "q_num_heads", 0),
                  .heads = qonnx_node_int(n, "kv_num_heads", 0)};
    if (!attend_check_heads(cx, n, "q_num_heads", z->q_heads) ||
        !attend_check_heads(cx, n, "kv_num_heads", z->heads))
        return false;
    /* com.microsoft's may have fewer queries than keys */
    if (z->q_heads % z->heads && (!n->domain[0] || z->heads % z->q_heads))
        return qonnx_fail(cx, n, "%lld heads of queries, %lld of keys", (long long)z->q_heads,
                          (long long)z->heads);
    for (int i = QUERY; i <= VALUE; i++)
        if (!check_rank(cx, n, i, 3, 3) ||
            !attend_check_split(cx, n, i, i == QUERY ? z->q_heads : z->heads))
            return false;
    z->batch = q ? q->dim[0] : -1;
    z->steps = q ? q->dim[1] : -1;
    z->k_size = k ? open_part(k->dim[2], z->heads) : -1;
    z->v_size = v ? open_part(v->dim[2], z->heads) : -1;
    return check_dim(cx, n, QUERY, 2, open_times(z->q_heads, z->k_size));
}

static bool linear_check(Ctx *cx, const Node *n, const Linear *z)
{
    const Shape *d = in_shape(n, DECAY), *b = in_shape(n, BETA);
    const Rule *r = rule_of(n);
    const int64_t past[4] = {z->batch, z->heads, z->k_size, z->v_size};
    if (!r)
        return qonnx_fail(cx, n, "update_rule is '%.20s', want linear, gated, delta or gated_delta",
                          qonnx_node_string(n, "update_rule", ""));
    if ((r->decay && !qonnx_node_input(n, DECAY)) || (r->delta && !qonnx_node_input(n, BETA)))
        return qonnx_fail(cx, n, "input %d is left out, but update_rule '%s' needs it",
                          r->decay && !qonnx_node_input(n, DECAY) ? DECAY : BETA, r->name);
    if (!check_rank(cx, n, PAST, 4, 4)) return false;
    for (int i = 0; i < 4; i++)
        if (!check_dim(cx, n, PAST, i, past[i])) return false;
    for (int i = KEY; i <= BETA; i++)
        if (i != PAST && (!check_rank(cx, n, i, 3, 3) || !check_dim(cx, n, i, 0, z->batch) ||
                          !check_dim(cx, n, i, 1, z->steps)))
            return false;
    return (!d || d->dim[2] == z->heads ||
            check_dim(cx, n, DECAY, 2, open_times(z->heads, z->k_size))) &&
           (!b || b->dim[2] == 1 || check_dim(cx, n, BETA, 2, z->heads));
}

static bool linear_shape(Ctx *cx, Node *n)
{
    Linear z;
    DType t = in_dtype(n, QUERY);
    if (!linear_sizes(cx, n, &z) || !linear_check(cx, n, &z)) return false;
    if (!in_shape(n, QUERY)) return out_shape(cx, n, 0, t, NULL);
    int64_t heads = z.q_heads > z.heads ? z.q_heads : z.heads;
    const Shape y = {.rank = 3, .dim = {z.batch, z.steps, open_times(heads, z.v_size)}};
    const Shape state = {.rank = 4, .dim = {z.batch, z.heads, z.k_size, z.v_size}};
    return out_shape(cx, n, 0, t, &y) && out_shape(cx, n, 1, t, &state);
}

static bool linear_takes(Why *why, const Node *n)
{
    if (qonnx_node_int(n, "state_window", 0))
        return why_not(why, "a state_window, this library runs 0 only");
    return takes_floats(why, n);
}

static bool linear_lower(Lower *l, Node *n)
{
    Linear z;
    if (!linear_sizes(l->cx, n, &z)) return false;
    const Shape *d = in_shape(n, DECAY), *b = in_shape(n, BETA);
    const Rule *r = rule_of(n);
    float scale = qonnx_node_float(n, "scale", 0);
    f_linear_attention_p p = {.batch = (int32_t)z.batch,
                              .steps = (int32_t)z.steps,
                              .q_heads = (int32_t)z.q_heads,
                              .heads = (int32_t)z.heads,
                              .k_size = (int32_t)z.k_size,
                              .v_size = (int32_t)z.v_size,
                              .decays = (int32_t)(d ? d->dim[2] : z.heads),
                              .betas = (int32_t)(b ? b->dim[2] : 1),
                              .delta = r->delta,
                              .scale = scale != 0 ? scale : 1 / sqrtf((float)z.k_size)};
    size_t state = (size_t)(z.batch * z.heads * z.k_size * z.v_size) * sizeof(float);
    Buf *in[6], *out[3] = {lower_out(l, n->out[0], PLAIN),
                           out_used(n, 1) ? lower_out(l, n->out[1], PLAIN) : lower_temp(l, state),
                           lower_temp(l, (size_t)z.v_size * sizeof(float))};
    for (int i = 0; i < 6; i++) in[i] = lower_in(l, n, i, PLAIN);
    if (!r->decay) in[DECAY] = NULL;
    if (!r->delta) in[BETA] = NULL;
    lower_call_n(l, n, "f_linear_attention", &p, in, 6, out, 3);
    return true;
}

/* For each step and head of keys the decay, a product, the update; for one of queries a product. */
static int64_t linear_work(const Node *n)
{
    const Shape *k = in_shape(n, KEY), *v = in_shape(n, VALUE);
    int64_t heads = qonnx_node_int(n, "kv_num_heads", 0), q = qonnx_node_int(n, "q_num_heads", 0);
    int64_t count = shape_open_elements(k);
    if (count < 0 || !v || v->rank != 3 || heads < 1 || q < 1 || q > INT32_MAX) return -1;
    int64_t size = v->dim[2] < 0 ? 1 : v->dim[2] / heads;
    return count_work(count_work(count, size), 4 + q / heads);
}

/* ---- CausalConvWithState --------------------------------------------------------------------- */

enum { INPUT, WEIGHTS, BIAS, STATE };

/* Its sizes, -1 where open. */
typedef struct Causal {
    int64_t batch, channels, steps, taps, dilation;
    int64_t before; /* steps of the state */
    bool last;      /* channels are the last axis of input, output and states */
} Causal;

static bool causal_sizes(Ctx *cx, const Node *n, Causal *z)
{
    const Shape *x = in_shape(n, INPUT), *w = in_shape(n, WEIGHTS);
    *z = (Causal){.dilation = qonnx_node_int(n, "dilation", 1),
                  .last = qonnx_node_int(n, "channels_last", 0) != 0};
    if (z->dilation < 1 || z->dilation > INT32_MAX)
        return qonnx_fail(cx, n, "dilation is %lld, want 1 or more", (long long)z->dilation);
    if (!check_rank(cx, n, INPUT, 3, 3) || !check_rank(cx, n, WEIGHTS, 3, 3) ||
        !check_rank(cx, n, BIAS, 1, 1) || !check_rank(cx, n, STATE, 3, 3))
        return false;
    z->batch = x ? x->dim[0] : -1;
    z->channels = x ? x->dim[1 + z->last] : -1;
    z->steps = x ? x->dim[2 - z->last] : -1;
    z->taps = w ? w->dim[2] : -1;
    if (z->taps == 0) return qonnx_fail(cx, n, "weights of no elements");
    if (z->taps > INT32_MAX / z->dilation)
        return qonnx_fail(cx, n, "%lld taps, %lld apart, are too many", (long long)z->taps,
                          (long long)z->dilation);
    z->before = z->taps < 0 ? -1 : (z->taps - 1) * z->dilation;
    return true;
}

/* Shape of something of so many steps. */
static Shape causal_result(const Causal *z, int64_t steps)
{
    return (Shape){.rank = 3,
                   .dim = {z->batch, z->last ? steps : z->channels, z->last ? z->channels : steps}};
}

static bool causal_shape(Ctx *cx, Node *n)
{
    Causal z;
    DType t = in_dtype(n, INPUT);
    if (!causal_sizes(cx, n, &z)) return false;
    const Shape state = causal_result(&z, z.before);
    if (!check_dim(cx, n, WEIGHTS, 0, z.channels) || !check_dim(cx, n, WEIGHTS, 1, 1) ||
        !check_dim(cx, n, BIAS, 0, z.channels))
        return false;
    for (int i = 0; i < 3; i++)
        if (!check_dim(cx, n, STATE, i, state.dim[i])) return false;
    return same_shape(cx, n) && out_shape(cx, n, 1, t, in_shape(n, INPUT) ? &state : NULL);
}

static bool causal_takes(Why *why, const Node *n)
{
    static const struct Only {
        const char *name;
        int value;
    } only[] = {{"ndim", 1},          {"state_window", 0},         {"state_update_capacity", 0},
                {"state_length", 0},  {"state_channels_last", -1}, {"input_channel_offset", 0},
                {"input_channels", 0}};
    const char *act = qonnx_node_string(n, "activation", "none");
    for (size_t i = 0; i < sizeof only / sizeof *only; i++)
        if (qonnx_node_int(n, only[i].name, only[i].value) != only[i].value)
            return why_not(why, "%s %lld, this library runs %d only", only[i].name,
                           (long long)qonnx_node_int(n, only[i].name, 0), only[i].value);
    if (strcmp(act, "none") && strcmp(act, "silu") && strcmp(act, "swish"))
        return why_not(why, "activation is '%.20s', want none, silu or swish", act);
    return takes_floats(why, n);
}

/* Copies `steps` steps of all channels from step `at` on between a tensor of the operator and
 * `rows`, which is [batch][channel][`length`]; `back`: from there. */
static void causal_copy(Lower *l, Node *n, const Causal *z, Buf *x, int64_t steps, Buf *rows,
                        int64_t length, int64_t at, bool back)
{
    const int64_t dims[3] = {z->batch, z->channels, steps};
    const int64_t own[3] = {z->channels * steps, z->last ? 1 : steps, z->last ? z->channels : 1};
    const int64_t other[3] = {z->channels * length, length, 1};
    if (!x || !x->bytes) return;
    if (back) lower_copy(l, n, 3, dims, rows, other, at, x, own, 0, sizeof(float));
    else lower_copy(l, n, 3, dims, x, own, 0, rows, other, at, sizeof(float));
}

/* The steps before, which are 0 where they are not given, and the input behind them. */
static Buf *causal_rows(Lower *l, Node *n, const Causal *z)
{
    const int64_t length = z->before + z->steps, dims[2] = {z->batch * z->channels, z->before};
    Buf *rows = lower_temp(l, (size_t)(z->batch * z->channels * length) * sizeof(float));
    if (qonnx_node_input(n, STATE))
        causal_copy(l, n, z, lower_in(l, n, STATE, PLAIN), z->before, rows, length, 0, false);
    else if (z->before && rows->bytes)
        lower_copy(l, n, 2, dims, lower_number(l, QONNX_FLOAT, 0), (int64_t[]){0, 0}, 0, rows,
                   (int64_t[]){length, 1}, 0, sizeof(float));
    causal_copy(l, n, z, lower_in(l, n, INPUT, PLAIN), z->steps, rows, length, z->before, false);
    return rows;
}

static bool causal_lower(Lower *l, Node *n)
{
    Causal z;
    if (!causal_sizes(l->cx, n, &z)) return false;
    const int64_t length = z.before + z.steps;
    if (!attend_fits(l->cx, n, "steps", (int64_t[]){1, z.batch, z.channels, length})) return false;
    f_causal_conv_p p = {(int32_t)z.batch, (int32_t)z.channels, (int32_t)z.steps, (int32_t)z.taps,
                         (int32_t)z.dilation};
    Buf *out = lower_out(l, n->out[0], PLAIN), *rows = causal_rows(l, n, &z);
    bool acts = strcmp(qonnx_node_string(n, "activation", "none"), "none") != 0;
    Buf *y = z.last || acts ? lower_temp(l, out->bytes) : out;
    Buf *in[3] = {rows, lower_in(l, n, WEIGHTS, PLAIN), lower_in(l, n, BIAS, PLAIN)};
    lower_call(l, n, "f_causal_conv", &p, in, 3, y);
    if (acts) {
        f_unary_p u = {.op = F_SWISH,
                       .count = (int32_t)(out->bytes / sizeof(float)),
                       .alpha = 1,
                       .lo = -INFINITY,
                       .hi = INFINITY};
        Buf *x = y;
        y = z.last ? lower_temp(l, out->bytes) : out;
        lower_call(l, n, "f_unary", &u, &x, 1, y);
    }
    if (z.last) causal_copy(l, n, &z, out, z.steps, y, z.steps, 0, true);
    if (out_used(n, 1))
        causal_copy(l, n, &z, lower_out(l, n->out[1], PLAIN), z.before, rows, length, z.steps,
                    true);
    return true;
}

static int64_t causal_macs(const Node *n)
{
    const Shape *w = in_shape(n, WEIGHTS);
    if (!w || w->rank != 3) return -1;
    return count_work(shape_open_elements(in_shape(n, INPUT)), w->dim[2] < 0 ? 1 : w->dim[2]);
}

static int64_t causal_work(const Node *n)
{
    const char *act = qonnx_node_string(n, "activation", "none");
    return count_work(shape_open_elements(in_shape(n, INPUT)), strcmp(act, "none") ? 64 : 4);
}

#define LINEAR(dom)                                                                                \
    {"LinearAttention",                                                                            \
     3,                                                                                            \
     6,                                                                                            \
     linear_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     linear_lower,                                                                                 \
     .takes = linear_takes,                                                                        \
     .work = linear_work,                                                                          \
     .domain = dom}
#define CAUSAL(dom)                                                                                \
    {"CausalConvWithState",                                                                        \
     2,                                                                                            \
     4,                                                                                            \
     causal_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     causal_lower,                                                                                 \
     causal_macs,                                                                                  \
     .takes = causal_takes,                                                                        \
     .work = causal_work,                                                                          \
     .domain = dom}

const Op ops_state[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"TensorScatter", 2, 3, scatter_shape, RULE_FLOAT, NULL, scatter_lower, .takes = scatter_takes},
    LINEAR(NULL),
    LINEAR("com.microsoft"),
    CAUSAL(NULL),
    CAUSAL("com.microsoft"),
    {0},
};
