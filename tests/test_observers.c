/* tests/test_observers.c - the built-in observers against plain references on the raw values:
 * sorting, an exhaustive search, a direct reading of the text that defines entropy.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <qonnx/qonnx.h>
#include "runtime/stats.h"

/* ---- values of every shape ------------------------------------------------------------------- */

static uint64_t random_state = 2463534242u;

static double uniform(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) * 0x1p-53;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform() + 1e-300)) * cos(6.283185307179586 * uniform());
}

enum {
    NORMAL,
    RELU,
    RELU6,
    LAPLACE,
    UNIFORM,
    NEGATIVE,
    SHIFTED,
    HEAVY,
    OUTLIER,
    TWO_HEAPS,
    TINY,
    KINDS
};

static float value(int kind)
{
    double g = normal(), u = uniform();
    switch (kind) {
    case RELU:
        return (float)fmax(g, 0);
    case RELU6:
        return (float)fmin(fmax(3 * g + 1, 0), 6);
    case LAPLACE:
        return (float)((u < 0.5 ? -1 : 2) * -log(uniform() + 1e-300));
    case UNIFORM:
        return (float)(u * 3 - 1);
    case NEGATIVE:
        return (float)-fabs(g * g);
    case SHIFTED:
        return (float)(g + 2.5);
    case HEAVY:
        return (float)(g / (0.02 + uniform()));
    case OUTLIER:
        return (float)(u < 0.001 ? 40 * g : g);
    case TWO_HEAPS:
        return (float)(u < 0.5 ? 0.1 * g : 5 + 0.1 * g);
    case TINY:
        return (float)(g * 1e-20);
    default:
        return (float)g;
    }
}

/* Values and their statistics. */
typedef struct Case {
    float *x;
    int n;
    qonnx_stats *stats;
    const qonnx_histogram *h;
} Case;

static Case case_of(float *x, int n)
{
    StatsSpec spec = {"x", 0, 1};
    qonnx_stats *s = stats_new(&spec, 1);
    StatsWorker *w = stats_worker_new(s);
    stats_count(w, 0, x, (StatsView){1, 1, n});
    stats_absorb(s, w);
    return (Case){x, n, s, qonnx_stats_histogram(s, 0)};
}

static Case random_case(int kind, int n)
{
    float *x = malloc(sizeof *x * (size_t)n);
    for (int i = 0; i < n; i++) x[i] = value(kind);
    return case_of(x, n);
}

static void case_free(Case *c)
{
    qonnx_stats_free(c->stats);
    free(c->x);
}

static const qonnx_grid grids[] = {
    {QONNX_UINT8, 0, 255, false},
    {QONNX_INT8, -128, 127, false},
    {QONNX_INT8, -127, 127, true},
    {QONNX_INT8, -128, 127, true},
};
enum { GRIDS = sizeof grids / sizeof *grids };

static void observe(const char *observer, const Case *c, const qonnx_grid *grid, float *lo,
                    float *hi)
{
    qonnx_ctx *cx = qonnx_ctx_new();
    if (!qonnx_observe(cx, observer, c->h, grid, lo, hi)) fail_msg("%s", qonnx_error(cx));
    qonnx_ctx_free(cx);
    assert_true(*lo <= *hi);
    assert_true(*lo == *hi || (*lo >= c->h->min && *hi <= c->h->max));
}

/* ---- minmax and percentile ------------------------------------------------------------------- */

static void test_minmax(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        Case c = random_case(kind, 500);
        float lo, hi;
        observe("minmax", &c, grids, &lo, &hi);
        assert_true(lo == c.h->min && hi == c.h->max);
        case_free(&c);
    }
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The edge away from zero of the bin that holds v. */
static float outer_edge(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v == 0) return 0;
    bits |= 0x7FFF;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The edge towards zero. */
static float inner_edge(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v == 0) return 0;
    bits &= ~0x7FFFu;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void check_percentile(const Case *c, const char *text, int64_t per_mille_mille)
{
    char observer[64];
    snprintf(observer, sizeof observer, "percentile{p=%s}", text);
    float lo, hi;
    observe(observer, c, grids, &lo, &hi);
    /* In parts of 2,000,000, so that half of what is cut stays whole. */
    int64_t inside = 2 * per_mille_mille, whole = 2000000;
    if (c->h->min < 0 && c->h->max > 0) inside = (inside + whole) / 2;
    int64_t rank = (inside * c->n + whole - 1) / whole;
    float top = c->x[rank - 1], bottom = c->x[c->n - rank];
    float want_hi = fminf(top < 0 ? inner_edge(top) : outer_edge(top), c->h->max);
    float want_lo = fmaxf(bottom > 0 ? inner_edge(bottom) : outer_edge(bottom), c->h->min);
    assert_true(hi == (c->h->max > 0 ? want_hi : c->h->max));
    assert_true(lo == (c->h->min < 0 ? want_lo : c->h->min));
}

static void test_percentile(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int n = 1; n < 5000; n = n * 3 + 1) {
            Case c = random_case(kind, n);
            qsort(c.x, (size_t)n, sizeof *c.x, compare);
            check_percentile(&c, "99.999", 999990);
            check_percentile(&c, "99.9", 999000);
            check_percentile(&c, "99", 990000);
            check_percentile(&c, "57.1", 571000);
            check_percentile(&c, "100", 1000000);
            case_free(&c);
        }
}

/* The ceiling is exact: 99.999 % of 100,000 values are 99,999, so one is cut off. */
static void test_percentile_rank(void **state)
{
    (void)state;
    enum { N = 100000 };
    float *x = malloc(N * sizeof *x), lo, hi;
    for (int i = 0; i < N; i++) x[i] = i < N - 1 ? 1 : 1000;
    Case c = case_of(x, N);
    observe("percentile", &c, grids, &lo, &hi);
    assert_true(hi == outer_edge(1));
    case_free(&c);
    Case few = random_case(RELU, 100);
    qonnx_ctx *cx = qonnx_ctx_new();
    assert_false(qonnx_observe(cx, "percentile{p=101}", few.h, grids, &lo, &hi));
    assert_non_null(strstr(qonnx_error(cx), "at most 100"));
    qonnx_ctx_free(cx);
    case_free(&few);
}

/* ---- entropy --------------------------------------------------------------------------------- */

enum { LEVELS = 2048 };

/* Divergence of P (the first n levels, what is above added to the last) from Q (these levels in
 * `steps` groups, each spread over its levels that are not empty). */
static double reference_divergence(const double *count, int n, int steps)
{
    double p[LEVELS] = {0}, q[LEVELS] = {0}, all = 0, kept = 0, sum = 0;
    for (int i = 0; i < LEVELS; i++) all += count[i];
    for (int i = 0; i < n; i++) kept += p[i] = count[i];
    p[n - 1] += all - kept;
    for (int s = 0; s < steps; s++) {
        double total = 0;
        int filled = 0;
        for (int i = 0; i < n; i++)
            if (i * steps / n == s && count[i] > 0) total += count[i], filled++;
        for (int i = 0; i < n; i++)
            if (i * steps / n == s && count[i] > 0) q[i] = total / filled;
    }
    for (int i = 0; i < n; i++) {
        if (p[i] <= 1e-9 * all) continue;
        if (q[i] == 0) return INFINITY;
        sum += p[i] / all * log(p[i] / all / (q[i] / kept));
    }
    return sum;
}

static void reference_levels(const qonnx_histogram *h, double absmax, double *count)
{
    for (int b = 0; b < h->nbins; b++) {
        double lo = fmax(h->bins[b].lo, h->min), hi = fmin(h->bins[b].hi, h->max);
        if (lo == 0 && hi == 0) continue;
        double from = fmin(fabs(lo), fabs(hi)), to = fmax(fabs(lo), fabs(hi));
        for (int i = 0; i < LEVELS; i++) {
            double left = absmax * i / LEVELS, right = absmax * (i + 1) / LEVELS;
            bool point = from == to && (from < right || i == LEVELS - 1);
            if (point && from >= left) count[i] += (double)h->bins[b].count;
            if (from == to || from >= right || to <= left) continue;
            double part = (fmin(to, right) - fmax(from, left)) / (to - from);
            count[i] += part * (double)h->bins[b].count;
        }
    }
}

static void test_entropy(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        Case c = random_case(kind, kind % 2 ? 20000 : 2500);
        float lo, hi;
        observe("entropy", &c, grids, &lo, &hi);
        double absmax = fmax(-(double)c.h->min, c.h->max), count[LEVELS] = {0};
        reference_levels(c.h, absmax, count);
        bool both = c.h->min < 0 && c.h->max > 0;
        int steps = both ? 128 : 255, got = (int)rint(fmax(-lo, hi) / absmax * LEVELS);
        /* Every eighth threshold stands for the least divergence: it cannot be less than the true
         * one, so the choice must lie within 1 % of what is found, and the next ones not. */
        double chosen = reference_divergence(count, got, steps), least = chosen;
        for (int n = steps; n <= LEVELS; n += 8)
            least = fmin(least, reference_divergence(count, n, steps));
        assert_true(chosen <= 1.01 * least + 1e-8);
        for (int n = got + 1; n <= LEVELS; n += 1 + n % 7)
            assert_true(reference_divergence(count, n, steps) > 1.01 * least - 1e-8 ||
                        least < chosen * 0.999);
        case_free(&c);
    }
}

/* All thresholds, where that is affordable. */
static void test_entropy_exhaustive(void **state)
{
    (void)state;
    static const int kinds[] = {NORMAL, HEAVY, OUTLIER};
    for (int k = 0; k < 3; k++) {
        Case c = random_case(kinds[k], 4000);
        float lo, hi;
        observe("entropy", &c, grids, &lo, &hi);
        double absmax = fmax(-(double)c.h->min, c.h->max), count[LEVELS] = {0}, of[LEVELS + 1];
        reference_levels(c.h, absmax, count);
        double least = INFINITY;
        for (int n = 128; n <= LEVELS; n++)
            least = fmin(least, of[n] = reference_divergence(count, n, 128));
        int want = LEVELS;
        while (of[want] > 1.01 * least) want--;
        assert_true(fabs(fmax(-lo, hi) - absmax * want / LEVELS) <= 1e-6 * absmax);
        case_free(&c);
    }
}

/* ---- mse ------------------------------------------------------------------------------------- */

static double squared_error(const float *x, const double *weight, int n, const qonnx_grid *g,
                            double lo, double hi)
{
    float scale;
    int zero;
    qonnx_grid_params(g, lo, hi, &scale, &zero);
    double sum = 0, inverse = 1.0 / scale;
    for (int i = 0; i < n; i++) {
        double q = rint(x[i] * inverse) + zero;
        q = q < g->qmin ? g->qmin : q > g->qmax ? g->qmax : q;
        double d = x[i] - (q - zero) * scale;
        sum += weight ? weight[i] * d * d : d * d;
    }
    return sum;
}

/* Shares of the extremes that the reference tries. */
static int shares(double *out)
{
    int n = 0;
    for (int i = 0; i < 38; i++) out[n++] = 1 - i / 40.0;
    for (int i = 0; i < 10; i++) out[n++] = 0.05 * pow(0.7, i);
    return n;
}

static double exhaustive(const Case *c, const qonnx_grid *g)
{
    double share[64], best = INFINITY;
    int n = shares(share);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            if (g->symmetric && i != j) continue;
            if (c->h->min >= 0 && i > 0) continue;
            if (c->h->max <= 0 && j > 0) continue;
            double lo = c->h->min * share[i], hi = c->h->max * share[j];
            best = fmin(best, squared_error(c->x, NULL, c->n, g, lo, hi));
        }
    return best;
}

/* Within 0.05 dB of the best of a 2-D grid of ranges, measured on the values themselves. */
static void test_mse(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int g = 0; g < GRIDS; g++) {
            Case c = random_case(kind, 12000);
            float lo, hi;
            observe("mse", &c, &grids[g], &lo, &hi);
            double got = squared_error(c.x, NULL, c.n, &grids[g], lo, hi);
            double want = exhaustive(&c, &grids[g]);
            if (10 * log10(got / want) > 0.05)
                fail_msg("kind %d, grid %d: %.4f dB", kind, g, 10 * log10(got / want));
            case_free(&c);
        }
}

/* The observer's own measure, integrated by points: bins are uniform between their edges. */
static double own_measure(const qonnx_histogram *h, const qonnx_grid *g, double lo, double hi)
{
    enum { POINTS = 200 };
    double sum = 0;
    for (int b = 0; b < h->nbins; b++) {
        double from = fmax(h->bins[b].lo, h->min), to = fmin(h->bins[b].hi, h->max);
        for (int i = 0; i < POINTS; i++) {
            float x = (float)(from + (to - from) * (i + 0.5) / POINTS);
            double weight = (double)h->bins[b].count / POINTS;
            sum += squared_error(&x, &weight, 1, g, lo, hi);
        }
    }
    return sum;
}

/* A handful of values: never worse than the exact extremes. */
static void test_mse_few(void **state)
{
    (void)state;
    for (int round = 0; round < 4000; round++) {
        Case c = random_case(round % KINDS, 1 + round % 9);
        const qonnx_grid *g = &grids[round % GRIDS];
        float lo, hi;
        observe("mse", &c, g, &lo, &hi);
        double got = own_measure(c.h, g, lo, hi), whole = own_measure(c.h, g, c.h->min, c.h->max);
        float reach = fmaxf(-c.h->min, c.h->max);
        assert_true(got <= whole * 1.001 + 1e-13 * reach * reach);
        case_free(&c);
    }
}

static void test_mse_constant(void **state)
{
    (void)state;
    static const float values[] = {0, 1, -1, 3.3f, -1e-30f, 1e30f, 6, 1e-45f, 3.4e38f};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        float *x = malloc(100 * sizeof *x), lo, hi;
        for (int i = 0; i < 100; i++) x[i] = values[v];
        Case c = case_of(x, 100);
        observe("mse", &c, grids, &lo, &hi);
        assert_true(lo == values[v] && hi == values[v]);
        observe("entropy", &c, grids, &lo, &hi);
        assert_true(fabsf(lo - values[v]) <= fabsf(values[v]) / 1000);
        case_free(&c);
    }
}

/* A rare value far outside is clipped once the others outweigh it. */
static void test_mse_outlier(void **state)
{
    (void)state;
    enum { N = 4000000 };
    float *x = malloc(N * sizeof *x), lo, hi;
    for (int i = 0; i < N; i++) x[i] = (float)uniform();
    x[N / 2] = 60;
    Case c = case_of(x, N);
    observe("mse", &c, grids, &lo, &hi);
    double want = INFINITY;
    for (double t = 0.5; t <= 60; t *= 1.01)
        want = fmin(want, squared_error(x, NULL, N, grids, 0, t));
    assert_true(squared_error(x, NULL, N, grids, lo, hi) <= 1.01 * want);
    assert_true(hi < 30);
    case_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minmax),
        cmocka_unit_test(test_percentile),
        cmocka_unit_test(test_percentile_rank),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_entropy_exhaustive),
        cmocka_unit_test(test_mse),
        cmocka_unit_test(test_mse_few),
        cmocka_unit_test(test_mse_constant),
        cmocka_unit_test(test_mse_outlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
