/* passes/lint.c - qonnx_graph_lint: what becomes of each node on a target, by the table that
 * placement reads. Of a model in float placement itself says it; of one that is quantized,
 * groups.c.
 */
#include "groups.h"
#include "overflow.h"

typedef struct Lint {
    qonnx_graph *g;
    const qonnx_target *target;
    Placement placement; /* of a model in float */
    bool quantized;
    qonnx_finding *findings; /* room for one of each node */
    int count;
} Lint;

bool qonnx_graph_quantized(const qonnx_graph *g)
{
    for (; g; g = qonnx_graph_next(g))
        for (const qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n))
            if (group_is(n, "DequantizeLinear") || group_is_qlinear(n)) return true;
    return false;
}

/* Whether something is to be said of the node: it gives floats, or is one of integers. */
static bool is_asked(const qonnx_node *n)
{
    static const char *const others[] = {"QuantizeLinear", "DequantizeLinear", "Constant"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (group_is(n, others[i])) return false;
    if (group_is_qlinear(n)) return true;
    for (int i = 0; i < qonnx_node_outputs(n); i++) {
        const qonnx_value *v = qonnx_node_output(n, i);
        qonnx_dtype t = v ? qonnx_value_dtype(v) : QONNX_BOOL;
        if (t == QONNX_FLOAT || t == QONNX_FLOAT16 || t == QONNX_BFLOAT16 || t == QONNX_DOUBLE)
            return true;
    }
    return false;
}

static const char *keep_text(qonnx_graph *g, const Reason *why)
{
    size_t bytes = strlen(why->text) + 1;
    return *why->text ? memcpy(qonnx_graph_alloc(g, bytes), why->text, bytes) : NULL;
}

/* What placement says of the node. */
static void foresee(const Lint *l, qonnx_finding *f)
{
    const qonnx_habit *habit;
    const Site *s = placement_site(&l->placement, f->node);
    qonnx_target_rule(l->target, f->node, &habit);
    if (placement_folds(&l->placement, s)) {
        f->fate = QONNX_FATE_FOLLOWS;
        f->why = "it vanishes into the range of what is in front of it";
        return;
    }
    if (s->quantized && habit && habit->vanishes) {
        f->fate = QONNX_FATE_FLOAT;
        f->why = GROUP_STAYS;
        return;
    }
    f->fate = !s->quantized ? QONNX_FATE_FLOAT
              : s->behind   ? QONNX_FATE_FOLLOWS
                            : QONNX_FATE_INTEGERS;
    f->why = s->quantized ? s->behind ? habit->why : NULL : s->why;
}

static void look(Lint *l, const qonnx_node *n)
{
    Reason why = {""};
    qonnx_finding *f = &l->findings[l->count++];
    qonnx_rule rule = qonnx_target_rule(l->target, n, NULL);
    *f = (qonnx_finding){.node = n};
    f->heavy = (rule.weight >= 0 && rule.kind != QONNX_RULE_FLOAT) || qonnx_node_is(n, "MatMul") ||
               overflow_operator(n);
    if (l->quantized) {
        f->fate = group_judge(l->target, n, &why, &f->broken);
        f->why = keep_text(l->g, &why);
    } else {
        foresee(l, f);
    }
    why.text[0] = 0;
    if (f->heavy && f->fate == QONNX_FATE_INTEGERS && !overflow_excluded(l->target, n, &rule, &why))
        f->overflow = keep_text(l->g, &why);
}

const qonnx_finding *qonnx_graph_lint(qonnx_graph *g, const qonnx_target *t,
                                      const qonnx_stats *stats, int *count)
{
    Lint l = {.g = g, .target = t};
    l.quantized = qonnx_graph_quantized(g);
    if (!l.quantized) placement_foresee(&l.placement, g, t, stats, !stats);
    size_t room = 0;
    for (const qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (const qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) room++;
    l.findings = qonnx_graph_array(g, room, sizeof *l.findings);
    for (const qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (const qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n))
            if (is_asked(n)) look(&l, n);
    *count = l.count;
    return l.findings;
}
