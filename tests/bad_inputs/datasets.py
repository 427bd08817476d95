"""Rows: samples."""

import io
import os
import struct
import zlib

import numpy as np
from bad_inputs.table import (CALIBRATION, DIGITS, FLOAT, IMAGE, INT64, SAMPLE, conv, model, quantize_row, relu, row,
                              written)
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

def data_row(name, message, make, *options, status=1, **more):
    """A row for a data set of the bundled model (images [1,1,8,8] of float) that make(folder) fills."""

    def arguments(folder):
        data = folder / "data"
        data.mkdir()
        make(data)
        return ["quantize", DIGITS, "--data", data, "-o", "OUT", *options]

    row("data: " + name, message, status, **more)(arguments)


def saved(name, array):
    """Saves an array in the folder that it is given later."""
    return lambda folder: np.save(folder / name, array)


def put(name, content):
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
    ("only other files", r"data: .*npy", put("readme.txt", b"hello")),
    ("corrupt PNG", r"a\.png", put("a.png", picture()[:50])),
    ("no PNG", r"a\.png", put("a.png", b"no picture")),
    ("corrupt JPEG", r"a\.jpg", put("a.jpg", picture(kind="JPEG")[:150])),
    ("empty picture", r"a\.png: the file is empty", put("a.png", b"")),
    ("decompression bomb", r"a\.png.*60000", put("a.png", png_header(60000, 60000))),
    ("npy of another shape", r"a\.npy.*\[1,3,8,8\]", saved("a.npy", np.zeros((1, 3, 8, 8), np.float32))),
    ("npy of objects", r"a\.npy: holds Python objects", saved("a.npy", np.array([{}, []], dtype=object))),
    ("npy of records", r"a\.npy: holds records", saved("a.npy", np.zeros(3, [("a", "f4"), ("b", "i4")]))),
    ("npy of complex numbers", r"a\.npy: has elements of type '<c8'", saved("a.npy", np.zeros((1, 1, 8, 8), np.complex64))),
    ("npy of strings", r"a\.npy: has elements of type '<U3'", saved("a.npy", np.array(["abc"]))),
    ("npy cut off", r"a\.npy.*(complete|bytes)", put("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8)}", body=bytes(10)))),
    ("npy header cut off", r"a\.npy.*header", put("a.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'")),
    ("npy of version 9", r"a\.npy: \.npy version 9", put("a.npy", npy("{}", b"\x09\x00"))),
    ("npy that overflows", r"a\.npy.*more elements than can be addressed|a\.npy.*header", put(
        "a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}"))),
    ("npy with code", r"a\.npy.*header", put("a.npy", npy("__import__('os').system('id')"))),
    ("npy without samples", r"a\.npy", saved("a.npy", np.zeros((0, 1, 8, 8), np.float32))),
    ("pb of another shape", r"a\.pb.*\[1,3\]", put("a.pb", helper.make_tensor("x", FLOAT, [1, 3], [1, 2, 3]).SerializeToString())),
    ("pb that is none", r"a\.pb", put("a.pb", b"\x80\x00\x01")),
    ("pb of strings", r"a\.pb: has elements of type string, the model's input 'image' wants float", put("a.pb", helper.make_tensor("x", TensorProto.STRING, [1], [b"a"]).SerializeToString())),
    ("pb with external data", r"a\.pb.*another file", put("a.pb", TensorProto(
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


# ---- some of many -------------------------------------------------------------------------------


def many(bad, content=None, size=700, **others):
    """Fills a folder with good pictures and some bad ones."""

    def make(folder):
        for i in range(size):
            os.link(SAMPLE, folder / f"{i:03}.png") if os.stat(SAMPLE).st_dev == os.stat(folder).st_dev else \
                (folder / f"{i:03}.png").write_bytes(SAMPLE.read_bytes())
        for i in range(bad):
            (folder / f"5bad{i}.png").write_bytes(picture()[:50] if content is None else content)

    return make


def left_out(count, of):
    """So many samples were left out, and the first five are named."""

    def check(made, out, done):
        lines = done.stderr.splitlines()
        assert len(lines) == min(count, 5) + 1 and f"warning: {count} of {of} samples are damaged" in lines[-1]
        assert all("5bad" in line and line.endswith("it is left out") for line in lines[:-1]), lines
        assert f"calibration  {of - count} samples" in done.stdout

    return check


data_row("1 damaged picture of 101", r"5bad0\.png: damaged PNG: the file is cut short; it is left out", many(1, size=100),
         status=0, check=left_out(1, 101))
data_row("7 damaged pictures of 707", r"7 of 707 samples are damaged and left out", many(7), status=0,
         check=left_out(7, 707))
data_row("1 empty picture of 101", r"it is left out", many(1, b"", 100), status=0, check=left_out(1, 101))
data_row("1 web page of 101", r"it is left out", many(1, b"<html>404", 100), status=0, check=left_out(1, 101))
data_row("8 damaged pictures of 708", r"more than 7 of 708 samples are damaged; the first: .*5bad0\.png: damaged PNG", many(8))
data_row("8 damaged pictures of 708, by one thread", r"more than 7 of 708 samples are damaged; the first: .*5bad0\.png",
         many(8), "-j", 1)
data_row("damaged pictures that may be more", r"8 of 708 samples are damaged", many(8), "--max-bad", 2, status=0,
         check=left_out(8, 708))
data_row("damaged picture where none may be", r"5bad0\.png: damaged PNG", many(1, size=100), "--max-bad", 0)
data_row("all pictures damaged", r"a\.png: is no picture that is read", lambda f: [
    (f / f"{n}.png").write_bytes(b"x") for n in "ab"])
data_row("all pictures damaged, and all may be", r"samples are damaged; the first", lambda f: [
    (f / f"{n}.png").write_bytes(b"x") for n in "ab"], "--max-bad", 100)
data_row("1 picture of another size of 101", r"5bad0\.png: picture is 9x8, .* wants 8x8; see --resize and --crop",
         many(1, picture((9, 8)), 100), "--resize", "none")
data_row("another size, not resized", r"a\.png: picture is 9x8, .* wants 8x8", put("a.png", picture((9, 8))), "--resize",
         "none")
data_row("1 array of another shape of 101", r"a\.npy: shape is \[1,3,8,8\]", lambda f: [
    many(0, size=100)(f), np.save(f / "a.npy", IMAGE)])

# ---- pictures of other kinds ---------------------------------------------------------------------


def pixels(size, high=255, dtype=np.uint8):
    """Noise."""
    return np.random.default_rng(3).integers(0, high, size, dtype)


def encoded(array, mode=None, kind="PNG", **more):
    """The bytes of a picture of these pixels."""
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, kind, **more)
    return out.getvalue()


def picture_row(name, content, values, suffix="png", message=""):
    """A row for a picture: values are the float [8,8] that must be read from it."""

    def check(made, out, done):
        got = np.load(made / "want" / "output_0.npy")
        assert np.array_equal(got.reshape(-1), np.float32(values).reshape(-1)), (got, values)

    def arguments(folder):
        (folder / f"a.{suffix}").write_bytes(content)
        (folder / "want").mkdir()
        np.save(folder / "want" / "output_0.npy", np.float32(values))
        gray = relu(inputs=[("x", FLOAT, [1, 1, 8, 8])])
        return ["run", written(gray, folder), "--data", folder / f"a.{suffix}", "-o", folder / "want"]

    row("picture: " + name, message, status=0, check=check)(arguments)


RGB, GRAY = pixels((8, 8, 3)), pixels((8, 8))
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))
picture_row("gray", encoded(GRAY), GRAY)
picture_row("colour for a gray input", encoded(RGB), LUMA)
picture_row("alpha is dropped", encoded(np.dstack([RGB, pixels((8, 8), 9)])), LUMA)
picture_row("gray and alpha", encoded(np.dstack([GRAY, pixels((8, 8), 9)]), "LA"), GRAY)
picture_row("gray of 16 bits is scaled", encoded(pixels((8, 8), 65535, np.uint16)), np.rint(pixels((8, 8), 65535, np.uint16) / 257))
picture_row("1 bit", encoded(GRAY > 99), 255 * (GRAY > 99))
picture_row("palette", (lambda o: (Image.fromarray(GRAY).convert("P").save(o, "PNG"), o.getvalue())[1])(io.BytesIO()), GRAY)
picture_row("PNG that is called JPEG", encoded(GRAY), GRAY, "jpg")
picture_row("upper-case ending", encoded(GRAY), GRAY, "PNG")
EXIF = Image.Exif()
EXIF[0x112] = 6
TURNED = encoded(GRAY, kind="JPEG", quality=95, exif=EXIF)
picture_row("orientation", TURNED, np.asarray(Image.open(io.BytesIO(TURNED)).transpose(Image.Transpose.ROTATE_270)), "jpg")
for kind, ending in ("WEBP", "webp"), ("BMP", "bmp"), ("PPM", "pgm"):
    picture_row(kind, encoded(GRAY, kind=kind, **({"lossless": True} if kind == "WEBP" else {})), GRAY, ending)
    data_row(f"corrupt {kind}", rf"a\.{ending}: damaged", put(f"a.{ending}", picture(kind=kind)[:30]))
    data_row(f"1 corrupt {kind} of 101", r"it is left out", many(1, picture(kind=kind)[:30], 100), status=0, check=left_out(1, 101))
data_row("GIF that is called PNG", r"a\.png: is no picture that is read \(\.jpg, .*\), whatever its name says", put(
    "a.png", picture(kind="GIF")))
data_row("pictures of kinds that are not read", r"no samples in this directory; \.npy, ", put(
    "a.gif", picture(kind="GIF")))


@row("data: pictures for an input of another form", r"a picture needs an input of shape \[1,C,H,W\]")
def _(folder):
    return ["calibrate", written(relu(inputs=[("x", FLOAT, [1, 64])]), folder), SAMPLE, "-o", "OUT"]


# ---- arrays, archives, several inputs --------------------------------------------------------------

VALUES = np.random.default_rng(5).uniform(0, 255, (2, 1, 8, 8)).astype(np.float32)  # as the model was trained on
for name, array in [("Fortran order", np.asfortranarray(VALUES)), ("big endian", VALUES.astype(">f4")),
                    ("double", VALUES.astype(np.float64)), ("float16", VALUES.astype(np.float16)), ("integers", VALUES.astype(np.int64)),
                    ("no batch axis", VALUES[0])]:
    data_row("npy of " + name, "", saved("a.npy", array), status=0)
data_row("npy of long double", r"a\.npy: has elements of type '<f16'", saved("a.npy", VALUES.astype(np.longdouble)))
data_row("only hidden files", r"no samples in this directory", lambda f: (f / ".a.png").write_bytes(picture()))
data_row("npz in a directory", "", lambda f: np.savez(f / "a.npz", x=VALUES), status=0)
data_row("link that leads nowhere", r"no samples in this directory", lambda f: (f / "a.png").symlink_to("nowhere"))
data_row("odd file names", "", lambda f: [
    (f / n).write_bytes(SAMPLE.read_bytes()) for n in ("a\nb.png", " .png", "-x.png", "\u00fc=1.png", "%s.png")], status=0)


@row("data: npz of Python objects", r"x\.npz \(x\.npy\): holds Python objects")
def _(folder):
    np.savez(folder / "x.npz", x=np.array([{}], dtype=object))
    return ["calibrate", DIGITS, folder / "x.npz", "-o", "OUT"]


@row("data: pipe", r"p\.npy: is a device or a pipe")
def _(folder):
    os.mkfifo(folder / "p.npy")
    return ["calibrate", DIGITS, folder / "p.npy", "-o", "OUT"]


@row("data: directory that nobody may read", r"data: cannot read: Permission denied", nobody=True)
def _(folder):
    (folder / "data").mkdir(mode=0)
    (folder / "digits.onnx").write_bytes(DIGITS.read_bytes())
    return ["calibrate", folder / "digits.onnx", folder / "data", "-o", "OUT"]


def two_inputs(name, message, **files):
    """A row for a model of the inputs a and b, [1,3] each, with these files of samples."""

    def arguments(folder):
        for path, array in files.items():
            path = folder / "data" / path.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(f"{path}.npy", np.zeros(array, np.float32))
        m = model([helper.make_node("Add", ["a", "b"], ["y"])], [("a", FLOAT, [1, 3]), ("b", FLOAT, [1, 3])])
        return ["calibrate", written(m, folder), folder / "data", "-o", "OUT"]

    row("data: two inputs, " + name, message)(arguments)


two_inputs("one kind of samples", r"the model has 2 inputs \(a, b\); give NAME=PATH for each", x=(1, 3))
two_inputs("no partner", r"a/0\.npy: has no partner '0\.\*' in .*/b for the model's input 'b'", a_0=(1, 3), b_1=(1, 3))
two_inputs("other numbers of samples", r"b/0\.npy: holds 3 samples, its partner .*a/0\.npy holds 2", a_0=(2, 3), b_0=(3, 3))
two_inputs("folder for one", r"the model has 2 inputs", a_0=(1, 3))


@row("data: fewer inputs than the model has", r"data: has no input_1\.pb for the model's input 'b'")
def _(folder):
    (folder / "data").mkdir()
    t = numpy_helper.from_array(np.zeros((1, 3), np.float32))
    (folder / "data" / "input_0.pb").write_bytes(t.SerializeToString())
    m = model([helper.make_node("Add", ["a", "b"], ["y"])], [("a", FLOAT, [1, 3]), ("b", FLOAT, [1, 3])])
    return ["calibrate", written(m, folder), folder / "data", "-o", "OUT"]


@row("data: pb of another type", r"input 'i' is int64, the sample is float")
def _(folder):
    m = model([helper.make_node("Gather", ["w", "i"], ["y"])], [("i", INT64, [2])], constants={"w": np.eye(3, dtype=np.float32)})
    t = numpy_helper.from_array(np.float32([0.5, 1]))
    (folder / "input_0.pb").write_bytes(t.SerializeToString())
    return ["run", written(m, folder), "--data", folder]


# ---- samples that say little ------------------------------------------------------------------------

data_row("fewer samples than asked for", r"500 samples are asked for, there are 1\b", put("a.png", SAMPLE.read_bytes()),
         "--limit", 500, status=0)
data_row("the same sample twice", "", lambda f: [(f / f"{n}.png").write_bytes(SAMPLE.read_bytes()) for n in "ab"], status=0)
data_row("one class only", r"all 2 samples are of one class", lambda f: [
    (f / "7").mkdir(), *((f / "7" / f"{n}.png").write_bytes(SAMPLE.read_bytes()) for n in "ab")], status=0)

NAN = IMAGE.copy()
NAN[0, 1, 0, 0] = np.nan
quantize_row("data: NaN in one sample", r"'x' holds NaN values with the sample .*1\.npy; check the samples", conv,
             arrays=[IMAGE, NAN], status=0)
quantize_row("data: infinity in two samples", r"'x' holds infinite values with the sample .*1\.npy, and others follow; check",
             conv, "-j", 2, arrays=[IMAGE, np.where(NAN == NAN, IMAGE, np.float32(np.inf)), IMAGE,
                                    np.where(NAN == NAN, IMAGE, np.float32(np.inf))], status=0)

# ---- labels ------------------------------------------------------------------------------------------


def labels_row(name, message, text):
    """A row for a file of labels."""

    def arguments(folder):
        (folder / "labels.txt").write_bytes(text)
        return ["evaluate", DIGITS, "--data", CALIBRATION, "--labels", folder / "labels.txt"]

    row("labels: " + name, message)(arguments)


labels_row("no class", r"line 1 is 'a b', want 'FILE CLASS'", b"a b\n")
labels_row("a negative class", r"line 1 is '0/000\.png -1', want", b"0/000.png -1\n")
labels_row("a class over all numbers", r"line 1 is .*, want", b"0/000.png 99999999999999999999\n")
labels_row("none of the samples", r"names none of the samples", b"nobody.png 3\n")
labels_row("two classes for one", r"line 2 gives '0/000\.png' the class 4, an earlier one 3",
           b"0/000.png 3\n0/000.png 4\n")
labels_row("no text", r"want 'FILE CLASS'", b"\0\xff\x1b[31m\n")
labels_row("empty file", r"empty \(0 bytes\)", b"")


@row("data: samples of several shapes for one batch", r"samples of several shapes cannot share the model's batch of 2")
def of_several_shapes(folder):
    (folder / "data").mkdir()
    for n in (3, 300):
        np.save(folder / "data" / f"{n}.npy", np.zeros((1, n), np.float32))
    return ["run", written(relu(inputs=[("x", FLOAT, [2, "N"])]), folder), "--data", folder / "data"]
