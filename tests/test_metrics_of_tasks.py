"""Segmentation, sequences and boxes: evaluate's scores against NumPy and COCO's own program."""

import contextlib
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scored import FLOAT, arrays, model, scores


@pytest.fixture
def random():
    return np.random.default_rng(1)


# ---- segmentation ---------------------------------------------------------------------------------


def iou(outputs, labels, ignore):
    """The mean over the classes that occur of TP / (TP + FP + FN)."""
    y, t = (np.concatenate([np.ravel(a) for a in side]) for side in (outputs, labels))
    y, t = y[t != ignore], t[t != ignore]
    return np.mean([((y == c) & (t == c)).sum() / ((y == c) | (t == c)).sum() for c in np.union1d(y, t)])


@pytest.mark.parametrize("form", ["scores", "last", "ids"])
def test_miou(form, done, tmp_path, random):
    """Labels as PNG with a palette, whose colours do not matter, and as arrays; pictures of several sizes."""
    from PIL import Image
    labels = [random.integers(0, 4, size) for size in ((5, 7), (6, 4), (3, 3))]
    for a in labels:
        a[0, :2] = 255
    outputs = [np.where(random.random(a.shape) < 0.3, random.integers(0, 5, a.shape), np.minimum(a, 3)) for a in labels]
    one_hot = [np.eye(5, dtype=np.float32)[y] for y in outputs]
    given = {"scores": [y.transpose(2, 0, 1)[None] for y in one_hot], "last": [y[None] for y in one_hot],
             "ids": [y[None].astype(np.float32) for y in outputs]}[form]
    arrays(tmp_path / "data", given)
    (tmp_path / "png").mkdir()
    for i, a in enumerate(labels):
        picture = Image.fromarray(a.astype(np.uint8), "P")
        picture.putpalette(bytes(random.integers(0, 256, 768, dtype=np.uint8)))
        picture.save(tmp_path / "png" / f"{i:03}.png")
    arrays(tmp_path / "npy", labels)
    axis = "axis=last," if form == "last" else ""
    for folder in ("png", "npy"):
        got, = scores(done, model(tmp_path / "m.onnx", ["y"]), "--data", tmp_path / "data", "--labels", tmp_path / folder,
                      "--metric", f"miou{{{axis}ignore=255}}", "--metric", f"miou{{{axis}ignore=1}}")
        assert got == pytest.approx({f"miou{{{axis}ignore={k}}}": iou(outputs, labels, k) for k in (255, 1)})


@pytest.mark.parametrize("axis", [1, -1])
def test_miou_of_two_models(axis, done, tmp_path, random):
    """Without labels the classes of the first model are those that should be."""
    x = random.normal(size=(3, 1, 4, 5, 6) if axis == 1 else (3, 1, 5, 6, 4)).astype(np.float32)
    bias = np.array([0, 1, -1, 0.5], np.float32).reshape((4, 1, 1) if axis == 1 else 4)
    nodes = [helper.make_node("Constant", [], ["b"], value=onnx.numpy_helper.from_array(bias)),
             helper.make_node("Add", ["x", "b"], ["y"])]
    metric = "miou" if axis == 1 else "miou{axis=last}"
    got = scores(done, model(tmp_path / "m.onnx", ["y"]), model(tmp_path / "n.onnx", ["y"], nodes=nodes), "--data",
                 arrays(tmp_path / "data", x), "--metric", metric)
    classes = [a.argmax(2 if axis == 1 else -1) for a in (x + bias, x)]
    assert got[0] == {metric: None} and got[1] == pytest.approx({metric: iou(*classes, 255)})


# ---- sequences ------------------------------------------------------------------------------------


def distance(a, b):
    """Levenshtein's, by the recursion of its definition."""
    table = {}

    def d(i, k):
        if (i, k) not in table:
            table[i, k] = i + k if not i or not k else min(d(i - 1, k) + 1, d(i, k - 1) + 1,
                                                           d(i - 1, k - 1) + (a[i - 1] != b[k - 1]))
        return table[i, k]

    return d(len(a), len(b))


def test_tokens(done, tmp_path, random):
    y = [random.integers(0, 4, n) for n in (9, 12, 5)]
    want = [np.where(random.random(len(a)) < 0.3, random.integers(0, 4, len(a)), a) for a in y]
    want[1][:3] = -100
    other = [np.delete(a, random.integers(0, len(a), 2)) for a in want]
    arrays(tmp_path / "data", [np.eye(4, dtype=np.float32)[a][None] for a in y])
    arrays(tmp_path / "want", want)
    arrays(tmp_path / "other", other)
    got, = scores(done, model(tmp_path / "m.onnx", ["y"]), "--data", tmp_path / "data", "--labels", tmp_path / "want",
                  "--metric", "tokens", "--metric", "wer", "--metric", f"wer{{labels={tmp_path}/other}}",
                  "--metric", f"wer{{blank=0,labels={tmp_path}/other}}")
    real = [w[w != -100] for w in want], [w[w != -100] for w in other]
    ctc = [[t for k, t in enumerate(a) if t and (not k or t != a[k - 1])] for a in y]
    rate = lambda ys, ws: sum(distance(list(a), list(w)) for a, w in zip(ys, ws)) / sum(map(len, ws))  # noqa: E731
    assert list(got.values()) == pytest.approx([
        np.concatenate([a[w != -100] == w[w != -100] for a, w in zip(y, want)]).mean(), rate(y, real[0]), rate(y, real[1]),
        rate(ctc, real[1])])


# ---- boxes ----------------------------------------------------------------------------------------


def coco_ap(labels, pictures, ids, thresholds, most):
    """What COCO's own program finds."""
    with contextlib.redirect_stdout(None):
        truth = COCO(labels)
        found = [{"image_id": 7 * i, "category_id": ids[c], "score": score, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]}
                 for i, (boxes, _) in enumerate(pictures) for score, c, b in boxes if c < len(ids)]
        e = COCOeval(truth, truth.loadRes(found), "bbox")
        e.params.iouThrs, e.params.maxDets = np.asarray(thresholds), [most]
        e.params.areaRng, e.params.areaRngLbl = e.params.areaRng[:1], e.params.areaRngLbl[:1]
        e.evaluate()
        e.accumulate()
    precision = e.eval["precision"]
    return precision[precision > -1].mean()


def detections(random, count=12):
    """Pictures of 100 x 80 with labels, some of crowds, and boxes that are near to labels or anywhere."""
    pictures = []
    for _ in range(count):
        corner, size = random.uniform(0, 50, (8, 2)), random.uniform(8, 30, (8, 2))
        labels = [(int(random.integers(3)), [*a, *(a + b)], i > 4) for i, (a, b) in enumerate(zip(corner, size))]
        labels = labels[:random.integers(0, 9)]
        boxes = [(float(random.random()), c if random.random() < 0.8 else 1, list(np.array(g) + random.normal(0, 2, 4)))
                 for c, g, _ in labels * 2]
        boxes += [(float(random.random()), int(random.integers(4)), [*a, *(a + b)]) for a, b in zip(corner[:3], size)]
        order = random.permutation(len(boxes))
        pictures.append(([boxes[i] for i in order], labels))
    return pictures


def write_coco(path, pictures, ids, names, width=100, height=80):
    annotations = [{"image_id": 7 * i, "category_id": ids[c], "iscrowd": int(crowd), "area": (g[2] - g[0]) * (g[3] - g[1]),
                    "bbox": [g[0], g[1], g[2] - g[0], g[3] - g[1]]}
                   for i, (_, labels) in enumerate(pictures) for c, g, crowd in labels]
    annotations = [{"id": k + 1, **a} for k, a in enumerate(annotations)]
    images = [{"id": 7 * i, "file_name": names[i], "width": width, "height": height} for i in range(len(pictures))]
    path.write_text(json.dumps({"images": images[::-1], "annotations": annotations[::-1],
                                "categories": [{"id": i} for i in ids[::-1]]}))
    return path


THRESHOLDS = np.linspace(.5, .95, 10)


@pytest.mark.parametrize("form", ["xyxy", "xywh", "cxcywh"])
def test_map(form, done, tmp_path, random):
    """Classes are places among the categories, or, with xywh, their ids."""
    pictures, ids = detections(random), [1, 4, 9]
    names = ("boxes", "scores", "labels")
    for i, (boxes, _) in enumerate(pictures):
        b = np.array([b[2] for b in boxes]).reshape(-1, 4)
        classes = [b[1] for b in boxes]
        if form != "xyxy":
            b = np.concatenate([(b[:, :2] + b[:, 2:]) / 2 if form == "cxcywh" else b[:, :2], b[:, 2:] - b[:, :2]], 1)
        if form == "cxcywh":
            b = b / [100, 80, 100, 80]
        if form == "xywh":
            classes = [[*ids, 2][c] for c in classes]
        for name, a in zip(names, (b, [s[0] for s in boxes], classes)):
            (tmp_path / f"in_{name}").mkdir(exist_ok=True)
            np.save(tmp_path / f"in_{name}" / f"{i:03}.npy", np.asarray(a, np.float64))
    m = model(tmp_path / "m.onnx", names, [f"in_{n}" for n in names], dtype=TensorProto.DOUBLE)
    labels = write_coco(tmp_path / "l.json", pictures, ids, [f"{i:03}.jpg" for i in range(len(pictures))])
    more = {"xyxy": "", "xywh": "form=xywh,numbers=id,", "cxcywh": "form=cxcywh,in=unit,"}[form]
    got, = scores(done, m, "--data", tmp_path, "--labels", labels, "--metric", f"map{{{more}max=100}}",
                  "--metric", f"map{{{more}iou=0.5}}", "--metric", f"map{{{more}max=2}}")
    want = [coco_ap(labels, pictures, ids, t, most) for t, most in ((THRESHOLDS, 100), ([.5], 100), (THRESHOLDS, 2))]
    assert 0.1 < want[0] < 0.9
    assert list(got.values()) == pytest.approx(want, abs=1e-8)


def test_map_of_resized_pictures(done, tmp_path):
    """Boxes in pixels of the model's input are those of the picture: stretched, in a letterbox, cut."""
    from PIL import Image
    (tmp_path / "data").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "data" / "a.png")
    for rule, box in ((("--resize", "50x20"), [5, 5, 20, 10]), (("--resize", "letterbox:50"), [5, 10 + 5, 20, 20 + 5]),
                      (("--resize", "short:40", "--crop", "30"), [5 - 10, 10 - 5, 20 - 10, 20 - 5])):
        width, height = {"50x20": (50, 20), "letterbox:50": (50, 50), "short:40": (30, 30)}[rule[1]]
        constant = lambda name, value: helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(  # noqa: E731
            np.array(value, np.float32)))
        nodes = [constant("zero", 0), constant("box", [box]), constant("one", [1]), helper.make_node("Mul", ["x", "zero"], ["nil"]),
                 helper.make_node("ReduceMax", ["nil"], ["n"], keepdims=0), *(helper.make_node("Add", [a, "n"], [b]) for a, b in (
                     ("box", "boxes"), ("one", "scores"), ("n", "class")))]
        graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 3, height, width])],
                                  [helper.make_tensor_value_info(n, FLOAT, None) for n in ("boxes", "scores", "class")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
        labels = write_coco(tmp_path / "l.json", [([], [(0, [10, 20, 40, 40], False)])], [1], ["a.png"])
        got, = scores(done, tmp_path / "m.onnx", "--data", tmp_path / "data", "--labels", labels, "--metric", "map", *rule)
        assert got["map"] == 1, rule
