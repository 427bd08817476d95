"""Every verb on models that people use, as they come: their outputs are ONNX Runtime's, in both engines, at several sizes;
quantized they load in its default session; compiled with their shapes fixed they give the executor's bytes.

Those of the shared folder and of the onnx package, and with QONNX_LONG=1 those of tools/real-models.sh."""

import os
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import onnx
import pytest
from conftest import SHARED
from ort import session
from verbs import assert_near, compiles, ours, quantized_session, sqnr, with_samples

PACKAGES = Path(__file__).parent.parent / "build" / "real-models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
RANDOM = np.random.default_rng(7)


def normal(*shape, scale=1.0):
    return (scale * RANDOM.normal(size=shape)).astype(np.float32)


def sentence(length, most=64):
    """A sentence of `most` or fewer tokens and its padding."""
    mask = np.zeros((1, length), np.int64)
    mask[0, :max(min(length, most) * 3 // 4, 1)] = 1
    return {"input_ids": RANDOM.integers(0, 30000, (1, length)) * mask, "attention_mask": mask,
            "token_type_ids": np.zeros((1, length), np.int64)}


def speech(samples, batch=1, rate=16000):
    return {"input": normal(batch, samples, scale=0.1), "state": normal(2, batch, 128, scale=0.1),
            "sr": np.array(rate, np.int64), "h": normal(1, 1, 128, scale=0.1), "c": normal(1, 1, 128, scale=0.1)}


def older_speech(samples, rate):
    return {"input": normal(1, samples, scale=0.1), "sr": np.array(rate, np.int64),
            "h": normal(2, 1, 64, scale=0.1), "c": normal(2, 1, 64, scale=0.1)}


def bytes_of(length):
    return {"bytes": RANDOM.integers(0, 257, (1, length)).astype(np.int32)}


class Case(NamedTuple):
    path: Path
    samples: list[Callable]  # each makes the inputs of one sample: more than the model has, or {"": its only one}


def pictures(*sizes, name="x"):
    return [lambda size=size: {name: normal(1, 3, *size)} for size in sizes]


def pages(*sizes):
    """White paper with dark strokes, as readers of text want it."""
    def page(height, width):
        x = np.ones((1, 3, height, width), np.float32)
        for _ in range(height * width // 400):
            top, left = RANDOM.integers(0, height - 4), RANDOM.integers(0, width - 8)
            x[:, :, top:top + RANDOM.integers(1, 12), left:left + RANDOM.integers(1, 24)] = 0.1
        return {"x": (x - 0.45) / 0.225}
    return [lambda size=size: page(*size) for size in sizes]


def features(frames):
    return [lambda: {"": normal(1, frames, 96)}] * 3


def light():
    """Models whose weights are made by nodes."""
    return {path.stem: Case(path, pictures((224, 224), name="")) for path in sorted(LIGHT.glob("*.onnx"))}


MODELS = SHARED / "models"
WAKE, SILERO, OCR = PACKAGES / "openwakeword", PACKAGES / "silero_vad", PACKAGES / "rapidocr_onnxruntime"
CASES = {
    "minilm": Case(MODELS / "minilm_l6_v2/model.onnx", [lambda n=n: sentence(n) for n in (8, 64, 128, 23)]),
    "ppocr": Case(MODELS / "ppocr_v2_det/model.onnx", pages((64, 96), (160, 160), (320, 256))),
    "silero": Case(MODELS / "silero_vad_16k/model.onnx", [lambda b=b: speech(576, b) for b in (1, 1, 2)]),
    "magika": Case(MODELS / "magika_fast_v2_1/model.onnx", [lambda: bytes_of(1024)] * 3),
    "ultraface": Case(MODELS / "ultraface_rfb_320/model.onnx", pictures((240, 320), name="input")),
    **light(),
    "magika 3": Case(PACKAGES / "magika/model.onnx", [lambda: bytes_of(2048)] * 3),
    "embedding": Case(WAKE / "embedding_model.onnx", [lambda: {"": normal(1, 76, 32, 1)}] * 3),
    **{name: Case(WAKE / f"{name}_v0.1.onnx", features(frames)) for name, frames in
       (("alexa", 16), ("hey_jarvis", 16), ("hey_mycroft", 16), ("hey_rhasspy", 16), ("timer", 34), ("weather", 22))},
    "melspectrogram": Case(WAKE / "melspectrogram.onnx", [lambda n=n: {"": normal(1, n, scale=1000)} for n in (1280, 1760)]),
    "older silero": Case(WAKE / "silero_vad.onnx", [lambda: older_speech(512, 16000), lambda: older_speech(256, 8000)]),
    "silero both": Case(SILERO / "silero_vad.onnx", [lambda: speech(576), lambda: speech(288, rate=8000)]),
    **{f"silero {name}": Case(SILERO / f"silero_vad_{name}.onnx", [lambda: speech(576)] * 2)
       for name in ("16k_op15", "half", "op18_ifless", "openvino_16k")},
    "silero sequence": Case(SILERO / "silero_vad_16k_sequence.onnx", [
        lambda n=n: speech(576) | {"input": normal(n, 576, scale=0.1)} for n in (5, 3)]),
    "ocr detection": Case(OCR / "ch_PP-OCRv4_det_infer.onnx", pages((64, 96), (160, 160))),
    "ocr recognition": Case(OCR / "ch_PP-OCRv4_rec_infer.onnx", pages((48, 320), (48, 160))),
    "ocr direction": Case(OCR / "ch_ppocr_mobile_v2.0_cls_infer.onnx", pages((48, 192))),
}


@pytest.fixture(params=CASES)
def model(request, tmp_path):
    """The case, with its samples in a folder per input."""
    case = CASES[request.param]
    if not case.path.is_file():
        pytest.skip(f"{case.path.name} is not here; tools/real-models.sh gets the packages")
    if PACKAGES in case.path.parents and not os.environ.get("QONNX_LONG"):
        pytest.skip("QONNX_LONG=1 runs it")
    runtime = session(case.path)
    names = [i.name for i in runtime.get_inputs()]
    samples = [{name: made[name if len(names) > 1 else next(iter(made))] for name in names}
               for made in (make() for make in case.samples)]
    return with_samples(case.path, runtime, samples, tmp_path / "samples")


def test_float(model, done, tmp_path):
    done("inspect", model.path)
    want = model.outputs()
    for engine in ("portable", "auto"):
        assert_near(ours(done, model.path, model, tmp_path / engine, "--engine", engine), want)


def test_quantized(model, done, tmp_path):
    """What evaluate says of it is what the user gets: it is as near to float here as in the runtime. (Parts in float
    round otherwise now and then, which a transformer or a detector blows up.)"""
    int8 = tmp_path / "q.onnx"
    done("calibrate", "-q", model.path, *model.data[1::2], "-o", tmp_path / "m.qcal", timeout=600)
    done("quantize", "-q", model.path, "--calibration", tmp_path / "m.qcal", "-o", int8, timeout=600)
    session(int8)
    want = model.outputs(quantized_session(int8))
    got, exact = ours(done, int8, model, tmp_path / "out"), model.outputs()
    here, there = sqnr(exact, got), sqnr(exact, want)
    nothing = all(np.max(np.abs(y), initial=0) < 1e-3 for sample in [*exact, *got, *want] for y in sample)
    assert nothing or sqnr(want, got) > 40 or abs(here - there) < 1.5, (here, there)
    done("evaluate", "-q", model.path, int8, *model.data, timeout=600)


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "int8"])
def test_compiled(model, qonnx, done, tmp_path, quantized):
    path = model.path
    if path.stat().st_size < 10_000 and not os.environ.get("QONNX_LONG"):
        pytest.skip("weights of up to 575 MB: QONNX_LONG=1 runs it")
    if quantized:
        path = tmp_path / "q.onnx"
        done("quantize", "-q", model.path, *model.data, "-o", path, timeout=600)
    compiles(qonnx, done, model, path, tmp_path)
