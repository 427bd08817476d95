"""One table of bad and odd input: files, wire format, graphs, tensors, external data, data sets, the
environment, plugins, and names that get into generated code. What is bad is answered by one message
that names what is wrong, with status 1; nothing is left behind, and what stood at the output is intact.
What is odd but legal is done, with a warning where one is due. The rows are in bad_inputs/."""

import os
import re
import resource
import subprocess
import tempfile
from pathlib import Path

import onnx
import pytest
from bad_inputs import (code, counted, datasets, elementwise, environment, external_data, files,  # noqa: F401
                        graphs, integers, limits, metrics, ml, moved, norms, numeric, plugins,
                        programs, recurrent, sequences, strings, tensors, turns, wire)
from bad_inputs.table import LIBRARY, NOBODY, ROWS, SANITIZED
from conftest import COMMAND

PRECIOUS = "precious"


def listing(folder):
    """All paths below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def outputs(folder):
    """What stands at the outputs, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for top in ("out.onnx", "outdir")
            for p in [folder / top, *(folder / top).rglob("*")] if p.is_file()}


def prepare(bad):
    """What the new process does before it becomes the command; None: nothing."""

    def limit():
        for what, most in bad.limits.items():
            resource.setrlimit(what, (most, most))

    return limit if bad.limits else None


def usual(arguments, more):
    """Runs the command."""
    return subprocess.run([COMMAND, *arguments], stdin=more.pop("stdin", subprocess.DEVNULL), **more)


def run_row(bad, folder):
    """Runs a row's command in a folder. Gives how it ended, and the folder's listing and outputs before."""
    made, outdir = folder / "made", folder / "outdir"
    for f in (made, outdir):
        f.mkdir()
    for f in (folder / "out.onnx", outdir / "README"):
        f.write_text(PRECIOUS)
    stands = {"OUT": folder / "out.onnx", "OUTDIR": outdir}
    arguments = [a if isinstance(a, bytes) else str(stands.get(a, a) if isinstance(a, str) else a)
                 for a in bad.make(made)]
    if bad.nobody and os.geteuid() == 0:
        for f in (folder, *folder.rglob("*")):
            os.chown(f, NOBODY, NOBODY, follow_symlinks=False)
    before = listing(folder), outputs(folder)
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace",
            "timeout": bad.timeout, "env": os.environ | {k: str(v) for k, v in bad.env.items()},
            "preexec_fn": prepare(bad), "cwd": made}
    if bad.nobody and os.geteuid() == 0:
        more |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return (bad.how or usual)(arguments, more | bad.popen), before


def said(done):
    """The lines on standard error: messages and warnings. There is nothing else."""
    lines = [line for line in (done.stderr or "").splitlines() if not line.startswith(("Try ", "input: "))]
    assert all(line.startswith("qonnx: ") for line in lines), done.stderr
    warnings = [line for line in lines if line.startswith("qonnx: warning: ")]
    return [line for line in lines if line not in warnings], warnings


def refused(bad, done, folder, before):
    """One message, nothing left behind, nothing lost."""
    assert done.returncode == bad.status, done
    messages, _ = said(done)
    assert len(messages) == bool(bad.message), done.stderr
    assert not bad.message or re.search(bad.message, messages[0]), messages[0]
    assert listing(folder) == before[0], "something was left behind"
    assert outputs(folder) == before[1], "the previous output is gone"


def calibrated_with_few(done):
    """Whether the summary tells of fewer samples than 20."""
    count = re.search(r"^(?:calibration  |samples +)(\d+)", done.stdout or "", re.MULTILINE)
    return count and int(count[1]) < 20


def taken(bad, done, folder, before):
    """The output is there and whole, and nothing else; a warning where one is wanted, beside that of
    few samples, which is there exactly where they are few."""
    assert done.returncode == 0, done
    messages, warnings = said(done)
    assert not messages, messages
    few = [line for line in warnings if re.search(r"only \d+ samples? to calibrate with", line)]
    assert len(few) == bool(calibrated_with_few(done)), done
    warnings = [line for line in warnings if line not in few]
    assert bool(warnings) == bool(bad.message), warnings
    assert not bad.message or any(re.search(bad.message, line) for line in warnings), warnings
    left = set(listing(folder)) ^ set(before[0])
    assert all(name.startswith("outdir/") for name in left), left
    made = outputs(folder)
    if made["out.onnx"] != before[1]["out.onnx"]:
        onnx.ModelProto.FromString(made["out.onnx"])
    assert made != before[1] or done.stdout, "nothing was made"


@pytest.fixture
def place(request, tmp_path):
    """A folder for a row; one that everybody can enter where the row wants that."""
    if not ROWS[request.node.callspec.params["name"]].nobody:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder).resolve()


def marked(name):
    """The row as a parameter, with its marker."""
    fault = ROWS[name].mends
    return pytest.param(name, marks=[pytest.mark.mends(fault)] if fault else [])


@pytest.mark.parametrize("name", [marked(name) for name in ROWS])
def test_row(name, qonnx, place):
    bad = ROWS[name]
    if bad.plain and SANITIZED:
        pytest.skip("the sanitizer needs room, and must be loaded first")
    if name.startswith("plugin: ") and not LIBRARY.exists():
        pytest.skip(f"{COMMAND.parent} is no build directory")
    if bad.nobody and os.geteuid() == 0:
        seen = subprocess.run([COMMAND, "--version"], user=NOBODY, capture_output=True, cwd="/")
        if seen.returncode:
            pytest.skip(f"another user cannot run {COMMAND}")
    done, before = run_row(bad, place)
    (refused if bad.status else taken)(bad, done, place, before)
    if bad.check:
        bad.check(place / "made", place / "out.onnx", done)
