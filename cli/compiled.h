/* cli/compiled.h - a model as machine code of this machine: compiled to C, by $CC to a shared
 * object, loaded and run.
 */
#ifndef CLI_COMPILED_H
#define CLI_COMPILED_H

#include <qonnx/run.h>

/* Runs every sample through the compiled model, in order, one after the other: as qonnx_session_run
 * does, and gives the same. Files are made in a temporary directory and removed. Fails with a
 * message where the model cannot be compiled, the compiler fails, or a sample has another shape
 * than the model. */
QONNX_CHECKED bool compiled_run(qonnx_ctx *cx, const qonnx_graph *g, const qonnx_dataset *d,
                                qonnx_output_fn *fn, void *user);

#endif
