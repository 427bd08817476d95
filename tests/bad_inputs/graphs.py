"""Rows: graphs, nodes, attributes and operands."""

import numpy as np
import onnx
from bad_inputs.table import (FLOAT, IMAGE, INT64, conv, edited, model, model_row, one, quantize_row, relu, row,
                              run_row, samples, written)
from onnx import TensorProto, helper, numpy_helper

model_row("no graph", r"no graph in it", edited(lambda m: m.ClearField("graph")))
model_row("empty graph", r"the graph has no outputs",
          edited(lambda m: (m.graph.ClearField("node"), m.graph.ClearField("output"))))
model_row("no operator set", r"imports no operator set", edited(lambda m: m.ClearField("opset_import")))
model_row("cycle", r"depends on its own output, through '[ab]'.*no cycles",
          lambda: model([helper.make_node("Add", ["x", "b"], ["a"], "first"),
                         helper.make_node("Relu", ["a"], ["b"], "second"),
                         helper.make_node("Relu", ["b"], ["y"], "third")]))
model_row("output of two nodes", r"'y' is an output of two nodes",
          edited(lambda m: m.graph.node.append(m.graph.node[0])))
model_row("output that is an input", r"output 'x' is also a graph input or initializer",
          lambda: model([helper.make_node("Relu", ["x"], ["x"])]))
model_row("initializer twice", r"initializer 'w' is there twice",
          lambda: model([helper.make_node("Add", ["x", "w"], ["y"])],
                        constants=[numpy_helper.from_array(np.float32(i), "w") for i in (1, 2)]))
model_row("graph input twice", r"graph input 'x' is there twice",
          edited(lambda m: m.graph.input.append(m.graph.input[0])))
model_row("input from nowhere", r"node 'n' \(Add\): input 'lost' is neither an output of a node",
          lambda: one("Add", ["x", "lost"]))
model_row("output from nowhere", r"graph output 'lost' is produced by no node",
          lambda: model([helper.make_node("Relu", ["x"], ["y"])], outputs=[("lost", FLOAT, None)]))
model_row("node without outputs", r"\(Relu\): it has no output",
          edited(lambda m: m.graph.node.append(helper.make_node("Relu", ["x"], []))))
model_row("required input left out", r"input 1 is left out", lambda: one("Add", ["x", ""]))
model_row("too few inputs", r"1 inputs, want 2", lambda: one("Add", ["x"]))
model_row("too many inputs", r"3 inputs, want 2", lambda: one("Add", ["x", "x", "x"]))
model_row("operator set of the future", r"operator set 99, want 1 to at most \d+",
          edited(lambda m: setattr(m.opset_import[0], "version", 99)))
model_row("operator set of no meaning", r"operator set -3",
          edited(lambda m: setattr(m.opset_import[0], "version", -3)))
model_row("operator set twice", r"operator set twice, as 13 and 14",
          edited(lambda m: m.opset_import.append(helper.make_opsetid("", 14))))
model_row("the same operator set twice", "", edited(lambda m: m.opset_import.append(m.opset_import[0])), status=0)


def deconv(w, bias=None, **attributes):
    """A ConvTranspose."""
    constants = {"w": np.ones(w, np.float32)} | ({"b": np.ones(bias, np.float32)} if bias else {})
    return one("ConvTranspose", ["x", *constants], constants=constants, **attributes)


def resize(inputs, **attributes):
    """A Resize, its lists being these; an operator set that has all of its attributes."""
    floats = {"s": [1, 1, 2, 2], "t": [1, 1, 2], "o": [1, 1, 0, 2], "n": [1, 1, np.nan, 2], "h": [1, 1, 1e30, 1], "u": [2, 2]}
    constants = {k: np.float32(v) for k, v in floats.items()} | {"z": np.int64([1, 3, 8, 8]), "m": np.int64([1, 3, -1, 8])}
    return one("Resize", inputs, constants={k: v for k, v in constants.items() if k in inputs}, opset=19, **attributes)


# ---- odd, and legal -----------------------------------------------------------------------------


def same(made, out, done):
    """What was written is what was read."""
    assert out.read_bytes() == (made / "m.onnx").read_bytes()


def odd_row(name, make, message="", check=same):
    """A row for a model that is carried through."""
    model_row(name, message, make, status=0, check=check)


def relus(*edges, names=None, **more):
    """Relus from value to value."""
    return model([helper.make_node("Relu", [a], [b], names[i] if names else f"{a}{b}")
                  for i, (a, b) in enumerate(edges)], **more)


ONE = numpy_helper.from_array(np.float32(1), "w")
ADD = helper.make_node("Add", ["x", "w"], ["y"])


def sorted_nodes(made, out, done):
    """The nodes come in order."""
    known = {"x"}
    for node in onnx.load(out).graph.node:
        assert set(node.input) <= known
        known |= set(node.output)


odd_row("unsorted nodes", lambda: relus(("b", "y"), ("a", "b"), ("x", "a")), check=sorted_nodes)
odd_row("node name twice", lambda: relus(("x", "a"), ("a", "y"), names=["n", "n"]))
odd_row("nodes without names", lambda: relus(("x", "a"), ("a", "y"), names=["", ""]))
odd_row("unused node", lambda: relus(("x", "y"), ("x", "nobody")))
odd_row("unused initializer", lambda: relu(constants=[ONE]))
odd_row("unused input", lambda: relu(inputs=[("x", FLOAT, [1, 3, 8, 8]), ("nobody", FLOAT, [1])]))


def once(made, out, done):
    """One of the two is left."""
    assert [i.name for i in onnx.load(out).graph.initializer] == ["w"]


odd_row("initializer twice, the same", lambda: model([ADD], constants=[ONE, ONE]),
        r"initializer 'w' is there twice, the same; one is kept", check=once)
BOTH = (("x", FLOAT, [1, 3, 8, 8]), ("w", FLOAT, []))
odd_row("initializer that is an input", lambda: model([ADD], BOTH, constants=[ONE]))
quantize_row("initializer that is an input, quantized", "", lambda: model([ADD], BOTH, constants=[ONE]), status=0)
odd_row("input left out by an empty name", lambda: one("Clip", ["x", "", "m"], constants={"m": np.float32(6)}))
odd_row("inputs left out at the end", lambda: one("Clip", ["x", "", ""]))
odd_row("output left out by an empty name", lambda: model([helper.make_node("Split", ["x"], ["", "y", ""], axis=1)]))
odd_row("IR version of the future", edited(lambda m: setattr(m, "ir_version", 99)),
        r"has IR version 99, known are those to \d+")
odd_row("no IR version", edited(lambda m: m.ClearField("ir_version")))
odd_row("operator nobody knows", lambda: one("Mystery"))
odd_row("operator of a domain nobody knows", lambda: one("Mystery", domain="who.knows"))
odd_row("training information", edited(lambda m: m.training_info.add()))
odd_row("operator set 5", lambda: relu(opset=5))
odd_row("graph that is 100,000 nodes long", lambda: relus(*(
    (f"v{i}" if i else "x", f"v{i + 1}" if i < 99999 else "y") for i in range(100000))))
odd_row("value with 20,000 users", lambda: relus(("x", "y"), *(("x", f"v{i}") for i in range(20000))))


def function(m, body_op, body_domain=""):
    """Puts the node into a function of the model, whose one node is this."""
    f = m.functions.add(name="F", domain="local", input=["a"], output=["b"])
    f.node.append(helper.make_node(body_op, ["a"], ["b"], domain=body_domain))
    f.opset_import.append(helper.make_opsetid("", 13))
    m.opset_import.append(helper.make_opsetid("local", 1))
    m.graph.node[0].op_type, m.graph.node[0].domain = "F", "local"


odd_row("function", edited(lambda m: function(m, "Relu")))
odd_row("function that calls itself", edited(lambda m: function(m, "F", "local")))


def sparse(m, name):
    """Adds a sparse initializer."""
    s = m.graph.sparse_initializer.add(dims=[5])
    s.values.CopyFrom(numpy_helper.from_array(np.float32([1]), name))
    s.indices.CopyFrom(numpy_helper.from_array(np.int64([1]), ""))


odd_row("sparse initializer, unused", edited(lambda m: sparse(m, "w")))
model_row("sparse initializer", r"\(Add\): input 'w' is a sparse initializer, which is not supported",
          edited(lambda m: sparse(m, "w"), lambda: model([ADD])))


def nested_ifs(depth):
    """An If in a branch of an If and so on; the innermost reads what the outermost graph has."""
    def branch(level, name):
        out = [helper.make_tensor_value_info(f"{name}{level}", FLOAT, None)]
        if level == depth:
            return helper.make_graph([helper.make_node("Relu", ["x"], [f"{name}{level}"])], "g", [], out)
        inner = helper.make_node("If", ["c"], [f"{name}{level}"], then_branch=branch(level + 1, name + "t"),
                                 else_branch=helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "e", [], [
                                     helper.make_tensor_value_info("e", FLOAT, None)]))
        return helper.make_graph([inner], "g", [], out)

    g = branch(0, "y")
    m = model([*g.node], outputs=[("y0", FLOAT, None)], constants={"c": np.bool_(True)})
    return m


odd_row("branches that read the graph around them", lambda: nested_ifs(3))
odd_row("branches in branches, 20 deep", lambda: nested_ifs(20))

# ---- known, and not run -------------------------------------------------------------------------

run_row("unknown operator", r"cannot run operator Mystery \(node 'n'\); export the model without it", lambda: one("Mystery"))
run_row("unknown domain", r"cannot run operator who\.knows\.Mystery", lambda: one("Mystery", domain="who.knows"))
run_row("function, run", "", edited(lambda m: function(m, "Relu")), status=0)
run_row("function that calls itself, run", r"\(F\): function local\.F calls itself",
        edited(lambda m: function(m, "F", "local")))


def doubling(m, depth):
    """Functions that call the next one twice: 2^depth nodes."""
    function(m, "Relu")
    for i in range(depth):
        f = m.functions.add(name=f"G{i}", domain="local", input=["a"], output=["b"])
        next_one = ("F", "local") if i == depth - 1 else (f"G{i + 1}", "local")
        f.node.append(helper.make_node(next_one[0], ["a"], ["c"], domain="local"))
        f.node.append(helper.make_node(next_one[0], ["c"], ["b"], domain="local"))
        f.opset_import.append(helper.make_opsetid("local", 1))
    m.graph.node[0].op_type = "G0"


odd_row("functions that would be 2^40 nodes", edited(lambda m: doubling(m, 40)))
run_row("functions that would be 2^40 nodes, run", r"functions come to more than 64 times its bytes and 256 MiB",
        edited(lambda m: doubling(m, 40)), timeout=60)


def chained(m, depth):
    """Functions that call the next one."""
    function(m, "Relu")
    for i in range(depth):
        f = m.functions.add(name=f"G{i}", domain="local", input=["a"], output=["b"])
        f.node.append(helper.make_node("F" if i == depth - 1 else f"G{i + 1}", ["a"], ["b"], domain="local"))
        f.opset_import.append(helper.make_opsetid("local", 1))
    m.graph.node[0].op_type = "G0"


run_row("functions 90 deep", "", edited(lambda m: chained(m, 90)), status=0)
run_row("functions 5,000 deep", r"functions call one another more than 100 deep", edited(lambda m: chained(m, 5000)))
for what, message, edit in [
    ("that is there twice", r"function local\.F is there twice", lambda m: m.functions.append(m.functions[0])),
    ("with an input twice", r"function local\.F has input 'a' twice", lambda m: m.functions[0].input.append("a")),
    ("called with too many inputs", r"2 inputs and 1 outputs, function local\.F has 1 and 1",
     lambda m: m.graph.node[0].input.append("x")),
    ("called with too many outputs", r"1 inputs and 2 outputs, function local\.F has 1 and 1",
     lambda m: m.graph.node[0].output.append("z")),
    ("called with an attribute that it has not", r"function local\.F has no attribute 'alpha'",
     lambda m: m.graph.node[0].attribute.append(helper.make_attribute("alpha", 1.0))),
    ("that refers to an attribute that it has not", r"refers to attribute 'beta', which function local\.F does not have",
     lambda m: m.functions[0].node[0].attribute.add(name="alpha", ref_attr_name="beta", type=1)),
    ("that gives an input another value", r"gives 'a', an input of the function, another value",
     lambda m: m.functions[0].node.append(helper.make_node("Relu", ["b"], ["a"]))),
    ("without the output", r"'b__1'", lambda m: m.functions[0].node.pop()),
    ("of an operator set of the future", r"function local\.F imports operator set 99, want 1 to",
     lambda m: setattr(m.functions[0].opset_import[0], "version", 99)),
    ("of an older operator set", r"function local\.F imports operator set 11, and the model 13; below 13",
     lambda m: setattr(m.functions[0].opset_import[0], "version", 11)),
]:
    run_row(f"function {what}", message, edited(lambda m, edit=edit: (function(m, "Relu"), edit(m))))
quantize_row("unknown operator, quantized", r"cannot run operator Mystery", lambda: one("Mystery"))
quantize_row("Scan of operator set 8 without a body", r"node 'n' \(Scan\): it has no body", lambda: one("Scan", ["", "x"], opset=8))
quantize_row("operator that came later", r"operator set 13 has no HardSwish, which came with 14; export the model with "
             r"operator set 14 or newer", lambda: one("HardSwish", opset=13), mends="attributes - operators of other sets")
run_row("operator that is gone", r"operator set 13 has no Upsample, which went after 9", lambda: one("Upsample", ["x", "x"], opset=13))


# ---- attributes and operands --------------------------------------------------------------------

for op, attributes, message in [
    ("Conv", {"strides": 2}, r"attribute strides is an integer, want integers"),
    ("Conv", {"group": [1]}, r"attribute group is integers, want an integer"),
    ("Conv", {"pads": [1.0, 1.0]}, r"attribute pads is floats, want integers"),
    ("Conv", {"auto_pad": 3}, r"attribute auto_pad is an integer, want a string"),
    ("Conv", {"group": 0}, r"group 0 does not fit"),
    ("Conv", {"group": -1}, r"group -1 does not fit"),
    ("Conv", {"group": 3}, r"group 3 does not fit"),
    ("Conv", {"strides": [0, 1]}, r"strides holds 0, want at least 1"),
    ("Conv", {"strides": [1]}, r"strides has 1 numbers, want 2"),
    ("Conv", {"dilations": [0, 0]}, r"dilations holds 0, want at least 1"),
    ("Conv", {"dilations": [1 << 40, 1]}, r"dilations holds 1099511627776"),
    ("Conv", {"dilations": [4, 4]}, r"the kernel spans 9, the padded input only 8"),
    ("Conv", {"pads": [-1, 0, 0, 0]}, r"pads holds -1, want 0 or more"),
    ("Conv", {"pads": [1, 1]}, r"pads has 2 numbers, want 4"),
    ("Conv", {"kernel_shape": [5, 5]}, r"kernel_shape says 5 where the weight has 3"),
    ("Conv", {"auto_pad": "SOMEHOW"}, r"auto_pad is 'SOMEHOW'"),
]:
    model_row(f"Conv {attributes}", r"node 'n' \(Conv\): " + message, lambda a=attributes: conv(**a))

for name, message, make in [
    ("Conv kernel larger than the input", r"the kernel spans 9, the padded input only 8", lambda: conv(w=(4, 3, 9, 9))),
    ("Conv weight of another rank", r"weight of rank 3 for an input of rank 4", lambda: conv(w=(4, 3, 3))),
    ("Conv of a matrix", r"input of rank 2, want 3 to 5", lambda: conv(x=(3, 8), w=(4, 3))),
    ("Conv of other channels", r"group 1 does not fit 3 input channels", lambda: conv(w=(4, 5, 3, 3))),
    ("Conv without filters", r"group 1 does not fit|the kernel is too small", lambda: conv(w=(0, 3, 3, 3))),
    ("Conv kernel of no size", r"the kernel is too small", lambda: conv(w=(4, 3, 0, 3))),
    ("Conv bias of another length", r"bias of 3 for 4 output channels", lambda: conv(bias=3)),
    ("MaxPool without kernel", r"attribute kernel_shape is missing", lambda: one("MaxPool")),
    ("MaxPool stride 0", r"strides holds 0", lambda: one("MaxPool", kernel_shape=[2, 2], strides=[0, 0])),
    ("MaxPool kernel 0", r"kernel_shape holds 0", lambda: one("MaxPool", kernel_shape=[0, 2])),
    ("Softmax axis", r"axis 4 is out of range for rank 4", lambda: one("Softmax", axis=4)),
    ("Concat axis", r"axis -5 is out of range for rank 4", lambda: one("Concat", ["x", "x"], axis=-5)),
    ("Concat without axis", r"attribute axis is missing", lambda: one("Concat", ["x", "x"])),
    ("Flatten axis", r"axis 5 is out of range for rank 4", lambda: one("Flatten", axis=5)),
    ("Transpose perm twice", r"perm is no permutation", lambda: one("Transpose", perm=[0, 1, 1, 2])),
    ("Transpose perm short", r"perm has 2 axes for rank 4", lambda: one("Transpose", perm=[0, 1])),
    ("Squeeze of a long axis", r"axis 1 has size 3, want 1", lambda: one("Squeeze", ["x", "a"], constants={"a": np.int64([1])})),
    ("Unsqueeze twice", r"axis 0 is there twice", lambda: one("Unsqueeze", ["x", "a"], constants={"a": np.int64([0, 0])})),
    ("Reshape to another size", r"192 elements do not fit", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([5, 7])})),
    ("Reshape with two -1", r"shape has -1", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([-1, -1])})),
    ("Reshape overflow", r"overflow", lambda: one("Reshape", ["x", "s"], constants={"s": np.int64([1 << 40, 1 << 40])})),
    ("Slice step 0", r"step 0", lambda: one("Slice", ["x", "a", "b", "c", "d"], constants={
        "a": np.int64([0]), "b": np.int64([1]), "c": np.int64([0]), "d": np.int64([0])})),
    ("Slice lengths", r"different lengths", lambda: one("Slice", ["x", "a", "b"], constants={"a": np.int64([0, 1]), "b": np.int64([1])})),
    ("ConvTranspose of other channels", r"group 1 does not fit 3 input channels and a weight of 4 x 2", lambda: deconv((4, 2, 2, 2))),
    ("ConvTranspose in groups", r"group 2 does not fit 3 input channels", lambda: deconv((3, 2, 2, 2), group=2)),
    ("ConvTranspose of another bias", r"bias of 4 for 2 output channels", lambda: deconv((3, 2, 2, 2), bias=4)),
    ("ConvTranspose of rank 3", r"weight of rank 3 for an input of rank 4", lambda: deconv((3, 2, 2))),
    ("ConvTranspose to nothing", r"its output has size 0 along an axis", lambda: deconv((3, 2, 2, 2), pads=[5, 0, 4, 0])),
    ("ConvTranspose to an odd size", r"output_shape holds 11, of an axis that reaches 9 at most",
     lambda: deconv((3, 2, 2, 2), output_shape=[11, 9])),
    ("ConvTranspose of huge strides", r"an axis of 8 with strides of \d+ is too large",
     lambda: deconv((3, 2, 2, 2), strides=[1 << 28, 1])),
    ("ConvTranspose of huge output_padding", r"its output has size \d+ along an axis",
     lambda: deconv((3, 2, 2, 2), output_padding=[1 << 29, 1])),
    ("MaxUnpool of other places", r"its inputs have different shapes", lambda: one(
        "MaxUnpool", ["x", "i"], constants={"i": np.zeros((1, 3, 8, 7), np.int64)}, kernel_shape=[2, 2])),
    ("MaxUnpool to another rank", r"output_shape has 2 numbers, want 4", lambda: one(
        "MaxUnpool", ["x", "i", "s"], constants={"i": np.zeros((1, 3, 8, 8), np.int64), "s": np.int64([1, 3])}, kernel_shape=[2, 2])),
    ("LpPool of power 0", r"p is 0", lambda: one("LpPool", kernel_shape=[2, 2], p=0)),
    ("GridSample of another rank", r"the grid does not fit an input of rank 4", lambda: one(
        "GridSample", ["x", "g"], constants={"g": np.ones((1, 2, 2, 3), np.float32)}, opset=16)),
    ("GridSample in an unknown mode", r"mode is 'sinc', which is not known", lambda: one(
        "GridSample", ["x", "g"], constants={"g": np.ones((1, 2, 2, 2), np.float32)}, opset=16, mode="sinc")),
    ("AffineGrid of three sizes", r"size has 3 numbers, want 4 or 5", lambda: one(
        "AffineGrid", ["t", "s"], constants={"t": np.ones((1, 2, 3), np.float32), "s": np.int64([1, 3, 8])}, opset=20)),
    ("AffineGrid of another theta", r"theta does not fit a size of 5 numbers", lambda: one(
        "AffineGrid", ["t", "s"], constants={"t": np.ones((1, 2, 3), np.float32), "s": np.int64([1, 3, 8, 2, 2])}, opset=20)),
    ("RoiAlign of regions of 5 numbers", r"its regions are not \[count, 4\]", lambda: one(
        "RoiAlign", ["x", "r", "b"], constants={"r": np.ones((2, 5), np.float32), "b": np.int64([0, 0])})),
    ("RoiAlign of too many samples", r"sampling_ratio is 1000000, want at most", lambda: one(
        "RoiAlign", ["x", "r", "b"], constants={"r": np.ones((2, 4), np.float32), "b": np.int64([0, 0])}, sampling_ratio=1000000)),
    ("Resize without scales", r"neither scales nor sizes are given", lambda: resize(["x"])),
    ("Resize with scales and sizes", r"both scales and sizes are given", lambda: resize(["x", "", "s", "z"])),
    ("Resize of three scales", r"scales has 3 numbers, want 4", lambda: resize(["x", "", "t"])),
    ("Resize by 0", r"scale 0", lambda: resize(["x", "", "o"])),
    ("Resize by NaN", r"scale nan", lambda: resize(["x", "", "n"])),
    ("Resize to a negative size", r"size -1 for an axis of 8", lambda: resize(["x", "", "", "m"])),
    ("Resize to more than fits", r"makes an axis of 8 too large", lambda: resize(["x", "", "h"])),
    ("Resize in an unknown mode", r"mode is 'sinc', which is not known", lambda: resize(["x", "", "s"], mode="sinc")),
    ("Resize of an axis twice", r"axis 3 is there twice", lambda: resize(["x", "", "u"], axes=[3, -1])),
    ("Resize of axis 4", r"axis 4 is out of range", lambda: resize(["x", "", "u"], axes=[3, 4])),
    ("Resize of half a roi", r"roi has 4 numbers, want 8", lambda: resize(
        ["x", "s", "s"], coordinate_transformation_mode="tf_crop_and_resize")),
    ("Resize antialiased to the nearest", r"antialias is for modes linear and cubic", lambda: resize(["x", "", "s"], antialias=1)),
    ("Gather axis", r"axis 9 is out of range", lambda: one("Gather", ["x", "i"], constants={"i": np.int64([0])}, axis=9)),
    ("Add that does not broadcast", r"does not broadcast", lambda: one("Add", ["x", "w"], constants={"w": np.float32([1, 2])})),
    ("MatMul inner sizes", r"inner sizes differ: 8 and 7", lambda: one("MatMul", ["x", "w"], constants={"w": np.ones((7, 2), np.float32)})),
    ("Gemm rank", r"operands of rank 4 and 2, want 2", lambda: one("Gemm", ["x", "w"], constants={"w": np.ones((8, 2), np.float32)})),
    ("ReduceMean axis", r"axis 7 is out of range", lambda: one("ReduceMean", axes=[7])),
    ("BatchNormalization sizes", r"input 1 has 2 elements for 3 channels", lambda: one(
        "BatchNormalization", list("xabcd"), constants={k: np.ones(2, np.float32) for k in "abcd"})),
    ("scales for another axis", r"5 scales for an axis of size 3", lambda: one(
        "QuantizeLinear", ["x", "s"], constants={"s": np.ones(5, np.float32)})),
    ("attribute twice", r"attribute 'axis' is there twice", edited(
        lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]), lambda: one("Softmax", axis=1))),
    ("attribute without its tensor", r"attribute 'value' has no tensor", edited(
        lambda m: m.graph.node[0].attribute[0].ClearField("t"),
        lambda: model([helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.float32([1])))]))),
    ("dimension over 2^31", r"dimension 0 of 'x' is 1099511627776", lambda: relu(inputs=[("x", FLOAT, [1 << 40])])),
    ("dimension of an input above 2^31", r"dimension 0 of 'x' is 2147483648, want at most 2\^31 - 1",
     lambda: relu(inputs=[("x", FLOAT, [1 << 31])])),
    ("input of rank 9", r"'x' has rank 9, at most 8", lambda: relu(inputs=[("x", FLOAT, [1] * 9)])),
]:
    model_row(name, message, make)


# ---- forms that are not quantized ---------------------------------------------------------------

W8, S = np.ones((4, 3, 3, 3), np.int8), {"s": np.float32(0.1), "z": np.uint8(0), "zw": np.int8(0)}
READY = r"the model is quantized already; calibrate the float model"
quantize_row("quantized already", READY, lambda: model(
    [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]), helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"])],
    constants=S))
model_row("zero point of another type", r"\(DequantizeLinear\): the zero point is int8, the integers are uint8", lambda: model(
    [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]), helper.make_node("DequantizeLinear", ["a", "s", "zw"], ["y"])],
    constants=S))
quantize_row("quantized already, in whole operators", READY, lambda: model(
    [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
     helper.make_node("QLinearConv", ["a", "s", "z", "w", "s", "zw", "s", "z"], ["b"]),
     helper.make_node("DequantizeLinear", ["b", "s", "z"], ["y"])], constants=S | {"w": W8}))
quantize_row("quantized already, as it runs", READY, lambda: model(
    [helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "t", "u"]),
     helper.make_node("ConvInteger", ["a", "w", "u"], ["b"]), helper.make_node("Cast", ["b"], ["y"], to=1)],
    constants={"w": W8}))
def blocks(scale, block=4, zero=None, x=(1, 3, 8, 8), op="QuantizeLinear", axis=1, opset=25, **attributes):
    """One node with scales in blocks."""
    constants = {"s": np.ones(scale, np.float32)} | ({} if zero is None else {"z": np.zeros(zero, np.uint8)})
    return one(op, ["x", *constants], x, constants, opset, axis=axis, block_size=block, **attributes)


for name, message, make in [
    ("of another rank", r"scales of rank 2 for blocks of an input of rank 4", lambda: blocks((3, 8))),
    ("too few", r"1 scales along axis 1 of size 3, want 2 \(blocks of 2 along axis 1\)", lambda: blocks((1, 1, 8, 8), 2)),
    ("too many", r"3 scales along axis 1 of size 3, want 2", lambda: blocks((1, 3, 8, 8), 2)),
    ("of another size", r"7 scales along axis 3 of size 8, want 8", lambda: blocks((1, 1, 8, 7))),
    ("below 0", r"block_size is -4, want a positive number", lambda: blocks((1, 1, 8, 8), -4)),
    ("of one element", r"1 scales along axis 1 of size 3, want 3", lambda: blocks((1, 1, 8, 8), 1)),
    ("axis outside", r"axis 4 is out of range for rank 4", lambda: blocks((1, 1, 8, 8), axis=4)),
    ("no block_size", r"scales of rank 4 without a block_size", lambda: blocks((1, 1, 8, 8), 0)),
    ("output_dtype", r"output_dtype is no known type", lambda: blocks((1, 1, 8, 8), output_dtype=99)),
    ("zero point of another type", r"the zero point is uint8, the integers are int4", lambda: blocks(
        (1, 1, 8, 8), zero=(1, 1, 8, 8), output_dtype=TensorProto.INT4)),
]:
    model_row(f"scales in blocks: {name}", message, make)
run_row("scales in blocks: one of all", "", lambda: blocks((1, 1, 8, 8), (1 << 62)), status=0)
run_row("scales in blocks: zero points of another shape", r"scale and zero point have different shapes",
        lambda: blocks((1, 1, 8, 8), zero=()))
run_row("scales in blocks: of double", r"QuantizeLinear \(node 'n': input 1 is double", lambda: one(
    "QuantizeLinear", ["x", "s"], constants={"s": np.float64(1)}, opset=25))
run_row("QuantizeLinear to int32", r"QuantizeLinear \(node 'n': type int32", lambda: one(
    "QuantizeLinear", ["x", "s"], constants={"s": np.float32(1)}, opset=25, output_dtype=TensorProto.INT32))
run_row("QuantizeLinear of a precision", r"QuantizeLinear \(node 'n': precision 11", lambda: one(
    "QuantizeLinear", ["x", "s"], constants={"s": np.float32(1)}, opset=25, precision=TensorProto.DOUBLE))
run_row("Cast of a rounding", r"Cast \(node 'n': round_mode 'sideways'", lambda: one(
    "Cast", to=TensorProto.FLOAT8E8M0, round_mode="sideways", opset=25))
FREE = ["n", 3, "h", "w"]
quantize_row("open dimensions", "", lambda: conv(x=FREE), status=0,
             arrays=[IMAGE, np.concatenate([IMAGE, IMAGE], 2), IMAGE[:, :, :5, :6]])
quantize_row("open dimensions, another number of channels", r"0\.npy: shape is \[1,2,8,8\], the model's input 'x' wants "
             r"\[\?,3,\?,\?\]", lambda: conv(x=FREE), arrays=[IMAGE[:, :2]])


@row("open dimensions, compiled", r"dimension 2 of input 'x' is open \('h'\); compiled code needs a size")
def _(folder):
    return ["compile", written(conv(x=FREE), folder), "-o", "OUTDIR"]


quantize_row("input of no size", r"no finite value was seen", lambda: relu(inputs=[("x", FLOAT, [1, 0, 8, 8])]), status=0,
             arrays=[IMAGE[:, :0]])
odd_row("input of no size, rewritten", lambda: relu(inputs=[("x", FLOAT, [1, 0, 8, 8])]))


@row("model without inputs", r"the model has no inputs to feed")
def _(folder):
    m = model([helper.make_node("Relu", ["w"], ["y"])], [], constants={"w": IMAGE})
    return ["calibrate", written(m, folder), samples(folder, IMAGE), "-o", "OUT"]
