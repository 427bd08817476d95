/* passes/correct_bias.c - analytic bias correction: what rounding the weights adds to the mean of a
 * matrix product's output is taken off its bias, from the means of the input's channels alone.
 */
#include "bias.h"
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
    if (!mean || !bias_place(s, view.outputs) ||
        !quantizable_params(qonnx_node_input(n, 0), target, &scale, &zero_point) ||
        !qonnx_node_quantize_weight(n, &target->weight, !s->per_tensor, scale,
                                    target->bias_int32 ? bias : NULL, &q))
        return;
    double *shift = qonnx_graph_array(qonnx_node_graph(n), (size_t)view.outputs, sizeof *shift);
    find_shift(quantizable_weight(n, rule), &view, &q, mean, shift);
    bias_shift(s, view.outputs, shift);
}

static bool correct_bias(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    if (!quantizable_stats(cx, job, "correct-bias")) return false;
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
