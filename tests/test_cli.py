"""The command as users and scripts meet it: exit statuses, messages, files left behind, lossless
round trips, and the operators it runs, by the test models of the package libonnx-testdata."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import TESTDATA, run_command
from onnx import numpy_helper

DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"
NODE_MODELS = Path("/usr/share/libonnx-testdata/data")
VERBS = ["inspect", "calibrate", "merge", "quantize", "run", "evaluate", "preview", "report", "lint", "explain", "compile", "passes", "presets", "operators"]


def refused(result, *words):
    """Asserts one message, with these words, and status 1."""
    assert result.rc == 1, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("qonnx: warning: ")]
    assert len(lines) == 1 and lines[0].startswith("qonnx: "), result.stderr
    for word in words:
        assert str(word) in lines[0], (word, lines[0])


def misused(result, *words):
    """Asserts a usage error with these words: status 2, nothing on standard output."""
    assert result.rc == 2 and not result.stdout, result
    assert result.stderr.startswith(("qonnx: ", "Usage: ")), result.stderr
    for word in words:
        assert word in result.stderr, (word, result.stderr)


# ---- usage --------------------------------------------------------------------------------------


def test_version(done):
    assert done("--version").startswith("qonnx 0.")


def test_help(done):
    overview = done("--help")
    assert overview == done("help")
    for verb in VERBS:
        assert verb in overview
        text = done(verb, "--help")
        assert text.startswith(f"Usage: qonnx {verb}") and "Examples:" in text
        assert text == done("help", verb)


def test_usage_errors(run, tmp_path):
    misused(run(), "Usage")
    misused(run("quantise"), "did you mean 'quantize'")
    misused(run("--nonsense"), "--nonsense")
    misused(run("help", "quantise"), "quantize")
    for verb in VERBS:
        misused(run(verb, "--nonsense"), "--nonsense", f"qonnx {verb} --help")
        if verb not in ("passes", "presets", "operators"):
            misused(run(verb), verb)
    out = tmp_path / "out"
    misused(run("quantize", DIGITS, "-o", out), "--data", "--calibration")
    misused(run("quantize", DIGITS, "--data", CALIBRATION), "-o")
    misused(run("calibrate", DIGITS, CALIBRATION), "-o")
    misused(
        run("quantize", DIGITS, "--data", CALIBRATION, "-o", out, "--observer", "minmix"), "minmax"
    )
    misused(
        run("quantize", DIGITS, "--data", CALIBRATION, "-o", out, "--target", "ort-x87"), "ort-x86"
    )
    misused(run("quantize", DIGITS, "--data", CALIBRATION, "-o", out, "-j", "two"), "whole number")
    misused(run("inspect", DIGITS, DIGITS), "operand")
    assert not out.exists()


def test_passes(done):
    text = done("passes")
    for name in (
        "fold-batchnorm",
        "calibrate",
        "insert-qdq",
        "minmax",
        "percentile",
        "entropy",
        "mse",
        "ort-x86",
    ):
        assert name in text


# ---- bad files ----------------------------------------------------------------------------------


def bad_model(kind, tmp_path):
    """A path that is no model."""
    path = tmp_path / f"{kind}.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(DIGITS.read_bytes()[:20000])
    elif kind == "text":
        path.write_text("<!DOCTYPE html><html>not found</html>\n")
    elif kind == "zeros":
        path.write_bytes(bytes(4096))
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "truncated", "text", "zeros"])
@pytest.mark.parametrize("verb", [v for v in VERBS if v not in ("passes", "presets", "operators")])
def test_bad_model(verb, kind, run, tmp_path):
    model, out = bad_model(kind, tmp_path), tmp_path / "out"
    arguments = {
        "inspect": [model],
        "calibrate": [model, CALIBRATION, "-o", out],
        "merge": [model, "-o", out],
        "quantize": [model, "--data", CALIBRATION, "-o", out],
        "run": [model, "--data", CALIBRATION],
        "evaluate": [model, "--data", CALIBRATION],
        "preview": [model, CALIBRATION, "-o", out],
        "report": [model, DIGITS, "--data", CALIBRATION, "-o", out],
        "lint": [model],
        "explain": [model, "conv"],
        "compile": [model, "-o", out],
    }
    refused(run(verb, *arguments[verb]), model)
    assert not out.exists()


def test_every_truncation(run, tmp_path):
    """A model cut anywhere gives one message, or is read."""
    whole = (TESTDATA / "forms" / "subgraph.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(run("inspect", path), path)


def test_external_data_stays_inside(run, tmp_path):
    """Weights are read from beside the model only, and only as far as the file goes."""
    folder = tmp_path / "model"
    folder.mkdir()
    source = onnx.load(TESTDATA / "forms" / "external_data.onnx", load_external_data=False)
    data = TESTDATA / "forms" / "external_data.bin"
    shutil.copy(data, tmp_path / "outside.bin")
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "short.bin").write_bytes(data.read_bytes()[:100])
    for location in (
        "../outside.bin",
        str(tmp_path / "outside.bin"),
        "link.bin",
        "short.bin",
        "missing.bin",
    ):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        for tensor in model.graph.initializer:
            next(e for e in tensor.external_data if e.key == "location").value = location
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        refused(run("inspect", folder / "m.onnx"), location)


def test_external_data_behind_links(run, done, tmp_path):
    """A cache of downloads keeps models as links to files elsewhere: they are followed when asked to."""
    cache, folder = tmp_path / "blobs", tmp_path / "model"
    cache.mkdir()
    folder.mkdir()
    for name in ("external_data.onnx", "external_data.bin"):
        shutil.copy(TESTDATA / "forms" / name, cache / name[::-1])
        (folder / name).symlink_to(cache / name[::-1])
    model = folder / "external_data.onnx"
    assert "--allow-symlinks" in run("inspect", model).stderr
    for verb in (["inspect"], ["quantize", "--pipeline", "", "-o", tmp_path / "out.onnx"]):
        done(*verb, model, "--allow-symlinks")
    told = run("inspect", model, "--allow-symlinks", "-v").stderr
    assert "note: tensor '" in told and str(cache / "nib.atad_lanretxe") in told


# ---- outputs ------------------------------------------------------------------------------------


def test_output_untouched_on_failure(run, tmp_path):
    out = tmp_path / "out"
    out.write_text("precious")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "bad.png").write_bytes(b"no picture")
    for arguments in (
        ("calibrate", DIGITS, pictures, "-o", out),
        ("quantize", DIGITS, "--data", pictures, "-o", out),
        ("quantize", bad_model("truncated", tmp_path), "--data", CALIBRATION, "-o", out),
    ):
        refused(run(*arguments))
        assert out.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["out", "pictures", "truncated.onnx"]


def test_output_into_missing_folder(run, tmp_path):
    for name in ("missing/out", "model.onnx/out"):
        shutil.copy(DIGITS, tmp_path / "model.onnx")
        refused(run("calibrate", DIGITS, CALIBRATION, "-o", tmp_path / name), name)
        refused(run("quantize", DIGITS, "--data", CALIBRATION, "-o", tmp_path / name), name)
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_output_is_never_the_input(run, tmp_path):
    model = tmp_path / "model.onnx"
    shutil.copy(DIGITS, model)
    refused(run("quantize", model, "--data", CALIBRATION, "-o", model), model)
    assert model.read_bytes() == DIGITS.read_bytes()


def test_output_replaces(done, tmp_path):
    """An older output is replaced, and nothing else is left in the folder."""
    out = tmp_path / "out.onnx"
    out.write_text("old")
    done("quantize", DIGITS, "--data", CALIBRATION, "-o", out)
    assert len(onnx.load(out).graph.node) > 10
    assert os.listdir(tmp_path) == ["out.onnx"]


def test_json(done, tmp_path):
    out = tmp_path / "m.onnx"
    inspected = json.loads(done("inspect", DIGITS, "--json"))
    assert inspected["opset"] == 13 and inspected["inputs"][0]["shape"] == [1, 1, 8, 8]
    assert inspected["macs"] > 100000
    quantized = json.loads(done("quantize", DIGITS, "--data", CALIBRATION, "-o", out, "--json"))
    assert (
        quantized["bytes"]
        == out.stat().st_size
        < quantized["bytes_before"]
        == DIGITS.stat().st_size
    )
    evaluated = done("evaluate", DIGITS, out, "--data", CALIBRATION, "--json")
    assert json.loads(evaluated)


# ---- round trips --------------------------------------------------------------------------------


def round_trip(model, out):
    """Writes the model back unchanged. Returns the Result, and whether the bytes are the same."""
    result = run_command("quantize", model, "--pipeline", "", "-o", out, "-q")
    return result, result.rc == 0 and out.read_bytes() == model.read_bytes()


def same_meaning(a, b):
    return onnx.ModelProto.FromString(a.read_bytes()) == onnx.ModelProto.FromString(b.read_bytes())


def test_round_trip_of_conformance_models(qonnx, tmp_path):
    """Every test model is read, and written back as the same bytes."""
    models = sorted(NODE_MODELS.glob("*/*/model.onnx"))
    if not models:
        pytest.skip("the package libonnx-testdata is not installed")
    assert len(models) > 1000

    def one(i):
        return round_trip(models[i], tmp_path / f"{i}.onnx")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, range(len(models))))
    assert [m.parent.name for m, (result, _) in zip(models, results) if result.rc] == []
    assert [m.parent.name for m, (_, same) in zip(models, results) if not same] == []


@pytest.mark.parametrize(
    "model",
    [
        "digits",
        "forms/old_opset",
        "forms/subgraph",
        "forms/custom_domain",
        "forms/everything_carried",
    ],
)
def test_round_trip_of_bundled_models(model, qonnx, tmp_path):
    path = TESTDATA / f"{model}.onnx"
    result, same = round_trip(path, tmp_path / "out.onnx")
    assert result.rc == 0, result
    assert same_meaning(path, tmp_path / "out.onnx")
    assert same


def test_round_trip_of_external_data(done, tmp_path):
    """The values come back, wherever they are stored."""
    path, out = TESTDATA / "forms" / "external_data.onnx", tmp_path / "out.onnx"
    done("quantize", path, "--pipeline", "", "-o", out)
    before, after = onnx.load(path), onnx.load(out)
    assert [t.name for t in before.graph.initializer] == [t.name for t in after.graph.initializer]
    for a, b in zip(before.graph.initializer, after.graph.initializer):
        assert np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
    assert before.graph.node == after.graph.node


def test_round_trip_of_trained_models(shared, qonnx, tmp_path):
    out = tmp_path / "out.onnx"
    models = sorted((shared / "models").glob("*/model.onnx"))
    assert models
    for path in models:
        result, same = round_trip(path, out)
        assert result.rc == 0, result
        assert same or same_meaning(path, out), path


@pytest.mark.parametrize(
    "model",
    [
        "forms/old_opset",
        "forms/subgraph",
        "forms/custom_domain",
        "forms/everything_carried",
        "forms/external_data",
    ],
)
def test_forms_are_folded(model, done, tmp_path):
    """The passes before calibration take every form and keep its meaning."""
    path, out = TESTDATA / f"{model}.onnx", tmp_path / "out.onnx"
    prefix = done("passes").splitlines()[-1].strip().split(",calibrate")[0]
    done("quantize", path, "--pipeline", prefix, "-o", out)
    onnx.checker.check_model(str(out))
    if "custom" in model:
        assert [n.op_type for n in onnx.load(out).graph.node] == ["Conv", "Sharpen", "Conv"]
        return
    results = []
    for p in (path, out):
        s = onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"])
        x = s.get_inputs()[0]
        shape = [d if isinstance(d, int) else 1 for d in x.shape]
        value = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        results.append(s.run(None, {x.name: value})[0])
    assert np.allclose(*results, rtol=1e-5, atol=1e-6)
