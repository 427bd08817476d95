"""Models that hold many forms of operators side by side, one node each, for tests against ONNX Runtime."""

import shutil
from typing import NamedTuple

import compiled
import numpy as np
import onnx
from conftest import run_command
from onnx import helper, numpy_helper
from ort import session


class Model(NamedTuple):
    """A model, what goes in, and the names of the outputs' forms."""

    proto: onnx.ModelProto
    inputs: dict
    names: list


def form(op, *operands, outputs=1, domain="", **attributes):
    """A node: operands are names of inputs, arrays (constants), or None where one is left out; `outputs` a number, or a
    list that says of each whether it is there."""
    return op, operands, [True] * outputs if isinstance(outputs, int) else outputs, domain, attributes


def build(forms, inputs, opset=18, last=(), folded=False, ml=5):
    """A model of these forms, those of ai.onnx.ml by that operator set. Inputs in `last` go through a convolution that leaves them as they are, and so are
    channels-last; `folded`: all inputs are constants, so that nothing is left to run."""
    nodes, constants, outputs, names = [], [], [], []
    for name in last:
        channels = inputs[name].shape[1]
        eye = np.eye(channels, dtype=np.float32).reshape(channels, channels, *[1] * (inputs[name].ndim - 2))
        constants.append(numpy_helper.from_array(eye, name + "_w"))
        nodes.append(helper.make_node("Conv", [name, name + "_w"], [name + "_last"]))
    for k, (op, operands, there, domain, attributes) in enumerate(forms):
        ins = []
        for j, operand in enumerate(operands):
            if isinstance(operand, np.ndarray):
                constants.append(numpy_helper.from_array(operand, f"c{k}_{j}"))
                operand = f"c{k}_{j}"
            ins.append("" if operand is None else operand + "_last" if operand in last else operand)
        outs = [f"y{k}_{j}" if used else "" for j, used in enumerate(there)]
        nodes.append(helper.make_node(op, ins, outs, f"n{k}", domain=domain, **attributes))
        outputs += [o for o in outs if o]
        names += [f"{k}: {op} {[str(o)[:30] for o in operands]} {attributes}, output {j}"
                  for j, o in enumerate(outs) if o]
    if folded:
        constants += [numpy_helper.from_array(v, k) for k, v in inputs.items()]
        inputs = {"fed": np.ones(1, np.float32)}
        nodes.append(helper.make_node("Identity", ["fed"], ["out"]))
        outputs.append("out")
        names.append("Identity")
    info = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()]
    graph = helper.make_graph(nodes, "forms", info, [onnx.ValueInfoProto(name=o) for o in outputs], constants)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1),
            helper.make_opsetid("ai.onnx.ml", ml)]
    return Model(helper.make_model(graph, opset_imports=sets, ir_version=10), inputs, names)


def runtime(m):
    """ONNX Runtime's outputs, each operator by itself."""
    return session(m.proto, optimized=False).run(None, m.inputs)


def saved(m, folder):
    """Writes the model and its inputs; gives their paths."""
    (folder / "m.onnx").write_bytes(m.proto.SerializeToString())
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data").mkdir()
    for k, v in enumerate(m.inputs.values()):
        (folder / "data" / f"input_{k}.pb").write_bytes(numpy_helper.from_array(v).SerializeToString())
    return folder / "m.onnx", folder / "data"


def run(m, folder, *options):
    """The command's outputs."""
    path, data = saved(m, folder)
    done = run_command("run", "-q", path, "--data", data, "-o", folder / "out", *options)
    assert done.rc == 0, done.stderr
    return [np.load(folder / "out" / f"output_{k}.npy") for k in range(len(m.names))]


def same(m, got, want, error=0.0):
    """Equal types, shapes and integers; floats within `error` of the greatest."""
    wrong = {}
    for name, g, w in zip(m.names, got, want):
        if g.dtype != w.dtype or g.shape != w.shape:
            wrong[name] = f"{g.dtype} {g.shape}, want {w.dtype} {w.shape}"
        elif g.size and g.dtype.kind == "f":
            finite = np.isfinite(w)
            room = error * max(np.abs(w[finite]).max(initial=0), 1e-30)
            off = np.abs(g[finite].astype(np.float64) - w[finite]).max(initial=0)
            if not (off <= room and np.array_equal(g[~finite], w[~finite], equal_nan=True)):
                wrong[name] = f"off by {off}, allowed {room}: {g.ravel()[:4]}, want {w.ravel()[:4]}"
        elif not np.array_equal(g, w):
            wrong[name] = f"{g.ravel()[:9]}, want {w.ravel()[:9]}"
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())
    assert len(got) == len(want) == len(m.names)


def agrees(m, folder, error=0.0, want=None):
    """The command's outputs are ONNX Runtime's, on both engines, and those of the compiled model are the command's."""
    want = runtime(m) if want is None else want
    got = run(m, folder, "--engine", "portable")
    same(m, got, want, error)
    same(m, run(m, folder), want, error)
    return got


def compiles(m, folder, got, qonnx):
    """The model in C gives the bytes of the portable engine."""
    c = compiled.compile_model(qonnx, folder / "m.onnx", folder / "net")
    cc = next(cc for cc in ("gcc", "clang", "gcc-12", "clang-19") if compiled.tool(cc))
    c.build([cc], ["-O1", *compiled.WARNINGS])
    assert not c.undefined()
    (back,) = c.run([[*m.inputs.values()]])
    wrong = [n for n, a, b in zip(m.names, back, got) if a.tobytes() != b.tobytes()]
    assert wrong == [] and len(back) == len(got)
