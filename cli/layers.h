/* cli/layers.h - which layers of a quantized model lose most. */
#ifndef CLI_LAYERS_H
#define CLI_LAYERS_H

#include "options.h"
#include <qonnx/run.h>
#include <qonnx/lint.h>

enum { WORST_LAYERS = 3 };

/* ---- what is the same in both models --------------------------------------------------------- */

/* A value that a node of the float model computes, and what it is in the quantized model. */
typedef struct Match {
    qonnx_value *value;       /* of the float model */
    qonnx_value *made;        /* of the quantized one, as its node gives it */
    qonnx_value *seen;        /* what reads it sees: behind Q and DQ; `made` where it has none */
    const qonnx_node *q, *dq; /* these; NULL: none */
    const qonnx_node *node;   /* that it is called by: of the quantized model, where it has no name
                                 or the float model has one of it, else of the float model */
    const qonnx_finding *found; /* of the quantized model's node; NULL: nothing is said of it */
} Match;

typedef struct Matches {
    Match *of; /* [count] in the order of the float model's nodes; owned */
    int count;
} Matches;

/* Matches the values of the two main graphs by name, seen through what was fused: a convolution has
 * the name of the Relu that became part of it. What lies within a group that the target's runtime
 * computes as one is left out: to look at it would part the group. QLinear operators are spread in
 * `made` first. `of` is freed by free(), after a failure, too. */
QONNX_CHECKED bool layers_match(qonnx_ctx *cx, const qonnx_graph *model, qonnx_graph *made,
                                const qonnx_target *target, Matches *out);
/* The word for the match's node: its name; of one that has none, that of the value that it gives
 * in the float model. */
const char *layers_label(const Match *m);
/* What a quantized model has of a value of that name, in a graph of it: `made`, `seen`, `q` and
 * `dq` of a match. A DQ is added where only the integers are read. False: there is nothing. */
bool layers_find(qonnx_graph *made, const char *name, Match *m);
/* Another value of the quantized model as it is between the match's Q and DQ. */
qonnx_value *layers_requantize(const Match *m, qonnx_value *v);
/* Makes them outputs of both graphs, in one order. Those that cannot be at one place are taken off
 * the list. */
void layers_give(qonnx_graph *model, qonnx_graph *made, Matches *m);

/* ---- which are worst ------------------------------------------------------------------------- */

/* A layer of a quantized model: its output against the float model's. */
typedef struct Layer {
    char *node;           /* what the node is called by; owned */
    double before, after; /* SQNR in dB of the worst that it reads, and of what it makes */
} Layer;

/* The layers that add most noise, relative to their signal, to that of what they read, the worst
 * first, by a few of the samples; `prefix` is the text of the passes before `calibrate`, behind
 * which the float model has the same values. Returns how many: 0 where nothing can be told. */
int layers_worst(qonnx_ctx *cx, const Args *args, const char *path, const char *prefix,
                 const qonnx_graph *made, Layer out[WORST_LAYERS]);

#endif
