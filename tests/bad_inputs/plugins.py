"""Rows: plugins that are none, that are refused, that fail, crash or do not end."""

import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import onnx
import pytest
from bad_inputs.environment import interrupted
from bad_inputs.table import CALIBRATION, DIGITS, NOBODY, row
from conftest import COMMAND, ROOT
from plugin_source import BUILD, compile_source, make_plugin

QUANTIZE = ["quantize", DIGITS, "--data", CALIBRATION, "--limit", "3", "-q", "-o", "OUT"]
CLEAN = {"QONNX_PLUGIN_PATH": "", "QONNX_NO_BUILTINS": ""}

ABI = re.search(r"define QONNX_ABI (\d+)u", (ROOT / "include/qonnx/pass.h").read_text())[1]


def plugin_row(name, message, make, *options, status=1, **more):
    """A row for the plugin that make(path) puts there."""

    def arguments(folder):
        make(folder / "mine.so")
        return [a for a in QUANTIZE if status or a != "-q"] + ["--plugin", folder / "mine.so", *options]

    row("plugin: " + name, message, status, env=CLEAN | more.pop("env", {}), **more)(arguments)


# ---- files that are no plugin -------------------------------------------------------------------


def cut_short(path):
    whole = make_plugin(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 4])


def other_machine(path):
    elf = bytearray(make_plugin(path).read_bytes())
    elf[18:20] = struct.pack("<H", 0x1234)  # e_machine
    path.write_bytes(elf)


def other_width(path):
    elf = bytearray(make_plugin(path).read_bytes())
    elf[4] = 1  # 32 bits
    path.write_bytes(elf)


def wrong_abi(path):
    # Nothing behind `abi` may be read: in another ABI it means something else.
    make_plugin(path, plugin=".abi = 99, .name = (char *)8, .passes = (void *)8")


UNRESOLVED = "extern void nowhere(void); nowhere(); return true;"
for name, make, message in [
    ("text", lambda p: p.write_text("#!/bin/sh\n"), "no ELF header"),
    ("empty file", lambda p: p.write_bytes(b""), "no ELF header"),
    ("directory", lambda p: p.mkdir(), "it is not a file"),
    ("pipe", lambda p: os.mkfifo(p), "it is not a file"),
    ("missing", lambda p: None, "No such file"),
    ("link that leads nowhere", lambda p: p.symlink_to("nowhere"), "No such file"),
    ("cut short", cut_short, "cut short"),
    ("of another machine", other_machine, "cannot be loaded"),
    ("of 32 bits", other_width, "cannot be loaded"),
    ("program", lambda p: shutil.copy(COMMAND, p), "cannot be loaded"),
    ("library that is none", lambda p: compile_source(p, "int x;"), "does not export qonnx_plugin_query"),
    ("symbol that is nowhere", lambda p: make_plugin(p, run=UNRESOLVED), "undefined symbol: nowhere"),
    ("that declines", lambda p: make_plugin(p, query="return NULL;"), f"does not serve ABI {ABI} of"),
    ("for a newer ABI", wrong_abi, "built for ABI 99, qonnx"),
    ("for an older ABI", lambda p: make_plugin(p, plugin=".abi = 0"), "built for ABI 0, qonnx"),
    ("without a name", lambda p: make_plugin(p, plugin=".name = NULL"), "no name or no version"),
    ("without a version", lambda p: make_plugin(p, plugin=".version = NULL"), "no name or no version"),
    ("reserved field", lambda p: make_plugin(p, plugin='.reserved = {"x"}'), "reserved field"),
    ("that brings nothing", lambda p: make_plugin(p, plugin=".passes = NULL, .observers = NULL"),
     "neither passes nor observers"),
    ("pass without a name", lambda p: make_plugin(p, **{"pass": ".name = NULL"}), "bad name"),
    ("pass of a bad name", lambda p: make_plugin(p, **{"pass": '.name = "a,b{c=d}"'}), "bad name"),
    ("pass without a function", lambda p: make_plugin(p, **{"pass": ".run = NULL"}), "'mine' has no function"),
    ("pass without a brief", lambda p: make_plugin(p, **{"pass": ".brief = NULL"}), "'mine' has no brief"),
    ("observer without a function", lambda p: make_plugin(p, observer=".range = NULL"), "'mine-range' has no function"),
    ("option without a default", lambda p: make_plugin(p, options='{"a", NULL, "help"},'), "option 1 of its pass"),
    ("one pass twice", lambda p: make_plugin(p, passes="&pass,"), "two passes of the name 'mine'"),
    ("name that is taken", lambda p: make_plugin(p, name="calibrate"), "that qonnx itself brings"),
]:
    plugin_row(name, rf"plugin .*/mine\.so: .*{message}", make)


@row("plugin: that nobody may read", r"plugin .*mine\.so: Permission denied", nobody=True, env=CLEAN)
def _(folder):
    make_plugin(folder / "mine.so").chmod(0)
    return ["passes", "--plugin", folder / "mine.so"]


@row("plugin: without a slash", r"plugin mine\.so: write \./mine\.so for a file of the current directory", env=CLEAN)
def _(folder):
    make_plugin(folder / "mine.so")
    return [*QUANTIZE, "--plugin", "mine.so"]


@row("plugin: two of one name", r"second\.so: .*'mine'.*first\.so|first\.so.*second\.so", env=CLEAN)
def _(folder):
    first, second = make_plugin(folder / "first.so"), make_plugin(folder / "second.so")
    return [*QUANTIZE, "--plugin", first, "--plugin", second]


@row("plugin: one by two names", status=0, env=CLEAN)
def _(folder):
    (folder / "link.so").symlink_to(make_plugin(folder / "mine.so"))
    return [*QUANTIZE, "--plugin", folder / "mine.so", "--plugin", folder / "link.so", "--pass", "mine"]


# ---- passes and observers that fail -------------------------------------------------------------


def failing_pass(name, message, body, *options, top="", **more):
    """A row for a pass of this body."""
    plugin_row(name, rf"pass 'mine' of plugin .*/mine\.so: .*{message}", lambda p: make_plugin(
        p, run=body, top=top), "--pass", "mine", *options, **more)


def failing_observer(name, message, body, **more):
    """A row for an observer of this body."""
    plugin_row(name, rf"observer 'mine-range' of plugin .*/mine\.so: .*{message}", lambda p: make_plugin(
        p, range=body), "--observer", "mine-range", **more)


failing_pass("pass that fails", "it is too cold", 'return qonnx_fail(cx, qonnx_graph_first(g), "it is too cold");')
failing_pass("pass that fails silently", "failed without a reason", "return false;")
failing_pass("pass that forgets that it failed", "it is too warm", 'qonnx_fail(cx, NULL, "it is too warm"); return true;')
failing_pass("pass that leaves a hole", "is neither an output", "qonnx_node_remove(qonnx_graph_first(g)); return true;")
failing_pass("pass that leaves wrong types", "Gemm", 'qonnx_node_set_op(qonnx_graph_first(g), "Gemm"); return true;')
failing_observer("observer that fails", "no", 'return qonnx_fail(cx, NULL, "no");')
failing_observer("observer that chooses NaN", r"chose the range \[nan, ", "*lo = NAN; return true;")
failing_observer("observer that chooses backwards", r"chose the range \[2, 1\]", "*lo = 2; *hi = 1; return true;")
failing_observer("observer that chooses infinity", r"inf\], want two finite numbers", "*hi = INFINITY; return true;")

plugin_row("option that its pass does not have", "has no option 'nonsense'; it has bits, mode$", lambda p: make_plugin(
    p, options='{"bits", "4", "bits"}, {"mode", "a", "mode"},'), "--pass", "mine{nonsense=1}", mends="plugins - options")
plugin_row("option of a pass that has none", "has no option 'nonsense'; it has none$", make_plugin,
           "--pass", "mine{nonsense=1}", mends="plugins - options")

for name, spec, message in [
    ("a quote that is not closed", 'mine{bits="4}', r"""'mine\{bits="4\}' has a quote \("\) that is not closed$"""),
    ("a quote that is not closed, and a place", 'mine{bits="4}@calibrate', "has a quote .* that is not closed$"),
    ("a brace that is not closed", "mine{bits=4", r"'mine\{bits=4' has a brace \(\{\) that is not closed$"),
    ("a brace that closes nothing", "mine}", r"'mine\}' has a brace \(\}\) that closes nothing$"),
    ("two closing braces", "mine{bits=4}}", r"'mine\{bits=4\}\}' has a brace \(\}\) that closes nothing$"),
    ("text behind its brace", "mine{bits=4}x", "goes on behind its closing brace"),
    ("text behind its quote", 'mine{bits="4"4}', "the value of 'bits' goes on behind its closing quote"),
    ("17 options", "mine{%s}" % ",".join(["bits=4"] * 17), "has more than 16 options$"),
]:
    plugin_row(f"pass with {name}", f"^qonnx: pipeline: .*{message}", lambda p: make_plugin(
        p, options='{"bits", "4", "bits"},'), "--pass", spec, mends="plugins - quotes")
plugin_row("observer with an option of calibrate", r"observer .*'mse\{\},observer=minmax'|goes on behind its closing brace",
           make_plugin, "--observer", "mse{},observer=minmax", mends="plugins - quotes")

# ---- what a pass leaves -------------------------------------------------------------------------

# A range for the first value that the model's first node gives.
RANGE = "qonnx_value_set_range(qonnx_node_output(qonnx_graph_first(g), 0), %s); return true;"
for name, values in [("NaN", "NAN, 1"), ("infinite", "0, INFINITY"), ("inverted", "2, 1")]:
    failing_pass(f"pass that sets a range that is {name}", "set the range of '.*' to .* want two finite numbers in order",
                 RANGE % values, mends="plugins - ranges")
CONSTANT = """float f[2] = {1, 2}; qonnx_node *n = qonnx_graph_first(g);
qonnx_value *v = qonnx_graph_add_constant(g, "c", &(qonnx_tensor){%s}); (void)n; %s return true;"""
failing_pass("pass that ranges integers", "for values in float; this one is int8", CONSTANT % (
    "QONNX_INT8, 1, {4}, f, 4", "qonnx_value_set_range(v, 0, 1);"), mends="plugins - types")
failing_pass("pass whose constant is short", "holds 4 bytes, and its shape wants 8", CONSTANT % (
    "QONNX_FLOAT, 1, {2}, f, 4", ""), mends="plugins - constants")
failing_pass("pass whose constant has a negative size", "that no tensor has", CONSTANT % (
    "QONNX_FLOAT, 1, {-1}, f, 4", ""), mends="plugins - constants")
failing_pass("pass that renames an input", "renamed the model's input '.*' to 'other'",
             'qonnx_value_rename(qonnx_graph_input(g, 0), "other"); return true;', mends="plugins - inputs")

# ---- that end the program or the thread ---------------------------------------------------------

ENDED = "ended the program .* instead of returning"
END = "#include <pthread.h>\n#include <stdlib.h>\nstatic void *leave(void *x) { exit(0); return x; }"
for name, code in [("exit(0)", "exit(0);"), ("exit(3)", "exit(3);"), ("quick_exit", "quick_exit(0);"),
                   ("pthread_exit", "pthread_exit(NULL);")]:
    for kind in (failing_pass, failing_observer):
        what = "pass" if kind is failing_pass else "observer"
        more = {"top": END} if kind is failing_pass else {}
        if kind is failing_observer:
            code = f"extern void pthread_exit(void *); {code}"
        kind(f"{what} that calls {name}", ENDED, code, mends="plugins - exit", **more)
    plugin_row(f"that calls {name} when it is asked", rf"plugin .*mine\.so: {ENDED}", lambda p, c=code: make_plugin(
        p, query=c), mends="plugins - exit")
    plugin_row(f"that calls {name} when it is loaded", rf"plugin .*mine\.so: {ENDED}", lambda p, c=code: make_plugin(
        p, top=f"__attribute__((constructor)) static void up(void) {{ {c} }}"), mends="plugins - exit")
plugin_row("whose thread calls exit", rf"a thread of a plugin: {ENDED}", lambda p: make_plugin(
    p, top=END, run="pthread_t t; pthread_create(&t, NULL, leave, NULL); for (;;) ;"), "--pass", "mine",
           mends="plugins - exit")

# ---- that crash, or do not end ------------------------------------------------------------------

DEEP = "static int deep(int n) { volatile char room[4096]; room[n % 4096] = 1; return deep(n + 1) + room[7]; }"
failing_pass("pass that crashes", r"crashed \(segmentation fault\)", "*(volatile int *)8 = 1; return true;")
failing_pass("pass that aborts", r"crashed \(aborted\)", "abort();")
failing_pass("pass that never returns from itself", r"crashed \(segmentation fault\)", "return deep(0);", top=DEEP)
failing_observer("observer that crashes", r"crashed \(segmentation fault\)", "*(volatile int *)8 = 1; return true;")
LOADING = "__attribute__((constructor)) static void loaded(void) { %s }"
plugin_row("that crashes when it is loaded", r"plugin .*mine\.so: crashed \(segmentation fault\)", lambda p: make_plugin(
    p, top=LOADING % "*(volatile int *)8 = 1;"))
plugin_row("that crashes when it is asked", r"plugin .*mine\.so: crashed \(aborted\)", lambda p: make_plugin(
    p, query="abort();"))
for number in (signal.SIGINT, signal.SIGTERM):
    failing_pass(f"pass that does not end, and {number.name}", "stopped", "for (volatile int i = 0;; i++) ;",
                 status=128 + number, how=interrupted(number))
failing_observer("observer that does not end", "stopped", "for (volatile int i = 0;; i++) ;",
                 status=128 + signal.SIGTERM, how=interrupted(signal.SIGTERM))

# ---- that change the process --------------------------------------------------------------------

for name, what, header, code in [
    ("locale", "locale", "locale.h", 'setlocale(LC_ALL, "C.UTF-8");'),
    ("current directory", "current directory", "unistd.h", 'chdir("/");'),
    ("signals", "blocked signals", "signal.h", "sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, NULL);"),
]:
    plugin_row(f"that changes the {name}", rf"mine\.so: it changed the {what}; it was put back", lambda p, h=header, c=code:
               make_plugin(p, top=f"#include <{h}>\n{LOADING % c}"), "--pass", "mine", status=0)
THREAD = """
#include <pthread.h>
#include <unistd.h>
static void *forever(void *x) { for (;;) usleep(100); return x; }
__attribute__((destructor)) static void unloaded(void) { static int n; n++; }
"""
plugin_row("that leaves a thread", "", lambda p: make_plugin(
    p, top=THREAD, run="pthread_t t; return !pthread_create(&t, NULL, forever, NULL);"), "--pass", "mine", status=0)

SAY = 'char text[9]; snprintf(text, 9, "%%d", helper()); qonnx_model_set_metadata(g, "%s", text); return true;'


def own_symbols(made, out, done):
    """Each plugin called its own function."""
    metadata = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert (metadata["one"], metadata["two"]) == ("1", "2")


@row("plugin: two with one symbol", status=0, env=CLEAN, check=own_symbols)
def _(folder):
    for i, name in enumerate(("one", "two"), 1):
        top = f"#include <stdio.h>\nint helper(void) {{ return {i}; }}\nint graph_verify(void) {{ abort(); }}"
        make_plugin(folder / f"{name}.so", name, SAY % name, top=top)
    return [*QUANTIZE, "--plugin", folder / "one.so", "--plugin", folder / "two.so", "--pass", "one", "--pass", "two"]


# ---- where they are looked for ------------------------------------------------------------------


def writable(folder, file_mode, folder_mode):
    """A plugin and its folder with these rights."""
    (folder / "plugins").mkdir()
    path = make_plugin(folder / "plugins" / "mine.so")
    path.chmod(file_mode)
    (folder / "plugins").chmod(folder_mode)
    return path


def warned(text):
    """The warning was given too."""

    def check(made, out, done):
        assert text in done.stderr, done.stderr

    return check


def in_folder(arguments, more):
    """Runs the command with the folder `plugins` as the search path."""
    env = more["env"] | {"QONNX_PLUGIN_PATH": str(more["cwd"] / "plugins")}
    return subprocess.run([COMMAND, *arguments], **more | {"env": env})


LOUD = [a for a in QUANTIZE if a != "-q"]
for name, what, modes in [("file", "the file", (0o666, 0o755)), ("folder", "its folder", (0o644, 0o777))]:
    row(f"plugin: {name} that everybody can write", rf"mine\.so: everybody can write to {what}", 0, env=CLEAN)(
        lambda folder, modes=modes: [*LOUD, "--plugin", writable(folder, *modes), "--pass", "mine"])
    row(f"plugin: found in a {name} that everybody can write", r"no pass 'mine'", env=CLEAN, how=in_folder, check=warned(
        f"mine.so: everybody can write to {what}"))(
            lambda folder, modes=modes: [writable(folder, *modes), *LOUD, "--pass", "mine"][1:])
row("plugin: found", status=0, env=CLEAN, how=in_folder)(
    lambda folder: [writable(folder, 0o644, 0o755), *LOUD, "--pass", "mine"][1:])


@row("plugin: relative search path", r"no pass 'mine'", env={"QONNX_PLUGIN_PATH": "plugins:."}, check=warned(
    "'plugins' is no absolute path: nothing is loaded from there"))
def _(folder):
    return [writable(folder, 0o644, 0o755), *LOUD, "--pass", "mine"][1:]


@row("plugin: search path without a folder", r"no pass 'mine'", env={"QONNX_PLUGIN_PATH": "/nowhere"}, check=warned(
    "QONNX_PLUGIN_PATH: /nowhere: No such file"))
def _(folder):
    return [*LOUD, "--pass", "mine"]


def with_rights(arguments, more):
    """Runs a copy of the command that has rights of its owner: what the environment says is not for it.
    Its library is where no environment leads: in a directory whose name is as long as $ORIGIN/."""
    command, library = more["cwd"] / "qonnx", Path("/tmp/q-r")
    env = more["env"] | {"QONNX_PLUGIN_PATH": str(more["cwd"] / "plugins")}
    nosuid = os.statvfs(more["cwd"]).f_flag & os.ST_NOSUID
    if os.geteuid() or nosuid or library.exists() or b"$ORIGIN/\0" not in COMMAND.read_bytes():
        pytest.skip("such a command cannot be made here")
    try:
        library.mkdir()
        shutil.copy(BUILD / "libqonnx.so.0", library)
        command.write_bytes(COMMAND.read_bytes().replace(b"$ORIGIN/\0", f"{library}\0".encode()))
        command.chmod(0o4755)
        return subprocess.run([command, *arguments], **more | {"env": env, "user": NOBODY})
    finally:
        shutil.rmtree(library)
        command.unlink(missing_ok=True)


@row("plugin: search path of a command with other rights", r"no pass 'mine'", env=CLEAN, nobody=True, how=with_rights)
def _(folder):
    return [writable(folder, 0o644, 0o755), *LOUD, "--pass", "mine"][1:]


