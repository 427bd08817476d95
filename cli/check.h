/* cli/check.h - what became of a model: its outputs beside those of the float model that it was
 * made from, on some of the samples; and what is said of them.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "compare.h"
#include "pipeline.h"

/* Runs the float model, which is the command's first operand, and the graph that the passes made of
 * it on --check-samples of the samples, prepared as those were that were counted. Where an output
 * is not as a user should take it, that is a warning, or with --strict a failure; with --strict
 * also that nothing could be checked. An output is worth a warning under 15 dB, unless at least 90
 * % of the samples have the float model's class, and under 8 dB always. A message is in the context
 * when it fails. */
QONNX_CHECKED bool check_made(qonnx_ctx *cx, const Args *args, const Passes *passes,
                              const qonnx_stats *stats, const qonnx_graph *made, Comparison *out);

/* Lines of the summary, for the outputs of the graph. */
void check_print(const Comparison *c, const qonnx_graph *made);
/* The same as an object; null where nothing was checked. */
json_t *check_json(const Comparison *c, const qonnx_graph *made);

#endif
