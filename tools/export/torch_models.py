#!/usr/bin/env python3
"""Models as PyTorch writes them, with seeded random weights:

    python3 torch_models.py DIR [--exporter torchscript|dynamo] [--opset N] [NAME...]
                                          DIR/NAME/model.onnx, DIR/NAME/samples.npz: an array [samples, ...] per input

The interpreter has torch and torchvision: Debian's python3-torch and python3-torchvision, whose torch has the old exporter
alone, or PyPI's."""

import argparse
import inspect
import sys
import warnings
from pathlib import Path

import detectors
import numpy as np
import sequences
import torch
import transformers
import vision

MODELS = vision.MODELS | sequences.MODELS | detectors.MODELS | transformers.MODELS


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--exporter", choices=["torchscript", "dynamo"], default="torchscript")
    parser.add_argument("--opset", type=int)
    return parser.parse_args()


def export(model, sample, names, open_sizes, path, options):
    """The model's file."""
    more = {"opset_version": options.opset} if options.opset else {}
    if options.exporter == "dynamo":
        shapes = [{k: torch.export.Dim.DYNAMIC for k in open_sizes.get(n, {})} for n in names]
        if any(p.kind == p.VAR_POSITIONAL for p in inspect.signature(model.forward).parameters.values()):
            shapes = [shapes[0], tuple(shapes[1:])]  # the rest is one argument
        torch.onnx.export(model, sample, path, input_names=names, dynamic_shapes=tuple(shapes), dynamo=True, external_data=False, **more)
        return
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        more["dynamo"] = False
    torch.onnx.export(model, sample, path, input_names=names, dynamic_axes=open_sizes, **more)


def main(options):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    old = options.exporter == "torchscript" and (options.opset or 14) < 14  # its form of attention is of 14
    if old or not hasattr(torch.nn.functional, "scaled_dot_product_attention"):
        torch.nn.functional.scaled_dot_product_attention = transformers.written_out  # PyTorch's own layers call it, too
    for name in options.names or MODELS:
        model, samples, names, open_sizes = MODELS[name]()
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            export(model, samples[0], names, open_sizes, str(folder / "model.onnx"), options)
        except Exception as e:  # what an exporter cannot write is not ours
            print(f"{name}: not exported: {str(e).splitlines()[:1]}", file=sys.stderr)
            (folder / "model.onnx").unlink(missing_ok=True)
            continue
        np.savez(folder / "samples.npz", **{n: np.stack([s[i].numpy() for s in samples]) for i, n in enumerate(names)})
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main(arguments())
