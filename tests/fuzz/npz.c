/* tests/fuzz/npz.c - archives of arrays: the directory, what is unpacked, and the damage. */
#include "frontend/data/data.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    const Feed feeds[] = {
        {.name = (char[]){"x"}, .dtype = QONNX_FLOAT, .rank = 2, .dims = {1, 6}},
        {.name = (char[]){"y"}, .dtype = QONNX_INT64, .rank = 2, .dims = {-1, 4}, .keyed = true},
        {.name = (char[]){"z"}, .dtype = QONNX_UINT8, .rank = -1},
    };
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++) {
        size_t count;
        qonnx_tensor t = {0};
        qonnx_ctx *cx = qonnx_ctx_new();
        if (npz_count(cx, &feeds[i], path, &count)) {
            if (npz_read(cx, &feeds[i], path, 0, &t)) qonnx_sample_free(&t, 1);
            if (npz_read(cx, &feeds[i], path, count - 1, &t)) qonnx_sample_free(&t, 1);
        }
        npz_close_all(); /* the next file has the same name */
        qonnx_ctx_free(cx);
    }
    qonnx_ctx *cx = qonnx_ctx_new();
    FileMap m;
    if (file_map(cx, path, &m)) {
        (void)npz_damaged(cx, path, &m);
        file_unmap(&m);
    }
    qonnx_ctx_free(cx);
    return 0;
}
