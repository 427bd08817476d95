"""Matrix products of two activations against ONNX Runtime: broadcasting at every rank, types, orders of axes, equations."""

import itertools

import numpy as np
import pytest
from many_forms import agrees, build, compiles, form

MICROSOFT = {"domain": "com.microsoft"}


def numbers(dtype, *shape, seed=1):
    random = np.random.default_rng(seed)
    return random.normal(size=shape).astype(dtype) if np.dtype(dtype).kind == "f" else random.integers(0, 99, shape, dtype)


# ---- MatMul ----

SHAPES = [((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 3, 4, 5), (5,)), ((5,), (2, 3, 5, 4)), ((4, 5), (5, 3)),
          ((2, 4, 5), (5, 3)), ((2, 4, 5), (1, 5, 3)), ((4, 5), (2, 5, 3)), ((1, 4, 5), (2, 3, 5, 1)), ((2, 1, 4, 5), (3, 5, 2)),
          ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 1, 4, 5), (2, 3, 5, 6)), ((3, 1, 2, 1, 4, 5), (2, 1, 2, 5, 6)),
          ((2, 1, 2, 1, 2, 1, 3, 4), (1, 2, 1, 3, 1, 2, 4, 2)), ((2, 3, 1, 70), (2, 3, 70, 1)), ((2, 3, 9, 300), (2, 3, 300, 1)),
          ((2, 3, 1, 70), (2, 1, 70, 33)), ((3, 0, 4), (3, 4, 2)), ((2, 3, 0), (2, 0, 4)), ((40, 1, 1, 90), (1, 40, 90, 1))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint32, np.uint64],
                         ids=lambda t: np.dtype(t).name)
def test_matmul(tmp_path, qonnx, dtype):
    x, forms = {}, []
    for a, b in SHAPES:
        if 0 in b and dtype in (np.int32, np.int64, np.uint32, np.uint64):
            continue  # ONNX Runtime fails there
        x |= {f"a{a}": numbers(dtype, *a), f"b{b}": numbers(dtype, *b, seed=2)}
        forms.append(form("MatMul", f"a{a}", f"b{b}"))
    got = agrees(m := build(forms, x), tmp_path, {np.float32: 2e-6, np.float16: 2e-3}.get(dtype, 1e-14))
    if dtype in (np.float32, np.int64):
        x = {k: v for k, v in x.items() if v.size}
        forms = [f for f in forms if all(name in x for name in f[1])]
        got = agrees(m := build(forms, x), tmp_path, 2e-6)
        compiles(m, tmp_path, got, qonnx)


def test_fused_matmul(tmp_path, qonnx):
    """Every choice of axes that fits."""
    a = {"x": numbers(np.float32, 2, 3, 4, 5), "v": numbers(np.float32, 4)}
    forms = []
    for ta, tb, ba, bb in itertools.product((0, 1), repeat=4):
        rows = np.moveaxis(a["x"], 0, -2) if ba else a["x"]
        rows = np.swapaxes(rows, -1, -2) if ta else rows
        b = numbers(np.float32, *rows.shape[:-2], rows.shape[-1], 7, seed=2)
        b = np.swapaxes(b, -1, -2) if tb else b
        b = np.ascontiguousarray(np.moveaxis(b, -2, 0) if bb else b)
        a[f"b{b.shape}"] = b
        forms.append(form("FusedMatMul", "x", f"b{b.shape}", transA=ta, transB=tb, transBatchA=ba, transBatchB=bb,
                          alpha=0.125, **MICROSOFT))
        forms.append(form("FusedMatMul", "x", b, transA=ta, transB=tb, transBatchA=ba, transBatchB=bb, **MICROSOFT))
    forms.append(form("FusedMatMul", "v", numbers(np.float32, 4, 3), transA=1, alpha=2.0, **MICROSOFT))
    forms.append(form("FusedMatMul", "x", numbers(np.float32, 6, 5), transB=1, **MICROSOFT))
    got = agrees(m := build(forms, a), tmp_path, 2e-6)
    compiles(m, tmp_path, got, qonnx)


def test_products_of_layouts(tmp_path):
    """Operands that are channels-last, and a Relu behind."""
    x = {"x": numbers(np.float32, 2, 4, 3, 5), "y": numbers(np.float32, 2, 4, 5, 3)}
    m = build([form("MatMul", "x", "y"), form("MatMul", "y", "x"), form("MatMul", "x", numbers(np.float32, 1, 5, 6))], x,
              last=("x", "y"))
    agrees(m, tmp_path, 2e-6)


# ---- Gemm ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: np.dtype(t).name)
def test_gemm(tmp_path, qonnx, dtype):
    x, forms = {}, []
    for ta, tb in itertools.product((0, 1), repeat=2):
        a, b = (7, 5) if ta else (5, 7), (3, 7) if tb else (7, 3)
        x |= {f"a{ta}": numbers(dtype, *a), f"b{tb}": numbers(dtype, *b, seed=2)}
        for c in ((), (1,), (3,), (5, 1), (1, 3), (5, 3), None):
            if c is not None:
                x[f"c{c}"] = np.asarray(numbers(dtype, *c, seed=3))
            ends = {"transA": ta, "transB": tb, "alpha": 0.5, "beta": 1.5}
            forms.append(form("Gemm", f"a{ta}", f"b{tb}", *([f"c{c}"] if c is not None else []), **ends))
            forms.append(form("Gemm", f"a{ta}", x[f"b{tb}"], *([x[f"c{c}"]] if c is not None else []), **ends))
    got = agrees(m := build(forms, x), tmp_path, 2e-6 if dtype == np.float32 else 1e-14)
    compiles(m, tmp_path, got, qonnx)
