/* kernels/f_unary.h - the functions of unary_rows.h, element by element; the result is clamped.
 */
#ifndef KERNELS_F_UNARY_H
#define KERNELS_F_UNARY_H

#include "f_trig.h"
#include "params.h"

#ifndef USES_f_unary_op
#define USES_f_unary_op(code) 1
#endif
#define FN(name)   f_##name
#define FL(number) number##f
#define F_UNARY_CASE(code, op, rule, a, alpha_default, b, beta_default, ...)                       \
    case code:                                                                                     \
        if (!USES_f_unary_op(code)) break;                                                         \
        for (int j = 0; j < F_CHUNK; j++) {                                                        \
            const float x = v[j];                                                                  \
            v[j] = __VA_ARGS__;                                                                    \
        }                                                                                          \
        break;

/* One chunk in place. Whole chunks only, so that compilers make it straight vector code. */
KERNEL void f_unary_chunk(const f_unary_p *restrict p, float v[F_CHUNK])
{
    const float alpha = p->alpha, beta = p->beta;
    switch (p->op) {
        UNARY_ROWS(F_UNARY_CASE)
        UNARY_FORMS(F_UNARY_CASE)
    default: break; /* F_CLIP */
    }
    for (int j = 0; j < F_CHUNK; j++) v[j] = f_clamp(v[j], p->lo, p->hi);
}

#undef F_UNARY_CASE
#undef FN
#undef USES_f_unary_op
#undef FL

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
