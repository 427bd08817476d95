/* cli/node_error.h - what a node's quantization costs: at the node, and at the outputs. */
#ifndef CLI_NODE_ERROR_H
#define CLI_NODE_ERROR_H

#include "facts.h"
#include "layer_errors.h"

/* Zero is one that was not asked for. */
typedef struct NodeError {
    size_t samples;       /* by which it was measured; 0: it was not */
    Likeness own;         /* of what it gives, fed with the float model's values, as evaluate
                             --layers has it */
    Likeness accumulated; /* in the quantized model as it is */
    double all, without;  /* SQNR of the worst output, and with this node alone in float, dB */
    double share;         /* of the noise of the outputs, by their signals, that goes with it: below
                             0 where its noise made up for others'; NAN: there is none */
} NodeError;

/* Runs what quantize makes of a float model, with statistics, on the samples of --data. False: a
 * message is in the context. */
QONNX_CHECKED bool node_error_measure(qonnx_ctx *cx, const Args *args, const Subject *s,
                                      const qonnx_node *n, NodeError *out);

/* Lines, and an object; nothing, and null, where it was not measured. */
void node_error_print(const NodeError *e);
json_t *node_error_json(const NodeError *e);

#endif
