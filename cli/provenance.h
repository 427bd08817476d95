/* cli/provenance.h - what a model says of how it was made. */
#ifndef CLI_PROVENANCE_H
#define CLI_PROVENANCE_H

#include "pipeline.h"

/* Puts it into the metadata of what the passes made. No dates and no paths: the same inputs give
 * the same bytes. `stats` may be NULL: the passes have no `calibrate`. */
void provenance_record(qonnx_graph *g, const Args *args, const Passes *p, const qonnx_stats *stats);

#endif
