/* passes/match_means.c - bias correction by measuring: its bias gives every matrix product, channel
 * by channel, the mean that it has in float, on samples, with all in front of it quantized and
 * corrected already (Nagel, van Baalen, Blankevoort and Welling 2019, section 4.2, empirical bias
 * correction): b += E[y] - E[yq]. So the products are corrected one after the other, and the
 * quantized model is run as far as each one. correct-bias needs no samples, and takes the means of
 * what a product reads to be those in float.
 */
#include "bias.h"
#include "weight_view.h"
#include <qonnx/run.h>

/* A product, and what its output comes to. */
typedef struct Product {
    const Site *site;
    int axis; /* of the channels in the output, from the end */
    int64_t channels;
    double *in_float, *rounded; /* [channels] sums, then means */
} Product;

/* Sums of `count` products' outputs over samples. */
typedef struct Sums {
    Product *products;
    int count;
    bool rounded; /* of the quantized model */
    double *rows; /* [count] elements of a channel that were added */
} Sums;

typedef struct Match {
    qonnx_ctx *cx;
    qonnx_graph *g;
    const qonnx_job *job;
    qonnx_dataset *samples;
    Placement placement;
    Product *products; /* in the order of the graph */
    int count;
} Match;

/* ---- means ----------------------------------------------------------------------------------- */

/* Adds a tensor's elements to the sums of their channels; returns the elements of one channel. */
static double add_tensor(const Product *p, const qonnx_tensor *y, double *sums)
{
    const int axis = y->rank - p->axis;
    if (y->dtype != QONNX_FLOAT || axis < 0 || y->dims[axis] != p->channels) return 0;
    const float *at = y->data;
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis; i++) outer *= y->dims[i];
    for (int i = axis + 1; i < y->rank; i++) inner *= y->dims[i];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < p->channels; c++, at += inner) {
            double sum = 0;
            for (int64_t i = 0; i < inner; i++) sum += (double)at[i];
            sums[c] += sum;
        }
    return (double)(outer * inner);
}

static bool on_sample(void *user, size_t sample, const qonnx_tensor *values)
{
    (void)sample;
    Sums *s = user;
    for (int i = 0; i < s->count; i++) {
        Product *p = &s->products[i];
        s->rows[i] += add_tensor(p, &values[i], s->rounded ? p->rounded : p->in_float);
    }
    return true;
}

/* Means of those products' outputs, which have these names in the graph. */
static bool measure(const Match *m, const qonnx_graph *g, bool rounded, const char *const *names,
                    Product *products, int count)
{
    Sums s = {products, count, rounded, qonnx_graph_array(m->g, (size_t)count + 1, sizeof(double))};
    if (!qonnx_watch(m->cx, g, names, count, m->samples, qonnx_job_session_options(m->job),
                     on_sample, &s))
        return false;
    for (int i = 0; i < count; i++)
        for (int64_t c = 0; c < products[i].channels; c++)
            (rounded ? products[i].rounded : products[i].in_float)[c] /= fmax(s.rows[i], 1);
    return true;
}

static bool measure_float(const Match *m)
{
    const char **names = qonnx_graph_array(m->g, (size_t)m->count + 1, sizeof *names);
    for (int i = 0; i < m->count; i++)
        names[i] = qonnx_value_name(qonnx_node_output(m->products[i].site->node, 0));
    return measure(m, m->g, false, names, m->products, m->count);
}

/* ---- one after the other --------------------------------------------------------------------- */

/* The node of a copy that is this one. */
static qonnx_node *node_in(const qonnx_graph *copy, const qonnx_node *n)
{
    qonnx_node *there = qonnx_graph_first(copy);
    for (const qonnx_node *m = qonnx_graph_first(qonnx_node_graph(n)); m != n;
         m = qonnx_node_next(m))
        there = qonnx_node_next(there);
    return there;
}

static bool correct(const Match *m, Product *p)
{
    const qonnx_pipeline_options o = {.target = m->placement.target->name,
                                      .stats = m->placement.stats};
    qonnx_ctx *quiet = qonnx_ctx_new(); /* what there is to say, the pass insert-qdq says later */
    qonnx_graph *made = qonnx_graph_copy(m->g);
    const qonnx_node *n = node_in(made, p->site->node);
    bool good = qonnx_pipeline_run(quiet, made, "insert-qdq", &o);
    if (!good) qonnx_fail(m->cx, p->site->node, "%s", qonnx_error(quiet));
    const char *name = qonnx_value_name(qonnx_node_output(n, 0));
    good = good && measure(m, made, true, &name, p, 1);
    if (good) {
        for (int64_t c = 0; c < p->channels; c++) p->in_float[c] -= p->rounded[c];
        bias_shift(p->site, p->channels, p->in_float);
    }
    qonnx_graph_free(made);
    qonnx_ctx_free(quiet);
    return good;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool describe(const Match *m, const Site *s, Product *out)
{
    WeightView v;
    if (qonnx_node_graph(s->node) != m->g || !s->quantized ||
        !quantizable_weight(s->node, &s->rule) || !weight_view(s->node, &s->rule, &v) ||
        !bias_place(s, v.outputs))
        return false;
    const int rank = qonnx_value_rank(qonnx_node_output(s->node, 0));
    const bool conv = qonnx_node_is(s->node, "Conv") || qonnx_node_is(s->node, "ConvTranspose");
    *out = (Product){s, conv ? rank - 1 : 1, v.outputs, NULL, NULL};
    out->in_float = qonnx_graph_array(m->g, (size_t)v.outputs, sizeof(double));
    out->rounded = qonnx_graph_array(m->g, (size_t)v.outputs, sizeof(double));
    return rank > 0;
}

static bool match_all(Match *m)
{
    m->products = qonnx_graph_array(m->g, (size_t)m->placement.count + 1, sizeof *m->products);
    for (const Site *s = m->placement.sites; s < m->placement.sites + m->placement.count; s++)
        if (describe(m, s, &m->products[m->count])) m->count++;
    bool good = !m->count || measure_float(m);
    for (int i = 0; i < m->count && good; i++) good = correct(m, &m->products[i]);
    return good;
}

static bool match_means(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Match m = {.cx = cx, .g = g, .job = job};
    if (!quantizable_stats(cx, job, "match-means")) return false;
    placement_make(&m.placement, g, job, true);
    m.samples =
        qonnx_dataset_part(qonnx_job_samples(job), 0, 1, (size_t)qonnx_job_number(job, "samples"));
    bool good = match_all(&m);
    qonnx_dataset_free(m.samples);
    return good;
}

static const qonnx_option options[] = {
    {"samples", "32", "of these many, spread evenly, the means are taken"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_match_means = {
    .size = sizeof(qonnx_pass),
    .name = "match-means",
    .brief = "give every product the mean that it has in float, as samples have it, by its bias",
    .options = options,
    .run = match_means,
    .samples = true,
};
