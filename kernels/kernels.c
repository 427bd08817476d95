/* kernels/kernels.c - every kernel compiled and listed, for one instruction set.
 *
 * Built once for each level: -DKERNELS_LEVEL=base, v3, v4 with the matching -march gives the table
 * kernels_base, kernels_v3, kernels_v4. All give the same bytes. select.c chooses.
 */
#include <assert.h>
#include "kernels/kernel.h"
#include "kernels/params.h"
#include "kernels/f_conv.h"
#include "kernels/f_dwconv.h"
#include "kernels/f_gemm.h"
#include "kernels/f_matmul.h"
#include "kernels/f_maxpool.h"
#include "kernels/f_avgpool.h"
#include "kernels/f_binary.h"
#include "kernels/f_unary.h"
#include "kernels/f_softmax.h"
#include "kernels/f_affine.h"
#include "kernels/f_reduce.h"
#include "kernels/copy.h"
#include "kernels/fill.h"
#include "kernels/quantize.h"
#include "kernels/q_conv.h"
#include "kernels/q_dwconv.h"
#include "kernels/q_gemm.h"
#include "kernels/q_add.h"
#include "kernels/q_mul.h"
#include "kernels/q_maxpool.h"
#include "kernels/q_avgpool.h"
#include "kernels/q_table.h"
#include "kernels/q_softmax.h"

#define JOIN_(a, b)   a##b
#define JOIN(a, b)    JOIN_(a, b)
#define KERNELS_TABLE JOIN(kernels_, KERNELS_LEVEL)

/* The functions of a table, from the kernels proper. */
#define RUN(name, params, ...)                                                                     \
    static void run_##name(const void *params_, const void *const *in, void *const *out)           \
    {                                                                                              \
        const params *p = params_;                                                                 \
        name(p, __VA_ARGS__);                                                                      \
    }
#define PACK(name, params, type)                                                                   \
    static size_t bytes_##name(const void *p) { return name##_packed(p) * sizeof(type); }          \
    static void pack_##name(const void *p, const void *raw, void *packed)                          \
    {                                                                                              \
        name##_pack(p, raw, packed);                                                               \
    }

RUN(f_conv, f_conv_p, in[0], in[1], in[2], out[0])
RUN(f_dwconv, f_conv_p, in[0], in[1], in[2], out[0])
RUN(f_gemm, f_gemm_p, in[0], in[1], in[2], out[0])
RUN(f_matmul, f_matmul_p, in[0], in[1], out[0])
RUN(f_maxpool, f_pool_p, in[0], out[0])
RUN(f_avgpool, f_pool_p, in[0], out[0])
RUN(f_binary, f_binary_p, in[0], in[1], out[0])
RUN(f_unary, f_unary_p, in[0], out[0])
RUN(f_softmax, f_softmax_p, in[0], out[0])
RUN(f_affine, f_affine_p, in[0], in[1], in[2], out[0])
RUN(f_reduce, f_reduce_p, in[0], out[0])
RUN(copy, copy_p, in[0], out[0])
RUN(fill, fill_p, in[0], out[0])
RUN(quantize, quantize_p, in[0], in[1], in[2], out[0])
RUN(dequantize, quantize_p, in[0], in[1], in[2], out[0])
PACK(f_conv, f_conv_p, float)
PACK(f_dwconv, f_conv_p, float)
PACK(f_gemm, f_gemm_p, float)
RUN(q_conv, q_conv_p, in[0], in[1], in[2], in[3], out[0])
RUN(q_dwconv, q_conv_p, in[0], in[1], in[2], in[3], out[0])
RUN(q_gemm, q_gemm_p, in[0], in[1], in[2], in[3], out[0])
RUN(q_add, q_add_p, in[0], in[1], out[0])
RUN(q_mul, q_mul_p, in[0], in[1], out[0])
RUN(q_maxpool, q_pool_p, in[0], out[0])
RUN(q_avgpool, q_pool_p, in[0], in[1], out[0])
RUN(q_table, q_table_p, in[0], in[1], out[0])
RUN(q_softmax, q_softmax_p, in[0], in[1], out[0])
PACK(q_conv, q_conv_p, int8_t)
PACK(q_dwconv, q_conv_p, int8_t)
PACK(q_gemm, q_gemm_p, int8_t)

/* A parameter struct is its int32_t fields and its floats, nothing else. */
#define FIELDS(params, nint, nfloat)                                                               \
    static_assert(sizeof(params) == 4 * ((nint) + (nfloat)), #params ": fields miscounted")

FIELDS(f_conv_p, 22, 2);
FIELDS(f_gemm_p, 4, 2);
FIELDS(f_matmul_p, 8, 0);
FIELDS(f_pool_p, 24, 0);
FIELDS(f_binary_p, 19, 2);
FIELDS(f_unary_p, 2, 4);
FIELDS(f_softmax_p, 4, 0);
FIELDS(f_affine_p, 3, 2);
FIELDS(f_reduce_p, 13, 0);
FIELDS(copy_p, 27, 0);
FIELDS(fill_p, 2, 0);
FIELDS(quantize_p, 4, 0);
FIELDS(q_conv_p, 27, 0);
FIELDS(q_gemm_p, 8, 0);
FIELDS(q_add_p, 9, 0);
FIELDS(q_mul_p, 26, 0);
FIELDS(q_pool_p, 25, 0);
FIELDS(q_table_p, 1, 0);
FIELDS(q_softmax_p, 5, 0);

extern const Kernel KERNELS_TABLE[];
const Kernel KERNELS_TABLE[] = {
    /* name      int float in out */
    {"f_conv", 22, 2, 3, 1, run_f_conv, bytes_f_conv, pack_f_conv},
    {"f_dwconv", 22, 2, 3, 1, run_f_dwconv, bytes_f_dwconv, pack_f_dwconv},
    {"f_gemm", 4, 2, 3, 1, run_f_gemm, bytes_f_gemm, pack_f_gemm},
    {"f_matmul", 8, 0, 2, 1, run_f_matmul, NULL, NULL},
    {"f_maxpool", 24, 0, 1, 1, run_f_maxpool, NULL, NULL},
    {"f_avgpool", 24, 0, 1, 1, run_f_avgpool, NULL, NULL},
    {"f_binary", 19, 2, 2, 1, run_f_binary, NULL, NULL},
    {"f_unary", 2, 4, 1, 1, run_f_unary, NULL, NULL},
    {"f_softmax", 4, 0, 1, 1, run_f_softmax, NULL, NULL},
    {"f_affine", 3, 2, 3, 1, run_f_affine, NULL, NULL},
    {"f_reduce", 13, 0, 1, 1, run_f_reduce, NULL, NULL},
    {"copy", 27, 0, 1, 1, run_copy, NULL, NULL},
    {"fill", 2, 0, 1, 1, run_fill, NULL, NULL},
    {"quantize", 4, 0, 3, 1, run_quantize, NULL, NULL},
    {"dequantize", 4, 0, 3, 1, run_dequantize, NULL, NULL},
    {"q_conv", 27, 0, 4, 1, run_q_conv, bytes_q_conv, pack_q_conv},
    {"q_dwconv", 27, 0, 4, 1, run_q_dwconv, bytes_q_dwconv, pack_q_dwconv},
    {"q_gemm", 8, 0, 4, 1, run_q_gemm, bytes_q_gemm, pack_q_gemm},
    {"q_add", 9, 0, 2, 1, run_q_add, NULL, NULL},
    {"q_mul", 26, 0, 2, 1, run_q_mul, NULL, NULL},
    {"q_maxpool", 25, 0, 1, 1, run_q_maxpool, NULL, NULL},
    {"q_avgpool", 25, 0, 2, 1, run_q_avgpool, NULL, NULL},
    {"q_table", 1, 0, 2, 1, run_q_table, NULL, NULL},
    {"q_softmax", 5, 0, 2, 1, run_q_softmax, NULL, NULL},
    {NULL, 0, 0, 0, 0, NULL, NULL, NULL},
};
