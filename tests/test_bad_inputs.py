"""Bad input, one row a kind: files, wire format, graphs, tensors, external data, data sets, pipelines
and the environment. Each is answered by one message that names what is wrong, with status 1; nothing
is left behind, and what stood at the output is intact."""

import io
import os
import re
import struct
import subprocess
import zlib
from typing import Callable, NamedTuple

import numpy as np
import onnx
import pytest
from conftest import COMMAND, TESTDATA
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Row(NamedTuple):
    """make(folder) puts bad input there and gives the arguments, OUT standing for the output."""

    make: Callable
    message: str  # a regular expression
    status: int = 1


ROWS = {}


def row(name, message, status=1):
    """Adds a row: the function that is decorated makes the input."""

    def add(make):
        assert name not in ROWS
        ROWS[name] = Row(make, message, status)
        return make

    return add


def rewrite(path):
    """The arguments that read a model and write it again."""
    return ["quantize", path, "--pipeline", "", "-o", "OUT"]


def file_row(name, content, message, suffix="onnx"):
    """A row for a model file with these bytes."""

    def make(folder):
        path = folder / f"m.{suffix}"
        path.write_bytes(content() if callable(content) else content)
        return rewrite(path)

    row(name, message)(make)


def model_row(name, message, make):
    """A row for a model that make() gives."""
    file_row(name, lambda: make().SerializeToString(), message)


def model(nodes, inputs=(("x", FLOAT, [1, 3, 8, 8]),), outputs=(("y", FLOAT, None),), constants=(),
          opset=13, **more):
    """A model; constants maps names to arrays, or is a list of TensorProto."""
    if isinstance(constants, dict):
        constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info(*o) for o in outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def relu(**more):
    """The smallest model."""
    return model([helper.make_node("Relu", ["x"], ["y"], "relu")], **more)


def one(op, inputs=("x",), x=(1, 3, 8, 8), constants=None, opset=13, **attributes):
    """A model of one node named 'n'."""
    node = helper.make_node(op, list(inputs), ["y"], "n", **attributes)
    return model([node], [("x", FLOAT, x)], constants=constants or {}, opset=opset)


def conv(x=(1, 3, 8, 8), w=(4, 3, 3, 3), bias=None, **attributes):
    """A model of one Conv."""
    constants = {"w": np.ones(w, np.float32)}
    if bias is not None:
        constants["b"] = np.ones(bias, np.float32)
    return one("Conv", ["x", *constants], x, constants, **attributes)


def edited(edit, base=relu):
    """A model after edit(model)."""

    def make():
        m = base()
        edit(m)
        return m

    return make


# ---- files --------------------------------------------------------------------------------------


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


# ---- wire format --------------------------------------------------------------------------------


def varint(n):
    """The bytes of a number on the wire."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, content):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(levels):
    """Graphs in attributes of nodes of graphs."""
    content = b""
    for i in range(levels - 1, -1, -1):
        content = field([6, 1, 5][i % 3] if i else 7, content)
    return content


file_row("depth bomb", lambda: nested(3000), r"nested more than 100 deep")
file_row("amplification bomb", lambda: field(7, field(1, b"\x2a\x00" * (3 << 20))),
         r"would take more than \d+ MB, far more than its size")
file_row("overlong varint", b"\x08" + b"\xff" * 10 + b"\x01", r"ModelProto\.ir_version at byte 1: a broken number")
file_row("tag 0", b"\x80\x00\x01", r"ModelProto at byte \d+: a broken tag")
file_row("wrong wire type", b"\x0d\0\0\0\0", r"ModelProto\.ir_version at byte 1: a wire type")
file_row("group wire type", b"\xfb\x07", r"a wire type that does not exist")
file_row("NUL in a name", lambda: field(7, field(2, b"a\0b")), r"GraphProto\.name at byte \d+: a NUL byte in a string")
file_row("length over the end", b"\x3a\xff\xff\xff\xff\x0f", r"ModelProto\.graph claims 4294967295 bytes")

# ---- graphs -------------------------------------------------------------------------------------

model_row("no graph", r"no graph in it", edited(lambda m: m.ClearField("graph")))
model_row("empty graph", r"the graph has no outputs",
          edited(lambda m: (m.graph.ClearField("node"), m.graph.ClearField("output"))))
model_row("no operator set", r"imports no operator set", edited(lambda m: m.ClearField("opset_import")))
model_row("cycle", r"depends on its own output, through '[ab]'.*no cycles",
          lambda: model([helper.make_node("Add", ["x", "b"], ["a"], "first"),
                         helper.make_node("Relu", ["a"], ["b"], "second"),
                         helper.make_node("Relu", ["b"], ["y"], "third")]))
model_row("output of two nodes", r"'y' is an output of two nodes",
          edited(lambda m: m.graph.node.append(m.graph.node[0])))
model_row("output that is an input", r"output 'x' is also a graph input or initializer",
          lambda: model([helper.make_node("Relu", ["x"], ["x"])]))
model_row("initializer twice", r"initializer 'w' is there twice",
          lambda: model([helper.make_node("Add", ["x", "w"], ["y"])],
                        constants=[numpy_helper.from_array(np.float32(i), "w") for i in (1, 2)]))
model_row("graph input twice", r"graph input 'x' is there twice",
          edited(lambda m: m.graph.input.append(m.graph.input[0])))
model_row("input from nowhere", r"node 'n' \(Add\): input 'lost' is neither an output of a node",
          lambda: one("Add", ["x", "lost"]))
model_row("output from nowhere", r"graph output 'lost' is produced by no node",
          lambda: model([helper.make_node("Relu", ["x"], ["y"])], outputs=[("lost", FLOAT, None)]))
model_row("node without outputs", r"\(Relu\): it has no output",
          edited(lambda m: m.graph.node.append(helper.make_node("Relu", ["x"], []))))
model_row("required input left out", r"input 1 is left out", lambda: one("Add", ["x", ""]))
model_row("too few inputs", r"1 inputs, want 2", lambda: one("Add", ["x"]))
model_row("too many inputs", r"3 inputs, want 2", lambda: one("Add", ["x", "x", "x"]))
model_row("operator set of the future", r"operator set 99, want 1 to at most \d+",
          edited(lambda m: setattr(m.opset_import[0], "version", 99)))
model_row("operator set of no meaning", r"operator set -3",
          edited(lambda m: setattr(m.opset_import[0], "version", -3)))
model_row("operator set twice", r"operator set .*twice",
          edited(lambda m: m.opset_import.append(m.opset_import[0])))


@row("unknown operator", r"cannot run operator Mystery")
def _(folder):
    (folder / "m.onnx").write_bytes(one("Mystery").SerializeToString())
    np.save(folder / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    return ["run", folder / "m.onnx", "--data", folder / "x.npy"]


@row("sequence input", r"input 's'")
def _(folder):
    info = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    m = model([helper.make_node("SequenceLength", ["s"], ["y"])], [], [("y", INT64, [])])
    m.graph.input.append(info)
    (folder / "m.onnx").write_bytes(m.SerializeToString())
    np.save(folder / "x.npy", np.zeros((1, 3), np.float32))
    return ["run", folder / "m.onnx", "--data", folder / "x.npy"]


# ---- tensors ------------------------------------------------------------------------------------


def tensor_row(name, message, **fields):
    """A row for a model whose initializer 'w' has these fields."""
    values = {"name": "w", "data_type": FLOAT, "dims": [3]} | fields
    model_row(name, message, lambda: model([helper.make_node("Add", ["x", "w"], ["y"])],
                                           constants=[TensorProto(**values)]))


tensor_row("negative dimension", r"'w': dimension 0 is -1", dims=[-1], raw_data=bytes(12))
tensor_row("dimensions overflow", r"'w': the shape has more elements than can be addressed",
           dims=[1 << 40, 1 << 40], raw_data=bytes(12))
tensor_row("rank over the limit", r"'w': rank 9, at most 8", dims=[1] * 9, raw_data=bytes(4))
tensor_row("raw data too short", r"'w': raw_data has 8 bytes, .* need 12", raw_data=bytes(8))
tensor_row("raw data too long", r"'w': raw_data has 16 bytes, .* need 12", raw_data=bytes(16))
tensor_row("data in two places", r"'w': has data both in raw_data and in float_data", raw_data=bytes(12),
           float_data=[1, 2, 3])
tensor_row("no data", r"'w': has no data", )
tensor_row("data type unknown", r"'w': data_type is 99", data_type=99, raw_data=bytes(12))
tensor_row("data type undefined", r"'w': data_type is 0", data_type=0, raw_data=bytes(12))
tensor_row("too few values", r"'w': float_data has 2 values, .* need 3", float_data=[1, 2])
tensor_row("values in the wrong field", r"'w': has values in int32_data, its type float is kept in float_data",
           int32_data=[1, 2, 3])
tensor_row("value out of its type's range", r"'w': int32_data\[1\] is 300, not a value of type uint8",
           data_type=TensorProto.UINT8, int32_data=[1, 300, 3])
tensor_row("4-bit length", r"'w': raw_data has 3 bytes, .* need 2", data_type=TensorProto.INT4, raw_data=bytes(3))
tensor_row("string count", r"'w': string_data has 1 strings", data_type=TensorProto.STRING, string_data=[b"a"])
tensor_row("segmented", r"stored in segments", raw_data=bytes(12), segment=TensorProto.Segment(begin=0, end=3))

# ---- attributes and operands --------------------------------------------------------------------

for op, attributes, message in [
    ("Conv", {"strides": 2}, r"attribute strides is an integer, want integers"),
    ("Conv", {"group": [1]}, r"attribute group is integers, want an integer"),
    ("Conv", {"pads": [1.0, 1.0]}, r"attribute pads is floats, want integers"),
    ("Conv", {"auto_pad": 3}, r"attribute auto_pad is an integer, want a string"),
    ("Conv", {"group": 0}, r"group 0 does not fit"),
    ("Conv", {"group": -1}, r"group -1 does not fit"),
    ("Conv", {"group": 3}, r"group 3 does not fit"),
    ("Conv", {"strides": [0, 1]}, r"strides holds 0, want at least 1"),
    ("Conv", {"strides": [1]}, r"strides has 1 numbers, want 2"),
    ("Conv", {"dilations": [0, 0]}, r"dilations holds 0, want at least 1"),
    ("Conv", {"dilations": [1 << 40, 1]}, r"dilations holds 1099511627776"),
    ("Conv", {"dilations": [4, 4]}, r"the kernel spans 9, the padded input only 8"),
    ("Conv", {"pads": [-1, 0, 0, 0]}, r"pads holds -1, want 0 or more"),
    ("Conv", {"pads": [1, 1]}, r"pads has 2 numbers, want 4"),
    ("Conv", {"kernel_shape": [5, 5]}, r"kernel_shape says 5 where the weight has 3"),
    ("Conv", {"auto_pad": "SOMEHOW"}, r"auto_pad is 'SOMEHOW'"),
]:
    model_row(f"Conv {attributes}", r"node 'n' \(Conv\): " + message, lambda a=attributes: conv(**a))

for name, message, make in [
    ("Conv kernel larger than the input", r"the kernel spans 9, the padded input only 8", lambda: conv(w=(4, 3, 9, 9))),
    ("Conv weight of another rank", r"weight of rank 3 for an input of rank 4", lambda: conv(w=(4, 3, 3))),
    ("Conv of a matrix", r"input of rank 2, want 3 to 5", lambda: conv(x=(3, 8), w=(4, 3))),
    ("Conv of other channels", r"group 1 does not fit 3 input channels", lambda: conv(w=(4, 5, 3, 3))),
    ("Conv without filters", r"group 1 does not fit|the kernel is too small", lambda: conv(w=(0, 3, 3, 3))),
    ("Conv kernel of no size", r"the kernel is too small", lambda: conv(w=(4, 3, 0, 3))),
    ("Conv bias of another length", r"bias of 3 for 4 output channels", lambda: conv(bias=3)),
    ("MaxPool without kernel", r"attribute kernel_shape is missing", lambda: one("MaxPool")),
    ("MaxPool stride 0", r"strides holds 0", lambda: one("MaxPool", kernel_shape=[2, 2], strides=[0, 0])),
    ("MaxPool kernel 0", r"kernel_shape holds 0", lambda: one("MaxPool", kernel_shape=[0, 2])),
    ("Softmax axis", r"axis 4 is out of range for rank 4", lambda: one("Softmax", axis=4)),
    ("Concat axis", r"axis -5 is out of range for rank 4", lambda: one("Concat", ["x", "x"], axis=-5)),
    ("Concat without axis", r"attribute axis is missing", lambda: one("Concat", ["x", "x"])),
    ("Flatten axis", r"axis 5 is out of range for rank 4", lambda: one("Flatten", axis=5)),
    ("Transpose perm twice", r"perm is no permutation", lambda: one("Transpose", perm=[0, 1, 1, 2])),
    ("Transpose perm short", r"perm has 2 axes for rank 4", lambda: one("Transpose", perm=[0, 1])),
    ("Squeeze of a long axis", r"axis 1 has size 3, want 1", lambda: one("Squeeze", ["x", "a"], constants={"a": np.int64([1])})),
    ("Unsqueeze twice", r"axis 0 is there twice", lambda: one("Unsqueeze", ["x", "a"], constants={"a": np.int64([0, 0])})),
    ("Reshape to another size", r"192 elements do not fit", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([5, 7])})),
    ("Reshape with two -1", r"shape has -1", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([-1, -1])})),
    ("Reshape overflow", r"overflow", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([1 << 40, 1 << 40])})),
    ("Slice step 0", r"step 0", lambda: one("Slice", ["x", "a", "b", "c", "d"], constants={
        "a": np.int64([0]), "b": np.int64([1]), "c": np.int64([0]), "d": np.int64([0])})),
    ("Slice lengths", r"different lengths", lambda: one("Slice", ["x", "a", "b"], constants={"a": np.int64([0, 1]), "b": np.int64([1])})),
    ("Gather axis", r"axis 9 is out of range", lambda: one("Gather", ["x", "i"], constants={"i": np.int64([0])}, axis=9)),
    ("Add that does not broadcast", r"does not broadcast", lambda: one("Add", ["x", "w"], constants={"w": np.float32([1, 2])})),
    ("MatMul inner sizes", r"inner sizes differ: 8 and 7", lambda: one("MatMul", ["x", "w"], constants={"w": np.ones((7, 2), np.float32)})),
    ("Gemm rank", r"operands of rank 4 and 2, want 2", lambda: one("Gemm", ["x", "w"], constants={"w": np.ones((8, 2), np.float32)})),
    ("ReduceMean axis", r"axis 7 is out of range", lambda: one("ReduceMean", axes=[7])),
    ("BatchNormalization sizes", r"input 1 has 2 elements for 3 channels", lambda: one(
        "BatchNormalization", list("xabcd"), constants={k: np.ones(2, np.float32) for k in "abcd"})),
    ("scales for another axis", r"5 scales for an axis of size 3", lambda: one(
        "QuantizeLinear", ["x", "s"], constants={"s": np.ones(5, np.float32)})),
    ("attribute twice", r"attribute 'axis' is there twice", edited(
        lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]), lambda: one("Softmax", axis=1))),
    ("attribute without its tensor", r"attribute 'value' has no tensor", edited(
        lambda m: m.graph.node[0].attribute[0].ClearField("t"),
        lambda: model([helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.float32([1])))]))),
    ("dimension over 2^31", r"dimension 0 of 'x' is 1099511627776", lambda: relu(inputs=[("x", FLOAT, [1 << 40])])),
    ("negative dimension of an input", r"dimension 0 of 'x' is -7", lambda: relu(inputs=[("x", FLOAT, [-7])])),
    ("input of rank 9", r"'x' has rank 9, at most 8", lambda: relu(inputs=[("x", FLOAT, [1] * 9)])),
]:
    model_row(name, message, make)


# ---- external data ------------------------------------------------------------------------------


def external_row(name, message, entries):
    """A row for a model whose weights are said to be elsewhere. Beside it: w.bin of 12 bytes, link,
    hole (a directory), pipe; above it: outside.bin."""

    def make(folder):
        place = folder / "model"
        place.mkdir()
        for path in (place / "w.bin", folder / "outside.bin"):
            path.write_bytes(bytes(12))
        (place / "link").symlink_to(folder / "outside.bin")
        (place / "hole").mkdir()
        os.mkfifo(place / "pipe")
        w = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
        for key, value in entries:
            w.external_data.add(key=key, value=value.format(folder=folder))
        m = model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [1, 3])], constants=[w])
        (place / "m.onnx").write_bytes(m.SerializeToString())
        return rewrite(place / "m.onnx")

    row("external data: " + name, message)(make)


for name, message, entries in [
    ("above", r"'\.\./outside\.bin'.*leaves the model's directory", [("location", "../outside.bin")]),
    ("roundabout", r"leaves the model's directory|no such file", [("location", "hole/../../outside.bin")]),
    ("absolute", r"outside\.bin'.*leaves the model's directory", [("location", "{folder}/outside.bin")]),
    ("device", r"'/dev/zero'.*leaves the model's directory", [("location", "/dev/zero")]),
    ("link", r"'link'.*is a symbolic link, which is refused", [("location", "link")]),
    ("directory", r"'hole'.*is a directory", [("location", "hole")]),
    ("pipe", r"'pipe'.*is a device or a pipe", [("location", "pipe")]),
    ("missing", r"'lost\.bin'.*no such file; put it beside", [("location", "lost.bin")]),
    ("no location", r"'w'.*external data has no location", [("offset", "0")]),
    ("empty location", r"'w'.*external data has no location", [("location", "")]),
    ("two locations", r"two locations", [("location", "w.bin"), ("location", "link")]),
    ("negative offset", r"offset '-4', want a decimal number", [("location", "w.bin"), ("offset", "-4")]),
    ("negative length", r"length '-1', want a decimal number", [("location", "w.bin"), ("length", "-1")]),
    ("no number", r"offset '1e3', want a decimal number", [("location", "w.bin"), ("offset", "1e3")]),
    ("overflow", r"offset '99999999999999999999'", [("location", "w.bin"), ("offset", "9" * 20)]),
    ("offset over the end", r"12 bytes at offset 4 .* the file has 12", [("location", "w.bin"), ("offset", "4")]),
    ("offset far over the end", r"12 bytes at offset 18446744073709551615",
     [("location", "w.bin"), ("offset", "18446744073709551615")]),
    ("another length", r"has length 8, type and shape need 12", [("location", "w.bin"), ("length", "8")]),
    ("two offsets", r"offset twice", [("location", "w.bin"), ("offset", "0"), ("offset", "0")]),
]:
    external_row(name, message, entries)


@row("external data: and raw data", r"data both in raw_data and in another file")
def _(folder):
    w = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL, raw_data=bytes(12))
    m = model([helper.make_node("Add", ["x", "w"], ["y"])], constants=[w])
    (folder / "m.onnx").write_bytes(m.SerializeToString())
    return rewrite(folder / "m.onnx")


# ---- data sets ----------------------------------------------------------------------------------


def data_row(name, message, make):
    """A row for a data set of the bundled model (images [1,1,8,8] of float) that make(folder) fills."""

    def arguments(folder):
        data = folder / "data"
        data.mkdir()
        make(data)
        return ["calibrate", DIGITS, data, "-o", "OUT"]

    row("data: " + name, message)(arguments)


def saved(name, array):
    """Saves an array in the folder that it is given later."""
    return lambda folder: np.save(folder / name, array)


def written(name, content):
    """The same for bytes."""
    return lambda folder: (folder / name).write_bytes(content)


def picture(size=(8, 8), mode="L", kind="PNG"):
    """The bytes of a picture."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def png_header(width, height):
    """A PNG that claims to be that large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))


def npy(header, version=b"\x01\x00", body=b""):
    """An .npy file with that header's text."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


ROW_TENSOR = helper.make_tensor("x", FLOAT, [1, 1, 8, 8], [0.0] * 64)

for name, message, make in [
    ("empty directory", r"data: .*(\.npy|npy).*", lambda f: None),
    ("only other files", r"data: .*npy", written("readme.txt", b"hello")),
    ("corrupt PNG", r"a\.png", written("a.png", picture()[:50])),
    ("no PNG", r"a\.png", written("a.png", b"no picture")),
    ("corrupt JPEG", r"a\.jpg", written("a.jpg", picture(kind="JPEG")[:150])),
    ("empty picture", r"a\.png: the file is empty", written("a.png", b"")),
    ("another size", r"a\.png.*9.*8", written("a.png", picture((9, 8)))),
    ("decompression bomb", r"a\.png.*60000", written("a.png", png_header(60000, 60000))),
    ("npy of another shape", r"a\.npy.*\[1,3,8,8\]", saved("a.npy", np.zeros((1, 3, 8, 8), np.float32))),
    ("npy of objects", r"a\.npy: holds Python objects", saved("a.npy", np.array([{}, []], dtype=object))),
    ("npy of records", r"a\.npy: holds records", saved("a.npy", np.zeros(3, [("a", "f4"), ("b", "i4")]))),
    ("npy of complex numbers", r"a\.npy: has elements of type '<c8'", saved("a.npy", np.zeros((1, 1, 8, 8), np.complex64))),
    ("npy of strings", r"a\.npy: has elements of type '<U3'", saved("a.npy", np.array(["abc"]))),
    ("npy cut off", r"a\.npy.*(complete|bytes)", written("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8)}", body=bytes(10)))),
    ("npy header cut off", r"a\.npy.*header", written("a.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'")),
    ("npy of version 9", r"a\.npy: \.npy version 9", written("a.npy", npy("{}", b"\x09\x00"))),
    ("npy that overflows", r"a\.npy.*more elements than can be addressed|a\.npy.*header", written(
        "a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}"))),
    ("npy with code", r"a\.npy.*header", written("a.npy", npy("__import__('os').system('id')"))),
    ("npy without samples", r"a\.npy", saved("a.npy", np.zeros((0, 1, 8, 8), np.float32))),
    ("pb of another shape", r"a\.pb.*\[1,3\]", written("a.pb", helper.make_tensor("x", FLOAT, [1, 3], [1, 2, 3]).SerializeToString())),
    ("pb that is none", r"a\.pb", written("a.pb", b"\x80\x00\x01")),
    ("pb of strings", r"a\.pb: holds strings", written("a.pb", helper.make_tensor("x", TensorProto.STRING, [1], [b"a"]).SerializeToString())),
    ("pb with external data", r"a\.pb.*another file", written("a.pb", TensorProto(
        data_type=FLOAT, dims=[1, 1, 8, 8], data_location=TensorProto.EXTERNAL).SerializeToString())),
]:
    data_row(name, message, make)


@row("data: missing", r"gone: no such file")
def _(folder):
    return ["calibrate", DIGITS, folder / "gone", "-o", "OUT"]


@row("data: input of no such name", r"nobody")
def _(folder):
    return ["calibrate", DIGITS, f"nobody={CALIBRATION}", "-o", "OUT"]


@row("data: fractions for an integer input", r"a\.npy.*(int64|integer)")
def _(folder):
    m = model([helper.make_node("Gather", ["w", "i"], ["y"])], [("i", INT64, [2])], constants={"w": np.eye(3, dtype=np.float32)})
    (folder / "m.onnx").write_bytes(m.SerializeToString())
    np.save(folder / "a.npy", np.float32([0.5, 1]))
    return ["calibrate", folder / "m.onnx", folder / "a.npy", "-o", "OUT"]


@row("data: fewer outputs than the model has", r"output_0\.pb")
def _(folder):
    (folder / "m.onnx").write_bytes(relu().SerializeToString())
    (folder / "input_0.pb").write_bytes(numpy_helper.from_array(np.zeros((1, 3, 8, 8), np.float32)).SerializeToString())
    return ["run", folder / "m.onnx", "--data", folder, "--check"]


@row("data: more inputs than the model has", r"input_1\.pb: there is no such input; the model has 1")
def _(folder):
    (folder / "m.onnx").write_bytes(relu().SerializeToString())
    for i in (0, 1):
        t = numpy_helper.from_array(np.zeros((1, 3, 8, 8), np.float32))
        (folder / f"input_{i}.pb").write_bytes(t.SerializeToString())
    return ["run", folder / "m.onnx", "--data", folder]


@row("data: npz that is no archive", r"x\.npz")
def _(folder):
    (folder / "x.npz").write_bytes(b"PK\x03\x04broken")
    return ["calibrate", DIGITS, folder / "x.npz", "-o", "OUT"]


@row("data: NaN in every sample", r"(NaN|not finite|not a number)")
def _(folder):
    np.save(folder / "a.npy", np.full((1, 1, 8, 8), np.nan, np.float32))
    return ["quantize", DIGITS, "--data", folder / "a.npy", "-o", "OUT"]


# ---- statistics, pipelines, usage ---------------------------------------------------------------


@row("statistics that are none", r"not a qonnx calibration file")
def _(folder):
    return ["quantize", DIGITS, "--calibration", DIGITS, "-o", "OUT"]


for name, text, message in [
    ("unknown pass", "fold-constant", r"no pass 'fold-constant'"),
    ("open brace", "calibrate{observer=mse", r"brace"),
    ("unknown option", "calibrate{observe=mse}", r"has no option 'observe'"),
    ("no value", "calibrate{observer}", r"no name=value"),
]:
    row("pipeline: " + name, message)(lambda folder, text=text: ["quantize", DIGITS, "--data", CALIBRATION, "--pipeline", text, "-o", "OUT"])


@row("output in a missing directory", r"gone/out\.onnx: can not be written: No such file")
def _(folder):
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder / "gone" / "out.onnx"]


@row("output that is a directory", r"is a directory; name a file")
def _(folder):
    return ["quantize", DIGITS, "--pipeline", "", "-o", folder]


# ---- the test -----------------------------------------------------------------------------------


def listing(folder):
    """All paths below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def run_row(bad, folder, **popen):
    """Runs a row's command. Gives the status, the lines of the message and what else came of it."""
    made = folder / "made"
    made.mkdir()
    out = folder / "out.onnx"
    out.write_text("precious")
    arguments = [str(out) if a == "OUT" else str(a) for a in bad.make(made)]
    before = listing(folder)
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, errors="replace", timeout=10,
                          stdin=subprocess.DEVNULL, **popen)
    assert listing(folder) == before, "something was left behind"
    assert out.read_text() == "precious", "the previous output is gone"
    return done


@pytest.mark.parametrize("name", ROWS)
def test_refused(name, qonnx, tmp_path):
    bad = ROWS[name]
    done = run_row(bad, tmp_path)
    assert done.returncode == bad.status, done
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("qonnx: warning: ", "Try "))]
    assert len(lines) == 1 and lines[0].startswith("qonnx: "), done.stderr
    assert re.search(bad.message, lines[0]), lines[0]


def test_odd_names(run, done, tmp_path):
    """Names that are no UTF-8, or that speak to the terminal, are read and written, and shown tamed."""
    m = relu()
    m.graph.node[0].name = "@@@@"
    m.graph.name = "####"
    odd = b"\xff\xc3\x1b\x07"
    path, out = tmp_path / "m.onnx", tmp_path / "out.onnx"
    path.write_bytes(m.SerializeToString().replace(b"@@@@", odd).replace(b"####", b"\xed\xa0\x80\xfe"))
    done("quantize", path, "--pipeline", "", "-o", out)
    assert out.read_bytes() == path.read_bytes()
    m = one("Softmax", axis=9)
    m.graph.node[0].name = "@@@@"
    path.write_bytes(m.SerializeToString().replace(b"@@@@", odd))
    assert "node '????' (Softmax)" in run("inspect", path).stderr


def test_unknown_fields_are_kept(done, tmp_path):
    """What a newer format adds is carried through."""
    path, out = tmp_path / "m.onnx", tmp_path / "out.onnx"
    path.write_bytes(relu().SerializeToString() + field(1000, b"of the future"))
    done("quantize", path, "--pipeline", "", "-o", out)
    assert out.read_bytes() == path.read_bytes()
