"""Models in float16 and bfloat16: run, quantized and compiled, against ONNX Runtime and the same model in float."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from onnx import TensorProto, helper, numpy_helper
from ort import session

FLOAT, FLOAT16, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
STEP = {FLOAT16: 2**-10, BFLOAT16: 2**-7}  # of the type, relative: one rounding more or less
BOTH = pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=["float16", "bfloat16"])


def rounded(x, dtype):
    """The nearest values of the type, as float."""
    if dtype == FLOAT16:
        with np.errstate(over="ignore"):
            return np.asarray(x, np.float16).astype(np.float32)
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def tensor(a, name, dtype):
    """A TensorProto of an array; floats are of that type."""
    a = np.asarray(a)
    if a.dtype != np.float32 or dtype == FLOAT:
        return numpy_helper.from_array(a, name)
    if dtype == FLOAT16:
        return numpy_helper.from_array(a.astype(np.float16), name)
    words = (rounded(a, BFLOAT16).view(np.uint32) >> 16).astype(np.uint16)
    return TensorProto(name=name, data_type=BFLOAT16, dims=a.shape, raw_data=words.tobytes())


def save(path, nodes, constants, shapes, dtype, outputs=(("y", None),), inner=None, opset=17):
    """A model whose inputs and outputs have that type, and its constants, too (or `inner`)."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, dtype, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(o, dtype, shape) for o, shape in dict(outputs).items()],
        [tensor(a, n, inner or dtype) for n, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def random(seed, *shape, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def conv_net(path, dtype):
    """Convolutions with a residual, and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "conv0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c1", "r0"], ["a"], "add"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], "gemm", transB=1),
    ]
    constants = {"w0": random(1, 8, 3, 3, 3, scale=0.3), "b0": random(2, 8, scale=0.2),
                 "w1": random(3, 8, 8, 3, 3, scale=0.2), "w2": random(4, 5, 8, scale=0.5), "b2": random(5, 5)}
    return save(path, nodes, constants, {"x": (1, 3, 12, 12)}, dtype, {"y": (1, 5)})


def attention_net(path, dtype):
    """LayerNormalization and attention of two heads: what stays in float lies between what does not."""
    nodes = [helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["n"], "norm")]
    for k in "qkv":
        nodes += [helper.make_node("MatMul", ["n", f"w{k}"], [f"{k}0"], f"project_{k}"),
                  helper.make_node("Reshape", [f"{k}0", "heads"], [f"{k}1"], f"reshape_{k}"),
                  helper.make_node("Transpose", [f"{k}1"], [f"{k}2"], f"heads_{k}",
                                   perm=[0, 2, 3, 1] if k == "k" else [0, 2, 1, 3])]
    nodes += [helper.make_node("MatMul", ["q2", "k2"], ["s"], "scores"),
              helper.make_node("Mul", ["s", "factor"], ["m"], "scaled"),
              helper.make_node("Softmax", ["m"], ["a"], "softmax"),
              helper.make_node("MatMul", ["a", "v2"], ["h"], "mixed"),
              helper.make_node("Transpose", ["h"], ["t"], "back", perm=[0, 2, 1, 3]),
              helper.make_node("Reshape", ["t", "whole"], ["o"], "joined"),
              helper.make_node("MatMul", ["o", "wo"], ["p"], "out"),
              helper.make_node("Add", ["p", "x"], ["y"], "residual")]
    constants = {f"w{k}": random(i, 16, 16, scale=0.3) for i, k in enumerate("qkvo")}
    constants |= {"scale": random(7, 16) * 0.1 + 1, "shift": random(8, 16) * 0.1, "factor": np.float32(0.35),
                  "heads": np.array([1, -1, 2, 8]), "whole": np.array([1, -1, 16])}
    return save(path, nodes, constants, {"x": (1, 10, 16)}, dtype, {"y": (1, 10, 16)})


NETS = pytest.mark.parametrize("net, shape", [(conv_net, (1, 3, 12, 12)), (attention_net, (1, 10, 16))],
                               ids=["conv", "attention"])


def in_float(path, dtype):
    """The same model, its constants rounded to the type, computed in float."""
    model = onnx.load(path)
    for i in model.graph.initializer:
        if i.data_type == dtype:
            if dtype == FLOAT16:
                a = numpy_helper.to_array(i).astype(np.float32)
            else:
                a = (np.frombuffer(i.raw_data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(i.dims)
            i.CopyFrom(numpy_helper.from_array(a, i.name))
    for v in [*model.graph.input, *model.graph.output]:
        v.type.tensor_type.elem_type = FLOAT
    return model


def ran(done, path, x, folder, *options):
    np.save(folder / "x.npy", x)
    out = folder / f"out_{path.stem}"
    done("run", path, "--data", folder / "x.npy", "-o", out, *options)
    return np.load(out / "output_0.npy")


def near(got, want, dtype):
    assert got.shape == want.shape
    assert np.abs(got.astype(np.float32) - want.astype(np.float32)).max() <= STEP[dtype] * np.abs(want).max()


@BOTH
@NETS
@pytest.mark.parametrize("engine", ["portable", "auto"])
def test_run(done, tmp_path, net, shape, dtype, engine):
    path = net(tmp_path / "m.onnx", dtype)
    x = rounded(random(0, *shape), dtype)
    got = ran(done, path, x, tmp_path, "--engine", engine)
    assert got.dtype == (np.float16 if dtype == FLOAT16 else np.float32)
    want = onnxruntime.InferenceSession(in_float(path, dtype).SerializeToString()).run(None, {"x": x})[0]
    assert np.abs(got - rounded(want, dtype)).max() <= STEP[dtype] * np.abs(want).max()
    if dtype == FLOAT16:
        near(got, onnxruntime.InferenceSession(path).run(None, {"x": x.astype(np.float16)})[0], dtype)
        assert np.array_equal(ran(done, path, x.astype(np.float16), tmp_path, "--engine", engine), got)


@BOTH
def test_a_cast_in_the_middle_rounds(done, tmp_path, dtype):
    nodes = [helper.make_node("Mul", ["x", "x"], ["m"]), helper.make_node("Cast", ["m"], ["h"], to=dtype),
             helper.make_node("Cast", ["h"], ["f"], to=FLOAT), helper.make_node("Sub", ["f", "m"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {}, {"x": (1, 1000)}, FLOAT)
    x = random(0, 1, 1000)
    assert np.array_equal(ran(done, path, x, tmp_path), rounded(x * x, dtype) - x * x)


@BOTH
def test_cast_like_rounds(done, tmp_path, dtype):
    nodes = [helper.make_node("CastLike", ["x", "one"], ["h"]), helper.make_node("Cast", ["h"], ["y"], to=FLOAT)]
    path = save(tmp_path / "m.onnx", nodes, {"one": np.float32([1])}, {"x": (1, 1000)}, FLOAT, inner=dtype)
    x = random(0, 1, 1000)
    assert np.array_equal(ran(done, path, x, tmp_path), rounded(x, dtype))


def test_from_bfloat16_to_float16(done, tmp_path):
    """Values of both types; what is too large for the one is infinite."""
    nodes = [helper.make_node("Cast", ["x"], ["b"], to=BFLOAT16), helper.make_node("Cast", ["b"], ["h"], to=FLOAT16),
             helper.make_node("Cast", ["h"], ["y"], to=FLOAT)]
    path = save(tmp_path / "m.onnx", nodes, {}, {"x": (1, 8)}, FLOAT)
    x = np.float32([[1.001, 65519, 65520, 1e38, -1e-8, 6e-8, np.inf, -np.inf]])
    assert np.array_equal(ran(done, path, x, tmp_path), rounded(rounded(x, BFLOAT16), FLOAT16))


@BOTH
def test_inputs_that_are_outputs(done, tmp_path, dtype):
    """Values pass through, and constants come out, in their type."""
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["w"], ["z"])]
    path = save(tmp_path / "m.onnx", nodes, {"w": random(1, 4)}, {"x": (1, 4)}, dtype, outputs=dict.fromkeys("yzwx"))
    x = rounded(random(0, 1, 4), dtype)
    np.save(tmp_path / "x.npy", x)
    done("run", path, "--data", tmp_path / "x.npy", "-o", tmp_path / "out")
    got = [np.load(tmp_path / "out" / f"output_{i}.npy") for i in range(4)]
    w = rounded(random(1, 4), dtype)
    for g, want in zip(got, (x, -w, w, x), strict=True):
        assert np.array_equal(g.reshape(want.shape), want)


@pytest.mark.parametrize("dtype, steps, options, rc", [
    (BFLOAT16, 0, ["--rtol", 0], 0), (BFLOAT16, 1, ["--rtol", 0], 1), (BFLOAT16, 2, [], 0), (BFLOAT16, 5, [], 1),
    (BFLOAT16, 5, ["--rtol", 0.1], 0), (FLOAT16, 3, [], 1)])
def test_checked_to_two_steps(run, tmp_path, dtype, steps, options, rc):
    """A tolerance below two steps of bfloat16 would be none."""
    path = save(tmp_path / "m.onnx", [helper.make_node("Neg", ["x"], ["y"])], {}, {"x": (1, 4)}, dtype, {"y": (1, 4)})
    x = np.float32([[1.25, 1.5, -1.5, 1.0]])
    (tmp_path / "input_0.pb").write_bytes(tensor(x, "x", dtype).SerializeToString())
    (tmp_path / "output_0.pb").write_bytes(tensor(-x * np.float32(1 + steps * STEP[dtype]), "y", dtype).SerializeToString())
    assert run("run", path, "--data", tmp_path, "--check", *options).rc == rc


def branch(op, dtype):
    return helper.make_graph([helper.make_node(op, ["m"], ["t"])], op, [],
                             [helper.make_tensor_value_info("t", dtype, None)])


@BOTH
def test_subgraphs(done, tmp_path, dtype):
    body = helper.make_graph(
        [helper.make_node("Mul", ["v", "w"], ["next"]), helper.make_node("Identity", ["go"], ["on"])], "body",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in
         (("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("v", dtype, (1, 4)))],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next", dtype, (1, 4))])
    nodes = [helper.make_node("Mul", ["x", "w"], ["m"]), helper.make_node("ReduceSum", ["m"], ["s"], keepdims=0),
             helper.make_node("Greater", ["s", "zero"], ["c"]),
             helper.make_node("If", ["c"], ["b"], then_branch=branch("Exp", dtype), else_branch=branch("Neg", dtype)),
             helper.make_node("Loop", ["n", "", "b"], ["y"], body=body)]
    w = random(1, 1, 4)
    path = save(tmp_path / "m.onnx", nodes, {"w": w, "zero": np.float32(0), "n": np.array(3)}, {"x": (1, 4)}, dtype)
    w = rounded(w, dtype)
    for sign in (1, -1):
        x = rounded(sign * np.abs(random(0, 1, 4)) * np.sign(w), dtype)
        want = np.exp(x * w) if (x * w).sum() > 0 else -(x * w)
        near(ran(done, path, x, tmp_path), want * w**3, dtype)


@pytest.fixture
def data(tmp_path):
    """data(shape): a folder with 24 samples in float."""

    def make(shape, dtype):
        (tmp_path / "data").mkdir()
        for i in range(24):
            np.save(tmp_path / "data" / f"{i:02}.npy", rounded(random(100 + i, *shape), dtype))
        return tmp_path / "data"

    return make


def optimized(path, folder):
    """The nodes of the model that ONNX Runtime's default session makes of it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options)
    return [n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node]


@BOTH
@NETS
def test_quantized(done, tmp_path, data, net, shape, dtype):
    """As many operators run in integers as of the model in float; what is written has the types that were there."""
    path, folder = net(tmp_path / "m.onnx", dtype), data(shape, dtype)
    onnx.save(in_float(path, dtype), tmp_path / "float.onnx")
    said, outs = [], []
    for source in (path, tmp_path / "float.onnx"):
        outs.append(tmp_path / f"q_{source.stem}.onnx")
        said.append(json.loads(done("quantize", source, "--data", folder, "-o", outs[-1], "--json")))
    assert said[0]["in_integers"] == said[1]["in_integers"] > 3
    done("calibrate", path, folder, "-o", tmp_path / "m.qcal")
    done("quantize", path, "--calibration", tmp_path / "m.qcal", "-o", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == outs[0].read_bytes()
    made = onnx.load(outs[0])
    onnx.checker.check_model(made, full_check=True)
    assert {v.type.tensor_type.elem_type for v in [*made.graph.input, *made.graph.output]} == {dtype}
    x = rounded(random(99, *shape), dtype)
    got, in_floats = ran(done, outs[0], x, tmp_path), ran(done, outs[1], x, tmp_path)
    plain = ran(done, path, x, tmp_path).astype(np.float32)
    room = 2 * STEP[dtype] * np.abs(plain).max()
    assert np.abs(got - plain).max() <= 1.5 * np.abs(in_floats - plain).max() + room
    if dtype == FLOAT16:
        integers = [op for op in optimized(outs[0], tmp_path) if op.startswith("QLinear") or op.startswith("QGemm")]
        wanted = [op for op in optimized(outs[1], tmp_path) if op.startswith("QLinear") or op.startswith("QGemm")]
        assert sorted(integers) == sorted(wanted) and integers
        want = session(outs[0], "ort-x86").run(None, {"x": x.astype(np.float16)})[0]
        assert np.abs(got - want).max() <= 0.01 * np.abs(want).max()  # one step where a rounding to 16 bits decides


def test_what_stays_in_float_has_its_type_again(done, tmp_path, data):
    """Constants of LayerNormalization are float16, no Cast follows another, and none is of a constant."""
    path = attention_net(tmp_path / "m.onnx", FLOAT16)
    done("quantize", path, "--data", data((1, 10, 16), FLOAT16), "-o", tmp_path / "q.onnx")
    graph = onnx.load(tmp_path / "q.onnx").graph
    types = {i.name: i.data_type for i in graph.initializer}
    by_output = {o: n for n in graph.node for o in n.output}
    (norm,) = [n for n in graph.node if n.op_type == "LayerNormalization"]
    assert {types.get(i, FLOAT16) for i in norm.input} == {FLOAT16}
    for cast in [n for n in graph.node if n.op_type == "Cast"]:
        assert cast.input[0] not in types
        assert cast.input[0] not in by_output or by_output[cast.input[0]].op_type != "Cast"


def test_a_float16_model_that_is_not_quantized_comes_back(done, tmp_path):
    """Widened and narrowed again, it has its nodes and its constants."""
    path = attention_net(tmp_path / "m.onnx", FLOAT16)
    done("quantize", path, "--pipeline", "widen-floats,narrow-floats", "-o", tmp_path / "same.onnx")
    given, made = onnx.load(path).graph, onnx.load(tmp_path / "same.onnx").graph
    assert [n.op_type for n in made.node] == [n.op_type for n in given.node]
    for a, b in zip(given.initializer, made.initializer, strict=True):
        assert a.name == b.name and np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))


def test_pictures(done, tmp_path):
    imaging = pytest.importorskip("PIL.Image")
    path = conv_net(tmp_path / "m.onnx", FLOAT16)
    pixels = np.random.default_rng(0).integers(0, 255, size=(12, 12, 3), dtype=np.uint8)
    imaging.fromarray(pixels).save(tmp_path / "a.png")
    done("run", path, "--data", tmp_path / "a.png", "-o", tmp_path / "out")
    x = pixels.transpose(2, 0, 1)[None].astype(np.float16)
    near(np.load(tmp_path / "out" / "output_0.npy"), onnxruntime.InferenceSession(path).run(None, {"x": x})[0], FLOAT16)


def test_evaluate(done, tmp_path, data):
    path, folder = conv_net(tmp_path / "m.onnx", FLOAT16), data((1, 3, 12, 12), FLOAT16)
    done("quantize", path, "--data", folder, "-o", tmp_path / "q.onnx")
    told = json.loads(done("evaluate", path, tmp_path / "q.onnx", "--data", folder, "--json"))
    assert told["models"][1]["sqnr_db"] > 20


@BOTH
@pytest.mark.parametrize("quantized", [False, True], ids=["float", "int8"])
def test_compiled(done, qonnx, tmp_path, data, dtype, quantized):
    """Inputs and outputs are the bits, as uint16_t."""
    path, folder = conv_net(tmp_path / "m.onnx", dtype), data((1, 3, 12, 12), dtype)
    if quantized:
        done("quantize", path, "--data", folder, "-o", tmp_path / "q.onnx")
        path = tmp_path / "q.onnx"
    made = compile_model(qonnx, path, tmp_path / "c", "--data", folder)
    assert made.inputs[0].dtype == made.outputs[0].dtype == np.uint16
    made.build(["cc"])
    x = rounded(random(0, 1, 3, 12, 12), dtype)
    got = made.run([[bits(x, dtype)]])[0][0]
    want = ran(done, path, x, tmp_path, "--engine", "portable")
    assert same_bytes([[got]], [[bits(want.astype(np.float32), dtype)]])


def bits(x, dtype):
    if dtype == FLOAT16:
        return x.astype(np.float16).view(np.uint16)
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def test_compiled_with_integers_at_its_border(done, qonnx, tmp_path, data):
    path = conv_net(tmp_path / "m.onnx", FLOAT16)
    done("quantize", path, "--data", data((1, 3, 12, 12), FLOAT16), "-o", tmp_path / "q.onnx")
    made = compile_model(qonnx, tmp_path / "q.onnx", tmp_path / "c", "--io", "int8")
    assert made.inputs[0].dtype == made.outputs[0].dtype == np.uint8
