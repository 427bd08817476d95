"""Small forms that were refused, or that generated C warned about: each against ONNX Runtime."""
import compiled
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort import session


def save(path, nodes, shape, outputs, constants):
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def theirs(path, x):
    return session(path, "ort-x86").run(None, {"x": x})


def all_same(qonnx, tmp_path, model, x, allowed):
    """ONNX Runtime's outputs are those of `qonnx run`, whose bytes compiled C gives, without a warning."""
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    np.save(data / "0.npy", x)
    made = compiled.compile_model(qonnx, model, tmp_path / "c")
    samples, want = compiled.expected(qonnx, model, data, 1, tmp_path / "run")
    for ours, their in zip(want[0], theirs(model, x), strict=True):
        assert ours.shape == their.shape
        assert ours.size == 0 or np.max(np.abs(ours - their)) <= allowed
    for cc in filter(None, (compiled.tool("gcc"), compiled.tool("clang-19"))):
        made.build([cc], ["-O1", *compiled.WARNINGS])
        assert compiled.same_bytes(made.run(samples), want)


@pytest.mark.mends("small - MatMul whose batch axes broadcast into each other")
@pytest.mark.parametrize("a, b", [((2, 1, 3, 4), (1, 5, 4, 2)), ((3, 1, 2, 3, 4), (5, 1, 4, 2)),
                                  ((2, 3, 4), (3, 2, 4, 2)), ((1, 5, 3, 4), (2, 1, 4, 1))])
@pytest.mark.parametrize("quantized", [False, True])
def test_batches_that_broadcast(qonnx, done, tmp_path, a, b, quantized):
    rng = np.random.default_rng(1)
    x = rng.normal(size=a).astype(np.float32)
    save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], a, ["y"],
         {"w": rng.normal(size=b).astype(np.float32)})
    model = tmp_path / "m.onnx"
    if quantized:
        (tmp_path / "data").mkdir()
        np.save(tmp_path / "data" / "0.npy", x)
        model = tmp_path / "q.onnx"
        done("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", model)
    all_same(qonnx, tmp_path, model, x, 1e-5)


@pytest.mark.mends("small - unused output in generated C")
def test_output_without_elements(qonnx, tmp_path):
    save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("MatMul", ["x", "v"], ["z"])],
         (1, 6), ["y", "z"], {"w": np.ones((6, 4), np.float32), "v": np.ones((6, 0), np.float32)})
    all_same(qonnx, tmp_path, tmp_path / "m.onnx", np.ones((1, 6), np.float32), 1e-6)


@pytest.mark.parametrize("size, stride", [(8, 2), (8, 5), (6, 4)])
@pytest.mark.parametrize("pad", ["SAME_UPPER", "SAME_LOWER"])
def test_convolution_that_skips(qonnx, tmp_path, size, stride, pad):
    """SAME with strides that leave 1 or 2 elements over: nothing is padded."""
    x = np.random.default_rng(2).normal(size=(1, 3, size, size)).astype(np.float32)
    save(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=pad, strides=[stride, stride])],
         x.shape, ["y"], {"w": np.random.default_rng(3).normal(size=(4, 3, 1, 1)).astype(np.float32)})
    all_same(qonnx, tmp_path, tmp_path / "m.onnx", x, 1e-5)
