"""Where memory is out, whoever finds it, the command ends as for any other trouble: one message,
status 1, no file written."""

import os
import resource
import shutil

import pytest
from conftest import TESTDATA, run_command

MODEL = TESTDATA / "digits.onnx"
DATA = TESTDATA / "digits" / "calibration"
VERBS = {
    "calibrate": ["calibrate", MODEL, DATA, "-o", "out"],
    "quantize": ["quantize", MODEL, "--data", DATA, "-o", "out"],
    "run": ["run", MODEL, "--data", DATA, "-o", "out"],
    "evaluate": ["evaluate", MODEL, "--data", DATA],
}

WHYS = ["out of memory", "Cannot allocate memory", "cannot start a thread"]


def limited(kilobytes, arguments, folder):
    """The command with so much address space."""
    size = kilobytes * 1024
    return run_command(*arguments, cwd=folder, timeout=60,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))


@pytest.fixture(scope="module")
def least(tmp_path_factory):
    """The least space, in kB, in which the system can load the command at all."""
    folder = tmp_path_factory.mktemp("least")
    low, high = 10_000, 400_000
    if limited(high, ["--version"], folder).rc:
        pytest.skip("sanitizers want more space than there is")
    while high - low > 500:
        middle = (low + high) // 2
        low, high = (middle, high) if limited(middle, ["--version"], folder).rc else (low, middle)
    return high


@pytest.mark.mends("small - memory is out in oneDNN")
@pytest.mark.parametrize("verb", VERBS)
def test_out_of_memory(verb, least, tmp_path):
    """One message or success, whatever the space."""
    if os.environ.get("QONNX_LONG"):
        spaces = range(least, 400_000, 1000)
    else:
        spaces = [*range(least, least + 32_000, 2000), 100_000, 150_000, 200_000, 300_000]
    failed = 0
    for space in spaces:
        result = limited(space, VERBS[verb], tmp_path)
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if result.rc == 0:
            continue
        failed += 1
        assert (result.rc, result.stderr.count("\n")) == (1, 1), f"{space} kB: {result}"
        assert any(why in result.stderr for why in WHYS), f"{space} kB: {result}"
        assert not left, f"{space} kB"
    assert failed
