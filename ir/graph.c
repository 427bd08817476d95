/* ir/graph.c - making, finding and editing: graphs, values, nodes. Every edit of an input goes
 * through qonnx_node_set_input, so that uses are always right.
 */
#include "ir/ir.h"
#include "ir/pages.h"
#include "ops/op.h"
#include <stdio.h>
#include <string.h>

#ifdef HARD
#define HARD_CHECK(n) node_check(n)
#else
#define HARD_CHECK(n) ((void)0)
#endif

Value *qonnx_graph_find(const Graph *g, const char *name)
{
    for (; g; g = g->parent) {
        Value *v = graph_own(g, name);
        if (v) return v;
    }
    return NULL;
}

/* ---- graphs ---------------------------------------------------------------------------------- */

Graph *graph_new(const char *path)
{
    Arena *a = arena_new();
    Graph *g = arena_alloc(a, sizeof *g);
    g->model = arena_alloc(a, sizeof *g->model);
    g->model->arena = a;
    g->model->main = g;
    g->model->path = arena_string(a, path);
    g->model->producer = g->model->producer_version = "";
    return g;
}

Graph *graph_new_sub(Graph *parent, Node *owner)
{
    Graph *g = arena_alloc(parent->model->arena, sizeof *g);
    g->model = parent->model;
    g->model->nsub++;
    g->parent = parent;
    g->owner = owner;
    return g;
}

void qonnx_graph_free(Graph *g)
{
    if (g) arena_free(g->model->arena);
}

void *qonnx_graph_alloc(Graph *g, size_t bytes) { return arena_alloc(g->model->arena, bytes); }

void *qonnx_graph_array(Graph *g, size_t n, size_t size)
{
    return arena_array(g->model->arena, n, size);
}

Graph *qonnx_graph_parent(const Graph *g) { return g->parent; }
Node *qonnx_graph_first(const Graph *g) { return g->first; }
Node *qonnx_node_next(const Node *n) { return n->next; }
int qonnx_graph_inputs(const Graph *g) { return g->ninput; }
int qonnx_graph_outputs(const Graph *g) { return g->noutput; }
int qonnx_graph_values(const Graph *g) { return g->nvalue; }

Value *qonnx_graph_input(const Graph *g, int i)
{
    return i >= 0 && i < g->ninput ? g->inputs[i] : NULL;
}

Value *qonnx_graph_output(const Graph *g, int i)
{
    return i >= 0 && i < g->noutput ? g->outputs[i] : NULL;
}

Value *qonnx_graph_value(const Graph *g, int i)
{
    return i >= 0 && i < g->nvalue ? g->values[i] : NULL;
}

void qonnx_graph_drop_input(Graph *g, int i)
{
    g->inputs[i]->input_count--;
    g->ninput--;
    memmove(g->inputs + i, g->inputs + i + 1, (size_t)(g->ninput - i) * sizeof *g->inputs);
}

#define PUSH(g, list, n, cap, item)                                                                \
    ((g)->list = arena_grow((g)->model->arena, (g)->list, (g)->n, &(g)->cap, sizeof *(g)->list),   \
     (g)->list[(g)->n++] = (item))

void graph_put_input(Graph *g, Value *v)
{
    PUSH(g, inputs, ninput, input_cap, v);
    v->input_count++;
}

void graph_put_output(Graph *g, Value *v)
{
    PUSH(g, outputs, noutput, output_cap, v);
    v->output_count++;
}

void qonnx_graph_add_output(Graph *g, Value *v)
{
    if (!v->output_count) graph_put_output(g, v);
}

void graph_put_constant(Graph *g, Value *v, const Tensor *t)
{
    if (!v->data) PUSH(g, constants, nconstant, constant_cap, v);
    v->data = t;
    v->shared = v->late = false;
    v->dtype = t->dtype;
    v->shape = shape_of(t);
}

int64_t model_opset_of(const Graph *g, const char *domain)
{
    const Model *m = g->model;
    for (int i = 0; i < m->nopset; i++)
        if (!strcmp(m->opsets[i].domain, domain)) return m->opsets[i].version;
    return 0;
}

int64_t qonnx_model_opset(const Graph *g) { return model_opset_of(g, ""); }

/* The IR version that came with an operator set, for the sets that this program raises to. */
static int64_t ir_version_of(int64_t opset)
{
    return opset >= 21 ? 10 : opset >= 19 ? 9 : opset >= 15 ? 8 : opset >= 13 ? 7 : 3;
}

/* The domain's import, which is added with that version where there is none. */
static Opset *import_domain(Model *m, const char *domain, int64_t version)
{
    for (int i = 0; i < m->nopset; i++)
        if (!strcmp(m->opsets[i].domain, domain)) return &m->opsets[i];
    Opset *all = arena_array(m->arena, (size_t)m->nopset + 1, sizeof *all);
    memcpy(all, m->opsets, (size_t)m->nopset * sizeof *all);
    m->opsets = all;
    m->opsets[m->nopset] = (Opset){arena_string(m->arena, domain), version};
    return &m->opsets[m->nopset++];
}

void qonnx_model_set_opset(Graph *g, int64_t version)
{
    Model *m = g->model;
    import_domain(m, "", version)->version = version;
    if (m->ir_version < ir_version_of(version)) m->ir_version = ir_version_of(version);
}

const char *qonnx_model_metadata(const Graph *g, const char *key)
{
    for (int i = 0; i < g->model->nprop; i++)
        if (!strcmp(g->model->props[i].key, key)) return g->model->props[i].value;
    return NULL;
}

void qonnx_model_set_metadata(Graph *g, const char *key, const char *value)
{
    Model *m = g->model;
    for (int i = 0; i < m->nprop; i++)
        if (!strcmp(m->props[i].key, key)) {
            m->props[i].value = arena_string(m->arena, value);
            return;
        }
    m->props = arena_grow(m->arena, m->props, m->nprop, &m->prop_cap, sizeof *m->props);
    m->props[m->nprop++] = (Property){arena_string(m->arena, key), arena_string(m->arena, value)};
}

const char *qonnx_model_metadata_at(const Graph *g, int i, const char **value)
{
    if (i < 0 || i >= g->model->nprop) return NULL;
    *value = g->model->props[i].value;
    return g->model->props[i].key;
}

int64_t qonnx_model_ir_version(const Graph *g) { return g->model->ir_version; }

const char *qonnx_model_producer(const Graph *g, const char **version)
{
    *version = g->model->producer_version;
    return g->model->producer;
}

/* ---- values ---------------------------------------------------------------------------------- */

Value *graph_value(Graph *g, const char *name)
{
    Value *v = graph_own(g, name);
    if (v) return v;
    v = arena_alloc(g->model->arena, sizeof *v);
    v->name = arena_string(g->model->arena, name);
    v->graph = g;
    v->shape.rank = -1;
    v->id = g->nvalue;
    PUSH(g, values, nvalue, value_cap, v);
    name_put(g, v);
    return v;
}

Value *qonnx_graph_add_value(Graph *g, const char *name)
{
    return graph_value(g, name_choose(g, name));
}

Value *qonnx_graph_add_constant(Graph *g, const char *name, const Tensor *t)
{
    Value *v = qonnx_graph_add_value(g, name);
    graph_put_constant(g, v, tensor_copy(g->model->arena, t));
    return v;
}

void qonnx_value_set_constant(Value *v, const Tensor *t)
{
    const Tensor *old = v->data;
    v->source = NULL;
    v->kept = NULL;
    if (v->override && v->override->integers) {
        qonnx_override o = *v->override;
        o.integers = NULL;
        qonnx_value_set_override(v, &o);
    }
    graph_put_constant(v->graph, v, tensor_copy(v->graph->model->arena, t));
    if (old) pages_give_back(old->data, old->bytes);
}

void qonnx_value_rename(Value *v, const char *name)
{
    if (!strcmp(v->name, name)) return;
    const char *free = name_choose(v->graph, name);
    name_drop(v->graph, v);
    v->name = free;
    v->source = v->info = NULL;
    name_put(v->graph, v);
}

const char *qonnx_value_name(const Value *v) { return v->name; }
DType qonnx_value_dtype(const Value *v) { return v->dtype; }
int qonnx_value_rank(const Value *v) { return v->shape.rank; }
const Tensor *qonnx_value_constant(const Value *v) { return v->data; }
Node *qonnx_value_producer(const Value *v) { return v->def; }
Graph *qonnx_value_graph(const Value *v) { return v->graph; }
int qonnx_value_uses(const Value *v) { return v->nuse; }
bool qonnx_value_is_input(const Value *v) { return v->input_count > 0; }
bool qonnx_value_is_output(const Value *v) { return v->output_count > 0; }

int64_t qonnx_value_dim(const Value *v, int i)
{
    return i >= 0 && i < v->shape.rank ? v->shape.dim[i] : -1;
}

const char *qonnx_value_dim_name(const Value *v, int i)
{
    return i >= 0 && i < v->shape.rank ? v->shape.sym[i] : NULL;
}

Node *qonnx_value_use(const Value *v, int i, int *input)
{
    if (i < 0 || i >= v->nuse) return NULL;
    if (input) *input = v->uses[i].input;
    return v->uses[i].node;
}

Node *qonnx_value_only_user(const Value *v)
{
    return v->nuse == 1 && !v->output_count ? v->uses[0].node : NULL;
}

bool qonnx_value_range(const Value *v, float *lo, float *hi)
{
    if (!v->ranged) return false;
    *lo = v->lo;
    *hi = v->hi;
    return true;
}

void qonnx_value_set_range(Value *v, float lo, float hi)
{
    v->ranged = true;
    v->lo = lo;
    v->hi = hi;
}

void qonnx_value_set_type(Value *v, DType dtype, int rank, const int64_t *dims)
{
    if (v->data) return;
    v->dtype = dtype;
    v->shape = (Shape){.rank = rank <= QONNX_MAX_RANK ? rank : -1};
    for (int i = 0; i < v->shape.rank; i++) v->shape.dim[i] = dims[i];
    v->retyped = true;
}

Value *qonnx_graph_add_input(Graph *g, const char *name, DType dtype, int rank, const int64_t *dims)
{
    Value *v = qonnx_graph_add_value(g, name);
    qonnx_value_set_type(v, dtype, rank, dims);
    graph_put_input(g, v);
    return v;
}

void qonnx_value_clear_range(Value *v) { v->ranged = false; }

const qonnx_override *qonnx_value_override(const Value *v) { return v->override; }

void qonnx_value_set_override(Value *v, const qonnx_override *o)
{
    Arena *a = v->graph->model->arena;
    v->override = NULL;
    if (!o) return;
    const size_t count = (size_t)o->count;
    qonnx_override *copy = arena_copy(a, o, sizeof *o);
    if (o->scales) copy->scales = arena_copy(a, o->scales, count * sizeof *o->scales);
    if (o->scales)
        copy->zero_points = arena_copy(a, o->zero_points, count * sizeof *o->zero_points);
    if (o->observer) copy->observer = arena_copy(a, o->observer, strlen(o->observer) + 1);
    if (o->integers) copy->integers = arena_copy(a, o->integers, (size_t)tensor_count(v->data));
    v->override = copy;
}

const qonnx_kept *qonnx_value_kept(const Value *v) { return v->kept; }

void qonnx_value_keep(Value *v, const qonnx_kept *k)
{
    v->kept = k ? arena_copy(v->graph->model->arena, k, sizeof *k) : NULL;
}

void qonnx_value_replace_uses(Value *v, Value *with)
{
    if (v == with) return;
    while (v->nuse)
        qonnx_node_set_input(v->uses[v->nuse - 1].node, v->uses[v->nuse - 1].input, with);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void use_add(Value *v, Node *n, int input)
{
    v->uses = arena_grow(v->graph->model->arena, v->uses, v->nuse, &v->use_cap, sizeof *v->uses);
    v->uses[v->nuse++] = (Use){n, input};
}

static bool is_use(const Use *u, const Node *n, int input)
{
    return u->node == n && u->input == input;
}

/* The order of the others stays. Uses go from either end mostly: so it looks from both, and moves
 * the shorter side. */
static void use_drop(Value *v, const Node *n, int input)
{
    int i = 0, last = v->nuse - 1, k = last;
    while (i <= k && !is_use(&v->uses[i], n, input) && !is_use(&v->uses[k], n, input)) i++, k--;
    if (i > k) return;
    v->nuse--;
    if (is_use(&v->uses[k], n, input)) {
        memmove(v->uses + k, v->uses + k + 1, (size_t)(last - k) * sizeof *v->uses);
    } else {
        memmove(v->uses + 1, v->uses, (size_t)i * sizeof *v->uses);
        v->uses++;
        v->use_cap--;
    }
}

/* Ends all uses that the node makes of the value, in one go. */
static void use_drop_all(Value *v, const Node *n)
{
    int kept = 0;
    for (int i = 0; i < v->nuse; i++) {
        const Use u = v->uses[i];
        if (u.node == n) n->in[u.input] = NULL;
        else v->uses[kept++] = u;
    }
    v->nuse = kept;
}

void qonnx_node_set_input(Node *n, int i, Value *v)
{
    while (n->nin <= i) {
        n->in = arena_grow(n->graph->model->arena, n->in, n->nin, &n->in_cap, sizeof *n->in);
        n->in[n->nin++] = NULL;
    }
    if (n->in[i]) use_drop(n->in[i], n, i);
    n->in[i] = v;
    if (v) use_add(v, n, i);
    while (n->nin && !n->in[n->nin - 1] && n->nin - 1 == i) n->nin--, i--;
    HARD_CHECK(n);
}

void qonnx_node_set_output(Node *n, int i, Value *v)
{
    if (v->def) v->def->out[v->def_index] = NULL;
    if (n->out[i]) n->out[i]->def = NULL;
    n->out[i] = v;
    v->def = n;
    v->def_index = i;
    HARD_CHECK(n);
}

void qonnx_node_set_op(Node *n, const char *op)
{
    n->op = arena_string(n->graph->model->arena, op);
    n->row = op_find(n->domain, op);
}

static void link_before(Graph *g, Node *n, Node *before)
{
    n->next = before;
    n->prev = before ? before->prev : g->last;
    *(n->prev ? &n->prev->next : &g->first) = n;
    *(before ? &before->prev : &g->last) = n;
}

static Node *node_new(Graph *g, const char *op, const char *domain, const char *name, int nin,
                      int nout)
{
    Arena *a = g->model->arena;
    Node *n = arena_alloc(a, sizeof *n);
    n->graph = g;
    n->op = arena_string(a, op);
    n->domain = !strcmp(domain, "ai.onnx") ? "" : arena_string(a, domain);
    n->name = arena_string(a, name);
    n->row = op_find(n->domain, op);
    n->nin = n->in_cap = nin;
    n->in = arena_array(a, (size_t)nin, sizeof *n->in);
    n->nout = nout;
    n->out = arena_array(a, (size_t)nout, sizeof *n->out);
    return n;
}

Node *graph_append(Graph *g, const char *op, const char *domain, const char *name, int nin,
                   int nout)
{
    Node *n = node_new(g, op, domain, name, nin, nout);
    link_before(g, n, NULL);
    return n;
}

Node *qonnx_graph_add_node(Graph *g, Node *before, const char *op, const char *domain,
                           const char *name, Value *const *inputs, int ninputs,
                           Value *const *outputs, int noutputs)
{
    Node *n = node_new(g, op, domain, node_name_choose(g, name), ninputs, noutputs);
    if (domain[0]) import_domain(g->model, domain, 1);
    link_before(g, n, before);
    for (int i = 0; i < ninputs; i++)
        if (inputs[i]) n->in[i] = inputs[i], use_add(inputs[i], n, i);
    for (int i = 0; i < noutputs; i++)
        if (outputs[i]) qonnx_node_set_output(n, i, outputs[i]);
    HARD_CHECK(n);
    return n;
}

/* Ends every use that the node, and nodes of its subgraphs, make of values. */
static void release_inputs(Node *n)
{
    enum { FEW = 8 }; /* inputs: a look through all uses for each value costs more */
    for (int i = 0; i < n->nin; i++) {
        if (!n->in[i]) continue;
        if (n->nin > FEW) use_drop_all(n->in[i], n);
        else use_drop(n->in[i], n, i), n->in[i] = NULL;
    }
    for (int i = 0; i < n->nsub; i++) {
        for (int k = 0; k < n->subs[i]->noutput; k++) n->subs[i]->outputs[k]->output_count--;
        for (Node *m = n->subs[i]->first; m; m = m->next) release_inputs(m);
    }
}

void qonnx_node_remove(Node *n)
{
    release_inputs(n);
    node_name_drop(n);
    for (int i = 0; i < n->nsub; i++) name_drop_graph(n->subs[i]);
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->def == n) n->out[i]->def = NULL;
    *(n->prev ? &n->prev->next : &n->graph->first) = n->next;
    *(n->next ? &n->next->prev : &n->graph->last) = n->prev;
}

void graph_release(Graph *g)
{
    name_drop_graph(g);
    for (int i = 0; i < g->noutput; i++) g->outputs[i]->output_count--;
    for (Node *n = g->first; n; n = n->next) {
        node_name_drop(n);
        release_inputs(n);
    }
}

void graph_share(Graph *g)
{
    for (int i = 0; i < g->nconstant; i++) g->constants[i]->shared = true;
    for (const Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nsub; i++) graph_share(n->subs[i]);
}

void graph_adopt(Graph *g, Value *v)
{
    v->graph = g;
    v->id = g->nvalue;
    PUSH(g, values, nvalue, value_cap, v);
    if (v->data) PUSH(g, constants, nconstant, constant_cap, v);
    name_put(g, v);
}

void node_move(Node *n, Node *before)
{
    *(n->prev ? &n->prev->next : &n->graph->first) = n->next;
    *(n->next ? &n->next->prev : &n->graph->last) = n->prev;
    n->graph = before->graph;
    for (int i = 0; i < n->nsub; i++) n->subs[i]->parent = n->graph;
    link_before(n->graph, n, before);
}

/* Whether anybody reads one of its outputs. */
static bool is_used(const Node *n)
{
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && (n->out[i]->nuse || n->out[i]->output_count)) return true;
    return false;
}

int qonnx_graph_sweep(Graph *g)
{
    int removed = 0;
    for (Node *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            removed += qonnx_graph_sweep(qonnx_node_subgraph(n, i));
        if (!is_used(n)) qonnx_node_remove(n), removed++;
    }
    int kept = 0;
    for (int i = 0; i < g->nconstant; i++) {
        Value *v = g->constants[i];
        if (v->nuse || v->output_count || v->input_count || v->observed) g->constants[kept++] = v;
        else v->data = NULL;
    }
    g->nconstant = kept;
    return removed;
}

const char *qonnx_node_op(const Node *n) { return n->op; }
const char *qonnx_node_domain(const Node *n) { return n->domain; }
const char *qonnx_node_name(const Node *n) { return n->name; }

const char *qonnx_node_label(const Node *n)
{
    for (int i = 0; !*n->name && i < n->nout; i++)
        if (n->out[i]) return n->out[i]->name;
    return n->name;
}

Graph *qonnx_node_graph(const Node *n) { return n->graph; }
bool qonnx_node_known(const Node *n) { return n->row != NULL; }
int qonnx_node_inputs(const Node *n) { return n->nin; }
int qonnx_node_outputs(const Node *n) { return n->nout; }

bool qonnx_node_is(const Node *n, const char *op) { return !n->domain[0] && !strcmp(n->op, op); }

Value *qonnx_node_input(const Node *n, int i) { return i >= 0 && i < n->nin ? n->in[i] : NULL; }

Value *qonnx_node_output(const Node *n, int i) { return i >= 0 && i < n->nout ? n->out[i] : NULL; }
