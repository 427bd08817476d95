/* cli/layer_errors.h - what a quantized model loses, layer by layer. Of each value that both models
 * have there are two errors: the accumulated one, where both run as they are, and the layer's own
 * one, where all layers of the quantized model are cut apart and each is fed with what the float
 * model computed.
 */
#ifndef CLI_LAYER_ERRORS_H
#define CLI_LAYER_ERRORS_H

#include "compare.h"
#include "layers.h"
#include "options.h"

enum { LAYER_SAMPLES = 16 }; /* by which layers are measured, unless --limit says otherwise */

/* A layer of the quantized model. */
typedef struct LayerError {
    const Match *match;
    Likeness all; /* what it gives in the model as it is, against the float model */
    Likeness own; /* and fed with the float model's values */
    int given;    /* which output of the float model it is */
    int cut;      /* which output of the graph of layers that are cut apart */
    bool worst;   /* it is among those with the most error of their own */
} LayerError;

/* Zero is an empty one. */
typedef struct LayerErrors {
    const char *files[2]; /* of the float and the quantized model */
    const qonnx_target *target;
    qonnx_graph *model, *made; /* owned; the layers of `made` are cut apart */
    Matches matches;
    LayerError *rows;     /* [matches.count] in the order of the float model's nodes */
    Comparison compared;  /* of the models as they are */
    Reference reference;  /* what the float model gives */
    int inputs;           /* of the quantized model, those in front of the layers' */
    qonnx_tensor *values; /* [compared.outputs] the float model's of one sample; data is owned */
    qonnx_tensor *sample; /* [its inputs] the samples' */
} LayerErrors;

/* Reads the two models of the command line and compares them on the samples, layer by layer. False:
 * `reference.fault` says what is wrong with the temporary file, else a message is in the context.
 * Either way layer_errors_release() frees what there is. */
QONNX_CHECKED bool layer_errors_measure(qonnx_ctx *cx, const Args *args, LayerErrors *out);
/* The same of a float model and what was made of it, which the result owns from now on. */
QONNX_CHECKED bool layer_errors_of(qonnx_ctx *cx, const Args *args, qonnx_graph *model,
                                   qonnx_graph *made, LayerErrors *out);
void layer_errors_release(LayerErrors *e);

/* The node's name; of one that has none, the value's. */
const char *layer_error_name(const LayerError *r);
/* Where it runs: fate_word() of placed.h. */
const char *layer_error_runs(const LayerError *r);
/* An object of all that is known of a layer. */
json_t *layer_error_json(const LayerError *r);

/* evaluate --layers: measures and prints that. Returns the exit status. */
int layer_errors(const Args *args);

#endif
