"""Our integers against ONNX Runtime's, node by node and end to end, on a machine whose CPU has VNNI (others saturate).

A quantized model is optimized by ONNX Runtime, which fuses it into QLinear operators. Each of these is fed ONNX
Runtime's own input bytes, in one model in which the nodes stand side by side, and must give ONNX Runtime's output bytes.
"""
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

DATASETS = {"resnet8_cifar10": "cifar10", "dscnn_kws": "kws", "mobilenetv1_vww": None, "autoencoder_ad": "ad",
            "squeezenet11_imagenet": "imagenet-squeezenet", "mobilenet_v2_imagenet": "imagenet-mobilenet",
            "mnist_cntk": "mnist"}
LARGE = ("squeezenet11_imagenet", "mobilenet_v2_imagenet")
EXACT = {"QLinearConv", "QLinearMatMul", "QGemm", "QLinearConcat", "MaxPool", "QLinearGlobalAveragePool"}
NEAR = {"QLinearAdd", "QLinearMul", "QLinearAveragePool"}
CASES = [(m, "ours") for m in DATASETS] + [(m, f) for m in list(DATASETS)[:4] for f in ("QDQ", "QOperator")]


def options(level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED):
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = 1
    o.log_severity_level = 4
    o.graph_optimization_level = level
    return o


def session(path, o=None):
    return onnxruntime.InferenceSession(str(path), o or options(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def samples(shared, npy):
    """samples(MODEL, SPLIT, COUNT): inputs as arrays."""

    def some(model, split, count):
        if DATASETS[model] is None:
            rng = np.random.default_rng(7 if split == "test" else 8)
            return [rng.random((1, 3, 96, 96), dtype=np.float32) for _ in range(count)]
        files = sorted((npy(DATASETS[model]) / split).glob("*.npy"))
        return [np.load(f) for f in files[:: max(1, len(files) // count)][:count]]

    return some


class Reader(CalibrationDataReader):
    def __init__(self, name, arrays):
        self.rows = iter([{name: x} for x in arrays])

    def get_next(self):
        return next(self.rows, None)


@pytest.fixture(scope="module")
def quantized(shared, samples, done, tmp_path_factory):
    """quantized(MODEL, FORM) gives the path of an int8 file: ours, or by ONNX Runtime's quantizer."""
    made = {}

    def quantize(model, form):
        if (model, form) in made:
            return made[model, form]
        folder = tmp_path_factory.mktemp(f"{model}-{form}")
        source, out = shared / "models" / model / "model.onnx", folder / "int8.onnx"
        arrays = samples(model, "calibration", 20)
        if form == "ours":
            (folder / "data").mkdir()
            for i, x in enumerate(arrays):
                np.save(folder / "data" / f"{i:04d}.npy", x)
            done("quantize", source, "--data", folder / "data", "-o", out)
        else:
            quant_pre_process(str(source), str(folder / "pre.onnx"), skip_symbolic_shape=True)
            name = session(folder / "pre.onnx").get_inputs()[0].name
            quantize_static(str(folder / "pre.onnx"), str(out), Reader(name, arrays), per_channel=True,
                            quant_format=getattr(QuantFormat, form), activation_type=QuantType.QUInt8,
                            weight_type=QuantType.QInt8)
        made[model, form] = out
        return out

    return quantize


def all_values(path, x, folder):
    """ONNX Runtime's optimized form of a model, and every tensor in it for one input."""
    o = options()
    o.optimized_model_filepath = str(folder / "optimized.onnx")
    session(path, o)
    model = onnx.load(folder / "optimized.onnx")
    tensors = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    had = {v.name for v in graph.graph.output}
    for node in model.graph.node:
        graph.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in node.output if n and n not in had)
    s = session_of(graph)
    names = [v.name for v in s.get_outputs()]
    feed = {s.get_inputs()[0].name: x}
    tensors.update(zip(names, s.run(names, feed)), **feed)
    return model, tensors


def session_of(model):
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
                                        providers=["CPUExecutionProvider"])


def side_by_side(model, tensors, folder):
    """A model of the integer nodes alone, every activation an input; writes the inputs. Returns its nodes."""
    constants = {i.name: i for i in model.graph.initializer}
    nodes, inputs, outputs, used = [], {}, [], {}
    for node in model.graph.node:
        integer = node.op_type.startswith("QLinear") or node.op_type == "QGemm"
        if not integer and not (node.op_type == "MaxPool" and tensors[node.output[0]].dtype != np.float32):
            continue
        if tensors[node.output[0]].dtype == np.float32:
            continue  # a QGemm with float output
        if node.op_type == "QLinearSoftmax" and tensors[node.input[3]] != np.float32(1 / 256):
            continue  # ONNX Runtime takes 1/floor(1/scale) for the scale; ours runs as ONNX has it, in float
        nodes.append(node)
        for name in node.input:
            if name in constants:
                used[name] = constants[name]
            elif name:
                inputs[name] = tensors[name]
        outputs.append(node.output[0])
    renamed = {n: f"out_{i}" for i, n in enumerate(outputs)}
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.output[0] = renamed[node.output[0]]
        copies.append(copy)
    info = lambda n, a: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
    graph = helper.make_graph(copies, "side_by_side", [info(n, a) for n, a in inputs.items()],
                              [info(renamed[n], tensors[n]) for n in outputs], list(used.values()))
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version),
              folder / "nodes.onnx")
    (folder / "in").mkdir()
    for i, a in enumerate(inputs.values()):
        (folder / "in" / f"input_{i}.pb").write_bytes(numpy_helper.from_array(a).SerializeToString())
    return nodes


@pytest.mark.parametrize("model,form", CASES, ids=[f"{m}-{f}" for m, f in CASES])
def test_nodes(model, form, quantized, samples, done, vnni, tmp_path):
    x = samples(model, "test", 3)[1]
    optimized, tensors = all_values(quantized(model, form), x, tmp_path)
    nodes = side_by_side(optimized, tensors, tmp_path)
    assert nodes
    done("run", tmp_path / "nodes.onnx", "--data", tmp_path / "in", "-o", tmp_path / "out")
    for i, node in enumerate(nodes):
        want, got = tensors[node.output[0]], np.load(tmp_path / "out" / f"output_{i}.npy")
        assert got.dtype == want.dtype and got.shape == want.shape
        off = np.abs(got.astype(int) - want.astype(int))
        where = f"{node.op_type} '{node.name}': {np.count_nonzero(off)} of {off.size} differ, by at most {off.max()}"
        if node.op_type in EXACT:
            assert not off.any(), where
        elif node.op_type in NEAR:
            assert off.max() <= 1 and np.mean(off == 0) >= 0.9999 - 1 / off.size, where
        else:
            assert off.max() <= 1, where


def cut_at_last_integer(path, out):
    """The model up to the last integer tensor, which becomes its output."""
    model = onnx.load(path)
    last = next(n for n in reversed(model.graph.node)
                if n.op_type == "DequantizeLinear" and n.input[0] not in {i.name for i in model.graph.initializer})
    end = next(i for i, n in enumerate(model.graph.node) if last.input[0] in n.output)
    del model.graph.node[end + 1:]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(last.input[0], TensorProto.UINT8, None))
    onnx.save(model, out)


@pytest.mark.parametrize("model", DATASETS)
def test_end_to_end(model, quantized, samples, done, vnni, tmp_path):
    cut_at_last_integer(quantized(model, "ours"), tmp_path / "cut.onnx")
    reference = session(tmp_path / "cut.onnx")
    arrays = samples(model, "test", 5 if model in LARGE else 50)
    (tmp_path / "data").mkdir()
    for i, x in enumerate(arrays):
        np.save(tmp_path / "data" / f"{i:04d}.npy", x)
    done("run", tmp_path / "cut.onnx", "--data", tmp_path / "data", "-o", tmp_path / "out")
    equal = total = 0
    for i, x in enumerate(arrays):
        want = reference.run(None, {reference.get_inputs()[0].name: x})[0]
        got = np.load(tmp_path / "out" / "output_0" / f"{i:06d}.npy")
        assert got.dtype == want.dtype and got.shape == want.shape
        equal += np.count_nonzero(got == want)
        total += want.size
        tied = want.reshape(-1)[got.argmax()] == want.max()
        assert tied, f"sample {i}: top-1 {got.argmax()}, ONNX Runtime {want.argmax()}"
    assert equal / total >= 0.999, f"{total - equal} of {total} differ"
