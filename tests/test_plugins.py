"""Plugins: what is loaded and from where, where a pass goes, that the built-in passes and observers
are guests too, and that the template builds outside the tree. What is refused, fails or crashes is in
bad_inputs/plugins.py. QONNX names the command of a build directory.
"""

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import onnx
import pytest
from conftest import ROOT, TESTDATA, run_command
from plugin_source import BUILD, CC, make_plugin

DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"

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


def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def field(number, content):
    """A field of bytes as a protobuf message has it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def metadata(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


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
    assert result.rc == 1 and f"{qcal}: it was made with pass 'mark' of" in result.stderr


# ---- what is recorded ---------------------------------------------------------------------------


def with_version(folder, version, name="mark", **more):
    """The plugin of that version, NAME.so in a folder of its own."""
    (folder / version).mkdir(exist_ok=True)
    options = '{"key", "mark", "a key"}, {"n", "1", "a number"},'
    plugin = f'.version = "{version}",' + more.pop("plugin", "")
    path = folder / version / f"{name}.so"
    return make_plugin(path, name, MARK, options=options, plugin=plugin, **more)


@pytest.mark.mends("plugins - provenance")
def test_recorded_in_models(mark, tmp_path):
    """The plugins and versions of what is not built in, in the order of the pipeline."""
    other = with_version(tmp_path, "0.3", "other")
    plugins = ("--plugin", mark, "--plugin", other)
    for args, wanted in [
        (("--pass", "mark"), "mark 2.1 (pass mark)"),
        (("--observer", "mark-range"), "mark 2.1 (observer mark-range)"),
        (("--observer", '"mark-range"'), "mark 2.1 (observer mark-range)"),
        (
            ("--pass", "other", "--pass", "mark{n=2},mark", "--observer", "other-range"),
            "other 0.3 (pass other, observer other-range), mark 2.1 (pass mark)",
        ),
        (("--pipeline", "fold-constants,mark"), "mark 2.1 (pass mark)"),
        ((), None),
    ]:
        out = tmp_path / "out.onnx"
        result = quantize(out, *plugins, *(a.strip('"') for a in args))
        assert result.rc == 0, result.stderr
        assert metadata(out).get("qonnx.plugins") == wanted
    # What an earlier pipeline used is not said of the next one.
    made, again = tmp_path / "made.onnx", tmp_path / "again.onnx"
    assert quantize(made, *plugins, "--pipeline", "mark").rc == 0
    again_args = ("--pipeline", "fold-constants", "-o", again, "-q")
    assert run_command("quantize", made, *again_args).rc == 0
    assert metadata(again)["qonnx.plugins"] == ""


@pytest.mark.mends("plugins - provenance")
def test_recorded_in_statistics(tmp_path):
    """The .qcal names the plugin that is missing, and one of another version is a warning."""
    old, new = (with_version(tmp_path, version) for version in ("1.2", "1.3"))
    renamed = with_version(tmp_path, "1.2.0", plugin='.name = "marker"')
    qcal, out = tmp_path / "m.qcal", tmp_path / "out.onnx"
    args = ("--plugin", old, "--pass", "mark{n=3}")
    assert run_command("calibrate", DIGITS, CALIBRATION, "-o", qcal, *args).rc == 0

    def from_qcal(*args):
        return run_command("quantize", DIGITS, "--calibration", qcal, "-o", out, *args)

    made = f"{qcal}: it was made with pass 'mark' of plugin 'mark' 1.2"
    result = from_qcal()
    lines = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert result.rc == 1 and not out.exists()
    assert lines == [f"qonnx: {made}, which is not loaded; give --plugin FILE"]
    result = from_qcal("--plugin", old)
    assert result.rc == 0 and "it was made" not in result.stderr
    text = metadata(out)["qonnx.pipeline"]
    for more in ((), ("--pipeline", text)):
        for plugin, name in ((new, "'mark' 1.3"), (renamed, "'marker' 1.2.0")):
            result = from_qcal("--plugin", plugin, *more)
            warned = f"qonnx: warning: {made}, and the one that is loaded is of {name}"
            assert result.rc == 0 and result.stderr.count(warned) == 1, result.stderr
            assert metadata(out)["qonnx.plugins"] == f"{name.replace(chr(39), '')} (pass mark)"


@pytest.mark.mends("plugins - provenance")
def test_recorded_pipeline_that_does_not_fit(tmp_path):
    """A newer plugin without the option that was used: the file that wants it is named."""
    old, qcal = with_version(tmp_path, "1.2"), tmp_path / "m.qcal"
    args = ("--plugin", old, "--pass", "mark{n=3}")
    assert run_command("calibrate", DIGITS, CALIBRATION, "-o", qcal, *args).rc == 0
    new = make_plugin(tmp_path / "new.so", "mark")
    args = ("--calibration", qcal, "--plugin", new, "-o", tmp_path / "out.onnx")
    result = run_command("quantize", DIGITS, *args)
    wanted = f"{qcal}: its pipeline cannot be run again: pass 'mark' has no option 'n'"
    assert result.rc == 1 and wanted in result.stderr


DIGEST = """
#define XXH_INLINE_ALL
#include <xxhash.h>
void digest(const void *data, size_t bytes, XXH128_canonical_t *out)
{ XXH128_canonicalFromHash(out, XXH3_128bits(data, bytes)); }
"""


def forget_parts(qcal, folder):
    """Takes a field of the payload, which a file of an older qonnx does not have, out."""
    whole, library = qcal.read_bytes(), folder / "digest.so"
    entry = field(7, field(1, b"mark") + field(3, b"mark") + field(4, b"2.1"))
    assert whole.count(entry) == 1
    command = [CC, "-O1", "-shared", "-fPIC", "-xc", "-", "-o", library]
    subprocess.run(command, input=DIGEST, text=True, check=True)
    head = field(1, b"qonnx calibration") + b"\x10\x01"  # and the version
    start = len(head) + len(field(3, bytes(16))) + 1
    while whole[start] & 128:  # the length of the payload
        start += 1
    payload = whole[start + 1 :].replace(entry, b"")
    digest = ctypes.create_string_buffer(16)
    ctypes.CDLL(str(library)).digest(payload, ctypes.c_size_t(len(payload)), digest)
    qcal.write_bytes(head + field(3, digest.raw) + field(4, payload))


@pytest.mark.mends("plugins - provenance")
def test_older_statistics(mark, tmp_path):
    """A file that does not say where its passes come from is read; what is missing is named."""
    qcal, out = tmp_path / "m.qcal", tmp_path / "out.onnx"
    args = ("--plugin", mark, "--pass", "mark{n=3}")
    assert run_command("calibrate", DIGITS, CALIBRATION, "-o", qcal, *args).rc == 0
    forget_parts(qcal, tmp_path)

    def from_qcal(*args):
        return run_command("quantize", DIGITS, "--calibration", qcal, "-o", out, *args)

    result = from_qcal()
    wanted = f"{qcal}: it was made with pass 'mark', which is not loaded; give --plugin FILE"
    assert result.rc == 1 and wanted in result.stderr
    result = from_qcal("--plugin", mark)
    assert result.rc == 0 and "it was made" not in result.stderr
    assert metadata(out)["qonnx.plugins"] == "mark 2.1 (pass mark)"


# ---- quoted values ------------------------------------------------------------------------------

# What a value says in the text of a pipeline, and what the pass then gets.
QUOTED = {
    '"a,b}c{d=e@f g"': "a,b}c{d=e@f g",
    r'" \" \\ \n, "': ' " \\ \\n, ',
    '"},{"': "},{",
    '  "" ': "",
    'x"y': 'x"y',
    "x{y,z}": "x{y,z}",
    "a=b": "a=b",
}


@pytest.mark.mends("plugins - quotes")
@pytest.mark.parametrize("value", QUOTED)
def test_quoted_values(value, mark, tmp_path):
    """A value in quotes holds anything, in the command, in a pipeline, and in what is recorded."""
    spec, qcal = f"mark{{n=7,key={value}, n=2}}", tmp_path / "m.qcal"
    result = run_command(
        *("calibrate", DIGITS, CALIBRATION, "-o", qcal, "--plugin", mark, "--pass", spec)
    )
    assert result.rc == 0, result.stderr
    outs = []
    for args in (
        ("--data", CALIBRATION, "--pass", spec),
        ("--data", CALIBRATION, "--pass", f"{spec}@fuse-bias-add"),
        ("--calibration", qcal),
    ):
        outs.append(tmp_path / f"{len(outs)}.onnx")
        args = ("quantize", DIGITS, "-o", outs[-1], "-q", "--plugin", mark, *args)
        result = run_command(*args)
        assert result.rc == 0, result.stderr
        seen = metadata(outs[-1])
        assert seen[QUOTED[value]].endswith(" 2") and f"{spec}," in seen["qonnx.pipeline"]
    assert len({out.read_bytes() for out in outs}) == 1
    again = tmp_path / "again.onnx"
    text = metadata(outs[0])["qonnx.pipeline"]
    args = ("--plugin", mark, "--pipeline", text, "--calibration", qcal)
    assert run_command("quantize", DIGITS, "-o", again, "-q", *args).rc == 0
    assert again.read_bytes() == outs[0].read_bytes()


@pytest.mark.mends("plugins - quotes")
@pytest.mark.parametrize(
    "observer, recorded",
    [
        ("percentile{p=99}", "percentile{p=99}"),
        ('"percentile{p=99}"', "percentile{p=99}"),
        ('percentile{p="99"}', 'percentile{p="99"}'),
        ("percentile{p=50,p=99}", "percentile{p=50,p=99}"),
    ],
)
def test_quoted_observer(observer, recorded, tmp_path):
    """An observer is recorded as it was used: without its quotes, and of several the last one."""
    text = f"raise-opset,calibrate{{observer=mse, observer = {observer}}},insert-qdq"
    plain = "raise-opset,calibrate{observer=percentile{p=99}},insert-qdq"
    for out, pipeline in (("a", text), ("b", plain)):
        args = ("quantize", DIGITS, "--data", CALIBRATION, "-o", tmp_path / out, "-q")
        result = run_command(*args, "--pipeline", pipeline)
        assert result.rc == 0, result.stderr
    a, b = onnx.load(tmp_path / "a"), onnx.load(tmp_path / "b")
    assert metadata(tmp_path / "a")["qonnx.observer"] == recorded
    assert a.graph.SerializeToString() == b.graph.SerializeToString()


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
    built_in, loaded = ((tmp_path / out).read_bytes() for out in ("built-in", "loaded"))
    plugins = metadata(tmp_path / "loaded")["qonnx.plugins"]
    assert f"(observer {observer})" in plugins and "(pass insert-qdq)" in plugins
    # All else is the same: the entry that names the guests is the one that is more.
    entry = onnx.StringStringEntryProto(key="qonnx.plugins", value=plugins)
    assert loaded.count(field(14, entry.SerializeToString())) == 1
    assert built_in == loaded.replace(field(14, entry.SerializeToString()), b"")


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
        "fuse-hard-swish.so",
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
