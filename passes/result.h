/* passes/result.h - checks of what a plugin's pass left, beyond the graph's wiring. */
#ifndef PASSES_RESULT_H
#define PASSES_RESULT_H

#include <qonnx/graph.h>

/* Names, types and shapes of a model's inputs and outputs, as they were. */
typedef struct Faces Faces;

Faces *faces_of(const qonnx_graph *g); /* freed by faces_free(); not after the graph */
void faces_free(Faces *f);

/* Whether ranges are finite, in order, and of values in float; constants have the bytes of their
 * type and shape; scales are positive, with as many zero points of the integers' type. */
QONNX_CHECKED bool result_sound(qonnx_ctx *cx, const qonnx_graph *g);

/* Whether the model's inputs and outputs are what they were; inputs with their shapes. */
QONNX_CHECKED bool result_keeps(qonnx_ctx *cx, const qonnx_graph *g, const Faces *was);

#endif
