"""The operators that the command runs, by the test models of the package libonnx-testdata: one model and its inputs
and outputs a test. What is not covered must be refused with a message that names it, never crash."""
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from conftest import run_command

MODELS = Path("/usr/share/libonnx-testdata/data")

# Operators whose tests all pass, except for the ones below.
OPERATORS = set("""
""".split())

# Tests of these operators that do not pass, and why.
EXCEPTIONS = {
}

LEAST_PASSED = 0


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
    folders = sorted(p.parent for p in MODELS.glob("*/*/model.onnx") if (p.parent / "test_data_set_0").is_dir())
    if not folders:
        pytest.skip("the package libonnx-testdata is not installed")

    def one(folder):
        used = operators(onnx.load(folder / "model.onnx").graph)
        return used, run_command("run", folder / "model.onnx", "--data", folder / "test_data_set_0", "--check", timeout=60)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((f.name for f in folders), pool.map(one, folders)))


def test_covered(results):
    passed = [name for name, (_, result) in results.items() if result.rc == 0]
    print(f"{len(passed)} of {len(results)} models give the expected outputs")
    failed = {name: result.stderr or result.stdout for name, (used, result) in results.items()
              if result.rc != 0 and used <= OPERATORS and name not in EXCEPTIONS}
    assert not failed
    assert len(passed) >= LEAST_PASSED


def test_exceptions_are_needed(results):
    assert [name for name in EXCEPTIONS if name not in results or results[name][1].rc == 0] == []


def test_refusals(results):
    """Status 1 and one message; where an operator is missing, its name."""
    wrong = {}
    for name, (used, result) in results.items():
        if result.rc == 0 or used <= OPERATORS:
            continue
        message = result.stderr.strip()
        if result.rc != 1 or not message.startswith("qonnx: ") or "\n" in message:
            wrong[name] = result
    assert not wrong


def test_list_is_complete(results):
    """An operator whose tests all pass belongs into the list."""
    bad, good = Counter(), Counter()
    for used, result in results.values():
        (good if result.rc == 0 else bad).update(used)
    assert set(good) - set(bad) - OPERATORS == set()
