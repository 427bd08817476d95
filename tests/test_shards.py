"""Statistics of one set of samples are the same bytes however they were collected: by any number of
threads, at once or in shards that are merged in any order."""

import itertools
import json
import os
import subprocess

import numpy as np
import pytest
from bad_inputs.table import CALIBRATION, DIGITS
from conftest import COMMAND, run_command
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image


def branching(path, batch=1, seed=7):
    """A model whose branches each count: an If on the sign of the sum, and a Loop."""
    rng = np.random.default_rng(seed)
    weights = numpy_helper.from_array(rng.normal(size=(6, 6)).astype(np.float32), "w")

    def branch(name, op):
        made = helper.make_node("MatMul", [op, "w"], [name])
        return helper.make_graph([made], name + "_graph", [], [helper.make_tensor_value_info(name, 1, [batch, 6])])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("Neg", ["x"], ["minus"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch("a", "x"), else_branch=branch("b", "minus")),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes, "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 6])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, 6])],
        [weights, numpy_helper.from_array(np.float32(0), "zero")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Models with samples: NAME -> (model, samples)."""
    top = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(3)
    (top / "vectors").mkdir()
    for i in range(23):
        np.save(top / "vectors" / f"{i}.npy", rng.normal(size=(1, 6)).astype(np.float32))
    np.save(top / "rows.npy", rng.normal(size=(23, 6)).astype(np.float32))
    return {
        "pictures": (DIGITS, CALIBRATION),
        "branches": (branching(top / "branching.onnx"), top / "vectors"),
        "batches": (branching(top / "batches.onnx", 4), top / "rows.npy"),
    }


def calibrate(one, out, *options):
    """Statistics of a model and samples, as bytes."""
    model, samples = one
    result = run_command("calibrate", model, samples, "-q", "-o", out, *options)
    assert result.rc == 0, result.stderr
    return out.read_bytes()


def merge(paths, out, *options):
    result = run_command("merge", *paths, "-q", "-o", out, *options)
    assert result.rc == 0, result.stderr
    return out.read_bytes()


def shards(one, folder, count):
    """The files of all shards."""
    paths = [folder / f"shard{i}.qcal" for i in range(1, count + 1)]
    for i, path in enumerate(paths, 1):
        calibrate(one, path, "--shard", f"{i}/{count}", "-j", 1 + i % 3)
    return paths


@pytest.mark.parametrize("name", ["pictures", "branches", "batches"])
def test_three_shards_in_every_order(sets, tmp_path, name):
    """Where the model fixes a batch, shards keep together what fills it."""
    whole = calibrate(sets[name], tmp_path / "whole.qcal", "-j", "1")
    assert calibrate(sets[name], tmp_path / "threads.qcal", "-j", "5") == whole
    paths = shards(sets[name], tmp_path, 3)
    for order in itertools.permutations(paths):
        assert merge(order, tmp_path / "merged.qcal") == whole
    pair = merge(paths[:2], tmp_path / "pair.qcal")
    assert merge(paths[1::-1], tmp_path / "pair.qcal") == pair
    assert merge([tmp_path / "pair.qcal", paths[2]], tmp_path / "merged.qcal") == whole
    assert merge([paths[2], tmp_path / "pair.qcal"], tmp_path / "merged.qcal") == whole


def test_shards_of_a_list(sets, tmp_path):
    """Of names on standard input, in an order of their own."""
    whole = calibrate(sets["pictures"], tmp_path / "whole.qcal")
    names = "".join(f"{p}\n" for p in sorted(CALIBRATION.glob("*/*.png"), key=lambda p: p.name[::-1]))
    paths = [tmp_path / f"{i}.qcal" for i in (1, 2, 3)]
    for i, path in enumerate(paths, 1):
        subprocess.run([COMMAND, "calibrate", DIGITS, "@-", "-q", "-o", path, "--shard", f"{i}/3"], input=names,
                       text=True, check=True)
    assert merge(paths, tmp_path / "merged.qcal") == whole


def test_a_shard_in_shards(sets, tmp_path):
    """A shard that takes too long may be dealt out again."""
    whole = calibrate(sets["branches"], tmp_path / "whole.qcal")
    paths = [tmp_path / f"{i}.qcal" for i in range(3)]
    for path, shard in zip(paths, ["1/2", "2/4", "4/4"]):
        calibrate(sets["branches"], path, "--shard", shard)
    for order in itertools.permutations(paths):
        assert merge(order, tmp_path / "merged.qcal") == whole


def test_more_shards_than_samples(sets, tmp_path):
    whole = calibrate(sets["branches"], tmp_path / "whole.qcal")
    assert merge(shards(sets["branches"], tmp_path, 40), tmp_path / "merged.qcal") == whole
    model, samples = sets["branches"]
    empty = run_command("calibrate", model, samples, "-o", tmp_path / "x.qcal", "--shard", "40/40")
    assert empty.rc == 0 and "shard 40/40 has no samples: there are 23 in all" in empty.stderr


def test_quantize_merges(sets, tmp_path):
    calibrate(sets["pictures"], tmp_path / "whole.qcal")
    several = [f"--calibration={p}" for p in shards(sets["pictures"], tmp_path, 2)]
    for out, options in [("a.onnx", [f"--calibration={tmp_path}/whole.qcal"]), ("b.onnx", several)]:
        assert run_command("quantize", DIGITS, *options, "-o", tmp_path / out).rc == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    again = run_command("quantize", DIGITS, *several, several[0], "-o", tmp_path / "c.onnx")
    assert again.rc == 1 and "samples would count twice" in again.stderr
    assert run_command("quantize", DIGITS, *several, several[0], "--force", "-o", tmp_path / "c.onnx").rc == 0


def test_standard_output(sets, tmp_path):
    """Statistics to a pipe, the summary beside them."""
    whole = calibrate(sets["branches"], tmp_path / "whole.qcal")
    model, samples = sets["branches"]
    for arguments in [["calibrate", model, samples], ["merge", tmp_path / "whole.qcal"]]:
        with open(tmp_path / "piped.qcal", "wb") as out:
            done = subprocess.run([COMMAND, *arguments, "-o", "-"], stdout=out, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and "samples      23\n" in done.stderr
        assert (tmp_path / "piped.qcal").read_bytes() == whole
        refused = run_command(*arguments, "-o", "-", "--json")
        assert refused.rc == 2 and "standard output" in refused.stderr
        terminal, other = os.openpty()
        done = subprocess.run([COMMAND, *arguments, "-o", "-"], stdout=other, stderr=subprocess.PIPE, text=True)
        os.close(other)
        assert done.returncode == 2 and "terminal, and statistics are no text; give a file, or send them to one: -o - >M.qcal" in done.stderr
        with pytest.raises(OSError):  # nothing was written
            os.read(terminal, 1)
        os.close(terminal)


def test_json(sets, tmp_path):
    paths = shards(sets["branches"], tmp_path, 2)
    result = run_command("merge", *paths, "-o", tmp_path / "m.qcal", "--json")
    said = json.loads(result.stdout)
    assert said["samples"] == 23 and said["files"] == 2 and said["bytes"] == (tmp_path / "m.qcal").stat().st_size


# ---- what does not belong together --------------------------------------------------------------


def test_refused(sets, tmp_path):
    one = sets["branches"]
    files = {
        "a": (one, ["--shard", "1/2"]),
        "portable": (one, ["--shard", "2/2", "--engine", "portable"]),
        "passes": (one, ["--pass", "fold-constants"]),
        "whole": (one, []),
        "model": ((branching(tmp_path / "other.onnx", seed=8), one[1]), []),
        "digits": (sets["pictures"], []),
    }
    for name, (what, options) in files.items():
        calibrate(what, tmp_path / f"{name}.qcal", *options)
    for pair, message, forced in [
        ("a portable", "a.qcal and {}/portable.qcal: were taken by different engines ('", 0),
        ("a passes", "were taken behind different passes ('", 0),
        ("a model", "were taken on different models; calibrate the same model for each", 0),
        ("a digits", "were taken on different models", 1),
        ("a a", "a.qcal: holds shard 1/2 of a list of samples, and", 0),
        ("whole whole", "whole.qcal: holds the same samples as", 0),
        ("whole a whole", "whole.qcal: holds the same samples as", 0),
    ]:
        paths = [tmp_path / f"{name}.qcal" for name in pair.split()]
        result = run_command("merge", *paths, "-o", tmp_path / "m.qcal")
        assert result.rc == 1 and message.format(tmp_path) in result.stderr, (pair, result.stderr)
        assert "--force" in result.stderr and not (tmp_path / "m.qcal").exists()
        result = run_command("merge", *paths, "-o", tmp_path / "forced.qcal", "--force")
        assert result.rc == forced and "merged all the same" in result.stderr, (pair, result.stderr)


def test_an_input_is_not_replaced(sets, tmp_path):
    paths = shards(sets["branches"], tmp_path, 2)
    before = paths[0].read_bytes()
    result = run_command("merge", *paths, "-o", paths[0])
    assert result.rc == 1 and "is an input as well" in result.stderr and paths[0].read_bytes() == before


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "/2", "1/", "1/2/3", "a/b", "-1/2", "1/20000", ""])
def test_what_is_no_shard(tmp_path, text):
    result = run_command("calibrate", DIGITS, CALIBRATION, "-o", tmp_path / "m.qcal", f"--shard={text}")
    assert result.rc == 2 and f"option '--shard' wants I/N, not '{text}'" in result.stderr


# ---- inspect ------------------------------------------------------------------------------------


def pixels_of():
    """All pixels of the bundled model's samples."""
    return np.concatenate([np.asarray(Image.open(p)).ravel() for p in sorted(CALIBRATION.glob("*/*.png"))])


def test_inspect(sets, tmp_path):
    calibrate(sets["pictures"], tmp_path / "m.qcal")
    said = json.loads(run_command("inspect", tmp_path / "m.qcal", "--json").stdout)
    assert said["samples"] == 100 and said["partial"] == [] and len(said["data"]) == 32
    image = next(a for a in said["activations"] if a["name"] == "image")
    pixels = pixels_of().astype(np.float64)
    assert image["values"] == pixels.size and image["zero"] == (pixels == 0).sum()
    assert image["min"] == pixels.min() and image["max"] == pixels.max() and image["channels"] == 1
    assert abs(image["mean"] - pixels.mean()) < 1e-6
    assert sum(image["histogram"]) == pixels.size and len(image["histogram"]) == 24
    want, edges = np.histogram(pixels, bins=24, range=(pixels.min(), pixels.max()))
    near = np.abs(pixels[:, None] - edges[None, 1:-1]).min(axis=1) <= pixels / 256  # bins have a width
    assert near.mean() < 0.25 and np.abs(np.array(image["histogram"]) - want).sum() <= 2 * near.sum()
    lines = run_command("inspect", tmp_path / "m.qcal").stdout.splitlines()
    line = next(text for text in lines if text.startswith("  image "))
    share = 100 * (pixels == 0).mean()
    assert line.split()[1:6] == ["0", "255", f"{pixels.mean():.5g}", f"{share:.1f}", "%"]
    assert line.count("|") == 2 and len(line.split("|")[1]) == 24 and line.split("|")[1][0] == "@"


def test_inspect_shards(sets, tmp_path):
    paths = shards(sets["branches"], tmp_path, 3)
    merge(paths[:2], tmp_path / "two.qcal")
    said = json.loads(run_command("inspect", tmp_path / "two.qcal", "--json").stdout)
    [partial] = said["partial"]
    assert partial["shards"] == ["1/3", "2/3"] and partial["parts"] == 23 and partial["seen"] == 16
    text = run_command("inspect", tmp_path / "two.qcal").stdout
    assert f"shards       1/3, 2/3 of the list {partial['list'][:8]}: 16 of 23 parts\n" in text
    assert "in y>then_branch" in text
    warned = run_command("quantize", sets["branches"][0], "--calibration", tmp_path / "two.qcal", "-o", tmp_path / "q.onnx")
    assert warned.rc == 0 and "two.qcal: 16 of 23 parts of a list of samples are in it" in warned.stderr
