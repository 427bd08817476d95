/* ops/op.h - what an operator is: one row in its family's table, with its functions in the same
 * file. The families are listed in meson.build.
 */
#ifndef OPS_OP_H
#define OPS_OP_H

#include "ir/ir.h"

typedef struct Lower Lower;

typedef struct Op {
    const char *name;    /* op_type in ONNX's own domain */
    int min_in, max_in;  /* inputs it takes; max -1: any number */
    /* Infers dtype and shape of the outputs from the inputs' (which may be unknown: then it
     * leaves them so). False: the operands are wrong; the message says how. */
    bool (*shape)(Ctx *cx, Node *n);
    /* How it is quantized. `refine` fills in what depends on the node (axes, bounds), or NULL. */
    qonnx_rule rule;
    void (*refine)(const Node *n, qonnx_rule *rule);
    /* Emits kernel calls for the node. NULL: known, but not run by this library yet. */
    bool (*lower)(Lower *l, Node *n);
    /* Multiply-accumulates at the inferred shapes, or NULL for none. */
    int64_t (*macs)(const Node *n);
    /* Bit i: input i must be constant, a list of integers, for the shapes to be known. Sessions
     * take what samples feed there as constant (runtime/bind.h). */
    unsigned lists;
} Op;

/* Rules that many rows share: no weight, no bias. */
#define RULE(k, acts)                                                                              \
    {.kind = k, .activations = acts, .weight = -1, .bias = -1, .weight_axis = -1, .channel_axis = -1}
#define RULE_FLOAT RULE(QONNX_RULE_FLOAT, 0)

/* Whether the attributes that ONNX has types for have them (ops/attributes.c). */
bool op_check_attributes(Ctx *cx, const Node *n);

/* The row of an operator, NULL when there is none. */
const Op *op_find(const char *domain, const char *name);

/* ---- helpers for shape functions (ops/shapes.c) ---------------------------------------------- */

/* The value's shape when its rank is known; NULL otherwise, or when it is left out. */
const Shape *in_shape(const Node *n, int i);
DType in_dtype(const Node *n, int i);
/* Product of dims[from..to), -1 when one is unknown or it does not fit. */
int64_t shape_product(const Shape *s, int from, int to);
/* Sets what is known of output i; dims of -1 keep what the file says. Fails when a known size
 * overflows. */
bool out_shape(Ctx *cx, Node *n, int i, DType dtype, const Shape *s);
/* Output 0 like input 0. */
bool same_shape(Ctx *cx, Node *n);
/* Normalizes an axis of -rank..rank-1; false with a message when it is out of range. */
bool check_axis(Ctx *cx, const Node *n, int64_t axis, int rank, int *out);
/* numpy's broadcasting of all inputs. */
bool broadcast_shape(Ctx *cx, Node *n);

#endif
