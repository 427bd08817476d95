"""magika_fast_v2_1 tells 200 kinds of files apart by their first and last bytes: quantized, it must say of 64 files of this
machine what the float model says. QONNX_LONG=1 in the environment runs it: it looks through the machine's files."""

import os
import re

import numpy as np
import onnxruntime
import pytest

pytestmark = pytest.mark.skipif("QONNX_LONG" not in os.environ, reason="looks through the machine's files: QONNX_LONG=1")
PLACES = ("/usr/share", "/usr/lib", "/usr/include", "/usr/bin", "/etc")
KINDS = """.py .c .h .cpp .hpp .java .js .css .html .xml .json .md .rst .txt .sh .pl .pm .cmake .m4 .el .go .rs .tex .ps .csv
.toml .yaml .yml .ini .png .svg .jpg .JPEG .jpeg .gif .ico .bmp .gz .xz .zip .jar .tar .whl .deb .so .a .o .class .pyc .ttf
.pdf .mp3 .ogg .wav .mo .desktop""".split()
TEST, CALIBRATION, BLOCK, HALF, PADDING = 64, 100, 4096, 512, 256


def by_ending(folders, most=60):
    """Source, pictures, archives: files of at least 64 bytes by what their names end in, at most so many of a kind."""
    kinds = {kind: [] for kind in KINDS}
    for folder in folders:
        for path, inner, files in os.walk(folder):
            inner.sort()
            for name in sorted(files):
                some = kinds.get(os.path.splitext(name)[1])
                if some is None or len(some) == most:
                    continue
                file = os.path.join(path, name)
                if os.path.isfile(file) and not os.path.islink(file) and os.path.getsize(file) >= 64:
                    some.append(file)
    return [some for _, some in sorted(kinds.items()) if some]


def spread(kinds, count):
    """So many files, of as many kinds as there are, from all over their lists."""
    random = np.random.default_rng(5)
    rows = [[some[i] for i in random.permutation(len(some))] for some in kinds]
    files = [some[k] for k in range(max(map(len, rows))) for some in rows if k < len(some)]
    return [files[i] for i in random.permutation(min(len(files), max(count, len(rows))))[:count]]


def features(file):
    """What the model reads: the first 512 bytes and the last 512, without blanks at the ends."""
    with open(file, "rb") as f:
        data = f.read()
    first, last = data[:BLOCK].lstrip()[:HALF], data[-BLOCK:].rstrip()[-HALF:]
    x = np.full((1, 2 * HALF), PADDING, np.int32)
    x[0, :len(first)] = list(first)
    if last:
        x[0, -len(last):] = list(last)
    return x


def test_the_float_models_class(shared, done, tmp_path):
    model, out = shared / "models" / "magika_fast_v2_1" / "model.onnx", tmp_path / "int8.onnx"
    files = spread(by_ending([*PLACES, shared / "data" / "imagenet"]), TEST + CALIBRATION)
    if len(files) < TEST + CALIBRATION:
        pytest.skip(f"{len(files)} files are too few")
    for folder, some in (("test", files[:TEST]), ("calibration", files[TEST:])):
        (tmp_path / folder).mkdir()
        for i, file in enumerate(some):
            np.save(tmp_path / folder / f"{i:03d}.npy", features(file))
    done("quantize", model, "--data", tmp_path / "calibration", "-o", out)
    assert out.stat().st_size < 0.27 * model.stat().st_size
    runs = []
    for path in (model, out):
        s = onnxruntime.InferenceSession(path)
        runs.append(np.concatenate([s.run(None, {"bytes": features(f)})[0] for f in files[:TEST]]))
    wrong = [(f, a.max(), b.max()) for f, a, b in zip(files, *runs) if a.argmax() != b.argmax()]
    assert not wrong
    sqnr = 10 * np.log10(np.sum(runs[0] ** 2) / np.sum((runs[0] - runs[1]) ** 2))
    assert sqnr > 30
    text = done("evaluate", model, out, "--data", tmp_path / "test")  # says what a session gives
    assert abs(float(re.search(r"(\S+) dB", text)[1]) - sqnr) < 0.3 and "100.00 %" in text
