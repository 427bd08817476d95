/* runtime/fold.c - runs one node whose inputs are constant, and makes its outputs constants. */
#include "runtime/exec.h"
#include <string.h>

static bool foldable(const Node *n)
{
    if (!qonnx_node_known(n) || qonnx_node_subgraphs(n)) return false;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && (!n->in[i]->data || !n->in[i]->data->data)) return false;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->output_count) return false;
    return true;
}

/* A graph of this node alone, its used outputs being the graph's. */
static Graph *lone_graph(const Node *n)
{
    Graph *g = graph_new(n->graph->model->path);
    g->model->opsets = n->graph->model->opsets;
    g->model->nopset = n->graph->model->nopset;
    Node *m = graph_append(g, n->op, n->domain, n->name, n->nin, n->nout);
    m->attrs = n->attrs;
    m->nattr = m->attr_cap = n->nattr;
    for (int i = 0; i < n->nin; i++) {
        if (!n->in[i]) continue;
        Value *v = graph_value(g, n->in[i]->name);
        if (!v->data) graph_put_constant(g, v, n->in[i]->data);
        qonnx_node_set_input(m, i, v);
    }
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i]) continue;
        Value *v = graph_value(g, n->out[i]->name);
        v->dtype = n->out[i]->dtype;
        qonnx_node_set_output(m, i, v);
        if (n->out[i]->nuse) graph_put_output(g, v);
    }
    return g;
}

bool qonnx_node_fold(Ctx *cx, Node *n)
{
    (void)cx;
    if (!foldable(n)) return false;
    Ctx *quiet = ctx_quiet();
    Program *p = program_new(quiet, lone_graph(n), NULL, NULL);
    qonnx_ctx_free(quiet);
    if (!p) return false;
    Image *m = image_new(p, ENGINE_PORTABLE);
    Exec *x = exec_new(m);
    exec_run(x, NULL, NULL, NULL);
    Graph *g = n->graph;
    qonnx_node_remove(n);
    for (int i = 0; i < p->noutput; i++) {
        Tensor t = p->outputs[i].tensor;
        t.data = exec_output(x, i);
        Value *v = graph_own(g, p->graph->outputs[i]->name);
        graph_put_constant(g, v, tensor_copy(g->model->arena, &t));
        v->info = NULL;
    }
    exec_free(x);
    image_free(m);
    return true;
}
