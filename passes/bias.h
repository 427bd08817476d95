/* passes/bias.h - the bias of a matrix product, wherever it stands: an input of the node, or a
 * constant that an Add behind it adds. Written on include/qonnx/ alone.
 */
#ifndef PASSES_BIAS_H
#define PASSES_BIAS_H

#include "placement.h"

/* Whether the site has a bias of so many channels, or can be given one. */
bool bias_place(const Site *s, int64_t channels);
/* Adds shift[channels] to it; the node gets one where it has none. */
void bias_shift(const Site *s, int64_t channels, const double *shift);

#endif
