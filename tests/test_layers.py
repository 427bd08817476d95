"""evaluate --layers: the errors of a quantized model's layers, against a walk over its nodes with onnx's reference operators."""

import json

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import helper
from onnx.reference import ReferenceEvaluator
from test_choice import files, quantize  # noqa: F401: a fixture
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


def wide():
    """A residual sum, a softmax and a product of two activations; a Relu that two nodes read stays one."""
    n = Net([1, 3, 8, 8])
    c1 = n.op("Relu", [n.conv("x", 3, 8, "c1")], "r1")
    s = n.op("Add", [c1, n.conv(c1, 8, 8, "c2")], "s")
    flat = n.op("Reshape", [s, n.constant("shape", [0])], "flat")
    m = n.op("MatMul", [n.op("Softmax", [flat], "soft", axis=-1), n.op("Transpose", [flat], "t", perm=[0, 2, 1])], "m")
    n.op("MatMul", [m, n.weight("w", 8, 5)], "y")
    model = n.model("y")
    shape, = (t for t in model.graph.initializer if t.name == "shape")
    shape.CopyFrom(onnx.numpy_helper.from_array(np.array([1, 8, 64], np.int64), "shape"))
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def both(files):  # noqa: F811
    onnx.save(wide(), files / "wide.onnx")
    return files


# ---- a rewrite -----------------------------------------------------------------------------------


def run_node(node, env):
    outputs = ReferenceEvaluator(node).run(None, {i: env[i] for i in node.input if i})
    return dict(zip(node.output, outputs))


def walk(path, x):
    """All values of a model in float."""
    graph = onnx.load(path).graph
    env = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer} | {"x": x}
    for node in graph.node:
        env |= run_node(node, env)
    return env


def walk_quantized(path, x, given=None):
    """What readers see of each value of a quantized model, behind Q and DQ where it has them. With `given`, the float model's
    values, each layer reads these and not what the layers in front of it made."""
    graph = onnx.load(path).graph
    env = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer} | {"x": x}
    pairs = {q.input[0]: (q, dq) for q in graph.node if q.op_type == "QuantizeLinear"
             for dq in graph.node if dq.op_type == "DequantizeLinear" and dq.input[0] == q.output[0]}
    seen = {}
    for node in graph.node:
        made = run_node(node, env)
        env |= made
        for name, value in made.items() if node.op_type not in ("QuantizeLinear", "DequantizeLinear") else []:
            if name in pairs:
                q, dq = pairs[name]
                value = run_node(dq, env | run_node(q, env | {name: value}))[dq.output[0]]
            name = name.removesuffix("_QuantizeLinear_Input")
            seen[name] = value
            if given is not None and name in given:
                env[name] = given[name]
    return seen


def decibels(pairs):
    ref, y = (np.concatenate([p[i].ravel().astype(float) for p in pairs]) for i in (0, 1))
    return 10 * np.log10((ref**2).sum() / max(((ref - y) ** 2).sum(), 1e-300))


def wanted(model, quantized, samples, cuts):
    """Accumulated and own SQNR by the value's name; layers end at the values `cuts`."""
    floats = [walk(model, x) for x in samples]
    whole = [walk_quantized(quantized, x) for x in samples]
    apart = [walk_quantized(quantized, x, {n: f[n] for n in cuts}) for x, f in zip(samples, floats)]
    names = [n for n in whole[0] if n in floats[0]]
    return {n: tuple(decibels([(f[n], q[n]) for f, q in zip(floats, some)]) for some in (whole, apart)) for n in names}


def layers(files, *options, model="m.onnx", quantized="q.onnx"):  # noqa: F811
    result = run_command("evaluate", files / model, files / quantized, "--data", files / "data", "--layers", "--json", *options)
    assert result.rc == 0, result.stderr
    return json.loads(result.stdout)


def level(error):
    return np.inf if error["exact"] else error["sqnr_db"]


# ---- what is measured ----------------------------------------------------------------------------


@pytest.mark.parametrize("model, options", [("m.onnx", []), ("m.onnx", ["--exclude", "n_c2"]), ("m.onnx", ["--weights", "per-tensor"]),
                                            ("wide.onnx", []), ("wide.onnx", ["--exclude", "op:Add"]),
                                            ("m.onnx", ["--target", "openvino"])], ids=str)
def test_errors_are_those_of_the_formula(both, model, options):
    assert quantize(both, *options, model=model).rc == 0
    got = layers(both, "--limit", 4, model=model)
    samples = [np.load(f) for f in sorted((both / "data").glob("*.npy"))[::6]]
    want = wanted(both / model, both / "q.onnx", samples, [r["value"] for r in got["layers"]])
    assert got["samples"] == 4
    assert len(got["layers"]) >= 5
    for r in got["layers"]:
        for k, which in enumerate(("accumulated", "own")):
            have = min(level(r[which]), 120)
            assert have == pytest.approx(min(want[r["value"]][k], 120), abs=0.2), (r, want[r["value"]])


def test_rows(both, done):
    """In the order of the graph, by the names of the nodes; where each runs; the three worst marked."""
    assert quantize(both, "--exclude", "n_c2").rc == 0
    got = layers(both)
    assert [(r["name"], r["type"], r["value"]) for r in got["layers"]] == [
        ("n_c1", "Conv", "r1"), ("n_c2", "Conv", "c2"), ("n_r2", "Relu", "r2"), ("n_c3", "Conv", "c3"),
        ("n_p", "GlobalAveragePool", "p"), ("n_f", "Flatten", "f"), ("n_y", "Gemm", "y")]
    assert [r["runs"] for r in got["layers"]] == ["integers", "float", "follows"] + ["integers"] * 4
    assert got["samples"] == 16 and got["target"] == "ort-x86"
    worst = sorted(got["layers"], key=lambda r: level(r["own"]))[:3]
    assert [r for r in got["layers"] if r["worst"]] == [r for r in got["layers"] if r in worst]
    text = done("evaluate", both / "m.onnx", both / "q.onnx", "--data", both / "data", "--layers").splitlines()
    assert text[0].split() == ["layer", "op", "accumulated", "own", "runs", "in"]
    assert [t.split()[0] for t in text[1:]] == [r["name"] for r in got["layers"]] + ["16"]
    assert [t.endswith("<- worst") for t in text[1:-1]] == [r["worst"] for r in got["layers"]]


def test_nodes_without_names(both):
    """They are called by what they give, with the operator that runs."""
    model = onnx.load(both / "m.onnx")
    for n in model.graph.node:
        n.name = ""
    onnx.save(model, both / "m.onnx")
    assert quantize(both).rc == 0
    rows = layers(both, "--limit", 2)["layers"]
    assert [(r["name"], r["type"], r["value"]) for r in rows[:2]] == [("c1", "Conv", "r1"), ("c2", "Conv", "r2")]
    text = run_command("evaluate", both / "m.onnx", both / "q.onnx", "--data", both / "data", "--layers", "--limit", 2).stdout
    assert [t.split()[:2] for t in text.splitlines()[1:3]] == [["c1", "Conv"], ["c2", "Conv"]]


def test_wild_layer_is_the_worst(both):
    """Its own error is large, while what is behind it has a large accumulated error and a small own one."""
    assert quantize(both, "--weights", "per-tensor", "--check-samples", 0).rc == 0
    model = onnx.load(both / "q.onnx")
    weight, = (t for t in model.graph.initializer if t.name == "c2_w_quantized")
    array = onnx.numpy_helper.to_array(weight) // 32 * 32
    weight.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.int8), weight.name))
    onnx.save(model, both / "q.onnx")
    rows = {r["name"]: r for r in layers(both)["layers"]}
    assert rows["n_c2"]["worst"] and level(rows["n_c2"]["own"]) < 15
    assert level(rows["n_c3"]["accumulated"]) < 15 and level(rows["n_c3"]["own"]) > 30
    assert level(rows["n_c1"]["own"]) > 30


def test_qlinear_operators_are_seen_through(both):
    """A file of QLinear operators has the errors of the one with Q and DQ, but for what moves integers alone."""
    assert quantize(both).rc == 0
    pairs = {r["name"]: r for r in layers(both)["layers"]}
    assert quantize(both, "--format", "qoperator").rc == 0
    operators = {r["name"]: r for r in layers(both)["layers"]}
    assert set(pairs) - set(operators) == {"n_f"}
    for name, r in operators.items():
        assert (r["accumulated"], r["own"], r["type"]) == (pairs[name]["accumulated"], pairs[name]["own"], pairs[name]["type"])


def test_same_bytes_whatever_the_threads(both):
    assert quantize(both).rc == 0
    assert layers(both, "-j", 1) == layers(both, "-j", 3)


def test_fixed_batch(both):
    """No sample runs alone there: the layers' own errors are not known."""
    model = onnx.load(both / "m.onnx")
    for v in [*model.graph.input, *model.graph.output]:
        v.type.tensor_type.shape.dim[0].dim_value = 4
    del model.graph.value_info[:]
    onnx.save(model, both / "m.onnx")
    assert quantize(both).rc == 0
    result = run_command("evaluate", both / "m.onnx", both / "q.onnx", "--data", both / "data", "--layers", "--json")
    assert result.rc == 0 and "the layers' own errors are not known" in result.stderr
    rows = json.loads(result.stdout)["layers"]
    assert len(rows) == 6 and all(r["own"]["sqnr_db"] is None and r["accumulated"]["sqnr_db"] > 30 for r in rows)


# ---- what is refused -----------------------------------------------------------------------------


def test_refused(both):
    assert quantize(both).rc == 0
    data = ["--data", both / "data", "--layers"]
    for models, rc, words in [([both / "m.onnx"], 2, "compares two models"), ([both / "m.onnx"] * 3, 2, "compares two models"),
                              ([both / "m.onnx", both / "m.onnx"], 1, "is not quantized"),
                              ([both / "wide.onnx", both / "gone.onnx"], 1, "gone.onnx: no such file")]:
        result = run_command("evaluate", *models, *data)
        assert result.rc == rc and words in result.stderr, result.stderr
    for option in (["--metric", "mse"], ["--compiled"], ["--costs"], ["--labels", both / "labels.txt"]):
        result = run_command("evaluate", both / "m.onnx", both / "q.onnx", *data, *option)
        assert result.rc == 2 and "leave out --compiled, --costs, --metric and --labels" in result.stderr


def test_unrelated_models(both):
    assert quantize(both).rc == 0
    other = helper.make_node("Neg", ["x"], ["other"], name="n")
    model = onnx.load(both / "m.onnx")
    del model.graph.node[:], model.graph.output[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.append(other)
    model.graph.output.append(helper.make_tensor_value_info("other", 1, [1, 3, 8, 8]))
    onnx.save(model, both / "other.onnx")
    result = run_command("evaluate", both / "other.onnx", both / "q.onnx", "--data", both / "data", "--layers")
    assert result.rc == 1 and "none of its values has a counterpart" in result.stderr
