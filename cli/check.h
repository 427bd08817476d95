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

/* What is to be thought of a result. */
typedef enum Verdict {
    VERDICT_GOOD,
    VERDICT_FAIR,   /* an output is under 15 dB, but the classes are the float model's */
    VERDICT_DAMAGED /* an output is worth the warning */
} Verdict;
/* That of the worst output, which is *output; -1: none is of floats, or nothing was compared. */
Verdict check_verdict(const Comparison *c, int *output);

/* What may help a bad result most. */
typedef enum Remedy {
    REMEDY_CHANNELS, /* weights have one scale a tensor */
    REMEDY_BIAS,     /* biases are not corrected */
    REMEDY_OBSERVER, /* it is another than mse */
    REMEDY_EXCLUDE   /* none of these */
} Remedy;
Remedy passes_remedy(const Passes *p);
/* Whether that may help. */
bool passes_want(const Passes *p, Remedy remedy);

/* Lines of the summary, for the outputs of the graph. */
void check_print(const Comparison *c, const qonnx_graph *made);
/* The same as an object; null where nothing was checked. */
json_t *check_json(const Comparison *c, const qonnx_graph *made);

#endif
