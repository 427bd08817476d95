"""Models that other tools quantized: as each of them writes QuantizeLinear and DequantizeLinear (Q and DQ below). They
run with ONNX Runtime's integers, compile to the same bytes, and `quantize --requantize` makes them ours.
"""
import re

import numpy as np
import onnx
import onnxruntime
import ort
import pytest
from compiled import compile_model
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
TOOLS = {}  # name: function that gives the model
SIZES = [1, 3, 12, 12]


def tool(make):
    TOOLS[make.__name__] = make
    return make


class Net:
    """A model as it is written: nodes, constants, and how its values are quantized."""

    def __init__(self, seed=1):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.count = [], {}, 0

    def new(self, base):
        self.count += 1
        return f"{base}_{self.count}"

    def constant(self, array, base="c"):
        name = self.new(base)
        self.constants[name] = np.asarray(array)
        return name

    def add(self, op, *inputs, out=None, **attributes):
        out = out or self.new(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [out], self.new("n"), **attributes))
        return out

    def scales(self, scale, zero):
        return self.constant(np.float32(scale), "scale"), self.constant(zero, "zero")

    def q(self, x, scale, zero, out=None):
        s, z = self.scales(scale, zero)
        return self.add("QuantizeLinear", x, s, z, out=out), s, z

    def pair(self, x, scale, zero, out=None):
        """Q and DQ; the zero point's type is the integers'."""
        q, s, z = self.q(x, scale, zero)
        return self.add("DequantizeLinear", q, s, z, out=out)

    def weight(self, *shape):
        return self.rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)

    def model(self, x="x", y="y", shape=SIZES, opset=17, x_type=FLOAT, y_type=FLOAT, domains=()):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "g", [info(x, x_type, shape)], [info(y, y_type, [1, 5])],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()])
        imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
        made = helper.make_model(graph, opset_imports=imports, ir_version=8)
        onnx.checker.check_model(made) if not domains else None
        return made


def per_channel(w, bits=8, axis=0):
    """Scales and integers, symmetric; trained scales are not those of the largest element, which is none of the ends."""
    most = 2 ** (bits - 1) - 1
    s = (1.1 * np.abs(w).max(axis=tuple(i for i in range(w.ndim) if i != axis)) / most).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)]
    return s, np.clip(np.rint(w / s.reshape(shape)), -most - 1, most).astype(np.int8)


def stored(n, w, axis=0):
    """An int8 constant behind its DQ; its scales, too."""
    s, q = per_channel(w, axis=axis)
    names = n.constant(q, "weight_quantized"), n.constant(s, "scale"), n.constant(np.zeros(len(s), np.int8), "zero")
    return n.add("DequantizeLinear", *names, axis=axis), s


def stored_bias(n, b, x_scale, w_scales):
    s = (np.float32(x_scale) * w_scales).astype(np.float32)
    names = n.constant(np.rint(b / s).astype(np.int32), "bias_quantized"), n.constant(s, "scale")
    return n.add("DequantizeLinear", *names, n.constant(np.zeros(len(s), np.int32), "zero"), axis=0)


def bias(n, count):
    return n.rng.normal(0, 0.1, count).astype(np.float32)


@tool
def torch_fx():
    """uint8 activations, with a Cast to the type that they have; weights and biases as integers behind DQ."""
    n = Net()

    def pair(x, scale, zero, out=None):
        q, s, z = n.q(x, scale, zero)
        return n.add("DequantizeLinear", n.add("Cast", q, to=TensorProto.UINT8), s, z, out=out)

    x = pair("x", 0.02, np.uint8(128))
    for inputs, from_scale, to_scale in ((3, 0.02, 0.03), (8, 0.03, 0.025)):
        w, s = stored(n, n.weight(8, inputs, 3, 3))
        x = n.add("Conv", x, w, stored_bias(n, bias(n, 8), from_scale, s), pads=[1] * 4)
        x = pair(n.add("Relu", pair(x, to_scale, np.uint8(100))), to_scale, np.uint8(0)) if inputs == 3 else \
            pair(x, to_scale, np.uint8(0))  # the second is ConvReLU2d, whose Relu is the range
    x = pair(n.add("GlobalAveragePool", x), 0.02, np.uint8(0))
    x = pair(n.add("Flatten", x), 0.02, np.uint8(0))
    w, s = stored(n, n.weight(5, 8))
    x = n.add("Gemm", x, w, stored_bias(n, bias(n, 5), 0.02, s), transB=1)
    pair(x, 0.02, np.uint8(120), out="y")
    return n.model()


@tool
def torch_pt2e():
    """int8 activations, float biases, a Relu in front of Q, the weight of a Linear turned behind its DQ."""
    n = Net(2)
    x = n.pair("x", 0.02, np.int8(0))
    w, _ = stored(n, n.weight(8, 3, 3, 3))
    x = n.add("Conv", x, w, n.constant(bias(n, 8)), pads=[1] * 4)
    x = n.pair(n.add("Relu", x), 0.025, np.int8(-128))
    w, _ = stored(n, n.weight(8, 8, 3, 3))
    y = n.pair(n.add("Conv", x, w, n.constant(bias(n, 8)), pads=[1] * 4), 0.03, np.int8(3))
    x = n.pair(n.add("Relu", n.add("Add", x, y)), 0.03, np.int8(-128))
    x = n.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = n.pair(x, 0.02, np.int8(-128))
    w, _ = stored(n, n.weight(5, 8))
    x = n.add("MatMul", x, n.add("Transpose", w, perm=[1, 0]))
    n.pair(n.add("Add", x, n.constant(bias(n, 5))), 0.02, np.int8(0), out="y")
    return n.model()


@tool
def tflite():
    """As tf2onnx makes it of a full-integer TFLite file: it takes and gives int8, Relu6 is the range, Pad stands apart, a
    constant of integers is multiplied."""
    n = Net(3)
    x = n.add("DequantizeLinear", "x", *n.scales(0.02, np.int8(0)))
    x = n.pair(n.add("Pad", x, n.constant(np.int64([0, 0, 0, 0, 0, 0, 1, 1]))), 0.02, np.int8(0))
    w, s = stored(n, n.weight(8, 3, 3, 3))
    x = n.pair(n.add("Conv", x, w, stored_bias(n, bias(n, 8), 0.02, s), strides=[2, 2]), 6 / 255, np.int8(-128))
    w, s = stored(n, n.weight(8, 1, 3, 3))
    y = n.pair(n.add("Conv", x, w, stored_bias(n, bias(n, 8), 6 / 255, s), pads=[1] * 4, group=8), 0.05, np.int8(2))
    x = n.pair(n.add("Add", x, y), 0.06, np.int8(-20))
    c = n.add("DequantizeLinear", n.constant(n.rng.integers(-128, 128, (8, 1, 1)).astype(np.int8)), *n.scales(0.01, np.int8(5)))
    x = n.pair(n.add("Mul", x, c), 0.05, np.int8(-3))
    x = n.pair(n.add("AveragePool", x, kernel_shape=[6, 6]), 0.03, np.int8(-10))
    x = n.pair(n.add("Reshape", x, n.constant(np.int64([1, 8]))), 0.03, np.int8(-10))
    w, s = stored(n, n.weight(5, 8))
    x = n.add("Gemm", x, w, stored_bias(n, bias(n, 5), 0.03, s), transB=1)
    n.q(x, 0.02, np.int8(0), out="y")
    return n.model(x_type=TensorProto.INT8, y_type=TensorProto.INT8)


@tool
def nvidia():
    """Q and DQ on what weighted operators read and on one summand, zero points 0, float weights and biases, BN left."""
    n = Net(4)

    def conv(x, channels, scale, **attributes):
        w = n.weight(channels, attributes.pop("inputs"), 3, 3)
        names = n.constant(per_channel(w)[0], "scale"), n.constant(np.zeros(channels, np.int8), "zero")
        q = n.add("QuantizeLinear", n.constant(w, "weight"), *names, axis=0)
        x = n.pair(x, scale, np.int8(0))
        return n.add("Conv", x, n.add("DequantizeLinear", q, *names, axis=0), pads=[1] * 4, **attributes)

    def norm(x, channels):
        numbers = n.rng.uniform(0.5, 1.5, channels), bias(n, channels), bias(n, channels), n.rng.uniform(0.5, 1.5, channels)
        return n.add("BatchNormalization", x, *(n.constant(a.astype(np.float32)) for a in numbers))

    x = n.add("Relu", norm(conv("x", 8, 0.025, inputs=3), 8))
    y = n.add("Relu", norm(conv(x, 8, 0.03, inputs=8), 8))
    y = norm(conv(y, 8, 0.03, inputs=8), 8)
    x = n.add("Relu", n.add("Add", y, n.pair(x, 0.03, np.int8(0))))
    x = n.add("GlobalAveragePool", n.pair(x, 0.04, np.int8(0)))
    x = n.pair(n.add("Flatten", x), 0.02, np.int8(0))
    w = n.weight(5, 8)
    names = n.constant(per_channel(w)[0], "scale"), n.constant(np.zeros(5, np.int8), "zero")
    w = n.add("DequantizeLinear", n.add("QuantizeLinear", n.constant(w, "weight"), *names, axis=0), *names, axis=0)
    n.add("Gemm", x, w, n.constant(bias(n, 5)), transB=1, out="y")
    return n.model()


@tool
def brevitas():
    """QCDQ: a Clip of the integers for fewer bits than 8, scales that are powers of two."""
    n = Net(5)

    def narrow(x, scale, least, most):
        q, s, z = n.q(x, scale, np.int8(0))
        return n.add("DequantizeLinear", n.add("Clip", q, n.constant(np.int8(least)), n.constant(np.int8(most))), s, z)

    def weight(w, bits):
        most = 2 ** (bits - 1) - 1
        s = (2.0 ** np.ceil(np.log2(np.abs(w).max() / most))).astype(np.float32)
        return narrow(n.constant(w, "weight"), s, -most, most)

    x = narrow("x", 2.0 ** -5, -127, 127)
    x = n.add("Conv", x, weight(n.weight(8, 3, 3, 3), 8), n.constant(bias(n, 8)), pads=[1] * 4)
    x = narrow(n.add("Relu", x), 2.0 ** -5, 0, 127)
    x = n.add("Conv", x, weight(n.weight(8, 8, 3, 3), 4), n.constant(bias(n, 8)), pads=[1] * 4)
    x = narrow(n.add("Relu", x), 2.0 ** -5, 0, 63)
    x = narrow(n.add("GlobalAveragePool", x), 2.0 ** -6, -128, 127)
    x = n.add("Gemm", n.add("Flatten", x), weight(n.weight(5, 8), 8), n.constant(bias(n, 5)), transB=1, out="y")
    return n.model()


@tool
def operators():
    """QOperator: integers from end to end, moved as such, one weight of uint8 whose zero point is not the middle."""
    n = Net(6)
    x, xs, xz = n.q("x", 0.02, np.uint8(128))

    def conv(x, xs, xz, w, s, wz, scale, **attributes):
        ys, yz = n.scales(scale, np.uint8(0))
        b = np.rint(bias(n, w.shape[0]) / (n.constants[xs] * s)).astype(np.int32)
        return n.add("QLinearConv", x, xs, xz, n.constant(w), n.constant(np.float32(s)), n.constant(wz), ys, yz,
                     n.constant(b), **attributes), ys, yz

    w = n.weight(8, 3, 3, 3)
    s, q = per_channel(w)
    x, xs, xz = conv(x, xs, xz, q, s, np.zeros(8, np.int8), 0.03, pads=[1] * 4)
    x = n.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    s, q = per_channel(n.weight(8, 8, 3, 3))
    s, q = s.max(), np.clip(q.astype(np.int32) // 2 + 100, 0, 255).astype(np.uint8)
    y, ys, yz = conv(x, xs, xz, q, s, np.uint8(100), 0.03, pads=[1] * 4)
    zs, zz = n.scales(0.05, np.uint8(0))
    n.nodes.append(helper.make_node("QLinearAdd", [x, xs, xz, y, ys, yz, zs, zz], ["sum"], "sum", domain="com.microsoft"))
    ps, pz = n.scales(0.03, np.uint8(0))
    n.nodes.append(helper.make_node("QLinearGlobalAveragePool", ["sum", zs, zz, ps, pz], ["pool"], "pool",
                                    domain="com.microsoft", channels_last=0))
    x = n.add("Reshape", "pool", n.constant(np.int64([1, 8])))
    s, q = per_channel(n.weight(5, 8).T.copy(), axis=1)
    ms, mz = n.scales(0.02, np.uint8(120))
    x = n.add("QLinearMatMul", x, ps, pz, n.constant(q), n.constant(s.max()), n.constant(np.int8(0)), ms, mz)
    n.add("DequantizeLinear", x, ms, mz, out="y")
    return n.model(domains=["com.microsoft"])


# ---- running and compiling -----------------------------------------------------------------------

@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    made = {}
    for name, make in TOOLS.items():
        made[name] = folder / f"{name}.onnx"
        onnx.save(make(), made[name])
    return made


def samples_of(path, count=6, seed=7):
    t = onnx.load(path).graph.input[0].type.tensor_type.elem_type
    x = np.random.default_rng(seed).normal(0, 1, (count, *SIZES)).astype(np.float32)
    return np.clip(np.rint(x * 50), -128, 127).astype(np.int8) if t == TensorProto.INT8 else x


def theirs(path, xs, target=None):
    s = ort.session(path, target)
    return np.stack([s.run(None, {s.get_inputs()[0].name: x})[0] for x in xs])


def ours(done, path, xs, folder):
    folder.mkdir(exist_ok=True)
    (folder / "in").mkdir(exist_ok=True)
    for i, x in enumerate(xs):
        np.save(folder / "in" / f"{i:02}.npy", x)
    done("run", path, "--data", folder / "in", "-o", folder / "out", "-q", "--engine", "portable")
    found = sorted((folder / "out").rglob("*.npy"))
    assert len(found) == len(xs)
    return np.stack([np.load(f) for f in found])


@pytest.mark.parametrize("name", TOOLS)
def test_runs_and_compiles(name, files, done, qonnx, tmp_path, vnni):
    """ONNX Runtime's bytes where it runs integers too, and those of `run` in generated C."""
    xs = samples_of(files[name])
    mine = ours(done, files[name], xs, tmp_path / "run")
    wanted = theirs(files[name], xs, "ort-arm" if name in ("torch_pt2e", "tflite") else None)
    assert mine.dtype == wanted.dtype
    if name in ("nvidia", "brevitas"):  # they leave convolutions in float: sums in another order move some by a step
        assert sqnr(wanted, mine) > 40
    else:
        np.testing.assert_array_equal(mine, wanted)
    c = compile_model(qonnx, files[name], tmp_path / "c")
    if name not in ("torch_pt2e", "nvidia", "brevitas"):  # whose biases are float: no runtime has integers for that
        assert not re.search(r"const f_conv_p p\d", c.source.read_text())
    c.build(["gcc"], ["-O1"])
    compiled = np.stack([r[0] for r in c.run([[x] for x in xs])])
    np.testing.assert_array_equal(compiled.reshape(mine.shape), mine)


def sqnr(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 10 * np.log10((a ** 2).sum() / max(((a - b) ** 2).sum(), 1e-30))


# ---- --requantize --------------------------------------------------------------------------------

def optimized(path, target, folder):
    """How often each operator stands in ONNX Runtime's optimized form of a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    if target == "ort-arm":
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ops = [n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node]
    return {op: ops.count(op) for op in ops}


# Decibels to the results of the file: of its own integers, or, where it leaves values in float that are quantized now, or
# has other integers than the target, as much as 8 bits give.
WANTED = {"torch_fx": 200, "torch_pt2e": 30, "tflite": 30, "nvidia": 25, "brevitas": 30, "operators": 25}


@pytest.mark.parametrize("target", ["ort-x86", "ort-arm"])
@pytest.mark.parametrize("name", TOOLS)
def test_requantized(name, target, files, done, tmp_path, vnni):
    """All convolutions run in integers then, and the results are those of the file."""
    out = tmp_path / "out.onnx"
    done("quantize", files[name], "--requantize", "--target", target, "-o", out)
    onnx.checker.check_model(onnx.load(out))
    ops = optimized(out, target, tmp_path)
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "Mul"} & set(ops), ops
    xs = samples_of(files[name], 12)
    was, now = theirs(files[name], xs), theirs(out, xs, target)
    assert was.dtype == now.dtype
    assert sqnr(was, now) > WANTED[name], sqnr(was, now)
    np.testing.assert_array_equal(ours(done, out, xs, tmp_path / "run"), now)




def weights_of(path):
    """The int8 and uint8 constants of two and four axes, those of convolutions and products."""
    arrays = [numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer]
    return [a for a in arrays if a.ndim in (2, 4) and a.dtype in (np.int8, np.uint8)]


@pytest.mark.parametrize("name", ["torch_fx", "torch_pt2e", "tflite"])
def test_weights_stay(name, files, done, tmp_path):
    """Bytes and scales of the weights are those of the file, turned ones as they were turned."""
    out = tmp_path / "out.onnx"
    done("quantize", files[name], "--requantize", "-o", out)
    was, now = weights_of(files[name]), weights_of(out)
    assert len(was) == len(now)
    for a in was:
        assert any(np.array_equal(a, b) or np.array_equal(a.T, b) for b in now)
    numbers = lambda path: np.concatenate([
        numpy_helper.to_array(i).ravel() for i in onnx.load(path).graph.initializer if "scale" in i.name])
    channels = [s for s in numbers(files[name]) if s not in (np.float32(0.02), np.float32(0.03))]
    assert set(channels) & set(numbers(out)), "no scale is the same"


def test_seven_bits(files, done, tmp_path):
    """A target of 7 bits rounds those channels again that use more."""
    out = tmp_path / "out.onnx"
    done("quantize", files["torch_fx"], "--requantize", "--target", "ort-x86-avx2", "-o", out)
    assert all(np.abs(w.astype(int)).max() <= 64 for w in weights_of(out))


def test_retargeted(files, done, tmp_path):
    """There and back gives the same file, but for what stands in its metadata and names."""
    paths = [tmp_path / f"{i}.onnx" for i in range(3)]
    for target, of, to in (("ort-x86", files["torch_fx"], paths[0]), ("ort-arm", paths[0], paths[1]),
                           ("ort-x86", paths[1], paths[2])):
        done("quantize", of, "--requantize", "--target", target, "-o", to)
    xs = samples_of(files["torch_fx"])
    results = [theirs(p, xs, t) for p, t in zip(paths, ("ort-x86", "ort-arm", "ort-x86"))]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert [n.op_type for n in onnx.load(paths[0]).graph.node] == [n.op_type for n in onnx.load(paths[2]).graph.node]


def test_left_in_float(run, tmp_path):
    """What the file leaves in float is worth a note, not a warning; its Q and DQ stay."""
    n = Net()
    n.add("Flatten", n.add("Relu", n.add("Exp", n.pair("x", 0.02, np.int8(3)))), out="y")
    made = n.model()
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 432
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    r = run("quantize", tmp_path / "m.onnx", "--requantize", "-v", "-o", tmp_path / "out.onnx")
    assert r.rc == 0 and "warning" not in r.stderr and "is not quantized in the file" in r.stderr, r
    x = samples_of(tmp_path / "m.onnx", 2)
    np.testing.assert_array_equal(theirs(tmp_path / "m.onnx", x), theirs(tmp_path / "out.onnx", x))


# ---- what is refused -----------------------------------------------------------------------------

def float_model():
    n = Net()
    x = n.add("Conv", "x", n.constant(n.weight(5, 3, 12, 12)))
    n.add("Flatten", x, out="y")
    return n.model()


def weights_only():
    n = Net()
    n.add("Flatten", n.add("Conv", "x", stored(n, n.weight(5, 3, 12, 12))[0]), out="y")
    return n.model()


def dynamic():
    n = Net()
    n.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]))
    w = n.constant(np.ones((5, 3, 12, 12), np.int8))
    n.add("Flatten", n.add("Cast", n.add("ConvInteger", "q", w, "z"), to=FLOAT), out="y")
    return n.model()


def with_scales(activation=0.02, weight=0.01, zeros=5):
    def make():
        n = Net()
        x = n.pair("x", activation, np.uint8(3))
        s = np.full(5, 0.01, np.float32)
        s[2] = weight
        names = n.constant(np.ones((5, 3, 12, 12), np.int8)), n.constant(s), n.constant(np.zeros(zeros, np.int8))
        w = n.add("DequantizeLinear", *names, axis=0)
        n.pair(n.add("Flatten", n.add("Conv", x, w)), 0.1, np.uint8(9), out="y")
        return n.model()
    return make


REFUSED = {
    "float": (float_model, "the model has no QuantizeLinear and DequantizeLinear to take ranges from"),
    "weights only": (weights_only, "has only weights that are quantized"),
    "dynamic": (dynamic, "finds the ranges of its activations as it runs"),
    "scale 0": (with_scales(activation=0), "its scale is 0, want a positive number"),
    "scale below 0": (with_scales(activation=-1), "its scale is -1, want a positive number"),
    "scale NaN": (with_scales(activation=np.nan), "its scale is nan, want a positive number"),
    "scale too large": (with_scales(activation=3e38), "its scale is 3e[+]38, want a positive number with which all integers"),
    "scale of a weight": (with_scales(weight=np.nan), "scale 2 is nan, want a positive number"),
    "infinite scale of a weight": (with_scales(weight=np.inf), "scale 2 is inf, want a positive number"),
    "scale of a weight below 0": (with_scales(weight=-0.5), "scale 2 is -0.5, want a positive number"),
    "zero points": (with_scales(zeros=4), "4 zero points for 5 scales"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what, run, tmp_path):
    make, message = REFUSED[what]
    (tmp_path / "m.onnx").write_bytes(make().SerializeToString())
    r = run("quantize", tmp_path / "m.onnx", "--requantize", "-o", tmp_path / "out.onnx")
    assert r.rc == 1 and len(r.stderr.splitlines()) == 1, r
    assert re.search(message, r.stderr), r.stderr
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("options", [["--data", "x"], ["--calibration", "m.qcal"], ["--observer", "mse"],
                                     ["--no-correct-bias"], ["--pipeline", "adopt-qdq"]])
def test_options(options, run, files, tmp_path):
    """What belongs to samples is refused beside it."""
    r = run("quantize", files["torch_fx"], "--requantize", *options, "-o", tmp_path / "out.onnx")
    assert r.rc == 2 and f"leave out {options[0]}" in r.stderr, r


def test_points_to_it(run, files, tmp_path):
    """Without the option a quantized model is refused with its name."""
    np.save(tmp_path / "x.npy", samples_of(files["torch_fx"], 1)[0])
    r = run("quantize", files["torch_fx"], "--data", tmp_path / "x.npy", "-o", tmp_path / "out.onnx")
    assert r.rc == 1 and "quantized already" in r.stderr and "--requantize" in r.stderr, r


def test_scale_zero_of_a_channel(done, tmp_path):
    """Tools give a channel of zeros the scale 0."""
    (tmp_path / "m.onnx").write_bytes(with_scales(weight=0)().SerializeToString())
    done("quantize", tmp_path / "m.onnx", "--requantize", "-o", tmp_path / "out.onnx")
    x = samples_of(tmp_path / "m.onnx", 3)
    np.testing.assert_array_equal(theirs(tmp_path / "out.onnx", x)[..., 2], theirs(tmp_path / "m.onnx", x)[..., 2])
