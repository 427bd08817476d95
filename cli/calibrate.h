/* cli/calibrate.h - what the verbs that run a model on samples share. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "options.h"
#include "samples.h"
#include <qonnx/run.h>

/* Reads a model that is not to be written: its inputs have the shapes of --shape. NULL on failure.
 */
qonnx_graph *shaped_load(qonnx_ctx *cx, const Args *args, const char *path);

/* The same for one that is to be run: one of an older operator set is raised, since a session knows
 * the newer forms alone. */
qonnx_graph *runnable_load(qonnx_ctx *cx, const Args *args, const char *path);

/* A copy of a graph, which must outlive it, with the shapes of --shape. NULL on failure. */
qonnx_graph *shaped_copy(qonnx_ctx *cx, const qonnx_graph *g, const Args *args);
/* Whether there can be one: asked before the passes run. */
bool shapes_fit(qonnx_ctx *cx, const qonnx_graph *g, const Args *args);

/* Fails when the output would replace a file that any input resolved to, samples and plugins among
 * them, or would be read as one by the next run; before any of them is read or run. */
bool output_spared(qonnx_ctx *cx, const qonnx_graph *g, const char *const *specs, int nspecs,
                   const char *output);

/* The options of a session that the command line asks for. */
qonnx_session_options session_options(const Args *args);

/* Options of the verbs that calibrate. */
#define OPTION_ALLOW_NONFINITE                                                                     \
    {                                                                                              \
        "allow-nonfinite", 0, OPTION_FLAG, offsetof(Args, allow_nonfinite), NULL, NULL,            \
            "leave operators with NaN or infinite weights in\n"                                    \
            "float, instead of failing"                                                            \
    }
#define OPTION_MAX_BAD                                                                             \
    {                                                                                              \
        "max-bad", 0, OPTION_REAL, offsetof(Args, max_bad), "PERCENT", "1",                        \
            "leave damaged files out, up to this share of the\n"                                   \
            "samples; 0: fail at the first"                                                        \
    }

/* Whether a graph, of which the passes before `calibrate` are done, can be: it is in float, and its
 * weights are finite or may be otherwise. */
bool calibratable(qonnx_ctx *cx, const qonnx_graph *g, const Args *args);

/* Runs the graph, which the passes `prefix` made, on the samples, in the shapes of --shape. NULL on
 * failure. */
qonnx_stats *statistics_collect(qonnx_ctx *cx, const qonnx_graph *g, const Args *args,
                                const char *const *specs, int nspecs, const char *prefix);

#endif
