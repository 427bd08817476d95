/* ir/splice.c - a subgraph's nodes take the place of the node that it belongs to. Nodes and values
 * stay what they are: they move to the other graph, where a value may need another name.
 */
#include "ir/ir.h"
#include <string.h>

/* Takes the subgraphs off the node, and gives up those that are not `kept`. */
static void drop_subgraphs(Node *n, const Graph *kept)
{
    for (int i = 0; i < n->nsub; i++)
        if (n->subs[i] != kept) graph_release(n->subs[i]);
    n->nsub = n->nattr = 0;
}

/* Whether the graph gives that output alone and makes it itself, so that another value can take its
 * place. */
static bool is_own(const Graph *sub, const Value *v)
{
    return v->graph == sub && v->def && v->output_count == 1 && !v->observed;
}

static void move_value(Graph *to, Value *v)
{
    name_drop(v->graph, v);
    const char *name = name_choose(to, v->name);
    if (strcmp(name, v->name)) v->source = v->info = NULL;
    v->name = name;
    v->output_count = 0;
    graph_adopt(to, v);
}

/* Makes `out` what the graph gave as `v`. */
static void take_over(Node *n, Value *out, Value *v, bool own)
{
    if (own) {
        Node *m = v->def;
        int i = v->def_index;
        qonnx_value_replace_uses(v, out);
        qonnx_node_set_output(m, i, out);
        return;
    }
    qonnx_graph_add_node(n->graph, n, "Identity", "", n->name, &v, 1, &out, 1);
}

void graph_splice(Node *n, Graph *sub)
{
    Graph *g = n->graph;
    bool *own = arena_array(g->model->arena, (size_t)sub->noutput, sizeof *own);
    drop_subgraphs(n, sub);
    for (int i = 0; i < sub->noutput; i++) {
        Value *v = sub->outputs[i];
        own[i] = is_own(sub, v);
        if (v->graph != sub) v->output_count--;
    }
    for (int i = 0; i < sub->nvalue; i++) move_value(g, sub->values[i]);
    while (sub->first) node_move(sub->first, n);
    for (int i = 0; i < n->nout; i++) {
        Value *out = n->out[i];
        if (!out) continue;
        n->out[i] = NULL;
        out->def = NULL;
        take_over(n, out, sub->outputs[i], own[i]);
    }
    qonnx_node_remove(n);
}
