/* runtime/runnable.c - which nodes of a model run: asked of what is made of it before it runs. */
#include <qonnx/run.h>
#include "ops/op.h"
#include "runtime/prepare.h"
#include <stdlib.h>
#include <string.h>

/* A node that does not run. */
typedef struct Refusal {
    const void *key; /* the Onnx__NodeProto that it was read from */
    Why why;
} Refusal;

struct qonnx_runnable {
    Refusal *refusals; /* [count], in order of their keys */
    size_t count, room;
};

static void add(qonnx_runnable *r, const Node *n, const Why *why)
{
    if (!n->source) return;
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        Refusal *more = xcalloc(r->room, sizeof *more);
        if (r->count) memcpy(more, r->refusals, r->count * sizeof *more);
        free(r->refusals);
        r->refusals = more;
    }
    r->refusals[r->count++] = (Refusal){n->source, *why};
}

/* Nodes that are refused, subgraphs' included. */
static void collect(qonnx_runnable *r, const Graph *g)
{
    Why why;
    for (Node *n = g->first; n; n = n->next) {
        if (!follows_from_shapes(n) && !op_takes(&why, n)) add(r, n, &why);
        if (chooses_by_shapes(n)) continue;
        for (int i = 0; i < n->nsub; i++) collect(r, n->subs[i]);
    }
}

static int compare(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Refusal *)a)->key, y = (uintptr_t)((const Refusal *)b)->key;
    return x < y ? -1 : x > y;
}

qonnx_runnable *qonnx_runnable_new(const Graph *g)
{
    qonnx_runnable *r = xcalloc(1, sizeof *r);
    Ctx *quiet = ctx_quiet();
    Graph *copy = graph_clone(g);
    bool raised = qonnx_pipeline_run(quiet, copy, "raise-opset", NULL);
    if (raised) graph_prepare(quiet, copy, false);
    collect(r, raised ? copy : g); /* a model that cannot be raised: its own nodes by themselves */
    qonnx_graph_free(copy);
    qonnx_ctx_free(quiet);
    if (r->count) qsort(r->refusals, r->count, sizeof *r->refusals, compare);
    return r;
}

void qonnx_runnable_free(qonnx_runnable *r)
{
    if (!r) return;
    free(r->refusals);
    free(r);
}

bool qonnx_runnable_node(const qonnx_runnable *r, const Node *n, const char **why)
{
    Refusal key = {.key = n->source};
    const Refusal *found = r->count && n->source ? bsearch(&key, r->refusals, r->count, sizeof key,
                                                           compare)
                                                 : NULL;
    if (why) *why = found ? found->why.text : "";
    return !found;
}
