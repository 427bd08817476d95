/* kernels/copy.h - copies a box of elements between two strided layouts.
 */
#ifndef KERNELS_COPY_H
#define KERNELS_COPY_H

#include <string.h>
#include "common.h"
#include "params.h"

/* The two innermost axes. `size` is constant where this is called. */
KERNEL void copy_plane(const copy_p *restrict p, const unsigned char *restrict x,
                       unsigned char *restrict y, ptrdiff_t size)
{
    const ptrdiff_t x6 = p->x6 * size, x7 = p->x7 * size, y6 = p->y6 * size, y7 = p->y7 * size;
    for (ptrdiff_t i = 0; i < p->d6; i++) {
        if (p->x7 == 1 && p->y7 == 1) memcpy(y + i * y6, x + i * x6, (size_t)(p->d7 * size));
        else
            for (ptrdiff_t j = 0; j < p->d7; j++)
                memcpy(y + i * y6 + j * y7, x + i * x6 + j * x7, (size_t)size);
    }
}

KERNEL_RUN void copy(const copy_p *restrict p, const void *restrict x, void *restrict y)
{
    const int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t xs[6] = {p->x0, p->x1, p->x2, p->x3, p->x4, p->x5};
    const int32_t ys[6] = {p->y0, p->y1, p->y2, p->y3, p->y4, p->y5};
    ptrdiff_t planes = 1;
    for (int i = 0; i < 6; i++) planes *= dims[i];
    for (ptrdiff_t n = 0; n < planes; n++) {
        ptrdiff_t rest = n, xat = p->xoff, yat = p->yoff;
        for (int i = 5; i >= 0; rest /= dims[i], i--) {
            xat += rest % dims[i] * xs[i];
            yat += rest % dims[i] * ys[i];
        }
        const unsigned char *from = (const unsigned char *)x + xat * p->size;
        unsigned char *to = (unsigned char *)y + yat * p->size;
        switch (p->size) {
        case 1: copy_plane(p, from, to, 1); break;
        case 2: copy_plane(p, from, to, 2); break;
        case 4: copy_plane(p, from, to, 4); break;
        case 8: copy_plane(p, from, to, 8); break;
        default: break; /* there are no others */
        }
    }
}

#endif
