/* cli/metrics/labels.h - what samples should give: an array for each, or scores of pairs. (Classes
 * are the data set's own.) */
#ifndef CLI_METRICS_LABELS_H
#define CLI_METRICS_LABELS_H

#include <qonnx/run.h>

/* LABEL_BOXES: COCO's instances, which the metric reads itself. */
typedef enum LabelKind {
    LABEL_NONE,
    LABEL_CLASS,
    LABEL_ARRAY,
    LABEL_PAIRS,
    LABEL_BOXES
} LabelKind;

/* Two samples, and how near to one another they should be. */
typedef struct Pair {
    size_t a, b; /* a < b, or equal */
    double score;
} Pair;

typedef struct Labels {
    qonnx_ctx *cx;  /* of what is read while samples run */
    char **files;   /* [samples] of arrays, by sample, NULL: it has none; owned. NULL: `whole` */
    size_t samples; /* length of `files` */
    qonnx_tensor whole; /* one array, whose first axis counts all samples */
    qonnx_tensor one;   /* that was read last */
    Pair *pairs;        /* [npairs] owned */
    size_t npairs, room;
} Labels;

/* Reads the labels at `path` for the samples. NULL after a message in `cx`. Arrays: a folder of
 * .npy and .png files that are called as the samples are, a .npy whose first axis counts the
 * samples, or a text file of lines "FILE ARRAY". Pairs: lines "FILE FILE SCORE"; or "NAME SCORE",
 * where the samples are called NAMEa and NAMEb. */
Labels *labels_open(qonnx_ctx *cx, const qonnx_dataset *d, const char *path, LabelKind kind);
void labels_free(Labels *l);
/* The array of sample i, until the next is asked for. *t is without data where it has none. False
 * after a message. */
QONNX_CHECKED bool labels_array(Labels *l, const qonnx_dataset *d, size_t i, qonnx_tensor *t);

/* png.c: the samples of a PNG as they are stored, indices of a palette too: uint8 or uint16 [H,W].
 * Freed by qonnx_sample_free. */
QONNX_CHECKED bool png_ids(qonnx_ctx *cx, const char *path, qonnx_tensor *out);

#endif
