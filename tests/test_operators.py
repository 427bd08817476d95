"""The operators that the command runs, by test models: those of the package libonnx-testdata, those
that come with the Python package onnx, and those that it generates. One model and its inputs and
outputs a test. All run but for those that not_run.txt has, each with its reason; the rest is refused
with one message, which names an operator that does not run where there is one. Nothing crashes,
hangs or computes wrongly."""

import fcntl
import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from conftest import COMMAND, ROOT, Result, run_command
from onnx import TensorProto, helper, numpy_helper

TESTDATA = Path("/usr/share/libonnx-testdata/data")
WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data"
SECONDS = 10  # the most that a model may take; the slowest take one
LIGHT_SECONDS = 60  # that a model of WHEEL/light may: seconds under sanitizers, on a loaded machine more

# Operators, and how many of the models of TESTDATA that use each give the expected outputs, at the
# least: in Debian 12's package or Debian 13's, whichever has fewer.
PASSING = """
Abs:2 Acos:2 Acosh:2 Add:32 And:8 ArgMax:16 ArgMin:16 Asin:2 Asinh:2 Atan:2 Atanh:2 AveragePool:20
BatchNormalization:9 BitShift:8 BlackmanWindow:2 Cast:41 CastLike:6 Ceil:2 Celu:1 Clip:15 Compress:4
Concat:32 ConcatFromSequence:2 Constant:65 ConstantOfShape:22 Conv:33 ConvInteger:2 ConvTranspose:13
Cos:2 Cosh:2 CumSum:7 DFT:3 DepthToSpace:2 DequantizeLinear:2 Det:2 Div:43 Dropout:6
DynamicQuantizeLinear:3 Einsum:5 Elu:5 Equal:13 Erf:1 Exp:18 Expand:6 EyeLike:3 Flatten:30 Floor:2
GRU:4 Gather:15 GatherElements:21 GatherND:3 Gemm:14 GlobalAveragePool:2 GlobalMaxPool:2 Greater:4
GreaterOrEqual:2 GridSample:8 HammingWindow:2 HannWindow:2 HardSigmoid:4 HardSwish:1 Hardmax:7
Identity:4 If:1 InstanceNormalization:3 IsInf:3 IsNaN:1 LRN:2 LSTM:4 LayerNormalization:19
LeakyRelu:5 Less:4 LessOrEqual:2 Log:9 LogSoftmax:10 MatMul:4 MatMulInteger:1 Max:18 MaxPool:24
MaxUnpool:1 Mean:3 MeanVarianceNormalization:1 MelWeightMatrix:1 Min:18 Mod:13 Mul:43 Neg:34
NegativeLogLikelihoodLoss:52 NonMaxSuppression:9 NonZero:1 Not:3 OneHot:4 Optional:1
OptionalGetElement:3 OptionalHasElement:3 Or:12 PRelu:8 Pad:8 Pow:16 QLinearConv:1 QLinearMatMul:2
QuantizeLinear:5 RNN:4 Range:2 Reciprocal:21 ReduceL1:8 ReduceL2:8 ReduceLogSum:5 ReduceLogSumExp:8
ReduceMax:25 ReduceMean:32 ReduceMin:11 ReduceProd:8 ReduceSum:37 ReduceSumSquare:8 Relu:3
Reshape:31 Resize:21 ReverseSequence:2 RoiAlign:2 Round:4 STFT:2 Scan:1 Scatter:2 ScatterElements:4
ScatterND:3 Selu:5 SequenceAt:10 SequenceConstruct:7 SequenceEmpty:7 SequenceErase:2
SequenceInsert:12 SequenceLength:8 SequenceMap:6 Shape:29 Shrink:3 Sigmoid:7 Sign:2 Sin:2 Sinh:2
Size:21 Slice:46 Softmax:11 SoftmaxCrossEntropyLoss:34 Softplus:3 Softsign:2 SpaceToDepth:2 Split:10
SplitToSequence:3 Sqrt:23 Squeeze:23 Sub:49 Sum:4 Tan:2 Tanh:5 ThresholdedRelu:3 Tile:4 TopK:3
Transpose:10 Trilu:18 Unique:5 Unsqueeze:28 Upsample:1 Where:9 Xor:8
""".split()

# What models of old operator sets have becomes something else before it runs.
RENAMED = {"Scatter": "ScatterElements", "Upsample": "Resize"}


class Case(NamedTuple):
    """A model that was run: the operators in it, and how that ended."""

    operators: set
    result: Result


def operators(graph):
    """The operators of a graph and of its subgraphs."""
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            for subgraph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found |= operators(subgraph)
    return found


def light(model, folder):
    """A model of WHEEL/light without inputs beside it: its samples in a folder, as onnx makes them."""
    graph = onnx.load(model).graph
    constant = {i.name for i in graph.initializer}
    (x,) = [i for i in graph.input if i.name not in constant]
    shape = [d.dim_value or 1 for d in x.type.tensor_type.shape.dim]
    data = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
    folder.mkdir()
    (folder / "input_0.pb").write_bytes(numpy_helper.from_array(data).SerializeToString())
    shutil.copy(model.with_name(f"{model.stem}_output_0.pb"), folder / "output_0.pb")
    return folder


def check(model, samples, seconds=SECONDS):
    used = operators(onnx.load(model, load_external_data=False).graph)
    return Case(used, run_command("run", model, "--data", samples, "--check", timeout=seconds))


def check_all(folder):
    """Checks FOLDER/*/*/model.onnx; gives a Case by the model's name and the number of its data."""
    sets = sorted(folder.glob("*/*/test_data_set_*"))
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda s: check(s.parent / "model.onnx", s), sets)
        return dict(zip(((s.parent.name, int(s.name.split("_")[-1])) for s in sets), done))


def once(tmp_path_factory, name, make):
    """What make() gives: made by one of the processes of pytest-xdist, for all."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    with open(place / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / f"{name}.pickle"
        if not made.is_file():
            made.write_bytes(pickle.dumps(make()))
        return pickle.loads(made.read_bytes())


@pytest.fixture(scope="module")
def testdata(qonnx, tmp_path_factory):
    if not TESTDATA.is_dir():
        pytest.skip("the package libonnx-testdata is not installed")
    tests = once(tmp_path_factory, "testdata", lambda: check_all(TESTDATA))
    assert len({name for name, _ in tests}) > 1000
    return tests


@pytest.fixture(scope="module")
def wheel(qonnx, tmp_path_factory):
    def make():
        tests = check_all(WHEEL)
        assert len(tests) > 100
        place = tmp_path_factory.mktemp("light")
        for model in sorted((WHEEL / "light").glob("*.onnx")):
            tests[model.stem, 0] = check(model, light(model, place / model.stem), LIGHT_SECONDS)
        return tests

    return once(tmp_path_factory, "wheel", make)


@pytest.fixture(scope="module")
def generated(qonnx, tmp_path_factory):
    """The node tests that the package onnx generates: twice as many as libonnx-testdata has."""
    def make():
        place = tmp_path_factory.mktemp("generated")
        subprocess.run([sys.executable, ROOT / "tools" / "node_tests.py", place / "node"], check=True)
        tests = check_all(place)
        shutil.rmtree(place)
        return tests

    tests = once(tmp_path_factory, "generated", make)
    assert len(tests) > 1800
    return tests


@pytest.fixture(scope="module", params=["testdata", "wheel", "generated"])
def tests(request):
    return request.getfixturevalue(request.param)


def rows():
    """not_run.txt: what it lists, and as what."""
    lines = (Path(__file__).parent / "not_run.txt").read_text().splitlines()
    found = [line.split(": ", 2)[:2] for line in lines if line and not line.startswith("#")]
    assert len({name for name, _ in found}) == len(found), "a name is there twice"
    return found


def listed(names, *kinds):
    """Those of the models that not_run.txt has, as of these kinds or of any."""
    patterns = [name for name, of in rows() if of in kinds or not kinds and of != "operator"]
    return {name for name in names if any(fnmatchcase(name, p) for p in patterns)}


def missing():
    """The operators that do not run."""
    return {name for name, kind in rows() if kind == "operator"}


def test_covered(testdata):
    passed = Counter()
    for used, result in testdata.values():
        passed.update(used if result.rc == 0 else [])
    good = sum(t.result.rc == 0 for t in testdata.values())
    print(f"{good} of {len(testdata)} models give the expected outputs")
    least = {op: int(count) for op, count in (row.split(":") for row in PASSING)}
    assert {op: passed[op] for op in least if passed[op] < least[op]} == {}


def test_never_wrong(tests):
    wrong = {k: t.result.stdout for k, t in tests.items() if "check failed" in t.result.stderr}
    known = listed({name for name, _ in wrong}, "expected", "random", "old")
    assert {k: differs for k, differs in wrong.items() if k[0] not in known} == {}


def test_refusals(tests):
    """Everything else ends with status 1 and one message."""
    wrong = {}
    for key, (_, result) in tests.items():
        message = result.stderr.rstrip("\n")
        if result.rc != 0 and not (
            result.rc == 1 and message.startswith("qonnx: ") and "\n" not in message
        ):
            wrong[key] = result
    assert wrong == {}


def test_all_run_that_can(tests):
    """What is made of operators that run runs, unless not_run.txt has it with its reason."""
    refused = {key: t for key, t in tests.items() if t.result.rc and not t.operators & missing()}
    known = listed({name for name, _ in refused})
    assert {k: t.result.stderr for k, t in refused.items() if k[0] not in known} == {}


def test_list_is_short(testdata, wheel, generated):
    """not_run.txt has nothing else."""
    tests = [*testdata.items(), *wheel.items(), *generated.items()]
    there = {name for (name, _), t in tests if not t.operators & missing()}
    there -= listed(there, "old")
    refused = {name for (name, _), t in tests if t.result.rc}
    assert sorted(listed(there) - refused) == [], "these run: take them off the list"
    idle = {p for p, kind in rows() if kind != "operator" and not any(fnmatchcase(n, p) for n in there)}
    lacking = {name for (name, _), t in tests if t.operators & missing()}
    assert sorted(p for p in idle if any(fnmatchcase(n, p) for n in lacking)) == [], "these lack an operator"
    run = {op for _, t in tests if not t.result.rc for op in t.operators}
    assert sorted(missing() & run) == [], "these operators run: take them off the list"


def test_missing_operators_are_named(tests):
    """What is refused for an operator says which."""
    wrong = {}
    for key, (used, result) in tests.items():
        lacks = {RENAMED.get(op, op) for op in used & missing()}
        if not result.rc or not lacks:
            continue
        unraised = re.search(r"\((\w+)\): operator set \d+ has no \1", result.stderr)
        named = re.search(r"cannot run operators? (.*); export", result.stderr)
        named = set(re.findall(r"(?:^|, )(?:[\w.]+\.)?(\w+) \((?:node|\d+ nodes)", named.group(1))
                    if named else [])
        if not (unraised and unraised.group(1) in lacks or named & lacks):
            wrong[key] = lacks, result
    assert wrong == {}


@pytest.mark.mends("operators - what inspect calls known runs")
def test_inspect_agrees(testdata):
    """What inspect marks is what run refuses for operators, types and forms, and nothing else."""
    models = sorted({name for name, _ in testdata})
    paths = {m.parent.name: m for m in TESTDATA.glob("*/*/model.onnx")}
    with ThreadPoolExecutor(2) as pool:
        seen = dict(zip(models, pool.map(lambda m: run_command("inspect", paths[m], "--json"), models)))
    wrong, marked = {}, 0
    for (name, number), (_, result) in testdata.items():
        if seen[name].rc:  # a model that cannot be read
            assert result.rc
            continue
        refused = [(o["type"], o.get("why")) for o in json.loads(seen[name].stdout)["operators"] if not o["known"]]
        marked += bool(refused)
        cannot = "this library cannot run" in result.stderr or " has no " in result.stderr
        if bool(refused) != cannot:
            wrong[name, number] = refused, result.stderr
    assert wrong == {} and marked > 5


def test_fed_lists(done, tmp_path):
    """Samples that feed starts, ends and axes of their own, in one run on several threads."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "start", "end", "axis"], ["y"]),
         helper.make_node("Mul", ["axis", "axis"], ["square"])],
        "g",
        [info("x", TensorProto.FLOAT, [4, 9])]
        + [info(n, TensorProto.INT64, [1]) for n in ("start", "end", "axis")],
        [info("y", TensorProto.FLOAT, None), info("square", TensorProto.INT64, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    rng, x, count = np.random.default_rng(1), np.arange(36, dtype=np.float32).reshape(4, 9), 40
    lists = [[rng.integers(0, 2), rng.integers(2, 4), rng.integers(-2, 2)] for _ in range(count)]
    for k, name in enumerate(("start", "end", "axis")):
        (tmp_path / name).mkdir()
        for i, values in enumerate(lists):
            np.save(tmp_path / name / f"{i:02}.npy", np.array([values[k]], np.int64))
    (tmp_path / "x").mkdir()
    for i in range(count):
        np.save(tmp_path / "x" / f"{i:02}.npy", x)
    data = [a for n in ("x", "start", "end", "axis") for a in ("--data", f"{n}={tmp_path / n}")]
    done("run", "-q", tmp_path / "m.onnx", *data, "-o", tmp_path / "out", "-j", "4")
    for i, (start, end, axis) in enumerate(lists):
        want = x[start:end] if axis % 2 == 0 else x[:, start:end]
        got = np.load(tmp_path / "out" / "output_0" / f"{i:06}.npy")
        assert got.shape == want.shape and (got == want).all(), lists[i]
        assert np.load(tmp_path / "out" / "output_1" / f"{i:06}.npy") == axis * axis


@pytest.mark.parametrize("engine", ["portable", "auto"])
def test_memory_of_many_shapes(done, tmp_path, engine):
    """Programs for shapes that were not met for long are dropped: 90 times 18 MB would be 1.6 GB."""
    info = helper.make_tensor_value_info
    weight = np.random.default_rng(1).random((512, 512, 3, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
         helper.make_node("GlobalAveragePool", ["c"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, [1, 512, "h", "w"])],
        [info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "x").mkdir()
    for i in range(90):
        x = np.ones((1, 512, 1 + i % 9, 1 + i // 9), np.float32)
        np.save(tmp_path / "x" / f"{i:02}.npy", x)
    more = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_DATA, (5 << 28, 5 << 28))}
    if "asan" in str(COMMAND):  # which reserves more
        more = {}
    done("run", "-q", tmp_path / "m.onnx", "--data", tmp_path / "x", "-o", tmp_path / "out",
         "--engine", engine, "-j", "1", **more)
    want = [np.load(tmp_path / "out" / "output_0" / f"{i:06}.npy").mean() for i in (0, 89)]
    assert want[0] == pytest.approx(weight[:, :, 1, 1].sum() / 512, rel=1e-4) and want[1] > want[0]


@pytest.mark.parametrize(
    "start, end, step, want",
    [
        (-(2**63), 2**63 - 1, 1, [0, 1, 2, 3, 4]),
        (2**63 - 1, -(2**63), -1, [4, 3, 2, 1, 0]),
        (-(2**63), -(2**63), -1, [0]),  # a start below 0 is 0, whatever the direction
        (1, 3, 2**63 - 1, [1]),
        (3, 0, -(2**63) + 1, [3]),
        (2**63 - 1, 2**63 - 1, 1, []),
    ],
)
def test_slice_at_the_ends(done, tmp_path, start, end, step, want):
    """Numbers that would overflow when a size is added or multiplied."""
    info = helper.make_tensor_value_info
    node = helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["y"])
    lists = {"start": start, "end": end, "axis": 0, "step": step}
    graph = helper.make_graph(
        [node],
        "g",
        [info("x", TensorProto.FLOAT, [5])] + [info(n, TensorProto.INT64, [1]) for n in lists],
        [info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    arrays = [np.arange(5, dtype=np.float32), *(np.array([v], np.int64) for v in lists.values())]
    for i, a in enumerate(arrays):
        data = numpy_helper.from_array(a).SerializeToString()
        (tmp_path / f"input_{i}.pb").write_bytes(data)
    want = numpy_helper.from_array(np.array(want, np.float32)).SerializeToString()
    (tmp_path / "output_0.pb").write_bytes(want)
    done("run", tmp_path / "m.onnx", "--data", tmp_path, "--check")
