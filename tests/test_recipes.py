"""What happens to somebody who follows HACKING.md's recipe by half: an operator's row whose lowering does
not know it must say so, with the node's name, in every verb. It builds the library anew, with
QONNX_LONG=1."""

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
EXAMPLE = '{"LogSoftmax", 1, 1, softmax_shape, RULE_FLOAT, NULL, softmax_lower, .takes = takes_float_data},'
FORGOTTEN = EXAMPLE.replace("LogSoftmax", "Bernoulli").replace("softmax", "unary").replace("unary_shape", "same_shape")
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
def half_done(tmp_path_factory):
    """The command, built with a row for Bernoulli whose lowering knows it not."""
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
    for command in (["meson", "setup", "-Dtests=false", folder / "build", folder / "source"],
                    ["meson", "compile", "-C", folder / "build"]):
        subprocess.run(command, check=True, capture_output=True)
    return folder / "build" / "qonnx"


@pytest.mark.mends("failure without a message")
@pytest.mark.parametrize("verb", ["run", "evaluate", "compile", "calibrate", "quantize"])
def test_a_lowering_that_fails_in_silence(half_done, tmp_path, verb):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"], "first"), helper.make_node("Bernoulli", ["r"], ["y"], "second")], "g",
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
    done = subprocess.run([half_done, verb, path, *last], capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert "'second' (Bernoulli)" in done.stderr and not done.stdout, done
