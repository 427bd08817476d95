/* cli/check.h - what became of a model: its outputs beside those of the float model that it was
 * made from, on some of the samples.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "compare.h"
#include "options.h"
#include <jansson.h>
#include <qonnx/run.h>

/* The outputs of a quantized model beside the float model's. */
typedef struct Check {
    size_t samples;     /* that both have run; 0: none, nothing is known */
    int outputs;        /* of the model */
    char **names;       /* [outputs] theirs; owned */
    Likeness *likeness; /* [outputs] */
    const char *fault;  /* why there was no room for the outputs to wait in, NULL: there was */
} Check;

/* Runs two graphs with the same outputs on at most `most` of the samples, spread evenly over them;
 * damaged ones are left out. A message is in the context when it fails; a fault of the temporary
 * file is none: nothing was checked. */
QONNX_CHECKED bool check_compare(qonnx_ctx *cx, const Args *args, size_t most,
                                 const qonnx_graph *model, const qonnx_graph *made, Check *out);

/* The same with the float model of `path`, the graph that was made of it, and --check-samples. */
QONNX_CHECKED bool check_run(qonnx_ctx *cx, const Args *args, const char *path,
                             const qonnx_graph *made, Check *out);
void check_free(Check *c);

/* The output that a user should not take as it is; -1: there is none. One is worth a warning under
 * 15 dB, unless at least 90 % of the samples have the float model's class, and under 8 dB always.
 */
int check_worst(const Check *c);

/* Lines of the summary. */
void check_print(const Check *c);
/* The same as an object; null where nothing was checked. */
json_t *check_json(const Check *c);

#endif
