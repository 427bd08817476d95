#!/usr/bin/env python3
"""How near quantized models are to their float models, output by output, beside ONNX Runtime's quantizer: a Markdown table.

  models.py FOLDER [NAME...] [--qonnx build/qonnx] [--options "--observer minmax"] [--no-peer]

FOLDER/NAME/ holds model.onnx and samples: calibration/input_K/*.npy and test/input_K/*.npy, K counting the model's inputs; an
array has an axis more than the input (the sample), scalars but one. Both quantizers take their defaults and the same samples
(the peer's: QDQ, uint8 activations, int8 weights a scale per channel, MinMax, behind quant_pre_process); what the peer makes
is kept as FOLDER/NAME/peer.onnx and taken again. Both files run in ONNX Runtime's default session. A cell is the SQNR of an
output over all test samples in dB, or the share of equal elements where they are integers. "in integers" counts Conv,
ConvTranspose, Gemm and MatMul. Needs numpy, onnx and onnxruntime.
"""
import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def samples(folder, names):
    """One dict of arrays a sample."""
    folders = [sorted((folder / f"input_{k}").glob("*.npy")) for k in range(len(names))]
    load = lambda f: (lambda x: x[0] if x.ndim else x)(np.load(f))
    return [{n: load(f) for n, f in zip(names, files, strict=True)} for files in zip(*folders, strict=True)]


def outputs(path, shots):
    """For each output an array a sample."""
    runtime = session(path)
    return list(zip(*(runtime.run(None, shot) for shot in shots)))


def nearness(want, got):
    w, g = (np.concatenate([x.ravel() for x in side]) for side in (want, got))
    if w.dtype.kind != "f":
        return f"{100 * np.mean(w == g):.0f} %"
    w, g = w.astype(float), g.astype(float)
    return f"{10 * np.log10(np.sum(w**2) / max(np.sum((w - g)**2), 1e-30)):.1f}" if np.any(w) else "0"


def graphs(graph):
    yield graph
    for node in graph.node:
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                yield from graphs(a.g)


def in_integers(path):
    """Products that read integers alone, of all."""
    count = [0, 0]
    dequantized = set()
    for graph in graphs(onnx.load(path).graph):
        dequantized |= {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
        for n in graph.node:
            if n.op_type in PRODUCTS:
                count[0] += all(x in dequantized for x in n.input[:2])
                count[1] += 1
    return f"{count[0]}/{count[1]}"


class Reader:
    """The samples, as the peer's calibration wants them."""

    def __init__(self, shots):
        self.shots = iter(shots)

    def get_next(self):
        return next(self.shots, None)


def raise_opset(path, to):
    """Writes the model in an operator set that has scales per channel, as the peer wants to be given it."""
    model = onnx.load(path)
    if next(o.version for o in model.opset_import if not o.domain) < 13:
        model = onnx.version_converter.convert_version(model, 13)
    onnx.save(model, to)


def peer(folder, shots):
    """What ONNX Runtime's quantizer makes of the model; None where it fails."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    made, raised, ready = folder / "peer.onnx", folder / "raised.onnx", folder / "ready.onnx"
    CalibrationDataReader.register(Reader)
    try:
        if not made.exists():
            raise_opset(folder / "model.onnx", raised)
            try:
                quant_pre_process(str(raised), str(ready))
            except Exception:  # its symbolic shapes know fewer operators than its runtime
                quant_pre_process(str(raised), str(ready), skip_symbolic_shape=True)
            quantize_static(str(ready), str(made), Reader(shots), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        return made
    except Exception as e:
        print(f"{folder.name}: the peer: {str(e).splitlines()[0][:200]}", file=sys.stderr)
        return None
    finally:
        raised.unlink(missing_ok=True)
        ready.unlink(missing_ok=True)


def ours(qonnx, folder, names, options):
    made = folder / "qonnx.onnx"
    data = [a for k, n in enumerate(names)
            for p in [folder / "calibration" / f"input_{k}"] for a in ("--data", f"{n}={p}" if len(names) > 1 else p)]
    subprocess.run([qonnx, "quantize", "-q", "-j", "1", folder / "model.onnx", *data, "-o", made, *options], check=True)
    return made


def rows(a, folder):
    model = folder / "model.onnx"
    runtime = session(model)
    names = [i.name for i in runtime.get_inputs()]
    test = samples(folder / "test", names)
    want = outputs(model, test)
    files = [ours(a.qonnx, folder, names, shlex.split(a.options))]
    files += [None if a.no_peer else peer(folder, samples(folder / "calibration", names))]
    got = []
    for f in files:
        try:
            got.append(f and outputs(f, test))
        except Exception as e:
            print(f"{folder.name}: {f.name}: {str(e).splitlines()[0][:200]}", file=sys.stderr)
            got.append(None)
    size = model.stat().st_size
    sizes = [f"{100 * f.stat().st_size / size:.0f} %" if f else "" for f in files]
    for k, o in enumerate(runtime.get_outputs()):
        near = [nearness(want[k], g[k]) if g else "fails" for g in got]
        yield [folder.name if k == 0 else "", o.name[:24], near[0], near[1], in_integers(files[0]) if k == 0 else "",
               *(sizes if k == 0 else ["", ""])]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("names", nargs="*")
    p.add_argument("--qonnx", default="build/qonnx")
    p.add_argument("--options", default="")
    p.add_argument("--no-peer", action="store_true")
    a = p.parse_args()
    print("| model | output | qonnx, dB | ONNX Runtime, dB | in integers | file | ONNX Runtime's file |")
    print("|---|---|---|---|---|---|---|")
    for folder in sorted(f.parent for f in a.folder.glob("*/model.onnx")):
        if a.names and folder.name not in a.names:
            continue
        try:
            for row in rows(a, folder):
                print("| " + " | ".join(row) + " |", flush=True)
        except Exception as e:
            print(f"| {folder.name} | {str(e).splitlines()[0][:120]} |", flush=True)


if __name__ == "__main__":
    main()
