"""Compiled models: makes them, builds them with any compiler, runs them on samples, under an emulator too.

Used by test_compile.py, tools/check-targets.sh (through targets.py) and bench/compiled.py.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

WARNINGS = "-Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow".split()
# What may stay undefined in NAME.c: memory functions and the compilers' own helpers.
ALLOWED = re.compile(r"_?_?(mem(cpy|move|set|cmp)|aeabi_\w+|(u?div|u?mod|mul|ashl|ashr|lshr|fix\w*|float\w*|add|sub|"
                     r"[lg][te]|eq|ne|un|trunc|extend|neg|clz|ctz|popcount)[sdtxuo]\w*\d?|_GLOBAL_OFFSET_TABLE_|"
                     r"stack_chk_\w+)$")
TYPES = {"float": np.float32, "double": np.float64}


class Port(NamedTuple):
    """An input or output of the compiled function."""

    dtype: np.dtype
    shape: tuple


class Compiled:
    """The files that `qonnx compile` has written to a directory."""

    def __init__(self, directory, prefix):
        self.directory, self.prefix = Path(directory), prefix
        self.header = (self.directory / f"{prefix}.h").read_text()
        self.source = self.directory / f"{prefix}.c"
        declared = re.search(rf"int {prefix}_run\(([^)]*)\)", self.header).group(1)
        self.bin = "weights" in declared
        self.inputs = [self.port("INPUT", i, t) for i, t in enumerate(re.findall(r"const (\w+) \*in\d", declared))]
        self.outputs = [self.port("OUTPUT", i, t) for i, t in enumerate(re.findall(r"(\w+) \*out\d", declared))]

    def number(self, name):
        """The number that a macro of NAME.h stands for."""
        value = re.search(rf"#define {self.prefix.upper()}_{name} (\S+)", self.header).group(1)
        return float(value.rstrip("f")) if "." in value or "e" in value else int(value)

    def port(self, kind, i, ctype):
        dtype = np.dtype(TYPES.get(ctype, ctype.removesuffix("_t")))
        shape = tuple(self.number(f"{kind}{i}_DIM{k}") for k in range(self.number(f"{kind}{i}_RANK")))
        size = self.number(f"{kind}{i}_BYTES") // dtype.itemsize
        return Port(dtype, shape if size == int(np.prod(shape)) else (size,))  # the second: packed elements

    def runner(self):
        """Writes a main() that runs every sample of samples.bin and writes outputs.bin."""
        up, lines = self.prefix.upper(), []
        ins = [f"in{i}" for i in range(len(self.inputs))]
        outs = [f"out{i}" for i in range(len(self.outputs))]
        args = ", ".join(ins + outs + ["weights"] * self.bin + ["arena"])
        for name, ports, kind in ((ins, self.inputs, "INPUT"), (outs, self.outputs, "OUTPUT")):
            for i, (n, p) in enumerate(zip(name, ports)):
                ctype = next((c for c, t in TYPES.items() if p.dtype == t), f"{p.dtype.name}_t")
                lines.append(f"static {ctype} {n}[{int(np.prod(p.shape))}];")
        lines.append(f"static unsigned char arena[{up}_ARENA_BYTES] __attribute__((aligned({up}_ARENA_ALIGN)));")
        load = ""
        if self.bin:
            lines.append(f"static unsigned char weights[{up}_WEIGHTS_BYTES] __attribute__((aligned(16)));")
            load = (f'    FILE *w = fopen("{self.prefix}.bin", "rb");\n'
                    "    if (!w || fread(weights, 1, sizeof weights, w) != sizeof weights) return 4;\n")
        reads = "".join(f"        if (fread({n}, 1, sizeof {n}, f) != sizeof {n}) break;\n" for n in ins)
        writes = "".join(f"        if (fwrite({n}, 1, sizeof {n}, g) != sizeof {n}) return 3;\n" for n in outs)
        (self.directory / "runner.c").write_text(
            f'#include "{self.prefix}.h"\n#include <stdio.h>\n#include <string.h>\n' + "\n".join(lines) +
            f'\nint main(void)\n{{\n    FILE *f = fopen("samples.bin", "rb"), *g = fopen("outputs.bin", "wb");\n'
            f"    if (!f || !g) return 2;\n{load}    for (;;) {{\n{reads}"
            f"        memset(arena, 0xa5, sizeof arena);\n        if ({self.prefix}_run({args})) return 1;\n"
            f"{writes}    }}\n    return fclose(g) != 0;\n}}\n")

    def build(self, cc, flags=(), extra=()):
        """Builds the runner, NAME.c with these flags; returns the program's path."""
        self.runner()
        out = self.directory / "runner"
        subprocess.run([*cc, "-std=c99", "-ffp-contract=off", *flags, "-c", self.source, "-o", self.directory / "net.o"],
                       check=True)
        subprocess.run([*cc, *flags, "-w", "-O1", "-std=gnu11", self.directory / "runner.c", self.directory / "net.o",
                        *extra, "-o", out], check=True)
        return out

    def run(self, samples, command=(), program="./runner", timeout=600):
        """Runs the built program on samples, each a list of arrays; gives each one's list of outputs."""
        with open(self.directory / "samples.bin", "wb") as f:
            for arrays in samples:
                for a, p in zip(arrays, self.inputs):
                    bits = a.view(p.dtype) if a.dtype == np.float16 else a  # which C has as uint16_t
                    f.write(np.ascontiguousarray(bits, p.dtype).tobytes())
        (self.directory / "outputs.bin").unlink(missing_ok=True)
        subprocess.run([*command, program], cwd=self.directory, check=True, timeout=timeout,
                       stdin=subprocess.DEVNULL)
        data, at, results = (self.directory / "outputs.bin").read_bytes(), 0, []
        for _ in samples:
            arrays = []
            for p in self.outputs:
                size = int(np.prod(p.shape)) * p.dtype.itemsize
                arrays.append(np.frombuffer(data[at:at + size], p.dtype).reshape(p.shape))
                at += size
            results.append(arrays)
        assert at == len(data)
        return results

    def undefined(self, nm="nm"):
        """The symbols that the last NAME.o built leaves undefined, but for those that are allowed."""
        text = subprocess.run([nm, "-u", self.directory / "net.o"], check=True, capture_output=True, text=True).stdout
        return [s for s in (line.split()[-1] for line in text.splitlines() if line.strip()) if not ALLOWED.match(s)]


def compile_model(qonnx, model, directory, *options, prefix="net"):
    """Runs `qonnx compile`."""
    subprocess.run([qonnx, "compile", "-q", model, "--target", "generic", "-o", directory, "--prefix", prefix, *options],
                   check=True)
    return Compiled(directory, prefix)


def expected(qonnx, model, folder, count, out):
    """`qonnx run` on samples of a folder: (arrays of each sample, its outputs), in the same order."""
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run([qonnx, "run", "-q", model, "--data", folder, "-o", out, "--limit", str(count), "--engine", "portable"],
                   check=True)
    files = sorted(Path(folder).glob("*.npy"))
    files = [files[i * len(files) // count] for i in range(count)] if count < len(files) else files
    outputs = sorted(out.glob("output_*"), key=lambda p: int(re.search(r"\d+", p.name).group()))
    wanted = [[np.load(o if o.is_file() else o / f"{i:06d}.npy") for o in outputs] for i in range(len(files))]
    return [[np.load(f)] for f in files], wanted


def same_bytes(got, want):
    """Whether all outputs of all samples are the same bytes."""
    return all(a.tobytes() == b.tobytes() for g, w in zip(got, want, strict=True) for a, b in zip(g, w, strict=True))


def tool(*names):
    """The first of these programs that is installed, else None."""
    return next((n for n in names if shutil.which(n)), None)
