/* ops/late.c - what depends on data: which sizes are known only once a part of the graph has run.
 */
#include "ops/op.h"

bool any_captured(const Graph *s, const Graph *g, bool (*see)(void *, Value *), void *user)
{
    for (const Node *m = s->first; m; m = m->next) {
        for (int i = 0; i < m->nin; i++)
            if (m->in[i] && m->in[i]->graph == g && see(user, m->in[i])) return true;
        for (int i = 0; i < m->nsub; i++)
            if (any_captured(m->subs[i], g, see, user)) return true;
    }
    for (int i = 0; i < s->noutput; i++)
        if (s->outputs[i]->graph == g && see(user, s->outputs[i])) return true;
    return false;
}

/* What is captured, as far as it was met. */
typedef struct Captured {
    Arena *arena;
    Value **values;
    int count, cap;
} Captured;

static bool capture(void *user, Value *v)
{
    Captured *c = user;
    for (int i = 0; i < c->count; i++)
        if (c->values[i] == v) return false;
    c->values = arena_grow(c->arena, c->values, c->count, &c->cap, sizeof *c->values);
    c->values[c->count++] = v;
    return false;
}

int captured_values(const Graph *s, const Graph *g, Arena *a, Value ***values)
{
    Captured c = {.arena = a};
    any_captured(s, g, capture, &c);
    *values = c.values;
    return c.count;
}

bool any_read(const Node *n, bool (*see)(void *, Value *), void *user)
{
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && see(user, n->in[i])) return true;
    for (int i = 0; i < n->nsub; i++)
        if (any_captured(n->subs[i], n->graph, see, user)) return true;
    return false;
}

static bool is_late(void *user, Value *v)
{
    (void)user;
    return v->late;
}

const Value *late_value(const Graph *g)
{
    const Value *found = NULL;
    for (const Node *n = g->first; n && !found; n = n->next) {
        for (int i = 0; i < n->nsub && !found; i++) found = late_value(n->subs[i]);
        for (int i = 0; i < n->nout && !found; i++)
            if (n->out[i] && n->out[i]->late) found = n->out[i];
    }
    return found;
}

/* Whether a list that the node needs is computed; from more than shapes, when `data`. */
static bool wants_computed(const Node *n, bool data)
{
    unsigned lists = op_lists(n);
    for (int i = 0; i < n->nin && i < 32; i++)
        if (lists >> i & 1 && n->in[i] && !n->in[i]->data && !(data && n->in[i]->of_shapes))
            return true;
    return false;
}

bool node_is_late(const Node *n) { return wants_computed(n, false) || any_read(n, is_late, NULL); }

static const Counted *counted(const Node *n)
{
    return n->row && !n->quant ? n->row->counted : NULL;
}

int counted_axis(const Value *v)
{
    const Counted *c = v->def ? counted(v->def) : NULL;
    return c && v->def_index < c->output ? c->axis(v->def, v->def_index) : -1;
}

/* Whether what the node makes follows from shapes that do not depend on data. */
static bool is_of_shapes(const Node *n)
{
    bool some = qonnx_node_is(n, "Shape") || qonnx_node_is(n, "Size");
    if (some || !n->row || n->nsub) return some && !any_read(n, is_late, NULL);
    for (int i = 0; i < n->nin; i++) {
        if (n->in[i] && !n->in[i]->data && !n->in[i]->of_shapes) return false;
        some |= n->in[i] != NULL;
    }
    return some;
}

static void mark(Node *n, bool late)
{
    bool of_shapes = is_of_shapes(n);
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i]) continue;
        n->out[i]->late = late || counted_axis(n->out[i]) >= 0;
        n->out[i]->of_shapes = of_shapes;
    }
}

void node_mark_late(Node *n) { mark(n, n->turned || node_is_late(n)); }

void node_mark_data(Node *n) { mark(n, wants_computed(n, true) || any_read(n, is_late, NULL)); }
