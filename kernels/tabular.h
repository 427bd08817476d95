/* kernels/tabular.h - rows of features prepared for a model: ONNX's Scaler, Imputer and Normalizer
 * of ai.onnx.ml.
 */
#ifndef KERNELS_TABULAR_H
#define KERNELS_TABULAR_H

#include <float.h>
#include "elements.h"

typedef struct rescale_p {
    int32_t count;    /* elements */
    int32_t features; /* numbers of offset and scale, which are gone through again and again */
    int32_t type;     /* of x: A_FLOAT ... */
} rescale_p;          /* rescale(p, x, offset, scale, y): y = (x - offset) * scale */

KERNEL_TRAITS(rescale, floats)
KERNEL_RUN void rescale(const rescale_p *restrict p, const void *restrict x,
                        const float *restrict offset, const float *restrict scale,
                        float *restrict y)
{
    const int32_t wide = p->type == A_DOUBLE;
    int32_t f = 0;
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        double v[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        arith_load_reals(v, p->type, x, i, 1, n);
        for (int32_t j = 0; j < n; j++) {
            const float narrow = ((float)v[j] - offset[f]) * scale[f];
            const double exact = (v[j] - (double)offset[f]) * (double)scale[f];
            y[i + j] = wide ? (float)exact : narrow;
            f = f + 1 == p->features ? 0 : f + 1;
        }
    }
}

typedef struct impute_p {
    int32_t count;    /* elements */
    int32_t features; /* values, which are gone through again and again */
    int32_t type;     /* A_FLOAT ... */
    int32_t size;     /* bytes an element */
} impute_p;           /* impute(p, x, gone, values, y): an element that equals `gone`, a number,
                         becomes the value of its feature. NaN equals NaN */

KERNEL_TRAITS(impute, exact)
KERNEL_RUN void impute(const impute_p *restrict p, const void *restrict x,
                       const void *restrict gone, const void *restrict values, void *restrict y)
{
    const ptrdiff_t size = p->size;
    const int32_t real = arith_is_real(p->type);
    uint64_t u[F_CHUNK] = {0}, none[F_CHUNK] = {0};
    double v[F_CHUNK] = {0}, no[F_CHUNK] = {0};
    if (real) arith_load_reals(no, p->type, gone, 0, 1, 1);
    else arith_load_integers(none, p->type, gone, 0, 1, 1);
    ptrdiff_t f = 0;
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        const int32_t n = f_chunk(i, p->count);
        if (real) arith_load_reals(v, p->type, x, i, 1, n);
        else arith_load_integers(u, p->type, x, i, 1, n);
        for (int32_t j = 0; j < n; j++) {
            const int32_t same = real ? v[j] == no[0] || (v[j] != v[j] && no[0] != no[0])
                                      : u[j] == none[0];
            const unsigned char *from = same ? (const unsigned char *)values + f * size
                                             : (const unsigned char *)x + (i + j) * size;
            memcpy((unsigned char *)y + (i + j) * size, from, (size_t)size);
            f = f + 1 == p->features ? 0 : f + 1;
        }
    }
}

typedef struct f_maxnorm_p {
    int32_t rows, count;
} f_maxnorm_p; /* f_maxnorm(p, x, y): rows divided by their greatest element, unless that is 0 */

KERNEL_RUN void f_maxnorm(const f_maxnorm_p *restrict p, const float *restrict x, float *restrict y)
{
    for (ptrdiff_t r = 0; r < p->rows; r++, x += p->count, y += p->count) {
        float top = -FLT_MAX;
        for (int32_t i = 0; i < p->count; i++) top = x[i] > top ? x[i] : top;
        for (int32_t i = 0; i < p->count; i++) y[i] = top == 0.0f ? x[i] : x[i] / top;
    }
}

#endif
