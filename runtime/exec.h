/* runtime/exec.h - running a Program: an Image is the program made ready for an engine, shared by
 * all workers; an Exec is one worker's memory.
 */
#ifndef RUNTIME_EXEC_H
#define RUNTIME_EXEC_H

#include <qonnx/run.h>
#include "runtime/packs.h"

typedef enum Engine { ENGINE_PORTABLE, ENGINE_ONEDNN } Engine;

typedef struct Image Image;
typedef struct Exec Exec;

/* Packs the constant weights, or hands them to oneDNN; those that are shared once for all images
 * that have the same `packs`, which outlives them (NULL: for this one alone). Takes the program
 * over. */
Image *image_new(Program *p, Engine engine, Packs *packs);
void image_free(Image *m);
const Program *image_program(const Image *m);
size_t image_bytes(const Image *m); /* that it takes, about */

Exec *exec_new(const Image *m);
void exec_free(Exec *x);

/* Sees a tap's contents right after the call that made them. */
typedef void TapFn(void *user, const Tap *tap, const void *data);

/* Runs once. `inputs` are the fed inputs, of the program's shapes, their data aligned to its type;
 * `fn` may be NULL. Outputs are at exec_output until the next run. False only where something is to
 * run nobody knows how often, and takes more steps than the program may: with `work`, which may be
 * NULL, beside those that it holds, and it holds them all then. */
bool exec_run(Exec *x, Ctx *cx, const Tensor *inputs, int64_t *work, TapFn *fn, void *user);
const void *exec_output(const Exec *x, int i);

/* "auto", "onednn", "portable" or NULL; false with a message for others. */
bool engine_find(Ctx *cx, const char *name, Engine *out);
/* Once on every thread that will run. */
void engine_thread_init(Engine e);

#endif
