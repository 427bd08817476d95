/* ops/rotary.h - positions as rotations, which operators are made of. */
#ifndef OPS_ROTARY_H
#define OPS_ROTARY_H

#include "kernels/f_rotary.h"
#include "ops/attend.h"

/* Fails with a message unless inputs `cos` and `sin` are tables for `turned` elements of heads of
 * `size`, -1 where open: [place][turned / 2], or, `own`, [batch][row][turned / 2]. */
bool rotary_check(Ctx *cx, const Node *n, int cos, int sin, int64_t turned, int64_t size, bool own);
/* The parameters of rows of heads that lie as `x` says and go to where `y` says; what is said of
 * places is left to the caller. */
f_rotary_p rotary_params(int64_t batch, int64_t heads, int64_t rows, int64_t size, int64_t turned,
                         bool interleaved, Heads x, Heads y);
/* Whether there is a place in the tables; a message where not. */
bool rotary_places(Ctx *cx, const Node *n, int cos, f_rotary_p *p);
/* Emits the call; ids may be NULL. */
void rotary_call(Lower *l, Node *n, const f_rotary_p *p, Buf *x, int cos, int sin, Buf *ids,
                 Buf *y);

#endif
