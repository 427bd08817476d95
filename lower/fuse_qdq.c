/* lower/fuse_qdq.c - finds the groups. Nothing is fused whose integer form would give other bytes
 * than ONNX Runtime's integer kernels give for the same group.
 */
#include "lower/quantized.h"
#include "lower/lower.h"
#include <math.h>
#include <string.h>

/* ---- reading Q and DQ ------------------------------------------------------------------------ */

static bool scalar_at(const Value *v, double *out)
{
    if (!v || !v->data || !v->data->data || tensor_count(v->data) != 1) return false;
    *out = qonnx_tensor_get(v->data, 0);
    return true;
}

/* Whether a zero point is left out, or constant zeros. */
static bool is_symmetric(const Value *zero)
{
    if (!zero) return true;
    for (int64_t i = 0; zero->data && i < tensor_count(zero->data); i++)
        if (qonnx_tensor_get(zero->data, i) != 0) return false;
    return zero->data != NULL;
}

static bool is_8bit(DType t) { return t == QONNX_UINT8 || t == QONNX_INT8; }

bool quant_read(const Value *scale, const Value *zero, QuantParams *p)
{
    double s, z = 0;
    if (!scalar_at(scale, &s) || scale->dtype != QONNX_FLOAT || !(s > 0) || isinf(s)) return false;
    if (zero && !scalar_at(zero, &z)) return false;
    *p = (QuantParams){(float)s, (int)z, zero ? zero->dtype : QONNX_UINT8};
    return is_8bit(p->dtype);
}

/* The DequantizeLinear that gives `n` the value, where it stands in the same graph: for others
 * ONNX Runtime does not look, and computes in float. NULL: none does. */
static const Node *dequantizer(const Node *n, const Value *v)
{
    const Node *d = v ? v->def : NULL;
    bool found = d && d->graph == n->graph && qonnx_node_is(d, "DequantizeLinear") && d->in[0];
    return found ? d : NULL;
}

/* The integers of an activation that the node reads behind a DequantizeLinear. */
static Value *dequantized(const Node *reader, const Value *v, QuantParams *p)
{
    const Node *n = dequantizer(reader, v);
    if (!n) return NULL;
    const Value *zero = qonnx_node_input(n, 2);
    if (!quant_read(n->in[1], zero, p)) return NULL;
    if (!zero) p->dtype = n->in[0]->dtype;
    return is_8bit(p->dtype) && n->in[0]->dtype == p->dtype ? n->in[0] : NULL;
}

/* The QuantizeLinear that alone reads `v`, when it is per tensor and 8 bits. */
static Node *quantizer(const Value *v, QuantParams *p)
{
    Node *n = v ? qonnx_value_only_user(v) : NULL;
    if (!n || n->graph != v->graph || !qonnx_node_is(n, "QuantizeLinear") || n->in[0] != v)
        return NULL;
    return quant_read(n->in[1], qonnx_node_input(n, 2), p) && n->out[0] ? n : NULL;
}

/* A constant int8 weight behind its DequantizeLinear: zero points 0, any number of scales */
static Value *weight_of(const Node *reader, const Value *v, int axis, QuantNode *q, Arena *a)
{
    const Node *n = dequantizer(reader, v);
    if (!n) return NULL;
    Value *w = n->in[0];
    const Tensor *s = n->in[1] ? n->in[1]->data : NULL;
    const Value *zero = qonnx_node_input(n, 2);
    if (!w->data || w->dtype != QONNX_INT8 || !s || s->dtype != QONNX_FLOAT || !s->data)
        return NULL;
    if (!is_symmetric(zero)) return NULL;
    int64_t count = tensor_count(s);
    int64_t at = qonnx_node_int(n, "axis", 1);
    if (at < 0) at += w->data->rank;
    if (count != 1 && (s->rank != 1 || at != axis || count != w->data->dims[axis])) return NULL;
    float *scales = arena_array(a, (size_t)count, sizeof *scales);
    for (int64_t i = 0; i < count; i++) {
        scales[i] = (float)qonnx_tensor_get(s, i);
        if (!(scales[i] > 0) || isinf(scales[i])) return NULL;
    }
    q->weight = scales;
    q->nweight = (int)count;
    return w;
}

/* Whether a bias is int32 and holds one number for each of the weight's outputs. */
static bool bias_fits(const Value *b, const Value *w, int axis)
{
    const Tensor *t = b->data;
    if (!t || t->dtype != QONNX_INT32 || t->rank < 1 || axis >= w->data->rank) return false;
    return t->dims[t->rank - 1] == w->data->dims[axis] && tensor_count(t) == w->data->dims[axis];
}

/* A constant int32 bias behind its DequantizeLinear. The integers are added to the accumulator as
 * they are, so their scale must be sx*sw: to 1e-4, for it was rounded when it was computed. */
static Value *bias_of(const Node *reader, const Value *v, const Value *w, int axis,
                      const QuantNode *q)
{
    const Node *n = dequantizer(reader, v);
    if (!n) return NULL;
    const Value *b = n->in[0], *scale = n->in[1], *zero = qonnx_node_input(n, 2);
    if (!bias_fits(b, w, axis) || !scale || !scale->data || scale->dtype != QONNX_FLOAT)
        return NULL;
    if (!is_symmetric(zero)) return NULL;
    int64_t count = tensor_count(scale->data);
    if (count != 1 && count != tensor_count(b->data)) return NULL;
    for (int64_t i = 0; i < (count > q->nweight ? count : q->nweight); i++) {
        double want = (double)q->in[0].scale * (double)q->weight[q->nweight > 1 ? i : 0];
        double is = qonnx_tensor_get(scale->data, count > 1 ? i : 0);
        if (!(fabs(is - want) <= 1e-4 * want)) return NULL;
    }
    return n->in[0];
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* A group that was found: operands of the quantized node, and the nodes it takes the place of. */
typedef struct Group {
    Node *node;     /* the operator */
    Node *act;      /* a Relu or Clip behind it, or NULL */
    Node *quantize; /* the QuantizeLinear behind that */
    Value **in;
    int nin;
    QuantNode *q;
} Group;

/* Finds what is behind the operator. */
static bool find_output(Group *g)
{
    g->q->lo = -INFINITY;
    g->q->hi = INFINITY;
    Value *y = g->node->out[0];
    if (g->node->nout != 1 || !y) return false;
    g->quantize = quantizer(y, &g->q->out);
    if (g->quantize) return true;
    Node *act = qonnx_value_only_user(y);
    if (!act || act->graph != g->node->graph || act->in[0] != y ||
        !activation_bounds(act, &g->q->lo, &g->q->hi))
        return false;
    g->act = act;
    return (g->quantize = quantizer(act->out[0], &g->q->out)) != NULL;
}

/* The first `count` inputs are dequantized activations. */
static bool find_activations(Group *g, int count)
{
    for (int i = 0; i < count; i++)
        if (!(g->in[i] = dequantized(g->node, g->node->in[i], &g->q->in[i]))) return false;
    g->nin = count;
    return true;
}

/* Whether a weight of that rank is one for the operator: channels are at axis 0 or 1. */
static bool has_rank(const Quantized *k, int rank)
{
    return k->weight_rank ? rank == k->weight_rank : rank > 1;
}

/* An activation, a constant weight, and perhaps a bias. */
static bool find_weighted(Group *g, Arena *a)
{
    const Node *n = g->node;
    const Quantized *k = n->row->quantized;
    int axis = k->weight_axis(n);
    g->in[0] = dequantized(n, n->in[0], &g->q->in[0]);
    g->in[1] = weight_of(n, n->in[1], axis, g->q, a);
    g->nin = 2;
    if (!g->in[0] || !g->in[1] || !has_rank(k, g->in[1]->data->rank)) return false;
    if (!qonnx_node_input(n, 2)) return true;
    g->nin = 3;
    return (g->in[2] = bias_of(n, n->in[2], g->in[1], axis, g->q)) != NULL;
}

static bool same_params(const QuantParams *a, const QuantParams *b)
{
    return a->scale == b->scale && a->zero == b->zero && a->dtype == b->dtype;
}

/* Whether the operands of the node make a group of the operator's form on integers. */
static bool find_operands(Group *g, Arena *a)
{
    const Quantized *k = g->node->row->quantized;
    if (k->weight_axis) return find_weighted(g, a);
    return find_activations(g, k->first_only ? 1 : g->node->nin);
}

/* Whether ONNX Runtime's bytes come out of that form. */
static bool has_form(const Quantized *k, const Node *n, QuantNode *q)
{
    return k->form ? k->form(n, q) : quantized_scales(q);
}

/* Whether the file was made for a runtime that computes int8 as such, as ONNX Runtime on ARM. */
static bool is_for_int8(const Graph *g)
{
    const char *name = qonnx_model_metadata(g, "qonnx.target");
    const qonnx_target *t = name ? qonnx_target_find(name) : NULL;
    return t && t->qlinear && t->activation.dtype == QONNX_INT8;
}

/* Puts the quantized node in the group's place. */
static void replace(const Group *g)
{
    Graph *graph = g->node->graph;
    Value *y = g->quantize->out[0];
    Node *q = qonnx_graph_add_node(graph, g->quantize, g->node->op, QUANTIZED_DOMAIN, "", g->in,
                                   g->nin, &y, 1);
    q->name = g->node->name;
    g->q->as_uint8 = g->in[0]->def && !qonnx_value_is_output(y) && !is_for_int8(graph);
    q->attrs = g->node->attrs;
    q->nattr = q->attr_cap = g->node->nattr;
    q->row = g->node->row;
    q->quant = g->q;
    qonnx_node_remove(g->quantize);
    if (g->act) qonnx_node_remove(g->act);
    qonnx_node_remove(g->node);
}

/* The type of Softmax that QLinearSoftmax is, and what QGemm has none of. */
static void fit_attributes(Node *n)
{
    if (!strcmp(n->op, "QLinearSoftmax"))
        qonnx_node_set_int(n, "opset", qonnx_model_opset(n->graph));
    qonnx_node_remove_attr(n, "beta"); /* of a Gemm, where it is 1 */
}

/* Puts the operator's QLinear form in the group's place; false where it has none that says the
 * same. */
static bool put_qlinear(const Group *g)
{
    Node *n = g->node;
    const QLinear *k = &n->row->quantized->qlinear;
    const bool weighted = n->row->quantized->weight_axis != NULL;
    const int count = weighted ? 2 : g->nin, end = k->first + 3 * count;
    Arena *a = n->graph->model->arena;
    Value **in = arena_array(a, (size_t)end + 3, sizeof *in);
    if (!k->op || g->act || (qonnx_node_has(n, "dilations") && !weighted)) return false;
    for (int i = 0; i < count; i++) {
        const Node *d = dequantizer(n, n->in[i]);
        for (int j = 0; j < 3; j++)
            if (!(in[k->first + 3 * i + j] = qonnx_node_input(d, j))) return false;
    }
    if (!(in[k->out + 1] = qonnx_node_input(g->quantize, 2))) return false;
    in[k->out] = g->quantize->in[1];
    if (k->bias) in[k->bias] = weighted && g->nin > 2 ? g->in[2] : NULL;
    int nin = end + 3;
    while (!in[nin - 1]) nin--;
    Value *y = g->quantize->out[0];
    Node *before = g->quantize->next;
    qonnx_node_remove(g->quantize);
    qonnx_node_remove(n);
    Node *q = qonnx_graph_add_node(n->graph, before, k->op, k->domain, n->name, in, nin, &y, 1);
    q->attrs = n->attrs;
    q->nattr = q->attr_cap = n->nattr;
    fit_attributes(q);
    return true;
}

/* Whether output i of data movement that reads integers of `in` can be integers: it is quantized as
 * they are, or not used. */
static bool moves_to(const Node *n, int i, const QuantParams *in)
{
    QuantParams out;
    if (!n->out[i] || (!n->out[i]->nuse && !n->out[i]->output_count)) return i > 0;
    return quantizer(n->out[i], &out) && same_params(in, &out);
}

/* What a Pad of integers puts around them where it put zeros: their zero point. */
static void pad_integers(Node *n, const QuantParams *p)
{
    if (!qonnx_node_is(n, "Pad") || strcmp(qonnx_node_string(n, "mode", "constant"), "constant"))
        return;
    uint8_t zero = (uint8_t)p->zero;
    Tensor t = {.dtype = p->dtype, .data = &zero, .bytes = 1};
    qonnx_node_set_input(n, 2, qonnx_graph_add_constant(n->graph, "zero_point", &t));
}

/* Data movement between equal parameters: the operator itself works on the integers. */
static bool move_integers(Node *n)
{
    QuantParams in, out;
    if (qonnx_node_rule(n).kind != QONNX_RULE_SAME || !n->nout) return false;
    Value *x = dequantized(n, n->in[0], &in);
    for (int i = 0; i < n->nout; i++)
        if (!x || !moves_to(n, i, &in)) return false;
    qonnx_node_set_input(n, 0, x);
    pad_integers(n, &in);
    for (int i = 0; i < n->nout; i++) {
        Node *q = n->out[i] ? quantizer(n->out[i], &out) : NULL;
        if (!q) continue;
        Value *y = q->out[0];
        qonnx_node_remove(q);
        qonnx_node_set_output(n, i, y);
    }
    return true;
}

/* ---- products whose operands are all inputs (ops/integers.c) --------------------------------- */

/* Integers, scale and zero point of input i. `weight`: it was found to be one, whose columns may
 * have scales of their own. */
static bool find_factor(const Node *n, int i, bool weight, Value *to[3])
{
    QuantParams p;
    const Shape *s = in_shape(n, i);
    const Node *d = dequantizer(n, n->in[i]);
    if (!d || (s && s->rank < 2) || !(weight || dequantized(n, n->in[i], &p))) return false;
    for (int k = 0; k < 3; k++) to[k] = qonnx_node_input(d, k);
    return true;
}

/* Puts that operator in the place of the node, and of the QuantizeLinear behind it, if any. */
static bool put_product(Node *n, Node *quantize, const char *op, const char *domain,
                        Value *const *in, int nin)
{
    Value *y = quantize ? quantize->out[0] : n->out[0];
    Node *before = quantize ? quantize->next : n->next;
    qonnx_node_remove(n);
    if (quantize) qonnx_node_remove(quantize);
    while (!in[nin - 1]) nin--;
    Node *p = qonnx_graph_add_node(n->graph, before, op, domain, "", in, nin, &y, 1);
    p->name = n->name;
    p->attrs = n->attrs;
    p->nattr = p->attr_cap = n->nattr;
    qonnx_node_remove_attr(p, "beta"); /* a Gemm's, which is 1; QGemm has none */
    return true;
}

/* A product that gives floats, for no QuantizeLinear is behind it, or one of two activations, as
 * constants with a zero point are. */
static bool fuse_product(const Group *g, bool weighted)
{
    Node *n = g->node;
    QuantParams out = {.scale = 1};
    Value *a[3], *b[3];
    Node *q = quantizer(n->out[0], &out);
    if (!n->row->quantized->gives_floats || !find_factor(n, 0, false, a) ||
        !find_factor(n, 1, weighted, b) || (q && weighted))
        return false;
    if (a[0]->dtype == QONNX_INT8 && b[0]->dtype != QONNX_INT8) return false;
    if ((q && !qonnx_node_input(q, 2)) || !a[2] || !b[2]) return false;
    g->q->out = out;
    if (qonnx_node_is(n, "Gemm")) {
        Value *in[7] = {a[0], a[1], a[2], b[0], b[1], b[2], g->nin > 2 ? g->in[2] : NULL};
        return weighted && !q && has_form(n->row->quantized, n, g->q) &&
               put_product(n, NULL, "QGemm", "com.microsoft", in, 7);
    }
    if (!q)
        return put_product(n, NULL, "MatMulIntegerToFloat", "com.microsoft",
                           (Value *[]){a[0], b[0], a[1], b[1], a[2], b[2]}, 6);
    float s = (float)qonnx_tensor_get(b[1]->data, 0);
    return out.dtype == a[0]->dtype && quantized_multiplies(g->q, g->q->in[0].scale * s) &&
           put_product(n, q, "QLinearMatMul", "",
                       (Value *[]){a[0], a[1], a[2], b[0], b[1], b[2], q->in[1],
                                   qonnx_node_input(q, 2)},
                       8);
}

/* `qlinear`: as operators that a file can have. */
static void fuse_node(Node *n, bool qlinear)
{
    Arena *a = n->graph->model->arena;
    if (move_integers(n) || !n->row || !n->row->quantized) return;
    const Quantized *k = n->row->quantized;
    Group g = {.node = n, .q = arena_alloc(a, sizeof(QuantNode))};
    g.in = arena_array(a, (size_t)n->nin + 1, sizeof *g.in);
    g.q->in = arena_array(a, (size_t)n->nin + 1, sizeof *g.q->in);
    bool quantized = find_output(&g), operands = find_operands(&g, a);
    bool fits = quantized && operands && (!g.act || k->clamps) && has_form(k, n, g.q);
    if (fits && qlinear && put_qlinear(&g)) return;
    if (fits && !qlinear) replace(&g);
    else if (!fits) fuse_product(&g, operands);
}

/* ---- QLinear operators ----------------------------------------------------------------------- */

/* The weight that stands as three inputs from `at`. */
static Value *qlinear_weight(const Quantized *k, const Node *n, int at, QuantNode *q, Arena *a)
{
    Value *w = qonnx_node_input(n, at);
    const Value *s = qonnx_node_input(n, at + 1), *z = qonnx_node_input(n, at + 2);
    if (!w || !w->data || w->dtype != QONNX_INT8 || !s || !s->data || s->dtype != QONNX_FLOAT)
        return NULL;
    if (!is_symmetric(z)) return NULL;
    if (!has_rank(k, w->data->rank)) return NULL;
    int64_t count = tensor_count(s->data);
    if (count != 1 && count != w->data->dims[k->weight_axis(n)]) return NULL;
    float *scales = arena_array(a, (size_t)count, sizeof *scales);
    for (int64_t i = 0; i < count; i++) scales[i] = (float)qonnx_tensor_get(s->data, i);
    q->weight = scales;
    q->nweight = (int)count;
    return w;
}

/* The operands of a QLinear form of the operator `op`. */
static bool qlinear_operands(const Op *op, Group *g, Arena *a)
{
    const Node *n = g->node;
    const QLinear *k = &op->quantized->qlinear;
    bool weighted = op->quantized->weight_axis != NULL;
    int count = weighted ? 1 : k->out < k->first ? (n->nin - k->first) / 3 : k->out / 3;
    for (int i = 0; i < count; i++) {
        int at = k->first + 3 * i;
        g->in[i] = qonnx_node_input(n, at);
        if (!g->in[i] ||
            !quant_read(qonnx_node_input(n, at + 1), qonnx_node_input(n, at + 2), &g->q->in[i]))
            return false;
    }
    g->nin = count;
    if (weighted && !(g->in[g->nin++] = qlinear_weight(op->quantized, n, 3, g->q, a))) return false;
    const Value *b = k->bias ? qonnx_node_input(n, k->bias) : NULL;
    if (b && !bias_fits(b, g->in[1], op->quantized->weight_axis(n))) return false;
    if (b) g->in[g->nin++] = n->in[k->bias];
    g->q->lo = -INFINITY;
    g->q->hi = INFINITY;
    return quant_read(qonnx_node_input(n, k->out), qonnx_node_input(n, k->out + 1), &g->q->out);
}

/* com.microsoft's average pools may be channels-last, which the ONNX operator cannot say. */
static bool convert_qlinear(Node *n)
{
    const Op *op = op_find_qlinear(n->domain, n->op);
    if (!op) return false;
    Arena *a = n->graph->model->arena;
    Group g = {.node = n, .q = arena_alloc(a, sizeof(QuantNode))};
    g.in = arena_array(a, (size_t)n->nin + 1, sizeof *g.in);
    g.q->in = arena_array(a, (size_t)n->nin + 1, sizeof *g.q->in);
    if (qonnx_node_int(n, "channels_last", 0) || !qlinear_operands(op, &g, a)) return false;
    if (!has_form(op->quantized, n, g.q)) return false;
    for (int j = n->nin - 1; j >= 0; j--) qonnx_node_set_input(n, j, NULL);
    for (int j = 0; j < g.nin; j++) qonnx_node_set_input(n, j, g.in[j]);
    n->op = op->name;
    n->domain = QUANTIZED_DOMAIN;
    n->row = op;
    n->quant = g.q;
    return true;
}

/* Takes out a Cast of integers to the type that they have, which PyTorch's exporter puts between
 * QuantizeLinear and DequantizeLinear. */
static bool drop_cast(Node *n)
{
    const Value *x = qonnx_node_input(n, 0);
    Value *y = qonnx_node_output(n, 0);
    if (!qonnx_node_is(n, "Cast") || !x || !y || !is_8bit(x->dtype) ||
        x->dtype != (DType)qonnx_node_int(n, "to", 0) || qonnx_value_is_output(y))
        return false;
    qonnx_value_replace_uses(y, n->in[0]);
    qonnx_node_remove(n);
    return true;
}

void fuse_qdq(Graph *g)
{
    for (Graph *s = g; s; s = qonnx_graph_next(s))
        for (Node *n = s->first, *next; n; n = next) {
            next = n->next;
            drop_cast(n);
        }
    for (Graph *s = g; s; s = qonnx_graph_next(s))
        for (Node *n = s->first, *next; n; n = next) {
            next = n->next;
            if (!convert_qlinear(n) && !qlinear_spread(n)) fuse_node(n, false);
        }
    qonnx_graph_sweep(g);
}

void qonnx_graph_gather_qlinear(Graph *g)
{
    for (Graph *s = g; s; s = qonnx_graph_next(s))
        for (Node *n = s->first, *next; n; n = next) {
            next = n->next;
            fuse_node(n, true);
        }
    qonnx_graph_sweep(g);
}
