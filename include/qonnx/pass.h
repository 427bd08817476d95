/* qonnx/pass.h - passes, observers, and the plugins that bring them.
 *
 * Built-in passes and observers are written against include/qonnx/ alone, so whatever they can do
 * a plugin can. Each is one file that ends in its descriptor: read it from the bottom.
 *
 *   ownership  Descriptors, and all that they point to, belong to whoever wrote them, have static
 *              lifetime and never change. The host copies nothing of them and frees nothing.
 *              Arguments of a callback belong to the host and live for the call, unless a callback
 *              says otherwise. What a callback allocates itself it frees itself, before it returns;
 *              memory of qonnx_graph_alloc() goes with the graph.
 *   threads    Every callback says where it is called. None is called while its plugin is being
 *              loaded, and none after the process began to exit.
 *   state      Callbacks keep none: the same arguments give the same result, whatever ran before.
 *              Neither do they change the process: no locale, signals, working directory, exit().
 *   errors     A callback that fails calls qonnx_fail() once and returns false. Text for people
 *              goes through qonnx_warn() and qonnx_note(), never to standard output or standard
 *              error.
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

typedef struct qonnx_dataset qonnx_dataset;                 /* run.h */
typedef struct qonnx_session_options qonnx_session_options; /* run.h */

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
/** The target profile; never NULL for a pass. An observer gets none: it has its grid. */
QONNX_API const qonnx_target *qonnx_job_target(const qonnx_job *job);
/** The calibration statistics; NULL when the pipeline runs without. */
QONNX_API const qonnx_stats *qonnx_job_stats(const qonnx_job *job);
/** The user's samples, for qonnx_watch() and sessions of one's own; NULL unless the pass has
 *  `samples` set. They were opened for this model, whose inputs they feed. */
QONNX_API const qonnx_dataset *qonnx_job_samples(const qonnx_job *job);
/** How the user wants sessions to run (engine, threads, memory); NULL: as by default. */
QONNX_API const qonnx_session_options *qonnx_job_session_options(const qonnx_job *job);
/** For an observer: the name of the value whose range is chosen, and what is known of its channels;
 *  NULL where that is not known. */
QONNX_API const char *qonnx_job_value(const qonnx_job *job);
QONNX_API const qonnx_channels *qonnx_job_channels(const qonnx_job *job);

/** A pass edits a graph. */
typedef struct qonnx_pass {
    size_t size;                 /* sizeof(qonnx_pass): later versions add fields at the end */
    const char *name;            /* "fold-batchnorm": at most 64 of a-z, 0-9, '-', '_' and '.' */
    const char *brief;           /* one line for `qonnx passes` */
    const qonnx_option *options; /* ends with a NULL name; NULL: none */

    /** Edits the model, whose main graph is `g`; its subgraphs follow (qonnx_graph_next). Called
     * once each time that the pass stands in a pipeline. The order of the nodes and the shapes are
     * right when it is called, and need not be when it returns: the host sorts, infers and verifies
     *  then, and a graph that the pass broke is the pass's failure. After a failure the graph is
     *  thrown away, so there is nothing to undo.
     *  `cx`, `g` and `job` are the host's; do not free them, nor keep them or pointers into them.
     *  Nobody else uses the graph meanwhile. The pass may start threads that read the graph, and
     *  has ended them when it returns.
     *  Returns false after qonnx_fail(). [the thread of qonnx_pipeline_run] */
    bool (*run)(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job);

    bool samples; /* it asks for samples; where the user gives none, it is not run, and that is a
                     failure */
} qonnx_pass;

/** An observer chooses the range that an activation is quantized to. */
typedef struct qonnx_observer {
    size_t size;                 /* sizeof(qonnx_observer): later versions add fields at the end */
    const char *name;            /* "mse": as of a pass */
    const char *brief;           /* one line for `qonnx passes` */
    const qonnx_option *options; /* ends with a NULL name; NULL: none */

    /** Writes the range to *lo and *hi: finite, lo <= hi. It need not hold zero: it is widened to.
     *  `h` has at least one finite value, so at least one bin. `grid` is the integers that the
     *  range will be laid out on. All arguments are the host's and live for the call.
     *  Must be a pure function of `h`, `grid`, the options, qonnx_job_value() and its channels, for
     * it may run on several threads at once, each with a `cx` of its own. Returns false after
     * qonnx_fail(). [any thread] */
    bool (*range)(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi);
} qonnx_observer;

/** Runs the observer named NAME, or NAME{option=value}, on a histogram: the calibrate pass's job.
 */
QONNX_API QONNX_CHECKED bool qonnx_observe(qonnx_ctx *cx, const char *observer,
                                           const qonnx_histogram *h, const qonnx_grid *grid,
                                           float *lo, float *hi);
/** The same for a value, whose name and channels the observer may ask for. `stats` may be NULL. */
QONNX_API QONNX_CHECKED bool qonnx_observe_value(qonnx_ctx *cx, const char *observer,
                                                 const qonnx_value *v, const qonnx_stats *stats,
                                                 const qonnx_histogram *h, const qonnx_grid *grid,
                                                 float *lo, float *hi);

/* ---- plugins --------------------------------------------------------------------------------- */

/* A plugin is a shared object that exports qonnx_plugin_query and is linked to libqonnx.so. The
 * host (run.h) loads it with all its symbols private and never unloads it. It checks the whole
 * descriptor before it calls anything of it, and refuses the plugin by name where something is
 * wrong. */

/** Until 1.0 a plugin must have been built for exactly this number. */
#define QONNX_ABI 5u

/** What a plugin brings. */
typedef struct qonnx_plugin {
    uint32_t abi;                           /* QONNX_ABI; the one field that never moves */
    const char *name, *version;             /* for people: what it is called, "1.0.2" */
    const qonnx_pass *const *passes;        /* ends with NULL; NULL: none */
    const qonnx_observer *const *observers; /* ends with NULL; NULL: none */
    const void *reserved[8];                /* NULL: operators and backends, later */
} qonnx_plugin;

/** The one symbol that a plugin exports, and the only one that the host looks up. Returns the
 *  plugin's descriptor, which stays the plugin's, or NULL when it cannot serve a host of that ABI.
 *  It must do nothing else: it may not call the library. Called once, right after dlopen. [the
 *  loading thread; one plugin at a time] */
QONNX_API const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi);

typedef const qonnx_plugin *qonnx_plugin_query_fn(uint32_t host_abi);
#define QONNX_PLUGIN_QUERY "qonnx_plugin_query"

#ifdef __cplusplus
}
#endif
#endif
