/* cli/nodes.h - how nodes and values of a model are found by the others: by name, and through
 * QuantizeLinear and DequantizeLinear.
 */
#ifndef CLI_NODES_H
#define CLI_NODES_H

#include <qonnx/graph.h>

/* The node that is called so (qonnx_node_label), in the graph or those behind it; one that has the
 * name comes before one that only gives a value of it. NULL: there is none. */
const qonnx_node *node_called(const qonnx_graph *g, const char *name);
/* The node that gives the value, if it is that operator; NULL: it is not, or nobody does. */
qonnx_node *maker_if(const qonnx_value *v, const char *op);
/* The value in front of the QuantizeLinear and DequantizeLinear, or of the former alone, that `v`
 * comes out of; `v` where it does not. */
qonnx_value *in_front_of_pair(qonnx_value *v);

#endif
