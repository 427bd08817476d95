/* passes/spectra.h - products whose results are squared and compressed, as those of an STFT and of
 * the mel filters behind it. Written on include/qonnx/ alone.
 */
#ifndef PASSES_SPECTRA_H
#define PASSES_SPECTRA_H

#include "placement.h"

/* Marks the sites whose outputs go to nothing but logarithms and roots, through squares and linear
 * operators (Site.spectral), and the products that read a magnitude made of such (spectral, too):
 * what is small in a spectrum counts as much as what is large, and one scale of 8 bits has no room
 * for both. */
void spectra_find(Placement *p);

#endif
