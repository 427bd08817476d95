/* ops/host.h - what operators are written with that programs cannot run, as those that look into
 * strings: plain functions from tensors to tensors, which run between the parts of a graph.
 */
#ifndef OPS_HOST_H
#define OPS_HOST_H

#include "ops/op.h"

/* One run of a node: runtime/host.c's. */
struct Host {
    Ctx *cx;          /* for messages */
    const Node *node; /* that runs */
    const Tensor *in; /* [node->nin] of what is left out the type is QONNX_UNDEFINED */
    Tensor *out;      /* [node->nout] with the data that host_out() gives */
    void *run;        /* of the whole graph */
};

/* Input i; NULL: it is left out. */
const Tensor *host_in(const Host *h, int i);

/* Memory for output i, zeroed, so that strings are empty. NULL on failure. */
void *host_out(Host *h, int i, DType t, int rank, const int64_t *dims);

/* Takes the steps of so many bytes that are gone through, or as costly ones. */
QONNX_CHECKED bool host_spend(Host *h, int64_t bytes);

/* Sets element i of a tensor of strings to a copy of the text. */
QONNX_CHECKED bool host_string(Host *h, void *strings, int64_t i, const char *text, size_t bytes);
/* The same to a string that is there already: an element of an input. */
void host_same(void *strings, int64_t i, const Tensor *from, int64_t at);

#endif
