/* tests/test_q_kernels.c - the integer kernels against exact references, on every instruction set
 * this machine has, with the same bytes from all; the two forms of requantization against each
 * other; and that these cases catch a kernel with the zero point inside its dot product.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "kernels/requant.h"
#include "tests/q_cases.h"

enum { ROUNDS = 600, PAIRS = 30000000 };

/* ---- all kernels ------------------------------------------------------------------------------*/

static void every_level_gives_the_reference(void **state)
{
    (void)state;
    uint64_t sums[KERNEL_LEVELS];
    int levels = 0;
    for (int level = KERNEL_BASE; level < KERNEL_LEVELS; level++) {
        Cases t = {.table = kernel_table((KernelLevel)level), .seed = 1, .sum = Q_SUM};
        if (!t.table) continue;
        if (!q_cases(&t, ROUNDS)) fail_msg("at level %d", level);
        sums[levels++] = t.sum;
    }
    assert_true(levels > 0);
    for (int i = 1; i < levels; i++) assert_int_equal(sums[i], sums[0]);
}

/* ---- requantization ---------------------------------------------------------------------------*/

/* Blocks of pairs by the integer form, the form of this instruction set and the reference. */
static void block_agrees(const int32_t sum[Q_LANES], const q_scale scale[Q_LANES], q_out out)
{
    uint8_t y[Q_LANES];
    uint32_t bits[Q_LANES];
    for (int j = 0; j < Q_LANES; j++) bits[j] = (uint32_t)sum[j];
    q_requant_block(bits, scale, out, y, Q_LANES);
    for (int j = 0; j < Q_LANES; j++) {
        const int32_t integer = q_requant(sum[j], scale[j], out);
        const int32_t want = ref_requant(sum[j], scale[j], out.zero, out.lo, out.hi);
        if (integer != want || y[j] != (uint8_t)want)
            fail_msg("sum %d, scale %08x, zero %d: integers %d, this instruction set %d, want %d",
                     sum[j], scale[j], out.zero, integer, y[j], want);
    }
}

static void integer_and_vector_forms_agree(void **state)
{
    (void)state;
    Cases t = {.seed = 2};
    for (int i = 0; i < PAIRS; i += Q_LANES) {
        int32_t sum[Q_LANES];
        q_scale scale[Q_LANES];
        q_out out = {.lo = between(&t, 0, 1) ? -128 : 0};
        out.zero = out.lo + between(&t, 0, 255);
        out.hi = out.lo + 255;
        for (int j = 0; j < Q_LANES; j++) random_pair(&t, &sum[j], &scale[j]);
        block_agrees(sum, scale, out);
    }
}

/* Every exponent, with mantissas and sums at the edges. */
static void forms_agree_at_the_edges(void **state)
{
    (void)state;
    const uint32_t mantissas[] = {0, 1, 2, 0x2aaaaa, 0x400000, 0x7ffffe, 0x7fffff};
    const int32_t sums[Q_LANES] = {0,        1,         -1,        3,        255,       -32641,
                                   16777215, 16777216,  16777217,  16777219, -16777217, 33554434,
                                   33554435, 130000001, INT32_MAX, INT32_MIN};
    for (uint32_t exponent = 0; exponent < 255; exponent++)
        for (size_t m = 0; m < sizeof mantissas / sizeof *mantissas; m++) {
            q_scale scale[Q_LANES];
            for (int j = 0; j < Q_LANES; j++) scale[j] = exponent << 23 | mantissas[m];
            block_agrees(sums, scale, (q_out){0, 0, 255});
            block_agrees(sums, scale, (q_out){-128, -128, 127});
            block_agrees(sums, scale, (q_out){255, 0, 255});
        }
}

/* ---- why no kernel subtracts the zero point in its dot product --------------------------------*/

#if defined(__x86_64__) && defined(__GNUC__)
#define VNNI __attribute__((noinline, target("avx512vnni,avx512vl,avx512bw")))
#else
#define VNNI
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define OPTIMIZED __attribute__((optimize("O3")))
#else
#define OPTIMIZED
#endif

/* x is uint8 with zero point 128. gcc 12 narrows x - 128 to int8 and has it multiplied as
 * unsigned. */
VNNI OPTIMIZED static int32_t zero_in_dot(const uint8_t *x, const int8_t *w, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (x[i] - 128) * w[i];
    return sum;
}

/* Whether this compiler and this machine get that wrong. */
static bool zero_in_dot_is_wrong(void)
{
    enum { N = 255 };
    uint8_t x[N];
    int8_t w[N];
    volatile int32_t want = 0;
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx512vnni") || !__builtin_cpu_supports("avx512vl")) return false;
#endif
    for (int i = 0; i < N; i++) {
        x[i] = (uint8_t)(i * 37);
        w[i] = (int8_t)(i * 91);
        want += (x[i] - 128) * w[i];
    }
    return zero_in_dot(x, w, N) != want;
}

/* q_conv's packing for wrong_conv: as it is. */
static size_t wrong_bytes(const void *params)
{
    const q_conv_p *p = params;
    return (size_t)(p->oc * (p->ic / p->group) * p->kd * p->kh * p->kw);
}

static void wrong_pack(const void *params, const void *raw, void *packed)
{
    memcpy(packed, raw, wrong_bytes(params));
}

/* One output of a convolution with a window of one pixel: as q_conv does it, but for the zero point
 * 128, which is subtracted from the input again. */
static int32_t wrong_sum(const q_conv_p *p, const uint8_t *x, const int8_t *w, int32_t bias)
{
    uint32_t folded = (uint32_t)bias;
    for (int32_t i = 0; i < p->ic; i++) folded += (uint32_t)(p->x_zero * w[i]);
    return (int32_t)(folded + (uint32_t)zero_in_dot(x, w, p->ic));
}

/* q_conv with the zero point in the dot product where the case is one for it, else the kernel. */
static void wrong_conv(const void *params, const void *const *in, void *const *out)
{
    const q_conv_p *p = params;
    const int32_t pixels = p->n * p->iw, taps = p->kd * p->kh * p->kw;
    const bool is_plain = p->group == 1 && taps == 1 && pixels == p->n * p->od * p->oh * p->ow &&
                          p->id * p->ih == 1 && p->sw == 1 && p->pw == 0;
    if (!is_plain || p->x_signed || p->x_zero != 128) {
        const Kernel *k = q_find(kernel_table(KERNEL_BASE), "q_conv");
        void *packed = bytes_new(k->pack_bytes(p));
        k->pack(p, in[1], packed);
        k->run(p, (const void *[]){in[0], packed, in[2], in[3]}, out);
        free(packed);
        return;
    }
    for (int32_t i = 0; i < pixels; i++)
        for (int32_t c = 0; c < p->oc; c++) {
            const uint8_t *x = (const uint8_t *)in[0] + (size_t)i * (size_t)p->ic;
            const int8_t *w = (const int8_t *)in[1] + (size_t)c * (size_t)p->ic;
            const int32_t sum = wrong_sum(p, x, w, ((const int32_t *)in[2])[c]);
            ((uint8_t *)out[0])[i * p->oc + c] = (uint8_t)q_requant(
                sum, ((const q_scale *)in[3])[c], (q_out){p->y_zero, p->lo, p->hi});
        }
}

static void cases_catch_a_zero_point_in_the_dot(void **state)
{
    (void)state;
    const Kernel wrong[] = {{.name = "q_conv",
                             .nint = 27,
                             .nin = 4,
                             .nout = 1,
                             .run = wrong_conv,
                             .pack_bytes = wrong_bytes,
                             .pack = wrong_pack}};
    Cases t = {.table = wrong, .seed = 3, .sum = Q_SUM, .quiet = true};
    bool ok = true;
    if (!zero_in_dot_is_wrong()) { /* cmocka's skip() would be a failure to whoever reads its TAP */
        print_message("# not checked: this build multiplies right\n");
        return;
    }
    for (int i = 0; i < 2000 && ok; i++) ok = conv_case(&t, false);
    assert_false(ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_reference),
        cmocka_unit_test(integer_and_vector_forms_agree),
        cmocka_unit_test(forms_agree_at_the_edges),
        cmocka_unit_test(cases_catch_a_zero_point_in_the_dot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
