/* cli/trained.c - see trained.h. */
#include "trained.h"
#include "progress.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST = 64,      /* first layers that are looked at */
    WAY = 16,       /* nodes between an input and its first layer */
    TOO_MUCH = 10,  /* values vary that many times as much as in training */
    TOO_LITTLE = 20 /* and that many times less */
};
static const double cut_share = 0.2; /* of the values, cut off by a Clip */

/* What is known of the values behind a first layer. */
typedef struct First {
    char *value;    /* whose statistics tell; behind the activation, where one follows */
    char *input;    /* of the model, that it is the first layer of */
    int channels;   /* of the BatchNormalization; 0: there is none */
    double expects; /* its sum of the variances of all channels in training */
    double top;     /* where a Clip cuts off; infinity: nowhere */
} First;

struct Trained {
    First first[MOST]; /* those found, in the order of the graph */
    int count;
};

/* ---- the model ------------------------------------------------------------------------------- */

/* What a node's input holds, where it is constant: of a Constant node, too, since no pass has run
 * yet. */
static const qonnx_tensor *constant_at(const qonnx_node *n, int input)
{
    const qonnx_value *v = qonnx_node_input(n, input);
    const qonnx_node *from = v ? qonnx_value_producer(v) : NULL;
    if (from && qonnx_node_is(from, "Constant")) return qonnx_node_tensor(from, "value");
    return v ? qonnx_value_constant(v) : NULL;
}

static bool has_weight(const qonnx_node *n)
{
    int weight = qonnx_node_rule(n).weight;
    return weight >= 0 && constant_at(n, weight);
}

/* The model's input that `v` comes of, with at most one layer with weights and one
 * BatchNormalization on the way; NULL: it lies deeper. */
static const qonnx_value *input_of(const qonnx_value *v)
{
    int layers = 0, norms = 0;
    for (int steps = 0; v && steps < WAY; steps++) {
        const qonnx_node *n = qonnx_value_producer(v);
        if (!n) return qonnx_value_is_input(v) && !qonnx_value_constant(v) ? v : NULL;
        layers += has_weight(n);
        norms += qonnx_node_is(n, "BatchNormalization");
        if (layers > 1 || norms > 1) return NULL;
        int i = 0;
        while (i < qonnx_node_inputs(n) && constant_at(n, i)) i++;
        v = qonnx_node_input(n, i);
    }
    return NULL;
}

/* The variance of a normal distribution of that mean and deviation; behind a Relu where it is `cut`
 * at 0. */
static double variance(double mean, double deviation, bool cut)
{
    if (!cut || deviation <= 0) return deviation * deviation;
    double z = mean / deviation, below = 0.5 * erfc(-z / sqrt(2));
    double density = exp(-z * z / 2) / sqrt(2 * M_PI);
    double first = mean * below + deviation * density;
    double second = (mean * mean + deviation * deviation) * below + mean * deviation * density;
    return fmax(second - first * first, 0);
}

/* Scale, bias, mean and variance of a BatchNormalization; false where they are none that training
 * left there. */
static bool norm_parameters(const qonnx_node *n, const qonnx_tensor *p[4])
{
    if (qonnx_node_int(n, "training_mode", 0)) return false;
    bool trained = false;
    for (int i = 0; i < 4; i++) {
        p[i] = constant_at(n, i + 1);
        if (!p[i] || p[i]->rank != 1 || p[i]->dims[0] != p[0]->dims[0]) return false;
    }
    for (int64_t c = 0; c < p[0]->dims[0]; c++)
        trained |= qonnx_tensor_get(p[2], c) != 0 || qonnx_tensor_get(p[3], c) != 1;
    return trained;
}

/* What a BatchNormalization gave in training: its scale is the deviation, its bias the mean. */
static bool expect(const qonnx_node *n, bool cut, First *f)
{
    const qonnx_tensor *p[4];
    if (!norm_parameters(n, p)) return false;
    f->channels = (int)p[0]->dims[0];
    for (int c = 0; c < f->channels; c++)
        f->expects += variance(qonnx_tensor_get(p[1], c), fabs(qonnx_tensor_get(p[0], c)), cut);
    return f->expects > 0 && isfinite(f->expects);
}

/* A Relu, or a Clip from 0 on, that is all that follows; NULL: there is none. */
static const qonnx_node *activation_of(const qonnx_value *v)
{
    const qonnx_node *n = qonnx_value_only_user(v);
    qonnx_rule rule = n ? qonnx_node_rule(n) : (qonnx_rule){.lo = 1};
    return rule.kind == QONNX_RULE_ACTIVATE && rule.lo == 0 ? n : NULL;
}

/* Looks at a layer with weights or a BatchNormalization. */
static void look_at(Trained *t, const qonnx_node *n)
{
    bool norm = qonnx_node_is(n, "BatchNormalization");
    const qonnx_value *out = qonnx_node_output(n, 0), *from = qonnx_node_input(n, 0), *input;
    if (t->count == MOST || !out || !from || !(norm || has_weight(n))) return;
    First f = {.top = INFINITY};
    const qonnx_node *activation = activation_of(out);
    if (activation) out = qonnx_node_output(activation, 0);
    if (activation) f.top = (double)qonnx_node_rule(activation).hi;
    bool known = (norm && expect(n, activation != NULL, &f)) || isfinite(f.top);
    if (!known || !out || !(input = input_of(qonnx_node_output(n, 0)))) return;
    f.value = needed(strdup(qonnx_value_name(out)));
    f.input = needed(strdup(qonnx_value_name(input)));
    t->first[t->count++] = f;
}

Trained *trained_read(const qonnx_graph *g)
{
    Trained *t = needed(calloc(1, sizeof *t));
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) look_at(t, n);
    return t;
}

void trained_free(Trained *t)
{
    for (int i = 0; t && i < t->count; i++) {
        free(t->first[i].value);
        free(t->first[i].input);
    }
    free(t);
}

/* ---- the samples ----------------------------------------------------------------------------- */

/* How many times as much as in training the values vary; 1 where that is not known. */
static double excess(const First *f, const qonnx_channels *ch)
{
    double sum = 0;
    if (!f->channels || !ch || ch->count != f->channels || !ch->values) return 1;
    for (int c = 0; c < ch->count; c++)
        sum += fmax(ch->mean_square[c] - ch->mean[c] * ch->mean[c], 0);
    return sqrt(sum / f->expects);
}

/* The share of the values that a Clip cut off. */
static double share_cut(const First *f, const qonnx_histogram *h)
{
    uint64_t cut = 0;
    for (int i = h->nbins; i-- && (double)h->bins[i].hi >= f->top;) cut += h->bins[i].count;
    return h->count ? (double)cut / (double)h->count : 0;
}

/* What is odd about the values behind a first layer; false: nothing is. */
static bool is_odd(const First *f, const qonnx_histogram *h, const qonnx_channels *c, char text[80])
{
    double times = excess(f, c), cut = share_cut(f, h);
    if (times == 0) snprintf(text, 80, "do not vary, as they did in training");
    else if (times > TOO_MUCH) snprintf(text, 80, "vary %.0f times more than in training", times);
    else if (times < 1.0 / TOO_LITTLE)
        snprintf(text, 80, "vary %.0f times less than in training", 1 / times);
    else if (cut > cut_share)
        snprintf(text, 80, "are cut off at %g for %.0f %%", f->top, 100 * cut);
    else return false;
    return true;
}

static bool warn_of(const First *f, const qonnx_stats *s)
{
    char odd[80], range[64] = "";
    int i = qonnx_stats_find(s, "", f->value), k = qonnx_stats_find(s, "", f->input);
    const qonnx_histogram *h = qonnx_stats_histogram(s, i), *in = qonnx_stats_histogram(s, k);
    if (!h || !h->count || !is_odd(f, h, qonnx_stats_channels(s, i), odd)) return false;
    if (in) snprintf(range, sizeof range, " has %g to %g, and", (double)in->min, (double)in->max);
    warn("input '%s'%s values behind its first layer ('%s') %s: the model was trained on others; "
         "prepare the samples as in training, pictures by --preset or --mean and the like ('qonnx "
         "presets')",
         f->input, *range ? range : ":", f->value, odd);
    return true;
}

void trained_warn(const Trained *t, const qonnx_stats *s)
{
    for (int i = 0; i < t->count; i++)
        if (warn_of(&t->first[i], s)) return;
}
