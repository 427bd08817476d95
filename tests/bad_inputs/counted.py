"""Rows: operators whose outputs have a size that is data, with operands that do not fit, and what is behind them."""

import numpy as np
from bad_inputs.table import FLOAT, INT64, model, row, samples, written
from onnx import helper

node = helper.make_node
MOST = {"most": np.array([1 << 40])}


def counted_row(name, message, nodes, shapes, inputs=None, constants=(), data=None, **more):
    """A row that runs nodes on inputs of these shapes by name, all of them ones."""

    @row(name, message, **more)
    def make(folder):
        m = model(nodes, [(k, FLOAT, s if inputs is None else inputs) for k, s in shapes.items()],
                  [("y", INT64, None)], dict(constants))
        arguments = ["run", written(m, folder)]
        for k, s in shapes.items():
            (folder / k).mkdir()
            path = samples(folder / k, np.ones(s, np.float32) if data is None else data)
            arguments += ["--data", f"{k}={path}" if len(shapes) > 1 else path]
        return arguments


def nms_row(name, message, boxes=(1, 5, 4), scores=(1, 2, 5), more=("most",), **constants):
    counted_row(f"NonMaxSuppression: {name}", rf"node 'n' \(NonMaxSuppression\): {message}",
                [node("NonMaxSuppression", ["b", "s", *more], ["y"], "n")], {"b": boxes, "s": scores},
                constants=MOST | constants)


nms_row("boxes of a wrong rank", "boxes have rank 2, want 3", boxes=(5, 4))
nms_row("scores of a wrong rank", "scores have rank 4, want 3", scores=(1, 1, 2, 5))
nms_row("boxes of five numbers", "boxes have 5 numbers each, want 4", boxes=(1, 5, 5))
nms_row("scores of other boxes", "the scores are not one a class for each of the boxes", scores=(1, 2, 6))
nms_row("scores of other pictures", "the scores are not one a class for each of the boxes", scores=(2, 2, 5))
nms_row("a list of limits", "max_output_boxes_per_class is a list", most=np.array([1, 2]))
nms_row("no threshold", "iou_threshold is a list", more=("most", "iou"), iou=np.zeros(0, np.float32))
counted_row("NonMaxSuppression: very many boxes", r"\(NonMaxSuppression\): .*(too large to be run|one run of the model takes)",
            [node("Expand", ["b", "sb"], ["eb"]), node("Expand", ["s", "ss"], ["es"]),
             node("NonMaxSuppression", ["eb", "es", "most"], ["y"], "n")], {"b": (1, 1, 4), "s": (1, 1, 1)},
            constants=MOST | {"sb": np.array([1, 1 << 22, 4]), "ss": np.array([1, 1 << 8, 1 << 22])}, mends="limits")
counted_row("Compress: a condition of rank 2", r"\(Compress\): the condition has rank 2, want 1",
            [node("Cast", ["x"], ["c"], to=9), node("Compress", ["x", "c"], ["z"]), node("Cast", ["z"], ["y"], to=INT64)],
            {"x": (2, 2)})
counted_row("Compress: no condition", r"\(Compress\): 1 inputs, want 2 to 2",
            [node("Compress", ["x"], ["z"]), node("Cast", ["z"], ["y"], to=INT64)], {"x": (2, 2)})
counted_row("Compress: an axis that is none", r"\(Compress\): axis 2 is out of range",
            [node("ReduceMax", ["x"], ["m"], axes=[0], keepdims=0), node("Cast", ["m"], ["c"], to=9),
             node("Compress", ["x", "c"], ["z"], axis=2), node("Cast", ["z"], ["y"], to=INT64)], {"x": (2, 2)})
counted_row("Unique: an axis that is none", r"\(Unique\): axis -3 is out of range",
            [node("Unique", ["x"], ["z"], axis=-3), node("Cast", ["z"], ["y"], to=INT64)], {"x": (2, 2)})
counted_row("sizes behind a cut that do not fit", r"node 'n' \(Add\): input 1 does not broadcast: 2 against 4",
            [node("NonZero", ["x"], ["i"]), node("Gather", ["i", "zero"], ["a"]), node("Add", ["a", "two"], ["y"], "n")],
            {"x": (2, 2)}, constants={"zero": np.array(0), "two": np.array([1, 2])})
counted_row("memory behind a cut", r"node 'n' \(Expand\): one run of the model takes [\d.]+ GiB of memory",
            [node("NonZero", ["x"], ["i"]), node("Shape", ["i"], ["s"]), node("Mul", ["s", "many"], ["m"]),
             node("Expand", ["one", "m"], ["y"], "n")], {"x": (2, 2)},
            constants={"one": np.array([[1]]), "many": np.array([10000, 10000])}, mends="limits")
counted_row("work behind a cut", r"node 'n' \(AveragePool\): one run of the model takes [\d.]+e\+\d+ steps",
            [node("NonZero", ["x"], ["i"]), node("Shape", ["i"], ["s"]), node("Mul", ["s", "many"], ["m"]),
             node("Expand", ["one", "m"], ["a"]), node("Reshape", ["a", "image"], ["b"]),
             node("AveragePool", ["b"], ["c"], "n", kernel_shape=[2000, 2000]), node("ReduceMax", ["c"], ["d"]),
             node("Cast", ["d"], ["y"], to=INT64)], {"x": (2, 2)},
            constants={"one": np.ones((1, 1), np.float32), "many": np.array([3000, 1500]), "image": np.array([1, 1, 6000, 6000])},
            mends="limits")
