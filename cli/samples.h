/* cli/samples.h - the samples that verbs run a model on, and what is odd about them. */
#ifndef CLI_SAMPLES_H
#define CLI_SAMPLES_H

#include "options.h"
#include <qonnx/run.h>

/* What samples are for. */
typedef enum Use { USE_RUN, USE_CALIBRATE, USE_EVALUATE } Use;

/* Opens the samples of DATA arguments, as the options say. NULL on failure. */
qonnx_dataset *samples_open(qonnx_ctx *cx, const qonnx_graph *g, const Args *args,
                            const char *const *specs, int nspecs);

/* Frees them; says what was done to pictures if that has come to light meanwhile. */
void samples_close(qonnx_dataset *d, const qonnx_graph *g);

/* Thins the samples out to those of --limit and --random, as samples_open does. */
void samples_limit(qonnx_dataset *d, const Args *args);

/* Gives the samples their classes: from `labels`, or where that is NULL from the labels.txt that
 * stands with them, else from their folders. Warns where folders or classes may not be the model's.
 * Only evaluate needs the classes: for others a labels.txt that is odd is not worth a word. False
 * on failure. */
bool samples_classify(qonnx_ctx *cx, qonnx_dataset *d, const qonnx_graph *g, const char *labels,
                      Use use);

/* Warns where `count` samples, of which the statistics at `where` were taken, are few. */
void warn_few(const char *where, unsigned long long count);

#endif
