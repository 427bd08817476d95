/* ops/ml_operators.h - every operator of ai.onnx.ml: in which
 * operator sets of that domain it exists, and its attributes, in the words of attributes.c. Written
 * by tools/operator_table.py from what the Python package onnx says; a test compares. An
 * operator that is added to this library is here already.
 */
static const Listed ml_operators[] = {
    /* name, since, until (0: it is there still), attributes */
    {"ArrayFeatureExtractor", 1, 0, ""},
    {"Binarizer", 1, 0, "threshold:f"},
    {"CastMap", 1, 0, "cast_to:s map_form:s max_map:i"},
    {"CategoryMapper", 1, 0, "cats_int64s:I cats_strings:S default_int64:i default_string:s"},
    {"DictVectorizer", 1, 0, "int64_vocabulary:I string_vocabulary:S"},
    {"FeatureVectorizer", 1, 0, "inputdimensions:I"},
    {"Imputer", 1, 0,
     "imputed_value_floats:F imputed_value_int64s:I replaced_value_float:f "
     "replaced_value_int64:i"},
    {"LabelEncoder", 1, 0,
     "classes_strings:S-1 default_float:f2 default_int64:i default_string:s default_tensor:t4 "
     "keys_floats:F2 keys_int64s:I2 keys_strings:S2 keys_tensor:t4 values_floats:F2 "
     "values_int64s:I2 values_strings:S2 values_tensor:t4"},
    {"LinearClassifier", 1, 0,
     "classlabels_ints:I classlabels_strings:S coefficients:F intercepts:F multi_class:i "
     "post_transform:s"},
    {"LinearRegressor", 1, 0, "coefficients:F intercepts:F post_transform:s targets:i"},
    {"Normalizer", 1, 0, "norm:s"},
    {"OneHotEncoder", 1, 0, "cats_int64s:I cats_strings:S zeros:i"},
    {"SVMClassifier", 1, 0,
     "classlabels_ints:I classlabels_strings:S coefficients:F kernel_params:F kernel_type:s "
     "post_transform:s prob_a:F prob_b:F rho:F support_vectors:F vectors_per_class:I"},
    {"SVMRegressor", 1, 0,
     "coefficients:F kernel_params:F kernel_type:s n_supports:i one_class:i post_transform:s "
     "rho:F support_vectors:F"},
    {"Scaler", 1, 0, "offset:F scale:F"},
    {"TreeEnsemble", 5, 0,
     "aggregate_function:i leaf_targetids:I leaf_weights:t membership_values:t n_targets:i "
     "nodes_falseleafs:I nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:t "
     "nodes_missing_value_tracks_true:I nodes_modes:t nodes_splits:t nodes_trueleafs:I "
     "nodes_truenodeids:I post_transform:i tree_roots:I"},
    {"TreeEnsembleClassifier", 1, 0,
     "base_values:F base_values_as_tensor:t3 class_ids:I class_nodeids:I class_treeids:I "
     "class_weights:F class_weights_as_tensor:t3 classlabels_int64s:I classlabels_strings:S "
     "nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_hitrates_as_tensor:t3 "
     "nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I "
     "nodes_truenodeids:I nodes_values:F nodes_values_as_tensor:t3 post_transform:s"},
    {"TreeEnsembleRegressor", 1, 0,
     "aggregate_function:s base_values:F base_values_as_tensor:t3 n_targets:i "
     "nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F nodes_hitrates_as_tensor:t3 "
     "nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I "
     "nodes_truenodeids:I nodes_values:F nodes_values_as_tensor:t3 post_transform:s "
     "target_ids:I target_nodeids:I target_treeids:I target_weights:F "
     "target_weights_as_tensor:t3"},
    {"ZipMap", 1, 0, "classlabels_int64s:I classlabels_strings:S"},
};
