"""Resize against ONNX Runtime: modes, coordinates, roundings, types, ranks, operator sets. Floats too are
its bytes where it computes them (a Resize between quantized operators runs in float, and is rounded behind
it); generated C has the bytes of `qonnx run`."""
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from onnx import helper, numpy_helper

COORDINATES = ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "tf_half_pixel_for_nn",
               "half_pixel_symmetric", "tf_crop_and_resize"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def tensor_type(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def node(x, to, y="y", **more):
    """A Resize by scales (floats) or sizes (integers): the node and its constants."""
    roi = more.pop("roi", None)
    constants = [numpy_helper.from_array(np.array(to, np.float32 if isinstance(to[0], float) else np.int64), y + "_to")]
    inputs = [x, "", y + "_to"] if isinstance(to[0], float) else [x, "", "", y + "_to"]
    if roi is not None:
        constants.append(numpy_helper.from_array(np.array(roi, np.float32), y + "_roi"))
        inputs[1] = y + "_roi"
    return helper.make_node("Resize", inputs, [y], y, **more), constants


def model(x, cases, opset):
    """A model of many Resizes of x."""
    made = [node("x", y=f"y{i}", **case) for i, case in enumerate(cases)]
    graph = helper.make_graph([n for n, _ in made], "g", [helper.make_tensor_value_info("x", tensor_type(x), x.shape)],
                              [helper.make_tensor_value_info(n.output[0], tensor_type(x), None) for n, _ in made],
                              [c for _, cs in made for c in cs])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


def runtime(m, **inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(m.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, inputs)


def command(done, folder, m, **inputs):
    """What `qonnx run` gives."""
    folder.mkdir(exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    for name, value in inputs.items():
        np.save(folder / f"{name}.npy", value)
    data = [a for name in inputs for a in ("--data", f"{name}={folder / name}.npy")]
    done("run", "-q", folder / "m.onnx", *data, "-o", folder / "out", "--engine", "portable")
    outputs = sorted((folder / "out").glob("output_*"), key=lambda p: int(p.stem.split("_")[1]))
    return [np.load(o if o.is_file() else o / "000000.npy") for o in outputs]


def compare(done, folder, x, cases, opset=18, exact=True):
    """All of the cases, together and, where ONNX Runtime refuses some, without these."""
    cases = list(cases)
    if not accepts(x, cases, opset):
        cases = [c for c in cases if accepts(x, [c], opset)]
    m = model(x, cases, opset)
    for case, want, got in zip(cases, runtime(m, x=x), command(done, folder, m, x=x), strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype, case
        if exact:
            assert got.tobytes() == want.tobytes(), (case, np.abs(got.astype(float) - want).max())
        else:
            assert np.abs(got.astype(float) - want).max() <= 1e-5 * max(np.abs(want).max(), 1), case
    return len(cases)


def accepts(x, cases, opset):
    try:
        runtime(model(x, cases, opset), x=x)
        return True
    except Exception:
        return False


def data(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -2**20), min(info.max, 2**20) + 1, shape).astype(dtype)


def targets(shape):
    """Scales and sizes of the last axes, larger and smaller."""
    rank = len(shape)
    front = {1: 0, 2: 0, 3: 0}.get(rank, rank - 3 if rank > 5 else 2)
    for factors in ((2, 2, 2), (1.7, 2.3, 1.1), (0.6, 0.45, 0.7), (0.8, 3, 1)):
        yield [1.0] * front + [float(f) for f in factors[:rank - front]]
    for sizes in ((7, 3, 9), (1, 4, 2), (5, 1, 1), (13, 20, 11)):
        yield list(shape[:front]) + list(sizes[:rank - front])


def forms(shape, mode, coordinates=COORDINATES):
    for to, how in itertools.product(targets(shape), coordinates):
        case = dict(to=to, mode=mode, coordinate_transformation_mode=how)
        if how == "tf_crop_and_resize":
            rank = len(shape)
            case.update(roi=[0.0] * (rank - 1) + [0.1] + [1.0] * (rank - 1) + [1.2], extrapolation_value=7.0)
        yield case


@pytest.mark.parametrize("shape", [(9,), (5, 7), (2, 3, 8), (2, 3, 6, 5), (1, 2, 4, 5, 3), (1, 2, 1, 4, 3, 5)], ids=str)
def test_nearest(done, tmp_path, shape):
    cases = [dict(c, nearest_mode=r) for c in forms(shape, "nearest") for r in ROUNDINGS]
    assert compare(done, tmp_path, data(np.float32, shape), cases) > 100


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 8), (2, 3, 6, 5), (1, 2, 4, 5, 3)], ids=str)
def test_linear(done, tmp_path, shape):
    assert compare(done, tmp_path, data(np.float32, shape), forms(shape, "linear")) > 40


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32], ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 8), (2, 3, 6, 5), (1, 2, 4, 5, 3)], ids=str)
def test_integers(done, tmp_path, shape, dtype):
    cases = [*forms(shape, "linear"), *forms(shape, "nearest")]
    assert compare(done, tmp_path, data(dtype, shape), cases) > 90


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int8, np.int32], ids=lambda t: t.__name__)
def test_channels_last_images(done, tmp_path, dtype):
    """A model whose own order of axes is N, H, W, C: bytes are interpolated in integers there."""
    cases = [dict(to=[1.0, *to, 1.0], mode="linear", coordinate_transformation_mode=how)
             for to in ((2.0, 2.0), (1.7, 2.3), (0.6, 0.45)) for how in COORDINATES[:6]]
    assert compare(done, tmp_path, data(dtype, (2, 6, 5, 70)), cases) == 18


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 6, 5)], ids=str)
def test_cubic(done, tmp_path, shape):
    cases = [dict(c, cubic_coeff_a=a, exclude_outside=e) for c in forms(shape, "cubic")
             for a, e in ((-0.75, 0), (-0.5, 1), (-0.5, 0))]
    assert compare(done, tmp_path, data(np.float32, shape), cases, exact=False) > 100


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int32], ids=lambda t: t.__name__)
def test_antialias(done, tmp_path, mode, dtype):
    shape = (1, 2, 16, 19)
    cases = [dict(to=to, mode=mode, antialias=1, exclude_outside=e, coordinate_transformation_mode=how)
             for to in ([1.0, 1.0, 0.6, 0.4], [1, 2, 5, 3], [1.0, 1.0, 1.5, 0.3], [1, 2, 30, 25])
             for how in COORDINATES[:4] for e in (0, 1)]
    exact = dtype != np.float32
    assert compare(done, tmp_path, data(dtype, shape), cases, exact=exact) == 32


def test_axes_and_policies(done, tmp_path):
    x = data(np.float32, (2, 3, 6, 5))
    cases = [dict(to=to, axes=axes, mode=mode) for mode in ("nearest", "linear")
             for axes in ([2, 3], [3, 2], [-1, -2], [3]) for to in ([9, 11][:len(axes)], [1.5, 0.5][:len(axes)])]
    cases += [dict(to=[9, 11], axes=[2, 3], keep_aspect_ratio_policy=p, mode=mode)
              for p in ("stretch", "not_larger", "not_smaller") for mode in ("nearest", "linear", "cubic")]
    assert compare(done, tmp_path, x, cases, exact=False) > 16


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_old(done, tmp_path, opset):
    """Upsample, and the first Resize: scales are an attribute, or input 1."""
    x, makes = data(np.float32, (2, 3, 6, 5)), []
    scales = [[1, 1, 2, 2], [1, 1, 1.5, 3]] + [[1, 1, 0.5, 0.7]] * (opset == 10)
    for s, mode in itertools.product(scales, ("nearest", "linear")):
        makes.append((np.array(s, np.float32), mode))
    op, nodes, constants = "Resize" if opset == 10 else "Upsample", [], []
    for i, (s, mode) in enumerate(makes):
        if opset < 9:
            nodes.append(helper.make_node(op, ["x"], [f"y{i}"], mode=mode, scales=s.tolist()))
        else:
            constants.append(numpy_helper.from_array(s, f"s{i}"))
            nodes.append(helper.make_node(op, ["x", f"s{i}"], [f"y{i}"], mode=mode))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, x.shape)],
                              [helper.make_tensor_value_info(n.output[0], 1, None) for n in nodes], constants)
    opsets = [helper.make_opsetid("", opset)]
    m = helper.make_model(graph, opset_imports=opsets, ir_version=4)
    for make, want, got in zip(makes, runtime(m, x=x), command(done, tmp_path, m, x=x), strict=True):
        assert got.shape == want.shape and got.tobytes() == want.tobytes(), make


def test_other_axes(done, tmp_path):
    """Axes that ONNX Runtime does not interpolate along: the reference's values."""
    from onnx.reference import ReferenceEvaluator
    x = data(np.float32, (3, 4, 3, 2, 3, 2))
    cases = [dict(to=[1.0, 1.5, 2.0, 1.0, 0.7, 1.0], mode="linear"), dict(to=[1.0, 1.0, 2.0, 1.0, 1.0, 2.5], mode="cubic")]
    m = model(x, cases, 18)
    for want, got in zip(ReferenceEvaluator(m).run(None, {"x": x}), command(done, tmp_path, m, x=x), strict=True):
        assert got.shape == want.shape and np.abs(got - want).max() < 1e-5


def neighbours(mode, **more):
    """Convolutions around the Resize, so that it finds its input channels-last."""
    rng = np.random.default_rng(3)
    middle, constants = node("a", [1.0, 1.0, 2.0, 1.5], "b", mode=mode, **more)
    constants += [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n)
                  for n, s in (("w", (70, 3, 3, 3)), ("v", (4, 70, 1, 1)))]
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4), middle, helper.make_node("Conv", ["b", "v"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 3, 6, 5])],
                              [helper.make_tensor_value_info("y", 1, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("more", [dict(mode="nearest"), dict(mode="linear"), dict(mode="cubic"),
                                  dict(mode="linear", antialias=1)], ids=str)
def test_channels_last(done, tmp_path, more):
    x, m = data(np.float32, (2, 3, 6, 5)), neighbours(**more)
    (want,), (got,) = runtime(m, x=x), command(done, tmp_path, m, x=x)
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("more", [dict(mode="nearest"), dict(mode="linear"), dict(mode="cubic")], ids=str)
def test_compiled(qonnx, done, tmp_path, more):
    x, m = data(np.float32, (2, 3, 6, 5)), neighbours(**more)
    want = command(done, tmp_path, m, x=x)
    compiled = compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "c")
    compiled.build(["cc"], ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow"])
    assert same_bytes(compiled.run([[x]]), [want])


def test_fed(done, tmp_path):
    """Scales that every sample gives."""
    info = helper.make_tensor_value_info
    x = data(np.float32, (1, 1, 4, 5))
    graph = helper.make_graph([helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")], "g",
                              [info("x", 1, x.shape), info("s", 1, [4])], [info("y", 1, None)])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for s in ([1, 1, 2, 2], [1, 1, 0.5, 3]):
        scales = np.array(s, np.float32)
        (want,), (got,) = runtime(m, x=x, s=scales), command(done, tmp_path, m, x=x, s=scales)
        assert got.tobytes() == want.tobytes()


def test_empty(done, tmp_path):
    for mode in ("nearest", "linear"):
        x = data(np.float32, (1, 2, 4, 0))
        m = model(x, [dict(to=[1.0, 1.0, 2.0, 2.0], mode=mode)], 18)
        assert command(done, tmp_path, m, x=x)[0].shape == (1, 2, 8, 0)


def test_cost(done, tmp_path):
    """Very small scales, whose antialiasing filter reaches over all of the input."""
    x = data(np.float32, (1, 1, 2, 30000))
    m = model(x, [dict(to=[1.0, 1.0, 1.0, 0.0001], mode="cubic", antialias=1)], 18)
    (want,), (got,) = runtime(m, x=x), command(done, tmp_path, m, x=x)
    assert np.abs(got - want).max() < 1e-5
