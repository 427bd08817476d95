"""Rows: models and options of which `qonnx compile` must not make wrong, hostile or broken C."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from bad_inputs.table import (
    CALIBRATION, DIGITS, FLOAT, IMAGE, INT64, conv, model, one, relu, row, tool, weighted, weights, written)
from compiled import WARNINGS
from conftest import COMMAND, ROOT
from onnx import helper, numpy_helper

COMPILER = next((c for c in ("gcc-12", "gcc", "cc") if tool(c)), None)


def harmless(text):
    """Nothing but comments of ours, and none that holds what a name wanted to be."""
    assert re.fullmatch(r"[\t\n -~]*", text)
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    assert "pwned" not in re.sub(r'"(\\.|[^"\\])*"', "", code)
    assert "??" not in text and "/*" not in code and not re.search(r"/\*[^*]*\\\s", text)
    for comment in re.findall(r"/\* \d+: (.*?) \*/", text):
        assert len(comment) <= 100 and re.fullmatch(r"([\w.:/ -]|\\x[0-9A-F]{2}|\.\.\.)*", comment), comment


def builds(made, out, done):
    """The C is harmless, compiles without a warning, and gives the bytes of the session."""
    folder = out.parent / "outdir"
    header, = folder.glob("*.h")
    assert re.fullmatch(r"[A-Za-z]\w{0,39}", header.stem)
    for source in (header, header.with_suffix(".c"), folder / f"{header.stem}_test.c"):
        harmless(source.read_text("latin-1"))
    if not COMPILER or not shutil.which("make"):
        pytest.skip("no compiler is installed")
    flags = " ".join(["-O0 -std=c99 -trigraphs -ffp-contract=off", *WARNINGS])
    subprocess.run(["make", "-s", "-C", folder, "test", f"CC={COMPILER}", f"CFLAGS={flags}"], check=True,
                   stdout=subprocess.DEVNULL)


def compile_row(name, message, make, *options, status=1, **more):
    """A row that compiles the model of make(), which gives a path or a model."""

    def arguments(folder):
        made = make(folder)
        return ["compile", "-o", "OUTDIR", *options, "--", made if hasattr(made, "parts") else written(made, folder)]

    if not status:
        more.setdefault("check", builds)
    row("code: " + name, message, status, **more)(arguments)


# ---- names --------------------------------------------------------------------------------------

NAMES = {
    "that ends a comment": "*/ int pwned(void){return 1;} /*",
    "that calls a program": 'x;system("pwned");//',
    "that is a keyword": "int",
    "that is main": "main",
    "with a dot": "a.b",
    "with an underscore in its place": "a_b",
    "of a million letters": "A" * 1_000_000,
    "with lines": "new\nline\r\n#error pwned",
    "with trigraphs": "what??/\n??' pwned",
    "that is a backslash": "\\",
    "with a backslash at the end": "end\\",
    "that ends a string": '"); pwned(); ("',
    "that is a format": "%s%n pwned",
    "that turns around": "\u202e pwned",
    "with a line separator": "a\u2028#error pwned",
    "of bytes": "PLACEHOLDER",
}


def chain(names):
    """The bytes of a model whose values, nodes, graph and producer carry these names."""
    nodes, last = [], names[0] + "?in"
    for i, n in enumerate(names):
        nodes.append(helper.make_node("LeakyRelu" if i % 2 else "Add", [last] if i % 2 else [last, "k"], [n + "?v"],
                                      name=n, doc_string=n))
        last = n + "?v"
    graph = helper.make_graph(nodes, names[0], [helper.make_tensor_value_info(names[0] + "?in", FLOAT, [2, 3])],
                              [helper.make_tensor_value_info(last, FLOAT, [2, 3])],
                              [numpy_helper.from_array(np.float32([[1, -2, 3]]), "k")])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name=names[0], ir_version=8)
    return m.SerializeToString().replace(b"PLACEHOLDER", b"\xff\xfe\x80*/ pwned")


def named(folder, names, file="m"):
    """The model in a file."""
    path = folder / f"{file}.onnx"
    path.write_bytes(chain(names))
    return path


for what, name in NAMES.items():
    compile_row(f"name {what}", "", lambda folder, name=name: named(folder, [name]), status=0)
compile_row("all these names", "", lambda folder: named(folder, list(NAMES.values())), status=0)
FILES = ["int", "main", "q_conv", "support", "*; evil", "1st", "string", "a.b", "\xe9t\xe9", "x" * 200, "-x", "__x", " "]
for file in FILES:
    compile_row(f"file named {file[:20]}", "", lambda folder, file=file: named(folder, ["node"], file), status=0)

# ---- numbers ------------------------------------------------------------------------------------

ODD = np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45, 1.1754944e-38, 3.4028235e38, 0.1, 1 / 3, 16777217, -1e-40, 1])
compile_row("odd numbers", "", lambda folder: one("Mul", ["x", "k"], x=(1, 12), constants={"k": ODD}), status=0)
compile_row("odd numbers in a locale that writes commas", "", lambda folder: one(
    "Mul", ["x", "k"], x=(1, 12), constants={"k": ODD}), status=0, env={"LC_ALL": "de_DE.UTF-8"})
compile_row("weights that are not finite", "", lambda folder: weighted(weights(c0=np.nan, c1=np.inf)), status=0)


def small_source(made, out, done):
    """The weights are apart, and the C is small."""
    folder = out.parent / "outdir"
    assert (folder / "m.bin").stat().st_size >= 16 << 20 and (folder / "m.c").stat().st_size < 1 << 20
    harmless((folder / "m.c").read_text("latin-1"))


compile_row("16 MiB of weights", "", lambda folder: one("MatMul", ["x", "w"], x=(1, 2048), constants={
    "w": np.ones((2048, 2048), np.float32)}), "--weights", "bin", status=0, check=small_source)

# ---- options ------------------------------------------------------------------------------------

for prefix in ("", "1x", "a.b", "a b", "int", "main", "class", "string", "STDIO", "_x", "x;y", "foo;", "x" * 60,
               "*/ int pwned(void){return 1;} /*", "../up"):
    compile_row(f"prefix '{prefix[:32]}'", r"prefix", lambda folder: DIGITS, "--prefix", prefix)
KERNELS = "".join(p.read_text() for p in sorted((ROOT / "kernels").glob("[fq]_*.h")))
for name in sorted(set(re.findall(r"^KERNEL\w* \w+ \*?(\w+)_run\(", KERNELS, re.M))):
    compile_row(f"prefix of the kernel {name}", rf"prefix.*{name}|{name}.*prefix", lambda folder: DIGITS, "--prefix", name)
compile_row("integers of a float model", r"quantize", lambda folder: DIGITS, "--io", "int8")

# ---- models and places --------------------------------------------------------------------------

compile_row("open dimension", r"dimension 1 of input 'x' is open \('width'\); .* give it with --shape", lambda folder: relu(
    inputs=[("x", FLOAT, [1, "width"])]))
compile_row("operator that cannot be run", r"cannot run operator some\.where\.Mystery \(node 'n'\)",
            lambda folder: one("Mystery", domain="some.where"))
compile_row("weight that is an input", r"node 'n' \(Conv\): .*initializer", lambda folder: model(
    [helper.make_node("Conv", ["x", "w"], ["y"], "n")], [("x", FLOAT, [1, 1, 4, 4]), ("w", FLOAT, [2, 1, 3, 3])]))
compile_row("sample of another shape", r"x\.npy: shape is \[1,2\]", lambda folder: (
    np.save(folder / "x.npy", np.zeros((1, 2), np.float32)), DIGITS)[1], "--data", "x.npy")
for op in "Reshape", "Tile", "Expand":
    compile_row(f"{op} to what an input says", rf"\({op}\): the shape of its output '[^']*' is not known before the model runs",
                lambda folder, op=op: model([helper.make_node(op, ["x", "s"], ["y"])],
                                            [("x", FLOAT, [1, 12]), ("s", INT64, [2])]))
compile_row("samples that are not there", r"gone: no such file", lambda folder: DIGITS, "--data", "gone")
compile_row("NaN as the sample", "", lambda folder: (np.save(folder / "x.npy", IMAGE * np.nan), conv())[1],
            "--data", "x.npy", status=0)


@row("code: directory in a missing directory", r"no/way: cannot be made a directory: No such file")
def _(folder):
    return ["compile", DIGITS, "-o", folder / "no" / "way"]


@row("code: directory that cannot be made", r"locked/c: cannot be made a directory", nobody=True)
def _(folder):
    (folder / "locked").mkdir(mode=0o555)
    return ["compile", written(relu(), folder), "-o", folder / "locked" / "c"]


@row("code: directory that is a file", r"/file[:/].*(directory|choose another)")
def _(folder):
    (folder / "file").write_text("mine")
    return ["compile", DIGITS, "-o", folder / "file"]


for name in ("Makefile", "net.c", "net.h", "net_test.c"):

    @row(f"code: {name} that somebody else made", rf"{name}: is there already and not made by qonnx; choose another")
    def _(folder, name=name):
        (folder / "there").mkdir()
        (folder / "there" / name).write_text("mine\n")
        return ["compile", DIGITS, "-o", folder / "there", "--prefix", "net"]


def still_theirs(made, out, done):
    """Files beside ours are let be."""
    assert (out.parent / "outdir" / "README").read_text() == "precious"
    builds(made, out, done)


compile_row("directory with other files", "", lambda folder: DIGITS, status=0, check=still_theirs)


@row("code: twice into one directory", status=0, check=still_theirs)
def _(folder):
    subprocess.run([COMMAND, "compile", "-q", DIGITS, "-o", folder.parent / "outdir"], check=True)
    return ["compile", DIGITS, "-o", "OUTDIR", "--data", CALIBRATION]
