"""Elementwise operators against ONNX Runtime: types, broadcasts, attributes, layouts and numbers that the ONNX node tests
do not have. Each model holds many forms; all of them on both engines, folded, and compiled to C."""

import warnings

import numpy as np
import pytest
from conftest import run_command
from many_forms import Model, agrees, build, compiles, form, run, runtime, same, saved
from onnx import TensorProto, helper, numpy_helper

FLOATS = [np.float32, np.float64, np.float16]
SIGNED = [np.int8, np.int16, np.int32, np.int64]
UNSIGNED = [np.uint8, np.uint16, np.uint32, np.uint64]
NUMBERS = FLOATS + SIGNED + UNSIGNED
TYPES = NUMBERS + [np.bool_]
NAME = {"ids": lambda t: np.dtype(t).name if isinstance(t, type) else str(t)}
BFLOAT16 = TensorProto.BFLOAT16


def onnx_type(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def numbers(dtype, *shape, seed=1):
    """Numbers of a type, some equal, both ends of the range among them."""
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "f":
        x = (random.integers(-24, 24, shape) / 4).astype(dtype)
        ends = [np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).max]
    elif dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    else:
        x = random.integers(-9 if dtype.kind == "i" else 0, 9, shape).astype(dtype)
        ends = [np.iinfo(dtype).max, np.iinfo(dtype).min]
    flat = x.ravel()
    flat[: len(ends) * 3 : 3] = ends[: len(flat[: len(ends) * 3 : 3])]
    return x


def nonzero(x):
    return np.where(x == 0, np.ones_like(x), x)


def plain(*shape, seed=1, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


# ---- Cast --------------------------------------------------------------------------------------------------------------


# What floats outside of uint32 become differs between the vectors and the rest of ONNX Runtime's own loop.
OUTSIDE = [300.7, -300.7, 70000.5, -1.5, 2.0**31, -(2.0**31) - 256, 1e10, -1e10, 2.0**63, 1.5e19, 1e30, -1e30, np.inf, np.nan]


def cast_input(dtype):
    x = numbers(dtype, 4, 3, 5)
    if np.dtype(dtype).kind == "f":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x.ravel()[20 : 20 + len(OUTSIDE)] = np.array(OUTSIDE).astype(dtype)
    return x


@pytest.mark.parametrize("dtype", TYPES, **NAME)
def test_cast(dtype, tmp_path, qonnx):
    x = cast_input(dtype)
    inside = np.nan_to_num(np.abs(x.astype(np.float64)), posinf=1, nan=1) if np.dtype(dtype).kind == "f" else x
    small = np.where(inside < 2**31, inside, 1).astype(dtype)
    forms = [form("Cast", "small" if t == np.uint32 else "x", to=onnx_type(t)) for t in TYPES]
    forms += [form("CastLike", "x", np.zeros((2, 0), t)) for t in TYPES if t != np.uint32]
    m = build(forms, {"x": x, "small": small}, opset=19)
    got = agrees(m, tmp_path)
    compiles(m, tmp_path, got, qonnx)
    (tmp_path / "folded").mkdir()
    folded = build(forms, {"x": x, "small": small}, opset=19, folded=True)
    same(folded, run(folded, tmp_path / "folded"), [*runtime(m), np.ones(1, np.float32)])


@pytest.mark.parametrize("opset", [7, 9, 13, 24])
def test_cast_of_bfloat16(opset, tmp_path):
    """There and back: what float loses is what rounding to the nearest loses."""
    x = np.concatenate([plain(500, scale=100), np.float32([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3.4e38])])
    back = [helper.make_node("Cast", ["x"], ["h"], to=BFLOAT16 if opset > 12 else TensorProto.FLOAT16),
            helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [x.size]) for n in "xy"]
    model = helper.make_model(helper.make_graph(back, "g", info[:1], info[1:]),
                              opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    m = Model(model, {"x": x}, ["y"])
    same(m, run(m, tmp_path), runtime(m) if opset < 24 else [helper_rounded(x)])


def helper_rounded(x):
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), x, rounded)


# ---- two operands ------------------------------------------------------------------------------------------------------


COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def broadcasts(dtype):
    return {"a": numbers(dtype, 2, 3, 4, 5), "b": nonzero(numbers(dtype, 2, 3, 4, 5, seed=2)),
            "row": nonzero(numbers(dtype, 5, seed=3)), "channel": nonzero(numbers(dtype, 3, 1, 1, seed=4)),
            "column": nonzero(numbers(dtype, 2, 1, 4, 1, seed=5)), "one": nonzero(numbers(dtype, 1, seed=6))}


def pairs(op, **attributes):
    return [form(op, x, y, **attributes) for x, y in
            [("a", "b"), ("a", "row"), ("channel", "a"), ("column", "channel"), ("a", "one"), ("row", "column")]]


@pytest.mark.parametrize("dtype", TYPES, **NAME)
def test_pairs(dtype, tmp_path, qonnx):
    kind, ops = np.dtype(dtype).kind, []
    if kind == "b":
        ops = ["And", "Or", "Xor", "Equal"]
    else:
        ops = [*COMPARISONS, "Add", "Mul", "Sub"]
        ops += ["Max", "Min"] if dtype not in (np.int16, np.uint16) else []
        ops += ["BitwiseAnd", "BitwiseOr", "BitwiseXor"] if kind in "iu" else []
    forms = [f for op in ops for f in pairs(op)]
    if kind in "iu":
        forms += [f for f in pairs("Mod") if f[1][1] != "a"]
    inputs = broadcasts(dtype)
    if kind != "b":
        inputs["finite"] = np.nan_to_num(inputs["b"], posinf=3, neginf=-2)
        forms += [form("Mod", "a", "finite", fmod=1), form("Mod", "finite", "row", fmod=1)]
    if dtype == np.int8 or dtype == np.int64:
        for k in inputs:  # the one quotient that does not fit traps in ONNX Runtime
            inputs[k] = np.where(inputs[k] == -1, 2, inputs[k]).astype(dtype)
    if dtype == np.int64:  # its fmod is that of doubles
        forms = [f for f in forms if not f[4].get("fmod")]
    m = build(forms, inputs)
    got = agrees(m, tmp_path)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("dtype", UNSIGNED, **NAME)
def test_shifts(dtype, tmp_path):
    """A shift by the width or more is none that ONNX defines: everything is shifted out."""
    x, bits = numbers(dtype, 3, 40), np.dtype(dtype).itemsize * 8
    by = (np.arange(40) % (bits + 3)).astype(dtype)
    m = build([form("BitShift", "x", "by", direction=d) for d in ("LEFT", "RIGHT")], {"x": x, "by": by})
    wide = x.astype(object)
    want = [np.array([[int(v) << int(s) if s < bits else 0 for v, s in zip(r, by)] for r in wide], object),
            np.array([[int(v) >> int(s) if s < bits else 0 for v, s in zip(r, by)] for r in wide], object)]
    same(m, run(m, tmp_path), [(w & (2**bits - 1)).astype(dtype) for w in want])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64], **NAME)
def test_rests_by_zero(dtype, tmp_path):
    """They trap elsewhere; here they are 0, and nothing traps."""
    x = numbers(dtype, 30)
    m = build([form("Mod", "x", "zero"), form("Mod", "x", "zero", fmod=1), form("Mod", "x", "minus")],
              {"x": x, "zero": np.zeros(1, dtype), "minus": np.array([-1]).astype(dtype)})
    got = run(m, tmp_path)
    assert not got[0].any() and not got[1].any()
    assert got[2].any() == (np.dtype(dtype).kind == "u")


@pytest.mark.parametrize("last", [(), ("a",), ("a", "b")])
def test_channels_last(last, tmp_path, qonnx):
    inputs = {"a": plain(2, 3, 4, 5), "b": plain(2, 3, 4, 5, seed=2), "channel": plain(3, 1, 1, seed=3),
              "plane": plain(4, 5, seed=4), "c": plain(2, 3, 4, 5, seed=5) > 0, "few": plain(3, 1, 5, seed=6) > 0}
    forms = [form("Less", "a", "b"), form("Greater", "plane", "a"), form("PRelu", "a", "channel"), form("PRelu", "b", "plane"),
             form("Mod", "a", "b", fmod=1), form("Where", "c", "a", "b"), form("Where", "few", "a", "channel"),
             form("Where", "c", "plane", "b"), form("Mean", "a", "b", "plane"), form("Sum", "channel", "a", "b"),
             form("Cast", "a", to=TensorProto.INT32), form("Sin", "a"), form("IsNaN", "b"), form("Hardmax", "a", axis=1),
             form("Hardmax", "a", axis=2), form("Sign", "b"), form("IsInf", "a"), form("CastLike", "b", "c")]
    m = build(forms, inputs, last=last)
    got = agrees(m, tmp_path, error=3e-7)
    compiles(m, tmp_path, got, qonnx)


def test_many_axes(tmp_path, qonnx):
    """Eight axes of which none go on evenly are more than kernels have, and still run."""
    shapes = [(2, 1, 3, 1, 2, 1, 3, 1), (1, 2, 1, 2, 1, 3, 1, 2), (2, 2, 1, 1, 2, 3, 1, 1)]
    inputs = {n: plain(*s, seed=k) for k, (n, s) in enumerate(zip("abc", shapes))}
    inputs |= {"i": numbers(np.int64, *shapes[0]), "j": nonzero(numbers(np.int64, *shapes[1])), "k": inputs["c"] > 0}
    forms = [form("Add", "a", "b"), form("Greater", "a", "b"), form("Where", "k", "a", "b"), form("Max", "a", "b", "c"),
             form("Add", "i", "j"), form("Equal", "i", "j"), form("Mean", "b", "c", "a"), form("Where", "k", "i", "j"),
             form("Mul", "a", np.array(2, np.float32)), form("Pow", "b", np.float32([2]))]
    m = build(forms, inputs)
    got = agrees(m, tmp_path, error=3e-7)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint32], **NAME)
def test_where(dtype, tmp_path, qonnx):
    inputs = broadcasts(dtype) | {"c": numbers(bool, 2, 3, 4, 5), "d": numbers(bool, 4, 1), "e": numbers(bool, 1)}
    forms = [form("Where", *o) for o in [("c", "a", "b"), ("d", "a", "row"), ("c", "one", "channel"), ("e", "a", "b"),
                                         ("d", "column", "channel"), ("c", "b", "one"), ("e", "one", "one")]]
    m = build(forms, inputs)
    compiles(m, tmp_path, agrees(m, tmp_path), qonnx)


@pytest.mark.parametrize("opset", [7, 9, 16])
def test_slopes(opset, tmp_path):
    x = plain(2, 3, 4, 5)
    m = build([form("PRelu", "x", s) for s in (np.float32([0.25]), plain(3, 1, 1), plain(4, 5), plain(1, 3, 1, 5),
                                               plain(2, 3, 4, 5), plain(1, 1, 1, 1))], {"x": x}, opset=opset)
    agrees(m, tmp_path)


@pytest.mark.parametrize("dtype", FLOATS[:2], **NAME)
def test_several_operands(dtype, tmp_path):
    operands = ["a", "row", "channel", "column", "one"]
    forms = [form(op, *operands[:k]) for op in ("Sum", "Min", "Max") for k in (1, 2, 3, 5)]
    if dtype == np.float32:
        forms += [form("Mean", *operands[:k]) for k in (1, 2, 3, 5)]
    inputs = {k: np.nan_to_num(v, posinf=3, neginf=3) / 8 for k, v in broadcasts(dtype).items()}
    agrees(build(forms, {k: v.astype(dtype) for k, v in inputs.items()}), tmp_path, error=3e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float64], **NAME)
def test_means_of_other_floats(dtype, tmp_path):
    x, y = (numbers(dtype, 3, 5, seed=k) / dtype(8) for k in (1, 2))
    x, y = np.nan_to_num(x, posinf=1, neginf=1), np.nan_to_num(y, posinf=1, neginf=1)
    x, y = (np.where(abs(v) > 1e3, 1, v).astype(dtype) for v in (x, y))
    m = build([form("Mean", "x", "y", "x")], {"x": x, "y": y})
    same(m, run(m, tmp_path), [((x + y + x) / dtype(3)).astype(dtype)])


@pytest.mark.parametrize("dtype", FLOATS[:2], **NAME)
def test_powers(dtype, tmp_path):
    x = np.abs(np.random.default_rng(1).normal(size=(4, 5)) * 3).astype(dtype)
    y = np.random.default_rng(2).normal(size=(4, 5)).astype(dtype)
    forms = [form("Pow", "x", "y"), form("Pow", "x", "k"), form("Pow", "y", "k"), form("Pow", "x", np.array(0.5, dtype))]
    agrees(build(forms, {"x": x, "y": y, "k": np.array([2, 0, 3, -1, 1], np.int64)}), tmp_path, error=3e-7)


# ---- one operand -------------------------------------------------------------------------------------------------------


LARGE = np.float32([0, -0.0, 1e-40, 1, -1, 0.5, 3.14159274, 1e4, 1.5e7, -2.5e9, 3e20, 1.7e38, -3.4e38, 2.5, -3.5])
# Operators, the scale of their inputs, and what their inputs are moved into: None for any.
REAL = [("Sin", 40, None), ("Cos", 40, None), ("Tan", 1, None), ("Asin", 1, (-1, 1)), ("Acos", 1, (-1, 1)), ("Atan", 3, None),
        ("Sinh", 3, None), ("Cosh", 3, None), ("Tanh", 1, None), ("Asinh", 5, None), ("Acosh", 5, (1, 30)),
        ("Atanh", 1, (-0.99, 0.99)), ("Softsign", 3, None), ("Sign", 1, None), ("Mish", 3, None), ("Selu", 2, None),
        ("Celu", 2, None), ("ThresholdedRelu", 2, None), ("Shrink", 2, None), ("Gelu", 2, None), ("Exp", 4, None),
        ("Reciprocal", 2, None), ("Erf", 1, None), ("Sqrt", 4, (0, 9)), ("Log", 4, (1e-6, 9)), ("HardSwish", 4, None)]


def moved(x, into):
    return np.clip(x, *into).astype(x.dtype) if into else x


def test_functions(tmp_path, qonnx):
    inputs, forms = {}, []
    for op, scale, into in REAL:
        inputs[op] = moved(plain(3, 400, scale=scale), into)
        forms.append(form(op, op))
    x = plain(2, 300, scale=3)
    inputs |= {"x": x, "large": LARGE, "edge": np.float32([0, np.inf, -np.inf, np.nan, -0.0])}
    forms += [form("Sin", "large"), form("Cos", "large"), form("Tan", "large"), form("Atan", "edge"), form("Tanh", "edge"),
              form("Asinh", "edge"), form("Sin", "edge"), form("Acos", "large"), form("Acosh", "edge"), form("Sign", "large"),
              form("Atanh", "edge"), form("Cosh", "edge"), form("Softsign", "large")]
    forms += [form("Selu", "x", alpha=1.5, gamma=0.5), form("Celu", "x", alpha=0.5), form("ThresholdedRelu", "x", alpha=-0.5),
              form("Shrink", "x", lambd=1.0, bias=0.25), form("Shrink", "x", lambd=0.0), form("Gelu", "x", approximate="tanh"),
              form("Gelu", "x", approximate="none")]
    m = build(forms, inputs, opset=20)
    got = agrees(m, tmp_path, error=4e-7)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("alpha", [None, 0.5, 1.702])
def test_swish(alpha, tmp_path):
    x = plain(4, 100, scale=3)
    m = build([form("Swish", "x", **{"alpha": alpha} if alpha else {})], {"x": x}, opset=24)
    wide = x.astype(np.float64)
    same(m, run(m, tmp_path), [(wide / (1 + np.exp(-(alpha or 1) * wide))).astype(np.float32)], 2e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float16], **NAME)
def test_functions_of_other_floats(dtype, tmp_path, qonnx):
    """Those that ONNX Runtime has; for float16 it works in float, as others are within a step of the result."""
    ops = ("Sin", "Cos", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Reciprocal", "Sigmoid")
    inputs = {op: moved(np.random.default_rng(k).normal(size=(3, 200)) * 4, (1e-3, 9) if op in ("Log", "Sqrt") else None)
              .astype(dtype) for k, op in enumerate(ops)}
    m = build([form(op, op) for op in ops], inputs)
    got = agrees(m, tmp_path, error=1e-3 if dtype == np.float16 else 1e-13)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED, **NAME)
def test_functions_of_integers(dtype, tmp_path, qonnx):
    x = numbers(dtype, 5, 40)
    ops = ["Abs", "Sign", "BitwiseNot"] + ["Neg"] * (np.dtype(dtype).kind == "i")
    few = np.arange(30).astype(dtype)
    m = build([form(op, "x") for op in ops] + [form("Shrink", "few", lambd=1.5, bias=2.5)], {"x": x, "few": few})
    compiles(m, tmp_path, agrees(m, tmp_path), qonnx)


@pytest.mark.parametrize("dtype", FLOATS, **NAME)
def test_questions(dtype, tmp_path, qonnx):
    x = numbers(dtype, 3, 20)
    forms = [form("IsNaN", "x")]
    forms += [form("IsInf", "x", detect_negative=n, detect_positive=p) for n in (0, 1) for p in (0, 1)] + [form("IsInf", "x")]
    forms += [form("Not", "k")]
    m = build(forms, {"x": x, "k": numbers(bool, 3, 5)}, opset=20)
    compiles(m, tmp_path, agrees(m, tmp_path), qonnx)


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_hardmax(opset, tmp_path):
    x = np.random.default_rng(1).integers(-3, 3, (2, 3, 4, 5)).astype(np.float32)
    forms = [form("Hardmax", "x", axis=a) for a in ((0, 1, 2, 3, -1, -2) if opset > 10 else (0, 1, 2, 3))] + [form("Hardmax", "x")]
    agrees(build(forms, {"x": x}, opset=opset), tmp_path)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint64, np.float64], **NAME)
def test_clamps(dtype, tmp_path, qonnx):
    x, least, most = numbers(dtype, 4, 9), np.array(2, dtype), np.array(6, dtype)
    x = np.nan_to_num(x, posinf=9, neginf=-9)  # which ONNX Runtime makes the greatest number, bound or not
    forms = [form("Clip", "x", least, most), form("Clip", "x", None, most), form("Clip", "x", least), form("Clip", "x", most, least)]
    if dtype in (np.int8, np.int32, np.float64):
        forms.append(form("Relu", "x"))
    m = build(forms, {"x": x}, opset=14)
    compiles(m, tmp_path, agrees(m, tmp_path), qonnx)


# ---- sizes and shapes --------------------------------------------------------------------------------------------------


def test_empty(tmp_path):
    none, x = np.zeros((2, 0, 3), np.float32), np.ones((1, 1, 3), np.float32)
    forms = [form("Equal", "none", "x"), form("Where", "c", "none", "x"), form("Sin", "none"), form("Mean", "none", "x"),
             form("Cast", "none", to=TensorProto.INT8), form("PRelu", "none", "x"), form("IsNaN", "none"), form("Hardmax", "none"),
             form("Shrink", "none"), form("Sign", "none")]
    m = build(forms, {"none": none, "x": x, "c": np.ones((2, 1, 1), bool)})
    want = [np.zeros((2, 0, 3), bool), none, none, none, none.astype(np.int8), none, none.astype(bool), none, none, none]
    same(m, run(m, tmp_path), want)


def test_scalars(tmp_path, qonnx):
    a, b, c = np.float32(-1.5), np.float32(2.25), np.array(True)
    m = build([form("Less", "a", "b"), form("Where", "c", "a", "b"), form("Cast", "a", to=TensorProto.INT64), form("Cos", "a"),
               form("Mod", "a", "b", fmod=1), form("Not", "c"), form("Mean", "a", "b")],
              {"a": np.array(a), "b": np.array(b), "c": c})
    compiles(m, tmp_path, agrees(m, tmp_path, error=3e-7), qonnx)


def test_shapes_are_computed(done, tmp_path):
    """What a model computes of its shapes folds, through every operator that says something of integers."""
    node = helper.make_node
    constants = {"minus": [-1], "one": [1], "two": [2], "most": [7], "flat": [0, -1]}
    nodes = [node("Shape", ["x"], ["s"]), node("Equal", ["flat", "minus"], ["open"]),
             node("Cast", ["open"], ["k"], to=TensorProto.INT64), node("Mul", ["k", "minus"], ["m"]),
             node("Neg", ["minus"], ["n"]), node("Mod", ["s", "two"], ["odd"]), node("Greater", ["odd", "k"], ["g"]),
             node("Not", ["g"], ["h"]), node("Where", ["h", "s", "n"], ["w"]), node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
             node("Ceil", ["f"], ["c"]), node("Cast", ["c"], ["size"], to=TensorProto.INT64),
             node("Max", ["size", "n"], ["shape"]), node("Expand", ["one_f", "shape"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()] +
                              [numpy_helper.from_array(np.ones((1, 1), np.float32), "one_f")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    m = Model(model, {"x": np.zeros((4, 6), np.float32)}, ["y"])
    assert runtime(m)[0].shape == (4, 6)
    same(m, run(m, tmp_path), runtime(m))


# ---- quantized ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Selu", "Mish", "Softsign", "Sin", "Cosh", "Celu", "Gelu", "Sign", "Exp"])
def test_tables(op, tmp_path, done):
    """Between DequantizeLinear and QuantizeLinear each function is a table of 256 bytes, the bytes of the float form."""
    x = np.arange(-128, 128, dtype=np.int8)
    node = helper.make_node
    nodes = [node("DequantizeLinear", ["x", "s", "z"], ["a"]), node(op, ["a"], ["b"]), node("QuantizeLinear", ["b", "t", "z"], ["y"])]
    init = [numpy_helper.from_array(np.array(v), k) for k, v in {"s": np.float32(0.03), "t": np.float32(0.05),
                                                                 "z": np.int8(-5)}.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.INT8, [256])],
                              [helper.make_tensor_value_info("y", TensorProto.INT8, [256])], init)
    m = Model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), {"x": x}, ["y"])
    got = run(m, tmp_path)
    done("compile", tmp_path / "m.onnx", "-o", tmp_path / "net", "--prefix", "net")
    assert "q_table" in (tmp_path / "net" / "net.c").read_text()
    assert (np.abs(got[0].astype(int) - runtime(m)[0]) <= 1).all() and (got[0] != runtime(m)[0]).mean() < 0.02


# ---- generated C -------------------------------------------------------------------------------------------------------


def test_what_is_not_used_is_left_out(tmp_path, qonnx):
    """A model of one function has the code of one function."""
    m = build([form("Sigmoid", "x"), form("Mod", "k", "k")], {"x": plain(9), "k": numbers(np.int64, 9)})
    saved(m, tmp_path)
    assert run_command("compile", tmp_path / "m.onnx", "-o", tmp_path / "net", "--prefix", "net").rc == 0
    text = (tmp_path / "net" / "net.c").read_text()
    assert "#define USES_f_unary_op(value) ((value) == 2)" in text
    assert "#define USES_arith_type(value) ((value) == 7)" in text
