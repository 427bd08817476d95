/* passes/quantize_tables.c - large constant tables that a Gather takes rows of, embeddings that is,
 * become int8 with one scale per column. A DequantizeLinear behind the Gather gives the floats of
 * the rows that were taken, so that whatever reads them stays as it is and the file a quarter.
 */
#include "names.h"
#include <qonnx/pass.h>
#include <math.h>
#include <string.h>

/* Smaller ones are not worth it: anchors and priors, positions, masks. */
#define LEAST_ELEMENTS 16384
#define LEAST_COLUMNS 16

static const qonnx_grid grid = {QONNX_INT8, -127, 127, true};

/* A table, and what becomes of it. */
typedef struct Table {
    qonnx_value *value;
    int64_t rows, columns;
    const char *data; /* [rows][columns] floats, perhaps not aligned */
    float *scales;    /* [columns] */
    int8_t *integers; /* [rows][columns] */
} Table;

static float element(const Table *t, int64_t i)
{
    float x;
    memcpy(&x, t->data + (size_t)i * sizeof x, sizeof x);
    return x;
}

/* Whether all that read the value are Gathers that take rows of it. */
static bool only_rows_are_read(const qonnx_value *v)
{
    if (qonnx_value_is_input(v) || qonnx_value_is_output(v)) return false;
    for (int i = 0; i < qonnx_value_uses(v); i++) {
        int input;
        const qonnx_node *n = qonnx_value_use(v, i, &input);
        if (!qonnx_node_is(n, "Gather") || input != 0) return false;
        int64_t axis = qonnx_node_int(n, "axis", 0);
        if ((axis != 0 && axis != -2) || !qonnx_node_output(n, 0)) return false;
    }
    return qonnx_value_uses(v) > 0;
}

static bool find_table(qonnx_graph *g, qonnx_value *v, Table *t)
{
    const qonnx_tensor *w = qonnx_value_constant(v);
    if (!w || w->dtype != QONNX_FLOAT || w->rank != 2 || w->dims[1] < LEAST_COLUMNS ||
        qonnx_tensor_elements(w) < LEAST_ELEMENTS || !only_rows_are_read(v))
        return false;
    size_t count = (size_t)qonnx_tensor_elements(w);
    *t = (Table){v, w->dims[0], w->dims[1], w->data, NULL, NULL};
    t->scales = qonnx_graph_array(g, (size_t)t->columns, sizeof *t->scales);
    t->integers = qonnx_graph_array(g, count, 1);
    return true;
}

/* The scale of each column: its largest element is the last integer. */
static void choose_scales(const Table *t)
{
    for (int64_t i = 0; i < t->rows * t->columns; i++) {
        float *most = &t->scales[i % t->columns], x = fabsf(element(t, i));
        if (x > *most) *most = x;
    }
    for (int64_t c = 0; c < t->columns; c++) {
        int zero;
        double most = (double)t->scales[c];
        qonnx_grid_params(&grid, -most, most, &t->scales[c], &zero);
    }
}

/* Rounds a row; returns its noise as a part of its signal. Not a number where the row holds such,
 * or infinite elements. */
static double round_row(const Table *t, int64_t row)
{
    double signal = 0, noise = 0;
    for (int64_t c = 0, i = row * t->columns; c < t->columns; c++, i++) {
        float x = element(t, i);
        qonnx_grid_quantize(&grid, &x, 1, t->scales[c], 0, &t->integers[i]);
        double error = (double)x - (double)t->integers[i] * (double)t->scales[c];
        signal += (double)x * (double)x;
        noise += error * error;
    }
    return noise == 0 ? 0 : noise / signal;
}

/* Rounds the table; returns the rows' mean signal-to-noise ratio in dB, in which a row counts as
 * much as any other, however large its elements are. */
static double round_table(const Table *t)
{
    double sum = 0;
    for (int64_t row = 0; row < t->rows; row++) sum += round_row(t, row);
    return sum == 0 ? INFINITY : -10 * log10(sum / (double)t->rows);
}

/* "<name of the value><suffix>", in its graph's memory. */
static const char *name_of(const qonnx_value *v, const char *suffix)
{
    return name_join(qonnx_value_graph(v), qonnx_value_name(v), suffix);
}

/* Lets a Gather take rows of the integers, and puts a DequantizeLinear behind it. */
static void take_integers(qonnx_node *gather, qonnx_value *const parts[3])
{
    qonnx_graph *g = qonnx_node_graph(gather);
    qonnx_value *y = qonnx_node_output(gather, 0);
    qonnx_value *rows = qonnx_graph_add_value(g, name_of(y, "_quantized"));
    int rank = qonnx_value_rank(y);
    qonnx_node_set_input(gather, 0, parts[0]);
    qonnx_node_set_output(gather, 0, rows);
    qonnx_value *inputs[3] = {rows, parts[1], parts[2]};
    qonnx_node *n = qonnx_graph_add_node(g, qonnx_node_next(gather), "DequantizeLinear", "",
                                         name_of(y, "_DequantizeLinear"), inputs, 3, &y, 1);
    qonnx_node_set_int(n, "axis", rank > 0 ? rank - 1 : -1);
}

static void replace_table(const Table *t)
{
    int input;
    qonnx_value *v = t->value;
    qonnx_graph *g = qonnx_value_graph(v);
    const size_t columns = (size_t)t->columns;
    qonnx_tensor q = {
        QONNX_INT8, 2, {t->rows, t->columns}, t->integers, (size_t)t->rows * columns};
    qonnx_tensor s = {QONNX_FLOAT, 1, {t->columns}, t->scales, columns * sizeof(float)};
    qonnx_tensor z = {QONNX_INT8, 1, {t->columns}, qonnx_graph_alloc(g, columns), columns};
    qonnx_value *parts[3] = {qonnx_graph_add_constant(g, name_of(v, "_quantized"), &q),
                             qonnx_graph_add_constant(g, name_of(v, "_scale"), &s),
                             qonnx_graph_add_constant(g, name_of(v, "_zero_point"), &z)};
    while (qonnx_value_uses(v)) take_integers(qonnx_value_use(v, 0, &input), parts);
}

static bool quantize_tables(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    Table t;
    double least = qonnx_job_number(job, "sqnr");
    for (qonnx_graph *s = g; s; s = qonnx_graph_next(s))
        for (int i = 0, count = qonnx_graph_values(s); i < count; i++) {
            if (!find_table(g, qonnx_graph_value(s, i), &t)) continue;
            choose_scales(&t);
            double sqnr = round_table(&t);
            if (sqnr >= least) replace_table(&t);
            else
                qonnx_note(cx, NULL,
                           "the table '%.120s' stays in float: in int8 it would have %.1f dB",
                           qonnx_value_name(t.value), sqnr);
        }
    qonnx_graph_sweep(g);
    return true;
}

static const qonnx_option options[] = {
    {"sqnr", "30", "dB that the rows of a table must keep in the mean, else it stays in float"},
    {NULL, NULL, NULL},
};

const qonnx_pass pass_quantize_tables = {
    .name = "quantize-tables",
    .brief = "embeddings become int8 tables, dequantized behind the Gather that takes their rows",
    .options = options,
    .run = quantize_tables,
};
