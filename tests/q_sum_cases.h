/* tests/q_sum_cases.h - cases of the kernels that give exact int32 sums, for q_cases.h, whose
 * vocabulary they are written in.
 */
#ifndef TESTS_Q_SUM_CASES_H
#define TESTS_Q_SUM_CASES_H

#include "kernels/q_conv_sums.h"

/* Whether int32 outputs are as wanted; frees them. */
static inline bool sums_as_wanted(const Cases *t, const char *name, uint8_t *y, const int64_t *want,
                                  size_t n)
{
    size_t i = 0;
    for (; i < n; i++) {
        int32_t v;
        memcpy(&v, y + 4 * i, sizeof v);
        if ((uint32_t)v == (uint32_t)want[i]) continue;
        if (!t->quiet) printf("%s: [%zu] is %d, want %lld\n", name, i, v, (long long)want[i]);
        break;
    }
    free(y);
    return i == n;
}

static inline bool matmul_case(Cases *t)
{
    q_matmul_p p = {.batch = between(t, 1, 3), .m = one_in(t, 3) ? 1 : between(t, 1, 20)};
    p.n = between(t, 1, one_in(t, 4) ? 300 : 40);
    p.k = between(t, 1, one_in(t, 4) ? 700 : 40);
    p.astep = one_in(t, 3) ? 0 : p.m * p.k;
    p.bstep = between(t, 0, 1);
    p.a_signed = between(t, 0, 1);
    p.b_signed = between(t, 0, 1);
    p.azrow = between(t, 0, 1);
    p.azstep = between(t, 0, 1) * (p.azrow ? p.m : 1);
    p.bzcolumn = between(t, 0, 1);
    p.bzstep = between(t, 0, 1) * (p.bzcolumn ? p.n : 1);
    p.transb = between(t, 0, 1);
    uint8_t *a = random_bytes(t, (size_t)(p.batch * p.m * p.k));
    uint8_t *b = random_bytes(t, (size_t)(p.batch * p.k * p.n));
    uint8_t *az = one_in(t, 3) ? NULL : random_bytes(t, (size_t)(p.batch * p.m));
    uint8_t *bz = one_in(t, 3) ? NULL : random_bytes(t, (size_t)(p.batch * p.n));
    int8_t *packed = bytes_new((size_t)q_pack_bytes(&p));
    const size_t n = (size_t)(p.batch * p.m * p.n);
    int64_t *want = bytes_new(n * sizeof *want), *to = want;
    q_find(t->table, "q_pack")->run(&p, (const void *[]){b}, (void *[]){packed});
    for (int32_t s = 0; s < p.batch; s++)
        for (int32_t i = 0; i < p.m; i++)
            for (int32_t j = 0; j < p.n; j++) {
                const int32_t za =
                    az ? value_of(az, (size_t)(s * p.azstep + i * p.azrow), p.a_signed) : 0;
                const int32_t zb =
                    bz ? value_of(bz, (size_t)(s * p.bzstep + j * p.bzcolumn), p.b_signed) : 0;
                int64_t sum = 0;
                for (int32_t k = 0; k < p.k; k++) {
                    const int32_t at = p.transb ? j * p.k + k : k * p.n + j;
                    const size_t left = (size_t)(s * p.astep + i * p.k + k);
                    const size_t right = (size_t)(s * p.bstep * p.k * p.n + at);
                    sum += (int64_t)(value_of(a, left, p.a_signed) - za) *
                           (value_of(b, right, p.b_signed) - zb);
                }
                *to++ = sum;
            }
    const void *const in[] = {a, b, az, bz}, *const ready[] = {a, packed, az, bz};
    const bool ok =
        sums_as_wanted(t, "q_matmul", run_case(t, "q_matmul", &p, in, 4 * n), want, n) &&
        sums_as_wanted(t, "q_products", run_case(t, "q_products", &p, ready, 4 * n), want, n);
    free(a), free(b), free(az), free(bz), free(packed), free(want);
    return ok;
}

/* A convolution by the three kernels. */
static inline bool conv_sums_case(Cases *t)
{
    q_conv_p p = random_conv(t, one_in(t, 5));
    const int32_t taps = p.ic / p.group * p.kd * p.kh * p.kw, channels = p.oc;
    const q_filters_p f = {p.group, p.oc / p.group, taps, between(t, 0, 1), 1};
    uint8_t *x = random_bytes(t, (size_t)(p.n * p.id * p.ih * p.iw * p.ic));
    uint8_t *w = random_bytes(t, (size_t)(channels * taps)), xz = (uint8_t)p.x_zero;
    uint8_t *wz = random_bytes(t, (size_t)channels);
    int8_t *filters = bytes_new((size_t)((channels + p.group) * taps));
    int32_t *sums = bytes_new((size_t)channels * 4);
    const int32_t pixels = p.n * p.od * p.oh * p.ow;
    const q_conv_zeros_p z = {pixels, p.group, f.channels, taps, p.x_signed, f.is_signed, 1, 1};
    const size_t n = (size_t)(pixels * channels);
    int64_t *want = bytes_new(n * sizeof *want), *at = want;
    q_find(t->table, "q_filters")->run(&f, (const void *[]){w}, (void *[]){filters, sums});
    /* of w: the sums of int8 filters, and of ones times what the zero point lacks to them */
    int8_t *ones = bytes_new((size_t)(channels * taps));
    memset(ones, 1, (size_t)(channels * taps));
    int8_t *plain = bytes_new((size_t)(channels * taps));
    for (int32_t i = 0; i < channels * taps; i++)
        plain[i] = (int8_t)(value_of(w, (size_t)i, f.is_signed) - (f.is_signed ? 0 : 128));
    int32_t o[5];
    for (o[0] = 0; o[0] < p.n; o[0]++)
        for (o[1] = 0; o[1] < p.od; o[1]++)
            for (o[2] = 0; o[2] < p.oh; o[2]++)
                for (o[3] = 0; o[3] < p.ow; o[3]++)
                    for (o[4] = 0; o[4] < channels; o[4]++)
                        *at++ =
                            ref_conv(&p, x, plain, o) -
                            (value_of(wz, (size_t)o[4], f.is_signed) - (f.is_signed ? 0 : 128)) *
                                ref_conv(&p, x, ones, o);
    p.oc += p.group;
    uint8_t *y = run_case(t, "q_conv_sums", &p, (const void *[]){x, filters, &xz},
                          4 * (size_t)(pixels * p.oc));
    const void *const in[] = {y, sums, &xz, wz};
    const bool ok =
        sums_as_wanted(t, "q_conv_zeros", run_case(t, "q_conv_zeros", &z, in, 4 * n), want, n);
    free(x), free(w), free(wz), free(filters), free(sums), free(want), free(ones);
    free(plain), free(y);
    return ok;
}

#endif
