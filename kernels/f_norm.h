/* kernels/f_norm.h - rows brought to mean 0 and deviation 1, then scaled and shifted.
 *
 * y = (x - mean) / (sqrt(variance + epsilon) + beside) * scale + shift, sums as in f_sum.h, the
 * variance that of what is left of x without the mean.
 */
#ifndef KERNELS_F_NORM_H
#define KERNELS_F_NORM_H

#include "f_math.h"
#include "f_sum.h"

typedef struct f_norm_p {
    int32_t rows, count; /* x is [rows][count] */
    int32_t groups;      /* row r has the scales and shifts of number r % groups, */
    int32_t inner;       /* which are count / inner: one serves that many neighbours */
    int32_t rms;         /* no mean is taken off */
    float epsilon, beside;
} f_norm_p; /* f_norm(p, x, scale or NULL, shift or NULL, y): Layer-, Instance-, Group- ...
               Normalization; y may be x */

/* Sum of x[0..n) in that form. */
KERNEL float f_norm_sum(const float *x, ptrdiff_t n, int32_t form)
{
    f_sum s;
    float sum;
    f_sum_start(&s, 1, n);
    f_sum_rows(&s, x, n, 1, form);
    f_sum_end(&s, &sum);
    return sum;
}

/* y = y * factor * scale[i / inner] + shift[i / inner]. */
KERNEL void f_norm_affine(ptrdiff_t count, ptrdiff_t inner, float factor,
                          const float *restrict scale, const float *restrict shift, float *y)
{
    if (inner == 1 && scale && shift) {
        for (ptrdiff_t i = 0; i < count; i++) y[i] = y[i] * factor * scale[i] + shift[i];
        return;
    }
    for (ptrdiff_t c = 0; c * inner < count; c++, y += inner) {
        const float s = scale ? scale[c] : 1.0f, t = shift ? shift[c] : 0.0f;
        for (ptrdiff_t i = 0; i < inner; i++) y[i] = y[i] * factor * s + t;
    }
}

KERNEL_TRAITS(f_norm, onednn_norm)
KERNEL_RUN void f_norm(const f_norm_p *restrict p, const float *x, const float *restrict scale,
                       const float *restrict shift, float *y)
{
    const ptrdiff_t count = p->count, factors = count / p->inner;
    const float n = (float)count;
    for (ptrdiff_t r = 0; r < p->rows; r++, x += count, y += count) {
        const float mean = p->rms ? 0.0f : f_norm_sum(x, count, F_SUM_PLAIN) / n;
        const ptrdiff_t at = r % p->groups * factors;
        for (ptrdiff_t i = 0; i < count; i++) y[i] = x[i] - mean;
        const float variance = f_norm_sum(y, count, F_SUM_SQUARES) / n;
        f_norm_affine(count, p->inner, 1.0f / (f_sqrt(variance + p->epsilon) + p->beside),
                      scale ? scale + at : scale, shift ? shift + at : shift, y);
    }
}

#endif
