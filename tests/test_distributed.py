"""The examples of docs/distributed: each ends in the bytes of one process."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
from bad_inputs.table import CALIBRATION, DIGITS
from conftest import COMMAND, ROOT
from test_shards import calibrate, sets  # noqa: F401

EXAMPLES = ROOT / "docs" / "distributed"


def example(*command, **more):
    """Runs an example, which finds the command in the search path."""
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PATH": path} | more.pop("env", {}), **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", ["pictures", "branches"])
def test_xargs(sets, name, tmp_path):  # noqa: F811
    whole = calibrate(sets[name], tmp_path / "whole.qcal")
    example("sh", EXAMPLES / "shards.sh", *sets[name], tmp_path / "m.qcal", 5)
    assert (tmp_path / "m.qcal").read_bytes() == whole


@pytest.mark.parametrize("name", ["pictures", "branches"])
def test_open_mpi(sets, name, tmp_path):  # noqa: F811
    if not shutil.which("mpirun"):
        pytest.skip("no mpirun: tools/setup.sh mpi installs it")
    whole = calibrate(sets[name], tmp_path / "whole.qcal")
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    example("sh", EXAMPLES / "mpi.sh", *sets[name], tmp_path / "m.qcal", "-n", 7, "--oversubscribe", *root)
    assert (tmp_path / "m.qcal").read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.qcal", "whole.qcal"]


def test_spark(tmp_path):
    if not os.environ.get("QONNX_LONG"):
        pytest.skip("starting Spark takes long: QONNX_LONG=1")
    if not importlib.util.find_spec("pyspark") or not shutil.which("java"):
        pytest.skip("no PySpark (PyPI), or no Java for it")
    whole = calibrate((DIGITS, CALIBRATION), tmp_path / "whole.qcal")
    names = "".join(f"{p}\n" for p in sorted(CALIBRATION.glob("*/*.png"), key=lambda p: p.name[::-1]))
    local = {"MASTER": "local[2]", "PYSPARK_PYTHON": sys.executable, "PYSPARK_SUBMIT_ARGS": "--master local[2] pyspark-shell"}
    example(sys.executable, EXAMPLES / "spark.py", DIGITS, tmp_path / "m.qcal", 7, input=names, env=local)
    assert (tmp_path / "m.qcal").read_bytes() == whole
