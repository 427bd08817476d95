/* passes/fold_batchnorm.c - BatchNormalization behind Conv, ConvTranspose, Gemm and MatMul vanishes
 * into weights and bias, and so do Mul, Div and Sub with one constant a channel: all of them are
 * y * scale + shift a channel. Computed in double, rounded to float once. What would not be finite
 * is left alone, with a warning.
 */
#include <qonnx/qonnx.h>
#include "channels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A weighted node that may take in what follows it. */
typedef struct Layer {
    qonnx_node *node;
    const qonnx_tensor *weight; /* of input 1 */
    const qonnx_tensor *bias;   /* of input 2; NULL: it has none */
    Channels out;               /* of the output */
    /* Element i of the weight belongs to channel i / inner % width + i / (inner * width * rows) *
     * width: `width` channels apart by `inner`, in as many groups of `rows` as there are. */
    int64_t inner, width, rows;
} Layer;

/* y * scale + shift, for each of a layer's channels. */
typedef struct Affine {
    double *scale, *shift; /* [channels] */
    bool shifts;           /* some shift is not 0 */
} Affine;

static void *need(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p) qonnx_out_of_memory();
    return p;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static bool conv_layer(Layer *l, bool transposed)
{
    const qonnx_tensor *w = l->weight;
    int64_t groups = qonnx_node_int(l->node, "group", 1);
    if (w->rank < 3 || groups < 1) return false;
    l->out.rank = w->rank;
    l->out.axis = 1;
    l->inner = 1;
    for (int i = 2; i < w->rank; i++) l->inner *= w->dims[i];
    l->width = w->dims[0];
    l->rows = 1;
    l->out.count = w->dims[0];
    if (!transposed) {
        l->inner *= w->dims[1];
        return true;
    }
    l->width = w->dims[1];
    l->rows = w->dims[0] / groups;
    return w->dims[0] % groups == 0 && !__builtin_mul_overflow(groups, w->dims[1], &l->out.count);
}

static bool matrix_layer(Layer *l, bool transposed)
{
    const qonnx_tensor *w = l->weight;
    if (w->rank != 2) return false;
    l->out.rank =
        qonnx_node_is(l->node, "Gemm") ? 2 : qonnx_value_rank(qonnx_node_input(l->node, 0));
    l->out.axis = l->out.rank - 1;
    l->inner = transposed ? w->dims[1] : 1;
    l->width = l->out.count = transposed ? w->dims[0] : w->dims[1];
    l->rows = transposed ? 1 : w->dims[0];
    return l->out.rank >= 2;
}

/* The layer that produces `y` for `user` alone. */
static bool find_layer(qonnx_value *y, const qonnx_node *user, Layer *l)
{
    *l = (Layer){.node = y ? qonnx_value_producer(y) : NULL};
    if (!l->node || qonnx_value_kept(y) || qonnx_value_only_user(y) != user ||
        qonnx_node_graph(l->node) != qonnx_node_graph(user) || !qonnx_node_input(l->node, 0))
        return false;
    l->weight = constant_of(qonnx_node_input(l->node, 1));
    l->bias = constant_of(qonnx_node_input(l->node, 2));
    if (!l->weight || qonnx_tensor_elements(l->weight) == 0) return false;
    if (qonnx_node_input(l->node, 2) && !l->bias) return false;

    bool ok = qonnx_node_is(l->node, "Conv")            ? conv_layer(l, false)
              : qonnx_node_is(l->node, "ConvTranspose") ? conv_layer(l, true)
              : qonnx_node_is(l->node, "Gemm")
                  ? matrix_layer(l, qonnx_node_int(l->node, "transB", 0) != 0)
                  : qonnx_node_is(l->node, "MatMul") && matrix_layer(l, false);
    return ok && (!l->bias || is_bias(l->node, l->bias, &l->out));
}

/* ---- what follows them ----------------------------------------------------------------------- */

static bool only_first_output(const qonnx_node *n)
{
    for (int i = 1; i < qonnx_node_outputs(n); i++) {
        const qonnx_value *v = qonnx_node_output(n, i);
        if (v && (qonnx_value_uses(v) > 0 || qonnx_value_is_output(v))) return false;
    }
    return true;
}

/* (y - mean) / sqrt(var + epsilon) * scale + B. */
static bool batchnorm_affine(const qonnx_node *n, const Layer *l, Affine *a)
{
    const qonnx_tensor *p[4];
    double epsilon = (double)qonnx_node_float(n, "epsilon", 1e-5f);
    if (l->out.axis != 1 || qonnx_node_int(n, "training_mode", 0) != 0 ||
        qonnx_node_int(n, "spatial", 1) == 0 || !only_first_output(n))
        return false;
    for (int i = 0; i < 4; i++) {
        p[i] = constant_of(qonnx_node_input(n, i + 1));
        if (!p[i] || p[i]->rank != 1 || p[i]->dims[0] != l->out.count) return false;
    }
    for (int64_t c = 0; c < l->out.count; c++) {
        double variance = qonnx_tensor_get(p[3], c) + epsilon;
        a->scale[c] = qonnx_tensor_get(p[0], c) / sqrt(variance);
        a->shift[c] = qonnx_tensor_get(p[1], c) - qonnx_tensor_get(p[2], c) * a->scale[c];
    }
    a->shifts = true;
    return true;
}

/* Mul, Div, Sub with a constant at input `side`. */
static bool arithmetic_affine(const qonnx_node *n, int side, const Layer *l, Affine *a)
{
    const qonnx_tensor *t = constant_of(qonnx_node_input(n, side));
    bool div = qonnx_node_is(n, "Div"), sub = qonnx_node_is(n, "Sub");
    if (!t || !is_per_channel(t, &l->out) || (div && side == 0)) return false;
    for (int64_t c = 0; c < l->out.count; c++) {
        double x = channel_value(t, c);
        a->scale[c] = sub ? (side == 0 ? -1 : 1) : div ? 1 / x : x;
        a->shift[c] = sub ? (side == 0 ? x : -x) : 0;
    }
    a->shifts = sub;
    return true;
}

/* ---- the fold -------------------------------------------------------------------------------- */

/* The channel of element i of the weight. */
static int64_t channel_of(const Layer *l, int64_t i)
{
    return i / l->inner % l->width + i / l->inner / l->width / l->rows * l->width;
}

/* Weight and bias of the layer with the affine map taken in; false when one of them, or of the map,
 * is not finite. */
static bool compute(const Layer *l, const Affine *a, float *weight, float *bias)
{
    float beta = qonnx_node_is(l->node, "Gemm") ? qonnx_node_float(l->node, "beta", 1) : 1;
    bool finite = true;
    for (int64_t i = 0; i < qonnx_tensor_elements(l->weight); i++) {
        int64_t c = channel_of(l, i);
        weight[i] = (float)(qonnx_tensor_get(l->weight, i) * a->scale[c]);
        finite &= isfinite(weight[i]) != 0;
    }
    for (int64_t c = 0; c < l->out.count; c++) {
        double old = l->bias ? (double)beta * channel_value(l->bias, c) : 0;
        bias[c] = (float)(old * a->scale[c] + a->shift[c]);
        finite &= isfinite(a->scale[c]) && isfinite(bias[c]);
    }
    return finite;
}

/* Gives the layer another constant at input i. Others that read the old one keep it. */
static void put_constant(const Layer *l, int i, const char *name, const qonnx_tensor *t)
{
    qonnx_value *old = qonnx_node_input(l->node, i);
    if (old && qonnx_value_only_user(old) == l->node) qonnx_value_set_constant(old, t);
    else
        qonnx_node_set_input(l->node, i,
                             qonnx_graph_add_constant(qonnx_node_graph(l->node), name, t));
}

/* ---- integers that the weight has already ---------------------------------------------------- */

/* Integers less their zero points, with the other sign where the channel's factor is negative;
 * false where one does not fit 8 bits. */
static bool turn_levels(const Layer *l, const Affine *a, const qonnx_kept *k, bool each,
                        int8_t *levels)
{
    for (int64_t i = 0; i < qonnx_tensor_elements(l->weight); i++) {
        int64_t c = channel_of(l, i);
        double zero = k->zero_points ? qonnx_tensor_get(k->zero_points, each ? c : 0) : 0;
        double level = qonnx_tensor_get(k->integers, i) - zero;
        if (a->scale[c] < 0) level = -level;
        if (!(level >= INT8_MIN && level <= INT8_MAX)) return false;
        levels[i] = (int8_t)level;
    }
    return true;
}

/* The weight's integers with scales that have the factors in them: the rounding that was done once
 * is not done again. False: it has none, or they lie otherwise. */
static bool scale_kept(const Layer *l, const Affine *a, int axis, qonnx_kept *to)
{
    const qonnx_kept *k = qonnx_value_kept(qonnx_node_input(l->node, 1));
    if (!k || !k->integers || k->block || l->width != l->out.count) return false;
    int64_t scales = qonnx_tensor_elements(k->scales), count = l->out.count;
    if (scales != 1 && (k->axis != axis || scales != count)) return false;
    qonnx_graph *g = qonnx_node_graph(l->node);
    const size_t bytes = (size_t)qonnx_tensor_elements(l->weight);
    int8_t *levels = qonnx_graph_alloc(g, bytes);
    float *factors = qonnx_graph_array(g, (size_t)count, sizeof *factors);
    qonnx_tensor *t = qonnx_graph_array(g, 2, sizeof *t);
    if (!turn_levels(l, a, k, scales != 1, levels)) return false;
    for (int64_t c = 0; c < count; c++)
        factors[c] = (float)(qonnx_tensor_get(k->scales, scales != 1 ? c : 0) * fabs(a->scale[c]));
    t[0] = *k->integers;
    t[0].dtype = QONNX_INT8;
    t[0].data = levels;
    t[0].bytes = bytes;
    t[1] = (qonnx_tensor){QONNX_FLOAT, 1, {count}, factors, (size_t)count * sizeof *factors};
    *to = (qonnx_kept){.dtype = QONNX_INT8,
                       .scales = &t[1],
                       .integers = &t[0],
                       .axis = axis,
                       .name = k->name,
                       .always = true};
    return true;
}

static void put_weights(const Layer *l, const Affine *a, const float *weight, const float *bias)
{
    qonnx_tensor w = *l->weight, b = {.dtype = QONNX_FLOAT, .rank = 1, .dims = {l->out.count}};
    qonnx_kept kept;
    bool keeps = scale_kept(l, a, qonnx_node_rule(l->node).weight_axis, &kept);
    w.data = weight;
    put_constant(l, 1, qonnx_value_name(qonnx_node_input(l->node, 1)), &w);
    if (keeps) qonnx_value_keep(qonnx_node_input(l->node, 1), &kept);
    if (!bias) return;

    const char *base = qonnx_node_name(l->node);
    if (*base == '\0') base = qonnx_value_name(qonnx_node_output(l->node, 0));
    size_t size = strlen(base) + sizeof "_bias";
    char *name = need(size, 1);
    snprintf(name, size, "%s_bias", base);
    b.data = bias;
    b.bytes = (size_t)l->out.count * sizeof *bias;
    put_constant(l, 2, l->bias ? qonnx_value_name(qonnx_node_input(l->node, 2)) : name, &b);
    free(name);
    if (qonnx_node_is(l->node, "MatMul")) qonnx_node_set_op(l->node, "Gemm");
    qonnx_node_remove_attr(l->node, "beta");
}

/* The layer before `n` that could take it in, and how. */
static bool match(qonnx_node *n, Layer *l, Affine *a)
{
    bool norm = qonnx_node_is(n, "BatchNormalization");
    bool arithmetic = qonnx_node_is(n, "Mul") || qonnx_node_is(n, "Div") || qonnx_node_is(n, "Sub");
    if (!qonnx_node_output(n, 0) || (!norm && !arithmetic)) return false;
    for (int side = 0; side < (norm ? 1 : 2); side++) {
        if (!find_layer(qonnx_node_input(n, side), n, l)) continue;
        a->scale = need((size_t)l->out.count, sizeof *a->scale);
        a->shift = need((size_t)l->out.count, sizeof *a->shift);
        bool ok = norm ? batchnorm_affine(n, l, a) : arithmetic_affine(n, 1 - side, l, a);
        if (ok && (!a->shifts || !qonnx_node_is(l->node, "MatMul") || l->out.rank == 2))
            return true;
        free(a->scale);
        free(a->shift);
    }
    return false;
}

static void fold(qonnx_ctx *cx, qonnx_node *n)
{
    Layer l;
    Affine a;
    if (!match(n, &l, &a)) return;
    float *weight = need((size_t)qonnx_tensor_elements(l.weight), sizeof *weight);
    float *bias = need((size_t)l.out.count, sizeof *bias);
    if (compute(&l, &a, weight, bias)) {
        put_weights(&l, &a, weight, l.bias || a.shifts ? bias : NULL);
        qonnx_node_set_output(l.node, 0, qonnx_node_output(n, 0));
        qonnx_node_remove(n);
    } else {
        qonnx_warn(cx, n,
                   "folding it into '%s' would give weights that are not finite numbers; it stays",
                   qonnx_node_name(l.node));
    }
    free(weight);
    free(bias);
    free(a.scale);
    free(a.shift);
}

static void fold_graph(qonnx_ctx *cx, qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        fold(cx, n);
    }
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)job;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) fold_graph(cx, s);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_fold_batchnorm = {
    .size = sizeof(qonnx_pass),
    .name = "fold-batchnorm",
    .brief = "folds BatchNormalization, and factors a channel, into the weights before them",
    .run = run,
};
