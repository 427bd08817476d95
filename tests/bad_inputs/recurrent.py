"""Rows: operands and attributes of LSTM, GRU and RNN that do not fit."""

import numpy as np
from bad_inputs.table import FLOAT, model, model_row, run_row
from onnx import TensorProto, helper

SHAPES = {"w": (1, 24, 5), "r": (1, 24, 6), "b": (1, 48), "l": (2,), "h": (1, 2, 6), "c": (1, 2, 6), "p": (1, 18)}


def lstm(x=(7, 2, 5), op="LSTM", dtype=FLOAT, opset=14, x_type=FLOAT, **more):
    """A model of one LSTM of hidden size 6, with operands of these shapes, or attributes."""
    shapes = SHAPES | {k: v for k, v in more.items() if k in SHAPES}
    attributes = {"hidden_size": 6} | {k: v for k, v in more.items() if k not in SHAPES}
    types = dict.fromkeys(shapes, helper.tensor_dtype_to_np_dtype(dtype)) | {"l": np.int32}
    node = helper.make_node(op, ["x", *shapes], ["y"], "n", **attributes)
    return model([node], [("x", x_type, x)], [("y", dtype, None)],
                 {k: np.ones(v, types[k]) for k, v in shapes.items()}, opset)


for name, message, more in (
    ("X of rank 2", "X has rank 2, want 3", {"x": (7, 2)}),
    ("W of other inputs", "W has size 4 along axis 2, want 5", {"w": (1, 24, 4)}),
    ("W of too few gates", "W has size 18 along axis 1, want 24", {"w": (1, 18, 5)}),
    ("W of two directions", "W has size 2 along axis 0, want 1", {"w": (2, 24, 5)}),
    ("R of other hidden size", "R has size 5 along axis 2, want 6", {"r": (1, 24, 5)}),
    ("B of one bias", "B has size 24 along axis 1, want 48", {"b": (1, 24)}),
    ("lengths of other rows", "sequence_lens has size 3 along axis 0, want 2", {"l": (3,)}),
    ("a state of other rows", "initial_h has size 3 along axis 1, want 2", {"h": (1, 3, 6)}),
    ("a cell of rank 2", "initial_c has rank 2, want 3", {"c": (2, 6)}),
    ("peepholes of four gates", "P has size 24 along axis 1, want 18", {"p": (1, 24)}),
    ("rows first", "initial_h has size 1 along axis 0, want 7", {"layout": 1, "l": (7,)}),
    ("no hidden size", "hidden_size is 0", {"hidden_size": 0}),
    ("a huge hidden size", "hidden_size is 4611686018427387904", {"hidden_size": 2**62}),
    ("a hidden size below 0", "hidden_size is -1", {"hidden_size": -1}),
    ("another hidden size", "W has size 24 along axis 1, want 28", {"hidden_size": 7}),
    ("a direction that is none", 'direction is "up", want forward, reverse', {"direction": "up"}),
    ("too few functions", "2 activations, want 3", {"activations": ["Tanh", "Tanh"]}),
    ("functions of one direction", "3 activations, want 6", {"activations": ["Tanh"] * 3, "direction": "bidirectional"}),
    ("a function that is none", "activation 'Gelu' is none that ONNX has", {"activations": ["Gelu"] * 3}),
):
    model_row(f"LSTM: {name}", rf"'n' \(LSTM\): {message}", lambda more=more: lstm(**more))
model_row("GRU with weights of an LSTM", r"'n' \(GRU\): W has size 24 along axis 1, want 18", lambda: model(
    [helper.make_node("GRU", ["x", "w", "r"], ["y"], "n", hidden_size=6)], [("x", FLOAT, (7, 2, 5))],
    constants={k: np.ones(SHAPES[k], np.float32) for k in "wr"}))
model_row("LSTM: R left out", r"'n' \(LSTM\): input 2 is left out, but it is required", lambda: model(
    [helper.make_node("LSTM", ["x", "w", ""], ["y"], "n", hidden_size=6)], [("x", FLOAT, (7, 2, 5))],
    constants={"w": np.ones(SHAPES["w"], np.float32)}))
run_row("LSTM of double", r"LSTM \(node 'n': input 0 is double", lambda: lstm(
    dtype=TensorProto.DOUBLE, x_type=TensorProto.DOUBLE))


def dynamic(w_type=np.uint8, **more):
    """A model of one DynamicQuantizeLSTM, with operands of these shapes or left out."""
    shapes = {"w": (1, 5, 24), "r": (1, 6, 24), "ws": (1,), "wz": (1,), "rs": (1,), "rz": (1,)} | more
    arrays = {k: np.ones(v, np.float32 if k in ("ws", "rs") else w_type if k == "w" else np.uint8)
              for k, v in shapes.items() if v}
    names = [k if k in arrays else "" for k in ("ws", "wz", "rs", "rz")]
    node = helper.make_node("DynamicQuantizeLSTM", ["x", "w", "r", "", "", "", "", "", *names], ["y"], "n",
                            hidden_size=6, domain="com.microsoft")
    m = model([node], [("x", FLOAT, (7, 2, 5))], constants=arrays)
    m.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return m


for name, message, more in (
    ("W of an LSTM", "W has size 24 along axis 1, want 5", {"w": (1, 24, 5)}),
    ("scales of rows", "W_scale holds 5 numbers, want 1 or 24", {"ws": (1, 5)}),
    ("zero points of two directions", "R_zero_point holds 2 numbers, want 1 or 24", {"rz": (2,)}),
    ("no scale", "W_scale or R_scale is left out", {"rs": None}),
    ("a zero point of another type", "input 1 is int8, its zero point uint8", {"w_type": np.int8}),
):
    model_row(f"DynamicQuantizeLSTM: {name}", rf"'n' \(DynamicQuantizeLSTM\): {message}",
              lambda more=more: dynamic(**more))
