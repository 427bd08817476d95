/* runtime/prepare.c - see prepare.h. */
#include "runtime/prepare.h"
#include "lower/quantized.h"

static void fold_constants(Ctx *cx, Graph *g)
{
    for (Node *n = g->first, *next; n; n = next) {
        next = n->next;
        qonnx_node_fold(cx, n);
    }
    qonnx_graph_sweep(g);
}

Graph *graph_prepare(Ctx *cx, const Graph *g, bool fake_quant)
{
    Graph *copy = graph_clone(g);
    if (!fake_quant) fuse_qdq(copy);
    fold_constants(cx, copy);
    return copy;
}
