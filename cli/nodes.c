/* cli/nodes.c - see nodes.h. */
#include "nodes.h"
#include <string.h>

const qonnx_node *node_called(const qonnx_graph *g, const char *name)
{
    const qonnx_node *found = NULL;
    for (; g && *name; g = qonnx_graph_next(g))
        for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
            if (!strcmp(qonnx_node_name(n), name)) return n;
            else if (!found && !strcmp(qonnx_node_label(n), name)) found = n;
    return found;
}

qonnx_node *maker_if(const qonnx_value *v, const char *op)
{
    qonnx_node *n = v ? qonnx_value_producer(v) : NULL;
    return n && qonnx_node_is(n, op) ? n : NULL;
}

qonnx_value *in_front_of_pair(qonnx_value *v)
{
    const qonnx_node *dq = maker_if(v, "DequantizeLinear");
    const qonnx_node *q = maker_if(dq ? qonnx_node_input(dq, 0) : v, "QuantizeLinear");
    return q ? qonnx_node_input(q, 0) : v;
}
