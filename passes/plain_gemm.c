/* passes/plain_gemm.c - a Gemm with a constant weight gets the form that runs in integers: factors
 * go into the constants, a C that is not one number a column into an Add behind it, and a turned A
 * into a Transpose in front.
 */
#include "names.h"
#include "quantizable.h"

static qonnx_value *new_value(qonnx_graph *g, const qonnx_value *of, const char *suffix)
{
    return qonnx_graph_add_value(g, name_join(g, qonnx_value_name(of), suffix));
}

/* The constant times a factor. */
static qonnx_value *scaled(qonnx_graph *g, const qonnx_value *v, float factor)
{
    qonnx_tensor t = *qonnx_value_constant(v);
    int64_t count = qonnx_tensor_elements(&t);
    float *x = qonnx_graph_array(g, (size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)qonnx_tensor_get(&t, i) * factor;
    t.data = x;
    return qonnx_graph_add_constant(g, name_join(g, qonnx_value_name(v), "_scaled"), &t);
}

/* The same of any value, computed in front of `before` where it is not constant. */
static qonnx_value *times(qonnx_node *before, qonnx_value *v, float factor)
{
    qonnx_graph *g = qonnx_node_graph(before);
    if (factor == 1) return v;
    if (qonnx_value_constant(v)) return scaled(g, v, factor);
    const qonnx_tensor t = {.dtype = QONNX_FLOAT, .data = &factor, .bytes = sizeof factor};
    const char *name = name_join(g, qonnx_value_name(v), "_factor");
    qonnx_value *in[2] = {v, qonnx_graph_add_constant(g, name, &t)};
    qonnx_value *y = new_value(g, v, "_scaled");
    qonnx_graph_add_node(g, before, "Mul", "", qonnx_value_name(y), in, 2, &y, 1);
    return y;
}

/* Puts an Add of C behind the Gemm. */
static void take_off_c(qonnx_node *n, float beta)
{
    qonnx_graph *g = qonnx_node_graph(n);
    qonnx_value *y = qonnx_node_output(n, 0), *product = new_value(g, y, "_product");
    qonnx_node *behind = qonnx_node_next(n);
    qonnx_value *c = qonnx_node_input(n, 2);
    qonnx_node_set_output(n, 0, product);
    qonnx_node_set_input(n, 2, NULL);
    qonnx_value *in[2] = {product, NULL};
    qonnx_node *add = qonnx_graph_add_node(g, behind, "Add", "",
                                           name_join(g, qonnx_value_name(y), "_Add"), in, 1, &y, 1);
    qonnx_node_set_input(add, 1, times(add, c, beta));
}

/* Puts a Transpose in front of A. */
static void turn_a(qonnx_node *n)
{
    static const int64_t perm[2] = {1, 0};
    qonnx_graph *g = qonnx_node_graph(n);
    qonnx_value *a = qonnx_node_input(n, 0), *turned = new_value(g, a, "_turned");
    qonnx_node *t =
        qonnx_graph_add_node(g, n, "Transpose", "", qonnx_value_name(turned), &a, 1, &turned, 1);
    qonnx_node_set_ints(t, "perm", perm, 2);
    qonnx_node_set_input(n, 0, turned);
}

static void make_plain(qonnx_node *n)
{
    qonnx_graph *g = qonnx_node_graph(n);
    const qonnx_rule rule = qonnx_node_rule(n);
    const float alpha = qonnx_node_float(n, "alpha", 1), beta = qonnx_node_float(n, "beta", 1);
    qonnx_value *c = qonnx_node_input(n, 2);
    if (c && !quantizable_bias(n, &rule, quantizable_channels(n, &rule))) take_off_c(n, beta);
    else if (c && beta != 1) qonnx_node_set_input(n, 2, scaled(g, c, beta));
    if (alpha != 1) qonnx_node_set_input(n, 1, scaled(g, qonnx_node_input(n, 1), alpha));
    if (qonnx_node_int(n, "transA", 0)) turn_a(n);
    qonnx_node_remove_attr(n, "alpha");
    qonnx_node_remove_attr(n, "beta");
    qonnx_node_remove_attr(n, "transA");
}

/* Whether it is a Gemm of floats with a constant weight. */
static bool is_weighted_gemm(const qonnx_node *n)
{
    if (!qonnx_node_is(n, "Gemm") || !qonnx_node_output(n, 0) || !qonnx_node_input(n, 0))
        return false;
    const qonnx_rule rule = qonnx_node_rule(n);
    const qonnx_tensor *w = quantizable_weight(n, &rule);
    return w && w->dtype == QONNX_FLOAT && w->rank == 2;
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx;
    (void)job;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n))
            if (is_weighted_gemm(n)) make_plain(n);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_plain_gemm = {
    .size = sizeof(qonnx_pass),
    .name = "plain-gemm",
    .brief = "takes factors, a computed C and a turned A off a Gemm, so that it runs in integers",
    .run = run,
};
