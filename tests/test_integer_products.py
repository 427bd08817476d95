"""Integer matrix products and convolutions, and ranges that are found while the model runs: ONNX Runtime's numbers, for
every pair of types, zero points and batches. What ONNX allows and it does not run is compared with numpy."""

import numpy as np
import onnx
import onnxruntime
import pytest
from many_forms import Model, agrees, build, compiles, form, run, runtime, same
from onnx import helper, numpy_helper
from ort import has_vnni

TYPES = [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.uint8), (np.int8, np.int8)]
MS = "com.microsoft"
IDS = [f"{np.dtype(a).name}-{np.dtype(b).name}" for a, b in TYPES]
random = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def same_numbers():
    """Each test has its own, whatever ran before it."""
    global random
    random = np.random.default_rng(1)


def ints(dtype, *shape):
    """All values; where ONNX Runtime's sums saturate, 7 bits of signed ones."""
    info = np.iinfo(dtype)
    parts = 1 if has_vnni() or dtype != np.int8 else 2
    return np.array(random.integers(info.min // parts, info.max // parts + 1, shape), dtype)


def floats(*shape, low=-1.0, high=1.0):
    return np.array(random.uniform(low, high, shape), np.float32)


def f32(x):
    return np.array(x, np.float32)


# ---- MatMulInteger ----


@pytest.mark.parametrize("a, b", TYPES, ids=IDS)
def test_products(tmp_path, qonnx, a, b):
    """Sizes around those of a tile; the second operand constant or not."""
    x, forms = {}, []
    for i, (m, k, n) in enumerate([(1, 7, 5), (4, 1, 1), (9, 64, 33), (1, 130, 200), (17, 13, 16), (1, 4, 300)]):
        x[f"a{i}"], x[f"b{i}"] = ints(a, m, k), ints(b, k, n)
        az, bz = ints(a), ints(b, n)
        for right in (f"b{i}", x[f"b{i}"]):
            forms += [form("MatMulInteger", f"a{i}", right), form("MatMulInteger", f"a{i}", right, az),
                      form("MatMulInteger", f"a{i}", right, az, bz), form("MatMulInteger", f"a{i}", right, None, ints(b))]
    got = agrees(m := build(forms, x), tmp_path)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("a, b", TYPES[::3], ids=IDS[::3])
def test_batches(tmp_path, qonnx, a, b):
    """Batches that broadcast, vectors, zero points from outside."""
    x, forms = {"az": ints(a), "bz": ints(b, 4)}, []
    pairs = [((2, 3, 5, 6), (6, 4)), ((2, 3, 5, 6), (2, 3, 6, 4)), ((5, 6), (3, 6, 4)), ((2, 1, 5, 6), (3, 6, 4)),
             ((1, 3, 5, 6), (2, 1, 6, 4)), ((6,), (3, 6, 4)), ((6,), (6, 4)), ((3, 5, 6), (6,)), ((6,), (6,))]
    for i, (sa, sb) in enumerate(pairs):
        x[f"a{i}"], x[f"b{i}"] = ints(a, *sa), ints(b, *sb)
        columns = len(sb) == 2
        forms += [form("MatMulInteger", f"a{i}", f"b{i}", "az", "bz" if columns else None)]
        if i not in (3, 4):
            forms += [form("MatMulInteger", f"a{i}", x[f"b{i}"], "az")]
    got = agrees(m := build(forms, x), tmp_path)
    compiles(m, tmp_path, got, qonnx)


def test_zero_points_of_rows(tmp_path):
    """One a row, and one a row and matrix, or a column and matrix."""
    a, b = ints(np.uint8, 2, 3, 5), ints(np.int8, 2, 5, 4)
    lists = [(ints(np.uint8, 3), ints(np.int8, 4)), (ints(np.uint8, 2, 3, 1), ints(np.int8, 2, 1, 4))]
    forms, want = [], []
    for az, bz in lists:
        for right in (b, b[0]):
            z = bz if right is b else bz.reshape(-1)[:4]
            forms.append(form("MatMulInteger", "a", right, az, z))
            wide = az.astype(np.int32).reshape((-1, 3, 1) if az.ndim == 1 else az.shape)
            want.append((a.astype(np.int32) - wide) @ (right.astype(np.int32) - z.astype(np.int32)))
    same(m := build(forms, {"a": a}), run(m, tmp_path), want)


def test_wrapping(tmp_path):
    """Sums beyond 2^31 wrap, as ONNX Runtime's do."""
    a, b = np.full((2, 70000), 255, np.uint8), np.full((70000, 3), 255, np.uint8)
    agrees(build([form("MatMulInteger", "a", b), form("MatMulInteger", "a", "b")], {"a": a, "b": b}), tmp_path)


def test_empty(tmp_path):
    x = {"a": ints(np.uint8, 0, 4), "c": ints(np.uint8, 3, 0)}
    forms = [form("MatMulInteger", "a", ints(np.uint8, 4, 2)), form("MatMulInteger", "c", ints(np.uint8, 0, 2))]
    same(m := build(forms, x), run(m, tmp_path), [np.zeros((0, 2), np.int32), np.zeros((3, 2), np.int32)])


# ---- floats ----


@pytest.mark.parametrize("b", [np.uint8, np.int8], ids=["uint8", "int8"])
def test_to_float(tmp_path, qonnx, b):
    x = {"a": ints(np.uint8, 3, 5, 37), "x": floats(3, 5, 37), "scale": f32(0.02), "zero": ints(np.uint8)}
    w, stack = ints(b, 37, 20), ints(b, 3, 37, 20)
    scales, zeros, bias = floats(20, low=0.01, high=0.1), ints(b, 20), floats(20)
    forms = []
    for right in (w, stack):
        forms += [form("MatMulIntegerToFloat", "a", right, "scale", f32(0.03), domain=MS),
                  form("MatMulIntegerToFloat", "a", right, "scale", f32(0.03), "zero", ints(b), bias, domain=MS),
                  form("DynamicQuantizeMatMul", "x", right, f32(0.03), domain=MS),
                  form("DynamicQuantizeMatMul", "x", right, f32(0.03), ints(b), bias, domain=MS)]
    forms += [form("MatMulIntegerToFloat", "a", w, "scale", scales, "zero", zeros, bias, domain=MS),
              form("DynamicQuantizeMatMul", "x", w, scales, zeros, bias, domain=MS),
              form("DynamicQuantizeMatMul", "x", w, scales, None, bias, domain=MS)]
    got = agrees(m := build(forms, x), tmp_path, 3e-7)
    compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("low, high", [(-1, 1), (0.5, 3), (-3, -0.5), (0, 0), (-1e-30, 1e-30), (-1e38, 1e38), (-1, 254)])
def test_ranges(tmp_path, qonnx, low, high):
    x = {"x": floats(3, 50, low=low, high=high), "one": floats(1, low=low, high=high), "scalar": f32(high)}
    got = agrees(m := build([form("DynamicQuantizeLinear", k, outputs=3) for k in x], x), tmp_path)
    if low == -1:
        compiles(m, tmp_path, got, qonnx)


def test_ranges_of_images(tmp_path):
    """Memory in either order of axes, outputs that are left out, values far apart."""
    x = {"x": np.exp(floats(2, 5, 6, 7, low=-20, high=20))}
    forms = [form("DynamicQuantizeLinear", "x", outputs=3) for _ in range(3)]
    agrees(m := build(forms, x, last=("x",)), tmp_path)
    want = runtime(m)
    for k in range(3):
        lone = build(forms[:1], x)
        for j in range(2, -1, -1):
            if j != k:
                del lone.proto.graph.output[j]
        lone = lone._replace(names=[lone.names[k]])
        same(lone, run(lone, tmp_path), want[k:k + 1])


# ---- between DequantizeLinear and QuantizeLinear ----


def dequantized(name, array, scale, constant=False):
    """The nodes and constants of a DequantizeLinear of the input or constant `name`."""
    zero = np.zeros(np.shape(scale), array.dtype) if constant and array.dtype == np.int8 else np.array(ints(array.dtype))
    parts = {f"{name}_s": f32(scale), f"{name}_z": np.broadcast_to(zero, np.shape(scale)).copy()}
    node = helper.make_node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_f"], axis=1)
    return [node], parts | ({name: array} if constant else {})


@pytest.mark.parametrize("a, b", [TYPES[0], TYPES[1], TYPES[3]], ids=[IDS[0], IDS[1], IDS[3]])
@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_groups(tmp_path, qonnx, op, a, b):
    """Products that give floats, and such of two activations: integers, as ONNX Runtime has them."""
    columns = floats(20, low=0.01, high=0.1)
    x = {"a": ints(a, 9, 37), "b": ints(b, 37, 20)}
    rights = [("b", x["b"], 0.03, False), ("w", ints(b, 37, 20), 0.03, True)]
    if b == np.int8:
        rights.append(("v", ints(b, 37, 20), columns, True))
    if op == "MatMul":
        x |= {"a": ints(a, 2, 3, 9, 37), "c": ints(b, 2, 3, 37, 20)}
        rights.append(("c", x["c"], 0.03, False))
    nodes, constants = dequantized("a", x["a"], 0.02)
    outs, names = [], []
    for name, array, scale, constant in rights:
        more, parts = dequantized(name, array, scale, constant)
        constants |= parts | {f"{name}_i": ints(np.int32, 20) // 2**18, f"{name}_is": f32(0.02) * f32(scale)}
        nodes += more + [helper.make_node("DequantizeLinear", [f"{name}_i", f"{name}_is"], [f"{name}_bias"], axis=0)]
        biased = op == "Gemm" and name in ("v", "w") and b == np.int8
        for q in (False, True):
            y = f"{name}_{'q' if q else 'y'}"
            nodes.append(helper.make_node(op, ["a_f", f"{name}_f"] + [f"{name}_bias"] * biased, [y]))
            if q:
                constants |= {"s": f32(1.7), "z": ints(a)}
                nodes.append(helper.make_node("QuantizeLinear", [y, "s", "z"], [y := f"{name}_out"]))
            outs.append(y)
            names.append(f"{op} {a.__name__} {name} {'to bytes' if q else 'to float'}")
    info = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in x.items()]
    graph = helper.make_graph(nodes, "groups", info, [onnx.ValueInfoProto(name=o) for o in outs],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    m = Model(proto, {k: v for k, v in x.items()}, names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    want = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, m.inputs)
    got = run(m, tmp_path)
    for name, g, w in zip(names, got, want):
        assert g.dtype == w.dtype and g.shape == w.shape, name
        if g.dtype == np.float32:
            near = 3e-7 if a == np.uint8 else 2e-6  # int8 from outside: it computes in float
            np.testing.assert_allclose(g, w, rtol=near, atol=near * np.abs(w).max(), err_msg=name)
        elif a == np.int8:  # nor are ties the same then
            apart = np.abs(g.astype(int) - w)
            assert apart.max() <= 1 and apart.sum() <= max(1, apart.size // 1000), name
        else:
            np.testing.assert_array_equal(g, w, name)
    got = run(m, tmp_path, "--engine", "portable")
    compiles(m, tmp_path, got, qonnx)


# ---- ConvInteger ----


def convolved(x, w, xz, wz, **attributes):
    """The exact sums, by a Conv of doubles that ONNX Runtime has as floats: they fit."""
    inputs = {"x": (x.astype(np.float32) - np.float32(xz)), "w": w.astype(np.float32) - np.float32(wz).reshape(-1, 1, 1, 1)}
    return runtime(build([form("Conv", "x", "w", **attributes)], inputs))[0].astype(np.int32)


@pytest.mark.parametrize("a, b", TYPES, ids=IDS)
def test_convolutions(tmp_path, qonnx, a, b):
    """Padding, strides, dilations and groups; weights constant or not, with zero points of channels."""
    kinds = [((5, 3, 3, 3), {"pads": [1, 1, 1, 1]}), ((4, 3, 2, 3), {"strides": [2, 1], "pads": [0, 1, 2, 1]}),
             ((16, 3, 1, 1), {}), ((6, 3, 3, 3), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
             ((6, 1, 3, 3), {"group": 3, "auto_pad": "SAME_UPPER"}), ((3, 1, 3, 2), {"group": 3}),
             ((33, 3, 7, 7), {"pads": [3, 3, 3, 3]})]
    x = {"x": ints(a, 2, 3, 9, 10), "xz": ints(a)}
    forms, want = [], []
    for i, (shape, attributes) in enumerate(kinds):
        w, zeros = ints(b, *shape), ints(b, shape[0])
        single = np.array(zeros[0])
        for wz in (None, single, zeros, np.array(128 if b == np.uint8 else 0, b)):
            right = w
            if wz is single and i < 2:
                x[f"w{i}"] = w
                right = f"w{i}"
            forms.append(form("ConvInteger", "x", right, "xz", wz, **attributes))
            want.append(convolved(x["x"], w, x["xz"], 0 if wz is None else wz, **attributes))
        forms.append(form("ConvInteger", "x", w, **attributes))
        want.append(convolved(x["x"], w, 0, 0, **attributes))
    m = build(forms, x)
    got = run(m, tmp_path, "--engine", "portable")
    same(m, got, want)
    same(m, run(m, tmp_path), want)
    constant = build([f for f in forms if isinstance(f[1][1], np.ndarray)], {k: x[k] for k in ("x", "xz")})
    got = run(constant, tmp_path, "--engine", "portable")
    compiles(constant, tmp_path, got, qonnx)


def test_convolutions_of_onnxruntime(tmp_path):
    x = {"x": ints(np.uint8, 2, 4, 9, 10), "line": ints(np.uint8, 1, 4, 20), "solid": ints(np.uint8, 1, 4, 5, 6, 7)}
    forms = [form("ConvInteger", k, ints(np.uint8, 6, 2, *[3] * (v.ndim - 2)), ints(np.uint8), ints(np.uint8), group=2,
                  pads=[1] * 2 * (v.ndim - 2)) for k, v in x.items()]
    agrees(build(forms, x), tmp_path)


# ---- QLinear operators whose weights are not as the integer kernels have them ----


@pytest.mark.parametrize("a, b", [TYPES[0], TYPES[1], TYPES[3]], ids=[IDS[0], IDS[1], IDS[3]])
def test_qlinear(tmp_path, qonnx, a, b):
    """uint8 weights with zero points, computed weights, scales and zero points of channels."""
    x = {"x": ints(a, 2, 4, 9, 10), "a": ints(a, 9, 37), "s": f32(0.05), "z": ints(a), "stack": ints(a, 3, 9, 37)}
    conv, matrix, out = ints(b, 6, 4, 3, 3), ints(b, 37, 20), (f32(9.7), ints(a))
    forms = []
    for scale in (f32(0.02), "ws"):
        for w in ("w", conv):
            s = floats(6, low=0.01, high=0.05) if scale == "ws" else scale
            z = np.full(6, ints(b), b) if scale == "ws" else ints(b)
            forms += [form("QLinearConv", "x", "s", "z", w, s, z, *out, pads=[1, 0, 1, 0]),
                      form("QLinearConv", "x", "s", "z", w, s, z, *out, ints(np.int32, 6) // 2**18, strides=[2, 2])]
        for w in ("m", matrix):
            s = floats(20, low=0.01, high=0.05) if scale == "ws" else scale
            z = ints(b, 20) if scale == "ws" else ints(b)
            forms += [form("QLinearMatMul", k, "s", "z", w, s, z, *out) for k in ("a", "stack")]
            if a == np.uint8:
                forms += [form("QGemm", "a", "s", "z", w, s, z, ints(np.int32, 20) // 2**18, *out, domain=MS)]
    x |= {"w": conv, "m": matrix}
    got = agrees(m := build(forms, x), tmp_path)
    constant = build([f for f in forms if isinstance(f[1][3], np.ndarray)], x)
    got = run(constant, tmp_path, "--engine", "portable")
    compiles(constant, tmp_path, got, qonnx)


def test_qgemm(tmp_path):
    a, t = ints(np.uint8, 9, 37), ints(np.uint8, 37, 9)
    w, wt = ints(np.uint8, 37, 20), ints(np.uint8, 20, 37)
    q = (f32(0.05), ints(np.uint8))
    r, c = (f32(0.02), ints(np.uint8)), ints(np.int32, 20) // 2**18
    out = (f32(9.7), ints(np.uint8))
    forms = [form("QGemm", "a", *q, w, *r, c, *out, domain=MS, alpha=0.7),
             form("QGemm", "t", *q, w, *r, None, *out, domain=MS, transA=1),
             form("QGemm", "t", *q, wt, *r, c, *out, domain=MS, transA=1, transB=1, alpha=1.3),
             form("QGemm", "a", *q, w, *r, np.array([700], np.int32), *out, domain=MS),
             form("QGemm", "a", *q, w, *r, domain=MS), form("QGemm", "a", *q, wt, *r, c, domain=MS, transB=1)]
    agrees(build(forms, {"a": a, "t": t}), tmp_path, 3e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
def test_computed_parameters(tmp_path, qonnx, dtype):
    """Elementwise QLinear operators with scales and zero points from outside; QLinearWhere. (Sums that
    lie at a tie may go the other way: ONNX Runtime divides the scales first.)"""
    q = {"s": f32(0.02137), "z": ints(dtype), "s2": f32(0.03179), "z2": ints(dtype), "so": f32(0.05291), "zo": ints(dtype)}
    x = {"x": ints(dtype, 2, 3, 20), "y": ints(dtype, 3, 1), "c": ints(np.uint8, 3, 20) > 100} | q
    forms = []
    for p in (list(q), list(q.values())):
        a, b, out = p[:2], p[2:4], p[4:]
        forms += [form("QLinearAdd", "x", *a, "y", *b, *out, domain=MS), form("QLinearMul", "x", *a, "y", *b, *out, domain=MS),
                  form("QLinearLeakyRelu", "x", *a, *out, domain=MS, alpha=0.3),
                  form("QLinearSigmoid", "x", *a, f32(1 / 256), out[1], domain=MS),
                  form("QLinearConcat", *out, "x", *a, "x", *b, domain=MS, axis=1),
                  form("QLinearWhere", "c", "x", *a, "y", *b, *out, domain=MS)]
    got = agrees(m := build(forms, x), tmp_path)
    compiles(m, tmp_path, got, qonnx)
    zero = np.zeros((), dtype)  # what is left out, which ONNX Runtime refuses
    m = build([form("QLinearAdd", "x", "s", None, "y", "s2", None, "so", domain=MS)], x)
    want = runtime(build([form("QLinearAdd", "x", "s", zero, "y", "s2", zero, "so", zero, domain=MS)], x))
    same(m, run(m, tmp_path), want)


def test_ties_of_constants(tmp_path, qonnx):
    """A product with constants that have a zero point rounds once, as QLinearMatMul does: -216750 times the scales is
    -76.5 in float, and another number where floats are multiplied and added."""
    a = np.array([[79, 60, 221, 29, 40, 141, 157, 163, 46, 54, 27, 247, 117, 79, 154, 44, 132, 136, 149, 195, 109, 66, 209, 148,
                   69, 124, 50, 27, 215, 132, 109, 211, 175, 41, 57, 44, 33]] * 9, np.uint8)
    b = np.array([[26, 254, 54, 130, 126, 128, 55, 164, 156, 68, 93, 91, 190, 10, 21, 13, 180, 3, 120, 164, 163, 253, 13, 181, 64,
                   108, 213, 121, 48, 72, 120, 72, 179, 137, 132, 216, 92]] * 20, np.uint8).T
    constants = {"as": f32(0.02), "az": np.uint8(24), "b": b, "bs": f32(0.03), "bz": np.uint8(170), "s": f32(1.7),
                 "z": np.uint8(122)}
    nodes = [helper.make_node("DequantizeLinear", ["a", "as", "az"], ["a_f"]),
             helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["b_f"]),
             helper.make_node("MatMul", ["a_f", "b_f"], ["y"]), helper.make_node("QuantizeLinear", ["y", "s", "z"], ["out"])]
    graph = helper.make_graph(nodes, "tie", [helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, a.shape)],
                              [onnx.ValueInfoProto(name="out")], [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    want, = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"a": a})
    got, = run(Model(proto, {"a": a}, ["tie"]), tmp_path)
    np.testing.assert_array_equal(got, want)
    assert (want == 46).all()
