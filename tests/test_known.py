"""What the library says of operators: that it runs them, all that is missing, and their work."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT, FLOAT16, DOUBLE, INT64 = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64)


def model(nodes, inputs, outputs=("y",), constants=None, opset=13, **domains):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info(n, t, s) for n, t, s in inputs], [info(n, FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()])
    for o in graph.output:
        o.ClearField("type")
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, v) for d, v in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def one(op, *types, opset=13, outputs=("y",), constants=None, **attributes):
    """A model of one node 'n' with inputs of these types."""
    inputs = [(f"x{i}", t, [2, 3, 4, 4]) for i, t in enumerate(types)]
    names = [*(n for n, _, _ in inputs), *(constants or {})]
    node = helper.make_node(op, names, list(outputs), "n", **attributes)
    return model([node], inputs, outputs[-1:], constants, opset)


def saved(made, folder):
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


def inspected(done, path):
    return {o["type"]: o for o in json.loads(done("inspect", path, "--json"))["operators"]}


# ---- known means that it runs ----

@pytest.mark.mends("operators - what inspect calls known runs")
@pytest.mark.parametrize("node", [
    helper.make_node("Riddle", [""], ["y"], "n"),
    helper.make_node("Unheard", ["c"], ["y"], "n", domain="elsewhere"),
], ids=["left out", "constant"])
def test_nothing_to_wait_for(done, tmp_path, node):
    """An operator without a row does not run because its inputs are constant, or left out."""
    path = saved(model([node], [], constants={"c": np.float32([1])}, opset=18, elsewhere=1), tmp_path)
    assert not inspected(done, path)[node.op_type]["known"]

def indices_unread():
    made = one("MaxPool", FLOAT, kernel_shape=[2, 2])
    made.graph.node[0].output.append("indices")
    return made


RUNS = {
    "Relu": lambda: one("Relu", FLOAT),
    "Relu of int8": lambda: one("Relu", TensorProto.INT8, opset=14),
    "Relu of int64": lambda: one("Relu", INT64, opset=14),
    "Add of int64": lambda: one("Add", INT64, INT64),
    "Add of float16": lambda: one("Add", FLOAT16, FLOAT16),
    "Conv of float16": lambda: one("Conv", FLOAT16, constants={"w": np.ones((3, 3, 1, 1), np.float16)}),
    "MaxPool of uint8": lambda: one("MaxPool", TensorProto.UINT8, kernel_shape=[2, 2]),
    "MaxPool with Indices": lambda: one("MaxPool", FLOAT, outputs=("z", "y"), kernel_shape=[2, 2]),
    "MaxPool with Indices that nobody reads": lambda: indices_unread(),
    "Softmax of double": lambda: one("Softmax", DOUBLE),
    "BatchNormalization in training": lambda: one(
        "BatchNormalization", FLOAT, opset=15, training_mode=1, constants={n: np.ones(3, np.float32) for n in "sbmv"}),
    "Transpose of double": lambda: one("Transpose", DOUBLE),
    "ReduceSum of int64": lambda: one("ReduceSum", INT64),
    "Identity of bool": lambda: one("Identity", TensorProto.BOOL),
    "Clip of an old set": lambda: one("Clip", FLOAT, opset=6, min=0.0),
}

DOES_NOT = {
    "Neg of a string": (lambda: one("Neg", TensorProto.STRING), "input 0 is string"),
    "Cast to complex numbers": (lambda: one("Cast", FLOAT, to=TensorProto.COMPLEX64), "to complex64"),
    "Mod of floats": (lambda: one("Mod", FLOAT, FLOAT), "the attribute fmod"),
    "BitShift to nowhere": (lambda: one("BitShift", TensorProto.UINT8, TensorProto.UINT8, direction="UP"), "direction is 'UP'"),
    "Softmax of int64": (lambda: one("Softmax", INT64), "input 0 is int64"),
    "Erf of int64": (lambda: one("Erf", INT64), "input 0 is int64"),
    "Neg of uint8": (lambda: one("Neg", TensorProto.UINT8), "input 0 is uint8"),
    "Not of int64": (lambda: one("Not", INT64), "input 0 is int64"),
    "Equal of two types": (lambda: one("Equal", FLOAT, INT64), "inputs of different types"),
    "Where by numbers": (lambda: one("Where", INT64, FLOAT, FLOAT), "input 0 is int64"),
    "ReduceSum of bool": (lambda: one("ReduceSum", TensorProto.BOOL), "input 0 is bool"),
    "Gelu with sinh": (lambda: one("Gelu", FLOAT, opset=20, approximate="sinh"), "approximate is 'sinh'"),
    "MaxPool of int16": (lambda: one("MaxPool", TensorProto.INT16, kernel_shape=[2, 2]), "input 0 is int16"),
    "BatchNormalization in training of two types": (lambda: one(
        "BatchNormalization", FLOAT, opset=15, training_mode=1,
        constants={n: np.ones(3, np.float64) for n in "sbmv"}), "input 1 is double"),
    "MaxPool-13 with an attribute of no set": (lambda: one("MaxPool", FLOAT, kernel_shape=[2, 2], border=1), "it has no attribute 'border'"),
}


def samples(made, folder):
    """A folder that is one sample of the model's inputs."""
    (folder / "data").mkdir()
    for i, value in enumerate(made.graph.input):
        kind = value.type.tensor_type
        shape = [d.dim_value or 1 for d in kind.shape.dim]
        x = np.random.default_rng(1).integers(0, 2, shape).ravel()
        x = [b"text"] * x.size if kind.elem_type == TensorProto.STRING else x
        t = helper.make_tensor("t", kind.elem_type, shape, x)
        (folder / "data" / f"input_{i}.pb").write_bytes(t.SerializeToString())
    return folder / "data"


@pytest.mark.parametrize("name", RUNS)
def test_known_runs(done, tmp_path, name):
    made = RUNS[name]()
    path = saved(made, tmp_path)
    (row,) = inspected(done, path).values()
    assert row["known"] and row["refused"] == 0 and row["why"] is None
    assert "cannot be run" not in done("inspect", path)
    done("run", "-q", path, "--data", samples(made, tmp_path), "-o", tmp_path / "out")


@pytest.mark.mends("operators - known means that it runs")
@pytest.mark.parametrize("name", DOES_NOT)
def test_what_does_not_run_is_marked(done, run, tmp_path, name):
    make, why = DOES_NOT[name]
    made = make()
    path = saved(made, tmp_path)
    (row,) = inspected(done, path).values()
    assert not row["known"] and row["refused"] == row["count"] == 1 and why in row["why"]
    text = done("inspect", path)
    assert f"(1 cannot be run: {row['why']})" in text if why else "(unknown to this library)" in text
    end = run("run", path, "--data", samples(made, tmp_path), "-o", tmp_path / "out")
    assert end.rc == 1 and why in end.stderr and end.stderr.count("\n") == 1
    if not why:
        assert f"cannot run operator {made.graph.node[0].op_type} (node 'n');" in end.stderr


def test_quantized_operators_of_files_are_known(done, tmp_path):
    """QLinearConv has no lowering of its own: it becomes one of a quantized Conv."""
    constants = {"xs": np.float32(0.1), "xz": np.uint8(3), "w": np.ones((2, 3, 1, 1), np.int8), "ws": np.float32(0.1),
                 "wz": np.int8(0), "ys": np.float32(0.1), "yz": np.uint8(3)}
    made = one("QLinearConv", TensorProto.UINT8, constants=constants)
    path = saved(made, tmp_path)
    assert inspected(done, path)["QLinearConv"]["known"]
    done("run", "-q", path, "--data", samples(made, tmp_path), "-o", tmp_path / "out")


# ---- all that is missing at once ----

def lacking():
    """A model that lacks three operators, and types of a fourth."""
    nodes = [helper.make_node("Mystery", ["x"], ["a"], "m1", domain="some.where"),
             helper.make_node("Riddle", ["a"], ["b"], "rn"),
             helper.make_node("Mystery", ["x"], ["c"], "m2", domain="some.where"),
             helper.make_node("Erf", ["h"], ["d"], "a1"), helper.make_node("Erf", ["d"], ["e"], "a2"),
             helper.make_node("Erf", ["x"], ["f"], "a3"),
             helper.make_node("Fable", ["f"], ["y"], "s1")]
    return model(nodes, [("x", FLOAT, [1, 3]), ("h", INT64, [1, 3])], ("b", "c", "e", "y"), **{"some.where": 1})


LISTED = ("this library cannot run operators some.where.Mystery (2 nodes, first 'm1'), Riddle (node 'rn'), "
          "Erf (2 nodes, first 'a1': input 0 is int64, which cannot be run), Fable (node 's1'); "
          "export the model without them\n")


@pytest.mark.mends("operators - all that is missing at once")
@pytest.mark.parametrize("verb", ["run", "evaluate", "calibrate", "compile", "quantize"])
def test_all_that_is_missing(run, tmp_path, verb):
    made = lacking()
    path, out = saved(made, tmp_path), tmp_path / "out"
    data = samples(made, tmp_path)
    arguments = {"run": ["--data", data, "-o", out], "evaluate": ["--data", data], "calibrate": [data, "-o", out],
                 "compile": ["--target", "generic", "-o", out], "quantize": ["--data", data, "-o", out]}[verb]
    end = run(verb, path, *arguments)
    assert end.rc == 1 and end.stderr == f"qonnx: {path}: {LISTED}" and not out.exists()


@pytest.mark.mends("operators - all that is missing at once")
def test_inspect_marks_all(done, tmp_path):
    rows = inspected(done, saved(lacking(), tmp_path))
    assert {op: (r["count"], r["refused"]) for op, r in rows.items()} == {
        "Mystery": (2, 2), "Riddle": (1, 1), "Erf": (3, 2), "Fable": (1, 1)}


@pytest.mark.mends("operators - all that is missing at once")
def test_many_kinds(run, tmp_path):
    """The message stays short."""
    nodes = [helper.make_node(f"Mystery{i}", ["x"], [f"y{i}"], domain="d") for i in range(100)]
    made = model(nodes, [("x", FLOAT, [1])], [f"y{i}" for i in range(100)], d=1)
    end = run("run", saved(made, tmp_path), "--data", samples(made, tmp_path))
    assert end.rc == 1 and end.stderr.count("Mystery") == 24 and "and 76 nodes of other kinds" in end.stderr


# ---- work ----

def layers(batch, height=8):
    """Conv, Flatten, Gemm and MatMul: 3*3*3*4*64, 256*5, 5*7 multiply-accumulates a sample."""
    rng = np.random.default_rng(1)
    constants = {"w": rng.random((4, 3, 3, 3), np.float32), "g": rng.random((5, 256), np.float32),
                 "m": rng.random((5, 7), np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
             helper.make_node("Flatten", ["c"], ["f"]),
             helper.make_node("Gemm", ["f", "g"], ["h"], transB=1),
             helper.make_node("MatMul", ["h", "m"], ["y"])]
    return model(nodes, [("x", FLOAT, [batch, 3, height, 8])], constants=constants)


SAMPLE = 3 * 3 * 3 * 4 * 64 + 256 * 5 + 5 * 7


@pytest.mark.mends("operators - work with open sizes")
@pytest.mark.parametrize("batch", ["batch", None, 1, 10])
def test_work_of_an_open_batch(done, tmp_path, batch):
    path = saved(layers(batch), tmp_path)
    seen = json.loads(done("inspect", path, "--json"))
    want = SAMPLE * (batch if isinstance(batch, int) else 1)
    assert (seen["macs"], seen["macs_unknown"]) == (want, 0)
    assert f"MACs        {want}\n" in done("inspect", path)
    assert seen["activations"]["unknown"] == 0


@pytest.mark.mends("operators - work with open sizes")
def test_work_of_open_pictures(done, tmp_path):
    """A picture of any height counts as one row."""
    rng = np.random.default_rng(1)
    made = model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
                 [("x", FLOAT, ["n", 3, "h", 8])], constants={"w": rng.random((4, 3, 3, 3), np.float32)})
    seen = json.loads(done("inspect", saved(made, tmp_path), "--json"))
    assert (seen["macs"], seen["macs_unknown"]) == (3 * 3 * 3 * 4 * 8, 0)
    assert seen["activations"]["sum_bytes"] == 4 * 8 * 4
