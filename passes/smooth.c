/* passes/smooth.c - SmoothQuant (Xiao, Lin, Seznec, Wu, Demouth and Han 2023): what leaves a
 * normalization has channels of very unlike ranges, and one scale for all. Channel j is divided by
 *
 *     s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)
 *
 * and row j of the weights that read it is multiplied by it, so that the products stay as they are.
 * Where nothing but these products reads the value, the division vanishes into the factors of the
 * normalization; else a Mul in float stands in front of the products. Samples show max|x_j|.
 */
#include "names.h"
#include "quantizable.h"
#include <qonnx/run.h>

/* One normalization and the products that read it. */
typedef struct Smoothing {
    qonnx_value *x; /* what it gives; channels are the last axis */
    int64_t channels;
    qonnx_value *factors; /* [channels] constants of it that nobody else reads */
    qonnx_value *offsets; /* NULL: it adds nothing */
    qonnx_node **readers; /* [count] products */
    int count;
    bool alone;     /* nobody else reads it */
    float *largest; /* [channels] max|x_j| */
} Smoothing;

typedef struct Watched {
    Smoothing *all;
    int count;
} Watched;

/* ---- finding --------------------------------------------------------------------------------- */

/* A constant of floats with one element per channel. */
static bool is_vector(const qonnx_value *v, int64_t channels)
{
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    return t && t->dtype == QONNX_FLOAT && t->rank >= 1 && t->dims[t->rank - 1] == channels &&
           qonnx_tensor_elements(t) == channels;
}

/* The operand of a Mul or an Add that is such a vector; the other one through *rest. */
static qonnx_value *vector_of(const qonnx_node *n, int64_t channels, qonnx_value **rest)
{
    for (int i = 0; i < 2; i++)
        if (is_vector(qonnx_node_input(n, i), channels)) {
            *rest = qonnx_node_input(n, !i);
            return qonnx_node_input(n, i);
        }
    return NULL;
}

/* Whether a node is a LayerNormalization over the last axis alone. */
static bool is_layer_norm(const qonnx_node *n, int rank)
{
    int64_t axis = qonnx_node_int(n, "axis", -1);
    return (qonnx_node_is(n, "LayerNormalization") ||
            qonnx_node_is(n, "SimplifiedLayerNormalization") ||
            qonnx_node_is(n, "RMSNormalization")) &&
           (axis == -1 || axis == rank - 1);
}

/* Whether the value is a normalization's, as one node, or as what exporters write: a quotient or a
 * product of two computed values, times factors, plus offsets. */
static bool find_norm(Smoothing *s)
{
    const qonnx_node *n = qonnx_value_producer(s->x);
    qonnx_value *rest = NULL;
    if (!n) return false;
    if (is_layer_norm(n, qonnx_value_rank(s->x))) {
        s->factors = qonnx_node_input(n, 1);
        s->offsets = qonnx_node_input(n, 2);
        return is_vector(s->factors, s->channels) &&
               (!s->offsets || is_vector(s->offsets, s->channels));
    }
    if (qonnx_node_is(n, "Add")) {
        s->offsets = vector_of(n, s->channels, &rest);
        n = s->offsets && rest && qonnx_value_uses(rest) == 1 ? qonnx_value_producer(rest) : NULL;
    }
    if (!n || !qonnx_node_is(n, "Mul")) return false;
    s->factors = vector_of(n, s->channels, &rest);
    const qonnx_node *normal = s->factors && rest ? qonnx_value_producer(rest) : NULL;
    return normal && (qonnx_node_is(normal, "Div") || qonnx_node_is(normal, "Mul")) &&
           !qonnx_value_constant(qonnx_node_input(normal, 0)) &&
           !qonnx_value_constant(qonnx_node_input(normal, 1));
}

/* Whether the node multiplies x, as its first operand, with a constant matrix of its own. */
static bool is_product(const qonnx_node *n, const Smoothing *s)
{
    const qonnx_value *v = qonnx_node_input(n, 1);
    const qonnx_tensor *w = v ? qonnx_value_constant(v) : NULL;
    const bool gemm = qonnx_node_is(n, "Gemm");
    if ((!gemm && !qonnx_node_is(n, "MatMul")) || !w || w->dtype != QONNX_FLOAT || w->rank != 2 ||
        qonnx_value_uses(v) != 1 || qonnx_value_is_output(v) || qonnx_node_input(n, 0) != s->x)
        return false;
    return !qonnx_node_int(n, "transA", 0) &&
           w->dims[gemm && qonnx_node_int(n, "transB", 0)] == s->channels;
}

static bool find_readers(qonnx_graph *g, Smoothing *s)
{
    int input;
    const int uses = qonnx_value_uses(s->x);
    s->readers = qonnx_graph_array(g, (size_t)uses + 1, sizeof *s->readers);
    for (int i = 0; i < uses; i++) {
        qonnx_node *n = qonnx_value_use(s->x, i, &input);
        if (input == 0 && qonnx_node_graph(n) == g && is_product(n, s)) s->readers[s->count++] = n;
    }
    const bool own =
        qonnx_value_only_user(s->factors) && (!s->offsets || qonnx_value_only_user(s->offsets));
    s->alone = own && s->count == uses && !qonnx_value_is_output(s->x);
    return s->count > 0;
}

static bool describe(qonnx_graph *g, qonnx_value *v, Smoothing *s)
{
    const int rank = qonnx_value_rank(v);
    *s = (Smoothing){.x = v, .channels = rank > 1 ? qonnx_value_dim(v, rank - 1) : -1};
    if (s->channels <= 0 || qonnx_value_dtype(v) != QONNX_FLOAT || !find_norm(s) ||
        !find_readers(g, s))
        return false;
    s->largest = qonnx_graph_array(g, (size_t)s->channels, sizeof *s->largest);
    return true;
}

/* ---- what samples show ----------------------------------------------------------------------- */

static bool on_sample(void *user, size_t sample, const qonnx_tensor *values)
{
    (void)sample;
    const Watched *w = user;
    for (int i = 0; i < w->count; i++) {
        Smoothing *s = &w->all[i];
        const float *x = values[i].data;
        const int64_t rows =
            values[i].dtype == QONNX_FLOAT ? qonnx_tensor_elements(&values[i]) / s->channels : 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < s->channels; c++, x++)
                if (isfinite(*x)) s->largest[c] = fmaxf(s->largest[c], fabsf(*x));
    }
    return true;
}

static bool watch(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job, Watched *w)
{
    const char **names = qonnx_graph_array(g, (size_t)w->count + 1, sizeof *names);
    for (int i = 0; i < w->count; i++) names[i] = qonnx_value_name(w->all[i].x);
    return !w->count || qonnx_watch(cx, g, names, w->count, qonnx_job_samples(job),
                                    qonnx_job_session_options(job), on_sample, w);
}

/* ---- the scales ------------------------------------------------------------------------------ */

/* Place of row j, column k of a product's matrix. */
static int64_t place(const qonnx_node *n, const qonnx_tensor *w, int64_t j, int64_t k)
{
    return qonnx_node_is(n, "Gemm") && qonnx_node_int(n, "transB", 0) ? k * w->dims[1] + j
                                                                      : j * w->dims[1] + k;
}

static int64_t columns(const qonnx_tensor *w, int64_t channels)
{
    return qonnx_tensor_elements(w) / channels;
}

/* What channel j is to be divided by; 1 where it is 0, or its weights are. */
static double scale_of(const Smoothing *s, int64_t j, double alpha)
{
    double most = 0;
    for (int i = 0; i < s->count; i++) {
        const qonnx_tensor *w = qonnx_value_constant(qonnx_node_input(s->readers[i], 1));
        for (int64_t k = 0; k < columns(w, s->channels); k++)
            most = fmax(most, fabs(qonnx_tensor_get(w, place(s->readers[i], w, j, k))));
    }
    const double x = (double)s->largest[j], scale = pow(x, alpha) / pow(most, 1 - alpha);
    return x > 0 && most > 0 && isfinite(scale) ? fmin(fmax(scale, 1e-4), 1e4) : 1;
}

static void scale_rows(qonnx_graph *g, const Smoothing *s, qonnx_node *n, const double *scale)
{
    qonnx_value *v = qonnx_node_input(n, 1);
    qonnx_tensor w = *qonnx_value_constant(v);
    float *data = qonnx_graph_array(g, (size_t)qonnx_tensor_elements(&w), sizeof *data);
    for (int64_t j = 0; j < s->channels; j++)
        for (int64_t k = 0; k < columns(&w, s->channels); k++) {
            const int64_t at = place(n, &w, j, k);
            data[at] = (float)(qonnx_tensor_get(&w, at) * scale[j]);
        }
    w.data = data;
    qonnx_value_set_constant(v, &w);
}

static void divide(qonnx_graph *g, qonnx_value *v, const double *scale)
{
    qonnx_tensor t = *qonnx_value_constant(v);
    const int64_t n = qonnx_tensor_elements(&t);
    float *data = qonnx_graph_array(g, (size_t)n, sizeof *data);
    for (int64_t i = 0; i < n; i++) data[i] = (float)(qonnx_tensor_get(&t, i) / scale[i]);
    t.data = data;
    qonnx_value_set_constant(v, &t);
}

/* Puts the division in front of the products. */
static void insert_mul(qonnx_graph *g, const Smoothing *s, const double *scale)
{
    const char *name = name_join(g, qonnx_value_name(s->x), "_smoothed");
    float *data = qonnx_graph_array(g, (size_t)s->channels, sizeof *data);
    for (int64_t j = 0; j < s->channels; j++) data[j] = (float)(1 / scale[j]);
    const qonnx_tensor t = {
        QONNX_FLOAT, 1, {s->channels}, data, (size_t)s->channels * sizeof *data};
    qonnx_value *y = qonnx_graph_add_value(g, name);
    qonnx_value *inputs[] = {s->x, qonnx_graph_add_constant(g, name_join(g, name, "_factors"), &t)};
    qonnx_node *mul = qonnx_graph_add_node(g, qonnx_node_next(qonnx_value_producer(s->x)), "Mul",
                                           "", name, inputs, 2, &y, 1);
    qonnx_node_keep_float(mul, true);
    for (int i = 0; i < s->count; i++) qonnx_node_set_input(s->readers[i], 0, y);
}

static void smooth_one(qonnx_graph *g, const Smoothing *s, double alpha)
{
    double *scale = qonnx_graph_array(g, (size_t)s->channels, sizeof *scale);
    for (int64_t j = 0; j < s->channels; j++) scale[j] = scale_of(s, j, alpha);
    for (int i = 0; i < s->count; i++) scale_rows(g, s, s->readers[i], scale);
    if (!s->alone) {
        insert_mul(g, s, scale);
        return;
    }
    divide(g, s->factors, scale);
    if (s->offsets) divide(g, s->offsets, scale);
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool smooth(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    const double alpha = qonnx_job_number(job, "alpha");
    if (!(alpha >= 0 && alpha <= 1))
        return qonnx_fail(cx, NULL, "option alpha is %g, want 0 to 1", alpha);
    const int values = qonnx_graph_values(g);
    Watched w = {qonnx_graph_array(g, (size_t)values + 1, sizeof(Smoothing)), 0};
    for (int i = 0; i < values; i++)
        if (describe(g, qonnx_graph_value(g, i), &w.all[w.count])) w.count++;
    if (!watch(cx, g, job, &w)) return false;
    for (int i = 0; i < w.count; i++) smooth_one(g, &w.all[i], alpha);
    return true;
}

static const qonnx_option options[] = {
    {"alpha", "0.8", "how much of the unlikeness goes into the weights, 0 to 1"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_smooth = {
    .size = sizeof(qonnx_pass),
    .name = "smooth",
    .brief = "what leaves a normalization gets channels alike; the weights take up the rest",
    .options = options,
    .run = smooth,
    .samples = true,
};
