/* frontend/tensor.h - from the file format's TensorProto to a checked tensor: initializers,
 * attributes and .pb samples all come through here.
 */
#ifndef FRONTEND_TENSOR_H
#define FRONTEND_TENSOR_H

#include <qonnx/base.h>
#include "onnx.pb-c.h"

/* Gives memory for values that must be converted; `bytes` > 0. Never NULL. */
typedef void *TensorAlloc(void *user, size_t bytes);

/* Finds the data of a tensor that is kept in another file: exactly `bytes` > 0 of them. False after
 * qonnx_fail(). */
typedef bool TensorExternal(void *user, const Onnx__TensorProto *t, size_t bytes,
                            const void **data);

/* Checks `t` and describes it as a tensor: dims >= 0 and at most QONNX_MAX_RANK of them, a known
 * type, and exactly one place that holds exactly the bytes which type and shape ask for. Data in
 * raw_data (or another file) is pointed to, as are floats and doubles on little-endian machines;
 * data in other typed fields is range-checked and converted to dense form in memory from `alloc`.
 * Strings are pointed to, their array is memory from `alloc`. Tensors without elements get a data
 * that is not NULL.
 * `what` names the tensor in messages: "initializer 'w'"; `node` may be NULL. `external` NULL
 * refuses data in other files. `user` is handed to both callbacks. */
QONNX_CHECKED bool tensor_from_proto(qonnx_ctx *cx, const qonnx_node *node, const char *what,
                                     const Onnx__TensorProto *t, TensorAlloc *alloc,
                                     TensorExternal *external, void *user, qonnx_tensor *out);

#endif
