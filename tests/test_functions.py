"""Local functions: inlined to run, to calibrate, quantize and compile; kept by an empty pipeline."""

import json

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from conftest import run_command
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)


def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=17, imports=(),
             overload=""):
    f = helper.make_function("local", name, inputs, outputs, nodes,
                             [helper.make_opsetid("", opset), *imports], attributes, defaults)
    f.overload = overload
    return f


LOCAL = helper.make_opsetid("local", 1)


def call(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, domain="local", **attributes)


def referring(op, inputs, outputs, refs, **attributes):
    """A node with attributes that refer to those of the function."""
    node = helper.make_node(op, inputs, outputs, **attributes)
    for name, (ref, kind) in refs.items():
        node.attribute.add(name=name, ref_attr_name=ref, type=kind)
    return node


def save(path, nodes, functions, constants=(), outputs=("y",), opset=17, imports=(LOCAL,), shape=(1, 3, 8, 8)):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in dict(constants).items()])
    model = helper.make_model(graph, functions=functions, ir_version=10,
                              opset_imports=[helper.make_opsetid("", opset), *imports])
    path.write_bytes(model.SerializeToString())
    return path


def ran(done, path, x, folder, count=1):
    np.save(folder / "x.npy", x)
    out = folder / f"out_{path.stem}"
    done("run", path, "--data", folder / "x.npy", "-o", out, "--engine", "portable")
    return [np.load(out / f"output_{i}.npy") for i in range(count)]


def same(got, want):
    assert got.shape == want.shape and got.dtype == want.dtype
    assert np.abs(got - want).max() <= 1e-4 * max(1e-3, np.abs(want).max())


def as_the_references(done, path, x, folder, count=1):
    """What the command gives is what ONNX Runtime gives, and what it gives of onnx's inlined model, where no attribute
    has a default, which onnx's inliner forgets."""
    got = ran(done, path, x, folder, count)
    model = onnx.load(path)
    references = [path.read_bytes()]
    if not any(f.attribute_proto for f in model.functions):
        references.append(onnx.inliner.inline_local_functions(model).SerializeToString())
    for reference in references:
        want = onnxruntime.InferenceSession(reference).run(None, {"x": x})
        for g, w in zip(got, want, strict=True):
            same(g, w)
    return got


BLOCK = function(
    "Block", ["a", "w"], ["b"],
    [referring("Conv", ["a", "w"], ["c"], {"pads": ("pads", 7)}, name="conv"),
     referring("LeakyRelu", ["c"], ["b"], {"alpha": ("slope", 1)}, name="act")],
    ["pads"], [helper.make_attribute("slope", 0.25)])
WEIGHTS = {"w0": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
           "w1": RNG.normal(size=(4, 4, 3, 3)).astype(np.float32)}


def blocks(path, **more):
    return save(path, [call("Block", ["x", "w0"], ["m"], pads=[1, 1, 1, 1], name="first"),
                       call("Block", ["m", "w1"], ["y"], pads=[0, 0, 0, 0], slope=0.5, name="second")],
                [BLOCK], WEIGHTS, **more)


def test_attributes_by_reference(done, tmp_path):
    as_the_references(done, blocks(tmp_path / "m.onnx"), X, tmp_path)


def test_reference_without_value_is_left_out(done, tmp_path):
    """Conv without pads has none."""
    path = save(tmp_path / "m.onnx", [call("Block", ["x", "w0"], ["y"])], [BLOCK], WEIGHTS)
    assert as_the_references(done, path, X, tmp_path)[0].shape == (1, 4, 6, 6)


def test_functions_that_call_functions(done, tmp_path):
    """Names of formal inputs and of inner values meet those of the model and of one another."""
    inner = function("Inner", ["x", "y"], ["z"], [helper.make_node("Sub", ["x", "y"], ["m"]),
                                                  helper.make_node("Tanh", ["m"], ["z"])])
    outer = function("Outer", ["y", "x"], ["z", "m"],
                     [call("Inner", ["y", "x"], ["m"]), call("Inner", ["m", "y"], ["z"])], imports=[LOCAL])
    path = save(tmp_path / "m.onnx",
                [helper.make_node("Relu", ["x"], ["m"]), call("Outer", ["m", "x"], ["z", "m__1"]),
                 call("Outer", ["z", "m__1"], ["y", ""])], [outer, inner], outputs=("y", "z", "m__1"))
    as_the_references(done, path, X, tmp_path, 3)


def test_inputs_and_outputs_that_pass_through(done, tmp_path):
    f = function("Pass", ["a", "b"], ["b", "a", "c", "c"], [helper.make_node("Neg", ["a"], ["c"])])
    f.output[3] = "d"
    f.node.append(helper.make_node("Abs", ["a"], ["d"]))
    path = save(tmp_path / "m.onnx", [helper.make_node("Exp", ["x"], ["e"]),
                                      call("Pass", ["x", "e"], ["p", "q", "r", "s"])],
                [f], outputs=("p", "q", "r", "s"))
    for g, want in zip(ran(done, path, X, tmp_path, 4), (np.exp(X), X, -X, np.abs(X)), strict=True):
        same(g, want)


def test_optional_inputs(done, tmp_path):
    f = function("Limit", ["a", "low", "high"], ["b"], [helper.make_node("Clip", ["a", "low", "high"], ["b"])])
    path = save(tmp_path / "m.onnx",
                [call("Limit", ["x", "", "one"], ["p"]), call("Limit", ["x", "one"], ["q"]),
                 call("Limit", ["x"], ["r"])], [f], {"one": np.float32(0.5)}, ("p", "q", "r"))
    np.save(tmp_path / "x.npy", X)
    got = ran(done, path, X, tmp_path, 3)
    for g, want in zip(got, (X.clip(max=0.5), X.clip(min=0.5), X), strict=True):
        same(g, want)


def test_overloads(done, tmp_path):
    fs = [function("F", ["a"], ["b"], [helper.make_node(op, ["a"], ["b"])], overload=o)
          for o, op in (("", "Neg"), ("two", "Abs"), ("three", "Exp"))]
    nodes = [call("F", ["x"], ["p"]), call("F", ["x"], ["q"]), call("F", ["x"], ["r"])]
    nodes[1].overload, nodes[2].overload = "two", "three"
    path = save(tmp_path / "m.onnx", nodes, fs, outputs=("p", "q", "r"))
    for g, want in zip(ran(done, path, X, tmp_path, 3), (-X, np.abs(X), np.exp(X)), strict=True):
        same(g, want)


def branch(op, name):
    return helper.make_graph([helper.make_node(op, ["a"], [name])], name, [],
                             [helper.make_tensor_value_info(name, FLOAT, None)])


def test_subgraphs_in_functions_and_calls_in_subgraphs(done, tmp_path):
    """The branches read the function's input; a branch of the model calls the function."""
    chosen = function(
        "Chosen", ["a", "low"], ["b"],
        [helper.make_node("ReduceSum", ["a"], ["s"], keepdims=0), helper.make_node("Greater", ["s", "low"], ["c"]),
         helper.make_node("If", ["c"], ["b"], then_branch=branch("Neg", "t"), else_branch=branch("Exp", "t"))])
    then = helper.make_graph([call("Chosen", ["x", "low"], ["t"])], "then", [],
                             [helper.make_tensor_value_info("t", FLOAT, None)])
    other = helper.make_graph([helper.make_node("Abs", ["x"], ["t"])], "else", [],
                              [helper.make_tensor_value_info("t", FLOAT, None)])
    path = save(tmp_path / "m.onnx",
                [helper.make_node("ReduceMax", ["x"], ["s"], keepdims=0), helper.make_node("Greater", ["s", "low"], ["c"]),
                 helper.make_node("If", ["c"], ["m"], then_branch=then, else_branch=other),
                 call("Chosen", ["m", "low"], ["y"])], [chosen], {"low": np.float32(0)})
    for x in (np.abs(X), -np.abs(X), X):
        as_the_references(done, path, x, tmp_path)


def test_constants_and_loops_in_functions(done, tmp_path):
    body = helper.make_graph(
        [helper.make_node("Mul", ["v", "factor"], ["next"]), helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in
         (("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("v", FLOAT, None))],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", FLOAT, None)],
        [numpy_helper.from_array(np.float32(1.5), "factor")])
    f = function("Power", ["a"], ["b"],
                 [referring("Constant", [], ["n"], {"value_int": ("times", 2)}),
                  helper.make_node("Loop", ["n", "", "a"], ["b"], body=body)], ["times"])
    path = save(tmp_path / "m.onnx", [call("Power", ["x"], ["m"], times=3), call("Power", ["m"], ["y"], times=2)], [f])
    as_the_references(done, path, X, tmp_path)


@pytest.mark.parametrize("model_set, function_set", [(17, 18), (18, 17), (13, 20)])
def test_several_operator_sets(done, run, tmp_path, model_set, function_set):
    f = function("F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["c"]), helper.make_node("Mul", ["c", "c"], ["b"])],
                 opset=function_set)
    path = save(tmp_path / "m.onnx", [call("F", ["x"], ["m"]), helper.make_node("Sqrt", ["m"], ["y"])], [f],
                opset=model_set)
    same(ran(done, path, X, tmp_path)[0], X.clip(min=0))
    done("quantize", path, "--pipeline", "fold-constants", "-o", tmp_path / "out.onnx")
    made = onnx.load(tmp_path / "out.onnx")
    assert {o.domain: o.version for o in made.opset_import}[""] == max(model_set, function_set)
    onnxruntime.InferenceSession(tmp_path / "out.onnx")


def test_operators_that_changed_between_the_sets(run, tmp_path):
    f = function("F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opset=18)
    path = save(tmp_path / "m.onnx", [call("F", ["x"], ["m"]), helper.make_node("Split", ["m"], ["y", "z"], axis=3)],
                [f], outputs=("y", "z"))
    result = run("inspect", path)
    assert result.rc == 1 and "(Split)" in result.stderr and "17 to 18" in result.stderr


def test_an_empty_pipeline_keeps_them(done, tmp_path):
    path = blocks(tmp_path / "m.onnx")
    done("quantize", path, "--pipeline", "", "-o", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()


def test_one_with_the_name_of_an_operator(done, tmp_path):
    """A function counts, whatever else has its name: other inputs, and attributes that the operator has not."""
    f = helper.make_function("com.microsoft", "Gelu", ["a", "b"], ["c"], [helper.make_node("Sub", ["a", "b"], ["c"])],
                             [helper.make_opsetid("", 17)], ["amount"])
    node = helper.make_node("Gelu", ["x", "x"], ["y"], domain="com.microsoft", amount=1)
    path = save(tmp_path / "m.onnx", [node], [f], imports=[helper.make_opsetid("com.microsoft", 1)])
    end = run_command("quantize", "-q", path, "--pipeline", "", "-o", tmp_path / "out.onnx")
    assert end.rc == 0 and end.stderr == ""
    assert not ran(done, path, X, tmp_path)[0].any()


def test_inspect_counts_what_they_hold(done, tmp_path):
    told = json.loads(done("inspect", blocks(tmp_path / "m.onnx"), "--json"))
    assert told["functions"] == 1
    assert {o["type"]: (o["count"], o["known"]) for o in told["operators"]} == {
        "Conv": (2, True), "LeakyRelu": (2, True)}
    assert told["macs"] == 64 * 4 * 27 + 36 * 4 * 36


def test_quantized_is_what_the_inlined_model_gives(done, tmp_path):
    path, inlined = blocks(tmp_path / "m.onnx"), tmp_path / "inlined.onnx"
    onnx.save(onnx.inliner.inline_local_functions(onnx.load(path)), inlined)
    (tmp_path / "data").mkdir()
    for i in range(20):
        np.save(tmp_path / "data" / f"{i:02}.npy", RNG.normal(size=X.shape).astype(np.float32))
    done("calibrate", path, tmp_path / "data", "-o", tmp_path / "m.qcal")
    made = []
    for source, how in ((path, ["--calibration", tmp_path / "m.qcal"]), (path, ["--data", tmp_path / "data"]),
                        (inlined, ["--data", tmp_path / "data"])):
        out = tmp_path / f"out{len(made)}.onnx"
        done("quantize", source, *how, "-o", out)
        made.append(onnx.load(out))
    assert made[0] == made[1]
    assert [n.op_type for n in made[0].graph.node] == [n.op_type for n in made[2].graph.node]
    assert not made[0].functions and "QuantizeLinear" in {n.op_type for n in made[0].graph.node}
    onnxruntime.InferenceSession(tmp_path / "out0.onnx")
    names = [o for n in made[0].graph.node for o in n.output]
    assert len(names) == len(set(names))
    named = [n.name for n in made[0].graph.node if n.name]
    assert len(named) == len(set(named))
    got = ran(done, tmp_path / "out0.onnx", X, tmp_path)[0]
    want = onnxruntime.InferenceSession(tmp_path / "out0.onnx").run(None, {"x": X})[0]
    assert np.array_equal(got, want)


def test_compiled(done, qonnx, tmp_path):
    path = blocks(tmp_path / "m.onnx")
    want = ran(done, path, X, tmp_path)
    made = compile_model(qonnx, path, tmp_path / "c")
    made.build(["cc"])
    assert same_bytes(made.run([[X]]), [want])
