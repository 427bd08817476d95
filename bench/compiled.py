#!/usr/bin/env python3
"""How fast compiled models are on this machine, on one thread: float and int8, beside ONNX Runtime on the same files
and, where the path of another generator is given (its C on standard output, a function `entry`), that one on float.

  bench/compiled.py MODEL DATA [--qonnx build/qonnx] [--cc gcc-12] [--flags '-O3 -march=native'] [--generator PATH]
                    [--repetitions 200]

DATA is a folder of .npy files to calibrate with. Times are the least of all repetitions, in microseconds, of runs that
take turns. A machine that does other work at the same time gives no usable figures.
"""
import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import peer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import compiled  # noqa: E402


def least(functions, repetitions):
    """The least time of each function, in microseconds."""
    best = [float("inf")] * len(functions)
    for f in functions:
        f()
    for _ in range(repetitions):
        for i, f in enumerate(functions):
            start = time.perf_counter_ns()
            f()
            best[i] = min(best[i], (time.perf_counter_ns() - start) / 1000)
    return best


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def library(cc, flags, source, out):
    """Compiles a C file to a shared library; gives it, and its code's and constants' bytes."""
    start = time.monotonic()
    subprocess.run([cc, *flags, "-shared", "-fPIC", source, "-o", out, "-lm"], check=True)
    seconds = time.monotonic() - start
    sizes = subprocess.run(["size", out], check=True, capture_output=True, text=True).stdout.split()
    return ctypes.CDLL(str(out)), seconds, int(sizes[6])


def ours(args, model, name, x, work):
    """A function that runs the compiled model once, and what to say about it."""
    c = compiled.compile_model(args.qonnx, model, work / name)
    flags = ["-std=c99", "-ffp-contract=off", *args.flags.split()]
    lib, seconds, text = library(args.cc, flags, c.source, work / f"{name}.so")
    y = [np.empty(p.shape, p.dtype) for p in c.outputs]
    arena = np.empty(c.number("ARENA_BYTES") + 64, np.uint8)
    base = ctypes.c_void_p(-(-arena.ctypes.data // 64) * 64)
    pointers = [pointer(x), *map(pointer, y), base]
    keep = (lib, x, y, arena)
    note = f"arena {c.number('ARENA_BYTES')}, weights {c.number('WEIGHTS_BYTES')}, text {text}, compiled in {seconds:.1f} s"
    return lambda keep=keep: lib.net_run(*pointers), note


def runtime(model, x):
    """The same in ONNX Runtime."""
    import onnxruntime

    session = peer.session(model)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x}), f"onnxruntime {onnxruntime.__version__}"


def generator(args, model, x, y, work):
    """The same by another generator: its function takes inputs and outputs, in order."""
    source = work / "generator.c"
    with open(source, "w") as f:
        subprocess.run([args.generator, model], stdout=f, check=True)
    lib, seconds, text = library(args.cc, args.flags.split(), source, work / "generator.so")
    return lambda: lib.entry(pointer(x), pointer(y)), f"text {text}, compiled in {seconds:.1f} s"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model", type=Path)
    p.add_argument("data", type=Path)
    p.add_argument("--qonnx", type=Path, default=ROOT / "build" / "qonnx")
    p.add_argument("--cc", default="gcc-12")
    p.add_argument("--flags", default="-O3 -march=native")
    p.add_argument("--generator", type=Path)
    p.add_argument("--repetitions", type=int, default=200)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        int8 = work / "int8.onnx"
        subprocess.run([args.qonnx, "quantize", "-q", args.model, "--data", args.data, "--limit", "50", "-o", int8],
                       check=True)
        x = np.ascontiguousarray(np.load(sorted(args.data.glob("*.npy"))[0]), np.float32)
        rows = [("float, compiled", *ours(args, args.model, "float", x, work)),
                ("int8, compiled", *ours(args, int8, "int8", x, work)),
                ("float, ONNX Runtime", *runtime(args.model, x)), ("int8, ONNX Runtime", *runtime(int8, x))]
        if args.generator:
            y = np.empty(1 << 20, np.float32)
            rows.append(("float, generator", *generator(args, args.model, x, y, work)))
        times = least([run for _, run, _ in rows], args.repetitions)
        print(f"{args.model} with {args.cc} {args.flags}, 1 thread")
        for (name, _, note), t in zip(rows, times):
            print(f"{name:22}{t:10.1f} us   {note}")


if __name__ == "__main__":
    main()
