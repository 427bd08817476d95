/* cli/trained.h - what a model says of the inputs that it was trained on, and whether the samples
 * are like them. docs/preprocessing.md has the criterion.
 */
#ifndef CLI_TRAINED_H
#define CLI_TRAINED_H

#include <qonnx/qonnx.h>

typedef struct Trained Trained;

/* Reads it off a float model, before a pass folds the BatchNormalizations that hold it. */
Trained *trained_read(const qonnx_graph *g);

/* Warns where the statistics cannot be those of such inputs: once, of the first layer that says so.
 */
void trained_warn(const Trained *t, const qonnx_stats *s);

void trained_free(Trained *t);

#endif
