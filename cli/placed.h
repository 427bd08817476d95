/* cli/placed.h - which operators of a model run in integers, and which in float. */
#ifndef CLI_PLACED_H
#define CLI_PLACED_H

#include "options.h"
#include "pipeline.h"
#include "tally.h"
#include <qonnx/run.h>
#include <qonnx/lint.h>

/* What becomes of the operators that compute. Zero is an empty one. */
typedef struct Placed {
    long integer; /* operators whose operands are all quantized, or that read integers of 8 bits */
    Tally left;   /* the others that give floats, by type */
} Placed;

/* Whether a runtime can compute a node in integers: its activations come out of DequantizeLinear,
 * or are integers of 8 bits. */
bool in_integers(const qonnx_node *n);
/* Counts a node; `placed` is a Placed: for visit_nodes(). */
void placed_add(void *placed, const qonnx_node *n);

/* The passes that quantize runs with what the command line says of --observer, --activations,
 * --weights and --overrides. False: a message is in the context; `out` is freed either way. */
QONNX_CHECKED bool placed_passes(qonnx_ctx *cx, const Args *args, Passes *out);
/* Makes of a model in float what `quantize` places: behind the passes in front of `calibrate`, and
 * with ranges where --calibration names statistics, which are then the caller's. A quantized model
 * stays as it is, and has none. */
QONNX_CHECKED bool placed_prepare(qonnx_ctx *cx, const Args *args, qonnx_graph *g,
                                  qonnx_stats **stats);

/* The word for where a node runs: "integers", "follows" (its neighbours) or "float". */
const char *fate_word(qonnx_fate fate);

#endif
