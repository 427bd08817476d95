/* passes/quantizable.h - what calibrate, correct-bias and insert-qdq must agree on: what operators
 * read as activations, weights and biases, and their scales. Written on include/qonnx/ alone.
 */
#ifndef PASSES_QUANTIZABLE_H
#define PASSES_QUANTIZABLE_H

#include <qonnx/pass.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whether there are statistics; says which pass needs them. */
static inline bool quantizable_stats(qonnx_ctx *cx, const qonnx_job *job, const char *pass)
{
    return qonnx_job_stats(job) ||
           qonnx_fail(cx, NULL,
                      "%s: there are no statistics; give calibration data or a .qcal file", pass);
}

/* The constant weight of a node; NULL when it has none (a weight that is computed counts as an
 * activation). */
static inline const qonnx_tensor *quantizable_weight(const qonnx_node *n, const qonnx_rule *rule)
{
    const qonnx_value *v = rule->weight >= 0 ? qonnx_node_input(n, rule->weight) : NULL;
    return v ? qonnx_value_constant(v) : NULL;
}

/* Whether input i is there and is quantized as an activation. The rule's last bit stands for all
 * the inputs behind it, too. */
static inline bool quantizable_activation(const qonnx_node *n, const qonnx_rule *rule, int i)
{
    if (rule->kind == QONNX_RULE_FLOAT || !qonnx_node_input(n, i)) return false;
    if (i == rule->weight) return !quantizable_weight(n, rule);
    return i != rule->bias && (rule->activations >> (i < 31 ? i : 31) & 1);
}

/* The value's own grid, or the target's for a range from `lo` on. */
static inline const qonnx_grid *quantizable_grid_at(const qonnx_value *v, const qonnx_target *t,
                                                    float lo)
{
    const qonnx_override *o = qonnx_value_override(v);
    return o && o->grid.dtype != QONNX_UNDEFINED ? &o->grid : qonnx_target_grid(t, lo);
}

/* The grid that the value is quantized on. */
static inline const qonnx_grid *quantizable_grid(const qonnx_value *v, const qonnx_target *t)
{
    float lo = 0, hi;
    qonnx_value_range(v, &lo, &hi);
    return quantizable_grid_at(v, t, lo);
}

/* Scale and zero point that the value is given, or has already, or else those of its range on its
 * grid; false when it has no range. */
static inline bool quantizable_params(const qonnx_value *v, const qonnx_target *t, float *scale,
                                      int *zero_point)
{
    float lo, hi;
    const qonnx_override *o = qonnx_value_override(v);
    const qonnx_grid *grid = quantizable_grid(v, t);
    if (o && o->scales) {
        *scale = o->scales[0];
        *zero_point = o->zero_points[0];
        return true;
    }
    if (!t->split && qonnx_value_kept_params(v, grid, scale, zero_point)) return true;
    if (!qonnx_value_range(v, &lo, &hi)) return false;
    if (t->least_range > 0) hi = fmaxf(fmaxf(hi, 0), fminf(lo, 0) + t->least_range);
    qonnx_grid_params(grid, lo, hi, scale, zero_point);
    return true;
}

/* The one node that reads the value, where it stands in the value's own graph; else NULL. */
static inline qonnx_node *quantizable_only_reader(const qonnx_value *v)
{
    qonnx_node *n = qonnx_value_only_user(v);
    return n && qonnx_node_graph(n) == qonnx_value_graph(v) ? n : NULL;
}

/* What was seen of the value; NULL where nothing is known of it. `stats` may be NULL. */
static inline const qonnx_histogram *quantizable_seen(const qonnx_stats *stats,
                                                      const qonnx_value *v)
{
    return stats ? qonnx_stats_histogram(stats, qonnx_stats_of(stats, v)) : NULL;
}

/* Element i of floats, which may not be aligned: for loops that know the type, of which
 * qonnx_tensor_get asks for every element. */
static inline float quantizable_float(const void *data, int64_t i)
{
    float x;
    memcpy(&x, (const char *)data + (size_t)i * sizeof x, sizeof x);
    return x;
}

/* Extremes of a constant; false when an element is not finite. */
static inline bool quantizable_extremes(const qonnx_tensor *t, float *lo, float *hi)
{
    double min = INFINITY, max = -INFINITY;
    for (int64_t i = 0, n = qonnx_tensor_elements(t); i < n; i++) {
        double x = qonnx_tensor_get(t, i);
        if (!isfinite(x)) return false;
        min = fmin(min, x);
        max = fmax(max, x);
    }
    *lo = min <= max ? (float)min : 0;
    *hi = min <= max ? (float)max : 0;
    return true;
}

/* The constant bias of a node spread to one float per channel, in the graph's memory. NULL when
 * there is none, or when it is not that: not constant, not float, of another length. */
static inline float *quantizable_bias(const qonnx_node *n, const qonnx_rule *rule, int64_t channels)
{
    const qonnx_value *v = rule->bias >= 0 ? qonnx_node_input(n, rule->bias) : NULL;
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    if (!t || t->dtype != QONNX_FLOAT || channels <= 0) return NULL;
    int64_t count = qonnx_tensor_elements(t);
    bool spread = count == channels && t->rank > 0 && t->dims[t->rank - 1] == channels;
    if (count != 1 && !spread) return NULL;
    float *b = qonnx_graph_array(qonnx_node_graph(n), (size_t)channels, sizeof *b);
    for (int64_t i = 0; i < channels; i++) b[i] = (float)qonnx_tensor_get(t, spread ? i : 0);
    return b;
}

/* The domain in which a DequantizeLinear, or a QuantizeLinear, of that type is: before operator set
 * 21, ONNX's own has 8 bits and int32 alone, and ONNX Runtime's the others. */
static inline const char *qdq_domain(const qonnx_graph *g, qonnx_dtype t)
{
    int bits = qonnx_dtype_bits(t);
    bool narrow = bits != 8 && t != QONNX_INT32;
    return narrow && qonnx_model_opset(g) < 21 ? "com.microsoft" : "";
}

/* Number of output channels of a node with a constant weight. */
static inline int64_t quantizable_channels(const qonnx_node *n, const qonnx_rule *rule)
{
    const qonnx_tensor *w = quantizable_weight(n, rule);
    return w && rule->weight_axis >= 0 && rule->weight_axis < w->rank ? w->dims[rule->weight_axis]
                                                                      : 0;
}

#endif
