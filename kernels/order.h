/* kernels/order.h - how elements of any type compare: as integers without a sign.
 *
 * 0 and -0 are equal; NaN is above everything, or below for those that want it there.
 */
#ifndef KERNELS_ORDER_H
#define KERNELS_ORDER_H

#include <math.h>
#include "arith.h"

/* The key of a number: the greater number has the greater key. */
KERNEL uint64_t order_real(double x)
{
    uint64_t u;
    if (x != x) return UINT64_MAX;
    x += 0.0; /* -0 becomes 0 */
    memcpy(&u, &x, sizeof u);
    return u >> 63 ? ~u : u | (uint64_t)1 << 63;
}

/* The keys of n elements from element `at` on, `step` apart. */
KERNEL void order_keys(uint64_t key[F_CHUNK], int32_t type, const void *x, ptrdiff_t at,
                       ptrdiff_t step, int32_t n)
{
    double v[F_CHUNK];
    if (arith_is_real(type)) {
        arith_load_reals(v, type, x, at, step, n);
        for (int32_t j = 0; j < n; j++) key[j] = order_real(v[j]);
    } else {
        arith_load_integers(key, type, x, at, step, n);
        if (arith_is_signed(type))
            for (int32_t j = 0; j < n; j++) key[j] ^= (uint64_t)1 << 63;
    }
}

#endif
