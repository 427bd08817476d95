"""Where insert-qdq puts Q and DQ: small models are quantized by the command, then ONNX Runtime must
run in integers what can be, leave in float what should be, and give the float model's results.

Needs onnx, onnxruntime and numpy.
"""
import collections
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import run_command
from ort import agree, optimized

pytestmark = pytest.mark.usefixtures("qonnx", "vnni")
HEAVY = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Concat")


class Net:
    """A small model under construction; every method returns the name of what it computed."""

    def __init__(self, shape, name="x"):
        self.random = np.random.default_rng(7)
        self.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        self.shape, self.nodes, self.constants = shape, [], []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def weight(self, name, *shape):
        fan = int(np.prod(shape[1:])) or 1
        return self.constant(name, self.random.normal(size=shape) / np.sqrt(fan))

    def op(self, op, inputs, out, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"n_{out}", **attributes))
        return out

    def conv(self, x, cin, cout, out, kernel=3, bias=True, group=1):
        w = self.weight(f"{out}_w", cout, cin // group, kernel, kernel)
        b = [self.weight(f"{out}_b", cout)] if bias else []
        return self.op("Conv", [x, w] + b, out, pads=[kernel // 2] * 4, group=group)

    def model(self, *outputs, opset=13):
        values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return onnx.shape_inference.infer_shapes(model)


class Result:
    """A quantized model: what the command said, the model, and ONNX Runtime's view of it."""

    def __init__(self, tmp, model, samples, *options):
        self.path, data, out = tmp / "m.onnx", tmp / "data", tmp / "q.onnx"
        onnx.save(model, self.path)
        data.mkdir()
        for i, sample in enumerate(samples):
            np.save(data / f"{i:03d}.npy", sample)
        done = run_command("quantize", "-v", self.path, "--data", data, "-o", out, *options)
        assert done.rc == 0, done.stderr
        self.said = done.stderr
        self.model = onnx.load(out)
        onnx.checker.check_model(self.model, full_check=True)
        graph = optimized(out, tmp)
        self.optimized = collections.Counter(n.op_type for n in graph.node)
        agree({n["name"]: n for n in json.loads(run_command("lint", "--json", out).stdout)["nodes"]}, graph)
        name = model.graph.input[0].name
        plain, quantized = ort.InferenceSession(self.path), ort.InferenceSession(out)
        self.float, self.int = [np.concatenate([s.run(None, {name: x})[0].ravel() for x in samples])
                                for s in (plain, quantized)]

    def floats(self):
        return {op: n for op, n in self.optimized.items() if op in HEAVY}

    def sqnr(self):
        return 10 * np.log10(np.sum(self.float ** 2) / np.sum((self.float - self.int) ** 2))

    def node(self, op):
        return [n for n in self.model.graph.node if n.op_type == op]

    def names(self):
        return {t.name for t in self.model.graph.initializer}

    def constant(self, name):
        return next(numpy_helper.to_array(t) for t in self.model.graph.initializer if t.name == name)


def normal(*shape, count=16):
    random = np.random.default_rng(3)
    return [random.normal(size=shape).astype(np.float32) for _ in range(count)]


IMAGE = (1, 8, 12, 12)


def residual():
    net = Net(IMAGE)
    a = net.op("Relu", [net.conv("x", 8, 8, "c1")], "r1")
    b = net.op("Relu", [net.op("Add", [net.conv(a, 8, 8, "c2"), a], "sum")], "r2")
    flat = net.op("Flatten", [net.op("GlobalAveragePool", [b], "gap")], "flat")
    net.op("Gemm", [flat, net.weight("fc_w", 5, 8), net.weight("fc_b", 5)], "y", transB=1)
    return net.model("y")


def test_residual_block_runs_in_integers(tmp_path):
    r = Result(tmp_path, residual(), normal(*IMAGE))
    assert not r.floats()
    assert r.optimized["QLinearConv"] == 2 and r.optimized["QLinearAdd"] == 1
    assert not r.node("Relu") and r.sqnr() > 25


@pytest.mark.parametrize("target", ["ort-x86-avx2", "ort-arm", "c"])
def test_other_targets_give_sound_models(tmp_path, target):
    assert Result(tmp_path, residual(), normal(*IMAGE), "--target", target).sqnr() > 22


def test_names_are_onnx_runtimes(tmp_path):
    r = Result(tmp_path, residual(), normal(*IMAGE))
    assert {"x_scale", "x_zero_point", "c1_w_quantized", "c1_w_scale", "c1_w_zero_point",
            "c1_b_quantized", "c1_b_quantized_scale", "c1_b_quantized_zero_point"} <= r.names()
    nodes = {n.name: n for n in r.model.graph.node}
    assert nodes["x_QuantizeLinear"].output[0] == "x_QuantizeLinear_Output"
    assert nodes["r1_DequantizeLinear"].output[0] == "r1_DequantizeLinear_Output"
    assert nodes["y_QuantizeLinear"].input[0] == "y_QuantizeLinear_Input"
    assert nodes["y_DequantizeLinear"].output[0] == "y" == r.model.graph.output[0].name
    assert r.constant("c1_w_scale").shape == (8,) and r.constant("x_scale").shape == ()
    assert "c1_w" not in r.names() and "c1_b" not in r.names()


def test_bias_scale_is_the_product(tmp_path):
    r = Result(tmp_path, residual(), normal(*IMAGE))
    assert r.constant("c1_b_quantized").dtype == np.int32
    np.testing.assert_array_equal(r.constant("c1_b_quantized_scale"),
                                  r.constant("x_scale") * r.constant("c1_w_scale"))


def test_per_tensor_weights(tmp_path):
    r = Result(tmp_path, residual(), normal(*IMAGE), "--weights", "per-tensor")
    assert not r.floats() and r.constant("c1_w_scale").shape == ()


def test_q_stands_behind_its_producer(tmp_path):
    r = Result(tmp_path, residual(), normal(*IMAGE))
    nodes = list(r.model.graph.node)
    for i, n in enumerate(nodes):
        if n.op_type == "QuantizeLinear" and n.input[0] != "x":
            assert n.input[0] in nodes[i - 1].output
            assert n.output[0] == nodes[i + 1].input[0]


def test_pools_concat_clip_and_depthwise(tmp_path):
    net = Net(IMAGE)
    a = net.op("Clip", [net.conv("x", 8, 8, "c1"), net.constant("zero", 0), net.constant("six", 6)], "k1")
    b = net.op("MaxPool", [a], "mp", kernel_shape=[2, 2], strides=[2, 2])
    c = net.op("AveragePool", [a], "ap", kernel_shape=[2, 2], strides=[2, 2])
    d = net.op("Concat", [b, c, net.conv(b, 8, 8, "dw", group=8, bias=False)], "cat", axis=1)
    net.conv(d, 24, 4, "y", kernel=1)
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    assert not r.floats() and not r.node("Clip") and not r.optimized["AveragePool"]
    assert r.constant("k1_scale") == r.constant("mp_scale") < r.constant("cat_scale")  # no Clip
    assert r.constant("ap_scale") == r.constant("dw_scale") == r.constant("cat_scale")
    assert r.sqnr() > 25


def test_concat_of_relus_shares_parameters(tmp_path):
    net = Net(IMAGE)
    a, b = (net.op("Relu", [net.conv("x", 8, 8, f"c{i}")], f"r{i}") for i in (1, 2))
    net.conv(net.op("Concat", [a, net.op("MaxPool", [b], "mp", kernel_shape=[1, 1])], "cat", axis=1), 16, 4, "y")
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    assert not r.floats() and not r.node("Relu")
    assert len({float(r.constant(f"{n}_scale")) for n in ("r1", "r2", "mp", "cat")}) == 1


def test_average_pool_has_a_scale_of_its_own(tmp_path):
    net = Net(IMAGE)
    net.conv(net.op("AveragePool", [net.conv("x", 8, 8, "c1")], "ap", kernel_shape=[4, 4]), 8, 8, "y")
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    assert r.constant("ap_scale") < r.constant("c1_scale") / 2


def test_clip_that_clamps_lower_than_the_range_stays(tmp_path):
    net = Net(IMAGE)
    net.op("Clip", [net.conv("x", 8, 8, "c1"), net.constant("lo", 0.5), net.constant("hi", 1.5)], "k1")
    net.conv("k1", 8, 8, "y")
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    assert len(r.node("Clip")) == 1 and r.sqnr() > 20


def test_matmul_of_two_activations(tmp_path):
    net = Net((1, 10, 16))
    q = net.op("MatMul", ["x", net.weight("wq", 16, 16)], "q")
    k = net.op("MatMul", ["x", net.weight("wk", 16, 16)], "k")
    s = net.op("MatMul", [q, net.op("Transpose", [k], "kt", perm=[0, 2, 1])], "s")
    net.op("MatMul", [net.op("Softmax", [s], "p", axis=-1), q], "y")
    r = Result(tmp_path, net.model("y"), normal(1, 10, 16))
    assert not r.floats() and r.optimized["QLinearMatMul"] == 4
    assert r.constant("p_scale") == 1 / 256 and r.constant("p_zero_point") == 0
    assert r.constant("k_scale") == r.constant("kt_scale")


def test_attention_mask_stays_float_and_is_named(tmp_path):
    net = Net((1, 10, 16))
    q = net.op("MatMul", ["x", net.weight("wq", 16, 16)], "q")
    s = net.op("MatMul", [q, net.op("Transpose", [q], "kt", perm=[0, 2, 1])], "s")
    mask = np.where(np.arange(10) < 7, 0, -3.4e38)[None, None]
    masked = net.op("Add", [s, net.constant("mask", mask)], "masked")
    net.op("MatMul", [net.op("Softmax", [masked], "p", axis=-1), q], "y")
    r = Result(tmp_path, net.model("y"), normal(1, 10, 16))
    assert r.floats() == {"Add": 1} and len(r.node("Softmax")) == 1
    assert "n_masked" in r.said and "mask values" in r.said
    assert r.sqnr() > 20


def test_layer_norm_and_its_residual_stay_float(tmp_path):
    net = Net((1, 10, 16))
    a = net.op("MatMul", ["x", net.weight("w1", 16, 16)], "m1")
    s = net.op("Add", [a, "x"], "res")
    centred = net.op("Sub", [s, net.op("ReduceMean", [s], "mean", axes=[-1])], "centred")
    var = net.op("ReduceMean", [net.op("Mul", [centred, centred], "square")], "var", axes=[-1])
    std = net.op("Sqrt", [net.op("Add", [var, net.constant("eps", 1e-12)], "vare")], "std")
    ln = net.op("Add", [net.op("Mul", [net.op("Div", [centred, std], "unit"), net.constant("g", 2)], "gain"),
                        net.constant("b", 0.1)], "ln")
    net.op("MatMul", [ln, net.weight("w2", 16, 16)], "y")
    r = Result(tmp_path, net.model("y"), normal(1, 10, 16))
    quantized = {n.input[0] for n in r.node("QuantizeLinear")}
    assert quantized == {"x", "ln", "y_QuantizeLinear_Input"}  # m1 is only read in float
    assert r.sqnr() > 25


def test_box_decoding_stays_float(tmp_path):
    net = Net(IMAGE)
    offsets = net.op("Reshape", [net.conv("x", 8, 8, "c1"), net.constant("unused", 0)], "flat")
    net.nodes[-1].input[1] = "shape"
    net.constants[-1] = numpy_helper.from_array(np.array([1, -1, 4], np.int64), "shape")
    moved = net.op("Add", [net.op("Mul", [offsets, net.constant("s", 0.1)], "small"), net.weight("priors", 1, 288, 4)],
                   "centres")
    net.op("Concat", [moved, net.op("Exp", [offsets], "sizes")], "boxes", axis=2)
    net.op("Softmax", [net.conv("x", 8, 4, "c2")], "scores", axis=1)
    r = Result(tmp_path, net.model("boxes", "scores"), normal(*IMAGE))
    assert {n.input[0] for n in r.node("QuantizeLinear")} == {"x", "c1", "flat", "c2", "scores_QuantizeLinear_Input"}


def test_gelu_stays_float_between_products(tmp_path):
    net = Net((1, 10, 16))
    a = net.op("Add", [net.op("MatMul", ["x", net.weight("w1", 16, 16)], "m1"), net.weight("b1", 16)], "a1")
    erf = net.op("Erf", [net.op("Div", [a, net.constant("root", 2 ** 0.5)], "d")], "erf")
    g = net.op("Mul", [a, net.op("Add", [erf, net.constant("one", 1)], "e1")], "g")
    net.op("MatMul", [net.op("Mul", [g, net.constant("half", 0.5)], "h"), net.weight("w2", 16, 16)], "y")
    r = Result(tmp_path, net.model("y"), normal(1, 10, 16))
    assert {n.input[0] for n in r.node("QuantizeLinear")} == {"x", "h", "y_QuantizeLinear_Input"}
    assert r.optimized["MatMulIntegerToFloat"] == 1 and r.optimized["QLinearMatMul"] == 1 and not r.optimized["Gemm"]


def test_products_that_only_floats_read_give_floats(tmp_path):
    """A product, a sum with its bias, one behind data movement, one of two activations; not what integers read, too."""
    net = Net((1, 10, 16))
    a = net.op("MatMul", ["x", net.weight("w1", 16, 16)], "a")
    b = net.op("MatMul", ["x", net.weight("w2", 16, 16)], "b")
    moved = net.op("Transpose", [b], "moved", perm=[0, 2, 1])
    scores = net.op("MatMul", ["x", moved], "scores")
    net.op("Tanh", [net.op("Transpose", [scores], "turned", perm=[0, 2, 1])], "t")
    net.op("Exp", [a], "e")
    net.op("Exp", [b], "e2")
    flat = net.op("Reshape", ["x", "shape"], "flat")
    net.constants.append(numpy_helper.from_array(np.array([10, 16], np.int64), "shape"))
    net.op("Tanh", [net.op("Gemm", [flat, net.weight("w3", 16, 16), net.weight("b3", 16)], "g")], "u")
    r = Result(tmp_path, net.model("t", "e", "e2", "u"), normal(1, 10, 16))
    assert {n.input[0] for n in r.node("QuantizeLinear")} == {"x", "b", "moved", "flat"}
    assert r.optimized["MatMulIntegerToFloat"] == 2 and r.optimized["QLinearMatMul"] == 1 and r.optimized["QGemm"] == 1
    assert not r.floats() and r.sqnr() > 30
    data = run_command("run", "-q", tmp_path / "q.onnx", "--data", tmp_path / "data", "-o", tmp_path / "out")
    assert data.rc == 0, data.stderr
    s = ort.InferenceSession(tmp_path / "q.onnx")
    for i, x in enumerate(normal(1, 10, 16)):
        for k, want in enumerate(s.run(None, {"x": x})):
            np.testing.assert_allclose(np.load(tmp_path / f"out/output_{k}/{i:06d}.npy"), want, rtol=2e-6, atol=1e-6)


def embedding(tables, tail=lambda net, v: v):
    """A model of float tables of which one Gather takes rows each: their sum."""
    net = Net((1, 12, 32))
    for name, table in tables.items():
        net.constant(name, table)
        net.nodes.append(helper.make_node("Cast", ["x"], [f"{name}_f"], to=TensorProto.FLOAT))
        net.nodes.append(helper.make_node("ArgMax", [f"{name}_f"], [f"{name}_ids"], axis=2, keepdims=0))
        net.op("Gather", [name, f"{name}_ids"], f"{name}_rows")
    first, *others = [f"{name}_rows" for name in tables]
    for i, other in enumerate(others):
        first = net.op("Add", [first, other], f"sum{i}")
    return net.model(tail(net, net.op("Tanh", [first], "y")))


def test_embeddings_become_int8_tables(tmp_path):
    random = np.random.default_rng(5)
    tables = {"words": random.normal(size=(1000, 40)) * np.geomspace(0.01, 1, 40), "few": random.normal(size=(32, 40)),
              "outlier": random.normal(size=(1000, 40))}
    tables["outlier"][7] *= 1e4  # as int8, all other rows would be zeros
    r = Result(tmp_path, embedding(tables), normal(1, 12, 32))
    assert r.constant("words_quantized").dtype == np.int8 and r.constant("words_scale").shape == (40,)
    assert "words" not in r.names() and {"few", "outlier"} <= r.names() and "'outlier' stays in float" in r.said
    (dequantize,) = r.node("DequantizeLinear")
    assert dequantize.output[0] == "words_rows" and dequantize.attribute[0].i == 2
    np.testing.assert_allclose(r.constant("words_quantized") * r.constant("words_scale"), tables["words"],
                               atol=1.01 * r.constant("words_scale").max() / 2)
    assert r.sqnr() > 35
    done = run_command("run", "-q", tmp_path / "q.onnx", "--data", tmp_path / "data", "-o", tmp_path / "out")
    assert done.rc == 0, done.stderr
    got = np.concatenate([np.load(tmp_path / f"out/output_0/{i:06d}.npy").ravel() for i in range(16)])
    np.testing.assert_allclose(got, r.int, rtol=1e-6, atol=1e-7)


def test_a_table_that_others_read_stays_float(tmp_path):
    table = {"words": np.random.default_rng(5).normal(size=(1000, 40))}
    all_of_it = lambda net, y: net.op("Sub", ["words", net.op("ReduceSum", [y], "s", keepdims=0)], "z")
    r = Result(tmp_path, embedding(table, all_of_it), normal(1, 12, 32))
    assert "words" in r.names() and not r.node("DequantizeLinear")


def test_rows_that_a_slice_takes_of_a_table(tmp_path):
    """Positions: how many of them follows from another input's shape, so that the Slice is no constant."""
    random = np.random.default_rng(5)
    net = Net((1, 12, 40))
    net.constant("positions", random.normal(size=(512, 40)) * np.geomspace(0.01, 1, 40))
    for name, value in {"one": 1, "two": 2, "zero": 0}.items():
        net.constants.append(numpy_helper.from_array(np.array([value], np.int64), name))
    net.op("Slice", [net.op("Shape", ["x"], "shape"), "one", "two"], "count")
    net.op("Slice", ["positions", "zero", "count", "zero"], "rows")
    net.op("Tanh", [net.op("Add", ["x", "rows"], "sum")], "y")
    model = net.model("y")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    r = Result(tmp_path, model, normal(1, 12, 40))
    assert r.constant("positions_quantized").dtype == np.int8 and "positions" not in r.names()
    (dequantize,) = r.node("DequantizeLinear")
    assert dequantize.output[0] == "rows" and not r.node("QuantizeLinear") and r.sqnr() > 35


@pytest.mark.parametrize("target, floats", [("ort-x86", True), ("c", False)])
def test_a_bias_behind_a_product_is_added_in_floats(tmp_path, target, floats):
    """One rounding instead of two, where products alone read the sum."""
    net = Net((1, 10, 16))
    net.op("Add", [net.op("MatMul", ["x", net.weight("w1", 16, 16)], "m"), net.weight("b1", 16)], "a")
    net.op("MatMul", [net.op("Transpose", ["a"], "t", perm=[0, 2, 1]), "x"], "y")
    r = Result(tmp_path, net.model("y"), normal(1, 10, 16), "--target", target)
    rounded = {n.input[0] for n in r.node("QuantizeLinear")}
    assert {"x", "a"} <= rounded and ("m" in rounded) != floats


def gemm_of_rows(weight):
    """Between two others, with alpha, and a C that has an element per row."""
    net = Net((4, 16))
    a = net.op("Gemm", ["x", net.weight("w1", 16, 16), net.weight("b1", 16)], "g1")
    net.op("Gemm", [a, weight(net), "x2"], "g2", alpha=0.5)
    net.constant("x2", np.ones((4, 16)) * np.arange(4)[:, None])
    net.op("Gemm", ["g2", net.weight("w3", 16, 3)], "y")
    return net.model("y")


def test_gemm_with_alpha_and_rows_runs_in_integers(tmp_path):
    r = Result(tmp_path, gemm_of_rows(lambda net: net.weight("w2", 16, 16)), normal(4, 16))
    assert "stays in float" not in r.said and r.sqnr() > 25
    made = {n.output[0]: n.op_type for n in r.model.graph.node}
    assert [{made[i] for i in n.input} for n in r.node("Gemm")] == [{"DequantizeLinear"}] * 3


def test_gemm_of_two_with_a_bias_stays_float_and_is_named(tmp_path):
    two = lambda net: net.op("MatMul", [net.op("Transpose", ["x"], "t", perm=[1, 0]), net.weight("v", 4, 16)], "w2")
    r = Result(tmp_path, gemm_of_rows(two), normal(4, 16))
    assert "n_g2" in r.said and "stays in float" in r.said and r.sqnr() > 25


def test_constant_operands_are_quantized(tmp_path):
    net = Net(IMAGE)
    a = net.op("Mul", [net.conv("x", 8, 8, "c1"), net.weight("gain", 1, 8, 1, 1)], "m")
    net.conv(net.op("Add", [a, net.weight("shift", 1, 8, 1, 1)], "s"), 8, 8, "y")
    net.conv("c1", 8, 8, "z")
    r = Result(tmp_path, net.model("y", "z"), normal(*IMAGE))
    assert not r.floats() and r.constant("gain_quantized").dtype == np.uint8
    assert r.sqnr() > 25


def test_shared_weight_is_quantized_once(tmp_path):
    net = Net((4, 16))
    w = net.weight("w", 16, 16)
    a = net.op("MatMul", ["x", w], "a")
    net.op("MatMul", [a, w], "y")
    r = Result(tmp_path, net.model("y"), normal(4, 16))
    assert not r.floats()
    assert sum(n.startswith("w_quantized") for n in r.names()) == 1


def test_float_reader_keeps_the_float_where_the_producer_is_float(tmp_path):
    net = Net(IMAGE)
    a = net.conv(net.op("Tanh", ["x"], "t"), 8, 8, "c1")
    net.op("Exp", [net.op("Sub", [a, "t"], "d")], "y")
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    sub = r.node("Sub")[0]
    assert list(sub.input) == ["c1_DequantizeLinear_Output", "t"]


def test_relu_with_two_readers_in_front_is_kept(tmp_path):
    net = Net(IMAGE)
    a = net.conv("x", 8, 8, "c1")
    b = net.conv(net.op("Relu", [a], "r1"), 8, 8, "c2")
    net.op("Add", [a, b], "y")
    r = Result(tmp_path, net.model("y"), normal(*IMAGE))
    assert len(r.node("Relu")) == 1 and not r.floats() and r.sqnr() > 25


def test_nan_in_the_data_is_named(tmp_path):
    samples = normal(*IMAGE)
    samples[3][0, 0, 0, 0] = np.nan
    said = Result(tmp_path, residual(), samples).said
    assert "NaN" in said and "'x'" in said


def test_same_bytes_twice(tmp_path):
    files = []
    for k in "ab":
        (tmp_path / k).mkdir()
        Result(tmp_path / k, residual(), normal(*IMAGE))
        files.append((tmp_path / k / "q.onnx").read_bytes())
    assert files[0] == files[1]


def test_a_gemm_that_gives_floats_may_say_that_its_factors_are_one(tmp_path, done):
    """As PyTorch writes it."""
    net = Net((4, 16))
    gemm = net.op("Gemm", ["x", net.weight("w", 8, 16), net.weight("b", 8)], "gemm", alpha=1.0, beta=1.0, transB=1)
    r = Result(tmp_path, net.model(net.op("Exp", [gemm], "y")), normal(4, 16))
    assert r.node("Gemm")[0].input[0] == "x_DequantizeLinear_Output"
    done("run", "-q", tmp_path / "q.onnx", "--data", tmp_path / "data", "--npy", "sample", "-o", tmp_path / "out")
    done("compile", "-q", tmp_path / "q.onnx", "-o", tmp_path / "c")
