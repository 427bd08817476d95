"""The command built for arm64 writes the bytes that the one for this machine writes. It runs under an
emulator, which is slow: only where QONNX_ARM64 is the command line that starts it (tools/arm64.sh)."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import COMMAND, TESTDATA

ARM64 = os.environ.get("QONNX_ARM64", "").split()
pytestmark = pytest.mark.skipif(not ARM64, reason="QONNX_ARM64 is not set; see tools/arm64.sh")

SAMPLES = {"digits": 100, "resnet8_cifar10": 40, "dscnn_kws": 200}  # to calibrate with
OBSERVERS = ["minmax", "percentile", "entropy", "mse"]


def inputs(name, shared):
    """A model, and samples for it: pictures of two formats, and arrays."""
    if name == "digits":
        return TESTDATA / "digits.onnx", TESTDATA / "digits" / "calibration"
    data = {"resnet8_cifar10": "cifar10", "dscnn_kws": "kws"}[name]
    return shared() / "models" / name / "model.onnx", shared() / "data" / data / "calibration"


def write_all(command, name, model, data, out):
    """All that the verbs write of a model, made in the folder `out` by that command."""

    def call(*arguments):
        done = subprocess.run([*command, *map(str, arguments)], cwd=out, text=True, capture_output=True)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    out.mkdir()
    call("calibrate", model, data, "--engine", "portable", "--limit", SAMPLES[name], "-o", "model.qcal")
    for target in [t["name"] for t in json.loads(call("passes", "--json"))["targets"]]:
        for observer in OBSERVERS:
            made = f"{target}-{observer}.onnx"
            call("quantize", model, "--calibration", "model.qcal", "--target", target, "--observer", observer,
                 "-o", made)
        call("compile", made, "-o", f"{target}-c", "--prefix", "net", "--data", data)
    call("compile", model, "-o", "float-c", "--prefix", "net", "--data", data)
    for of in (model, out / made):
        call("run", of, "--data", data, "--limit", 10, "--engine", "portable", "-o", f"{Path(of).stem}-out")
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("name", SAMPLES)
def test_same_bytes(name, request, tmp_path):
    model, data = inputs(name, lambda: request.getfixturevalue("shared"))
    here = write_all([COMMAND], name, model, data, tmp_path / "here")
    there = write_all(ARM64, name, model, data, tmp_path / "there")
    assert len(here) > 20
    assert list(here) == list(there)
    assert [f for f in here if here[f] != there[f]] == []
