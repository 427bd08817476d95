/* tests/test_kernels_quantize.c - types of 8 bits and fewer: packed and unpacked, rounded to; and
 * quantizing, from and to all of them.
 */
#include "kernels/packed.h"
#include "kernels/tiny.h"
#include "tests/kernel_run.h"

/* ---- packed ---------------------------------------------------------------------------------- */

static void test_packed(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        const packed_p p = {between(1, 300), between(0, 2) * 2 + 2, between(0, 1)};
        const size_t count = (size_t)p.count, bits = (size_t)p.bits, bytes = (count * bits + 7) / 8;
        unsigned char *x = alloc(bytes), want = 0;
        for (size_t j = 0; j < bytes; j++) x[j] = (unsigned char)rnd();
        if (count * bits % 8) x[bytes - 1] &= (unsigned char)((1u << count * bits % 8) - 1);
        signed char *y = run("packed_read", &p, x, NULL, NULL, count);
        for (size_t j = 0; j < count; j++) {
            want = 0; /* bit by bit */
            for (size_t k = 0; k < bits; k++)
                want |= (unsigned char)((x[(j * bits + k) / 8] >> (j * bits + k) % 8 & 1) << k);
            const int top = 1 << (bits - 1);
            assert_int_equal(y[j], p.is_signed && want & top ? want - 2 * top : want);
        }
        unsigned char *back = run("packed_write", &p, y, NULL, NULL, bytes);
        assert_memory_equal(x, back, bytes);
        free(x);
        free(y);
        free(back);
    }
}

/* ---- floats ---------------------------------------------------------------------------------- */

enum { FLOATS_OF = 7 };
static const int32_t float_types[FLOATS_OF] = {A_E4M3FN, A_E4M3FNUZ, A_E5M2, A_E5M2FNUZ,
                                               A_E2M1,   A_E2M3,     A_E3M2};

/* The codes of a type. */
static uint32_t codes_of(int32_t type)
{
    return type == A_E2M1 ? 16 : type == A_E2M3 || type == A_E3M2 ? 64 : 256;
}

/* The nearest number of the type, of two the one whose code is even; of magnitudes, saturated. */
static double nearest(int32_t type, double x)
{
    double best = 0.0, away = INFINITY;
    uint32_t best_code = 0;
    for (uint32_t c = 0; c < codes_of(type) / 2; c++) {
        const double v = tiny_to_real(type, c), distance = fabs(v - fabs(x));
        if (!isfinite(v)) continue;
        if (distance < away || (distance == away && !(c & 1) && best_code & 1))
            best = v, away = distance, best_code = c;
    }
    return copysign(best, x);
}

static void check_rounding(int32_t type, double x)
{
    const uint32_t code = tiny_from_real(type, x, 1, TINY_UP);
    const double want = nearest(type, x), got = tiny_to_real(type, code);
    assert_true(code < codes_of(type));
    if (got != want) fail_msg("type %d: %a becomes %g, want %g", type, x, got, want);
}

static void test_floats(void **state)
{
    (void)state;
    for (int t = 0; t < FLOATS_OF; t++) {
        double before = 0.0;
        for (uint32_t c = 0; c < codes_of(float_types[t]); c++) {
            const double v = tiny_to_real(float_types[t], c);
            if (isnan(v)) continue;
            assert_int_equal(tiny_from_real(float_types[t], v, 0, TINY_UP), c);
            if (!isfinite(v)) continue;
            const double half = (v + before) / 2;
            check_rounding(float_types[t], half);
            check_rounding(float_types[t], nextafter(half, INFINITY));
            check_rounding(float_types[t], nextafter(half, -INFINITY));
            before = v;
        }
        for (int i = 0; i < 3000; i++)
            check_rounding(float_types[t], ldexp((double)between(-4096, 4096), between(-32, 6)));
    }
}

/* Powers of two: the exponent alone, rounded up, down, or to the nearest, halves up. */
static void test_exponents(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 255; c++)
        for (int32_t mode = TINY_UP; mode <= TINY_NEAREST; mode++) {
            const double v = ldexp(1.0, (int)c - 127);
            const uint32_t above = c + 1, below = c < 254 ? c : 255; /* or NaN */
            assert_true(tiny_to_real(A_E8M0, c) == v);
            assert_int_equal(tiny_from_real(A_E8M0, v, 0, mode), c);
            assert_int_equal(tiny_from_real(A_E8M0, 1.25 * v, 0, mode),
                             mode == TINY_UP ? above : below);
            assert_int_equal(tiny_from_real(A_E8M0, 1.5 * v, 0, mode),
                             mode != TINY_DOWN ? above : below);
        }
    const double beyond[] = {0.0, -1.0, ldexp(1.0, -128), INFINITY, ldexp(1.5, 127)};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tiny_from_real(A_E8M0, beyond[i], 1, TINY_UP), i < 3 ? 0 : 254);
        assert_int_equal(tiny_from_real(A_E8M0, beyond[i], 0, TINY_UP), 255);
    }
    assert_int_equal(tiny_from_real(A_E8M0, NAN, 1, TINY_UP), 255);
}

/* ---- quantizing ------------------------------------------------------------------------------ */

static int64_t integer_at(int32_t dtype, const void *x, size_t i)
{
    switch (tiny_byte(dtype)) {
    case 2: return ((const uint8_t *)x)[i];
    case 3: return ((const int8_t *)x)[i];
    case 4: return ((const uint16_t *)x)[i];
    case 5: return ((const int16_t *)x)[i];
    default: return ((const int32_t *)x)[i];
    }
}

/* Which scale element j has. */
static size_t scale_of(const quantize_p *p, size_t j)
{
    const size_t inner = (size_t)p->inner, channels = (size_t)p->channels;
    const size_t c = j / inner % channels, block = (size_t)p->block;
    if (!block) return c;
    const size_t blocks = (channels + block - 1) / block;
    return (j / inner / channels * blocks + c / block) * inner + j % inner;
}

/* rint rounds halves to even; half of the inputs are ties or far outside. */
static void test_quantize(void **state)
{
    static const int32_t types[] = {2, 3, 4, 5, A_UINT4, A_INT4, A_UINT2, A_INT2};
    (void)state;
    for (int i = 0; i < 600; i++) {
        const quantize_p p = {.outer = between(1, 3),
                              .channels = between(1, 5),
                              .inner = between(0, 3) ? between(1, 150) : 1,
                              .dtype = types[between(0, 7)],
                              .block = between(0, 1) ? between(1, 4) : 0};
        const int32_t byte = tiny_byte(p.dtype), bits = tiny_bits(p.dtype);
        const int64_t levels = bits ? 1 << bits : byte < 4 ? 256 : 65536;
        const int64_t lo = byte == 3 || byte == 5 ? -levels / 2 : 0, hi = lo + levels - 1;
        const size_t count = (size_t)(p.outer * p.channels * p.inner);
        const size_t bytes = byte < 4 ? 1 : 2;
        float *x = floats(count), *scale = floats(count);
        unsigned char *zp = alloc(2 * count);
        for (size_t j = 0; j < 2 * count; j++)
            zp[j] = (unsigned char)(bits ? lo + between(0, (int32_t)levels - 1) : rnd());
        for (size_t j = 0; j < count; j++)
            scale[j] = between(0, 1) ? ldexpf(1.0f, between(-9, 2)) : fabsf(scale[j]) + 0.01f;
        for (size_t j = 0; j < count; j++)
            x[j] = between(0, 1) ? (float)between(-600, 600) / 2.0f * scale[0] : x[j] * 1e6f;
        if (count > 3) x[0] = NAN, x[1] = INFINITY, x[2] = -INFINITY;
        const bool with_zp = between(0, 2);
        void *y = run("quantize", &p, x, scale, with_zp ? zp : NULL, count * bytes);
        float *back = run("dequantize", &p, y, scale, with_zp ? zp : NULL, count * sizeof *back);
        for (size_t j = 0; j < count; j++) {
            const size_t c = scale_of(&p, j);
            const int64_t z = with_zp ? integer_at(p.dtype, zp, c) : 0;
            const double q = isnan(x[j]) ? (double)lo : (double)rintf(x[j] / scale[c]) + (double)z;
            const double want = fmin(fmax(q, (double)lo), (double)hi);
            const int64_t got = integer_at(p.dtype, y, j);
            if ((double)got != want)
                fail_msg("quantize %a / %a: %d, want %g", (double)x[j], (double)scale[c], (int)got,
                         want);
            assert_true(back[j] == (float)(got - z) * scale[c]);
        }
        free(x);
        free(scale);
        free(zp);
        free(y);
        free(back);
    }
    const int32_t big[] = {INT32_MIN, -1, 0, 16777217, INT32_MAX};
    const quantize_p p = {1, 1, 5, 6};
    const float half = 0.5f;
    float *y = run("dequantize", &p, big, &half, NULL, sizeof big);
    for (int j = 0; j < 5; j++) assert_true(y[j] == (float)big[j] * 0.5f);
    free(y);
}

/* The same to floats of 8 bits and fewer. */
static void test_quantize_floats(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        const quantize_p p = {1, between(1, 4), between(1, 100), float_types[i % FLOATS_OF], 0, 1};
        const size_t count = (size_t)(p.channels * p.inner);
        float *x = floats(count), scale[4] = {0.5f, 0.25f, 0.3f, 1.0f};
        for (size_t j = 0; j < count; j++) x[j] *= between(0, 3) ? 8.0f : 1e5f;
        uint8_t *y = run("quantize", &p, x, scale, NULL, count);
        float *back = run("dequantize", &p, y, scale, NULL, count * sizeof *back);
        for (size_t j = 0; j < count; j++) {
            const float s = scale[j / (size_t)p.inner];
            const double want = nearest(p.dtype, (double)(x[j] / s));
            assert_true(tiny_to_real(p.dtype, y[j]) == want);
            assert_true(back[j] == (float)want * s);
        }
        free(x);
        free(y);
        free(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_packed, reseed),
        cmocka_unit_test_setup(test_floats, reseed),
        cmocka_unit_test(test_exponents),
        cmocka_unit_test_setup(test_quantize, reseed),
        cmocka_unit_test_setup(test_quantize_floats, reseed),
    };
    return cmocka_run_group_tests_name("kernels_quantize", tests, NULL, NULL);
}
