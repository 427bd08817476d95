/* runtime/bind.c - see bind.h. */
#include "runtime/bind.h"
#include "lower/program.h"
#include "ops/op.h"
#include <string.h>

enum { MOST_ELEMENTS = 64 };

static bool wants_list(const Use *u)
{
    return u->node->row && u->input < 32 && u->node->row->lists >> u->input & 1;
}

/* Whether the input that a sample feeds with `t` is bound. Without a sample none is. */
static bool is_bound(const Value *v, const Tensor *t)
{
    if ((t->bytes && !t->data) || t->rank > 1 || tensor_count(t) > MOST_ELEMENTS ||
        t->dtype != v->dtype || !has_type(NUMBERS, t->dtype))
        return false;
    for (int i = 0; i < v->nuse; i++)
        if (wants_list(&v->uses[i])) return true;
    return false;
}

size_t bind_contents(const Graph *g, const Tensor *inputs, void *to)
{
    size_t bytes = 0;
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        if (!is_bound(g->inputs[i], t) || !t->bytes) continue;
        if (to) memcpy((char *)to + bytes, t->data, t->bytes);
        bytes += t->bytes;
    }
    return bytes;
}

void bind_inputs(Graph *g, const Tensor *inputs)
{
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        Value *v = g->inputs[i];
        if (!is_bound(v, t)) continue;
        Value *c = qonnx_graph_add_constant(g, v->name, t);
        for (int u = 0; u < v->nuse;) { /* a use that is taken away makes room for another */
            if (wants_list(&v->uses[u])) qonnx_node_set_input(v->uses[u].node, v->uses[u].input, c);
            else u++;
        }
    }
}
