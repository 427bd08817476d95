/* passes/match_means.c - bias correction by measuring: the biases give every matrix product the mean
 * that it has in float, on samples, with all in front of it quantized and corrected already
 * (Nagel, van Baalen, Blankevoort and Welling 2019, section 4.2, empirical). A product is linear, so
 * its mean is that of its columns times its weights:
 *
 *     shift[o] = sum over i of W[o][i] E[x_i] - Wq[o][i] E[xq_i]
 *
 * x_i being inputs under the taps, those outside of them being 0. correct-bias takes E[xq] for E[x].
 */
#include "bias.h"
#include "moments.h"

enum { STAGES = 16 }; /* times that the quantized model is run: products in between share a run */

/* One product of the model. */
typedef struct Product {
    Moments in_float, rounded; /* the means of its columns */
    qonnx_weight_params weight;
} Product;

typedef struct Match {
    qonnx_ctx *cx;
    qonnx_graph *g;
    const qonnx_job *job;
    Placement placement;
    Product *products;
    int count;
} Match;

/* ---- which products -------------------------------------------------------------------------- */

static bool describe(const Match *m, const Site *s, Product *out)
{
    float scale;
    int zero_point;
    const qonnx_target *t = m->placement.target;
    const int64_t all = INT32_MAX; /* no products are counted, so that panels may be wide */
    if (qonnx_node_graph(s->node) != m->g || !quantizable_weight(s->node, &s->rule) ||
        !moments_describe(&out->in_float, s, all) || !bias_place(s, out->in_float.view.outputs))
        return false;
    out->in_float.halves = 1;
    out->rounded = out->in_float;
    const float *bias = quantizable_bias(s->node, &s->rule, out->in_float.view.outputs);
    return quantizable_params(qonnx_node_input(s->node, 0), t, &scale, &zero_point) &&
           qonnx_node_quantize_weight(s->node, &t->weight, !s->per_tensor, scale,
                                      t->bias_int32 ? bias : NULL, &out->weight);
}

/* Counts means of products from..to-1 in a graph; they lie in a row for that time. */
static bool count_means(Match *m, const qonnx_graph *g, bool rounded, int from, int to)
{
    const MomentsWay way = {.means = true, .rounded = rounded ? m->placement.target : NULL};
    Moments *row = qonnx_graph_array(m->g, (size_t)(to - from), sizeof *row);
    for (int i = from; i < to; i++) row[i - from] = m->products[i].in_float;
    for (int i = from; i < to && rounded; i++) row[i - from] = m->products[i].rounded;
    bool good = moments_count(m->cx, g, m->job, &way, row, to - from);
    for (int i = from; i < to; i++)
        *(rounded ? &m->products[i].rounded : &m->products[i].in_float) = row[i - from];
    return good;
}

/* ---- the shift ------------------------------------------------------------------------------- */

static void correct(const Product *p)
{
    const Moments *m = &p->in_float;
    const WeightView *v = &m->view;
    const qonnx_tensor *w = quantizable_weight(m->site->node, &m->site->rule);
    double *shift = qonnx_graph_array(qonnx_node_graph(m->site->node), (size_t)v->outputs, sizeof *shift);
    for (int64_t o = 0; o < v->outputs; o++) {
        const int64_t panel = o / (v->outputs / v->groups);
        const double scale = (double)p->weight.scales[p->weight.count > 1 ? o : 0];
        double sum = 0;
        for (int64_t c = 0; c < m->columns; c++) {
            const int64_t at = moments_element(m, panel, o, c);
            sum += qonnx_tensor_get(w, at) * moments_mean(m, panel, c) -
                   p->weight.data[at] * scale * moments_mean(&p->rounded, panel, c);
        }
        shift[o] = sum;
    }
    bias_shift(m->site, v->outputs, shift);
}

/* Corrects products from..to-1, those in front of them being corrected. */
static bool correct_stage(Match *m, int from, int to)
{
    const qonnx_target *t = m->placement.target;
    const qonnx_pipeline_options o = {.target = t->name, .stats = m->placement.stats};
    qonnx_ctx *quiet = qonnx_ctx_new();
    qonnx_graph *made = qonnx_graph_copy(m->g);
    bool good = qonnx_pipeline_run(quiet, made, "insert-qdq", &o);
    if (!good) qonnx_fail(m->cx, NULL, "match-means: %s", qonnx_error(quiet));
    good = good && count_means(m, made, true, from, to);
    for (int i = from; i < to && good; i++) correct(&m->products[i]);
    qonnx_graph_free(made);
    qonnx_ctx_free(quiet);
    return good;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool match_all(Match *m)
{
    bool good = !m->count || count_means(m, m->g, false, 0, m->count);
    const int stages = m->count < STAGES ? m->count : STAGES;
    for (int i = 0; i < stages && good; i++)
        good = correct_stage(m, (int)((int64_t)m->count * i / stages),
                             (int)((int64_t)m->count * (i + 1) / stages));
    return good;
}

static bool match_means(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Match m = {.cx = cx, .g = g, .job = job};
    if (!qonnx_job_stats(job))
        return qonnx_fail(
            cx, NULL, "match-means: there are no statistics; give calibration data or a .qcal file");
    placement_make(&m.placement, g, job, true);
    m.products = qonnx_graph_array(g, (size_t)m.placement.count + 1, sizeof *m.products);
    for (const Site *s = m.placement.sites; s < m.placement.sites + m.placement.count; s++)
        if (describe(&m, s, &m.products[m.count])) m.count++;
    bool good = match_all(&m);
    for (int i = 0; i < m.count; i++) {
        moments_free(&m.products[i].in_float);
        moments_free(&m.products[i].rounded);
    }
    return good;
}

const qonnx_pass pass_match_means = {
    .size = sizeof(qonnx_pass),
    .name = "match-means",
    .brief = "give every product the mean that it has in float, as samples have it, by its bias",
    .run = match_means,
    .samples = true,
};
