#!/usr/bin/env python3
"""Accuracy of the settings of `qonnx quantize`, a row a setting and a column a model, as a Markdown table.

  accuracy.py --shared DIR [--qonnx build/qonnx] [--models NAME,...] [--recovery]

DIR holds models/NAME/model.onnx and tools/score.py, which writes the data sets as .npy. A cell is the metric of the
quantized model (top-1 in per cent, or the mean squared reconstruction error) and its SQNR in dB against the float model,
both from `qonnx evaluate` in integers. With --recovery the statistics are not given, since passes in front of them need new
ones, and --rows takes some of the rows alone. Needs numpy and pillow.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = {"resnet8_cifar10": "cifar10", "dscnn_kws": "kws", "mnist_cntk": "mnist", "autoencoder_ad": "ad",
          "squeezenet11_imagenet": "imagenet-squeezenet", "mobilenet_v2_imagenet": "imagenet-mobilenet"}

SETTINGS = [
    ("mse (default)", []),
    ("mse, no bias correction", ["--no-correct-bias"]),
    ("minmax", ["--observer", "minmax"]),
    ("minmax, no bias correction", ["--observer", "minmax", "--no-correct-bias"]),
    ("percentile 99.999", ["--observer", "percentile{p=99.999}"]),
    ("percentile 99.99", ["--observer", "percentile{p=99.99}"]),
    ("entropy", ["--observer", "entropy"]),
    ("mse, per-tensor weights", ["--weights", "per-tensor"]),
    ("mse, per-tensor, scale of the largest element", ["--weights", "int8{per=tensor,method=absmax}"]),
    ("mse, per-tensor, no bias correction", ["--weights", "per-tensor", "--no-correct-bias"]),
]

TENSOR, MATCH = ["--weights", "per-tensor"], ["--no-correct-bias", "--pass", "match-means@fit-scales"]
RECOVERY = [
    ("default", []),
    ("match-means for correct-bias", MATCH),
    ("gptq", ["--pass", "gptq@fit-scales"]),
    ("gptq, match-means", [*MATCH, "--pass", "gptq@fit-scales"]),
    ("equalize", ["--pass", "equalize"]),
    ("--optimize", ["--optimize"]),
    ("--optimize --mixed", ["--optimize", "--mixed"]),
    ("per-tensor weights", TENSOR),
    ("per-tensor, gptq", [*TENSOR, "--pass", "gptq@fit-scales"]),
    ("per-tensor, --optimize", [*TENSOR, "--optimize"]),
]


def load_score(shared):
    spec = importlib.util.spec_from_file_location("score", shared / "tools" / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_data(shared, dataset, folder):
    """The data set as .npy, and the classes of the test samples as a labels file."""
    subprocess.run([sys.executable, shared / "tools" / "score.py", "--npy", folder, dataset], check=True)
    labels = [int(y) for _, y in load_score(shared).samples(dataset, "test")]
    (folder / "labels.txt").write_text("".join(f"{i:05d}.npy {y}\n" for i, y in enumerate(labels)))


def evaluate(qonnx, shared, name, dataset, folder, options, given):
    model = shared / "models" / name / "model.onnx"
    out = folder / "out.onnx"
    began = time.monotonic()
    subprocess.run([qonnx, "quantize", model, *given, "-o", out, "-q", *options], check=True)
    seconds = time.monotonic() - began
    labels = [] if dataset == "ad" else ["--labels", folder / "labels.txt"]
    text = subprocess.run([qonnx, "evaluate", model, out, "--data", folder / "test", "--json", "-q", *labels],
                          check=True, capture_output=True, text=True).stdout
    first, second = json.loads(text)["models"]
    top = lambda m: "" if m.get("top1") is None else f"{100 * m['top1']:.1f} / "
    return top(first), f"{top(second)}{second['sqnr_db']:.1f}", seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", type=Path, required=True)
    p.add_argument("--qonnx", default="build/qonnx")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--recovery", action="store_true", help="the passes that look at samples, and the seconds that they take")
    p.add_argument("--rows", help="only rows whose titles have this in them")
    a = p.parse_args()
    names, settings = a.models.split(","), RECOVERY if a.recovery else SETTINGS
    settings = [s for s in settings if not a.rows or a.rows in s[0]]
    cells = {}
    with tempfile.TemporaryDirectory() as tmp:
        for name in names:
            folder = Path(tmp) / name
            write_data(a.shared, MODELS[name], folder)
            model = a.shared / "models" / name / "model.onnx"
            given = ["--data", folder / "calibration", "--check-samples", "0"]
            if not a.recovery:
                given = ["--calibration", folder / "stats.qcal"]
                subprocess.run([a.qonnx, "calibrate", model, folder / "calibration", "-o", folder / "stats.qcal", "-q"], check=True)
            for title, options in settings:
                cells["float", name], cell, seconds = evaluate(a.qonnx, a.shared, name, MODELS[name], folder, options, given)
                cells[title, name] = f"{cell}, {seconds:.1f} s" if a.recovery else cell
    print("| setting | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for title in ["float"] + [s[0] for s in settings]:
        print(f"| {title} | " + " | ".join(cells[title, n].rstrip(" /") for n in names) + " |")


if __name__ == "__main__":
    main()
