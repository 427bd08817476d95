#!/usr/bin/env python3
"""Prints docs/operators.md, from what `qonnx operators --json` says, and for ONNX's own operators the types that the
Python package onnx allows. A test compares.

    build/venv/bin/python tools/operators.py [COMMAND] > docs/operators.md
"""

import json
import subprocess
import sys
from pathlib import Path

from onnx import defs

COMMAND = Path(__file__).resolve().parent.parent / "build" / "qonnx"
HEAD = """\
# Operators that are run

Written by `tools/operators.py` from what `qonnx operators --json` says; a test compares. {count} operators: a model that
has only these, in these types, is run, calibrated and quantized, and operators of local functions count for themselves.
`qonnx inspect MODEL` says of a model's own nodes which are not run, and why.

- **Sets**: the operator sets of its domain that have it. Models of older sets of ONNX are raised to 13 first.
- **Types** of its inputs, one after the other where they differ; `-` where anything goes that ONNX allows. `float` is float16 and
  bfloat16, too, which are computed as floats and rounded once; `any` is float, double, integers of 8 to 64 bits and bool;
  `float8` is its five forms, `packed` float4e2m1, int4, uint4, int2 and uint2. Where attributes or subgraphs decide, nothing
  is said; nor of sequences and optionals, which run where it is known without a sample what is in them.
- **Quantized**: how its form on integers gets its scale. *own*: the range of its output. *same*: its input's. *unify*: one that
  holds all inputs'. *fixed*: that of its results. *activate*: it is folded into what feeds it. Operators without a word stay
  in float. Behind it, the operator that is its form in files beside DequantizeLinear and QuantizeLinear. The rules
  are those of all targets, which differ in the integers (`qonnx passes`).
- **Random numbers** (RandomNormal and its like, Bernoulli, Multinomial, Dropout in training) are the same in every run, for
  every sample and in generated C: those of the attribute `seed`, or else of the name of the node's output.
- **C**: whether [generated C](compile.md) has it: *end* where the size of an output is data, which is possible at the end of a
  model; *alike* where it has subgraphs, whose turns must be alike.
"""
DOMAINS = {"": "ONNX", "ai.onnx.ml": "ai.onnx.ml", "com.microsoft": "com.microsoft"}
SIGNED, UNSIGNED = [{f"{u}int{bits}" for bits in (8, 16, 32, 64)} for u in ("", "u")]
FLOAT8 = {f"float8{form}" for form in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0")}
WORDS = [("any", {"float", "double", "bool"} | SIGNED | UNSIGNED), ("float", {"float"}), ("double", {"double"}),
         ("integers", SIGNED | UNSIGNED), ("signed", SIGNED), ("unsigned", UNSIGNED), ("float8", FLOAT8),
         ("packed", {"float4e2m1", "int4", "uint4", "int2", "uint2"})]


def allowed(op, i):
    """What ONNX lets input i be; None where it does not say."""
    if op["domain"] or not defs.has(op["name"]):
        return None
    schema = defs.get_schema(op["name"])
    if not schema.inputs:
        return None
    return {t.removeprefix("tensor(").removesuffix(")") for t in schema.inputs[min(i, len(schema.inputs) - 1)].types}


def words(types, may):
    """A list of types in few words."""
    types = set(types) if may is None else set(types) & may
    if "float" in types:
        types -= {"float16", "bfloat16"}
    types -= {"complex64", "complex128"}
    found = []
    for word, those in WORDS:
        if those <= types:
            found.append(word)
            types -= those
    return ", ".join(found + sorted(types)) or "-"


def types_of(op):
    """The types of the inputs, said once where all are the same."""
    said = [words(t, allowed(op, i)) for i, t in enumerate(op["types"])]
    while len(said) > 1 and said[-1] == said[-2]:
        said.pop()
    return "; ".join(said)


def sets(op):
    return f"{op['since']} to {op['until']}" if op["until"] else f"{op['since']}+" if op["since"] else ""


def quantized(op):
    rule = "" if op["rule"] == "float" else op["rule"]
    if not op["qlinear"]:
        return rule
    domain = f"{op['qlinear_domain']}." if op["qlinear_domain"] else ""
    return f"{rule}; {domain}{op['qlinear']}"


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else COMMAND
    done = subprocess.run([command, "operators", "--json"], capture_output=True, text=True, check=True)
    operators = json.loads(done.stdout)["operators"]
    lines = [HEAD.format(count=len(operators))]
    for domain in sorted({op["domain"] for op in operators}):
        lines += [f"## {DOMAINS[domain]}\n", "| operator | sets | types | quantized | C |", "|---|---|---|---|---|"]
        for op in operators:
            if op["domain"] == domain:
                short = {"yes": "", "at the end": "end", "where turns are alike": "alike"}[op["in_c"]]
                lines.append(f"| {op['name']} | {sets(op)} | {types_of(op)} | {quantized(op)} | {short} |")
        lines.append("")
    print("\n".join(lines), end="")


if __name__ == "__main__":
    main()
