/* ir/refresh.c - derives again what edits disturb: the order of nodes, and types and shapes. */
#include "ir/ir.h"
#include "ops/op.h"
#include <stdlib.h>
#include <string.h>

/* ---- order ----------------------------------------------------------------------------------- */

enum { UNSEEN, OPEN, DONE }; /* Node.mark while sorting */

/* A node whose dependencies are being emitted. */
typedef struct Frame {
    Node *node;
    Value **deps; /* values of this graph that it needs */
    int ndep, next;
} Frame;

/* Values that the nodes of subgraph `s` take from graph `g`, appended to list. */
static void captured(const Graph *s, const Graph *g, Arena *a, Value ***list, int *n, int *cap)
{
    for (const Node *m = s->first; m; m = m->next) {
        for (int i = 0; i < m->nin; i++)
            if (m->in[i] && m->in[i]->graph == g) {
                *list = arena_grow(a, *list, *n, cap, sizeof **list);
                (*list)[(*n)++] = m->in[i];
            }
        for (int i = 0; i < qonnx_node_subgraphs(m); i++)
            captured(qonnx_node_subgraph(m, i), g, a, list, n, cap);
    }
    for (int i = 0; i < s->noutput; i++)
        if (s->outputs[i]->graph == g) {
            *list = arena_grow(a, *list, *n, cap, sizeof **list);
            (*list)[(*n)++] = s->outputs[i];
        }
}

static Frame frame_of(Node *n, Arena *a)
{
    Frame f = {.node = n, .deps = n->in, .ndep = n->nin};
    int count = qonnx_node_subgraphs(n);
    if (!count) return f;
    int cap = 0;
    f.deps = NULL;
    f.ndep = 0;
    for (int i = 0; i < n->nin; i++) {
        f.deps = arena_grow(a, f.deps, f.ndep, &cap, sizeof *f.deps);
        f.deps[f.ndep++] = n->in[i];
    }
    for (int i = 0; i < count; i++)
        captured(qonnx_node_subgraph(n, i), n->graph, a, &f.deps, &f.ndep, &cap);
    return f;
}

static bool is_sorted(Graph *g, Arena *a)
{
    for (Node *n = g->first; n; n = n->next) n->mark = UNSEEN;
    for (Node *n = g->first; n; n = n->next) {
        Frame f = frame_of(n, a);
        for (int i = 0; i < f.ndep; i++) {
            const Node *d = f.deps[i] ? f.deps[i]->def : NULL;
            if (d && d->graph == g && d->mark != DONE) return false;
        }
        n->mark = DONE;
    }
    return true;
}

/* Emits `root` behind everything it needs, depth first. False: it needs itself. */
static bool emit(Ctx *cx, Node *root, Frame **stack, int *cap, Node **order, int *count, Arena *a)
{
    int top = 0;
    (*stack)[top++] = frame_of(root, a);
    root->mark = OPEN;
    while (top) {
        Frame *f = &(*stack)[top - 1];
        if (f->next == f->ndep) {
            f->node->mark = DONE;
            order[(*count)++] = f->node;
            top--;
            continue;
        }
        Value *v = f->deps[f->next++];
        Node *d = v ? v->def : NULL;
        if (!d || d->graph != root->graph || d->mark == DONE) continue;
        if (d->mark == OPEN)
            return qonnx_fail(cx, d,
                              "it depends on its own output, through '%s'; the graph must "
                              "have no cycles",
                              v->name);
        d->mark = OPEN;
        *stack = arena_grow(a, *stack, top, cap, sizeof **stack);
        (*stack)[top++] = frame_of(d, a);
    }
    return true;
}

static bool sort_nodes(Ctx *cx, Graph *g, Arena *a)
{
    if (is_sorted(g, a)) return true;
    int total = 0, count = 0, cap = 0;
    for (Node *n = g->first; n; n = n->next) n->mark = UNSEEN, total++;
    Node **order = arena_array(a, (size_t)total, sizeof *order);
    Frame *stack = arena_grow(a, NULL, 0, &cap, sizeof *stack);
    for (Node *n = g->first; n; n = n->next)
        if (n->mark == UNSEEN && !emit(cx, n, &stack, &cap, order, &count, a)) return false;
    g->first = g->last = NULL;
    for (int i = 0; i < count; i++) {
        order[i]->prev = g->last;
        order[i]->next = NULL;
        *(g->last ? &g->last->next : &g->first) = order[i];
        g->last = order[i];
    }
    return true;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool check_arity(Ctx *cx, const Node *n)
{
    const Op *op = n->row;
    if (n->nin < op->min_in || (op->max_in >= 0 && n->nin > op->max_in))
        return qonnx_fail(cx, n, "%d inputs, want %d to %d", n->nin, op->min_in, op->max_in);
    for (int i = 0; i < (op->max_in < 0 ? n->nin : op->min_in); i++)
        if (!n->in[i]) return qonnx_fail(cx, n, "input %d is left out, but it is required", i);
    return true;
}

/* What every version of an operator has. */
static bool check_form(Ctx *cx, const Node *n)
{
    if (!n->nout) return qonnx_fail(cx, n, "it has no output");
    return op_check_attributes(cx, n);
}

/* `quiet`: where messages about an old form go, which then stays unknown; NULL: there is none. With
 * `lenient`, what is none of the operator set's forms stays unknown too: it is refused by its name
 * where something is to run, and carried where nothing is. */
static bool infer_node(Ctx *cx, Ctx *quiet, bool lenient, Node *n)
{
    Why why;
    node_mark_data(n);
    if (!n->row) return true;
    if (!check_form(cx, n)) return false;
    if (lenient && !quiet && !op_has_form(&why, n)) return true;
    Ctx *c = quiet ? quiet : cx;
    return (check_arity(c, n) && op_shape(c, n)) || quiet;
}

static Ctx *quiet_for(const Graph *g) { return qonnx_model_opset(g) < 13 ? ctx_quiet() : NULL; }

bool graph_infer(Ctx *cx, Graph *g, bool lenient)
{
    Ctx *quiet = lenient ? quiet_for(g) : NULL;
    bool ok = true;
    for (Node *n = g->first; ok && n; n = n->next) {
        for (int i = 0; ok && i < n->nsub; i++) ok = graph_infer(cx, n->subs[i], lenient);
        ok = ok && infer_node(cx, quiet, lenient, n);
    }
    qonnx_ctx_free(quiet);
    return ok;
}

bool node_infer(Ctx *cx, Node *n)
{
    for (int i = 0; i < n->nsub; i++)
        if (!graph_infer(cx, n->subs[i], false)) return false;
    return infer_node(cx, NULL, false, n);
}

bool qonnx_node_infer(Ctx *cx, Node *n)
{
    Ctx *quiet = quiet_for(n->graph);
    bool ok = infer_node(cx, quiet, true, n);
    qonnx_ctx_free(quiet);
    return ok;
}

static bool sort_all(Ctx *cx, Graph *g, Arena *a)
{
    for (Node *n = g->first; n; n = n->next)
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            if (!sort_all(cx, qonnx_node_subgraph(n, i), a)) return false;
    return sort_nodes(cx, g, a);
}

bool qonnx_graph_refresh(Ctx *cx, Graph *g)
{
    Arena *scratch = arena_new();
    bool ok = sort_all(cx, g, scratch);
    arena_free(scratch);
    return ok && graph_infer(cx, g, true);
}
