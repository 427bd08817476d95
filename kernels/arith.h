/* kernels/arith.h - element by element arithmetic, comparisons and bits of two tensors that
 * broadcast, of any type.
 *
 * Integers wrap around, x / 0 and x mod 0 are 0, division goes towards 0; they are worked on in 64
 * bits. Floats of all widths are worked on in double and rounded once. Min and Max pass NaN on. A
 * power with a whole exponent is a product; an integer one that is no integer is cut off. Bits that
 * are shifted out are gone, however far; a shift by a negative number is one by far too many.
 */
#ifndef KERNELS_ARITH_H
#define KERNELS_ARITH_H

#include "d_math.h"
#include "elements.h"
#include "f_binary.h"

typedef struct arith_p {
    int32_t op;    /* F_ADD ... */
    int32_t type;  /* of a, and of y but for comparisons, which give bools: A_FLOAT ... */
    int32_t btype; /* of b: the same, but for F_POW, which takes any */
    int32_t d0, d1, d2, d3, d4, d5; /* output dims, 1 in front where there are fewer */
    int32_t a0, a1, a2, a3, a4, a5; /* strides of a in elements, 0 where it broadcasts */
    int32_t b0, b1, b2, b3, b4, b5;
} arith_p; /* arith(p, a, b, y) */

/* ---- powers ---------------------------------------------------------------------------------- */

KERNEL int32_t arith_is_whole(double x)
{
    return x > -0x1p63 && x < 0x1p63 && (double)(int64_t)x == x;
}

KERNEL double arith_power_reals(double a, double b)
{
    if (!arith_is_whole(b) || b > 0x1p31 || b < -0x1p31) return (double)f_pow((float)a, (float)b);
    double r = 1.0, x = a;
    for (uint64_t k = (uint64_t)(b < 0.0 ? -b : b); k; k >>= 1, x *= x)
        if (k & 1) r *= x;
    return b < 0.0 ? 1.0 / r : r;
}

/* The same in double. An error of the logarithm counts up to 700 times: about 1e-13 in all. */
KERNEL_CALLED double arith_power_doubles(double a, double b)
{
    if (arith_is_whole(b) && b <= 0x1p31 && b >= -0x1p31) return arith_power_reals(a, b);
    if (a == 1.0) return a;
    if (a != a || b != b) return NAN;
    const double size = a < 0.0 ? -a : a, power = b < 0.0 ? -b : b;
    const int32_t whole = power >= 0x1p52 || arith_is_whole(b);
    const int32_t odd = whole && power < 0x1p53 && (uint64_t)power & 1;
    if (a < 0.0 && size < INFINITY && !whole) return NAN;
    const double y = size == 1.0 ? 1.0 : d_exp(b * d_log(size));
    return odd && a < 0.0 ? -y : y;
}

/* a to the b; `negative`: b is the two's complement of a number below 0. */
KERNEL uint64_t arith_power_integers(uint64_t a, uint64_t b, int32_t is_signed, int32_t negative)
{
    uint64_t r = 1;
    if (negative && a != 1 && !(is_signed && a == UINT64_MAX)) return 0;
    for (; b; b >>= 1, a *= a)
        if (b & 1) r *= a;
    return r;
}

/* A base that is an integer, an exponent that is none; what does not fit 64 bits is 0. The result
 * has the accuracy of a float, and is the integer where it is one within that. */
KERNEL uint64_t arith_power_mixed(uint64_t a, double b, int32_t is_signed)
{
    if (arith_is_whole(b)) return arith_power_integers(a, (uint64_t)(int64_t)b, is_signed, b < 0.0);
    const float x = is_signed ? (float)(int64_t)a : (float)a;
    const double r = (double)f_pow(x, (float)b);
    if (!(r > -0x1p63 && r < 0x1p63)) return 0;
    return (uint64_t)(int64_t)(r + (r < 0.0 ? -r : r) * (r < 0.0 ? -0x1p-22 : 0x1p-22));
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

#ifndef USES_arith_op
#define USES_arith_op(code) 1
#endif
#ifndef USES_arith_type
#define USES_arith_type(type) 1
#endif
#ifndef USES_arith_btype
#define USES_arith_btype(type) 1
#endif
#define A_COMPARES                                                                                 \
    (USES_arith_op(F_EQUAL) || USES_arith_op(F_NOT_EQUAL) || USES_arith_op(F_LESS) ||              \
     USES_arith_op(F_LESS_EQUAL) || USES_arith_op(F_GREATER) || USES_arith_op(F_GREATER_EQUAL))
#define A_REAL(uses) (uses(A_FLOAT) || uses(A_DOUBLE) || uses(A_FLOAT16) || uses(A_BFLOAT16))
#define A_RESULT(code, expression)                                                                 \
    if (!USES_arith_op(code)) break;                                                               \
    for (int32_t j = 0; j < n; j++) u[j] = (expression);                                           \
    break

KERNEL uint64_t arith_divide(uint64_t a, uint64_t b, int32_t is_signed)
{
    if (!b) return 0;
    if (!is_signed) return a / b;
    if (b == UINT64_MAX) return 0 - a; /* the one quotient that may not fit wraps around */
    return (uint64_t)((int64_t)a / (int64_t)b);
}

/* v bits to the right; the sign comes in from the left. */
KERNEL uint64_t arith_shift_right(uint64_t u, uint64_t v, int32_t is_signed)
{
    const uint64_t sign = is_signed && u >> 63 ? UINT64_MAX : 0;
    return v < 64 ? (u ^ sign) >> v ^ sign : sign;
}

KERNEL uint64_t arith_rest(uint64_t a, uint64_t b, int32_t is_signed)
{
    if (!b || b == UINT64_MAX * (uint64_t)is_signed) return 0;
    return is_signed ? (uint64_t)((int64_t)a % (int64_t)b) : a % b;
}

/* The rest of the sign of b. */
KERNEL uint64_t arith_mod(uint64_t a, uint64_t b, int32_t is_signed)
{
    const uint64_t r = arith_rest(a, b, is_signed);
    return is_signed && r && (r ^ b) >> 63 ? r + b : r;
}

/* The same of reals; of an infinite b that sign, too, and of 0 the sign of b. */
KERNEL double arith_mod_reals(double a, double b)
{
    const double r = f_fmod_double(a, b);
    if (r == 0.0) return b < 0.0 ? -0.0 : 0.0;
    return (r < 0.0) != (b < 0.0) ? r + b : r;
}

/* u = u op v, n elements. */
KERNEL void arith_integers(const arith_p *restrict p, int32_t n, uint64_t u[F_CHUNK],
                           const uint64_t v[F_CHUNK])
{
    const int32_t is_signed = arith_is_signed(p->type), b_signed = arith_is_signed(p->btype);
    const uint64_t top = (uint64_t)is_signed << 63; /* makes signed numbers compare as unsigned */
    switch (p->op) {
    case F_ADD: A_RESULT(F_ADD, u[j] + v[j]);
    case F_SUB: A_RESULT(F_SUB, u[j] - v[j]);
    case F_MUL: A_RESULT(F_MUL, u[j] * v[j]);
    case F_DIV: A_RESULT(F_DIV, arith_divide(u[j], v[j], is_signed));
    case F_MIN: A_RESULT(F_MIN, (u[j] ^ top) < (v[j] ^ top) ? u[j] : v[j]);
    case F_MAX: A_RESULT(F_MAX, (u[j] ^ top) > (v[j] ^ top) ? u[j] : v[j]);
    case F_PRELU: A_RESULT(F_PRELU, u[j] & top ? u[j] * v[j] : u[j]);
    case F_FMOD: A_RESULT(F_FMOD, arith_rest(u[j], v[j], is_signed));
    case F_MOD: A_RESULT(F_MOD, arith_mod(u[j], v[j], is_signed));
    case F_AND: A_RESULT(F_AND, u[j] & v[j]);
    case F_OR: A_RESULT(F_OR, u[j] | v[j]);
    case F_XOR: A_RESULT(F_XOR, u[j] ^ v[j]);
    case F_SHIFT_LEFT: A_RESULT(F_SHIFT_LEFT, v[j] < 64 ? u[j] << v[j] : 0);
    case F_SHIFT_RIGHT: A_RESULT(F_SHIFT_RIGHT, arith_shift_right(u[j], v[j], is_signed));
    case F_EQUAL: A_RESULT(F_EQUAL, u[j] == v[j]);
    case F_NOT_EQUAL: A_RESULT(F_NOT_EQUAL, u[j] != v[j]);
    case F_LESS: A_RESULT(F_LESS, (u[j] ^ top) < (v[j] ^ top));
    case F_LESS_EQUAL: A_RESULT(F_LESS_EQUAL, (u[j] ^ top) <= (v[j] ^ top));
    case F_GREATER: A_RESULT(F_GREATER, (u[j] ^ top) > (v[j] ^ top));
    case F_GREATER_EQUAL: A_RESULT(F_GREATER_EQUAL, (u[j] ^ top) >= (v[j] ^ top));
    default: A_RESULT(F_POW, arith_power_integers(u[j], v[j], is_signed, b_signed && v[j] >> 63));
    }
}

KERNEL void arith_reals(const arith_p *restrict p, int32_t n, double u[F_CHUNK],
                        const double v[F_CHUNK])
{
    switch (p->op) {
    case F_ADD: A_RESULT(F_ADD, u[j] + v[j]);
    case F_SUB: A_RESULT(F_SUB, u[j] - v[j]);
    case F_MUL: A_RESULT(F_MUL, u[j] * v[j]);
    case F_DIV: A_RESULT(F_DIV, u[j] / v[j]);
    case F_MIN: A_RESULT(F_MIN, u[j] < v[j] || u[j] != u[j] ? u[j] : v[j]);
    case F_MAX: A_RESULT(F_MAX, u[j] > v[j] || u[j] != u[j] ? u[j] : v[j]);
    case F_PRELU: A_RESULT(F_PRELU, u[j] < 0.0 ? u[j] * v[j] : u[j]);
    case F_FMOD: A_RESULT(F_FMOD, f_fmod_double(u[j], v[j]));
    case F_MOD: A_RESULT(F_MOD, arith_mod_reals(u[j], v[j]));
    default:
        A_RESULT(F_POW, p->type == A_DOUBLE ? arith_power_doubles(u[j], v[j])
                                            : arith_power_reals(u[j], v[j]));
    }
}

/* u = a op b: 0 or 1. */
KERNEL void arith_compare(int32_t op, int32_t n, uint64_t u[F_CHUNK], const double a[F_CHUNK],
                          const double b[F_CHUNK])
{
    switch (op) {
    case F_EQUAL: A_RESULT(F_EQUAL, a[j] == b[j]);
    case F_NOT_EQUAL: A_RESULT(F_NOT_EQUAL, a[j] != b[j]);
    case F_LESS: A_RESULT(F_LESS, a[j] < b[j]);
    case F_LESS_EQUAL: A_RESULT(F_LESS_EQUAL, a[j] <= b[j]);
    case F_GREATER: A_RESULT(F_GREATER, a[j] > b[j]);
    default: A_RESULT(F_GREATER_EQUAL, a[j] >= b[j]);
    }
}

#undef A_RESULT

/* A place in an operand: elements `step` apart from element `at` on. */
typedef struct arith_row {
    const void *x;
    ptrdiff_t at, step;
} arith_row;

/* n elements of y from `at` on. */
KERNEL void arith_chunk(const arith_p *restrict p, arith_row a, arith_row b, void *y, ptrdiff_t at,
                        int32_t n)
{
    uint64_t u[F_CHUNK], v[F_CHUNK];
    double r[F_CHUNK], s[F_CHUNK];
    if (A_REAL(USES_arith_type) && arith_is_real(p->type)) {
        arith_load_reals(r, p->type, a.x, a.at, a.step, n);
        arith_load_reals(s, p->btype, b.x, b.at, b.step, n);
        if (A_COMPARES && p->op >= F_EQUAL) {
            arith_compare(p->op, n, u, r, s);
            arith_store_integers(u, A_BOOL, y, at, n);
            return;
        }
        arith_reals(p, n, r, s);
        arith_store_reals(r, p->type, y, at, n);
        return;
    }
    arith_load_integers(u, p->type, a.x, a.at, a.step, n);
    if (A_REAL(USES_arith_btype) && arith_is_real(p->btype)) {
        arith_load_reals(s, p->btype, b.x, b.at, b.step, n);
        for (int32_t j = 0; j < n; j++)
            u[j] = arith_power_mixed(u[j], s[j], arith_is_signed(p->type));
    } else {
        arith_load_integers(v, p->btype, b.x, b.at, b.step, n);
        arith_integers(p, n, u, v);
    }
    arith_store_integers(u, p->op >= F_EQUAL ? A_BOOL : p->type, y, at, n);
}

KERNEL_TRAITS(arith, floats)
KERNEL_RUN void arith(const arith_p *restrict p, const void *restrict a, const void *restrict b,
                      void *restrict y)
{
    int32_t dims[6] = {p->d0, p->d1, p->d2, p->d3, p->d4, p->d5};
    const int32_t as[6] = {p->a0, p->a1, p->a2, p->a3, p->a4, p->a5};
    const int32_t bs[6] = {p->b0, p->b1, p->b2, p->b3, p->b4, p->b5};
    const int axes = f_binary_merge(dims, as, bs);
    ptrdiff_t rows = 1;
    for (int i = 0; i < axes; i++) rows *= dims[i];
    for (ptrdiff_t r = 0; r < rows; r++) {
        arith_row ar = {a, 0, as[5]}, br = {b, 0, bs[5]};
        f_binary_row(axes, dims, as, bs, r, &ar.at, &br.at);
        for (ptrdiff_t j = 0; j < dims[5]; j += F_CHUNK) {
            arith_chunk(p, ar, br, y, r * dims[5] + j, f_chunk(j, dims[5]));
            ar.at += F_CHUNK * ar.step;
            br.at += F_CHUNK * br.step;
        }
    }
}

#undef A_REAL
#undef A_COMPARES
#undef USES_arith_op
#undef USES_arith_type
#undef USES_arith_btype

#endif
