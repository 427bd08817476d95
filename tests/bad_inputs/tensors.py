"""Rows: tensors and what is in them."""

import numpy as np
import onnx
import onnxruntime
from bad_inputs.table import (FLOAT, FLOAT16, IMAGE, conv, model, model_row, one, quantize_row, relu, row, rewrite,
                              samples, weighted, weights, written)
from onnx import TensorProto, helper, numpy_helper

def tensor_row(name, message, **fields):
    """A row for a model whose initializer 'w' has these fields."""
    values = {"name": "w", "data_type": FLOAT, "dims": [3]} | fields
    model_row(name, message, lambda: model([helper.make_node("Add", ["x", "w"], ["y"])],
                                           constants=[TensorProto(**values)]))


tensor_row("negative dimension", r"'w': dimension 0 is -1", dims=[-1], raw_data=bytes(12))
tensor_row("dimensions overflow", r"'w': the shape has more elements than can be addressed",
           dims=[1 << 40, 1 << 40], raw_data=bytes(12))
tensor_row("rank over the limit", r"'w': rank 9, at most 8", dims=[1] * 9, raw_data=bytes(4))
tensor_row("raw data too short", r"'w': raw_data has 8 bytes, .* need 12", raw_data=bytes(8))
tensor_row("raw data too long", r"'w': raw_data has 16 bytes, .* need 12", raw_data=bytes(16))
tensor_row("data in two places", r"'w': has data both in raw_data and in float_data", raw_data=bytes(12),
           float_data=[1, 2, 3])
tensor_row("no data", r"'w': has no data", )
tensor_row("data type unknown", r"'w': data_type is 99", data_type=99, raw_data=bytes(12))
tensor_row("data type undefined", r"'w': data_type is 0", data_type=0, raw_data=bytes(12))
tensor_row("too few values", r"'w': float_data has 2 values, .* need 3", float_data=[1, 2])
tensor_row("values in the wrong field", r"'w': has values in int32_data, its type float is kept in float_data",
           int32_data=[1, 2, 3])
tensor_row("value out of its type's range", r"'w': int32_data\[1\] is 300, not a value of type uint8",
           data_type=TensorProto.UINT8, int32_data=[1, 300, 3])
tensor_row("4-bit length", r"'w': raw_data has 3 bytes, .* need 2", data_type=TensorProto.INT4, raw_data=bytes(3))
tensor_row("string count", r"'w': string_data has 1 strings", data_type=TensorProto.STRING, string_data=[b"a"])
tensor_row("segmented", r"stored in segments", raw_data=bytes(12), segment=TensorProto.Segment(begin=0, end=3))
tensor_row("float8 length", r"'w': raw_data has 4 bytes, .* need 3", data_type=TensorProto.FLOAT8E4M3FN, raw_data=bytes(4))
tensor_row("bfloat16 length", r"'w': raw_data has 3 bytes, .* need 6", data_type=TensorProto.BFLOAT16, raw_data=bytes(3))
tensor_row("4-bit values", r"'w': int32_data has 3 values, .* need 2", data_type=TensorProto.INT4, int32_data=[1, 2, 3])
tensor_row("strings in raw data", r"strings are kept in string_data", data_type=TensorProto.STRING, raw_data=b"abc")


def kept(name, *constants):
    """A row for constants that are carried through."""

    def check(made, out, done):
        assert out.read_bytes() == (made / "m.onnx").read_bytes()

    model_row(name, "", lambda: relu(constants=list(constants)), status=0, check=check)


kept("strings", helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"\xff\0"]))
kept("tensor of no size", numpy_helper.from_array(np.zeros((0, 3), np.float32), "w"))
kept("scalar", numpy_helper.from_array(np.float32(3), "w"))
kept("4-bit tensor of odd length", TensorProto(name="w", data_type=TensorProto.INT4, dims=[3], raw_data=b"\x21\x03"))
kept("bfloat16 tensor", TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[1], raw_data=b"\x80\x3f"))
kept("float8 tensor", TensorProto(name="w", data_type=TensorProto.FLOAT8E5M2, dims=[1], raw_data=b"\x3c"))
kept("tensor of NaN and infinite values", numpy_helper.from_array(np.float32([np.nan, -np.inf]), "w"))

# ---- values that do not quantize well -----------------------------------------------------------

BROKEN = weights(c0=np.nan, c1=np.inf)
quantize_row("weights that are not finite", r"node 'n' \(Conv\): 'w' holds 1 NaN and 1 infinite of 108 values; .*"
             r"--allow-nonfinite", lambda: weighted(BROKEN))
quantize_row("weights that are not finite, allowed", r"node 'n' \(Conv\): stays in float: .*not finite",
             lambda: weighted(BROKEN), "--allow-nonfinite", status=0)


@row("weights that are not finite, calibrated", r"'w' holds 1 NaN and 1 infinite of 108 values")
def _(folder):
    return ["calibrate", written(weighted(BROKEN), folder), samples(folder, IMAGE), "-o", "OUT"]


quantize_row("bias that is not finite", r"'b' holds 1 NaN and 0 infinite of 4 values", lambda: one(
    "Conv", ["x", "w", "b"], constants={"w": weights(), "b": np.float32([0, np.nan, 0, 0])}))
quantize_row("batch norm that would make weights NaN", r"folding it .* would give weights that are not finite", lambda: model(
    [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("BatchNormalization", list("asbmv"), ["y"])],
    constants={"w": weights(), **{k: np.ones(4, np.float32) for k in "sbm"}, "v": np.float32([1, 1, -3, 1])}),
    status=0)


def finite_scales(made, out, done):
    """The scales are positive and finite, and the model is sound."""
    m = onnx.load(out)
    onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    scales = [numpy_helper.to_array(i) for i in m.graph.initializer if "scale" in i.name]
    assert scales and all(np.all(np.isfinite(s)) and np.all(s > 0) for s in scales), scales
    assert "1 of 1" in done.stdout


for name, w in [("a channel of zeros", weights()), ("zeros", weights(0)), ("subnormal numbers", weights(1e-42)),
                ("a channel of subnormal numbers", weights()), ("one number of 1e30", weights(c0=1e30)),
                ("constants", weights(3))]:
    if name.startswith("a channel"):
        w[1] = 0 if "zeros" in name else 1e-42
    lost = "output 'y' has an SQNR of 0.00 dB" if name == "subnormal numbers" else ""
    quantize_row(f"weights of {name}", lost, lambda w=w: weighted(w), status=0, check=finite_scales)

quantize_row("weights of the largest number", r"'y' are? .*infinite|'y' holds infinite values", lambda: weighted(
    weights(c0=3.4e38)), status=0)
OUTLIER = IMAGE.copy()
OUTLIER[0, 0, 0, 0] = 1e30
for observer in ("mse", "minmax"):
    quantize_row(f"activations with one number of 1e30, by {observer}", r"'x': in the range \[.*\] \d+ of 384 values become "
                 r"0, outliers made it so wide; check the samples, or choose another --observer", conv,
                 "--observer", observer, arrays=[IMAGE, OUTLIER], status=0, check=finite_scales)
quantize_row("activations that are always the same", r"all values of input 'x' are 0; are these the right samples", conv,
             arrays=[IMAGE * 0, IMAGE * 0], status=0, check=finite_scales)
quantize_row("activations that overflow", r"node 'n' \(Conv\): 'y' holds (NaN|infinite) values with the sample .*1\.npy; "
             r"check the model", lambda: weighted(weights(3e38)), arrays=[IMAGE * 0, IMAGE * 100], status=0)
quantize_row("activations that are NaN", r"node 'n' \(Div\): 'b' holds NaN values with the sample .*0\.npy, and others "
             r"follow; check the model", lambda: model(
                 [helper.make_node("Sub", ["x", "x"], ["a"]), helper.make_node("Div", ["a", "a"], ["b"], "n"),
                  helper.make_node("Conv", ["b", "w"], ["y"])], constants={"w": weights()}), arrays=[IMAGE, IMAGE], status=0)

# ---- other types of real numbers ----------------------------------------------------------------

quantize_row("float16 model", "", lambda: weighted(weights().astype(np.float16), dtype=FLOAT16),
             arrays=[IMAGE.astype(np.float16)], status=0)
quantize_row("bfloat16 model", "", lambda: relu(inputs=[("x", TensorProto.BFLOAT16, [1, 3, 8, 8])],
                                                outputs=[("y", TensorProto.BFLOAT16, None)]), status=0)
quantize_row("float16 inside", "", lambda: model(
    [helper.make_node("Cast", ["x"], ["a"], to=10), helper.make_node("Conv", ["a", "w"], ["b"]),
     helper.make_node("Cast", ["b"], ["y"], to=1)], constants={"w": weights().astype(np.float16)}), status=0)
quantize_row("float16 sample that is too large", r"0\.npy: element 0, of type float, has a value that is not one of type "
             r"float16", lambda: weighted(weights().astype(np.float16), dtype=FLOAT16), arrays=[IMAGE * 0 + 7e4])
quantize_row("double model", r"'x' is double; models in float are quantized",
             lambda: relu(inputs=[("x", TensorProto.DOUBLE, [1, 3, 8, 8])], outputs=[("y", TensorProto.DOUBLE, None)]),
             arrays=[IMAGE.astype(np.float64)])
quantize_row("product in double", r"'a' is double; models in float are quantized", lambda: model(
    [helper.make_node("Cast", ["x"], ["a"], to=11), helper.make_node("Conv", ["a", "w"], ["b"]),
     helper.make_node("Cast", ["b"], ["y"], to=1)], constants={"w": weights().astype(np.float64)}))
quantize_row("sum in double", "", lambda: model(
    [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Cast", ["a"], ["b"], to=11),
     helper.make_node("Exp", ["b"], ["c"]), helper.make_node("Cast", ["c"], ["y"], to=1)], constants={"w": weights()}),
             status=0)


@row("float16 model, compiled", status=0)
def _(folder):
    return ["compile", written(weighted(weights().astype(np.float16), dtype=FLOAT16), folder), "-o", "OUTDIR"]


@row("float16 model, rewritten", status=0)
def _(folder):
    return rewrite(written(weighted(weights().astype(np.float16), dtype=FLOAT16), folder))
