/* passes/weight_view.h - weights of convolutions and matrix products as one kind of matrix, and
 * what is known of what they meet. Written on include/qonnx/ alone.
 */
#ifndef PASSES_WEIGHT_VIEW_H
#define PASSES_WEIGHT_VIEW_H

#include "placement.h"

/* A weight seen as [outputs][inputs][window] elements, at these strides. */
typedef struct WeightView {
    int64_t outputs, inputs, window;
    int64_t output_step, input_step; /* the window's elements are adjacent */
    int64_t groups;                  /* of a convolution: the inputs are those of one group */
    const double *share;             /* [window] the part of the positions for which that tap lies
                                        inside the input; NULL: all of them */
} WeightView;

/* False for operators and weights that have no such view. */
bool weight_view(const qonnx_node *n, const qonnx_rule *rule, WeightView *v);

/* What the statistics know of the channels that the weight contracts; NULL where they were not
 * observed, or not all are finite. */
const qonnx_channels *weight_input(const Placement *p, const Site *s, const WeightView *v);

#endif
