/* kernels/matmul.h - batched matrix products of any type but float.
 *
 * Each output is the sum of its products in ascending k. Integers wrap around; floats of other
 * sizes are worked on in double and rounded once.
 */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H

#include "arith.h"
#include "matmul_walk.h"

/* n columns of a row, from element `bt` of b on, to y from `to` on; the row begins at `at`. */
KERNEL void matmul_some(const matmul_p *restrict p, const void *restrict a, ptrdiff_t at,
                        const void *restrict b, ptrdiff_t bt, void *restrict y, ptrdiff_t to,
                        int32_t n)
{
    const int32_t is_real = arith_is_real(p->type);
    uint64_t sum[F_CHUNK] = {0}, u[F_CHUNK] = {0}, v[F_CHUNK];
    double real[F_CHUNK] = {0.0}, r[F_CHUNK] = {0.0}, s[F_CHUNK];
    for (ptrdiff_t k = 0; k < p->k; k++) {
        const int32_t i = (int32_t)(k % F_CHUNK), ahead = f_chunk(k, p->k);
        if (!i && is_real) arith_load_reals(r, p->type, a, at + k * p->ak, p->ak, ahead);
        else if (!i) arith_load_integers(u, p->type, a, at + k * p->ak, p->ak, ahead);
        if (is_real) {
            arith_load_reals(s, p->type, b, bt + k * p->bk, p->bn, n);
            for (int32_t j = 0; j < n; j++) real[j] += r[i] * s[j];
        } else {
            arith_load_integers(v, p->type, b, bt + k * p->bk, p->bn, n);
            for (int32_t j = 0; j < n; j++) sum[j] += u[i] * v[j];
        }
    }
    for (int32_t j = 0; j < n && is_real; j++) real[j] *= (double)p->alpha;
    if (is_real) arith_store_reals(real, p->type, y, to, n);
    else arith_store_integers(sum, p->type, y, to, n);
}

KERNEL_TRAITS(matmul, floats)
KERNEL_RUN void matmul(const matmul_p *restrict p, const void *restrict a, const void *restrict b,
                       void *restrict y)
{
    const ptrdiff_t count = matmul_count(p);
    for (ptrdiff_t t = 0; t < count; t++) {
        ptrdiff_t at, bt;
        matmul_at(p, t, &at, &bt);
        for (ptrdiff_t m = 0; m < p->m; m++)
            for (ptrdiff_t c = 0; c < p->n; c += F_CHUNK)
                matmul_some(p, a, at + m * p->am, b, bt + c * p->bn, y, (t * p->m + m) * p->n + c,
                            f_chunk(c, p->n));
    }
}

#endif
