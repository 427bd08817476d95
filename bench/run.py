#!/usr/bin/env python3
"""How long `qonnx run` takes for a sample in float, beside ONNX Runtime, on one thread: a ratio of processor times.

  bench/run.py [MODEL | vit] [--length 64] [--samples 20] [--pairs 7] [--engine auto] [--qonnx build/qonnx] [--save FILE]

Without a model, `vit`: a ViT-B/16 as PyTorch exports it, with random weights of a fixed seed. Integer inputs are drawn
below 1,000 (a mask of two values is all ones), floats from a normal distribution; axes that are open are 1, the others
behind the first `--length`. A measurement is a process that runs one sample more than `--samples`, less one that runs one:
what is left is the processor time of the samples alone, reading them and writing the outputs included. Those of qonnx and of ONNX Runtime take turns, in pairs; the table has the
median of the pairs' ratios and their range.
"""
import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import peer

ROOT = Path(__file__).resolve().parent.parent


# ---- a model -------------------------------------------------------------------------------------


class Graph:
    """Nodes and weights, named as they come."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def constant(self, array):
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, scale=0.02):
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def node(self, op, *inputs, **attributes):
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"n{len(self.nodes)}", **attributes))
        return name

    def number(self, x):
        return self.constant(np.float32(x))

    def linear(self, x, inside, outside):
        return self.node("Add", self.weight(outside), self.node("MatMul", x, self.weight(inside, outside)))

    def norm(self, x, width):
        scale = self.constant(np.ones(width, np.float32))
        return self.node("LayerNormalization", x, scale, self.weight(width), axis=-1, epsilon=1e-6)

    def heads(self, x, tokens, heads, width, order):
        shape = self.constant(np.array([1, tokens, heads, width // heads], np.int64))
        return self.node("Transpose", self.node("Reshape", x, shape), perm=order)

    def gelu(self, x):
        """By Erf, as torch.nn.GELU is exported."""
        erf = self.node("Erf", self.node("Div", x, self.number(np.sqrt(2))))
        return self.node("Mul", self.node("Mul", x, self.node("Add", erf, self.number(1))), self.number(0.5))


def attention(g, x, tokens, width, heads):
    q, k, v = (g.linear(x, width, width) for _ in range(3))
    q = g.node("Mul", g.heads(q, tokens, heads, width, (0, 2, 1, 3)), g.number((width // heads) ** -0.5))
    scores = g.node("MatMul", q, g.heads(k, tokens, heads, width, (0, 2, 3, 1)))
    mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), g.heads(v, tokens, heads, width, (0, 2, 1, 3)))
    flat = g.constant(np.array([1, tokens, width], np.int64))
    return g.linear(g.node("Reshape", g.node("Transpose", mixed, perm=(0, 2, 1, 3)), flat), width, width)


def vit(path, size=224, patch=16, layers=12, width=768, heads=12, classes=1000):
    """ViT-B/16."""
    import onnx
    from onnx import helper

    g = Graph(7)
    tokens = (size // patch) ** 2 + 1
    x = g.node("Conv", "pixels", g.weight(width, 3, patch, patch), g.weight(width), strides=[patch, patch],
               kernel_shape=[patch, patch])
    x = g.node("Transpose", g.node("Reshape", x, g.constant(np.array([1, width, -1], np.int64))), perm=(0, 2, 1))
    x = g.node("Add", g.node("Concat", g.weight(1, 1, width), x, axis=1), g.weight(1, tokens, width))
    for _ in range(layers):
        x = g.node("Add", attention(g, g.norm(x, width), tokens, width, heads), x)
        x = g.node("Add", g.linear(g.gelu(g.linear(g.norm(x, width), width, 4 * width)), 4 * width, width), x)
    x = g.node("Gather", g.norm(x, width), g.constant(np.int64(0)), axis=1)
    y = g.node("Gemm", x, g.weight(classes, width), g.weight(classes), transB=1)
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
            for n, s in (("pixels", [1, 3, size, size]), (y, [1, classes]))]
    graph = helper.make_graph(g.nodes, "vit", info[:1], info[1:], g.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


# ---- samples -------------------------------------------------------------------------------------


def sample(inputs, length, random):
    """Arrays for the inputs of an ONNX Runtime session."""
    made = {}
    for i in inputs:
        shape = [d if isinstance(d, int) else length if k else 1 for k, d in enumerate(i.shape)]
        if "float" in i.type:
            made[i.name] = random.standard_normal(shape).astype(np.float32)
        else:
            dtype = np.int64 if "64" in i.type else np.int32
            made[i.name] = np.ones(shape, dtype) if "mask" in i.name else random.integers(0, 1000, shape, dtype)
            if "type" in i.name:
                made[i.name][:] = 0
    return made


def save(folder, arrays, count):
    """`count` samples, a folder for each input; gives the command's options."""
    options = []
    for name, array in arrays.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            np.save(folder / name / f"{k:03}.npy", array)
        options += ["--data", f"{name}={folder / name}"]
    return options


# ---- measuring -----------------------------------------------------------------------------------


def plain(model, length, samples):
    """What the peer's process does."""
    s = peer.session(model)
    fed = sample(s.get_inputs(), length, np.random.default_rng(0))
    for _ in range(samples):
        s.run(None, fed)


def seconds(commands, samples, log):
    """Processor seconds of a sample: the longer process less the shorter."""
    long, short = (peer.measure(c, log)["cpu"] for c in commands)
    return (long - short) / samples


def compare(args, model, work):
    s = peer.session(model)
    fed = sample(s.get_inputs(), args.length, np.random.default_rng(0))
    del s
    ours, theirs = [], []
    for count in (args.samples + 1, 1):
        data = save(work / str(count), fed, count)
        ours.append([args.qonnx, "run", model, *data, "-q", "-j", "1", "--engine", args.engine,
                     "--max-memory", "4G", "-o", work / "out"])
        theirs.append([sys.executable, __file__, model, "--as-plain", count, "--length", args.length])
    pairs = [(seconds(ours, args.samples, work / "log"), seconds(theirs, args.samples, work / "log"))
             for _ in range(args.pairs)]
    ratios = sorted(a / b for a, b in pairs)
    a, b = (1000 * statistics.median(p[k] for p in pairs) for k in (0, 1))
    print(f"{model}: {a:.2f} ms a sample, ONNX Runtime {b:.2f}: {statistics.median(ratios):.2f} times its time "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f} in {args.pairs} pairs)")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", default="vit")
    p.add_argument("--length", type=int, default=64, help="of open axes but the first")
    p.add_argument("--samples", type=int, default=20)
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--engine", default="auto")
    p.add_argument("--qonnx", type=Path, default=ROOT / "build" / "qonnx", help="the command to measure")
    p.add_argument("--save", type=Path, help="write the model there and measure nothing")
    p.add_argument("--as-plain", type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.as_plain:
        plain(args.model, args.length, args.as_plain)
        return
    if args.save:
        vit(args.save)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if model == "vit":
            model = Path(folder) / "vit.onnx"
            vit(model)
        compare(args, model, Path(folder))


if __name__ == "__main__":
    main()
