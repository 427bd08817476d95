"""Rows: elementwise operators with operands and attributes that do not fit."""

import numpy as np
from bad_inputs.moved import operand_row
from bad_inputs.table import FLOAT, INT64, model, one, run_row
from onnx import TensorProto, helper


def i64(*values):
    return np.array(values, np.int64)


operand_row("Equal", "sizes that do not broadcast", "input 1 does not broadcast: 5 against 8 at axis 3", np.zeros(5, np.float32))
operand_row("PRelu", "slope of a higher rank", "a slope of rank 5 for an input of rank 4", np.ones((1,) * 5, np.float32))
operand_row("PRelu", "slope that is larger", "a slope of size 4 at axis 0 does not broadcast to 1", np.ones((4, 1, 1, 1), np.float32))
operand_row("Hardmax", "axis out of range", "axis 4 is out of range for rank 4", axis=4)
run_row("Where: a condition that is no bool", r"Where .*input 0 is float, this library runs it on bool only",
        lambda: one("Where", ["x", "x", "x"]))
run_row("Where: two types", r"Where .*inputs of different types: float and int64",
        lambda: one("Where", ["c", "x", "k"], constants={"c": np.ones(8, bool), "k": i64(1)}))
run_row("Mod: of floats without fmod", r"Mod .*floats want the attribute fmod 1 before operator set 28", lambda: one("Mod", ["x", "x"]))
run_row("Cast: to a type that is none", r"node 'n' \(Cast\): attribute to is no known type", lambda: one("Cast", ["x"], to=99))
run_row("Cast: to a number below 0", r"node 'n' \(Cast\): attribute to is no known type", lambda: one("Cast", ["x"], to=-2**63))
run_row("Cast: to nothing", r"node 'n' \(Cast\): attribute to is no known type", lambda: one("Cast", ["x"]))
run_row("BitShift: no direction", r"BitShift .*direction is '', want LEFT or RIGHT",
        lambda: model([helper.make_node("BitShift", ["k", "k"], ["y"], "n"), helper.make_node("Identity", ["x"], ["z"])],
                      constants={"k": np.ones(8, np.uint8)}, outputs=[("y", TensorProto.UINT8, None), ("z", FLOAT, None)]))
run_row("Gelu: an approximation that is none", r"Gelu .*approximate is 'cube', want 'none' or 'tanh'",
        lambda: one("Gelu", ["x"], opset=20, approximate="cube"))
run_row("Sin: of integers", r"Sin .*input 0 is int64, which cannot be run",
        lambda: model([helper.make_node("Cast", ["x"], ["k"], to=INT64), helper.make_node("Sin", ["k"], ["y"], "n")]))
