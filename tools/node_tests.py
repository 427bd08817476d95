#!/usr/bin/env python3
"""Writes the node tests that the installed package onnx generates, as libonnx-testdata has them:
FOLDER/NAME/model.onnx and FOLDER/NAME/test_data_set_N/input_N.pb, output_N.pb.

    tools/node_tests.py FOLDER [OPERATOR]
"""

import sys
from pathlib import Path

import numpy as np
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def message(value, info):
    """A value of a data set as the message of its kind."""
    kind = info.type.WhichOneof("value")
    if hasattr(value, "SerializeToString"):
        return value
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write(case, folder):
    """One case: its model and its data sets."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    graph = case.model.graph
    for i, (inputs, outputs) in enumerate(case.data_sets):
        place = folder / f"test_data_set_{i}"
        place.mkdir(exist_ok=True)
        for name, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
            for j, (value, info) in enumerate(zip(values, infos)):
                (place / f"{name}_{j}.pb").write_bytes(message(value, info).SerializeToString())


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    cases = collect_testcases(sys.argv[2] if len(sys.argv) == 3 else None)
    for case in cases:
        write(case, Path(sys.argv[1]) / case.name)
    print(f"{len(cases)} node tests in {sys.argv[1]}")


if __name__ == "__main__":
    main()
