/* ops/control.h - the operators with subgraphs, taken apart. */
#ifndef OPS_CONTROL_H
#define OPS_CONTROL_H

#include "ops/op.h"

/* The graph of an attribute; NULL where it has none. */
Graph *control_graph(const Node *n, const char *attr);

/* A Loop or Scan. Its body has the inputs and outputs
 *
 *     Loop: (turn, condition, states...) to (condition, states..., parts...)
 *     Scan: (states..., slices...) to (states..., parts...)
 *
 * and the node (trip count, condition, states...) or (states..., wholes...) to (states...,
 * wholes...): each turn takes a slice of the wholes and makes a part of them. */
typedef struct Cycle {
    Graph *body;
    bool loop;     /* a Loop; else a Scan */
    int states;    /* values that go from one turn to the next */
    int slices;    /* inputs that are taken slice by slice */
    int parts;     /* outputs that are made part by part */
    int head;      /* inputs in front of the states: 2 of a Loop */
    int tail;      /* outputs of the body in front of the states: 1 of a Loop */
    int64_t turns; /* how often the body runs, at most; -1: not known */
    bool ends;     /* the condition may end it before */
} Cycle;

/* Takes a Loop or a Scan of operator set 9 or newer apart. False: its graph is none for it; the
 * message says how. */
bool cycle_of(Ctx *cx, const Node *n, Cycle *c);

/* The axis of whole i among the node's inputs (or outputs) that the turns go along, where the whole
 * has that rank; false with a message when the attribute is wrong. */
bool cycle_axis(Ctx *cx, const Node *n, const Cycle *c, bool output, int i, int rank, int *axis);
/* Whether the turns go along it from its end. */
bool cycle_reversed(const Node *n, bool output, int i);

/* Whether all turns are alike (Flow.alike). */
bool cycle_alike(Why *why, const Node *n);

/* control_lower.c */
bool if_lower(Lower *l, Node *n);
bool cycle_lower(Lower *l, Node *n);

#endif
