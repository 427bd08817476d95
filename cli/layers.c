/* cli/layers.c - see layers.h. The values that both models have become outputs of copies of them.
 */
#include "layers.h"
#include "calibrate.h"
#include "check.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 4, DEEPEST = 8 };

/* ---- the values that both have --------------------------------------------------------------- */

/* Whether a node computes it, in float. */
static bool is_made(const qonnx_value *v)
{
    return qonnx_value_producer(v) && qonnx_value_dtype(v) == QONNX_FLOAT;
}

/* What readers of the value see in the quantized model: behind Q and DQ, where it has them. */
static qonnx_value *seen(qonnx_value *v)
{
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *q = qonnx_value_use(v, i, &input);
        if (!qonnx_node_is(q, "QuantizeLinear") || input) continue;
        qonnx_value *integers = qonnx_node_output(q, 0);
        qonnx_node *dq = qonnx_value_uses(integers) ? qonnx_value_use(integers, 0, &input) : NULL;
        if (dq && qonnx_node_is(dq, "DequantizeLinear")) return qonnx_node_output(dq, 0);
    }
    return v;
}

/* Makes the values of the float model that the other has, too, outputs of both, in one order. */
static void share_outputs(qonnx_graph *model, qonnx_graph *made)
{
    for (int i = 0; i < qonnx_graph_values(model); i++) {
        qonnx_value *v = qonnx_graph_value(model, i);
        qonnx_value *other = qonnx_graph_find(made, qonnx_value_name(v));
        qonnx_value *as = other ? seen(other) : NULL;
        if (!as || !is_made(v) || !is_made(as) || qonnx_value_is_output(v) ||
            qonnx_value_is_output(as))
            continue;
        qonnx_graph_add_output(model, v);
        qonnx_graph_add_output(made, as);
    }
}

/* ---- who adds noise -------------------------------------------------------------------------- */

/* Noise by signal of a value that was compared; negative: it was not. */
static double noise_of(const Check *c, const char *name)
{
    for (int i = 0; i < c->outputs; i++)
        if (!strcmp(c->names[i], name))
            return likeness_known(&c->likeness[i]) && c->likeness[i].signal > 0
                       ? c->likeness[i].noise / c->likeness[i].signal
                       : -1;
    return -1;
}

/* The most that a node is given: of what was not compared, the most of what it was made from. */
static double noise_in(const Check *c, const qonnx_node *n, int depth)
{
    double most = 0;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        if (!v || qonnx_value_constant(v)) continue;
        double noise = noise_of(c, qonnx_value_name(v));
        const qonnx_node *from = qonnx_value_producer(v);
        if (noise < 0 && from && depth < DEEPEST) noise = noise_in(c, from, depth + 1);
        most = fmax(most, noise);
    }
    return most;
}

/* The node that is meant where `n` does: a Relu is of the convolution in front of it. */
static const qonnx_node *layer_of(const qonnx_node *n)
{
    bool follows = qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE && qonnx_node_input(n, 0);
    const qonnx_node *front = follows ? qonnx_value_producer(qonnx_node_input(n, 0)) : NULL;
    return front && *qonnx_node_name(front) ? front : n;
}

static double decibels(double noise) { return -10 * log10(fmax(noise, 1e-20)); }

/* Puts a layer among the worst. `added` has how much noise each of them adds. */
static void insert(Layer out[WORST_LAYERS], double added[WORST_LAYERS], int *count,
                   const qonnx_node *n, double before, double after)
{
    int at = *count;
    while (at > 0 && after - before > added[at - 1]) at--;
    if (at == WORST_LAYERS) return;
    if (*count == WORST_LAYERS) free(out[--*count].node);
    memmove(out + at + 1, out + at, (size_t)(*count - at) * sizeof *out);
    memmove(added + at + 1, added + at, (size_t)(*count - at) * sizeof *added);
    out[at] =
        (Layer){needed(strdup(qonnx_node_name(layer_of(n)))), decibels(before), decibels(after)};
    added[at] = after - before;
    ++*count;
}

static int find_worst(const Check *c, const qonnx_graph *model, Layer out[WORST_LAYERS])
{
    double added[WORST_LAYERS];
    int count = 0;
    for (const qonnx_node *n = qonnx_graph_first(model); n; n = qonnx_node_next(n)) {
        const qonnx_value *y = qonnx_node_outputs(n) ? qonnx_node_output(n, 0) : NULL;
        double after = y ? noise_of(c, qonnx_value_name(y)) : -1;
        if (after <= 0 || !*qonnx_node_name(n)) continue;
        double before = noise_in(c, n, 0);
        if (after > before) insert(out, added, &count, n, before, after);
    }
    return count;
}

int layers_worst(qonnx_ctx *cx, const Args *args, const char *path, const char *prefix,
                 const qonnx_graph *made, Layer out[WORST_LAYERS])
{
    const qonnx_pipeline_options o = {.target = args->target};
    Check c = {0};
    int count = 0;
    qonnx_graph *model = shaped_load(cx, args, path), *copy = NULL;
    if (model && qonnx_pipeline_run(cx, model, prefix, &o)) copy = shaped_copy(cx, made, args);
    if (copy) share_outputs(model, copy);
    if (copy && check_compare(cx, args, SAMPLES, model, copy, &c))
        count = find_worst(&c, model, out);
    check_free(&c);
    qonnx_graph_free(copy);
    qonnx_graph_free(model);
    return count;
}
