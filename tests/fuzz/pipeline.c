/* tests/fuzz/pipeline.c - the text of a pipeline, checked as the command does before it starts. */
#include "tests/fuzz/fuzz.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    if (size) memcpy(text, data, size);
    qonnx_ctx *cx = qonnx_ctx_new();
    (void)!qonnx_pipeline_check(cx, text);
    qonnx_ctx_free(cx);
    free(text);
    return 0;
}
