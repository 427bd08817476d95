"""One way into a Program: what one verb takes, all take. Models whose shapes are computed in the graph,
constants in all their forms, open batches, and what `quantize` writes."""

import json
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort import session

FLOAT = TensorProto.FLOAT
RANDOM = np.random.default_rng(5)
pytestmark = pytest.mark.mends("one way")


def weights(*shape):
    return (RANDOM.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def model(nodes, x, y=None, constants=None, opset=13):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, x)],
        [helper.make_tensor_value_info("y", FLOAT, y)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], output, **attributes)


def features():
    """Conv and Relu, from x to f [N,6,8,8]."""
    return [node("Conv", ["x", "w", "b"], "c", pads=[1, 1, 1, 1]), node("Relu", ["c"], "f")]


def classifier():
    return [node("Gemm", ["flat", "v"], "y")]


PARTS = {"w": weights(6, 3, 3, 3), "b": weights(6), "v": weights(384, 5)}


def view(batch, *between, constants=None, opset=13):
    """x.view(x.size(0), -1): `between` makes `size` from f, the first axis of the result."""
    nodes = features() + [*between, node("Concat", ["size", "rest"], "shape", axis=0),
                          node("Reshape", ["f", "shape"], "flat")] + classifier()
    more = {"rest": np.array([-1]), "zero": np.array([0]), "first": np.array(0), **(constants or {})}
    return model(nodes, [batch, 3, 8, 8], constants={**PARTS, **more}, opset=opset)


def gathered(batch):
    return view(batch, node("Shape", ["f"], "dims"), node("Gather", ["dims", "first"], "n", axis=0),
                node("Unsqueeze", ["n", "zero"], "size"))


def sliced(batch):
    return view(batch, node("Shape", ["x"], "dims"), node("Slice", ["dims", "zero", "one"], "size"),
                constants={"one": np.array([1])})


def started(batch):
    return view(batch, node("Shape", ["c"], "size", start=0, end=1), opset=15)


def multiplied(batch):
    """All dimensions but the first multiplied: Gather three times, and Mul."""
    gathers = [node("Gather", ["dims", f"k{i}"], f"d{i}", axis=0) for i in range(1, 4)]
    nodes = features() + [node("Shape", ["f"], "dims"), *gathers, node("Mul", ["d1", "d2"], "m"),
                          node("Mul", ["m", "d3"], "all"), node("Unsqueeze", ["all", "zero"], "last"),
                          node("Concat", ["any", "last"], "shape", axis=0),
                          node("Reshape", ["f", "shape"], "flat")] + classifier()
    more = {f"k{i}": np.array(i) for i in range(1, 4)} | {"zero": np.array([0]), "any": np.array([-1])}
    return model(nodes, [batch, 3, 8, 8], constants={**PARTS, **more})


def cast(batch):
    """Through Cast to float and back, as exporters halve sizes."""
    return view(batch, node("Shape", ["f"], "dims"), node("Gather", ["dims", "zero"], "n", axis=0),
                node("Cast", ["n"], "real", to=FLOAT), node("Mul", ["real", "by"], "scaled"),
                node("Cast", ["scaled"], "size", to=TensorProto.INT64),
                constants={"by": np.array([1], np.float32)})


def pair(batch, shape_in_graph):
    """Conv that feeds Relu and, in one of two forms, the Shape of a Reshape: the Shape must not change
    what is observed."""
    tail = [node("Shape", ["c"], "dims"), node("Gather", ["dims", "zero"], "size", axis=0),
            node("Concat", ["size", "rest"], "shape", axis=0)] if shape_in_graph else []
    constants = {"rest": np.array([384]), "zero": np.array([0])}
    if not shape_in_graph:
        constants = {"shape": np.array([-1, 384])}
    return model(features() + tail + [node("Reshape", ["f", "shape"], "flat")] + classifier(),
                 [batch, 3, 8, 8], constants={**PARTS, **constants})


def softmax_11(batch):
    """raise-opset puts a Shape behind a Softmax of several axes."""
    return model(features() + [node("Softmax", ["f"], "s", axis=1), node("Flatten", ["s"], "flat")]
                 + classifier(), [batch, 3, 8, 8], constants=PARTS, opset=11)


def residual(batch):
    return model(features() + [node("Conv", ["f", "u"], "d", pads=[1, 1, 1, 1]), node("Add", ["d", "f"], "e"),
                               node("Relu", ["e"], "r"), node("GlobalAveragePool", ["r"], "p"),
                               node("Flatten", ["p"], "flat")] + classifier(),
                 [batch, 3, 8, 8], constants={**PARTS, "v": weights(6, 5), "u": weights(6, 6, 3, 3)})


def constant(kind, value):
    """A Constant of one attribute, used where it fits."""
    if kind == "value_ints":
        nodes = features() + [helper.make_node("Constant", [], ["shape"], "k", value_ints=value),
                              node("Reshape", ["f", "shape"], "flat")] + classifier()
    elif kind == "value_int":
        nodes = features() + [helper.make_node("Constant", [], ["k"], "k", value_int=value),
                              node("Gather", ["f", "k"], "row", axis=2),
                              node("Flatten", ["row"], "flat"), node("Gemm", ["flat", "t"], "y")]
    else:
        nodes = features() + [helper.make_node("Constant", [], ["k"], "k", **{kind: value}),
                              node("Mul", ["f", "k"], "m"), node("Flatten", ["m"], "flat")] + classifier()
    return model(nodes, [1, 3, 8, 8], constants={**PARTS, "t": weights(48, 5)})


MODELS = {f"{make.__name__} {batch}": (lambda make=make, batch=batch: make(batch))
          for make in (gathered, sliced, started, multiplied, cast, softmax_11, residual) for batch in (1, "N")}
MODELS |= {kind: lambda kind=kind, value=value: constant(kind, value)
           for kind, value in (("value_float", 0.5), ("value_floats", [0.25] * 8), ("value_int", 3),
                               ("value_ints", [1, -1]))}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A directory of samples, and the samples."""
    folder, samples = tmp_path_factory.mktemp("data"), []
    for i in range(20):
        samples.append(RANDOM.normal(size=(1, 3, 8, 8)).astype(np.float32))
        np.save(folder / f"{i:03}.npy", samples[-1])
    return folder, samples


def written(make, folder):
    path = folder / "m.onnx"
    onnx.save(make(), path)
    return path


def reference(path, samples):
    runtime = session(path, "ort-x86")
    return [runtime.run(None, {"x": x})[0] for x in samples]


def run_outputs(done, path, folder, out, *options):
    done("run", path, "--data", folder, "-o", out, *options)
    return [np.load(f) for f in sorted((out / "output_0").glob("*.npy"))]


def sqnr(wanted, got):
    wanted, got = (np.concatenate([a.ravel() for a in b]).astype(float) for b in (wanted, got))
    return 10 * np.log10(np.sum(wanted**2) / max(np.sum((wanted - got) ** 2), 1e-30))


@pytest.mark.parametrize("name", MODELS)
def test_every_verb(done, data, tmp_path, name):
    """Float and quantized: run, calibrate, quantize, evaluate, compile; outputs are the runtime's."""
    folder, samples = data
    path, int8 = written(MODELS[name], tmp_path), tmp_path / "q.onnx"
    for engine in ("portable", "auto"):
        got = run_outputs(done, path, folder, tmp_path / engine, "--engine", engine)
        assert sqnr(reference(path, samples), got) > 100, engine
    done("calibrate", path, folder, "-o", tmp_path / "m.qcal")
    done("quantize", path, "--data", folder, "-o", int8)
    scores = json.loads(done("evaluate", path, int8, "--data", folder, "--json"))["models"]
    got = run_outputs(done, int8, folder, tmp_path / "q")
    assert sqnr(reference(int8, samples), got) > 55
    wanted = reference(path, samples)
    assert scores[1]["sqnr_db"] == pytest.approx(sqnr(wanted, got), abs=0.1)
    for source in (path, int8):
        made = tmp_path / f"c-{source.stem}"
        done("compile", source, "-o", made, "--data", folder)
        test = subprocess.run(["make", "-s", "-C", made, "test"], capture_output=True, text=True)
        assert test.returncode == 0 and " 0 of " in test.stdout, test.stdout + test.stderr


def ranges(done, path, folder, out):
    """The scale of every quantized value, and how many operators run in integers."""
    summary = json.loads(done("quantize", path, "--data", folder, "-o", out, "--engine", "portable", "--json"))
    return {i.name: numpy_helper.to_array(i).tolist() for i in onnx.load(out).graph.initializer
            if i.name.endswith(("_scale", "_zero_point"))}, summary


@pytest.mark.parametrize("make", [residual, gathered, multiplied, lambda batch: pair(batch, True)],
                         ids=["residual", "flatten", "multiplied", "relu and shape"])
def test_an_open_batch_changes_nothing(done, data, tmp_path, make):
    """The same ranges and as many operators in integers as the model with batch 1."""
    seen = []
    for batch in (1, "N"):
        path = tmp_path / f"{batch}.onnx"
        RANDOM.bit_generator.state = np.random.default_rng(9).bit_generator.state
        onnx.save(make(batch), path)
        scales, summary = ranges(done, path, data[0], tmp_path / f"{batch}.int8.onnx")
        seen.append((scales, {k: summary[k] for k in summary if k in ("in_integers", "in_float")}))
    assert seen[0] == seen[1]


def test_a_shape_changes_no_range(done, data, tmp_path):
    """Conv → {Relu, Shape → Reshape}: folding the Shape away must not change what is observed."""
    scales = []
    for with_shape in (False, True):
        path = tmp_path / f"{with_shape}.onnx"
        onnx.save(pair("N", with_shape), path)
        scales.append(ranges(done, path, data[0], tmp_path / f"{with_shape}.int8.onnx")[0])
    assert scales[0] == scales[1]
    assert "f_scale" in scales[0]


def test_ultraface(done, shared, tmp_path):
    """A detector whose priors are computed from shapes."""
    path, folder = shared / "models" / "ultraface_rfb_320" / "model.onnx", tmp_path / "data"
    folder.mkdir()
    for i in range(2):
        np.save(folder / f"{i}.npy", RANDOM.normal(size=(1, 3, 240, 320)).astype(np.float32))
    int8 = tmp_path / "q.onnx"
    done("quantize", path, "--data", folder, "-o", int8)
    runtime = session(path)
    wanted = [runtime.run(None, {"input": np.load(f)}) for f in sorted(folder.glob("*.npy"))]
    done("run", path, "--data", folder, "-o", tmp_path / "out")
    for k in range(2):
        files = sorted((tmp_path / "out" / f"output_{k}").glob("*.npy"))
        assert sqnr([w[k] for w in wanted], [np.load(f) for f in files]) > 90
    scores = json.loads(done("evaluate", path, int8, "--data", folder, "--json"))["models"]
    assert scores[1]["sqnr_db"] > 15
    done("compile", int8, "-o", tmp_path / "c")
