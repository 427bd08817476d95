/* tests/fuzz/pipeline.c - the text of a pipeline, checked as the command does before it starts, and
 * taken apart as the command does to change it.
 */
#include "tests/fuzz/fuzz.h"
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

/* Goes through the passes: they and the commas between them are the whole text. */
static void take_apart(const char *text)
{
    const char *at = text;
    while (*at) {
        size_t n = qonnx_pipeline_span(at, ",");
        if (n > strlen(at) || (at[n] && at[n] != ',')) abort();
        at += n + (at[n] != 0);
    }
    char *value = qonnx_pipeline_setting(text, "observer");
    if (value && strlen(value) > strlen(text) + strlen("minmax")) abort();
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    if (size) memcpy(text, data, size);
    qonnx_ctx *cx = qonnx_ctx_new();
    (void)!qonnx_pipeline_check(cx, text);
    qonnx_ctx_free(cx);
    take_apart(text);
    free(text);
    return 0;
}
