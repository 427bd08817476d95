"""What the scripts here measure with: processes, and ONNX Runtime as the peer."""

import os
import sys
import time


def session(model, threads=1):
    """ONNX Runtime with all optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def measure(command, log):
    """Runs a command. Returns wall seconds, CPU seconds, peak memory in MB, and what it printed."""
    command = [str(word) for word in command]
    with open(log, "w+") as f:
        start = time.monotonic()
        pid = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, f.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, f.fileno(), 2),
            ],
        )
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - start
        f.seek(0)
        text = f.read()
    if status:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{text[-2000:]}")
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / 1000,
        "text": text,
    }
