/* kernels/batch_norm.h - BatchNormalization as it is trained, by the batch's own mean and variance;
 * and that of doubles. Worked out in double.
 */
#ifndef KERNELS_BATCH_NORM_H
#define KERNELS_BATCH_NORM_H

#include "d_math.h"
#include "reals.h"

typedef struct batch_norm_p {
    int32_t outer, channels, inner; /* x is [outer][channels][inner] */
    int32_t type;                   /* A_FLOAT or A_DOUBLE */
    int32_t trains;                 /* by the batch's mean and variance */
    float epsilon, momentum;
} batch_norm_p; /* batch_norm(p, x, scale, bias, mean, variance, y, new mean or NULL, new variance
                   or NULL): each a channel; the new ones are what training keeps */

KERNEL_TRAITS(batch_norm, floats)

/* The mean of (x - less)^power over a channel, power 1 or 2. */
KERNEL double batch_norm_mean(const batch_norm_p *restrict p, const void *restrict x, ptrdiff_t c,
                              double less, int32_t power)
{
    double sum = 0.0;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < p->inner; i++) {
            const double v = real_get(p->type, x, (o * p->channels + c) * p->inner + i) - less;
            sum += power == 2 ? v * v : v;
        }
    return sum / ((double)p->outer * (double)p->inner);
}

KERNEL_RUN void batch_norm(const batch_norm_p *restrict p, const void *restrict x,
                           const void *restrict scale, const void *restrict bias,
                           const void *restrict mean, const void *restrict variance,
                           void *restrict y, void *restrict new_mean, void *restrict new_variance)
{
    for (ptrdiff_t c = 0; c < p->channels; c++) {
        const double kept = (double)p->momentum;
        double m = real_get(p->type, mean, c), v = real_get(p->type, variance, c);
        if (p->trains) {
            const double old_m = m, old_v = v;
            m = batch_norm_mean(p, x, c, 0.0, 1);
            v = batch_norm_mean(p, x, c, m, 2);
            if (new_mean) real_put(p->type, new_mean, c, old_m * kept + m * (1.0 - kept));
            if (new_variance) real_put(p->type, new_variance, c, old_v * kept + v * (1.0 - kept));
        }
        const double f = real_get(p->type, scale, c) / d_sqrt(v + (double)p->epsilon);
        const double b = real_get(p->type, bias, c);
        for (ptrdiff_t o = 0; o < p->outer; o++)
            for (ptrdiff_t i = 0; i < p->inner; i++) {
                const ptrdiff_t at = (o * p->channels + c) * p->inner + i;
                real_put(p->type, y, at, (real_get(p->type, x, at) - m) * f + b);
            }
    }
}

#endif
