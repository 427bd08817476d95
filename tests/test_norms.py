"""Reductions, the places of extremes and normalizations against ONNX Runtime: forms, types, layouts and operator sets
that the ONNX node tests do not have."""

import numpy as np
import pytest
from many_forms import agrees, build, compiles, form, run, runtime, same
from onnx import TensorProto, helper

REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSum", "LogSumExp"]
TYPES = [np.float32, np.float64, np.float16, np.int32, np.int64]


def i64(*values):
    return np.array(values, np.int64)


def numbers(dtype, *shape, seed=1, least=-3):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.uniform(least, 3, shape).astype(dtype)
    return random.integers(0 if np.dtype(dtype).kind == "u" else least, 4, shape).astype(dtype)


# ---- reductions ----


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(tmp_path, qonnx, op):
    """Axes of every kind, from memory in either order of axes."""
    x = {"x": numbers(np.float32, 2, 5, 3, 4, least=0.1), "wide": numbers(np.float32, 2, 3, 1, 70, least=0.5)}
    axes = [i64(1), i64(-1, 1), i64(0, 2), i64(2, 3), i64(0), i64(0, 1, 2, 3), i64(3, 0, 1), i64(2)]
    forms = [form("Reduce" + op, v, a, keepdims=k) for v in x for a in axes for k in (0, 1)]
    forms += [form("Reduce" + op, "x"), form("Reduce" + op, "x", i64(), noop_with_empty_axes=1, keepdims=0)]
    for last in ((), ("x",)):
        got = agrees(m := build(forms, x, last=last), tmp_path, 2e-6)
    if op in ("Mean", "LogSumExp"):
        compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
def test_reductions_of_types(tmp_path, qonnx, dtype):
    least = 1 if np.dtype(dtype).kind == "f" else -3
    x = {"x": numbers(dtype, 2, 3, 5, 67, least=least)}
    ops = [op for op in REDUCTIONS if np.dtype(dtype).kind == "f" or "Log" not in op]
    if dtype == np.float16:
        ops.remove("Prod")  # which is not finite
    axes = [i64(1), i64(0, 2), i64(3), i64(1, 2, 3)]
    forms = [form("Reduce" + op, "x", a) for op in ops for a in (axes[:3] if op == "Prod" else axes)]
    error = {np.float16: 2e-3, np.float32: 2e-6}.get(dtype, 1e-14)
    got = agrees(m := build(forms, x), tmp_path, error)
    compiles(m, tmp_path, got, qonnx)
    same(build(forms, x, folded=True), run(build(forms, x, folded=True), tmp_path), runtime(m) + [np.ones(1, np.float32)], error)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_], ids=lambda t: np.dtype(t).name)
def test_extremes_of_small_types(tmp_path, qonnx, dtype):
    x = {"x": numbers(np.int8, 4, 5, 6, least=-100).astype(dtype)}
    forms = [form(op, "x", a) for op in ("ReduceMax", "ReduceMin") for a in (i64(0), i64(1, 2), i64(0, 2))]
    got = agrees(m := build(forms, x, opset=20), tmp_path)
    compiles(m, tmp_path, got, qonnx)


def test_reductions_of_nothing(tmp_path):
    """What a sum, a product and an extreme of no elements are."""
    for dtype in (np.float32, np.float64, np.int32):
        x = {"x": np.zeros((0, 2), dtype), "y": np.zeros((3, 0), dtype), "fed": np.zeros(1, np.float32)}
        ops = [op for op in REDUCTIONS if dtype != np.int32 or "Log" not in op]
        forms = [form("Reduce" + op, v, i64(a)) for op in ops for v, a in (("x", 0), ("y", 1), ("x", 1))]
        agrees(build(forms, x, opset=20), tmp_path)


def test_old_forms(tmp_path):
    """Axes that are attributes."""
    x = {"x": numbers(np.float32, 2, 3, 4, least=0.5)}
    for opset in (7, 11, 13, 17):
        forms = [form("Reduce" + op, "x", axes=[-1, 0]) for op in REDUCTIONS if op != "Sum" or opset < 13]
        agrees(build(forms, x, opset), tmp_path, 2e-6)


def test_extremes_far_out(tmp_path):
    """Logarithms of sums whose terms are no floats, infinities and NaN."""
    odd = np.array([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf, -np.inf, -np.inf], [500, 501, -500]], np.float32)
    x = {"x": odd, "double": odd.astype(np.float64)}
    forms = [form("ReduceLogSumExp", v, i64(a)) for v in x for a in (0, 1)]
    m = build(forms, x)
    with np.errstate(all="ignore"):
        want = []
        for v, a in ((v, a) for v in x for a in (0, 1)):
            top = x[v].astype(np.float64).max(axis=a, keepdims=True)
            top = np.where(np.isinf(top), 0, top)
            want.append((np.log(np.exp(x[v] - top).sum(axis=a, keepdims=True)) + top).astype(x[v].dtype))
    same(m, run(m, tmp_path, "--engine", "portable"), want, 1e-6)


# ---- places of extremes ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int32, np.int64],
                         ids=lambda t: np.dtype(t).name)
def test_arg(tmp_path, qonnx, dtype):
    x = {"x": numbers(dtype, 2, 5, 3, 70).round()}
    if np.dtype(dtype).kind == "f":
        x["x"][0, 2, 1, 3::7] = np.nan
        x["x"][1, 0, 0, 0] = -0.0
    forms = [form(op, "x", axis=a, keepdims=k, select_last_index=s)
             for op in ("ArgMax", "ArgMin") for a in (0, 1, -2, -1) for k in (0, 1) for s in (0, 1)]
    for last in [(), ("x",)] if dtype == np.float32 else [()]:
        got = agrees(m := build(forms, x, last=last), tmp_path)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.int16, np.int32, np.int64],
                         ids=lambda t: np.dtype(t).name)
def test_topk(tmp_path, qonnx, dtype):
    """Many equal elements, whose places are in order."""
    x = {"x": numbers(dtype, 3, 4, 90).round()}
    if np.dtype(dtype).kind == "f":
        x["x"][0, 1, 5::17] = np.nan
        x["x"][:, 2, ::5] = -0.0
    forms = [form("TopK", "x", i64(k), axis=a, largest=g, outputs=2)
             for a, k in ((-1, 1), (-1, 7), (2, 90), (1, 3), (0, 2), (1, 4)) for g in (0, 1)]
    got = agrees(m := build(forms, x), tmp_path)
    compiles(m, tmp_path, got, qonnx)


def test_topk_forms(tmp_path):
    """k of nothing, k as an attribute, an output that nobody reads; unsorted ones are sorted, too."""
    x = {"x": numbers(np.float32, 3, 20).round()}
    agrees(build([form("TopK", "x", i64(0), outputs=2)], x), tmp_path)
    want = runtime(build([form("TopK", "x", i64(3), outputs=2)], x))
    same(m := build([form("TopK", "x", i64(3), outputs=[True, False])], x), run(m, tmp_path), want[:1])
    lone = build([form("TopK", "x", i64(3), outputs=2)], x)
    del lone.proto.graph.output[0]
    same(lone := lone._replace(names=lone.names[1:]), run(lone, tmp_path), want[1:])
    agrees(build([form("TopK", "x", k=4, axis=1, outputs=2)], x, opset=9), tmp_path)
    m = build([form("TopK", "x", i64(5), sorted=0, outputs=2)], x)
    want = runtime(build([form("TopK", "x", i64(5), outputs=2)], x))
    same(m, run(m, tmp_path), want)


# ---- normalizations ----


def test_layer_norms(tmp_path, qonnx):
    """Scales of every shape that broadcasts, of one row or of several; the outputs Mean and InvStdDev."""
    x = {"x": numbers(np.float32, 2, 3, 5, 70), "far": numbers(np.float32, 7, 96) + np.float32(30),
         "short": numbers(np.float32, 9, 3), "s": numbers(np.float32, 70)}
    scales = [(70,), (1,), (5, 70), (5, 1), (3, 1, 70), (2, 1, 1, 1), (1, 1, 5, 70)]
    forms = [form(op, "x", numbers(np.float32, *s), *more, axis=a, outputs=count)
             for op, more, count in (("LayerNormalization", [numbers(np.float32, 70)], 3), ("LayerNormalization", [], 1),
                                     ("SimplifiedLayerNormalization", [], 2))
             for s in scales for a in (-1, 2, 1) if len(s) < 3 or a != 2 or s[0] == 1]
    forms += [form(op, "x", "s", axis=-1, epsilon=0.1) for op in ("LayerNormalization", "SimplifiedLayerNormalization")]
    forms += [form("LayerNormalization", v, np.ones(x[v].shape[-1], np.float32), outputs=3) for v in ("far", "short")]
    forms += [form("LayerNormalization", "short", np.ones(3, np.float32), outputs=[True, False, True])]
    got = agrees(m := build(forms, x, last=("x",)), tmp_path, 1e-5)
    compiles(m, tmp_path, got, qonnx)


def test_rms_norm(tmp_path):
    x = {"x": numbers(np.float32, 2, 3, 70)}
    agrees(build([form("RMSNormalization", "x", numbers(np.float32, *s), axis=a, epsilon=e)
                  for s, a, e in (((70,), -1, 1e-5), ((3, 70), 1, 0.1))], x, opset=23), tmp_path, 2e-6)


def test_skip_layer_norms(tmp_path, qonnx):
    x = {"x": numbers(np.float32, 2, 5, 48), "y": numbers(np.float32, 2, 5, 48, seed=2), "z": numbers(np.float32, 5, 48)}
    a, b, c = (numbers(np.float32, 48, seed=k) for k in range(3))
    skip, simple = "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"
    ms = {"domain": "com.microsoft"}
    forms = [form(skip, "x", "y", a, **ms), form(skip, "x", "y", a, b, c, outputs=[True, False, False, True], **ms),
             form(skip, "x", "z", a, None, c, epsilon=0.1, **ms), form(simple, "x", "y", a, **ms),
             form(simple, "x", "y", a, b, outputs=[True, False, False, True], **ms)]
    got = agrees(m := build(forms, x), tmp_path, 2e-6)
    compiles(m, tmp_path, got, qonnx)


def test_channel_norms(tmp_path, qonnx):
    x = {"x": numbers(np.float32, 2, 6, 5, 7), "line": numbers(np.float32, 3, 4, 90), "deep": numbers(np.float32, 1, 2, 3, 4, 5),
         "s": numbers(np.float32, 6)}
    s = {v: numbers(np.float32, x[v].shape[1]) for v in x if v != "s"}
    forms = [form("InstanceNormalization", v, s[v], s[v] + 1, epsilon=0.1) for v in s]
    forms += [form("InstanceNormalization", "x", "s", "s")]
    got = agrees(m := build(forms, x, last=("x", "line")), tmp_path, 2e-6)
    compiles(m, tmp_path, got, qonnx)
    for opset, size in ((18, 3), (21, 6)):
        groups = numbers(np.float32, size, seed=3)
        forms = [form("GroupNormalization", "x", groups, groups - 2, num_groups=3, epsilon=e) for e in (0.1, 1e-5)]
        agrees(build(forms, x, opset=opset, last=("x",)), tmp_path, 2e-6)


def test_other_norms(tmp_path, qonnx):
    x = {"x": numbers(np.float32, 2, 6, 5, 7), "y": numbers(np.float32, 3, 200)}
    x["x"][1, :, 2, 3] = 0
    x["z"] = x["x"] + np.float32(0.01) * numbers(np.float32, 6, 5, 7, seed=4)
    forms = [form("LpNormalization", v, axis=a, p=p) for p in (1, 2) for v, a in (("x", 1), ("x", -1), ("x", 0), ("y", 1))]
    forms += [form("LRN", "x", size=k, **more) for k, more in ((3, {}), (5, {"alpha": 0.5, "beta": 0.6, "bias": 2.0}), (99, {}))]
    forms += [form("MeanVarianceNormalization", "z", **more) for more in ({}, {"axes": [1]}, {"axes": [2, 3]}, {"axes": [0, -2]})]
    for last in ((), ("x",)):
        got = agrees(m := build(forms, x, last=last and ("x", "z")), tmp_path, 5e-6)
    compiles(m, tmp_path, got, qonnx)


def test_batch_norm_of_any_rank(tmp_path):
    x = {f"x{len(s)}": numbers(np.float32, *s) for s in ((7,), (5, 1), (4, 1, 9), (2, 1, 3, 2, 2, 2))}
    one = [np.array([v], np.float32) for v in (1.5, -0.5, 0.25, 2)]
    agrees(build([form("BatchNormalization", v, *one) for v in x], x, opset=15), tmp_path, 1e-6)
