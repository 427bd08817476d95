/* ops/equation.h - the equation of an Einsum, read against the ranks of its operands. */
#ifndef OPS_EQUATION_H
#define OPS_EQUATION_H

#include "ops/op.h"

enum {
    EQUATION_TERMS = 32,                                /* operands, at most */
    EQUATION_LETTERS = 52,                              /* A to Z, a to z */
    EQUATION_LABELS = EQUATION_LETTERS + QONNX_MAX_RANK /* and the axes of an ellipsis */
};

/* The labels of the axes of an operand, or of the result. */
typedef struct Term {
    int rank;
    int label[QONNX_MAX_RANK];
} Term;

typedef struct Equation {
    int count; /* operands */
    Term in[EQUATION_TERMS], out;
    int64_t size[EQUATION_LABELS]; /* of each label; -1: not known */
} Equation;

/* Reads it; sizes are those that are known. The rank of every operand must be. False with a
 * message. */
bool equation_read(Ctx *cx, const Node *n, Equation *e);

/* The labels of a term, a bit each. */
uint64_t term_labels(const Term *t);

#endif
