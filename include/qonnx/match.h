/* qonnx/match.h - finding groups of nodes by a pattern that is a table, not code.
 *
 * A row is a node: the name of its first output, the operators that it may be, and what it reads.
 * The search starts at a node for the last row, and goes from there against the data's direction:
 *
 *     static const qonnx_match_row hard_swish[] = {
 *         {"shifted", "Add", {"x", "=3"}},
 *         {"gate", "Clip", {"shifted", "=0", "=6"}},
 *         {"gated", "Mul", {"x", "gate"}},
 *         {"y", "Div", {"gated", "=6"}},
 *     };
 *     qonnx_match m;
 *     if (qonnx_match_at(n, hard_swish, 4, false, &m))
 *         x = qonnx_match_value(&m, hard_swish, "x");
 *
 * What a row reads, input by input:
 *
 *     "gate"          what the row of that name gives; where there is none, any value: the same one
 *                     wherever the name stands
 *     "#w"            a constant, which gets the name w
 *     "=1.414|0.707"  a constant of one element that is one of these numbers, to a thousandth
 *     NULL            nothing, or whatever is there
 *
 * Of operators whose operands may change places (Add, Mul, Max, Min, Sum, And, Or, Equal) both
 * orders are tried. All nodes are ONNX's own and in one graph.
 */
#ifndef QONNX_MATCH_H
#define QONNX_MATCH_H

#include <qonnx/graph.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { QONNX_MATCH_ROWS = 16, QONNX_MATCH_INPUTS = 4, QONNX_MATCH_NAMES = 16 };

typedef struct qonnx_match_row {
    const char *name;                       /* of what it gives */
    const char *ops;                        /* "Mul", "Div|Mul" */
    const char *inputs[QONNX_MATCH_INPUTS]; /* as above */
    const char *attribute;                  /* "alpha=0.16667": a float that it must have, to a
                                               thousandth; NULL: it need not */
} qonnx_match_row;

/** What was found. Nodes and values are the graph's, names the table's. */
typedef struct qonnx_match {
    qonnx_node *nodes[QONNX_MATCH_ROWS]; /* of the rows */
    int nnodes;
    qonnx_node *moves[QONNX_MATCH_ROWS]; /* data movement that was looked past */
    int nmoves;
    const char *names[QONNX_MATCH_NAMES]; /* of what no row gives */
    qonnx_value *values[QONNX_MATCH_NAMES];
    int nnames;
} qonnx_match;

/** Whether the pattern of `count` rows, at most QONNX_MATCH_ROWS, ends at the node `last`. With
 *  `moved`, data movement (Reshape, Transpose, Squeeze, ...) may stand between its nodes and in
 *  front of them. [any thread that may read the graph] */
QONNX_API bool qonnx_match_at(qonnx_node *last, const qonnx_match_row *rows, int count, bool moved,
                              qonnx_match *m);
/** The value that has the name in the pattern: what a row gives, or what rows read; NULL: none. */
QONNX_API qonnx_value *qonnx_match_value(const qonnx_match *m, const qonnx_match_row *rows,
                                         const char *name);
/** Whether the value is read by nodes of the match alone, and is no output of its graph. */
QONNX_API bool qonnx_match_keeps(const qonnx_match *m, const qonnx_value *v);
/** Whether that is so of all that its nodes give but for the last one: then they may be replaced.
 */
QONNX_API bool qonnx_match_closed(const qonnx_match *m);

/** Of an activation function that ends at the node, GELU, SiLU, Mish or HardSwish in whatever form:
 *  where it vanishes, so that what nobody but it reads, *x, might as well be no less than that.
 *  -INFINITY: it is none, or others read that, too. [any thread that may read the graph] */
QONNX_API float qonnx_function_floor(qonnx_node *last, const qonnx_value **x);

#ifdef __cplusplus
}
#endif
#endif
