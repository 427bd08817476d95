"""fit-scales: the scale of a weight that has one for all channels, against the formula in numpy; what it saves, and where it must
change nothing."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from ort import session
from test_choice import files, quantize  # noqa: F401: a fixture
from test_overrides import grids
from test_placement import Net

pytestmark = pytest.mark.usefixtures("qonnx")
FIT, PLAIN = ["--weights", "per-tensor"], ["--weights", "int8{per=tensor,method=absmax}"]


def net(dead=True):
    """Depthwise and plain convolutions, a product: some channels vary little or not at all and have large weights."""
    n = Net([1, 3, 8, 8])
    a = n.op("Relu", [n.conv("x", 3, 8, "a")], "ra")
    b = n.op("Clip", [n.conv(a, 8, 8, "b", group=8), n.constant("lo", 0.0), n.constant("hi", 6.0)], "rb")
    c = n.op("Relu", [n.conv(b, 8, 8, "c")], "rc")
    f = n.op("Flatten", [n.op("GlobalAveragePool", [c], "p")], "f")
    n.op("MatMul", [f, n.weight("m_w", 8, 5)], "y")
    model = n.model("y")
    for t in model.graph.initializer if dead else []:
        w = numpy_helper.to_array(t).copy()
        if t.name == "a_w":
            w[2] = 0  # its output is the bias
        elif t.name == "a_b":
            w[2] = 0.5
        elif t.name == "b_w":
            w[2] *= 9  # of what never varies but at the borders
        elif t.name == "b_b":
            w[5] = -50  # never leaves 0
        elif t.name == "c_w":
            w[:, 5] *= 400
        t.CopyFrom(numpy_helper.from_array(w, t.name))
    return model


@pytest.fixture
def fitted(files):  # noqa: F811
    onnx.save(net(), files / "fit.onnx")
    return files


def activations(path, folder):
    """Every value on every sample, as ONNX Runtime has it: [samples, ...]."""
    m = onnx.load(path)
    names = [o for n in m.graph.node for o in n.output]
    del m.graph.output[:]
    m.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    s = session(m)
    inputs = [np.load(f) for f in sorted((folder / "data").glob("*.npy"))]
    made = [s.run(None, {"x": x}) for x in inputs]
    return {"x": np.concatenate(inputs)} | {n: np.concatenate([y[k] for y in made]) for k, n in enumerate(names)}


def spread(x):
    """Variance of each channel, along axis 1."""
    return x.astype(float).swapaxes(0, 1).reshape(x.shape[1], -1).var(axis=1)


def best(w, variance, importance):
    """w: [outputs, inputs, taps]. The scale with the least sum of importance * variance * error^2, of 18 down to a fiftieth,
    where it has no more than 0.7 of the first one's."""
    def cost(s):
        d = w - np.clip(np.rint(w / s), -127, 127) * s
        return float(np.sum(importance[:, None] * variance * np.sum(d * d, axis=2)))
    scales = [float(np.float32(np.abs(w).max() * f / 127)) for f in np.geomspace(1, 0.02, 18)]
    costs = [cost(s) for s in scales]
    k = int(np.argmin(costs))
    return scales[k] if costs[k] < 0.7 * costs[0] else scales[0]


def test_formula(fitted):
    """Each weight's scale is the one of the formula, computed anew from ONNX Runtime's activations."""
    assert quantize(fitted, *FIT, model="fit.onnx").rc == 0
    made, seen = grids(fitted / "q.onnx"), activations(fitted / "fit.onnx", fitted)
    w = {i.name: numpy_helper.to_array(i).astype(float) for i in onnx.load(fitted / "fit.onnx").graph.initializer}
    flat = {k: w[k].reshape(*w[k].shape[:2], -1) for k in ("a_w", "b_w", "c_w")}
    varies = {k: spread(seen[k]) > 0 for k in ("ra", "rb", "rc")}
    reads = {
        "ra": np.sum(flat["b_w"] ** 2, axis=(1, 2)),  # depthwise: channel i is read by output i
        "rb": np.sum(flat["c_w"] ** 2, axis=(0, 2)),
        "rc": np.ones(8),  # a pool reads it
    }
    wanted = {
        "a_w": best(flat["a_w"], spread(seen["x"])[None, :], reads["ra"] * varies["ra"]),
        "b_w": best(flat["b_w"], spread(seen["ra"])[:, None], reads["rb"] * varies["rb"]),
        "c_w": best(flat["c_w"], spread(seen["rb"])[None, :], reads["rc"] * varies["rc"]),
        "m_w": best(w["m_w"].T[:, :, None], spread(seen["f"])[None, :], np.ones(5)),
    }
    for name, scale in wanted.items():
        assert made[name][1].size == 1
        np.testing.assert_allclose(made[name][1][0], scale, rtol=1e-6, err_msg=name)
    largest = np.abs(flat["c_w"]).max() / 127
    assert made["c_w"][1][0] < largest / 4, "a dead channel's weights no longer decide"


def test_saves_a_model(fitted):
    """More than 10 dB where dead channels decided, and the bytes of the plain scale where none is better."""
    def ratio(*options):
        result = quantize(fitted, *options, "--json", model="fit.onnx")
        return json.loads(result.stdout)["check"]["outputs"][0]["sqnr_db"]
    assert ratio(*FIT) > ratio(*PLAIN) + 10
    onnx.save(net(dead=False), fitted / "fit.onnx")
    made = [(quantize(fitted, *o, model="fit.onnx"), onnx.load(fitted / "q.onnx").graph)[1] for o in (FIT, PLAIN)]
    assert made[0] == made[1]


def test_left_alone(fitted):
    """Scales per channel, given ones, and what --weights method=absmax says."""
    assert quantize(fitted, model="fit.onnx").rc == 0
    made = grids(fitted / "q.onnx")
    assert made["c_w"][1].size == 8
    (fitted / "o.json").write_text(json.dumps({"c_w": [{"scale": 0.5}], "a_w": [{"method": "absmax"}]}))
    assert quantize(fitted, *FIT, "--overrides", fitted / "o.json", model="fit.onnx").rc == 0
    made = grids(fitted / "q.onnx")
    assert made["c_w"][1] == 0.5
    w = numpy_helper.to_array(next(i for i in onnx.load(fitted / "fit.onnx").graph.initializer if i.name == "a_w"))
    np.testing.assert_allclose(made["a_w"][1][0], np.abs(w).max() / 127, rtol=1e-6)
