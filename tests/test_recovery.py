"""The passes that win back accuracy with samples, against their papers' formulas in numpy: gptq, match-means."""

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import run_command
from onnx import numpy_helper
from ort import X86
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")


def files(folder, net, samples):
    """The model and its samples, and a .qcal, so that every quantization has the same statistics."""
    onnx.save(net, folder / "m.onnx")
    (folder / "data").mkdir()
    for i, x in enumerate(samples):
        np.save(folder / "data" / f"{i:03}.npy", x.astype(np.float32))
    done = run_command("calibrate", "-q", folder / "m.onnx", folder / "data", "-o", folder / "m.qcal")
    assert done.rc == 0, done.stderr


def quantize(folder, name, *options):
    done = run_command("quantize", "-q", folder / "m.onnx", "--calibration", folder / "m.qcal", "--data", folder / "data", "--check-samples", 0,
                       "--target", X86, "-o", folder / name, *options)
    assert done.rc == 0, done.stderr
    return onnx.load(folder / name)


def weight(model, name):
    """A weight's integers and the scale of each of its first axis, or the one for all."""
    parts = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    dq, = (n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == f"{name}_quantized")
    return parts[dq.input[0]].astype(int), np.atleast_1d(parts[dq.input[1]]).astype(float)


def correlated(random, rows, columns):
    """Rows whose columns go together, and have means."""
    return random.normal(size=(rows, 3)) @ random.normal(size=(3, columns)) + 0.3 * random.normal(size=(rows, columns)) + random.normal(size=columns)


def moments(rows):
    """H as gptq has it: centred, shrunk towards its diagonal where rows are few, damped by a hundredth."""
    n = rows.shape[1]
    h = np.cov(rows, rowvar=False, bias=True)
    r = n / (n + len(rows))
    shrunk = (1 - r) * h + r * np.diag(np.diag(h))
    return h, shrunk + 0.01 * np.mean(np.diag(h)) * np.eye(n)


def paper(w, scale, h, most):
    """GPTQ as Frantar, Ashkboos, Hoefler and Alistarh have it, with the inverse: w [outputs, columns], scale [outputs, 1]."""
    order = np.argsort(-np.diag(h), kind="stable")
    w, out = w[:, order].copy(), np.zeros(w.shape, int)
    u = np.linalg.cholesky(np.linalg.inv(h[order][:, order])).T
    for j in range(w.shape[1]):
        q = np.clip(np.rint(w[:, j:j + 1] / scale), -most, most)
        error = (w[:, j:j + 1] - q * scale) / u[j, j]
        w[:, j + 1:] -= error * u[j:j + 1, j + 1:]
        out[:, order[j]] = q[:, 0]
    return out


def check_integers(got, w, scale, rows):
    """Those of the paper, output by output, where they are better than the nearest integers. Returns how many are other ones."""
    most = 127 if X86 == "ort-x86" else 64
    _, h = moments(rows)
    nearest = np.clip(np.rint(w / scale), -most, most)
    want = paper(w, scale, h, most)
    cost = [np.einsum("oi,ij,oj->o", w - q * scale, h, w - q * scale) for q in (want, nearest)]
    want = np.where((cost[0] < cost[1])[:, None], want, nearest)
    same = np.mean(got == want)
    assert same > 0.995, same  # a tie may fall to the other side
    return np.mean(got != nearest)


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_gptq_of_a_gemm(tmp_path, weights):
    random = np.random.default_rng(3)
    rows = correlated(random, 100, 12)
    n = Net([1, 12])
    n.op("Gemm", ["x", n.weight("w", 9, 12), n.weight("b", 9)], "y", transB=1)
    files(tmp_path, n.model("y"), rows[:, None])
    w = numpy_helper.to_array(n.constants[0]).astype(float)
    got, scale = weight(quantize(tmp_path, "q.onnx", "--pass", "gptq@fit-scales", "--weights", weights), "w")
    assert scale.size == (9 if weights == "per-channel" else 1)
    assert check_integers(got, w, scale[:, None], rows.astype(np.float32).astype(float)) > 0.1


@pytest.mark.parametrize("group", [1, 3])
def test_gptq_of_a_convolution(tmp_path, group):
    """Columns are inputs and taps, rows are places, borders are 0; each group has moments of its own."""
    random = np.random.default_rng(4)
    samples = [np.cumsum(random.normal(size=(1, 3, 7, 6)), 3).astype(np.float32) + 1 for _ in range(30)]
    n = Net([1, 3, 7, 6])
    n.conv("x", 3, 6, "y", group=group)
    files(tmp_path, n.model("y"), samples)
    w = numpy_helper.to_array(n.constants[0]).astype(float)
    padded = np.pad(np.concatenate(samples).astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # samples, channels, places, taps
    got, scale = weight(quantize(tmp_path, "q.onnx", "--pass", "gptq@fit-scales"), "y_w")
    per, inputs, moved = 6 // group, 3 // group, []
    for g in range(group):
        rows = windows[:, g * inputs:(g + 1) * inputs].transpose(0, 2, 3, 1, 4, 5).reshape(30 * 42, -1)
        part = slice(g * per, (g + 1) * per)
        moved.append(check_integers(got[part].reshape(per, -1), w[part].reshape(per, -1), scale[part, None], rows))
    assert np.mean(moved) > 0.05


def test_gptq_with_few_samples(tmp_path):
    """More columns than rows: what one half of the samples asks for does not help the other, so all stays as it is."""
    random = np.random.default_rng(5)
    n = Net([1, 64])
    n.op("Gemm", ["x", n.weight("w", 9, 64)], "y", transB=1)
    files(tmp_path, n.model("y"), random.normal(size=(12, 1, 64)))
    plain, rounded = (weight(quantize(tmp_path, f"{k}.onnx", *o), "w")[0] for k, o in enumerate(([], ["--pass", "gptq@fit-scales"])))
    np.testing.assert_array_equal(plain, rounded)


def chain(tmp_path, samples=24):
    """Convolutions, one depthwise, with activations and a pool between them, and classes; weights of one scale are coarse."""
    n = Net([2, 3, 9, 9])
    c1 = n.op("Relu", [n.conv("x", 3, 8, "c1")], "r1")
    c2 = n.op("Clip", [n.conv(c1, 8, 8, "c2", group=8), n.constant("lo", 0), n.constant("hi", 6)], "r2")
    c3 = n.conv(c2, 8, 8, "c3", bias=False)
    p = n.op("GlobalAveragePool", [n.op("Relu", [n.op("Add", [c3, c1], "s")], "r3")], "p")
    f = n.op("Flatten", [p], "f")
    n.op("Gemm", [f, n.weight("g_w", 10, 8), n.weight("g_b", 10)], "y", transB=1)
    random = np.random.default_rng(6)
    data = [random.normal(size=(2, 3, 9, 9)) + 0.5 for _ in range(samples)]
    files(tmp_path, n.model("y"), data)
    return [x.astype(np.float32) for x in data]


def means(path, samples):
    """Of each product's channels, in front of what is fused with it."""
    model = onnx.load(path)
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    for n in nodes:
        if n.output[0] not in [o.name for o in model.graph.output]:
            model.graph.output.append(onnx.ValueInfoProto(name=n.output[0]))
    o = onnxruntime.SessionOptions()
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    s = onnxruntime.InferenceSession(model.SerializeToString(), o)
    runs = [s.run([n.output[0] for n in nodes], {"x": x}) for x in samples]
    return {n.name: np.concatenate([r[i] for r in runs]).astype(float).mean((0, 2, 3) if n.op_type == "Conv" else 0)
            for i, n in enumerate(nodes)}


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_match_means(tmp_path, weights):
    """Every channel of every product has the mean that it has in float, within one of its bias's integers."""
    samples = chain(tmp_path)
    want = means(tmp_path / "m.onnx", samples)
    off = {}
    for name, options in {"plain": [], "matched": ["--pass", "match-means@fit-scales"]}.items():
        quantize(tmp_path, f"{name}.onnx", "--no-correct-bias", "--weights", weights, *options)
        got = means(tmp_path / f"{name}.onnx", samples)
        assert got.keys() == want.keys() and len(want) == 4
        off[name] = {k: np.abs(got[k] - want[k]).max() for k in want}
    model = onnx.load(tmp_path / "matched.onnx")
    biases = {n.name: n.input[2] for n in model.graph.node if n.op_type in ("Conv", "Gemm")}
    parts = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = {n.output[0]: parts[n.input[1]].max() for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[1] in parts}
    for k in want:
        assert off["matched"][k] <= 1.01 * scales[biases[k]] + 1e-6, k
        assert off["plain"][k] > 3 * off["matched"][k], k


def test_threads_and_order(tmp_path):
    """The same bytes, whatever the threads; and the pipeline in the metadata makes them again."""
    chain(tmp_path)
    passes = ["--no-correct-bias", "--pass", "gptq@fit-scales", "--pass", "match-means@gptq"]
    first, second = (quantize(tmp_path, f"{jobs}.onnx", *passes, "--jobs", jobs) for jobs in (1, 3))
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "3.onnx").read_bytes()
    said, = (p.value for p in first.metadata_props if p.key == "qonnx.pipeline")
    assert "gptq,match-means" in said
    quantize(tmp_path, "again.onnx", "--pipeline", said)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()


@pytest.mark.parametrize("name", ["gptq", "match-means"])
def test_what_they_need(tmp_path, name):
    chain(tmp_path, 3)
    done = run_command("quantize", tmp_path / "m.onnx", "--calibration", tmp_path / "m.qcal", "--pass", f"{name}@fit-scales", "-o", tmp_path / "q.onnx")
    assert done.rc == 1 and f"pass '{name}' asks for samples; give them with --data, too" in done.stderr
    done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "--pipeline", name, "-o", tmp_path / "q.onnx")
    assert done.rc == 1 and "there are no statistics" in done.stderr
    assert not (tmp_path / "q.onnx").exists()


# ---- smooth --------------------------------------------------------------------------------------


def normalized(folder, exported, residual, rms=False):
    """A normalization as one node or as exporters write it, of channels of very unlike factors, that two products read."""
    n = Net([5, 16])
    gamma, beta = n.constant("gamma", np.exp(np.linspace(-2, 3, 16))), n.constant("beta", np.linspace(-1, 1, 16))
    if exported:
        n.constants += [numpy_helper.from_array(np.array([-1]), "axes"), numpy_helper.from_array(np.float32(1e-5), "e")]
        d = n.op("Sub", ["x", n.op("ReduceMean", ["x"], "m", axes=[-1])], "d")
        deviation = n.op("Sqrt", [n.op("Add", [n.op("ReduceMean", [n.op("Mul", [d, d], "dd")], "v", axes=[-1]), "e"], "ve")], "sd")
        x = n.op("Mul", [n.op("Div", [d, deviation], "q"), gamma], "g")
        x = x if rms else n.op("Add", [beta, x], "n")
    else:
        x = n.op("LayerNormalization", ["x", gamma, beta], "n", axis=-1)
    a = n.op("MatMul", [x, n.weight("wa", 16, 12)], "a")
    b = n.op("Gemm", [x, n.weight("wb", 12, 16), n.weight("bb", 12)], "b", transB=1)
    outputs = [n.op("Add", [a, b], "y")]
    if residual:
        outputs.append(n.op("Add", [x, "x"], "z"))
    model = n.model(*outputs, opset=13 if exported else 17)
    random = np.random.default_rng(8)
    files(folder, model, [random.normal(size=(5, 16)) for _ in range(20)])
    return model, x


@pytest.mark.parametrize("alpha", [0.5, 0.8])
@pytest.mark.parametrize("exported, residual, rms", [(False, False, False), (False, True, False), (True, False, False), (True, True, False), (True, False, True)])
def test_smooth(tmp_path, alpha, exported, residual, rms):
    """The paper's scales: in the factors of the normalization, or in a Mul where others read it; the numbers stay."""
    model, x = normalized(tmp_path, exported, residual, rms)
    done = run_command("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "--pipeline", f"smooth{{alpha={alpha}}}", "-o", tmp_path / "s.onnx")
    assert done.rc == 0, done.stderr
    smoothed = onnx.load(tmp_path / "s.onnx")
    old, new = ({t.name: numpy_helper.to_array(t).astype(float) for t in m.graph.initializer} for m in (model, smoothed))
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.output.append(onnx.ValueInfoProto(name=x))
    s = onnxruntime.InferenceSession(extended.SerializeToString())
    samples = [np.load(f) for f in sorted((tmp_path / "data").glob("*.npy"))]
    largest = np.abs(np.concatenate([s.run([x], {"x": v})[0] for v in samples])).max(0)
    weights = np.maximum(np.abs(old["wa"]).max(1), np.abs(old["wb"]).max(0))
    scale = largest ** alpha / weights ** (1 - alpha)
    np.testing.assert_allclose(new["wa"], old["wa"] * scale[:, None], rtol=1e-5)
    np.testing.assert_allclose(new["wb"], old["wb"] * scale, rtol=1e-5)
    muls = [n for n in smoothed.graph.node if n.name.endswith("_smoothed")]
    assert len(muls) == residual
    if residual:
        np.testing.assert_allclose(new[muls[0].input[1]], 1 / scale, rtol=1e-5)
    for k in ("gamma",) if rms else ("gamma", "beta"):
        np.testing.assert_allclose(new[k], old[k] if residual else old[k] / scale, rtol=1e-5)
    for v in samples:
        for a, b in zip(*(onnxruntime.InferenceSession(tmp_path / f).run(None, {"x": v}) for f in ("m.onnx", "s.onnx")), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())


def test_smooth_leaves_alone(tmp_path):
    """What a convolution or a plain Mul gives, and weights that others read."""
    chain(tmp_path, 3)
    done = run_command("quantize", "-q", tmp_path / "m.onnx", "--data", tmp_path / "data", "--pipeline", "smooth", "-o", tmp_path / "s.onnx")
    assert done.rc == 0, done.stderr
    a, b = ({t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / f).graph.initializer} for f in ("m.onnx", "s.onnx"))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
    for value in ("1.5", "-1", "nan"):
        done = run_command("quantize", tmp_path / "m.onnx", "--data", tmp_path / "data", "--pipeline", f"smooth{{alpha={value}}}", "-o", tmp_path / "t.onnx")
        assert done.rc == 1 and "want 0 to 1" in done.stderr
