/* qonnx/run.h - samples, sessions that run a graph on them, pipelines of passes.
 */
#ifndef QONNX_RUN_H
#define QONNX_RUN_H

#include <qonnx/pass.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- data sets ------------------------------------------------------------------------------- */

/** What an array in a file is, where its shape allows both. */
typedef enum qonnx_arrays {
    QONNX_ARRAYS_BY_SHAPE, /* the shapes decide: an input [1, rest] takes [N, rest] as N samples */
    QONNX_ARRAYS_SAMPLE,   /* one sample */
    QONNX_ARRAYS_BATCH     /* its first axis counts samples */
} qonnx_arrays;

/** How files become samples; zero is a default everywhere. */
typedef struct qonnx_data_options {
    qonnx_arrays arrays;    /* in .npy and .npz files */
    const char *preprocess; /* what is done to pictures, as text (see below); NULL: what the model's
                               metadata says, else the default */
    const char *origin;     /* whose word that is, for qonnx_dataset_describe(); may be NULL */
    bool of_model;          /* it is a model's, which is not worth a line where it does nothing */
} qonnx_data_options;

/** Opens the samples for a graph's inputs. A spec is "NAME=PATH", once for every input; or PATH,
 *  any number of them: a file; a directory, read with all below it; or "@LIST", a text file of a
 *  line "PATH" or "PATH CLASS" for every sample ("@-": standard input). Files are listed, not read:
 *  those of a directory sorted by class and name, others as they were given. `o` may be NULL. NULL
 *  on failure. The graph must outlive it. */
QONNX_API qonnx_dataset *qonnx_dataset_open(qonnx_ctx *cx, const qonnx_graph *g,
                                            const char *const *specs, int nspecs,
                                            const qonnx_data_options *o);
QONNX_API void qonnx_dataset_free(qonnx_dataset *d);
/** Lists the files of the samples, so that qonnx_output_check() knows them before anything is read
 *  or run. What is wrong with the specs is left for qonnx_dataset_open() to say. */
QONNX_API void qonnx_data_inputs(qonnx_ctx *cx, const qonnx_graph *g,
                                       const char *const *specs, int nspecs);
/** Reads "FILE CLASS" lines and gives the samples their classes; FILE is relative to the data set's
 *  directory. Where no sample is called so, its name without the extension counts: "a.jpg" names
 *  the sample a.npy. Warns about lines that name no sample and samples that no line names; fails,
 *  and changes nothing, where a line is malformed or may mean two samples, where two give one
 *  sample two classes, and where none names a sample. */
QONNX_API QONNX_CHECKED bool qonnx_dataset_labels(qonnx_ctx *cx, qonnx_dataset *d,
                                                  const char *path);
/** The same with the file labels.txt in the data set's directory, where there is one. What would be
 *  a failure is a warning, and leaves the classes as they are. */
QONNX_API void qonnx_dataset_find_labels(qonnx_ctx *cx, qonnx_dataset *d);
/** Warns where the folders that give the samples their classes may not be the model's classes:
 *  their names are numbers, but not 0 to N - 1; folders without samples count; or they are not
 *  `classes` folders, the length of the model's output of that name. 0: not known. */
QONNX_API void qonnx_dataset_check_classes(qonnx_ctx *cx, const qonnx_dataset *d, int64_t classes,
                                           const char *output);
/** Keeps at most `count` samples, spread evenly over the sorted list, so that every class stays:
 *  sample i becomes sample i * all / count. */
QONNX_API void qonnx_dataset_limit(qonnx_dataset *d, size_t count);
/** Keeps `count` samples at random, in their order; the same ones for a seed on every machine. The
 *  i-th of n is taken when floor(r (n - i) / 2^64) < count - taken so far, where r is the next
 *  number of SplitMix64, whose state begins as the seed (Knuth's algorithm S). */
QONNX_API void qonnx_dataset_choose(qonnx_dataset *d, size_t count, uint64_t seed);
/** A data set of some of another's samples: every `step`-th from `first` on, and of these at most
 *  `most`, spread evenly. The other one must outlive it. Freed by qonnx_dataset_free. */
QONNX_API qonnx_dataset *qonnx_dataset_part(const qonnx_dataset *d, size_t first, size_t step,
                                            size_t most);
QONNX_API size_t qonnx_dataset_count(const qonnx_dataset *d);
/** How many tensors a sample has room for: the inputs of the graph it was opened for, those that
 *  are initializers included (their tensors stay empty). */
QONNX_API int qonnx_dataset_inputs(const qonnx_dataset *d);
/** The file of sample i (of its first input). */
QONNX_API const char *qonnx_dataset_name(const qonnx_dataset *d, size_t i);
/** The class of sample i: the index of its folder among the class folders, those whose names are
 *  numbers in the order of these, then the others by name; or from the labels; -1 when unknown. */
QONNX_API int qonnx_dataset_class(const qonnx_dataset *d, size_t i);
/** The file labels.txt in the data set's directory; NULL: there is none. The caller frees it. */
QONNX_API char *qonnx_dataset_labels_file(const qonnx_dataset *d);
/** How many samples the files hold, whatever a limit leaves of them; and where sample i stands
 *  among these. */
QONNX_API size_t qonnx_dataset_all(const qonnx_dataset *d);
QONNX_API size_t qonnx_dataset_place(const qonnx_dataset *d, size_t i);

/** The samples by name. The data set must outlive it. Freed by qonnx_names_free. */
typedef struct qonnx_names qonnx_names;
typedef enum qonnx_named {
    QONNX_NAMED_NONE,     /* no sample is called so */
    QONNX_NAMED_ONE,      /* one is */
    QONNX_NAMED_LEFT_OUT, /* one is, and a limit has left it out */
    QONNX_NAMED_SEVERAL   /* several are, or their file holds several */
} qonnx_named;
QONNX_API qonnx_names *qonnx_names_new(const qonnx_dataset *d);
QONNX_API void qonnx_names_free(qonnx_names *n);
/** The sample of that name, relative to the data set's directory; where none is called so, of that
 *  name without its extension, as qonnx_dataset_labels() has it. `sample` is set for one alone.
 *  [any thread] */
QONNX_API qonnx_named qonnx_names_find(const qonnx_names *n, const char *name, size_t *sample);

/** Reads sample i: one tensor a graph input, with a batch axis of 1 where the input has one.
 *  tensors[] has room for every graph input; their data is freed by qonnx_sample_free.
 *  [any thread, with a context of its own] */
QONNX_API QONNX_CHECKED bool qonnx_dataset_read(qonnx_ctx *cx, const qonnx_dataset *d, size_t i,
                                                qonnx_tensor *tensors);
QONNX_API void qonnx_sample_free(qonnx_tensor *tensors, int count);

/** A sample as a picture for people. */
typedef struct qonnx_picture {
    qonnx_tensor pixels;   /* uint8 [H,W,C], C = 3: RGB or 1: gray; data is NULL where there is no
                              picture. Freed by qonnx_sample_free(&pixels, 1) */
    int64_t width, height; /* before it was made smaller */
    int channel_axis;      /* of the sample's tensor; -1: it has none, or was not asked for */
    bool bgr;              /* the tensor's channels are in that order */
    bool stretched;        /* what the tensor's values mean is not known: from the smallest to the
                              largest they became 0 to 255 */
} qonnx_picture;

/** The picture in the file of sample i of a graph input, turned and laid on a background as it is
 *  for the model; made smaller where a side is longer than `most` pixels. [any thread] */
QONNX_API QONNX_CHECKED bool qonnx_dataset_picture(qonnx_ctx *cx, const qonnx_dataset *d, size_t i,
                                                   int input, int most, qonnx_picture *out);
/** What the model sees of it: the tensor that was read for the input, [1,C,H,W] or [1,H,W,C], with
 *  the arithmetic of the preprocessing undone. [any thread] */
QONNX_API QONNX_CHECKED bool qonnx_dataset_seen(qonnx_ctx *cx, const qonnx_dataset *d, size_t i,
                                                int input, const qonnx_tensor *sample, int most,
                                                qonnx_picture *out);

/** Where a point of a picture of that size, in pixels, comes to lie in the model's input: at
 *  x * scale[0] + offset[0] and y * scale[1] + offset[1]. Known as soon as a sample has been read;
 *  false before, where the samples are no pictures, and where a picture of that size cannot become
 *  one. [any thread] */
QONNX_API bool qonnx_dataset_mapping(const qonnx_dataset *d, double width, double height,
                                     double scale[2], double offset[2]);

/** Reads one tensor from an .npy or a TensorProto .pb file, whatever its type is, unless a sequence
 *  or an optional is wanted: that is read from a .pb file of SequenceProto or OptionalProto, and
 *  must have that type. Freed by qonnx_sample_free(t, 1). */
QONNX_API QONNX_CHECKED bool qonnx_tensor_load(qonnx_ctx *cx, const char *path, qonnx_dtype want,
                                               qonnx_tensor *t);

/* ---- how pictures become samples -------------------------------------------------------------
 */

/* A preprocessing is text: NAME=VALUE for each field that is not at its default, parted by blanks,
 * as in "resize=short:256 crop=224 scale=1/255"; docs/preprocessing.md has the fields. The empty
 * text is the default. Texts that come from here are canonical: the same preprocessing is the same
 * text. */

/** The canonical text of `text` (NULL: nothing is set yet) with one field set as given. The name
 *  "preset" sets all of them, as the preset of that name has them. NULL: the value is wrong. The
 *  caller frees it with free(). [any thread] */
QONNX_API char *qonnx_preprocess_set(qonnx_ctx *cx, const char *text, const char *name,
                                     const char *value);
/** The text of a JSON file: of the form that qonnx_preprocess_json() writes, a
 *  preprocessor_config.json of Hugging Face, a config.json of timm or torchvision's fields. NULL on
 *  failure: what may change a pixel and is not known is refused by name. The caller frees it with
 *  free(). [any thread] */
QONNX_API char *qonnx_preprocess_load(qonnx_ctx *cx, const char *path);
/** A text as a JSON object, in one line. The caller frees it with free(). [any thread] */
QONNX_API char *qonnx_preprocess_json(qonnx_ctx *cx, const char *text);
/** What a model's metadata says of its pictures: what qonnx wrote there (QONNX_PREPROCESS_KEY),
 *  ONNX's Image.BitmapPixelFormat and Image.NominalPixelRange, or Ultralytics' "imgsz". NULL: it
 *  says nothing. The caller frees it with free(). */
QONNX_API char *qonnx_preprocess_of_model(qonnx_ctx *cx, const qonnx_graph *g);
#define QONNX_PREPROCESS_KEY "qonnx.preprocess"
/** What is done to the pictures of a data set, with the model's sizes in it: as text, and as a line
 *  for people, "224x224 RGB, bilinear short side 256 then crop, (x/255 - mean)/std, from preset
 *  torchvision". NULL: none of its files is a picture; no line either where nothing is done to
 *  those that were read and to the first 16, and nobody but a model has asked for anything. So it
 *  is worth asking before samples are read, and again behind. The caller frees them. */
QONNX_API char *qonnx_dataset_preprocess(const qonnx_dataset *d);
QONNX_API char *qonnx_dataset_describe(const qonnx_dataset *d);
/** In what two texts differ, for people: "resize is short:256, not short:224; std is 2, not the
 *  default". NULL: in nothing, or one is no text. The caller frees it with free(). [any thread] */
QONNX_API char *qonnx_preprocess_difference(const char *a, const char *b);
/** The name of preset i, with its text and whose it is (either may be NULL); NULL past the last.
 *  [any thread] */
QONNX_API const char *qonnx_preset_at(int i, const char **text, const char **brief);

/* ---- sessions -------------------------------------------------------------------------------- */

typedef struct qonnx_session qonnx_session;

struct qonnx_session_options {
    const char *engine; /* "auto" (or NULL): oneDNN where it is built in; "onednn"; "portable" */
    int threads;        /* samples in parallel; 0: one per core */
    bool fake_quant;    /* compute quantized operators in float between Q and DQ, for debugging,
                           instead of in integers */
    size_t max_memory;  /* bytes that one sample's run may take in a thread; a model that wants
                           more is refused. 0: what is available, less a tenth, and at most 1 GiB
                           and 256 times the bytes of the model and of one sample */
    double damaged; /* qonnx_stats_collect and qonnx_session_run: this share of the samples, 0 to
                       1, may stand in damaged files; they are left out, with warnings */
};

/** Prepares a graph to run. The graph must outlive the session and not be edited meanwhile. */
QONNX_API qonnx_session *qonnx_session_new(qonnx_ctx *cx, const qonnx_graph *g,
                                           const qonnx_session_options *o);
QONNX_API void qonnx_session_free(qonnx_session *s);
/** The most memory, in bytes, that one run has taken in a thread so far for what is computed: the
 *  buffers of its programs, parts of them used by several values in turn, and the outputs; inputs
 *  and constants are not counted. 0 before the first run. [any thread] */
QONNX_API size_t qonnx_session_memory(const qonnx_session *s);

/** Receives a sample's outputs: one tensor a graph output, valid for the call. Calls come from
 *  worker threads, one at a time, in order of the samples. Return false to stop. */
typedef bool qonnx_output_fn(void *user, size_t sample, const qonnx_tensor *outputs);

/** Runs every sample of a data set, in parallel. */
QONNX_API QONNX_CHECKED bool qonnx_session_run(qonnx_ctx *cx, qonnx_session *s,
                                               const qonnx_dataset *d, qonnx_output_fn *fn,
                                               void *user);
/** Runs one set of inputs (one tensor a graph input). */
QONNX_API QONNX_CHECKED bool qonnx_session_run_one(qonnx_ctx *cx, qonnx_session *s,
                                                   const qonnx_tensor *inputs,
                                                   qonnx_output_fn *fn, void *user);

/** Runs every sample as far as these values of the main graph need it, and hands those over: one
 *  tensor for each name, in that order. The values are computed by nodes, or inputs. The graph may
 *  be in the middle of being edited: a copy of it is refreshed and run. `o` may be NULL. Memory
 * does not grow with the samples. */
QONNX_API QONNX_CHECKED bool qonnx_watch(qonnx_ctx *cx, const qonnx_graph *g,
                                         const char *const *values, int count,
                                         const qonnx_dataset *d, const qonnx_session_options *o,
                                         qonnx_output_fn *fn, void *user);

/** Which nodes of a model run: asked of what a session would make of it (raised to operator set 13,
 *  quantized groups joined, constants folded), so that both say the same. It looks at operators, at
 *  element types and at the form of nodes, not at sizes. The graph must outlive it, unchanged.
 * Freed by qonnx_runnable_free. */
typedef struct qonnx_runnable qonnx_runnable;
QONNX_API qonnx_runnable *qonnx_runnable_new(const qonnx_graph *g);
QONNX_API void qonnx_runnable_free(qonnx_runnable *r);
/** Whether a node that was read from the file runs. Else `why` (unless NULL) is set to the reason,
 *  "" where the library has no such operator; it lives as long as `r`. */
QONNX_API bool qonnx_runnable_node(const qonnx_runnable *r, const qonnx_node *n, const char **why);

/** Name of the engine and instruction set that a session of these options would use. */
QONNX_API const char *qonnx_engine_name(const qonnx_session_options *o);

/** A list of samples has at most so many shards. */
#define QONNX_MOST_SHARDS 16384

/** How statistics are collected; zero is a default everywhere. */
typedef struct qonnx_collect_options {
    uint32_t shard, shards; /* shard 1 to `shards` of the samples: every shards-th of them, from the
                               shard-th on. Where the model fixes a batch, what fills it stays
                               together. 0, 0: all samples */
    const char *checkpoint; /* file that what was counted so far is written to, whole each time, and
                               once more where the user stops a run that has one; NULL: none. It
                               stays there. One that cannot be written is a warning */
    double interval;        /* seconds from one checkpoint to the next; 0: none is written */
    bool resume;            /* go on from `checkpoint`: a failure where it is not there, or of
                               another model, engine, list of samples or shard */
} qonnx_collect_options;

/** Runs every sample and collects the statistics of every activation that a target could quantize.
 *  `pipeline` is the text of the passes that made `g`; `part` may be NULL. Statistics of all
 *  shards, added by qonnx_stats_merge(), are those of all samples, byte for byte. NULL on failure.
 */
QONNX_API qonnx_stats *qonnx_stats_collect(qonnx_ctx *cx, const qonnx_graph *g,
                                           const qonnx_dataset *d, const qonnx_session_options *o,
                                           const qonnx_collect_options *part,
                                           const char *pipeline);

/* ---- standalone C -----------------------------------------------------------------------------
 */

/** Settings of qonnx_model_compile; zero is a default everywhere. */
typedef struct qonnx_compile_options {
    const char *target;        /* what the C is for: "generic" (or NULL), C99 for any machine */
    const char *prefix; /* PREFIX.c, PREFIX_run, ...; NULL: from the name of the model's file */
    size_t max_memory;         /* as qonnx_session_options has it */
    bool weights_bin;          /* weights in PREFIX.bin, for the caller to load, not in PREFIX.c */
    bool integer_io;           /* inputs and outputs that are quantized directly: their integers */
    bool image_io;             /* PREFIX_image makes an input of pixels; without `data` */
    const char *preprocess;    /* then: how, as text; NULL: as the model's metadata says, else 0 to
                                  255 as they are */
    const qonnx_dataset *data; /* its sample 0 is the self-test's; NULL: an arbitrary input */
} qonnx_compile_options;

/** What was made. */
typedef struct qonnx_compile_report {
    char prefix[64];   /* of the files and functions */
    size_t arena;      /* bytes of working memory, inputs and outputs not counted */
    size_t alive;      /* the most of them in use at once: no plan could do with less */
    size_t weights;    /* bytes of constants */
    int calls;         /* of kernels */
    int outputs;       /* of the run function: the model's, and the sizes of those that have one
                          which is data */
    int integer_ports; /* inputs and outputs that are integers by integer_io */
} qonnx_compile_report;

/** Writes the model as C99 that needs no library into the directory, which is made when it is not
 *  there (its parent must be): PREFIX.h, PREFIX.c, PREFIX_test.c, Makefile, and PREFIX.bin when
 *  weights_bin is set. The program that is printed is the one that a session runs with the portable
 *  engine, for batch 1 where the model leaves the batch open; `make test` in the directory compares
 *  a sample's outputs byte for byte. Every file is written beside its place and renamed when all
 * are whole; on failure nothing is changed. Fails for a model with other open dimensions or with
 *  operators that the library cannot run, naming them, and where it would replace a file that it
 * has not made. `report` may be NULL. */
QONNX_API QONNX_CHECKED bool qonnx_model_compile(qonnx_ctx *cx, const qonnx_graph *g,
                                                 const char *directory,
                                                 const qonnx_compile_options *options,
                                                 qonnx_compile_report *report);

/* ---- pipelines --------------------------------------------------------------------------------
 */

/* A pipeline is text: passes separated by commas, each NAME or NAME{OPTION=VALUE,...}, with blanks
 * and line ends wherever they do not part a name. A value goes up to the next comma or closing
 * brace; braces in it are nested, as in "calibrate{observer=percentile{p=99.9}}". One that begins
 * with a double quote goes up to the next one, and may hold anything: \" in it is a quote and \\ a
 * backslash. */

/** Length of a pipeline's text, or of a part of it, up to the first of the characters `stop` that
 *  stands outside braces and quoted values, or to its end: up to "," it is a pass. [any thread] */
QONNX_API size_t qonnx_pipeline_span(const char *text, const char *stop);

/** The value that an option has in a pass's text, "NAME{OPTION=VALUE,...}": the last one that is
 *  given, without its quotes, else the option's default; NULL when neither is there. The caller
 *  frees it with free(). [any thread] */
QONNX_API char *qonnx_pipeline_setting(const char *pass, const char *option);

/** The value as it is written into a pass's text: in quotes where it would end there. The caller
 *  frees it with free(). [any thread] */
QONNX_API char *qonnx_pipeline_quote(const char *value);

/** Reads a JSON file that says how single tensors and nodes are quantized, in our words or in those
 *  of ONNX Runtime's TensorQuantOverrides: the passes `override` that do it, as a pipeline's text,
 *  to stand in front of `calibrate`. The caller frees it with free(). NULL when the file is none.
 *  [any thread] */
QONNX_API char *qonnx_overrides_load(qonnx_ctx *cx, const char *path);

/** Settings of a pipeline run; zero is a default everywhere. */
typedef struct qonnx_pipeline_options {
    const char *target;                   /* profile, default "ort-x86" */
    const qonnx_stats *stats;             /* for passes that need statistics */
    const qonnx_dataset *samples;         /* for passes that ask for samples */
    const qonnx_session_options *session; /* how these run them */
} qonnx_pipeline_options;

/** Text of the passes up to calibrate, and of the whole default pipeline. [any thread] */
QONNX_API const char *qonnx_pipeline_prefix(void);
QONNX_API const char *qonnx_pipeline_default(void);
/** Text of the passes for a model that is quantized already; they need no statistics. [any thread]
 */
QONNX_API const char *qonnx_pipeline_requantize(void);

/** Runs passes given as text: "fold-constants,calibrate{observer=entropy},insert-qdq". Before and
 *  after each pass every node must be one of the model's operator set, its attributes included;
 *  after each pass the graph is refreshed and verified, and a failure names the pass. Local
 *  functions are inlined before the first (qonnx_graph_inline_functions). A text of no
 *  passes changes nothing, and warns of nodes that are none of the operator set. */
QONNX_API QONNX_CHECKED bool qonnx_pipeline_run(qonnx_ctx *cx, qonnx_graph *g, const char *text,
                                                const qonnx_pipeline_options *o);

/** Whether the text is a pipeline of registered passes and of options they have, without running
 *  any: a typing error shows before the calibration, not after it. */
QONNX_API QONNX_CHECKED bool qonnx_pipeline_check(qonnx_ctx *cx, const char *text);

/** The first pass of the text that asks for samples; NULL: none does. Lives as long as the process.
 *  [any thread] */
QONNX_API const char *qonnx_pipeline_samples(const char *text);

/** The plugins whose passes and observers (those that passes have as option "observer") the text
 *  uses: "foo 1.2 (pass x, observer y), bar 0.3 (pass z)"; NULL when all are built in. The caller
 *  frees it with free(). [any thread] */
QONNX_API char *qonnx_pipeline_plugins(const char *text);

/** The passes and observers there are: the built-in ones, then those of the plugins loaded so far,
 *  in order; NULL past the end. Call qonnx_plugin_search() first to see all. [any thread] */
QONNX_API const qonnx_pass *qonnx_pass_at(int i);
QONNX_API const qonnx_observer *qonnx_observer_at(int i);

/* ---- plugins --------------------------------------------------------------------------------- */

/* pass.h is what plugins are written on; this is how a host loads them. A plugin is never unloaded.
 *
 * A pass or an observer that is not there is looked for in the search path, which is read once, the
 * first time that something is missing: the absolute directories of QONNX_PLUGIN_PATH, separated by
 * colons, then the directory that plugins are installed to (pkg-config's variable plugindir). Of
 * each the files *.so are loaded in the order of their names. Nothing else is loaded unasked. */

/** Loads the plugin of that file; one that is loaded already is fine. `path` must hold a slash:
 *  "./x.so". Fails by name when the file cannot be read, is no plugin, has another ABI or a broken
 *  descriptor, or brings a name that is taken; nothing of it is registered then. A warning says
 *  where others can write to the file. [any thread] */
QONNX_API QONNX_CHECKED bool qonnx_plugin_load(qonnx_ctx *cx, const char *path);

/** Loads the plugins of the search path, unless that was done. Those that are refused are warnings.
 *  [any thread] */
QONNX_API void qonnx_plugin_search(qonnx_ctx *cx);

/** Counts the directories of the search path among the inputs of the context, without loading
 *  anything: qonnx_output_check() then refuses what would be a plugin there. */
QONNX_API void qonnx_plugin_inputs(qonnx_ctx *cx);

/** "pass 'NAME' of plugin FILE" (or "observer ...", or "plugin FILE" while it is loaded) as long as
 *  this thread is in code of a plugin, else NULL: for handlers of signals, which may not be able to
 *  say more. [any thread, any handler] */
QONNX_API const char *qonnx_plugin_running(void);

/** Whether this thread is in code of oneDNN, where lack of memory may end in a signal: for handlers
 * of signals. [any thread, any handler] */
QONNX_API bool qonnx_onednn_running(void);

/** The plugin that brought a pass or an observer, and its real path through `file` (may be NULL);
 *  both NULL for built-in ones. They live as long as the process. [any thread] */
QONNX_API const qonnx_plugin *qonnx_pass_plugin(const qonnx_pass *p, const char **file);
QONNX_API const qonnx_plugin *qonnx_observer_plugin(const qonnx_observer *o, const char **file);

#ifdef __cplusplus
}
#endif
#endif
