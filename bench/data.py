#!/usr/bin/env python3
"""How fast pictures become samples: decode, resize the short side with Pillow's bilinear filter, crop the middle,
beside Pillow itself, on one thread and on two (Pillow: two processes).

  bench/data.py [FOLDER] [--size 500x375] [--pictures 40] [--short 256] [--crop 224] [--seconds 2] [--repetitions 7]

Without a FOLDER of JPEGs the pictures are made: shapes and noise, quality 90, 4:2:0. All pixels must be equal to
Pillow's, whose version must be one that resizes across first (up to 12.1). The runs take turns, and the table shows
medians of pictures a second: by the clock, and by processor time, which other work on the machine disturbs less.
Needs numpy and pillow, and bench_pictures, which the build makes.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent


def make(folder, count, width, height):
    """Pictures with edges, gradients and some noise, as photos have them."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:height, :width]
    for i in range(count):
        ramp = np.stack([x * 255 / width + 0 * y, y * 255 / height + 0 * x, (x + y) * 255 / (width + height)], -1)
        picture = Image.fromarray(ramp.astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(30):
            box = sorted(rng.integers(0, width, 2)), sorted(rng.integers(0, height, 2))
            shape = (draw.ellipse, draw.rectangle)[rng.integers(2)]
            shape([box[0][0], box[1][0], box[0][1], box[1][1]], fill=tuple(rng.integers(0, 256, 3).tolist()))
        noisy = np.asarray(picture) + rng.normal(0, 9, (height, width, 3))
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(folder / f"{i:03}.jpg", quality=90, subsampling="4:2:0")


def pillow(path, short, crop):
    """One picture, as torchvision's transforms do it, but for the crop's start, which is rounded down."""
    with Image.open(path) as f:
        picture = f.convert("RGB")
    w, h = picture.size
    w, h = (short, int(short * h / w)) if w < h else (int(short * w / h), short)
    left, top = (w - crop) // 2, (h - crop) // 2
    return picture.resize((w, h), Image.Resampling.BILINEAR).crop((left, top, left + crop, top + crop))


def as_pillow(a, files):
    """What runs in a process of its own: waits for a line, so that processes begin together, and prints its rates."""
    pillow(files[0], a.short, a.crop)
    print("ready", flush=True)
    sys.stdin.readline()
    start, cpu = time.monotonic(), time.process_time()
    for _ in range(a.rounds):
        for f in files:
            pillow(f, a.short, a.crop)
    print(json.dumps({"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}))


def run_pillow(a, files, processes, rounds):
    """Pictures a second, by the clock and by processor time."""
    command = [sys.executable, __file__, "--as-pillow", "--short", a.short, "--crop", a.crop, "--rounds", rounds]
    running = [subprocess.Popen([*map(str, command), *files[i::processes]], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True) for i in range(processes)]
    for p in running:
        p.stdout.readline()
    for p in running:
        p.stdin.write("go\n")
        p.stdin.flush()
    done = [json.loads(p.communicate()[0]) for p in running]
    n = len(files) * rounds
    return {"rate": n / max(d["seconds"] for d in done), "cpu": n / sum(d["cpu"] for d in done)}


def run_ours(a, files, threads, rounds, out=""):
    command = [a.tool, a.short, a.crop, threads, rounds, out, *files]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)


def check(a, files, work):
    """Every byte is Pillow's."""
    run_ours(a, files, 1, 1, f"{work}/pixels")
    got = np.fromfile(f"{work}/pixels", np.uint8).reshape(len(files), a.crop, a.crop, 3)
    for f, mine in zip(files, got, strict=True):
        if not np.array_equal(mine, np.asarray(pillow(f, a.short, a.crop))):
            sys.exit(f"{f}: pixels differ from Pillow's")
    print(f"{len(files)} pictures, every byte equal to Pillow {Image.__version__}'s")


def measure(a, files):
    """Medians of the rates of both, by threads, in runs of about a.seconds that take turns."""
    print(f"{'':10}{'pictures/s':>20}{'ratio':>8}{'by processor time':>24}{'ratio':>8}")
    for threads in (1, 2):
        least = run_pillow(a, files, threads, 1)["rate"]
        rounds = max(round(least * a.seconds / len(files)), 1)
        runs = [(run_pillow(a, files, threads, rounds), run_ours(a, files, threads, 2 * rounds))
                for _ in range(a.repetitions)]
        line = f"{threads} thread" + "s" * (threads > 1)
        for key, width in (("rate", 20), ("cpu", 24)):
            theirs, mine = (statistics.median(r[i][key] for r in runs) for i in (0, 1))
            ratio = statistics.median(mine[key] / theirs[key] for theirs, mine in runs)
            line = f"{line:10}" + f"{mine:.0f} / {theirs:.0f}".rjust(width) + f"{ratio:8.2f}"
        print(line)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?")
    p.add_argument("--size", default="500x375", help="of the pictures that are made")
    p.add_argument("--pictures", type=int, default=40)
    p.add_argument("--short", type=int, default=256)
    p.add_argument("--crop", type=int, default=224)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--repetitions", type=int, default=7)
    p.add_argument("--tool", default=ROOT / "build" / "tests" / "bench_pictures")
    p.add_argument("--as-pillow", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--rounds", type=int, help=argparse.SUPPRESS)
    a, files = p.parse_known_args()
    if a.as_pillow:
        as_pillow(a, [a.folder, *files])
        return
    with tempfile.TemporaryDirectory() as work:
        folder = Path(a.folder or work)
        if not a.folder:
            make(folder, a.pictures, *map(int, a.size.split("x")))
        files = sorted(str(f) for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))[:a.pictures]
        print(f"{sum(Path(f).stat().st_size for f in files) / len(files) / 1000:.0f} KB a picture")
        check(a, files, work)
        measure(a, files)


if __name__ == "__main__":
    main()
