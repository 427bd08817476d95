/* kernels/f_binary.h - element by element functions of two tensors that broadcast; clamped.
 *
 * Min and Max pass NaN on.
 */
#ifndef KERNELS_F_BINARY_H
#define KERNELS_F_BINARY_H

#include "f_math.h"
#include "params.h"

#ifndef USES_f_binary_op
#define USES_f_binary_op(code) 1
#endif
#define F_BINARY(code, expression)                                                                 \
    if (!USES_f_binary_op(code)) break;                                                            \
    for (int32_t j = 0; j < n; j++) {                                                              \
        const float a = u[j], b = v[j];                                                            \
        u[j] = (expression);                                                                       \
    }                                                                                              \
    break

/* u = u op v, n elements. */
KERNEL void f_binary_chunk(const f_binary_p *restrict p, int32_t n, float u[F_CHUNK],
                           const float v[F_CHUNK])
{
    switch (p->op) {
    case F_ADD: F_BINARY(F_ADD, a + b);
    case F_SUB: F_BINARY(F_SUB, a - b);
    case F_MUL: F_BINARY(F_MUL, a * b);
    case F_DIV: F_BINARY(F_DIV, a / b);
    case F_MIN: F_BINARY(F_MIN, a < b || a != a ? a : b);
    case F_MAX: F_BINARY(F_MAX, a > b || a != a ? a : b);
    case F_PRELU: F_BINARY(F_PRELU, f_select(a < 0.0f, a * b, a));
    case F_FMOD: F_BINARY(F_FMOD, f_fmod(a, b));
    default: F_BINARY(F_POW, f_pow(a, b));
    }
    for (int32_t j = 0; j < n; j++) u[j] = f_clamp(u[j], p->lo, p->hi);
}

#undef F_BINARY
#undef USES_f_binary_op

/* n elements of x, `step` apart. */
KERNEL void f_binary_load(float *restrict v, const float *x, int32_t n, ptrdiff_t step)
{
    if (step == 1)
        for (int32_t j = 0; j < n; j++) v[j] = x[j];
    else
        for (int32_t j = 0; j < n; j++) v[j] = x[j * step];
}

/* Merges axis 5 with those before it, as far as both inputs go on evenly; returns the number of
 * axes left in front. dims[5], a[5], b[5] are then those of the merged axis. */
KERNEL int f_binary_merge(int32_t dims[6], const int32_t a[6], const int32_t b[6])
{
    int axes = 5;
    while (axes > 0 && (dims[axes - 1] == 1 ||
                        (a[axes - 1] == a[5] * dims[5] && b[axes - 1] == b[5] * dims[5])))
        dims[5] *= dims[--axes];
    return axes;
}

/* Where row `r` of the merged axis begins in both inputs, `axes` axes being in front of it. */
KERNEL void f_binary_row(int axes, const int32_t dims[6], const int32_t as[6], const int32_t bs[6],
                         ptrdiff_t r, ptrdiff_t *a, ptrdiff_t *b)
{
    *a = *b = 0;
    for (int i = axes - 1; i >= 0; r /= dims[i], i--) {
        *a += r % dims[i] * as[i];
        *b += r % dims[i] * bs[i];
    }
}

/* Whether y may be operand i: it has the very elements of y in order. */
static inline int f_binary_in_place(const f_binary_p *p, int i)
{
    return strides_in_order(&p->d0, i ? &p->b0 : &p->a0);
}

KERNEL_RUN void f_binary(const f_binary_p *restrict p, const float *a, const float *b, float *y)
{
    int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t as[6] = {p->a0, p->a1, p->a2, p->a3, p->a4, p->a5};
    const int32_t bs[6] = {p->b0, p->b1, p->b2, p->b3, p->b4, p->b5};
    const int axes = f_binary_merge(dims, as, bs);
    ptrdiff_t rows = 1;
    for (int i = 0; i < axes; i++) rows *= dims[i];
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t at, bt;
        f_binary_row(axes, dims, as, bs, r, &at, &bt);
        for (ptrdiff_t j = 0; j < dims[5]; j += F_CHUNK) {
            float u[F_CHUNK], v[F_CHUNK];
            const int32_t n = f_chunk(j, dims[5]);
            f_binary_load(u, a + at + j * as[5], n, as[5]);
            f_binary_load(v, b + bt + j * bs[5], n, bs[5]);
            f_binary_chunk(p, n, u, v);
            for (int32_t i = 0; i < n; i++) y[i] = u[i];
            y += n;
        }
    }
}

#endif
