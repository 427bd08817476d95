"""What the command makes of samples, and what it says where they may not be those that are meant:
folders as classes, files of labels, few samples, damaged files, and one sample or several."""

import itertools
import json
import os
import shutil

import numpy as np
import onnx
import pytest
from conftest import TESTDATA, run_command
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

DIGITS = TESTDATA / "digits.onnx"
CALIBRATION, TEST = TESTDATA / "digits" / "calibration", TESTDATA / "digits" / "test"
FLOAT = TensorProto.FLOAT
FEW = "to calibrate with: the ranges may not suit others"
VERBS = ("evaluate", "calibrate", "quantize", "run")


def mends(what):
    """Marks a test that holds a mended fault."""
    return pytest.mark.mends(f"samples - {what}")


def command(verb, model, data, folder, *options):
    """The verb's arguments for these samples."""
    data = data if isinstance(data, list) else [data]
    if verb == "calibrate":
        return [verb, model, *data, "-o", folder / "out.qcal", *options]
    out = ["-o", folder / "out.onnx"] if verb == "quantize" else []
    return [verb, model, *(a for d in data for a in ("--data", d)), *out, *options]


def warnings(verb, model, data, folder, *options, rc=0):
    """The warnings of a command that must end so; that of few samples is left out."""
    result = run_command(*command(verb, model, data, folder, *options))
    assert result.rc == rc, result
    lines = result.stderr.splitlines()
    told = [line.removeprefix("qonnx: warning: ") for line in lines if line.startswith("qonnx: warning: ")]
    assert len(lines) == len(told) + bool(rc), lines
    assert len(set(told)) == len(told), "said twice"
    return [line for line in told if FEW not in line]


def scores(model, data, *options):
    """What evaluate makes of these samples."""
    return json.loads(run_command("evaluate", model, "--data", data, "--json", "-q", *options).stdout)


def digit(c, i=0):
    """A picture of a digit of class c."""
    return sorted((TEST / str(c)).iterdir())[i]


def as_array(path):
    return np.asarray(Image.open(path), np.float32)[None, None]


def flat(folder, classes=range(10), each=2, ending="png"):
    """A folder of pictures img_CI.png, or of arrays; gives it and the pictures' classes by stem."""
    folder.mkdir(exist_ok=True)
    made = {}
    for c, i in itertools.product(classes, range(each)):
        stem = f"img_{c}{i}"
        made[stem] = c
        if ending == "npy":
            np.save(folder / f"{stem}.npy", as_array(digit(c, i)))
        else:
            shutil.copy(digit(c, i), folder / f"{stem}.{ending}")
    return made


def labels(path, lines):
    path.write_text("".join(f"{name} {c}\n" for name, c in lines.items()))
    return path


def classes(folder, names, each=3):
    """Folders of these names; the k-th holds pictures of the digit k % 10."""
    for k, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            shutil.copy(digit(k % 10, i), folder / name)
    return folder


def classifier(folder, count, name="m.onnx", features=1):
    """A model whose largest output of [1,count] is the sample's value."""
    nodes = [helper.make_node("Sub", ["x", "k"], ["d"]), helper.make_node("Mul", ["d", "d"], ["s"]),
             helper.make_node("Neg", ["s"], ["y"])]
    k = numpy_helper.from_array(np.arange(count, dtype=np.float32)[None], "k")
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", FLOAT, [1, features])],
                              [helper.make_tensor_value_info("y", FLOAT, [1, count])], [k])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / name)
    return folder / name


def values(folder, of, each=1):
    """A class folder for each name; of maps it to the value of its samples."""
    for name, value in of.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            np.save(folder / name / f"{i}.npy", np.full((1, 1), value, np.float32))
    return folder


# ---- what is as it should be ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_good_samples_are_silent(verb, tmp_path):
    data = TEST if verb == "evaluate" else CALIBRATION
    result = run_command(*command(verb, DIGITS, data, tmp_path))
    assert result.rc == 0 and not result.stderr, result


# ---- folders -------------------------------------------------------------------------------------


@mends("numbers sort as text")
def test_numbered_folders_sort_by_number(tmp_path):
    model, count = classifier(tmp_path, 12), 12
    data = values(tmp_path / "data", {str(i): i for i in range(count)})
    assert scores(model, data)["models"][0]["top1"] == 1
    assert warnings("evaluate", model, data, tmp_path) == []
    printed = run_command("run", model, "--data", data).stdout
    assert [line for line in printed.splitlines() if line.startswith(str(data))] == [
        str(data / str(i) / "0.npy") for i in range(count)]


@mends("numbers sort as text")
def test_numbers_with_zeros_in_front(tmp_path):
    """All the same length or not, and more digits than any integer has."""
    data = values(tmp_path / "data", {f"{i:02}" if i % 2 else str(i): i for i in range(12)})
    assert scores(classifier(tmp_path, 12), data)["models"][0]["top1"] == 1
    data = values(tmp_path / "huge", {"9": 0, "1" + 30 * "0": 1, "2" + 30 * "0": 2})
    assert scores(classifier(tmp_path, 3), data)["models"][0]["top1"] == 1


@mends("folders not 0 to N-1")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("names", [range(1, 11), [0, 1, 3], [5, 6, 7], ["0", "1", "more"], ["1", "01", "2"]])
def test_folders_that_are_not_0_to_n(verb, names, tmp_path):
    data = classes(tmp_path / "data", map(str, names))
    said = warnings(verb, DIGITS, data, tmp_path)
    odd = [line for line in said if f"{data}: the class folders are not numbered 0 to {len(names) - 1}" in line]
    assert len(odd) == 1 and "labels.txt" in odd[0] and "rename" in odd[0], said


def test_folders_of_words_are_silent(tmp_path):
    data = values(tmp_path / "data", {"bird": 0, "cat": 1, "dog": 2})
    for verb in VERBS:
        assert warnings(verb, classifier(tmp_path, 3), data, tmp_path) == []


@mends("folders without samples")
def test_folder_without_samples(tmp_path):
    data = values(tmp_path / "data", {"bird": 1, "cat": 2})
    (data / "@meta").mkdir()
    said, = warnings("evaluate", classifier(tmp_path, 3), data, tmp_path)
    assert "1 folder holds no samples, and still counts as a class (the first: '@meta', class 0)" in said
    numbers = values(tmp_path / "numbers", {"0": 0, "2": 2, "10": 1})
    (numbers / "1").mkdir()  # a class of which there are no samples
    shutil.rmtree(numbers / "10")
    (numbers / "0notes").mkdir()
    said, = warnings("evaluate", classifier(tmp_path, 3), numbers, tmp_path)
    assert "the folder '0notes' holds no samples, and is no class" in said
    assert scores(classifier(tmp_path, 3), numbers)["models"][0]["top1"] == 1


@mends("another number of folders than classes")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("count", [9, 11])
def test_number_of_folders(verb, count, tmp_path):
    data = classes(tmp_path / "data", map(str, range(count)))
    said, *more = warnings(verb, DIGITS, data, tmp_path)
    assert f"{data}: has {count} class folders, the model's output 'scores' has 10 classes" in said
    assert len(more) == (verb == "evaluate" and count > 10), more


@mends("folders beside samples")
@pytest.mark.parametrize("verb", VERBS)
def test_folders_beside_pictures(verb, tmp_path):
    flat(tmp_path / "data", each=3)
    classes(tmp_path / "data", ["more", "and"])
    said, count = warnings(verb, DIGITS, tmp_path / "data", tmp_path)
    assert f"{tmp_path / 'data'}: folders are classes, and 30 samples stand beside them (the first: 'img_00.png')" in said
    assert "has 2 class folders" in count


@mends("folders beside samples")
def test_folders_in_class_folders(tmp_path):
    """What lies deeper belongs to the class."""
    data = classes(tmp_path / "data", map(str, range(10)))
    (data / "3" / "old" / "er").mkdir(parents=True)
    shutil.copy(digit(3, 5), data / "3" / "old" / "er" / "x.png")
    assert warnings("evaluate", DIGITS, data, tmp_path) == []
    assert scores(DIGITS, data)["labelled"] == 31 and scores(DIGITS, data)["models"][0]["top1"] == 1


@mends("folders beside samples")
def test_folders_beside_those_of_inputs(tmp_path):
    m = two_inputs(tmp_path, [1, 3], [1, 3])
    for folder in ("a", "b", "c"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        np.save(tmp_path / "data" / folder / "0.npy", np.ones((1, 3), np.float32))
    said, = warnings("run", m, tmp_path / "data", tmp_path)
    assert "1 folder is left out (the first: 'c')" in said and "input" in said


@mends("folders beside samples")
def test_files_beside_a_set_of_inputs(tmp_path):
    """input_0.pb makes the directory one sample, whatever else it holds."""
    m, data = classifier(tmp_path, 3), tmp_path / "data"
    data.mkdir()
    t = numpy_helper.from_array(np.ones((1, 1), np.float32))
    for name in ("input_0.pb", "output_0.pb"):
        (data / name).write_bytes(t.SerializeToString())
    assert warnings("evaluate", m, data, tmp_path) == []
    np.save(data / "more.npy", np.ones((1, 1), np.float32))
    said, = warnings("evaluate", m, data, tmp_path)
    assert "is one sample (input_0.pb)" in said and "'more.npy'" in said


@mends("files of kinds that are not read")
@pytest.mark.parametrize("verb", VERBS)
def test_pictures_of_other_kinds_are_named(verb, tmp_path):
    flat(tmp_path / "data", each=3)
    for name in ("a.avif", "b.GIF", "readme.txt"):
        (tmp_path / "data" / name).write_bytes(b"x")
    said, = warnings(verb, DIGITS, tmp_path / "data", tmp_path)
    assert "skipped 1 .avif, 1 .gif, 1 .txt: " in said and "'a.avif'" in said and ".png" in said


@mends("files of several kinds")
@pytest.mark.parametrize("verb", VERBS)
def test_arrays_beside_pictures(verb, tmp_path):
    flat(tmp_path / "data", each=3)
    flat(tmp_path / "data", each=1, ending="npy")
    said, = warnings(verb, DIGITS, tmp_path / "data", tmp_path)
    assert "holds 10 .npy, 30 pictures, and all are taken as samples" in said


# ---- labels --------------------------------------------------------------------------------------


@mends("labels.txt in DATA is not found")
def test_labels_in_the_directory_are_found(tmp_path):
    data = tmp_path / "data"
    made = flat(data)
    labels(data / "labels.txt", {f"{stem}.png": c for stem, c in made.items()})
    found = scores(DIGITS, data)
    assert found["labelled"] == len(made) and found["models"][0]["top1"] == 1
    assert warnings("evaluate", DIGITS, data, tmp_path) == []
    other = labels(tmp_path / "other.txt", {f"{stem}.png": (c + 1) % 10 for stem, c in made.items()})
    assert scores(DIGITS, data, "--labels", other)["models"][0]["top1"] == 0
    assert scores(DIGITS, f"{onnx.load(DIGITS).graph.input[0].name}={data}")["labelled"] == len(made)


@mends("labels.txt in DATA is not found")
def test_labels_of_inputs_in_folders(tmp_path):
    m = two_inputs(tmp_path, [1, 3], [1, 3])
    for folder, i in itertools.product(("a", "b"), range(3)):
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / folder / f"{i}.npy", np.eye(3, dtype=np.float32)[i:i + 1])
    labels(tmp_path / "data" / "labels.txt", {f"{i}.jpg": i for i in range(3)})
    assert scores(m, tmp_path / "data")["models"][0]["top1"] == 1


@mends("labels.txt in DATA is not found")
def test_found_labels_and_folders(tmp_path):
    """Folders that are no classes: the file counts, and that is said."""
    m = classifier(tmp_path, 3)
    data = values(tmp_path / "data", {"part1": 2, "part2": 0})
    labels(data / "labels.txt", {"part1/0.npy": 2, "part2/0": 0})
    said, = warnings("evaluate", m, data, tmp_path)
    assert "gives 2 of 2 files another class than their folder does, and counts" in said
    assert scores(m, data)["models"][0]["top1"] == 1
    for verb in VERBS[1:]:
        assert warnings(verb, m, data, tmp_path) == []


@mends("labels.txt in DATA is not found")
@pytest.mark.parametrize("text, why", [("tench\ngoldfish, carp\n", "line 1 is 'tench', want 'FILE CLASS'"),
                                       ("cat 0\ndog 1\n", "names none of the samples"), ("", "empty")])
def test_found_file_of_another_use(text, why, tmp_path):
    flat(tmp_path / "data", each=3)
    (tmp_path / "data" / "labels.txt").write_text(text)
    said, = warnings("evaluate", DIGITS, tmp_path / "data", tmp_path)
    assert why in said and said.endswith("; the file is not used")


@mends("labels match by whole name only")
@pytest.mark.parametrize("ending", [".jpg", ".JPEG", "", ".png", ".tar.gz"])
@pytest.mark.parametrize("kind", ["png", "npy"])
def test_labels_match_by_stem(ending, kind, tmp_path):
    made = flat(tmp_path / "data", ending=kind)
    file = labels(tmp_path / "l.txt", {f"{stem}{ending}": c for stem, c in made.items()})
    matched = scores(DIGITS, tmp_path / "data", "--labels", file) if ending != ".tar.gz" else None
    if matched:
        assert matched["labelled"] == len(made) and matched["models"][0]["top1"] == 1
    else:
        assert "names none of the samples" in run_command(
            "evaluate", DIGITS, "--data", tmp_path / "data", "--labels", file).stderr


@mends("labels match by whole name only")
def test_labels_that_may_mean_two(tmp_path):
    data = tmp_path / "data"
    made = flat(data, each=1)
    flat(data, each=1, ending="npy")
    file = labels(tmp_path / "l.txt", {f"{stem}.jpg": c for stem, c in made.items()})
    result = run_command("evaluate", DIGITS, "--data", data, "--labels", file)
    assert result.rc == 1 and "line 1 names 'img_00.jpg', which may be 'img_00.npy' or 'img_00.png'" in result.stderr
    # the whole name comes first, wherever it stands
    lines = {f"{stem}.npy": c for stem, c in made.items()} | {f"{stem}.jpg": c for stem, c in made.items()} | {
        f"{stem}.png": c for stem, c in made.items()}
    assert scores(DIGITS, data, "--labels", labels(file, lines))["models"][0]["top1"] == 1
    # what remains for a stem is one sample
    lines = {f"{stem}.jpg": c for stem, c in made.items()} | {f"{stem}.png": c for stem, c in made.items()}
    assert scores(DIGITS, data, "--labels", labels(file, lines))["labelled"] == 2 * len(made)


def test_two_labels_for_one_stem(tmp_path):
    flat(tmp_path / "data", ending="npy")
    file = tmp_path / "l.txt"
    file.write_text("img_00.npy 0\nimg_01.jpg 0\nimg_01.png 1\n")
    result = run_command("evaluate", DIGITS, "--data", tmp_path / "data", "--labels", file)
    assert result.rc == 1 and "line 3 gives 'img_01.npy' the class 1, an earlier one 0" in result.stderr


@mends("labels match by whole name only")
def test_labels_with_a_mark_and_a_path(tmp_path):
    """Editors put a byte order mark in front, and find a "./"."""
    made = flat(tmp_path / "data")
    text = "\ufeff" + "".join(f"./{stem}.png {c}\r\n" for stem, c in made.items())
    (tmp_path / "l.txt").write_text(text, encoding="utf-8")
    assert scores(DIGITS, tmp_path / "data", "--labels", tmp_path / "l.txt")["labelled"] == len(made)


@mends("labels without a sample")
def test_labels_without_a_sample(tmp_path):
    made = flat(tmp_path / "data")
    lines = {"gone.png": 1} | {f"{stem}.png": c for stem, c in made.items()} | {"lost.jpg": 2}
    file = labels(tmp_path / "l.txt", lines)
    said, = warnings("evaluate", DIGITS, tmp_path / "data", tmp_path, "--labels", file)
    assert f"{file}: 2 of {len(lines)} lines name no sample in {tmp_path / 'data'}; the first is line 1, " in said
    assert said.endswith("'gone.png'")


def test_samples_without_a_label(tmp_path):
    made = flat(tmp_path / "data")
    made.pop("img_00")
    file = labels(tmp_path / "l.txt", {f"{stem}.png": c for stem, c in made.items()})
    said, = warnings("evaluate", DIGITS, tmp_path / "data", tmp_path, "--labels", file)
    assert "gives a class to 19 of the 20 files" in said


@mends("warnings are said for each model")
def test_warnings_are_said_once(tmp_path):
    made = flat(tmp_path / "data")
    made.pop("img_00")
    file = labels(tmp_path / "l.txt", {f"{stem}.png": c for stem, c in made.items()})
    result = run_command("evaluate", DIGITS, DIGITS, "--data", tmp_path / "data", "--labels", file)
    assert result.rc == 0 and result.stderr.count("gives a class to 19 of the 20 files") == 1, result


@mends("class beyond the model's")
def test_class_beyond_the_models(tmp_path):
    made = flat(tmp_path / "data")
    file = labels(tmp_path / "l.txt", {f"{stem}.png": c + 1 for stem, c in made.items()})
    said, = warnings("evaluate", DIGITS, tmp_path / "data", tmp_path, "--labels", file)
    assert "2 samples have a class that the output does not have; no accuracy" in said
    assert "it has 10 classes, from 0 on, and the samples have one of 10" in said


@mends("labels for an output that is no vector")
def test_labels_for_an_output_without_classes(tmp_path):
    x = helper.make_tensor_value_info("x", FLOAT, [1, 1, 8, 8])
    y = helper.make_tensor_value_info("y", FLOAT, [1, 1, 8, 8])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(m, tmp_path / "m.onnx")
    made = flat(tmp_path / "data")
    file = labels(tmp_path / "l.txt", {f"{stem}.png": c for stem, c in made.items()})
    said, = warnings("evaluate", tmp_path / "m.onnx", tmp_path / "data", tmp_path, "--labels", file)
    assert "its output 'y' is no vector with a score for each class; no accuracy" in said


# ---- few, and all the same -------------------------------------------------------------------------


@mends("few samples")
@pytest.mark.parametrize("count", [1, 19, 20])
def test_few_samples(count, tmp_path):
    np.save(tmp_path / "x.npy", np.concatenate([as_array(digit(i % 10, i)) for i in range(count)]))
    for verb in ("calibrate", "quantize"):
        result = run_command(*command(verb, DIGITS, tmp_path / "x.npy", tmp_path))
        assert result.rc == 0 and (FEW in result.stderr) == (count < 20), result
        assert (f"only {count} sample" in result.stderr) == (count < 20) and result.stderr.count("\n") == (count < 20)
        assert not run_command(*command(verb, DIGITS, tmp_path / "x.npy", tmp_path, "-q")).stderr
    later = run_command("quantize", DIGITS, "--calibration", tmp_path / "out.qcal", "-o", tmp_path / "later.onnx")
    assert later.rc == 0 and (FEW in later.stderr) == (count < 20), later
    limited = run_command(*command("calibrate", DIGITS, CALIBRATION, tmp_path, "--limit", count))
    assert (FEW in limited.stderr) == (count < 20)


@mends("one class only")
@pytest.mark.parametrize("verb", ["evaluate", "calibrate", "quantize"])
def test_one_class_by_labels(verb, tmp_path):
    made = flat(tmp_path / "data", [7], 25)
    labels(tmp_path / "data" / "labels.txt", {f"{stem}.jpg": c for stem, c in made.items()})
    said, = warnings(verb, DIGITS, tmp_path / "data", tmp_path)
    assert "all 25 samples are of one class" in said


@mends("one class only")
def test_one_class_by_folder(tmp_path):
    said = warnings("evaluate", DIGITS, classes(tmp_path / "data", ["0"], 25), tmp_path)
    assert any("all 25 samples are of one class" in line for line in said), said


# ---- a model that guesses --------------------------------------------------------------------------


@mends("model at chance")
def test_wrong_scale_is_said(tmp_path):
    """A classifier of digits 0 to 1 is given pictures of 0 to 255."""
    tiny = onnx.load(DIGITS)
    x = tiny.graph.input[0].name
    tiny.graph.initializer.append(numpy_helper.from_array(np.float32(2550), "scale"))
    tiny.graph.initializer.append(numpy_helper.from_array(np.float32(-9000), "shift"))
    for node in tiny.graph.node:
        node.input[:] = ["shifted" if name == x else name for name in node.input]
    tiny.graph.node.insert(0, helper.make_node("Mul", [x, "scale"], ["scaled"]))
    tiny.graph.node.insert(1, helper.make_node("Add", ["scaled", "shift"], ["shifted"]))
    onnx.save(tiny, tmp_path / "m.onnx")
    assert scores(tmp_path / "m.onnx", TEST)["models"][0]["top1"] <= 0.2
    said, = warnings("evaluate", tmp_path / "m.onnx", TEST, tmp_path)
    assert "of 300 samples of 10 classes right, and guessing gets 10.00 %" in said
    assert "0 to 255" in said and "--preset" in said and "--labels" in said
    # the first model is asked alone, and -j says nothing else
    assert warnings("evaluate", DIGITS, TEST, tmp_path) == []
    result = run_command("evaluate", DIGITS, tmp_path / "m.onnx", "--data", TEST)
    assert result.rc == 0 and not result.stderr
    both = [run_command("evaluate", tmp_path / "m.onnx", DIGITS, "--data", TEST, "-j", n, "--json") for n in (1, 3)]
    assert both[0].stderr == both[1].stderr and both[0].stderr.count("guessing") == 1
    assert all(json.loads(r.stdout) for r in both)


@mends("model at chance")
@pytest.mark.parametrize("count, each, right, said", [(4, 13, 26, True), (4, 13, 27, False), (4, 12, 24, False),
                                                      (2, 30, 20, False), (3, 20, 40, True)])
def test_chance_is_at_most_2_of_n(count, each, right, said, tmp_path):
    """Exactly 2/classes is at chance, one more is not; nor are fewer than 50 samples or 3 classes."""
    data = values(tmp_path / "data", {str(c): c for c in range(count)}, each)
    files = sorted(data.glob("*/*.npy"))
    for path in files[:len(files) - right]:
        np.save(path, np.full((1, 1), (int(path.parent.name) + 1) % count, np.float32))
    model = classifier(tmp_path, count)
    assert scores(model, data)["models"][0]["top1"] == pytest.approx(right / len(files))
    assert bool(warnings("evaluate", model, data, tmp_path)) == said


# ---- damaged files ---------------------------------------------------------------------------------


def cut(path, keep):
    """Cuts a file short."""
    path.write_bytes(path.read_bytes()[:keep])


def tensor_file(path):
    path.write_bytes(numpy_helper.from_array(as_array(digit(1))).SerializeToString())


DAMAGE = {"cut in its data": ("npy", lambda p: cut(p, 200)), "cut in its header": ("npy", lambda p: cut(p, 40)),
          "empty": ("npy", lambda p: cut(p, 0)), "a web page": ("npy", lambda p: p.write_bytes(b"<html>404")),
          "pb cut": ("pb", lambda p: cut(p, 100)), "pb empty": ("pb", lambda p: cut(p, 0))}


@mends("damaged .npy ends the work")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("verb", ["calibrate", "quantize"])
def test_damaged_arrays_are_left_out(verb, damage, tmp_path):
    kind, spoil = DAMAGE[damage]
    data, good = tmp_path / "data", tmp_path / "good"
    for folder in (data, good):
        folder.mkdir()
        for i in range(100):
            if kind == "npy":
                np.save(folder / f"{i:03}.npy", as_array(digit(i % 10, i // 10)))
            else:
                (folder / f"{i:03}.pb").write_bytes(
                    numpy_helper.from_array(as_array(digit(i % 10, i // 10))).SerializeToString())
    bad = data / f"0300.{kind}"
    (np.save(bad, as_array(digit(1))) if kind == "npy" else tensor_file(bad))
    spoil(bad)
    told = warnings(verb, DIGITS, data, tmp_path)
    assert len(told) == 2 and str(bad) in told[0] and told[0].endswith("; it is left out"), told
    assert told[1].startswith("1 of 101 samples are damaged and left out") and "--max-bad" in told[1]
    out = tmp_path / ("out.qcal" if verb == "calibrate" else "out.onnx")
    with_damage = out.read_bytes()
    assert warnings(verb, DIGITS, good, tmp_path) == []
    assert out.read_bytes() == with_damage, "what is left out leaves a trace"
    cut(data / f"005.{kind}", 20)
    for n in (1, 3):
        result = run_command(*command(verb, DIGITS, data, tmp_path, "-j", n))
        assert result.rc == 1 and "more than 1 of 101 samples are damaged; the first: " in result.stderr, result
        assert str(data / f"005.{kind}") in result.stderr and "--max-bad PERCENT" in result.stderr
    assert len(warnings(verb, DIGITS, data, tmp_path, "--max-bad", 2)) == 3


@mends("message does not name --max-bad")
@pytest.mark.parametrize("kind", ["npy", "png"])
def test_damage_among_few_names_the_option(kind, tmp_path):
    data = tmp_path / "data"
    flat(data, ending=kind)
    cut(data / f"img_50.{kind}", 60)
    for n in (1, 4):
        result = run_command(*command("calibrate", DIGITS, data, tmp_path, "-j", n))
        assert result.rc == 1 and result.stderr.count("\n") == 1, result
        assert f"img_50.{kind}: " in result.stderr and "--max-bad PERCENT of all 20" in result.stderr
    assert len(warnings("calibrate", DIGITS, data, tmp_path, "--max-bad", 5)) == 2


@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_damaged_array_ends_other_verbs(verb, tmp_path):
    """At once, as before: nothing is printed of the samples before it."""
    flat(tmp_path / "data", ending="npy")
    cut(tmp_path / "data" / "img_91.npy", 200)
    result = run_command(*command(verb, DIGITS, tmp_path / "data", tmp_path))
    assert result.rc == 1 and "img_91.npy: has 72 bytes of data" in result.stderr and not result.stdout
    assert "--max-bad" not in result.stderr


@mends("damaged .npy ends the work")
def test_damaged_partner_counts_as_many(tmp_path):
    m = two_inputs(tmp_path, [1, 3], [1, 3])
    for name, i in itertools.product("ab", range(40)):
        (tmp_path / name).mkdir(exist_ok=True)
        np.save(tmp_path / name / f"{i:02}.npy", np.random.default_rng(i).random((3, 3), np.float32))
    cut(tmp_path / "b" / "07.npy", 130)
    data = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"]
    told = warnings("calibrate", m, data, tmp_path, "--max-bad", 5)
    assert told[-1].startswith("3 of 120 samples are damaged and left out")


def test_another_type_is_not_damage(tmp_path):
    flat(tmp_path / "data", each=11, ending="npy")
    np.save(tmp_path / "data" / "img_5.npy", np.array([{}], dtype=object))
    result = run_command(*command("calibrate", DIGITS, tmp_path / "data", tmp_path))
    assert result.rc == 1 and "holds Python objects" in result.stderr and "--max-bad" not in result.stderr


# ---- one sample or several -------------------------------------------------------------------------


def two_inputs(folder, a, b):
    """A model of the inputs a and b, whose shapes may be open: adds to a the mean of b's rows."""
    nodes = [helper.make_node("ReduceMean", ["b"], ["m"], axes=[0], keepdims=1),
             helper.make_node("Add", ["a", "m"], ["y"])]
    ports = [helper.make_tensor_value_info(n, FLOAT, s) for n, s in (("a", a), ("b", b))]
    graph = helper.make_graph(nodes, "g", ports, [helper.make_tensor_value_info("y", FLOAT, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "two.onnx")
    return folder / "two.onnx"


def state_model(folder):
    """A model of one input [T,576] with T open."""
    graph = helper.make_graph([helper.make_node("Relu", ["h"], ["y"])], "g",
                              [helper.make_tensor_value_info("h", FLOAT, ["T", 576])],
                              [helper.make_tensor_value_info("y", FLOAT, None)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "s.onnx")
    return folder / "s.onnx"


def noise(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@mends("[8,576] beside single states")
@pytest.mark.parametrize("verb", VERBS)
def test_rows_beside_single_states(verb, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for i in range(20):
        np.save(data / f"{i:02}.npy", noise(1, 576))
    assert warnings(verb, state_model(tmp_path), data, tmp_path) == []
    np.save(data / "05.npy", noise(8, 576))
    said, = warnings(verb, state_model(tmp_path), data, tmp_path)
    assert f"{data / '05.npy'}: counts as 8 samples, {data / '00.npy'} as one" in said
    assert "if [8,576] is one sample, save it with a batch axis in front: [1,8,576]" in said
    np.save(data / "05.npy", noise(8, 576)[None])  # does as the message says
    assert warnings(verb, state_model(tmp_path), data, tmp_path) == []
    if verb == "run":
        assert "y float[8,576]:" in run_command(*command(verb, state_model(tmp_path), data, tmp_path)).stdout


@mends("[8,576] beside single states")
def test_rows_beside_a_single_file(tmp_path):
    m = two_inputs(tmp_path, [1, 3], ["T", 3])
    np.save(tmp_path / "a.npy", noise(1, 3))
    np.save(tmp_path / "b.npy", noise(8, 3))
    data = [f"{n}={tmp_path / n}.npy" for n in "ab"]
    said, = warnings("run", m, data, tmp_path)
    assert "b.npy: counts as 8 samples" in said and "goes with each of them" in said and "[1,8,3]" in said
    np.save(tmp_path / "b.npy", noise(1, 8, 3))
    assert warnings("run", m, data, tmp_path) == []
    assert run_command(*command("run", m, data, tmp_path)).stdout.count(" y ") == 1


@mends("[8,576] beside single states")
@pytest.mark.parametrize("first", ["a", "b"])
def test_rows_beside_a_partner(first, tmp_path):
    shapes = {"a": [1, 3], "b": ["T", 3]} if first == "a" else {"b": [1, 3], "a": ["T", 3]}
    m = two_inputs(tmp_path, shapes["a"], shapes["b"])
    for n in "ab":
        (tmp_path / n).mkdir()
        np.save(tmp_path / n / "0.npy", noise(1, 3) if n == first else noise(8, 3))
    data = [f"{n}={tmp_path / n}" for n in "ab"]
    result = run_command(*command("run", m, data, tmp_path))
    assert result.rc == 1, result
    assert "if [8,3] is one sample, save it with a batch axis in front: [1,8,3]" in result.stderr


def test_rows_that_can_only_be_samples(tmp_path):
    """The model's batch is 1: there is nothing to mistake."""
    flat(tmp_path / "data", ending="npy")
    np.save(tmp_path / "data" / "more.npy", np.concatenate([as_array(digit(c)) for c in range(10)]))
    assert warnings("calibrate", DIGITS, tmp_path / "data", tmp_path) == []
    assert os.path.exists(tmp_path / "out.qcal")
