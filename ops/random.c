/* ops/random.c - random numbers: RandomUniform, RandomNormal, what is like a tensor of them,
 * Bernoulli, Multinomial, and Dropout where it trains. They are the same in every run: those of the
 * attribute seed, or, without one, those of the name of the node's output.
 */
#include "ops/random.h"
#include "ir/size.h"
#include "kernels/randoms.h"
#include "lower/lower.h"
#include <string.h>

uint64_t random_seed_of(const Node *n)
{
    uint64_t seed = 0xcbf29ce484222325u; /* FNV-1a */
    float x = qonnx_node_float(n, "seed", 0);
    if (qonnx_node_has(n, "seed")) {
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        return bits ^ (uint64_t)qonnx_node_int(n, "seed", 0);
    }
    const Value *y = qonnx_node_output(n, 0) ? n->out[0] : qonnx_node_output(n, 1);
    for (const char *c = y ? y->name : ""; *c; c++) seed = (seed ^ (uint8_t)*c) * 0x100000001b3u;
    return seed;
}

static DType type_of(const Node *n)
{
    DType dflt = n->nin ? in_dtype(n, 0) : QONNX_FLOAT;
    if (qonnx_node_is(n, "Multinomial")) dflt = QONNX_INT32;
    return (DType)qonnx_node_int(n, "dtype", dflt);
}

/* ---- RandomUniform, RandomNormal, Bernoulli -------------------------------------------------- */

static int form_of(const Node *n)
{
    if (qonnx_node_is(n, "Bernoulli")) return RANDOM_BERNOULLI;
    return !strncmp(n->op, "RandomNormal", 12) ? RANDOM_NORMAL : RANDOM_UNIFORM;
}

static bool random_shape(Ctx *cx, Node *n)
{
    const int64_t *dims;
    if (n->nin) return out_shape(cx, n, 0, type_of(n), in_shape(n, 0));
    int rank = qonnx_node_ints(n, "shape", &dims);
    if (!dims) return qonnx_fail(cx, n, "attribute shape is missing");
    if (rank > QONNX_MAX_RANK)
        return qonnx_fail(cx, n, "shape has %d axes, at most %d", rank, QONNX_MAX_RANK);
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0)
            return qonnx_fail(cx, n, "shape holds %lld, want 0 or more", (long long)dims[i]);
    Shape y = shape_make(rank, dims);
    return out_shape(cx, n, 0, type_of(n), &y);
}

static bool random_takes(Why *why, const Node *n)
{
    bool odds = form_of(n) == RANDOM_BERNOULLI;
    DType t = type_of(n);
    if (odds && !takes_types(why, n, 0, FLOATS)) return false;
    return !t || has_type(odds ? NUMBERS | BOOL : FLOATS, t) ||
           why_not(why, "dtype %s", qonnx_dtype_name(t));
}

static bool random_lower(Lower *l, Node *n)
{
    uint64_t seed = random_seed_of(n);
    int form = form_of(n);
    bool normal = form == RANDOM_NORMAL;
    random_numbers_p p = {.count = (int32_t)shape_elements(&n->out[0]->shape),
                          .form = form,
                          .seed = (int32_t)(uint32_t)seed,
                          .seed_high = (int32_t)(uint32_t)(seed >> 32),
                          .type = (int32_t)type_of(n),
                          .x_type = n->nin ? (int32_t)in_dtype(n, 0) : 0,
                          .a = qonnx_node_float(n, normal ? "mean" : "low", 0),
                          .b = qonnx_node_float(n, normal ? "scale" : "high", 1)};
    Buf *x = form == RANDOM_BERNOULLI ? lower_in(l, n, 0, PLAIN) : NULL;
    lower_call(l, n, "random_numbers", &p, &x, 1, lower_out(l, n->out[0], PLAIN));
    return true;
}

static int64_t random_work(const Node *n)
{
    int64_t count = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    return count_work(count, form_of(n) == RANDOM_NORMAL ? 2048 : 128);
}

bool always_random(const Node *n)
{
    (void)n;
    return true;
}

/* ---- Multinomial ----------------------------------------------------------------------------- */

static int64_t sample_size(const Node *n) { return qonnx_node_int(n, "sample_size", 1); }

static bool multinomial_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!check_rank(cx, n, 0, 2, 2)) return false;
    if (sample_size(n) < 1)
        return qonnx_fail(cx, n, "sample_size is %lld, want 1 or more", (long long)sample_size(n));
    if (x && x->dim[1] == 0) return qonnx_fail(cx, n, "an input without classes");
    Shape y = {.rank = 2, .dim = {x ? x->dim[0] : -1, sample_size(n)}};
    if (x) y.sym[0] = x->sym[0];
    return out_shape(cx, n, 0, type_of(n), &y);
}

static bool multinomial_takes(Why *why, const Node *n)
{
    DType t = type_of(n);
    return takes_types(why, n, 0, FLOATS) && (t == QONNX_INT32 || t == QONNX_INT64 ||
                                              why_not(why, "dtype %s", qonnx_dtype_name(t)));
}

static bool multinomial_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    uint64_t seed = random_seed_of(n);
    multinomial_p p = {.batch = (int32_t)x->dim[0],
                       .classes = (int32_t)x->dim[1],
                       .count = (int32_t)sample_size(n),
                       .seed = (int32_t)(uint32_t)seed,
                       .seed_high = (int32_t)(uint32_t)(seed >> 32),
                       .type = (int32_t)in_dtype(n, 0),
                       .y_type = (int32_t)type_of(n)};
    Buf *in = lower_in(l, n, 0, PLAIN);
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN),
                   lower_temp(l, (size_t)x->dim[1] * sizeof(double))};
    lower_call_n(l, n, "multinomial", &p, &in, 1, out, 2);
    return true;
}

/* Classes are functions, samples are looked for. */
static int64_t multinomial_work(const Node *n)
{
    int64_t classes = count_work(shape_open_elements(in_shape(n, 0)), 1024);
    int64_t count = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    return classes < 0 || count < 0 ? -1 : size_plus(classes, size_times(count, 2048));
}

/* ---- Dropout --------------------------------------------------------------------------------- */

enum { DROPOUT_X, DROPOUT_RATIO, DROPOUT_TRAINS };

static bool dropout_shape(Ctx *cx, Node *n)
{
    static const char *const names[] = {"x", "ratio", "training_mode"};
    for (int i = DROPOUT_RATIO; i <= DROPOUT_TRAINS; i++) {
        const Shape *s = in_shape(n, i);
        if (s && shape_known(s) && shape_elements(s) != 1)
            return qonnx_fail(cx, n, "%s has %lld elements, want one", names[i],
                              (long long)shape_elements(s));
    }
    return out_shape(cx, n, 1, QONNX_BOOL, in_shape(n, 0)) && same_shape(cx, n);
}

static bool is_zero(const Value *v)
{
    const Tensor *t = v ? v->data : NULL;
    return t && t->data && tensor_count(t) == 1 && qonnx_tensor_get(t, 0) == 0;
}

/* Whether nothing is dropped: it does not train, or it drops none. */
static bool drops_none(const Node *n)
{
    const Value *trains = qonnx_node_input(n, DROPOUT_TRAINS);
    return !trains || is_zero(trains) || is_zero(qonnx_node_input(n, DROPOUT_RATIO));
}

static bool dropout_random(const Node *n) { return !drops_none(n); }

static bool dropout_takes(Why *why, const Node *n)
{
    return drops_none(n) || (takes_types(why, n, DROPOUT_X, FLOATS) &&
                             takes_types(why, n, DROPOUT_RATIO, FLOATS) &&
                             takes_type(why, n, DROPOUT_TRAINS, QONNX_BOOL));
}

static bool dropout_lower(Lower *l, Node *n)
{
    static const uint8_t kept = 1;
    Layout at = drops_none(n) ? lower_layout(l, n, 0) : PLAIN;
    Value *mask = out_used(n, 1) ? n->out[1] : NULL, *y = qonnx_node_output(n, 0);
    int64_t count = shape_elements(in_shape(n, 0));
    uint64_t seed = random_seed_of(n);
    if (drops_none(n)) {
        if (mask)
            lower_copy(l, n, 1, &count, lower_const(l, &kept, 1), (int64_t[]){0}, 0,
                       lower_out(l, mask, PLAIN), (int64_t[]){1}, 0, 1);
        if (y) lower_view(l, y, lower_in(l, n, 0, at), at);
        return true;
    }
    Buf *in[3] = {lower_in(l, n, DROPOUT_X, PLAIN), lower_in(l, n, DROPOUT_RATIO, PLAIN),
                  lower_in(l, n, DROPOUT_TRAINS, PLAIN)};
    dropout_p p = {.count = (int32_t)count,
                   .seed = (int32_t)(uint32_t)seed,
                   .seed_high = (int32_t)(uint32_t)(seed >> 32),
                   .type = (int32_t)in_dtype(n, 0),
                   .ratio_type = in[1] ? (int32_t)in_dtype(n, DROPOUT_RATIO) : 0};
    Buf *out[2] = {y ? lower_out(l, y, PLAIN) : lower_temp(l, in[0]->bytes),
                   mask ? lower_out(l, mask, PLAIN) : NULL};
    lower_call_n(l, n, "dropout", &p, in, 3, out, 2);
    return true;
}

static int64_t dropout_work(const Node *n)
{
    return drops_none(n) ? 0 : count_work(shape_open_elements(in_shape(n, 0)), 192);
}

#define RANDOM_OP(op, nin)                                                                         \
    {op,                                                                                           \
     nin,                                                                                          \
     nin,                                                                                          \
     random_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     random_lower,                                                                                 \
     .takes = random_takes,                                                                        \
     .work = random_work,                                                                          \
     .random = always_random}

const Op ops_random[] = {
    RANDOM_OP("RandomUniform", 0),
    RANDOM_OP("RandomNormal", 0),
    RANDOM_OP("RandomUniformLike", 1),
    RANDOM_OP("RandomNormalLike", 1),
    RANDOM_OP("Bernoulli", 1),
    {"Multinomial", 1, 1, multinomial_shape, RULE_FLOAT, NULL, multinomial_lower,
     .takes = multinomial_takes, .work = multinomial_work, .random = always_random},
    {"Dropout", 1, 3, dropout_shape, RULE_FLOAT, NULL, dropout_lower, .takes = dropout_takes,
     .work = dropout_work, .random = dropout_random},
    {0},
};
