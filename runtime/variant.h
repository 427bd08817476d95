/* runtime/variant.h - a session's programs: one for each set of input shapes, and of the contents
 * of inputs that are bound (bind.h). Where the graph must be cut (cut.h), a program is that of its
 * first part, and the rest has programs of its own, in the same way, and so have the bodies that
 * run turn by turn. When they take much memory, those that were not used for the longest time are
 * dropped.
 */
#ifndef RUNTIME_VARIANT_H
#define RUNTIME_VARIANT_H

#include "runtime/cut.h"
#include "runtime/exec.h"
#include "runtime/limits.h"

/* Of one graph: a session's, what is left of it behind a cut, or a body that runs turn by turn. */
typedef struct Variants Variants;

/* What was made for one set of inputs. What is not said to be variant.c's stays as it is. */
typedef struct Variant {
    Image *image;      /* of the first part; NULL: it is being made */
    int fed;           /* inputs that it is made for; what is in bundles is single ones of its
                          program */
    Cut cut;           /* where the inputs of the rest and the outputs come from */
    Variants *rest;    /* NULL: there is none */
    Variants **bodies; /* [cut.nturned] of the nodes that run turn by turn */
    Limits limits;     /* what one run may take, and what this part and those before it do */
    int64_t work;      /* steps of the first part */
    size_t memory;     /* bytes of buffers and outputs of it and of the parts before */
    int64_t making;    /* steps that it takes to make it, and to have memory for it */
    /* variant.c's: */
    struct Variant *next;
    void *key;        /* what decides it: shapes, and contents of the inputs that are bound */
    size_t key_bytes; /* of the key */
    size_t bytes;     /* of its memory, without the rest's */
    uint64_t used;    /* when it was taken last */
    int users;        /* that have not given it back */
} Variant;

/* Makes programs of `g`, which is prepared (prepare.h) and must outlive it. None may take more than
 * `max_memory` bytes, 0: than limits.h says. */
Variants *variants_new(const Graph *g, Engine e, size_t max_memory);
void variants_free(Variants *all);

/* The one for such inputs, made when it is new, and once, however many threads want it; it stays
 * until it is given back, which those of its rest are before. NULL on failure. [any thread] */
const Variant *variants_take(Ctx *cx, Variants *all, const Tensor *inputs);
/* The most Variant.memory of all that were made. [any thread] */
size_t variants_memory(Variants *all);
/* NULL is fine. [any thread] */
void variants_give_back(Variants *all, const Variant *v);

#endif
