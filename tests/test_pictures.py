"""Pictures in every form that is read, against Pillow's decoding of the same bytes."""

import contextlib
import io
import itertools
import struct
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageOps

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd files

RGB, GRAY = 3, 1


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Identity models that take pictures of any size, by channels."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for channels in (RGB, GRAY):
        x, y = (helper.make_tensor_value_info(n, TensorProto.UINT8, [1, "h", "w", channels]) for n in "xy")
        g = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
        m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        made[channels] = folder / f"{channels}.onnx"
        onnx.save(m, made[channels])
    return made


@pytest.fixture
def decode(models, done, tmp_path):
    """Gives what qonnx makes of pictures: from a dict of bytes by name, one of arrays [H, W, C]."""

    def run(files, channels=RGB):
        data, out = tmp_path / "data", tmp_path / "out"
        data.mkdir()
        for i, content in enumerate(files.values()):
            (data / f"{i:06}.png").write_bytes(content)  # whatever it is: the contents count
        (data / "last.png").write_bytes(saved(Image.new("L", (1, 1)), "PNG"))  # so that there are several
        done("run", models[channels], "--data", data, "-o", out, "-q")
        return {name: np.load(out / "output_0" / f"{i:06}.npy")[0] for i, name in enumerate(files)}

    return run


@pytest.fixture
def same(decode):
    """Fails unless each file decodes to what `want` gives of it, by default what Pillow does."""

    def check(files, channels=RGB, want=None):
        for name, got in decode(files, channels).items():
            wanted = (want or pillow)(files[name], channels)
            assert got.shape == wanted.shape and (got == wanted).all(), name

    return check


def pillow(content, channels):
    """Pillow's pixels [H, W, channels], turned by the EXIF orientation."""
    picture = Image.open(io.BytesIO(content))
    with contextlib.suppress(SyntaxError, struct.error):  # odd EXIF data
        picture = ImageOps.exif_transpose(picture)
    a = np.asarray(picture.convert("RGB" if channels == RGB else "L"))
    return a.reshape(*a.shape[:2], channels)


def saved(picture, form, **options):
    """The bytes of a file."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def picture(mode="RGB", width=37, height=23, seed=0):
    """Something between noise and a gradient, with all values in it."""
    rng = np.random.default_rng([seed, width, height])
    n = len(Image.new(mode, (1, 1)).getbands())
    slope = np.add.outer(np.arange(height) * 255 / max(height - 1, 1), np.arange(width) * 255 / max(width - 1, 1)) / 2
    a = slope[..., None] + rng.normal(0, 60, (height, width, n))
    a = np.clip(a, 0, 255).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(a[..., 0]).convert("1")
    if mode == "P":
        made = Image.fromarray(a[..., 0] % 20, "P")
        made.putpalette(rng.integers(0, 256, 60, np.uint8).tobytes())
        return made
    return Image.frombytes(mode, (width, height), a.tobytes())


SIZES = [(1, 1), (7, 3), (8, 8), (16, 17), (37, 23), (64, 1), (1, 50)]


# ---- JPEG ---------------------------------------------------------------------------------------


def jpegs(**options):
    """JPEGs of several sizes, modes and subsamplings."""
    files = {}
    for (w, h), mode in itertools.product(SIZES, ["L", "RGB", "CMYK"]):
        for sub in range(3 if mode == "RGB" else 1):
            for more in ({}, {"progressive": True}, {"restart_marker_blocks": 2}, {"quality": 30, "optimize": True}):
                name = f"{mode} {w}x{h} {sub} {more}"
                files[name] = saved(picture(mode, w, h, sub), "JPEG", subsampling=sub, **more, **options)
    return files


def without_segment(content, marker):
    """A JPEG without the segments of that marker."""
    at, out = 2, content[:2]
    while content[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(content[at + 2:at + 4], "big")
        out += content[at:end] if content[at + 1] != marker else b""
        at = end
    return out + content[at:]


def ycck(content):
    """A JPEG of Pillow's in CMYK, which says that it were in YCCK."""
    at = content.index(b"Adobe")
    return content[:at + 11] + b"\2" + content[at + 12:]


@pytest.mark.parametrize("channels", [RGB, GRAY])
def test_jpeg(same, channels):
    files = jpegs()
    for w, h in SIZES:
        content = saved(picture("CMYK", w, h), "JPEG")
        files |= {f"no marker {w}": without_segment(content, 0xEE), f"ycck {w}": ycck(content)}
        files[f"no JFIF {w}"] = without_segment(saved(picture("RGB", w, h), "JPEG"), 0xE0)
    same(files, channels)


# ---- PNG ----------------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, kind, rows, *chunks, interlace=0):
    """A PNG of these bytes, filter types among them."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + \
        chunk(b"IEND", b"")


PLANES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples of a pixel, by colour type
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def packed(samples, depth):
    """Rows of samples [H, W, planes] as PNG packs them, unfiltered."""
    out = b""
    for row in samples:
        bits = "".join(f"{v:0{depth}b}" for v in row.flatten())
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return out


def png_of(samples, depth, kind, *chunks, interlace=0):
    h, w, _ = samples.shape
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlace else [samples]
    rows = b"".join(packed(p, depth) for p in passes if p.size)
    return png(w, h, depth, kind, rows, *chunks, interlace=interlace)


def pngs():
    """All colour types and depths, plain and interlaced, but gray of 16 bits."""
    rng = np.random.default_rng(1)
    files = {}
    for kind, planes in PLANES.items():
        for depth in {0: (1, 2, 4, 8), 3: (1, 2, 4, 8)}.get(kind, (8, 16)):
            palette = chunk(b"PLTE", rng.integers(0, 256, 3 << min(depth, 8), np.uint8).tobytes()) if kind == 3 else b""
            clear = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(kind)
            for (w, h), interlace in itertools.product(SIZES, (0, 1)):
                samples = rng.integers(0, 1 << depth, (h, w, planes))
                name = f"type {kind}, {depth} bits, {w}x{h}, interlace {interlace}"
                files[name] = png_of(samples, depth, kind, palette, interlace=interlace)
                if clear:
                    files[name + ", tRNS"] = png_of(samples, depth, kind, palette, chunk(b"tRNS", clear), interlace=interlace)
    return files


@pytest.mark.parametrize("channels", [RGB, GRAY])
def test_png(same, channels):
    files = pngs()
    files |= {f"Pillow's {mode}": saved(picture(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    files["gamma"] = png_of(np.arange(256).reshape(16, 16, 1), 8, 0, chunk(b"gAMA", struct.pack(">I", 100000)))
    same(files, channels)


@pytest.mark.parametrize("interlace", [0, 1])
def test_gray_of_16_bits_is_scaled(same, interlace):
    """Pillow has it white from 255 on."""
    values = np.append(np.arange(0, 65536, 16), [127, 128, 129, 385, 386, 65406, 65407, 65535]).reshape(12, -1, 1)
    content = png_of(values, 16, 0, interlace=interlace)
    same({"gray": content}, GRAY, lambda *_: np.rint(values / 257).astype(np.uint8))


# ---- orientation --------------------------------------------------------------------------------


def tiff(orientation, order="<", kind=3, count=1, entries=1, at=8, magic=42, mark=None):
    """EXIF data with an orientation tag, or something like it."""
    mark = mark or {"<": b"II", ">": b"MM"}[order]
    value = struct.pack(order + {1: "B3x", 3: "Hxx", 4: "I"}[kind], orientation)
    return mark + struct.pack(order + "HIHHHI", magic, at, entries, 0x112, kind, count) + value + bytes(4)


def jpeg_with(*segments):
    """A JPEG with APP1 segments of these contents."""
    content = saved(picture(), "JPEG")
    apps = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return content[:2] + apps + content[2:]


def png_with(*chunks, interlace=0):
    """A PNG with chunks behind its pixels."""
    content = png_of(np.arange(12 * 7 * 3).reshape(7, 12, 3), 8, 2, interlace=interlace)
    return content[:-12] + b"".join(chunks) + content[-12:]


def orientations():
    files = {}
    for o, order in itertools.product(range(10), "<>"):
        exif = tiff(o, order)
        files |= {f"JPEG {o}{order}": jpeg_with(b"Exif\0\0" + exif), f"PNG {o}{order}": png_with(chunk(b"eXIf", exif)),
                  f"interlaced PNG {o}{order}": png_with(chunk(b"eXIf", exif), interlace=1)}
    return files


ODD_EXIF = {"LONG": tiff(6, kind=4), "BYTE": tiff(6, kind=1), "no value": tiff(6, count=0), "two values": tiff(6, count=2),
            "many values": tiff(6, count=10**9), "far away": tiff(6, at=1000), "nowhere": tiff(6, at=0),
            "order": tiff(6, mark=b"XX"), "magic": tiff(6, magic=43), "cut": tiff(6)[:16], "more": tiff(6, entries=65535),
            "empty": b"", "short": b"II*\0"}


def test_orientation(same):
    same(orientations())


def test_odd_exif(same):
    """Whatever is wrong with the tag, the picture is read, and turned as Pillow turns it."""
    files = {f"JPEG: {name}": jpeg_with(b"Exif\0\0" + exif) for name, exif in ODD_EXIF.items()}
    files |= {f"PNG: {name}": png_with(chunk(b"eXIf", exif)) for name, exif in ODD_EXIF.items() if exif}
    files |= {"two segments": jpeg_with(b"Exif\0\0" + tiff(6), b"Exif\0\0" + tiff(3)),
              "another segment in front": jpeg_with(b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + tiff(5)),
              "no EXIF": jpeg_with(b"Exif\0\xff" + tiff(6)), "prefix": png_with(chunk(b"eXIf", b"Exif\0\0" + tiff(6)))}
    same(files)
