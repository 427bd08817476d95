/* qonnx/pass.h - passes, observers, and the plugins that bring them.
 *
 * Built-in passes and observers are written against include/qonnx/ alone, so whatever they can do
 * a plugin can. Each is one file that ends in its descriptor: read it from the bottom.
 */
#ifndef QONNX_PASS_H
#define QONNX_PASS_H

#include <qonnx/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An option of a pass or an observer: `pass{name=value}` in a pipeline. */
typedef struct qonnx_option {
    const char *name;  /* "observer"; the list ends with a NULL name */
    const char *value; /* its default, as text */
    const char *help;  /* one line */
} qonnx_option;

/** What a pass or an observer is given beside the graph; lives for the call. */
typedef struct qonnx_job qonnx_job;

/** The option's value as text, or its default. Asking for an option that the descriptor does not
 *  list is a programming error (assert). */
QONNX_API const char *qonnx_job_text(const qonnx_job *job, const char *option);
/** The same as a number; a text that is none was refused before the pass ran, if the default is
 *  a number. */
QONNX_API double qonnx_job_number(const qonnx_job *job, const char *option);
/** The same as a truth value: "true", "yes", "1", "on" and the opposites. */
QONNX_API bool qonnx_job_flag(const qonnx_job *job, const char *option);
/** The target profile; never NULL. */
QONNX_API const qonnx_target *qonnx_job_target(const qonnx_job *job);
/** The calibration statistics; NULL when the pipeline runs without. */
QONNX_API const qonnx_stats *qonnx_job_stats(const qonnx_job *job);

/** A pass edits a graph. Called once for the main graph; subgraphs are reached from their nodes.
 *  Returns false after qonnx_fail(). [the pipeline's thread] */
typedef struct qonnx_pass {
    const char *name;            /* "fold-batchnorm" */
    const char *brief;           /* one line for `qonnx passes` */
    const qonnx_option *options; /* ends with a NULL name; NULL: none */
    bool (*run)(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job);
} qonnx_pass;

/** An observer chooses the range that an activation is quantized to. `h` has at least one finite
 *  value. It must be a pure function of its arguments: it runs on several threads at once.
 *  Returns false after qonnx_fail(). [any thread] */
typedef struct qonnx_observer {
    const char *name;            /* "mse" */
    const char *brief;           /* one line for `qonnx passes` */
    const qonnx_option *options; /* ends with a NULL name; NULL: none */
    bool (*range)(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi);
} qonnx_observer;

/** Runs the observer named NAME, or NAME{option=value}, on a histogram: the calibrate pass's job. */
QONNX_API QONNX_CHECKED bool qonnx_observe(qonnx_ctx *cx, const char *observer,
                                           const qonnx_histogram *h, const qonnx_grid *grid,
                                           float *lo, float *hi);

/* ---- plugins ---------------------------------------------------------------------------------- */

/** Until 1.0 a plugin must have been built for exactly this number. */
#define QONNX_ABI 1u

typedef struct qonnx_plugin {
    uint32_t abi;                           /* QONNX_ABI */
    const char *name, *version;
    const qonnx_pass *const *passes;        /* ends with NULL; NULL: none */
    const qonnx_observer *const *observers; /* ends with NULL; NULL: none */
    const void *reserved[8];                /* NULL: operators and backends, later */
} qonnx_plugin;

/** The one symbol a plugin exports. Returns a descriptor with static lifetime, or NULL when it
 *  cannot serve a host of that ABI. Called once, right after dlopen. */
typedef const qonnx_plugin *qonnx_plugin_query_fn(uint32_t host_abi);
#define QONNX_PLUGIN_QUERY "qonnx_plugin_query"

#ifdef __cplusplus
}
#endif
#endif
