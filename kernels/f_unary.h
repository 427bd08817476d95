/* kernels/f_unary.h - functions of one variable, element by element; the result is clamped.
 */
#ifndef KERNELS_F_UNARY_H
#define KERNELS_F_UNARY_H

#include "f_math.h"
#include "params.h"

#define F_UNARY(expression)                                                                        \
    for (int j = 0; j < F_CHUNK; j++) {                                                            \
        const float x = v[j];                                                                      \
        v[j] = (expression);                                                                       \
    }                                                                                              \
    break

/* One chunk in place. Whole chunks only, so that compilers make it straight vector code. */
KERNEL void f_unary_chunk(const f_unary_p *restrict p, float v[F_CHUNK])
{
    const float alpha = p->alpha, beta = p->beta;
    switch (p->op) {
    case F_LEAKY_RELU: F_UNARY(f_select(x < 0.0f, alpha * x, x));
    case F_SIGMOID: F_UNARY(f_sigmoid(x));
    case F_TANH: F_UNARY(f_tanh(x));
    case F_HARD_SIGMOID: F_UNARY(f_clamp(alpha * x + beta, 0.0f, 1.0f));
    case F_HARD_SWISH: F_UNARY(x * f_unit(x * (1.0f / 6.0f) + 0.5f));
    case F_ELU: F_UNARY(f_select(x < 0.0f, alpha * f_expm1(x), x));
    case F_SOFTPLUS: F_UNARY(f_softplus(x));
    case F_EXP: F_UNARY(f_exp(x));
    case F_LOG: F_UNARY(f_log(x));
    case F_SQRT: F_UNARY(f_sqrt(x));
    case F_ABS: F_UNARY(f_abs(x));
    case F_NEG: F_UNARY(-x);
    case F_RECIPROCAL: F_UNARY(1.0f / x);
    case F_ERF: F_UNARY(f_erf(x));
    case F_FLOOR: F_UNARY(f_floor(x));
    case F_CEIL: F_UNARY(f_ceil(x));
    case F_ROUND: F_UNARY(f_round(x));
    case F_GELU: F_UNARY(0.5f * x * (1.0f + f_erf(x * 0.707106781f)));
    default: break; /* F_CLIP */
    }
    for (int j = 0; j < F_CHUNK; j++) v[j] = f_clamp(v[j], p->lo, p->hi);
}

#undef F_UNARY

KERNEL_RUN void f_unary(const f_unary_p *restrict p, const float *x, float *y)
{
    for (ptrdiff_t i = 0; i < p->count; i += F_CHUNK) {
        float v[F_CHUNK] = {0.0f};
        const int32_t n = f_chunk(i, p->count);
        for (int32_t j = 0; j < n; j++) v[j] = x[i + j];
        f_unary_chunk(p, v);
        for (int32_t j = 0; j < n; j++) y[i + j] = v[j];
    }
}

#endif
