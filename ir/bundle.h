/* ir/bundle.h - bundles: values that are no tensors but hold some, sequences and optionals. As data
 * they are Tensors, too (qonnx_tensor says how).
 */
#ifndef IR_BUNDLE_H
#define IR_BUNDLE_H

#include "ir/ir.h"

static inline bool is_bundle(DType t)
{
    return ((unsigned)t & (QONNX_SEQUENCE | QONNX_OPTIONAL)) != 0;
}

/* The type of the tensors in the end: itself, of a tensor. */
static inline DType bundle_element(DType t)
{
    return (DType)((unsigned)t & ~(unsigned)(QONNX_SEQUENCE | QONNX_OPTIONAL));
}

/* The type of what a bundle holds. */
static inline DType bundle_inner(DType t)
{
    bool optional = ((unsigned)t & QONNX_OPTIONAL) != 0;
    return (DType)((unsigned)t & ~(unsigned)(optional ? QONNX_OPTIONAL : QONNX_SEQUENCE));
}

/* The type of a sequence (or optional) of such; QONNX_UNDEFINED where that type is not known, and
 * where there is none in ONNX. */
DType bundle_of(DType inner, DType kind);

/* A bundle of these: its data is `parts`, which is not copied. */
Tensor bundle_make(DType t, const Tensor *parts, int64_t count);

/* What it holds. */
static inline const Tensor *bundle_parts(const Tensor *t) { return t->data; }

/* How many tensors it holds in the end. 1: it is one. */
int64_t bundle_leaves(const Tensor *t);
/* Writes these in order from `to` on; returns where it ends. */
Tensor *bundle_flatten(const Tensor *t, Tensor *to);

/* Copies what a tensor or bundle holds to `to`, which has room for t->bytes and is aligned as
 * malloc() has it. So the data of a bundle is one piece of memory. */
void bundle_copy(void *to, const Tensor *t);

#endif
