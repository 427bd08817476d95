/* ops/functions.h - functions that exporters write as several operators: norms, GELU and the like.
 * What is in them stays in float, and they run as the one operator that they are.
 */
#ifndef OPS_FUNCTIONS_H
#define OPS_FUNCTIONS_H

#include "ir/ir.h"

/* Marks the nodes of the graph's functions in which nothing is worth integers (Node.inside), and
 * only those. The refresh does it. */
void functions_mark(Graph *g);
/* Puts one operator in the place of each function, in all graphs of the model, where nobody sees
 * what is inside. `g` is a private copy's main graph. */
void functions_fuse(Graph *g);

#endif
