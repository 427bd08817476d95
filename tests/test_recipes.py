"""HACKING.md's recipe of an operator, followed by the letter and by half. tests/recipe/added.c, and its name in meson.build,
are three operators, with two outputs, with a size that is data, and with a subgraph: every verb has them. A row whose lowering
does not know it must say so, with the node's name, in every verb. It builds the library anew, with QONNX_LONG=1."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import COMMAND
from onnx import TensorProto, helper

BUILD = COMMAND.parent
EXAMPLE = '{"LogSoftmax", 1, 1, softmax_shape, RULE_FLOAT, NULL, softmax_lower, .takes = softmax_takes,'
FORGOTTEN = '{"Riddle", 1, 1, same_shape, RULE_FLOAT, NULL, unary_lower, .takes = takes_float_data},'
SILENT = """static bool unary_lower(Lower *l, Node *n)
{
    f_unary_p p;
    return unary_params(n, &p) && unary_emit(l, n, p);
}

const Op ops_activation[]"""


def source_of(build):
    """The folder that a build directory was set up for."""
    info = build / "meson-info" / "meson-info.json"
    return Path(json.loads(info.read_text())["directories"]["source"]) if info.exists() else None


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """The command, built with the operators of added.c, and a row for Riddle whose lowering knows it not."""
    source = source_of(BUILD)
    if not os.environ.get("QONNX_LONG") or not source:
        pytest.skip("QONNX_LONG=1 builds the library with another operator")
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copytree(source, folder / "source", ignore=shutil.ignore_patterns("build*", ".git", "testdata"))
    family = folder / "source" / "ops" / "activation.c"
    text = family.read_text()
    assert EXAMPLE in text
    text = text.replace("const Op ops_activation[]", SILENT, 1)
    family.write_text(text.replace(EXAMPLE, FORGOTTEN + "\n    " + EXAMPLE, 1))
    shutil.copy(source / "tests" / "recipe" / "added.c", folder / "source" / "ops")
    listed = folder / "source" / "meson.build"
    listed.write_text(listed.read_text().replace("op_families = [", "op_families = ['added', ", 1))
    for command in (["meson", "setup", "-Dtests=false", folder / "build", folder / "source"],
                    ["meson", "compile", "-C", folder / "build"]):
        subprocess.run(command, check=True, capture_output=True)
    return folder / "build" / "qonnx"


@pytest.mark.mends("failure without a message")
@pytest.mark.parametrize("verb", ["run", "evaluate", "compile", "calibrate", "quantize"])
def test_a_lowering_that_fails_in_silence(added, tmp_path, verb):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"], "first"), helper.make_node("Riddle", ["r"], ["y"], "second")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])])
    path, data = tmp_path / "m.onnx", tmp_path / "data"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    data.mkdir()
    for i in range(20):
        np.save(data / f"{i}.npy", np.ones((1, 4), np.float32))
    last = {"run": ["--data", data], "evaluate": ["--data", data], "compile": ["-o", tmp_path / "c"],
            "calibrate": [data, "-o", tmp_path / "m.qcal"],
            "quantize": ["--data", data, "-o", tmp_path / "q.onnx"]}[verb]
    done = subprocess.run([added, verb, path, *last], capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert "'second' (Riddle)" in done.stderr and not done.stdout, done


def body(name):
    """A graph that gives the exponential of what it takes from outside."""
    return helper.make_graph([helper.make_node("Exp", [name], [f"{name}_exp"])], "body", [],
                             [helper.make_tensor_value_info(f"{name}_exp", TensorProto.FLOAT, None)])


def model_of_added(path):
    """A layer, its halves, one of them through a subgraph, the places of what is positive in the other."""
    weights = np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Transpose", ["m"], ["t"]),
             helper.make_node("Halves", ["t"], ["a", "b"], domain="added"),
             helper.make_node("Apply", [], ["y"], domain="added", body=body("a")),
             helper.make_node("Relu", ["b"], ["r"]), helper.make_node("Places", ["r"], ["p"], domain="added")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1]),
                               helper.make_tensor_value_info("p", TensorProto.INT64, [2, None])],
                              [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("added", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return weights


def test_operators_added_by_the_recipe(added, tmp_path):
    path, int8, data = tmp_path / "m.onnx", tmp_path / "q.onnx", tmp_path / "data"
    weights, random = model_of_added(path), np.random.default_rng(0)
    data.mkdir()
    samples = random.normal(size=(24, 1, 6)).astype(np.float32)
    for i, x in enumerate(samples):
        np.save(data / f"{i:02}.npy", x)

    def done(*args):
        subprocess.run([added, *map(str, args)], check=True, capture_output=True, cwd=tmp_path)

    done("quantize", path, "--data", data, "-o", int8)
    assert {n.op_type for n in onnx.load(int8).graph.node} >= {"QuantizeLinear", "Halves", "Apply", "Places"}
    for model, near in ((path, 1e-5), (int8, 0.3)):
        done("evaluate", path, model, "--data", data)
        done("run", model, "--data", data, "-o", tmp_path / model.stem)
        for i, x in enumerate(samples):
            y, p = (np.load(tmp_path / model.stem / f"output_{k}" / f"{i:06}.npy") for k in range(2))
            m = (x @ weights).T
            np.testing.assert_allclose(y, np.exp(m[:5]), rtol=near)
            if model == path:
                np.testing.assert_array_equal(p, np.array(np.nonzero(np.maximum(m[5:], 0))))
        done("compile", model, "--target", "generic", "-o", tmp_path / "c", "--prefix", "m")
        subprocess.run(["make", "-s", "-C", tmp_path / "c", "test"], check=True, capture_output=True)
