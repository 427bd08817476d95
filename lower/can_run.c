/* lower/can_run.c - what a graph holds that this library cannot run, all of it in one message. */
#include "ir/bundle.h"
#include "lower/lower.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KINDS = 24 }; /* that are named */

/* Nodes of one operator that are refused for one reason. */
typedef struct Kind {
    const Node *first;
    long count;
    Why why;
} Kind;

typedef struct Missing {
    Kind kinds[MOST_KINDS];
    int count;
    long others; /* nodes of further kinds */
} Missing;

static void add(Missing *m, const Node *n, const Why *why)
{
    for (int i = 0; i < m->count; i++) {
        Kind *k = &m->kinds[i];
        if (strcmp(k->first->op, n->op) || strcmp(k->first->domain, n->domain) ||
            strcmp(k->why.text, why->text))
            continue;
        k->count++;
        return;
    }
    if (m->count < MOST_KINDS) m->kinds[m->count++] = (Kind){n, 1, *why};
    else m->others++;
}

static bool value_follows(const Value *v) { return v->data || (v->def && v->def->mark); }

/* Whether what comes out of an If is constant when its condition is: its branches' results are. */
static bool branches_follow(Node *n)
{
    bool all = qonnx_node_is(n, "If");
    for (int i = 0; i < n->nsub; i++) {
        const Graph *g = n->subs[i];
        for (Node *m = g->first; m; m = m->next) follows_from_shapes(m);
        for (int k = 0; k < g->noutput; k++) all = all && value_follows(g->outputs[k]);
    }
    return all;
}

bool follows_from_shapes(Node *n)
{
    n->mark = qonnx_node_is(n, "Shape") || qonnx_node_is(n, "Size");
    if (n->mark || !n->row) return n->mark;
    bool follows = !n->nsub || branches_follow(n);
    int given = 0; /* inputs that are not left out */
    for (int i = 0; i < n->nin; i++) {
        const Value *v = n->in[i];
        follows = follows && (!v || value_follows(v));
        given += v != NULL;
    }
    return (n->mark = follows && given > 0);
}

bool chooses_by_shapes(const Node *n)
{
    return qonnx_node_is(n, "If") && n->nin && n->in[0] && value_follows(n->in[0]);
}

static void collect(Missing *m, const Graph *g, bool specialized)
{
    Why why;
    for (Node *n = g->first; n; n = n->next) {
        bool folds = follows_from_shapes(n) && !specialized;
        if (!folds && !op_takes(&why, n)) add(m, n, &why);
        if (chooses_by_shapes(n) && !specialized) continue; /* only one branch will be there */
        for (int i = 0; i < n->nsub; i++)
            if (!n->subs[i]->barred) collect(m, n->subs[i], specialized);
    }
}

/* "Resize (3 nodes, first 'up1')", "Relu (node 'r': input 0 is float16)". */
static void print_kind(FILE *f, const Kind *k)
{
    const Node *n = k->first;
    const char *name = n->name[0] ? n->name : n->nout && n->out[0] ? n->out[0]->name : "";
    fprintf(f, "%.60s%s%.60s (", n->domain, n->domain[0] ? "." : "", n->op);
    if (k->count > 1) fprintf(f, "%ld nodes, first", k->count);
    else fputs("node", f);
    fprintf(f, " '%.60s'%s%s)", name, k->why.text[0] ? ": " : "", k->why.text);
}

static bool fail(Ctx *cx, const Graph *g, const Missing *m)
{
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    if (!f) return qonnx_fail(cx, NULL, "out of memory");
    for (int i = 0; i < m->count; i++) {
        if (i) fputs(", ", f);
        print_kind(f, &m->kinds[i]);
    }
    if (m->others) fprintf(f, " and %ld nodes of other kinds", m->others);
    bool many = m->count > 1;
    if (fclose(f)) qonnx_fail(cx, NULL, "out of memory");
    else
        qonnx_fail(cx, NULL,
                   "%s: this library cannot run operator%s %s; export the model without %s",
                   g->model->path, many ? "s" : "", text, many ? "them" : "it");
    free(text);
    return false;
}

bool graph_can_run(Ctx *cx, const Graph *g, bool specialized)
{
    Missing m = {.count = 0};
    collect(&m, g, specialized);
    if (m.count) return fail(cx, g, &m);
    for (int i = 0; i < g->ninput; i++)
        if (graph_is_fed(g, i) && !qonnx_dtype_bits(bundle_element(g->inputs[i]->dtype)))
            return qonnx_fail(cx, NULL,
                              "%s: input '%s' is no tensor of numbers; others cannot be fed",
                              g->model->path, g->inputs[i]->name);
    return true;
}
