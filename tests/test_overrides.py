"""quantize --activations and --weights: the types of all. --overrides: type, scale, range and observer of single tensors and nodes, in our words and in ONNX Runtime's."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from ort import session
from plugin_source import PLUGIN, compile_source
from test_choice import files, in_integers, quantize  # noqa: F401: a fixture
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


def overridden(files, overrides, *options, model="m.onnx"):  # noqa: F811
    (files / "o.json").write_text(overrides if isinstance(overrides, str) else json.dumps(overrides))
    return quantize(files, "--overrides", files / "o.json", *options, model=model)


def grids(path):
    """Of each tensor that a QuantizeLinear reads, or a constant that a DequantizeLinear does: type, scales, zero points."""
    graph = onnx.load(path).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    out = {}
    for n in graph.node:
        if n.op_type == "QuantizeLinear":
            out[n.input[0].removesuffix("_QuantizeLinear_Input")] = [constants[i] for i in n.input[1:]]
        elif n.op_type == "DequantizeLinear" and n.input[0] in constants:
            out[n.input[0].removesuffix("_1").removesuffix("_quantized")] = [constants[i] for i in n.input[1:]]
    return {k: (str(z.dtype), np.atleast_1d(s), np.atleast_1d(z)) for k, (s, z) in out.items()}


def outputs(files, name="q.onnx"):  # noqa: F811
    """ONNX Runtime's, in a default session where VNNI is, and those of `qonnx run`. The file is one by ONNX's own checker."""
    onnx.checker.check_model(str(files / name))
    s = session(files / name, "ort-x86")
    want = [s.run(None, {"x": np.load(f)})[0] for f in sorted((files / "data").glob("*.npy"))]
    assert run_command("run", "-q", files / name, "--data", files / "data", "-o", files / "out").rc == 0
    return want, [np.load(f) for f in sorted((files / "out").rglob("*.npy"))]


THEIRS = {
    "r1": [{"quant_type": QuantType.QUInt16}],
    "r2": [{"rmin": np.array(-1, np.float32), "rmax": np.array(3, np.float32)}],
    "x": [{"symmetric": True}],
    "p": [{"scale": np.array(0.02, np.float32), "zero_point": np.array(4, np.uint8)}],
    "y": [{"quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": False}],
    "c1_w": [{"quant_type": QuantType.QInt8, "symmetric": True, "axis": 0}],
    "c2_w": [{"quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": True}],
}


def as_json(value):
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(v) for v in value]
    return str(value) if isinstance(value, QuantType) else value.item() if isinstance(value, np.ndarray) else value


def test_theirs(files, tmp_path):  # noqa: F811
    """What ONNX Runtime makes of its TensorQuantOverrides: the same types, zero points and scales where the ranges are."""
    class Reader(CalibrationDataReader):
        left = [{"x": np.load(f)} for f in sorted((files / "data").glob("*.npy"))]

        def get_next(self):
            return self.left.pop(0) if self.left else None

    quantize_static(files / "m.onnx", files / "theirs.onnx", Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    extra_options={"TensorQuantOverrides": THEIRS, "ActivationSymmetric": False, "WeightSymmetric": True})
    result = overridden(files, as_json(THEIRS), "--observer", "minmax", "--weights", "per-tensor", "--no-correct-bias", "--check-samples", 0)
    assert (result.rc, result.stderr) == (0, "")
    want, got = grids(files / "theirs.onnx"), grids(files / "q.onnx")
    for name in THEIRS:
        kind, scales, zeros = want[name]
        assert got[name][0] == kind, name
        np.testing.assert_array_equal(got[name][2], zeros, err_msg=name)
        np.testing.assert_allclose(got[name][1], scales, rtol=1e-6, err_msg=name)
    assert len(got["c1_w"][1]) == 8 and got["c2_w"][1].size == 1


@pytest.mark.parametrize("kind", ["uint16", "int16", "int8"])
def test_types(files, kind):  # noqa: F811
    """A type of its own for a convolution's output, carried through the Relu; it loads, and gives ONNX Runtime's numbers."""
    assert overridden(files, {"tensors": {"r1": {"dtype": kind}, "y": {"dtype": "uint16"}}}).rc == 0
    made = grids(files / "q.onnx")
    assert made["r1"][0] == kind and made["y"][0] == "uint16"
    assert made["c1" if "c1" in made else "r1"][0] == kind
    want, got = outputs(files)
    step = made["y"][1][0]
    for a, b in zip(got, want, strict=True):
        assert np.max(np.abs(a - b)) <= 1.01 * step
    assert in_integers(files / "q.onnx") == {"n_c1", "n_c2", "n_c3", "n_y"}


def test_sixteen_bits_help(files):  # noqa: F811
    """All activations of 16 bits: the weights' noise is all that is left; and it is said where they run."""
    plain = json.loads(quantize(files, "--json").stdout)["check"]["outputs"][0]["sqnr_db"]
    every = {"nodes": {"op:.*": {"output": {"dtype": "uint16"}}}, "tensors": {"x": {"dtype": "uint16"}}}
    result = overridden(files, every, "--json", "-v")
    assert json.loads(result.stdout)["check"]["outputs"][0]["sqnr_db"] > plain + 3
    assert "16 bits: ONNX Runtime on processors, and generated C, compute them in floats" in result.stderr
    want, got = outputs(files)
    np.testing.assert_allclose(np.array(got), np.array(want), atol=1e-4)


def test_moved_values(tmp_path, done):
    """What is wanted of what data movement gives is wanted of what it reads; what a Concat joins has one range, the given one."""
    n = Net([1, 3, 8, 8])
    a, b = n.op("Relu", [n.conv("x", 3, 8, "a")], "ra"), n.op("Relu", [n.conv("x", 3, 8, "b")], "rb")
    joined = n.op("Concat", [a, b], "j", axis=1)
    t = n.op("Transpose", [n.conv(joined, 16, 8, "c")], "t", perm=[0, 1, 3, 2])
    n.constants.append(numpy_helper.from_array(np.array([1, -1]), "s"))
    n.op("Reshape", [t, "s"], "y")
    onnx.save(n.model("y"), tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    for i in range(24):
        np.save(tmp_path / "data" / f"{i:02}.npy", np.random.default_rng(i).normal(size=(1, 3, 8, 8)).astype(np.float32))
    assert overridden(tmp_path, {"y": [{"quant_type": "QUInt16"}], "ra": [{"rmin": 0, "rmax": 9}]}).rc == 0
    made = grids(tmp_path / "q.onnx")
    assert {made[k][0] for k in ("c", "t", "y")} == {"uint16"}
    assert len({float(made[k][1][0]) for k in ("c", "t", "y")}) == 1
    assert made["ra"][1] == pytest.approx(9 / 255) and made["rb"][1] == made["ra"][1]
    want, got = outputs(tmp_path)
    np.testing.assert_allclose(np.array(got), np.array(want), atol=2 * float(made["y"][1][0]))


def test_nodes(files):  # noqa: F811
    """A node's outputs, inputs, weight; one that stays in float; an operator for all of its kind."""
    nodes = {"n_c2": {"output": {"observer": "minmax"}, "weight": {"per_channel": False}, "input": {"rmin": 0, "rmax": 25.5}},
             "op:Gemm": {"float": True}, "n_p": {"float": False}}
    assert overridden(files, {"nodes": nodes}).rc == 0
    made = grids(files / "q.onnx")
    assert made["c2_w"][1].size == 1 and made["c1_w"][1].size == 8 and made["r1"][1] == pytest.approx(0.1)
    assert in_integers(files / "q.onnx") == {"n_c1", "n_c2", "n_c3"}
    quantize(files, "--observer", "minmax")
    assert made["r2"][1] == grids(files / "q.onnx")["r2"][1]


def test_weight_scales(files):  # noqa: F811
    """Scales and ranges per channel, one object each, or lists."""
    scales = [0.01 * (k + 1) for k in range(8)]
    entries = {"c1_w": [{"scale": s, "zero_point": 0} for s in scales], "c2_w": {"scale": scales},
               "c3_w": [{"rmin": -1.27 * (k + 1), "rmax": 0.5} for k in range(8)]}
    assert overridden(files, entries).rc == 0
    made = grids(files / "q.onnx")
    for name in entries:
        np.testing.assert_allclose(made[name][1], scales, rtol=1e-6)
    graph = {i.name: numpy_helper.to_array(i) for i in onnx.load(files / "q.onnx").graph.initializer}
    weight = {i.name: numpy_helper.to_array(i) for i in onnx.load(files / "m.onnx").graph.initializer}["c1_w"]
    want = np.clip(np.rint(weight / np.float32(scales)[:, None, None, None]), -127, 127)
    np.testing.assert_array_equal(graph["c1_w_quantized"], want)


def test_by_statistics(files, done):  # noqa: F811
    """Overrides are none of the passes behind which statistics are taken, and the metadata has them."""
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    assert overridden(files, {"tensors": {"r1": {"dtype": "uint16"}}}).rc == 0
    done("quantize", files / "m.onnx", "--calibration", files / "m.qcal", "--overrides", files / "o.json", "-o", files / "a.onnx")
    assert (files / "a.onnx").read_bytes() == (files / "q.onnx").read_bytes()
    said, = (p.value for p in onnx.load(files / "q.onnx").metadata_props if p.key == "qonnx.pipeline")
    assert "override{value=r1,dtype=uint16},calibrate" in said
    done("quantize", files / "m.onnx", "--data", files / "data", "--pipeline", said, "-o", files / "b.onnx")
    assert (files / "b.onnx").read_bytes() == (files / "q.onnx").read_bytes()


def test_compiled(files, qonnx):  # noqa: F811
    """C of 16-bit layers computes what `qonnx run` does."""
    from compiled import compile_model, same_bytes
    assert overridden(files, {"tensors": {"r1": {"dtype": "int16"}, "y": {"dtype": "uint16"}}}).rc == 0
    assert run_command("run", "-q", files / "q.onnx", "--data", files / "data", "-o", files / "out", "--engine", "portable").rc == 0
    made = compile_model(qonnx, files / "q.onnx", files / "c")
    made.build(["gcc"], [], ["-lm"])
    inputs = [[np.load(f)] for f in sorted((files / "data").glob("*.npy"))[:3]]
    assert same_bytes(made.run(inputs), [[np.load(f)] for f in sorted((files / "out").rglob("*.npy"))[:3]])


@pytest.mark.parametrize("overrides, words", [
    ("", "the file is empty"),
    ("{", "is no JSON: line 1"),
    ("[1]", "holds no JSON object"),
    ('{"a": {}, "a": {}}', "no JSON: line 1: duplicate"),
    ({"nope": [{"symmetric": True}]}, "no value has the name 'nope'"),
    ({"r1": 3}, "'r1' is neither an object nor a list"),
    ({"r1": [{"symetric": True}]}, "'symetric' of 'r1' is not known; known are dtype"),
    ({"r1": [{"symmetric": 2}]}, "is not true or false"),
    ({"r1": [{"quant_type": "QInt4"}]}, "is none of uint8"),
    ({"r1": [{"quant_type": 3}]}, "is no text"),
    ({"r1": [{"scale": "1"}]}, "is not a number"),
    ({"r1": [{"scale": -1}]}, "want numbers over 0"),
    ({"r1": [{"scale": 1e-60}]}, "want numbers over 0"),
    ({"r1": [{"scale": 1, "zero_point": 256}]}, "want an integer in [0, 255]"),
    ({"r1": [{"scale": 1, "zero_point": 0.5}]}, "want an integer"),
    ({"r1": [{"zero_point": 1}]}, "zero-point has 1 numbers and scale 0"),
    ({"r1": [{"rmin": 1}]}, "rmin has 1 numbers and rmax 0"),
    ({"r1": [{"rmin": 1, "rmax": 0}]}, "want them in order"),
    ({"r1": [{"rmin": 0, "rmax": 1, "scale": 1}]}, "not both"),
    ({"r1": [{"scale": 1}, {"scale": 2}]}, "'r1' is no weight"),
    ({"r1": [{"axis": 1}]}, "'r1' is no weight"),
    ({"r1": [{"observer": "best"}]}, "no observer 'best'"),
    ({"r1": [{"convert": {}}]}, "one type for all that read it"),
    ({"c1_b": [{"scale": 1}]}, "'c1_b' is a bias"),
    ({"c1_w": [{"axis": 1}]}, "its channels are along axis 0"),
    ({"c1_w": [{"scale": [1, 2]}]}, "has 8 channels, 2 scales"),
    ({"c1_w": [{"quant_type": "QUInt8"}]}, "want int8, symmetric"),
    ({"c1_w": [{"scale": 1, "zero_point": 3}]}, "zero point is 3, want 0"),
    ({"c1_w": [{"scale": 1, "symmetric": True}, {"scale": 1, "symmetric": False}]}, "not the same in each entry"),
    ({"nodes": {"n_c1": []}}, "'n_c1' is no object"),
    ({"nodes": {"n_c1": {"dtype": "int8"}}}, "known are output, input, weight and float"),
    ({"nodes": {"n_c9": {"float": True}}}, "no node has the name 'n_c9'"),
    ({"nodes": {"op:[": {"float": True}}}, "no regular expression"),
    ({"nodes": {"op:Softmax": {"float": True}}}, "no node's operator matches 'Softmax'"),
    ({"nodes": {"n_p": {"weight": {"axis": 0}}}}, "has no weight that is quantized"),
], ids=str)
def test_refused(files, overrides, words):  # noqa: F811
    result = overridden(files, overrides)
    assert result.rc == 1 and words in result.stderr and not (files / "q.onnx").exists()
    assert len(result.stderr.strip().splitlines()) == 1


def test_file_is_kept(files):  # noqa: F811
    """The file of overrides is none that may be written."""
    (files / "o.json").write_text("{}")
    result = run_command("quantize", files / "m.onnx", "--data", files / "data", "--overrides", files / "o.json", "-o", files / "o.json")
    assert result.rc == 1 and "overrides" in result.stderr and (files / "o.json").read_text() == "{}"
    result = quantize(files, "--overrides", files / "none.json")
    assert result.rc == 1 and "no such file" in result.stderr
    assert "leave out" in quantize(files, "--overrides", files / "o.json", "--pipeline", "calibrate").stderr


@pytest.mark.parametrize("options, kind, symmetric, pow2", [
    (["--activations", "int8"], "int8", False, False),
    (["--activations", "uint16{}"], "uint16", False, False),
    (["--activations", "int16{symmetric=yes}"], "int16", True, False),
    (["--activations", "int8{symmetric=yes, scale=pow2}", "--weights", "int8{scale=pow2}"], "int8", True, True),
    (["--weights", "int8{per=tensor,scale=pow2,reduce-range=yes}"], "uint8", False, None),
    (["--target", "ort-arm", "--activations", "uint8", "--weights", "per-tensor"], "uint8", False, False),
], ids=lambda o: " ".join(o) if isinstance(o, list) else "")
def test_types_of_all(files, options, kind, symmetric, pow2):  # noqa: F811
    """One grammar for activations and weights: types, grids, kinds of scales; loaded, and with ONNX Runtime's numbers."""
    assert quantize(files, *options, "--check-samples", 0).rc == 0
    made = grids(files / "q.onnx")
    weights = {k: v for k, v in made.items() if k.endswith("_w")}
    activations = {k: v for k, v in made.items() if not k.endswith(("_w", "_b"))}
    assert {v[0] for v in activations.values()} == {kind} and {v[0] for v in weights.values()} == {"int8"}
    assert {v[1].size for v in weights.values()} == ({1} if "tensor" in str(options) else {8, 10})
    if symmetric:
        assert all((v[2] == 0).all() for v in activations.values())
    for group, wanted in ((activations, pow2), (weights, pow2 is not False)):
        exact = all((np.frexp(v[1])[0] == 0.5).all() for v in group.values())
        assert exact == bool(wanted)
    want, got = outputs(files)
    np.testing.assert_allclose(np.array(got), np.array(want), atol=1.01 * float(made["y"][1][0]))


def test_power_of_two_holds_the_range(files):  # noqa: F811
    """The scale is the next power of two above, so that nothing is clipped; a bias that is too large raises it to another."""
    quantize(files, "--observer", "minmax")
    plain = grids(files / "q.onnx")
    quantize(files, "--observer", "minmax", "--activations", "uint8{scale=pow2}", "--weights", "int8{scale=pow2}")
    made = grids(files / "q.onnx")
    for name in plain.keys() - {k for k in plain if k.endswith("_b")}:
        assert (plain[name][1] <= made[name][1]).all() and (made[name][1] < 2 * plain[name][1]).all()


def test_types_and_overrides(files):  # noqa: F811
    """What is said of one tensor counts more than what is said of all; short words are what they are short for."""
    assert overridden(files, {"tensors": {"r1": {"dtype": "int8"}, "c1_w": {"per_channel": True}}},
                      "--activations", "uint16", "--weights", "per-tensor").rc == 0
    made = grids(files / "q.onnx")
    assert made["r1"][0] == "int8" and made["r2"][0] == "uint16" and made["c1_w"][1].size == 8 and made["c2_w"][1].size == 1
    short, long = (onnx.load((quantize(files, "--weights", w), files / "q.onnx")[1]) for w in ("per-tensor", "int8{per=tensor}"))
    for m in (short, long):
        del m.metadata_props[:]
    assert short == long


def test_requantized_types(files, done):  # noqa: F811
    """Weights of another file with one scale for all; its activations have its own."""
    quantize(files)
    done("quantize", files / "q.onnx", "--requantize", "--weights", "int8{per=tensor}", "-o", files / "r.onnx")
    made, before = grids(files / "r.onnx"), grids(files / "q.onnx")
    assert made["c1_w"][1].size == 1 and made["r1"][1] == before["r1"][1]
    assert run_command("quantize", files / "q.onnx", "--requantize", "--activations", "int8", "-o", files / "s.onnx").rc == 2


@pytest.mark.parametrize("options, words", [
    (["--activations", "unt8"], "did you mean 'uint8'"),
    (["--activations", "float"], "--activations has no type 'float'"),
    (["--weights", "uint8"], "did you mean 'int8'"),
    (["--weights", "per-channel{}"], "--weights has no type 'per-channel'"),
    (["--weights", "int8{block=32}"], "has no option 'block'; it has"),
    (["--weights", "int8{per=row}"], "option per is 'row', want channel or tensor"),
    (["--weights", "int8{symmetric=no}"], "want int8, symmetric"),
    (["--activations", "int8{per=tensor}"], "is no weight"),
    (["--activations", "int8{scale=pow3}"], "want finite numbers"),
    (["--activations", "int8{symmetric=maybe}"], "want yes or no"),
    (["--activations", "int8{"], "a brace ({) that is not closed"),
    (["--activations", "int8{} x"], "goes on behind its closing brace"),
    (["--activations", "int8", "--pipeline", "calibrate"], "leave out"),
    (["--weights", "int8", "--pipeline", "calibrate"], "leave out"),
    (["--format", "qoperator", "--pipeline", "calibrate"], "leave out"),
], ids=lambda o: " ".join(o) if isinstance(o, list) else "")
def test_types_refused(files, options, words):  # noqa: F811
    result = quantize(files, *options)
    assert result.rc in (1, 2) and words in result.stderr and not (files / "q.onnx").exists()


@pytest.mark.parametrize("body, words", [
    ("o.grid = (qonnx_grid){QONNX_INT4, -8, 7, false};", "a grid that is none of 8 or 16 bits"),
    ("o.grid = (qonnx_grid){QONNX_UINT8, 0, 256, false};", "a grid that is none of 8 or 16 bits"),
    ("o.ranged = true; o.lo = 1; o.hi = NAN;", "a range that is not two finite numbers"),
    ("o.scales = &scale; o.zero_points = &zero; o.count = 1;", "scales without a count or a grid"),
    ("o.grid = (qonnx_grid){QONNX_UINT8, 0, 255, false}; scale = -1; o.scales = &scale; o.zero_points = &zero; o.count = 1;",
     "a scale that is not over 0"),
    ("o.grid = (qonnx_grid){QONNX_UINT8, 0, 255, false}; zero = -1; o.scales = &scale; o.zero_points = &zero; o.count = 1;",
     "a zero point that is not on its grid"),
    ("o.grid = qonnx_grid_of(QONNX_INT16, true, false); o.observer = \"minmax\";", None),
])
def test_plugin(files, tmp_path, body, words):  # noqa: F811
    """A plugin's pass may want the same; what cannot be is found where it was set."""
    run = f"""qonnx_override o = {{0}}; float scale = 1; int zero = 0; (void)scale, (void)zero; {body}
              qonnx_value_set_override(qonnx_graph_find(g, "r1"), &o); return true;"""
    fields = {k: "" for k in ("top", "range", "options", "pass", "observer", "passes", "plugin", "query")}
    fields |= {"name": "mine", "run": run, "range": "return true;"}
    plugin = compile_source(tmp_path / "mine.so", PLUGIN % fields)
    result = quantize(files, "--plugin", plugin, "--pass", "mine")
    if words:
        assert result.rc == 1 and words in result.stderr and "pass 'mine' of plugin" in result.stderr
    else:
        assert result.rc == 0 and grids(files / "q.onnx")["r1"][0] == "int16"
