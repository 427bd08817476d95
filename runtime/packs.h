/* runtime/packs.h - constants in the forms that kernels want, each made once for all programs of a
 * session: a program for other shapes has the same weights.
 *
 * A form is found again by the address of the constant, so only constants that outlive all programs
 * may be given (Buf.shared). Where these lie in a mapped file, its pages are given back once they
 * are packed: they can be read again.
 */
#ifndef RUNTIME_PACKS_H
#define RUNTIME_PACKS_H

#include "lower/program.h"

typedef struct Packs Packs;
typedef struct OnednnWeights OnednnWeights; /* runtime/onednn.h */

Packs *packs_new(void);
void packs_free(Packs *p);

/* The constant, packed for the kernel; lives as long as `p`. [any thread] */
const void *packs_packed(Packs *p, const Kernel *k, const void *params, const Buf *b);
/* Its bytes, aligned for its elements: where they are, or a copy. [any thread] */
const void *packs_aligned(Packs *p, const Buf *b);
/* oneDNN's forms of weights. */
OnednnWeights *packs_onednn(Packs *p);

#endif
