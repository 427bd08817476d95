/* passes/judge.c - whether an operator can run in integers with the ranges that its values have,
 * and why not: a part of placement.c.
 */
#include "placement.h"

#define VERDICT(verdict, reason, ...)                                                              \
    (snprintf((reason)->text, sizeof(reason)->text, __VA_ARGS__), (verdict))

/* Why a value has no range. Of what nobody knows to be float, nothing is said: it may be a shape.
 */
static Verdict judge_rangeless(const Placement *p, const qonnx_value *v, Reason *why)
{
    const char *name = qonnx_value_name(v);
    const qonnx_histogram *h = quantizable_seen(p->stats, v);
    if (qonnx_value_constant(v) || (h && h->nbins))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' holds mask values", name);
    if (h) return VERDICT(VERDICT_WARN, why, "no finite value of '%.120s' was seen", name);
    if (qonnx_value_dtype(v) == QONNX_UNDEFINED)
        return VERDICT(VERDICT_NEVER, why, "the type of '%.120s' is not known", name);
    if (p->requantizes)
        return VERDICT(VERDICT_NOTE, why, "'%.120s' is not quantized in the file", name);
    return VERDICT(VERDICT_WARN, why, "'%.120s' has no range: it was not observed", name);
}

/* The same where nothing was observed yet: what is no constant will have a range. */
static Verdict judge_unseen(const qonnx_value *v, Reason *why)
{
    float lo, hi;
    const qonnx_tensor *t = qonnx_value_constant(v);
    if (!t) return VERDICT_QUANTIZE;
    if (t->dtype != QONNX_FLOAT) return VERDICT_NEVER;
    if (quantizable_extremes(t, &lo, &hi) && lo > PLACEMENT_MASK) return VERDICT_QUANTIZE;
    return VERDICT(VERDICT_NOTE, why, "'%.120s' holds mask values", qonnx_value_name(v));
}

static Verdict judge_value(const Placement *p, const qonnx_value *v, Reason *why)
{
    float lo, hi;
    qonnx_dtype t = qonnx_value_dtype(v);
    const qonnx_node *n = qonnx_value_producer(v);
    if (t == QONNX_FLOAT16 || t == QONNX_BFLOAT16 || t == QONNX_DOUBLE)
        return VERDICT(VERDICT_WARN, why, "'%.120s' is %s, only float is quantized",
                       qonnx_value_name(v), qonnx_dtype_name(t));
    if (t != QONNX_FLOAT && t != QONNX_UNDEFINED)
        return VERDICT(VERDICT_NEVER, why, "'%.120s' is %s", qonnx_value_name(v),
                       qonnx_dtype_name(t));
    if (n && qonnx_node_is(n, "DequantizeLinear") && !qonnx_value_kept(v))
        return VERDICT(VERDICT_NOTE, why, "'%.120s' is quantized already", qonnx_value_name(v));
    if (qonnx_value_range(v, &lo, &hi)) return VERDICT_QUANTIZE;
    return p->assumes ? judge_unseen(v, why) : judge_rangeless(p, v, why);
}

/* Whether everything that the node reads in integers, and all that it writes, can be integers. */
static Verdict judge_values(const Placement *p, const Site *s, Reason *why)
{
    Verdict verdict = VERDICT_QUANTIZE;
    const qonnx_node *n = s->node;
    for (int i = 0; i < qonnx_node_inputs(n) && verdict == VERDICT_QUANTIZE; i++)
        if (quantizable_activation(n, &s->rule, i))
            verdict = judge_value(p, qonnx_node_input(n, i), why);
    for (int i = 0; i < qonnx_node_outputs(n) && verdict == VERDICT_QUANTIZE; i++)
        if (qonnx_node_output(n, i) && !placement_may_give_floats(p, s, qonnx_node_output(n, i)))
            verdict = judge_value(p, qonnx_node_output(n, i), why);
    return verdict;
}

/* What integer matrix products want of their weight, bias and factors. */
static Verdict judge_weighted(const Placement *p, const Site *s, Reason *why)
{
    float lo, hi;
    const qonnx_node *n = s->node;
    const qonnx_rule *rule = &s->rule;
    const qonnx_tensor *w = quantizable_weight(n, rule);
    if (qonnx_node_float(n, "alpha", 1) != 1 || qonnx_node_float(n, "beta", 1) != 1)
        return VERDICT(VERDICT_WARN, why, "alpha and beta must be 1");
    if (qonnx_node_int(n, "transA", 0)) return VERDICT(VERDICT_WARN, why, "transA must be 0");
    if (w && (w->dtype != QONNX_FLOAT || !quantizable_extremes(w, &lo, &hi)))
        return VERDICT(VERDICT_WARN, why, "the weight is not float, or not finite");
    const qonnx_value *bias = rule->bias >= 0 ? qonnx_node_input(n, rule->bias) : NULL;
    if (!bias || !p->target->bias_int32) return VERDICT_QUANTIZE;
    const qonnx_tensor *b = qonnx_value_constant(bias);
    if (!w) return VERDICT(VERDICT_WARN, why, "it has a bias but its weight is not constant");
    if (!b || !quantizable_bias(n, rule, quantizable_channels(n, rule)))
        return VERDICT(VERDICT_WARN, why, "the bias is not a constant of one float per channel");
    if (!quantizable_extremes(b, &lo, &hi))
        return VERDICT(VERDICT_WARN, why, "the bias is not finite");
    return VERDICT_QUANTIZE;
}

Verdict placement_judge(const Placement *p, const Site *s, Reason *why)
{
    if (s->rule.kind == QONNX_RULE_FLOAT || !qonnx_node_output(s->node, 0))
        return VERDICT(VERDICT_NEVER, why, "%s",
                       s->rule.inside ? "it is a part of a function that is computed in float"
                                      : "it has no integer form there");
    if (qonnx_node_kept_float(s->node)) return VERDICT(VERDICT_NOTE, why, "as it was asked for");
    if (s->refused) return VERDICT(VERDICT_NOTE, why, "%s", s->refused);
    if (s->heavy && s->spectral)
        return VERDICT(VERDICT_NOTE, why, "what is small in a spectrum would be lost");
    Verdict verdict = judge_values(p, s, why);
    if (verdict == VERDICT_QUANTIZE && s->rule.weight >= 0) verdict = judge_weighted(p, s, why);
    return verdict;
}
