"""Rows: operators that move data, with operands that do not fit, and bombs made of them."""

import numpy as np
from bad_inputs.table import FLOAT, INT64, model, one, row, run_row, samples, written
from onnx import helper


def i64(*values):
    return np.array(values, np.int64)


def operand_row(op, name, message, *operands, x=(1, 3, 8, 8), opset=19, **attributes):
    """A row that runs one node, with constant operands behind x."""
    names = [f"c{i}" for i in range(len(operands))]

    @row(f"{op}: {name}", rf"node 'n' \({op}\): {message}")
    def make(folder):
        m = one(op, ["x", *names], x, dict(zip(names, operands)), opset, **attributes)
        return ["run", written(m, folder), "--data", samples(folder, np.zeros(x, np.float32))]


PAIRS = i64(0, 0, 1, 1, 0, 0, 1, 1)
operand_row("Pad", "too few pads", "7 pads, want 8", PAIRS[1:])
operand_row("Pad", "a mode that is none", 'mode is "mirror", want constant', PAIRS, mode="mirror")
operand_row("Pad", "takes more off than there is", "pads -9 and 0 do not fit axis 2 of size 8", i64(0, 0, -9, 0, 0, 0, 0, 0))
operand_row("Pad", "takes more off on both sides", "pads -5 and -4 do not fit axis 2",
            i64(0, 0, -5, 0, 0, 0, -4, 0))
operand_row("Pad", "size that overflows", "pads [0-9]+ and [0-9]+ do not fit axis 0",
            i64(2**63 - 1, 0, 0, 0, 2**63 - 1, 0, 0, 0))
operand_row("Pad", "output that overflows", "the size of output 'y' overflows", i64(2**62, 0, 0, 0, 0, 0, 0, 0))
operand_row("Pad", "least number", "pads -9[0-9]+ and -9[0-9]+ do not fit axis 0", i64(-2**63, 0, 0, 0, -2**63, 0, 0, 0))
operand_row("Pad", "nothing to reflect", "axis 2 has no elements to pad with", i64(0, 0, 1, 0, 0, 0, -8, 0), mode="reflect")
operand_row("Pad", "axis out of range", "axis 4 is out of range", i64(1, 1), np.float32(0), i64(4))
operand_row("Pad", "axis twice", "axis 3 is there twice", i64(1, 1, 1, 1), np.float32(0), i64(3, -1))
operand_row("Pad", "several values", "the value to pad with is not one element", PAIRS, np.zeros(2, np.float32))
run_row("Pad: value of another type", r"Pad .*it pads float with int64",
        lambda: one("Pad", ["x", "p", "v"], constants={"p": PAIRS, "v": i64(1)}))
operand_row("Tile", "too few repeats", "3 repeats for rank 4", i64(1, 1, 1))
operand_row("Tile", "fewer than none", "it repeats axis 1 -1 times", i64(1, -1, 1, 1))
operand_row("Tile", "axis that overflows", "axis 3 overflows", i64(1, 1, 1, 2**62))
operand_row("CenterCropPad", "too few sizes", "1 sizes for 4 axes", i64(4))
operand_row("CenterCropPad", "size below 0", "size -4", i64(-4), axes=[2])
operand_row("Split", "too long", "lengths of 4 in all do not fit an axis of size 3", i64(4), axis=1)
operand_row("Split", "length below 0", "length -3", i64(-3), axis=1)
operand_row("Split", "axis out of range", "axis 4 is out of range", i64(3), axis=4)
operand_row("Split", "lengths for more outputs", "its lengths are not one int64 for each of 1 outputs", i64(1, 2), axis=1)
operand_row("Split", "other number of outputs", "num_outputs is 3, but it has 1 outputs", num_outputs=3, axis=1)
operand_row("Gather", "index out of range", "index 3 is out of range for an axis of size 3", i64(3), axis=1)
operand_row("Gather", "empty axis", "an axis of size 0 has nothing to index", i64(0), x=(1, 0, 8, 8), axis=1)
operand_row("GatherElements", "index out of range", "index -4 is out of range for an axis of size 3",
            np.full((1, 1, 1, 1), -4, np.int64), axis=1)
operand_row("GatherElements", "other rank", "indices of rank 1, want 4", i64(0))
operand_row("GatherElements", "too many", "9 indices along axis 2 of size 8", np.zeros((1, 1, 9, 1), np.int64), axis=1)
operand_row("GatherND", "index out of range", "index 3 is out of range for an axis of size 3", i64([0, 3]))
operand_row("GatherND", "too many numbers", "indices of 5 numbers for 4 axes", i64(0, 0, 0, 0, 0))
operand_row("GatherND", "no numbers", "indices of 0 numbers for 4 axes", np.zeros((2, 0), np.int64))
operand_row("GatherND", "scalar", "indices of rank 0", np.int64(0))
operand_row("GatherND", "batch out of range", "batch_dims is 1, for ranks 4 and 1", i64(0), batch_dims=1)
operand_row("GatherND", "other batch", "axis 0 has sizes 1 and 2", i64([0], [0]), batch_dims=1)
operand_row("GatherND", "too many axes", "the result has 10 axes", np.zeros((1,) * 7 + (1,), np.int64), opset=13)
ONES = np.ones((1, 1, 1, 1), np.float32)
operand_row("ScatterElements", "index out of range", "index 8 is out of range", ONES.astype(np.int64) * 8, ONES, axis=3)
operand_row("ScatterElements", "other updates", "updates have size 1 at axis 3, want 2", np.zeros((1, 1, 1, 2), np.int64),
            ONES, axis=3)
operand_row("ScatterElements", "updates of other rank", "updates of rank 1, want 4", ONES.astype(np.int64), ONES[0, 0, 0])
operand_row("ScatterElements", "no reduction", 'reduction is "sum", want none', ONES.astype(np.int64), ONES, reduction="sum")
operand_row("ScatterND", "index out of range", "index -9 is out of range", i64([0, 0, 0, -9]), ONES[0, 0, 0])
operand_row("ScatterND", "other updates", "updates of rank 4, want 1", i64([0, 0, 0, 0]), ONES)
run_row("ScatterND: updates of another type", r"ScatterND .*it puts int64 into float",
        lambda: one("ScatterND", ["x", "k", "u"], constants={"k": i64([0, 0, 0, 0]), "u": i64(1)}))
run_row("GatherElements: float indices", r"GatherElements .*input 1 is float", lambda: one("GatherElements", ["x", "x"]))


@row("Split: parts that are not equal", r"\(Split\): an axis of size 3 is not 2 equal parts")
def split(folder):
    m = model([helper.make_node("Split", ["x"], ["y", "z"], axis=1)])
    return ["run", written(m, folder), "--data", samples(folder, np.zeros((1, 3, 8, 8), np.float32))]


@row("Tile: bomb", r"\(Relu\): one run of the model takes .*--max-memory", mends="limits")
def tile(folder):
    m = model([helper.make_node("Tile", ["x", "r"], ["t"]), helper.make_node("Relu", ["t"], ["y"])], [("x", FLOAT, [1])],
              constants={"r": i64(2**29)})
    return ["run", written(m, folder), "--data", samples(folder, np.zeros(1, np.float32))]


operand_row("DepthToSpace", "channels that are not divided", "axis 1 of size 3 is not divided by 4", blocksize=2)
operand_row("DepthToSpace", "no block", "blocksize is 0", blocksize=0)
operand_row("DepthToSpace", "a mode that is none", 'mode is "RCD", want DCR or CRD', x=(1, 4, 8, 8), blocksize=2, mode="RCD")
operand_row("DepthToSpace", "block that overflows", "blocksize is 4294967296", blocksize=2**32)
operand_row("SpaceToDepth", "rows that are not divided", "axis 2 of size 8 is not divided by 3", blocksize=3)
operand_row("SpaceToDepth", "a mode that is none", 'mode is "RCD", want DCR or CRD', x=(1, 4, 8, 8), opset=28, blocksize=2, mode="RCD")
operand_row("SpaceToDepth", "other rank", "input of rank 3, want 4", x=(1, 3, 8), blocksize=2)
operand_row("Col2Im", "other number of blocks", "6 blocks, want 4", i64(3, 3), i64(2, 2), x=(1, 4, 6), opset=18)
UNFIT = "image, block, strides, dilations and pads of axis 0 do not fit"
operand_row("Col2Im", "stride of none", UNFIT, i64(3, 3), i64(2, 2), x=(1, 4, 6), opset=18, strides=[0, 1])
operand_row("Col2Im", "pads that overflow", UNFIT, i64(3, 3), i64(2, 2), x=(1, 4, 6), opset=18,
            pads=[2**63 - 1, 0, 2**63 - 1, 0])
operand_row("Col2Im", "four axes", "images of 4 axes", i64(3, 3, 3, 3), i64(1, 1, 1, 1), x=(1, 4, 6), opset=18)
operand_row("OneHot", "no depth", "depth is 0, want at least 1", i64(0), np.zeros(2, np.float32))
operand_row("OneHot", "one value", "values are not two elements", i64(2), np.zeros(1, np.float32))
operand_row("OneHot", "axis out of range", "axis 5 is out of range", i64(2), np.zeros(2, np.float32), axis=5)
operand_row("OneHot", "several depths", "input 1 is not one element", i64(2, 2), np.zeros(2, np.float32))
operand_row("CumSum", "axis out of range", "axis -5 is out of range", i64(-5))
operand_row("CumSum", "two axes", "2 axes, want 1", i64(0, 1))
operand_row("Trilu", "vector", "input of rank 1, want at least 2", x=(3,))
operand_row("Trilu", "two diagonals", "input 1 is not one element", i64(0, 1))
operand_row("EyeLike", "other rank", "input of rank 4, want 2")
operand_row("ReverseSequence", "one axis for both", "time_axis and batch_axis are not 0 and 1", i64(1), time_axis=1)
operand_row("ReverseSequence", "too long", "length 4, of 3 steps", i64(4), time_axis=1, batch_axis=0)
operand_row("ReverseSequence", "too many lengths", "2 lengths for 1 sequences", i64(1, 1), time_axis=1, batch_axis=0)


def range_row(name, message, *numbers):
    """A row of a Range over constants."""

    @row(f"Range: {name}", message)
    def make(folder):
        m = model([helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Cast", ["r"], ["f"], to=FLOAT),
                   helper.make_node("Add", ["f", "x"], ["y"])], [("x", FLOAT, [1])],
                  constants=dict(zip("abc", numbers)))
        return ["run", written(m, folder), "--data", samples(folder, np.zeros(1, np.float32))]


range_row("without end", r"\(Range\): delta is 0", np.int64(0), np.int64(9), np.int64(0))
range_row("of steps of another type", r"\(Range\): input 2 is float, input 0 is int64", np.int64(0), np.int64(9), np.float32(0.5))
range_row("bomb", r"memory, most of it here|takes .* steps", np.int64(0), np.int64(2**30), np.int64(1))
range_row("of more than can be", r"\(Range\): the size of output 'r' overflows", np.int64(-(2**62)), np.int64(2**62), np.int64(1))
range_row("to no number", r"\(Range\): start, limit and delta give no number", np.float32(0), np.float32("nan"), np.float32(1))
range_row("to infinity", r"\(Range\): start, limit and delta give no number", np.float32(0), np.float32("inf"), np.float32(1))
range_row("several limits", r"\(Range\): input 1 is not one element", np.int64(0), i64(1, 2), np.int64(1))
range_row("of two types", r"\(Range\): input 2 is float, input 0 is int64", np.int64(0), np.int64(9), np.float32(1))
