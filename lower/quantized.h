/* lower/quantized.h - operators on integers: what a group of DequantizeLinear, operator and
 * QuantizeLinear becomes in the lowered graph (fuse_qdq.c), and how that is lowered (quantized.c).
 *
 * Such a node has the ONNX operator's name and attributes, in a domain of its own; its inputs and
 * output are the integer tensors, and Node.quant holds their parameters.
 */
#ifndef LOWER_QUANTIZED_H
#define LOWER_QUANTIZED_H

#include "kernels/q_params.h"
#include "lower/lower.h"
#include "ops/op.h"

#define QUANTIZED_DOMAIN "qonnx.quantized"

/* Scale and zero point of an activation: real = (q - zero) * scale. */
typedef struct QuantParams {
    float scale;
    int zero;
    DType dtype; /* QONNX_UINT8 or QONNX_INT8 */
} QuantParams;

/* What a quantized node knows beside its operands. */
struct QuantNode {
    QuantParams *in; /* [nin] of activations */
    QuantParams out;
    const float *weight; /* scales of the weight, [nweight]; NULL: no weight */
    int nweight;         /* 1, or one an output channel */
    float lo, hi;        /* fused Relu or Clip, in real numbers; infinite for none */
    bool as_uint8;       /* int8 rounds as uint8, to which ONNX Runtime on x86-64 turns it */
};

/* Makes quantized nodes of QDQ groups and of QLinear operators, wherever the result is the same
 * bytes, in all graphs of the model; what cannot run in integers stays as it is. `g` is a private
 * copy's main graph. */
void fuse_qdq(Graph *g);

/* Puts DequantizeLinear, the operator and QuantizeLinear in the place of a QLinear operator that is
 * none of those (qlinear.c). False: it is no such operator. */
bool qlinear_spread(Node *n);

/* Makes of com.microsoft's operators what they are in other words (plain.c), in all graphs of the
 * model. */
void graph_make_plain(Graph *g);
/* The same of one node. */
void node_make_plain(Node *n);
/* A node of ONNX in front of `before`, NULL: the last, whose output, a new value, is returned. */
Value *node_put(Graph *g, Node *before, const char *op, Value **in, int nin, const char *name);

/* Parameters from a constant scale and zero point (NULL: 0, of uint8). False where there are
 * several or they are not constant, or the type has not 8 bits. */
bool quant_read(const Value *scale, const Value *zero, QuantParams *p);
/* ---- what the forms in ops/ are made of (quantized.c) ------------------------------------------
 */

/* Shape as the float operator's, type as the group's. */
bool quantized_shape(Ctx *cx, Node *n);
/* Whether the multipliers sx / sy, or (sx * sw) / sy, are numbers that the kernels can work with;
 * the same for another number than sx, the product of two for example. */
bool quantized_scales(const QuantNode *q);
bool quantized_multiplies(const QuantNode *q, float input);
/* Lowers an operator of one operand to a table of what each of 256 bytes becomes. */
bool quant_table_lower(Lower *l, Node *n);

/* The bits of a float32 multiplier. */
q_scale quant_bits(float multiplier);
/* The clamp of a fused activation, in the integers of the output. */
void quant_clamp(const QuantNode *q, int32_t *lo, int32_t *hi);
/* What ONNX Runtime on x86-64 has on top of the zero point when it rounds: it makes int8 between
 * pairs of QuantizeLinear and DequantizeLinear uint8 before anything else. */
int quant_shift(const QuantNode *q);
/* 1 for int8, 0 for uint8. */
int quant_signed(DType t);
/* A constant, bias[o] - zero * sum(w[o]), wrapping as the accumulators do. The outputs of the int8
 * weight are `step` apart, each has `count` elements `stride` apart. */
Buf *quant_bias(Lower *l, const Tensor *w, const Value *bias, int zero, int64_t outputs,
                int64_t step, int64_t count, int64_t stride);
/* A constant, (sx * sw) / sy for each output channel. */
Buf *quant_multipliers(Lower *l, const QuantNode *q, int64_t outputs);
/* A constant table of 256 bytes, by the byte of the input: f of the real numbers. */
Buf *quant_table(Lower *l, const QuantParams *in, const QuantParams *out,
                 float (*f)(const void *user, float x), const void *user);

/* q = saturate(rint(x / scale) + zero), in the type's range. */
int quant_value(const QuantParams *p, float x);
/* The least and the largest integer of the type. */
void quant_limits(DType t, int *lo, int *hi);

#endif
