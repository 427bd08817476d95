/* tests/test_kernels_elements.c - kernels that go over elements: functions of one and two variables
 * against libm, in units in the last place; arithmetic of every type; copies.
 */
#include "kernels/arith.h"
#include "kernels/reduce_walk.h"
#include "tests/kernel_run.h"

/* ---- element by element ---------------------------------------------------------------------- */

static double binary_want(int32_t op, double a, double b)
{
    switch (op) {
    case F_ADD: return a + b;
    case F_SUB: return a - b;
    case F_MUL: return a * b;
    case F_DIV: return a / b;
    case F_MIN: return fmin(a, b);
    case F_MAX: return fmax(a, b);
    default: return pow(a, b);
    }
}

static void test_binary(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        int32_t d[6], as[6], bs[6], na = 1, nb = 1, ny = 1;
        for (int j = 5; j >= 0; j--) {
            const int32_t kind = between(0, 3), big = j == 5 && between(0, 1);
            d[j] = between(0, 2) ? between(1, big ? 90 : 4) : 1;
            as[j] = kind == 1 ? 0 : na;
            bs[j] = kind == 2 ? 0 : nb;
            if (as[j]) na *= d[j];
            if (bs[j]) nb *= d[j];
            ny *= d[j];
        }
        const f_binary_p p = {between(F_ADD, F_POW),
                              d[0],
                              d[1],
                              d[2],
                              d[3],
                              d[4],
                              d[5],
                              as[0],
                              as[1],
                              as[2],
                              as[3],
                              as[4],
                              as[5],
                              bs[0],
                              bs[1],
                              bs[2],
                              bs[3],
                              bs[4],
                              bs[5],
                              -0.9f,
                              INFINITY};
        float *a = floats((size_t)na), *b = floats((size_t)nb);
        for (int32_t j = 0; j < na && p.op == F_POW; j++) a[j] = fabsf(a[j]) + 0.125f;
        for (int32_t j = 0; j < nb && p.op == F_DIV; j++) b[j] += copysignf(1.0f, b[j]);
        float *y = run("f_binary", &p, a, b, NULL, (size_t)ny * sizeof *y);
        for (int32_t o = 0; o < ny; o++) {
            int32_t rest = o, ia = 0, ib = 0;
            for (int j = 5; j >= 0; rest /= d[j], j--) {
                ia += rest % d[j] * as[j];
                ib += rest % d[j] * bs[j];
            }
            const double want = fmax(binary_want(p.op, (double)a[ia], (double)b[ib]), (double)p.lo);
            if (!(fabs(want - (double)y[o]) <= 2e-7 * fabs(want)))
                fail_msg("f_binary %d: %.9g, want %.9g", p.op, (double)y[o], want);
        }
        free(a);
        free(b);
        free(y);
    }
}

/* Error of y against `want`, in ulp of want; 0 where both are NaN or the same infinity. */
static double ulps(float y, double want)
{
    if (isnan(want) || isnan(y)) return isnan(want) && isnan(y) ? 0.0 : INFINITY;
    if (isinf((float)want) || isinf(y)) return (float)want == y ? 0.0 : INFINITY;
    const int e = fabs(want) < 0x1p-126 ? -126 : ilogb(want);
    return fabs((double)y - want) / ldexp(1.0, e - 23);
}

static double id_want(double x) { return x; }
static double sigmoid_want(double x) { return 1.0 / (1.0 + exp(-x)); }
static double softplus_want(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }
static double elu_want(double x) { return x < 0.0 ? (double)0.7f * expm1(x) : x; }
static double leaky_want(double x) { return x < 0.0 ? (double)0.7f * x : x; }
static double neg_want(double x) { return -x; }
static double reciprocal_want(double x) { return 1.0 / x; }

/* One function over about a million floats of every size and sign, NaNs and infinities too. */
static void test_unary(void **state)
{
    static const struct {
        int32_t op;
        const char *name;
        double (*want)(double);
        double ulp; /* allowed */
    } cases[] = {
        {F_CLIP, "clip", id_want, 0.0},
        {F_LEAKY_RELU, "leaky", leaky_want, 0.51},
        {F_SIGMOID, "sigmoid", sigmoid_want, 3.0},
        {F_TANH, "tanh", tanh, 3.0},
        {F_ELU, "elu", elu_want, 2.0},
        {F_SOFTPLUS, "softplus", softplus_want, 2.0},
        {F_EXP, "exp", exp, 1.0},
        {F_LOG, "log", log, 1.0},
        {F_SQRT, "sqrt", sqrt, 0.51},
        {F_ABS, "abs", fabs, 0.0},
        {F_NEG, "neg", neg_want, 0.0},
        {F_RECIPROCAL, "1/x", reciprocal_want, 0.51},
        {F_ERF, "erf", erf, 2.0},
        {F_FLOOR, "floor", floor, 0.0},
        {F_CEIL, "ceil", ceil, 0.0},
        {F_ROUND, "round", rint, 0.0},
    };
    enum { COUNT = 1 << 20 };
    (void)state;
    float *x = alloc(COUNT * sizeof *x);
    for (uint32_t i = 0, u = 0; i < COUNT; i++, u += 4099) memcpy(&x[i], &u, sizeof u);
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY,  NAN,    1.0f,      0.5f,   -0.5f,
                             1.5f, 2.5f,  -2.5f,    8388607.5f, 1e-45f, 88.72284f, -103.9f};
    memcpy(x, special, sizeof special);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const f_unary_p p = {cases[c].op, COUNT, 0.7f, 0.0f, -INFINITY, INFINITY};
        float *y = run("f_unary", &p, x, NULL, NULL, COUNT * sizeof *y);
        double worst = 0.0;
        for (size_t i = 0; i < COUNT; i++) {
            const double e = ulps(y[i], cases[c].want((double)x[i]));
            if (e > cases[c].ulp)
                fail_msg("%s(%a) = %a: off by %.2f ulp", cases[c].name, (double)x[i], (double)y[i],
                         e);
            worst = fmax(worst, e);
        }
        print_message("# %-10s %.3f ulp\n", cases[c].name, worst);
        free(y);
    }
    free(x);
}

/* Functions that are compared by absolute error, in place, with a clamp; counts that are odd. */
static void test_unary_rest(void **state)
{
    (void)state;
    for (int32_t n = 1; n < 200; n += 7) {
        for (int32_t op = F_CLIP; op <= F_GELU; op++) {
            const f_unary_p p = {op, n, 0.2f, 0.5f, -0.25f, 0.75f};
            float *x = floats((size_t)n), *y = run("f_unary", &p, x, NULL, NULL, (size_t)n * 4);
            for (int32_t i = 0; i < n; i++) {
                const double v = (double)x[i], third = v / 6.0 + 0.5;
                const double gelu = 0.5 * v * (1.0 + erf(v / sqrt(2.0)));
                double want = op == F_HARD_SIGMOID ? (double)0.2f * v + 0.5
                              : op == F_HARD_SWISH ? v * fmin(fmax(third, 0.0), 1.0)
                              : op == F_GELU       ? gelu
                                                   : v;
                want = fmin(fmax(want, -0.25), 0.75);
                if (op == F_CLIP || op == F_HARD_SIGMOID || op == F_HARD_SWISH || op == F_GELU)
                    assert_true(fabs(want - (double)y[i]) <= 2e-7);
            }
            const void *const in[] = {x};
            void *const out[] = {x};
            kernel_find("f_unary")->run(&p, in, out);
            assert_memory_equal(x, y, (size_t)n * 4);
            free(x);
            free(y);
        }
    }
}

static void test_pow(void **state)
{
    static const float special[] = {0.0f,  -0.0f, 1.0f,   -1.0f,    2.0f,      -2.0f,
                                    0.5f,  -0.5f, 3.0f,   INFINITY, -INFINITY, NAN,
                                    -3.0f, 1e30f, 1e-30f, 1e-40f,   127.5f};
    enum { N = sizeof special / sizeof *special, COUNT = 200000 };
    (void)state;
    float *a = alloc(COUNT * sizeof *a), *b = alloc(COUNT * sizeof *b);
    for (int i = 0; i < COUNT; i++) {
        a[i] = i < N * N ? special[i / N] : ldexpf((float)between(1, 1 << 20), between(-60, 40));
        b[i] = i < N * N ? special[i % N] : (float)between(-100000, 100000) / 8192.0f;
    }
    const f_binary_p p = {F_POW, 1, 1, 1, 1, 1, COUNT, 0, 0,         0,       0,
                          0,     1, 0, 0, 0, 0, 0,     1, -INFINITY, INFINITY};
    float *y = run("f_binary", &p, a, b, NULL, COUNT * sizeof *y);
    double worst = 0.0;
    for (int i = 0; i < COUNT; i++) {
        const double want = pow((double)a[i], (double)b[i]), e = ulps(y[i], want);
        if (e > 0.51 || (want == 0.0 && !signbit(want) != !signbit(y[i])))
            fail_msg("pow(%a, %a) = %a, want %a", (double)a[i], (double)b[i], (double)y[i], want);
        worst = fmax(worst, e);
    }
    print_message("# %-10s %.3f ulp\n", "pow", worst);
    free(a);
    free(b);
    free(y);
}

/* ---- arithmetic of any type ------------------------------------------------------------------ */

enum { ARITH_TYPES = 10 };
static const int32_t arith_types[ARITH_TYPES] = {A_UINT8, A_INT8,   A_UINT16, A_INT16,   A_INT32,
                                                 A_INT64, A_UINT32, A_UINT64, A_FLOAT16, A_DOUBLE};

static size_t arith_size(int32_t type)
{
    return type == A_UINT8 || type == A_INT8                          ? 1
           : type == A_UINT16 || type == A_INT16 || type == A_FLOAT16 ? 2
           : type == A_INT32 || type == A_UINT32 || type == A_FLOAT   ? 4
                                                                      : 8;
}

/* The bits of element i, in the low bytes. */
static uint64_t arith_bits(const void *x, int32_t type, size_t i)
{
    uint64_t u = 0;
    memcpy(&u, (const char *)x + i * arith_size(type), arith_size(type));
    return u;
}

/* An integer of that type from its bits. */
static __int128 arith_number(uint64_t bits, int32_t type)
{
    const int width = (int)arith_size(type) * 8;
    const bool negative = arith_is_signed(type) && bits >> (width - 1) & 1;
    return (__int128)bits - (negative ? (__int128)1 << width : 0);
}

/* Random bits; small numbers and the ends of the range are frequent. */
static uint64_t arith_random(int32_t type)
{
    static const uint64_t special[] = {
        0,    1,      2,          UINT64_MAX, UINT64_MAX - 1, INT64_MAX, (uint64_t)1 << 63,
        0x80, 0x8000, 0x80000000, 0x7f};
    const uint64_t any = (uint64_t)rnd() << 40 ^ (uint64_t)rnd() << 20 ^ rnd();
    const int kind = between(0, 2);
    if (type == A_DOUBLE) {
        const double x = ldexp(between(-4096, 4096), between(-8, 8));
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        return bits;
    }
    return kind == 0 ? any : kind == 1 ? any % 12 : special[any % (sizeof special / 8)];
}

/* What an integer operation gives, in arithmetic of 128 bits. */
static uint64_t arith_want(int32_t op, uint64_t abits, uint64_t bbits, int32_t type)
{
    const __int128 a = arith_number(abits, type), b = arith_number(bbits, type);
    uint64_t r = 1;
    switch (op) {
    case F_ADD: return (uint64_t)(a + b);
    case F_SUB: return (uint64_t)(a - b);
    case F_MUL: return (uint64_t)a * (uint64_t)b;
    case F_DIV: return b ? (uint64_t)(a / b) : 0;
    case F_MIN: return (uint64_t)(a < b ? a : b);
    case F_MAX: return (uint64_t)(a > b ? a : b);
    default: break;
    }
    if (b < 0) return a == 1 || (a == -1 && !(b & 1)) ? 1 : a == -1 ? UINT64_MAX : 0;
    for (int k = 63; k >= 0; k--) r = r * r * ((uint64_t)(b >> k) & 1 ? (uint64_t)a : 1);
    return r;
}

/* Float16 and double: the operation in double, rounded once. NaN is NaN whatever its bits. */
static void arith_check_real(const arith_p *p, uint64_t abits, uint64_t bbits, uint64_t got)
{
    double a, b;
    memcpy(&a, &abits, sizeof a);
    memcpy(&b, &bbits, sizeof b);
    if (p->type == A_FLOAT16)
        a = arith_from_half((uint16_t)abits), b = arith_from_half((uint16_t)bbits);
    const double r = p->op == F_ADD   ? a + b
                     : p->op == F_SUB ? a - b
                     : p->op == F_MUL ? a * b
                     : p->op == F_DIV ? a / b
                     : p->op == F_MIN ? (a < b || isnan(a) ? a : b)
                                      : (a > b || isnan(a) ? a : b);
    double y;
    memcpy(&y, &got, sizeof y);
    if (p->type == A_FLOAT16) {
        y = arith_from_half((uint16_t)got);
        assert_true(isnan(r) ? isnan(y) : got == arith_to_half(r));
    } else {
        assert_true(isnan(r) ? isnan(y) : y == r);
    }
}

static void test_arith(void **state)
{
    (void)state;
    for (int i = 0; i < 40 * ARITH_TYPES * 7; i++) {
        const int32_t type = arith_types[i % ARITH_TYPES], d = between(1, 4), n = between(1, 150);
        const int32_t op = i / ARITH_TYPES % (arith_is_real(type) ? 6 : 7), wide = between(0, 1),
                      tall = between(0, 1);
        const arith_p p = {op,  type, type, 1, 1, 1, 1, d, n, 0,
                           0,   0,    0,    n, 1, 0, 0, 0, 0, tall ? (wide ? n : 1) : 0,
                           wide};
        const size_t size = arith_size(type), count = (size_t)(d * n);
        char *a = alloc(count * size), *b = alloc(count * size);
        for (size_t k = 0; k < count; k++) {
            const uint64_t x = arith_random(type), y = arith_random(type);
            memcpy(a + k * size, &x, size);
            memcpy(b + k * size, &y, size);
        }
        char *y = run("arith", &p, a, b, NULL, count * size);
        for (size_t k = 0; k < count; k++) {
            const size_t at = k / (size_t)n * (size_t)p.b4 + k % (size_t)n * (size_t)p.b5;
            const uint64_t u = arith_bits(a, type, k), v = arith_bits(b, type, at),
                           got = arith_bits(y, type, k);
            if (arith_is_real(type)) {
                arith_check_real(&p, u, v, got);
            } else {
                const uint64_t want = arith_want(op, u, v, type);
                if (memcmp(&got, &want, size))
                    fail_msg("op %d, type %d: %llx, %llx give %llx, want %llx", op, type,
                             (unsigned long long)u, (unsigned long long)v, (unsigned long long)got,
                             (unsigned long long)want);
            }
        }
        free(a);
        free(b);
        free(y);
    }
}

/* Every float16 there and back, and what lies halfway between two neighbours. */
static void test_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const double x = arith_from_half((uint16_t)h);
        if (isnan(x)) continue;
        assert_int_equal(arith_to_half(x), h);
        if ((h & 0x7fff) >= 0x7bff) continue;
        const double next = arith_from_half((uint16_t)(h + 1)), half = (x + next) / 2;
        assert_int_equal(arith_to_half(half), h + (h & 1));
        assert_int_equal(arith_to_half(nextafter(half, x)), h);
        assert_int_equal(arith_to_half(nextafter(half, next)), h + 1);
    }
    assert_int_equal(arith_to_half(65519.99), 0x7bff);
    assert_int_equal(arith_to_half(65520.0), 0x7c00);
    assert_int_equal(arith_to_half(1e300), 0x7c00);
    assert_int_equal(arith_to_half(-1e-300), 0x8000);
    assert_int_equal(arith_to_half(NAN) & 0x7fff, 0x7e00);
}

/* Powers whose exponent is of another type than the base. */
static void test_mixed_powers(void **state)
{
    (void)state;
    const float base[] = {1.5f, -2, 0, 10, -0.5f, 3}, tenth[] = {0.5f, 2, -1, 0, 1.5f, NAN};
    const int64_t power[] = {3, 3, -1, -2, -3, 1}, whole[] = {9, -7, 5, 4, 4, 2};
    const double reals[] = {3.375, -8, INFINITY, 0.01, -8, 3};
    const int64_t integers[] = {3, 49, 0, 1, 8, 0};
    arith_p p = {F_POW, A_FLOAT, A_INT64, 1, 1, 1, 1, 1, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
    float *y = run("arith", &p, base, power, NULL, sizeof base);
    for (int i = 0; i < 6; i++) assert_true(y[i] == (float)reals[i]);
    free(y);
    p.type = A_INT64, p.btype = A_FLOAT;
    int64_t *k = run("arith", &p, whole, tenth, NULL, sizeof whole);
    for (int i = 0; i < 6; i++) assert_int_equal(k[i], integers[i]);
    free(k);
}

static void test_softmax_affine(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_softmax_p p = {between(1, 4), between(1, 90), between(0, 1) ? 1 : between(1, 90),
                               between(0, 1)};
        const size_t count = (size_t)(p.outer * p.count * p.inner);
        float *x = floats(count), *y = run("f_softmax", &p, x, NULL, NULL, count * sizeof *y);
        double *want = alloc(count * sizeof *want);
        for (int32_t l = 0; l < p.outer * p.inner; l++) {
            const int32_t at = l / p.inner * p.count * p.inner + l % p.inner;
            double sum = 0.0;
            for (int32_t c = 0; c < p.count; c++) sum += exp((double)x[at + c * p.inner]);
            for (int32_t c = 0; c < p.count; c++) {
                const double v = (double)x[at + c * p.inner];
                want[at + c * p.inner] = p.log ? v - log(sum) : exp(v) / sum;
            }
        }
        close_to("f_softmax", y, want, count, 1e-6 * (p.log ? 1.0 : greatest(want, count)));
        const f_affine_p q = {p.outer, p.count, p.inner, -0.5f, INFINITY};
        float *scale = floats((size_t)p.count), *shift = floats((size_t)p.count);
        free(y);
        y = run("f_affine", &q, x, scale, shift, count * sizeof *y);
        for (size_t j = 0; j < count; j++) {
            const size_t c = j / (size_t)p.inner % (size_t)p.count;
            want[j] = fmax((double)x[j] * (double)scale[c] + (double)shift[c], -0.5);
        }
        close_to("f_affine", y, want, count, 1e-6);
        free(x);
        free(y);
        free(want);
        free(scale);
        free(shift);
    }
}

/* Sums of a length that goes through several levels of blocks, on every instruction set. */
static void test_long_sums(void **state)
{
    enum { N = 3 * 70001 };
    float *x = floats(N);
    double want[3] = {0};
    (void)state;
    for (int i = 0; i < N; i++) x[i] += 1.5f;
    for (int i = 0; i < N; i++) want[i % 3] += (double)x[i];
    const reduce_p three = {F_RSUM, A_FLOAT, 1, 1, 1, 1, 1, 1, N / 3, 3, 1 << 6};
    const reduce_p one = {F_RSUM, A_FLOAT, 1, 1, 1, 1, 1, N / 3, 1, 3, 1 << 5 | 1 << 7};
    const f_pool_p pool = {1, 1, 1, N / 3, 1, 1, 1, 3, 1, 1, N / 3, 1,
                           1, 1, 1, 1,     1, 0, 0, 0, 0, 0, 0,     0};
    const f_softmax_p soft = {1, N / 3, 3, 0};
    float *y = run("f_reduce", &three, x, NULL, NULL, 3 * sizeof *y);
    close_to("three sums", y, want, 3, 1.2e-7 * want[0]);
    free(y);
    const double total = want[0] + want[1] + want[2];
    y = run("f_reduce", &one, x, NULL, NULL, sizeof *y);
    close_to("one sum", y, &total, 1, 1.2e-7 * total);
    free(y);
    for (int j = 0; j < 3; j++) want[j] /= N / 3;
    y = run("f_avgpool", &pool, x, NULL, NULL, 3 * sizeof *y);
    close_to("a pool", y, want, 3, 2.4e-7 * want[0]);
    free(y);
    y = run("f_softmax", &soft, x, NULL, NULL, N * sizeof *y);
    double sums[3] = {0};
    for (int i = 0; i < N; i++) sums[i % 3] += (double)y[i];
    for (int j = 0; j < 3; j++) assert_true(fabs(sums[j] - 1.0) <= 4e-7);
    free(y);
    free(x);
}

/* ---- copies and integers --------------------------------------------------------------------- */

/* Transposes of eight axes, one read backwards, every element size. */
static void test_copy(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        copy_p p;
        int32_t d[8], x[8], y[8], order[8], nx = 1, ny = 1;
        for (int j = 7; j >= 0; j--) {
            order[j] = j;
            d[j] = between(0, 1) ? between(1, 4) : 1;
            x[j] = nx;
            nx *= d[j];
        }
        for (int j = 7; j > 0 && between(0, 3); j--) {
            const int32_t k = between(0, j), t = order[j];
            order[j] = order[k];
            order[k] = t;
        }
        for (int j = 7; j >= 0; j--) {
            y[order[j]] = ny;
            ny *= d[order[j]];
        }
        p.size = 1 << between(0, 3);
        p.yoff = between(0, 3);
        p.xoff = (d[3] - 1) * x[3];
        x[3] = -x[3];
        memcpy(&p.d0, d, sizeof d);
        memcpy(&p.x0, x, sizeof x);
        memcpy(&p.y0, y, sizeof y);
        const size_t size = (size_t)p.size, bytes = (size_t)(ny + p.yoff) * size;
        unsigned char *in = alloc((size_t)nx * size);
        for (size_t j = 0; j < (size_t)nx * size; j++) in[j] = (unsigned char)rnd();
        unsigned char *out = run("copy", &p, in, NULL, NULL, bytes);
        for (int32_t e = 0; e < nx; e++) {
            int32_t rest = e, from = p.xoff, to = p.yoff;
            for (int j = 7; j >= 0; rest /= d[j], j--) {
                from += rest % d[j] * x[j];
                to += rest % d[j] * y[j];
            }
            assert_memory_equal(in + (size_t)from * size, out + (size_t)to * size, size);
        }
        free(in);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_binary, reseed),
        cmocka_unit_test_setup(test_unary, reseed),
        cmocka_unit_test_setup(test_unary_rest, reseed),
        cmocka_unit_test_setup(test_pow, reseed),
        cmocka_unit_test_setup(test_arith, reseed),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_mixed_powers),
        cmocka_unit_test_setup(test_softmax_affine, reseed),
        cmocka_unit_test_setup(test_long_sums, reseed),
        cmocka_unit_test_setup(test_copy, reseed),
    };
    return cmocka_run_group_tests_name("kernels_elements", tests, NULL, NULL);
}
