/* ops/recurrent.h - what the recurrent operators share, float and quantized. */
#ifndef OPS_RECURRENT_H
#define OPS_RECURRENT_H

#include "kernels/f_recurrent.h"
#include "lower/lower.h"

/* The sizes that the operands agree on; -1: not known. */
typedef struct Sizes {
    int64_t steps, batch, input, hidden;
    const char *steps_name, *batch_name; /* symbols of those that are open */
    int directions, gates;
} Sizes;

/* Reads them, and checks operands and attributes. */
bool recurrent_sizes(Ctx *cx, const Node *n, Sizes *s);
bool recurrent_shape(Ctx *cx, Node *n);
/* The kernel's parameters; x is [step][row][direction][gates], steps and rows in the node's order.
 * False: too large to be run. */
bool recurrent_params(Lower *l, const Node *n, const Sizes *s, f_recurrent_p *p);
/* The outputs that are read, behind which is the kernel's memory. */
void recurrent_outputs(Lower *l, Node *n, const f_recurrent_p *p, Buf *out[4]);
int64_t recurrent_macs(const Node *n);
int64_t recurrent_work(const Node *n);

#endif
