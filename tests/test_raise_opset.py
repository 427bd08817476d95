"""The pass raise-opset: its table against ONNX's changelog, and old forms against what they meant."""
import re
from collections import defaultdict

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ROOT
from onnx import defs, parser

TARGET = 13
NEVER_VALID = 99

# Changes of attributes or inputs that leave older nodes as they are: what was added has the old meaning as default.
COMPATIBLE = {("ArgMax", 12), ("ArgMin", 12), ("AveragePool", 7), ("AveragePool", 10), ("Constant", 11),
              ("Constant", 12), ("DepthToSpace", 11), ("DequantizeLinear", 13), ("GatherND", 12), ("Gemm", 11),
              ("MaxPool", 8), ("MaxPool", 10), ("QuantizeLinear", 13), ("TopK", 11)}


# ---- the table ----

def table():
    """op -> (since, adapter or None), read from the C source."""
    source = (ROOT / "passes" / "raise_opset.c").read_text()
    rows = re.findall(r'\{"(\w+)", (\w+), (\w+)\}', source)
    names = [row[0] for row in rows]
    assert names == sorted(set(names)), "rows are sorted by name, one an operator"
    since = {"NEVER_VALID": NEVER_VALID}
    return {op: (since.get(number) or int(number), None if adapter == "NULL" else adapter)
            for op, number, adapter in rows}


def history():
    """op -> its schemas up to TARGET, oldest first."""
    found = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= TARGET:
            found[schema.name].append(schema)
    return {op: sorted(schemas, key=lambda s: s.since_version) for op, schemas in found.items()}


def form(schema):
    """What a node must agree with: attributes, inputs and outputs, without element types."""
    attributes = {name: (a.type, a.required, a.default_value.SerializeToString())
                  for name, a in schema.attributes.items()}
    return attributes, [i.option for i in schema.inputs], [o.option for o in schema.outputs]


def test_every_operator_has_a_row():
    assert set(table()) == set(history())


@pytest.mark.parametrize("op", sorted(history()))
def test_since(op):
    since, adapter = table()[op]
    schemas = history()[op]
    versions = [s.since_version for s in schemas]
    assert since in versions or (since == NEVER_VALID and schemas[-1].deprecated)
    assert not schemas[-1].deprecated or since == NEVER_VALID
    assert since == versions[0] or adapter
    for old, new in zip(schemas, schemas[1:]):
        if form(old) != form(new) and (op, new.since_version) not in COMPATIBLE:
            assert new.since_version <= since, f"{op} changed in {new.since_version}"


# ---- old forms ----

def model(opset, text, ir_version=7):
    """A model from ONNX's text form; outputs without a type are float tensors of any shape."""
    made = parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> {text}')
    for output in made.graph.output:
        if not output.HasField("type"):
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return made


def samples(made):
    """Random inputs, the same every time."""
    random = np.random.default_rng(7)
    feed = {}
    for value in made.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feed[value.name] = (random.normal(size=shape) * 3).astype(dtype)
    return feed


def infer(made, feed):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


@pytest.fixture
def raised(done, tmp_path):
    """raised(model) gives the model behind the pass, checked."""

    def run_pass(made):
        before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
        onnx.save(made, before)
        done("quantize", before, "--pipeline", "raise-opset", "-o", after)
        result = onnx.load(after)
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(result, strict_mode=True))
        assert result.opset_import[0].version == max(TARGET, made.opset_import[0].version)
        return result

    return run_pass


X = "(float[2,3,4] x) => (float[2,3,4] y)"


def scan(operands, batch=1, more=""):
    """A Scan of operator set 8, whose axis 0 is the batch: sums of what it has seen, and each of them."""
    return (f"g (float[{batch},2] i, float[{batch},3,2] x) => (y, z) {{ y, z = Scan <num_scan_inputs = 1{more}, body = b "
            "(float[2] s, float[2] a) => (float[2] t, float[2] u) { t = Add (s, a) u = Neg (t) }> (" + operands + ") }")

# Forms that ONNX Runtime still runs: name -> (operator set, graph).
RUNNABLE = {
    "BatchNormalization-7": (7, "g (float[2,2,3] x) => (y) <float[2] s = {1.5,-2}, float[2] b = {0.5,1}, "
                                "float[2] m = {0.1,0.2}, float[2] v = {2,3}> "
                                "{ y = BatchNormalization <epsilon=0.01> (x, s, b, m, v) }"),
    "Clip-6": (10, f"g {X} {{ y = Clip <min=-1.5, max=2.0> (x) }}"),
    "Clip-6 one bound": (8, f"g {X} {{ y = Clip <max=0.5> (x) }}"),
    "Clip-6 default bounds": (8, f"g {X} {{ y = Clip (x) }}"),
    "Dropout-7": (9, f"g {X} {{ y, mask = Dropout <ratio=0.3> (x) }}"),
    "Dropout-10": (11, f"g {X} {{ y = Dropout <ratio=0.3> (x) }}"),
    "Hardmax-1": (9, f"g {X} {{ y = Hardmax <axis=1> (x) }}"),
    "LogSoftmax-11": (11, f"g {X} {{ y = LogSoftmax <axis=-2> (x) }}"),
    "Pad-2": (10, "g (float[2,3,4] x) => (y) { y = Pad <pads=[0,1,0,0,0,2], value=1.25> (x) }"),
    "Pad-2 reflect": (10, "g (float[2,3,4] x) => (y) { y = Pad <mode=\"reflect\", pads=[0,1,0,0,1,2]> (x) }"),
    "Pad-2 double": (10, "g (double[2,3] x) => (double[] y) { y = Pad <pads=[0,1,0,0], value=0.5> (x) }"),
    "ReduceSum-11": (12, "g (float[2,3,4] x) => (y) { y = ReduceSum <axes=[-1,0], keepdims=0> (x) }"),
    "ReduceSum-1 all": (9, "g (float[2,3,4] x) => (y) { y = ReduceSum (x) }"),
    "Resize-10 nearest up": (10, "g (float[1,1,3,5] x) => (y) <float[4] s = {1,1,1.7,2}> { y = Resize (x, s) }"),
    "Resize-10 nearest down": (10, "g (float[1,1,6,7] x) => (y) <float[4] s = {1,1,0.5,0.6}> { y = Resize (x, s) }"),
    "Resize-10 linear": (10, "g (float[1,1,3,5] x) => (y) <float[4] s = {1,1,1.7,0.8}> "
                             "{ y = Resize <mode=\"linear\"> (x, s) }"),
    "Resize-11 scales": (11, "g (float[1,1,3,5] x) => (y) <float[0] r = {}, float[4] s = {1,1,2,3}> "
                             "{ y = Resize <mode=\"cubic\"> (x, r, s) }"),
    "Resize-11 sizes": (11, "g (float[1,1,3,5] x) => (y) <float[0] r = {}, float[0] s = {}, int64[4] z = {1,1,6,4}> "
                            "{ y = Resize <mode=\"linear\"> (x, r, s, z) }"),
    "Scan-8": (8, scan(", i, x")),
    "Scan-8 reversed": (8, scan(", i, x", more=", directions = [1]")),
    "Scatter-9": (10, "g (float[3,3] x) => (y) <int64[1,3] i = {2,0,1}, float[1,3] u = {7,8,9}> "
                      "{ y = Scatter <axis=0> (x, i, u) }"),
    "Slice-1": (9, "g (float[2,3,4] x) => (y) { y = Slice <axes=[1,2], starts=[1,0], ends=[1000,-1]> (x) }"),
    "Slice-1 all axes": (9, "g (float[2,3,4] x) => (y) { y = Slice <starts=[0,1,1], ends=[1,3,3]> (x) }"),
    "Softmax-1 last axis": (9, f"g {X} {{ y = Softmax <axis=2> (x) }}"),
    "Softmax-1": (9, f"g {X} {{ y = Softmax (x) }}"),
    "Softmax-1 axis 0": (9, f"g {X} {{ y = Softmax <axis=0> (x) }}"),
    "Softmax-1 ones behind": (9, "g (float[2,5,1,1] x) => (y) { y = Softmax (x) }"),
    "Softmax-11 in the middle": (11, "g (float[2,3,4] x) => (float[2,3,4] z) { a = Relu (x) y = Softmax <axis=-2> (a) "
                                     "z = Add (y, x) }"),
    "Split-2": (11, "g (float[2,6] x) => (a, b) { a, b = Split <axis=1, split=[2,4]> (x) }"),
    "Split-2 equal": (9, "g (float[2,6] x) => (a, b, c) { a, b, c = Split <axis=-1> (x) }"),
    "Squeeze-1": (9, "g (float[1,3,1] x) => (y) { y = Squeeze <axes=[0]> (x) }"),
    "Squeeze-11 all": (11, "g (float[1,3,1] x) => (y) { y = Squeeze (x) }"),
    "TopK-1": (9, "g (float[3,8] x) => (float[] v, int64[] i) { v, i = TopK <axis=1, k=3> (x) }"),
    "TopK-10": (10, "g (float[3,8] x) => (float[] v, int64[] i) <int64[1] k = {4}> { v, i = TopK (x, k) }"),
    "Unsqueeze-1": (9, "g (float[3] x) => (y) { y = Unsqueeze <axes=[0,2]> (x) }"),
    "Upsample-7": (7, "g (float[1,2,3,4] x) => (y) { y = Upsample <scales=[1.0,1.0,2.0,1.5]> (x) }"),
    "Upsample-7 linear": (8, "g (float[1,2,3,4] x) => (y) "
                             "{ y = Upsample <mode=\"linear\", scales=[1.0,1.0,2.0,1.5]> (x) }"),
    "Upsample-9": (9, "g (float[1,2,3,4] x) => (y) <float[4] s = {1,1,2,3}> { y = Upsample (x, s) }"),
    "in a branch": (11, "g (float[2,3,4] x, bool[1] c) => (y) { y = If (c) <"
                        "then_branch = a () => (float[2,3,4] p) { p = Softmax (x) }, "
                        "else_branch = b () => (float[2,3,4] q) { q = LogSoftmax (x) }> }"),
}


@pytest.mark.parametrize("name", RUNNABLE)
def test_same_bytes_in_onnxruntime(name, raised):
    made = model(*RUNNABLE[name])
    feed = samples(made)
    want = infer(made, feed)
    got = infer(raised(made), feed)
    assert len(want) == len(got)
    for w, g in zip(want, got):
        assert w.dtype == g.dtype and w.shape == g.shape
        assert w.tobytes() == g.tobytes()


def upsampled(x, factor):
    return x.repeat(factor, 2).repeat(factor, 3)


# Forms that are older than what ONNX Runtime runs: name -> (operator set, graph, meaning).
ANCIENT = {
    "Add-6 axis": (6, "g (float[2,3,4] x) => (y) <float[3] c = {1,2,3}> { y = Add <broadcast=1, axis=1> (x, c) }",
                   lambda x: x + np.float32([1, 2, 3])[:, None]),
    "Mul-1 suffix": (1, "g (float[2,3,4] x) => (y) <float[4] c = {1,2,3,4}> "
                        "{ y = Mul <broadcast=1, consumed_inputs=[0,0]> (x, c) }",
                     lambda x: x * np.float32([1, 2, 3, 4])),
    "Sub-6 negative axis": (6, "g (float[2,3,4] x) => (y) <float[2,3] c = {1,2,3,4,5,6}> "
                               "{ y = Sub <broadcast=1, axis=0> (x, c) }",
                            lambda x: x - np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1)),
    "Add-1 behind another old form": (4, "g (float[2,3,4] x) => (y) <float[2] c = {1,2}, float[3] d = {3,4,5}> { "
                                         "a = Reshape <shape=[2,2,3,2]> (x) b = Add <broadcast=1, axis=1> (a, c) "
                                         "y = Add <broadcast=1, axis=2> (b, d) }",
                                      lambda x: x.reshape(2, 2, 3, 2) + np.float32([1, 2])[:, None, None]
                                      + np.float32([3, 4, 5])[:, None]),
    "BatchNormalization-1": (1, "g (float[2,2,3] x) => (y) <float[2] s = {1.5,-2}, float[2] b = {0.5,1}, "
                                "float[2] m = {0.25,0.5}, float[2] v = {4,16}> { y = BatchNormalization "
                                "<epsilon=0.0, is_test=1, consumed_inputs=[0,0,0,1,1]> (x, s, b, m, v) }",
                             lambda x: (x - np.float32([0.25, 0.5])[:, None]) * np.float32([0.75, -0.5])[:, None]
                             + np.float32([0.5, 1])[:, None]),
    "Cast-1": (5, "g (float[2,3] x) => (int32[] y) { y = Cast <to=\"INT32\"> (x) }", lambda x: x.astype(np.int32)),
    "Concat-1": (3, "g (float[2,3] x) => (y) { y = Concat (x, x) }", lambda x: np.concatenate([x, x], 1)),
    "Dropout-1": (1, f"g {X} {{ y = Dropout <ratio=0.3, is_test=1, consumed_inputs=[0]> (x) }}", lambda x: x),
    "Gemm-6": (6, "g (float[2,2] x) => (y) <float[2,2] w = {1,0,0,1}, float[2] c = {1,2}> "
                  "{ y = Gemm <broadcast=1> (x, w, c) }", lambda x: x + np.float32([1, 2])),
    "GlobalLpPool-1": (1, "g (float[1,2,2] x) => (y) { y = GlobalLpPool <p=1.0> (x) }",
                       lambda x: np.abs(x).sum(2, keepdims=True)),
    "LpPool-1": (1, "g (float[1,2,2] x) => (y) { y = LpPool <p=1.0, kernel_shape=[2]> (x) }",
                 lambda x: np.abs(x).sum(2, keepdims=True)),
    "Max-6": (6, "g (float[2,3] x, float[2,3] z) => (y) { y = Max (x, z) }", np.maximum),
    "Pad-1": (1, "g (float[2,3] x) => (y) { y = Pad <paddings=[0,1,0,0], value=2.0> (x) }",
              lambda x: np.pad(x, [(0, 0), (1, 0)], constant_values=2)),
    "PRelu-6": (6, "g (float[2,3,4] x) => (y) <float[3] s = {0.5,2,4}> { y = PRelu (x, s) }",
                lambda x: np.where(x < 0, x * np.float32([0.5, 2, 4])[:, None], x)),
    "PRelu-1 shared": (1, "g (float[2,3,4] x) => (y) <float[1] s = {0.5}> { y = PRelu <consumed_inputs=[0]> (x, s) }",
                       lambda x: np.where(x < 0, x * np.float32(0.5), x)),
    "Relu-1": (1, f"g {X} {{ y = Relu <consumed_inputs=[0]> (x) }}", lambda x: np.maximum(x, 0)),
    "Reshape-1": (4, "g (float[2,3,4] x) => (y) { y = Reshape <shape=[0,-1]> (x) }", lambda x: x.reshape(2, 12)),
    "Split-1": (1, "g (float[2,6] x) => (float[2,2] a, float[2,4] b) <float[2] s = {2,4}> "
                   "{ a, b = Split <axis=1> (x, s) }",
                lambda x: (x[:, :2], x[:, 2:])),
    "Tile-1": (5, "g (float[2,3] x) => (y) <float t = {2}, float a = {1}> { y = Tile (x, t, a) }",
               lambda x: np.tile(x, (1, 2))),
    "Upsample-1": (1, "g (float[1,2,3,4] x) => (y) "
                      "{ y = Upsample <height_scale=2.0, width_scale=2.0, mode=\"nearest\"> (x) }",
                   lambda x: upsampled(x, 2)),
}


@pytest.mark.parametrize("name", ANCIENT)
def test_meaning_of_ancient_forms(name, raised):
    opset, text, meaning = ANCIENT[name]
    made = model(opset, text)
    feed = samples(made)
    got = infer(raised(made), feed)
    want = meaning(*feed.values())
    for w, g in zip(want if isinstance(want, tuple) else (want,), got):
        assert w.dtype == g.dtype
        np.testing.assert_allclose(g, w, rtol=1e-6)


def test_selu_keeps_its_old_constants(raised):
    node = raised(model(5, f"g {X} {{ y = Selu (x) }}")).graph.node[0]
    values = {a.name: a.f for a in node.attribute}
    assert values == pytest.approx({"alpha": 1.6732, "gamma": 1.0507}, rel=1e-7)


# What cannot be raised is refused: name -> (operator set, graph, words of the message).
HOPELESS = {
    "experimental": (8, f"g {X} {{ y = ScaledTanh <alpha=1.0, beta=1.0> (x) }}", "ScaledTanh"),
    "newer than its set": (7, f"g {X} {{ y = Erf (x) }}", "Erf"),
    "BatchNormalization-7": (7, "g (float[2,2,3] x, float[2,3] s) => (y) "
                                "{ y = BatchNormalization <spatial=0> (x, s, s, s, s) }", "spatial=0"),
    "mask of Dropout-10": (11, "g (float[2,3] x) => (y, bool[2,3] mask) { y, mask = Dropout (x) }", "mask"),
    "Resize-10 both ways": (10, "g (float[1,1,3,5] x) => (y) <float[4] s = {1,1,2,0.5}> { y = Resize (x, s) }",
                            "enlarges one axis and shrinks another"),
    "Scan-8 batch": (8, scan(", i, x", 2), "a batch of 2"),
    "Scan-8 lengths": (8, scan("n, i, x").replace("(float[1,2] i", "(int64[1] n, float[1,2] i"), "sequence_lens"),
    "Split-1": (1, "g (float[2,6] x) => (a, b) { a, b = Split (x) }", "'axis' is missing"),
    "broadcast": (6, "g (float[2,3] x) => (y) <float[2,3] c = {1,2,3,4,5,6}> "
                     "{ y = Add <broadcast=1, axis=1> (x, c) }", "axis 1 does not fit"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_refused_by_name(name, run, tmp_path):
    opset, text, words = HOPELESS[name]
    onnx.save(model(opset, text), tmp_path / "before.onnx")
    result = run("quantize", tmp_path / "before.onnx", "--pipeline", "raise-opset", "-o", tmp_path / "after.onnx")
    assert result.rc == 1
    assert words in result.stderr
    assert not (tmp_path / "after.onnx").exists()


@pytest.mark.parametrize("opset, ir_version", [(7, 3), (13, 7), (21, 10)])
def test_initializers_are_no_inputs(opset, ir_version, raised):
    made = model(opset, f"g {X} <float[4] c = {{1,2,3,4}}> {{ y = Add (x, c) }}", ir_version)
    made.graph.input.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [4]))
    after = raised(made)
    assert [i.name for i in after.graph.input] == ["x"]
    assert [i.name for i in after.graph.initializer] == ["c"]


def test_newer_models_stay(raised):
    made = model(17, f"g {X} {{ y = Softmax (x) }}", 8)
    after = raised(made)
    assert (after.graph, after.opset_import, after.ir_version) == (made.graph, made.opset_import, made.ir_version)
