"""com.microsoft's operators on 8-bit integers, and those that are others in other words, against ONNX Runtime: the same
integers. What its optimizer writes of quantized models."""

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import run_command
from many_forms import agrees, build, compiles, form, run, runtime
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from ort import GREATEST, has_vnni
from test_microsoft import MICROSOFT, integers, numbers


def check(forms, x, tmp_path, qonnx, opset=18, error=0.0):
    got = agrees(m := build(forms, x, opset), tmp_path, error)
    compiles(m, tmp_path, got, qonnx)
    return got


def scale(x):
    return np.array(x, np.float32)


def bytes_of(*shape, dtype=np.uint8, seed=1, least=None, most=None):
    info = np.iinfo(dtype)
    least, most = info.min if least is None else least, info.max if most is None else most
    return np.random.default_rng(seed).integers(least, most + 1, shape, dtype)


U8, I8 = np.uint8, np.int8


def weights(*shape, seed):
    """Of int8, symmetric."""
    return bytes_of(*shape, dtype=I8, seed=seed, least=-GREATEST, most=GREATEST)


# ---- images channels-last ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [U8, I8])
def test_channels_last(tmp_path, qonnx, dtype):
    """Convolutions and pools whose images lie channels-last, and those that do not say so."""
    x = {"last": bytes_of(2, 9, 8, 6, dtype=dtype), "first": bytes_of(2, 6, 9, 8, dtype=dtype, seed=2), "row": bytes_of(2, 9, 6,
        dtype=dtype, seed=3)}
    zero, w, row = np.array(3, dtype), weights(4, 6, 3, 3, seed=4), weights(4, 6, 3, seed=5)
    scales, bias = np.linspace(0.001, 0.004, 4, dtype=np.float32), integers(4, most=999)
    conv = (scale(0.02), zero, w, scales, np.zeros(4, I8), scale(0.11), np.array(7, dtype), bias)
    forms = [form("QLinearConv", "last", *conv, channels_last=1, pads=[1, 1, 1, 1], **MICROSOFT),
             form("QLinearConv", "last", *conv, channels_last=1, strides=[2, 1], **MICROSOFT),
             form("QLinearConv", "first", *conv, channels_last=0, pads=[0, 1, 1, 0], **MICROSOFT),
             form("QLinearConv", "row", scale(0.02), zero, row, *conv[3:], channels_last=1, kernel_shape=[3], **MICROSOFT)]
    forms += [form("NhwcMaxPool", "last", kernel_shape=[3, 2], **a, **MICROSOFT) for a in ({}, {"strides": [2, 2], "pads": [1,
        0, 1, 1]}, {"ceil_mode": 1})]
    for last, name in ((1, "last"), (0, "first")):
        forms += [form("QLinearGlobalAveragePool", name, scale(0.02), zero, scale(0.011), zero, channels_last=last, **MICROSOFT)]
    forms += [form("QLinearAveragePool", "first", scale(0.02), zero, scale(0.015), zero, channels_last=0, kernel_shape=[3, 3],
                   **MICROSOFT)]
    check(forms, x, tmp_path, qonnx)


def test_average_last(tmp_path, qonnx):
    """ONNX Runtime adds floats here, and comes to the other side of a tie at times."""
    x = {"last": bytes_of(2, 9, 8, 6)}
    m = build([form("QLinearAveragePool", "last", scale(0.02), np.array(3, U8), scale(0.015), np.array(9, U8), channels_last=1,
                    kernel_shape=[3, 3], **a, **MICROSOFT) for a in ({}, {"pads": [1, 1, 1, 1]},
                                                                     {"pads": [1, 1, 1, 1], "count_include_pad": 1})], x)
    off = [np.abs(g.astype(int) - w) for g, w in zip(run(m, tmp_path), runtime(m))]
    assert max(d.max() for d in off) <= 1 and sum(d.sum() for d in off) < 3
    compiles(m, tmp_path, run(m, tmp_path, "--engine", "portable"), qonnx)


# ---- softmax -------------------------------------------------------------------------------------


def test_softmax(tmp_path, qonnx):
    """Scales that are not 1/256, zero points, axes; all axes from one on in old operator sets."""
    x = {"x": bytes_of(3, 5, 8), "i": bytes_of(3, 5, 8, dtype=I8)}
    forms = [form("QLinearSoftmax", "x", scale(s), np.array(9, U8), scale(1 / q), np.array(z, U8), axis=axis, opset=o,
                  **MICROSOFT)
             for s in (0.03, 0.2) for q, z in ((256, 0), (255, 0), (199.3, 12), (1000, 0)) for axis, o in ((-1, 13), (1, 13),
                 (1, 12))]
    forms += [form("QLinearSoftmax", "i", scale(0.03), np.array(9, I8), scale(1 / 100), np.array(-40, I8), axis=-1, opset=13,
                   **MICROSOFT)]
    check(forms, x, tmp_path, qonnx)


# ---- products, attention, embeddings -------------------------------------------------------------


def test_quantized_attention(tmp_path, qonnx):
    """Weights of both types, scales for each column or for all, masks, a past."""
    x = {"x": bytes_of(2, 5, 12, seed=1), "ends": np.array([4, 5], np.int32), "keys": integers(2, 5, seed=4), "past": numbers(2,
        2, 4, 3, 4, seed=6),
         "longer": integers(2, 8, seed=7)}
    bias, zero = numbers(48, seed=3), np.array(121, U8)
    each = np.linspace(0.001, 0.004, 48, dtype=np.float32)

    def attention(w, scales, w_zero, mask=None, past=None, outputs=1, **attributes):
        return form("QAttention", "x", w, bias, scale(0.03), scales, mask, zero, w_zero, past, outputs=outputs, num_heads=4,
                    **MICROSOFT, **attributes)

    i8, u8 = weights(12, 48, seed=2), bytes_of(12, 48, seed=2)
    forms = [attention(i8, each, None), attention(i8, scale(0.003), np.array(2, I8)), attention(u8, scale(0.003), np.array(125,
        U8), "ends"),
             attention(u8, each, bytes_of(48, seed=5), "keys"), attention(i8, each, None, "longer", "past", 2), attention(i8,
                 each, None, None, "past", 2, unidirectional=1)]
    check(forms, x, tmp_path, qonnx, error=3e-6)


def test_quantized_embedding(tmp_path, qonnx):
    tables = [bytes_of(n, 16, seed=n) for n in (30, 9, 2)]
    factors = [bytes_of(16, seed=k) for k in (4, 5)]
    x = {"ids": integers(2, 6, most=30), "kinds": integers(2, 6), "mask": integers(2, 6, seed=3)}
    scales, zeros = [scale(0.01 * k) for k in range(1, 6)], [np.array(120 + k, U8) for k in range(5)]
    m = build([form("QEmbedLayerNormalization", "ids", "kinds", *tables, *factors, "mask", *scales, *zeros, outputs=2,
                    **MICROSOFT),
               form("QEmbedLayerNormalization", "ids", None, tables[0], tables[1], None, *factors, None, *scales[:2], None,
                    *scales[3:], *zeros[:2], None, *zeros[3:],
                    outputs=2, epsilon=0.01, **MICROSOFT)], x)
    compiles(m, tmp_path, agrees(m, tmp_path, 3e-6), qonnx)


def test_products(tmp_path, qonnx):
    """A Gemm with its activation, the old name of FusedMatMul, and the pair of QuantizeLinear and DequantizeLinear."""
    x = {"a": numbers(5, 12), "t": numbers(12, 5, seed=2), "b": numbers(2, 7, 12, seed=3), "c": numbers(2, 12, 9, seed=4)}
    w, bias = numbers(12, 7, seed=5), numbers(7, seed=6)
    acts = [("Relu", {}), ("LeakyRelu", {"activation_alpha": 0.2}), ("Sigmoid", {}), ("Tanh", {}), ("Elu",
        {"activation_alpha": 0.7}),
            ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4}), ("Softplus", {}), ("Softsign", {})]
    forms = [form("FusedGemm", "a", w, bias, activation=a, **p, **MICROSOFT) for a, p in acts]
    forms += [form("FusedGemm", "t", w, transA=1, alpha=0.5, activation="Relu", **MICROSOFT), form("TransposeMatMul", "b", "c",
        alpha=0.5, **MICROSOFT),
              form("TransposeMatMul", "b", "b", transB=1, **MICROSOFT), form("TransposeMatMul", "a", "t", transA=1, transB=1,
                  **MICROSOFT)]
    check(forms, x, tmp_path, qonnx, error=3e-6)


def test_pair(tmp_path, qonnx):
    x = {"x": numbers(3, 4, 5)}
    m = build([form("QuantizeLinear", "x", scale(0.02), np.array(z, t), **MICROSOFT) for z, t in ((7, U8), (-7, I8))]
              + [form("QuantizeLinear", "x", np.linspace(0.01, 0.04, 4, dtype=np.float32), bytes_of(4), axis=1, **MICROSOFT),
                 form("DequantizeLinear", bytes_of(3, 4), scale(0.3), np.array(7, U8), **MICROSOFT)], x)
    compiles(m, tmp_path, agrees(m, tmp_path), qonnx)


# ---- what the optimizer writes -------------------------------------------------------------------


@pytest.mark.parametrize("opset", [8, 11, 16])
def test_layer_normalization(tmp_path, opset):
    """In an operator set that has none yet, in ONNX's domain, as ONNX Runtime's optimizer writes it."""
    x = {"x": numbers(3, 4, 6)}
    agrees(build([form("LayerNormalization", "x", numbers(6, seed=2), numbers(6, seed=3), axis=-1),
                  form("SimplifiedLayerNormalization", "x", numbers(6, seed=2), axis=-1)], x, opset), tmp_path, 3e-6)


class Calibration(CalibrationDataReader):
    def __init__(self, name, shape):
        self.samples = iter([{name: numbers(*shape, seed=k)} for k in range(2)])

    def get_next(self):
        return next(self.samples, None)


@pytest.mark.parametrize("form_of, level, wanted", [
    ("QDQ", "EXTENDED", {".QLinearConv"}), ("QOperator", "ALL", {"com.microsoft.QLinearConv", "com.microsoft.NhwcMaxPool"})])
def test_optimized(tmp_path, form_of, level, wanted):
    """A model that ONNX Runtime quantized and optimized gives its integers: the operators have other names then."""
    model = convolutions()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Calibration("x", (1, 8, 12, 12)),
                    quant_format=getattr(QuantFormat, form_of), reduce_range=not has_vnni())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.log_severity_level = 3
    x = numbers(1, 8, 12, 12, seed=9)
    (want,) = onnxruntime.InferenceSession(str(tmp_path / "q.onnx"), options).run(None, {"x": x})
    found = {n.domain + "." + n.op_type for n in onnx.load(tmp_path / "fast.onnx").graph.node}
    assert wanted <= found, found
    np.save(tmp_path / "x.npy", x)
    for name in ("q", "fast"):
        done = run_command("run", "-q", tmp_path / f"{name}.onnx", "--data", tmp_path / "x.npy", "-o", tmp_path / name)
        assert done.rc == 0, done.stderr
        got = np.load(tmp_path / name / "output_0.npy").reshape(want.shape)
        assert np.array_equal(got, want), np.abs(got - want).max()


def convolutions():
    """Two convolutions with a pool between them, a sum, and a mean."""
    w = {"w1": numbers(16, 8, 3, 3, seed=2) / 9, "w2": numbers(16, 16, 3, 3, seed=3) / 12, "b1": numbers(16, seed=4),
         "w3": numbers(10, 16, seed=5)}
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c1"], ["r1"]),
             helper.make_node("MaxPool", ["r1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("Conv", ["p", "w2"], ["c2"], pads=[1, 1, 1, 1]), helper.make_node("Add", ["c2", "p"], ["s"]),
             helper.make_node("GlobalAveragePool", ["s"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
             helper.make_node("Gemm", ["f", "w3"], ["y"], transB=1)]
    info = [helper.make_tensor_value_info("x", 1, [1, 8, 12, 12])], [helper.make_tensor_value_info("y", 1, [1, 10])]
    graph = helper.make_graph(nodes, "g", *info, [numpy_helper.from_array(v, k) for k, v in w.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
