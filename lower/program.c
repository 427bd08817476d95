/* lower/program.c - Graph to Program: infer shapes, lower each node, tap what is observed, plan. */
#include "lower/lower.h"
#include <string.h>

enum { PLAN_ALIGN = 64 }; /* of buffers on the host: a cache line, the widest vector */

bool graph_is_fed(const Graph *g, int i) { return !g->inputs[i]->data; }

/* Gives the graph's inputs the shapes of a sample. */
static bool set_inputs(Ctx *cx, Graph *g, const Tensor *inputs)
{
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        Value *v = g->inputs[i];
        if (v->dtype != t->dtype)
            return qonnx_fail(cx, NULL, "%s: input '%s' is %s, the sample is %s", g->model->path,
                              v->name, qonnx_dtype_name(v->dtype), qonnx_dtype_name(t->dtype));
        v->shape = shape_of(t);
    }
    return true;
}

/* Whether kernels can go through a shape: its size is known and an int32, and where an axis of size
 * 0 makes it nothing, the others are not many rows of nothing. */
static bool can_index(const Shape *s)
{
    enum { MOST_ROWS = 1 << 20 };
    int64_t rows = 1;
    if (shape_elements(s)) return shape_elements(s) > 0;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] && (s->dim[i] > MOST_ROWS || (rows *= s->dim[i]) > MOST_ROWS)) return false;
    return true;
}

/* Types of less than a byte are not run: kernels count in bytes. */
static bool check_size(Ctx *cx, const Node *n, const char *what, const Value *v)
{
    int bits = qonnx_dtype_bits(v->dtype);
    return (bits && bits % 8 == 0 && can_index(&v->shape)) ||
           qonnx_fail(cx, n,
                      "type or shape of its %s '%s' is not known, or none that can be run, or too "
                      "large (2^31 elements)",
                      what, v->name);
}

static bool check_sizes(Ctx *cx, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        if (!n->out[0])
            return qonnx_fail(cx, n, "its first output is left out, so it cannot be run");
        for (int i = 0; i < n->nin; i++)
            if (n->in[i] && !check_size(cx, n, "input", n->in[i])) return false;
        for (int i = 0; i < n->nout; i++)
            if (n->out[i] && (n->out[i]->nuse || n->out[i]->output_count) &&
                !check_size(cx, n, "output", n->out[i]))
                return false;
    }
    return true;
}

static bool lower_node(Lower *l, Node *n)
{
    if (l->absorbed[n->out[0]->id]) return true;
    Why why; /* types are known only now where the file does not say them */
    if (!op_takes(&why, n))
        return qonnx_fail(l->cx, n, "this library cannot run it: %s", why.text);
    if (!n->row->lower(l, n)) return false;
    for (int i = 1; i < n->nout; i++) {
        const Value *v = n->out[i];
        if (v && (v->nuse || v->output_count) && !l->places[v->id].buf[l->places[v->id].first])
            return qonnx_fail(l->cx, n, "its output %d '%s' is not computed by this library", i,
                              v->name);
    }
    return true;
}

static Port port_of(const Value *v, Buf *b)
{
    Port p = {b, {.dtype = v->dtype, .rank = v->shape.rank, .bytes = b->bytes}};
    memcpy(p.tensor.dims, v->shape.dim, sizeof p.tensor.dims);
    return p;
}

static void lower_inputs(Lower *l, Graph *g)
{
    Program *p = l->program;
    p->inputs = arena_array(p->arena, (size_t)g->ninput, sizeof *p->inputs);
    for (int i = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        Buf *b = lower_out(l, g->inputs[i], PLAIN);
        b->born = -1;
        b->port = p->ninput + 1;
        p->inputs[p->ninput++] = port_of(g->inputs[i], b);
    }
}

static bool lower_outputs(Lower *l, Graph *g)
{
    Program *p = l->program;
    p->outputs = arena_array(p->arena, (size_t)g->noutput, sizeof *p->outputs);
    for (int i = 0; i < g->noutput; i++) {
        Value *v = g->outputs[i];
        if (!v->data && !l->places[v->id].buf[l->places[v->id].first])
            return qonnx_fail(l->cx, NULL, "%s: output '%s' is computed by nothing", g->model->path,
                              v->name);
        Buf *b = lower_value(l, v->def, v, PLAIN);
        if (b->data || b->port) b = lower_duplicate(l, v, b);
        b->port = -(i + 1);
        p->outputs[p->noutput++] = port_of(v, b);
    }
    return true;
}

/* Notes the value for whoever observes, if it lies in memory. */
static void tap(Lower *l, const Value *v, int after, int axis)
{
    Program *p = l->program;
    const Place *at = &l->places[v->id];
    Buf *b = at->buf[at->first];
    if (!b || b->data) return;
    int rank = v->shape.rank;
    Tap t = {.name = v->name, .after = after, .buf = b, .outer = 1, .channels = 1, .inner = 1};
    t.batch = rank ? v->shape.dim[0] : 1;
    int order[QONNX_MAX_RANK];
    layout_order(rank, at->first, order);
    int where = -1;
    for (int i = 0; i < rank; i++) {
        if (order[i] == axis) where = i;
        *(order[i] == axis ? &t.channels
          : where < 0      ? &t.outer
                           : &t.inner) *= v->shape.dim[order[i]];
    }
    p->taps = arena_grow(p->arena, p->taps, p->ntap, &p->tap_cap, sizeof *p->taps);
    p->taps[p->ntap++] = t;
    lower_touch(b, after);
}

/* Taps what the calls since `before` have made. */
static void tap_outputs(Lower *l, const Node *n, bool (*observe)(const Value *, int *))
{
    int axis;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && observe && observe(n->out[i], &axis))
            tap(l, n->out[i], l->program->ncall - 1, axis);
}

static bool lower_graph(Lower *l, Graph *g, bool (*observe)(const Value *, int *))
{
    int axis;
    lower_inputs(l, g);
    for (int i = 0; i < g->ninput; i++)
        if (graph_is_fed(g, i) && observe && observe(g->inputs[i], &axis))
            tap(l, g->inputs[i], -1, axis);
    for (Node *n = g->first; n; n = n->next) {
        if (!lower_node(l, n)) return false;
        tap_outputs(l, n, observe);
    }
    return lower_outputs(l, g);
}

Program *program_new(Ctx *cx, Graph *g, const Tensor *inputs,
                     bool (*observe)(const Value *v, int *channel_axis))
{
    Arena *a = arena_new();
    Program *p = arena_alloc(a, sizeof *p);
    *p = (Program){.arena = a, .graph = g};
    int axis;
    Lower l = {.cx = cx, .program = p};
    l.places = arena_array(a, (size_t)g->nvalue, sizeof *l.places);
    l.observed = arena_array(a, (size_t)g->nvalue, sizeof *l.observed);
    l.absorbed = arena_array(a, (size_t)g->nvalue, sizeof *l.absorbed);
    for (int i = 0; i < g->nvalue; i++) l.observed[i] = observe && observe(g->values[i], &axis);
    if (!graph_can_run(cx, g) || !set_inputs(cx, g, inputs) || !graph_infer(cx, g, false) ||
        !check_sizes(cx, g) || !lower_graph(&l, g, observe)) {
        program_free(p);
        return NULL;
    }
    program_plan(p, PLAN_ALIGN);
    return p;
}

void program_free(Program *p)
{
    if (!p) return;
    qonnx_graph_free(p->graph);
    arena_free(p->arena);
}
