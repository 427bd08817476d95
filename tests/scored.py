"""Models and data of the tests of metrics, and what evaluate scores."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT


def model(path, outputs, inputs=("x",), nodes=None, dtype=FLOAT):
    """A model whose outputs are its inputs, of any shape."""
    nodes = nodes or [helper.make_node("Identity", [x], [y]) for x, y in zip(inputs, outputs)]
    info = lambda names: [helper.make_tensor_value_info(n, dtype, None) for n in names]  # noqa: E731
    graph = helper.make_graph(nodes, "g", info(inputs), info(outputs))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def arrays(folder, values):
    """A file for each array, called as its key, or its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, x in values.items() if isinstance(values, dict) else enumerate(values):
        np.save(folder / (f"{name}.npy" if isinstance(name, str) else f"{name:03}.npy"), np.asarray(x))
    return folder


def scores(done, *arguments):
    """The metrics of each model."""
    return [m["metrics"] for m in json.loads(done("evaluate", "-q", *arguments, "--npy", "sample", "--json"))["models"]]
