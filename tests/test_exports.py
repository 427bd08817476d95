"""Every verb on models as exporters write them, with random weights: their outputs are ONNX Runtime's; quantized with the
defaults they keep 15 dB in ONNX Runtime's default session; compiled they give the executor's bytes.

Four small ones, written here in the forms of exporters, are in every check; those of tools/export/ with QONNX_LONG=1, for
which tools/exports.sh makes them and prints the table."""

import json
import os
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
import pytest
from onnx import helper, numpy_helper
from ort import session
from verbs import assert_near, compiles, ours, quantized_session, sqnr, with_samples

MADE = Path(__file__).parent.parent / "build" / "exports"
FILES = sorted(MADE.glob("*/*/model.onnx"))
LEAST = 15
# Under 15 dB: docs/accuracy.md says why.
UNDER = {}
SAMPLES = 8  # of which the last are not calibrated with
TEST = 3


class Builder:
    """A graph that grows by calls: op("Conv", x, weights, strides=[2, 2]) gives the output's name; arrays are initializers."""

    def __init__(self, **inputs):
        self.inputs, self.nodes, self.constants = inputs, [], []
        self.random = np.random.default_rng(5)

    def operand(self, x):
        if not isinstance(x, np.ndarray):
            return x
        self.constants.append(numpy_helper.from_array(x, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def op(self, kind, *operands, outputs=1, **attributes):
        made = [f"{kind.lower()}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, [self.operand(x) for x in operands], made, **attributes))
        return made[0] if outputs == 1 else made

    def weight(self, *shape):
        fan = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return (self.random.normal(size=shape) * fan ** -0.5).astype(np.float32)

    def vector(self, n, mean=0.0):
        return (mean + 0.1 * self.random.normal(size=n)).astype(np.float32)

    def linear(self, x, a, b):
        return self.op("Add", self.op("MatMul", x, self.weight(a, b)), self.vector(b))

    def conv(self, x, a, b, k=1, group=1, **attributes):
        return self.op("Conv", x, 1.4 * self.weight(b, a // group, k, k), self.vector(b), pads=[k // 2] * 4, group=group, **attributes)

    def norm(self, x, n):
        """As it was written before there was an operator."""
        y = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        mean = self.op("ReduceMean", self.op("Pow", y, f32(2)), axes=[-1])
        y = self.op("Div", y, self.op("Sqrt", self.op("Add", mean, f32(1e-5))))
        return self.op("Add", self.op("Mul", y, self.vector(n, 1)), self.vector(n))

    def gelu(self, x):
        y = self.op("Add", self.op("Erf", self.op("Div", x, f32(2 ** 0.5))), f32(1))
        return self.op("Mul", self.op("Mul", x, y), f32(0.5))

    def model(self, *outputs, opset=17):
        graph = helper.make_graph(self.nodes, "export", [helper.make_tensor_value_info(n, *i) for n, i in self.inputs.items()],
                                  [onnx.ValueInfoProto(name=y) for y in outputs], self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(made)


def f32(x):
    return np.array(x, np.float32)


def i64(*x):
    return np.array(x, np.int64)


def rolled(b, x, by, size):
    """torch.roll along the rows and columns of [1, h, w, c]."""
    for axis in (1, 2):
        parts = [b.op("Slice", x, i64(start), i64(end), i64(axis), i64(1)) for start, end in ((-by % size, 2 ** 63 - 1), (0, -by % size))]
        x = b.op("Concat", *parts, axis=axis)
    return x


def swin(size=8, window=4, c=32, heads=2):
    """Attention in windows that are moved by half of one, with a mask where parts come together that are not neighbours."""
    b, n, count = Builder(x=(1, [1, size, size, c])), window * window, (size // window) ** 2
    x = rolled(b, b.norm("x", c), -window // 2, size)
    x = b.op("Reshape", x, i64(1, size // window, window, size // window, window, c))
    x = b.op("Reshape", b.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), i64(count, n, c))
    qkv = b.op("Reshape", b.linear(x, c, 3 * c), i64(count, n, 3, heads, c // heads))
    qkv = b.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    q, k, v = (b.op("Gather", qkv, np.array(i, np.int64), axis=0) for i in range(3))
    q = b.op("Mul", q, f32((c // heads) ** -0.5))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = b.op("Add", scores, b.random.normal(size=(1, heads, n, n)).astype(np.float32))
    part = np.zeros((size, size), int)
    for i, rows in enumerate((slice(0, -window), slice(-window, -window // 2), slice(-window // 2, None))):
        for j, columns in enumerate((slice(0, -window), slice(-window, -window // 2), slice(-window // 2, None))):
            part[rows, columns] = 3 * i + j
    part = part.reshape(size // window, window, size // window, window).transpose(0, 2, 1, 3).reshape(count, n)
    mask = np.where(part[:, :, None] == part[:, None], 0, -100).astype(np.float32)
    scores = b.op("Add", b.op("Reshape", scores, i64(1, count, heads, n, n)), mask[None, :, None])
    weights = b.op("Softmax", b.op("Reshape", scores, i64(-1, heads, n, n)), axis=-1)
    y = b.op("Reshape", b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3]), i64(count, n, c))
    y = b.op("Reshape", b.linear(y, c, c), i64(1, size // window, size // window, window, window, c))
    y = b.op("Reshape", b.op("Transpose", y, perm=[0, 1, 3, 2, 4, 5]), i64(1, size, size, c))
    x = b.op("Add", "x", rolled(b, y, window // 2, size))
    y = b.op("Add", x, b.linear(b.gelu(b.linear(b.norm(x, c), c, 4 * c)), 4 * c, c))
    return b.model(y), lambda r: {"x": smooth(r, 1, size, size, c)}


def mobile():
    """An inverted residual of MobileNetV3 with squeeze and excitation, and the classifier."""
    b = Builder(image=(1, [1, 3, 24, 24]))
    def hard(x):
        return b.op("HardSwish", x)
    x = hard(b.conv("image", 3, 16, 3, strides=[2, 2]))
    y = hard(b.conv(hard(b.conv(x, 16, 48)), 48, 48, 5, group=48))
    s = b.op("Relu", b.conv(b.op("GlobalAveragePool", y), 48, 12))
    y = b.op("Mul", b.op("HardSigmoid", b.conv(s, 12, 48), alpha=1 / 6), y)
    x = b.op("Add", b.conv(y, 48, 16), x)
    x = b.op("Flatten", b.op("GlobalAveragePool", hard(b.conv(x, 16, 64))))
    x = b.op("Gemm", x, b.weight(64, 32), b.vector(32))
    y = b.op("Gemm", hard(x), b.weight(10, 32), b.vector(10), transB=1)
    return b.model(y), lambda r: {"image": smooth(r, 1, 3, 24, 24)}


def gpt(c=32, heads=2, words=100):
    """A block of a decoder that is given the keys and values of the words before, of any number."""
    size = c // heads
    past = (1, [1, heads, "before", size])
    b = Builder(tokens=(7, [1, "now"]), past_key=past, past_value=past)
    before, now = (b.op("Gather", b.op("Shape", x), np.array(i, np.int64)) for x, i in (("past_key", 2), ("tokens", 1)))
    total = b.op("Add", before, now)
    places = b.op("Unsqueeze", b.op("Range", before, total, np.array(1, np.int64)), i64(0))
    table = b.random.normal(size=(words, c)).astype(np.float32)
    x = b.op("Add", b.op("Gather", table, "tokens"), b.op("Gather", b.random.normal(size=(64, c)).astype(np.float32), places))
    parts = b.op("Split", b.linear(b.norm(x, c), c, 3 * c), i64(c, c, c), outputs=3, axis=2)
    q, k, v = (b.op("Transpose", b.op("Reshape", p, i64(0, 0, heads, size)), perm=[0, 2, 1, 3]) for p in parts)
    k, v = b.op("Concat", "past_key", k, axis=2), b.op("Concat", "past_value", v, axis=2)
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = b.op("Div", scores, f32(size ** 0.5))
    starts, ends = b.op("Unsqueeze", before, i64(0)), b.op("Unsqueeze", total, i64(0))
    mask = b.op("Slice", np.tri(64, dtype=bool)[None, None], starts, ends, i64(2))
    mask = b.op("Slice", mask, i64(0), ends, i64(3))
    scores = b.op("Softmax", b.op("Where", mask, scores, f32(-3.4e38)), axis=-1)
    y = b.op("Reshape", b.op("Transpose", b.op("MatMul", scores, v), perm=[0, 2, 1, 3]), i64(0, 0, c))
    x = b.op("Add", x, b.linear(y, c, c))
    u = b.linear(b.norm(x, c), c, 4 * c)
    t = b.op("Mul", b.op("Add", u, b.op("Mul", b.op("Pow", u, f32(3)), f32(0.044715))), f32((2 / np.pi) ** 0.5))
    u = b.op("Mul", b.op("Mul", u, f32(0.5)), b.op("Add", b.op("Tanh", t), f32(1)))
    x = b.norm(b.op("Add", x, b.linear(u, 4 * c, c)), c)
    logits = b.op("MatMul", x, np.ascontiguousarray(table.T) / 6)
    return b.model(logits, k, v), lambda r: {"tokens": r.integers(0, words, (1, 3)), "past_key": normal(r, 1, heads, 9, size),
                                             "past_value": normal(r, 1, heads, 9, size)}


def yolo(classes=4, bins=4):
    """Two maps of a detector, decoded, and non-maximum suppression."""
    b = Builder(image=(1, [1, 3, 64, 64]))
    def silu(x, *more, **attributes):
        x = b.conv(x, *more, **attributes)
        return b.op("Mul", x, b.op("Sigmoid", x))
    x = silu(silu("image", 3, 16, 3, strides=[2, 2]), 16, 32, 3, strides=[2, 2])
    fine = silu(x, 32, 32, 3, strides=[2, 2])
    deep = silu(fine, 32, 32, 3, strides=[2, 2])
    deep = silu(b.op("Concat", deep, b.op("MaxPool", deep, kernel_shape=[5, 5], pads=[2] * 4), axis=1), 64, 32)
    up = b.op("Resize", deep, "", f32([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    maps = (silu(b.op("Concat", up, fine, axis=1), 64, 32, 3), 8), (deep, 4)
    y = [b.op("Reshape", b.conv(silu(x, 32, 32, 3), 32, 4 * bins + classes), i64(1, 4 * bins + classes, -1)) for x, _ in maps]
    y = b.op("Concat", *y, axis=2)
    box, scores = b.op("Split", y, i64(4 * bins, classes), outputs=2, axis=1)
    box = b.op("Transpose", b.op("Reshape", box, i64(1, 4, bins, -1)), perm=[0, 2, 1, 3])
    sides = b.op("Conv", b.op("Softmax", box, axis=1), np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
    sides = b.op("Reshape", sides, i64(1, 4, -1))
    low, high = b.op("Split", sides, i64(2, 2), outputs=2, axis=1)
    # in double, as PyTorch's tracer makes of a whole number and 0.5
    places = np.concatenate([np.mgrid[0:n, 0:n][::-1].reshape(1, 2, -1) + 0.5 for _, n in maps], 2)
    strides = np.repeat(np.array([8.0, 16]), [64, 16])
    low, high = b.op("Cast", low, to=11), b.op("Cast", high, to=11)
    boxes = b.op("Concat", b.op("Sub", places, low), b.op("Add", places, high), axis=1)
    boxes = b.op("Cast", b.op("Transpose", b.op("Mul", boxes, strides), perm=[0, 2, 1]), to=1)
    scores = b.op("Sigmoid", scores)
    kept = b.op("NonMaxSuppression", boxes, scores, i64(5), f32([0.5]), f32([0.6]))
    of = b.op("Squeeze", b.op("Slice", kept, i64(2), i64(3), i64(1)), i64(1))
    return b.model(b.op("Gather", boxes, of, axis=1), kept, boxes, scores), lambda r: {"image": smooth(r, 1, 3, 64, 64)}


SMALL = {"swin": swin, "mobile": mobile, "gpt": gpt, "yolo": yolo}


def normal(random, *shape):
    return random.normal(size=shape).astype(np.float32)


def smooth(random, *shape):
    """A coarse picture and noise."""
    h, w = shape[-2:]
    coarse = random.normal(size=(*shape[:-2], -(-h // 4), -(-w // 4))).repeat(4, -2).repeat(4, -1)[..., :h, :w]
    return (coarse + 0.3 * random.normal(size=shape)).astype(np.float32)


def size_is_data(model, outputs):
    """Outputs whose size is data, as that of NonMaxSuppression: what is kept differs by a box that is just kept or not."""
    counted = {y for n in model.graph.node if n.op_type in ("NonMaxSuppression", "NonZero") for y in n.output}
    for n in model.graph.node:
        if counted & set(n.input):
            counted |= set(n.output)
    return [y.name in counted for y in outputs]


def fixed(test, path, counted, folder):
    """The model with the outputs alone whose sizes are known, as C has them; programs suppress for themselves."""
    if not any(counted):
        return test, path
    model = onnx.load(path)
    kept = [y.name for y, late in zip(model.graph.output, counted) if not late]
    path = folder / "fixed.onnx"
    onnx.save(onnx.utils.Extractor(model).extract_model([x.name for x in model.graph.input], kept), path)
    return test._replace(runtime=session(path)), path


def every_verb(path, samples, qonnx, done, folder):
    """All of it; gives what the table says of the model."""
    runtime = session(path)
    known = with_samples(path, runtime, samples[:-TEST], folder / "known")
    test = with_samples(path, runtime, samples[-TEST:], folder / "test")
    done("inspect", path)
    exact = test.outputs()
    for engine in ("portable", "auto"):
        assert_near(ours(done, path, test, folder / engine, "--engine", engine), exact)

    int8 = folder / "q.onnx"
    done("calibrate", "-q", path, *known.data, "-o", folder / "m.qcal", timeout=600)
    done("quantize", "-q", path, "--calibration", folder / "m.qcal", "-o", int8, timeout=600)
    there, here = test.outputs(session(int8)), ours(done, int8, test, folder / "out")
    vnni = test.outputs(quantized_session(int8))
    done("evaluate", "-q", path, int8, *test.data, timeout=600)

    counted = size_is_data(onnx.load(path, load_external_data=False), runtime.get_outputs())
    row = {"ort": 1e9, "ours": 1e9, "apart": 1e9}
    for k, (y, late) in enumerate(zip(runtime.get_outputs(), counted)):
        assert all(a[k].dtype in (b[k].dtype, object) and a[k].ndim == b[k].ndim for a, b in zip(there, here))
        if "float" in y.type and not late:
            e, t, h, v = ([[sample[k]] for sample in side] for side in (exact, there, here, vnni))
            for name, figure in (("ort", sqnr(e, t)), ("ours", sqnr(e, h)), ("apart", sqnr(v, h))):
                row[name] = min(row[name], figure)
    assert row["apart"] > 40 or abs(row["ort"] - row["ours"]) < 1.5, row
    first = test._replace(samples=test.samples[:1])
    for name, file in (("float", path), ("int8", int8)) if test.compiles() else ():
        (folder / name).mkdir()
        compiles(qonnx, done, *fixed(first, file, counted, folder / name), folder / name)
    return row | {"bytes": int8.stat().st_size / path.stat().st_size}


@pytest.mark.parametrize("name", SMALL)
def test_small(name, qonnx, done, tmp_path):
    model, sample = SMALL[name]()
    onnx.save(model, tmp_path / "m.onnx")
    random = np.random.default_rng(3)
    row = every_verb(tmp_path / "m.onnx", [sample(random) for _ in range(SAMPLES)], qonnx, done, tmp_path)
    assert row["ort"] >= LEAST and row["ours"] >= LEAST, row


@pytest.mark.skipif(not os.environ.get("QONNX_LONG"), reason="QONNX_LONG=1 runs it")
@pytest.mark.parametrize("path", FILES, ids=["-".join(p.parts[-3:-1]) for p in FILES])
def test_exported(path, qonnx, done, tmp_path):
    with np.load(path.parent / "samples.npz") as stacked:
        arrays = {n: a.astype(object) if a.dtype.kind == "U" else a for n, a in stacked.items()}
    samples = [{n: a[i] for n, a in arrays.items()} for i in range(len(next(iter(arrays.values()))))]
    start = time.monotonic()
    row = every_verb(path, samples, qonnx, done, tmp_path)
    (path.parent / "row.json").write_text(json.dumps(row | {"seconds": time.monotonic() - start}))
    assert min(row["ort"], row["ours"]) >= UNDER.get(path.parent.name, LEAST), row
