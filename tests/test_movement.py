"""Operators that move data, and indices, against ONNX Runtime: forms, types and layouts that the ONNX node tests do not
have. Each model holds many forms, one an output; the command runs it, folds it where its inputs are constants, and
compiles it, and all give ONNX Runtime's bytes."""

import compiled
import many_forms
import numpy as np
import pytest
from many_forms import run, runtime
from onnx import helper, numpy_helper

TYPES = [np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32,
         np.uint64, np.bool_]


def i64(*values):
    return np.array(values, np.int64)


def numbers(dtype, *shape, seed=1):
    """Small numbers of a type, all kinds of bits in it where it is an integer."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.integers(-64, 64, shape).astype(dtype) / dtype(4)
    return random.integers(0, 2 if dtype == np.bool_ else 100, shape).astype(dtype)


def build(forms, inputs, opset=19, last=(), folded=False):
    """A model of forms: (operator, operands, attributes[, outputs]); operands are names of inputs or arrays."""
    nodes = [many_forms.form(op, *[o if isinstance(o, str) else np.asarray(o) for o in operands],
                             outputs=count[0] if count else 1, **attributes) for op, operands, attributes, *count in forms]
    return many_forms.build(nodes, inputs, opset, last, folded)


def different(m, got, want):
    """The forms that are not the same, with what they gave."""
    return [f"{form}: {g.dtype} {g.shape} {g.tolist()}, want {w.dtype} {w.shape} {w.tolist()}"
            for form, g, w in zip(m.names, got, want, strict=True)
            if g.shape != w.shape or g.dtype != w.dtype or g.tobytes() != w.tobytes()]


def agree(m, tmp):
    """The command runs the model and gives what ONNX Runtime gives."""
    assert not (wrong := different(m, run(m, tmp), runtime(m))), "\n".join(wrong)


def compiles(m, tmp, qonnx):
    """Generated C gives the bytes of `qonnx run`."""
    want = run(m, tmp)
    c = compiled.compile_model(qonnx, tmp / "m.onnx", tmp / "net")
    c.build(["cc"], [*compiled.WARNINGS, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
            ["-fsanitize=address,undefined"])
    got, = c.run([list(m.inputs.values())])
    wrong = [f for f, g, w in zip(m.names, got, want, strict=True) if g.tobytes() != w.tobytes()]
    assert not wrong, "\n".join(wrong)


# ---- Pad, Tile, Split ----------------------------------------------------------------------------------------------------


def pads(x, rank, *value):
    """Pads of a value of that rank, at least 3: front, back, both, none, taken off, and more than there is."""
    forms = []
    for mode in ("constant", "reflect", "edge", "wrap"):
        more = [*value] if mode == "constant" else []
        for at in range(rank):
            for front, behind in ((1, 0), (0, 2), (2, 1)):
                p = i64(*[0] * 2 * rank)
                p[at], p[rank + at] = front, behind
                forms.append(("Pad", [x, p, *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(*[1] * 2 * rank), *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(*[0] * 2 * rank), *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(2, -1, -1, 1), *(more or [""]), i64(-1, 1)], dict(mode=mode)))
    return forms


ENTRIES = [("Tile", ["x", i64(2, 1, 3, 1)], {}), ("Tile", ["x", i64(1, 2, 1, 2)], {}), ("Tile", ["x", i64(1, 1, 1, 1)], {}),
           ("Tile", ["x", i64(2, 0, 1, 1)], {}),
           ("Split", ["x", i64(1, 0, 3)], dict(axis=1), 3), ("Split", ["x", i64(2, 3)], dict(axis=-2), 2),
           ("Split", ["x", i64(3)], dict(axis=0), 1)]


@pytest.mark.parametrize("dtype", TYPES)
def test_pads_of_any_type(dtype, tmp_path):
    untried = (np.int16, np.uint16, np.float16)  # which ONNX Runtime does not pad
    forms = [] if dtype in untried else pads("x", 4, numbers(dtype, 1, seed=2))
    agree(build(forms + ENTRIES, {"x": numbers(dtype, 3, 4, 5, 4)}), tmp_path)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_pads_channels_last(rank, folded, tmp_path):
    x = numbers(np.float32, *[3, 3, 4, 5, 4][:rank])
    agree(build(pads("x", rank, np.float32(2.5)), {"x": x}, last=["x"], folded=folded), tmp_path)


def test_compiled(tmp_path, qonnx):
    x = numbers(np.float32, 3, 4, 5, 4)
    compiles(build(pads("x", 4, np.float32(2.5)) + ENTRIES[:3] + ENTRIES[5:], {"x": x}, last=["x"]), tmp_path, qonnx)


def test_value_that_is_computed(tmp_path):
    x = {"x": numbers(np.float32, 2, 3), "v": np.float32([7])}
    agree(build([("Pad", ["x", i64(1, 0, 0, 2), "v"], {})], x), tmp_path)


@pytest.mark.parametrize("opset, attributes", [(2, dict(pads=[0, 1, 2, 0])), (10, dict(pads=[0, 1, 2, 0], value=1.5)),
                                               (7, dict(pads=[0, 1, 1, 0], mode="reflect"))])
def test_pads_of_old_operator_sets(opset, attributes, tmp_path):
    agree(build([("Pad", ["x"], attributes)], {"x": numbers(np.float32, 2, 3)}, opset), tmp_path)


@pytest.mark.parametrize("opset, forms", [
    (11, [("Split", ["x"], dict(axis=1, split=[1, 5]), 2), ("Split", ["x"], dict(axis=1), 3)]),
    (13, [("Split", ["x"], dict(axis=1), 2), ("Split", ["x", i64(*[1] * 6)], dict(axis=1), 6)]),
    (18, [("Split", ["x"], dict(axis=1, num_outputs=n), n) for n in (1, 2, 4)] +
     [("Split", ["x"], dict(axis=0, num_outputs=2), 2)])])
def test_splits_by_operator_set(opset, forms, tmp_path):
    agree(build(forms, {"x": numbers(np.float32, 3, 6)}, opset), tmp_path)


def test_split_into_many(tmp_path):
    """More outputs than a tensor has axes, an output that nobody reads among them."""
    m = build([("Split", ["x", i64(*[1] * 40)], dict(axis=1), 40)], {"x": numbers(np.float32, 2, 40)})
    del m.proto.graph.output[7]
    del m.names[7]
    agree(m, tmp_path)


# ---- indices -------------------------------------------------------------------------------------------------------------

REDUCTIONS = ["none", "add", "mul", "min", "max"]


def taken(dtype):
    """Gather and its like, with indices of both types, below 0, of any rank, and none."""
    forms = []
    for index in (np.int64, np.int32):
        k = np.array([[2, -1, 0], [0, 0, -3]], index)
        forms += [("Gather", ["x", k % n - n], dict(axis=a)) for a, n in enumerate((3, 4, 5))]
        forms += [("Gather", ["x", np.array(-2, index)], dict(axis=a)) for a in (0, 1, -1)]
        forms.append(("Gather", ["x", np.zeros((0, 2), index)], dict(axis=1)))
        forms += [("GatherElements", ["x", np.broadcast_to(k, (2, 2, 3))], dict(axis=a)) for a in (0, 1, 2)]
        forms.append(("GatherElements", ["x", np.full((3, 4, 9), -4, index)], dict(axis=-1)))
        forms.append(("GatherElements", ["x", np.zeros((3, 0, 2), index)], dict(axis=2)))
    forms += [("GatherND", ["x", i64([0, 1], [-1, 2])], {}), ("GatherND", ["x", i64([[-3], [2]])], {}),
              ("GatherND", ["x", i64([1, -4, 4])], {}), ("GatherND", ["x", np.zeros((0, 2), np.int64)], {}),
              ("GatherND", ["x", i64([[1], [0]], [[3], [-1]], [[2], [2]])], dict(batch_dims=1)),
              ("GatherND", ["x", i64([1, 2], [3, 3], [0, -5])], dict(batch_dims=1)),
              ("GatherND", ["x", np.arange(12).reshape(3, 4, 1) % 5], dict(batch_dims=2))]
    return forms


def put(dtype, reduction, index=np.int64):
    more = dict(reduction=reduction) if reduction != "none" else {}
    u = lambda *shape: numbers(dtype, *shape, seed=3)
    k = np.array([[2, -1, 0], [0, 0, -3]], index)
    if reduction == "none":  # which update stays is open where several are for one element
        k = np.array([[2, -2, 0], [0, 1, -1]], index)
    forms = [("ScatterElements", ["x", np.broadcast_to(k, (2, 2, 3)), u(2, 2, 3)], dict(axis=2, **more)),
             ("ScatterElements", ["x", np.zeros((3, 1, 2), index), u(3, 1, 2)], dict(axis=1, **more)),
             ("ScatterElements", ["x", np.zeros((0, 1, 2), index), u(0, 1, 2)], dict(axis=-3, **more))]
    if index == np.int32:
        return forms
    rows = i64([0], [-1]) if reduction == "none" else i64([0], [-1], [0])
    return forms + [("ScatterND", ["x", rows, u(len(rows), 4, 5)], more),
                    ("ScatterND", ["x", i64([[0, 1], [1, -1]]), u(1, 2, 5)], more),
                    ("ScatterND", ["x", i64([1, 2, 3], [-1, 0, 0]), u(2)], more),
                    ("ScatterND", ["x", np.zeros((0, 3), np.int64), u(0)], more)]


@pytest.mark.parametrize("dtype", TYPES)
def test_taken(dtype, tmp_path):
    agree(build(taken(dtype), {"x": numbers(dtype, 3, 4, 5)}), tmp_path)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_put(dtype, reduction, tmp_path):
    if reduction != "none" and (dtype == np.float16 or (dtype == np.bool_ and reduction in ("min", "max"))):
        pytest.skip("ONNX Runtime has no such reduction")
    forms = put(dtype, reduction)
    if dtype == np.bool_ and reduction != "none":
        forms = [f for f in forms if f[0] == "ScatterElements"]
    agree(build(forms, {"x": numbers(dtype, 3, 4, 5)}, opset=18), tmp_path)


@pytest.mark.parametrize("opset, op", [(9, "Scatter"), (11, "ScatterElements"), (13, "ScatterElements")])
def test_put_by_operator_set(opset, op, tmp_path):
    forms = [(op, *f[1:]) for f in put(np.float32, "none", np.int32)]
    agree(build(forms, {"x": numbers(np.float32, 3, 4, 5)}, opset), tmp_path)


@pytest.mark.parametrize("op, axis", [("Gather", 1), ("GatherElements", 1), ("GatherND", 0), ("ScatterElements", 1),
                                      ("ScatterND", 0)])
def test_computed_indices_stay_inside(op, axis, tmp_path, qonnx):
    """What lies outside is the nearest, and never memory of others (the C is built with sanitizers)."""
    x, k = numbers(np.float32, 2, 3), np.array([[-(2**63), 2**63 - 1, -4], [3, 2, 7]], np.int64)
    inside = np.clip(np.where(k < 0, k + 3, k), 0, 2)
    operands = ["x", "k"] + (["x"] if op.startswith("Scatter") else [])
    m = build([(op, operands, {} if op.endswith("ND") else dict(axis=axis))], {"x": x, "k": k})
    if op.endswith("ND"):
        k = np.array([[2**62, 9], [-9, -3], [1, 1]])
        inside, m = np.array([[1, 2], [0, 0], [1, 1]]), build([(op, ["x", "k"] + ["u"] * (op == "ScatterND"), {})],
                                                             {"x": x, "k": k, "u": x[1]})
        if op == "GatherND":
            m = build([(op, ["x", "k"], {})], {"x": x, "k": k})
    got = run(m, tmp_path)
    want = runtime(m._replace(inputs={**m.inputs, "k": inside}))
    assert not different(m, got, want)
    compiles(m, tmp_path, qonnx)


def test_what_is_put_is_not_overwritten(tmp_path):
    """A tensor that is both changed in place and read."""
    x = {"x": numbers(np.float32, 3, 3), "k": i64([0, 2, 1], [2, 1, 0], [1, 0, 2])}
    m = build([("Neg", ["x"], {})], x)
    m.proto.graph.node.extend([helper.make_node("ScatterElements", ["y0_0", "k", "y0_0"], ["s"], axis=1),
                               helper.make_node("Relu", ["s"], ["z"])])
    m.proto.graph.output[0].name = "z"
    agree(m, tmp_path)


def test_indices_compiled(tmp_path, qonnx):
    forms = [f for f in taken(np.float32) if 0 not in f[1][1].shape]
    for reduction in REDUCTIONS:
        forms += [f for f in put(np.float32, reduction) if 0 not in f[1][1].shape]
    compiles(build(forms, {"x": numbers(np.float32, 3, 4, 5)}), tmp_path, qonnx)


# ---- by position ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_ranges(dtype, tmp_path):
    t = np.dtype(dtype).type
    whole = [(0, 5, 1), (5, 0, -2), (-3, 4, 3), (0, -1, 1), (7, 7, 2)]
    if np.dtype(dtype).kind == "f":
        whole += [(0, 1, 0.1), (1, 3, 0.3), (-1.5, 1e3, 1 / 3), (1e6, 1e6 + 1, 0.7), (0, 4.4, 1.1), (0.3, -2, -0.1)]
    agree(build([("Range", [t(a), t(b), t(c)], {}) for a, b, c in whole], {"x": numbers(np.float32, 1)}), tmp_path)


@pytest.mark.parametrize("start, limit, delta, want", [
    (-(2**63), 2**63 - 1, 2**62, [-(2**63), -(2**62), 0, 2**62]), (2**63 - 1, -(2**63), -(2**63), [2**63 - 1, -1])])
def test_ranges_of_ends(start, limit, delta, want, tmp_path):
    """Numbers whose difference does not fit."""
    m = build([("Range", [np.int64(start), np.int64(limit), np.int64(delta)], {})], {"x": numbers(np.float32, 1)})
    assert run(m, tmp_path)[0].tolist() == want


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64])
def test_fed_ranges(dtype, tmp_path):
    """Each sample has a size of its own."""
    given = {k: np.asarray(v, dtype) for k, v in (("a", 1), ("b", 9), ("c", 3))}
    agree(build([("Range", ["a", "b", "c"], {})], given), tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_sums(dtype, tmp_path):
    axes = [np.array(a, t) for t in (np.int32, np.int64) for a in (0, 1, -1, -3)]
    forms = [("CumSum", ["x", a], dict(exclusive=e, reverse=r)) for a in axes for e in (0, 1) for r in (0, 1)]
    agree(build(forms, {"x": numbers(dtype, 3, 4, 70)}), tmp_path)


def test_long_sums(tmp_path):
    x = np.random.default_rng(1).random((3, 100_000), np.float32)
    got, = run(build([("CumSum", ["x", np.int32(1)], {})], {"x": x}), tmp_path)
    np.testing.assert_array_equal(got, np.cumsum(x.astype(np.float64), 1).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_triangles(dtype, tmp_path):
    forms = [("Trilu", [x, *k], dict(upper=u)) for x in ("x", "wide", "tall", "stack") for u in (0, 1)
             for k in ([], *([np.int64(v)] for v in (-9, -3, -1, 0, 1, 2, 5, 8)))]
    agree(build(forms, {"x": numbers(dtype, 4, 4), "wide": numbers(dtype, 2, 5), "tall": numbers(dtype, 5, 3),
                        "stack": numbers(dtype, 2, 3, 3, 4)}), tmp_path)


@pytest.mark.parametrize("k", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("upper", [0, 1])
def test_triangles_at_the_ends(k, upper, tmp_path):
    x = numbers(np.float32, 3, 4)
    got, = run(build([("Trilu", ["x", "k"], dict(upper=upper))], {"x": x, "k": np.array(k)}), tmp_path)
    assert (got == (x if (k > 0) != upper else 0)).all()


def test_diagonals(tmp_path):
    types = [1, 11, 6, 7, 13]
    forms = [("EyeLike", [x], dict(k=k)) for x in ("x", "wide", "tall") for k in (-9, -2, 0, 1, 3, 9)]
    forms += [("EyeLike", ["wide"], dict(dtype=t, k=1)) for t in types]
    agree(build(forms, {"x": numbers(np.int32, 4, 4), "wide": numbers(np.float32, 2, 5), "tall": numbers(np.float64, 5, 3)}),
          tmp_path)


@pytest.mark.parametrize("t", [np.float16, np.int8, np.uint16, np.bool_])
def test_diagonals_of_other_types(t, tmp_path):
    m = build([("EyeLike", ["x"], dict(dtype=helper.np_dtype_to_tensor_dtype(np.dtype(t))))], {"x": numbers(np.float32, 2, 3)})
    got, = run(m, tmp_path)
    assert got.dtype == t and (got == np.eye(2, 3)).all()


@pytest.mark.parametrize("index, values", [(np.int64, np.float32), (np.int32, np.float32), (np.float32, np.float32),
                                           (np.int64, np.int64), (np.int32, np.int32)])
def test_one_of_many(index, values, tmp_path):
    x = np.array([[0, 1, -1], [5, -6, 6], [-7, 99, 2]], index)
    v = np.array([2, 7], values)
    depth = {np.int64: np.int64, np.int32: np.int32}.get(index, np.float32)
    forms = [("OneHot", ["x", d, v], dict(axis=a)) for a in (-1, 0, 1, 2, -3) for d in (depth(6), np.array([6], depth))]
    if (index, values) == (np.int32, np.int32):
        want = [np.moveaxis(np.where(np.where(x < 0, x + 6, x)[..., None] == np.arange(6), 7, 2), 2, a) for a in (0, 2)]
        got = run(build([forms[2], forms[0]], {"x": x}), tmp_path)
        assert all((g == w).all() for g, w in zip(got, want))
        return
    agree(build(forms, {"x": x}), tmp_path)


@pytest.mark.parametrize("dtype", TYPES)
def test_sequences_turned_around(dtype, tmp_path):
    forms = [("ReverseSequence", ["x", i64(1, 4, 2, 3)], dict(time_axis=0, batch_axis=1)),
             ("ReverseSequence", ["x", i64(4, 1, 3, 2)], dict(time_axis=1, batch_axis=0))]
    agree(build(forms, {"x": numbers(dtype, 4, 4, 3)}), tmp_path)


def test_lengths_that_are_computed_stay_inside(tmp_path, qonnx):
    x = numbers(np.float32, 3, 4)
    m = build([("ReverseSequence", ["x", "n"], {})], {"x": x, "n": i64(-5, 2**62, 2, -(2**63))})
    want = x.copy()
    want[:, 1] = x[::-1, 1]
    want[:2, 2] = x[1::-1, 2]
    assert (run(m, tmp_path)[0] == want).all()
    compiles(m, tmp_path, qonnx)


def test_positions_compiled(tmp_path, qonnx):
    forms = [("CumSum", ["x", np.int32(1)], dict(reverse=1)), ("CumSum", ["k", np.int32(0)], dict(exclusive=1)),
             ("Trilu", ["x", np.int64(1)], {}), ("Trilu", ["k"], dict(upper=0)), ("EyeLike", ["x"], dict(k=-1)),
             ("OneHot", ["k", np.int64(4), np.float32([1, 3])], dict(axis=1))]
    compiles(build(forms, {"x": numbers(np.float32, 3, 4), "k": np.arange(-6, 6).reshape(3, 4)}), tmp_path, qonnx)


# ---- blocks --------------------------------------------------------------------------------------------------------------

BLOCKS = [("DepthToSpace", ["x"], dict(blocksize=b, mode=m)) for b in (1, 2) for m in ("DCR", "CRD")]
BLOCKS += [("DepthToSpace", ["x"], dict(blocksize=2)), ("SpaceToDepth", ["x"], dict(blocksize=2)),
           ("SpaceToDepth", ["x"], dict(blocksize=1))]


@pytest.mark.parametrize("last", [[], ["x"]])
def test_blocks(last, tmp_path, qonnx):
    m = build(BLOCKS, {"x": numbers(np.float32, 2, 12, 4, 6)}, last=last)
    agree(m, tmp_path)
    if last:
        compiles(m, tmp_path, qonnx)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int8])
def test_blocks_of_other_types(dtype, tmp_path):
    forms = BLOCKS if dtype == np.float64 else BLOCKS[:5]  # which ONNX Runtime has
    agree(build(forms, {"x": numbers(dtype, 2, 12, 4, 6)}), tmp_path)


def test_images_of_columns(tmp_path, qonnx):
    """Blocks that overlap, in one, two and three axes."""
    x = {"x": numbers(np.float32, 2, 12, 6), "y": numbers(np.float32, 1, 8, 4), "z": numbers(np.float32, 1, 6, 5)}
    forms = [("Col2Im", ["x", i64(4, 5), i64(3, 2)], dict(strides=[1, 2], pads=[0, 0, 0, 1])),
             ("Col2Im", ["x", i64(5, 4), i64(2, 2)], dict(dilations=[3, 2], pads=[0, 0, 1, 0])),
             ("Col2Im", ["z", i64(7), i64(3)], {}),
             ("Col2Im", ["y", i64(2, 3, 3), i64(1, 2, 2)], dict(strides=[2, 1, 1]))]
    m = build(forms, x)
    agree(m, tmp_path)
    compiles(m, tmp_path, qonnx)


# ---- what was there already, on all types --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
def test_moves_of_any_type(dtype, tmp_path):
    x = numbers(dtype, 2, 3, 4)
    forms = [("Concat", ["x", "x", numbers(dtype, 2, 1, 4, seed=5)], dict(axis=1)), ("Concat", ["x"], dict(axis=-1)),
             ("Concat", ["x", numbers(dtype, 2, 3, 0)], dict(axis=2)),
             ("Slice", ["x", i64(-1, 5), i64(-9, 0), i64(0, 2), i64(-1, -2)], {}), ("Slice", ["x", i64(1), i64(9), i64(1)], {}),
             ("Slice", ["x", i64(2), i64(2), i64(1)], {}),
             ("Expand", ["x", i64(2, 1, 1, 1)], {}), ("Expand", [x[:, :1], i64(3, 4)], {}), ("Expand", ["x", i64(1)], {}),
             ("ConstantOfShape", [i64(2, 3)], dict(value=numpy_helper.from_array(numbers(dtype, 1)))),
             ("ConstantOfShape", [i64(0)], dict(value=numpy_helper.from_array(numbers(dtype, 1)))),
             ("Identity", ["x"], {}), ("Reshape", ["x", i64(0, -1)], {}), ("Reshape", ["x", i64(4, 6)], dict(allowzero=1)),
             ("Flatten", ["x"], dict(axis=2)), ("Flatten", ["x"], dict(axis=0)), ("Flatten", ["x"], dict(axis=-1)),
             ("Squeeze", [x[:, :1], i64(-2)], {}), ("Squeeze", [x[:1, :1]], {}), ("Unsqueeze", ["x", i64(0, -1)], {}),
             ("Transpose", ["x"], {}), ("Transpose", ["x"], dict(perm=[1, 2, 0])), ("Size", ["x"], {}),
             ("Shape", ["x"], {}), ("Shape", ["x"], dict(start=-2)), ("Shape", ["x"], dict(start=1, end=2))]
    if dtype in (np.uint16, np.uint32, np.uint64, np.int16, np.int8, np.float16):  # ONNX Runtime expands, slices no such
        forms = [f for f in forms if f[0] not in ("Slice", "Expand")]
    agree(build(forms, {"x": x}), tmp_path)


def test_empty(tmp_path):
    x = np.zeros((2, 0, 3), np.float32)
    forms = [("Reshape", ["x", i64(0, 3)], dict(allowzero=1)), ("Reshape", ["x", i64(0, 0, 3)], {}),
             ("Transpose", ["x"], {}), ("Slice", ["x", i64(0), i64(1)], {}), ("Size", ["x"], {}),
             ("Pad", ["x", i64(0, 1, 0, 0, 1, 0), np.float32(2)], {}), ("Tile", ["x", i64(2, 2, 2)], {}),
             ("Split", ["x", i64(1, 2)], dict(axis=2), 2), ("CumSum", ["x", np.int32(2)], {}),
             ("Concat", ["x", numbers(np.float32, 2, 1, 3)], dict(axis=1))]
    agree(build(forms, {"x": x}), tmp_path)


# ---- in integers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_moved_integers(dtype, tmp_path, qonnx):
    """Between equal parameters the integers themselves are moved, zeros put around them included."""
    s, z = np.float32(0.25), np.array(3, dtype)
    forms = [("Pad", ["x", i64(0, 0, 1, 1, 0, 0, 2, 0)], {}), ("Pad", ["x", i64(0, 0, 1, 1, 0, 0, 2, 0)], dict(mode="edge")),
             ("Split", ["x", i64(1, 2)], dict(axis=1), 2), ("Tile", ["x", i64(1, 2, 1, 1)], {})]
    m = build(forms, {"x": numbers(np.float32, 1, 3, 4, 5)}, last=["x"])
    graph = m.proto.graph
    graph.initializer.extend([numpy_helper.from_array(s, "s"), numpy_helper.from_array(z, "z")])
    pair = lambda x, y: [helper.make_node("QuantizeLinear", [x, "s", "z"], [x + "_q"]),
                         helper.make_node("DequantizeLinear", [x + "_q", "s", "z"], [y])]
    nodes = list(graph.node)
    nodes[0].output[0] = "conv"
    behind = [n for o in graph.output for n in pair(o.name, o.name + "_d")]
    del graph.node[:]
    graph.node.extend([nodes[0], *pair("conv", "x_last"), *nodes[1:], *behind])
    for o in graph.output:
        o.name += "_d"
    agree(m, tmp_path)
    compiled.compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "net")
    text = (tmp_path / "net" / "net.c").read_text()
    assert text.count("    call_dequantize(&") == len(m.names)
