/* ops/string_cast.h - what Cast does where it meets strings, and Equal of them. */
#ifndef OPS_STRING_CAST_H
#define OPS_STRING_CAST_H

#include "ops/host.h"

/* Op.host of Cast and CastLike. Numbers are written as ONNX Runtime writes them, with 8 digits.
 * What is read must be a number, from its begin to its end, and fit the type. */
bool host_cast(Host *h, const Node *n);
/* Op.host of Equal. (strings.c) */
bool host_equal(Host *h, const Node *n);

#endif
