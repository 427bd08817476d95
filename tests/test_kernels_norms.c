/* tests/test_kernels_norms.c - kernels that add up, compare and normalize: over any axes, of any
 * type.
 */
#include "kernels/arith.h"
#include "kernels/d_math.h"
#include "kernels/reduce_walk.h"
#include "tests/kernel_run.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_double_functions, reseed),
        cmocka_unit_test_setup(test_reduce, reseed),
        cmocka_unit_test_setup(test_reduce_integers, reseed),
    };
    return cmocka_run_group_tests_name("kernels_norms", tests, NULL, NULL);
}
