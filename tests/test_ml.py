"""The operators of ai.onnx.ml against ONNX Runtime; compiled models against the command."""

import itertools

import numpy as np
import onnx
import pytest
from conftest import run_command
from many_forms import agrees, build, compiles, form, runtime, saved
from onnx import helper, numpy_helper

ERROR = 1e-5
LAST = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def ml(op, *operands, outputs=1, **attributes):
    """A node of ai.onnx.ml; lists that are empty are left out."""
    given = {k: v for k, v in attributes.items() if v != []}
    return form(op, *operands, outputs=outputs, domain="ai.onnx.ml", **given)


def check(forms, x, tmp_path, qonnx, error=ERROR, version=3, want=None):
    got = agrees(m := build(forms, x, ml=version), tmp_path, error, want)
    compiles(m, tmp_path, got, qonnx)
    return got


def rows(count=7, features=5, seed=1, dtype=np.float32):
    """Rows with some numbers that are not there, and some that are where trees branch."""
    x = np.random.default_rng(seed).normal(size=(count, features)).round(1)
    if np.dtype(dtype).kind == "f":
        x[1, 2] = x[3, 0] = np.nan
        return x.astype(dtype)
    return (x * 3).round().astype(dtype)


def tensor(values, dtype=np.float64):
    return numpy_helper.from_array(np.array(values, dtype))


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def forest(rng, trees=6, depth=4, features=5, targets=1, modes=("BRANCH_LEQ",), missing=False, several=False, what="target",
           least=-1.0):
    """Attributes of trees of all depths up to that, whose nodes have their numbers in any order."""
    nodes, weights = [], []
    for t in range(trees):
        todo, tree, count = [(0, rng.integers(0, depth + 1))], [], 1
        while todo:
            node, left = todo.pop(rng.integers(0, len(todo)))
            children = [count, count + 1] if left else [node, node]
            todo += [(c, max(0, left - rng.integers(1, 3))) for c in children if left]
            count += 2 * bool(left)
            tree.append((node, *children, int(rng.integers(features)), str(rng.choice(modes)) if left else "LEAF", round(rng.normal(), 1)))
        names = rng.permutation(count).tolist()
        for node, yes, no, *rest in tree:
            nodes.append((t, names[node], names[yes], names[no], *rest))
            of = rng.permutation(targets)[: rng.integers(1, targets + 1) if several else 1] if yes == node else []
            weights += [(t, names[node], int(target), rng.uniform(least, 1)) for target in of]
    a = dict(zip(("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids", "modes", "values"), map(list, zip(*nodes))))
    w = dict(zip(("treeids", "nodeids", "ids", "weights"), map(list, zip(*weights))))
    tracks = rng.integers(0, 2, len(a["treeids"])).tolist()
    found = {f"nodes_{k}": v for k, v in a.items()} | {f"{what}_{k}": v for k, v in w.items()}
    return found | ({"nodes_missing_value_tracks_true": tracks} if missing else {})


def doubles(attributes):
    """The same with what can be a tensor of doubles being one."""
    names = ("nodes_values", "target_weights", "class_weights", "base_values")
    return {k + "_as_tensor" * (k in names): tensor(v) if k in names else v for k, v in attributes.items()}


def test_regressors(tmp_path, qonnx):
    """Every mode, what is missing, several targets, every way to add up and every last function, of every type."""
    rng = np.random.default_rng(3)
    x = {t.__name__: rows(dtype=t) for t in (np.float32, np.float64)}
    forms = [ml("TreeEnsembleRegressor", "float32", n_targets=1, **forest(rng, modes=[m], missing=k))
             for m in MODES for k in (False, True)]
    forms += [ml("TreeEnsembleRegressor", t, n_targets=1, **forest(rng, modes=MODES)) for t in x]
    forms += [ml("TreeEnsembleRegressor", "float32", n_targets=n, aggregate_function=f, post_transform=p, base_values=b,
                 **forest(rng, targets=n, modes=MODES, missing=True, several=True))
              for n, f, p in itertools.product((1, 3), ("SUM", "AVERAGE", "MIN", "MAX"), LAST)
              for b in ([], [0.25, -0.5, 1.5][:n])]
    forms += [ml("TreeEnsembleRegressor", "float64", n_targets=2, aggregate_function=f,
                 **doubles(forest(rng, targets=2, missing=True) | {"base_values": [0.1, 0.2]})) for f in ("SUM", "AVERAGE", "MIN")]
    check(forms, x, tmp_path, qonnx)


def test_classifiers(tmp_path, qonnx):
    """One class to four, weights of one class of two or of both, base values for none, one or all."""
    rng = np.random.default_rng(4)
    x = {t.__name__: rows(dtype=t) for t in (np.float32, np.float64, np.int64, np.int32)}
    forms = []
    for labels, least, last in itertools.product(([5], [7, 5], [3, 9, 4], [0, 1, 2, 3]), (-1.0, 0.0), LAST):
        for bases in {0, 1, len(labels)} - ({1} if len(labels) > 2 else set()):
            options = {"classlabels_int64s": labels, "post_transform": last, "base_values": [0.3, -0.25, 0.125, 0.5][:bases]}
            forms.append(ml("TreeEnsembleClassifier", "float32", outputs=2, **options,
                            **forest(rng, targets=len(labels), several=True, what="class", least=least)))
            if len(labels) == 2 and last != "PROBIT":  # of which ONNX Runtime leaves a score unset
                forms.append(ml("TreeEnsembleClassifier", "float32", outputs=2, **options,
                                **forest(rng, targets=1, what="class", least=least)))
    forms += [ml("TreeEnsembleClassifier", t, outputs=2, classlabels_int64s=[1, 2, 3], post_transform="SOFTMAX",
                 **forest(rng, targets=3, what="class")) for t in x]
    forms += [ml("TreeEnsembleClassifier", "float64", outputs=2, classlabels_int64s=[1, 2, 3][:n],
                 **doubles(forest(rng, targets=n, what="class", several=True))) for n in (2, 3)]
    check(forms, x, tmp_path, qonnx)


def ensemble(rng, nodes=9, features=5, targets=2, sets=False, missing=False, dtype=np.float32, trees=3):
    """A TreeEnsemble whose trees are chains with leaves of their own on either side."""
    a = {k: [] for k in ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")}
    modes, leaves, members = [], 0, []
    for i in range(nodes * trees):
        last = i % nodes == nodes - 1
        children = [(leaves, 1), (leaves + 1, 1) if last else (i + 1, 0)]
        leaves += 1 + last
        (yes, yes_leaf), (no, no_leaf) = children if rng.random() < 0.5 else children[::-1]
        for k, v in zip(a, (int(rng.integers(features)), yes, no, yes_leaf, no_leaf)):
            a[k].append(v)
        modes.append(6 if sets and rng.random() < 0.4 else int(rng.integers(6)))
        if modes[-1] == 6:
            members += [*rng.integers(-3, 4, rng.integers(1, 6)), np.nan]  # of which ONNX Runtime takes integers only
    found = {f"nodes_{k}": v for k, v in a.items()} | {
        "nodes_modes": tensor(modes, np.uint8), "nodes_splits": tensor(rng.normal(size=len(modes)).round(1), dtype),
        "leaf_targetids": rng.integers(0, targets, leaves).tolist(), "leaf_weights": tensor(rng.normal(size=leaves), dtype),
        "tree_roots": [nodes * t for t in range(trees)], "n_targets": targets}
    if missing:
        found["nodes_missing_value_tracks_true"] = rng.integers(0, 2, len(modes)).tolist()
    return found | ({"membership_values": tensor(members, dtype)} if members else {})


def test_ensembles(tmp_path, qonnx):
    """Operator set 5: one number for each choice, sets, and results of the input's type."""
    rng = np.random.default_rng(5)
    x = {t.__name__: np.round(2 * rows(count=20, dtype=t)) for t in (np.float32, np.float64)}  # it takes 1.5 for 1 in some sets
    forms = [ml("TreeEnsemble", t, **ensemble(rng, sets=s, missing=k, dtype=x[t].dtype))
             for t in x for s in (False, True) for k in (False, True)]
    for f, p, n in itertools.product(range(4), range(5), (1, 3)):
        forms.append(ml("TreeEnsemble", "float32", aggregate_function=f, post_transform=p, **ensemble(rng, targets=n)))
    # ONNX Runtime has 1 for LOGISTIC and 2 for SOFTMAX, ONNX the other way round
    theirs = [(*f[:4], f[4] | {"post_transform": {1: 2, 2: 1}.get(f[4].get("post_transform"), f[4].get("post_transform", 0))}) for f in forms]
    check(forms, x, tmp_path, qonnx, version=5, want=runtime(build(theirs, x)))


# ---- linear models and support vectors -----------------------------------------------------------


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).ravel().tolist()


def test_linear(tmp_path, qonnx):
    x = {t.__name__: np.nan_to_num(rows(features=6, dtype=t)) for t in (np.float32, np.float64, np.int64, np.int32)}
    forms = [ml("LinearRegressor", "float32", targets=n, coefficients=numbers(n, 6), intercepts=numbers(n) if b else [], post_transform=p)
             for n in (1, 3) for b in (False, True) for p in LAST]
    forms += [ml("LinearClassifier", "float32", outputs=2, coefficients=numbers(n, 6), intercepts=numbers(n), post_transform=p,
                 classlabels_ints=[7, 3, 5, 4][:max(n, 2)]) for n in (1, 2, 4) for p in LAST if n > 1 or p != "PROBIT"]
    forms += [ml("LinearClassifier", t, outputs=2, coefficients=numbers(3, 6), intercepts=numbers(3), classlabels_ints=[1, 2, 9])
              for t in x]
    check(forms, x, tmp_path, qonnx)


KERNELS = [("LINEAR", [0.3, 0.5, 2]), ("POLY", [0.3, 0.5, 2]), ("POLY", [0.2, 0.1, 3]), ("POLY", [0.01, 2.5, 2.5]), ("RBF", [0.3, 0, 0]),
           ("SIGMOID", [0.1, 0.2, 0])]


def machine(classes, each, kernel, seed=1, **more):
    """The attributes of a classifier with support vectors, `each` for the first class, and one more for each other."""
    vectors = [each + i for i in range(classes)]
    pairs = classes * (classes - 1) // 2
    return {"kernel_type": kernel[0], "kernel_params": kernel[1], "vectors_per_class": vectors, "classlabels_ints": list(range(3, 3 + classes)),
            "support_vectors": numbers(sum(vectors), 6, seed=seed), "coefficients": numbers(classes - 1, sum(vectors), seed=seed + 1),
            "rho": numbers(pairs, seed=seed + 2)} | more


def test_support_vectors(tmp_path, qonnx):
    """Every kernel; likelihoods of two classes and of more; linear ones; novelties."""
    x = {"x": np.nan_to_num(rows(count=30, features=6)), "double": np.nan_to_num(rows(features=6, dtype=np.float64))}
    forms = [ml("SVMRegressor", "x", n_supports=17, support_vectors=numbers(17, 6), coefficients=numbers(17, seed=2), rho=[0.25],
                kernel_type=k, kernel_params=p, one_class=one) for k, p in KERNELS for one in (0, 1)]
    forms += [ml("SVMRegressor", "x", coefficients=numbers(6), rho=[0.5], kernel_params=[0.0, 0.0, 0.0], one_class=one) for one in (0, 1)]
    forms += [ml("SVMClassifier", "x", outputs=2, **machine(c, 5, k)) for c in (2, 3, 5) for k in KERNELS]
    forms += [ml("SVMClassifier", "x", outputs=2, **machine(c, 4, KERNELS[4], prob_a=numbers(c * (c - 1) // 2), prob_b=numbers(c * (c - 1) // 2, seed=3),
                                                           post_transform=p)) for c in (2, 3, 6) for p in LAST]
    forms += [ml("SVMClassifier", "x", outputs=2, **machine(c, 4, KERNELS[4], post_transform=p)) for c in (2, 3) for p in LAST
              if c > 2 or p != "PROBIT"]
    forms += [ml("SVMClassifier", "double", outputs=2, **machine(3, 4, KERNELS[4]))]
    forms += [ml("SVMClassifier", "x", outputs=2, coefficients=np.abs(w).tolist() if positive else w, rho=[0.3], classlabels_ints=list(range(n)),
                 kernel_params=[0.0, 0.0, 0.0], post_transform=p)
              for n in (2, 4) for w in [numbers(n, 6)] for positive in (False, True) for p in LAST]
    check(forms, x, tmp_path, qonnx, error=1e-4)  # likelihoods come to rest within that


# ---- features ------------------------------------------------------------------------------------


def test_features(tmp_path, qonnx):
    x = {t.__name__: rows(dtype=t) for t in (np.float32, np.float64, np.int64, np.int32)}
    x |= {"whole": np.nan_to_num(x["float32"]), "line": x["float32"][0], "cube": rows(6, 4).reshape(2, 3, 4), "zero": np.zeros((2, 5), np.float32)}
    forms = [ml("Scaler", t, offset=numbers(n), scale=numbers(n, seed=2)) for t in ("float32", "float64", "int64", "int32", "line") for n in (1, 5)]
    forms += [ml("Normalizer", t, norm=k) for t in ("whole", "int64", "int32", "line", "zero") for k in ("MAX", "L1", "L2")]
    forms += [ml("Imputer", "float32", imputed_value_floats=numbers(n), replaced_value_float=v) for n in (1, 5) for v in (float("nan"), 0.5, -0.2)]
    forms += [ml("Imputer", "int64", imputed_value_int64s=[9, 8, 7, 6, 5][:n], replaced_value_int64=v) for n in (1, 5) for v in (1, -2)]
    forms += [ml("Binarizer", "whole", threshold=v) for v in (0.0, 0.3)]
    forms += [ml("ArrayFeatureExtractor", t, np.array(k, np.int64)) for t in ("float32", "float64", "int64", "int32", "line") for k in ([0], [4, 1, 1])]
    forms += [ml("ArrayFeatureExtractor", "cube", np.array([[3, 0]], np.int64))]
    forms += [ml("FeatureVectorizer", t, t, t, inputdimensions=[5, 3, 7]) for t in ("float32", "int64", "float64", "int32")]
    forms += [ml("FeatureVectorizer", "line", inputdimensions=[7]), ml("FeatureVectorizer", "line", inputdimensions=[3])]
    forms += [ml("OneHotEncoder", t, cats_int64s=[-1, 0, 1, 5, 0]) for t in ("int64", "whole", "line")]
    check(forms, x, tmp_path, qonnx)


def test_features_of_integers(tmp_path, qonnx):
    """What ONNX allows, and ONNX Runtime does not run."""
    x = {t.__name__: rows(dtype=t) for t in (np.float64, np.int64, np.int32)}
    forms = [ml("Binarizer", t, threshold=0.5) for t in x] + [ml("Imputer", "int32", imputed_value_int64s=[7], replaced_value_int64=1),
             ml("Imputer", "float64", imputed_value_floats=[0.5], replaced_value_float=float("nan"))]
    want = [(v > 0.5).astype(v.dtype) for v in x.values()]
    want += [np.where(x["int32"] == 1, 7, x["int32"]).astype(np.int32), np.where(np.isnan(x["float64"]), 0.5, x["float64"])]
    check(forms, x, tmp_path, qonnx, want=want)


def test_label_encoders(tmp_path, qonnx):
    x = {"float32": rows(), "int64": rows(dtype=np.int64), "float64": rows(dtype=np.float64), "int32": rows(dtype=np.int32)}
    forms = [ml("LabelEncoder", "int64", keys_int64s=[3, -1, 0, 2], values_floats=[0.5, 1.5, -2.5, 3.0]),
             ml("LabelEncoder", "float32", keys_floats=[0.5, -0.1, 0.0, float("nan")], values_int64s=[7, 8, 9, 10], default_int64=42),
             ml("LabelEncoder", "float32", keys_floats=[0.1, 0.2, 0.3], values_floats=[1.0, 2.0, 3.0], default_float=0.25),
             ml("LabelEncoder", "int64", keys_int64s=[1, 2, 1, 2], values_int64s=[5, 6, 7, 8])]
    check(forms, x, tmp_path, qonnx)
    forms = [ml("LabelEncoder", "int64", keys_tensor=tensor([1, 2, -3], np.int64), values_tensor=tensor([9, 8, 7], np.int64),
                default_tensor=tensor([-5], np.int64)),
             ml("LabelEncoder", "float32", keys_floats=[0.5, float("nan")], values_int64s=[7, 8]),
             ml("LabelEncoder", "float64", keys_tensor=tensor([0.5, -0.1, np.nan]), values_tensor=tensor([1.0, 2.0, 3.0]),
                default_tensor=tensor([0.5]))]
    check(forms, x, tmp_path, qonnx, version=4)


NAMES = ["cat", "dog", "Löwe", ""]
WORDS = np.array([["cat", "dog", ""], ["Löwe", "mouse", "cat"], ["a\nb", "dog ", "dog"]], object)


def checks(m, tmp_path):
    """ONNX Runtime's outputs are the command's, strings too."""
    folder = saved(m, tmp_path)[1]
    for i, array in enumerate(runtime(m)):
        (folder / f"output_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    done = run_command("run", tmp_path / "m.onnx", "--data", folder, "--check")
    assert done.rc == 0, done.stdout + done.stderr


def test_labels_that_are_strings(tmp_path, qonnx):
    rng = np.random.default_rng(6)
    x = {"x": np.nan_to_num(rows(count=9, features=6)), "x5": rows(count=9)}
    forms = [ml("LinearClassifier", "x", outputs=2, coefficients=numbers(n, 6), intercepts=numbers(n), classlabels_strings=NAMES[:max(2, n)])
             for n in (1, 2, 4)]
    forms += [ml("SVMClassifier", "x", outputs=2, **{k: v for k, v in machine(c, 4, KERNELS[4], classlabels_strings=NAMES[:c]).items()
                                                     if k != "classlabels_ints"}) for c in (2, 4)]
    forms += [ml("TreeEnsembleClassifier", "x5", outputs=2, classlabels_strings=NAMES[:c], **forest(rng, targets=k, what="class"))
              for c, k in ((2, 1), (2, 2), (4, 4))]
    checks(build(forms, x, ml=3), tmp_path)


def test_tables_of_strings(tmp_path, qonnx):
    x = {"words": WORDS, "int64": rows(dtype=np.int64), "float32": np.nan_to_num(rows())}
    strings, twice = {"keys_strings": NAMES}, {"keys_strings": ["dog", "cat", "dog"]}
    forms = [ml("LabelEncoder", "words", values_int64s=[4, 3, 2, 1], default_int64=9, **strings),
             ml("LabelEncoder", "words", values_floats=[0.5, 1.5, 2.5, 3.5], **strings),
             ml("LabelEncoder", "words", values_strings=["x", "y", "", "z"], default_string="none", **strings),
             ml("LabelEncoder", "words", values_int64s=[1, 2, 3], **twice),
             ml("LabelEncoder", "int64", keys_int64s=[-1, 0, 3], values_strings=["below", "none", "three"]),
             ml("LabelEncoder", "float32", keys_floats=[0.0, 0.5], values_strings=["0", "half"], default_string="?"),
             ml("OneHotEncoder", "words", cats_strings=["dog", "cat", "", "dog"]),
             ml("CategoryMapper", "words", cats_strings=NAMES, cats_int64s=[7, 8, 9, 10], default_int64=-3),
             ml("CategoryMapper", "int64", cats_strings=NAMES, cats_int64s=[0, 1, 2, -2], default_string="other"),
             ml("ArrayFeatureExtractor", "words", np.array([2, 0], np.int64))]
    checks(build(forms, x, ml=2), tmp_path)
    forms = [ml("LabelEncoder", "words", classes_strings=NAMES), ml("LabelEncoder", "int64", classes_strings=NAMES, default_string="?")]
    checks(build(forms, x, ml=1), tmp_path)


def test_zipmap(tmp_path, qonnx):
    """A ZipMap is what its maps hold: a row each, a column for each label."""
    x = {"x": np.abs(rows(count=4, features=6)).round(1)}
    forms = [ml("LinearClassifier", "x", outputs=2, coefficients=numbers(3, 6), intercepts=numbers(3), classlabels_ints=[4, 2, 3])]
    m = build(forms, {"x": np.nan_to_num(x["x"])}, ml=1)
    m.proto.graph.node.append(helper.make_node("ZipMap", ["y0_1"], ["maps"], "zip", domain="ai.onnx.ml", classlabels_int64s=[4, 2, 3]))
    m.proto.graph.output.append(onnx.ValueInfoProto(name="maps"))
    label, scores, maps = runtime(m)
    want = [label, scores, np.array([[row[k] for k in (4, 2, 3)] for row in maps], np.float32)]
    m.names.append("maps")
    compiles(m, tmp_path, agrees(m, tmp_path, ERROR, want), qonnx)


def test_a_map_as_input(run, tmp_path):
    """Refused for what it is: the operator where it would run, the input where a sample comes first."""
    of = onnx.TypeProto()
    of.map_type.key_type = onnx.TensorProto.STRING
    of.map_type.value_type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, []))
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    graph = helper.make_graph([node], "g", [onnx.ValueInfoProto(name="x", type=of)],
                              [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])])
    sets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 2), np.float32))
    end = run("quantize", tmp_path / "m.onnx", "--data", tmp_path / "x.npy", "-o", tmp_path / "q.onnx")
    assert end.rc == 1 and "input 'x' has no type of elements, being a map or another value" in end.stderr
    assert not (tmp_path / "q.onnx").exists()
