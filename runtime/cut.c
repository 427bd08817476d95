/* runtime/cut.c - see cut.h. */
#include "runtime/cut.h"
#include "ops/op.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool value_is_size(const Value *v)
{
    const Op *row = v->def ? v->def->row : NULL;
    return row && row->counted && v->def_index == row->counted->output;
}

/* The node that gives an input of `n` a size that is data; NULL: none does. */
static const Node *sizing(const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && counted_axis(n->in[i]) >= 0) return n->in[i]->def;
    return NULL;
}

bool graph_is_whole(Ctx *cx, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        const Node *from = node_is_late(n) ? sizing(n) : NULL;
        if (from)
            return qonnx_fail(cx, from,
                              "the shape of its output '%s' is not known before the model runs, "
                              "and '%s' is made of it; such outputs can only be the model's",
                              from->out[0]->name, n->out[0]->name);
        if (node_is_late(n))
            return qonnx_fail(
                cx, n,
                "the shape of its output '%s' is not known before the model runs: it depends "
                "on more than the shapes of the inputs; make it constant in the model",
                n->out[0]->name);
    }
    return true;
}

/* ---- sizes that are data --------------------------------------------------------------------- */

Value *node_count(Node *n)
{
    const Counted *c = n->row && !n->quant ? n->row->counted : NULL;
    if (!c) return NULL;
    int64_t most = c->most(n);
    bool any = false;
    for (int i = 0; i < n->nout; i++) {
        int axis = n->out[i] ? counted_axis(n->out[i]) : -1;
        if (axis < 0) continue;
        any = true;
        if (axis < n->out[i]->shape.rank) n->out[i]->shape.dim[axis] = most;
        n->out[i]->observed = 0; /* not with what lies behind its end */
    }
    if (!any) return NULL;
    Value **out = arena_array(n->graph->model->arena, (size_t)c->output + 1, sizeof *out);
    memcpy(out, n->out, (size_t)n->nout * sizeof *out);
    n->out = out;
    n->nout = c->output + 1;
    Arena *a = n->graph->model->arena;
    Value *v = qonnx_graph_add_value(n->graph, arena_printf(a, "%s_size", n->out[0]->name));
    v->dtype = QONNX_INT64;
    v->shape = shape_make(0, NULL);
    qonnx_node_set_output(n, c->output, v);
    return v;
}

Tensor tensor_trimmed(Tensor t, int axis, const void *size)
{
    int64_t n;
    memcpy(&n, size, sizeof n);
    assert(n >= 0 && n <= t.dims[axis]);
    if (t.dims[axis]) t.bytes = t.bytes / (size_t)t.dims[axis] * (size_t)n;
    t.dims[axis] = n;
    return t;
}

/* ---- cutting --------------------------------------------------------------------------------- */

/* One cut being made. */
typedef struct Work {
    Graph *front; /* the graph, from which the late nodes are taken */
    Cut *cut;
    bool *crosses; /* by Value.id of the front: it is an input of the rest */
    Value **from;  /* [cut->ninput]: these, in the order they are read */
    int room;      /* of that list */
    int *place;    /* by Value.id of the front: its number among the outputs, from 1 */
} Work;

/* Takes a value over the cut, once. */
static bool cross(void *user, Value *v)
{
    Work *w = user;
    if (v->data || (v->def && v->def->mark) || w->crosses[v->id]) return false;
    if (w->cut->ninput == w->room)
        w->from = xrealloc_array(w->from, (size_t)(w->room = 2 * w->room + 8), sizeof *w->from);
    w->from[w->cut->ninput++] = v;
    w->crosses[v->id] = true;
    return false;
}

/* Where the front's program gives a value, which becomes an output. */
static int output_of(Work *w, Value *v)
{
    if (!w->place[v->id]) {
        graph_put_output(w->front, v);
        w->place[v->id] = w->front->noutput;
    }
    return w->place[v->id] - 1;
}

static Cross from_program(Work *w, Value *v)
{
    Cross c = {FROM_PROGRAM, output_of(w, v), -1, counted_axis(v)};
    if (c.axis >= 0) c.counted = output_of(w, v->def->out[v->def->row->counted->output]);
    return c;
}

/* Gives the rest the inputs that cross. What is observed is seen where it is made, but for what has
 * its size only now. */
static void put_inputs(Work *w)
{
    Cut *c = w->cut;
    Graph *g = c->rest;
    int *fed = xcalloc((size_t)w->front->nvalue, sizeof *fed); /* number of a fed input, from 1 */
    for (int i = 0, k = 0; i < w->front->ninput; i++)
        if (!w->front->inputs[i]->data) fed[w->front->inputs[i]->id] = ++k;
    for (int i = 0; i < g->ninput; i++) g->inputs[i]->input_count--;
    g->ninput = 0;
    c->inputs = xcalloc((size_t)c->ninput + 1, sizeof *c->inputs);
    for (int i = 0; i < c->ninput; i++) {
        Value *from = w->from[i], *to = graph_own(g, from->name);
        int input = fed[from->id];
        c->inputs[i] = input ? (Cross){FROM_INPUT, input - 1, -1, -1} : from_program(w, from);
        if (c->inputs[i].axis < 0) to->observed = 0;
        graph_put_input(g, to);
    }
    for (int i = 0; i < g->nconstant; i++) g->constants[i]->observed = 0;
    free(fed);
}

/* The outputs of a graph, which has none then. Freed by the caller. */
static Value **take_outputs(Graph *g)
{
    Value **all = xcalloc((size_t)g->noutput + 1, sizeof *all);
    for (int i = 0; i < g->noutput; i++) {
        all[i] = g->outputs[i];
        all[i]->output_count--;
    }
    g->noutput = 0;
    return all;
}

/* Deals the outputs of the graph out. */
static void put_outputs(Work *w)
{
    Cut *c = w->cut;
    c->noutput = w->front->noutput;
    c->outputs = xcalloc((size_t)c->noutput + 1, sizeof *c->outputs);
    Value **all = take_outputs(w->front), **others = c->rest ? take_outputs(c->rest) : NULL;
    for (int i = 0; i < c->noutput; i++) {
        if (!all[i]->def || !all[i]->def->mark) {
            c->outputs[i] = from_program(w, all[i]);
            continue;
        }
        c->outputs[i] = (Cross){FROM_REST, c->rest->noutput, -1, -1};
        graph_put_output(c->rest, others[i]);
    }
    free(all);
    free(others);
}

/* Takes the nodes out of both graphs that belong to the other. */
static void part_nodes(Graph *front, Graph *rest)
{
    for (Node *a = front->first, *b = rest->first, *an, *bn; a; a = an, b = bn) {
        an = a->next;
        bn = b->next;
        qonnx_node_remove(a->mark ? a : b);
    }
}

/* Gives the nodes that are not late the outputs that say sizes. */
static void put_counts(Graph *g)
{
    for (Node *n = g->first; n; n = n->next)
        if (!n->mark) node_count(n);
}

/* What was late is so no more. */
static Graph *make_rest(const Graph *g)
{
    Graph *rest = graph_clone(g);
    for (int i = 0; i < rest->nvalue; i++) rest->values[i]->late = false;
    return rest;
}

Cut graph_cut(Graph *g)
{
    Cut c = {.noutput = 0};
    bool late = false;
    for (Node *n = g->first; n; n = n->next) late |= n->mark = node_is_late(n);
    if (late) c.rest = make_rest(g);
    put_counts(g);
    Work w = {.front = g, .cut = &c};
    w.crosses = xcalloc((size_t)g->nvalue + 1, sizeof *w.crosses);
    w.place = xcalloc((size_t)g->nvalue + 1, sizeof *w.place);
    for (Node *n = g->first; n; n = n->next)
        if (n->mark) any_read(n, cross, &w);
    put_outputs(&w);
    if (late) {
        put_inputs(&w);
        part_nodes(g, c.rest);
        qonnx_graph_sweep(c.rest);
    }
    qonnx_graph_sweep(g);
    free(w.crosses);
    free(w.place);
    free(w.from);
    return c;
}

void cut_free(Cut *c)
{
    qonnx_graph_free(c->rest);
    free(c->inputs);
    free(c->outputs);
    *c = (Cut){.rest = NULL};
}
