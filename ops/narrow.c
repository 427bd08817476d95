/* ops/narrow.c - float16 and bfloat16: their values become float before anything is done with a
 * model, and what is not quantized becomes what it was before it is written.
 */
#include "kernels/elements.h"
#include "ops/op.h"
#include <stdlib.h>
#include <string.h>

static bool is_narrow(DType t) { return t == QONNX_FLOAT16 || t == QONNX_BFLOAT16; }

/* The same elements in another real type. */
static const Tensor *convert(Arena *a, const Tensor *t, DType to)
{
    Tensor *y = arena_alloc(a, sizeof *y);
    int64_t count = tensor_count(t);
    *y = *t;
    y->dtype = to;
    y->bytes = (size_t)count * (size_t)dtype_size(to);
    void *data = arena_aligned(a, y->bytes);
    y->data = data;
    for (int64_t i = 0; i < count; i += F_CHUNK) {
        double v[F_CHUNK], piece[F_CHUNK]; /* what lies in a file may lie at any address */
        int32_t n = f_chunk(i, count);
        size_t size = (size_t)dtype_size(t->dtype);
        memcpy(piece, (const char *)t->data + (size_t)i * size, (size_t)n * size);
        arith_load_reals(v, t->dtype, piece, 0, 1, n);
        arith_store_reals(v, to, data, i, n);
    }
    return y;
}

static void set_data(Value *v, const Tensor *t)
{
    v->data = t;
    v->dtype = t->dtype;
    v->shape = shape_of(t);
    v->source = NULL;
    v->shared = false;
}

/* A value of that type and of the shape that `v` has. */
static Value *value_like(Value *v, const char *suffix, DType t)
{
    Graph *g = v->graph;
    Value *w = qonnx_graph_add_value(g, arena_printf(g->model->arena, "%s_%s", v->name, suffix));
    w->dtype = t;
    w->shape = v->shape;
    return w;
}

static void add_cast(Node *before, Value *from, Value *to)
{
    Graph *g = to->graph;
    Node *n =
        qonnx_graph_add_node(g, before, "Cast", "",
                             arena_printf(g->model->arena, "%s_Cast", to->name), &from, 1, &to, 1);
    qonnx_node_set_int(n, "to", to->dtype);
}

static bool is_cast_to(const Node *n, DType t)
{
    return n && qonnx_node_is(n, "Cast") && qonnx_node_int(n, "to", 0) == t;
}

/* A BitCast's operands are what they are: its input is rounded in front of it. */
static bool is_bitcast(const Node *n) { return n && qonnx_node_is(n, "BitCast"); }

static bool makes_narrow(const Node *n)
{
    return is_cast_to(n, QONNX_FLOAT16) || is_cast_to(n, QONNX_BFLOAT16) || is_bitcast(n);
}

/* Whether the node reads values in the type that they have. */
static bool reads_as_is(const Node *n) { return qonnx_node_is(n, "Cast") || is_bitcast(n); }

static void round_bits(Node *n)
{
    Value *v = is_bitcast(n) ? qonnx_node_input(n, 0) : NULL;
    if (!v || !is_narrow(v->dtype)) return;
    Value *w = value_like(v, "bits", v->dtype);
    qonnx_node_set_input(n, 0, w);
    add_cast(n, v, w);
}

/* ---- to float: nodes ------------------------------------------------------------------------- */

static uint32_t bit(int i) { return 1u << (i < 31 ? i : 31); }

/* The first such type among operands. */
static DType first_narrow(Value *const *values, int n)
{
    for (int i = 0; i < n; i++)
        if (values[i] && is_narrow(values[i]->dtype)) return values[i]->dtype;
    return QONNX_UNDEFINED;
}

static uint32_t wide_bits(Value *const *values, int n, DType t)
{
    uint32_t bits = 0;
    for (int i = 0; i < n; i++)
        if (values[i] && values[i]->dtype != t) bits |= bit(i);
    return bits;
}

/* Keeps in mind what a node computes in. A Cast is not narrowed: it is made where types meet. */
static void remember(Node *n)
{
    DType t = first_narrow(n->in, n->nin);
    if (!t) t = first_narrow(n->out, n->nout);
    if (!t || n->nsub || reads_as_is(n) || qonnx_node_is(n, "CastLike")) return;
    n->narrow = t;
    n->wide_in = wide_bits(n->in, n->nin, t);
    n->wide_out = wide_bits(n->out, n->nout, t);
}

/* What attributes say of types. Nodes that have some stay in float. */
static void widen_attrs(Node *n)
{
    static const char *const types[] = {"dtype", "output_dtype", "output_datatype", "stash_type",
                                        "softmax_precision"};
    Arena *a = n->graph->model->arena;
    bool any = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!is_narrow((DType)qonnx_node_int(n, types[i], 0))) continue;
        qonnx_node_set_int(n, types[i], QONNX_FLOAT);
        any = true;
    }
    for (int i = 0; i < n->nattr; i++) {
        Attr *attr = &n->attrs[i];
        if (attr->type != ATTR_TENSOR || !is_narrow(attr->tensor->dtype)) continue;
        attr->tensor = convert(a, attr->tensor, QONNX_FLOAT);
        attr->source = NULL;
        any = true;
    }
    if (any) n->narrow = QONNX_UNDEFINED;
}

/* From operator set 23 on a QuantizeLinear divides in the type of its scale. */
static void name_precision(Node *n)
{
    const Value *scale = qonnx_node_input(n, 1);
    if (qonnx_node_is(n, "QuantizeLinear") && scale && is_narrow(scale->dtype) &&
        qonnx_model_opset(n->graph) >= 23 && !qonnx_node_has(n, "precision"))
        qonnx_node_set_int(n, "precision", scale->dtype);
}

/* CastLike of such a type is a Cast to it. */
static void name_type(Node *n)
{
    const Value *like = qonnx_node_input(n, 1);
    if (!qonnx_node_is(n, "CastLike") || !like || !is_narrow(like->dtype)) return;
    DType t = like->dtype;
    qonnx_node_set_op(n, "Cast");
    qonnx_node_set_int(n, "to", t);
    qonnx_node_set_input(n, 1, NULL);
}

static void visit(Graph *g, void (*see)(Node *))
{
    for (Node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nsub; i++) visit(n->subs[i], see);
        see(n);
    }
}

/* ---- to float: values ------------------------------------------------------------------------ */

/* How often the model gives the value. */
static int outputs_of(const Value *v)
{
    const Graph *g = v->graph->model->main;
    int count = 0;
    for (int i = 0; v->output_count && i < g->noutput; i++) count += g->outputs[i] == v;
    return count;
}

/* Puts another value in the place of an output of a subgraph. */
static void set_output(Graph *g, int i, Value *with)
{
    g->outputs[i]->output_count--;
    g->outputs[i] = with;
    with->output_count++;
}

/* The same wherever a subgraph below `g` gives the value. */
static void replace_outputs(Graph *g, const Value *v, Value *with)
{
    for (Node *n = g->first; n; n = n->next)
        for (int s = 0; s < n->nsub; s++) {
            for (int i = 0; i < n->subs[s]->noutput; i++)
                if (n->subs[s]->outputs[i] == v) set_output(n->subs[s], i, with);
            replace_outputs(n->subs[s], v, with);
        }
}

/* Everybody takes `with` instead of the value, but for Casts of it and those who get it from the
 * model. */
static void replace(Value *v, Value *with)
{
    for (int u = 0; u < v->nuse;) { /* a use that is taken away makes room for another */
        Node *n = v->uses[u].node;
        if (reads_as_is(n)) u++;
        else qonnx_node_set_input(n, v->uses[u].input, with);
    }
    if (v->output_count > outputs_of(v)) replace_outputs(v->graph->model->main, v, with);
}

/* Whether Casts alone read the value, and nobody gets it from a subgraph. */
static bool only_cast(const Value *v)
{
    for (int i = 0; i < v->nuse; i++)
        if (!reads_as_is(v->uses[i].node)) return false;
    return v->output_count == outputs_of(v);
}

/* Everybody reads a Cast of the value to float; it is what it was. */
static void cast_behind(Value *v)
{
    if (only_cast(v)) return;
    Value *w = value_like(v, "float", QONNX_FLOAT);
    replace(v, w);
    add_cast(v->def ? v->def->next : v->graph->first, v, w);
}

/* An output of the model is a Cast of what its node computes. */
static void cast_in_front(Value *v)
{
    Node *n = v->def;
    int i = v->def_index;
    Value *w = value_like(v, "float", QONNX_FLOAT);
    replace(v, w);
    qonnx_node_set_output(n, i, w);
    add_cast(n->next, w, v);
}

/* Whether the value keeps its type, as one that the model takes or gives, or that was rounded. */
static bool is_kept(const Value *v)
{
    bool main = !v->graph->parent;
    return (main && v->input_count) || (v->data && outputs_of(v)) || makes_narrow(v->def);
}

static void widen_value(Value *v)
{
    if (!is_narrow(v->dtype)) return;
    if (is_kept(v)) {
        cast_behind(v);
    } else if (v->data) {
        set_data(v, convert(v->graph->model->arena, v->data, QONNX_FLOAT));
    } else if (v->def && outputs_of(v)) {
        cast_in_front(v);
    } else {
        v->dtype = QONNX_FLOAT;
        v->retyped = true;
    }
}

static void widen_values(Graph *g)
{
    int count = g->nvalue; /* new ones are as they are to be */
    for (Node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->nsub; i++) widen_values(n->subs[i]);
    for (int i = 0; i < count; i++) widen_value(g->values[i]);
}

static bool has_narrow(const Graph *g)
{
    for (; g; g = qonnx_graph_next(g))
        for (int i = 0; i < g->nvalue; i++)
            if (is_narrow(g->values[i]->dtype)) return true;
    return false;
}

void qonnx_graph_widen(Graph *g)
{
    if (!has_narrow(g)) return;
    visit(g, name_type);
    visit(g, round_bits);
    visit(g, name_precision);
    visit(g, remember);
    visit(g, widen_attrs);
    widen_values(g);
}

/* ---- back ------------------------------------------------------------------------------------ */

static bool is_quantizer(const Node *n)
{
    return n && (qonnx_node_is(n, "QuantizeLinear") || qonnx_node_is(n, "DequantizeLinear"));
}

/* Whether a runtime may run the node in integers: it has such a form, and a DequantizeLinear in
 * front of it or a QuantizeLinear behind. */
static bool in_integers(const Node *n)
{
    if (qonnx_node_rule(n).kind == QONNX_RULE_FLOAT) return false;
    for (int i = 0; i < n->nin; i++)
        if (n->in[i] && is_quantizer(n->in[i]->def)) return true;
    for (int i = 0; i < n->nout; i++)
        for (int k = 0; n->out[i] && k < n->out[i]->nuse; k++)
            if (is_quantizer(n->out[i]->uses[k].node)) return true;
    return false;
}

/* Node.mark: it is narrowed. */
static void choose(Node *n) { n->mark = n->narrow && !is_quantizer(n) && !in_integers(n); }

static void narrow_outputs(Node *n)
{
    for (int i = 0; n->mark && i < n->nout; i++) {
        Value *v = n->out[i];
        if (!v || n->wide_out & bit(i) || v->dtype != QONNX_FLOAT) continue;
        v->dtype = n->narrow;
        v->retyped = true;
    }
}

/* The type that a node wants input i in; QONNX_UNDEFINED: any. */
static DType wanted(const Node *n, int i)
{
    if (reads_as_is(n)) return QONNX_UNDEFINED;
    return n->mark && !(n->wide_in & bit(i)) ? n->narrow : QONNX_FLOAT;
}

static bool is_real(DType t) { return t == QONNX_FLOAT || is_narrow(t); }

static bool all_want(const Value *v, DType t)
{
    for (int i = 0; i < v->nuse; i++)
        if (wanted(v->uses[i].node, v->uses[i].input) != t) return false;
    return !v->output_count;
}

/* The Cast to that type that was put behind the value; NULL: there is none yet. */
static Value *find_cast(const Value *v, DType t)
{
    Node *behind = v->def ? v->def->next : v->graph->first;
    for (int k = 0; k < 3 && behind; k++, behind = behind->next)
        if (is_cast_to(behind, t) && behind->in[0] == v && !behind->out[0]->output_count)
            return behind->out[0];
    return NULL;
}

static const char *suffix_of(DType t)
{
    return t == QONNX_FLOAT ? "float" : t == QONNX_FLOAT16 ? "float16" : "bfloat16";
}

/* The value in that type: itself, what it was cast from, or a Cast of it. */
static Value *in_type(Value *v, DType t)
{
    if (v->dtype == t) return v;
    if (v->data && all_want(v, t)) {
        set_data(v, convert(v->graph->model->arena, v->data, t));
        return v;
    }
    Node *n = v->def;
    if (n && qonnx_node_is(n, "Cast") && n->in[0]->dtype == t && v->dtype == QONNX_FLOAT)
        return n->in[0];
    Value *w = find_cast(v, t);
    if (w) return w;
    w = value_like(v, suffix_of(t), t);
    add_cast(n ? n->next : v->graph->first, v, w);
    return w;
}

static void narrow_inputs(Node *n)
{
    for (int i = 0; i < n->nin; i++) {
        Value *v = n->in[i];
        DType t = wanted(n, i);
        if (v && t && is_real(v->dtype) && v->dtype != t) qonnx_node_set_input(n, i, in_type(v, t));
    }
    for (int s = 0; s < n->nsub; s++)
        for (int i = 0; i < n->subs[s]->noutput; i++) {
            Value *v = n->subs[s]->outputs[i];
            if (is_narrow(v->dtype)) set_output(n->subs[s], i, in_type(v, QONNX_FLOAT));
        }
}

/* A Cast to the type that its input has is none. */
static void drop_cast(Node *n)
{
    Value *from = qonnx_node_input(n, 0), *to = qonnx_node_output(n, 0);
    if (!qonnx_node_is(n, "Cast") || !from || !to || from->dtype != to->dtype ||
        !is_narrow(to->dtype))
        return;
    if (!to->output_count) {
        qonnx_value_replace_uses(to, from);
    } else if (from->def && from->graph == to->graph && !from->output_count) {
        Node *producer = from->def;
        int i = from->def_index;
        qonnx_node_remove(n);
        qonnx_value_replace_uses(from, to);
        qonnx_node_set_output(producer, i, to);
    }
}

static bool any_remembers(const Graph *g)
{
    for (; g; g = qonnx_graph_next(g))
        for (const Node *n = g->first; n; n = n->next)
            if (n->narrow) return true;
    return false;
}

static void drop_casts(Graph *g)
{
    for (Node *n = g->first, *next; n; n = next) {
        next = n->next;
        for (int i = 0; i < n->nsub; i++) drop_casts(n->subs[i]);
        drop_cast(n);
    }
}

void qonnx_graph_narrow(Graph *g)
{
    if (!any_remembers(g)) return;
    visit(g, choose);
    visit(g, narrow_outputs);
    visit(g, narrow_inputs);
    drop_casts(g);
    qonnx_graph_sweep(g);
}
