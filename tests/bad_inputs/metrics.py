"""What evaluate --metric is given: labels, options, and models that it does not fit."""

import io
import json

import numpy as np
import onnx
from bad_inputs.table import row
from onnx import TensorProto, helper


def metric_row(name, message, metric, files, *options, outputs=("y",)):
    """Samples a.npy and b.npy of a model that gives them back, scored; labels in files, by name."""

    def arguments(folder):
        graph = helper.make_graph([helper.make_node("Identity", ["x"], [y]) for y in outputs], "g",
                                  [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
                                  [helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 4]) for y in outputs])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "m.onnx")
        for path in ("data", "labels"):
            (folder / path).mkdir()
        for stem in "ab":
            np.save(folder / "data" / f"{stem}.npy", np.ones((1, 4), np.float32))
        for path, content in files.items():
            (folder / path).write_bytes(content)
        return ["evaluate", "m.onnx", "--data", "data", "--metric", metric, *options]

    row("metric: " + name, message)(arguments)


def npy_bytes(array):
    f = io.BytesIO()
    np.save(f, array)
    return f.getvalue()


PNG = b"\x89PNG\r\n\x1a\n"
metric_row("labels that are not there", r"nowhere: cannot be read: No such file", "mse", {}, "--labels", "nowhere")
metric_row("no labels, one model", r"mse: has nothing to compare with: give labels", "mse", {})
metric_row("no labels of pairs", r"spearman: wants labels; give them with --labels", "spearman", {})
metric_row("labels of nobody", r"labels: names none of the samples", "mse", {"labels/z.npy": npy_bytes(np.ones(4))}, "--labels",
           "labels")
metric_row("labels of another size", r"mse: the output of 'data/a\.npy' is float\[1,4\], what it is compared with is double\[5\]",
           "mse", {"labels/a.npy": npy_bytes(np.ones(5)), "labels/b.npy": npy_bytes(np.ones(4))}, "--labels", "labels")
metric_row("two labels", r"'data/a\.npy' has two labels, 'labels/a\.npy' and 'labels/a\.png'", "mse",
           {"labels/a.npy": npy_bytes(np.ones(4)), "labels/a.png": PNG}, "--labels", "labels")
metric_row("one array of fewer labels", r"holds 3 labels along its first axis, and there are 2 samples", "mse",
           {"l.npy": npy_bytes(np.ones((3, 4)))}, "--labels", "l.npy")
metric_row("a damaged PNG", r"labels/a\.png: as a label map: ", "mse",
           {"labels/a.png": PNG + b"junk" * 9, "labels/b.png": PNG}, "--labels", "labels")
metric_row("a label that is no array", r"line 1 is 'a\.npy 3', want 'FILE LABEL\.npy'", "mse", {"l.txt": b"a.npy 3\n"}, "--labels",
           "l.txt")
metric_row("no score", r"line 2 is 'a b c', want 'FILE FILE SCORE'", "spearman", {"l.txt": b"a b 1\na b c\n"}, "--labels", "l.txt")
metric_row("a score that is not finite", r"line 1 is 'a b nan', want", "spearman", {"l.txt": b"a b nan\n"}, "--labels", "l.txt")
metric_row("binary labels of pairs", r"line 1 holds a byte of 0; want text", "spearman", {"l.txt": b"a b\0 1\n"}, "--labels", "l.txt")
metric_row("pairs of nobody", r"l\.txt: names none of the samples", "spearman", {"l.txt": b"c d 1\n"}, "--labels", "l.txt")
metric_row("a folder of pairs", r"labels: is a folder; want lines 'FILE FILE SCORE'", "spearman", {}, "--labels", "labels")
metric_row("another output", r"mse\{output=z\}: the model has no output 'z'; its first is 'y'", "mse{output=z}", {})
metric_row("another word", r"option 'to' is 'out'; want labels or input or first", "mse{to=out}", {})
metric_row("no largest value", r"what is compared with is float, which does not say how large", "psnr{to=input}", {})
metric_row("a largest value of nothing", r"option 'peak' is '0'; want a number", "psnr{peak=0,to=input}", {})
metric_row("no class", r"top1: no sample has a class that the output may have", "top1", {})
metric_row("a class that is none", r"miou: 0\.5 is no class; want whole numbers from 0 to 65535", "miou",
           {"labels/a.npy": npy_bytes(np.full(4, 0.5)), "labels/b.npy": npy_bytes(np.ones(4))}, "--labels", "labels")
metric_row("a class that is too large", r"miou: 1e\+09 is no class", "miou",
           {"labels/a.npy": npy_bytes(np.full(4, 10**9)), "labels/b.npy": npy_bytes(np.ones(4))}, "--labels", "labels")
metric_row("a map of another size", r"miou: the output of 'data/a\.npy' is float\[1,4\], its label int64\[3\]; want a class, or a", "miou",
           {"labels/a.npy": npy_bytes(np.arange(3)), "labels/b.npy": npy_bytes(np.arange(3))}, "--labels", "labels")
metric_row("an axis of nothing", r"option 'axis' is '3'; want 1 or last", "miou{axis=3,to=input}", {})
metric_row("fewer tokens", r"tokens: 'data/a\.npy' gives 1 tokens, and should give 3; .* are compared by wer", "tokens",
           {"labels/a.npy": npy_bytes(np.arange(3)), "labels/b.npy": npy_bytes(np.arange(1))}, "--labels", "labels")
metric_row("a blank that is no token", r"option 'blank' is '-1'; want a whole number from 0", "wer{blank=-1,to=input}", {})
metric_row("a program that is not there", r"m\.onnx: \./it: cannot be run as a program: No such file", "./it", {})
metric_row("a program that may not run", r"m\.onnx: \./it: cannot be run as a program: Permission denied", "./it", {"it": b"#!/bin/sh\n"})
metric_row("a folder as program", r"m\.onnx: \./labels: cannot be run as a program: it is no file", "./labels", {})


# ---- COCO's JSON ----------------------------------------------------------------------------------

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}
BOX = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}


def coco_row(name, message, text=None, metric="map{in=picture}", outputs=("boxes", "scores", "classes"), **lists):
    """Labels in COCO's form with other lists in them, or another text."""
    whole = {"images": [IMAGE], "annotations": [BOX], "categories": [{"id": 1}]}
    content = text if text is not None else json.dumps({**whole, **lists}).encode()
    metric_row("COCO: " + name, message, metric, {"l.json": content}, "--labels", "l.json", outputs=outputs)


coco_row("no JSON", r"l\.json: line 1: .*; want COCO's instances as JSON", b"a b")
coco_row("an empty file", r"l\.json: line 1: .*; want COCO's instances as JSON", b"")
coco_row("nested deeply", r"l\.json: line 1: .*; want COCO's instances as JSON", b"[" * 100000)
coco_row("a list", r"l\.json: has no list 'images'; want COCO's instances, with lists", b"[]")
coco_row("no categories", r"l\.json: has no list 'categories'", categories={"id": 1})
coco_row("an image that is none", r"l\.json: images\[0\] is not as COCO's instances have it: want an id, a file_name", images=[3])
coco_row("an image without a size", r"images\[0\] is not as COCO's", images=[{**IMAGE, "width": 0}])
coco_row("one id twice", r"l\.json: two images have the id 1", images=[IMAGE, {**IMAGE, "file_name": "b.jpg"}])
coco_row("one category twice", r"l\.json: two categories have the id 1", categories=[{"id": 1}, {"id": 1}])
coco_row("a category without an id", r"categories\[0\] is not as COCO's instances have it: want an id", categories=[{"id": "1"}])
coco_row("a box of three numbers", r"annotations\[0\] is not as .*: want an image_id, a category_id and a bbox", annotations=[
    {**BOX, "bbox": [1, 2, 3]}])
coco_row("a box of less than nothing", r"annotations\[0\] is not as", annotations=[{**BOX, "bbox": [1, 2, -3, 4]}])
coco_row("a box of no image", r"annotations\[1\] is not as .*: want an image and a category that the file has", annotations=[
    BOX, {**BOX, "image_id": 2}])
coco_row("a box of no category", r"annotations\[0\] is not as .*: want an image and", annotations=[{**BOX, "category_id": 2}])
coco_row("no image is a sample", r"l\.json: names none of the samples; its first picture is 'z\.jpg', the first sample 'data/a",
         images=[{**IMAGE, "file_name": "z.jpg"}])
coco_row("no such output", r"the model has no output 'b' for its boxes", metric="map{boxes=b}")
coco_row("outputs that do not say what they are", r"which output has the boxes is not plain; give it as option: map\{boxes=NAME",
         outputs=("y", "scores", "classes"))
coco_row("as many boxes as scores", r"'data/a\.npy' gives 4 numbers of boxes, 4 scores and 4 classes; want 4, 1 and 1 for each box")
coco_row("samples that are no pictures", r"'a\.jpg' is no picture, or becomes none of the model's size", metric="map{in=input,scores=s}",
         outputs=("boxes", "s", "classes"))
coco_row("an IoU of 2", r"option 'iou' is '2'; want a number from 0\.01 to 1", metric="map{iou=2}")
coco_row("a form of its own", r"option 'form' is 'yx'; want xyxy or xywh or cxcywh", metric="map{form=yx}")
