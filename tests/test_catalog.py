"""`qonnx operators`: what it says of an operator is what inspect says of a node, and docs/operators.md is written from it."""

import json
import subprocess
import sys

import onnx
import pytest
from conftest import COMMAND, ROOT
from onnx import TensorProto, helper


@pytest.fixture(scope="module")
def catalog(qonnx):
    done = subprocess.run([COMMAND, "operators", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["operators"]


def test_page(qonnx):
    done = subprocess.run([sys.executable, ROOT / "tools" / "operators.py", COMMAND], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "operators.md").read_text()
    assert done.stdout == page, "write it anew: build/venv/bin/python tools/operators.py > docs/operators.md"


def test_text(catalog, done):
    lines = done("operators").splitlines()
    assert len(lines) == len(catalog) > 200
    assert "Conv: from 1 on; own" in lines and "Relu: from 1 on; activate" in lines and "Erf: from 9 on; float" in lines
    assert "com.microsoft.QLinearAdd" not in lines and "com.microsoft.FusedConv: from 1 on; float" in lines


def test_each_once(catalog):
    names = [(o["domain"], o["name"]) for o in catalog]
    assert names == sorted(set(names))


# What operators do not go without.
GIVEN = {"DepthToSpace": dict(blocksize=1), "SpaceToDepth": dict(blocksize=1), "Concat": dict(axis=0),
         **{op: dict(kernel_shape=[1]) for op in ("AveragePool", "LpPool", "MaxPool")}, "Multinomial": dict(sample_size=1),
         "Einsum": dict(equation="...->..."), "LRN": dict(size=1)}


def test_inspect_agrees(catalog, done, tmp_path):
    """A node whose first input has a type, all else being left open, is known where the catalog has the type."""
    types = {n.lower(): t for n, t in TensorProto.DataType.items() if n.lower() in (
        "float", "double", "int8", "uint8", "int32", "int64", "uint64", "bool", "float16", "bfloat16")}
    free = [o for o in catalog if not o["domain"] and o["least_inputs"] == 1 and o["types"] and o["until"] == 0 and o["since"]
            and o["name"] not in ("BitCast", "Cast", "Dropout", "TopK")]
    assert len(free) > 60
    for name, t in types.items():
        nodes = [helper.make_node(o["name"], ["x"], [f"y{i}"], f"n{i}", **GIVEN.get(o["name"], {}))
                 for i, o in enumerate(free)]
        graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", t, None)],
                                  [onnx.ValueInfoProto(name=f"y{i}") for i in range(len(free))])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 28)], ir_version=10)
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        rows = {o["type"]: o["known"] for o in json.loads(done("inspect", tmp_path / "m.onnx", "--json"))["operators"]}
        assert {o["name"]: name in o["types"][0] for o in free} == rows, name
