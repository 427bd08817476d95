/* tests/fuzz/tensor.c - TensorProto files as samples, read as sequences and optionals, too. */
#include "frontend/data/data.h"
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__tensor_proto__descriptor;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Feed feed = {.name = (char[]){"x"}, .dtype = QONNX_FLOAT, .rank = 3, .dims = {-1, 2, -1}};
    const char *path = fuzz_file(data, size);
    qonnx_tensor t = {0};
    for (unsigned kind = 0; kind < 4; kind++) {
        qonnx_ctx *own = qonnx_ctx_new();
        qonnx_dtype want = (qonnx_dtype)(QONNX_FLOAT | kind * QONNX_SEQUENCE);
        if (pb_load(own, path, want, &t)) qonnx_sample_free(&t, 1);
        qonnx_ctx_free(own);
    }
    qonnx_ctx *cx = qonnx_ctx_new();
    if (pb_read(cx, &feed, path, 0, &t)) qonnx_sample_free(&t, 1);
    qonnx_ctx_free(cx);
    return 0;
}
