/* lower/quantized.h - operators on integers: what a group of DequantizeLinear, operator and
 * QuantizeLinear becomes in the lowered graph (fuse_qdq.c), and how that is lowered (quantized.c).
 *
 * Such a node has the ONNX operator's name and attributes, in a domain of its own; its inputs and
 * output are the integer tensors, and Node.quant holds their parameters.
 */
#ifndef LOWER_QUANTIZED_H
#define LOWER_QUANTIZED_H

#include "kernels/q_params.h"
#include "ops/op.h"

#define QUANTIZED_DOMAIN "qonnx.quantized"

/* Scale and zero point of an activation: real = (q - zero) * scale. */
typedef struct QuantParams {
    float scale;
    int zero;
    DType dtype; /* QONNX_UINT8 or QONNX_INT8 */
} QuantParams;

/* What a quantized node knows beside its operands. */
typedef struct QuantNode {
    QuantParams *in;       /* [nin] of activations */
    QuantParams out;
    const float *weight;   /* scales of the weight, [nweight]; NULL: no weight */
    int nweight;           /* 1, or one an output channel */
    float lo, hi;          /* fused Relu or Clip, in real numbers; infinite for none */
    bool pairs;  /* stood between pairs of QuantizeLinear and DequantizeLinear */
} QuantNode;

/* Makes quantized nodes of QDQ groups and of QLinear operators, wherever the result is the same
 * bytes; what cannot run in integers stays as it is. `g` is a private copy. */
void fuse_qdq(Graph *g);

/* The row of a quantized operator; NULL when it has none. */
const Op *quantized_find(const char *op);

/* Parameters from a constant scale and zero point (NULL: 0, of uint8). False where there are
 * several or they are not constant, or the type has not 8 bits. */
bool quant_read(const Value *scale, const Value *zero, QuantParams *p);
/* The parameters of q_add for an Add; false where its scales are too far apart for exact integers.
 */
bool quantized_add_params(const QuantNode *q, q_add_p *p);

/* Whether q_avgpool is exact for an AveragePool with these scales. */
bool quantized_avgpool_fits(const Node *n, const QuantNode *q);

/* q = saturate(rint(x / scale) + zero), in the type's range. */
int quant_value(const QuantParams *p, float x);
/* The least and the largest integer of the type. */
void quant_limits(DType t, int *lo, int *hi);

#endif
