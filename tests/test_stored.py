"""Weights of operators that stay in float, stored as int8: passes/quantize_weights.c."""

import numpy as np
import onnx
import pytest
from conftest import run_command
from onnx import TensorProto, helper, numpy_helper
from ort import session

random = np.random.default_rng(21)
FLOAT = TensorProto.FLOAT


def normal(*shape):
    return (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def graph_of(nodes, inputs, outputs, constants):
    return helper.make_graph(nodes, "g", [helper.make_tensor_value_info(k, t, s) for k, (t, s) in inputs.items()],
                             [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs],
                             [numpy_helper.from_array(v, k) for k, v in constants.items()])


def quantized(graph, folder, samples, opset=17, options=(), target=None):
    """What the model becomes with defaults. Its outputs in ONNX Runtime are those of `qonnx run`, and near the float model's."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    for k in samples[0]:
        (folder / "data" / k).mkdir(parents=True)
        for i, s in enumerate(samples):
            np.save(folder / "data" / k / f"{i}.npy", s[k])
    done = run_command("quantize", "-v", folder / "m.onnx", "--data", folder / "data", "-o", folder / "q.onnx", *options)
    assert done.rc == 0, done.stderr
    done_run = run_command("run", folder / "q.onnx", "--data", folder / "data", "-o", folder / "out")
    assert done_run.rc == 0, done_run.stderr
    before, after = session(folder / "m.onnx"), session(folder / "q.onnx", target)
    for i, s in enumerate(samples):
        for k, (a, b) in enumerate(zip(before.run(None, s), after.run(None, s))):
            got = np.load(sorted((folder / "out" / f"output_{k}").iterdir())[i])
            np.testing.assert_allclose(got, b, rtol=1e-4, atol=1e-5)
            assert 10 * np.log10(np.sum(a ** 2) / max(np.sum((a - b) ** 2), 1e-30)) > 30
    return onnx.load(folder / "q.onnx").graph, done.stderr


def stored(graph):
    """The axis of each DequantizeLinear of a constant int8, by the constant's name; subgraphs' included."""
    found, constants = {}, {}

    def walk(g):
        constants.update({t.name: t for t in g.initializer})
        for n in g.node:
            if n.op_type == "DequantizeLinear" and n.input[0] in constants:
                assert constants[n.input[0]].data_type == TensorProto.INT8
                found.setdefault(n.input[0], []).append(helper.get_node_attr_value(n, "axis"))
            for a in n.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    walk(a.g)
    walk(graph)
    return found, constants


@pytest.mark.parametrize("group, axis", [(1, 1), (2, 1), (8, 0)])
def test_scales_are_per_output(group, axis, tmp_path):
    w = normal(8, 8 // group, 24, 24)
    w *= np.exp(np.linspace(-3, 3, w.shape[axis])).reshape([-1 if i == axis else 1 for i in range(4)]).astype(np.float32)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=group, strides=[2, 2])]
    graph = graph_of(nodes, {"x": (FLOAT, [1, 8, 5, 6])}, ["y"], {"w": w})
    got, _ = quantized(graph, tmp_path, [{"x": normal(1, 8, 5, 6)} for _ in range(4)])
    axes, constants = stored(got)
    assert axes == {"w_quantized": [axis]}
    assert constants["w_scale"].dims == [w.shape[axis]] and "w" not in constants


def test_a_weight_of_two_readers_and_one_that_somebody_else_reads(tmp_path):
    parts = {"w": normal(1, 256, 24), "r": normal(1, 256, 64), "v": normal(1, 256, 24)}
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["a"], hidden_size=64),
             helper.make_node("LSTM", ["x", "w", "r"], ["b"], hidden_size=64, direction="reverse"),
             helper.make_node("LSTM", ["x", "v", "r"], ["c"], hidden_size=64), helper.make_node("Neg", ["v"], ["d"])]
    graph = graph_of(nodes, {"x": (FLOAT, [7, 2, 24])}, ["a", "b", "c", "d"], parts)
    got, _ = quantized(graph, tmp_path, [{"x": normal(7, 2, 24)} for _ in range(4)])
    axes, constants = stored(got)
    assert axes == {"w_quantized": [1, 1], "r_quantized": [1, 1, 1]} and "v" in constants


@pytest.mark.parametrize("options, left", [(["--exclude", "op:GRU"], ["w_quantized"]), (["--only", "op:GRU"], ["u_quantized"])])
def test_what_is_excluded_stays(options, left, tmp_path):
    """No weight of an operator that is to stay in float is stored as int8."""
    parts = {"w": normal(1, 256, 24), "r": normal(1, 256, 64), "u": normal(1, 192, 24), "v": normal(1, 192, 64)}
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["a"], hidden_size=64),
             helper.make_node("GRU", ["x", "u", "v"], ["b"], hidden_size=64)]
    graph = graph_of(nodes, {"x": (FLOAT, [7, 2, 24])}, ["a", "b"], parts)
    got, _ = quantized(graph, tmp_path, [{"x": normal(7, 2, 24)} for _ in range(4)], options=options)
    assert set(left) < set(stored(got)[0]) and len(stored(got)[0]) == 2


def test_a_weight_in_branches(tmp_path):
    """One that both branches read is stored once, and dequantized in each."""
    parts = {"w": normal(1, 192, 24), "r": normal(1, 192, 64)}
    inner = {k: normal(1, 192, 24) for k in ("u", "v")}
    branches = {}
    for k, own in zip(("then_branch", "else_branch"), inner):
        nodes = [helper.make_node("GRU", ["x", "w", "r"], [own + "a"], hidden_size=64),
                 helper.make_node("GRU", ["x", own, "r"], [own + "b"], hidden_size=64),
                 helper.make_node("Add", [own + "a", own + "b"], [own + "y"])]
        branches[k] = graph_of(nodes, {}, [own + "y"], {own: inner[own]})
    graph = graph_of([helper.make_node("If", ["c"], ["y"], **branches)],
                     {"x": (FLOAT, [5, 2, 24]), "c": (TensorProto.BOOL, [])}, ["y"], parts)
    got, _ = quantized(graph, tmp_path, [{"x": normal(5, 2, 24), "c": np.array(i % 2 == 0)} for i in range(4)])
    axes, _ = stored(got)
    assert axes == {"w_quantized": [1, 1], "r_quantized": [1] * 4, "u_quantized": [1], "v_quantized": [1]}


def test_what_would_lose_too_much_stays(tmp_path):
    """Small ones, too."""
    w = normal(8, 8, 12, 12)
    w[3] *= 1e-4  # what this input channel adds would be noise
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"]), helper.make_node("ConvTranspose", ["x", "s"], ["z"])]
    graph = graph_of(nodes, {"x": (FLOAT, [1, 8, 5, 6])}, ["y", "z"], {"w": w, "s": normal(8, 3, 3, 3)})
    got, said = quantized(graph, tmp_path, [{"x": normal(1, 8, 5, 6)} for _ in range(4)])
    assert stored(got)[0] == {} and "the weight 'w' stays in float: in int8 it would have" in said


@pytest.mark.parametrize("opset", [7, 13])
def test_a_gemm_of_a_computed_c_runs_in_integers(opset, tmp_path):
    nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0, transA=1)]
    graph = graph_of(nodes, {"x": (FLOAT, [12, 6]), "c": (FLOAT, [6, 5])}, ["y"], {"w": normal(12, 5)})
    samples = [{"x": normal(12, 6), "c": normal(6, 5)} for _ in range(8)]
    got, _ = quantized(graph, tmp_path, samples, opset, target="ort-x86")
    assert sorted(n.op_type for n in got.node if "Linear" not in n.op_type) == ["Add", "Gemm", "Mul", "Transpose"]
    assert not any(a.name in ("alpha", "beta", "transA") for n in got.node for a in n.attribute)
    made = {n.output[0]: n.op_type for n in got.node}
    (gemm,) = (n for n in got.node if n.op_type == "Gemm")
    assert {made[i] for i in gemm.input} == {"DequantizeLinear"} and not any("y_product" in k and "Q" in k for k in made)
