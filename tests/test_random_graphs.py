"""Random legal graphs (random_graphs.py) through every verb: float outputs against ONNX Runtime's with and
without its optimizations, quantized ones against its default session, and compiled C, under sanitizers,
against `qonnx run`. 30 of them in every check, 3,000 with QONNX_LONG=1. Every other sixteen begin with operators of
docs/operators.md's table, whatever they are (random_operators.py), each of which is also run by itself."""

import itertools
import os
import subprocess

import numpy as np
import onnx
import pytest
from compiled import compile_model, same_bytes, tool
from ort import session
from random_graphs import NEWEST, OLDEST, SAMPLES, Graph, random_graph, samples
from random_operators import LEFT_OUT, Value, catalog, operator, table

COUNT = int(os.environ.get("QONNX_GRAPHS", 3000 if os.environ.get("QONNX_LONG") else 30))
FIRST = int(os.environ.get("QONNX_SEED", 0))
TARGETS = ["ort-x86", "ort-x86-avx2", "ort-arm", "c"]
OBSERVERS = ["minmax", "percentile", "entropy", "mse"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# Seeds whose quantized outputs differ, with the reason, which docs/compile.md has too.
TIE = "both ends of a range that is as wide on both sides lie on a tie, and a Tanh's last bit differs"
EXCEPTIONS = {868: TIE, 1012: TIE}


def outputs(path, inputs, optimized=True, target=None):
    s = session(path, target, optimized)
    return [s.run(None, {s.get_inputs()[0].name: x})[0] for x in inputs]


def ours(done, path, data, out, *options):
    done("run", "-q", path, "--data", data, "-o", out, *options)
    return [np.load(f) for f in sorted((out / "output_0").glob("*.npy"))]


def assert_near(got, want, what):
    """Within 1e-4 of the largest value, and 1e-6."""
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape, what
        most = np.max(np.abs(b), initial=0)
        assert np.max(np.abs(a - b), initial=0) <= 1e-4 * most + 1e-6, what


def last_scale(model):
    """The scale of the DequantizeLinear that gives the output; None where it is made in float."""
    m = onnx.load(model)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in m.graph.initializer}
    for n in m.graph.node:
        if n.output[0] == m.graph.output[0].name and n.op_type == "DequantizeLinear":
            return float(constants[n.input[1]])
    return None


def assert_same_integers(got, want, scale, what):
    """Equal but for one element in a thousand, which is one step away."""
    a, b = (np.concatenate([y.ravel() for y in side]).astype(float) for side in (got, want))
    steps = np.rint((a - b) / scale)
    assert np.max(np.abs(steps), initial=0) <= 1, (what, np.max(np.abs(steps)))
    assert np.count_nonzero(steps) <= max(len(steps) / 1000, 1 if len(steps) < 1000 else 0), \
        (what, np.count_nonzero(steps), len(steps))


@pytest.fixture(scope="session")
def cc(tmp_path_factory):
    """clang, five times as fast as gcc when it compiles with sanitizers, where its sanitizers are; else gcc."""
    source = tmp_path_factory.mktemp("cc") / "main.c"
    source.write_text("int main(void) { return 0; }")
    for name in filter(None, [tool("clang-19", "clang")]):
        if not subprocess.run([name, *SANITIZE, source, "-o", source.with_suffix("")], capture_output=True).returncode:
            return name
    return "gcc"


def compiled(qonnx, cc, path, folder, inputs, want, what):
    made = compile_model(qonnx, path, folder)
    made.build([cc], [*SANITIZE, "-O0"], ["-lm"])
    assert same_bytes(made.run([[x] for x in inputs]), [[y] for y in want]), what


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_random_graph(qonnx, done, cc, tmp_path, seed):
    g = random_graph(seed)
    path, int8, data = tmp_path / "m.onnx", tmp_path / "q.onnx", tmp_path / "data"
    path.write_bytes(g.model().SerializeToString())
    onnx.checker.check_model(str(path))
    inputs = samples(g, SAMPLES)
    data.mkdir()
    for i, x in enumerate(inputs):
        np.save(data / f"{i:03}.npy", x)
    what = f"seed {seed}, opset {g.opset}, {[n.op_type for n in g.nodes]}"

    want = outputs(path, inputs)
    assert_near(outputs(path, inputs, False), want, "ONNX Runtime itself")
    portable = ours(done, path, data, tmp_path / "float", "--engine", "portable")
    assert_near(portable, want, what)
    assert_near(ours(done, path, data, tmp_path / "auto"), want, what)

    if g.in_c:
        compiled(qonnx, cc, path, tmp_path / "c", inputs[:4], portable[:4], what)
    if any(a.i == onnx.TensorProto.DOUBLE for n in g.nodes for a in n.attribute if a.name == "to"):
        return  # what is quantized is float
    target, observer = TARGETS[seed % 4], OBSERVERS[seed // 4 % 4]
    what += f", {target}, {observer}"
    done("quantize", "-q", path, "--data", data, "-o", int8, "--target", target, "--observer", observer)
    integers = ours(done, int8, data, tmp_path / "int8", "--engine", "portable")
    scale = last_scale(int8)
    if seed not in EXCEPTIONS:
        if scale:
            assert_same_integers(integers, outputs(int8, inputs, target=target), scale, what)
        else:
            assert_near(integers, outputs(int8, inputs, target=target), what)
    if g.in_c:
        compiled(qonnx, cc, int8, tmp_path / "cq", inputs[:4], integers[:4], what)


OPSETS = range(OLDEST, NEWEST + 1) if os.environ.get("QONNX_LONG") else (13, NEWEST)


def test_each_operator(done, tmp_path):
    """Every operator of the table can be drawn, but for those that are left out, and what it gives is what it should."""
    drawn, wrong = set(), {}
    for opset, row in itertools.product(OPSETS, table()):
        g = Graph(opset * 1000 + sum(map(ord, row.key)))
        g.opset, g.batch = opset, 1
        inputs, folder = samples(g, 3), tmp_path / f"{row.key}-{opset}"
        made = operator(g, row, Value("x", inputs), True)
        if not made:
            continue
        drawn.add(row.key)
        g.x, g.shape = made[0].name, made[0].shape
        (folder / "data").mkdir(parents=True)
        (folder / "m.onnx").write_bytes(g.model().SerializeToString())
        for i, x in enumerate(inputs):
            np.save(folder / "data" / f"{i}.npy", x)
        try:
            got = ours(done, folder / "m.onnx", folder / "data", folder / "out", "--engine", "portable")
            assert_near(got, made[0].arrays, row.key)
        except AssertionError as problem:
            wrong[row.key, opset] = str(problem)
    assert wrong == {}
    assert {row.key for row in table()} - drawn == set()
    assert {row.key for row in catalog()} >= set(LEFT_OUT)
