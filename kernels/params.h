/* kernels/params.h - the parameter structs of the kernels: int32_t fields first, then float fields.
 *
 * Spatial operators have three axes d, h, w; a 2-D one has d = 1, a 1-D one d = h = 1. Tensors are
 * channels-last: [n][d][h][w][c]. `lo` and `hi` clamp the result: -INFINITY and INFINITY for none.
 */
#ifndef KERNELS_PARAMS_H
#define KERNELS_PARAMS_H

#include <stdint.h>
#include "unary_rows.h"

/* One window sliding over d, h, w: shared by convolutions and pools. */
typedef struct f_conv_p {
    int32_t n;             /* batch */
    int32_t id, ih, iw;    /* input size */
    int32_t od, oh, ow;    /* output size */
    int32_t ic, oc, group; /* channels in and out, all groups together; group divides both */
    int32_t kd, kh, kw;    /* kernel size */
    int32_t sd, sh, sw;    /* strides */
    int32_t dd, dh, dw;    /* dilations */
    int32_t pd, ph, pw;    /* padding in front; behind follows from the output size */
    float lo, hi;
} f_conv_p; /* f_conv(p, x, w, bias or NULL, y); w packed from ONNX's [oc][ic/group][kd][kh][kw] */

typedef struct f_pool_p {
    int32_t n, id, ih, iw, od, oh, ow, c;
    int32_t kd, kh, kw, sd, sh, sw, dd, dh, dw, pd, ph, pw;
    int32_t ed, eh, ew;  /* padding behind, as far as it counts for count_include_pad */
    int32_t include_pad; /* average: divide by the window's padded size (clipped to the padded
                            input), else by the elements inside the input */
} f_pool_p;              /* f_maxpool(p, x, y), f_avgpool(p, x, y) */

typedef struct f_gemm_p {
    int32_t m, n, k; /* y[m][n] = x[m][k] * w[k][n] + bias[n] */
    int32_t transb;  /* the raw weight is [n][k] */
    float lo, hi;
} f_gemm_p; /* f_gemm(p, x, w, bias or NULL, y); w packed. alpha and beta are folded beforehand */

enum {
    F_ADD,
    F_SUB,
    F_MUL,
    F_DIV,
    F_MIN,
    F_MAX,
    F_POW,
    F_PRELU, /* a below 0 times b */
    F_FMOD,  /* the rest of a division towards 0, of the sign of a */
    /* of arith alone */
    F_MOD, /* of the sign of b */
    F_AND,
    F_OR,
    F_XOR,
    F_SHIFT_LEFT,
    F_SHIFT_RIGHT,
    /* the result is bool */
    F_EQUAL,
    F_NOT_EQUAL,
    F_LESS,
    F_LESS_EQUAL,
    F_GREATER,
    F_GREATER_EQUAL
};

typedef struct f_binary_p {
    int32_t op;                     /* F_ADD ... */
    int32_t d0, d1, d2, d3, d4, d5; /* output dims, 1 in front where there are fewer */
    int32_t a0, a1, a2, a3, a4, a5; /* strides of a in elements, 0 where it broadcasts */
    int32_t b0, b1, b2, b3, b4, b5;
    float lo, hi;
} f_binary_p; /* f_binary(p, a, b, y); y may be an operand that has its very elements in order */

typedef struct f_unary_p {
    int32_t op;        /* F_CLIP ... */
    int32_t count;     /* elements */
    float alpha, beta; /* the attributes of its row (unary_rows.h) */
    float lo, hi;      /* clamp of the result */
} f_unary_p;           /* f_unary(p, x, y); y may be x */

typedef struct f_softmax_p {
    int32_t outer, count, inner; /* over `count`, whose elements are `inner` apart */
    int32_t log;                 /* LogSoftmax */
} f_softmax_p;                   /* f_softmax(p, x, y) */

typedef struct f_affine_p {
    int32_t outer, channels, inner; /* y[o][c][i] = x[o][c][i] * scale[c] + shift[c] */
    float lo, hi;
} f_affine_p; /* f_affine(p, x, scale, shift, y): BatchNormalization; y may be x */

typedef struct copy_p {
    int32_t d0, d1, d2, d3, d4, d5, d6, d7; /* dims of the copied box */
    int32_t x0, x1, x2, x3, x4, x5, x6, x7; /* source strides in elements; may be negative */
    int32_t y0, y1, y2, y3, y4, y5, y6, y7; /* destination strides */
    int32_t xoff, yoff;                     /* first element of each */
    int32_t size;                           /* bytes an element: 1, 2, 4, 8 */
} copy_p; /* copy(p, x, y): transpose, concat, slice, expand, layout changes */

typedef struct quantize_p {
    int32_t outer, channels, inner; /* one scale a channel; per tensor: channels = 1 */
    int32_t dtype;                  /* of the integers: ONNX's number */
    int32_t block;     /* 0; else scales are [outer][channels / block, rounded up][inner] */
    int32_t saturate;  /* floats of 8 bits: what is too large becomes the largest one */
    int32_t precision; /* float16 or bfloat16, to which x and x / scale are rounded; 0: not */
} quantize_p; /* quantize(p, x, scale, zero point or NULL, y), dequantize(...) */

#endif
