"""Rows: operands of integer matrix products and convolutions that do not fit."""

import numpy as np
from bad_inputs.table import FLOAT, model, row, samples, written
from onnx import TensorProto, helper

U8, I8, MS = np.uint8, np.int8, "com.microsoft"


def integer_row(op, name, message, *constants, x=(1, 3, 8, 8), dtype=TensorProto.UINT8, domain="", **attributes):
    """A row that runs one node, with constant operands behind x."""
    names = [f"c{i}" if c is not None else "" for i, c in enumerate(constants)]

    @row(f"{op}: {name}", message)
    def make(folder):
        node = helper.make_node(op, ["x", *names], ["y"], "n", domain=domain, **attributes)
        m = model([node], [("x", dtype, x)], [("y", TensorProto.UNDEFINED, None)],
                  {k: v for k, v in zip(names, constants) if k})
        m.graph.output[0].ClearField("type")
        m.opset_import.append(helper.make_opsetid(MS, 1))
        data = np.zeros(x, helper.tensor_dtype_to_np_dtype(dtype))
        return ["run", written(m, folder), "--data", samples(folder, data)]


def node(op, message):
    return rf"'n' \({op}\): {message}"


S, Z = np.float32(0.1), np.array(3, U8)
W, M = np.zeros((4, 3, 3, 3), U8), np.zeros((8, 5), U8)
integer_row("MatMulInteger", "sizes", node("MatMulInteger", "inner sizes differ: 8 and 7"), np.zeros((7, 5), U8))
integer_row("MatMulInteger", "batches", node("MatMulInteger", "batch axes do not broadcast: 3 and 2"),
            np.zeros((2, 8, 5), U8))
integer_row("MatMulInteger", "a scalar", node("MatMulInteger", "a scalar operand"), Z)
integer_row("MatMulInteger", "zero points of columns", node("MatMulInteger", "4 zero points for 5 rows or columns"),
            M, None, np.zeros(4, U8))
integer_row("MatMulInteger", "zero points of rows", node("MatMulInteger", "3 zero points for 8 rows or columns"),
            M, np.zeros(3, U8))
integer_row("MatMulInteger", "another type", node("MatMulInteger", "input 1 is uint8, its zero point int8"), M, None,
            np.zeros(5, I8))
integer_row("MatMulInteger", "floats", r"MatMulInteger \(node 'n': input 0 is float, which cannot be run", M, dtype=FLOAT)
integer_row("MatMulIntegerToFloat", "scales", node("MatMulIntegerToFloat", "4 scales for 5 outputs"), M, S,
            np.ones(4, np.float32), domain=MS)
integer_row("MatMulIntegerToFloat", "scales of rows", node("MatMulIntegerToFloat", "input 2 holds 8 numbers, want 1"), M,
            np.ones(8, np.float32), S, domain=MS)
integer_row("DynamicQuantizeMatMul", "bias", node("DynamicQuantizeMatMul", "2 numbers of bias for 5 outputs"), M, S, Z,
            np.ones(2, np.float32), dtype=FLOAT, domain=MS)
integer_row("QGemm", "rank", node("QGemm", "operands of rank 4 and 2, want 2"), S, Z, M, S, Z, domain=MS)
integer_row("ConvInteger", "channels", node("ConvInteger", "group 2 does not fit 3 input channels"), W, group=2)
integer_row("ConvInteger", "no group", node("ConvInteger", "group 0 does not fit"), W, group=0)
integer_row("ConvInteger", "zero points", node("ConvInteger", "3 zero points for 4 outputs"), W, Z, np.zeros(3, U8))
integer_row("ConvInteger", "zero points of x", node("ConvInteger", "2 zero points of the input for 1 outputs"), W,
            np.zeros(2, U8))
integer_row("ConvInteger", "window", node("ConvInteger", "the kernel spans 9, the padded input only 8"),
            np.zeros((4, 3, 9, 9), U8))
integer_row("QLinearConv", "scales", node("QLinearConv", "3 scales for 4 outputs"), S, Z, W, np.ones(3, np.float32), Z, S, Z)
integer_row("QLinearConv", "bias", node("QLinearConv", "bias of 5 for 4 output channels"), S, Z, W, S, Z, S, Z,
            np.zeros(5, np.int32))
integer_row("DynamicQuantizeLinear", "integers", r"DynamicQuantizeLinear \(node 'n': input 0 is uint8")
