"""Every operator that can run in integers, in the forms that its attributes give it, at every operator set and for every
target: the file that quantize writes is loaded in a default session of ONNX Runtime, whose outputs are those of `qonnx run`.

A model holds all forms of one rank, side by side between a convolution (or a matrix product) and either the model's output
or another convolution. A default run takes a few operator sets a target; QONNX_LONG=1 takes all.
"""
import os
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import run_command
from ort import session

LONG = os.environ.get("QONNX_LONG") == "1"
TARGETS = ("ort-x86", "ort-x86-avx2", "ort-arm", "c")
SHAPES = {"line": [1, 4, 21], "image": [1, 4, 9, 10], "volume": [1, 4, 5, 6, 7], "rows": [6, 8]}
SAMPLES, TAIL = 24, 6
# The share of outputs that may differ by a step: ONNX Runtime sums float exponentials of a table, we sum integers.
FEW = {"Softmax": 0.002,
       "ConvTranspose": 0.0005,  # floats summed in another order: some are at a tie
       "Resize": 0.001}  # cubic: floats that are not the same bytes, and one of them may be at a tie behind it


def newest():
    """The newest operator set of which ONNX Runtime has QuantizeLinear."""
    for opset in range(onnx.defs.onnx_opset_version(), 7, -1):
        graph = helper.make_graph([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], "g",
                                  [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                                  [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
                                  [numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.uint8(1), "z")])
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
        try:
            session(model.SerializeToString())
            return opset
        except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
            continue
    raise AssertionError("ONNX Runtime has no QuantizeLinear")


OPSETS = range(7, newest() + 1)


class Model:
    """The model under construction: forms add their nodes, each from a value to a value."""

    def __init__(self, kind, opset, seed):
        self.kind, self.opset, self.random = kind, opset, np.random.default_rng(seed)
        self.nodes, self.constants, self.outputs, self.forms = [], [], [], []
        self.shape = SHAPES[kind]
        self.front = [self.weighted("x", f"front{i}") for i in range(2)]

    def constant(self, array, dtype=np.float32):
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def normal(self, *shape):
        return self.constant(self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1))

    def op(self, op, inputs, **attributes):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], f"{op}_{out}", **attributes))
        return out

    def weighted(self, x, name):
        """A product with a weight, which runs in integers by itself."""
        del name
        if self.kind == "rows":
            return self.op("Gemm", [x, self.normal(8, 8), self.normal(8)])
        return self.op("Conv", [x, self.normal(4, 4, *[1] * (len(self.shape) - 2)), self.normal(4)])

    def end(self, form, value, behind):
        if behind:
            value = self.op("Conv", [value, self.normal(3, 4, *[1] * (len(self.shape) - 2))])
        self.forms.append(form + (" + Conv" if behind else ""))
        self.outputs.append(value)

    def model(self):
        graph = helper.make_graph(self.nodes, "forms", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
                                  [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in self.outputs],
                                  self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=max(helper.find_min_ir_version_for(opsets), 4))


def spatial(m):
    return len(m.shape) - 2


def pool_attributes(m, average):
    """The forms of a pool's attributes, as far as the operator set has them."""
    n = spatial(m)
    forms = [dict(kernel_shape=k) for k in ([2] * n, [3] * n, [2, 3, 1][:n], [1] * n, m.shape[2:])]
    for k, s in ((2, 2), (3, 2), (2, 3)):
        forms += [dict(kernel_shape=[k] * n, strides=[s] * n), dict(kernel_shape=[k] * n, strides=[s, 1, 2][:n])]
    padded = [dict(kernel_shape=[3] * n, pads=[1] * 2 * n), dict(kernel_shape=[3] * n, strides=[2] * n, pads=[1] * 2 * n),
              dict(kernel_shape=[3, 2, 4][:n], pads=[0] * n + [1] * n), dict(kernel_shape=[3] * n, pads=[2] * n + [0] * n)]
    automatic = [dict(kernel_shape=[3] * n, strides=[2] * n, auto_pad=a) for a in ("SAME_UPPER", "SAME_LOWER", "VALID")]
    forms += padded + automatic
    if average:
        forms += [dict(f, count_include_pad=1) for f in padded + automatic]
    if m.opset >= 10:
        ceiled = [dict(kernel_shape=[2] * n, strides=[2] * n), dict(kernel_shape=[3] * n, strides=[2] * n),
                  dict(kernel_shape=[3] * n, strides=[2] * n, pads=[1] * 2 * n), dict(kernel_shape=[4] * n, strides=[3] * n)]
        forms += [dict(f, ceil_mode=1) for f in ceiled]
        if average:
            forms += [dict(f, ceil_mode=1, count_include_pad=1) for f in ceiled]
    if m.opset >= (19 if average else 10):
        forms += [dict(kernel_shape=[2] * n, dilations=[1] * n), dict(kernel_shape=[2] * n, dilations=[2] * n),
                  dict(kernel_shape=[2] * n, dilations=[2] * n, pads=[1] * 2 * n)]
    if not average and m.opset >= 8:
        forms += [dict(kernel_shape=[2] * n, storage_order=1)]
    return forms


def pools(m, x, other):
    for a in pool_attributes(m, True):
        yield f"AveragePool {a}", lambda a=a: m.op("AveragePool", [x], **a)
    for a in pool_attributes(m, False):
        yield f"MaxPool {a}", lambda a=a: m.op("MaxPool", [x], **a)
    yield "GlobalAveragePool", lambda: m.op("GlobalAveragePool", [x])
    yield "GlobalMaxPool", lambda: m.op("GlobalMaxPool", [x])


def convolutions(m, x, other):
    n = spatial(m)
    forms = [dict(), dict(strides=[2] * n), dict(pads=[1] * 2 * n), dict(pads=[2] * n + [0] * n), dict(dilations=[2] * n),
             dict(group=2), dict(group=4), dict(group=4, pads=[1] * 2 * n, strides=[2] * n),
             dict(auto_pad="SAME_UPPER", strides=[2] * n), dict(auto_pad="SAME_LOWER"), dict(auto_pad="VALID")]
    for a in forms:
        for bias in (False, True):
            def make(a=a, bias=bias):
                w = m.normal(4, 4 // a.get("group", 1), *[3, 2, 3][:n])
                return m.op("Conv", [x, w] + [m.normal(4)] * bias, **a)
            yield f"Conv {a} bias {bias}", make


def clips(m, x):
    for lo, hi in ((0, 6), (-0.5, 0.75), (0, None), (None, 0.5), (None, None)):
        def make(lo=lo, hi=hi):
            if m.opset >= 11:
                return m.op("Clip", [x] + [m.constant(b) if b is not None else "" for b in (lo, hi)])
            return m.op("Clip", [x], **{k: float(v) for k, v in (("min", lo), ("max", hi)) if v is not None})
        yield f"Clip {lo} {hi}", make


def activations(m, x, other):
    yield "Relu", lambda: m.op("Relu", [x])
    yield from clips(m, x)
    for alpha in (None, 0.0, 0.3, 1.5, -0.5):
        yield f"LeakyRelu {alpha}", lambda a=alpha: m.op("LeakyRelu", [x], **({} if a is None else dict(alpha=a)))
    yield "Sigmoid", lambda: m.op("Sigmoid", [x])
    for op in ("Tanh", "HardSigmoid", "Elu", "Abs", "Neg"):
        yield op, lambda op=op: m.op(op, [x])
    if m.opset >= 14:
        yield "HardSwish", lambda: m.op("HardSwish", [x])
    for axis in (None, *range(0 if m.opset < 11 else -len(m.shape), len(m.shape))):
        yield f"Softmax {axis}", lambda a=axis: m.op("Softmax", [x], **({} if a is None else dict(axis=a)))


def arithmetic(m, x, other):
    c = m.shape[1]
    for op in ("Add", "Mul"):
        for name, pair in (("two", (x, other)), ("itself", (x, x)), ("swapped", (other, x))):
            yield f"{op} {name}", lambda op=op, p=pair: m.op(op, list(p))
        for shape in ([], [1], m.shape, [1, c] + [1] * (len(m.shape) - 2), m.shape[-1:], m.shape[1:]):
            yield f"{op} constant {shape}", lambda op=op, s=shape: m.op(op, [x, m.normal(*s)])
            yield f"{op} {shape} first", lambda op=op, s=shape: m.op(op, [m.normal(*s), x])
    if spatial(m):
        yield "Add broadcast", lambda: m.op("Add", [x, m.op("GlobalAveragePool", [other])])
        yield "Mul broadcast", lambda: m.op("Mul", [x, m.op("GlobalAveragePool", [other])])
    for axis in range(0 if m.opset < 11 else -len(m.shape), len(m.shape)):
        yield f"Concat {axis}", lambda a=axis: m.op("Concat", [x, other], axis=a)
    yield "Concat of three", lambda: m.op("Concat", [x, other, x], axis=1)
    yield "Concat of one", lambda: m.op("Concat", [x], axis=1)


def lists(m, op, x, attribute, values, since, **more):
    """An operator whose list is an attribute before operator set `since`."""
    if m.opset >= since:
        return m.op(op, [x, m.constant(values, np.int64)], **more)
    return m.op(op, [x], **{attribute: values}, **more)


def movement(m, x, other):
    rank, shape = len(m.shape), m.shape
    for perm in (None, list(range(rank))[::-1], [0, *range(2, rank), 1], [1, 0, *range(2, rank)]):
        yield f"Transpose {perm}", lambda p=perm: m.op("Transpose", [x], **({} if p is None else dict(perm=p)))
    for to in ([0, -1], [-1], [shape[0], 1, -1], [0, 0, -1] if rank > 2 else [0, 2, -1]):
        yield f"Reshape {to}", lambda t=to: m.op("Reshape", [x, m.constant(t, np.int64)])
    for axis in (None, *range(0 if m.opset < 11 else -rank, rank + 1)):
        yield f"Flatten {axis}", lambda a=axis: m.op("Flatten", [x], **({} if a is None else dict(axis=a)))
    for axes in ([0], [1, 2], [0, 3][:rank]):
        yield f"Unsqueeze {axes}", lambda a=axes: lists(m, "Unsqueeze", x, "axes", a, 13)
    if shape[0] == 1:
        yield "Squeeze [0]", lambda: lists(m, "Squeeze", x, "axes", [0], 13)
        yield "Squeeze", lambda: m.op("Squeeze", [x])
    yield "Identity", lambda: m.op("Identity", [x])
    for starts, ends, axes in (([0], [2], [1]), ([1], [-1], [rank - 1]), ([0, 1], [3, 5], [rank - 2, rank - 1]), ([-3], [100], [1])):
        def make(starts=starts, ends=ends, axes=axes):
            if m.opset >= 10:
                return m.op("Slice", [x] + [m.constant(v, np.int64) for v in (starts, ends, axes)])
            return m.op("Slice", [x], starts=starts, ends=ends, axes=axes)
        yield f"Slice {starts} {ends} {axes}", make
    if m.opset >= 10:
        for steps in ([2], [-1]):
            ends = [100] if steps[0] > 0 else [-100]
            yield f"Slice by {steps}", lambda s=steps, e=ends: m.op(
                "Slice", [x] + [m.constant(v, np.int64) for v in ([0] if s[0] > 0 else [-1], e, [rank - 1], s)])


def resizes(m, x, other):
    n, ways = spatial(m), ["asymmetric"] + ["half_pixel", "align_corners", "pytorch_half_pixel"] * (m.opset >= 11)
    for mode in ("nearest", "linear") + ("cubic",) * (m.opset >= 11 and n == 2):
        # what shrinks by cubics behind a quantized convolution, ONNX Runtime lays out so that it refuses it itself
        for by in (2.0, 1.5) + (0.5,) * (m.opset >= 10 and mode != "cubic"):
            for way in ways:
                def make(mode=mode, by=by, way=way):
                    scales = [1.0, 1.0] + [by] * n
                    if m.opset < 9:
                        return m.op("Upsample", [x], mode=mode, scales=scales)
                    if m.opset < 11:
                        return m.op("Upsample" if m.opset == 9 else "Resize", [x, m.constant(scales)], mode=mode)
                    return m.op("Resize", [x, m.constant([]), m.constant(scales)], mode=mode, coordinate_transformation_mode=way)
                yield f"Resize {mode} {by} {way}", make
    if m.opset >= 11:
        yield "Resize cropped", lambda: m.op(
            "Resize", [x, m.constant([0.0, 0, -0.2, 0.1, 0][:2 + n] + [1.0, 1, 0.8, 1.3, 1][:2 + n]),
                       m.constant([1.0, 1.0] + [1.5] * n)],
            mode="nearest", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=0.5)


def paddings(m, x, other):
    rank, n = len(m.shape), spatial(m)
    amounts = [[0, 0] + [1] * n + [0, 0] + [2] * n, [0] * rank + [0, 0] + [1] * n, [0, 0] + [-1] * n + [0, 0] + [2] * n]
    for mode in ("constant", "reflect", "edge") + ("wrap",) * (m.opset >= 19):
        for pads in amounts:
            yield f"Pad {mode} {pads}", lambda p=pads, a=mode: lists(m, "Pad", x, "pads", p, 11, mode=a)
    for value in (0.0, -1e30, 0.75):
        def make(value=value):
            if m.opset < 11:
                return m.op("Pad", [x], pads=amounts[0], value=value)
            return m.op("Pad", [x, m.constant(amounts[0], np.int64), m.constant(value)])
        yield f"Pad with {value}", make
    for repeats in ([1, 1] + [2] * n, [1] * (rank - 1) + [3], [1] * rank):
        yield f"Tile {repeats}", lambda r=repeats: m.op("Tile", [x, m.constant(r, np.int64)])


def parts(m, x, other):
    """Split into parts of which one, or two that are put together again, are read."""
    def split(lengths, axis):
        outs = [f"s{len(m.nodes)}_{i}" for i in range(len(lengths))]
        more = [m.constant(lengths, np.int64)] if m.opset >= 13 else []
        m.nodes.append(helper.make_node("Split", [x] + more, outs, f"Split_{outs[0]}", axis=axis,
                                        **({} if more else dict(split=lengths))))
        return outs
    for lengths, axis in (([2, 2], 1), ([1, 3], 1), ([m.shape[-1] - 1, 1], len(m.shape) - 1), ([4], 1)):
        for i in range(len(lengths)):
            yield f"Split {lengths} {axis} [{i}]", lambda k=lengths, a=axis, i=i: split(k, a)[i]
    yield "Split and Concat", lambda: m.op("Concat", split([1, 3], 1)[::-1], axis=1)
    if spatial(m) == 2:
        yield "DepthToSpace", lambda: m.op("DepthToSpace", [x], blocksize=2)
        if m.opset >= 11:
            yield "DepthToSpace CRD", lambda: m.op("DepthToSpace", [x], blocksize=2, mode="CRD")
        yield "SpaceToDepth", lambda: m.op("SpaceToDepth", [m.op("DepthToSpace", [x], blocksize=2)], blocksize=2)


def products(m, x, other):
    rows, k = m.shape
    for tb in (None, 0, 1):
        for bias in ([], [k], [1], [1, k]) + (([rows, k], None) if m.opset >= 11 else ()):
            def make(tb=tb, bias=bias):
                w = m.normal(5, k) if tb else m.normal(k, 5)
                shape = None if bias is None else [5 if d == k else d for d in bias]
                return m.op("Gemm", [x, w] + ([m.normal(*shape)] if shape is not None else []),
                            **({} if tb is None else dict(transB=tb)))
            yield f"Gemm transB {tb} bias {bias}", make
    for a in (dict(alpha=0.5), dict(beta=2.0), dict(transA=1)):
        def make(a=a):
            w = m.normal(rows if a.get("transA") else k, 5)
            return m.op("Gemm", [x, w, m.normal(5)], **a)
        yield f"Gemm {a}", make
    for a in (dict(), dict(beta=0.5), dict(alpha=2.0, transA=1)):
        def make(a=a):
            if not a.get("transA"):
                return m.op("Gemm", [x, m.normal(k, k), m.op("Relu", [other])], **a)
            c = m.op("MatMul", [m.op("Transpose", [other]), m.normal(rows, 5)])
            return m.op("Gemm", [x, m.normal(rows, 5), c], **a)
        yield f"Gemm of a computed C {a}", make
    yield "MatMul", lambda: m.op("MatMul", [x, m.normal(k, 5)])
    yield "MatMul constant first", lambda: m.op("MatMul", [m.normal(3, rows), x])
    yield "MatMul of two", lambda: m.op("MatMul", [x, m.op("Transpose", [other], perm=[1, 0])])
    yield "MatMul by a stack", lambda: m.op("MatMul", [x, m.normal(3, k, 5)])
    yield "MatMul by a vector", lambda: m.op("MatMul", [x, m.normal(k)])


def transposed(m, x, other):
    """Convolutions whose weights are stored as int8."""
    n = spatial(m)
    kernel = [[256], [16, 16], [4, 4, 4]][n - 1]  # enough elements where there is one group; not in a volume
    for a in (dict(), dict(group=2), dict(group=4), dict(strides=[2] * n, pads=[1] * 2 * n)):
        for bias in (False, True):
            def make(a=a, bias=bias):
                w = m.normal(4, 4 // a.get("group", 1), *kernel)
                return m.op("ConvTranspose", [x, w] + [m.normal(4)] * bias, **a)
            yield f"ConvTranspose {a} bias {bias}", make


def recurrent(m, x, other):
    """The same of recurrent networks."""
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for direction in ("forward", "reverse", "bidirectional"):
            def make(op=op, gates=gates, direction=direction):
                d, h = 1 + (direction == "bidirectional"), {4: 64, 3: 72, 1: 200}[gates]
                steps = m.op("Transpose", [x], perm=[1, 0, 2])
                return m.op(op, [steps, m.normal(d, gates * h, m.shape[-1]), m.normal(d, gates * h, h), m.normal(d, 2 * gates * h)],
                            hidden_size=h, direction=direction)
            yield f"{op} {direction}", make


FAMILIES = {
    "pools": (pools, ("line", "image", "volume")), "convolutions": (convolutions, ("line", "image", "volume")),
    "activations": (activations, ("image", "rows", "line")), "arithmetic": (arithmetic, ("image", "rows", "volume")),
    "movement": (movement, ("image", "rows", "volume")), "products": (products, ("rows",)),
    "resizes": (resizes, ("image", "volume")),
    "paddings": (paddings, ("image", "volume")), "parts": (parts, ("image", "line")),
    "transposed": (transposed, ("line", "image", "volume")), "recurrent": (recurrent, ("line",)),
}


def build(family, kind, opset):
    make, _ = FAMILIES[family]
    m = Model(kind, opset, opset)
    behind = kind != "rows" and family in ("pools", "activations", "arithmetic", "resizes", "paddings", "transposed")
    for i in range(1 + behind):
        for name, form in list(make(m, *m.front)):
            if i and not keeps_channels(name):
                continue
            m.end(name, form(), bool(i))
    return m


def keeps_channels(name):
    """Whether the result can go into a convolution: of the same rank, with 4 channels."""
    return not name.startswith(("Concat", "Flatten"))


def cases():
    """(target, family, kind, opset): all, or in a default run one operator set of each, so that all come to their turn."""
    at = 0
    for family, (_, kinds) in FAMILIES.items():
        for kind in kinds:
            for target in TARGETS:
                if not LONG:
                    yield target, family, kind, OPSETS[(at * 5 + 3) % len(OPSETS)]
                    at += 1
                else:
                    for opset in OPSETS:
                        yield target, family, kind, opset


def differences(m, tmp, target):
    """Quantizes the model and gives a line for each form whose outputs are not ONNX Runtime's."""
    onnx.save(m.model(), tmp / "m.onnx")
    samples = m.random.normal(size=(SAMPLES, *m.shape)).astype(np.float32)
    session(tmp / "m.onnx").run(None, {"x": samples[0]})
    for folder, part in (("data", samples), ("few", samples[:TAIL])):
        (tmp / folder).mkdir()
        for i, x in enumerate(part):
            np.save(tmp / folder / f"{i:02d}.npy", x)
    r = run_command("quantize", "-q", tmp / "m.onnx", "--data", tmp / "data", "--target", target, "-o", tmp / "q.onnx")
    assert r.rc == 0, r.stderr
    session(tmp / "q.onnx")
    s = session(tmp / "q.onnx", target)
    r = run_command("run", tmp / "q.onnx", "--data", tmp / "few", "-o", tmp / "out")
    assert r.rc == 0, r.stderr
    wrong = []
    want = [s.run(None, {"x": x}) for x in samples[:TAIL]]
    for k, form in enumerate(m.forms):
        got = [np.load(f) for f in sorted((tmp / "out" / f"output_{k}").iterdir())]
        a, b = np.stack([w[k] for w in want]), np.stack(got)
        off = np.abs(a - b) > 1e-4 * np.abs(a).max() + 1e-6
        few = FEW.get(form.split()[0], 0)
        if off.mean() > few:
            wrong.append(f"{form}: {off.sum()} of {off.size} differ, by up to {np.abs(a - b).max():g} of {np.abs(a).max():g}")
    return wrong


@pytest.mark.parametrize("target,family,kind,opset", cases())
def test_forms(target, family, kind, opset, tmp_path):
    m = build(family, kind, opset)
    wrong = differences(m, tmp_path, target)
    assert not wrong, f"{len(wrong)} of {len(m.forms)} forms:\n" + "\n".join(wrong)


def test_there_are_enough_of_them():
    """At least 400 nodes are checked in every run."""
    assert sum(len(build(family, kind, opset).forms) for _, family, kind, opset in cases()) >= 400


# ---- faults that were mended ---------------------------------------------------------------------------------------------


def chain(*nodes, shape=(1, 4, 9, 10), opset=19, **constants):
    """A model from x to y."""
    graph = helper.make_graph(list(nodes), "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def between_products(op, opset=19, **attributes):
    """The operator between two convolutions, so that runtimes find it between DequantizeLinear and QuantizeLinear."""
    w = np.random.default_rng(2).normal(size=(2, 4, 4, 1, 1)).astype(np.float32)
    return chain(helper.make_node("Conv", ["x", "v"], ["a"]), helper.make_node(op, ["a"], ["b"], **attributes),
                 helper.make_node("Conv", ["b", "w"], ["y"]), opset=opset, v=w[0], w=w[1])


def agree(model, tmp, target, samples, few=0):
    """Quantizes for the target and asserts that ONNX Runtime's outputs are ours, but for a share of `few`; gives them, and
    the float model's."""
    onnx.save(model, tmp / "m.onnx")
    (tmp / "data").mkdir()
    for i, x in enumerate(samples):
        np.save(tmp / "data" / f"{i:02d}.npy", x)
    r = run_command("quantize", "-q", tmp / "m.onnx", "--data", tmp / "data", "--target", target, "-o", tmp / "q.onnx")
    assert r.rc == 0, r.stderr
    s, plain = session(tmp / "q.onnx", target), session(tmp / "m.onnx")
    r = run_command("run", tmp / "q.onnx", "--data", tmp / "data", "-o", tmp / "out")
    assert r.rc == 0, r.stderr
    got = np.stack([np.load(f) for f in sorted((tmp / "out").rglob("*.npy"))])
    want = np.stack([s.run(None, {"x": x})[0] for x in samples])
    assert (np.abs(got - want) > 1e-5 * np.abs(want).max()).mean() <= few
    return want, np.stack([plain.run(None, {"x": x})[0] for x in samples])


def sqnr(want, got):
    want = want.astype(np.float64)
    return 10 * np.log10(np.sum(want ** 2) / max(np.sum((want - got) ** 2), 1e-30))


def normal(*shape):
    return np.random.default_rng(4).normal(size=(SAMPLES, *shape)).astype(np.float32)


@pytest.mark.mends("numbers - ceil_mode with count_include_pad")
@pytest.mark.parametrize("target", TARGETS)
def test_padding_behind_the_padding(target, tmp_path):
    model = between_products("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
                             count_include_pad=1)
    got, want = agree(model, tmp_path, target, normal(1, 4, 9, 10))
    assert sqnr(want, got) > 25


@pytest.mark.mends("names - AveragePool with dilations")
@pytest.mark.parametrize("dilations", [[1, 1], [2, 2]])
@pytest.mark.parametrize("target", TARGETS)
def test_dilations_load(target, dilations, tmp_path):
    model = between_products("AveragePool", kernel_shape=[2, 2], dilations=dilations)
    got, want = agree(model, tmp_path, target, normal(1, 4, 9, 10))
    assert sqnr(want, got) > 25


def tied(dtype, target="", **attributes):
    """A pool between equal scales, where every second mean of four is a tie; an odd zero point rounds them otherwise. A file
    made for a target says so."""
    low = np.iinfo(dtype).min
    q = ["s", "z"]
    model = chain(helper.make_node("QuantizeLinear", ["x", *q], ["a"]), helper.make_node("DequantizeLinear", ["a", *q], ["b"]),
                  helper.make_node("AveragePool", ["b"], ["c"], **attributes), helper.make_node("QuantizeLinear", ["c", *q], ["d"]),
                  helper.make_node("DequantizeLinear", ["d", *q], ["y"]), shape=(1, 5, 12, 13), opset=13,
                  s=np.float32(0.0371), z=np.array(101 + low, dtype))
    helper.set_model_props(model, {"qonnx.target": target} if target else {})
    return model


TIED = [dict(kernel_shape=[2, 2]), dict(kernel_shape=[2, 2], strides=[2, 2]), dict(kernel_shape=[4, 1]),
        dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1]), dict(kernel_shape=[4, 4], pads=[2, 2, 2, 2], count_include_pad=1),
        dict(kernel_shape=[12, 13])]


@pytest.mark.mends("numbers - ties of AveragePool")
@pytest.mark.parametrize("dtype,target", [(np.uint8, ""), (np.int8, ""), (np.int8, "ort-arm")])
@pytest.mark.parametrize("attributes", TIED, ids=[str(a) for a in TIED])
def test_ties_are_the_runtimes(dtype, target, attributes, tmp_path, done):
    """So does compiled C, contracted and not."""
    onnx.save(tied(dtype, target, **attributes), tmp_path / "m.onnx")
    samples = np.random.default_rng(9).normal(size=(8, 1, 5, 12, 13)).astype(np.float32) * 1.5
    np.save(tmp_path / "x.npy", samples[0])
    done("run", tmp_path / "m.onnx", "--data", tmp_path / "x.npy", "-o", tmp_path / "out")
    got = np.load(tmp_path / "out" / "output_0.npy")
    np.testing.assert_array_equal(got, session(tmp_path / "m.onnx", target).run(None, {"x": samples[0]})[0])
    done("compile", tmp_path / "m.onnx", "-o", tmp_path / "c", "--prefix", "m", "--data", tmp_path / "x.npy")
    subprocess.run(["make", "-s", "-C", tmp_path / "c", "test", "CFLAGS=-O2 -ffp-contract=fast"], check=True,
                   capture_output=True)


@pytest.mark.mends("numbers - near ties of Mul")
@pytest.mark.parametrize("step", [37, 111, 1234])
def test_products_near_ties_are_the_runtimes(step, tmp_path, done):
    """All products of two bytes, with scales that make one of them, and its multiples, end beside a half."""
    a, b = np.divmod(np.arange(65536, dtype=np.float32), 256)
    s, t = np.float32(0.037), np.float32(0.051)
    u = np.float32(float(s) * float(t) * step / 0.5)
    nodes = []
    for x, q, k in (("x", "s", "z"), ("o", "t", "z")):
        nodes += [helper.make_node("QuantizeLinear", [x, q, k], [x + "q"]),
                  helper.make_node("DequantizeLinear", [x + "q", q, k], [x + "d"])]
    nodes += [helper.make_node("Mul", ["xd", "od"], ["m"]), helper.make_node("QuantizeLinear", ["m", "u", "k"], ["mq"]),
              helper.make_node("DequantizeLinear", ["mq", "u", "k"], ["y"])]
    onnx.save(chain(*nodes, shape=(1, 65536), opset=13, s=s, t=t, u=u, z=np.uint8(101), k=np.uint8(93),
                    o=((b - 101) * t).reshape(1, -1).astype(np.float32)), tmp_path / "m.onnx")
    x = ((a - 101) * s).reshape(1, -1).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done("run", tmp_path / "m.onnx", "--data", tmp_path / "x.npy", "-o", tmp_path / "out")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "output_0.npy"),
                                  session(tmp_path / "m.onnx").run(None, {"x": x})[0])


@pytest.mark.mends("numbers - Softmax of many classes")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("behind", [False, True], ids=["to the output", "to a product"])
def test_softmax_of_many_classes(behind, target, tmp_path):
    """1,000 classes that are about as likely: none reaches 1/256."""
    random = np.random.default_rng(5)
    nodes = [helper.make_node("MatMul", ["x", "v"], ["a"]), helper.make_node("Softmax", ["a"], ["b" if behind else "y"])]
    if behind:
        nodes.append(helper.make_node("MatMul", ["b", "w"], ["y"]))
    model = chain(*nodes, shape=(2, 16), opset=13, v=random.normal(size=(16, 1000)).astype(np.float32) / 8,
                  **({"w": random.normal(size=(1000, 5)).astype(np.float32)} if behind else {}))
    # a float Softmax rounds as the machine's exponential does, and what quantizes it hands that on now and then
    got, want = agree(model, tmp_path, target, normal(2, 16), few=0.02 * behind)
    assert sqnr(want, got) > (15 if behind else 25), sqnr(want, got)


def test_softmax_of_few_classes_is_an_integer(tmp_path):
    model = between_products("Softmax", axis=1)
    agree(model, tmp_path, "ort-x86", normal(1, 4, 9, 10), few=0.002)
    found = onnx.load(tmp_path / "q.onnx").graph
    scale = {n.output[0]: n.input[1] for n in found.node if n.op_type == "QuantizeLinear"}
    assert "b_QuantizeLinear_Output" in scale and not any(n.op_type == "Concat" for n in found.node)
    assert next(numpy_helper.to_array(t) for t in found.initializer if t.name == "b_scale") == np.float32(1 / 256)
