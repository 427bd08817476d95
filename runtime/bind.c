/* runtime/bind.c - see bind.h. */
#include "runtime/bind.h"
#include "lower/program.h"
#include "ops/op.h"
#include <string.h>

enum { MOST_ELEMENTS = 64 };

static bool wants_list(const Use *u) { return u->input < 32 && op_lists(u->node) >> u->input & 1; }

/* The node that needs the input, fed with `t`, as a list; NULL: none, or there is no sample. */
static const Node *list_user(const Value *v, const Tensor *t)
{
    for (int i = 0; i < v->nuse && (t->data || !t->bytes); i++)
        if (wants_list(&v->uses[i])) return v->uses[i].node;
    return NULL;
}

static bool is_list(const Tensor *t)
{
    return t->rank <= 1 && tensor_count(t) <= MOST_ELEMENTS && has_type(NUMBERS | BOOL, t->dtype);
}

/* Whether the input that a sample feeds with `t` is bound. */
static bool is_bound(const Value *v, const Tensor *t)
{
    return t->dtype == v->dtype && is_list(t) && list_user(v, t);
}

size_t bind_contents(const Graph *g, const Tensor *inputs, void *to)
{
    size_t bytes = 0;
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        if (!is_bound(g->inputs[i], t) || !t->bytes) continue;
        if (to) memcpy((char *)to + bytes, t->data, t->bytes);
        bytes += t->bytes;
    }
    return bytes;
}

bool bind_inputs(Ctx *cx, Graph *g, const Tensor *inputs)
{
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        Value *v = g->inputs[i];
        const Node *user = list_user(v, t);
        if (user && !is_list(t))
            return qonnx_fail(cx, user,
                              "its input '%s' decides a shape and has %lld elements of rank %d; "
                              "want a list of at most %d",
                              v->name, (long long)tensor_count(t), t->rank, MOST_ELEMENTS);
        if (!is_bound(v, t)) continue;
        Value *c = qonnx_graph_add_constant(g, v->name, t);
        for (int u = 0; u < v->nuse;) { /* a use that is taken away makes room for another */
            if (wants_list(&v->uses[u])) qonnx_node_set_input(v->uses[u].node, v->uses[u].input, c);
            else u++;
        }
    }
    return true;
}
