/* passes/pool_means.c - a ReduceMean over all spatial axes, as exporters of today write it, becomes
 * the GlobalAveragePool that it is, which runs in integers. Where the axes do not stay, a Flatten
 * is behind it.
 */
#include "names.h"
#include <qonnx/pass.h>

/* Whether the node is the mean over the axes behind batch and channels, of floats. One such axis is
 * more likely that of a LayerNorm, which runtimes know by its means. */
static bool is_pool(const qonnx_node *n)
{
    int64_t axes[QONNX_MAX_RANK * 2];
    unsigned seen = 0;
    const qonnx_value *x = qonnx_node_input(n, 0);
    int rank = x ? qonnx_value_rank(x) : -1;
    if (!qonnx_node_is(n, "ReduceMean") || rank < 4 || rank > 5 || !qonnx_node_output(n, 0) ||
        qonnx_value_dtype(x) != QONNX_FLOAT)
        return false;
    int count = qonnx_node_list(n, "axes", 1, axes);
    for (int i = 0; i < count; i++) {
        int64_t axis = axes[i] + (axes[i] < 0 ? rank : 0);
        if (axis < 2 || axis >= rank) return false;
        seen |= 1u << axis;
    }
    return seen == (1u << rank) - 4;
}

/* Puts a Flatten behind the pool, which makes the output that the mean had. */
static void flatten(qonnx_node *n)
{
    qonnx_graph *g = qonnx_node_graph(n);
    qonnx_value *y = qonnx_node_output(n, 0);
    const char *name = name_join(g, qonnx_value_name(y), "_pooled");
    qonnx_value *pooled = qonnx_graph_add_value(g, name);
    qonnx_node_set_output(n, 0, pooled);
    qonnx_node *f =
        qonnx_graph_add_node(g, qonnx_node_next(n), "Flatten", "", name, &pooled, 1, &y, 1);
    qonnx_node_set_int(f, "axis", 1);
}

static void make_pool(qonnx_node *n)
{
    bool keeps = qonnx_node_int(n, "keepdims", 1) != 0;
    qonnx_node_set_op(n, "GlobalAveragePool");
    qonnx_node_set_input(n, 1, NULL);
    qonnx_node_remove_attr(n, "axes");
    qonnx_node_remove_attr(n, "keepdims");
    qonnx_node_remove_attr(n, "noop_with_empty_axes");
    if (!keeps) flatten(n);
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)cx;
    (void)job;
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (qonnx_node *n = qonnx_graph_first(s); n; n = qonnx_node_next(n))
            if (is_pool(n)) make_pool(n);
    qonnx_graph_sweep(g);
    return true;
}

const qonnx_pass pass_pool_means = {
    .size = sizeof(qonnx_pass),
    .name = "pool-means",
    .brief = "makes a GlobalAveragePool of a mean over all spatial axes",
    .run = run,
};
