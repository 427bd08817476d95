/* ops/ml.h - what the operators of ONNX's domain ai.onnx.ml share: their lists of numbers, their
 * rows, their labels.
 */
#ifndef OPS_ML_H
#define OPS_ML_H

#include "kernels/scores.h"
#include "lower/lower.h"

/* A list of numbers: an attribute of floats, or a tensor in one. */
typedef struct Numbers {
    const float *floats; /* or NULL */
    const Tensor *tensor;
    int64_t count;
} Numbers;

/* The attribute of that name, or NAME_as_tensor; empty where there is neither. */
bool ml_numbers(Ctx *cx, const Node *n, const char *name, Numbers *list);
/* The tensor in the attribute of that name; empty where there is none. */
bool ml_tensor(Ctx *cx, const Node *n, const char *name, Numbers *list);
double number_at(const Numbers *list, int64_t i);
/* Fails unless the attribute has that many elements: as many as `like` has. */
bool ml_count(Ctx *cx, const Node *n, const char *name, int64_t count, int64_t want,
              const char *like);
/* The integers of an attribute, with the same check. */
bool ml_ints(Ctx *cx, const Node *n, const char *name, int64_t want, const char *like,
             const int64_t **values);

/* The operator set of ai.onnx.ml that the model is written for; 0: none. */
int64_t ml_opset(const Node *n);

/* The attribute post_transform, as SCORES_NONE ... (kernels/scores.h). */
bool ml_transform(Ctx *cx, const Node *n, int32_t *last);

/* Input 0 has rows of features, or is one row. */
bool ml_check_rows(Ctx *cx, const Node *n);
int64_t ml_rows(const Node *n); /* -1: not known */
int64_t ml_features(const Node *n);
int64_t ml_elements(const Node *n); /* of input 0 */
/* The rows as floats, or, where `wide`, as doubles. */
Buf *ml_input(Lower *l, const Node *n, bool wide);
/* A copy of that many floats, a constant. */
Buf *ml_const(Lower *l, const float *values, int64_t count);
/* Output i is [rows][count], rows alone where count is 0. */
bool ml_out(Ctx *cx, Node *n, int i, DType t, int64_t count);
/* Whether input 0 is of one of those types, whatever ONNX Runtime takes. */
bool ml_takes(Why *why, const Node *n);

/* The labels of a classifier: integers, or strings, of which the number is given. */
typedef struct Labels {
    const int64_t *ints; /* or NULL */
    char *const *strings;
    int64_t count;
} Labels;

/* From the attributes classlabels_strings and `ints`. */
bool ml_labels(Ctx *cx, const Node *n, const char *ints, Labels *labels);
/* Output 0, the labels, and output 1, scores: [rows][scores]. */
bool ml_classes(Ctx *cx, Node *n, const Labels *labels, int64_t scores);
/* Memory for the labels, of strings their numbers, and for rows of `count` scores, whether somebody
 * reads them or not. */
Buf *ml_label_out(Lower *l, Node *n);
/* Emits what makes the strings of their numbers, where labels are strings and read. */
void ml_name_labels(Lower *l, Node *n, const Labels *labels, Buf *numbers);
Buf *ml_score_out(Lower *l, Node *n, int64_t count);
/* Emits the scores of sums, output i, if somebody reads it; the rows are filled in. */
void ml_scores(Lower *l, Node *n, int i, scores_p *p, Buf *sums);
/* Emits the labels, output 0, of scores, the rows filled in; `has`: see the kernel. */
void ml_lower_labels(Lower *l, Node *n, const Labels *labels, labels_p *p, Buf *scores, Buf *has);

#endif
