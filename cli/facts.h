/* cli/facts.h - what is known of how a node is quantized: its values, their ranges, scales and
 * statistics, and what each observer would choose.
 */
#ifndef CLI_FACTS_H
#define CLI_FACTS_H

#include "options.h"
#include <jansson.h>
#include <qonnx/lint.h>
#include <qonnx/run.h>

/* A model, and what quantize makes of it. */
typedef struct Subject {
    const char *path; /* of the model */
    const qonnx_target *target;
    const char *observer; /* --observer; NULL: the default */
    qonnx_graph *source;  /* as it was read: to find nodes by their names in the file */
    qonnx_graph *model;   /* what is placed: in float, behind the passes before `calibrate`; of a
                             quantized model `made` */
    qonnx_graph *made;    /* with Q and DQ; NULL: in float, and there are no statistics */
    qonnx_stats *stats;   /* NULL: none */
    bool quantized;       /* the file was */
    const qonnx_finding *findings; /* [count] of `model` */
    int count;
} Subject;

/* Reads the model that the command line names first, with its --calibration. False: a message is in
 * the context. Either way subject_release() frees what there is. */
QONNX_CHECKED bool subject_read(qonnx_ctx *cx, const Args *args, Subject *out);
void subject_release(Subject *s);
/* The node of `model` that computes what a node of the file does, by whose name it is asked for, or
 * by the name of what it gives: itself, or the one that it became a part of. NULL with a message in
 * the context: there is none. */
const qonnx_node *subject_node(qonnx_ctx *cx, const Subject *s, const char *name);
/* What becomes of it; NULL: nothing is said of such nodes. */
const qonnx_finding *subject_finding(const Subject *s, const qonnx_node *n);

/* ---- values ---------------------------------------------------------------------------------- */

/* How the largest absolute values of channels differ. */
typedef struct Spread {
    int axis, count;                  /* the channels; count 0: not known */
    double largest, median, smallest; /* of them; the median is the upper one of an even number */
    int widest, narrowest;            /* the channels of the largest and the smallest */
} Spread;

/* The largest absolute values of the channels of a weight along the axis: in float, or integers
 * that the DequantizeLinear reads. [*count], malloc'd; NULL: not known. */
double *weight_channels(const qonnx_tensor *w, const qonnx_node *dq, int axis, int *count);
/* How they differ; `most` is put in order. */
Spread spread_of(double *most, int axis, int count);

/* Integers laid over a range. */
typedef struct Laid {
    qonnx_dtype dtype; /* of the integers; QONNX_UNDEFINED: none */
    double scale;      /* of several the largest */
    double least;      /* the smallest */
    int scales;        /* how many there are */
    int zero_point;    /* of the first */
    double lo, hi;     /* what the least and the greatest integer stand for, at the largest scale */
    double clipped;    /* share of the finite values that was seen further outside than half a step;
                          0 where nothing was seen */
} Laid;

/* What an observer would choose. */
typedef struct Choice {
    const char *observer;
    bool usual; /* it is the default */
    bool used;  /* it is the one that the pipeline has: of a model in float, with its options */
    Laid laid;
} Choice;

enum { MOST_CHOICES = 16 };

typedef enum Role { ROLE_INPUT, ROLE_WEIGHT, ROLE_BIAS, ROLE_OUTPUT } Role;

/* A value that a node reads or gives. */
typedef struct Fact {
    Role role;
    int place;                   /* which input or output */
    const qonnx_value *value;    /* of `model` */
    const char *name;            /* as the statistics know it */
    Laid laid;                   /* as it is, or will be */
    const qonnx_histogram *seen; /* NULL: not observed */
    Spread spread;               /* of what was seen, or of the weight */
    const qonnx_node *dq;        /* of a weight: what reads its integers; NULL: it has none */
    Choice choices[MOST_CHOICES];
    int nchoices;
} Fact;

/* What is known of the node's floating-point values: inputs, then outputs, those with which a Relu
 * is computed behind it. Returns how many;
 * `facts` is freed by free(). */
int facts_of(qonnx_ctx *cx, const Subject *s, const qonnx_node *n, Fact **facts);
/* Objects of all that is known of a value, and of its channels: null where they are not known. */
json_t *fact_json(const Fact *f);
json_t *spread_json(const Spread *s);
/* "input", "weight", "bias" or "output". */
const char *role_word(Role role);

#endif
