/* tests/test_kernels_moved.c - kernels that move data, against loops over every element. */
#include "kernels/col2im.h"
#include "kernels/cumsum.h"
#include "kernels/one_hot.h"
#include "kernels/pad.h"
#include "kernels/range.h"
#include "kernels/reverse_sequence.h"
#include "kernels/scatter.h"
#include "kernels/trilu.h"
#include "tests/kernel_run.h"

static unsigned char *noise(size_t n)
{
    unsigned char *x = alloc(n);
    for (size_t i = 0; i < n; i++) x[i] = (unsigned char)rnd();
    return x;
}

/* Element i of a box of n in a mode, found by walking there; -1: outside. */
static int32_t walked(int32_t mode, int32_t i, int32_t n)
{
    int32_t at = 0, step = 1;
    if (i >= 0 && i < n) return i;
    if (mode == PAD_CONSTANT) return -1;
    if (mode == PAD_EDGE) return i < 0 ? 0 : n - 1;
    for (int32_t k = 0; k < (i < 0 ? -i : i); k++) { /* backwards is as forwards, for a mirror */
        if (mode == PAD_WRAP) {
            at = (at + (i < 0 ? n - 1 : 1)) % n;
        } else {
            if (at + step < 0 || at + step >= n) step = -step;
            if (n > 1) at += step;
        }
    }
    return at;
}

static void test_pad(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++) {
        pad_p p = {.unit = between(1, 3), .size = 1 << between(0, 3), .mode = between(0, 3)};
        int32_t d[8], n[8], x[8], b[8], nx = 1, ny = 1;
        for (int j = 7; j >= 0; j--) {
            const bool grows = between(0, 2) == 0;
            const int32_t first = grows ? between(0, 2) : 0, behind = grows ? between(0, 2) : 0;
            n[j] = between(0, 1) ? between(p.mode != PAD_CONSTANT, 4) : 1;
            b[j] = grows ? between(0, 5) : 0;
            d[j] = n[j] + b[j] + (grows ? between(0, 5) : 0);
            x[j] = nx;
            p.xoff += first * nx;
            nx *= first + n[j] + behind;
            ny *= d[j];
        }
        memcpy(&p.d0, d, sizeof d);
        memcpy(&p.n0, n, sizeof n);
        memcpy(&p.x0, x, sizeof x);
        memcpy(&p.b0, b, sizeof b);
        const size_t unit = (size_t)(p.unit * p.size);
        unsigned char *in = noise((size_t)nx * unit), *value = noise(8), zeros[8] = {0};
        const bool given = between(0, 1);
        unsigned char *y = run("pad", &p, in, given ? value : NULL, NULL, (size_t)ny * unit);
        for (int32_t e = 0; e < ny; e++) {
            int32_t rest = e, at = p.xoff;
            bool outside = false;
            for (int j = 7; j >= 0; rest /= d[j], j--) {
                const int32_t from = walked(p.mode, rest % d[j] - b[j], n[j]);
                outside |= from < 0;
                at += from * x[j];
            }
            for (int32_t u = 0; u < p.unit; u++)
                assert_memory_equal(y + (size_t)e * unit + u * p.size,
                                    !outside ? in + (size_t)at * unit + u * p.size
                                    : given  ? value
                                             : zeros,
                                    (size_t)p.size);
        }
        free(in);
        free(value);
        free(y);
    }
}

/* ---- by indices ------------------------------------------------------------------------------ */

/* A case: places and numbers over axes of a tensor, which has room for all of them. */
typedef struct Indexed {
    index_p p;
    int32_t places, numbers; /* of places, and of numbers in the indices */
    int64_t *wide;           /* [numbers], below 0 and far outside, too */
    int32_t *narrow;         /* the same as int32_t */
} Indexed;

static Indexed indexed_new(int32_t type, int32_t size)
{
    Indexed c = {.p = {.inner = between(1, 3), .size = size, .type = type, .wide = between(0, 1)},
                 .places = 1};
    index_p *p = &c.p;
    int32_t step = p->inner, numbers = p->k = between(1, 3);
    for (int i = 0; i < 8; i++) (&p->n0)[i] = 1;
    for (int i = 0; i < p->k; i++) {
        (&p->n0)[i] = between(1, 5);
        (&p->s0)[i] = step;
        step *= (&p->n0)[i];
    }
    for (int i = 7; i >= 0; i--) {
        const int32_t n = between(0, 2) ? 1 : between(1, 4);
        const bool along = between(0, 1); /* the tensor goes on along the axis */
        (&p->d0)[i] = n;
        (&p->x0)[i] = along ? step : 0;
        (&p->i0)[i] = numbers;
        if (along) step *= n;
        numbers *= n;
        c.places *= n;
    }
    p->count = step;
    c.numbers = numbers;
    c.wide = alloc((size_t)numbers * sizeof *c.wide);
    c.narrow = alloc((size_t)numbers * sizeof *c.narrow);
    for (int32_t i = 0; i < numbers; i++) {
        c.narrow[i] = between(0, 9) ? between(-5, 4) : (int32_t)(rnd() << 1);
        c.wide[i] = c.narrow[i];
        if (p->wide && !between(0, 9)) c.wide[i] = between(0, 1) ? INT64_MAX : INT64_MIN;
    }
    return c;
}

static const void *indices_of(const Indexed *c)
{
    return c->p.wide ? (const void *)c->wide : c->narrow;
}

/* Where the elements of a place are in the tensor. */
static int32_t element_of(const Indexed *c, int32_t place)
{
    int32_t at = 0, from = 0;
    for (int i = 7; i >= 0; place /= (&c->p.d0)[i], i--) {
        at += place % (&c->p.d0)[i] * (&c->p.x0)[i];
        from += place % (&c->p.d0)[i] * (&c->p.i0)[i];
    }
    for (int i = 0; i < c->p.k; i++) {
        const int32_t n = (&c->p.n0)[i];
        const int64_t v = c->p.wide ? c->wide[from + i] : c->narrow[from + i],
                      up = v < 0 ? v + n : v;
        at += (int32_t)(up < 0 ? 0 : up >= n ? n - 1 : up) * (&c->p.s0)[i];
    }
    return at;
}

static void indexed_free(Indexed *c)
{
    free(c->wide);
    free(c->narrow);
}

static void test_gather(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        Indexed c = indexed_new(0, 1 << between(0, 3));
        const size_t row = (size_t)(c.p.inner * c.p.size), size = (size_t)c.p.size;
        unsigned char *x = noise((size_t)c.p.count * size);
        unsigned char *y = run("gather", &c.p, x, indices_of(&c), NULL, (size_t)c.places * row);
        for (int32_t k = 0; k < c.places; k++)
            assert_memory_equal(y + (size_t)k * row, x + (size_t)element_of(&c, k) * size, row);
        free(x);
        free(y);
        indexed_free(&c);
    }
}

/* Puts, and sums of integers that wrap around. In place, it gives the same. */
static void test_scatter(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        Indexed c = indexed_new(A_INT16, 2);
        c.p.op = between(0, 1) ? F_ADD : SCATTER_PUT;
        const size_t count = (size_t)c.p.count, bytes = count * 2;
        uint16_t *x = (uint16_t *)noise(bytes), *want = alloc(bytes);
        uint16_t *u = (uint16_t *)noise((size_t)(c.places * c.p.inner) * 2);
        memcpy(want, x, bytes);
        for (int32_t k = 0; k < c.places; k++)
            for (int32_t j = 0; j < c.p.inner; j++) {
                uint16_t *to = &want[element_of(&c, k) + j];
                *to = (uint16_t)((c.p.op == F_ADD ? *to : 0) + u[k * c.p.inner + j]);
            }
        uint16_t *y = run("scatter", &c.p, x, indices_of(&c), u, bytes);
        assert_memory_equal(y, want, bytes);
        const void *const in[] = {x, indices_of(&c), u};
        void *const out[] = {x};
        kernel_find("scatter")->run(&c.p, in, out);
        assert_memory_equal(x, want, bytes);
        free(x);
        free(u);
        free(y);
        free(want);
        indexed_free(&c);
    }
}

/* ---- by position ----------------------------------------------------------------------------- */

static void test_cumsum(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const cumsum_p p = {between(1, 3),
                            between(1, 9),
                            between(0, 1) ? between(1, 90) : 1,
                            between(0, 1) ? A_FLOAT : A_INT32,
                            between(0, 1),
                            between(0, 1)};
        const size_t count = (size_t)(p.outer * p.d * p.inner);
        float *x = floats(count);
        int32_t *k = (int32_t *)noise(count * 4);
        void *y = run("cumsum", &p, p.type == A_FLOAT ? (void *)x : k, NULL, NULL, count * 4);
        for (int32_t e = 0; e < p.outer * p.d * p.inner; e++) {
            const int32_t at = e / p.inner % p.d, step = p.reverse ? p.inner : -p.inner;
            const int32_t before = p.reverse ? p.d - 1 - at : at;
            double sum = 0.0;
            uint32_t whole = 0;
            for (int32_t j = before; j >= p.exclusive; j--) { /* from the first on */
                sum += (double)x[e + j * step];
                whole += (uint32_t)k[e + j * step];
            }
            if (p.type == A_FLOAT) assert_true(((float *)y)[e] == (float)sum);
            else assert_int_equal(((uint32_t *)y)[e], whole);
        }
        free(x);
        free(k);
        free(y);
    }
}

static void test_one_hot(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const one_hot_p p = {between(1, 3), between(1, 9), between(1, 90),
                             between(0, 1) ? A_FLOAT : A_INT8, 1 << between(0, 3)};
        const int32_t count = p.outer * p.inner;
        float *x = alloc((size_t)count * sizeof *x);
        int8_t *k = alloc((size_t)count);
        unsigned char *values = noise(16);
        for (int32_t j = 0; j < count; j++) {
            k[j] = (int8_t)between(-12, 12);
            x[j] = (float)k[j];
            if (p.type == A_FLOAT && !between(0, 9)) {
                k[j] = 100;
                x[j] = between(0, 2) ? between(0, 1) ? 1e30f : -INFINITY : NAN;
            }
        }
        const size_t size = (size_t)p.size;
        unsigned char *y = run("one_hot", &p, p.type == A_FLOAT ? (void *)x : k, values, NULL,
                               (size_t)(count * p.depth) * size);
        for (int32_t e = 0; e < count * p.depth; e++) {
            const int32_t o = e / p.inner / p.depth, at = e / p.inner % p.depth;
            const int32_t v = k[o * p.inner + e % p.inner];
            const bool on = (v < 0 ? v + p.depth : v) == at;
            assert_memory_equal(y + (size_t)e * size, values + (on ? size : 0), size);
        }
        free(x);
        free(k);
        free(y);
        free(values);
    }
}

static void test_trilu(void **state)
{
    static const int64_t shifts[] = {0, 1, -1, 2, -3, 9, -9, INT64_MAX, INT64_MIN};
    (void)state;
    for (int i = 0; i < 200; i++) {
        const trilu_p p = {between(1, 3), between(1, 6), between(1, 6), between(0, 1), 4};
        const int64_t k = shifts[between(0, 8)];
        const size_t count = (size_t)(p.batch * p.rows * p.columns);
        float *x = floats(count), *y = run("trilu", &p, x, k ? &k : NULL, NULL, count * sizeof *y);
        for (size_t e = 0; e < count; e++) {
            const int32_t row = (int32_t)e / p.columns % p.rows, column = (int32_t)e % p.columns;
            const double right = column - row - (double)k;
            assert_true(y[e] == ((p.upper ? right >= 0.0 : right <= 0.0) ? x[e] : 0.0f));
        }
        free(x);
        free(y);
    }
}

static void test_range(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        const range_p p = {between(1, 200), between(0, 1) ? A_DOUBLE : A_INT16};
        const double start = between(-99, 99) / 8.0, delta = between(1, 99) / 8.0;
        const int16_t first = (int16_t)rnd(), step = (int16_t)rnd();
        const bool real = p.type == A_DOUBLE;
        void *y = run("range", &p, real ? (const void *)&start : &first,
                      real ? (const void *)&delta : &step, NULL, (size_t)p.count * (real ? 8 : 2));
        for (int32_t j = 0; j < p.count; j++)
            assert_true(real ? ((double *)y)[j] == start + j * delta
                             : ((int16_t *)y)[j] == (int16_t)(uint16_t)(first + j * step));
        free(y);
    }
}

static void test_reverse_sequence(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        const int32_t batch = between(1, 4), time = between(1, 5), bytes = between(1, 9);
        const bool outer = between(0, 1); /* the batch */
        const reverse_sequence_p p = {batch, time, outer ? time * bytes : bytes,
                                      outer ? bytes : batch * bytes, bytes};
        const int64_t far[] = {INT64_MIN, -1, INT64_MAX, 6};
        int64_t lengths[4];
        for (int j = 0; j < 4; j++)
            lengths[j] = between(0, 2) ? between(0, time) : far[between(0, 3)];
        unsigned char *x = noise((size_t)(batch * time * bytes));
        unsigned char *y =
            run("reverse_sequence", &p, x, lengths, NULL, (size_t)(batch * time * bytes));
        for (int32_t b = 0; b < batch; b++)
            for (int32_t t = 0; t < time; t++) {
                const int64_t n = lengths[b] < 0 ? 0 : lengths[b] > time ? time : lengths[b];
                const int32_t from = t < n ? (int32_t)n - 1 - t : t;
                assert_memory_equal(y + b * p.bstep + t * p.tstep, x + b * p.bstep + from * p.tstep,
                                    (size_t)bytes);
            }
        free(x);
        free(y);
    }
}

/* By what each element of the image is made of; quarters, so that sums are exact. */
static void test_col2im(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        col2im_p p = {.n = between(1, 3)};
        for (int a = 0; a < 3; a++) {
            (&p.kd)[a] = between(1, 3);
            (&p.sd)[a] = between(1, 2);
            (&p.dd)[a] = between(1, 2);
            (&p.pd)[a] = between(0, 1);
            (&p.od)[a] = between(1, 3);
            (&p.id)[a] = between(1, 6);
        }
        const int32_t taps = p.kd * p.kh * p.kw, blocks = p.od * p.oh * p.ow;
        const int32_t image = p.id * p.ih * p.iw;
        float *x = floats((size_t)(p.n * taps * blocks));
        float *y = run("col2im", &p, x, NULL, NULL, (size_t)(p.n * image) * sizeof *y);
        for (int32_t e = 0; e < p.n * image; e++) {
            float want = 0.0f;
            for (int32_t t = 0; t < taps * blocks; t++) {
                const int32_t b = t % blocks, k = t / blocks;
                const int32_t d = b / p.ow / p.oh * p.sd + k / p.kw / p.kh * p.dd - p.pd;
                const int32_t h = b / p.ow % p.oh * p.sh + k / p.kw % p.kh * p.dh - p.ph;
                const int32_t w = b % p.ow * p.sw + k % p.kw * p.dw - p.pw;
                const int32_t at = (d * p.ih + h) * p.iw + w;
                const bool inside = d >= 0 && d < p.id && h >= 0 && h < p.ih && w >= 0 && w < p.iw;
                if (inside && at == e % image) want += x[e / image * taps * blocks + t];
            }
            assert_true(y[e] == want);
        }
        free(x);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pad, reseed),
        cmocka_unit_test_setup(test_gather, reseed),
        cmocka_unit_test_setup(test_scatter, reseed),
        cmocka_unit_test_setup(test_cumsum, reseed),
        cmocka_unit_test_setup(test_one_hot, reseed),
        cmocka_unit_test_setup(test_trilu, reseed),
        cmocka_unit_test_setup(test_range, reseed),
        cmocka_unit_test_setup(test_reverse_sequence, reseed),
        cmocka_unit_test_setup(test_col2im, reseed),
    };
    return cmocka_run_group_tests_name("kernels_moved", tests, NULL, NULL);
}
