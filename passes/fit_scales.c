/* passes/fit_scales.c - the scale of a weight that has one for all its channels, by the error that
 * it makes in what is computed with it: of scales from the largest element down, the one with the
 * least
 *
 *     sum over o of importance(o) * sum over i of variance(i) * sum over taps of (W - Wq)[o,i]^2
 *
 * variance(i) is that of input channel i: what never varies adds nothing but a mean, which
 * correct-bias takes off. importance(o) is the square of the weights that read output o, and 0
 * where the activation function was never left at its end. It is the diagonal of the Hessian of the
 * layer's output, as Optimal Brain Compression has it (Frantar and Alistarh 2022), with errors of
 * single elements taken as independent. The largest element often belongs to a channel that is dead
 * or hardly varies, and would make the scale of all others too coarse.
 */
#include "weight_view.h"

enum { STEPS = 18 };
#define LEAST 0.02 /* of the scale for the largest element */
#define WORTH                                                                                      \
    0.7 /* of its error: what another scale may have at most. Elements that it clips err to        \
           one side, so their errors do not cancel as the formula has it */

typedef struct Fit {
    const Placement *placement;
    const Site *site;
    const qonnx_tensor *w;
    WeightView view;
    const double *variance;   /* [inputs of all groups] */
    const double *importance; /* [outputs] */
} Fit;

/* ---- what matters ---------------------------------------------------------------------------- */

static const double *variances(const Fit *f, const qonnx_channels *seen)
{
    double *v = qonnx_graph_array(qonnx_node_graph(f->site->node), (size_t)seen->count, sizeof *v);
    for (int i = 0; i < seen->count; i++)
        v[i] = fmax(seen->mean_square[i] - seen->mean[i] * seen->mean[i], 0);
    return v;
}

/* The value that is behind the activation function, where one follows. */
static const qonnx_value *behind(const qonnx_value *v)
{
    const qonnx_node *n = quantizable_only_reader(v);
    bool follows = n && qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE && qonnx_node_output(n, 0);
    return follows ? qonnx_node_output(n, 0) : v;
}

/* Takes away the importance of channels that were never seen to vary. */
static void drop_constant(const Fit *f, const qonnx_value *y, double *importance)
{
    const qonnx_stats *stats = f->placement->stats;
    const qonnx_channels *c = qonnx_stats_channels(stats, qonnx_stats_of(stats, y));
    for (int64_t o = 0; c && c->count == f->view.outputs && o < c->count; o++)
        if (c->min[o] == c->max[o]) importance[o] = 0;
}

/* The square of the weights of one reader that meet each channel; false where it is no product. */
static bool add_reader(const Fit *f, const qonnx_node *n, double *importance)
{
    WeightView v;
    const Site *s = placement_site(f->placement, n);
    const qonnx_tensor *w = s && s->quantized ? quantizable_weight(n, &s->rule) : NULL;
    if (!w || w->dtype != QONNX_FLOAT || !weight_view(n, &s->rule, &v) ||
        v.inputs * v.groups != f->view.outputs)
        return false;
    for (int64_t o = 0; o < v.outputs; o++)
        for (int64_t i = 0; i < v.inputs; i++)
            for (int64_t k = 0; k < v.window; k++) {
                double x = qonnx_tensor_get(w, o * v.output_step + i * v.input_step + k);
                importance[o / (v.outputs / v.groups) * v.inputs + i] += x * x;
            }
    return true;
}

/* How much an error in each output matters: all alike where others than products read it. */
static const double *importances(const Fit *f)
{
    const qonnx_node *n = f->site->node;
    double *all = qonnx_graph_array(qonnx_node_graph(n), (size_t)f->view.outputs, sizeof *all);
    const qonnx_value *y = behind(qonnx_node_output(n, 0));
    bool products = qonnx_value_uses(y) > 0 && !qonnx_value_is_output(y);
    for (int i = 0; i < qonnx_value_uses(y) && products; i++) {
        int input;
        const qonnx_node *reader = qonnx_value_use(y, i, &input);
        products = input == 0 && add_reader(f, reader, all);
    }
    for (int64_t o = 0; o < f->view.outputs && !products; o++) all[o] = 1;
    drop_constant(f, y, all);
    return all;
}

/* ---- the scale ------------------------------------------------------------------------------- */

static double absmax(const qonnx_tensor *w)
{
    float lo = 0, hi = 0;
    quantizable_extremes(w, &lo, &hi);
    return fmax(fabs((double)lo), fabs((double)hi));
}

/* The error with that scale. */
static double cost(const Fit *f, const qonnx_grid *grid, float scale)
{
    const WeightView *v = &f->view;
    const double s = (double)scale, lo = grid->qmin, hi = grid->qmax;
    double sum = 0;
    for (int64_t o = 0; o < v->outputs; o++) {
        const double *variance = f->variance + o / (v->outputs / v->groups) * v->inputs;
        double error = 0;
        for (int64_t i = 0; i < v->inputs && f->importance[o] > 0; i++) {
            double square = 0;
            for (int64_t k = 0; k < v->window; k++) {
                int64_t at = o * v->output_step + i * v->input_step + k;
                double x = (double)quantizable_float(f->w->data, at);
                double d = x - fmin(fmax(rint(x / s), lo), hi) * s;
                square += d * d;
            }
            error += square * variance[i];
        }
        sum += f->importance[o] * error;
    }
    return sum;
}

static float scale_for(const qonnx_grid *grid, double end)
{
    int zero;
    float scale;
    qonnx_grid_params(grid, -end, end, &scale, &zero);
    return scale;
}

/* The best of the scales, from the one that clips nothing down, which stays unless another is worth
 * it. */
static float best_scale(const Fit *f, const qonnx_grid *grid)
{
    const double most = absmax(f->w);
    float best = scale_for(grid, most);
    double least = WORTH * cost(f, grid, best);
    for (int i = 1; i < STEPS; i++) {
        float scale = scale_for(grid, most * pow(LEAST, (double)i / (STEPS - 1)));
        double c = cost(f, grid, scale);
        if (c < least) best = scale, least = c;
    }
    return best;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static void fit_site(const Placement *p, const Site *s)
{
    static const qonnx_override none;
    static const int zero;
    Fit f = {.placement = p, .site = s, .w = quantizable_weight(s->node, &s->rule)};
    if (!s->quantized || !f.w || f.w->dtype != QONNX_FLOAT) return;
    qonnx_value *v = qonnx_node_input(s->node, s->rule.weight);
    const qonnx_override *wanted = qonnx_value_override(v);
    qonnx_override o = wanted ? *wanted : none;
    if ((!s->per_tensor && !o.per_tensor) || o.absmax || o.scales || qonnx_value_kept(v) ||
        qonnx_value_uses(v) != 1 || !weight_view(s->node, &s->rule, &f.view))
        return;
    const qonnx_channels *seen = weight_input(p, s, &f.view);
    if (!seen) return;
    f.variance = variances(&f, seen);
    f.importance = importances(&f);
    if (o.grid.dtype == QONNX_UNDEFINED) o.grid = p->target->weight;
    float scale = best_scale(&f, &o.grid);
    o.scales = &scale;
    o.zero_points = &zero;
    o.count = 1;
    qonnx_value_set_override(v, &o);
}

static bool fit_scales(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Placement p;
    if (!quantizable_stats(cx, job, "fit-scales")) return false;
    placement_make(&p, g, job, true);
    for (const Site *s = p.sites; s < p.sites + p.count; s++) fit_site(&p, s);
    return true;
}

const qonnx_pass pass_fit_scales = {
    .size = sizeof(qonnx_pass),
    .name = "fit-scales",
    .brief = "weights with one scale get the one with the least error in what is computed",
    .run = fit_scales,
};
