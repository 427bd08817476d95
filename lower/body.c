/* lower/body.c - subgraphs become programs of their own, which run while a call of the outer one
 * does. What they read of the outer graph becomes inputs, of the subgraph and of its node, so that
 * all that crosses is known.
 */
#include "lower/lower.h"

static bool is_inside(const Graph *g, const Graph *in)
{
    while (g && g != in) g = g->parent;
    return g != NULL;
}

/* In the graph and those in it, `with` is given where `v` was. */
static void give_instead(Graph *g, const Value *v, Value *with)
{
    for (int i = 0; i < g->noutput; i++) {
        if (g->outputs[i] != v) continue;
        g->outputs[i]->output_count--;
        with->output_count++;
        g->outputs[i] = with;
    }
    for (Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nsub; i++) give_instead(n->subs[i], v, with);
}

/* Lets the graph read a value of its own instead of one that it captures: an input, or a constant
 * of the same bytes. */
static void take_in(Graph *g, Value *v)
{
    Value *own = qonnx_graph_add_value(g, v->name);
    own->dtype = v->dtype;
    own->shape = v->shape;
    if (v->data) graph_put_constant(g, own, v->data);
    else graph_put_input(g, own);
    own->shared = v->shared;
    for (int i = 0; i < v->nuse;) { /* a use that is taken away makes room for another */
        if (is_inside(v->uses[i].node->graph, g))
            qonnx_node_set_input(v->uses[i].node, v->uses[i].input, own);
        else i++;
    }
    give_instead(g, v, own);
}

/* The layout in which a captured value lies already. */
static Layout layout_of(const Lower *l, const Value *v) { return l->places[v->id].first; }

bool lower_branch(Lower *l, Node *n, Graph *g, Body *b, int which)
{
    Arena *a = l->program->arena;
    /* what graphs further out had is that graph's own by now: it took that in itself */
    Value **values;
    int count = captured_values(g, n->graph, a, &values);
    int own = g->ninput, fed = own + count, used = 0;
    BodyPort *in = b->in[which] = arena_array(a, (size_t)fed, sizeof *in);
    Layout *layouts = arena_array(a, (size_t)fed, sizeof *layouts);
    for (int i = 0; i < count; i++) {
        Value *v = values[i];
        take_in(g, v);
        if (v->data) continue;
        layouts[own + used] = layout_of(l, v);
        in[own + used++].buf = lower_value(l, n, v, layout_of(l, v));
    }
    Program *p = b->program[which] = program_lower(l->cx, a, g, layouts);
    if (!p) return false;
    b->out[which] = arena_array(a, (size_t)p->noutput, sizeof *b->out[which]);
    return true;
}

/* Adds a buffer to a list, once. */
static void add(Buf **list, int *count, Buf *b)
{
    if (!b) return;
    for (int i = 0; i < *count; i++)
        if (list[i] == b) return;
    list[(*count)++] = b;
}

void lower_body(Lower *l, const Node *n, const Body *b)
{
    Program *p = l->program;
    int room = 5 + 2 * b->ncarried;
    for (int k = 0; k < 2; k++)
        if (b->program[k]) room += b->program[k]->ninput + b->program[k]->noutput;
    Body *body = arena_copy(p->arena, b, sizeof *b);
    body->memory = lower_temp(l, 0);
    Call c = {.body = body, .node = n};
    c.in = arena_array(p->arena, (size_t)room, sizeof *c.in);
    c.out = arena_array(p->arena, (size_t)room, sizeof *c.out);
    add(c.in, &c.nin, b->test);
    add(c.in, &c.nin, b->trip);
    for (int k = 0; k < 2; k++)
        for (int i = 0; b->program[k] && i < b->program[k]->ninput; i++)
            add(c.in, &c.nin, b->in[k][i].buf);
    for (int k = 0; k < 2; k++)
        for (int i = 0; b->program[k] && i < b->program[k]->noutput; i++)
            add(c.out, &c.nout, b->out[k][i].buf);
    for (int i = 0; i < b->ncarried; i++) add(c.out, &c.nout, b->carried[i].to);
    add(c.out, &c.nout, b->counter);
    add(c.out, &c.nout, body->memory);
    for (int i = 0; i < c.nin; i++) lower_touch(c.in[i], p->ncall);
    for (int i = 0; i < c.nout; i++) lower_touch(c.out[i], p->ncall);
    p->calls = arena_grow(p->arena, p->calls, p->ncall, &p->call_cap, sizeof *p->calls);
    p->calls[p->ncall++] = c;
}
