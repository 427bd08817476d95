/* passes/weight_view.c - see weight_view.h. */
#include "weight_view.h"

/* For each tap of a convolution's window, d, h, w: at how much of the output positions it lies
 * inside the input. Elsewhere it meets padding, which is exactly zero and adds no error. */
static const double *tap_shares(const qonnx_node *n, int64_t taps)
{
    qonnx_window w;
    if (!qonnx_node_window(n, &w) || w.kernel[0] * w.kernel[1] * w.kernel[2] != taps) return NULL;
    double *share = qonnx_graph_array(qonnx_node_graph(n), (size_t)taps, sizeof *share);
    for (int64_t k = 0; k < taps; k++) {
        int64_t rest = k;
        share[k] = 1;
        for (int i = 2; i >= 0; i--) {
            int64_t tap = rest % w.kernel[i] * w.dilation[i] - w.front[i], inside = 0;
            rest /= w.kernel[i];
            if (w.in[i] < 0 || w.out[i] < 1) return NULL;
            for (int64_t o = 0; o < w.out[i]; o++)
                inside += o * w.stride[i] + tap >= 0 && o * w.stride[i] + tap < w.in[i];
            share[k] *= (double)inside / (double)w.out[i];
        }
    }
    return share;
}

bool weight_view(const qonnx_node *n, const qonnx_rule *rule, WeightView *v)
{
    const qonnx_tensor *w = quantizable_weight(n, rule);
    if (!w || w->rank < 2) return false;
    int64_t a = w->dims[0], b = w->dims[1];
    if (qonnx_node_is(n, "Conv")) {
        int64_t window = 1;
        for (int i = 2; i < w->rank; i++) window *= w->dims[i];
        *v = (WeightView){
            a, b, window, b * window, window, qonnx_node_int(n, "group", 1), tap_shares(n, window)};
        return v->groups > 0 && a % v->groups == 0;
    }
    if (w->rank != 2 || !(qonnx_node_is(n, "Gemm") || qonnx_node_is(n, "MatMul"))) return false;
    bool transposed = qonnx_node_int(n, "transB", 0) != 0;
    *v = transposed ? (WeightView){a, b, 1, b, 1, 1, NULL} : (WeightView){b, a, 1, 1, b, 1, NULL};
    return true;
}

const qonnx_channels *weight_input(const Placement *p, const Site *s, const WeightView *v)
{
    const qonnx_channels *c =
        qonnx_stats_channels(p->stats, qonnx_stats_of(p->stats, qonnx_node_input(s->node, 0)));
    if (!c || c->axis != s->rule.channel_axis || c->count != v->inputs * v->groups) return NULL;
    for (int i = 0; i < c->count; i++)
        if (!isfinite(c->mean[i]) || !isfinite(c->mean_square[i])) return NULL;
    return c;
}
