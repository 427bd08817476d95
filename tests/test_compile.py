"""Compiled models: the C of `qonnx compile` gives the bytes of `qonnx run`, whatever the compiler. Names, odd numbers and
what is refused are in bad_inputs/code.py."""
import re
import subprocess

import compiled
import numpy as np
import onnx
import pytest
from compiled import WARNINGS, Compiled
from conftest import TESTDATA
from onnx import TensorProto, helper, numpy_helper

DIGITS = TESTDATA / "digits.onnx"
COMPILERS = [c for c in ("gcc-12", "gcc", "clang-19", "clang") if compiled.tool(c)][:3]
NATIVE = ["-O3", "-march=native", "-ffp-contract=fast"]


@pytest.fixture(scope="module")
def models(done, tmp_path_factory):
    """The digits model in float and in integers, and some inputs: {"float": path, "int8": path}, folder."""
    work = tmp_path_factory.mktemp("compile")
    done("quantize", "-q", DIGITS, "--data", TESTDATA / "digits" / "calibration", "-o", work / "int8.onnx")
    shape = [d.dim_value or 1 for d in onnx.load(DIGITS).graph.input[0].type.tensor_type.shape.dim]
    rng, samples = np.random.default_rng(1), work / "samples"
    samples.mkdir()
    for i in range(6):
        x = rng.random(shape, np.float32) if i < 5 else np.zeros(shape, np.float32)
        np.save(samples / f"{i}.npy", x * (255 if i % 2 else 1))
    return {"float": DIGITS, "int8": work / "int8.onnx"}, samples


def refused(result, *words):
    """Asserts one message with these words, and status 1; what is done to pictures may stand in front."""
    messages = [line for line in result.stderr.splitlines() if not line.startswith("input: ")]
    assert result.rc == 1 and len(messages) == 1, result
    for word in words:
        assert word in result.stderr, (word, result.stderr)


# ---- the same bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize("cc", COMPILERS)
def test_same_bytes(qonnx, models, tmp_path, kind, cc):
    paths, folder = models
    c = compiled.compile_model(qonnx, paths[kind], tmp_path / "net")
    samples, want = compiled.expected(qonnx, paths[kind], folder, 6, tmp_path / "want")
    native = NATIVE if kind == "int8" else NATIVE[:2]
    for flags in (["-O0"], ["-O2"], native, ["-O2", "-std=gnu17"]):
        c.build([cc], flags)
        assert compiled.same_bytes(c.run(samples), want), flags
        assert not c.undefined(), flags


@pytest.mark.parametrize("cc", COMPILERS)
def test_no_warnings(qonnx, models, tmp_path, cc):
    for kind, path in models[0].items():
        for weights in ("const", "bin"):
            c = compiled.compile_model(qonnx, path, tmp_path / f"{kind}-{weights}", "--weights", weights)
            for more in (["-O2"], ["-DNET_STATIC_ARENA"]):
                subprocess.run([cc, "-std=c99", *WARNINGS, *more, "-c", c.source, "-o", tmp_path / "x.o"], check=True)
            subprocess.run([cc, "-std=c99", *WARNINGS, "-c", c.directory / "net_test.c", "-o", tmp_path / "x.o"],
                           check=True)
    (tmp_path / "user.cpp").write_text(f'#include "{c.directory}/net.h"\nint main() {{ return 0; }}\n')
    if compiled.tool("g++"):
        subprocess.run(["g++", *WARNINGS, "-c", tmp_path / "user.cpp", "-o", tmp_path / "x.o"], check=True)


@pytest.mark.parametrize("target", [("aarch64-linux-gnu-gcc", "qemu-aarch64"), ("arm-linux-gnueabihf-gcc", "qemu-arm"),
                                    ("riscv64-linux-gnu-gcc", "qemu-riscv64")], ids=lambda t: t[1])
def test_other_machines(qonnx, models, tmp_path, target):
    for program in target:
        if not compiled.tool(program):
            pytest.skip(f"{program} is not installed; tools/check-targets.sh --install")
    c = compiled.compile_model(qonnx, models[0]["int8"], tmp_path / "net")
    samples, want = compiled.expected(qonnx, models[0]["int8"], models[1], 6, tmp_path / "want")
    c.build([target[0]], ["-O2"], ["-static"])
    assert compiled.same_bytes(c.run(samples, [target[1]]), want)
    assert not c.undefined()


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint64", "float16"])
def test_arithmetic(qonnx, tmp_path, dtype):
    """Arithmetic of every type, at the ends of its range and by zero, without undefined behaviour or a warning."""
    t = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    steps = [("Add", "x", "k"), ("Mul", "a", "x"), ("Sub", "k", "b"), ("Div", "x", "k"), ("Min", "c", "d"),
             ("Max", "e", "b"), ("Pow", "f", "two"), ("Clip", "g", "k0")]
    nodes = [helper.make_node(op, [a, b], [name]) for (op, a, b), name in zip(steps, "abcdefgy")]
    ends = [np.finfo(dtype).max, -np.finfo(dtype).max] if "float" in dtype else [np.iinfo(dtype).max, np.iinfo(dtype).min]
    k = np.array([-1, 0, 3, ends[0]]).astype(dtype) if "u" not in dtype else np.array([0, 1, 3, ends[0]], dtype)
    constants = {"k": k, "k0": k[:1].reshape(()), "two": np.array([2, 0, 3, 1], np.int32)}
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", t, [8, 4])],
                              [helper.make_tensor_value_info(n, t, [8, 4]) for n in "abcdefgy"],
                              [numpy_helper.from_array(v, n) for n, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    x = np.random.default_rng(1).integers(0, 100, (8, 4)).astype(dtype)
    x[:2] = np.array(ends, dtype)[:, None]
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "0.npy", x)
    c = compiled.compile_model(qonnx, tmp_path / "m.onnx", tmp_path / "net")
    subprocess.run(["make", "-s", "-C", c.directory, "test"], check=True)
    samples, want = compiled.expected(qonnx, tmp_path / "m.onnx", tmp_path / "data", 1, tmp_path / "want")
    for flags in (["-O2", *WARNINGS], ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]):
        c.build(COMPILERS[:1], flags)
        assert compiled.same_bytes(c.run(samples), want), flags


# ---- forms --------------------------------------------------------------------------------------


def test_weights_apart(qonnx, models, tmp_path):
    paths, folder = models
    c = compiled.compile_model(qonnx, paths["int8"], tmp_path / "net", "--weights", "bin")
    assert (c.directory / "net.bin").stat().st_size == c.number("WEIGHTS_BYTES")
    samples, want = compiled.expected(qonnx, paths["int8"], folder, 6, tmp_path / "want")
    c.build(COMPILERS[:1], ["-O2"])
    assert compiled.same_bytes(c.run(samples), want)
    subprocess.run(["make", "-s", "-C", c.directory, "test"], check=True)


def test_integer_ports(qonnx, models, tmp_path):
    paths, folder = models
    c = compiled.compile_model(qonnx, paths["int8"], tmp_path / "net", "--io", "int8")
    assert [p.dtype for p in c.inputs + c.outputs] == [np.uint8, np.uint8]
    samples, want = compiled.expected(qonnx, paths["int8"], folder, 6, tmp_path / "want")
    ints = [[np.clip(np.rint(x / np.float32(c.number("INPUT0_SCALE"))) + c.number("INPUT0_ZERO_POINT"), 0, 255)
             .astype(np.uint8) for x in s] for s in samples]
    c.build(COMPILERS[:1], ["-O2"])
    scale, zero = np.float32(c.number("OUTPUT0_SCALE")), c.number("OUTPUT0_ZERO_POINT")
    got = [[(y.astype(np.int32) - zero).astype(np.float32) * scale for y in s] for s in c.run(ints)]
    assert compiled.same_bytes(got, want)
    subprocess.run(["make", "-s", "-C", c.directory, "test"], check=True)


def test_selftest(done, models, tmp_path):
    """make test passes, with the data given too, and fails when one weight is another."""
    for kind, path in models[0].items():
        done("compile", path, "--target", "generic", "-o", tmp_path / kind, "--data", models[1])
        stem = path.stem
        subprocess.run(["make", "-s", "-C", tmp_path / kind, "test"], check=True)
        source = tmp_path / kind / f"{stem}.c"
        text = source.read_text()
        at = text.index("c0[")
        value = re.search(r"\n    (\S+),", text[at:])
        changed = "7" if value.group(1) != "7" else "9"
        source.write_text(text[:at] + text[at:].replace(value.group(0), f"\n    {changed},", 1))
        assert subprocess.run(["make", "-s", "-C", tmp_path / kind, "test"], capture_output=True).returncode != 0


def test_deterministic(done, models, tmp_path):
    for name in ("a", "b"):
        done("compile", models[0]["int8"], "-o", tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["Makefile", "int8.c", "int8.h", "int8_test.c"]
    for f in files:
        assert (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes()


def test_memory(qonnx, models, tmp_path):
    c = compiled.compile_model(qonnx, models[0]["int8"], tmp_path / "net")
    alive = int(re.search(r"at most (\d+) bytes of it are in use at once", c.header).group(1))
    assert alive <= c.number("ARENA_BYTES") <= 1.05 * alive
    c.build(COMPILERS[:1], ["-O1"])
    sizes = subprocess.run(["size", c.directory / "net.o"], capture_output=True, text=True, check=True).stdout.split()
    data, bss = int(sizes[7]), int(sizes[8])
    assert data == 0 and bss == 0  # nothing but constants: re-entrant


def test_misaligned_arena(qonnx, models, tmp_path):
    c = compiled.compile_model(qonnx, models[0]["int8"], tmp_path / "net")
    (tmp_path / "main.c").write_text(
        f'#include "{c.header and c.directory}/net.h"\n'
        "static float x[NET_INPUT0_COUNT], y[NET_OUTPUT0_COUNT];\n"
        "static unsigned char arena[NET_ARENA_BYTES + 32] __attribute__((aligned(16)));\n"
        "int main(void) { return net_run(x, y, arena) != 0 || net_run(x, y, arena + 1) != 1 || net_run(x, y, 0) != 1; }\n")
    subprocess.run([COMPILERS[0], tmp_path / "main.c", c.source, "-o", tmp_path / "main"], check=True)
    subprocess.run([tmp_path / "main"], check=True)


# ---- the rest ---------------------------------------------------------------------------------


def model_of(path, nodes, inputs, constants=(), opset=17):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(v, n) for n, v in constants])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


def test_batch_is_one(done, tmp_path):
    relu = helper.make_node("Relu", ["x"], ["y"])
    done("compile", model_of(tmp_path / "m.onnx", [relu], [("x", ["batch", 5])]), "-o", tmp_path / "out")
    assert Compiled(tmp_path / "out", "m").inputs[0].shape == (1, 5)


def test_usage(run, tmp_path):
    for args in ([DIGITS], [DIGITS, "-o", tmp_path, "--target", "z80"], ["-o", tmp_path],
                 [DIGITS, "-o", tmp_path, "--weights", "flash"]):
        assert run("compile", *args).rc == 2


def test_evaluate_compiled(run, done, models):
    """Scores the same as the session; a compiler that fails is named."""
    for path in models[0].values():
        args = ("evaluate", path, "--data", TESTDATA / "digits" / "test", "--engine", "portable")
        assert done(*args, "--compiled") == done(*args)
    refused(run(*args, "--compiled", env={"CC": "false", "PATH": "/usr/bin:/bin"}), "CC")
