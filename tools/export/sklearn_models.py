#!/usr/bin/env python3
"""Small models of scikit-learn, LightGBM and XGBoost, trained on scikit-learn's own data and exported as their users do:

    python3 sklearn_models.py DIR             DIR/NAME/model.onnx, DIR/NAME/samples.npz: an array [samples, rows, columns]

The interpreter has scikit-learn, skl2onnx, onnxmltools, lightgbm and xgboost of PyPI."""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx

SAMPLES = 8
ROWS = 5  # in a sample


def estimators():
    """Name, estimator, data: those of all families that export to operators on numbers."""
    from sklearn import (decomposition, discriminant_analysis, ensemble, linear_model, naive_bayes, neighbors, neural_network,
                         pipeline, preprocessing, svm, tree)
    from sklearn.impute import SimpleImputer

    def piped(*steps):
        return pipeline.make_pipeline(*steps)

    few = {"n_estimators": 20, "max_depth": 6, "random_state": 0}
    for name, data in (("two", "cancer"), ("three", "iris"), ("ten", "digits")):
        yield f"tree_{name}", tree.DecisionTreeClassifier(max_depth=6, random_state=0), data
        yield f"forest_{name}", ensemble.RandomForestClassifier(**few), data
        yield f"extra_{name}", ensemble.ExtraTreesClassifier(**few), data
        yield f"boosting_{name}", ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0), data
        yield f"histogram_{name}", ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0), data
        yield f"adaboost_{name}", ensemble.AdaBoostClassifier(n_estimators=5, random_state=0), data
        yield f"bagging_{name}", ensemble.BaggingClassifier(n_estimators=5, random_state=0), data
        yield f"logistic_{name}", piped(preprocessing.StandardScaler(), linear_model.LogisticRegression()), data
        yield f"linear_svc_{name}", svm.LinearSVC(), data
        yield f"svc_{name}", piped(preprocessing.StandardScaler(), svm.SVC()), data
        yield f"svc_likely_{name}", piped(preprocessing.StandardScaler(), svm.SVC(probability=True, random_state=0)), data
        yield f"svc_poly_{name}", piped(preprocessing.MinMaxScaler(), svm.SVC(kernel="poly", degree=3)), data
        yield f"perceptron_{name}", piped(preprocessing.StandardScaler(), neural_network.MLPClassifier(hidden_layer_sizes=(16,), max_iter=50, random_state=0)), data
        yield f"neighbors_{name}", neighbors.KNeighborsClassifier(), data
        yield f"bayes_{name}", naive_bayes.GaussianNB(), data
        yield f"sgd_{name}", piped(preprocessing.StandardScaler(), linear_model.SGDClassifier(random_state=0)), data
        yield f"discriminant_{name}", discriminant_analysis.LinearDiscriminantAnalysis(), data
        yield f"imputed_{name}", piped(SimpleImputer(), preprocessing.RobustScaler(), linear_model.LogisticRegression()), data + "_holes"
        yield f"normalized_{name}", piped(preprocessing.Normalizer("l1"), ensemble.RandomForestClassifier(**few)), data
    yield "voting", ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier())], voting="soft", flatten_transform=False), "iris"
    yield "stacking", ensemble.StackingClassifier([("a", tree.DecisionTreeClassifier(max_depth=3))], linear_model.LogisticRegression()), "iris"
    for name, estimator in (("tree", tree.DecisionTreeClassifier()), ("forest", ensemble.RandomForestClassifier(**few)),
                            ("logistic", linear_model.LogisticRegression(max_iter=500)), ("svc", svm.SVC()), ("bayes", naive_bayes.GaussianNB()),
                            ("neighbors", neighbors.KNeighborsClassifier()), ("boosting", ensemble.GradientBoostingClassifier(n_estimators=5))):
        yield f"named_{name}", estimator, "named"
    yield "words_one_hot", piped(preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.LogisticRegression()), "words"
    yield "words_ordinal", piped(preprocessing.OrdinalEncoder(), tree.DecisionTreeClassifier()), "words"
    yield "one_hot", piped(preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.LogisticRegression()), "whole"
    yield "binned", piped(preprocessing.KBinsDiscretizer(4, encode="onehot-dense"), linear_model.LogisticRegression()), "iris"
    yield "isolation", ensemble.IsolationForest(n_estimators=10, random_state=0), "iris"
    for name, estimator in {
            "tree": tree.DecisionTreeRegressor(max_depth=6, random_state=0), "forest": ensemble.RandomForestRegressor(**few),
            "extra": ensemble.ExtraTreesRegressor(**few), "boosting": ensemble.GradientBoostingRegressor(random_state=0),
            "histogram": ensemble.HistGradientBoostingRegressor(max_iter=20, random_state=0), "linear": linear_model.LinearRegression(),
            "ridge": linear_model.Ridge(), "lasso": linear_model.Lasso(alpha=0.1), "svr": svm.SVR(), "linear_svr": svm.LinearSVR(),
            "neighbors": neighbors.KNeighborsRegressor(), "poly": piped(preprocessing.PolynomialFeatures(2), linear_model.Ridge()),
            "pca": piped(decomposition.PCA(4), linear_model.LinearRegression()),
            "perceptron": neural_network.MLPRegressor(hidden_layer_sizes=(16,), max_iter=50, random_state=0)}.items():
        yield f"regression_{name}", estimator, "diabetes"
    yield from boosters()


def boosters():
    import lightgbm
    import xgboost
    few = {"n_estimators": 15, "random_state": 0}
    for name, data in (("two", "cancer"), ("three", "iris"), ("ten", "digits")):
        yield f"lightgbm_{name}", lightgbm.LGBMClassifier(verbose=-1, **few), data
        yield f"lightgbm_holes_{name}", lightgbm.LGBMClassifier(verbose=-1, **few), data + "_holes"
        yield f"xgboost_{name}", xgboost.XGBClassifier(**few), data
    for kind in ("gbdt", "rf", "dart"):
        more = {"bagging_freq": 1, "bagging_fraction": 0.7} if kind == "rf" else {}
        yield f"lightgbm_{kind}", lightgbm.LGBMRegressor(boosting_type=kind, verbose=-1, **few, **more), "diabetes"
    yield "xgboost_regression", xgboost.XGBRegressor(**few), "diabetes"


def data_of(name):
    """Rows and targets of one of scikit-learn's sets; `_holes`: with numbers that are missing; `whole`: whole numbers; `named`: targets
    are strings; `words`: all is."""
    from sklearn import datasets
    if name == "whole":
        rng = np.random.default_rng(0)
        x = rng.integers(0, 5, (200, 3))
        return x.astype(np.int64), (x.sum(1) > 6).astype(int)
    if name == "words":
        x = np.array(["red", "green", "blue", "", "Größe"], object)[np.random.default_rng(0).integers(0, 5, (200, 3))]
        return x, np.where(x[:, 0] == "red", "yes", np.where(x[:, 1] == "blue", "no", "perhaps")).astype(object)
    if name == "named":
        x, y = data_of("iris")
        return x, np.array(["setosa", "versicolor", "virginica"], object)[y]
    base = {"cancer": datasets.load_breast_cancer, "iris": datasets.load_iris, "digits": datasets.load_digits, "diabetes": datasets.load_diabetes}
    x, y = base[name.removesuffix("_holes")](return_X_y=True)
    x = x.astype(np.float32)
    if name.endswith("_holes"):
        x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    return x, y


def plain(value):
    """Numbers of Python for those of NumPy, also in lists; 0 and 1 for False and True."""
    if isinstance(value, (list, np.ndarray)):
        return [plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value


def of_plain(make):
    """onnx's make_attribute, which exporters give other numbers than it takes."""
    return lambda name, value, *more, **options: make(name, plain(value), *more, **options)


def exported(estimator, x):
    """The ONNX model of a trained estimator."""
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats
    from skl2onnx import to_onnx
    module = type(estimator).__module__.split(".")[0]
    if module in ("lightgbm", "xgboost"):
        convert = convert_lightgbm if module == "lightgbm" else convert_xgboost
        return convert(estimator, initial_types=[("x", Floats([None, x.shape[1]]))], target_opset=15)
    return to_onnx(estimator, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})


def main(out):
    warnings.filterwarnings("ignore")
    onnx.helper.make_attribute = of_plain(onnx.helper.make_attribute)
    for name, estimator, data in estimators():
        x, y = data_of(data)
        try:
            model = exported(estimator.fit(x, y), x)
        except Exception as e:  # what an exporter cannot write is not ours
            print(f"{name}: not exported: {str(e).splitlines()[0][:200]}", file=sys.stderr)
            continue
        (out / name).mkdir(parents=True)
        onnx.save(model, out / name / "model.onnx")
        chosen = np.random.default_rng(0).permutation(len(x))[:SAMPLES * ROWS]
        rows = x[chosen].reshape(SAMPLES, ROWS, -1)
        np.savez(out / name / "samples.npz", **{model.graph.input[0].name: rows.astype(str) if rows.dtype == object else rows})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
