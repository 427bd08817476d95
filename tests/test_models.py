"""Trained models, against ONNX Runtime: float results, accuracy after quantization, and the same
bytes every time."""

import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import TESTDATA
from onnx import numpy_helper
from PIL import Image


class Case(NamedTuple):
    """What a model must reach with the default options, on the test split of its data."""

    model: str
    dataset: str
    metric: str  # as score.py names it
    drop: float | None  # the metric may be this much under the float model's, in points
    most: float | None  # or at most this
    sqnr: float  # dB, of the outputs against the float model's


CASES = [
    Case("resnet8_cifar10", "cifar10", "top-1", 1.0, None, 27.0),
    Case("dscnn_kws", "kws", "top-1", 1.0, None, 29.3),
    Case("mnist_cntk", "mnist", "top-1", 0.3, None, 38.0),
    Case("autoencoder_ad", "ad", "reconstruction MSE", None, 9.55, 43.0),
    Case("squeezenet11_imagenet", "imagenet-squeezenet", "top-1", 1.0, None, 34.0),
    Case("mobilenet_v2_imagenet", "imagenet-mobilenet", "top-1", 1.0, None, 19.5),
]
NAMES = [case.model for case in CASES]


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def save_pb(path, array):
    path.write_bytes(numpy_helper.from_array(array).SerializeToString())


# ---- float results ------------------------------------------------------------------------------


def some_inputs(model, shared, npy, count=3):
    """The first test samples of the model's data set; any photos for the one without a data set."""
    if model == "mobilenetv1_vww":
        photos = sorted((shared / "data" / "imagenet" / "calibration").rglob("*.jp*g"))[:count]
        pixels = [
            np.asarray(Image.open(p).convert("RGB").resize((96, 96)), np.float32) / 255
            for p in photos
        ]
        return [np.ascontiguousarray(p.transpose(2, 0, 1)[None]) for p in pixels]
    dataset = next(case.dataset for case in CASES if case.model == model)
    return [np.load(f) for f in sorted((npy(dataset) / "test").glob("*.npy"))[:count]]


@pytest.mark.parametrize("engine", ["onednn", "portable"])
@pytest.mark.parametrize("model", NAMES + ["mobilenetv1_vww"])
def test_float_outputs(model, engine, shared, npy, done, tmp_path):
    """Every output differs by at most 1e-4 of the largest."""
    path = shared / "models" / model / "model.onnx"
    reference = session(path)
    inputs = some_inputs(model, shared, npy)
    assert inputs
    for x in inputs:
        y = reference.run(None, {reference.get_inputs()[0].name: x})[0]
        save_pb(tmp_path / "input_0.pb", x)
        save_pb(tmp_path / "output_0.pb", y)
        atol = 1e-4 * float(np.abs(y).max())
        done(
            "run",
            path,
            "--data",
            tmp_path,
            "--check",
            "--rtol",
            0,
            "--atol",
            f"{atol:.9g}",
            "--engine",
            engine,
        )


def test_check_can_fail(shared, npy, run, tmp_path):
    path = shared / "models" / "resnet8_cifar10" / "model.onnx"
    x = some_inputs("resnet8_cifar10", shared, npy, 1)[0]
    y = session(path).run(None, {session(path).get_inputs()[0].name: x})[0]
    y.flat[3] += 0.01
    save_pb(tmp_path / "input_0.pb", x)
    save_pb(tmp_path / "output_0.pb", y)
    assert run("run", path, "--data", tmp_path, "--check", "--rtol", 0, "--atol", 0.001).rc == 1


# ---- accuracy after quantization ----------------------------------------------------------------


class Score(NamedTuple):
    metric: str
    value: float
    sqnr: float | None


def score(shared, dataset, *models):
    """What the shared scorer prints about each model, the first being the reference."""
    script = shared / "tools" / "score.py"
    text = subprocess.run(
        [sys.executable, script, dataset, *models], check=True, capture_output=True, text=True
    ).stdout
    found = re.findall(
        r": ([a-zA-Z0-9 -]+?) ([\d.]+)(?: %)?  N=\d+(?:.*SQNR (-?[\d.]+) dB)?$", text, re.M
    )
    assert len(found) == len(models), text
    return [
        Score(metric, float(value), float(sqnr) if sqnr else None) for metric, value, sqnr in found
    ]


def calibration_folder(npy, dataset):
    """The autoencoder's data are unlabelled: the split of both names holds all of them."""
    return npy(dataset) / "calibration"


def quantize(done, model, data, out):
    done("calibrate", model, data, "-o", out / "model.qcal")
    done("quantize", model, "--calibration", out / "model.qcal", "-o", out / "model.int8.onnx")
    return out / "model.int8.onnx"


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_accuracy(case, shared, npy, done, vnni, tmp_path):
    model = shared / "models" / case.model / "model.onnx"
    quantized = quantize(done, model, calibration_folder(npy, case.dataset), tmp_path)
    onnx.checker.check_model(str(quantized), full_check=True)
    before, after = score(shared, case.dataset, model, quantized)
    print(f"{case.model}: {before.metric} {before.value} -> {after.value}, SQNR {after.sqnr} dB")
    assert after.metric == case.metric
    if case.drop is not None:
        assert after.value >= before.value - case.drop - 1e-9
    if case.most is not None:
        assert after.value <= case.most
    assert after.sqnr >= case.sqnr


def test_digits(done, vnni, tmp_path):
    """The bundled model keeps its accuracy; evaluate counts as ONNX Runtime does."""
    quantized = quantize(
        done, TESTDATA / "digits.onnx", TESTDATA / "digits" / "calibration", tmp_path
    )
    onnx.checker.check_model(str(quantized), full_check=True)
    pictures = sorted((TESTDATA / "digits" / "test").glob("*/*.png"))
    right, outputs = [], []
    for path in (TESTDATA / "digits.onnx", quantized):
        s = session(path)
        scores = [
            s.run(None, {"image": np.asarray(Image.open(p), np.float32)[None, None]})[0][0]
            for p in pictures
        ]
        right.append(sum(y.argmax() == int(p.parent.name) for y, p in zip(scores, pictures)))
        outputs.append(np.stack(scores))
    assert len(pictures) == 300 and right[0] == 294
    assert right[1] >= right[0] - 2
    assert 10 * np.log10(np.sum(outputs[0] ** 2) / np.sum((outputs[0] - outputs[1]) ** 2)) >= 28
    text = done("evaluate", TESTDATA / "digits.onnx", "--data", TESTDATA / "digits" / "test")
    assert "98.0" in text, text


# ---- the same bytes -----------------------------------------------------------------------------


def test_same_bytes(shared, npy, done, tmp_path):
    """Threads, names and order of the files leave no trace in the statistics or the model."""
    model = shared / "models" / "resnet8_cifar10" / "model.onnx"
    files = sorted((npy("cifar10") / "calibration").glob("*.npy"))
    reversed_folder = tmp_path / "reversed"
    reversed_folder.mkdir()
    for n, f in enumerate(reversed(files)):
        (reversed_folder / f"sample{n:04d}.npy").write_bytes(f.read_bytes())
    made = {}
    for name, data, jobs in (
        ("one", files[0].parent, 1),
        ("two", files[0].parent, 2),
        ("other", reversed_folder, 2),
    ):
        qcal, out = tmp_path / f"{name}.qcal", tmp_path / f"{name}.onnx"
        done("calibrate", model, data, "-o", qcal, "-j", jobs)
        done("quantize", model, "--calibration", qcal, "-o", out, "-j", jobs)
        made[name] = qcal.read_bytes(), out.read_bytes()
    direct = tmp_path / "direct.onnx"
    done("quantize", model, "--data", reversed_folder, "-o", direct, "-j", 2)
    for other in ("two", "other"):
        assert made[other][0] == made["one"][0], f"statistics of '{other}'"
        assert made[other][1] == made["one"][1], f"model of '{other}'"
    assert direct.read_bytes() == made["one"][1]


# ---- the rule of scales -------------------------------------------------------------------------


def activation_scales(path):
    """Maps the name of each quantized float tensor to its scale and zero point."""
    model = onnx.load(path)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        n.input[0]: (float(constants[n.input[1]]), int(constants[n.input[2]]))
        for n in model.graph.node
        if n.op_type == "QuantizeLinear"
        and n.input[0] not in constants
        and constants[n.input[1]].size == 1
    }


def test_minmax_scales(done, tmp_path):
    """The observer minmax gives the scales of ONNX Runtime's quantizer, where both quantize."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self):
            pictures = sorted((TESTDATA / "digits" / "calibration").glob("*/*.png"))
            self.left = iter(
                {"image": np.asarray(Image.open(p), np.float32)[None, None]} for p in pictures
            )

        def get_next(self):
            return next(self.left, None)

    folded, theirs, ours = (tmp_path / f"{name}.onnx" for name in ("folded", "theirs", "ours"))
    done(
        "quantize",
        TESTDATA / "digits.onnx",
        "--pipeline",
        "fold-constants,fold-batchnorm",
        "-o",
        folded,
    )
    quantize_static(
        folded,
        theirs,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
    )
    done(
        "quantize",
        folded,
        "--data",
        TESTDATA / "digits" / "calibration",
        "--observer",
        "minmax",
        "--no-correct-bias",
        "-o",
        ours,
    )
    ours, theirs = activation_scales(ours), activation_scales(theirs)
    common = sorted(set(ours) & set(theirs))
    assert len(common) >= 8, (sorted(ours), sorted(theirs))
    for name in common:
        assert ours[name][0] == pytest.approx(theirs[name][0], rel=1e-4), name
        assert ours[name][1] == theirs[name][1], name
