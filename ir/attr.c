/* ir/attr.c - attributes of nodes: reading and setting. */
#include "ir/ir.h"
#include <string.h>

Attr *node_attr(const Node *n, const char *name)
{
    for (int i = 0; i < n->nattr; i++)
        if (!strcmp(n->attrs[i].name, name)) return &n->attrs[i];
    return NULL;
}

static const Attr *typed(const Node *n, const char *name, int type)
{
    const Attr *a = node_attr(n, name);
    return a && a->type == type ? a : NULL;
}

bool qonnx_node_has(const Node *n, const char *name) { return node_attr(n, name) != NULL; }

int64_t qonnx_node_int(const Node *n, const char *name, int64_t dflt)
{
    const Attr *a = typed(n, name, ATTR_INT);
    return a ? a->i : dflt;
}

float qonnx_node_float(const Node *n, const char *name, float dflt)
{
    const Attr *a = typed(n, name, ATTR_FLOAT);
    return a ? a->f : dflt;
}

const char *qonnx_node_string(const Node *n, const char *name, const char *dflt)
{
    const Attr *a = typed(n, name, ATTR_STRING);
    return a ? a->s : dflt;
}

int qonnx_node_ints(const Node *n, const char *name, const int64_t **values)
{
    const Attr *a = typed(n, name, ATTR_INTS);
    *values = a ? a->ints : NULL;
    return a ? a->count : 0;
}

int qonnx_node_floats(const Node *n, const char *name, const float **values)
{
    const Attr *a = typed(n, name, ATTR_FLOATS);
    *values = a ? a->floats : NULL;
    return a ? a->count : 0;
}

int node_strings(const Node *n, const char *name, char *const **values)
{
    const Attr *a = typed(n, name, ATTR_STRINGS);
    *values = a ? a->strings : NULL;
    return a ? a->count : 0;
}

const Tensor *qonnx_node_tensor(const Node *n, const char *name)
{
    const Attr *a = typed(n, name, ATTR_TENSOR);
    return a ? a->tensor : NULL;
}

int qonnx_node_list(const Node *n, const char *name, int input, int64_t values[QONNX_MAX_RANK * 2])
{
    const int64_t *ints;
    int count = qonnx_node_ints(n, name, &ints);
    if (ints) {
        if (count > QONNX_MAX_RANK * 2) return -2;
        memcpy(values, ints, (size_t)count * sizeof *values);
        return count;
    }
    const Value *v = qonnx_node_input(n, input);
    if (!v) return -1;
    return v->data && tensor_ints(v->data, values, QONNX_MAX_RANK * 2, &count) ? count : -2;
}

Attr *node_add_attr(Node *n, const char *name)
{
    Arena *arena = n->graph->model->arena;
    n->attrs = arena_grow(arena, n->attrs, n->nattr, &n->attr_cap, sizeof *n->attrs);
    Attr *a = &n->attrs[n->nattr++];
    *a = (Attr){.name = arena_string(arena, name)};
    return a;
}

/* Takes the graphs of an attribute, which goes, off the node's. */
static void forget_graphs(Node *n, const Attr *a)
{
    if (!a->graphs || !a->count) return;
    int at = 0;
    for (const Attr *b = n->attrs; b < a; b++)
        if (b->graphs) at += b->count;
    n->nsub -= a->count;
    memmove(n->subs + at, n->subs + at + a->count, (size_t)(n->nsub - at) * sizeof *n->subs);
}

Attr *node_put_attr(Node *n, const char *name)
{
    Attr *a = node_attr(n, name);
    if (!a) return node_add_attr(n, name);
    forget_graphs(n, a);
    *a = (Attr){.name = arena_string(n->graph->model->arena, name)};
    return a;
}

void qonnx_node_set_int(Node *n, const char *name, int64_t value)
{
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_INT;
    a->i = value;
}

void qonnx_node_set_float(Node *n, const char *name, float value)
{
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_FLOAT;
    a->f = value;
}

void qonnx_node_set_string(Node *n, const char *name, const char *value)
{
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_STRING;
    a->s = arena_string(n->graph->model->arena, value);
}

void qonnx_node_set_ints(Node *n, const char *name, const int64_t *values, int count)
{
    int64_t *copy = arena_copy(n->graph->model->arena, values, (size_t)count * sizeof *values);
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_INTS;
    a->count = count;
    a->ints = copy;
}

void qonnx_node_set_floats(Node *n, const char *name, const float *values, int count)
{
    float *copy = arena_copy(n->graph->model->arena, values, (size_t)count * sizeof *values);
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_FLOATS;
    a->count = count;
    a->floats = copy;
}

void qonnx_node_set_tensor(Node *n, const char *name, const Tensor *t)
{
    Tensor *copy = tensor_copy(n->graph->model->arena, t);
    Attr *a = node_put_attr(n, name);
    a->type = ATTR_TENSOR;
    a->tensor = copy;
}

void qonnx_node_remove_attr(Node *n, const char *name)
{
    Attr *a = node_attr(n, name);
    if (!a) return;
    forget_graphs(n, a);
    n->nattr--;
    memmove(a, a + 1, (size_t)(n->attrs + n->nattr - a) * sizeof *a);
}

void node_set_graphs(Node *n, Attr *a, Graph **graphs, int count)
{
    a->graphs = graphs;
    a->count = count;
    for (int i = 0; i < count; i++) {
        n->subs =
            arena_grow(n->graph->model->arena, n->subs, n->nsub, &n->sub_cap, sizeof *n->subs);
        n->subs[n->nsub++] = graphs[i];
    }
}

void node_swap_graph(Node *n, const Graph *old, Graph *g)
{
    for (int i = 0; i < n->nsub; i++)
        if (n->subs[i] == old) n->subs[i] = g;
    for (int i = 0; i < n->nattr; i++)
        for (int k = 0; n->attrs[i].graphs && k < n->attrs[i].count; k++)
            if (n->attrs[i].graphs[k] == old) n->attrs[i].graphs[k] = g;
}

int qonnx_node_subgraphs(const Node *n) { return n->nsub; }

Graph *qonnx_node_subgraph(const Node *n, int i)
{
    return i >= 0 && i < n->nsub ? n->subs[i] : NULL;
}
