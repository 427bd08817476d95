/* tests/test_kernels_state.c - kernels of models that generate step by step: the same bytes on
 * every instruction set, and what they should be.
 */
#include "kernels/cache.h"
#include "kernels/f_causal_conv.h"
#include "kernels/f_linear_attention.h"
#include "kernels/f_nbits.h"
#include "kernels/f_rotary.h"
#include "tests/kernel_run.h"

/* x as [batch][row][head][size], turned in place. */
static void test_rotary(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const int32_t heads = between(1, 3), rows = between(1, 5), half = between(1, 20);
        const int32_t size = 2 * half + between(0, 3), batch = between(1, 2), places = 7;
        const f_rotary_p p = {batch,
                              heads,
                              rows,
                              size,
                              2 * half,
                              i % 2,
                              rows * heads * size,
                              size,
                              heads * size,
                              0,
                              rows * heads * size,
                              size,
                              heads * size,
                              places,
                              rows,
                              1,
                              1,
                              0,
                              0,
                              1};
        const size_t count = (size_t)(batch * rows * heads * size);
        float *x = floats(count), *c = floats((size_t)(places * half));
        float *s = floats((size_t)(places * half));
        int64_t ids[10];
        double *want = alloc(count * sizeof *want);
        for (int j = 0; j < 10; j++) ids[j] = between(-3, places);
        for (int32_t e = 0; e < (int32_t)count; e++) {
            const int32_t k = e % size, row = e / (size * heads);
            const int64_t id = ids[row] + 1, at = id < 0 ? 0 : id >= places ? places - 1 : id;
            const int32_t pair = i % 2 ? k / 2 : k % half, second = i % 2 ? k % 2 : k >= half;
            const float *from = x + e - k;
            want[e] = (double)x[e];
            if (k >= 2 * half) continue;
            const double a = (double)from[i % 2 ? 2 * pair : pair];
            const double b = (double)from[i % 2 ? 2 * pair + 1 : pair + half];
            const double cosine = (double)c[at * half + pair], sine = (double)s[at * half + pair];
            want[e] = second ? sine * a + cosine * b : cosine * a - sine * b;
        }
        const size_t bytes = count * sizeof *x;
        float *y = run_many("f_rotary", &p, (const void *[]){x, c, s, ids}, &bytes, 1);
        close_to("f_rotary", y, want, count, 1e-6);
        free(x);
        free(c);
        free(s);
        free(want);
        free(y);
    }
}

static void test_cache(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const int32_t rows = between(1, 7), added = between(0, rows), inner = between(1, 4);
        const int32_t past = i % 3 ? rows : between(0, rows), first = between(-1, 1), outer = 2;
        const int32_t round = i % 2, fresh = i % 5 == 0;
        const cache_p p = {
            2, outer, inner, rows,  past,  added, outer * added * inner, added * inner, inner,
            0, 4,     0,     first, round, fresh};
        const int32_t places[2] = {between(-9, 9), i % 7 ? between(0, 3) : INT32_MAX};
        float *old = floats((size_t)(2 * outer * past * inner)), *y;
        float *x = floats((size_t)(2 * outer * added * inner));
        const size_t bytes = (size_t)(2 * outer * rows * inner) * sizeof *x;
        y = run_many("cache", &p, (const void *[]){old, x, places}, &bytes, 1);
        for (int32_t e = 0; e < 2 * outer * rows * inner; e++) {
            const int32_t row = e / inner % rows, o = e / (inner * rows), k = e % inner;
            int64_t at = (int64_t)places[o / outer] + first, back = row;
            if (!round) at = at < 0 ? 0 : at > rows - added ? rows - added : at;
            back = round ? ((row - at) % rows + rows) % rows : row - at;
            const int64_t start = round ? (at % rows + rows) % rows : at;
            float want =
                row < past && (!fresh || row < start) ? old[(o * past + row) * inner + k] : 0;
            if (back >= 0 && back < added) want = x[(o * added + (int32_t)back) * inner + k];
            assert_true(y[e] == want);
        }
        free(old);
        free(x);
        free(y);
    }
}

static void test_causal_conv(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const f_causal_conv_p p = {between(1, 3), between(1, 4), between(1, 40), between(1, 5),
                                   between(1, 3)};
        const int32_t row = p.steps + (p.taps - 1) * p.dilation;
        const size_t count = (size_t)(p.batch * p.channels * p.steps),
                     bytes = count * sizeof(float);
        float *x = floats((size_t)(p.batch * p.channels * row));
        float *w = floats((size_t)(p.channels * p.taps));
        float *b = i % 2 ? floats((size_t)p.channels) : NULL;
        double *want = alloc(count * sizeof *want);
        for (int32_t e = 0; e < (int32_t)count; e++) {
            const int32_t t = e % p.steps, r = e / p.steps, c = r % p.channels;
            want[e] = b ? (double)b[c] : 0.0;
            for (int32_t k = 0; k < p.taps; k++)
                want[e] += (double)w[c * p.taps + k] * (double)x[r * row + t + k * p.dilation];
        }
        float *y = run_many("f_causal_conv", &p, (const void *[]){x, w, b}, &bytes, 1);
        close_to("f_causal_conv", y, want, count, 1e-6);
        free(x);
        free(w);
        free(b);
        free(want);
        free(y);
    }
}

/* One head of one batch, in double. */
static void linear_head(const f_linear_attention_p *p, int32_t h, const float *q, const float *k,
                        const float *v, const float *decay, const float *beta, double *y)
{
    double matrix[16][16] = {{0.0}};
    for (int32_t t = 0; t < p->steps; t++) {
        const float *kt = k + (t * p->heads + h) * p->k_size,
                    *vt = v + (t * p->heads + h) * p->v_size;
        for (int32_t i = 0; i < p->k_size; i++)
            for (int32_t j = 0; j < p->v_size; j++)
                matrix[i][j] *= exp((double)decay[(t * p->heads + h) * p->k_size + i]);
        for (int32_t j = 0; j < p->v_size; j++) {
            double there = 0.0;
            for (int32_t i = 0; i < p->k_size; i++) there += (double)kt[i] * matrix[i][j];
            const double more = (double)beta[t] * ((double)vt[j] - there);
            for (int32_t i = 0; i < p->k_size; i++) matrix[i][j] += (double)kt[i] * more;
        }
        for (int32_t j = 0; j < p->v_size; j++) {
            double *to = y + (t * p->heads + h) * p->v_size + j;
            *to = 0.0;
            for (int32_t i = 0; i < p->k_size; i++)
                *to += (double)(q[(t * p->heads + h) * p->k_size + i] * p->scale) * matrix[i][j];
        }
    }
}

static void test_linear_attention(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        const int32_t heads = between(1, 3), k_size = between(1, 16), v_size = between(1, 16);
        const int32_t steps = between(1, 6);
        const f_linear_attention_p p = {1,      steps,          heads, heads, k_size,
                                        v_size, heads * k_size, 1,     1,     0.5f};
        const size_t rows = (size_t)(steps * heads), count = rows * (size_t)v_size;
        const size_t bytes[3] = {count * 4, (size_t)(heads * k_size * v_size) * 4,
                                 (size_t)v_size * 4};
        float *q = floats(rows * (size_t)k_size), *k = floats(rows * (size_t)k_size);
        float *v = floats(count), *decay = floats(rows * (size_t)k_size);
        float *beta = floats((size_t)steps);
        double *want = alloc(count * sizeof *want);
        for (int32_t j = 0; j < (int32_t)rows * k_size; j++) k[j] *= 0.25f;
        for (int32_t h = 0; h < heads; h++) linear_head(&p, h, q, k, v, decay, beta, want);
        float *y = run_many("f_linear_attention", &p, (const void *[]){q, k, v, NULL, decay, beta},
                            bytes, 3);
        close_to("f_linear_attention", y, want, count, 1e-5 * (1.0 + greatest(want, count)));
        free(q);
        free(k);
        free(v);
        free(decay);
        free(beta);
        free(want);
        free(y);
    }
}

/* The weight of column c that is number k, in double. */
static double few_weight(const f_nbits_p *p, const uint8_t *w, const float *scales,
                         const void *zeros, int32_t c, int32_t k)
{
    const int32_t blocks = (p->k + p->block - 1) / p->block, b = k / p->block;
    const int32_t mask = (1 << p->bits) - 1, bytes = (blocks * p->bits + 7) / 8;
    const int32_t at = c * (blocks * p->block * p->bits / 8) + k * p->bits / 8;
    double zero = ldexp(1.0, p->bits - 1);
    if (p->zeros == NBITS_FLOAT) zero = (double)((const float *)zeros)[c * blocks + b];
    if (p->zeros == NBITS_PACKED)
        zero = ((const uint8_t *)zeros)[c * bytes + b * p->bits / 8] >> (b * p->bits % 8) & mask;
    return ((w[at] >> (k * p->bits % 8) & mask) - zero) * (double)scales[c * blocks + b];
}

static void test_nbits(void **state)
{
    (void)state;
    for (int i = 0; i < 150; i++) {
        const int32_t bits = 1 << between(1, 3), block = 1 << between(4, 8);
        const f_nbits_p p = {
            i % 2 ? 1 : between(2, 19),      between(1, 150), between(1, 600), bits, block,
            between(NBITS_HALF, NBITS_FLOAT)};
        const int32_t blocks = (p.k + block - 1) / block;
        const size_t raw = (size_t)(p.n * blocks) * (size_t)(block * bits / 8);
        const size_t count = (size_t)(p.m * p.n);
        const size_t bytes[2] = {count * 4, f_nbits_work(&p) * 4};
        uint8_t *w = alloc(raw);
        float *x = floats((size_t)(p.m * p.k)), *scales = floats((size_t)(p.n * blocks));
        float *bias = i % 3 ? floats((size_t)p.n) : NULL, *zeros = floats((size_t)(p.n * blocks));
        double *want = alloc(count * sizeof *want);
        for (size_t j = 0; j < raw; j++) w[j] = (uint8_t)rnd();
        for (int32_t c = 0; c < p.n; c++) {
            for (int32_t r = 0; r < p.m; r++) want[r * p.n + c] = bias ? (double)bias[c] : 0.0;
            for (int32_t k = 0; k < p.k; k++) {
                const double weight = few_weight(&p, w, scales, zeros, c, k);
                for (int32_t r = 0; r < p.m; r++)
                    want[r * p.n + c] += weight * (double)x[r * p.k + k];
            }
        }
        float *y = run_many("f_nbits", &p, (const void *[]){x, w, scales, zeros, bias}, bytes, 2);
        close_to("f_nbits", y, want, count, 1e-5 * (1.0 + greatest(want, count)));
        free(w);
        free(x);
        free(scales);
        free(bias);
        free(zeros);
        free(want);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rotary, reseed),
        cmocka_unit_test_setup(test_cache, reseed),
        cmocka_unit_test_setup(test_causal_conv, reseed),
        cmocka_unit_test_setup(test_linear_attention, reseed),
        cmocka_unit_test_setup(test_nbits, reseed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
