/* passes/insert_qdq.c - puts QuantizeLinear and DequantizeLinear around every operator that can run
 * in integers, as the target profile wants them, with ONNX Runtime's names for what it adds.
 */
#include "names.h"
#include "placement.h"

/* Integers, as a DequantizeLinear reads them. */
typedef struct Integers {
    qonnx_value *inputs[3]; /* of the DequantizeLinear: they, their scales and zero points */
    const char *base;       /* what its name begins with */
    int axis;               /* of the channels; -1: one scale for all */
    qonnx_dtype dtype;      /* theirs */
    const qonnx_kept *kept; /* a form that the target did not choose; NULL: it did */
} Integers;

/* A weight that was quantized, for other nodes that want the very same. */
typedef struct Weight {
    const qonnx_value *from; /* the float weight */
    qonnx_weight_params params;
    Integers integers;        /* in the graph of the float weight */
    const qonnx_graph *graph; /* whose nodes read `out`: a DequantizeLinear that lies in another
                                 graph than its reader is not found by runtimes */
    qonnx_value *out;         /* behind its DequantizeLinear */
} Weight;

typedef struct Insert {
    qonnx_ctx *cx;
    qonnx_graph *g;
    const qonnx_target *target;
    Placement placement;
    Weight *weights; /* room for one a site */
    int nweights;
} Insert;

/* ---- Relu and Clip --------------------------------------------------------------------------- */

static int output_index(const qonnx_node *n, const qonnx_value *v)
{
    int i = 0;
    while (qonnx_node_output(n, i) != v) i++;
    return i;
}

/* Lets the operator in front produce the activation's output. */
static void fold_activation(const Insert *in, Site *s)
{
    qonnx_value *v = qonnx_node_input(s->node, 0), *out = qonnx_node_output(s->node, 0);
    const Site *p = placement_site(&in->placement, qonnx_value_producer(v));
    qonnx_node_remove(s->node);
    qonnx_node_set_output(p->node, output_index(p->node, v), out);
    s->verdict = VERDICT_NEVER;
    s->quantized = false;
}

static void fold_activations(Insert *in)
{
    const Placement *p = &in->placement;
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        if (placement_folds(p, s)) fold_activation(in, s);
}

/* ---- constants and Q/DQ nodes ---------------------------------------------------------------- */

/* Scales and zero points: one (a scalar, axis < 0) or one per channel; all zero points alike. */
typedef struct Params {
    const float *scales;
    int count, axis;
    qonnx_dtype dtype;
    int zero_point;
} Params;

static qonnx_value *add_scales(const Insert *in, qonnx_graph *g, const char *base, const Params *p)
{
    qonnx_tensor t = {
        QONNX_FLOAT, p->axis >= 0, {p->count}, p->scales, (size_t)p->count * sizeof(float)};
    return qonnx_graph_add_constant(g, name_join(in->g, base, "_scale"), &t);
}

static qonnx_value *add_zero_points(const Insert *in, qonnx_graph *g, const char *base,
                                    const Params *p)
{
    size_t size = (size_t)qonnx_dtype_bits(p->dtype) / 8, bytes = (size_t)p->count * size;
    char *data = qonnx_graph_alloc(in->g, bytes);
    for (int i = 0; i < p->count; i++) memcpy(data + (size_t)i * size, &p->zero_point, size);
    qonnx_tensor t = {p->dtype, p->axis >= 0, {p->count}, data, bytes};
    return qonnx_graph_add_constant(g, name_join(in->g, base, "_zero_point"), &t);
}

/* A DequantizeLinear that gives `out`, in front of `before`; NULL: at the end. */
static void add_dequantize(const Insert *in, qonnx_graph *g, qonnx_node *before, const Integers *q,
                           qonnx_value *out)
{
    const char *name = name_join(in->g, q->base, "_DequantizeLinear");
    qonnx_node *n = qonnx_graph_add_node(g, before, "DequantizeLinear", qdq_domain(in->g, q->dtype),
                                         name, q->inputs, q->inputs[2] ? 3 : 2, &out, 1);
    if (q->axis >= 0) qonnx_node_set_int(n, "axis", q->axis);
    if (q->kept && q->kept->block) qonnx_node_set_int(n, "block_size", q->kept->block);
}

/* The same in the graph of `before`; returns the dequantized value, which is new. */
static qonnx_value *dequantize(const Insert *in, qonnx_node *before, const Integers *q)
{
    qonnx_graph *g = qonnx_node_graph(before);
    qonnx_value *out =
        qonnx_graph_add_value(g, name_join(in->g, q->base, "_DequantizeLinear_Output"));
    add_dequantize(in, g, before, q, out);
    return out;
}

/* Puts the quantized form of a constant into the graph. The names are those of ONNX Runtime's
 * quantizer: it calls the scale of a bias B_quantized_scale, all others T_scale. */
static Integers add_quantized(const Insert *in, qonnx_graph *g, const char *base,
                              const qonnx_tensor *t, const Params *p)
{
    const char *name = name_join(in->g, base, "_quantized");
    const char *params = t->dtype == QONNX_INT32 ? name : base;
    return (Integers){{qonnx_graph_add_constant(g, name, t), add_scales(in, g, params, p),
                       add_zero_points(in, g, params, p)},
                      base,
                      p->axis,
                      p->dtype,
                      NULL};
}

/* ---- weights and biases ---------------------------------------------------------------------- */

/* What was made of the weight with these parameters: for that graph, where there is such, else for
 * another. NULL: nothing. */
static const Weight *find_weight(const Insert *in, const qonnx_value *from,
                                 const qonnx_weight_params *p, const qonnx_graph *g)
{
    const Weight *found = NULL;
    for (const Weight *w = in->weights; w < in->weights + in->nweights; w++) {
        if (w->from != from || w->params.axis != p->axis || w->params.count != p->count ||
            memcmp(w->params.scales, p->scales, (size_t)p->count * sizeof(float)) != 0)
            continue;
        if (w->graph == g) return w;
        found = w;
    }
    return found;
}

static Integers quantized_weight(const Insert *in, const qonnx_value *from,
                                 const qonnx_weight_params *params)
{
    const qonnx_tensor *t = qonnx_value_constant(from);
    qonnx_tensor q = *t;
    q.dtype = in->target->weight.dtype;
    q.data = params->data;
    q.bytes = (size_t)qonnx_tensor_elements(t);
    Params p = {params->scales, params->count, params->axis, q.dtype, 0};
    return add_quantized(in, qonnx_value_graph(from), qonnx_value_name(from), &q, &p);
}

static void quantize_weight(Insert *in, const Site *s, const qonnx_weight_params *params)
{
    const qonnx_value *from = qonnx_node_input(s->node, s->rule.weight);
    const qonnx_graph *g = qonnx_node_graph(s->node);
    const Weight *same = find_weight(in, from, params, g);
    if (!same || same->graph != g) {
        Weight *w = &in->weights[in->nweights++];
        *w = (Weight){.from = from, .params = *params, .graph = g};
        w->integers = same ? same->integers : quantized_weight(in, from, params);
        w->out = dequantize(in, s->node, &w->integers);
        same = w;
    }
    qonnx_node_set_input(s->node, s->rule.weight, same->out);
}

/* The bias of a channel: of one that is int32 in the file all bits, which a float has not. */
static double exact_bias(const qonnx_value *v, const float *bias, int64_t channel)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    int64_t count = k && k->integers ? qonnx_tensor_elements(k->integers) : 0;
    if (channel >= count || k->dtype != QONNX_INT32 || k->zero_points || k->block)
        return (double)bias[channel];
    bool one = qonnx_tensor_elements(k->scales) == 1;
    return qonnx_tensor_get(k->integers, channel) *
           qonnx_tensor_get(k->scales, one ? 0 : channel);
}

/* The bias as int32 at scale sx * sw, both computed as ONNX Runtime's quantizer does. */
static void quantize_bias(const Insert *in, const Site *s, const float *bias, int64_t channels,
                          float input_scale, const qonnx_weight_params *w)
{
    const qonnx_value *from = qonnx_node_input(s->node, s->rule.bias);
    float *scales = qonnx_graph_array(in->g, (size_t)w->count, sizeof *scales);
    int32_t *data = qonnx_graph_array(in->g, (size_t)channels, sizeof *data);
    for (int i = 0; i < w->count; i++) scales[i] = input_scale * w->scales[i];
    for (int64_t i = 0; i < channels; i++) {
        double q = rint(exact_bias(from, bias, i) / (double)scales[w->count > 1 ? i : 0]);
        data[i] = (int32_t)fmin(fmax(q, INT32_MIN), INT32_MAX);
    }
    qonnx_tensor t = {QONNX_INT32, 1, {channels}, data, (size_t)channels * sizeof *data};
    Params p = {scales, w->count, w->axis >= 0 ? 0 : -1, QONNX_INT32, 0};
    const char *name = qonnx_value_name(from);
    Integers q = add_quantized(in, qonnx_node_graph(s->node), name, &t, &p);
    qonnx_node_set_input(s->node, s->rule.bias, dequantize(in, s->node, &q));
}

/* Quantizes the constant weight of a node, and its bias. */
static bool quantize_weighted(Insert *in, const Site *s)
{
    float input_scale;
    int zero_point;
    if (!quantizable_weight(s->node, &s->rule)) return true;
    if (!quantizable_params(qonnx_node_input(s->node, 0), in->target, &input_scale, &zero_point))
        return qonnx_fail(in->cx, s->node, "insert-qdq: the input lost its range");
    qonnx_weight_params params;
    int64_t channels = quantizable_channels(s->node, &s->rule);
    const float *bias =
        in->target->bias_int32 ? quantizable_bias(s->node, &s->rule, channels) : NULL;
    if (!qonnx_node_quantize_weight(s->node, &in->target->weight, !s->per_tensor, input_scale, bias,
                                    &params))
        return qonnx_fail(in->cx, s->node, "insert-qdq: the weight cannot be quantized");
    quantize_weight(in, s, &params);
    if (bias) quantize_bias(in, s, bias, channels, input_scale, &params);
    return true;
}

/* ---- activations ----------------------------------------------------------------------------- */

/* The uses of a value, copied, for they change while it is rewired. */
typedef struct Reader {
    qonnx_node *node;
    int input;
    bool integer; /* reads it as an activation, in integers */
} Reader;

static int list_readers(const Insert *in, const qonnx_value *v, Reader **out)
{
    int n = qonnx_value_uses(v), integers = 0;
    Reader *r = *out = qonnx_graph_array(in->g, (size_t)n, sizeof *r);
    for (int i = 0; i < n; i++, r++) {
        r->node = qonnx_value_use(v, i, &r->input);
        r->integer = placement_reads(&in->placement, r->node, r->input);
        integers += r->integer;
    }
    return integers;
}

/* Lets the integer readers in one graph, that of the first of them, read a DequantizeLinear in
 * front of `before`. */
static void read_integers(const Insert *in, qonnx_node *before, const Integers *q, Reader *readers,
                          int count)
{
    qonnx_value *out = dequantize(in, before, q);
    const qonnx_graph *g = qonnx_node_graph(before);
    for (Reader *r = readers; r < readers + count; r++) {
        if (!r->integer || qonnx_node_graph(r->node) != g) continue;
        qonnx_node_set_input(r->node, r->input, out);
        r->integer = false;
    }
}

static void quantize_constant(const Insert *in, qonnx_value *v, const Params *p, Reader *readers,
                              int count)
{
    const qonnx_tensor *t = qonnx_value_constant(v);
    int64_t n = qonnx_tensor_elements(t);
    size_t bytes = (size_t)n * (size_t)qonnx_dtype_bits(p->dtype) / 8;
    float *x = qonnx_graph_array(in->g, (size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)qonnx_tensor_get(t, i);
    void *data = qonnx_graph_alloc(in->g, bytes);
    qonnx_grid_quantize(quantizable_grid(v, in->target), x, n, p->scales[0], p->zero_point, data);
    qonnx_tensor q = *t;
    q.dtype = p->dtype;
    q.data = data;
    q.bytes = bytes;
    Integers all = add_quantized(in, qonnx_value_graph(v), qonnx_value_name(v), &q, p);
    for (int i = 0; i < count; i++)
        if (readers[i].integer) read_integers(in, readers[i].node, &all, readers + i, count - i);
}

/* Whether the node in front of a Q must be kept apart from it: a DQ is in front of it, too, or will
 * be. */
static bool is_in_danger(const Insert *in, const qonnx_node *n)
{
    const Site *s = placement_site(&in->placement, n);
    if (!s || s->quantized || !s->rule.apart || !in->target->qlinear) return false;
    const qonnx_node *front = qonnx_value_producer(qonnx_node_input(n, 0));
    const Site *from = placement_site(&in->placement, front);
    return front && (qonnx_node_is(front, "DequantizeLinear") || (from && from->quantized));
}

/* A copy of the value of a node that must be kept apart: behind a Concat of one input, which no
 * runtime takes out, so that none finds the node between DQ and Q. */
static qonnx_value *keep_apart(const Insert *in, qonnx_node *before, qonnx_value *v)
{
    qonnx_graph *g = qonnx_value_graph(v);
    qonnx_value *copy = qonnx_graph_add_value(g, name_join(in->g, qonnx_value_name(v), "_apart"));
    const char *name = name_join(in->g, qonnx_value_name(v), "_KeepApart");
    qonnx_node *n = qonnx_graph_add_node(g, before, "Concat", "", name, &v, 1, &copy, 1);
    qonnx_node_set_int(n, "axis", 0);
    return copy;
}

/* Puts a Q behind `v`, before `next`, which quantizes `from`. */
static Integers add_quantize(const Insert *in, qonnx_node *next, const qonnx_value *v,
                             qonnx_value *from, const Params *p)
{
    const char *name = qonnx_value_name(v);
    qonnx_graph *g = qonnx_value_graph(v);
    qonnx_value *inputs[3] = {from, add_scales(in, g, name, p), add_zero_points(in, g, name, p)};
    qonnx_value *out = qonnx_graph_add_value(g, name_join(in->g, name, "_QuantizeLinear_Output"));
    qonnx_graph_add_node(g, next, "QuantizeLinear", qdq_domain(in->g, p->dtype),
                         name_join(in->g, name, "_QuantizeLinear"), inputs, 3, &out, 1);
    return (Integers){{out, inputs[1], inputs[2]}, name, -1, p->dtype, NULL};
}

/* Puts Q and DQ behind a computed value or an input of its graph. Where the producer runs in
 * integers, or nobody read the value itself in the file, every reader reads the DQ, so that the
 * producer has the Q as its only reader; else only the integer operators do, and the others keep
 * the float. Those in subgraphs have a DQ there, where runtimes look for it. */
static void quantize_value(const Insert *in, qonnx_value *v, const Params *p, Reader *readers,
                           int count, bool integer_producer)
{
    const char *name = qonnx_value_name(v);
    qonnx_graph *g = qonnx_value_graph(v);
    qonnx_node *producer = qonnx_value_producer(v);
    qonnx_node *next = producer ? qonnx_node_next(producer) : qonnx_graph_first(g);
    qonnx_value *from = v, *to = v;
    if (integer_producer && qonnx_value_is_output(v)) {
        from = qonnx_graph_add_value(g, name_join(in->g, name, "_QuantizeLinear_Input"));
        qonnx_node_set_output(producer, output_index(producer, v), from);
    } else {
        to = qonnx_graph_add_value(g, name_join(in->g, name, "_DequantizeLinear_Output"));
        for (Reader *r = readers; r < readers + count; r++)
            if (integer_producer || (r->integer && qonnx_node_graph(r->node) == g))
                qonnx_node_set_input(r->node, r->input, to);
    }
    if (is_in_danger(in, producer)) from = keep_apart(in, next, v);
    Integers q = add_quantize(in, next, v, from, p);
    add_dequantize(in, g, next, &q, to);
    for (int i = 0; i < count; i++) {
        qonnx_graph *inner = qonnx_node_graph(readers[i].node);
        if (readers[i].integer && inner != g)
            read_integers(in, qonnx_graph_first(inner), &q, readers + i, count - i);
    }
}

/* Whether all that read the value must read its integers: its operator gives them, or it had
 * nothing else in the file. */
static bool is_read_as_integers(const Insert *in, const qonnx_value *v)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    const qonnx_node *n = qonnx_value_producer(v);
    const Site *s = placement_site(&in->placement, n);
    if (n && qonnx_node_is(n, "DequantizeLinear")) return false;
    return (k && k->always && !k->integers) ||
           (s && s->quantized && in->target->quantize_outputs &&
            !placement_gives_floats(&in->placement, s));
}

/* Whether the value comes out of integers with these parameters, or goes into such alone: the
 * model takes or gives integers. */
static bool has_integers(const qonnx_value *v, const Params *p)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    const qonnx_node *from = qonnx_value_producer(v), *to = quantizable_only_reader(v);
    if (!k || !k->scales || k->dtype != p->dtype) return false;
    return (from && qonnx_node_is(from, "DequantizeLinear")) ||
           (to && qonnx_node_is(to, "QuantizeLinear") &&
            qonnx_value_dtype(qonnx_node_output(to, 0)) == p->dtype);
}

static void quantize_activation(const Insert *in, qonnx_value *v)
{
    float scale;
    Reader *readers;
    Params p = {&scale, 1, -1, quantizable_grid(v, in->target)->dtype, 0};
    if (!quantizable_params(v, in->target, &scale, &p.zero_point) || has_integers(v, &p)) return;
    bool integer_producer = is_read_as_integers(in, v);
    int count = qonnx_value_uses(v), integers = list_readers(in, v, &readers);
    if (!integers && !integer_producer) return;
    if (qonnx_value_constant(v)) quantize_constant(in, v, &p, readers, count);
    else quantize_value(in, v, &p, readers, count, integer_producer);
}

/* ---- constants that keep the integers of the file -------------------------------------------- */

/* Puts back the DequantizeLinear of a constant that is not quantized as the target has it, for
 * whoever still reads the floats. */
static void put_back(const Insert *in, qonnx_value *v)
{
    const qonnx_kept *k = qonnx_value_kept(v);
    if (!k || !k->integers || !qonnx_value_uses(v)) return;
    qonnx_graph *g = qonnx_value_graph(v);
    const char *base = qonnx_value_name(v);
    bool one = qonnx_tensor_elements(k->scales) == 1;
    Integers q = {{qonnx_graph_add_constant(g, k->name, k->integers),
                   qonnx_graph_add_constant(g, name_join(in->g, base, "_scale"), k->scales)},
                  base,
                  one ? -1 : k->axis,
                  k->dtype,
                  k};
    if (k->zero_points)
        q.inputs[2] = qonnx_graph_add_constant(g, name_join(in->g, base, "_zero_point"),
                                               k->zero_points);
    qonnx_value_replace_uses(v, dequantize(in, qonnx_graph_first(g), &q));
}

/* ---- products that give floats --------------------------------------------------------------- */

/* Whether runtimes make one float Gemm of a product of fixed shape and the Add of a vector behind
 * it, before they look for integers. */
static bool is_taken_for_gemm(const qonnx_node *n)
{
    const qonnx_value *a = qonnx_node_input(n, 0);
    bool fixed = qonnx_node_is(n, "MatMul") && qonnx_value_rank(a) > 2;
    for (int i = 0; fixed && i < qonnx_value_rank(a); i++) fixed = qonnx_value_dim(a, i) >= 0;
    return fixed;
}

/* Makes a row of a vector that is added to such a product: the same numbers, but no bias of a Gemm.
 */
static void hide_bias(const Insert *in, const Site *s)
{
    qonnx_node *add = quantizable_only_reader(qonnx_node_output(s->node, 0));
    if (!is_taken_for_gemm(s->node) || !add || !qonnx_node_is(add, "Add")) return;
    for (int i = 0; i < 2; i++) {
        const qonnx_value *v = qonnx_node_input(add, i);
        const qonnx_tensor *t = qonnx_value_constant(v);
        if (!t || t->rank != 1) continue;
        qonnx_tensor row = *t;
        row.rank = 2;
        row.dims[1] = t->dims[0];
        row.dims[0] = 1;
        const char *name = name_join(in->g, qonnx_value_name(v), "_row");
        qonnx_node_set_input(add, i,
                             qonnx_graph_add_constant(qonnx_node_graph(add), name, &row));
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool insert_qdq(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Insert in = {.cx = cx, .g = g, .target = qonnx_job_target(job)};
    Placement *p = &in.placement;
    placement_make(p, g, job, true);
    placement_tell(cx, p);
    in.weights = qonnx_graph_array(g, (size_t)p->count, sizeof *in.weights);
    fold_activations(&in);
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        if (s->quantized && s->heavy && !quantize_weighted(&in, s)) return false;
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        if (placement_gives_floats(p, s)) hide_bias(&in, s);
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (int i = 0, n = qonnx_graph_values(s); i < n; i++)
            quantize_activation(&in, qonnx_graph_value(s, i));
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (int i = 0, n = qonnx_graph_values(s); i < n; i++)
            put_back(&in, qonnx_graph_value(s, i));
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_insert_qdq = {
    .size = sizeof(qonnx_pass),
    .name = "insert-qdq",
    .brief = "put QuantizeLinear/DequantizeLinear where the target runs integers",
    .run = insert_qdq,
};
