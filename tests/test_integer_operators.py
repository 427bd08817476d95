"""Every operator that runs in integers, alone between QuantizeLinear and DequantizeLinear, of either signedness: near to
what its float form gives in ONNX Runtime, and the same bytes in compiled C, which calls no float kernel."""
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPE = [1, 4, 6, 6]
node = helper.make_node

# name: (the nodes from a (and b) to c, their constants)
FORMS = {
    "Relu": ([node("Relu", ["a"], ["c"])], {}),
    "LeakyRelu": ([node("LeakyRelu", ["a"], ["c"], alpha=0.3)], {}),
    "Sigmoid": ([node("Sigmoid", ["a"], ["c"])], {}),
    "Tanh": ([node("Tanh", ["a"], ["c"])], {}),
    "HardSigmoid": ([node("HardSigmoid", ["a"], ["c"], alpha=0.3)], {}),
    "HardSwish": ([node("HardSwish", ["a"], ["c"])], {}),
    "Elu": ([node("Elu", ["a"], ["c"])], {}),
    "Add": ([node("Add", ["a", "b"], ["c"])], {}),
    "Add Relu": ([node("Add", ["a", "b"], ["s"]), node("Relu", ["s"], ["c"])], {}),
    "Mul": ([node("Mul", ["a", "b"], ["c"])], {}),
    "AveragePool": ([node("AveragePool", ["a"], ["c"], kernel_shape=[3, 2], pads=[1, 0, 1, 0])], {}),
    "GlobalAveragePool": ([node("GlobalAveragePool", ["a"], ["c"])], {}),
    "Concat": ([node("Concat", ["a", "b", "a"], ["c"], axis=1)], {}),
    "Softmax": ([node("Softmax", ["a"], ["c"], axis=1)], {}),
    "MaxPool": ([node("MaxPool", ["a"], ["c"], kernel_shape=[2, 3], strides=[2, 1])], {}),
    "Clip": ([node("Clip", ["a", "lo", "hi"], ["c"])], {"lo": np.float32(-1), "hi": np.float32(1.5)}),
    "Transpose": ([node("Transpose", ["a"], ["c"], perm=[0, 2, 3, 1])], {}),
    "Reshape": ([node("Reshape", ["a", "s"], ["c"])], {"s": np.int64([1, -1])}),
}
MOVEMENT = ("MaxPool", "Clip", "Transpose", "Reshape")  # between equal parameters only


def make(form, signed):
    """The model: x, z -> Q -> DQ -> the form -> Q -> DQ -> y; the step of y."""
    nodes, constants = FORMS[form]
    dtype, low = (np.int8, -128) if signed else (np.uint8, 0)
    steps = {"a": (0.031, 117), "b": (0.017, 130), "c": (0.026, 101)}
    if form in MOVEMENT:
        steps["c"] = steps["a"]
    if form == "Softmax":
        steps["c"] = (1 / 256, 0)
    constants, before, after = dict(constants), [], []
    for name, (scale, zero) in steps.items():
        constants[name + "_s"], constants[name + "_z"] = np.float32(scale), np.array(zero + low, dtype)
    used = [n for n in ("a", "b") if any(n in k.input for k in nodes)]
    for n in used:
        before += [node("QuantizeLinear", [n + "_in", n + "_s", n + "_z"], [n + "_q"]),
                   node("DequantizeLinear", [n + "_q", n + "_s", n + "_z"], [n])]
    after = [node("QuantizeLinear", ["c", "c_s", "c_z"], ["c_q"]), node("DequantizeLinear", ["c_q", "c_s", "c_z"], ["y"])]
    graph = helper.make_graph(before + nodes + after, "g",
                              [helper.make_tensor_value_info(n + "_in", TensorProto.FLOAT, SHAPE) for n in used],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), used, steps["c"][0]


def near(path, inputs, step, done, tmp_path):
    """Asserts that the outputs are ONNX Runtime's, but for a step here and there. Gives the options of the data."""
    data = []
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
        data += ["--data", f"{name}={tmp_path / name}.npy"]
    done("run", path, *data, "-o", tmp_path / "out")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    want = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, inputs)[0]
    got = np.load(next((tmp_path / "out").rglob("*.npy"))).reshape(want.shape)
    off = np.abs(got - want) / step
    assert off.max() < 1.01 and (off > 0.5).mean() < 0.02, (off.max(), (off > 0.5).mean())
    return data


@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.parametrize("form", FORMS)
def test_operator(form, signed, done, tmp_path):
    model, used, step = make(form, signed)
    path, rng = tmp_path / "m.onnx", np.random.default_rng(len(form))
    onnx.save(model, path)
    inputs = {n + "_in": (rng.normal(size=SHAPE) * 2).astype(np.float32) for n in used}
    data = near(path, inputs, step, done, tmp_path)
    done("compile", path, "-o", tmp_path / "c", "--prefix", "m", "--io", "int8", *data)
    assert "computes in float" not in (tmp_path / "c" / "Makefile").read_text()
    subprocess.run(["make", "-s", "-C", tmp_path / "c", "test"], check=True, capture_output=True)


BIASES = {
    "of one element": ([500], 0.01),
    "at another scale": ([500, -700, 20, 1000, -1, 0, 77, 33], 0.004),
    "at scales of its own": ([500, -700, 20, 1000, -1, 0, 77, 33], np.linspace(0.01, 0.02, 8)),
}


@pytest.mark.parametrize("name", BIASES)
def test_bias(name, done, tmp_path):
    """A bias that is not in the accumulator's units means what the file says all the same."""
    bias, scale = BIASES[name]
    constants = {"s": np.float32(0.1), "z": np.uint8(90), "w": np.arange(-8, 8, dtype=np.int8).reshape(2, 8),
                 "b": np.int32(bias), "sb": np.float32(scale)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["a"]),
             node("DequantizeLinear", ["w", "s"], ["wf"]), node("DequantizeLinear", ["b", "sb"], ["bf"], axis=0),
             node("Gemm", ["a", "wf", "bf"], ["g"]), node("QuantizeLinear", ["g", "s", "z"], ["r"]),
             node("DequantizeLinear", ["r", "s", "z"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), path)
    near(path, {"x": np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32) * 3}, 0.1, done, tmp_path)


def test_average_behind_the_padding(done, tmp_path):
    """With ceil_mode the last window may reach behind the padding, which does not count there."""
    FORMS["ceil"] = ([node("AveragePool", ["a"], ["c"], kernel_shape=[4, 4], strides=[3, 3], pads=[1, 1, 1, 1],
                           ceil_mode=1, count_include_pad=1)], {})
    model, used, step = make("ceil", False)
    del FORMS["ceil"]
    model.opset_import[0].version = 19
    model.ir_version = 9
    onnx.save(model, tmp_path / "m.onnx")
    near(tmp_path / "m.onnx", {"a_in": np.full(SHAPE, 2.5, np.float32)}, step, done, tmp_path)
