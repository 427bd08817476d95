/* runtime/cut.h - where a value decides a shape, a graph runs in parts.
 *
 * A node is late where a list that it needs is computed, or where anything that it reads is late or
 * has a size that is data (Op.counted). What is not late is a program for one set of input shapes
 * as always. The late nodes are a graph of their own, whose inputs are what crosses the cut: once
 * the first part has run these have shapes and contents, as a sample has, and what was late is so
 * no more, or stands behind the next cut.
 *
 * A Loop or Scan whose turns are not all alike (Node.turned), all of whose operands a part has,
 * runs behind its program, turn by turn (turns.h); what reads its outputs is late.
 */
#ifndef RUNTIME_CUT_H
#define RUNTIME_CUT_H

#include "ops/control.h"

/* Where a tensor is found once a part has run. */
typedef struct Cross {
    enum {
        FROM_NOTHING,  /* it is left out */
        FROM_CONSTANT, /* of the part's graph */
        FROM_INPUT,    /* of the part */
        FROM_PROGRAM,  /* an output of the part's program */
        FROM_TURNS,    /* an output of a node that runs turn by turn */
        FROM_BUNDLE,   /* it holds what is found elsewhere */
        FROM_REST      /* an output of the rest */
    } from;
    int index;   /* its number there; of inputs, among those that are fed; of turns, the node's */
    int output;  /* of turns: the node's output */
    int counted; /* the program's output that is the size of its axis; -1: the size is known */
    int axis;    /* that axis; -1: none */
    const Tensor *constant; /* the constant, which is the graph's; NULL where it is none */
    struct Cross *parts;    /* of a bundle: [nparts] what it holds */
    int nparts;             /* of them */
    DType dtype;            /* of a bundle */
} Cross;

/* A node that runs turn by turn, or outside of programs (ops/host.h). */
typedef struct Turned {
    const Node *node; /* of the part's graph, from which it was taken: its attributes are good */
    Cycle cycle;      /* it, taken apart; its body is of no use any more. Of a node that has no
                         turns nothing is here */
    Graph *body;      /* a main graph: behind the inputs of the cycle's body are captured values.
                         NULL: the node has no turns, but runs outside of programs */
    Cross *in;        /* [nin] the node's inputs, then the captured values that are not constant */
    int nin;
    bool *wanted; /* [node->nout] whether somebody reads the output */
} Turned;

/* What becomes of a specialized graph. */
typedef struct Cut {
    Turned *turned; /* [nturned] */
    int nturned;
    Graph *rest;   /* the late nodes; NULL: there are none. Constants lie in the first part's. */
    Cross *inputs; /* of the rest, one each */
    int ninput;
    Cross *outputs; /* of the graph, one each */
    int noutput;
} Cut;

/* Takes the nodes that are late or turn out of a specialized graph, which is ready to be lowered
 * then: it has the outputs that are not late, what crosses, and sizes. cut_free() frees what this
 * makes. */
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
