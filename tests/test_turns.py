"""Loops and scans whose turns are not all alike: states that change their shape, bodies in which a shape depends on
data, as many parts as a condition allows. Their turns run one by one. Outputs are ONNX Runtime's, for samples that
differ in the sizes and in the number of turns; calibrated and quantized, too.
"""
import re
import subprocess

import numpy as np
import onnx
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from test_control import model
from test_rest import ENGINES, command, compare, runtime, saved

RANDOM = np.random.default_rng(13)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def float32(x):
    return np.asarray(x, np.float32)


def int64(x):
    return np.asarray(x, np.int64)


# Text of the model, constants, samples.
MODELS = {
    # The next of a list of tokens, until it is the last one.
    "tokens": ("""g (int64[T] start, int64 most) => (int64[U] tokens, float[V,7] scores) {
        tokens, scores = Loop (most, , start) <body = b (int64 i, bool go, int64[S] t) => (bool more, int64[R] t1, float[7] score) {
            e = Gather(table, t)
            h = ReduceMean <axes = [0], keepdims = 0> (e)
            score = MatMul(h, w)
            k = ArgMax <axis = 0> (score)
            t1 = Concat <axis = 0> (t, k)
            k0 = Squeeze(k)
            six = Constant <value_int = 6> ()
            last = Equal(k0, six)
            more = Not(last) }> }""",
               {"table": floats(7, 5), "w": floats(5, 7)},
               [dict(start=int64(s), most=int64(n)) for s, n in
                (([0], 4), ([1, 2, 3], 6), ([5, 5], 1), ([4], 0), ([2, 0, 3, 1], 9), ([3], 30))]),
    # A cache that has one row more after each turn, beside a state that keeps its shape.
    "cache": ("""g (float[1,1,4] q0, float[1,N,4] k0) => (float[1,1,4] q, float[1,M,4] k, float[5,1,1,4] all) {
        n = Constant <value_int = 5> ()
        q, k, all = Loop (n, , q0, k0) <body = b (int64 i, bool go, float[1,1,4] q1, float[1,R,4] k1) =>
                                                 (bool go, float[1,1,4] q2, float[1,S,4] k2, float[1,1,4] part) {
            k2 = Concat <axis = 1> (k1, q1)
            kt = Transpose <perm = [0, 2, 1]> (k2)
            s = MatMul(q1, kt)
            p = Softmax <axis = 2> (s)
            q2 = MatMul(p, k2)
            part = Tanh(q2) }> }""", {}, [dict(q0=floats(1, 1, 4), k0=floats(1, n, 4)) for n in (1, 3, 2, 1)]),
    "state that loses its last row": ("""g (float[1,N,3] x, int64 n) => (float[1,M,3] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[1,K,3] s) => (bool go, float[1,L,3] t) {
            from = Constant <value_ints = [0]> ()
            to = Constant <value_ints = [-1]> ()
            axis = Constant <value_ints = [1]> ()
            t0 = Slice(s, from, to, axis)
            t = Neg(t0) }> }""", {}, [dict(x=floats(1, 6, 3), n=int64(k)) for k in (2, 0, 5, 6, -1)]),
    "states of two shapes that change places": ("""g (float[N] x, float[M] z, int64 n) => (float[K] y, float[L] u) {
        y, u = Loop (n, , x, z) <body = b (int64 i, bool go, float[P] s, float[Q] t) => (bool go, float[Q] t, float[P] s) { }> }""",
                                                {}, [dict(x=floats(2), z=floats(3), n=int64(k)) for k in (0, 1, 4, 7)]),
    "data in the body": ("""g (float[3,4] x) => (float[3,4] y, int64[4] p) {
        n = Constant <value_int = 4> ()
        y, p = Loop (n, , x) <body = b (int64 i, bool go, float[3,4] s) => (bool go, float[3,4] t, int64 count) {
            z = Relu(s)
            places = NonZero(z)
            shape = Shape(places)
            one = Constant <value_int = 1> ()
            count = Gather(shape, one)
            c = Cast <to = 1> (count)
            a = Mul(x, h)
            b1 = Mul(a, c)
            t = Sub(s, b1) }> }""", {"h": np.float32(0.125)}, [dict(x=floats(3, 4)) for _ in range(3)]),
    "shapes of the turn": ("""g (float[6] x) => (float y, float[4] p) {
        n = Constant <value_int = 4> ()
        zero = Constant <value_float = 0.0> ()
        y, p = Loop (n, , zero) <body = b (int64 i, bool go, float s) => (bool go, float t, float part) {
            one = Constant <value_int = 1> ()
            none = Constant <value_int = 0> ()
            i1 = Add(i, one)
            r = Range(none, i1, one)
            a = Gather(x, r)
            part = ReduceSum <keepdims = 0> (a)
            t = Add(s, part) }> }""", {}, [dict(x=floats(6)) for _ in range(2)]),
    "slice of the turn": ("""g (float[6,2] x, float z, int64 n) => (float y, float[P,2] p) {
        y, p = Loop (n, , z) <body = b (int64 i, bool go, float s) => (bool go, float t, float[2] part) {
            t = Neg(s)
            zero = Constant <value_ints = [0]> ()
            one = Constant <value_int = 1> ()
            from = Unsqueeze(i, zero)
            i1 = Add(i, one)
            to = Unsqueeze(i1, zero)
            a = Slice(x, from, to, zero)
            part = Squeeze(a, zero) }> }""", {}, [dict(x=floats(6, 2), z=float32(k), n=int64(k)) for k in (6, 2, 1)]),
    "shape that is a state": ("""g (float[12] x, int64[2] shape, int64 n) => (float[A,B] y, int64[2] last) {
        y0 = Reshape(x, shape)
        y, last = Loop (n, , y0, shape) <body = b (int64 i, bool go, float[C,D] s, int64[2] d) => (bool go, float[E,F] t, int64[2] e) {
            e = Div(d, f)
            e1 = Mul(e, g1)
            k = ReduceMax <keepdims = 0> (e1)
            a = Reshape(s, d)
            b1 = Transpose <perm = [1, 0]> (a)
            shape1 = Shape(b1)
            more = Constant <value_floats = [1.5]> ()
            c = Mul(b1, more)
            t = Reshape(c, shape1) }> }""", {"f": int64([1, 1]), "g1": int64([1, 1])},
                              [dict(x=floats(12), shape=int64(s), n=int64(k)) for s, k in (([3, 4], 3), ([2, 6], 2), ([12, 1], 0))]),
    "branches of unequal shapes": ("""g (float[N] x, int64 n) => (float[M] y) {
        k = Exp(x)
        y = Loop (n, , x) <body = b (int64 i, bool go, float[P] s) => (bool go, float[Q] t) {
            two = Constant <value_int = 2> ()
            m = Mod(i, two)
            odd = Cast <to = 9> (m)
            t = If (odd) <then_branch = tb () => (float[R] a) { a = Concat <axis = 0> (s, k) },
                          else_branch = eb () => (float[S] a) { a = Sqrt(s) }> }> }""", {},
                                   [dict(x=np.abs(floats(k)), n=int64(n)) for k, n in ((2, 0), (3, 1), (1, 4), (2, 5))]),
    "a branch for each of two lengths": ("""g (float[N] x, int64 rate) => (float[2] y) {
        wide = Constant <value_int = 16000> ()
        whole = Equal(rate, wide)
        y = If (whole) <then_branch = tb () => (float[2] a) { a = MatMul(x, w) },
                        else_branch = eb () => (float[2] b) { h = Neg(x)
                                                              b = MatMul(h, v) }> }""", {"w": floats(8, 2), "v": floats(4, 2)},
                                         [dict(x=floats(k), rate=int64(2000 * k)) for k in (8, 4, 4, 8)]),
    "branch that needs a part of its own": ("""g (float[3,3] x, float least) => (float[3,3] y) {
        n = Constant <value_int = 3> ()
        y = Loop (n, , x) <body = b (int64 i, bool go, float[3,3] s) => (bool go, float[3,3] t) {
            m = ReduceMax <keepdims = 0> (s)
            large = Greater(m, least)
            t = If (large) <then_branch = tb () => (float[3,3] a) {
                    places = NonZero(s)
                    shape = Shape(places)
                    c = Cast <to = 1> (shape)
                    d = ReduceMax <keepdims = 0> (c)
                    a = Div(s, d) },
                else_branch = eb () => (float[3,3] a) { a = Add(s, least) }> }> }""", {},
                                            [dict(x=floats(3, 3), least=float32(k)) for k in (0.01, 0.2, 1, 9)]),
    "loop in if in loop": ("""g (float[N] x, int64 n, bool c) => (float[M] y, float[P] sums) {
        r = Tanh(x)
        y, sums = Loop (n, , x) <body = b (int64 i, bool go, float[A] s) => (bool go, float[B] t, float sum) {
            two = Constant <value_int = 2> ()
            m = Mod(i, two)
            odd = Cast <to = 9> (m)
            z = Xor(odd, c)
            t = If (z) <then_branch = tb () => (float[C] a) {
                    a = Loop (i, , s) <body = bb (int64 j, bool go1, float[D] u) => (bool go1, float[E] v) {
                        v0 = Concat <axis = 0> (u, r)
                        f = Cast <to = 1> (j)
                        v = Add(v0, f) }> },
                else_branch = eb () => (float[F] a) { a = Neg(s) }>
            sum = ReduceSum <keepdims = 0> (t) }> }""", {},
                           [dict(x=floats(k), n=int64(n), c=np.array(c)) for k, n, c in
                            ((2, 4, True), (1, 0, True), (3, 3, False), (2, 1, False))]),
    "loop in loop, both growing": ("""g (float[N] x) => (float[M] y) {
        n = Constant <value_int = 3> ()
        y = Loop (n, , x) <body = b (int64 i, bool go, float[A] s) => (bool go, float[B] t) {
            t0 = Loop (n, , s) <body = bb (int64 j, bool go1, float[C] u) => (bool go1, float[D] v) {
                k = ReduceMean <keepdims = 1> (u)
                v = Concat <axis = 0> (u, k, x) }>
            t = Relu(t0) }> }""", {}, [dict(x=floats(k)) for k in (1, 2)]),
    "while, with parts": ("""g (float x, bool go0) => (float y, float[N] all, float[M,2] pairs) {
        y, all, pairs = Loop (, go0, x) <body = b (int64 i, bool go, float s) => (bool more, float t, float t1, float[2] pair) {
            two = Constant <value_float = 2.0> ()
            t = Mul(s, two)
            t1 = Neg(t)
            pair = Expand(t, shape)
            limit = Constant <value_float = 100.0> ()
            more = Less(t, limit) }> }""", {"shape": int64([2])},
                          [dict(x=float32(a), go0=np.array(b)) for a, b in ((1.5, True), (70, True), (0.01, True), (1, False))]),
    "scan with data": ("""g (float[2] h, float[1,N,5] x) => (float[2] y, int64[M] counts) {
        y, counts = Scan <num_scan_inputs = 1, scan_input_axes = [1], body = b (float[2] s, float[1,5] a) => (float[2] t, int64 count) {
            z = Relu(a)
            places = NonZero(z)
            p2 = Transpose <perm = [1, 0]> (places)
            picked = GatherND(a, p2)
            sum = ReduceSum <keepdims = 0> (picked)
            t = Add(s, sum)
            count = Size(picked) }> (h, x) }""", {}, [dict(h=floats(2), x=floats(1, n, 5)) for n in (4, 1, 6)]),
    "scan with data along axes, backwards": ("""g (float[2,N,3] x, float[2,3,N] z) => (float[2,3,K] p, float[2,L,3] q) {
        p, q = Scan <num_scan_inputs = 2, scan_input_axes = [1, -1], scan_input_directions = [0, 1],
                     scan_output_axes = [2, 1], scan_output_directions = [1, 0],
                     body = b (float[2,3] a, float[2,3] c) => (float[2,3] u, float[2,3] v) {
            r = Relu(a)
            places = NonZero(r)
            count = Size(places)
            f = Cast <to = 1> (count)
            u = Mul(c, f)
            v = Sub(a, c) }> (x, z) }""", {}, [dict(x=floats(2, n, 3), z=floats(2, 3, n)) for n in (4, 1)]),
    # What a loop gives goes into another one, and beside them stands a third.
    "one behind the other": ("""g (float[N] x, int64 n) => (float[M] y, float[K] u, float[L] r) {
        e = Exp(x)
        y0 = Loop (n, , x) <body = b (int64 i, bool go, float[A] s) => (bool go, float[B] t) { t = Concat <axis = 0> (s, e) }>
        u = Loop (n, , e) <body = b1 (int64 i, bool go, float[A] s) => (bool go, float[B] t) { t = Concat <axis = 0> (x, s) }>
        y1 = Relu(y0)
        y = Loop (n, , y1) <body = b2 (int64 i, bool go, float[A] s) => (bool go, float[B] t) { t = Concat <axis = 0> (s, u) }>
        r = Mul(u, u) }""", {}, [dict(x=floats(k), n=int64(n)) for k, n in ((2, 2), (1, 3), (3, 0))]),
    # Bool and integers; what a turn gives and nobody reads.
    "types": ("""g (int64[N] x, bool[M] m, double[2] d) => (int64[K] y, bool[L] k) {
        n = Constant <value_int = 3> ()
        y, k, p = Loop (n, , x, m) <body = b (int64 i, bool go, int64[A] s, bool[B] f) => (bool go, int64[C] t, bool[D] g1, double[2] u) {
            zero = Constant <value_ints = [0]> ()
            i1 = Unsqueeze(i, zero)
            t = Concat <axis = 0> (s, i1)
            f1 = Not(f)
            g1 = Concat <axis = 0> (f, f1)
            e = Cast <to = 11> (i)
            u = Add(e, d) }> }""", {}, [dict(x=int64([3, -4]), m=np.array([True, False, True]), d=np.array([0.5, -1.25])),
                                      dict(x=int64([1]), m=np.array([False]), d=np.array([2.5, 3]))]),
}


def made(name):
    text, constants, samples = MODELS[name]
    return model(text, constants=constants), samples


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ENGINES)
def test_as_the_runtime(done, tmp_path, name, engine):
    m, samples = made(name)
    path, data = saved(tmp_path, m, samples)
    want = runtime(m, samples)
    for jobs in ("1", "3"):
        compare(command(done, path, data, len(samples), "--engine", engine, "--jobs", jobs), want)


def test_same_bytes_in_any_order(done, tmp_path):
    """What is kept from one sample to the next does not decide anything."""
    m, samples = made("tokens")
    outputs = []
    for folder, order in (("a", samples), ("b", samples[::-1])):
        path, data = saved(tmp_path / folder, m, order)
        outputs.append(command(done, path, data, len(order), "--engine", "portable", "--jobs", "2"))
    for a, b in zip(outputs[0], outputs[1][::-1], strict=True):
        assert all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name, why", [
    ("cache", "a turn may change the shape of its state 'k1'"),
    ("data in the body", "the shape of 'places' in its body depends on data"),
    ("loop in loop, both growing", "the shape of 't0' in its body depends on data"),
    ("while, with parts", "the size of its output 'all' depends on when its condition ends it")])
def test_compiled_code_refuses(run, tmp_path, name, why):
    m, samples = made(name)
    for i, (key, value) in enumerate(samples[0].items()):
        for k, size in enumerate(value.shape):
            m.graph.input[i].type.tensor_type.shape.dim[k].dim_value = size
    onnx.save(m, tmp_path / "m.onnx")
    end = run("compile", tmp_path / "m.onnx", "-o", tmp_path / "c")
    assert end.rc == 1
    assert re.search(rf"\(Loop\): compiled code cannot run it, for its turns are not all alike: {re.escape(why)}; make", end.stderr)


@pytest.mark.parametrize("length", [8, 4])
def test_a_branch_that_cannot_run_is_not_compiled(qonnx, run, done, tmp_path, length):
    """Whoever chooses it is told so by what the function returns."""
    m, samples = made("a branch for each of two lengths")
    sample = next(s for s in samples if len(s["x"]) == length)
    path, data = saved(tmp_path, m, [sample])
    shape = ["--shape", f"x={length}"]
    if length == 4:  # what it is tried on, without a sample, does not choose a branch
        compile_model(qonnx, path, tmp_path / "d", *shape)
    else:
        end = run("compile", path, "-o", tmp_path / "d", *shape)
        assert end.rc == 1 and "give a sample that chooses the other" in end.stderr
    made_c = compile_model(qonnx, path, tmp_path / "c", *shape, *data)
    made_c.build(["gcc"], ["-O1", *WARNINGS])
    want = command(done, path, data, 1, "--engine", "portable")
    assert same_bytes(made_c.run([[sample["x"], sample["rate"]]]), want)
    with pytest.raises(subprocess.CalledProcessError):
        made_c.run([[sample["x"], int64(24000 - int(sample["rate"]))]])


def test_turns_behind_a_quantized_layer(done, tmp_path):
    """What turns give is observed where it is read, once per sample; the layers around them run in integers."""
    m = model("""g (float[1,3,8,8] x, int64 n) => (float[1,N] y) {
        c0 = Conv <pads = [1,1,1,1]> (x, w)
        c = Relu(c0)
        k = Loop (n, , c) <body = b (int64 i, bool go, float[1,A,8,8] s) => (bool go, float[1,B,8,8] t) { t = Concat <axis = 1> (s, c) }>
        m = ReduceMean <axes = [1], keepdims = 1> (k)
        f0 = Conv (m, w1)
        f = Relu(f0)
        y = Flatten(f) }""", constants={"w": floats(4, 3, 3, 3) / 3, "w1": floats(4, 1, 3, 3) / 3})
    samples = [dict(x=floats(1, 3, 8, 8), n=int64(k)) for k in (1, 3, 0, 2, 3, 1)]
    path, data = saved(tmp_path, m, samples)
    files = []
    for jobs in ("1", "3"):
        out = tmp_path / f"q{jobs}.onnx"
        done("quantize", "-q", path, *data, "-o", out, "--jobs", jobs)
        files.append(out.read_bytes())
    assert files[0] == files[1]
    q = onnx.load(tmp_path / "q1.onnx")
    assert sum(n.op_type == "QuantizeLinear" for n in q.graph.node) >= 3
    got = command(done, tmp_path / "q1.onnx", data, len(samples))
    want = runtime(q, samples)
    scale = max(np.abs(b[0]).max() for b in want)
    assert max(np.abs(a[0] - b[0]).max() for a, b in zip(got, want, strict=True)) <= 0.02 * scale
