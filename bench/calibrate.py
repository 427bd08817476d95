#!/usr/bin/env python3
"""What calibration costs: time and peak memory of `qonnx calibrate`, beside plain float inference
of the same files and ONNX Runtime's own quantizer.

  bench/calibrate.py MODEL DATA [--samples 25,100] [--threads 2] [--repetitions 5]
  bench/calibrate.py MODEL DATA --pictures [--samples 2000] [--threads 2] [--scale 1/127.5 --mean 1]

DATA is a folder of .npy files for the model's only input. Every measurement is a process of its
own, and the repetitions are interleaved; the table shows medians. "plain" is ONNX Runtime's
inference with all optimizations, np.load included, starting Python and creating the session apart;
the ratios are to it. Needs numpy, onnx and onnxruntime. A machine that does other work at the same
time gives no usable figures, and a peak under 15 MB is this script's own: a process starts with
its parent's.

With --pictures DATA is a folder of JPEGs, which links make as many as there are to be samples:
their short side becomes 256 pixels, and 224 are cut out. What calibration takes is compared with
the sum of two: decoding alone, by bench_pictures, which the build makes; and plain inference of the
decoded arrays, which are in memory. Processor time of several threads of ONNX Runtime counts the
time that they wait, too: there, look at one thread.
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


def plain(model, samples, threads):
    """Float inference. Prints the seconds of the session's creation, and those of the inference
    by the clock and of the processor."""
    import onnxruntime  # noqa: F401, not part of the session's creation

    start = time.monotonic()
    session = peer.session(model, threads)
    name = session.get_inputs()[0].name
    ready, cpu = time.monotonic(), time.process_time()
    for x in samples:
        session.run(None, {name: x})
    done = {"inference": time.monotonic() - ready, "cpu": time.process_time() - cpu}
    print(json.dumps({"session": ready - start, **done}))


def arrays(path, count):
    """`count` samples: one of each file of a folder, or those of one file, from the start again where
    they are fewer."""
    import numpy as np

    if Path(path).is_dir():
        return (np.load(f) for f in sorted(Path(path).glob("*.npy")))
    held = np.load(path)
    return (held[i % len(held)][None] for i in range(count))


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


# ---- pictures -----------------------------------------------------------------------------------

SHORT, CROP = 256, 224


def decoded(a, files, path):
    """Writes the samples that the files make."""
    import numpy as np

    command = [a.tool, SHORT, CROP, 2, 1, f"{path}.pixels", *files]
    peer.measure(command, f"{path}.log")
    x = np.fromfile(f"{path}.pixels", np.uint8).reshape(len(files), CROP, CROP, 3).astype(np.float32)
    x = (x / np.float32(float(a.scale.removeprefix("1/"))) - np.float32(a.mean)) / np.float32(a.std)
    np.save(path, np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def picture_runs(a, samples, work):
    """What was measured of each of the three, in turns."""
    files = sorted(f for f in Path(a.data).resolve().rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))
    folder = Path(work) / "photos"
    folder.mkdir()
    for i in range(samples):
        (folder / f"{i:06}.jpg").symlink_to(files[i % len(files)])
    decoded(a, files[:samples], f"{work}/samples.npy")
    options = ["--resize", f"short:{SHORT}", "--crop", CROP, "--scale", a.scale, "--mean", a.mean, "--std", a.std]
    me = [sys.executable, __file__, a.model, f"{work}/samples.npy", "--as-plain", "--threads", a.threads]
    commands = {
        "decoding": [a.tool, SHORT, CROP, a.threads, 1, "", *sorted(folder.iterdir())],
        "plain": [*me, "--samples", samples],
        "qonnx": [a.qonnx, "calibrate", a.model, folder, "-o", f"{work}/m.qcal", "-q", "-j", a.threads, *options],
    }
    runs = {name: [] for name in commands}
    for _ in range(a.repetitions):
        for name, command in commands.items():
            runs[name].append(peer.measure(command, f"{work}/log"))
    return runs


def report_pictures(samples, threads, runs):
    """Milliseconds per sample of each, and the ratio of the last to the sum of the others."""
    for r in runs["plain"]:
        inference = json.loads(r["text"].splitlines()[-1])
        r["wall"], r["cpu"] = inference["inference"], inference["cpu"]
    print(f"\n{samples} pictures, {threads} thread{'s'[: threads > 1]}:   ms a picture by the clock   of the processor   peak MB")
    for name, results in runs.items():
        wall, cpu, peak = (statistics.median(r[k] for r in results) for k in ("wall", "cpu", "peak"))
        print(f"{name:12}{1000 * wall / samples:38.2f}{1000 * cpu / samples:19.2f}{peak:10.0f}")
    ratios = [
        statistics.median(
            mine[key] / (plain[key] + decoding[key])
            for decoding, plain, mine in zip(*runs.values(), strict=True)
        )
        for key in ("wall", "cpu")
    ]
    print(f"qonnx / (decoding + plain){ratios[0]:24.2f}{ratios[1]:19.2f}")


# ---- the command line ---------------------------------------------------------------------------


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--samples", help="numbers of samples, separated by commas; 25,100, pictures: 2000")
    p.add_argument("--pictures", action="store_true", help="DATA is a folder of JPEGs")
    p.add_argument("--scale", default="1/127.5", help="of pictures: values are divided by that")
    p.add_argument("--mean", type=float, default=1, help="of pictures: subtracted then")
    p.add_argument("--std", type=float, default=1, help="of pictures: divided by then")
    p.add_argument("--tool", default=str(ROOT / "build" / "tests" / "bench_pictures"))
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
    if a.as_plain:
        plain(a.model, arrays(a.data, int(a.samples or 0)), a.threads)
        return
    if a.as_quantizer:
        files = [str(f) for f in sorted(Path(a.data).glob("*.npy"))]
        quantizer(a.model, files, a.as_quantizer, a.output)
        return
    for samples in map(int, (a.samples or ("2000" if a.pictures else "25,100")).split(",")):
        with tempfile.TemporaryDirectory() as work:
            if a.pictures:
                report_pictures(samples, a.threads, picture_runs(a, samples, work))
                continue
            folder = links(work, a.data, samples)
            commands = subjects(a, folder, work)
            runs = {name: [] for name in commands}
            for _ in range(a.repetitions):
                for name, command in commands.items():
                    runs[name].append(peer.measure(command, f"{work}/log"))
            report(samples, runs)


if __name__ == "__main__":
    main()
