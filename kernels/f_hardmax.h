/* kernels/f_hardmax.h - 1 where the first of the greatest elements is, 0 elsewhere.
 */
#ifndef KERNELS_F_HARDMAX_H
#define KERNELS_F_HARDMAX_H

#include "common.h"
#include "params.h"

KERNEL_TRAITS(f_hardmax, exact)
KERNEL_RUN void f_hardmax(const f_softmax_p *restrict p, const float *restrict x, float *restrict y)
{
    const ptrdiff_t inner = p->inner, size = p->count * inner;
    for (ptrdiff_t o = 0; o < p->outer; o++, x += size, y += size)
        for (ptrdiff_t j = 0; j < inner; j++) {
            ptrdiff_t most = 0;
            for (ptrdiff_t i = 0; i < p->count; i++) {
                y[i * inner + j] = 0.0f;
                if (x[i * inner + j] > x[most * inner + j]) most = i;
            }
            y[most * inner + j] = 1.0f;
        }
}

#endif
