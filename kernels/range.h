/* kernels/range.h - numbers from one on, at equal distances: ONNX's Range.
 */
#ifndef KERNELS_RANGE_H
#define KERNELS_RANGE_H

#include "elements.h"

typedef struct range_p {
    int32_t count; /* elements */
    int32_t type;  /* A_FLOAT ...; integers wrap around */
} range_p;         /* range(p, start, delta, y): reals are added one after the other,
                      as ONNX Runtime does */

KERNEL_TRAITS(range, floats)

KERNEL void range_floats(int32_t count, float start, float delta, float *restrict y)
{
    for (int32_t i = 0; i < count; i++, start += delta) y[i] = start;
}

KERNEL void range_doubles(int32_t count, double start, double delta, double *restrict y)
{
    for (int32_t i = 0; i < count; i++, start += delta) y[i] = start;
}

KERNEL_RUN void range(const range_p *restrict p, const void *restrict start,
                      const void *restrict delta, void *restrict y)
{
    uint64_t from[F_CHUNK], step[F_CHUNK], u[F_CHUNK];
    if (p->type == A_FLOAT) {
        range_floats(p->count, *(const float *)start, *(const float *)delta, y);
        return;
    }
    if (p->type == A_DOUBLE) {
        range_doubles(p->count, *(const double *)start, *(const double *)delta, y);
        return;
    }
    arith_load_integers(from, p->type, start, 0, 1, 1);
    arith_load_integers(step, p->type, delta, 0, 1, 1);
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        const int32_t n = f_chunk(i, p->count);
        for (int32_t j = 0; j < n; j++) u[j] = from[0] + (uint64_t)(i + j) * step[0];
        arith_store_integers(u, p->type, y, i, n);
    }
}

#endif
