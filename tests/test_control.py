"""If, Loop and Scan: generated models against ONNX Runtime, with both engines and as C."""
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from onnx import numpy_helper

RANDOM = np.random.default_rng(11)


def model(text, opset=16, constants=None):
    """A model from ONNX's text form; `constants` are initializers of the main graph."""
    m = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
    for name, value in (constants or {}).items():
        m.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return m


def runtime(m, inputs):
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)


def feed(folder, inputs):
    folder.mkdir(exist_ok=True)
    for name, value in inputs.items():
        np.save(folder / f"{name}.npy", value)
    return [a for name in inputs for a in ("--data", f"{name}={folder / name}.npy")]


def command(done, folder, m, inputs, *options):
    data = feed(folder, inputs)
    onnx.save(m, folder / "m.onnx")
    done("run", "-q", folder / "m.onnx", *data, "-o", folder / "out", *options)
    outputs = sorted((folder / "out").glob("output_*"), key=lambda p: int(re.search(r"\d+", p.stem).group()))
    return [np.load(o) for o in outputs]


def close(got, want, tolerance=1e-5):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, i
        assert not b.size or np.abs(a.astype(np.float64) - b).max() <= tolerance * max(1, np.abs(b).max()), i


def values(**shapes):
    """Inputs: floats of a shape, or what is given."""
    return {k: RANDOM.normal(size=v).astype(np.float32) if isinstance(v, tuple) else np.asarray(v)
            for k, v in shapes.items()}


MODELS = {
    "if": ("""g (bool c, float[2,3] x, float[2,3] z) => (float[2,3] y, float[2,3] u) {
        y0, u = If (c) <then_branch = t () => (float[2,3] a, float[2,3] b) { a = Add(x, z)  b = Identity(z) },
                       else_branch = e () => (float[2,3] b, float[2,3] a) { b = Neg(x)  a = Mul(b, x) }>
        y = Relu(y0) }""", [dict(c=True), dict(c=False)], dict(x=(2, 3), z=(2, 3))),
    "if in if": ("""g (bool[1] c, bool d, float[4] x) => (float[4] y) {
        r = Exp(x)
        y = If (c) <then_branch = t () => (float[4] a) {
                n = Neg(r)
                a = If (d) <then_branch = tt () => (float[4] p) { p = Add(n, x) },
                            else_branch = te () => (float[4] q) { q = Mul(n, r) }> },
            else_branch = e () => (float[4] a) {
                a = If (d) <then_branch = et () => (float[4] p) { p = Sub(r, x) },
                            else_branch = ee () => (float[4] q) { q = Add(r, r) }> }> }""",
                 [dict(c=[a], d=b) for a in (True, False) for b in (True, False)], dict(x=(4,))),
    "if of convolutions": ("""g (bool c, float[1,3,8,8] x) => (float[1,6,8,8] y) {
        f0 = Conv <pads = [1,1,1,1]> (x, w)
        f = Relu(f0)
        k = If (c) <then_branch = t () => (float[1,6,8,8] a) { a0 = Conv <pads = [1,1,1,1]> (f, u)  a = Relu(a0) },
                    else_branch = e () => (float[1,6,8,8] a) { a0 = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (f)
                                                               a = Add(a0, f) }>
        y = Conv <pads = [1,1,1,1]> (k, u) }""", [dict(c=True), dict(c=False)], dict(x=(1, 3, 8, 8))),
    "loop": ("""g (float[3] x, float[3] z) => (float[3] y, float[5,3] p, float[5] q) {
        n = Constant <value_int = 5> ()
        y, p, q = Loop (n, , x) <body = b (int64 i, bool go, float[3] s) => (bool more, float[3] t, float[3] part, float r) {
            more = Identity(go)
            f = Cast <to = 1> (i)
            a = Mul(s, z)
            t = Add(a, f)
            part = Relu(t)
            r = ReduceSum <keepdims = 0> (t) }> }""", [{}], dict(x=(3,), z=(3,))),
    # The states change places.
    "loop that swaps": ("""g (float[3] x, float[3] z) => (float[3] y, float[3] u) {
        n = Constant <value_int = 3> ()
        y, u = Loop (n, , x, z) <body = b (int64 i, bool go, float[3] s, float[3] t) => (bool go, float[3] t, float[3] s) { }> }""",
                        [{}], dict(x=(3,), z=(3,))),
    "loop that ends early": ("""g (float[1] x) => (float[1] y, int64 k) {
        n = Constant <value_int = 1000000> ()
        zero = Constant <value_int = 0> ()
        y, k = Loop (n, , x, zero) <body = b (int64 i, bool go, float[1] s, int64 j) => (bool more, float[1] t, int64 k1) {
            two = Constant <value_floats = [2.0]> ()
            t = Mul(s, two)
            limit = Constant <value_float = 100.0> ()
            l = ReduceMax <keepdims = 0> (t)
            more = Less(l, limit)
            one = Constant <value_int = 1> ()
            k1 = Add(i, one) }> }""", [dict(x=np.float32([1])), dict(x=np.float32([1000]))], {}),
    "while": ("""g (float x, bool go0) => (float y) {
        y = Loop (, go0, x) <body = b (int64 i, bool go, float s) => (bool more, float t) {
            two = Constant <value_float = 2.0> ()
            t = Mul(s, two)
            limit = Constant <value_float = 100.0> ()
            more = Less(t, limit) }> }""", [dict(go0=True), dict(go0=False)], dict(x=np.float32(1.5))),
    "loop as often as a sample says": ("""g (int64 n, float[2] x) => (float[2] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[2] s) => (bool go, float[2] t) { t = Add(s, x) }> }""",
                                       [dict(n=np.int64(k)) for k in (0, 1, 7, -3)], dict(x=(2,))),
    "if in loop": ("""g (float[3] x) => (float[3] y, float[6,3] p) {
        n = Constant <value_int = 6> ()
        k = Exp(x)
        y, p = Loop (n, , x) <body = b (int64 i, bool go, float[3] s) => (bool go, float[3] t, float[3] part) {
            two = Constant <value_int = 2> ()
            m = Mod(i, two)
            odd = Cast <to = 9> (m)
            t = If (odd) <then_branch = tb () => (float[3] a) { a0 = Mul(s, x)  a = Add(a0, k) },
                          else_branch = eb () => (float[3] a) { a = Sub(s, k) }>
            part = Neg(t) }> }""", [{}], dict(x=(3,))),
    "loop in loop in if": ("""g (bool c, float[2,2] x) => (float[2,2] y) {
        n = Constant <value_int = 3> ()
        k = Tanh(x)
        y = If (c) <then_branch = tb () => (float[2,2] a) {
                a = Loop (n, , x) <body = b (int64 i, bool go, float[2,2] s) => (bool go, float[2,2] t) {
                    f = Cast <to = 1> (i)
                    t = Loop (n, , s) <body = bb (int64 j, bool go1, float[2,2] u) => (bool go1, float[2,2] v) {
                        h = Cast <to = 1> (j)
                        w0 = MatMul(u, m)
                        w1 = Add(w0, f)
                        w2 = Mul(w1, k)
                        v = Sub(w2, h) }> }> },
            else_branch = eb () => (float[2,2] a) { a = Identity(k) }> }""", [dict(c=True), dict(c=False)],
                           dict(x=(2, 2))),
    "scan": ("""g (float[3] h, float[4,3] x) => (float[3] y, float[4,3] p) {
        y, p = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] a) => (float[3] t, float[3] u) {
            t0 = Add(s, a)
            t = Tanh(t0)
            u = Mul(t, a) }> (h, x) }""", [{}], dict(h=(3,), x=(4, 3))),
    "scan along axes, backwards": ("""g (float[2,3] h, float[2,5,3] x, float[2,3,5] z) => (float[2,3] y, float[2,3,5] p, float[2,5,3] q) {
        y, p, q = Scan <num_scan_inputs = 2, scan_input_axes = [1, -1], scan_input_directions = [0, 1],
                        scan_output_axes = [2, 1], scan_output_directions = [1, 0],
                        body = b (float[2,3] s, float[2,3] a, float[2,3] c) => (float[2,3] t, float[2,3] u, float[2,3] v) {
            t0 = Add(s, a)
            t = Sub(t0, c)
            u = Mul(t, a)
            v = Neg(c) }> (h, x, z) }""", [{}], dict(h=(2, 3), x=(2, 5, 3), z=(2, 3, 5))),
    "scan without states": ("""g (float[6,2] x) => (float[6] p) {
        p = Scan <num_scan_inputs = 1, body = b (float[2] a) => (float u) { u = ReduceSum <keepdims = 0> (a) }> (x) }""",
                            [{}], dict(x=(6, 2))),
    # What nobody reads.
    "left out": ("""g (float[3] x) => (float[4,3] p) {
        n = Constant <value_int = 4> ()
        y, p, q = Loop (n, , x) <body = b (int64 i, bool go, float[3] s) => (bool go, float[3] t, float[3] t1, float[3] u) {
            t = Add(s, x)  t1 = Neg(t)  u = Exp(t) }> }""", [{}], dict(x=(3,))),
    "no turn": ("""g (float[3] x) => (float[3] y, float[0,3] p) {
        n = Constant <value_int = 0> ()
        y, p = Loop (n, , x) <body = b (int64 i, bool go, float[3] s) => (bool go, float[3] t, float[3] t1) {
            t = Add(s, x)  t1 = Neg(t) }> }""", [{}], dict(x=(3,))),
    "types": ("""g (int64[2] x, bool[3] m, double[2] d) => (int64[2] y, bool[3] k, double[4,2] p) {
        n = Constant <value_int = 4> ()
        y, k, p = Loop (n, , x, m) <body = b (int64 i, bool go, int64[2] s, bool[3] f) => (bool go, int64[2] t, bool[3] g1, double[2] u) {
            t = Add(s, i)  g1 = Not(f)  e = Cast <to = 11> (t)  u = Add(e, d) }> }""", [{}],
              dict(x=np.int64([3, -4]), m=np.array([True, False, True]), d=np.array([0.5, -1.25]))),
}
CONSTANTS = {"if of convolutions": {"w": RANDOM.normal(size=(6, 3, 3, 3)).astype(np.float32),
                                    "u": RANDOM.normal(size=(6, 6, 3, 3)).astype(np.float32)},
             "loop in loop in if": {"m": RANDOM.normal(size=(2, 2)).astype(np.float32)}}


def made(name):
    text, cases, inputs = MODELS[name]
    return model(text, constants=CONSTANTS.get(name)), cases, inputs


def in_order(m, inputs):
    return {i.name: np.asarray(inputs[i.name]) for i in m.graph.input}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_as_the_runtime(done, tmp_path, name, engine):
    m, cases, shapes = made(name)
    for i, case in enumerate(cases):
        inputs = in_order(m, values(**{**shapes, **case}))
        close(command(done, tmp_path / str(i), m, inputs, "--engine", engine), runtime(m, inputs))


def test_what_is_captured_is_given_out(done, tmp_path):
    """A branch that gives a value of the outer graph as it is, and one value twice: ONNX Runtime wants neither."""
    m = model("""g (bool c, float[2,3] x) => (float[2,3] y, float[2,3] u, float[2,3] v) {
        r = Relu(x)
        y, u, v = If (c) <then_branch = t () => (float[2,3] r, float[2,3] n, float[2,3] n) { n = Neg(r) },
                          else_branch = e () => (float[2,3] x, float[2,3] x, float[2,3] r) { }> }""")
    for c in (True, False):
        x = values(x=(2, 3))["x"]
        r = np.maximum(x, 0)
        close(command(done, tmp_path / str(c), m, {"c": np.array(c), "x": x}), [r, -r, -r] if c else [x, x, r], 0)


@pytest.mark.parametrize("options", [(), ("--weights", "bin")], ids=["source", "bin"])
@pytest.mark.parametrize("name", MODELS)
def test_as_c(qonnx, done, tmp_path, name, options):
    if options and name not in ("if of convolutions", "loop in loop in if"):
        pytest.skip("one or two are enough")
    m, cases, shapes = made(name)
    samples, want = [], []
    for i, case in enumerate(cases):
        inputs = in_order(m, values(**{**shapes, **case}))
        want.append(command(done, tmp_path / str(i), m, inputs, "--engine", "portable"))
        samples.append(list(inputs.values()))
    c = compile_model(qonnx, tmp_path / "0" / "m.onnx", tmp_path / "c", *options)
    c.build(["gcc"], ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover", *WARNINGS])
    assert same_bytes(c.run(samples), want)
