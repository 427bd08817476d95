"""Pictures in every form that is read, against Pillow's decoding of the same bytes."""

import contextlib
import io
import itertools
import re
import shutil
import struct
import subprocess
import zlib

import numpy as np
import onnx
import pytest
from conftest import COMMAND
from onnx import TensorProto, helper
from PIL import Image, ImageOps

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd files

TOOL = COMMAND.parent / "tests" / "tool_picture"
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
        shutil.rmtree(data, ignore_errors=True)
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


XMP = b"http://ns.adobe.com/xap/1.0/\0"
OTHER_TAG = struct.pack("<2sHIHHHIHxxI", b"II", 42, 8, 1, 0x100, 3, 1, 6, 0)  # EXIF data, which have no orientation
XMPS = {f"attribute {o}": b'<x tiff:Orientation="%d"/>' % o for o in range(10)} | {
    "element": b"<tiff:Orientation>8</tiff:Orientation>", "two digits": b'tiff:Orientation="83"',
    "first": b'tiff:Orientation="5" tiff:Orientation="3"', "odd, then right": b'tiff:Orientation="x" tiff:Orientation="7"',
    "other quotes": b"tiff:Orientation='6'", "blank": b'tiff:Orientation ="6"', "cut": b'tiff:Orientation="', "name": b"tiff:Orientation",
    "none": b"<x/>", "empty": b""}


def itxt(text, key=b"XML:com.adobe.xmp", lang=b"", method=0):
    return chunk(b"iTXt", key + b"\0" + bytes([method, 0]) + lang + b"\0" + b"\0" + text)


def without(*names):
    return {name: exif for name, exif in ODD_EXIF.items() if name not in names}


def test_orientation_in_xmp(same):
    """XMP's orientation counts where EXIF data have none."""
    files = {}
    for name, xmp in XMPS.items():
        files |= {f"JPEG: {name}": jpeg_with(XMP + xmp), f"PNG: {name}": png_with(itxt(xmp)),
                  f"PNG, language: {name}": png_with(itxt(xmp, lang=b"x-default"))}
        if xmp:
            files[f"WebP: {name}"] = saved(picture(), "WEBP", xmp=xmp)
    turned = XMPS["attribute 6"]
    odd = without("order", "magic", "short")  # of these Pillow says in a PNG that it cannot read them
    for name, exif in {"none": OTHER_TAG, "1": tiff(1), "3": tiff(3), "0": tiff(0), "9": tiff(9), **odd}.items():
        files |= {f"JPEG: {name} in EXIF": jpeg_with(b"Exif\0\0" + exif, XMP + turned),
                  f"JPEG: {name} in EXIF behind": jpeg_with(XMP + turned, b"Exif\0\0" + exif)}
        if exif:
            files[f"PNG: {name} in EXIF"] = png_with(chunk(b"eXIf", exif), itxt(turned))
    files |= {"two segments": jpeg_with(XMP + turned, XMP + XMPS["attribute 3"]),
              "two texts": png_with(itxt(turned), itxt(XMPS["attribute 3"])), "other text": png_with(itxt(turned, key=b"XML")),
              "other segment": jpeg_with(XMP[:-1] + b"x" + turned)}
    same(files)


# ---- WebP ---------------------------------------------------------------------------------------


def riff(*chunks):
    """A WebP file of these chunks, pairs of name and content."""
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for k, c in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webps():
    files = {}
    for (w, h), mode in itertools.product(SIZES, ("L", "RGB", "RGBA")):
        for more in ({"lossless": True, "exact": True}, {"lossless": True}, {"quality": 80}, {"quality": 10, "method": 6}):
            files[f"{mode} {w}x{h} {more}"] = saved(picture(mode, w, h), "WEBP", **more)
    frames = [picture("RGBA", seed=i) for i in range(3)]
    for more in ({"lossless": True}, {"quality": 50}, {"minimize_size": True}):
        files[f"animation {more}"] = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=10, **more)
    part = picture("RGBA")
    part.paste((0, 0, 0, 0), (20, 0, 37, 23))
    files["animation of small frames"] = saved(part, "WEBP", save_all=True, append_images=frames, lossless=True, minimize_size=True)
    for o in range(10):
        files[f"orientation {o}"] = saved(picture(), "WEBP", exif=tiff(o))
        files[f"orientation {o}, prefix"] = saved(picture(), "WEBP", exif=b"Exif\0\0" + tiff(o, ">"))
    return files


def test_frame_on_a_canvas(same):
    """The first frame of an animation, which leaves a border."""
    still = saved(picture("RGB", 9, 5), "WEBP", lossless=True)
    frame = struct.pack("<I", 2)[:3] + struct.pack("<I", 1)[:3] + struct.pack("<I", 8)[:3] + struct.pack("<I", 4)[:3] + bytes(4)
    content = riff((b"VP8X", bytes([2, 0, 0, 0]) + struct.pack("<I", 19)[:3] + struct.pack("<I", 11)[:3]),
                   (b"ANIM", bytes(6)), (b"ANMF", frame + still[12:]))
    same({"frame": content})


@pytest.mark.parametrize("channels", [RGB, GRAY])
def test_webp(same, channels):
    same(webps(), channels)


# ---- BMP ----------------------------------------------------------------------------------------


def bmp(width, height, bits, pixels, *, header=40, compression=0, palette=b"", masks=b"", colors=0, offset=None, size=0):
    """A BMP of these bytes. Masks stand behind a header of 40 bytes, or inside a longer one."""
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack("<IIiHHIIIIII", header, width, height, 1, bits, compression, size, 0, 0, colors, 0)
        head = (head + masks).ljust(header, b"\0")
    at = 14 + len(head) + len(palette) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, at) + head + palette + pixels


def bmp_rows(samples, bits):
    """Numbers [H, W] as a BMP packs them, from the bottom."""
    out = b""
    for row in samples[::-1]:
        if bits < 8:
            n = int("".join(f"{v:0{bits}b}" for v in row).ljust(-(-len(row) * bits // 8) * 8, "0"), 2)
            line = n.to_bytes(-(-len(row) * bits // 8), "big")
        else:
            line = b"".join(int(v).to_bytes(bits // 8, "little") for v in row)
        out += line + b"\0" * (-len(line) % 4)
    return out


def numbers(width, height, high, seed=0):
    return np.random.default_rng([seed, width, height]).integers(0, high, (height, width))


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


def palette_of(n, entry=4):
    return np.random.default_rng(n).integers(0, 256, n * entry, np.uint8).tobytes()


LAYOUTS = {32: [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
                (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0)],
           24: [(0xFF0000, 0xFF00, 0xFF, 0)], 16: [(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)]}


def bmps():
    files = {f"Pillow's {mode} {w}x{h}": saved(picture(mode, w, h), "BMP")
             for mode, (w, h) in itertools.product(("1", "L", "P", "RGB", "RGBA"), SIZES)}
    for (w, h), header in itertools.product(SIZES, (12, 40, 52, 56, 64, 108, 124)):
        entry = 3 if header == 12 else 4
        for bits in (1, 4, 8):
            rows = bmp_rows(numbers(w, h, 1 << bits), bits)
            files[f"{bits} bits {w}x{h} {header}"] = bmp(w, h, bits, rows, header=header, palette=palette_of(1 << bits, entry))
        for bits in (16, 24, 32):
            rows = bmp_rows(numbers(w, h, 1 << bits), bits)
            files[f"{bits} bits {w}x{h} {header}"] = bmp(w, h, bits, rows, header=header)
            for masks in LAYOUTS[bits] if header not in (12, 64) else []:
                if masks[3] and header < 56 or not any(masks) and header == 40:
                    continue
                tail = words(*masks[:3]) if header == 40 else b""
                files[f"{bits} bits {w}x{h} {header} {masks}"] = bmp(
                    w, h, bits, tail + rows, header=header, compression=3, masks=words(*masks) if header > 40 else b"",
                    offset=14 + header + len(tail))
    rows = bmp_rows(numbers(37, 23, 1 << 24), 24)
    files["top-down"] = bmp(37, -23, 24, rows)
    files["wrong sizes of the pixels"] = bmp(37, 23, 24, rows, size=7)
    files["pixels further on"] = bmp(37, 23, 24, bytes(50) + rows, offset=104)
    files["no offset"] = bmp(37, 23, 24, rows, offset=0)
    files["last row without filling"] = bmp(37, 23, 24, rows[:-1])
    files["offset of the palette"] = bmp(8, 8, 8, bmp_rows(numbers(8, 8, 256), 8), palette=palette_of(256), offset=54)
    files["few colors"] = bmp(8, 8, 8, bmp_rows(numbers(8, 8, 9), 8), palette=palette_of(9), colors=9)
    ramp = bytes(v for i in range(256) for v in (i, i, i, 0))
    files["palette of grays"] = bmp(37, 23, 8, bmp_rows(numbers(37, 23, 256), 8), palette=ramp)
    files["white and black"] = bmp(37, 23, 1, bmp_rows(numbers(37, 23, 2), 1), palette=words(0xFFFFFF, 0))
    files["black and white"] = bmp(37, 23, 1, bmp_rows(numbers(37, 23, 2), 1), palette=words(0, 0xFFFFFF))
    files["all of 16 bits"] = bmp(256, 256, 16, bmp_rows(np.arange(65536).reshape(256, 256), 16))
    return files


@pytest.mark.parametrize("channels", [RGB, GRAY])
def test_bmp(same, channels):
    same(bmps(), channels)


def runs(samples, bits, rng):
    """Rows of numbers as runs and literals of random lengths, each row ended, from the bottom."""
    out = b""
    for row in samples[::-1]:
        at = 0
        while at < len(row):
            n = min(int(rng.integers(1, 9)), len(row) - at)
            part = row[at:at + n]
            if n > 2 and rng.random() < 0.5:
                pairs = np.append(part, 0)[:n + n % 2].reshape(-1, 2)
                data = (part if bits == 8 else pairs @ [16, 1]).astype(np.uint8).tobytes()
                out += bytes([0, n]) + data + b"\0" * (len(data) % 2)
            else:
                n = next((i for i in range(1, n) if part[i] != part[0]), n)
                out += bytes([n, int(part[0]) * (1 if bits == 8 else 17)])
            at += n
        out += b"\0\0"
    return out + b"\0\1"


@pytest.mark.parametrize("bits", [4, 8])
def test_runs(decode, same, bits):
    """What was packed comes back; Pillow agrees, but on literals of an odd number of 4 bits before version 13."""
    rng = np.random.default_rng(bits)
    files, wanted, palette = {}, {}, palette_of(1 << bits)
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 4)[:, 2::-1]
    for w, h in SIZES:
        samples = np.repeat(numbers(w, h, 1 << bits), 3, axis=1)
        content = bmp(3 * w, h, bits, runs(samples, bits, rng), compression=3 - bits // 4, palette=palette)
        files[content], wanted[content] = content, colors[samples]
    same(files, want=lambda content, _: wanted[content] if bits == 4 else pillow(content, RGB))
    assert all((pixels == wanted[content]).all() for content, pixels in decode(files).items())


def test_run_of_two_values(same):
    same({"two values": bmp(7, 1, 4, b"\x07\x1e\0\0\0\1", compression=2, palette=palette_of(16))})


def test_gaps_in_runs(decode):
    """Steps, short rows and an early end, which Pillow refuses: what is not drawn has the first color."""
    palette = palette_of(256)
    colors = np.frombuffer(palette, np.uint8).reshape(256, 4)[:, 2::-1]
    data = b"\3\5" b"\0\2\2\1" b"\2\7" b"\0\0" b"\0\0" b"\x09\6\0\0" b"\0\4\1\2\3\4\0\1"
    wanted = np.zeros((6, 8), int)
    wanted[5, :3], wanted[4, 5:7], wanted[2, :], wanted[1, :4] = 5, 7, 6, (1, 2, 3, 4)
    got = decode({h: bmp(8, h, 8, data, compression=1, palette=palette) for h in (6, -6)})
    assert (got[6] == colors[wanted]).all() and (got[-6] == colors[wanted[::-1]]).all()


@pytest.mark.parametrize("masks", [(0xF00, 0xF0, 0xF), (0x3FF00000, 0xFFC00, 0x3FF)])
def test_masks_that_pillow_refuses(same, masks):
    bits = 16 if masks[0] < 65536 else 32
    values = numbers(37, 23, 1 << bits)
    content = bmp(37, 23, bits, words(*masks) + bmp_rows(values, bits), compression=3, offset=66)
    parts = [(values & m) // (m & -m) * 255 // (m // (m & -m)) for m in masks]
    same({"masks": content}, want=lambda *_: np.stack(parts, axis=-1))


# ---- PNM ----------------------------------------------------------------------------------------


def pnms():
    files = {f"Pillow's {mode} {w}x{h}": saved(picture(mode, w, h), "PPM")
             for mode, (w, h) in itertools.product(("1", "L", "RGB"), SIZES)}
    for (w, h), maxval in itertools.product(SIZES, (1, 2, 15, 100, 254, 255, 256, 1000, 65535)):
        kind = ">u2" if maxval > 255 else "u1"
        for planes, text, binary in ((1, "P2", "P5"), (3, "P3", "P6")):
            values = numbers(w * planes, h, maxval + 1)
            head = f" {w} {h}\n{maxval}\n"
            if planes == 3 or maxval < 256:
                files[f"{binary} {w}x{h} {maxval}"] = (binary + head).encode() + values.astype(kind).tobytes()
                files[f"{text} {w}x{h} {maxval}"] = (text + head + " ".join(map(str, values.flatten()))).encode()
    bits = "".join(map(str, numbers(9, 5, 2).flatten()))
    files |= {"P1": b"P1\n9 5\n" + " ".join(bits).encode(), "P1 without spaces": b"P1 9 5 " + bits.encode(),
              "comments": b"P2 # a\n# b\n#\n3# 1\n 1\n#c\n255 #d\n1 2# e\n 3",
              "comment behind the last number of a header": b"P5 3 1 255 # x",
              "two pictures": b"P5 2 1 255 ab" b"P5 2 1 255 cd", "CR and LF": b"P5\r\n2\r\n1\r\n255\nab",
              "values above the highest": b"P5 6 1 100 \0\x32\x64\x65\xc8\xff",
              "values above the highest, of two bytes": b"P6 1 1 256 \0\x7f\x01\x00\xff\xff",
              "noise behind it": b"P6 1 1 255 abcdef"}
    return files


@pytest.mark.parametrize("channels", [RGB, GRAY])
def test_pnm(same, channels):
    same(pnms(), channels)


@pytest.mark.parametrize("maxval", [256, 1000, 65535])
def test_gray_above_255_is_scaled(same, maxval):
    """Pillow has it white from 255 on."""
    values = numbers(37, 23, maxval + 1)
    head = f"37 23 {maxval}\n"
    files = {"P5": ("P5 " + head).encode() + values.astype(">u2").tobytes(),
             "P2": ("P2 " + head + " ".join(map(str, values.flatten()))).encode()}
    same(files, GRAY, lambda *_: np.rint(values / maxval * 255)[..., None])


def test_comment_behind_the_magic(decode):
    assert decode({"a": b"P5#a\n1 1 255 x"})["a"].flatten().tolist() == [ord("x")] * 3


# ---- the rows themselves ------------------------------------------------------------------------


def rows(files, *options, check=True):
    """What tests/tool_picture makes of pictures: (verdict, array [H, W, C] or message) of each."""
    sent = b"".join(struct.pack("<I", len(f)) + f for f in files)
    done = subprocess.run([TOOL, *options], input=sent, stdout=subprocess.PIPE, check=check)
    out, got = io.BytesIO(done.stdout), []
    for _ in files:
        width, height, channels, verdict = out.readline().decode().split()
        size = int(height), int(width), int(channels)
        got.append((verdict, np.frombuffer(out.read(np.prod(size)), np.uint8).reshape(size) if verdict == "ok"
                    else out.readline().decode(errors="replace").strip()))
    return got


def one_of_each():
    """A picture of each decoder, and of each way through it."""
    big = picture("RGB", 90, 150)
    gaps = bmp(8, 6, 8, b"\3\5\0\2\2\1\2\7\0\0\0\4\1\2\3\4\0\1", compression=1, palette=palette_of(256))
    return {"JPEG": saved(big, "JPEG"), "JPEG 4:4:4": saved(big, "JPEG", subsampling=0),
            "progressive": saved(big, "JPEG", progressive=True), "restarts": saved(big, "JPEG", restart_marker_blocks=3),
            "CMYK": saved(picture("CMYK", 33, 70), "JPEG"), "gray JPEG": saved(picture("L", 33, 70), "JPEG"),
            "turned JPEG": jpeg_with(b"Exif\0\0" + tiff(6)), "PNG": saved(big, "PNG"), "RGBA": saved(picture("RGBA"), "PNG"),
            "palette": saved(picture("P"), "PNG", transparency=3), "interlaced": png_with(interlace=1),
            "WebP": saved(big, "WEBP"), "lossless": saved(picture("RGBA"), "WEBP", lossless=True),
            "animation": saved(picture(), "WEBP", save_all=True, append_images=[picture(seed=1)]),
            "turned WebP": saved(picture(), "WEBP", exif=tiff(8)), "BMP": saved(big, "BMP"), "gaps": gaps,
            "16 bits": bmp(37, -23, 16, bmp_rows(numbers(37, 23, 65536), 16)), "4 bits": bmp(7, 3, 4, bmp_rows(numbers(7, 3, 16), 4), header=12, palette=palette_of(16, 3)),
            "P1": b"P1 3 4 010101010101", "P2": b"P2 3 2 9 1 2 3 4 5 6", "P3": b"P3 2 2 300 " + b" 299 0 17" * 4, "P4": b"P4 9 2 \1\2\3\4",
            "P5": b"P5 5 3 200 abcdefghijklmno", "P6": b"P6 2 2 65535 " + bytes(range(24))}


@pytest.mark.parametrize("keep", [2, 3, 7, 16, 29])
def test_rows_that_are_passed_over(keep):
    """Those between are what they would have been."""
    files = list(one_of_each().values())
    for (_, whole), (verdict, some) in zip(rows(files), rows(files, f"keep={keep}")):
        assert verdict == "ok" and (some[::keep] == whole[::keep]).all()


def test_stop_early():
    """Closed after some rows, a picture that is damaged behind them is good; a JPEG says at once that it
    was cut."""
    for form in ("JPEG", "PNG"):
        cut = one_of_each()[form][:-500]
        (whole, _), (early, _) = rows([cut]) + rows([cut], "stop=1")
        assert (whole, early) == ("damaged", "ok" if form == "PNG" else "damaged")


def test_orientation_ignored():
    files = list(orientations().values())
    plain = [np.asarray(Image.open(io.BytesIO(f))) for f in files]
    assert all((a == got).all() for a, (_, got) in zip(plain, rows(files, "noexif")))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 77)])
def test_background(background):
    """Alpha is composited as Pillow pastes with a mask."""
    files = {name: f for name, f in {**pngs(), **webps(), **bmps()}.items()
             if not re.match("type 0, [124] bits.*tRNS|type ., 16 bits.*tRNS", name)}  # Pillow does not scale what tRNS says
    for (name, content), (_, got) in zip(files.items(), rows(files.values(), "background=%02x%02x%02x" % background)):
        top = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        if top.mode in ("RGBA", "LA", "PA") or "transparency" in top.info:
            wanted = Image.new("RGB", top.size, background)
            wanted.paste(top.convert("RGBA"), mask=top.convert("RGBA").getchannel("A"))
        else:
            wanted = top.convert("RGB")
        assert (np.asarray(wanted) == got).all(), name


def test_fast_dct():
    """Near to the accurate one, and not the same."""
    for mode in ("L", "RGB", "CMYK"):
        file = saved(picture(mode, 64, 64), "JPEG")
        (_, exact), (_, fast) = rows([file]) + rows([file], "fast")
        apart = np.abs(exact.astype(int) - fast)
        assert 0 < apart.max() <= 24 and apart.mean() < 2


# ---- bad files ----------------------------------------------------------------------------------

BIG = 60000
HEAD = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM", "PNM": b"P6 ", "WebP": b"RIFF\0\0\0\0WEBP"}


def sof(content, **changes):
    """A JPEG whose frame header has other numbers."""
    at = content.index(b"\xff\xc0")
    fields = dict(zip(("precision", "height", "width"), struct.unpack(">BHH", content[at + 4:at + 9]))) | changes
    return content[:at + 4] + struct.pack(">BHH", *fields.values()) + content[at + 9:]


def vp8x(width, height):
    """The chunk that says how large a WebP picture is."""
    return b"VP8X", bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


BAD = [
    ("no picture", b"hello", "damaged", r"is no picture that is read \(\.jpg, .*\.pnm\), whatever its name says"),
    ("nothing", b"", "damaged", "is no picture"),
    ("JPEG of 12 bits", sof(saved(picture(), "JPEG"), precision=12), "refused", "JPEG of a kind that is not read"),
    ("JPEG of many pixels", sof(saved(picture(), "JPEG"), width=BIG, height=BIG), "refused", "picture is 60000x60000; more than"),
    ("JPEG of no width", sof(saved(picture(), "JPEG"), width=0), "damaged", "damaged JPEG"),
    ("PNG of many pixels", png(BIG, BIG, 8, 2, b""), "refused", "picture is 60000x60000; more than 178956970 pixels are not read"),
    ("PNG that is very wide", png(2**31 - 1, 1, 8, 2, b""), "refused", "picture is 2147483647x1; more than"),
    ("PNG of no height", png(5, 0, 8, 2, b""), "damaged", "damaged PNG"),
    ("WebP of chunks that are none", HEAD["WebP"] + bytes(20), "damaged", "damaged WebP"),
    ("WebP of many pixels", riff(vp8x(BIG, BIG), (b"VP8L", saved(picture(), "WEBP", lossless=True)[20:])), "any", "WebP|picture is"),
    ("WebP of another size", riff(vp8x(9, 9), (b"VP8L", saved(picture(), "WEBP", lossless=True)[20:])), "damaged", "damaged WebP"),
    ("BMP header", bmp(5, 5, 24, bytes(200), header=41), "damaged", "header cannot have 41 bytes"),
    ("BMP of 2 bits", bmp(5, 5, 2, bytes(200)), "refused", "2 bits with compression 0"),
    ("BMP with a JPEG in it", bmp(5, 5, 0, bytes(200), compression=4), "refused", "0 bits with compression 4"),
    ("BMP runs of 24 bits", bmp(5, 5, 24, bytes(200), compression=1), "refused", "24 bits with compression 1"),
    ("BMP of OS/2's Huffman code", bmp(5, 5, 1, bytes(200), compression=3, header=64), "refused", "1 bits with compression 3"),
    ("BMP of many pixels", bmp(BIG, BIG, 24, b""), "refused", "picture is 60000x60000; more than"),
    ("BMP of the least height", bmp(1, -2**31, 24, bytes(99)), "refused", "picture is 1x2147483648; more than"),
    ("BMP of a negative width", bmp(2**32 - 5, 5, 24, bytes(99)), "refused", "picture is 4294967291x5; more than"),
    ("BMP of no height", bmp(5, 0, 24, bytes(99)), "damaged", "no pixels"),
    ("BMP masks with gaps", bmp(2, 2, 32, words(0xF0F000, 0xFF00, 0xFF) + bytes(16), compression=3, offset=66), "refused", "mask of a channel is 0xf0f000"),
    ("BMP mask of no green", bmp(2, 2, 32, words(0xFF0000, 0, 0xFF) + bytes(16), compression=3, offset=66), "refused", "mask of a channel is 0"),
    ("BMP masks that are too wide", bmp(2, 2, 16, words(0x1F0000, 0x3E0, 0x1F) + bytes(8), compression=3, offset=66), "refused", "mask of a channel"),
    ("BMP without its masks", bmp(2, 2, 32, b"", compression=3), "damaged", "damaged BMP: the file is cut short"),
    ("BMP pixels inside the header", bmp(2, 2, 24, bytes(99), offset=20), "damaged", "begin inside the header"),
    ("BMP pixels far away", bmp(2, 2, 24, bytes(99), offset=2**32 - 1), "damaged", "cut short"),
    ("BMP pixels behind the palette's begin", bmp(2, 2, 8, bytes(99), offset=56), "damaged", "there is no palette"),
    ("BMP color outside the palette", bmp(8, 1, 8, b"\1\2\3\4\5\6\7\x08", palette=palette_of(5), colors=5), "damaged",
     "a pixel has color 5 of a palette of 5"),
    ("BMP run outside the palette", bmp(8, 1, 8, b"\1\x09\0\1", compression=1, palette=palette_of(5), colors=5), "damaged", "color 9 of a palette of 5"),
    ("BMP of too many colors", bmp(2, 2, 4, bytes(8), palette=palette_of(16), colors=2**32 - 1), "ok", ""),
    ("BMP runs without an end", bmp(8, 2, 8, b"\3\1\0\0", compression=1, palette=palette_of(256)), "damaged", "cut short"),
    ("BMP literal cut", bmp(8, 2, 8, b"\0\7\1\2\3", compression=1, palette=palette_of(256)), "damaged", "cut short"),
    ("BMP step cut", bmp(8, 2, 8, b"\0\2\1", compression=1, palette=palette_of(256)), "damaged", "cut short"),
    ("BMP steps beyond the picture", bmp(8, 2, 8, b"\0\2\xff\xff\5\5", compression=1, palette=palette_of(256)), "ok", ""),
    ("BMP run beyond the row", bmp(8, 1, 8, b"\xff\1", compression=1, palette=palette_of(256)), "ok", ""),
    ("PAM", b"P7\nWIDTH 2\n", "damaged", "it begins with none of P1 to P6"),
    ("PFM", b"Pf\n2 2\n-1\n" + bytes(16), "damaged", "none of P1 to P6"),
    ("P6 of no numbers", b"P6 a b c", "damaged", "no number where one must stand"),
    ("P6 of negative numbers", b"P6 -1 1 255 abc", "damaged", "no number"),
    ("P6 of long numbers", b"P6 99999999999999999999999 1 255 abc", "damaged", "a number is too large"),
    ("P6 of many pixels", b"P6 60000 60000 255 abc", "refused", "picture is 60000x60000; more than"),
    ("P6 of no width", b"P6 0 1 255 abc", "damaged", "no pixels"),
    ("P6 that is cut", b"P6 2 1 255 abcde", "damaged", "cut short"),
    ("P6 of maxval 0", b"P6 1 1 0 abc", "damaged", "the highest value is 0; 1 to 65535 can be"),
    ("P6 of maxval 65536", b"P6 1 1 65536 abcdef", "damaged", "the highest value is 65536"),
    ("P6 in a comment", b"P6 1 1 #255 abcdef", "damaged", "cut short"),
    ("P2 above its highest value", b"P2 2 1 9 5 10", "damaged", "a value is above 9"),
    ("P2 with a sign", b"P2 2 1 9 5 -1", "damaged", "no number"),
    ("P2 with too few", b"P2 2 2 9 1 2 3   ", "damaged", "cut short"),
    ("P1 of other digits", b"P1 2 1 02", "damaged", "neither 0 nor 1"),
    ("P1 with too few", b"P1 2 2 0 1 0", "damaged", "cut short"),
    ("P4 that is cut", b"P4 9 2 abc", "damaged", "cut short"),
]


@pytest.mark.parametrize("content, verdict, message", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad(content, verdict, message):
    (got, said), = rows([content])
    assert got == verdict or verdict == "any" and got != "ok"
    if verdict != "ok":
        assert said.startswith("picture: ") and re.search(message, said), said


def test_cut_short():
    """No beginning of a picture is one, but for what stands behind its last pixel."""
    behind = {"BMP": 2, "4 bits": 4, "16 bits": 2, "P3": 1}
    for name, content in one_of_each().items():
        most = len(content) - behind.get(name, 0)
        ends = sorted({*range(0, min(most, 200)), *range(200, most, max(1, most // 100)), most - 1})
        for end, (verdict, said) in zip(ends, rows([content[:end] for end in ends])):
            assert verdict == "damaged" and said.startswith("picture: "), (name, end)


def test_cut_below_what_is_wanted(done, run, tmp_path):
    """A JPEG that was cut short is damaged, also where only rows are missing that a crop leaves out."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 16, 64]) for n in "xy")
    g = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    thumbnail = saved(picture(width=8, height=8), "JPEG")
    for more in {}, {"progressive": True}, {"exif": b"Exif\0\0" + thumbnail}:
        content = saved(picture(width=64, height=256), "JPEG", **more)
        command = ["run", tmp_path / "m.onnx", "--data", tmp_path / "a.jpg", "-o", tmp_path / "out",
                   "--resize", "none", "--crop", "64x16"]
        for whole in content, content + b"\0" * 100, content + thumbnail:
            (tmp_path / "a.jpg").write_bytes(whole)
            done(*command)
        for end in len(content) - 1, len(content) * 3 // 4:
            (tmp_path / "a.jpg").write_bytes(content[:end])
            told = run(*command)
            assert told.rc == 1 and "damaged JPEG: the file ends before the picture does" in told.stderr, told


@pytest.mark.parametrize("seed", range(2))
def test_mutants(seed):
    """Whatever is changed in a picture, it is decoded, or there is one message."""
    rng = np.random.default_rng(seed)
    made = []
    for content in one_of_each().values():
        for _ in range(60):
            m = bytearray(content)
            near = min(len(m), 90 if rng.random() < 0.7 else len(m))  # headers stand in front
            for at in rng.integers(0, near, rng.integers(1, 5)):
                m[at] = rng.choice([0, 1, 127, 128, 255, m[at] ^ 1 << rng.integers(8), rng.integers(256)])
            made.append(bytes(m))
    for options in (["most=100000"], ["most=100000", "background=ff00ff", "keep=3"]):
        for verdict, said in rows(made, *options):
            assert verdict == "ok" or said.startswith("picture: ")
