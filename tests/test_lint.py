"""qonnx lint: what it says of a file, ONNX Runtime and OpenVINO must have done, node by node; what it foresees of a model in
float, quantize must do; and sums that it does not name must not overflow.

Needs onnx, onnxruntime and numpy; one test needs openvino.
"""
import functools
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from ort import agree, optimized
from test_placement import IMAGE, Net, normal
from test_targets import MODELS, attention, concat, depthwise, residual, runtime, transposed

pytestmark = pytest.mark.usefixtures("qonnx")
TARGETS = ["ort-x86", "ort-arm", "tensorrt", "openvino"]
ALL = TARGETS + ["ort-x86-avx2", "c", "qnn", "tflite"]


@pytest.fixture(scope="module")
def files(tmp_path_factory, done):
    """MAKE, TARGET to a model in float, its statistics, and its quantized form."""
    @functools.cache
    def made(make, target):
        tmp = tmp_path_factory.mktemp(target)
        model = make()
        onnx.save(model, tmp / "m.onnx")
        (tmp / "data").mkdir()
        for i, x in enumerate(normal(*[d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim], count=4)):
            np.save(tmp / f"data/{i}.npy", x)
        done("calibrate", tmp / "m.onnx", tmp / "data", "-o", tmp / "m.qcal", "-q")
        done("quantize", tmp / "m.onnx", "--calibration", tmp / "m.qcal", "-o", tmp / "q.onnx", "--target", target, "-q")
        return tmp
    return made


@pytest.fixture
def lint(done):
    return lambda *args: {n["name"]: n for n in json.loads(done("lint", "--json", *args))["nodes"]}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make", MODELS)
def test_agrees_with_onnx_runtime(make, target, files, lint, tmp_path):
    q = files(make, target) / "q.onnx"
    agree(lint(q), optimized(q, tmp_path))


FORMS = {"u8s8": {}, "s8s8": {"activation_type": QuantType.QInt8},
         "symmetric": {"activation_type": QuantType.QInt8, "extra_options": {"ActivationSymmetric": True}},
         "pairs apart": {"activation_type": QuantType.QInt8, "extra_options": {"DedicatedQDQPair": True}},
         "no outputs": {"extra_options": {"OpTypesToExcludeOutputQuantization": ["Conv", "MatMul"]}},
         "float bias": {"extra_options": {"QuantizeBias": False}}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [residual, concat, attention])
def test_agrees_on_files_of_onnx_runtimes_quantizer(make, form, files, lint, tmp_path):
    class Samples(CalibrationDataReader):
        left = [{"x": np.load(p)} for p in sorted((files(make, "ort-x86") / "data").iterdir())]

        def get_next(self):
            return self.left.pop() if self.left else None

    options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8} | FORMS[form]
    quantize_static(files(make, "ort-x86") / "m.onnx", tmp_path / "q.onnx", Samples(), quant_format=QuantFormat.QDQ, **options)
    agree(lint(tmp_path / "q.onnx"), optimized(tmp_path / "q.onnx", tmp_path))


# ---- files that are broken -------------------------------------------------------------------------------------------


def rewired(model, old, new, node):
    n = next(n for n in model.graph.node if n.name == node)
    n.input[:] = [new if i == old else i for i in n.input]


def no_quantize(model):
    """What reads the sum reads it in float, so that it is quantized for nobody."""
    rewired(model, "r2_DequantizeLinear_Output", "r2", "n_c3")


def float_weight(model):
    weight = numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float32), "plain")
    model.graph.initializer.append(weight)
    rewired(model, "c2_w_DequantizeLinear_Output", "plain", "n_c2")


def output_in_float(model):
    model.graph.output.append(helper.make_tensor_value_info("r1", TensorProto.FLOAT, None))


def other_scale(model):
    """Of the flattened map, which must be that of the map."""
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "other"))
    rewired(model, "flat_scale", "other", "flat_QuantizeLinear")
    rewired(model, "flat_scale", "other", "flat_DequantizeLinear")


def signed_sum(model):
    model.graph.initializer.append(numpy_helper.from_array(np.int8(0), "signed"))
    for node in ("r2_QuantizeLinear", "r2_DequantizeLinear"):
        rewired(model, "r2_zero_point", "signed", node)


BREAKS = {no_quantize: ("n_sum1", "'r2' is read in float, too: by n_c3"), float_weight: ("n_c2", "weight 'plain'"),
          output_in_float: ("n_c1", "it is an output"), signed_sum: ("n_sum1", "int8"),
          other_scale: ("n_flat", "scale or zero point")}


@pytest.mark.parametrize("edit", BREAKS)
def test_names_what_is_broken(edit, files, lint, run, tmp_path):
    model = onnx.load(files(residual, "ort-x86") / "q.onnx")
    edit(model)
    onnx.save(model, tmp_path / "broken.onnx")
    said = lint(tmp_path / "broken.onnx")
    name, why = BREAKS[edit]
    assert said[name]["broken"] and why in said[name]["why"], said[name]
    agree(said, optimized(tmp_path / "broken.onnx", tmp_path))
    result = run("lint", tmp_path / "broken.onnx", "--strict")
    assert result.rc == 1 and "broken" in result.stdout and name in result.stdout


def test_operators_of_integers(files, lint, done, tmp_path):
    """ONNX Runtime and C have them; OpenVINO does not read them."""
    folder, path = files(residual, "ort-x86"), tmp_path / "q.onnx"
    done("quantize", folder / "m.onnx", "--calibration", folder / "m.qcal", "-o", path, "--format", "qoperator", "-q")
    ours, theirs = lint(path), lint(path, "--target", "openvino")
    assert {n["runs"] for n in ours.values()} == {"integers"} and not any(n["overflow"] for n in ours.values())
    assert all(n["overflow"] for n in lint(path, "--target", "ort-x86-avx2").values() if n["type"] == "QLinearConv")
    convs = [n for n in theirs.values() if n["type"] == "QLinearConv"]
    assert len(convs) == 5 and all(n["broken"] and "no operators of integers" in n["why"] for n in convs)


def test_16_bits(files, lint, done, tmp_path):
    folder, path = files(residual, "qnn"), tmp_path / "q.onnx"
    done("quantize", folder / "m.onnx", "--calibration", folder / "m.qcal", "-o", path, "--target", "qnn", "--activations",
         "uint16", "-q")
    assert {n["runs"] for n in lint(path, "--target", "qnn").values()} == {"integers"}
    said = lint(path)
    assert said["n_c1"]["broken"] and "uint16" in said["n_c1"]["why"]


# ---- OpenVINO --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ort-x86", "ort-arm", "openvino"])
@pytest.mark.parametrize("make", MODELS)
def test_agrees_with_openvino(make, target, files, lint):
    q = files(make, target) / "q.onnx"
    said, layers = lint(q, "--target", "openvino"), runtime(q)
    kinds = {"Conv": "Convolution", "Gemm": "FullyConnected", "MatMul": "FullyConnected MatMul Subgraph",
             "ConvTranspose": "Deconvolution"}
    heavy = {n.name: n for n in onnx.load(q).graph.node if n.op_type in kinds}
    for name, n in heavy.items():
        made = {name, *n.output, *(o.replace("_QuantizeLinear_Input", "") for o in n.output)}
        found = {kind: p in ("u8", "i8") for kind, p, names in layers if made & set(names) and kind in kinds[n.op_type].split()}
        if len(found) > 1:  # what only rounds has the name, too
            found.pop("Subgraph")
        assert set(found.values()) == {said[name]["runs"] == "integers"}, (said[name], layers)


# ---- models in float -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("make", MODELS)
def test_foresees_what_quantize_does(make, target, files, lint):
    folder = files(make, target)
    did = lint(folder / "q.onnx", "--target", target)
    for more in ([], ["--calibration", folder / "m.qcal"]):
        said = lint(folder / "m.onnx", "--target", target, *more)
        for name, n in said.items():
            if name in did or n["runs"] != "follows":
                assert did[name]["runs"] == n["runs"], (n, did[name])


def test_says_why(files, lint, run):
    folder = files(transposed, "ort-x86")
    said = lint(folder / "m.onnx")
    assert said["n_t"]["why"] == "it has no integer form there"
    assert "in float" in said["n_l"]["why"]
    assert lint(folder / "m.onnx", "--target", "tensorrt")["n_t"]["runs"] == "integers"
    strict = [run("lint", folder / "m.onnx", "--strict", "--target", t) for t in ("ort-x86", "tensorrt")]
    assert [s.rc for s in strict] == [0, 0]  # a ConvTranspose is no product for ONNX Runtime
    text = run("lint", folder / "m.onnx", "-v").stdout
    assert "integers   n_c1 (Conv)" in text and "float      n_t (ConvTranspose): it has" in text


def test_usage(files, run):
    folder = files(depthwise, "ort-x86")
    unknown = run("lint", folder / "m.onnx", "--target", "openvina")
    assert unknown.rc == 2 and "'openvino'" in unknown.stderr
    quantized = run("lint", folder / "q.onnx", "--calibration", folder / "m.qcal")
    assert quantized.rc == 1 and "is quantized" in quantized.stderr
    other = run("lint", files(concat, "ort-x86") / "m.onnx", "--calibration", folder / "m.qcal")
    assert other.rc == 1 and not other.stdout


# ---- sums ------------------------------------------------------------------------------------------------------------


def product(tmp, weight, bias=None):
    """A quantized product: uint8 activations, an int8 weight of [k, n]."""
    constants = {"s": np.float32(0.1), "z": np.uint8(0), "w": weight.astype(np.int8), "ws": np.float32(1), "wz": np.int8(0)}
    gemm = ["xd", "wd"]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
             helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
             helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"])]
    if bias is not None:
        constants |= {"b": bias.astype(np.int32), "bz": np.int32(0)}
        nodes.append(helper.make_node("DequantizeLinear", ["b", "s", "bz"], ["bd"]))
        gemm.append("bd")
    nodes.append(helper.make_node("Gemm", gemm, ["y"], name="g"))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, len(weight)])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp / "p.onnx")
    return tmp / "p.onnx"


MOST = 2**31 - 1


@pytest.mark.parametrize("rows, bias, named", [(66311, 0, False), (66312, 0, True), (1000, MOST - 255 * 127000, False),
                                               (1000, MOST - 255 * 127000 + 1, True)])
def test_int32_sums(rows, bias, named, lint, run, tmp_path):
    """255 x 127 x 66311 is the last below 2^31; a bias takes its part. The bounds are reached, by all ones."""
    weight = np.zeros((rows, 2), np.int64)
    weight[:, 1] = 127
    assert (weight[:, 1].sum() * 255 + bias > MOST) == named
    path = product(tmp_path, weight, np.array([0, bias]) if bias else None)
    overflow = lint(path)["g"]["overflow"]
    assert (overflow is not None) == named and (not named or "channel 1" in overflow)
    assert run("lint", path, "--strict").rc == named


@pytest.mark.parametrize("pair, named", [((64, 64), False), ((64, 65), True), ((-64, -64), False), ((-64, -65), True),
                                         ((127, -127), False)])
def test_int16_pairs(pair, named, lint, tmp_path):
    """Whatever stands beside each other in a kernel: the two largest of a channel, and the two least."""
    weight = np.zeros((8, 1), np.int64)
    weight[[1, 6], 0] = pair
    assert (not -2**15 <= 255 * sum(pair) < 2**15) == named
    path = product(tmp_path, weight)
    overflow = lint(path, "--target", "ort-x86-avx2")["g"]["overflow"]
    assert (overflow is not None) == named and (not named or "int16" in overflow)
    assert lint(path)["g"]["overflow"] is None


def test_sums_of_a_model_in_float(files, lint, tmp_path):
    """The weight is quantized as the target has it: 7 bits fit."""
    net = Net((1, 4))
    net.op("MatMul", ["x", net.constant("w", np.full((4, 2), 3.0))], "y")
    onnx.save(net.model("y"), tmp_path / "m.onnx")
    assert lint(tmp_path / "m.onnx", "--target", "ort-x86-avx2")["n_y"]["overflow"] is None
    q = files(depthwise, "ort-x86") / "q.onnx"
    assert lint(q, "--target", "ort-x86-avx2")["n_c1"]["overflow"]
    own = files(depthwise, "ort-x86-avx2") / "q.onnx"
    assert not any(n["overflow"] for n in lint(own, "--target", "ort-x86-avx2").values())
