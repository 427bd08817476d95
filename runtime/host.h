/* runtime/host.h - runs nodes that programs cannot (ops/host.h). The strings that they make live as
 * long as the run, wherever in it they are kept.
 */
#ifndef RUNTIME_HOST_H
#define RUNTIME_HOST_H

#include "ops/host.h"
#include "runtime/limits.h"

/* Runs the node. `in` are its operands; out[i] gets data that the caller frees, whose bytes `u`
 * counts until then. */
QONNX_CHECKED bool host_run(Ctx *cx, const Node *n, const Limits *l, Used *u, const Tensor *in,
                            Tensor *out);

#endif
