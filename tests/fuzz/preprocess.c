/* tests/fuzz/preprocess.c - files and texts that say how pictures are prepared: what is read is one
 * canonical text, which reads back as itself, also through its JSON form.
 */
#include "tests/fuzz/fuzz.h"
#include <qonnx/run.h>
#include <stdlib.h>
#include <string.h>

/* Text and JSON of what was read must give the same again. Frees it. */
static void check(qonnx_ctx *cx, char *text)
{
    char *json = text ? qonnx_preprocess_json(cx, text) : NULL;
    char *again = json ? qonnx_preprocess_load(
                             cx, fuzz_file((const uint8_t *)json, strlen(json)))
                       : NULL;
    /* the default is an object without keys, of which no reader could tell whose it is */
    if (text && (!json || (*text && (!again || strcmp(text, again) != 0)))) abort();
    if (text && qonnx_preprocess_difference(text, text)) abort();
    free(again);
    free(json);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    check(cx, qonnx_preprocess_load(cx, fuzz_file(data, size)));
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    check(cx, qonnx_preprocess_set(cx, text, "exif", "ignore"));
    free(text);
    qonnx_ctx_free(cx);
    return 0;
}
