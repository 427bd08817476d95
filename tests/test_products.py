"""Matrix products of two activations against ONNX Runtime: broadcasting at every rank, types, orders of axes, equations."""

import itertools

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from many_forms import agrees, build, compiles, form
from onnx import helper, numpy_helper

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


# ---- Einsum ----

EQUATIONS = [
    ("ij,jk->ik", (4, 70), (70, 5)), ("ij,jk", (4, 70), (70, 5)), ("bhid,bhjd->bhij", (2, 3, 20, 8), (2, 3, 17, 8)),
    ("bihd,bjhd->bhij", (2, 20, 3, 8), (2, 17, 3, 8)), ("bhij,bjhd->bihd", (2, 3, 20, 17), (2, 17, 3, 8)),
    ("bij,bkj->bki", (2, 5, 9), (2, 7, 9)), ("bijk,kjl->bil", (2, 3, 4, 5), (5, 4, 6)), ("...ij,...jk->...ik", (2, 1, 4, 5), (1, 3, 5, 6)),
    ("...ij,jk->i...k", (2, 3, 4, 5), (5, 6)), ("ij->ji", (4, 5)), ("ij->", (4, 70)), ("ijk->ik", (4, 5, 6)), ("...a->...", (3, 4, 5)),
    ("ii->i", (6, 6)), ("ii", (6, 6)), ("iij->j", (3, 3, 5)), ("...ii->...i", (2, 4, 4)), ("i,i->", (70,), (70,)),
    ("ij,ij->ij", (4, 5), (4, 5)), ("ij,ik->ijk", (4, 5), (4, 6)), ("i,j->ij", (4,), (5,)), ("i,j->ji", (4,), (5,)),
    ("ij,kj->ik", (4, 5), (1, 5)), ("ij,kl->", (4, 5), (2, 3)), ("ij,kl->jl", (4, 5), (2, 3)), (" i j , j k -> k i ", (4, 5), (5, 6)),
    ("ij,->ij", (4, 5), ()), (",->", (), ()), ("ij,jk,kl->il", (4, 5), (5, 6), (6, 7)), ("abc,bd,dc->a", (2, 3, 4), (3, 5), (5, 4)),
    ("a,ab,abc->abc", (3,), (3, 4), (3, 4, 5)), ("ij,j...->i...", (4, 5), (5, 2, 3)), ("bij,bij->b", (3, 4, 5), (3, 4, 5)),
    ("bqc,bchw->bqhw", (2, 4, 8), (2, 8, 3, 5)), ("nkctv,kvw->nctw", (2, 3, 4, 5, 6), (3, 6, 6)), ("i->i", (4,)),
    ("ij,jk->ik", (4, 0), (0, 5)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64], ids=lambda t: np.dtype(t).name)
def test_einsum(tmp_path, qonnx, dtype):
    x, forms = {}, []
    for equation, *shapes in EQUATIONS:
        if 0 not in shapes[0] or dtype == np.float32:
            x |= {f"{i}{s}": np.asarray(numbers(dtype, *s, seed=i)) for i, s in enumerate(shapes)}
            forms.append(form("Einsum", *(f"{i}{s}" for i, s in enumerate(shapes)), equation=equation))
    got = agrees(m := build(forms, x), tmp_path, {np.float32: 2e-6, np.float64: 1e-14}.get(dtype, 0))
    if dtype == np.float32:
        forms = [f for f in forms if "0(4, 0)" not in f[1]]
        x = {k: v for k, v in x.items() if v.size}
        got = agrees(m := build(forms, x), tmp_path, 2e-6)
        compiles(m, tmp_path, got, qonnx)


def test_random_equations(tmp_path):
    """Against numpy, some letters capitals."""
    random = np.random.default_rng(1)
    x, forms, want = {}, [], []
    for k in range(150):
        letters = "Bacdef"[:random.integers(2, 7)]
        sizes = {c: int(random.integers(1, 5)) for c in letters}
        terms = ["".join(random.choice(list(letters), random.integers(0, 5))) for _ in range(random.integers(1, 5))]
        there = sorted(set("".join(terms)))
        out = "".join(random.permutation(there)[:random.integers(0, len(there) + 1)])
        names = []
        for i, term in enumerate(terms):
            names.append(f"x{k}_{i}")
            shape = [1 if random.random() < 0.1 else sizes[c] for c in term]
            if len(set(term)) < len(term):
                shape = [sizes[c] for c in term]
            x[names[-1]] = np.asarray(random.uniform(0.5, 1.5, shape).astype(np.float32))
        equation = ",".join(terms) + ("->" + out if k % 3 else "")
        forms.append(form("Einsum", *names, equation=equation))
        full = [np.broadcast_to(x[n], [sizes[c] if any(c in t and x[m].shape[t.index(c)] > 1 for t, m in zip(terms, names))
                                       else 1 for c in term]) for n, term in zip(names, terms)]
        want.append(np.asarray(np.einsum(equation, *[v.astype(np.float64) for v in full]).astype(np.float32)))
    agrees(build(forms, x), tmp_path, 2e-6, want)


@pytest.mark.parametrize("engine", ["onednn", "portable"])
def test_one_weight_in_several_forms(tmp_path, done, engine):
    """A square weight that one reader takes by rows and another by columns is packed for each of them."""
    random = np.random.default_rng(3)
    constants = {"v": random.normal(size=(6, 6)), "k": random.normal(size=(4, 4, 3, 3)), "d": random.normal(size=(4, 1, 3, 3))}
    node = helper.make_node
    nodes = [node("MatMul", ["x", "v"], ["a"]), node("Gemm", ["a", "v"], ["b"], transB=1), node("Gemm", ["b", "v"], ["y"]),
             node("Conv", ["p", "k"], ["c"], pads=[1] * 4), node("ConvTranspose", ["c", "k"], ["t"], pads=[1] * 4),
             node("Conv", ["t", "d"], ["e"], pads=[1] * 4, group=4), node("ConvTranspose", ["e", "d"], ["z"], pads=[1] * 4, group=4)]
    inputs = {"x": random.normal(size=(3, 6)).astype(np.float32), "p": random.normal(size=(1, 4, 5, 5)).astype(np.float32)}
    info = [helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in inputs.items()]
    outs = [helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in "yz"]
    graph = helper.make_graph(nodes, "g", info, outs, [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    for k, v in inputs.items():
        (tmp_path / k).mkdir()
        np.save(tmp_path / k / "0.npy", v)
    done("run", tmp_path / "m.onnx", "--data", f"x={tmp_path / 'x'}", "--data", f"p={tmp_path / 'p'}", "--engine", engine,
         "-o", tmp_path / "out", "-q")
    for i, want in enumerate(ort.InferenceSession(tmp_path / "m.onnx").run(None, inputs)):
        got = np.load(next((tmp_path / "out").rglob(f"*{i}*.npy")))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
