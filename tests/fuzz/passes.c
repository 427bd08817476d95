/* tests/fuzz/passes.c - an ONNX file goes through the passes that need no statistics: those that
 * come before calibration, and, where it is quantized, those that make it one of ours,
 * in both forms.
 */
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include <qonnx/qonnx.h>

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__model_proto__descriptor;

static void run(const char *file, const char *pipeline)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_graph *g = qonnx_model_load(cx, file);
    if (g && qonnx_pipeline_run(cx, g, pipeline, NULL))
        (void)!qonnx_model_save(cx, g, "/dev/null");
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *file = fuzz_file(data, size);
    run(file, qonnx_pipeline_prefix());
    run(file, qonnx_pipeline_requantize());
    run(file, "raise-opset,adopt-qdq,insert-qdq,qoperator");
    return 0;
}
