"""Pools that are seldom asked for, against ONNX Runtime: MaxPool with Indices and of other types, LpPool,
MaxUnpool; generated C has the bytes of `qonnx run`."""
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SHAPES = {1: (2, 3, 11), 2: (2, 3, 9, 8), 3: (1, 2, 5, 6, 7)}


def data(dtype, shape):
    rng = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)


def model(x, nodes, outputs, constants=(), opset=22):
    info, kind = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype(x.dtype)
    types = [7 if o.startswith("i") else kind for o in outputs]
    graph = helper.make_graph(nodes, "g", [info("x", kind, x.shape)], [info(o, t, None) for o, t in zip(outputs, types)],
                              [numpy_helper.from_array(v, k) for k, v in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def runtime(m, x):
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


def command(done, folder, m, x, engine="portable"):
    onnx.save(m, folder / "m.onnx")
    np.save(folder / "x.npy", x)
    done("run", "-q", folder / "m.onnx", "--data", folder / "x.npy", "-o", folder / "out", "--engine", engine)
    outputs = sorted((folder / "out").glob("output_*"), key=lambda p: int(p.stem.split("_")[1]))
    return [np.load(o) for o in outputs]


def windows(n):
    yield from [dict(kernel_shape=[2] * n), dict(kernel_shape=[3, 2, 3][:n], strides=[2, 1, 2][:n]),
                dict(kernel_shape=[3] * n, pads=[1] * 2 * n), dict(kernel_shape=[3] * n, pads=[2] * n + [0] * n, strides=[2] * n),
                dict(kernel_shape=[2] * n, dilations=[2] * n), dict(kernel_shape=[3] * n, dilations=[2, 1, 2][:n], pads=[1] * 2 * n),
                dict(kernel_shape=[3] * n, strides=[2] * n, ceil_mode=1), dict(kernel_shape=[2] * n, strides=[3] * n, ceil_mode=1),
                dict(kernel_shape=[3] * n, strides=[2] * n, pads=[1] * 2 * n, ceil_mode=1)]
    yield from [dict(kernel_shape=[3] * n, strides=[2] * n, auto_pad=p) for p in ("SAME_UPPER", "SAME_LOWER", "VALID")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int8], ids=lambda t: t.__name__)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_indices(done, tmp_path, axes, dtype):
    x, nodes, outputs = data(dtype, SHAPES[axes]), [], []
    for i, (a, order, both) in enumerate(itertools.product(windows(axes), (0, 1), (True, False))):
        names = [f"y{i}"] + [f"i{i}"] * both
        nodes.append(helper.make_node("MaxPool", ["x"], names, storage_order=order, **a))
        outputs += names
    m = model(x, nodes, outputs)
    for name, got, want in zip(outputs, command(done, tmp_path, m, x), runtime(m, x), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape and (got == want).all(), (name, nodes[int(name[1:])])


def test_indices_of_nothing(done, tmp_path):
    """The first of equals; of infinities, too."""
    x = np.full((1, 70, 4, 4), -np.inf, np.float32)
    m = model(x, [helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], pads=[1, 1, 1, 1])], ["y", "i"])
    for got, want in zip(command(done, tmp_path, m, x), runtime(m, x), strict=True):
        assert (got == want).all()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_norms(done, tmp_path, axes):
    x = data(np.float32, SHAPES[axes])
    forms = [dict(a, p=p) for a in windows(axes) for p in (1, 2, 3)]
    nodes = [helper.make_node("LpPool", ["x"], [f"y{i}"], **a) for i, a in enumerate(forms)]
    nodes += [helper.make_node("GlobalLpPool", ["x"], [f"y{len(forms) + p}"], p=p) for p in (1, 2, 3)]
    m = model(x, nodes, [n.output[0] for n in nodes], opset=20)
    for node, got, want in zip(nodes, command(done, tmp_path, m, x), runtime(m, x), strict=True):
        assert got.shape == want.shape and np.abs(got - want).max() <= 2e-6 * np.abs(want).max(), node


def test_doubles(done, tmp_path):
    """Means and maxima of double, which ONNX Runtime has not all of: the reference's."""
    x = data(np.float64, SHAPES[2])
    forms = [dict(kernel_shape=[3, 2]), dict(kernel_shape=[3, 3], pads=[1] * 4), dict(kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
             dict(kernel_shape=[2, 2], dilations=[2, 1])]
    nodes = [helper.make_node("AveragePool", ["x"], [f"y{i}"], **a) for i, a in enumerate(forms)]
    nodes += [helper.make_node("GlobalAveragePool", ["x"], ["ya"]), helper.make_node("GlobalMaxPool", ["x"], ["ym"])]
    m = model(x, nodes, [n.output[0] for n in nodes], opset=20)
    for got, want in zip(command(done, tmp_path, m, x), ReferenceEvaluator(m).run(None, {"x": x}), strict=True):
        assert got.dtype == np.float64 and got.shape == want.shape and np.abs(got - want).max() <= 1e-14


def unpool(x, **attributes):
    """A pool and what takes it back, at its own size and at the input's."""
    size = ("size", np.array(x.shape, np.int64))
    nodes = [helper.make_node("MaxPool", ["x"], ["p", "ip"], **attributes),
             helper.make_node("MaxUnpool", ["p", "ip", "size"], ["y"], **attributes), helper.make_node("Relu", ["y"], ["z"])]
    return model(x, nodes, ["z", "ip"], [size])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpool(done, tmp_path, axes):
    x = data(np.float32, SHAPES[axes])
    for attributes in (dict(kernel_shape=[2] * axes, strides=[2] * axes), dict(kernel_shape=[3] * axes, strides=[2] * axes, pads=[1] * 2 * axes)):
        m = unpool(x, **attributes)
        for got, want in zip(command(done, tmp_path, m, x), runtime(m, x), strict=True):
            assert got.shape == want.shape and (got == want).all()


def test_compiled(qonnx, done, tmp_path):
    x = data(np.float32, SHAPES[2])
    m = unpool(x, kernel_shape=[2, 2], strides=[2, 2])
    m.graph.node.append(helper.make_node("LpPool", ["x"], ["yn"], kernel_shape=[3, 3], p=3))
    m.graph.output.append(helper.make_tensor_value_info("yn", 1, None))
    want = command(done, tmp_path, m, x)
    compiled = compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "c")
    compiled.build(["cc"], ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow"])
    assert same_bytes(compiled.run([[x]]), [want])


@pytest.mark.usefixtures("vnni")
def test_quantized(done, tmp_path):
    """With Indices it stays in float between quantized operators, and stays apart."""
    rng, info, node = np.random.default_rng(1), helper.make_tensor_value_info, helper.make_node
    constants = [numpy_helper.from_array(rng.normal(size=(4, 4, 1, 1)).astype(np.float32), n) for n in "wv"]
    nodes = [node("Conv", ["x", "w"], ["a"]), node("MaxPool", ["a"], ["b", "i"], kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", ["b", "v"], ["c"]), node("MaxUnpool", ["c", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    graph = helper.make_graph(nodes, "g", [info("x", 1, [1, 4, 8, 8])], [info("y", 1, None)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    samples = rng.normal(size=(12, 1, 4, 8, 8)).astype(np.float32)
    (tmp_path / "data").mkdir()
    for i, x in enumerate(samples):
        np.save(tmp_path / "data" / f"{i:02}.npy", x)
    done("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx")
    m = onnx.load(tmp_path / "q.onnx")
    for x in samples[:3]:
        (got,), (want,) = command(done, tmp_path, m, x), runtime(m, x)
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
