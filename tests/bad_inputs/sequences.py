"""Rows: sequences and optionals, and the files that hold them."""

import numpy as np
import onnx
from bad_inputs.table import FLOAT, row
from onnx import TensorProto, helper, numpy_helper

X = np.arange(6, dtype=np.float32).reshape(3, 2)


def written(text, values, opset=18, edit=None, options=()):
    """A model in ONNX's text form, and a folder of its inputs, which are messages or bytes."""
    def make(folder):
        m = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
        if edit:
            edit(m)
        (folder / "m.onnx").write_bytes(m.SerializeToString())
        (folder / "d").mkdir()
        for i, value in enumerate(values):
            data = value if isinstance(value, bytes) else value.SerializeToString()
            (folder / "d" / f"input_{i}.pb").write_bytes(data)
        return ["run", folder / "m.onnx", "--data", folder / "d", *options]

    return make


def sequence_row(name, message, text, *values, **options):
    row(f"sequences: {name}", message, timeout=60)(written(text, values, **options))


def tensor(x):
    return numpy_helper.from_array(np.asarray(x))


def sequence(*tensors):
    return numpy_helper.from_list([np.asarray(t) for t in tensors])


ONE = "g (seq(float[N]) s, int64 i) => ({}) {{ y = {} }}"
for name, op, position, message in (
        ("behind the end", "SequenceAt(s, i)", 2, r"position 2 is out of range for a sequence of 2"),
        ("before the begin", "SequenceAt(s, i)", -3, r"position -3 is out of range"),
        ("erased behind the end", "SequenceErase(s, i)", 2, r"position 2 is out of range"),
        ("put behind what is behind", "SequenceInsert(s, s0, i)", 4, r"position 4 is out of range"),
        ("a position of 2^63", "SequenceAt(s, i)", 2**63 - 1, r"position 9223372036854775807 is out of range")):
    out = "float[N] y" if "At" in op else "seq(float[N]) y"
    body = ONE.format(out, op.replace("s0", "z"))
    if "z" in body:
        body = body.replace("{ y", "{ zero = Constant <value_int = 0> ()\n z = SequenceAt(s, zero)\n y")
    sequence_row(name, message, body, sequence(np.float32([1]), np.float32([2])),
                 tensor(np.int64(position)))

sequence_row("two positions", r"its position 'i(_1)?' is 2 elements of int64, want one integer",
             "g (seq(float[N]) s, int64[K] i) => (float[N] y) { y = SequenceAt(s, i) }",
             sequence(np.float32([1])), tensor(np.int64([0, 0])))
sequence_row("a position that is real", r"input 1 is float, want int32 or int64",
             "g (seq(float[N]) s, float i) => (float[N] y) { y = SequenceAt(s, i) }", sequence(), tensor(np.float32(0)))
sequence_row("none to erase", r"position 0 is out of range|its sequence is empty",
             "g (seq(float[N]) s) => (seq(float[N]) y) { y = SequenceErase(s) }", sequence())
sequence_row("none to join", r"its sequence is empty",
             "g (seq(float[N]) s) => (float[N] y) { y = ConcatFromSequence <axis = 0> (s) }", sequence())
sequence_row("several ranks", r"\(ConcatFromSequence\).*|\(Concat\).*rank",
             "g (seq(float) s) => (float[N] y) { y = ConcatFromSequence <axis = 0> (s) }",
             sequence(np.float32([1]), np.float32([[1]])))
sequence_row("a tensor for a sequence", r"input 0 is float, want a sequence",
             "g (float[N] x) => (int64 y) { y = SequenceLength(x) }", tensor(X))
sequence_row("a sequence for a tensor", r"cannot run operator Relu \(node '.*': input 0 is sequence of float",
             "g (seq(float[N]) s) => (float[N] y) { y = Relu(s) }", sequence())
sequence_row("two types", r"input 1 is int64, and the sequence is of float",
             "g (float[N] x, int64 i) => (seq(float[N]) y) { y = SequenceConstruct(x, i) }", tensor(X[0]), tensor(np.int64(0)))
sequence_row("a sequence of sequences", r"input 0 is sequence of float, want a tensor",
             "g (seq(float[N]) s) => (int64 n) { y = SequenceConstruct(s)\n n = SequenceLength(y) }", sequence())
sequence_row("no such type", r"dtype is 99, which is no known element type",
             "g (float[N] x) => (int64 n) { y = SequenceEmpty <dtype = 99> ()\n n = SequenceLength(y) }", tensor(X[0]))
sequence_row("parts that do not add up", r"split does not add up to 3",
             "g (float[3,2] x, int64[2] i) => (seq(float[N,2]) y) { y = SplitToSequence(x, i) }", tensor(X), tensor(np.int64([1, 1])))
sequence_row("parts that are negative", r"split does not add up to 3",
             "g (float[3,2] x, int64[2] i) => (seq(float[N,2]) y) { y = SplitToSequence(x, i) }", tensor(X), tensor(np.int64([4, -1])))
sequence_row("parts of nothing", r"split is 0, want at least 1",
             "g (float[3,2] x, int64 i) => (seq(float[N,2]) y) { y = SplitToSequence(x, i) }", tensor(X), tensor(np.int64(0)))
sequence_row("an axis that is none", r"axis 2 is out of range for rank 2",
             "g (float[3,2] x) => (seq(float[N,2]) y) { y = SplitToSequence <axis = 2> (x) }", tensor(X))
sequence_row("a body of another form", r"its body has 1 inputs and 1 outputs, the node 2 and 1",
             """g (seq(float[N]) s, float x) => (seq(float[N]) y) {
                y = SequenceMap(s, x) <body = b (float[N] a) => (float[N] c) { c = Neg(a) }> }""", sequence(), tensor(np.float32(0)))
sequence_row("sequences of two lengths", r"its sequences have 1 and 2 tensors",
             """g (seq(float[N]) s, seq(float[N]) t) => (seq(float[N]) y) {
                y = SequenceMap(s, t) <body = b (float[N] a, float[N] d) => (float[N] c) { c = Add(a, d) }> }""",
             sequence(np.float32([1])), sequence(np.float32([1]), np.float32([2])))
sequence_row("nothing in an optional", r"\(OptionalGetElement\): its input 'o' holds nothing",
             "g (optional(float[N]) o) => (float[N] y) { y = OptionalGetElement(o) }",
             onnx.OptionalProto(elem_type=1))
sequence_row("neither an input nor a type", r"it has neither an input nor a type",
             "g (float[N] x) => (bool y) { o = Optional()\n y = OptionalHasElement(o) }", tensor(X[0]))
sequence_row("an optional of an optional", r"its type is optional float; there are no optionals of that",
             "g (float[N] x) => (bool y) { o = Optional(x)\n p = Optional(o)\n y = OptionalHasElement(p) }", tensor(X[0]))
sequence_row("a state that becomes a tensor", r"output 0 would be sequence of float .* or float|is sequence of float, and float",
             """g (seq(float[N]) s, int64 n) => (seq(float[N]) y) {
                y = Loop (n, , s) <body = b (int64 i, bool go, seq(float[N]) a) => (bool go, float[N] c) { c = SequenceAt(a, i) }> }""",
             sequence(np.float32([1])), tensor(np.int64(1)))
sequence_row("parts that are sequences", r"would be made of parts that are sequence of float|output 0 is|rank",
             """g (seq(float[N]) s, int64 n) => (float[N] y) {
                y = Loop (n, ) <body = b (int64 i, bool go) => (bool go, seq(float[N]) c) { c = Identity(s) }> }""",
             sequence(np.float32([1])), tensor(np.int64(2)))

PLAIN = "g (seq(float[N]) s) => (int64 n) { n = SequenceLength(s) }"
sequence_row("a tensor in the file", r"input_0\.pb: not a valid ONNX file: field", PLAIN, tensor(X))
sequence_row("another type in the file", r"input_0\.pb: tensor 1: is int64, want float", PLAIN,
             onnx.SequenceProto(elem_type=1, tensor_values=[tensor(X), tensor(np.int64(1))]))
sequence_row("sequences in the file", r"input_0\.pb: holds a sequence of what is no tensor, want sequence of float", PLAIN,
             onnx.SequenceProto(elem_type=3, sequence_values=[sequence(X)]))
sequence_row("a tensor of the file that is broken", r"input_0\.pb: tensor 0: raw_data has 3 bytes, .* need 8", PLAIN,
             onnx.SequenceProto(elem_type=1, tensor_values=[TensorProto(data_type=1, dims=[2], raw_data=b"abc")]))
sequence_row("a file that is cut", r"input_0\.pb: not a valid ONNX file.*claims \d+ bytes", PLAIN, sequence(X).SerializeToString()[:-3])
sequence_row("an optional of something else", r"input_0\.pb: holds an optional of something else, want optional float",
             "g (optional(float[N]) o) => (bool y) { y = OptionalHasElement(o) }",
             onnx.OptionalProto(elem_type=3, sequence_value=sequence(X)))
sequence_row("more tensors than there may be", r"the sample's sequences hold 70000 tensors, want at most 65536", PLAIN,
             onnx.SequenceProto(elem_type=1, tensor_values=[TensorProto(data_type=1, dims=[0])] * 70000))


def grown(m):
    """Each sequence twice as long as the one before."""
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["s0"])]
    for i in range(40):
        body = helper.make_graph([helper.make_node("Identity", ["a"], ["c"])], "b",
                                 [helper.make_tensor_value_info("a", FLOAT, None)], [helper.make_tensor_value_info("c", FLOAT, None)])
        nodes.append(helper.make_node("SequenceMap", [f"s{i}"], [f"m{i}"], body=body))
        nodes.append(helper.make_node("ConcatFromSequence", [f"m{i}"], [f"j{i}"], axis=0, new_axis=0))
        nodes.append(helper.make_node("Concat", [f"j{i}", f"j{i}"], [f"k{i}"], axis=0))
        nodes.append(helper.make_node("SplitToSequence", [f"k{i}"], [f"s{i + 1}"], axis=0))
    nodes.append(helper.make_node("SequenceLength", ["s40"], ["n"]))
    del m.graph.node[:]
    m.graph.node.extend(nodes)


sequence_row("lists that double", r"the model's sequences hold more than 2097152 tensors",
             "g (float[N] x) => (int64 n) { n = Size(x) }", tensor(np.float32([1])), edit=grown)
sequence_row("a list that grows for ever", r"takes .* of memory, most of it for what \d+ turns have made here; --max-memory allows",
             """g (float[N] x) => (int64 n) {
                e = SequenceEmpty <dtype = 1> ()
                most = Constant <value_int = 1000000000> ()
                s = Loop (most, , e) <body = b (int64 i, bool go, seq(float[N]) a) => (bool go, seq(float[N]) c) { c = SequenceInsert(a, x) }>
                n = SequenceLength(s) }""", tensor(np.zeros(1 << 18, np.float32)), options=["--max-memory", "32M"])


@row("sequences: samples that are arrays", r"s\.npy: sequence of float is read from \.pb files only")
def arrays(folder):
    make = written(PLAIN, [])(folder)
    np.save(folder / "s.npy", X)
    return ["run", make[1], "--data", folder / "s.npy"]

