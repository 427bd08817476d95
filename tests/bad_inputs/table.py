"""The table of bad and odd inputs: what a row says, and the makers of models that rows share."""

import os
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from conftest import COMMAND, TESTDATA
from onnx import TensorProto, helper, numpy_helper

DIGITS = TESTDATA / "digits.onnx"
CALIBRATION = TESTDATA / "digits" / "calibration"
SAMPLE = CALIBRATION / "0" / "000.png"
FLOAT, FLOAT16, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64

LIBRARY = COMMAND.parent / "libqonnx.so"
SANITIZED = LIBRARY.exists() and b"__asan_init" in LIBRARY.read_bytes()
NOBODY = 65534


class Row(NamedTuple):
    """A row. make(folder) puts the input there and gives the arguments: OUT stands for a file that
    is there already, OUTDIR for a directory that is."""

    make: Callable
    message: str = ""  # a regular expression: of the message; with status 0, of a warning; "": of none
    status: int = 1  # exit status; 0: the input is odd, and legal
    env: dict = {}  # of the command, beside ours
    limits: dict = {}  # resource.RLIMIT_...: limit
    popen: dict = {}  # further arguments of subprocess.run
    nobody: bool = False  # as a user who may do nothing, when root runs the tests
    plain: bool = False  # not under sanitizers, which need room and come first
    how: Callable = None  # how(arguments, more) runs the command in another way; gives the end
    check: Callable = None  # check(made, out, done): more about what came of it; outdir is beside out
    timeout: int = 10  # seconds
    mends: str = ""  # the fault of an earlier command that the row holds (the marker in conftest.py)


ROWS = {}


def row(name, message="", status=1, **more):
    """Adds a row: the function that is decorated makes the input."""

    def add(make):
        assert name not in ROWS, name
        ROWS[name] = Row(make, message, status, **more)
        return make

    return add


def rewrite(path):
    """The arguments that read a model and write it again."""
    return ["quantize", path, "--pipeline", "", "-o", "OUT"]


def written(model, folder, name="m.onnx"):
    """Writes a model into the folder; gives the path."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def file_row(name, content, message="", status=1, suffix="onnx", **more):
    """A row for a model file with these bytes."""

    def make(folder):
        path = folder / f"m.{suffix}"
        path.write_bytes(content() if callable(content) else content)
        return rewrite(path)

    row(name, message, status, **more)(make)


def model_row(name, message, make, status=1, **more):
    """A row for a model that make() gives."""
    file_row(name, lambda: make().SerializeToString(), message, status, **more)


def samples(folder, *arrays):
    """A directory of .npy files."""
    (folder / "samples").mkdir()
    for i, array in enumerate(arrays):
        np.save(folder / "samples" / f"{i}.npy", array)
    return folder / "samples"


def quantize_row(name, message, make, *options, arrays=None, status=1, **more):
    """A row that quantizes the model of make() with these samples: of `IMAGE`, if not given."""

    def arguments(folder):
        given = samples(folder, *(arrays or [IMAGE]))
        return ["quantize", written(make(), folder), "--data", given, "-o", "OUT", *options]

    row(name, message, status, **more)(arguments)


def run_row(name, message, make, **more):
    """A row that runs the model of make() on `IMAGE`."""

    def arguments(folder):
        return ["run", written(make(), folder), "--data", samples(folder, IMAGE)]

    row(name, message, **more)(arguments)


# ---- models -------------------------------------------------------------------------------------

IMAGE = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


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


def one(op, inputs=("x",), x=(1, 3, 8, 8), constants=None, opset=13, domain="", **attributes):
    """A model of one node named 'n'."""
    node = helper.make_node(op, list(inputs), ["y"], "n", domain=domain, **attributes)
    return model([node], [("x", FLOAT, x)], constants=constants or {}, opset=opset)


def conv(x=(1, 3, 8, 8), w=(4, 3, 3, 3), bias=None, **attributes):
    """A model of one Conv."""
    constants = {"w": np.ones(w, np.float32)}
    if bias is not None:
        constants["b"] = np.ones(bias, np.float32)
    return one("Conv", ["x", *constants], x, constants, **attributes)


def weighted(w, x=(1, 3, 8, 8), dtype=FLOAT):
    """A model of one Conv with this weight."""
    return model([helper.make_node("Conv", ["x", "w"], ["y"], "n")], [("x", dtype, x)], [("y", dtype, None)],
                 {"w": w})


def weights(value=1.0, **places):
    """A weight [4,3,3,3]; places are its first elements by channel: c1=nan."""
    w = np.full((4, 3, 3, 3), value, np.float32)
    for channel, x in places.items():
        w[int(channel[1:]), 0, 0, 0] = x
    return w


def edited(edit, base=relu):
    """A model after edit(model)."""

    def make():
        m = base()
        edit(m)
        return m

    return make


def linked(folder, name, target):
    """A symbolic link; its path."""
    (folder / name).symlink_to(target)
    return folder / name


def tool(name):
    """Whether a program is there."""
    return any(os.access(Path(p) / name, os.X_OK) for p in os.environ.get("PATH", "").split(":"))
