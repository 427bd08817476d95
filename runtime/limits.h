/* runtime/limits.h - what a model may take to run, so that a small file cannot take a machine down.
 *
 * Both are known before anything large is allocated: the memory of a program is added up, and so is
 * the work of one run. A model of any size may use more of both, for it has paid by its bytes.
 */
#ifndef RUNTIME_LIMITS_H
#define RUNTIME_LIMITS_H

#include "lower/program.h"

/* Steps of a byte that is written to memory that is new, as measured. */
enum { NEW_BYTE = 64 };

typedef struct Limits {
    size_t memory;      /* bytes that a thread may take for one run */
    bool asked;         /* the user has said so */
    size_t available;   /* of them, what the machine (or its cgroup) can give, less a tenth */
    int64_t work;       /* bytes written and multiply-accumulates of one run */
    size_t memory_used; /* of that, by the parts of the graph that run before (cut.h) */
    int64_t work_used;
} Limits;

/* The limits of a graph whose inputs have their shapes. `max_memory` of 0: the smaller of what is
 * available, less a tenth, and 1 GiB + 256 times the bytes of the model and of one sample. The work
 * may be 10^12 + 10^6 times these bytes. */
Limits limits_for(const Graph *g, size_t max_memory);

/* Whether one run of the graph, whose shapes are inferred, keeps to the limit of work, with what
 * was used before, which grows by it; the message names the node that takes most. */
bool limits_work(Ctx *cx, Limits *l, const Graph *g);

/* The same for the memory of the program, with packed weights; the message names the node at which
 * most is needed. */
bool limits_memory(Ctx *cx, Limits *l, const Program *p);

/* Takes the work and memory of making a program for what is left of the graph, each time that it is
 * cut: many cuts, one behind the other, are as costly as what they run. */
bool limits_cut(Ctx *cx, Limits *l, const Graph *rest);

/* Steps that it takes to make a program of the graph. */
int64_t limits_making(const Graph *g);

/* What a run has taken of its limits that nobody could know before. */
typedef struct Used {
    int64_t work;     /* steps */
    size_t memory;    /* bytes that turns (turns.h) have made and that are kept */
    const Node *node; /* the node whose turns run, the innermost one; NULL: none's */
    int64_t turn;     /* of that node */
    Arena *strings;   /* what is in tensors of strings that nodes have made; as long as the run */
} Used;

/* Takes steps of a turn; the same for all turns that give the same, whatever is cached. False: the
 * limit of work does not allow that; the message names the node. */
bool limits_spend(Ctx *cx, const Limits *l, Used *u, int64_t work);
/* Takes bytes that turns keep, beside those that are known before. The same of memory. */
bool limits_keep(Ctx *cx, const Limits *l, Used *u, size_t bytes);
/* Fails for a node that would take more work after so many turns. */
bool limits_no_end(Ctx *cx, const Node *n, int64_t turns, int64_t work);

/* Tells the program the limit of work, which it keeps where it runs something nobody knows how
 * often. */
void limits_set(const Limits *l, Program *p);

/* What a node whose shapes are inferred takes to run: bytes of its results; and these, those of its
 * inputs that are constant, and multiply-accumulates (a pool counts its window, a convolution of
 * few channels or a MaxPool 16 for one, being that much slower). Both saturate; -1: a size is not
 * known. */
void node_cost(const Node *n, int64_t *bytes, int64_t *work);

#endif
