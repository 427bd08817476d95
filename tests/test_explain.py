"""explain: what it says of a node's values, against the files that quantize writes and NumPy on ONNX Runtime's activations."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import helper, numpy_helper
from ort import session
from test_choice import files, net, quantize  # noqa: F401: a fixture
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


@pytest.fixture
def known(files, done):  # noqa: F811
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    return files


def explain(path, node, *options):
    result = run_command("explain", path, node, "--json", *options)
    assert result.rc == 0, result.stderr
    answer = json.loads(result.stdout)
    return answer, {v["role"]: v for v in answer["values"]}


def calibrated(files, node, *options, model="m.onnx"):  # noqa: F811
    return explain(files / model, node, "--calibration", files / "m.qcal", *options)


def constants(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def activations(files, name):  # noqa: F811
    m = onnx.load(files / "m.onnx")
    del m.graph.output[:]
    m.graph.output.append(onnx.ValueInfoProto(name=name))
    s = session(m)
    return np.concatenate([s.run(None, {"x": np.load(f)})[0] for f in sorted((files / "data").glob("*.npy"))])


def agrees(integers, scale, zero):
    assert np.float32(integers["scale"]) == pytest.approx(np.float32(scale), rel=1e-6)
    assert (integers["zero_point"], integers["type"]) == (int(zero), str(zero.dtype))
    assert integers["lo"] == pytest.approx((0 - int(zero)) * float(scale), rel=1e-6, abs=1e-12)
    assert integers["hi"] == pytest.approx((255 - int(zero)) * float(scale), rel=1e-6)


@pytest.mark.parametrize("node, reads, gives", [("n_c1", "x", "r1"), ("n_c2", "r1", "r2"), ("n_c3", "r2", "c3"), ("n_p", "c3", "p")])
def test_integers_are_those_of_the_file(known, node, reads, gives):
    """Of the model in float and of the quantized one, with the Relu that becomes part of the convolution."""
    assert quantize(known).rc == 0
    file = constants(known / "q.onnx")
    for model in ("m.onnx", "q.onnx"):
        answer, values = calibrated(known, node, model=model)
        assert answer["runs"] == "integers" and answer["why"] is None and answer["quantized"] == (model == "q.onnx")
        for role, name in (("input", reads), ("output", gives)):
            assert values[role]["name"] == name
            agrees(values[role]["integers"], file[f"{name}_scale"], file[f"{name}_zero_point"])
    if "weight" in values:
        w = values["weight"]["integers"]
        scales = file[f"{node[2:]}_w_scale"]
        assert w["type"] == "int8" and w["scales"] == len(scales)
        assert (w["least_scale"], w["scale"]) == pytest.approx((scales.min(), scales.max()), rel=1e-6)


def test_qlinear_operators(known):
    """A file of QLinear operators is answered as one with Q and DQ."""
    assert quantize(known).rc == 0
    want, values = calibrated(known, "n_c2", model="q.onnx")
    assert quantize(known, "--format", "qoperator").rc == 0
    got, others = calibrated(known, "n_c2", model="q.onnx")
    assert (got["type"], got["runs"]) == (want["type"], want["runs"]) == ("Conv", "integers")
    for role in ("input", "weight", "output"):
        assert others[role]["integers"] == values[role]["integers"] and others[role]["channels"] == values[role]["channels"]


@pytest.mark.parametrize("node, role, name", [("n_c1", "input", "x"), ("n_c3", "output", "c3")])
def test_observers(known, node, role, name):
    """Each has the scale that quantize --observer writes."""
    observers = {o["name"]: o for o in calibrated(known, node)[1][role]["observers"]}
    assert set(observers) >= {"minmax", "percentile", "entropy", "mse"}
    assert [o["name"] for o in observers.values() if o["default"]] == ["mse"]
    for observer in ("minmax", "percentile", "entropy", "mse"):
        assert quantize(known, "--observer", observer, "--check-samples", 0).rc == 0
        file = constants(known / "q.onnx")
        agrees(observers[observer], file[f"{name}_scale"], file[f"{name}_zero_point"])


@pytest.mark.parametrize("options", [["--observer", "minmax"], ["--observer", "percentile{p=99}"], ["--activations", "int8"],
                                     ["--weights", "per-tensor"]], ids=lambda o: o[1])
def test_another_pipeline(known, options):
    """What quantize writes with these options."""
    _, values = calibrated(known, "n_c2", *options)
    assert quantize(known, *options, "--check-samples", 0).rc == 0
    file = constants(known / "q.onnx")
    for role, name in (("input", "r1"), ("output", "r2"), ("weight", "c2_w")):
        got, scales = values[role]["integers"], file[f"{name}_scale"]
        assert np.float32(got["scale"]) == pytest.approx(scales.max(), rel=1e-6) and got["scales"] == scales.size
        if role != "weight":
            assert got["type"] == str(file[f"{name}_zero_point"].dtype)
    used = [o["name"] for o in values["input"]["observers"] if o["used"]]
    assert used == [options[1].split("{")[0] if options[0] == "--observer" else "mse"]
    text = run_command("explain", known / "m.onnx", "n_c2", "--calibration", known / "m.qcal", *options).stdout
    assert ("  <- chosen" in text) == (options[0] == "--observer")


def test_overrides(known):
    (known / "o.json").write_text(json.dumps({"nodes": {"n_c2": {"float": True}}}))
    answer, _ = calibrated(known, "n_c2", "--overrides", known / "o.json")
    assert answer["runs"] == "float"
    assert calibrated(known, "n_c3", "--overrides", known / "o.json")[0]["runs"] == "integers"


def test_error_of_a_node(known):
    """Its own is that of evaluate --layers; the share is what the outputs' noise loses with the node in float, in ONNX Runtime."""
    def noise(*options):
        assert quantize(known, *options, "--check-samples", 0).rc == 0
        got, want = (np.concatenate([s.run(None, {"x": np.load(f)})[0] for f in sorted((known / "data").glob("*.npy"))])
                     for s in (session(known / "q.onnx"), session(known / "m.onnx")))
        return ((got - want) ** 2).sum() / (want.astype(float) ** 2).sum()

    shares = []
    for node in ("n_c2", "n_y"):
        error = calibrated(known, node, "--data", known / "data", "--limit", 24)[0]["error"]
        without, whole = noise("--exclude", f"^{node}$"), noise()
        rows = json.loads(run_command("evaluate", known / "m.onnx", known / "q.onnx", "--data", known / "data", "--layers",
                                      "--limit", 24, "--json").stdout)["layers"]
        row, = (r for r in rows if r["name"] == node)
        assert error["samples"] == 24
        assert error["own"]["sqnr_db"] == pytest.approx(row["own"]["sqnr_db"], abs=0.05)
        assert error["accumulated"]["sqnr_db"] == pytest.approx(row["accumulated"]["sqnr_db"], abs=0.05)
        assert error["outputs_sqnr_db"] == pytest.approx(-10 * np.log10(whole), abs=0.1)
        assert error["outputs_sqnr_db_without"] == pytest.approx(-10 * np.log10(without), abs=0.1)
        assert error["share"] == pytest.approx(1 - without / whole, abs=0.02)
        shares.append(error["share"])
    assert max(shares) > 0.3
    text = run_command("explain", known / "m.onnx", "n_y", "--calibration", known / "m.qcal", "--data", known / "data").stdout
    assert f"with this node alone in float" in text and "% of their noise (16 samples)" in text
    assert calibrated(known, "n_y")[0]["error"] is None


def test_what_was_seen(known):
    """Extremes, channels and the clipped share, from the values themselves."""
    for node, role, name in (("n_c1", "input", "x"), ("n_c2", "input", "r1"), ("n_c3", "output", "c3")):
        value, x = calibrated(known, node)[1][role], activations(known, name) if name != "x" else np.concatenate(
            [np.load(f) for f in sorted((known / "data").glob("*.npy"))])
        seen = value["seen"]
        assert seen["values"] == x.size and (seen["nan"], seen["infinite"]) == (0, 0)
        assert (seen["min"], seen["max"]) == pytest.approx((x.min(), x.max()), rel=1e-4)
        for laid in [value["integers"], *value["observers"]]:
            half = laid["scale"] / 2
            share = np.mean((x < laid["lo"] - half) | (x > laid["hi"] + half))
            assert laid["clipped"] == pytest.approx(share, abs=1.5 / x.size + 0.1 * share)
        assert [o["clipped"] for o in value["observers"] if o["name"] == "minmax"] == [0]
        assert any(o["clipped"] > 0 for o in value["observers"])
        most = np.abs(x).max((0, 2, 3))
        assert_channels(value["channels"], most, 1, 1e-4)


def assert_channels(got, most, axis, rel):
    assert (got["axis"], got["count"]) == (axis, len(most))
    assert (got["widest"], got["narrowest"]) == (most.argmax(), most.argmin())
    want = most.max(), np.sort(most)[len(most) // 2], most.min()
    assert (got["largest"], got["median"], got["smallest"]) == pytest.approx(want, rel=rel)


@pytest.mark.parametrize("options", [[], ["--weights", "per-tensor"]], ids=str)
def test_channels_of_a_weight(known, options):
    """In float exactly, of the integers within half a step; the text tells how many steps the least one has."""
    w = constants(known / "m.onnx")["c3_w"]
    assert_channels(explain(known / "m.onnx", "n_c3")[1]["weight"]["channels"], np.abs(w).max((1, 2, 3)), 0, 1e-6)
    assert quantize(known, *options, "--check-samples", 0).rc == 0
    file = constants(known / "q.onnx")
    scales = np.broadcast_to(file["c3_w_scale"], 8)[:, None, None, None]
    most = np.abs(file["c3_w_quantized"] * scales).max((1, 2, 3))
    assert_channels(explain(known / "q.onnx", "n_c3")[1]["weight"]["channels"], most, 0, 1e-5)
    text = run_command("explain", known / "q.onnx", "n_c3").stdout
    assert (f"the least has {most.min() / file['c3_w_scale'].flat[0]:.3g} steps" in text) == bool(options)


def test_reasons_are_those_of_lint(known, done):
    for target in ("ort-x86", "tensorrt", "openvino"):
        for options in ([], ["--calibration", known / "m.qcal"]):
            for n in json.loads(done("lint", known / "m.onnx", "--target", target, "--json", *options))["nodes"]:
                answer, _ = explain(known / "m.onnx", n["name"], "--target", target, *options)
                assert all(answer[k] == n[k] for k in ("name", "type", "runs", "why", "overflow"))


def test_without_statistics(known):
    """Nothing but the weight's channels is known, and what is in float has no integers either way."""
    values = explain(known / "m.onnx", "n_c1")[1]
    assert all(v["integers"] is None and v["seen"] is None and v["observers"] == [] for v in values.values())
    assert "not known without --calibration" in run_command("explain", known / "m.onnx", "n_c1").stdout
    n = Net([1, 8])
    n.op("LpNormalization", [n.op("MatMul", ["x", n.weight("w", 8, 8)], "m")], "y")
    onnx.save(n.model("y"), known / "n.onnx")
    answer, values = explain(known / "n.onnx", "y")
    assert (answer["asked"], answer["name"], answer["runs"]) == ("y", "n_y", "float") and answer["why"]


def test_part_of_another(known):
    """A BatchNormalization is answered with the convolution that it becomes part of."""
    model = net()
    names = [f"bn_{k}" for k in "sbmv"]
    model.graph.initializer.extend(numpy_helper.from_array(np.linspace(1, 2, 8, dtype=np.float32), n) for n in names)
    c3 = next(n for n in model.graph.node if n.name == "n_c3")
    c3.output[0] = "raw"
    model.graph.node.insert(5, helper.make_node("BatchNormalization", ["raw", *names], ["c3"], name="bn"))
    del model.graph.value_info[:]
    onnx.save(model, known / "bn.onnx")
    answer, _ = explain(known / "bn.onnx", "bn")
    assert (answer["asked"], answer["name"], answer["type"]) == ("bn", "n_c3", "Conv")
    assert "n_c3 (Conv), which computes bn" in run_command("explain", known / "bn.onnx", "bn").stdout


def test_text(known, done):
    text = done("explain", known / "m.onnx", "n_c2", "--calibration", known / "m.qcal")
    assert text.startswith("n_c2 (Conv)\nruns in     integers, for ort-x86\n")
    for words in ("\ninput 0  r1  ", "\nweight 1  c2_w  ", "\nbias 2  c2_b  ", "\noutput 0  r2  ", "  <- default\n", "8 scales from"):
        assert words in text


def test_refused(known):
    for arguments, rc, words in [
        (["m.onnx", "n_c4"], 1, "no node is called 'n_c4', nor what one gives; did you mean 'n_c1'?"),
        (["m.onnx", "nothing_like_it"], 1, "no node is called 'nothing_like_it', nor what one gives; 'qonnx lint -v' names all"),
        (["m.onnx", "x"], 1, "no node is called 'x'"),
        (["m.onnx", "n_c1", "--data", "data"], 2, "give these, too, with --calibration M.qcal"),
        (["m.onnx", "n_c1", "--weights", "int9"], 2, "explain: --weights has no type 'int9'"),
        (["m.onnx", "n_c1", "--observer", "minmux"], 2, "did you mean 'minmax'"),
        (["m.onnx", "n_c1", "--overrides", "gone.json"], 1, "gone.json"),
        (["m.onnx", "n_c1", "--calibration", "m.qcal", "--data", "gone"], 1, "gone"),
        (["m.onnx"], 2, "explain"),
        (["m.onnx", "n_c1", "n_c2"], 2, "n_c2"),
        (["m.onnx", "n_c1", "--target", "ort-x87"], 2, "did you mean 'ort-x86'"),
        (["m.onnx", "n_c1", "--calibration", known / "gone.qcal"], 1, "gone.qcal"),
        (["m.onnx", "n_c1", "--calibration", known / "m.onnx"], 1, "m.onnx"),
        (["wild.onnx", "n_c1", "--calibration", known / "m.qcal"], 1, "the statistics were taken on another graph"),
    ]:
        result = run_command("explain", *arguments, cwd=known)
        assert result.rc == rc and words in result.stderr, result.stderr
        assert rc == 2 or len(result.stderr.splitlines()) == 1
