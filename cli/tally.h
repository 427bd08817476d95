/* cli/tally.h - counts of operators by type. */
#ifndef CLI_TALLY_H
#define CLI_TALLY_H

#include <qonnx/graph.h>

typedef struct TallyRow {
    const char *op, *domain; /* the graph's strings */
    long count;              /* nodes of that type */
    long refused;            /* of these, nodes that do not run; whoever adds them counts */
    const char *why;         /* why the first of them does not; "" for no such operator */
} TallyRow;

/* Zero is an empty one. */
typedef struct Tally {
    TallyRow *rows; /* [count] */
    int count;      /* types */
    int room;       /* rows allocated */
    long total;     /* nodes */
} Tally;

/* Counts a node; gives its row, until the next is added. */
TallyRow *tally_add(Tally *t, const qonnx_node *n);
/* Most frequent first, then by name. */
void tally_sort(Tally *t);
void tally_free(Tally *t);

/* Calls visit for every node of the graph and of its subgraphs. */
void visit_nodes(const qonnx_graph *g, void (*visit)(void *user, const qonnx_node *n), void *user);

#endif
