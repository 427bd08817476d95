"""The plugins that come with qonnx. import-qonnx-dialect is compared, in ONNX Runtime, with what
the dialect's own text says (docs/qonnx-custom-ops/intquant_v1.md of fastmachinelearning/qonnx)."""

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import COMMAND, TESTDATA, run_command
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

PLUGINS = COMMAND.parent / "plugins"
GENERAL = "qonnx.custom_op.general"
PIPELINE = "raise-opset,fold-constants,import-qonnx-dialect"
DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"

pytestmark = pytest.mark.skipif(not PLUGINS.is_dir(), reason=f"{PLUGINS} is not built")


def reference(x, scale, zero, bits, signed=1, narrow=0):
    """round(clamp(x / scale + zeropt)), back to real numbers; in float32 as the dialect has it."""
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    y = np.clip(x / np.float32(scale) + np.float32(zero), low, high)
    return ((np.round(y) - np.float32(zero)) * np.float32(scale)).astype(np.float32)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def quant(x, y, op="IntQuant", domain=GENERAL, scale="scale", **attributes):
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | attributes
    kept = {k: v for k, v in attributes.items() if v is not None}
    return helper.make_node(op, [x, scale, "zero", "bits"], [y], y, domain=domain, **kept)


def save(path, nodes, constants, shape, output="y", opset=13):
    graph = helper.make_graph(
        nodes,
        "dialect",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * len(shape))],
        constants,
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid(d, 1) for d in sorted(domains)]
    opsets.append(helper.make_opsetid("", opset))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def parameters(scale, zero, bits):
    return [
        constant("scale", np.asarray(scale, np.float32)),
        constant("zero", np.asarray(zero, np.float32)),
        constant("bits", np.asarray(bits, np.float32)),
    ]


def run_pass(path, out, *args, pipeline=PIPELINE):
    plugin = ["--plugin", PLUGINS / "import-qonnx-dialect.so"]
    return run_command("quantize", path, *plugin, "--pipeline", pipeline, "-o", out, *args)


def imported(path):
    out = path.with_suffix(".qdq.onnx")
    result = run_pass(path, out, "-v")
    assert result.rc == 0, result.stderr
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    return out, model, result.stderr


def run_onnx(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers).run(
        None, {"x": x}
    )[0]


def steps(shape, scale=1 / 8):
    """Multiples of a quarter of a step, in and out of range: every other one is a tie."""
    count = int(np.prod(shape))
    x = (np.arange(count) - count // 2) * (scale / 4)
    return x.astype(np.float32).reshape(shape)


# ---- computed values ----------------------------------------------------------------------------

FORMS = [
    # scale, zero point, bits, signed, narrow, integers used
    (1 / 8, 0, 8, 1, 0, None),
    (1 / 8, 0, 8, 1, 1, (-127, 127)),
    (1 / 8, 0, 8, 0, 0, None),
    (1 / 8, 128, 8, 0, 1, (0, 254)),
    (1 / 8, 0, 4, 1, 0, (-8, 7)),
    (1 / 8, -2, 4, 1, 1, (-7, 7)),
    (1 / 8, 4, 4, 0, 0, (0, 15)),
    (1 / 8, 0, 2, 1, 1, (-1, 1)),
    ([[[1 / 8]], [[1 / 4]], [[1 / 2]]], 0, 8, 1, 0, None),
    ([[[1 / 8]], [[1 / 4]], [[1 / 2]]], [[[[0]], [[2]], [[4]]]], 3, 0, 0, (0, 7)),
    ([1 / 8, 1 / 4], 0, 8, 1, 0, None),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_computed(form, tmp_path):
    """Exactly what the dialect computes, ties included, wherever the zero point is even."""
    scale, zero, bits, signed, narrow, clip = form
    node = quant("x", "y", signed=signed, narrow=narrow)
    shape = [2, 3, 200, 2]
    out, model, notes = imported(
        save(tmp_path / "m.onnx", [node], parameters(scale, zero, bits), shape)
    )
    ops = [n.op_type for n in model.graph.node]
    assert ops == ["QuantizeLinear", *(["Clip"] if clip else []), "DequantizeLinear"]
    if clip:
        data = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
        assert tuple(int(data[name]) for name in model.graph.node[1].input[1:]) == clip
    x = steps(shape)
    np.testing.assert_array_equal(run_onnx(out, x), reference(x, scale, zero, bits, signed, narrow))
    assert "is odd" not in notes


def test_odd_zero_point(tmp_path):
    """Ties may be one step apart, and nothing else; a note says so."""
    node = quant("x", "y", signed=0)
    path = save(tmp_path / "m.onnx", [node], parameters(1 / 8, 7, 4), [1, 400])
    out, _, notes = imported(path)
    assert "its zero point 7 is odd" in notes and "'y' (IntQuant)" in notes
    x = steps([1, 400])
    want, got = reference(x, 1 / 8, 7, 4, 0), run_onnx(out, x)
    apart = want != got
    assert 0 < apart.sum() < 20 and np.abs(want - got).max() == 1 / 8
    assert np.all(np.abs(x[apart] * 8 % 1) == 0.5)


@pytest.mark.parametrize("domain", [GENERAL, "onnx.brevitas", "finn.custom_op.general"])
@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
def test_names(op, domain, tmp_path):
    """Both names in all domains; several in a row, the last one a graph output."""
    nodes = [
        quant("x", "a", op, domain),
        helper.make_node("Relu", ["a"], ["b"]),
        quant("b", "c", op, domain, rounding_mode=None, signed=None),
        quant("c", "y", op, domain, scale="channels"),
    ]
    scales = np.array([1 / 8, 1 / 4, 1 / 2], np.float32).reshape(3, 1)
    constants = [*parameters(1 / 8, 0, 4), constant("channels", scales)]
    out, model, _ = imported(save(tmp_path / "m.onnx", nodes, constants, [2, 3, 40], opset=11))
    assert not [n for n in model.graph.node if n.domain]
    x = steps([2, 3, 40])
    y = reference(np.maximum(reference(x, 1 / 8, 0, 4), 0), 1 / 8, 0, 4)
    np.testing.assert_array_equal(run_onnx(out, x), reference(y, scales, 0, 4))


# ---- constants ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights(bits, zero, tmp_path):
    """A weight becomes integers, rounded the dialect's way whatever the zero point."""
    weight = steps([6, 3, 3, 3], 1 / 16)
    scale = np.array([2.0**-i for i in range(2, 8)], np.float32).reshape(6, 1, 1, 1)
    nodes = [quant("w", "wq", narrow=1), helper.make_node("Conv", ["x", "wq"], ["y"])]
    constants = [constant("w", weight), *parameters(scale, zero, bits)]
    out, model, notes = imported(save(tmp_path / "m.onnx", nodes, constants, [1, 3, 8, 8]))
    assert [n.op_type for n in model.graph.node] == ["DequantizeLinear", "Conv"]
    assert model.graph.node[0].attribute[0].i == 0 and "is odd" not in notes
    data = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    w, s, z = (data[name] for name in model.graph.node[0].input)
    assert w.dtype == z.dtype == np.int8 and len(data) == 3 and s.shape == z.shape == (6,)
    real = (w.astype(np.float32) - zero) * scale
    np.testing.assert_array_equal(real, reference(weight, scale, zero, bits, narrow=1))
    plain = [helper.make_node("Conv", ["x", "w"], ["y"])]
    x = steps([1, 3, 8, 8])
    wanted = save(tmp_path / "plain.onnx", plain, [constant("w", real)], [1, 3, 8, 8])
    np.testing.assert_allclose(run_onnx(out, x), run_onnx(wanted, x), rtol=1e-5, atol=1e-5)


# ---- refusals -----------------------------------------------------------------------------------

REFUSALS = {
    "bits-1": ({"bits": 1}, {}, "bit width is 1"),
    "bits-16": ({"bits": 16}, {}, "bit width is 16"),
    "bits-part": ({"bits": 4.5}, {}, "bit width is 4.5"),
    "bits-many": ({"bits": [4, 8]}, {}, "bit width"),
    "scale-0": ({"scale": 0}, {}, "a scale is 0"),
    "scale-negative": ({"scale": -1}, {}, "a scale is -1"),
    "scale-nan": ({"scale": np.nan}, {}, "a scale is"),
    "scale-shape": ({"scale": np.ones([3, 5])}, {}, "do not lie along one axis"),
    "scale-length": ({"scale": np.ones([1, 4, 1])}, {}, "do not fit its data"),
    "scale-rank": ({"scale": np.ones([3, 1, 1, 1])}, {}, "do not lie along one axis"),
    "two-axes": (
        {"scale": np.ones([1, 3, 1]), "zero": np.zeros([1, 1, 5])},
        {},
        "do not fit its data or each other",
    ),
    "zero-part": ({"zero": 0.5}, {}, "a zero point is 0.5"),
    "zero-type": ({"zero": 200}, {}, "a zero point is 200"),
    "zero-sign": ({"zero": -1}, {"signed": 0}, "a zero point is -1"),
    "rounding": ({}, {"rounding_mode": "FLOOR"}, "rounding mode is FLOOR"),
    "narrow": ({}, {"narrow": None}, "narrow is missing"),
    "bipolar": ({}, {"op": "BipolarQuant"}, "ONNX has no form for it"),
    "trunc": ({}, {"op": "Trunc"}, "ONNX has no form for it"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refused(kind, tmp_path):
    """By the node's name, in one line, and nothing is written."""
    values, attributes, wanted = REFUSALS[kind]
    numbers = {"scale": 1 / 8, "zero": 0, "bits": 8} | values
    op = attributes.get("op", "IntQuant")
    path = save(
        tmp_path / "m.onnx", [quant("x", "y", **attributes)], parameters(**numbers), [2, 3, 5]
    )
    result = run_pass(path, tmp_path / "out.onnx")
    assert result.rc == 1 and result.stderr.count("\n") == 1
    assert f"node 'y' ({op})" in result.stderr and wanted in result.stderr
    assert "pass 'import-qonnx-dialect' of plugin" in result.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_refused_otherwise(tmp_path):
    """Computed operands, NaN in a constant, an old operator set."""
    out = tmp_path / "out.onnx"
    nodes = [helper.make_node("Relu", ["x"], ["scale"]), quant("x", "y")]
    path = save(tmp_path / "a.onnx", nodes, parameters(1, 0, 8)[1:], [])
    assert "its scale 'scale' is no constant" in run_pass(path, out).stderr
    bad = [constant("w", np.array([1, np.nan], np.float32)), *parameters(1, 0, 8)]
    nodes = [quant("w", "v"), helper.make_node("Add", ["x", "v"], ["y"])]
    assert "holds a NaN" in run_pass(save(tmp_path / "b.onnx", nodes, bad, [2]), out).stderr
    path = save(tmp_path / "c.onnx", [quant("x", "y")], parameters(1, 0, 8), [2], opset=11)
    result = run_pass(path, out, pipeline="import-qonnx-dialect")
    assert "run raise-opset first" in result.stderr and not out.exists()


# ---- round-weights and sigma --------------------------------------------------------------------


def initializers(path):
    return {c.name: numpy_helper.to_array(c) for c in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_round_weights(bits, tmp_path):
    """Each channel keeps its largest magnitude, and at most 2^bits - 1 values."""
    out, plain = tmp_path / "out.onnx", tmp_path / "plain.onnx"
    plugin = ["--plugin", PLUGINS / "round-weights.so", "--pipeline"]
    run_command("quantize", DIGITS, "--pipeline", "raise-opset,fold-batchnorm", "-o", plain)
    text = f"raise-opset,fold-batchnorm,round-weights{{bits={bits}}}"
    result = run_command("quantize", DIGITS, *plugin, text, "-o", out)
    assert result.rc == 0, result.stderr
    before, after = onnx.load(plain), onnx.load(out)
    floats, rounded = initializers(plain), initializers(out)
    checked = 0
    for old, new in zip(before.graph.node, after.graph.node, strict=True):
        if old.op_type not in ("Conv", "Gemm"):
            continue
        for w, r in zip(floats[old.input[1]], rounded[new.input[1]], strict=True):
            step = np.abs(w).max() / (2 ** (bits - 1) - 1)
            assert len(np.unique(r)) < 2**bits and np.abs(w - r).max() <= step * 0.5001
            checked += 1
    assert checked > 50
    for wrong in ("1", "9", "2.5"):
        text = f"round-weights{{bits={wrong}}}"
        result = run_command("quantize", DIGITS, *plugin, text, "-o", out)
        assert result.rc == 1 and "want a whole number from 2 to 8" in result.stderr


@pytest.mark.parametrize("k", [1, 2.5, 1000])
def test_sigma(k, tmp_path):
    """The range of the pictures, which are in 0..255 and often zero."""
    out = tmp_path / "out.onnx"
    args = ["--plugin", PLUGINS / "sigma.so", "--observer", f"sigma{{k={k}}}", "-o", out]
    result = run_command("quantize", DIGITS, "--data", CALIBRATION, *args)
    assert result.rc == 0, result.stderr
    node = next(n for n in onnx.load(out).graph.node if n.input[0] == "image")
    scale = float(initializers(out)[node.input[1]])
    files = sorted(CALIBRATION.rglob("*.png"))
    x = np.concatenate([np.asarray(Image.open(f), np.float64).ravel() for f in files])
    seen = x[x != 0]
    high = min(x.max(), seen.mean() + k * seen.std())
    low = min(0, max(x.min(), seen.mean() - k * seen.std()))
    assert scale == pytest.approx((high - low) / 255, rel=2e-3)
