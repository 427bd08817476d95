"""Patterns that passes and plugins find groups of nodes by (qonnx/match.h): activation functions in the forms that
exporters write, biases behind a Squeeze, and the plugin fuse-hard-swish."""

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import COMMAND, run_command
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(11)
GELU, SILU, HARD = -4, -10, -3


def nodes_of(text, prefix):
    """Nodes and constants of a text like "r = Div(x, 1.41421); y = Erf(r)"; a list in brackets is a 1-D constant of int64.
    Attributes stand behind a semicolon within the braces: HardSigmoid(x; alpha=0.1666667)."""
    nodes, constants = [], []
    for part in text.split("\n" if "\n" in text else " & "):
        name, call = (s.strip() for s in part.split("=", 1))
        op, arguments = call.rstrip(")").split("(", 1)
        arguments, *attributes = arguments.split(";")
        inputs = []
        for a in (a.strip() for a in arguments.split(",")):
            if a[0].isdigit() or a[0] in "-[":
                value = np.array([int(a.strip("[]"))], np.int64) if a[0] == "[" else np.array(float(a), np.float32)
                constants.append(numpy_helper.from_array(value, f"{prefix}_k{len(constants)}"))
                inputs.append(constants[-1].name)
            else:
                inputs.append(f"{prefix}_{a}")
        named = dict(a.strip().split("=") for a in attributes)
        named = {k: [int(i) for i in v.split("/")] if "/" in v else float(v) for k, v in named.items()}
        nodes.append(helper.make_node(op, inputs, [f"{prefix}_{name}"], f"{prefix}_{name}", **named))
    return nodes, constants


ERF = "r = Div(x, 1.4142135) & f = Erf(r) & e = Add(f, 1) & "
RECIPROCAL = "r = Mul(x, 0.70710678) & f = Erf(r) & e = Add(1, f) & "
CUBE = "q = Pow(x, 3) & "
PRODUCTS = "p = Mul(x, x) & q = Mul(p, x) & "
TANH = "c = Mul(0.044715, q) & s = Add(x, c) & t0 = Mul(s, 0.7978845608) & t = Tanh(t0) & e = Add(t, 1) & "
LAST, FIRST, GATE = "m = Mul(x, e) & y = Mul(m, 0.5)", "h = Mul(0.5, x) & y = Mul(h, e)", "h = Mul(e, 0.5) & y = Mul(x, h)"
SIX = "a = Add(x, 3) & c = Clip(a, 0, 6) & "
# What must be found, and from where on the input has no range.
FORMS = {f"gelu {k}": (a + b, GELU) for a, k in ((ERF, "erf"), (RECIPROCAL, "erf2"), (CUBE + TANH, "tanh"), (PRODUCTS + TANH, "tanh2"))
         for b, k in ((LAST, k + " last"), (FIRST, k + " first"), (GATE, k + " gate"))}
FORMS |= {
    "gelu moved": ("xt = Transpose(x; perm=0/2/3/1) & r = Div(xt, 1.4142135) & f = Erf(r) & e = Add(f, 1) & "
                   "h = Mul(x, 0.5) & ht = Transpose(h; perm=0/2/3/1) & y = Mul(ht, e)", GELU),
    "silu": ("s = Sigmoid(x) & y = Mul(s, x)", SILU),
    "quick gelu": ("k = Mul(x, 1.702) & s = Sigmoid(k) & y = Mul(x, s)", -6),
    "mish": ("p = Softplus(x) & t = Tanh(p) & y = Mul(x, t)", SILU),
    "hard swish": ("y = HardSwish(x)", HARD),
    "hard sigmoid": ("s = HardSigmoid(x; alpha=0.16666667) & y = Mul(x, s)", HARD),
    "clip last": (SIX + "m = Mul(c, x) & y = Div(m, 6)", HARD),
    "clip gate": (SIX + "g = Mul(c, 0.16666667) & y = Mul(x, g)", HARD),
    "clip first": (SIX + "g = Div(x, 6) & y = Mul(g, c)", HARD),
    # Not these: another function, another operand, others that read the input.
    "erf of 2x": ("r = Mul(x, 2) & f = Erf(r) & e = Add(f, 1) & " + LAST, None),
    "clip to 5": ("a = Add(x, 3) & c = Clip(a, 0, 5) & m = Mul(c, x) & y = Div(m, 6)", None),
    "wide sigmoid": ("s = HardSigmoid(x; alpha=0.01) & y = Mul(x, s)", None),
    "of another": ("o = Neg(x) & s = Sigmoid(o) & y = Mul(x, s)", None),
    "read twice": ("s = Sigmoid(x) & m = Mul(s, x) & n = Neg(x) & y = Add(m, n)", None),
    "only half": ("s = Sigmoid(x) & y = Neg(s)", None),
}


def model(forms, opset=18):
    """Each form behind a convolution of its own whose results are from -15 to 15 or so."""
    nodes, constants, outputs = [], [], []
    for i, (text, _) in enumerate(forms.values()):
        w = random.normal(size=(4, 3, 1, 1)).astype(np.float32) * 2
        constants.append(numpy_helper.from_array(w, f"f{i}_w"))
        nodes.append(helper.make_node("Conv", ["x", f"f{i}_w"], [f"f{i}_x"], f"conv{i}"))
        more, parts = nodes_of(text, f"f{i}")
        nodes += more
        constants += parts
        outputs.append(onnx.ValueInfoProto(name=f"f{i}_y"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "forms", [x], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(proto, folder, shape=(1, 3, 8, 8), count=8):
    onnx.save(proto, folder / "m.onnx")
    (folder / "data").mkdir()
    samples = [random.normal(size=shape).astype(np.float32) * 2 for _ in range(count)]
    for i, x in enumerate(samples):
        np.save(folder / "data" / f"{i}.npy", x)
    return samples


def quantize(folder, *options):
    done = run_command("quantize", "-q", folder / "m.onnx", "--data", folder / "data", "-o", folder / "q.onnx", *options)
    assert done.rc == 0, done.stderr
    return onnx.load(folder / "q.onnx")


def outputs(path, samples):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    s = onnxruntime.InferenceSession(path, options)
    return [s.run(None, {s.get_inputs()[0].name: x}) for x in samples]


def test_what_vanishes_below_has_no_range_there(tmp_path):
    samples = save(model(FORMS), tmp_path)
    q = quantize(tmp_path, "--observer", "minmax")
    parts = {t.name: numpy_helper.to_array(t) for t in q.graph.initializer}
    for i, (name, (_, floor)) in enumerate(FORMS.items()):
        scale, zero = parts[f"f{i}_x_scale"], int(parts[f"f{i}_x_zero_point"])
        low = -zero * scale
        if floor is None:
            assert low < -10, name
        else:
            assert abs(low - floor) <= scale / 2 * 1.01, (name, low)
    before, after = outputs(tmp_path / "m.onnx", samples), outputs(tmp_path / "q.onnx", samples)
    for i, name in enumerate(FORMS):
        a, b = (np.stack([y[i] for y in ys]) for ys in (before, after))
        assert 10 * np.log10(np.sum(a ** 2) / np.sum((a - b) ** 2)) > 30, name


@pytest.mark.parametrize("axes", [[2], [-2], [3], [2, 3]])
def test_bias_behind_a_squeeze(tmp_path, axes):
    """That of a one-dimensional convolution, as TensorFlow's exporter writes it."""
    shape = [1, 3, 1 if 2 in axes or -2 in axes else 8, 1 if 3 in axes else 8]
    rest = [d for i, d in enumerate([1, 5, *shape[2:]]) if i not in axes and i - 4 not in axes]
    bias = random.normal(size=[5] + [1] * (len(rest) - 2)).astype(np.float32)
    constants = {"w": random.normal(size=(5, 3, 1, 1)).astype(np.float32), "b": bias, "axes": np.array(axes, np.int64)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Squeeze", ["c", "axes"], ["s"]),
             helper.make_node("Add", ["b", "s"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, rest)],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    samples = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path, shape)
    q = quantize(tmp_path, "--pipeline", "fuse-bias-add")
    assert [n.op_type for n in q.graph.node] == ["Conv", "Squeeze"]
    for a, b in zip(outputs(tmp_path / "m.onnx", samples), outputs(tmp_path / "q.onnx", samples)):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-6, atol=1e-6)


def test_a_squeeze_of_the_channels_keeps_its_bias(tmp_path):
    nodes, constants = nodes_of("s = Squeeze(x, [1]) & y = Add(s, 2)", "f")
    conv = helper.make_node("Conv", ["x", "w"], ["f_x"])
    constants.append(numpy_helper.from_array(random.normal(size=(1, 3, 1, 1)).astype(np.float32), "w"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph([conv, *nodes], "g", [x], [onnx.ValueInfoProto(name="f_y")], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path)
    q = quantize(tmp_path, "--pipeline", "fuse-bias-add")
    assert [n.op_type for n in q.graph.node] == ["Conv", "Squeeze", "Add"]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("axes, keepdims, pools", [([2, 3], 1, True), ([-1, -2], 0, True), ([2], 1, False), ([1, 2, 3], 0, False)])
def test_means_that_are_pools(tmp_path, axes, keepdims, pools, opset):
    inputs, named, constants = ["f_x"], {"axes": axes}, []
    if opset == 18:
        inputs, named, constants = ["f_x", "axes"], {}, [numpy_helper.from_array(np.array(axes, np.int64), "axes")]
    constants.append(numpy_helper.from_array(random.normal(size=(6, 3, 1, 1)).astype(np.float32), "w"))
    nodes = [helper.make_node("Conv", ["x", "w"], ["f_x"]), helper.make_node("ReduceMean", inputs, ["m"], keepdims=keepdims, **named)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="m")], constants)
    samples = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), tmp_path, (2, 3, 8, 8))
    q = quantize(tmp_path)
    ops = [n.op_type for n in q.graph.node]
    assert ("GlobalAveragePool" in ops) == pools and ("ReduceMean" in ops) != pools and ("Flatten" in ops) == (pools and not keepdims)
    a, b = (np.stack([y for (y,) in outputs(tmp_path / f, samples)]) for f in ("m.onnx", "q.onnx"))
    assert a.shape == b.shape and np.abs(a - b).max() < 0.03 * np.abs(a).max()


def test_the_mean_of_a_layer_norm_is_no_pool(tmp_path):
    nodes, constants = nodes_of("m = ReduceMean(x, [2]) & y = Sub(x, m)", "f")
    x = helper.make_tensor_value_info("f_x", TensorProto.FLOAT, [2, 3, 8])
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="f_y")], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path, (2, 3, 8))
    assert [n.op_type for n in quantize(tmp_path).graph.node] == ["ReduceMean", "Sub"]


def test_a_plugin_finds_patterns(tmp_path):
    """fuse-hard-swish makes one operator of four forms, and leaves what others read, or is another function."""
    forms = {k: FORMS[k] for k in ("clip last", "clip gate", "hard sigmoid", "clip to 5", "wide sigmoid")}
    forms["divided"] = (SIX + "g = Div(c, 6) & y = Mul(g, x)", HARD)
    forms["read outside"] = (SIX + "m = Mul(c, x) & d = Div(m, 6) & y = Add(d, a)", HARD)
    samples = save(model(forms), tmp_path)
    plugin = COMMAND.parent / "plugins" / "fuse-hard-swish.so"
    q = quantize(tmp_path, "--plugin", plugin, "--pipeline", "fuse-hard-swish")
    made = {n.output[0] for n in q.graph.node if n.op_type == "HardSwish"}
    assert made == {"f0_y", "f2_y", "f5_y"}  # a product with a sixth behind the gate is no row of its table
    for a, b in zip(outputs(tmp_path / "m.onnx", samples), outputs(tmp_path / "q.onnx", samples)):
        for y, z in zip(a, b):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
