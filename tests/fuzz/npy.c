/* tests/fuzz/npy.c - arrays as samples: the header read, and the values converted. */
#include "frontend/data/data.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_tensor t = {0};
    if (npy_load(cx, path, QONNX_UNDEFINED, &t)) qonnx_sample_free(&t, 1);
    qonnx_ctx_free(cx);
    const Feed feeds[] = {
        {.name = (char[]){"x"}, .dtype = QONNX_FLOAT, .rank = 4, .dims = {1, 3, -1, -1}},
        {.name = (char[]){"x"}, .dtype = QONNX_INT64, .rank = 2, .dims = {-1, 4}},
        {.name = (char[]){"x"}, .dtype = QONNX_UINT8, .rank = -1},
    };
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++) {
        size_t count;
        cx = qonnx_ctx_new();
        if (npy_count(cx, &feeds[i], path, &count) && npy_read(cx, &feeds[i], path, count - 1, &t))
            qonnx_sample_free(&t, 1);
        qonnx_ctx_free(cx);
    }
    return 0;
}
