"""Where samples come from: directories in all their forms, lists, links, several paths, arrays and archives of them."""

import io
import itertools
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import time
import warnings
import zipfile
import zlib

import numpy as np
import onnx
import pytest
from conftest import COMMAND, run_command
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

FLOAT = TensorProto.FLOAT


def identity(folder, inputs, name="m.onnx"):
    """A model that gives its inputs, {NAME: SHAPE} or {NAME: (SHAPE, TYPE)}, back as y_NAME."""
    typed = {k: v if isinstance(v, tuple) else (v, FLOAT) for k, v in inputs.items()}
    nodes = [helper.make_node("Identity", [k], [f"y_{k}"]) for k in typed]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(k, t, s) for k, (s, t) in typed.items()],
                              [helper.make_tensor_value_info(f"y_{k}", t, None) for k, (s, t) in typed.items()])
    folder.mkdir(exist_ok=True, parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / name)
    return folder / name


def samples(model, *data, options=(), cwd=None, stdin=None, rc=0):
    """What the model gives for each sample, a list of outputs; and what was said."""
    out = model.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    args = [COMMAND, "run", model, *(a for d in data for a in ("--data", d)), "-o", out, *options]
    done = subprocess.run(args, cwd=cwd, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == rc, done.stderr.decode()
    said = done.stderr.decode()
    if rc:
        return said
    count = int(re.search(r"outputs of (\d+) samples", done.stdout.decode())[1])
    outputs = [[f] if f.is_file() else sorted(f.iterdir()) for f in sorted(out.iterdir())]
    assert all(len(files) == count for files in outputs)
    return [[np.load(f) for f in sample] for sample in zip(*outputs, strict=True)], said


def numbers(model, *data, **more):
    """The same of samples of one number each, without a word said."""
    made, said = samples(model, *data, **more)
    assert not said, said
    return [int(x.flat[0]) for x, in made]


def put(path, value, shape=(1, 1)):
    """A sample of that number, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full(shape, value, np.float32)
    if path.suffix == ".pb":
        path.write_bytes(numpy_helper.from_array(array).SerializeToString())
    else:
        np.save(path, array)
    return path


def calibrate(model, *args, stdin=None):
    """Calibrates; what was said."""
    done = subprocess.run([COMMAND, "calibrate", model, *args], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def classes(model, *data):
    """The classes of the samples: evaluate tells those that are right, one label at a time."""
    result = run_command("evaluate", model, *(a for d in data for a in ("--data", d)), "--json", "-q")
    assert result.rc == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def one(tmp_path):
    return identity(tmp_path / "model", {"x": [1, 1]})


@pytest.fixture
def two(tmp_path):
    return identity(tmp_path / "model", {"ids": [1, 1], "mask": [1, 1]})


# ---- directories -----------------------------------------------------------------------------------


def test_deep_folders(one, tmp_path):
    """Sorted by the folder of the first level, then by name; files beside folders first."""
    d = tmp_path / "d"
    for i, name in enumerate(["z.npy", "10/b/c/d.npy", "10/a.npy", "9/x/y.npy", "9/w.npy"]):
        put(d / name, i)
    made, said = samples(one, d)
    assert [int(x.flat[0]) for x, in made] == [0, 4, 3, 2, 1]
    assert "folders are classes, and 1 sample stands beside them (the first: 'z.npy')" in said


def test_test_data_sets_come_first(one, tmp_path):
    d = tmp_path / "d"
    put(d / "test_data_set_0" / "input_0.pb", 1)
    put(d / "test_data_set_1" / "input_0.pb", 2)
    put(d / "x" / "a.npy", 3)
    made, said = samples(one, d)
    assert [int(x.flat[0]) for x, in made] == [1, 2] and "1 folder is left out (the first: 'x')" in said


@pytest.mark.parametrize("names", [("ids", "mask"), ("input_0", "input_1")])
def test_a_folder_for_every_input(two, tmp_path, names):
    for k, (name, i) in enumerate(itertools.product(names, range(3))):
        put(tmp_path / "d" / name / "deep" / f"{i}.npy", k)
    made, said = samples(two, tmp_path / "d")
    assert not said and [[int(x.flat[0]) for x in pair] for pair in made] == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("names", [("ids", "mask"), ("input_0", "input_1")])
def test_a_folder_for_every_sample(two, tmp_path, names):
    for k, (sample, name) in enumerate(itertools.product(("s1", "s10", "s2"), names)):
        put(tmp_path / "d" / sample / f"{name}{'.pb' if k % 2 else '.npy'}", k)
    made, said = samples(two, tmp_path / "d")
    assert not said and [[int(x.flat[0]) for x in pair] for pair in made] == [[0, 1], [2, 3], [4, 5]]
    made, _ = samples(two, tmp_path / "d" / "s10")
    assert [int(x.flat[0]) for x in made[0]] == [2, 3]
    os.remove(next((tmp_path / "d" / "s2").glob(f"{names[1]}.*")))
    assert "s2: has no file for the model's input 'mask', as the other folders have" in samples(
        two, tmp_path / "d", rc=1)


def test_a_folder_for_every_sample_of_one_input(one, tmp_path):
    for i in range(3):
        put(tmp_path / "d" / f"{i}" / "x.npy", i)
    assert numbers(one, tmp_path / "d") == [0, 1, 2]


def test_hidden_files_and_names_of_any_kind(one, tmp_path):
    d = tmp_path / "d"
    for i, name in enumerate([".a.npy", "@b.npy", "a b.NPY", "c,1.npy", "d\n.npy"]):
        put(d / name, i) if name != "a b.NPY" else shutil.copy(put(tmp_path / "t.npy", i), d / name)
    assert numbers(one, d) == [1, 2, 3, 4]


# ---- links -----------------------------------------------------------------------------------------


def test_links(one, tmp_path):
    """A file's link is the file; a folder's is followed once, behind what stands there itself."""
    d = tmp_path / "d"
    put(d / "c" / "1.npy", 1)
    put(tmp_path / "other" / "2.npy", 2)
    (d / "a").symlink_to("c")
    (d / "b").symlink_to("../other")
    (d / "c" / "z.npy").symlink_to("1.npy")
    made, said = samples(one, d)
    assert [int(x.flat[0]) for x, in made] == [2, 1, 1]
    assert "1 link leads to a folder that is read already, and is not followed (the first: 'a')" in said


@pytest.mark.parametrize("where, to", [("loop", "."), ("c/loop", ".."), ("c/e/loop", "../../c"), ("loop", "../d")])
def test_loops_of_links(one, tmp_path, where, to):
    d = tmp_path / "d"
    put(d / "c" / "e" / "1.npy", 1)
    (d / where).symlink_to(to)
    assert f"d/{where}: this link leads back to a folder that it stands in" in samples(one, d, rc=1)


def test_link_to_a_folder_around(one, tmp_path):
    """No loop: what is read already is not read again."""
    put(tmp_path / "all" / "d" / "1.npy", 1)
    put(tmp_path / "all" / "2.npy", 2)
    (tmp_path / "all" / "d" / "up").symlink_to("..")
    (tmp_path / "out").symlink_to("all/d")
    made, said = samples(one, tmp_path / "out")
    assert [int(x.flat[0]) for x, in made] == [1, 2] and "stand" in said


# ---- lists -----------------------------------------------------------------------------------------


LIST = "\ufeff# a list\r\n\r\n b.npy 3\r\na.npy\t0\n  \nsub/c d.npy , 12\n{}/e.npy,7\n sub/f,1.npy\nnotes.txt 1\na.npy"


def listed(folder):
    for i, name in enumerate(["a.npy", "b.npy", "sub/c d.npy", "e.npy", "sub/f,1.npy"]):
        put(folder / name, i)
    (folder / "list.txt").write_text(LIST.format(folder), encoding="utf-8")
    return folder / "list.txt"


def test_list(one, tmp_path):
    file = listed(tmp_path / "d")
    assert numbers(one, f"@{file}") == [1, 0, 2, 3, 4, 0]
    assert "skipped 1 .txt" in samples(one, f"@{file}", options=["-v"])[1]
    assert numbers(one, "@list.txt", cwd=file.parent) == [1, 0, 2, 3, 4, 0]
    assert numbers(one, f"x=@{file}") == [1, 0, 2, 3, 4, 0]


@pytest.mark.parametrize("how", ["pipe", "file"])
def test_list_on_standard_input(one, tmp_path, how):
    """Relative to the current folder; read for each of two models."""
    file = listed(tmp_path / "d")
    if how == "pipe":
        assert numbers(one, "@-", cwd=file.parent, stdin=file.read_bytes()) == [1, 0, 2, 3, 4, 0]
    else:
        with open(file, "rb") as f:
            done = subprocess.run([COMMAND, "evaluate", one, one, "--data", "@-", "--json"], cwd=file.parent, stdin=f,
                                  capture_output=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["samples"] == 6


def test_classes_of_a_list(tmp_path):
    """A path, and a class, of which some have none."""
    k = numpy_helper.from_array(np.arange(4, dtype=np.float32)[None], "k")
    nodes = [helper.make_node("Sub", ["x", "k"], ["d"]), helper.make_node("Mul", ["d", "d"], ["s"]),
             helper.make_node("Neg", ["s"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 1])],
                              [helper.make_tensor_value_info("y", FLOAT, [1, 4])], [k])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    for i in range(4):
        put(tmp_path / f"{i}.npy", i)
    (tmp_path / "l.txt").write_text("0.npy 0\n1.npy,1\n2.npy\t2\n3.npy 1\n")
    found = classes(tmp_path / "m.onnx", f"@{tmp_path / 'l.txt'}")
    assert found["labelled"] == 4 and found["models"][0]["top1"] == 0.75
    (tmp_path / "l.txt").write_text("0.npy 0\n1.npy\n")
    assert classes(tmp_path / "m.onnx", f"@{tmp_path / 'l.txt'}")["labelled"] == 1


def test_lists_go_together_by_line(two, tmp_path):
    for i in range(4):
        put(tmp_path / f"{i}.npy", i)
    (tmp_path / "a").write_text("0.npy\n1.npy\n")
    (tmp_path / "b").write_text("2.npy\n3.npy\n")
    made, _ = samples(two, f"ids=@{tmp_path / 'a'}", f"mask=@{tmp_path / 'b'}")
    assert [[int(x.flat[0]) for x in pair] for pair in made] == [[0, 2], [1, 3]]
    (tmp_path / "b").write_text("2.npy\n3.npy\n1.npy\n")
    assert "1.npy: has no partner in" in samples(two, f"ids=@{tmp_path / 'a'}", f"mask=@{tmp_path / 'b'}", rc=1)
    assert "the model has 2 inputs (ids, mask); give NAME=FILE" in samples(two, f"@{tmp_path / 'a'}", rc=1)


@pytest.mark.parametrize("text, message", [
    (b"", "the file is empty"), (b"# nothing\n\n", "names no samples; want a line for each: a path to one of .npy, "),
    (b"a.txt\n", "names no samples"), (b"a.npy\nb\0.npy\n", "line 2 holds a byte of 0"),
    (b"x" * 5000 + b".npy", "line 1 has 5004 bytes"), (b"a.npy 99999999999", "line 1 has a class beyond"),
    (b"a.npy 9999999999999999999999", "line 1 has a class beyond"), (b"gone.npy", "gone.npy: no such file")])
def test_bad_lists(one, tmp_path, text, message):
    (tmp_path / "l.txt").write_bytes(text)
    assert message in samples(one, f"@{tmp_path / 'l.txt'}", rc=1)
    assert message.replace("file is", "") [:20] in samples(one, "@-", stdin=text, rc=1) or not text


def test_missing_list(one, tmp_path):
    (tmp_path / "list.txt").write_text("")
    assert "lists.txt: no such file; did you mean 'list.txt'?" in samples(one, f"@{tmp_path}/lists.txt", rc=1)
    assert "is a directory" in samples(one, f"@{tmp_path}", rc=1)


def test_files_that_are_gone_count_as_damaged(one, tmp_path):
    for i in range(200):
        put(tmp_path / f"{i}.npy", i)
    text = "".join(f"{tmp_path / str(i)}.npy\n" for i in range(200))
    assert not calibrate(one, "@-", "-o", tmp_path / "a.qcal", stdin=text)
    os.remove(tmp_path / "7.npy")
    said = calibrate(one, "@-", "-o", tmp_path / "b.qcal", stdin=text)
    assert "7.npy: no such file" in said and "1 of 200 samples are damaged and left out" in said


# ---- several paths ---------------------------------------------------------------------------------


def test_several_paths(one, tmp_path):
    """In the order in which they are given; classes of the same name are one."""
    for i, name in enumerate(["a/cat/1.npy", "b/ant/2.npy", "b/cat/3.npy", "c.npy", "readme.txt"]):
        put(tmp_path / name, i) if name.endswith("npy") else (tmp_path / name).write_text("x")
    (tmp_path / "l").write_text("c.npy 1\n")
    data = [tmp_path / "a", tmp_path / "b", tmp_path / "c.npy", tmp_path / "readme.txt", f"@{tmp_path / 'l'}"]
    made, said = samples(one, *data)
    assert [int(x.flat[0]) for x, in made] == [0, 1, 2, 3, 3] and "1 sample stands beside" in said
    operands = run_command("calibrate", one, *data[2:], "--data", data[0], "-o", tmp_path / "m.qcal", "--json")
    assert operands.rc == 0 and json.loads(operands.stdout)["samples"] == 3
    assert "no sample file, nor is one of the 1 behind it" in samples(one, data[3], data[3], rc=1)


def test_shell_pattern_without_a_model(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        Image.new("L", (2, 2)).save(tmp_path / name)
    result = run_command("calibrate", tmp_path / "a.jpg", tmp_path / "b.jpg", "-o", tmp_path / "m.qcal")
    assert result.rc == 1 and "a.jpg: this is no ONNX model but a picture; name the model first" in result.stderr
    missing = run_command("calibrate", tmp_path / "a.jpg", "-o", tmp_path / "m.qcal")
    assert missing.rc == 2 and "too few operands" in missing.stderr


def test_outputs_spare_what_lists_name(one, tmp_path):
    put(tmp_path / "d" / "a.npy", 1)
    (tmp_path / "l").write_text("d/a.npy\n")
    for out in ("d/a.npy", "l"):
        result = run_command("calibrate", one, f"@{tmp_path / 'l'}", "-o", tmp_path / out)
        assert result.rc == 1 and "is an input as well, a" in result.stderr, result
    assert np.load(tmp_path / "d" / "a.npy").size == 1
    put(tmp_path / "e" / "a.npy", 1)
    (tmp_path / "d" / "f").mkdir()
    (tmp_path / "e" / "link").symlink_to("../d/f")
    result = run_command("calibrate", one, tmp_path / "e", "-o", tmp_path / "d" / "f" / "m.npy")
    assert result.rc == 1 and "would be a sample for the next run" in result.stderr, result


# ---- some of them ----------------------------------------------------------------------------------


def choose(m, n, seed):
    """docs/data.md's."""
    state, taken = seed, []
    for i in range(m):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        if (z ^ z >> 31) * (m - i) >> 64 < n - len(taken):
            taken.append(i)
    return taken


@pytest.mark.parametrize("n, seed", [(1, 0), (10, 1), (99, 2), (50, 1000000000)])
def test_random(one, tmp_path, n, seed):
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.float32)[:, None])
    got = numbers(one, tmp_path / "a.npy", options=["--limit", str(n), "--random", str(seed)])
    assert got == choose(100, n, seed) and len(got) == n
    assert numbers(one, tmp_path / "a.npy", options=["--limit", str(n)]) == [i * 100 // n for i in range(n)]


def test_random_without_a_limit(one, tmp_path):
    put(tmp_path / "a.npy", 1)
    assert "--random chooses those of --limit" in samples(one, tmp_path / "a.npy", options=["--random", "1"])[1]


def test_order_does_not_matter(one, tmp_path):
    lines = [f"{put(tmp_path / f'{i}.npy', i * i % 17)}\n" for i in range(30)]
    made = []
    for k, order in enumerate((lines, lines[::-1], lines[7:] + lines[:7])):
        assert not calibrate(one, "@-", "-o", tmp_path / f"{k}.qcal", "-j", str(k + 1), stdin="".join(order))
        made.append((tmp_path / f"{k}.qcal").read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("count, most", [(60_000, 40), pytest.param(1_000_000, 300, marks=pytest.mark.skipif(
    not os.environ.get("QONNX_LONG"), reason="QONNX_LONG is not set"))])
def test_memory_of_names(tmp_path, count, most):
    """Of a whole calibration: 14 MB without a name, and about 130 bytes for each."""
    model = relu(tmp_path / "model")
    Image.new("L", (2, 2), 7).save(tmp_path / "a.png")
    (tmp_path / "l").write_text("\n".join(f"{tmp_path}/{'./' * (i % 20)}a.png" for i in range(count)))
    with open(tmp_path / "l") as f:
        assert peak(["calibrate", model, "@-", "-o", tmp_path / "m.qcal", "-q"], stdin=f) < most


def relu(folder):
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", FLOAT, [1, 1, 2, 2])],
                              [helper.make_tensor_value_info("y", FLOAT, None)])
    folder.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "r.onnx")
    return folder / "r.onnx"


# ---- arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, array, how, wanted", [
    (["T", 4], (8, 4), "shape", [(1, 4)] * 8), (["T", 4], (8, 4), "sample", [(8, 4)]),
    (["T", 4], (8, 4), "batch", [(1, 4)] * 8), ([8, 4], (8, 4), "batch", [(1, 4)] * 8), ([8, 4], (8, 4), "shape", [(8, 4)]),
    ([1, 4], (8, 4), "sample", None), ([1, 4], (4,), "batch", None), ([1, 4], (4,), "sample", [(1, 4)]),
    ([4], (8, 4), "batch", [(4,)] * 8), ([4], (4,), "batch", None), (["N"], (4,), "batch", [(1,)] * 4)])
def test_npy_of_samples_or_batches(tmp_path, shape, array, how, wanted):
    model = identity(tmp_path / "model", {"x": shape})
    x = np.arange(np.prod(array), dtype=np.float32).reshape(array)
    np.save(tmp_path / "a.npy", x)
    if not wanted:
        assert f"--npy {how}" in samples(model, tmp_path / "a.npy", options=["--npy", how], rc=1)
        return
    made, said = samples(model, tmp_path / "a.npy", options=["--npy", how])
    assert not said and [y.shape for y, in made] == wanted
    assert np.array_equal(np.concatenate([y.reshape(-1) for y, in made]), x.reshape(-1))


@pytest.mark.parametrize("shape, dtype, bytes_, wanted", [
    ([1, 2, 3], FLOAT, 24, (1, 2, 3)), ([1, 2, 3], FLOAT, 96, (1, 2, 3)), (["N", 3], FLOAT, 24, (1, 3)), ([4], FLOAT, 32, (4,)),
    ([2, 3], FLOAT, 48, (2, 3)), ([5], TensorProto.UINT8, 15, (5,)), ([1, 2], TensorProto.INT64, 32, (1, 2))])
def test_raw_files(tmp_path, shape, dtype, bytes_, wanted):
    model = identity(tmp_path / "model", {"x": (shape, dtype)})
    x = np.arange(bytes_ // helper.tensor_dtype_to_np_dtype(dtype).itemsize).astype(helper.tensor_dtype_to_np_dtype(dtype))
    x.tofile(tmp_path / "a.bin")
    made, said = samples(model, tmp_path / "a.bin")
    assert not said and np.array_equal(np.stack([y for y, in made]), x.reshape(-1, *wanted))


@pytest.mark.parametrize("shape, bytes_, message", [
    ([1, 2], 12, "has 12 bytes, the model's input 'x' wants 8 (float [1,2]), or a multiple"), ([1, 2], 7, "has 7 bytes"),
    ([1, 2], 0, "the file is empty"), ([1, "T"], 8, "needs an input of fixed sizes, the model's input 'x' is float [1,?]")])
def test_bad_raw_files(tmp_path, shape, bytes_, message):
    (tmp_path / "a.bin").write_bytes(bytes(bytes_))
    assert message in samples(identity(tmp_path / "model", {"x": shape}), tmp_path / "a.bin", rc=1)


def test_sparse_npy_of_10_gb(tmp_path):
    """One row is read; memory is that of a row."""
    model = identity(tmp_path / "model", {"x": [1, 1000]})
    rows = 2_500_000
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1000), }}".encode()
    with open(tmp_path / "a.npy", "wb") as f:
        f.write(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
        f.truncate(10 + len(header) + rows * 4000)
        f.seek(-4000, 2)
        f.write(np.arange(1000, dtype=np.float32).tobytes())
    made, _ = samples(model, tmp_path / "a.npy", options=["--limit", "3"])
    assert len(made) == 3 and not made[0][0].any()
    assert peak(["run", model, "--data", tmp_path / "a.npy", "--limit", "50", "-q"]) < 100


def peak(args, **more):
    """The most memory that the command held, in MB, up to a moment before its end."""
    done = subprocess.Popen([COMMAND, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
    most = 0
    while done.poll() is None:
        status = pathlib.Path(f"/proc/{done.pid}/status").read_text()
        most = max([most, *(int(kb) / 1024 for kb in re.findall(r"VmHWM:\s*(\d+)", status))])
        time.sleep(0.003)
    assert done.returncode == 0 and most, done.stderr.read()
    return most


# ---- archives --------------------------------------------------------------------------------------


SAVE = {"stored": np.savez, "deflated": np.savez_compressed}
RANDOM = np.random.default_rng(7)


@pytest.fixture
def rows(tmp_path):
    return identity(tmp_path / "model", {"x": [1, 6]})


@pytest.mark.parametrize("save", SAVE)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i1", "i4", ">i8", "b1"])
@pytest.mark.parametrize("order", "CF")
def test_npz_types(rows, tmp_path, save, dtype, order):
    """A batch under the input's name, as np.load reads it."""
    x = RANDOM.integers(0, 2, (5, 6)).astype(dtype, order=order)
    SAVE[save](tmp_path / "a.npz", x=x, other=np.zeros(3))
    made, said = samples(rows, tmp_path / "a.npz")
    assert not said and np.array_equal(np.concatenate([y for y, in made]), np.load(tmp_path / "a.npz")["x"].astype(np.float32))


@pytest.mark.parametrize("save", SAVE)
def test_npz_of_an_array_a_sample(rows, tmp_path, save):
    """arr_10 comes behind arr_9; an array may be a batch."""
    arrays = [RANDOM.random((1 + i % 3, 6), np.float32) for i in range(12)]
    SAVE[save](tmp_path / "a.npz", *arrays)
    made, _ = samples(rows, tmp_path / "a.npz", options=["-j", "3"])
    assert np.array_equal(np.concatenate([y for y, in made]), np.concatenate(arrays))
    limited, _ = samples(rows, tmp_path / "a.npz", options=["--limit", "4"])
    assert np.array_equal(np.concatenate([y for y, in limited]), np.concatenate(arrays)[[0, 6, 12, 18]])


@pytest.mark.parametrize("save", SAVE)
def test_npz_of_an_entry_an_input(two, tmp_path, save):
    (tmp_path / "d").mkdir()
    for i in range(3):
        SAVE[save](tmp_path / "d" / f"{i}.npz", mask=np.full((2, 1), 10 + i, "f4"), ids=np.full((2, 1), i, "f4"), z=np.zeros(1))
    pairs = [[i, 10 + i] for i in range(3) for _ in range(2)]
    (tmp_path / "l").write_text("".join(f"d/{i}.npz\n" for i in range(3)))
    for data in (tmp_path / "d", f"@{tmp_path / 'l'}"):
        made, said = samples(two, data)
        assert not said and [[int(x.flat[0]) for x in pair] for pair in made] == pairs
    assert len(samples(two, tmp_path / "d" / "1.npz")[0]) == 2
    np.savez(tmp_path / "d" / "1.npz", ids=np.zeros((2, 1), "f4"))
    assert "1.npz: holds no array 'mask' for the model's input" in samples(two, tmp_path / "d", rc=1)


def test_npz_of_large_rows(tmp_path):
    """Rows of more than a block, by several threads, every one of them and some."""
    model = identity(tmp_path / "model", {"x": [1, 50000]})
    x = RANDOM.integers(0, 9, (40, 50000)).astype("f4")
    for save in SAVE.values():
        save(tmp_path / "a.npz", x)
        made, _ = samples(model, tmp_path / "a.npz", options=["-j", "4"])
        assert np.array_equal(np.concatenate([y for y, in made]), x)


def archive(path, *entries, **more):
    """A zip archive of (name, bytes, method) entries by Python's own writer."""
    with zipfile.ZipFile(path, "w", **more) as z:
        for name, data, method in entries:
            z.writestr(name, data, method)
    return bytearray(path.read_bytes())


def npy(array, **more):
    f = io.BytesIO()
    np.save(f, array, **more)
    return f.getvalue()


GOOD = npy(np.arange(12, dtype="f4").reshape(2, 6))


def test_npz_by_other_writers(rows, tmp_path):
    """Streamed with sizes behind the data, zip64, a comment, entries that are no arrays, names without an ending."""
    z = io.BytesIO()

    class Pipe(io.RawIOBase):
        writable = lambda self: True
        write = lambda self, b: z.write(b)

    with zipfile.ZipFile(Pipe(), "w") as out:
        out.comment = b"PK\5\6 a comment"
        with out.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as f:
            f.write(GOOD)
        out.writestr("readme.txt", "not an array")
    (tmp_path / "a.npz").write_bytes(z.getvalue())
    assert len(samples(rows, tmp_path / "a.npz")[0]) == 2
    archive(tmp_path / "a.npz", ("d/no ending", GOOD, 0), ("t", b"text", 8), ("empty", b"", 8))
    assert len(samples(rows, tmp_path / "a.npz")[0]) == 2


def poke(data, signature, at, value, size=4):
    """Changes a number of the first header of that signature."""
    start = data.find(b"PK" + signature)
    data[start + at:start + at + size] = value.to_bytes(size, "little")


def broken(name):
    """The bytes of an archive with that fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.npz"
        method = 8 if "deflated" in name or "bomb" in name else 0
        data = archive(path, ("x.npy", GOOD, method), ("y.npy", GOOD, method))
        if name == "cut short":
            return data[:len(data) - 30]
        if name == "sizes, deflated":
            poke(data, b"\1\2", 24, len(GOOD) + 24)
        if name == "sizes, stored":
            poke(data, b"\1\2", 24, len(GOOD) + 24)
        if name == "bomb":
            poke(data, b"\1\2", 24, 0xfffffff0)
        if name == "beyond the end":
            poke(data, b"\1\2", 20, 0x00ffffff), poke(data, b"\1\2", 24, 0x00ffffff)
        if name == "overlap":
            poke(data, b"\1\2", 20, len(GOOD) + 40), poke(data, b"\1\2", 24, len(GOOD) + 40)
        if name == "another name":
            data[30:35] = b"z.npy"
        if name == "two of one name":
            with warnings.catch_warnings(action="ignore"):
                data = archive(path, ("x.npy", GOOD, 0), ("x.npy", GOOD, 0))
        if name == "no directory":
            poke(data, b"\5\6", 0, 0)
        if name == "directory elsewhere":
            poke(data, b"\5\6", 16, 7)
        if name == "more entries than there are":
            poke(data, b"\5\6", 10, 9, 2)
        if name == "sum, stored":
            data[30 + 5 + len(GOOD) - 3] ^= 1
        if name == "sum, deflated":
            poke(data, b"\1\2", 16, 1)
        if name == "no data, deflated":
            data[35:45] = b"\xff" * 10
        if name == "header longer":
            data = archive(path, ("x.npy", GOOD[:8] + b"\xff\xff" + GOOD[10:], 0))
        if name == "shape larger":
            data = archive(path, ("x.npy", GOOD.replace(b"(2, 6)", b"(9, 6)"), 0))
        return data


@pytest.mark.parametrize("name, message", [
    ("cut short", "no directory"), ("sizes, deflated", "less than|its shape needs"), ("sizes, stored", "sizes are not possible"),
    ("bomb", "sizes are not possible"), ("beyond the end", "does not lie inside"), ("overlap", "entries overlap"),
    ("another name", "another name"), ("two of one name", "one name"), ("no directory", "no directory"),
    ("directory elsewhere", "directory"), ("more entries than there are", "directory"), ("sum, stored", "CRC-32"),
    ("sum, deflated", "CRC-32"), ("no data, deflated", "is no data"), ("header longer", "is it complete"), ("shape larger", "its shape needs")])
def test_damaged_npz(rows, tmp_path, name, message):
    """Named when it is all there is; left out, and counted, among a hundred others."""
    (tmp_path / "a.npz").write_bytes(broken(name))
    said = samples(rows, tmp_path / "a.npz", rc=1)
    assert re.search(message, said) and "a.npz" in said and said.count("\n") == 1, said
    d = tmp_path / "d"
    d.mkdir()
    for i in range(150):
        np.savez(d / f"{i:03}.npz", x=RANDOM.random((2, 6), np.float32))
    assert not calibrate(rows, d, "-o", tmp_path / "good.qcal")
    shutil.copy(tmp_path / "a.npz", d / "bad.npz")
    said = calibrate(rows, d, "-o", tmp_path / "bad.qcal")
    assert re.search(message, said) and re.search("[12] of 30[12] samples are damaged and left out", said), said


@pytest.mark.parametrize("name, message", [
    ("objects", r"\(x.npy\): holds Python objects"), ("bzip2", r"\(x.npy\): is packed by method 12"), ("lzma", "by method 14"),
    ("encrypted", "is encrypted"), ("nothing", "holds no arrays"), ("data in front", "is no archive"), ("shape", r"shape is \[2,5\]")])
def test_npz_that_is_not_read(rows, tmp_path, name, message):
    path = tmp_path / "a.npz"
    if name == "objects":
        archive(path, ("x.npy", npy(np.array([{}], dtype=object), allow_pickle=True), 0))
    if name in ("bzip2", "lzma"):
        archive(path, ("x.npy", GOOD, 12 if name == "bzip2" else 14))
    if name == "encrypted":
        data = archive(path, ("x.npy", GOOD, 0))
        poke(data, b"\1\2", 8, 1, 2)
        path.write_bytes(data)
    if name == "nothing":
        archive(path, ("readme", b"text", 0))
    if name == "data in front":
        path.write_bytes(b"#!/bin/sh\n" + archive(path, ("x.npy", GOOD, 0)))
    if name == "shape":
        np.savez(path, x=np.zeros((2, 5), "f4"))
    assert re.search(message, samples(rows, path, rc=1))


def test_npz_bomb(tmp_path):
    """An array of 300 MB in 300 KB, for an input of any shape: memory is that of one row."""
    model = identity(tmp_path / "model", {"x": ["N", "T"]})
    header = npy(np.zeros((1, 1), "f4"))[:128].replace(b"(1, 1)", b"(75000, 1000)")[:128]
    header = header[:127] + b"\n"
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    zeros, crc = bytes(1 << 20), zlib.crc32(header)
    packed = packer.compress(header)
    left = 300_000_000
    while left:
        part = zeros[:min(left, len(zeros))]
        packed += packer.compress(part)
        crc = zlib.crc32(part, crc)
        left -= len(part)
    packed += packer.flush()
    size = 128 + 300_000_000
    fixed = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, crc, len(packed), size)
    local = b"PK\3\4" + fixed + struct.pack("<HH", 5, 0) + b"x.npy"
    central = b"PK\1\2" + struct.pack("<H", 20) + fixed + struct.pack("<HHHHHII", 5, 0, 0, 0, 0, 0, 0) + b"x.npy"
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    (tmp_path / "a.npz").write_bytes(local + packed + central + end)
    assert peak(["run", model, "--data", tmp_path / "a.npz", "--limit", "3", "-q"]) < 100


# ---- while it is read ------------------------------------------------------------------------------


def test_pictures_replaced_while_they_are_read(tmp_path):
    """By others of the same size, and by nothing: the command ends, with a result or one message."""
    model = identity(tmp_path / "model", {"x": [1, 1, 64, 64]})
    d = tmp_path / "d"
    d.mkdir()
    picture = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 255, (64, 64), np.uint8)).save(picture, "PNG")
    for i in range(300):
        (d / f"{i}.png").write_bytes(picture.getvalue())
    running = subprocess.Popen([COMMAND, "calibrate", model, d, "-o", tmp_path / "m.qcal", "--max-bad", "50"],
                               stderr=subprocess.PIPE, text=True)
    k = 0
    while running.poll() is None:
        (tmp_path / "new").write_bytes(picture.getvalue() if k % 3 else picture.getvalue()[:100])
        os.replace(tmp_path / "new", d / f"{k % 300}.png")
        k += 1
    said = running.stderr.read()
    assert running.returncode in (0, 1) and (running.returncode == 0) == (tmp_path / "m.qcal").exists(), said
