"""What a model says of the inputs that it was trained on: samples that are not like them are told,
and others never."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

f32 = np.float32
W = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(f32)
SIZE = 24


def picture(seed, noise=20):
    """Smooth, as photos are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    a = 127 + 90 * np.sin(x[..., None] / 9 + seed + [0, 1, 2]) * np.cos(y[..., None] / 7)
    return np.clip(a + rng.integers(-noise, noise + 1, a.shape), 0, 255).astype(np.uint8)


def convolved(x):
    """Conv without padding, over one [H, W, 3]."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
    return np.einsum("hwcij,ocij->ohw", windows, W)


def trained(path, values, layers, untrained=False):
    """A model whose BatchNormalization has seen `values` of other pictures."""
    x = [values(picture(s).astype(f32)) for s in range(100, 120)]
    seen = np.stack([convolved(a) if "Conv" in layers else a.transpose(2, 0, 1) for a in x], 1)
    seen = seen.reshape(len(seen), -1)
    rng = np.random.default_rng(1)
    shape = [len(seen)]
    constants = {
        "w": W,
        "scale": rng.uniform(0.5, 1.5, shape),
        "bias": rng.normal(size=shape) if "Clip" not in layers else np.full(shape, 1.5),
        "mean": np.zeros(shape) if untrained else seen.mean(1),
        "variance": np.ones(shape) if untrained else seen.var(1),
        "low": np.array(0),
        "high": np.array(6),
    }
    inputs = {"Conv": ["w"], "BatchNormalization": ["scale", "bias", "mean", "variance"], "Clip": ["low", "high"]}
    nodes = [
        helper.make_node(op, [f"v{i}" if i else "x", *inputs.get(op, [])], [f"v{i + 1}"])
        for i, op in enumerate(layers)
    ]
    last = helper.make_node("Conv", [nodes[-1].output[0], "last"], ["y"])
    constants["last"] = rng.normal(size=(4, shape[0], 1, 1))
    graph = helper.make_graph(
        [*nodes, last], "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(v.astype(f32), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for s in range(20):
        Image.fromarray(picture(s)).save(folder / f"{s:02d}.png")
    return folder


def raw(x):
    return x


def unit(x):
    return x / 255


def imagenet(x):
    return (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


RELU = ["Conv", "BatchNormalization", "Relu"]
OPTIONS = {raw: ["--preset", "raw"], unit: ["--preset", "unit"], imagenet: ["--preset", "torchvision", "--resize", "none"]}


@pytest.mark.parametrize("layers", [RELU, RELU[:2], RELU[1:], RELU[1:2], [*RELU[:2], "Clip"], [*RELU[:2], "HardSwish"]])
@pytest.mark.parametrize("values", OPTIONS)
def test_right_and_wrong(values, layers, pictures, run, tmp_path):
    model, qcal = trained(tmp_path / "m.onnx", values, layers), tmp_path / "m.qcal"
    for options in OPTIONS:
        end = run("calibrate", model, pictures, "-o", qcal, "--limit", "20", *OPTIONS[options])
        told = [line for line in end.stderr.splitlines() if "warning" in line]
        assert end.rc == 0, end
        # 0..1 and normalised values are not far enough apart to be sure
        if raw in (options, values) and options != values:
            assert len(told) == 1 and "qonnx presets" in told[0], (options, end)
            words = ["cut off at 6", "times more"] if options == raw else ["times less", "do not vary"]
            assert ("Conv" not in layers or "'x' has " in told[0]) and any(word in told[0] for word in words), end
        else:
            assert not told, (options, end)


def test_quantize_warns(pictures, run, done, tmp_path):
    model, qcal = trained(tmp_path / "m.onnx", unit, RELU), tmp_path / "m.qcal"
    done("calibrate", model, pictures, "-o", qcal)
    for source in ["--data", pictures], ["--calibration", qcal]:
        end = run("quantize", model, *source, "-o", tmp_path / "q.onnx")
        assert end.rc == 0 and "than in training: the model was trained on others" in end.stderr, end


def test_arrays_count_too(run, tmp_path):
    model = trained(tmp_path / "m.onnx", unit, RELU)
    for name, factor in [("right", 1 / 255), ("wrong", 1)]:
        (tmp_path / name).mkdir()
        for s in range(20):
            np.save(tmp_path / name / f"{s}.npy", (picture(s).transpose(2, 0, 1)[None] * factor).astype(f32))
        end = run("calibrate", model, tmp_path / name, "-o", tmp_path / "m.qcal")
        assert end.rc == 0 and ("than in training" in end.stderr) == (name == "wrong"), end


@pytest.mark.parametrize("options", OPTIONS.values())
def test_no_training(options, pictures, run, tmp_path):
    """A BatchNormalization as it was made has seen nothing, and nothing is said of convolutions alone."""
    for layers in RELU, ["Conv", "Relu"]:
        model = trained(tmp_path / "m.onnx", raw, layers, untrained=True)
        end = run("calibrate", model, pictures, "-o", tmp_path / "m.qcal", *options)
        assert end.rc == 0 and "warning" not in end.stderr, end


def test_noise_is_no_wrong_range(run, tmp_path):
    """Pictures unlike any that it was trained on, in the right range."""
    model = trained(tmp_path / "m.onnx", unit, RELU)
    rng = np.random.default_rng(2)
    for kind in "noise", "black":
        (tmp_path / kind).mkdir()
        for s in range(20):
            a = rng.choice([0, 255], (SIZE, SIZE, 3)) if kind == "noise" else rng.integers(0, 30, (SIZE, SIZE, 3))
            Image.fromarray(a.astype(np.uint8)).save(tmp_path / kind / f"{s}.png")
        end = run("calibrate", model, tmp_path / kind, "-o", tmp_path / "m.qcal", "--preset", "unit")
        assert end.rc == 0 and "warning" not in end.stderr, end


SETTINGS = {
    "mobilenet_v2_imagenet": ("imagenet", ["--resize", "short:256", "--crop", "224", "--scale", "1/127.5", "--mean", "1"]),
    "squeezenet11_imagenet": ("imagenet", ["--preset", "torchvision"]),
    "mobilenetv1_vww": ("imagenet", ["--preset", "unit"]),
    "ultraface_rfb_320": ("imagenet", ["--resize", "320x240", "--mean", "127", "--std", "128"]),
    "ppocr_v2_det": ("imagenet", ["--resize", "320x320", *OPTIONS[imagenet][:2], "--crop", "none"]),
    "resnet8_cifar10": ("cifar10", []),
    "mnist_cntk": ("mnist", []),
    "dscnn_kws": ("kws", []),
    "autoencoder_ad": ("ad", []),
}
TOLD = {"mobilenet_v2_imagenet", "mobilenetv1_vww", "ultraface_rfb_320", "ppocr_v2_det"}  # the others' weights do not tell


@pytest.mark.parametrize("name", SETTINGS)
def test_real_models(name, shared, run, tmp_path):
    data, options = SETTINGS[name]
    folder = shared / "data" / data
    folder = folder if data == "ad" else folder / "calibration"
    model = shared / "models" / name / "model.onnx"
    command = ["calibrate", model, folder, "-o", tmp_path / "m.qcal", "--limit", "20"]
    end = run(*command, *options)
    assert end.rc == 0 and "trained on others" not in end.stderr, end
    if options:
        size = options if options[0] == "--resize" and "x" in options[1] else []
        end = run(*command, *size[:2], "--scale", "1")
        assert end.rc == 0 and ("trained on others" in end.stderr) == (name in TOLD), end
