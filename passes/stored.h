/* passes/stored.h - constants that are read as floats and stored as int8, a quarter of the size:
 * what quantize-tables and quantize-weights have in common. Written on include/qonnx/ alone.
 */
#ifndef PASSES_STORED_H
#define PASSES_STORED_H

#include <qonnx/pass.h>

/* A constant of floats, seen as [outer][channels][inner], and its integers. */
typedef struct Stored {
    qonnx_value *value;
    int64_t outer, channels, inner;
    const char *data; /* the floats, perhaps not aligned */
    float *scales;    /* [channels] */
    int8_t *integers; /* as the floats lie */
} Stored;

/* Rounds a constant of floats, with a scale for each channel along `axis`. What it needs is in the
 * graph's memory. */
void stored_round(Stored *s, qonnx_value *v, int axis);
/* The signal-to-noise ratio in dB of the slices along the axes in front of the channels, in the
 * mean: a slice counts as much as any other, however large its elements are. Not a number where
 * some element is not finite. */
double stored_sqnr(const Stored *s);
/* Adds the integers, their scales and zero points, as a DequantizeLinear reads them, to the value's
 * graph. */
void stored_add(const Stored *s, qonnx_value *parts[3]);
/* Puts a DequantizeLinear that gives `y` in front of `before` (NULL: at the end of `g`). */
void stored_dequantize(qonnx_graph *g, qonnx_node *before, qonnx_value *const parts[3], int axis,
                       qonnx_value *y);
/* Whether the rounded constant keeps as many dB as the pass's option `sqnr` says; a note says where
 * it does not. */
bool stored_keeps(qonnx_ctx *cx, const qonnx_job *job, const Stored *s, const char *what);

/* That option, for the list of a pass. */
#define STORED_OPTION(what)                                                                        \
    {"sqnr", "30", "dB that " what " must keep in the mean, else it stays in float"}

#endif
