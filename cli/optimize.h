/* cli/optimize.h - quantize --optimize: which passes, and which 16-bit values, bring the result
 * nearest to the model. What is chosen is the text of a pipeline, so that it can be read and run
 * again.
 */
#ifndef CLI_OPTIMIZE_H
#define CLI_OPTIMIZE_H

#include "pipeline.h"
#include <jansson.h>

/* A change that was tried. */
typedef struct Trial {
    char *what; /* "match-means for correct-bias"; owned */
    double db;  /* what the outputs came to with it */
    bool taken;
} Trial;

typedef struct Optimized {
    size_t samples;     /* by which changes were judged; 0: nothing was tried */
    double first, last; /* SQNR of the outputs without any change and with those taken, dB */
    Trial *trials;      /* [count] in order; owned */
    int count;
} Optimized;

/* What is optimized. */
typedef struct Optimization {
    const Args *args;
    const qonnx_graph *g; /* behind the passes before `split` */
    const qonnx_stats *stats;
    const qonnx_dataset *samples;
    int split; /* passes in front of it stay as they are, and passes may be put there */
} Optimization;

/* Tries changes of a pipeline one after the other, each on top of those taken, and takes those that
 * bring the outputs nearer to the model's; a pass that was put in front of the statistics stands
 * at `split`, and they must be taken anew behind it. Passes that look at samples see every second
 * one, and the others judge, so that none is taken for what it learnt by heart. Where an output is
 * a Softmax, what goes into it is judged: behind it, wrong scores of a sure sample look right.
 * False: a pass failed, or there is nothing to judge by; the message is in the context. */
QONNX_CHECKED bool optimize(qonnx_ctx *cx, const Optimization *with, Passes *passes,
                            Optimized *out);
/* The text of a pass that gives a value of that name 16 bits; owned. There are integers enough for
 * a range with room for what the samples have not shown, half of it at each end: clipping would be
 * all that is left. */
char *wide_pass(const char *target, const qonnx_stats *stats, const char *name);
void optimized_free(Optimized *o);

/* Lines of the summary; with `all` those that were not taken, too. */
void optimized_print(const Optimized *o, bool all);
/* The same as an object; null where nothing was tried. */
json_t *optimized_json(const Optimized *o);

#endif
