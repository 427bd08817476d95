/* runtime/prepare.h - the one way from a Graph to a Program, for every verb.
 *
 *     graph_clone ─▶ graph_prepare ─▶ graph_clone ─▶ graph_specialize ─▶ graph_cut ─▶ program_new
 *      (private)      (a session)      (a set of input shapes)             (cut.h)       (lower/)
 */
#ifndef RUNTIME_PREPARE_H
#define RUNTIME_PREPARE_H

#include "lower/program.h"
#include "runtime/limits.h"

/* Makes a private graph ready for any input shapes: it computes in float where the model has
 * float16 or bfloat16, QDQ groups become integer operators, unless
 * `fake_quant`, and what is constant is folded, dequantized weights for example. */
void graph_prepare(Ctx *cx, Graph *g, bool fake_quant);

/* Makes a prepared graph one for these inputs: one tensor a fed input, with dtype and dims, and
 * with data where the samples are there (bind.h). Shapes are inferred, and what they make constant
 * is folded: Shape, and what is computed from it; what cannot be lowered yet is marked (cut.h).
 * Functions become one operator each: here, where ranks are known, so that the executor and
 * compiled code have the same ones. On failure the graph is only good to be freed. */
bool graph_specialize(Ctx *cx, Graph *g, const Tensor *inputs);

/* The program of a graph that graph_specialize has taken, and in which nothing is late; `g` is
 * consumed, failing too. What it takes is added to what `l` has used. NULL on failure. */
Program *program_make(Ctx *cx, Graph *g, Limits *l);

#endif
