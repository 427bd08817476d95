/* ops/ml_forest.h - the trees of a node of ai.onnx.ml, checked, and as the kernel takes them.
 */
#ifndef OPS_ML_FOREST_H
#define OPS_ML_FOREST_H

#include "ops/ml.h"

/* A forest as kernels/trees.h has it. */
typedef struct Forest {
    int32_t trees, nodes, leaves;
    int32_t sets;        /* numbers of all sets */
    int32_t weights;     /* of all leaves */
    int32_t *ints;       /* roots, nodes, first weights of leaves, targets */
    double *numbers;     /* splits, sets, weights */
    int64_t last_feature; /* the greatest that a node asks for; -1: none does */
} Forest;

/* Integers and numbers of it. */
size_t forest_ints(const Forest *f);
size_t forest_numbers(const Forest *f);

/* The trees of a TreeEnsembleRegressor or -Classifier, whose attributes for weights begin with
 * `what`, "target" or "class"; their targets are below `targets`. */
bool forest_read(Lower *l, const Node *n, const char *what, int64_t targets, Forest *f);
/* The same of a TreeEnsemble. */
bool forest_read_ensemble(Lower *l, const Node *n, int64_t targets, Forest *f);
/* Whether lists that belong together have the same length; cheap, for shape functions. */
bool forest_check(Ctx *cx, const Node *n, const char *what);
bool forest_check_ensemble(Ctx *cx, const Node *n);
/* Steps for a row, at the most: every node and every weight once. */
int64_t forest_work(const Node *n);

#endif
