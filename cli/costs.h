/* cli/costs.h - what a model costs to run, by counting: multiplications by width, bytes read by
 * the memory that they come from, and the energy that both take by published figures.
 */
#ifndef CLI_COSTS_H
#define CLI_COSTS_H

#include <jansson.h>
#include <qonnx/graph.h>

/* Widths of 1, 2, 4, ... 64 bits, and the memories that something is read from. */
enum { COST_WIDTHS = 7, COST_LEVELS = 4 };

/* Of one run with one sample, every open size taken as 1. Zero is an empty one. */
typedef struct Costs {
    double multiplies[COST_WIDTHS][COST_WIDTHS]; /* by log2 of the operands' bits, wider first */
    double reads[COST_LEVELS];                   /* bytes */
    double weights;                              /* bytes of constants */
    double macs;                                 /* all multiplies */
    double energy;                               /* pJ of all that */
    long unknown; /* nodes whose multiplies or reads are not known; in none of these */
} Costs;

/* Counts a graph. False after a message in its context: functions that cannot be inlined. */
QONNX_CHECKED bool costs_count(qonnx_ctx *cx, const qonnx_graph *g, Costs *out);
/* Prints the rows that are not 0, with the figures and their source. */
void costs_print(const Costs *c);
/* An object of all that. */
json_t *costs_json(const Costs *c);

/* "1.95 uJ" into out[SIZE_ROOM] of output.h. Returns out. */
const char *energy_text(char *out, double pj);

#endif
