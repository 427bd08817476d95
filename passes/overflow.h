/* passes/overflow.h - whether a sum of products can overflow its register, whatever the input.
 * Written on include/qonnx/ alone.
 */
#ifndef PASSES_OVERFLOW_H
#define PASSES_OVERFLOW_H

#include "placement.h"

/* Whether it is a product among the operators of integers, as QLinearConv. */
bool overflow_operator(const qonnx_node *n);

/* Whether no sum of a product in integers can overflow on the target: its int32 accumulators with
 * the bias, and pairs of products where the target adds those in 16 bits. False: `why` says which
 * may. Of a model in float the weights are quantized as the target has them. */
bool overflow_excluded(const qonnx_target *t, const qonnx_node *n, const qonnx_rule *rule,
                       Reason *why);

#endif
