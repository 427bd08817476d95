/* runtime/stages.h - one worker's runs of a graph, part by part (cut.h). It keeps the memory of
 * every part as long as the next sample takes the same program there.
 */
#ifndef RUNTIME_STAGES_H
#define RUNTIME_STAGES_H

#include "runtime/variant.h"

typedef struct Stages Stages;

/* For the variants of a session's graph, or of a body, which must outlive it. */
Stages *stages_new(Variants *all);
void stages_free(Stages *s);

/* Runs once. `inputs` are the fed inputs, with data aligned to its type; `fn` may be NULL. */
QONNX_CHECKED bool stages_run(Ctx *cx, Stages *s, const Tensor *inputs, TapFn *fn, void *user);

/* The same for one turn of a run that has taken `u` so far. */
QONNX_CHECKED bool stages_turn(Ctx *cx, Stages *s, const Tensor *inputs, Used *u, TapFn *fn,
                               void *user);
/* Gives back what the last turn has made. */
void stages_forget(Stages *s, Used *u);

/* Whether the size of output i depends on data, as the last run has found: on more than the shapes
 * of the inputs. */
bool stages_output_depends(const Stages *s, int i);

/* The graph's output i, with data, until the next run. */
Tensor stages_output(const Stages *s, int i);

#endif
