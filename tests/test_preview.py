"""qonnx preview: the page is HTML that loads nothing, its pictures are what the model sees, its
ranges are NumPy's."""

import base64
import io
import re
import resource
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

VOID = {"meta", "img", "br", "link", "input"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION = ["--preset", "torchvision", "--resize", "short:24", "--crop", "24"]


class Page(HTMLParser):
    """The page's texts, pictures and table cells; what is not nested properly fails."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.rows, self.texts = [], [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == "img":
            self.images.append(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if not self.open:
            return
        self.texts.setdefault(self.open[-1], []).append(data)
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data

    def text(self, tag):
        return "".join(self.texts.get(tag, []))

    def picture(self, i):
        head, data = self.images[i]["src"].split(",", 1)
        assert head == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert picture.format == "PNG"
        return np.asarray(picture)

    def ranges(self):
        """[(channel, min, max, mean)], of all tables."""
        return [(r[0], *map(float, r[1:4])) for r in self.rows if r[0] != "channel"]


def model(path, *inputs):
    """A model of inputs (name, type, shape), each of which goes to an output."""
    made = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
    outputs = [helper.make_tensor_value_info(n + "_out", t, s) for n, t, s in inputs]
    nodes = [helper.make_node("Identity", [n], [n + "_out"]) for n, _, _ in inputs]
    graph = helper.make_graph(nodes, "g", made, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path


@pytest.fixture
def rgb(tmp_path):
    return model(tmp_path / "rgb.onnx", ("x", TensorProto.FLOAT, [1, 3, 24, 24]))


@pytest.fixture
def preview(tmp_path, done):
    def make(*args):
        page = tmp_path / "preview.html"
        done("preview", *args, "-o", page)
        return Page(page.read_text(encoding="utf-8"))

    return make


def pixels(seed, height=24, width=24, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photos(tmp_path, count=1, **size):
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    arrays = [pixels(i, **size) for i in range(count)]
    for i, a in enumerate(arrays):
        Image.fromarray(a).save(folder / f"{i:03}.png")
    return folder, arrays


def agree(page, tensors):
    """Whether the page's ranges are those of [C,...] arrays."""
    channels = [c for t in tensors for c in t]
    rows = page.ranges()
    assert len(rows) == len(channels)
    for row, c in zip(rows, channels):
        np.testing.assert_allclose(row[1:], [c.min(), c.max(), c.mean(dtype=float)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", [[], TORCHVISION, ["--color", "bgr"], ["--scale", "1/127.5", "--mean", "1"]])
def test_right_sized_pictures_come_back(tmp_path, rgb, preview, given):
    folder, arrays = photos(tmp_path, 3)
    page = preview(rgb, folder, *given)
    assert len(page.images) == 6
    for i, a in enumerate(arrays):
        np.testing.assert_array_equal(page.picture(2 * i), a)  # the file
        np.testing.assert_array_equal(page.picture(2 * i + 1), a)  # what the model sees
    tensors = [a.transpose(2, 0, 1).astype(np.float32) for a in arrays]
    if given == TORCHVISION:
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
        tensors = [(t / np.float32(255) - mean) / std for t in tensors]
    if "bgr" in given:
        tensors = [t[::-1] for t in tensors]
        assert [r[0] for r in page.ranges()[:3]] == ["B", "G", "R"]
    if "1/127.5" in given:
        tensors = [t / np.float32(127.5) - 1 for t in tensors]
    agree(page, tensors)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT8])
def test_other_types_and_layouts(tmp_path, preview, kind):
    net = model(tmp_path / "last.onnx", ("x", kind, [1, 24, 24, 3]))
    folder, arrays = photos(tmp_path)
    given = {TensorProto.FLOAT16: ["--scale", "1/255", "--mean", "0.5", "--std", "0.25"],
             TensorProto.INT8: ["--scale", "1/255", "--input-type", "int8{scale=0.00392156862745098,zero=-128}"]}
    page = preview(net, folder, *given.get(kind, []))
    np.testing.assert_array_equal(page.picture(1), arrays[0])
    assert len(page.ranges()) == 3


def test_gray(tmp_path, preview):
    net = model(tmp_path / "gray.onnx", ("x", TensorProto.FLOAT, [1, 1, 24, 24]))
    folder, arrays = photos(tmp_path, channels=1)
    page = preview(net, folder)
    np.testing.assert_array_equal(page.picture(1), arrays[0])
    agree(page, [arrays[0][None].astype(np.float32)])


def test_large_pictures_are_made_smaller(tmp_path, rgb, preview):
    folder, arrays = photos(tmp_path, height=300, width=500)
    page = preview(rgb, folder, *TORCHVISION)
    whole = Image.fromarray(arrays[0])
    np.testing.assert_array_equal(page.picture(0), np.asarray(whole.resize((320, 192), Image.BILINEAR)))
    seen = np.asarray(whole.resize((40, 24), Image.BILINEAR))[:, 8:32]
    np.testing.assert_array_equal(page.picture(1), seen)
    assert "500x300, shown at 320x192" in page.text("figcaption")
    assert "from preset torchvision" in page.text("p") and "short side 24" in page.text("p")


def test_arrays_are_stretched(tmp_path, rgb, preview):
    x = np.random.default_rng(1).normal(0, 3, (1, 3, 24, 24)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    page = preview(rgb, tmp_path / "x.npy")
    assert len(page.images) == 1  # there is no picture in the file
    wanted = np.rint((x[0].astype(float) - x.min()) / (float(x.max()) - x.min()) * 255).transpose(1, 2, 0)
    np.testing.assert_array_equal(page.picture(0), wanted)
    assert "is not known" in page.text("figcaption")
    agree(page, x)


def test_arrays_whose_meaning_is_told(tmp_path, rgb, preview):
    a = pixels(5)
    np.save(tmp_path / "x.npy", (a.transpose(2, 0, 1)[None] / 255).astype(np.float32))
    page = preview(rgb, tmp_path / "x.npy", "--scale", "1/255")
    np.testing.assert_array_equal(page.picture(0), a)
    assert "is not known" not in page.text("figcaption")


def test_several_inputs_and_odd_values(tmp_path, preview):
    net = model(tmp_path / "two.onnx", ("ids", TensorProto.INT64, [1, 7]), ("v", TensorProto.FLOAT, [1, 2, 40, 5]))
    ids = np.array([[3, -9, 4, 4, 4, 1000, 2]], np.int64)
    v = np.random.default_rng(2).normal(size=(1, 2, 40, 5)).astype(np.float32)
    v[0, 0, 0, :2] = np.nan, np.inf
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "v.npy", v)
    page = preview(net, f"ids={tmp_path}/ids.npy", f"v={tmp_path}/v.npy")
    assert not page.images
    agree(page, [ids, v[np.isfinite(v)][None]])
    assert "2 of 400 values are not finite" in page.text("td")
    bars = [a["d"] for t, a in page.tags if t == "path"]
    assert len(bars) == 2 and len(re.findall("M", bars[0])) == 2  # -9 to 4, and 1000


def test_nothing_is_loaded_and_same_bytes(tmp_path, rgb, preview):
    folder, _ = photos(tmp_path, 2)
    page = preview(rgb, folder)
    first = (tmp_path / "preview.html").read_bytes()
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert not any(a.startswith("on") or a == "href" for a in attrs)
        assert attrs.get("src", "data:").startswith("data:")
        assert b"http:" not in first and b"https:" not in first and b"url(" not in first and b"default-src 'none'" in first
    preview(rgb, folder)
    assert (tmp_path / "preview.html").read_bytes() == first


def test_hostile_names(tmp_path, preview):
    name = "<img src=x onerror=alert(1)>&amp;\"'\x1b[31m\udcff\u202egnp.png"
    net = model(tmp_path / "<b>&lt;.onnx", ("<i>\"x\"&", TensorProto.FLOAT, [1, 3, 24, 24]))
    Image.fromarray(pixels(1)).save(tmp_path / "p.png")
    folder = tmp_path / "a<script>"
    folder.mkdir()
    (tmp_path / "p.png").rename(folder / name)
    page = preview(net, folder)
    assert "1. " in page.text("h2") and "<img src=x onerror=alert(1)>&amp;\"'?[31m??gnp.png" in page.text("h2")
    assert "<b>&lt;.onnx" in page.text("title") and "<i>\"x\"&" in page.text("h3")
    assert [t for t, _ in page.tags].count("img") == 2 and not page.texts.get("b")


def test_how_many(tmp_path, rgb, preview, run):
    folder, _ = photos(tmp_path, 20)
    assert preview(rgb, folder).text("p").count("12 of 20 samples") == 1
    assert len(preview(rgb, folder, "--limit", 5).images) == 10
    assert len(preview(rgb, folder, "--limit", 0).images) == 40
    assert len(preview(rgb, folder, "--limit", 3, "--random", 7).images) == 6
    few = run("preview", rgb, "--data", folder / "000.png", "-o", tmp_path / "few.html")
    assert few.rc == 0 and not few.stderr and "1 of 1 samples" in few.stdout


def test_both_are_turned_by_exif(tmp_path, rgb, preview):
    folder, arrays = photos(tmp_path)
    picture = Image.fromarray(arrays[0])
    picture.getexif()[0x0112] = 6  # a quarter turn to the right
    picture.save(folder / "000.png", exif=picture.getexif())
    for given, turns in ([], 3), (["--no-exif"], 0):
        page = preview(rgb, folder, *given)
        for i in range(2):
            np.testing.assert_array_equal(page.picture(i), np.rot90(arrays[0], turns))


def test_open_sizes(tmp_path, preview):
    net = model(tmp_path / "open.onnx", ("x", TensorProto.FLOAT, [1, 3, "h", "w"]))
    folder, arrays = photos(tmp_path, height=7, width=1500)
    page = preview(net, folder)
    shrunk = Image.fromarray(arrays[0]).resize((1024, 5), Image.BILINEAR)
    np.testing.assert_array_equal(page.picture(1), np.asarray(shrunk))
    assert preview(net, folder, "--shape", "1,3,8,8").picture(1).shape == (8, 8, 3)


def test_bad_input(tmp_path, rgb, run):
    folder, _ = photos(tmp_path, 2)
    page = tmp_path / "out" / "page.html"
    page.parent.mkdir()
    page.write_text("as it was")

    def refused(*args, rc=1):
        got = run("preview", *args)
        assert got.rc == rc, got.stderr
        assert page.read_text() == "as it was"
        assert sorted(p.name for p in page.parent.iterdir()) == ["page.html"]
        return got.stderr

    assert "-o PAGE.html" in refused(rgb, folder, rc=2)
    assert "too few operands" in refused(rgb, "-o", page, rc=2)
    assert "missing" in refused(rgb, tmp_path / "missing", "-o", page)
    broken = folder / "001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    message = refused(rgb, folder, "-o", page)
    assert "001.png" in message and message.count("\n") == 1
    assert "mean is 'x'" in refused(rgb, folder, "-o", page, "--mean", "x", rc=2)
    assert "nowhere" in refused(rgb, folder / "000.png", "-o", tmp_path / "nowhere" / "page.html")
    assert "directory" in refused(rgb, folder / "000.png", "-o", page.parent)


def test_never_over_an_input(tmp_path, rgb, run):
    folder, _ = photos(tmp_path)
    for target in (rgb, folder / "000.png"):
        before = target.read_bytes()
        got = run("preview", rgb, folder, "-o", target)
        assert got.rc == 1 and str(target) in got.stderr
        assert target.read_bytes() == before


def test_a_full_disk(tmp_path, rgb, run):
    folder, _ = photos(tmp_path)
    page = tmp_path / "page.html"
    page.write_text("as it was")
    full = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))}
    got = run("preview", rgb, folder, "-o", page, **full)
    assert got.rc == 1 and f"{page}: cannot write: File too large" in got.stderr and got.stderr.count("\n") == 1
    assert page.read_text() == "as it was" and len(list(tmp_path.iterdir())) == 3
