"""The whole matrix: compiled models give the bytes of `qonnx run`, whatever the compiler, its flags and the machine.

  tests/targets.py [--models A,B] [--targets A,B] [--samples 20] [--work DIR]

Called by tools/check-targets.sh. Prints one line a model and build; exits 1 when one differs. What is not installed is
said and skipped.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compiled
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
QONNX = Path(os.environ.get("QONNX", ROOT / "build" / "qonnx")).resolve()
SHARED = Path(os.environ.get("QONNX_SHARED", ROOT.parent / "shared"))
HERE = Path(__file__).resolve().parent

# name: (folder of the model, data set of score.py, samples to calibrate with)
MODELS = {
    "resnet8": ("resnet8_cifar10", "cifar10", 50), "dscnn": ("dscnn_kws", "kws", 50),
    "vww": ("mobilenetv1_vww", None, 40), "autoencoder": ("autoencoder_ad", "ad", 40),
    "mnist": ("mnist_cntk", "mnist", 50), "squeezenet": ("squeezenet11_imagenet", "imagenet-squeezenet", 10),
    "mobilenet_v2": ("mobilenet_v2_imagenet", "imagenet-mobilenet", 10),
}
TINY = ("resnet8", "dscnn", "vww", "autoencoder")
LARGE = ("squeezenet", "mobilenet_v2")
CORTEX = ["-mthumb", "-mfloat-abi=hard"]
BARE = ["--specs=rdimon.specs", "-nostartfiles", "-T", HERE / "targets" / "cortex-m.ld", HERE / "targets" / "startup.c"]
SEMIHOSTING = ["-nographic", "-semihosting-config", "enable=on,target=native", "-kernel"]

# name: (compiler, flags, what the program is linked with, command that runs it, whether models must be tiny)
TARGETS = {}
for cc in ("gcc-12", "clang-19"):
    for flags in ("-O0", "-O2", "-O3 -march=native -ffp-contract=fast"):
        for std in ("c99", "gnu17"):
            TARGETS[f"{cc} {flags} {std}"] = ([cc], flags.split() + [f"-std={std}"], [], [], False)
TARGETS |= {
    "aarch64": (["aarch64-linux-gnu-gcc"], ["-O2"], ["-static"], ["qemu-aarch64", "-cpu", "max"], False),
    "aarch64 i8mm": (["aarch64-linux-gnu-gcc"], ["-O3", "-march=armv8.2-a+dotprod+i8mm"], ["-static"],
                     ["qemu-aarch64", "-cpu", "max"], False),
    "armhf": (["arm-linux-gnueabihf-gcc"], ["-O2"], ["-static"], ["qemu-arm", "-cpu", "max"], False),
    "riscv64": (["riscv64-linux-gnu-gcc"], ["-O2"], ["-static"], ["qemu-riscv64"], False),
    "cortex-m4": (["arm-none-eabi-gcc"], ["-O2", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *CORTEX], BARE,
                  ["qemu-system-arm", "-M", "mps2-an386", *SEMIHOSTING], True),
    "cortex-m55": (["arm-none-eabi-gcc"], ["-O2", "-mcpu=cortex-m55", *CORTEX], BARE,
                   ["qemu-system-arm", "-M", "mps3-an547", *SEMIHOSTING], True),
}


def samples_of(dataset, work):
    """Folders of .npy files to calibrate and to test with."""
    folder = work / "npy" / (dataset or "photos")
    if folder.is_dir():
        return folder
    if dataset:
        subprocess.run([sys.executable, SHARED / "tools" / "score.py", "--npy", folder, dataset], check=True)
        return folder
    from PIL import Image

    files = sorted((SHARED / "data" / "imagenet").rglob("*.[jJ][pP]*"))[:60]
    for i, f in enumerate(files):
        to = folder / ("calibration" if i < 40 else "test") / f"{i:05d}.npy"
        to.parent.mkdir(parents=True, exist_ok=True)
        x = np.asarray(Image.open(f).convert("RGB").resize((96, 96)), np.float32) / 255
        np.save(to, x.transpose(2, 0, 1)[None])
    return folder


def runtime_quantized(model, folder, form, out):
    """ONNX Runtime's own per-channel quantization, in the form "QDQ" or "QOperator"."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            name = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
            self.left = iter({name: np.load(f)} for f in sorted((folder / "calibration").glob("*.npy"))[:50])

        def get_next(self):
            return next(self.left, None)

    quantize_static(str(model), str(out), Reader(), quant_format=QuantFormat[form], per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def models_of(names, work):
    """(name, quantized model, folder of test samples, the float model's name)."""
    for name in names:
        folder, dataset, count = MODELS[name]
        model, data = SHARED / "models" / folder / "model.onnx", samples_of(dataset, work)
        ours = work / f"{name}.onnx"
        if not ours.exists():
            subprocess.run([QONNX, "quantize", "-q", model, "--data", data / "calibration", "--limit", str(count), "-o",
                            ours], check=True)
        yield name, ours, data / "test", name
        for form in ("QDQ", "QOperator") if name in TINY else ():
            theirs = work / f"{name}.{form}.onnx"
            if not theirs.exists():
                runtime_quantized(model, data, form, theirs)
            yield f"{name} ORT {form}", theirs, data / "test", name


def check(name, model, data, base, targets, count, work):
    """Runs one model on all targets; returns the number of failures."""
    bad = 0
    directory = work / name.replace(" ", "_")
    c = compiled.compile_model(QONNX, model, directory)
    samples, want = compiled.expected(QONNX, model, data, count, work / "expected")
    for target in targets:
        cc, flags, extra, command, tiny = TARGETS[target]
        needs = cc[:1] + command[:1]
        missing = [p for p in needs if not compiled.tool(p)]
        if missing or (tiny and base not in TINY):
            if missing:
                print(f"{name:24} {target:48} skipped: {missing[0]} is not installed", flush=True)
            continue
        few = 3 if base in LARGE and command else len(samples)
        start = time.monotonic()
        try:
            c.build(cc, flags, extra)
            got = c.run(samples[:few], command, program="runner" if tiny else "./runner", timeout=1800)
            verdict = "same bytes" if compiled.same_bytes(got, want[:few]) else "DIFFERENT"
            left = c.undefined("arm-none-eabi-nm" if tiny else "nm")
            verdict += f", UNDEFINED {left}" if left else ""
        except (subprocess.SubprocessError, OSError, AssertionError) as e:
            verdict = f"FAILED: {e}"
        bad += verdict != "same bytes"
        print(f"{name:24} {target:48} {verdict} ({few} samples, {time.monotonic() - start:.0f} s)", flush=True)
    return bad


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--targets", default=",".join(TARGETS))
    p.add_argument("--samples", type=int, default=20)
    p.add_argument("--work", type=Path, help="keep what is made there, and use what is there already")
    a = p.parse_args()
    if not (SHARED / "models").is_dir():
        sys.exit(f"targets.py: no models at {SHARED}; QONNX_SHARED names the folder")
    work = (a.work or Path(tempfile.mkdtemp())).resolve()
    work.mkdir(parents=True, exist_ok=True)
    bad = sum(check(*row, a.targets.split(","), a.samples, work) for row in models_of(a.models.split(","), work))
    print(f"{bad} failures")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
