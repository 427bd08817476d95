/* cli/metrics/metric.h - what a model's outputs are scored by. A metric is a file and a row in
 * metrics.c: its name, its options, the labels that it needs, and how it adds a sample.
 */
#ifndef CLI_METRICS_METRIC_H
#define CLI_METRICS_METRIC_H

#include "cli/metrics/labels.h"
#include "cli/options.h"
#include <jansson.h>
#include <qonnx/run.h>

typedef struct Scoring Scoring;

/* A sample's outputs, and what they should be. */
typedef struct Outputs {
    size_t sample;            /* its index in the data set */
    const qonnx_tensor *all;  /* one for each output of the model */
    const qonnx_tensor *y;    /* that of the metric's option `output` */
    const qonnx_tensor *want; /* what it is compared with; NULL: nothing, or no single tensor */
} Outputs;

/* What a metric gives. */
typedef struct Score {
    double value;
    bool known;     /* there is one: else no sample had what is needed */
    size_t samples; /* that it is of, or pairs of samples */
} Score;

typedef enum Unit { UNIT_SHARE, UNIT_NUMBER, UNIT_DECIBELS } Unit;

/* "k=5" as it is without being given; the table ends with NULL. */
typedef struct MetricOption {
    const char *name;
    const char *preset; /* NULL: none */
    const char *help;   /* a few words */
} MetricOption;

typedef struct Metric {
    const char *name;            /* "mse" */
    const char *title;           /* of its column */
    const char *brief;           /* a line */
    const MetricOption *options; /* its own */
    LabelKind labels;            /* that it needs; those of arrays may come from elsewhere, too */
    Unit unit;
    size_t state; /* bytes of what it adds to; zero at first */
    /* Reads the options, with the graph, samples and labels known; NULL: nothing to do. This and
     * the next two: false after a message. */
    bool (*begin)(Scoring *s);
    bool (*add)(Scoring *s, const Outputs *o);
    bool (*end)(Scoring *s, Score *out);
    void (*release)(Scoring *s); /* frees what the state owns; NULL: nothing */
} Metric;

/* Where what an output is compared with comes from. */
typedef enum To { TO_NOTHING, TO_LABELS, TO_INPUT, TO_FIRST } To;

/* A metric at work on one model. */
struct Scoring {
    const Metric *metric;
    const char *text;       /* as it was given */
    char **values;          /* [options] that were given, NULL: not; owned */
    const char *model;      /* file */
    const qonnx_graph *g;   /* of the model */
    const qonnx_dataset *d; /* its samples */
    bool first;             /* it is the first model */
    bool labels_given;      /* --labels says which they are */
    bool given;             /* by --metric: else nobody minds that there are no labels */
    int output;             /* that is scored */
    To to;                  /* of metrics of arrays */
    char *labels_path;      /* of its labels, by its option or --labels; NULL: not given; owned */
    double seconds;         /* that a program may take; 0: any */
    Labels *labels;         /* owned; NULL: none */
    qonnx_tensor *sample;   /* read again where the input is what is compared with; owned */
    void *state;            /* of the metric; owned */
    Score score;            /* when all samples are done */
};

/* ---- for metrics ----------------------------------------------------------------------------- */

/* The value of an option, or its preset; NULL: neither. */
const char *metric_option(const Scoring *s, const char *name);
/* The same as a number: false after a message where it is none between least and most. */
bool metric_real(const Scoring *s, const char *name, double least, double most, double *out);
bool metric_whole(const Scoring *s, const char *name, int64_t least, int64_t most, int64_t *out);
/* The index of the option's value among words, which end with NULL; -1 after a message. */
int metric_choice(const Scoring *s, const char *name, const char *const *words);
/* Says what is wrong: "MODEL: METRIC: ...". Returns false. */
bool metric_fail(const Scoring *s, const char *fmt, ...) QONNX_PRINTF(2, 3);
/* Whether what an output is compared with has its number of elements; false after a message. */
bool metric_alike(const Scoring *s, const Outputs *o);

/* ---- for evaluate ---------------------------------------------------------------------------- */

/* Metrics of one model. */
typedef struct Scorings {
    Scoring *of; /* [count] owned */
    int count;
} Scorings;

/* Prints the metrics and their options, for the help. */
void metrics_help(FILE *f);
/* Whether the metrics that the command line gives are some: -1 to go on, else the status. */
int metrics_check(const Verb *verb, const Args *args);
/* Opens the metrics, and what they need, for a model. False after a message. `cx` takes the
 * warnings of the labels. */
QONNX_CHECKED bool metrics_begin(qonnx_ctx *cx, const Args *args, const char *model,
                                 const qonnx_graph *g, const qonnx_dataset *d, bool first,
                                 Scorings *out);
/* Adds to the metrics of that output; `reference` is the first model's, NULL where there is none.
 * Called for each output in order. */
QONNX_CHECKED bool metrics_add(Scorings *all, size_t sample, const qonnx_tensor *outputs,
                               int output, const qonnx_tensor *reference);
/* Computes the scores; false after a message where one that was asked for has none. */
QONNX_CHECKED bool metrics_end(Scorings *all);
/* Frees all but the scores, which stay until metrics_free. */
void metrics_let_go(Scorings *all);
void metrics_free(Scorings *all);
/* Whether classes from the samples' folders or labels are wanted. */
bool metrics_class(const Args *args);

enum { SCORE_ROOM = 32 };
/* The score as it is printed: "93.50 %", "9.48", "-". Returns out. */
const char *score_text(char out[SCORE_ROOM], const Scoring *s);
/* Of its column, into out[SCORE_ROOM]. */
const char *metric_title(char out[SCORE_ROOM], const Scoring *s);
/* The scores by what was given, and under "metrics". */
void scores_json(json_t *object, const Scorings *all);

extern const Metric metric_top1, metric_top5, metric_mse, metric_psnr, metric_cosine,
    metric_spearman, metric_tokens, metric_wer, metric_miou, metric_map;
/* Not in the table: a text with a slash or a blank is one. */
extern const Metric metric_program;
/* Whether the text is the program's path; else it is a command line. */
bool program_is_path(const char *text);

#endif
