"""The pass equalize against its formula in numpy, and what it must leave alone."""

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import run_command
from onnx import numpy_helper
from test_optimize import optimized
from test_placement import Net
from test_recovery import files

pytestmark = pytest.mark.usefixtures("qonnx")
SAMPLES = 24


def constants(path):
    return {t.name: numpy_helper.to_array(t).astype(float) for t in onnx.load(path).graph.initializer}


def run(model, outputs, folder):
    extended = onnx.load(model)
    known = {o.name for o in extended.graph.output}
    extended.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in known)
    s = onnxruntime.InferenceSession(extended.SerializeToString())
    return [s.run(outputs, {"x": np.load(f)}) for f in sorted((folder / "data").glob("*.npy"))]


def equalize(folder, options=""):
    done = run_command("quantize", "-q", folder / "m.onnx", "--data", folder / "data", "--pipeline", f"equalize{options}", "-o", folder / "e.onnx")
    assert done.rc == 0, done.stderr
    return constants(folder / "m.onnx"), constants(folder / "e.onnx")


def uneven(net, name, *shape):
    """A weight whose outputs have sizes from 0.05 to 1."""
    factors = np.geomspace(0.05, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return net.constant(name, net.random.normal(size=shape) * factors / np.sqrt(np.prod(shape[1:])))


def samples(*shape):
    random = np.random.default_rng(4)
    return [random.normal(size=shape) for _ in range(SAMPLES)]


def same(folder, outputs):
    for a, b in zip(run(folder / "m.onnx", outputs, folder), run(folder / "e.onnx", outputs, folder), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-4 * np.abs(x).max())


def factors(largest, weights, alpha):
    """The formula, the smallest counted as 1/64 of the largest, the largest value kept."""
    x = np.maximum(largest, largest.max() / 64)
    s = x ** alpha / weights ** (1 - alpha)
    return s * (x / s).max() / largest.max()


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_relu_pool_concat(tmp_path, alpha):
    """Two readers, one of them in groups, the other behind a Concat; the biases go along."""
    net = Net((1, 3, 12, 12))
    a = net.op("Relu", [net.op("Conv", ["x", uneven(net, "wa", 8, 3, 3, 3), uneven(net, "ba", 8)], "a")], "ra")
    b = net.op("Conv", ["x", net.weight("wb", 4, 3, 3, 3)], "b")
    net.op("Conv", [net.op("MaxPool", [a], "pool", kernel_shape=[2, 2]), net.weight("w1", 6, 4, 3, 3)], "y", group=2)
    net.op("Conv", [net.op("Concat", [b, a], "both", axis=1), net.weight("w2", 5, 12, 1, 1)], "z")
    files(tmp_path, net.model("y", "z"), samples(1, 3, 12, 12))
    old, new = equalize(tmp_path, f"{{alpha={alpha}}}")
    seen = np.stack([v[0] for v in run(tmp_path / "m.onnx", ["ra"], tmp_path)])
    w1 = np.concatenate([np.abs(old["w1"][:3]).max((0, 2, 3)), np.abs(old["w1"][3:]).max((0, 2, 3))])
    s = factors(np.abs(seen).max((0, 1, 3, 4)), np.maximum(w1, np.abs(old["w2"]).max((0, 2, 3))[4:]), alpha)
    np.testing.assert_allclose(new["wa"], old["wa"] / s[:, None, None, None], rtol=1e-4)
    np.testing.assert_allclose(new["ba"], old["ba"] / s, rtol=1e-4)
    np.testing.assert_allclose(new["w1"], old["w1"] * s.reshape(2, 4).repeat(3, 0)[..., None, None], rtol=1e-4)
    joined = np.abs(np.stack([v[0] for v in run(tmp_path / "m.onnx", ["b"], tmp_path)])).max((0, 1, 3, 4))
    t = factors(joined, np.abs(old["w2"]).max((0, 2, 3))[:4], alpha)
    np.testing.assert_allclose(new["w2"], old["w2"] * np.concatenate([t, s])[:, None, None], rtol=1e-4)
    same(tmp_path, ["y", "z"])


def test_depthwise_and_flatten(tmp_path):
    """In front of a depthwise convolution alpha is 1; a Gemm behind a pool and a Flatten is a reader, too."""
    net = Net((1, 3, 9, 9))
    a = net.op("Relu", [net.op("Conv", ["x", uneven(net, "wa", 8, 3, 3, 3)], "a")], "ra")
    d = net.op("LeakyRelu", [net.op("Conv", [a, uneven(net, "wd", 8, 1, 3, 3), net.weight("bd", 8)], "d", group=8)], "rd")
    flat = net.op("Flatten", [net.op("GlobalAveragePool", [d], "mean")], "flat")
    net.op("Gemm", [flat, net.weight("wg", 5, 8), net.weight("bg", 5)], "y", transB=1)
    files(tmp_path, net.model("y"), samples(1, 3, 9, 9))
    old, new = equalize(tmp_path)
    values = run(tmp_path / "m.onnx", ["ra", "flat"], tmp_path)
    seen, means = np.stack([v[0] for v in values]), np.stack([v[1] for v in values])
    s = factors(np.abs(seen).max((0, 1, 3, 4)), np.abs(old["wd"]).max((1, 2, 3)), 1)
    t = factors(np.abs(means).max((0, 1)), np.abs(old["wg"]).max(0), 0.5)
    np.testing.assert_allclose(new["wa"], old["wa"] / s[:, None, None, None], rtol=1e-4)
    np.testing.assert_allclose(new["wd"], old["wd"] * (s / t)[:, None, None, None], rtol=1e-4)
    np.testing.assert_allclose(new["wg"], old["wg"] * t, rtol=1e-4)
    same(tmp_path, ["y"])


def test_clip(tmp_path):
    """A channel that reaches the limit stays; no other comes to reach it, be it half as large again as it was seen."""
    net = Net((1, 3, 12, 12))
    net.constant("zero", 0)
    net.constant("six", 6)
    net.op("Clip", [net.op("Conv", ["x", net.constant("wa", 4 * net.random.normal(size=(8, 3, 3, 3)) * np.geomspace(0.01, 1, 8)[:, None, None, None])], "a"), "zero", "six"], "c")
    net.op("Conv", ["c", net.weight("wb", 4, 8, 3, 3)], "y")
    files(tmp_path, net.model("y"), samples(1, 3, 12, 12))
    old, new = equalize(tmp_path)
    seen = np.stack([v[0] for v in run(tmp_path / "m.onnx", ["c"], tmp_path)])
    most = np.abs(seen).max((0, 1, 3, 4))
    halves = [np.abs(seen[i::2]).max((0, 1, 3, 4)) for i in range(2)]
    s = factors(most, np.abs(old["wb"]).max((0, 2, 3)), 0.5)
    s = np.clip(s, np.minimum(1.5 * most, 6) / 6, 1)
    s[(most * 1.15 >= 6) | (most > np.sqrt(1.5) * np.minimum(*halves))] = 1
    assert (s == 1).sum() >= 2 and (s < 0.5).any()
    np.testing.assert_allclose(new["wa"], old["wa"] / s[:, None, None, None], rtol=1e-4)
    np.testing.assert_allclose(new["wb"], old["wb"] * s[:, None, None], rtol=1e-4)
    same(tmp_path, ["y"])
    old, new = equalize(tmp_path, "{clips=false}")
    assert all(np.array_equal(old[k], new[k]) for k in old)


def residual(net, a):
    return net.op("Add", [a, net.op("Conv", ["x", net.weight("wr", 8, 3, 3, 3)], "r")], "sum")


UNLIKE = {
    "a sum": residual,
    "a sigmoid": lambda net, a: net.op("Sigmoid", [a], "s"),
    "an output": lambda net, a: net.op("Identity", [a], "z") and a,
    "a factor of each place": lambda net, a: net.op("Mul", [a, net.weight("m", 1, 1, 10, 10)], "m_out"),
    "channels that are moved": lambda net, a: net.op("Transpose", [a], "t", perm=[0, 1, 3, 2]),
    "another axis": lambda net, a: net.op("Concat", [a, a], "cat", axis=2),
}


@pytest.mark.parametrize("between", UNLIKE)
def test_leaves_alone(tmp_path, between):
    net = Net((1, 3, 12, 12))
    a = net.op("Relu", [net.op("Conv", ["x", uneven(net, "wa", 8, 3, 3, 3)], "a")], "ra")
    net.op("Conv", [UNLIKE[between](net, a), net.weight("wb", 4, 8, 3, 3)], "y")
    files(tmp_path, net.model(*(["y", "z"] if between == "an output" else ["y"])), samples(1, 3, 12, 12))
    old, new = equalize(tmp_path)
    assert all(np.array_equal(old[k], new[k]) for k in old)


def test_weights_that_others_read_stay(tmp_path):
    net = Net((1, 8, 12, 12))
    uneven(net, "w", 8, 8, 3, 3)
    net.op("Conv", [net.op("Conv", ["x", "w"], "a"), "w"], "y")
    files(tmp_path, net.model("y"), samples(1, 8, 12, 12))
    old, new = equalize(tmp_path)
    assert all(np.array_equal(old[k], new[k]) for k in old)


@pytest.mark.parametrize("options, want", [("{alpha=1.5}", "want 0 to 1"), ("{alpha=nan}", "want 0 to 1"), ("{margin=0.5}", "want 1 or more"), ("{margin=nan}", "want 1 or more")])
def test_bad_options(tmp_path, options, want):
    net = Net((1, 8))
    net.op("Gemm", ["x", net.weight("w", 8, 8)], "y")
    files(tmp_path, net.model("y"), samples(1, 8))
    done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "--pipeline", f"equalize{options}", "-o", tmp_path / "e.onnx")
    assert done.rc == 1 and want in done.stderr and not (tmp_path / "e.onnx").exists()


def test_optimize_takes_it(tmp_path):
    """Channels of very unlike size between two convolutions: tried in front of the statistics, and the pipeline says so."""
    net = Net((1, 3, 12, 12))
    a = net.op("Relu", [net.op("Conv", ["x", net.constant("wa", net.random.normal(size=(8, 3, 3, 3)) * np.geomspace(0.01, 1, 8)[:, None, None, None])], "a")], "ra")
    net.op("Conv", [a, net.constant("wb", net.random.normal(size=(4, 8, 3, 3)) * np.geomspace(100, 1, 8)[:, None, None])], "y")
    random = np.random.default_rng(4)
    files(tmp_path, net.model("y"), [random.normal(size=(1, 3, 12, 12)) for _ in range(40)])
    (tmp_path / "m.qcal").unlink()
    said = optimized(tmp_path)
    assert "equalize{alpha=1}" in [t["change"] for t in said["optimize"]["trials"] if t["taken"]] and "equalize" in said["pipeline"]
    assert said["optimize"]["sqnr_db"] > said["optimize"]["sqnr_db_before"] + 5
