"""Small files that would take long, or much memory: what reads, checks and rewrites a model takes time and memory in
proportion to its file.

Each case once took the square of its size, half a minute and more. Now it takes about a second: the limit leaves room
for sanitizers and for slow machines.
"""
import os
import resource
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

PREFIX = "raise-opset,fold-constants,remove-identity,fuse-bias-add,fold-batchnorm,fuse-bias-add"
SECONDS = 15  # of processor time


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


def many_attributes(graphs, count):
    """Of one node; each a number or a graph."""
    made = model([node("Any", ["x"], ["y"], "other")], [value("x", [1])], [value("y", [1])])
    for i in range(count):
        attribute = made.graph.node[0].attribute.add(name=f"{i:x}")
        if graphs:
            attribute.g.SetInParent()
        else:
            attribute.i = 1
    return made


def many_numbers():
    return many_attributes(False, 90000)


def many_subgraphs():
    return many_attributes(True, 20000)


def many_uses(nodes=4, count=30000):
    """One value is read so many times by each node."""
    nodes = [node("Any", ["z"] * count, [f"y{i}" if i else "y"], "other") for i in range(nodes)]
    nodes.insert(0, node("Identity", ["x"], ["z"]))
    return model(nodes, [value("x", [1])], [value("y", [1])])


def many_users(count=32000):
    """One value is read by so many nodes, all of which go."""
    names = [f"{i:x}" for i in range(count)]
    nodes = [node("Identity", ["x"], [name]) for name in names] + [node("Any", names, ["y"], "other")]
    return model(nodes, [value("x", [1])], [value("y", [1])])


def many_outputs(count=60000):
    """In another order than their nodes."""
    nodes = [node("Relu", ["x"], [f"{i:x}"]) for i in range(count)]
    return model(nodes, [value("x", [1])], [value(f"{i:x}", [1]) for i in reversed(range(count))])


def many_constants(count=50000):
    tables = [constant(f"{i:x}", np.zeros(1, np.float32)) for i in range(count)]
    return model([node("Relu", ["x"], ["y"])], [value("x", [1])], [value("y", [1])], tables)


# ---- raise-opset ---------------------------------------------------------------------------------


def one_name(count=9000, subgraphs=False, depth=0):
    """Nodes of one name below operator set 13, each of which needs names for what is put around it."""
    nodes = [node("Softmax", ["x"], [f"y{i}"], name="n", axis=1) for i in range(count)]
    outputs = [value(f"y{i}") for i in range(count)]
    inputs = [value("x", ["a", "b", "c"]), value("c", [], TensorProto.BOOL)]
    if subgraphs:
        branch = helper.make_graph([node("Identity", ["x"], ["z"])], "s", [], [value("z")])
        nodes.insert(0, node("If", ["c"], ["r"], then_branch=branch, else_branch=branch))
        outputs.append(value("r"))
    for _ in range(depth):
        branch = helper.make_graph(nodes, "s", [], [value("y0")])
        other = helper.make_graph([node("Identity", ["x"], ["e0"])], "s", [], [value("e0")])
        nodes, outputs = [node("If", ["c"], ["y0"], then_branch=branch, else_branch=other)], [value("y0")]
    return model(nodes, inputs, outputs, opset=11)


def one_name_and_subgraphs():
    return one_name(subgraphs=True)


def one_name_deep_inside():
    return one_name(depth=20)


def ranks_one_by_one(count=4000):
    """Ranks that are known only when the node in front has been raised."""
    nodes, x = [], "x"
    for i in range(count):
        nodes += [node("Unsqueeze", [x], [f"u{i}"], axes=[0]), node("Softmax", [f"u{i}"], [f"s{i}"], axis=0),
                  node("Squeeze", [f"s{i}"], [f"q{i}"], axes=[0])]
        x = f"q{i}"
    return model(nodes, [value("x", [2, 3])], [value(x)], opset=11)


def branches(depth=28):
    """Ifs within Ifs, of which no branch can run."""
    nodes = [node("MatMul", ["x", "t"], [f"y{depth}"], name=f"n_{depth}")]
    for i in reversed(range(depth)):
        then = helper.make_graph([node("MatMul", ["x", "t"], [f"z{i}"], name=f"z_{i}")], f"t_{i}", [], [value(f"z{i}")])
        other = helper.make_graph(nodes, f"e_{i}", [], [value(f"y{i + 1}")])
        nodes = [node("If", ["c"], [f"y{i}"], then_branch=then, else_branch=other, name=f"n_{i}")]
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=TensorProto.BOOL), *nodes]
    return model(nodes, [value("x", ["a", "b"])], [value("y0")], [constant("t", np.ones((4, 5), np.float32))])


def branches_beside_functions():
    """Names of every depth are counted before functions are inlined."""
    made = branches()
    made.opset_import.add(domain="local", version=1)
    made.functions.append(helper.make_function("local", "F", ["a"], ["b"], [node("Relu", ["a"], ["b"])],
                                               [helper.make_opsetid("", 13)]))
    made.graph.node.append(node("F", ["x"], ["z"], "local"))
    made.graph.output.append(value("z"))
    return made


INSPECT, EMPTY, DEFAULT, COMPILE, RUN = "inspect", "empty", "default", "compile", "run"
CASES = [
    (many_results, [DEFAULT, COMPILE]),
    (many_products, [DEFAULT, COMPILE]),
    (many_readers, [DEFAULT, COMPILE]),
    (large_windows, [DEFAULT, COMPILE]),
    (chain, [INSPECT, EMPTY, DEFAULT, COMPILE]),
    (alive_at_once, [COMPILE]),
    (many_numbers, [INSPECT, DEFAULT]),
    (many_subgraphs, [INSPECT, DEFAULT]),
    (many_uses, [INSPECT, DEFAULT]),
    (many_users, [INSPECT, DEFAULT]),
    (many_outputs, [EMPTY, COMPILE]),
    (many_constants, [DEFAULT, COMPILE]),
    (one_name, [DEFAULT]),
    (one_name_and_subgraphs, [DEFAULT]),
    (one_name_deep_inside, [DEFAULT]),
    (ranks_one_by_one, [DEFAULT]),
    (branches, [RUN]),
    (branches_beside_functions, [RUN]),
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
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    command = {
        INSPECT: ["inspect", path],
        EMPTY: ["quantize", path, "--pipeline", "", "-o", tmp_path / "out.onnx"],
        DEFAULT: ["quantize", path, "--pipeline", PREFIX, "-o", tmp_path / "out.onnx"],
        COMPILE: ["compile", path, "-o", tmp_path / "c", "--prefix", "m"],
        RUN: ["run", path, "--data", tmp_path / "x.npy"],
    }[how]
    status, stderr, kilobytes = limited([str(a) for a in [qonnx, *command]], SECONDS)
    assert status in (0, 1), f"status {status}\n{stderr}"
    assert kilobytes < 1 << 20, f"{kilobytes} kB"
    assert status == 0 or how in (COMPILE, RUN), stderr
