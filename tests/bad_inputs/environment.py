"""Rows: statistics, options, outputs, limits, signals, streams and the rest of the machine."""

import os
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
from bad_inputs.graphs import nested_ifs
from bad_inputs.table import CALIBRATION, DIGITS, FLOAT, SANITIZED, model, relu, rewrite, row, samples, written
from conftest import COMMAND
from onnx import helper
from plugin_source import compile_source

MB = 1 << 20
SLOWER = 20 if SANITIZED else 1  # how many times longer a sample takes
CALIBRATE = ["calibrate", DIGITS, CALIBRATION, "-o", "OUT"]


def plain_row(name, message, arguments, status=1, **more):
    """A row whose arguments need nothing to be made."""
    row(name, message, status, **more)(lambda folder: list(arguments))


# ---- statistics and pipelines -------------------------------------------------------------------


def statistics_row(name, message, damage, model=DIGITS):
    """A row for statistics of the bundled model after damage(bytes), used on this model."""

    def arguments(folder):
        path = folder / "m.qcal"
        subprocess.run([COMMAND, "calibrate", "-q", DIGITS, CALIBRATION, "-o", path, "--limit", "3"], check=True)
        path.write_bytes(damage(path.read_bytes()))
        float_model = model(folder) if callable(model) else model
        return ["quantize", float_model, "--calibration", path, "-o", "OUT"]

    row("statistics " + name, message)(arguments)


statistics_row("that are none", r"not a qonnx calibration file", lambda b: DIGITS.read_bytes())
statistics_row("in an empty file", r"m\.qcal: not a qonnx calibration file", lambda b: b"")
statistics_row("cut short", r"m\.qcal: ", lambda b: b[: len(b) // 2])
statistics_row("with a bit that is another", r"m\.qcal: ", lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:])
statistics_row("of another model", r"m\.qcal|another model|other", lambda b: b, lambda folder: written(relu(), folder))



def merge_row(name, message, second, *options):
    """A row that merges statistics of a shard with what second(bytes) makes of them."""

    def arguments(folder):
        paths = [folder / "a.qcal", folder / "b.qcal"]
        subprocess.run([COMMAND, "calibrate", "-q", DIGITS, CALIBRATION, "-o", paths[0], "--shard", "3/40"], check=True)
        paths[1].write_bytes(second(paths[0].read_bytes()))
        return ["merge", *paths, "-o", "OUT", *options]

    row("merge " + name, message)(arguments)


merge_row("with a model", r"b\.qcal: not a qonnx calibration file", lambda b: DIGITS.read_bytes(), "--force")
merge_row("with an empty file", r"b\.qcal: not a qonnx calibration file", lambda b: b"")
merge_row("with one that is cut short", r"b\.qcal: damaged", lambda b: b[: len(b) // 2])
merge_row("with the same shard", r"b\.qcal: holds shard 3/40 of a list .*count twice; leave one out", lambda b: b)
plain_row("merge of what is not there", r"gone\.qcal: cannot be read: No such file", ["merge", "gone.qcal", "-o", "OUT"])
plain_row("merge of a directory", r"cannot be read: Is a directory", ["merge", CALIBRATION, "-o", "OUT"])
plain_row("shard of no shards", r"--shard' wants I/N", ["calibrate", DIGITS, CALIBRATION, "-o", "OUT", "--shard", "1/0"], 2)


@row("resume from what is no checkpoint", r"out\.qcal\.part: not a qonnx calibration file")
def _(folder):
    (folder / "out.qcal.part").write_bytes(b"\x0a\x11qonnx")
    return ["calibrate", DIGITS, CALIBRATION, "-o", folder / "out.qcal", "--resume"]


for name, text, message in [
    ("unknown pass", "fold-constant", r"no pass 'fold-constant'"),
    ("open brace", "calibrate{observer=mse", r"brace"),
    ("unknown option", "calibrate{observe=mse}", r"has no option 'observe'"),
    ("no value", "calibrate{observer}", r"no name=value"),
    ("unknown observer", "calibrate{observer=mean}", r"no observer 'mean'"),
    ("braces in braces", "calibrate{observer=" + "{" * 5000 + "}" * 5000 + "}", r"no observer|no name=value"),
    ("comma for a point", "calibrate{observer=percentile{p=99,9}}", r"no name=value|want a number"),
]:
    plain_row("pipeline: " + name, message, ["quantize", DIGITS, "--data", CALIBRATION, "--pipeline", text, "-o", "OUT"])

# ---- outputs ------------------------------------------------------------------------------------


@row("output in a missing directory", r"gone/out\.onnx: can not be written: No such file")
def _(folder):
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder / "gone" / "out.onnx"]


@row("output behind a file", r"f/out\.onnx: can not be written: Not a directory")
def _(folder):
    (folder / "f").write_text("")
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder / "f" / "out.onnx"]


@row("output that is a directory", r"is a directory; name a file")
def _(folder):
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder]


@row("output of too long a name", r"can not be written|File name too long")
def _(folder):
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder / ("x" * 300)]


plain_row("output of no name", r"no name|can not be written", ["quantize", DIGITS, "--pipeline", "", "-o", ""])
plain_row("output that is a device", r"/dev/full: is no regular file", ["quantize", DIGITS, "--pipeline", "", "-o", "/dev/full"])
plain_row("output where nothing can be made", r"/proc/m\.qcal: can not be written", ["calibrate", DIGITS, "gone", "-o",
                                                                                     "/proc/m.qcal"])


def locked(folder):
    """A directory that can only be read."""
    (folder / "locked").mkdir(mode=0o555)
    (folder / "digits.onnx").write_bytes(DIGITS.read_bytes())
    return folder / "digits.onnx", folder / "locked"


@row("output in a read-only directory", r"locked/m\.qcal: can not be written: Permission denied", nobody=True)
def _(folder):
    m, place = locked(folder)
    return ["calibrate", m, "no-samples", "-o", place / "m.qcal"]  # known before the samples are looked for


@row("quantized model in a read-only directory", r"locked/m\.onnx: can not be written: Permission denied", nobody=True)
def _(folder):
    m, place = locked(folder)
    return ["quantize", m, "--data", "no-samples", "-o", place / "m.onnx"]


@row("outputs in a read-only directory", r"locked/out: can not be made a directory: Permission denied", nobody=True)
def _(folder):
    m, place = locked(folder)
    return ["run", m, "--data", "no-samples", "-o", place / "out"]


FULL = {resource.RLIMIT_FSIZE: 1000}
NO_SPACE = r"(cannot|can not) (write|be written): (File too large|No space left)"
plain_row("full disk: rewrite", NO_SPACE, rewrite(DIGITS), limits=FULL)
plain_row("full disk: calibrate", NO_SPACE, CALIBRATE, limits=FULL)
plain_row("full disk: quantize", NO_SPACE, ["quantize", DIGITS, "--data", CALIBRATION, "-o", "OUT"], limits=FULL)
plain_row("full disk: compile", NO_SPACE, ["compile", DIGITS, "-o", "OUTDIR"], limits=FULL)
plain_row("full disk: compile to a new directory", NO_SPACE, ["compile", DIGITS, "-o", "new"], limits=FULL)
plain_row("full disk: outputs", NO_SPACE, ["run", DIGITS, "--data", CALIBRATION, "-o", "OUTDIR"],
          limits={resource.RLIMIT_FSIZE: 100})
plain_row("full disk: outputs in a new directory", NO_SPACE, ["run", DIGITS, "--data", CALIBRATION, "-o", "new"],
          limits={resource.RLIMIT_FSIZE: 100})


def private(made, out, done):
    """The rights of the file that was there."""
    assert out.stat().st_mode & 0o777 == 0o644


plain_row("umask that takes all rights", "", rewrite(DIGITS), status=0, popen={"umask": 0o777}, check=private)

# ---- streams ------------------------------------------------------------------------------------


def closed(*streams):
    """Runs the command with these streams closed."""

    def how(arguments, more):
        more |= {"preexec_fn": lambda: [os.close(s) for s in streams]}
        for s in streams:
            more[("stdin", "stdout", "stderr")[s]] = None
        return subprocess.run([COMMAND, *arguments], **more)

    return how


def nobody_reads(arguments, more):
    """Runs the command into a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run([COMMAND, *arguments], **more | {"stdout": write})
    finally:
        os.close(write)


def onto_full(arguments, more):
    """Runs the command with a full device as its standard output."""
    with open("/dev/full", "w") as full:
        return subprocess.run([COMMAND, *arguments], **more | {"stdout": full})


INSPECT, QUIETLY = ["inspect", DIGITS], ["quantize", DIGITS, "--pipeline", "", "-q", "-o", "OUT"]
plain_row("standard output closed", r"standard output: Bad file descriptor", INSPECT, how=closed(1))
plain_row("standard output that nobody reads", r"standard output: Broken pipe", INSPECT, how=nobody_reads)
plain_row("outputs that nobody reads", r"standard output: Broken pipe", ["run", DIGITS, "--data", CALIBRATION],
          how=nobody_reads)
plain_row("standard output that is full", r"standard output: No space left", INSPECT, how=onto_full)
plain_row("standard output closed, and not needed", "", QUIETLY, status=0, how=closed(1))
plain_row("all streams closed", "", QUIETLY, status=0, how=closed(0, 1, 2))

# ---- limits -------------------------------------------------------------------------------------

plain_row("4 open files", r"Too many open files", CALIBRATE, limits={resource.RLIMIT_NOFILE: 4}, plain=True)
plain_row("8 open files", "", ["quantize", DIGITS, "--data", CALIBRATION, "-o", "OUT", "-j", 1], status=0,
          limits={resource.RLIMIT_NOFILE: 8}, plain=True)
plain_row("no threads", r"cannot start a thread", [*CALIBRATE, "-j", 2], limits={resource.RLIMIT_NPROC: 1}, nobody=True,
          plain=True)


def huge(folder):
    """A model that makes 2 GiB of a few numbers."""
    m = model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [1 << 15, 1])],
              constants={"w": np.ones((1, 1 << 14), np.float32)})
    return ["run", written(m, folder), "--data", samples(folder, np.ones((1 << 15, 1), np.float32)), "--max-memory", "8G"]


row("memory that is out", r"out of memory", limits={resource.RLIMIT_AS: 1024 * MB}, plain=True)(huge)
row("small stack", status=0, limits={resource.RLIMIT_STACK: 256 << 10}, plain=True)(
    lambda folder: rewrite(written(nested_ifs(20), folder)))
DATA = ["quantize", DIGITS, "--data", CALIBRATION, "-o", "OUT"]
plain_row("more threads than cores", "", [*DATA, "-j", 500], status=0)
plain_row("many threads on one core", "", [*DATA, "-j", 64], status=0,
          popen={"preexec_fn": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})})
plain_row("more threads than a number holds", r"wants a whole number", [*CALIBRATE, "-j", 1 << 31], status=2)

# ---- surroundings -------------------------------------------------------------------------------


def same_as_usual(made, out, done):
    """The bytes do not show it."""
    usual = made / "usual.onnx"
    subprocess.run([COMMAND, "quantize", "-q", *PERCENTILE[1:-1], usual], check=True)
    assert usual.read_bytes() == out.read_bytes()


PERCENTILE = ["quantize", DIGITS, "--data", CALIBRATION, "--observer", "percentile{p=99.9}", "-o", "OUT"]
for name, env in [
    ("locale that is not there", {"LC_ALL": "de_DE.UTF-8", "LANG": "xx_XX"}),
    ("locale that writes commas", {"LC_ALL": "", "LC_NUMERIC": "de_DE.UTF-8"}),
    ("locale without UTF-8", {"LC_ALL": "C"}),
    ("no place for temporary files", {"TMPDIR": "/nowhere", "HOME": "/nowhere"}),
    ("odd terminal", {"TERM": "\x1b[31m", "COLUMNS": "-1"}),
]:
    plain_row(name, "", PERCENTILE, status=0, env=env, check=same_as_usual)


CLOCK = """
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static long long now = 2000000000;
    (void)id;
    t->tv_sec = (time_t)__atomic_sub_fetch(&now, 3600, __ATOMIC_RELAXED);
    t->tv_nsec = 0;
    return 0;
}
"""


@row("clock that runs backwards", status=0, plain=True, how=lambda arguments, more: subprocess.run(
    [COMMAND, *arguments], **more | {"env": more["env"] | {"LD_PRELOAD": str(more["cwd"] / "clock.so")}}))
def _(folder):
    compile_source(folder / "clock.so", CLOCK)
    return DATA


# ---- signals, and others at work ----------------------------------------------------------------


def long_data(folder):
    """Some seconds of calibration, by one thread."""
    np.save(folder / "long.npy", np.random.default_rng(0).uniform(0, 255, (30000, 1, 8, 8)).astype(np.float32))
    return ["calibrate", DIGITS, folder / "long.npy", "-o", "OUT", "-j", "1", "--engine", "portable"]


def interrupted(number):
    """Sends a signal while the command is at work, which does what it does whoever runs the tests."""

    def how(arguments, more):
        more.pop("timeout")
        if not more.get("preexec_fn") and number != signal.SIGKILL:
            more["preexec_fn"] = lambda: signal.signal(number, signal.SIG_DFL)
        process = subprocess.Popen([COMMAND, *arguments], stdin=subprocess.DEVNULL, **more)
        time.sleep(0.4)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return how


for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    row(f"{number.name} while calibrating", status=128 + number, how=interrupted(number))(long_data)
row("SIGKILL while calibrating", status=-signal.SIGKILL, how=interrupted(signal.SIGKILL))(long_data)


def ignored(arguments, more):
    """As nohup does it."""
    more["preexec_fn"] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return interrupted(signal.SIGHUP)(arguments, more)


@row("SIGHUP that is ignored", status=0, how=ignored, check=lambda made, out, done: None)
def _(folder):
    rng = np.random.default_rng(0)
    np.save(folder / "long.npy", rng.uniform(0, 255, (6000 // SLOWER, 1, 8, 8)).astype(np.float32))
    return ["quantize", DIGITS, "--data", folder / "long.npy", "-o", "OUT", "-j", "1", "--engine", "portable"]


def killed_and_again(arguments, more):
    """Kills the command at several moments; what comes of the run that is left alone is as ever."""
    whole = more["cwd"] / "whole.onnx"
    wanted = [whole if str(a).endswith("out.onnx") else a for a in arguments]
    assert subprocess.run([COMMAND, *wanted], **more).returncode == 0
    for moment in (0.05, 0.1, 0.2):
        process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.DEVNULL, cwd=more["cwd"])
        time.sleep(moment)
        process.kill()
        process.wait()
    done = subprocess.run([COMMAND, *arguments], **more)
    out = next(a for a in arguments if str(a).endswith("out.onnx"))
    assert open(out, "rb").read() == whole.read_bytes()
    whole.unlink()
    return done


@row("SIGKILL, and once more", status=0, how=killed_and_again)
def _(folder):
    np.save(folder / "long.npy", np.random.default_rng(0).uniform(0, 255, (3000 // SLOWER, 1, 8, 8)).astype(np.float32))
    return ["quantize", DIGITS, "--data", folder / "long.npy", "-o", "OUT", "-j", "1", "--engine", "portable"]


def at_once(arguments, more):
    """Four of them, with the same output."""
    more.pop("timeout")
    all_of_them = [subprocess.Popen([COMMAND, *arguments], stdin=subprocess.DEVNULL, **more) for _ in range(4)]
    ends = [(p.communicate(timeout=20), p.returncode) for p in all_of_them]
    assert [end[1] for end in ends] == [0] * 4
    return subprocess.CompletedProcess(arguments, 0, *ends[0][0])


plain_row("four processes with one output", "", PERCENTILE, status=0, how=at_once, check=same_as_usual)
plain_row("four processes with one output directory", "", ["compile", DIGITS, "-o", "OUTDIR"], status=0, how=at_once)

SHIM = COMMAND.parent / "tests" / "faults" / "libfaults.so"


@row("file cut while it is read", r"m\.onnx: was cut short while it was read; try again", plain=True,
     env={"LD_PRELOAD": SHIM, "FAULT_CUT": "1"})
def _(folder):
    if not SHIM.is_file():
        pytest.skip(f"{SHIM} is not built")
    (folder / "m.onnx").write_bytes(DIGITS.read_bytes())
    return rewrite(folder / "m.onnx")
