#!/usr/bin/env python3
"""Makes everything in testdata/: a small trained model with its pictures, and models of unusual
form.

  python3 tools/make_testdata.py [OUT]     OUT: default testdata/ of this checkout

Needs numpy, scikit-learn (for the digits it bundles) and onnx. The network is trained here, by
hand-written forward and backward passes, in seconds. The same versions on the same machine
give the same bytes; another BLAS sums in another order and gives another, equally good model.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one summation order
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED = 20
EPOCHS = 60
BATCH = 64
LEAST_ACCURACY = 0.96
EPSILON = 1e-5  # BatchNormalization's

LICENSE = """\
The pictures under digits/ are made from the "Optical Recognition of Handwritten Digits" data set:

    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits.
    UCI Machine Learning Repository. https://doi.org/10.24432/C50P49

licensed under the Creative Commons Attribution 4.0 International licence (CC BY 4.0),
https://creativecommons.org/licenses/by/4.0/legalcode.

Changes: 400 of the 1,797 pictures of its test part, as bundled with scikit-learn, were chosen,
their values scaled from 0..16 to 0..255 and rounded, and written as 8-bit gray PNG files; those
under digits/photos/ are those under digits/calibration/, enlarged and widened to sizes of their own.
digits.onnx was trained on the other pictures of that part and on those under digits/calibration/.

tools/make_testdata.py does all of this.
"""


# ---- the network, trained by hand ---------------------------------------------------------------
# A layer has forward(x, training) and backward(dy), which returns dx; `weights` and `grads` are
# parallel lists.


class Conv:
    """Grouped 2-D convolution without bias: x [N,C,H,W], w [O,C/group,k,k]."""

    def __init__(self, rng, inputs, outputs, size, stride=1, group=1):
        fan_in = inputs // group * size * size
        shape = (outputs, inputs // group, size, size)
        self.weights = [rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)]
        self.size, self.stride, self.pad, self.group = size, stride, size // 2, group

    def windows(self, padded, ky, kx, rows, columns):
        """The view of every window's element (ky, kx)."""
        s = self.stride
        return padded[:, :, ky : ky + s * rows : s, kx : kx + s * columns : s]

    def forward(self, x, training):
        n, c, h, w = x.shape
        k, p, s, g = self.size, self.pad, self.stride, self.group
        self.rows, self.columns = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        self.padded_shape = padded.shape
        taps = [
            self.windows(padded, i, j, self.rows, self.columns) for i in range(k) for j in range(k)
        ]
        self.unrolled = np.stack(taps, 2).reshape(n, g, c // g * k * k, self.rows * self.columns)
        matrix = self.weights[0].reshape(g, -1, c // g * k * k)
        return (matrix @ self.unrolled).reshape(n, -1, self.rows, self.columns)

    def backward(self, dy):
        n, c, h, w = self.padded_shape
        k, p, g = self.size, self.pad, self.group
        dy = dy.reshape(n, g, -1, self.rows * self.columns)
        self.grads = [(dy @ self.unrolled.swapaxes(2, 3)).sum(0).reshape(self.weights[0].shape)]
        matrix = self.weights[0].reshape(g, -1, c // g * k * k)
        taps = (matrix.swapaxes(1, 2) @ dy).reshape(n, c, k, k, self.rows, self.columns)
        dx = np.zeros(self.padded_shape, np.float32)
        for i in range(k):
            for j in range(k):
                self.windows(dx, i, j, self.rows, self.columns)[...] += taps[:, :, i, j]
        return dx[:, :, p : h - p, p : w - p]


class BatchNorm:
    """Normalizes each channel; keeps running statistics for inference."""

    def __init__(self, channels):
        self.weights = [np.ones(channels, np.float32), np.zeros(channels, np.float32)]
        self.mean, self.variance = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def forward(self, x, training):
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean += 0.1 * (mean - self.mean)
            self.variance += 0.1 * (variance - self.variance)
        else:
            mean, variance = self.mean, self.variance
        self.inverse = (1 / np.sqrt(variance + EPSILON))[:, None, None]
        self.normal = (x - mean[:, None, None]) * self.inverse
        scale, shift = self.weights
        return self.normal * scale[:, None, None] + shift[:, None, None]

    def backward(self, dy):
        self.grads = [(dy * self.normal).sum((0, 2, 3)), dy.sum((0, 2, 3))]
        count = dy.size // dy.shape[1]
        dscale, dshift = (g[:, None, None] / count for g in self.grads)
        return self.weights[0][:, None, None] * self.inverse * (dy - dshift - self.normal * dscale)


class Relu:
    weights, grads = [], []

    def forward(self, x, training):
        self.positive = x > 0
        return x * self.positive

    def backward(self, dy):
        return dy * self.positive


class Residual:
    """x + the layers' result."""

    def __init__(self, layers):
        self.layers = layers

    def forward(self, x, training):
        y = x
        for layer in self.layers:
            y = layer.forward(y, training)
        return x + y

    def backward(self, dy):
        dx = dy
        for layer in reversed(self.layers):
            dx = layer.backward(dx)
        return dx + dy

    weights = property(lambda self: [w for layer in self.layers for w in layer.weights])
    grads = property(lambda self: [g for layer in self.layers for g in layer.grads])


class AverageAndGemm:
    """Mean over each channel's plane, then a fully connected layer [classes][channels]."""

    def __init__(self, rng, inputs, outputs):
        matrix = rng.normal(0, np.sqrt(1 / inputs), (outputs, inputs)).astype(np.float32)
        self.weights = [matrix, np.zeros(outputs, np.float32)]

    def forward(self, x, training):
        self.shape, self.means = x.shape, x.mean((2, 3))
        return self.means @ self.weights[0].T + self.weights[1]

    def backward(self, dy):
        self.grads = [dy.T @ self.means, dy.sum(0)]
        n, c, h, w = self.shape
        return np.broadcast_to((dy @ self.weights[0])[:, :, None, None] / (h * w), self.shape)


def network(rng):
    """The layers by name, in order."""
    return {
        "stem": Conv(rng, 1, 16, 3),
        "stem/bn": BatchNorm(16),
        "stem/relu": Relu(),
        "depthwise": Conv(rng, 16, 16, 3, stride=2, group=16),
        "depthwise/bn": BatchNorm(16),
        "depthwise/relu": Relu(),
        "pointwise": Conv(rng, 16, 24, 1),
        "pointwise/bn": BatchNorm(24),
        "pointwise/relu": Relu(),
        "residual": Residual(
            [Conv(rng, 24, 24, 3), BatchNorm(24), Relu(), Conv(rng, 24, 24, 3), BatchNorm(24)]
        ),
        "residual/relu": Relu(),
        "classifier": AverageAndGemm(rng, 24, 10),
    }


def predict(layers, x, training=False):
    for layer in layers.values():
        x = layer.forward(x, training)
    return x


def shifted(rng, x):
    """Each picture moved by at most one pixel in each direction."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moves = rng.integers(0, 3, (len(x), 2))
    return np.stack([p[:, i : i + 8, j : j + 8] for p, (i, j) in zip(padded, moves)])


def train(rng, x, y):
    """Adam on the cross entropy, the rate falling to 0 as a half cosine. Returns the layers."""
    layers = network(rng)
    weights = [w for layer in layers.values() for w in layer.weights]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, steps = 0, EPOCHS * (len(x) // BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            scores = predict(layers, shifted(rng, x[chosen]), training=True)
            scores = np.exp(scores - scores.max(1, keepdims=True))
            gradient = scores / scores.sum(1, keepdims=True)
            gradient[np.arange(BATCH), y[chosen]] -= 1
            gradient = (gradient / BATCH).astype(np.float32)
            for layer in reversed(layers.values()):
                gradient = layer.backward(gradient)
            grads = [g for layer in layers.values() for g in layer.grads]
            step += 1
            rate = 0.005 * (1 + np.cos(np.pi * step / steps)) / 2
            for w, g, m, v in zip(weights, grads, first, second):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                w -= (
                    rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                ).astype(np.float32)
    return layers


# ---- the model file -----------------------------------------------------------------------------


class Writer:
    """Collects the nodes and initializers of a graph."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, name, inputs, output=None, **attributes):
        output = output or f"{name}:0"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def conv(self, name, layer, x, divide=1):
        w = self.constant(f"{name}/weight", layer.weights[0] / np.float32(divide))
        size, pads = [layer.size] * 2, [layer.pad] * 4
        return self.node(
            "Conv",
            name,
            [x, w],
            kernel_shape=size,
            pads=pads,
            strides=[layer.stride] * 2,
            group=layer.group,
        )

    def batch_norm(self, name, layer, x):
        parts = dict(
            scale=layer.weights[0], bias=layer.weights[1], mean=layer.mean, variance=layer.variance
        )
        names = [self.constant(f"{name}/{part}", array) for part, array in parts.items()]
        return self.node("BatchNormalization", name, [x] + names, epsilon=EPSILON)

    def model(self, name, inputs, outputs, opset, ir, functions=(), **more):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers, **more)
        opsets = [helper.make_opsetid(domain, version) for domain, version in opset.items()]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=ir,
            functions=list(functions),
            producer_name="make_testdata",
        )


def tensor_info(name, *dims, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, dims)


def digits_model(layers):
    """The trained network as ONNX. It takes 0..255: the division is in the first weights."""
    g = Writer()
    x = g.conv("stem", layers["stem"], "image", divide=255)
    for name in ("stem", "depthwise", "pointwise"):
        if name != "stem":
            x = g.conv(name, layers[name], x)
        x = g.batch_norm(f"{name}/bn", layers[f"{name}/bn"], x)
        x = g.node("Relu", f"{name}/relu", [x])
    conv1, bn1, _, conv2, bn2 = layers["residual"].layers
    y = g.batch_norm("residual/bn1", bn1, g.conv("residual/conv1", conv1, x))
    y = g.node("Relu", "residual/relu1", [y])
    y = g.batch_norm("residual/bn2", bn2, g.conv("residual/conv2", conv2, y))
    x = g.node("Add", "residual/add", [x, y])
    x = g.node("Relu", "residual/relu2", [x])
    x = g.node("GlobalAveragePool", "pool", [x])
    x = g.node("Flatten", "flatten", [x], axis=1)
    w, b = (
        g.constant(f"classifier/{part}", a)
        for part, a in zip(("weight", "bias"), layers["classifier"].weights)
    )
    g.node("Gemm", "classifier", [x, w, b], "scores", transB=1)
    model = g.model(
        "digits", [tensor_info("image", 1, 1, 8, 8)], [tensor_info("scores", 1, 10)], {"": 13}, 8
    )
    model.doc_string = (
        "Handwritten digits, 8x8 gray, 0..255; scores of the ten classes. "
        "Made by tools/make_testdata.py"
    )
    helper.set_model_props(
        model, {"classes": "0 1 2 3 4 5 6 7 8 9", "licence": "see LICENSE.digits.txt"}
    )
    return model


def write_png(path, pixels):
    """An 8-bit gray PNG file of a [height][width] uint8 array."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def enlarge(pixels, factor, columns, rows):
    """A picture that is larger and wider, or taller: pixels become squares of `factor` pixels, and
    black stands beside the 8x8, that many columns or rows of squares. To shrink the short side to 8
    by the mean of each square (Pillow's box filter) and to cut out the middle gives the pixels
    back; any filter that reads beyond a square would blur strokes that are one pixel wide."""
    canvas = np.zeros((8 + rows, 8 + columns), np.uint8)
    y, x = rows // 2, columns // 2
    canvas[y : y + 8, x : x + 8] = pixels
    return np.kron(canvas, np.ones((factor, factor), np.uint8))


def make_digits(out):
    """Trains, checks and writes the digits model, the pictures in a folder a class, and those of
    calibration once more in sizes of their own."""
    rng = np.random.default_rng(SEED)
    data = load_digits()
    pixels = np.floor(data.images * 255 / 16 + 0.5).astype(np.uint8)
    by_class = [rng.permutation(np.flatnonzero(data.target == c)) for c in range(10)]
    test = np.concatenate([c[:30] for c in by_class])
    calibration = np.concatenate([c[30:40] for c in by_class])
    rest = np.concatenate([c[30:] for c in by_class])

    inputs = (pixels[:, None] / np.float32(255)).astype(np.float32)
    layers = train(rng, inputs[rest], data.target[rest])
    accuracy = np.mean(predict(layers, inputs[test]).argmax(1) == data.target[test])
    print(f"digits: {100 * accuracy:.2f} % of {len(test)} test pictures")
    if accuracy < LEAST_ACCURACY:
        sys.exit(
            f"make_testdata.py: the digits model is right on {accuracy:.4f}, want {LEAST_ACCURACY}"
        )

    for split, chosen in (("test", test), ("calibration", calibration)):
        for n, i in enumerate(chosen):
            write_png(out / "digits" / split / str(data.target[i]) / f"{n:03d}.png", pixels[i])
    sizes = np.random.default_rng(SEED)
    for n, i in enumerate(calibration):
        beside = (sizes.integers(0, 7), 0)[:: 1 if n % 2 else -1]
        photo = enlarge(pixels[i], sizes.integers(2, 8), *beside)
        write_png(out / "digits" / "photos" / f"{n:03d}.png", photo)
    save(digits_model(layers), out / "digits.onnx")
    (out / "LICENSE.digits.txt").write_text(LICENSE)


# ---- models of unusual form ---------------------------------------------------------------------


def old_opset(rng):
    """Opset 8: weights are graph inputs too, auto_pad, the bias added by a node of its own."""
    g = Writer()
    w = g.constant("conv/weight", rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32))
    b = g.constant("conv/bias", rng.normal(0, 0.1, (4, 1, 1)).astype(np.float32))
    m = g.constant("dense/weight", rng.normal(0, 0.3, (64, 5)).astype(np.float32))
    shape = g.constant("shape", np.array([1, -1], np.int64))
    x = g.node("Conv", "conv", ["x", w], kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[1, 1])
    x = g.node("Add", "conv/add", [x, b])
    x = g.node("Relu", "relu", [x])
    x = g.node("MaxPool", "pool", [x], kernel_shape=[3, 3], auto_pad="SAME_LOWER", strides=[2, 2])
    x = g.node("Reshape", "reshape", [x, shape])
    g.node("MatMul", "dense", [x, m], "y")
    weights = [
        tensor_info(w, 4, 3, 3, 3),
        tensor_info(b, 4, 1, 1),
        tensor_info(m, 64, 5),
        tensor_info(shape, 2, dtype=TensorProto.INT64),
    ]
    return g.model(
        "old_opset", [tensor_info("x", 1, 3, 8, 8)] + weights, [tensor_info("y", 1, 5)], {"": 8}, 3
    )


def subgraph(rng):
    """An If whose branches read values of the enclosing graph and hold weights of their own."""

    def branch(name, op):
        g = Writer()
        w = g.constant(f"{name}/weight", rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32))
        x = g.node("Conv", f"{name}/conv", ["stem:0", w])
        g.node(op, f"{name}/last", [x], f"{name}:0")
        return helper.make_graph(
            g.nodes, name, [], [tensor_info(f"{name}:0", 1, 4, 6, 6)], g.initializers
        )

    g = Writer()
    w = g.constant("stem/weight", rng.normal(0, 0.5, (4, 2, 3, 3)).astype(np.float32))
    zero = g.constant("zero", np.zeros((), np.float32))
    x = g.node("Conv", "stem", ["x", w])
    total = g.node("ReduceSum", "total", [x], keepdims=0)
    positive = g.node("Greater", "positive", [total, zero])
    x = g.node(
        "If",
        "choice",
        [positive],
        then_branch=branch("then", "Relu"),
        else_branch=branch("else", "Tanh"),
    )
    g.node("Relu", "last", [x], "y")
    return g.model(
        "subgraph", [tensor_info("x", 1, 2, 8, 8)], [tensor_info("y", 1, 4, 6, 6)], {"": 13}, 7
    )


def custom_domain(rng):
    """A node that no runtime knows, between two that every runtime does."""
    g = Writer()
    w1, w2 = (
        g.constant(f"conv{i}/weight", rng.normal(0, 0.4, (3, 3, 3, 3)).astype(np.float32))
        for i in (1, 2)
    )
    x = g.node("Conv", "conv1", ["x", w1], pads=[1, 1, 1, 1])
    x = g.node(
        "Sharpen", "sharpen", [x], domain="com.example", strength=0.5, kind="edges", taps=[1, 2, 1]
    )
    g.node("Conv", "conv2", [x, w2], "y", pads=[1, 1, 1, 1])
    inputs, outputs = [tensor_info("x", 1, 3, 8, 8)], [tensor_info("y", 1, 3, 8, 8)]
    middle = [tensor_info("sharpen:0", 1, 3, 8, 8)]
    return g.model(
        "custom_domain", inputs, outputs, {"": 13, "com.example": 1}, 7, value_info=middle
    )


def external_data(rng, folder):
    """Weights in a file beside the model, each at an offset of its own."""
    g = Writer()
    arrays = {"conv/weight": rng.normal(0, 0.3, (8, 3, 3, 3)), "conv/bias": rng.normal(0, 0.1, 8)}
    blob = b""
    for name, array in arrays.items():
        array = array.astype(np.float32)
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        blob += bytes(-len(blob) % 64)
        for key, value in (
            ("location", "external_data.bin"),
            ("offset", len(blob)),
            ("length", array.nbytes),
        ):
            tensor.external_data.add(key=key, value=str(value))
        blob += array.tobytes()
        g.initializers.append(tensor)
    (folder / "external_data.bin").write_bytes(blob)
    x = g.node("Conv", "conv", ["x", *arrays], pads=[1, 1, 1, 1])
    g.node("Relu", "relu", [x], "y")
    return g.model(
        "external_data", [tensor_info("x", 1, 3, 8, 8)], [tensor_info("y", 1, 8, 8, 8)], {"": 13}, 7
    )


def everything_carried(rng):
    """What a tool should carry although it has no use for it, fields of a later schema included."""
    g = Writer()
    w = g.constant("conv/weight", rng.normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32))
    g.initializers[0].doc_string = "weights of the only convolution"
    x = g.node("Conv", "conv", ["x", w])
    g.nodes[0].doc_string = "the only convolution"
    g.node("Twice", "twice", [x], "y", domain="local")
    body = [helper.make_node("Add", ["a", "a"], ["b"], "add")]
    twice = helper.make_function(
        "local", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
    )
    inputs, outputs = [tensor_info("x", "batch", 1, 8, 8)], [tensor_info("y", "batch", 4, 6, 6)]
    inputs[0].doc_string = "one plane a sample"
    middle = [tensor_info("conv:0", "batch", 4, 6, 6)]
    model = g.model(
        "everything_carried",
        inputs,
        outputs,
        {"": 17, "local": 1},
        8,
        [twice],
        doc_string="graph's own text",
        value_info=middle,
    )
    model.doc_string, model.domain, model.model_version = (
        "model's own text: é, 数",
        "org.example",
        7,
    )
    helper.set_model_props(model, {"author": "make_testdata", "empty": ""})
    unknown_number = bytes([0xC0, 0x3E, 0x2A])  # field 1000, varint 42
    unknown_text = bytes([0xCA, 0x3E, 0x05]) + b"later"  # field 1001, 5 bytes
    return onnx.ModelProto.FromString(model.SerializeToString() + unknown_number + unknown_text)


def make_forms(out):
    folder = out / "forms"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    for make in (old_opset, subgraph, custom_domain, everything_carried):
        save(make(rng), folder / f"{make.__name__}.onnx")
    save(external_data(rng, folder), folder / "external_data.onnx")


def save(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))
    print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    out = (
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(__file__).resolve().parent.parent / "testdata"
    )
    make_digits(out)
    make_forms(out)


if __name__ == "__main__":
    main()
