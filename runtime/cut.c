/* runtime/cut.c - see cut.h. */
#include "runtime/cut.h"
#include "ir/bundle.h"
#include "ir/size.h"
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

/* The node, or one in its subgraphs, whose turns run one by one; NULL: there is none. */
static const Node *turned_node(const Node *n)
{
    const Node *found = n->turned ? n : NULL;
    for (int i = 0; i < n->nsub && !found; i++)
        for (const Node *m = n->subs[i]->first; m && !found; m = m->next) found = turned_node(m);
    return found;
}

bool graph_is_whole(Ctx *cx, const Graph *g)
{
    for (int i = 0; i < g->noutput; i++)
        if (g->outputs[i]->dtype == QONNX_STRING || is_bundle(g->outputs[i]->dtype))
            return qonnx_fail(cx, g->outputs[i]->def,
                              "compiled code gives tensors of numbers, and output '%s' of the "
                              "model is %s",
                              g->outputs[i]->name, qonnx_dtype_name(g->outputs[i]->dtype));
    for (const Node *n = g->first; n; n = n->next) {
        const Node *turned = turned_node(n);
        if (turned && node_is_hosted(turned))
            return qonnx_fail(cx, turned, "compiled code cannot run it, only the command can");
        if (turned)
            return qonnx_fail(cx, turned,
                              "compiled code cannot run it, for its turns are not all alike: %s; "
                              "make shapes and trip count constant in the model",
                              turned->turned);
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
    t.dims[axis] = n;
    bool fits = tensor_bytes(t.dims, t.rank, t.dtype, &t.bytes);
    assert(fits);
    (void)fits;
    return t;
}

/* ---- cutting --------------------------------------------------------------------------------- */

/* Where a node goes: Node.mark. */
enum { FRONT, TURNED, BUNDLE, LATE };

/* One cut being made. */
typedef struct Work {
    Graph *front; /* the graph, from which nodes are taken */
    Cut *cut;
    bool *crosses; /* by Value.id of the front: it is an input of the rest */
    Value **from;  /* [cut->ninput]: these, in the order they are read */
    int room;      /* of that list */
    int *place;    /* by Value.id of the front: its number among the outputs, from 1 */
    int *fed;      /* by Value.id of the front: its number among the fed inputs, from 1 */
} Work;

static bool made_by(const Value *v, int mark) { return v->def && v->def->mark == mark; }

/* Takes a value over the cut, once; of a bundle what is in it. */
static bool cross(void *user, Value *v)
{
    Work *w = user;
    if (made_by(v, BUNDLE)) return any_read(v->def, cross, w);
    if (v->data || made_by(v, LATE) || w->crosses[v->id]) return false;
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
    Cross c = {FROM_PROGRAM, .index = output_of(w, v), .counted = -1, .axis = counted_axis(v)};
    if (c.axis >= 0) c.counted = output_of(w, v->def->out[v->def->row->counted->output]);
    return c;
}

static Cross from_turns(const Value *v)
{
    Cross c = {FROM_TURNS, .output = v->def_index, .counted = -1, .axis = -1};
    for (const Node *n = v->def->prev; n; n = n->prev) c.index += n->mark == TURNED;
    return c;
}

static Cross from_bundle(Work *w, const Value *v);

/* Where a value of the front is found, of whatever makes it. */
static Cross from_front(Work *w, Value *v)
{
    Cross c = {FROM_NOTHING, .counted = -1, .axis = -1};
    if (!v) return c;
    if (made_by(v, TURNED)) return from_turns(v);
    if (made_by(v, BUNDLE)) return from_bundle(w, v);
    c.from = v->data ? FROM_CONSTANT : FROM_INPUT;
    c.constant = v->data;
    c.index = w->fed[v->id] - 1;
    return v->data || w->fed[v->id] ? c : from_program(w, v);
}

static Cross from_bundle(Work *w, const Value *v)
{
    const Node *n = v->def;
    Cross c = {FROM_BUNDLE, .counted = -1, .axis = -1, .dtype = v->dtype};
    c.parts = arena_array(w->front->model->arena, (size_t)n->nin + 1, sizeof *c.parts);
    for (int i = 0; i < n->nin; i++)
        if (n->in[i]) c.parts[c.nparts++] = from_front(w, n->in[i]);
    return c;
}

/* Gives the rest the inputs that cross. What is observed is seen where it is made, but for what has
 * its size only now, and what turns have made. */
static void put_inputs(Work *w)
{
    Cut *c = w->cut;
    Graph *g = c->rest;
    for (int i = 0; i < g->ninput; i++) g->inputs[i]->input_count--;
    g->ninput = 0;
    c->inputs = xcalloc((size_t)c->ninput + 1, sizeof *c->inputs);
    for (int i = 0; i < c->ninput; i++) {
        Value *to = graph_own(g, w->from[i]->name);
        c->inputs[i] = from_front(w, w->from[i]);
        if (c->inputs[i].axis < 0 && c->inputs[i].from != FROM_TURNS) to->observed = 0;
        graph_put_input(g, to);
    }
    for (int i = 0; i < g->nconstant; i++) g->constants[i]->observed = 0;
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
        if (made_by(all[i], TURNED)) {
            c->outputs[i] = from_turns(all[i]);
        } else if (made_by(all[i], BUNDLE)) {
            c->outputs[i] = from_bundle(w, all[i]);
        } else if (!made_by(all[i], LATE)) {
            c->outputs[i] = from_program(w, all[i]);
        } else {
            c->outputs[i] =
                (Cross){FROM_REST, .index = c->rest->noutput, .counted = -1, .axis = -1};
            graph_put_output(c->rest, others[i]);
        }
    }
    free(all);
    free(others);
}

/* Takes the nodes out of both graphs that do not belong there. */
static void part_nodes(Graph *front, Graph *rest)
{
    for (Node *a = front->first, *b = rest ? rest->first : NULL, *an, *bn = NULL; a;
         a = an, b = bn) {
        an = a->next;
        if (b) bn = b->next;
        if (b && a->mark != LATE && a->mark != BUNDLE) qonnx_node_remove(b);
        if (a->mark != FRONT) qonnx_node_remove(a);
    }
}

/* Gives the nodes that are not late the outputs that say sizes. */
static void put_counts(Graph *g)
{
    for (Node *n = g->first; n; n = n->next)
        if (n->mark == FRONT) node_count(n);
}

/* What was late is so no more. */
static Graph *make_rest(const Graph *g)
{
    Graph *rest = graph_clone(g);
    for (int i = 0; i < rest->nvalue; i++) rest->values[i]->late = false;
    return rest;
}

/* ---- nodes that run turn by turn ------------------------------------------------------------- */

static void take_turned(Work *w, const Node *n, Turned *t)
{
    Arena *a = n->graph->model->arena;
    if (node_is_hosted(n)) {
        t->node = n;
        t->in = arena_array(a, (size_t)n->nin + 1, sizeof *t->in);
        for (int i = 0; i < n->nin; i++) t->in[t->nin++] = from_front(w, n->in[i]);
        return;
    }
    Ctx *quiet = ctx_quiet();
    bool known = cycle_of(quiet, n, &t->cycle);
    assert(known); /* or it would not have been tried */
    (void)known;
    qonnx_ctx_free(quiet);
    Value **captured;
    int count = captured_values(t->cycle.body, n->graph, a, &captured);
    t->node = n;
    t->body = graph_clone_body(t->cycle.body, captured, count);
    t->in = arena_array(a, (size_t)n->nin + (size_t)count, sizeof *t->in);
    for (int i = 0; i < n->nin; i++) t->in[t->nin++] = from_front(w, n->in[i]);
    for (int i = 0; i < count; i++)
        if (!captured[i]->data) t->in[t->nin++] = from_front(w, captured[i]);
    t->wanted = arena_array(a, (size_t)n->nout, sizeof *t->wanted);
    for (int i = 0; i < n->nout; i++) t->wanted[i] = n->out[i] && n->out[i]->nuse;
}

static void put_turned(Work *w)
{
    Cut *c = w->cut;
    for (const Node *n = w->front->first; n; n = n->next) c->nturned += n->mark == TURNED;
    c->turned = xcalloc((size_t)c->nturned + 1, sizeof *c->turned);
    int i = 0;
    for (const Node *n = w->front->first; n; n = n->next)
        if (n->mark == TURNED) take_turned(w, n, &c->turned[i++]);
    for (i = 0; i < c->noutput; i++)
        if (c->outputs[i].from == FROM_TURNS && c->turned[c->outputs[i].index].wanted)
            c->turned[c->outputs[i].index].wanted[c->outputs[i].output] = true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int *number_fed(const Graph *g)
{
    int *fed = xcalloc((size_t)g->nvalue + 1, sizeof *fed);
    for (int i = 0, k = 0; i < g->ninput; i++)
        if (!g->inputs[i]->data) fed[g->inputs[i]->id] = ++k;
    return fed;
}

/* Says where the nodes go. Whether any is late. */
static bool mark_nodes(Graph *g)
{
    bool late = false;
    for (Node *n = g->first; n; n = n->next) {
        bool bundles = n->row && n->row->bundles;
        n->mark = node_is_late(n) ? LATE : n->turned ? TURNED : bundles ? BUNDLE : FRONT;
        late |= n->mark == LATE;
    }
    return late;
}

Cut graph_cut(Graph *g)
{
    Cut c = {.noutput = 0};
    if (mark_nodes(g)) c.rest = make_rest(g);
    Work w = {.front = g, .cut = &c};
    put_counts(g);
    w.crosses = xcalloc((size_t)g->nvalue + 1, sizeof *w.crosses);
    w.place = xcalloc((size_t)g->nvalue + 1, sizeof *w.place);
    w.fed = number_fed(g);
    for (Node *n = g->first; n; n = n->next)
        if (n->mark == LATE) any_read(n, cross, &w);
    put_outputs(&w);
    put_turned(&w);
    if (c.rest) put_inputs(&w);
    part_nodes(g, c.rest);
    if (c.rest) qonnx_graph_sweep(c.rest);
    qonnx_graph_sweep(g);
    free(w.crosses);
    free(w.place);
    free(w.from);
    free(w.fed);
    return c;
}

void cut_free(Cut *c)
{
    for (int i = 0; i < c->nturned; i++) qonnx_graph_free(c->turned[i].body);
    free(c->turned);
    qonnx_graph_free(c->rest);
    free(c->inputs);
    free(c->outputs);
    *c = (Cut){.rest = NULL};
}
