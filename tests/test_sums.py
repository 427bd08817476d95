"""Long sums: errors against float64 are at most those of ONNX Runtime, and compiled C gives the bytes of `qonnx run`."""
import compiled
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

ROUNDING = 2.0 ** -23  # of a float, relative: what may always be missed
SEED = 5


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


# operator: (its attributes, the same in float64) over the last axis of [1, 1, n]
OVER_ONE_AXIS = {
    "ReduceSum": ({}, lambda x: x.sum(keepdims=True)),
    "ReduceMean": ({"axes": [2]}, lambda x: x.mean(keepdims=True)),
    "ReduceSumSquare": ({"axes": [2]}, lambda x: (x * x).sum(keepdims=True)),
    "ReduceL2": ({"axes": [2]}, lambda x: np.sqrt((x * x).sum(keepdims=True))),
    "GlobalAveragePool": ({}, lambda x: x.mean(keepdims=True)),
    "Softmax": ({"axis": 2}, softmax),
    "LogSoftmax": ({"axis": 2}, log_softmax),
}


def random(*shape):
    return np.random.default_rng(SEED).random(shape, dtype=np.float32)


def save(path, nodes, shape, constants=None):
    """A model of these nodes (operator, further inputs, attributes), each of which reads x and gives an output."""
    made = [helper.make_node(op, ["x", *more], [f"y{i}"], **attributes)
            for i, (op, more, attributes) in enumerate(nodes)]
    graph = helper.make_graph(
        made, "sums", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(len(made))],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def errors(got, want):
    """The greatest error of each output, relative to the greatest value that it should have."""
    return [float(np.max(np.abs(g.ravel() - w.ravel())) / np.max(np.abs(w))) for g, w in zip(got, want, strict=True)]


def check(done, tmp_path, model, x, want, names, engines=("portable", "onednn"), always=ROUNDING):
    """The outputs of `qonnx run`, by both engines, are as near to `want` as ONNX Runtime's or as `always`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    theirs = errors(session.run(None, {"x": x}), want)
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "x.npy", x)
    for engine in engines:
        out = tmp_path / engine
        done("run", "-q", model, "--data", data, "--engine", engine, "-o", out)
        files = [next(p for p in (out / f"output_{i}.npy", out / f"output_{i}" / "000000.npy", out) if p.is_file())
                 for i in range(len(want))]
        for name, our, their in zip(names, errors([np.load(f) for f in files], want), theirs, strict=True):
            most = max(min(their, 2e-6), always)  # ONNX Runtime has one accumulator here and there, too
            assert our <= most, f"{name}, {engine}: error {our:.2e}, ONNX Runtime's is {their:.2e}"


@pytest.mark.mends("sums - one float accumulator")
@pytest.mark.parametrize("op", OVER_ONE_AXIS)
@pytest.mark.parametrize("n", [1000, 1000000])
def test_one_axis(done, tmp_path, op, n):
    attributes, exact = OVER_ONE_AXIS[op]
    x = random(1, 1, n)
    axes = {"axes": np.array([2])} if op == "ReduceSum" else {}
    save(tmp_path / "m.onnx", [(op, list(axes), attributes)], x.shape, axes)
    check(done, tmp_path, tmp_path / "m.onnx", x, [exact(x.astype(np.float64))], [op])


@pytest.mark.mends("sums - saturated at 2^24")
@pytest.mark.parametrize("op", ["ReduceSum", "GlobalAveragePool", "Softmax"])
def test_more_than_a_float_counts(done, tmp_path, op):
    """Ones, more of them than one float can count."""
    n = 2 ** 24 + 2 ** 20
    attributes, exact = OVER_ONE_AXIS[op]
    x = np.ones((1, 1, n), np.float32)
    axes = {"axes": np.array([2])} if op == "ReduceSum" else {}
    save(tmp_path / "m.onnx", [(op, list(axes), attributes)], x.shape, axes)
    check(done, tmp_path, tmp_path / "m.onnx", x, [exact(x.astype(np.float64))], [op], ["onednn"])


@pytest.mark.mends("sums - over several axes")
def test_several_axes(done, tmp_path):
    x = random(1, 3, 1000, 1000)
    exact = x.astype(np.float64)
    nodes = [("ReduceMean", [], {"axes": [2, 3]}), ("ReduceL2", [], {"axes": [0, 2]}),
             ("GlobalAveragePool", [], {}),
             ("AveragePool", [], {"kernel_shape": [500, 400], "strides": [500, 200]})]
    windows = np.stack([exact[:, :, h:h + 500, w:w + 400].mean((2, 3)) for h in (0, 500) for w in (0, 200, 400, 600)], -1)
    want = [exact.mean((2, 3)), np.sqrt((exact * exact).sum((0, 2))), exact.mean((2, 3)), windows]
    save(tmp_path / "m.onnx", nodes, x.shape)
    check(done, tmp_path, tmp_path / "m.onnx", x, want, [n[0] for n in nodes])


@pytest.mark.parametrize("channels", [8, 64])
def test_small_windows(done, tmp_path, channels):
    """Few enough elements for one float, which has an error of up to three roundings."""
    x = random(1, channels, 14, 16)
    sizes = [(3, 3), (4, 8), (7, 7), (14, 16)]
    nodes = [("AveragePool", [], {"kernel_shape": size}) for size in sizes[:-1]] + [("GlobalAveragePool", [], {})]
    view = np.lib.stride_tricks.sliding_window_view
    want = [view(x.astype(np.float64), size, (2, 3)).mean((4, 5)) for size in sizes]
    save(tmp_path / "m.onnx", nodes, x.shape)
    check(done, tmp_path, tmp_path / "m.onnx", x, want, [f"{a} x {b}" for a, b in sizes], always=3 * ROUNDING)


@pytest.mark.mends("sums - over the first axes")
def test_first_axes(done, tmp_path):
    """Sums whose elements are not side by side."""
    x = random(1000, 1000, 3)
    save(tmp_path / "m.onnx", [("ReduceMean", [], {"axes": [0, 1]})], x.shape)
    check(done, tmp_path, tmp_path / "m.onnx", x, [x.astype(np.float64).mean((0, 1))], ["ReduceMean"])


@pytest.mark.mends("sums - of products")
@pytest.mark.parametrize("form", ["Gemm", "MatMul", "Conv", "depthwise"])
def test_products(done, tmp_path, form):
    n = 300000
    if form == "Conv":
        x, w = random(1, 1, n), random(3, 1, n)
        nodes, want = [("Conv", ["w"], {})], x[0].astype(np.float64) @ w[:, 0].T.astype(np.float64)
    elif form == "depthwise":
        x, w = random(1, 8, n), random(8, 1, n)
        nodes, want = [("Conv", ["w"], {"group": 8})], (x[0].astype(np.float64) * w[:, 0]).sum(-1)
    elif form == "Gemm":
        x, w = random(2, n), random(n, 4)
        nodes, want = [("MatMul", ["w"], {})], x.astype(np.float64) @ w.astype(np.float64)
    else:  # both operands are activations
        x, w = random(1, 2, n), random(1, n, 4)
        nodes, want = [("MatMul", ["t"], {})], x.astype(np.float64) @ x.astype(np.float64).transpose(0, 2, 1)
    if form == "MatMul":
        graph = helper.make_graph(
            [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["x", "t"], ["y"])],
            "product", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
                  tmp_path / "m.onnx")
    else:
        save(tmp_path / "m.onnx", nodes, x.shape, {"w": w})
    check(done, tmp_path, tmp_path / "m.onnx", x, [want], [form])


FORMS = [
    ("ReduceSum", ["axes"], {}),
    ("ReduceL2", [], {"axes": [1]}),
    ("ReduceMean", [], {"axes": [0, 2]}),
    ("Softmax", [], {"axis": 2}),
    ("LogSoftmax", [], {"axis": 1}),
    ("GlobalAveragePool", [], {}),
    ("AveragePool", [], {"kernel_shape": [45], "strides": [3]}),
    ("Conv", ["w"], {}),
]


@pytest.mark.parametrize("flags", [["gcc", "-O0"], ["clang-19", "-O2", "-march=native"]])
@pytest.mark.parametrize("shape", [(1, 70, 900), (1, 3, 5000)])
def test_compiled(qonnx, tmp_path, flags, shape):
    """Short and long sums, in all orders of the axes."""
    cc = compiled.tool(flags[0])
    if not cc:
        pytest.skip(f"{flags[0]} is not installed")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "x.npy", random(*shape))
    save(tmp_path / "m.onnx", FORMS, shape, {"axes": np.array([2]), "w": random(2, shape[1], 450)})
    model = compiled.compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "c")
    samples, want = compiled.expected(qonnx, tmp_path / "m.onnx", tmp_path / "data", 1, tmp_path / "run")
    model.build([cc], [*flags[1:], *compiled.WARNINGS])
    assert compiled.same_bytes(model.run(samples), want)
