/* tests/fuzz/run.c - an ONNX file is lowered and, when it is small work, run on made-up inputs. */
#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include <math.h>
#include <qonnx/qonnx.h>
#include <stdlib.h>
#include <string.h>

const ProtobufCMessageDescriptor *const fuzz_type = &onnx__model_proto__descriptor;

enum { MOST_INPUTS = 16 };

/* Texts for an input of strings: numbers, words, letters with accents, broken UTF-8, nothing. */
static void *make_strings(size_t n)
{
    static const qonnx_string texts[] = {{0, ""},    {2, "12"},           {4, "-1.5"},
                                         {3, "a b"}, {6, "\xc3\x84rger"}, {3, "\xff\xc3x"}};
    const qonnx_string **data = calloc(n + 1, sizeof *data);
    for (size_t i = 0; i < n; i++) data[i] = &texts[i % (sizeof texts / sizeof *texts)];
    return data;
}

/* Numbers for an input: 0, 1, 2, ... in its type, negative ones and NaN among the floats. */
static void *make_data(qonnx_dtype type, size_t n, size_t bytes)
{
    if (type == QONNX_STRING) return make_strings(n);
    uint8_t *data = calloc(1, bytes + !bytes);
    for (size_t i = 0; i < n && type == QONNX_FLOAT; i++) {
        float v = i % 97 == 96 ? NAN : (float)(i % 7) - 3;
        memcpy(data + i * sizeof v, &v, sizeof v);
    }
    for (size_t i = 0; i < bytes && type != QONNX_FLOAT && type != QONNX_BOOL; i++)
        data[i] = (uint8_t)(i % 3);
    return data;
}

/* One tensor for each input that is fed. Returns how many, -1 when an input cannot be made. */
static int make_inputs(const qonnx_graph *g, qonnx_tensor *t)
{
    int fed = 0;
    for (int i = 0; i < qonnx_graph_inputs(g); i++) {
        const qonnx_value *v = qonnx_graph_input(g, i);
        int rank = qonnx_value_rank(v), bits = qonnx_dtype_bits(qonnx_value_dtype(v));
        size_t n = 1;
        if (qonnx_value_constant(v)) continue;
        if (rank < 0 || !bits || fed == MOST_INPUTS) return -1;
        t[fed] = (qonnx_tensor){.dtype = qonnx_value_dtype(v), .rank = rank};
        for (int k = 0; k < rank; k++) {
            t[fed].dims[k] = qonnx_value_dim(v, k) < 0 ? 3 : qonnx_value_dim(v, k);
            n *= (size_t)t[fed].dims[k];
        }
        t[fed].bytes = (n * (size_t)bits + 7) / 8;
        fed++;
    }
    for (int i = 0; i < fed; i++)
        t[i].data = make_data(t[i].dtype, (size_t)qonnx_tensor_elements(&t[i]), t[i].bytes);
    return fed;
}

static bool see(void *user, size_t sample, const qonnx_tensor *outputs)
{
    (void)user, (void)sample, (void)outputs;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    qonnx_graph *g = qonnx_model_load(cx, fuzz_file(data, size));
    if (g && fuzz_is_small(g) && qonnx_pipeline_run(cx, g, "raise-opset,fold-constants", NULL) &&
        fuzz_is_small(g)) {
        qonnx_tensor t[MOST_INPUTS];
        int fed = make_inputs(g, t);
        qonnx_session_options o = {.engine = "portable", .threads = 1, .max_memory = 16 << 20};
        qonnx_session *s = fed >= 0 ? qonnx_session_new(cx, g, &o) : NULL;
        if (s) (void)!qonnx_session_run_one(cx, s, t, see, NULL);
        qonnx_session_free(s);
        for (int i = 0; i < fed; i++) free((void *)(uintptr_t)t[i].data);
    }
    qonnx_graph_free(g);
    qonnx_ctx_free(cx);
    return 0;
}
