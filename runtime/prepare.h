/* runtime/prepare.h - a graph made ready for lowering. */
#ifndef RUNTIME_PREPARE_H
#define RUNTIME_PREPARE_H

#include "ir/ir.h"

/* A copy of the graph in which QDQ groups are integer operators, unless `fake_quant`, and what is
 * constant is folded: dequantized weights, shape arithmetic. It shares the constants' bytes with
 * `g`, which must outlive it. Freed by qonnx_graph_free. */
Graph *graph_prepare(Ctx *cx, const Graph *g, bool fake_quant);

#endif
