/* cli/layers.c - see layers.h. The values that both models have become outputs of copies of them.
 */
#include "layers.h"
#include "calibrate.h"
#include "compare.h"
#include "progress.h"
#include <qonnx/graph.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 4 };

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

/* A value of the float model, and its noise by signal. */
typedef struct Noise {
    const qonnx_value *value;
    double noise; /* of one that was not compared the most of what it was made from; negative: it
                     was not compared, and nobody has asked yet */
} Noise;

typedef struct Noises {
    Noise *of; /* [count] by the addresses of the values: to find them only */
    int count;
} Noises;

static int compare_noises(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Noise *)a)->value, y = (uintptr_t)((const Noise *)b)->value;
    return (x > y) - (x < y);
}

static Noise *noise_of(const Noises *all, const qonnx_value *v)
{
    const Noise key = {v, 0};
    return bsearch(&key, all->of, (size_t)all->count, sizeof key, compare_noises);
}

/* What was compared: the outputs of the model. */
static Noises noises_of(const Comparison *c, const qonnx_graph *model)
{
    Noises all = {.count = qonnx_graph_values(model)};
    all.of = needed(calloc((size_t)all.count + 1, sizeof *all.of));
    for (int i = 0; i < all.count; i++) all.of[i] = (Noise){qonnx_graph_value(model, i), -1};
    qsort(all.of, (size_t)all.count, sizeof *all.of, compare_noises);
    for (int i = 0; i < c->outputs; i++) {
        const Likeness *l = &c->likeness[i];
        Noise *n = noise_of(&all, qonnx_graph_output(model, i));
        if (likeness_known(l) && l->signal > 0) n->noise = l->noise / l->signal;
    }
    return all;
}

/* The most noise of what a node reads. */
static double noise_in(const Noises *all, const qonnx_node *n)
{
    double most = 0;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        const Noise *read = v ? noise_of(all, v) : NULL;
        if (read) most = fmax(most, read->noise);
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

static int find_worst(const Comparison *c, const qonnx_graph *model, Layer out[WORST_LAYERS])
{
    double added[WORST_LAYERS];
    int count = 0;
    Noises all = noises_of(c, model);
    for (const qonnx_node *n = qonnx_graph_first(model); n; n = qonnx_node_next(n)) {
        double before = noise_in(&all, n);
        for (int i = 0; i < qonnx_node_outputs(n); i++) {
            Noise *y = qonnx_node_output(n, i) ? noise_of(&all, qonnx_node_output(n, i)) : NULL;
            if (!y) continue;
            if (i == 0 && y->noise > before && *qonnx_node_name(n))
                insert(out, added, &count, n, before, y->noise);
            if (y->noise < 0) y->noise = before;
        }
    }
    free(all.of);
    return count;
}

int layers_worst(qonnx_ctx *cx, const Args *args, const char *path, const char *prefix,
                 const qonnx_graph *made, Layer out[WORST_LAYERS])
{
    const qonnx_pipeline_options o = {.target = args->target};
    Comparison c = {0};
    int count = 0;
    qonnx_graph *model = shaped_load(cx, args, path), *copy = NULL;
    if (model && qonnx_pipeline_run(cx, model, prefix, &o)) copy = shaped_copy(cx, made, args);
    if (copy) share_outputs(model, copy);
    if (copy && compare_graphs(cx, args, SAMPLES, model, copy, &c))
        count = find_worst(&c, model, out);
    comparison_free(&c);
    qonnx_graph_free(copy);
    qonnx_graph_free(model);
    return count;
}
