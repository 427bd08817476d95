/* runtime/prepare.c - see prepare.h. */
#include "runtime/prepare.h"
#include "ir/bundle.h"
#include "lower/quantized.h"
#include "runtime/bind.h"
#include "ops/functions.h"
#include "ops/op.h"
#include "runtime/fold.h"
#include <stdlib.h>
#include <string.h>

/* Lowerings make their first output, also where only others are named. */
static void name_first_outputs(Graph *g)
{
    for (; g; g = qonnx_graph_next(g))
        for (Node *n = g->first; n; n = n->next)
            if (n->nout && !n->out[0])
                qonnx_node_set_output(n, 0, qonnx_graph_add_value(g, "not_used"));
}

void graph_prepare(Ctx *cx, Graph *g, bool fake_quant)
{
    name_first_outputs(g);
    graph_make_plain(g);
    qonnx_graph_widen(g);
    if (!fake_quant) fuse_qdq(g);
    graph_fold(cx, g);
    qonnx_graph_sweep(g);
}

/* Gives the graph's inputs the shapes of a sample. */
static bool set_inputs(Ctx *cx, Graph *g, const Tensor *inputs)
{
    for (int i = 0, k = 0; i < g->ninput; i++) {
        if (!graph_is_fed(g, i)) continue;
        const Tensor *t = &inputs[k++];
        Value *v = g->inputs[i];
        bool opens = is_bundle(t->dtype) && bundle_of(v->dtype, QONNX_OPTIONAL) == t->dtype;
        if (v->dtype != t->dtype && !opens)
            return qonnx_fail(cx, NULL, "%s: input '%s' is %s, the sample is %s", g->model->path,
                              v->name, qonnx_dtype_name(v->dtype), qonnx_dtype_name(t->dtype));
        v->dtype = t->dtype;
        if (!is_bundle(t->dtype)) v->shape = shape_of(t);
    }
    return true;
}

/* Makes `v` a bundle like that of a sample, of inputs of the graph, which are put behind those that
 * it has. */
static void open_bundle(Graph *g, Value *v, const Tensor *t)
{
    Arena *a = g->model->arena;
    int count = (int)t->dims[0];
    Value **parts = arena_array(a, (size_t)count + 1, sizeof *parts);
    for (int i = 0; i < count; i++) {
        const Tensor *part = &bundle_parts(t)[i];
        parts[i] = qonnx_graph_add_value(g, arena_printf(a, "%s_%d", v->name, i));
        parts[i]->dtype = part->dtype;
        if (is_bundle(part->dtype)) open_bundle(g, parts[i], part);
        else graph_put_input(g, parts[i]), parts[i]->shape = shape_of(part);
    }
    bool sequence = ((unsigned)t->dtype & QONNX_OPTIONAL) == 0;
    const char *op = !sequence ? "Optional" : count ? "SequenceConstruct" : "SequenceEmpty";
    Node *n = qonnx_graph_add_node(g, g->first, op, "", "", parts, count, &v, 1);
    if (sequence && !count) qonnx_node_set_int(n, "dtype", bundle_element(t->dtype));
    if (!sequence && !count) {
        Attr *type = node_put_attr(n, "type");
        type->type = ATTR_TYPE;
        type->i = bundle_inner(t->dtype);
    }
    Value *first = count ? parts[0] : NULL;
    if (first && first->def) { /* what is in it is made before */
        Node *inner = first->def;
        node_move(inner, n);
    }
}

/* Puts what is in bundles that a sample feeds in their place among the inputs, in the order of
 * bundle_flatten(). */
static bool open_inputs(Ctx *cx, Graph *g, const Tensor *inputs)
{
    enum { MOST = 1 << 16 };
    int64_t leaves = 0;
    bool any = false;
    int count = g->ninput;
    for (int i = 0, k = 0; i < count; i++) {
        if (!graph_is_fed(g, i)) continue;
        any |= is_bundle(g->inputs[i]->dtype);
        leaves += bundle_leaves(&inputs[k++]);
    }
    if (!any) return true;
    if (leaves > MOST)
        return qonnx_fail(cx, NULL, "%s: the sample's sequences hold %lld tensors, want at most %d",
                          g->model->path, (long long)leaves, MOST);
    Value **old = xmalloc_array((size_t)count + 1, sizeof *old);
    memcpy(old, g->inputs, (size_t)count * sizeof *old);
    g->ninput = 0;
    for (int i = 0, k = 0; i < count; i++) {
        const Tensor *t = old[i]->data ? NULL : &inputs[k++];
        old[i]->input_count--;
        if (t && is_bundle(t->dtype)) open_bundle(g, old[i], t);
        else graph_put_input(g, old[i]);
    }
    free(old);
    return true;
}

/* What a file says of sizes that are data was true of one sample at best. */
static void forget_late(Node *n)
{
    bool late = n->turned || node_is_late(n);
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && (late || counted_axis(n->out[i]) >= 0)) n->out[i]->shape.rank = -1;
}

static bool specialize_nodes(Ctx *cx, Graph *g);

/* A bundle that goes from one turn to the next may hold more each time. */
static bool carries_bundles(Node *n)
{
    const Graph *g = n->subs[0];
    const Value *found = NULL;
    for (int i = 0; i < g->ninput && !found; i++)
        if (is_bundle(g->inputs[i]->dtype)) found = g->inputs[i];
    for (int i = 0; i < g->noutput && !found; i++)
        if (is_bundle(g->outputs[i]->dtype)) found = g->outputs[i];
    if (found)
        n->turned = arena_printf(n->graph->model->arena, "its state '%s' is %s", found->name,
                                 qonnx_dtype_name(found->dtype));
    return found != NULL;
}

/* Specializes the body of a cycle for what its first turn is given. Where the turns are not all
 * alike, the node has its body back as it was, for each turn to be specialized by itself. */
static bool try_turn(Ctx *cx, Node *n)
{
    Why why;
    if (!node_enter(cx, n)) return false;
    if (carries_bundles(n)) return true;
    Graph *tried = n->subs[0], *kept = graph_clone_sub(tried);
    if (!specialize_nodes(cx, tried)) return false;
    bool alike = n->row->flow->alike(&why, n);
    if (!alike) {
        n->turned = arena_string(n->graph->model->arena, why.text);
        node_swap_graph(n, tried, kept);
    }
    graph_release(alike ? kept : tried);
    return true;
}

/* Specializes a branch of an If. One that cannot run with these shapes is as it was again: it may
 * be the other one that is taken, as in a model that has a branch for each of its sizes. */
static bool try_branch(Ctx *quiet, Node *n, int i, const void *user)
{
    (void)user;
    Graph *tried = n->subs[i], *kept = graph_clone_sub(tried);
    bool runs = specialize_nodes(quiet, tried);
    if (!runs) node_swap_graph(n, tried, kept);
    n->subs[i]->barred = !runs;
    graph_release(runs ? kept : tried);
    return runs;
}

/* Does the node's subgraphs. Those of a cycle that runs in a later part are as they were, too;
 * where there is no later part, it is to be known what keeps the cycle from running. */
static bool specialize_subgraphs(Ctx *cx, Node *n)
{
    n->turned = NULL;
    if (node_is_hosted(n)) n->turned = "it runs on the host";
    if (n->row && n->row->unbundle) return true; /* they go where they are known to run */
    if (n->nsub == 1 && n->row && n->row->flow && n->row->flow->alike)
        return (node_is_late(n) && !n->graph->model->whole) || try_turn(cx, n);
    if (!node_enter(cx, n)) return false;
    if (n->nsub != 2) return !n->nsub || specialize_nodes(cx, n->subs[0]);
    return node_either(cx, n, try_branch, NULL);
}

/* Whether it is known what is in the bundles that the node reads. */
static bool is_opened(const Node *n)
{
    return n->row && n->row->unbundle && !node_is_late(n) &&
           (!n->row->lower || node_has_bundles(n));
}

/* Nodes are in order, so that one walk comes to the end of what shapes make constant: when a node's
 * turn has come, its inputs are as constant as they will ever be. Of an If whose condition is, only
 * the branch that is taken is looked at. */
static bool specialize_nodes(Ctx *cx, Graph *g)
{
    for (Node *n = g->first, *next; n; n = next) {
        next = n->next;
        if (node_choose(n, &next)) continue;
        if (!specialize_subgraphs(cx, n)) return false;
        forget_late(n);
        if (!node_infer(cx, n)) return false;
        if (n->nsub) forget_late(n); /* what its subgraphs say of it is that, too */
        if (is_opened(n)) {
            if (!n->row->unbundle(cx, n, &next)) return false;
            continue;
        }
        if (!node_fold(cx, n)) node_mark_late(n);
    }
    return true;
}

bool graph_specialize(Ctx *cx, Graph *g, const Tensor *inputs)
{
    if (!bind_inputs(cx, g, inputs) || !set_inputs(cx, g, inputs) || !open_inputs(cx, g, inputs))
        return false;
    if (!specialize_nodes(cx, g)) return false;
    functions_fuse(g);
    qonnx_graph_sweep(g);
    return true;
}

Program *program_make(Ctx *cx, Graph *g, Limits *l)
{
    if (!limits_work(cx, l, g)) {
        qonnx_graph_free(g);
        return NULL;
    }
    Program *p = program_new(cx, g);
    if (p) limits_set(l, p);
    if (!p || limits_memory(cx, l, p)) return p;
    program_free(p);
    return NULL;
}
