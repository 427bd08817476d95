/* tests/test_kernels_formulas.c - kernels of one formula each (losses, spectra, determinants,
 * random numbers ...): every instruction set gives the same bytes. What they give is compared with
 * other runtimes in test_numeric.py.
 */
#include "kernels/batch_norm.h"
#include "kernels/cosine_window.h"
#include "kernels/d_softmax.h"
#include "kernels/deform_conv.h"
#include "kernels/det.h"
#include "kernels/dft.h"
#include "kernels/mel_weights.h"
#include "kernels/nll_loss.h"
#include "kernels/randoms.h"
#include "kernels/roi_maxpool.h"
#include "tests/kernel_run.h"

enum { MOST_OUTPUTS = 3 };

/* Runs the kernel on every level: outputs of those bytes, 0 for one that is left out, must agree,
 * and so must memory that it works in. */
static void agree(const char *name, const void *p, const void *const *in,
                  const size_t bytes[MOST_OUTPUTS])
{
    void *first[MOST_OUTPUTS] = {NULL};
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        const Kernel *table = kernel_table((KernelLevel)level);
        void *out[MOST_OUTPUTS] = {NULL};
        if (!table) continue;
        for (int i = 0; i < MOST_OUTPUTS; i++)
            if (bytes[i]) out[i] = memset(alloc(bytes[i]), 0xa5, bytes[i]);
        find(table, name)->run(p, in, out);
        for (int i = 0; i < MOST_OUTPUTS; i++) {
            if (level == KERNEL_BASE) {
                first[i] = out[i];
                continue;
            }
            if (bytes[i] && memcmp(first[i], out[i], bytes[i]) != 0)
                fail_msg("%s: level %d gives other bytes", name, level);
            free(out[i]);
        }
    }
    for (int i = 0; i < MOST_OUTPUTS; i++) free(first[i]);
}

static double *doubles(size_t n)
{
    double *x = alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (double)between(-(1 << 28), 1 << 28) * 0x1p-27;
    return x;
}

/* Numbers of that type: A_FLOAT or A_DOUBLE. */
static void *reals(int32_t type, size_t n)
{
    return type == A_DOUBLE ? (void *)doubles(n) : (void *)floats(n);
}

static int32_t real_type(void) { return between(0, 1) ? A_FLOAT : A_DOUBLE; }

static size_t size_of(int32_t type) { return type == A_DOUBLE ? 8 : 4; }

static void test_losses(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        const nll_loss_p p = {between(1, 4),  between(1, 9),  between(1, 90), real_type(), 0,
                              between(0, 1), between(0, 8), 0,              between(0, 2)};
        const size_t count = (size_t)(p.outer * p.inner);
        void *x = reals(p.type, count * (size_t)p.classes);
        void *w = between(0, 1) ? reals(p.type, (size_t)p.classes) : NULL;
        int32_t *targets = alloc(count * sizeof *targets);
        for (size_t j = 0; j < count; j++) targets[j] = between(-1, p.classes);
        agree("nll_loss", &p, (const void *[]){x, targets, w},
              (size_t[]){(p.reduction == NLL_NONE ? count : 1) * size_of(p.type), 0, 0});
        free(x);
        free(w);
        free(targets);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const d_softmax_p p = {between(1, 3), between(1, 90), between(1, 9), between(0, 2)};
        const size_t count = (size_t)(p.outer * p.count * p.inner);
        double *x = doubles(count);
        agree("d_softmax", &p, (const void *[]){x}, (size_t[]){count * 8, 0, 0});
        free(x);
    }
}

static void test_dft(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        const int32_t n = between(1, 130), parts = between(1, 2), lines = between(1, 5);
        const int32_t given = between(1, n), type = real_type();
        const dft_p p = {1,     lines, 0, given * parts, 0,     n * 2,         parts,         2,
                         given, n,     n, parts,         2,     between(0, 1), between(0, 1), type};
        void *x = reals(type, (size_t)(lines * given * parts));
        void *w = between(0, 1) ? reals(type, (size_t)n) : NULL;
        agree("dft", &p, (const void *[]){x, w},
              (size_t[]){(size_t)(lines * n) * 2 * size_of(type), (size_t)n * 7 * 8, 0});
        free(x);
        free(w);
    }
}

static void test_weights(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const cosine_window_p w = {between(2, 200), between(0, 2), between(0, 1), real_type()};
        const mel_weights_p m = {between(1, 200), between(1, 90),  between(1, 400), A_INT32,
                                 A_FLOAT,         A_DOUBLE,        real_type()};
        const int32_t rate = between(100, 48000);
        const float low = (float)between(0, 500);
        const double high = between(500, 24000);
        agree("cosine_window", &w, NULL, (size_t[]){(size_t)w.count * size_of(w.type), 0, 0});
        agree("mel_weights", &m, (const void *[]){&rate, &low, &high},
              (size_t[]){(size_t)(m.bins * m.bands) * size_of(m.type), 0, 0});
    }
}

static void test_det(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const det_p p = {between(1, 4), between(0, 40), real_type()};
        const size_t size = (size_t)(p.n * p.n);
        void *x = reals(p.type, (size_t)p.count * size);
        agree("det", &p, (const void *[]){x},
              (size_t[]){(size_t)p.count * size_of(p.type), size * 8, 0});
        free(x);
    }
}

static void test_deform_conv(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        deform_conv_p p = {.n = between(1, 2), .ic = 4, .ih = between(3, 9), .iw = between(3, 9)};
        p.oc = 6, p.oh = between(1, 9), p.ow = between(1, 9);
        p.kh = between(1, 3), p.kw = between(1, 3);
        p.sh = between(1, 2), p.sw = 1, p.dh = 1, p.dw = between(1, 2);
        p.ph = between(0, 2), p.pw = between(0, 2);
        p.group = between(1, 2), p.offset_group = 1 << between(0, 2), p.type = real_type();
        const size_t taps = (size_t)(p.kh * p.kw), area = (size_t)(p.oh * p.ow), n = (size_t)p.n;
        void *x = reals(p.type, n * 4 * (size_t)(p.ih * p.iw)), *w = reals(p.type, 24 * taps);
        void *offset = reals(p.type, n * (size_t)p.offset_group * taps * 2 * area);
        void *bias = between(0, 1) ? reals(p.type, 6) : NULL;
        void *mask =
            between(0, 1) ? reals(p.type, n * (size_t)p.offset_group * taps * area) : NULL;
        agree("deform_conv", &p, (const void *[]){x, w, offset, bias, mask},
              (size_t[]){n * 6 * area * size_of(p.type), 4 * taps * 8, 0});
        free(x);
        free(w);
        free(offset);
        free(bias);
        free(mask);
    }
}

static void test_regions(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const roi_maxpool_p p = {between(1, 3), between(1, 3), between(1, 20),
                                 between(1, 20), between(1, 9), between(1, 5),
                                 between(1, 5), real_type(),   20.0f};
        void *x = reals(p.type, (size_t)(p.n * p.c * p.h * p.w));
        void *boxes = reals(p.type, (size_t)p.boxes * 5);
        agree("roi_maxpool", &p, (const void *[]){x, boxes},
              (size_t[]){(size_t)(p.boxes * p.c * p.rows * p.columns) * size_of(p.type), 0, 0});
        free(x);
        free(boxes);
    }
}

static void test_random(void **state)
{
    static const int32_t types[] = {A_FLOAT, A_DOUBLE, A_INT32, A_BOOL, A_INT64, A_UINT8};
    (void)state;
    for (int i = 0; i < 60; i++) {
        const int32_t form = between(0, 2), type = types[between(0, form == 2 ? 5 : 1)];
        const int32_t x_type = real_type(), ints = between(0, 1) ? A_INT32 : A_INT64;
        const random_numbers_p r = {between(1, 300), form,    (int32_t)rnd(), (int32_t)rnd(),
                                    type,            x_type,  -1.5f,          2.5f};
        const dropout_p d = {r.count, r.seed, r.seed_high, x_type, A_FLOAT};
        const multinomial_p m = {2, between(1, 90), 99, r.seed, r.seed_high, x_type, ints};
        const float ratio = 0.3f;
        const uint8_t trains = (uint8_t)between(0, 1);
        void *x = reals(x_type, 300);
        agree("random_numbers", &r, (const void *[]){x}, (size_t[]){(size_t)r.count * 8, 0, 0});
        agree("dropout", &d, (const void *[]){x, &ratio, &trains},
              (size_t[]){(size_t)r.count * 8, (size_t)r.count, 0});
        agree("multinomial", &m, (const void *[]){x}, (size_t[]){2 * 99 * 8, 90 * 8, 0});
        free(x);
    }
}

static void test_batch_norm(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const batch_norm_p p = {between(1, 4), between(1, 9),  between(1, 90), real_type(),
                                between(0, 1), 1e-5f,          0.9f};
        const size_t count = (size_t)(p.outer * p.channels * p.inner), c = (size_t)p.channels;
        void *in[5] = {reals(p.type, count)};
        for (int k = 1; k < 5; k++) in[k] = reals(p.type, c);
        agree("batch_norm", &p, (const void *const *)in,
              (size_t[]){count * size_of(p.type), c * size_of(p.type), 0});
        for (int k = 0; k < 5; k++) free(in[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_losses, reseed),
        cmocka_unit_test_setup(test_softmax, reseed),
        cmocka_unit_test_setup(test_dft, reseed),
        cmocka_unit_test_setup(test_weights, reseed),
        cmocka_unit_test_setup(test_det, reseed),
        cmocka_unit_test_setup(test_deform_conv, reseed),
        cmocka_unit_test_setup(test_regions, reseed),
        cmocka_unit_test_setup(test_random, reseed),
        cmocka_unit_test_setup(test_batch_norm, reseed),
    };
    return cmocka_run_group_tests_name("kernels_formulas", tests, NULL, NULL);
}
