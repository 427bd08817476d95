/* plugins/fuse_hard_swish.c - the pass fuse-hard-swish: the nodes that exporters write for
 * HardSwish become the one operator that ONNX has for it since operator set 14. An example of
 * patterns: they are tables, and one function goes through them.
 */
#include <qonnx/match.h>
#include <qonnx/pass.h>

/* clip(x + 3, 0, 6) */
#define SIX {"a", "Add", {"x", "=3"}}, {"c", "Clip", {"a", "=0", "=6"}}

static const qonnx_match_row times_first[] = {
    SIX, {"xc", "Mul", {"x", "c"}}, {"y", "Div", {"xc", "=6"}}};
static const qonnx_match_row divided_first[] = {
    SIX, {"g", "Div", {"c", "=6"}}, {"y", "Mul", {"x", "g"}}};
static const qonnx_match_row times_sixth[] = {
    SIX, {"xc", "Mul", {"x", "c"}}, {"y", "Mul", {"xc", "=0.166667"}}};
static const qonnx_match_row sigmoid[] = {
    {"g", "HardSigmoid", {"x"}, "alpha=0.166667"}, {"y", "Mul", {"x", "g"}}};

static const struct Form {
    const qonnx_match_row *rows;
    int count;
} forms[] = {{times_first, 4}, {divided_first, 4}, {times_sixth, 4}, {sigmoid, 2}};

/* Whether a HardSwish ends at the node; then the node becomes one. The others are swept. */
static bool fuse(qonnx_node *n)
{
    qonnx_match m;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct Form *f = &forms[i];
        if (!qonnx_match_at(n, f->rows, f->count, false, &m) || !qonnx_match_closed(&m)) continue;
        qonnx_node_set_op(n, "HardSwish");
        qonnx_node_set_input(n, 1, NULL);
        qonnx_node_set_input(n, 0, qonnx_match_value(&m, f->rows, "x"));
        return true;
    }
    return false;
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    int fused = 0;
    (void)job;
    for (qonnx_graph *s = g; s && qonnx_model_opset(g) >= 14; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n)) fused += fuse(n);
    qonnx_note(cx, NULL, "fuse-hard-swish: %d groups became HardSwish", fused);
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_pass fuse_hard_swish = {
    .size = sizeof(qonnx_pass),
    .name = "fuse-hard-swish",
    .brief = "make one HardSwish of the nodes that stand for it",
    .run = run,
};

static const qonnx_pass *const passes[] = {&fuse_hard_swish, NULL};

static const qonnx_plugin plugin = {
    .abi = QONNX_ABI,
    .name = "fuse-hard-swish",
    .version = "1.0",
    .passes = passes,
};

const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi)
{
    return host_abi == QONNX_ABI ? &plugin : NULL;
}
