"""How pictures become samples: the text, the presets and the JSON forms of a preprocessing, and the
tensors that come out, beside Pillow and NumPy."""

import ctypes
import json
import subprocess

import numpy as np
import onnx
import pytest
from conftest import COMMAND, run_command
from onnx import helper
from PIL import Image

LIB = ctypes.CDLL(str(COMMAND.parent / "libqonnx.so"))
for name, takes in {"set": 4, "load": 2, "json": 2}.items():
    function = getattr(LIB, f"qonnx_preprocess_{name}")
    function.argtypes, function.restype = [ctypes.c_void_p] * takes, ctypes.c_void_p
LIB.qonnx_ctx_new.restype = ctypes.c_void_p
LIB.qonnx_ctx_free.argtypes = LIB.qonnx_error.argtypes = [ctypes.c_void_p]
LIB.qonnx_error.restype = ctypes.c_char_p
LIBC = ctypes.CDLL(None)
LIBC.free.argtypes = [ctypes.c_void_p]


class Refused(Exception):
    pass


def call(name, *args):
    """What a function qonnx_preprocess_NAME gives, as text."""
    ctx = LIB.qonnx_ctx_new()
    texts = [None if a is None else ctypes.c_char_p(str(a).encode()) for a in args]
    got = getattr(LIB, f"qonnx_preprocess_{name}")(ctx, *texts)
    error = LIB.qonnx_error(ctx).decode()
    LIB.qonnx_ctx_free(ctx)
    if not got:
        raise Refused(error)
    text = ctypes.string_at(got).decode()
    LIBC.free(got)
    return text


def setting(name, value, text=""):
    return call("set", text, name, value)


def load(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return call("load", path)


# ---- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value, canonical",
    [
        ("resize", "short:256", "short:256"),
        ("resize", "short:256{round=down,filter=bilinear}", "short:256"),
        ("resize", "short:256 { filter=area, engine=opencv }", "short:256{engine=opencv,filter=area}"),
        ("resize", "256x256", "256x256"),
        ("resize", "letterbox:640x640{engine=opencv,round=even}", "letterbox:640{engine=opencv,round=even}"),
        ("resize", "letterbox:640x480", "letterbox:640x480"),
        ("resize", "short:800{limit=1333,limit-round=even}", "short:800{limit=1333,limit-round=even}"),
        ("resize", "model{engine=tf}", "model{engine=tf}"),
        ("resize", "short:model/0.8750", "short:model/0.875"),
        ("resize", "none", "none"),
        ("resize", "auto{engine=opencv}", "auto{engine=opencv}"),
        ("crop", "224x224{round=even}", "224{round=even}"),
        ("crop", "87.50%", "87.5%"),
        ("pad", "114,114,114{at=center,when=after}", "114{when=after}"),
        ("pad", "0{at=end,multiple=32}", "0{at=end,multiple=32}"),
        ("pad", "0{at=end,width=64,height=32}", "0{at=end,width=64,height=32}"),
        ("resize", "fit:640x640{round=even}", "fit:640{round=even}"),
        ("resize", "least:518{multiple=14,multiple-round=down}", "least:518{multiple=14,multiple-round=down}"),
        ("color", "bgr", "bgr"),
        ("scale", "1/255", "1/255"),
        ("scale", "0.00392156862745098", "1/255"),
        ("scale", "0.00784313725490196", "1/127.5"),
        ("scale", "0.003921568859368563", "0.003921568859368563"),
        ("mean", ".485,0.4560,456e-3", "0.485,0.456,0.456"),
        ("mean", "0.5,0.5,0.5", "0.5"),
        ("std", "1/255", "0.003921569"),
        ("std", "0.26862954,0.26130258,0.27577711", "0.26862955,0.2613026,0.2757771"),
        ("input-layout", "nhwc", "nhwc"),
        ("input-type", "int8{scale=0.0078125,zero=-1}", "int8{scale=0.0078125,zero=-1}"),
        ("exif", "ignore", "ignore"),
        ("dct", "fast", "fast"),
        ("background", "white", "255,255,255"),
    ],
)
def test_canonical_text(name, value, canonical):
    text = setting(name, value)
    assert text == f"{name}={canonical}"
    assert setting(name, canonical) == text  # and reads back as itself
    assert json.loads(call("json", text)) == {name: canonical}


@pytest.mark.parametrize(
    "name, value",
    [("resize", "auto"), ("crop", "auto"), ("mean", "0"), ("std", "1"), ("scale", "1"), ("exif", "apply"),
     ("color", "auto"), ("input-type", "auto"), ("background", "none"), ("pad", "0")],
)
def test_defaults_are_left_out(name, value):
    assert setting(name, value) == ""


def test_fields_have_an_order():
    text = setting("resize", "short:256", setting("std", 2, setting("exif", "ignore")))
    assert text == "exif=ignore resize=short:256 std=2"
    assert setting("resize", "none", text) == "exif=ignore resize=none std=2"  # replaces the whole field


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("resize", "256", "short:256 keeps the picture's proportions, 256x256 does not"),
        ("resize", "short:0", "wants short:N"),
        ("resize", "short:70000", "1 to 65535"),
        ("resize", "short:", "wants short:N"),
        ("resize", "short:2x3", "wants short:N"),
        ("resize", "short:256{", "wants short:N"),
        ("resize", "short:256{filter}", "'filter' is none of its settings; has engine=pillow|torchvision|opencv"),
        ("resize", "short:256{filter=sinc}", "filter=nearest|box|bilinear"),
        ("resize", "short:256{limit=-1}", "limit=N"),
        ("crop", "0%", "share of the picture"),
        ("crop", "224{at=end}", "has round=down|even"),
        ("scale", "255", "to divide by it, write 1/255"),
        ("scale", "0", "1/255"),
        ("scale", "nan", "1/255"),
        ("mean", "1,2", "N,N,N"),
        ("mean", "1,2,3,4", "N,N,N"),
        ("mean", "inf", "N,N,N"),
        ("mean", "1/0", "N,N,N"),
        ("std", "1,0,1", "above 0"),
        ("color", "rbg", "rgb, bgr or gray"),
        ("color", "rgb{x=1}", "has none"),
        ("background", "1,2,256", "0 to 255"),
        ("input-type", "int32", "uint8 or int8"),
        ("input-type", "int8{zero=999}", "zero=N"),
        ("mean", "", "is empty"),
        ("mean", "1" * 300, "too long"),
        ("preset", "torchvison", "there is no preset 'torchvison'; there are torchvision"),
        ("sclae", "1", "no field 'sclae'"),
    ],
)
def test_wrong_values(name, value, words):
    with pytest.raises(Refused) as e:
        setting(name, value)
    assert words in str(e.value)


def test_text_of_no_fields():
    with pytest.raises(Refused) as e:
        setting("std", 2, "resize")
    assert "'resize' is no NAME=VALUE" in str(e.value)


# ---- presets ------------------------------------------------------------------------------------


def test_presets(done, tmp_path):
    listed = json.loads(done("presets", "--json"))["presets"]
    text = done("presets")
    assert {"torchvision", "tf", "caffe", "clip", "yolo", "mnist", "raw"} <= {p["name"] for p in listed}
    for p in listed:
        assert p["name"] in text and p["brief"] in text
        canonical = setting("preset", p["name"])
        assert load(tmp_path, {"preset": p["name"]}) == canonical
        if p["preprocess"]:
            assert load(tmp_path, p["preprocess"]) == canonical


# ---- JSON ---------------------------------------------------------------------------------------

IMAGENET = "mean=0.485,0.456,0.406 std=0.229,0.224,0.225"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
VIT = {"do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_normalize": True,
       "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TIMM = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "mean": MEAN, "std": STD}


def without(d, *keys, **more):
    return {k: v for k, v in d.items() if k not in keys} | more


@pytest.mark.parametrize(
    "content, text",
    [
        # ours
        ({"preset": "unit", "resize": "none"}, "color=rgb resize=none scale=1/255"),
        ({"mean": [1, 2, 3.5], "std": 2, "crop": "224{round=even}"}, "crop=224{round=even} mean=1,2,3.5 std=2"),
        # Hugging Face
        (VIT, "resize=224x224 crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size=224), "resize=224x224 crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size=224, resample=3, image_processor_type="CLIPImageProcessor", do_center_crop=True,
                 crop_size=224),
         "resize=short:224{filter=bicubic} crop=224 scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, do_normalize=False, do_rescale=True, rescale_factor=1 / 255, size={"shortest_edge": 544},
                 do_center_crop=True, crop_size={"height": 512, "width": 512}, do_flip_channel_order=True),
         "color=bgr resize=short:544 crop=512 scale=1/255"),
        (without(VIT, do_rescale=True, rescale_factor=1 / 127.5, rescale_offset=True, do_normalize=False),
         "resize=224x224 crop=none scale=1/127.5 mean=1"),
        (without(VIT, size={"shortest_edge": 224}, crop_pct=0.875), "resize=short:256 crop=224 scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size={"shortest_edge": 384}, crop_pct=0.875), "resize=384x384 crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size={"shortest_edge": 800, "longest_edge": 1333}, do_pad=True, size_divisor=32),
         "resize=short:800{limit=1333,limit-round=even} crop=none pad=0{at=end,when=after,multiple=32} "
         "scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, do_reduce_labels=True, do_thumbnail=None), "resize=224x224 crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size=800, max_size=1333), # old files
         "resize=short:800{limit=1333,limit-round=even} crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, size=800, feature_extractor_type="DetrFeatureExtractor", do_pad=True, pad_size=None),
         "resize=short:800 crop=none scale=1/255 mean=0.5 std=0.5"),
        (without(VIT, do_resize=False, do_rescale=False, do_convert_rgb=True), "resize=none crop=none mean=0.5 std=0.5"),
        (without(VIT, ensure_multiple_of=1, keep_aspect_ratio=False, feature_extractor_type="DPTFeatureExtractor"),
         "resize=224x224{multiple=1} crop=none scale=1/255 mean=0.5 std=0.5"),
        # timm, as it is and in older files at the root
        ({"architecture": "x", "pretrained_cfg": TIMM},
         f"exif=ignore resize=short:248{{filter=bicubic}} crop=224{{round=even}} scale=1/255 {IMAGENET}"),
        (without(TIMM, "crop_pct", "interpolation", "mean", "std"),
         f"exif=ignore resize=short:256{{filter=bicubic}} crop=224{{round=even}} scale=1/255 {IMAGENET}"),
        (without(TIMM, crop_mode="squash", crop_pct=1.0),
         f"exif=ignore resize=224x224{{filter=bicubic}} crop=224{{round=even}} scale=1/255 {IMAGENET}"),
        (without(TIMM, input_size=[3, 240, 320]),
         f"exif=ignore resize=cover:355x266{{round=even}} crop=320x240{{round=even}} scale=1/255 {IMAGENET}"),
        # torchvision
        ({"crop_size": [224], "resize_size": [232], "mean": MEAN, "std": STD, "interpolation": "InterpolationMode.BICUBIC"},
         f"exif=ignore resize=short:232{{filter=bicubic}} crop=224{{round=even}} scale=1/255 {IMAGENET}"),
    ],
)
def test_json_forms(content, text, tmp_path):
    got = load(tmp_path, content)
    assert got == text
    assert load(tmp_path, call("json", got)) == text


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "is no JSON: line 1"),
        ("[1]", "holds no JSON object"),
        ('{"mean": 1, "mean": 2}', "duplicate"),
        ("{}", "says nothing of pictures"),
        ({"resize": "short:256", "crops": 1}, "no field 'crops'"),
        ({"resize": {"a": 1}}, "'resize' is neither"),
        ({"preset": "x"}, "there is no preset 'x'"),
        (without(VIT, "image_std"), "'image_std' is missing"),
        (without(VIT, "size"), "'size' is missing"),
        (without(VIT, "resample"), "'resample' is missing"),
        (without(VIT, resample=9), "'resample' is none of Pillow's filters"),
        (without(VIT, do_thumbnail=True), "'do_thumbnail' is not known"),
        (without(VIT, do_center_crop=True), "'crop_size' is missing"),
        (without(VIT, crop_size=224), "'do_center_crop' is missing"),
        (without(VIT, "image_mean", "image_std", "do_normalize"), "'do_normalize' is missing"),
        (without(VIT, size={"longest_edge": 640}), "'size' has 'longest_edge' alone"),
        (without(VIT, size={"max_height": 640}), "'size' is no size"),
        (without(VIT, keep_aspect_ratio=True), "'keep_aspect_ratio' is not known of this class"),
        (without(VIT, ensure_multiple_of=14), "'ensure_multiple_of' is not known of this class"),
        (without(VIT, image_processor_type="Mask2FormerImageProcessor"), "'size_divisor' is missing"),
        (without(VIT, image_processor_type="SamImageProcessor"), "'pad_size' is missing"),
        (without(VIT, image_processor_type="Owlv2ImageProcessor"), "'Owlv2ImageProcessor' prepares pictures in a way"),
        (without(VIT, do_pad=True, pad_size="x"), "'pad_size' is no size"),
        (without(VIT, size={"height": 224}), "'size' has no 'height' and 'width'"),
        (without(VIT, size=1e9), "'size' is no size"),
        (without(VIT, size=2.5), "'size' is no size"),
        (without(VIT, image_mean=["a"]), "'image_mean' is no list of numbers"),
        (without(TIMM, input_size=3), "'input_size' is no list"),
        (without(TIMM, crop_mode="corner"), "'crop_mode' is none of"),
        (without(TIMM, crop_pct=0), "'crop_pct' is no number"),
        (without(TIMM, interpolation="random"), "'interpolation' is none of"),
        ({"resize_size": 256}, "'crop_size' is missing"),
        ({"resize_size": 256, "crop_size": 224, "mean": 0.5}, "'std' is missing"),
        ("[" * 100000, "is no JSON"),
        (" " * 2000000, "is larger than"),
    ],
)
def test_wrong_json(content, words, tmp_path):
    with pytest.raises(Refused) as e:
        load(tmp_path, content)
    assert str(e.value).startswith(str(tmp_path / "p.json") + ": ") and words in str(e.value)


# ---- tensors ------------------------------------------------------------------------------------


def identity(path, shape, dtype=np.float32):
    """A model that gives its input back."""
    t = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    g = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", t, shape)], [helper.make_tensor_value_info("y", t, shape)],
    )
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def photo(width, height, seed, gray=False):
    """Smooth colours with noise on top, so that filters and clipping both show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = 127 + 120 * np.sin(x[..., None] / 9.0 + [0, 1, 2]) * np.cos(y[..., None] / 7.0)
    a = np.clip(base + rng.integers(-60, 60, (height, width, 3)), 0, 255).astype(np.uint8)
    return a[..., 0] if gray else a


SIZES = [(17, 31), (31, 17), (64, 64), (33, 33), (81, 40), (40, 81), (5, 5), (29, 29), (100, 57), (57, 100)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """PNG pictures of odd sizes, with their arrays."""
    folder = tmp_path_factory.mktemp("photos")
    arrays = {}
    for i, (w, h) in enumerate(SIZES):
        arrays[f"{i:02d}"] = photo(w, h, i)
        Image.fromarray(arrays[f"{i:02d}"]).save(folder / f"{i:02d}.png")
    return folder, arrays


def tensors(done, model, data, out, *options):
    """What the model is given for each picture of a flat folder: {name: array}."""
    done("run", model, "--data", data, "-o", out, *options)
    names = sorted(p.stem for p in data.iterdir())
    return dict(zip(names, map(np.load, sorted((out / "output_0").iterdir())), strict=True))


f32 = np.float32


def start(n, c, rounding):
    """Where a crop begins; negative where the picture is too small."""
    return (n - c) // 2 if rounding == "down" else int(round((n - c) / 2.0))


def crop(a, w, h, rounding):
    """Cuts h x w out of the middle; what is missing is 0, its smaller half in front for torchvision."""
    out = np.zeros((h, w, a.shape[2]), a.dtype)
    H, W = a.shape[:2]
    y, x = start(H, h, rounding), start(W, w, rounding)
    if rounding == "even":
        y, x = (y if H >= h else -((h - H) // 2)), (x if W >= w else -((w - W) // 2))
    out[max(-y, 0) : max(-y, 0) + min(h, H), max(-x, 0) : max(-x, 0) + min(w, W)] = a[
        max(y, 0) : max(y, 0) + h, max(x, 0) : max(x, 0) + w
    ]
    return out


def short(w, h, n):
    return (n, int(n * h / w)) if w < h else (int(n * w / h), n)


def resized(a, size, resample):
    return np.asarray(Image.fromarray(a).resize(size, resample))


def normal(a, mean, std, scale=255):
    return (a.astype(f32) / f32(scale) - np.array(mean, f32)) / np.array(std, f32)


def nchw(a):
    return np.ascontiguousarray(np.atleast_3d(a).transpose(2, 0, 1)[None])


def torchvision(a, size, filter=Image.BILINEAR, share=0.875, mean=MEAN, std=STD):
    h, w = a.shape[:2]
    b = crop(resized(a, short(w, h, round(size / share)), filter), size, size, "even")
    return nchw(normal(b, mean, std))


def letterbox(a, w, h, value):
    """Ultralytics' LetterBox(auto=False), in OpenCV."""
    cv2 = pytest.importorskip("cv2")
    H, W = a.shape[:2]
    r = min(h / H, w / W)
    nw, nh = round(W * r), round(H * r)
    dw, dh = (w - nw) / 2, (h - nh) / 2
    if (W, H) != (nw, nh):
        a = cv2.resize(a, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(a, round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1),
                              cv2.BORDER_CONSTANT, value=(value,) * 3)


def caffe(a):
    cv2 = pytest.importorskip("cv2")
    h, w = a.shape[:2]
    b = crop(cv2.resize(a, short(w, h, round(32 / 0.875)), interpolation=cv2.INTER_LINEAR), 32, 32, "down")
    return nchw(b[..., ::-1].astype(f32) - np.array([103.939, 116.779, 123.68], f32))


def yolox(a):
    """YOLOX's preproc: at the left and the top, in BGR, 0 to 255."""
    cv2 = pytest.importorskip("cv2")
    r = min(32 / a.shape[0], 32 / a.shape[1])
    b = cv2.resize(a[..., ::-1], (int(a.shape[1] * r), int(a.shape[0] * r)), interpolation=cv2.INTER_LINEAR)
    out = np.full((32, 32, 3), 114, np.uint8)
    out[: b.shape[0], : b.shape[1]] = b
    return nchw(out.astype(f32))


def tf_bilinear(a, w, h, half=True):
    """tf.image.resize(method="bilinear"), or TensorFlow 1's without half-pixel centres."""

    def axis(n_in, n_out):
        i, scale = np.arange(n_out, dtype=f32), f32(n_in) / f32(n_out)
        x = (i + f32(0.5)) * scale - f32(0.5) if half else i * scale
        low = np.floor(x)
        upper = np.ceil(x) if half else low + 1
        return np.maximum(low, 0).astype(int), np.minimum(upper, n_in - 1).astype(int), (x - low).astype(f32)

    y0, y1, fy = axis(a.shape[0], h)
    x0, x1, fx = axis(a.shape[1], w)
    p, fx, fy = a.astype(f32), fx[None, :, None], fy[:, None, None]
    top = p[y0][:, x0] + (p[y0][:, x1] - p[y0][:, x0]) * fx
    bottom = p[y1][:, x0] + (p[y1][:, x1] - p[y1][:, x0]) * fx
    return top + (bottom - top) * fy


def slim(a):
    h, w = a.shape[:2]
    y, x = int((h - h * 0.875) / 2), int((w - w * 0.875) / 2)
    return nchw(tf_bilinear(a[y : h - y, x : w - x], 32, 32, half=False) / f32(127.5) - f32(1))


def gray(a):
    return np.asarray(Image.fromarray(a).convert("L"))


PRESETS = {
    "torchvision": lambda a: torchvision(a, 32),
    "timm": lambda a: torchvision(a, 32, Image.BICUBIC),
    "clip": lambda a: torchvision(a, 32, Image.BICUBIC, 1, [0.48145466, 0.4578275, 0.40821073],
                                  [0.26862954, 0.26130258, 0.27577711]),
    "tf": lambda a: nchw(tf_bilinear(a, 32, 32) / f32(127.5) - f32(1)),
    "tf-slim": slim,
    "keras": lambda a: nchw(resized(a, (32, 32), Image.NEAREST).astype(f32) / f32(127.5) - f32(1)),
    "caffe": caffe,
    "siglip": lambda a: nchw(normal(resized(a, (32, 32), Image.BICUBIC), 0.5, 0.5)),
    "vit": lambda a: nchw(normal(resized(a, (32, 32), Image.BILINEAR), 0.5, 0.5)),
    "yolo": lambda a: nchw(letterbox(a, 32, 32, 114).astype(f32) / f32(255)),
    "yolox": yolox,
    "mnist": lambda a: nchw(normal(resized(gray(a), (32, 32), Image.BILINEAR), 0.1307, 0.3081)),
    "unit": lambda a: nchw(crop(resized(a, short(a.shape[1], a.shape[0], 32), Image.BILINEAR), 32, 32, "down").astype(f32)
                           / f32(255)),
    "raw": lambda a: nchw(crop(resized(a, short(a.shape[1], a.shape[0], 32), Image.BILINEAR), 32, 32, "down").astype(f32)),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_tensors(preset, photos, done, tmp_path):
    """Each preset equals its library's formulas, byte for byte."""
    folder, arrays = photos
    model = identity(tmp_path / "m.onnx", [1, 1 if preset == "mnist" else 3, 32, 32])
    got = tensors(done, model, folder, tmp_path / "out", "--preset", preset)
    assert got.keys() == arrays.keys()
    for name, a in arrays.items():
        want = PRESETS[preset](a)
        assert got[name].shape == want.shape and got[name].tobytes() == want.tobytes(), name


# ---- files of other libraries -------------------------------------------------------------------
# Each with a function of its library's rules: the size that a picture of w x h gets, and what stands
# around it.


def plain(a, size, filter=Image.BILINEAR):
    return normal(resized(a, size, filter), 0.5, 0.5)


def timm_border(a):
    """ResizeKeepRatio(longest=1) and CenterCropOrPad, of 32 by crop_pct 0.9, filled with the mean."""
    h, w = a.shape[:2]
    scale = int(32 / 0.9)
    ratio = max(h / scale, w / scale)
    b = resized(a, (round(w / ratio), round(h / ratio)), Image.BICUBIC)
    h, w = b.shape[:2]
    out = np.empty((max(h, 32), max(w, 32), 3), np.uint8)
    out[:] = [round(255 * m) for m in MEAN]
    y, x = max(32 - h, 0) // 2, max(32 - w, 0) // 2
    out[y : y + h, x : x + w] = b
    return normal(crop(out, 32, 32, "even"), MEAN, STD)


def detr(w, h, size, limit, torchvision_limit=False):
    """The size that get_size_with_aspect_ratio gives; torchvision's rule is another."""
    small, large = min(w, h), max(w, h)
    if torchvision_limit:
        long = int(size * large / small)
        size, long = (int(limit * size / long), limit) if long > limit else (size, long)
    else:
        raw = limit * small / large if large / small * size > limit else size
        size, long = int(round(raw)), int(raw * large / small)
    return (size, long) if w < h else (long, size)


def yolos(a):
    w, h = detr(a.shape[1], a.shape[0], 40, 66)
    return plain(a, (w - w % 16, h - h % 16))


def mask2former(a):
    w, h = detr(a.shape[1], a.shape[0], 40, 66, torchvision_limit=True)
    return plain(a, (-(-w // 8) * 8, -(-h // 8) * 8))


def fits(a):
    """get_image_size_for_max_height_width."""
    h, w = a.shape[:2]
    by = min(47 / h, 61 / w)
    return plain(a, (int(w * by), int(h * by)))


def levit(a):
    return normal(crop(resized(a, short(a.shape[1], a.shape[0], int((256 / 224) * 28)), Image.BICUBIC), 28, 28, "down"),
                  MEAN, STD)


def sam(a):
    h, w = a.shape[:2]
    by = 48 / max(h, w)
    b = plain(a, (int(w * by + 0.5), int(h * by + 0.5)))
    return np.pad(b, ((0, 48 - b.shape[0]), (0, 48 - b.shape[1]), (0, 0)))


def dpt(a):
    """The scale that is nearer to 1; constrain_to_multiple_of."""
    h, w = a.shape[:2]
    by = 56 / w if abs(1 - 56 / w) < abs(1 - 42 / h) else 42 / h
    return plain(a, (round(by * w / 14) * 14, round(by * h / 14) * 14), Image.BICUBIC)


def mobile_vit(a):
    b = crop(resized(a, short(a.shape[1], a.shape[0], 36), Image.BILINEAR), 32, 32, "down")
    return b[..., ::-1].astype(f32) / f32(255)


def of_class(name, *absent, **more):
    return without(VIT, *absent, image_processor_type=name, **more)


EDGES = {"shortest_edge": 40, "longest_edge": 66}
LIBRARIES = {
    "timm-border": (without(TIMM, input_size=[3, 32, 32], crop_mode="border"), timm_border),
    "detr": (of_class("DetrImageProcessor", size=EDGES, do_pad=True, do_convert_annotations=True),
             lambda a: plain(a, detr(a.shape[1], a.shape[0], 40, 66))),
    "yolos": (of_class("YolosImageProcessor", size=EDGES, do_pad=True), yolos),
    "mask2former": (of_class("Mask2FormerImageProcessor", size=EDGES, size_divisor=8, ignore_index=255), mask2former),
    "fit": (without(VIT, size={"max_height": 47, "max_width": 61}), fits),
    "levit": (of_class("LevitImageProcessor", size={"shortest_edge": 28}, do_center_crop=True, crop_size=28, resample=3,
                       image_mean=MEAN, image_std=STD), levit),
    "sam": (of_class("SamImageProcessor", size={"longest_edge": 48}, do_pad=True, pad_size={"height": 48, "width": 48},
                     mask_size={"longest_edge": 12}), sam),
    "dpt": (of_class("DPTImageProcessor", size={"height": 42, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14,
                     resample=3, do_pad=False), dpt),
    "mobile-vit": ({"feature_extractor_type": "MobileViTFeatureExtractor", "do_resize": True, "size": 36, "resample": 2,
                    "do_center_crop": True, "crop_size": 32}, mobile_vit),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_files(library, photos, done, tmp_path):
    """What a file of a library says gives its library's tensors, byte for byte."""
    folder, arrays = photos
    content, wanted = LIBRARIES[library]
    (tmp_path / "p.json").write_text(json.dumps(content))
    model = identity(tmp_path / "m.onnx", [1, 3, "h", "w"])
    got = tensors(done, model, folder, tmp_path / "out", "--preprocess", tmp_path / "p.json")
    for name, a in arrays.items():
        want = nchw(wanted(a))
        assert got[name].shape == want.shape and got[name].tobytes() == want.tobytes(), (name, a.shape, want.shape)


def test_too_large_for_its_place(photos, tmp_path):
    """Multiples, of which none fits into the letterbox; a pad that is smaller than the picture."""
    model = identity(tmp_path / "m.onnx", [1, 3, "h", "w"])
    for options, words in ((("--resize", "letterbox:112{multiple=32}"), "becomes 128x128, and does not fit into 112x112"),
                           (("--resize", "64x48", "--pad", "0{width=50}"), "becomes 64x48, and does not fit into 50x48"),
                           (("--resize", "none", "--crop", "128", "--pad", "0{multiple=100}"), "smaller than the crop")):
        r = run_command("run", model, "--data", photos[0] / "02.png", "-o", tmp_path / "out", *options)
        assert r.rc == 1 and words in r.stderr, (options, r.stderr)


def test_decoding_options(done, tmp_path):
    """--background, --no-exif and dct=fast reach the decoders."""
    data, model = tmp_path / "data", identity(tmp_path / "m.onnx", [1, 3, "h", "w"])
    data.mkdir()
    a = photo(40, 24, 7)
    clear = Image.fromarray(np.dstack([a, photo(40, 24, 8, gray=True)]))
    clear.save(data / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(a).save(data / "1.jpg", exif=exif, quality=75)
    plain = np.asarray(Image.open(data / "1.jpg"))
    (tmp_path / "fast.json").write_text('{"dct": "fast", "exif": "ignore"}')

    def got(*options):
        return [t[0].transpose(1, 2, 0) for t in tensors(done, model, data, tmp_path / "out", *options).values()]

    png, jpeg = got()
    assert np.array_equal(png, a) and np.array_equal(jpeg, np.rot90(plain, -1))
    png, jpeg = got("--background", "10,200,30", "--no-exif")
    under = Image.new("RGBA", clear.size, (10, 200, 30, 255))
    assert np.abs(png - np.asarray(Image.alpha_composite(under, clear).convert("RGB")).astype(int)).max() <= 1
    assert np.array_equal(jpeg, plain)
    _, jpeg = got("--preprocess", tmp_path / "fast.json")
    apart = np.abs(jpeg - plain.astype(int))
    assert 0 < apart.mean() < 2 and apart.max() < 30


def test_without_options(photos, done, tmp_path):
    folder, arrays = photos
    model = identity(tmp_path / "m.onnx", [1, 3, 32, 32])
    got = tensors(done, model, folder, tmp_path / "out")
    for name, a in arrays.items():
        assert np.array_equal(got[name], PRESETS["raw"](a)), name


def test_right_size_is_left_alone(done, tmp_path):
    a = photo(32, 24, 1)
    Image.fromarray(a).save(tmp_path / "a.png")
    for options in [], ["--resize", "none"], ["--preset", "raw"]:
        model = identity(tmp_path / "m.onnx", [1, 3, 24, 32])
        done("run", model, "--data", tmp_path / "a.png", "-o", tmp_path / "out", *options)
        assert np.array_equal(np.load(tmp_path / "out" / "output_0.npy"), nchw(a).astype(f32))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
@pytest.mark.parametrize("shape", [[1, 3, 20, 28], [1, 20, 28, 3], [1, 1, 20, 28], ["n", "h", "w", 3]])
def test_layouts_and_types(shape, dtype, done, tmp_path):
    a = photo(50, 41, 3)
    Image.fromarray(a).save(tmp_path / "a.png")
    model = identity(tmp_path / "m.onnx", shape, dtype)
    options = ["--resize", "28x20", "--color", "gray" if 1 in shape[1:] else "bgr"]
    done("run", model, "--data", tmp_path / "a.png", "-o", tmp_path / "out", *options)
    got = np.load(tmp_path / "out" / "output_0.npy")
    want = resized(a, (28, 20), Image.BILINEAR)[..., ::-1] if 3 in shape else None
    if want is None:
        want = resized(gray(a), (28, 20), Image.BILINEAR)[..., None]
    want = want[None] if shape[3] == 3 else nchw(want)
    assert got.dtype == dtype and np.array_equal(got, want.astype(dtype))


def test_integer_inputs(done, run, tmp_path):
    """Integers are what QuantizeLinear makes of the values; values that are no integers are refused."""
    a = photo(32, 32, 4)
    Image.fromarray(a).save(tmp_path / "a.png")
    model = identity(tmp_path / "m.onnx", [1, 3, 32, 32], np.int8)
    command = ["run", model, "--data", tmp_path / "a.png", "-o", tmp_path / "out"]
    done(*command, "--scale", "1/127.5", "--mean", "1", "--input-type", "int8{scale=0.0078125,zero=-1}")
    got = np.load(tmp_path / "out" / "output_0.npy")
    x = a.astype(f32) / f32(127.5) - f32(1)
    want = np.clip(np.rint(x / f32(0.0078125)) - 1, -128, 127).astype(np.int8)
    assert np.array_equal(got, nchw(want))
    done(*command, "--mean", "128")
    assert np.array_equal(np.load(tmp_path / "out" / "output_0.npy"), nchw(a.astype(int) - 128))
    for options, words in [
        ([], "value 128 of a picture becomes 128, which is none of type int8"),
        (["--scale", "1/255"], "value 1 of a picture becomes 0.00392157"),
        (["--input-type", "uint8"], "--input-type is uint8, the model's input 'x' has int8"),
    ]:
        end = run(*command, *options)
        assert end.rc == 1 and words in end.stderr, end


@pytest.mark.parametrize(
    "options, size",
    [
        (["--resize", "long:48"], lambda w, h: (48, 48 * h // w) if w >= h else (48 * w // h, 48)),
        (["--resize", "short:20{round=even}"], lambda w, h: (20, round(20 * h / w)) if w < h else (round(20 * w / h), 20)),
        (["--resize", "short:20{limit=30}"],
         lambda w, h: detr(w, h, 20, 30, torchvision_limit=True)),
        (["--resize", "short:20{round=half,limit=30,limit-round=half}"],
         lambda w, h: (lambda s: (int(w * s + 0.5), int(h * s + 0.5)))(min(30 / max(w, h), 20 / min(w, h)))),
        (["--resize", "none"], lambda w, h: (w, h)),
        (["--resize", "short:36{multiple=32}"],
         lambda w, h: tuple(max(int(round(s / 32) * 32), 32) for s in short(w, h, 36))),
    ],
)
def test_size_rules(options, size, photos, done, tmp_path):
    folder, arrays = photos
    model = identity(tmp_path / "m.onnx", [1, 3, "h", "w"])
    got = tensors(done, model, folder, tmp_path / "out", *options)
    for name, a in arrays.items():
        want = resized(a, size(a.shape[1], a.shape[0]), Image.BILINEAR)
        assert got[name].shape == (1, 3, *want.shape[:2]) and np.array_equal(got[name], nchw(want)), name


def test_pad_to_multiple(photos, done, tmp_path):
    """MMDetection's: normalised, then padded with 0 at the right and the bottom."""
    folder, arrays = photos
    model = identity(tmp_path / "m.onnx", [1, 3, "h", "w"])
    got = tensors(done, model, folder, tmp_path / "out", "--resize", "none", "--pad",
                  "0{at=end,when=after,multiple=32}", "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375")
    for name, a in arrays.items():
        h, w = (-(-n // 32) * 32 for n in a.shape[:2])
        want = np.zeros((h, w, 3), f32)
        want[: a.shape[0], : a.shape[1]] = (a.astype(f32) - np.array([123.675, 116.28, 103.53], f32)) / np.array(
            [58.395, 57.12, 57.375], f32)
        assert got[name].tobytes() == nchw(want).tobytes(), name


@pytest.mark.parametrize("name, scale", [("mobilenet", 127.5), ("squeezenet", 255)])
def test_imagenet_models(name, scale, npy, shared, done, tmp_path):
    """The preprocessing that tools/score.py spells, byte for byte."""
    values = ["--scale", "1/127.5", "--mean", "1"] if name == "mobilenet" else [
        "--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    model = identity(tmp_path / "m.onnx", [1, 3, 224, 224])
    folder = shared / "data" / "imagenet" / "calibration"
    done("run", model, "--data", folder, "-o", tmp_path / "out", "--crop", "224{round=down}",
         "--resize", "short:256{engine=pillow,filter=bilinear,round=down}", *values)
    got = [np.load(p) for p in sorted((tmp_path / "out" / "output_0").iterdir())]
    want = [np.load(p) for p in sorted((npy(f"imagenet-{name}") / "calibration").iterdir())]
    assert len(got) == len(want) == 100
    for i, (a, b) in enumerate(zip(got, want)):
        assert a.tobytes() == b.tobytes(), i


# ---- messages -----------------------------------------------------------------------------------


def said(result):
    return [line for line in result.stderr.splitlines() if line.startswith("input: ")]


@pytest.mark.parametrize(
    "options, line",
    [
        ([], "32x32 RGB, bilinear short side 32 then crop, values 0..255, by default"),
        (["--preset", "torchvision"],
         "32x32 RGB, bilinear short side 37 then crop, (x/255 - mean)/std, from preset torchvision"),
        (["--preset", "tf", "--no-exif"], "32x32 RGB, TensorFlow's bilinear stretched to 32, x/127.5 - 1, from preset tf and options"),
        (["--preset", "yolo"], "32x32 RGB, OpenCV's bilinear letterbox 32, x/255, from preset yolo"),
        (["--preset", "caffe"], "32x32 BGR, OpenCV's bilinear short side 37 then crop, x - mean, from preset caffe"),
        (["--resize", "none", "--std", "2"], "32x32 RGB, not resized, x/2, from options"),
    ],
)
def test_printed_line(options, line, run, tmp_path):
    Image.fromarray(photo(40, 32, 0)).save(tmp_path / "a.png")
    model = identity(tmp_path / "m.onnx", [1, 3, 32, 32])
    command = ["run", model, "--data", tmp_path / "a.png", *options]
    if options == ["--resize", "none", "--std", "2"]:
        command += ["--crop", "32"]
        line = line.replace("not resized", "not resized then crop")
    assert said(run(*command)) == ["input: " + line]
    assert not run(*command, "-q").stderr
    Image.fromarray(photo(32, 32, 0)).save(tmp_path / "b.png")  # by default nothing is done to it
    assert bool(said(run(*command[:3], tmp_path / "b.png", *options))) == bool(options)
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 32, 32), f32))
    assert not said(run("run", model, "--data", tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "options, words",
    [
        (["--preset", "tensorflow"], "there is no preset 'tensorflow'"),
        (["--preset", "tf", "--preprocess", "x.json"], "not both"),
        (["--resize", "256"], "short:256 keeps the picture's proportions"),
        (["--resize", "short:256{engine=tf,filter=lanczos}"], "engine tf has no filter lanczos"),
        (["--scale", "255"], "1/255"),
    ],
)
def test_wrong_options(options, words, run, tmp_path):
    end = run("run", identity(tmp_path / "m.onnx", [1, 3, 32, 32]), "--data", tmp_path, *options)
    assert end.rc == 2 and words in end.stderr, end


@pytest.mark.parametrize(
    "shape, options, words",
    [
        ([1, 3, 32, 32], ["--resize", "short:40", "--crop", "none"], "picture is 40x50, the model's input 'x' wants 32x32"),
        ([1, 3, 32, 32], ["--preset", "yolo", "--crop", "32"], "a letterbox has its size"),
        ([1, 3, "h", "w"], ["--preset", "torchvision"], "resize is the model's size, which its input 'x' leaves open"),
        ([1, 1, 32, 32], ["--color", "bgr"], "color is bgr, and the model's input 'x' has one channel"),
        ([1, 1, 32, 32], ["--mean", "1,2,3"], "3 numbers, and the model's input 'x' one channel"),
        ([1, 4, 32, 32], [], "a picture needs an input of shape"),
        ([1, 3, "h", "w"], ["--resize", "65535x65535"], "65535x65535"),
    ],
)
def test_what_does_not_fit(shape, options, words, run, tmp_path):
    Image.fromarray(photo(40, 50, 0)).save(tmp_path / "a.png")
    end = run("run", identity(tmp_path / "m.onnx", shape), "--data", tmp_path / "a.png", *options)
    errors = [line for line in end.stderr.splitlines() if line.startswith("qonnx: ")]
    assert end.rc == 1 and len(errors) == 1 and words in errors[0] and "a.png: " in errors[0], end


# ---- whose word counts --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small convolution; gives its path, pictures to calibrate with, and a copy with metadata."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("network")
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(20):
        Image.fromarray(photo(30 + i, 40, i)).save(pictures / f"{i:02d}.png")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
         helper.make_node("GlobalAveragePool", ["r"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", 1, [1, 4, 1, 1])],
        [onnx.numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(f32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")

    def marked(path, **metadata):
        helper.set_model_props(model, metadata)
        onnx.save(model, path)
        return path

    return folder / "m.onnx", pictures, marked


OPTIONS = ["--preset", "torchvision", "--resize", "short:20"]
TEXT = f"exif=ignore color=rgb resize=short:20 crop=16{{round=even}} scale=1/255 {IMAGENET}"


def test_quantized_models_keep_it(network, done, run, tmp_path):
    model, pictures, _ = network
    qcal, out, direct = tmp_path / "m.qcal", tmp_path / "q.onnx", tmp_path / "d.onnx"
    done("calibrate", model, pictures, "-o", qcal, *OPTIONS)
    assert json.loads(done("inspect", qcal, "--json"))["preprocess"] == TEXT and TEXT in done("inspect", qcal)
    done("quantize", model, "--calibration", qcal, "-o", out)
    done("quantize", model, "--data", pictures, "-o", direct, *OPTIONS)
    assert out.read_bytes() == direct.read_bytes()
    late = run("quantize", model, "--calibration", qcal, "-o", out, "--preset", "unit", "--crop", "8")
    assert late.rc == 0 and out.read_bytes() == direct.read_bytes()
    assert f"preset unit and options: left out, for the samples were prepared when the statistics were taken: {TEXT}" in late.stderr
    assert json.loads(done("inspect", out, "--json"))["metadata"]["qonnx.preprocess"] == TEXT

    line = "input: 16x16 RGB, bilinear short side 20 then crop, (x/255 - mean)/std, from "
    end = run("run", out, "--data", pictures, "-o", tmp_path / "a")
    assert said(end) == [line + "the model's metadata"]
    # both models of an evaluation get what the quantized one wants
    end = run("evaluate", model, out, "--data", pictures)
    assert said(end) == [f"{line}the metadata of {out}"]
    with_options = run("evaluate", model, out, "--data", pictures, *OPTIONS)
    assert with_options.stdout == end.stdout and "warning" not in with_options.stderr
    # another one wins, with a warning
    end = run("run", out, "--data", pictures, "-o", tmp_path / "b", "--preset", "torchvision")
    assert end.rc == 0 and "than the model was quantized for: resize is short:18, not short:20" in end.stderr


def test_line_only_where_something_is_done(network, done, run, tmp_path):
    """Pictures of the model's size and values as they are: no line, for a quantized model either, which says so in its
    metadata. A picture of another size behind the first sixteen is told when it has been read."""
    model, _, _ = network
    pictures, out = tmp_path / "pictures", tmp_path / "q.onnx"
    pictures.mkdir()
    for i in range(20):
        Image.fromarray(photo(16, 16, i)).save(pictures / f"{i:02}.png")
    done("quantize", model, "--data", pictures, "-o", out)
    assert "resize=short:16" in json.loads(done("inspect", out, "--json"))["metadata"]["qonnx.preprocess"]
    commands = [["run", out, "--data", pictures], ["evaluate", model, out, "--data", pictures],
                ["evaluate", model, out, "--data", pictures, "--compiled"], ["calibrate", model, pictures, "-o", tmp_path / "c"]]
    for command in commands:
        assert not said(run(*command)), command
    Image.fromarray(photo(20, 16, 0)).save(pictures / "20.png")
    line = "input: 16x16 RGB, bilinear short side 16 then crop, values 0..255, "
    for command, origin in zip(commands, ["from the model's metadata", f"from the metadata of {out}"] + 2 * [None], strict=True):
        end = run(*command)
        assert end.rc == 0 and len(said(end)) == 1 and said(end)[0].startswith(line), end.stderr
        assert origin is None or said(end) == [line + origin]


def test_statistics_of_other_pictures(network, done, run, tmp_path):
    """What differs is named, before the data is compared."""
    model, pictures, _ = network
    done("calibrate", model, pictures, "-o", tmp_path / "a.qcal", *OPTIONS)
    done("calibrate", model, pictures, "-o", tmp_path / "b.qcal", "--preset", "unit")
    end = run("merge", tmp_path / "a.qcal", tmp_path / "b.qcal", "-o", tmp_path / "c.qcal")
    assert end.rc == 1 and "of pictures that were prepared differently" in end.stderr
    assert "resize=short:20" in end.stderr and "scale=1/255" in end.stderr
    assert not (tmp_path / "c.qcal").exists()


@pytest.mark.parametrize(
    "metadata, line",
    [
        ({"Image.NominalPixelRange": "Normalized_0_1"}, "16x16 RGB, bilinear short side 16 then crop, x/255"),
        ({"image.nominalpixelrange": "normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"},
         "16x16 BGR, bilinear short side 16 then crop, x/127.5 - 1"),
        ({"imgsz": "[16, 16]", "stride": "32", "task": "detect"}, "16x16 RGB, OpenCV's bilinear letterbox 16, x/255"),
        ({"imgsz": "[16, 16]", "stride": "1", "task": "classify"}, "16x16 RGB, bilinear short side 16 then crop, x/255"),
        ({"qonnx.preprocess": TEXT}, "16x16 RGB, bilinear short side 20 then crop, (x/255 - mean)/std"),
    ],
)
def test_metadata(metadata, line, network, run, tmp_path):
    _, pictures, marked = network
    model = marked(tmp_path / "m.onnx", **metadata)
    end = run("run", model, "--data", pictures, "-o", tmp_path / "out")
    assert end.rc == 0 and said(end) == [f"input: {line}, from the model's metadata"]


@pytest.mark.parametrize(
    "metadata, warning",
    [
        ({"Image.NominalPixelRange": "NominalRange_16_235"}, "'NominalRange_16_235', which is not known"),
        ({"qonnx.preprocess": "resize=short:x"}, "the model's metadata is left out"),
        ({"imgsz": "[1e9, 2]", "stride": "32", "task": "detect"}, ""),
        ({"imgsz": "[99999, 2]", "stride": "32", "task": "detect"}, ""),
    ],
)
def test_odd_metadata(metadata, warning, network, run, tmp_path):
    _, pictures, marked = network
    end = run("run", marked(tmp_path / "m.onnx", **metadata), "--data", pictures, "-o", tmp_path / "out")
    assert end.rc == 0 and warning in end.stderr
    assert said(end) == ["input: 16x16 RGB, bilinear short side 16 then crop, values 0..255, by default"]


# ---- pixels in C --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, dtype", [([1, 3, 16, 12], np.float32), ([1, 16, 12, 3], np.float32),
                                          ([1, 1, 16, 12], np.float32), ([1, 3, 16, 12], np.uint8)])
@pytest.mark.parametrize("preset", ["torchvision", "caffe", "raw"])
def test_compiled_pixels(shape, dtype, preset, done, tmp_path):
    """NAME_image() gives what `run` gives the model for a picture of its size."""
    gray_input = 1 in shape[1:]
    if preset != "raw" and (gray_input or dtype == np.uint8):
        pytest.skip("the preset is for three channels of floats")
    a = photo(12, 16, 5, gray=gray_input)
    Image.fromarray(a).save(tmp_path / "a.png")
    model = identity(tmp_path / "m.onnx", shape, dtype)
    options = ["--preset", preset, "--resize", "none", "--crop", "none"]
    done("run", model, "--data", tmp_path / "a.png", "-o", tmp_path / "out", *options)
    want = np.load(tmp_path / "out" / "output_0.npy")
    code = tmp_path / "code"
    done("compile", model, "-o", code, "--prefix", "net", "--io", "image", *options)
    assert "0 of" in subprocess.run(["make", "-s", "-C", code, "test"], check=True, capture_output=True, text=True).stdout
    subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-ffp-contract=off", "-o",
                    code / "net.so", code / "net.c"], check=True)
    got = np.empty(shape, dtype)
    ctypes.CDLL(str(code / "net.so")).net_image(np.ascontiguousarray(a).ctypes.data_as(ctypes.c_void_p),
                                                got.ctypes.data_as(ctypes.c_void_p))
    assert got.tobytes() == want.tobytes()
