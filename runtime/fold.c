/* runtime/fold.c - makes the outputs of one node constants: of Constant itself, of what shapes say,
 * and of whatever the kernels run whose inputs are constant.
 */
#include "runtime/fold.h"
#include "ir/bundle.h"
#include "ir/size.h"
#include "ops/control.h"
#include "runtime/cut.h"
#include "runtime/exec.h"
#include "runtime/limits.h"
#include <math.h>
#include <string.h>

/* ---- the budget ------------------------------------------------------------------------------ */

/* A model of `bytes` may get FREE + GROWTH * bytes in all, however many nodes make them. The
 * largest growth that a sane one has is that of weights of 2 bits; where nodes make all weights, as
 * in a VGG-19 that came to test others, these are 550 MiB. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* its code is a hundred times as slow */
static const int64_t FREE_BYTES = 1 << 20, BYTES_GROWTH = 16;
#else
static const int64_t FREE_BYTES = 640 << 20, BYTES_GROWTH = 16;
#endif
static const int64_t FREE_WORK = 10000000000, WORK_GROWTH = 1024;

/* Takes what the node needs off the model's budget. False: there is not as much left. */
static bool spend(Ctx *cx, const Node *n, int64_t bytes, int64_t work)
{
    Model *m = n->graph->model;
    Budget *b = &m->folding;
    int64_t size = m->bytes > INT64_MAX ? INT64_MAX : (int64_t)m->bytes;
    int64_t most_bytes = size_plus(FREE_BYTES, size_times(BYTES_GROWTH, size));
    int64_t most_work = size_plus(FREE_WORK, size_times(WORK_GROWTH, size));
    bytes = size_plus(b->bytes, bytes);
    work = size_plus(b->work, work);
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

/* Takes what the kernels need for a node, alone in its graph with shapes inferred, off the budget.
 * False also where it cannot run: its results have no size, or one that cannot be indexed. */
static bool spend_on_kernels(Ctx *cx, const Node *n, const Node *lone)
{
    int64_t bytes, work;
    node_cost(lone, &bytes, &work);
    return lone->row && lone->row->lower && bytes >= 0 && spend(cx, n, bytes, work);
}

/* ---- what can be folded ---------------------------------------------------------------------- */

/* Whether all inputs are constant, and so the outputs. */
static bool is_constant(const Node *n)
{
    if (n->row && n->row->random && n->row->random(n)) return false;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && (!n->in[i]->data || !n->in[i]->data->data)) return false;
    return true;
}

/* A tensor of that type for the node's only output; its data is [*data], to be filled. */
static Tensor *result_new(const Node *n, DType t, int rank, const int64_t *dims, void **data)
{
    Arena *a = n->graph->model->arena;
    Tensor *y = arena_alloc(a, sizeof *y);
    *y = (Tensor){.dtype = t, .rank = rank};
    if (rank) memcpy(y->dims, dims, (size_t)rank * sizeof *dims);
    y->bytes = (size_t)tensor_count(y) * (size_t)dtype_size(t);
    y->data = *data = arena_aligned(a, y->bytes);
    return y;
}

static Tensor *result_copy(const Node *n, DType t, int rank, int64_t count, const void *from)
{
    void *data;
    Tensor *y = result_new(n, t, rank, &count, &data);
    if (y->bytes) memcpy(data, from, y->bytes);
    return y;
}

/* ---- Constant -------------------------------------------------------------------------------- */

/* A tensor of strings that attributes hold. */
static const Tensor *result_strings(const Node *n, int rank, int64_t count, char *const *texts)
{
    Arena *a = n->graph->model->arena;
    qonnx_string *strings = arena_array(a, (size_t)count + 1, sizeof *strings);
    const qonnx_string **list = arena_array(a, (size_t)count + 1, sizeof *list);
    for (int64_t i = 0; i < count; i++) {
        strings[i] = (qonnx_string){strlen(texts[i]), texts[i]};
        list[i] = &strings[i];
    }
    return result_copy(n, QONNX_STRING, rank, count, list);
}

/* What a Constant node holds, as one of several attributes. NULL for sparse tensors. */
static const Tensor *fold_constant(const Node *n)
{
    const Tensor *whole = qonnx_node_tensor(n, "value");
    const float *floats;
    const int64_t *ints;
    if (whole) return qonnx_dtype_bits(whole->dtype) > 0 ? whole : NULL;
    if (qonnx_node_has(n, "value_float"))
        return result_copy(n, QONNX_FLOAT, 0, 1, &(float){qonnx_node_float(n, "value_float", 0)});
    if (qonnx_node_has(n, "value_int"))
        return result_copy(n, QONNX_INT64, 0, 1, &(int64_t){qonnx_node_int(n, "value_int", 0)});
    if (qonnx_node_has(n, "value_floats")) {
        int count = qonnx_node_floats(n, "value_floats", &floats);
        return result_copy(n, QONNX_FLOAT, 1, count, floats);
    }
    char *text = (char *)(uintptr_t)qonnx_node_string(n, "value_string", NULL), *const *texts;
    if (text) return result_strings(n, 0, 1, &text);
    if (qonnx_node_has(n, "value_strings"))
        return result_strings(n, 1, node_strings(n, "value_strings", &texts), texts);
    if (!qonnx_node_has(n, "value_ints")) return NULL;
    int count = qonnx_node_ints(n, "value_ints", &ints);
    return result_copy(n, QONNX_INT64, 1, count, ints);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* The dimensions that a Shape node gives, some of which may be open; NULL: not known. */
static const int64_t *shape_dims(const Node *shape, int64_t *count)
{
    int64_t start;
    const Value *x = shape->nin ? shape->in[0] : NULL;
    if (!x || x->shape.rank < 0 || x->late) return NULL;
    shape_axes(shape, x->shape.rank, &start, count);
    return x->shape.dim + start;
}

/* Shape of a value whose dimensions are all known. */
static const Tensor *fold_shape(const Node *n)
{
    int64_t count;
    const int64_t *dims = shape_dims(n, &count);
    for (int64_t i = 0; dims && i < count; i++)
        if (dims[i] < 0) return NULL;
    return dims ? result_copy(n, QONNX_INT64, 1, count, dims) : NULL;
}

static const Tensor *fold_size(const Node *n)
{
    int64_t count = 1;
    if (n->nin != 1 || !n->in[0] || n->in[0]->shape.rank < 0 || n->in[0]->late) return NULL;
    const Shape *x = &n->in[0]->shape;
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] < 0 || __builtin_mul_overflow(count, x->dim[i], &count)) return NULL;
    return result_copy(n, QONNX_INT64, 0, 1, &count);
}

/* Gather of a shape, where the dimensions it takes are known though others are not. */
static const Tensor *fold_dimension(const Node *n)
{
    const Node *shape = n->nin == 2 && n->in[0] ? n->in[0]->def : NULL;
    const Tensor *which = n->nin == 2 && n->in[1] ? n->in[1]->data : NULL;
    int64_t all, dims[QONNX_MAX_RANK];
    if (!shape || !qonnx_node_is(shape, "Shape")) return NULL;
    const int64_t *from = shape_dims(shape, &all);
    if (!from || !which || which->rank > 1 || tensor_count(which) > QONNX_MAX_RANK) return NULL;
    int64_t count = tensor_count(which);
    for (int64_t i = 0; i < count; i++) {
        double index = qonnx_tensor_get(which, i);
        if (index < 0) index += (double)all;
        if (!(index >= 0 && index < (double)all)) return NULL;
        dims[i] = from[(int64_t)index];
        if (dims[i] < 0) return NULL;
    }
    return result_copy(n, QONNX_INT64, which->rank, count, dims);
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
        if (n->out[i]->nuse || n->out[i]->output_count) graph_put_output(g, v);
    }
    return g;
}

/* The node's program, paid for; NULL where it cannot be run. Its last output is the size of others
 * where that is data. */
static Program *lone_program(Ctx *cx, const Node *n)
{
    Ctx *quiet = ctx_quiet();
    Graph *g = lone_graph(n);
    Program *p = NULL;
    bool good = graph_infer(quiet, g, false);
    Value *size = good ? node_count(g->first) : NULL;
    if (size) graph_put_output(g, size);
    if (good && spend_on_kernels(cx, n, g->first)) p = program_new(quiet, g);
    else qonnx_graph_free(g);
    qonnx_ctx_free(quiet);
    return p;
}

static bool fold_kernels(Ctx *cx, Node *n)
{
    Program *p = lone_program(cx, n);
    if (!p) return false;
    Image *m = image_new(p, ENGINE_PORTABLE, NULL);
    Exec *x = exec_new(m);
    exec_run(x, cx, NULL, NULL, NULL, NULL); /* without a body it always ends */
    Graph *g = n->graph;
    qonnx_node_remove(n);
    for (int i = 0; i < p->noutput; i++) {
        const Value *from = p->graph->outputs[i];
        int axis = counted_axis(from);
        Tensor t = p->outputs[i].tensor;
        t.data = exec_output(x, i);
        if (axis >= 0) t = tensor_trimmed(t, axis, exec_output(x, p->noutput - 1));
        if (value_is_size(from)) continue;
        Value *v = graph_own(g, from->name);
        graph_put_constant(g, v, tensor_copy(g->model->arena, &t));
        v->info = NULL;
    }
    exec_free(x);
    image_free(m);
    return true;
}

/* ---- one node -------------------------------------------------------------------------------- */

/* What the node gives, where that needs no kernel. */
static const Tensor *fold_plainly(const Node *n)
{
    if (n->nout != 1) return NULL;
    if (qonnx_node_is(n, "Constant")) return fold_constant(n);
    if (qonnx_node_is(n, "Shape")) return fold_shape(n);
    if (qonnx_node_is(n, "Size")) return fold_size(n);
    return qonnx_node_is(n, "Gather") ? fold_dimension(n) : NULL;
}

bool node_fold(Ctx *cx, Node *n)
{
    if (!n->nout || !n->out[0] || qonnx_node_subgraphs(n) || node_is_hosted(n)) return false;
    const Tensor *t = fold_plainly(n);
    if (!t) return n->nin && n->row && is_constant(n) && fold_kernels(cx, n);
    Value *v = n->out[0];
    qonnx_node_remove(n);
    graph_put_constant(v->graph, v, t);
    v->source = v->info = NULL;
    return true;
}

bool node_choose(Node *n, Node **next)
{
    const Value *condition = qonnx_node_is(n, "If") ? qonnx_node_input(n, 0) : NULL;
    const Tensor *t = condition ? condition->data : NULL;
    if (!t || t->dtype != QONNX_BOOL || tensor_count(t) != 1) return false;
    Graph *g = control_graph(n, *(const uint8_t *)t->data ? "then_branch" : "else_branch");
    if (!g || g->ninput || g->noutput != n->nout) return false;
    Graph *outer = n->graph;
    Node *prev = n->prev;
    graph_splice(n, g);
    *next = prev ? prev->next : outer->first;
    return true;
}

void graph_fold(Ctx *cx, Graph *g)
{
    for (Node *n = g->first, *next; n; n = next) {
        next = n->next;
        if (node_choose(n, &next)) continue;
        for (int i = 0; i < n->nsub; i++) graph_fold(cx, n->subs[i]);
        node_fold(cx, n);
    }
}

/* Whether what comes of the node is a constant, which a graph's output cannot be. */
static bool makes_number(const Node *n)
{
    return qonnx_node_is(n, "SequenceLength") || qonnx_node_is(n, "OptionalHasElement");
}

/* Puts nodes on tensors in the place of one that reads a bundle, where it is known before the model
 * runs what is in it. */
static bool open_bundles(Node *n)
{
    Node *next, *behind = n->next;
    bool lists = n->row && n->row->unbundle && (!n->row->lower || node_has_bundles(n));
    for (int i = 0; lists && i < n->nin && i < 32; i++)
        lists = !(op_lists(n) >> i & 1) || !n->in[i] || n->in[i]->data;
    if (!lists || qonnx_model_opset(n->graph) < 13) return false;
    if (n->out[0]->output_count && makes_number(n)) return false;
    Ctx *quiet = ctx_quiet();
    bool ok = n->row->unbundle(quiet, n, &next);
    for (; ok && next != behind; next = next->next)
        if (!node_infer(quiet, next)) break; /* as the refresh behind this will say */
    qonnx_ctx_free(quiet);
    return ok;
}

bool qonnx_node_fold(Ctx *cx, Node *n)
{
    Node *next;
    if (node_choose(n, &next)) return true;
    if (n->nout && n->out[0] && open_bundles(n)) return true;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->output_count) return false;
    return node_fold(cx, n);
}
