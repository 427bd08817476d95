"""Patterns that passes and plugins find groups of nodes by (qonnx/match.h): activation functions in the forms that
exporters write, biases behind a Squeeze, and the plugin fuse-hard-swish."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import COMMAND, run_command
from onnx import TensorProto, helper, numpy_helper
from ort import X86, session
from verbs import compiles, with_samples

random = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def reseeded():
    """The numbers of a test do not depend on which ones run before it."""
    global random
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
        named = {k: [int(i) for i in v.split("/") if i] if "/" in v else float(v) for k, v in named.items()}
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
    done = run_command("quantize", "-q", folder / "m.onnx", "--data", folder / "data", "-o", folder / "q.onnx", "--target", X86, *options)
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


# ---- functions that run as one operator ------------------------------------------------------------------------------------

LAYER = "m = ReduceMean(x; axes=-1/) & d = Sub(x, m) & "
SQUARES = {"pow": "s = Pow({0}, 2) & ", "mul": "s = Mul({0}, {0}) & "}
VARIANCE = "v = ReduceMean(s; axes=-1/) & a = Add(v, 0.001) & "
INVERSES = {"div": "r = Sqrt(a) & n = Div({0}, r)", "reciprocal": "r = Sqrt(a) & i = Reciprocal(r) & n = Mul({0}, i)",
            "one over": "r = Sqrt(a) & i = Div(1, r) & n = Mul(i, {0})", "power": "i = Pow(a, -0.5) & n = Mul({0}, i)"}
AFFINE = {"": "", " gamma": " & g = Mul(n, G)", " beta": " & g = Mul(G, n) & y = Add(g, B)"}
KERAS = (LAYER + "s = Mul(d, d) & " + VARIANCE + "r = Sqrt(a) & i = Reciprocal(r) & k = Mul(i, G) & mk = Mul(m, k) & o = Sub(B, mk) & "
         "xk = Mul(x, k) & y = Add(xk, o)")
NORMS = {f"layer {q} {i}{a}": LAYER + SQUARES[q].format("d") + VARIANCE + INVERSES[i].format("d") + AFFINE[a]
         for q in SQUARES for i in INVERSES for a in AFFINE}
NORMS |= {f"rms {q} {i}{a}": SQUARES[q].format("x") + VARIANCE + INVERSES[i].format("x") + AFFINE[a]
          for q in SQUARES for i in INVERSES for a in list(AFFINE)[:2]}
NORMS["keras"] = KERAS
ONE = {"LayerNormalization", "SimplifiedLayerNormalization", "Gelu", "Swish", "Mish", "HardSwish"}
# Not these: somebody reads what is inside, a mean over another axis, one that does not stay, a factor that makes it larger.
OTHERS = {
    "read inside": NORMS["layer pow div beta"] + " & z = Add(y, n)",
    "another axis": NORMS["layer pow div beta"].replace("axes=-1/", "axes=1/"),
    "two axes": NORMS["layer pow div"].replace("m = ReduceMean(x; axes=-1/)", "m = ReduceMean(x; axes=2/3)"),
    "gelu read inside": FORMS["gelu erf last"][0] + " & z = Add(y, e)",
}


def functions_model(forms, opset=13):
    """The forms side by side, each of the input by itself."""
    nodes, constants, outputs = [], [], []
    for i, text in enumerate(forms.values()):
        more, parts = nodes_of(text, f"f{i}")
        for n in more:
            n.input[:] = ["x" if k == f"f{i}_x" else {f"f{i}_G": "G", f"f{i}_B": "B"}.get(k, k) for k in n.input]
        nodes += more
        constants += parts
        outputs.append(onnx.ValueInfoProto(name=more[-1].output[0]))
    constants += [numpy_helper.from_array(random.normal(size=16).astype(np.float32), k) for k in "GB"]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 3, 16])
    graph = helper.make_graph(nodes, "forms", [x], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def kernels(folder):
    """The kernels that a compiled model calls."""
    done = run_command("compile", folder / "m.onnx", "-o", folder / "c", "--prefix", "m", "--data", folder / "data" / "0.npy")
    assert done.rc == 0, done.stderr
    source = (folder / "c" / "m.c").read_text()
    return re.findall(r"^    call_(\w+)\(", source, re.M)


@pytest.mark.parametrize("engine", ["portable", "onednn"])
def test_functions_run_as_one_operator(engine, tmp_path):
    """The norms and activations of all forms: ONNX Runtime's numbers, one kernel each."""
    forms = NORMS | {k: t for k, (t, floor) in FORMS.items() if floor is not None and "moved" not in k and k != "hard swish"}
    samples = save(functions_model(forms), tmp_path, (2, 5, 3, 16), 2)
    run = run_command("run", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "out", "--engine", engine)
    assert run.rc == 0, run.stderr
    for k, (name, want) in enumerate(zip(forms, outputs(tmp_path / "m.onnx", samples[:1])[0])):
        got = np.load(sorted((tmp_path / "out" / f"output_{k}").iterdir())[0])
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5, err_msg=name)


def test_functions_are_one_kernel(tmp_path):
    for name, text in {**{k: NORMS[k] for k in ("layer pow div beta", "rms mul reciprocal gamma", "keras")},
                       "gelu": FORMS["gelu erf first"][0], "silu": FORMS["silu"][0], "swish": FORMS["clip gate"][0]}.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        save(functions_model({name: text}), folder, (2, 5, 3, 16), 1)
        assert kernels(folder) in (["f_norm"], ["f_unary"]), name


def test_functions_of_a_rank_that_shapes_tell(done, qonnx, tmp_path):
    """A list that is computed says the rank of what a norm reads: compiled code has its operator, and so has the command."""
    text = "s0 = Shape(x) & h = Slice(s0, [0], [3]) & l = Concat(h, [-1]) & w = Reshape(x, l) & " + NORMS["layer pow div beta"].replace("(x", "(w")
    m = functions_model({"norm": text})
    next(n for n in m.graph.node if n.op_type == "Concat").attribute.append(helper.make_attribute("axis", 0))
    path = tmp_path / "m.onnx"
    samples = [{"x": x} for x in save(m, tmp_path, (2, 5, 3, 16), 1)]
    assert kernels(tmp_path)[-1] == "f_norm"
    compiles(qonnx, done, with_samples(path, session(path), samples, tmp_path / "samples"), path, tmp_path / "c")


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_another_function_runs_as_it_is(name, tmp_path):
    samples = save(functions_model({name: OTHERS[name]}), tmp_path, (2, 5, 3, 16), 1)
    assert len(kernels(tmp_path)) > 3
    done = run_command("run", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "out")
    assert done.rc == 0, done.stderr
    (got,) = (np.load(f) for f in (tmp_path / "out").rglob("*.npy"))
    np.testing.assert_allclose(got, outputs(tmp_path / "m.onnx", samples)[0][0], rtol=2e-5, atol=1e-5)


def test_functions_stay_in_float(tmp_path):
    """What is inside a norm, a GELU and a rotary embedding between products is not observed, and gets no QuantizeLinear."""
    rotary = ("f = Slice(x, [0], [8], [-1]) & s = Slice(x, [8], [16], [-1]) & n = Neg(s) & c = Concat(n, f; axis=-1) & "
              "b = Mul(c, S) & a = Mul(x, C) & y = Add(a, b)")
    for name, text in {"norm": NORMS["layer pow div beta"], "gelu": FORMS["gelu tanh last"][0], "rotary": rotary}.items():
        folder = tmp_path / name
        folder.mkdir()
        nodes, constants = nodes_of(text, "f")
        nodes = [helper.make_node("MatMul", ["x", "v"], ["f_x"]), *nodes, helper.make_node("MatMul", ["f_y", "w"], ["y"])]
        for n in nodes:
            n.input[:] = [k[2:] if k[2:] in ("G", "B", "S", "C") else k for k in n.input]
            for a in n.attribute:
                if a.name == "axis":
                    a.CopyFrom(helper.make_attribute("axis", -1))
        parts = {k: random.normal(size=16).astype(np.float32) for k in "GBSC"}
        parts |= {k: random.normal(size=(16, 16)).astype(np.float32) / 4 for k in "vw"}
        constants += [numpy_helper.from_array(a, k) for k, a in parts.items()]
        graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 16])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder, (2, 5, 16))
        q = quantize(folder)
        assert {n.input[0] for n in q.graph.node if n.op_type == "QuantizeLinear"} - {"y_QuantizeLinear_Input"} == {"x", "f_y"}, name
