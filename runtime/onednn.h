/* runtime/onednn.h - oneDNN as a second implementation of some float kernels (their trait
 * `onednn_...`), by the kernel's own parameter struct and plain channels-last tensors.
 */
#ifndef RUNTIME_ONEDNN_H
#define RUNTIME_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include "runtime/packs.h"

typedef struct OnednnOp OnednnOp;

/* Weights in oneDNN's layouts, each made once for all operators that have the same. */
OnednnWeights *onednn_weights_new(void);
void onednn_weights_free(OnednnWeights *w);

/* oneDNN's form of one call of kernel `k` with parameters `p`, which outlive it, and inputs `in`
 * [k->nin]. Weights that the kernel packs, constant ones, are reordered here, once, or found in
 * `shared`, which outlives the operator then. NULL when oneDNN has no fast form of it: the caller
 * uses the portable kernel then. */
OnednnOp *onednn_op_new(const Kernel *k, const void *p, Buf *const *in, OnednnWeights *shared);
void onednn_op_free(OnednnOp *op);

/* Bytes of scratch memory, 64-byte aligned, that a run needs: one per worker, contents unused. */
size_t onednn_op_scratch(const OnednnOp *op);

/* y = op(in...): the kernel's inputs, of which those that are weights are not looked at. [any
 * thread, each with a scratch of its own; call onednn_thread_init() once on it] */
void onednn_op_run(const OnednnOp *op, const void *const *in, void *y, void *scratch);

/* Makes oneDNN compute on the calling thread alone. */
void onednn_thread_init(void);

/* Whether the calling thread is in oneDNN. [any handler] */
bool onednn_running(void);

/* "onednn 2.6.3 avx512_core_amx" (version and effective instruction set). */
const char *onednn_name(void);

#endif
