"""LSTM, GRU and RNN against ONNX Runtime: what attributes and operands say, alone and together."""

import numpy as np
import onnx
import pytest
from many_forms import Model, agrees, build, compiles, form, run, runtime, same
from onnx.reference import ReferenceEvaluator
from ort import has_vnni

OPS = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
ALL = ["Affine", "Relu", "LeakyRelu", "ThresholdedRelu", "Tanh", "ScaledTanh", "Sigmoid", "HardSigmoid", "Elu",
       "Softsign", "Softplus"]
ERROR = 1e-5


class Operands:
    """Random operands of an operator."""

    def __init__(self, op, steps=7, batch=3, size=5, hidden=6, directions=1, seed=1):
        self.random, self.op = np.random.default_rng(seed), op
        self.steps, self.batch, self.size, self.hidden, self.directions = steps, batch, size, hidden, directions
        rows = OPS[op] * hidden
        self.x = self.floats(steps, batch, size, most=1)
        most = min(0.7, 1.2 / hidden**0.5)  # larger ones make chaos, where any two sums are far apart in the end
        self.w, self.r = self.floats(directions, rows, size), self.floats(directions, rows, hidden, most=most)
        self.b, self.p = self.floats(directions, 2 * rows), self.floats(directions, 3 * hidden)
        self.h, self.c = (self.floats(directions, batch, hidden) for _ in "hc")
        self.lens = self.random.integers(0, steps + 1, batch).astype(np.int32)

    def floats(self, *shape, most=0.7):
        return self.random.uniform(-most, most, shape).astype(np.float32)

    def form(self, *given, **attributes):
        """The operator with those of b, lens, h, c, p that are given."""
        more = [getattr(self, k) if k in given else None for k in ("b", "lens", "h", "c", "p")]
        more = more if self.op == "LSTM" else more[:3]
        if self.directions == 2:
            attributes.setdefault("direction", "bidirectional")
        outputs = attributes.pop("outputs", 3 if self.op == "LSTM" else 2)
        return form(self.op, "x", self.w, self.r, *more, outputs=outputs, hidden_size=self.hidden, **attributes)


@pytest.mark.parametrize("op", OPS)
def test_operands(tmp_path, qonnx, op):
    """Every operand left out or there, in every direction."""
    for directions in (1, 2):
        o = Operands(op, directions=directions)
        sets = [(), ("b",), ("lens",), ("b", "h"), ("b", "lens", "h", "c", "p"), ("c",), ("p",)]
        forms = [o.form(*s) for s in sets[:None if op == "LSTM" else 5]]
        if directions == 1:
            forms += [o.form(*s, direction="reverse") for s in ((), ("b", "lens", "h", "c", "p"))]
        got = agrees(m := build(forms, {"x": o.x}), tmp_path, ERROR)
        compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("op", OPS)
def test_functions(tmp_path, op):
    """Each function, with numbers of its own and without; names in any case."""
    o = Operands(op)
    each = FUNCTIONS[op]
    forms = []
    for k, name in enumerate(ALL):
        names = [ALL[(k + i) % len(ALL)] for i in range(each)]
        forms.append(o.form("b", activations=names))
        forms.append(o.form("b", activations=names, activation_alpha=[0.3, 0.6, 0.2], activation_beta=[0.4, 0.1, 0.5]))
        forms.append(o.form("b", activations=[name if op == "RNN" else name.upper()] * each, activation_alpha=[0.7]))
    two = Operands(op, directions=2)
    x = {"x": o.x}
    agrees(build(forms, x), tmp_path, ERROR)
    names = [ALL[i % len(ALL)] for i in range(5, 5 + 2 * each)]
    forms = [two.form("b", activations=names, activation_alpha=[0.1, 0.2, 0.3], activation_beta=[0.5, 0.6])]
    agrees(build(forms, x), tmp_path, ERROR)


@pytest.mark.parametrize("op", OPS)
def test_attributes(tmp_path, op):
    o = Operands(op)
    forms = [o.form("b", "p", clip=0.2), o.form(clip=0.3)]
    if op == "LSTM":
        forms += [o.form(*s, input_forget=1) for s in ((), ("b", "c", "p"))]
    if op == "GRU":
        forms += [o.form(*s, linear_before_reset=1) for s in ((), ("b", "h"), ("b", "lens"))]
        forms += [o.form("b", linear_before_reset=1, clip=0.2)]
    for opset in (7, 13, 14, 22):
        agrees(build(forms, {"x": o.x}, opset=opset), tmp_path, ERROR)


@pytest.mark.parametrize("op", OPS)
def test_outputs(tmp_path, op):
    """Any that is left out, the first one too."""
    o = Operands(op)
    n = 3 if op == "LSTM" else 2
    forms = [o.form("b", "lens", outputs=[i == k for i in range(k + 1)]) for k in range(n)]
    agrees(build(forms, {"x": o.x}), tmp_path, ERROR)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("batch, size, hidden", [(1, 40, 128), (5, 3, 33), (2, 1, 1), (19, 16, 64)])
def test_long(tmp_path, qonnx, op, batch, size, hidden):
    """A hundred steps, of any widths."""
    o = Operands(op, 100, batch, size, hidden, 2)
    forms = [o.form("b", "lens", "h", "c")] + [o.form("b", linear_before_reset=1)] * (op == "GRU")
    got = agrees(m := build(forms, {"x": o.x}), tmp_path, ERROR)
    if batch == 5:
        compiles(m, tmp_path, got, qonnx)


@pytest.mark.parametrize("op", OPS)
def test_rows_first(tmp_path, op):
    """layout 1, which ONNX Runtime does not have: the same with the axes in their other order."""
    for directions in (1, 2):
        o = Operands(op, directions=directions)
        given = ("b", "lens", "h", "c", "p")
        want = runtime(build([o.form(*given)], {"x": o.x}))
        want = [want[0].transpose(2, 0, 1, 3)] + [w.transpose(1, 0, 2) for w in want[1:]]
        o.x, o.h, o.c = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (o.x, o.h, o.c))
        m = build([o.form(*given, layout=1)], {"x": o.x})
        same(m, run(m, tmp_path), want, ERROR)


@pytest.mark.parametrize("op", OPS)
def test_nothing(tmp_path, op):
    """No steps, no rows, no inputs."""
    for sizes in ({"steps": 0}, {"batch": 0}):
        o = Operands(op, **sizes)
        m = build([o.form("b", "h", "c")], {"x": o.x})
        got = run(m, tmp_path)
        assert [g.size for g in got][0] == 0
        assert sizes != {"steps": 0} or not np.concatenate([g.ravel() for g in got[1:]]).any()


@pytest.mark.parametrize("op", OPS)
def test_computed(tmp_path, op):
    """All operands from outside, and lengths that are out of range."""
    o = Operands(op, directions=2)
    given = {"x": o.x, "w": o.w, "r": o.r, "b": o.b, "lens": o.lens, "h": o.h}
    if op == "LSTM":
        given |= {"c": o.c, "p": o.p}
    node = form(op, *given, outputs=3 if op == "LSTM" else 2, hidden_size=o.hidden, direction="bidirectional")
    agrees(m := build([node], given), tmp_path, ERROR)
    want = runtime(m)
    m.inputs["lens"] = np.where(np.arange(o.batch) % 2, 2**31 - 1, -(2**31)).astype(np.int32)
    got = run(m, tmp_path)
    m.inputs["lens"] = np.where(np.arange(o.batch) % 2, o.steps, 0).astype(np.int32)
    same(m, got, runtime(m), ERROR)
    assert not np.array_equal(want[0], got[0])


def test_open(qonnx, done, tmp_path):
    """Steps and rows of any number: what follows has them by their names."""
    o = Operands("LSTM")
    m = build([o.form("b"), ("Relu", ("y0_0",), [True], "", {})], {"x": o.x})
    for k, name in enumerate(("steps", "rows")):
        m.proto.graph.input[0].type.tensor_type.shape.dim[k].dim_param = name
    for sizes in ((7, 3), (2, 4)):
        o2 = Operands("LSTM", *sizes)
        fed = Model(m.proto, {"x": o2.x}, m.names)
        same(fed, run(fed, tmp_path), runtime(fed), ERROR)


# ---- DynamicQuantizeLSTM ----


def quantized(w, dtype, columns):
    """Weights [direction][input][gates] as bytes, their scales and zero points, per direction or per column; 7 bits of
    signed ones where ONNX Runtime's sums saturate."""
    axis = 1 if columns else (1, 2)
    low, high = np.minimum(w.min(axis=axis, keepdims=True), 0), np.maximum(w.max(axis=axis, keepdims=True), 0)
    info = np.iinfo(dtype)
    if dtype == np.uint8 and not columns:
        scale = (high - low) / 255
        zero = np.rint(-low / scale)
    else:
        scale = np.maximum(high, -low) / (127 if has_vnni() or dtype == np.uint8 else 63)
        zero = np.full_like(scale, 128 if dtype == np.uint8 else 0)  # ONNX Runtime wants all of them alike
    q = np.clip(np.rint(w / scale) + zero, info.min, info.max).astype(dtype)
    shape = (w.shape[0], w.shape[2]) if columns else (w.shape[0],)
    return q, scale.reshape(shape).astype(np.float32), zero.reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
@pytest.mark.parametrize("columns", [False, True], ids=["one", "columns"])
def test_dynamic(tmp_path, qonnx, dtype, columns):
    """Quantized inputs and states: one in a thousand, which is rounded to the other side, moves the rest a little."""
    forms, x = [], {}
    for directions, batch, hidden in ((1, 1, 33), (2, 3, 16), (1, 5, 6)):
        o = Operands("LSTM", 20, batch, 12, hidden, directions)
        name = f"x{batch}"
        x[name] = o.x
        w, ws, wz = quantized(o.w.transpose(0, 2, 1), dtype, columns)
        r, rs, rz = quantized(o.r.transpose(0, 2, 1), dtype, columns)
        kinds = {"direction": "bidirectional"} if directions == 2 else {"direction": "reverse"} if batch == 5 else {}
        for given in ((), ("b",), ("b", "lens"), ("b", "h", "c", "p")):
            more = [getattr(o, k) if k in given else None for k in ("b", "lens", "h", "c", "p")]
            forms.append(form("DynamicQuantizeLSTM", name, w, r, *more, ws, wz, rs, rz, outputs=3, hidden_size=hidden,
                              domain="com.microsoft", **kinds))
    m = build(forms, x)
    got = run(m, tmp_path, "--engine", "portable")
    want = runtime(m)
    same(m, got, want, 2e-3)
    near = [np.median(np.abs(g - w)) <= 1e-6 for g, w in zip(got, want)]
    assert np.mean(near) > 0.8
    compiles(m, tmp_path, got, qonnx)
    computed = form("DynamicQuantizeLSTM", "x5", "w", "r", None, None, None, None, None, ws, wz, rs, rz, outputs=3,
                    hidden_size=6, domain="com.microsoft")
    m = build([computed], {"x5": x["x5"], "w": w, "r": r})
    constant = computed[0], ("x5", w, r, *computed[1][3:]), *computed[2:]
    same(m, run(m, tmp_path), runtime(build([constant], {"x5": x["x5"]})), 2e-3)
