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

static bool is_square(const qonnx_node *n)
{
    return qonnx_node_is(n, "ReduceSumSquare") || (qonnx_node_is(n, "Pow") && is_two(n, 1)) ||
           (qonnx_node_is(n, "Mul") && qonnx_node_input(n, 0) == qonnx_node_input(n, 1));
}

/* Whether the node compresses what it reads as input i: takes its root or its logarithm, perhaps of
 * what is not below some least number. */
static bool compresses(const qonnx_node *n, int i)
{
    if (qonnx_node_is(n, "Clip") || qonnx_node_is(n, "Max")) {
        n = quantizable_only_reader(qonnx_node_output(n, 0));
        return n && (qonnx_node_is(n, "Log") || qonnx_node_is(n, "Sqrt"));
    }
    return i == 0 && (qonnx_node_is(n, "Log") || qonnx_node_is(n, "Sqrt") ||
                      qonnx_node_is(n, "ReduceL2") || (qonnx_node_is(n, "Pow") && !is_two(n, 1)));
}

/* Whether the node only adds, scales, filters, moves or squares what it reads as input i. */
static bool hands_on(const Site *s, int i)
{
    static const char *const linear[] = {"Add", "Sub", "Neg", "ReduceSum", "ReduceMean"};
    if (s->heavy) return i == 0 && quantizable_weight(s->node, &s->rule);
    if (s->rule.kind == QONNX_RULE_SAME) return i == 0;
    if (s->rule.kind == QONNX_RULE_UNIFY || is_square(s->node)) return true;
    if (qonnx_node_is(s->node, "Mul") || qonnx_node_is(s->node, "Div")) {
        const qonnx_value *by = qonnx_node_input(s->node, 1 - i);
        return by && qonnx_value_constant(by);
    }
    for (size_t k = 0; k < sizeof linear / sizeof *linear; k++)
        if (qonnx_node_is(s->node, linear[k])) return true;
    return false;
}

/* Whether the value is read, and compressed by all that reads it: sites behind it are known. */
static bool is_compressed(const Placement *p, const qonnx_value *v)
{
    if (!v || qonnx_value_is_output(v) || !qonnx_value_uses(v)) return false;
    for (int k = 0; k < qonnx_value_uses(v); k++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, k, &input);
        const Site *u = placement_site(p, n);
        if (!compresses(n, input) && !(u && u->spectral && hands_on(u, input))) return false;
    }
    return true;
}

/* The site that made input 0; NULL for none. */
static const Site *site_before(const Placement *p, const Site *s)
{
    const qonnx_value *x = qonnx_node_input(s->node, 0);
    return x ? placement_site(p, qonnx_value_producer(x)) : NULL;
}

/* Whether the site gives the magnitude of a spectrum, which it takes the root of or moves. */
static bool is_magnitude(const Placement *p, const Site *s)
{
    const Site *from = site_before(p, s);
    if (!from) return false;
    return qonnx_node_is(s->node, "Sqrt") || qonnx_node_is(s->node, "ReduceL2")
               ? from->spectral
               : s->rule.kind == QONNX_RULE_SAME && from->magnitude;
}

void spectra_find(Placement *p)
{
    Site *end = p->sites + p->count;
    for (Site *s = end; s-- > p->sites;) {
        s->spectral = qonnx_node_outputs(s->node) > 0;
        for (int i = 0; i < qonnx_node_outputs(s->node); i++)
            s->spectral &= is_compressed(p, qonnx_node_output(s->node, i));
    }
    for (Site *s = p->sites; s < end; s++) {
        const Site *from = site_before(p, s);
        s->magnitude = is_magnitude(p, s);
        s->spectral |= s->heavy && from && from->magnitude;
    }
}
