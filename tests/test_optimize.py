"""quantize --optimize: what is tried, by what it is judged, what is taken, and that it can be run again."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import TensorProto, helper, numpy_helper
from ort import X86, session
from test_placement import Net
from test_recovery import chain, correlated, normalized

pytestmark = pytest.mark.usefixtures("qonnx")


def optimize(folder, *options, out="q.onnx"):
    return run_command("quantize", folder / "m.onnx", "--data", folder / "data", "--target", X86, "-o", folder / out, "--optimize", "--json", *options)


def optimized(folder, *options, out="q.onnx"):
    done = optimize(folder, *options, out=out)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def samples(folder, arrays):
    (folder / "data").mkdir(exist_ok=True)
    for i, x in enumerate(arrays):
        np.save(folder / "data" / f"{i:03}.npy", np.asarray(x, np.float32))


def scores(folder, coarse=True):
    """Columns that go together, weights with one scale, and a Softmax behind them."""
    random = np.random.default_rng(3)
    n = Net([4, 24])
    h = n.op("Relu", [n.op("Gemm", ["x", n.weight("w1", 32, 24), n.weight("b1", 32)], "h", transB=1)], "r")
    n.op("Softmax", [n.op("Gemm", [h, n.weight("w2", 10, 32), n.weight("b2", 10)], "s", transB=1)], "y")
    m = n.model("y")
    if coarse:
        w = next(t for t in m.graph.initializer if t.name == "w1")
        wild = numpy_helper.to_array(w).copy()
        wild[0] *= 20
        w.CopyFrom(numpy_helper.from_array(wild, "w1"))
    onnx.save(m, folder / "m.onnx")
    rows = correlated(random, 320, 24).astype(np.float32).reshape(80, 4, 24)
    samples(folder, rows)
    return rows


def test_takes_what_helps(tmp_path):
    """Rounding by the moments wins here; the file says how it was made, and is made again of that."""
    scores(tmp_path)
    said = optimized(tmp_path, "--weights", "int8{per=tensor,method=absmax}")
    o = said["optimize"]
    assert o["samples"] == 40 and o["sqnr_db"] > o["sqnr_db_before"] + 1
    taken = [t["change"] for t in o["trials"] if t["taken"]]
    assert "gptq" in taken and "gptq" in said["pipeline"]
    assert o["sqnr_db"] == [t["sqnr_db"] for t in o["trials"] if t["taken"]][-1]
    done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "--target", X86, "--pipeline", said["pipeline"], "-o", tmp_path / "again.onnx")
    assert done.rc == 0, done.stderr
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_threads(tmp_path):
    chain(tmp_path, 40)
    a, b = (optimized(tmp_path, "--mixed", "--jobs", jobs, out=f"{jobs}.onnx") for jobs in (1, 3))
    assert a["optimize"] == b["optimize"] and a["optimize"]["trials"]
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "3.onnx").read_bytes()


def test_judged_by_scores(tmp_path):
    """Every second sample judges, by what the Softmax reads, whose mean does not count."""
    rows = scores(tmp_path, coarse=False)
    said = optimized(tmp_path)["optimize"]
    done = run_command("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "--target", X86, "-o", tmp_path / "plain.onnx")
    assert done.rc == 0, done.stderr

    def centred(path):
        m = onnx.load(path)
        softmax, = (n for n in m.graph.node if n.op_type == "Softmax")
        m.graph.output.append(onnx.ValueInfoProto(name=softmax.input[0]))
        s = session(m, X86)
        y = np.stack([s.run(None, {"x": x})[1] for x in rows[1::2]]).astype(float)
        return y - y.mean(-1, keepdims=True)

    a, b = centred(tmp_path / "m.onnx"), centred(tmp_path / "plain.onnx")
    assert said["sqnr_db_before"] == pytest.approx(10 * np.log10(np.sum(a ** 2) / np.sum((a - b) ** 2)), abs=0.05)


def types(path):
    """Of each value that is quantized."""
    graph = onnx.load(path).graph
    parts = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    return {n.input[0].removesuffix("_QuantizeLinear_Input"): str(parts[n.input[2]].dtype) for n in graph.node if n.op_type == "QuantizeLinear"}


def test_mixed(tmp_path):
    """16 bits where they gain much: an output of wide range, whose small values 8 bits do not hold."""
    n = Net([1, 8])
    n.op("Gemm", ["x", n.weight("w", 6, 8), n.weight("b", 6)], "y", transB=1)
    onnx.save(n.model("y"), tmp_path / "m.onnx")
    random = np.random.default_rng(4)
    samples(tmp_path, random.normal(size=(80, 1, 8)))
    said = optimized(tmp_path)
    assert not {"uint16", "int16"} & set(types(tmp_path / "q.onnx").values()) and "override" not in said["pipeline"]
    said = optimized(tmp_path, "--mixed")
    assert any(t["change"] == "16 bits for output 'y'" and t["taken"] for t in said["optimize"]["trials"])
    assert types(tmp_path / "q.onnx")["y"] == "uint16"
    m, q = (session(tmp_path / name, X86) for name in ("m.onnx", "q.onnx"))
    x = [np.load(f) for f in sorted((tmp_path / "data").glob("*.npy"))]
    want, got = (np.concatenate([s.run(None, {"x": a})[0] for a in x]) for s in (m, q))
    plain = 10 * np.log10(np.sum(want ** 2) / np.sum((want - got) ** 2))
    assert plain > said["optimize"]["sqnr_db_before"] + 0.3


def test_what_was_chosen_stays(tmp_path):
    """A given observer is not tried against others, nor are biases that were to stay."""
    scores(tmp_path)
    tried = [t["change"] for t in optimized(tmp_path, "--observer", "entropy", "--no-correct-bias")["optimize"]["trials"]]
    assert tried == ["equalize{alpha=1}", "equalize", "gptq"]


def test_text(tmp_path):
    scores(tmp_path)
    done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx", "--optimize", "--weights", "int8{per=tensor,method=absmax}")
    assert done.rc == 0 and "optimized    " in done.stdout and "by 40 samples that were kept aside" in done.stdout
    assert "gptq: " in done.stdout and "not taken" not in done.stdout
    done = run_command("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "-o", tmp_path / "q.onnx", "--optimize")
    assert (done.rc, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("options, words", [
    (["--optimize", "--pipeline", "calibrate", "--data", "data"], "leave out one of them"),
    (["--optimize", "--calibration", "m.qcal"], "--optimize judges by samples; give them with --data"),
    (["--mixed", "--data", "data"], "--mixed says what --optimize, --min-sqnr, --max-drop and --max-size may do"),
    (["--optimize", "--requantize"], "leave out --optimize")])
def test_misuse(tmp_path, options, words):
    done = run_command("quantize", tmp_path / "m.onnx", "-o", tmp_path / "q.onnx", *options)
    assert done.rc == 2 and words in done.stderr


def test_too_few(tmp_path):
    chain(tmp_path, 7)
    done = optimize(tmp_path)
    assert done.rc == 1 and "there are 7, give at least 8" in done.stderr and not (tmp_path / "q.onnx").exists()


def test_nothing_to_judge_by(tmp_path):
    """An output of integers only."""
    n = Net([1, 8])
    n.op("ArgMax", [n.op("Gemm", ["x", n.weight("w", 6, 8)], "s", transB=1)], "y", axis=1)
    m = n.model("y")
    m.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [1, 1]))
    onnx.save(m, tmp_path / "m.onnx")
    samples(tmp_path, np.random.default_rng(4).normal(size=(10, 1, 8)))
    done = optimize(tmp_path)
    assert done.rc == 1 and "no output of floats to judge by" in done.stderr and not (tmp_path / "q.onnx").exists()


def test_damaged_samples(tmp_path):
    """One that is left out for the statistics is left out here, too."""
    chain(tmp_path, 120)
    (tmp_path / "data" / "003.npy").write_bytes(b"\x93NUMPY")
    assert optimized(tmp_path, "--max-bad", 2)["optimize"]["trials"]


def test_smooths(tmp_path):
    """Behind a normalization of unlike channels: the statistics are taken anew, and the pipeline says it all."""
    normalized(tmp_path, exported=False, residual=True)
    random = np.random.default_rng(9)
    samples(tmp_path, random.normal(size=(80, 5, 16)))
    (tmp_path / "m.qcal").unlink()
    said = optimized(tmp_path)
    assert said["optimize"]["trials"][0]["change"] == "smooth" and said["optimize"]["trials"][0]["taken"]
    assert said["optimize"]["sqnr_db"] > said["optimize"]["sqnr_db_before"] + 0.5 and "smooth,calibrate" in said["pipeline"]
    done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "--target", X86, "--pipeline", said["pipeline"], "-o", tmp_path / "again.onnx")
    assert done.rc == 0, done.stderr
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()
    done = run_command("calibrate", "-q", tmp_path / "m.onnx", tmp_path / "data", "-o", tmp_path / "m.qcal")
    said = optimized(tmp_path, "--calibration", tmp_path / "m.qcal")
    assert "smooth" not in [t["change"] for t in said["optimize"]["trials"]]
