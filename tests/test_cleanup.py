"""The passes that clean a graph up: what they take out, what they leave, and that the results stay.

A case is a graph in ONNX's text form and the operators behind the pass, in order.
"""
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

# Random constants that the graphs name: the shape of each.
CONSTANTS = {"conv3x4": (3, 4, 3, 3), "group6x2": (6, 2, 3, 3), "transposed4x6": (4, 3, 3, 3), "matrix4x3": (4, 3),
             "matrix3x4": (3, 4), "vector3": (3,), "vector3b": (3,), "vector6": (6,), "column3": (3, 1, 1),
             "four3": (1, 3, 1, 1), "row3": (1, 3), "batch2": (2, 1, 1, 1), "full": (2, 3)}


def model(text, opset=13):
    """A model from the text form, with those constants that it names; outputs are float tensors by default."""
    made = parser.parse_model(f'<ir_version: 7, opset_import: ["" : {opset}, "com.microsoft" : 1]> {text}')
    random = np.random.default_rng(11)
    for name, shape in CONSTANTS.items():
        values = random.uniform(0.5, 2, shape).astype(np.float32) * random.choice([-1, 1], shape)
        if re.search(rf"\b{name}\b", text):
            made.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    for output in made.graph.output:
        if not output.HasField("type"):
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return made


def infer(made):
    random = np.random.default_rng(5)
    feed = {}
    for value in made.graph.input:
        shape = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feed[value.name] = random.normal(size=shape).astype(dtype)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def ops(graph):
    """Operators in order; those of subgraphs behind the node they belong to, in brackets."""
    found = []
    for node in graph.node:
        inner = [ops(a.g) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        found.append(node.op_type + "".join(f"[{i}]" for i in inner))
    return " ".join(found)


@pytest.fixture
def cleaned(run, tmp_path):
    """cleaned(model, passes) gives the model behind the passes, and what was said."""

    def run_passes(made, passes):
        before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
        onnx.save(made, before)
        result = run("quantize", before, "--pipeline", passes, "-o", after)
        assert result.rc == 0, result.stderr
        made = onnx.load(after)
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(made, strict_mode=True))
        return made, result.stderr

    return run_passes


def check(cleaned, passes, text, want, rtol=1e-5):
    before = model(text)
    after, said = cleaned(before, passes)
    assert ops(after.graph) == want
    assert [o.name for o in after.graph.output] == [o.name for o in before.graph.output]
    for a, b in zip(infer(before), infer(after)):
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol)
    return after, said


# ---- fold-batchnorm ----

IMAGE = "g (float[2,4,5,5] x) => (float[N,C,H,D] y)"
NORM = "<float[3] scale = {1.5,-2,0.5}, float[3] b = {0.5,1,-1}, float[3] m = {0.1,0.2,3}, float[3] v = {2,3,0.01}>"
BATCHNORM = {
    "conv": (f"{IMAGE} {NORM} {{ a = Conv (x, conv3x4) y = BatchNormalization (a, scale, b, m, v) }}", "Conv"),
    "conv with bias": (f"{IMAGE} {NORM} {{ a = Conv (x, conv3x4, vector3) "
                       "y = BatchNormalization <epsilon=0.1> (a, scale, b, m, v) }", "Conv"),
    "grouped": ("g (float[2,4,5,5] x) => (float[N,C,H,D] y) <float[6] v = {1,2,3,4,5,6}> { "
                "a = Conv <group=2> (x, group6x2) y = BatchNormalization (a, vector6, vector6, vector6, v) }", "Conv"),
    "transposed, grouped": ("g (float[2,4,5,5] x) => (float[N,C,H,D] y) <float[6] v = {1,2,3,4,5,6}> { "
                            "a = ConvTranspose <group=2> (x, transposed4x6) "
                            "y = BatchNormalization (a, vector6, vector6, vector6, v) }", "ConvTranspose"),
    "gemm": (f"g (float[2,4] x) => (float[N,C] y) {NORM} {{ a = Gemm <beta=0.5, alpha=2.0> (x, matrix4x3, row3) "
             "y = BatchNormalization (a, scale, b, m, v) }", "Gemm"),
    "gemm transposed": (f"g (float[2,4] x) => (float[N,C] y) {NORM} {{ a = Gemm <transB=1> (x, matrix3x4) "
                        "y = BatchNormalization (a, scale, b, m, v) }", "Gemm"),
    "matmul": (f"g (float[2,4] x) => (float[N,C] y) {NORM} {{ a = MatMul (x, matrix4x3) "
               "y = BatchNormalization (a, scale, b, m, v) }", "Gemm"),
    "matmul of rank 3": (f"g (float[2,3,4] x) => (float[N,C,D] y) {NORM} {{ a = MatMul (x, matrix4x3) "
                         "y = BatchNormalization (a, scale, b, m, v) }", "MatMul BatchNormalization"),
    "two users": (f"g (float[2,4,5,5] x) => (float[N,C,H,D] y, float[N,C,H,D] z) {NORM} {{ a = Conv (x, conv3x4) "
                  "y = BatchNormalization (a, scale, b, m, v) z = Relu (a) }", "Conv BatchNormalization Relu"),
    "graph output between": (f"g (float[2,4,5,5] x) => (float[N,C,H,D] a, float[N,C,H,D] y) {NORM} {{ "
                             "a = Conv (x, conv3x4) y = BatchNormalization (a, scale, b, m, v) }",
                             "Conv BatchNormalization"),
    "shared weights": (f"g (float[2,4,5,5] x) => (float[N,C,H,D] y, float[N,C,H,D] z) {NORM} {{ "
                       "a = Conv (x, conv3x4) y = BatchNormalization (a, scale, b, m, v) z = Conv (x, conv3x4) }",
                       "Conv Conv"),
    "mul a channel": (f"{IMAGE} {{ a = Conv (x, conv3x4, vector3) y = Mul (a, column3) }}", "Conv"),
    "mul from the left": (f"{IMAGE} {{ a = Conv (x, conv3x4) y = Mul (four3, a) }}", "Conv"),
    "mul by a scalar": (f"{IMAGE} <float s = {{3}}> {{ a = Conv (x, conv3x4, vector3) y = Mul (a, s) }}", "Conv"),
    "mul a column of pixels": (f"{IMAGE} <float[3] w = {{1,2,3}}> {{ a = Conv (x, conv3x4) y = Mul (a, w) }}",
                               "Conv Mul"),
    "mul a sample": (f"{IMAGE} {{ a = Conv (x, conv3x4) y = Mul (a, batch2) }}", "Conv Mul"),
    "div": (f"{IMAGE} {{ a = Conv (x, conv3x4, vector3) y = Div (a, column3) }}", "Conv"),
    "one over": (f"{IMAGE} {{ a = Conv (x, conv3x4, vector3) y = Div (column3, a) }}", "Conv Div"),
    "sub": (f"{IMAGE} {{ a = Conv (x, conv3x4) y = Sub (a, column3) }}", "Conv"),
    "sub from": (f"{IMAGE} {{ a = Conv (x, conv3x4, vector3) y = Sub (column3, a) }}", "Conv"),
    "all of them": (f"{IMAGE} {NORM} {{ a = Conv (x, conv3x4) c = Mul (a, column3) d = Sub (c, column3) "
                    "e = BatchNormalization (d, scale, b, m, v) y = Div (e, four3) }", "Conv"),
    "mul behind a matmul of rank 3": ("g (float[2,3,4] x) => (float[N,C,D] y) { a = MatMul (x, matrix4x3) "
                                      "y = Mul (a, vector3) }", "MatMul"),
    "sub behind a matmul of rank 3": ("g (float[2,3,4] x) => (float[N,C,D] y) { a = MatMul (x, matrix4x3) "
                                      "y = Sub (a, vector3) }", "MatMul Sub"),
    "in a branch": (f"g (float[2,4,5,5] x, bool c) => (float[N,C,H,D] y) {NORM} {{ y = If (c) <"
                    "then_branch = t () => (float[N,C,H,D] p) { a = Conv (x, conv3x4) "
                    "p = BatchNormalization (a, scale, b, m, v) }, "
                    "else_branch = e () => (float[N,C,H,D] q) { q = Conv (x, conv3x4) }> }", "If[Conv][Conv]"),
}


@pytest.mark.parametrize("name", BATCHNORM)
def test_fold_batchnorm(name, cleaned):
    check(cleaned, "fold-batchnorm", *BATCHNORM[name])


def test_fold_batchnorm_names(cleaned):
    after, _ = check(cleaned, "fold-batchnorm", *BATCHNORM["shared weights"])
    weights = {i.name for i in after.graph.initializer}
    assert {"conv3x4", "a_bias"} <= weights and len(weights) == 3
    after, _ = check(cleaned, "fold-batchnorm", *BATCHNORM["conv with bias"])
    assert {i.name for i in after.graph.initializer} == {"conv3x4", "vector3"}


@pytest.mark.parametrize("variance, gamma", [("-1", "1"), ("1", "nan"), ("1", "inf"), ("1", "3e38")])
def test_fold_batchnorm_leaves_what_is_not_finite(variance, gamma, cleaned):
    made = model(f"{IMAGE} {NORM} {{ a = Conv (x, conv3x4) y = BatchNormalization (a, scale, b, m, v) }}")
    for name, value in (("v", variance), ("scale", gamma)):
        made.graph.initializer[[i.name for i in made.graph.initializer].index(name)].CopyFrom(
            numpy_helper.from_array(np.float32([1, value, 1]), name))
    after, said = cleaned(made, "fold-batchnorm")
    assert ops(after.graph) == "Conv BatchNormalization"
    assert "not finite" in said and after.graph.initializer == made.graph.initializer


# ---- fuse-bias-add ----

BIAS = {
    "conv": (f"{IMAGE} {{ a = Conv (x, conv3x4) y = Add (a, column3) }}", "Conv"),
    "conv, scalar": (f"{IMAGE} <float s = {{3}}> {{ a = Conv (x, conv3x4) y = Add (s, a) }}", "Conv"),
    "conv with bias": (f"{IMAGE} {{ a = Conv (x, conv3x4, vector3) y = Add (four3, a) }}", "Conv"),
    "conv, a row of pixels": (f"{IMAGE} {{ a = Conv (x, conv3x4) y = Add (a, vector3) }}", "Conv Add"),
    "conv, residual": (f"{IMAGE} {{ a = Conv (x, conv3x4) b = Conv (x, conv3x4) y = Add (a, b) }}", "Conv Conv Add"),
    "conv, five dimensions": ("g (float[2,4,5,5] x) => (float[A,N,C,H,D] y) <float[1,1,3,1,1] s = {1,2,3}> "
                              "{ a = Conv (x, conv3x4) y = Add (a, s) }", "Conv Add"),
    "transposed": ("g (float[2,4,5,5] x) => (float[N,C,H,D] y) <float[1,6,1,1] s = {1,2,3,4,5,6}> "
                   "{ a = ConvTranspose <group=2> (x, transposed4x6) y = Add (a, s) }", "ConvTranspose"),
    "matmul": ("g (float[2,4] x) => (float[N,C] y) { a = MatMul (x, matrix4x3) y = Add (a, vector3) }", "Gemm"),
    "matmul, row": ("g (float[2,4] x) => (float[N,C] y) { a = MatMul (x, matrix4x3) y = Add (row3, a) }", "Gemm"),
    "matmul, full": ("g (float[2,4] x) => (float[N,C] y) { a = MatMul (x, matrix4x3) y = Add (full, a) }",
                     "MatMul Add"),
    "matmul of rank 3": ("g (float[2,5,4] x) => (float[N,C,D] y) { a = MatMul (x, matrix4x3) y = Add (a, vector3) }",
                         "MatMul Add"),
    "matmul, no constant": ("g (float[2,4] x, float[4,3] w) => (float[N,C] y) { a = MatMul (x, w) "
                            "y = Add (a, vector3) }", "MatMul Add"),
    "gemm": ("g (float[2,4] x) => (float[N,C] y) { a = Gemm <beta=0.5, transB=1> (x, matrix3x4, vector3) "
             "y = Add (a, row3) }", "Gemm"),
    "twice": ("g (float[2,4] x) => (float[N,C] y) { a = MatMul (x, matrix4x3) b = Add (a, vector3) "
              "y = Add (b, vector3b) }", "Gemm"),
    "same constant twice": ("g (float[2,4] x) => (float[N,C] y) { a = Gemm (x, matrix4x3, vector3) "
                            "y = Add (a, vector3) }", "Gemm"),
}


@pytest.mark.parametrize("name", BIAS)
def test_fuse_bias_add(name, cleaned):
    check(cleaned, "fuse-bias-add", *BIAS[name])


def test_fuse_bias_add_names(cleaned):
    after, _ = check(cleaned, "fuse-bias-add", *BIAS["conv"])
    assert {i.name: list(i.dims) for i in after.graph.initializer} == {"conv3x4": [3, 4, 3, 3], "column3": [3]}
    shared = f"{IMAGE} {{ a = Conv (x, conv3x4) b = Add (a, column3) y = Mul (b, column3) }}"
    after, _ = check(cleaned, "fuse-bias-add", shared, "Conv Mul")
    assert {i.name: list(i.dims) for i in after.graph.initializer}["column3"] == [3, 1, 1]


def test_conv_with_everything(cleaned):
    text = (f"g (float[2,4] x) => (float[N,C] y) {NORM} {{ a = MatMul (x, matrix4x3) c = Add (a, vector3) "
            "d = BatchNormalization (c, scale, b, m, v) e = Mul (d, row3) y = Add (e, vector3b) }")
    check(cleaned, "fuse-bias-add,fold-batchnorm,fuse-bias-add", text, "Gemm")


# ---- remove-identity ----

FLAT = "g (float[2,6] x) => (float[N,C] y)"
IDENTITY = {
    "identity": (f"{FLAT} {{ a = Identity (x) y = Relu (a) }}", "Relu"),
    "identity gives the output": (f"{FLAT} {{ a = Relu (x) y = Identity (a) }}", "Relu"),
    "input to output": (f"{FLAT} {{ y = Identity (x) }}", "Identity"),
    "two outputs": ("g (float[2,6] x) => (float[N,C] a, float[N,C] y) { a = Relu (x) y = Identity (a) }",
                    "Relu Identity"),
    "output with users": ("g (float[2,6] x) => (float[N,C] y, float[N,C] z) { a = Relu (x) y = Identity (a) "
                          "z = Neg (y) }", "Relu Neg"),
    "chain": (f"{FLAT} {{ a = Identity (x) b = Relu (a) c = Identity (b) y = Identity (c) }}", "Relu"),
    "dropout": (f"{FLAT} <float r = {{0.5}}> {{ a = Dropout (x, r) y = Relu (a) }}", "Relu"),
    "dropout with mask": ("g (float[2,6] x) => (float[N,C] y, bool[N,C] m) { a, m = Dropout (x) y = Relu (a) }",
                          "Dropout Relu"),
    "cast": (f"{FLAT} {{ a = Cast <to=1> (x) y = Relu (a) }}", "Relu"),
    "real cast": ("g (int32[2,6] x) => (float[N,C] y) { a = Cast <to=1> (x) y = Relu (a) }", "Cast Relu"),
    "reshape": (f"{FLAT} <int64[2] s = {{2,6}}> {{ a = Reshape (x, s) y = Relu (a) }}", "Relu"),
    "real reshape": (f"{FLAT} <int64[2] s = {{3,4}}> {{ a = Reshape (x, s) y = Relu (a) }}", "Reshape Relu"),
    "flatten": ("g (float[N,C] x) => (float[N,C] y) { a = Flatten (x) y = Relu (a) }", "Relu"),
    "transpose": (f"{FLAT} {{ a = Transpose <perm=[0,1]> (x) y = Relu (a) }}", "Relu"),
    "real transpose": (f"{FLAT} {{ a = Transpose (x) y = Relu (a) }}", "Transpose Relu"),
    "pad": (f"{FLAT} <int64[4] p = {{0,0,0,0}}> {{ a = Pad (x, p) y = Relu (a) }}", "Relu"),
    "real pad": (f"{FLAT} <int64[4] p = {{0,0,0,1}}> {{ a = Pad (x, p) y = Relu (a) }}", "Pad Relu"),
    "concat of one": (f"{FLAT} {{ a = Concat <axis=1> (x) y = Relu (a) }}", "Relu"),
    "times one": (f"{FLAT} <float o = {{1}}> {{ a = Mul (o, x) b = Div (a, o) y = Relu (b) }}", "Relu"),
    "one over": (f"{FLAT} <float o = {{1}}> {{ a = Div (o, x) y = Relu (a) }}", "Div Relu"),
    "plus zero": (f"{FLAT} <float[1] o = {{0}}> {{ a = Add (o, x) b = Sub (a, o) y = Relu (b) }}", "Relu"),
    "zero minus": (f"{FLAT} <float o = {{0}}> {{ a = Sub (o, x) y = Relu (a) }}", "Sub Relu"),
    "one more dimension": ("g (float[2,6] x) => (float[A,N,C] y) <float[1,1,1] o = {1}> { a = Mul (o, x) "
                           "y = Relu (a) }", "Mul Relu"),
    "captured in a branch": ("g (float[2,6] x, bool c) => (float[N,C] y) { a = Identity (x) y = If (c) <"
                             "then_branch = t () => (float[N,C] p) { b = Identity (a) p = Relu (b) }, "
                             "else_branch = e () => (float[N,C] q) { q = Identity (a) }> }",
                             "If[Relu][Identity]"),
}


@pytest.mark.parametrize("name", IDENTITY)
def test_remove_identity(name, cleaned):
    check(cleaned, "remove-identity", *IDENTITY[name], rtol=0)


# ---- split-fused ----

FUSED = {
    "no activation": (f"{IMAGE} {{ y = com.microsoft.FusedConv <pads=[1,1,1,1], strides=[2,1]> (x, conv3x4, vector3) }}", "Conv"),
    "relu": (f'{IMAGE} {{ y = com.microsoft.FusedConv <activation="Relu"> (x, conv3x4) }}', "Conv Relu"),
    "clip": (f'{IMAGE} {{ y = com.microsoft.FusedConv <activation="Clip", activation_params=[-1.0, 2.0]> (x, conv3x4, vector3) }}',
             "Conv Clip"),
    "leaky": (f'{IMAGE} {{ y = com.microsoft.FusedConv <activation="LeakyRelu", activation_params=[0.3], auto_pad="SAME_UPPER"> '
              "(x, conv3x4) }", "Conv LeakyRelu"),
    "hard": (f'{IMAGE} {{ a = com.microsoft.FusedConv <activation="HardSigmoid", activation_params=[0.3, 0.4]> (x, conv3x4) '
             "y = Neg (a) }", "Conv HardSigmoid Neg"),
    "sum": (f'{IMAGE} {{ a = Conv (x, conv3x4) y = com.microsoft.FusedConv <activation="Relu"> (x, conv3x4, vector3, a) }}',
            "Conv Conv Add Relu"),
}


@pytest.mark.parametrize("name", FUSED)
def test_split_fused(name, cleaned):
    check(cleaned, "split-fused", *FUSED[name])


# ---- fold-constants ----

CONSTANT = {
    "constant nodes": ("g (float[2,2] x) => (float y) { a = Constant <value = float[2] {1,2}> () "
                       "b = Constant <value_float = 3.0> () c = Constant <value_floats = [1.0, 2.0]> () "
                       "d = Constant <value_int = 1> () e = Constant <value_ints = [4]> () f = Mul (x, a) "
                       "h = Mul (f, b) i = Mul (h, c) j = Reshape (i, e) y = Gather (j, d) }",
                       "Mul Mul Mul Reshape Gather"),
    "constant is the output": ("g (float[2] x) => (float[2] y, float[2] z) { y = Constant <value = float[2] {1,2}> () "
                               "z = Relu (x) }", "Constant Relu"),
    "arithmetic": ("g (float[3] x) => (float[3] y) { a = Mul (vector3, vector3b) b = Sqrt (vector3b) "
                   "c = Abs (b) d = Add (a, vector3) y = Add (x, d) }", "Add"),
    "shape": ("g (float[2,3,4] x) => (float[6,4] y) <int64 z = {0}, int64 o = {1}, int64[1] a = {0}, "
              "int64[1] m = {-1}> { s = Shape (x) d = Gather (s, z) e = Gather (s, o) f = Mul (d, e) "
              "h = Unsqueeze (f, a) i = Concat <axis=0> (h, m) y = Reshape (x, i) }", "Reshape"),
    "known part of a shape": ("g (float[N,3,4] x) => (float[A,B] y) <int64[1] w = {-1}, int64[1] m = {-1}> "
                              "{ s = Shape (x) d = Gather (s, w) i = Concat <axis=0> (m, d) y = Reshape (x, i) }",
                              "Reshape"),
    "unknown part of a shape": ("g (float[N,3,4] x) => (float[A,B] y) <int64[1] w = {0}, int64[1] m = {-1}> "
                                "{ s = Shape (x) d = Gather (s, w) i = Concat <axis=0> (d, m) y = Reshape (x, i) }",
                                "Shape Gather Concat Reshape"),
    "quantized weight": ("g (float[2,4] x) => (float[N,C] y) <int8[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, "
                         "float s = {0.1}> { d = DequantizeLinear (w, s) y = MatMul (x, d) }",
                         "DequantizeLinear MatMul"),
    "random": ("g (float[2] x) => (float[2] y) { a = RandomNormal <shape=[2], seed=1.0> () b = Sub (a, a) "
               "y = Add (b, x) }", "RandomNormal Sub Add"),
    "in a branch": ("g (float[3] x, bool c) => (float[3] y) { a = Neg (vector3) y = If (c) <"
                    "then_branch = t () => (float[3] p) { b = Neg (a) p = Add (x, b) }, "
                    "else_branch = e () => (float[3] q) { q = Constant <value = float[3] {1,2,3}> () }> }",
                    "If[Add][Constant]"),
    "nobody reads it": ("g (float[3] x) => (float[3] y) { a = Neg (x) b = Relu (a) y = Abs (x) }", "Abs"),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_fold_constants(name, cleaned):
    check(cleaned, "fold-constants", *CONSTANT[name])


def test_fold_constants_does_not_blow_up(cleaned):
    made = model("g (float[1] x) => (float[A] y) <int64[1] s = {100000000}, float[1] o = {1}> "
                 "{ a = Expand (o, s) b = Neg (a) y = Add (b, x) }")
    after, _ = cleaned(made, "fold-constants")
    assert ops(after.graph) == "Expand Neg Add"
