/* passes/correct_bias.c - analytic bias correction: what rounding the weights adds to the mean of a
 * matrix product's output is taken off its bias, from the means of the input's channels alone.
 */
#include "weight_view.h"

/* shift[o] = sum over inputs and window of (W - Wq) * mean[input] * share[tap]: the mean of what is
 * missing, for inputs whose mean does not depend on the place. */
static void find_shift(const qonnx_tensor *w, const WeightView *v, const qonnx_weight_params *q,
                       const double *mean, double *shift)
{
    for (int64_t o = 0; o < v->outputs; o++) {
        const double *m = mean + o / (v->outputs / v->groups) * v->inputs;
        double scale = q->scales[q->count > 1 ? o : 0], sum = 0;
        for (int64_t i = 0; i < v->inputs; i++) {
            double lost = 0;
            for (int64_t k = 0; k < v->window; k++) {
                int64_t at = o * v->output_step + i * v->input_step + k;
                lost +=
                    (qonnx_tensor_get(w, at) - q->data[at] * scale) * (v->share ? v->share[k] : 1);
            }
            sum += lost * m[i];
        }
        shift[o] = sum;
    }
}

/* ---- where the bias is ----------------------------------------------------------------------- */

/* The constant that an Add behind a MatMul adds to every row, when nobody else reads either. */
static qonnx_value *bias_behind(const qonnx_node *n, int64_t channels)
{
    const qonnx_node *add = quantizable_only_reader(qonnx_node_output(n, 0));
    if (!add || !qonnx_node_is(add, "Add")) return NULL;
    for (int i = 0; i < 2; i++) {
        qonnx_value *v = qonnx_node_input(add, i);
        const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
        if (t && t->dtype == QONNX_FLOAT && t->rank > 0 && t->dims[t->rank - 1] == channels &&
            qonnx_tensor_elements(t) == channels && qonnx_value_only_user(v))
            return v;
    }
    return NULL;
}

/* b[0..count) += shift, as a constant of t's shape. */
static void shift_constant(qonnx_graph *g, qonnx_value *v, const double *shift)
{
    const qonnx_tensor *t = qonnx_value_constant(v);
    qonnx_tensor moved = *t;
    int64_t n = qonnx_tensor_elements(t);
    float lo, hi, *b = qonnx_graph_array(g, (size_t)n, sizeof *b);
    for (int64_t i = 0; i < n; i++) b[i] = (float)(qonnx_tensor_get(t, i) + shift[i]);
    moved.data = b;
    qonnx_value_set_constant(v, &moved);
    if (qonnx_value_range(v, &lo, &hi) && quantizable_extremes(&moved, &lo, &hi))
        qonnx_value_set_range(v, lo, hi);
}

/* Gives the node the bias that it had plus the shift. */
static void set_bias(qonnx_node *n, const qonnx_rule *rule, const float *bias, int64_t channels,
                     const double *shift)
{
    qonnx_graph *g = qonnx_node_graph(n);
    float *b = qonnx_graph_array(g, (size_t)channels, sizeof *b);
    for (int64_t i = 0; i < channels; i++) b[i] = (float)((bias ? bias[i] : 0) + shift[i]);
    qonnx_tensor t = {QONNX_FLOAT, 1, {channels}, b, (size_t)channels * sizeof *b};
    qonnx_value *old = qonnx_node_input(n, rule->bias);
    if (old && qonnx_value_only_user(old)) {
        qonnx_value_set_constant(old, &t);
        return;
    }
    char name[512];
    const char *base = qonnx_value_name(old ? old : qonnx_node_output(n, 0));
    snprintf(name, sizeof name, "%.490s%s", base, old ? "" : "_bias");
    qonnx_node_set_input(n, rule->bias, qonnx_graph_add_constant(g, name, &t));
}

/* ---- the pass -------------------------------------------------------------------------------- */

static void correct_node(const Placement *p, const Site *s)
{
    WeightView view;
    float scale;
    int zero_point;
    qonnx_weight_params q;
    qonnx_node *n = s->node;
    const qonnx_rule *rule = &s->rule;
    const qonnx_target *target = p->target;
    if (!s->quantized || !weight_view(n, rule, &view)) return;
    const qonnx_channels *seen = weight_input(p, s, &view);
    const double *mean = seen ? seen->mean : NULL;
    const float *bias = quantizable_bias(n, rule, view.outputs);
    qonnx_value *behind = rule->bias < 0 ? bias_behind(n, view.outputs) : NULL;
    if (!mean || (rule->bias < 0 && !behind) ||
        !quantizable_params(qonnx_node_input(n, 0), target, &scale, &zero_point) ||
        !qonnx_node_quantize_weight(n, &target->weight, !s->per_tensor, scale,
                                    target->bias_int32 ? bias : NULL, &q))
        return;
    double *shift = qonnx_graph_array(qonnx_node_graph(n), (size_t)view.outputs, sizeof *shift);
    find_shift(quantizable_weight(n, rule), &view, &q, mean, shift);
    if (behind) shift_constant(qonnx_node_graph(n), behind, shift);
    else set_bias(n, rule, bias, view.outputs, shift);
}

static bool correct_bias(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    if (!qonnx_job_stats(job))
        return qonnx_fail(cx, NULL,
                          "correct-bias: there are no statistics; give calibration data "
                          "or a .qcal file");
    Placement p;
    placement_make(&p, g, job, true);
    for (const Site *s = p.sites; s < p.sites + p.count; s++) correct_node(&p, s);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_correct_bias = {
    .size = sizeof(qonnx_pass),
    .name = "correct-bias",
    .brief = "take the mean error of the rounded weights off the biases",
    .run = correct_bias,
};
