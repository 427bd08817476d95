/* ir/verify.c - the invariants of ir.h, checked after every pass so that a broken one is named. */
#include "ir/ir.h"
#include <stdlib.h>
#include <string.h>

/* Whether `v` may be read in graph `g`: its own or an enclosing graph's. */
static bool visible(const Graph *g, const Value *v)
{
    for (; g; g = g->parent)
        if (v->graph == g) return true;
    return false;
}

static bool has_use(const Value *v, const Node *n, int input)
{
    for (int i = v->nuse - 1; i >= 0; i--)
        if (v->uses[i].node == n && v->uses[i].input == input) return true;
    return false;
}

/* What is counted in all graphs: each use is one of an input, so that as many are all of them. */
typedef struct Tally {
    int64_t inputs, uses;
} Tally;

/* A value that is read must come from somewhere. */
static bool has_source(const Value *v) { return v->data || v->def || v->input_count; }

static bool check_node(Ctx *cx, const Graph *g, const Node *n, Tally *t)
{
    if (n->graph != g) return qonnx_fail(cx, n, "broken graph: the node belongs to another graph");
    for (int i = 0; i < n->nin; i++) {
        const Value *v = n->in[i];
        if (!v) continue;
        t->inputs++;
        if (!visible(g, v))
            return qonnx_fail(cx, n, "broken graph: input '%s' is not visible here", v->name);
        if (!has_source(v))
            return qonnx_fail(cx, n,
                              "input '%s' is neither an output of a node, nor a graph "
                              "input, nor an initializer",
                              v->name);
    }
    for (int i = 0; i < n->nout; i++) {
        const Value *v = n->out[i];
        if (v && (v->def != n || v->def_index != i || v->graph != g))
            return qonnx_fail(cx, n, "broken graph: output '%s' does not know its node", v->name);
        if (v && v->data) return qonnx_fail(cx, n, "output '%s' is also an initializer", v->name);
    }
    return true;
}

void node_check(const Node *n)
{
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && !has_use(n->in[i], n, i)) abort();
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && (n->out[i]->def != n || n->out[i]->def_index != i)) abort();
}

static bool check_uses(Ctx *cx, const Value *v, Tally *t)
{
    t->uses += v->nuse;
    for (int i = 0; i < v->nuse; i++) {
        const Node *n = v->uses[i].node;
        if (v->uses[i].input >= n->nin || n->in[v->uses[i].input] != v)
            return qonnx_fail(cx, n, "broken graph: '%s' lists a use that is none", v->name);
    }
    return true;
}

static bool check_graph(Ctx *cx, const Graph *g, Tally *t)
{
    for (const Node *n = g->first; n; n = n->next) {
        if (n->next ? n->next->prev != n : g->last != n)
            return qonnx_fail(cx, n, "broken graph: the list of nodes is torn");
        if (!check_node(cx, g, n, t)) return false;
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            if (!check_graph(cx, qonnx_node_subgraph(n, i), t)) return false;
    }
    for (int i = 0; i < g->nvalue; i++)
        if (!check_uses(cx, g->values[i], t)) return false;
    for (int i = 0; i < g->noutput; i++)
        if (!visible(g, g->outputs[i]) || !has_source(g->outputs[i]))
            return qonnx_fail(cx, NULL,
                              "%s: graph output '%s' is produced by no node; the file is "
                              "damaged or was cut",
                              g->model->path, g->outputs[i]->name);
    return true;
}

/* Names the first input whose value does not know of it. */
static bool find_unknown_use(Ctx *cx, const Graph *g)
{
    for (const Node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nin; i++)
            if (n->in[i] && !has_use(n->in[i], n, i))
                return qonnx_fail(cx, n, "broken graph: '%s' does not know its use here",
                                  n->in[i]->name);
        for (int i = 0; i < n->nsub; i++)
            if (!find_unknown_use(cx, n->subs[i])) return false;
    }
    return true;
}

bool graph_verify(Ctx *cx, const Graph *g)
{
    Tally t = {0, 0};
    if (!check_graph(cx, g, &t)) return false;
    return t.inputs == t.uses || find_unknown_use(cx, g);
}
