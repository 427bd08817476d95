"""Sequences and optionals: what is in them is known where a graph is specialized, so that what reads them runs on tensors.
Outputs are ONNX Runtime's, for samples that differ in the number of tensors and in their shapes; calibrated and quantized,
too, and as C.
"""
import re

import numpy as np
import onnx
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from onnx import numpy_helper
from ort import session
from test_control import model
from test_rest import ENGINES, command, compare, saved
from test_turns import float32, floats, int64
from verbs import quantized_session


def proto(value, optional):
    """What a value is in a file: arrays, lists of them, None."""
    if optional:
        return numpy_helper.from_optional(value)
    return numpy_helper.from_list(value) if isinstance(value, list) else numpy_helper.from_array(value)


def runtime(m, sample):
    return session(m).run(None, sample)


def check(run, folder, m, sample, *options, want=None):
    """The command gives what ONNX Runtime does, for one sample: input_K.pb and output_K.pb, as ONNX's own tests have it."""
    folder.mkdir(exist_ok=True)
    onnx.save(m, folder / "m.onnx")
    for kind, infos, values in (("input", m.graph.input, list(sample.values())),
                                ("output", m.graph.output, runtime(m, sample) if want is None else want)):
        for i, (info, value) in enumerate(zip(infos, values, strict=True)):
            optional = info.type.HasField("optional_type")
            (folder / f"{kind}_{i}.pb").write_bytes(proto(value, optional).SerializeToString())
    end = run("run", folder / "m.onnx", "--data", folder, "--check", "--rtol", "1e-5", "--atol", "1e-6", *options)
    assert end.rc == 0, end.stdout + end.stderr


# Text of the model, constants, samples.
MODELS = {
    "halves that change places": ("""g (float[N,4] x) => (float[N,4] y) {
        two = Constant <value_int = 2> ()
        s = SplitToSequence <axis = 1> (x, two)
        zero = Constant <value_int = 0> ()
        last = Constant <value_int = -1> ()
        a = SequenceAt(s, zero)
        b = SequenceAt(s, last)
        a1 = Tanh(a)
        t = SequenceConstruct(b, a1)
        y = ConcatFromSequence <axis = -1> (t) }""", {}, [dict(x=floats(n, 4)) for n in (1, 3)]),
    "rows, and a stack of them": ("""g (float[N,3] x) => (float[3,N] y, int64 n, float[N,1,3] z, seq(float[3]) s) {
        s = SplitToSequence <axis = 0, keepdims = 0> (x)
        y = ConcatFromSequence <axis = -1, new_axis = 1> (s)
        n = SequenceLength(s)
        k = SplitToSequence <axis = 0> (x)
        z = ConcatFromSequence <axis = 0, new_axis = 1> (k) }""", {}, [dict(x=floats(n, 3)) for n in (2, 5)]),
    "parts of given sizes": ("""g (float[7] x) => (seq(float[N]) s, seq(float[N]) t, seq(float[N]) u) {
        sizes = Constant <value_ints = [1, 4, 0, 2]> ()
        three = Constant <value_int = 3> ()
        s = SplitToSequence <axis = 0> (x, sizes)
        t = SplitToSequence <axis = -1> (x, three)
        last = SequenceErase(t)
        two = Constant <value_int = -2> ()
        u = SequenceInsert(last, x, two) }""", {}, [dict(x=floats(7))]),
    "a position that a sample feeds": ("""g (seq(float[N]) s, int64 i, float[N] x) => (seq(float[N]) t, float[N] y, int64 n) {
        t1 = SequenceInsert(s, x, i)
        y = SequenceAt(t1, i)
        t2 = SequenceInsert(t1, y)
        t = SequenceErase(t2, i)
        n = SequenceLength(t) }""", {},
        [dict(s=[floats(2), floats(3)], i=int64(1), x=floats(4)), dict(s=[floats(1)], i=int64(-1), x=floats(2)),
         dict(s=[], i=int64(0), x=floats(3))]),
    "a position that is computed": ("""g (seq(float[N]) s, float[N] x) => (float[M] y, seq(float[K]) t) {
        i = ArgMax <axis = 0, keepdims = 0> (x)
        e = SequenceAt(s, i)
        y = Exp(e)
        t = SequenceInsert(s, y, i) }""", {},
        [dict(s=[floats(2), floats(3), floats(1)], x=float32(x)) for x in ([1, 5, 2], [7, 1, 1], [0, 1, 8])]),
    "what is found, in a sequence": ("""g (float[3,4] x) => (seq(int64[2,N]) s, int64[2,M] y) {
        z = Relu(x)
        a = NonZero(z)
        n = Neg(x)
        zn = Relu(n)
        b = NonZero(zn)
        s = SequenceConstruct(a, b)
        y = ConcatFromSequence <axis = 1> (s) }""", {}, [dict(x=floats(3, 4)) for _ in range(2)]),
    "a list that grows": ("""g (float[N,3] x, int64 n) => (seq(float[N,3]) s, float[M,3] y, int64 k) {
        e = SequenceConstruct(x)
        s = Loop (n, , e) <body = b (int64 i, bool go, seq(float[A,3]) s0) => (bool go, seq(float[A,3]) s1) {
            zero = Constant <value_int = 0> ()
            a = SequenceAt(s0, zero)
            h = Mul(a, half)
            s1 = SequenceInsert(s0, h, zero) }>
        y = ConcatFromSequence <axis = 0> (s)
        k = SequenceLength(s) }""", {"half": np.float32(0.5)}, [dict(x=floats(2, 3), n=int64(n)) for n in (3, 0, 1, 5)]),
    "a list of each turn's part, as a script has it": ("""g (float[5,4] x, int64 n) => (float[M,4] y) {
        e = SequenceEmpty <dtype = 1> ()
        s = Loop (n, , e) <body = b (int64 i, bool go, seq(float[A,4]) s0) => (bool go, seq(float[A,4]) s1) {
            row = Gather <axis = 0> (x, i)
            row1 = Unsqueeze(row, axes)
            r = Relu(row1)
            s1 = SequenceInsert(s0, r) }>
        y = ConcatFromSequence <axis = 0> (s) }""", {"axes": int64([0])}, [dict(x=floats(5, 4), n=int64(n)) for n in (5, 2)]),
    "a list that turns read": ("""g (float[6] x, int64 n) => (float[2] y, float[N,2] z) {
        two = Constant <value_int = 2> ()
        s = SplitToSequence <axis = 0> (x, two)
        zero = Constant <value_ints = [0, 0]> ()
        start = Cast <to = 1> (zero)
        y, z = Loop (n, , start) <body = b (int64 i, bool go, float[2] a) => (bool go, float[2] c, float[2] part) {
            k = Mod(i, three)
            e = SequenceAt(s, k)
            one = Constant <value_int = 1> ()
            f = SequenceAt(s, one)
            c0 = Add(a, e)
            c = Mul(c0, f)
            part = Identity(e) }> }""", {"three": int64(3)}, [dict(x=floats(6), n=int64(n)) for n in (4, 1, 0)]),
    "one list or the other": ("""g (float[4] x) => (seq(float[N]) s, float[M] y) {
        m = ReduceMax <keepdims = 0> (x)
        one = Constant <value_float = 1.0> ()
        big = Greater(m, one)
        s = If(big) <then_branch = a () => (seq(float[N]) u) { u = SplitToSequence <axis = 0> (x, two) },
                     else_branch = b () => (seq(float[N]) v) { x1 = Neg(x)
                                                               v = SequenceConstruct(x1, x, x1) }>
        y = ConcatFromSequence <axis = 0> (s) }""", {"two": int64(2)}, [dict(x=float32([0, 3, 1, 2])), dict(x=float32([0, -1, 0.5, 0]))]),
    "a list within a branch": ("""g (float[4] x, bool c) => (float[4] y) {
        y = If(c) <then_branch = a () => (float[4] u) { s = SplitToSequence <axis = 0> (x, two)
                                                        p = SequenceAt(s, one)
                                                        q = SequenceAt(s, zero)
                                                        t = SequenceConstruct(p, q)
                                                        u = ConcatFromSequence <axis = 0> (t) },
                   else_branch = b () => (float[4] v) { v = Neg(x) }> }""",
        {"two": int64(2), "one": int64(1), "zero": int64(0)}, [dict(x=floats(4), c=np.array(c)) for c in (True, False)]),
    "the turns of an inner loop": ("""g (seq(float[N]) s, int64 n) => (seq(float[N]) t) {
        t = Loop (n, , s) <body = b (int64 i, bool go, seq(float[A]) s0) => (bool go, seq(float[A]) s1) {
            m = SequenceLength(s0)
            e = SequenceEmpty <dtype = 1> ()
            s1 = Loop (m, , e) <body = b1 (int64 j, bool go1, seq(float[B]) t0) => (bool go1, seq(float[B]) t1) {
                x = SequenceAt(s0, j)
                y = Concat <axis = 0> (x, x)
                t1 = SequenceInsert(t0, y) }> }> }""", {}, [dict(s=[floats(1), floats(2)], n=int64(n)) for n in (2, 0, 1)]),
    "types": ("""g (seq(int64[N]) s, seq(bool[M]) b, seq(double) d) => (int64[K] y, seq(bool[M]) c, double[L] z) {
        y = ConcatFromSequence <axis = 0> (s)
        one = Constant <value_int = 1> ()
        c0 = SequenceAt(b, one)
        c1 = Not(c0)
        c = SequenceInsert(b, c1)
        z = ConcatFromSequence <axis = 0, new_axis = 1> (d) }""", {},
        [dict(s=[int64([1, -2]), int64([3])], b=[np.array([True]), np.array([True, False])], d=[np.array(2.5), np.array(3.0)])]),
}


def made(name):
    text, constants, samples = MODELS[name]
    return model(text, constants=constants), samples


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ENGINES)
def test_as_the_runtime(run, tmp_path, name, engine):
    m, samples = made(name)
    for i, sample in enumerate(samples):
        check(run, tmp_path / str(i), m, sample, "--engine", engine)


def test_what_is_mapped(run, tmp_path):
    """SequenceMap runs its body for each tensor, and for nothing. ONNX Runtime has it as ONNX's own function."""
    m = model("""g (seq(float[N]) s, seq(float[N]) t, float x) => (seq(float[N]) u, seq(int64[1]) v) {
        u, v = SequenceMap(s, t, x) <body = b (float[N] s0, float[N] t0, float x0) => (float[N] u0, int64[1] v0) {
            a = Add(s0, t0)
            b0 = Mul(a, x0)
            u0 = Add(b0, x)
            v0 = Shape(u0) }> }""", opset=17)
    for count in (3, 1, 0):
        s, t, x = [floats(k + 1) for k in range(count)], [floats(k + 1) for k in range(count)], floats()
        u = [(a + b) * x + x for a, b in zip(s, t, strict=True)]
        check(run, tmp_path / str(count), m, dict(s=s, t=t, x=x), want=[u, [int64([k + 1]) for k in range(count)]])


@pytest.mark.parametrize("value", [None, "x", "s"])
def test_optionals(run, tmp_path, value):
    """ONNX Runtime runs no model whose input is an optional of a sequence that is left out: what is right is plain."""
    kind, get = ("optional(seq(float[N]))", "SequenceLength(e)") if value != "x" else ("optional(float[N])", "Size(e)")
    inner = "seq(float[N])" if value != "x" else "float[N]"
    m = model(f"""g ({kind} o) => (bool has, int64 n, {kind} p) {{
        has = OptionalHasElement(o)
        n = If(has) <then_branch = a () => (int64 k) {{ e = OptionalGetElement(o)
                                                      k = {get} }},
                     else_branch = b () => (int64 j) {{ j = Constant <value_int = -1> () }}>
        p = Identity(o) }}""", opset=18)
    assert inner in kind
    given = {None: None, "x": floats(5), "s": [floats(2), floats(3)]}[value]
    check(run, tmp_path, m, dict(o=given), want=[np.array(value is not None), int64({None: -1, "x": 5, "s": 2}[value]), given])


def test_samples_in_folders(done, tmp_path):
    """A sample a file; the outputs are tensors, so they can be written."""
    m = model("g (seq(float[N]) s, float[K] x) => (float[M] y) { t = SequenceInsert(s, x)\n y = ConcatFromSequence <axis = 0> (t) }")
    samples = [dict(s=[floats(k) for k in range(1, n)], x=floats(n)) for n in (1, 3, 2, 3)]
    for name in ("s", "x"):
        (tmp_path / name).mkdir()
        for i, sample in enumerate(samples):
            (tmp_path / name / f"{i}.pb").write_bytes(proto(sample[name], False).SerializeToString())
    onnx.save(m, tmp_path / "m.onnx")
    data = [x for name in ("s", "x") for x in ("--data", f"{name}={tmp_path / name}")]
    for jobs in ("1", "3"):
        got = command(done, tmp_path / "m.onnx", data, len(samples), "--jobs", jobs)
        compare(got, [[np.concatenate([*sample["s"], sample["x"]])] for sample in samples])


def layers():
    """Two halves of a map, each through a convolution, and a third one that a loop makes of them."""
    m = model("""g (float[1,4,8,8] x) => (float[1,N,8,8] y) {
        c0 = Conv <pads = [1,1,1,1]> (x, w)
        c = Relu(c0)
        two = Constant <value_int = 2> ()
        s = SplitToSequence <axis = 1> (c, two)
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        a = SequenceAt(s, zero)
        b = SequenceAt(s, one)
        a1 = Conv <pads = [1,1,1,1]> (a, w1)
        b1 = Conv <pads = [1,1,1,1]> (b, w1)
        e = SequenceEmpty <dtype = 1> ()
        t0 = SequenceInsert(e, a1)
        t1 = SequenceInsert(t0, b1, zero)
        j = ConcatFromSequence <axis = 1> (t1)
        y = Relu(j) }""", constants={"w": floats(4, 4, 3, 3) / 3, "w1": floats(3, 2, 3, 3) / 3})
    return m, [dict(x=floats(1, 4, 8, 8)) for _ in range(4)]


def test_quantized(done, tmp_path):
    """What is known to be in a sequence is quantized as if there were none."""
    m, samples = layers()
    path, data = saved(tmp_path, m, samples)
    done("quantize", "-q", path, *data, "-o", tmp_path / "q.onnx")
    q = onnx.load(tmp_path / "q.onnx")
    ops = [n.op_type for n in q.graph.node]
    assert not any("Sequence" in op for op in ops) and ops.count("QuantizeLinear") >= 4
    got = command(done, tmp_path / "q.onnx", data, len(samples))
    want = [quantized_session(q).run(None, s) for s in samples]
    scale = max(np.abs(b[0]).max() for b in want)
    assert max(np.abs(a[0] - b[0]).max() for a, b in zip(got, want, strict=True)) <= 0.02 * scale


def test_statistics_through_turns(done, tmp_path):
    """What turns have put into a sequence is observed where it is read; the bytes do not depend on threads."""
    m = model("""g (float[1,3,8,8] x, int64 n) => (float[1,N,8,8] y) {
        e = SequenceEmpty <dtype = 1> ()
        s = Loop (n, , e) <body = b (int64 i, bool go, seq(float[1,3,8,8]) s0) => (bool go, seq(float[1,3,8,8]) s1) {
            c0 = Conv <pads = [1,1,1,1]> (x, w)
            c = Relu(c0)
            s1 = SequenceInsert(s0, c) }>
        k = ConcatFromSequence <axis = 1> (s)
        m = ReduceMean <axes = [1], keepdims = 1> (k)
        y = Conv <pads = [1,1,1,1]> (m, w1) }""", constants={"w": floats(3, 3, 3, 3) / 3, "w1": floats(4, 1, 3, 3) / 3})
    samples = [dict(x=floats(1, 3, 8, 8), n=int64(k)) for k in (1, 3, 2, 3, 1)]
    path, data = saved(tmp_path, m, samples)
    files = []
    for jobs in ("1", "3"):
        done("quantize", "-q", path, *data, "-o", tmp_path / f"q{jobs}.onnx", "--jobs", jobs)
        files.append((tmp_path / f"q{jobs}.onnx").read_bytes())
    assert files[0] == files[1]
    q = onnx.load(tmp_path / "q1.onnx")
    assert sum(n.op_type == "QuantizeLinear" for n in q.graph.node) >= 1
    got = command(done, tmp_path / "q1.onnx", data, len(samples))
    want = [quantized_session(q).run(None, s) for s in samples]
    scale = max(np.abs(b[0]).max() for b in want)
    assert max(np.abs(a[0] - b[0]).max() for a, b in zip(got, want, strict=True)) <= 0.02 * scale


def test_as_c(qonnx, done, tmp_path):
    """What is known to be in a sequence is compiled as if there were none."""
    m, samples = layers()
    path, data = saved(tmp_path, m, samples)
    c = compile_model(qonnx, path, tmp_path / "c")
    c.build(["gcc"], ["-O1", *WARNINGS])
    want = command(done, path, data, len(samples), "--engine", "portable")
    assert same_bytes(c.run([[s["x"]] for s in samples]), want)


@pytest.mark.parametrize("name, why", [
    ("a list that turns read", "its turns are not all alike: the shape of 'e' in its body depends on data|the shape of its output"),
    ("rows, and a stack of them", "compiled code gives tensors of numbers, and output 's' of the model is sequence of float"),
    ("types", "compiled code takes tensors of numbers, and input 's' is sequence of int64")])
def test_compiled_code_refuses(run, tmp_path, name, why):
    m, samples = made(name)
    for info, value in zip(m.graph.input, samples[0].values(), strict=True):
        for k, size in enumerate(np.shape(value) if not isinstance(value, list) else []):
            info.type.tensor_type.shape.dim[k].dim_value = size
    onnx.save(m, tmp_path / "m.onnx")
    end = run("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")
    assert end.rc == 1 and re.search(why, end.stderr), end.stderr


def test_nothing_is_lost(done, tmp_path):
    """Types of sequences and optionals are written back as they were read."""
    m = model("""g (seq(float[N]) s, optional(seq(int64[2])) o) => (seq(float[N]) t, optional(seq(int64[2])) p) {
        t = Identity(s)
        p = Identity(o) }""", opset=18)
    onnx.save(m, tmp_path / "m.onnx")
    for passes in ("", "raise-opset,fold-constants"):
        done("quantize", "-q", tmp_path / "m.onnx", "--pipeline", passes, "-o", tmp_path / "n.onnx")
        n = onnx.load(tmp_path / "n.onnx")
        assert (list(n.graph.input), list(n.graph.output)) == (list(m.graph.input), list(m.graph.output))
