/* tests/test_kernels_moved.c - kernels that move data, against loops over every element. */
#include "kernels/pad.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pad, reseed),
    };
    return cmocka_run_group_tests_name("kernels_moved", tests, NULL, NULL);
}
