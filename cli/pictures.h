/* cli/pictures.h - how pictures become samples, as the command line says it. */
#ifndef CLI_PICTURES_H
#define CLI_PICTURES_H

#include "options.h"
#include <qonnx/run.h>

/* Makes args->pictures of the options that say how pictures become samples. Returns -1 to go on,
 * else the exit status: the message has been printed. */
int pictures_read(const Verb *verb, Args *args);

/* Takes what the metadata of the model at `path` says of pictures, for other models, too. Returns
 * whether it says anything. */
bool pictures_take(qonnx_ctx *cx, Args *args, const qonnx_graph *g, const char *path);

/* Says in one line what is done to the pictures of a data set, if there are some, and warns where
 * the model was quantized for something else; the same line is printed once. */
void pictures_tell(const qonnx_dataset *d, const qonnx_graph *g);

#endif
