"""GridSample, AffineGrid and RoiAlign against ONNX Runtime: every mode, padding and corner, points far outside, channels
of one block and of several, generated C."""
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from onnx import helper, numpy_helper


def model(nodes, inputs, outputs, opset, constants=(), dtype=1):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in inputs.items()],
                              [info(o, dtype, None) for o in outputs], [numpy_helper.from_array(v, k) for k, v in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def runtime(m, inputs):
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)


def command(done, folder, m, inputs):
    folder.mkdir(exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    for name, value in inputs.items():
        np.save(folder / f"{name}.npy", value)
    data = [a for name in inputs for a in ("--data", f"{name}={folder / name}.npy")]
    done("run", "-q", folder / "m.onnx", *data, "-o", folder / "out")
    outputs = sorted((folder / "out").glob("output_*"), key=lambda p: int(p.stem.split("_")[1]))
    return [np.load(o) for o in outputs]


def close(nodes, got, want, tolerance=1e-5):
    for node, a, b in zip(nodes, got, want, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype, node
        assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max()), node


def grids(axes, opset):
    cubic = () if axes == 3 else ("bicubic",) if opset < 20 else ("cubic",)
    modes = ("nearest", "bilinear" if opset < 20 else "linear", *cubic)
    for i, (mode, padding, align) in enumerate(itertools.product(modes, ("zeros", "border", "reflection"), (0, 1))):
        yield helper.make_node("GridSample", ["x", "grid"], [f"y{i}"], mode=mode, padding_mode=padding, align_corners=align)


@pytest.mark.parametrize("shape,axes,opset", [((2, 3, 5, 6), 2, 16), ((2, 70, 4, 7), 2, 20), ((1, 2, 1, 3), 2, 20),
                                              ((2, 3, 4, 5, 3), 3, 20)], ids=str)
def test_grids(done, tmp_path, shape, axes, opset):
    rng = np.random.default_rng(3)
    grid = rng.uniform(-1.6, 1.6, (shape[0], *[3, 7, 8][-axes:], axes)).astype(np.float32)
    grid.flat[:8] = [1, -1, 0, 1, -1, 0.5, 9.3, -7.1]
    inputs = {"x": rng.normal(size=shape).astype(np.float32), "grid": grid}
    nodes = list(grids(axes, opset))
    m = model(nodes, inputs, [n.output[0] for n in nodes], opset)
    close(nodes, command(done, tmp_path, m, inputs), runtime(m, inputs))


def test_points_that_are_none(done, tmp_path):
    """Runtimes do not agree there; memory is left alone, and what no pixel is near is 0."""
    grid = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0], np.float32)
    inputs = {"x": np.ones((1, 2, 4, 5), np.float32), "grid": np.stack([grid, grid[::-1]], -1)[None, None]}
    nodes = list(grids(2, 20))
    m = model(nodes, inputs, [n.output[0] for n in nodes], 20)
    for node, y in zip(nodes, command(done, tmp_path, m, inputs), strict=True):
        if b"zeros" in [a.s for a in node.attribute]:
            assert (y[..., :5] == 0).all()
        assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
def test_affine(done, tmp_path, dtype):
    rng, nodes, constants = np.random.default_rng(4), [], []
    inputs = {"t": rng.normal(size=(2, 2, 3)).astype(dtype), "u": rng.normal(size=(2, 3, 4)).astype(dtype)}
    for i, (size, align) in enumerate(itertools.product(([2, 3, 5, 6], [2, 1, 1, 4], [2, 3, 4, 5, 6], [2, 3, 1, 1, 1]), (0, 1))):
        constants.append((f"s{i}", np.array(size, np.int64)))
        nodes.append(helper.make_node("AffineGrid", ["t" if len(size) == 4 else "u", f"s{i}"], [f"y{i}"], align_corners=align))
    m = model(nodes, inputs, [n.output[0] for n in nodes], 20, constants, 1 if dtype == np.float32 else 11)
    close(nodes, command(done, tmp_path, m, inputs), runtime(m, inputs), 1e-6)


def regions(proper):
    """Regions; `proper`: ending behind their beginning, for ONNX Runtime counts samples of others below 0."""
    rng = np.random.default_rng(5)
    some = rng.uniform(-3, 12, (20, 4)).astype(np.float32)
    odd = [[1, 1, 4, 3], [3, 3, 1, 1], [-9, -9, -5, -5], [2, 2, 2, 2], [0, 0, 90, 80], [-50, 2, 60, 3]]
    all_of_them = np.concatenate([some, np.array(odd, np.float32)])
    return np.concatenate([np.minimum(all_of_them[:, :2], all_of_them[:, 2:]), np.maximum(all_of_them[:, :2], all_of_them[:, 2:])],
                          1) if proper else all_of_them


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("channels", [3, 70])
def test_regions(done, tmp_path, opset, channels):
    rng, rois, nodes = np.random.default_rng(6), regions(opset >= 16), []
    inputs = {"x": rng.normal(size=(3, channels, 8, 9)).astype(np.float32), "r": rois, "b": rng.integers(0, 3, len(rois))}
    ways = [{}] if opset < 16 else [dict(coordinate_transformation_mode=w) for w in ("half_pixel", "output_half_pixel")]
    for mode, samples, scale, way in itertools.product(("avg", "max"), (0, 1, 3), (1.0, 0.5), ways):
        nodes.append(helper.make_node("RoiAlign", ["x", "r", "b"], [f"y{len(nodes)}"], mode=mode, sampling_ratio=samples,
                                      spatial_scale=scale, output_height=3, output_width=2, **way))
    m = model(nodes, inputs, [n.output[0] for n in nodes], opset)
    close(nodes, command(done, tmp_path, m, inputs), runtime(m, inputs))


def test_regions_without_end(done, tmp_path):
    """Regions of any size, items that are none: nothing is read outside, and it ends."""
    big = np.array([[-3e38, -3e38, 3e38, 3e38], [np.nan] * 4, [0, 0, np.inf, np.inf], [0, 0, 1e9, 1e9], [-1e9, 0, 1e9, 4]], np.float32)
    inputs = {"x": np.ones((1, 2, 8, 9), np.float32), "r": big, "b": np.array([0, -5, 7, 2**62, -2**63])}
    nodes = [helper.make_node("RoiAlign", ["x", "r", "b"], [f"y{m}"], mode=m, output_height=2, output_width=2) for m in ("avg", "max")]
    m = model(nodes, inputs, [n.output[0] for n in nodes], 16)
    assert all(y.shape == (5, 2, 2, 2) for y in command(done, tmp_path, m, inputs))


def test_compiled(qonnx, done, tmp_path):
    """A spatial transformer, and regions of its result."""
    rng, node = np.random.default_rng(7), helper.make_node
    constants = [("s", np.array([1, 3, 6, 7], np.int64)), ("t", rng.normal(size=(1, 2, 3)).astype(np.float32) * 0.5),
                 ("r", regions(True)), ("b", np.zeros(26, np.int64))]
    nodes = [node("Mul", ["t", "x0"], ["theta"]), node("AffineGrid", ["theta", "s"], ["grid"]),
             node("GridSample", ["x", "grid"], ["y"], padding_mode="reflection"), node("RoiAlign", ["y", "r", "b"], ["z"], output_height=2),
             node("ReduceMean", ["x"], ["x0"], keepdims=0)]
    inputs = {"x": rng.normal(size=(1, 3, 8, 9)).astype(np.float32)}
    m = model([nodes[-1], *nodes[:-1]], inputs, ["z"], 20, constants)
    want = command(done, tmp_path, m, inputs)
    close(["all"], want, runtime(m, inputs), 1e-5)
    compiled = compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "c")
    compiled.build(["cc"], ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow"])
    assert same_bytes(compiled.run([[inputs["x"]]]), [want])
