/* kernels/one_hot.h - an axis of which one element, at most, is on: ONNX's OneHot.
 */
#ifndef KERNELS_ONE_HOT_H
#define KERNELS_ONE_HOT_H

#include "elements.h"

typedef struct one_hot_p {
    int32_t outer, depth, inner; /* indices are [outer][inner], y is [outer][depth][inner] */
    int32_t type;                /* of the indices: A_FLOAT ...; reals are cut off */
    int32_t size;                /* bytes an element of y */
} one_hot_p; /* one_hot(p, indices, values, y): values are off and on. Indices below 0 count from
                the end; one that lies outside is nowhere on */

/* n indices from element `at` on; -1 for those that lie outside. */
KERNEL void one_hot_places(const one_hot_p *restrict p, const void *restrict indices, ptrdiff_t at,
                           int32_t n, int32_t places[F_CHUNK])
{
    uint64_t u[F_CHUNK];
    double v[F_CHUNK];
    if (arith_is_real(p->type)) {
        arith_load_reals(v, p->type, indices, at, 1, n);
        for (int32_t j = 0; j < n; j++)
            u[j] = v[j] > -0x1p32 && v[j] < 0x1p32 ? (uint64_t)(int64_t)v[j] : (uint64_t)INT64_MAX;
    } else {
        arith_load_integers(u, p->type, indices, at, 1, n);
    }
    for (int32_t j = 0; j < n; j++) {
        if (u[j] >> 63 && (arith_is_signed(p->type) || arith_is_real(p->type)))
            u[j] += (uint64_t)p->depth;
        places[j] = u[j] < (uint64_t)p->depth ? (int32_t)u[j] : -1;
    }
}

KERNEL_RUN void one_hot(const one_hot_p *restrict p, const void *restrict indices,
                        const void *restrict values, void *restrict y)
{
    const unsigned char *off = values, *on = off + p->size;
    int32_t places[F_CHUNK];
    for (ptrdiff_t o = 0; o < p->outer; o++)
        for (ptrdiff_t i = 0; i < p->inner; i += F_CHUNK) {
            const int32_t n = f_chunk(i, p->inner);
            unsigned char *to = (unsigned char *)y + (o * p->depth * p->inner + i) * p->size;
            one_hot_places(p, indices, o * p->inner + i, n, places);
            for (int32_t k = 0; k < p->depth; k++, to += (ptrdiff_t)p->inner * p->size)
                for (int32_t j = 0; j < n; j++)
                    memcpy(to + (ptrdiff_t)j * p->size, places[j] == k ? on : off, (size_t)p->size);
        }
}

#endif
