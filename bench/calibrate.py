#!/usr/bin/env python3
"""What calibration costs: time and peak memory of `qonnx calibrate`, beside plain float inference
of the same files and ONNX Runtime's own quantizer.

  bench/calibrate.py MODEL DATA [--samples 25,100] [--threads 2] [--repetitions 5]

DATA is a folder of .npy files for the model's only input. Every measurement is a process of its
own, and the repetitions are interleaved; the table shows medians. "plain" is ONNX Runtime's
inference with all optimizations, np.load included, starting Python and creating the session apart;
the ratios are to it. Needs numpy, onnx and onnxruntime. A machine that does other work at the same
time gives no usable figures, and a peak under 15 MB is this script's own: a process starts with
its parent's.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import peer

ROOT = Path(__file__).resolve().parent.parent


# ---- what runs in a process of its own ----------------------------------------------------------


def plain(model, files, threads):
    """Float inference. Prints the seconds of the session's creation and of the inference."""
    import numpy as np
    import onnxruntime  # noqa: F401, not part of the session's creation

    start = time.monotonic()
    session = peer.session(model, threads)
    name = session.get_inputs()[0].name
    ready = time.monotonic()
    for f in files:
        session.run(None, {name: np.load(f)})
    print(json.dumps({"session": ready - start, "inference": time.monotonic() - ready}))


def quantizer(model, files, method, out):
    """ONNX Runtime's quantizer. Prints its seconds, which the imports are not part of."""
    import numpy as np
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self):
            session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            self.left = iter({name: np.load(f)} for f in files)

        def get_next(self):
            return next(self.left, None)

    start = time.monotonic()
    quantize_static(
        model,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        calibrate_method=CalibrationMethod[method],
    )
    print(json.dumps({"quantize": time.monotonic() - start}))


# ---- measuring ----------------------------------------------------------------------------------


def subjects(a, folder, work):
    """The commands to measure, by name."""
    me = [sys.executable, __file__]
    found = {
        "plain": me + ["--as-plain", a.model, folder, "--threads", str(a.threads)],
        "qonnx": [
            a.qonnx,
            "calibrate",
            a.model,
            folder,
            "-o",
            f"{work}/m.qcal",
            "-q",
            "-j",
            str(a.threads),
        ],
    }
    if not a.no_quantizers:
        for method in ("MinMax", "Percentile"):
            found[f"ORT {method}"] = me + [
                "--as-quantizer",
                method,
                a.model,
                folder,
                "--output",
                f"{work}/q.onnx",
            ]
    return found


def links(work, data, samples):
    """A folder with links to the first samples, spread evenly over the data."""
    files = sorted(Path(data).resolve().glob("*.npy"))
    if len(files) < samples:
        sys.exit(f"{data}: {len(files)} .npy files, want {samples}")
    folder = Path(work) / str(samples)
    folder.mkdir()
    for n in range(samples):
        f = files[n * len(files) // samples]
        (folder / f.name).symlink_to(f)
    return str(folder)


def report(samples, runs):
    """One table: medians of each subject, and its ratio to plain inference."""
    inference = statistics.median(
        json.loads(r["text"].splitlines()[-1])["inference"] for r in runs["plain"]
    )
    session = statistics.median(
        json.loads(r["text"].splitlines()[-1])["session"] for r in runs["plain"]
    )
    print(
        f"\n{samples:3} samples           wall s   (min .. max)      CPU s   peak MB   "
        "x plain inference"
    )
    for name, results in runs.items():
        walls = sorted(r["wall"] for r in results)
        wall, cpu, peak = (
            statistics.median(r[k] for r in results) for k in ("wall", "cpu", "peak")
        )
        print(
            f"{name:20} {wall:9.3f}   ({walls[0]:.3f} .. {walls[-1]:.3f}) {cpu:9.3f} {peak:9.0f}   "
            f"{wall / inference:9.2f}"
        )
    print(
        f"of plain: session {session:.3f} s, inference {inference:.3f} s "
        f"({1000 * inference / samples:.2f} ms a sample)"
    )


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--samples", default="25,100", help="numbers of samples, separated by commas")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repetitions", type=int, default=5)
    p.add_argument("--qonnx", default=str(ROOT / "build" / "qonnx"), help="the command to measure")
    p.add_argument(
        "--no-quantizers", action="store_true", help="leave ONNX Runtime's quantizer out"
    )
    p.add_argument("--as-plain", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--as-quantizer", metavar="METHOD", help=argparse.SUPPRESS)
    p.add_argument("--output", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.as_plain or a.as_quantizer:
        files = [str(f) for f in sorted(Path(a.data).glob("*.npy"))]
        plain(a.model, files, a.threads) if a.as_plain else quantizer(
            a.model, files, a.as_quantizer, a.output
        )
        return
    for samples in map(int, a.samples.split(",")):
        with tempfile.TemporaryDirectory() as work:
            folder = links(work, a.data, samples)
            commands = subjects(a, folder, work)
            runs = {name: [] for name in commands}
            for _ in range(a.repetitions):
                for name, command in commands.items():
                    runs[name].append(peer.measure(command, f"{work}/log"))
            report(samples, runs)


if __name__ == "__main__":
    main()
