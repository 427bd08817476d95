/* passes/quantize_weights.c - weights of operators that runtimes know in float only become int8
 * with one scale per output, behind a DequantizeLinear that gives the operator its floats.
 */
#include "names.h"
#include "stored.h"

/* Smaller ones are not worth a DequantizeLinear, nor what they lose: 12 kB. */
#define LEAST_ELEMENTS 4096

/* An operator, and which of its inputs are weights. */
typedef struct Weighted {
    const char *op;
    unsigned inputs; /* bit i: input i */
} Weighted;

static const Weighted operators[] = {
    {"ConvTranspose", 1u << 1},
    {"LSTM", 1u << 1 | 1u << 2},
    {"GRU", 1u << 1 | 1u << 2},
    {"RNN", 1u << 1 | 1u << 2},
};

static bool is_weight(const qonnx_node *n, int input)
{
    if (qonnx_node_kept_float(n)) return false;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (qonnx_node_is(n, operators[i].op)) return operators[i].inputs >> input & 1;
    return false;
}

/* The axis of the outputs, which is 1 of them all, groups and directions sharing scales. A
 * ConvTranspose of one output a group has its groups along axis 0. */
static int outputs_axis(const qonnx_node *n, const qonnx_tensor *w)
{
    return qonnx_node_is(n, "ConvTranspose") && w->dims[1] == 1 ? 0 : 1;
}

/* The axis of the outputs of a constant of floats that is nothing but a weight; -1: it is none. */
static int weight_axis(const qonnx_value *v)
{
    int axis = -1;
    const qonnx_tensor *w = qonnx_value_constant(v);
    if (!w || w->dtype != QONNX_FLOAT || w->rank < 3 ||
        qonnx_tensor_elements(w) < LEAST_ELEMENTS || qonnx_value_is_input(v) ||
        qonnx_value_is_output(v))
        return -1;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (!is_weight(n, input) || (i && outputs_axis(n, w) != axis)) return -1;
        axis = outputs_axis(n, w);
    }
    return axis;
}

/* Gives each reader a DequantizeLinear of its own: it may be in a subgraph. */
static void replace_weight(const Stored *s, int axis)
{
    qonnx_value *parts[3];
    stored_add(s, parts);
    while (qonnx_value_uses(s->value)) {
        int input;
        qonnx_node *n = qonnx_value_use(s->value, 0, &input);
        qonnx_graph *g = qonnx_node_graph(n);
        const char *name = name_join(g, qonnx_value_name(s->value), "_DequantizeLinear_Output");
        qonnx_value *w = qonnx_graph_add_value(g, name);
        stored_dequantize(g, n, parts, axis, w);
        qonnx_node_set_input(n, input, w);
    }
}

static bool quantize_weights(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (int i = 0, count = qonnx_graph_values(s); i < count; i++) {
            Stored w;
            qonnx_value *v = qonnx_graph_value(s, i);
            int axis = weight_axis(v);
            if (axis < 0) continue;
            stored_round(&w, v, axis);
            if (stored_keeps(cx, job, &w, "weight")) replace_weight(&w, axis);
        }
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_option options[] = {
    STORED_OPTION("a weight"),
    {NULL, NULL, NULL},
};

const qonnx_pass pass_quantize_weights = {
    .size = sizeof(qonnx_pass),
    .name = "quantize-weights",
    .brief = "weights of ConvTranspose, LSTM, GRU and RNN become int8, dequantized in front of it",
    .options = options,
    .run = quantize_weights,
};
