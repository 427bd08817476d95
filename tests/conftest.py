"""Fixtures of the Python tests: the command, and models and data that do not lie in the
repository.

Environment: QONNX is the command (default build/qonnx), QONNX_SHARED the folder with the larger
trained models, their data and tools/score.py (default ../shared beside the checkout; tests that
need it are skipped where it is absent).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTDATA = ROOT / "testdata"
COMMAND = Path(os.environ.get("QONNX", ROOT / "build" / "qonnx")).resolve()
SHARED = Path(os.environ.get("QONNX_SHARED", ROOT.parent / "shared"))


class Result(NamedTuple):
    """How a command ended: exit status (negative: killed by that signal) and what it printed."""

    rc: int
    stdout: str
    stderr: str


def run_command(*args, timeout=600, **popen):
    """Runs the command with these arguments, converted to text."""
    done = subprocess.run(
        [str(COMMAND), *map(str, args)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        **popen,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def pytest_configure(config):
    config.addinivalue_line("markers", "mends(fault): holds a fault that an earlier command had; "
                                       "tools/faults.py shows that the test finds it there")


def pytest_collection_modifyitems(items):
    """Reports carry the fault, from processes of pytest-xdist too."""
    for item in items:
        mark = item.get_closest_marker("mends")
        if mark:
            item.user_properties.append(("mends", mark.args[0]))


@pytest.fixture(scope="session")
def qonnx():
    """The path of the command."""
    assert COMMAND.is_file(), f"{COMMAND} is not built; QONNX may name another"
    return COMMAND


@pytest.fixture(scope="session")
def run(qonnx):
    """run(ARGUMENT...) gives a Result, whatever the exit status."""
    return run_command


@pytest.fixture(scope="session")
def done(qonnx):
    """done(ARGUMENT...) is for what must succeed: gives the standard output."""

    def must(*args, **more):
        result = run_command(*args, **more)
        assert result.rc == 0, (
            f"qonnx {' '.join(map(str, args))}: status {result.rc}\n{result.stderr}"
        )
        return result.stdout

    return must


@pytest.fixture(scope="session")
def shared():
    """The folder of larger models and data."""
    if not (SHARED / "tools" / "score.py").is_file():
        pytest.skip(f"no models at {SHARED}; QONNX_SHARED names the folder")
    return SHARED


@pytest.fixture(scope="session")
def npy(shared, tmp_path_factory):
    """npy(DATASET) gives a folder with calibration/ and test/: the samples, one .npy each."""
    made = {}

    def folder(dataset):
        if dataset not in made:
            made[dataset] = tmp_path_factory.mktemp(dataset)
            script = shared / "tools" / "score.py"
            subprocess.run([sys.executable, script, "--npy", made[dataset], dataset], check=True)
        return made[dataset]

    return folder


@pytest.fixture(scope="session")
def vnni():
    """For tests of integers in other runtimes: without these instructions their sums saturate."""
    if not {"avx512_vnni", "avx_vnni"} & set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("this processor has no VNNI instructions: 8-bit sums saturate in the runtime")
