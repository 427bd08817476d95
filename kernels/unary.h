/* kernels/unary.h - the functions of unary_rows.h on floats of any width, worked on in double. NaN
 * is passed on as it is; what has no value gives one NaN, whatever the machine's is.
 */
#ifndef KERNELS_UNARY_H
#define KERNELS_UNARY_H

#include "d_trig.h"
#include "elements.h"
#include "params.h"

typedef struct unary_p {
    int32_t op;        /* F_LEAKY_RELU ... */
    int32_t type;      /* A_DOUBLE ... */
    int32_t count;     /* elements */
    float alpha, beta; /* the attributes of its row */
} unary_p;             /* unary(p, x, y) */

KERNEL double d_select(int32_t which, double a, double b) { return which ? a : b; }

/* v limited to [lo, hi]; NaN stays NaN. */
KERNEL double d_clamp(double v, double lo, double hi) { return v < lo ? lo : v > hi ? hi : v; }

/* The same of [0, 1], and NaN gives 0, as of floats. */
KERNEL double d_unit(double v) { return v > 0.0 ? (v < 1.0 ? v : 1.0) : 0.0; }

#ifndef USES_unary_op
#define USES_unary_op(code) 1
#endif
#define FN(name)   d_##name
#define FL(number) number
#define D_UNARY_CASE(code, op, rule, a, alpha_default, b, beta_default, ...)                       \
    case code:                                                                                     \
        if (!USES_unary_op(code)) break;                                                           \
        for (int32_t j = 0; j < n; j++) {                                                          \
            const double x = v[j];                                                                 \
            const double y = __VA_ARGS__;                                                          \
            v[j] = y == y ? y : x == x ? NAN : x;                                                  \
        }                                                                                          \
        break;

KERNEL void d_unary_chunk(const unary_p *restrict p, int32_t n, double v[F_CHUNK])
{
    const double alpha = (double)p->alpha, beta = (double)p->beta;
    switch (p->op) {
        UNARY_ROWS(D_UNARY_CASE)
        UNARY_FORMS(D_UNARY_CASE)
    default: break; /* F_CLIP */
    }
}

#undef D_UNARY_CASE
#undef FN
#undef USES_unary_op
#undef FL

KERNEL_TRAITS(unary, floats)
KERNEL_RUN void unary(const unary_p *restrict p, const void *x, void *y)
{
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        double v[F_CHUNK];
        const int32_t n = f_chunk(i, p->count);
        arith_load_reals(v, p->type, x, i, 1, n);
        d_unary_chunk(p, n, v);
        arith_store_reals(v, p->type, y, i, n);
    }
}

#endif
