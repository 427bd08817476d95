/* tests/fuzz/small.c - keeps targets that run a model to models that are little work. */
#include "tests/fuzz/fuzz.h"

enum { MOST_ELEMENTS = 1 << 14, MOST_MACS = 1 << 22 };

bool fuzz_is_small(const qonnx_graph *g)
{
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        const qonnx_value *v = qonnx_graph_value(g, i);
        double n = 1;
        for (int k = 0; k < qonnx_value_rank(v); k++)
            n *= qonnx_value_dim(v, k) < 0 ? 3 : (double)qonnx_value_dim(v, k);
        if (n > MOST_ELEMENTS) return false;
    }
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
        if (qonnx_node_macs(n) > MOST_MACS) return false;
    return true;
}
