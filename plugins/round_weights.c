/* plugins/round_weights.c - the pass round-weights: what would the model be worth with weights of
 * fewer bits? Every weight is rounded to the nearest that so many bits can tell apart, symmetric
 * and per channel, and stays a float: `qonnx evaluate` tells the rest.
 */
#include <qonnx/pass.h>

static void round_weight(qonnx_node *n, const qonnx_grid *grid)
{
    qonnx_weight_params p;
    int input = qonnx_node_rule(n).weight;
    if (!qonnx_node_quantize_weight(n, grid, true, 0, NULL, &p)) return;

    const qonnx_value *from = qonnx_node_input(n, input);
    qonnx_tensor t = *qonnx_value_constant(from);
    int64_t count = qonnx_tensor_elements(&t), inner = 1; /* elements behind the channels' axis */
    for (int i = p.axis + 1; i < t.rank; i++) inner *= t.dims[i];
    float *rounded = qonnx_graph_alloc(qonnx_node_graph(n), t.bytes);
    for (int64_t i = 0; i < count; i++)
        rounded[i] = (float)p.data[i] * p.scales[p.axis < 0 ? 0 : i / inner % p.count];
    t.data = rounded;
    qonnx_node_set_input(n, input,
                         qonnx_graph_add_constant(qonnx_node_graph(n), qonnx_value_name(from), &t));
}

static void round_graph(qonnx_graph *g, const qonnx_grid *grid)
{
    for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) round_weight(n, grid);
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    double bits = qonnx_job_number(job, "bits");
    if (!(bits >= 2 && bits <= 8) || bits != (int)bits)
        return qonnx_fail(cx, NULL, "bits is %g, want a whole number from 2 to 8", bits);
    int most = (1 << ((int)bits - 1)) - 1;
    const qonnx_grid grid = {QONNX_INT8, -most, most, true};
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s)) round_graph(s, &grid);
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_option options[] = {
    {"bits", "4", "bits of a weight, 2 to 8; the integers used are symmetric: -7..7 for 4"},
    {0},
};

static const qonnx_pass round_weights = {
    .size = sizeof(qonnx_pass),
    .name = "round-weights",
    .brief = "round weights to what fewer bits can say; they stay floats",
    .options = options,
    .run = run,
};

static const qonnx_pass *const passes[] = {&round_weights, NULL};

static const qonnx_plugin plugin = {
    .abi = QONNX_ABI,
    .name = "round-weights",
    .version = "1.0",
    .passes = passes,
};

const qonnx_plugin *qonnx_plugin_query(uint32_t host_abi)
{
    return host_abi == QONNX_ABI ? &plugin : NULL;
}
