/* tests/test_kernels_ml.c - the kernels of ai.onnx.ml's operators against plain loops, on every
 * instruction set.
 */
#include "kernels/tabular.h"
#include "kernels/lookup.h"
#include "kernels/scores.h"
#include "kernels/svm.h"
#include "kernels/trees.h"
#include "tests/kernel_run.h"

static void near_by(double got, double want, double error)
{
    if (!(fabs(got - want) <= error) && !(got != got && want != want))
        fail_msg("got %.9g, want %.9g", got, want);
}

/* n numbers of that size, of few values, NaN among them. */
static void *few(int32_t size, size_t n)
{
    float *f = alloc(n * sizeof *f);
    double *d = alloc(n * sizeof *d);
    for (size_t i = 0; i < n; i++) d[i] = between(0, 9) ? between(-3, 3) / 2.0 : NAN;
    for (size_t i = 0; i < n; i++) f[i] = (float)d[i];
    free(size == 4 ? (void *)d : (void *)f);
    return size == 4 ? (void *)f : (void *)d;
}

static double at(int32_t size, const void *x, size_t i)
{
    return scores_at(size == 8, x, (ptrdiff_t)i);
}

/* ---- trees ----------------------------------------------------------------------------------- */

enum { NODES = 7, LEAVES = NODES + 1, SETS = 12, WEIGHTS = LEAVES * 2 };

/* A tree of seven nodes in three rows, with two weights a leaf: ints, and numbers of that size. */
static int32_t *small_forest(const trees_p *p, int32_t mode)
{
    int32_t *f = alloc((size_t)(p->trees + 4 * NODES + LEAVES + 1 + WEIGHTS) * sizeof *f), *to = f;
    for (int32_t t = 0; t < p->trees; t++) *to++ = t % 3 == 2 ? -1 - t % LEAVES : t % NODES;
    for (int32_t i = 0; i < NODES; i++) {
        const int32_t how = mode < 0 ? between(0, TREE_MEMBER) : mode;
        *to++ = between(0, p->features - 1);
        *to++ = 2 * i + 1 < NODES ? 2 * i + 1 : -1 - (2 * i + 1 - NODES);
        *to++ = 2 * i + 2 < NODES ? 2 * i + 2 : -1 - (2 * i + 2 - NODES);
        *to++ = how | between(0, 1) << 3 | (NODES + 4 * (i % 3)) << 4;
    }
    for (int32_t i = 0; i <= LEAVES; i++) *to++ = 2 * i;
    for (int32_t i = 0; i < WEIGHTS; i++) *to++ = between(0, p->targets - 1);
    return f;
}

static bool says_yes(int32_t how, double x, double split, int32_t size, const void *numbers)
{
    if (x != x && how & 8) return true;
    switch (how & 7) {
    case TREE_LEQ: return x <= split;
    case TREE_LT: return x < split;
    case TREE_GTE: return x >= split;
    case TREE_GT: return x > split;
    case TREE_EQ: return x == split;
    case TREE_NEQ: return !(x == split);
    default:
        for (size_t i = (size_t)(how >> 4);; i++) {
            const double member = at(size, numbers, i);
            if (member != member) return false;
            if (member == x) return true;
        }
    }
}

static void walk(const trees_p *p, const int32_t *f, const void *numbers, const void *x, size_t row,
                 double *sums, int *has)
{
    const int32_t *nodes = f + p->trees, *first = nodes + 4 * NODES, *targets = first + LEAVES + 1;
    for (int32_t t = 0; t < p->trees; t++) {
        int32_t i = f[t];
        while (i >= 0) {
            const int32_t *n = nodes + 4 * i;
            const double v = at(p->size, x, row * (size_t)p->features + (size_t)n[0]);
            i = n[says_yes(n[3], v, at(p->size, numbers, (size_t)i), p->size, numbers) ? 1 : 2];
        }
        for (int32_t w = first[-1 - i]; w < first[-i]; w++) {
            const double v = at(p->size, numbers, (size_t)(NODES + SETS + w));
            double *s = &sums[targets[w]];
            if (p->parts == TREES_MIN) *s = has[targets[w]] && *s < v ? *s : v;
            else if (p->parts == TREES_MAX) *s = has[targets[w]] && *s > v ? *s : v;
            else *s = p->size == 4 ? (double)((float)*s + (float)v) : *s + v;
            has[targets[w]] = 1;
        }
    }
}

static void test_trees(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const trees_p p = {between(1, 20), between(1, 6), between(1, 4), between(1, 9), NODES,
                           LEAVES, SETS, i % 4, i % 2, i / 4 % 2 ? 4 : 8};
        int32_t *f = small_forest(&p, i % 9 == 8 ? -1 : i % 9 > 6 ? TREE_MEMBER : i % 9);
        void *x = few(p.size, (size_t)(p.rows * p.features));
        void *numbers = few(p.size, NODES + SETS + WEIGHTS);
        for (size_t k = NODES; k < NODES + SETS + WEIGHTS; k++) { /* a NaN ends each set alone */
            const bool ends = k < NODES + SETS && (k - NODES) % 4 == 3;
            scores_put(p.size == 8, numbers, (ptrdiff_t)k,
                       ends ? (double)NAN : between(-3, 3) / 2.0);
        }
        double bases[4] = {0.5, -1.5, 2.0, 4.0};
        const size_t count = (size_t)(p.rows * p.targets);
        const size_t bytes[2] = {count * (size_t)p.size, count};
        const void *const in[] = {x, f, numbers, i % 3 ? bases : NULL};
        void *y = run_many("trees", &p, in, bytes, 2);
        for (int32_t r = 0; r < p.rows; r++) {
            double sums[4] = {0};
            int has[4] = {0};
            walk(&p, f, numbers, x, (size_t)r, sums, has);
            for (int32_t k = 0; k < p.targets; k++) {
                double want = p.parts == TREES_AVERAGE ? sums[k] / p.trees : sums[k];
                if (i % 3 && (has[k] || p.all)) want += bases[k];
                near_by(at(p.size, y, (size_t)(r * p.targets + k)), want, 1e-6);
            }
        }
        free(y);
        free(numbers);
        free(x);
        free(f);
    }
}

/* ---- scores and labels ----------------------------------------------------------------------- */

static double last_of(int32_t last, double v)
{
    return last == SCORES_LOGISTIC ? 1 / (1 + exp(-v)) : v;
}

static void test_scores(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        static const int32_t last[] = {SCORES_NONE, SCORES_SOFTMAX, SCORES_LOGISTIC};
        const scores_p p = {between(1, 9), i % 4 ? between(2, 9) : 1, i % 2 ? 4 : 8, i / 2 % 2,
                            last[i % 3], i / 4 % 3};
        const size_t n = (size_t)(p.rows * p.count);
        const size_t width = p.count == 1 && p.single ? 2 : (size_t)p.count;
        void *s = alloc(n * 8);
        for (size_t k = 0; k < n; k++)
            scores_put(p.size == 8, s, (ptrdiff_t)k, between(-40, 40) / 8.0);
        void *z = run("scores", &p, s, NULL, NULL, (size_t)p.rows * width * (p.wide ? 8 : 4));
        for (int32_t r = 0; r < p.rows; r++) {
            double sum = 0;
            for (int32_t k = 0; k < p.count; k++)
                sum += exp(at(p.size, s, (size_t)(r * p.count + k)));
            for (size_t k = 0; k < width; k++) {
                const double v = at(p.size, s, (size_t)(r * p.count) + (p.count == 1 ? 0 : k));
                double want = p.last == SCORES_SOFTMAX ? exp(v) / sum : last_of(p.last, v);
                if (p.count == 1) {
                    const bool pair = p.single != SCORE_ALONE, other = pair && !k;
                    want = other ? (p.single == SCORE_REST ? 1 - v : -v) : v;
                    if (pair && p.last == SCORES_LOGISTIC) want = last_of(p.last, other ? -v : v);
                }
                near_by(at(p.wide ? 8 : 4, z, (size_t)r * width + k), want, 2e-6);
            }
        }
        free(z);
        free(s);
    }
}

static void test_labels(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        const labels_p p = {between(1, 30), between(1, 6), i % 2 ? 4 : 8, i % 3};
        const size_t n = (size_t)(p.rows * p.count);
        const int64_t names[6] = {9, -4, 77, 5, 3, 1};
        void *s = few(p.size, n);
        uint8_t *has = alloc(n);
        for (size_t k = 0; k < n; k++) has[k] = (uint8_t)between(0, 3);
        for (size_t k = 0; k < n; k++)
            if (at(p.size, s, k) != at(p.size, s, k)) scores_put(p.size == 8, s, (ptrdiff_t)k, 0);
        int64_t *y = run_many("labels", &p, (const void *const[]){s, i % 4 ? NULL : has, names},
                              &(size_t){(size_t)p.rows * 8}, 1);
        for (int32_t r = 0; r < p.rows; r++) {
            int best = -1;
            double top = 0;
            for (int32_t k = 0; k < p.count; k++) {
                const size_t e = (size_t)(r * p.count + k);
                if (!(i % 4) && !has[e]) continue;
                if (best >= 0 && at(p.size, s, e) <= top) continue;
                best = k;
                top = at(p.size, s, e);
            }
            if (p.count == 1) best = top > 0;
            if (p.rule == LABELS_ABOVE && top > 0) best = 1;
            if (p.rule == LABELS_LIKELY && top >= 0.5) best = 1;
            assert_int_equal(y[r], names[best < 0 ? 0 : best]);
        }
        free(y);
        free(has);
        free(s);
    }
}

/* Weights of one class of two: its score decides, and the other is the rest. */
static void test_tree_pair(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const tree_pair_p p = {between(1, 9), 2, i % 2 ? 4 : 8, SCORES_NONE, i / 2 % 2, 1 + i % 2};
        const size_t n = (size_t)p.rows * 2, bytes[2] = {n * 4, (size_t)p.rows * 8};
        const double base[1] = {0.25};
        const int64_t names[4] = {5, 6, 0, 1};
        void *s = alloc(n * 8);
        uint8_t *has = alloc(n);
        for (size_t k = 0; k < n; k++) {
            scores_put(p.size == 8, s, (ptrdiff_t)k, k % 2 ? 0 : between(-8, 8) / 8.0);
            has[k] = k % 2 == 0;
        }
        float *z = run_many("tree_pair", &p, (const void *const[]){s, has, base, names}, bytes, 2);
        for (int32_t r = 0; r < p.rows; r++) {
            const double v = at(p.size, s, (size_t)r * 2) + (p.bases ? base[0] : 0);
            near_by((double)z[2 * r], p.one == 1 ? 1 - v : -v, 0);
            near_by((double)z[2 * r + 1], v, 0);
        }
        free(z);
        free(has);
        free(s);
    }
}

/* ---- support vectors ------------------------------------------------------------------------- */

static double nearness(const svm_near_p *p, const float *x, const float *v)
{
    double dot = 0, apart = 0;
    for (int32_t i = 0; i < p->features; i++) {
        dot += (double)x[i] * v[i];
        apart += ((double)x[i] - v[i]) * ((double)x[i] - v[i]);
    }
    const double y = (double)p->gamma * dot + (double)p->coef;
    return p->kind == SVM_LINEAR ? dot + (double)p->coef
           : p->kind == SVM_RBF  ? exp(-(double)p->gamma * apart)
           : p->kind == SVM_POLY ? pow(y, (double)p->degree)
                                 : tanh(y);
}

static void test_svm(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const svm_near_p p = {between(1, 5), between(2, 9), between(1, 40), i % 4,
                              0.25f,         0.5f,          (float)between(2, 4)};
        float *x = floats((size_t)(p.rows * p.features));
        float *v = floats((size_t)(p.vectors * p.features));
        float *y = run("svm_near", &p, x, v, NULL, (size_t)(p.rows * p.vectors) * 4);
        for (int32_t r = 0; r < p.rows; r++)
            for (int32_t k = 0; k < p.vectors; k++)
                near_by((double)y[r * p.vectors + k],
                        nearness(&p, x + r * p.features, v + k * p.features), 1e-4);
        const svm_score_p q = {p.rows, p.vectors, i % 2, 0.125f};
        float *c = floats((size_t)p.vectors);
        float *z = run("svm_score", &q, y, c, NULL, (size_t)p.rows * 4);
        for (int32_t r = 0; r < p.rows; r++) {
            double sum = 0.125;
            for (int32_t k = 0; k < p.vectors; k++) sum += (double)c[k] * y[r * p.vectors + k];
            if (!q.side) near_by((double)z[r], sum, 1e-4);
            else if (fabs(sum) > 1e-4) near_by((double)z[r], sum > 0 ? 1 : -1, 0);
        }
        free(z);
        free(c);
        free(y);
        free(v);
        free(x);
    }
}

static void test_svm_votes(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const svm_votes_p p = {between(1, 5), 12, 4};
        const int32_t first[5] = {0, 3, 3, 8, 12};
        float *k = floats((size_t)p.rows * 12), *c = floats(3 * 12), *rho = floats(6);
        const size_t bytes[2] = {(size_t)p.rows * 6 * 4, (size_t)p.rows * 4 * 4};
        float *y = run_many("svm_votes", &p, (const void *const[]){k, c, first, rho}, bytes, 2);
        for (int32_t r = 0, e = 0; r < p.rows; r++)
            for (int32_t a = 0, pair = 0; a < 4; a++)
                for (int32_t b = a + 1; b < 4; b++, pair++, e++) {
                    double sum = (double)rho[pair];
                    const float *row = c + (b - 1) * 12, *other = c + a * 12, *of = k + r * 12;
                    for (int32_t j = first[a]; j < first[a + 1]; j++)
                        sum += (double)row[j] * of[j];
                    for (int32_t j = first[b]; j < first[b + 1]; j++)
                        sum += (double)other[j] * of[j];
                    near_by((double)y[e], sum, 1e-5);
                }
        float *a = floats(6), *b = floats(6);
        const svm_likely_p q = {p.rows, 4};
        float *z = run_many("svm_likely", &q, (const void *const[]){y, a, b},
                            (const size_t[]){(size_t)p.rows * 16, 36 * 4}, 2);
        for (int32_t r = 0; r < p.rows; r++)
            near_by((double)(z[4 * r] + z[4 * r + 1] + z[4 * r + 2] + z[4 * r + 3]), 1, 1e-5);
        free(z);
        free(b);
        free(a);
        free(y);
        free(rho);
        free(c);
        free(k);
    }
}

/* ---- tables and features --------------------------------------------------------------------- */

static void test_lookup(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const lookup_p p = {between(1, 200), between(0, 5), i % 2 ? A_FLOAT : A_DOUBLE, 1 << i % 4};
        const int32_t size = i % 2 ? 4 : 8;
        uint64_t keys[6] = {0};
        unsigned char values[6 * 8];
        for (int32_t k = 0; k < p.keys; k++) keys[k] = order_real(k - 1.5);
        for (size_t k = 0; k < sizeof values; k++) values[k] = (unsigned char)rnd();
        void *x = few(size, (size_t)p.count);
        unsigned char *y = run("lookup", &p, x, keys, values, (size_t)(p.count * p.size));
        for (int32_t e = 0; e < p.count; e++) {
            const double v = at(size, x, (size_t)e) + 1.5;
            const int32_t k = v >= 0 && v < p.keys && v == floor(v) ? (int32_t)v : p.keys;
            assert_memory_equal(y + e * p.size, values + k * p.size, (size_t)p.size);
        }
        free(y);
        free(x);
    }
}

static void test_features(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const int32_t rows = between(1, 30), n = between(1, 9), size = i % 2 ? 4 : 8;
        const int32_t count = rows * n;
        void *x = few(size, (size_t)count), *values = few(size, (size_t)n);
        float *offset = floats((size_t)n), *scale = floats((size_t)n);
        const rescale_p p = {count, n, i % 2 ? A_FLOAT : A_DOUBLE};
        float *y = run("rescale", &p, x, offset, scale, (size_t)count * 4);
        const impute_p q = {count, n, p.type, size};
        const double gone = i / 2 % 2 ? NAN : 0.5;
        const float narrow = (float)gone;
        const void *given = size == 4 ? (const void *)&narrow : &gone;
        void *z = run("impute", &q, x, given, values, (size_t)(count * size));
        for (int32_t e = 0; e < count; e++) {
            const double v = at(size, x, (size_t)e);
            near_by((double)y[e], (v - (double)offset[e % n]) * (double)scale[e % n], 1e-6);
            const bool same = v == gone || (v != v && gone != gone);
            const double want = same ? at(size, values, (size_t)(e % n)) : v;
            near_by(at(size, z, (size_t)e), want, 0);
        }
        float *whole = floats((size_t)count);
        const f_maxnorm_p m = {rows, n};
        float *w = run("f_maxnorm", &m, whole, NULL, NULL, (size_t)count * 4);
        for (int32_t e = 0; e < count; e++) {
            float top = whole[e / n * n];
            for (int32_t k = 0; k < n; k++) top = fmaxf(top, whole[e / n * n + k]);
            near_by((double)w[e], top == 0 ? (double)whole[e] : (double)(whole[e] / top), 0);
        }
        free(w);
        free(whole);
        free(z);
        free(y);
        free(scale);
        free(offset);
        free(values);
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_trees, reseed),
        cmocka_unit_test_setup(test_scores, reseed),
        cmocka_unit_test_setup(test_labels, reseed),
        cmocka_unit_test_setup(test_tree_pair, reseed),
        cmocka_unit_test_setup(test_svm, reseed),
        cmocka_unit_test_setup(test_svm_votes, reseed),
        cmocka_unit_test_setup(test_lookup, reseed),
        cmocka_unit_test_setup(test_features, reseed),
    };
    return cmocka_run_group_tests_name("kernels_ml", tests, NULL, NULL);
}
