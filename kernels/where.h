/* kernels/where.h - elements of one tensor or of another, as a third says; all broadcast.
 */
#ifndef KERNELS_WHERE_H
#define KERNELS_WHERE_H

#include "common.h"

typedef struct where_p {
    int32_t size;                   /* bytes of an element: 1, 2, 4, 8 */
    int32_t d0, d1, d2, d3, d4, d5; /* output dims, 1 in front where there are fewer */
    int32_t c0, c1, c2, c3, c4, c5; /* the condition's strides in elements, 0 where it broadcasts */
    int32_t a0, a1, a2, a3, a4, a5; /* of what is taken where it is true */
    int32_t b0, b1, b2, b3, b4, b5; /* of what is taken elsewhere */
} where_p;                          /* where(p, c, a, b, y) */

#define WHERE_ROW(type)                                                                            \
    for (int32_t j = 0; j < n; j++)                                                                \
        ((type *)y)[at + j] = c[co + (ptrdiff_t)j * p->c5]                                         \
                                  ? ((const type *)a)[ao + (ptrdiff_t)j * p->a5]                   \
                                  : ((const type *)b)[bo + (ptrdiff_t)j * p->b5];                  \
    break

KERNEL_RUN void where(const where_p *restrict p, const uint8_t *restrict c, const void *restrict a,
                      const void *restrict b, void *restrict y)
{
    const int32_t dims[5] = {p->d0, p->d1, p->d2, p->d3, p->d4}, n = p->d5;
    const int32_t cs[5] = {p->c0, p->c1, p->c2, p->c3, p->c4};
    const int32_t as[5] = {p->a0, p->a1, p->a2, p->a3, p->a4};
    const int32_t bs[5] = {p->b0, p->b1, p->b2, p->b3, p->b4};
    const ptrdiff_t rows = (ptrdiff_t)dims[0] * dims[1] * dims[2] * dims[3] * dims[4];
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t rest = r, co = 0, ao = 0, bo = 0;
        const ptrdiff_t at = r * n;
        for (int i = 4; i >= 0; rest /= dims[i], i--) {
            const ptrdiff_t k = rest % dims[i];
            co += k * cs[i];
            ao += k * as[i];
            bo += k * bs[i];
        }
        switch (p->size) {
        case 1: WHERE_ROW(uint8_t);
        case 2: WHERE_ROW(uint16_t);
        case 4: WHERE_ROW(uint32_t);
        default: WHERE_ROW(uint64_t);
        }
    }
}

#undef WHERE_ROW

#endif
