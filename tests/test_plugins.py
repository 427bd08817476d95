"""Plugins: what is loaded and from where, what is refused and how, that the built-in passes and
observers are guests too, and that the template builds outside the tree.

The plugins of these tests are compiled here, against include/ and the libqonnx.so beside the
command; QONNX names the command of a build directory.
"""

import json
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import onnx
import pytest
from conftest import COMMAND, ROOT, TESTDATA, run_command

BUILD = COMMAND.parent
DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"
CC = os.environ.get("CC", "cc")

PLUGIN = """
#include <qonnx/qonnx.h>
#include <math.h>
static bool run(qonnx_ctx *cx, qonnx_graph *g, const qonnx_job *job)
{ (void)cx, (void)g, (void)job; %(run)s }
static bool range(qonnx_ctx *cx, const qonnx_histogram *h, const qonnx_grid *grid,
                  const qonnx_job *job, float *lo, float *hi)
{ (void)cx, (void)grid, (void)job; *lo = h->min; *hi = h->max; %(range)s }
static const qonnx_option options[] = { %(options)s {0} };
static const qonnx_pass pass = {
    .name = "%(name)s", .brief = "a pass", .options = options, .run = run, %(pass)s };
static const qonnx_observer observer = {
    .name = "%(name)s-range", .brief = "an observer", .range = range, %(observer)s };
static const qonnx_pass *const passes[] = {&pass, %(passes)s NULL};
static const qonnx_observer *const observers[] = {&observer, NULL};
static const qonnx_plugin plugin = {
    .abi = QONNX_ABI, .name = "%(name)s", .version = "2.1",
    .passes = passes, .observers = observers, %(plugin)s };
const qonnx_plugin *qonnx_plugin_query(uint32_t abi) { (void)abi; %(query)s return &plugin; }
"""


def compile_source(path, source):
    """Compiles C into the shared object `path`."""
    command = [CC, "-shared", "-fPIC", "-w", "-I", ROOT / "include", "-xc", "-", "-o", path]
    subprocess.run(
        [*command, f"-L{BUILD}", f"-Wl,-rpath,{BUILD}", "-lqonnx", "-lm"],
        input=source,
        text=True,
        check=True,
    )
    return path


def make_plugin(path, name="mine", run="return true;", range="return true;", **parts):
    """Compiles a plugin of one pass, NAME, and one observer, NAME-range; returns its path."""
    empty = dict.fromkeys(("options", "pass", "observer", "passes", "plugin", "query"), "")
    fields = empty | parts | {"name": name, "run": run, "range": range}
    return compile_source(path, PLUGIN % fields)


@pytest.fixture
def clean_env(monkeypatch):
    """No plugins but those that a test names."""
    for name in ("QONNX_PLUGIN_PATH", "QONNX_NO_BUILTINS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(autouse=True)
def from_build(qonnx, clean_env):
    if not (BUILD / "libqonnx.so").exists():
        pytest.skip(f"{BUILD} is no build directory")


def entries(*args, kind="passes", **popen):
    """What `qonnx passes` lists, by name."""
    result = run_command("passes", "--json", *args, **popen)
    assert result.rc == 0, result.stderr
    return {entry["name"]: entry for entry in json.loads(result.stdout)[kind]}


def quantize(out, *args, **popen):
    data = ["--data", CALIBRATION] if "--pipeline" not in args else []
    return run_command("quantize", DIGITS, *data, "-o", out, "-q", *args, **popen)


def metadata(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


# ---- refusals -----------------------------------------------------------------------------------


def cut_short(path):
    whole = make_plugin(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 4])


def other_machine(path):
    elf = bytearray(make_plugin(path).read_bytes())
    elf[18:20] = struct.pack("<H", 0x1234)  # e_machine
    path.write_bytes(elf)


def wrong_abi(path):
    # Nothing behind `abi` may be read: in another ABI it means something else.
    make_plugin(path, plugin=".abi = 99, .name = (char *)8, .passes = (void *)8")


REFUSALS = {
    "text": (lambda p: p.write_text("#!/bin/sh\n"), "no ELF header"),
    "empty": (lambda p: p.write_bytes(b""), "no ELF header"),
    "folder": (lambda p: p.mkdir(), "it is not a file"),
    "pipe": (lambda p: os.mkfifo(p), "it is not a file"),
    "missing": (lambda p: None, "No such file"),
    "cut": (cut_short, "cut short"),
    "machine": (other_machine, "cannot be loaded"),
    "program": (lambda p: shutil.copy(COMMAND, p), "cannot be loaded"),
    "library": (lambda p: compile_source(p, "int x;"), "does not export qonnx_plugin_query"),
    "unresolved": (
        lambda p: make_plugin(p, run="extern void nowhere(void); nowhere(); return true;"),
        "undefined symbol: nowhere",
    ),
    "declined": (lambda p: make_plugin(p, query="return NULL;"), "does not serve ABI 1"),
    "abi": (wrong_abi, "built for ABI 99, qonnx"),
    "unnamed": (lambda p: make_plugin(p, plugin=".name = NULL"), "no name or no version"),
    "unversioned": (lambda p: make_plugin(p, plugin=".version = NULL"), "no name or no version"),
    "reserved": (lambda p: make_plugin(p, plugin='.reserved = {"x"}'), "reserved field"),
    "nothing": (
        lambda p: make_plugin(p, plugin=".passes = NULL, .observers = NULL"),
        "neither passes nor observers",
    ),
    "nameless-pass": (lambda p: make_plugin(p, **{"pass": ".name = NULL"}), "bad name"),
    "name": (lambda p: make_plugin(p, **{"pass": '.name = "a,b{c=d}"'}), "bad name"),
    "function": (lambda p: make_plugin(p, **{"pass": ".run = NULL"}), "'mine' has no function"),
    "brief": (lambda p: make_plugin(p, **{"pass": ".brief = NULL"}), "'mine' has no brief"),
    "range": (lambda p: make_plugin(p, observer=".range = NULL"), "'mine-range' has no function"),
    "option": (lambda p: make_plugin(p, options='{"a", NULL, "help"},'), "option 1 of its pass"),
    "twice": (lambda p: make_plugin(p, passes="&pass,"), "two passes of the name 'mine'"),
    "taken": (lambda p: make_plugin(p, name="calibrate"), "that qonnx itself brings"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refused(kind, tmp_path):
    """One line that names the file and the cause; the output that was there stays."""
    path, out = tmp_path / "bad.so", tmp_path / "out.onnx"
    make, wanted = REFUSALS[kind]
    make(path)
    out.write_text("good")
    for result in (run_command("passes", "--plugin", path), quantize(out, "--plugin", path)):
        assert result.rc == 1 and not result.stdout
        assert result.stderr.startswith(f"qonnx: plugin {path}: ") and wanted in result.stderr
        assert result.stderr.count("\n") == 1
    assert out.read_text() == "good" and {p.name for p in tmp_path.iterdir()} <= {
        "bad.so",
        "out.onnx",
    }


def test_unreadable(tmp_path):
    """As somebody who may not read the file: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = make_plugin(Path(folder) / "secret.so")
        path.chmod(0)
        who = {"user": 65534} if os.geteuid() == 0 else {}
        result = run_command("passes", "--plugin", path, **who)
        assert result.rc == 1 and f"{path}: Permission denied" in result.stderr


def test_no_slash(tmp_path):
    make_plugin(tmp_path / "mine.so")
    result = run_command("passes", "--plugin", "mine.so", cwd=tmp_path)
    assert result.rc == 1 and "write ./mine.so" in result.stderr
    assert "mine" in entries("--plugin", "./mine.so", cwd=tmp_path)


def test_names_taken(tmp_path):
    """Two plugins of one name: both files are named. One file by two names is one plugin."""
    first, second = make_plugin(tmp_path / "first.so"), make_plugin(tmp_path / "second.so")
    result = run_command("passes", "--plugin", first, "--plugin", second)
    assert result.rc == 1 and str(first) in result.stderr and str(second) in result.stderr
    assert "'mine'" in result.stderr
    link = tmp_path / "link.so"
    link.symlink_to(first)
    assert entries("--plugin", first, "--plugin", link)["mine"]["file"] == str(first)


# ---- passes and observers that fail -------------------------------------------------------------

FAILURES = {
    "fails": ('return qonnx_fail(cx, qonnx_graph_first(g), "it is too cold");', "it is too cold"),
    "silent": ("return false;", "failed without a reason"),
    "forgets": ('qonnx_fail(cx, NULL, "it is too warm"); return true;', "it is too warm"),
    "broken": ("qonnx_node_remove(qonnx_graph_first(g)); return true;", "is neither an output"),
    "types": (
        'qonnx_node_set_op(qonnx_graph_first(g), "Gemm"); return true;',
        "Gemm",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failing_pass(kind, tmp_path):
    """The pass and its file are named, and nothing is written."""
    body, wanted = FAILURES[kind]
    path, out = make_plugin(tmp_path / "mine.so", run=body), tmp_path / "out.onnx"
    result = quantize(out, "--plugin", path, "--pass", "mine")
    assert result.rc == 1 and not out.exists()
    assert result.stderr.startswith(f"qonnx: pass 'mine' of plugin {path}: ")
    assert wanted in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('return qonnx_fail(cx, NULL, "no");', "no"),
        ("*lo = NAN; return true;", "chose the range [nan, "),
        ("*lo = 2; *hi = 1; return true;", "chose the range [2, 1]"),
        ("*hi = INFINITY; return true;", "inf], want two finite numbers"),
    ],
)
def test_failing_observer(body, wanted, tmp_path):
    path, out = make_plugin(tmp_path / "mine.so", range=body), tmp_path / "out.onnx"
    result = quantize(out, "--plugin", path, "--observer", "mine-range")
    assert result.rc == 1 and not out.exists()
    assert f"observer 'mine-range' of plugin {path}: " in result.stderr and wanted in result.stderr


# ---- where a pass goes --------------------------------------------------------------------------

# Adds to the model's metadata how many nodes, and how many ranges, it saw.
MARK = """
char text[99]; int nodes = 0, ranges = 0; float lo, hi;
for (qonnx_node *n = qonnx_graph_first(g); n; n = qonnx_node_next(n)) nodes++;
for (int i = 0; i < qonnx_graph_values(g); i++)
    ranges += qonnx_value_range(qonnx_graph_value(g, i), &lo, &hi);
snprintf(text, sizeof text, "%d %d %g", nodes, ranges, qonnx_job_number(job, "n"));
qonnx_model_set_metadata(g, qonnx_job_text(job, "key"), text);
return true;"""


@pytest.fixture(scope="module")
def mark(tmp_path_factory):
    """A plugin whose pass leaves a mark."""
    options = '{"key", "mark", "a key"}, {"n", "1", "a number"},'
    return make_plugin(tmp_path_factory.mktemp("mark") / "mark.so", "mark", MARK, options=options)


def test_pass_placement(mark, tmp_path):
    out = tmp_path / "out.onnx"
    result = quantize(
        out,
        *("--plugin", mark, "--pass", "mark{key=a, n=2}", "--pass", "mark{key=b}"),
        *("--pass", "mark{key=c}@calibrate", "--pass", "mark{key=d@e}@insert-qdq"),
    )
    assert result.rc == 0, result.stderr
    seen = metadata(out)
    nodes = {key: int(seen[key].split()[0]) for key in ("a", "b", "c", "d@e")}
    ranges = {key: int(seen[key].split()[1]) for key in nodes}
    assert seen["a"].endswith(" 2") and seen["b"].endswith(" 1")
    assert ranges["a"] == ranges["b"] == 0 < ranges["c"]
    assert nodes["a"] == nodes["c"] < nodes["d@e"] == len(onnx.load(out).graph.node)
    text = seen["qonnx.pipeline"]
    order = [
        "mark{key=a, n=2}",
        "mark{key=b}",
        "calibrate",
        "mark{key=c}",
        "insert-qdq",
        "{key=d@e}",
    ]
    assert sorted(order, key=text.index) == order


def test_pass_misuse(mark, tmp_path):
    out = tmp_path / "out.onnx"
    for args, rc, wanted in [
        (("--pass", "mark@nowhere"), 2, "no pass 'nowhere'"),
        (("--pass", "nonsense"), 1, "no pass 'nonsense'"),
        (("--pass", "mark{x=1}"), 1, "has no option 'x'"),
        (("--pass", "mark{n=two}"), 1, "want a number"),
        (("--pass", "mark", "--pipeline", "fold-constants"), 2, "--pass"),
    ]:
        result = quantize(out, "--plugin", mark, *args)
        assert result.rc == rc and wanted in result.stderr, (args, result)
    assert not out.exists()


def test_pipeline_and_dump(mark, tmp_path):
    out = tmp_path / "out.onnx"
    result = quantize(
        out, "--plugin", mark, "--pipeline", "fold-constants,mark", "--dump-after", "mark"
    )
    assert result.rc == 0 and "mark" in metadata(out)
    assert "Conv(image" in result.stderr and "\noutput scores" in result.stderr


def test_calibrate_replays(mark, tmp_path):
    """Statistics keep the passes they were taken behind; others are refused."""
    qcal, out = tmp_path / "m.qcal", tmp_path / "out.onnx"
    with_mark = ("--plugin", mark, "--pass", "mark{n=3}")
    assert run_command("calibrate", DIGITS, CALIBRATION, "-o", qcal, *with_mark).rc == 0

    def from_qcal(*args):
        return run_command("quantize", DIGITS, "--calibration", qcal, "-o", out, "-q", *args)

    for args in (with_mark, ("--plugin", mark)):
        assert from_qcal(*args).rc == 0 and metadata(out)["mark"].endswith(" 3")
        out.unlink()
    result = from_qcal("--plugin", mark, "--pass", "mark{n=4}")
    assert result.rc == 1 and "give 'qonnx calibrate' the same --pass" in result.stderr
    assert from_qcal("--plugin", mark, "--pass", "mark{key=b}@insert-qdq").rc == 0
    assert {"mark", "b"} <= set(metadata(out))
    result = from_qcal()
    assert result.rc == 1 and "no pass 'mark'" in result.stderr


# ---- the search path ----------------------------------------------------------------------------


def test_search_path(tmp_path, clean_env):
    """Absolute directories in order, *.so by name; what is refused is a warning."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    make_plugin(one / "b.so", "late", options='{"a", "1", "help"},')
    make_plugin(one / "a.so", "early")
    make_plugin(one / ".hidden.so", "hidden")
    make_plugin(one / "plugin.so.1", "other")
    make_plugin(two / "c.so", "late")
    (two / "d.so").write_text("nonsense")
    make_plugin(two / "e.so", "last")
    clean_env.setenv("QONNX_PLUGIN_PATH", f"{one}::{two}:{tmp_path / 'none'}")
    result = run_command("passes", "--json")
    lines = result.stderr.splitlines()
    listed = [p for p in json.loads(result.stdout)["passes"] if p["plugin"]]
    assert [p["name"] for p in listed] == ["early", "late", "last"]
    assert [p["file"] for p in listed] == [str(one / "a.so"), str(one / "b.so"), str(two / "e.so")]
    assert all(p["version"] == "2.1" for p in listed) and listed[1]["options"][0]["name"] == "a"
    assert len(lines) == 3 and all(line.startswith("qonnx: warning: ") for line in lines)
    assert str(two / "c.so") in lines[0] and str(one / "b.so") in lines[0]
    assert f"{two / 'd.so'}: it is no shared object" in lines[1]
    assert f"{tmp_path / 'none'}: No such file" in lines[2]
    text = run_command("passes", "-q")
    assert f"from plugin last 2.1, {two / 'e.so'}" in text.stdout and not text.stderr
    explicit = entries("--plugin", two / "c.so")  # one that is named goes before those found
    assert explicit["late"]["file"] == str(two / "c.so") and "early" in explicit


def test_found_when_asked_for(mark, tmp_path, clean_env):
    clean_env.setenv("QONNX_PLUGIN_PATH", str(mark.parent))
    out = tmp_path / "out.onnx"
    assert quantize(out, "--pass", "mark", "--observer", "mark-range").rc == 0
    assert "mark" in metadata(out) and metadata(out)["qonnx.observer"] == "mark-range"


def test_nothing_from_here(tmp_path, clean_env):
    """Neither the current directory, nor a relative one, nor programs on PATH."""
    make_plugin(tmp_path / "mine.so")
    shutil.copy(tmp_path / "mine.so", tmp_path / "qonnx-mine")
    clean_env.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for value in (None, "", ":", ".", "./:plugins"):
        if value is not None:
            clean_env.setenv("QONNX_PLUGIN_PATH", value)
        result = run_command("passes", "--json", cwd=tmp_path)
        assert not [p for p in json.loads(result.stdout)["passes"] if p["name"] == "mine"]
        assert result.stderr.count("is no absolute path") == len(
            (value or "").replace(":", " ").split()
        )
        result = quantize(tmp_path / "out.onnx", "--pass", "mine", cwd=tmp_path)
        assert result.rc == 1 and "no pass 'mine'" in result.stderr


def test_nothing_read_unasked(tmp_path, clean_env):
    """Where no pass is missing the search path is not read: its warnings do not show."""
    (tmp_path / "bad.so").write_text("nonsense")
    clean_env.setenv("QONNX_PLUGIN_PATH", str(tmp_path))
    for args in (["--version"], ["inspect", DIGITS], ["help"]):
        assert run_command(*args).stderr == ""
    args = ["quantize", DIGITS, "--data", CALIBRATION, "-o", tmp_path / "out.onnx"]
    assert "bad.so" not in run_command(*args).stderr
    assert "bad.so" in run_command("passes").stderr


def test_writable_by_all(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    path = make_plugin(folder / "mine.so")
    assert not run_command("passes", "--plugin", path).stderr
    path.chmod(0o666)
    assert "everybody can write to the file" in run_command("passes", "--plugin", path).stderr
    path.chmod(0o644)
    folder.chmod(0o777)
    result = run_command("passes", "--plugin", path)
    assert result.rc == 0 and "everybody can write to its folder" in result.stderr


def test_install_directory(tmp_path, clean_env):
    """The directory that is compiled in: a copy of the library gets another one of that length."""
    library = BUILD / "libqonnx.so.0"
    found = [w for w in library.read_bytes().split(b"\0") if w.endswith(b"/qonnx/plugins")]
    assert len(found) == 1 and found[0].startswith(b"/")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="q") as folder:
        if len(folder) > len(found[0]):
            pytest.skip(f"{found[0]!r} is too short to be replaced")
        make_plugin(Path(folder) / "mine.so")
        place = folder.encode().ljust(len(found[0]), b"/")
        (tmp_path / "libqonnx.so.0").write_bytes(library.read_bytes().replace(found[0], place))
        clean_env.setenv("LD_LIBRARY_PATH", str(tmp_path))
        assert entries()["mine"]["file"] == f"{folder}/mine.so"


# ---- built-in passes are guests too -------------------------------------------------------------


@pytest.fixture(scope="module")
def guests():
    """The folder of the built-in passes and observers as plugins."""
    return BUILD / "tests" / "guests"


@pytest.fixture
def as_guests(guests, clean_env):
    """From here on nothing is built in."""

    def switch():
        clean_env.setenv("QONNX_NO_BUILTINS", "1")
        clean_env.setenv("QONNX_PLUGIN_PATH", str(guests))

    return switch


def test_guests_listed(as_guests, guests, tmp_path):
    """Every built-in pass and observer is there as a plugin, and nothing else is."""
    built_in = {kind: entries(kind=kind) for kind in ("passes", "observers")}
    as_guests()
    for kind, own in built_in.items():
        loaded = entries(kind=kind)
        assert loaded.keys() == own.keys()
        for name, entry in loaded.items():
            assert entry["file"] == str(
                guests / f"{'pass' if kind == 'passes' else 'observer'}-{name}.so"
            )
            assert entry["options"] == own[name]["options"] and own[name]["file"] is None
    result = quantize(tmp_path / "out.onnx", env=os.environ | {"QONNX_PLUGIN_PATH": ""})
    assert result.rc == 1 and "no pass 'raise-opset'" in result.stderr


MODELS = [None, "resnet8_cifar10", "mnist_cntk", "squeezenet11_imagenet"]
DATASETS = {
    "resnet8_cifar10": "cifar10",
    "mnist_cntk": "mnist",
    "squeezenet11_imagenet": "imagenet-squeezenet",
}


@pytest.mark.parametrize("observer", ["minmax", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("model", MODELS)
def test_guests_give_the_same_bytes(model, observer, as_guests, tmp_path, request):
    path, data = DIGITS, CALIBRATION
    if model:
        shared, npy = request.getfixturevalue("shared"), request.getfixturevalue("npy")
        path = shared / "models" / model / "model.onnx"
        data = npy(DATASETS[model]) / "calibration"
    args = ["quantize", path, "--data", data, "--limit", "16", "--observer", observer, "-q"]
    for out in ("built-in", "loaded"):
        result = run_command(*args, "-o", tmp_path / out)
        assert result.rc == 0, result.stderr
        as_guests()
    assert (tmp_path / "built-in").read_bytes() == (tmp_path / "loaded").read_bytes()


# ---- outside the tree ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What is installed, in a folder of its own, and the environment that finds it there."""
    if not (BUILD / "build.ninja").exists() or not shutil.which("pkg-config"):
        pytest.skip("needs a build directory and pkg-config")
    root = tmp_path_factory.mktemp("root")
    install = ["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    pc, library = (next(root.rglob(name)) for name in ("qonnx.pc", "libqonnx.so.0"))
    env = os.environ | {
        "PKG_CONFIG_LIBDIR": str(pc.parent),
        "PKG_CONFIG_SYSROOT_DIR": str(root),
        "LD_LIBRARY_PATH": str(library.parent),
    }
    return root, env, next(root.rglob("bin/qonnx"))


def test_installed_plugins(installed):
    """The plugins that come along lie where pkg-config says, and work."""
    root, env, command = installed
    where = subprocess.run(
        ["pkg-config", "--variable=plugindir", "qonnx"],
        env={k: v for k, v in env.items() if k != "PKG_CONFIG_SYSROOT_DIR"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = root / where.removeprefix("/")
    assert {p.name for p in folder.iterdir()} == {
        "import-qonnx-dialect.so",
        "round-weights.so",
        "sigma.so",
    }
    text = subprocess.run(
        [command, "passes"],
        env=env | {"QONNX_PLUGIN_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(f"{folder}/{name}.so" in text for name in ("sigma", "round-weights"))


@pytest.mark.parametrize("way", ["make", "meson"])
def test_template(way, installed, tmp_path):
    """The template, copied away, builds with pkg-config alone, runs, and installs."""
    root, env, command = installed
    project, out = tmp_path / "my-plugin", tmp_path / "out.onnx"
    shutil.copytree(ROOT / "plugins" / "template", project)
    target = tmp_path / "target"
    steps = {
        "make": ["make CFLAGS='-Wall -Wextra -Werror'", f"make install DESTDIR={target}"],
        "meson": [
            "meson setup build -Dwerror=true",
            "meson compile -C build && cp build/my-plugin.so .",
            f"meson install -C build --destdir {target}",
        ],
    }
    for step in steps[way]:
        done = subprocess.run(
            step, shell=True, cwd=project, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert [p.parent.name for p in target.rglob("my-plugin.so")] == ["plugins"]
    args = [
        "--plugin",
        "./my-plugin.so",
        "--observer",
        "absmax",
        "--pass",
        "cap-range{most=1.5}@calibrate",
    ]
    done = subprocess.run(
        [command, "quantize", DIGITS, "--data", CALIBRATION, "-o", out, "-v", *args],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "is cut to 1.5" in done.stderr, done.stderr
    assert "cap-range{most=1.5}" in metadata(out)["qonnx.pipeline"]


@pytest.mark.parametrize("language", ["c99", "c11", "c++11"])
def test_headers(language, tmp_path):
    """The public headers are C99 and C++11 without a warning."""
    kind = "c++" if "++" in language else "c"
    flags = [
        "-x",
        kind,
        f"-std={language}",
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
    ]
    for header in sorted((ROOT / "include" / "qonnx").glob("*.h")):
        source = f"#include <qonnx/{header.name}>\n"
        command = [CC, *flags, "-I", ROOT / "include", "-"]
        done = subprocess.run(command, input=source, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
