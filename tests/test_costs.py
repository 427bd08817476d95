"""evaluate --costs against counts by hand of what the models do, and against what compile measures."""

import json
import re

import numpy as np
import onnx
import pytest
from conftest import TESTDATA
from onnx import TensorProto, helper, numpy_helper
from scored import arrays, model

DIGITS, TEST = TESTDATA / "digits.onnx", TESTDATA / "digits" / "test"
NAMES = ["cache of 8 kB", "cache of 32 kB", "cache of 1 MB", "DRAM"]
PICOJOULES = [10, 20, 100, 1300]


def costs(done, *arguments):
    return [m["costs"] for m in json.loads(done("evaluate", "-q", *arguments, "--costs", "--json"))["models"]]


def level(size):
    return [size <= most for most in (2**13, 2**15, 2**20, np.inf)].index(True)


@pytest.fixture
def network(tmp_path):
    """Conv 3x3 of 4 to 8 channels on 40 x 40, Relu, MaxPool, Reshape, MatMul to 10, and its samples."""
    random = np.random.default_rng(1)
    constant = lambda name, *shape: numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)  # noqa: E731
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("Reshape", ["p", "s"], ["f"]), helper.make_node("MatMul", ["f", "v"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 40, 40])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
                              [constant("w", 8, 4, 3, 3), constant("b", 8), constant("v", 3200, 10),
                               numpy_helper.from_array(np.array([1, -1]), "s")])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path, arrays(tmp_path / "data", random.normal(size=(8, 1, 4, 40, 40)))


CONV, MATMUL = 1600 * 8 * 4 * 9, 3200 * 10


def test_float_and_quantized(network, done, tmp_path):
    m, data = network
    q = tmp_path / "q.onnx"
    done("quantize", m, "--data", data, "-o", q, "-q", "--check-samples", 0)
    for width, each, got in zip((32, 8), (3.1, 0.2), costs(done, m, q, "--data", data, "--npy", "shape")):
        size = width // 8
        assert got["macs"] == CONV + MATMUL and got["unknown"] == 0
        assert got["multiplies"] == [{"bits": [width, width], "count": CONV + MATMUL, "pj_each": each}]
        reads, constants = [0] * 4, got["weights_bytes"]
        for count in (4 * 1600, 8 * 1600, 3200):  # of Conv, MaxPool (behind a Relu, which is joined), MatMul
            reads[level(count * size)] += count * size
        reads[level(constants)] += size * (8 * 4 * 9 + 3200 * 10) + 8 * 4  # a bias has 32 bits
        assert [(r["from"], r["bytes"], r["pj_of_64_bits"]) for r in got["reads"]] == list(zip(NAMES, reads, PICOJOULES))
        energy = each * (CONV + MATMUL) + sum(r / 8 * pj for r, pj in zip(reads, PICOJOULES))
        assert got["energy_pj"] == pytest.approx(energy)
        assert size * 32288 <= constants < size * 32288 + 400


def test_widths(done, tmp_path):
    """8 by 8 bits, and floats with weights of 8 bits, which are multiplied as floats."""
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])
    w = numpy_helper.from_array(np.ones((64, 5), np.int8), "w")
    scale = numpy_helper.from_array(np.float32(0.5), "s")
    integers = [helper.make_node("MatMulInteger", ["x", "w"], ["y"])]
    floats = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
              helper.make_node("MatMul", ["f", "d"], ["y"])]
    for name, nodes, made, bits in (("i", integers, TensorProto.INT32, [8, 8]), ("f", floats, TensorProto.FLOAT, [32, 32])):
        graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", made, [1, 5])], [w, scale])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / f"{name}.onnx")
        got, = costs(done, tmp_path / f"{name}.onnx", "--data", arrays(tmp_path / "data", np.ones((2, 1, 64), np.uint8)))
        assert [(m["bits"], m["count"]) for m in got["multiplies"]] == [(bits, 320)]
        assert got["reads"][0]["bytes"] == 64 + 320 + (64 * 4 if name == "f" else 0)


def test_memory_is_what_compile_plans(done, tmp_path):
    got, = costs(done, DIGITS, "--data", TEST, "--limit", 2, "--engine", "portable")
    report = json.loads(done("compile", DIGITS, "-o", tmp_path / "c", "--json"))
    assert report["alive_bytes"] <= got["memory_bytes"] - 40 <= report["arena_bytes"] + 64 * report["calls"]
    compiled, = costs(done, DIGITS, "--data", TEST, "--limit", 2, "--compiled")
    assert compiled == {**got, "memory_bytes": None}


def test_latency(done, tmp_path):
    """The median of runs of one sample in one thread, longer for a longer row of layers; of machine code it is not known."""
    rows = []
    for i, layers in enumerate((1, 40)):
        w = numpy_helper.from_array(np.eye(256, dtype=np.float32), "w")
        nodes = [helper.make_node("MatMul", [f"v{k}", "w"], [f"v{k + 1}"]) for k in range(layers)]
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 256, 256]) for n in ("v0", f"v{layers}")]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [w])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), tmp_path / f"{i}.onnx")
        data = arrays(tmp_path / "data", np.ones((2, 256, 256), np.float32))
        model, = json.loads(done("evaluate", tmp_path / f"{i}.onnx", "--data", data, "--costs", "--json", "-j", 2))["models"]
        rows.append(model["latency"])
    assert all(5 <= r["runs"] <= 101 and r["threads"] == 1 for r in rows)
    assert 0 < 5 * rows[0]["seconds"] < rows[1]["seconds"] < 5
    said = done("evaluate", DIGITS, DIGITS, "--data", TEST, "--limit", 2, "--costs")
    assert re.search(r"^costs of a sample +weights +memory +latency +MACs +energy$", said, re.M)
    assert len(re.findall(rf"^{re.escape(str(DIGITS))}  .* [\d.]+ ms ", said, re.M)) == 2
    assert re.search(r"^latency: the median of \d+ runs with one sample, in 1 thread, on this machine$", said, re.M)
    model, = json.loads(done("evaluate", DIGITS, "--data", TEST, "--limit", 2, "--costs", "--compiled", "--json"))["models"]
    assert model["latency"] is None


def test_computed_shapes(done, tmp_path):
    """What is known as soon as constants are folded, of the shape of an input, is counted."""
    nodes = [helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.ones((8, 5), np.float32))),
             helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.array([2]))),
             helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Div", ["s", "half"], ["t"]),
             helper.make_node("Constant", [], ["rows"], value=numpy_helper.from_array(np.array([4, 0]))),
             helper.make_node("Max", ["t", "rows"], ["u"]), helper.make_node("Reshape", ["x", "u"], ["r"]),
             helper.make_node("MatMul", ["r", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 16])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    got, = costs(done, tmp_path / "m.onnx", "--data", arrays(tmp_path / "data", np.ones((2, 2, 16), np.float32)))
    assert (got["unknown"], got["macs"]) == (0, 4 * 8 * 5)
    assert got["reads"][0]["bytes"] == 4 * (32 + 40) and 160 <= got["weights_bytes"] <= 160 + 64


def test_unknown_shapes(done, tmp_path):
    """They are left out, and that is said."""
    m = model(tmp_path / "m.onnx", ["y"], nodes=[helper.make_node("MatMul", ["x", "x"], ["y"])])
    data = arrays(tmp_path / "data", np.ones((2, 4, 4), np.float32))
    got, = costs(done, m, "--data", data, "--npy", "sample")
    assert got["unknown"] == 1 and got["energy_pj"] == got["macs"] == 0 and got["memory_bytes"] >= 128
    assert "  operators of unknown shape, left out: 1\n" in done("evaluate", m, "--data", data, "--npy", "sample", "--costs")


def test_table(done):
    """The lines add up to the sum, and name their source."""
    said = done("evaluate", DIGITS, "--data", TEST, "--limit", 2, "--costs")
    assert "45 nm, 0.9 V (Horowitz, 2014)" in said
    rows = re.findall(r"^  (multiply|read) of .*?  +([\d.]+) +(\d+) +([\d.]+) (.)J$", said, re.M)
    unit = {"p": 1, "n": 1e3, "u": 1e6}
    assert {r[0] for r in rows} == {"multiply", "read"}
    for _, each, count, energy, prefix in rows:
        assert float(each) * int(count) == pytest.approx(float(energy) * unit[prefix], rel=0.01)
    total, prefix = re.search(r"^  sum +([\d.]+) (.)J$", said, re.M).groups()
    assert float(total) * unit[prefix] == pytest.approx(sum(float(e) * int(n) for _, e, n, _, _ in rows), rel=0.01)
    assert re.search(rf"^{re.escape(str(DIGITS))} .*\d+ +{total} {prefix}J$", said, re.M)
