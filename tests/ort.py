"""ONNX Runtime as a user of a target has it: a default session."""

from functools import cache
from pathlib import Path

import onnx
import onnxruntime


@cache
def has_vnni():
    return bool({"avx512_vnni", "avx_vnni"} & set(Path("/proc/cpuinfo").read_text().split()))


# The target to quantize for where numbers are compared in a plain session on this processor, and the greatest weight in files
# that are made by hand: without VNNI ONNX Runtime's sums of 8 bits saturate unless weights have 7.
X86 = "ort-x86" if has_vnni() else "ort-x86-avx2"
GREATEST = 127 if has_vnni() else 63


def session(model, target=None, optimized=True):
    """A default session of one thread on a model, its bytes or its file; with a target, on what that is made for.

    On ARM it takes int8 into its integer kernels, on x86-64 only when told so: there it leaves a convolution between
    uint8 and int8 in float, whose sums round otherwise now and then (about one in a million). ort-x86 and c mean a processor
    with VNNI; without it the runtime's sums of 8 bits saturate but in this slower form, whose bytes are VNNI's."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if target == "ort-arm":
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    elif target in ("ort-x86", "c") and not has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])


def optimized(path, folder):
    """The graph that ONNX Runtime makes of a file before it looks for what its processor has."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx").graph


def agree(said, graph):
    """That nodes run in integers exactly where `qonnx lint` says so of them, in a dict by their names. One that is gone
    vanished into integers, or became a part of an operator in float."""
    small = {t.name for t in graph.initializer if t.data_type in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)}
    ran = {}
    for n in graph.node:
        floats = n.op_type in ("QGemm", "MatMulIntegerToFloat")
        integer = n.op_type.startswith("QLinear") or floats or (n.op_type != "DequantizeLinear" and n.input[0] in small)
        if (integer and not floats) or n.op_type == "QuantizeLinear":
            small.update(n.output)
        ran[n.name] = integer
    for name, n in said.items():
        assert ran.get(name, False) == (n["runs"] == "integers"), (n, [m.op_type for m in graph.node if m.name == name])
        assert (n["why"] is None) == (n["runs"] == "integers"), n
