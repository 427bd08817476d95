/* plugins/import_qonnx_dialect.c - the pass import-qonnx-dialect: the nodes Quant and IntQuant of
 * the QONNX dialect (which Brevitas, QKeras and FINN write) become QuantizeLinear, Clip where they
 * have fewer than 8 bits, and DequantizeLinear; constants that they quantize become integers.
 *
 * What they mean is docs/qonnx-custom-ops/intquant_v1.md of fastmachinelearning/qonnx:
 *   y = (round(clamp(x / scale + zeropt)) - zeropt) * scale
 * ONNX adds the zero point behind the rounding, so an odd zero point moves ties to the other side.
 * Constants are rounded here, the dialect's way; of computed values that difference is told.
 */
#include <qonnx/pass.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { IN_X, IN_SCALE, IN_ZERO, IN_BITS, INPUTS };

/* What a node says, in ONNX's terms. */
typedef struct Quant {
    qonnx_dtype dtype;    /* QONNX_INT8 or QONNX_UINT8 */
    int lo, hi;           /* the integers that it uses */
    int axis;             /* of the channels; -1: one scale for all */
    int count;            /* scales, and zero points */
    const float *scales;  /* [count] */
    const uint8_t *zeros; /* [count], int8 or uint8 by dtype */
    int odd;              /* an odd zero point; 0: there is none */
} Quant;

static bool is_dialect(const qonnx_node *n)
{
    static const char *const domains[] = {"qonnx.custom_op.general", "onnx.brevitas",
                                          "finn.custom_op.general"};
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
        if (!strcmp(qonnx_node_domain(n), domains[i])) return true;
    return false;
}

/* ---- reading a node -------------------------------------------------------------------------- */

/* The constant that input i is; NULL after a failure. */
static const qonnx_tensor *constant(qonnx_ctx *cx, const qonnx_node *n, int i)
{
    static const char *const what[INPUTS] = {"data", "scale", "zero point", "bit width"};
    const qonnx_value *v = qonnx_node_input(n, i);
    const qonnx_tensor *t = v && !qonnx_value_is_input(v) ? qonnx_value_constant(v) : NULL;
    if (!t)
        qonnx_fail(cx, n, "its %s '%s' is no constant; only constant ones can be imported", what[i],
                   v ? qonnx_value_name(v) : "");
    else if (qonnx_dtype_bits(t->dtype) < 8 || qonnx_tensor_elements(t) < 1)
        qonnx_fail(cx, n, "its %s '%s' is %s of %lld elements, want numbers", what[i],
                   qonnx_value_name(v), qonnx_dtype_name(t->dtype),
                   (long long)qonnx_tensor_elements(t));
    else return t;
    return NULL;
}

/* Number of bits, signedness and narrowness: the integers that it uses. */
static bool read_integers(qonnx_ctx *cx, const qonnx_node *n, Quant *q)
{
    const qonnx_tensor *t = constant(cx, n, IN_BITS);
    if (!t) return false;
    double bits = qonnx_tensor_elements(t) == 1 ? qonnx_tensor_get(t, 0) : NAN;
    if (!(bits >= 2 && bits <= 8) || bits != (int)bits)
        return qonnx_fail(cx, n, "its bit width is %g, want one whole number from 2 to 8", bits);
    if (!qonnx_node_has(n, "narrow"))
        return qonnx_fail(cx, n,
                          "the attribute narrow is missing, and its default is 0 to some and 1 "
                          "to others; set it");
    const char *mode = qonnx_node_string(n, "rounding_mode", "ROUND");
    if (strcasecmp(mode, "ROUND") && strcasecmp(mode, "HALF_EVEN"))
        return qonnx_fail(cx, n, "its rounding mode is %.40s; QuantizeLinear has ROUND alone",
                          mode);
    bool narrow = qonnx_node_int(n, "narrow", 0);
    int levels = 1 << (int)bits;
    bool is_signed = qonnx_node_int(n, "signed", 1);
    q->dtype = is_signed ? QONNX_INT8 : QONNX_UINT8;
    q->lo = is_signed ? -levels / 2 + narrow : 0;
    q->hi = is_signed ? levels / 2 - 1 : levels - 1 - narrow;
    return true;
}

/* The rank of the node's data, inferred again where nodes before it were still unknown when the
 * pass began; -1 where it cannot be told. -2 after a failure. */
static int data_rank(qonnx_ctx *cx, const qonnx_node *n)
{
    const qonnx_value *x = qonnx_node_input(n, IN_X);
    if (qonnx_value_rank(x) >= 0) return qonnx_value_rank(x);
    qonnx_graph *g = qonnx_node_graph(n);
    while (qonnx_graph_parent(g)) g = qonnx_graph_parent(g);
    return qonnx_graph_refresh(cx, g) ? qonnx_value_rank(x) : -2;
}

/* Takes note of a scale's or zero point's shape: one element, or one a channel, as broadcasting
 * over the data has it. */
static bool read_axis(qonnx_ctx *cx, const qonnx_node *n, const qonnx_tensor *t, Quant *q)
{
    int64_t count = qonnx_tensor_elements(t);
    if (count == 1) return true;
    int rank = data_rank(cx, n), at = 0;
    if (rank == -2) return false;
    while (at < t->rank && t->dims[at] != count) at++;
    int axis = rank - t->rank + at;
    if (rank < 0 || at == t->rank || axis < 0)
        return qonnx_fail(cx, n,
                          "its scales or zero points (%lld) do not lie along one axis of its "
                          "data, whose rank is %d (-1: unknown)",
                          (long long)count, rank);
    int64_t size = qonnx_value_dim(qonnx_node_input(n, IN_X), axis);
    if ((size >= 0 && size != count) || count > INT32_MAX ||
        (q->axis >= 0 && (q->axis != axis || q->count != count)))
        return qonnx_fail(cx, n,
                          "its scales or zero points (%lld along axis %d) do not fit its data "
                          "or each other",
                          (long long)count, axis);
    q->axis = axis;
    q->count = (int)count;
    return true;
}

static bool read_scales(qonnx_ctx *cx, const qonnx_node *n, const qonnx_tensor *t, Quant *q)
{
    float *scales = qonnx_graph_array(qonnx_node_graph(n), (size_t)q->count, sizeof *scales);
    int64_t step = qonnx_tensor_elements(t) > 1;
    for (int i = 0; i < q->count; i++) {
        scales[i] = (float)qonnx_tensor_get(t, i * step);
        if (!(scales[i] > 0) || isinf(scales[i]))
            return qonnx_fail(cx, n, "a scale is %g, want a positive number", scales[i]);
    }
    q->scales = scales;
    return true;
}

static bool read_zeros(qonnx_ctx *cx, const qonnx_node *n, const qonnx_tensor *t, Quant *q)
{
    uint8_t *zeros = qonnx_graph_alloc(qonnx_node_graph(n), (size_t)q->count);
    int64_t step = qonnx_tensor_elements(t) > 1;
    int least = q->dtype == QONNX_INT8 ? INT8_MIN : 0, most = least + UINT8_MAX;
    for (int i = 0; i < q->count; i++) {
        double z = qonnx_tensor_get(t, i * step);
        if (!(z >= least && z <= most) || z != (int)z)
            return qonnx_fail(cx, n, "a zero point is %g, want a whole number from %d to %d", z,
                              least, most);
        zeros[i] = (uint8_t)(int)z;
        if (zeros[i] & 1) q->odd = (int)z;
    }
    q->zeros = zeros;
    return true;
}

static bool read_quant(qonnx_ctx *cx, const qonnx_node *n, Quant *q)
{
    *q = (Quant){.axis = -1, .count = 1};
    if (qonnx_node_inputs(n) != INPUTS || !qonnx_node_input(n, IN_X) || !qonnx_node_output(n, 0))
        return qonnx_fail(cx, n, "it has %d inputs, want data, scale, zero point and bit width",
                          qonnx_node_inputs(n));
    qonnx_dtype dtype = qonnx_value_dtype(qonnx_node_input(n, IN_X));
    if (dtype != QONNX_FLOAT && dtype != QONNX_UNDEFINED)
        return qonnx_fail(cx, n, "its data is %s, want float", qonnx_dtype_name(dtype));
    if (!read_integers(cx, n, q)) return false;
    const qonnx_tensor *scale = constant(cx, n, IN_SCALE), *zero = constant(cx, n, IN_ZERO);
    return scale && zero && read_axis(cx, n, scale, q) && read_axis(cx, n, zero, q) &&
           read_scales(cx, n, scale, q) && read_zeros(cx, n, zero, q);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A constant named BASE_SUFFIX. */
static qonnx_value *add_constant(qonnx_graph *g, const char *base, const char *suffix,
                                 const qonnx_tensor *t)
{
    size_t bytes = strlen(base) + strlen(suffix) + 2;
    char *name = qonnx_graph_alloc(g, bytes);
    snprintf(name, bytes, "%s_%s", base, suffix);
    return qonnx_graph_add_constant(g, name, t);
}

static qonnx_node *add_node(qonnx_graph *g, qonnx_node *before, const char *op,
                            qonnx_value *const inputs[3], qonnx_value *out, const char *base)
{
    size_t bytes = strlen(base) + strlen(op) + 2;
    char *name = qonnx_graph_alloc(g, bytes);
    snprintf(name, bytes, "%s_%s", base, op);
    return qonnx_graph_add_node(g, before, op, "", name, inputs, 3, &out, 1);
}

/* The integers of constant data, rounded as the dialect does, in float. NULL after a failure. */
static qonnx_value *add_integers(qonnx_ctx *cx, qonnx_graph *g, const qonnx_node *n, const Quant *q,
                                 const char *base)
{
    qonnx_tensor t = *qonnx_value_constant(qonnx_node_input(n, IN_X));
    int64_t count = qonnx_tensor_elements(&t), inner = 1;
    for (int i = q->axis + 1; i < t.rank; i++) inner *= t.dims[i];
    uint8_t *data = qonnx_graph_alloc(g, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        int c = q->axis < 0 ? 0 : (int)(i / inner % q->count);
        int zero = q->dtype == QONNX_INT8 ? (int8_t)q->zeros[c] : q->zeros[c];
        float x = (float)qonnx_tensor_get(&t, i), y = x / q->scales[c] + (float)zero;
        if (isnan(y)) return qonnx_fail(cx, n, "its constant data holds a NaN"), NULL;
        data[i] = (uint8_t)(int)rintf(fminf(fmaxf(y, (float)q->lo), (float)q->hi));
    }
    t.dtype = q->dtype;
    t.data = data;
    t.bytes = (size_t)count;
    return add_constant(g, base, "quantized", &t);
}

static qonnx_value *add_bound(qonnx_graph *g, const char *base, const char *suffix, const Quant *q,
                              int bound)
{
    uint8_t byte = (uint8_t)bound;
    return add_constant(g, base, suffix, &(qonnx_tensor){q->dtype, 0, {0}, &byte, 1});
}

/* QuantizeLinear, and Clip where not all of the type's integers are used. Returns the integers. */
static qonnx_value *add_quantize(qonnx_graph *g, qonnx_node *before, qonnx_value *const inputs[3],
                                 const Quant *q, const char *base)
{
    int least = q->dtype == QONNX_INT8 ? INT8_MIN : 0;
    qonnx_value *all = qonnx_graph_add_value(g, base);
    qonnx_node *quantize = add_node(g, before, "QuantizeLinear", inputs, all, base);
    if (q->axis >= 0) qonnx_node_set_int(quantize, "axis", q->axis);
    if (q->lo == least && q->hi == least + UINT8_MAX) return all;
    qonnx_value *clipped = qonnx_graph_add_value(g, base);
    qonnx_value *const bounds[3] = {all, add_bound(g, base, "min", q, q->lo),
                                    add_bound(g, base, "max", q, q->hi)};
    add_node(g, before, "Clip", bounds, clipped, base);
    return clipped;
}

/* Puts ONNX's nodes in the place of one of the dialect's. */
static bool import_node(qonnx_ctx *cx, qonnx_node *n)
{
    Quant q;
    qonnx_graph *g = qonnx_node_graph(n);
    if (strcmp(qonnx_node_op(n), "Quant") && strcmp(qonnx_node_op(n), "IntQuant"))
        return qonnx_fail(cx, n,
                          "ONNX has no form for it; of %s, Quant and IntQuant can be imported",
                          qonnx_node_domain(n));
    if (!read_quant(cx, n, &q)) return false;
    qonnx_value *x = qonnx_node_input(n, IN_X), *out = qonnx_node_output(n, 0);
    const char *base = qonnx_value_name(out);
    bool fixed = qonnx_value_constant(x) && !qonnx_value_is_input(x);
    if (q.odd && !fixed)
        qonnx_note(cx, n,
                   "its zero point %d is odd, so what lies halfway between two steps may come "
                   "out one step apart: the dialect adds it before rounding, ONNX behind",
                   q.odd);
    const qonnx_tensor scales = {
        QONNX_FLOAT, q.axis >= 0, {q.count}, q.scales, (size_t)q.count * sizeof *q.scales};
    const qonnx_tensor zeros = {q.dtype, q.axis >= 0, {q.count}, q.zeros, (size_t)q.count};
    qonnx_value *inputs[3] = {x, add_constant(g, base, "scale", &scales),
                              add_constant(g, base, "zero_point", &zeros)};
    inputs[0] = fixed ? add_integers(cx, g, n, &q, base) : add_quantize(g, n, inputs, &q, base);
    if (!inputs[0]) return false;
    qonnx_node *before = qonnx_node_next(n);
    qonnx_node_remove(n);
    qonnx_node *dequantize = add_node(g, before, "DequantizeLinear", inputs, out, base);
    if (q.axis >= 0) qonnx_node_set_int(dequantize, "axis", q.axis);
    return true;
}

static bool import_graph(qonnx_ctx *cx, qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        if (is_dialect(n) && !import_node(cx, n)) return false;
    }
    return true;
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)job;
    if (qonnx_model_opset(g) < 13)
        return qonnx_fail(cx, NULL,
                          "the model has operator set %lld, and scales per channel need 13; "
                          "run raise-opset first",
                          (long long)qonnx_model_opset(g));
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        if (!import_graph(cx, s)) return false;
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_pass import_qonnx_dialect = {
    .size = sizeof(qonnx_pass),
    .name = "import-qonnx-dialect",
    .brief = "Quant and IntQuant of the QONNX dialect to QuantizeLinear, DequantizeLinear",
    .run = run,
};

static const qonnx_pass *const passes[] = {&import_qonnx_dialect, NULL};

static const qonnx_plugin plugin = {
    .abi = QONNX_ABI,
    .name = "import-qonnx-dialect",
    .version = "1.0",
    .passes = passes,
};

const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi)
{
    return host_abi == QONNX_ABI ? &plugin : NULL;
}
