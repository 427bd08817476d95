"""frontend/onnx.proto must hold every message, field and enumerator of the schemas that other
packages ship."""

import subprocess
from pathlib import Path

import onnx
import pytest
from conftest import ROOT
from google.protobuf import descriptor_pb2


def compiled(proto, out):
    """The FileDescriptorProto of a .proto file."""
    subprocess.run(
        ["protoc", f"--proto_path={proto.parent}", f"--descriptor_set_out={out}", proto.name],
        check=True,
    )
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]


def facts(message_or_file, prefix):
    """Maps the full name of every field and enumerator to what makes its bytes and its API."""
    found = {}
    for enum in message_or_file.enum_type:
        for value in enum.value:
            found[f"{prefix}.{enum.name}.{value.name}"] = value.number
    messages = getattr(message_or_file, "nested_type", None)
    for message in message_or_file.message_type if messages is None else messages:
        name = f"{prefix}.{message.name}"
        found[name] = "message"
        for field in message.field:
            in_oneof = (
                message.oneof_decl[field.oneof_index].name
                if field.HasField("oneof_index")
                else None
            )
            found[f"{name}.{field.name}"] = (
                field.number,
                field.type,
                field.label,
                field.type_name,
                in_oneof,
                field.options.packed,
            )
        found |= facts(message, name)
    return found


SCHEMAS = {
    "libonnx-dev": Path("/usr/include/onnx/onnx.proto"),
    "onnx wheel": Path(onnx.__file__).parent / "onnx-ml.proto",
}


@pytest.mark.parametrize("package", SCHEMAS)
def test_superset(package, tmp_path):
    schema = SCHEMAS[package]
    if not schema.exists():
        pytest.skip(f"{schema} is not installed")
    ours = facts(compiled(ROOT / "frontend" / "onnx.proto", tmp_path / "ours"), "")
    theirs = facts(compiled(schema, tmp_path / "theirs"), "")
    assert len(theirs) > 150
    different = {
        name: (fact, ours.get(name))
        for name, fact in theirs.items()
        if ours.get(name) != fact and name != ".Version.IR_VERSION"
    }
    assert not different, f"{schema}: (theirs, ours): {different}"


def test_newest_version(tmp_path):
    ours = facts(compiled(ROOT / "frontend" / "onnx.proto", tmp_path / "ours"), "")
    assert ours[".Version.IR_VERSION"] >= onnx.IR_VERSION
