/* cli/costs.c - see costs.h. The figures are those of 45 nm at 0.9 V of M. Horowitz, "Computing's
 * energy problem (and what we can do about it)", ISSCC 2014, fig. 1.1.9. What is counted and what
 * is left out is told in docs/metrics.md.
 */
#include "costs.h"
#include "output.h"
#include "placed.h"
#include <qonnx/quant.h>
#include <qonnx/run.h>
#include <math.h>
#include <string.h>

/* pJ of a multiplication of 8 bits, and of one of 32; of other widths a and b the latter by
 * a * b / 32^2: a multiplier's array has a * b cells. (8 bits would have 0.194.) */
static const double byte_multiply = 0.2, word_multiply = 3.1;

/* A memory, of up to so many bytes, and what it takes to read 64 bits of it. */
static const struct Level {
    const char *name;
    double most, pj;
} levels[COST_LEVELS] = {{"cache of 8 kB", 8192, 10},
                         {"cache of 32 kB", 32768, 20},
                         {"cache of 1 MB", 1048576, 100},
                         {"DRAM", INFINITY, 1300}}; /* the lower end of 1300 to 2600 */

/* A graph being counted. */
typedef struct Counting {
    Costs *costs;
    const struct Level *weights; /* where its constants are */
} Counting;

static double multiply_pj(int a, int b)
{
    double bits = (double)(1 << a) * (double)(1 << b);
    return a == 3 && b == 3 ? byte_multiply : word_multiply * bits / 1024;
}

static int level_of(double bytes)
{
    int i = 0;
    while (bytes > levels[i].most) i++;
    return i;
}

/* ---- counting -------------------------------------------------------------------------------- */

/* What a node reads as input i: where that comes out of a DequantizeLinear the integers behind it,
 * if the node computes with them or they are constant. */
static const qonnx_value *read_as(const qonnx_node *n, int i, bool integer)
{
    const qonnx_value *v = i < qonnx_node_inputs(n) ? qonnx_node_input(n, i) : NULL;
    const qonnx_node *from = v ? qonnx_value_producer(v) : NULL;
    if (!from || !qonnx_node_is(from, "DequantizeLinear")) return v;
    const qonnx_value *q = qonnx_node_input(from, 0);
    return q && (integer || qonnx_value_constant(q)) ? q : v;
}

/* Elements, every open size taken as 1; -1: the rank is not known. */
static double elements_of(const qonnx_value *v)
{
    double elements = 1;
    for (int i = 0; i < qonnx_value_rank(v); i++)
        if (qonnx_value_dim(v, i) >= 0) elements *= (double)qonnx_value_dim(v, i);
    return qonnx_value_rank(v) < 0 ? -1 : elements;
}

/* log2 of the bits of an operand; what is computed in float has the width of floats. */
static int width_of(const qonnx_node *n, int i, bool integer)
{
    const qonnx_value *v = read_as(n, i, integer);
    int bits = v ? qonnx_dtype_bits(qonnx_value_dtype(v)) : 0, width = 0;
    if (!integer && bits < 16) bits = 32; /* a weight in few bits, or no type */
    while (width < COST_WIDTHS - 1 && 1 << width < bits) width++;
    return width;
}

static void count_multiplies(Counting *c, const qonnx_node *n, bool integer)
{
    int64_t macs = qonnx_node_macs(n);
    int second = strncmp(qonnx_node_op(n), "QLinear", 7) ? 1 : 3; /* x, its scale and zero, w */
    int a = width_of(n, 0, integer), b = width_of(n, second, integer);
    if (macs < 0) c->costs->unknown++;
    else c->costs->multiplies[a > b ? a : b][a > b ? b : a] += (double)macs;
}

/* Whether runtimes compute it with the operator in front of it, before that has written anything:
 * an activation function, a batch norm. */
static bool joined(const qonnx_node *n)
{
    const qonnx_value *x = qonnx_node_inputs(n) ? qonnx_node_input(n, 0) : NULL;
    const qonnx_node *from = x ? qonnx_value_producer(x) : NULL;
    return from && qonnx_node_macs(from) > 0 &&
           (qonnx_node_rule(n).kind == QONNX_RULE_ACTIVATE ||
            qonnx_node_is(n, "BatchNormalization"));
}

/* Whether no memory is read for it: views, what is joined with others, and what only has bodies. */
static bool reads_nothing(const qonnx_node *n)
{
    static const char *const free_of_it[] = {"QuantizeLinear", "DequantizeLinear",
                                             "Constant",       "Identity",
                                             "Reshape",        "Flatten",
                                             "Squeeze",        "Unsqueeze",
                                             "Shape",          "Size",
                                             "Dropout",        "If",
                                             "Loop",           "Scan"};
    for (size_t i = 0; i < sizeof free_of_it / sizeof *free_of_it; i++)
        if (qonnx_node_is(n, free_of_it[i])) return true;
    return joined(n);
}

/* Bytes that a node reads of a value; -1: not known. */
static double bytes_read(const qonnx_node *n, int i, const qonnx_value *v)
{
    double elements = elements_of(v);
    const qonnx_value *y = qonnx_node_output(n, 0);
    bool some = i == 0 && (qonnx_node_is(n, "Gather") || qonnx_node_is(n, "GatherND") ||
                           qonnx_node_is(n, "GatherElements") || qonnx_node_is(n, "Slice"));
    if (some && y && elements_of(y) < elements) elements = elements_of(y);
    return elements < 0 ? -1 : elements * qonnx_dtype_bits(qonnx_value_dtype(v)) / 8;
}

static void count_node(void *user, const qonnx_node *n)
{
    Counting *c = user;
    bool integer = in_integers(n), known = true;
    count_multiplies(c, n, integer);
    if (reads_nothing(n)) return;
    for (int i = 0; i < qonnx_node_inputs(n); i++) {
        const qonnx_value *v = read_as(n, i, integer);
        double bytes = v ? bytes_read(n, i, v) : 0;
        known &= bytes >= 0;
        const struct Level *at =
            v && qonnx_value_constant(v) ? c->weights : &levels[level_of(bytes)];
        if (bytes > 0) c->costs->reads[at - levels] += bytes;
    }
    c->costs->unknown += !known && qonnx_node_macs(n) >= 0;
}

static void count_weights(Costs *c, const qonnx_graph *g)
{
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        const qonnx_tensor *t = qonnx_value_constant(qonnx_graph_value(g, i));
        if (t) c->weights += (double)t->bytes;
    }
}

static void count_bodies(void *user, const qonnx_node *n)
{
    for (int i = 0; i < qonnx_node_subgraphs(n); i++)
        count_weights(user, qonnx_node_subgraph(n, i));
}

bool costs_count(qonnx_ctx *cx, const qonnx_graph *g, Costs *out)
{
    *out = (Costs){.macs = 0};
    qonnx_graph *copy = qonnx_graph_copy(g);
    const qonnx_pipeline_options o = {0};
    bool good = qonnx_graph_inline_functions(cx, copy) &&
                qonnx_pipeline_run(cx, copy, "fold-constants", &o); /* for the shapes of the rest */
    if (good) {
        count_weights(out, copy);
        visit_nodes(copy, count_bodies, out);
        Counting c = {out, &levels[level_of(out->weights)]};
        visit_nodes(copy, count_node, &c);
    }
    qonnx_graph_free(copy);
    for (int a = 0; a < COST_WIDTHS; a++)
        for (int b = 0; b <= a; b++) {
            out->macs += out->multiplies[a][b];
            out->energy += out->multiplies[a][b] * multiply_pj(a, b);
        }
    for (int i = 0; i < COST_LEVELS; i++) out->energy += out->reads[i] / 8 * levels[i].pj;
    return good;
}

/* ---- results --------------------------------------------------------------------------------- */

const char *energy_text(char *out, double pj)
{
    static const char *const units[] = {"pJ", "nJ", "uJ", "mJ", "J"};
    int i = 0;
    for (; pj >= 1000 && i < 4; i++) pj /= 1000;
    snprintf(out, SIZE_ROOM, "%.*f %s", pj < 10 ? 2 : pj < 100 ? 1 : 0, pj, units[i]);
    return out;
}

static void print_row(const char *what, double each, double count)
{
    char energy[SIZE_ROOM];
    if (count > 0)
        printf("  %-32s  %8.4g  %14.0f  %9s\n", what, each, count,
               energy_text(energy, each * count));
}

void costs_print(const Costs *c)
{
    char what[80], energy[SIZE_ROOM];
    printf("  %-32s  %8s  %14s  %9s\n", "45 nm, 0.9 V (Horowitz, 2014)", "pJ each", "times",
           "energy");
    for (int a = COST_WIDTHS - 1; a >= 0; a--)
        for (int b = a; b >= 0; b--) {
            snprintf(what, sizeof what, "multiply of %d x %d bits", 1 << a, 1 << b);
            print_row(what, multiply_pj(a, b), c->multiplies[a][b]);
        }
    for (int i = 0; i < COST_LEVELS; i++) {
        snprintf(what, sizeof what, "read of 64 bits, %s", levels[i].name);
        print_row(what, levels[i].pj, c->reads[i] / 8);
    }
    printf("  %-32s  %8s  %14s  %9s\n", "sum", "", "", energy_text(energy, c->energy));
    if (c->unknown) printf("  operators of unknown shape, left out: %ld\n", c->unknown);
}

json_t *costs_json(const Costs *c)
{
    json_t *multiplies = json_array(), *reads = json_array();
    for (int a = COST_WIDTHS - 1; a >= 0; a--)
        for (int b = a; b >= 0; b--)
            if (c->multiplies[a][b] > 0)
                json_array_append_new(multiplies,
                                      json_pack("{s[ii] sI so}", "bits", 1 << a, 1 << b, "count",
                                                (json_int_t)c->multiplies[a][b], "pj_each",
                                                json_number(multiply_pj(a, b))));
    for (int i = 0; i < COST_LEVELS; i++)
        json_array_append_new(reads, json_pack("{ss sI so}", "from", levels[i].name, "bytes",
                                               (json_int_t)c->reads[i], "pj_of_64_bits",
                                               json_number(levels[i].pj)));
    return json_pack("{sI sI sI so so so}", "weights_bytes", (json_int_t)c->weights, "macs",
                     (json_int_t)c->macs, "unknown", (json_int_t)c->unknown, "multiplies",
                     multiplies, "reads", reads, "energy_pj", json_number(c->energy));
}
