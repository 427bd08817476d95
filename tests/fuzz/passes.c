/* tests/fuzz/passes.c - an ONNX file goes through the passes that come before calibration: shapes,
 * verification, folding.
 */
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include <qonnx/qonnx.h>

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__model_proto__descriptor;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_graph *g = qonnx_model_load(cx, fuzz_file(data, size));
    if (g && qonnx_pipeline_run(cx, g, qonnx_pipeline_prefix(), NULL))
        (void)!qonnx_model_save(cx, g, "/dev/null");
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    return 0;
}
