/* runtime/fold.c - runs one node whose inputs are constant, and makes its outputs constants. */
#include "runtime/exec.h"
#include <math.h>
#include <string.h>

static bool foldable(const Node *n)
{
    if (!qonnx_node_known(n) || qonnx_node_subgraphs(n)) return false;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && (!n->in[i]->data || !n->in[i]->data->data)) return false;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->output_count) return false;
    return true;
}

/* ---- casts of shapes ------------------------------------------------------------------------- */

static void put_integer(void *data, DType t, int64_t i, int64_t v)
{
    if (t == QONNX_INT64) ((int64_t *)data)[i] = v;
    else ((int32_t *)data)[i] = (int32_t)v;
}

/* False for a float that has no integer: NaN and what is too large. */
static bool get_integer(const Tensor *t, int64_t i, int64_t *v)
{
    if (t->dtype == QONNX_INT64) {
        memcpy(v, (const char *)t->data + i * 8, sizeof *v);
        return true;
    }
    double x = qonnx_tensor_get(t, i);
    if (!(fabs(x) < 0x1p63)) return false;
    *v = (int64_t)x;
    return true;
}

static bool is_index(DType t) { return t == QONNX_INT64 || t == QONNX_INT32; }

/* Cast between 32- and 64-bit integers and from float: no kernel casts yet, and shapes are computed
 * that way. NULL where it is something else, or where a number does not fit. */
static Tensor *fold_cast(const Node *n)
{
    const Value *v = n->out[0];
    const Tensor *a = n->nin == 1 ? n->in[0]->data : NULL;
    int64_t count = v ? shape_elements(&v->shape) : -1;
    if (!qonnx_node_is(n, "Cast") || n->nout != 1 || !a || count < 0) return NULL;
    if (!is_index(v->dtype) || (!is_index(a->dtype) && a->dtype != QONNX_FLOAT)) return NULL;
    if (tensor_count(a) != count) return NULL;
    Arena *arena = n->graph->model->arena;
    Tensor *t = arena_alloc(arena, sizeof *t);
    *t = (Tensor){.dtype = v->dtype, .rank = v->shape.rank};
    memcpy(t->dims, v->shape.dim, sizeof t->dims);
    t->bytes = (size_t)count * (size_t)qonnx_dtype_bits(t->dtype) / 8;
    void *data = arena_aligned(arena, t->bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t y;
        if (!get_integer(a, i, &y)) return NULL;
        if (t->dtype == QONNX_INT32 && y != (int32_t)y) return NULL;
        put_integer(data, t->dtype, i, y);
    }
    t->data = data;
    return t;
}

/* ---- everything that the kernels run --------------------------------------------------------- */

/* A graph of this node alone, its used outputs being the graph's. */
static Graph *lone_graph(const Node *n)
{
    Graph *g = graph_new(n->graph->model->path);
    g->model->opsets = n->graph->model->opsets;
    g->model->nopset = n->graph->model->nopset;
    Node *m = graph_append(g, n->op, n->domain, n->name, n->nin, n->nout);
    m->attrs = n->attrs;
    m->nattr = m->attr_cap = n->nattr;
    for (int i = 0; i < n->nin; i++) {
        if (!n->in[i]) continue;
        Value *v = graph_value(g, n->in[i]->name);
        if (!v->data) graph_put_constant(g, v, n->in[i]->data);
        qonnx_node_set_input(m, i, v);
    }
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i]) continue;
        Value *v = graph_value(g, n->out[i]->name);
        v->dtype = n->out[i]->dtype;
        qonnx_node_set_output(m, i, v);
        if (n->out[i]->nuse) graph_put_output(g, v);
    }
    return g;
}

bool qonnx_node_fold(Ctx *cx, Node *n)
{
    (void)cx;
    if (!foldable(n)) return false;
    Tensor *cast = fold_cast(n);
    if (cast) {
        Value *v = n->out[0];
        qonnx_node_remove(n);
        graph_put_constant(v->graph, v, cast);
        v->info = NULL;
        return true;
    }
    Ctx *quiet = ctx_quiet();
    Program *p = program_new(quiet, lone_graph(n), NULL, NULL);
    qonnx_ctx_free(quiet);
    if (!p) return false;
    Image *m = image_new(p, ENGINE_PORTABLE);
    Exec *x = exec_new(m);
    exec_run(x, NULL, NULL, NULL);
    Graph *g = n->graph;
    qonnx_node_remove(n);
    for (int i = 0; i < p->noutput; i++) {
        Tensor t = p->outputs[i].tensor;
        t.data = exec_output(x, i);
        Value *v = graph_own(g, p->graph->outputs[i]->name);
        graph_put_constant(g, v, tensor_copy(g->model->arena, &t));
        v->info = NULL;
    }
    exec_free(x);
    image_free(m);
    return true;
}
