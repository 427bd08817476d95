"""Rows: small files that would take a machine's memory or days of its time, and shapes and types of which
nothing can be made. Each is refused before anything large is allocated, with one message."""

import numpy as np
from bad_inputs.table import FLOAT, INT64, model, row, samples, written
from onnx import helper

node = helper.make_node
ONE = np.ones(1, np.float32)


def bomb(*nodes, x=(1,), **lists):
    """A model whose values are expanded from a number: a=[8, 8] makes a of that shape."""
    grown = [node("Expand", ["x", f"{name}_shape"], [name], name) for name in lists]
    return model(grown + list(nodes), [("x", FLOAT, list(x))],
                 constants={f"{name}_shape": np.array(dims, np.int64) for name, dims in lists.items()})


def refused_row(name, message, make, mends="limits", verbs=("run", "evaluate", "compile"), options=(), sample=ONE,
                status=1, **more):
    """A row for each of the verbs."""
    for verb in verbs:
        def arguments(folder, verb=verb):
            m = make()
            path, data = written(m, folder), samples(folder, sample)
            last = {"run": ["--data", data], "evaluate": ["--data", data], "compile": ["-o", "OUTDIR"],
                    "quantize": ["--data", data, "-o", "OUT"], "calibrate": [data, "-o", "OUT"]}[verb]
            return [verb, path, *last, *options]

        row(f"{name}: {verb}", message, status, mends=mends, **more)(arguments)


ALL = ("run", "evaluate", "compile", "calibrate", "quantize")
MEMORY = r"\(%s\): one run of the model takes [\d.]+ [GTPM]iB of memory, most of it here; .*--max-memory"
WORK = r"\(%s\): one run of the model takes [\d.]+e\+\d+ steps .*smaller shapes"

refused_row("bomb: two expanded", MEMORY % "Add", lambda: bomb(
    node("Add", ["a", "b"], ["y"]), a=[1 << 15, 1], b=[1, 1 << 14]), verbs=ALL)
refused_row("bomb: filled", MEMORY % "Relu|ConstantOfShape", lambda: model(
    [node("ConstantOfShape", ["s"], ["f"]), node("Relu", ["f"], ["g"]), node("Add", ["g", "x"], ["y"])],
    [("x", FLOAT, [1])], constants={"s": np.array([1 << 28], np.int64)}))
refused_row("bomb: many weights", MEMORY % "MatMul|Expand", lambda: bomb(
    node("MatMul", ["a", "b"], ["m"]), node("ReduceMax", ["m"], ["y"]), a=[1, 16500], b=[16500, 16500]))
refused_row("bomb: a chain of doublings", MEMORY % "Concat", lambda: model(
    [node("Concat", ["x" if not i else f"v{i}"] * 2, [f"v{i + 1}" if i < 29 else "y"], axis=0) for i in range(30)],
    [("x", FLOAT, [1])]))
refused_row("bomb: products", WORK % "MatMul", lambda: bomb(
    node("MatMul", ["a", "b"], ["m"]), node("ReduceMax", ["m"], ["y"]), a=[2, 8000, 8000], b=[8000, 8000]), verbs=ALL)
refused_row("bomb: window", WORK % "AveragePool", lambda: bomb(
    node("AveragePool", ["a"], ["m"], kernel_shape=[2000, 2000], strides=[1, 1]), node("ReduceMax", ["m"], ["y"]),
    a=[1, 1, 6000, 6000]))
refused_row("bomb: kernel", WORK % "Conv", lambda: bomb(
    node("Conv", ["a", "b"], ["m"]), node("ReduceMax", ["m"], ["y"]), a=[1, 1, 8000, 8000], b=[1, 1, 400, 400]))
refused_row("--max-memory: less than a model takes", r"takes .*--max-memory allows 10.0 KiB", lambda: bomb(
    node("Relu", ["a"], ["y"]), a=[1, 64, 640]), options=["--max-memory", "10K"], verbs=ALL)
refused_row("--max-memory: more than a default", "", lambda: bomb(
    node("Relu", ["a"], ["m"]), node("ReduceMax", ["m"], ["y"]), a=[1, 290_000_000]), options=["--max-memory", "4GiB"],
    verbs=["run"], status=0, plain=True, timeout=60)
for text in ("-1", "1X", "G", "", "nan", "1e30"):
    row(f"--max-memory: '{text}'", r"wants a size as 800M or 2G", 2, mends="limits")(
        lambda folder, text=text: ["run", written(bomb(node("Relu", ["a"], ["y"]), a=[1]), folder), "--data",
                                   samples(folder, ONE), "--max-memory", text])

# ---- what has no shape or type ------------------------------------------------------------------

def computed(*nodes, x=(1,), **constants):
    """A model that makes `n`, the square of what it is fed, before it takes a shape from it."""
    return model([node("Mul", ["x", "x"], ["n"]), *nodes], [("x", INT64, list(x))], [("y", INT64, None)], constants)


refused_row("shape that depends on data", r"\(Expand\): the shape of its output 'a' is not known before the model runs.*"
            r"make it constant", lambda: computed(node("Expand", ["x", "n"], ["a"], "grow"), node("Add", ["a", "x"], ["y"])),
            "one way", sample=np.array([3]), verbs=["compile"])
COMPUTED = ("run", "evaluate")
refused_row("computed size: 2^40", r"\(Expand\): .*too large to be run", lambda: computed(
    node("Expand", ["x", "n"], ["y"])), sample=np.array([1 << 20]), verbs=COMPUTED)
refused_row("computed size: memory", MEMORY % "Expand", lambda: computed(
    node("Expand", ["x", "n"], ["y"])), sample=np.array([17000]), verbs=COMPUTED)
refused_row("computed size: negative", r"\(ConstantOfShape\): .*-9", lambda: computed(
    node("Neg", ["n"], ["m"]), node("ConstantOfShape", ["m"], ["f"]), node("Cast", ["f"], ["y"], to=INT64)),
    sample=np.array([3]), verbs=COMPUTED)
refused_row("computed size: no list", r"\(Expand\): its input 'n' decides a shape and has 4 elements of rank 2",
            lambda: computed(node("Expand", ["x", "n"], ["y"]), x=(2, 2)), sample=np.array([[1, 2], [3, 4]]), verbs=COMPUTED)
refused_row("computed sizes, one behind the other", r"too many values decide shapes, one behind the other", lambda: computed(
    *[n for i in range(8000) for n in (node("Shape", [f"v{i - 1}" if i else "x"], [f"s{i}"]), node(
        "Expand", [f"v{i - 1}" if i else "x", f"v{i - 1}" if i else "n"], [f"v{i}"]))],
    node("Identity", ["v7999"], ["y"])), sample=np.array([1]), verbs=["run"], timeout=60)
refused_row("shape that is too large", r"\(Expand\): its output 'y' is too large to be run: at most 2\^31 - 1 elements",
            lambda: model([node("Expand", ["x", "s"], ["y"])], [("x", FLOAT, [1])],
                          constants={"s": np.array([1 << 20, 1 << 12], np.int64)}), "one way")
