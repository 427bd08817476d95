/* cli/report/report.h - qonnx report: all that is told of a quantized model, gathered first, then
 * written as a page or as JSON, so that both say the same.
 */
#ifndef CLI_REPORT_REPORT_H
#define CLI_REPORT_REPORT_H

#include "cli/check.h"
#include "cli/costs.h"
#include "cli/facts.h"
#include "cli/latency.h"
#include "cli/layer_errors.h"
#include "cli/metrics/metric.h"
#include "cli/placed.h"

enum {
    REPORT_SAMPLES = 64, /* that statistics are taken of, unless --limit says otherwise */
    REMEDY_SAMPLES = 16, /* on which changes are tried */
    MOST_REMEDIES = 4,   /* changes of options that are tried */
    MOST_SHEETS = 300,   /* layers of which everything is told; of others a line */
    MOST_NODES = 2000    /* that are drawn */
};

/* One of the two models. */
typedef struct Side {
    const char *path;
    double bytes;     /* of the file */
    Scorings metrics; /* what it is scored by */
    Costs costs;
    size_t memory;   /* bytes of a run in a thread; 0: not known */
    Latency latency; /* of one sample */
    Placed placed;   /* what runs in integers */
} Side;

/* A change of quantize's options, and what the worst output comes to with it. */
typedef struct Tried {
    char option[96]; /* "--weights per-channel"; of several ", " is between them */
    const char *why; /* what it changes, in words */
    double db;
} Tried;

/* A layer. */
typedef struct Sheet {
    const LayerError *error;
    const qonnx_node *node;     /* of the subject's model; NULL: not found */
    const qonnx_finding *found; /* of that; NULL: nothing is said of it */
    bool detailed;              /* what follows was looked for */
    Fact *facts;                /* [nfacts]; owned */
    int nfacts;
    const Fact *weight, *output; /* of these; NULL: there is none */
    double *channels;            /* [spread.count] largest absolute values of the weight; owned */
    Spread spread;               /* of them; count 0: not known */
    bool before; /* they are those of the weight before it was quantized, else behind that */
    double gain; /* dB that the worst output gains where it alone stays in float; NAN: not tried */
    int place;   /* among the worst, from 1 */
} Sheet;

/* What is told. Zero is an empty one. */
typedef struct Report {
    const Args *args;
    qonnx_ctx *cx;
    Side sides[2];       /* the model in float, and the quantized one */
    Comparison all;      /* their outputs, on all samples */
    Verdict verdict;     /* of these */
    int output;          /* the worst; -1: none */
    LayerErrors errors;  /* layer by layer */
    Subject subject;     /* the quantized model, with statistics */
    bool observed;       /* these are of the samples given, not of --calibration */
    char *unobserved;    /* why there are none; owned; NULL: there are */
    Passes passes;       /* that made it, by its metadata; none: it does not say */
    int split;           /* index of `calibrate` among them */
    qonnx_graph *before; /* the model behind the passes in front of that; NULL: not known */
    double plain;        /* dB of the worst output as it is, on the samples of what is tried */
    size_t judged;       /* these samples; 0: nothing was tried */
    Tried tried[MOST_REMEDIES];
    int ntried;
    Sheet *sheets; /* [errors.matches.count] in the order of the rows; owned */
    Sheet **worst; /* [errors.matches.count] the worst first; owned */
} Report;

/* Runs both models on the samples. A message is in the context, or has been printed, where it
 * fails: *told. This and the next two. */
QONNX_CHECKED bool report_score(Report *r, const Args *args, bool *told);
/* Looks at the layers, behind the scores. */
QONNX_CHECKED bool report_look(Report *r, const Args *args, bool *told);
/* Tries changes, and the worst layers in float, behind the layers. What cannot be tried is left
 * out. */
QONNX_CHECKED bool report_try(Report *r, const Args *args);

/* ---- words ----------------------------------------------------------------------------------- */

/* "Good", "Fair" or "Damaged". */
const char *verdict_word(const Report *r);
/* The same as a sentence; malloc'd. */
char *verdict_text(const Report *r);
/* What mends it, or gains most: an option of quantize; malloc'd. `why` says in a sentence what it
 * brings; malloc'd. */
char *remedy_option(const Report *r, char **why);
/* The option that keeps this layer alone in float, as a shell takes it; malloc'd. */
char *exclude_option(const Sheet *s);
/* What may help a layer: an option, malloc'd, or NULL, and why; malloc'd. */
char *layer_option(const Sheet *s, char **why);
/* "its largest channel is 12.3 times the median"; malloc'd. */
char *spread_text(const Sheet *s);
/* The command line by which the quantized model is made again, without names of files; malloc'd.
 * NULL: its metadata does not say. */
char *report_command(const Report *r);
/* How bad a layer is: 0 (fine) to 4 (spoilt), by its own error; -1: not known. */
int layer_grade(const Sheet *s);

/* ---- forms ----------------------------------------------------------------------------------- */

json_t *report_json(const Report *r);
/* Writes the page; for qonnx_output_write(). */
bool report_page(void *report, FILE *f);
/* Parts of the page: the graph of the quantized model, and a section for each layer. */
void report_picture(FILE *f, const Report *r);
void report_sheets(FILE *f, const Report *r);
/* A histogram with the thresholds of the value, and the channels of a weight. */
void chart_histogram(FILE *f, const Fact *fact, const char *used);
void chart_channels(FILE *f, const Sheet *s);

#endif
