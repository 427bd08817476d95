"""testdata/ is what tools/make_testdata.py makes."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import ROOT, TESTDATA
from PIL import Image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("testdata")
    text = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_testdata.py", out],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "digits: 9" in text
    return out


def test_files(made):
    """The script makes every file but the inputs of the fuzz targets."""
    names = [
        sorted(p.relative_to(folder) for p in folder.rglob("*")) for folder in (made, TESTDATA)
    ]
    assert names[0] == [p for p in names[1] if p.parts[0] != "fuzz"]


def test_pictures(made):
    pictures = list(made.rglob("*.png"))
    assert len(pictures) == 500
    for p in pictures:
        assert np.array_equal(
            np.asarray(Image.open(p)), np.asarray(Image.open(TESTDATA / p.relative_to(made)))
        ), p


def test_photos():
    """Enlarged and widened, they are the pictures of calibration: the mean of each square, cut out of the middle."""
    calibration = sorted((TESTDATA / "digits" / "calibration").rglob("*.png"))
    sizes = set()
    for p in calibration:
        photo = Image.open(TESTDATA / "digits" / "photos" / p.name)
        sizes.add(photo.size)
        w, h = photo.size
        side = min(w, h)
        small = photo.resize((8 * w // side, 8 * h // side), Image.Resampling.BOX)
        left, top = (small.width - 8) // 2, (small.height - 8) // 2
        assert np.array_equal(np.asarray(small)[top : top + 8, left : left + 8], np.asarray(Image.open(p))), p
    assert len(calibration) == 100 and len(sizes) > 40


def test_forms(made):
    for p in (made / "forms").iterdir():
        assert p.read_bytes() == (TESTDATA / "forms" / p.name).read_bytes(), p


def test_digits_model(made):
    """The training's sums depend on the processor, so the values of the weights may differ."""
    a, b = (onnx.load(folder / "digits.onnx") for folder in (made, TESTDATA))
    for model in (a, b):
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
    assert a == b
