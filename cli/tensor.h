/* cli/tensor.h - tensors as the verbs see them: what they are, as text, as NumPy files. */
#ifndef CLI_TENSOR_H
#define CLI_TENSOR_H

#include <qonnx/base.h>

/* Whether it is a floating-point type: those are compared with a tolerance. */
bool is_real(qonnx_dtype t);
/* Whether it is no tensor but holds some: a sequence, an optional. */
bool holds_tensors(qonnx_dtype t);
/* Whether its elements are numbers that qonnx_tensor_get() reads. */
bool is_number(qonnx_dtype t);

/* Element i of a tensor of numbers. */
double element(const qonnx_tensor *t, int64_t i);

/* Number of elements, where the tensor is a floating-point vector of two or more (all dimensions
 * but one are 1): scores of classes. Otherwise 0. */
int64_t vector_length(const qonnx_tensor *t);

/* How many of `count` elements come before that of the class; ties go to the lower index. All do
 * where that is NaN. */
int64_t class_rank(const qonnx_tensor *t, int64_t count, int64_t class);

/* "float[1,10]" into out[size]. Returns out. */
const char *tensor_text(char *out, size_t size, const qonnx_tensor *t);

/* Element i of a tensor of strings, cut off and without what a terminal would obey, into out[size].
 * Returns out. */
const char *string_text(char *out, size_t size, const qonnx_tensor *t, int64_t i);

/* Writes the tensor as a NumPy file. False after a message: the type has no form there, or the
 * file can not be written. */
bool npy_write(const char *path, const qonnx_tensor *t);

#endif
