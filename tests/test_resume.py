"""Checkpoints: a run that was ended goes on where it was, and ends in the same bytes."""

import os
import random
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
from bad_inputs.table import DIGITS, SANITIZED
from conftest import COMMAND, run_command
from test_shards import branching, calibrate

OFTEN = ["--checkpoint", "0.0001"]  # behind nearly every sample
ROWS = 2000 if SANITIZED else 20000


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Many samples for the bundled model."""
    path = tmp_path_factory.mktemp("pictures") / "rows.npy"
    np.save(path, np.random.default_rng(5).integers(0, 256, (ROWS, 1, 8, 8)).astype(np.uint8))
    return DIGITS, path


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Samples of a model with branches, in 6,000 files of which one is damaged and some hold NaN."""
    top = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(6)
    (top / "samples").mkdir()
    for i in range(6000):
        values = rng.normal(size=(1, 6)).astype(np.float32)
        values[0, 0] = np.nan if i in (70, 5950) else values[0, 0]
        np.save(top / "samples" / f"{i:04}.npy", values)
    (top / "samples" / "0060.npy").write_bytes(b"\x93NUMPY")
    return branching(top / "branching.onnx"), top / "samples"


def start(one, out, *options, **more):
    """Starts calibrating; with Ctrl-C as a terminal has it: what a shell starts in the background ignores it."""
    model, samples = one
    return subprocess.Popen([COMMAND, "calibrate", model, samples, "-o", out, *map(str, options)], text=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            **{"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more})


def part(out):
    return out.with_name(out.name + ".part")


def written(path):
    """Which file it is; False: none."""
    return path.exists() and path.stat().st_mtime_ns


class TooLate(AssertionError):
    """The run was over before it could be ended."""


def end(one, out, number, *options):
    """Ends a run by a signal as soon as it has written a checkpoint."""
    before = written(part(out))
    run = start(one, out, "-j1", *OFTEN, *options)
    os.setpriority(os.PRIO_PROCESS, run.pid, 19)  # or a busy machine may be late to end it
    while written(part(out)) == before and run.poll() is None:
        time.sleep(0.001)
    run.send_signal(number)
    message = run.communicate()[1]
    if run.returncode == 0:
        raise TooLate
    assert part(out).exists() and not out.exists()
    return run.returncode, message


def interrupt(one, out, number, *several):
    """Ends runs, each with one of these lists of options, one behind the other; all anew where one was over too early."""
    for left in reversed(range(40)):
        try:
            return [end(one, out, number, *options) for options in several]
        except TooLate:
            out.unlink()
            part(out).unlink(missing_ok=True)
            if not left:
                raise


def test_kill_at_random_moments(pictures, tmp_path):
    """Killed 30 times, each time going on."""
    whole = calibrate(pictures, tmp_path / "whole.qcal")
    out, chance = tmp_path / "m.qcal", random.Random(11)
    for _ in range(30):
        run = start(pictures, out, "--resume", "--checkpoint", "0.01", "-j", chance.randint(1, 3))
        time.sleep(chance.uniform(0, 0.15))
        run.kill()
        run.communicate()
        if run.returncode == 0:  # it was faster
            assert out.read_bytes() == whole
            out.unlink()
    assert calibrate(pictures, out, "--resume") == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.qcal", "whole.qcal"]


def test_interrupt(vectors, tmp_path):
    """Ctrl-C writes what was counted; the rest is all that is run afterwards."""
    whole = tmp_path / "whole.qcal"
    wanted = run_command("calibrate", *vectors, "-o", whole)
    assert "0060.npy" in wanted.stderr and "1 of 6000 samples are damaged" in wanted.stderr
    assert "holds NaN values with the sample" in wanted.stderr and "0070.npy, and others follow" in wanted.stderr
    out = tmp_path / "m.qcal"
    ends = interrupt(vectors, out, signal.SIGINT, [], ["--resume"], ["--resume"])
    assert [status for status, _ in ends] == [130] * 3
    resumed = run_command("calibrate", *vectors, "-o", out, "--resume")
    assert resumed.rc == 0 and resumed.stderr == wanted.stderr
    assert out.read_bytes() == whole.read_bytes() and not part(out).exists()


@pytest.mark.parametrize("shard", ["1/1", "2/3"])
@pytest.mark.parametrize("batch", [1, 7])
def test_shards_and_batches(tmp_path, shard, batch):
    np.save(tmp_path / "rows.npy", np.random.default_rng(8).normal(size=(4000, 6)).astype(np.float32))
    one = branching(tmp_path / "m.onnx", batch), tmp_path / "rows.npy"
    whole = calibrate(one, tmp_path / "whole.qcal", "--shard", shard)
    interrupt(one, tmp_path / "m.qcal", signal.SIGKILL, ["--shard", shard])
    assert calibrate(one, tmp_path / "m.qcal", "--shard", shard, "--resume", "-j4") == whole


def test_only_the_rest_is_run(vectors, tmp_path):
    """Samples of the checkpoint are not read again: they may be gone, but for their sizes."""
    model, samples = vectors
    whole = calibrate(vectors, tmp_path / "whole.qcal")
    copy = tmp_path / "samples"
    copy.mkdir()
    for path in samples.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    interrupt((model, copy), tmp_path / "m.qcal", signal.SIGKILL, [])
    (copy / "0000.npy").write_bytes(bytes(len((copy / "0000.npy").read_bytes())))
    assert calibrate((model, copy), tmp_path / "m.qcal", "--resume") == whole


def test_full_disk(pictures, tmp_path):
    """Where a checkpoint cannot be written the run goes on without."""
    whole = calibrate(pictures, tmp_path / "whole.qcal")
    out = tmp_path / "m.qcal"
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    run = start(pictures, out, "--checkpoint", "0.01", "-j1", preexec_fn=small)
    warning = run.stderr.readline()
    assert "m.qcal.part: cannot write: File too large" in warning and "going on without a checkpoint" in warning
    assert not part(out).exists()
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.communicate()
    assert run.returncode == 0 and out.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.qcal", "whole.qcal"]


def test_without_checkpoints(vectors, tmp_path):
    run = start(vectors, tmp_path / "m.qcal", "--checkpoint", 0, "-q")
    run.communicate()
    assert run.returncode == 0 and [p.name for p in tmp_path.iterdir()] == ["m.qcal"]


def test_nothing_to_resume(vectors, tmp_path):
    whole = calibrate(vectors, tmp_path / "whole.qcal")
    result = run_command("calibrate", *vectors, "-o", tmp_path / "m.qcal", "--resume")
    assert result.rc == 0 and "m.qcal.part: is not there; starting with the first sample" in result.stderr
    assert (tmp_path / "m.qcal").read_bytes() == whole
    refused = run_command("calibrate", *vectors, "-o", "-", "--resume")
    assert refused.rc == 2 and "--resume wants a file" in refused.stderr


def test_another_run(vectors, pictures, tmp_path):
    """A checkpoint fits what it was made of alone."""
    model, samples = vectors
    out = tmp_path / "m.qcal"
    interrupt(vectors, out, signal.SIGKILL, [])
    checkpoint = part(out).read_bytes()
    for one, options, message in [
        (vectors, ["--engine", "portable"], "this run and {}: were taken by different engines"),
        (vectors, ["--limit", "100"], "{}: is the checkpoint of a run over other samples"),
        (vectors, ["--shard", "1/2"], "{}: is the checkpoint of a run over other samples"),
        (vectors, ["--pass", "fold-constants"], "were taken behind different passes"),
        ((model, samples / "0001.npy"), [], "{}: is the checkpoint of a run over other samples"),
        (pictures, [], "were taken on different models"),
    ]:
        result = run_command("calibrate", *one, "-o", out, "--resume", *options)
        assert result.rc == 1 and message.format(part(out)) in result.stderr, (options, result.stderr)
        assert "begin again, without --resume" in result.stderr and "--force" not in result.stderr
        assert part(out).read_bytes() == checkpoint and not out.exists()
    anew = run_command("calibrate", *vectors, "-o", out)
    assert "m.qcal.part: is the checkpoint of a run that did not end; it is replaced" in anew.stderr
    assert out.read_bytes() == calibrate(vectors, tmp_path / "whole.qcal") and not part(out).exists()


def test_checkpoints_are_no_statistics(vectors, tmp_path):
    out = tmp_path / "m.qcal"
    interrupt(vectors, out, signal.SIGKILL, [])
    for arguments in ["merge", part(out)], ["quantize", vectors[0], "--calibration", part(out)], ["inspect", part(out)]:
        to = [] if arguments[0] == "inspect" else ["-o", tmp_path / "x"]
        result = run_command(*arguments, *to)
        assert result.rc == 1 and "m.qcal.part: is the checkpoint of a run that did not end" in result.stderr
    whole = calibrate(vectors, tmp_path / "whole.qcal")
    part(out).write_bytes(whole)
    result = run_command("calibrate", *vectors, "-o", out, "--resume")
    assert result.rc == 1 and "m.qcal.part: is no checkpoint" in result.stderr
    for damaged, message in [(whole[:1000], "damaged"), (b"", "not a qonnx calibration file")]:
        part(out).write_bytes(damaged)
        result = run_command("calibrate", *vectors, "-o", out, "--resume")
        assert result.rc == 1 and f"m.qcal.part: {message}" in result.stderr
