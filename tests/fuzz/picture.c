/* tests/fuzz/picture.c - JPEG and PNG files as samples. */
#include "frontend/data/data.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    const Feed feeds[] = {
        {.name = (char[]){"x"}, .dtype = QONNX_FLOAT, .rank = 4, .dims = {1, 3, 8, 8}},
        {.name = (char[]){"x"}, .dtype = QONNX_UINT8, .rank = 4, .dims = {-1, 1, 8, 8}},
    };
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++) {
        qonnx_ctx *cx = qonnx_ctx_new();
        qonnx_tensor t = {0};
        if (image_check(cx, &feeds[i], path) && image_read(cx, &feeds[i], path, 0, &t))
            qonnx_sample_free(&t, 1);
        qonnx_ctx_free(cx);
    }
    return 0;
}
