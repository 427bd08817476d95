/* tests/fuzz/overrides.c - files that say how single tensors and nodes are quantized: what is read
 * is a pipeline of passes that there are, with options that they have.
 */
#include "tests/fuzz/fuzz.h"
#include <qonnx/run.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    char *text = qonnx_overrides_load(cx, fuzz_file(data, size));
    if (text && !qonnx_pipeline_check(cx, text)) abort();
    if (!text && !qonnx_error(cx)) abort();
    free(text);
    qonnx_ctx_free(cx);
    return 0;
}
