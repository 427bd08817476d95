/* tests/test_kernels.c - every float kernel against a plain reference in double, over random
 * shapes; all instruction sets byte for byte; oneDNN against the portable kernels; mathematical
 * functions against libm, in units in the last place.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "backends/c/sources.h"
#include "kernels/arith.h"
#include "kernels/gather.h"
#include "kernels/kernel.h"
#include "kernels/params.h"
#ifdef HAVE_ONEDNN
#include <pthread.h>
#include "runtime/onednn.h"
#endif

/* ---- helpers --------------------------------------------------------------------------------- */

#ifndef SEED
#define SEED 1
#endif

static uint64_t seed;

/* Before each test, so that one does not change the shapes of the next. */
static int reseed(void **state)
{
    (void)state;
    seed = SEED;
    return 0;
}

static uint32_t rnd(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

static int32_t between(int32_t lo, int32_t hi)
{
    return lo + (int32_t)(rnd() % (uint32_t)(hi - lo + 1));
}

static void *alloc(size_t bytes)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, bytes + !bytes), 0);
    return p;
}

/* n floats in -1..1. */
static float *floats(size_t n)
{
    float *x = alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)between(-4096, 4096) / 4096.0f;
    return x;
}

static const Kernel *find(const Kernel *table, const char *name)
{
    while (strcmp(table->name, name) != 0) table++;
    return table;
}

/* Runs the kernel on every level this machine has, input 1 packed where the kernel wants it, and
 * demands the same bytes. Returns the output. */
static void *run(const char *name, const void *p, const void *in0, const void *in1, const void *in2,
                 size_t bytes)
{
    unsigned char *first = NULL;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        const Kernel *k = find(table, name);
        unsigned char *y = alloc(bytes);
        void *packed = k->pack ? alloc(k->pack_bytes(p)) : NULL;
        memset(y, 0xa5, bytes);
        if (k->pack) k->pack(p, in1, packed);
        const void *const in[] = {in0, packed ? packed : in1, in2};
        void *const out[] = {y};
        k->run(p, in, out);
        free(packed);
        if (!first) {
            first = y;
            continue;
        }
        if (memcmp(first, y, bytes) != 0) fail_msg("%s: level %d gives other bytes", name, level);
        free(y);
    }
    return first;
}

/* The greatest |want|. */
static double greatest(const double *want, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    return most;
}

/* |y - want| <= allowed. */
static void close_to(const char *what, const float *y, const double *want, size_t n, double allowed)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)y[i] - want[i]) <= allowed))
            fail_msg("%s: [%zu] is %.9g, want %.9g", what, i, (double)y[i], want[i]);
}

/* ---- windows --------------------------------------------------------------------------------- */

/* A random axis: sizes, kernel, stride, dilation, padding in front and behind. */
static void random_axis(bool flat, int32_t *in, int32_t *out, int32_t *k, int32_t *s, int32_t *d,
                        int32_t *pad, int32_t *behind)
{
    *in = *out = *k = *s = *d = 1;
    *pad = *behind = 0;
    if (flat) return;
    do {
        *in = between(1, 19);
        *k = between(1, 5);
        *s = between(1, 3);
        *d = between(1, 3);
        *pad = between(0, (*k - 1) * *d);
        *behind = between(0, (*k - 1) * *d);
    } while (*in + *pad + *behind < (*k - 1) * *d + 1);
    *out = (*in + *pad + *behind - (*k - 1) * *d - 1) / *s + 1;
}

static f_conv_p random_conv(void)
{
    f_conv_p p = {.n = between(1, 2), .lo = -INFINITY, .hi = INFINITY};
    const int32_t rank = between(1, 3);
    int32_t behind;
    random_axis(rank < 3, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd, &behind);
    random_axis(rank < 2, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph, &behind);
    random_axis(false, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw, &behind);
    p.group = between(0, 2) ? 1 : between(1, 4);
    p.ic = p.group * between(1, 40 / p.group);
    p.oc = p.group * between(1, 40 / p.group);
    if (between(0, 1)) p.lo = 0.0f;
    if (between(0, 2) == 0) p.hi = 0.5f;
    return p;
}

/* The element of channel c at (d, h, w) of item n; 0 outside. */
static double pixel(const f_conv_p *p, const float *x, int32_t n, int32_t d, int32_t h, int32_t w,
                    int32_t c)
{
    if (d < 0 || d >= p->id || h < 0 || h >= p->ih || w < 0 || w >= p->iw) return 0.0;
    return (double)x[(((n * p->id + d) * p->ih + h) * p->iw + w) * p->ic + c];
}

/* One output, not clamped. */
static double conv_at(const f_conv_p *p, const float *x, const float *w, const float *bias,
                      const int32_t o[5])
{
    const int32_t icg = p->ic / p->group, g = o[4] / (p->oc / p->group);
    double sum = bias ? (double)bias[o[4]] : 0.0;
    for (int32_t c = 0; c < icg; c++)
        for (int32_t d = 0; d < p->kd; d++)
            for (int32_t h = 0; h < p->kh; h++)
                for (int32_t v = 0; v < p->kw; v++)
                    sum += pixel(p, x, o[0], o[1] * p->sd - p->pd + d * p->dd,
                                 o[2] * p->sh - p->ph + h * p->dh, o[3] * p->sw - p->pw + v * p->dw,
                                 g * icg + c) *
                           (double)w[(((o[4] * icg + c) * p->kd + d) * p->kh + h) * p->kw + v];
    return sum;
}

static double *conv_want(const f_conv_p *p, const float *x, const float *w, const float *bias,
                         size_t count)
{
    double *want = alloc(count * sizeof *want), *at = want;
    int32_t o[5];
    for (o[0] = 0; o[0] < p->n; o[0]++)
        for (o[1] = 0; o[1] < p->od; o[1]++)
            for (o[2] = 0; o[2] < p->oh; o[2]++)
                for (o[3] = 0; o[3] < p->ow; o[3]++)
                    for (o[4] = 0; o[4] < p->oc; o[4]++) *at++ = conv_at(p, x, w, bias, o);
    return want;
}

#ifdef HAVE_ONEDNN
enum { GUARD = 4096 }; /* bytes before and behind what oneDNN may write; 64-byte aligned */

static int onednn_ops; /* operators that oneDNN had a fast form of */

static unsigned char *guarded(size_t bytes)
{
    unsigned char *p = alloc(bytes + 2 * GUARD);
    memset(p, 0xab, bytes + 2 * GUARD);
    return p;
}

/* Nothing was written outside. oneDNN's code is made at run time: sanitizers do not see it. */
static void guards_hold(const char *what, const unsigned char *p, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        if (p[i] != 0xab || p[GUARD + bytes + i] != 0xab)
            fail_msg("oneDNN's %s wrote outside its memory", what);
}

/* oneDNN's form, where it has one, is as near as allowed to the portable result y. */
static void onednn_agrees(const char *name, const void *p, const float *x, const float *w,
                          const float *bias, const float *y, size_t count, double allowed)
{
    OnednnOp *op = onednn_op_new(kernel_find(name), p, w, bias);
    if (!op) return;
    onednn_ops++;
    const size_t room = onednn_op_scratch(op), bytes = count * sizeof(float);
    unsigned char *scratch = guarded(room), *got = guarded(bytes);
    double *want = alloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++) want[i] = (double)y[i];
    onednn_op_run(op, x, (float *)(void *)(got + GUARD), scratch + GUARD);
    guards_hold(name, got, bytes);
    guards_hold(name, scratch, room);
    close_to(name, (const float *)(const void *)(got + GUARD), want, count, allowed);
    onednn_op_free(op);
    free(scratch);
    free(got);
    free(want);
}
#else
static void onednn_agrees(const char *name, const void *p, const float *x, const float *w,
                          const float *bias, const float *y, size_t count, double allowed)
{
    (void)name, (void)p, (void)x, (void)w, (void)bias, (void)y, (void)count, (void)allowed;
}
#endif

static void check_conv(const char *name, const f_conv_p *p)
{
    const size_t nx = (size_t)(p->n * p->id * p->ih * p->iw * p->ic);
    const size_t ny = (size_t)(p->n * p->od * p->oh * p->ow * p->oc);
    const size_t nw = (size_t)(p->oc * (p->ic / p->group) * p->kd * p->kh * p->kw);
    float *x = floats(nx), *w = floats(nw), *bias = between(0, 3) ? floats((size_t)p->oc) : NULL;
    double *want = conv_want(p, x, w, bias, ny);
    float *y = run(name, p, x, w, bias, ny * sizeof *y);
    /* Sums before the clamp say how great an error is. */
    const double allowed = 1e-5 * greatest(want, ny);
    for (size_t i = 0; i < ny; i++) want[i] = fmin(fmax(want[i], (double)p->lo), (double)p->hi);
    close_to(name, y, want, ny, allowed);
    onednn_agrees(name, p, x, w, bias, y, ny, allowed);
    free(x);
    free(w);
    free(bias);
    free(want);
    free(y);
}

static void test_conv(void **state)
{
    (void)state;
    for (int i = 0; i < 250; i++) {
        const f_conv_p p = random_conv();
        check_conv("f_conv", &p);
    }
    const f_conv_p wide = {1, 1, 14, 14, 1, 14, 14, 40, 72, 1, 1,         3,
                           3, 1, 1,  1,  1, 1,  1,  0,  1,  1, -INFINITY, INFINITY};
    check_conv("f_conv", &wide);
}

static void test_dwconv(void **state)
{
    (void)state;
    for (int i = 0; i < 250; i++) {
        f_conv_p p = random_conv();
        p.ic = p.oc = p.group = between(1, 40);
        check_conv("f_dwconv", &p);
    }
}

/* The pool of one output's window of channel c. */
static double pool_at(const f_pool_p *p, bool average, const float *x, int32_t n, int32_t od,
                      int32_t oh, int32_t ow, int32_t c)
{
    double sum = 0.0, most = -INFINITY;
    int padded = 0, inside = 0;
    for (int32_t i = 0; i < p->kd * p->kh * p->kw; i++) {
        const int32_t d = od * p->sd - p->pd + i / (p->kh * p->kw) * p->dd;
        const int32_t h = oh * p->sh - p->ph + i / p->kw % p->kh * p->dh;
        const int32_t w = ow * p->sw - p->pw + i % p->kw * p->dw;
        padded += d < p->id + p->ed && h < p->ih + p->eh && w < p->iw + p->ew;
        if (d < 0 || d >= p->id || h < 0 || h >= p->ih || w < 0 || w >= p->iw) continue;
        const double v = (double)x[(((n * p->id + d) * p->ih + h) * p->iw + w) * p->c + c];
        inside++;
        sum += v;
        most = fmax(most, v);
    }
    const int count = p->include_pad ? padded : inside;
    return !average ? most : count ? sum / count : 0.0;
}

static f_pool_p random_pool(void)
{
    f_pool_p p = {.n = between(1, 2), .c = between(1, 40), .include_pad = between(0, 1)};
    const int32_t rank = between(1, 3);
    random_axis(rank < 3, &p.id, &p.od, &p.kd, &p.sd, &p.dd, &p.pd, &p.ed);
    random_axis(rank < 2, &p.ih, &p.oh, &p.kh, &p.sh, &p.dh, &p.ph, &p.eh);
    random_axis(false, &p.iw, &p.ow, &p.kw, &p.sw, &p.dw, &p.pw, &p.ew);
    if (between(0, 1)) p.dd = p.dh = p.dw = 1;
    if (between(0, 3) == 0) p.ow++; /* as ceil_mode does; further than it may go, too */
    return p;
}

static void check_pool(const char *name, bool average, f_pool_p p)
{
    const size_t nx = (size_t)(p.n * p.id * p.ih * p.iw * p.c);
    const size_t ny = (size_t)(p.n * p.od * p.oh * p.ow * p.c);
    float *x = floats(nx), *y = run(name, &p, x, NULL, NULL, ny * sizeof *y);
    bool empty = false;
    for (size_t i = 0; i < ny; i++) {
        int32_t at = (int32_t)i, o[5];
        const int32_t dims[5] = {p.n, p.od, p.oh, p.ow, p.c};
        for (int j = 4; j >= 0; at /= dims[j], j--) o[j] = at % dims[j];
        const double want = pool_at(&p, average, x, o[0], o[1], o[2], o[3], o[4]);
        empty |= want == -INFINITY;
        if (want != -INFINITY ? !(fabs(want - (double)y[i]) <= 1e-6) : y[i] != -INFINITY)
            fail_msg("%s: [%zu] is %.9g, want %.9g", name, i, (double)y[i], want);
    }
    if (!empty) onednn_agrees(name, &p, x, NULL, NULL, y, ny, 1e-5);
    free(x);
    free(y);
}

static void test_pools(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) check_pool("f_maxpool", false, random_pool());
    for (int i = 0; i < 300; i++) check_pool("f_avgpool", true, random_pool());
    /* Two more outputs would fit: oneDNN 2.6.3 writes one of them, behind its memory. */
    const f_pool_p cropped = {1, 1, 1, 17, 1, 1, 15, 29, 1, 1, 2, 1,
                              1, 1, 1, 1,  1, 0, 0,  0,  0, 0, 0, 0};
    check_pool("f_maxpool", false, cropped);
    check_pool("f_avgpool", true, cropped);
}

/* ---- matrix products ------------------------------------------------------------------------- */

static double *product_want(const f_matmul_p *p, const float *a, const float *b, const float *bias)
{
    double *want = alloc((size_t)(p->batch * p->m * p->n) * sizeof *want), *at = want;
    for (int32_t s = 0; s < p->batch; s++)
        for (int32_t m = 0; m < p->m; m++)
            for (int32_t n = 0; n < p->n; n++, at++) {
                *at = bias ? (double)bias[n] : 0.0;
                for (int32_t k = 0; k < p->k; k++)
                    *at += (double)a[s * p->astep + (p->transa ? k * p->m + m : m * p->k + k)] *
                           (double)b[s * p->bstep + (p->transb ? n * p->k + k : k * p->n + n)];
            }
    return want;
}

static void test_gemm(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_gemm_p p = {between(0, 1) ? 1 : between(2, 40),
                            between(1, 200),
                            between(1, 150),
                            between(0, 1),
                            -INFINITY,
                            INFINITY};
        const f_matmul_p same = {1, p.m, p.n, p.k, 0, p.transb, 0, 0};
        float *x = floats((size_t)(p.m * p.k)), *w = floats((size_t)(p.k * p.n));
        float *bias = between(0, 2) ? floats((size_t)p.n) : NULL;
        const size_t count = (size_t)(p.m * p.n);
        double *want = product_want(&same, x, w, bias);
        float *y = run("f_gemm", &p, x, w, bias, count * sizeof *y);
        const double allowed = 1e-5 * greatest(want, count);
        close_to("f_gemm", y, want, count, allowed);
        onednn_agrees("f_gemm", &p, x, w, bias, y, count, allowed);
        free(x);
        free(w);
        free(bias);
        free(want);
        free(y);
    }
}

static void test_matmul(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        f_matmul_p p = {between(1, 3),
                        between(1, 40),
                        between(1, 40),
                        between(1, 150),
                        between(0, 1),
                        between(0, 1),
                        0,
                        0};
        if (between(0, 2)) p.astep = p.m * p.k;
        if (between(0, 2)) p.bstep = p.k * p.n;
        float *a = floats((size_t)(p.m * p.k + (p.batch - 1) * p.astep));
        float *b = floats((size_t)(p.k * p.n + (p.batch - 1) * p.bstep));
        const size_t count = (size_t)(p.batch * p.m * p.n);
        double *want = product_want(&p, a, b, NULL);
        float *y = run("f_matmul", &p, a, b, NULL, count * sizeof *y);
        close_to("f_matmul", y, want, count, 1e-5 * greatest(want, count));
        free(a);
        free(b);
        free(want);
        free(y);
    }
}

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

static double reduce_start(int32_t op)
{
    return op == F_RMAX ? -INFINITY : op == F_RMIN ? INFINITY : op == F_RPROD ? 1.0 : 0.0;
}

static double reduce_step(int32_t op, double acc, double v)
{
    switch (op) {
    case F_RMAX: return fmax(acc, v);
    case F_RMIN: return fmin(acc, v);
    case F_RPROD: return acc * v;
    case F_RSUMSQ:
    case F_RL2: return acc + v * v;
    default: return acc + v;
    }
}

static void test_reduce(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        int32_t d[6], r[6], nx = 1, ny = 1;
        for (int j = 0; j < 6; j++) {
            d[j] = between(0, 1) ? between(1, j == 5 ? 40 : 5) : 1;
            r[j] = between(0, 1);
            nx *= d[j];
            if (!r[j]) ny *= d[j];
        }
        const f_reduce_p p = {between(F_RSUM, F_RL2),
                              d[0],
                              d[1],
                              d[2],
                              d[3],
                              d[4],
                              d[5],
                              r[0],
                              r[1],
                              r[2],
                              r[3],
                              r[4],
                              r[5]};
        float *x = floats((size_t)nx), *y = run("f_reduce", &p, x, NULL, NULL, (size_t)ny * 4);
        double *want = alloc((size_t)ny * sizeof *want);
        double sum_abs = 1.0; /* sums may cancel: their terms say how great an error is */
        for (int32_t e = 0; e < nx; e++) sum_abs += fabs((double)x[e]) / ny;
        for (int32_t o = 0; o < ny; o++) want[o] = reduce_start(p.op);
        for (int32_t e = 0; e < nx; e++) {
            int32_t rest = e, at = 0, step = 1;
            for (int j = 5; j >= 0; rest /= d[j], j--) {
                if (r[j]) continue;
                at += rest % d[j] * step;
                step *= d[j];
            }
            want[at] = reduce_step(p.op, want[at], (double)x[e]);
        }
        for (int32_t o = 0; o < ny; o++) {
            if (p.op == F_RMEAN) want[o] /= nx / ny;
            if (p.op == F_RL2) want[o] = sqrt(want[o]);
        }
        close_to("f_reduce", y, want, (size_t)ny, 1e-5 * sum_abs);
        free(x);
        free(y);
        free(want);
    }
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

static int64_t integer_at(int32_t dtype, const void *x, size_t i)
{
    switch (dtype) {
    case 2: return ((const uint8_t *)x)[i];
    case 3: return ((const int8_t *)x)[i];
    case 4: return ((const uint16_t *)x)[i];
    case 5: return ((const int16_t *)x)[i];
    default: return ((const int32_t *)x)[i];
    }
}

/* rint rounds halves to even; half of the inputs are ties or far outside. */
/* Indices of either type, below 0 and far outside. */
static void test_gather(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const gather_p p = {between(1, 3),  between(1, 9),      between(1, 9),
                            between(1, 20), 1 << between(0, 3), between(0, 1)};
        const size_t row = (size_t)(p.inner * p.size);
        const size_t in = (size_t)(p.outer * p.d) * row, out = (size_t)(p.outer * p.count) * row;
        unsigned char *x = alloc(in), *want = alloc(out);
        int64_t wide[20];
        int32_t narrow[20];
        for (size_t k = 0; k < in; k++) x[k] = (unsigned char)rnd();
        for (int k = 0; k < 20; k++) {
            narrow[k] = between(0, 9) ? between(-p.d, p.d - 1) : (int32_t)(rnd() << 1);
            wide[k] = narrow[k];
            if (p.wide && !between(0, 9)) wide[k] = between(0, 1) ? INT64_MAX : INT64_MIN;
        }
        for (int32_t o = 0; o < p.outer; o++)
            for (int32_t k = 0; k < p.count; k++) {
                const int64_t at = p.wide ? wide[k] : narrow[k], up = at < 0 ? at + p.d : at;
                const int64_t from = up < 0 ? 0 : up >= p.d ? p.d - 1 : up;
                memcpy(want + (size_t)(o * p.count + k) * row,
                       x + (size_t)(o * p.d + (int32_t)from) * row, row);
            }
        unsigned char *y = run("gather", &p, x, p.wide ? (void *)wide : (void *)narrow, NULL, out);
        assert_memory_equal(y, want, out);
        free(x);
        free(y);
        free(want);
    }
}

static void test_quantize(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        const quantize_p p = {between(1, 3), between(1, 5), between(0, 3) ? between(1, 150) : 1,
                              between(2, 5)};
        const int64_t lo = p.dtype == 3 ? -128 : p.dtype == 5 ? -32768 : 0;
        const int64_t hi = lo + (p.dtype < 4 ? 255 : 65535);
        const size_t count = (size_t)(p.outer * p.channels * p.inner);
        const size_t bytes = p.dtype < 4 ? 1 : 2;
        float *x = floats(count), *scale = floats((size_t)p.channels);
        unsigned char zp[16];
        for (size_t j = 0; j < sizeof zp; j++) zp[j] = (unsigned char)rnd();
        for (int32_t j = 0; j < p.channels; j++)
            scale[j] = between(0, 1) ? ldexpf(1.0f, between(-9, 2)) : fabsf(scale[j]) + 0.01f;
        for (size_t j = 0; j < count; j++)
            x[j] = between(0, 1) ? (float)between(-600, 600) / 2.0f * scale[0] : x[j] * 1e6f;
        if (count > 3) x[0] = NAN, x[1] = INFINITY, x[2] = -INFINITY;
        const bool with_zp = between(0, 2);
        void *y = run("quantize", &p, x, scale, with_zp ? zp : NULL, count * bytes);
        float *back = run("dequantize", &p, y, scale, with_zp ? zp : NULL, count * sizeof *back);
        for (size_t j = 0; j < count; j++) {
            const size_t c = j / (size_t)p.inner % (size_t)p.channels;
            const int64_t z = with_zp ? integer_at(p.dtype, zp, c) : 0;
            const double q = isnan(x[j]) ? 0.0 : (double)rintf(x[j] / scale[c]) + (double)z;
            const double want = fmin(fmax(isnan(x[j]) ? (double)z : q, (double)lo), (double)hi);
            const int64_t got = integer_at(p.dtype, y, j);
            if ((double)got != want)
                fail_msg("quantize %a / %a: %d, want %g", (double)x[j], (double)scale[c], (int)got,
                         want);
            assert_true(back[j] == (float)(got - z) * scale[c]);
        }
        free(x);
        free(scale);
        free(y);
        free(back);
    }
    const int32_t big[] = {INT32_MIN, -1, 0, 16777217, INT32_MAX};
    const quantize_p p = {1, 1, 5, 6};
    const float half = 0.5f;
    float *y = run("dequantize", &p, big, &half, NULL, sizeof big);
    for (int j = 0; j < 5; j++) assert_true(y[j] == (float)big[j] * 0.5f);
    free(y);
}

/* ---- oneDNN ---------------------------------------------------------------------------------- */

#ifdef HAVE_ONEDNN
typedef struct Job {
    const OnednnOp *op;
    const float *x;
    float *y;
} Job;

static void *job_run(void *user)
{
    const Job *job = user;
    void *scratch = alloc(onednn_op_scratch(job->op));
    onednn_thread_init();
    for (int i = 0; i < 50; i++) onednn_op_run(job->op, job->x, job->y, scratch);
    free(scratch);
    return NULL;
}

/* The same operator on four threads at once gives each the bytes of one alone. */
static void test_onednn_threads(void **state)
{
    enum { IN = 14 * 14 * 32, OUT = 14 * 14 * 48 };
    const f_conv_p p = {1, 1, 14, 14, 1, 14, 14, 32, 48, 1, 1,    3,
                        3, 1, 1,  1,  1, 1,  1,  0,  1,  1, 0.0f, 6.0f};
    (void)state;
    float *w = floats(48 * 32 * 9), *bias = floats(48);
    OnednnOp *op = onednn_op_new(kernel_find("f_conv"), &p, w, bias);
    assert_non_null(op);
    assert_true(onednn_ops > 100); /* the sweeps before this met oneDNN, too */
    Job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) jobs[i] = (Job){op, floats(IN), floats(OUT)};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, job_run, &jobs[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        Job alone = {op, jobs[i].x, floats(OUT)};
        job_run(&alone);
        assert_memory_equal(alone.y, jobs[i].y, OUT * sizeof(float));
        free(alone.y);
        free((void *)(uintptr_t)jobs[i].x);
        free(jobs[i].y);
    }
    onednn_op_free(op);
    free(w);
    free(bias);
    print_message("# %s: %d operators compared\n", onednn_name(), onednn_ops);
}
#endif

/* Generated C can call every kernel: its prototype and its fields were read from its header. */
static void test_embedded(void **state)
{
    (void)state;
    for (const Kernel *k = kernel_table(KERNEL_BASE); k->name; k++) {
        const Prototype *p = kernel_prototypes;
        while (p->kernel && strcmp(p->kernel, k->name)) p++;
        if (!p->kernel) fail_msg("%s: no prototype was read from its header", k->name);
        const Fields *f = kernel_fields;
        while (f->params && strcmp(f->params, p->params)) f++;
        if (!f->params) fail_msg("%s: no fields of %s", k->name, p->params);
        int types = 0, fields = 0;
        while (p->types[types]) types++;
        while (f->names[fields]) fields++;
        if (types != k->nin + k->nout || fields != k->nint + k->nfloat)
            fail_msg("%s: %d pointers and %d fields were read, want %d and %d", k->name, types,
                     fields, k->nin + k->nout, k->nint + k->nfloat);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_conv, reseed),
        cmocka_unit_test_setup(test_dwconv, reseed),
        cmocka_unit_test_setup(test_pools, reseed),
        cmocka_unit_test_setup(test_gemm, reseed),
        cmocka_unit_test_setup(test_matmul, reseed),
        cmocka_unit_test_setup(test_binary, reseed),
        cmocka_unit_test_setup(test_unary, reseed),
        cmocka_unit_test_setup(test_unary_rest, reseed),
        cmocka_unit_test_setup(test_pow, reseed),
        cmocka_unit_test_setup(test_arith, reseed),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_mixed_powers),
        cmocka_unit_test_setup(test_softmax_affine, reseed),
        cmocka_unit_test_setup(test_reduce, reseed),
        cmocka_unit_test_setup(test_copy, reseed),
        cmocka_unit_test_setup(test_gather, reseed),
        cmocka_unit_test_setup(test_quantize, reseed),
        cmocka_unit_test(test_embedded),
#ifdef HAVE_ONEDNN
        cmocka_unit_test_setup(test_onednn_threads, reseed),
#endif
    };
#ifdef HAVE_ONEDNN
    onednn_thread_init();
#endif
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
