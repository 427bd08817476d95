/* cli/layers.h - which layers of a quantized model lose most. */
#ifndef CLI_LAYERS_H
#define CLI_LAYERS_H

#include "options.h"
#include <qonnx/run.h>

enum { WORST_LAYERS = 3 };

/* A layer of a quantized model: its output against the float model's. */
typedef struct Layer {
    char *node;           /* name of the node; owned */
    double before, after; /* SQNR in dB of the worst that it reads, and of what it makes */
} Layer;

/* The layers that add most noise, relative to their signal, to that of what they read, the worst
 * first, by a few of the samples; `prefix` is the text of the passes before `calibrate`, behind
 * which the float model has the same values. Returns how many: 0 where nothing can be told. */
int layers_worst(qonnx_ctx *cx, const Args *args, const char *path, const char *prefix,
                 const qonnx_graph *made, Layer out[WORST_LAYERS]);

#endif
