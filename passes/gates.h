/* passes/gates.h - activation functions that vanish below some point, as GELU, SiLU and HardSwish
 * do, in all the forms that exporters write. Written on include/qonnx/ alone.
 */
#ifndef PASSES_GATES_H
#define PASSES_GATES_H

#include <qonnx/graph.h>

/* A value that nobody but such functions read: what is below the floor might as well be the floor.
 */
typedef struct Floor {
    const qonnx_value *value;
    float floor;
} Floor;

/* The values of all graphs of the model that have one. */
typedef struct Floors {
    Floor *all; /* sorted by address: to find them only */
    int count, room;
} Floors;

/* Finds them, in the memory of the main graph `g`. */
void gates_find(Floors *f, qonnx_graph *g);

/* The floor of the value; -INFINITY where it has none. */
float gates_floor(const Floors *f, const qonnx_value *v);

#endif
