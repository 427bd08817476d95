"""What evaluate scores models by, against rewrites in NumPy of what the metrics are defined as."""

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import helper
from scored import arrays, model, scores


@pytest.fixture
def random():
    return np.random.default_rng(1)


# ---- arrays ---------------------------------------------------------------------------------------


@pytest.fixture
def noisy(tmp_path, random):
    """A model, its samples, and labels near them, as a folder and as one array."""
    x = random.normal(size=(7, 1, 3, 4)).astype(np.float32)
    y = x + random.normal(size=x.shape).astype(np.float32) / 10
    arrays(tmp_path / "data", x)
    arrays(tmp_path / "labels", y)
    np.save(tmp_path / "all.npy", y)
    return model(tmp_path / "m.onnx", ["y"]), x.astype(float), y.astype(float)


def expected(x, y):
    error = ((x - y)**2).reshape(len(x), -1)
    u, v = x.reshape(len(x), -1), y.reshape(len(x), -1)
    return {"mse": error.mean(), "psnr{peak=2}": np.mean(10 * np.log10(4 / error.mean(1))),
            "cosine": np.mean((u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1))}


def test_arrays(noisy, done, tmp_path):
    """Labels in a folder, in one file, and named by lines: the same scores."""
    m, x, y = noisy
    (tmp_path / "lines.txt").write_text("# a comment\n" + "".join(f"{i:03}.npy labels/{i:03}.npy\n" for i in range(7)))
    metrics = [a for name in expected(x, y) for a in ("--metric", name)]
    for labels in ("labels", "all.npy", "lines.txt"):
        got, = scores(done, m, "--data", tmp_path / "data", "--labels", tmp_path / labels, *metrics)
        assert got == pytest.approx(expected(x, y), rel=1e-6)


def test_arrays_of_some_samples(noisy, done, tmp_path):
    """A limit leaves samples out, not their labels' places."""
    m, x, y = noisy
    for labels in ("labels", "all.npy"):
        got, = scores(done, m, "--data", tmp_path / "data", "--labels", tmp_path / labels, "--metric", "mse", "--limit", 3)
        assert got["mse"] == pytest.approx(expected(x[[0, 2, 4]], y[[0, 2, 4]])["mse"], rel=1e-6)


def test_against_input_and_first_model(noisy, done, tmp_path):
    m, x, _ = noisy
    half = [helper.make_node("Constant", [], ["h"], value_float=0.5), helper.make_node("Mul", ["x", "h"], ["y"])]
    halved = model(tmp_path / "half.onnx", ["y"], nodes=half)
    got = scores(done, m, halved, "--data", tmp_path / "data", "--metric", "mse", "--metric", "mse{to=input}",
                 "--metric", "cosine{output=y}")
    assert got[0] == {"mse": None, "mse{to=input}": 0, "cosine{output=y}": None}
    assert got[1] == pytest.approx({"mse": np.mean(x**2) / 4, "mse{to=input}": np.mean(x**2) / 4, "cosine{output=y}": 1})


def test_psnr_of_pictures(done, tmp_path, random):
    """Labels in uint8 say how large values can be; PNG files hold such."""
    from PIL import Image
    x = random.integers(0, 256, (4, 1, 6, 5)).astype(np.float32)
    labels = np.clip(x + random.integers(-9, 9, x.shape), 0, 255).astype(np.uint8)
    arrays(tmp_path / "data", x)
    (tmp_path / "labels").mkdir()
    for i, a in enumerate(labels):
        Image.fromarray(a[0]).save(tmp_path / "labels" / f"{i:03}.png")
    got, = scores(done, model(tmp_path / "m.onnx", ["y"]), "--data", tmp_path / "data", "--labels", tmp_path / "labels",
                  "--metric", "psnr")
    error = ((x - labels.astype(float))**2).mean((1, 2, 3))
    assert got["psnr"] == pytest.approx(np.mean(10 * np.log10(255**2 / error)), rel=1e-6)


# ---- pairs ----------------------------------------------------------------------------------------


def ranks(v):
    """Equal values have their mean rank."""
    v = np.asarray(v)
    return np.array([(v < x).sum() + ((v == x).sum() - 1) / 2 for x in v])


@pytest.mark.parametrize("form", ["names", "files"])
def test_spearman(form, done, tmp_path, random):
    u, v = random.normal(size=(2, 20, 1, 5)).astype(np.float32)
    wanted = random.integers(0, 5, 20) / 2
    arrays(tmp_path / "data", {f"{i:02}{c}": a for c, s in (("a", u), ("b", v)) for i, a in enumerate(s)})
    order = random.permutation(20)
    lines = [f"{i:02} {wanted[i]}" if form == "names" else f"{i:02}b.npy {i:02}a {wanted[i]}" for i in order]
    labels = tmp_path / ("data/labels.txt" if form == "names" else "pairs.txt")
    labels.write_text("\n".join(lines))
    given = ["--labels", labels] if form == "files" else []
    got, = scores(done, model(tmp_path / "m.onnx", ["y"]), "--data", tmp_path / "data", "--metric", "spearman",
                  "--metric", "spearman{ties=order}", *given)
    u, v, wanted = u[order, 0].astype(float), v[order, 0].astype(float), wanted[order]
    cosines = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    places = lambda x: np.argsort(np.argsort(x, kind="stable"), kind="stable")  # noqa: E731
    assert got["spearman"] == pytest.approx(np.corrcoef(ranks(cosines), ranks(wanted))[0, 1], abs=1e-9)
    assert got["spearman{ties=order}"] == pytest.approx(np.corrcoef(places(cosines), places(wanted))[0, 1], abs=1e-9)


# ---- trained models -------------------------------------------------------------------------------


def test_trained_models(shared, done):
    """The figures of score.py, which ranks equal scores as they come."""
    for dataset, folder, data, metric, name in (
            ("ad", "autoencoder_ad", "ad", "mse{to=input}", "MSE"), ("kws", "dscnn_kws", "kws/test", "top1", "top-1")):
        m = shared / "models" / folder / "model.onnx"
        said = subprocess.run([sys.executable, shared / "tools" / "score.py", dataset, m], capture_output=True, text=True,
                              check=True).stdout
        want = float(said.split(name)[1].split()[0])
        got = json.loads(done("evaluate", m, "--data", shared / "data" / data, "--metric", metric, "--json"))
        value = got["models"][0]["metrics"][metric] * (100 if metric == "top1" else 1)
        assert value == pytest.approx(want, abs=0.006)


# ---- what is refused ------------------------------------------------------------------------------


def test_usage(run):
    for text, said in (("spaerman", "there is no 'spaerman'; did you mean 'spearman'?"),
                       ("mse{too=input}", "mse has no option 'too'; did you mean 'to'?"),
                       ("mse{to=input", "wants its options as NAME{OPTION=VALUE,...}"),
                       ("mse{to}", "'to' in 'mse{to}' has no value"), ("map{foorm=1}", "did you mean 'form'?"),
                       ("nothing", "a program is given with its folder, as in ./score")):
        result = run("evaluate", "m.onnx", "--data", "x", "--metric", text)
        assert result.rc == 2 and said in result.stderr, result
    assert run("evaluate", "m.onnx", "--data", "x", "--metric", "mse", "--metric", "mse").rc == 2
