/* passes/fuse_bias_add.c - an Add of one constant a channel behind Conv, ConvTranspose, Gemm or
 * MatMul becomes the bias; MatMul becomes Gemm for that. Two biases are added in double.
 */
#include <qonnx/qonnx.h>
#include "channels.h"

#include <stdio.h>
#include <stdlib.h>

/* A weighted node that may take in the Add behind it. */
typedef struct Layer {
    qonnx_node *node;
    qonnx_node *squeeze; /* stands between it and the Add; NULL: none does */
    Channels out;        /* of what is added to */
} Layer;

/* Fills in where the channels of the output are; false for other operators. */
static bool find_channels(Layer *l)
{
    const qonnx_tensor *w = constant_of(qonnx_node_input(l->node, 1));
    const qonnx_value *x = qonnx_node_input(l->node, 0);
    if (!w || !x) return false;
    l->out.axis = 1;
    l->out.rank = w->rank;
    if (qonnx_node_is(l->node, "Conv")) {
        l->out.count = w->dims[0];
        return w->rank >= 3;
    }
    if (qonnx_node_is(l->node, "ConvTranspose")) {
        int64_t groups = qonnx_node_int(l->node, "group", 1);
        return w->rank >= 3 && groups > 0 && w->dims[0] % groups == 0 &&
               !__builtin_mul_overflow(groups, w->dims[1], &l->out.count);
    }
    bool gemm = qonnx_node_is(l->node, "Gemm");
    l->out.count = w->dims[gemm && qonnx_node_int(l->node, "transB", 0) ? 0 : 1];
    return w->rank == 2 && (gemm || (qonnx_node_is(l->node, "MatMul") && qonnx_value_rank(x) == 2));
}

/* A Squeeze behind a Conv takes out axes behind the channels; how many, 0 where it is another. */
static int squeezed_axes(const qonnx_node *squeeze, int rank)
{
    int64_t list[QONNX_MAX_RANK * 2];
    int axes = qonnx_node_list(squeeze, "axes", 1, list);
    for (int i = 0; i < axes; i++)
        if (list[i] + (list[i] < 0 ? rank : 0) < 2) return 0;
    return axes > 0 && axes < rank - 1 ? axes : 0;
}

/* Looks for a Conv in front of the Squeeze that was found. */
static bool find_squeezed(Layer *l)
{
    l->squeeze = l->node;
    const qonnx_value *x = qonnx_node_input(l->squeeze, 0);
    l->node = x ? qonnx_value_producer(x) : NULL;
    if (!l->node || !qonnx_node_is(l->node, "Conv") || qonnx_value_kept(x) ||
        !qonnx_value_only_user(x) ||
        qonnx_node_graph(l->node) != qonnx_node_graph(l->squeeze) || !find_channels(l))
        return false;
    int axes = squeezed_axes(l->squeeze, l->out.rank);
    l->out.rank -= axes;
    return axes > 0;
}

/* The layer whose result `add` alone reads at input `side`, when the other input fits it. */
static bool match(const qonnx_node *add, int side, Layer *l)
{
    const qonnx_value *y = qonnx_node_input(add, side);
    const qonnx_tensor *t = constant_of(qonnx_node_input(add, 1 - side));
    l->node = y ? qonnx_value_producer(y) : NULL;
    l->squeeze = NULL;
    if (!t || !l->node || qonnx_value_kept(y) || qonnx_value_only_user(y) != add) return false;
    bool squeezed = qonnx_node_is(l->node, "Squeeze");
    if (qonnx_node_graph(l->node) != qonnx_node_graph(add) ||
        !(squeezed ? find_squeezed(l) : find_channels(l)) || !is_per_channel(t, &l->out))
        return false;
    const qonnx_value *bias = qonnx_node_input(l->node, 2);
    return !bias || (constant_of(bias) && is_bias(l->node, constant_of(bias), &l->out));
}

/* beta * bias + t a channel, in room for l->out.count floats. */
static float *sum_biases(const Layer *l, const qonnx_tensor *bias, const qonnx_tensor *t)
{
    float beta = qonnx_node_is(l->node, "Gemm") ? qonnx_node_float(l->node, "beta", 1) : 1;
    float *sum = calloc(l->out.count ? (size_t)l->out.count : 1, sizeof *sum);
    if (!sum) qonnx_out_of_memory();
    for (int64_t c = 0; c < l->out.count; c++) {
        double old = bias ? (double)beta * channel_value(bias, c) : 0;
        sum[c] = (float)(old + channel_value(t, c));
    }
    return sum;
}

/* Puts the sum in: into the old bias, else into the Add's constant, if nobody else reads that. */
static void put_bias(const Layer *l, const qonnx_node *add, qonnx_value *addend, const float *sum)
{
    qonnx_value *old = qonnx_node_input(l->node, 2), *v = old ? old : addend;
    qonnx_tensor t = {.dtype = QONNX_FLOAT, .rank = 1, .dims = {l->out.count}, .data = sum};
    t.bytes = (size_t)l->out.count * sizeof *sum;
    if (qonnx_value_only_user(v) == (old ? l->node : add)) qonnx_value_set_constant(v, &t);
    else v = qonnx_graph_add_constant(qonnx_node_graph(l->node), qonnx_value_name(v), &t);
    qonnx_node_set_input(l->node, 2, v);
}

static void fuse(qonnx_node *add)
{
    Layer l = {0};
    int side = match(add, 0, &l) ? 0 : 1;
    if (!qonnx_node_output(add, 0) || (side == 1 && !match(add, 1, &l))) return;

    qonnx_value *addend = qonnx_node_input(add, 1 - side), *bias = qonnx_node_input(l.node, 2);
    float *sum = sum_biases(&l, bias ? constant_of(bias) : NULL, constant_of(addend));
    put_bias(&l, add, addend, sum);
    free(sum);
    if (qonnx_node_is(l.node, "MatMul")) qonnx_node_set_op(l.node, "Gemm");
    qonnx_node_remove_attr(l.node, "beta");
    qonnx_node_set_output(l.squeeze ? l.squeeze : l.node, 0, qonnx_node_output(add, 0));
    qonnx_node_remove(add);
}

static void fuse_graph(qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        if (qonnx_node_is(n, "Add")) fuse(n);
    }
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx;
    (void)job;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) fuse_graph(s);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_fuse_bias_add = {
    .size = sizeof(qonnx_pass),
    .name = "fuse-bias-add",
    .brief = "makes an Add of constants behind a weighted operator its bias",
    .run = run,
};
