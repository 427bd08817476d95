/* ir/clone.c - a private copy of a graph, for lowering. Constants' bytes are shared. */
#include "ir/ir.h"
#include <string.h>

static Graph *clone_into(const Graph *g, Graph *c);

/* The copy's value for `v` of the original, seen from graph `c`. */
static Value *counterpart(const Graph *c, const Value *v)
{
    return v ? qonnx_graph_find(c, v->name) : NULL;
}

static Value *clone_value(const Value *v, Graph *c)
{
    Value *w = graph_value(c, v->name);
    w->dtype = v->dtype;
    w->shape = v->shape;
    w->observed = v->observed;
    w->channel_axis = v->channel_axis;
    w->late = v->late;
    w->of_shapes = v->of_shapes;
    w->retyped = v->retyped;
    w->ranged = v->ranged;
    w->lo = v->lo;
    w->hi = v->hi;
    w->kept = v->kept;
    w->override = v->override;
    w->source = v->source;
    w->info = v->info;
    return w;
}

static void clone_attrs(const Node *n, Node *m, Graph *c)
{
    Arena *a = c->model->arena;
    m->nattr = m->attr_cap = n->nattr;
    m->attrs = arena_copy(a, n->attrs, (size_t)n->nattr * sizeof *n->attrs);
    for (int i = 0; i < n->nattr; i++) {
        Attr *t = &m->attrs[i];
        if (!t->graphs) continue;
        Graph **graphs = arena_array(a, (size_t)t->count, sizeof *graphs);
        for (int k = 0; k < t->count; k++)
            graphs[k] = clone_into(n->attrs[i].graphs[k], graph_new_sub(c, m));
        node_set_graphs(m, t, graphs, t->count);
    }
}

static Graph *clone_into(const Graph *g, Graph *c)
{
    c->source = g->source;
    for (int i = 0; i < g->nvalue; i++) clone_value(g->values[i], c);
    for (int i = 0; i < g->nconstant; i++) {
        Value *v = counterpart(c, g->constants[i]);
        graph_put_constant(c, v, g->constants[i]->data);
        v->shared = g->constants[i]->shared;
    }
    c->barred = g->barred;
    for (int i = 0; i < g->ninput; i++) graph_put_input(c, counterpart(c, g->inputs[i]));
    for (const Node *n = g->first; n; n = n->next) {
        Node *m = graph_append(c, n->op, n->domain, n->name, n->nin, n->nout);
        m->source = n->source;
        m->row = n->row;
        m->called = n->called;
        m->inside = n->inside;
        m->quant = n->quant;
        m->narrow = n->narrow;
        m->in_float = n->in_float;
        m->wide_in = n->wide_in;
        m->wide_out = n->wide_out;
        for (int i = 0; i < n->nin; i++)
            if (n->in[i]) qonnx_node_set_input(m, i, counterpart(c, n->in[i]));
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) qonnx_node_set_output(m, i, counterpart(c, n->out[i]));
        clone_attrs(n, m, c);
    }
    for (int i = 0; i < g->noutput; i++) graph_put_output(c, counterpart(c, g->outputs[i]));
    return c;
}

/* An empty main graph of a model as that of `g`. */
static Graph *clone_model(const Graph *g)
{
    Graph *c = graph_new(g->model->path);
    Arena *a = c->model->arena;
    *c->model = *g->model;
    c->model->arena = a;
    c->model->main = c;
    c->model->nsub = 0;
    c->model->names = c->model->node_names = NULL;
    c->model->opsets =
        arena_copy(a, g->model->opsets, (size_t)g->model->nopset * sizeof *g->model->opsets);
    c->model->props =
        arena_copy(a, g->model->props, (size_t)g->model->nprop * sizeof *g->model->props);
    c->model->prop_cap = c->model->nprop;
    return c;
}

Graph *graph_clone(const Graph *g) { return clone_into(g, clone_model(g)); }

Graph *qonnx_graph_copy(const Graph *g) { return graph_clone(g); }

Graph *graph_clone_sub(const Graph *sub)
{
    names_count(sub->model);
    return clone_into(sub, graph_new_sub(sub->parent, sub->owner));
}

Graph *graph_clone_body(const Graph *sub, Value *const *captured, int count)
{
    Graph *c = clone_model(sub);
    for (int i = 0; i < count; i++) {
        Value *v = clone_value(captured[i], c);
        v->observed = 0; /* it is where it is made */
        v->late = false;
        if (!captured[i]->data) continue;
        graph_put_constant(c, v, captured[i]->data);
        v->shared = captured[i]->shared;
    }
    clone_into(sub, c);
    for (int i = 0; i < count; i++)
        if (!captured[i]->data) graph_put_input(c, graph_own(c, captured[i]->name));
    return c;
}
