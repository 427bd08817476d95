/* passes/quantize_tables.c - large constant tables that a Gather or a Slice takes rows of,
 * embeddings and positions that is, become int8 with one scale per column. A DequantizeLinear
 * behind it gives the floats of the rows that were taken, so that whatever reads them stays as it
 * is and the file a quarter.
 */
#include "names.h"
#include "stored.h"

/* Smaller ones are not worth it: anchors and priors, masks. */
#define LEAST_ELEMENTS 16384
#define LEAST_COLUMNS 16

/* Whether a Slice is one along that axis alone, of two. */
static bool slices_rows(const qonnx_node *n)
{
    const qonnx_value *v = qonnx_node_input(n, 3);
    const qonnx_tensor *axes = v ? qonnx_value_constant(v) : NULL;
    if (!axes || qonnx_tensor_elements(axes) != 1) return false;
    const double axis = qonnx_tensor_get(axes, 0);
    return axis == 0 || axis == -2;
}

/* Whether a node takes rows of a table. */
static bool takes_rows(const qonnx_node *n)
{
    if (qonnx_node_is(n, "Slice")) return slices_rows(n);
    const int64_t axis = qonnx_node_int(n, "axis", 0);
    return qonnx_node_is(n, "Gather") && (axis == 0 || axis == -2);
}

/* Whether all that read the value take rows of it. */
static bool only_rows_are_read(const qonnx_value *v)
{
    if (qonnx_value_is_input(v) || qonnx_value_is_output(v)) return false;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (input != 0 || qonnx_node_kept_float(n) || !takes_rows(n) || !qonnx_node_output(n, 0))
            return false;
    }
    return qonnx_value_uses(v) > 0;
}

static bool is_table(const qonnx_value *v)
{
    const qonnx_tensor *w = qonnx_value_constant(v);
    return w && w->dtype == QONNX_FLOAT && w->rank == 2 && w->dims[1] >= LEAST_COLUMNS &&
           qonnx_tensor_elements(w) >= LEAST_ELEMENTS && only_rows_are_read(v);
}

/* Lets a node take rows of the integers, and puts a DequantizeLinear behind it. */
static void take_integers(qonnx_node *taker, qonnx_value *const parts[3])
{
    qonnx_graph *g = qonnx_node_graph(taker);
    qonnx_value *y = qonnx_node_output(taker, 0);
    qonnx_value *rows = qonnx_graph_add_value(g, name_join(g, qonnx_value_name(y), "_quantized"));
    int rank = qonnx_value_rank(y);
    qonnx_node_set_input(taker, 0, parts[0]);
    qonnx_node_set_output(taker, 0, rows);
    qonnx_value *inputs[3] = {rows, parts[1], parts[2]};
    stored_dequantize(g, qonnx_node_next(taker), inputs, rank > 0 ? rank - 1 : -1, y);
}

static void replace_table(const Stored *s)
{
    int input;
    qonnx_value *parts[3];
    stored_add(s, parts);
    while (qonnx_value_uses(s->value)) take_integers(qonnx_value_use(s->value, 0, &input), parts);
}

static bool quantize_tables(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (int i = 0, count = qonnx_graph_values(s); i < count; i++) {
            Stored t;
            qonnx_value *v = qonnx_graph_value(s, i);
            if (!is_table(v)) continue;
            stored_round(&t, v, 1);
            if (stored_keeps(cx, job, &t, "table")) replace_table(&t);
        }
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_option options[] = {
    STORED_OPTION("the rows of a table"),
    {NULL, NULL, NULL},
};

const qonnx_pass pass_quantize_tables = {
    .size = sizeof(qonnx_pass),
    .name = "quantize-tables",
    .brief = "embeddings become int8 tables, dequantized behind what takes their rows",
    .options = options,
    .run = quantize_tables,
};
