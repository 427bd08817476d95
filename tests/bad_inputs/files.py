"""Rows: what stands where a model file is wanted."""

import os
import struct

import numpy as np
from bad_inputs.table import DIGITS, FLOAT, INT64, file_row, linked, model, rewrite, row
from bad_inputs.wire import varint
from onnx import TensorProto, helper

@row("missing file", r"digit\.onnx: no such file; did you mean 'digits\.onnx'\?")
def _(folder):
    (folder / "digits.onnx").write_bytes(DIGITS.read_bytes())
    return rewrite(folder / "digit.onnx")


@row("directory instead of a model", r"is a directory, a file is wanted")
def _(folder):
    return rewrite(folder)


@row("pipe instead of a model", r"is a device or a pipe")
def _(folder):
    os.mkfifo(folder / "pipe")
    return rewrite(folder / "pipe")


@row("standard input instead of a model", r"-: standard input is not read; name a file")
def _(folder):
    return rewrite("-")


@row("device instead of a model", r"is a device or a pipe")
def _(folder):
    return rewrite("/dev/zero")


@row("link to a model", status=0)
def _(folder):
    return rewrite(linked(folder, "link.onnx", DIGITS))


@row("link that leads nowhere", r"no such file")
def _(folder):
    return rewrite(linked(folder, "link.onnx", "nowhere"))


@row("links in a circle", r"cannot read: Too many levels of symbolic links")
def _(folder):
    return rewrite(linked(folder, "link.onnx", "link.onnx"))


@row("model that nobody may read", r"cannot read: Permission denied", nobody=True)
def _(folder):
    (folder / "m.onnx").write_bytes(DIGITS.read_bytes())
    (folder / "m.onnx").chmod(0)
    return rewrite(folder / "m.onnx")


@row("unreadable path", r"cannot read: File name too long|Not a directory")
def _(folder):
    return rewrite(DIGITS / "x")


file_row("empty file", b"", r"empty \(0 bytes\)")
file_row("truncated file", lambda: DIGITS.read_bytes()[:20000],
         r"field ModelProto\.graph claims \d+ bytes at byte \d+, \d+ remain; a truncated download")
file_row("web page", b"<!DOCTYPE html><html></html>", r"a web page; the download failed")
file_row("zip archive", b"PK\x03\x04" + bytes(60), r"a zip archive; unpack it first")
file_row("LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"git lfs pull")
file_row("pickle", b"\x80\x02}q\x00.", r"a Python pickle; export")
file_row("TensorFlow Lite", b"\x1c\0\0\0TFL3" + bytes(60), r"a TensorFlow Lite model; export")
file_row("GGUF", b"GGUF\x03\0\0\0" + bytes(60), r"a GGUF file; export")
file_row("safetensors", struct.pack("<Q", 64) + b'{"__metadata__":{}}' + bytes(60),
         r"a safetensors file; export")
file_row("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(60), r"HDF5")
file_row("NumPy array instead of a model", b"\x93NUMPY\x01\0" + bytes(60), r"a NumPy array")
file_row("random bytes", np.random.default_rng(1).bytes(5000), r"not a valid ONNX file: field \w+")


@row("output is the input", r"is an input as well")
def _(folder):
    (folder / "m.onnx").write_bytes(DIGITS.read_bytes())
    return ["quantize", folder / "m.onnx", "--pipeline", "", "-o", folder / "m.onnx"]


@row("output is the input by another name", r"is an input as well")
def _(folder):
    (folder / "m.onnx").write_bytes(DIGITS.read_bytes())
    os.link(folder / "m.onnx", folder / "same.onnx")
    return ["quantize", folder / "m.onnx", "--pipeline", "", "-o", folder / "same.onnx"]


@row("file over 2 GiB cannot be written", r"would take 3221\d+ bytes, an ONNX file at most 2 GiB")
def _(folder):
    path = folder / "big.onnx"
    weights, size = TensorProto(name="w", data_type=FLOAT, dims=[3 << 18, 1024]), 3 << 30
    whole = model([helper.make_node("Gather", ["w", "i"], ["y"])], [("i", INT64, [1])])
    graph, head = whole.graph.SerializeToString(), weights.SerializeToString() + b"\x4a" + varint(size)
    whole.ClearField("graph")
    tensor = b"\x2a" + varint(len(head) + size) + head
    with path.open("wb") as f:  # the weights are a hole behind all else
        f.write(whole.SerializeToString() + b"\x3a" + varint(len(graph) + len(tensor) + size))
        f.write(graph + tensor)
        f.truncate(f.tell() + size)
    return rewrite(path)


def trailing(folder, name):
    """The digits under another name."""
    (folder / name).write_bytes(DIGITS.read_bytes())
    return ["quantize", "--pipeline", "", "-o", "OUT", "--", folder / name]


for name, path in [("spaces", " a  b .onnx"), ("a newline", "a\nb.onnx"), ("letters", "\u00fc\u2603\u202e.onnx"),
                   ("quotes", "'\"`$(id);.onnx"), ("percents", "%s%n%1$s.onnx"), ("no ending", "model"),
                   ("250 letters", "x" * 250), ("bytes that are no text", b"\xff\xfe.onnx".decode(errors="surrogateescape"))]:
    row(f"path with {name}", status=0)(lambda folder, path=path: trailing(folder, path))


@row("path with a dash in front", status=0)
def _(folder):
    return [*trailing(folder, "-o.onnx")[:-1], "-o.onnx"]


@row("path with a dash in front and no --", r"unknown option '-y'", status=2)
def _(folder):
    trailing(folder, "-y.onnx")
    return ["inspect", "-y.onnx"]


@row("missing file with a newline and a colour", r"a\?b\?\[31m\.onnx: no such file")
def _(folder):
    return rewrite("a\nb\x1b[31m.onnx")
