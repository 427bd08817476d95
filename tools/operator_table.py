#!/usr/bin/env python3
"""Writes ops/onnx_operators.h, ml_operators.h and microsoft_operators.h: every operator of ONNX's two domains
by the Python package onnx, and of com.microsoft by the Python package onnxruntime, in which operator sets it
exists, and its attributes with theirs.

    build/venv/bin/python tools/operator_table.py [FOLDER]"""

import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from onnx import defs
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

HEAD = """\
/* ops/{file}_operators.h - every operator of {whose}: in which
 * operator sets of that domain it exists, and its attributes, in the words of attributes.c. Written
 * by tools/operator_table.py from what the Python package {package} says; a test compares. An
 * operator that is added to this library is here already.
 */
static const Listed {file}_operators[] = {{
    /* name, since, until (0: it is there still), attributes */
"""

# Files, their domains, and whose operators those are.
TABLES = {"onnx": ("", "ONNX's own domain up to NEWEST_OPSET", "onnx"),
          "ml": ("ai.onnx.ml", "ai.onnx.ml", "onnx"),
          "microsoft": ("com.microsoft", "com.microsoft", "onnxruntime")}
# What only ONNX Runtime has in ONNX's own domain.
ONNX_RUNTIMES = {"SimplifiedLayerNormalization"}
# Deprecated at once, or for another; runtimes run them, and models have them.
ALIVE = {"GroupNormalization", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}

LETTERS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "F",
           "INTS": "I", "STRINGS": "S", "SPARSE_TENSOR": "p", "TYPE_PROTO": "y"}


class Form(NamedTuple):
    """An operator from one operator set on."""
    since: int
    deprecated: bool
    attributes: dict  # name -> type as AttributeProto calls it


def forms():
    """(domain, operator) -> its forms, oldest first."""
    found = defaultdict(list)
    for s in defs.get_all_schemas_with_history():
        types = {a: t.type.name for a, t in s.attributes.items()}
        found[s.domain, s.name].append(Form(s.since_version, s.deprecated and s.name not in ALIVE, types))
    for s in get_all_operator_schema():
        if s.domain == "com.microsoft" or (s.domain == "" and s.name in ONNX_RUNTIMES):
            types = {a: str(t.type).removeprefix("AttrType.") for a, t in s.attributes.items()}
            found[s.domain, s.name].append(Form(s.since_version, s.deprecated, types))
    return {op: sorted(f) for op, f in found.items()}


def row(living):
    """since, until and the attributes of an operator as the table writes them."""
    last = living[-1].since - 1 if living[-1].deprecated else 0
    if last:  # one that came again in another form is no less there
        living = living[:-1]
    since, spans = living[0].since, {}  # (name, letter) -> [[first, last or 0]]
    for k, form in enumerate(living):
        end = living[k + 1].since - 1 if k + 1 < len(living) else last
        for name, kind in form.attributes.items():
            of = spans.setdefault((name, LETTERS[kind]), [])
            if of and of[-1][1] == form.since - 1:
                of[-1][1] = end
            else:
                of.append([form.since, end])
    words = []
    for (name, letter), of in sorted(spans.items()):
        for first, end in of:
            words.append(f"{name}:{letter}" + (f"{first}" if first != since else "")
                         + (f"-{end}" if end != last else ""))
    return since, last, words


def rows(domain):
    for (of, op), history in sorted(forms().items()):
        if of != domain:
            continue
        since, last, words = row(history)
        lines = textwrap.wrap(" ".join(words), 88) or [""]
        head = f'    {{"{op}", {since}, {last}, "'
        if len(lines) == 1 and len(head + lines[0]) < 96:
            yield head + lines[0] + '"},'
            continue
        yield head[:-2]
        yield "\n".join(f'     "{line} "' for line in lines[:-1] + [lines[-1]])[:-2] + '"},'


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "ops")
    for file, (domain, whose, package) in TABLES.items():
        head = HEAD.format(file=file, whose=whose, package=package)
        (folder / f"{file}_operators.h").write_text(head + "\n".join(rows(domain)) + "\n};\n")


if __name__ == "__main__":
    main()
