"""Rows: models that are read, and of which no program may be made, or only one that stays in its memory."""

import numpy as np
import onnx
from bad_inputs.table import FLOAT, IMAGE, conv, edited, model, one, row, run_row, samples, written
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
PREFIX = "raise-opset,fold-constants,remove-identity,fuse-bias-add,fold-batchnorm,fuse-bias-add"


def with_types(m, **types):
    """The model, with the types of values [1,3,8,8] told."""
    for name, dtype in types.items():
        m.graph.value_info.append(helper.make_tensor_value_info(name, dtype, [1, 3, 8, 8]))
    return m


# ---- outputs and inputs that are left out -------------------------------------------------------

run_row("first output left out", r"\(Relu\): its output 1 'y' is not computed", lambda: with_types(model(
    [node("Relu", ["x"], ["", "y"])]), y=FLOAT))
run_row("first output of a fused operator left out", r"\(Relu\): its output 1 'y' is not computed", lambda: with_types(model(
    [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["", "y"])], constants={"w": np.ones((3, 3, 1, 1), np.float32)}),
    y=FLOAT))
run_row("output that nothing computes", r"'r' \(Relu\): its output 1 'b' is not computed", lambda: with_types(model(
    [node("Relu", ["x"], ["a", "b"], "r"), node("Add", ["a", "b"], ["y"])]), b=FLOAT))
for op, more in (("Concat", {"axis": 1}), ("Max", {}), ("Sum", {})):
    row(f"hole in the inputs of {op}", r"input 1 is left out|cannot run operator")(
        lambda folder, op=op, more=more: ["run", written(one(op, ["x", "", "x"], **more), folder), "--data",
                                          samples(folder, IMAGE)])
run_row("Dropout whose training_mode is empty", r"training mode|boolean|training_mode", lambda: one(
    "Dropout", ["x", "", "t"], constants={"t": np.zeros(0, np.bool_)}))

# ---- windows whose sums do not fit 32 bits ------------------------------------------------------

for op in ("MaxPool", "AveragePool"):
    for name, most, attributes in [
        ("stride", r"strides holds \d+, want at least 1 and at most", {"strides": [1 << 30, 1]}),
        ("pad", r"pads holds \d+, want 0 or more, and at most", {"pads": [2**31 - 1, 0, 2**31 - 1, 0]}),
        ("padded input", r"pads holds 536870912, want less than the window of a pool, 2", {"pads": [1 << 29, 0, 1 << 29, 0]}),
        ("window", r"kernel_shape holds \d+, want at least 1 and at most", {"kernel_shape": [2**31 - 1] * 2,
                                                                            "auto_pad": "SAME_UPPER"}),
    ]:
        run_row(f"{op} of a huge {name}", most, lambda op=op, a=attributes: one(op, **{"kernel_shape": [2, 2]} | a))
run_row("Conv of a huge padded input", r"the padded input has size 1073741832", lambda: conv(pads=[1 << 29, 0, 1 << 29, 0]))
run_row("MaxPool of a window of 2^28", "", lambda: one("MaxPool", kernel_shape=[1 << 28] * 2, auto_pad="SAME_UPPER"),
        status=0)

for op in ("MaxPool", "AveragePool"):
    run_row(f"{op} that auto_pad gives less than no padding", r"auto_pad SAME_UPPER of .* makes -1 of padding",
            lambda op=op: one(op, kernel_shape=[1, 1], strides=[2, 2], auto_pad="SAME_UPPER"), mends="small - auto_pad")
run_row("Conv that auto_pad gives much less than no padding", r"auto_pad SAME_LOWER of .* makes -3 of padding",
        lambda: conv(w=(4, 3, 1, 1), strides=[4, 4], auto_pad="SAME_LOWER"), mends="small - auto_pad of Conv")

# ---- types of less than a byte ------------------------------------------------------------------


def int4(op, count, **attributes):
    """Weights of 4 bits behind an operator that moves them."""
    w = TensorProto(name="w", data_type=TensorProto.INT4, dims=[3, count // 3], raw_data=bytes(i % 251 for i in range(count // 2)))
    shape = {"shape": np.int64([count // 3, 3])} if op == "Reshape" else {}
    return model([node(op, ["w", *shape], ["v"], **attributes), node("DequantizeLinear", ["v", "s"], ["f"]),
                  node("MatMul", ["x", "f"], ["y"])], [("x", FLOAT, [1, count // 3 if shape else 3])],
                 constants=[w, numpy_helper.from_array(np.float32(0.1), "s"),
                            *(numpy_helper.from_array(a, n) for n, a in shape.items())], opset=21)


def same_weights(made, out, done):
    """The weights are what they were."""
    before, after = (next(t for t in onnx.load(p).graph.initializer if t.data_type == TensorProto.INT4)
                     for p in (made / "m.onnx", out))
    assert after.raw_data == before.raw_data


for op, attributes in (("Identity", {}), ("Flatten", {"axis": 1}), ("Reshape", {})):
    for count in (60, 60000):

        @row(f"{count} weights of 4 bits behind {op}", status=0, check=same_weights)
        def _(folder, op=op, count=count, attributes=attributes):
            return ["quantize", written(int4(op, count, **attributes), folder), "--pipeline", PREFIX, "-o", "OUT"]

# ---- quantized operators ------------------------------------------------------------------------

PARAMETERS = {"s": np.float32(0.1), "z": np.uint8(0), "zi": np.int8(0)}


def qlinear(op, inputs, x, constants, domain="", dtype=TensorProto.UINT8, y=TensorProto.UINT8):
    """A model of one QLinear operator between integers."""
    m = model([node(op, inputs, ["y"], "n", domain=domain)], [("x", dtype, x)], [("y", y, None)], PARAMETERS | constants)
    if domain:
        m.opset_import.append(helper.make_opsetid(domain, 1))
    return m


def qlinear_row(name, message, make, x):
    """A row that runs such a model."""
    row(f"quantized: {name}", message)(lambda folder: ["run", written(make(), folder), "--data", samples(folder, x)])


MS = "com.microsoft"
BYTES = np.zeros((1, 1024), np.uint8)
qlinear_row("QGemm with a bias of another length", r"\(QGemm\): 3 numbers of bias for 8 outputs", lambda: qlinear(
    "QGemm", ["x", "s", "z", "w", "s", "zi", "b", "s", "z"], [1, 1024],
    {"w": np.ones((1024, 8), np.int8), "b": np.int32([500, 1, 1])}, MS), BYTES)
qlinear_row("QLinearAdd of another type than its zero point's", r"operand 0 is int8, its zero point uint8", lambda: qlinear(
    "QLinearAdd", ["x", "s", "z", "x", "s", "z", "s", "z"], [1, 1024], {}, MS, TensorProto.INT8), BYTES.view(np.int8))
qlinear_row("QLinearConv whose output is left out", r"the shape of its output 'y' is not known", edited(
    lambda m: m.graph.node[0].output.insert(0, ""), lambda: qlinear(
        "QLinearConv", ["x", "s", "z", "w", "s", "zi", "s", "z"], [1, 1, 4, 4], {"w": np.ones((1, 1, 1, 1), np.int8)})),
    np.zeros((1, 1, 4, 4), np.uint8))


@row("input too large for compiled C", r"its inputs and outputs have 200000000 elements; compiled code has room for")
def _(folder):
    return ["compile", written(model([node("Relu", ["x"], ["y"])], [("x", FLOAT, [100_000_000])]), folder), "-o", "OUTDIR"]


@row("weights of C that somebody else made", r"net\.bin: is there already and not made by qonnx")
def _(folder):
    (folder / "there").mkdir()
    (folder / "there" / "net.bin").write_text("precious")
    return ["compile", written(conv(), folder), "-o", folder / "there", "--prefix", "net", "--weights", "bin"]
