/* tests/fuzz/small.c - keeps targets that run a model to models that are little work. */
#include "tests/fuzz/fuzz.h"

enum { MOST_ELEMENTS = 1 << 14, MOST_MACS = 1 << 22, MOST_PADS = 64 };

/* Large pads make large outputs, also where their size is not known before the model runs. */
static bool pads_little(const qonnx_node *n)
{
    const int64_t *pads;
    int count = qonnx_node_ints(n, "pads", &pads);
    for (int i = 0; i < count; i++)
        if (pads[i] > MOST_PADS) return false;
    return true;
}

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
        if (qonnx_node_macs(n) > MOST_MACS || !pads_little(n)) return false;
    return true;
}
