/* kernels/arg.h - where the greatest or least element is: ONNX's ArgMax and ArgMin.
 *
 * Elements are compared in order with the best so far; NaN is never better, and nothing is better
 * than NaN.
 */
#ifndef KERNELS_ARG_H
#define KERNELS_ARG_H

#include "arith.h"

typedef struct arg_p {
    int32_t outer, count, inner; /* x is [outer][count][inner], y [outer][inner] */
    int32_t type;                /* of x: A_FLOAT ... */
    int32_t least;               /* ArgMin */
    int32_t last;                /* the last one of those that are equal */
} arg_p;                         /* arg(p, x, y); y is int64_t */

/* Whether v is better than the best so far. Integers as they are loaded. */
KERNEL int32_t arg_better(const arg_p *restrict p, uint64_t v, uint64_t best)
{
    const uint64_t top = (uint64_t)arith_is_signed(p->type) << 63;
    const uint64_t a = v ^ top, b = best ^ top;
    return p->last && a == b ? 1 : p->least ? a < b : a > b;
}

KERNEL int32_t arg_better_real(const arg_p *restrict p, double v, double best)
{
    if (p->last) return p->least ? v <= best : v >= best;
    return p->least ? v < best : v > best;
}

/* The best so far of n lines, and its place in each. */
typedef struct arg_state {
    uint64_t whole[F_CHUNK];
    double real[F_CHUNK];
    int64_t at[F_CHUNK];
} arg_state;

/* Elements number i of the n lines, or, if `along`, elements i to i + n of one. */
KERNEL void arg_step(const arg_p *restrict p, arg_state *s, const void *restrict x, ptrdiff_t from,
                     ptrdiff_t i, int32_t n, int32_t along)
{
    uint64_t v[F_CHUNK];
    double r[F_CHUNK];
    const int32_t is_real = arith_is_real(p->type);
    if (is_real) arith_load_reals(r, p->type, x, from, 1, n);
    else arith_load_integers(v, p->type, x, from, 1, n);
    for (int32_t j = 0; j < n; j++) {
        const int32_t line = along ? 0 : j;
        const ptrdiff_t at = along ? i + j : i;
        if (at && !(is_real ? arg_better_real(p, r[j], s->real[line])
                            : arg_better(p, v[j], s->whole[line])))
            continue;
        s->at[line] = at;
        if (is_real) s->real[line] = r[j];
        else s->whole[line] = v[j];
    }
}

KERNEL_TRAITS(arg, exact)
KERNEL_RUN void arg(const arg_p *restrict p, const void *restrict x, int64_t *restrict y)
{
    const ptrdiff_t inner = p->inner, count = p->count;
    for (ptrdiff_t o = 0; o < p->outer; o++, y += inner)
        for (ptrdiff_t j = 0; j < inner; j += F_CHUNK) {
            arg_state s;
            const int32_t n = f_chunk(j, inner), along = inner == 1;
            const ptrdiff_t from = o * count * inner + j;
            for (ptrdiff_t i = 0; i < count; i += along ? F_CHUNK : 1)
                arg_step(p, &s, x, from + i * inner, i, along ? f_chunk(i, count) : n, along);
            for (int32_t k = 0; k < n; k++) y[j + k] = s.at[k];
        }
}

#endif
