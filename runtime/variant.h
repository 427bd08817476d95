/* runtime/variant.h - a session's programs: one for each set of input shapes, and of the contents
 * of inputs that are bound (bind.h). When they take much memory, those that were not used for the
 * longest time are dropped.
 */
#ifndef RUNTIME_VARIANT_H
#define RUNTIME_VARIANT_H

#include "runtime/exec.h"

typedef struct Variants Variants;

/* Makes programs of `g`, which is prepared (prepare.h) and must outlive it. None may take more than
 * `max_memory` bytes, 0: than limits.h says. */
Variants *variants_new(const Graph *g, Engine e, size_t max_memory);
void variants_free(Variants *all);

/* The image for such inputs, made when it is new; it stays until it is given back. NULL on failure.
 * [any thread] */
const Image *variants_take(Ctx *cx, Variants *all, const Tensor *inputs);
/* NULL is fine. [any thread] */
void variants_give_back(Variants *all, const Image *m);

#endif
