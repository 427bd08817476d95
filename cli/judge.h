/* cli/judge.h - how near candidates for the result come to the model, on samples that judge.
 */
#ifndef CLI_JUDGE_H
#define CLI_JUDGE_H

#include "compare.h"
#include "pipeline.h"

/* dB that a change must gain: one that costs nothing when the model runs, and one that may be luck
 * or is slower. */
#define FREE 0.1
#define DEAR 0.3

typedef struct Judge {
    qonnx_ctx *cx;
    const Args *args;
    const qonnx_dataset *samples;
    Reference reference; /* the model's outputs for them */
    int outputs;         /* of floats, that are judged */
    int *of;             /* [outputs] which of the model's they are */
    bool *scores;        /* [outputs] whether a Softmax reads what is judged */
    Likeness *likeness; /* [2 * outputs] what is judged of each of them, then they themselves; NULL:
                           the model itself is run */
    size_t ran;         /* samples that were run last */
    double *noise;      /* [ran][outputs] of each sample and output */
    double *taken;      /* the same of what judge_keep was called behind */
    size_t classed;     /* samples whose class is known, where the first output has scores */
    size_t right_float; /* of these, with that class the first in the model */
    size_t right;       /* and in what was run last */
} Judge;

/* Runs the model: `g` is behind the passes before `calibrate`. Where an output is a Softmax, what
 * goes into it is judged, without the mean of each row, which a Softmax does not see: behind it,
 * wrong scores of a sure sample look right. The samples must outlive the judge. False: nothing can
 * be judged; the message is in the context. The caller calls judge_close, also then. */
QONNX_CHECKED bool judge_open(Judge *j, qonnx_ctx *cx, const Args *args, const qonnx_graph *g,
                              const qonnx_dataset *samples);
void judge_close(Judge *j);

/* What passes behind the statistics start from. */
typedef struct Base {
    const qonnx_graph *g;
    const qonnx_stats *stats;
    int split; /* passes in front of it have made the graph */
} Base;

/* Makes a candidate: the passes from `split` on run on a copy of the base, and look at these
 * samples. NULL on failure. */
qonnx_graph *candidate_make(Judge *j, const Base *base, const qonnx_dataset *samples,
                            const Passes *p);
/* Runs one that was made, its result as judge_passes has it. */
QONNX_CHECKED bool judge_graph(Judge *j, const qonnx_graph *made, double *db);
/* Makes one and runs it: the mean over the outputs of the SQNR of what is judged, in dB. */
QONNX_CHECKED bool judge_passes(Judge *j, const Base *base, const qonnx_dataset *samples,
                                const Passes *p, double *db);
/* Runs a graph that has the model's outputs: the same mean of it. */
QONNX_CHECKED bool judge_graph(Judge *j, const qonnx_graph *g, double *db);
/* SQNR of the worst output of what was run last, in dB, as evaluate has it. */
double judge_worst(const Judge *j);
/* Whether a change that gained so many dB is to be taken: it gains `least` and by more than two
 * standard errors of the noise's mean, or it gains much on many samples. */
bool judge_gains(const Judge *j, double db, double least);
/* What was run last is what changes are measured against from now on. */
void judge_keep(Judge *j);

#endif
