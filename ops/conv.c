/* ops/conv.c - Conv, and com.microsoft's FusedConv. */
#include "lower/quantized.h"
#include "ops/window.h"
#include <math.h>
#include <string.h>

static bool conv_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    Window w;
    if (!x || !k || !shape_known(k)) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!conv_window(cx, n, &w)) return false;
    Shape y = *x;
    y.dim[1] = k->dim[0];
    y.sym[1] = NULL;
    for (int i = 0; i < w.axes; i++) y.dim[2 + i] = w.out[3 - w.axes + i], y.sym[2 + i] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

/* Emits the convolution, clamped, to `y`. */
static void conv_emit(Lower *l, Node *n, const Window *window, float lo, float hi, Buf *y)
{
    const Window w = *window;
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    f_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = (int32_t)k->dim[0],
                  .group = (int32_t)qonnx_node_int(n, "group", 1),
                  .lo = lo,
                  .hi = hi};
    Buf *in[3] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, conv_is_depthwise(n) ? "f_dwconv" : "f_conv", &p, in, 3, y);
}

static bool conv_lower(Lower *l, Node *n)
{
    Window w;
    float lo, hi;
    if (!conv_window(l->cx, n, &w)) return false;
    Value *y = lower_fused(l, n, &lo, &hi);
    conv_emit(l, n, &w, lo, hi, lower_out(l, y, LAST));
    return true;
}

static int64_t conv_macs(const Node *n)
{
    const Shape *k = in_shape(n, 1);
    const Value *y = n->out[0];
    int64_t out = y ? shape_open_elements(&y->shape) : -1, weight = shape_open_elements(k);
    return out < 0 || weight < 0 || !k->dim[0] ? -1 : count_work(out, weight / k->dim[0]);
}

/* ---- FusedConv ------------------------------------------------------------------------------- */

/* What it does with the result. */
typedef struct Activation {
    const char *name;
    int code;  /* of kernels/unary_rows.h */
    int least; /* numbers in activation_params */
} Activation;

static const Activation activations[] = {
    {"", F_CLIP, 0},
    {"Relu", F_CLIP, 0},
    {"Clip", F_CLIP, 2},
    {"LeakyRelu", F_LEAKY_RELU, 1},
    {"Tanh", F_TANH, 0},
    {"Sigmoid", F_SIGMOID, 0},
    {"HardSigmoid", F_HARD_SIGMOID, 2},
};

static const Activation *activation_of(const Node *n)
{
    const char *name = qonnx_node_string(n, "activation", "");
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].name, name)) return &activations[i];
    return NULL;
}

/* The activation as a call of f_unary. */
static f_unary_p activation_params(const Node *n)
{
    const Activation *a = activation_of(n);
    const float *v;
    int count = qonnx_node_floats(n, "activation_params", &v);
    f_unary_p p = {.op = a->code, .lo = -INFINITY, .hi = INFINITY};
    if (!strcmp(a->name, "Relu")) p.lo = 0;
    if (!strcmp(a->name, "Clip")) p.lo = v[0], p.hi = v[1];
    else if (count) p.alpha = v[0], p.beta = count > 1 ? v[1] : 0;
    return p;
}

static bool fused_takes(Why *why, const Node *n)
{
    const Activation *a = activation_of(n);
    const float *v;
    int count = qonnx_node_floats(n, "activation_params", &v);
    if (!a)
        return why_not(why, "activation '%.30s' is none that it may have",
                       qonnx_node_string(n, "activation", ""));
    if (count < a->least)
        return why_not(why, "activation_params has %d numbers, want %d", count, a->least);
    if (a->code == F_CLIP && a->least && !(v[0] <= v[1]))
        return why_not(why, "activation_params are %g and %g, want the lower bound first",
                       (double)v[0], (double)v[1]);
    return takes_floats(why, n);
}

/* Input 3 is added before the activation. */
static bool fused_shape(Ctx *cx, Node *n)
{
    if (!conv_shape(cx, n)) return false;
    const Shape *z = in_shape(n, 3), *y = n->out[0] ? &n->out[0]->shape : NULL;
    if (!z || !y || y->rank < 0) return true;
    if (!check_rank(cx, n, 3, y->rank, y->rank)) return false;
    for (int i = 0; i < y->rank; i++)
        if (!check_dim(cx, n, 3, i, y->dim[i])) return false;
    return true;
}

/* A function of each element. */
static int64_t fused_work(const Node *n)
{
    int64_t count = shape_open_elements(n->out[0] ? &n->out[0]->shape : NULL);
    return count_work(count, 64);
}

static bool fused_lower(Lower *l, Node *n)
{
    Window w;
    if (!conv_window(l->cx, n, &w)) return false;
    f_unary_p p = activation_params(n);
    p.count = (int32_t)shape_elements(&n->out[0]->shape);
    bool more = qonnx_node_input(n, 3) != NULL, clamps = p.op == F_CLIP && !more;
    Buf *y =
        clamps ? lower_out(l, n->out[0], LAST) : lower_temp(l, (size_t)p.count * sizeof(float));
    conv_emit(l, n, &w, clamps ? p.lo : -INFINITY, clamps ? p.hi : INFINITY, y);
    if (clamps) return true;
    if (more) y = arithmetic(l, n, F_ADD, QONNX_FLOAT, p.count, y, lower_in(l, n, 3, LAST));
    lower_call(l, n, "f_unary", &p, &y, 1, lower_out(l, n->out[0], LAST));
    return true;
}

/* ---- on integers ----------------------------------------------------------------------------- */

static bool conv_integers(Lower *l, Node *n)
{
    const QuantNode *q = n->quant;
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    const Value *bias = qonnx_node_input(n, 2);
    Window w;
    if (!conv_window(l->cx, n, &w)) return false;
    q_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = (int32_t)k->dim[0],
                  .group = (int32_t)qonnx_node_int(n, "group", 1),
                  .x_signed = quant_signed(q->in[0].dtype),
                  .x_zero = q->in[0].zero,
                  .y_zero = q->out.zero};
    quant_clamp(q, &p.lo, &p.hi);
    int64_t each = tensor_count(n->in[1]->data) / k->dim[0];
    Buf *in[4] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN),
                  quant_bias(l, n->in[1]->data, bias, p.x_zero, p.oc, each, each, 1),
                  quant_multipliers(l, q, p.oc)};
    lower_call(l, n, conv_is_depthwise(n) ? "q_dwconv" : "q_conv", &p, in, 4,
               lower_out(l, n->out[0], LAST));
    return true;
}

static int conv_weight_axis(const Node *n)
{
    (void)n;
    return 0;
}

static const Quantized conv_quantized = {
    .lower = conv_integers,
    .weight_axis = conv_weight_axis,
    .clamps = true,
    .qlinear = {"QLinearConv", "", .out = 6, .bias = 8},
};

const Op ops_conv[] = {
    /* name  inputs  shape  rule  refine  lower  macs */
    {"Conv",
     2,
     3,
     conv_shape,
     {.kind = QONNX_RULE_OWN,
      .activations = 1,
      .weight = 1,
      .bias = 2,
      .weight_axis = 0,
      .channel_axis = 1},
     NULL,
     conv_lower,
     conv_macs,
     .takes = takes_floats,
     .quantized = &conv_quantized},
    {"FusedConv", 2, 4, fused_shape, RULE_FLOAT, NULL, fused_lower, conv_macs, .takes = fused_takes,
     .work = fused_work, .domain = "com.microsoft"},
    {0},
};
