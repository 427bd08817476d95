"""Rows: weights in other files."""

import os

import numpy as np
import onnx
from bad_inputs.table import FLOAT, model, rewrite, row
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.float32([1, 2, 3])


def external_row(name, message, entries, status=1, **more):
    """A row for a model whose weights are said to be elsewhere. Beside it: w.bin of 12 bytes, same.bin
    (a hard link), odd.bin of 13, empty.bin, link, hole (a directory), pipe; above it: outside.bin."""

    def make(folder):
        place = folder / "model"
        place.mkdir()
        for path in (place / "w.bin", folder / "outside.bin"):
            path.write_bytes(WEIGHTS.tobytes())
        os.link(place / "w.bin", place / "same.bin")
        (place / "odd.bin").write_bytes(b"x" + WEIGHTS.tobytes())
        (place / "empty.bin").touch()
        (place / "link").symlink_to(folder / "outside.bin")
        (place / "hole").mkdir()
        os.mkfifo(place / "pipe")
        w = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
        for key, value in entries:
            w.external_data.add(key=key, value=value.format(folder=folder))
        m = model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [1, 3])], constants=[w])
        (place / "m.onnx").write_bytes(m.SerializeToString())
        return rewrite(place / "m.onnx")

    row("external data: " + name, message, status, **more)(make)


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


for name, entries in [("empty", [("location", "empty.bin")]), ("no name", [("location", ".")])]:
    external_row(name, r"(0 bytes|is a directory)", entries)


def inside(made, out, done):
    """The values came along, and stand in the model now."""
    m = onnx.load(out, load_external_data=False)
    assert np.array_equal(numpy_helper.to_array(m.graph.initializer[0]), WEIGHTS)
    assert not any(i.external_data for i in m.graph.initializer)


for name, entries in [
    ("plain", [("location", "w.bin")]),
    ("all keys", [("location", "w.bin"), ("offset", "0"), ("length", "12"), ("checksum", "0" * 40)]),
    ("keys nobody knows", [("location", "w.bin"), ("colour", "blue"), ("", "")]),
    ("offset that is not aligned", [("location", "odd.bin"), ("offset", "1")]),
    ("hard link", [("location", "same.bin")]),
    ("dots that lead nowhere", [("location", "././w.bin")]),
]:
    external_row(name, "", entries, status=0, check=inside)


def two(folder, first, second):
    """A model of two weights of 8 bytes in w.bin, at these offsets."""
    (folder / "w.bin").write_bytes(WEIGHTS.tobytes())
    tensors = []
    for name, offset in (("a", first), ("b", second)):
        t = TensorProto(name=name, data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "w.bin"), ("offset", str(offset)), ("length", "8")):
            t.external_data.add(key=key, value=value)
        tensors.append(t)
    nodes = [helper.make_node("Add", ["x", "a"], ["c"]), helper.make_node("Add", ["c", "b"], ["y"])]
    m = model(nodes, [("x", FLOAT, [1, 2])], constants=tensors)
    (folder / "m.onnx").write_bytes(m.SerializeToString())
    return rewrite(folder / "m.onnx")


def overlap(made, out, done):
    """Both have their own values."""
    a, b = onnx.load(out).graph.initializer
    assert list(numpy_helper.to_array(a)) == [1, 2] and list(numpy_helper.to_array(b)) == [2, 3]


@row("external data: regions that overlap", status=0, check=overlap)
def _(folder):
    return two(folder, 0, 4)


@row("external data: NUL in the location", r"a NUL byte in a string")
def _(folder):
    t = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    t.external_data.add(key="location", value="w#bin")
    m = model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [1, 3])], constants=[t])
    (folder / "m.onnx").write_bytes(m.SerializeToString().replace(b"w#bin", b"w\0bin"))
    return rewrite(folder / "m.onnx")


def in_attribute(field):
    """A Constant whose data is in w.bin."""

    def make(folder):
        (folder / "w.bin").write_bytes(WEIGHTS.tobytes())
        t = TensorProto(name="t", data_type=FLOAT, dims=[WEIGHTS.size], data_location=TensorProto.EXTERNAL)
        t.external_data.add(key="location", value="w.bin")
        constant = helper.make_node("Constant", [], ["y"], "n")
        constant.attribute.add(name="value", type=getattr(onnx.AttributeProto, field))
        into = constant.attribute[0]
        into.t.CopyFrom(t) if field == "TENSOR" else into.tensors.append(t)
        m = model([constant], [], [("y", FLOAT, None)])
        (folder / "m.onnx").write_bytes(m.SerializeToString())
        return rewrite(folder / "m.onnx")

    return make


def brought_in(made, out, done):
    """The data is in the written file."""
    assert list(numpy_helper.to_array(onnx.load(out).graph.node[0].attribute[0].t)) == list(WEIGHTS)


row("external data: of an attribute", status=0, check=brought_in)(in_attribute("TENSOR"))
row("external data: of a list in an attribute", r"attribute 'value' has lists or sparse tensors in another file")(
    in_attribute("TENSORS"))


for verb in ("quantize", "calibrate"):

    @row(f"external data: where {verb} is to write", r"w\.bin: is an input as well, external data of the model")
    def _(folder, verb=verb):
        two(folder, 0, 4)
        np.save(folder / "x.npy", np.zeros((1, 2), np.float32))
        data = ["--data"] if verb == "quantize" else []
        return [verb, folder / "m.onnx", *data, folder / "x.npy", "-o", folder / "w.bin"]
