"""quantize --min-sqnr, --max-drop and --max-size: which layers stay in float, and that the result is what was asked for."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import helper, numpy_helper
from ort import X86, session
from test_choice import ALL, files, in_integers  # noqa: F401: a fixture
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


def quantize(files, *options, model="m.onnx"):  # noqa: F811
    return run_command("quantize", files / model, "--data", files / "data", "--target", X86, "-o", files / "q.onnx", *options)


def outputs(files, name):  # noqa: F811
    s = session(files / name, X86)
    return np.concatenate([s.run(None, {"x": np.load(f)})[0] for f in sorted((files / "data").glob("*.npy"))])


def sqnr(files, model="m.onnx"):  # noqa: F811
    a, b = outputs(files, model).astype(float), outputs(files, "q.onnx")
    return 10 * np.log10(np.sum(a ** 2) / np.sum((a - b) ** 2))


def test_min_sqnr(files):  # noqa: F811
    """Met in ONNX Runtime, by the fewest of the choices; those layers and no others are in float."""
    assert quantize(files).rc == 0
    plain = sqnr(files)
    done = quantize(files, "--min-sqnr", plain + 3, "--json")
    assert done.rc == 0, done.stderr
    said = json.loads(done.stdout)["budget"]
    choices = said["choices"]
    taken, = (c for c in choices if c["taken"])
    assert said["samples"] == 24 and taken["layers"] == len(said["kept_float"]) > 0
    assert [c["layers"] for c in choices] == sorted(c["layers"] for c in choices)
    assert choices[0]["layers"] == 0 and choices[0]["sqnr_db"] == pytest.approx(plain, abs=0.1)
    assert all(c["sqnr_db"] < plain + 3 for c in choices if c["layers"] < taken["layers"])
    assert in_integers(files / "q.onnx") == ALL - set(said["kept_float"])
    assert sqnr(files) == pytest.approx(taken["sqnr_db"], abs=0.1) and taken["sqnr_db"] >= plain + 3
    assert 0 < taken["macs"] < 1


def test_met_as_it_is(files):  # noqa: F811
    done = quantize(files, "--min-sqnr", 5)
    assert done.rc == 0 and "budget       0 layers in float, 0.0 % of the multiplications" in done.stdout
    assert in_integers(files / "q.onnx") == ALL


def test_again(files):  # noqa: F811
    """The pipeline makes the same bytes; so do other threads."""
    made = []
    for jobs in (1, 3):
        done = quantize(files, "--min-sqnr", 35, "--json", "--jobs", jobs)
        assert done.rc == 0, done.stderr
        made.append((json.loads(done.stdout), (files / "q.onnx").read_bytes()))
    assert made[0][1] == made[1][1] and made[0][0]["budget"] == made[1][0]["budget"]
    assert quantize(files, "--pipeline", made[0][0]["pipeline"]).rc == 0
    assert (files / "q.onnx").read_bytes() == made[0][1]


@pytest.mark.parametrize("labelled", [True, False])
def test_max_drop(files, labelled):  # noqa: F811
    """By classes that the model has right; without classes there is nothing to go by."""
    m = onnx.load(files / "m.onnx")
    for t in m.graph.initializer:  # one channel is so much larger that a scale for all leaves the others nothing
        array = numpy_helper.to_array(t).copy()
        array[0] *= 300 if t.name in ("c2_w", "c2_b") else 1
        if t.name == "c3_w":
            array[:, 0] /= 300
        if t.name == "g_b":  # or all samples were of one class
            array[:] = -outputs(files, "m.onnx").mean(0) + array
        t.CopyFrom(numpy_helper.from_array(array, t.name))
    onnx.save(m, files / "coarse.onnx")
    classes = outputs(files, "coarse.onnx").argmax(1)
    if labelled:
        (files / "data" / "labels.txt").write_text("".join(f"{i:02}.npy {c}\n" for i, c in enumerate(classes)))
    weights = ["--weights", "int8{per=tensor,method=absmax}"]
    done = quantize(files, *weights, "--max-drop", "0%", "--json", model="coarse.onnx")
    if not labelled:
        assert done.rc == 1 and "--max-drop wants samples with classes" in done.stderr and not (files / "q.onnx").exists()
        return
    assert done.rc == 0, done.stderr
    said = json.loads(done.stdout)["budget"]
    assert said["choices"][0]["drop"] > 0 and "n_c2" in said["kept_float"]
    assert (outputs(files, "q.onnx").argmax(1) == classes).all()


def test_refused(files):  # noqa: F811
    """A table of integers is no layer that could stay in float."""
    table = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["t", "i"], ["rows"], "g"), helper.make_node("MatMul", ["rows", "w"], ["y"], "m")], "g",
        [helper.make_tensor_value_info("i", onnx.TensorProto.INT64, [4])], [helper.make_tensor_value_info("y", 1, [4, 8])],
        [numpy_helper.from_array(table, "t"), numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), files / "m.onnx")
    for i, f in enumerate((files / "data").glob("*.npy")):
        np.save(f, np.arange(i, 4 * i + 4)[:4])
    done = quantize(files, "--min-sqnr", 70)
    assert done.rc == 1 and "no choice of layers in float meets the budget: the best, 1 of 1, has an SQNR of" in done.stderr
    assert not (files / "q.onnx").exists()


def test_layers_without_names(files):  # noqa: F811
    """They are called by what they give, and chosen as those with names are; evaluate, lint and explain use the same word."""
    m = onnx.load(files / "m.onnx")
    words = {n.name: n.output[0] for n in m.graph.node}
    named = json.loads(quantize(files, "--min-sqnr", 50, "--json").stdout)["budget"]["kept_float"]
    for n in m.graph.node:
        n.name = ""
    onnx.save(m, files / "m.onnx")
    done = quantize(files, "--min-sqnr", 50, "--json")
    assert done.rc == 0, done.stderr
    kept = json.loads(done.stdout)["budget"]["kept_float"]
    assert named and kept == [words[n] for n in named]
    integers = {n.output[0] for n in onnx.load(files / "q.onnx").graph.node if n.op_type in ("Conv", "Gemm")} - set(kept)
    rows = json.loads(run_command("evaluate", files / "m.onnx", files / "q.onnx", "--data", files / "data", "--layers", "--json").stdout)
    fates = {r["name"]: r["runs"] for r in rows["layers"]}
    assert {fates[n] for n in kept} == {"float"}
    assert {w for w in words.values() if fates.get(w) == "integers"} >= {"c1", "c2", "c3", "y"} - set(kept)
    assert len(integers) == 4 - len(kept)
    found = {n["name"] for n in json.loads(run_command("lint", files / "m.onnx", "--json").stdout)["nodes"]}
    assert set(kept) <= found
    assert json.loads(run_command("explain", files / "m.onnx", kept[0], "--json").stdout)["name"] == kept[0]
    assert quantize(files, "--exclude", f"^{kept[0]}$").rc == 0


@pytest.fixture
def large(files):  # noqa: F811
    """m.onnx has layers of 0.4 to 9 k weights, so that it shrinks. Gives the sizes by layers in float, as files have them."""
    n = Net([1, 3, 8, 8])
    at = "x"
    for i, (a, b) in enumerate([(3, 16), (16, 32), (32, 32)]):
        at = n.op("Relu", [n.conv(at, a, b, f"c{i}")], f"r{i}")
    n.op("Gemm", [n.op("Flatten", [n.op("GlobalAveragePool", [at], "p")], "f"), n.weight("g_w", 10, 32), n.weight("g_b", 10)],
         "y", transB=1)
    onnx.save(n.model("y"), files / "m.onnx")
    return files


def size(files):  # noqa: F811
    return (files / "q.onnx").stat().st_size


def test_max_size_alone(large):
    """What room there is goes to layers in float, by gain for bytes; the sizes that are said are those of files."""
    assert quantize(large).rc == 0
    plain, near = size(large), sqnr(large)
    assert quantize(large, "--exclude", "op:Conv|Gemm").rc == 0
    whole, room = size(large), 16000
    assert whole - plain > room + 10000
    done = quantize(large, "--max-size", plain + room, "--json")
    assert done.rc == 0, done.stderr
    said = json.loads(done.stdout)["budget"]
    none, taken = said["choices"]
    assert taken["taken"] and 0 < taken["layers"] == len(said["kept_float"]) < 4
    assert (none["bytes"], taken["bytes"]) == (plain, size(large)) and size(large) <= plain + room
    assert sqnr(large) > near and "n_c1" in said["kept_float"] and "n_c2" not in said["kept_float"], "its 27 kB do not fit"
    for layer in {"n_c0", "n_c1", "n_y"} - set(said["kept_float"]):
        more = [f"^{n}$" for n in (*said["kept_float"], layer)]
        assert quantize(large, *[w for n in more for w in ("--exclude", n)]).rc == 0 and size(large) > plain + room
    done = quantize(large, "--max-size", f"{whole // 1024 + 2}K", "--json")
    assert json.loads(done.stdout)["budget"]["choices"][-1]["layers"] == 4


def test_max_size_and_accuracy(large):
    """Both hold, or nothing is written, and the message has what was reached."""
    assert quantize(large).rc == 0
    plain, near = size(large), sqnr(large)
    done = quantize(large, "--max-size", plain + 12000, "--min-sqnr", near + 1, "--json")
    assert done.rc == 0, done.stderr
    assert size(large) <= plain + 12000 and sqnr(large) >= near + 0.9
    (large / "q.onnx").unlink()
    done = quantize(large, "--max-size", plain + 200, "--min-sqnr", near + 30)
    assert done.rc == 1 and f"fits into the {plain + 200} bytes of --max-size" in done.stderr
    assert "layers in float that the accuracy takes, has " in done.stderr and "a lower --min-sqnr" in done.stderr
    done = quantize(large, "--max-size", plain - 1)
    assert done.rc == 1 and f"with no layer in float, has {plain};" in done.stderr and not (large / "q.onnx").exists()
    done = quantize(large, "--max-size", plain - 1, "--exclude", "c2")
    assert done.rc == 1 and "--exclude, --only and --overrides keep in float take 4 bytes a weight" in done.stderr


def test_remembered(files, done):  # noqa: F811
    """What layers gain is measured once beside statistics, gives the same bytes, and is taken for nothing else."""
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    path, calibrated, words = files / "m.qcal.sens", ["--calibration", files / "m.qcal"], "is known from an earlier run"

    def run(db, *options):
        made = quantize(files, *calibrated, "--min-sqnr", db, "--json", "-v", *options)
        assert made.rc == 0, made.stderr
        return words in made.stderr, json.loads(made.stdout)["budget"], (files / "q.onnx").read_bytes()

    assert not run(5)[0] and not path.exists(), "nothing was measured"
    assert not run(52)[0]
    written = path.read_bytes()
    again, budget, model = run(55)
    assert again and path.read_bytes() == written
    path.unlink()
    assert run(55) == (False, budget, model) and path.read_bytes() == written
    assert words not in quantize(files, *calibrated, "--min-sqnr", 55).stderr, "only with -v"
    for options in (["--observer", "minmax"], ["--limit", 9], ["--engine", "portable"], ["--weights", "per-tensor"]):
        assert not run(60, *options)[0], options
        assert run(60, *options)[0], options
    x = np.load(files / "data" / "03.npy")
    np.save(files / "data" / "03.npy", 2 * x)
    path.write_bytes(written)
    assert not run(55)[0], "another sample"
    np.save(files / "data" / "03.npy", x)
    path.unlink()
    quantize(files, "--min-sqnr", 55)
    assert not path.exists(), "without --calibration"


def sixteen(path):
    """The names of Conv and Gemm that read or give 16 bits."""
    graph = onnx.load(path).graph
    made = {o: n for n in graph.node for o in n.output}
    scales = {t.name: t.data_type for t in graph.initializer}
    wide = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"
            and scales.get(n.input[2], 0) in (onnx.TensorProto.UINT16, onnx.TensorProto.INT16)}
    return {n.name for n in graph.node if n.op_type in ("Conv", "Gemm") and n.input[0] in wide}


@pytest.mark.parametrize("target", ["qnn", X86])
def test_mixed(large, target):
    """Layers at 16 bits before float: cheaper where they run in integers, and where bytes are scarce."""
    def run(*options):
        done = run_command("quantize", large / "m.onnx", "--data", large / "data", "--target", target, "-o", large / "q.onnx",
                           "--json", *options)
        assert done.rc == 0, done.stderr
        return json.loads(done.stdout)["budget"]

    run()
    plain, bytes8 = sqnr(large), size(large)
    options = ["--min-sqnr", plain + 6] if target == "qnn" else ["--min-sqnr", plain + 18, "--max-size", bytes8 + 3000]
    said = run(*options, "--mixed")
    taken, = (c for c in said["choices"] if c["taken"])
    assert taken["layers_16"] == len(said["at_16_bits"]) > 0 and taken["layers"] == len(said["kept_float"])
    assert set(said["at_16_bits"]) <= sixteen(large / "q.onnx") and not set(said["at_16_bits"]) & set(said["kept_float"])
    assert 0 < taken["macs_16"] <= 1 and taken["bytes"] == size(large)
    assert sqnr(large) == pytest.approx(taken["sqnr_db"], abs=0.2)
    if target == "qnn":
        without = run(*options)
        assert without["at_16_bits"] == [] and sum(c["layers"] for c in without["choices"] if c["taken"]) > taken["layers"]
    everything = run("--min-sqnr", 120, "--mixed")
    assert len(everything["kept_float"]) == 4 and everything["at_16_bits"] == [], "float comes after 16 bits"


@pytest.mark.parametrize("change", [
    lambda t: t.replace('"gain": ', '"gain": "', 1).replace(",", '",', 3), lambda t: t[:-20], lambda t: "", lambda t: "[" * 100000,
    lambda t: t.replace('"bytes"', '"bites"'), lambda t: t.replace('"layers": [', '"layers": [{},'), lambda t: t.replace("n_c2", "n_c9").replace("n_c1", "n_c8"),
    lambda t: t.replace('"gain": ', '"gain": 1e999, "g": '), lambda t: t.replace("sensitivities 1", "sensitivities 2"),
    lambda t: t.replace('"layers"', '"layers": 7, "l"')], ids=range(10))
def test_remembered_is_hostile(files, done, change):  # noqa: F811
    """A file that is no such one is passed over, and kept: it may be somebody's."""
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    budget = ["--calibration", files / "m.qcal", "--min-sqnr", 55, "-v"]
    path = files / "m.qcal.sens"
    assert quantize(files, *budget).rc == 0
    good, want = path.read_text(), (files / "q.onnx").read_bytes()
    bad = change(good)
    assert bad != good
    path.write_text(bad)
    made = quantize(files, *budget)
    assert made.rc == 0 and "earlier run" not in made.stderr and "Sanitizer" not in made.stderr
    assert (files / "q.onnx").read_bytes() == want
    try:
        ours = json.loads(bad)["kind"] == "qonnx sensitivities 1"
    except (ValueError, TypeError, RecursionError):
        ours = False
    assert path.read_text() == (good if ours and "1e999" not in bad else bad)


@pytest.mark.parametrize("drop, options, want", [
    ("4%", [], "24 samples judge, one of them is 4.2 points of top-1"), ("4%", ["--optimize"], "give at least 250"),
    ("4%", [], "give at least 125 with --data"), ("25%", [], None), ("0%", [], None)])
def test_few_samples_for_a_drop(files, drop, options, want):  # noqa: F811
    classes = outputs(files, "m.onnx").argmax(1)
    (files / "data" / "labels.txt").write_text("".join(f"{i:02}.npy {c}\n" for i, c in enumerate(classes)))
    done = quantize(files, "--max-drop", drop, *options)
    assert want in done.stderr if want else "samples judge" not in done.stderr


def test_optimized_first(files):  # noqa: F811
    done = quantize(files, "--optimize", "--min-sqnr", 36, "--json")
    assert done.rc == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["optimize"]["trials"] and said["budget"]["samples"] == 12


@pytest.mark.parametrize("options, words", [
    (["--max-drop", "much"], "--max-drop is 'much', want per cent, as in 1%"),
    (["--max-drop", "101"], "want per cent"),
    (["--min-sqnr", "20", "--pipeline", "calibrate"], "leave out one of them"),
    (["--min-sqnr", "20", "--calibration", "m.qcal"], "--min-sqnr judges by samples"),
    (["--max-size", "2X"], "--max-size"),
    (["--max-size", "2M", "--calibration", "m.qcal"], "--max-size judges by samples"),
    (["--max-size", "2M", "--requantize"], "leave out --max-size"),
    (["--max-drop", "1", "--requantize"], "leave out --max-drop")])
def test_misuse(files, options, words):  # noqa: F811
    data = [] if "--calibration" in options or "--requantize" in options else ["--data", files / "data"]
    done = run_command("quantize", files / "m.onnx", *data, "-o", files / "q.onnx", *options)
    assert done.rc == 2 and words in done.stderr
