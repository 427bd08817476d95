/* tests/test_kernels_counted.c - kernels whose outputs have a size that is data, against plain
 * loops, on every instruction set.
 */
#include "kernels/nms.h"
#include "kernels/nonzero.h"
#include "kernels/pick.h"
#include "kernels/unique.h"
#include "tests/kernel_run.h"

enum { MOST_OUTPUTS = 8 };

/* Memory that a kernel writes. */
typedef struct Out {
    size_t bytes;
    unsigned char *data;
} Out;

/* Runs the kernel on every level, which must write the same bytes to all outputs, but those behind
 * the first `kept`, which are memory to work in. out[].data is what the first level has written, to
 * be freed. */
static void run_out(const char *name, const void *p, const void *const *in, Out *out, int nout,
                    int kept)
{
    for (int i = 0; i < nout; i++) out[i].data = NULL;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        void *y[MOST_OUTPUTS];
        const Kernel *table = kernel_table((KernelLevel)level);
        if (!table) continue;
        for (int i = 0; i < nout; i++) {
            y[i] = alloc(out[i].bytes);
            memset(y[i], 0xa5, out[i].bytes);
        }
        find(table, name)->run(p, in, y);
        for (int i = 0; i < nout; i++) {
            if (!out[i].data) {
                out[i].data = y[i];
                continue;
            }
            if (i < kept && memcmp(out[i].data, y[i], out[i].bytes))
                fail_msg("%s: level %d gives other bytes", name, level);
            free(y[i]);
        }
    }
}

/* Whether what is behind the first `bytes` is 0. */
static void ends(const Out *o, size_t bytes)
{
    for (size_t i = bytes; i < o->bytes; i++) assert_int_equal(o->data[i], 0);
}

static int64_t number(const Out *o)
{
    int64_t n;
    memcpy(&n, o->data, sizeof n);
    return n;
}

static void free_all(const Out *out, int n)
{
    for (int i = 0; i < n; i++) free(out[i].data);
}

/* n elements of a type, of few values: v has the same as doubles. */
static void *few(int32_t type, size_t n, double *v)
{
    float *f = alloc(n * sizeof *f);
    uint8_t *u = alloc(n);
    for (size_t i = 0; i < n; i++) {
        u[i] = (uint8_t)between(0, 2);
        f[i] = between(0, 9) ? (float)between(-1, 1) : NAN;
        if (f[i] == 0.0f && between(0, 1)) f[i] = -0.0f;
        v[i] = type == A_FLOAT ? (double)f[i] : u[i];
    }
    free(type == A_FLOAT ? (void *)u : (void *)f);
    return type == A_FLOAT ? (void *)f : (void *)u;
}

/* ---- nonzero --------------------------------------------------------------------------------- */

static void test_nonzero(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        nonzero_p p = {.rank = between(1, 8), .type = i % 2 ? A_FLOAT : A_UINT8};
        size_t n = 1;
        for (int32_t k = 0; k < p.rank; k++) n *= (size_t)((&p.d0)[k] = between(i > 2, 4));
        double *v = alloc(n * sizeof *v);
        void *x = few(p.type, n, v);
        Out out[2] = {{.bytes = n * 8 * (size_t)p.rank}, {.bytes = 8}};
        run_out("nonzero", &p, (const void *const[]){x}, out, 2, 2);
        const int64_t found = number(&out[1]), *y = (const int64_t *)(void *)out[0].data;
        int64_t seen = 0;
        for (size_t e = 0; e < n; e++) {
            if (v[e] == 0.0) continue;
            size_t at = 0;
            for (int32_t k = 0; k < p.rank; k++)
                at = at * (size_t)(&p.d0)[k] + (size_t)y[k * found + seen];
            assert_int_equal(at, e);
            seen++;
        }
        assert_int_equal(seen, found);
        ends(&out[0], (size_t)(found * p.rank) * 8);
        free_all(out, 2);
        free(x);
        free(v);
    }
}

/* ---- pick ------------------------------------------------------------------------------------ */

static void test_pick(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        pick_p p = {.outer = between(1, 4),
                    .count = between(0, 9),
                    .inner = between(1, 4),
                    .given = between(0, 11),
                    .size = 1 << between(0, 3)};
        const size_t part = (size_t)(p.inner * p.size),
                     n = (size_t)p.outer * (size_t)p.count * part;
        const bool known = i % 2; /* how many hold, as of a constant condition */
        unsigned char *x = alloc(n), *c = alloc((size_t)p.given);
        for (size_t k = 0; k < n; k++) x[k] = (unsigned char)rnd();
        for (int32_t k = 0; k < p.given; k++) c[k] = (unsigned char)between(0, 1);
        for (int32_t k = 0; k < p.given && k < p.count; k++) p.most += !known || c[k];
        Out out[2] = {{.bytes = (size_t)(p.outer * p.most) * part}, {.bytes = 8}};
        run_out("pick", &p, (const void *const[]){x, c}, out, 2, 2);
        size_t at = 0;
        for (int32_t o = 0; o < p.outer; o++)
            for (int32_t k = 0; k < p.count && k < p.given; k++) {
                if (!c[k]) continue;
                assert_memory_equal(out[0].data + at, x + (size_t)(o * p.count + k) * part, part);
                at += part;
            }
        assert_int_equal(at, (size_t)(number(&out[1]) * p.outer) * part);
        ends(&out[0], at);
        free_all(out, 2);
        free(x);
        free(c);
    }
}

/* ---- unique ---------------------------------------------------------------------------------- */

/* Below 0, 0 or above: NaN is the greatest, and equal to itself. */
static int compare_numbers(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static int compare_slices(const unique_p *p, const double *v, int64_t a, int64_t b)
{
    int c = 0;
    for (int32_t o = 0; o < p->outer && !c; o++)
        for (int32_t i = 0; i < p->inner && !c; i++)
            c = compare_numbers(v[(o * p->count + a) * p->inner + i],
                                v[(o * p->count + b) * p->inner + i]);
    return c;
}

static void check_unique(const unique_p *p, const double *v, const unsigned char *x, const Out *out)
{
    const int64_t found = number(&out[4]), *first = (const int64_t *)(void *)out[1].data;
    const int64_t *inverse = (const int64_t *)(void *)out[2].data;
    const int64_t *counts = (const int64_t *)(void *)out[3].data;
    const size_t part = (size_t)(p->inner * p->size);
    for (int64_t g = 0, all = 0; g < found; g++) {
        assert_true((all += counts[g]) <= p->count);
        if (g && p->sorted) assert_true(compare_slices(p, v, first[g - 1], first[g]) < 0);
        else if (g) assert_true(first[g - 1] < first[g]);
        for (int32_t o = 0; o < p->outer; o++)
            assert_memory_equal(out[0].data + (size_t)(o * found + g) * part,
                                x + (size_t)(o * p->count + first[g]) * part, part);
    }
    for (int64_t i = 0; i < p->count; i++) {
        int64_t same = 0;
        assert_in_range(inverse[i], 0, found - 1);
        assert_true(first[inverse[i]] <= i);
        assert_int_equal(compare_slices(p, v, first[inverse[i]], i), 0);
        for (int64_t j = 0; j < p->count; j++) same += !compare_slices(p, v, i, j);
        assert_int_equal(same, counts[inverse[i]]);
    }
}

static void test_unique(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const bool plain = i % 3 == 0;
        const unique_p p = {plain ? 1 : between(1, 2),
                            between(i > 2, plain ? 90 : 30),
                            plain ? 1 : between(1, 3),
                            i % 2 ? A_FLOAT : A_UINT8,
                            i % 2 ? 4 : 1,
                            between(0, 1)};
        const size_t n = (size_t)(p.outer * p.count * p.inner), list = (size_t)p.count * 8;
        double *v = alloc(n * sizeof *v);
        unsigned char *x = few(p.type, n, v);
        Out out[7] = {{.bytes = n * (size_t)p.size},
                      {.bytes = list},
                      {.bytes = list},
                      {.bytes = list},
                      {.bytes = 8},
                      {.bytes = n * 8},
                      {.bytes = 3 * list}};
        run_out("unique", &p, (const void *const[]){x}, out, 7, 5);
        check_unique(&p, v, x, out);
        const size_t found = (size_t)number(&out[4]);
        ends(&out[0], found * (size_t)(p.outer * p.inner * p.size));
        ends(&out[1], found * 8);
        ends(&out[3], found * 8);
        free_all(out, 7);
        free(x);
        free(v);
    }
}

/* ---- nms ------------------------------------------------------------------------------------- */

/* What two boxes, whole numbers, have in common over their union. */
static double overlap(bool center, const float *a, const float *b)
{
    double common = 1, one = 1, other = 1;
    for (int k = 0; k < 2; k++) {
        const double a0 = center ? a[k] - a[k + 2] / 2 : fminf(a[k], a[k + 2]);
        const double a1 = center ? a[k] + a[k + 2] / 2 : fmaxf(a[k], a[k + 2]);
        const double b0 = center ? b[k] - b[k + 2] / 2 : fminf(b[k], b[k + 2]);
        const double b1 = center ? b[k] + b[k + 2] / 2 : fmaxf(b[k], b[k + 2]);
        common *= fmax(0, fmin(a1, b1) - fmax(a0, b0));
        one *= a1 - a0;
        other *= b1 - b0;
    }
    return common > 0 ? common / (one + other - common) : 0;
}

/* The best of the boxes that are left; -1: none. */
static int best_of(const float *scores, const bool *left, int32_t n)
{
    int best = -1;
    for (int32_t k = 0; k < n; k++)
        if (left[k] && (best < 0 || scores[k] > scores[best])) best = k;
    return best;
}

/* One class: y must begin with what is chosen from it. Returns how much that is. */
static int64_t check_class(const nms_p *p, const float *boxes, const float *scores, int64_t most,
                           double share, const float *least, const int64_t *y)
{
    bool left[64];
    int64_t found = 0;
    for (int32_t k = 0; k < p->boxes; k++) left[k] = !least || scores[k] > *least;
    for (int k; found < most && (k = best_of(scores, left, p->boxes)) >= 0; found++) {
        assert_int_equal(y[3 * found + 2], k);
        left[k] = false;
        for (int32_t j = 0; j < p->boxes; j++)
            if (overlap(p->center, boxes + 4 * k, boxes + 4 * j) > share) left[j] = false;
    }
    return found;
}

static void test_nms(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const nms_p p = {between(1, 2), between(1, 3), between(i > 2, 40), between(0, 40),
                         between(0, 1)};
        const size_t nb = (size_t)(p.batch * p.boxes * 4),
                     ns = (size_t)(p.batch * p.classes * p.boxes);
        float *boxes = alloc(nb * 4), *scores = alloc(ns * 4), share = 0.375f, least = 3;
        for (size_t k = 0; k < nb; k++) boxes[k] = (float)between(0, 9);
        for (size_t k = 0; k < ns; k++) scores[k] = (float)between(0, 9);
        const int64_t most = between(-1, 30);
        const bool has_most = i % 7, has_share = i % 5, has_least = i % 3;
        Out out[4] = {{.bytes = (size_t)(p.batch * p.classes * p.most * 24)},
                      {.bytes = 8},
                      {.bytes = (size_t)p.boxes * 8},
                      {.bytes = (size_t)p.boxes * 8}};
        run_out("nms", &p,
                (const void *const[]){boxes, scores, has_most ? &most : NULL,
                                      has_share ? &share : NULL, has_least ? &least : NULL},
                out, 4, 2);
        const int64_t *y = (const int64_t *)(void *)out[0].data;
        int64_t all = 0, limit = !has_most ? 0 : most < p.most ? most : p.most;
        for (int32_t c = 0; c < p.batch * p.classes; c++) {
            const int64_t found =
                check_class(&p, boxes + c / p.classes * p.boxes * 4, scores + c * p.boxes, limit,
                            has_share ? (double)share : 0, has_least ? &least : NULL, y + 3 * all);
            for (int64_t k = all; k < all + found; k++)
                assert_int_equal(y[3 * k] * p.classes + y[3 * k + 1], c);
            all += found;
        }
        assert_int_equal(all, number(&out[1]));
        ends(&out[0], (size_t)all * 24);
        free_all(out, 4);
        free(boxes);
        free(scores);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nonzero, reseed),
        cmocka_unit_test_setup(test_pick, reseed),
        cmocka_unit_test_setup(test_unique, reseed),
        cmocka_unit_test_setup(test_nms, reseed),
    };
    return cmocka_run_group_tests_name("kernels_counted", tests, NULL, NULL);
}
