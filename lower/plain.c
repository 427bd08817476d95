/* lower/plain.c - com.microsoft's operators that are others in other words become those: ONNX's own
 * under another name, with images channels-last, with an activation, with tables of 8 bits.
 */
#include "lower/quantized.h"
#include "ops/op.h"
#include <stdio.h>
#include <string.h>

#define MICROSOFT "com.microsoft"

/* ---- operators of the same form --------------------------------------------------------------
 */

/* How an operator's images lie. */
typedef enum Images { NO_IMAGES, MAY_BE_LAST, LAST_ALWAYS } Images;

/* What an operator of com.microsoft is. */
typedef struct Same {
    const char *op, *plain, *domain;
    Images images;
} Same;

static const Same sames[] = {
    {"QuantizeLinear", "QuantizeLinear", "", NO_IMAGES},
    {"DequantizeLinear", "DequantizeLinear", "", NO_IMAGES},
    {"TransposeMatMul", "FusedMatMul", MICROSOFT, NO_IMAGES},
    {"QLinearConv", "QLinearConv", "", MAY_BE_LAST},
    {"NhwcMaxPool", "MaxPool", "", LAST_ALWAYS},
    {"QLinearAveragePool", "QLinearAveragePool", MICROSOFT, MAY_BE_LAST},
    {"QLinearGlobalAveragePool", "QLinearGlobalAveragePool", MICROSOFT, MAY_BE_LAST},
};

/* Axes of the images, which the inputs' shapes need not say yet. */
static int axes_of(const Node *n)
{
    const int64_t *kernel;
    const Shape *x = in_shape(n, 0), *w = in_shape(n, 3);
    int count = qonnx_node_ints(n, "kernel_shape", &kernel);
    if (x) return x->rank;
    if (count) return count + 2;
    return !strcmp(n->op, "QLinearConv") && w ? w->rank : 4;
}

/* x with the channels behind the other axes, or, `first`, in front of them. */
static Value *turned(Graph *g, Node *before, Value *x, int rank, bool first)
{
    int64_t perm[QONNX_MAX_RANK] = {0};
    for (int i = 1; i < rank; i++)
        perm[i] = first ? (i == 1 ? rank - 1 : i - 1) : i % (rank - 1) + 1;
    Value *y = node_put(g, before, "Transpose", &x, 1, x->name);
    qonnx_node_set_ints(y->def, "perm", perm, rank);
    y->dtype = x->dtype;
    return y;
}

/* Has the node's image come and go channels-last. */
static void turn_images(Node *n)
{
    int rank = axes_of(n);
    Value *x = qonnx_node_input(n, 0), *y = qonnx_node_output(n, 0);
    if (!x || !y || rank < 3 || rank > QONNX_MAX_RANK) return;
    qonnx_node_set_input(n, 0, turned(n->graph, n, x, rank, true));
    Value *made = qonnx_graph_add_value(n->graph, y->name);
    qonnx_node_set_output(n, 0, made);
    made->dtype = y->dtype;
    Value *back = turned(n->graph, n->next, made, rank, false);
    qonnx_node_set_output(back->def, 0, y);
}

/* ---- FusedGemm ------------------------------------------------------------------------------- */

/* The activation behind it becomes a node; one that is none stays. */
static void split_gemm(Node *n)
{
    static const char *const acts[] = {"Relu",     "LeakyRelu",      "Sigmoid",     "Tanh",
                                       "Elu",      "Softplus",       "HardSigmoid", "Selu",
                                       "Softsign", "ThresholdedRelu"};
    static const char *const params[] = {"alpha", "beta", "gamma"};
    const char *name = qonnx_node_string(n, "activation", "");
    size_t count = sizeof acts / sizeof *acts, at = 0;
    Value *y = qonnx_node_output(n, 0);
    while (at < count && strcmp(acts[at], name)) at++;
    if (!y || (*name && at == count)) return;
    n->domain = "";
    qonnx_node_set_op(n, "Gemm");
    Node *act = NULL;
    if (*name) {
        Value *x = qonnx_graph_add_value(n->graph, y->name);
        qonnx_node_set_output(n, 0, x);
        x->dtype = y->dtype;
        act = node_put(n->graph, n->next, name, &x, 1, y->name)->def;
        qonnx_node_set_output(act, 0, y);
    }
    for (size_t i = 0; i < 3; i++) {
        char attribute[32];
        snprintf(attribute, sizeof attribute, "activation_%s", params[i]);
        if (act && qonnx_node_has(n, attribute))
            qonnx_node_set_float(act, params[i], qonnx_node_float(n, attribute, 0));
        qonnx_node_remove_attr(n, attribute);
    }
    qonnx_node_remove_attr(n, "activation");
}

/* ---- QEmbedLayerNormalization ---------------------------------------------------------------- */

/* Tables and factors, inputs 2 to 6, whose scales begin at input 8, their zero points at 13. */
static void dequantize_tables(Node *n)
{
    enum { FIRST = 2, COUNT = 5, SCALES = 8, ZEROS = 13 };
    if (n->nin != ZEROS + COUNT) return;
    for (int i = 0; i < COUNT; i++) {
        Value *in[3] = {qonnx_node_input(n, FIRST + i), qonnx_node_input(n, SCALES + i),
                        qonnx_node_input(n, ZEROS + i)};
        if (!in[0] || !in[1]) continue;
        Value *y = node_put(n->graph, n, "DequantizeLinear", in, 3, n->name);
        qonnx_node_set_input(n, FIRST + i, y);
    }
    for (int i = n->nin - 1; i >= SCALES; i--) qonnx_node_set_input(n, i, NULL);
    qonnx_node_set_op(n, "EmbedLayerNormalization");
}

void node_make_plain(Node *n)
{
    const Same *s = NULL;
    for (size_t i = 0; i < sizeof sames / sizeof *sames; i++)
        if (!strcmp(n->op, sames[i].op)) s = &sames[i];
    if (strcmp(n->domain, MICROSOFT)) return;
    if (!strcmp(n->op, "FusedGemm")) split_gemm(n);
    if (!strcmp(n->op, "QEmbedLayerNormalization")) dequantize_tables(n);
    if (!s) return;
    bool last = s->images == LAST_ALWAYS || qonnx_node_int(n, "channels_last", 0);
    n->domain = s->domain;
    qonnx_node_set_op(n, s->plain);
    if (s->images == NO_IMAGES) return;
    qonnx_node_remove_attr(n, "channels_last");
    if (last) turn_images(n);
}

void graph_make_plain(Graph *g)
{
    for (Graph *s = g; s; s = qonnx_graph_next(s))
        for (Node *n = s->first, *next; n; n = next) {
            next = n->next;
            node_make_plain(n);
        }
}
