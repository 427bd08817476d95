/* tests/test_quant.c - the arithmetic of quantization against ONNX Runtime's quantizer, bit for
 * bit, weights whose scale is raised for their bias, and the table of target profiles.
 */
#include "ir/ir.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- scales and zero points ------------------------------------------------------------------ */

enum { U8, S8, W8, U8S, S16 };

static const qonnx_grid grids[] = {
    [U8] = {QONNX_UINT8, 0, 255, false},         [S8] = {QONNX_INT8, -128, 127, false},
    [W8] = {QONNX_INT8, -127, 127, true},        [U8S] = {QONNX_UINT8, 0, 255, true},
    [S16] = {QONNX_INT16, -32768, 32767, false},
};

/* Printed by ONNX Runtime 1.31's own code: for each grid and range,
 * `z, s = onnxruntime.quantization.quant_utils.compute_scale_zp(float32(lo), float32(hi),
 * array(qmin), array(qmax), symmetric)`, then `float(float32(s)).hex()` and `int(z)`. */
static const struct {
    int grid;
    float lo, hi, scale;
    int zero_point;
} ort_params[] = {
    {U8, 0, 0x1.8p+2f, 0x1.818182p-6f, 0},
    {U8, 0, 0x1p+0f, 0x1.010102p-8f, 0},
    {U8, -0x1p+0f, 0x1p+0f, 0x1.010102p-7f, 128},
    {U8, -0x1p-1f, 0x1.4p+1f, 0x1.818182p-7f, 42},
    {U8, 0x1.8p+1f, 0x1.cp+2f, 0x1.c1c1c2p-6f, 0},
    {U8, -0x1.2p+3f, -0x1p+1f, 0x1.212122p-5f, 255},
    {U8, 0, 0, 0x1p+0f, 0},
    {U8, -0x1.5c73p-130f, 0x1.5c73p-130f, 0x1p+0f, 0},
    {U8, 0, 0x1.b38fb8p-127f, 0x1p+0f, 0},
    {U8, 0, 0x1.fe6c6ep-119f, 0x1.00366ep-126f, 0},
    {U8, -0x1.fffffep+127f, 0x1.fffffep+127f, 0x1.0101p+121f, 128},
    {U8, 0, 0x1.fep-1f, 0x1p-8f, 0},
    {U8, -0x1.0f177ap+1f, 0x1.51eb86p+1f, 0x1.31b334p-6f, 114},
    {U8, -0x1p+0f, 0x1.fcp-1f, 0x1p-7f, 128},
    {U8, 0, 0x1.98p+4f, 0x1.99999ap-4f, 0},
    {U8, -0x1.99999ap-4f, 0x1.966666p+4f, 0x1.99999ap-4f, 1},
    {U8, 0x1.6a5f0cp-12f, 0x1.aec3b8p-11f, 0x1.b0742cp-19f, 0},
    {U8, -0x1.ab04cp-7f, 0x1.28aac2p-7f, 0x1.6b4304p-14f, 150},
    {U8, -0x1.5fe5cep-8f, 0x1.24893ap-8f, 0x1.437afep-15f, 139},
    {U8, 0x1.e1e81cp-6f, 0x1.2aa86p-5f, 0x1.2bd434p-13f, 0},
    {U8, 0x1.6bcep+1f, 0x1.b55ed2p+5f, 0x1.b715e8p-3f, 0},
    {U8, -0x1.8af3cp-5f, -0x1.0ae962p-6f, 0x1.8c804p-13f, 255},
    {S8, 0, 0x1.8p+2f, 0x1.818182p-6f, -128},
    {S8, 0, 0x1p+0f, 0x1.010102p-8f, -128},
    {S8, -0x1p+0f, 0x1p+0f, 0x1.010102p-7f, 0},
    {S8, -0x1p-1f, 0x1.4p+1f, 0x1.818182p-7f, -86},
    {S8, 0x1.8p+1f, 0x1.cp+2f, 0x1.c1c1c2p-6f, -128},
    {S8, -0x1.2p+3f, -0x1p+1f, 0x1.212122p-5f, 127},
    {S8, 0, 0, 0x1p+0f, 0},
    {S8, -0x1.5c73p-130f, 0x1.5c73p-130f, 0x1p+0f, 0},
    {S8, 0, 0x1.b38fb8p-127f, 0x1p+0f, 0},
    {S8, 0, 0x1.fe6c6ep-119f, 0x1.00366ep-126f, -128},
    {S8, -0x1.fffffep+127f, 0x1.fffffep+127f, 0x1.0101p+121f, 0},
    {S8, 0, 0x1.fep-1f, 0x1p-8f, -128},
    {S8, -0x1.0f177ap+1f, 0x1.51eb86p+1f, 0x1.31b334p-6f, -14},
    {S8, -0x1p+0f, 0x1.fcp-1f, 0x1p-7f, 0},
    {S8, 0, 0x1.98p+4f, 0x1.99999ap-4f, -128},
    {S8, -0x1.99999ap-4f, 0x1.966666p+4f, 0x1.99999ap-4f, -127},
    {S8, 0x1.6a5f0cp-12f, 0x1.aec3b8p-11f, 0x1.b0742cp-19f, -128},
    {S8, -0x1.ab04cp-7f, 0x1.28aac2p-7f, 0x1.6b4304p-14f, 22},
    {S8, -0x1.5fe5cep-8f, 0x1.24893ap-8f, 0x1.437afep-15f, 11},
    {S8, 0x1.e1e81cp-6f, 0x1.2aa86p-5f, 0x1.2bd434p-13f, -128},
    {S8, 0x1.6bcep+1f, 0x1.b55ed2p+5f, 0x1.b715e8p-3f, -128},
    {S8, -0x1.8af3cp-5f, -0x1.0ae962p-6f, 0x1.8c804p-13f, 127},
    {W8, 0, 0x1.8p+2f, 0x1.83060cp-5f, 0},
    {W8, 0, 0x1p+0f, 0x1.020408p-7f, 0},
    {W8, -0x1p+0f, 0x1p+0f, 0x1.020408p-7f, 0},
    {W8, -0x1p-1f, 0x1.4p+1f, 0x1.42850ap-6f, 0},
    {W8, 0x1.8p+1f, 0x1.cp+2f, 0x1.c3870ep-5f, 0},
    {W8, -0x1.2p+3f, -0x1p+1f, 0x1.22448ap-4f, 0},
    {W8, 0, 0, 0x1p+0f, 0},
    {W8, -0x1.5c73p-130f, 0x1.5c73p-130f, 0x1p+0f, 0},
    {W8, 0, 0x1.b38fb8p-127f, 0x1p+0f, 0},
    {W8, 0, 0x1.fe6c6ep-119f, 0x1.0138a8p-125f, 0},
    {W8, -0x1.fffffep+127f, 0x1.fffffep+127f, 0x1.020408p+121f, 0},
    {W8, 0, 0x1.fep-1f, 0x1.010204p-7f, 0},
    {W8, -0x1.0f177ap+1f, 0x1.51eb86p+1f, 0x1.5494bp-6f, 0},
    {W8, -0x1p+0f, 0x1.fcp-1f, 0x1.020408p-7f, 0},
    {W8, 0, 0x1.98p+4f, 0x1.9b366cp-3f, 0},
    {W8, -0x1.99999ap-4f, 0x1.966666p+4f, 0x1.99999ap-3f, 0},
    {W8, 0x1.6a5f0cp-12f, 0x1.aec3b8p-11f, 0x1.b22808p-18f, 0},
    {W8, -0x1.ab04cp-7f, 0x1.28aac2p-7f, 0x1.ae6184p-14f, 0},
    {W8, -0x1.5fe5cep-8f, 0x1.24893ap-8f, 0x1.62ab24p-15f, 0},
    {W8, 0x1.e1e81cp-6f, 0x1.2aa86p-5f, 0x1.2d0264p-12f, 0},
    {W8, 0x1.6bcep+1f, 0x1.b55ed2p+5f, 0x1.b8d072p-2f, 0},
    {W8, -0x1.8af3cp-5f, -0x1.0ae962p-6f, 0x1.8e0fep-12f, 0},
    {U8S, 0, 0x1.8p+2f, 0x1.818182p-5f, 128},
    {U8S, 0, 0x1p+0f, 0x1.010102p-7f, 128},
    {U8S, -0x1p+0f, 0x1p+0f, 0x1.010102p-7f, 128},
    {U8S, -0x1p-1f, 0x1.4p+1f, 0x1.414142p-6f, 128},
    {U8S, 0x1.8p+1f, 0x1.cp+2f, 0x1.c1c1c2p-5f, 128},
    {U8S, -0x1.2p+3f, -0x1p+1f, 0x1.212122p-4f, 128},
    {U8S, 0, 0, 0x1p+0f, 0},
    {U8S, -0x1.5c73p-130f, 0x1.5c73p-130f, 0x1p+0f, 0},
    {U8S, 0, 0x1.b38fb8p-127f, 0x1p+0f, 0},
    {U8S, 0, 0x1.fe6c6ep-119f, 0x1.00366ep-125f, 128},
    {U8S, -0x1.fffffep+127f, 0x1.fffffep+127f, 0x1.0101p+121f, 128},
    {U8S, 0, 0x1.fep-1f, 0x1p-7f, 128},
    {U8S, -0x1.0f177ap+1f, 0x1.51eb86p+1f, 0x1.533ec4p-6f, 128},
    {U8S, -0x1p+0f, 0x1.fcp-1f, 0x1.010102p-7f, 128},
    {U8S, 0, 0x1.98p+4f, 0x1.99999ap-3f, 128},
    {U8S, -0x1.99999ap-4f, 0x1.966666p+4f, 0x1.97fe64p-3f, 128},
    {U8S, 0x1.6a5f0cp-12f, 0x1.aec3b8p-11f, 0x1.b0742cp-18f, 128},
    {U8S, -0x1.ab04cp-7f, 0x1.28aac2p-7f, 0x1.acb172p-14f, 128},
    {U8S, -0x1.5fe5cep-8f, 0x1.24893ap-8f, 0x1.614716p-15f, 128},
    {U8S, 0x1.e1e81cp-6f, 0x1.2aa86p-5f, 0x1.2bd434p-12f, 128},
    {U8S, 0x1.6bcep+1f, 0x1.b55ed2p+5f, 0x1.b715e8p-2f, 128},
    {U8S, -0x1.8af3cp-5f, -0x1.0ae962p-6f, 0x1.8c804p-12f, 128},
    {S16, 0, 0x1.8p+2f, 0x1.80018p-14f, -32768},
    {S16, 0, 0x1p+0f, 0x1.0001p-16f, -32768},
    {S16, -0x1p+0f, 0x1p+0f, 0x1.0001p-15f, 0},
    {S16, -0x1p-1f, 0x1.4p+1f, 0x1.80018p-15f, -21846},
    {S16, 0x1.8p+1f, 0x1.cp+2f, 0x1.c001cp-14f, -32768},
    {S16, -0x1.2p+3f, -0x1p+1f, 0x1.20012p-13f, 32767},
    {S16, 0, 0, 0x1p+0f, 0},
    {S16, -0x1.5c73p-130f, 0x1.5c73p-130f, 0x1p+0f, 0},
    {S16, 0, 0x1.b38fb8p-127f, 0x1p+0f, 0},
    {S16, 0, 0x1.fe6c6ep-119f, 0x1p+0f, 0},
    {S16, -0x1.fffffep+127f, 0x1.fffffep+127f, 0x1.0001p+113f, 0},
    {S16, 0, 0x1.fep-1f, 0x1.fe01fep-17f, -32768},
    {S16, -0x1.0f177ap+1f, 0x1.51eb86p+1f, 0x1.3082bp-14f, -3596},
    {S16, -0x1p+0f, 0x1.fcp-1f, 0x1.fe01fep-16f, 128},
    {S16, 0, 0x1.98p+4f, 0x1.980198p-12f, -32768},
    {S16, -0x1.99999ap-4f, 0x1.966666p+4f, 0x1.980198p-12f, -32511},
    {S16, 0x1.6a5f0cp-12f, 0x1.aec3b8p-11f, 0x1.aec566p-27f, -32768},
    {S16, -0x1.ab04cp-7f, 0x1.28aac2p-7f, 0x1.69d92ap-22f, 5902},
    {S16, -0x1.5fe5cep-8f, 0x1.24893ap-8f, 0x1.4238c6p-23f, 3018},
    {S16, 0x1.e1e81cp-6f, 0x1.2aa86p-5f, 0x1.2aa98ap-21f, -32768},
    {S16, 0x1.6bcep+1f, 0x1.b55ed2p+5f, 0x1.b56088p-11f, -32768},
    {S16, -0x1.8af3cp-5f, -0x1.0ae962p-6f, 0x1.8af54ap-21f, 32767},
};

static void test_params_equal_onnxruntime(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ort_params / sizeof *ort_params; i++) {
        float scale;
        int zero_point;
        qonnx_grid_params(&grids[ort_params[i].grid], ort_params[i].lo, ort_params[i].hi, &scale,
                          &zero_point);
        if (memcmp(&scale, &ort_params[i].scale, sizeof scale) ||
            zero_point != ort_params[i].zero_point)
            fail_msg("row %zu [%a, %a]: scale %a zero point %d, want %a %d", i,
                     (double)ort_params[i].lo, (double)ort_params[i].hi, (double)scale, zero_point,
                     (double)ort_params[i].scale, ort_params[i].zero_point);
    }
}

static void test_softmax_range_gives_exactly_1_256(void **state)
{
    (void)state;
    float scale;
    int zero_point;
    qonnx_grid_params(&grids[U8], 0, 255.0 / 256, &scale, &zero_point);
    assert_true(scale == 0x1p-8f && zero_point == 0);
}

static void test_params_of_nothing(void **state)
{
    (void)state;
    float scale;
    int zero_point;
    qonnx_grid_params(&grids[U8], NAN, NAN, &scale, &zero_point);
    assert_true(scale == 1 && zero_point == 0);
}

/* ---- integers -------------------------------------------------------------------------------- */

static void test_quantize_rounds_to_even_and_saturates(void **state)
{
    (void)state;
    const float x[] = {-1, -0.25f, 0, 0.25f, 0.5f, 0.75f, 1.25f, 1e30f, -INFINITY, INFINITY, NAN};
    const uint8_t want[] = {1, 3, 3, 3, 4, 5, 5, 255, 0, 255, 0};
    uint8_t q[11];
    qonnx_grid_quantize(&grids[U8], x, 11, 0.5f, 3, q);
    assert_memory_equal(q, want, sizeof want);
}

static void test_quantize_stays_in_the_grid(void **state)
{
    (void)state;
    const float x[] = {-200, 200, 3};
    const int8_t want[] = {-127, 127, 3};
    int8_t q[3];
    qonnx_grid_quantize(&grids[W8], x, 3, 1, 0, q);
    assert_memory_equal(q, want, sizeof want);
}

static void test_quantize_16_bits(void **state)
{
    (void)state;
    const float x[] = {-1, 1, 1e9f, -1e9f};
    const int16_t want[] = {90, 110, 32767, -32768};
    int16_t q[4];
    qonnx_grid_quantize(&grids[S16], x, 4, 0.1f, 100, q);
    assert_memory_equal(q, want, sizeof want);
}

/* ---- weights --------------------------------------------------------------------------------- */

static Value *constant(Graph *g, const char *name, int rank, const int64_t *dims, const float *x)
{
    Tensor t = {.dtype = QONNX_FLOAT, .rank = rank, .data = x};
    memcpy(t.dims, dims, (size_t)rank * sizeof *dims);
    t.bytes = (size_t)qonnx_tensor_elements(&t) * sizeof *x;
    return qonnx_graph_add_constant(g, name, &t);
}

/* A node with one weight. */
static Node *weighted(Graph *g, const char *op, int rank, const int64_t *dims, const float *w)
{
    Value *in[] = {qonnx_graph_add_value(g, "x"), constant(g, "w", rank, dims, w)};
    Value *out = qonnx_graph_add_value(g, "y");
    return qonnx_graph_add_node(g, NULL, op, "", "n", in, 2, &out, 1);
}

static void test_conv_weight_per_channel(void **state)
{
    (void)state;
    Graph *g = graph_new("test");
    const float w[] = {0.5f, -1, 0.25f, 0, 0, 0, 3, 1.5f, -0.0118f};
    Node *n = weighted(g, "Conv", 4, (int64_t[]){3, 1, 1, 3}, w);
    qonnx_weight_params p;
    assert_true(qonnx_node_quantize_weight(n, &grids[W8], true, 0.1f, NULL, &p));
    assert_int_equal(p.count, 3);
    assert_int_equal(p.axis, 0);
    assert_true(p.scales[0] == (float)(2.0 / 254) && p.scales[1] == 1 &&
                p.scales[2] == (float)(6.0 / 254));
    const int8_t want[] = {64, -127, 32, 0, 0, 0, 127, 64, 0};
    assert_memory_equal(p.data, want, sizeof want);
    qonnx_graph_free(g);
}

static void test_matmul_weight_per_column_and_per_tensor(void **state)
{
    (void)state;
    Graph *g = graph_new("test");
    Node *n = weighted(g, "MatMul", 2, (int64_t[]){2, 2}, (float[]){1, -8, 0.5f, 4});
    qonnx_weight_params p;
    assert_true(qonnx_node_quantize_weight(n, &grids[W8], true, 0.1f, NULL, &p));
    assert_int_equal(p.axis, 1);
    assert_memory_equal(p.data, ((int8_t[]){127, -127, 64, 64}), 4);
    assert_true(qonnx_node_quantize_weight(n, &grids[W8], false, 0.1f, NULL, &p));
    assert_int_equal(p.axis, -1);
    assert_int_equal(p.count, 1);
    assert_memory_equal(p.data, ((int8_t[]){16, -127, 8, 64}), 4);
    qonnx_graph_free(g);
}

/* The second channel's bias would need 2e6 / (0.01 * 1e-6 / 127) = 2.5e16 steps. */
static void test_scale_is_raised_where_the_bias_would_overflow(void **state)
{
    (void)state;
    Graph *g = graph_new("test");
    Node *n = weighted(g, "Conv", 4, (int64_t[]){2, 1, 1, 1}, (float[]){1, 1e-6f});
    const float bias[] = {1, -2e6f};
    qonnx_weight_params p;
    assert_true(qonnx_node_quantize_weight(n, &grids[W8], true, 0.01f, bias, &p));
    assert_true(p.scales[0] == (float)(2.0 / 254));
    double steps = fabs((double)bias[1]) / (0.01f * p.scales[1]);
    assert_true(steps < INT32_MAX && steps > 0.999 * INT32_MAX);
    assert_int_equal(p.data[1], 0);
    qonnx_graph_free(g);
}

static void test_weight_must_be_a_float_constant(void **state)
{
    (void)state;
    Graph *g = graph_new("test");
    Value *in[] = {qonnx_graph_add_value(g, "a"), qonnx_graph_add_value(g, "b")};
    Value *out = qonnx_graph_add_value(g, "y");
    Node *n = qonnx_graph_add_node(g, NULL, "MatMul", "", "n", in, 2, &out, 1);
    qonnx_weight_params p;
    assert_false(qonnx_node_quantize_weight(n, &grids[W8], true, 0.1f, NULL, &p));
    qonnx_graph_free(g);
}

/* ---- targets --------------------------------------------------------------------------------- */

static void test_targets_are_found_by_name(void **state)
{
    (void)state;
    int count = 0;
    for (const qonnx_target *t; (t = qonnx_target_at(count)); count++) {
        assert_ptr_equal(qonnx_target_find(t->name), t);
        assert_true(t->weight.symmetric && t->brief[0]);
    }
    assert_true(count >= 3);
    assert_string_equal(qonnx_target_at(0)->name, "ort-x86");
    assert_null(qonnx_target_at(-1));
    assert_null(qonnx_target_find("toaster"));
}

/* Two products of a uint8 and a 7-bit weight fit the int16 of vpmaddubsw. */
static void test_avx2_pairs_cannot_saturate(void **state)
{
    (void)state;
    const qonnx_target *t = qonnx_target_find("ort-x86-avx2");
    assert_non_null(t);
    assert_true(2 * t->activation.qmax * t->weight.qmax <= INT16_MAX);
    assert_true(2 * t->activation.qmax * t->weight.qmin >= INT16_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_equal_onnxruntime),
        cmocka_unit_test(test_softmax_range_gives_exactly_1_256),
        cmocka_unit_test(test_params_of_nothing),
        cmocka_unit_test(test_quantize_rounds_to_even_and_saturates),
        cmocka_unit_test(test_quantize_stays_in_the_grid),
        cmocka_unit_test(test_quantize_16_bits),
        cmocka_unit_test(test_conv_weight_per_channel),
        cmocka_unit_test(test_matmul_weight_per_column_and_per_tensor),
        cmocka_unit_test(test_scale_is_raised_where_the_bias_would_overflow),
        cmocka_unit_test(test_weight_must_be_a_float_constant),
        cmocka_unit_test(test_targets_are_found_by_name),
        cmocka_unit_test(test_avx2_pairs_cannot_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
