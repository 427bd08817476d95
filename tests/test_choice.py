"""quantize --exclude and --only: which nodes stay in float. quantize's check of its own result, and --strict."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import numpy_helper
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


def net(wild=False):
    """Three convolutions, the second with channels of very unlike weights if `wild`, and classes."""
    n = Net([1, 3, 8, 8])
    c1 = n.op("Relu", [n.conv("x", 3, 8, "c1")], "r1")
    c2 = n.op("Relu", [n.conv(c1, 8, 8, "c2")], "r2")
    p = n.op("GlobalAveragePool", [n.conv(c2, 8, 8, "c3")], "p")
    f = n.op("Flatten", [p], "f")
    n.op("Gemm", [f, n.weight("g_w", 10, 8), n.weight("g_b", 10)], "y", transB=1)
    model = n.model("y")
    for t in model.graph.initializer if wild else []:
        array = numpy_helper.to_array(t).copy()
        if t.name == "c1_w":
            array[0] = 0
        elif t.name == "c2_w":  # what it is multiplied by is 0
            array[0, 0] = 30000
        elif t.name == "c3_w":
            array[:, 0] = 0
        elif t.name.endswith("_b"):
            array[:] = 0
        t.CopyFrom(numpy_helper.from_array(array, t.name))
    return model


@pytest.fixture
def files(tmp_path):
    """A folder with m.onnx, the model that is quantized, wild.onnx, and the samples data/."""
    onnx.save(net(), tmp_path / "m.onnx")
    onnx.save(net(wild=True), tmp_path / "wild.onnx")
    (tmp_path / "data").mkdir()
    for i in range(24):
        x = np.random.default_rng(i).normal(size=(1, 3, 8, 8)).astype(np.float32)
        np.save(tmp_path / "data" / f"{i:02}.npy", x)
    return tmp_path


def quantize(files, *options, model="m.onnx"):
    return run_command("quantize", files / model, "--data", files / "data", "-o", files / "q.onnx", *options)


def in_integers(path):
    """The names of Conv and Gemm nodes that read a DequantizeLinear twice, weights included."""
    graph = onnx.load(path).graph
    made = {o: n.op_type for n in graph.node for o in n.output}
    return {n.name for n in graph.node
            if n.op_type in ("Conv", "Gemm") and {made.get(i) for i in n.input[:2]} == {"DequantizeLinear"}}


ALL = {"n_c1", "n_c2", "n_c3", "n_y"}


@pytest.mark.parametrize("options, want", [
    ([], ALL),
    (["--exclude", "c2"], ALL - {"n_c2"}),
    (["--exclude", "c[12]$"], {"n_c3", "n_y"}),
    (["--exclude", "^c2"], None),
    (["--exclude", "op:Conv"], {"n_y"}),
    (["--exclude", "op:Con"], None),
    (["--exclude", "op:Conv|Gemm"], set()),
    (["--exclude", "c1", "--exclude", "op:Gemm"], {"n_c2", "n_c3"}),
    (["--exclude", "c1", "--exclude", "c9"], None),
    (["--exclude", "n_c{1,2}2"], ALL - {"n_c2"}),
    (["--only", "op:Conv"], ALL - {"n_y"}),
    (["--only", "c1", "--only", "op:Gemm"], {"n_c1", "n_y"}),
    (["--only", "op:Conv", "--exclude", "c1"], {"n_c2", "n_c3"}),
    (["--only", "c9"], None),
], ids=lambda o: " ".join(o) if isinstance(o, list) else "")
def test_choice(files, options, want):
    """By name or operator; a pattern that matches nothing, a typing error most probably, is a failure."""
    result = quantize(files, "-q", *options)
    if want is None:
        assert result.rc == 1 and "matches" in result.stderr and not (files / "q.onnx").exists()
        return
    assert (result.rc, result.stderr) == (0, "")
    assert in_integers(files / "q.onnx") == want


def test_choice_by_statistics(files, done):
    """What is excluded is not of the passes that statistics are taken behind."""
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    done("quantize", files / "m.onnx", "--calibration", files / "m.qcal", "--exclude", "c2", "-o", files / "a.onnx")
    quantize(files, "--exclude", "c2")
    assert in_integers(files / "a.onnx") == ALL - {"n_c2"}
    assert (files / "a.onnx").read_bytes() == (files / "q.onnx").read_bytes()


@pytest.mark.parametrize("options, words", [
    (["--exclude", "("], "regular expression"),
    (["--exclude", "op:["], "regular expression"),
    (["--exclude", "a", "--pipeline", ""], "leave out"),
    (["--exclude", "a", "--requantize"], "leave out --data"),
])
def test_choice_refused(files, options, words):
    result = quantize(files, *options)
    assert result.rc in (1, 2) and words in result.stderr and not (files / "q.onnx").exists()


# ---- the check ----


def test_check_is_evaluates(files, done):
    """The same figures as evaluate has of the file."""
    said = json.loads(quantize(files, "--json").stdout)["check"]
    seen = json.loads(done("evaluate", files / "m.onnx", files / "q.onnx", "--data", files / "data", "--json"))
    y, = said["outputs"]
    assert said["samples"] == 24 and y["name"] == "y" and y["sqnr_db"] > 20
    assert y["sqnr_db"] == pytest.approx(seen["models"][1]["sqnr_db"], rel=1e-6)
    assert y["agreement"] == seen["models"][1]["agreement"]
    assert "checked      24 samples against the float model: " in quantize(files).stdout


def test_check_of_some(files, done):
    assert json.loads(quantize(files, "--json", "--check-samples", 5).stdout)["check"]["samples"] == 5
    assert json.loads(quantize(files, "--json", "--check-samples", 0).stdout)["check"] is None
    done("calibrate", files / "m.onnx", files / "data", "-o", files / "m.qcal")
    given = ["quantize", files / "m.onnx", "--calibration", files / "m.qcal", "-o", files / "q.onnx"]
    assert "checked      nothing: give samples with --data, too" in done(*given)
    assert "checked      24 samples" in done(*given, "--data", files / "data")


def test_bad_result_is_said(files):
    """One scale for channels of very unlike weights spoils the model: said, with the layer and what helps."""
    good = quantize(files, model="wild.onnx")
    assert (good.rc, good.stderr) == (0, "")
    (files / "q.onnx").unlink()
    bad = quantize(files, "--weights", "int8{per=tensor,method=absmax}", model="wild.onnx")
    assert bad.rc == 0 and (files / "q.onnx").exists()
    assert "warning: output 'y' has an SQNR of " in bad.stderr and "lose most: 'n_c2' (from " in bad.stderr
    assert "--weights per-channel is more exact" in bad.stderr
    (files / "q.onnx").write_bytes(b"what was there before")
    strict = quantize(files, "--weights", "int8{per=tensor,method=absmax}", "--strict", model="wild.onnx")
    assert strict.rc == 1 and "nothing is written, as --strict asks for" in strict.stderr
    assert (files / "q.onnx").read_bytes() == b"what was there before"
    mended = quantize(files, "--weights", "int8{per=tensor,method=absmax}", "--strict", "--exclude", "n_c2", model="wild.onnx")
    assert (mended.rc, mended.stderr) == (0, "")


def test_check_leaves_damaged_samples_out(files):
    (files / "data" / "03.npy").write_bytes(b"\x93NUMPY\x01\x00broken")
    result = quantize(files, "--json", "--max-bad", 10)
    assert result.rc == 0 and json.loads(result.stdout)["check"]["samples"] == 23
