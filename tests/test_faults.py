"""Calls that fail, one after the other: every allocation and every operation on files of small runs
of the command. It ends with status 1 and a message; no half file is left, and what stood at the
output is intact. Or it can do without, and the output is what it is otherwise.

QONNX_LONG=1 in the environment fails every call instead of a spread of them."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import COMMAND, TESTDATA, run_command
from onnx import numpy_helper

SHIM = COMMAND.parent / "tests" / "faults" / "libfaults.so"
SPREAD = None if os.environ.get("QONNX_LONG") else 120  # failures a command and kind
SIGMA = COMMAND.parent / "plugins" / "sigma.so"
DIGITS = TESTDATA / "digits.onnx"
FORMS = TESTDATA / "forms"

# Arguments of the commands; IN stands for a folder of samples, SET for one of input_K.pb, QCAL for
# their statistics, INT8 for the quantized model, OUT for the output, FOLDER for a directory as output, AGAIN for one that holds an
# earlier output.
COMMANDS = {
    "inspect": ["inspect", FORMS / "everything_carried.onnx"],
    "inspect as JSON": ["inspect", DIGITS, "--json"],
    "round trip": ["quantize", FORMS / "everything_carried.onnx", "--pipeline", "", "-o", "OUT"],
    "external data": ["quantize", FORMS / "external_data.onnx", "--pipeline", "", "-o", "OUT"],
    "passes": ["quantize", FORMS / "old_opset.onnx", "--pipeline", "raise-opset,fold-constants", "-o", "OUT"],
    "calibrate": ["calibrate", DIGITS, "IN", "-o", "OUT", "-j", 1, "--engine", "portable"],
    "quantize": ["quantize", DIGITS, "--data", "IN", "-o", "OUT", "-j", 1, "--engine", "portable"],
    "quantize later": ["quantize", DIGITS, "--calibration", "QCAL", "-o", "OUT"],
    "merge": ["merge", "QCAL", "-o", "OUT"],
    "merge to standard output": ["merge", "QCAL", "-q", "-o", "-"],
    "calibrate to standard output": ["calibrate", DIGITS, "IN", "-q", "-o", "-", "-j", 1, "--engine", "portable"],
    "inspect statistics": ["inspect", "QCAL"],
    "entropy": ["quantize", DIGITS, "--data", "IN", "-o", "OUT", "-j", 1, "--observer", "entropy"],
    "percentile": ["quantize", DIGITS, "--data", "IN", "-o", "OUT", "-j", 1, "--observer", "percentile"],
    "another target": ["quantize", DIGITS, "--data", "IN", "-o", "OUT", "-j", 1, "--target", "ort-arm"],
    "no pass": ["quantize", DIGITS, "--pipeline", "", "-o", "OUT"],
    "run": ["run", DIGITS, "--data", "IN", "-j", 2, "--engine", "portable"],
    "check": ["run", DIGITS, "--data", "SET", "--check", "--engine", "portable"],
    "run to files": ["run", DIGITS, "--data", "IN", "-o", "FOLDER", "-j", 1, "--engine", "portable"],
    "compile": ["compile", DIGITS, "-o", "FOLDER"],
    "compile again": ["compile", DIGITS, "-o", "AGAIN"],
    "compile integers": ["compile", TESTDATA / "fuzz" / "compile" / "quantized", "-o", "FOLDER", "--io", "int8",
                         "--weights", "bin"],
    "plugins": ["passes", "--plugin", SIGMA, "--json"],
    "evaluate": ["evaluate", DIGITS, "--data", "IN", "--json", "-j", 1, "--engine", "portable"],
    "layers": ["evaluate", DIGITS, "INT8", "--data", "IN", "--layers", "--limit", 2, "-j", 1, "--engine", "portable"],
}

# What differs from run to run in what the commands print.
TIMES = rb"[0-9.]+ (s|ms|samples/s)\b|\"seconds\": [0-9.e-]+"


@pytest.fixture(scope="module")
def inputs(qonnx, tmp_path_factory):
    """The folders and files that the commands read."""
    if not SHIM.is_file():
        pytest.skip(f"{SHIM} is not built")
    if b"__asan_init" in (COMMAND.parent / "libqonnx.so").read_bytes():
        pytest.skip("the sanitizer must be loaded first")
    top = tmp_path_factory.mktemp("faults")
    pictures = sorted((TESTDATA / "digits" / "calibration").glob("*/*.png"))[::60]
    for picture in pictures:
        (top / "in" / picture.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, top / "in" / picture.parent.name)
    first = top / "in" / pictures[0].parent.name
    np.save(first / "array.npy", np.zeros((1, 1, 8, 8), np.float32))
    (top / "set").mkdir()
    zeros = numpy_helper.from_array(np.zeros((1, 1, 8, 8), np.float32))
    (top / "set" / "input_0.pb").write_bytes(zeros.SerializeToString())
    run_command("run", DIGITS, "--data", top / "set", "-o", top / "wanted")
    wanted = numpy_helper.from_array(np.load(top / "wanted" / "output_0.npy"))
    (top / "set" / "output_0.pb").write_bytes(wanted.SerializeToString())
    qcal = top / "m.qcal"
    assert run_command("calibrate", DIGITS, top / "in", "-o", qcal, "--engine", "portable").rc == 0
    assert run_command("compile", DIGITS, "-o", top / "earlier", "--weights", "bin").rc == 0
    assert run_command("quantize", DIGITS, "--calibration", qcal, "-o", top / "int8.onnx").rc == 0
    return {"earlier": top / "earlier", "IN": top / "in", "SET": top / "set", "QCAL": qcal, "INT8": top / "int8.onnx"}


def run_with_fault(arguments, kind, at):
    """Runs the command while call `at` fails. Gives its status, output and whether the call came."""
    read, write = os.pipe()
    faults = {"LD_PRELOAD": str(SHIM), "FAULT_KIND": kind.removeprefix("named "),
              "FAULT_NO_TMPFILE": str(int("named" in kind)), "FAULT_AT": str(at), "FAULT_FD": str(write)}
    try:
        done = subprocess.run([COMMAND, *arguments], capture_output=True, timeout=20, pass_fds=[write],
                              stdin=subprocess.DEVNULL, env=os.environ | faults)
    finally:
        os.close(write)
        came = os.read(read, 64) != b""
        os.close(read)
    return done, came


class Trial:
    """Runs of one command, each with another call that fails."""

    def __init__(self, arguments, kind, folder, earlier):
        self.kind, self.folder = kind, folder
        self.arguments = arguments
        self.before = {"out": b"precious"}
        self.earlier = earlier if "AGAIN" in arguments else None
        if self.earlier:
            self.before |= {f"again/{p.name}": p.read_bytes() for p in earlier.iterdir()}
        self.injected = 0
        self.wrong = []
        self.wanted = self.run(0)[:2]

    def run(self, at):
        """Status, what was made and printed, the message, and whether the call came."""
        here = self.folder / str(at)
        here.mkdir()
        (here / "out").write_bytes(b"precious")
        if self.earlier:
            shutil.copytree(self.earlier, here / "again")
        done, came = run_with_fault([here / a.lower() if a in ("OUT", "FOLDER", "AGAIN") else a
                                     for a in self.arguments], self.kind, at)
        printed = re.sub(TIMES, b"", done.stdout.replace(bytes(here), b"HERE"))
        files = {str(p.relative_to(here)): p.read_bytes() for p in here.rglob("*") if p.is_file()}
        shutil.rmtree(here)
        return done.returncode, (files, printed), done.stderr, came

    def fail(self, at):
        """Fails call `at`; false when there are not that many."""
        status, made, message, came = self.run(at)
        if not came:
            return False
        self.injected += 1
        whole = made[0] in (self.before, self.wanted[1][0])
        refused = status == 1 and message.startswith(b"qonnx: ") and whole
        if not refused and (status, made) != self.wanted:
            self.wrong.append((at, status, sorted(made[0]), made[1][:300], message[:300]))
        return True

    def fail_all(self):
        """Fails every call, or a spread of them."""
        last = 1
        while self.fail(last):
            last *= 2
        step = max(1, last // SPREAD) if SPREAD else 1
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.fail, (i for i in range(1, last) if i % step == 0 and i & (i - 1))))


# "named io" are calls on files where the file system has no files without names.
@pytest.mark.parametrize("name, kind", [(name, kind) for kind in ("memory", "io") for name in COMMANDS] +
                         [(name, "named io") for name in ("quantize", "no pass", "compile again")])
def test_faults(name, kind, inputs, tmp_path, record_property):
    arguments = [inputs.get(a, a) if isinstance(a, str) else str(a) for a in COMMANDS[name]]
    trial = Trial(arguments, kind, tmp_path, inputs["earlier"])
    trial.fail_all()
    record_property("injected", trial.injected)
    print(f"{trial.injected} calls failed")
    assert trial.injected and trial.wrong[:5] == []


def test_file_cut_while_it_is_read(inputs, tmp_path):
    """Another process shortens a file that is mapped: a message, not a crash."""
    model, out = tmp_path / "m.onnx", tmp_path / "out.onnx"
    shutil.copy(DIGITS, model)
    done = subprocess.run([COMMAND, "quantize", model, "--pipeline", "", "-o", out], capture_output=True,
                          env=os.environ | {"LD_PRELOAD": str(SHIM), "FAULT_CUT": "1"}, timeout=20)
    assert done.returncode == 1 and done.stderr.startswith(b"qonnx: "), done
    assert os.listdir(tmp_path) == ["m.onnx"]
