"""Rows: bytes that are no protocol buffer, or one that does harm."""

import subprocess

from bad_inputs.table import file_row, one, relu, row, rewrite, written
from conftest import COMMAND

def varint(n):
    """The bytes of a number on the wire."""
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, content):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(levels):
    """Graphs in attributes of nodes of graphs."""
    content = b""
    for i in range(levels - 1, -1, -1):
        content = field([6, 1, 5][i % 3] if i else 7, content)
    return content


file_row("depth bomb", lambda: nested(3000), r"nested more than 100 deep")
file_row("amplification bomb", lambda: field(7, field(1, b"\x2a\x00" * (3 << 20))),
         r"would take more than \d+ MB, far more than its size")
file_row("overlong varint", b"\x08" + b"\xff" * 10 + b"\x01", r"ModelProto\.ir_version at byte 1: a broken number")
file_row("tag 0", b"\x80\x00\x01", r"ModelProto at byte \d+: a broken tag")
file_row("wrong wire type", b"\x0d\0\0\0\0", r"ModelProto\.ir_version at byte 1: a wire type")
file_row("group wire type", b"\xfb\x07", r"a wire type that does not exist")
file_row("NUL in a name", lambda: field(7, field(2, b"a\0b")), r"GraphProto\.name at byte \d+: a NUL byte in a string")
file_row("length over the end", b"\x3a\xff\xff\xff\xff\x0f", r"ModelProto\.graph claims 4294967295 bytes")


def kept(name, content, message=""):
    """A row for odd bytes that come back as they were."""

    def check(made, out, done):
        assert out.read_bytes() == content

    file_row(name, content, message, status=0, check=check)


SMALLEST = relu().SerializeToString()
kept("unknown field of a number", SMALLEST + varint(1000 << 3) + varint(7))
kept("unknown field of text", SMALLEST + field(1000, b"of the future"))
kept("unknown field with zeros and bytes that are no text", SMALLEST + field(1000, b"\0\xff\xfe"))
kept("name that is no UTF-8", SMALLEST.replace(b"relu", b"\xff\xc3\x1b\x07"))
kept("name of surrogates", SMALLEST.replace(b"relu", b"\xed\xa0\x80\xfe"))
kept("name that speaks to the terminal", SMALLEST.replace(b"relu", b"\x1b[2J"))

BAD_AXIS = one("Softmax", axis=9).SerializeToString()
file_row("odd name in a message", BAD_AXIS.replace(b"\x01n", b"\x01\x1b", 1), r"node '\?' \(Softmax\): .*axis 9")
file_row("name of bytes in a message", BAD_AXIS.replace(b"\x01n", b"\x01\xff", 1), r"node '\?' \(Softmax\): .*axis 9")
file_row("fixed number cut off", b"\x09\x01\x02", r"wire type|the file ends inside it")
file_row("unknown number cut off", SMALLEST + varint(1000 << 3 | 1) + b"\x01\x02", r"the file ends inside it")
file_row("bytes of zero", bytes(4096), r"not a valid ONNX file")


def cut_anywhere(arguments, more):
    """Cuts the file behind each byte; gives the last end, having looked at all."""
    for length in range(1, len(SMALLEST) - 1):
        with open(arguments[1], "wb") as f:
            f.write(SMALLEST[:length])
        done = subprocess.run([COMMAND, *arguments], **more)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, (length, done)
    return done


@row("model cut at any place", r"m\.onnx: ", how=cut_anywhere)
def _(folder):
    return rewrite(written(relu(), folder))
