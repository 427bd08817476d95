/* ops/gelu.c - com.microsoft's activations, with a bias that is added before, and BiasSoftmax;
 * SwiGLU. */
#include "ops/broadcast.h"
#include <math.h>
#include <string.h>

/* What an operator computes of x + bias. */
typedef struct Biased {
    const char *name;
    int code;    /* of kernels/unary_rows.h */
    float alpha; /* where the attribute is left out */
} Biased;

static const Biased biased[] = {
    {"Gelu", F_GELU, 0},
    {"BiasGelu", F_GELU, 0},
    {"FastGelu", F_GELU_TANH, 0},
    {"QuickGelu", F_SWISH, 1.702f},
};

/* A bias is a row of the input's last axis. */
static bool biased_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    if (!check_rank(cx, n, 1, 1, 1)) return false;
    if (x && in_shape(n, 1) && !x->rank)
        return qonnx_fail(cx, n, "input 0 has rank 0, want 1 or more");
    return (!x || check_dim(cx, n, 1, 0, x->rank ? x->dim[x->rank - 1] : -1)) && same_shape(cx, n);
}

/* x + bias, both plain; x where there is no bias. */
static Buf *sum_of(Lower *l, Node *n)
{
    Operand x[2] = {operand(l, n, 0, PLAIN)};
    Walk w;
    if (!qonnx_node_input(n, 1)) return lower_in(l, n, 0, PLAIN);
    x[1] = operand(l, n, 1, PLAIN);
    walk_make(l, n, PLAIN, x, 2, (int[]){sizeof(float), sizeof(float)}, &w);
    Buf *y = lower_temp(l, (size_t)shape_elements(in_shape(n, 0)) * sizeof(float));
    arithmetic_walk(l, n, F_ADD, QONNX_FLOAT, &w, x[0].buf, x[1].buf, y);
    return y;
}

static bool biased_lower(Lower *l, Node *n)
{
    const Biased *b = biased;
    while (strcmp(b->name, n->op)) b++;
    f_unary_p p = {.op = b->code,
                   .count = (int32_t)shape_elements(in_shape(n, 0)),
                   .alpha = qonnx_node_float(n, "alpha", b->alpha),
                   .lo = -INFINITY,
                   .hi = INFINITY};
    Buf *x = sum_of(l, n);
    lower_call(l, n, "f_unary", &p, &x, 1, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- BiasSoftmax ----------------------------------------------------------------------------- */

/* The softmax goes over all axes from `axis` on; the bias is of those and of some in front, the
 * others being 1 where it is repeated over inner axes, and left out where over outer ones. */
static bool softmax_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *bias = in_shape(n, 1);
    int axis;
    if (!x) return same_shape(cx, n);
    if (!check_axis(cx, n, qonnx_node_int(n, "axis", 1), x->rank, &axis)) return false;
    if (bias && bias->rank > x->rank)
        return qonnx_fail(cx, n, "a bias of rank %d for an input of rank %d", bias->rank, x->rank);
    for (int i = 1; bias && i <= bias->rank; i++) {
        int64_t d = bias->dim[bias->rank - i], to = x->dim[x->rank - i];
        if (d != 1 && !sizes_agree(d, to))
            return qonnx_fail(cx, n, "axis %d of the bias has size %lld, want 1 or %lld",
                              bias->rank - i, (long long)d, (long long)to);
    }
    return same_shape(cx, n);
}

static bool softmax_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    int axis;
    if (!check_axis(l->cx, n, qonnx_node_int(n, "axis", 1), x->rank, &axis)) return false;
    f_softmax_p p = {(int32_t)shape_product(x, 0, axis), (int32_t)shape_product(x, axis, x->rank),
                     1, 0};
    Buf *sum = sum_of(l, n);
    lower_call(l, n, "f_softmax", &p, &sum, 1, lower_out(l, n->out[0], PLAIN));
    return true;
}

/* ---- SwiGLU ---------------------------------------------------------------------------------- */

static bool swiglu_shape(Ctx *cx, Node *n)
{
    const Shape *a = in_shape(n, 0);
    if (!a || !in_shape(n, 1)) return same_shape(cx, n);
    if (!check_rank(cx, n, 1, a->rank, a->rank)) return false;
    for (int i = 0; i < a->rank; i++)
        if (!check_dim(cx, n, 1, i, a->dim[i])) return false;
    return same_shape(cx, n);
}

/* a * sigmoid(alpha * a) * b. */
static bool swiglu_lower(Lower *l, Node *n)
{
    Layout at = lower_result_layout(l, n);
    int64_t count = shape_elements(in_shape(n, 0));
    f_unary_p p = {.op = F_SWISH,
                   .count = (int32_t)count,
                   .alpha = qonnx_node_float(n, "alpha", 1),
                   .lo = -INFINITY,
                   .hi = INFINITY};
    Buf *x = lower_in(l, n, 0, at), *y = lower_temp(l, (size_t)count * sizeof(float));
    lower_call(l, n, "f_unary", &p, &x, 1, y);
    y = arithmetic(l, n, F_MUL, QONNX_FLOAT, count, y, lower_in(l, n, 1, at));
    lower_view(l, n->out[0], y, at);
    return true;
}

/* A function of each element, as measured for ops/unary.c. */
static int64_t function_work(const Node *n)
{
    int64_t count = shape_open_elements(in_shape(n, 0));
    return count_work(count, 64);
}

#define MICROSOFT(name, least, most, kind)                                                         \
    {name,                                                                                         \
     least,                                                                                        \
     most,                                                                                         \
     kind##_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     kind##_lower,                                                                                 \
     .takes = takes_floats,                                                                        \
     .work = function_work,                                                                        \
     .domain = "com.microsoft"}

const Op ops_gelu[] = {
    /* name  inputs  functions */
    MICROSOFT("Gelu", 1, 1, biased),
    MICROSOFT("BiasGelu", 2, 2, biased),
    MICROSOFT("FastGelu", 1, 2, biased),
    MICROSOFT("QuickGelu", 1, 1, biased),
    MICROSOFT("BiasSoftmax", 2, 2, softmax),
    {"SwiGLU", 2, 2, swiglu_shape, RULE_FLOAT, NULL, swiglu_lower, .takes = takes_floats,
     .work = function_work},
    {0},
};
