"""Losses, spectra, random numbers, and what else is a formula of its own: against ONNX Runtime where it has the
operator for the type, else against numpy or ONNX's reference. Compiled models give the bytes of the command."""

import many_forms
import numpy as np
import onnx
import pytest
from many_forms import agrees, build, compiles, run, runtime, same
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def form(op, *operands, **more):
    """A node, whose numbers are constants."""
    return many_forms.form(op, *[np.asarray(o) if isinstance(o, np.generic) else o for o in operands], **more)


def i64(*values):
    return np.array(values, np.int64)


def reals(*shape, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def referenced(m):
    """What ONNX's reference gives."""
    return ReferenceEvaluator(m.proto).run(None, m.inputs)


# ---- losses --------------------------------------------------------------------------------------------------------------


def losses(t, dtype=np.float32):
    """Forms of both losses, with inputs of rank 2, 3 and 5, whose targets have that type."""
    random = np.random.default_rng(3)
    shapes = {"a": (6, 5), "b": (3, 5, 7), "c": (2, 5, 3, 2, 70)}
    inputs = {n: reals(*s, seed=k, dtype=dtype) for k, (n, s) in enumerate(shapes.items())}
    for n, s in shapes.items():
        inputs[f"{n}_t"] = random.integers(0, 5, (s[0], *s[2:])).astype(t)
    inputs["a_out"] = np.array([0, -1, 3, -1, 4, 2], t)
    inputs["w"] = random.random(5).astype(dtype)
    forms = []
    for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"):
        two = [[True, True]] if op[0] == "S" else []
        for how in ("none", "sum", "mean"):
            for outputs in [1, *two]:
                forms += [form(op, x, f"{x}_t", *w, outputs=outputs, reduction=how, **ignored)
                          for x in "abc" for w in ((), ("w",)) for ignored in ({}, dict(ignore_index=2))]
            forms += [form(op, "a", "a_out", *w, reduction=how, ignore_index=-1) for w in ((), ("w",))]
        forms.append(form(op, "b", "b_t"))
    return forms, inputs


@pytest.mark.parametrize("t", [np.int32, np.int64])
def test_losses(t, tmp_path):
    forms, inputs = losses(t)
    agrees(build(forms, inputs, 13), tmp_path, 5e-6)  # sums of floats that cancel


def test_losses_of_other_types(tmp_path):
    for dtype, error in ((np.float64, 1e-14), (np.float16, 2e-3)):
        forms, inputs = losses(np.int64, dtype)
        m = build([f for f in forms if "a_out" not in f[1]], inputs, 13)
        same(m, run(m, tmp_path), referenced(m), error)


def test_nothing_but_ignored_targets(tmp_path):
    m = build([form("NegativeLogLikelihoodLoss", "x", "t", ignore_index=2**40, reduction=r) for r in ("none", "sum", "mean")],
              {"x": reals(2, 3), "t": i64(2**40, 2**40)}, 13)
    none, total, mean = run(m, tmp_path)
    assert (none == 0).all() and total == 0 and np.isnan(mean)


def test_computed_targets_outside_are_the_nearest(tmp_path):
    x = reals(4, 3)
    got, = run(build([form("NegativeLogLikelihoodLoss", "x", "t", reduction="none")],
                     {"x": x, "t": i64(-2**63, -1, 3, 2**63 - 1)}, 13), tmp_path)
    assert (got == [-x[0, 0], -x[1, 0], -x[2, 2], -x[3, 2]]).all()


# ---- spectra -------------------------------------------------------------------------------------------------------------


def transforms(opset):
    """Forms of DFT: real and complex, of lengths with small and large prime factors, along any axis."""
    forms = []
    for x in ("real", "complex"):
        for axis in (0, 1, 2, -2):
            for length in (None, np.int64(1), np.int64(8), np.int64(31), i64(60)):
                for inverse in (0, 1):
                    given = dict(axis=axis) if opset < 20 else {}
                    more = [] if opset < 20 else [np.int64(axis)]
                    forms.append(form("DFT", x, length, *more, inverse=inverse, **given))
                if x == "real":
                    forms.append(form("DFT", x, length, *more, onesided=1, **given))
    forms.append(form("DFT", "real"))
    return forms


@pytest.mark.parametrize("opset", [17, 20])
def test_transforms(opset, tmp_path, qonnx):
    inputs = {"real": reals(3, 5, 12, 1), "complex": reals(3, 5, 12, 2, seed=2)}
    m = build(transforms(opset), inputs, opset)
    got = run(m, tmp_path)
    want = [spectrum(f[1], f[4], inputs, opset) for f in transforms(opset)]
    same(m, got, want, 1e-6)
    compiles(m, tmp_path, got, qonnx)


def spectrum(operands, attributes, inputs, opset):
    """numpy's transform, in double."""
    x = inputs[operands[0]].astype(np.float64)
    x = x[..., 0] + (1j * x[..., 1] if x.shape[-1] == 2 else 0)
    axis = attributes.get("axis", 1) if opset < 20 else int(operands[2]) if len(operands) > 2 else -2
    axis = axis + 1 if axis < 0 else axis
    length = int(np.ravel(operands[1])[0]) if len(operands) > 1 and operands[1] is not None else None
    y = (np.fft.ifft if attributes.get("inverse") else np.fft.fft)(x, length, axis)
    if attributes.get("onesided"):
        y = y.take(range(y.shape[axis] // 2 + 1), axis)
    return np.stack([y.real, y.imag], -1).astype(np.float32)


@pytest.mark.parametrize("length", [2**14, 3**8, 4 * 4099, 9973])
def test_long_transforms(length, tmp_path):
    x = reals(1, length, 1)
    got, = run(build([form("DFT", "x")], {"x": x}, 17), tmp_path)
    want = np.fft.fft(x[..., 0].astype(np.float64))
    assert np.abs(got[..., 0] + 1j * got[..., 1] - want).max() < 1e-7 * np.abs(want).max()


def test_a_real_result(tmp_path):
    """The half of a symmetric spectrum gives real numbers."""
    x = reals(2, 9, 4, 2)
    forms = [form("DFT", "x", *n, np.int64(a), inverse=1, onesided=1)
             for a in (0, 1, 2) for n in ([None], [np.int64(16)], [np.int64(7)], [np.int64(40)])]
    m = build(forms, {"x": x}, 20)
    same(m, run(m, tmp_path), referenced(m), 1e-6)


def test_transforms_of_doubles(tmp_path):
    x = reals(2, 45, 1, dtype=np.float64)
    got, = run(build([form("DFT", "x")], {"x": x}, 17), tmp_path)
    want = np.fft.fft(x[..., 0])
    assert np.abs(got[..., 0] + 1j * got[..., 1] - want).max() < 1e-15 * np.abs(want).max() * 4


def test_frames(tmp_path, qonnx):
    x, z = reals(2, 100, 1), reals(2, 100, 2)
    window = np.hanning(24).astype(np.float32)
    forms = [form("STFT", s, np.int64(step), *more, onesided=o) for s, o in (("x", 1), ("x", 0), ("z", 0))
             for step in (1, 7, 200) for more in ([window], [None, np.int64(31)], [window, np.int64(24)])]
    m = build(forms, {"x": x, "z": z}, 17)
    agrees(m, tmp_path, 2e-5)  # ONNX Runtime's error
    got = run(m, tmp_path)
    for f, y in zip(forms, got):
        s, step = (x[..., 0], z[..., 0] + 1j * z[..., 1])[f[1][0] == "z"], int(f[1][1])
        w = window if f[1][2] is not None else np.ones(31)
        parts = [s[:, i:i + len(w)] * w for i in range(0, 101 - len(w), step)]
        want = np.fft.fft(np.stack(parts, 1).astype(np.complex128))[..., :y.shape[2]]
        assert np.abs(y[..., 0] + 1j * y[..., 1] - want).max() < 1e-6 * np.abs(want).max()
    compiles(m, tmp_path, got, qonnx)


def test_windows(tmp_path):
    forms = [form(op, t(size), periodic=p, output_datatype=d) for op in ("HannWindow", "HammingWindow", "BlackmanWindow")
             for t in (np.int32, np.int64) for size in (3, 9, 1000) for p in (0, 1)
             for d in (TensorProto.FLOAT, TensorProto.DOUBLE)]
    agrees(build(forms, {"x": reals(1)}, 17), tmp_path, 2e-6)


def test_windows_of_other_types(tmp_path):
    m = build([form("HannWindow", np.int64(9), output_datatype=d) for d in (TensorProto.FLOAT16, TensorProto.INT32)],
              {"x": reals(1)}, 17)
    half, whole = run(m, tmp_path)
    want = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(9) / 9)
    assert half.dtype == np.float16 and (half == want.astype(np.float16)).all()
    assert whole.dtype == np.int32 and (whole == want.astype(np.int32)).all()


def test_a_window_whose_size_is_fed(tmp_path):
    got, = run(build([form("HannWindow", "n")], {"n": np.int64(50)}, 17), tmp_path)
    assert got.shape == (50,)


def test_mel_weights(tmp_path, qonnx):
    forms = [form("MelWeightMatrix", t(mels), t(length), t(rate), np.float32(low), np.float32(high), output_datatype=d)
             for t in (np.int32, np.int64) for mels, length, rate, low, high in
             ((8, 16, 8192, 0, 4096), (80, 400, 16000, 0, 8000), (40, 512, 16000, 20, 7600), (128, 64, 44100, 50, 20000))
             for d in (TensorProto.FLOAT, TensorProto.DOUBLE)]
    agrees(build(forms, {"x": reals(1)}, 17), tmp_path, 1e-6)
    m = build([form("MelWeightMatrix", i64(80), i64(400), "rate", "low", "high")],
              {"rate": np.int64(16000), "low": np.float32(0), "high": np.float32(8000)}, 17)
    compiles(m, tmp_path, run(m, tmp_path), qonnx)


# ---- elementwise and along an axis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [np.int8, np.int16, np.int32, np.int64])
def test_shifts_of_signed_integers(t, tmp_path, qonnx):
    bits = np.iinfo(t).bits
    x = np.array([1, -1, 77, -77, np.iinfo(t).min, np.iinfo(t).max], t)[:, None]
    by = np.array([0, 1, 3, bits - 1, bits, 100, -1, np.iinfo(t).min], t)
    m = build([form("BitShift", "x", "by", direction=d) for d in ("LEFT", "RIGHT")], {"x": x, "by": by}, 28)
    left, right = run(m, tmp_path)
    far = (by < 0) | (by >= bits)
    n = np.where(far, 0, by).astype(t)
    assert (left == np.where(far, 0, x << n)).all()
    assert (right == np.where(far, np.where(x < 0, -1, 0), x >> n)).all()
    compiles(m, tmp_path, [left, right], qonnx)


@pytest.mark.parametrize("t", [np.float16, np.float32, np.float64])
def test_rests_of_the_sign_of_the_divisor(t, tmp_path, qonnx):
    special = np.array([0, -0.0, 1, -1, 2.5, -2.5, 1e-3, 7, -7, np.inf, -np.inf, np.nan, 1e4, 3.3], t)
    m = build([form("Mod", "x", "y")], {"x": special[:, None], "y": special}, 28)
    got, = run(m, tmp_path)
    with np.errstate(invalid="ignore"):
        want = np.mod(special[:, None].astype(np.float64), special.astype(np.float64)).astype(t)
    assert np.array_equal(got, want, equal_nan=True)
    some = ~np.isnan(want)
    assert (np.signbit(got) == np.signbit(want))[some].all()
    if t != np.float16:
        compiles(m, tmp_path, [got], qonnx)


@pytest.mark.parametrize("t", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64])
def test_products_so_far(t, tmp_path, qonnx):
    x = np.random.default_rng(1).integers(1, 4, (3, 5, 70)).astype(t)
    forms = [form("CumProd", "x", np.int64(a), exclusive=e, reverse=r) for a in (0, 1, -2) for e in (0, 1) for r in (0, 1)]
    m = build(forms, {"x": x}, 26)
    got = run(m, tmp_path)
    for f, y in zip(forms, got):
        axis, way = int(f[1][1]), slice(None, None, -1 if f[4]["reverse"] else 1)
        want = np.moveaxis(np.cumprod(np.moveaxis(x, axis, 0)[way], 0, dtype=t), 0, 0)
        if f[4]["exclusive"]:
            want = np.concatenate([np.ones_like(want[:1]), want[:-1]])
        assert (y == np.moveaxis(want[way], 0, axis)).all(), f
    if t != np.float16:
        compiles(m, tmp_path, got, qonnx)


def test_the_same_bits_as_another_type(tmp_path, qonnx):
    types = {np.float32: (np.int32, np.uint32), np.float64: (np.int64, np.uint64), np.float16: (np.int16, np.uint16),
             np.int8: (np.uint8, np.bool_), np.uint16: (np.float16, np.int16), np.bool_: (np.int8,)}
    inputs, forms, want = {}, [], []
    for k, (t, others) in enumerate(types.items()):
        x = reals(2, 9).astype(t) if np.dtype(t).kind == "f" else np.arange(-2, 16).reshape(2, 9).astype(t)
        inputs[f"x{k}"] = x
        for other in others:
            forms.append(form("BitCast", f"x{k}", to=helper.np_dtype_to_tensor_dtype(np.dtype(other))))
            want.append(x != 0 if other == np.bool_ else x.view(other))
    m = build(forms, inputs, 26)
    same(m, run(m, tmp_path), want)
    few = build([f for f in forms if "x2" not in f[1] and "x4" not in f[1]],
                {k: v for k, v in inputs.items() if k not in ("x2", "x4")}, 26)
    compiles(few, tmp_path, run(few, tmp_path), qonnx)


def test_bits_of_what_is_computed_in_half(tmp_path):
    x = reals(40).astype(np.float16)
    mid = build([form("Mul", "x", "x"), form("BitCast", "y0_0", to=TensorProto.INT16),
                 form("Add", "y1_0", np.array([1], np.int16)), form("BitCast", "y2_0", to=TensorProto.FLOAT16),
                 form("Add", "y3_0", "x")], {"x": x}, 26)
    got = run(mid, tmp_path)
    y = x * x
    z = (y.view(np.int16) + np.int16(1)).view(np.float16)
    same(mid, got, [y, y.view(np.int16), y.view(np.int16) + np.int16(1), z, z + x])


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_of_doubles(axis, tmp_path, qonnx):
    x = reals(3, 40, 5, dtype=np.float64) * 9
    m = build([form(op, "x", axis=axis) for op in ("Softmax", "LogSoftmax")], {"x": x}, 13)
    got = agrees(m, tmp_path, 1e-14)
    compiles(m, tmp_path, got, qonnx)
    hard, = run(build([form("Hardmax", "x", axis=axis)], {"x": x}, 13), tmp_path)
    assert (hard == (x == x.max(axis, keepdims=True))).all() and hard.dtype == x.dtype


# ---- matrices, pictures, regions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_determinants(dtype, tmp_path, qonnx):
    shapes = [(1, 1), (2, 2), (7, 7), (3, 2, 4, 4), (0, 3, 3)]
    inputs = {f"x{k}": reals(*s, seed=k, dtype=dtype) for k, s in enumerate(shapes)}
    inputs["x1"][0] = 0
    m = build([form("Det", x) for x in inputs], inputs, 11)
    got = run(m, tmp_path)
    same(m, got, [np.linalg.det(x.astype(np.float64)).astype(dtype) for x in inputs.values()], 1e-6)
    full = build([form("Det", x) for x in inputs if x != "x4"], {k: v for k, v in inputs.items() if k != "x4"}, 11)
    compiles(full, tmp_path, run(full, tmp_path), qonnx)
    agrees(full, tmp_path, 1e-5) if dtype == np.float32 else None


def deformed(dtype):
    """Forms of DeformConv: strides, dilations, pads, groups of both kinds, bias and mask."""
    forms, inputs = [], {"x": reals(2, 4, 7, 8, dtype=dtype), "b": reals(6, seed=9, dtype=dtype)}
    given = [dict(strides=[1, 1], pads=[0] * 4), dict(strides=[2, 1], pads=[1, 0, 2, 3]),
             dict(strides=[1, 2], pads=[1] * 4, dilations=[2, 2]), dict(strides=[1, 1], pads=[0] * 4, group=2, offset_group=2),
             dict(strides=[1, 1], pads=[1] * 4, offset_group=4)]
    for k, how in enumerate(given):
        d, p = how.get("dilations", [1, 1]), how["pads"]
        oh = (7 + p[0] + p[2] - d[0] * 2 - 1) // how["strides"][0] + 1
        ow = (8 + p[1] + p[3] - d[1] - 1) // how["strides"][1] + 1
        g = how.get("offset_group", 1)
        inputs |= {f"w{k}": reals(6, 4 // how.get("group", 1), 3, 2, seed=k, dtype=dtype),
                   f"o{k}": 2 * reals(2, g * 12, oh, ow, seed=k + 20, dtype=dtype),
                   f"m{k}": reals(2, g * 6, oh, ow, seed=k + 40, dtype=dtype)}
        forms += [form("DeformConv", "x", f"w{k}", f"o{k}", *more, **how)
                  for more in ([], ["b"], ["b", f"m{k}"], [None, f"m{k}"])]
    return build(forms, inputs, 19)


def test_deformed_convolutions(tmp_path, qonnx):
    m = deformed(np.float32)
    got = agrees(m, tmp_path, 1e-6)
    compiles(m, tmp_path, got, qonnx)
    wide = deformed(np.float64)
    same(wide, run(wide, tmp_path), runtime(wide), 1e-14)


def test_greatest_of_regions(tmp_path, qonnx):
    boxes = np.array([[0, 0, 0, 5, 5], [1, 2, 1, 9, 4], [0, 3, 3, 3, 3], [1, -4, -2, 20, 30], [0, 8, 6, 2, 1],
                      [1, 0.5, 1.5, 2.5, 7.5], [0, 40, 40, 50, 50]], np.float32)
    x = reals(2, 3, 9, 11)
    forms = [form("MaxRoiPool", "x", "boxes", pooled_shape=s, **scale)
             for s in ([1, 1], [2, 3], [7, 7], [12, 1]) for scale in ({}, dict(spatial_scale=0.5), dict(spatial_scale=1.7))]
    m = build(forms, {"x": x, "boxes": boxes}, 13)
    got = agrees(m, tmp_path)
    compiles(m, tmp_path, got, qonnx)
    other = np.array([[9, 0, 0, 5, 5], [-3, 0, 0, 5, 5], [np.nan, np.nan, 0, np.inf, -np.inf]], np.float32)
    m = build([form("MaxRoiPool", "x", "boxes", pooled_shape=[1, 1])], {"x": x, "boxes": other}, 13)
    got, = run(m, tmp_path)
    assert (got[0, :, 0, 0] == x[1, :, :6, :6].max((1, 2))).all() and (got[1, :, 0, 0] == x[0, :, :6, :6].max((1, 2))).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_batch_norms_in_training(dtype, tmp_path, qonnx):
    inputs = {"x": reals(4, 3, 5, 6, dtype=dtype), "flat": reals(7, 3, dtype=dtype),
              **{n: np.abs(reals(3, seed=k, dtype=dtype)) for k, n in enumerate("sbmv")}}
    forms = [form("BatchNormalization", x, *"sbmv", outputs=[True, *more], training_mode=1, momentum=0.7, epsilon=1e-3)
             for x in ("x", "flat") for more in ([], [True, True], [True, False])]
    m = build(forms, inputs, 15)
    got, want, kept, e = run(m, tmp_path), [], float(np.float32(0.7)), float(np.float32(1e-3))
    for f in forms:
        x, axes = inputs[f[1][0]].astype(np.float64), (0, 2, 3) if f[1][0] == "x" else (0,)
        s, b, mean, var = (inputs[n].astype(np.float64).reshape(-1, *[1] * (x.ndim - 2)) for n in "sbmv")
        now, spread = x.mean(axes, keepdims=True)[0], x.var(axes, keepdims=True)[0]
        all_three = [(x - now) / np.sqrt(spread + e) * s + b, mean * kept + now * (1 - kept),
                     var * kept + spread * (1 - kept)]
        want += [(all_three[0] if k == 0 else all_three[k].ravel()).astype(dtype) for k, used in enumerate(f[2]) if used]
    same(m, got, want, {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-14}[dtype])
    if dtype != np.float16:
        compiles(m, tmp_path, got, qonnx)


def test_batch_norms_of_doubles(tmp_path):
    inputs = {"x": reals(4, 3, 5, 6, dtype=np.float64),
              **{n: np.abs(reals(3, seed=k, dtype=np.float64)) for k, n in enumerate("sbmv")}}
    m = build([form("BatchNormalization", "x", *"sbmv"), form("BatchNormalization", "x", *[inputs[n] for n in "sbmv"])],
              inputs, 15)
    agrees(m, tmp_path, 1e-13)


# ---- random numbers ------------------------------------------------------------------------------------------------------


def numbers(seed=None):
    given = {} if seed is None else dict(seed=seed)
    n = 100_000
    return build([form("RandomUniform", shape=[n], low=-2.0, high=6.0, **given),
                  form("RandomNormal", shape=[10, n // 10], mean=3.0, scale=2.0, **given),
                  form("RandomUniformLike", "x", dtype=TensorProto.DOUBLE, **given), form("RandomNormalLike", "x", **given),
                  form("Bernoulli", "odds", dtype=TensorProto.INT32, **given), form("Bernoulli", "odds", **given),
                  form("Multinomial", "logs", sample_size=n, **given),
                  form("Multinomial", "logs", sample_size=n, dtype=TensorProto.INT64, **given)],
                 {"x": reals(n), "odds": np.full(n, 0.3, np.float32), "logs": np.log(np.float32([[1, 2, 5], [4, 1e-30, 4]]))}, 15)


def test_random_numbers(tmp_path, qonnx):
    m = numbers()
    uniform, normal, wide, like, ints, floats, few, many = got = run(m, tmp_path)
    for g, w in zip(got, runtime(m)):
        assert g.dtype == w.dtype and g.shape == w.shape
    assert -2 <= uniform.min() < -1.9 and 5.9 < uniform.max() < 6 and abs(uniform.mean() - 2) < 0.05
    assert np.abs(np.histogram(uniform, 16, (-2, 6))[0] / 6250 - 1).max() < 0.05
    assert abs(normal.mean() - 3) < 0.05 and abs(normal.std() - 2) < 0.05
    assert abs(((normal - 3) ** 3).mean()) < 0.3 and abs(((normal - 3) ** 4).mean() / 48 - 1) < 0.06
    assert 0 <= wide.min() and wide.max() < 1 and abs(wide.mean() - 0.5) < 0.01
    assert abs(like.mean()) < 0.02 and abs(like.std() - 1) < 0.02
    assert set(ints) == {0, 1} and abs(ints.mean() - 0.3) < 0.01 and abs(floats.mean() - 0.3) < 0.01
    for y in (few, many):
        assert np.abs(np.bincount(y[0], minlength=3) / y.shape[1] - [1 / 8, 2 / 8, 5 / 8]).max() < 0.01
        assert np.abs(np.bincount(y[1], minlength=3) / y.shape[1] - [0.5, 0, 0.5]).max() < 0.01
    assert (ints != floats).any() and np.abs(np.corrcoef(uniform, like)[0, 1]) < 0.02
    again = run(m, tmp_path, "-j", "2")
    assert all((a == b).all() for a, b in zip(got, again))
    compiles(m, tmp_path, got, qonnx)


def test_random_numbers_of_a_seed(tmp_path):
    one, two, other = (run(numbers(s), tmp_path) for s in (7.0, 7.0, 8.0))
    assert all((a == b).all() for a, b in zip(one, two)) and all((a != b).any() for a, b in zip(one, other))
    assert (one[4] == one[5]).all()  # the same seed, the same numbers, as in ONNX Runtime


def test_random_numbers_are_not_folded(done, tmp_path):
    """A model that is written anew has its operators as before, and numbers that are still random."""
    forms = [form("RandomUniformLike", np.zeros(4, np.float32)), form("Bernoulli", np.full(4, 0.5, np.float32)),
             form("Dropout", np.ones(4, np.float32), np.float32(0.5), np.asarray(True)), form("Relu", "x")]
    m = build(forms, {"x": reals(4)}, 15)
    got = run(m, tmp_path)
    done("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx")
    ops = [n.op_type for n in onnx.load(tmp_path / "q.onnx").graph.node]
    assert {"RandomUniformLike", "Bernoulli", "Dropout"} <= set(ops)
    done("run", "-q", tmp_path / "q.onnx", "--data", tmp_path / "data", "-o", tmp_path / "back")
    for k in range(3):
        assert (np.load(tmp_path / "back" / f"output_{k}.npy") == got[k]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dropout_in_training(dtype, tmp_path, qonnx):
    x = np.abs(reals(200, 500, dtype=dtype)) + dtype(0.25)
    yes = np.array(True)
    forms = [form("Dropout", "x", dtype(0.75), yes, outputs=2), form("Dropout", "x", None, yes, outputs=2),
             form("Dropout", "x", "ratio", "trains", outputs=2), form("Dropout", "x", "ratio", "rests", outputs=2),
             form("Dropout", "x", dtype(0), yes, outputs=2), form("Dropout", "x", dtype(0.5), yes, outputs=[False, True])]
    m = build(forms, {"x": x, "ratio": dtype(0.25), "trains": yes, "rests": np.array(False)}, 13)
    got = run(m, tmp_path)
    for y, mask, ratio in zip(got[0:10:2], got[1:10:2], (0.75, 0.5, 0.25, 0, 0)):
        assert y.dtype == dtype and mask.dtype == np.bool_ and abs(mask.mean() - (1 - ratio)) < 0.01
        want = np.where(mask, x.astype(np.float64) / (1 - ratio), 0)
        assert np.abs(y - want).max() <= (2e-3 if dtype == np.float16 else 1e-6) * np.abs(want).max()
    assert abs(got[10].mean() - 0.5) < 0.01
    if dtype != np.float16:
        compiles(m, tmp_path, got, qonnx)
