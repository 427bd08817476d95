"""Metrics that are programs of the user: what they are given, and what becomes of those that fail."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scored import arrays, model, scores

COUNT = """#!{python}
import sys, pathlib, numpy as np
folder, labels = map(pathlib.Path, sys.argv[-2:])
lines = (folder / "samples.txt").read_text().splitlines()
y = [np.load(folder / "output_0" / f"{{i:06}}.npy") for i in range(len(lines))]
assert not sys.stdin.read()
print("not the answer", file=sys.stderr)
print(float(sum(a.sum() for a in y)) + int(sys.argv[1] if len(sys.argv) > 3 else 0) + len(labels.read_text().split()))
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def given(tmp_path):
    """The arguments of evaluate up to --metric, and the samples; the temporary folder is tmp_path/tmp."""
    x = np.random.default_rng(1).normal(size=(7, 1, 3, 4)).astype(np.float32)
    (tmp_path / "tmp").mkdir()
    return ["evaluate", model(tmp_path / "m.onnx", ["y"]), "--data", arrays(tmp_path / "data", x), "--metric"], x


def test_program(given, done, tmp_path):
    """It is given the outputs and the labels, or the samples' list; alone, or with arguments."""
    (_, m, *data, _), x = given
    script = executable(tmp_path / "count it", COUNT.format(python=sys.executable))
    (tmp_path / "l.txt").write_text("a b c")
    call = f"{sys.executable} '{script}' 1000"
    got = scores(done, m, m, *data, "--metric", script, "--metric", call)
    assert got[0] == got[1] == pytest.approx({str(script): x.sum() + 7, call: x.sum() + 1007}, abs=1e-4)
    got, = scores(done, m, *data, "--labels", tmp_path / "l.txt", "--metric", script)
    assert got[str(script)] == pytest.approx(x.sum() + 3, abs=1e-4)
    assert " count it " in done(*given[0], script).splitlines()[0]


def test_classes_are_in_the_list(tmp_path, done):
    arrays(tmp_path / "data" / "cat", np.ones((2, 1, 4), np.float32))
    arrays(tmp_path / "data" / "dog", np.ones((1, 1, 4), np.float32))
    script = executable(tmp_path / "it", "#!/bin/sh\ncut -d' ' -f2 \"$2\" | tr -d '\\n' | sed s/^/1/\n")
    got, = scores(done, model(tmp_path / "m.onnx", ["y"]), "--data", tmp_path / "data", "--metric", script)
    assert got[str(script)] == 1001


def left_running(mark):
    """Processes that have the mark in their environment."""
    found = []
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and f"MARK={mark}".encode() in open(f"/proc/{p}/environ", "rb").read().split(b"\0"):
                found.append(p)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("body, message", [
    ("echo one", "printed 'one'; want one number"), ("echo 1 2", "printed '1 2'; want one number"),
    ("true", "printed nothing"), ("echo nan", "printed 'nan'"), ("printf '1\\0002'", "printed '1'; want one number"),
    ("echo 1; exit 3", "ended with status 3"), ("kill -9 $$", "was ended by signal 9 (Killed)"),
    ("sleep 100", "was ended after 0.5 s; --metric-timeout"), ("sleep 100 & echo 1", "was ended after 0.5 s"),
    ("trap '' TERM; while :; do sleep 1; done", "was ended after 0.5 s"), ("exec >&-; sleep 100", "was ended after 0.5 s"),
    ("sleep 100 >/dev/null 2>&1 &", "printed nothing"), ("yes", "was ended when it had printed 4096 bytes")])
def test_program_that_fails(body, message, given, run, tmp_path):
    """One message, and nothing of it is left: no process, no file."""
    script = executable(tmp_path / "it", f"#!/bin/sh\n{body}\n")
    began, environment = time.monotonic(), {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "MARK": str(tmp_path)}
    result = run(*given[0], script, "--metric-timeout", 0.5, env=environment)
    assert result.rc == 1 and result.stderr.count("\n") == 1 and message in result.stderr, result
    assert time.monotonic() - began < 20 and not left_running(tmp_path)
    assert not any((tmp_path / "tmp").iterdir())


def test_words_that_are_no_command(given, run):
    result = run(*given[0], "nobody-has-this-command x")
    assert result.rc == 1 and result.stderr.endswith("is neither a metric nor a command that can be run (status 127)\n"), result


def test_interrupted(given, qonnx, tmp_path):
    """Ctrl-C ends the program with the command."""
    script = executable(tmp_path / "it", f"#!/bin/sh\ntouch '{tmp_path}/began'\nsleep 100\n")
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "MARK": str(tmp_path)}
    p = subprocess.Popen([qonnx, *given[0], script], env=environment, stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a shell's background ignores it
    while not (tmp_path / "began").exists():
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    assert p.wait(10) == 130 and not p.stderr.read()
    assert not left_running(tmp_path) and not any((tmp_path / "tmp").iterdir())
