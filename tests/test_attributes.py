"""Operators and attributes by operator set: the table against the package onnx, and what is refused."""

import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import onnx
import pytest
from conftest import ROOT, run_command
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

LETTERS = dict(f="FLOAT", i="INT", s="STRING", t="TENSOR", g="GRAPH", F="FLOATS", I="INTS", S="STRINGS",
               p="SPARSE_TENSOR", y="TYPE_PROTO")
NEWEST = int(re.search(r"NEWEST_OPSET = (\d+)", (ROOT / "ir" / "ir.h").read_text()).group(1))
FLOAT = TensorProto.FLOAT


# ---- the tables ----

# Files of ops/, and what is left out of what the packages say: deprecated at once, or for another, which runtimes
# run all the same; and what only ONNX Runtime has in ONNX's domain.
TABLES = {"onnx": "", "ml": "ai.onnx.ml", "microsoft": "com.microsoft"}
ALIVE = {"GroupNormalization", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}
ONNX_RUNTIMES = {"SimplifiedLayerNormalization"}


def newest(domain):
    return NEWEST if domain == "" else max(s.since_version for s in schemas(domain))


def table(file):
    """op -> {operator set -> {attribute: type}}, read from the C source."""
    source = (ROOT / "ops" / f"{file}_operators.h").read_text()
    rows = re.findall(r'\{"(\w+)", (\d+), (\d+),((?:\s*"[^"]*")+)\}', source)
    names = [row[0] for row in rows]
    assert names == sorted(set(names)), "rows are sorted by name, one an operator: they are searched for"
    found = {}
    for op, since, until, text in rows:
        first, last = int(since), int(until) or newest(TABLES[file])
        forms = {version: {} for version in range(first, last + 1)}
        for word in "".join(re.findall(r'"([^"]*)"', text)).split():
            name, letter, begin, end = re.fullmatch(r"(\w+):(\w)(\d*)(?:-(\d+))?", word).groups()
            for version in range(int(begin or first), int(end or last) + 1):
                assert name not in forms[version], (op, word)
                forms[version][name] = LETTERS[letter]
        found[op] = forms
    return found


@cache
def schemas(domain):
    """Those of a domain by the package onnx, and where it has none, by ONNX Runtime."""
    found = [s for s in defs.get_all_schemas_with_history() if s.domain == domain]
    mine = ONNX_RUNTIMES if found else None
    return found + [s for s in get_all_operator_schema() if s.domain == domain and (mine is None or s.name in mine)]


@cache
def changelog(domain=""):
    """What a table is to have by the packages."""
    found = defaultdict(dict)
    for s in sorted(schemas(domain), key=lambda s: s.since_version):
        types = {a: getattr(t.type, "name", None) or str(t.type) for a, t in s.attributes.items()}
        for version in range(s.since_version, newest(domain) + 1):
            found[s.name].pop(version, None)
            if not s.deprecated or s.name in ALIVE:
                found[s.name][version] = {a: t.removeprefix("AttrType.") for a, t in types.items()}
    return dict(found)


@pytest.mark.parametrize("file", TABLES)
def test_table(file):
    ours, theirs = table(file), changelog(TABLES[file])
    assert ours.keys() == theirs.keys()
    assert {op: (ours[op], theirs[op]) for op in ours if ours[op] != theirs[op]} == {}


def test_newest():
    assert NEWEST == defs.onnx_opset_version() or NEWEST == max(
        s.since_version for s in defs.get_all_schemas_with_history() if s.domain == "")


# ---- what is refused ----

VALUES = dict(FLOAT=1.0, INT=1, STRING="x", FLOATS=[1.0], INTS=[1], STRINGS=["x"],
              TENSOR=numpy_helper.from_array(np.float32([1])),
              GRAPH=helper.make_graph([], "sub", [], []),
              TYPE_PROTO=helper.make_tensor_type_proto(FLOAT, [1]))


def attribute(name, kind):
    """An attribute of that type; NAME alone where helper cannot make one."""
    if kind not in VALUES:
        return AttributeProto(name=name, type=AttributeProto.AttributeType.Value(kind))
    return helper.make_attribute(name, VALUES[kind])


def single(op, version, attributes, domain=""):
    """A model of one node with as many inputs as any form has."""
    node = helper.make_node(op, ["x", "x"], ["y"], "n", domain=domain)
    node.attribute.extend(attributes)
    info = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [info("x", FLOAT, ["a", "b", "c"])], [info("y", FLOAT, None)])
    sets = {"": 13} | {domain: version}
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in sets.items()], ir_version=8)


def rewritten(folder, cases):
    """What a pipeline of one pass says of each model: name -> standard error."""
    def one(case):
        name, model = case
        path = folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        return name, run_command("quantize", path, "--pipeline", "remove-identity", "-o", folder / f"{name}.out")

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(one, cases.items()))


@pytest.mark.mends("attributes - refused by name")
def test_every_attribute_that_came_or_went(qonnx, tmp_path):
    """Where an operator set has no such attribute, it is named, with one that has."""
    cases, want = {}, {}
    for domain, op, forms in [(d, op, forms) for d in ("", "ai.onnx.ml") for op, forms in changelog(d).items()]:
        every = {name: (kind, v) for v, form in forms.items() for name, kind in form.items()}
        for version in sorted({s for s in forms if forms[s] != forms.get(s - 1)} | {max(forms)}):
            for name in every.keys() - forms[version].keys():
                key = f"{op}-{version}-{name}"
                cases[key] = single(op, version, [attribute(name, every[name][0])], domain)
                early = version < min(v for v in forms if name in forms[v])
                having = [v for v in forms if name in forms[v]]
                border = min(having) if early else max(having)
                want[key] = (f"node 'n' ({op}): it has no attribute '{name}' at operator set {version}"
                             f"{domain and f' of {domain}'}, only {'from' if early else 'up to'} {border};")
    assert len(cases) > 200
    ends = rewritten(tmp_path, cases)
    assert {k: (want[k], e.stderr) for k, e in ends.items() if e.rc != 1 or want[k] not in e.stderr} == {}
    assert not list(tmp_path.glob("*.out"))


def test_every_attribute_that_is_there(qonnx, tmp_path):
    """What an operator set has is not refused for its name or type, in each form of each operator."""
    cases = {}
    for domain, op, forms in [(d, op, forms) for d in TABLES.values() for op, forms in changelog(d).items()]:
        for version in {s for s in forms if forms[s] != forms.get(s - 1)}:
            made = [attribute(name, kind) for name, kind in forms[version].items()]
            cases[f"{domain}.{op}-{version}"] = single(op, version, made, domain)
    assert len(cases) > 400
    refused = re.compile(r"has no attribute|has no \w+, which|attribute \w+ is (a|an|floats|integers|strings)\b")
    assert {k: e.stderr for k, e in rewritten(tmp_path, cases).items() if refused.search(e.stderr)} == {}


def conv(*more, opset=13, inputs=("c",), constants=(), **attributes):
    """A Conv with a node behind it; `more` is (op,) of that."""
    (op,) = more
    info = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.random.default_rng(1).random((3, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
         helper.make_node(op, list(inputs), ["y"], "n", **attributes)],
        "g", [info("x", FLOAT, [1, 3, 8, 8])], [info("y", FLOAT, None)],
        [weight, *constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def other(op, domain, version, **attributes):
    """The same with an operator of another domain."""
    model = conv(op, domain=domain, **attributes)
    model.opset_import.append(helper.make_opsetid(domain, version))
    return model


REFUSED = {
    "Clip-11": (lambda: conv("Clip", opset=11, min=0.0, max=6.0), "max' at operator set 11, only up to 10"),
    "Clip-13": (lambda: conv("Clip", min=0.0), "min' at operator set 13, only up to 10"),
    "Conv padding": (lambda: conv("Conv", inputs=("c", "w"), padding=[1, 1, 1, 1]),
                     "padding' at operator set 13, nor at any other that is known"),
    "Conv activation": (lambda: conv("Conv", inputs=("c", "w"), activation="Relu"),
                        "activation' at operator set 13, nor at any other"),
    "Scaler": (lambda: other("Scaler", "ai.onnx.ml", 1, offset=[0.5], scales=[2.0]),
               "scales' at operator set 1 of ai.onnx.ml, nor at any other"),
    "LabelEncoder": (lambda: other("LabelEncoder", "ai.onnx.ml", 2, keys_floats=[1.0], values_floats=[2.0], classes_strings=["a"]),
                     "classes_strings' at operator set 2 of ai.onnx.ml, only up to 1"),
    "QuickGelu": (lambda: other("QuickGelu", "com.microsoft", 1, beta=1.7),
                  "beta' at operator set 1 of com.microsoft, nor at any other"),
    "AveragePool-13": (lambda: conv("AveragePool", kernel_shape=[2, 2], dilations=[1, 1]),
                       "dilations' at operator set 13, only from 19"),
}


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(3):
        np.save(tmp_path / "data" / f"{i}.npy", np.random.default_rng(i).random((1, 3, 8, 8), np.float32))
    return tmp_path / "data"


@pytest.mark.mends("attributes - refused by name")
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("verb", ["run", "evaluate", "calibrate", "compile", "quantize"])
def test_refused_by_every_verb(run, tmp_path, samples, verb, name):
    make, message = REFUSED[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(make().SerializeToString())
    out = tmp_path / "out"
    arguments = {"run": ["--data", samples, "-o", out], "evaluate": ["--data", samples],
                 "calibrate": [samples, "-o", out], "compile": ["--target", "generic", "-o", out],
                 "quantize": ["--data", samples, "-o", out]}[verb]
    end = run(verb, path, *arguments)
    assert end.rc == 1 and f"(" in end.stderr and f"): it has no attribute '{message}" in end.stderr, end
    assert end.stderr.count("\n") == 1 and not out.exists()
    marked = run("inspect", path)
    assert f"it has no attribute '{message}" in marked.stdout


@pytest.mark.mends("attributes - refused by name")
def test_refused_in_a_branch(run, tmp_path):
    """Nodes of subgraphs too."""
    info = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Clip", ["x"], ["b"], "inner", min=0.0)], "b", [],
                               [info("b", FLOAT, None)])
    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [info("c", TensorProto.BOOL, []), info("x", FLOAT, [4])],
                              [info("y", FLOAT, None)])
    graph.node[0].attribute[1].g.node[0].output[0] = "b2"
    graph.node[0].attribute[1].g.output[0].name = "b2"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    end = run("quantize", tmp_path / "m.onnx", "--pipeline", "fold-constants", "-o", tmp_path / "out.onnx")
    assert end.rc == 1 and "node 'inner' (Clip): it has no attribute 'min' at operator set 13" in end.stderr


CARRIED = REFUSED | {
    "Unsqueeze-13": (lambda: conv("Unsqueeze", axes=[0]), "axes' at operator set 13, only up to 12"),
    "Slice-13": (lambda: conv("Slice", starts=[0], ends=[1]), "' at operator set 13, only up to 9"),
}


@pytest.mark.mends("attributes - carried with a warning")
@pytest.mark.parametrize("name", CARRIED)
def test_carried_by_an_empty_pipeline(run, tmp_path, name):
    make, message = CARRIED[name]
    model = make()
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    end = run("quantize", tmp_path / "m.onnx", "--pipeline", "", "-o", tmp_path / "out.onnx")
    assert end.rc == 0 and end.stderr.startswith("qonnx: warning: ") and message in end.stderr
    assert end.stderr.count("\n") == 1
    assert onnx.load(tmp_path / "out.onnx") == model


@pytest.mark.parametrize("op, domain", [("Gelu", "org.example"), ("Conv", "com.microsoft")])
def test_what_no_table_has_is_not_judged(run, tmp_path, op, domain):
    model = other(op, domain, 1, activation="Relu")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    end = run("quantize", tmp_path / "m.onnx", "--pipeline", "remove-identity", "-o", tmp_path / "out.onnx")
    assert end.rc == 0 and end.stderr == ""


@pytest.mark.parametrize("opset", [6, 9, 10])
def test_old_forms_are_raised(done, tmp_path, samples, opset):
    """What an older operator set has is legal there, and is converted."""
    (tmp_path / "m.onnx").write_bytes(conv("Clip", opset=opset, min=0.0, max=1.5).SerializeToString())
    done("run", "-q", tmp_path / "m.onnx", "--data", samples, "-o", tmp_path / "out")
    got = np.load(tmp_path / "out" / "output_0" / "000000.npy")
    assert got.min() >= 0 and got.max() == 1.5


# ---- open sizes ----

@pytest.mark.mends("attributes - a negative size is open")
@pytest.mark.parametrize("size", [-1, -7, -(2**63)])
def test_negative_sizes_are_open(done, run, tmp_path, samples, size):
    model = conv("Relu")
    for value in (*model.graph.input, *model.graph.output):
        value.CopyFrom(helper.make_tensor_value_info(value.name, FLOAT, [size, 3, 8, 8]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    done("quantize", "-q", tmp_path / "m.onnx", "--pipeline", "", "-o", tmp_path / "same.onnx")
    assert onnx.load(tmp_path / "same.onnx") == model
    done("run", "-q", tmp_path / "m.onnx", "--data", samples, "-o", tmp_path / "out")
    assert np.load(tmp_path / "out" / "output_0" / "000002.npy").shape == (1, 3, 8, 8)
    done("quantize", "-q", tmp_path / "m.onnx", "--data", samples, "-o", tmp_path / "q.onnx")
    written = onnx.load(tmp_path / "q.onnx").graph.input[0]
    assert written == model.graph.input[0]
