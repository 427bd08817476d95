/* runtime/cut.h - where a value decides a shape, a graph runs in parts.
 *
 * A node is late where a list that it needs is computed, or where anything that it reads is late or
 * has a size that is data (Op.counted). What is not late is a program for one set of input shapes
 * as always. The late nodes are a graph of their own, whose inputs are what crosses the cut: once
 * the first part has run these have shapes and contents, as a sample has, and what was late is so
 * no more, or stands behind the next cut.
 */
#ifndef RUNTIME_CUT_H
#define RUNTIME_CUT_H

#include "ir/ir.h"

/* Where a tensor is found once a part has run. */
typedef struct Cross {
    enum {
        FROM_INPUT,   /* of the part */
        FROM_PROGRAM, /* an output of the part's program */
        FROM_REST     /* an output of the rest */
    } from;
    int index;   /* its number there; of inputs, among those that are fed */
    int counted; /* the program's output that is the size of its axis; -1: the size is known */
    int axis;
} Cross;

/* What becomes of a specialized graph. */
typedef struct Cut {
    Graph *rest;   /* the late nodes; NULL: there are none. Constants lie in the first part's. */
    Cross *inputs; /* of the rest, one each */
    int ninput;
    Cross *outputs; /* of the graph, one each */
    int noutput;
} Cut;

/* Takes the late nodes out of a specialized graph, which is ready to be lowered then: it has the
 * outputs that are not late, what crosses, and sizes. cut_free() frees what this makes. */
Cut graph_cut(Graph *g);
void cut_free(Cut *c);

/* Fails at the first node that is late. */
QONNX_CHECKED bool graph_is_whole(Ctx *cx, const Graph *g);

/* Gives the outputs of a node whose sizes are data the shapes that they have at most, and the node
 * an output more, which is the size; they are not observed any more. NULL: its sizes are known. */
Value *node_count(Node *n);
/* Whether it is the output that node_count() has added. */
bool value_is_size(const Value *v);
/* The tensor with that size. */
Tensor tensor_trimmed(Tensor t, int axis, const void *size);

#endif
