/* tests/test_kernels_norms.c - kernels that add up, compare and normalize: over any axes, of any
 * type.
 */
#include "kernels/arg.h"
#include "kernels/d_math.h"
#include "kernels/f_lpnorm.h"
#include "kernels/f_lrn.h"
#include "kernels/f_norm.h"
#include "kernels/f_matmul.h"
#include "kernels/reduce_walk.h"
#include "kernels/topk.h"
#include "tests/onednn_run.h"

/* ---- functions of doubles -------------------------------------------------------------------- */

static void test_double_functions(void **state)
{
    static const double special[] = {0.0,   -0.0,   INFINITY, -INFINITY, NAN,         1.0,
                                     -1.0,  2.0,    4.0,      0x1p-1074, 0x1.8p-1060, 709.7,
                                     709.8, -745.1, -746.5,   0x1p-1022};
    enum { SPECIAL = sizeof special / sizeof *special };
    (void)state;
    for (int i = 0; i < 300000; i++) {
        double x = ldexp(between(-(1 << 30), 1 << 30) + 0.37 * i, between(-60, -20));
        if (i < SPECIAL) x = special[i];
        const double want[] = {sqrt(x), exp(x), log(x)}, got[] = {d_sqrt(x), d_exp(x), d_log(x)};
        for (int k = 0; k < 3; k++) {
            const double ulp = fmax(0x1p-1074, fabs(want[k]) * 0x1p-52) * (k ? 1.5 : 0.0);
            const bool same = isnan(want[k]) ? isnan(got[k]) : want[k] == got[k];
            if (!same && !(fabs(got[k] - want[k]) <= ulp))
                fail_msg("function %d of %a: %a, want %a", k, x, got[k], want[k]);
        }
    }
}

/* ---- reductions ------------------------------------------------------------------------------ */

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
    case F_RL1: return acc + fabs(v);
    case F_RLOGSUMEXP: return acc + exp(v);
    default: return acc + v;
    }
}

static double reduce_last(int32_t op, double acc, int32_t count)
{
    switch (op) {
    case F_RMEAN: return acc / count;
    case F_RL2: return sqrt(acc);
    case F_RLOGSUM:
    case F_RLOGSUMEXP: return log(acc);
    default: return acc;
    }
}

/* Random axes, reduced or not. Returns the elements of the input. */
static int32_t random_axes(reduce_p *p, int32_t *outputs)
{
    int32_t count = 1;
    *outputs = 1;
    for (int j = 0; j < REDUCE_RANK; j++) {
        const int32_t reduced = between(0, 1);
        const int32_t d = between(0, 1) ? between(1, j == 7 ? 150 : j == 6 ? 40 : 4) : 1;
        (&p->d0)[j] = d;
        p->reduced |= reduced << j;
        count *= d;
        if (!reduced) *outputs *= d;
    }
    return count;
}

/* The output that element e of the input goes to. */
static int32_t output_of(const reduce_p *p, int32_t e)
{
    int32_t at = 0, step = 1;
    for (int j = REDUCE_RANK - 1; j >= 0; e /= (&p->d0)[j], j--) {
        if (p->reduced >> j & 1) continue;
        at += e % (&p->d0)[j] * step;
        step *= (&p->d0)[j];
    }
    return at;
}

/* Floats and doubles; positive ones where a logarithm follows. */
static void test_reduce(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        reduce_p p = {.op = i % (F_RLOGSUMEXP + 1), .type = i % 3 ? A_FLOAT : A_DOUBLE};
        int32_t ny, nx = random_axes(&p, &ny);
        float *x = floats((size_t)nx);
        double *wide = alloc((size_t)nx * sizeof *wide), *want = alloc((size_t)ny * sizeof *want);
        double sum_abs = 1.0; /* sums may cancel: their terms say how great an error is */
        for (int32_t o = 0; o < ny; o++) want[o] = reduce_start(p.op);
        for (int32_t e = 0; e < nx; e++) {
            if (p.op == F_RLOGSUM) x[e] = fabsf(x[e]) + 0.1f;
            wide[e] = (double)x[e];
            sum_abs += fabs(wide[e]) / ny;
            const int32_t o = output_of(&p, e);
            want[o] = reduce_step(p.op, want[o], wide[e]);
        }
        for (int32_t o = 0; o < ny; o++) want[o] = reduce_last(p.op, want[o], nx / ny);
        if (p.type == A_FLOAT) {
            float *y = run("f_reduce", &p, x, NULL, NULL, (size_t)ny * sizeof *y);
            close_to("f_reduce", y, want, (size_t)ny, 1e-6 * sum_abs);
            free(y);
        } else {
            double *y = run("reduce", &p, wide, NULL, NULL, (size_t)ny * sizeof *y);
            for (int32_t o = 0; o < ny; o++)
                if (!(fabs(y[o] - want[o]) <= 1e-13 * sum_abs))
                    fail_msg("reduce %d: %.17g, want %.17g", p.op, y[o], want[o]);
            free(y);
        }
        free(x);
        free(wide);
        free(want);
    }
}

/* Integers, against arithmetic in 64 bits. */
static void test_reduce_integers(void **state)
{
    static const int32_t types[] = {A_UINT8, A_INT8, A_INT16, A_INT32, A_INT64, A_UINT64};
    (void)state;
    for (int i = 0; i < 400; i++) {
        reduce_p p = {.op = i % (F_RL1 + 1), .type = types[i / 7 % 6]};
        const int width = p.type == A_INT32 ? 4 : p.type == A_INT16 ? 2 : p.type < A_INT32 ? 1 : 8;
        const bool is_signed = p.type != A_UINT8 && p.type != A_UINT64;
        int32_t ny, nx = random_axes(&p, &ny);
        char *x = alloc((size_t)(nx * width));
        int64_t *want = alloc((size_t)ny * sizeof *want);
        for (int32_t o = 0; o < ny; o++)
            want[o] = p.op == F_RMAX ? INT64_MIN : p.op == F_RMIN ? INT64_MAX : p.op == F_RPROD;
        for (int32_t e = 0; e < nx; e++) {
            const int64_t v = between(is_signed ? -100 : 0, 100), size = v < 0 ? -v : v;
            int64_t *w = &want[output_of(&p, e)];
            memcpy(x + e * width, &v, (size_t)width);
            *w = p.op == F_RMAX                      ? (v > *w ? v : *w)
                 : p.op == F_RMIN                    ? (v < *w ? v : *w)
                 : p.op == F_RPROD                   ? (int64_t)((uint64_t)*w * (uint64_t)v)
                 : p.op == F_RSUMSQ || p.op == F_RL2 ? *w + v * v
                 : p.op == F_RL1                     ? *w + size
                                                     : *w + v;
        }
        char *y = run("reduce", &p, x, NULL, NULL, (size_t)(ny * width));
        for (int32_t o = 0; o < ny; o++) {
            int64_t w = want[o];
            if (p.op == F_RMEAN) w /= nx / ny;
            if (p.op == F_RL2) w = (int64_t)sqrt((double)w);
            if (memcmp(y + o * width, &w, (size_t)width))
                fail_msg("reduce %d of type %d: want %lld", p.op, p.type, (long long)w);
        }
        free(x);
        free(y);
        free(want);
    }
}

/* ---- places of extremes ---------------------------------------------------------------------- */

/* Small whole numbers of a type, so that many are equal; NaN among the floats. */
static void *whole_numbers(int32_t type, size_t n, double *as)
{
    const int width = type == A_FLOAT ? 4 : type == A_INT64 ? 8 : 1;
    char *x = alloc(n * (size_t)width);
    for (size_t i = 0; i < n; i++) {
        const int64_t v = between(type == A_UINT8 ? 0 : -9, 9);
        float f = between(0, 30) ? (float)v : NAN;
        if (v == 0 && between(0, 1)) f = -0.0f;
        memcpy(x + i * (size_t)width, type == A_FLOAT ? (void *)&f : (void *)&v, (size_t)width);
        as[i] = type == A_FLOAT ? (double)f : (double)v;
    }
    return x;
}

static void test_arg(void **state)
{
    static const int32_t types[] = {A_FLOAT, A_INT64, A_UINT8, A_INT8};
    (void)state;
    for (int i = 0; i < 300; i++) {
        const arg_p p = {between(1, 4), between(1, 200), between(0, 1) ? 1 : between(2, 150),
                         types[i % 4],  between(0, 1),   between(0, 1)};
        const size_t n = (size_t)(p.outer * p.count * p.inner);
        double *v = alloc(n * sizeof *v);
        void *x = whole_numbers(p.type, n, v);
        int64_t *y = run("arg", &p, x, NULL, NULL, (size_t)(p.outer * p.inner) * sizeof *y);
        for (int32_t o = 0; o < p.outer * p.inner; o++) {
            const double *line = v + o / p.inner * p.count * p.inner + o % p.inner;
            int32_t at = 0;
            for (int32_t k = 1; k < p.count; k++) {
                const double a = line[k * p.inner], b = line[at * p.inner];
                if (p.least ? a < b : a > b) at = k;
                else if (p.last && a == b) at = k;
            }
            assert_int_equal(y[o], at);
        }
        free(v);
        free(x);
        free(y);
    }
}

/* Whether a stands before b, of equal ones the first; NaN is the greatest. */
static bool before(bool least, double a, double b)
{
    if (isnan(a) || isnan(b)) return least ? isnan(b) && !isnan(a) : isnan(a) && !isnan(b);
    return least ? a < b : a > b;
}

static void test_topk(void **state)
{
    static const int32_t types[] = {A_FLOAT, A_INT64, A_UINT8, A_INT8}, sizes[] = {4, 8, 1, 1};
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int32_t count = between(1, 150), inner = between(0, 1) ? 1 : between(2, 9);
        const topk_p p = {between(1, 3), count,        inner,        between(1, count),
                          types[i % 4],  sizes[i % 4], between(0, 1)};
        const size_t n = (size_t)(p.outer * count * inner), ny = (size_t)(p.outer * p.k * inner);
        double *v = alloc(n * sizeof *v);
        char *x = whole_numbers(p.type, n, v), *y = alloc(ny * (size_t)p.size);
        int64_t *at = alloc(ny * sizeof *at), *keys = alloc((size_t)p.k * sizeof *keys);
        for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
            if (!kernel_table((KernelLevel)level)) continue;
            const void *const in[] = {x};
            void *const out[] = {y, at, keys};
            find(kernel_table((KernelLevel)level), "topk")->run(&p, in, out);
            for (int32_t o = 0; o < p.outer * inner; o++) {
                const double *line = v + o / inner * count * inner + o % inner;
                for (int32_t k = 0; k < p.k; k++) {
                    const int32_t to = (o / inner * p.k + k) * inner + o % inner;
                    int32_t ahead = 0; /* that stand before it, which must be k */
                    for (int32_t j = 0; j < count; j++) {
                        const double a = line[j * inner], b = line[at[to] * inner];
                        ahead += before(p.least, a, b) || (!before(p.least, b, a) && j < at[to]);
                    }
                    assert_int_equal(ahead, k);
                    assert_memory_equal(
                        y + to * p.size,
                        x + (o / inner * count * inner + o % inner + at[to] * inner) * p.size,
                        (size_t)p.size);
                }
            }
        }
        free(v);
        free(x);
        free(y);
        free(at);
        free(keys);
    }
}

/* ---- normalizations -------------------------------------------------------------------------- */

static void test_norm(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const int32_t inner = i % 3 ? between(1, 40) : 1,
                      count = inner * between(1, i % 3 ? 5 : 300);
        const f_norm_p p = {between(1, 6), count,  i % 2 ? between(1, 3) : 1, inner,
                            between(0, 1), 0.001f, i % 5 ? 0.0f : 0.25f};
        const int32_t factors = count / inner, n = p.rows * count;
        float *x = floats((size_t)n), *y;
        float *scale = between(0, 3) ? floats((size_t)(factors * p.groups)) : NULL;
        float *shift = between(0, 3) ? floats((size_t)(factors * p.groups)) : NULL;
        double *want = alloc((size_t)n * sizeof *want);
        for (int32_t r = 0; r < p.rows; r++) {
            double mean = 0.0, squares = 0.0;
            for (int32_t k = 0; k < count && !p.rms; k++) mean += (double)x[r * count + k] / count;
            for (int32_t k = 0; k < count; k++)
                squares += pow((double)x[r * count + k] - mean, 2.0) / count;
            for (int32_t k = 0; k < count; k++) {
                const int32_t at = r % p.groups * factors + k / inner;
                const double deviation = sqrt(squares + (double)p.epsilon) + (double)p.beside;
                want[r * count + k] = ((double)x[r * count + k] - mean) / deviation *
                                          (scale ? (double)scale[at] : 1.0) +
                                      (shift ? (double)shift[at] : 0.0);
            }
        }
        y = run("f_norm", &p, x, scale, shift, (size_t)n * sizeof *y);
        close_to("f_norm", y, want, (size_t)n, 2e-5);
        onednn_agrees("f_norm", &p, x, scale, shift, y, (size_t)n, 2e-5);
        free(x);
        free(y);
        free(want);
        free(scale);
        free(shift);
    }
}

static void test_lpnorm(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_lpnorm_p p = {between(1, 4), between(1, 150), between(0, 1) ? 1 : between(2, 150),
                              between(1, 2)};
        const size_t n = (size_t)(p.outer * p.count * p.inner);
        float *x = floats(n), *y;
        double *want = alloc(n * sizeof *want);
        for (int32_t o = 0; o < p.outer * p.inner; o++) {
            const int32_t at = o / p.inner * p.count * p.inner + o % p.inner;
            double norm = 0.0;
            for (int32_t k = 0; k < p.count; k++) {
                if (o == 0) x[at + k * p.inner] = 0.0f;
                norm += pow(fabs((double)x[at + k * p.inner]), p.order);
            }
            if (p.order == 2) norm = sqrt(norm);
            for (int32_t k = 0; k < p.count; k++)
                want[at + k * p.inner] = norm > 0.0 ? (double)x[at + k * p.inner] / norm : 0.0;
        }
        y = run("f_lpnorm", &p, x, NULL, NULL, n * sizeof *y);
        close_to("f_lpnorm", y, want, n, 1e-6);
        free(x);
        free(y);
        free(want);
    }
}

static void test_lrn(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        const f_lrn_p p = {
            between(1, 3), between(1, 12), between(1, 150), between(1, 15), 0.5f, 0.75f, 1.5f};
        const int32_t n = p.outer * p.channels * p.inner;
        float *x = floats((size_t)n), *y;
        double *want = alloc((size_t)n * sizeof *want);
        for (int32_t e = 0; e < n; e++) {
            const int32_t c = e / p.inner % p.channels;
            double sum = 0.0;
            for (int32_t k = c - (p.size - 1) / 2; k < c - (p.size - 1) / 2 + p.size; k++)
                if (k >= 0 && k < p.channels) sum += pow((double)x[e + (k - c) * p.inner], 2.0);
            want[e] = (double)x[e] / pow(1.5 + 0.5 / p.size * sum, 0.75);
        }
        y = run("f_lrn", &p, x, NULL, NULL, (size_t)n * sizeof *y);
        close_to("f_lrn", y, want, (size_t)n, 1e-6);
        free(x);
        free(y);
        free(want);
    }
}

/* ---- matrix products ------------------------------------------------------------------------- */

/* Axes of a batch, each of both operands or repeated by one; matrices in either order. Returns how
 * many there are; *na, *nb: the elements of the operands. */
static int32_t random_matrices(matmul_p *p, int32_t *na, int32_t *nb)
{
    const int32_t turned_a = between(0, 1), turned_b = between(0, 1);
    int32_t batch = 1;
    p->am = turned_a ? 1 : p->k;
    p->ak = turned_a ? p->m : 1;
    p->bk = turned_b ? 1 : p->n;
    p->bn = turned_b ? p->k : 1;
    *na = p->m * p->k;
    *nb = p->k * p->n;
    for (int i = MATMUL_AXES - 1; i >= 0; i--) {
        const int32_t d = between(0, 4) ? 1 : between(2, 3), kind = between(0, 3);
        (&p->d0)[i] = d;
        (&p->a0)[i] = kind == 1 ? 0 : *na;
        (&p->b0)[i] = kind == 2 ? 0 : *nb;
        if (kind != 1) *na *= d;
        if (kind != 2) *nb *= d;
        batch *= d;
    }
    return batch;
}

static int32_t matrix_at(const int32_t *dims, const int32_t *strides, int32_t t)
{
    int32_t at = 0;
    for (int i = MATMUL_AXES - 1; i >= 0; t /= dims[i], i--) at += t % dims[i] * strides[i];
    return at;
}

static double *matmul_want(const matmul_p *p, int32_t batch, const float *a, const float *b)
{
    double *want = alloc((size_t)(batch * p->m * p->n) * sizeof *want), *y = want;
    for (int32_t t = 0; t < batch; t++)
        for (int32_t m = 0; m < p->m; m++)
            for (int32_t n = 0; n < p->n; n++) {
                const float *x = a + matrix_at(&p->d0, &p->a0, t) + m * p->am;
                const float *w = b + matrix_at(&p->d0, &p->b0, t) + n * p->bn;
                *y = 0.0;
                for (int32_t k = 0; k < p->k; k++)
                    *y += (double)x[k * p->ak] * (double)w[k * p->bk];
                *y++ *= (double)p->alpha;
            }
    return want;
}

/* Of float, and of doubles and integers that are the same numbers. */
static void test_matmul(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int32_t longer = i % 20 == 0;
        matmul_p p = {.m = i % 4 ? between(1, 30) : 1,
                      .n = i % 8 ? between(1, 40) : between(1, 300),
                      .k = longer ? between(130, 20000) : between(0, 60),
                      .alpha = i % 3 ? 1.0f : 0.5f};
        if (longer) p.m = between(1, 3), p.n = between(1, 3);
        int32_t na, nb, batch = random_matrices(&p, &na, &nb);
        const size_t count = (size_t)(batch * p.m * p.n);
        float *a = floats((size_t)na), *b = floats((size_t)nb);
        float *y = alloc(count * sizeof *y), *first = NULL;
        double *want = matmul_want(&p, batch, a, b);
        void *work = alloc(f_matmul_work(&p) * sizeof(float));
        for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
            if (!kernel_table((KernelLevel)level)) continue;
            const void *const in[] = {a, b};
            void *const out[] = {y, work};
            find(kernel_table((KernelLevel)level), "f_matmul")->run(&p, in, out);
            close_to("f_matmul", y, want, count, 1e-6 * fmax(greatest(want, count), p.k / 8.0));
            if (first) assert_memory_equal(first, y, count * sizeof *y);
            else first = memcpy(alloc(count * sizeof *y), y, count * sizeof *y);
        }
        onednn_agrees("f_matmul", &p, a, b, NULL, y, count,
                      1e-6 * fmax(greatest(want, count), p.k / 8.0));
        double *wide_a = alloc((size_t)na * sizeof *wide_a);
        double *wide_b = alloc((size_t)nb * sizeof *wide_b);
        for (int32_t k = 0; k < na; k++) wide_a[k] = (double)a[k];
        for (int32_t k = 0; k < nb; k++) wide_b[k] = (double)b[k];
        p.type = A_DOUBLE;
        double *wide = run("matmul", &p, wide_a, wide_b, NULL, count * sizeof *wide);
        for (size_t k = 0; k < count; k++)
            assert_true(fabs(wide[k] - want[k]) <= 1e-13 * (1.0 + greatest(want, count)));
        free(a);
        free(b);
        free(y);
        free(first);
        free(want);
        free(work);
        free(wide_a);
        free(wide_b);
        free(wide);
    }
}

static void test_matmul_integers(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        matmul_p p = {.type = i % 2 ? A_INT32 : A_UINT64,
                      .m = between(1, 9),
                      .n = between(1, 150),
                      .k = between(0, 150),
                      .alpha = 1.0f};
        int32_t na, nb, batch = random_matrices(&p, &na, &nb);
        const size_t size = p.type == A_INT32 ? 4 : 8;
        char *a = alloc((size_t)na * size), *b = alloc((size_t)nb * size);
        for (size_t k = 0; k < (size_t)na * size; k++) a[k] = (char)rnd();
        for (size_t k = 0; k < (size_t)nb * size; k++) b[k] = (char)rnd();
        char *y = run("matmul", &p, a, b, NULL, (size_t)(batch * p.m * p.n) * size);
        for (int32_t e = 0; e < batch * p.m * p.n; e++) {
            const int32_t t = e / p.n / p.m;
            const int32_t at = matrix_at(&p.d0, &p.a0, t) + e / p.n % p.m * p.am;
            const int32_t bt = matrix_at(&p.d0, &p.b0, t) + e % p.n * p.bn;
            uint64_t sum = 0;
            for (int32_t k = 0; k < p.k; k++) {
                uint64_t u = 0, v = 0;
                memcpy(&u, a + (size_t)(at + k * p.ak) * size, size);
                memcpy(&v, b + (size_t)(bt + k * p.bk) * size, size);
                sum += u * v;
            }
            assert_memory_equal(&sum, y + (size_t)e * size, size);
        }
        free(a);
        free(b);
        free(y);
    }
}

#ifdef HAVE_ONEDNN
/* The sweeps before this met oneDNN, too. */
static void test_onednn_met(void **state)
{
    (void)state;
    assert_true(onednn_ops > 50);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_double_functions, reseed),
        cmocka_unit_test_setup(test_reduce, reseed),
        cmocka_unit_test_setup(test_reduce_integers, reseed),
        cmocka_unit_test_setup(test_arg, reseed),
        cmocka_unit_test_setup(test_topk, reseed),
        cmocka_unit_test_setup(test_norm, reseed),
        cmocka_unit_test_setup(test_lpnorm, reseed),
        cmocka_unit_test_setup(test_lrn, reseed),
        cmocka_unit_test_setup(test_matmul, reseed),
        cmocka_unit_test_setup(test_matmul_integers, reseed),
#ifdef HAVE_ONEDNN
        cmocka_unit_test(test_onednn_met),
#endif
    };
#ifdef HAVE_ONEDNN
    onednn_thread_init();
#endif
    return cmocka_run_group_tests_name("kernels_norms", tests, NULL, NULL);
}
