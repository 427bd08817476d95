/* kernels/nll_loss.h - the loss of log-probabilities: ONNX's NegativeLogLikelihoodLoss.
 *
 * Sums are added in double, one after the other. A target outside is the nearest class.
 */
#ifndef KERNELS_NLL_LOSS_H
#define KERNELS_NLL_LOSS_H

#include "reals.h"

enum { NLL_NONE, NLL_SUM, NLL_MEAN }; /* what is given: each loss, their sum, their mean */

typedef struct nll_loss_p {
    int32_t outer, classes, inner; /* x is [outer][classes][inner], the targets [outer][inner] */
    int32_t type;                  /* of x, weights and y: A_FLOAT or A_DOUBLE */
    int32_t wide;                  /* targets are int64, else int32 */
    int32_t ignores;               /* there is a target that is left out: */
    int32_t ignored, ignored_high; /* the halves of its 64 bits */
    int32_t reduction;             /* NLL_NONE ... */
} nll_loss_p; /* nll_loss(p, x, targets, weights or NULL, y): a weight per class */

KERNEL_TRAITS(nll_loss, floats)

KERNEL_RUN void nll_loss(const nll_loss_p *restrict p, const void *restrict x,
                         const void *restrict targets, const void *restrict weights,
                         void *restrict y)
{
    const uint64_t ignored = (uint64_t)(uint32_t)p->ignored_high << 32 | (uint32_t)p->ignored;
    const int64_t last = p->classes - 1;
    double sum = 0.0, total = 0.0;
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < p->inner; i++) {
            const ptrdiff_t at = o * p->inner + i;
            int64_t k = p->wide ? ((const int64_t *)targets)[at] : ((const int32_t *)targets)[at];
            const int32_t out = p->ignores && (uint64_t)k == ignored;
            k = k < 0 ? 0 : k > last ? last : k;
            const ptrdiff_t place = (o * p->classes + (ptrdiff_t)k) * p->inner + i;
            const double w = out ? 0.0 : weights ? real_get(p->type, weights, (ptrdiff_t)k) : 1.0;
            const double loss = out ? 0.0 : -real_get(p->type, x, place) * w;
            if (p->reduction == NLL_NONE) real_put(p->type, y, at, loss);
            sum += loss;
            total += w;
        }
    if (p->reduction != NLL_NONE)
        real_put(p->type, y, 0, p->reduction == NLL_MEAN ? sum / total : sum);
}

#endif
