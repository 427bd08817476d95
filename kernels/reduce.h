/* kernels/reduce.h - sums, means, extremes, products and norms of any type over any set of axes.
 *
 * Elements are taken one by one in the order of memory. Integers wrap around in 64 bits; a mean is
 * cut off, as are roots and logarithms. Float16 is worked on in double and rounded once. Min and
 * max pass NaN on.
 */
#ifndef KERNELS_REDUCE_H
#define KERNELS_REDUCE_H

#include "arith.h"
#include "d_math.h"
#include "reduce_walk.h"

enum { REDUCE_BOOL = 9 }; /* a type beside arith's: 0 or 1 in a byte */

/* What is there before the first element: the bits of an integer. */
KERNEL uint64_t reduce_start_integer(int32_t op, int32_t type)
{
    const int32_t bits = type == A_UINT8 || type == A_INT8     ? 8
                         : type == A_UINT16 || type == A_INT16 ? 16
                         : type == A_UINT32 || type == A_INT32 ? 32
                                                               : 64;
    const uint64_t top = arith_is_signed(type) ? (uint64_t)1 << (bits - 1) : 0;
    const uint64_t all = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    if (op == F_RMAX) return 0 - top;
    if (op == F_RMIN) return type == REDUCE_BOOL ? 1 : top ? top - 1 : all;
    return op == F_RPROD;
}

/* acc with n more elements, each to its own. */
KERNEL void reduce_integers(int32_t op, int32_t is_signed, int32_t n, uint64_t *restrict acc,
                            const uint64_t *restrict v)
{
    const uint64_t top = (uint64_t)is_signed << 63; /* makes signed numbers compare as unsigned */
    switch (op) {
    case F_RMAX:
        for (int32_t j = 0; j < n; j++) acc[j] = (v[j] ^ top) > (acc[j] ^ top) ? v[j] : acc[j];
        break;
    case F_RMIN:
        for (int32_t j = 0; j < n; j++) acc[j] = (v[j] ^ top) < (acc[j] ^ top) ? v[j] : acc[j];
        break;
    case F_RPROD:
        for (int32_t j = 0; j < n; j++) acc[j] *= v[j];
        break;
    case F_RSUMSQ:
    case F_RL2:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j] * v[j];
        break;
    case F_RL1:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j] & top ? 0 - v[j] : v[j];
        break;
    default:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j];
        break;
    }
}

/* max: of F_RLOGSUMEXP. */
KERNEL void reduce_reals(int32_t op, int32_t n, double *restrict acc, const double *restrict v,
                         const double *restrict max)
{
    switch (op) {
    case F_RMAX:
        for (int32_t j = 0; j < n; j++) acc[j] = v[j] > acc[j] || v[j] != v[j] ? v[j] : acc[j];
        break;
    case F_RMIN:
        for (int32_t j = 0; j < n; j++) acc[j] = v[j] < acc[j] || v[j] != v[j] ? v[j] : acc[j];
        break;
    case F_RPROD:
        for (int32_t j = 0; j < n; j++) acc[j] *= v[j];
        break;
    case F_RSUMSQ:
    case F_RL2:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j] * v[j];
        break;
    case F_RL1:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j] < 0.0 ? -v[j] : v[j];
        break;
    case F_RLOGSUMEXP:
        for (int32_t j = 0; j < n; j++) acc[j] += d_exp(v[j] - max[j]);
        break;
    default:
        for (int32_t j = 0; j < n; j++) acc[j] += v[j];
        break;
    }
}

/* x cut off to an integer; the least one where it does not fit 64 bits. */
KERNEL uint64_t reduce_cut(double x, int32_t type)
{
    return x > -0x1p63 && x < 0x1p63 ? (uint64_t)(int64_t)x : reduce_start_integer(F_RMAX, type);
}

/* What the sum of `count` elements becomes at the end. */
KERNEL double reduce_end(int32_t op, double acc, double max, ptrdiff_t count)
{
    switch (op) {
    case F_RMEAN: return acc / (double)(count + !count); /* of nothing: 0 */
    case F_RL2: return d_sqrt(acc);
    case F_RLOGSUM: return d_log(acc);
    case F_RLOGSUMEXP: return max + d_log(acc);
    default: return acc;
    }
}

/* The same of integers. */
KERNEL uint64_t reduce_end_integer(const reduce_p *restrict p, uint64_t acc, ptrdiff_t count)
{
    const int32_t is_signed = arith_is_signed(p->type);
    if (p->op == F_RMEAN) return arith_divide(acc, (uint64_t)count, is_signed);
    if (p->op != F_RL2 && p->op != F_RLOGSUM) return acc;
    return reduce_cut(reduce_end(p->op, is_signed ? (double)(int64_t)acc : (double)acc, 0.0, count),
                      p->type);
}

/* Sums and the like of n neighbouring outputs. */
typedef struct reduce_state {
    int32_t n, type, is_real; /* is_real: in `real`, else in `whole` */
    double real[F_CHUNK];     /* so far, one an output */
    uint64_t whole[F_CHUNK];
    double max[F_CHUNK]; /* of F_RLOGSUMEXP */
} reduce_state;

/* Goes through the elements of the outputs, the first one's at `at`. One output alone takes up to
 * F_CHUNK elements at once, one after the other. */
KERNEL void reduce_some(reduce_state *s, int32_t op, const reduce_walk *w, const void *restrict x,
                        ptrdiff_t at)
{
    const int32_t n = s->n;
    for (ptrdiff_t t = 0; t < w->turns; t++) {
        const ptrdiff_t from = at + reduce_at(w, t);
        for (ptrdiff_t i = 0; i < w->rows;) {
            uint64_t v[F_CHUNK];
            double r[F_CHUNK];
            const int32_t some = n == 1 ? f_chunk(i, w->rows) : n;
            const ptrdiff_t first = from + i * w->step, step = n == 1 ? w->step : 1;
            if (s->is_real) arith_load_reals(r, s->type, x, first, step, some);
            else arith_load_integers(v, s->type, x, first, step, some);
            for (int32_t j = 0; j < some; j += n)
                if (s->is_real) reduce_reals(op, n, s->real, r + j, s->max);
                else reduce_integers(op, arith_is_signed(s->type), n, s->whole, v + j);
            i += n == 1 ? some : 1;
        }
    }
}

/* n <= F_CHUNK neighbouring outputs, the first one's elements at `at`, to y from `to` on. */
KERNEL void reduce_outputs(const reduce_p *restrict p, const reduce_walk *w, int32_t n,
                           const void *restrict x, ptrdiff_t at, void *restrict y, ptrdiff_t to)
{
    reduce_state s = {.n = n};
    const ptrdiff_t count = w->turns * w->rows;
    s.type = p->type == REDUCE_BOOL ? A_UINT8 : p->type;
    s.is_real = arith_is_real(s.type) || p->op == F_RLOGSUMEXP;
    if (p->op == F_RLOGSUMEXP) {
        for (int32_t j = 0; j < n; j++) s.real[j] = -INFINITY;
        reduce_some(&s, F_RMAX, w, x, at);
        for (int32_t j = 0; j < n; j++)
            s.max[j] = s.real[j] == INFINITY || s.real[j] == -INFINITY ? 0.0 : s.real[j];
    }
    for (int32_t j = 0; j < n; j++) {
        s.whole[j] = reduce_start_integer(p->op, p->type);
        s.real[j] = p->op == F_RMAX   ? -INFINITY
                    : p->op == F_RMIN ? INFINITY
                                      : (double)(p->op == F_RPROD);
    }
    reduce_some(&s, p->op, w, x, at);
    for (int32_t j = 0; j < n; j++) {
        if (s.is_real) s.real[j] = reduce_end(p->op, s.real[j], s.max[j], count);
        s.whole[j] =
            s.is_real ? reduce_cut(s.real[j], s.type) : reduce_end_integer(p, s.whole[j], count);
    }
    if (arith_is_real(s.type)) arith_store_reals(s.real, s.type, y, to, n);
    else arith_store_integers(s.whole, s.type, y, to, n);
}

KERNEL_TRAITS(reduce, floats)
KERNEL_RUN void reduce(const reduce_p *restrict p, const void *restrict x, void *restrict y)
{
    reduce_walk kept, reduced;
    reduce_axes(p, &kept, &reduced);
    for (ptrdiff_t t = 0; t < kept.turns; t++)
        for (ptrdiff_t j = 0; j < kept.rows; j += F_CHUNK)
            reduce_outputs(p, &reduced, f_chunk(j, kept.rows), x, reduce_at(&kept, t) + j, y,
                           t * kept.rows + j);
}

#endif
