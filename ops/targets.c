/* ops/targets.c - the table of target profiles: what each runtime wants to find. docs/targets.md
 * has it in words, with the sources. include/qonnx/quant.h says what the fields mean.
 */
#include <qonnx/quant.h>
#include <string.h>

#define UINT8_ASYMMETRIC {QONNX_UINT8, 0, 255, false}
#define INT8_ASYMMETRIC  {QONNX_INT8, -128, 127, false}
#define INT8_SYMMETRIC   {QONNX_INT8, -127, 127, true}
#define INT7_SYMMETRIC   {QONNX_INT8, -64, 64, true}

#define HABITS(rows) .habits = (rows), .nhabits = (int)(sizeof(rows) / sizeof *(rows))

/* ---- ONNX Runtime ---------------------------------------------------------------------------- */

static const qonnx_habit onnxruntime[] = {
    {.op = "MaxPool", .taking = QONNX_TAKES_RULE, .spreads = true},
    {.op = "Reshape", .taking = QONNX_TAKES_RULE, .spreads = true},
    {.op = "Transpose", .taking = QONNX_TAKES_RULE, .spreads = true},
    {.op = "Squeeze", .taking = QONNX_TAKES_RULE, .spreads = true},
    {.op = "Unsqueeze", .taking = QONNX_TAKES_RULE, .spreads = true},
    {.kind = QONNX_RULE_ACTIVATE, .taking = QONNX_TAKES_RULE, .vanishes = true},
};

/* ---- TensorRT -------------------------------------------------------------------------------- */

static const qonnx_habit tensorrt[] = {
    {.op = "ConvTranspose", .taking = QONNX_TAKES_RULE},
    {.op = "LeakyRelu",
     .taking = QONNX_TAKES_BEHIND,
     .why = "TensorRT computes it with the operator in front"},
    {.kind = QONNX_RULE_ACTIVATE,
     .taking = QONNX_TAKES_BEHIND,
     .why = "TensorRT computes it with the operator in front"},
    {.kind = QONNX_RULE_SAME,
     .taking = QONNX_TAKES_BEHIND,
     .why = "TensorRT moves the quantization from behind it in front of it"},
    {.kind = QONNX_RULE_UNIFY,
     .taking = QONNX_TAKES_BEHIND,
     .why = "TensorRT moves the quantization from behind it in front of it"},
    {.kind = QONNX_RULE_FIXED, .taking = QONNX_TAKES_FLOAT, .why = "TensorRT computes it in float"},
};

/* ---- OpenVINO -------------------------------------------------------------------------------- */

static bool has_two_activations(const qonnx_node *n)
{
    const qonnx_value *b = qonnx_node_input(n, 1);
    const qonnx_node *from = b ? qonnx_value_producer(b) : NULL;
    if (from && qonnx_node_is(from, "DequantizeLinear")) b = qonnx_node_input(from, 0);
    return b && !qonnx_value_constant(b);
}

static const qonnx_habit openvino[] = {
    {.op = "ConvTranspose", .taking = QONNX_TAKES_RULE, .zero_free = true},
    {.op = "MatMul", .taking = QONNX_TAKES_RULE, .holds = has_two_activations, .zero_free = true},
    {.op = "LeakyRelu",
     .taking = QONNX_TAKES_BEHIND,
     .why = "OpenVINO computes it with the operator in front"},
    {.kind = QONNX_RULE_ACTIVATE,
     .taking = QONNX_TAKES_BEHIND,
     .why = "OpenVINO computes it with the operator in front"},
    {.kind = QONNX_RULE_FIXED, .taking = QONNX_TAKES_FLOAT, .why = "OpenVINO computes it in float"},
};

/* ---- Qualcomm's HTP -------------------------------------------------------------------------- */

static const qonnx_habit qnn[] = {
    {.op = "ConvTranspose", .taking = QONNX_TAKES_RULE},
    {.op = "MatMul", .taking = QONNX_TAKES_RULE, .per_tensor = true},
    {.op = "Gemm", .taking = QONNX_TAKES_RULE, .per_tensor = true},
};

/* ---- TensorFlow Lite ------------------------------------------------------------------------- */

static const qonnx_habit tflite[] = {
    {.op = "ConvTranspose", .taking = QONNX_TAKES_RULE},
    {.op = "MatMul", .taking = QONNX_TAKES_RULE, .per_tensor = true},
    {.op = "Gemm", .taking = QONNX_TAKES_RULE, .per_tensor = true},
    {.op = "AveragePool", .taking = QONNX_TAKES_RULE, .as = QONNX_RULE_SAME},
};

/* ---- all of them ----------------------------------------------------------------------------- */

static const qonnx_target targets[] = {
    {
        .size = sizeof(qonnx_target),
        .name = "ort-x86",
        .brief = "ONNX Runtime on x86-64 with VNNI: uint8 activations, int8 weights",
        .activation = UINT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .qlinear = true,
        .lone_int8 = true,
        .float_sums = true,
        HABITS(onnxruntime),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "ort-x86-avx2",
        .brief = "ONNX Runtime on x86-64 without VNNI: 7-bit weights, so that no pair saturates",
        .activation = UINT8_ASYMMETRIC,
        .weight = INT7_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .qlinear = true,
        .pairs_int16 = true,
        .lone_int8 = true,
        .float_sums = true,
        HABITS(onnxruntime),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "ort-arm",
        .brief = "ONNX Runtime on ARM: int8 activations, int8 weights",
        .activation = INT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .types = 1u << QONNX_UINT8 | 1u << QONNX_INT8,
        .qlinear = true,
        .float_sums = true,
        HABITS(onnxruntime),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "c",
        .brief = "generated C: uint8 activations, int8 weights, all operators in integers",
        .activation = UINT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .types = 1u << QONNX_UINT8 | 1u << QONNX_INT8,
        .qlinear = true,
    },
    {
        .size = sizeof(qonnx_target),
        .name = "tensorrt",
        .brief = "TensorRT: symmetric int8 in front of what is weighted, float biases",
        .activation = INT8_SYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .fuses_sums = true,
        .one_scale = true,
        .zero_free = true,
        .bias_float = true,
        HABITS(tensorrt),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "openvino",
        .brief = "OpenVINO on CPUs: uint8 or int8 activations of zero point 0, int8 weights",
        .activation = UINT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .below_zero = INT8_SYMMETRIC,
        .split = true,
        .one_scale = true,
        HABITS(openvino),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "qnn",
        .brief = "Qualcomm's HTP by QNN: uint8 or uint16 activations, pairs around all operators",
        .activation = UINT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .least_range = 1e-4f,
        .types = 1u << QONNX_UINT8 | 1u << QONNX_UINT16,
        HABITS(qnn),
    },
    {
        .size = sizeof(qonnx_target),
        .name = "tflite",
        .brief = "TensorFlow Lite's integers: int8, one scale through pools and Concat",
        .activation = INT8_ASYMMETRIC,
        .weight = INT8_SYMMETRIC,
        .quantize_outputs = true,
        .bias_int32 = true,
        .fold_activations = true,
        .one_scale = true,
        .types = 1u << QONNX_INT8,
        HABITS(tflite),
    },
};

const qonnx_target *qonnx_target_at(int i)
{
    return i >= 0 && (size_t)i < sizeof targets / sizeof *targets ? &targets[i] : NULL;
}

const qonnx_target *qonnx_target_find(const char *name)
{
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (!strcmp(targets[i].name, name)) return &targets[i];
    return NULL;
}

const qonnx_grid *qonnx_target_grid(const qonnx_target *t, float lo)
{
    return t->split && lo < 0 ? &t->below_zero : &t->activation;
}

/* Whether the row is about the node, which has that rule. */
static bool fits(const qonnx_habit *h, const qonnx_node *n, const qonnx_rule *rule)
{
    bool named = h->op ? qonnx_node_is(n, h->op) : h->kind == rule->kind;
    return named && (!h->holds || h->holds(n));
}

qonnx_rule qonnx_target_rule(const qonnx_target *t, const qonnx_node *n, const qonnx_habit **habit)
{
    qonnx_rule rule = qonnx_node_rule(n);
    const qonnx_habit *found = NULL;
    for (int i = 0; i < t->nhabits && !found; i++)
        if (fits(&t->habits[i], n, &rule)) found = &t->habits[i];
    if (rule.kind == QONNX_RULE_FLOAT && found && found->taking != QONNX_TAKES_FLOAT)
        rule.kind = rule.elsewhere;
    if (rule.kind != QONNX_RULE_FLOAT && found && found->as != QONNX_RULE_FLOAT)
        rule.kind = found->as;
    if (habit) *habit = found;
    return rule;
}
