"""Resized pictures against Pillow and OpenCV, and against models of TensorFlow's and torchvision's arithmetic in
NumPy, which were compared with these libraries byte for byte when they were written down: they are too large to be
installed for a test."""
import math
import resource
import subprocess

import cv2
import numpy as np
import pytest
from conftest import COMMAND
from PIL import Image

TOOL = COMMAND.parent / "tests" / "tool_resize"
ENGINES = ["pillow", "torchvision", "opencv", "tf", "tf1"]
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "linear-exact", "area"]
PILLOW = {name: getattr(Image.Resampling, name.upper()) for name in FILTERS[:6]}
OPENCV = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "linear-exact": cv2.INTER_LINEAR_EXACT,
          "area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC}
f32 = np.float32


# ---- running the tool ---------------------------------------------------------------------------


def case(picture, size, crop=None, portable=False):
    """A picture (or its shape, for one of zeros), the size (width, height), and left, top, columns, rows of the part
    that is wanted."""
    return picture, size, crop or (0, 0, *size), portable


def resize(engine, name, cases, **popen):
    """The results: arrays, or the messages of what was refused; and the rows that were read and passed over."""
    out, real = [], engine in ("tf", "tf1") and name == "bilinear"
    data = b""
    for picture, size, crop, portable in cases:
        shape = picture if isinstance(picture, tuple) else picture.shape
        words = [ENGINES.index(engine), FILTERS.index(name), portable, isinstance(picture, tuple), shape[2], shape[1],
                 shape[0], *size, *crop]
        data += np.array(words, np.uint64).tobytes()
        data += b"" if isinstance(picture, tuple) else picture.tobytes()
    done = subprocess.run([TOOL], input=data, capture_output=True, check=True, **popen).stdout
    at = 0
    for picture, _, (_, _, columns, rows), _ in cases:
        ok, read, passed, n = np.frombuffer(done, np.uint64, 4, at).tolist()
        body = done[at + 32:at + 32 + n]
        at += 32 + n
        if ok:
            body = np.frombuffer(body, f32 if real else np.uint8).reshape(rows, columns, -1)
        else:
            body = body.decode()
        out.append((body, read, passed))
    assert at == len(done)
    return out


def noise(rng, h, w, channels):
    """Noise of all values, of 0 and 255 only, which shows clipping, or smooth."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (h, w, channels), np.uint8)
    if kind == 1:
        return (rng.integers(0, 2, (h, w, channels), np.uint8) * 255).astype(np.uint8)
    y, x, c = np.ogrid[:h, :w, :channels]
    return ((np.sin(y / 9 + c) + np.cos(x / 7)) * 60 + 128).astype(np.uint8)


def crops(rng, size):
    """A part of the result, or all of it."""
    if rng.integers(2):
        return None
    left, top = (int(rng.integers(n)) for n in size)
    return left, top, int(rng.integers(1, size[0] - left + 1)), int(rng.integers(1, size[1] - top + 1))


def up_and_down(rng, n=200):
    """n random cases that shrink, n that grow, and odd ones."""
    sizes = [rng.integers(1, 140, 4) for _ in range(2 * n)]
    pairs = [(np.minimum(s[:2], s[2:]), np.maximum(s[:2], s[2:])) for s in sizes]
    pairs = [(large, small) for small, large in pairs[:n]] + pairs[n:]
    pairs += [tuple(np.array(p) for p in q) for q in (
        ((1, 1), (7, 5)), ((7, 5), (1, 1)), ((3, 1000), (2, 20)), ((1000, 2), (15, 3)), ((1, 900), (1, 30)),
        ((2, 2), (1, 1)), ((60, 40), (30, 20)), ((60, 40), (20, 10)), ((60, 40), (60, 20)), ((60, 40), (30, 40)),
        ((33, 21), (33, 21)), ((41, 30), (41, 77)), ((50, 37), (34, 26)), ((90, 100), (30, 25)), ((8, 90), (64, 9)))]
    pairs += [(rng.integers(1, 140, 2), rng.integers(1, 140, 2)) for _ in range(40)]
    for i, ((w, h), size) in enumerate(pairs):
        size = tuple(size.tolist())
        yield case(noise(rng, h, w, (1, 3)[i % 2]), size, crops(rng, size), portable=i % 4 > 1)


def part(whole, crop):
    left, top, columns, rows = crop
    return whole[top:top + rows, left:left + columns]


def wanted(library, name, cases):
    for picture, size, crop, _ in cases:
        if library == "pillow":
            whole = np.asarray(Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
                               .resize(size, PILLOW[name]))
        else:
            whole = cv2.resize(picture, size, interpolation=OPENCV[name])
        yield part(whole.reshape(size[1], size[0], -1), crop)


# ---- against the libraries ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PILLOW)
def test_pillow(name):
    cases = list(up_and_down(np.random.default_rng(1)))
    for c, (got, _, _), want in zip(cases, resize("pillow", name, cases), wanted("pillow", name, cases), strict=True):
        assert np.array_equal(got, want), (c[0].shape, *c[1:])


@pytest.mark.parametrize("name", [n for n in OPENCV if n != "bicubic"])
def test_opencv(name):
    cases = list(up_and_down(np.random.default_rng(2)))
    for c, (got, _, _), want in zip(cases, resize("opencv", name, cases), wanted("opencv", name, cases), strict=True):
        assert np.array_equal(got, want), (c[0].shape, *c[1:])


def test_opencv_cubic():
    """The packages for x86-64 have it from a library of Intel's, whose order of sums is not known."""
    cases = list(up_and_down(np.random.default_rng(3)))
    equal = total = 0
    for (got, _, _), want in zip(resize("opencv", "bicubic", cases), wanted("opencv", "bicubic", cases), strict=True):
        assert np.abs(got.astype(int) - want).max() <= 1
        equal, total = equal + (got == want).sum(), total + want.size
    print(f"{100 * equal / total:.3f} % of {total} bytes equal")
    assert equal / total >= 0.9995


# ---- against models of what the others do ----------------------------------------------------------


def tf_axis(n_in, n_out, corner):
    """TensorFlow: the two source pixels of each output, and the share of the second."""
    scale, i = f32(n_in) / f32(n_out), np.arange(n_out, dtype=f32)
    x = i * scale if corner else (i + f32(0.5)) * scale - f32(0.5)
    low = np.floor(x)
    high = np.minimum(low + 1, n_in - 1) if corner else np.minimum(np.ceil(x), n_in - 1)
    return np.maximum(low, 0).astype(int), high.astype(int), (x - low).astype(f32)


def tf_bilinear(picture, size, corner):
    (x0, x1, fx), (y0, y1, fy) = (tf_axis(picture.shape[1 - k], size[k], corner) for k in (0, 1))
    a, fx, fy = picture.astype(f32), fx[None, :, None], fy[:, None, None]
    top = a[y0][:, x0] + (a[y0][:, x1] - a[y0][:, x0]) * fx
    bottom = a[y1][:, x0] + (a[y1][:, x1] - a[y1][:, x0]) * fx
    return top + (bottom - top) * fy


def tf_nearest(picture, size):
    x, y = (np.minimum(np.floor((np.arange(size[k], dtype=f32) + f32(0.5)) *
                                (f32(picture.shape[1 - k]) / f32(size[k]))).astype(int), picture.shape[1 - k] - 1)
            for k in (0, 1))
    return picture[y][:, x]


def bilinear(x):
    return max(1 - abs(x), 0)


def bicubic(x):
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0


def torchvision_axis(array, n_out, axis, weight, support):
    """torchvision's uint8 tensors, antialias=True, along an axis: weights of 16 bits, one shift for all of them."""
    array = np.moveaxis(array, axis, 0).astype(np.int64)
    n_in, out, taps = len(array), [], []
    scale = n_in / n_out
    stretch = max(scale, 1)
    for i in range(n_out):
        centre = (i + 0.5) * scale
        low = max(int(centre - support * stretch + 0.5), 0)
        high = min(int(centre + support * stretch + 0.5), n_in)
        w = [weight((x - centre + 0.5) * (1 / stretch)) for x in range(low, high)]
        taps.append((low, [v / sum(w) for v in w]))
    most, bits = max(max(w) for _, w in taps), 0
    for bits in range(22):
        if int(0.5 + most * (1 << (bits + 1))) >= 1 << 15:
            break
    for low, w in taps:
        k = [int(v * (1 << bits) + math.copysign(0.5, v)) for v in w]
        total = sum(v * array[low + j] for j, v in enumerate(k)) + (1 << (bits - 1))
        out.append(np.clip(total >> bits, 0, 255))
    return np.moveaxis(np.array(out, np.uint8), 0, axis)


@pytest.mark.parametrize("engine, name", [("tf", "bilinear"), ("tf1", "bilinear"), ("tf", "nearest")])
def test_tensorflow(engine, name):
    cases = list(up_and_down(np.random.default_rng(4)))
    for c, (got, _, _) in zip(cases, resize(engine, name, cases), strict=True):
        want = tf_nearest(*c[:2]) if name == "nearest" else tf_bilinear(*c[:2], engine == "tf1")
        assert got.tobytes() == part(want, c[2]).tobytes(), (c[0].shape, *c[1:])


@pytest.mark.parametrize("name, weight, support", [("bilinear", bilinear, 1), ("bicubic", bicubic, 2)])
def test_torchvision(name, weight, support):
    cases = list(up_and_down(np.random.default_rng(5), n=60))
    for c, (got, _, _) in zip(cases, resize("torchvision", name, cases), strict=True):
        want = torchvision_axis(c[0], c[1][0], 1, weight, support)
        want = torchvision_axis(want, c[1][1], 0, weight, support)
        assert np.array_equal(got, part(want, c[2])), (c[0].shape, *c[1:])


# ---- what it costs ------------------------------------------------------------------------------


def test_instructions_agree():
    """The loops for this machine's instructions and the portable ones, on windows of all lengths."""
    rng = np.random.default_rng(6)
    for engine, name in (("pillow", "lanczos"), ("pillow", "bilinear"), ("torchvision", "bicubic")):
        cases = []
        for n in range(1, 70):
            picture = noise(rng, int(rng.integers(1, 30)) + n, n * int(rng.integers(1, 12)), (3, 3, 1)[n % 3])
            size = (n, int(rng.integers(1, 30)))
            crop = crops(rng, size)
            cases += [case(picture, size, crop), case(picture, size, crop, portable=True)]
        results = resize(engine, name, cases)
        for mine, plain in zip(results[::2], results[1::2], strict=True):
            assert np.array_equal(mine[0], plain[0])


@pytest.mark.parametrize("engine, name", [("pillow", "bilinear"), ("opencv", "bilinear"), ("tf", "bilinear"),
                                          ("pillow", "nearest"), ("opencv", "area")])
def test_rows(engine, name):
    """Rows above and below what a crop needs are passed over, or not asked for."""
    (_, read, passed), = resize(engine, name, [case((1000, 500, 3), (50, 100), (10, 40, 30, 20))])
    assert 380 <= passed + read <= 620 and passed >= 380 and read <= 240


def test_hostile_sizes():
    """Refused before anything is allocated, or done in little memory."""
    refused = [((1, 100000, 3), (1 << 24, 1 << 24)), ((1, 1, 1), ((1 << 24) + 1, 1)), ((1, 1, 1), (1 << 62, 1 << 62)),
               ((100000, 1, 3), (1 << 15, 1 << 15)), ((1, 1 << 30, 1), (1, 1))]
    for engine, name in (("pillow", "lanczos"), ("opencv", "area"), ("tf", "bilinear"), ("pillow", "nearest")):
        for message, read, _ in resize(engine, name, [case(*r) for r in refused]):
            assert message.startswith("resizing ") and read == 0
    done = [case((1, 100000, 3), (1, 1)), case((100000, 1, 3), (1, 1)), case((1, 100000, 3), (1 << 24, 1), (5, 0, 9, 1)),
            case((100000, 1, 1), (256, 1 << 24), (0, 12800000, 224, 224)), case((1, 1, 3), (1000, 1000))]
    for engine, name in (("pillow", "lanczos"), ("opencv", "area"), ("opencv", "bicubic"), ("tf", "bilinear")):
        for array, _, _ in resize(engine, name, done):
            assert not np.any(array)


def test_memory():
    """A picture of 300 MB goes through a few rows of it."""
    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (32 << 20, 32 << 20))

    for engine, name in (("pillow", "bilinear"), ("opencv", "area"), ("tf", "bilinear")):
        (array, read, passed), = resize(engine, name, [case((5000, 20000, 3), (256, 256))], preexec_fn=limit)
        assert not np.any(array) and read + passed > 4900
