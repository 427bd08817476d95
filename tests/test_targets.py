"""Target profiles: what stands where in a file for TensorRT or OpenVINO. OpenVINO runs its files, and must run all
that is heavy in integers.

Needs onnx, onnxruntime and numpy; one test needs openvino.
"""
import functools

import numpy as np
import pytest

from test_placement import IMAGE, Net, Result, normal

pytestmark = pytest.mark.usefixtures("qonnx")


def residual():
    """Two blocks: the second one's shortcut has a convolution, which stands behind the longer way in the file."""
    net = Net(IMAGE)
    a = net.op("Relu", [net.conv("x", 8, 8, "c1")], "r1")
    b = net.op("Relu", [net.op("Add", [net.conv(a, 8, 8, "c2"), a], "sum1")], "r2")
    deep = net.conv(net.op("Relu", [net.conv(b, 8, 8, "c3")], "r3"), 8, 8, "c4")
    c = net.op("Relu", [net.op("Add", [net.conv(b, 8, 8, "short", kernel=1), deep], "sum2")], "r4")
    flat = net.op("Flatten", [net.op("GlobalAveragePool", [c], "gap")], "flat")
    net.op("Gemm", [flat, net.weight("fc_w", 5, 8), net.weight("fc_b", 5)], "y", transB=1)
    return net.model("y")


def concat():
    net = Net(IMAGE)
    a, b = (net.op("Relu", [net.conv("x", 8, 8, f"c{i}")], f"r{i}") for i in (1, 2))
    pooled = net.op("MaxPool", [b], "mp", kernel_shape=[3, 3], pads=[1] * 4)
    net.conv(net.op("Concat", [a, pooled], "cat", axis=1), 16, 4, "y")
    return net.model("y")


def depthwise():
    net = Net(IMAGE)
    ends = [net.constant("zero", 0), net.constant("six", 6)]
    a = net.op("Clip", [net.conv("x", 8, 16, "c1", kernel=1)] + ends, "k1")
    b = net.op("Clip", [net.conv(a, 16, 16, "dw", group=16)] + ends, "k2")
    s = net.op("Add", [net.conv(b, 16, 8, "c2", kernel=1), "x"], "s")
    net.conv(net.op("AveragePool", [s], "ap", kernel_shape=[2, 2], strides=[2, 2]), 8, 4, "y")
    return net.model("y")


def attention():
    net = Net((1, 10, 16))
    q, k, v = (net.op("MatMul", ["x", net.weight(f"w{i}", 16, 16)], i) for i in "qkv")
    scores = net.op("MatMul", [q, net.op("Transpose", [k], "kt", perm=[0, 2, 1])], "s")
    net.op("MatMul", [net.op("Softmax", [scores], "p", axis=-1), v], "y")
    return net.model("y")


def transposed():
    net = Net(IMAGE)
    a = net.op("Relu", [net.conv("x", 8, 8, "c1")], "r1")
    t = net.op("ConvTranspose", [a, net.weight("t_w", 8, 4, 2, 2), net.weight("t_b", 4)], "t", strides=[2, 2])
    net.conv(net.op("LeakyRelu", [t], "l"), 4, 4, "y")
    return net.model("y")


MODELS = [residual, concat, depthwise, attention, transposed]


class Quantized(Result):
    """One for a target, with what reads the values of its graph."""

    def __init__(self, tmp, model, target, *options):
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        super().__init__(tmp, model, normal(*shape), "--target", target, *options)
        self.makers = {o: n for n in self.model.graph.node for o in n.output}
        self.file = tmp / "q.onnx"

    def readers(self, value):
        return [n for n in self.model.graph.node if value in n.input]

    def pairs(self):
        """Of each value that is quantized, the nodes that read it behind Q and DQ."""
        return {q.input[0]: [n for d in self.readers(q.output[0]) for n in self.readers(d.output[0])]
                for q in self.node("QuantizeLinear")}

    def quantized(self, node, i):
        """Whether input i of a node comes out of a DequantizeLinear."""
        n = next(n for n in self.model.graph.node if n.name == node)
        return n.input[i] in self.makers and self.makers[n.input[i]].op_type == "DequantizeLinear"


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """MAKE, TARGET to the quantized model, made once."""
    return functools.cache(lambda make, target: Quantized(tmp_path_factory.mktemp(target), make(), target))


def grids_are_symmetric(r, unsigned):
    """All zero points are 0, and the types those that are allowed: uint8 for what is never negative."""
    for q in r.node("QuantizeLinear"):
        zero = r.constant(q.input[2])
        assert zero == 0 and zero.dtype in ((np.int8, np.uint8) if unsigned else (np.int8,)), q.name
    for d in r.node("DequantizeLinear"):
        if d.input[0] in r.names():
            weight = r.constant(d.input[0])
            assert weight.dtype == np.int8 and weight.min() >= -127, d.name  # so no bias is quantized
            assert not r.constant(d.input[2]).any()


@pytest.mark.parametrize("make", MODELS)
def test_tensorrt(make, quantized):
    r = quantized(make, "tensorrt")
    grids_are_symmetric(r, unsigned=False)
    for value, readers in r.pairs().items():
        kinds = {n.op_type for n in readers}
        assert kinds <= {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool"}, value
    for n in r.model.graph.node:
        if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            assert r.quantized(n.name, 0) and r.quantized(n.name, 1), n.name
    assert r.makers["y"].op_type in ("Conv", "Gemm", "MatMul") and r.sqnr() > 20


def test_tensorrt_quantizes_one_branch_of_a_residual_add(quantized):
    r = quantized(residual, "tensorrt")
    assert [r.quantized("n_sum1", i) for i in (0, 1)] == [False, True]
    assert [r.quantized("n_sum2", i) for i in (0, 1)] == [True, False]  # the shortcut, not the longer way
    pairs = r.pairs()
    assert {n.name for n in pairs["r1"]} == {"n_c2", "n_sum1"}  # one pair for both
    assert {n.name for n in pairs["r2"]} == {"n_c3", "n_short"}
    assert len(r.node("Relu")) == 4 and "flat" in pairs and "gap" not in pairs


def test_tensorrt_per_channel_axes(quantized):
    r = quantized(transposed, "tensorrt")
    axes = {d.input[0]: (d.attribute[0].i, r.constant(d.input[1]).shape) for d in r.node("DequantizeLinear") if d.attribute}
    assert axes == {"c1_w_quantized": (0, (8,)), "t_w_quantized": (1, (4,)), "y_w_quantized": (0, (4,))}
    assert "t" not in r.pairs() and {n.name for n in r.pairs()["l"]} == {"n_y"}  # LeakyRelu goes with what is in front


def test_concat_for_one_scale(quantized):
    r = quantized(concat, "tensorrt")
    assert set(r.pairs()) == {"x", "cat"}  # moved in front of Concat and MaxPool by TensorRT
    r = quantized(concat, "openvino")
    assert set(r.pairs()) == {"x", "r1", "r2", "mp", "cat"}
    assert len({float(r.constant(f"{n}_scale")) for n in ("r1", "r2", "mp", "cat")}) == 1


def test_transposed_convolution_in_groups_has_one_scale(tmp_path):
    net = Net(IMAGE)
    net.op("ConvTranspose", ["x", net.weight("w", 8, 2, 2, 2), net.weight("b", 4)], "t", strides=[2, 2], group=2)
    net.conv("t", 4, 4, "y")
    r = Quantized(tmp_path, net.model("y"), "tensorrt")
    assert r.quantized("n_t", 0) and r.constant("w_scale").shape == () and r.sqnr() > 25


@pytest.mark.parametrize("target", ["ort-x86", "ort-arm", "c"])
def test_transposed_convolution_stays_float_elsewhere(target, tmp_path):
    r = Quantized(tmp_path, transposed(), target)
    assert not r.quantized("n_t", 1) and r.quantized("n_y", 0)


@pytest.mark.parametrize("make", MODELS)
def test_tflite(make, quantized):
    """int8 with pairs on all sides, biases as int32; what moves, pools or joins has one scale."""
    r = quantized(make, "tflite")
    for n in r.node("QuantizeLinear"):
        assert r.constant(n.input[2]).dtype == np.int8
    for n in r.model.graph.node:
        if n.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        assert all(r.makers[i].op_type == "DequantizeLinear" for i in n.input), n.name
        assert all(q.op_type == "QuantizeLinear" for o in n.output for q in r.readers(o)), n.name
        if n.op_type in ("AveragePool", "MaxPool", "Concat", "Transpose", "Flatten"):
            scales = {float(r.constant(r.makers[i].input[1])) for i in n.input}
            assert scales == {float(r.constant(q.input[1])) for q in r.readers(n.output[0])}, n.name
        if n.op_type in ("Gemm", "MatMul"):
            assert r.constant(r.makers[n.input[1]].input[1]).shape == ()
        if n.op_type in ("Conv", "ConvTranspose"):
            weight, bias = (r.makers[n.input[i]] for i in (1, 2))
            assert r.constant(bias.input[0]).dtype == np.int32
            np.testing.assert_array_equal(r.constant(bias.input[1]),
                                          r.constant(r.makers[n.input[0]].input[1]) * r.constant(weight.input[1]))
    assert r.sqnr() > 20


@pytest.mark.parametrize("make", [residual, attention, transposed])
def test_qnn(make, quantized):
    r = quantized(make, "qnn")
    assert all(r.constant(n.input[2]).dtype == np.uint8 for n in r.node("QuantizeLinear"))
    for n in r.model.graph.node:
        if n.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            assert all(r.makers[i].op_type == "DequantizeLinear" for i in n.input), n.name
            assert all(q.op_type == "QuantizeLinear" for o in n.output for q in r.readers(o)), n.name
        if n.op_type in ("Gemm", "MatMul"):
            assert r.constant(r.makers[n.input[1]].input[1]).shape == ()
        if n.op_type in ("Conv", "ConvTranspose"):
            assert r.constant(r.makers[n.input[1]].input[1]).shape == (r.constant(r.makers[n.input[2]].input[0]).size,)
    assert r.sqnr() > 20


def test_qnn_ranges_are_not_narrower_than_1e_4(tmp_path):
    net = Net(IMAGE)
    net.conv(net.op("Mul", ["x", net.constant("tiny", 1e-7)], "m"), 8, 8, "y")
    r = Quantized(tmp_path, net.model("y"), "qnn")
    assert r.constant("m_scale") >= np.float32(1e-4 / 255)


# ---- OpenVINO -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MODELS)
def test_openvino(make, quantized):
    r = quantized(make, "openvino")
    grids_are_symmetric(r, unsigned=True)
    zeros = {q.input[0]: r.constant(q.input[2]).dtype for q in r.node("QuantizeLinear")}
    assert zeros["x"] == np.int8 and all(zeros[v] == np.uint8 for v in zeros if v in ("r1", "r2", "k1", "p")), zeros
    assert not [n for n in r.node("Relu") + r.node("Clip") + r.node("Softmax") if r.quantized(n.name, 0)]
    assert r.makers["y"].op_type in ("Conv", "Gemm", "MatMul") and r.sqnr() > 20


def runtime(path):
    """What OpenVINO made of the file: of each of its layers the type, the precision and the names of the nodes in it."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    layers = []
    for op in openvino.Core().compile_model(path, "CPU").get_runtime_model().get_ordered_ops():
        info = {k: getattr(v, "value", v) for k, v in dict(op.get_rt_info()).items()}
        names = [n.split("/")[0] for n in info["originalLayersNames"].split(",")]
        layers.append((info["layerType"], info["runtimePrecision"], names))
    return layers


@pytest.mark.parametrize("make", MODELS)
def test_openvino_runs_all_that_is_heavy_in_integers(make, quantized):
    r = quantized(make, "openvino")
    layers = runtime(r.file)
    assert "FakeQuantize" not in {kind for kind, _, _ in layers}  # what it could not fuse
    kinds = {"Conv": "Convolution", "Gemm": "FullyConnected", "MatMul": "FullyConnected MatMul Subgraph",
             "ConvTranspose": "Deconvolution", "Add": "Eltwise Convolution", "MaxPool": "Pooling",
             "AveragePool": "Pooling", "Concat": "Concatenation", "GlobalAveragePool": "Reduce"}
    heavy = [(kind, precision) for kind, precision, _ in layers
             if kind in ("Convolution", "FullyConnected", "MatMul", "Deconvolution", "Pooling", "Concatenation", "Eltwise",
                         "Reduce")]
    assert heavy and {precision for _, precision in heavy} <= {"u8", "i8"}, heavy
    for n in r.model.graph.node:
        if n.op_type in kinds:
            found = [p for kind, p, names in layers if {n.name, *n.output} & set(names) and kind in kinds[n.op_type].split()]
            assert found and set(found) <= {"u8", "i8"}, (n.name, found)
