"""--shape: open dimensions that every verb gives a size, and what is refused."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cli import misused, refused

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)


def net(path, shape=("N", 3, "H", "W"), opset=13):
    """Conv, then a Reshape to what Shape says: its outputs' shapes are open in every axis."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["c"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["batch"], "gather"),
        helper.make_node("Concat", ["batch", "minus"], ["to"], "concat", axis=0),
        helper.make_node("Reshape", ["c", "to"], ["y"], "reshape"),
    ]
    constants = {
        "w": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "zero": np.array([0]),
        "minus": np.array([-1]),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, ["N", "M"])],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
        value_info=[helper.make_tensor_value_info("c", FLOAT, ["N", 4, "H", "W"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def two(path):
    """The sum of two inputs, one of them of no known rank."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["a=1", "b"], ["y"], "add")],
        "g",
        [
            helper.make_tensor_value_info("a=1", FLOAT, ["n", 4]),
            helper.make_tensor_value_info("b", FLOAT, None),
        ],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def samples(folder, *shape, count=20):
    folder.mkdir()
    for i in range(count):
        np.save(folder / f"{i:02}.npy", RNG.normal(size=shape).astype(np.float32))
    return folder


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_inspect_counts_the_shape(done, tmp_path):
    path = net(tmp_path / "m.onnx")
    told = json.loads(done("inspect", path, "--json", "--shape", "2,3,5,7"))
    assert told["inputs"][0]["shape"] == [2, 3, 5, 7]
    assert told["outputs"][0]["shape"] == [2, 140]
    assert told["macs"] == 2 * 5 * 7 * 4 * 27 and told["activations"]["unknown"] == 0
    told = json.loads(done("inspect", two(tmp_path / "two.onnx"), "--json", "--shape", "a=1=3,4",
                           "--shape", "b=3,1"))
    assert [i["shape"] for i in told["inputs"]] == [[3, 4], [3, 1]]
    assert told["outputs"][0]["shape"] == [3, 4]


def test_run_and_evaluate_want_that_shape(done, run, tmp_path):
    path, data = net(tmp_path / "m.onnx"), samples(tmp_path / "data", 1, 3, 6, 8, count=2)
    for verb in ("run", "evaluate"):
        done(verb, path, "--data", data, "--shape", "x=1,3,6,8")
        refused(run(verb, path, "--data", data, "--shape", "x=1,3,8,8"), "[1,3,8,8]", "[1,3,6,8]")


def test_a_test_set_wants_that_shape(done, run, tmp_path):
    path = net(tmp_path / "m.onnx")
    x = RNG.normal(size=(1, 3, 6, 8)).astype(np.float32)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "input_0.pb").write_bytes(numpy_helper.from_array(x).SerializeToString())
    done("run", path, "--data", tmp_path / "set", "--shape", "1,3,6,8")
    refused(run("run", path, "--data", tmp_path / "set", "--shape", "1,3,8,8"), "'x'", "[1,3,8,8]",
            "[1,3,6,8]")


def test_pictures_fit_an_open_input(done, run, tmp_path):
    imaging = pytest.importorskip("PIL.Image")
    path = net(tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    pixels = RNG.integers(0, 255, size=(8, 6, 3), dtype=np.uint8)
    imaging.fromarray(pixels).save(tmp_path / "data" / "a.png")
    done("run", path, "--data", tmp_path / "data", "--shape", "1,3,8,6", "-o", tmp_path / "out")
    x = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    want = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    got = np.load(tmp_path / "out" / "output_0.npy")
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_the_batch_is_that_of_the_shape(done, tmp_path):
    """Single samples share a batch that --shape gives."""
    path, data = net(tmp_path / "m.onnx"), samples(tmp_path / "data", 3, 4, 4, count=6)
    done("run", path, "--data", data, "--shape", "4,3,4,4", "-o", tmp_path / "a")
    done("run", path, "--data", data, "-o", tmp_path / "b")
    for file in sorted((tmp_path / "b" / "output_0").iterdir()):
        assert np.array_equal(np.load(file), np.load(tmp_path / "a" / "output_0" / file.name))


def test_quantize_leaves_open_what_is_open(done, tmp_path):
    path, data = net(tmp_path / "m.onnx"), samples(tmp_path / "data", 1, 3, 8, 8)
    plain, shaped, fixed, stated = (tmp_path / f"{n}.onnx" for n in ("p", "s", "f", "c"))
    done("quantize", path, "--data", data, "-o", plain)
    done("quantize", path, "--data", data, "-o", shaped, "--shape", "1,3,8,8")
    assert plain.read_bytes() == shaped.read_bytes()
    assert dims(onnx.load(shaped).graph.input[0]) == ["N", 3, "H", "W"]
    done("calibrate", path, data, "-o", tmp_path / "m.qcal", "--shape", "1,3,8,8")
    done("quantize", path, "--data", data, "-o", fixed, "--shape", "1,3,8,8", "--fix-shape")
    done("quantize", path, "--calibration", tmp_path / "m.qcal", "-o", stated, "--shape",
         "x=1,3,8,8", "--fix-shape")
    assert fixed.read_bytes() == stated.read_bytes()


def test_fix_shape_stands_in_the_model(done, tmp_path):
    path, data = net(tmp_path / "m.onnx"), samples(tmp_path / "data", 1, 3, 8, 8)
    out = tmp_path / "out.onnx"
    done("quantize", path, "--data", data, "-o", out, "--shape", "1,3,8,8", "--fix-shape")
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert dims(model.graph.input[0]) == [1, 3, 8, 8]
    assert dims(model.graph.output[0]) == [1, 256]
    assert not {"Shape", "Gather"} & {n.op_type for n in model.graph.node}
    onnxruntime.InferenceSession(out)
    done("quantize", path, "--data", data, "-o", tmp_path / "open.onnx")
    for name in ("out", "open"):
        done("run", tmp_path / f"{name}.onnx", "--data", data / "00.npy", "-o", tmp_path / name)
    fixed, left_open = (np.load(tmp_path / name / "output_0.npy") for name in ("out", "open"))
    assert np.abs(fixed - left_open).max() <= 0.1 * np.abs(fixed).max()  # biases are corrected by more that is known


def test_fix_shape_of_an_empty_pipeline_changes_nothing_else(done, tmp_path):
    path, out = net(tmp_path / "m.onnx"), tmp_path / "out.onnx"
    done("quantize", path, "--pipeline", "", "-o", out, "--shape", "2,3,4,5", "--fix-shape")
    made, given = onnx.load(out), onnx.load(path)
    assert made.graph.node == given.graph.node
    assert dims(made.graph.input[0]) == [2, 3, 4, 5] and dims(made.graph.output[0]) == [2, 80]
    assert dims(made.graph.value_info[0]) == [2, 4, 4, 5]
    done("quantize", path, "--pipeline", "", "-o", out, "--shape", "2,3,4,5")
    assert out.read_bytes() == path.read_bytes()


def test_compile_takes_an_open_model(done, run, tmp_path):
    path = net(tmp_path / "m.onnx")
    refused(run("compile", path, "-o", tmp_path / "c"), "dimension 2 of input 'x' is open",
            "--shape")
    refused(run("compile", two(tmp_path / "two.onnx"), "-o", tmp_path / "c"), "'b' has no shape",
            "--shape")
    done("compile", path, "-o", tmp_path / "c", "--shape", "1,3,8,8")
    assert "192" in (tmp_path / "c" / "m.h").read_text()


@pytest.mark.parametrize(
    "shape, words",
    [
        ("1,3,8", ["has 3 sizes", "'x'", "rank 4"]),
        ("1,4,8,8", ["size 1 is 4", "'x'", "to 3"]),
        ("1,3,0,8", ["found '0'", "want sizes of 1"]),
        ("1,3,-1,8", ["found '-1'"]),
        ("1,3,4294967296,8", ["found '4294967296'"]),
        ("1,3,99999999999999999999,8", ["found '99999999999999999999'"]),
        ("1,3,60000,60000", ["more than 2^31 - 1 elements"]),
        ("1,3,,8", ["found ''"]),
        ("1,3,8,8,", ["found ''"]),
        ("", ["found ''"]),
        ("x=", ["found ''"]),
        ("1,3,8x8", ["found '8x8'"]),
        ("1,1,1,1,1,1,1,1,1,1", ["more than"]),
        ("X=1,3,8,8", ["no input of that name", "'x'"]),
        ("w=4,3,3,3", ["no input of that name"]),
        ("=1,3,8,8", ["no input of that name"]),
    ],
)
def test_wrong_shapes_get_one_message(run, tmp_path, shape, words):
    path, data = net(tmp_path / "m.onnx"), samples(tmp_path / "data", 1, 3, 8, 8, count=1)
    out = tmp_path / "out"
    for arguments in (
        ["inspect", path],
        ["calibrate", path, data, "-o", out],
        ["quantize", path, "--data", data, "-o", out],
        ["quantize", path, "--pipeline", "", "-o", out],
        ["evaluate", path, "--data", data],
        ["run", path, "--data", data],
        ["compile", path, "-o", out],
    ):
        refused(run(*arguments, "--shape", shape), *words)
    assert not out.exists()


def test_a_shape_of_several_inputs_names_one(run, tmp_path):
    path = two(tmp_path / "m.onnx")
    refused(run("inspect", path, "--shape", "3,4"), "has 2", "'a=1'", "'b'")
    refused(run("inspect", path, "--shape", "c=3,4"), "no input of that name", "'a=1'", "'b'")
    refused(run("inspect", path, "--shape", "a=1=3,4", "--shape", "b=5,4"), "'add'")
    refused(run("inspect", path, "--shape", "b=5,4", "--shape", "b=6,4"), "'b'", "to 5")


def test_fix_shape_wants_a_shape(run, tmp_path):
    misused(run("quantize", net(tmp_path / "m.onnx"), "--pipeline", "", "-o", tmp_path / "o.onnx",
                "--fix-shape"), "--shape")


def test_help_has_an_example(done):
    for verb in ("inspect", "calibrate", "quantize", "evaluate", "run", "compile"):
        assert "--shape x=1,3,640,640" in done(verb, "--help")


def test_old_operator_set(done, tmp_path):
    """What is tried on a copy leaves the operator set of the model alone: Squeeze-11 has its axes as an attribute."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Squeeze", ["x"], ["s"], axes=[0]), onnx.helper.make_node("Relu", ["s"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, "n"])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=6), tmp_path / "m.onnx")
    done("compile", "-q", tmp_path / "m.onnx", "--shape", "1,5", "--target", "generic", "-o", tmp_path / "c")
