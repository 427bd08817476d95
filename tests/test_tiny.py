"""Elements of 8 bits and fewer: floats of 8, 6 and 4 bits, integers of 4 and 2. Conversions against ml_dtypes and ONNX's
functions, what moves elements against NumPy, what quantizes against ONNX Runtime; generated C against the command."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from onnx import TensorProto, helper, numpy_helper

FLOAT, FLOAT16, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
FLOAT8 = [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ]
FLOATS = [*FLOAT8, TensorProto.FLOAT4E2M1, TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2]
E8M0 = TensorProto.FLOAT8E8M0
INTEGERS = [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2]
BITS = {TensorProto.FLOAT4E2M1: 4, TensorProto.FLOAT6E2M3: 6, TensorProto.FLOAT6E3M2: 6, TensorProto.INT4: 4,
        TensorProto.UINT4: 4, TensorProto.INT2: 2, TensorProto.UINT2: 2}


def name(t):
    return TensorProto.DataType.Name(t).lower()


def each(types):
    return pytest.mark.parametrize("t", types, ids=name)


def numpy_type(t):
    return np.dtype(helper.tensor_dtype_to_np_dtype(t))


def all_of(t):
    """One element of each code."""
    return np.arange(1 << BITS.get(t, 8), dtype=np.uint8).view(numpy_type(t))


def floats(a):
    """The same values, as `qonnx run` writes them: integers in a byte, floats as float."""
    a = np.asarray(a)
    t = helper.np_dtype_to_tensor_dtype(a.dtype)
    if t in INTEGERS:
        return a.astype(np.int8 if t in (TensorProto.INT4, TensorProto.INT2) else np.uint8)
    return a.astype(np.float32) if t in FLOATS or t == E8M0 else a


def value(n, t, shape):
    return helper.make_tensor_value_info(n, t, shape)


def save(path, nodes, inputs, outputs, constants=(), opset=28, functions=()):
    """A model; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(nodes, "g", [value(*i) for i in inputs], [value(*o) for o in outputs],
                              [c if isinstance(c, TensorProto) else numpy_helper.from_array(c[1], c[0]) for c in constants])
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=14 if opset > 25 else 12), path)
    return path


def ran(done, path, arrays, folder, *options):
    """The outputs for one sample: {name: array}."""
    data = []
    for n, a in arrays.items():
        np.save(folder / f"{n}.npy", a)
        data += ["--data", f"{n}={folder / n}.npy" if len(arrays) > 1 else folder / f"{n}.npy"]
    out = folder / f"out_{path.stem}"
    done("run", path, *data, "-o", out, *options)
    return [np.load(f) for f in sorted(out.glob("output_*.npy"), key=lambda f: int(f.stem.split("_")[1]))]


def runtime(path, arrays, exact=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if exact:  # a product of weights in blocks is else one of activations of 8 bits
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, arrays)


def same(got, want):
    """The same values, zeros of the same sign, NaNs where there are some."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    alike = (got == want) & (np.signbit(got) == np.signbit(want))
    if got.dtype.kind == "f":
        alike |= np.isnan(got) & np.isnan(want)
    assert alike.all(), (got[~alike][:8], want[~alike][:8])


# ---- conversions --------------------------------------------------------------------------------


@each([*FLOATS, E8M0, *INTEGERS])
@pytest.mark.parametrize("to", [FLOAT, FLOAT16, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.BOOL], ids=name)
def test_cast_from(done, tmp_path, t, to):
    """Every code, and an odd number of them."""
    codes = all_of(t)[:-1] if t in INTEGERS else all_of(t)
    if to == TensorProto.INT32:
        codes = codes[np.isfinite(codes.astype(np.float32)) & (np.abs(codes.astype(np.float32)) < 2**31)]
    path = save(tmp_path / "m.onnx", [helper.make_node("Cast", ["x"], ["y"], to=to)], [("x", t, codes.shape)],
                [("y", to, codes.shape)])
    with np.errstate(over="ignore"):
        want = codes.astype(np.float32).astype(numpy_type(to))
    same(*ran(done, path, {"x": codes}, tmp_path), want)


def hard(t):
    """All values of float16, and the ties of the type with the floats around them."""
    finite = floats(all_of(t)).astype(np.float32)
    finite = np.unique(finite[np.isfinite(finite)])
    ties = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(s)) for s in (-np.inf, np.inf)]
    return np.concatenate([np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32), ties, *beside,
                           np.float32([464, 464.1, 61440, 61439.9, 248, 1e30, -1e30, 1e-40, -1e-40])])


@each(FLOATS)
@pytest.mark.parametrize("saturate", [1, 0])
def test_cast_to_float(done, tmp_path, t, saturate):
    x = hard(t)
    if t not in FLOAT8:
        x = x[~np.isnan(x)]  # what a type without NaN has in its place is said nowhere
    path = save(tmp_path / "m.onnx", [helper.make_node("Cast", ["x"], ["y"], to=t, saturate=saturate)],
                [("x", FLOAT, x.shape)], [("y", t, x.shape)])
    with np.errstate(all="ignore"):
        want = numpy_helper.saturate_cast(x, numpy_type(t)) if saturate and t in FLOAT8 else x.astype(numpy_type(t))
    same(*ran(done, path, {"x": x}, tmp_path), floats(want))


@pytest.mark.parametrize("saturate", [1, 0])
@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_cast_to_exponents(done, tmp_path, mode, saturate):
    """ONNX Runtime has the rules for what is out of range; ONNX's function has them wrong for subnormals."""
    x = np.concatenate([hard(E8M0), np.float32([0, -0.0, -1, np.inf, -np.inf, np.nan, 1.5, 2**-126, 1.2 * 2**-126,
                                                1.25 * 2**-127, 2**-127, 1.7 * 2**-128, 3e38, 2**127])])
    nodes = [helper.make_node("Cast", ["x"], ["e"], to=E8M0, saturate=saturate, round_mode=mode),
             helper.make_node("Cast", ["e"], ["y"], to=FLOAT)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, x.shape)], [("y", FLOAT, x.shape)], opset=25)
    same(*ran(done, path, {"x": x}, tmp_path), runtime(path, {"x": x})[0])


@each(INTEGERS)
@pytest.mark.parametrize("of", [FLOAT, FLOAT16, TensorProto.INT32, TensorProto.INT8, TensorProto.UINT64,
                                TensorProto.FLOAT8E5M2], ids=name)
def test_cast_to_integer(done, tmp_path, t, of):
    """Rounded, halves away from 0, and then the lower bits: as ONNX Runtime does it."""
    x = np.concatenate([np.arange(-40, 40) / 2, [3.7, -3.7, 14.5, 15.5, 300, -300, 1e5]]).astype(np.float32)
    if of == FLOAT:
        x = np.concatenate([x, np.float32([np.inf, -np.inf, np.nan, 1e10, -1e10])])
    x = np.abs(x) if of == TensorProto.UINT64 else x[np.abs(x) < 100] if of == TensorProto.INT8 else x
    x = x[np.abs(x) < 6e4] if of == FLOAT16 else x
    nodes = [helper.make_node("Cast", ["x"], ["o"], to=of), helper.make_node("Cast", ["o"], ["i"], to=t),
             helper.make_node("Cast", ["i"], ["y"], to=FLOAT)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, x.shape)], [("y", FLOAT, x.shape)], opset=25)
    same(*ran(done, path, {"x": x}, tmp_path), runtime(path, {"x": x})[0])


def test_cast_like(done, tmp_path):
    nodes = [helper.make_node("CastLike", ["x", "like"], ["y"], saturate=0)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [3])], [("y", TensorProto.FLOAT8E4M3FN, [3])],
                [helper.make_tensor("like", TensorProto.FLOAT8E4M3FN, [1], [1.0])])
    same(*ran(done, path, {"x": np.float32([1.1, 448, 480])}, tmp_path), np.float32([1.125, 448, np.nan]))


# ---- what moves elements ------------------------------------------------------------------------


def moves(x):
    """Nodes on an input x of shape [3,5,7] and a constant k of the same shape, and what they give."""
    def node(op, inputs, **attributes):
        return helper.make_node(op, inputs, [f"y{len(nodes)}"], **attributes)

    lists = {"shape": [5, 21], "from": [1], "to": [3], "axes": [1], "which": [2, 0, 2], "reps": [1, 2, 1], "one": [1],
             "pads": [0, 1, 0, 0, 0, 1], "big": [2, 3, 5, 7], "rows": [[0], [2]], "split": [1, 4]}
    nodes, want = [], []
    k = x[::-1]

    def add(result, op, *inputs, **attributes):
        nodes.append(node(op, inputs, **attributes))
        want.append(result)

    add(x, "Identity", "x")
    add(k, "Identity", "k")
    add(x.reshape(5, 21), "Reshape", "x", "shape")
    add(x.transpose(2, 0, 1), "Transpose", "x", perm=[2, 0, 1])
    add(x[:, 1:3], "Slice", "x", "from", "to", "axes")
    add(x[[2, 0, 2]], "Gather", "x", "which", axis=0)
    add(k[:, [2, 0, 2]], "Gather", "k", "which", axis=1)
    add(np.concatenate([x, k], 1), "Concat", "x", "k", axis=1)
    add(np.tile(x, (1, 2, 1)), "Tile", "x", "reps")
    add(np.broadcast_to(x, (2, 3, 5, 7)), "Expand", "x", "big")
    add(x[[0, 2]], "GatherND", "x", "rows")
    add(x[:, None], "Unsqueeze", "x", "one")
    add(x.reshape(3, 35), "Flatten", "x", axis=1)
    add(np.where(np.arange(7) % 2, x, k), "Where", "mask", "x", "k")
    constants = [(n, np.int64(v)) for n, v in lists.items()] + [("mask", np.arange(7) % 2 == 1)]
    return nodes, want, constants


def packed(a):
    """The elements as ONNX has them in raw_data."""
    return numpy_helper.from_array(a).raw_data


def constant(n, a, raw):
    t = helper.np_dtype_to_tensor_dtype(a.dtype)
    if raw:
        return TensorProto(name=n, data_type=t, dims=a.shape, raw_data=packed(a))
    six = BITS.get(t) == 6  # these have an entry for each element, the others one for each byte
    return TensorProto(name=n, data_type=t, dims=a.shape, int32_data=a.view(np.uint8).flatten() if six else packed(a))


@each([*FLOATS, E8M0, *INTEGERS])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "entries"])
def test_moves(done, tmp_path, t, raw):
    """An odd number of elements, fed and constant, packed both ways; the file is written back byte for byte."""
    codes = all_of(t)
    codes = codes[~np.isnan(floats(codes).astype(np.float32))]  # they are compared by value
    x = np.resize(np.random.default_rng(t).permutation(codes.view(np.uint8)), (3, 5, 7)).astype(np.uint8).view(codes.dtype)
    nodes, want, constants = moves(x)
    path = save(tmp_path / "m.onnx", nodes, [("x", t, x.shape)], [(f"y{i}", t, w.shape) for i, w in enumerate(want)],
                [*constants, constant("k", x[::-1], raw)])
    got = ran(done, path, {"x": x}, tmp_path)
    for y, w, n in zip(got, want, nodes, strict=True):
        assert np.array_equal(y, floats(w)), n.op_type
    (tmp_path / "x.pb").write_bytes(TensorProto(data_type=t, dims=x.shape, raw_data=packed(x)).SerializeToString())
    done("run", path, "--data", tmp_path / "x.pb", "-o", tmp_path / "again")
    assert all(np.array_equal(np.load(tmp_path / "again" / f"output_{i}.npy"), y) for i, y in enumerate(got))
    done("quantize", path, "--pipeline", "", "-o", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes()


@each([TensorProto.INT4, TensorProto.FLOAT6E2M3, TensorProto.FLOAT8E5M2])
def test_compiled_moves(qonnx, tmp_path, t):
    """Packed in and out, as the header says."""
    x = np.resize(all_of(t)[:13], (3, 5, 7))
    nodes, want, constants = moves(x)
    path = save(tmp_path / "m.onnx", nodes, [("x", t, x.shape)], [(f"y{i}", t, w.shape) for i, w in enumerate(want)],
                [*constants, constant("k", x[::-1], True)])
    c = compile_model(qonnx, path, tmp_path / "c")
    c.build(["cc"], ["-O1", *WARNINGS])
    bytes_of = lambda a: np.frombuffer(packed(np.ascontiguousarray(a)), np.uint8)  # noqa: E731
    assert same_bytes(c.run([[bytes_of(x)]]), [[bytes_of(w) for w in want]])
    assert "of int4, packed, the first element in the lowest bits" in c.header or t != TensorProto.INT4


BODY = "b (int64 i, bool go, {t}[3] s) => (bool go1, {t}[3] s1, {t}[3] part) {{ go1 = Identity(go) s1 = {s} part = Identity(s) }}"


@each([TensorProto.INT4, TensorProto.FLOAT4E2M1, TensorProto.INT2])
@pytest.mark.parametrize("turned", [False, True], ids=["alike", "turned"])
def test_loop(done, tmp_path, t, turned):
    """States and parts of an odd number of elements, in a body's program and turn by turn."""
    x = np.resize(all_of(t), 3)
    wide = value("w", t, ["n"]), value("w1", t, ["m"])
    body = [helper.make_node("Identity", ["go"], ["go1"]), helper.make_node("Gather", ["s", "back"], ["s1"], axis=0),
            helper.make_node("Identity", ["s"], ["part"]), helper.make_node("Concat", ["w", "s"], ["w1"], axis=0)]
    inputs = [value("i", INT64, []), value("go", TensorProto.BOOL, []), value("s", t, [3])]
    outputs = [value("go1", TensorProto.BOOL, []), value("s1", t, [3])]
    if turned:
        inputs, outputs = [*inputs, wide[0]], [*outputs, wide[1]]
    graph = helper.make_graph(body if turned else body[:-1], "b", inputs, [*outputs, value("part", t, [3])])
    loop = helper.make_node("Loop", ["n", "", "x", *["x"] * turned], ["y", *["w9"] * turned, "parts"], body=graph)
    outs = [("y", t, [3]), ("parts", t, [5, 3])] + [("w9", t, [None])] * turned
    path = save(tmp_path / "m.onnx", [loop], [("x", t, [3])], outs, [("n", np.int64(5)), ("back", np.int64([2, 0, 1]))])
    got = ran(done, path, {"x": x}, tmp_path)
    steps = [np.roll(x, i) for i in range(6)]
    want = [steps[5], np.stack(steps[:5])] + [np.concatenate([x, *steps[:5]])] * turned
    assert all(np.array_equal(g, floats(w)) for g, w in zip(got, want, strict=True))


@pytest.mark.parametrize("of, to", [("INT4", "UINT4"), ("UINT4", "INT4"), ("FLOAT4E2M1", "INT4"), ("INT4", "FLOAT4E2M1"),
                                    ("INT2", "UINT2"), ("FLOAT6E2M3", "FLOAT6E3M2"), ("UINT8", "FLOAT8E5M2"),
                                    ("FLOAT8E8M0", "INT8")])
def test_bitcast(done, tmp_path, of, to):
    of, to = TensorProto.DataType.Value(of), TensorProto.DataType.Value(to)
    x = all_of(of)[:-1]
    x = x[np.isfinite(floats(x.view(numpy_type(to))).astype(np.float32))]
    path = save(tmp_path / "m.onnx", [helper.make_node("BitCast", ["x"], ["y"], to=to)], [("x", of, x.shape)],
                [("y", to, x.shape)], opset=26)
    want = (x.view(np.uint8) & (1 << BITS.get(to, 8)) - 1).astype(np.uint8)
    if to in (TensorProto.INT4, TensorProto.INT2):
        want = ((want ^ 1 << BITS[to] - 1) - (1 << BITS[to] - 1)).astype(np.int8)
    assert np.array_equal(*ran(done, path, {"x": x}, tmp_path), floats(want.view(numpy_type(to))))


# ---- samples ------------------------------------------------------------------------------------


@each([*FLOATS, *INTEGERS, TensorProto.BFLOAT16])
def test_samples_of_other_types(done, run, tmp_path, t):
    """Integers and floats that the type has, or is rounded to; what it does not hold is refused."""
    path = save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], [("x", t, [3])], [("y", t, [3])])
    for a in (np.float32([0, 1, 1]), np.int64([1, 0, 1]), np.array([0, 1, 1], numpy_type(t))):
        assert np.array_equal(ran(done, path, {"x": a}, tmp_path)[0].astype(np.float32), a.astype(np.float32))
    for a in ([0, 1e9, 0] if t in INTEGERS else [0, 3.4e38, 0], [0, 0.5, 0] if t in INTEGERS else [0, -3.4e38, 0]):
        np.save(tmp_path / "x.npy", np.float32(a))
        result = run("run", path, "--data", tmp_path / "x.npy")
        assert result.rc == 1 and "element 1, of type float, has a value that is not one of type" in result.stderr


def test_bits_of_another_width(run, tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], [("x", FLOAT, [3])], [("y", FLOAT, [3])])
    np.save(tmp_path / "x.npy", np.array([0, 1, 1], ml_dtypes.float8_e4m3fn))
    result = run("run", path, "--data", tmp_path / "x.npy")
    assert result.rc == 1 and "has elements of 1 bytes that NumPy has no type for" in result.stderr


# ---- quantizing ---------------------------------------------------------------------------------

QUANTIZED = [TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, *INTEGERS, *FLOAT8]
RUN = [t for t in QUANTIZED]
FORMS = {  # shape, scales' shape, attributes
    "one": ((4, 6, 5), (), {}),
    "axis": ((4, 6, 5), (6,), {"axis": 1}),
    "last axis": ((4, 6, 5), (5,), {"axis": -1}),
    "blocks": ((4, 6, 5), (4, 3, 5), {"axis": 1, "block_size": 2}),
    "blocks with a rest": ((4, 7, 5), (4, 3, 5), {"axis": 1, "block_size": 3}),
    "blocks of the last axis": ((4, 6, 12), (4, 6, 3), {"axis": 2, "block_size": 4}),
    "blocks of the last axis with a rest": ((4, 6, 11), (4, 6, 3), {"axis": -1, "block_size": 4}),
    "blocks of the first axis": ((9, 5), (3, 5), {"axis": 0, "block_size": 3}),
    "one block": ((3, 5), (1, 5), {"axis": 0, "block_size": 16}),
}


def zero_points(t, shape, seed):
    if t in FLOAT8:
        return np.zeros(shape, numpy_type(t))
    least, most = {TensorProto.INT4: (-8, 8), TensorProto.UINT4: (0, 16), TensorProto.INT2: (-2, 2), TensorProto.UINT2: (0, 4),
                   TensorProto.INT8: (-128, 128), TensorProto.INT16: (-9, 9)}.get(t, (0, 200))
    return np.asarray(np.random.default_rng(seed).integers(least, most, shape)).astype(numpy_type(t))


def scales_of(shape, dtype=np.float32):
    return np.asarray(np.random.default_rng(len(shape)).uniform(0.05, 0.4, shape)).astype(dtype)


@each(QUANTIZED)
@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(done, tmp_path, t, form):
    """The integers and the floats are ONNX Runtime's."""
    shape, blocks, attributes = FORMS[form]
    s, z = scales_of(blocks), zero_points(t, blocks, 5)
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], **attributes),
             helper.make_node("Cast", ["q"], ["i"], to=FLOAT)]
    opset = 25 if t in (TensorProto.INT2, TensorProto.UINT2) else 21
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, shape)], [("i", FLOAT, shape), ("d", FLOAT, shape)],
                [("s", s), ("z", z)], opset)
    x = np.random.default_rng(7).normal(size=shape).astype(np.float32)
    x.flat[:5] = np.inf, -np.inf, 0.0, -0.0, np.nan
    for got, want in zip(ran(done, path, {"x": x}, tmp_path), runtime(path, {"x": x}), strict=True):
        same(got, want)


@pytest.mark.parametrize("opset, precision", [(21, None), (23, None), (23, FLOAT), (23, FLOAT16), (25, None)])
def test_precision(done, tmp_path, opset, precision):
    """From operator set 23 on a scale of float16 divides in float16, unless precision says otherwise."""
    attributes = {} if precision is None else {"precision": precision}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], **attributes)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT16, [20000])], [("y", TensorProto.INT8, [20000])],
                [("s", np.float16(0.0371)), ("z", np.int8(3))], opset)
    x = (np.random.default_rng(0).normal(size=20000) * 3).astype(np.float16)
    same(*ran(done, path, {"x": x}, tmp_path), runtime(path, {"x": x})[0])


def test_output_dtype(done, tmp_path):
    """Of an operator each that has no zero point; scales of a type of 8 bits, and of int32."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=TensorProto.INT4),
             helper.make_node("DequantizeLinear", ["q", "h"], ["f"], output_dtype=FLOAT),
             helper.make_node("QuantizeLinear", ["x", "e"], ["r"], output_dtype=TensorProto.FLOAT4E2M1, axis=0, block_size=2),
             helper.make_node("DequantizeLinear", ["r", "e"], ["g"], output_dtype=FLOAT, axis=0, block_size=2),
             helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT32),
             helper.make_node("QuantizeLinear", ["n", "two"], ["t"], output_dtype=TensorProto.INT8)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [5])],
                [("f", FLOAT, [5]), ("g", FLOAT, [5]), ("t", TensorProto.INT8, [5])],
                [("s", np.float32(0.5)), ("h", np.float16(0.1)), ("e", np.array([2, 0.5, 8], ml_dtypes.float8_e8m0fnu)),
                 ("two", np.int32(2))])
    f, g, t = ran(done, path, {"x": np.float32([1, -9, 1.3, 0.2, 33])}, tmp_path)
    same(f, np.float32([2, -8, 3, 0, 7]) * np.float32(np.float16(0.1)))
    same(g, np.float32([1, -8, 1.5, 0.25, 32]))
    same(t, np.int8([0, -4, 0, 0, 16]))


def weights(t, k, n, block, zeros):
    """A product with weights in blocks, as ONNX Runtime's quantizer writes it."""
    random = np.random.default_rng(k)
    q = zero_points(t, (k, n), 1)
    rows = -(-k // block)
    constants = [("w", q), ("s", random.uniform(0.01, 0.1, (rows, n)).astype(np.float32))]
    if zeros:
        constants.append(("z", zero_points(t, (rows, n), 2)))
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", *["z"] * zeros], ["d"], axis=0, block_size=block),
             helper.make_node("MatMul", ["x", "d"], ["y"])]
    return nodes, constants


@each([TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8, TensorProto.UINT2])
@pytest.mark.parametrize("k, block", [(64, 16), (70, 32), (48, 24)])
def test_weights_in_blocks(done, tmp_path, t, k, block):
    nodes, constants = weights(t, k, 36, block, t != TensorProto.INT4)
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [5, k])], [("y", FLOAT, [5, 36])], constants, 25)
    x = np.random.default_rng(1).normal(size=(5, k)).astype(np.float32)
    want = runtime(path, {"x": x})[0]
    assert np.abs(ran(done, path, {"x": x}, tmp_path)[0] - want).max() <= 1e-5 * np.abs(want).max()
    done("quantize", path, "--pipeline", "", "-o", tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes()


def test_activations_of_16_bits(done, tmp_path):
    """A convolution and a dense layer between uint16, as ONNX Runtime's quantizer writes them."""
    random = np.random.default_rng(3)
    scales = {"xs": 2e-4, "cs": 3e-4, "ys": 4e-4, "ws": 0.01, "gs": 0.02}
    constants = [(n, np.float32(s)) for n, s in scales.items()] + [("z", np.uint16(31000)), ("wz", np.int8(0)), (
        "w", random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)), ("g", random.integers(-127, 128, (5, 144)).astype(np.int8))]
    nodes = []
    for v, s in (("x", "xs"), ("c", "cs"), ("y", "ys")):
        nodes += [helper.make_node("QuantizeLinear", [v, s, "z"], [f"{v}q"]),
                  helper.make_node("DequantizeLinear", [f"{v}q", s, "z"], [f"{v}d"])]
    nodes[2:2] = [helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
                  helper.make_node("Conv", ["xd", "wd"], ["c"])]
    nodes[6:6] = [helper.make_node("Flatten", ["cd"], ["f"]), helper.make_node("DequantizeLinear", ["g", "gs", "wz"], ["gd"]),
                  helper.make_node("Gemm", ["f", "gd"], ["y"], transB=1)]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [1, 3, 8, 8])], [("yd", FLOAT, [1, 5])], constants, 21)
    x = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
    got, want = ran(done, path, {"x": x}, tmp_path)[0], runtime(path, {"x": x})[0]
    assert np.abs(got - want).max() <= 1.01 * scales["ys"] and np.abs(want).max() > 1  # a step: sums have another order


def test_compiled_conversions(qonnx, done, tmp_path):
    """One of each kind in generated C, packed weights in the tables of constants among them."""
    nodes, constants = weights(TensorProto.INT4, 70, 8, 32, True)
    nodes += [helper.make_node("QuantizeLinear", ["y", "f8", "z8"], ["q8"]),
              helper.make_node("DequantizeLinear", ["q8", "f8", "z8"], ["a"]),
              helper.make_node("Cast", ["y"], ["c4"], to=TensorProto.FLOAT4E2M1),
              helper.make_node("Cast", ["c4"], ["b"], to=FLOAT),
              helper.make_node("Cast", ["y"], ["e"], to=E8M0, round_mode="nearest"),
              helper.make_node("Gather", ["w", "i"], ["g"]), helper.make_node("Cast", ["g"], ["c"], to=FLOAT),
              helper.make_node("QuantizeLinear", ["y", "sb"], ["u2"], axis=1, block_size=3, output_dtype=TensorProto.UINT2)]
    constants += [("f8", np.float32(0.1)), ("z8", np.array(0, ml_dtypes.float8_e5m2)), ("i", np.int64([3, 69])),
                  ("sb", scales_of((5, 3)))]
    outs = [("y", FLOAT, [5, 8]), ("a", FLOAT, [5, 8]), ("b", FLOAT, [5, 8]), ("c", FLOAT, [2, 8]), ("e", E8M0, [5, 8]),
            ("u2", TensorProto.UINT2, [5, 8])]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [5, 70])], outs, constants)
    x = np.random.default_rng(1).normal(size=(5, 70)).astype(np.float32)
    *want, e, u2 = ran(done, path, {"x": x}, tmp_path, "--engine", "portable")
    c = compile_model(qonnx, path, tmp_path / "c")
    c.build(["cc"], ["-O1", *WARNINGS])
    *got, exponents, twos = c.run([[x]])[0]
    assert same_bytes([got], [want])
    same(exponents.view(ml_dtypes.float8_e8m0fnu).astype(np.float32), e)
    assert twos.tobytes() == packed(u2.astype(ml_dtypes.uint2))
