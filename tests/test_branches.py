"""Models with subgraphs, calibrated and quantized through them: statistics of every branch that ran are in the .qcal, and the
quantized file gives ONNX Runtime's integers, also as C."""
import json

import numpy as np
import onnx
import pytest
from compiled import WARNINGS, compile_model, same_bytes
from conftest import run_command
from onnx import numpy_helper
from ort import X86, session

RANDOM = np.random.default_rng(23)
SAMPLES = 24


def normal(*shape):
    return (RANDOM.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def model(text, constants, inner=(), opset=19):
    """A model from ONNX's text form, with these initializers in the main graph. `inner`: for the names of subgraphs,
    initializers of theirs."""
    m = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    graphs = {g.name: g for g in subgraphs(m.graph)} | {"": m.graph}
    for name, values in {"": constants, **dict(inner)}.items():
        for k, v in values.items():
            graphs[name].initializer.append(numpy_helper.from_array(np.asarray(v), k))
    onnx.checker.check_model(m, full_check=True)
    return m


def subgraphs(graph):
    for node in graph.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield a.g
                yield from subgraphs(a.g)


CONV = "Conv <pads = [1,1,1,1]>"
# Both branches call their values alike. w is read in the main graph and in a branch, v in both branches, the others inside.
BRANCHES = (f"""g (bool c, float[1,3,8,8] x) => (float[1,4,8,8] y) {{
    f0 = {CONV} (x, u, ub)
    f = Relu (f0)
    k = If (c) <then_branch = t () => (float[1,4,8,8] a) {{
                    a0 = {CONV} (f, w)
                    a1 = Relu (a0)
                    a = {CONV} (a1, v, vb) }},
                else_branch = e () => (float[1,4,8,8] b) {{
                    a0 = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (f)
                    a1 = {CONV} (a0, own)
                    a2 = Add (a1, f)
                    b = {CONV} (a2, v, vb) }}>
    y = {CONV} (k, w) }}""",
            {"u": normal(4, 3, 3, 3), "ub": normal(4), "w": normal(4, 4, 3, 3), "v": normal(4, 4, 3, 3), "vb": normal(4)},
            {"e": {"own": normal(4, 4, 3, 3) * 3}})
LOOP = ("""g (float[1,6] x) => (float[1,6] y, float[5,1,6] p) {
    n = Constant <value_int = 5> ()
    y, p = Loop (n, , x) <body = b (int64 i, bool go, float[1,6] s) => (bool more, float[1,6] t, float[1,6] part) {
        more = Identity (go)
        m0 = MatMul (s, w)
        m1 = Relu (m0)
        t = Gemm (m1, v, vb)
        part = Identity (m1) }> }""", {"w": normal(6, 6) * 2, "v": normal(6, 6), "vb": normal(6)}, {})
SCAN = ("""g (float[1,4] h, float[7,1,5] x) => (float[1,4] y, float[7,1,3] p) {
    y, p = Scan <num_scan_inputs = 1, body = b (float[1,4] s, float[1,5] a) => (float[1,4] t, float[1,3] u) {
        xs = MatMul (a, w)
        hs = MatMul (s, v)
        sum = Add (xs, hs)
        t = Tanh (sum)
        u = MatMul (t, o) }> (h, x) }""", {"w": normal(5, 4), "v": normal(4, 4)}, {"b": {"o": normal(4, 3)}})
IF_IN_LOOP = ("""g (float[1,6] x) => (float[1,6] y) {
    n = Constant <value_int = 6> ()
    r = MatMul (x, w)
    y = Loop (n, , x) <body = b (int64 i, bool go, float[1,6] s) => (bool go, float[1,6] t) {
        two = Constant <value_int = 2> ()
        m = Mod (i, two)
        odd = Cast <to = 9> (m)
        t = If (odd) <then_branch = tb () => (float[1,6] a) { a0 = MatMul (s, w)  a = Add (a0, r) },
                      else_branch = eb () => (float[1,6] a) { a0 = MatMul (s, v)  a1 = Relu (a0)  a = MatMul (a1, w) }> }> }""",
              {"w": normal(6, 6), "v": normal(6, 6)}, {})
# A tagger: an LSTM, and an output layer that a flag chooses.
TAGGER = ("""g (bool fine, float[9,1,6] x) => (float[9,1,5] y) {
    h0, hn = LSTM <hidden_size = 4> (x, w, r, lb)
    axis = Constant <value_ints = [1]> ()
    h = Squeeze (h0, axis)
    y = If (fine) <then_branch = tb () => (float[9,1,5] a) { a0 = MatMul (h, d)  a1 = Relu (a0)  a = MatMul (a1, o) },
                   else_branch = eb () => (float[9,1,5] a) { a = MatMul (h, k) }> }""",
          {"w": normal(1, 16, 6), "r": normal(1, 16, 4), "lb": normal(1, 32)},
          {"tb": {"d": normal(4, 8), "o": normal(8, 5)}, "eb": {"k": normal(4, 5)}})
MODELS = {"if": BRANCHES, "loop": LOOP, "scan": SCAN, "if in loop": IF_IN_LOOP, "tagger": TAGGER}


def samples_of(m, count=SAMPLES, **given):
    """Samples for the inputs: normal floats, alternating conditions, or what is given for an input."""
    random, out = np.random.default_rng(5), {}
    for i in m.graph.input:
        shape = [d.dim_value for d in i.type.tensor_type.shape.dim]
        flag = i.type.tensor_type.elem_type == onnx.TensorProto.BOOL
        out[i.name] = [np.array(k % 2 == 0) if flag else random.normal(size=shape).astype(np.float32) for k in range(count)]
        out[i.name] = given.get(i.name, out[i.name])
    return out


def save(folder, samples, order=None):
    """The samples as files, one folder an input; gives what the command takes."""
    for name, values in samples.items():
        (folder / name).mkdir(parents=True)
        for i, k in enumerate(order if order is not None else range(len(values))):
            np.save(folder / name / f"{i:02d}.npy", values[k])
    return [f"{name}={folder / name}" for name in samples]


def statistics(path):
    """The counts in a .qcal: {(graph, name): values}."""
    r = run_command("inspect", path, "--json")
    assert r.rc == 0, r.stderr
    all_of_them = json.loads(r.stdout)["activations"]
    counts = {(a["graph"], a["name"]): a["values"] for a in all_of_them}
    assert len(counts) == len(all_of_them)
    return counts


def quantize(folder, m, samples, *options):
    """Quantizes by way of a .qcal; gives what the command said."""
    onnx.save(m, folder / "m.onnx")
    data = save(folder / "data", samples)
    r = run_command("calibrate", folder / "m.onnx", *data, "-o", folder / "m.qcal", *options)
    assert r.rc == 0, r.stderr
    said = r.stderr
    r = run_command("quantize", folder / "m.onnx", "--calibration", folder / "m.qcal", "--target", X86, "-o",
                    folder / "q.onnx")
    assert r.rc == 0, r.stderr
    onnx.checker.check_model(folder / "q.onnx", full_check=True)
    return said + r.stderr


def given(m, samples, i):
    return {k.name: samples[k.name][i] for k in m.graph.input}


def outputs(folder, m, path, samples):
    """What `qonnx run` gives: for each sample its outputs."""
    data = [a for name in samples for a in ("--data", f"{name}={folder / 'data' / name}")]
    r = run_command("run", "-q", "--engine", "portable", path, *data, "-o", folder / f"out-{path.stem}")
    assert r.rc == 0, r.stderr
    files = [sorted((folder / f"out-{path.stem}" / f"output_{k}").iterdir()) for k in range(len(m.graph.output))]
    return [[np.load(f) for f in each] for each in zip(*files, strict=True)]


def agree(folder, m, samples, near=True):
    """The quantized file in a default session of ONNX Runtime and in ours; and, `near`, it is near the float model."""
    s, plain = session(folder / "q.onnx"), session(folder / "m.onnx")
    got, error, power = outputs(folder, m, folder / "q.onnx", samples), 0, 0
    for i, mine in enumerate(got):
        want = s.run(None, given(m, samples, i))
        exact = plain.run(None, given(m, samples, i))
        for a, b, c in zip(mine, want, exact, strict=True):
            assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max(), i
            error += np.square(a - c).sum()
            power += np.square(c).sum()
    assert not near or error < 0.02 * power
    return got


def ops_of(graph):
    """How often each operator stands in the graph, those in its subgraphs apart."""
    return {op: [n.op_type for n in graph.node].count(op) for op in {n.op_type for n in graph.node}}


def named(m, name):
    return next(g for g in subgraphs(m.graph) if g.name == name)


def made(name):
    m = model(*MODELS[name])
    return m, samples_of(m)


@pytest.mark.parametrize("name", MODELS)
def test_as_the_runtime(name, qonnx, tmp_path):
    """So is generated C: the executor's bytes."""
    m, samples = made(name)
    said = quantize(tmp_path, m, samples)
    assert ": warning: " not in said, said
    products = {"Conv", "MatMul", "Gemm"}
    for graph in subgraphs(onnx.load(tmp_path / "q.onnx").graph):
        ops = ops_of(graph)
        weighted = sum(n for op, n in ops.items() if op in products)
        assert ops.get("DequantizeLinear", 0) >= 2 * weighted and (not weighted or ops["QuantizeLinear"]), graph.name
    got = agree(tmp_path, m, samples)
    c = compile_model(qonnx, tmp_path / "q.onnx", tmp_path / "c")
    c.build(["gcc"], ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover", *WARNINGS])
    assert same_bytes(c.run([list(given(m, samples, i).values()) for i in range(SAMPLES)]), got)


# What was counted, by graph: names of two branches may be the same.
COUNTED = {
    "if": {("", "x"): 24 * 192, ("", "f"): 24 * 256, ("k>then_branch", "a1"): 12 * 256, ("k>then_branch", "a"): 12 * 256,
           ("k>else_branch", "a0"): 12 * 256, ("k>else_branch", "a1"): 12 * 256, ("k>else_branch", "a2"): 12 * 256,
           ("k>else_branch", "b"): 12 * 256, ("", "k"): 24 * 256, ("", "y"): 24 * 256},
    "loop": {("y>body", "s"): 24 * 5 * 6, ("y>body", "m1"): 24 * 5 * 6, ("y>body", "t"): 24 * 5 * 6,
             ("y>body", "part"): 24 * 5 * 6},
    "scan": {("y>body", "s"): 24 * 7 * 4, ("y>body", "a"): 24 * 7 * 5, ("y>body", "xs"): 24 * 7 * 4, ("y>body", "hs"): 24 * 7 * 4,
             ("y>body", "sum"): 24 * 7 * 4, ("y>body", "t"): 24 * 7 * 4, ("y>body", "u"): 24 * 7 * 3},
    "if in loop": {("", "x"): 24 * 6, ("", "r"): 24 * 6, ("y>body", "s"): 24 * 6 * 6,
                   ("y>body>t>then_branch", "a0"): 24 * 3 * 6, ("y>body>t>then_branch", "a"): 24 * 3 * 6,
                   ("y>body>t>else_branch", "a1"): 24 * 3 * 6, ("y>body>t>else_branch", "a"): 24 * 3 * 6},
    "tagger": {("", "h0"): 24 * 36, ("", "h"): 24 * 36, ("y>then_branch", "a1"): 12 * 72, ("y>then_branch", "a"): 12 * 45,
               ("y>else_branch", "a"): 12 * 45},
}


@pytest.mark.parametrize("name", MODELS)
def test_statistics(name, done, tmp_path):
    """Every value of every branch that ran, as often as it ran: the same bytes for any threads and any order of samples."""
    m, samples = made(name)
    onnx.save(m, tmp_path / "m.onnx")
    files = []
    for i, (threads, order) in enumerate([(1, range(SAMPLES)), (3, range(SAMPLES)), (3, RANDOM.permutation(SAMPLES))]):
        files.append(tmp_path / f"{i}.qcal")
        done("calibrate", "-q", tmp_path / "m.onnx", *save(tmp_path / str(i), samples, order), "-o", files[-1], "-j", threads)
    assert len({f.read_bytes() for f in files}) == 1
    assert statistics(files[0]) == COUNTED[name]


def test_statistics_as_text(done, tmp_path):
    m, samples = made("if")
    onnx.save(m, tmp_path / "m.onnx")
    done("calibrate", "-q", tmp_path / "m.onnx", *save(tmp_path / "data", samples), "-o", tmp_path / "m.qcal")
    lines = done("inspect", tmp_path / "m.qcal").splitlines()
    assert "samples      24" in lines and "activations  10" in lines
    assert any(" a1 " in line and line.endswith(", in k>then_branch") for line in lines)
    assert all(", in " not in line for line in lines if line.startswith("  f "))


def test_a_branch_that_no_sample_took(tmp_path):
    """It stays in float, with one warning for all that is in it, and still runs."""
    m, samples = made("if")
    said = quantize(tmp_path, m, samples | {"c": [np.array(True)] * SAMPLES})
    warnings = [line for line in said.splitlines() if ": warning: " in line]
    assert len(warnings) == 1 and "its else_branch stays in float: no calibration sample ran it" in warnings[0]
    counts = statistics(tmp_path / "m.qcal")
    assert {n for (graph, _), n in counts.items() if graph == "k>else_branch"} == {0}
    q = onnx.load(tmp_path / "q.onnx")
    assert "QuantizeLinear" not in ops_of(named(q, "e")) and ops_of(named(q, "t"))["QuantizeLinear"] == 2
    for file in (tmp_path / "data" / "c").iterdir():
        np.save(file, samples["c"][int(file.stem)])
    agree(tmp_path, m, samples, near=False)  # what the other branch gives is outside the range behind it


def test_one_warning_for_a_branch_with_branches(tmp_path):
    m = model("""g (bool c, float[1,6] x) => (float[1,6] y) {
        y = If (c) <then_branch = t () => (float[1,6] a) { a = MatMul (x, w) },
                    else_branch = e () => (float[1,6] b) {
                        b0 = MatMul (x, w)
                        b = If (c) <then_branch = et () => (float[1,6] a) { a = MatMul (b0, w) },
                                    else_branch = ee () => (float[1,6] a) { a0 = MatMul (b0, w)  a = Relu (a0) }> }> }""",
              {"w": normal(6, 6)})
    said = quantize(tmp_path, m, samples_of(m, c=[np.array(True)] * SAMPLES))
    assert said.count(": warning: ") == 1 and "node 'y' (If): its else_branch" in said, said


def test_weights_are_there_once(tmp_path):
    """A weight that several graphs read is one tensor of integers; the float form is gone."""
    m, samples = made("if")
    quantize(tmp_path, m, samples)
    q = onnx.load(tmp_path / "q.onnx")
    kept = [t for g in [q.graph, *subgraphs(q.graph)] for t in g.initializer if len(t.dims) == 4]
    assert sorted(t.name for t in kept) == ["own_quantized", "u_quantized", "v_quantized", "w_quantized"]
    assert all(t.data_type == onnx.TensorProto.INT8 for t in kept)
    assert [t.name for t in named(q, "e").initializer if len(t.dims) == 4] == ["own_quantized"]


def test_states_stay_float(tmp_path):
    """What goes from one turn to the next is no integer at the border."""
    m, samples = made("loop")
    quantize(tmp_path, m, samples)
    body = named(onnx.load(tmp_path / "q.onnx"), "b")
    types = {v.name: v.type.tensor_type.elem_type for v in [*body.input, *body.output]}
    assert types["s"] == types["t"] == types["part"] == onnx.TensorProto.FLOAT


# Boxes that overlap too much go, and a second layer runs for what is left, where something is.
DETECTOR = (f"""g (float[1,3,16,16] x) => (float[k,4] y) {{
    f0 = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w, wb)
    f = Relu (f0)
    b0 = {CONV} (f, v)
    b1 = Reshape (b0, bs)
    b2 = Transpose <perm = [0,2,1]> (b1)
    boxes = Sigmoid (b2)
    s0 = {CONV} (f, u)
    s1 = Reshape (s0, ss)
    scores = Sigmoid (s1)
    chosen = NonMaxSuppression <center_point_box = 1> (boxes, scores, most, iou, least)
    which0 = Gather <axis = 1> (chosen, two)
    picked0 = Gather <axis = 1> (boxes, which0)
    axis = Constant <value_ints = [0]> ()
    picked = Squeeze (picked0, axis)
    number = Size (which0)
    some = Greater (number, few)
    y = If (some) <then_branch = t () => (float[k,4] a) {{ a0 = MatMul (picked, d)  a1 = Relu (a0)  a = MatMul (a1, o) }},
                   else_branch = e () => (float[k,4] a) {{ a = Identity (picked) }}> }}""",
            {"w": normal(8, 3, 3, 3), "wb": normal(8), "v": normal(4, 8, 3, 3) * 3, "u": normal(2, 8, 3, 3) * 3,
             "bs": np.int64([1, 4, 64]), "ss": np.int64([1, 2, 64]), "most": np.int64(5), "iou": np.float32(0.4),
             "least": np.float32(0.6), "two": np.int64(2), "few": np.int64(3)},
            {"t": {"d": normal(4, 8), "o": normal(8, 4)}})


def test_detector(tmp_path):
    m = model(*DETECTOR)
    samples = samples_of(m)
    said = quantize(tmp_path, m, samples)
    counts = statistics(tmp_path / "m.qcal")
    assert counts["y>then_branch", "a1"] == 2 * counts["y>then_branch", "a"] > 0, said
    assert ops_of(named(onnx.load(tmp_path / "q.onnx"), "t"))["QuantizeLinear"] == 2
    s = session(tmp_path / "q.onnx")
    for i, mine in enumerate(outputs(tmp_path, m, tmp_path / "q.onnx", samples)):
        want = s.run(None, given(m, samples, i))[0]
        assert mine[0].shape == want.shape and np.abs(mine[0] - want).max() <= 1e-5 * np.abs(want).max(), i


def test_a_relu_in_a_branch_is_not_the_products(tmp_path):
    """A product of the main graph whose only reader is a Relu in a branch keeps its own range."""
    m = model("""g (bool c, float[1,6] x) => (float[1,6] y) {
        p = MatMul (x, w)
        y = If (c) <then_branch = t () => (float[1,6] a) { a0 = Relu (p)  a = MatMul (a0, w) },
                    else_branch = e () => (float[1,6] b) { b = MatMul (x, w) }> }""", {"w": normal(6, 6)})
    samples = samples_of(m)
    assert ": warning: " not in quantize(tmp_path, m, samples)
    assert statistics(tmp_path / "m.qcal")["", "p"] == SAMPLES * 6
    agree(tmp_path, m, samples)


def test_branches_are_folded(done, tmp_path):
    """What stood in an If whose condition is constant is folded as if it had stood in the main graph."""
    m = model("""g (float[1,6] x) => (float[1,6] y) {
        yes = Constant <value_int = 1> ()
        c = Cast <to = 9> (yes)
        k = If (c) <then_branch = t () => (float[1,6] a) {
                        d = If (c) <then_branch = tt () => (float[6] q) { q = Exp (z) },
                                    else_branch = te () => (float[6] q) { q = Neg (z) }>
                        e = Mul (d, z)
                        a = Add (x, e) },
                    else_branch = e () => (float[1,6] b) { b = Neg (x) }>
        y = Relu (k) }""", {"z": normal(6)})
    onnx.save(m, tmp_path / "m.onnx")
    done("quantize", "-q", tmp_path / "m.onnx", "--pipeline", "fold-constants", "-o", tmp_path / "f.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "f.onnx").graph.node] == ["Add", "Relu"]
    x = normal(1, 6)
    got, want = (session(tmp_path / f).run(None, {"x": x})[0] for f in ("f.onnx", "m.onnx"))
    assert np.abs(got - want).max() <= 1e-6


def test_what_branches_compute_alike_is_there_once(done, tmp_path):
    """The transpose of a weight, which both branches make for themselves; another weight and small ones stay where they are."""
    m = model("""g (bool c, float[1,32] x) => (float[1,32] y) {
        y = If (c) <then_branch = t () => (float[1,32] a) {
                        v = Transpose <perm = [1, 0]> (w)
                        f = Neg (u)
                        p = MatMul (x, v)
                        a = Add (p, f) },
                    else_branch = e () => (float[1,32] b) {
                        v = Transpose <perm = [1, 0]> (w)
                        h = Neg (w)
                        q = MatMul (x, v)
                        b = MatMul (q, h) }> }""", {"w": normal(32, 32), "u": normal(1, 32)})
    onnx.save(m, tmp_path / "m.onnx")
    done("quantize", "-q", tmp_path / "m.onnx", "--pipeline", "fold-constants", "-o", tmp_path / "f.onnx")
    f = onnx.load(tmp_path / "f.onnx")
    assert [len(i.raw_data) for i in f.graph.initializer] == [4096]
    inside = sorted(len(i.raw_data) for a in f.graph.node[0].attribute for i in a.g.initializer)
    assert inside == [128, 4096]
    for c in (True, False):
        sample = {"c": np.array(c), "x": normal(1, 32)}
        got, want = (session(tmp_path / name).run(None, sample)[0] for name in ("f.onnx", "m.onnx"))
        assert np.abs(got - want).max() <= 1e-4
