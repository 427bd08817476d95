"""Every verb on one model, compared with ONNX Runtime: for tests of whole models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from compiled import compile_model, same_bytes
from onnx import numpy_helper
from ort import has_vnni, session


class Model(NamedTuple):
    path: Path
    runtime: object   # ONNX Runtime's session
    samples: list     # of dicts of arrays
    data: list[str]   # --data options

    def names(self):
        return [i.name for i in self.runtime.get_inputs()]

    def outputs(self, runtime=None):
        return [[columns(y) for y in (runtime or self.runtime).run(None, sample)] for sample in self.samples]

    def compiles(self):
        """Whether it takes and gives numbers, as C has them."""
        return not any("string" in x.type and "map" not in x.type for x in (*self.runtime.get_inputs(), *self.runtime.get_outputs()))


def columns(output):
    """A list of maps, as a ZipMap makes them, as an array with a column for each key."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output], np.float32)
    return output


def with_samples(path, runtime, samples, folder):
    """A model and its samples, in a folder per input."""
    names = [i.name for i in runtime.get_inputs()]
    data = []
    for k, name in enumerate(names):
        made = folder / f"input_{k}"
        made.mkdir(parents=True)
        data += ["--data", f"{name}={made}" if len(names) > 1 else made]
        for i, sample in enumerate(samples):
            x = sample[name]
            if x.dtype == object:  # texts
                (made / f"{i:03}.pb").write_bytes(numpy_helper.from_array(x).SerializeToString())
                continue
            np.save(made / f"{i:03}.npy", x[None] if x.ndim else x)  # an axis more: it is one sample
    return Model(path, runtime, samples, data)


def ours(done, path, model, out, *options):
    """The outputs of `qonnx run`, a list per sample."""
    done("run", "-q", path, *model.data, "-o", out, *options, timeout=600)
    count = len(model.runtime.get_outputs())
    files = [out / f"output_{k}" for k in range(count)]
    return [[np.load(f / f"{i:06}.npy" if f.is_dir() else f.with_suffix(".npy")) for f in files]
            for i in range(len(model.samples))]


def assert_near(got, want):
    """Within 1e-4 of the largest value, and 1e-6: ONNX Runtime's Sigmoid gives 0 for 1e-7."""
    for g, w in zip(got, want, strict=True):
        for a, b in zip(g, w, strict=True):
            assert a.shape == b.shape and (a.dtype == b.dtype or a.dtype.kind + b.dtype.kind == "UO")
            if b.dtype.kind == "f":
                assert np.max(np.abs(a - b), initial=0) <= 1e-4 * np.max(np.abs(b), initial=0) + 1e-6
            else:
                np.testing.assert_array_equal(a, b)


def sqnr(want, got):
    """In dB, of all outputs of all samples together."""
    w, g = (np.concatenate([y.ravel().astype(float) for sample in side for y in sample]) for side in (want, got))
    return 10 * np.log10(np.sum(w**2) / max(np.sum((w - g)**2), 1e-30))


def quantized_session(path):
    """Without VNNI the sums of its integer kernels saturate, in subgraphs also where it is told to avoid that."""
    return session(path, "ort-x86", optimized=has_vnni())


def shapes(model, sample):
    """--shape for each input."""
    return [o for name in model.names() if sample[name].ndim
            for o in ("--shape", f"{name}={','.join(map(str, sample[name].shape))}")]


def compiles(qonnx, done, model, path, folder):
    """Compiled for the first sample, whose shapes decide what can run: the executor's bytes."""
    first = [i for i, s in enumerate(model.samples)
             if all(s[k].shape == model.samples[0][k].shape for k in s)]
    want = ours(done, path, model, folder / "run", "--engine", "portable")
    made = compile_model(qonnx, path, folder / "c", "--weights", "bin", *shapes(model, model.samples[0]),
                         *[o for path in model.data[1::2] for o in ("--data", f"{path}/000.npy")])
    made.build(["gcc"], ["-O1"], ["-lm"])
    inputs = [[model.samples[i][name] for name in model.names()] for i in first]
    assert same_bytes(made.run(inputs), [want[i] for i in first])
