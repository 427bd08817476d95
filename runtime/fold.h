/* runtime/fold.h - folding: what is constant is computed once. */
#ifndef RUNTIME_FOLD_H
#define RUNTIME_FOLD_H

#include "ir/ir.h"

/* qonnx_node_fold() in a private graph, where outputs of the graph may become constants too. */
bool node_fold(Ctx *cx, Node *n);

/* Puts the branch that is taken in the place of an If whose condition is constant. *next becomes
 * the first node that stands there then; NULL: the last was taken away. */
bool node_choose(Node *n, Node **next);

/* Both for all nodes of a private graph, and of its subgraphs. */
void graph_fold(Ctx *cx, Graph *g);

#endif
