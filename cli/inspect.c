/* cli/inspect.c - qonnx inspect: what is in a model. Nothing is computed but shapes. */
#include "inspect.h"
#include "calibrate.h"
#include "options.h"
#include "output.h"
#include "placed.h"
#include "progress.h"
#include <qonnx/qonnx.h>
#include <string.h>

enum {
    TYPES = 32,       /* element types have a number below this */
    VALUE_ROOM = 1000 /* bytes shown of a metadata value */
};

/* What is counted over the graph and its subgraphs. */
typedef struct Census {
    const qonnx_runnable *runnable;
    int functions; /* local functions, whose nodes are counted where they are called */
    Tally ops;
    Placed placed;                        /* what runs in integers */
    long quantize, dequantize;            /* QuantizeLinear and DequantizeLinear nodes */
    double macs;                          /* multiply-accumulates */
    long macs_unknown;                    /* nodes that could not be counted */
    double largest, sum;                  /* bytes of node outputs with known shapes */
    char largest_name[NAME_ROOM];         /* the largest of them */
    long size_unknown;                    /* node outputs without a known size */
    double elements[TYPES], bytes[TYPES]; /* constants, by element type */
    double all_elements, all_bytes;       /* constants */
} Census;

/* Bytes of a value, every open size taken as 1; -1 when its type or rank is unknown. */
static double value_bytes(const qonnx_value *v)
{
    int rank = qonnx_value_rank(v), bits = qonnx_dtype_bits(qonnx_value_dtype(v));
    double elements = 1;
    for (int i = 0; i < rank; i++) {
        int64_t dim = qonnx_value_dim(v, i);
        elements *= dim < 0 ? 1 : (double)dim;
    }
    return rank < 0 || !bits ? -1 : elements * bits / 8;
}

static void count_output(Census *c, const qonnx_value *v)
{
    double bytes = value_bytes(v);
    if (bytes < 0) {
        c->size_unknown++;
        return;
    }
    c->sum += bytes;
    if (bytes > c->largest) {
        c->largest = bytes;
        clean_name(c->largest_name, sizeof c->largest_name, qonnx_value_name(v));
    }
}

static void count_tensor(Census *c, const qonnx_tensor *t)
{
    double elements = (double)qonnx_tensor_elements(t);
    c->all_elements += elements;
    c->all_bytes += (double)t->bytes;
    if ((unsigned)t->dtype >= TYPES) return;
    c->elements[t->dtype] += elements;
    c->bytes[t->dtype] += (double)t->bytes;
}

static void count_initializers(Census *c, const qonnx_graph *g)
{
    for (int i = 0; i < qonnx_graph_values(g); i++) {
        const qonnx_tensor *t = qonnx_value_constant(qonnx_graph_value(g, i));
        if (t) count_tensor(c, t);
    }
}

/* Whether a node only unpacks a quantized parameter. */
static bool unpacks_parameter(const qonnx_node *n)
{
    const qonnx_value *x = qonnx_node_input(n, 0);
    return qonnx_node_is(n, "DequantizeLinear") && x && qonnx_value_constant(x);
}

/* What a node computes; a Constant's tensor is a parameter instead. */
static void count_outputs(Census *c, const qonnx_node *n)
{
    const qonnx_tensor *t = qonnx_node_is(n, "Constant") ? qonnx_node_tensor(n, "value") : NULL;
    if (t) count_tensor(c, t);
    if (t || unpacks_parameter(n)) return;
    for (int i = 0; i < qonnx_node_outputs(n); i++)
        if (qonnx_node_output(n, i)) count_output(c, qonnx_node_output(n, i));
}

static void count_node(void *user, const qonnx_node *n)
{
    Census *c = user;
    const char *why;
    TallyRow *row = tally_add(&c->ops, n);
    if (!qonnx_runnable_node(c->runnable, n, &why) && !row->refused++) row->why = why;
    placed_add(&c->placed, n);
    c->quantize += qonnx_node_is(n, "QuantizeLinear");
    c->dequantize += qonnx_node_is(n, "DequantizeLinear");
    int64_t macs = qonnx_node_macs(n);
    if (macs < 0)
        c->macs_unknown++;
    else
        c->macs += (double)macs;
    count_outputs(c, n);
    for (int i = 0; i < qonnx_node_subgraphs(n); i++)
        count_initializers(c, qonnx_node_subgraph(n, i));
}

/* ---- as text --------------------------------------------------------------------------------- */

static void print_value(const char *what, const qonnx_value *v)
{
    char name[NAME_ROOM], type[NAME_ROOM];
    printf("%-12s%s %s\n", what, clean_name(name, sizeof name, qonnx_value_name(v)),
           type_text(type, sizeof type, v));
}

static void print_head(const char *path, const qonnx_graph *g)
{
    char size[SIZE_ROOM], name[NAME_ROOM], release[NAME_ROOM];
    const char *version = "", *producer = qonnx_model_producer(g, &version);
    print_line("%-12s%s, %s", "file", path, size_text(size, file_size(path)));
    printf("%-12sIR %lld, opset %lld\n", "format", (long long)qonnx_model_ir_version(g),
           (long long)qonnx_model_opset(g));
    if (*producer)
        printf("%-12s%s%s%s\n", "producer", clean_name(name, sizeof name, producer),
               *version ? " " : "", clean_name(release, sizeof release, version));
    for (int i = 0; i < qonnx_graph_inputs(g); i++)
        if (!qonnx_value_constant(qonnx_graph_input(g, i)))
            print_value("input", qonnx_graph_input(g, i));
    for (int i = 0; i < qonnx_graph_outputs(g); i++)
        print_value("output", qonnx_graph_output(g, i));
}

static void print_parameters(const Census *c)
{
    char size[SIZE_ROOM];
    printf("%-12s%.0f, %s", "parameters", c->all_elements, size_text(size, c->all_bytes));
    const char *separator = " (";
    for (int i = 0; i < TYPES; i++) {
        if (!c->elements[i]) continue;
        printf("%s%s %.0f", separator, qonnx_dtype_name((qonnx_dtype)i), c->elements[i]);
        separator = ", ";
    }
    printf("%s\n", *separator == ',' ? ")" : "");
}

/* " (unknown to this library)", " (2 cannot be run: input 0 is float16)". */
static const char *refusal_text(char *text, size_t size, const TallyRow *row)
{
    char why[NAME_ROOM];
    *text = 0;
    if (!row->refused) return text;
    if (!*row->why) return " (unknown to this library)";
    snprintf(text, size, " (%ld cannot be run: %s)", row->refused,
             clean_name(why, sizeof why, row->why));
    return text;
}

static void print_operators(const Census *c)
{
    if (c->functions) printf("%-12s%d, counted where they are called\n", "functions", c->functions);
    printf("%-12s%ld\n", "operators", c->ops.total);
    for (int i = 0; i < c->ops.count; i++) {
        const TallyRow *row = &c->ops.rows[i];
        char op[NAME_ROOM], domain[NAME_ROOM], refusal[2 * NAME_ROOM];
        printf("%-12s%6ld %s%s%s%s\n", "", row->count,
               clean_name(domain, sizeof domain, row->domain), *row->domain ? "." : "",
               clean_name(op, sizeof op, row->op), refusal_text(refusal, sizeof refusal, row));
    }
}

static void print_work(const Census *c)
{
    char largest[SIZE_ROOM], sum[SIZE_ROOM];
    printf("%-12s", "MACs");
    if (c->macs || !c->macs_unknown) printf("%.0f%s", c->macs, c->macs_unknown ? " and " : "");
    if (c->macs_unknown) printf("those of %ld operators of unknown shape", c->macs_unknown);
    printf("\n%-12slargest %s%s%s, sum %s", "activations", size_text(largest, c->largest),
           *c->largest_name ? " " : "", c->largest_name, size_text(sum, c->sum));
    if (c->size_unknown) printf(" and %ld of unknown shape", c->size_unknown);
    printf("\n%-12s", "quantized");
    const Placed *p = &c->placed;
    if (c->quantize + c->dequantize + p->integer)
        printf("%ld QuantizeLinear, %ld DequantizeLinear; %ld of %ld operators in integers\n",
               c->quantize, c->dequantize, p->integer, p->integer + p->left.total);
    else
        printf("no\n");
}

static void print_text(const char *path, const qonnx_graph *g, const Census *c)
{
    print_head(path, g);
    print_parameters(c);
    print_operators(c);
    print_work(c);
    const char *key, *value;
    for (int i = 0; (key = qonnx_model_metadata_at(g, i, &value)); i++) {
        char name[NAME_ROOM], text[VALUE_ROOM];
        printf("%-12s%s = %s\n", "metadata", clean_name(name, sizeof name, key),
               clean_name(text, sizeof text, value));
    }
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static json_t *value_json(const qonnx_value *v)
{
    json_t *shape = qonnx_value_rank(v) < 0 ? json_null() : json_array();
    for (int i = 0; i < qonnx_value_rank(v); i++) {
        int64_t dim = qonnx_value_dim(v, i);
        const char *name = qonnx_value_dim_name(v, i);
        json_array_append_new(shape, dim >= 0 ? json_integer(dim)
                                     : name   ? json_text(name)
                                              : json_null());
    }
    return json_pack("{so ss so}", "name", json_text(qonnx_value_name(v)), "type",
                     qonnx_dtype_name(qonnx_value_dtype(v)), "shape", shape);
}

static json_t *parameters_json(const Census *c)
{
    json_t *types = json_object();
    for (int i = 0; i < TYPES; i++)
        if (c->elements[i])
            json_object_set_new(types, qonnx_dtype_name((qonnx_dtype)i),
                                json_pack("{sI sI}", "count", (json_int_t)c->elements[i], "bytes",
                                          (json_int_t)c->bytes[i]));
    return json_pack("{sI sI so}", "count", (json_int_t)c->all_elements, "bytes",
                     (json_int_t)c->all_bytes, "types", types);
}

static json_t *operators_json(const Census *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->ops.count; i++) {
        const TallyRow *row = &c->ops.rows[i];
        json_array_append_new(list, json_pack("{so so sI sb sI so}", "type", json_text(row->op),
                                              "domain", json_text(row->domain), "count",
                                              (json_int_t)row->count, "known", !row->refused,
                                              "refused", (json_int_t)row->refused, "why",
                                              row->refused ? json_text(row->why) : json_null()));
    }
    return list;
}

static void print_json(const char *path, const qonnx_graph *g, const Census *c)
{
    const char *version = "", *producer = qonnx_model_producer(g, &version);
    json_t *inputs = json_array(), *outputs = json_array(), *metadata = json_object();
    for (int i = 0; i < qonnx_graph_inputs(g); i++)
        if (!qonnx_value_constant(qonnx_graph_input(g, i)))
            json_array_append_new(inputs, value_json(qonnx_graph_input(g, i)));
    for (int i = 0; i < qonnx_graph_outputs(g); i++)
        json_array_append_new(outputs, value_json(qonnx_graph_output(g, i)));
    const char *key, *value;
    for (int i = 0; (key = qonnx_model_metadata_at(g, i, &value)); i++)
        json_object_set_new(metadata, key, json_text(value));
    json_t *activations =
        json_pack("{sI ss sI sI}", "largest_bytes", (json_int_t)c->largest, "largest", "",
                  "sum_bytes", (json_int_t)c->sum, "unknown", (json_int_t)c->size_unknown);
    json_object_set_new(activations, "largest", json_text(c->largest_name));
    json_print(json_pack(
        "{so sI sI sI so so so so so si so sI sI so so so}", "file", json_text(path), "bytes",
        (json_int_t)file_size(path), "ir_version", (json_int_t)qonnx_model_ir_version(g), "opset",
        (json_int_t)qonnx_model_opset(g), "producer", json_text(producer), "producer_version",
        json_text(version), "inputs", inputs, "outputs", outputs, "parameters", parameters_json(c),
        "functions", c->functions, "operators", operators_json(c), "macs", (json_int_t)c->macs,
        "macs_unknown", (json_int_t)c->macs_unknown, "activations", activations, "quantized",
        json_pack("{sI sI sI}", "QuantizeLinear", (json_int_t)c->quantize, "DequantizeLinear",
                  (json_int_t)c->dequantize, "in_integers", (json_int_t)c->placed.integer),
        "metadata", metadata));
}

static int inspect(const Verb *verb, const Args *args)
{
    (void)verb;
    const char *path = args->operands[0];
    if (is_statistics(path)) return inspect_statistics(path, args->json);
    qonnx_ctx *cx = progress_ctx();
    qonnx_graph *g = shaped_load(cx, args, path);
    int status = EXIT_DONE, functions = g ? qonnx_model_functions(g) : 0;
    if (g && qonnx_graph_inline_functions(cx, g)) {
        qonnx_runnable *runnable = qonnx_runnable_new(g);
        Census c = {.runnable = runnable, .functions = functions};
        count_initializers(&c, g);
        visit_nodes(g, count_node, &c);
        tally_sort(&c.ops);
        (args->json ? print_json : print_text)(path, g, &c);
        tally_free(&c.ops);
        tally_free(&c.placed.left);
        qonnx_runnable_free(runnable);
    } else {
        status = report_failure(cx);
    }
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    return status;
}

static const Option options[] = {{.name = NULL}};

const Verb verb_inspect = {
    .name = "inspect",
    .brief = "what is in a model: operators, shapes, parameters, work, memory",
    .forms = "MODEL [--json]\nM.qcal [--json]",
    .text = "Prints what an ONNX file holds. Sizes of activations and multiply-accumulates take\n"
            "every open size as 1; operators that this library can not run are marked, with the\n"
            "reason: what is not marked runs.\n"
            "Of a file of calibration statistics: how often which values were counted, with the\n"
            "path of the subgraph that they are in, and between which extremes.",
    .examples = "qonnx inspect model.onnx\n"
                "qonnx inspect model.onnx --shape 1,3,640,640 --json | jq .macs\n"
                "qonnx inspect model.int8.onnx | grep metadata\n"
                "qonnx inspect model.qcal",
    .options = options,
    .json = true,
    .least = 1,
    .most = 1,
    .run = inspect,
};
