/* lower/program.c - Graph to Program: lower each node, tap what is observed, plan. */
#include "lower/lower.h"
#include <assert.h>
#include <string.h>

enum { PLAN_ALIGN = 64 }; /* of buffers on the host: a cache line, the widest vector */

bool graph_is_fed(const Graph *g, int i) { return !g->inputs[i]->data; }

/* Whether kernels can go through a shape that is known: its size is an int32, and where an axis of
 * size 0 makes it nothing, the others are not many rows of nothing. */
static bool can_index(const Shape *s)
{
    enum { MOST_ROWS = 1 << 20 };
    int64_t rows = 1;
    if (shape_elements(s)) return shape_elements(s) > 0;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] && (s->dim[i] > MOST_ROWS || (rows *= s->dim[i]) > MOST_ROWS)) return false;
    return true;
}

/* Whether a value has all that a kernel needs to know of it. */
static bool check_value(Ctx *cx, const Node *n, const char *what, const Value *v)
{
    if (v->dtype == QONNX_UNDEFINED)
        return qonnx_fail(
            cx, n,
            "the type of its %s '%s' is not known: it is no tensor, or the model does "
            "not say; give the value its type in the model (value_info)",
            what, v->name);
    if (!shape_known(&v->shape))
        return qonnx_fail(cx, n,
                          "the shape of its %s '%s' is not known before the model runs: it depends "
                          "on more than the shapes of the inputs; make it constant in the model",
                          what, v->name);
    return can_index(&v->shape) ||
           qonnx_fail(
               cx, n,
               "its %s '%s' is too large to be run: at most 2^31 - 1 elements, and 2^20 rows "
               "of none; give the inputs smaller shapes",
               what, v->name);
}

static bool check_sizes(Ctx *cx, const Graph *g);

/* What a subgraph is given and gives. */
static bool check_subgraph(Ctx *cx, const Node *n, const Graph *g)
{
    for (int i = 0; i < g->ninput; i++)
        if (!check_value(cx, n, "body's input", g->inputs[i])) return false;
    for (int i = 0; i < g->noutput; i++)
        if (!check_value(cx, n, "body's output", g->outputs[i])) return false;
    return check_sizes(cx, g);
}

static bool check_sizes(Ctx *cx, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nsub; i++)
            if (!n->subs[i]->barred && !check_subgraph(cx, n, n->subs[i])) return false;
        if (!n->out[0])
            return qonnx_fail(cx, n, "its first output is left out, so it cannot be run");
        for (int i = 0; i < n->nin; i++)
            if (n->in[i] && !check_value(cx, n, "input", n->in[i])) return false;
        for (int i = 0; i < n->nout; i++)
            if (n->out[i] && (n->out[i]->nuse || n->out[i]->output_count) &&
                !check_value(cx, n, "output", n->out[i]))
                return false;
    }
    return true;
}

/* Where a value lies after the calls so far; NULL: nowhere. */
static Buf *made(const Lower *l, const Value *v)
{
    return l->places[v->id].buf[l->places[v->id].first];
}

/* Lowers a node by its row. A lowering that fails says why; one that forgets to does not end a run
 * with nothing made and nothing said. */
static bool lower_row(Lower *l, Node *n)
{
    if (n->quant ? n->row->quantized->lower(l, n) : n->row->lower(l, n)) return true;
#ifdef HARD
    assert(ctx_failed(l->cx));
#endif
    return ctx_failed(l->cx)
               ? false
               : qonnx_fail(l->cx, n,
                            "this form of the operator cannot be run, and its lowering "
                            "does not say why: please report it");
}

static bool lower_node(Lower *l, Node *n)
{
    if (l->absorbed[n->out[0]->id]) return true;
    if (!lower_row(l, n)) return false;
    for (int i = 1; i < n->nout; i++) {
        const Value *v = n->out[i];
        if (v && (v->nuse || v->output_count) && !made(l, v))
            return qonnx_fail(l->cx, n, "its output %d '%s' is not computed by this library", i,
                              v->name);
    }
    return true;
}

/* Whether a value is packed where the program takes it or gives it: what is in the same memory as
 * that of an outer program is not. */
static bool is_packed(const Lower *l, const Value *v)
{
    return dtype_is_packed(v->dtype) && !l->inner;
}

static Port port_of(const Value *v, Buf *b)
{
    Port p = {b, {.dtype = v->dtype, .rank = v->shape.rank, .bytes = b->bytes}};
    memcpy(p.tensor.dims, v->shape.dim, sizeof p.tensor.dims);
    return p;
}

static void lower_inputs(Lower *l, Graph *g, const Layout *layouts)
{
    Program *p = l->program;
    p->inputs = arena_array(p->arena, (size_t)g->ninput, sizeof *p->inputs);
    for (int i = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        Value *v = g->inputs[i];
        Buf *b = is_packed(l, v) ? lower_temp(l, packed_bytes(v))
                                 : lower_out(l, v, layouts ? layouts[p->ninput] : PLAIN);
        b->born = -1;
        b->port = p->ninput + 1;
        p->inputs[p->ninput++] = port_of(v, b);
        if (is_packed(l, v)) lower_view(l, v, lower_unpack(l, NULL, v, b), PLAIN);
    }
}

static bool lower_outputs(Lower *l, Graph *g)
{
    Program *p = l->program;
    p->outputs = arena_array(p->arena, (size_t)g->noutput, sizeof *p->outputs);
    for (int i = 0; i < g->noutput; i++) {
        Value *v = g->outputs[i];
        if (!v->data && !made(l, v))
            return qonnx_fail(l->cx, NULL, "%s: output '%s' is computed by nothing", g->model->path,
                              v->name);
        Buf *b = lower_value(l, v->def, v, PLAIN);
        if (is_packed(l, v)) b = lower_pack(l, v, b);
        else if (b->data || b->port) b = lower_duplicate(l, v, b);
        b->port = -(i + 1);
        p->outputs[p->noutput++] = port_of(v, b);
    }
    return true;
}

/* Notes a value that is observed, if it lies in memory. */
static void tap(Lower *l, const Value *v, int after, Buf *b)
{
    Program *p = l->program;
    if (!v->observed || !b) return;
    int rank = v->shape.rank;
    Tap t = {
        .index = v->observed - 1, .after = after, .buf = b, .outer = 1, .channels = 1, .inner = 1};
    t.batch = rank ? v->shape.dim[0] : 1;
    int order[QONNX_MAX_RANK];
    layout_order(rank, l->places[v->id].first, order);
    int where = -1;
    for (int i = 0; i < rank; i++) {
        if (order[i] == v->channel_axis) where = i;
        *(order[i] == v->channel_axis ? &t.channels
          : where < 0                 ? &t.outer
                                      : &t.inner) *= v->shape.dim[order[i]];
    }
    p->taps = arena_grow(p->arena, p->taps, p->ntap, &p->tap_cap, sizeof *p->taps);
    p->taps[p->ntap++] = t;
    lower_touch(b, after);
}

/* Taps what is there before the first call: inputs, and what these shapes make constant. */
static void tap_givens(Lower *l, const Graph *g)
{
    for (int i = 0; i < g->ninput; i++)
        if (graph_is_fed(g, i)) tap(l, g->inputs[i], -1, made(l, g->inputs[i]));
    for (int i = 0; i < g->nconstant; i++) {
        const Value *v = g->constants[i];
        if (v->observed) tap(l, v, -1, lower_const(l, v->data->data, v->data->bytes));
    }
}

static bool lower_graph(Lower *l, Graph *g, const Layout *layouts)
{
    lower_inputs(l, g, layouts);
    tap_givens(l, g);
    for (Node *n = g->first; n; n = n->next) {
        if (!lower_node(l, n)) return false;
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) tap(l, n->out[i], l->program->ncall - 1, made(l, n->out[i]));
    }
    return lower_outputs(l, g);
}

/* Calls `f` for each program that a call of this one runs. */
static void each_body(const Program *p, void (*f)(Program *))
{
    for (int i = 0; i < p->ncall; i++)
        for (int k = 0; p->calls[i].body && k < 2; k++)
            if (p->calls[i].body->program[k]) f(p->calls[i].body->program[k]);
}

void program_align_constants(Program *p)
{
    each_body(p, program_align_constants);
    for (int i = 0; i < p->ncall; i++)
        for (int k = 0; k < p->calls[i].nin; k++) {
            Buf *b = p->calls[i].in[k];
            if (!b || !b->data || buf_is_aligned(b)) continue;
            b->data = memcpy(arena_aligned(p->arena, b->bytes), b->data, b->bytes);
            b->shared = false;
        }
}

Program *program_lower(Ctx *cx, Arena *a, Graph *g, const Layout *layouts)
{
    Program *p = arena_alloc(a, sizeof *p);
    *p = (Program){.arena = a, .graph = g, .work = INT64_MAX};
    Lower l = {.cx = cx, .program = p, .inner = layouts != NULL};
    l.places = arena_array(a, (size_t)g->nvalue, sizeof *l.places);
    l.absorbed = arena_array(a, (size_t)g->nvalue, sizeof *l.absorbed);
    return lower_graph(&l, g, layouts) ? p : NULL;
}

Program *program_new(Ctx *cx, Graph *g)
{
    Arena *a = arena_new();
    Program *p = NULL;
    if (graph_can_run(cx, g, true) && check_sizes(cx, g)) p = program_lower(cx, a, g, NULL);
    if (!p) {
        qonnx_graph_free(g);
        arena_free(a);
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
