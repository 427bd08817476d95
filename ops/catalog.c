/* ops/catalog.c - the operators that there are: what the rows of the families say of each, and the
 * types that its inputs may have, found out by asking.
 */
#include "ops/op.h"
#include <stdio.h>
#include <string.h>

/* An attribute without which an operator takes nothing. */
typedef struct Example {
    const char *op, *attribute;
    const char *word; /* NULL: a type, */
    int type;         /* which one; 0: that of the input */
} Example;

static const Example examples[] = {
    {"BitShift", "direction", "LEFT", 0},
    {"BitCast", "to", NULL, 0},
    {"Cast", "to", NULL, QONNX_FLOAT},
};

/* A node of that operator, in a graph of its own, with all inputs that are to be asked about. */
static Node *lone_node(const Op *op, int inputs)
{
    Graph *g = graph_new("");
    qonnx_model_set_opset(g, NEWEST_OPSET);
    Node *n = graph_append(g, op->name, op->domain ? op->domain : "", "", inputs, 1);
    for (int i = 0; i < inputs; i++) {
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        qonnx_node_set_input(n, i, graph_value(g, name));
    }
    qonnx_node_set_output(n, 0, graph_value(g, "y"));
    n->row = op;
    return n;
}

/* Gives the node what it needs, its inputs being of that type. */
static void set_example(Node *n, DType t)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const Example *e = &examples[i];
        if (strcmp(e->op, n->op)) continue;
        if (e->word) qonnx_node_set_string(n, e->attribute, e->word);
        else qonnx_node_set_int(n, e->attribute, e->type ? e->type : (int)t);
    }
}

/* The types that input i may have, whatever the others have. What runs on float runs on the
 * narrower ones, too, which become float before anything is lowered (ops/narrow.c). */
static uint32_t types_of(Node *n, int i)
{
    uint32_t types = 0;
    Why why;
    for (int t = QONNX_FLOAT; t < 32; t++) {
        n->in[i]->dtype = (DType)t;
        set_example(n, (DType)t);
        if (qonnx_dtype_bits((DType)t) && op_takes(&why, n)) types |= 1u << t;
    }
    n->in[i]->dtype = QONNX_UNDEFINED;
    if (types >> QONNX_FLOAT & 1) types |= 1u << QONNX_FLOAT16 | 1u << QONNX_BFLOAT16;
    return types;
}

bool qonnx_operator_at(int i, qonnx_operator *o)
{
    const Op *op = op_at(i);
    if (!op) return false;
    const QLinear *q = op->quantized ? &op->quantized->qlinear : NULL;
    *o = (qonnx_operator){.domain = op->domain ? op->domain : "",
                          .name = op->name,
                          .least = op->min_in,
                          .most = op->max_in,
                          .rule = op->rule.kind,
                          .integers = op->quantized != NULL,
                          .qlinear = q ? q->op : NULL,
                          .qlinear_domain = q && q->op ? q->domain : NULL,
                          .subgraphs = op->flow != NULL,
                          .counted = op->counted != NULL};
    op_sets(op, &o->since, &o->until);
    int inputs = op->max_in < 0 ? op->min_in : op->max_in;
    if (inputs < 1 && op->max_in) inputs = 1;
    if (inputs > QONNX_OPERATOR_INPUTS) inputs = QONNX_OPERATOR_INPUTS;
    if (op->flow || !op->lower) return true; /* that is up to subgraphs, and to what is bundled */
    Node *n = lone_node(op, inputs);
    for (int k = 0; k < inputs; k++) o->types[k] = types_of(n, k);
    qonnx_graph_free(n->graph);
    return true;
}
