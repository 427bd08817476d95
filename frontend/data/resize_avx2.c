/* frontend/data/resize_avx2.c - the sums of resize_pillow.c for x86-64 with AVX2.
 *
 * The instruction that multiplies and adds pairs takes 16 bits, weights have up to 24. So a weight
 * is taken apart, w = (w >> 11) * 2^11 + (w & 2047), and there are two sums, which are put together
 * at the end. All of it is exact modulo 2^32, as the portable sums are.
 */
#include "frontend/data/resize_plan.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum { LOW_BITS = 11 };

static bool usable(void) { return __builtin_cpu_supports("avx2"); }

/* Upper parts of the 32-bit weights, then their lower parts, as 16 bits; lane by lane. */
AVX2 static inline __m256i apart(__m256i w)
{
    __m256i low = _mm256_and_si256(w, _mm256_set1_epi32((1 << LOW_BITS) - 1));
    return _mm256_packs_epi32(_mm256_srai_epi32(w, LOW_BITS), low);
}

/* Two sums put together, rounded and shifted. */
AVX2 static inline __m256i together(__m256i high, __m256i low, int shift)
{
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
    sum = _mm256_add_epi32(sum, _mm256_set1_epi32(1 << (shift - 1)));
    return _mm256_sra_epi32(sum, _mm_cvtsi32_si128(shift));
}

/* One output of three channels: four pixels at a time, two in each half of the register, so that
 * each of the first three of its lanes sums up a channel. */
AVX2 static inline int pixel(const int32_t *w, size_t n, int shift, const uint8_t *in)
{
    const __m256i pairs = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, /* RRGGBB of pixels 0 and 1 */
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i highs = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6,
                                           7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    const __m256i lows = _mm256_add_epi8(highs, _mm256_set1_epi8(8));
    __m256i high = _mm256_setzero_si256(), low = high;
    for (size_t j = 0; j < n; j += 4, in += 12) {
        __m256i k = apart(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(w + j))));
        __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)in));
        v = _mm256_shuffle_epi8(v, pairs);
        high = _mm256_add_epi32(high, _mm256_madd_epi16(v, _mm256_shuffle_epi8(k, highs)));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(v, _mm256_shuffle_epi8(k, lows)));
    }
    high = _mm256_add_epi32(high, _mm256_permute2x128_si256(high, high, 1));
    low = _mm256_add_epi32(low, _mm256_permute2x128_si256(low, low, 1));
    __m128i sum = _mm256_castsi256_si128(together(high, low, shift));
    sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
    return _mm_cvtsi128_si32(sum);
}

/* Writes a byte more behind each pixel, which the next one overwrites, and the last one's is
 * padding. */
AVX2 static void across(const Axis *x, int channels, const uint8_t *in, uint8_t *out)
{
    if (channels != 3) {
        resize_portable.across(x, channels, in, out);
        return;
    }
    for (size_t i = 0; i < x->n; i++, out += 3) {
        int rgb = pixel(x->fixed + i * x->most, x->count[i], x->shift, in + x->first[i] * 3);
        memcpy(out, &rgb, sizeof rgb);
    }
}

/* The pairs of two rows, half of 16 bytes each, with their weights. */
AVX2 static inline void pair(__m128i bytes, __m256i highs, __m256i lows, __m256i *high,
                             __m256i *low)
{
    __m256i v = _mm256_cvtepu8_epi16(bytes);
    *high = _mm256_add_epi32(*high, _mm256_madd_epi16(v, highs));
    *low = _mm256_add_epi32(*low, _mm256_madd_epi16(v, lows));
}

/* 16 bytes of an output row: two source rows at a time. */
AVX2 static inline void sixteen(const int32_t *w, size_t n, int shift, const uint8_t *const *rows,
                                size_t at, uint8_t *out)
{
    __m256i high0 = _mm256_setzero_si256(), high1 = high0, low0 = high0, low1 = high0;
    for (size_t j = 0; j < n; j += 2) {
        const uint8_t *second = rows[j + 1 < n ? j + 1 : j]; /* its weight is 0 then */
        __m128i a = _mm_loadu_si128((const void *)(rows[j] + at));
        __m128i b = _mm_loadu_si128((const void *)(second + at));
        long long both;
        memcpy(&both, w + j, sizeof both);
        __m256i k = apart(_mm256_set1_epi64x(both));
        __m256i highs = _mm256_unpacklo_epi64(k, k), lows = _mm256_unpackhi_epi64(k, k);
        pair(_mm_unpacklo_epi8(a, b), highs, lows, &high0, &low0);
        pair(_mm_unpackhi_epi8(a, b), highs, lows, &high1, &low1);
    }
    __m256i v = _mm256_packs_epi32(together(high0, low0, shift), together(high1, low1, shift));
    v = _mm256_permute4x64_epi64(v, 0xD8); /* the halves were packed apart */
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((void *)out, bytes);
}

AVX2 static void down(const int32_t *w, size_t n, int shift, const uint8_t *const *rows,
                      size_t bytes, uint8_t *out)
{
    uint8_t last[16];
    size_t at = 0;
    for (; at + 16 <= bytes; at += 16) sixteen(w, n, shift, rows, at, out + at);
    if (at == bytes) return;
    sixteen(w, n, shift, rows, at, last); /* rows have padding, the output has none */
    memcpy(out + at, last, bytes - at);
}

const ResizeLoops resize_avx2 = {usable, across, down};
#endif
