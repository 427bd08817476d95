/* cli/layers.c - see layers.h. The values that both models have become outputs of copies of them.
 */
#include "layers.h"
#include "calibrate.h"
#include "compare.h"
#include "nodes.h"
#include "progress.h"
#include "tensor.h"
#include <qonnx/graph.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 4 };

/* ---- the values that both have --------------------------------------------------------------- */

/* Whether a node computes it, in floating point. */
static bool is_made(const qonnx_value *v)
{
    return qonnx_value_producer(v) && is_real(qonnx_value_dtype(v));
}

/* A Q or DQ with the parameters of another one, on a value. */
static qonnx_node *put_like(const qonnx_node *like, const char *op, qonnx_value *x)
{
    static const char *const attributes[] = {"axis", "block_size", "saturate", "output_dtype",
                                             "precision"};
    const int shared = 2; /* the first ones, which Q and DQ have with one meaning */
    qonnx_value *in[] = {x, qonnx_node_input(like, 1), qonnx_node_input(like, 2)};
    qonnx_value *y = qonnx_graph_add_value(qonnx_node_graph(like), qonnx_value_name(x));
    qonnx_node *n = qonnx_graph_add_node(qonnx_node_graph(like), NULL, op, qonnx_node_domain(like),
                                         "", in, in[2] ? 3 : 2, &y, 1);
    int count = qonnx_node_is(like, op) ? (int)(sizeof attributes / sizeof *attributes) : shared;
    for (int i = 0; i < count; i++)
        if (qonnx_node_has(like, attributes[i]))
            qonnx_node_set_int(n, attributes[i], qonnx_node_int(like, attributes[i], 0));
    return n;
}

qonnx_value *layers_requantize(const Match *m, qonnx_value *v)
{
    const qonnx_node *q = put_like(m->q, "QuantizeLinear", v);
    return qonnx_node_output(put_like(m->dq, "DequantizeLinear", qonnx_node_output(q, 0)), 0);
}

/* Where readers of the value see it behind Q and DQ, these. Where they read the integers alone,
 * there is a DQ now. */
static void look_behind(Match *m)
{
    m->seen = m->made;
    for (int i = 0, input; i < qonnx_value_uses(m->made) && !m->dq; i++) {
        qonnx_node *q = qonnx_value_use(m->made, i, &input);
        if (!qonnx_node_is(q, "QuantizeLinear") || input) continue;
        m->q = m->q ? m->q : q;
        qonnx_value *integers = qonnx_node_output(q, 0);
        qonnx_node *dq = qonnx_value_uses(integers) ? qonnx_value_use(integers, 0, &input) : NULL;
        if (dq && qonnx_node_is(dq, "DequantizeLinear")) m->q = q, m->dq = dq;
    }
    if (m->q && !m->dq) m->dq = put_like(m->q, "DequantizeLinear", qonnx_node_output(m->q, 0));
    if (m->dq) m->seen = qonnx_node_output(m->dq, 0);
}

/* What a quantized model has of the name in front of Q and DQ; NULL: nothing. The name may be of
 * what is behind both, as that of an output is, or only the integers be there, as in a file of
 * QLinear operators. */
static qonnx_value *find_made(qonnx_graph *made, const char *name)
{
    static const char *const endings[] = {"", "_QuantizeLinear_Output", "_quantized"};
    qonnx_value *v = NULL;
    for (size_t i = 0; !v && i < sizeof endings / sizeof *endings; i++) {
        char *called = NULL;
        if (asprintf(&called, "%s%s", name, endings[i]) < 0) needed(NULL);
        v = qonnx_graph_find(made, called);
        free(called);
    }
    return v ? in_front_of_pair(v) : NULL;
}

bool layers_find(qonnx_graph *made, const char *name, Match *m)
{
    *m = (Match){.made = find_made(made, name)};
    if (m->made) look_behind(m);
    return m->made;
}

/* Whether both have one shape, as far as it is known. */
static bool shapes_agree(const qonnx_value *a, const qonnx_value *b)
{
    int rank = qonnx_value_rank(a);
    if (rank < 0 || qonnx_value_rank(b) < 0) return true;
    if (rank != qonnx_value_rank(b)) return false;
    for (int i = 0; i < rank; i++) {
        int64_t x = qonnx_value_dim(a, i), y = qonnx_value_dim(b, i);
        if (x >= 0 && y >= 0 && x != y) return false;
    }
    return true;
}

static int compare_findings(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const qonnx_finding *)a)->node;
    uintptr_t y = (uintptr_t)((const qonnx_finding *)b)->node;
    return (x > y) - (x < y);
}

/* All that is found, by the addresses of the nodes: to find them only. */
typedef struct Findings {
    qonnx_finding *of;
    int count;
} Findings;

static const qonnx_finding *finding_of(const Findings *f, const qonnx_node *n)
{
    const qonnx_finding key = {.node = n};
    return bsearch(&key, f->of, (size_t)f->count, sizeof key, compare_findings);
}

static Findings findings_of(qonnx_graph *g, const qonnx_target *target)
{
    Findings f;
    const qonnx_finding *all = qonnx_graph_lint(g, target, NULL, &f.count);
    f.of = qonnx_graph_array(g, (size_t)f.count + 1, sizeof *f.of);
    for (int i = 0; i < f.count; i++) f.of[i] = all[i];
    qsort(f.of, (size_t)f.count, sizeof *f.of, compare_findings);
    return f;
}

/* Whether what reads the value is computed together with what gives it: as a Relu with the
 * convolution in front, or a part of a norm with the next one. */
static bool is_within(const Findings *f, const Match *m)
{
    if (m->q || qonnx_value_is_output(m->made)) return false;
    bool inside = qonnx_node_rule(qonnx_value_producer(m->made)).inside;
    const qonnx_finding *maker_found = finding_of(f, qonnx_value_producer(m->made));
    bool integers = maker_found && maker_found->fate != QONNX_FATE_FLOAT;
    for (int i = 0; i < qonnx_value_uses(m->made); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(m->made, i, &input);
        const qonnx_finding *found = finding_of(f, n);
        bool follows = integers && found && found->fate == QONNX_FATE_FOLLOWS;
        if (follows || (inside && qonnx_node_rule(n).inside)) return true;
    }
    return false;
}

/* The node that is meant where `n` does: a Relu is of the convolution in front of it. */
static const qonnx_node *layer_of(const qonnx_node *n)
{
    bool follows = qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE && qonnx_node_input(n, 0);
    const qonnx_node *front = follows ? qonnx_value_producer(qonnx_node_input(n, 0)) : NULL;
    return front ? front : n;
}

/* The node of the quantized model that gives it: a Relu is of the convolution with which it runs in
 * integers. */
static const qonnx_node *made_by(const Findings *f, const Match *m)
{
    const qonnx_node *n = qonnx_value_producer(m->made);
    const qonnx_finding *found = finding_of(f, n), *front = finding_of(f, layer_of(n));
    bool follows = found && found->fate == QONNX_FATE_FOLLOWS;
    return follows && front && front->fate == QONNX_FATE_INTEGERS ? front->node : n;
}

const char *layers_label(const Match *m)
{
    const qonnx_node *n = qonnx_value_producer(m->value); /* whose values keep their names */
    if (*qonnx_node_name(m->node)) return qonnx_node_name(m->node);
    return qonnx_node_label(strcmp(qonnx_node_op(n), qonnx_node_op(m->node)) ? layer_of(n) : n);
}

static bool match(const Findings *f, const qonnx_graph *model, qonnx_graph *made, qonnx_value *v,
                  Match *m)
{
    if (!layers_find(made, qonnx_value_name(v), m) || !is_made(v) || !is_made(m->made) ||
        !shapes_agree(v, m->made))
        return false;
    m->value = v;
    if (is_within(f, m)) return false;
    const qonnx_node *n = made_by(f, m);
    m->found = finding_of(f, n);
    bool named = *qonnx_node_name(n);
    m->node =
        !named || node_called(model, qonnx_node_name(n)) ? n : layer_of(qonnx_value_producer(v));
    return true;
}

bool layers_match(qonnx_ctx *cx, const qonnx_graph *model, qonnx_graph *made,
                  const qonnx_target *target, Matches *out)
{
    *out = (Matches){needed(calloc((size_t)qonnx_graph_values(model) + 1, sizeof *out->of)), 0};
    qonnx_graph_spread_qlinear(made);
    if (!qonnx_graph_refresh(cx, made)) return false;
    const Findings f = findings_of(made, target);
    for (const qonnx_node *n = qonnx_graph_first(model); n; n = qonnx_node_next(n))
        for (int i = 0; i < qonnx_node_outputs(n); i++)
            if (qonnx_node_output(n, i))
                out->count += match(&f, model, made, qonnx_node_output(n, i), &out->of[out->count]);
    return true;
}

/* The place of a value among the outputs; -1: it is none. */
static int output_of(const qonnx_graph *g, const qonnx_value *v)
{
    for (int i = 0; qonnx_value_is_output(v) && i < qonnx_graph_outputs(g); i++)
        if (qonnx_graph_output(g, i) == v) return i;
    return -1;
}

void layers_give(qonnx_graph *model, qonnx_graph *made, Matches *m)
{
    int kept = 0;
    for (int i = 0; i < m->count; i++) {
        const Match *now = &m->of[i];
        if (output_of(model, now->value) != output_of(made, now->seen)) continue;
        qonnx_graph_add_output(model, now->value);
        qonnx_graph_add_output(made, now->seen);
        m->of[kept++] = *now;
    }
    m->count = kept;
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
        (Layer){needed(strdup(qonnx_node_label(layer_of(n)))), decibels(before), decibels(after)};
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
            if (i == 0 && y->noise > before) insert(out, added, &count, n, before, y->noise);
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
    Matches both = {NULL, 0};
    const qonnx_target *target = qonnx_target_find(args->target);
    bool good = copy && layers_match(cx, model, copy, target, &both);
    if (good) layers_give(model, copy, &both);
    if (good && compare_graphs(cx, args, SAMPLES, model, copy, NULL, &c))
        count = find_worst(&c, model, out);
    free(both.of);
    comparison_free(&c);
    qonnx_graph_free(copy);
    qonnx_graph_free(model);
    return count;
}
