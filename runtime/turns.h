/* runtime/turns.h - a Loop or Scan whose turns are not all alike: a state changes its shape, a
 * shape within its body depends on data, or nobody knows how many parts there will be.
 *
 * Its body is a graph of its own, which runs once a turn, like a session's for a sample: a program
 * is made for the shapes that a turn is given, and found again by the turns that are given the same
 * (variant.h). What is observed in the body is tapped there. The turns take from the limits of the
 * whole run.
 */
#ifndef RUNTIME_TURNS_H
#define RUNTIME_TURNS_H

#include "runtime/stages.h"

/* One run of one node. */
typedef struct TurnsRun {
    Ctx *cx;
    const Turned *turned;
    Variants *body;       /* of its body */
    const Limits *limits; /* what the run may take */
    Used *used;           /* what it has taken */
    TapFn *fn;            /* sees the taps; may be NULL */
    void *user;           /* fn's */
} TurnsRun;

/* Runs the node. `in` are its operands as Turned.in has them; of what is left out the type is
 * QONNX_UNDEFINED. out[i], where it is wanted, gets data that the caller frees, whose bytes `used`
 * counts until then. */
QONNX_CHECKED bool turns_run(const TurnsRun *r, const Tensor *in, Tensor *out);

#endif
