/* cli/layer_errors.h - qonnx evaluate --layers: what a quantized model loses, layer by layer. */
#ifndef CLI_LAYER_ERRORS_H
#define CLI_LAYER_ERRORS_H

#include "options.h"

/* Compares the two models of the command line on the samples, layer by layer, and prints that.
 * Returns the exit status. */
int layer_errors(const Args *args);

#endif
