/* runtime/count_avx2.c - the counting loops for x86-64 with AVX2 and BMI2. */
#include "runtime/count.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi2,popcnt")))

static bool usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

/* Moves the lanes of `v` whose bit in `keep` is set to the front. */
AVX2 static inline __m256i compress(__m256i v, uint32_t keep)
{
    uint64_t bytes = _pdep_u64(keep, 0x0101010101010101u) * 0xFF;
    uint64_t lanes = _pext_u64(0x0706050403020100u, bytes);
    return _mm256_permutevar8x32_epi32(v,
                                       _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)lanes)));
}

AVX2 static size_t keys(const float *x, size_t n, uint32_t clip, uint32_t *keys, size_t *zeros)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF), vclip = _mm256_set1_epi32((int)clip);
    size_t kept = 0, zero = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256((const void *)(x + i));
        __m256i z = _mm256_cmpeq_epi32(_mm256_and_si256(v, magnitude), _mm256_setzero_si256());
        __m256i drop = _mm256_or_si256(z, _mm256_cmpeq_epi32(v, vclip));
        uint32_t keep = ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(drop)) & 0xFF;
        __m256i key = compress(_mm256_srli_epi32(v, COUNT_SHIFT), keep);
        _mm256_storeu_si256((void *)(keys + kept), key);
        kept += (size_t)_mm_popcnt_u32(keep);
        zero += (size_t)_mm_popcnt_u32((uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(z)));
    }
    *zeros += zero;
    return kept + count_portable.keys(x + i, n - i, clip, keys + kept, zeros);
}

/* Eight columns: their sums stay in registers from the first row to the last. */
AVX2 static void tile(const float *x, size_t rows, size_t stride, Columns acc)
{
    __m256d s0 = _mm256_loadu_pd(acc.sum), s1 = _mm256_loadu_pd(acc.sum + 4);
    __m256d q0 = _mm256_loadu_pd(acc.square), q1 = _mm256_loadu_pd(acc.square + 4);
    __m256 lo = _mm256_loadu_ps(acc.min), hi = _mm256_loadu_ps(acc.max);
    for (size_t r = 0; r < rows; r++, x += stride) {
        __m256 v = _mm256_loadu_ps(x);
        __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
        __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        s0 = _mm256_add_pd(s0, a);
        s1 = _mm256_add_pd(s1, b);
        q0 = _mm256_add_pd(q0, _mm256_mul_pd(a, a));
        q1 = _mm256_add_pd(q1, _mm256_mul_pd(b, b));
        lo = _mm256_min_ps(v, lo);
        hi = _mm256_max_ps(v, hi);
    }
    _mm256_storeu_pd(acc.sum, s0);
    _mm256_storeu_pd(acc.sum + 4, s1);
    _mm256_storeu_pd(acc.square, q0);
    _mm256_storeu_pd(acc.square + 4, q1);
    _mm256_storeu_ps(acc.min, lo);
    _mm256_storeu_ps(acc.max, hi);
}

AVX2 static void columns(const float *x, size_t rows, size_t cols, size_t stride, Columns acc)
{
    size_t c = 0;
    for (; c + 8 <= cols; c += 8) {
        Columns at = {acc.sum + c, acc.square + c, acc.min + c, acc.max + c};
        tile(x + c, rows, stride, at);
    }
    Columns rest = {acc.sum + c, acc.square + c, acc.min + c, acc.max + c};
    count_portable.columns(x + c, rows, cols - c, stride, rest);
}

const CountLoops count_avx2 = {"avx2", usable, keys, columns};
#endif
