"""Names of nodes: no file that quantize writes has two nodes of one name, which ONNX Runtime refuses to load."""
import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import run_command

node = helper.make_node


def save(path, nodes, constants, opset=13):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def weight(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def quantized(tmp, *options):
    """The model that tmp/m.onnx becomes, once ONNX Runtime has loaded it and computed what the float model gives."""
    (tmp / "data").mkdir()
    samples = np.random.default_rng(1).normal(size=(24, 4, 8)).astype(np.float32)
    for i, x in enumerate(samples):
        np.save(tmp / "data" / f"{i:02d}.npy", x)
    r = run_command("quantize", tmp / "m.onnx", "--data", tmp / "data", "-o", tmp / "q.onnx", *options)
    assert r.rc == 0, r.stderr
    session = onnxruntime.InferenceSession(tmp / "q.onnx", providers=["CPUExecutionProvider"])
    got = session.run(None, {"x": samples[0]})[0]
    assert np.isfinite(got).all()
    return onnx.load(tmp / "q.onnx"), r.stderr


def names(model):
    found = []

    def walk(graph):
        for n in graph.node:
            found.append(n.name)
            for a in n.attribute:
                if a.HasField("g"):
                    walk(a.g)

    walk(model.graph)
    return [n for n in found if n]


TWICE = {
    "one weight on two axes": ([node("MatMul", ["x", "w"], ["h"], "h"), node("Gemm", ["h", "w"], ["y"], "y", transB=1)],
                               {"w": weight(8, 8)}),
    "one weight as weight and operand": ([node("MatMul", ["x", "w"], ["h"], "h"), node("MatMul", ["h", "w"], ["k"], "k"),
                                          node("Add", ["k", "c"], ["l"], "l"), node("Gemm", ["l", "w", "b"], ["y"], "y")],
                                         {"w": weight(8, 8), "c": weight(4, 8), "b": weight(8) * 1e7}),
    "one bias at two scales": ([node("Gemm", ["x", "w", "b"], ["h"], "h"), node("Gemm", ["h", "w", "b"], ["y"], "y")],
                               {"w": weight(8, 8), "b": weight(8)}),
}


@pytest.mark.mends("names - constants quantized in two ways")
@pytest.mark.parametrize("form", TWICE)
def test_constant_quantized_in_two_ways(form, tmp_path):
    save(tmp_path / "m.onnx", *TWICE[form])
    model, _ = quantized(tmp_path)
    assert max(collections.Counter(names(model)).values()) == 1


@pytest.mark.mends("names - taken in the source")
def test_names_that_the_source_has(tmp_path):
    save(tmp_path / "m.onnx", [node("MatMul", ["x", "w"], ["h"], "x_QuantizeLinear"),
                               node("Relu", ["h"], ["r"], "x_QuantizeLinear_1"), node("MatMul", ["r", "w"], ["y"], "last")],
         {"w": weight(8, 8)})
    model, said = quantized(tmp_path)
    found = {n.name: n for n in model.graph.node}
    assert len(found) == len(model.graph.node) and "called" not in said
    assert found["x_QuantizeLinear"].op_type == "MatMul"  # the source's nodes keep their names
    assert any(n.op_type == "QuantizeLinear" and n.input[0] == "x" and n.name.startswith("x_QuantizeLinear_")
               for n in model.graph.node)


@pytest.mark.mends("names - taken in a subgraph")
def test_names_in_subgraphs_are_taken(tmp_path, done):
    """What raise-opset adds to one graph has a name that no branch has either."""
    def branch(op, name):
        return helper.make_graph([node(op, ["h"], [op + "_out"], name)], op, [],
                                 [helper.make_tensor_value_info(op + "_out", TensorProto.FLOAT, None)])

    save(tmp_path / "m.onnx", [node("MatMul", ["x", "w"], ["h"], "h"), node("Softmax", ["h"], ["s"], "s", axis=0),
                               node("If", ["c"], ["y"], "if", then_branch=branch("Relu", "s_Flatten"),
                                    else_branch=branch("Neg", "s_Shape"))],
         {"w": weight(8, 8), "c": np.bool_(True)}, opset=12)
    done("quantize", tmp_path / "m.onnx", "--pipeline", "raise-opset", "-o", tmp_path / "q.onnx")
    found = names(onnx.load(tmp_path / "q.onnx"))
    assert len(set(found)) == len(found) and {"s_Flatten", "s_Shape"} < set(found)


def duplicates(path):
    save(path, [node("MatMul", ["x", "w"], ["h"], "twin"), node("Relu", ["h"], ["r"], "twin"),
                node("MatMul", ["r", "w"], ["s"], "twin_1"), node("Relu", ["s"], ["y"], "twin")], {"w": weight(8, 8)})


@pytest.mark.mends("names - duplicates of the source")
def test_duplicates_are_renamed_with_a_warning(tmp_path):
    duplicates(tmp_path / "m.onnx")
    model, said = quantized(tmp_path)
    assert len(set(names(model))) == len(names(model))
    assert "'twin_2' (Relu): a node before it is called 'twin' too" in said and "1 more" in said, said
    assert said.count("is called") == 1
    assert [n.name for n in model.graph.node if n.op_type == "MatMul"] == ["twin", "twin_1"]


def test_duplicates_are_kept_by_an_empty_pipeline(tmp_path, done):
    duplicates(tmp_path / "m.onnx")
    done("quantize", tmp_path / "m.onnx", "--pipeline", "", "-o", tmp_path / "q.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()


def test_many_duplicates_take_no_time(tmp_path, done):
    rows = 20000
    nodes = [node("Relu", [f"h{i}" if i else "x"], [f"h{i + 1}" if i + 1 < rows else "y"], "same") for i in range(rows)]
    save(tmp_path / "m.onnx", nodes, {})
    done("quantize", tmp_path / "m.onnx", "--pipeline", "raise-opset", "-o", tmp_path / "q.onnx", timeout=20)
    assert len(set(names(onnx.load(tmp_path / "q.onnx")))) == rows
