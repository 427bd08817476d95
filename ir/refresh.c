/* ir/refresh.c - derives again what edits disturb: the order of nodes, and types and shapes. */
#include "ir/ir.h"
#include "ops/functions.h"
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

/* One inference. */
typedef struct Infer {
    Ctx *cx;
    Ctx *quiet;   /* where messages about an old form go, which then stays unknown; NULL: there is
                     none */
    bool lenient; /* what is none of the operator set's forms stays unknown too: it is refused by
                     its name where something is to run, and carried where nothing is */
} Infer;

static bool infer_graph(const Infer *in, Graph *g);

/* Whether anything can be said of the node; false with a message where its form is wrong. */
static bool begins(const Infer *in, const Node *n, bool *known)
{
    Why why;
    *known = n->row != NULL;
    if (!n->row) return true;
    if (!check_form(in->cx, n)) return false;
    if (in->lenient && !in->quiet && !op_has_form(&why, n)) *known = false;
    return true;
}

/* Forgets what was inferred in a graph. */
static void forget(Graph *g)
{
    for (Node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nsub; i++) forget(n->subs[i]);
        for (int i = 0; i < n->nout; i++)
            if (n->out[i]) n->out[i]->shape.rank = -1;
    }
}

bool node_either(Ctx *cx, Node *n, BranchFn *right, const void *user)
{
    Ctx *quiet[] = {ctx_quiet(), ctx_quiet()};
    bool first = right(quiet[0], n, 0, user), second = right(quiet[1], n, 1, user);
    if (!first && !second) ctx_take_error(cx, quiet[0]);
    for (int i = 0; i < 2; i++) qonnx_ctx_free(quiet[i]);
    return first || second;
}

static bool infer_branch(Ctx *quiet, Node *n, int i, const void *user)
{
    Infer in = *(const Infer *)user;
    in.cx = quiet;
    return infer_graph(&in, n->subs[i]);
}

/* What goes round in a cycle is tried with the shapes it begins with; then with those sizes open
 * that a turn changes; then with all of them open. */
static bool infer_subgraphs(const Infer *in, Node *n, const Flow *flow)
{
    enum { ROUNDS = 3 };
    if (flow && !flow->enter(in->quiet ? in->quiet : in->cx, n) && !in->quiet) return false;
    if (flow && !flow->alike && n->nsub == 2) return node_either(in->cx, n, infer_branch, in);
    for (int round = 1;; round++) {
        for (int i = 0; i < n->nsub; i++)
            if (!infer_graph(in, n->subs[i])) return false;
        if (!flow || !flow->settled || round == ROUNDS || flow->settled(n, round == ROUNDS - 1))
            return true;
        for (int i = 0; i < n->nsub; i++) forget(n->subs[i]);
    }
}

static bool infer_node(const Infer *in, Node *n, bool subgraphs)
{
    bool known;
    if (!begins(in, n, &known)) return false;
    if (subgraphs && n->nsub && !infer_subgraphs(in, n, known ? n->row->flow : NULL)) return false;
    Ctx *c = in->quiet ? in->quiet : in->cx;
    if (known && !check_arity(c, n)) return in->quiet;
    node_mark_data(n);
    return !known || op_shape(c, n) || in->quiet;
}

static bool infer_graph(const Infer *in, Graph *g)
{
    for (Node *n = g->first; n; n = n->next)
        if (!infer_node(in, n, true)) return false;
    return true;
}

static Infer infer_leniently(Ctx *cx, const Graph *g)
{
    return (Infer){cx, qonnx_model_opset(g) < 13 ? ctx_quiet() : NULL, true};
}

bool graph_infer(Ctx *cx, Graph *g, bool lenient)
{
    Infer in = lenient ? infer_leniently(cx, g) : (Infer){.cx = cx};
    bool ok = infer_graph(&in, g);
    qonnx_ctx_free(in.quiet);
    return ok;
}

bool node_enter(Ctx *cx, Node *n)
{
    bool known;
    return begins(&(Infer){.cx = cx}, n, &known) &&
           (!known || !n->row->flow || n->row->flow->enter(cx, n));
}

bool node_infer(Ctx *cx, Node *n) { return infer_node(&(Infer){.cx = cx}, n, false); }

bool qonnx_node_infer(Ctx *cx, Node *n)
{
    Infer in = infer_leniently(cx, n->graph);
    bool ok = infer_node(&in, n, false);
    qonnx_ctx_free(in.quiet);
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
    if (!ok || !graph_infer(cx, g, true)) return false;
    functions_mark(g);
    return true;
}
