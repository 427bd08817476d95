/* cli/placed.c - see placed.h. */
#include "placed.h"
#include "nodes.h"
#include "statistics.h"
#include <qonnx/lint.h>

static bool is_quantized(const qonnx_value *v) { return maker_if(v, "DequantizeLinear"); }

/* Whether a runtime can compute the node in integers: every activation that its rule names comes
 * out of a DequantizeLinear, or it is an activation function behind such a node (or behind some
 * more of them: not more than a few, lest a long row takes forever). */
static bool runs_in_integers(const qonnx_node *n)
{
    qonnx_rule rule = qonnx_node_rule(n);
    for (int steps = 0; steps < 16 && rule.kind == QONNX_RULE_ACTIVATE && qonnx_node_input(n, 0) &&
                        !is_quantized(qonnx_node_input(n, 0));
         steps++) {
        n = qonnx_value_producer(qonnx_node_input(n, 0));
        if (!n) return false;
        rule = qonnx_node_rule(n);
    }
    if (rule.kind == QONNX_RULE_FLOAT || !rule.activations) return false;
    for (int i = 0; i < qonnx_node_inputs(n) && i < 32; i++)
        if ((rule.activations >> i & 1) && qonnx_node_input(n, i) &&
            !is_quantized(qonnx_node_input(n, i)))
            return false;
    return true;
}

/* Whether its operands are integers of 8 bits, as those of QLinear operators and of what moves such
 * are. */
static bool reads_bytes(const qonnx_node *n)
{
    static const char *const others[] = {"QuantizeLinear", "DequantizeLinear", "Cast", "Clip"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (qonnx_node_is(n, others[i])) return false;
    const qonnx_value *y = qonnx_node_output(n, 0);
    qonnx_dtype made = y ? qonnx_value_dtype(y) : QONNX_UNDEFINED;
    if (made == QONNX_BOOL || made == QONNX_INT64) return false;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = qonnx_node_input(n, i);
        qonnx_dtype t = v && !qonnx_value_constant(v) ? qonnx_value_dtype(v) : QONNX_UNDEFINED;
        if (t == QONNX_UINT8 || t == QONNX_INT8) return true;
    }
    return false;
}

static bool gives_float(const qonnx_node *n)
{
    const qonnx_value *out = qonnx_node_outputs(n) ? qonnx_node_output(n, 0) : NULL;
    return out && qonnx_value_dtype(out) == QONNX_FLOAT;
}

bool in_integers(const qonnx_node *n)
{
    return reads_bytes(n) || (gives_float(n) && runs_in_integers(n));
}

void placed_add(void *placed, const qonnx_node *n)
{
    Placed *p = placed;
    if (in_integers(n)) p->integer++;
    else if (gives_float(n) && !qonnx_node_is(n, "DequantizeLinear") &&
             !qonnx_node_is(n, "Constant"))
        tally_add(&p->left, n);
}

const char *fate_word(qonnx_fate fate)
{
    static const char *const words[] = {"integers", "follows", "float"};
    return words[fate];
}

bool placed_passes(qonnx_ctx *cx, const Args *args, Passes *out)
{
    *out = passes_split(qonnx_pipeline_default());
    if (args->observer) passes_set(out, "calibrate", "observer", args->observer);
    return passes_insert_choice(cx, args, out);
}

/* What the user wants of values, and ranges where there are statistics. */
static bool range_values(qonnx_ctx *cx, const Args *args, qonnx_graph *g,
                         const qonnx_pipeline_options *o)
{
    Passes p;
    bool good = placed_passes(cx, args, &p);
    const int calibrate = passes_find(&p, "calibrate");
    good =
        good && passes_run(cx, g, &p, passes_split_at(&p), calibrate + (o->stats != NULL), o, NULL);
    passes_free(&p);
    return good;
}

bool placed_prepare(qonnx_ctx *cx, const Args *args, qonnx_graph *g, qonnx_stats **stats)
{
    const List *files = &args->calibrations;
    qonnx_pipeline_options o = {.target = args->target};
    if (qonnx_graph_quantized(g)) {
        if (files->count)
            return qonnx_fail(cx, NULL, "%s is quantized: leave out --calibration",
                              args->operands[0]);
        return true;
    }
    if (files->count && !(*stats = statistics_read(cx, args, files->text, files->count)))
        return false;
    const char *prefix = *stats ? qonnx_stats_pipeline(*stats) : qonnx_pipeline_prefix();
    o.stats = *stats;
    qonnx_graph_rename_nodes(cx, g);
    return qonnx_pipeline_run(cx, g, prefix, &o) && (!*stats || qonnx_stats_match(cx, *stats, g)) &&
           range_values(cx, args, g, &o);
}
