"""Rows: trees, tables and weights of ai.onnx.ml whose lists do not fit, or point somewhere else."""

import numpy as np
from bad_inputs.table import FLOAT, model, row, samples, written
from onnx import helper, numpy_helper

X = np.zeros((2, 3), np.float32)


def ml_row(op, what, message, attributes, outputs=("y",), inputs=("x",), **more):
    """A row that runs one node of ai.onnx.ml, of an operator set that has its attributes, on two rows of three features."""
    version = 5 if op == "TreeEnsemble" else 4 if "default_tensor" in attributes else 1 if "classes_strings" in attributes else 3

    def arguments(folder):
        given = {k: v for k, v in attributes.items() if v != []}
        node = helper.make_node(op, list(inputs), list(outputs), "n", domain="ai.onnx.ml", **given)
        m = model([node], [("x", FLOAT, X.shape)], [(o, FLOAT if o == "y" else 7, None) for o in outputs], opset=18)
        m.opset_import.append(helper.make_opsetid("ai.onnx.ml", version))
        return ["run", written(m, folder), "--data", samples(folder, X)]

    row(f"{op}: {what}", rf"'n' \({op}\): {message}", **more)(arguments)


def tensor(*values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype))


# ---- trees ----

TREE = {
    "nodes_treeids": [0, 0, 0, 0, 0], "nodes_nodeids": [0, 1, 2, 3, 4], "nodes_featureids": [0, 2, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"], "nodes_values": [0.0] * 5,
    "nodes_truenodeids": [1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 4, 0, 0, 0],
    "target_treeids": [0, 0, 0], "target_nodeids": [2, 3, 4], "target_ids": [0, 0, 1], "target_weights": [1.0, 2.0, 3.0], "n_targets": 2}

for what, message, changes in [
    ("no trees", "it has no trees", {"nodes_treeids": []}),
    ("feature outside", "nodes_featureids has 3, but rows have 3 features", {"nodes_featureids": [0, 3, 0, 0, 0]}),
    ("feature below", "nodes_featureids has -1, want 0 or more", {"nodes_featureids": [-1, 0, 0, 0, 0]}),
    ("huge feature", r"nodes_featureids has \d+, want 0 or more", {"nodes_featureids": [1 << 40, 0, 0, 0, 0]}),
    ("child that is not there", "node 1 of tree 0 has child 9, which is not there", {"nodes_truenodeids": [1, 9, 0, 0, 0]}),
    ("child of another tree", "node 1 of tree 0 has child 4, which is not there",
     {"nodes_treeids": [0, 0, 0, 0, 7], "target_treeids": [0, 0, 7]}),
    ("node there twice", "node 1 of tree 0 is there twice", {"nodes_nodeids": [0, 1, 1, 3, 4]}),
    ("child that is its own", "a path through one of its trees comes back", {"nodes_truenodeids": [1, 1, 0, 0, 0]}),
    ("child above", "a path through one of its trees comes back", {"nodes_falsenodeids": [2, 0, 0, 0, 0]}),
    ("trees in pieces", "the nodes of a tree do not stand together", {
        "nodes_treeids": [0, 0, 1, 0, 0], "nodes_falsenodeids": [3, 4, 0, 0, 0], "target_treeids": [1, 0, 0]}),
    ("no such mode", "nodes_modes has 'BRANCH_NONE', which is no mode", {"nodes_modes": ["BRANCH_NONE"] + ["LEAF"] * 4}),
    ("modes missing", "nodes_modes has 2 elements, want 5, as nodes_treeids", {"nodes_modes": ["LEAF"] * 2}),
    ("values of another type", "attribute nodes_values is integers, want floats", {"nodes_values": [1, 2, 3, 4, 5]}),
    ("values twice", "nodes_values and nodes_values_as_tensor are both given", {"nodes_values_as_tensor": tensor(0, 0, 0, 0, 0)}),
    ("too many tracks", "nodes_missing_value_tracks_true has 6 elements, want 5", {"nodes_missing_value_tracks_true": [0] * 6}),
    ("weight of no node", "a weight is for node 9 of tree 0, which is not there", {"target_nodeids": [2, 3, 9]}),
    ("weight of no tree", "a weight is for node 2 of tree 5, which is not there", {"target_treeids": [5, 0, 0]}),
    ("target outside", "target_ids has 2, want 0 to 1", {"target_ids": [0, 2, 1]}),
    ("target below", "target_ids has -1, want 0 to 1", {"target_ids": [0, -1, 1]}),
    ("weights missing", "target_weights has 2 elements, want 3, as target_nodeids", {"target_weights": [1.0, 2.0]}),
    ("no targets", "n_targets is 0, want 1 or more", {"n_targets": 0}),
    ("targets of no end", r"n_targets is \d+, want 1 or more", {"n_targets": 1 << 60}),
    ("base values that do not fit", "base_values has 3 elements, want 2", {"base_values": [1.0, 2.0, 3.0]}),
    ("no such transform", "post_transform is 'EXP', want NONE", {"post_transform": "EXP"}),
    ("no such sum", "aggregate_function is 'PRODUCT', want AVERAGE", {"aggregate_function": "PRODUCT"}),
]:
    ml_row("TreeEnsembleRegressor", what, message, TREE | changes)

CLASSES = {k.replace("target_", "class_"): v for k, v in TREE.items() if k != "n_targets"}
for what, message, changes in [
    ("no labels", "it has no labels", {}),
    ("class outside", "class_ids has 1, want 0 to 0", {"classlabels_int64s": [1]}),
    ("one name", "it has one label, which is a string", {"classlabels_strings": ["a"]}),
    ("labels twice", "classlabels_strings and classlabels_int64s are both given", {"classlabels_int64s": [1, 2], "classlabels_strings": ["a"]}),
    ("base values", "base_values has 2 elements, want 3", {"classlabels_int64s": [1, 2, 3], "base_values": [1.0, 2.0]}),
]:
    ml_row("TreeEnsembleClassifier", what, message, CLASSES | changes, ("l", "y"))

ENSEMBLE = {
    "tree_roots": [0], "nodes_featureids": [0, 1], "nodes_modes": tensor(0, 6, dtype=np.uint8), "nodes_splits": tensor(0, 0),
    "nodes_truenodeids": [0, 1], "nodes_trueleafs": [1, 1], "nodes_falsenodeids": [1, 2], "nodes_falseleafs": [0, 1],
    "leaf_targetids": [0, 0, 0], "leaf_weights": tensor(1, 2, 3), "n_targets": 1, "membership_values": tensor(1, 2, np.nan)}
for what, message, changes in [
    ("no roots", "it has no trees", {"tree_roots": []}),
    ("root outside", "tree_roots has 2, but there are 2 nodes", {"tree_roots": [2]}),
    ("root below", "tree_roots has -1, but there are 2 nodes", {"tree_roots": [-1]}),
    ("leaf outside", "nodes_truenodeids has 3, but there are 3 leaves", {"nodes_truenodeids": [0, 3]}),
    ("node outside", "nodes_falsenodeids has 9, but there are 2 nodes", {"nodes_falsenodeids": [9, 2]}),
    ("node that comes back", "a path through one of its trees comes back", {"nodes_falsenodeids": [0, 2]}),
    ("no such mode", "nodes_modes has 7, want 0 to 6", {"nodes_modes": tensor(0, 7, dtype=np.uint8)}),
    ("modes missing", "nodes_modes has 1 elements, want 2", {"nodes_modes": tensor(0, dtype=np.uint8)}),
    ("sets missing", "membership_values has fewer sets than nodes ask for", {"nodes_modes": tensor(6, 6, dtype=np.uint8)}),
    ("target outside", "leaf_targetids has 5, want 0 to 0", {"leaf_targetids": [0, 0, 5]}),
    ("weights as a matrix", "leaf_weights is .* of rank 2, want a list", {"leaf_weights": tensor([1, 2, 3])}),
    ("no such sum", "aggregate_function is 4, want 0 to 3", {"aggregate_function": 4}),
]:
    ml_row("TreeEnsemble", what, message, ENSEMBLE | changes)

# ---- linear models and support vectors ----

LINE = {"coefficients": [0.5] * 6, "intercepts": [1.0, 2.0]}
ml_row("LinearRegressor", "coefficients", "coefficients has 5 elements, want some for each of 2 rows", {"coefficients": [1.0] * 5, "targets": 2})
ml_row("LinearRegressor", "features", "rows have 3 features, but there are coefficients for 2", {"coefficients": [1.0] * 2})
ml_row("LinearRegressor", "targets", r"targets is -?\d+, want 1 or more", LINE | {"targets": 1 << 50})
ml_row("LinearRegressor", "intercepts", "intercepts has 2 elements, want 1", {"coefficients": [1.0] * 3, "intercepts": [1.0, 2.0]})
ml_row("LinearClassifier", "labels", "it has 1 labels for 2 intercepts", LINE | {"classlabels_ints": [1]}, ("l", "y"))
ml_row("LinearClassifier", "no intercepts", "it has no intercepts", {"coefficients": [1.0] * 3, "classlabels_ints": [1]}, ("l", "y"))

SVM = {"n_supports": 2, "support_vectors": [1.0] * 6, "coefficients": [1.0, 2.0], "rho": [0.5], "kernel_params": [1.0, 0.0, 3.0]}
for what, message, changes in [
    ("vectors", "support_vectors has 5 elements, want some for each of 2 rows", {"support_vectors": [1.0] * 5}),
    ("features", "rows have 3 features, but support_vectors for 2", {"support_vectors": [1.0] * 4}),
    ("coefficients", "coefficients has 3 elements, want 1 for each of 2", {"coefficients": [1.0] * 3}),
    ("rho", "rho is empty", {"rho": []}),
    ("kernel", "kernel_type is 'LAPLACE', want LINEAR", {"kernel_type": "LAPLACE"}),
    ("parameters", "kernel_params has 2 elements, want 3", {"kernel_params": [1.0, 2.0]}),
    ("supports below", "it has -2 support vectors", {"n_supports": -2}),
]:
    ml_row("SVMRegressor", what, message, SVM | changes)

PAIRS = {"vectors_per_class": [1, 1, 1], "support_vectors": [1.0] * 9, "coefficients": [1.0] * 6, "rho": [0.5] * 3,
         "kernel_params": [1.0, 0.0, 3.0], "classlabels_ints": [1, 2, 3]}
for what, message, changes in [
    ("classes", "vectors_per_class has 2 elements, want 3", {"vectors_per_class": [1, 2]}),
    ("vectors below", "vectors_per_class has -1", {"vectors_per_class": [3, 1, -1]}),
    ("vectors of no end", r"it has \d+ support vectors", {"vectors_per_class": [1 << 62, 1 << 62, 1]}),
    ("rho", "rho has 2 elements, want one for each of 3 pairs", {"rho": [1.0, 2.0]}),
    ("likelihoods", "prob_b has 2 elements, want 3, as prob_a", {"prob_a": [1.0] * 3, "prob_b": [1.0] * 2}),
    ("likelihoods missing", "prob_a has 2 elements, want one for each of 3 pairs", {"prob_a": [1.0] * 2, "prob_b": [1.0] * 2}),
    ("one class", "it has 1 labels, want 2 to 65535", {"classlabels_ints": [1]}),
]:
    ml_row("SVMClassifier", what, message, PAIRS | changes, ("l", "y"))

# ---- features and tables ----

for op, what, message, attributes in [
    ("Scaler", "scale", "scale has 2 elements, want 1 or 3", {"scale": [1.0, 2.0], "offset": [1.0, 2.0]}),
    ("Scaler", "offset", "offset has 1 elements, want 3, as scale", {"scale": [1.0] * 3, "offset": [1.0]}),
    ("Scaler", "nothing", "scale has 0 elements, want 1 or 3", {}),
    ("Normalizer", "norm", "norm is 'L3', want MAX, L1 or L2", {"norm": "L3"}),
    ("Imputer", "values", "imputed_value_floats has 2 elements, want 1 or 3", {"imputed_value_floats": [1.0, 2.0]}),
    ("Imputer", "integers", "imputed_value_floats has 0 elements, want 1 or 3", {"imputed_value_int64s": [1]}),
    ("FeatureVectorizer", "sizes", "inputdimensions has 2 elements, want 1", {"inputdimensions": [1, 2]}),
    ("FeatureVectorizer", "size below", "inputdimensions has -3", {"inputdimensions": [-3]}),
    ("FeatureVectorizer", "size of no end", r"inputdimensions has \d+", {"inputdimensions": [1 << 62]}),
    ("OneHotEncoder", "categories", "it has no categories", {}),
    ("OneHotEncoder", "categories of another type", "input 0 is float, which its categories are not", {"cats_strings": ["a"]}),
    ("CategoryMapper", "categories", "it has no categories", {}),
    ("CategoryMapper", "lists", "cats_int64s and cats_strings has 2 elements, want 1", {"cats_strings": ["a", "b"], "cats_int64s": [1]}),
    ("CategoryMapper", "type", "input 0 is float, want string or int64", {"cats_strings": ["a"], "cats_int64s": [1]}),
    ("LabelEncoder", "names of classes", "keys are int64, but input 0 is float", {"classes_strings": ["a"]}),
    ("LabelEncoder", "keys", "it has no keys", {"values_floats": [1.0]}),
    ("LabelEncoder", "values", "values has 1 elements, want 2", {"keys_floats": [1.0, 2.0], "values_floats": [1.0]}),
    ("LabelEncoder", "keys of another type", "keys are int64, but input 0 is float", {"keys_int64s": [1], "values_floats": [1.0]}),
    ("LabelEncoder", "default", "default_tensor is no float", {"keys_floats": [1.0], "values_floats": [1.0], "default_tensor": tensor(1.0, dtype=np.float64)}),
]:
    ml_row(op, what, message, attributes)
