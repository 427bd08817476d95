"""Where memory is out, whoever finds it, the command ends as for any other trouble: one message,
status 1, no file written. And weights are in memory once."""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import COMMAND, TESTDATA, run_command
from onnx import TensorProto, helper, numpy_helper

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


def normalized(path, layers=8, width=512):
    """Convolutions with BatchNormalization, 75 MB; returns the bytes of the weights."""
    random, nodes, constants, x = np.random.default_rng(0), [], [], "x"
    for i in range(layers):
        tables = {"w": random.normal(size=(width, width, 3, 3)) / 68, "s": random.uniform(0.5, 1.5, width),
                  "b": random.normal(size=width), "m": random.normal(size=width), "v": random.uniform(0.5, 1.5, width)}
        constants += [numpy_helper.from_array(t.astype(np.float32), f"{n}{i}") for n, t in tables.items()]
        nodes += [helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
                  helper.make_node("BatchNormalization", [f"c{i}", *(f"{n}{i}" for n in "sbmv")], [f"n{i}"])]
        x = f"n{i}"
    shape = [1, width, 4, 4]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    np.save(path.parent / "x.npy", random.normal(size=shape).astype(np.float32))
    return layers * width * width * 9 * 4


def most_anonymous(command):
    """The most memory of its own, in bytes, that the process was seen with."""
    process, most = subprocess.Popen([str(a) for a in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"RssAnon:\s+(\d+)", status.read_text())
        most = max(most, int(found[1]) * 1024 if found else 0)
    assert process.returncode == 0
    return most


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_folded_weights_are_there_once(engine, tmp_path):
    """As kernels want them; what they were made from is in files."""
    if limited(400_000, ["--version"], tmp_path).rc:
        pytest.skip("sanitizers have memory of their own")
    folder = os.environ.get("TMPDIR") or "/var/tmp"
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        pytest.skip(f"{folder} is in memory")
    weights = normalized(tmp_path / "m.onnx")
    most = most_anonymous([COMMAND, "calibrate", tmp_path / "m.onnx", tmp_path / "x.npy", "-o", tmp_path / "m.qcal",
                           "--engine", engine, "-j", 1])
    assert weights < most < 1.25 * weights
