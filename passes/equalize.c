/* passes/equalize.c - activation equalization (after Nagel, van Baalen, Blankevoort and Welling
 * 2019, section 4.1): one scale for all channels leaves few steps to those with small values. Where
 * nothing stands between two products but what commutes with a factor, channel c is divided by
 *
 *     s_c = max|x_c|^alpha / max|w_c|^(1 - alpha)
 *
 * by the weights of the first, and multiplied by it by those of the second; with alpha = 1 where
 * only depthwise convolutions read it, whose channels have scales of their own. x is what samples
 * show in place of the paper's range of the first weights. A Clip has one limit for all channels:
 * none of them may come to reach it that has not.
 */
#include "weight_view.h"
#include <qonnx/run.h>

enum {
    MOST_VALUES = 64, /* between the products */
    MOST_READERS = 16
};

/* A channel counts as no smaller than this part of the largest: what is hardly seen may grow. */
#define SMALLEST (1.0 / 64)
/* A channel that comes so near to the limit of a Clip is taken to reach it. */
#define NEAR 1.15

/* Where the channels of the first product are: in a value, `offset` channels behind its first. */
typedef struct Place {
    qonnx_value *v;
    int64_t offset;
} Place;

typedef struct Reader {
    qonnx_node *node;
    qonnx_rule rule;
    WeightView view;
    int64_t offset; /* of the channels among its inputs */
} Reader;

/* A product, and those that read what it gives. */
typedef struct Equalization {
    qonnx_node *node;
    qonnx_rule rule;
    WeightView view;
    int64_t channels;
    Place *places; /* [nplaces] all values between */
    int nplaces;
    Reader *readers; /* [nreaders] */
    int nreaders;
    double cap;      /* the least limit of a Clip; infinite: there is none */
    qonnx_value *x;  /* what is observed: the last value with these channels alone */
    double *most[2]; /* [channels] max|x_c| in even and odd samples */
} Equalization;

typedef struct Watched {
    Equalization *all;
    int count;
} Watched;

/* ---- finding --------------------------------------------------------------------------------- */

/* The channels' axis in a value that a product reads or gives. */
static int axis_of(const qonnx_node *n, const qonnx_value *v)
{
    return qonnx_node_is(n, "MatMul") ? qonnx_value_rank(v) - 1 : 1;
}

/* Whether the node is a product whose constants are its own. */
static bool is_own_product(const qonnx_node *n, qonnx_rule *rule, WeightView *view)
{
    *rule = qonnx_node_rule(n);
    const qonnx_value *w = rule->weight >= 0 ? qonnx_node_input(n, rule->weight) : NULL;
    const qonnx_value *b = rule->bias >= 0 ? qonnx_node_input(n, rule->bias) : NULL;
    const qonnx_tensor *t = w ? qonnx_value_constant(w) : NULL;
    if (!t || t->dtype != QONNX_FLOAT || qonnx_value_is_input(w) || qonnx_value_is_output(w) ||
        !qonnx_value_only_user(w) || !weight_view(n, rule, view))
        return false;
    if (!b) return true;
    t = qonnx_value_constant(b);
    return t && t->dtype == QONNX_FLOAT && t->rank == 1 && t->dims[0] == view->outputs &&
           qonnx_value_only_user(b) && !qonnx_value_is_input(b) && !qonnx_value_is_output(b);
}

static bool add_place(Equalization *e, qonnx_value *v, int64_t offset)
{
    if (!v || e->nplaces == MOST_VALUES || qonnx_value_is_output(v)) return false;
    e->places[e->nplaces++] = (Place){v, offset};
    return true;
}

/* Whether each channel is a factor times what it would be without it. */
static bool commutes(const qonnx_node *n)
{
    static const char *const ops[] = {"Relu",        "LeakyRelu",         "MaxPool",
                                      "AveragePool", "GlobalAveragePool", "GlobalMaxPool"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (qonnx_node_is(n, ops[i])) return !qonnx_node_output(n, 1);
    return false;
}

/* Whether it takes sizes of 1 behind the channels away. */
static bool flattens(const qonnx_node *n, const qonnx_value *v)
{
    const qonnx_value *y = qonnx_node_output(n, 0);
    if (!qonnx_node_is(n, "Flatten") && !qonnx_node_is(n, "Reshape") &&
        !qonnx_node_is(n, "Squeeze"))
        return false;
    for (int i = 2; i < qonnx_value_rank(v); i++)
        if (qonnx_value_dim(v, i) != 1) return false;
    return qonnx_value_rank(v) > 2 && qonnx_value_rank(y) == 2 && qonnx_value_dim(v, 1) > 0 &&
           qonnx_value_dim(y, 1) == qonnx_value_dim(v, 1);
}

/* A Clip from 0 to a limit. */
static bool clips(const qonnx_node *n, double *cap)
{
    const qonnx_value *lo = qonnx_node_input(n, 1), *hi = qonnx_node_input(n, 2);
    const qonnx_tensor *a = lo ? qonnx_value_constant(lo) : NULL;
    const qonnx_tensor *b = hi ? qonnx_value_constant(hi) : NULL;
    if (!qonnx_node_is(n, "Clip") || !a || qonnx_tensor_get(a, 0) != 0 || (hi && !b)) return false;
    *cap = b ? qonnx_tensor_get(b, 0) : INFINITY;
    return *cap > 0;
}

/* The channels in front of input `input` of a Concat along the channels; -1: it is none. */
static int64_t joined_in_front(const qonnx_node *n, int input)
{
    const qonnx_value *v = qonnx_node_input(n, input);
    const int rank = qonnx_value_rank(v);
    const int64_t axis = qonnx_node_int(n, "axis", 0);
    int64_t sum = 0;
    if (!qonnx_node_is(n, "Concat") || rank < 2 || (axis != 1 && axis + rank != 1)) return -1;
    for (int i = 0; i < input; i++) {
        const qonnx_value *other = qonnx_node_input(n, i);
        const int64_t dim = other ? qonnx_value_dim(other, 1) : -1;
        if (dim < 0) return -1;
        sum += dim;
    }
    return sum;
}

static bool add_reader(Equalization *e, qonnx_node *n, int input, Place at)
{
    Reader r = {.node = n, .offset = at.offset};
    if (input != 0 || e->nreaders == MOST_READERS || !is_own_product(n, &r.rule, &r.view) ||
        r.rule.weight != 1 || axis_of(n, at.v) != 1 || qonnx_node_int(n, "transA", 0) ||
        r.view.inputs * r.view.groups < at.offset + e->channels)
        return false;
    if (!e->x) e->x = at.v;
    e->readers[e->nreaders++] = r;
    return true;
}

/* Follows the channels through one reader of a value. False: a factor would be seen there. */
static bool follow(Equalization *e, Place at, qonnx_node *n, int input)
{
    double cap;
    qonnx_value *y = qonnx_node_output(n, 0);
    if (qonnx_node_graph(n) != qonnx_node_graph(e->node)) return false;
    if (input == 0 && (commutes(n) || flattens(n, at.v))) return add_place(e, y, at.offset);
    if (input == 0 && clips(n, &cap)) {
        e->cap = fmin(e->cap, cap);
        return add_place(e, y, at.offset);
    }
    const int64_t front = joined_in_front(n, input);
    if (front < 0) return add_reader(e, n, input, at);
    if (!e->x) e->x = at.v;
    return add_place(e, y, at.offset + front);
}

static bool describe(qonnx_graph *g, qonnx_node *n, Equalization *e)
{
    *e = (Equalization){.node = n, .cap = INFINITY};
    if (!is_own_product(n, &e->rule, &e->view) || e->rule.weight != 1) return false;
    e->channels = e->view.outputs;
    e->places = qonnx_graph_array(g, MOST_VALUES, sizeof *e->places);
    e->readers = qonnx_graph_array(g, MOST_READERS, sizeof *e->readers);
    if (!add_place(e, qonnx_node_output(n, 0), 0) || axis_of(n, e->places[0].v) != 1) return false;
    for (int i = 0; i < e->nplaces; i++) {
        const Place at = e->places[i];
        for (int k = 0; k < qonnx_value_uses(at.v); k++) {
            int input;
            qonnx_node *user = qonnx_value_use(at.v, k, &input);
            if (!follow(e, at, user, input)) return false;
        }
    }
    for (int i = 0; i < 2; i++)
        e->most[i] = qonnx_graph_array(g, (size_t)e->channels, sizeof **e->most);
    return e->nreaders > 0 && e->x && qonnx_value_dim(e->x, 1) == e->channels;
}

/* ---- what samples show ----------------------------------------------------------------------- */

static void add_tensor(const Equalization *e, const qonnx_tensor *x, double *most)
{
    if (x->dtype != QONNX_FLOAT || x->rank < 2 || x->dims[1] != e->channels) return;
    const int64_t all = qonnx_tensor_elements(x), rows = x->dims[0] * e->channels;
    const float *at = x->data;
    for (int64_t r = 0; r < rows; r++) {
        float largest = 0;
        for (int64_t i = 0; i < all / rows; i++, at++)
            if (isfinite(*at)) largest = fmaxf(largest, fabsf(*at));
        most[r % e->channels] = fmax(most[r % e->channels], (double)largest);
    }
}

static bool on_sample(void *user, size_t sample, const qonnx_tensor *values)
{
    const Watched *w = user;
    for (int i = 0; i < w->count; i++)
        add_tensor(&w->all[i], &values[i], w->all[i].most[sample % 2]);
    return true;
}

static bool watch(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job, Watched *w)
{
    const char **names = qonnx_graph_array(g, (size_t)w->count + 1, sizeof *names);
    for (int i = 0; i < w->count; i++) names[i] = qonnx_value_name(w->all[i].x);
    return !w->count || qonnx_watch(cx, g, names, w->count, qonnx_job_samples(job),
                                    qonnx_job_session_options(job), on_sample, w);
}

/* ---- the factors ----------------------------------------------------------------------------- */

/* Calls for each element of a reader's weight that meets one of the channels. */
static void each_weight(const Equalization *e, const Reader *r,
                        void (*visit)(double *channel, float *w), float *data, double *channels)
{
    const WeightView *v = &r->view;
    const int64_t per_group = v->outputs / v->groups;
    for (int64_t o = 0; o < v->outputs; o++)
        for (int64_t i = 0; i < v->inputs; i++) {
            const int64_t c = o / per_group * v->inputs + i - r->offset;
            float *at = data + o * v->output_step + i * v->input_step;
            for (int64_t k = 0; c >= 0 && c < e->channels && k < v->window; k++)
                visit(&channels[c], at + k);
        }
}

static void see_largest(double *channel, float *w) { *channel = fmax(*channel, fabs((double)*w)); }
static void multiply(double *channel, float *w) { *w = (float)((double)*w * *channel); }

/* A copy of the elements of a constant that the node reads, in the graph's memory. */
static float *copy_of(const qonnx_node *n, int input)
{
    const qonnx_tensor *t = qonnx_value_constant(qonnx_node_input(n, input));
    return memcpy(qonnx_graph_alloc(qonnx_node_graph(n), t->bytes), t->data, t->bytes);
}

/* Makes such a copy, which has been changed, the constant. */
static void put_back(const qonnx_node *n, int input, float *data)
{
    qonnx_value *v = qonnx_node_input(n, input);
    qonnx_tensor t = *qonnx_value_constant(v);
    t.data = data;
    qonnx_value_set_constant(v, &t);
}

static bool only_depthwise(const Equalization *e)
{
    bool all = true;
    for (int i = 0; i < e->nreaders; i++)
        all &= e->readers[i].view.inputs == 1 && e->readers[i].view.groups > 1;
    return all;
}

/* The limits that a Clip sets to the factor of a channel that was seen to reach `most`: it must not
 * come to reach the limit, if more than so much was not to be foreseen. */
static double limited(const Equalization *e, double s, int64_t c, double margin)
{
    const double a = e->most[0][c], b = e->most[1][c], most = fmax(a, b);
    if (most * NEAR >= e->cap) return 1;
    if (most > sqrt(margin) * fmin(a, b)) return 1; /* half of the samples hardly knew of it */
    return fmin(fmax(s, fmin(margin * most, e->cap) / e->cap), 1);
}

/* Sets factors[c] for all channels; `weights` has max|w_c|. False: nothing was seen. */
static bool find_factors(const Equalization *e, double alpha, double margin, const double *weights,
                         double *factors)
{
    double largest = 0, after = 0;
    if (only_depthwise(e)) alpha = 1;
    for (int64_t c = 0; c < e->channels; c++)
        largest = fmax(largest, fmax(e->most[0][c], e->most[1][c]));
    for (int64_t c = 0; c < e->channels; c++) {
        const double x = fmax(fmax(e->most[0][c], e->most[1][c]), largest * SMALLEST);
        const double s = pow(x, alpha) / pow(weights[c], 1 - alpha);
        factors[c] = weights[c] > 0 && isfinite(s) && s > 0 ? s : 0;
        if (factors[c] > 0) after = fmax(after, x / factors[c]);
    }
    for (int64_t c = 0; c < e->channels; c++) { /* so that the largest value stays as it is */
        const double s = factors[c] > 0 ? factors[c] * after / largest : 1;
        factors[c] = isfinite(e->cap) ? limited(e, s, c, margin) : s;
    }
    return largest > 0 && after > 0;
}

/* Divides the rows of the first product. */
static void divide(const Equalization *e, const double *factors)
{
    const WeightView *v = &e->view;
    const int bias = e->rule.bias;
    float *w = copy_of(e->node, e->rule.weight);
    for (int64_t c = 0; c < e->channels; c++)
        for (int64_t i = 0; i < v->inputs; i++)
            for (int64_t k = 0; k < v->window; k++) {
                float *at = w + c * v->output_step + i * v->input_step + k;
                *at = (float)((double)*at / factors[c]);
            }
    put_back(e->node, e->rule.weight, w);
    if (bias < 0 || !qonnx_node_input(e->node, bias)) return;
    float *b = copy_of(e->node, bias);
    for (int64_t c = 0; c < e->channels; c++) b[c] = (float)((double)b[c] / factors[c]);
    put_back(e->node, bias, b);
}

static void equalize_one(qonnx_graph *g, const Equalization *e, double alpha, double margin)
{
    double *weights = qonnx_graph_array(g, (size_t)e->channels, sizeof *weights);
    double *factors = qonnx_graph_array(g, (size_t)e->channels, sizeof *factors);
    float **data = qonnx_graph_array(g, (size_t)e->nreaders, sizeof *data);
    for (int i = 0; i < e->nreaders; i++) {
        data[i] = copy_of(e->readers[i].node, e->readers[i].rule.weight);
        each_weight(e, &e->readers[i], see_largest, data[i], weights);
    }
    if (!find_factors(e, alpha, margin, weights, factors)) return;
    divide(e, factors);
    for (int i = 0; i < e->nreaders; i++) {
        each_weight(e, &e->readers[i], multiply, data[i], factors);
        put_back(e->readers[i].node, e->readers[i].rule.weight, data[i]);
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool equalize(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    const double alpha = qonnx_job_number(job, "alpha"), margin = qonnx_job_number(job, "margin");
    if (!(alpha >= 0 && alpha <= 1))
        return qonnx_fail(cx, NULL, "option alpha is %g, want 0 to 1", alpha);
    if (!(margin >= 1)) return qonnx_fail(cx, NULL, "option margin is %g, want 1 or more", margin);
    const bool clips = qonnx_job_flag(job, "clips");
    int nodes = 0;
    for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) nodes++;
    Watched w = {qonnx_graph_array(g, (size_t)nodes + 1, sizeof(Equalization)), 0};
    for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
        if (describe(g, n, &w.all[w.count]) && (clips || isinf(w.all[w.count].cap))) w.count++;
    if (!watch(cx, g, job, &w)) return false;
    for (int i = 0; i < w.count; i++) equalize_one(g, &w.all[i], alpha, margin);
    qonnx_note(cx, NULL, "channels of %d activations made alike", w.count);
    return true;
}

static const qonnx_option options[] = {
    {"alpha", "0.5", "how much of the unlikeness goes into the weights behind, 0 to 1"},
    {"clips", "true", "false: nothing that a Clip with an upper limit reads"},
    {"margin", "1.5", "in front of a Clip: how much larger than seen a channel may become"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_equalize = {
    .size = sizeof(qonnx_pass),
    .name = "equalize",
    .brief = "channels between two products become alike, as far as a factor can move",
    .options = options,
    .run = equalize,
    .samples = true,
};
