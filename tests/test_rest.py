"""Models in which a value decides a shape: a list that is computed, an output whose size is data. They run in parts,
each one prepared for what the one before it has given. Outputs are ONNX Runtime's, for samples that differ in all such
sizes; calibrated and quantized, too.
"""

import re
import subprocess

import numpy as np
import onnx
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from onnx import TensorProto, helper, numpy_helper
from ort import session

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ENGINES = ("onednn", "portable")


def node(op, inputs, outputs, **attributes):
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return helper.make_node(op, inputs, outputs, outputs[0], **attributes)


def model(nodes, inputs, outputs, constants, opset=17):
    """Inputs by name: (type, shape); outputs by name: type."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(k, *v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, t, None) for k, t in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def runtime(m, samples):
    """One list of outputs a sample, which is a dict of arrays."""
    run = session(m, "ort-x86")
    return [run.run(None, sample) for sample in samples]


def saved(folder, m, samples):
    """The model's path, and what feeds the samples to a command."""
    folder.mkdir(exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    data = []
    for name in samples[0]:
        (folder / name).mkdir()
        for i, sample in enumerate(samples):
            np.save(folder / name / f"{i:03d}.npy", sample[name])
        data += ["--data", f"{name}={folder / name}" if len(samples[0]) > 1 else folder / name]
    return folder / "m.onnx", data


def command(done, path, data, count, *options):
    """One list of outputs a sample."""
    out = path.parent / "out"
    done("run", "-q", path, *data, "-o", out, *options)
    folders = sorted(out.glob("output_*"), key=lambda p: int(p.stem.split("_")[1]))
    files = [sorted(f.glob("*.npy")) if f.is_dir() else [f] for f in folders]
    assert all(len(f) == count for f in files)
    return [[np.load(f[i]) for f in files] for i in range(count)]


def compare(got, want, near=1e-5):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert (x.shape, x.dtype) == (y.shape, y.dtype), (i, k)
            if x.dtype.kind == "f" and x.size:
                assert np.abs(x - y).max() <= near * max(np.abs(y).max(), 1e-3), (i, k)
            else:
                assert np.array_equal(x, y), (i, k)


def same(done, folder, m, samples, *options):
    """The command gives what ONNX Runtime does. Returns that."""
    path, data = saved(folder, m, samples)
    want = runtime(m, samples)
    compare(command(done, path, data, len(samples), *options), want)
    return want


# ---- a detector ---------------------------------------------------------------------------------

def detector():
    """Boxes and scores by convolutions; those that are left select boxes and features, which a second stage
    classifies."""
    rng = np.random.default_rng(11)
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1).reshape(256, 2)
    constants = {
        "w1": rng.normal(size=(8, 3, 3, 3)) / 5, "b1": rng.normal(size=8) / 5, "wb": rng.normal(size=(4, 8, 1, 1)) / 2,
        "bb": np.full(4, 1), "ws": rng.normal(size=(2, 8, 1, 1)), "bs": np.full(2, -1),
        "grid": np.concatenate([grid, grid], 1)[None] + [[[-1, -1, 1, 1]]], "w2": rng.normal(size=(8, 16)) / 3,
        "w3": rng.normal(size=(16, 5)) / 4, "b2": rng.normal(size=16) / 4, "b3": rng.normal(size=5)}
    constants = {k: v.astype(np.float32) for k, v in constants.items()}
    constants |= {"most": np.array([30]), "iou": np.array([0.4], np.float32), "least": np.array([0.7], np.float32),
                  "flat4": np.array([1, 4, 256]), "flat2": np.array([1, 2, 256]), "flat8": np.array([8, 256]),
                  "two": np.array(2), "zero": np.array([0])}
    nodes = [
        node("Conv", ["x", "w1", "b1"], "c", pads=[1, 1, 1, 1]), node("Relu", ["c"], "f"),
        node("Conv", ["f", "wb", "bb"], "cb"), node("Reshape", ["cb", "flat4"], "rb"),
        node("Transpose", ["rb"], "tb", perm=[0, 2, 1]), node("Add", ["tb", "grid"], "boxes"),
        node("Conv", ["f", "ws", "bs"], "cs"), node("Sigmoid", ["cs"], "ss"), node("Reshape", ["ss", "flat2"], "scores"),
        node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], "chosen"),
        node("Gather", ["chosen", "two"], "which", axis=1), node("Squeeze", ["boxes", "zero"], "all"),
        node("Gather", ["all", "which"], "picked", axis=0), node("Reshape", ["f", "flat8"], "r8"),
        node("Transpose", ["r8"], "t8", perm=[1, 0]), node("Gather", ["t8", "which"], "features", axis=0),
        node("Gemm", ["features", "w2", "b2"], "h"), node("Relu", ["h"], "g"), node("Gemm", ["g", "w3", "b3"], "classes")]
    return model(nodes, {"x": (FLOAT, [1, 3, 16, 16])},
                 {"chosen": INT64, "picked": FLOAT, "classes": FLOAT, "scores": FLOAT}, constants)


def pictures(count=6, empty=True):
    """Some, of different contrast; two in which there is nothing."""
    rng = np.random.default_rng(12)
    size = [0.0 if empty and i in (1, 4) else 0.3 + 0.6 * i / count for i in range(count)]
    return [{"x": (s * rng.normal(size=(1, 3, 16, 16))).astype(np.float32)} for s in size]


@pytest.mark.parametrize("engine", ENGINES)
def test_detector(done, tmp_path, engine):
    want = same(done, tmp_path, detector(), pictures(), "--engine", engine)
    boxes = [len(sample[0]) for sample in want]
    assert boxes.count(0) == 2 and len(set(boxes)) > 3


def fields(message):
    """The fields of a message in protobuf's form: (number, integer or bytes)."""
    def varint(i, shift=0, x=0):
        while True:
            x |= (message[i] & 127) << shift
            if message[i] < 128:
                return x, i + 1
            i, shift = i + 1, shift + 7

    i = 0
    while i < len(message):
        key, i = varint(i)
        if key & 7 == 0:
            value, i = varint(i)
        else:
            size, i = {1: (8, i), 2: (0, i), 5: (4, i)}[key & 7]
            if key & 7 == 2:
                size, i = varint(i)
            value, i = message[i:i + size], i + size
        yield key >> 3, value


def counted(path):
    """How many values a .qcal file has of each activation."""
    payload = dict(fields(path.read_bytes()))[4]
    seen = [dict(fields(value)) for number, value in fields(payload) if number == 6]
    return {a[1].decode(): a.get(3, 0) for a in seen}


def test_detector_calibrates(done, tmp_path):
    """What is behind the cut is observed, as often as there are boxes; whichever thread has which sample."""
    path, data = saved(tmp_path, detector(), pictures(12))
    files = [tmp_path / f"{threads}.qcal" for threads in (1, 2, 4)]
    for threads, file in zip((1, 2, 4), files):
        done("calibrate", path, data[1], "-o", file, "-j", threads, "--engine", "portable")
    assert all(f.read_bytes() == files[0].read_bytes() for f in files)
    boxes = sum(len(sample[0]) for sample in runtime(detector(), pictures(12)))
    seen = counted(files[0])
    assert boxes > 30 and {k: seen[k] for k in ("x", "f", "features", "g", "classes")} == {
        "x": 12 * 768, "f": 12 * 2048, "features": boxes * 8, "g": boxes * 16, "classes": boxes * 5}


def test_detector_quantizes(done, tmp_path):
    """Its integers are those of ONNX Runtime's default session, in front of the cut and behind it."""
    path, data = saved(tmp_path, detector(), pictures(12, empty=False))
    done("quantize", "-q", path, *data, "-o", tmp_path / "q.onnx")
    quantized = onnx.load(tmp_path / "q.onnx")
    made = {n.input[0]: n.op_type for n in quantized.graph.node}
    assert made["x"] == made["g" if "g" in made else "features"] == "QuantizeLinear"
    want = same(done, tmp_path / "q", quantized, pictures())
    assert len({len(sample[0]) for sample in want}) > 3


# ---- computed lists -----------------------------------------------------------------------------

def rows(*lengths, seed=3, inputs=None):
    """Samples `x` [5, n]: whole numbers from 0 to 4."""
    rng = np.random.default_rng(seed)
    return [{"x": rng.integers(0, 5, (5, n)).astype(np.float32), **(inputs or {})} for n in lengths]


def number(name, *nodes):
    """`name`, an int64 list of one, from a float: what the nodes make as t."""
    return [*nodes, node("Cast", ["t"], f"{name}_i", to=INT64), node("Reshape", [f"{name}_i", "one"], name)]


MOST = number("n", node("ReduceMax", ["x"], "t", keepdims=0))
CONSTANTS = {"one": np.array([1]), "zero": np.array([0]), "minus": np.array([-1]), "five": np.array([5]),
             "item": np.array(0), "item1": np.array(1), "two": np.array(2.0, np.float32),
             "ends": np.array([0, 1], np.float32), "pads": np.array([0, 0, 0]), "w": np.eye(5, 3, dtype=np.float32)}
FORMS = {
    "Expand": [node("Unsqueeze", ["x", "zero"], "u"), node("Concat", ["n", "five", "one"], "s", axis=0),
               node("Expand", ["u", "s"], "y")],
    "Reshape": [node("Concat", ["five", "n"], "s0", axis=0), node("ConstantOfShape", ["s0"], "c"),
                node("Concat", ["n", "minus"], "s", axis=0), node("Reshape", ["c", "s"], "y")],
    "Slice": [node("Slice", ["x", "zero", "n", "one"], "y")],
    "Tile": [node("Concat", ["one", "n"], "s", axis=0), node("Tile", ["x", "s"], "y")],
    "Pad": [node("Concat", ["n", "pads"], "s", axis=0), node("Pad", ["x", "s"], "y")],
    "TopK": [node("TopK", ["x", "n"], ["y", "places"], axis=0)],
    "OneHot": [node("Cast", ["x"], "xi", to=INT64), node("Add", ["n", "one"], "d"), node("OneHot", ["xi", "d", "ends"], "y")],
    "Range": [node("ReduceMax", ["x"], "limit", keepdims=0), node("Div", ["two", "two"], "from"),
              node("Range", ["from", "limit", "two"], "y")],
    "Resize": [node("Reshape", ["x", "sizes"], "r"), node("Concat", ["one", "one", "n", "five"], "s", axis=0),
               node("Resize", ["r", "", "", "s"], "y", mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")],
    "ReduceSum": [node("Sub", ["n", "n"], "axis"), node("ReduceSum", ["x", "axis"], "y", keepdims=0)],
    "Split": [node("Sub", ["five", "n"], "m"), node("Concat", ["n", "m"], "s", axis=0), node("Split", ["x", "s"], ["y", "z"], axis=0)],
    "Squeeze": [node("Unsqueeze", ["x", "one"], "u"), node("Div", ["n", "n"], "axis"), node("Squeeze", ["u", "axis"], "y")],
}


@pytest.mark.parametrize("form", FORMS)
def test_computed_list(done, tmp_path, form):
    outputs = {o: INT64 if o == "places" else FLOAT for o in FORMS[form][-1].output}
    m = model(MOST + FORMS[form] + [node("Relu", ["x"], "before")], {"x": (FLOAT, [5, "N"])}, outputs | {"before": FLOAT},
              CONSTANTS | {"sizes": np.array([1, 1, 5, -1])})
    samples = rows(7, 5, 7, 9) + [{"x": np.full((5, 6), k, np.float32)} for k in (1, 2, 3)]
    same(done, tmp_path, m, samples)


def test_cuts_in_a_row(done, tmp_path):
    """Outputs of every part, one of them twice; what one part has made is used by a later one."""
    nodes = [node("NonZero", ["x"], "i"), node("Gather", ["i", "item1"], "columns", axis=0),
             node("Gather", ["x", "columns"], "taken", axis=1), node("Unique", ["columns"], ["u", "", "", "times"]),
             node("Cast", ["times"], "weights", to=FLOAT), node("Greater", ["weights", "two"], "often"),
             node("Compress", ["u", "often"], "chosen", axis=0), node("Gather", ["x", "chosen"], "y", axis=1),
             node("Shape", ["y"], "size"), node("ReduceSum", ["taken", "one"], "sums"), node("Add", ["sums", "x"], "last")]
    m = model(nodes, {"x": (FLOAT, [5, "N"])}, {"i": INT64, "taken": FLOAT, "u": INT64, "y": FLOAT, "size": INT64, "last": FLOAT},
              CONSTANTS)
    m.graph.output.append(m.graph.output[3])
    m.graph.output[-1].name = "often"
    m.graph.output[-1].type.tensor_type.elem_type = BOOL
    samples = rows(3, 8, 8, 5) + [{"x": np.zeros((5, 4), np.float32)}]
    want = same(done, tmp_path, m, samples)
    assert want[-1][0].shape == (2, 0) and want[-1][3].shape == (5, 0)


def test_what_the_file_says_of_sizes(done, tmp_path):
    """Shapes of one sample stand in the model, as exporters write them, and are not believed."""
    m = model([node("NonZero", ["x"], "i"), node("Transpose", ["i"], "t"), node("Shape", ["t"], "s"),
               node("ConstantOfShape", ["s"], "y")], {"x": (FLOAT, [5, "N"])}, {"y": FLOAT}, {})
    m.graph.value_info.extend(helper.make_tensor_value_info(k, INT64, s) for k, s in (("i", [2, 7]), ("t", [7, 2])))
    path, data = saved(tmp_path, m, rows(4, 9))
    got = command(done, path, data, 2)
    assert [y.shape for y, in got] == [(np.count_nonzero(s["x"]), 2) for s in rows(4, 9)]


def test_constants_of_counted_size(done, tmp_path):
    """What is constant is folded, with the size that it has."""
    m = model([node("NonZero", ["k"], "i"), node("Transpose", ["i"], "t"), node("GatherND", ["x", "t"], "y"),
               node("Unique", ["k"], ["u", "f", "v", "c"], sorted=0), node("Compress", ["x", "b"], "z", axis=1)],
              {"x": (FLOAT, [2, 3])}, {"y": FLOAT, "u": FLOAT, "v": INT64, "z": FLOAT},
              {"k": np.array([[0, 1, 2], [1, 0, 0]], np.float32), "b": np.array([True, False, True])})
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    same(done, tmp_path, m, [{"x": x}])
    done("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")


def test_compile_names_what_is_computed(run, tmp_path):
    cases = {"NonZero": ([node("NonZero", ["x"], "i"), node("Transpose", ["i"], "y")], INT64, "i"),
             "Slice": (MOST + FORMS["Slice"], FLOAT, "y")}
    for op, (nodes, kind, name) in cases.items():
        onnx.save(model(nodes, {"x": (FLOAT, [5, 4])}, {"y": kind}, CONSTANTS), tmp_path / "m.onnx")
        end = run("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")
        assert end.rc == 1 and f"node '{name}' ({op}): " in end.stderr and "not known before the model runs" in end.stderr


def trimmed(compiled, outputs):
    """Outputs of compiled code, those whose size is data with the size that they have; behind it is 0."""
    for i, y in enumerate(outputs):
        size, axis = (re.search(rf"OUTPUT{i}_{k} (\d+)", compiled.header) for k in ("SIZE", "SIZE_AXIS"))
        if not size:
            yield y
            continue
        shape = list(y.shape)
        shape[int(axis[1])] = int(outputs[int(size[1])])
        count = int(np.prod(shape))
        assert not y.ravel()[count:].any()
        yield y.ravel()[:count].reshape(shape)


def test_compiled_at_the_most(done, qonnx, tmp_path):
    """Outputs of a model whose sizes are data: room for the most, the sizes behind them, 0 where there is no more."""
    source = detector()
    nodes = [*source.graph.node[:10], node("Round", ["cs"], "whole"), node("NonZero", ["whole"], "places"),
             node("Greater", ["f", "least"], "g"), node("Reshape", ["g", "minus"], "mask"), node("Compress", ["f", "mask"], "positive"),
             node("Unique", ["whole"], ["u", "", "at", "times"])]
    outputs = {"chosen": INT64, "places": INT64, "positive": FLOAT, "u": FLOAT, "at": INT64, "times": INT64}
    m = model(nodes, {"x": (FLOAT, [1, 3, 16, 16])}, outputs,
              {k.name: numpy_helper.to_array(k) for k in source.graph.initializer} | {"minus": np.array([-1])})
    path, data = saved(tmp_path, m, pictures())
    want = command(done, path, data, 6, "--engine", "portable")
    compiled = compile_model(qonnx, path, tmp_path / "c")
    compiled.build(["cc"], ["-O1", *WARNINGS])
    got = compiled.run([[sample["x"]] for sample in pictures()])
    assert len(got[0]) == 10 and same_bytes([list(trimmed(compiled, outputs))[:6] for outputs in got], want)
    subprocess.run(["make", "-s", "-C", tmp_path / "c", "test"], check=True, capture_output=True)
    assert "differ in" not in done("evaluate", path, path, *data, "--compiled")


def test_batch_of_counted_size(run, done, tmp_path):
    """A fixed batch of two: samples that fill it run; single ones would share outputs that cannot be told apart."""
    m = model([node("NonZero", ["x"], "i"), node("Transpose", ["i"], "y")], {"x": (FLOAT, [2, 3])}, {"y": INT64}, {})
    full = [{"x": np.eye(2, 3, dtype=np.float32)}, {"x": np.ones((2, 3), np.float32)}]
    same(done, tmp_path / "full", m, full)
    path, data = saved(tmp_path / "single", m, [{"x": s["x"][:1]} for s in full])
    end = run("run", path, *data)
    assert end.rc == 1 and "fill the model's batch of 2" in end.stderr


def test_many_sizes(done, tmp_path):
    """Each sample has another size: programs are dropped again, and nothing else changes."""
    m = model(MOST + FORMS["Tile"], {"x": (FLOAT, [5, "N"])}, {"y": FLOAT}, CONSTANTS)
    samples = [{"x": np.full((5, 1), k % 40, np.float32)} for k in range(1, 90)]
    same(done, tmp_path, m, samples, "-j", "4")
