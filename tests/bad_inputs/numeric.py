"""Rows: losses, spectra, random numbers, determinants and regions with operands and attributes that do not fit."""

import numpy as np
from bad_inputs.moved import i64, operand_row
from bad_inputs.table import FLOAT, model, one, run_row
from onnx import TensorProto, helper


def ones(*shape):
    return np.ones(shape, np.float32)


NLL, SCE = "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"
operand_row(NLL, "targets of another rank", "input 1 has rank 1, want 3", i64(0))
operand_row(NLL, "targets of other sizes", "axis 1 of input 1 has size 7, want 8", np.zeros((1, 7, 8), np.int64))
operand_row(NLL, "weights of other classes", "axis 0 of input 2 has size 4, want 3", i64(0), ones(4), x=(1, 3))
operand_row(NLL, "no class axis", "input 0 has rank 1, want 2 to 8", i64(0), x=(3,))
operand_row(NLL, "no classes", "an input without classes", i64(0), x=(1, 0))
operand_row(NLL, "a target that is none", "target 3 is none of 3 classes", i64(3), x=(1, 3))
operand_row(SCE, "a target below 0", "target -1 is none of 3 classes", i64(-1), x=(1, 3), ignore_index=-2)
operand_row(SCE, "a reduction that is none", 'reduction is "max", want none, sum or mean', i64(0), x=(1, 3), reduction="max")
run_row(f"{NLL}: float targets", r"input 1 is float, this library runs it on int64 only",
        lambda: one(NLL, ["x", "t"], x=(1, 3, 8, 8), constants={"t": ones(1, 8, 8)}))

COMPLEX = "the last axis has size 8, want 1"
operand_row("DFT", "no parts of numbers", COMPLEX, opset=17)
operand_row("DFT", "rank of 1", "input 0 has rank 1, want 2 to 8", x=(8,), opset=17)
operand_row("DFT", "axis of the parts", "axis 2 has the parts of complex numbers", x=(3, 8, 1), opset=17, axis=2)
operand_row("DFT", "axis out of range", "axis 7 is out of range for rank 3", i64(8), i64(7), x=(3, 8, 1), opset=20)
operand_row("DFT", "half of a complex transform", "onesided wants an input of real numbers", x=(3, 8, 2), opset=17, onesided=1)
operand_row("DFT", "length of 0", "a transform of length 0, want 1 to", i64(0), x=(3, 8, 1), opset=17)
operand_row("DFT", "an axis of nothing", "a transform of length 0, want 1 to", x=(3, 0, 1), opset=17)
operand_row("DFT", "half of nothing", "a transform of length 0, want 1 to", x=(3, 1, 2), opset=17, onesided=1, inverse=1)
operand_row("DFT", "huge length", "a transform of length 4611686018427387904, want 1 to", i64(2**62), x=(3, 8, 1), opset=17)
operand_row("DFT", "lengths", "input 1 is a list, want a number", i64(8, 8), x=(3, 8, 1), opset=17)
operand_row("DFT", "a long prime length", "one run of the model takes .* steps", i64(16777213), x=(1, 8, 1), opset=17)
operand_row("STFT", "step of 0", "frame_step is 0, want 1 or more", np.int64(0), ones(4), x=(1, 8), opset=17)
operand_row("STFT", "no frame", "neither a window nor a frame_length", np.int64(1), x=(1, 8), opset=17)
operand_row("STFT", "frames longer than the signal", "a frame of 9, of a signal of 8", np.int64(1), ones(9), x=(1, 8), opset=17)
operand_row("STFT", "a window of another length", "axis 0 of input 2 has size 4, want 5", np.int64(1), ones(4), np.int64(5),
            x=(1, 8), opset=17)
operand_row("STFT", "half of a complex signal", "onesided wants a signal of real numbers", np.int64(1), ones(4), x=(1, 8, 2),
            opset=17)
operand_row("STFT", "other rank", "input 0 has rank 4, want 2 to 3", np.int64(1), ones(4), opset=17)
operand_row("Det", "rows and columns", "matrices of 8 rows and 7 columns are not square", x=(8, 7))
operand_row("Det", "a row", "input 0 has rank 1, want 2 to 8", x=(8,))
operand_row("DeformConv", "offsets of another kernel", "axis 1 of input 2 has size 8, want 18", ones(4, 3, 3, 3), ones(1, 8, 6, 6),
            opset=19)
operand_row("DeformConv", "offsets of another place", "axis 3 of input 2 has size 7, want 6", ones(4, 3, 3, 3), ones(1, 18, 6, 7),
            opset=19)
operand_row("DeformConv", "groups of offsets", "offset_group 2 does not divide 3 channels", ones(4, 3, 3, 3), ones(1, 36, 6, 6),
            opset=19, offset_group=2)
operand_row("DeformConv", "a mask of another kernel", "axis 1 of input 4 has size 8, want 9", ones(4, 3, 3, 3), ones(1, 18, 6, 6),
            ones(4), ones(1, 8, 6, 6), opset=19)
operand_row("DeformConv", "a volume", "input of rank 5, want 4", ones(4, 3, 3, 3, 3), ones(1, 18, 6, 6), x=(1, 3, 8, 8, 8), opset=19)
operand_row("MaxRoiPool", "boxes of four numbers", "axis 1 of input 1 has size 4, want 5", ones(2, 4), pooled_shape=[2, 2])
operand_row("MaxRoiPool", "no grid", "pooled_shape has 0 numbers, want 2", ones(2, 5))
operand_row("MaxRoiPool", "an empty grid", "pooled_shape holds 0, want 1 or more", ones(2, 5), pooled_shape=[0, 2])
operand_row("MaxRoiPool", "a picture of nothing", "its input has nothing to take", ones(2, 5), x=(1, 3, 0, 8), pooled_shape=[2, 2])
operand_row("MaxRoiPool", "a huge grid", "one run of the model takes", ones(2, 5), pooled_shape=[2**13, 2**13])
operand_row("CumProd", "axis out of range", "axis 4 is out of range for rank 4", np.int64(4), opset=26)
operand_row("BitCast", "another size", "float has 32 bits, int16 has 16", opset=26, to=TensorProto.INT16)
operand_row("BitCast", "to nothing", "attribute to is no known type of numbers", opset=26)
operand_row("BitCast", "to strings", "attribute to is no known type of numbers", opset=26, to=TensorProto.STRING)
operand_row("Multinomial", "no samples", "sample_size is 0, want 1 or more", x=(2, 3), sample_size=0)
operand_row("Multinomial", "no classes", "an input without classes", x=(2, 0))
operand_row("Multinomial", "too many samples", "one run of the model takes", x=(2, 3), sample_size=2**29)
operand_row("Dropout", "ratios", "ratio has 2 elements, want one", ones(2), np.array(True))
run_row("Bernoulli: of integers", r"Bernoulli .*input 0 is int64",
        lambda: model([helper.make_node("Cast", ["x"], ["k"], to=TensorProto.INT64), helper.make_node("Bernoulli", ["k"], ["y"], "n")],
                      opset=15))


def alone(op, message, name, **attributes):
    """A row for a node without a float tensor as its input 0."""
    run_row(f"{op}: {name}", rf"\({op}\): {message}", lambda: model(
        [helper.make_node(op, [], ["r"], "n", **attributes), helper.make_node("Add", ["x", "r"], ["y"])], opset=15))


alone("RandomNormal", "attribute shape is missing", "no shape")
alone("RandomNormal", "shape holds -1, want 0 or more", "a size below 0", shape=[8, -1])
alone("RandomUniform", "shape has 9 axes, at most 8", "too many axes", shape=[1] * 9)
alone("RandomUniform", "the size of output 'r' overflows", "size that overflows", shape=[2**40, 2**40])
alone("RandomNormal", "one run of the model takes", "bomb", shape=[2**22, 3, 8, 8])


def sized(op, message, name, *operands, **attributes):
    """A row for a node of constants."""
    names = [f"c{i}" for i in range(len(operands))]
    run_row(f"{op}: {name}", rf"{op}.*{message}", lambda: model(
        [helper.make_node(op, names, ["w"], "n", **attributes), helper.make_node("Identity", ["x"], ["z"])],
        outputs=[("w", FLOAT, None), ("z", FLOAT, None)], constants=dict(zip(names, operands)), opset=17))


sized("HannWindow", "size is -1, want 0 or more", "a size below 0", np.int64(-1))
sized("HammingWindow", "input 0 is a list, want a number", "sizes", i64(3, 4))
sized("BlackmanWindow", "one run of the model takes", "bomb", np.int64(2**29))
sized("HannWindow", "output 0 is string", "of strings", np.int64(3), output_datatype=TensorProto.STRING)
EDGES = np.float32(0), np.float32(4000)
sized("MelWeightMatrix", "num_mel_bins is 0, want 1 or more", "no bands", i64(0), i64(16), i64(8000), *EDGES)
sized("MelWeightMatrix", "a transform of length -3, want 1 to", "a length below 0", i64(8), i64(-3), i64(8000), *EDGES)
sized("MelWeightMatrix", "input 3 is a list, want a number", "edges", i64(8), i64(16), i64(8000), ones(2), EDGES[1])
sized("MelWeightMatrix", "one run of the model takes", "bomb", i64(2**20), i64(2**10), i64(8000), *EDGES)
