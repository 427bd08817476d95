"""The build itself: what meson says where a library is missing or of a version that qonnx does not
know, and that what is installed runs from where it was put."""

import os
import subprocess

import pytest
from conftest import COMMAND, ROOT, TESTDATA

NO_ONEDNN = "-Donednn=disabled"


def setup(folder, *options, **environment):
    """How `meson setup` ends: status and what it printed."""
    done = subprocess.run(["meson", "setup", "-Dtests=false", *options, folder, ROOT], text=True,
                          capture_output=True, env=os.environ | environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version, verdict", [("2.5.4", "too old"), ("4.0.0", "too new")])
def test_other_onednn(version, verdict, tmp_path):
    """A library whose API we do not know is named with what to do, not met by the compiler."""
    header = tmp_path / "include" / "oneapi" / "dnnl" / "dnnl_version.h"
    header.parent.mkdir(parents=True)
    header.write_text("".join(f"#define DNNL_VERSION_{part} {number}\n" for part, number in
                              zip(("MAJOR", "MINOR", "PATCH"), version.split("."))))
    if "Library dnnl found: YES" not in setup(tmp_path / "plain")[1]:
        pytest.skip("no oneDNN on this machine")
    status, said = setup(tmp_path / "build", f"-Dc_args=-I{tmp_path}/include")
    assert status != 0
    assert f"oneDNN {version} is {verdict}" in said and NO_ONEDNN in said
    status, said = setup(tmp_path / "without", f"-Dc_args=-I{tmp_path}/include", NO_ONEDNN)
    assert status == 0, said


def test_missing_library(tmp_path):
    """Debian's package is named."""
    status, said = setup(tmp_path / "build", PKG_CONFIG_LIBDIR=str(tmp_path))
    assert status != 0
    assert "libprotobuf-c >=1.4 is needed: install libprotobuf-c-dev" in said


@pytest.mark.mends("small - an installed command does not find its library")
def test_installed(tmp_path):
    """The command finds its library beside it, with nothing set in the environment."""
    build = COMMAND.parent
    if not (build / "build.ninja").is_file():
        pytest.skip(f"{build} is not a build")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path], check=True,
                   stdout=subprocess.DEVNULL)
    command = next(tmp_path.glob("**/bin/qonnx"))
    libraries = {key: os.environ[key] for key in os.environ if key != "LD_LIBRARY_PATH"}
    done = subprocess.run([command, "inspect", TESTDATA / "digits.onnx"], env=libraries, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "Conv" in done.stdout
