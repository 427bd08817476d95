"""ConvTranspose against ONNX Runtime, in both engines: attributes, groups, one to three axes, channels-last
neighbours, generated C."""
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import compile_model, same_bytes
from onnx import helper, numpy_helper


def model(x, forms, seed=1):
    """Of one ConvTranspose a form: (channels out of a group, kernel, bias, attributes)."""
    rng, nodes, constants = np.random.default_rng(seed), [], []
    for i, (oc, kernel, bias, attributes) in enumerate(forms):
        group = attributes.get("group", 1)
        arrays = [rng.normal(size=(x.shape[1], oc, *kernel))] + [rng.normal(size=oc * group)] * bias
        names = [f"w{i}", f"b{i}"][:len(arrays)]
        constants += [numpy_helper.from_array(a.astype(np.float32), n) for a, n in zip(arrays, names)]
        nodes.append(helper.make_node("ConvTranspose", ["x", *names], [f"y{i}"], **attributes))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, x.shape)],
                              [helper.make_tensor_value_info(n.output[0], 1, None) for n in nodes], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def runtime(m, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(m.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, {"x": x})


def command(done, folder, m, x, engine="portable"):
    folder.mkdir(exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    np.save(folder / "x.npy", x)
    done("run", "-q", folder / "m.onnx", "--data", folder / "x.npy", "-o", folder / "out", "--engine", engine)
    outputs = sorted((folder / "out").glob("output_*"), key=lambda p: int(p.stem.split("_")[1]))
    return [np.load(o) for o in outputs]


def close(forms, got, want):
    for form, a, b in zip(forms, got, want, strict=True):
        assert a.shape == b.shape, (form, a.shape, b.shape)
        assert np.abs(a - b).max() <= 2e-6 * np.abs(b).max(), form


def windows(n):
    """Attributes for n axes."""
    yield from [dict(), dict(strides=[2] * n), dict(strides=[3, 2, 1][:n]), dict(pads=[1] * 2 * n, strides=[2] * n),
                dict(pads=[1] * n + [0] * n), dict(dilations=[2] * n), dict(dilations=[2, 3, 2][:n], strides=[2, 3, 3][:n]),
                dict(dilations=[3] * n, strides=[2] * n, pads=[1] * 2 * n), dict(strides=[4] * n),
                dict(strides=[6] * n, dilations=[4] * n), dict(output_padding=[1] * n, strides=[2] * n),
                dict(output_padding=[1, 0, 1][:n], strides=[2] * n, pads=[1] * 2 * n)]
    for pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
        yield from [dict(auto_pad=pad, strides=[2] * n), dict(auto_pad=pad), dict(auto_pad=pad, strides=[5] * n)]
    for pad in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        yield from [dict(auto_pad=pad, strides=[2] * n, output_shape=[s] * n) for s in (8, 9)]


@pytest.mark.parametrize("engine", ["portable", "auto"])
@pytest.mark.parametrize("shape,kernel", [((2, 6, 7), (3,)), ((1, 6, 5, 6), (3, 2)), ((1, 6, 5, 6), (4, 4)),
                                          ((1, 6, 4, 5, 4), (2, 3, 3))], ids=str)
def test_attributes(done, tmp_path, shape, kernel, engine):
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    forms = [(3, kernel, bias, dict(a, group=group)) for a in windows(len(kernel)) for group, bias in ((1, True), (2, False))]
    m = model(x, forms)
    close(forms, command(done, tmp_path, m, x, engine), runtime(m, x))


@pytest.mark.parametrize("engine", ["portable", "auto"])
def test_channels(done, tmp_path, engine):
    """Groups of every kind: one filter a channel, too; blocks of channels that are full and not."""
    for channels, groups in ((70, (1, 2, 7, 70)), (32, (1, 2, 32))):
        x = np.random.default_rng(3).normal(size=(2, channels, 6, 5)).astype(np.float32)
        forms = [(oc, k, True, dict(group=g, strides=[s, s], pads=[1, 0, 0, 1]))
                 for g, oc, k, s in itertools.product(groups, (1, 3, 33), ((2, 2), (3, 4)), (1, 2))]
        m = model(x, forms)
        close(forms, command(done, tmp_path / str(channels), m, x, engine), runtime(m, x))


def test_sizes_at_the_ends(done, tmp_path):
    """Outputs that no product reaches, a single input, a stride beyond the kernel."""
    x = np.random.default_rng(3).normal(size=(1, 2, 1, 1)).astype(np.float32)
    forms = [(2, (2, 2), True, a) for a in (dict(strides=[7, 7]), dict(output_padding=[3, 2], strides=[4, 4]), dict(pads=[1, 0, 0, 1]),
                                            dict(output_shape=[4, 3], strides=[3, 3]), dict(dilations=[5, 4]))]
    m = model(x, forms)
    close(forms, command(done, tmp_path, m, x), runtime(m, x))


def unet(computed=False):
    """Convolutions and activations around it; its weight may be computed."""
    rng = np.random.default_rng(5)
    shapes = {"a": (18, 3, 3, 3), "w": (18, 20, 3, 3), "b": (20,), "d": (20, 1, 4, 4), "c": (4, 20, 1, 1)}
    constants = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [node("Conv", ["x", "a"], ["t"], pads=[1] * 4)]
    if computed:
        nodes.append(node("Mul", ["w", "s"], ["v"]))
    nodes += [node("ConvTranspose", ["t", "v" if computed else "w", "b"], ["u"], strides=[2, 2], pads=[1] * 4),
              node("Relu", ["u"], ["r"]), node("ConvTranspose", ["r", "d"], ["e"], strides=[2, 2], group=20),
              node("Clip", ["e", "lo", "hi"], ["q"]), node("Conv", ["q", "c"], ["y"])]
    constants += [numpy_helper.from_array(np.float32(v), n) for n, v in (("lo", -1), ("hi", 4))]
    inputs = [info("x", 1, [1, 3, 6, 7])] + [info("s", 1, [1])] * computed
    graph = helper.make_graph(nodes, "g", inputs, [info("y", 1, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_neighbours_and_compiled(qonnx, done, tmp_path):
    x, m = np.random.default_rng(4).normal(size=(1, 3, 6, 7)).astype(np.float32), unet()
    (want,), (got,) = runtime(m, x), command(done, tmp_path, m, x)
    assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max()
    compiled = compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "c")
    compiled.build(["cc"], ["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow"])
    assert same_bytes(compiled.run([[x]]), [[got]])


@pytest.mark.parametrize("engine", ["portable", "auto"])
def test_computed_weight(done, tmp_path, engine):
    x, m = np.random.default_rng(4).normal(size=(1, 3, 6, 7)).astype(np.float32), unet(True)
    onnx.save(m, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "s.npy", np.float32([0.7]))
    done("run", "-q", tmp_path / "m.onnx", "--data", f"x={tmp_path / 'x.npy'}", "--data", f"s={tmp_path / 's.npy'}", "-o",
         tmp_path / "out", "--engine", engine)
    want = onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x, "s": np.float32([0.7])})[0]
    assert np.abs(np.load(tmp_path / "out" / "output_0.npy") - want).max() <= 2e-6 * np.abs(want).max()


@pytest.mark.usefixtures("vnni")
@pytest.mark.parametrize("target", ["ort-x86", "ort-arm"])
def test_quantized(done, tmp_path, target):
    """It stays in float between quantized convolutions, as in ONNX Runtime."""
    samples = np.random.default_rng(4).normal(size=(16, 1, 3, 6, 7)).astype(np.float32)
    onnx.save(unet(), tmp_path / "m.onnx")
    (tmp_path / "data").mkdir()
    for i, x in enumerate(samples):
        np.save(tmp_path / "data" / f"{i:02}.npy", x)
    done("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "--target", target, "-o", tmp_path / "q.onnx")
    m = onnx.load(tmp_path / "q.onnx")
    for x in samples[:4]:
        (got,), (want,) = command(done, tmp_path / "run", m, x), runtime(m, x)
        # a value near the middle between two steps may be rounded otherwise, where float sums differ in the last digit
        assert np.mean(np.abs(got - want) > 1e-5 * np.abs(want).max()) < 0.05
