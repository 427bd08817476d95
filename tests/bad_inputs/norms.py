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


# ---- normalizations ----


def ones(*shape):
    return np.ones(shape, np.float32)


for op, constants, attributes, opset, message in [
    ("LayerNormalization", {"s": ones(7)}, {}, 17, "input 1 does not broadcast to input 0"),
    ("LayerNormalization", {"s": ones(8), "b": ones(2, 1, 3, 8, 8)}, {}, 17, "input 2 does not broadcast to input 0"),
    ("LayerNormalization", {"s": ones(8)}, {"axis": 4}, 17, "axis 4 is out of range for rank 4"),
    ("InstanceNormalization", {"s": ones(3), "b": ones(2)}, {}, 13, "input 2 has 2 elements on 1 axes, want 3 on one"),
    ("InstanceNormalization", {"s": ones(3, 1), "b": ones(3)}, {}, 13, "input 1 has 3 elements on 2 axes, want 3 on one"),
    ("GroupNormalization", {"s": ones(3), "b": ones(3)}, {"num_groups": 2}, 21, "3 channels are no multiple of 2 groups"),
    ("GroupNormalization", {"s": ones(3), "b": ones(3)}, {}, 21, "num_groups is 0, want 1 or more"),
    ("GroupNormalization", {"s": ones(3), "b": ones(3)}, {"num_groups": 1}, 18, "input 1 has 3 elements on 1 axes, want 1 on one"),
    ("LpNormalization", {}, {"p": 3}, 13, "p is 3, want 1 or 2"),
    ("LpNormalization", {}, {"axis": 9}, 13, "axis 9 is out of range for rank 4"),
    ("LRN", {}, {}, 13, "size is 0, want 1 to 2"),
    ("LRN", {}, {"size": 1 << 40}, 13, "size is 1099511627776, want 1 to 2"),
    ("MeanVarianceNormalization", {}, {"axes": [1, -5]}, 13, "axis -5 is out of range for rank 4"),
]:
    model_row(f"{op} {message}", rf"'n' \({op}\): {message}", lambda o=op, c=constants, a=attributes, v=opset: one(
        o, ["x", *c], constants=c, opset=v, **a))
run_row("LayerNormalization that stashes bfloat16", r"LayerNormalization \(node 'n': stash_type 16", lambda: one(
    "LayerNormalization", ["x", "s"], constants={"s": ones(8)}, opset=17, stash_type=16))


# ---- matrix products ----

for op, shape, attributes, message in [
    ("FusedMatMul", (1, 3, 7, 2), {}, "inner sizes differ: 8 and 7"),
    ("FusedMatMul", (1, 3, 8, 2), {"transB": 1}, "inner sizes differ: 8 and 2"),
    ("FusedMatMul", (1, 2, 8, 2), {}, "batch axes do not broadcast: 3 and 2"),
    ("FusedMatMul", (), {}, "a scalar operand"),
    ("MatMul", (1, 2, 8, 2), {}, "batch axes do not broadcast: 3 and 2"),
]:
    more = {"domain": "com.microsoft"} if op == "FusedMatMul" else {}
    model_row(f"{op} by {shape} {attributes}", rf"'n' \({op}\): {message}",
              lambda o=op, s=shape, a=attributes | more: one(o, ["x", "w"], constants={"w": ones(*s)}, **a))

for equation, message in [
    ("abcd->abce", "axis 3 of the result is in no operand, or twice in it"),
    ("abcd->aabc", "axis 1 of the result is in no operand, or twice in it"),
    ("abcd,ab->a", "the equation has more terms than there are operands: 1"),
    ("abc->a", "operand 0 has rank 4, its term has 3 axes"),
    ("...abcde->a", "operand 0 has rank 4, its term has 5 axes"),
    ("a...d->ad", "the result has no ellipsis for 2 axes of the operands"),
    ("ab.cd->a", "the equation is wrong at its character 3"),
    ("abcd->a,b", "the equation is wrong at its character 8"),
    ("a" * 9, "the equation is wrong at its character 9: a term has more axes than are supported"),
    ("abcd-", "the equation is wrong at its character 5"),
    ("......", "the equation is wrong at its character 4"),
    ("abcb->a", "operand 0 has size 8 where another axis of that label has 3"),
    ("", "operand 0 has rank 4, its term has 0 axes"),
]:
    model_row(f"Einsum {equation}", rf"'n' \(Einsum\): {message}", lambda e=equation: one("Einsum", opset=13, equation=e))
model_row("Einsum of fewer terms", r"'n' \(Einsum\): the equation has fewer terms than there are operands: 2",
          lambda: one("Einsum", ["x", "x"], equation="abcd->a"))
model_row("Einsum without an equation", r"'n' \(Einsum\): attribute equation is missing", lambda: one("Einsum"))
model_row("Einsum of many operands", r"'n' \(Einsum\): 40 operands, at most 32 are supported",
          lambda: one("Einsum", ["x"] * 40, equation=",".join(["abcd"] * 40)))
run_row("Einsum of more axes on the way", r"'n' \(Einsum\): a product on the way has rank 11, at most 8 can be run", lambda: one(
    "Einsum", ["x", "w", "v", "u"], constants={"w": ones(2, 2, 2, 2), "v": ones(2, 2, 2, 2), "u": ones(1, 3, 8, 8, 2, 2, 2, 2)},
    equation="abcd,efgh,ijkl,abcdefgh->ijkl"))
