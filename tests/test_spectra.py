"""Products that make or read a spectrum stay in float: what is small in one counts as much as what is large."""

import numpy as np
import pytest
from test_placement import Net, Result

WINDOW, HOP, BINS = 64, 32, 33
ANGLES = 2 * np.pi * np.outer(np.arange(BINS), np.arange(WINDOW)) / WINDOW


def transform(net, x="x"):
    """Real and imaginary part of a short-time Fourier transform, by two convolutions."""
    return [net.op("Conv", [x, net.constant(part, (wave(ANGLES) * np.hanning(WINDOW))[:, None])], f"stft_{part}", strides=[HOP])
            for part, wave in (("re", np.cos), ("im", np.sin))]


def power(net, square):
    parts = []
    for v in transform(net):
        w = net.op("Transpose", [v], f"{v}_t", perm=[0, 2, 1])
        parts.append(net.op("Mul", [w, w], f"{v}_2") if square == "Mul" else net.op("Pow", [w, net.constant("two", 2)], f"{v}_2"))
    return net.op("Add", parts, "power")


def head(net, x, cin):
    """Two layers behind a spectrum [1, frames, cin]."""
    a = net.op("Relu", [net.conv1(net.op("Transpose", [x], "turned", perm=[0, 2, 1]), cin, 8, "layer1")], "a")
    return net.conv1(a, 8, 4, "layer2")


class Sound(Net):
    def __init__(self):
        super().__init__((1, 1, 640))

    def conv1(self, x, cin, cout, out):
        return self.op("Conv", [x, self.weight(f"{out}_w", cout, cin, 3)], out)


def tones(count=16):
    """Tones that swell by 60 dB, in noise."""
    random = np.random.default_rng(3)
    t = np.arange(640)
    return [(10 ** (3 * t / 640 - 3) * np.sin(2 * np.pi * t * random.uniform(.02, .4)) +
             1e-3 * random.normal(size=640)).astype(np.float32)[None, None] for _ in range(count)]


def integers(result):
    """The outputs of the products that read integers."""
    dequantized = {n.output[0] for n in result.node("DequantizeLinear")}
    return {n.name[2:] for op in ("Conv", "MatMul") for n in result.node(op) if set(n.input[:2]) <= dequantized}


@pytest.mark.parametrize("square", ["Mul", "Pow"])
def test_filters_in_front_of_a_logarithm(tmp_path, square):
    net = Sound()
    mel = net.op("MatMul", [power(net, square), net.constant("filters", np.abs(net.random.normal(size=(BINS, 16))))], "mel")
    least = net.op("Max", [mel, net.constant("eps", 1e-6)], "least")
    r = Result(tmp_path, net.model(head(net, net.op("Log", [least], "log"), 16)), tones())
    assert integers(r) == {"layer1", "layer2"}
    assert "what is small in a spectrum would be lost" in r.said
    assert r.sqnr() > 30


def test_a_magnitude_is_read_in_float(tmp_path):
    net = Sound()
    r = Result(tmp_path, net.model(head(net, net.op("Sqrt", [power(net, "Mul")], "magnitude"), BINS)), tones())
    assert integers(r) == {"layer2"}
    assert r.sqnr() > 30


def test_a_filter_in_front_of_the_transform(tmp_path):
    """Filtered, scaled and moved before it is squared."""
    net = Sound()
    low = net.op("Conv", ["x", net.constant("low_w", np.full((1, 1, 4), 0.25))], "low", pads=[2, 1])
    net.op("Neg", [net.op("Mul", [low, net.constant("gain", 3)], "loud")], "turned_over")
    parts = [net.op("Mul", [v, v], f"{v}_2") for v in transform(net, "turned_over")]
    log = net.op("Log", [net.op("Add", [net.op("Add", parts, "power"), net.constant("eps", 1e-6)], "least")], "log")
    a = net.conv1(log, BINS, 4, "layer")
    assert integers(Result(tmp_path, net.model(a), tones())) == {"layer"}


def test_what_else_is_squared_runs_in_integers(tmp_path):
    """What a norm of the root mean square reads, squares as activation functions, and layers with a Relu between them and
    a logarithm."""
    net = Sound()
    one = net.conv1("x", 1, 8, "one")
    two = net.conv1(net.op("Mul", [one, one], "square"), 8, 8, "two")
    root = net.op("Sqrt", [net.op("ReduceMean", [net.op("Mul", [two, two], "squares")], "mean", axes=[1])], "root")
    three = net.conv1(net.op("Div", [two, root], "norm"), 8, 8, "three")
    four = net.conv1(net.op("Relu", [three], "relu"), 8, 4, "four")
    net.op("Log", [net.op("Add", [net.op("Mul", [four, four], "last"), net.constant("eps", 1e-6)], "least")], "y")
    assert integers(Result(tmp_path, net.model("y"), tones())) == {"one", "two", "three"}
