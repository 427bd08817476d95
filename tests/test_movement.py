"""Operators that move data, and indices, against ONNX Runtime: forms, types and layouts that the ONNX node tests do not
have. Each model holds many forms, one an output; the command runs it, folds it where its inputs are constants, and
compiles it, and all give ONNX Runtime's bytes."""

import subprocess
from typing import NamedTuple

import compiled
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import run_command
from onnx import helper, numpy_helper

TYPES = [np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32,
         np.uint64, np.bool_]


def i64(*values):
    return np.array(values, np.int64)


def numbers(dtype, *shape, seed=1):
    """Small numbers of a type, all kinds of bits in it where it is an integer."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.integers(-64, 64, shape).astype(dtype) / dtype(4)
    return random.integers(0, 2 if dtype == np.bool_ else 100, shape).astype(dtype)


class Model(NamedTuple):
    """A model, what goes in, and the names of the forms, one an output."""

    proto: onnx.ModelProto
    inputs: dict
    forms: list


def build(forms, inputs, opset=19, last=(), folded=False):
    """A model of forms: (operator, operands, attributes[, outputs]); operands are names of inputs or arrays. Inputs in
    `last` go through a convolution that leaves them as they are, and so are channels-last; `folded` ones are constants."""
    nodes, constants, outputs, names = [], [], [], []
    for name in last:
        channels = inputs[name].shape[1]
        eye = np.eye(channels, dtype=np.float32).reshape(channels, channels, *[1] * (inputs[name].ndim - 2))
        constants.append(numpy_helper.from_array(eye, name + "_w"))
        nodes.append(helper.make_node("Conv", [name, name + "_w"], [name + "_last"]))
    for k, (op, operands, attributes, *count) in enumerate(forms):
        ins = []
        for j, operand in enumerate(operands):
            if not isinstance(operand, str):
                constants.append(numpy_helper.from_array(np.asarray(operand), f"c{k}_{j}"))
                operand = f"c{k}_{j}"
            ins.append(operand + "_last" if operand in last else operand)
        outs = [f"y{k}_{j}" for j in range(*count or (1,))]
        nodes.append(helper.make_node(op, ins, outs, **attributes))
        outputs += outs
        names += [f"{op} {[o if isinstance(o, str) else o.tolist() for o in operands]} {attributes}"] * len(outs)
    if folded:
        constants += [numpy_helper.from_array(v, k) for k, v in inputs.items()]
        inputs = {"fed": np.ones(1, np.float32)}
        nodes.append(helper.make_node("Identity", ["fed"], ["out"]))
        outputs.append("out")
        names.append("Identity")
    info = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()]
    graph = helper.make_graph(nodes, "forms", info, [onnx.ValueInfoProto(name=o) for o in outputs], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return Model(proto, inputs, names)


def runtime(m):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(m.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, m.inputs)


def run(m, tmp, *options):
    """The command's outputs."""
    (tmp / "m.onnx").write_bytes(m.proto.SerializeToString())
    (tmp / "data").mkdir(exist_ok=True)
    for k, v in enumerate(m.inputs.values()):
        (tmp / "data" / f"input_{k}.pb").write_bytes(numpy_helper.from_array(v).SerializeToString())
    r = run_command("run", "-q", tmp / "m.onnx", "--data", tmp / "data", "-o", tmp / "out", *options)
    assert r.rc == 0, r.stderr
    return [np.load(tmp / "out" / f"output_{k}.npy") for k in range(len(m.forms))]


def different(m, got, want):
    """The forms that are not the same, with what they gave."""
    return [f"{form}: {g.dtype} {g.shape} {g.tolist()}, want {w.dtype} {w.shape} {w.tolist()}"
            for form, g, w in zip(m.forms, got, want, strict=True)
            if g.shape != w.shape or g.dtype != w.dtype or g.tobytes() != w.tobytes()]


def agree(m, tmp):
    """The command runs the model and gives what ONNX Runtime gives."""
    assert not (wrong := different(m, run(m, tmp), runtime(m))), "\n".join(wrong)


def compiles(m, tmp, qonnx):
    """Generated C gives the bytes of `qonnx run`."""
    want = run(m, tmp)
    c = compiled.compile_model(qonnx, tmp / "m.onnx", tmp / "net")
    c.build(["cc"], [*compiled.WARNINGS, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
            ["-fsanitize=address,undefined"])
    got, = c.run([list(m.inputs.values())])
    wrong = [f for f, g, w in zip(m.forms, got, want, strict=True) if g.tobytes() != w.tobytes()]
    assert not wrong, "\n".join(wrong)


# ---- Pad, Tile, Split ----------------------------------------------------------------------------------------------------


def pads(x, rank, *value):
    """Pads of a value of that rank, at least 3: front, back, both, none, taken off, and more than there is."""
    forms = []
    for mode in ("constant", "reflect", "edge", "wrap"):
        more = [*value] if mode == "constant" else []
        for at in range(rank):
            for front, behind in ((1, 0), (0, 2), (2, 1)):
                p = i64(*[0] * 2 * rank)
                p[at], p[rank + at] = front, behind
                forms.append(("Pad", [x, p, *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(*[1] * 2 * rank), *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(*[0] * 2 * rank), *more], dict(mode=mode)))
        forms.append(("Pad", [x, i64(2, -1, -1, 1), *(more or [""]), i64(-1, 1)], dict(mode=mode)))
    return forms


ENTRIES = [("Tile", ["x", i64(2, 1, 3, 1)], {}), ("Tile", ["x", i64(1, 2, 1, 2)], {}), ("Tile", ["x", i64(1, 1, 1, 1)], {}),
           ("Tile", ["x", i64(2, 0, 1, 1)], {}),
           ("Split", ["x", i64(1, 0, 3)], dict(axis=1), 3), ("Split", ["x", i64(2, 3)], dict(axis=-2), 2),
           ("Split", ["x", i64(3)], dict(axis=0), 1)]


@pytest.mark.parametrize("dtype", TYPES)
def test_pads_of_any_type(dtype, tmp_path):
    untried = (np.int16, np.uint16, np.float16)  # which ONNX Runtime does not pad
    forms = [] if dtype in untried else pads("x", 4, numbers(dtype, 1, seed=2))
    agree(build(forms + ENTRIES, {"x": numbers(dtype, 3, 4, 5, 4)}), tmp_path)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_pads_channels_last(rank, folded, tmp_path):
    x = numbers(np.float32, *[3, 3, 4, 5, 4][:rank])
    agree(build(pads("x", rank, np.float32(2.5)), {"x": x}, last=["x"], folded=folded), tmp_path)


def test_compiled(tmp_path, qonnx):
    x = numbers(np.float32, 3, 4, 5, 4)
    compiles(build(pads("x", 4, np.float32(2.5)) + ENTRIES[:3] + ENTRIES[5:], {"x": x}, last=["x"]), tmp_path, qonnx)


def test_value_that_is_computed(tmp_path):
    x = {"x": numbers(np.float32, 2, 3), "v": np.float32([7])}
    agree(build([("Pad", ["x", i64(1, 0, 0, 2), "v"], {})], x), tmp_path)


@pytest.mark.parametrize("opset, attributes", [(2, dict(pads=[0, 1, 2, 0])), (10, dict(pads=[0, 1, 2, 0], value=1.5)),
                                               (7, dict(pads=[0, 1, 1, 0], mode="reflect"))])
def test_pads_of_old_operator_sets(opset, attributes, tmp_path):
    agree(build([("Pad", ["x"], attributes)], {"x": numbers(np.float32, 2, 3)}, opset), tmp_path)


@pytest.mark.parametrize("opset, forms", [
    (11, [("Split", ["x"], dict(axis=1, split=[1, 5]), 2), ("Split", ["x"], dict(axis=1), 3)]),
    (13, [("Split", ["x"], dict(axis=1), 2), ("Split", ["x", i64(*[1] * 6)], dict(axis=1), 6)]),
    (18, [("Split", ["x"], dict(axis=1, num_outputs=n), n) for n in (1, 2, 4)] +
     [("Split", ["x"], dict(axis=0, num_outputs=2), 2)])])
def test_splits_by_operator_set(opset, forms, tmp_path):
    agree(build(forms, {"x": numbers(np.float32, 3, 6)}, opset), tmp_path)


def test_split_into_many(tmp_path):
    """More outputs than a tensor has axes, an output that nobody reads among them."""
    m = build([("Split", ["x", i64(*[1] * 40)], dict(axis=1), 40)], {"x": numbers(np.float32, 2, 40)})
    del m.proto.graph.output[7]
    del m.forms[7]
    agree(m, tmp_path)


# ---- indices -------------------------------------------------------------------------------------------------------------

REDUCTIONS = ["none", "add", "mul", "min", "max"]


def taken(dtype):
    """Gather and its like, with indices of both types, below 0, of any rank, and none."""
    forms = []
    for index in (np.int64, np.int32):
        k = np.array([[2, -1, 0], [0, 0, -3]], index)
        forms += [("Gather", ["x", k % n - n], dict(axis=a)) for a, n in enumerate((3, 4, 5))]
        forms += [("Gather", ["x", np.array(-2, index)], dict(axis=a)) for a in (0, 1, -1)]
        forms.append(("Gather", ["x", np.zeros((0, 2), index)], dict(axis=1)))
        forms += [("GatherElements", ["x", np.broadcast_to(k, (2, 2, 3))], dict(axis=a)) for a in (0, 1, 2)]
        forms.append(("GatherElements", ["x", np.full((3, 4, 9), -4, index)], dict(axis=-1)))
        forms.append(("GatherElements", ["x", np.zeros((3, 0, 2), index)], dict(axis=2)))
    forms += [("GatherND", ["x", i64([0, 1], [-1, 2])], {}), ("GatherND", ["x", i64([[-3], [2]])], {}),
              ("GatherND", ["x", i64([1, -4, 4])], {}), ("GatherND", ["x", np.zeros((0, 2), np.int64)], {}),
              ("GatherND", ["x", i64([[1], [0]], [[3], [-1]], [[2], [2]])], dict(batch_dims=1)),
              ("GatherND", ["x", i64([1, 2], [3, 3], [0, -5])], dict(batch_dims=1)),
              ("GatherND", ["x", np.arange(12).reshape(3, 4, 1) % 5], dict(batch_dims=2))]
    return forms


def put(dtype, reduction, index=np.int64):
    more = dict(reduction=reduction) if reduction != "none" else {}
    u = lambda *shape: numbers(dtype, *shape, seed=3)
    k = np.array([[2, -1, 0], [0, 0, -3]], index)
    if reduction == "none":  # which update stays is open where several are for one element
        k = np.array([[2, -2, 0], [0, 1, -1]], index)
    forms = [("ScatterElements", ["x", np.broadcast_to(k, (2, 2, 3)), u(2, 2, 3)], dict(axis=2, **more)),
             ("ScatterElements", ["x", np.zeros((3, 1, 2), index), u(3, 1, 2)], dict(axis=1, **more)),
             ("ScatterElements", ["x", np.zeros((0, 1, 2), index), u(0, 1, 2)], dict(axis=-3, **more))]
    if index == np.int32:
        return forms
    rows = i64([0], [-1]) if reduction == "none" else i64([0], [-1], [0])
    return forms + [("ScatterND", ["x", rows, u(len(rows), 4, 5)], more),
                    ("ScatterND", ["x", i64([[0, 1], [1, -1]]), u(1, 2, 5)], more),
                    ("ScatterND", ["x", i64([1, 2, 3], [-1, 0, 0]), u(2)], more),
                    ("ScatterND", ["x", np.zeros((0, 3), np.int64), u(0)], more)]


@pytest.mark.parametrize("dtype", TYPES)
def test_taken(dtype, tmp_path):
    agree(build(taken(dtype), {"x": numbers(dtype, 3, 4, 5)}), tmp_path)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_put(dtype, reduction, tmp_path):
    if reduction != "none" and (dtype == np.float16 or (dtype == np.bool_ and reduction in ("min", "max"))):
        pytest.skip("ONNX Runtime has no such reduction")
    forms = put(dtype, reduction)
    if dtype == np.bool_ and reduction != "none":
        forms = [f for f in forms if f[0] == "ScatterElements"]
    agree(build(forms, {"x": numbers(dtype, 3, 4, 5)}, opset=18), tmp_path)


@pytest.mark.parametrize("opset, op", [(9, "Scatter"), (11, "ScatterElements"), (13, "ScatterElements")])
def test_put_by_operator_set(opset, op, tmp_path):
    forms = [(op, *f[1:]) for f in put(np.float32, "none", np.int32)]
    agree(build(forms, {"x": numbers(np.float32, 3, 4, 5)}, opset), tmp_path)


@pytest.mark.parametrize("op, axis", [("Gather", 1), ("GatherElements", 1), ("GatherND", 0), ("ScatterElements", 1),
                                      ("ScatterND", 0)])
def test_computed_indices_stay_inside(op, axis, tmp_path, qonnx):
    """What lies outside is the nearest, and never memory of others (the C is built with sanitizers)."""
    x, k = numbers(np.float32, 2, 3), np.array([[-(2**63), 2**63 - 1, -4], [3, 2, 7]], np.int64)
    inside = np.clip(np.where(k < 0, k + 3, k), 0, 2)
    operands = ["x", "k"] + (["x"] if op.startswith("Scatter") else [])
    m = build([(op, operands, {} if op.endswith("ND") else dict(axis=axis))], {"x": x, "k": k})
    if op.endswith("ND"):
        k = np.array([[2**62, 9], [-9, -3], [1, 1]])
        inside, m = np.array([[1, 2], [0, 0], [1, 1]]), build([(op, ["x", "k"] + ["u"] * (op == "ScatterND"), {})],
                                                             {"x": x, "k": k, "u": x[1]})
        if op == "GatherND":
            m = build([(op, ["x", "k"], {})], {"x": x, "k": k})
    got = run(m, tmp_path)
    want = runtime(m._replace(inputs={**m.inputs, "k": inside}))
    assert not different(m, got, want)
    compiles(m, tmp_path, qonnx)


def test_what_is_put_is_not_overwritten(tmp_path):
    """A tensor that is both changed in place and read."""
    x = {"x": numbers(np.float32, 3, 3), "k": i64([0, 2, 1], [2, 1, 0], [1, 0, 2])}
    m = build([("Neg", ["x"], {})], x)
    m.proto.graph.node.extend([helper.make_node("ScatterElements", ["y0_0", "k", "y0_0"], ["s"], axis=1),
                               helper.make_node("Relu", ["s"], ["z"])])
    m.proto.graph.output[0].name = "z"
    agree(m, tmp_path)


def test_indices_compiled(tmp_path, qonnx):
    forms = [f for f in taken(np.float32) if 0 not in f[1][1].shape]
    for reduction in REDUCTIONS:
        forms += [f for f in put(np.float32, reduction) if 0 not in f[1][1].shape]
    compiles(build(forms, {"x": numbers(np.float32, 3, 4, 5)}), tmp_path, qonnx)


# ---- in integers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_moved_integers(dtype, tmp_path, qonnx):
    """Between equal parameters the integers themselves are moved, zeros put around them included."""
    s, z = np.float32(0.25), np.array(3, dtype)
    forms = [("Pad", ["x", i64(0, 0, 1, 1, 0, 0, 2, 0)], {}), ("Pad", ["x", i64(0, 0, 1, 1, 0, 0, 2, 0)], dict(mode="edge")),
             ("Split", ["x", i64(1, 2)], dict(axis=1), 2), ("Tile", ["x", i64(1, 2, 1, 1)], {})]
    m = build(forms, {"x": numbers(np.float32, 1, 3, 4, 5)}, last=["x"])
    graph = m.proto.graph
    graph.initializer.extend([numpy_helper.from_array(s, "s"), numpy_helper.from_array(z, "z")])
    pair = lambda x, y: [helper.make_node("QuantizeLinear", [x, "s", "z"], [x + "_q"]),
                         helper.make_node("DequantizeLinear", [x + "_q", "s", "z"], [y])]
    nodes = list(graph.node)
    nodes[0].output[0] = "conv"
    behind = [n for o in graph.output for n in pair(o.name, o.name + "_d")]
    del graph.node[:]
    graph.node.extend([nodes[0], *pair("conv", "x_last"), *nodes[1:], *behind])
    for o in graph.output:
        o.name += "_d"
    agree(m, tmp_path)
    compiled.compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "net")
    text = (tmp_path / "net" / "net.c").read_text()
    assert text.count("    call_dequantize(&") == len(m.forms)
