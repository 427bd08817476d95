"""Rows: operands of reductions, normalizations and matrix products that do not fit."""

import numpy as np
from bad_inputs.table import model, model_row, one, run_row
from onnx import TensorProto, helper

for op in ("ArgMax", "TopK"):
    k = {"constants": {"k": np.int64([1])}, "inputs": ["x", "k"]} if op == "TopK" else {}
    model_row(f"{op} axis", r"'n' \(%s\): axis -5 is out of range for rank 4" % op, lambda op=op, k=k: one(op, axis=-5, **k))
model_row("ArgMax of nothing", r"'n' \(ArgMax\): axis 1 has size 0", lambda: one("ArgMax", x=(2, 0), axis=1))
for name, k in (("more", [9]), ("fewer than none", [-1]), ("two numbers", [1, 2]), ("huge", [2**62])):
    model_row(f"TopK of {name}", r"'n' \(TopK\): k is -?\d+, want one number from 0 to 8",
              lambda k=k: one("TopK", ["x", "k"], constants={"k": np.int64(k)}))
model_row("TopK without k", r"'n' \(TopK\): k is missing", lambda: one("TopK"))
run_row("TopK of bool", r"TopK \(node 'n': input 0 is bool", lambda: model(
    [helper.make_node("TopK", ["x", "k"], ["y", "z"], "n")], [("x", TensorProto.BOOL, [1, 3, 8, 8])],
    [("y", TensorProto.BOOL, None)], {"k": np.int64([1])}))
model_row("ReduceSum over an axis of no meaning", r"'n' \(ReduceSum\): axis 4 is out of range for rank 4", lambda: one(
    "ReduceSum", ["x", "a"], constants={"a": np.int64([1, 4])}))
