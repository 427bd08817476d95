"""quantize --format qoperator: QLinear operators in the place of Q/DQ pairs, with the same integers in ONNX Runtime's default
session."""

import numpy as np
import onnx
import pytest
from compiled import compile_model, same_bytes
from conftest import ROOT, run_command
from onnx import numpy_helper
from ort import session
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx", "vnni")


def net():
    """Convolutions, a sum, a Concat, pools, data movement, a table, a product without a bias, probabilities."""
    n = Net([1, 3, 12, 12])
    a = n.op("Relu", [n.conv("x", 3, 8, "a")], "ra")
    b = n.op("Add", [n.conv(a, 8, 8, "b", group=8), a], "sum")
    c = n.op("Sigmoid", [n.conv(b, 8, 4, "c")], "gate")
    d = n.op("Mul", [n.conv(b, 8, 4, "d"), c], "gated")
    j = n.op("Concat", [b, d], "joined", axis=1)
    m = n.op("MaxPool", [j], "most", kernel_shape=[2, 2], strides=[2, 2])
    e = n.op("LeakyRelu", [n.conv(m, 12, 12, "e")], "leaky", alpha=0.1)
    v = n.op("AveragePool", [e], "mean", kernel_shape=[2, 2], strides=[2, 2])
    n.constants.append(numpy_helper.from_array(np.array([1, -1]), "flat"))
    f = n.op("Reshape", [v, "flat"], "row")
    g = n.op("Gemm", [f, n.weight("g_w", 16, 108), n.weight("g_b", 16)], "dense", transB=1)
    h = n.op("MatMul", [g, n.weight("h_w", 16, 6)], "scores")
    n.op("Softmax", [h], "y", axis=-1)
    return n.model("y")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qoperator")
    onnx.save(net(), folder / "m.onnx")
    (folder / "data").mkdir()
    for i in range(24):
        np.save(folder / "data" / f"{i:02}.npy", np.random.default_rng(i).normal(size=(1, 3, 12, 12)).astype(np.float32))
    return folder


def kinds(path):
    return [n.op_type for n in onnx.load(path).graph.node]


def theirs(path, folder, target="ort-x86"):
    s = session(path, target)
    return [s.run(None, {"x": np.load(f)})[0] for f in sorted((folder / "data").glob("*.npy"))]


@pytest.mark.parametrize("options", [
    [], ["--target", "ort-arm"], ["--target", "ort-x86-avx2"], ["--weights", "per-tensor"], ["--exclude", "op:Add"], ["--target", "c"],
], ids=" ".join)
def test_same_integers(files, tmp_path, done, options):
    """The bytes of the other form, in ONNX Runtime and here; taken back into the other form, too."""
    target = options[1] if "--target" in options else "ort-x86"
    made, pairs, back = tmp_path / "q.onnx", tmp_path / "pairs.onnx", tmp_path / "back.onnx"
    done("quantize", "-q", files / "m.onnx", "--data", files / "data", "-o", made, "--format", "qoperator", *options)
    done("quantize", "-q", files / "m.onnx", "--data", files / "data", "-o", pairs, *options)
    want, got = theirs(pairs, files, target), theirs(made, files, target)
    assert same_bytes([[y] for y in got], [[y] for y in want])
    for out, path in (("own", made), ("of_pairs", pairs)):
        done("run", "-q", path, "--data", files / "data", "-o", tmp_path / out, "--engine", "portable")
    for f in (tmp_path / "own").rglob("*.npy"):
        np.testing.assert_array_equal(np.load(f), np.load(tmp_path / "of_pairs" / f.relative_to(tmp_path / "own")))
    done("quantize", "-q", made, "--requantize", "--target", target, "-o", back)
    assert same_bytes([[y] for y in theirs(back, files, target)], [[y] for y in want])


def test_structure(files, tmp_path, done):
    """All that has a form is in it: no pair is left but at the ends. Names of nodes stay."""
    done("quantize", "-q", files / "m.onnx", "--data", files / "data", "-o", tmp_path / "q.onnx", "--format", "qoperator")
    made = kinds(tmp_path / "q.onnx")
    assert made.count("QLinearConv") == 5 and made.count("QuantizeLinear") == 1
    assert {"QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearAveragePool", "QGemm",
            "QLinearMatMul"} <= set(made)
    assert not {"Conv", "Add", "Mul", "Concat", "Gemm", "MatMul", "Relu"} & set(made)
    names = {n.name for n in onnx.load(tmp_path / "q.onnx").graph.node}
    assert {"n_a", "n_sum", "n_joined", "n_dense"} <= names
    onnx.checker.check_model(str(tmp_path / "q.onnx"))


def test_compiled(files, tmp_path, done, qonnx):
    done("quantize", "-q", files / "m.onnx", "--data", files / "data", "-o", tmp_path / "q.onnx", "--format", "qoperator")
    done("run", "-q", tmp_path / "q.onnx", "--data", files / "data", "-o", tmp_path / "out", "--engine", "portable")
    made = compile_model(qonnx, tmp_path / "q.onnx", tmp_path / "c")
    made.build(["gcc"], [], ["-lm"])
    inputs = [[np.load(f)] for f in sorted((files / "data").glob("*.npy"))[:3]]
    assert same_bytes(made.run(inputs), [[np.load(f)] for f in sorted((tmp_path / "out").rglob("*.npy"))[:3]])


def test_digits(tmp_path, done):
    model, data = ROOT / "testdata/digits.onnx", ROOT / "testdata/digits/calibration"
    done("quantize", "-q", model, "--data", data, "-o", tmp_path / "q.onnx", "--format", "qoperator", "--strict")
    assert "QLinearConv" in kinds(tmp_path / "q.onnx") and "Conv" not in kinds(tmp_path / "q.onnx")


def test_refused(files, tmp_path):
    result = run_command("quantize", files / "m.onnx", "--data", files / "data", "-o", tmp_path / "q.onnx", "--format", "qoperator",
                         "--target", "openvino")
    assert result.rc == 1 and "openvino reads QuantizeLinear and DequantizeLinear alone" in result.stderr
    result = run_command("quantize", files / "m.onnx", "--data", files / "data", "-o", tmp_path / "q.onnx", "--format", "qlinear")
    assert result.rc == 2 and "qdq|qoperator" in result.stderr and not (tmp_path / "q.onnx").exists()
