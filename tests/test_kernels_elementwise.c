/* tests/test_kernels_elementwise.c - elementwise kernels of any type: functions of floats and
 * doubles against libm, casts, comparisons and bits, rests of divisions, choices.
 */
#include "kernels/arith.h"
#include "kernels/cast.h"
#include "kernels/d_trig.h"
#include "kernels/f_hardmax.h"
#include "kernels/unary.h"
#include "kernels/where.h"
#include "tests/kernel_run.h"

/* ---- functions ------------------------------------------------------------------------------- */

/* Error of y in units in the last place of `want`, whose type has `bits` of precision and the least
 * exponent `least`; 0 where both are NaN or the same infinity. */
static double ulps(double y, long double want, int bits, int least)
{
    const double rounded = bits == 24 ? (double)(float)want : (double)want;
    if (isnan(rounded) || isnan(y)) return isnan(rounded) && isnan(y) ? 0.0 : INFINITY;
    if (isinf(rounded) || isinf(y)) return rounded == y ? 0.0 : INFINITY;
    const int e = want == 0.0L || ilogbl(want) < least ? least : ilogbl(want);
    return (double)(fabsl((long double)y - want) / ldexpl(1.0L, e - bits + 1));
}

static long double sigmoid_want(long double x) { return 1.0L / (1.0L + expl(-x)); }
static long double softplus_want(long double x) { return fmaxl(x, 0.0L) + log1pl(expl(-fabsl(x))); }
static long double softsign_want(long double x) { return x / (1.0L + fabsl(x)); }
static long double sign_want(long double x) { return x > 0 ? 1.0L : x < 0 ? -1.0L : x; }
static long double elu_want(long double x) { return x < 0 ? (long double)0.7f * expm1l(x) : x; }
static long double minus(long double x) { return -x; }

/* Functions of double, and of float where they are those rounded; allowed errors in ulp. */
static const struct {
    int32_t op;
    const char *name;
    long double (*want)(long double);
    double of_double, of_float; /* ulp; 0 for of_float: not here */
} functions[] = {
    {F_SIN, "sin", sinl, 1.5, 0.51},        {F_COS, "cos", cosl, 1.5, 0.51},
    {F_TAN, "tan", tanl, 2.5, 0.51},        {F_ASIN, "asin", asinl, 2.5, 0.51},
    {F_ACOS, "acos", acosl, 3.0, 0.51},     {F_ATAN, "atan", atanl, 2.0, 0.51},
    {F_SINH, "sinh", sinhl, 3.0, 0.51},     {F_COSH, "cosh", coshl, 4.0, 0.51},
    {F_ASINH, "asinh", asinhl, 2.5, 0.51},  {F_ACOSH, "acosh", acoshl, 2.5, 0.51},
    {F_ATANH, "atanh", atanhl, 2.5, 0.51},  {F_TANH, "tanh", tanhl, 3.5, 0.0},
    {F_EXP, "exp", expl, 2.0, 0.0},         {F_LOG, "log", logl, 2.0, 0.0},
    {F_SQRT, "sqrt", sqrtl, 0.51, 0.0},     {F_SIGMOID, "sigmoid", sigmoid_want, 4.0, 0.0},
    {F_ERF, "erf", erfl, 6.0, 0.0},         {F_SOFTPLUS, "softplus", softplus_want, 3.0, 0.0},
    {F_ELU, "elu", elu_want, 4.0, 0.0},     {F_SOFTSIGN, "softsign", softsign_want, 1.6, 1.6},
    {F_SIGN, "sign", sign_want, 0.0, 0.01}, {F_FLOOR, "floor", floorl, 0.0, 0.0},
    {F_CEIL, "ceil", ceill, 0.0, 0.0},      {F_ROUND, "round", rintl, 0.0, 0.0},
    {F_NEG, "neg", minus, 0.0, 0.0},        {F_ABS, "abs", fabsl, 0.0, 0.0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Doubles of every size and sign, what is near multiples of pi/2, and the special ones. */
static void fill(double *x, int count)
{
    static const double special[] = {0.0,
                                     -0.0,
                                     INFINITY,
                                     -INFINITY,
                                     NAN,
                                     1.0,
                                     -1.0,
                                     0.5,
                                     -0.5,
                                     1.5,
                                     2.5,
                                     -2.5,
                                     709.5,
                                     710.2,
                                     -745.0,
                                     0x1p-1074,
                                     0x1.fffffffffffffp-1,
                                     4503599627370496.5,
                                     6381956970095103.0 * 0x1p797,
                                     0x1.921fb54442d18p+0,
                                     0x1.921fb54442d18p+1,
                                     1048576.0,
                                     1048575.9,
                                     0x1p1023,
                                     6.1,
                                     3.0};
    for (int i = 0; i < count; i++) {
        const double any = ldexp(between(-(1 << 30), 1 << 30) + between(0, 999) * 1e-3, -30);
        const int kind = i % 4;
        x[i] = kind == 0   ? any * 3
               : kind == 1 ? ldexp(any, between(-60, 10))
               : kind == 2 ? between(-100000, 100000) * M_PI_2 + any * 1e-9
                           : ldexp(any, between(-1070, 1023));
    }
    memcpy(x, special, sizeof special);
}

static void test_functions(void **state)
{
    enum { COUNT = 100000 };
    double *x = alloc(COUNT * sizeof *x);
    float *f = alloc(COUNT * sizeof *f);
    (void)state;
    fill(x, COUNT);
    for (int i = 0; i < COUNT; i++) f[i] = (float)x[i];
    for (int c = 0; c < FUNCTIONS; c++) {
        const unary_p p = {functions[c].op, A_DOUBLE, COUNT, 0.7f, 0.0f};
        const f_unary_p q = {functions[c].op, COUNT, 0.7f, 0.0f, -INFINITY, INFINITY};
        double *y = run("unary", &p, x, NULL, NULL, COUNT * sizeof *y), worst = 0.0;
        float *g = run("f_unary", &q, f, NULL, NULL, COUNT * sizeof *g);
        for (int i = 0; i < COUNT; i++) {
            const double e = ulps(y[i], functions[c].want((long double)x[i]), 53, -1022);
            const double r = ulps((double)g[i], functions[c].want((long double)f[i]), 24, -126);
            if (e > functions[c].of_double)
                fail_msg("%s(%a) = %a: off by %.2f ulp", functions[c].name, x[i], y[i], e);
            if (functions[c].of_float > 0.0 && r > functions[c].of_float)
                fail_msg("%s(%a) = %a: off by %.2f ulp of a float", functions[c].name, (double)f[i],
                         (double)g[i], r);
            worst = fmax(worst, e);
        }
        print_message("# %-10s %.3f ulp\n", functions[c].name, worst);
        free(y);
        free(g);
    }
    free(x);
    free(f);
}

/* Every float16 and bfloat16: the function of double, rounded; every function that has a row. */
static void test_narrow_functions(void **state)
{
    static const int32_t types[] = {A_FLOAT16, A_BFLOAT16};
    enum { COUNT = 0x10000 };
    uint16_t *h = alloc(COUNT * sizeof *h);
    double *x = alloc(COUNT * sizeof *x);
    (void)state;
    for (int i = 0; i < COUNT; i++) h[i] = (uint16_t)i;
    for (int t = 0; t < 2; t++) {
        const bool half = types[t] == A_FLOAT16;
        for (int i = 0; i < COUNT; i++)
            x[i] = half ? arith_from_half(h[i]) : arith_from_bfloat(h[i]);
        for (int32_t op = F_CLIP + 1; op < F_UNARY_CODES; op++) {
            const unary_p p = {op, types[t], COUNT, 0.7f, 0.3f};
            const unary_p q = {op, A_DOUBLE, COUNT, 0.7f, 0.3f};
            uint16_t *y = run("unary", &p, h, NULL, NULL, COUNT * sizeof *y);
            double *want = run("unary", &q, x, NULL, NULL, COUNT * sizeof *want);
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(y[i], half ? arith_to_half(want[i]) : arith_to_bfloat(want[i]));
            free(y);
            free(want);
        }
    }
    free(h);
    free(x);
}

/* ---- casts ----------------------------------------------------------------------------------- */

enum { TYPES = 13 };
static const int32_t types[TYPES] = {A_FLOAT,  A_UINT8,  A_INT8,    A_UINT16,  A_INT16,
                                     A_INT32,  A_INT64,  A_BOOL,    A_FLOAT16, A_DOUBLE,
                                     A_UINT32, A_UINT64, A_BFLOAT16};

static size_t size_of(int32_t type)
{
    return type == A_UINT8 || type == A_INT8 || type == A_BOOL                              ? 1
           : type == A_UINT16 || type == A_INT16 || type == A_FLOAT16 || type == A_BFLOAT16 ? 2
           : type == A_INT32 || type == A_UINT32 || type == A_FLOAT                         ? 4
                                                                                            : 8;
}

/* Element i as a number of either kind. */
typedef struct Number {
    double real;
    __int128 whole;
} Number;

static Number number_at(int32_t type, const void *x, size_t i)
{
    Number n = {.real = 0.0};
    uint64_t u = 0;
    memcpy(&u, (const char *)x + i * size_of(type), size_of(type));
    const int width = (int)size_of(type) * 8;
    float f;
    memcpy(&f, &u, sizeof f);
    if (type == A_FLOAT) n.real = (double)f;
    else if (type == A_DOUBLE) memcpy(&n.real, &u, sizeof u);
    else if (type == A_FLOAT16) n.real = arith_from_half((uint16_t)u);
    else if (type == A_BFLOAT16) n.real = arith_from_bfloat((uint16_t)u);
    else if (type == A_BOOL) n.whole = u != 0;
    else
        n.whole = (__int128)u -
                  (arith_is_signed(type) && u >> (width - 1) & 1 ? (__int128)1 << width : 0);
    return n;
}

/* What x86-64 makes of a float: the conversions to 32 and 64 bits, and what is made of them. */
static uint64_t cut_off(double x, int32_t to)
{
    const int bits = to == A_INT64 || to == A_UINT32 || to == A_UINT64 ? 64 : 32;
    const double limit = ldexp(1.0, bits - 1);
    if (to == A_BOOL) return x != 0.0;
    if (to == A_UINT64 && x >= limit) return x < 2 * limit ? (uint64_t)x : 0;
    if (trunc(x) >= -limit && x < limit) return (uint64_t)(int64_t)x;
    return bits == 64 ? (uint64_t)1 << 63 : (uint64_t)(int64_t)INT32_MIN;
}

static void check_cast(int32_t from, int32_t to, const void *x, const void *y, size_t i)
{
    const Number a = number_at(from, x, i), b = number_at(to, y, i);
    if (arith_is_real(to)) {
        const bool wide = arith_is_real(from);
        const double once = to == A_DOUBLE ? (wide ? a.real : (double)a.whole)
                                           : (double)(wide ? (float)a.real : (float)a.whole);
        const double want = to == A_FLOAT16    ? arith_from_half(arith_to_half(once))
                            : to == A_BFLOAT16 ? arith_from_bfloat(arith_to_bfloat(once))
                                               : once;
        if (!(isnan(want) ? isnan(b.real) : want == b.real))
            fail_msg("cast %d to %d: %a, want %a", from, to, b.real, want);
        return;
    }
    uint64_t want = arith_is_real(from) ? cut_off(a.real, to)
                    : to == A_BOOL      ? a.whole != 0
                                        : (uint64_t)a.whole,
             got = 0;
    memcpy(&got, (const char *)y + i * size_of(to), size_of(to));
    if (memcmp(&want, &got, size_of(to)))
        fail_msg("cast %d to %d: %a gives %llx, want %llx", from, to, a.real,
                 (unsigned long long)got, (unsigned long long)want);
}

/* Random elements of a type, small numbers and the ends of every range among them. */
static void *elements(int32_t type, size_t n)
{
    static const double reals[] = {
        0.0,     -0.0,          0.5,      -0.99,     1.0,     127.5,        128.0,    255.9,
        256.0,   -129.0,        -1.0,     32768.0,   65535.0, 65536.0,      65519.0,  0x1p31,
        -0x1p31, -0x1p31 - 1.0, 0x1p32,   0x1p53,    0x1p63,  -0x1p63,      0x1.8p63, 0x1p64,
        1e30,    -1e30,         INFINITY, -INFINITY, NAN,     2147483647.5, 1e-45};
    static const uint64_t wholes[] = {0,
                                      1,
                                      2,
                                      3,
                                      255,
                                      256,
                                      UINT64_MAX,
                                      UINT64_MAX - 1,
                                      INT64_MAX,
                                      (uint64_t)1 << 63,
                                      0x80,
                                      0x8000,
                                      0x80000000,
                                      0x1000001,
                                      0x20000020000001};
    char *x = alloc(n * size_of(type));
    for (size_t i = 0; i < n; i++) {
        const uint64_t any = (uint64_t)rnd() << 40 ^ (uint64_t)rnd() << 20 ^ rnd();
        const double r = i % 2 ? reals[any % (sizeof reals / 8)] : (int32_t)any / 1024.0;
        const float f = (float)r;
        uint64_t u = i % 3 ? wholes[any % (sizeof wholes / 8)] : any;
        if (type == A_DOUBLE) memcpy(&u, &r, sizeof u);
        if (type == A_FLOAT) memcpy(&u, &f, sizeof f);
        if (type == A_FLOAT16) u = arith_to_half(r);
        if (type == A_BFLOAT16) u = arith_to_bfloat(r);
        memcpy(x + i * size_of(type), &u, size_of(type));
    }
    return x;
}

static void test_cast(void **state)
{
    (void)state;
    for (int i = 0; i < TYPES * TYPES; i++) {
        const cast_p p = {between(1, 700), types[i / TYPES], types[i % TYPES]};
        void *x = elements(p.from, (size_t)p.count);
        void *y = run("cast", &p, x, NULL, NULL, (size_t)p.count * size_of(p.to));
        for (int32_t k = 0; k < p.count; k++) check_cast(p.from, p.to, x, y, (size_t)k);
        free(x);
        free(y);
    }
}

/* ---- comparisons, bits, rests ---------------------------------------------------------------- */

static uint64_t whole_want(int32_t op, __int128 a, __int128 b)
{
    const __int128 rest = b ? a % b : 0;
    switch (op) {
    case F_PRELU: return (uint64_t)(a < 0 ? a * b : a);
    case F_FMOD: return (uint64_t)rest;
    case F_MOD: return (uint64_t)(rest && (rest < 0) != (b < 0) ? rest + b : rest);
    case F_AND: return (uint64_t)a & (uint64_t)b;
    case F_OR: return (uint64_t)a | (uint64_t)b;
    case F_XOR: return (uint64_t)a ^ (uint64_t)b;
    case F_SHIFT_LEFT: return b >= 0 && b < 64 ? (uint64_t)a << b : 0;
    case F_SHIFT_RIGHT: return (uint64_t)(a >> (b >= 0 && b < 64 ? b : 127));
    case F_EQUAL: return a == b;
    case F_NOT_EQUAL: return a != b;
    case F_LESS: return a < b;
    case F_LESS_EQUAL: return a <= b;
    case F_GREATER: return a > b;
    default: return a >= b;
    }
}

static double real_want(int32_t op, double a, double b)
{
    switch (op) {
    case F_PRELU: return a < 0 ? a * b : a;
    case F_FMOD: return fmod(a, b);
    case F_EQUAL: return a == b;
    case F_NOT_EQUAL: return a != b;
    case F_LESS: return a < b;
    case F_LESS_EQUAL: return a <= b;
    case F_GREATER: return a > b;
    default: return a >= b;
    }
}

static void check_pair(int32_t op, int32_t type, Number a, Number b, const void *y, size_t i)
{
    const int32_t to = op >= F_EQUAL ? A_BOOL : type;
    const Number got = number_at(to, y, i);
    if (arith_is_real(type)) {
        double want = real_want(op, a.real, b.real);
        if (type == A_FLOAT) want = (double)(float)want;
        if (type == A_FLOAT16) want = arith_from_half(arith_to_half(want));
        if (type == A_BFLOAT16) want = arith_from_bfloat(arith_to_bfloat(want));
        const double r = op >= F_EQUAL ? (double)got.whole : got.real;
        if (!(isnan(want) ? isnan(r) : r == want))
            fail_msg("op %d, type %d: %a, %a give %a, want %a", op, type, a.real, b.real, r, want);
        return;
    }
    const uint64_t want = whole_want(op, a.whole, b.whole);
    if (memcmp(&want, (const char *)y + i * size_of(to), size_of(to)))
        fail_msg("op %d, type %d: %lld, %lld give %lld, want %lld", op, type, (long long)a.whole,
                 (long long)b.whole, (long long)got.whole, (long long)want);
}

/* rows times n elements of one type with n elements, the same in each row. */
static arith_p pairs_of(int32_t op, int32_t type, int32_t rows, int32_t n)
{
    return (arith_p){.op = op,
                     .type = type,
                     .btype = type,
                     .d0 = 1,
                     .d1 = 1,
                     .d2 = 1,
                     .d3 = 1,
                     .d4 = rows,
                     .d5 = n,
                     .a4 = n,
                     .a5 = 1,
                     .b5 = 1};
}

static void test_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < TYPES * (F_GREATER_EQUAL - F_POW) * 4; i++) {
        const int32_t type = types[i % TYPES], n = between(1, 150), d = between(1, 3);
        const int32_t op = F_PRELU + i / TYPES % (F_GREATER_EQUAL - F_POW);
        const bool bits = op >= F_MOD && op <= F_SHIFT_RIGHT;
        if ((bits && arith_is_real(type)) || (type == A_BOOL && (op < F_AND || op > F_EQUAL)))
            continue;
        if (type == A_BOOL && (op == F_SHIFT_LEFT || op == F_SHIFT_RIGHT)) continue;
        const int32_t wide = between(0, 1);
        arith_p p = pairs_of(op, type, d, n);
        p.b5 = wide;
        const size_t count = (size_t)(d * n);
        void *a = elements(type, count), *b = elements(type, (size_t)n);
        void *y = run("arith", &p, a, b, NULL, count * size_of(op >= F_EQUAL ? A_BOOL : type));
        for (size_t k = 0; k < count; k++)
            check_pair(op, type, number_at(type, a, k),
                       number_at(type, b, wide ? k % (size_t)n : 0), y, k);
        free(a);
        free(b);
        free(y);
    }
}

/* Rests of every pair of sizes, exactly. */
static void test_fmod(void **state)
{
    enum { COUNT = 50000 };
    double *a = alloc(COUNT * sizeof *a), *b = alloc(COUNT * sizeof *b);
    (void)state;
    fill(a, COUNT);
    fill(b, COUNT);
    for (int i = 0; i < COUNT; i++) b[i] = i < 600 ? a[i / 24] : b[i];
    for (int i = 0; i < 600; i++) a[i] = b[i % 24 * 24];
    const arith_p p = pairs_of(F_FMOD, A_DOUBLE, 1, COUNT);
    double *y = run("arith", &p, a, b, NULL, COUNT * sizeof *y);
    for (int i = 0; i < COUNT; i++) {
        const double want = fmod(a[i], b[i]);
        if (!(isnan(want) ? isnan(y[i]) : want == y[i] && !signbit(want) == !signbit(y[i])))
            fail_msg("fmod(%a, %a) = %a, want %a", a[i], b[i], y[i], want);
    }
    free(a);
    free(b);
    free(y);
}

static void test_power_of_doubles(void **state)
{
    static const double special[] = {0.0,
                                     -0.0,
                                     1.0,
                                     -1.0,
                                     2.0,
                                     -2.0,
                                     0.5,
                                     3.0,
                                     INFINITY,
                                     -INFINITY,
                                     NAN,
                                     -3.0,
                                     1e300,
                                     0x1p52,
                                     0x1p53,
                                     -7.0,
                                     0x1.0000000000001p52};
    enum { N = sizeof special / sizeof *special, COUNT = 20000 };
    double *a = alloc(COUNT * sizeof *a), *b = alloc(COUNT * sizeof *b);
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        a[i] = i < N * N ? special[i / N] : ldexp(between(1, 1 << 20), between(-60, 40));
        b[i] = i < N * N ? special[i % N] : between(-100000, 100000) / 8192.0;
    }
    const arith_p p = pairs_of(F_POW, A_DOUBLE, 1, COUNT);
    double *y = run("arith", &p, a, b, NULL, COUNT * sizeof *y);
    for (int i = 0; i < COUNT; i++) {
        const double want = pow(a[i], b[i]);
        const bool near = isfinite(want) && fabs(y[i] - want) <= 1e-12 * fabs(want);
        if (!(isnan(want) ? isnan(y[i]) : want == y[i] || near))
            fail_msg("pow(%a, %a) = %a, want %a", a[i], b[i], y[i], want);
    }
    free(a);
    free(b);
    free(y);
}

/* ---- choices --------------------------------------------------------------------------------- */

static void test_where(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        where_p p = {.size = 1 << between(0, 3)};
        int32_t *const strides[3] = {&p.c0, &p.a0, &p.b0}, *d = &p.d0, all[3] = {1, 1, 1}, ny = 1;
        for (int j = 5; j >= 0; j--) {
            d[j] = between(0, 1) ? between(1, j == 5 ? 90 : 4) : 1;
            for (int k = 0; k < 3; k++) {
                strides[k][j] = between(0, 2) ? all[k] : 0;
                if (strides[k][j]) all[k] *= d[j];
            }
            ny *= d[j];
        }
        const size_t size = (size_t)p.size;
        uint8_t *c = elements(A_UINT8, (size_t)all[0]);
        for (int32_t k = 0; k < all[0]; k++) c[k] &= 2;
        char *a = elements(A_UINT64, (size_t)all[1]), *b = elements(A_UINT64, (size_t)all[2]);
        char *y = run("where", &p, c, a, b, (size_t)ny * size);
        for (int32_t o = 0; o < ny; o++) {
            int32_t rest = o, at[3] = {0};
            for (int j = 5; j >= 0; rest /= d[j], j--)
                for (int k = 0; k < 3; k++) at[k] += rest % d[j] * strides[k][j];
            const char *from = c[at[0]] ? a + (size_t)at[1] * size : b + (size_t)at[2] * size;
            assert_memory_equal(y + (size_t)o * size, from, size);
        }
        free(a);
        free(b);
        free(c);
        free(y);
    }
}

static void test_hardmax(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_softmax_p p = {between(1, 4), between(1, 30), between(1, 30), 0};
        const size_t count = (size_t)(p.outer * p.count * p.inner);
        float *x = alloc(count * sizeof *x);
        for (size_t k = 0; k < count; k++) x[k] = (float)between(-3, 3);
        float *y = run("f_hardmax", &p, x, NULL, NULL, count * sizeof *y);
        for (int32_t l = 0; l < p.outer * p.inner; l++) {
            const int32_t at = l / p.inner * p.count * p.inner + l % p.inner;
            int32_t most = 0;
            for (int32_t k = p.count - 1; k >= 0; k--)
                if (x[at + k * p.inner] >= x[at + most * p.inner]) most = k;
            for (int32_t k = 0; k < p.count; k++)
                assert_true(y[at + k * p.inner] == (k == most ? 1.0f : 0.0f));
        }
        free(x);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_functions, reseed),
        cmocka_unit_test_setup(test_narrow_functions, reseed),
        cmocka_unit_test_setup(test_cast, reseed),
        cmocka_unit_test_setup(test_pairs, reseed),
        cmocka_unit_test_setup(test_fmod, reseed),
        cmocka_unit_test_setup(test_power_of_doubles, reseed),
        cmocka_unit_test_setup(test_where, reseed),
        cmocka_unit_test_setup(test_hardmax, reseed),
    };
    return cmocka_run_group_tests_name("kernels_elementwise", tests, NULL, NULL);
}
