"""What a user could lose: files that are inputs, or would be for the next run, are never written over,
whatever they are called; and a process that is killed leaves outputs whole, and nothing for ever.

QONNX_LONG=1 in the environment kills at 200 moments instead of 30."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest
from conftest import COMMAND, TESTDATA, run_command
from onnx import TensorProto, helper, numpy_helper
from plugin_source import CC, make_plugin

DIGITS = TESTDATA / "digits.onnx"
MOMENTS = 200 if os.environ.get("QONNX_LONG") else 30
ZEROS = np.zeros((1, 1, 8, 8), np.float32)


def tree(folder):
    """Every file below a folder: its bytes, or where the link leads."""
    return {str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes()
            for p in sorted(folder.rglob("*")) if p.is_symlink() or p.is_file()}


@pytest.fixture
def place(tmp_path):
    """A folder with the model, and two samples of it in one folder a class."""
    shutil.copy(DIGITS, tmp_path / "m.onnx")
    pictures = sorted((TESTDATA / "digits" / "calibration").glob("*/*.png"))[::60]
    for i, picture in enumerate(pictures):
        (tmp_path / "data" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / "data" / str(i % 2) / f"{i:03}.png")
    return tmp_path


# ---- an output that is an input -----------------------------------------------------------------

CALIBRATE, QUANTIZE = ["calibrate", "m.onnx", "data"], ["quantize", "m.onnx", "--data", "data"]


def sample_by(name):
    """Arguments that write to the first sample by another name, which is made."""

    def make(here):
        {"hard link": os.link, "symlink": os.symlink}[name](here / "data" / "0" / "000.png", here / "out")
        return [*CALIBRATE, "-o", "out"]

    return make


def flat(here):
    """One folder of arrays."""
    (here / "flat").mkdir()
    for i in range(2):
        np.save(here / "flat" / f"{i}.npy", ZEROS)
    return ["quantize", "m.onnx", "--data", "flat"]


def plugin_file(here):
    shutil.copy(make_plugin(here / "build.so"), here / "p.so")
    return ["--plugin", "./p.so"]


def on_path(here, name):
    """A plugin on the search path, as an output."""
    (here / "plugins").mkdir()
    make_plugin(here / "plugins" / "p.so")
    return [*QUANTIZE, "-o", here / "plugins" / name], {"QONNX_PLUGIN_PATH": str(here / "plugins")}


def test_set(here):
    """The form of ONNX's backend tests."""
    (here / "set").mkdir()
    for kind in ("input", "output"):
        (here / "set" / f"{kind}_0.pb").write_bytes(numpy_helper.from_array(ZEROS).SerializeToString())
    return here / "set"


test_set.__test__ = False


def statistics(here):
    assert run_command(*CALIBRATE, "-o", "m.qcal", cwd=here).rc == 0
    os.link(here / "m.qcal", here / "same.onnx")
    return ["quantize", "m.onnx", "--calibration", "m.qcal", "-o", "same.onnx"]


def external(here):
    """A model with its weights in m.bin, where compiled C is to have its own."""
    onnx.save(onnx.load(DIGITS), here / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=64)
    compiled = ["compile", "m.onnx", "-o", ".", "--prefix", "m"]
    other = here / "other"
    other.mkdir()
    assert run_command("compile", DIGITS, "-o", other, "--prefix", "m").rc == 0
    for name in ("m.h", "m.c"):  # which says that qonnx made these files
        shutil.copy(other / name, here)
    return [*compiled, "--weights", "bin"]


def earlier_outputs(here):
    """Outputs of a run as the samples of the next, which writes to the same place."""
    (here / "out" / "output_0").mkdir(parents=True)
    for i in range(2):
        np.save(here / "out" / "output_0" / f"{i:06}.npy", ZEROS)
    return ["run", "m.onnx", "--data", "out/output_0", "-o", "out"]


def one_sample(here):
    (here / "out").mkdir()
    np.save(here / "out" / "output_0.npy", ZEROS)
    return ["run", "m.onnx", "--data", "out/output_0.npy", "-o", "out"]


def linked_class(here):
    """A class whose folder lies elsewhere."""
    shutil.move(here / "data" / "1", here / "elsewhere")
    os.symlink(here / "elsewhere", here / "data" / "1")
    return [*CALIBRATE, "-o", "elsewhere/new.png"]


# What is refused: what makes the arguments, and words of the message.
REFUSED = {
    "a sample": (lambda here: [*CALIBRATE, "-o", "data/0/000.png"], "is an input as well, a sample"),
    "a sample, spelled in another way": (lambda here: [*CALIBRATE, "-o", "data/1/..//0/./000.png"], "is an input as well"),
    "a sample by a hard link": (sample_by("hard link"), "is an input as well, a sample"),
    "a sample by a symbolic link": (sample_by("symlink"), "is an input as well, a sample"),
    "a sample of quantize": (lambda here: [*QUANTIZE, "-o", "data/0/000.png"], "is an input as well, a sample"),
    "a sample by NAME=PATH": (lambda here: ["quantize", "m.onnx", "--data", "image=data", "-o", "data/0/000.png"],
                              "is an input as well, a sample"),
    "a new sample": (lambda here: [*flat(here), "-o", "flat/a.npy"], "would be a sample for the next run"),
    "a new picture in a class": (lambda here: [*CALIBRATE, "-o", "data/0/x.PNG"], "would be a sample"),
    "a new sample beside the classes": (lambda here: [*QUANTIZE, "-o", "data/a.npy"], "would be a sample"),
    "labels": (lambda here: [*CALIBRATE, "-o", "data/labels.txt"], "would be a sample"),
    "a new sample in a linked class": (linked_class, "would be a sample"),
    "a new class of outputs": (lambda here: ["run", "m.onnx", "--data", "data", "-o", "data/out"], "would be a sample"),
    "outputs among the samples": (lambda here: ["run", *flat(here)[1:], "-o", "flat"], "would be a sample"),
    "outputs that are the samples": (earlier_outputs, "is an input as well, a sample"),
    "an output that is the sample": (one_sample, "is an input as well, a sample"),
    "outputs in a test set": (lambda here: ["run", "m.onnx", "--data", test_set(here), "-o", "set"], "would be a sample"),
    "a plugin": (lambda here: [*QUANTIZE, *plugin_file(here), "-o", "p.so"], "is an input as well, a plugin"),
    "a plugin of calibrate": (lambda here: [*CALIBRATE, *plugin_file(here), "-o", "p.so"], "a plugin"),
    "a plugin of the search path": (lambda here: on_path(here, "p.so"), "would be a plugin"),
    "a new plugin of the search path": (lambda here: on_path(here, "new.so"), "would be a plugin"),
    "the statistics": (statistics, "is an input as well, the statistics"),
    "external data, by compile": (external, "is an input as well, external data of the model"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.mends(f"loss - output is {name}"))
                                  for name in REFUSED])
def test_output_is_an_input(name, run, place):
    make, words = REFUSED[name]
    arguments = make(place)
    arguments, env = arguments if isinstance(arguments, tuple) else (arguments, {})
    before = tree(place)
    result = run(*arguments, cwd=place, env=os.environ | env)
    assert tree(place) == before, "something was lost"
    assert result.rc == 1 and result.stderr.count("qonnx: ") == 1, result
    assert words in result.stderr, result.stderr


@pytest.mark.mends("loss - output is refused after the work")
def test_output_is_refused_before_the_work(run, place):
    """No pass has run."""
    make_plugin(place / "p.so", run='fclose(fopen("worked", "w")); return true;', top="#include <stdio.h>")
    result = run(*CALIBRATE, "--plugin", "./p.so", "--pass", "mine", "-o", "data/0/000.png", cwd=place)
    assert result.rc == 1 and not (place / "worked").exists(), result


def test_output_beside_the_samples(done, place):
    """What is no sample to anyone may lie among them."""
    done(*CALIBRATE, "-o", "data/m.qcal", cwd=place)
    done(*QUANTIZE, "-o", "data/0/out.onnx", cwd=place)
    done("run", "m.onnx", "--data", "data/0/000.png", "-o", "data/0", cwd=place)  # DATA is one file


# ---- the command line ---------------------------------------------------------------------------

DASH = {
    "quantize": [*QUANTIZE],
    "compile": ["compile", "m.onnx"],
    "run": ["run", "m.onnx", "--data", "data"],
}


@pytest.mark.parametrize("verb", [pytest.param(v, marks=pytest.mark.mends("loss - an output called -")) for v in DASH])
def test_standard_output_as_output(verb, run, done, place):
    before = tree(place)
    for form in (["-o", "-"], ["-o-"], ["--output=-"]):
        result = run(*DASH[verb], *form, cwd=place)
        assert result.rc == 2 and "'./-' is a file of that name" in result.stderr, result
        assert tree(place) == before
    done(*DASH[verb], "-o", "./-", cwd=place)
    assert (place / "-").exists()


@pytest.mark.parametrize("option, values", [pytest.param(o, v, marks=pytest.mark.mends("loss - an option given twice"))
                                            for o, v in [("-o", "ab"), ("--target", ["ort-x86", "ort-arm"]),
                                                         ("-j", "12"), ("--max-bad", "12")]])
def test_option_given_twice(option, values, run, place):
    before = tree(place)
    result = run("quantize", "m.onnx", "--calibration", "m.qcal", *(["-o", "out"] if option != "-o" else []), option, values[0],
                 option, values[1], cwd=place)
    assert result.rc == 2 and "is given twice" in result.stderr, result
    assert tree(place) == before


# ---- NAME.bin of compiled C ---------------------------------------------------------------------


@pytest.fixture
def compiled(run, tmp_path):
    """compiled(WEIGHTS) compiles into one directory; gives how it ended, and the files."""

    def to_c(weights, **more):
        result = run("compile", DIGITS, "-o", tmp_path / "net", "--prefix", "net", "--weights", weights, **more)
        return result, tree(tmp_path / "net")

    return to_c


@pytest.mark.mends("loss - stale NAME.bin")
def test_stale_weights_go(compiled):
    _, alone = compiled("const")
    _, files = compiled("bin")
    assert "net.bin" in files
    result, files = compiled("const")
    assert result.rc == 0 and files == alone, list(files)


@pytest.mark.mends("loss - NAME.bin of somebody else")
@pytest.mark.parametrize("earlier", ["const", "bin"])
def test_weights_of_somebody_else_stay(earlier, compiled, tmp_path):
    compiled(earlier)
    (tmp_path / "net" / "net.bin").write_bytes(b"mine")
    before = tree(tmp_path / "net")
    result, files = compiled("bin")
    assert result.rc == 1 and "net.bin: is there already and not made by qonnx" in result.stderr, result
    assert files == before
    result, files = compiled("const")
    assert result.rc == 0 and files["net.bin"] == b"mine"


# ---- kill -9 ------------------------------------------------------------------------------------

KILLS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
/* Calls that make, change or name files; the one of the number KILL_AT is the end. */
static long count;
static void step(void)
{
    const char *at = getenv("KILL_AT");
    if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) == (at ? atol(at) : 0)) raise(SIGKILL);
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int named = flags & O_CREAT, unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    int mode = named || unnamed ? va_arg(args, int) : 0;
    va_end(args);
    if (unnamed && getenv("NO_TMPFILE")) return errno = EOPNOTSUPP, -1;
    if (named || unnamed) step();
    return REAL(open)(path, flags, mode);
}
FILE *fopen(const char *path, const char *mode)
{
    if (*mode == 'w') step();
    return REAL(fopen)(path, mode);
}
ssize_t write(int fd, const void *data, size_t bytes)
{
    const char *cut = getenv("CUT"), *keep = getenv("CUT_TO");
    if (cut && fd > 2 && syscall(SYS_truncate, cut, atol(keep))) abort();
    if (fd > 2) step();
    return REAL(write)(fd, data, bytes);
}
int fsync(int fd) { step(); return REAL(fsync)(fd); }
int rename(const char *a, const char *b) { step(); return REAL(rename)(a, b); }
int renameat2(int d, const char *a, int e, const char *b, unsigned f) { step(); return REAL(renameat2)(d, a, e, b, f); }
int linkat(int d, const char *a, int e, const char *b, int f) { step(); return REAL(linkat)(d, a, e, b, f); }
int unlink(const char *a) { step(); return REAL(unlink)(a); }
int unlinkat(int d, const char *a, int f) { step(); return REAL(unlinkat)(d, a, f); }
int mkdir(const char *a, mode_t m) { step(); return REAL(mkdir)(a, m); }
__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("KILL_COUNT");
    FILE *f = path ? REAL(fopen)(path, "w") : NULL;
    if (f) fprintf(f, "%ld", count), fclose(f);
}
"""


@pytest.fixture(scope="module")
def kills(tmp_path_factory):
    """The library that is loaded in front of the command to end it at a call; its environment."""
    if b"__asan_init" in (COMMAND.parent / "libqonnx.so").read_bytes():
        pytest.skip("the sanitizer must be loaded first")
    path = tmp_path_factory.mktemp("kills") / "kills.so"
    subprocess.run([CC, "-shared", "-fPIC", "-w", "-xc", "-", "-o", path, "-ldl"], input=KILLS, text=True, check=True)
    return {"LD_PRELOAD": str(path)}


# Commands to kill, which all write to "out".
KILLED = {
    "round trip": ["quantize", "m.onnx", "--pipeline", ""],
    "calibrate": CALIBRATE,
    "quantize": QUANTIZE,
    "compile": ["compile", "m.onnx"],
    "run": ["run", "m.onnx", "--data", "data"],
}


def earlier(name, folder):
    """What stands at the output before: an earlier one of the same form, and of other bytes."""
    folder.mkdir()
    shutil.copy(TESTDATA / "digits.onnx", folder / "m.onnx")
    if name == "compile":
        assert run_command("compile", "m.onnx", "-o", "out", "--weights", "bin", cwd=folder).rc == 0
    elif name == "run":
        (folder / "out" / "output_0").mkdir(parents=True)
        for i in range(5):
            (folder / "out" / "output_0" / f"{i:06}.npy").write_bytes(b"precious")
    else:
        (folder / "out").write_bytes(b"precious")
    (folder / "m.onnx").unlink()


@pytest.mark.mends("loss - kill -9 leaves files for ever")
@pytest.mark.parametrize("form", ["", "named"])  # with files without names, and on systems that have none
@pytest.mark.parametrize("name", KILLED)
def test_killed(name, form, kills, run, done, place):
    env = os.environ | kills | ({"NO_TMPFILE": "1"} if form else {})
    arguments = [*KILLED[name], "-q", "-o", "out"]
    earlier(name, place / "before")
    before = tree(place / "before")

    def fresh():
        for path in [p for p in place.iterdir() if p.name == "out" or p.name.startswith(".")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(place / "before", place, dirs_exist_ok=True)

    def outputs():
        return {k: v for k, v in tree(place).items() if not k.startswith(("before/", "data/", "m.onnx", "count"))}

    fresh()
    began = time.monotonic()
    assert run(*arguments, cwd=place, env=env | {"KILL_COUNT": "count"}).rc == 0
    seconds, calls, wanted = time.monotonic() - began, int((place / "count").read_text()), outputs()
    moments = random.Random(f"{name} {form}")
    killed = 0
    for i in range(MOMENTS // 5):  # and that for five commands in two forms
        fresh()
        more = {"KILL_AT": str(moments.randint(1, calls))} if i % 3 else {}
        process = subprocess.Popen([COMMAND, *arguments], cwd=place, env=env | more, stdin=subprocess.DEVNULL)
        try:
            process.wait(20 if more else moments.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
        killed += process.wait() == -signal.SIGKILL
        for path, data in outputs().items():
            if not os.path.basename(path).startswith(".qonnx-") and ".qonnx-" not in path:
                assert data in (before.get(path), wanted.get(path)), (path, more, "is neither the old nor the new one")
        for path in set(before) & set(wanted):
            assert (place / path).exists(), (path, more, "is lost")
        assert run(*arguments, cwd=place, env=env).rc == 0
        assert outputs() == wanted, (list(outputs()), more, "is not what an undisturbed run gives")
    assert killed


@pytest.mark.mends("loss - kill -9 leaves files for ever")
@pytest.mark.parametrize("name", KILLED)
def test_leftovers(name, done, place):
    """What nobody has locked goes; what a process has locked, or another name, stays."""
    inside = place / "out" if name in ("compile", "run") else place
    inside.mkdir(exist_ok=True)
    (inside / ".qonnx-1-0.tmp").write_text("left over")
    (inside / ".qonnx-12").mkdir()
    (inside / ".qonnx-12" / "output_0.npy").write_text("left over")
    (inside / ".qonnx-notes").write_text("mine")
    (inside / ".qonnx-2-0.tmp").write_text("of a living process")
    with open(inside / ".qonnx-2-0.tmp") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        done(*KILLED[name], "-o", "out", cwd=place)
        left = {p.name for p in inside.iterdir() if p.name.startswith(".qonnx-")}
    assert left == {".qonnx-notes", ".qonnx-2-0.tmp"}


@pytest.mark.mends("loss - kill -9 leaves files for ever")
def test_leftovers_of_compiled_evaluation(kills, run, done, place):
    """evaluate --compiled makes its files in TMPDIR."""
    (place / "tmp").mkdir()
    arguments = ["evaluate", "m.onnx", "--data", "data/0/000.png", "--compiled"]
    env = os.environ | {"TMPDIR": str(place / "tmp")}
    killed = run(*arguments, cwd=place, env=env | kills | {"KILL_AT": "8"})
    assert killed.rc == -signal.SIGKILL and list((place / "tmp").iterdir())
    done(*arguments, cwd=place, env=env)
    assert not list((place / "tmp").iterdir())


# ---- a model that is cut short ------------------------------------------------------------------


@pytest.mark.parametrize("name, keep", [
    pytest.param("beyond the page that is written", 0, marks=pytest.mark.mends("small - model cut short blames the output")),
    pytest.param("within the last page", -8, marks=pytest.mark.mends("small - model cut short is written as zeros"))])
def test_model_cut_short_while_it_is_written_from(name, keep, kills, run, place):
    size = (place / "m.onnx").stat().st_size
    (place / "out").write_bytes(b"precious")
    cut = {"CUT": "m.onnx", "CUT_TO": str(size + keep if keep else 0)}
    result = run("quantize", "m.onnx", "--pipeline", "", "-o", "out", cwd=place, env=os.environ | kills | cut)
    assert result.rc == 1 and result.stderr == "qonnx: m.onnx: was cut short while it was read; try again\n", result
    assert (place / "out").read_bytes() == b"precious"


# ---- control characters -------------------------------------------------------------------------

COLOUR = "a\x1b[31m\x07\x9bb"
ECHOED = {
    "verb": [COLOUR],
    "operand": ["inspect", COLOUR],
    "option": ["inspect", DIGITS, "--" + COLOUR],
    "letter": ["inspect", DIGITS, "-\x1b"],
    "value": ["quantize", DIGITS, "-j", COLOUR],
    "choice": ["quantize", DIGITS, "--weights", COLOUR],
    "target": ["quantize", DIGITS, "--pipeline", "", "--target", COLOUR, "-o", "out"],
    "observer": ["quantize", DIGITS, "--data", "x", "--observer", COLOUR, "-o", "out"],
    "pass": ["quantize", DIGITS, "--data", "x", "--pass", "x@" + COLOUR, "-o", "out"],
    "dump": ["quantize", DIGITS, "--pipeline", "", "--dump-after", COLOUR, "-o", "out"],
    "pipeline": ["quantize", DIGITS, "--pipeline", COLOUR, "-o", "out"],
    "output": ["quantize", DIGITS, "--pipeline", "", "-o", COLOUR + "/x"],
    "outputs": ["run", DIGITS, "--data", "data", "-o", COLOUR + "/x/y"],
    "data": ["run", DIGITS, "--data", COLOUR],
    "plugin": ["passes", "--plugin", "./" + COLOUR],
    "too many": ["inspect", DIGITS, COLOUR],
    "twice": ["quantize", DIGITS, "--target", COLOUR, "--target", COLOUR],
    "file that is written": ["quantize", DIGITS, "--pipeline", "", "-o", COLOUR],
    "statistics that are written": ["calibrate", DIGITS, "data", "-o", COLOUR],
    "C that is written": ["compile", DIGITS, "-o", COLOUR],
    "outputs that are written": ["run", DIGITS, "--data", "data", "-o", COLOUR],
    "topic": ["help", COLOUR],
}
SAFE_ALREADY = {"operand", "data", "plugin", "pipeline"}  # the library's messages were harmless


@pytest.mark.parametrize("name", [n if n in SAFE_ALREADY else
                                  pytest.param(n, marks=pytest.mark.mends("small - control characters reach the terminal"))
                                  for n in ECHOED])
def test_control_characters(name, place):
    shown = subprocess.run([COMMAND, *map(str, ECHOED[name])], cwd=place, capture_output=True, stdin=subprocess.DEVNULL)
    text = (shown.stdout + shown.stderr).decode()
    assert text and all(c.isprintable() or c == "\n" for c in text), text
    assert ("?[31m" in text) == (name != "letter"), text


@pytest.mark.parametrize("verb", ["run", *(
    pytest.param(v, marks=pytest.mark.mends("small - control characters reach the terminal"))
    for v in ("inspect", "evaluate"))])
def test_control_characters_of_what_is_there(verb, place):
    """Names of files that are printed as results."""
    (place / COLOUR).mkdir()
    path = shutil.copy(DIGITS, place / COLOUR / f"{COLOUR}.onnx")
    sample = shutil.copy(place / "data" / "0" / "000.png", place / COLOUR / f"{COLOUR}.png")
    more = [] if verb == "inspect" else ["--data", sample]
    shown = subprocess.run([COMMAND, verb, path, *more], capture_output=True)
    text = (shown.stdout + shown.stderr).decode()
    assert shown.returncode == 0 and "a?[31m" in text, text
    assert all(c.isprintable() or c == "\n" for c in text), text
