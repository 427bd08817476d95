"""Which values share a range: those that an operator in integers binds together, and no others. Small models are
quantized by the command; what ONNX Runtime gives in a default session, what `qonnx run` gives and what compiled C gives
are compared.

Needs onnx, onnxruntime, numpy and a C compiler. QONNX_LONG=1 in the environment makes 200 random graphs instead of 8.
"""
import os
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from plugin_source import make_plugin
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx", "vnni")
TARGETS = ("ort-x86", "ort-x86-avx2", "ort-arm", "c")
COUNT = 24
GRAPHS = 200 if os.environ.get("QONNX_LONG") else 8


class Quantized:
    """A model, quantized for a target; samples are by the names of the inputs, [COUNT, ...]."""

    def __init__(self, done, tmp, model, samples, target="ort-x86", *options):
        self.done, self.tmp, self.samples, self.target = done, tmp, samples, target
        self.source, self.path = tmp / "m.onnx", tmp / f"{target}.onnx"
        onnx.save(model, self.source)
        self.data = tmp / "data"
        for name, array in samples.items():
            folder = self.data / name if len(samples) > 1 else self.data
            folder.mkdir(parents=True, exist_ok=True)
            for i, sample in enumerate(array):
                np.save(folder / f"{i:03d}.npy", sample)
        done("quantize", self.source, "--data", self.data, "-o", self.path, "--target", target, *options)
        self.model = onnx.load(self.path)
        onnx.checker.check_model(self.model, full_check=True)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.float, self.int = self.runtime(self.source), self.runtime(self.path)

    def runtime(self, path):
        """Outputs by name in a default session of ONNX Runtime, all samples in a row."""
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        rows = [session.run(None, {k: v[i] for k, v in self.samples.items()}) for i in range(COUNT)]
        return {n: np.stack([r[k] for r in rows]) for k, n in enumerate(names)}

    def fused(self):
        """How often each operator stands in the model as ONNX Runtime runs it."""
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(self.tmp / "fused.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        nodes = [n.op_type for n in onnx.load(self.tmp / "fused.onnx").graph.node]
        return {op: nodes.count(op) for op in set(nodes)}

    def sqnr(self, name, part=...):
        want, got = self.float[name][part].astype(float), self.int[name][part].astype(float)
        return 10 * np.log10(np.sum(want ** 2) / max(np.sum((want - got) ** 2), 1e-30))

    def scale(self, name):
        return float(self.constants[f"{name}_scale"])

    def run(self):
        """The outputs of `qonnx run`, by name, all samples in a row."""
        out = self.tmp / "out"
        self.done("run", self.path, "--data", self.data, "-o", out)
        return {n: np.stack([np.load(f) for f in sorted((out / f"output_{k}").glob("*.npy"))])
                for k, n in enumerate(self.int)}

    def check_bytes(self):
        """Integer outputs are the same bytes in ONNX Runtime's default session, in `qonnx run` and in compiled C."""
        got = self.run()
        for name, want in self.int.items():
            off = np.abs(got[name].reshape(want.shape) - want) / self.scale(name)
            # the default session of ONNX Runtime on x86 computes int8 activations in float
            assert off.max() < (1.01 if self.target == "ort-arm" else 1e-3), (name, off.max())
            assert (off > 0.5).mean() < 0.01
        c = self.tmp / "c"
        self.done("compile", self.path, "-o", c, "--prefix", "m", "--data", self.data)
        subprocess.run(["make", "-s", "-C", c, "test"], check=True, capture_output=True)


def normal(*shape, size=1, seed=3):
    return (np.random.default_rng(seed).normal(size=(COUNT, *shape)) * size).astype(np.float32)


def clipped(*shape, size=1, seed=3):
    return np.clip(normal(*shape, size=size / 3, seed=seed), -size, size)


def indices(net, name, *values):
    net.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def part(net, x, start, end, axis, out):
    """A Slice of one axis."""
    names = [indices(net, f"{out}_{k}", v) for k, v in (("from", start), ("to", end), ("axis", axis))]
    return net.op("Slice", [x, *names], out)


def cell():
    """A recurrent cell as denoisers have it: a packed state of h, at most 1, and c, up to 260. Two more steps of MatMul
    read the h that goes in and the h that comes out."""
    net = Net([1, 2, 32], "state")
    net.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16]))
    axis = indices(net, "one", 1)
    h, c = (net.op("Squeeze", [part(net, "state", i, i + 1, 1, f"packed_{n}"), axis], f"{n}0")
            for i, n in enumerate("hc"))
    gates = net.op("Add", [net.op("MatMul", ["x", net.weight("w", 16, 128)], "wx"),
                           net.op("MatMul", [h, net.weight("r", 32, 128)], "rh")], "gates")
    i, f, o, g = (part(net, gates, 32 * k, 32 * k + 32, 1, n) for k, n in enumerate("ifog"))
    i, f, o = (net.op("Sigmoid", [n], f"{n}_open") for n in (i, f, o))
    c = net.op("Add", [net.op("Mul", [f, c], "kept"), net.op("Mul", [i, net.op("Tanh", [g], "g_tanh")], "new")], "c")
    h = net.op("Mul", [o, net.op("Tanh", [c], "c_tanh")], "h")
    net.op("MatMul", [h, net.weight("v", 32, 24)], "y")
    net.op("MatMul", ["h0", net.weight("u", 32, 24)], "z")
    net.op("Concat", [net.op("Unsqueeze", [h, axis], "h1"), net.op("Unsqueeze", [c, axis], "c1")], "next", axis=1)
    return net.model("y", "z", "next")


def states():
    return {"state": np.concatenate([clipped(1, 1, 32, seed=1), clipped(1, 1, 32, size=260, seed=2)], axis=2),
            "x": normal(1, 16)}


@pytest.fixture(scope="module", params=TARGETS)
def quantized_cell(request, done, tmp_path_factory):
    return Quantized(done, tmp_path_factory.mktemp("cell"), cell(), states(), request.param)


@pytest.mark.mends("ranges - a Concat in float made its inputs share")
def test_narrow_part_of_a_float_concat(quantized_cell):
    q = quantized_cell
    assert q.sqnr("y") > 30 and q.scale("h") < 2.01 / 255
    assert q.sqnr("next", np.s_[:, :, 0]) > 30


@pytest.mark.mends("ranges - a Slice of a packed state had the range of all of it")
def test_slice_of_a_packed_state(quantized_cell):
    assert quantized_cell.sqnr("z") > 30 and quantized_cell.scale("h0") < 2.01 / 255


@pytest.mark.mends("ranges - a Concat in float made its inputs share")
@pytest.mark.parametrize("observer", ["minmax", "percentile", "entropy"])
def test_cell_with_other_observers(observer, done, tmp_path):
    q = Quantized(done, tmp_path, cell(), states(), "ort-x86", "--observer", observer)
    assert min(q.sqnr("y"), q.sqnr("z")) > 25


def wide_and_narrow(net, narrow="n", wide="w"):
    """Two products of x: one of about +-1, one of about +-50."""
    net.op("MatMul", ["x", net.weight(f"{narrow}_k", 16, 16)], narrow)
    net.constant(f"{wide}_k", net.random.normal(size=(16, 16)) * 12)
    net.op("MatMul", ["x", f"{wide}_k"], wide)
    return narrow, wide


@pytest.mark.mends("ranges - a narrow input of a Concat in integers lost its range")
@pytest.mark.parametrize("target", TARGETS)
def test_narrow_input_of_an_integer_concat(target, done, tmp_path):
    """It is requantized by the Concat; a product that reads it gets all its bits."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    net.op("MatMul", [net.op("Concat", [n, w], "cat", axis=1), net.weight("k1", 32, 8)], "all")
    net.op("MatMul", [n, net.weight("k2", 16, 8)], "small")
    q = Quantized(done, tmp_path, net.model("all", "small"), {"x": normal(1, 16)}, target)
    assert q.scale("n") < q.scale("cat") / 4 and q.scale("w") == q.scale("cat")
    assert q.sqnr("small") > 30 and q.sqnr("all") > 30
    if target != "ort-arm":
        assert q.fused() == {"QuantizeLinear": 1, "QLinearMatMul": 4, "QLinearConcat": 1, "DequantizeLinear": 2}
    q.check_bytes()


def test_concats_of_branches_share(done, tmp_path):
    """What only the Concat reads shares its range, however narrow: nobody would gain from a requantization."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    net.op("MatMul", [net.op("Concat", [n, w], "cat", axis=1), net.weight("k1", 32, 8)], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)})
    assert q.scale("n") == q.scale("w") == q.scale("cat")
    q.check_bytes()


@pytest.mark.mends("ranges - a narrow part of an output lost its bits")
@pytest.mark.parametrize("target", TARGETS)
def test_narrow_part_of_an_output(target, done, tmp_path):
    """A Concat that is an output, and has small parts that whoever reads it wants, stays in float."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    net.op("Concat", [n, w], "y", axis=1)
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)}, target)
    assert q.sqnr("y", np.s_[..., :16]) > 30 and q.sqnr("y", np.s_[..., 16:]) > 30


def test_even_parts_of_an_output_stay_in_integers(done, tmp_path):
    net = Net((1, 16))
    a, b = (net.op("MatMul", ["x", net.weight(f"{n}_k", 16, 16)], n) for n in "ab")
    net.op("Concat", [a, b], "y", axis=1)
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)}, "c")
    assert q.scale("a") == q.scale("b") == q.scale("y")
    q.check_bytes()


@pytest.mark.mends("ranges - a narrow part behind a Concat lost its bits")
def test_narrow_part_that_is_taken_out_again(done, tmp_path):
    """Concat, then Slice of the narrow part: neither runs in integers, for one scale would serve nobody."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    again = part(net, net.op("Concat", [n, w], "cat", axis=1), 0, 16, 1, "again")
    net.op("MatMul", [again, net.weight("k1", 16, 8)], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)})
    assert q.sqnr("y") > 30


@pytest.mark.mends("ranges - a float and an integer Concat shared through a value")
def test_value_of_a_float_and_an_integer_concat(done, tmp_path):
    """Only the Concat in integers widens it."""
    net = Net((1, 16))
    net.inputs.append(helper.make_tensor_value_info("far", TensorProto.FLOAT, [1, 16]))
    n, m = (net.op("MatMul", ["x", net.weight(f"{n}_k", 16, 16)], n) for n in "nm")
    net.op("MatMul", [net.op("Concat", [n, m], "cat", axis=1), net.weight("k1", 32, 8)], "y")
    net.op("Exp", [net.op("Concat", [n, "far"], "floating", axis=1)], "e")
    q = Quantized(done, tmp_path, net.model("y", "e"), {"x": normal(1, 16), "far": -abs(normal(1, 16, size=80))})
    assert q.scale("n") == q.scale("m") == q.scale("cat") < 10 / 255 and q.sqnr("y") > 30


@pytest.mark.mends("ranges - Concats of Concats all shared one range")
def test_concat_of_concats(done, tmp_path):
    """The inner one feeds a product, so it keeps the union of what it joins; the outer one requantizes it."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    m = net.op("MatMul", ["x", net.weight("m_k", 16, 16)], "m")
    inner = net.op("Concat", [n, m], "inner", axis=1)
    net.op("MatMul", [inner, net.weight("k1", 32, 8)], "small")
    net.op("MatMul", [net.op("Concat", [inner, w], "outer", axis=1), net.weight("k2", 48, 8)], "all")
    q = Quantized(done, tmp_path, net.model("small", "all"), {"x": normal(1, 16)})
    assert q.scale("n") == q.scale("m") == q.scale("inner") < q.scale("outer") / 4
    assert q.sqnr("small") > 30 and q.sqnr("all") > 30
    q.check_bytes()


@pytest.mark.mends("ranges - Concats shared through a constant")
@pytest.mark.parametrize("filling", [0.0, 0.01])
def test_constant_of_two_concats(filling, done, tmp_path):
    """One constant that two Concats read does not tie their ranges together."""
    net = Net((1, 16))
    n, w = wide_and_narrow(net)
    fill = net.constant("fill", np.full((1, 4), filling))
    net.op("MatMul", [net.op("Concat", [n, fill], "cat1", axis=1), net.weight("k1", 20, 8)], "small")
    net.op("MatMul", [net.op("Concat", [w, fill], "cat2", axis=1), net.weight("k2", 20, 8)], "all")
    q = Quantized(done, tmp_path, net.model("small", "all"), {"x": normal(1, 16)})
    assert q.scale("cat1") < q.scale("cat2") / 4 and q.sqnr("small") > 30 and q.sqnr("all") > 30
    q.check_bytes()


def test_constant_of_one_concat_shares(done, tmp_path):
    net = Net((1, 16))
    n, _ = wide_and_narrow(net)
    net.op("MatMul", [net.op("Concat", [n, net.constant("fill", np.full((1, 4), 0.1))], "cat", axis=1),
                      net.weight("k1", 20, 8)], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)})
    assert q.scale("fill") == q.scale("n") == q.scale("cat") and q.sqnr("y") > 30
    q.check_bytes()


@pytest.mark.mends("ranges - a branch through data movement lost its range")
def test_narrow_branch_behind_movement(done, tmp_path):
    """Data movement in integers has its input's range even in front of a Concat that requantizes."""
    net = Net((1, 8, 12, 12))
    a = net.op("Relu", [net.conv("x", 8, 8, "c1")], "r1")
    net.conv(a, 8, 8, "small")
    net.constant("c2_w", net.random.normal(size=(8, 8, 3, 3)) * 4)
    net.op("Conv", ["x", "c2_w"], "c2", pads=[1] * 4)
    moved = net.op("Transpose", [net.op("MaxPool", [a], "mp", kernel_shape=[1, 1])], "turned", perm=[0, 1, 3, 2])
    net.conv(net.op("Concat", [moved, net.op("Relu", ["c2"], "r2")], "cat", axis=1), 16, 4, "all")
    q = Quantized(done, tmp_path, net.model("small", "all"), {"x": normal(1, 8, 12, 12)})
    assert q.scale("r1") == q.scale("mp") == q.scale("turned") < q.scale("cat") / 4 and q.scale("r2") == q.scale("cat")
    assert q.sqnr("small") > 30 and q.sqnr("all") > 25
    q.check_bytes()


def test_slices_of_about_the_same_range_move_integers(done, tmp_path):
    """Crops of a picture in front of convolutions: the picture is quantized once, and bytes are moved."""
    net = Net((1, 8, 12, 12))
    for k in "ab":
        net.conv(part(net, "x", 4 * (k == "b"), 4 + 4 * (k == "b"), 1, f"s_{k}"), 4, 4, f"y_{k}")
    q = Quantized(done, tmp_path, net.model("y_a", "y_b"), {"x": normal(1, 8, 12, 12)}, "c")
    assert q.scale("x") == q.scale("s_a") == q.scale("s_b")
    q.check_bytes()


def test_fixed_range_in_a_concat(done, tmp_path):
    """A Softmax in integers keeps 1/256 where its Concat does not."""
    net = Net((1, 16))
    n, _ = wide_and_narrow(net)
    p = net.op("Softmax", [n], "p", axis=1)
    net.op("MatMul", [net.op("Concat", [p, n], "cat", axis=1), net.weight("k1", 32, 8)], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 16)})
    assert q.scale("p") == 1 / 256 and q.scale("n") == q.scale("cat") and q.sqnr("y") > 30
    q.check_bytes()


def test_calibrate_alone_and_twice(done, tmp_path):
    """calibrate may stand alone, and twice: the second time gives the same."""
    prefix = "raise-opset,fold-constants,remove-identity,fuse-bias-add,fold-batchnorm,fuse-bias-add"
    once = Quantized(done, tmp_path, cell(), states(), "ort-x86", "--pipeline", f"{prefix},calibrate,insert-qdq")
    alone, twice = tmp_path / "alone.onnx", tmp_path / "twice.onnx"
    done("quantize", once.source, "--data", once.data, "-o", alone, "--pipeline", f"{prefix},calibrate")
    done("quantize", once.source, "--data", once.data, "-o", twice, "--pipeline",
         f"{prefix},calibrate,calibrate,insert-qdq")
    assert not [n for n in onnx.load(alone).graph.node if n.op_type == "QuantizeLinear"]
    again = {t.name: numpy_helper.to_array(t) for t in onnx.load(twice).graph.initializer}
    assert again.keys() == once.constants.keys()
    for name, value in once.constants.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.mends("ranges - a Softmax in float had the range of one in integers")
def test_softmax_in_float(done, tmp_path):
    """Behind a mask it runs in float: 300 tokens then share 1 by their own range, not by 1/256."""
    net = Net((1, 300, 16))
    q, k, v = (net.op("MatMul", ["x", net.weight(f"w_{n}", 16, 16)], n) for n in "qkv")
    s = net.op("MatMul", [q, net.op("Transpose", [k], "kt", perm=[0, 2, 1])], "s")
    small = net.op("Mul", [s, net.constant("root", 0.25)], "small")
    masked = net.op("Add", [small, net.constant("mask", np.where(np.arange(300) < 200, 0, -3.4e38))], "masked")
    net.op("MatMul", [net.op("Softmax", [masked], "p", axis=-1), v], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": normal(1, 300, 16)})
    assert q.scale("p") < 0.6 / 256 and q.sqnr("y") > 25


# Sets the range of the value NAME, between calibrate and insert-qdq.
NARROWER = "qonnx_value_set_range(qonnx_graph_find(g, \"%s\"), -%g, %g); return true;"


@pytest.mark.parametrize("value", ["mp", "n", "cat", "w"])
def test_ranges_that_a_plugin_sets(value, done, tmp_path):
    """Whatever a plugin sets between the two: data movement and a Concat mean what they mean, in all runtimes."""
    net = Net((1, 8, 8, 8))
    n = net.conv("x", 8, 8, "n")
    net.conv(net.op("MaxPool", [n], "mp", kernel_shape=[2, 2], strides=[2, 2]), 8, 8, "small")
    net.constant("w_w", net.random.normal(size=(8, 8, 3, 3)))
    net.op("Conv", ["x", "w_w"], "w", pads=[1] * 4)
    net.conv(net.op("Concat", [n, "w"], "cat", axis=1), 16, 8, "all")
    plugin = make_plugin(tmp_path / "mine.so", run=NARROWER % (value, 1.5, 1.5))
    q = Quantized(done, tmp_path, net.model("small", "all"), {"x": normal(1, 8, 8, 8)}, "ort-x86", "--plugin", plugin,
                  "--pass", "mine@calibrate")
    assert q.scale(value) == np.float32(3 / 255)
    q.check_bytes()


class Random:
    """A graph of random products, Concats, Slices and element-wise operators on [1, N], of widely different ranges."""

    def __init__(self, seed):
        self.net, self.random = Net((1, 16)), np.random.default_rng(seed)
        self.net.random = self.random
        self.size, self.read = {"x": 16}, set()
        for step in range(self.random.integers(6, 14)):
            kind = self.random.choice(["product", "concat", "slice", "other"], p=[0.3, 0.3, 0.15, 0.25])
            getattr(self, kind)(f"{kind}{step}")
        self.product("last")
        self.model = self.net.model(*(v for v in self.size if v not in self.read and v != "x"))

    def pick(self, size=None):
        value = str(self.random.choice([v for v, n in self.size.items() if size in (None, n)]))
        self.read.add(value)
        return value

    def product(self, out):
        x = self.pick()
        w = self.random.normal(size=(self.size[x], 12)) / np.sqrt(self.size[x]) * 10 ** self.random.uniform(-1.5, 1.5)
        self.net.op("MatMul", [x, self.net.constant(f"{out}_w", w)], out)
        self.size[out] = 12

    def concat(self, out):
        inputs = [self.pick() for _ in range(self.random.integers(2, 4))]
        size = sum(self.size[x] for x in inputs)
        if self.random.random() < 0.2:
            far = self.random.normal(size=(1, 4)) * 10 ** self.random.uniform(-2, 2)
            inputs.append(self.net.constant(f"{out}_c", far))
            size += 4
        self.net.op("Concat", inputs, out, axis=1)
        self.size[out] = size

    def slice(self, out):
        x = self.pick()
        start = int(self.random.integers(0, self.size[x]))
        end = int(self.random.integers(start + 1, self.size[x] + 1))
        part(self.net, x, start, end, 1, out)
        self.size[out] = end - start

    def other(self, out):
        op, x = str(self.random.choice(["Relu", "Tanh", "Add", "Mul"])), self.pick()
        self.net.op(op, [x, self.pick(self.size[x])] if op in ("Add", "Mul") else [x], out)
        self.size[out] = self.size[x]


@pytest.mark.mends("ranges - values of widely different ranges, joined and taken apart at random")
def test_random_graphs(done, tmp_path):
    """No output of any of them loses what it holds: at least 18 dB, the same in ONNX Runtime and `qonnx run`."""
    poor = {}
    for seed in range(GRAPHS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        q = Quantized(done, folder, Random(seed).model, {"x": normal(1, 16, seed=seed)}, TARGETS[seed % 2 * 3])
        got = q.run()
        for name, want in q.int.items():
            off = np.abs(got[name].reshape(want.shape) - want) > 1e-5 * np.abs(want).max()
            if q.sqnr(name) < 18 or off.mean() > 0.01:
                poor[seed, name] = (q.sqnr(name), off.mean())
    assert not poor


def test_softmax_of_many(done, tmp_path):
    """What 300 tokens share is a step or two of 1/256 each, also where a few have much: it runs in float then, by its own range."""
    net = Net((1, 300, 16))
    q, k, v = (net.op("MatMul", ["x", net.weight(f"w_{n}", 16, 16)], n) for n in "qkv")
    s = net.op("MatMul", [q, net.op("Transpose", [k], "kt", perm=[0, 2, 1])], "s")
    net.op("MatMul", [net.op("Softmax", [s], "p", axis=-1), v], "y")
    q = Quantized(done, tmp_path, net.model("y"), {"x": 0.6 * normal(1, 300, 16)})
    assert q.scale("p") < 0.9 / 256 and q.sqnr("y") > 25
