/* passes/groups.h - what a runtime makes of the QuantizeLinear and DequantizeLinear of a file:
 * which operators it finds a whole group around, and what is missing elsewhere. Written on
 * include/qonnx/ alone.
 */
#ifndef PASSES_GROUPS_H
#define PASSES_GROUPS_H

#include "placement.h"
#include <qonnx/lint.h>

/* Why a Relu or a Clip is computed in float though there are integers around it. */
#define GROUP_STAYS "it does not vanish into the range, and has no integer form there"

/* What becomes of the node of a model that is quantized. `broken`: a part of a group is there. The
 * reason is empty where it runs in integers. */
qonnx_fate group_judge(const qonnx_target *t, const qonnx_node *n, Reason *why, bool *broken);

/* Whether it is that operator: QuantizeLinear and DequantizeLinear are ONNX Runtime's, too, which
 * has them of 16 bits in every operator set. */
bool group_is(const qonnx_node *n, const char *op);

/* Whether it is an operator of integers, as QLinearConv. */
bool group_is_qlinear(const qonnx_node *n);

/* The input that is a weight: constant, or constant integers behind a DequantizeLinear; -1: none.
 */
int group_weight(const qonnx_node *n, const qonnx_rule *rule);

/* The DequantizeLinear in the node's graph that gives it input i; NULL: none does. */
const qonnx_node *group_dequantizer(const qonnx_node *n, int i);

#endif
