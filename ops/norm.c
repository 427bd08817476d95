/* ops/norm.c - BatchNormalization. */
#include "kernels/batch_norm.h"
#include "lower/lower.h"
#include <math.h>

/* Of an input of one axis, which is a batch, there is one channel. */
static int64_t bn_channels(const Shape *x) { return x->rank > 1 ? x->dim[1] : 1; }

static bool bn_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int64_t channels = x ? bn_channels(x) : -1;
    if (x && !x->rank) return qonnx_fail(cx, n, "input of rank 0, want 1 or more");
    for (int i = 1; i < 5; i++) {
        const Shape *s = in_shape(n, i);
        if (s && s->rank != 1) return qonnx_fail(cx, n, "input %d has rank %d, want 1", i, s->rank);
        if (s && s->dim[0] >= 0 && channels >= 0 && s->dim[0] != channels)
            return qonnx_fail(cx, n, "input %d has %lld elements for %lld channels", i,
                              (long long)s->dim[0], (long long)channels);
    }
    Shape s = shape_make(1, &channels);
    return out_shape(cx, n, 1, in_dtype(n, 3), &s) && out_shape(cx, n, 2, in_dtype(n, 4), &s) &&
           same_shape(cx, n);
}

/* y = x * f + (bias - mean * f), f being scale / sqrt(var + eps). Here f and what is added, where
 * they are constant: in double, once. */
static void constant_factors(Lower *l, Node *n, int64_t channels, Buf **f_out, Buf **shift_out)
{
    double eps = (double)qonnx_node_float(n, "epsilon", 1e-5f);
    float *scale = lower_array(l, (size_t)channels, 4),
          *shift = lower_array(l, (size_t)channels, 4);
    for (int64_t c = 0; c < channels; c++) {
        double f =
            qonnx_tensor_get(n->in[1]->data, c) / sqrt(qonnx_tensor_get(n->in[4]->data, c) + eps);
        scale[c] = (float)f;
        shift[c] =
            (float)(qonnx_tensor_get(n->in[2]->data, c) - f * qonnx_tensor_get(n->in[3]->data, c));
    }
    *f_out = lower_const(l, scale, (size_t)channels * 4);
    *shift_out = lower_const(l, shift, (size_t)channels * 4);
}

/* The same where some are not constant: in float, in every run. */
static void computed_factors(Lower *l, Node *n, int64_t channels, Buf **f, Buf **shift)
{
    Buf *in[5];
    for (int i = 1; i < 5; i++) in[i] = lower_in(l, n, i, PLAIN);
    float *eps = lower_alloc(l, sizeof *eps);
    *eps = qonnx_node_float(n, "epsilon", 1e-5f);
    f_unary_p root = {F_SQRT, (int32_t)channels, 0, 0, -INFINITY, INFINITY};
    Buf *var =
        arithmetic(l, n, F_ADD, QONNX_FLOAT, channels, in[4], lower_const(l, eps, sizeof *eps));
    Buf *deviation = lower_temp(l, var->bytes);
    lower_call(l, n, "f_unary", &root, (Buf *[]){var}, 1, deviation);
    *f = arithmetic(l, n, F_DIV, QONNX_FLOAT, channels, in[1], deviation);
    Buf *mean = arithmetic(l, n, F_MUL, QONNX_FLOAT, channels, in[3], *f);
    *shift = arithmetic(l, n, F_SUB, QONNX_FLOAT, channels, in[2], mean);
}

/* Whether scale, bias, mean and variance are. */
static bool constant_parameters(const Node *n)
{
    for (int i = 1; i < 5; i++)
        if (!qonnx_node_input(n, i) || !n->in[i]->data) return false;
    return true;
}

static bool bn_trains(const Node *n) { return qonnx_node_int(n, "training_mode", 0) != 0; }

/* Whether it is worked out in double, by a kernel of its own. */
static bool bn_wide(const Node *n) { return bn_trains(n) || in_dtype(n, 0) == QONNX_DOUBLE; }

static bool bn_takes(Why *why, const Node *n)
{
    if (!bn_wide(n))
        return constant_parameters(n) ? takes_float_data(why, n) : takes_floats(why, n);
    for (int i = 1; i < 5; i++)
        if (in_dtype(n, 0) && !takes_type(why, n, i, in_dtype(n, 0))) return false;
    return takes_types(why, n, 0, 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE);
}

static bool bn_lower_wide(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    batch_norm_p p = {.outer = (int32_t)x->dim[0],
                      .channels = (int32_t)bn_channels(x),
                      .inner = (int32_t)shape_product(x, x->rank > 1 ? 2 : 1, x->rank),
                      .type = (int32_t)in_dtype(n, 0),
                      .trains = bn_trains(n),
                      .epsilon = qonnx_node_float(n, "epsilon", 1e-5f),
                      .momentum = qonnx_node_float(n, "momentum", 0.9f)};
    Buf *in[5], *out[3] = {NULL};
    for (int i = 0; i < 5; i++) in[i] = lower_in(l, n, i, PLAIN);
    for (int i = 1; i < 3 && p.trains; i++)
        if (out_used(n, i)) out[i] = lower_out(l, n->out[i], PLAIN);
    out[0] = lower_out(l, n->out[0], PLAIN);
    lower_call_n(l, n, "batch_norm", &p, in, 5, out, 3);
    return true;
}

/* Elements are read three times in training, added in double one after the other. */
static int64_t bn_work(const Node *n)
{
    return bn_wide(n) ? count_work(shape_open_elements(in_shape(n, 0)), 128) : 0;
}

static bool bn_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    bool constant = constant_parameters(n);
    if (bn_wide(n)) return bn_lower_wide(l, n);
    Buf *f, *shift;
    (constant ? constant_factors : computed_factors)(l, n, bn_channels(x), &f, &shift);
    Layout at = lower_layout(l, n, 0);
    int32_t pixels = 1;
    for (int i = 2; i < x->rank; i++) pixels *= (int32_t)x->dim[i];
    bool last = at == LAST && x->rank > 2;
    f_affine_p p = {last ? (int32_t)x->dim[0] * pixels : (int32_t)x->dim[0],
                    (int32_t)bn_channels(x), last ? 1 : pixels, 0, 0};
    Value *y = lower_fused(l, n, &p.lo, &p.hi);
    lower_call(l, n, "f_affine", &p, (Buf *[]){lower_in(l, n, 0, at), f, shift}, 3,
               lower_out(l, y, at));
    return true;
}

const Op ops_norm[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"BatchNormalization", 5, 5, bn_shape, RULE_FLOAT, NULL, bn_lower, .takes = bn_takes,
     .work = bn_work},
    {0},
};
