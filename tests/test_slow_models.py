"""Small files that would take long, or much memory: what reads, checks and rewrites a model takes time and memory in
proportion to its file.

Each case is a model of some 100 kB that once took the square of its size. The limits are about ten times what the
command now takes, under sanitizers too; the process may take no more processor time than that.
"""
import os
import resource
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PREFIX = "raise-opset,fold-constants,remove-identity,fuse-bias-add,fold-batchnorm,fuse-bias-add"
SECONDS = 10  # of processor time


def value(name, shape=None, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, domain=domain, **attributes)


def model(nodes, inputs, outputs, constants=(), opset=13):
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(constants))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("other", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# ---- too much to fold ----------------------------------------------------------------------------


def many_results():
    """300 sums of 16 MB each, of the same two constants."""
    sums = [str(i) for i in range(300)]
    nodes = [node("Add", ["a", "b"], [name]) for name in sums] + [node("Any", sums + ["x"], ["y"], "other")]
    tables = [constant("a", np.ones((2048, 1), np.float32)), constant("b", np.ones((1, 2048), np.float32))]
    return model(nodes, [value("x", [1])], [value("y", [1])], tables)


def many_products():
    """200 products of matrices of 2000 by 2000, one behind the other."""
    nodes = [node("Add", ["a", "b"], ["0"])]
    nodes += [node("MatMul", [str(i)] * 2, [str(i + 1)]) for i in range(200)]
    nodes += [node("Any", ["200", "x"], ["y"], "other")]
    tables = [constant("a", np.ones((2000, 1), np.float32)), constant("b", np.ones((1, 2000), np.float32))]
    return model(nodes, [value("x", [1])], [value("y", [1])], tables)


def many_readers():
    """2000 sums of one table of 16 MB: small results, but each goes through it."""
    sums = [str(i) for i in range(2000)]
    nodes = [node("Add", ["a", "b"], ["t"])] + [node("ReduceSum", ["t"], [name]) for name in sums]
    nodes += [node("Any", sums + ["x"], ["y"], "other")]
    tables = [constant("a", np.ones((2048, 1), np.float32)), constant("b", np.ones((1, 2048), np.float32))]
    return model(nodes, [value("x", [1])], [value("y", [1])], tables)


def large_windows():
    """Pools whose every element is the mean of a million."""
    means = [str(i) for i in range(200)]
    nodes = [node("Add", ["a", "b"], ["t"])]
    nodes += [node("AveragePool", ["t"], [name], kernel_shape=[1001, 1001], pads=[500] * 4) for name in means]
    nodes += [node("Any", means + ["x"], ["y"], "other")]
    tables = [constant("a", np.ones((1, 1, 1001, 1), np.float32)), constant("b", np.ones((1001,), np.float32))]
    return model(nodes, [value("x", [1])], [value("y", [1])], tables)


# ---- many of one thing ---------------------------------------------------------------------------


def chain(count=32769):
    """So many blocks of memory that their number's square is no int."""
    ops = ["Softmax", "Relu"]
    nodes = [node(ops[i % 2], [f"{i:x}"], [f"{i + 1:x}"]) for i in range(count)]
    return model(nodes, [value("0", [1])], [value(f"{count:x}", [1])])


def alive_at_once(count=30000):
    """Every block of memory is needed to the end."""
    names = [f"{i:x}" for i in range(count)]
    nodes = [node("Softmax", ["x"], [name]) for name in names] + [node("Concat", names, ["y"], axis=0)]
    return model(nodes, [value("x", [1])], [value("y", [count])])


INSPECT, EMPTY, DEFAULT, COMPILE = "inspect", "empty", "default", "compile"
CASES = [
    (many_results, [DEFAULT, COMPILE]),
    (many_products, [DEFAULT, COMPILE]),
    (many_readers, [DEFAULT, COMPILE]),
    (large_windows, [DEFAULT, COMPILE]),
    (chain, [INSPECT, EMPTY, DEFAULT, COMPILE]),
    (alive_at_once, [COMPILE]),
]


def limited(command, seconds):
    """Runs it with a limit on its processor time. Its memory is seen from outside: sanitizers map all they can."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                               preexec_fn=limit)
    stderr = process.stderr.read().decode(errors="replace")
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, stderr, usage.ru_maxrss


@pytest.mark.parametrize("make,how", [(make, how) for make, hows in CASES for how in hows],
                         ids=[f"{make.__name__}-{how}" for make, hows in CASES for how in hows])
def test_takes_no_longer_than_its_size(make, how, qonnx, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(make(), path)
    command = {
        INSPECT: ["inspect", path],
        EMPTY: ["quantize", path, "--pipeline", "", "-o", tmp_path / "out.onnx"],
        DEFAULT: ["quantize", path, "--pipeline", PREFIX, "-o", tmp_path / "out.onnx"],
        COMPILE: ["compile", path, "-o", tmp_path / "c", "--prefix", "m"],
    }[how]
    status, stderr, kilobytes = limited([str(a) for a in [qonnx, *command]], SECONDS)
    assert status in (0, 1), f"status {status}\n{stderr}"
    assert kilobytes < 1 << 20, f"{kilobytes} kB"
    assert status == 0 or how == COMPILE, stderr
