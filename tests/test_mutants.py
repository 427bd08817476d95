"""Damaged models: whatever bytes or fields of a model are changed, every command ends soon, with
status 0 or with status 1 and a message. Seeded, so that a failure can be repeated.

QONNX_LONG=1 in the environment makes a thousand mutants of each kind of every set of models instead
of some; under sanitizers a leak or an overrun is a crash as well."""

import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from conftest import TESTDATA, run_command
from google.protobuf.descriptor import FieldDescriptor as Field

COUNT = 1000 if os.environ.get("QONNX_LONG") else 25  # mutants of each kind of each set
PACKAGED = Path("/usr/share/libonnx-testdata/data")
WHEEL = Path(onnx.__file__).parent / "backend" / "test" / "data"
NUMBERS = [0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 65536, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63)]
MOST = 300_000  # bytes of a model


def models(name):
    """The models of a set with their folders of samples, where they have some."""
    if name == "packaged":
        found = sorted(PACKAGED.glob("*/*/model.onnx"))
    elif name == "wheel":
        found = sorted(WHEEL.glob("**/model.onnx")) + sorted(WHEEL.glob("light/*.onnx"))
    else:
        found = sorted(TESTDATA.glob("*.onnx")) + sorted((TESTDATA / "forms").glob("*.onnx"))
    return [m for m in found if m.stat().st_size <= MOST]


# ---- kinds of damage ----------------------------------------------------------------------------


def flip(rng, data, others):
    """Some bytes are others."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(data)


def cut(rng, data, others):
    """The end, or a piece of the middle, is missing."""
    i, k = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    return rng.choice([data[:k], data[:i] + data[k:]])


def splice(rng, data, others):
    """A piece of another model, or of this one, stands in it."""
    other = rng.choice([data, rng.choice(others).read_bytes()])
    i, k = sorted((rng.randrange(len(other)), rng.randrange(len(other))))
    at = rng.randrange(len(data))
    return data[:at] + other[i : min(k, i + 2000)] + data[at + rng.choice([0, k - i]) :]


def messages(message):
    """A message and all in it."""
    yield message
    for field, value in message.ListFields():
        if field.type == Field.TYPE_MESSAGE:
            for part in value if repeated(field) else [value]:
                yield from messages(part)


def repeated(field):
    """Whether a field is a list."""
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == Field.LABEL_REPEATED


def some_value(rng, field, names):
    """A value for a field that is no message."""
    if field.type == Field.TYPE_STRING:
        return rng.choice(names)
    if field.type == Field.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 4, 64]))
    if field.type in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE):
        return rng.choice([0.0, -1.0, 1e30, float("nan"), float("inf")])
    if field.type == Field.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    small = field.type in (Field.TYPE_INT32, Field.TYPE_UINT32)
    low = 0 if field.type == Field.TYPE_UINT64 else -(2**31) if small else -(2**63)
    return rng.choice([n for n in NUMBERS if low <= n < (2**31 if small else 2**63)])


def change_list(rng, field, values, names):
    """A list loses, repeats, exchanges, gets or changes an element."""
    if field.type == Field.TYPE_MESSAGE:
        if not values or rng.random() < 0.2:
            values.add()
        elif rng.random() < 0.5:
            del values[rng.randrange(len(values))]
        else:
            values.add().CopyFrom(rng.choice(values))
        return
    action = rng.randrange(4) if values else 3
    if action == 0:
        del values[rng.randrange(len(values))]
    elif action == 1:
        values.append(rng.choice(values))
    elif action == 2:
        values[rng.randrange(len(values))] = some_value(rng, field, names)
    else:
        values.append(some_value(rng, field, names))


def restructure(rng, data, others):
    """Fields of the messages in it are others."""
    model = onnx.ModelProto.FromString(data)
    names = ["", "Conv", "Reshape", "Concat", "axis", "SAME_UPPER"]
    names += [n for node in model.graph.node for n in (*node.input, *node.output, node.op_type)]
    for _ in range(rng.choice([1, 1, 2, 3])):
        message = rng.choice(list(messages(model)))
        field = rng.choice(message.DESCRIPTOR.fields)
        if repeated(field):
            change_list(rng, field, getattr(message, field.name), names)
        elif rng.random() < 0.3:
            message.ClearField(field.name)
        elif field.type == Field.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, some_value(rng, field, names))
    return model.SerializeToString()


# ---- the test -----------------------------------------------------------------------------------


def ends_well(result):
    """Whether a command did its work or gave one message, and no sanitizer spoke."""
    if result.rc not in (0, 1) or "Sanitizer" in result.stderr or "runtime error" in result.stderr:
        return False
    said = [line for line in result.stderr.splitlines() if not line.startswith("qonnx: warning: ")]
    return result.rc == 0 or (len(said) == 1 and said[0].startswith("qonnx: "))


def commands(model, samples, out):
    """What is done with each mutant."""
    yield "inspect", model
    yield "lint", model, "-q"
    yield "explain", model, "conv", "-q"
    yield "quantize", model, "--pipeline", "raise-opset,fold-constants,fold-batchnorm", "-o", out, "-q"
    if samples.is_dir():
        yield "run", model, "--data", samples, "--check", "-j", 1


@pytest.mark.parametrize("damage", [flip, cut, splice, restructure])
@pytest.mark.parametrize("name", ["packaged", "wheel", "own"])
def test_mutants(name, damage, qonnx, tmp_path):
    found = models(name)
    if not found:
        pytest.skip(f"no models of the set '{name}' are installed")

    def one(i):
        rng = random.Random(f"{name} {damage.__name__} {i}")
        source = rng.choice(found)
        model, out = tmp_path / f"{i}.onnx", tmp_path / f"{i}.out"
        model.write_bytes(damage(rng, source.read_bytes(), found) or b"\0")
        wrong = []
        for arguments in commands(model, source.parent / "test_data_set_0", out):
            result = run_command(*arguments, timeout=10)
            if not ends_well(result):
                wrong.append((i, source.parent.name, arguments[0], result.rc, result.stderr[-2000:]))
                shutil.copy(model, tmp_path / f"kept-{i}.onnx")
        model.unlink()
        out.unlink(missing_ok=True)
        return wrong

    with ThreadPoolExecutor(2) as pool:
        wrong = [w for each in pool.map(one, range(COUNT)) for w in each]
    assert wrong == []
    assert [p.name for p in tmp_path.iterdir()] == []
