"""The operators that the command runs, by the test models of the package libonnx-testdata: one
model and its inputs and outputs a test. What it cannot run it must refuse with one message; it
never crashes and never computes wrongly."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from conftest import run_command

MODELS = Path("/usr/share/libonnx-testdata/data")

# Operators, and how many of the models that use each give the expected outputs, at the least.
PASSING = """
Abs:2 Add:6 AveragePool:20 BatchNormalization:5 Ceil:2 Clip:2 Concat:13 Constant:21 Conv:33
DequantizeLinear:2 Div:13 Dropout:4 Elu:5 Erf:1 Exp:18 Flatten:11 Floor:2 Gemm:11
GlobalAveragePool:2 GlobalMaxPool:2 HardSigmoid:4 HardSwish:1 Identity:1 LeakyRelu:5 Log:9
LogSoftmax:10 MatMul:4 Max:3 MaxPool:21 Min:3 Mul:8 Neg:5 Pow:6 QuantizeLinear:2 Reciprocal:2
ReduceL2:8 ReduceMax:22 ReduceMean:11 ReduceMin:8 ReduceProd:8 ReduceSum:16 ReduceSumSquare:8
Relu:3 Reshape:11 Round:1 Shape:10 Sigmoid:5 Slice:1 Softmax:11 Softplus:3 Sqrt:4 Squeeze:5 Sub:19
Tanh:5 Transpose:10 Unsqueeze:10
""".split()


def operators(graph):
    """The operators of a graph and of its subgraphs."""
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            for subgraph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found |= operators(subgraph)
    return found


@pytest.fixture(scope="module")
def results(qonnx):
    """Maps each test's name to its operators and the Result of checking it."""
    folders = sorted(p.parent for p in MODELS.glob("*/*/model.onnx"))
    if not folders:
        pytest.skip("the package libonnx-testdata is not installed")
    assert len(folders) > 1000

    def one(folder):
        used = operators(onnx.load(folder / "model.onnx").graph)
        return used, run_command(
            "run",
            folder / "model.onnx",
            "--data",
            folder / "test_data_set_0",
            "--check",
            timeout=60,
        )

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((f.name for f in folders), pool.map(one, folders)))


def test_covered(results):
    passed = Counter()
    for used, result in results.values():
        passed.update(used if result.rc == 0 else [])
    good = sum(result.rc == 0 for _, result in results.values())
    print(f"{good} of {len(results)} models give the expected outputs")
    least = {op: int(count) for op, count in (row.split(":") for row in PASSING)}
    assert {op: passed[op] for op in least if passed[op] < least[op]} == {}


def test_never_wrong(results):
    assert {
        name: result.stdout
        for name, (_, result) in results.items()
        if "check failed" in result.stderr
    } == {}


def test_refusals(results):
    """Everything else ends with status 1 and one message."""
    wrong = {}
    for name, (_, result) in results.items():
        message = result.stderr.rstrip("\n")
        if result.rc != 0 and not (
            result.rc == 1 and message.startswith("qonnx: ") and "\n" not in message
        ):
            wrong[name] = result
    assert wrong == {}


def test_refusals_are_known(results):
    """What is refused though all its operators run stands in not_run.txt with its reason; what runs
    does not."""
    rows = (Path(__file__).parent / "not_run.txt").read_text().splitlines()
    listed = {row.split(":")[0] for row in rows if row and not row.startswith("#")}
    refused = {
        name
        for name, (_, result) in results.items()
        if result.rc and "cannot run operator" not in result.stderr
    }
    assert {name: results[name][1].stderr for name in refused - listed} == {}
    assert sorted(listed - refused) == [], "these run, or lack an operator: take them off the list"
