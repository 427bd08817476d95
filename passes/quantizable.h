/* passes/quantizable.h - what calibrate, correct-bias and insert-qdq must agree on: which operators
 * can run in integers, and what their scales and biases are. Written on include/qonnx/ alone.
 */
#ifndef PASSES_QUANTIZABLE_H
#define PASSES_QUANTIZABLE_H

#include <qonnx/pass.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whether an operator can run in integers, and how loudly to say that it cannot. */
typedef enum Verdict {
    VERDICT_QUANTIZE, /* everything is there */
    VERDICT_NEVER,    /* not an operator, or not a type, that is quantized: nothing to say */
    VERDICT_NOTE,     /* float on purpose: `why` is worth a note */
    VERDICT_WARN      /* something is missing: `why` is worth a warning */
} Verdict;

/* Room for the reason of a verdict. */
typedef struct Reason {
    char text[256];
} Reason;

#define VERDICT(verdict, reason, ...)                                                              \
    (snprintf((reason)->text, sizeof(reason)->text, __VA_ARGS__), (verdict))

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

/* Scale and zero point of the value's range on the grid; false when it has no range. */
static inline bool quantizable_params(const qonnx_value *v, const qonnx_grid *grid, float *scale,
                                      int *zero_point)
{
    float lo, hi;
    if (!qonnx_value_range(v, &lo, &hi)) return false;
    qonnx_grid_params(grid, lo, hi, scale, zero_point);
    return true;
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

/* The constant bias of a node spread to one float a channel, in the graph's memory. NULL when there
 * is none, or when it is not that: not constant, not float, of another length. */
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

/* Number of output channels of a node with a constant weight. */
static inline int64_t quantizable_channels(const qonnx_node *n, const qonnx_rule *rule)
{
    const qonnx_tensor *w = quantizable_weight(n, rule);
    return w && rule->weight_axis >= 0 && rule->weight_axis < w->rank ? w->dims[rule->weight_axis]
                                                                      : 0;
}

/* Why a value has no range. Of what nobody knows to be float, nothing is said: it may be a shape.
 */
static inline Verdict quantizable_rangeless(const qonnx_value *v, const qonnx_stats *stats,
                                            Reason *why)
{
    const char *name = qonnx_value_name(v);
    const qonnx_histogram *h = stats ? qonnx_stats_histogram(stats, name) : NULL;
    if (qonnx_value_constant(v) || (h && h->nbins))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' holds mask values", name);
    if (h) return VERDICT(VERDICT_WARN, why, "no finite value of '%.120s' was seen", name);
    if (qonnx_value_dtype(v) == QONNX_UNDEFINED) return VERDICT_NEVER;
    return VERDICT(VERDICT_WARN, why, "'%.120s' has no range: it was not observed", name);
}

static inline Verdict quantizable_value(const qonnx_value *v, const qonnx_stats *stats, Reason *why)
{
    float lo, hi;
    qonnx_dtype t = qonnx_value_dtype(v);
    const qonnx_node *p = qonnx_value_producer(v);
    if (t == QONNX_FLOAT16 || t == QONNX_BFLOAT16 || t == QONNX_DOUBLE)
        return VERDICT(VERDICT_WARN, why, "'%.120s' is %s, only float is quantized",
                       qonnx_value_name(v), qonnx_dtype_name(t));
    if (t != QONNX_FLOAT && t != QONNX_UNDEFINED) return VERDICT_NEVER;
    if (p && qonnx_node_is(p, "DequantizeLinear"))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' is quantized already", qonnx_value_name(v));
    return qonnx_value_range(v, &lo, &hi) ? VERDICT_QUANTIZE : quantizable_rangeless(v, stats, why);
}

/* What integer matrix products want of their weight, bias and factors. */
static inline Verdict quantizable_weighted(const qonnx_node *n, const qonnx_rule *rule, Reason *why)
{
    float lo, hi;
    const qonnx_tensor *w = quantizable_weight(n, rule);
    if (qonnx_node_float(n, "alpha", 1) != 1 || qonnx_node_float(n, "beta", 1) != 1)
        return VERDICT(VERDICT_WARN, why, "alpha and beta must be 1");
    if (qonnx_node_int(n, "transA", 0)) return VERDICT(VERDICT_WARN, why, "transA must be 0");
    if (w && (w->dtype != QONNX_FLOAT || !quantizable_extremes(w, &lo, &hi)))
        return VERDICT(VERDICT_WARN, why, "the weight is not float, or not finite");
    const qonnx_value *bias = rule->bias >= 0 ? qonnx_node_input(n, rule->bias) : NULL;
    if (!bias) return VERDICT_QUANTIZE;
    const qonnx_tensor *b = qonnx_value_constant(bias);
    if (!w) return VERDICT(VERDICT_WARN, why, "it has a bias but its weight is not constant");
    if (!b || !quantizable_bias(n, rule, quantizable_channels(n, rule)))
        return VERDICT(VERDICT_WARN, why, "the bias is not a constant of one float a channel");
    if (!quantizable_extremes(b, &lo, &hi))
        return VERDICT(VERDICT_WARN, why, "the bias is not finite");
    return VERDICT_QUANTIZE;
}

/* Whether the node can run in integers with the ranges that its values have. */
static inline Verdict quantizable(const qonnx_node *n, const qonnx_rule *rule,
                                  const qonnx_stats *stats, Reason *why)
{
    Verdict verdict = VERDICT_QUANTIZE;
    if (rule->kind == QONNX_RULE_FLOAT || !qonnx_node_output(n, 0)) return VERDICT_NEVER;
    for (int i = 0; i < qonnx_node_inputs(n) && verdict == VERDICT_QUANTIZE; i++)
        if (quantizable_activation(n, rule, i))
            verdict = quantizable_value(qonnx_node_input(n, i), stats, why);
    if (verdict == VERDICT_QUANTIZE)
        verdict = quantizable_value(qonnx_node_output(n, 0), stats, why);
    if (verdict == VERDICT_QUANTIZE && rule->weight >= 0)
        verdict = quantizable_weighted(n, rule, why);
    return verdict;
}

/* The option `weights` of correct-bias and insert-qdq, which must be told the same. */
static inline bool quantizable_weights_option(qonnx_ctx *cx, const qonnx_job *job,
                                              bool *per_channel)
{
    const char *text = qonnx_job_text(job, "weights");
    *per_channel = !strcmp(text, "per-channel");
    return *per_channel || !strcmp(text, "per-tensor") ||
           qonnx_fail(cx, NULL, "weights=%s: want per-channel or per-tensor", text);
}

#endif
