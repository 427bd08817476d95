/* tests/test_kernels_moved.c - kernels that move data, against loops over every element. */
#include "kernels/pad.h"
#include "kernels/scatter.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pad, reseed),
        cmocka_unit_test_setup(test_gather, reseed),
        cmocka_unit_test_setup(test_scatter, reseed),
    };
    return cmocka_run_group_tests_name("kernels_moved", tests, NULL, NULL);
}
