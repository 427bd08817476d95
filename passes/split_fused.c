/* passes/split_fused.c - com.microsoft's FusedConv becomes the Conv, Add and activation that it was
 * made of, so that whatever knows a Conv (folding, quantizing) applies to it. What has a form that
 * nobody gave an activation stays.
 */
#include <qonnx/qonnx.h>

#include <stdio.h>
#include <string.h>

/* An activation: its parameters are attributes of those names, in order; Clip's are inputs. */
typedef struct Activation {
    const char *op;
    int params;
    const char *attributes[2];
} Activation;

static const Activation activations[] = {
    {"Relu", 0, {NULL}},
    {"Tanh", 0, {NULL}},
    {"Sigmoid", 0, {NULL}},
    {"LeakyRelu", 1, {"alpha"}},
    {"HardSigmoid", 2, {"alpha", "beta"}},
    {"Clip", 2, {NULL}},
};

/* Its activation, and the parameters; false where they are none. *act is NULL without one. */
static bool find_activation(const qonnx_node *n, const Activation **act, const float **params)
{
    const char *name = qonnx_node_string(n, "activation", "");
    int count = qonnx_node_floats(n, "activation_params", params);
    *act = NULL;
    if (!*name) return true;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].op, name)) *act = &activations[i];
    return *act && count >= (*act)->params;
}

/* A name for something that belongs to a node, in graph memory. */
static const char *derived_name(const qonnx_node *n, const char *suffix)
{
    const char *base = qonnx_value_name(qonnx_node_output(n, 0));
    size_t size = strlen(base) + strlen(suffix) + 2;
    char *name = qonnx_graph_alloc(qonnx_node_graph(n), size);
    snprintf(name, size, "%s_%s", base, suffix);
    return name;
}

static void copy_attributes(const qonnx_node *from, qonnx_node *to)
{
    static const char *const lists[] = {"dilations", "kernel_shape", "pads", "strides"};
    const int64_t *values;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        int count = qonnx_node_ints(from, lists[i], &values);
        if (count) qonnx_node_set_ints(to, lists[i], values, count);
    }
    const char *pad = qonnx_node_string(from, "auto_pad", "");
    if (*pad) qonnx_node_set_string(to, "auto_pad", pad);
    qonnx_node_set_int(to, "group", qonnx_node_int(from, "group", 1));
}

/* A node of ONNX in front of `n`, whose output is n's where it is the last, else a new value. */
static qonnx_node *put(qonnx_node *n, const char *op, qonnx_value *const *in, int count, bool last,
                       qonnx_value **out)
{
    qonnx_graph *g = qonnx_node_graph(n);
    const char *name = derived_name(n, op);
    *out = qonnx_graph_add_value(g, name);
    qonnx_node *made = qonnx_graph_add_node(g, n, op, "", name, in, count, out, 1);
    if (!last) return made;
    *out = qonnx_node_output(n, 0);
    qonnx_node_set_output(made, 0, *out);
    return made;
}

static qonnx_value *number(qonnx_node *n, const char *suffix, float x)
{
    const qonnx_tensor t = {.dtype = QONNX_FLOAT, .data = &x, .bytes = sizeof x};
    return qonnx_graph_add_constant(qonnx_node_graph(n), derived_name(n, suffix), &t);
}

/* The activation of `x`, the last node. */
static void put_activation(qonnx_node *n, const Activation *a, const float *params, qonnx_value *x)
{
    qonnx_value *in[3] = {x}, *y;
    bool clip = !strcmp(a->op, "Clip");
    if (clip) in[1] = number(n, "min", params[0]), in[2] = number(n, "max", params[1]);
    qonnx_node *made = put(n, a->op, in, clip ? 3 : 1, true, &y);
    for (int i = 0; i < a->params && !clip; i++)
        qonnx_node_set_float(made, a->attributes[i], params[i]);
}

static void split(qonnx_node *n)
{
    const Activation *a;
    const float *params;
    qonnx_value *in[3], *sum[2] = {NULL, qonnx_node_input(n, 3)}, *y;
    if (!qonnx_node_output(n, 0) || !find_activation(n, &a, &params)) return;
    for (int i = 0; i < 3; i++) in[i] = qonnx_node_input(n, i);
    if (!in[0] || !in[1]) return;
    qonnx_node *conv = put(n, "Conv", in, in[2] ? 3 : 2, !a && !sum[1], &y);
    copy_attributes(n, conv);
    sum[0] = y;
    if (sum[1]) put(n, "Add", sum, 2, !a, &y);
    if (a) put_activation(n, a, params, y);
    qonnx_node_remove(n);
}

static void split_graph(qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        if (!strcmp(qonnx_node_op(n), "FusedConv") &&
            !strcmp(qonnx_node_domain(n), "com.microsoft"))
            split(n);
    }
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx;
    (void)job;
    if (qonnx_model_opset(g) < 11) return true; /* Clip has its bounds as attributes there */
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) split_graph(s);
    return true;
}

const qonnx_pass pass_split_fused = {
    .size = sizeof(qonnx_pass),
    .name = "split-fused",
    .brief = "makes a FusedConv the Conv, Add and activation that it was made of",
    .run = run,
};
