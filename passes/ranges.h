/* passes/ranges.h - ranges that are shared: what data movement in integers hands on has one, and so
 * has what a Concat in integers joins. Written on include/qonnx/ alone.
 */
#ifndef PASSES_RANGES_H
#define PASSES_RANGES_H

#include "placement.h"

/* Widens the ranges of the values of the model with the main graph `g`, as far as those operators
 * that the placement has in integers bind them together. */
void ranges_share(const Placement *p, qonnx_graph *g);

/* Whether a range was given for the value (qonnx_override), so that it is neither chosen nor
 * shared. */
static inline bool range_is_given(const qonnx_value *v)
{
    const qonnx_override *o = qonnx_value_override(v);
    return o && (o->ranged || o->scales);
}

#endif
