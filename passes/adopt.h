/* passes/adopt.h - what the pass adopt-qdq is made of: reading QuantizeLinear and DequantizeLinear
 * as any tool writes them. Written on include/qonnx/ alone.
 */
#ifndef PASSES_ADOPT_H
#define PASSES_ADOPT_H

#include <qonnx/pass.h>
#include <math.h>
#include <string.h>

/* Scale and zero point of an activation, of a QuantizeLinear or DequantizeLinear. */
typedef struct Grid {
    qonnx_dtype dtype; /* of the integers */
    float scale;
    int zero;
    const qonnx_tensor *scales, *zeros; /* the constants; zeros NULL: left out */
} Grid;

static inline bool adopt_quantizes(const qonnx_node *n)
{
    return qonnx_node_is(n, "QuantizeLinear");
}

static inline bool adopt_dequantizes(const qonnx_node *n)
{
    return qonnx_node_is(n, "DequantizeLinear");
}

/* Input i as a constant that callers of the model cannot replace; else NULL. */
static inline const qonnx_tensor *adopt_constant(const qonnx_node *n, int i)
{
    const qonnx_value *v = qonnx_node_input(n, i);
    return v && !qonnx_value_is_input(v) ? qonnx_value_constant(v) : NULL;
}

/* Whether the type is an integer of at most 16 bits. */
bool adopt_is_integer(qonnx_dtype t);

/* What a QuantizeLinear or DequantizeLinear says, where it has one scale that is constant. `*found`
 * is false for others. Fails at scales that are no scales. */
bool adopt_grid(qonnx_ctx *cx, const qonnx_node *n, Grid *grid, bool *found);

/* The reals at the ends of the integers' type. */
void adopt_ends(const Grid *grid, float *lo, float *hi);

/* Lets operators that only move elements, and read integers behind a QuantizeLinear, read and give
 * floats: the QuantizeLinear stands behind them then (adopt_integers.c). */
bool adopt_integers(qonnx_ctx *cx, qonnx_graph *g);

/* Makes floats of constants that are read through a DequantizeLinear, and keeps their integers
 * (adopt_constants.c). Adds to *count. */
bool adopt_constants(qonnx_ctx *cx, qonnx_graph *g, int *count);

/* Gives ranges to values that no file quantizes but that follow from those of others, so that
 * operators can run in integers (adopt_ranges.c). */
void adopt_ranges(qonnx_graph *g);

#endif
