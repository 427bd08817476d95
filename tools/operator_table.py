#!/usr/bin/env python3
"""Prints ops/onnx_operators.h from the Python package onnx: every operator of ONNX's own domain, in
which operator sets it exists, and its attributes with theirs.

    python3 tools/operator_table.py > ops/onnx_operators.h"""

import textwrap
from collections import defaultdict

from onnx import defs

HEAD = """\
/* ops/onnx_operators.h - every operator of ONNX's own domain up to NEWEST_OPSET: in which operator
 * sets it exists, and its attributes. Written by tools/operator_table.py; a test compares
 * it with the Python package onnx. An operator that is added to this library is here already.
 *
 * An attribute is NAME:TYPE[SINCE][-UNTIL], both operator sets included: from the operator's first
 * on without SINCE, to its last without UNTIL. Types: f i s t g are one float, integer, string,
 * tensor, graph; F I S lists of them; p a sparse tensor; y a type. An attribute that has changed is
 * there twice.
 */
static const OnnxOperator onnx_operators[] = {{
    /* name, since, until (0: it is there still), attributes */
"""

LETTERS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "F",
           "INTS": "I", "STRINGS": "S", "SPARSE_TENSOR": "p", "TYPE_PROTO": "y"}


def history():
    """op -> its schemas, oldest first."""
    found = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].append(schema)
    return {op: sorted(s, key=lambda s: s.since_version) for op, s in found.items()}


def row(op, schemas):
    """since, until and the attributes of an operator as the table writes them."""
    last = schemas[-1].since_version - 1 if schemas[-1].deprecated else 0
    living = schemas[:-1] if last else schemas  # one that came again in another form is no less there
    since, spans = living[0].since_version, {}  # (name, letter) -> [[first, last or 0]]
    for k, schema in enumerate(living):
        end = living[k + 1].since_version - 1 if k + 1 < len(living) else last
        for name, attribute in schema.attributes.items():
            of = spans.setdefault((name, LETTERS[attribute.type.name]), [])
            if of and of[-1][1] == schema.since_version - 1:
                of[-1][1] = end
            else:
                of.append([schema.since_version, end])
    words = []
    for (name, letter), of in sorted(spans.items()):
        for first, end in of:
            words.append(f"{name}:{letter}" + (f"{first}" if first != since else "")
                         + (f"-{end}" if end != last else ""))
    return since, last, words


def rows():
    for op, schemas in sorted(history().items()):
        since, last, words = row(op, schemas)
        lines = textwrap.wrap(" ".join(words), 88) or [""]
        head = f'    {{"{op}", {since}, {last}, "'
        if len(lines) == 1 and len(head + lines[0]) < 96:
            yield head + lines[0] + '"},'
            continue
        yield head[:-2]
        yield "\n".join(f'     "{line} "' for line in lines[:-1] + [lines[-1]])[:-2] + '"},'


if __name__ == "__main__":
    print(HEAD.format() + "\n".join(rows()) + "\n};")
