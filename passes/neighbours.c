/* passes/neighbours.c - what a target computes together with the operator in front of it: a part of
 * placement.c.
 */
#include "placement.h"

/* ---- a Relu or a Clip that vanishes ---------------------------------------------------------- */

/* Whether quantizing to the value's range clamps as the activation does: its ends must be the
 * grid's ends. */
static bool clamps_alike(const Placement *p, const Site *s, const qonnx_value *v)
{
    const qonnx_grid *grid = quantizable_grid(v, p->target);
    float scale;
    int zero_point;
    if (!quantizable_params(v, p->target, &scale, &zero_point)) return p->assumes;
    return (double)rintf(s->rule.lo / scale) + zero_point <= grid->qmin &&
           (double)rintf(s->rule.hi / scale) + zero_point >= grid->qmax;
}

bool placement_folds(const Placement *p, const Site *s)
{
    if (!p->target->fold_activations || s->verdict != VERDICT_QUANTIZE ||
        s->rule.kind != QONNX_RULE_ACTIVATE)
        return false;
    const qonnx_value *v = qonnx_node_input(s->node, 0);
    const Site *from = placement_site(p, qonnx_value_producer(v));
    return from && from->quantized && !qonnx_value_kept(v) && from->rule.kind != QONNX_RULE_SAME &&
           from->rule.kind != QONNX_RULE_FIXED && quantizable_only_reader(v) == s->node &&
           clamps_alike(p, s, qonnx_node_output(s->node, 0));
}

/* ---- sums that are computed with a product --------------------------------------------------- */

/* The most operators in a row in front of each node; what a subgraph captures does not count. */
static void find_depths(Placement *p)
{
    for (Site *s = p->sites; s < p->sites + p->count; s++)
        for (int i = 0; i < qonnx_node_inputs(s->node); i++) {
            const qonnx_value *v = qonnx_node_input(s->node, i);
            const Site *from = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
            if (from && s->depth <= from->depth) s->depth = from->depth + 1;
        }
}

/* The product whose result the Add alone reads as that input, so that they are one kernel; else
 * NULL. */
static const Site *product_in(const Placement *p, const Site *add, int input)
{
    const qonnx_value *v = qonnx_node_input(add->node, input);
    const Site *from = v ? placement_site(p, qonnx_value_producer(v)) : NULL;
    bool product = from && from->quantized && quantizable_weight(from->node, &from->rule);
    return product && quantizable_only_reader(v) == add->node ? from : NULL;
}

void placement_find_sums(Placement *p)
{
    if (!p->target->fuses_sums) return;
    find_depths(p);
    for (Site *s = p->sites; s < p->sites + p->count; s++) {
        if (!s->quantized || !qonnx_node_is(s->node, "Add")) continue;
        const Site *a = product_in(p, s, 0), *b = product_in(p, s, 1);
        if (a || b) s->summed = a && (!b || a->depth > b->depth) ? 0 : 1;
    }
}

bool placement_reads(const Placement *p, const qonnx_node *n, int i)
{
    const Site *s = placement_reader(p, n, i);
    return s && !s->behind && s->summed != i;
}
