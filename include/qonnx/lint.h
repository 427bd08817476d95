/* qonnx/lint.h - what a target's runtime makes of a model, node by node, and why. */
#ifndef QONNX_LINT_H
#define QONNX_LINT_H

#include <qonnx/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qonnx_fate {
    QONNX_FATE_INTEGERS, /* it runs in integers */
    QONNX_FATE_FOLLOWS,  /* it has no form of its own: see QONNX_TAKES_BEHIND; or it vanishes */
    QONNX_FATE_FLOAT     /* it stays in float */
} qonnx_fate;

/** What becomes of a node. Texts live as long as the graph. */
typedef struct qonnx_finding {
    const qonnx_node *node;
    qonnx_fate fate;
    bool heavy;           /* a matrix product, or it would be one in integers */
    bool broken;          /* it stays in float though the file has integers for it */
    const char *why;      /* why it stays in float, or what it follows; NULL: it runs in integers */
    const char *overflow; /* which sum may overflow its register; NULL: none can, in any input, or
                             it is no product in integers */
} qonnx_finding;

/** What becomes of all nodes that give floats or are of integers (QLinearConv), graph after graph,
 *  but for QuantizeLinear, DequantizeLinear and constants; in the graph's memory. Of a model that
 * is quantized: what the target's runtime makes of it as it is. Of one in float, which the passes
 * before `calibrate` made: what `insert-qdq` will make of it; with ranges where `calibrate` ran, of
 * which `stats` are the statistics, else (NULL) whatever the ranges will be. */
QONNX_API const qonnx_finding *qonnx_graph_lint(qonnx_graph *g, const qonnx_target *t,
                                                const qonnx_stats *stats, int *count);
/** Whether the model has a DequantizeLinear, or an operator of integers, in any of its graphs. */
QONNX_API bool qonnx_graph_quantized(const qonnx_graph *g);

#ifdef __cplusplus
}
#endif
#endif
