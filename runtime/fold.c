/* runtime/fold.c - runs one node whose inputs are constant, and makes its outputs constants. */
#include "ops/op.h"
#include "runtime/exec.h"
#include <math.h>
#include <string.h>

/* ---- the budget ------------------------------------------------------------------------------ */

/* A model of `bytes` may get FREE + GROWTH * bytes in all, however many nodes make them. The
 * largest growth that a sane one has is that of weights of 2 bits. */
static const int64_t FREE_BYTES = 64 << 20, BYTES_GROWTH = 16;
static const int64_t FREE_WORK = 1000000000, WORK_GROWTH = 1024;

static int64_t times(int64_t a, int64_t b)
{
    int64_t y;
    return __builtin_mul_overflow(a, b, &y) ? INT64_MAX : y;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t y;
    return __builtin_add_overflow(a, b, &y) ? INT64_MAX : y;
}

/* Takes what the node needs off the model's budget. False: there is not as much left. */
static bool spend(Ctx *cx, const Node *n, int64_t bytes, int64_t work)
{
    Model *m = n->graph->model;
    Budget *b = &m->folding;
    int64_t size = m->bytes > INT64_MAX ? INT64_MAX : (int64_t)m->bytes;
    int64_t most_bytes = plus(FREE_BYTES, times(BYTES_GROWTH, size));
    int64_t most_work = plus(FREE_WORK, times(WORK_GROWTH, size));
    bytes = plus(b->bytes, bytes);
    work = plus(b->work, work);
    if (bytes <= most_bytes && work <= most_work) {
        b->bytes = bytes;
        b->work = work;
        return true;
    }
    if (!b->told)
        qonnx_note(cx, n,
                   "it is constant but stays a node: folding may take %lld MiB and %lld million "
                   "steps for a file of this size, and it is over one of them",
                   (long long)(most_bytes >> 20), (long long)(most_work / 1000000));
    b->told = true;
    return false;
}

/* Bytes of the inputs: what a node goes through at least. */
static int64_t input_bytes(const Node *n)
{
    int64_t sum = 0;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i]) sum = plus(sum, (int64_t)n->in[i]->data->bytes);
    return sum;
}

/* Elements of the input that each element of the output is made of, in a pool; else 1. */
static int64_t taps(const Node *n)
{
    qonnx_window w;
    int64_t count = 1;
    if (qonnx_node_macs(n) > 0 || !qonnx_node_window(n, &w)) return 1;
    for (int i = 0; i < 3; i++) count = times(count, w.kernel[i] < w.in[i] ? w.kernel[i] : w.in[i]);
    return count;
}

/* The same for a node that the kernels run, alone in its graph, shapes inferred. False also where
 * it cannot run: its results have no size, or one that cannot be indexed. */
static bool spend_on_kernels(Ctx *cx, const Node *n, const Node *lone)
{
    int64_t bytes = 0, work = plus(input_bytes(lone), qonnx_node_macs(lone));
    if (!lone->row || !lone->row->lower) return false;
    for (int i = 0; i < lone->nout; i++) {
        const Value *v = lone->out[i];
        if (!v || !v->output_count) continue;
        int64_t count = shape_elements(&v->shape), bits = qonnx_dtype_bits(v->dtype);
        if (count < 0 || !bits) return false;
        bytes = plus(bytes, times(count, bits) / 8);
        work = plus(work, times(times(count, bits) / 8, taps(lone)));
    }
    return spend(cx, n, bytes, work);
}

/* ---- what can be folded ---------------------------------------------------------------------- */

static bool foldable(const Node *n)
{
    if (!n->row || qonnx_node_subgraphs(n)) return false;
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
static Tensor *fold_cast(Ctx *cx, const Node *n)
{
    const Value *v = n->out[0];
    const Tensor *a = n->nin == 1 ? n->in[0]->data : NULL;
    int64_t count = v ? shape_elements(&v->shape) : -1;
    if (!qonnx_node_is(n, "Cast") || n->nout != 1 || !a || count < 0) return NULL;
    if (!is_index(v->dtype) || (!is_index(a->dtype) && a->dtype != QONNX_FLOAT)) return NULL;
    if (tensor_count(a) != count) return NULL;
    int64_t bytes = count * qonnx_dtype_bits(v->dtype) / 8;
    if (!spend(cx, n, bytes, plus(input_bytes(n), bytes))) return NULL;
    Arena *arena = n->graph->model->arena;
    Tensor *t = arena_alloc(arena, sizeof *t);
    *t = (Tensor){.dtype = v->dtype, .rank = v->shape.rank};
    memcpy(t->dims, v->shape.dim, sizeof t->dims);
    t->bytes = (size_t)bytes;
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

/* The node's program, paid for; NULL where it cannot be run. */
static Program *lone_program(Ctx *cx, const Node *n)
{
    Ctx *quiet = ctx_quiet();
    Graph *g = lone_graph(n);
    Program *p = NULL;
    if (graph_infer(quiet, g, false) && spend_on_kernels(cx, n, g->first))
        p = program_new(quiet, g, NULL, NULL);
    else qonnx_graph_free(g);
    qonnx_ctx_free(quiet);
    return p;
}

static bool fold_kernels(Ctx *cx, Node *n)
{
    Program *p = lone_program(cx, n);
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

bool qonnx_node_fold(Ctx *cx, Node *n)
{
    if (!foldable(n)) return false;
    Tensor *cast = fold_cast(cx, n);
    if (!cast) return fold_kernels(cx, n);
    Value *v = n->out[0];
    qonnx_node_remove(n);
    graph_put_constant(v->graph, v, cast);
    v->info = NULL;
    return true;
}
