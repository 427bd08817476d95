/* runtime/bind.h - inputs that are constant for one sample: shapes, axes and the like, which
 * samples feed, but which operators need before anything runs (Op.lists). A program is made for
 * their contents, as it is for the shapes of all inputs.
 */
#ifndef RUNTIME_BIND_H
#define RUNTIME_BIND_H

#include "ir/ir.h"

/* Writes the contents of the inputs that are bound to `to`, one behind the other, unless it is
 * NULL. `inputs` are the fed inputs of the graph, with data. Returns how many bytes these are. */
size_t bind_contents(const Graph *g, const Tensor *inputs, void *to);

/* Gives every operator that takes a bound input a constant in its place; the input itself stays.
 * Fails where a sample feeds what cannot be bound. */
QONNX_CHECKED bool bind_inputs(Ctx *cx, Graph *g, const Tensor *inputs);

#endif
