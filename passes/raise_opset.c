/* passes/raise_opset.c - brings a model of a default operator set below 13 up to 13, so that every
 * later pass, row and kernel knows one form of each operator. Nothing is lowered: from 13 on nodes
 * stay as they are. Initializers that are graph inputs too come off the inputs in every model.
 *
 * One row an operator, with the operator set from which its form is valid at 13, and the adapter
 * that rewrites older forms (raise_forms.c). Source of the rows: the operators' changelog of ONNX.
 */
#include "raise.h"
#include <string.h>

#define TARGET      13 /* the operator set that models are raised to */
#define NEVER_VALID 99 /* `since` of operators that 13 no longer has */

/* ---- the operators --------------------------------------------------------------------------- */

typedef struct Row {
    const char *op;
    int since;       /* lowest operator set whose form of it is valid at 13 */
    adapt_fn *adapt; /* for older forms; NULL: they are refused, or there is none */
} Row;

static const Row rows[] = {
    {"Abs", 6, raise_legacy},
    {"Acos", 7, NULL},
    {"Acosh", 9, NULL},
    {"Add", 7, raise_broadcast},
    {"And", 7, raise_broadcast},
    {"ArgMax", 1, NULL},
    {"ArgMin", 1, NULL},
    {"Asin", 7, NULL},
    {"Asinh", 9, NULL},
    {"Atan", 7, NULL},
    {"Atanh", 9, NULL},
    {"AveragePool", 1, NULL},
    {"BatchNormalization", 9, raise_batchnorm},
    {"BitShift", 11, NULL},
    {"Cast", 6, raise_cast},
    {"Ceil", 6, raise_legacy},
    {"Celu", 12, NULL},
    {"Clip", 11, raise_clip},
    {"Compress", 9, NULL},
    {"Concat", 4, raise_concat},
    {"ConcatFromSequence", 11, NULL},
    {"Constant", 1, NULL},
    {"ConstantOfShape", 9, NULL},
    {"Conv", 1, NULL},
    {"ConvInteger", 10, NULL},
    {"ConvTranspose", 1, NULL},
    {"Cos", 7, NULL},
    {"Cosh", 9, NULL},
    {"CumSum", 11, NULL},
    {"DepthToSpace", 1, NULL},
    {"DequantizeLinear", 10, NULL},
    {"Det", 11, NULL},
    {"Div", 7, raise_broadcast},
    {"Dropout", 12, raise_dropout},
    {"DynamicQuantizeLinear", 11, NULL},
    {"Einsum", 12, NULL},
    {"Elu", 6, raise_legacy},
    {"Equal", 7, raise_broadcast},
    {"Erf", 9, NULL},
    {"Exp", 6, raise_legacy},
    {"Expand", 8, NULL},
    {"EyeLike", 9, NULL},
    {"Flatten", 1, NULL},
    {"Floor", 6, raise_legacy},
    {"GRU", 7, raise_legacy},
    {"Gather", 1, NULL},
    {"GatherElements", 11, NULL},
    {"GatherND", 11, NULL},
    {"Gemm", 7, raise_legacy},
    {"GlobalAveragePool", 1, NULL},
    {"GlobalLpPool", 2, raise_lp},
    {"GlobalMaxPool", 1, NULL},
    {"Greater", 7, raise_broadcast},
    {"GreaterOrEqual", 12, NULL},
    {"HardSigmoid", 6, raise_legacy},
    {"Hardmax", 13, raise_softmax},
    {"Identity", 1, NULL},
    {"If", 1, NULL},
    {"InstanceNormalization", 6, raise_legacy},
    {"IsInf", 10, NULL},
    {"IsNaN", 9, NULL},
    {"LRN", 1, NULL},
    {"LSTM", 7, raise_legacy},
    {"LeakyRelu", 6, raise_legacy},
    {"Less", 7, raise_broadcast},
    {"LessOrEqual", 12, NULL},
    {"Log", 6, raise_legacy},
    {"LogSoftmax", 13, raise_softmax},
    {"Loop", 1, NULL},
    {"LpNormalization", 1, NULL},
    {"LpPool", 2, raise_lp},
    {"MatMul", 1, NULL},
    {"MatMulInteger", 10, NULL},
    {"Max", 6, raise_legacy},
    {"MaxPool", 1, NULL},
    {"MaxRoiPool", 1, NULL},
    {"MaxUnpool", 9, NULL},
    {"Mean", 6, raise_legacy},
    {"MeanVarianceNormalization", 9, NULL},
    {"Min", 6, raise_legacy},
    {"Mod", 10, NULL},
    {"Mul", 7, raise_broadcast},
    {"Multinomial", 7, NULL},
    {"Neg", 6, raise_legacy},
    {"NegativeLogLikelihoodLoss", 12, NULL},
    {"NonMaxSuppression", 10, NULL},
    {"NonZero", 9, NULL},
    {"Not", 1, NULL},
    {"OneHot", 9, NULL},
    {"Or", 7, raise_broadcast},
    {"PRelu", 7, raise_prelu},
    {"Pad", 11, raise_pad},
    {"Pow", 7, raise_broadcast},
    {"QLinearConv", 10, NULL},
    {"QLinearMatMul", 10, NULL},
    {"QuantizeLinear", 10, NULL},
    {"RNN", 7, raise_legacy},
    {"RandomNormal", 1, NULL},
    {"RandomNormalLike", 1, NULL},
    {"RandomUniform", 1, NULL},
    {"RandomUniformLike", 1, NULL},
    {"Range", 11, NULL},
    {"Reciprocal", 6, raise_legacy},
    {"ReduceL1", 1, NULL},
    {"ReduceL2", 1, NULL},
    {"ReduceLogSum", 1, NULL},
    {"ReduceLogSumExp", 1, NULL},
    {"ReduceMax", 1, NULL},
    {"ReduceMean", 1, NULL},
    {"ReduceMin", 1, NULL},
    {"ReduceProd", 1, NULL},
    {"ReduceSum", 13, raise_axes},
    {"ReduceSumSquare", 1, NULL},
    {"Relu", 6, raise_legacy},
    {"Reshape", 5, raise_reshape},
    {"Resize", 13, raise_resize},
    {"ReverseSequence", 10, NULL},
    {"RoiAlign", 10, NULL},
    {"Round", 11, NULL},
    {"Scan", 9, raise_scan},
    {"Scatter", NEVER_VALID, raise_scatter},
    {"ScatterElements", 11, NULL},
    {"ScatterND", 11, NULL},
    {"Selu", 6, raise_selu},
    {"SequenceAt", 11, NULL},
    {"SequenceConstruct", 11, NULL},
    {"SequenceEmpty", 11, NULL},
    {"SequenceErase", 11, NULL},
    {"SequenceInsert", 11, NULL},
    {"SequenceLength", 11, NULL},
    {"Shape", 1, NULL},
    {"Shrink", 9, NULL},
    {"Sigmoid", 6, raise_legacy},
    {"Sign", 9, NULL},
    {"Sin", 7, NULL},
    {"Sinh", 9, NULL},
    {"Size", 1, NULL},
    {"Slice", 10, raise_slice},
    {"Softmax", 13, raise_softmax},
    {"SoftmaxCrossEntropyLoss", 12, NULL},
    {"Softplus", 1, NULL},
    {"Softsign", 1, NULL},
    {"SpaceToDepth", 1, NULL},
    {"Split", 13, raise_split},
    {"SplitToSequence", 11, NULL},
    {"Sqrt", 6, raise_legacy},
    {"Squeeze", 13, raise_axes},
    {"StringNormalizer", 10, NULL},
    {"Sub", 7, raise_broadcast},
    {"Sum", 6, raise_legacy},
    {"Tan", 7, NULL},
    {"Tanh", 6, raise_legacy},
    {"TfIdfVectorizer", 9, NULL},
    {"ThresholdedRelu", 10, NULL},
    {"Tile", 6, raise_tile},
    {"TopK", 10, raise_topk},
    {"Transpose", 1, NULL},
    {"Unique", 11, NULL},
    {"Unsqueeze", 13, raise_axes},
    {"Upsample", NEVER_VALID, raise_upsample},
    {"Where", 9, NULL},
    {"Xor", 7, raise_broadcast},
};

/* What ONNX Runtime's optimizer writes into models of any operator set. */
static bool is_in_every_set(const char *op)
{
    return !strcmp(op, "LayerNormalization") || !strcmp(op, "SimplifiedLayerNormalization");
}

static bool raise_node(Raise *r, qonnx_node *n)
{
    const char *op = qonnx_node_op(n);
    if (!qonnx_node_is(n, op) || is_in_every_set(op)) return true; /* or another domain */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].op, op) != 0) continue;
        if (r->opset >= rows[i].since) return true;
        if (!rows[i].adapt) break;
        r->stale = true;
        return rows[i].adapt(r, n);
    }
    return qonnx_fail(r->cx, n,
                      "operator set %lld has no %s that can be raised to %d; "
                      "export the model with operator set %d or newer",
                      (long long)r->opset, op, TARGET, TARGET);
}

static bool raise_graph(Raise *r, qonnx_graph *g)
{
    qonnx_node *next;
    for (qonnx_node *n = qonnx_graph_first(g); n; n = next) {
        next = qonnx_node_next(n);
        for (int i = 0; i < qonnx_node_subgraphs(n); i++)
            if (!raise_graph(r, qonnx_node_subgraph(n, i))) return false;
        if (r->inferring && !qonnx_node_infer(r->cx, n)) return false;
        raise_behind(r, n);
        if (!raise_node(r, n)) return false;
    }
    return true;
}

/* Models of IR version 3 list their initializers as inputs, with values that a caller may replace.
 * Here they are constants. */
static void drop_initialized_inputs(qonnx_ctx *cx, qonnx_graph *g)
{
    int dropped = 0;
    for (int i = qonnx_graph_inputs(g) - 1; i >= 0; i--) {
        if (!qonnx_value_constant(qonnx_graph_input(g, i))) continue;
        qonnx_graph_drop_input(g, i);
        dropped++;
    }
    if (dropped > 0)
        qonnx_note(cx, NULL, "%d initializers were inputs too; they are constants now", dropped);
}

static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{
    (void)job;
    int64_t opset = qonnx_model_opset(g);
    drop_initialized_inputs(cx, g);
    if (opset >= TARGET) return true;

    Raise r = {.cx = cx, .opset = opset > 0 ? opset : 1};
    if (!raise_graph(&r, g)) return false;
    qonnx_model_set_opset(g, TARGET);
    return true;
}

const qonnx_pass pass_raise_opset = {
    .size = sizeof(qonnx_pass),
    .name = "raise-opset",
    .brief = "brings models below operator set 13 up to 13; initializers are no longer inputs",
    .run = run,
};
