/* passes/spectra.c - see spectra.h. */
#include "spectra.h"

/* Whether input i is a constant whose elements are all 2. */
static bool is_two(const qonnx_node *n, int i)
{
    float lo, hi;
    const qonnx_value *v = qonnx_node_input(n, i);
    const qonnx_tensor *t = v ? qonnx_value_constant(v) : NULL;
    return t && qonnx_tensor_elements(t) > 0 && quantizable_extremes(t, &lo, &hi) && lo == 2 &&
           hi == 2;
}

/* Whether the node makes the power of what it reads as input i, or takes its logarithm, perhaps of
 * what is not below some least number. */
static bool ends_spectrum(const qonnx_node *n, int i)
{
    if (qonnx_node_is(n, "Clip") || qonnx_node_is(n, "Max")) {
        n = quantizable_only_reader(qonnx_node_output(n, 0));
        return n && qonnx_node_is(n, "Log");
    }
    if (qonnx_node_is(n, "Pow")) return i == 0 && is_two(n, 1);
    if (qonnx_node_is(n, "Mul")) return qonnx_node_input(n, 0) == qonnx_node_input(n, 1);
    return i == 0 && (qonnx_node_is(n, "Log") || qonnx_node_is(n, "ReduceSumSquare") ||
                      qonnx_node_is(n, "ReduceL2"));
}

/* Whether the node only adds, scales, filters or moves what it reads as input i. */
static bool is_linear(const Site *s, int i)
{
    static const char *const linear[] = {"Add", "Sub", "Neg", "ReduceSum", "ReduceMean"};
    if (s->heavy) return i == 0 && quantizable_weight(s->node, &s->rule);
    if (s->rule.kind == QONNX_RULE_SAME) return i == 0;
    if (s->rule.kind == QONNX_RULE_UNIFY) return true;
    if (qonnx_node_is(s->node, "Mul") || qonnx_node_is(s->node, "Div")) {
        const qonnx_value *by = qonnx_node_input(s->node, 1 - i);
        return by && qonnx_value_constant(by);
    }
    for (size_t k = 0; k < sizeof linear / sizeof *linear; k++)
        if (qonnx_node_is(s->node, linear[k])) return true;
    return false;
}

/* Whether the value is read, and by nothing but spectra: those of the sites behind it are known. */
static bool is_spectral(const Placement *p, const qonnx_value *v)
{
    if (qonnx_value_is_output(v) || !qonnx_value_uses(v)) return false;
    for (int k = 0; k < qonnx_value_uses(v); k++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, k, &input);
        const Site *u = placement_site(p, n);
        if (!ends_spectrum(n, input) && !(u && u->spectral && is_linear(u, input))) return false;
    }
    return true;
}

/* Whether a node hands on a power or a magnitude that it reads as input 0. */
static bool hands_on_power(const Site *s)
{
    return s->rule.kind == QONNX_RULE_SAME || qonnx_node_is(s->node, "Sqrt") ||
           qonnx_node_is(s->node, "Add") || qonnx_node_is(s->node, "ReduceSum");
}

/* Whether the value is the power of a spectrum, or its magnitude. */
static bool is_power(const Placement *p, const qonnx_value *v)
{
    const Site *s = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
    return s && s->power;
}

/* Whether the site makes a power: of the result of a spectral product, moved or not. */
static bool makes_power(const Placement *p, const Site *s)
{
    const qonnx_value *x = qonnx_node_input(s->node, 0);
    const Site *from = x ? placement_site(p, qonnx_value_producer(x)) : NULL;
    if (!x || qonnx_node_is(s->node, "Log")) return false;
    return ends_spectrum(s->node, 0) ? from && from->spectral
                                     : hands_on_power(s) && is_power(p, x);
}

void spectra_find(Placement *p)
{
    Site *end = p->sites + p->count;
    for (Site *s = end; s-- > p->sites;) {
        s->spectral = qonnx_node_outputs(s->node) > 0;
        for (int i = 0; i < qonnx_node_outputs(s->node); i++)
            s->spectral &=
                qonnx_node_output(s->node, i) && is_spectral(p, qonnx_node_output(s->node, i));
    }
    for (Site *s = p->sites; s < end; s++) {
        s->power = makes_power(p, s);
        s->spectral |= s->heavy && is_power(p, qonnx_node_input(s->node, 0));
    }
}
