/* ops/conv.c - Conv. */
#include "lower/quantized.h"
#include "ops/window.h"
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

static bool conv_lower(Lower *l, Node *n)
{
    Window w;
    if (!conv_window(l->cx, n, &w)) return false;
    const Shape *x = in_shape(n, 0), *k = in_shape(n, 1);
    f_conv_p p = {.n = (int32_t)x->dim[0],
                  WINDOW_FIELDS(w),
                  .ic = (int32_t)x->dim[1],
                  .oc = (int32_t)k->dim[0],
                  .group = (int32_t)qonnx_node_int(n, "group", 1)};
    Value *y = lower_fused(l, n, &p.lo, &p.hi);
    Buf *in[3] = {lower_in(l, n, 0, LAST), lower_in(l, n, 1, PLAIN), lower_in(l, n, 2, PLAIN)};
    lower_call(l, n, conv_is_depthwise(n) ? "f_dwconv" : "f_conv", &p, in, 3,
               lower_out(l, y, LAST));
    return true;
}

static int64_t conv_macs(const Node *n)
{
    const Shape *k = in_shape(n, 1);
    const Value *y = n->out[0];
    int64_t out = y ? shape_open_elements(&y->shape) : -1, weight = shape_open_elements(k);
    return out < 0 || weight < 0 || !k->dim[0] ? -1 : count_work(out, weight / k->dim[0]);
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
    {0},
};
